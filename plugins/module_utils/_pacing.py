# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Request budgets: never send more requests in any 60 s than the exchange allows, for all processes of one machine.

Each endpoint has its own limit (docs/api.md). A budget is the list of the times at which requests were answered. The
exchange counted each request at that time or earlier, so a window that starts at that time is never too short. The
processes share their budgets in a small locked file for each API key. Private to this collection: anything here may
change in any release.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import random
import stat
import tempfile
import time
from collections import Counter
from typing import Any, Callable, Iterator, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import BudgetSpent

WINDOW_SECONDS = 60.0
# How much the clock of the exchange can differ from this one in one window.
MARGIN_SECONDS = 0.1
# The longest time for which a budget can be closed. A longer time in the file is ignored.
MAX_CLOSURE_SECONDS = 300.0
# A longer wait is divided, so that the task can print its progress.
MAX_SLEEP_SECONDS = 10.0
# Hundreds of processes can wait for the lock of one key. A stopped process must not block them forever.
MAX_LOCK_WAIT_SECONDS = 10.0
_FIRST_LOCK_PAUSE_SECONDS = 0.001
_MAX_LOCK_PAUSE_SECONDS = 0.064
_OPEN_ATTEMPTS = 5
_MAX_FILE_BYTES = 64 << 10


class Endpoint(NamedTuple):
    """An endpoint of the API.

    Attributes:
        name: The name in the file of the budgets.
        method: The HTTP method.
        path: The path of the URL.
        limit: The number of requests in 60 s.
        writes: Whether a request changes something, so that it must not be repeated without a read.
    """

    name: str
    method: str
    path: str
    limit: int
    writes: bool = False


class Budget(NamedTuple):
    """The request budget of an endpoint. Times are in seconds of the monotonic clock.

    Attributes:
        request_times: When each request was answered. While there is no answer: when the request was taken.
        closed_until: No request is sent before this time.
    """

    request_times: list[float]
    closed_until: float


class MemoryBudgets:
    """The request budgets of one process, in memory."""

    def __init__(self, budgets: Mapping[str, Any] | None = None) -> None:
        self._memory: dict[str, Any] = dict(budgets or {})

    @contextlib.contextmanager
    def open(self) -> Iterator[dict[str, Any]]:
        """Return the budgets by the name of the endpoint. The caller can change them."""
        yield self._memory


class BudgetStore(MemoryBudgets):
    """The request budgets of one API key, shared in a file that only this user can read.

    If the file cannot be used, the budgets are counted in memory and no error is raised. Requests that could not be
    shared are added to the file as soon as it can be used again.

    Args:
        identity: The API key and the address of the exchange. The name of the file is a hash of it.
        directory: The folder of the file. None: a folder of this user in the temporary folder.
    """

    def __init__(self, identity: str, directory: str | None = None) -> None:
        super().__init__()
        self._directory = directory or _get_default_directory()
        key = f"{_get_clock_identity()} {identity}".encode("utf-8", "backslashreplace")
        self._path = os.path.join(self._directory or "", hashlib.sha256(key).hexdigest()[:32] + ".json")
        self._has_unshared = False
        self._max_lock_wait = MAX_LOCK_WAIT_SECONDS

    @contextlib.contextmanager
    def open(self) -> Iterator[dict[str, Any]]:
        """Return the budgets by the name of the endpoint, and lock them. The caller can change them."""
        file = self._open_locked()
        before = None if file is None else _read_budgets(file)
        if file is None or before is None:
            # Count in memory, so that the task still counts its own requests. Never write a file that cannot be read.
            if file is not None:
                _unlock_and_close(file)
            before = dict(self._memory)
            yield self._memory
            self._has_unshared = self._has_unshared or self._memory != before
            return
        try:
            budgets = _merge_budgets(before, self._memory) if self._has_unshared else dict(before)
            yield budgets
            self._memory = budgets
            self._has_unshared = budgets != before and not _write_budgets(file, budgets)
        finally:
            _unlock_and_close(file)

    def _open_locked(self) -> int | None:
        """Return the descriptor of the locked file. None if there is no file that can be trusted and locked."""
        try:
            for _attempt in range(_OPEN_ATTEMPTS if self._directory else 0):
                file = self._open_file()
                if self._try_lock(file):
                    return file
                _unlock_and_close(file)
                if not self._max_lock_wait:
                    break
        except (OSError, ValueError):
            pass
        return None

    def _open_file(self) -> int:
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        folder = os.lstat(self._directory)
        if not stat.S_ISDIR(folder.st_mode) or folder.st_uid != os.geteuid() or folder.st_mode & 0o077:
            raise PermissionError
        return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)

    def _try_lock(self, file: int) -> bool:
        """Lock the file. Return False if that fails, or if the file was deleted or replaced in the meantime."""
        try:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                return False
            if not _lock(file, self._max_lock_wait):
                # The process that holds the lock is probably stopped. Do not wait for it again.
                self._max_lock_wait = 0.0
                return False
            return os.fstat(file).st_nlink > 0
        except OSError:
            return False


