# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The readers against an exchange behind real HTTP: what they return, in how many requests, and what goes wrong."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import repeat
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _readers
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import (
    BudgetSpent,
    CoinSwitchError,
    KeysRefused,
    Refused,
    Unclear,
    Unexpected,
    Unreachable,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import DAY_MS, OPEN_ORDERS
from ansible_collections.tradeops.coinswitch.plugins.module_utils._queries import OrdersQuery
from ansible_collections.tradeops.coinswitch.plugins.module_utils._report import Report, plain
from sandbox import FAULTS

from .client_setup import (
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
OTHER_PAIR = (API_KEY, "11" * 32)

UNKNOWN = ["400", "404", "422", "message"]


def leverages(setup: ClientSetup, *symbols: str) -> list[dict[str, Any]]:
    return rows_of(_readers.read_leverages(setup.futures, list(symbols)), "leverages")


def instruments(setup: ClientSetup, *symbols: str) -> list[dict[str, Any]]:
    return rows_of(_readers.read_instruments(setup.futures, list(symbols) or None), "instruments")


def positions(setup: ClientSetup, *symbols: str) -> list[dict[str, Any]]:
    return rows_of(_readers.read_positions(setup.futures, list(symbols)), "positions")


def orders(setup: ClientSetup, *symbols: str, start: int | None = None, end: int | None = None) -> list[dict[str, Any]]:
    return rows_of(_readers.read_orders(setup.futures, OrdersQuery(list(symbols) or None, start, end)), "orders")


def wallet(setup: ClientSetup) -> dict[str, Any]:
    return _readers.read_wallet(setup.futures, None).result


def keys(setup: ClientSetup) -> Report:
    return _readers.check_keys(setup.futures, None)


def rows_of(report: Report, name: str) -> list[dict[str, Any]]:
    assert (list(report.result), report.failure, list(report.warnings)) == ([name], None, [])
    rows = report.result[name]
    assert isinstance(rows, list)
    return rows


def order_ids(rows: list[dict[str, Any]]) -> list[str]:
    return [row["order_id"] for row in rows]


def failure(read: Callable[..., object], *args: Any, kind: type[CoinSwitchError] = CoinSwitchError) -> str:
    """The one line that a read ends with."""
    with pytest.raises(kind) as failed:
        read(*args)
    (line,) = str(failed.value).splitlines()
    return line


class TestLeverage:
    @pytest.mark.parametrize("numbers", ["text", "number", "decimal"])
    def test_a_row_a_symbol_in_a_request_each(self, new_setup: NewSetup, numbers: Any) -> None:
        setup = new_setup(Quirks(numbers=numbers), current={"BTCUSDT": 10, "1000PEPEUSDT": 3})
        assert leverages(setup, "BTCUSDT", "1000PEPEUSDT") == [
            {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": 10},
            {"symbol": "1000PEPEUSDT", "exchange": "EXCHANGE_2", "leverage": 3},
        ]
        assert setup.sent == [READ, READ]

    @pytest.mark.parametrize("unset", ["400", "404", "422", "message"])
    def test_of_a_symbol_never_configured_none_is_reported(self, new_setup: NewSetup, unset: Any) -> None:
        setup = new_setup(Quirks(unset_leverage=unset), current={"BTCUSDT": 10})
        rows = leverages(setup, "ETHUSDT", "BTCUSDT", "SOLUSDT")
        assert [row["leverage"] for row in rows] == [None, 10, None]
        assert ["Leverage is not set" in row.get("reason", "") for row in rows] == [True, False, True]
        assert setup.sent == [READ, INSTRUMENTS, READ, READ]

    @pytest.mark.parametrize("unknown", UNKNOWN)
    def test_all_unknown_symbols_are_named_at_the_first_doubt(self, new_setup: NewSetup, unknown: Any) -> None:
        setup = new_setup(Quirks(unknown_symbol=unknown))
        assert failure(leverages, setup, "BTCUSDT", "ETHUSD", "SOLUSDT", "XYZ") == (
            "ETHUSD: EXCHANGE_2 does not list this symbol: did you mean ETHUSDT?; "
            "XYZ: EXCHANGE_2 does not list this symbol: check the name"
        )
        assert setup.sent == [READ, READ, INSTRUMENTS]

    def test_what_goes_wrong_names_its_symbol(self, new_setup: NewSetup) -> None:
        setup = new_setup(current={"BTCUSDT": 10}, retries=0)
        setup.exchange.add_fault(READ, FAULTS["503-html"], symbol="ETHUSDT")
        assert failure(leverages, setup, "BTCUSDT", "ETHUSDT", "SOLUSDT").startswith(
            "ETHUSDT: the exchange answered GET"
        )
        assert setup.sent == [READ, READ]

    def test_more_than_a_window_allows_are_waited_for(self, new_setup: NewSetup) -> None:
        setup = new_setup()
        setup.exchange.list_many(45)
        assert len(leverages(setup, *setup.exchange.instruments)) == 45
        assert setup.exchange.refused_by_rate_limit == 0
        assert 120 <= setup.clock.now - NOW <= 122

    def test_what_can_not_go_out_in_time_is_not_begun(self, new_setup: NewSetup) -> None:
        setup = new_setup(max_wait=30)
        names = [f"COIN{number}USDT" for number in range(21)]
        assert "raise it, or run again later" in failure(leverages, setup, *names, kind=BudgetSpent)
        assert setup.sent == []

    def test_where_the_list_is_closed_to_us_the_doubt_is_reported(self, new_setup: NewSetup) -> None:
        setup = new_setup(retries=0)
        setup.exchange.add_fault(INSTRUMENTS, FAULTS["500"])
        assert failure(leverages, setup, "XYZ").startswith("whether EXCHANGE_2 lists XYZ is not known: the exchange")

    def test_where_the_list_refuses_the_keys_that_is_told_alone(self, new_setup: NewSetup) -> None:
        setup = new_setup()
        setup.exchange.add_fault(INSTRUMENTS, FAULTS["401"])
        assert failure(leverages, setup, "XYZ", kind=KeysRefused).startswith("the exchange refused the keys")


class TestInstruments:
    @pytest.mark.parametrize("numbers", ["text", "number", "decimal"])
    def test_limits_are_integers_and_the_rest_is_as_given(self, new_setup: NewSetup, numbers: Any) -> None:
        setup = new_setup(Quirks(numbers=numbers))
        (row,) = instruments(setup, "XRPUSDT")
        assert {name: row.pop(name) for name in ("symbol", "min_leverage", "max_leverage", "leverage_step")} == {
            "symbol": "XRPUSDT",
            "min_leverage": 5,
            "max_leverage": 75,
            "leverage_step": 5,
        }
        given = setup.exchange.instruments["XRPUSDT"]
        assert row == {name: value for name, value in given.items() if name != "symbol" and "leverage" not in name}
        assert setup.sent == [INSTRUMENTS]

    def test_all_of_them_or_those_named_in_their_order(self, new_setup: NewSetup) -> None:
        setup = new_setup()
        setup.exchange.list_many(670)
        assert len(instruments(setup)) == 670
        assert [row["symbol"] for row in instruments(setup, "SOLUSDT", "BTCUSDT")] == ["SOLUSDT", "BTCUSDT"]
        assert setup.sent == [INSTRUMENTS, INSTRUMENTS]

    @pytest.mark.parametrize(
        ("given", "limit"),
        [
            *zip(("75", 75, "75.00", 75.0, "7.5e1"), repeat(75)),
            *zip((None, "", "x", True, 12.5, "NaN", [75], {}, "1e999999"), repeat(None)),
        ],
    )
    def test_a_limit_that_is_no_whole_number_is_none(self, new_setup: NewSetup, given: Any, limit: int | None) -> None:
        setup = new_setup()
        setup.exchange.add_fault(INSTRUMENTS, Fault(body={"data": {"btcusdt": {"max_leverage": given}}}))
        (row,) = instruments(setup)
        assert (row["symbol"], row["max_leverage"], row["min_leverage"]) == ("BTCUSDT", limit, None)
        assert limit is None or row["max_leverage"].__class__ is int

    def test_unknown_symbols_are_named(self, new_setup: NewSetup) -> None:
        said = failure(instruments, new_setup(), "BTCUSDT", "XRP", "XYZ")
        assert said.startswith("XRP: EXCHANGE_2 does not list this symbol")
        assert "; XYZ: EXCHANGE_2 does not list this symbol" in said

    @pytest.mark.parametrize("body", [{"message": "none"}, {"data": None}])
    def test_nothing_listed_is_no_list(self, new_setup: NewSetup, body: Any) -> None:
        setup = new_setup()
        setup.exchange.add_fault(INSTRUMENTS, Fault(body=body))
        assert "holds no instruments" in failure(instruments, setup, kind=Unexpected)


class TestPositions:
    def test_an_open_one_is_as_the_exchange_gives_it(self, new_setup: NewSetup) -> None:
        setup = new_setup(current={"BTCUSDT": 20})
        position_id = setup.account.open_position("BTCUSDT", "SHORT", "0.010")
        (row,) = positions(setup, "BTCUSDT")
        returned = ("position_id", "symbol", "position_side", "leverage", "position_size", "created_at")
        assert [row[name] for name in returned] == [position_id, "BTCUSDT", "SHORT", "20", "0.010", NOW_MS]
        assert len(row) == 18
        assert setup.sent == [POSITIONS]

    @pytest.mark.parametrize("flat", ["message", "list"])
    def test_a_flat_symbol_has_no_row(self, new_setup: NewSetup, flat: Any) -> None:
        setup = new_setup(Quirks(flat_positions=flat))
        assert positions(setup, "BTCUSDT") == []
        assert setup.sent == [POSITIONS, INSTRUMENTS]

    @pytest.mark.parametrize("reading", ["all", "422"])
    @pytest.mark.parametrize("others", [False, True])
    def test_several_take_the_fewest_requests_granted(self, new_setup: NewSetup, reading: Any, others: bool) -> None:
        setup = new_setup(Quirks(positions_without_symbol=reading, positions_other_symbols=others))
        for symbol in ("SOLUSDT", "BTCUSDT", "ADAUSDT"):
            setup.account.open_position(symbol, "LONG", "1")
        found = {row["symbol"] for row in positions(setup, "BTCUSDT", "ETHUSDT", "SOLUSDT")}
        assert found == {"BTCUSDT", "SOLUSDT"}
        assert setup.sent == [POSITIONS] * (1 if reading == "all" else 4) + [INSTRUMENTS]

    def test_both_sides_of_a_symbol_have_a_row(self, new_setup: NewSetup) -> None:
        setup = new_setup()
        for side in ("LONG", "SHORT"):
            setup.account.open_position("BTCUSDT", side, "1")
        assert [row["position_side"] for row in positions(setup, "BTCUSDT")] == ["LONG", "SHORT"]

    @pytest.mark.parametrize("size", [0, 0.0, "0", "0.000", "-0", "0E-8"])
    def test_a_size_of_nothing_is_flat(self, new_setup: NewSetup, size: Any) -> None:
        setup = new_setup()
        setup.exchange.add_fault(POSITIONS, Fault(body={"data": [{"symbol": "BTCUSDT", "position_size": size}]}))
        assert positions(setup, "BTCUSDT") == []

    @pytest.mark.parametrize("size", [3, 0.25, "0.25", "1e-8", None, "much", 1e-300])
    def test_every_other_size_is_open_and_as_given(self, new_setup: NewSetup, size: Any) -> None:
        setup = new_setup()
        setup.exchange.add_fault(POSITIONS, Fault(body={"data": [{"symbol": "btcusdt", "position_size": size}]}))
        assert plain(positions(setup, "BTCUSDT")) == [{"symbol": "BTCUSDT", "position_size": size}]

    @pytest.mark.parametrize("unknown", UNKNOWN)
    @pytest.mark.parametrize("reading", ["all", "422"])
    def test_an_unknown_symbol_is_named(self, new_setup: NewSetup, unknown: Any, reading: Any) -> None:
        setup = new_setup(Quirks(unknown_symbol=unknown, positions_without_symbol=reading))
        assert (
            failure(positions, setup, "ETHUSD") == "ETHUSD: EXCHANGE_2 does not list this symbol: did you mean ETHUSDT?"
        )
        assert (
            failure(positions, setup, "BTCUSDT", "XYZ") == "XYZ: EXCHANGE_2 does not list this symbol: check the name"
        )

    def test_a_refusal_that_is_not_the_symbols_is_told_as_it_is(self, new_setup: NewSetup) -> None:
        setup = new_setup()
        setup.exchange.add_fault(POSITIONS, Fault(status=400, body={"message": "Maintenance"}))
        said = failure(positions, setup, "BTCUSDT")
        assert said.startswith("BTCUSDT: the exchange refused GET")
        assert said.endswith('"Maintenance"')
        assert setup.sent == [POSITIONS, INSTRUMENTS]

    def test_a_refusal_on_the_way_leaves_no_doubt_about_the_symbol(self, new_setup: NewSetup) -> None:
        setup = new_setup()
        setup.exchange.add_fault(POSITIONS, FAULTS["400-html"])
        assert failure(positions, setup, "BTCUSDT").startswith("BTCUSDT: the exchange refused GET")
        assert setup.sent == [POSITIONS]

    def test_a_request_each_is_not_begun_where_there_is_no_time(self, new_setup: NewSetup) -> None:
        setup = new_setup(Quirks(positions_without_symbol="422"), max_wait=30)
        failure(positions, setup, *(f"COIN{number}USDT" for number in range(20)), kind=BudgetSpent)
        assert setup.sent == [POSITIONS]


class TestOrders:
    @pytest.mark.parametrize("empty", ["list", "null", "absent"])
    def test_none_in_five_weeks_takes_five_requests(self, new_setup: NewSetup, empty: Any) -> None:
        setup = new_setup(Quirks(empty_orders=empty), latency=0.5)
        assert orders(setup) == []
        assert setup.sent == [ORDERS] * 5

    @pytest.mark.parametrize("to_time", ["exclusive", "inclusive"])
    @pytest.mark.parametrize("seed", range(3))
    def test_hundreds_in_five_weeks_come_once_each_the_newest_first(
        self, new_setup: NewSetup, to_time: Any, seed: int
    ) -> None:
        setup = new_setup(Quirks(orders_to_time=to_time), limits={ORDERS: None})
        chance = random.Random(seed)
        # Bots place orders in bursts: up to 30 in a millisecond, some of them where weeks meet.
        weeks = [NOW_MS - week * WEEK_MS - 1 for week in range(5)]
        bursts = weeks + [NOW_MS - chance.randrange(34 * DAY_MS) for _burst in range(40)]
        placed = {
            setup.account.open_order(chance.choice(["BTCUSDT", "ETHUSDT", "SOLUSDT"]), "BUY", "1", "1", time): time
            for time in bursts
            for _order in range(chance.randrange(1, 30))
        }
        found = orders(setup)
        assert len(placed) > 400
        assert sorted(order_ids(found)) == sorted(placed)
        times = [row["created_at"] for row in found]
        assert times == sorted(times, reverse=True)
        assert len(setup.sent) < 5 + 2 * len(placed) / 20

        setup.exchange.requests.clear()
        eth = orders(setup, "ETHUSDT")
        assert order_ids(eth) == [row["order_id"] for row in found if row["symbol"] == "ETHUSDT"]
        assert {request.symbol for request in setup.exchange.requests} == {"ETHUSDT"}
        two = orders(setup, "SOLUSDT", "BTCUSDT")
        assert order_ids(two) == [row["order_id"] for row in found if row["symbol"] != "ETHUSDT"]

    @pytest.mark.parametrize("to_time", ["exclusive", "inclusive"])
    @pytest.mark.parametrize("days", [0, 1, 6.99, 7, 8, 20, 34])
    def test_both_ends_of_the_time_asked_for_are_included(self, new_setup: NewSetup, to_time: Any, days: float) -> None:
        setup = new_setup(Quirks(orders_to_time=to_time))
        end = NOW_MS - int(days * DAY_MS) - 1
        start = end - 15 * DAY_MS
        placed = [
            setup.account.open_order("BTCUSDT", "BUY", "1", "1", time)
            for time in (end + 1, end, end - 1, start + 1, start, start - 1)
        ]
        assert order_ids(orders(setup, start=start, end=end)) == placed[1:-1]
        assert order_ids(orders(setup, start=end, end=end)) == placed[1:2]

    def test_without_a_beginning_it_is_five_weeks(self, new_setup: NewSetup) -> None:
        setup = new_setup()
        end = NOW_MS - 100 * DAY_MS
        ages = (0, 34.99, 35, 35.01)
        placed = [setup.account.open_order("BTCUSDT", "BUY", "1", "1", end - int(age * DAY_MS)) for age in ages]
        assert order_ids(orders(setup, end=end)) == placed[:2]
        assert setup.sent == [ORDERS] * 5

    @pytest.mark.parametrize(("days", "count"), [(0, 1), (1, 1), (6.9, 1), (7, 2), (13, 2), (15, 3), (70, 11)])
    def test_each_week_back_costs_a_request(self, new_setup: NewSetup, days: float, count: int) -> None:
        setup = new_setup()
        orders(setup, start=NOW_MS - int(days * DAY_MS))
        assert setup.sent == [ORDERS] * count

    def test_an_end_in_the_future_is_none(self, new_setup: NewSetup) -> None:
        setup = new_setup()
        placed = setup.account.open_order("BTCUSDT", "BUY", "1", "1", NOW_MS - 1)
        assert order_ids(orders(setup, start=NOW_MS - DAY_MS, end=NOW_MS + 900 * DAY_MS)) == [placed]
        assert orders(setup, start=NOW_MS + DAY_MS, end=NOW_MS + 2 * DAY_MS) == []
        assert setup.sent == [ORDERS, ORDERS]

    def test_no_order_is_missed_while_the_rate_limit_is_waited_for(self, new_setup: NewSetup) -> None:
        setup = new_setup()
        setup.pacer.close(OPEN_ORDERS, 300)
        setup.exchange.add_fault(ORDERS, FAULTS["429"])
        placed = setup.account.open_order("BTCUSDT", "BUY", "1", "1", NOW_MS - WEEK_MS + 330_000)
        assert order_ids(orders(setup, start=NOW_MS - 8 * DAY_MS)) == [placed]
        assert setup.clock.now - NOW >= 360

    def test_a_time_that_is_too_long_to_walk_is_not_begun(self, new_setup: NewSetup) -> None:
        setup = new_setup()
        said = failure(partial(orders, start=NOW_MS - 300 * WEEK_MS), setup, kind=BudgetSpent)
        assert "for 300 more" in said
        assert setup.sent == []

    @pytest.mark.parametrize("unknown", UNKNOWN)
    def test_an_unknown_symbol_is_named(self, new_setup: NewSetup, unknown: Any) -> None:
        setup = new_setup(Quirks(unknown_symbol=unknown))
        assert failure(orders, setup, "ETHUSD") == "ETHUSD: EXCHANGE_2 does not list this symbol: did you mean ETHUSDT?"
        assert failure(orders, setup, "BTCUSDT", "XYZ") == "XYZ: EXCHANGE_2 does not list this symbol: check the name"
        assert setup.sent[-6:] == [ORDERS] * 5 + [INSTRUMENTS]

    def test_a_symbol_without_orders_is_held_against_the_list(self, new_setup: NewSetup) -> None:
        setup = new_setup()
        setup.account.open_order("ETHUSDT", "BUY", "1", "1")
        assert len(orders(setup, "ETHUSDT", "BTCUSDT")) == 1
        assert setup.sent == [ORDERS] * 5 + [INSTRUMENTS]

    @pytest.mark.parametrize(("count", "warned"), [(49, 0), (50, 1), (80, 1)])
    def test_more_in_a_millisecond_than_a_page_holds_are_warned_of(
        self, new_setup: NewSetup, count: int, warned: int
    ) -> None:
        setup = new_setup()
        for _order in range(count):
            setup.account.open_order("BTCUSDT", "BUY", "1", "1", NOW_MS - DAY_MS)
        report = _readers.read_orders(setup.futures, OrdersQuery(None, None, None))
        assert len(report.warnings) == warned
        assert all("in the same millisecond" in warning for warning in report.warnings)
        assert len(report.result["orders"]) == min(count, 50)

    @pytest.mark.parametrize("created_at", [NOW_MS - 5, str(NOW_MS - 5), float(NOW_MS - 5), None, "yesterday"])
    def test_a_time_of_creation_may_come_in_any_form(self, new_setup: NewSetup, created_at: Any) -> None:
        setup = new_setup()
        row = {"order_id": 7, "symbol": "btcusdt", "created_at": created_at, "price": 0.1}
        setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": [row]}}))
        found = orders(setup, start=NOW_MS - DAY_MS, end=NOW_MS)
        assert plain(found) == [{**row, "symbol": "BTCUSDT"}]


class TestWallet:
    def test_balances_and_assets(self, new_setup: NewSetup) -> None:
        setup = new_setup(current={"BTCUSDT": 10})
        setup.account.open_position("BTCUSDT", "LONG", "0.01")
        returned = wallet(setup)
        assert returned["balances"] == [
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
        (asset,) = returned["assets"]
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
    def test_an_empty_one(self, new_setup: NewSetup, body: Any) -> None:
        setup = new_setup()
        setup.exchange.add_fault(WALLET, Fault(body=body))
        assert wallet(setup) == {"balances": [], "assets": []}

    @pytest.mark.parametrize(
        "data",
        [
            *("rich", 5, [1], {"asset": {"a": 1}}, {"base_asset_balances": 5}, {"base_asset_balances": [5]}),
            {"base_asset_balances": [{}]},
        ],
    )
    def test_another_shape(self, new_setup: NewSetup, data: Any) -> None:
        setup = new_setup()
        setup.exchange.add_fault(WALLET, Fault(body={"data": data}))
        assert "the exchange's answer holds no" in failure(wallet, setup, kind=Unexpected)


class TestKeys:
    def test_good_ones(self, new_setup: NewSetup) -> None:
        setup = new_setup(latency=0.125)
        assert keys(setup) == Report(
            {"valid": True, "pair_matches": True, "clock_offset": 0.0, "round_trip": 0.25}, warnings=[]
        )
        assert setup.sent == [VALIDATE, TIME]

    def test_no_pair(self, new_setup: NewSetup) -> None:
        returned = keys(new_setup(keys=OTHER_PAIR)).result
        assert (returned["valid"], returned["pair_matches"], returned["clock_offset"]) == (False, False, 0.0)
        assert "secret_key does not belong to api_key" in returned["reason"]

    def test_no_pair_that_is_good_all_the_same(self, new_setup: NewSetup) -> None:
        setup = new_setup(keys=OTHER_PAIR)
        setup.exchange.add_fault(VALIDATE, Fault(body={"message": "Valid Access"}))
        returned = keys(setup).result
        assert (returned["valid"], returned["pair_matches"]) == (True, False)
        assert "reason" not in returned

    def test_replaced_ones(self, new_setup: NewSetup) -> None:
        setup = new_setup()
        setup.account.new_pair()
        returned = keys(setup).result
        assert (returned["valid"], returned["pair_matches"]) == (False, True)
        assert "may have been replaced or revoked" in returned["reason"]

    @pytest.mark.parametrize(
        ("ahead", "valid", "warned"),
        [
            *((5.0, True, None), (6.0, True, "6 s behind"), (-6.0, True, "6 s ahead of")),
            *((300.0, False, "300 s behind"), (-300.0, False, "300 s ahead of")),
        ],
    )
    def test_a_clock_that_is_off(self, new_setup: NewSetup, ahead: float, valid: bool, warned: str | None) -> None:
        setup = new_setup()
        setup.exchange.add_fault("*", Fault(skew=ahead), times=None)
        returned, _failure, warnings = keys(setup)
        assert (returned["valid"], returned["clock_offset"]) == (valid, -ahead)
        assert ("the clock of this machine is 300 s" in returned.get("reason", "")) is not valid
        assert len(warnings) == (warned is not None)
        assert not warned or f"the clock of this machine is {warned} the exchange's" in warnings[0]

    @pytest.mark.parametrize("fault", ["404", "500-html", "empty", "null", "list", "garbage", "no-data", "drop-after"])
    def test_without_its_time_the_date_of_an_answer_does(self, new_setup: NewSetup, fault: str) -> None:
        setup = new_setup(retries=0)
        setup.exchange.add_fault(TIME, replace(FAULTS[fault], skew=2.0))
        setup.exchange.add_fault(VALIDATE, Fault(skew=2.0))
        returned, _failure, warnings = keys(setup)
        assert returned == {"valid": True, "pair_matches": True, "clock_offset": -2.0, "round_trip": 0.0}
        (warning,) = warnings
        assert warning.startswith("the exchange did not return its time")

    def test_without_any_time(self, new_setup: NewSetup) -> None:
        setup = new_setup(retries=0)
        setup.exchange.add_fault("*", Fault(headers={"Date": None}))
        setup.exchange.add_fault("*", Fault(status=404, headers={"Date": "soon"}))
        assert keys(setup).result["clock_offset"] is None

    def test_an_exchange_out_of_reach_is_no_result(self, new_setup: NewSetup) -> None:
        failure(keys, new_setup(url="http://127.0.0.1:9", retries=0), kind=Unreachable)

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [("500", Unclear), ("html", Unclear), ("403-html", Refused), ("404", Refused), ("null", Unexpected)],
    )
    def test_neither_is_one_that_does_not_answer(
        self, new_setup: NewSetup, fault: str, kind: type[CoinSwitchError]
    ) -> None:
        setup = new_setup(retries=0)
        setup.exchange.add_fault(VALIDATE, FAULTS[fault])
        failure(keys, setup, kind=kind)
        assert setup.sent == [VALIDATE]


READS: dict[str, Callable[[ClientSetup], Any]] = {
    READ: lambda setup: leverages(setup, "BTCUSDT"),
    INSTRUMENTS: instruments,
    POSITIONS: lambda setup: positions(setup, "BTCUSDT"),
    ORDERS: orders,
    WALLET: wallet,
}
GARBAGE = ["500", "502-html", "403-html", "empty", "html", "garbage", "nested", "drop-after", "cut-body", "redirect"]


@pytest.mark.parametrize("endpoint", READS)
@pytest.mark.parametrize("fault", [*GARBAGE, "400", "422-empty"])
def test_what_is_no_answer_is_one_line(new_setup: NewSetup, endpoint: str, fault: str) -> None:
    setup = new_setup(retries=0, current={"BTCUSDT": 10})
    setup.exchange.add_fault(endpoint, FAULTS[fault])
    if (endpoint, fault) == (READ, "400"):
        assert READS[endpoint](setup)[0]["leverage"] is None
    else:
        assert len(failure(READS[endpoint], setup)) < 600


@pytest.mark.parametrize("endpoint", READS)
@pytest.mark.parametrize(
    "value", [5, '"text"', True, [5], [[]], {"data": 5}, {"data": [5]}, {"data": "x"}, {"other": 1}]
)
def test_what_has_another_shape_is_one_line(new_setup: NewSetup, endpoint: str, value: Any) -> None:
    setup = new_setup(current={"BTCUSDT": 10})
    setup.exchange.add_fault(endpoint, Fault(body=value))
    failure(READS[endpoint], setup)


@pytest.mark.parametrize("endpoint", READS)
def test_an_unclear_read_is_tried_again(new_setup: NewSetup, endpoint: str) -> None:
    setup = new_setup(retries=2, current={"BTCUSDT": 10})
    setup.exchange.add_fault(endpoint, FAULTS["502-html"], times=2)
    READS[endpoint](setup)
    assert setup.sent[:3] == [endpoint] * 3


@pytest.mark.parametrize("endpoint", READS)
def test_refused_keys_end_it_at_once(new_setup: NewSetup, endpoint: str) -> None:
    setup = new_setup()
    setup.account.new_pair()
    failure(READS[endpoint], setup, kind=KeysRefused)
    assert setup.sent == [endpoint]
