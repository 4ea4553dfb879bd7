# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of blockers.py: facts are read with few requests, and a warning says what could not be read."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import CoinSwitchError, Unclear
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import RECENT_MS, Instrument
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import blockers as _blockers
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.blockers import ORDERS_SPAN_MS, AccountFacts
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import Violation
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import EXACT, MAXIMUM, Goal
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.wording import describe_blockers
from sandbox import FAULTS

from ..client_setup import INSTRUMENTS, NOW, ORDERS, POSITIONS, ClientSetup, Fault, NewSetup, Quirks

DAY_MS = 24 * 60 * 60 * 1000
NOW_MS = int(NOW * 1000)
POSITION = {"kind": "position", "position_id": "a", "side": "LONG", "size": "1", "mark_price": "5"}
ORDER = {"kind": "order", "order_id": "5f3a", "side": "BUY", "quantity": "0.01", "price": "1000", "order_type": "LIMIT"}

Found = dict[str, list[dict[str, Any]]]
Limits = tuple["int | None", "int | None", "int | None"]


def find(facts: AccountFacts, *symbols: str) -> Found:
    """Return the blockers of the symbols that have some."""
    found = facts.search(list(symbols), refresh=True).blockers
    assert list(found) == list(symbols)
    return {symbol: rows for symbol, rows in found.items() if rows}


def make_facts(setup: ClientSetup, has_several_symbols: bool = False) -> AccountFacts:
    return AccountFacts(setup.futures, ["BTCUSDT", "ETHUSDT", "SOLUSDT"], has_several_symbols)


def find_kinds(found: Found) -> dict[str, list[str]]:
    return {symbol: [row["kind"] for row in rows] for symbol, rows in found.items()}


def open_order(setup: ClientSetup, symbol: str, age_ms: int) -> str:
    """Open an order of an age in milliseconds. Return its ID."""
    return setup.account.open_order(symbol, "BUY", "1", "5", created_at=NOW_MS - age_ms)


def get_requested_symbols(setup: ClientSetup, endpoint: str) -> list[str | None]:
    return [request.symbol for request in setup.exchange.requests if request.endpoint == endpoint]


# --- AccountFacts.find_violation ---


@pytest.mark.parametrize(
    ("goal", "violation"),
    [
        (Goal("BTCUSDT", 10), None),
        (Goal("XRPUSDT", 7), Violation("limits", "The exchange allows 5 to 75 in steps of 5 for this symbol.")),
        (
            Goal("XRPUSDT", 80, MAXIMUM),
            Violation("limits", "The exchange allows 5 to 75 in steps of 5 for this symbol."),
        ),
        (
            Goal("BTCUSTD", 10),
            Violation("not_listed", "EXCHANGE_2 does not list this symbol. Did you mean BTCUSDT?"),
        ),
    ],
)
def test_violation_says_why_the_exchange_would_never_accept_the_leverage(
    setup: ClientSetup, goal: Goal, violation: Violation | None
) -> None:
    assert make_facts(setup).find_violation(goal) == violation


def test_instruments_are_read_once(setup: ClientSetup) -> None:
    facts = make_facts(setup)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        facts.find_violation(Goal(symbol, 10, EXACT))
    assert setup.sent == [INSTRUMENTS]


def test_limits_that_cannot_be_read_raise_the_error(new_setup: NewSetup) -> None:
    setup = new_setup(retries=0)
    setup.exchange.add_fault(INSTRUMENTS, FAULTS["503"])
    facts = make_facts(setup)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        with pytest.raises(Unclear):
            facts.find_violation(Goal(symbol, 10))
    assert setup.sent == [INSTRUMENTS]


# --- AccountFacts.fetch_all_positions ---


def test_positions_of_the_account_are_read_with_one_request(setup: ClientSetup) -> None:
    facts = make_facts(setup, has_several_symbols=True)
    assert "BTCUSDT" not in facts.positions
    position_id = setup.account.open_position("BTCUSDT", "LONG", "1")
    assert facts.fetch_all_positions() is None
    (row,) = facts.positions["BTCUSDT"]
    assert (row["position_id"], row["side"], row["size"]) == (position_id, "LONG", "1")
    assert "symbol" not in row
    assert facts.positions["ETHUSDT"] == []
    assert get_requested_symbols(setup, POSITIONS) == [None]


def test_positions_that_cannot_be_read_are_not_known(new_setup: NewSetup) -> None:
    setup = new_setup(retries=0)
    setup.exchange.add_fault(POSITIONS, FAULTS["503"])
    facts = make_facts(setup, has_several_symbols=True)
    error = facts.fetch_all_positions()
    assert isinstance(error, CoinSwitchError)
    assert facts.positions_error is error
    assert "BTCUSDT" not in facts.positions
    assert facts.fetch_all_positions() is None
    assert facts.positions_error is None


# --- AccountFacts.search ---


def test_find_returns_nothing_if_no_position_or_order_is_open(setup: ClientSetup) -> None:
    facts = make_facts(setup)
    assert find(facts, "BTCUSDT") == {}
    assert facts.warnings == []
    assert setup.sent == [POSITIONS] + [ORDERS] * 5


