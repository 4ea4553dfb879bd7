# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints as typed calls: what an answer means, and what is not taken for an answer."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _futures
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import (
    NotConfigured,
    Refused,
    Unconfirmed,
    Unexpected,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import DAY_MS, LONGEST_SPAN_MS, RECENT_MS
from sandbox import FAULTS

from .client_setup import INSTRUMENTS, NOW, ORDERS, POSITIONS, READ, WRITE, ClientSetup, Fault, Quirks

NewSetup = Callable[..., ClientSetup]

NOW_MS = int(NOW * 1000)


def answering(setup: ClientSetup, endpoint: str, value: Any) -> ClientSetup:
    setup.exchange.add_fault(endpoint, Fault(body=value), times=None)
    return setup


# --- leverage ---

GOOD_NUMBERS: list[tuple[Any, int]] = [(13, 13), ("13", 13), ("13.0", 13), ("13.000", 13), ("1.3e1", 13), ("013", 13)]
NO_LEVERAGES: list[Any] = [
    None,
    True,
    False,
    "",
    " ",
    "ten",
    0,
    "0",
    -13,
    "-13",
    13.5,
    "13.5",
    "nan",
    "Infinity",
    "1e99",
]
NO_LEVERAGES += [[], {}, [13], "13x", "1e99999999999999999999"]


@pytest.mark.parametrize(("returned", "leverage"), GOOD_NUMBERS)
@pytest.mark.parametrize("extra", [{"exchange": "exchange_2"}, {}])
@pytest.mark.parametrize("symbol", ["BTCUSDT", "btcusdt"])
def test_a_leverage_is_told_as_text_or_number(
    setup: ClientSetup, returned: Any, leverage: int, symbol: str, extra: dict[str, str]
) -> None:
    answering(setup, READ, {"data": {"symbol": symbol, "leverage": returned, **extra}})
    answering(setup, WRITE, {"data": {"symbol": symbol, "leverage": returned, **extra}})
    came = setup.futures.leverage("BTCUSDT")
    assert came == leverage
    assert came.__class__ is int
    setup.futures.set_leverage("BTCUSDT", leverage)


NO_ANSWERS: list[Any] = [
    *({"data": {"symbol": "BTCUSDT", "leverage": returned}} for returned in NO_LEVERAGES),
    {"data": {"symbol": "BTCUSDT"}},
    {"data": {"leverage": "13"}},
    {"data": {"symbol": None, "leverage": "13"}},
    {"data": {"symbol": "ETHUSDT", "leverage": "13"}},
    {"data": {"symbol": ["BTCUSDT"], "leverage": "13"}},
    {"data": {"symbol": "BTCUSDT", "exchange": "EXCHANGE_1", "leverage": "13"}},
    {"data": {"symbol": "BTCUSDT", "exchange": None, "leverage": "13"}},
    {"data": []},
    {"data": [{"symbol": "BTCUSDT", "leverage": "13"}]},
    {"data": "13"},
    {"data": 13},
    {"data": False},
    {"data": {}},
    {},
    {"status": "ok"},
    [],
    13,
    "13",
    "[]",
]


@pytest.mark.parametrize("value", NO_ANSWERS, ids=str)
def test_what_tells_no_leverage_is_not_taken_for_one(setup: ClientSetup, value: Any) -> None:
    answering(setup, READ, value)
    answering(setup, WRITE, value)
    with pytest.raises(Unexpected, match=r"^the exchange's answer (for BTCUSDT has no leverage for it|has no data): "):
        setup.futures.leverage("BTCUSDT")
    with pytest.raises(Unconfirmed, match=r"^the exchange did not confirm the change and said "):
        setup.futures.set_leverage("BTCUSDT", 13)
    assert setup.sent == [READ, WRITE]


@pytest.mark.parametrize(
    "value", [{"message": "Leverage is not set"}, {"data": None, "message": "Leverage is not set"}]
)
def test_a_message_without_data_tells_that_there_is_none(setup: ClientSetup, value: Any) -> None:
    answering(setup, READ, value)
    with pytest.raises(NotConfigured) as returned:
        setup.futures.leverage("BTCUSDT")
    assert str(returned.value) == 'the exchange returns no leverage: "Leverage is not set"'


def test_null_tells_that_there_is_none(setup: ClientSetup) -> None:
    answering(setup, READ, {"data": None})
    with pytest.raises(NotConfigured):
        setup.futures.leverage("BTCUSDT")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        ("400", NotConfigured),
        ("404", NotConfigured),
        ("422", NotConfigured),
        ("403", Refused),
        ("409", Refused),
        ("400-html", Refused),
        ("404-html", Refused),
        ("422-empty", Refused),
        ("redirect", Refused),
    ],
)
def test_only_the_api_itself_can_tell_that_there_is_none(setup: ClientSetup, fault: str, kind: type[Exception]) -> None:
    setup.exchange.add_fault(READ, FAULTS[fault])
    with pytest.raises(kind) as returned:
        setup.futures.leverage("BTCUSDT")
    assert returned.value.__class__ is kind
    assert "the exchange refused GET /trade/api/v2/futures/leverage with HTTP" in str(returned.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"data": {"symbol": "BTCUSDT", "leverage": "12"}}, "{'data': {'symbol': 'BTCUSDT', 'leverage': '12'}}"),
        ({"message": "Try later"}, "Try later"),
        ({"message": 5}, "{'message': 5}"),
        ([], "[]"),
    ],
)
def test_an_echo_that_lies_confirms_nothing(setup: ClientSetup, value: Any, words: str) -> None:
    answering(setup, WRITE, value)
    with pytest.raises(Unconfirmed) as returned:
        setup.futures.set_leverage("BTCUSDT", 13)
    assert returned.value.api_message == words
    assert str(returned.value) == f'the exchange did not confirm the change and said "{words}"'


