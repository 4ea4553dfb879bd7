# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the typed calls return for each response, and which responses raise an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    Effect,
    NotConfigured,
    Refused,
    Unconfirmed,
    Unexpected,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import (
    DAY_MS,
    MAX_SPAN_MS,
    RECENT_MS,
)
from sandbox import FAULTS

from ..client_setup import (
    INSTRUMENTS,
    NOW,
    ORDERS,
    POSITIONS,
    READ,
    WRITE,
    ClientSetup,
    Fault,
    Quirks,
)

NewSetup = Callable[..., ClientSetup]
NOW_MS = int(NOW * 1000)


def set_response(setup: ClientSetup, endpoint: str, value: Any) -> ClientSetup:
    """Make the exchange answer every request to an endpoint with this JSON value. Return the setup."""
    setup.exchange.add_fault(endpoint, Fault(body=value), times=None)
    return setup


# --- Futures.get_leverage, Futures.set_leverage ---

VALID_LEVERAGES: list[tuple[Any, int]] = [
    (13, 13),
    ("13", 13),
    ("13.0", 13),
    ("13.000", 13),
    ("1.3e1", 13),
    ("013", 13),
    ("+13", 13),
]
EMPTY_LEVERAGES: list[Any] = [None, "", 0, "0", "0.0", "-0", "0e5", {}, {"value": None}]
INVALID_LEVERAGES: list[Any] = [
    True,
    False,
    " ",
    "ten",
    -13,
    "-13",
    13.5,
    "13.5",
    "nan",
    "Infinity",
    "1e99",
    [],
    [13],
    {"value": 13},
    "13x",
    "1e99999999999999999999",
    # Decimal accepts these, but they are ambiguous.
    "1_3",
    " 13",
    "13 ",
    "13\n",
    "\u0661\u0663",
    "\uff11\uff13",
    "1\u0663",
]


@pytest.mark.parametrize(("value", "leverage"), VALID_LEVERAGES)
@pytest.mark.parametrize("exchange_field", [{"exchange": "exchange_2"}, {}])
@pytest.mark.parametrize("symbol", ["BTCUSDT", "btcusdt"])
def test_leverage_is_accepted_as_text_or_number(
    setup: ClientSetup, value: Any, leverage: int, symbol: str, exchange_field: dict[str, str]
) -> None:
    set_response(setup, READ, {"data": {"symbol": symbol, "leverage": value, **exchange_field}})
    set_response(setup, WRITE, {"data": {"symbol": symbol, "leverage": value, **exchange_field}})
    returned = setup.futures.get_leverage("BTCUSDT")
    assert returned == leverage
    assert returned.__class__ is int
    setup.futures.set_leverage("BTCUSDT", leverage)


RESPONSES_WITHOUT_LEVERAGE: list[Any] = [
    *({"data": {"symbol": "BTCUSDT", "leverage": leverage}} for leverage in INVALID_LEVERAGES),
    *(
        {"data": {"symbol": symbol, "leverage": leverage}}
        for symbol in ("ETHUSDT", None)
        for leverage in ("13", *EMPTY_LEVERAGES)
        if symbol or leverage == "13"
    ),
    {"data": {"leverage": "13"}},
    {"data": {"exchange": "EXCHANGE_1", "symbol": "BTCUSDT", "leverage": None}},
    {"data": {"exchange": "EXCHANGE_1", "symbol": "BTCUSDT"}},
    {"data": {"symbol": "ETHUSDT"}},
    {"data": {"symbol": ["BTCUSDT"], "leverage": "13"}},
    {"data": {"symbol": "BTCUSDT", "exchange": "EXCHANGE_1", "leverage": "13"}},
    {"data": {"symbol": "BTCUSDT", "exchange": None, "leverage": "13"}},
    {"data": []},
    {"data": [{"symbol": "BTCUSDT", "leverage": "13"}]},
    {"data": "13"},
    {"data": 13},
    {"data": False},
    {},
    {"status": "ok"},
    [],
    13,
    "13",
    "[]",
]


@pytest.mark.parametrize("value", RESPONSES_WITHOUT_LEVERAGE, ids=str)
def test_response_without_a_valid_leverage_raises_an_error(setup: ClientSetup, value: Any) -> None:
    set_response(setup, READ, value)
    set_response(setup, WRITE, value)
    message = r"^(The response for BTCUSDT contains no leverage of this symbol|The response contains no data): "
    with pytest.raises(Unexpected, match=message):
        setup.futures.get_leverage("BTCUSDT")
    with pytest.raises(Unconfirmed, match=r"^The exchange did not confirm the change\. It answered HTTP 200: "):
        setup.futures.set_leverage("BTCUSDT", 13)
    assert setup.sent == [READ, WRITE]