@pytest.mark.parametrize(("refresh", "count"), [(False, 1), (True, 2)])
def test_positions_are_read_again_after_a_refused_write(setup: ClientSetup, refresh: bool, count: int) -> None:
    facts = make_facts(setup, has_several_symbols=True)
    facts.fetch_all_positions()
    setup.account.open_position("BTCUSDT", "LONG", "1")
    found = facts.search(["BTCUSDT"], refresh)
    assert len(found.blockers["BTCUSDT"]) == int(refresh)
    assert setup.sent.count(POSITIONS) == count


def test_positions_of_one_symbol_are_read_with_its_name(setup: ClientSetup) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "1")
    setup.account.open_position("ETHUSDT", "LONG", "1")
    assert list(find(make_facts(setup), "BTCUSDT")) == ["BTCUSDT"]
    assert get_requested_symbols(setup, POSITIONS) == get_requested_symbols(setup, ORDERS) == ["BTCUSDT"]


def test_positions_of_several_symbols_are_read_with_one_request(setup: ClientSetup) -> None:
    for symbol in ("BTCUSDT", "ETHUSDT", "SOLUSDT"):
        setup.account.open_position(symbol, "LONG", "1")
    assert set(find(make_facts(setup), "BTCUSDT", "ETHUSDT")) == {"BTCUSDT", "ETHUSDT"}
    assert [request.symbol for request in setup.exchange.requests] == [None, None]


def test_positions_are_read_one_by_one_if_the_exchange_refuses_to_list_all(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(positions_without_symbol="422"))
    setup.account.open_position("ETHUSDT", "LONG", "1")
    facts = make_facts(setup, has_several_symbols=True)
    assert set(find(facts, "BTCUSDT", "ETHUSDT")) == {"ETHUSDT"}
    # Another search does not try to read all at once again.
    assert find(facts, "BTCUSDT") == {}
    assert get_requested_symbols(setup, POSITIONS) == [None, "BTCUSDT", "ETHUSDT", "BTCUSDT"]
    assert facts.warnings == []


def test_positions_are_not_read_one_by_one_after_an_unclear_response(new_setup: NewSetup) -> None:
    setup = new_setup(retries=0)
    setup.exchange.add_fault(POSITIONS, FAULTS["503"], times=None)
    open_order(setup, "BTCUSDT", 0)
    facts = make_facts(setup)
    found = facts.search(["BTCUSDT", "ETHUSDT"], refresh=True)
    assert find_kinds(found.blockers) == {"BTCUSDT": ["order"], "ETHUSDT": []}
    assert found.not_read == {"BTCUSDT", "ETHUSDT"}
    assert setup.sent.count(POSITIONS) == 1
    assert facts.warnings == [
        (
            "BTCUSDT, ETHUSDT: open positions could not be read, so it is not known whether they block a change. The "
            'exchange answered GET /trade/api/v2/futures/positions with HTTP 503: "Service Unavailable".'
        )
    ]


def test_orders_that_cannot_be_read_give_a_warning(new_setup: NewSetup) -> None:
    setup = new_setup(retries=0)
    setup.exchange.add_fault(ORDERS, FAULTS["503"], times=None)
    setup.account.open_position("BTCUSDT", "LONG", "1")
    facts = make_facts(setup)
    assert find_kinds(find(facts, "BTCUSDT")) == {"BTCUSDT": ["position"]}
    (warning,) = facts.warnings
    assert warning.startswith("BTCUSDT: open orders could not be read, so it is not known whether they block a change.")


def test_nothing_more_is_read_after_the_keys_were_refused(setup: ClientSetup) -> None:
    setup.exchange.add_fault(POSITIONS, FAULTS["401"], times=None)
    facts = make_facts(setup)
    assert find(facts, "BTCUSDT") == {}
    assert ORDERS not in setup.sent
    (warning,) = facts.warnings
    assert warning.startswith("BTCUSDT: open positions and open orders could not be read, so it is not known")


def test_error_ends_only_its_own_search(setup: ClientSetup) -> None:
    setup.exchange.add_fault(POSITIONS, FAULTS["401"], times=2)
    open_order(setup, "BTCUSDT", 0)
    facts = make_facts(setup, has_several_symbols=True)
    assert facts.search(["BTCUSDT"], refresh=True).not_read == {"BTCUSDT"}
    assert facts.search(["BTCUSDT"], refresh=True).not_read == set()
    assert find_kinds(find(facts, "BTCUSDT")) == {"BTCUSDT": ["order"]}


def test_symbol_whose_positions_were_not_read_has_no_positions(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(positions_without_symbol="422"), retries=0)
    facts = make_facts(setup, has_several_symbols=True)
    find(facts, "BTCUSDT")
    assert facts.positions == {"BTCUSDT": []}
    # Those of ETHUSDT are read before the error.
    setup.exchange.add_fault(POSITIONS, FAULTS["503"], symbol="SOLUSDT")
    assert facts.search(["ETHUSDT", "SOLUSDT"], refresh=True).not_read == {"SOLUSDT"}
    assert facts.positions == {"BTCUSDT": [], "ETHUSDT": []}
    (warning,) = facts.warnings
    assert warning.startswith("SOLUSDT: open positions could not be read")