# --- numbers ---


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        (-5, -5),
        (0, 0),
        ("5", 5),
        ("5.50", Decimal("5.50")),
        ("-0.5", Decimal("-0.5")),
        (Decimal("1e3"), 1000),
        ("1e39", Decimal("1e39")),
        ("1e-39", Decimal("1e-39")),
        ("1e40", None),
        ("1e-40", None),
        (Decimal("1e40"), None),
        (10**40, None),
        ("NaN", None),
        ("sNaN", None),
        ("Infinity", None),
        (Decimal("NaN"), None),
        (True, None),
        (False, None),
        (None, None),
        (1.5, None),
        ("", None),
        ("5,5", None),
        ([], None),
        ({}, None),
    ],
)
def test_numbers(value: Any, number: Any) -> None:
    assert _futures.decimal(value) == number
    assert (_futures.decimal(value) is None) is (number is None)


@pytest.mark.parametrize(
    ("value", "number"), [(13, 13), ("13", 13), ("13.0", 13), ("13.5", None), ("x", None), (True, None), ("1e2", 100)]
)
def test_whole_numbers(value: Any, number: int | None) -> None:
    came = _futures.whole(value)
    assert came == number
    assert came.__class__ is number.__class__


# --- instruments ---


@pytest.mark.parametrize("numbers", ["text", "number", "decimal"])
def test_instruments(new_setup: NewSetup, numbers: Any) -> None:
    setup = new_setup(Quirks(numbers=numbers))
    listed = setup.futures.instruments()
    assert set(listed) == set(setup.exchange.instruments)
    xrp = listed["XRPUSDT"]
    assert xrp[:4] == ("XRPUSDT", 5, 75, 5)
    assert all(isinstance(limit, int) for limit in xrp[1:4])
    assert xrp.fields["base_asset"] == "XRP"
    assert setup.sent == [INSTRUMENTS]
    assert setup.exchange.requests[0].query == {"exchange": "EXCHANGE_2"}