NEVER_CONFIGURED: list[tuple[Any, str]] = [
    ({"message": "Leverage is not set"}, "Leverage is not set"),
    ({"message": ""}, ""),
    *(
        (value, json.dumps(value))
        for value in (
            {"data": None},
            {"data": ""},
            {"data": 0},
            {"data": "0"},
            {"data": {}},
            {"data": {"symbol": "", "exchange": "", "leverage": ""}},
            {"data": {"symbol": None, "exchange": None, "leverage": None}},
            {"data": {"leverage": 0}},
            {"data": {"symbol": "BTCUSDT"}},
            {"data": {"symbol": "btcusdt", "exchange": "exchange_2"}},
            *({"data": {"symbol": "BTCUSDT", "leverage": leverage}} for leverage in EMPTY_LEVERAGES),
        )
    ),
    ({"data": None, "message": "Leverage is not set"}, "Leverage is not set"),
    ({"data": {"symbol": "BTCUSDT", "leverage": "0"}, "message": "Success"}, "Success"),
]


@pytest.mark.parametrize(("value", "exchange_message"), NEVER_CONFIGURED, ids=str)
def test_response_without_a_leverage_or_with_zero_raises_not_configured(
    setup: ClientSetup, value: Any, exchange_message: str
) -> None:
    set_response(setup, READ, value)
    with pytest.raises(NotConfigured) as raised:
        setup.futures.get_leverage("BTCUSDT")
    assert str(raised.value) == f'The exchange returned no leverage: "{exchange_message}".'
    assert raised.value.exchange_message == exchange_message
    assert raised.value.effect is Effect.NONE
    assert setup.sent == [READ]


@pytest.mark.parametrize(("value", "_exchange_message"), NEVER_CONFIGURED, ids=str)
def test_empty_leverage_does_not_confirm_a_write(setup: ClientSetup, value: Any, _exchange_message: str) -> None:
    set_response(setup, WRITE, value)
    with pytest.raises(Unconfirmed):
        setup.futures.set_leverage("BTCUSDT", 13)


@pytest.mark.parametrize("message", [5, None, {}, [], True])
def test_message_that_is_not_text_raises_unexpected(setup: ClientSetup, message: Any) -> None:
    set_response(setup, READ, {"message": message})
    with pytest.raises(Unexpected):
        setup.futures.get_leverage("BTCUSDT")


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 422, 499])
@pytest.mark.parametrize("exchange_message", ["Leverage is not set", ""])
def test_every_refusal_of_the_api_itself_raises_not_configured(
    setup: ClientSetup, status: int, exchange_message: str
) -> None:
    setup.exchange.add_fault(READ, Fault(status=status, body={"message": exchange_message}))
    with pytest.raises(NotConfigured) as raised:
        setup.futures.get_leverage("BTCUSDT")
    quote = f': "{exchange_message}"' if exchange_message else ""
    assert str(raised.value) == f"The exchange refused GET /trade/api/v2/futures/leverage with HTTP {status}{quote}."
    assert raised.value.exchange_message == exchange_message
    assert raised.value.is_from_api


@pytest.mark.parametrize("fault", ["400-html", "403-html", "404-html", "409-html", "422-empty"])
def test_refusal_in_front_of_the_api_says_nothing_about_the_leverage(setup: ClientSetup, fault: str) -> None:
    setup.exchange.add_fault(READ, FAULTS[fault])
    with pytest.raises(Refused, match=r"^A server in front of the API refused GET /trade/api/v2/futures/leverage "):
        setup.futures.get_leverage("BTCUSDT")


@pytest.mark.parametrize("body", [{"message": "Temporary Redirect"}, "<p>Temporary Redirect</p>", ""])
def test_redirect_says_nothing_about_the_leverage(setup: ClientSetup, body: Any) -> None:
    setup.exchange.add_fault(READ, Fault(redirect="/trade/api/v2/time", body=body))
    with pytest.raises(Refused, match=r" Signed requests do not follow a redirect\. Check api_url\.$"):
        setup.futures.get_leverage("BTCUSDT")


