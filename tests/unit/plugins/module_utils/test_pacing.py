# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Request budgets: bursts up to the limit, then exactly when the window frees; shared by the processes of a machine."""

from __future__ import annotations

import copy
import errno
import fcntl
import heapq
import json
import os
import random
import re
import shutil
import stat
import subprocess
import sys
import tempfile
import unittest.mock
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _pacing
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import BudgetSpent
from ansible_collections.tradeops.coinswitch.plugins.module_utils._pacing import (
    LONGEST_CLOSURE,
    LONGEST_LOCK_WAIT,
    MARGIN,
    WINDOW,
    BudgetStore,
    Endpoint,
    Pacer,
)

from .client_setup import Clock

THREE = Endpoint("three", "GET", "/three", 3)
TEN = Endpoint("ten", "POST", "/ten", 10, writes=True)
START = 1000.0
CYCLE = WINDOW + MARGIN

Build = Callable[..., Pacer]


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def pacer(clock: Clock, tmp_path: Path) -> Build:
    """Builds a pacer: of the same key and machine, unless it is returned otherwise."""

    def build(
        share: float = 1.0, max_wait: float = 600.0, identity: str = "key", directory: Path | None = None
    ) -> Pacer:
        budget_store = BudgetStore(identity, str(directory or tmp_path / "budgets"))
        return Pacer(budget_store, share, max_wait, clock, clock.sleep)

    return build


@pytest.fixture
def file(pacer: Build, tmp_path: Path) -> Path:
    """The file of the budgets."""
    pacer().take(TEN)
    (path,) = (tmp_path / "budgets").iterdir()
    return path


def spend(pacer: Pacer, count: int, endpoint: Endpoint = THREE) -> list[float]:
    """Send so many requests, each answered at once; when they went out."""
    sent = []
    for _request in range(count):
        taken = pacer.take(endpoint)
        pacer.answered(endpoint, taken)
        sent.append(taken)
    return sent


# --- one process ---


def test_bursts_and_then_exactly_when_the_window_frees(pacer: Build, clock: Clock) -> None:
    sent = spend(pacer(), 7)
    assert sent == pytest.approx([START] * 3 + [START + CYCLE] * 3 + [START + 2 * CYCLE])
    assert clock.slept == pytest.approx([CYCLE, CYCLE])


def test_each_request_frees_its_own_place(pacer: Build, clock: Clock) -> None:
    task = pacer()
    for _request in range(3):
        spend(task, 1)
        clock.now += 10
    assert spend(task, 4) == pytest.approx([START + CYCLE, START + 10 + CYCLE, START + 20 + CYCLE, START + 2 * CYCLE])


@pytest.mark.parametrize("early", [30.0, 0.9, 0.001])
def test_not_a_moment_too_early(pacer: Build, clock: Clock, early: float) -> None:
    task = pacer()
    spend(task, 3)
    clock.now += CYCLE - early
    assert spend(task, 1) == pytest.approx([START + CYCLE])
    assert clock.slept == pytest.approx([early])


def test_an_endpoint_reads_where_it_is_not_said_to_write() -> None:
    assert not THREE.writes
    assert TEN.writes


def test_endpoints_have_budgets_of_their_own(pacer: Build, clock: Clock) -> None:
    task = pacer()
    spend(task, 3, THREE)
    spend(task, 10, TEN)
    assert clock.slept == []
    assert task.delay(THREE) == task.delay(TEN) == pytest.approx(CYCLE)


def test_what_was_waited_is_reported(pacer: Build, clock: Clock) -> None:
    task = pacer()
    spend(task, 4)
    assert task.waited == pytest.approx(CYCLE)
    task.wait(2.5)
    assert task.waited == pytest.approx(CYCLE + 2.5)
    assert clock.slept[-1] == 2.5


@pytest.mark.parametrize(
    ("count", "cycles"), [(0, 0), (1, 0), (3, 0), (4, 1), (6, 1), (7, 2), (9, 2), (10, 3), (24, 7)]
)
def test_delay_predicts_the_last_of_many(pacer: Build, clock: Clock, count: int, cycles: int) -> None:
    task = pacer()
    predicted = task.delay(THREE, count)
    assert predicted == pytest.approx(cycles * CYCLE)
    spend(task, count)
    assert clock() == pytest.approx(START + predicted)


def test_a_request_counts_from_its_answer(pacer: Build, clock: Clock) -> None:
    task = pacer()
    taken = [task.take(THREE) for _request in range(3)]
    clock.now += 9
    assert task.delay(THREE) == pytest.approx(CYCLE - 9), "counted from when it was sent, while the answer is out"
    for when in taken:
        task.answered(THREE, when)
    assert task.delay(THREE) == pytest.approx(CYCLE)
    assert task.delay(THREE, 4) == pytest.approx(2 * CYCLE)


