# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every reading of each quirk. The quirks of the rate limits are in test_sandbox_rate_limits.py."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandbox import Account, Exchange, Quirks
from sandbox.faults import Response

Send = Callable[..., Response]
READ = ("GET", "/futures/leverage")
WRITE = ("POST", "/futures/leverage")


@pytest.mark.parametrize(("reading", "status"), [("400", 400), ("422", 422), ("200", 200)])
def test_write_to_a_blocked_symbol_is_refused(
    exchange: Exchange, account: Account, send: Send, reading: Any, status: int
) -> None:
    exchange.quirks = Quirks(blocked_answer=reading)
    account.open_position("BTCUSDT", "LONG", "1")
    response = send(*WRITE, symbol="BTCUSDT", leverage=13)
    assert (response.status, list(response.value)) == (status, ["message"])
    assert account.leverage == {}


@pytest.mark.parametrize(("reading", "status"), [("400", 400), ("422", 422), ("200", 200)])
def test_write_outside_the_limits_is_refused(
    exchange: Exchange, account: Account, send: Send, reading: Any, status: int
) -> None:
    exchange.quirks = Quirks(limit_answer=reading)
    response = send(*WRITE, symbol="BTCUSDT", leverage=26)
    assert (response.status, list(response.value)) == (status, ["message"])
    assert account.leverage == {}


@pytest.mark.parametrize(("requested", "leverage"), [(76, 75), (4, 5), (-9, 5), (14, 10), (75, 75)])
def test_write_outside_the_limits_is_clamped(
    exchange: Exchange, account: Account, send: Send, requested: int, leverage: int
) -> None:
    exchange.quirks = Quirks(limit_answer="clamp")
    assert send(*WRITE, symbol="XRPUSDT", leverage=requested).value["data"]["leverage"] == str(leverage)
    assert account.leverage == {"XRPUSDT": leverage}


@pytest.mark.parametrize(("reading", "status"), [("echo", 200), ("400", 400), ("422", 422), ("200", 200)])
def test_write_of_the_current_leverage_is_echoed_or_refused(
    exchange: Exchange, account: Account, send: Send, reading: Any, status: int
) -> None:
    exchange.quirks = Quirks(same_value=reading)
    account.set_leverage("BTCUSDT", 13)
    response = send(*WRITE, symbol="BTCUSDT", leverage=13)
    assert (response.status, "data" in response.value) == (status, reading == "echo")
    assert send(*WRITE, symbol="BTCUSDT", leverage=12).status == 200


@pytest.mark.parametrize(
    ("reading", "status"),
    [
        ("400", 400),
        ("403", 403),
        ("404", 404),
        ("409", 409),
        ("422", 422),
        ("500", 500),
        ("message", 200),
    ],
)
def test_read_of_a_never_configured_symbol_is_refused(
    exchange: Exchange, account: Account, send: Send, reading: Any, status: int
) -> None:
    exchange.quirks = Quirks(unset_leverage=reading)
    response = send(*READ, symbol="BTCUSDT")
    assert (response.status, list(response.value)) == (status, ["message"])
    account.set_leverage("BTCUSDT", 13)
    assert send(*READ, symbol="BTCUSDT").value["data"]["leverage"] == "13"


USUAL = {"exchange": "EXCHANGE_2", "symbol": "BTCUSDT"}


@pytest.mark.parametrize(
    ("reading", "data"),
    [
        ("null", None),
        ("zero", {**USUAL, "leverage": "0"}),
        ("zero-number", {**USUAL, "leverage": 0}),
        ("blank", {**USUAL, "leverage": ""}),
        ("leverage-null", {**USUAL, "leverage": None}),
        ("empty-fields", {"exchange": "", "symbol": "", "leverage": ""}),
        ("empty-object", {}),
    ],
)
def test_read_of_a_never_configured_symbol_returns_no_leverage(
    exchange: Exchange, account: Account, send: Send, reading: Any, data: Any
) -> None:
    exchange.quirks = Quirks(unset_leverage=reading)
    response = send(*READ, symbol="BTCUSDT")
    assert (response.status, response.value["data"]) == (200, data)
    assert send(*READ, symbol="NIXUSDT").status == 400
    account.set_leverage("BTCUSDT", 13)
    assert send(*READ, symbol="BTCUSDT").value["data"]["leverage"] == "13"


@pytest.mark.parametrize(("symbol", "leverage"), [("BTCUSDT", "10"), ("LUNAUSDT", "5"), ("FOOUSDT", "30")])
def test_read_of_a_never_configured_symbol_returns_the_default(
    exchange: Exchange, account: Account, send: Send, symbol: str, leverage: str
) -> None:
    exchange.list_instrument("FOOUSDT", min_leverage="30", max_leverage="40")
    assert send(*READ, symbol=symbol).value["data"]["leverage"] == leverage
    assert account.leverage == {}