@pytest.mark.parametrize(
    ("value", "exchange_message"),
    [
        ({"data": {"symbol": "BTCUSDT", "leverage": "12"}}, '{"data": {"symbol": "BTCUSDT", "leverage": "12"}}'),
        ({"message": "Try later"}, "Try later"),
        ({"message": 5}, '{"message": 5}'),
        ([], "[]"),
    ],
)
@pytest.mark.parametrize("status", [200, 202])
def test_unconfirmed_error_quotes_the_response_and_its_status(
    setup: ClientSetup, value: Any, exchange_message: str, status: int
) -> None:
    setup.exchange.add_fault(WRITE, Fault(status=status, body=value))
    with pytest.raises(Unconfirmed) as raised:
        setup.futures.set_leverage("BTCUSDT", 13)
    assert raised.value.exchange_message == exchange_message
    assert raised.value.status == status
    assert raised.value.effect is Effect.POSSIBLE
    assert str(raised.value) == (
        f'The exchange did not confirm the change. It answered HTTP {status}: "{exchange_message}".'
    )


@pytest.mark.parametrize(
    ("status", "value", "is_refusal"),
    [
        (200, {"message": "Margin is locked"}, True),
        (200, {"message": ""}, True),
        (200, {"message": "Margin is locked", "data": None}, True),
        (200, {"message": "Margin is locked", "data": {}}, False),
        (200, {"message": "Done", "data": {"symbol": "BTCUSDT", "leverage": "12"}}, False),
        (200, {"message": 5}, False),
        (200, {"data": None}, False),
        (200, [], False),
        (201, {"message": "Created"}, False),
        (202, {"message": "Accepted"}, False),
    ],
)
def test_only_a_200_with_nothing_but_a_message_is_a_refusal_in_words(
    setup: ClientSetup, status: int, value: Any, is_refusal: bool
) -> None:
    setup.exchange.add_fault(WRITE, Fault(status=status, body=value))
    with pytest.raises(Unconfirmed) as raised:
        setup.futures.set_leverage("BTCUSDT", 13)
    assert raised.value.is_refusal is is_refusal
    assert raised.value.is_from_api is (isinstance(value, dict) and isinstance(value.get("message"), str))


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_2xx_that_repeats_the_leverage_confirms_the_write(setup: ClientSetup, status: int) -> None:
    body = {"data": {"symbol": "BTCUSDT", "leverage": "13"}}
    setup.exchange.add_fault(WRITE, Fault(status=status, body=body))
    setup.futures.set_leverage("BTCUSDT", 13)
    assert setup.sent == [WRITE]


# --- Futures.get_instruments ---


@pytest.mark.parametrize("numbers", ["text", "number", "decimal"])
def test_instruments_are_returned_by_symbol_with_integer_limits(new_setup: NewSetup, numbers: Any) -> None:
    setup = new_setup(Quirks(numbers=numbers))
    instruments = setup.futures.get_instruments()
    assert set(instruments) == set(setup.exchange.instruments)
    xrp = instruments["XRPUSDT"]
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
        # A fraction allows only the whole numbers between the limits.
        ({"min_leverage": "0.5", "max_leverage": "25.9", "leverage_step": "0.5"}, (1, 25, 1)),
        ({"min_leverage": 1.01, "max_leverage": 100.5, "leverage_step": 0.01}, (2, 100, 1)),
        ({"min_leverage": "0", "max_leverage": "0.9", "leverage_step": "0.1"}, (0, 0, 1)),
        ({"min_leverage": "5", "max_leverage": "75", "leverage_step": "5.0"}, (5, 75, 5)),
        ({}, (None, None, None)),
        ({"min_leverage": None, "max_leverage": "", "leverage_step": "half"}, (None, None, None)),
        ({"min_leverage": "1_0", "max_leverage": True, "leverage_step": []}, (None, None, None)),
        ({"min_leverage": "\u0661", "max_leverage": " 25", "leverage_step": {}}, (None, None, None)),
    ],
)
def test_limits_are_whole_numbers_or_none(setup: ClientSetup, fields: dict[str, Any], limits: tuple[Any, ...]) -> None:
    set_response(setup, INSTRUMENTS, {"data": {"btcusdt": fields}})
    instruments = setup.futures.get_instruments()
    assert list(instruments) == ["BTCUSDT"]
    assert instruments["BTCUSDT"][1:4] == limits
    assert all(limit is None or limit.__class__ is int for limit in instruments["BTCUSDT"][1:4])


