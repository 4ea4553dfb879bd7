# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of an account that explain a refusal: the limits of the symbols, open positions and open orders.

The text of a response is never interpreted. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

from typing import Any, Dict, Iterable, NamedTuple, Sequence

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import futures as api
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import CoinSwitchError, Ends
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import Violation
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import Goal
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.symbols import describe_unknown_symbol

# An older order also blocks a change, but each week costs a request.
WEEKS_OF_ORDERS = 5
ORDERS_SPAN_MS = api.RECENT_MS + (WEEKS_OF_ORDERS - 1) * api.MAX_SPAN_MS

# The fields of a blocker, with their names in the response.
_POSITION = {"position_id": "position_id", "side": "position_side", "size": "position_size", "mark_price": "mark_price"}
_ORDER = {name: name for name in ("order_id", "side", "quantity", "price", "order_type")}

POSITIONS_AND_ORDERS = "open positions and open orders"

Row = Dict[str, Any]


class Search(NamedTuple):
    """What a search for blockers found.

    Attributes:
        blockers: The positions and orders by symbol, positions first.
        not_read: The symbols whose positions or orders could not be read.
        error: Why they could not be read.
    """

    blockers: dict[str, list[Row]]
    not_read: set[str]
    error: CoinSwitchError | None = None


class AccountFacts:
    """Reads the facts of one account, each only when it is needed.

    Args:
        futures: The endpoints of the account.
        symbols: The symbols of the task.
        has_several_symbols: Whether the task has several symbols. If so, one request covers the whole account, if the
            exchange allows that.

    Attributes:
        positions: The open positions, as blockers, of each symbol whose positions were read. So a symbol that is
            missing can have positions.
        positions_error: Why the positions of the whole account could not be read.
        warnings: What could not be read.
    """

    def __init__(self, futures: api.Futures, symbols: Sequence[str], has_several_symbols: bool = False) -> None:
        self._futures = futures
        self._symbols = symbols
        self._has_several_symbols = has_several_symbols
        self._can_list_all_positions = True
        self._instruments: dict[str, api.Instrument] | CoinSwitchError | None = None
        self.positions: dict[str, list[Row]] = {}
        self.positions_error: CoinSwitchError | None = None
        self.warnings: list[str] = []

    def find_violation(self, goal: Goal) -> Violation | None:
        """Return why the exchange would never accept a desired leverage, or None. Read the instruments once.

        Raises:
            CoinSwitchError: The instruments could not be read.
        """
        instruments = self._fetch_instruments()
        if goal.symbol not in instruments:
            unknown = describe_unknown_symbol(goal.symbol, self._futures.exchange, instruments)
            return Violation("not_listed", unknown)
        text = describe_limit_violation(goal.leverage, instruments[goal.symbol])
        return Violation("limits", text) if text else None

    def _fetch_instruments(self) -> dict[str, api.Instrument]:
        """Read the instruments once. If that failed, raise the same error again."""
        if self._instruments is None:
            try:
                self._instruments = self._futures.get_instruments()
            except CoinSwitchError as error:
                self._instruments = error
        if isinstance(self._instruments, CoinSwitchError):
            raise self._instruments
        return self._instruments

    def fetch_all_positions(self) -> CoinSwitchError | None:
        """Read the positions of the account with one request, and keep them. Return the error, if there is one."""
        try:
            found = _group_positions(self._futures.get_positions())
        except CoinSwitchError as error:
            # Refused keys say nothing about this request.
            self._can_list_all_positions = not error.is_from_api or error.ends is Ends.ALL
            self.positions_error = error
            return error
        self.positions = {symbol: found.get(symbol, []) for symbol in self._symbols}
        self.positions_error = None
        return None

    def search(self, symbols: list[str], refresh: bool) -> Search:
        """Read what blocks a change of the symbols. Add a warning for what cannot be read.

        Args:
            symbols: The symbols.
            refresh: Whether to read the positions again, because a write was refused after they were read.
        """
        if refresh:
            # An old position must not explain a new refusal.
            self.positions = {symbol: rows for symbol, rows in self.positions.items() if symbol not in symbols}
        error = self._fetch_positions([symbol for symbol in symbols if symbol not in self.positions])
        not_read = [symbol for symbol in symbols if symbol not in self.positions]
        if error is not None and error.ends is Ends.ALL:
            self.warn(symbols, POSITIONS_AND_ORDERS, error)
            return Search({symbol: self.positions.get(symbol, []) for symbol in symbols}, set(symbols), error)
        if error is not None:
            self.warn(not_read, "open positions", error)
        orders: dict[str, dict[str, Row]] = {symbol: {} for symbol in symbols}
        try:
            self._fetch_orders(orders, {symbol for symbol in symbols if not self.positions.get(symbol)})
        except CoinSwitchError as failure:
            self.warn(symbols, "open orders", failure)
            not_read, error = symbols, failure
        found = {symbol: [*self.positions.get(symbol, []), *orders[symbol].values()] for symbol in symbols}
        return Search(found, set(not_read), error)

    def warn(self, symbols: list[str], what: str, error: CoinSwitchError) -> None:
        """Add a warning about what could not be read."""
        self.warnings.append(
            f"{', '.join(symbols)}: {what} could not be read, so it is not known whether they block a change. {error}"
        )

    def _fetch_positions(self, symbols: list[str]) -> CoinSwitchError | None:
        """Read the open positions of the symbols. Use one request for all if the exchange allows that.

        Return the error after which the rest was not read, if there is one.
        """
        if self._can_list_all_positions and symbols and (self._has_several_symbols or len(symbols) > 1):
            error = self.fetch_all_positions()
            if error is None or self._can_list_all_positions:
                return error
        try:
            for symbol in symbols:
                self.positions[symbol] = _group_positions(self._futures.get_positions(symbol)).get(symbol, [])
        except CoinSwitchError as error:
            return error
        return None

    def _fetch_orders(self, found: dict[str, dict[str, Row]], unexplained: set[str]) -> None:
        """Add the open orders of the last seven days, then older ones until each symbol has a blocker.

        Args:
            found: For each symbol, the orders by their ID, because the two periods can overlap.
            unexplained: The symbols without a position.
        """
        symbol_or_all = None if self._has_several_symbols or len(found) > 1 else next(iter(found))
        recent = self._futures.client.now_ms() - api.RECENT_MS
        for start, end in ((recent, None), (recent + api.RECENT_MS - ORDERS_SPAN_MS, recent)):
            for page in self._futures.get_open_orders(start, end, symbol_or_all):
                for row in page:
                    if row["symbol"] in found:
                        found[row["symbol"]][api.get_order_id(row)] = _to_blocker("order", _ORDER, row)
                if end is not None and all(found[symbol] for symbol in unexplained):
                    return
            if all(found[symbol] for symbol in unexplained):
                return


def describe_limit_violation(leverage: int, limits: api.Instrument) -> str | None:
    """Return why the limits of the symbol do not allow a write of a leverage, or None if they allow it.

    Args:
        leverage: The desired leverage.
        limits: The symbol with its limits.
    """
    minimum, maximum, step = limits.min_leverage, limits.max_leverage, limits.leverage_step or 1
    if minimum is None:
        minimum = 1
    if minimum <= leverage <= (leverage if maximum is None else maximum) and (leverage - minimum) % step == 0:
        return None
    bounds = f"{minimum} or more" if maximum is None else f"{minimum} to {maximum}"
    steps = "" if step == 1 else f" in steps of {step}"
    return f"The exchange allows {bounds}{steps} for this symbol."


def _group_positions(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the positions of a response as blockers, by symbol."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["symbol"], []).append(_to_blocker("position", _POSITION, row))
    return found


def _to_blocker(kind: str, fields: dict[str, str], row: Row) -> Row:
    return {"kind": kind, **{name: row.get(field) for name, field in fields.items()}}
