# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An account with its key pair, leverages, positions and open orders."""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from .instruments import Instrument, get_price
from .signatures import KeyPair

MAX_LEVERAGE = 1_000_000
MAX_AGE_DAYS = 36_500
ORDER_TYPES = ("LIMIT", "STOP_MARKET", "TAKE_PROFIT_MARKET")


class Position(NamedTuple):
    """An open position. `size` is in the base asset, `created_at` in Unix milliseconds."""

    position_id: str
    symbol: str
    side: str
    size: Decimal
    leverage: int
    created_at: int

    @property
    def value(self) -> Decimal:
        return get_price(self.symbol) * self.size

    @property
    def margin(self) -> Decimal:
        return self.value / self.leverage


class Order(NamedTuple):
    """An open order. `quantity` is in the base asset, the prices are in USDT, `created_at` is in Unix milliseconds.

    Only a limit order has a quantity and a price, and only the others have a trigger price.
    """

    order_id: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    trigger_price: Decimal | None
    leverage: int
    created_at: int
    order_type: str

    @property
    def margin(self) -> Decimal:
        return self.price * self.quantity / self.leverage


@dataclass(eq=False, repr=False)
class Account:
    """An account of the exchange.

    The methods change the account directly, as another program or person would. They do not check whether the exchange
    would allow the change. They raise ValueError with a one-line message for a value that an account cannot hold.

    Attributes:
        name: The name of the account.
        pair: Its keys.
        instruments: The listed instruments, by symbol.
        now: Returns the current time in Unix milliseconds.
        lock: The lock of the exchange.
        balance: The balance in USDT.
    """

    name: str
    pair: KeyPair
    instruments: Mapping[str, Instrument]
    now: Callable[[], int]
    lock: AbstractContextManager[bool]
    balance: Decimal = Decimal(10_000)
    leverage: dict[str, int] = field(default_factory=dict)
    positions: list[Position] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)

    @property
    def api_key(self) -> str:
        return self.pair.api_key

    @property
    def secret_key(self) -> str:
        return self.pair.secret_key

    @property
    def blocked_symbols(self) -> set[str]:
        """The symbols with an open position or order. Their leverage cannot be changed."""
        return {position.symbol for position in self.positions} | {order.symbol for order in self.orders}

    def new_pair(self, seed: bytes | None = None) -> None:
        """Replace the key pair of the account. The exchange then refuses the old keys."""
        self.pair = KeyPair.from_seed(seed)

    def save(self) -> tuple[dict[str, int], list[Position], list[Order]]:
        """Return the state, for `restore`."""
        return dict(self.leverage), list(self.positions), list(self.orders)

    def restore(self, state: tuple[dict[str, int], list[Position], list[Order]]) -> None:
        """Put a state back. The object `leverage` stays the same one."""
        leverage, self.positions, self.orders = state
        self.leverage.clear()
        self.leverage.update(leverage)

    def leverage_in_force(self, symbol: str) -> int:
        """Return the configured leverage, or the default: 10, or the value closest to 10 within the limits."""
        min_leverage = math.ceil(Decimal(self.instruments[symbol]["min_leverage"]))
        max_leverage = math.floor(Decimal(self.instruments[symbol]["max_leverage"]))
        return self.leverage.get(symbol, max(min_leverage, min(10, max_leverage)))

    def set_leverage(self, symbol: str, leverage: int | str) -> None:
        """Set the leverage of a symbol to any whole number from 1, even outside the limits of the instrument."""
        with self.lock:
            self.leverage[self._check_symbol(symbol)] = parse_whole_number("leverage", leverage, 1, MAX_LEVERAGE)

    def open_position(self, symbol: str, side: str, size: str, leverage: int | str | None = None) -> str:
        """Open a position and return its ID.

        Args:
            symbol: The symbol, in any case.
            side: LONG or SHORT, in any case.
            size: The size in the base asset.
            leverage: The leverage of the position, None for that of the symbol.
        """
        side, amount = _check_choice("side", side, ("LONG", "SHORT")), _parse_positive("size", size)
        with self.lock:
            symbol = self._check_symbol(symbol)
            used = self.leverage_in_force(symbol) if leverage is None else leverage
            used, position_id = parse_whole_number("leverage", used, 1, MAX_LEVERAGE), str(uuid.uuid4())
            self.positions.append(Position(position_id, symbol, side, amount, used, self.now()))
            return position_id

    def close_position(self, symbol: str) -> None:
        """Close all positions of a symbol."""
        symbol = symbol.upper()
        with self.lock:
            if symbol not in [position.symbol for position in self.positions]:
                raise ValueError(
                    f"{self.name} has no open position in {symbol}; the command state shows the open positions"
                )
            self.positions = [position for position in self.positions if position.symbol != symbol]

    def open_order(
        self, symbol: str, side: str, quantity: str, price: str, created_at: int | None = None,
        order_type: str = "LIMIT", age_days: str | float = 0,
    ) -> str:  # fmt: skip
        """Place an order and return its ID.

        Args:
            symbol: The symbol, in any case.
            side: BUY or SELL, in any case.
            quantity: The quantity in the base asset. An order that is no limit order does not use it.
            price: The price in USDT. For an order that is no limit order, the price that triggers it.
            created_at: The creation time in Unix milliseconds, None for `age_days` ago.
            order_type: One of ORDER_TYPES, in any case.
            age_days: How long ago the order was created, in days.
        """
        order_type = _check_choice("order_type", order_type, ORDER_TYPES)
        side, days = _check_choice("side", side, ("BUY", "SELL")), parse_number(age_days, 0, MAX_AGE_DAYS)
        amount, at, trigger = _parse_positive("quantity", quantity), _parse_positive("price", price), None
        if days is None:
            raise ValueError(f"the age of an order must be a number of days from 0 to {MAX_AGE_DAYS}, not {age_days}")
        if order_type != "LIMIT":
            amount, at, trigger = Decimal(0), Decimal(0), at
        with self.lock:
            symbol = self._check_symbol(symbol)
            created_at = self.now() - int(days * 86_400_000) if created_at is None else created_at
            leverage = self.leverage_in_force(symbol)
            order = Order(str(uuid.uuid4()), symbol, side, amount, at, trigger, leverage, created_at, order_type)
            self.orders.append(order)
            return order.order_id

    def cancel_order(self, order_id: str) -> None:
        """Cancel an open order."""
        with self.lock:
            if order_id not in [order.order_id for order in self.orders]:
                raise ValueError(
                    f"{self.name} has no open order {order_id}; the command state shows the IDs of the open orders"
                )
            self.orders = [order for order in self.orders if order.order_id != order_id]

    def _check_symbol(self, symbol: str) -> str:
        """Return a listed symbol in upper case."""
        symbol = symbol.upper()
        if symbol not in self.instruments:
            raise ValueError(
                f"unknown symbol {symbol}; use a listed symbol, such as BTCUSDT, or add {symbol} to the instruments of "
                "the accounts file"
            )
        return symbol


def _check_choice(name: str, text: str, choices: Collection[str]) -> str:
    choice = text.upper()
    if choice not in choices:
        raise ValueError(f"{name} must be {' or '.join(choices)}, not {text}")
    return choice


def parse_number(text: object, low: float, high: float) -> float | None:
    """Return a decimal number within the bounds, None for anything else. Infinity and 1_000 are no numbers."""
    is_number = not isinstance(text, bool) and re.fullmatch(r"-?[0-9]{1,20}(\.[0-9]{1,20})?", str(text))
    return float(str(text)) if is_number and low <= float(str(text)) <= high else None


def _parse_positive(name: str, text: str) -> Decimal:
    if not parse_number(text, 0, math.inf):
        raise ValueError(f"{name} must be a number above 0, such as 0.01, not {text}")
    return Decimal(text)


def parse_whole_number(name: str, value: object, low: int, high: int) -> int:
    """Return a whole number within the bounds, from a number or its text."""
    if parse_number(value, low, high) is None or "." in str(value):
        raise ValueError(f"{name} must be a whole number from {low} to {high}, not {value}")
    return int(str(value))
