# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find what prevents a change of leverage: the limits of the symbol, open positions and open orders.

They are read only in check mode and after a refusal. The text of an answer is never interpreted. Private to this
collection: anything here may change in any release.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Iterator, Mapping, NamedTuple, TypeVar

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.client import to_one_line
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    CoinSwitchError,
    KeysRefused,
    Refused,
    Unreachable,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import (
    MAX_SPAN_MS,
    RECENT_MS,
    Futures,
)

# Open orders of five weeks are read. An older order also blocks a change, but each week costs a request.
ORDERS_SPAN_MS = RECENT_MS + 4 * MAX_SPAN_MS
_MAX_NAMED = 5
_READ_NAMES = ("the limits", "open positions", "open orders")

_T = TypeVar("_T")
Row = Dict[str, Any]


class Explanation(NamedTuple):
    """Why the leverage of a symbol cannot be changed.

    Attributes:
        reason: The reason, for the message.
        blockers: The positions and orders. Empty if the limits do not allow the desired leverage.
    """

    reason: str
    blockers: list[Row]


class BlockerFinder:
    """Reads the positions and orders of one account.

    After refused keys or a lost connection, nothing more is read, and one warning names everything that was not read.

    Args:
        futures: The endpoints of the account.
        has_several_symbols: Whether the task has several symbols. If so, each request covers the whole account if the
            exchange allows that, and its rows are kept. The next blocked symbol then usually needs no request.

    Attributes:
        warnings: What could not be read.
    """

    def __init__(self, futures: Futures, has_several_symbols: bool = False) -> None:
        self._futures = futures
        self._has_several_symbols = has_several_symbols
        self._can_list_all_positions = True
        self._known_blockers: list[Row] = []
        self._stopped = False
        self.warnings: list[str] = []

    def find(self, symbols: list[str], describe_limit_violation: Callable[[str], Any]) -> Mapping[str, Explanation]:
        """Return why the leverage of each symbol cannot be changed. Symbols without a blocker are left out.

        Args:
            symbols: The symbols.
            describe_limit_violation: Returns why the limits of a symbol do not allow its desired leverage, or None.
        """
        reasons = dict(
            self._read(_READ_NAMES, symbols, ((symbol, describe_limit_violation(symbol)) for symbol in symbols))
        )
        found = {symbol: Explanation(reason, []) for symbol, reason in reasons.items() if reason}
        unexplained = [symbol for symbol in symbols if symbol not in found]
        if not unexplained:
            return found
        blockers = self._known_blockers
        if not set(unexplained) <= {row["symbol"] for row in blockers}:
            blockers = self._read(_READ_NAMES[1:], unexplained, self._read_positions(unexplained))
            blockers += self._read(
                _READ_NAMES[2:], unexplained, self._read_orders(unexplained, {row["symbol"] for row in blockers})
            )
            self._known_blockers = blockers
        for symbol in unexplained:
            symbol_blockers = [_remove_symbol(row) for row in blockers if row["symbol"] == symbol]
            if symbol_blockers:
                found[symbol] = Explanation(_describe_blockers(symbol_blockers), symbol_blockers)
        return found

    def _read(self, names: tuple[str, ...], symbols: list[str], items: Iterable[_T]) -> list[_T]:
        """Return the items that can be read. Add a warning if an error ends the iteration.

        Args:
            names: For the warning: the name of the items, then the names of what is read after them.
            symbols: The symbols, for the warning.
            items: The items. The iteration sends the requests.
        """
        found: list[_T] = []
        if self._stopped:
            return found
        try:
            # `extend` adds the items one by one, so an error does not lose those that were read before.
            found.extend(items)
        except CoinSwitchError as error:
            self._stopped = isinstance(error, (KeysRefused, Unreachable))
            unread = " and ".join(names if self._stopped else names[:1])
            self.warnings.append(
                f"{', '.join(symbols)}: {unread} could not be read, so it is not known whether they block a change: "
                f"{error}"
            )
        return found

    def _read_positions(self, symbols: list[str]) -> Iterator[Row]:
        """Yield the open positions of the symbols. Use one request for all if the exchange allows that."""
        if self._can_list_all_positions and (self._has_several_symbols or len(symbols) > 1):
            try:
                yield from [_to_position_row(row) for row in self._futures.get_positions()]
            except Refused:
                self._can_list_all_positions = False
            else:
                return
        for symbol in symbols:
            yield from [_to_position_row(row) for row in self._futures.get_positions(symbol)]

    def _read_orders(self, symbols: list[str], with_position: set[str]) -> Iterator[Row]:
        """Yield the open orders: first of the last seven days, then older ones until each symbol has a blocker."""
        symbol_or_all = None if self._has_several_symbols or len(symbols) > 1 else symbols[0]
        unexplained = set(symbols) - with_position
        recent = self._futures.client.now_ms() - RECENT_MS
        read_rows: list[Row] = []
        for start, end in ((recent, None), (recent + RECENT_MS - ORDERS_SPAN_MS, recent)):
            for page in self._futures.get_open_orders(start, end, symbol_or_all):
                new_orders = [_to_order_row(row) for row in page if row not in read_rows]
                read_rows += page
                yield from new_orders
                unexplained -= {row["symbol"] for row in new_orders}
                if end is not None and not unexplained:
                    return
            if not unexplained:
                return


def _to_position_row(row: Row) -> Row:
    return {
        "symbol": row["symbol"],
        "kind": "position",
        "position_id": row.get("position_id"),
        "side": row.get("position_side"),
        "size": row.get("position_size"),
    }


def _to_order_row(row: Row) -> Row:
    return {
        "symbol": row["symbol"],
        "kind": "order",
        "order_id": row.get("order_id"),
        "side": row.get("side"),
        "quantity": row.get("quantity"),
    }


def _remove_symbol(row: Row) -> Row:
    return {name: value for name, value in row.items() if name != "symbol"}


def _describe_blockers(blockers: list[Row]) -> str:
    """Return the message: what blocks the change, and what to do about it."""
    positions = [to_one_line(f"{row['side']} {row['size']}") for row in blockers if row["kind"] == "position"]
    orders = [to_one_line(str(row["order_id"])) for row in blockers if row["kind"] == "order"]
    groups = [("open position", positions), ("open order", orders)]
    found = " and ".join(_list_items(name, items) for name, items in groups if items)
    actions = " and ".join(
        action for action, items in zip(("close the position", "cancel the orders"), (positions, orders)) if items
    )
    return f"blocked by {found}; {actions} first"


def _list_items(name: str, items: list[str]) -> str:
    more = f" and {len(items) - _MAX_NAMED} more" if len(items) > _MAX_NAMED else ""
    count = f"an {name}" if len(items) == 1 else f"{len(items)} {name}s"
    return f"{count} ({', '.join(items[:_MAX_NAMED])}{more})"
