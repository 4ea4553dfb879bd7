# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands in the way of a change: found with few requests, and what could not be read is said."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._blockers import (
    ORDERS_SPAN_MS,
    BlockerFinder,
    Explanation,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import Unexpected
from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import RECENT_MS
from sandbox import FAULTS

from .client_setup import NOW, ORDERS, POSITIONS, ClientSetup, Fault, Quirks

NewSetup = Callable[..., ClientSetup]

DAY_MS = 24 * 60 * 60 * 1000
NOW_MS = int(NOW * 1000)


def possible(_symbol: str) -> None:
    """No desired is impossible."""


def place(setup: ClientSetup, symbol: str, age: int) -> str:
    return setup.account.open_order(symbol, "BUY", "1", "5", created_at=NOW_MS - age)


def test_the_way_is_free(setup: ClientSetup) -> None:
    finder = BlockerFinder(setup.futures)
    assert finder.find(["BTCUSDT"], possible) == {}
    assert finder.warnings == []
    assert setup.sent == [POSITIONS] + [ORDERS] * 5


def test_one_symbol_is_asked_for_by_name(setup: ClientSetup) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "1")
    setup.account.open_position("ETHUSDT", "LONG", "1")
    assert list(BlockerFinder(setup.futures).find(["BTCUSDT"], possible)) == ["BTCUSDT"]
    assert [request.symbol for request in setup.exchange.requests] == ["BTCUSDT", "BTCUSDT"]


def test_many_are_asked_for_at_once(setup: ClientSetup) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        setup.account.open_position(symbol, "LONG", "1")
    assert set(BlockerFinder(setup.futures).find(["BTCUSDT", "ETHUSDT"], possible)) == {"BTCUSDT", "ETHUSDT"}
    assert [request.symbol for request in setup.exchange.requests] == [None, None]


def test_positions_are_asked_for_one_by_one_only_where_the_exchange_refuses_all(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(positions_without_symbol="422"))
    setup.account.open_position("ETHUSDT", "LONG", "1")
    assert set(BlockerFinder(setup.futures).find(["BTCUSDT", "ETHUSDT"], possible)) == {"ETHUSDT"}
    asked = [request.symbol for request in setup.exchange.requests if request.endpoint == POSITIONS]
    assert asked == [None, "BTCUSDT", "ETHUSDT"]


def test_other_failures_are_not_asked_one_by_one(new_setup: NewSetup) -> None:
    setup = new_setup(retries=0)
    setup.exchange.add_fault(POSITIONS, FAULTS["503"], times=None)
    finder = BlockerFinder(setup.futures)
    finder.find(["BTCUSDT", "ETHUSDT"], possible)
    assert setup.sent.count(POSITIONS) == 1
    assert finder.warnings == [
        (
            "BTCUSDT, ETHUSDT: open positions could not be read, so it is not known whether they block a change: the "
            'exchange answered GET /trade/api/v2/futures/positions with HTTP 503: "Service Unavailable"'
        )
    ]


@pytest.mark.parametrize(
    ("age", "requests"), [(0, 1), (RECENT_MS, 1), (RECENT_MS + 1, 1), (34 * DAY_MS, 5), (ORDERS_SPAN_MS, 5)]
)
def test_older_orders_are_looked_for_where_nothing_else_blocks(setup: ClientSetup, age: int, requests: int) -> None:
    identity = place(setup, "BTCUSDT", age)
    found = BlockerFinder(setup.futures).find(["BTCUSDT"], possible)
    assert found["BTCUSDT"].blockers == [
        {"kind": "order", "order_id": identity, "side": "BUY", "quantity": "1"},
    ]
    assert setup.sent.count(ORDERS) == requests


def test_what_blocks_is_named_in_one_line(setup: ClientSetup) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "1")
    setup.account.open_position("BTCUSDT", "SHORT", "0.5")
    identity = place(setup, "BTCUSDT", 0)
    found = BlockerFinder(setup.futures).find(["BTCUSDT"], possible)
    assert found["BTCUSDT"].reason == (
        f"blocked by 2 open positions (LONG 1, SHORT 0.5) and an open order ({identity}); "
        "close the position and cancel the orders first"
    )


def test_an_older_order_is_looked_for_where_one_of_many_is_free(setup: ClientSetup) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "1")
    place(setup, "ETHUSDT", 20 * DAY_MS)
    assert set(BlockerFinder(setup.futures).find(["BTCUSDT", "ETHUSDT"], possible)) == {"BTCUSDT", "ETHUSDT"}


def test_an_impossible_desired_leverage_is_not_looked_into(setup: ClientSetup) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "1")
    found = BlockerFinder(setup.futures).find(["BTCUSDT"], lambda symbol: f"{symbol}: no")
    assert found == {"BTCUSDT": Explanation("BTCUSDT: no", [])}
    assert setup.sent == []


def test_limits_that_cannot_be_read_are_warned_of(setup: ClientSetup) -> None:
    def unreadable(_symbol: str) -> None:
        raise Unexpected("no instruments")

    setup.account.open_position("BTCUSDT", "LONG", "1")
    finder = BlockerFinder(setup.futures)
    assert set(finder.find(["BTCUSDT"], unreadable)) == {"BTCUSDT"}
    assert finder.warnings == [
        "BTCUSDT: the limits could not be read, so it is not known whether they block a change: no instruments"
    ]


@pytest.mark.parametrize("value", [None, [], {"a": 1}, 5, "x" * 50])
def test_fields_of_any_kind_are_told_as_they_came(setup: ClientSetup, value: Any) -> None:
    rows = [{"symbol": "BTCUSDT", "position_size": value, "position_side": value, "position_id": value}]
    setup.exchange.add_fault(POSITIONS, Fault(body={"data": rows}))
    orders = [{"symbol": "BTCUSDT", "order_id": value, "side": value, "quantity": value}]
    setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": orders}}))
    (blocker,) = BlockerFinder(setup.futures).find(["BTCUSDT"], possible).values()
    assert blocker.blockers == [
        {"kind": "position", "position_id": value, "side": value, "size": value},
        {"kind": "order", "order_id": value, "side": value, "quantity": value},
    ]
    assert "\n" not in blocker.reason


def test_an_order_that_comes_twice_is_told_once(setup: ClientSetup) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": "a"}] * 2
    setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": rows}}), times=None)
    (blocker,) = BlockerFinder(setup.futures).find(["BTCUSDT"], possible).values()
    assert [row["order_id"] for row in blocker.blockers] == ["a"]


def test_words_of_the_exchange_do_not_break_the_line(setup: ClientSetup) -> None:
    rows = [{"symbol": "BTCUSDT", "position_size": "1\n2", "position_side": "LONG\x1b[31m\r\n" * 500}]
    setup.exchange.add_fault(POSITIONS, Fault(body={"data": rows}))
    (blocker,) = BlockerFinder(setup.futures).find(["BTCUSDT"], possible).values()
    assert blocker.reason.isprintable()
    assert len(blocker.reason) < 400
