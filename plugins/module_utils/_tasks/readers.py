# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the results of the info modules, with as few requests as possible.

Each function takes the Futures of the account and the checked options, and returns the Result of the task. A read does
not depend on the context of the task, such as check mode. A symbol is compared with the list of instruments only if its
response does not show whether the symbol exists. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import math
from collections import Counter
from functools import partial
from itertools import chain
from typing import Callable, Mapping, TypeVar

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import client as _client
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import endpoints, errors
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import futures as api
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import Futures, Instrument, Row
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import to_int
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.blockers import ORDERS_SPAN_MS
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.queries import OrdersQuery
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.symbols import describe_unknown_symbol

# A larger difference of the clocks gives a warning. The exchange recommends at most 5 s, and refuses more than 60 s.
RECOMMENDED_SKEW_SECONDS = 5.0

# A time outside these bounds (the years 2001 to 2286) is in seconds or microseconds, and not in milliseconds.
MIN_TIME_MS = 10**12
MAX_TIME_MS = 10**13 - 1

_T = TypeVar("_T")


class _SymbolReader:
    """Reads symbols one by one. An unknown symbol fails the whole task.

    Args:
        futures: The endpoints of the account.
        names: All symbols of the task.
    """

    def __init__(self, futures: Futures, names: list[str]) -> None:
        self._futures = futures
        self._names = names
        self._is_unchecked = True

    def read(self, symbol: str, read_symbol: Callable[[str], _T]) -> _T:
        """Return the result of `read_symbol` for one symbol. The message of an error names the symbol."""
        try:
            return read_symbol(symbol)
        except errors.CoinSwitchError as error:
            if error.ends is not errors.Ends.NOTHING:
                raise
            if isinstance(error, errors.Refused) and error.is_from_api:
                self.check_listed(self._names)
            raise errors.Reworded(f"{symbol}: {error}", error) from None

    def check_listed(self, symbols: list[str]) -> None:
        """Raise CoinSwitchError if the exchange does not list one of the symbols. Only the first call checks this."""
        if not symbols or not self._is_unchecked:
            return
        self._is_unchecked = False
        try:
            listed = self._futures.get_instruments()
        except errors.CoinSwitchError as error:
            if error.ends is not errors.Ends.NOTHING:
                raise
            problem = f"It is not known whether {self._futures.exchange} lists {', '.join(symbols)}."
            raise errors.Reworded(f"{problem} {error}", error) from None
        _check_listed(symbols, listed, self._futures.exchange)

    def check_listed_without_row(self, rows: list[Row]) -> None:
        """Check the symbols without rows: the exchange gives the same response for a flat and for an unknown symbol."""
        symbols_with_rows = {row["symbol"] for row in rows}
        self.check_listed([name for name in self._names if name not in symbols_with_rows])


def _check_listed(symbols: list[str], listed: Mapping[str, Instrument], exchange: str) -> None:
    unknown = [
        f"{symbol}: {describe_unknown_symbol(symbol, exchange, listed)}" for symbol in symbols if symbol not in listed
    ]
    if unknown:
        raise errors.NotListed(" ".join(unknown))


def read_leverages(futures: Futures, names: list[str], _context: object = None) -> Result:
    """Return `leverages`, a row for each symbol. If the exchange returns no leverage, the row has the `reason`."""
    reader = _SymbolReader(futures, names)
    futures.client.pacer.check_max_wait({endpoints.READ_LEVERAGE: len(names)})
    rows: list[Row] = []
    for symbol in names:
        fields = reader.read(symbol, partial(_read_leverage, futures))
        if fields["leverage"] is None:
            reader.check_listed(names)
        rows.append({"symbol": symbol, "exchange": futures.exchange, **fields})
    return Result({"leverages": rows})


def _read_leverage(futures: Futures, symbol: str) -> Row:
    try:
        return {"leverage": futures.get_leverage(symbol)}
    except errors.NotConfigured as error:
        return {"leverage": None, "reason": str(error)}


def read_instruments(futures: Futures, names: list[str] | None, _context: object = None) -> Result:
    """Return `instruments`: those of the symbols in their order, or all."""
    listed = futures.get_instruments()
    if names is not None:
        _check_listed(names, listed, futures.exchange)
    chosen = listed.values() if names is None else [listed[name] for name in names]
    return Result({"instruments": [_to_row(instrument) for instrument in chosen]})


def _to_row(instrument: Instrument) -> Row:
    row = instrument._asdict()
    return {**row.pop("fields"), **row}


def read_positions(futures: Futures, names: list[str], _context: object = None) -> Result:
    """Return `positions`, the open positions of the symbols."""
    reader = _SymbolReader(futures, names)
    rows = _read_all_positions(futures, names)
    if rows is None:
        futures.client.pacer.check_max_wait({endpoints.POSITIONS: len(names)})
        rows = [row for symbol in names for row in reader.read(symbol, futures.get_positions)]
    reader.check_listed_without_row(rows)
    return Result({"positions": rows})


