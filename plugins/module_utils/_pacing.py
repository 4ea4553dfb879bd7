# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Request budgets: never more requests in any window of 60 s than the exchange allows, over all processes of a machine.

The limits are those of the API's reference, one for each endpoint. A budget is a list of when requests were answered:
the exchange saw each no later than that, so a window counted from there can never be too short. The lists are shared
through a small locked file for each API key. Private to this collection: anything here may change in any release.
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
# How much slower than ours the exchange's clock can run in one window.
MARGIN_SECONDS = 0.1
# If another process closed a budget for longer than this, that was a mistake.
MAX_CLOSURE_SECONDS = 300.0
MAX_SLEEP_SECONDS = 10.0
# Seconds. Hundreds of processes can wait for the lock of one key. A stopped process must not hold it forever.
MAX_LOCK_WAIT_SECONDS = 10.0
_FIRST_LOCK_PAUSE_SECONDS = 0.001
_MAX_LOCK_PAUSE_SECONDS = 0.064
_OPEN_ATTEMPTS = 5
_MAX_FILE_BYTES = 64 << 10


class Endpoint(NamedTuple):
    """One row of the API's table: `limit` is in requests per 60 s; `writes` marks what must not be repeated blindly."""

    name: str
    method: str
    path: str
    limit: int
    writes: bool = False


class Budget(NamedTuple):
    """When requests were answered (or sent, while the answer is out), and until when none may be: monotonic s."""

    request_times: list[float]
    closed_until: float


class MemoryBudgets:
    """Budgets by endpoint that nobody shares."""

    def __init__(self, budgets: Mapping[str, Any] | None = None) -> None:
        self._memory: dict[str, Any] = dict(budgets or {})

    @contextlib.contextmanager
    def open(self) -> Iterator[dict[str, Any]]:
        """The budgets by endpoint; changes to them are kept."""
        yield self._memory


class BudgetStore(MemoryBudgets):
    """The budgets of one API key, in a file that only this user can read; in memory while there can be no such file.

    Trouble with the file raises nothing. What could not be shared is added to the file as soon as there is one again.
    """

    def __init__(self, identity: str, directory: str | None = None) -> None:
        super().__init__()
        self._directory = directory or _default_directory()
        key = f"{_clock_identity()} {identity}".encode("utf-8", "backslashreplace")
        self._path = os.path.join(self._directory or "", hashlib.sha256(key).hexdigest()[:32] + ".json")
        self._has_unshared = False
        self._max_lock_wait = MAX_LOCK_WAIT_SECONDS

    @contextlib.contextmanager
    def open(self) -> Iterator[dict[str, Any]]:
        """The budgets by endpoint, locked for this process; changes to them are kept."""
        file = self._open_locked()
        before = None if file is None else _read_budgets(file)
        if file is None or before is None:
            # Count in memory: a file that cannot be read is not overwritten, and the task still knows its own requests.
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
        """The file's descriptor, locked; None where there is no file, or none that can be trusted or locked."""
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
        """Lock the file; False where that fails or where the file was deleted or replaced in the meantime."""
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


def _default_directory() -> str:
    """The folder of this user's budgets; empty where there is no usable temporary folder."""
    try:
        return os.path.join(tempfile.gettempdir(), f"tradeops.coinswitch-{os.geteuid()}")
    except OSError:
        return ""


def _clock_identity() -> str:
    """Names the monotonic clock of this process: only processes for which it is the same may compare their times."""
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
    """Lock the file; False where its holder keeps it for longer than that. It needs a millisecond unless stopped."""
    waited, pause = 0.0, _FIRST_LOCK_PAUSE_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        # NFS can report a lock that is held as EACCES.
        except (BlockingIOError, PermissionError):
            if waited >= max_wait:
                return False
        # A random pause keeps processes out of step. A blocking lock could not time out.
        time.sleep(pause * random.uniform(0.5, 1.0))
        waited += pause
        pause = min(2 * pause, _MAX_LOCK_PAUSE_SECONDS)


def _unlock_and_close(file: int) -> None:
    """Unlock and close the file: unlocked also where a child process inherited the descriptor."""
    with contextlib.suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_UN)
    with contextlib.suppress(OSError):
        os.close(file)


def _read_budgets(file: int) -> dict[str, Any] | None:
    """The file's budgets: none where it is empty, too large, or nonsense. None where it cannot be read."""
    try:
        # An integer can have a million digits. As a float it is infinite, and parsing it is fast.
        content = json.loads(os.read(file, _MAX_FILE_BYTES), parse_int=float)
    except OSError:
        return None
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _write_budgets(file: int, budgets: dict[str, Any]) -> bool:
    """Keep the budgets; False where the file could not take them (a full disk)."""
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
    """The shared budgets with those that this process could not share: a request in both counts once."""
    merged = dict(shared)
    for name, value in own.items():
        sent, closed = _parse_budget(value)
        others_sent, others_closed = _parse_budget(shared.get(name))
        merged[name] = [sorted((Counter(sent) | Counter(others_sent)).elements()), max(closed, others_closed)]
    return merged


def _parse_budget(value: Any) -> tuple[list[float], float]:
    """The times of sending and of reopening in a budget of the file, without what is no time."""
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], list)):
        return [], 0.0
    return [float(t) for t in value[0] if _is_time(t)], float(value[1]) if _is_time(value[1]) else 0.0


