# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints: what each one does and answers once the keys, the clock and the rate limit of a request are checked.

The functions work on the state of one account. They use no socket and no clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from .accounts import Account, Order, Position
from .faults import Response
from .instruments import Instrument, get_price
from .quirks import Quirks

EXCHANGE = "EXCHANGE_2"
WEEK_MS = 7 * 24 * 3600 * 1000
MAX_ORDERS_PER_PAGE = 50

# For readings of the quirk `unset_leverage`: what they change in the usual data. None is an empty object.
_UNSET_DATA: Mapping[str, Mapping[str, Any] | None] = {
    "zero": {"leverage": "0"}, "zero-number": {"leverage": 0}, "blank": {"leverage": ""},
    "leverage-null": {"leverage": None}, "empty-fields": {"exchange": "", "symbol": "", "leverage": ""},
    "empty-object": None,
}  # fmt: skip


class Refusal(Exception):
    """The exchange refuses a request. Its response holds only a message."""

    def __init__(self, reading: str | int, message: str, headers: Mapping[str, str] | None = None) -> None:
        """Create a refusal.

        Args:
            reading: The HTTP status, or the reading of a quirk that stands for one.
            message: The message in the response.
            headers: More headers of the response.
        """
        super().__init__(message)
        status = 200 if reading in ("message", "null") else int(reading)
        data = {"data": None} if reading == "null" else {}
        self.response = Response(status, {"message": message, **data}, headers or {})


class Call(NamedTuple):
    """A request to an endpoint: the account, the parameters, the state of the exchange, and the time in Unix ms."""

    account: Account
    fields: Mapping[str, Any]
    instruments: Mapping[str, Instrument]
    quirks: Quirks
    now: int

    def get_required(self, name: str) -> Any:
        value = self.fields.get(name)
        if value in (None, ""):
            raise Refusal(422, f"Input {name} is missing")
        return value

    def get_symbol(self) -> str:
        symbol = self.get_required("symbol")
        if not isinstance(symbol, str):
            raise Refusal(422, "Input symbol is invalid")
        if symbol.upper() not in self.instruments:
            raise Refusal(self.quirks.unknown_symbol, "Invalid symbol")
        return symbol.upper()

    def get_optional_symbol(self) -> str | None:
        return self.get_symbol() if self.fields.get("symbol") not in (None, "") else None

    def get_optional_integer(self, name: str) -> int | None:
        value = self.fields.get(name)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            raise Refusal(422, f"Input {name} is invalid")
        return value

    def format_leverage(self, leverage: Decimal | int) -> Any:
        """Return a leverage in the form that the quirk `numbers` names."""
        is_whole = leverage == int(leverage)
        number = int(leverage) if is_whole else float(leverage)
        decimal = f"{Decimal(leverage):.1f}" if is_whole else str(leverage)
        return {"text": str(leverage), "number": number, "decimal": decimal}[self.quirks.numbers]


def read_leverage(call: Call) -> Any:
    symbol = call.get_symbol()
    usual_response = _leverage_data(call, symbol)
    reading = call.quirks.unset_leverage
    if symbol in call.account.leverage or reading == "default":
        return usual_response
    if reading not in _UNSET_DATA:
        raise Refusal(reading, "Leverage is not set")
    changes = _UNSET_DATA[reading]
    return {"data": {} if changes is None else {**usual_response["data"], **changes}}


def write_leverage(call: Call) -> Any:
    symbol = call.get_symbol()
    leverage = call.get_required("leverage")
    if not isinstance(leverage, int) or isinstance(leverage, bool):
        raise Refusal(422, "Input leverage is invalid")
    leverage = _apply_limits(call, call.instruments[symbol], leverage)
    if symbol in call.account.blocked_symbols:
        raise Refusal(call.quirks.blocked_answer, "Leverage cannot be changed with open positions or orders")
    if leverage == call.account.leverage_in_force(symbol) and call.quirks.same_value != "echo":
        raise Refusal(call.quirks.same_value, "Leverage is not modified")
    call.account.leverage[symbol] = leverage
    return _leverage_data(call, symbol)


