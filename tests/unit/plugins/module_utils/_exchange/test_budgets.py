# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Budgets: the file in which the processes of one machine share them, and everything that can be wrong with it."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import budgets as _budgets
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.budgets import (
    MAX_LOCK_WAIT_SECONDS,
    BudgetStore,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Pacer

from ..client_setup import Clock
from .pacing_setup import (
    FULL_WINDOW,
    NO_FILE_DESCRIPTOR,
    START,
    TEN_PER_WINDOW,
    THREE_PER_WINDOW,
    NewPacer,
    make_failing,
    send_requests,
)

NewProcess = Callable[..., "subprocess.Popen[str]"]
DISK_FULL = OSError(errno.ENOSPC, "No space left on device")


PROCESS_SETUP = """
import os
import sys
sys.path.insert(0, {tests_folder!r})
# This makes the collection importable.
import conftest
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import BudgetSpent
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.budgets import BudgetStore
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import Endpoint
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Pacer

def take():
    try:
        Pacer(BudgetStore("key", {budgets_folder!r}), 1.0, 0.0).take(Endpoint("three", "GET", "/three", 3))
    except BudgetSpent:
        return 1
    return 0

"""
# Start processes that wait for the pipe to close. Then each sends one request.
# Print how many were sent, and how many were refused.
TAKE_AT_THE_SAME_TIME = """
ready, go = os.pipe()
children = []
for _child in range({processes}):
    child = os.fork()
    if not child:
        os.close(go)
        os.read(ready, 1)
        os._exit(take())
    children.append(child)
os.close(go)
exit_codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
print(exit_codes.count(0), exit_codes.count(1))
"""
HOLD_THE_LOCK = """
with BudgetStore("key", {budgets_folder!r}).open():
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def new_process(tmp_path: Path) -> Iterator[NewProcess]:
    """A function that starts another Python process with the same budgets."""
    started: list[subprocess.Popen[str]] = []

    def start(code: str, **values: Any) -> subprocess.Popen[str]:
        values["tests_folder"] = str(Path(__file__).resolve().parents[3])
        values["budgets_folder"] = str(tmp_path / "budgets")
        command = [sys.executable, "-c", (PROCESS_SETUP + code).format(**values)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def count_open_files() -> int:
    return len(os.listdir("/dev/fd"))


def write_half(file: int, content: bytes, offset: int, real_pwrite: Any = os.pwrite) -> int:
    """Replace os.pwrite: write only the first half of the content."""
    return int(real_pwrite(file, content[: len(content) // 2], offset))


def create_file(path: Path) -> None:
    path.write_text("")


def create_folder(path: Path) -> None:
    path.mkdir()


def create_folder_for_the_group(path: Path) -> None:
    path.mkdir()
    path.chmod(0o770)


def create_pipe(path: Path) -> None:
    os.mkfifo(path)


def create_link_to_file(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("precious")
    path.symlink_to(target)


def create_link_to_folder(path: Path) -> None:
    target = path.with_name("target")
    target.mkdir(mode=0o700)
    path.symlink_to(target)


def create_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("none"))


# --- BudgetStore ---


def test_file_is_private_and_does_not_contain_the_key(new_pacer: NewPacer, tmp_path: Path) -> None:
    directory = tmp_path / "budgets"
    send_requests(new_pacer(identity="https://coinswitch.co 03a107bff3ce"), 1)
    (path,) = directory.iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert re.fullmatch(r"[0-9a-f]{32}\.json", path.name)
    assert "03a107bff3ce" not in path.name + path.read_text()
    assert json.loads(path.read_text()) == {"three": [[START], 0.0]}


def test_each_key_has_its_own_budgets(new_pacer: NewPacer, clock: Clock) -> None:
    send_requests(new_pacer(identity="one"), 3)
    send_requests(new_pacer(identity="two"), 3)
    assert clock.slept == []
    assert new_pacer(identity="one").get_delay(THREE_PER_WINDOW) > 0


def test_fifty_processes_together_stay_within_the_limit(new_process: NewProcess) -> None:
    output, _errors = new_process(TAKE_AT_THE_SAME_TIME, processes=50).communicate()
    assert output == "3 47\n"


# --- BudgetStore.open ---


def test_budgets_of_other_endpoints_are_kept(new_pacer: NewPacer, budgets_file: Path) -> None:
    budgets_file.write_text(json.dumps({"later version": {"a": 1}, "ten": [[START], 0.0]}))
    send_requests(new_pacer(), 1)
    assert json.loads(budgets_file.read_text()) == {
        "later version": {"a": 1},
        "ten": [[START], 0.0],
        "three": [[START], 0.0],
    }


def test_error_inside_open_changes_nothing_and_releases_the_lock(
    new_pacer: NewPacer, budgets_file: Path, tmp_path: Path
) -> None:
    before = budgets_file.read_text()
    budget_store = BudgetStore("key", str(tmp_path / "budgets"))

    def fail() -> None:
        with budget_store.open() as budgets:
            budgets["three"] = [[START], 0.0]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert budgets_file.read_text() == before
    with budgets_file.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@pytest.mark.parametrize(
    "error_number", [errno.EROFS, errno.EMFILE, errno.EDQUOT, errno.ENOLCK, errno.EIO, errno.ESTALE]
)
@pytest.mark.parametrize(
    "call", ["os.makedirs", "os.lstat", "os.open", "os.fstat", "fcntl.flock", "os.read", "os.ftruncate", "os.pwrite"]
)
def test_file_system_error_is_not_raised(
    new_pacer: NewPacer, clock: Clock, budgets_file: Path, monkeypatch: pytest.MonkeyPatch, call: str, error_number: int
) -> None:
    pacer = new_pacer()
    open_files = count_open_files()
    with monkeypatch.context() as patch:
        patch.setattr(call, make_failing(OSError(error_number, "broken")))
        assert send_requests(pacer, 4) == pytest.approx([START] * 3 + [START + FULL_WINDOW])
    assert count_open_files() == open_files


def test_no_file_is_left_open(new_pacer: NewPacer, budgets_file: Path) -> None:
    open_files = count_open_files()
    send_requests(new_pacer(), 3)
    assert count_open_files() == open_files


# --- BudgetStore._open_locked, BudgetStore._open_file ---


def test_deleted_folder_is_created_again(new_pacer: NewPacer, budgets_file: Path) -> None:
    pacer = new_pacer()
    send_requests(pacer, 1)
    shutil.rmtree(budgets_file.parent)
    send_requests(pacer, 1)
    assert budgets_file.exists()


def test_budgets_are_in_memory_if_the_folder_cannot_be_created(
    new_pacer: NewPacer, clock: Clock, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    send_requests(new_pacer(directory=tmp_path / "file" / "budgets"), 4)
    assert clock.slept == pytest.approx([FULL_WINDOW])


@pytest.mark.parametrize(
    "create", [create_file, create_link_to_folder, create_folder_for_the_group, create_dangling_link]
)
def test_folder_that_another_user_could_control_is_not_used(
    new_pacer: NewPacer, clock: Clock, tmp_path: Path, create: Callable[[Path], None]
) -> None:
    directory = tmp_path / "created by another user"
    create(directory)
    sent = send_requests(new_pacer(directory=directory), 4)
    assert sent == pytest.approx([START] * 3 + [START + FULL_WINDOW]), "the budgets are in memory"
    assert new_pacer(directory=directory).get_delay(THREE_PER_WINDOW) == 0
    assert not directory.is_dir() or list(directory.iterdir()) == []


def test_folder_of_another_user_is_not_used(
    new_pacer: NewPacer, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "created by another user"
    directory.mkdir(mode=0o700)
    pacer = new_pacer(directory=directory)
    other_user = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other_user)
    send_requests(pacer, 4)
    assert clock.slept == pytest.approx([FULL_WINDOW])
    assert list(directory.iterdir()) == []


@pytest.mark.parametrize("create", [create_link_to_file, create_folder, create_pipe])
def test_link_or_folder_or_pipe_instead_of_the_file_is_not_used(
    new_pacer: NewPacer, clock: Clock, budgets_file: Path, create: Callable[[Path], None]
) -> None:
    budgets_file.unlink()
    create(budgets_file)
    before = budgets_file.lstat().st_mode
    assert send_requests(new_pacer(), 4) == pytest.approx([START] * 3 + [START + FULL_WINDOW])
    assert budgets_file.lstat().st_mode == before
    if budgets_file.is_symlink():
        assert budgets_file.read_text() == "precious"


# --- BudgetStore._try_lock ---


def test_lock_that_another_process_keeps_is_waited_for_only_once(
    new_pacer: NewPacer, clock: Clock, budgets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacer = new_pacer()
    send_requests(pacer, 2)
    before = budgets_file.read_text()
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    with budgets_file.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        open_files = count_open_files()
        assert pacer.get_delay(THREE_PER_WINDOW, 2) == pytest.approx(FULL_WINDOW), (
            "the budgets that the pacer read last count"
        )
        assert MAX_LOCK_WAIT_SECONDS / 2 <= sum(pauses) <= MAX_LOCK_WAIT_SECONDS + 0.1
        assert max(pauses) < 0.1
        pauses.clear()
        assert send_requests(pacer, 2) == pytest.approx([START, START + FULL_WINDOW])
        assert pauses == [], "the pacer does not wait for this lock again"
        assert count_open_files() == open_files
    assert budgets_file.read_text() == before


def test_file_that_is_replaced_during_the_wait_for_its_lock_is_opened_again(
    new_pacer: NewPacer, clock: Clock, budgets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with budgets_file.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)

        def replace(_seconds: float) -> None:
            new_file = budgets_file.with_name("new_file")
            new_file.write_text(json.dumps({"three": [[START] * 3, 0.0]}))
            new_file.replace(budgets_file)
            fcntl.flock(file, fcntl.LOCK_UN)

        monkeypatch.setattr("time.sleep", replace)
        assert new_pacer().get_delay(THREE_PER_WINDOW) == pytest.approx(FULL_WINDOW)


# --- _find_directory ---


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The home of the user. The temporary directory is beside it."""
    for name in ("home", "temporary"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    return tmp_path / "home"


@pytest.fixture
def temporary(home: Path) -> Path:
    return home.parent / "temporary" / f"tradeops.coinswitch-{os.geteuid()}"


def find_budgets(clock: Clock) -> Path:
    """Send a request, and return the directory in which it is counted."""
    store = BudgetStore("key")
    Pacer(store, 1.0, 0.0, clock, clock.sleep).take(THREE_PER_WINDOW)
    assert Path(store._path).is_file()
    assert Path(store._directory).stat().st_mode & 0o777 == 0o700
    return Path(store._directory)


def test_default_directory_is_below_the_home(home: Path, clock: Clock) -> None:
    assert find_budgets(clock) == home / ".local/state/tradeops.coinswitch"
    assert find_budgets(clock) == home / ".local/state/tradeops.coinswitch"
    assert list((home.parent / "temporary").iterdir()) == []


def test_default_directory_does_not_depend_on_what_cron_lacks(
    home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = find_budgets(clock)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home.parent))
    monkeypatch.setenv("TMPDIR", str(home.parent))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("XDG_STATE_HOME", "")
    assert find_budgets(clock) == before


def test_default_directory_is_below_xdg_state_home(home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(home.parent / "state"))
    assert find_budgets(clock) == home.parent / "state/tradeops.coinswitch"


@pytest.mark.parametrize("value", [None, ""])
def test_home_of_the_password_database_is_used_without_the_variable(
    home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, value: str | None
) -> None:
    monkeypatch.delenv("HOME")
    if value is not None:
        monkeypatch.setenv("HOME", value)
    monkeypatch.setattr("pwd.getpwuid", lambda _user: SimpleNamespace(pw_dir=str(home)))
    assert find_budgets(clock) == home / ".local/state/tradeops.coinswitch"


def test_temporary_directory_is_used_without_a_home(
    temporary: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", make_failing(KeyError()))
    assert find_budgets(clock) == temporary


def test_temporary_directory_is_used_if_the_home_belongs_to_another_user(
    home: Path, temporary: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_budgets, "_is_own", lambda directory: not directory.startswith(str(home)))
    assert find_budgets(clock) == temporary
    assert list(home.iterdir()) == []


def test_own_directory_is_the_first_one_that_exists(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _budgets._is_own(str(home / ".local" / "state"))
    monkeypatch.setattr("os.geteuid", lambda: home.stat().st_uid + 1)
    assert not _budgets._is_own(str(home / ".local" / "state"))


@pytest.mark.parametrize("defect", ["file", "link", "open to others", "relative", "read-only"])
def test_temporary_directory_is_used_if_the_state_directory_cannot_be_used(
    home: Path, temporary: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, defect: str
) -> None:
    directory = home / ".local/state/tradeops.coinswitch"
    directory.parent.mkdir(parents=True)
    if defect == "file":
        directory.touch()
    elif defect == "link":
        directory.symlink_to(home)
    elif defect == "relative":
        monkeypatch.chdir(home)
        monkeypatch.setenv("XDG_STATE_HOME", "state")
    else:
        directory.mkdir(mode=0o755 if defect == "open to others" else 0o700)
    if defect == "read-only":
        monkeypatch.setattr("os.access", lambda path, mode: path != str(directory))
    assert find_budgets(clock) == temporary


def test_budgets_are_in_memory_if_there_is_no_directory(
    home: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/dev/null/state")
    monkeypatch.setattr(
        "tempfile.gettempdir", make_failing(FileNotFoundError(2, "No usable temporary directory found"))
    )
    pacer = Pacer(BudgetStore("key"), 1.0, 600.0, clock, clock.sleep)
    assert send_requests(pacer, 4) == pytest.approx([START] * 3 + [START + FULL_WINDOW])


# --- _remove_old_files ---


def test_new_file_replaces_files_that_were_not_used_for_a_day(home: Path, clock: Clock) -> None:
    directory = find_budgets(clock)
    (kept,) = directory.iterdir()
    now = time.time()
    ages = {"old.json": 86_401.0, "new.json": 86_000.0, "future.json": -1e6, "other": 1e6}
    for name, age in ages.items():
        (directory / name).touch()
        os.utime(directory / name, (now - age, now - age))
    Pacer(BudgetStore("key"), 1.0, 0.0, clock, clock.sleep).take(THREE_PER_WINDOW)
    assert (directory / "old.json").exists()
    other_store = BudgetStore("other key")
    Pacer(other_store, 1.0, 0.0, clock, clock.sleep).take(THREE_PER_WINDOW)
    expected = {kept.name, Path(other_store._path).name, "new.json", "future.json", "other"}
    assert {path.name for path in directory.iterdir()} == expected


# --- _get_clock_identity ---


@pytest.mark.parametrize("prefix", ["boot", "time namespace", "host without a boot id"])
def test_budgets_of_another_clock_are_not_used(
    new_pacer: NewPacer, budgets_file: Path, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    send_requests(new_pacer(), 3)
    assert new_pacer().get_delay(THREE_PER_WINDOW) > 0
    clocks = iter(["one", "two", "one"])
    monkeypatch.setattr(_budgets, "_get_clock_identity", lambda: f"{prefix} {next(clocks)}")
    send_requests(new_pacer(), 3)
    assert new_pacer().get_delay(THREE_PER_WINDOW) == 0
    assert new_pacer().get_delay(THREE_PER_WINDOW) == pytest.approx(FULL_WINDOW)


def test_clock_identity_contains_the_boot_id_and_the_time_namespace() -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert _budgets._get_clock_identity() == f"{boot} {os.stat('/proc/self/ns/time').st_ino}"


@pytest.mark.parametrize("start", [999_960.0, 999_961.0, 1_000_020.0])
def test_clock_identity_without_a_boot_id_contains_the_host_and_its_start(
    monkeypatch: pytest.MonkeyPatch, start: float
) -> None:
    monkeypatch.setattr(_budgets, "open", make_failing(FileNotFoundError(2, "no /proc")), raising=False)
    monkeypatch.setattr("time.time", lambda: start + 500.0)
    monkeypatch.setattr("time.monotonic", lambda: 500.0)
    assert str(start // 60) in _budgets._get_clock_identity()
    assert os.uname().nodename in _budgets._get_clock_identity()


# --- _lock ---


def test_lock_that_another_process_releases_is_waited_for(
    new_pacer: NewPacer, clock: Clock, budgets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_requests(new_pacer(), 3)
    with budgets_file.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        monkeypatch.setattr("time.sleep", lambda seconds: fcntl.flock(file, fcntl.LOCK_UN))
        assert new_pacer().get_delay(THREE_PER_WINDOW) == pytest.approx(FULL_WINDOW)


def test_lock_that_nfs_reports_as_denied_is_waited_for(
    new_pacer: NewPacer, budgets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_flock = fcntl.flock
    send_requests(new_pacer(), 3)
    denied = [PermissionError(errno.EACCES, "Permission denied")] * 3

    def flock(descriptor: int, operation: int) -> None:
        if denied:
            raise denied.pop()
        real_flock(descriptor, operation)

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(fcntl, "flock", flock)
    assert new_pacer().get_delay(THREE_PER_WINDOW) == pytest.approx(FULL_WINDOW)


def test_lock_of_a_killed_process_is_released(
    new_process: NewProcess, new_pacer: NewPacer, clock: Clock, tmp_path: Path
) -> None:
    send_requests(new_pacer(), 3)
    other_process = new_process(HOLD_THE_LOCK)
    assert other_process.stdout
    assert other_process.stdout.readline() == "held\n"
    other_process.kill()
    other_process.wait()
    assert new_pacer().get_delay(THREE_PER_WINDOW) == pytest.approx(FULL_WINDOW)


# --- _unlock_and_close ---


def test_child_process_that_inherits_the_file_does_not_keep_the_lock(budgets_file: Path, tmp_path: Path) -> None:
    with BudgetStore("key", str(tmp_path / "budgets")).open():
        inherited = [
            os.dup(int(name))
            for name in os.listdir("/dev/fd")
            if os.path.realpath(f"/dev/fd/{name}") == str(budgets_file)
        ]
    assert inherited
    with budgets_file.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for descriptor in inherited:
        os.close(descriptor)


def test_error_of_close_is_not_raised(new_pacer: NewPacer, budgets_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real_close = os.close

    def close(descriptor: int) -> None:
        real_close(descriptor)
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    pacer = new_pacer()
    with monkeypatch.context() as patch:
        patch.setattr(os, "close", close)
        send_requests(pacer, 3)
    assert pacer.get_delay(THREE_PER_WINDOW) == pytest.approx(FULL_WINDOW)


# --- _read_budgets ---


INVALID_CONTENTS: list[Any] = [
    b"",
    b"{",
    b"\0" * 100,
    b"\xff\xfe",
    b"[]",
    b"null",
    b'"three"',
    b"[" * 100_000,
    b'{"three": null}',
    b'{"three": []}',
    b'{"three": [[], []]}',
    b'{"three": [{}, 0]}',
    b'{"three": [[], 0, 0]}',
    b'{"three": 5}',
    b'{"three": [["a", null, true, [], {}], "b"]}',
    b'{"three": [[NaN, Infinity, -Infinity], NaN]}',
    b'{"three": [[1e308, 1e400], 1e400]}',
    b'{"three": [[true, false], true]}',
    # Times before or after this window, such as those of another boot.
    b'{"three": [[1, 2, 3, 900, 939.8], 999]}',
    b'{"three": [[1000.1, 2000, 99999], 1301]}',
    b'{"three": [[-1, -1000], -5]}',
    b'{"three": [[' + b"9" * 5000 + b"], 0]}",
    b'{"three": [[' + b"9" * 400 + b"], " + b"9" * 400 + b"]}",
    b'{"other": "x"}',
    # Larger than the largest file that is read.
    b'{"three": [[1000, 1000, 1000], 0], "other": "' + b"x" * (1 << 20) + b'"}',
]


@pytest.mark.parametrize("content", INVALID_CONTENTS, ids=lambda content: str(content[:40]))
def test_invalid_content_is_ignored(new_pacer: NewPacer, clock: Clock, budgets_file: Path, content: bytes) -> None:
    budgets_file.write_bytes(content)
    assert send_requests(new_pacer(), 4) == pytest.approx([START] * 3 + [START + FULL_WINDOW])


def test_unreadable_file_counts_as_empty(new_pacer: NewPacer, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    send_requests(new_pacer(), 3)
    monkeypatch.setattr(os, "read", make_failing(DISK_FULL))
    assert new_pacer().get_delay(THREE_PER_WINDOW) == 0


# --- _write_budgets ---


def test_shorter_content_replaces_longer_content_completely(
    new_pacer: NewPacer, clock: Clock, budgets_file: Path
) -> None:
    send_requests(new_pacer(), 3)
    clock.now += 2 * FULL_WINDOW
    send_requests(new_pacer(), 1)
    assert json.loads(budgets_file.read_text())["three"] == [[clock()], 0.0]


def test_file_that_is_too_large_is_truncated(new_pacer: NewPacer, clock: Clock, budgets_file: Path) -> None:
    os.truncate(budgets_file, 256 << 20)
    send_requests(new_pacer(), 1)
    assert budgets_file.stat().st_size < 1000
    assert json.loads(budgets_file.read_text())["three"] == [[clock()], 0.0]


@pytest.mark.parametrize("pwrite", [make_failing(DISK_FULL), write_half])
def test_full_disk_does_not_lose_the_requests_of_the_pacer(
    new_pacer: NewPacer, clock: Clock, monkeypatch: pytest.MonkeyPatch, pwrite: Any
) -> None:
    pacer = new_pacer()
    send_requests(pacer, 1)
    monkeypatch.setattr(os, "pwrite", pwrite)
    assert send_requests(pacer, 3) == pytest.approx([START, START, START + FULL_WINDOW])
    pacer.handle_refusal(TEN_PER_WINDOW, 30)
    assert pacer.get_delay(TEN_PER_WINDOW) == pytest.approx(30)


# --- _merge_budgets ---


def test_requests_that_could_not_be_written_are_added_to_the_file_later(
    new_pacer: NewPacer, clock: Clock, budgets_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pacer = new_pacer()
    send_requests(pacer, 1)
    clock.now += 1
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", make_failing(NO_FILE_DESCRIPTOR))
        send_requests(pacer, 1)
        pacer.handle_refusal(TEN_PER_WINDOW, 30)
    clock.now += 1
    send_requests(new_pacer(), 1)
    pacer.get_delay(THREE_PER_WINDOW)
    assert new_pacer().get_delay(THREE_PER_WINDOW, 1) == pytest.approx(FULL_WINDOW - 2), (
        "one request of the other pacer and two of this pacer, and each counts once"
    )
    assert new_pacer().get_delay(THREE_PER_WINDOW, 3) == pytest.approx(FULL_WINDOW)
    assert new_pacer().get_delay(TEN_PER_WINDOW) == pytest.approx(29)
