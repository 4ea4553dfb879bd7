# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the readers return, how many requests they send, and which errors they raise."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import OPEN_ORDERS
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    BudgetSpent,
    CoinSwitchError,
    KeysRefused,
    Refused,
    Unclear,
    Unexpected,
    Unreachable,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import DAY_MS
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import readers as _readers
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.queries import OrdersQuery
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result, to_plain
from sandbox import FAULTS

from ..client_setup import (
    API_KEY,
    INSTRUMENTS,
    NOW,
    ORDERS,
    POSITIONS,
    READ,
    ClientSetup,
    Fault,
    Quirks,
)

NewSetup = Callable[..., ClientSetup]
NOW_MS = int(NOW * 1000)
WEEK_MS = 7 * DAY_MS
WALLET, VALIDATE, TIME = "wallet", "validate_keys", "time"
MISMATCHED_KEYS = (API_KEY, "11" * 32)
UNKNOWN_SYMBOL_RESPONSES = ["400", "404", "422", "message"]


def read_leverages(setup: ClientSetup, *symbols: str) -> list[dict[str, Any]]:
    return get_rows(_readers.read_leverages(setup.futures, list(symbols)), "leverages")


def read_instruments(setup: ClientSetup, *symbols: str) -> list[dict[str, Any]]:
    return get_rows(_readers.read_instruments(setup.futures, list(symbols) or None), "instruments")


def read_positions(setup: ClientSetup, *symbols: str) -> list[dict[str, Any]]:
    return get_rows(_readers.read_positions(setup.futures, list(symbols)), "positions")


def read_orders(
    setup: ClientSetup, *symbols: str, start: int | None = None, end: int | None = None
) -> list[dict[str, Any]]:
    return get_rows(_readers.read_orders(setup.futures, OrdersQuery(list(symbols) or None, start, end)), "orders")


def read_wallet(setup: ClientSetup) -> dict[str, Any]:
    return _readers.read_wallet(setup.futures).values


def check_keys(setup: ClientSetup) -> Result:
    return _readers.check_keys(setup.futures)


def get_rows(report: Result, name: str) -> list[dict[str, Any]]:
    """Return the rows of a report. Fail if it has a failure or warnings."""
    assert (list(report.values), report.failure, list(report.warnings)) == ([name], None, [])
    rows = report.values[name]
    assert isinstance(rows, list)
    return rows


def get_order_ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["order_id"] for row in rows]


def get_error(read: Callable[..., object], *args: Any, error_type: type[CoinSwitchError] = CoinSwitchError) -> str:
    """Call a reader that fails. Return its error message, which must be one line."""
    with pytest.raises(error_type) as raised:
        read(*args)
    (line,) = str(raised.value).splitlines()
    return line


# --- _SymbolReader ---


def test_error_names_its_symbol(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, retries=0)
    setup.exchange.add_fault(READ, FAULTS["503-html"], symbol="ETHUSDT")
    assert get_error(read_leverages, setup, "BTCUSDT", "ETHUSDT", "SOLUSDT").startswith(
        "ETHUSDT: The exchange answered GET"
    )
    assert setup.sent == [READ, READ]


def test_unreadable_instruments_are_reported_with_the_symbol(new_setup: NewSetup) -> None:
    setup = new_setup(retries=0)
    setup.exchange.add_fault(INSTRUMENTS, FAULTS["500"])
    assert get_error(read_leverages, setup, "XYZ").startswith(
        "It is not known whether EXCHANGE_2 lists XYZ. The exchange"
    )


def test_refused_keys_are_reported_without_the_symbol(new_setup: NewSetup) -> None:
    setup = new_setup()
    setup.exchange.add_fault(INSTRUMENTS, FAULTS["401"], times=None)
    assert get_error(read_leverages, setup, "XYZ", error_type=KeysRefused).startswith("The exchange refused the keys")


# --- read_leverages ---