def _apply_limits(call: Call, instrument: Instrument, leverage: int) -> int:
    """Return a leverage that the limits and the step allow. Otherwise refuse or clamp it, as the quirk says."""
    names = ("min_leverage", "max_leverage", "leverage_step")
    min_leverage, max_leverage, step = (Decimal(instrument[name]) for name in names)
    if min_leverage <= leverage <= max_leverage and (leverage - min_leverage) % step == 0:
        return leverage
    if call.quirks.limit_answer != "clamp":
        raise Refusal(call.quirks.limit_answer, "Invalid leverage")
    clamped = max(min_leverage, min(Decimal(leverage), max_leverage))
    return int(min_leverage + (clamped - min_leverage) // step * step)


def _leverage_data(call: Call, symbol: str) -> Any:
    leverage = call.format_leverage(call.account.leverage_in_force(symbol))
    return {"data": {"exchange": EXCHANGE, "symbol": symbol, "leverage": leverage}}


def list_instruments(call: Call) -> Any:
    rows = {}
    for symbol, instrument in call.instruments.items():
        limits = {name: call.format_leverage(Decimal(instrument[name])) for name in ("min_leverage", "max_leverage")}
        rows[symbol] = {**instrument, **limits}
    return {"data": rows}


def list_positions(call: Call) -> Any:
    if call.quirks.positions_without_symbol == "422":
        call.get_required("symbol")
    symbol = call.get_optional_symbol()
    all_symbols = call.quirks.positions_other_symbols
    rows = [_position_row(call, p) for p in call.account.positions if all_symbols or symbol in (None, p.symbol)]
    if all_symbols:
        flat_symbols = [other for other in call.instruments if other not in {row["symbol"] for row in rows}]
        rows += [_position_row(call, _empty_position(call, other)) for other in flat_symbols]
    if not rows and call.quirks.flat_positions == "message":
        return {"message": "There are no open Positions"}
    return {"data": rows}


def _empty_position(call: Call, symbol: str) -> Position:
    return Position("", symbol, "LONG", Decimal(0), call.account.leverage_in_force(symbol), call.now)


def _position_row(call: Call, position: Position) -> dict[str, Any]:
    price = get_price(position.symbol)
    distance = price / position.leverage * (1 if position.side == "LONG" else -1)
    # fmt: off
    return {
        "exchange": EXCHANGE, "position_id": position.position_id, "symbol": position.symbol,
        "position_side": position.side, "leverage": call.format_leverage(position.leverage),
        "position_size": str(position.size), "position_value": str(position.value),
        "position_margin": _format_amount(position.margin),
        "maint_margin": _format_amount(position.value * Decimal("0.005")), "avg_entry_price": str(price),
        "mark_price": str(price), "last_price": str(price), "unrealised_pnl": "0",
        "liquidation_price": _format_amount(price - distance), "margin_type": "ISOLATED", "status": "OPEN",
        "created_at": position.created_at, "updated_at": position.created_at,
    }
    # fmt: on


def list_open_orders(call: Call) -> Any:
    """Return one page of the open orders of at most 7 days, the newest first.

    `cursor` is the creation time of the last order of the page.
    """
    symbol = call.get_optional_symbol()
    limit = call.get_optional_integer("limit")
    if limit is not None and not 1 <= limit <= MAX_ORDERS_PER_PAGE:
        raise Refusal(422, "Input limit is invalid")
    start, end = _read_period(call)
    orders = [o for o in call.account.orders if symbol in (None, o.symbol) and start <= o.created_at < end]
    page = sorted(orders, key=lambda order: order.created_at, reverse=True)[: limit or MAX_ORDERS_PER_PAGE]
    if page:
        return {"data": {"orders": [_order_row(order) for order in page], "cursor": page[-1].created_at}}
    if call.quirks.empty_orders == "absent":
        return {"message": "There are no open Orders"}
    return {"data": {"orders": [] if call.quirks.empty_orders == "list" else None, "cursor": None}}


def _read_period(call: Call) -> tuple[int, int]:
    """Return the requested period: its first millisecond, and the first millisecond after it.

    If only one end is requested, the period is 7 days long. If neither is requested, it is the last 7 days.
    """
    start, end = call.get_optional_integer("from_time"), call.get_optional_integer("to_time")
    if start is None:
        start = (call.now if end is None else end) - WEEK_MS
    if end is not None and not 0 <= end - start <= WEEK_MS:
        raise Refusal(400, "Time range cannot be more than 7 days")
    if call.quirks.orders_period == "ignored":
        return 0, call.now + WEEK_MS
    if end is None:
        return start, start + WEEK_MS + 1
    return start, end + (call.quirks.orders_to_time == "inclusive")


def _order_row(order: Order) -> dict[str, Any]:
    trigger = {} if order.trigger_price is None else {"trigger_price": str(order.trigger_price)}
    # fmt: off
    return {
        "order_id": order.order_id, "exchange": EXCHANGE, "symbol": order.symbol, "side": order.side, "status": "OPEN",
        "order_type": order.order_type, "quantity": str(order.quantity), "exec_quantity": "0",
        "price": str(order.price), "avg_execution_price": "0", "execution_fee": "0", "realised_pnl": "0",
        "reduce_only": bool(trigger), "created_at": order.created_at, "updated_at": order.created_at, **trigger,
    }
    # fmt: on


def read_wallet(call: Call) -> Any:
    account = call.account
    positions, orders = _sum_margins(account.positions), _sum_margins(account.orders)
    balances = {
        "total_balance": account.balance, "total_available_balance": account.balance - positions - orders,
        "total_blocked_balance": positions + orders, "total_position_margin": positions,
        "total_open_order_margin": orders,
    }  # fmt: skip
    row = {"base_asset": "USDT", "balances": {name: _format_amount(amount) for name, amount in balances.items()}}
    assets = [_asset_row(account, symbol) for symbol in sorted(account.blocked_symbols)]
    return {"data": {"base_asset_balances": [row], "asset": assets}}


def _asset_row(account: Account, symbol: str) -> dict[str, Any]:
    positions = _sum_margins([p for p in account.positions if p.symbol == symbol])
    orders = _sum_margins([o for o in account.orders if o.symbol == symbol])
    amounts = {"blocked_balance": positions + orders, "position_margin": positions, "open_order_margin": orders}
    formatted = {name: _format_amount(amount) for name, amount in amounts.items()}
    return {"symbol": symbol, "base_asset": "USDT", "exchange": EXCHANGE, **formatted}


def _sum_margins(items: Sequence[Position | Order]) -> Decimal:
    return sum((item.margin for item in items), Decimal(0))


def create_order(call: Call) -> Any:
    """Place a limit order. It needs the association that the first write of the leverage of its symbol creates."""
    symbol = call.get_symbol()
    if symbol not in call.account.leverage:
        raise Refusal(400, "subaccount association not found")
    side, quantity, price = (str(call.get_required(name)) for name in ("side", "quantity", "price"))
    try:
        order_id = call.account.open_order(symbol, side, quantity, price)
    except ValueError as error:
        raise Refusal(422, f"Input is invalid: {error}") from None
    return {"data": {"order_id": order_id, "exchange": EXCHANGE, "symbol": symbol, "status": "OPEN"}}


def _format_amount(amount: Decimal) -> str:
    return f"{amount:.8f}"


class Endpoint(NamedTuple):
    """An endpoint. All but two need the parameter `exchange`.

    Attributes:
        respond: What it answers. None for the time of the server, which needs no keys.
        limit: The requests per 60 s, as the vendor documents them. None for an endpoint without a limit.
    """

    name: str
    respond: Callable[[Call], Any] | None
    limit: int | None = None

    def carry_out(self, call: Call) -> Any:
        """Return the JSON value of the response. Raise Refusal if the exchange refuses the request."""
        if self.name not in ("validate_keys", "wallet") and str(call.get_required("exchange")).upper() != EXCHANGE:
            raise Refusal(422, "Input exchange is invalid")
        return self.respond(call) if self.respond else None


_PREFIX = "/trade/api/v2"
ENDPOINTS: Mapping[tuple[str, str], Endpoint] = {
    ("GET", f"{_PREFIX}/time"): Endpoint("time", None),
    ("GET", f"{_PREFIX}/validate/keys"): Endpoint("validate_keys", lambda _call: {"message": "Valid Access"}),
    ("GET", f"{_PREFIX}/futures/leverage"): Endpoint("read_leverage", read_leverage, 20),
    ("POST", f"{_PREFIX}/futures/leverage"): Endpoint("write_leverage", write_leverage, 10),
    ("GET", f"{_PREFIX}/futures/instrument_info"): Endpoint("instruments", list_instruments, 100),
    ("GET", f"{_PREFIX}/futures/positions"): Endpoint("positions", list_positions, 20),
    ("POST", f"{_PREFIX}/futures/orders/open"): Endpoint("open_orders", list_open_orders, 20),
    ("GET", f"{_PREFIX}/futures/wallet_balance"): Endpoint("wallet", read_wallet, 20),
    ("POST", f"{_PREFIX}/futures/order"): Endpoint("create_order", create_order),
}