@pytest.mark.parametrize(
    ("step", "whole_step"),
    [
        ("1", 1),
        ("2", 2),
        ("0.01", 1),
        ("0.25", 1),
        ("0.2", 1),
        ("1e-2", 1),
        # These allow some whole numbers only, or start at an unknown number.
        ("0.3", None),
        ("0.75", None),
        ("1.5", None),
        ("2.5", None),
        ("0", None),
        ("-1", None),
        ("-0.01", None),
    ],
)
def test_step_that_is_a_fraction_must_divide_1(setup: ClientSetup, step: str, whole_step: int | None) -> None:
    set_response(setup, INSTRUMENTS, {"data": {"BTCUSDT": {"leverage_step": step}}})
    assert setup.futures.get_instruments()["BTCUSDT"].leverage_step == whole_step


@pytest.mark.parametrize("step", ["1e-30", "3e-30", "0." + "0" * 35 + "1"])
def test_step_with_very_many_digits_is_no_error(setup: ClientSetup, step: str) -> None:
    set_response(setup, INSTRUMENTS, {"data": {"BTCUSDT": {"leverage_step": step}}})
    assert setup.futures.get_instruments()["BTCUSDT"].leverage_step in (1, None)


@pytest.mark.parametrize(
    "value",
    [[], {}, 5, "null", {"data": []}, {"data": None}, {"message": "x"}, {"data": "x"}, {"data": {"BTCUSDT": None}}],
    ids=str,
)
def test_response_without_instruments_raises_unexpected(setup: ClientSetup, value: Any) -> None:
    with pytest.raises(Unexpected):
        set_response(setup, INSTRUMENTS, value).futures.get_instruments()


# --- Futures.get_positions ---


@pytest.mark.parametrize("returns_all_symbols", [False, True])
@pytest.mark.parametrize("flat_positions", ["message", "list"])
def test_open_positions_of_one_or_all_symbols_are_returned(
    new_setup: NewSetup, flat_positions: Any, returns_all_symbols: bool
) -> None:
    setup = new_setup(Quirks(flat_positions=flat_positions, positions_other_symbols=returns_all_symbols))
    assert setup.futures.get_positions("BTCUSDT") == setup.futures.get_positions() == []
    btc = setup.account.open_position("BTCUSDT", "LONG", "0.5")
    eth = setup.account.open_position("ETHUSDT", "SHORT", "2")
    assert [row["position_id"] for row in setup.futures.get_positions("BTCUSDT")] == [btc]
    assert {row["position_id"] for row in setup.futures.get_positions()} == {btc, eth}
    assert setup.futures.get_positions("SOLUSDT") == []


@pytest.mark.parametrize(
    ("size", "is_open"),
    [("0", False), (0, False), ("0.000", False), ("-0", False), ("0.1", True), (-1, True), (None, True), ("x", True)],
)
def test_position_of_size_0_is_not_returned(setup: ClientSetup, size: Any, is_open: bool) -> None:
    set_response(setup, POSITIONS, {"data": [{"symbol": "btcusdt", "position_size": size}]})
    assert bool(setup.futures.get_positions("BTCUSDT")) is is_open
    assert bool(setup.futures.get_positions()) is is_open


@pytest.mark.parametrize(
    "value",
    [[], {}, 5, {"data": {}}, {"data": 5}, {"data": [None]}, {"data": [{}]}, {"data": [[]]}, {"data": "x"}],
    ids=str,
)
def test_response_without_a_list_of_rows_raises_unexpected(setup: ClientSetup, value: Any) -> None:
    set_response(setup, POSITIONS, value)
    with pytest.raises(Unexpected):
        setup.futures.get_positions()
    if value in ({}, {"data": {}}):
        return  # For open orders, these responses mean that there are none.
    set_response(setup, ORDERS, value)
    with pytest.raises(Unexpected):
        read_order_ids(setup, NOW_MS - 1000)


# --- Futures.get_open_orders ---


def place_orders(setup: ClientSetup, *ages: int, symbol: str = "BTCUSDT") -> list[str]:
    """Place an order of each age, in milliseconds. Return their IDs."""
    return [setup.account.open_order(symbol, "BUY", "1", "5", created_at=NOW_MS - age) for age in ages]


def read_order_ids(setup: ClientSetup, since: int, until: int | None = None, symbol: str | None = None) -> list[Any]:
    """Read the open orders of all pages. Return their IDs."""
    return [row["order_id"] for page in setup.futures.get_open_orders(since, until, symbol) for row in page]