@pytest.mark.parametrize("numbers", ["text", "number", "decimal"])
def test_read_leverages_sends_one_request_per_symbol(new_setup: NewSetup, numbers: Any) -> None:
    setup = new_setup(Quirks(numbers=numbers), current={"BTCUSDT": 10, "1000PEPEUSDT": 3})
    assert read_leverages(setup, "BTCUSDT", "1000PEPEUSDT") == [
        {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": 10},
        {"symbol": "1000PEPEUSDT", "exchange": "EXCHANGE_2", "leverage": 3},
    ]
    assert setup.sent == [READ, READ]


@pytest.mark.parametrize("unset_leverage", ["400", "404", "422", "message"])
def test_read_leverages_returns_none_for_a_never_configured_symbol(new_setup: NewSetup, unset_leverage: Any) -> None:
    setup = new_setup(Quirks(unset_leverage=unset_leverage), current={"BTCUSDT": 10})
    rows = read_leverages(setup, "ETHUSDT", "BTCUSDT", "SOLUSDT")
    assert [row["leverage"] for row in rows] == [None, 10, None]
    assert ["Leverage is not set" in row.get("reason", "") for row in rows] == [True, False, True]
    assert setup.sent == [READ, INSTRUMENTS, READ, READ]


@pytest.mark.parametrize("unknown_symbol", UNKNOWN_SYMBOL_RESPONSES)
def test_read_leverages_names_all_unknown_symbols_at_once(new_setup: NewSetup, unknown_symbol: Any) -> None:
    setup = new_setup(Quirks(unknown_symbol=unknown_symbol))
    assert get_error(read_leverages, setup, "BTCUSDT", "ETHUSD", "SOLUSDT", "XYZ") == (
        "ETHUSD: EXCHANGE_2 does not list this symbol. Did you mean ETHUSDT? "
        "XYZ: EXCHANGE_2 does not list this symbol. Check the name."
    )
    assert setup.sent == [READ, READ, INSTRUMENTS]


def test_read_leverages_waits_for_the_rate_limit(new_setup: NewSetup) -> None:
    setup = new_setup()
    setup.exchange.list_many(45)
    assert len(read_leverages(setup, *setup.exchange.instruments)) == 45
    assert setup.exchange.refused_by_rate_limit == 0
    assert 120 <= setup.clock.now - NOW <= 122


def test_read_leverages_sends_nothing_if_the_max_wait_is_too_short(new_setup: NewSetup) -> None:
    setup = new_setup(max_wait=30)
    names = [f"COIN{number}USDT" for number in range(21)]
    assert "Increase rate_limit_timeout, or run the task again later." in get_error(
        read_leverages, setup, *names, error_type=BudgetSpent
    )
    assert setup.sent == []


# --- read_instruments ---


@pytest.mark.parametrize("numbers", ["text", "number", "decimal"])
def test_read_instruments_returns_integer_limits_and_all_fields(new_setup: NewSetup, numbers: Any) -> None:
    setup = new_setup(Quirks(numbers=numbers))
    (row,) = read_instruments(setup, "XRPUSDT")
    assert {name: row.pop(name) for name in ("symbol", "min_leverage", "max_leverage", "leverage_step")} == {
        "symbol": "XRPUSDT",
        "min_leverage": 5,
        "max_leverage": 75,
        "leverage_step": 5,
    }
    expected_fields = setup.exchange.instruments["XRPUSDT"]
    assert row == {
        name: value for name, value in expected_fields.items() if name != "symbol" and "leverage" not in name
    }
    assert setup.sent == [INSTRUMENTS]


@pytest.mark.parametrize(
    ("max_leverage", "limit"),
    [
        *zip(("75", 75, "75.00", 75.0, "7.5e1", 75.5, "75.999"), repeat(75)),
        *zip((None, "", "x", True, "NaN", [75], {}, "1e999999"), repeat(None)),
    ],
)
def test_read_instruments_returns_none_for_an_invalid_limit(
    new_setup: NewSetup, max_leverage: Any, limit: int | None
) -> None:
    setup = new_setup()
    setup.exchange.add_fault(INSTRUMENTS, Fault(body={"data": {"btcusdt": {"max_leverage": max_leverage}}}))
    (row,) = read_instruments(setup)
    assert (row["symbol"], row["max_leverage"], row["min_leverage"]) == ("BTCUSDT", limit, None)
    assert limit is None or row["max_leverage"].__class__ is int


def test_read_instruments_returns_all_or_the_named_ones_in_order(new_setup: NewSetup) -> None:
    setup = new_setup()
    setup.exchange.list_many(670)
    assert len(read_instruments(setup)) == 670
    assert [row["symbol"] for row in read_instruments(setup, "SOLUSDT", "BTCUSDT")] == ["SOLUSDT", "BTCUSDT"]
    assert setup.sent == [INSTRUMENTS, INSTRUMENTS]


def test_read_instruments_names_unknown_symbols(new_setup: NewSetup) -> None:
    message = get_error(read_instruments, new_setup(), "BTCUSDT", "XRP", "XYZ")
    assert message.startswith("XRP: EXCHANGE_2 does not list this symbol")
    assert " XYZ: EXCHANGE_2 does not list this symbol" in message


@pytest.mark.parametrize("body", [{"message": "none"}, {"data": None}])
def test_read_instruments_raises_unexpected_without_instruments(new_setup: NewSetup, body: Any) -> None:
    setup = new_setup()
    setup.exchange.add_fault(INSTRUMENTS, Fault(body=body))
    assert "contains no instruments" in get_error(read_instruments, setup, error_type=Unexpected)


# --- read_positions ---


def test_read_positions_returns_the_fields_of_the_exchange(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 20})
    position_id = setup.account.open_position("BTCUSDT", "SHORT", "0.010")
    (row,) = read_positions(setup, "BTCUSDT")
    fields = ("position_id", "symbol", "position_side", "leverage", "position_size", "created_at")
    assert [row[name] for name in fields] == [position_id, "BTCUSDT", "SHORT", "20", "0.010", NOW_MS]
    assert len(row) == 18
    assert setup.sent == [POSITIONS]