def test_an_answer_after_the_window_counts_all_the_same(pacer: Build, clock: Clock) -> None:
    task = pacer()
    taken = [task.take(THREE) for _request in range(3)]
    clock.now += CYCLE + 40
    for when in taken:
        task.answered(THREE, when)
    assert task.delay(THREE) == pytest.approx(CYCLE)


def test_what_left_the_window_is_forgotten(pacer: Build, clock: Clock, file: Path) -> None:
    task = pacer()
    for _round in range(5):
        spend(task, 3)
        clock.now += CYCLE
    spend(task, 1)
    assert len(json.loads(file.read_text())["three"][0]) == 1
    assert clock.slept == []


@pytest.mark.parametrize(
    ("share", "limit", "allowed"),
    [
        (1.0, 10, 10),
        (1.0, 3, 3),
        (0.5, 10, 5),
        (0.5, 3, 1),
        (0.99, 10, 9),
        (0.7, 10, 7),
        (0.29, 100, 29),
        (0.1, 10, 1),
        (0.01, 10, 1),
        (1e-9, 100, 1),
    ],
)
def test_a_share_of_the_budget(pacer: Build, clock: Clock, share: float, limit: int, allowed: int) -> None:
    endpoint = Endpoint("some", "GET", "/some", limit)
    task = pacer(share=share)
    assert task.allowed(endpoint) == allowed
    spend(task, allowed, endpoint)
    assert clock.slept == []
    assert task.delay(endpoint) == pytest.approx(CYCLE)


def test_what_others_spent_counts_against_the_share(pacer: Build) -> None:
    spend(pacer(), 6, TEN)
    half = pacer(share=0.5)
    assert half.delay(TEN) == pytest.approx(CYCLE)
    assert pacer(share=0.7).delay(TEN) == 0
    assert pacer(share=0.7).delay(TEN, 2) == pytest.approx(CYCLE)


# --- max_wait ---


def test_a_wait_that_is_too_long_is_said_before_waiting(pacer: Build, clock: Clock) -> None:
    task = pacer(max_wait=60)
    spend(task, 3)
    clock.now += 0.05
    with pytest.raises(BudgetSpent) as spent:
        task.take(THREE)
    assert str(spent.value) == (
        "the rate limit of GET /three (3 requests in 60 s for this task) needs a wait of about 61 s for 1 more, and "
        "rate_limit_timeout leaves 60 s of 60 s: raise it, or run again later"
    )
    assert spent.value.stops
    assert not spent.value.sent
    assert clock.slept == []
    clock.now += 0.05
    task.take(THREE)
    assert clock.slept == pytest.approx([60.0])


def test_max_wait_is_for_the_whole_task(pacer: Build, clock: Clock) -> None:
    task = pacer(max_wait=100.5, share=0.5)
    spend(task, 2)
    with pytest.raises(BudgetSpent, match=r"\(1 requests in 60 s for this task\) .* leaves 40 s of 100.5 s: "):
        task.take(THREE)
    assert len(clock.slept) == 1


@pytest.mark.parametrize(
    ("ahead", "needed"),
    [
        ({}, None),
        ({THREE: 0}, None),
        ({THREE: 3}, None),
        ({THREE: 5, TEN: 0}, None),
        ({THREE: 6, TEN: 20}, None),
        ({THREE: 7}, ("GET /three (3", 121, 7)),
        ({THREE: 4, TEN: 21}, ("POST /ten (10", 121, 21)),
        ({THREE: 10, TEN: 21}, ("GET /three (3", 181, 10)),
    ],
)
def test_what_is_ahead_must_fit(
    pacer: Build, clock: Clock, ahead: dict[Endpoint, int], needed: tuple[str, int, int] | None
) -> None:
    task = pacer(max_wait=61)
    if needed is None:
        task.expect(ahead)
    else:
        name, seconds, count = needed
        with pytest.raises(BudgetSpent) as spent:
            task.expect(ahead)
        assert f"the rate limit of {name} " in str(spent.value)
        assert f"needs a wait of about {seconds} s for {count} more, " in str(spent.value)
    assert clock.slept == []
    assert task.delay(THREE) == 0, "nothing is taken"


def test_what_can_go_at_once_needs_no_max_wait(pacer: Build) -> None:
    task = pacer(max_wait=0)
    task.expect({THREE: 3})
    spend(task, 3)
    with pytest.raises(BudgetSpent):
        task.take(THREE)


