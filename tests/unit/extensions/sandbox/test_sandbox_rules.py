# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the exchange, without a server."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from threading import Thread
from typing import Any

import pytest

from sandbox import Account, Exchange, Quirks, Request
from sandbox.faults import Response

Send = Callable[..., Response]
DAY_MS = 86_400_000
NOW_MS = 1_700_000_000_000
PARAMETERS: dict[tuple[str, str], dict[str, Any]] = {
    ("GET", "/futures/leverage"): {"symbol": "BTCUSDT"},
    ("POST", "/futures/leverage"): {"symbol": "BTCUSDT", "leverage": 13},
    ("GET", "/futures/instrument_info"): {},
    ("GET", "/futures/positions"): {},
    ("POST", "/futures/orders/open"): {},
}


def test_written_leverage_is_returned_and_read(send: Send, account: Account) -> None:
    data = {"exchange": "EXCHANGE_2", "symbol": "BTCUSDT", "leverage": "13"}
    written = send("POST", "/futures/leverage", symbol="btcusdt", exchange="exchange_2", leverage=13)
    assert (written.status, written.value) == (200, {"data": data})
    assert account.leverage == {"BTCUSDT": 13}
    assert send("GET", "/futures/leverage", symbol="BtcUsdt").value == {"data": data}


@pytest.mark.parametrize(
    ("symbol", "leverage", "status"),
    [
        ("BTCUSDT", 1, 200),
        ("BTCUSDT", 25, 200),
        ("BTCUSDT", 26, 400),
        ("BTCUSDT", 0, 400),
        ("BTCUSDT", -1, 400),
        ("XRPUSDT", 5, 200),
        ("XRPUSDT", 75, 200),
        ("XRPUSDT", 12, 400),
        ("LINKUSDT", 4, 200),
        ("LINKUSDT", 5, 400),
        ("NIXUSDT", 5, 400),
        ("BTCUSDT", True, 422),
        ("BTCUSDT", "13", 422),
        ("BTCUSDT", 13.0, 422),
        ("BTCUSDT", None, 422),
        (5, 5, 422),
    ],
)
def test_write_checks_limits_step_and_type(
    send: Send, account: Account, symbol: Any, leverage: Any, status: int
) -> None:
    assert send("POST", "/futures/leverage", symbol=symbol, leverage=leverage).status == status
    assert account.leverage == ({symbol: leverage} if status == 200 else {})


def test_list_instrument_adds_or_changes_an_instrument(send: Send, exchange: Exchange) -> None:
    exchange.list_instrument("foousdt", min_leverage=3, max_leverage=9, leverage_step=3, status="PAUSED")
    exchange.list_instrument("BTCUSDT", max_leverage=2)
    exchange.list_instrument("ETHUSDT", symbol="ether")
    assert send("POST", "/futures/leverage", symbol="FOOUSDT", leverage=6).status == 200
    assert send("POST", "/futures/leverage", symbol="FOOUSDT", leverage=5).status == 400
    assert send("POST", "/futures/leverage", symbol="BTCUSDT", leverage=3).status == 400
    listed = send("GET", "/futures/instrument_info").value["data"]
    assert listed["FOOUSDT"]["status"] == "PAUSED"
    assert listed["ETHUSDT"]["symbol"] == "ether"
    assert {name: listed["BTCUSDT"][name] for name in ("symbol", "min_leverage", "max_leverage", "leverage_step")} == {
        "symbol": "btc",
        "min_leverage": "1",
        "max_leverage": "2",
        "leverage_step": 1,
    }


def test_list_many_lists_up_to_a_total(send: Send, exchange: Exchange) -> None:
    exchange.list_many(700)
    assert len(send("GET", "/futures/instrument_info").value["data"]) == 700