def test_read_positions_returns_a_row_for_each_side(new_setup: NewSetup) -> None:
    setup = new_setup()
    for side in ("LONG", "SHORT"):
        setup.account.open_position("BTCUSDT", side, "1")
    assert [row["position_side"] for row in read_positions(setup, "BTCUSDT")] == ["LONG", "SHORT"]


@pytest.mark.parametrize("flat_positions", ["message", "list"])
def test_read_positions_returns_no_row_without_a_position(new_setup: NewSetup, flat_positions: Any) -> None:
    setup = new_setup(Quirks(flat_positions=flat_positions))
    assert read_positions(setup, "BTCUSDT") == []
    assert setup.sent == [POSITIONS, INSTRUMENTS]


@pytest.mark.parametrize("size", [0, 0.0, "0", "0.000", "-0", "0E-8"])
def test_read_positions_ignores_a_position_of_size_0(new_setup: NewSetup, size: Any) -> None:
    setup = new_setup()
    setup.exchange.add_fault(POSITIONS, Fault(body={"data": [{"symbol": "BTCUSDT", "position_size": size}]}))
    assert read_positions(setup, "BTCUSDT") == []


@pytest.mark.parametrize("size", [3, 0.25, "0.25", "1e-8", None, "much", 1e-300])
def test_read_positions_returns_any_other_size_unchanged(new_setup: NewSetup, size: Any) -> None:
    setup = new_setup()
    setup.exchange.add_fault(POSITIONS, Fault(body={"data": [{"symbol": "btcusdt", "position_size": size}]}))
    assert to_plain(read_positions(setup, "BTCUSDT")) == [{"symbol": "BTCUSDT", "position_size": size}]