def test_the_shortest_wait_needs_max_wait(pacer: Build, clock: Clock) -> None:
    task = pacer(max_wait=0)
    spend(task, 3)
    clock.now += CYCLE - 0.25
    with pytest.raises(BudgetSpent, match="needs a wait of about 1 s for 1 more"):
        task.take(THREE)


def test_what_can_go_at_once_does_so_when_all_max_wait_is_spent(pacer: Build) -> None:
    task = pacer(max_wait=5)
    task.wait(10)
    task.expect({THREE: 3, TEN: 10})
    spend(task, 3)


# --- the exchange says that the budget is spent ---


def test_a_closed_budget_opens_when_it_was_said_to(pacer: Build, clock: Clock) -> None:
    task = pacer()
    spend(task, 1)
    task.close(THREE, 20)
    assert task.delay(THREE) == pytest.approx(20)
    assert task.delay(TEN) == 0
    assert task.take(THREE) == pytest.approx(START + 20)
    assert clock.slept == pytest.approx([20])


def test_after_a_closure_the_rest_still_counts(pacer: Build) -> None:
    task = pacer()
    spend(task, 3)
    task.close(THREE, 20)
    assert task.delay(THREE) == pytest.approx(CYCLE)
    task.close(THREE, 100)
    assert task.delay(THREE, 3) == pytest.approx(100)
    assert task.delay(THREE, 4) == pytest.approx(100 + CYCLE)


def test_a_shorter_closure_does_not_open_a_longer_one(pacer: Build) -> None:
    task = pacer()
    task.close(THREE, 60)
    task.close(THREE, 1)
    assert task.delay(THREE) == pytest.approx(60)


def test_no_closure_is_longer_than_is_sane(pacer: Build) -> None:
    task = pacer()
    task.close(THREE, 1e9)
    assert task.delay(THREE) == pytest.approx(LONGEST_CLOSURE) == 300


def test_a_closure_is_for_all_processes(pacer: Build) -> None:
    pacer().close(THREE, 20)
    assert pacer().delay(THREE) == pytest.approx(20)


# --- check mode: a real run is simulated ---


def test_a_preview_waits_without_sleeping_and_shares_nothing(pacer: Build, clock: Clock, file: Path) -> None:
    task = pacer()
    before = file.read_text()
    assert spend(task.preview(), 7) == pytest.approx([START] * 3 + [START + CYCLE] * 3 + [START + 2 * CYCLE])
    assert clock.slept == []
    assert clock() == START
    assert task.waited == 0
    assert file.read_text() == before


def test_a_preview_starts_from_what_was_spent_and_waited(pacer: Build) -> None:
    spend(pacer(), 2)
    task = pacer(max_wait=CYCLE + 5)
    task.wait(5)
    preview = task.preview()
    assert preview.delay(THREE) == 0
    assert preview.delay(THREE, 2) == pytest.approx(CYCLE - 5)
    spend(preview, 2)
    assert preview.waited == pytest.approx(CYCLE)


def test_a_preview_fails_as_the_real_run(pacer: Build, clock: Clock, tmp_path: Path) -> None:
    def problem(task: Pacer) -> str:
        with pytest.raises(BudgetSpent) as spent:
            spend(task, 12)
        return str(spent.value)

    predicted = problem(pacer(max_wait=100.5, directory=tmp_path / "check").preview())
    assert predicted == problem(pacer(max_wait=100.5, directory=tmp_path / "real"))
    assert "needs a wait of about 61 s for 1 more, and rate_limit_timeout leaves 40 s of 100.5 s" in predicted


@pytest.mark.parametrize("order", ["rw" * 12, "r" * 12 + "w" * 12, "w" * 12 + "r" * 12, "rrw" * 6 + "wwr" * 4])
@pytest.mark.parametrize("max_wait", [600, 185, 125, 65, 0])
@pytest.mark.parametrize("latency", [0.0, 0.4])
def test_real_reads_and_simulated_writes_take_the_time_of_a_real_run(
    pacer: Build, clock: Clock, tmp_path: Path, order: str, max_wait: float, latency: float
) -> None:
    """Nothing of a real run differs, but for the time that a write is on its way."""

    def run(task: Pacer, writer: Pacer) -> tuple[list[float], str]:
        times = []
        try:
            for what in order:
                by, endpoint = (task, THREE) if what == "r" else (writer, TEN)
                taken = by.take(endpoint)
                clock.now += latency if what == "r" else 0
                by.answered(endpoint, taken)
                times.append(writer.waited)
        except BudgetSpent as error:
            return times, str(error)
        return times, ""

    checked = pacer(max_wait=max_wait, directory=tmp_path / "check")
    predicted = run(checked, checked.preview())
    real = pacer(max_wait=max_wait, directory=tmp_path / "real")
    actual = run(real, real)
    assert predicted[0] == pytest.approx(actual[0])
    assert predicted[1] == actual[1]