def _is_time(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


class Pacer:
    """Lets requests out in bursts up to an endpoint's budget, then exactly when the window frees.

    share: the part of each budget that may be used, above 0 and up to 1 (at least one request, else nothing could ever
    be sent). max_wait: the seconds that may be spent waiting, in all.
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
        # Called every ten seconds of a wait.
        self.on_wait: Callable[[], None] | None = None
        self._preview: Preview | None = None

    def start_preview(self) -> Preview:
        """A pacer for check mode: takes and waits as a real run would, without sleeping or sharing what it counts.

        It starts from the shared budgets and the time waited so far. `spend` simulates a write; it raises the
        BudgetSpent of the real run, with the same numbers. Until `end_preview`, each real request (`take`, `answered`
        and `close` of this pacer) is counted in the preview first, so a real read raises BudgetSpent where
        the real run would, even if check mode itself had time left. So ask the preview alone what to do next.

        Its clock is the real one plus the simulated waiting that has not really been waited yet: waiting for a write
        also frees the budget for reads, as in a real run, and no second of waiting counts twice.
        """
        with self._budget_store.open() as budgets:
            self._preview = Preview(self, budgets)
        return self._preview

    def end_preview(self) -> None:
        """Count real requests in the preview no longer: those that follow have no part in a real run."""
        self._preview = None

    def get_max_requests(self, endpoint: Endpoint) -> int:
        """How many requests the task may send in one window."""
        return max(1, math.floor(endpoint.limit * self._share + 1e-9))

    def get_delay(self, endpoint: Endpoint, count: int = 1) -> float:
        """Seconds until the last of `count` more requests may go out; 0 if there are none."""
        if not count:
            return 0.0
        with self._budget_store.open() as budgets:
            return self._calculate_delay(self._get_budget(budgets, endpoint), endpoint, count)

    def take(self, endpoint: Endpoint) -> float:
        """Wait until a request may go out, and count it. What comes back is given to `answered`."""
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
        """Count the request from now on: only now is it sure that the exchange has seen it."""
        with self._budget_store.open() as budgets:
            budget = self._get_budget(budgets, endpoint)
            if taken_at in budget.request_times:
                budget.request_times.remove(taken_at)
            budgets[endpoint.name] = [[*budget.request_times, self._clock()], budget.closed_until]
        if self._preview:
            self._preview.record_answer(endpoint, self._preview.simulated_times.pop(taken_at, taken_at))

    def release(self, endpoint: Endpoint, taken_at: float) -> None:
        """Give back a request that was taken and never sent."""
        with self._budget_store.open() as budgets:
            budget = self._get_budget(budgets, endpoint)
            if taken_at in budget.request_times:
                budget.request_times.remove(taken_at)
            budgets[endpoint.name] = [budget.request_times, budget.closed_until]
        if self._preview:
            self._preview.release(endpoint, self._preview.simulated_times.pop(taken_at, taken_at))

    def close_budget(self, endpoint: Endpoint, seconds: float) -> None:
        """Send nothing for so long: the exchange said that the budget is spent, whoever spent it."""
        with self._budget_store.open() as budgets:
            budget = self._get_budget(budgets, endpoint)
            until = self._clock() + min(seconds, MAX_CLOSURE_SECONDS)
            budgets[endpoint.name] = [budget.request_times, max(budget.closed_until, until)]
        if self._preview:
            self._preview.close_budget(endpoint, seconds)

    def check_max_wait(self, planned: Mapping[Endpoint, int]) -> None:
        """Raise BudgetSpent where the requests ahead can't all go out within the max_wait that is left."""
        waits = [(self.get_delay(endpoint, count), endpoint, count) for endpoint, count in planned.items() if count]
        seconds, endpoint, count = max(waits, default=(0.0, None, 0))
        if endpoint is None or seconds <= 0 or self.waited + seconds <= self._max_wait:
            return
        raise BudgetSpent(
            f"the rate limit of {endpoint.method} {endpoint.path} ({self.get_max_requests(endpoint)} requests in 60 s "
            f"for this task) needs a wait of about {math.ceil(seconds)} s for {count} more, and rate_limit_timeout "
            "leaves "
            f"{math.floor(self._max_wait - self.waited)} s of {self._max_wait:g} s: raise it, or run again later"
        )

    def wait(self, seconds: float) -> None:
        """Sleep on account of the rate limit."""
        self.waited += seconds
        while self.on_wait and seconds > MAX_SLEEP_SECONDS:
            self._sleep(MAX_SLEEP_SECONDS)
            seconds -= MAX_SLEEP_SECONDS
            self.on_wait()
        self._sleep(seconds)

    def _get_budget(self, budgets: dict[str, Any], endpoint: Endpoint) -> Budget:
        """The endpoint's budget as far as it still matters; a time that can't be is dropped."""
        now = self._clock()
        sent, closed = _parse_budget(budgets.get(endpoint.name))
        # Only the latest requests count, as many as the limit. A larger file costs no more time.
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
    """What the pacer of a real run would do: see Pacer.preview. `simulated`: the simulated time of each real `take`."""

    def __init__(self, real: Pacer, budgets: Mapping[str, Any]) -> None:
        super().__init__(
            MemoryBudgets(budgets), real._share, real._max_wait, self._simulated_time, lambda seconds: None
        )
        self._real = real
        self._answer_seconds = 0.0
        self.simulated_times: dict[float, float] = {}

    def simulate(self, endpoint: Endpoint, seconds: float) -> None:
        """Simulate a request that the exchange takes `seconds` to answer. Raises BudgetSpent as `take` does."""
        taken_at = self.take(endpoint)
        self._answer_seconds += seconds
        self.record_answer(endpoint, taken_at)

    def _simulated_time(self) -> float:
        # A real run takes at least as long as check mode: it sends the same reads, and writes too.
        self.waited = max(self.waited, self._real.waited - self._answer_seconds)
        return self._real._clock() + (self.waited - self._real.waited) + self._answer_seconds