@pytest.mark.parametrize("without_symbol", ["all", "422"])
@pytest.mark.parametrize("other_symbols", [False, True])
def test_read_positions_reads_all_symbols_in_one_request_if_allowed(
    new_setup: NewSetup, without_symbol: Any, other_symbols: bool
) -> None:
    setup = new_setup(Quirks(positions_without_symbol=without_symbol, positions_other_symbols=other_symbols))
    for symbol in ("SOLUSDT", "BTCUSDT", "ADAUSDT"):
        setup.account.open_position(symbol, "LONG", "1")
    open_symbols = {row["symbol"] for row in read_positions(setup, "BTCUSDT", "ETHUSDT", "SOLUSDT")}
    assert open_symbols == {"BTCUSDT", "SOLUSDT"}
    assert setup.sent == [POSITIONS] * (1 if without_symbol == "all" else 4) + [INSTRUMENTS]


def test_read_positions_sends_no_more_requests_than_the_max_wait_allows(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(positions_without_symbol="422"), max_wait=30)
    get_error(read_positions, setup, *(f"COIN{number}USDT" for number in range(20)), error_type=BudgetSpent)
    assert setup.sent == [POSITIONS]


@pytest.mark.parametrize("unknown_symbol", UNKNOWN_SYMBOL_RESPONSES)
@pytest.mark.parametrize("without_symbol", ["all", "422"])
def test_read_positions_names_an_unknown_symbol(new_setup: NewSetup, unknown_symbol: Any, without_symbol: Any) -> None:
    setup = new_setup(Quirks(unknown_symbol=unknown_symbol, positions_without_symbol=without_symbol))
    assert (
        get_error(read_positions, setup, "ETHUSD")
        == "ETHUSD: EXCHANGE_2 does not list this symbol. Did you mean ETHUSDT?"
    )
    assert (
        get_error(read_positions, setup, "BTCUSDT", "XYZ")
        == "XYZ: EXCHANGE_2 does not list this symbol. Check the name."
    )


def test_read_positions_quotes_the_refusal_of_a_listed_symbol(new_setup: NewSetup) -> None:
    setup = new_setup()
    setup.exchange.add_fault(POSITIONS, Fault(status=400, body={"message": "Maintenance"}))
    message = get_error(read_positions, setup, "BTCUSDT")
    assert message.startswith("BTCUSDT: The exchange refused GET")
    assert message.endswith('"Maintenance".')
    assert setup.sent == [POSITIONS, INSTRUMENTS]


def test_read_positions_skips_the_symbol_check_if_another_server_refuses(new_setup: NewSetup) -> None:
    setup = new_setup()
    setup.exchange.add_fault(POSITIONS, FAULTS["400-html"])
    assert get_error(read_positions, setup, "BTCUSDT").startswith("BTCUSDT: A server in front of the API refused GET")
    assert setup.sent == [POSITIONS]


# --- read_orders ---


@pytest.mark.parametrize("empty_orders", ["list", "null", "absent"])
def test_read_orders_without_orders_sends_five_requests_for_five_weeks(new_setup: NewSetup, empty_orders: Any) -> None:
    setup = new_setup(Quirks(empty_orders=empty_orders), latency=0.5)
    assert read_orders(setup) == []
    assert setup.sent == [ORDERS] * 5