def test_old_position_does_not_explain_a_new_refusal(new_setup: NewSetup) -> None:
    setup = new_setup(retries=0)
    setup.account.open_position("BTCUSDT", "LONG", "1")
    setup.account.open_position("ETHUSDT", "LONG", "1")
    facts = make_facts(setup, has_several_symbols=True)
    facts.fetch_all_positions()
    setup.account.close_position("BTCUSDT")
    setup.exchange.add_fault(POSITIONS, FAULTS["503"])
    found = facts.search(["BTCUSDT"], refresh=True)
    assert (found.blockers, found.not_read) == ({"BTCUSDT": []}, {"BTCUSDT"})
    # What was read of the other symbols is still known.
    assert list(facts.positions) == ["ETHUSDT", "SOLUSDT"]


@pytest.mark.parametrize(
    ("age_ms", "requests"), [(0, 1), (RECENT_MS, 1), (RECENT_MS + 1, 1), (34 * DAY_MS, 5), (ORDERS_SPAN_MS, 5)]
)
def test_older_orders_are_read_if_nothing_else_blocks(setup: ClientSetup, age_ms: int, requests: int) -> None:
    order_id = open_order(setup, "BTCUSDT", age_ms)
    assert find(make_facts(setup), "BTCUSDT")["BTCUSDT"] == [
        {"kind": "order", "order_id": order_id, "side": "BUY", "quantity": "1", "price": "5", "order_type": "LIMIT"}
    ]
    assert setup.sent.count(ORDERS) == requests


def test_older_orders_are_read_if_one_of_several_symbols_has_no_blocker(setup: ClientSetup) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "1")
    open_order(setup, "ETHUSDT", 20 * DAY_MS)
    assert set(find(make_facts(setup), "BTCUSDT", "ETHUSDT")) == {"BTCUSDT", "ETHUSDT"}


def test_order_that_is_received_twice_is_returned_once(setup: ClientSetup) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": "a"}] * 2
    setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": rows}}), times=None)
    assert [row["order_id"] for row in find(make_facts(setup), "BTCUSDT")["BTCUSDT"]] == ["a"]


@pytest.mark.parametrize("value", [None, [], {"a": 1}, 5, "x" * 50])
def test_fields_of_any_type_are_returned_unchanged(setup: ClientSetup, value: Any) -> None:
    position = dict.fromkeys(("position_id", "position_side", "position_size", "mark_price"), value)
    setup.exchange.add_fault(POSITIONS, Fault(body={"data": [{"symbol": "BTCUSDT", **position}]}))
    order = dict.fromkeys(("order_id", "side", "quantity", "price", "order_type"), value)
    setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": [{"symbol": "BTCUSDT", **order}]}}))
    blockers = find(make_facts(setup), "BTCUSDT")["BTCUSDT"]
    assert blockers == [
        dict.fromkeys(POSITION, value) | {"kind": "position"},
        dict.fromkeys(ORDER, value) | {"kind": "order"},
    ]
    assert "\n" not in describe_blockers(blockers)


# --- describe_limit_violation ---


@pytest.mark.parametrize(
    ("limits", "possible", "impossible"),
    [
        ((1, 25, 1), [1, 2, 24, 25], [26]),
        ((5, 75, 5), [5, 10, 75], [1, 4, 6, 12, 74, 80]),
        ((2, 50, 2), [2, 4, 50], [1, 3, 49]),
        ((1, 10, 3), [1, 4, 7, 10], [2, 3, 9]),
        ((None, 25, None), [1, 25], []),
        ((None, None, None), [1, 1000], []),
        ((3, None, 2), [3, 5, 1001], [1, 2, 4]),
        ((1, 25, 0), [1, 7, 25], []),
    ],
)
def test_impossible_returns_a_reason_if_the_limits_do_not_allow_the_leverage(
    limits: Limits, possible: list[int], impossible: list[int]
) -> None:
    instrument = Instrument("BTCUSDT", *limits, {})
    assert {_blockers.describe_limit_violation(desired, instrument) for desired in possible} == {None}
    for desired in impossible:
        message = _blockers.describe_limit_violation(desired, instrument)
        assert message
        assert message.startswith(f"The exchange allows {limits[0] or 1} ")


@pytest.mark.parametrize(
    ("limits", "bounds"),
    [
        ((1, 25, 1), "1 to 25"),
        ((5, 75, 5), "5 to 75 in steps of 5"),
        ((2, None, 2), "2 or more in steps of 2"),
    ],
)
def test_impossible_names_the_bounds_and_the_step(limits: Limits, bounds: str) -> None:
    desired = 77 if limits[1] else 27
    assert _blockers.describe_limit_violation(desired, Instrument("BTCUSDT", *limits, {})) == (
        f"The exchange allows {bounds} for this symbol."
    )