@pytest.mark.parametrize("empty_orders", ["list", "null", "absent"])
@pytest.mark.parametrize("symbol", [None, "BTCUSDT"])
def test_without_open_orders_one_request_is_sent(new_setup: NewSetup, empty_orders: Any, symbol: str | None) -> None:
    setup = new_setup(Quirks(empty_orders=empty_orders))
    assert read_order_ids(setup, NOW_MS - RECENT_MS, symbol=symbol) == []
    assert setup.sent == [ORDERS]
    assert setup.exchange.requests[0].body == {
        "exchange": "EXCHANGE_2",
        "limit": 50,
        **({"symbol": symbol} if symbol else {}),
    }


@pytest.mark.parametrize("value", [{}, {"data": {}}, {"data": {"orders": None}}, {"data": []}, {"message": "none"}])
def test_response_without_orders_returns_no_orders(setup: ClientSetup, value: Any) -> None:
    assert read_order_ids(set_response(setup, ORDERS, value), NOW_MS - 1000) == []


def test_orders_of_other_symbols_are_not_returned(setup: ClientSetup) -> None:
    btc = place_orders(setup, 1000)
    eth = place_orders(setup, 2000, symbol="ETHUSDT")
    assert read_order_ids(setup, NOW_MS - DAY_MS) == btc + eth
    assert read_order_ids(setup, NOW_MS - DAY_MS, symbol="ETHUSDT") == eth
    set_response(setup, ORDERS, {"data": {"orders": [{"symbol": "btcusdt", "order_id": 1}, {"symbol": "XUSDT"}]}})
    assert read_order_ids(setup, NOW_MS - DAY_MS, symbol="BTCUSDT") == [1], "rows of other symbols are ignored"


@pytest.mark.parametrize("to_time", ["exclusive", "inclusive"])
def test_orders_outside_the_period_are_not_returned(new_setup: NewSetup, to_time: Any) -> None:
    setup = new_setup(Quirks(orders_to_time=to_time))
    placed = dict(zip((1000, 2000, 3000, 4000, 5000), place_orders(setup, 1000, 2000, 3000, 4000, 5000), strict=True))
    returned = read_order_ids(setup, NOW_MS - 4000, NOW_MS - 2000)
    assert set(returned) - {placed[2000]} == {placed[3000], placed[4000]}, (
        "whether an order at `until` is included depends on the exchange"
    )


def test_order_without_a_time_is_returned(setup: ClientSetup) -> None:
    set_response(setup, ORDERS, {"data": {"orders": [{"symbol": "BTCUSDT", "order_id": "a"}]}})
    assert read_order_ids(setup, NOW_MS - 1000) == ["a"]


UNUSABLE_TIMES = [NOW_MS // 1000, "2023-11-14T22:13:20Z", NOW_MS * 1000, 9_999_999_999_999, 0, -1, None, "", True, {}]


@pytest.mark.parametrize("created_at", UNUSABLE_TIMES)
def test_order_with_an_unusable_time_is_returned(setup: ClientSetup, created_at: Any) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": "a", "created_at": created_at}]
    set_response(setup, ORDERS, {"data": {"orders": rows}})
    assert read_order_ids(setup, NOW_MS - RECENT_MS) == ["a"]
    assert len(setup.sent) == 1


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
    ids=[
        "different times",
        "equal times across pages",
        "equal times at the end of a page",
        "one full page",
        "one full page and one order",
    ],
)
def test_every_order_of_several_pages_is_returned_once(new_setup: NewSetup, ages: list[int], to_time: Any) -> None:
    setup = new_setup(Quirks(orders_to_time=to_time), limits={ORDERS: None})
    placed = place_orders(setup, *ages)
    returned = read_order_ids(setup, NOW_MS - DAY_MS)
    assert len(returned) == len(set(returned))
    assert set(returned) == set(placed)