@pytest.mark.parametrize("to_time", ["exclusive", "inclusive"])
@pytest.mark.parametrize("seed", range(3))
def test_read_orders_returns_each_order_once_newest_first(new_setup: NewSetup, to_time: Any, seed: int) -> None:
    setup = new_setup(Quirks(orders_to_time=to_time), limits={ORDERS: None})
    rng = random.Random(seed)
    # Bots place orders in bursts: up to 30 in a millisecond, some of them at the boundary of two weeks.
    weeks = [NOW_MS - week * WEEK_MS - 1 for week in range(5)]
    bursts = weeks + [NOW_MS - rng.randrange(34 * DAY_MS) for _burst in range(40)]
    placed = {
        setup.account.open_order(rng.choice(["BTCUSDT", "ETHUSDT", "SOLUSDT"]), "BUY", "1", "1", time): time
        for time in bursts
        for _order in range(rng.randrange(1, 30))
    }
    rows = read_orders(setup)
    assert len(placed) > 400
    assert sorted(get_order_ids(rows)) == sorted(placed)
    times = [row["created_at"] for row in rows]
    assert times == sorted(times, reverse=True)
    assert len(setup.sent) < 5 + 2 * len(placed) / 20

    setup.exchange.requests.clear()
    eth_orders = read_orders(setup, "ETHUSDT")
    assert get_order_ids(eth_orders) == [row["order_id"] for row in rows if row["symbol"] == "ETHUSDT"]
    assert {request.symbol for request in setup.exchange.requests} == {"ETHUSDT"}
    two_symbols = read_orders(setup, "SOLUSDT", "BTCUSDT")
    assert get_order_ids(two_symbols) == [row["order_id"] for row in rows if row["symbol"] != "ETHUSDT"]


def test_read_orders_without_from_time_covers_five_weeks(new_setup: NewSetup) -> None:
    setup = new_setup()
    end = NOW_MS - 100 * DAY_MS
    ages = (0, 34.99, 35, 35.01)
    placed = [setup.account.open_order("BTCUSDT", "BUY", "1", "1", end - int(age * DAY_MS)) for age in ages]
    assert get_order_ids(read_orders(setup, end=end)) == placed[:2]
    assert setup.sent == [ORDERS] * 5


@pytest.mark.parametrize(("days", "count"), [(0, 1), (1, 1), (6.9, 1), (7, 2), (13, 2), (15, 3), (70, 11)])
def test_read_orders_sends_one_request_per_week(new_setup: NewSetup, days: float, count: int) -> None:
    setup = new_setup()
    read_orders(setup, start=NOW_MS - int(days * DAY_MS))
    assert setup.sent == [ORDERS] * count


def test_read_orders_ignores_a_to_time_in_the_future(new_setup: NewSetup) -> None:
    setup = new_setup()
    placed = setup.account.open_order("BTCUSDT", "BUY", "1", "1", NOW_MS - 1)
    assert get_order_ids(read_orders(setup, start=NOW_MS - DAY_MS, end=NOW_MS + 900 * DAY_MS)) == [placed]
    assert read_orders(setup, start=NOW_MS + DAY_MS, end=NOW_MS + 2 * DAY_MS) == []
    assert setup.sent == [ORDERS, ORDERS]


def test_read_orders_misses_no_order_during_a_wait(new_setup: NewSetup) -> None:
    setup = new_setup()
    with setup.pacer.budget_store.open() as budgets:
        budgets[OPEN_ORDERS.name] = [[], NOW + 300]
    setup.exchange.add_fault(ORDERS, Fault(status=429, headers={"Retry-After": "60"}))
    placed = setup.account.open_order("BTCUSDT", "BUY", "1", "1", NOW_MS - WEEK_MS + 330_000)
    assert get_order_ids(read_orders(setup, start=NOW_MS - 8 * DAY_MS)) == [placed]
    assert setup.clock.now - NOW >= 360


def test_read_orders_sends_nothing_if_the_period_is_too_long(new_setup: NewSetup) -> None:
    setup = new_setup()
    message = get_error(partial(read_orders, start=NOW_MS - 300 * WEEK_MS), setup, error_type=BudgetSpent)
    assert message.startswith("Sending 300 more requests to POST /trade/api/v2/futures/orders/open takes about 842 s ")
    assert setup.sent == []


