# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An account: its keys, and the leverage, positions and open orders that it holds."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from .instruments import Instrument, price_of
from .signatures import KeyPair

DEFAULT_LEVERAGE = 10


@dataclass(frozen=True)
class Position:
    position_id: str
    symbol: str
    side: str
    size: Decimal
    leverage: int
    created_at: int

    @property
    def value(self) -> Decimal:
        return price_of(self.symbol) * self.size

    @property
    def margin(self) -> Decimal:
        return self.value / self.leverage


@dataclass(frozen=True)
class Order:
    order_id: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    leverage: int
    created_at: int

    @property
    def margin(self) -> Decimal:
        return self.price * self.quantity / self.leverage


class Account:
    """What one holder of keys has. Its methods act directly, past the rules of leverage, as somebody else's doing.

    They raise ValueError in one line for what the exchange could not hold. Times are Unix milliseconds.
    """

    balance = Decimal(10_000)

    def __init__(
        self,
        name: str,
        seed: bytes | None,
        instruments: Mapping[str, Instrument],
        now: Callable[[], int],
        lock: AbstractContextManager[bool],
    ) -> None:
        self.name = name
        self.leverage: dict[str, int] = {}
        self.positions: list[Position] = []
        self.orders: list[Order] = []
        self._pair = KeyPair.from_seed(seed)
        self._instruments = instruments
        self._now = now
        self._lock = lock

    @property
    def api_key(self) -> str:
        return self._pair.api_key

    @property
    def secret_key(self) -> str:
        return self._pair.secret_key

    @property
    def held_symbols(self) -> set[str]:
        """The symbols with a position or an open order: their leverage cannot be changed."""
        return {position.symbol for position in self.positions} | {order.symbol for order in self.orders}

    def new_pair(self, seed: bytes | None = None) -> None:
        """Give the account other keys; the exchange knows the old ones no more."""
        self._pair = KeyPair.from_seed(seed)

    def leverage_in_force(self, symbol: str) -> int:
        """The configured leverage; else the default, as near to 10 as the instrument allows."""
        instrument = self._instruments[symbol]
        low, high = (int(Decimal(instrument[name])) for name in ("min_leverage", "max_leverage"))
        return self.leverage.get(symbol, max(low, min(DEFAULT_LEVERAGE, high)))

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """Put any whole number from 1 up in force, within the instrument's limits or not."""
        if leverage < 1:
            raise ValueError(f"{leverage} is not a leverage")
        with self._lock:
            self.leverage[self._listed(symbol)] = leverage

    def open_position(self, symbol: str, side: str, size: str) -> str:
        """Open a position (side LONG or SHORT, size in the base asset); its id."""
        with self._lock:
            symbol = self._listed(symbol)
            position = Position(
                str(uuid.uuid4()),
                symbol,
                _one_of(side, ("LONG", "SHORT")),
                _positive(size),
                self.leverage_in_force(symbol),
                self._now(),
            )
            self.positions.append(position)
            return position.position_id

    def close_position(self, symbol: str) -> None:
        """Close every position of the symbol."""
        with self._lock:
            left = [position for position in self.positions if position.symbol != symbol.upper()]
            if len(left) == len(self.positions):
                raise ValueError(f"{self.name} has no open position in {symbol.upper()}")
            self.positions = left

    def open_order(self, symbol: str, side: str, quantity: str, price: str, created_at: int | None = None) -> str:
        """Place a limit order (side BUY or SELL, quantity in the base asset, price in USDT); its id."""
        with self._lock:
            symbol = self._listed(symbol)
            order = Order(
                str(uuid.uuid4()),
                symbol,
                _one_of(side, ("BUY", "SELL")),
                _positive(quantity),
                _positive(price),
                self.leverage_in_force(symbol),
                self._now() if created_at is None else created_at,
            )
            self.orders.append(order)
            return order.order_id

    def cancel_order(self, order_id: str) -> None:
        with self._lock:
            left = [order for order in self.orders if order.order_id != order_id]
            if len(left) == len(self.orders):
                raise ValueError(f"{self.name} has no open order {order_id}")
            self.orders = left

    def _listed(self, symbol: str) -> str:
        if symbol.upper() not in self._instruments:
            raise ValueError(f"{symbol.upper()} is not listed")
        return symbol.upper()


def _one_of(text: str, choices: Collection[str]) -> str:
    if text.upper() not in choices:
        raise ValueError(f"{text} is not one of {', '.join(choices)}")
    return text.upper()


def _positive(text: str) -> Decimal:
    try:
        number = Decimal(text)
    except InvalidOperation:
        number = Decimal("NaN")
    if not (number.is_finite() and number > 0):
        raise ValueError(f"{text} is not a number above 0")
    return number