def test_real_waits_for_others_pass_in_the_preview_too(pacer: Build, clock: Clock) -> None:
    task = pacer()
    preview = task.preview()
    spend(pacer(), 3)
    spend(task, 1)
    assert clock.slept == pytest.approx([CYCLE])
    assert preview.waited == pytest.approx(CYCLE)
    assert preview.take(TEN) == pytest.approx(clock())


def test_a_real_429_closes_the_preview_too(pacer: Build, clock: Clock) -> None:
    task = pacer()
    preview = task.preview()
    spend(task, 1)
    task.close(THREE, 20)
    assert preview.delay(THREE) == pytest.approx(20)
    spend(task, 1)
    assert clock.slept == pytest.approx([20])
    assert preview.waited == pytest.approx(20)
    assert preview.take(TEN) == pytest.approx(clock())


def test_after_the_preview_real_requests_have_no_part_in_it(pacer: Build) -> None:
    task = pacer(max_wait=0)
    preview = task.preview()
    spend(preview, 3)
    with pytest.raises(BudgetSpent):
        task.take(THREE)
    task.end_preview()
    spend(task, 3)
    assert preview.delay(THREE) == pytest.approx(CYCLE)


# --- many processes on one machine, and the exchange that counts for itself ---


class Counting:
    """The exchange's own view: when it saw each request, and the most in any window."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def most_in_a_window(self) -> int:
        seen = sorted(self.seen)
        return max(sum(1 for t in seen if start <= t < start + WINDOW) for start in seen)


def run_side_by_side(tasks: list[Pacer], requests: int, clock: Clock, latency: Callable[[], float]) -> Counting:
    """Let each task send its requests one after the other: each is seen somewhere on its way, and answered later."""
    exchange = Counting()
    # When, whose turn, how many requests are left to it, and when the one on its way was taken.
    events: list[tuple[float, int, int, float | None]] = [
        (clock(), number, requests, None) for number in range(len(tasks))
    ]
    while events:
        now, number, left, taken = heapq.heappop(events)
        clock.now = max(clock.now, now)
        task = tasks[number]
        if taken is not None:
            task.answered(THREE, taken)
            if left:
                heapq.heappush(events, (clock(), number, left, None))
        elif (delay := task.delay(THREE)) > 0:
            heapq.heappush(events, (clock() + delay, number, left, None))
        else:
            taken = task.take(THREE)
            on_its_way, back = latency(), latency()
            exchange.seen.append(clock() + on_its_way)
            heapq.heappush(events, (clock() + on_its_way + back, number, left - 1, taken))
    return exchange


@pytest.mark.parametrize("slowest", [0.0, 0.3, 5.0])
@pytest.mark.parametrize("processes", [1, 2, 7])
@pytest.mark.parametrize("seed", range(4))
def test_never_more_than_the_limit_in_any_window_of_the_exchange(
    pacer: Build, clock: Clock, seed: int, processes: int, slowest: float
) -> None:
    chance = random.Random(seed)
    tasks = [pacer() for _process in range(processes)]
    started = clock()
    exchange = run_side_by_side(tasks, 14 // processes, clock, lambda: chance.uniform(0, slowest))
    assert len(exchange.seen) == 14
    assert exchange.most_in_a_window() == THREE.limit
    assert clock.slept == [], "a budget that has room has it for the one who asks"
    assert clock() - started <= 4 * (CYCLE + 2 * slowest) + 2 * slowest, "and the limits are used to the full"


def test_keys_have_budgets_of_their_own(pacer: Build, clock: Clock) -> None:
    spend(pacer(identity="one"), 3)
    spend(pacer(identity="two"), 3)
    assert clock.slept == []
    assert pacer(identity="one").delay(THREE) > 0


IN_ANOTHER_PROCESS = """
import os
import sys
sys.path.insert(0, {conftest!r})
import conftest
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import BudgetSpent
from ansible_collections.tradeops.coinswitch.plugins.module_utils._pacing import Endpoint, BudgetStore, Pacer

def take():
    try:
        Pacer(BudgetStore("key", {directory!r}), 1.0, 0.0).take(Endpoint("three", "GET", "/three", 3))
    except BudgetSpent:
        return 1
    return 0

"""
TEN_TAKE_AT_ONCE = """
ready, go = os.pipe()
children = []
for _child in range(10):
    child = os.fork()
    if not child:
        os.close(go)
        os.read(ready, 1)
        os._exit(take())
    children.append(child)