@pytest.mark.parametrize("unknown_symbol", UNKNOWN_SYMBOL_RESPONSES)
def test_read_orders_names_an_unknown_symbol(new_setup: NewSetup, unknown_symbol: Any) -> None:
    setup = new_setup(Quirks(unknown_symbol=unknown_symbol))
    assert (
        get_error(read_orders, setup, "ETHUSD") == "ETHUSD: EXCHANGE_2 does not list this symbol. Did you mean ETHUSDT?"
    )
    assert (
        get_error(read_orders, setup, "BTCUSDT", "XYZ") == "XYZ: EXCHANGE_2 does not list this symbol. Check the name."
    )
    assert setup.sent[-6:] == [ORDERS] * 5 + [INSTRUMENTS]


def test_read_orders_checks_that_a_symbol_without_orders_is_listed(new_setup: NewSetup) -> None:
    setup = new_setup()
    setup.account.open_order("ETHUSDT", "BUY", "1", "1")
    assert len(read_orders(setup, "ETHUSDT", "BTCUSDT")) == 1
    assert setup.sent == [ORDERS] * 5 + [INSTRUMENTS]


# --- _is_within ---


@pytest.mark.parametrize("to_time", ["exclusive", "inclusive"])
@pytest.mark.parametrize("days", [0, 1, 6.99, 7, 8, 20, 34])
def test_read_orders_includes_both_ends_of_the_period(new_setup: NewSetup, to_time: Any, days: float) -> None:
    setup = new_setup(Quirks(orders_to_time=to_time))
    end = NOW_MS - int(days * DAY_MS) - 1
    start = end - 15 * DAY_MS
    placed = [
        setup.account.open_order("BTCUSDT", "BUY", "1", "1", time)
        for time in (end + 1, end, end - 1, start + 1, start, start - 1)
    ]
    assert get_order_ids(read_orders(setup, start=start, end=end)) == placed[1:-1]
    assert get_order_ids(read_orders(setup, start=end, end=end)) == placed[1:2]


@pytest.mark.parametrize("created_at", [NOW_MS - 5, str(NOW_MS - 5), float(NOW_MS - 5), None, "yesterday"])
def test_read_orders_accepts_created_at_in_any_form(new_setup: NewSetup, created_at: Any) -> None:
    setup = new_setup()
    row = {"order_id": 7, "symbol": "btcusdt", "created_at": created_at, "price": 0.1}
    setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": [row]}}))
    rows = read_orders(setup, start=NOW_MS - DAY_MS, end=NOW_MS)
    assert to_plain(rows) == [{**row, "symbol": "BTCUSDT"}]


# --- _warn_of_full_milliseconds ---


@pytest.mark.parametrize(("count", "warnings"), [(49, 0), (50, 1), (80, 1)])
def test_read_orders_warns_of_a_full_page_in_one_millisecond(new_setup: NewSetup, count: int, warnings: int) -> None:
    setup = new_setup()
    for _order in range(count):
        setup.account.open_order("BTCUSDT", "BUY", "1", "1", NOW_MS - DAY_MS)
    report = _readers.read_orders(setup.futures, OrdersQuery(None, None, None))
    assert len(report.warnings) == warnings
    assert all("in the same millisecond" in warning for warning in report.warnings)
    assert len(report.values["orders"]) == min(count, 50)


# --- read_wallet ---


def test_read_wallet_returns_balances_and_assets(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10})
    setup.account.open_position("BTCUSDT", "LONG", "0.01")
    result = read_wallet(setup)
    assert result["balances"] == [
        {
            "base_asset": "USDT",
            "balances": {
                "total_balance": "10000.00000000",
                "total_available_balance": "9936.00000000",
                "total_blocked_balance": "64.00000000",
                "total_position_margin": "64.00000000",
                "total_open_order_margin": "0.00000000",
            },
        }
    ]
    (asset,) = result["assets"]
    assert (asset["symbol"], asset["position_margin"]) == ("BTCUSDT", "64.00000000")
    assert setup.sent == [WALLET]


