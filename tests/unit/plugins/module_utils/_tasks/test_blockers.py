# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of _blockers: blockers are found with few requests, and a warning says what could not be read."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Unexpected
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import RECENT_MS
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.blockers import (
    ORDERS_SPAN_MS,
    BlockerFinder,
    Explanation,
)
from sandbox import FAULTS

from ..client_setup import NOW, ORDERS, POSITIONS, ClientSetup, Fault, NewSetup, Quirks

DAY_MS = 24 * 60 * 60 * 1000
NOW_MS = int(NOW * 1000)


def allow_all(_symbol: str) -> None:
    """The `describe_limit_violation` argument of `BlockerFinder.find`: every desired leverage is possible."""


def open_order(setup: ClientSetup, symbol: str, age_ms: int) -> str:
    """Open an order of an age in milliseconds. Return its ID."""
    return setup.account.open_order(symbol, "BUY", "1", "5", created_at=NOW_MS - age_ms)


# --- BlockerFinder.find_report ---


def test_find_returns_nothing_if_no_position_or_order_is_open(setup: ClientSetup) -> None:
    finder = BlockerFinder(setup.futures)
    assert finder.find(["BTCUSDT"], allow_all) == {}
    assert finder.warnings == []
    assert setup.sent == [POSITIONS] + [ORDERS] * 5


def test_impossible_desired_leverage_is_returned_without_a_request(setup: ClientSetup) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "1")
    found = BlockerFinder(setup.futures).find(["BTCUSDT"], lambda symbol: f"{symbol}: no")
    assert found == {"BTCUSDT": Explanation("BTCUSDT: no", [])}
    assert setup.sent == []


# --- BlockerFinder._read ---


def test_limits_that_cannot_be_read_give_a_warning(setup: ClientSetup) -> None:
    def raise_unexpected(_symbol: str) -> None:
        raise Unexpected("no instruments")

    setup.account.open_position("BTCUSDT", "LONG", "1")
    finder = BlockerFinder(setup.futures)
    assert set(finder.find(["BTCUSDT"], raise_unexpected)) == {"BTCUSDT"}
    assert finder.warnings == [
        "BTCUSDT: the limits could not be read, so it is not known whether they block a change: no instruments"
    ]


# --- BlockerFinder._positions ---


def test_positions_of_one_symbol_are_read_with_its_name(setup: ClientSetup) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "1")
    setup.account.open_position("ETHUSDT", "LONG", "1")
    assert list(BlockerFinder(setup.futures).find(["BTCUSDT"], allow_all)) == ["BTCUSDT"]
    assert [request.symbol for request in setup.exchange.requests] == ["BTCUSDT", "BTCUSDT"]


def test_positions_of_several_symbols_are_read_with_one_request(setup: ClientSetup) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        setup.account.open_position(symbol, "LONG", "1")
    assert set(BlockerFinder(setup.futures).find(["BTCUSDT", "ETHUSDT"], allow_all)) == {"BTCUSDT", "ETHUSDT"}
    assert [request.symbol for request in setup.exchange.requests] == [None, None]


def test_positions_are_read_one_by_one_if_the_exchange_refuses_to_list_all(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(positions_without_symbol="422"))
    setup.account.open_position("ETHUSDT", "LONG", "1")
    assert set(BlockerFinder(setup.futures).find(["BTCUSDT", "ETHUSDT"], allow_all)) == {"ETHUSDT"}
    symbols = [request.symbol for request in setup.exchange.requests if request.endpoint == POSITIONS]
    assert symbols == [None, "BTCUSDT", "ETHUSDT"]


def test_positions_are_not_read_one_by_one_after_an_unclear_answer(new_setup: NewSetup) -> None:
    setup = new_setup(retries=0)
    setup.exchange.add_fault(POSITIONS, FAULTS["503"], times=None)
    finder = BlockerFinder(setup.futures)
    finder.find(["BTCUSDT", "ETHUSDT"], allow_all)
    assert setup.sent.count(POSITIONS) == 1
    assert finder.warnings == [
        (
            "BTCUSDT, ETHUSDT: open positions could not be read, so it is not known whether they block a change: the "
            'exchange answered GET /trade/api/v2/futures/positions with HTTP 503: "Service Unavailable"'
        )
    ]


# --- BlockerFinder._orders ---


@pytest.mark.parametrize(
    ("age_ms", "requests"), [(0, 1), (RECENT_MS, 1), (RECENT_MS + 1, 1), (34 * DAY_MS, 5), (ORDERS_SPAN_MS, 5)]
)
def test_older_orders_are_read_if_nothing_else_blocks(setup: ClientSetup, age_ms: int, requests: int) -> None:
    order_id = open_order(setup, "BTCUSDT", age_ms)
    found = BlockerFinder(setup.futures).find(["BTCUSDT"], allow_all)
    assert found["BTCUSDT"].blockers == [
        {"kind": "order", "order_id": order_id, "side": "BUY", "quantity": "1"},
    ]
    assert setup.sent.count(ORDERS) == requests


def test_older_orders_are_read_if_one_of_several_symbols_has_no_blocker(setup: ClientSetup) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "1")
    open_order(setup, "ETHUSDT", 20 * DAY_MS)
    assert set(BlockerFinder(setup.futures).find(["BTCUSDT", "ETHUSDT"], allow_all)) == {"BTCUSDT", "ETHUSDT"}


def test_order_that_is_received_twice_is_returned_once(setup: ClientSetup) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": "a"}] * 2
    setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": rows}}), times=None)
    (explanation,) = BlockerFinder(setup.futures).find(["BTCUSDT"], allow_all).values()
    assert [row["order_id"] for row in explanation.blockers] == ["a"]


# --- _to_position_row and _to_order_row ---


@pytest.mark.parametrize("value", [None, [], {"a": 1}, 5, "x" * 50])
def test_fields_of_any_type_are_returned_unchanged(setup: ClientSetup, value: Any) -> None:
    rows = [{"symbol": "BTCUSDT", "position_size": value, "position_side": value, "position_id": value}]
    setup.exchange.add_fault(POSITIONS, Fault(body={"data": rows}))
    orders = [{"symbol": "BTCUSDT", "order_id": value, "side": value, "quantity": value}]
    setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": orders}}))
    (explanation,) = BlockerFinder(setup.futures).find(["BTCUSDT"], allow_all).values()
    assert explanation.blockers == [
        {"kind": "position", "position_id": value, "side": value, "size": value},
        {"kind": "order", "order_id": value, "side": value, "quantity": value},
    ]
    assert "\n" not in explanation.reason


# --- _describe_blockers ---


def test_reason_names_all_blockers_in_one_line(setup: ClientSetup) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "1")
    setup.account.open_position("BTCUSDT", "SHORT", "0.5")
    order_id = open_order(setup, "BTCUSDT", 0)
    found = BlockerFinder(setup.futures).find(["BTCUSDT"], allow_all)
    assert found["BTCUSDT"].reason == (
        f"blocked by 2 open positions (LONG 1, SHORT 0.5) and an open order ({order_id}); "
        "close the position and cancel the orders first"
    )


def test_reason_is_one_short_line_if_the_exchange_sends_long_text_with_line_breaks(setup: ClientSetup) -> None:
    rows = [{"symbol": "BTCUSDT", "position_size": "1\n2", "position_side": "LONG\x1b[31m\r\n" * 500}]
    setup.exchange.add_fault(POSITIONS, Fault(body={"data": rows}))
    (explanation,) = BlockerFinder(setup.futures).find(["BTCUSDT"], allow_all).values()
    assert explanation.reason.isprintable()
    assert len(explanation.reason) < 400