@pytest.mark.parametrize(
    ("fields", "limits"),
    [
        ({"min_leverage": "1", "max_leverage": "25", "leverage_step": 1}, (1, 25, 1)),
        ({"min_leverage": 1, "max_leverage": 25.0, "leverage_step": "1.0"}, (1, 25, 1)),
        ({}, (None, None, None)),
        ({"min_leverage": None, "max_leverage": "", "leverage_step": "half"}, (None, None, None)),
        ({"min_leverage": "0.5", "max_leverage": True, "leverage_step": []}, (None, None, None)),
    ],
)
def test_limits_that_are_no_whole_numbers_are_none(
    setup: ClientSetup, fields: dict[str, Any], limits: tuple[Any, ...]
) -> None:
    answering(setup, INSTRUMENTS, {"data": {"btcusdt": fields}})
    listed = setup.futures.instruments()
    assert list(listed) == ["BTCUSDT"]
    assert listed["BTCUSDT"][1:4] == limits


@pytest.mark.parametrize(
    "value",
    [[], {}, 5, "null", {"data": []}, {"data": None}, {"message": "x"}, {"data": "x"}, {"data": {"BTCUSDT": None}}],
    ids=str,
)
def test_what_holds_no_instruments(setup: ClientSetup, value: Any) -> None:
    with pytest.raises(Unexpected):
        answering(setup, INSTRUMENTS, value).futures.instruments()


# --- positions ---


@pytest.mark.parametrize("everything", [False, True])
@pytest.mark.parametrize("flat", ["message", "list"])
def test_positions(new_setup: NewSetup, flat: Any, everything: bool) -> None:
    setup = new_setup(Quirks(flat_positions=flat, positions_other_symbols=everything))
    assert setup.futures.positions("BTCUSDT") == setup.futures.positions() == []
    btc = setup.account.open_position("BTCUSDT", "LONG", "0.5")
    eth = setup.account.open_position("ETHUSDT", "SHORT", "2")
    assert [row["position_id"] for row in setup.futures.positions("BTCUSDT")] == [btc]
    assert {row["position_id"] for row in setup.futures.positions()} == {btc, eth}
    assert setup.futures.positions("SOLUSDT") == []


@pytest.mark.parametrize(
    ("size", "is_open"),
    [("0", False), (0, False), ("0.000", False), ("-0", False), ("0.1", True), (-1, True), (None, True), ("x", True)],
)
def test_a_size_of_0_is_flat(setup: ClientSetup, size: Any, is_open: bool) -> None:
    answering(setup, POSITIONS, {"data": [{"symbol": "btcusdt", "position_size": size}]})
    assert bool(setup.futures.positions("BTCUSDT")) is is_open
    assert bool(setup.futures.positions()) is is_open


@pytest.mark.parametrize(
    "value",
    [[], {}, 5, {"data": {}}, {"data": 5}, {"data": [None]}, {"data": [{}]}, {"data": [[]]}, {"data": "x"}],
    ids=str,
)
def test_what_holds_no_rows(setup: ClientSetup, value: Any) -> None:
    answering(setup, POSITIONS, value)
    with pytest.raises(Unexpected):
        setup.futures.positions()
    if value in ({}, {"data": {}}):  # how no open orders may be returned
        return
    answering(setup, ORDERS, value)
    with pytest.raises(Unexpected):
        found(setup, NOW_MS - 1000)


# --- open orders ---


def place(setup: ClientSetup, *ages: int, symbol: str = "BTCUSDT") -> list[str]:
    """Place orders of ages in milliseconds; their ids."""
    return [setup.account.open_order(symbol, "BUY", "1", "5", created_at=NOW_MS - age) for age in ages]


def found(setup: ClientSetup, since: int, until: int | None = None, symbol: str | None = None) -> list[Any]:
    return [row["order_id"] for page in setup.futures.open_orders(since, until, symbol) for row in page]


@pytest.mark.parametrize("empty", ["list", "null", "absent"])
@pytest.mark.parametrize("symbol", [None, "BTCUSDT"])
def test_no_orders(new_setup: NewSetup, empty: Any, symbol: str | None) -> None:
    setup = new_setup(Quirks(empty_orders=empty))
    assert found(setup, NOW_MS - RECENT_MS, symbol=symbol) == []
    assert setup.sent == [ORDERS]
    assert setup.exchange.requests[0].body == {
        "exchange": "EXCHANGE_2",
        "limit": 50,
        **({"symbol": symbol} if symbol else {}),
    }