os.close(go)
ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
print(ends.count(0), ends.count(1))
"""
HOLD = """
with BudgetStore("key", {directory!r}).open():
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    """Starts another process of this machine."""
    started: list[subprocess.Popen[str]] = []

    def start(work: str) -> subprocess.Popen[str]:
        places = {"conftest": str(Path(__file__).resolve().parents[2]), "directory": str(tmp_path / "budgets")}
        command = [sys.executable, "-c", (IN_ANOTHER_PROCESS + work).format(**places)]
        started.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for child in started:
        child.kill()
        child.communicate()


def test_ten_processes_at_once_stay_under_the_limit_together(process: Callable[[str], subprocess.Popen[str]]) -> None:
    sent_and_spent, _nothing = process(TEN_TAKE_AT_ONCE).communicate()
    assert sent_and_spent == "3 7\n"


def test_a_killed_holder_lets_go(
    process: Callable[[str], subprocess.Popen[str]], pacer: Build, clock: Clock, tmp_path: Path
) -> None:
    spend(pacer(), 3)
    holder = process(HOLD)
    assert holder.stdout
    assert holder.stdout.readline() == "held\n"
    holder.kill()
    holder.wait()
    assert pacer().delay(THREE) == pytest.approx(CYCLE)


# --- the file: never an error, whatever is found in its place ---


def test_the_file_is_private_and_tells_nothing(pacer: Build, tmp_path: Path) -> None:
    directory = tmp_path / "budgets"
    spend(pacer(identity="https://coinswitch.co 03a107bff3ce"), 1)
    (path,) = directory.iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert re.fullmatch(r"[0-9a-f]{32}\.json", path.name)
    assert "03a107bff3ce" not in path.name + path.read_text()
    assert json.loads(path.read_text()) == {"three": [[START], 0.0]}


def test_by_default_it_lies_in_the_temporary_folder_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, clock: Clock
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    Pacer(BudgetStore("key"), 1.0, 0.0, clock, clock.sleep).take(THREE)
    (directory,) = tmp_path.iterdir()
    assert directory.name == f"tradeops.coinswitch-{os.geteuid()}"
    assert len(list(directory.iterdir())) == 1


def test_a_request_refused_for_want_of_max_wait_leaves_the_file_as_it_was(pacer: Build, file: Path) -> None:
    task = pacer(max_wait=0)
    spend(task, 3)
    before = file.read_text()
    with pytest.raises(BudgetSpent):
        task.take(THREE)
    assert file.read_text() == before


NOT_OURS: list[Any] = [
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
    # Of a time before, or after: of another boot.
    b'{"three": [[1, 2, 3, 900, 939.8], 999]}',
    b'{"three": [[1000.1, 2000, 99999], 1301]}',
    b'{"three": [[-1, -1000], -5]}',
    b'{"three": [[' + b"9" * 5000 + b"], 0]}",
    b'{"three": [[' + b"9" * 400 + b"], " + b"9" * 400 + b"]}",
    b'{"other": "x"}',
    # Larger than any of ours.
    b'{"three": [[1000, 1000, 1000], 0], "other": "' + b"x" * (1 << 20) + b'"}',
]


@pytest.mark.parametrize("content", NOT_OURS, ids=lambda content: str(content[:40]))
def test_content_that_cannot_be_is_dropped(pacer: Build, clock: Clock, file: Path, content: bytes) -> None:
    file.write_bytes(content)
    assert spend(pacer(), 4) == pytest.approx([START] * 3 + [START + CYCLE])


def test_content_that_can_be_counts(pacer: Build, file: Path) -> None:
    file.write_text(json.dumps({"three": [[START - 30, "x", START - CYCLE + 0.01, START, START + 1], START + 5]}))
    task = pacer()
    assert task.delay(THREE, 1) == pytest.approx(5)
    assert task.delay(THREE, 2) == pytest.approx(30 + MARGIN)


def test_budgets_of_other_endpoints_are_kept(pacer: Build, file: Path) -> None:
    file.write_text(json.dumps({"later version": {"a": 1}, "ten": [[START], 0.0]}))
    spend(pacer(), 1)
    assert json.loads(file.read_text()) == {
        "later version": {"a": 1},
        "ten": [[START], 0.0],
        "three": [[START], 0.0],
    }


def test_a_shorter_content_leaves_nothing_of_a_longer_one(pacer: Build, clock: Clock, file: Path) -> None:
    spend(pacer(), 3)
    clock.now += 2 * CYCLE
    spend(pacer(), 1)
    assert json.loads(file.read_text())["three"] == [[clock()], 0.0]


def lay_file(directory: Path) -> None:
    directory.write_text("")


