# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of an account that explain a refusal: the limits of the symbols, open positions and open orders.

The text of a response is never interpreted. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.client import to_one_line
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import CoinSwitchError, Ends
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import (
    MAX_SPAN_MS,
    RECENT_MS,
    Futures,
    Instrument,
    to_decimal,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import Goal, Violation
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import (
    describe_limit_violation,
    describe_unknown_symbol,
)

# An older order also blocks a change, but each week costs a request.
WEEKS_OF_ORDERS = 5
ORDERS_SPAN_MS = RECENT_MS + (WEEKS_OF_ORDERS - 1) * MAX_SPAN_MS
_MAX_NAMED = 5

Row = Dict[str, Any]


class AccountFacts:
    """Reads the facts of one account, each only when it is needed.

    Args:
        futures: The endpoints of the account.
        has_several_symbols: Whether the task has several symbols. If so, one request covers the whole account, if the
            exchange allows that.

    Attributes:
        positions: The open positions, as blockers with their `symbol`. None if they were not read.
        positions_error: Why the positions could not be read.
        warnings: What could not be read.
    """

    def __init__(self, futures: Futures, has_several_symbols: bool = False) -> None:
        self._futures = futures
        self._has_several_symbols = has_several_symbols
        self._can_list_all_positions = True
        self._instruments: dict[str, Instrument] | None = None
        self._instruments_error: CoinSwitchError | None = None
        self._stopped_by: CoinSwitchError | None = None
        self.positions: list[Row] | None = None
        self.positions_error: CoinSwitchError | None = None
        self.warnings: list[str] = []

    def find_violation(self, goal: Goal) -> Violation | None:
        """Return why the exchange would never accept a desired leverage, or None. Read the instruments once.

        Raises:
            CoinSwitchError: The instruments could not be read.
        """
        instruments = self._fetch_instruments()
        instrument = instruments.get(goal.symbol)
        if instrument is None:
            text = describe_unknown_symbol(goal.symbol, self._futures.exchange, instruments)
            return Violation("not_listed", text)
        text_or_none = describe_limit_violation(goal.leverage, instrument)
        return None if text_or_none is None else Violation("limits", text_or_none)

    def _fetch_instruments(self) -> dict[str, Instrument]:
        """Read the instruments once. If that failed, raise the same error again."""
        if self._instruments_error is not None:
            raise self._instruments_error
        if self._instruments is None:
            try:
                self._instruments = self._futures.get_instruments()
            except CoinSwitchError as error:
                self._instruments_error = error
                raise
        return self._instruments

    def fetch_all_positions(self) -> CoinSwitchError | None:
        """Read the positions of the account with one request, and keep them. Return the error, if there is one."""
        try:
            self.positions = [_to_position(row) for row in self._futures.get_positions()]
        except CoinSwitchError as error:
            self._can_list_all_positions = not error.is_from_api
            self.positions_error = error
            return error
        self.positions_error = None
        return None

    def get_positions(self, symbol: str) -> list[Row] | None:
        """Return the positions of a symbol that were read. None if they are not known."""
        if self.positions is None:
            return None
        return [_remove_symbol(row) for row in self.positions if row["symbol"] == symbol]

    def fetch_blockers(self, symbols: list[str], refresh: bool) -> dict[str, list[Row]]:
        """Read what blocks a change of the symbols, and return it by symbol. Add a warning for what cannot be read.

        Args:
            symbols: The symbols.
            refresh: Whether to read the positions again, because a write was refused after they were read.
        """
        if self.positions is None or refresh:
            self._read(("open positions", "open orders"), symbols, lambda: self._fetch_positions(symbols))
        positions = [row for row in self.positions or [] if row["symbol"] in symbols]
        orders: list[Row] = []
        with_position = {row["symbol"] for row in positions}
        self._read(("open orders",), symbols, lambda: self._fetch_orders(symbols, with_position, orders))
        found: dict[str, list[Row]] = {symbol: [] for symbol in symbols}
        for row in [*positions, *orders]:
            if row["symbol"] in found:
                found[row["symbol"]].append(_remove_symbol(row))
        return found

    def _read(self, names: tuple[str, ...], symbols: list[str], read: Any) -> None:
        """Call `read`. Add a warning if it fails. After an error that ends everything, read nothing more."""
        if self._stopped_by is not None:
            return
        try:
            read()
        except CoinSwitchError as error:
            self._stopped_by = error if error.ends is Ends.ALL else None
            unread = " and ".join(names if self._stopped_by else names[:1])
            self.warnings.append(
                f"{', '.join(symbols)}: {unread} could not be read, so it is not known whether they block a change. "
                f"{error}"
            )

    def _fetch_positions(self, symbols: list[str]) -> None:
        """Read the open positions of the symbols. Use one request for all if the exchange allows that."""
        if self._can_list_all_positions and (self._has_several_symbols or len(symbols) > 1):
            error = self.fetch_all_positions()
            if error is None:
                return
            if self._can_list_all_positions:
                raise error
        others = [row for row in self.positions or [] if row["symbol"] not in symbols]
        read: list[Row] = []
        for symbol in symbols:
            read += [_to_position(row) for row in self._futures.get_positions(symbol)]
        self.positions = others + read
        self.positions_error = None

    def _fetch_orders(self, symbols: list[str], with_position: set[str], found: list[Row]) -> None:
        """Add the open orders to `found`: of the last seven days, then older ones until each symbol has a blocker."""
        symbol_or_all = None if self._has_several_symbols or len(symbols) > 1 else symbols[0]
        unexplained = set(symbols) - with_position
        recent = self._futures.client.now_ms() - RECENT_MS
        seen: set[str] = set()
        for start, end in ((recent, None), (recent + RECENT_MS - ORDERS_SPAN_MS, recent)):
            for page in self._futures.get_open_orders(start, end, symbol_or_all):
                new_orders = [order for order in map(_to_order, page) if _is_new(order, seen)]
                found += new_orders
                unexplained -= {row["symbol"] for row in new_orders}
                if end is not None and not unexplained:
                    return
            if not unexplained:
                return


def _is_new(order: Row, seen: set[str]) -> bool:
    """Return whether an order was not seen yet, and remember it. The two periods can overlap."""
    identity = json.dumps(order, default=str, sort_keys=True)
    if identity in seen:
        return False
    seen.add(identity)
    return True


def _to_position(row: Row) -> Row:
    return {
        "symbol": row["symbol"],
        "kind": "position",
        "position_id": row.get("position_id"),
        "side": row.get("position_side"),
        "size": row.get("position_size"),
        "mark_price": row.get("mark_price"),
    }


def _to_order(row: Row) -> Row:
    return {
        "symbol": row["symbol"],
        "kind": "order",
        "order_id": row.get("order_id"),
        "side": row.get("side"),
        "quantity": row.get("quantity"),
        "price": row.get("price"),
        "order_type": row.get("order_type"),
    }


def _remove_symbol(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "symbol"}


def describe_blockers(blockers: Iterable[Row]) -> str:
    """Return two sentences: what blocks the change, and what to do about it."""
    rows = list(blockers)
    positions = [to_one_line(f"{row['side']} {row['size']}") for row in rows if row["kind"] == "position"]
    orders = [_describe_order(row) for row in rows if row["kind"] == "order"]
    groups = [("open position", positions), ("open order", orders)]
    found = " and ".join(_list_items(name, items) for name, items in groups if items)
    actions = [
        action for action, items in zip(("close the position", "cancel the orders"), (positions, orders)) if items
    ]
    verb = "blocks" if len(rows) == 1 else "block"
    return f"{_capitalize(found)} {verb} the change. {_capitalize(' and '.join(actions))} first."


def _describe_order(row: Row) -> str:
    """Return an order such as `BUY 0.01 at 1000, ID 5f3a`. Orders that close a position can have no quantity."""
    quantity = row["quantity"] if to_decimal(row["quantity"]) else row["order_type"]
    price = f" at {row['price']}" if to_decimal(row["price"]) else ""
    return to_one_line(f"{row['side']} {quantity}{price}, ID {row['order_id']}")


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def _list_items(name: str, items: list[str]) -> str:
    more = f"; and {len(items) - _MAX_NAMED} more" if len(items) > _MAX_NAMED else ""
    count = f"an {name}" if len(items) == 1 else f"{len(items)} {name}s"
    return f"{count} ({'; '.join(items[:_MAX_NAMED])}{more})"
