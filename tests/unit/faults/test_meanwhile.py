# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What happens while a task runs: writes that land late, positions opened, bots, and another task of our own."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.tradeops.coinswitch.plugins.module_utils._client import Client
from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import Futures
from ansible_collections.tradeops.coinswitch.plugins.module_utils._leverage import apply
from ansible_collections.tradeops.coinswitch.plugins.module_utils._pacing import Pacer
from ansible_collections.tradeops.coinswitch.plugins.module_utils._policy import DesiredLeverage, Policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._report import Report
from ansible_collections.tradeops.coinswitch.plugins.module_utils._signing import SignedAuth
from ansible_collections.tradeops.coinswitch.plugins.module_utils._transport import Answer, Request, Transport
from sandbox import FAULTS, Fault
from sandbox import Request as Received

from ..plugins.module_utils.client_setup import MemoryBudgets
from .module_harness import (
    EXAMPLES,
    HANGS,
    RETRIES,
    TIMEOUT,
    Clock,
    LateExchange,
    ModuleHarness,
    StallingSandbox,
    reports_the_truth,
    says_one_clear_line,
)
from .raw_server import Raw

BTC_TO_13: dict[str, Any] = {"symbol": "BTCUSDT", "leverage": 13}


@pytest.mark.parametrize(
    "answers", [["400"], ["401"], ["403-html"], ["422-empty"], ["redirect"], ["500", "400"], ["429"] * 20]
)
def test_a_refusal_does_not_undo_an_unclear_write(harness: ModuleHarness, answers: list[str]) -> None:
    """The first write is on its way, and lands when the task is over."""
    harness.exchange.lands_last = True
    for name in ("late", *answers):
        harness.exchange.add_fault("write_leverage", FAULTS[name])
    result = harness.run("futures_leverage", **BTC_TO_13)
    assert harness.in_force("BTCUSDT") == 13
    assert (result["failed"], result["outcome"]) == (True, "unknown")
    says_one_clear_line(result)
    reports_the_truth(result, harness)


def test_writes_that_all_land_when_the_task_is_over(harness: ModuleHarness) -> None:
    harness.exchange.lands_last = True
    harness.exchange.add_fault("write_leverage", FAULTS["late"], times=None)
    result = harness.run("futures_leverage", **BTC_TO_13)
    assert harness.in_force("BTCUSDT") == 13
    assert (result["failed"], result["outcome"], result["leverage"]) == (True, "unknown", 10)
    assert "may still take effect" in result["msg"]
    assert harness.exchange.count("write_leverage") == 1 + RETRIES


def test_a_late_write_under_another_desired_leverage_in_the_end(harness: ModuleHarness) -> None:
    """A task that gave up leaves a write on its way; the next task reads what is in force when it asks."""
    harness.exchange.add_fault("write_leverage", FAULTS["late"])
    first = harness.run("futures_leverage", **BTC_TO_13, retries=0)
    assert first["outcome"] == "unknown"
    second = harness.run("futures_leverage", symbol="BTCUSDT", leverage=7)
    assert (second["previous_leverage"], second["leverage"], harness.in_force("BTCUSDT")) == (13, 7, 7)


@pytest.mark.parametrize("write", ["", "400", "500", "drop-before", "drop-after", "timeout", "late", "429"])
def test_a_position_opened_between_the_read_and_the_write(harness: ModuleHarness, write: str) -> None:
    def open_one(request: Received) -> None:
        if request.endpoint == "read_leverage" and not harness.account.positions:
            harness.account.open_position("BTCUSDT", "LONG", "0.01")

    harness.exchange.watch = open_one
    if write:
        harness.exchange.add_fault("write_leverage", FAULTS[write])
    result = harness.run("futures_leverage", **BTC_TO_13)
    says_one_clear_line(result)
    reports_the_truth(result, harness)
    assert (result["failed"], result["changed"], harness.in_force("BTCUSDT")) == (True, False, 10)
    if write in ("", "400", "429"):
        assert result["outcome"] == "blocked"
        assert "LONG 0.01" in result["msg"]


@pytest.mark.parametrize("back", [10, 7, 25])
@pytest.mark.parametrize("write", ["drop-after", "500-done", "timeout", "garbage", "400-done", "null"])
def test_a_bot_that_changes_the_leverage_back(harness: ModuleHarness, write: str, back: int) -> None:
    """Each write is carried out without a clear word, and undone before it can be read back."""

    def change_back(request: Received) -> None:
        if request.endpoint == "write_leverage":
            harness.account.set_leverage("BTCUSDT", back)

    harness.exchange.watch = change_back
    harness.exchange.add_fault("write_leverage", FAULTS[write], times=None)
    result = harness.run("futures_leverage", **BTC_TO_13)
    says_one_clear_line(result)
    reports_the_truth(result, harness)
    assert (result["failed"], result["leverage"], harness.in_force("BTCUSDT")) == (True, back, back)
    assert harness.exchange.count("write_leverage") <= 1 + RETRIES