@pytest.mark.parametrize("value", [{}, {"data": {}}, {"data": {"orders": None}}, {"data": []}, {"message": "none"}])
def test_no_orders_in_other_words(setup: ClientSetup, value: Any) -> None:
    assert found(answering(setup, ORDERS, value), NOW_MS - 1000) == []


def test_orders_of_one_symbol_are_told_apart(setup: ClientSetup) -> None:
    btc = place(setup, 1000)
    eth = place(setup, 2000, symbol="ETHUSDT")
    assert found(setup, NOW_MS - DAY_MS) == btc + eth
    assert found(setup, NOW_MS - DAY_MS, symbol="ETHUSDT") == eth
    answering(setup, ORDERS, {"data": {"orders": [{"symbol": "btcusdt", "order_id": 1}, {"symbol": "XUSDT"}]}})
    assert found(setup, NOW_MS - DAY_MS, symbol="BTCUSDT") == [1], "rows of other symbols are passed over"


@pytest.mark.parametrize("to_time", ["exclusive", "inclusive"])
@pytest.mark.parametrize(
    "ages",
    [
        list(range(0, 120 * 1000, 1000)),
        [5000] * 40 + [6000] * 30 + [7000] * 10,
        [*range(0, 49 * 1000, 1000), *[49 * 1000] * 20, *[50 * 1000] * 20],
        list(range(0, 50 * 1000, 1000)),
        list(range(0, 51 * 1000, 1000)),
    ],
    ids=["120 apart", "ties over a page", "ties at the end of a page", "a page", "a page and one"],
)
def test_pages_are_followed_and_no_order_is_lost_or_told_twice(
    new_setup: NewSetup, ages: list[int], to_time: Any
) -> None:
    setup = new_setup(Quirks(orders_to_time=to_time), limits={ORDERS: None})
    placed = place(setup, *ages)
    returned = found(setup, NOW_MS - DAY_MS)
    assert len(returned) == len(set(returned))
    assert set(returned) == set(placed)


@pytest.mark.parametrize("weeks", [0, 1, 2, 5])
@pytest.mark.parametrize("to_time", ["exclusive", "inclusive"])
def test_time_is_walked_back_by_weeks(new_setup: NewSetup, weeks: int, to_time: Any) -> None:
    setup = new_setup(Quirks(orders_to_time=to_time))
    since = NOW_MS - RECENT_MS - weeks * LONGEST_SPAN_MS
    edges = [RECENT_MS + week * LONGEST_SPAN_MS + near for week in range(6) for near in (-1, 0, 1)]
    ages = [0, *edges, RECENT_MS + 6 * LONGEST_SPAN_MS]
    placed = dict(zip(place(setup, *ages), ages, strict=True))
    within = {identity for identity, age in placed.items() if NOW_MS - age >= since}
    returned = found(setup, since)
    assert set(within) <= set(returned)
    assert len(set(returned)) == len(returned)
    assert len(setup.sent) <= 2 + weeks
    spans = [body for request in setup.exchange.requests if "from_time" in (body := request.body)]
    assert all(since <= body["from_time"] < body["to_time"] for body in spans)
    assert all(body["to_time"] - body["from_time"] <= LONGEST_SPAN_MS for body in spans)


@pytest.mark.parametrize("to_time", ["exclusive", "inclusive"])
def test_both_ends_of_a_time_are_kept(new_setup: NewSetup, to_time: Any) -> None:
    setup = new_setup(Quirks(orders_to_time=to_time))
    placed = dict(zip((1000, 2000, 3000, 4000, 5000), place(setup, 1000, 2000, 3000, 4000, 5000), strict=True))
    returned = found(setup, NOW_MS - 4000, NOW_MS - 2000)
    assert set(returned) - {placed[2000]} == {placed[3000], placed[4000]}, "to_time itself is the exchange's to decide"


