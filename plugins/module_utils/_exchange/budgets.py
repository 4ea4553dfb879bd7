# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file in which the processes of one machine share their request budgets.

Each API key has its own small file, which only this user can read. It is locked for about a millisecond for each
access. The content is a dictionary: the name of an endpoint, and the times of its requests with the time until which it
is closed. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import math
import os
import pwd
import random
import stat
import tempfile
import time
from collections import Counter
from typing import Any, Iterator, Mapping

# Hundreds of processes can wait for the lock of one key. A stopped process must not block them forever.
MAX_LOCK_WAIT_SECONDS = 10.0
_FIRST_LOCK_PAUSE_SECONDS = 0.001
_MAX_LOCK_PAUSE_SECONDS = 0.064
_OPEN_ATTEMPTS = 5
_MAX_FILE_BYTES = 64 << 10
# No endpoint is closed for so long.
_MAX_AGE_SECONDS = 24 * 60 * 60.0


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
        directory: The directory of the file. None: a directory of this user.
    """

    def __init__(self, identity: str, directory: str | None = None) -> None:
        super().__init__()
        self._directory = directory or _find_directory()
        key = f"{_get_clock_identity()} {identity}".encode("utf-8", "backslashreplace")
        self._path = os.path.join(self._directory or "", hashlib.sha256(key).hexdigest()[:32] + ".json")
        self._has_unshared = False
        self._max_lock_wait = MAX_LOCK_WAIT_SECONDS

    @contextlib.contextmanager
    def open(self) -> Iterator[dict[str, Any]]:
        """Return the budgets by the name of the endpoint, and lock them. The caller can change them."""
        file = self._open_locked()
        try:
            shared = None if file is None else _read_budgets(file)
            if file is None or shared is None:
                # Count in memory, so that the task still counts its own requests. A file that cannot be read is never
                # written.
                before = dict(self._memory)
                yield self._memory
                self._has_unshared = self._has_unshared or self._memory != before
            else:
                budgets = _merge_budgets(shared, self._memory) if self._has_unshared else dict(shared)
                yield budgets
                self._memory = budgets
                self._has_unshared = budgets != shared and not _write_budgets(file, budgets)
        finally:
            if file is not None:
                _unlock_and_close(file)

    def _open_locked(self) -> int | None:
        """Return the descriptor of the locked file. None if there is no file that can be trusted and locked."""
        with contextlib.suppress(OSError, ValueError):
            for _attempt in range(_OPEN_ATTEMPTS if self._directory else 0):
                file = self._open_file()
                if self._try_lock(file):
                    return file
                _unlock_and_close(file)
                if not self._max_lock_wait:
                    break
        return None

    def _open_file(self) -> int:
        _make_private_directory(self._directory)
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            return os.open(self._path, flags)
        except FileNotFoundError:
            _remove_old_files(self._directory)
            return os.open(self._path, flags | os.O_CREAT, 0o600)

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


def _find_directory() -> str:
    """Return the directory of the budgets of this user. Empty if there is none that can be used.

    It must be the same for each process of the user. A job of cron has no runtime directory, and a service can have a
    temporary directory of its own, so the state directory comes first.
    """
    directories = _list_state_directories()
    with contextlib.suppress(OSError):
        directories.append(os.path.join(tempfile.gettempdir(), f"tradeops.coinswitch-{os.geteuid()}"))
    for directory in directories:
        with contextlib.suppress(OSError, ValueError):
            _make_private_directory(directory)
            return directory
    return ""


def _list_state_directories() -> list[str]:
    """Return the directory below the state directory of this user (XDG base directories). Empty without a home."""
    home = ""
    with contextlib.suppress(KeyError):
        home = os.environ.get("HOME") or pwd.getpwuid(os.geteuid()).pw_dir
    state = os.environ.get("XDG_STATE_HOME") or os.path.join(home, ".local", "state")
    # With sudo, both variables can be those of another user. A directory of root there would be in the way.
    return [os.path.join(state, "tradeops.coinswitch")] if os.path.isabs(state) and _is_own(state) else []


def _is_own(directory: str) -> bool:
    """Return whether a directory belongs to this user. If it does not exist, the first one above it that exists."""
    while not os.path.exists(directory):
        directory = os.path.dirname(directory)
    return os.stat(directory).st_uid == os.geteuid()


def _make_private_directory(directory: str) -> None:
    """Create a directory if needed. Raise OSError if other users can read it, or if this one cannot write."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    found = os.lstat(directory)
    is_private = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
    if not is_private or not os.access(directory, os.W_OK):
        raise PermissionError


def _remove_old_files(directory: str) -> None:
    """Remove the files of earlier boots and of keys that are not used any more.

    If a process uses such a file at the same moment, one request is not counted after a day without any.
    """
    with contextlib.suppress(OSError), os.scandir(directory) as files:
        oldest = time.time() - _MAX_AGE_SECONDS
        for file in files:
            if file.name.endswith(".json") and file.stat(follow_symlinks=False).st_mtime < oldest:
                os.unlink(file.path)


def _get_clock_identity() -> str:
    """Return an identifier of the monotonic clock.

    Processes can compare their times only if the identifier is the same: on the same boot, in the same time namespace.
    """
    boot_id, time_namespace = "", 0
    with contextlib.suppress(OSError, ValueError), open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot_id = file.read(64).strip()
    with contextlib.suppress(OSError):
        time_namespace = os.stat("/proc/self/ns/time").st_ino
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
        sent, closed = parse_budget(value)
        others_sent, others_closed = parse_budget(shared.get(name))
        merged[name] = [sorted((Counter(sent) | Counter(others_sent)).elements()), max(closed, others_closed)]
    return merged


def parse_budget(value: Any) -> tuple[list[float], float]:
    """Return the request times and the closing time of a budget in the file. Values that are not times are ignored."""
    if not (isinstance(value, list) and len(value) == 2 and isinstance(value[0], list)):
        return [], 0.0
    return [float(t) for t in value[0] if _is_time(t)], float(value[1]) if _is_time(value[1]) else 0.0


def _is_time(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)