def _read_all_positions(futures: Futures, names: list[str]) -> list[Row] | None:
    """Return the positions of several symbols with one request. None if the exchange refuses such a request."""
    if len(names) == 1:
        return None
    try:
        return [row for row in futures.get_positions() if row["symbol"] in names]
    except errors.Refused:
        return None


def read_orders(futures: Futures, query: OrdersQuery, _context: object = None) -> Result:
    """Return `orders`, the newest first. Without from_time, those of five weeks."""
    names, start, to_time = query
    now = futures.client.now_ms()
    # It is not known whether the exchange includes `to_time` itself. A time in the future means now.
    end = None if to_time is None or to_time >= now else to_time + 1
    if start is None:
        start = now - ORDERS_SPAN_MS if end is None else end - 5 * api.MAX_SPAN_MS
    futures.client.pacer.check_max_wait(
        {endpoints.OPEN_ORDERS: max(1, math.ceil(((end or now) - start) / api.MAX_SPAN_MS))}
    )
    reader = _SymbolReader(futures, names or [])
    if names is not None and len(names) == 1:
        found = reader.read(names[0], lambda symbol: list(chain(*futures.get_open_orders(start, end, symbol))))
    else:
        found = list(chain(*futures.get_open_orders(start, end)))
    requested = [row for row in found if names is None or row["symbol"] in names]
    reader.check_listed_without_row(requested)
    orders = [row for row in requested if _is_within(row, query)]
    return Result({"orders": orders}, warnings=_warn_of_full_milliseconds(found))


def _is_within(row: Row, query: OrdersQuery) -> bool:
    """Return whether an order is in the period. If its time is not in Unix milliseconds, it counts as in the period."""
    created = to_int(row.get("created_at"))
    if created is None or not MIN_TIME_MS <= created <= MAX_TIME_MS:
        return True
    return (query.from_time or MIN_TIME_MS) <= created <= (query.to_time or MAX_TIME_MS)


def _warn_of_full_milliseconds(rows: list[Row]) -> list[str]:
    """Return a warning for each millisecond with a full page of orders: the exchange may not list all of them."""
    times = Counter(to_int(row.get("created_at")) for row in rows)
    return [
        f"{count} of the open orders were created in the same millisecond ({time}), and the exchange returns at most "
        f"{api.ORDERS_PER_PAGE} orders of one millisecond, so orders may be missing. Read one symbol at a time."
        for time, count in times.items()
        if time is not None and count >= api.ORDERS_PER_PAGE
    ]


def read_wallet(futures: Futures, _options: None = None, _context: object = None) -> Result:
    """Return `balances`, a row for each base asset, and `assets`, a row for each symbol with margin."""
    balances, assets = futures.get_wallet()
    return Result({"balances": balances, "assets": assets})


def check_keys(futures: Futures, _options: None = None, _context: object = None) -> Result:
    """Return whether the keys are valid and a pair, and compare the clock of this machine with that of the exchange.

    `clock_offset` and `round_trip` are in seconds. `clock_offset` is positive if this machine is ahead, and None if the
    time of the exchange is not known.
    """
    client = futures.client
    result: Row = {"valid": True, "pair_matches": client.describe_pair().matches}
    try:
        futures.validate_keys()
    except errors.KeysRefused as error:
        result.update(valid=False, reason=str(error))
    # This request is the last one, so that its time does not include the time to connect.
    offset, warnings = _read_clock_offset(futures)
    result.update(clock_offset=offset, round_trip=round(client.timing.received - client.timing.sent, 3))
    return Result(result, warnings=warnings)


def _read_clock_offset(futures: Futures) -> tuple[float | None, list[str]]:
    """Return how many seconds this machine is ahead of the exchange (None: not known), and the warnings."""
    warnings = []
    try:
        exchange_time = futures.get_server_time() / 1000
        offset: float | None = futures.client.timing.midpoint - exchange_time
    except errors.CoinSwitchError as error:
        offset = _client.get_clock_offset(futures.client.timing.date, futures.client.timing.midpoint)
        warnings.append(
            f"The exchange did not return its time, so clock_offset is only accurate to one second. {error}"
        )
    if offset is not None and abs(offset) > RECOMMENDED_SKEW_SECONDS:
        direction = "ahead of" if offset > 0 else "behind"
        warnings.append(
            f"The clock of this machine is {abs(offset):.0f} s {direction} the clock of the exchange, which recommends "
            f"at most {RECOMMENDED_SKEW_SECONDS:.0f} s and accepts at most {_client.MAX_SKEW_SECONDS:.0f} s. "
            "Synchronize the clock (NTP)."
        )
    return None if offset is None else round(offset, 3), warnings