def _get_default_directory() -> str:
    """Return the folder of the budgets of this user. Empty if there is no usable temporary folder."""
    try:
        return os.path.join(tempfile.gettempdir(), f"tradeops.coinswitch-{os.geteuid()}")
    except OSError:
        return ""


def _get_clock_identity() -> str:
    """Return an identifier of the monotonic clock.

    Processes can compare their times only if the identifier is the same: on the same boot, in the same time namespace.
    """
    try:
        with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
            boot_id = file.read(64).strip()
    except (OSError, ValueError):
        boot_id = ""
    try:
        time_namespace = os.stat("/proc/self/ns/time").st_ino
    except OSError:
        time_namespace = 0
    # Without a boot ID, use the host and the minute in which its monotonic clock started.
    return f"{boot_id or (os.uname().nodename, (time.time() - time.monotonic()) // 60)} {time_namespace}"


def _lock(file: int, max_wait: float) -> bool:
    """Lock the file. Return False if another process holds the lock for longer than `max_wait` seconds.

    A process holds the lock for about a millisecond, unless it was stopped.
    """
    waited, pause = 0.0, _FIRST_LOCK_PAUSE_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        # On NFS, the error for a lock of another process can be EACCES.
        except (BlockingIOError, PermissionError):
            if waited >= max_wait:
                return False
        # A blocking lock has no timeout. The random pause keeps processes from trying at the same time.
        time.sleep(pause * random.uniform(0.5, 1.0))
        waited += pause
        pause = min(2 * pause, _MAX_LOCK_PAUSE_SECONDS)


def _unlock_and_close(file: int) -> None:
    """Unlock and close the file. Closing alone does not unlock it if a child process inherited the descriptor."""
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_UN)
    with contextlib.suppress(OSError):
        os.close(file)


def _read_budgets(file: int) -> dict[str, Any] | None:
    """Return the budgets in the file: {} if the file is empty or not valid, None if it cannot be read."""
    try:
        # Parsing an integer with a million digits is slow. As a float it is infinite, and parsing it is fast.
        content = json.loads(os.read(file, _MAX_FILE_BYTES), parse_int=float)
    except OSError:
        return None
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_budgets(file: int, budgets: dict[str, Any]) -> bool:
    """Write the budgets to the file. Return False if that fails, for example because the disk is full."""
    content = json.dumps(budgets).encode()
    try:
        size = os.fstat(file).st_size
        if size > _MAX_FILE_BYTES:
            os.ftruncate(file, 0)
        else:
            # Overwrite what is left of longer content with spaces. Some file systems flush a file to disk when it was
            # truncated and closed, which takes milliseconds.
            content = content.ljust(size)
        return os.pwrite(file, content, 0) == len(content)
    except OSError:
        return False


def _merge_budgets(shared: dict[str, Any], own: dict[str, Any]) -> dict[str, Any]:
    """Return the budgets of the file together with those of this process. A request in both counts once."""
    merged = dict(shared)
    for name, value in own.items():
        sent, closed = _parse_budget(value)
        others_sent, others_closed = _parse_budget(shared.get(name))
        merged[name] = [sorted((Counter(sent) | Counter(others_sent)).elements()), max(closed, others_closed)]
    return merged