@pytest.mark.parametrize(
    "body",
    [
        {"message": "There are no balances"},
        {"data": None},
        {"data": {}},
        {"data": []},
        {"data": {"base_asset_balances": [], "asset": None}},
    ],
)
def test_read_wallet_returns_empty_lists_without_data(new_setup: NewSetup, body: Any) -> None:
    setup = new_setup()
    setup.exchange.add_fault(WALLET, Fault(body=body))
    assert read_wallet(setup) == {"balances": [], "assets": []}


@pytest.mark.parametrize(
    "data",
    [
        *("rich", 5, [1], {"asset": {"a": 1}}, {"base_asset_balances": 5}, {"base_asset_balances": [5]}),
        {"base_asset_balances": [{}]},
    ],
)
def test_read_wallet_raises_unexpected_for_an_unknown_format(new_setup: NewSetup, data: Any) -> None:
    setup = new_setup()
    setup.exchange.add_fault(WALLET, Fault(body={"data": data}))
    assert "The response contains no" in get_error(read_wallet, setup, error_type=Unexpected)


# --- check_keys ---


def test_check_keys_returns_valid_for_good_keys(new_setup: NewSetup) -> None:
    setup = new_setup(latency=0.125)
    assert check_keys(setup) == Result(
        {"valid": True, "pair_matches": True, "clock_offset": 0.0, "round_trip": 0.25}, warnings=[]
    )
    assert setup.sent == [VALIDATE, TIME]


def test_check_keys_explains_mismatched_keys(new_setup: NewSetup) -> None:
    result = check_keys(new_setup(keys=MISMATCHED_KEYS)).values
    assert (result["valid"], result["pair_matches"], result["clock_offset"]) == (False, False, 0.0)
    assert "secret_key and api_key are not a pair" in result["reason"]


def test_check_keys_accepts_mismatched_keys_if_the_exchange_does(new_setup: NewSetup) -> None:
    setup = new_setup(keys=MISMATCHED_KEYS)
    setup.exchange.add_fault(VALIDATE, Fault(body={"message": "Valid Access"}))
    result = check_keys(setup).values
    assert (result["valid"], result["pair_matches"]) == (True, False)
    assert "reason" not in result


def test_check_keys_explains_replaced_keys(new_setup: NewSetup) -> None:
    setup = new_setup()
    setup.account.new_pair()
    result = check_keys(setup).values
    assert (result["valid"], result["pair_matches"]) == (False, True)
    assert "may have been replaced or revoked" in result["reason"]


def test_check_keys_raises_unreachable_without_a_connection(new_setup: NewSetup) -> None:
    get_error(check_keys, new_setup(url="http://127.0.0.1:9", retries=0), error_type=Unreachable)


@pytest.mark.parametrize(
    ("fault", "error_type"),
    [("500", Unclear), ("html", Unclear), ("403-html", Refused), ("404", Refused), ("null", Unexpected)],
)
def test_check_keys_raises_an_error_without_a_clear_response(
    new_setup: NewSetup, fault: str, error_type: type[CoinSwitchError]
) -> None:
    setup = new_setup(retries=0)
    setup.exchange.add_fault(VALIDATE, FAULTS[fault])
    get_error(check_keys, setup, error_type=error_type)
    assert setup.sent == [VALIDATE]


# --- _read_clock_offset ---


@pytest.mark.parametrize(
    ("skew", "valid", "warning"),
    [
        *((5.0, True, None), (6.0, True, "6 s behind"), (-6.0, True, "6 s ahead of")),
        *((300.0, False, "300 s behind"), (-300.0, False, "300 s ahead of")),
    ],
)
def test_check_keys_warns_if_the_clock_is_more_than_5_seconds_off(
    new_setup: NewSetup, skew: float, valid: bool, warning: str | None
) -> None:
    setup = new_setup()
    setup.exchange.add_fault("*", Fault(skew=skew), times=None)
    result, _failure, warnings, _error = check_keys(setup)
    assert (result["valid"], result["clock_offset"]) == (valid, -skew)
    assert ("The clock of this machine is 300 s" in result.get("reason", "")) is not valid
    assert len(warnings) == (warning is not None)
    assert not warning or f"The clock of this machine is {warning} the clock of the exchange" in warnings[0]