def test_position_blocks_only_its_symbol(send: Send, account: Account) -> None:
    account.open_position("BTCUSDT", side="LONG", size="0.010")
    assert send("POST", "/futures/leverage", symbol="BTCUSDT", leverage=13).status == 400
    assert send("POST", "/futures/leverage", symbol="ETHUSDT", leverage=13).status == 200
    account.close_position("BTCUSDT")
    assert send("POST", "/futures/leverage", symbol="BTCUSDT", leverage=13).status == 200


def test_order_of_any_age_blocks_its_symbol(send: Send, account: Account) -> None:
    order_id = account.open_order(
        "BTCUSDT", side="BUY", quantity="0.010", price="50000", created_at=NOW_MS - 99 * DAY_MS
    )
    assert send("POST", "/futures/orders/open").value["data"]["orders"] == []
    assert send("POST", "/futures/leverage", symbol="BTCUSDT", leverage=13).status == 400
    account.cancel_order(order_id)
    assert send("POST", "/futures/leverage", symbol="BTCUSDT", leverage=13).status == 200


def test_accounts_do_not_affect_each_other(
    exchange: Exchange, account: Account, build_request: Callable[..., Request]
) -> None:
    other = exchange.open_account("other")
    fields: dict[str, Any] = {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": 13}
    account.open_position("BTCUSDT", side="SHORT", size="1")
    assert exchange.handle(build_request("POST", "/futures/leverage", signer=other, **fields))[0].status == 200
    assert (account.leverage, other.leverage) == ({}, {"BTCUSDT": 13})
    assert [request.account for request in exchange.requests] == ["other"]


@pytest.mark.parametrize(("method", "path"), PARAMETERS)
def test_missing_field_is_named(send: Send, method: str, path: str) -> None:
    fields: dict[str, Any] = {"exchange": "EXCHANGE_2", **PARAMETERS[method, path]}
    for missing in fields:
        response = send(method, path, **{**fields, missing: ""})
        assert (response.status, response.value) == (422, {"message": f"Input {missing} is missing"})
    assert send(method, path, **{**fields, "exchange": "EXCHANGE_1"}).status == 422


def test_body_that_is_not_an_object_is_refused(exchange: Exchange, build_request: Callable[..., Request]) -> None:
    bodies: list[Any] = [None, [], b"{", "text"]
    for body in bodies:
        request = build_request("POST", "/futures/leverage")
        request.body = body
        assert exchange.handle(request)[0].status == 400


@pytest.mark.parametrize(("method", "path"), [("GET", "/nix"), ("PUT", "/futures/leverage"), ("POST", "/time")])
def test_unknown_path_or_method_is_not_found(send: Send, exchange: Exchange, method: str, path: str) -> None:
    response = send(method, path)
    assert (response.status, response.value) == (404, {"message": "Not Found"})
    assert exchange.requests[0].endpoint is None


def test_time_needs_no_keys(exchange: Exchange) -> None:
    assert exchange.handle(Request("GET", "/trade/api/v2/time"))[0].value == {"serverTime": NOW_MS}


def test_positions_are_returned_with_all_fields(send: Send, account: Account) -> None:
    assert send("GET", "/futures/positions").value == {"message": "There are no open Positions"}
    account.set_leverage("BTCUSDT", 8)
    position_id = account.open_position("BTCUSDT", side="short", size="0.010")
    account.open_position("ETHUSDT", side="LONG", size="1")
    (row,) = send("GET", "/futures/positions", symbol="btcusdt").value["data"]
    assert row == {
        "exchange": "EXCHANGE_2",
        "position_id": position_id,
        "symbol": "BTCUSDT",
        "position_side": "SHORT",
        "leverage": "8",
        "position_size": "0.010",
        "position_value": "640.000",
        "position_margin": "80.00000000",
        "maint_margin": "3.20000000",
        "avg_entry_price": "64000",
        "mark_price": "64000",
        "last_price": "64000",
        "unrealised_pnl": "0",
        "liquidation_price": "72000.00000000",
        "margin_type": "ISOLATED",
        "status": "OPEN",
        "created_at": NOW_MS,
        "updated_at": NOW_MS,
    }
    assert len(send("GET", "/futures/positions").value["data"]) == 2


def test_orders_are_paged_newest_first(send: Send, account: Account) -> None:
    order_ids = [account.open_order("BTCUSDT", "BUY", "0.01", "50000", created_at=NOW_MS - age) for age in range(120)]
    account.open_order("ETHUSDT", "SELL", "1", "3000")
    seen: list[str] = []
    to_time: int | None = None
    for size in (50, 50, 20):
        page = send("POST", "/futures/orders/open", symbol="BTCUSDT", to_time=to_time).value["data"]
        assert len(page["orders"]) == size
        seen += [order["order_id"] for order in page["orders"]]
        to_time = page["cursor"]
    assert seen == order_ids
    assert send("POST", "/futures/orders/open", symbol="BTCUSDT", to_time=to_time).value["data"]["cursor"] is None
    assert len(send("POST", "/futures/orders/open", limit=7).value["data"]["orders"]) == 7


@pytest.mark.parametrize(
    ("window", "ages"),
    [
        ({}, [0, 7]),
        ({"from_time": NOW_MS - 7 * DAY_MS}, [0, 7]),
        ({"from_time": NOW_MS - 10 * DAY_MS}, [7, 8]),
        ({"to_time": NOW_MS - 7 * DAY_MS}, [8]),
        ({"to_time": NOW_MS - 7 * DAY_MS + 1}, [7, 8]),
        ({"from_time": NOW_MS - 8 * DAY_MS, "to_time": NOW_MS - DAY_MS}, [7, 8]),
    ],
)
def test_orders_are_those_of_7_days(send: Send, account: Account, window: dict[str, int], ages: list[int]) -> None:
    ages_by_id = {
        account.open_order("BTCUSDT", "BUY", "1", "1", created_at=NOW_MS - age * DAY_MS): age for age in (0, 7, 8, 20)
    }
    found = send("POST", "/futures/orders/open", **window).value["data"]["orders"]
    assert [ages_by_id[order["order_id"]] for order in found] == ages


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"from_time": NOW_MS - 7 * DAY_MS - 1, "to_time": NOW_MS}, 400),
        ({"from_time": NOW_MS, "to_time": NOW_MS - 1}, 400),
        ({"limit": 51}, 422),
        ({"limit": 0}, 422),
        ({"limit": True}, 422),
        ({"from_time": str(NOW_MS)}, 422),
        ({"symbol": "NIXUSDT"}, 400),
    ],
)
def test_invalid_request_for_orders_is_refused(send: Send, fields: dict[str, Any], status: int) -> None:
    assert send("POST", "/futures/orders/open", **fields).status == status


