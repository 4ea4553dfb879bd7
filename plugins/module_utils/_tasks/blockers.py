# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of an account that explain a refusal: the limits of the symbols, open positions and open orders.

The text of a response is never interpreted. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import json
from typing import Any, Dict, Iterable

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import futures as api
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import CoinSwitchError, Ends
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import Violation

# An older order also blocks a change, but each week costs a request.
WEEKS_OF_ORDERS = 5
ORDERS_SPAN_MS = api.RECENT_MS + (WEEKS_OF_ORDERS - 1) * api.MAX_SPAN_MS

# The fields of a blocker, with their names in the response.
_POSITION = {"position_id": "position_id", "side": "position_side", "size": "position_size", "mark_price": "mark_price"}
_ORDER = {name: name for name in ("order_id", "side", "quantity", "price", "order_type")}

Row = Dict[str, Any]


class AccountFacts:
    """Reads the facts of one account, each only when it is needed.

    Args:
        futures: The endpoints of the account.
        has_several_symbols: Whether the task has several symbols. If so, one request covers the whole account, if the
            exchange allows that.

    Attributes:
        positions: The open positions by symbol, as blockers. None if they were not read.
        positions_error: Why the positions could not be read.
        warnings: What could not be read.
    """

    def __init__(self, futures: api.Futures, has_several_symbols: bool = False) -> None:
        self._futures = futures
        self._has_several_symbols = has_several_symbols
        self._can_list_all_positions = True
        self._instruments: dict[str, api.Instrument] | CoinSwitchError | None = None
        self._stopped_by: CoinSwitchError | None = None
        self.positions: dict[str, list[Row]] | None = None
        self.positions_error: CoinSwitchError | None = None
        self.warnings: list[str] = []

    def find_violation(self, goal: policy.Goal) -> Violation | None:
        """Return why the exchange would never accept a desired leverage, or None. Read the instruments once.

        Raises:
            CoinSwitchError: The instruments could not be read.
        """
        instruments = self._fetch_instruments()
        if goal.symbol not in instruments:
            unknown = policy.describe_unknown_symbol(goal.symbol, self._futures.exchange, instruments)
            return Violation("not_listed", unknown)
        text = policy.describe_limit_violation(goal.leverage, instruments[goal.symbol])
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
            self.positions = _group_positions(self._futures.get_positions())
        except CoinSwitchError as error:
            self._can_list_all_positions = not error.is_from_api
            self.positions_error = error
            return error
        self.positions_error = None
        return None

    def get_positions(self, symbol: str) -> list[Row] | None:
        """Return the positions of a symbol that were read. None if they are not known."""
        return None if self.positions is None else self.positions.get(symbol, [])

    def fetch_blockers(self, symbols: list[str], refresh: bool) -> dict[str, list[Row]]:
        """Read what blocks a change of the symbols, and return it by symbol. Add a warning for what cannot be read.

        Args:
            symbols: The symbols.
            refresh: Whether to read the positions again, because a write was refused after they were read.
        """
        if self.positions is None or refresh:
            self._read(("open positions", "open orders"), symbols, lambda: self._fetch_positions(symbols))
        positions = self.positions or {}
        orders: dict[str, dict[str, Row]] = {}
        unexplained = {symbol for symbol in symbols if not positions.get(symbol)}
        self._read(("open orders",), symbols, lambda: self._fetch_orders(symbols, unexplained, orders))
        return {symbol: [*positions.get(symbol, []), *orders.get(symbol, {}).values()] for symbol in symbols}

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
        found = {symbol: _group_positions(self._futures.get_positions(symbol)).get(symbol, []) for symbol in symbols}
        self.positions = {**(self.positions or {}), **found}
        self.positions_error = None

    def _fetch_orders(self, symbols: list[str], unexplained: set[str], found: dict[str, dict[str, Row]]) -> None:
        """Add the open orders of the last seven days to `found`, then older ones until each symbol has a blocker.

        Args:
            symbols: The symbols.
            unexplained: The symbols without a position.
            found: The orders by symbol, then by their content, because the two periods can overlap.
        """
        symbol_or_all = None if self._has_several_symbols or len(symbols) > 1 else symbols[0]
        recent = self._futures.client.now_ms() - api.RECENT_MS
        for start, end in ((recent, None), (recent + api.RECENT_MS - ORDERS_SPAN_MS, recent)):
            for page in self._futures.get_open_orders(start, end, symbol_or_all):
                for row in page:
                    order = _to_blocker("order", _ORDER, row)
                    found.setdefault(row["symbol"], {})[json.dumps(order, default=str, sort_keys=True)] = order
                if end is not None and unexplained <= found.keys():
                    return
            if unexplained <= found.keys():
                return


def _group_positions(rows: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the positions of a response as blockers, by symbol."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row["symbol"], []).append(_to_blocker("position", _POSITION, row))
    return found


def _to_blocker(kind: str, fields: dict[str, str], row: Row) -> Row:
    return {"kind": kind, **{name: row.get(field) for name, field in fields.items()}}