@pytest.mark.parametrize("meanwhile", [13, 7, 25])
def test_a_bot_that_is_faster(harness: ModuleHarness, meanwhile: int) -> None:
    """The leverage is changed between the read and the write: what counts is the desired leverage."""

    def change(request: Received) -> None:
        if request.endpoint == "read_leverage":
            harness.account.set_leverage("BTCUSDT", meanwhile)

    harness.exchange.watch = change
    result = harness.run("futures_leverage", **BTC_TO_13)
    assert (result["failed"], result["leverage"], harness.in_force("BTCUSDT")) == (False, 13, 13)


def test_a_stale_answer_is_not_taken_for_the_reading_back(harness: ModuleHarness) -> None:
    """The write gets another word first; what confirms it comes when the next question is asked on its connection."""
    http = "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}"
    returned = '{{"data": {{"exchange": "EXCHANGE_2", "symbol": "BTCUSDT", "leverage": "{}"}}}}'
    answers = {
        True: [returned.format(10), '{"message": "Done"}', returned.format(13)],
        False: [returned.format(10)] * 9,
    }

    def converse(connection: socket.socket) -> None:
        bodies = answers[server.connections == 1]
        while server.head(connection):
            body = bodies.pop(0)
            connection.sendall(http.format(len(body), body).encode())

    with Raw(converse) as server:
        result = harness.run("futures_leverage", **BTC_TO_13, api_url=server.url)
    assert (result["failed"], result["leverage"], result["changed"]) == (True, 10, False)


class Turns:
    """Lets two tasks ask one request at a time, in a given order; where it is over or a task is, the other goes on."""

    def __init__(self, order: list[int]) -> None:
        self._order = list(order)
        self._running = {0, 1}
        self._changed = threading.Condition()

    @contextmanager
    def turn(self, task: int) -> Iterator[None]:
        with self._changed:
            assert self._changed.wait_for(lambda: self._next() == task, HANGS), "nobody's turn"
        try:
            yield
        finally:
            with self._changed:
                del self._order[:1]
                self._changed.notify_all()

    def over(self, task: int) -> None:
        with self._changed:
            self._running.discard(task)
            self._changed.notify_all()

    def _next(self) -> int:
        while self._order and self._order[0] not in self._running:
            del self._order[:1]
        return self._order[0] if self._order else min(self._running)


class InTurn(Transport):
    """A transport that waits for its turn, and notes what is in force once the exchange has spoken of it."""

    def __init__(self, task: int, turns: Turns, server: StallingSandbox, clock: Clock) -> None:
        account = server.exchange.accounts[0]
        auth = SignedAuth(account.api_key, account.secret_key, clock.unix)
        super().__init__(server.url, auth, TIMEOUT, True)
        self.pair_matches = auth.pair_matches
        self.seen = 0
        self._task = task
        self._turns = turns
        self._account = account

    def __call__(self, request: Request) -> Answer:
        with self._turns.turn(self._task):
            try:
                return super().__call__(request)
            finally:
                if request.path.endswith("/leverage"):
                    self.seen = self._account.leverage_in_force("BTCUSDT")


def run_in_turn(
    task: InTurn, turns: Turns, number: int, desired: int, clock: Clock, reports: dict[int, Report]
) -> None:
    pacer = Pacer(MemoryBudgets(), 1.0, 600.0, clock, clock.sleep)
    client = Client(task, pacer, RETRIES, task.pair_matches, lambda value: value, clock.unix, clock.sleep)
    try:
        reports[number] = apply(
            Futures(client, "EXCHANGE_2"), Policy([DesiredLeverage("BTCUSDT", desired)], single=True)
        )
    finally:
        turns.over(number)
        task.reset_connection()


QUICK_FAULTS = ("", "", "drop-before", "drop-after", "500", "500-done", "400", "400-done", "garbage", "429", "no-data")


@settings(EXAMPLES, max_examples=120)
@given(
    order=st.lists(st.integers(0, 1), max_size=12),
    policy=st.tuples(st.sampled_from([5, 10, 13]), st.sampled_from([5, 10, 20])),
    faults=st.lists(st.sampled_from(QUICK_FAULTS), max_size=5),
)
def test_two_tasks_with_their_own_desired(
    sandbox: StallingSandbox, order: list[int], policy: tuple[int, int], faults: list[str]
) -> None:
    """Each says what was in force when the exchange last spoke to it; the one that spoke last is right in the end."""
    clock = Clock()
    sandbox.exchange = LateExchange(clock)
    account = sandbox.exchange.open_account()
    account.set_leverage("BTCUSDT", 10)
    for name in faults:
        sandbox.exchange.add_fault("write_leverage", FAULTS[name] if name else Fault())
    turns = Turns(order)
    tasks = [InTurn(number, turns, sandbox, clock) for number in (0, 1)]
    reports: dict[int, Report] = {}
    threads = [
        threading.Thread(target=run_in_turn, args=(task, turns, number, policy[number], clock, reports))
        for number, task in enumerate(tasks)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANGS)
    for number, task in enumerate(tasks):
        (row,) = reports[number].result["results"]
        assert row["outcome"] == "unknown" or row["leverage"] == task.seen
        assert (reports[number].failure is None) == (row["leverage"] == policy[number] and row["outcome"] != "unknown")
    assert account.leverage_in_force("BTCUSDT") in (10, *policy)
