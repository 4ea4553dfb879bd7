# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The state of the exchange changes while a task runs: late writes, new positions, other programs, another task."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.client import Client
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import Futures
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Pacer
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.signing import SignedAuth
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.transport import (
    Request,
    Response,
    Transport,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.leverage import apply
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import Goal, Policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.progress import Context
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result
from sandbox import FAULTS, Fault
from sandbox import Request as ReceivedRequest

from ..plugins.module_utils.client_setup import MemoryBudgets
from ..plugins.module_utils.module_harness import (
    HANG_TIMEOUT,
    RETRIES,
    TIMEOUT,
    Clock,
    LateExchange,
    ModuleHarness,
    StallingSandbox,
    assert_failure_is_one_line,
    assert_result_is_true,
)
from ..plugins.module_utils.raw_server import RawServer

BTC_TO_13: dict[str, Any] = {"symbol": "BTCUSDT", "leverage": 13}


@pytest.mark.parametrize(
    "later_faults", [["400"], ["401", "401"], ["403-html"], ["422-empty"], ["redirect"], ["500", "400"], ["429"] * 20]
)
def test_outcome_is_unknown_if_a_refusal_follows_an_unclear_write(
    harness: ModuleHarness, later_faults: list[str]
) -> None:
    """The first write takes effect after the task."""
    harness.exchange.works_after_task = True
    for name in ("late", *later_faults):
        harness.exchange.add_fault("write_leverage", FAULTS[name])
    result = harness.run("futures_leverage", **BTC_TO_13)
    assert harness.leverage_in_force("BTCUSDT") == 13
    assert (result["failed"], result["outcome"]) == (True, "unknown")
    assert_failure_is_one_line(result)
    assert_result_is_true(result, harness)


def test_outcome_is_unknown_if_all_writes_take_effect_after_the_task(harness: ModuleHarness) -> None:
    harness.exchange.works_after_task = True
    harness.exchange.add_fault("write_leverage", FAULTS["late"], times=None)
    result = harness.run("futures_leverage", **BTC_TO_13)
    assert harness.leverage_in_force("BTCUSDT") == 13
    assert (result["failed"], result["outcome"], result["leverage"]) == (True, "unknown", 10)
    assert "can still take effect" in result["msg"]
    assert harness.exchange.count("write_leverage") == 1 + RETRIES


def test_next_task_changes_the_leverage_of_a_late_write(harness: ModuleHarness) -> None:
    """The late write of the first task takes effect before the second task, which has another desired leverage."""
    harness.exchange.works_after_task = True
    harness.exchange.add_fault("write_leverage", FAULTS["late"])
    first = harness.run("futures_leverage", **BTC_TO_13, retries=0)
    assert first["outcome"] == "unknown"
    second = harness.run("futures_leverage", symbol="BTCUSDT", leverage=7)
    assert (second["previous_leverage"], second["leverage"], harness.leverage_in_force("BTCUSDT")) == (13, 7, 7)


@pytest.mark.parametrize("write_fault", ["", "400", "500", "drop-before", "drop-after", "timeout", "late", "429"])
def test_task_fails_if_a_position_is_opened_before_the_write(harness: ModuleHarness, write_fault: str) -> None:
    def open_position_after_read(request: ReceivedRequest) -> None:
        if request.endpoint == "read_leverage" and not harness.account.positions:
            harness.account.open_position("BTCUSDT", "LONG", "0.01")

    harness.exchange.on_request = open_position_after_read
    if write_fault:
        harness.exchange.add_fault("write_leverage", FAULTS[write_fault])
    result = harness.run("futures_leverage", **BTC_TO_13)
    assert_failure_is_one_line(result)
    assert_result_is_true(result, harness)
    assert (result["failed"], result["changed"], harness.leverage_in_force("BTCUSDT")) == (True, False, 10)
    if write_fault in ("", "400", "429"):
        assert result["outcome"] == "blocked"
        assert "LONG 0.01" in result["msg"]


@pytest.mark.parametrize("other_leverage", [10, 7, 25])
@pytest.mark.parametrize("write_fault", ["drop-after", "500-done", "timeout", "garbage", "400-done", "null"])
def test_task_fails_if_each_write_is_unclear_and_undone_by_another_program(
    harness: ModuleHarness, write_fault: str, other_leverage: int
) -> None:
    def undo_write(request: ReceivedRequest) -> None:
        if request.endpoint == "write_leverage":
            harness.account.set_leverage("BTCUSDT", other_leverage)

    harness.exchange.on_request = undo_write
    harness.exchange.add_fault("write_leverage", FAULTS[write_fault], times=None)
    result = harness.run("futures_leverage", **BTC_TO_13)
    assert_failure_is_one_line(result)
    assert_result_is_true(result, harness)
    assert (result["failed"], result["leverage"]) == (True, other_leverage)
    assert harness.leverage_in_force("BTCUSDT") == other_leverage
    assert harness.exchange.count("write_leverage") <= 1 + RETRIES


@pytest.mark.parametrize("other_leverage", [13, 7, 25])
def test_desired_leverage_is_written_if_another_program_changes_it_after_the_read(
    harness: ModuleHarness, other_leverage: int
) -> None:
    def change_after_read(request: ReceivedRequest) -> None:
        if request.endpoint == "read_leverage":
            harness.account.set_leverage("BTCUSDT", other_leverage)

    harness.exchange.on_request = change_after_read
    result = harness.run("futures_leverage", **BTC_TO_13)
    assert (result["failed"], result["leverage"], harness.leverage_in_force("BTCUSDT")) == (False, 13, 13)


def test_read_back_does_not_use_a_late_response_to_the_write(harness: ModuleHarness) -> None:
    """The next response on the connection of the write confirms the write; the read back uses another connection."""
    response_of_the_api = '{{"data": {{"exchange": "EXCHANGE_2", "symbol": "BTCUSDT", "leverage": "{}"}}}}'
    first_connection = [response_of_the_api.format(10), '{"message": "Done"}', response_of_the_api.format(13)]
    other_connections = [response_of_the_api.format(10)] * 9

    def handle_connection(connection: socket.socket) -> None:
        bodies = first_connection if server.connections == 1 else other_connections
        while server.read_head(connection):
            body = bodies.pop(0)
            connection.sendall(f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())

    with RawServer(handle_connection) as server:
        result = harness.run("futures_leverage", **BTC_TO_13, api_url=server.url)
    assert (result["failed"], result["leverage"], result["changed"]) == (True, 10, False)


class RequestOrder:
    """Makes two tasks send their requests one at a time, in a given order.

    When the order is used up, or the next task has ended, the task that still runs goes on.
    """

    def __init__(self, order: list[int]) -> None:
        self._remaining = list(order)
        self._running = {0, 1}
        self._changed = threading.Condition()

    @contextmanager
    def wait_for_turn(self, task: int) -> Iterator[None]:
        with self._changed:
            assert self._changed.wait_for(lambda: self._next_task() == task, HANG_TIMEOUT), "no task has its turn"
        try:
            yield
        finally:
            with self._changed:
                del self._remaining[:1]
                self._changed.notify_all()

    def end_task(self, task: int) -> None:
        with self._changed:
            self._running.discard(task)
            self._changed.notify_all()

    def _next_task(self) -> int:
        while self._remaining and self._remaining[0] not in self._running:
            del self._remaining[:1]
        return self._remaining[0] if self._remaining else min(self._running)


class OrderedTransport(Transport):
    """A transport that waits for its turn before each request.

    Attributes:
        last_leverage: The leverage in force right after the last response about a leverage.
    """

    def __init__(self, task: int, order: RequestOrder, server: StallingSandbox, clock: Clock) -> None:
        account = server.exchange.accounts[0]
        auth = SignedAuth(account.api_key, account.secret_key, clock.unix)
        super().__init__(server.url, auth, TIMEOUT, True)
        self.describe_pair = auth.describe_pair
        self.last_leverage = 0
        self._task = task
        self._order = order
        self._account = account

    def __call__(self, request: Request) -> Response:
        with self._order.wait_for_turn(self._task):
            try:
                return super().__call__(request)
            finally:
                if request.path.endswith("/leverage"):
                    self.last_leverage = self._account.leverage_in_force("BTCUSDT")


def run_task(
    transport: OrderedTransport, order: RequestOrder, task: int, desired: int, clock: Clock, reports: dict[int, Result]
) -> None:
    pacer = Pacer(MemoryBudgets(), 1.0, 600.0, clock, clock.sleep)
    client = Client(transport, pacer, RETRIES, transport.describe_pair, lambda value: value, clock.unix, clock.sleep)
    try:
        policy = Policy([Goal("BTCUSDT", desired)], single=True)
        reports[task] = apply(Futures(client, "EXCHANGE_2"), policy, Context())
    finally:
        order.end_task(task)
        transport.reset_connection()


# An empty name is a request without a fault.
WRITE_FAULTS = ("", "", "drop-before", "drop-after", "500", "500-done", "400", "400-done", "garbage", "429", "no-data")


@settings(max_examples=120)
@given(
    order=st.lists(st.integers(0, 1), max_size=12),
    desired=st.tuples(st.sampled_from([5, 10, 13]), st.sampled_from([5, 10, 20])),
    faults=st.lists(st.sampled_from(WRITE_FAULTS), max_size=5),
)
def test_two_tasks_for_one_symbol_return_the_leverage_at_their_last_response(
    sandbox: StallingSandbox, order: list[int], desired: tuple[int, int], faults: list[str]
) -> None:
    clock = Clock()
    sandbox.exchange = LateExchange(clock)
    account = sandbox.exchange.open_account()
    account.set_leverage("BTCUSDT", 10)
    for name in faults:
        sandbox.exchange.add_fault("write_leverage", FAULTS[name] if name else Fault())
    request_order = RequestOrder(order)
    transports = [OrderedTransport(task, request_order, sandbox, clock) for task in (0, 1)]
    reports: dict[int, Result] = {}
    threads = [
        threading.Thread(target=run_task, args=(transport, request_order, task, desired[task], clock, reports))
        for task, transport in enumerate(transports)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(HANG_TIMEOUT)
    for task, transport in enumerate(transports):
        (row,) = reports[task].values["results"]
        assert row["outcome"] == "unknown" or row["leverage"] == transport.last_leverage
        is_reached = row["leverage"] == desired[task] and row["outcome"] != "unknown"
        assert (reports[task].failure is None) == is_reached
    assert account.leverage_in_force("BTCUSDT") in (10, *desired)