@pytest.mark.parametrize(("reading", "status"), [("400", 400), ("404", 404), ("422", 422), ("message", 200)])
def test_unknown_symbol_is_refused(exchange: Exchange, send: Send, reading: Any, status: int) -> None:
    exchange.quirks = Quirks(unknown_symbol=reading)
    for endpoint in (READ, WRITE, ("GET", "/futures/positions"), ("POST", "/futures/orders/open")):
        response = send(*endpoint, symbol="NIXUSDT", leverage=1)
        assert (response.status, list(response.value)) == (status, ["message"])


@pytest.mark.parametrize(
    ("reading", "value"),
    [
        ("list", {"data": {"orders": [], "cursor": None}}),
        ("null", {"data": {"orders": None, "cursor": None}}),
        ("absent", {"message": "There are no open Orders"}),
    ],
)
def test_response_without_open_orders_is_list_null_or_message(
    exchange: Exchange, send: Send, reading: Any, value: Any
) -> None:
    exchange.quirks = Quirks(empty_orders=reading)
    assert send("POST", "/futures/orders/open").value == value


@pytest.mark.parametrize(
    ("reading", "value"), [("message", {"message": "There are no open Positions"}), ("list", {"data": []})]
)
def test_response_without_open_positions_is_message_or_list(
    exchange: Exchange, send: Send, reading: Any, value: Any
) -> None:
    exchange.quirks = Quirks(flat_positions=reading)
    assert send("GET", "/futures/positions", symbol="BTCUSDT").value == value


@pytest.mark.parametrize(("reading", "status"), [("all", 200), ("422", 422)])
def test_positions_without_symbol_are_returned_or_refused(
    exchange: Exchange, send: Send, reading: Any, status: int
) -> None:
    exchange.quirks = Quirks(positions_without_symbol=reading)
    assert send("GET", "/futures/positions").status == status
    assert send("GET", "/futures/positions", symbol="BTCUSDT").status == 200


def test_positions_include_other_symbols_and_size_0(exchange: Exchange, account: Account, send: Send) -> None:
    exchange.quirks = Quirks(positions_other_symbols=True)
    account.open_position("ETHUSDT", "LONG", "2")
    rows = send("GET", "/futures/positions", symbol="BTCUSDT").value["data"]
    sizes = {row["symbol"]: row["position_size"] for row in rows}
    assert len(rows) == len(sizes) == len(exchange.instruments)
    assert (sizes["ETHUSDT"], sizes["BTCUSDT"]) == ("2", "0")


@pytest.mark.parametrize(("reading", "count"), [("exclusive", 0), ("inclusive", 1)])
def test_to_time_is_exclusive_or_inclusive(
    exchange: Exchange, account: Account, send: Send, reading: Any, count: int
) -> None:
    exchange.quirks = Quirks(orders_to_time=reading)
    account.open_order("BTCUSDT", "BUY", "1", "1", created_at=1_699_999_999_999)
    data = send("POST", "/futures/orders/open", to_time=1_699_999_999_999).value["data"]
    assert len(data["orders"]) == count


@pytest.mark.parametrize(("reading", "count"), [("limits", 0), ("ignored", 1)])
def test_period_limits_the_orders_or_is_ignored(
    exchange: Exchange, account: Account, send: Send, reading: Any, count: int
) -> None:
    exchange.quirks = Quirks(orders_period=reading)
    account.open_order("BTCUSDT", "BUY", "1", "1", created_at=1_690_000_000_000)
    period = {"from_time": 1_699_000_000_000, "to_time": 1_699_000_000_001}
    for fields in ({}, period):
        assert len(send("POST", "/futures/orders/open", **fields).value["data"]["orders"] or []) == count
    assert send("POST", "/futures/orders/open", from_time=1, to_time=1_699_000_000_001).status == 400


@pytest.mark.parametrize(("reading", "leverage"), [("text", "13"), ("number", 13), ("decimal", "13.0")])
def test_leverage_is_text_number_or_decimal(
    exchange: Exchange, account: Account, send: Send, reading: Any, leverage: Any
) -> None:
    exchange.quirks = Quirks(numbers=reading)
    exchange.list_instrument("BTCUSDT", max_leverage=13)
    assert send(*WRITE, symbol="BTCUSDT", leverage=13).value["data"]["leverage"] == leverage
    assert send("GET", "/futures/instrument_info").value["data"]["BTCUSDT"]["max_leverage"] == leverage
    account.open_position("BTCUSDT", "LONG", "1")
    assert send("GET", "/futures/positions").value["data"][0]["leverage"] == leverage
