# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each endpoint answers to a request that was let in: functions of an account's state, no socket, no clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, NoReturn

from .accounts import Account, Order, Position
from .faults import Answer
from .instruments import Instrument, price_of
from .quirks import Quirks

EXCHANGE = "EXCHANGE_2"
WEEK = 7 * 24 * 3600 * 1000
LARGEST_PAGE = 50

_READINGS = {"400": 400, "404": 404, "422": 422, "200": 200, "message": 200, "null": 200}


class Refusal(Exception):
    """The exchange answers only a message; `reading`, a quirk's value or a number, gives the status."""

    def __init__(self, reading: str | int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        status = reading if isinstance(reading, int) else _READINGS[reading]
        data = {"data": None} if reading == "null" else {}
        self.answer = Answer(status, {"message": message, **data}, headers or {})

    def repeat(self) -> NoReturn:
        raise self


@dataclass(frozen=True)
class Call:
    """One request as an endpoint sees it: who, with what, in which market, when (Unix milliseconds)."""

    account: Account
    fields: Mapping[str, Any]
    instruments: Mapping[str, Instrument]
    quirks: Quirks
    now: int

    def require_exchange(self) -> None:
        if str(self.required("exchange")).upper() != EXCHANGE:
            raise Refusal(422, "Input exchange is invalid")

    def required(self, name: str) -> Any:
        value = self.fields.get(name)
        if value is None or value == "":
            raise Refusal(422, f"Input {name} is missing")
        return value

    def symbol(self) -> str:
        symbol = self.required("symbol")
        if not isinstance(symbol, str):
            raise Refusal(422, "Input symbol is invalid")
        if symbol.upper() not in self.instruments:
            raise Refusal(self.quirks.unknown_symbol, "Invalid symbol")
        return symbol.upper()

    def optional_symbol(self) -> str | None:
        return self.symbol() if self.fields.get("symbol") not in (None, "") else None

    def optional_integer(self, name: str) -> int | None:
        value = self.fields.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise Refusal(422, f"Input {name} is invalid")
        return value

    def number(self, value: Decimal | int) -> Any:
        """A leverage in the exchange's spelling."""
        return {"text": str(value), "number": int(value), "decimal": f"{Decimal(value):.1f}"}[self.quirks.numbers]


def read_leverage(call: Call) -> Any:
    call.require_exchange()
    symbol = call.symbol()
    if symbol not in call.account.leverage and call.quirks.unset_leverage != "default":
        raise Refusal(call.quirks.unset_leverage, "Leverage is not set")
    return _leverage_data(call, symbol)


def write_leverage(call: Call) -> Any:
    call.require_exchange()
    symbol = call.symbol()
    desired = call.required("leverage")
    if not isinstance(desired, int) or isinstance(desired, bool):
        raise Refusal(422, "Input leverage is invalid")
    desired = _within_limits(call, call.instruments[symbol], desired)
    if symbol in call.account.held_symbols:
        raise Refusal(call.quirks.blocked_answer, "Leverage cannot be changed with open positions or orders")
    if desired == call.account.leverage_in_force(symbol) and call.quirks.same_value != "echo":
        raise Refusal(call.quirks.same_value, "Leverage is not modified")
    call.account.leverage[symbol] = desired
    return _leverage_data(call, symbol)


def _within_limits(call: Call, instrument: Instrument, desired: int) -> int:
    low, high, step = (Decimal(instrument[name]) for name in ("min_leverage", "max_leverage", "leverage_step"))
    if low <= desired <= high and (desired - low) % step == 0:
        return desired
    if call.quirks.limit_answer != "clamp":
        raise Refusal(call.quirks.limit_answer, "Invalid leverage")
    return int(low + (max(low, min(Decimal(desired), high)) - low) // step * step)


def _leverage_data(call: Call, symbol: str) -> Any:
    leverage = call.number(call.account.leverage_in_force(symbol))
    return {"data": {"exchange": EXCHANGE, "symbol": symbol, "leverage": leverage}}


def instruments(call: Call) -> Any:
    call.require_exchange()
    spelled = {
        symbol: {
            **instrument,
            "min_leverage": call.number(Decimal(instrument["min_leverage"])),
            "max_leverage": call.number(Decimal(instrument["max_leverage"])),
        }
        for symbol, instrument in call.instruments.items()
    }
    return {"data": spelled}


def positions(call: Call) -> Any:
    call.require_exchange()
    if call.quirks.positions_without_symbol == "422":
        call.required("symbol")
    symbol = call.optional_symbol()
    everything = call.quirks.positions_other_symbols
    rows = [_position_row(call, p) for p in call.account.positions if everything or symbol in (None, p.symbol)]
    if everything:
        held = {row["symbol"] for row in rows}
        rows += [_position_row(call, _flat(call, other)) for other in call.instruments if other not in held]
    if not rows and call.quirks.flat_positions == "message":
        return {"message": "There are no open Positions"}
    return {"data": rows}


def _flat(call: Call, symbol: str) -> Position:
    return Position("", symbol, "LONG", Decimal(0), call.account.leverage_in_force(symbol), call.now)


def _position_row(call: Call, position: Position) -> dict[str, Any]:
    price = price_of(position.symbol)
    away = price / position.leverage
    return {
        "exchange": EXCHANGE,
        "position_id": position.position_id,
        "symbol": position.symbol,
        "position_side": position.side,
        "leverage": call.number(position.leverage),
        "position_size": str(position.size),
        "position_value": str(position.value),
        "position_margin": _money(position.margin),
        "maint_margin": _money(position.value * Decimal("0.005")),
        "avg_entry_price": str(price),
        "mark_price": str(price),
        "last_price": str(price),
        "unrealised_pnl": "0",
        "liquidation_price": _money(price - away if position.side == "LONG" else price + away),
        "margin_type": "ISOLATED",
        "status": "OPEN",
        "created_at": position.created_at,
        "updated_at": position.created_at,
    }


def open_orders(call: Call) -> Any:
    """The newest first, at most 50, of at most 7 days; `cursor` is the creation time of the last one answered."""
    call.require_exchange()
    symbol = call.optional_symbol()
    limit = call.optional_integer("limit")
    if limit is not None and not 1 <= limit <= LARGEST_PAGE:
        raise Refusal(422, "Input limit is invalid")
    start, end = _time_window(call)
    found = [o for o in call.account.orders if symbol in (None, o.symbol) and start <= o.created_at < end]
    page = sorted(found, key=lambda order: order.created_at, reverse=True)[: limit or LARGEST_PAGE]
    if page:
        return {"data": {"orders": [_order_row(order) for order in page], "cursor": page[-1].created_at}}
    if call.quirks.empty_orders == "absent":
        return {"message": "There are no open Orders"}
    return {"data": {"orders": [] if call.quirks.empty_orders == "list" else None, "cursor": None}}


def _time_window(call: Call) -> tuple[int, int]:
    """First millisecond in and first one out. What is left open is 7 days from the other end, the last 7 from now."""
    start, end = call.optional_integer("from_time"), call.optional_integer("to_time")
    if start is None:
        start = (call.now if end is None else end) - WEEK
    if end is not None and not 0 <= end - start <= WEEK:
        raise Refusal(400, "Time range cannot be more than 7 days")
    if call.quirks.orders_period == "ignored":
        return 0, call.now + WEEK
    if end is None:
        return start, start + WEEK + 1
    return start, end + (call.quirks.orders_to_time == "inclusive")


def _order_row(order: Order) -> dict[str, Any]:
    return {
        "order_id": order.order_id,
        "exchange": EXCHANGE,
        "symbol": order.symbol,
        "side": order.side,
        "status": "OPEN",
        "order_type": "LIMIT",
        "quantity": str(order.quantity),
        "exec_quantity": "0",
        "price": str(order.price),
        "avg_execution_price": "0",
        "execution_fee": "0",
        "realised_pnl": "0",
        "reduce_only": False,
        "created_at": order.created_at,
        "updated_at": order.created_at,
    }


def wallet(call: Call) -> Any:
    account = call.account
    position_margin = sum((position.margin for position in account.positions), Decimal(0))
    order_margin = sum((order.margin for order in account.orders), Decimal(0))
    balances = {
        "total_balance": account.balance,
        "total_available_balance": account.balance - position_margin - order_margin,
        "total_blocked_balance": position_margin + order_margin,
        "total_position_margin": position_margin,
        "total_open_order_margin": order_margin,
    }
    return {
        "data": {
            "base_asset_balances": [
                {"base_asset": "USDT", "balances": {name: _money(amount) for name, amount in balances.items()}}
            ],
            "asset": [_asset_row(account, symbol) for symbol in sorted(account.held_symbols)],
        }
    }


def _asset_row(account: Account, symbol: str) -> dict[str, Any]:
    position_margin = sum((p.margin for p in account.positions if p.symbol == symbol), Decimal(0))
    order_margin = sum((o.margin for o in account.orders if o.symbol == symbol), Decimal(0))
    return {
        "symbol": symbol,
        "base_asset": "USDT",
        "exchange": EXCHANGE,
        "blocked_balance": _money(position_margin + order_margin),
        "position_margin": _money(position_margin),
        "open_order_margin": _money(order_margin),
    }


def cancel_order(call: Call) -> Any:
    call.require_exchange()
    order_id = str(call.required("order_id"))
    try:
        call.account.cancel_order(order_id)
    except ValueError:
        raise Refusal(400, "Order not found") from None
    return {"data": {"order_id": order_id, "exchange": EXCHANGE, "status": "CANCELLED"}}


def cancel_all(call: Call) -> Any:
    call.require_exchange()
    symbol = call.optional_symbol()
    cancelled = [order.order_id for order in call.account.orders if symbol in (None, order.symbol)]
    for order_id in cancelled:
        call.account.cancel_order(order_id)
    return {"data": {"exchange": EXCHANGE, "order_ids": cancelled}}


def validate_keys(_call: Call) -> Any:
    return {"message": "Valid Access"}


def _money(amount: Decimal) -> str:
    return f"{amount:.8f}"


@dataclass(frozen=True)
class Endpoint:
    """`respond` is None for the server's time, which is open to everybody."""

    name: str
    respond: Callable[[Call], Any] | None


_PREFIX = "/trade/api/v2"
ENDPOINTS: Mapping[tuple[str, str], Endpoint] = {
    ("GET", f"{_PREFIX}/time"): Endpoint("time", None),
    ("GET", f"{_PREFIX}/validate/keys"): Endpoint("validate_keys", validate_keys),
    ("GET", f"{_PREFIX}/futures/leverage"): Endpoint("read_leverage", read_leverage),
    ("POST", f"{_PREFIX}/futures/leverage"): Endpoint("write_leverage", write_leverage),
    ("GET", f"{_PREFIX}/futures/instrument_info"): Endpoint("instruments", instruments),
    ("GET", f"{_PREFIX}/futures/positions"): Endpoint("positions", positions),
    ("POST", f"{_PREFIX}/futures/orders/open"): Endpoint("open_orders", open_orders),
    ("GET", f"{_PREFIX}/futures/wallet_balance"): Endpoint("wallet", wallet),
    ("DELETE", f"{_PREFIX}/futures/order"): Endpoint("cancel_order", cancel_order),
    ("POST", f"{_PREFIX}/futures/cancel_all"): Endpoint("cancel_all", cancel_all),
}