def _parse_budget(value: Any) -> tuple[list[float], float]:
    """Return the request times and the closing time of a budget in the file. Values that are not times are ignored."""
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], list)):
        return [], 0.0
    return [float(t) for t in value[0] if _is_time(t)], float(value[1]) if _is_time(value[1]) else 0.0


def _is_time(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


class Pacer:
    """Delays requests so that they stay within the request budgets: a request waits only if its budget is spent.

    Args:
        budget_store: The request budgets.
        share: The part of each budget that the task can use: above 0, at most 1. At least one request is allowed.
        max_wait: The seconds that the task can wait in total.
        clock: The monotonic clock, in seconds.
        sleep: Sleeps for some seconds.

    Attributes:
        waited: The seconds that the task has waited so far.
        on_wait: Called every ten seconds during a wait.
    """

    def __init__(
        self,
        budget_store: MemoryBudgets,
        share: float,
        max_wait: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._budget_store = budget_store
        self._share = share
        self._max_wait = max_wait
        self._clock = clock
        self._sleep = sleep
        self.waited = 0.0
        self.on_wait: Callable[[], None] | None = None
        self._preview: Preview | None = None

    def start_preview(self) -> Preview:
        """Start a preview for check mode, and return it. The preview counts requests and waits as a real run would.

        The preview starts with the shared budgets and with the time waited so far. It does not sleep, and does not
        share what it counts. `Preview.simulate` simulates a write. It raises the BudgetSpent of the real run, with the
        same numbers.

        Until `end_preview`, the preview also counts each real request of this pacer, before the request is sent. So a
        real read raises BudgetSpent if it would in a real run, even if check mode itself has time left. For the same
        reason, the order of the steps must come from the preview and not from this pacer.

        The clock of the preview is the real clock plus the simulated waits that check mode has not really waited. As in
        a real run, a wait for a write also frees the budget of the reads, and no second counts twice.
        """
        with self._budget_store.open() as budgets:
            self._preview = Preview(self, budgets)
        return self._preview

    def end_preview(self) -> None:
        """Stop counting real requests in the preview, because a real run would not send the next ones."""
        self._preview = None

    def get_max_requests(self, endpoint: Endpoint) -> int:
        """Return how many requests the task can send to an endpoint in one window."""
        return max(1, math.floor(endpoint.limit * self._share + 1e-9))

    def get_delay(self, endpoint: Endpoint, count: int = 1) -> float:
        """Return the seconds until the last of `count` more requests can be sent."""
        if not count:
            return 0.0
        with self._budget_store.open() as budgets:
            return self._calculate_delay(self._get_budget(budgets, endpoint), endpoint, count)

    def take(self, endpoint: Endpoint) -> float:
        """Wait until a request can be sent, and count it. Return its time, for `record_answer` or `release`."""
        simulated = self._preview.take(endpoint) if self._preview else 0.0
        taken_at = self._take(endpoint)
        if self._preview:
            self._preview.simulated_times[taken_at] = simulated
        return taken_at

    def _take(self, endpoint: Endpoint) -> float:
        while True:
            with self._budget_store.open() as budgets:
                budget = self._get_budget(budgets, endpoint)
                delay = self._calculate_delay(budget, endpoint, 1)
                if delay <= 0:
                    now = self._clock()
                    budgets[endpoint.name] = [[*budget.request_times, now], budget.closed_until]
                    return now
            self.check_max_wait({endpoint: 1})
            self.wait(delay)

    def record_answer(self, endpoint: Endpoint, taken_at: float) -> None:
        """Count a request from now on, because the exchange may have counted it as late as now."""
        with self._budget_store.open() as budgets:
            budget = self._get_budget(budgets, endpoint)
            if taken_at in budget.request_times:
                budget.request_times.remove(taken_at)
            budgets[endpoint.name] = [[*budget.request_times, self._clock()], budget.closed_until]
        if self._preview:
            self._preview.record_answer(endpoint, self._preview.simulated_times.pop(taken_at, taken_at))

    def release(self, endpoint: Endpoint, taken_at: float) -> None:
        """Remove a request that was taken but not sent."""
        with self._budget_store.open() as budgets:
            budget = self._get_budget(budgets, endpoint)
            if taken_at in budget.request_times:
                budget.request_times.remove(taken_at)
            budgets[endpoint.name] = [budget.request_times, budget.closed_until]
        if self._preview:
            self._preview.release(endpoint, self._preview.simulated_times.pop(taken_at, taken_at))

    def close_budget(self, endpoint: Endpoint, seconds: float) -> None:
        """Send no request to an endpoint for some seconds, because the exchange answered that its budget is spent."""
        with self._budget_store.open() as budgets:
            budget = self._get_budget(budgets, endpoint)
            until = self._clock() + min(seconds, MAX_CLOSURE_SECONDS)
            budgets[endpoint.name] = [budget.request_times, max(budget.closed_until, until)]
        if self._preview:
            self._preview.close_budget(endpoint, seconds)

    def check_max_wait(self, planned: Mapping[Endpoint, int]) -> None:
        """Raise BudgetSpent if the planned requests of an endpoint do not fit into the rest of the max wait."""
        waits = [(self.get_delay(endpoint, count), endpoint, count) for endpoint, count in planned.items() if count]
        seconds, endpoint, count = max(waits, default=(0.0, None, 0))
        if endpoint is None or seconds <= 0 or self.waited + seconds <= self._max_wait:
            return
        max_requests = self.get_max_requests(endpoint)
        requests = "1 request" if max_requests == 1 else f"{max_requests} requests"
        raise BudgetSpent(
            f"the rate limit of {endpoint.method} {endpoint.path} ({requests} in 60 s for this task) needs a wait of "
            f"about {math.ceil(seconds)} s for {count} more, but rate_limit_timeout leaves only "
            f"{math.floor(self._max_wait - self.waited)} s of {self._max_wait:g} s: increase it, or run the task again "
            "later"
        )

    def wait(self, seconds: float) -> None:
        """Sleep because of a rate limit."""
        self.waited += seconds
        while self.on_wait and seconds > MAX_SLEEP_SECONDS:
            self._sleep(MAX_SLEEP_SECONDS)
            seconds -= MAX_SLEEP_SECONDS
            self.on_wait()
        self._sleep(seconds)

    def _get_budget(self, budgets: dict[str, Any], endpoint: Endpoint) -> Budget:
        """Return the budget of an endpoint without requests that no longer count, and without impossible times."""
        now = self._clock()
        sent, closed = _parse_budget(budgets.get(endpoint.name))
        # Older requests than these cannot delay the next one. The limit also bounds the time for a large file.
        request_times = sorted(t for t in sent if now - WINDOW_SECONDS - MARGIN_SECONDS < t <= now)[-endpoint.limit :]
        return Budget(request_times, closed if now < closed <= now + MAX_CLOSURE_SECONDS else 0.0)

    def _calculate_delay(self, budget: Budget, endpoint: Endpoint, count: int) -> float:
        now = self._clock()
        allowed = self.get_max_requests(endpoint)
        start = max(now, budget.closed_until)
        times = list(budget.request_times)
        for _request in range(count):
            due = times[-allowed] + WINDOW_SECONDS + MARGIN_SECONDS if len(times) >= allowed else start
            times.append(max(start, due))
        return times[-1] - now


class Preview(Pacer):
    """Does what the pacer of a real run would do. See Pacer.start_preview.

    Attributes:
        simulated_times: The simulated time of each real request that was taken.
    """

    def __init__(self, real: Pacer, budgets: Mapping[str, Any]) -> None:
        super().__init__(
            MemoryBudgets(budgets), real._share, real._max_wait, self._get_simulated_time, lambda seconds: None
        )
        self._real = real
        self._answer_seconds = 0.0
        self.simulated_times: dict[float, float] = {}

    def simulate(self, endpoint: Endpoint, seconds: float) -> None:
        """Simulate a request whose answer takes some seconds. Raise BudgetSpent as `take` does."""
        taken_at = self.take(endpoint)
        self._answer_seconds += seconds
        self.record_answer(endpoint, taken_at)

    def _get_simulated_time(self) -> float:
        # A real run takes at least as long as check mode: it sends the same reads, and writes too.
        self.waited = max(self.waited, self._real.waited - self._answer_seconds)
        return self._real._clock() + (self.waited - self._real.waited) + self._answer_seconds