def test_wallet_adds_up(send: Send, account: Account) -> None:
    account.set_leverage("BTCUSDT", 8)
    account.open_position("BTCUSDT", "LONG", "0.01")
    account.open_order("BTCUSDT", "BUY", "0.01", "40000")
    account.open_order("ETHUSDT", "BUY", "1", "1000")
    data = send("GET", "/futures/wallet_balance").value["data"]
    assert data["base_asset_balances"] == [
        {
            "base_asset": "USDT",
            "balances": {
                "total_balance": "10000.00000000",
                "total_available_balance": "9770.00000000",
                "total_blocked_balance": "230.00000000",
                "total_position_margin": "80.00000000",
                "total_open_order_margin": "150.00000000",
            },
        }
    ]
    assert [(row["symbol"], row["blocked_balance"]) for row in data["asset"]] == [
        ("BTCUSDT", "130.00000000"),
        ("ETHUSDT", "100.00000000"),
    ]


def test_empty_wallet_has_a_row_of_zeros(send: Send, account: Account) -> None:
    account.balance = Decimal(0)
    data = send("GET", "/futures/wallet_balance").value["data"]
    ((row,), assets) = data["base_asset_balances"], data["asset"]
    assert (row["base_asset"], set(row["balances"].values()), assets) == ("USDT", {"0.00000000"}, [])