def test_a_row_without_a_time_is_reported(setup: ClientSetup) -> None:
    answering(setup, ORDERS, {"data": {"orders": [{"symbol": "BTCUSDT", "order_id": "a"}]}})
    assert found(setup, NOW_MS - 1000) == ["a"]


def test_a_full_page_without_cursor_goes_on_by_the_oldest(setup: ClientSetup) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": n, "created_at": NOW_MS - n} for n in range(1, 51)]
    setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": rows}}))
    placed = place(setup, 5000)
    assert found(setup, NOW_MS - DAY_MS) == [*range(1, 51), *placed]


def test_a_full_page_without_any_time_cannot_be_gone_on_from(setup: ClientSetup) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": n} for n in range(50)]
    answering(setup, ORDERS, {"data": {"orders": rows}})
    with pytest.raises(Unexpected, match="neither a cursor nor a time to go on from"):
        found(setup, NOW_MS - DAY_MS)


NO_MILLISECONDS = [NOW_MS // 1000, "2023-11-14T22:13:20Z", NOW_MS * 1000, 9_999_999_999_999, 0, -1, None, "", True, {}]


@pytest.mark.parametrize("created_at", NO_MILLISECONDS)
def test_an_order_with_any_time_is_open(setup: ClientSetup, created_at: Any) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": "a", "created_at": created_at}]
    answering(setup, ORDERS, {"data": {"orders": rows}})
    assert found(setup, NOW_MS - RECENT_MS) == ["a"]
    assert len(setup.sent) == 1


@pytest.mark.parametrize("created_at", NO_MILLISECONDS)
def test_a_full_page_of_orders_without_a_usable_time_is_no_end(setup: ClientSetup, created_at: Any) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": n, "created_at": created_at} for n in range(50)]
    answering(setup, ORDERS, {"data": {"orders": rows}})
    with pytest.raises(Unexpected, match="neither a cursor nor a time"):
        found(setup, NOW_MS - RECENT_MS)


def test_one_order_without_a_usable_time_does_not_mislead_the_next_page(setup: ClientSetup) -> None:
    times = [NOW_MS // 1000, 9_999_999_999_999, *range(NOW_MS - 47, NOW_MS + 1)]
    rows = [{"symbol": "BTCUSDT", "order_id": n, "created_at": time} for n, time in enumerate(times)]
    older = [{"symbol": "BTCUSDT", "order_id": "older", "created_at": 1}]
    for page in (rows, older):
        setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": page}}))
    assert found(setup, NOW_MS - RECENT_MS) == [*range(50), "older"]
    _first, second = setup.exchange.requests
    assert second.body["to_time"] == NOW_MS - 46


@pytest.mark.parametrize("message", [5, None, {}, [], True])
def test_a_message_that_is_no_text_is_not_the_envelope(setup: ClientSetup, message: Any) -> None:
    answering(setup, READ, {"message": message})
    with pytest.raises(Unexpected):
        setup.futures.leverage("BTCUSDT")


def test_a_page_that_comes_again_and_again_is_no_end(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(orders_period="ignored"))
    place(setup, *range(1000, 61_000, 1000))
    pages = setup.futures.open_orders(NOW_MS - RECENT_MS)
    assert len(next(pages)) == 50
    with pytest.raises(Unexpected, match="repeats a full page"):
        list(pages)
    assert len(setup.sent) <= 5


@pytest.mark.parametrize("cursor", [NOW_MS + 5, NOW_MS, 0, -5, "x", None, 1.5])
def test_a_cursor_that_leads_nowhere_does_not_lead_round_for_ever(new_setup: NewSetup, cursor: Any) -> None:
    setup = new_setup(limits={ORDERS: None}, max_wait=1e9)
    rows = [{"symbol": "BTCUSDT", "order_id": n, "created_at": NOW_MS} for n in range(50)]
    answering(setup, ORDERS, {"data": {"orders": rows, "cursor": cursor}})
    with pytest.raises(Unexpected, match="repeats a full page"):
        found(setup, NOW_MS - 20)
    assert len(setup.sent) <= 5