@pytest.mark.parametrize("weeks", [0, 1, 2, 5])
@pytest.mark.parametrize("to_time", ["exclusive", "inclusive"])
def test_long_period_is_read_in_spans_of_at_most_7_days(new_setup: NewSetup, weeks: int, to_time: Any) -> None:
    setup = new_setup(Quirks(orders_to_time=to_time))
    since = NOW_MS - RECENT_MS - weeks * MAX_SPAN_MS
    edges = [RECENT_MS + week * MAX_SPAN_MS + offset for week in range(6) for offset in (-1, 0, 1)]
    ages = [0, *edges, RECENT_MS + 6 * MAX_SPAN_MS]
    placed = dict(zip(place_orders(setup, *ages), ages, strict=True))
    within = {order_id for order_id, age in placed.items() if NOW_MS - age >= since}
    returned = read_order_ids(setup, since)
    assert set(within) <= set(returned)
    assert len(set(returned)) == len(returned)
    assert len(setup.sent) <= 2 + weeks
    spans = [body for request in setup.exchange.requests if "from_time" in (body := request.body)]
    assert all(since <= body["from_time"] < body["to_time"] for body in spans)
    assert all(body["to_time"] - body["from_time"] <= MAX_SPAN_MS for body in spans)


def test_repeated_full_page_raises_unexpected(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(orders_period="ignored"))
    place_orders(setup, *range(1000, 61_000, 1000))
    pages = setup.futures.get_open_orders(NOW_MS - RECENT_MS)
    assert len(next(pages)) == 50
    with pytest.raises(Unexpected, match="repeats a full page"):
        list(pages)
    assert len(setup.sent) <= 5


# --- _get_next_end ---


def test_next_page_ends_at_the_oldest_order_if_there_is_no_cursor(setup: ClientSetup) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": number, "created_at": NOW_MS - number} for number in range(1, 51)]
    setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": rows}}))
    placed = place_orders(setup, 5000)
    assert read_order_ids(setup, NOW_MS - DAY_MS) == [*range(1, 51), *placed]


def test_unusable_time_is_ignored_for_the_next_page(setup: ClientSetup) -> None:
    times = [NOW_MS // 1000, 9_999_999_999_999, *range(NOW_MS - 47, NOW_MS + 1)]
    rows = [{"symbol": "BTCUSDT", "order_id": number, "created_at": time} for number, time in enumerate(times)]
    older = [{"symbol": "BTCUSDT", "order_id": "older", "created_at": 1}]
    for page in (rows, older):
        setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": page}}))
    assert read_order_ids(setup, NOW_MS - RECENT_MS) == [*range(50), "older"]
    _first, second = setup.exchange.requests
    assert second.body["to_time"] == NOW_MS - 46


def test_full_page_without_times_or_cursor_raises_unexpected(setup: ClientSetup) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": number} for number in range(50)]
    set_response(setup, ORDERS, {"data": {"orders": rows}})
    with pytest.raises(Unexpected, match="neither a cursor nor a usable time"):
        read_order_ids(setup, NOW_MS - DAY_MS)


@pytest.mark.parametrize("created_at", UNUSABLE_TIMES)
def test_full_page_of_unusable_times_raises_unexpected(setup: ClientSetup, created_at: Any) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": number, "created_at": created_at} for number in range(50)]
    set_response(setup, ORDERS, {"data": {"orders": rows}})
    with pytest.raises(Unexpected, match="neither a cursor nor a usable time"):
        read_order_ids(setup, NOW_MS - RECENT_MS)


@pytest.mark.parametrize("cursor", [NOW_MS + 5, NOW_MS, 0, -5, "x", None, 1.5])
def test_unusable_cursor_does_not_cause_an_endless_loop(new_setup: NewSetup, cursor: Any) -> None:
    setup = new_setup(limits={ORDERS: None}, max_wait=1e9)
    rows = [{"symbol": "BTCUSDT", "order_id": number, "created_at": NOW_MS} for number in range(50)]
    set_response(setup, ORDERS, {"data": {"orders": rows, "cursor": cursor}})
    with pytest.raises(Unexpected, match="repeats a full page"):
        read_order_ids(setup, NOW_MS - 20)
    assert len(setup.sent) <= 5


def test_orders_without_an_id_differ_by_their_content(setup: ClientSetup) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": None, "price": price} for price in ("1", "2", "2")]
    set_response(setup, ORDERS, {"data": {"orders": rows}})
    (page,) = setup.futures.get_open_orders(NOW_MS - RECENT_MS)
    assert [row["price"] for row in page] == ["1", "2"]


def test_page_with_more_orders_than_were_asked_for_is_refused(setup: ClientSetup) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": str(number)} for number in range(51)]
    set_response(setup, ORDERS, {"data": {"orders": rows}})
    with pytest.raises(Unexpected, match=r"contains 51 open orders, but the request asked for at most 50\. "):
        list(setup.futures.get_open_orders(NOW_MS - DAY_MS))