def test_position_keeps_the_leverage_of_its_opening(send: Send, account: Account) -> None:
    account.open_position("BTCUSDT", "LONG", "1")
    account.set_leverage("BTCUSDT", 20)
    account.open_position("ETHUSDT", "LONG", "1", leverage=40)
    rows = send("GET", "/futures/positions").value["data"]
    assert {row["symbol"]: row["leverage"] for row in rows} == {"BTCUSDT": "10", "ETHUSDT": "40"}
    assert send("GET", "/futures/leverage", symbol="BTCUSDT").value["data"]["leverage"] == "20"


def test_stop_order_has_a_trigger_price_and_blocks_its_symbol(send: Send, account: Account) -> None:
    account.open_order("BTCUSDT", "SELL", "1", "60000", order_type="stop_market")
    (row,) = send("POST", "/futures/orders/open").value["data"]["orders"]
    names = ("order_type", "quantity", "price", "trigger_price", "reduce_only")
    assert [row[name] for name in names] == ["STOP_MARKET", "0", "0", "60000", True]
    assert send("POST", "/futures/leverage", symbol="BTCUSDT", leverage=13).status == 400
    account.open_order("ETHUSDT", "BUY", "1", "3000")
    limit_order = send("POST", "/futures/orders/open", symbol="ETHUSDT").value["data"]["orders"][0]
    assert "trigger_price" not in limit_order


def test_order_needs_the_association_that_the_first_write_creates(send: Send, account: Account) -> None:
    order = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "1", "price": "50000"}
    refused = send("POST", "/futures/order", **order)
    assert (refused.status, refused.value) == (400, {"message": "subaccount association not found"})
    # The default is what a read shows before. A write of the same value creates the association.
    assert send("GET", "/futures/leverage", symbol="BTCUSDT").value["data"]["leverage"] == "10"
    assert send("POST", "/futures/leverage", symbol="BTCUSDT", leverage=10).status == 200
    assert send("POST", "/futures/order", **order).value["data"]["order_id"] == account.orders[0].order_id
    assert send("POST", "/futures/order", **{**order, "side": "UP"}).status == 422


def test_limits_can_be_fractions(send: Send, exchange: Exchange) -> None:
    exchange.list_instrument("BTCUSDT", min_leverage="0.5", max_leverage="12.5", leverage_step="0.01")
    row = send("GET", "/futures/instrument_info").value["data"]["BTCUSDT"]
    assert (row["min_leverage"], row["max_leverage"], row["leverage_step"]) == ("0.5", "12.5", "0.01")
    exchange.list_instrument("ETHUSDT", min_leverage="10.5", max_leverage="12.5")
    assert send("GET", "/futures/leverage", symbol="ETHUSDT").value["data"]["leverage"] == "11"
    statuses = [send("POST", "/futures/leverage", symbol="BTCUSDT", leverage=n).status for n in (12, 13)]
    assert statuses == [200, 400]
    exchange.quirks = Quirks(numbers="number")
    assert send("GET", "/futures/instrument_info").value["data"]["BTCUSDT"]["max_leverage"] == 12.5


def test_refused_keys_have_another_message_for_futures(
    exchange: Exchange, account: Account, build_request: Callable[..., Request]
) -> None:
    requests = [build_request("GET", path, exchange="EXCHANGE_2") for path in ("/validate/keys", "/futures/positions")]
    account.new_pair()
    assert [exchange.handle(request)[0].value["message"] for request in requests] == [
        "Invalid Access",
        "API Key or Signature is not Correct",
    ]