@pytest.mark.parametrize("fault", ["404", "500-html", "empty", "null", "list", "garbage", "no-data", "drop-after"])
def test_check_keys_uses_the_date_header_if_the_server_time_is_missing(new_setup: NewSetup, fault: str) -> None:
    setup = new_setup(retries=0)
    setup.exchange.add_fault(TIME, replace(FAULTS[fault], skew=2.0))
    setup.exchange.add_fault(VALIDATE, Fault(skew=2.0))
    result, _failure, warnings, _error = check_keys(setup)
    assert result == {"valid": True, "pair_matches": True, "clock_offset": -2.0, "round_trip": 0.0}
    (warning,) = warnings
    assert warning.startswith("The exchange did not return its time")


def test_check_keys_returns_no_clock_offset_without_any_time(new_setup: NewSetup) -> None:
    setup = new_setup(retries=0)
    setup.exchange.add_fault("*", Fault(headers={"Date": None}))
    setup.exchange.add_fault("*", Fault(status=404, headers={"Date": "soon"}))
    assert check_keys(setup).values["clock_offset"] is None


# --- all readers ---

READERS: dict[str, Callable[[ClientSetup], Any]] = {
    READ: lambda setup: read_leverages(setup, "BTCUSDT"),
    INSTRUMENTS: read_instruments,
    POSITIONS: lambda setup: read_positions(setup, "BTCUSDT"),
    ORDERS: read_orders,
    WALLET: read_wallet,
}
FAULTY_RESPONSES = [
    "500",
    "502-html",
    "403-html",
    "empty",
    "html",
    "garbage",
    "nested",
    "drop-after",
    "cut-body",
    "redirect",
]


@pytest.mark.parametrize("endpoint", READERS)
@pytest.mark.parametrize("fault", [*FAULTY_RESPONSES, "400", "422-empty"])
def test_faulty_response_raises_an_error_of_one_line(new_setup: NewSetup, endpoint: str, fault: str) -> None:
    setup = new_setup(retries=0, current={"BTCUSDT": 10})
    setup.exchange.add_fault(endpoint, FAULTS[fault])
    # The API answers 400 for a symbol that was never configured.
    if (endpoint, fault) == (READ, "400"):
        assert READERS[endpoint](setup)[0]["leverage"] is None
    else:
        assert len(get_error(READERS[endpoint], setup)) < 600


@pytest.mark.parametrize("endpoint", READERS)
@pytest.mark.parametrize(
    "value", [5, '"text"', True, [5], [[]], {"data": 5}, {"data": [5]}, {"data": "x"}, {"other": 1}]
)
def test_response_of_unknown_format_raises_an_error_of_one_line(new_setup: NewSetup, endpoint: str, value: Any) -> None:
    setup = new_setup(current={"BTCUSDT": 10})
    setup.exchange.add_fault(endpoint, Fault(body=value))
    get_error(READERS[endpoint], setup)


@pytest.mark.parametrize("endpoint", READERS)
def test_unclear_response_is_retried(new_setup: NewSetup, endpoint: str) -> None:
    setup = new_setup(retries=2, current={"BTCUSDT": 10})
    setup.exchange.add_fault(endpoint, FAULTS["502-html"], times=2)
    READERS[endpoint](setup)
    assert setup.sent[:3] == [endpoint] * 3


@pytest.mark.parametrize("endpoint", READERS)
def test_refused_keys_stop_after_a_second_try_and_a_check_of_the_keys(new_setup: NewSetup, endpoint: str) -> None:
    setup = new_setup()
    setup.account.new_pair()
    get_error(READERS[endpoint], setup, error_type=KeysRefused)
    assert setup.sent == [endpoint, endpoint, VALIDATE]