def lay_link_to_folder(directory: Path) -> None:
    target = directory.with_name("target")
    target.mkdir(mode=0o700)
    directory.symlink_to(target)


def lay_open_folder(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o770)


def lay_dangling_link(directory: Path) -> None:
    directory.symlink_to(directory.with_name("none"))


@pytest.mark.parametrize("lay_it", [lay_file, lay_link_to_folder, lay_open_folder, lay_dangling_link])
def test_a_folder_that_another_could_have_laid_is_not_used(
    pacer: Build, clock: Clock, tmp_path: Path, lay_it: Callable[[Path], None]
) -> None:
    directory = tmp_path / "laid"
    lay_it(directory)
    assert spend(pacer(directory=directory), 4) == pytest.approx([START] * 3 + [START + CYCLE]), "kept in memory"
    assert pacer(directory=directory).delay(THREE) == 0
    assert not directory.is_dir() or list(directory.iterdir()) == []


def test_a_folder_of_another_user_is_not_used(
    pacer: Build, clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = tmp_path / "laid"
    directory.mkdir(mode=0o700)
    task = pacer(directory=directory)
    other = os.geteuid() + 1
    monkeypatch.setattr(os, "geteuid", lambda: other)
    spend(task, 4)
    assert clock.slept == pytest.approx([CYCLE])
    assert list(directory.iterdir()) == []


def lay_link(path: Path) -> None:
    target = path.with_name("target")
    target.write_text("precious")
    path.symlink_to(target)


def lay_folder(path: Path) -> None:
    path.mkdir()


def lay_pipe(path: Path) -> None:
    os.mkfifo(path)


@pytest.mark.parametrize("lay_it", [lay_link, lay_folder, lay_pipe])
def test_what_is_no_file_is_not_used(pacer: Build, clock: Clock, file: Path, lay_it: Callable[[Path], None]) -> None:
    file.unlink()
    lay_it(file)
    before = file.lstat().st_mode
    assert spend(pacer(), 4) == pytest.approx([START] * 3 + [START + CYCLE])
    assert file.lstat().st_mode == before
    if file.is_symlink():
        assert file.read_text() == "precious"


def test_a_folder_that_cannot_be_made_is_done_without(pacer: Build, clock: Clock, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    spend(pacer(directory=tmp_path / "file" / "budgets"), 4)
    assert clock.slept == pytest.approx([CYCLE])


def failing(*_arguments: Any) -> Any:
    raise OSError(28, "No space left on device")


def writing_half(file: int, content: bytes, offset: int, whole: Any = os.pwrite) -> int:
    return int(whole(file, content[: len(content) // 2], offset))


@pytest.mark.parametrize(("call", "instead"), [("pwrite", failing), ("ftruncate", failing), ("pwrite", writing_half)])
def test_a_full_disk_loses_no_budget_of_the_task(
    pacer: Build, clock: Clock, monkeypatch: pytest.MonkeyPatch, call: str, instead: Any
) -> None:
    task = pacer()
    spend(task, 1)
    monkeypatch.setattr(os, call, instead)
    assert spend(task, 3) == pytest.approx([START, START, START + CYCLE])
    task.close(TEN, 30)
    assert task.delay(TEN) == pytest.approx(30)


def test_a_file_that_cannot_be_read_counts_as_empty(
    pacer: Build, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend(pacer(), 3)
    monkeypatch.setattr(os, "read", failing)
    assert pacer().delay(THREE) == 0


def test_a_holder_that_does_not_let_go_is_given_up(
    pacer: Build, clock: Clock, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = pacer()
    spend(task, 2)
    kept = file.read_text()
    pauses: list[float] = []
    monkeypatch.setattr("time.sleep", pauses.append)
    with file.open() as current:
        fcntl.flock(current, fcntl.LOCK_EX)
        descriptors = len(os.listdir("/dev/fd"))
        assert task.delay(THREE, 2) == pytest.approx(CYCLE), "what it knew last counts, in memory"
        assert LONGEST_LOCK_WAIT / 2 <= sum(pauses) <= LONGEST_LOCK_WAIT + 0.1
        assert max(pauses) < 0.1
        pauses.clear()
        assert spend(task, 2) == pytest.approx([START, START + CYCLE])
        assert pauses == [], "the task waits for such a holder once"
        assert len(os.listdir("/dev/fd")) == descriptors
    assert file.read_text() == kept


def test_a_holder_that_lets_go_in_time_is_waited_for(
    pacer: Build, clock: Clock, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spend(pacer(), 3)
    with file.open() as current:
        fcntl.flock(current, fcntl.LOCK_EX)
        monkeypatch.setattr("time.sleep", lambda seconds: fcntl.flock(current, fcntl.LOCK_UN))
        assert pacer().delay(THREE) == pytest.approx(CYCLE)


def test_an_error_within_leaves_the_budgets_and_the_lock(pacer: Build, file: Path, tmp_path: Path) -> None:
    before = file.read_text()
    budget_store = BudgetStore("key", str(tmp_path / "budgets"))

    def fail() -> None:
        with budget_store.open() as budgets:
            budgets["three"] = [[START], 0.0]
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert file.read_text() == before
    with file.open() as current:
        fcntl.flock(current, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_no_descriptor_is_left_open(pacer: Build, file: Path) -> None:
    open_before = len(os.listdir("/dev/fd"))
    spend(pacer(), 3)
    assert len(os.listdir("/dev/fd")) == open_before


# --- no usable folder, other clocks, other file systems ---


def raising(error: BaseException) -> Callable[..., Any]:
    def instead(*_arguments: Any, **_options: Any) -> Any:
        raise error

    return instead


def test_no_usable_temporary_folder_means_memory(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.gettempdir", raising(FileNotFoundError(2, "No usable temporary directory found")))
    task = Pacer(BudgetStore("key"), 1.0, 600.0, clock, clock.sleep)
    assert spend(task, 4) == pytest.approx([START] * 3 + [START + CYCLE])


@pytest.mark.parametrize("number", [errno.EROFS, errno.EMFILE, errno.EDQUOT, errno.ENOLCK, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize(
    "call", ["os.makedirs", "os.lstat", "os.open", "os.fstat", "fcntl.flock", "os.read", "os.ftruncate", "os.pwrite"]
)
def test_an_error_of_the_file_system_never_reaches_the_task(
    pacer: Build, clock: Clock, file: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    task = pacer()
    descriptors = len(os.listdir("/dev/fd"))
    with monkeypatch.context() as broken:
        broken.setattr(call, raising(OSError(number, "broken")))
        assert spend(task, 4) == pytest.approx([START] * 3 + [START + CYCLE])
    assert len(os.listdir("/dev/fd")) == descriptors


def test_a_close_that_fails_does_not_reach_the_task(pacer: Build, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.close

    def close(descriptor: int) -> None:
        whole(descriptor)
        raise OSError(errno.EDQUOT, "Disk quota exceeded")

    task = pacer()
    with monkeypatch.context() as broken:
        broken.setattr(os, "close", close)
        spend(task, 3)
    assert task.delay(THREE) == pytest.approx(CYCLE)


def test_requests_that_could_not_be_shared_are_shared_later(
    pacer: Build, clock: Clock, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = pacer()
    spend(task, 1)
    clock.now += 1
    with monkeypatch.context() as broken:
        broken.setattr(os, "open", raising(OSError(errno.EMFILE, "Too many open files")))
        spend(task, 1)
        task.close(TEN, 30)
    clock.now += 1
    spend(pacer(), 1)
    task.delay(THREE)
    assert pacer().delay(THREE, 1) == pytest.approx(CYCLE - 2), "one of another task, two of this one: each counts once"
    assert pacer().delay(THREE, 3) == pytest.approx(CYCLE)
    assert pacer().delay(TEN) == pytest.approx(29)


def test_a_folder_that_vanishes_is_made_again(pacer: Build, file: Path) -> None:
    task = pacer()
    spend(task, 1)
    shutil.rmtree(file.parent)
    spend(task, 1)
    assert file.exists()


def test_a_file_replaced_while_the_lock_is_waited_for_is_not_used(
    pacer: Build, clock: Clock, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with file.open() as current:
        fcntl.flock(current, fcntl.LOCK_EX)

        def replace(_seconds: float) -> None:
            fresh = file.with_name("fresh")
            fresh.write_text(json.dumps({"three": [[START] * 3, 0.0]}))
            fresh.replace(file)
            fcntl.flock(current, fcntl.LOCK_UN)

        monkeypatch.setattr("time.sleep", replace)
        assert pacer().delay(THREE) == pytest.approx(CYCLE)


def test_a_lock_that_nfs_reports_as_denied_is_waited_for(
    pacer: Build, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fcntl.flock
    spend(pacer(), 3)
    denied = [PermissionError(errno.EACCES, "Permission denied")] * 3

    def flock(descriptor: int, how: int) -> None:
        if denied:
            raise denied.pop()
        whole(descriptor, how)

    monkeypatch.setattr("time.sleep", lambda seconds: None)
    monkeypatch.setattr(fcntl, "flock", flock)
    assert pacer().delay(THREE) == pytest.approx(CYCLE)


def test_a_child_that_inherits_the_descriptor_does_not_keep_the_lock(file: Path, tmp_path: Path) -> None:
    with BudgetStore("key", str(tmp_path / "budgets")).open():
        inherited = [
            os.dup(int(name)) for name in os.listdir("/dev/fd") if os.path.realpath(f"/dev/fd/{name}") == str(file)
        ]
    assert inherited
    with file.open() as current:
        fcntl.flock(current, fcntl.LOCK_EX | fcntl.LOCK_NB)
    for descriptor in inherited:
        os.close(descriptor)


@pytest.mark.parametrize("differs", ["boot", "time namespace", "host without a boot id"])
def test_times_of_another_clock_are_not_counted(
    pacer: Build, file: Path, monkeypatch: pytest.MonkeyPatch, differs: str
) -> None:
    spend(pacer(), 3)
    assert pacer().delay(THREE) > 0
    clocks = iter(["one", "two", "one"])
    monkeypatch.setattr(_pacing, "_clock_identity", lambda: f"{differs} {next(clocks)}")
    spend(pacer(), 3)
    assert pacer().delay(THREE) == 0
    assert pacer().delay(THREE) == pytest.approx(CYCLE)


def test_a_clock_is_named_by_boot_and_time_namespace() -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert _pacing._clock_identity() == f"{boot} {os.stat('/proc/self/ns/time').st_ino}"


@pytest.mark.parametrize("start", [999_960.0, 999_961.0, 1_000_020.0])
def test_without_a_boot_id_a_clock_is_named_by_its_beginning(monkeypatch: pytest.MonkeyPatch, start: float) -> None:
    monkeypatch.setattr(_pacing, "open", raising(FileNotFoundError(2, "no /proc")), raising=False)
    monkeypatch.setattr("time.time", lambda: start + 500.0)
    monkeypatch.setattr("time.monotonic", lambda: 500.0)
    assert str(start // 60) in _pacing._clock_identity()
    assert os.uname().nodename in _pacing._clock_identity()


CROWD = """
ready, go = os.pipe()
children = []
for _child in range(200):
    child = os.fork()
    if not child:
        os.close(go)
        os.read(ready, 1)
        os._exit(take())
    children.append(child)
os.close(go)
ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
print(ends.count(0), ends.count(1))
"""


def test_two_hundred_forks_stay_under_the_limit_together(process: Callable[[str], subprocess.Popen[str]]) -> None:
    sent_and_spent, _nothing = process(CROWD).communicate()
    assert sent_and_spent == "3 197\n"


# --- any order of events ---

EVENT = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["send", "send", "send", "429", "fork", "lost file", "pass"]),
    st.floats(0, 20),
    st.floats(0, 20),
)


@given(events=st.lists(EVENT, max_size=40))
def test_any_order_of_events_stays_under_the_limit_and_wastes_no_time(
    events: list[tuple[int, str, float, float]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        clock = Clock(START)

        def new(budgets: BudgetStore) -> Pacer:
            return Pacer(budgets, 1.0, 1e9, clock, clock.sleep)

        stores = [BudgetStore("key", f"{directory}/budgets") for _task in range(3)]
        tasks = [new(store) for store in stores]
        exchange = Counting()
        answered: list[float] = []
        closed = 0.0
        for number, what, on_its_way, back in events:
            task = tasks[number]
            if what == "pass":
                clock.now += on_its_way
            elif what == "fork":
                stores[number] = copy.deepcopy(stores[number])
                tasks[number] = new(stores[number])
            elif what == "lost file":
                # A moment without a file, in which this task waits for nobody and sends nothing.
                with unittest.mock.patch("os.open", raising(OSError(errno.EMFILE, "Too many open files"))):
                    task.delay(THREE)
            else:
                recent = [t for t in answered if clock() - CYCLE < t]
                due = max(sorted(recent)[-THREE.limit] + CYCLE if len(recent) >= THREE.limit else 0.0, closed, clock())
                taken = task.take(THREE)
                assert taken == pytest.approx(due, abs=1e-6), "exactly when the window frees"
                clock.now += on_its_way
                exchange.seen.append(clock())
                clock.now += back
                task.answered(THREE, taken)
                answered.append(clock())
                if what == "429":
                    task.close(THREE, back)
                    closed = max(closed, clock() + back)
        assert not exchange.seen or exchange.most_in_a_window() <= THREE.limit


def test_a_released_request_does_not_count(pacer: Build) -> None:
    task = pacer()
    taken = task.take(THREE)
    spend(task, 2)
    assert task.delay(THREE) == pytest.approx(CYCLE)
    task.release(THREE, taken)
    assert task.delay(THREE) == 0
    task.release(THREE, taken)
    assert task.delay(THREE) == 0