def test_another_program_acts_between_two_requests(send: Send, exchange: Exchange, account: Account) -> None:
    def read() -> str:
        return str(send("GET", "/futures/leverage", symbol="BTCUSDT").value["data"]["leverage"])

    exchange.run_before(2, lambda: account.set_leverage("BTCUSDT", 5))
    exchange.run_before(1, lambda: account.open_position("BTCUSDT", "LONG", "1"), endpoint="write_leverage")
    exchange.run_before(4, lambda: account.close_position("BTCUSDT"))
    assert [read(), read()] == ["10", "5"]
    statuses = [send("POST", "/futures/leverage", symbol="BTCUSDT", leverage=13).status for _number in range(3)]
    assert statuses == [400, 200, 200]
    with pytest.raises(ValueError, match="unknown endpoint nix; the endpoints are: "):
        exchange.run_before(1, lambda: None, endpoint="nix")
    with pytest.raises(ValueError, match="number must be a whole number from 1 to 1000000, not 0"):
        exchange.run_before(0, lambda: None)


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (lambda account: account.open_position("NIXUSDT", "LONG", "1"), "unknown symbol NIXUSDT; use a listed symbol"),
        (lambda account: account.open_position("BTCUSDT", "UP", "1"), "side must be LONG or SHORT, not UP"),
        (
            lambda account: account.open_position("BTCUSDT", "LONG", "0"),
            "size must be a number above 0, such as 0.01, not 0",
        ),
        (lambda account: account.open_position("BTCUSDT", "LONG", "1_0"), "size must be a number above 0"),
        (lambda account: account.open_position("BTCUSDT", "LONG", "\uff11"), "size must be a number above 0"),
        (lambda account: account.open_position("BTCUSDT", "LONG", "1", 0), "leverage must be a whole number from 1"),
        (lambda account: account.open_order("BTCUSDT", "BUY", "1", "1", 0, "STOP"), "order_type must be LIMIT or STOP"),
        (lambda account: account.set_leverage("BTCUSDT", True), "leverage must be a whole number from 1"),
        (
            lambda account: account.open_position("BTCUSDT", "LONG", "much"),
            "size must be a number above 0, such as 0.01, not much",
        ),
        (
            lambda account: account.open_order("BTCUSDT", "BUY", "1", "nan"),
            "price must be a number above 0, such as 0.01, not nan",
        ),
        (lambda account: account.close_position("BTCUSDT"), "desk has no open position in BTCUSDT"),
        (lambda account: account.cancel_order("1"), "desk has no open order 1"),
        (
            lambda account: account.set_leverage("BTCUSDT", 0),
            "leverage must be a whole number from 1 to 1000000, not 0",
        ),
    ],
)
def test_value_that_an_account_cannot_hold_is_an_error(
    account: Account, change: Callable[[Account], object], line: str
) -> None:
    with pytest.raises(ValueError, match=line):
        change(account)


def test_account_name_in_use_is_an_error(exchange: Exchange, account: Account) -> None:
    with pytest.raises(ValueError, match=account.name):
        exchange.open_account(account.name)


def test_requests_are_recorded_in_order(exchange: Exchange, send: Send, advance: Callable[[float], None]) -> None:
    send("GET", "/futures/leverage", symbol="BTCUSDT")
    advance(1.5)
    send("POST", "/futures/leverage", symbol="BTCUSDT", leverage=99)
    first, second = exchange.requests
    assert (first.endpoint, first.query["symbol"], first.status) == ("read_leverage", "BTCUSDT", 200)
    assert (second.endpoint, second.body["leverage"], second.status) == ("write_leverage", 99, 400)
    assert second.at - first.at == 1.5
    assert (exchange.count("read_leverage"), exchange.count("write_leverage"), exchange.count("wallet")) == (1, 1, 0)


def test_exchange_is_thread_safe(exchange: Exchange, build_request: Callable[..., Request]) -> None:
    fields: dict[str, Any] = {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2"}
    requests = [build_request("POST", "/futures/leverage", **fields, leverage=1 + n % 25) for n in range(40)]
    threads = [Thread(target=exchange.handle, args=(request,)) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(str(request.status) for request in requests) == ["200"] * 10 + ["429"] * 30
    assert exchange.refused_by_rate_limit == 30
