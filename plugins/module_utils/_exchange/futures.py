# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The futures endpoints of the API as typed methods. Paths, limits and fields come from the API reference.

If a response differs from the reference, the methods raise Unexpected. docs/api.md lists each fact that this file
relies on, with its source. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any, Dict, Iterator, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import endpoints, errors
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.client import Client, find_message
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Unexpected
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import to_decimal, to_int, to_one_line

# Open Orders: the maximum number of orders in one response, and the longest period of one request.
ORDERS_PER_PAGE = 50
DAY_MS = 24 * 60 * 60 * 1000
MAX_SPAN_MS = 7 * DAY_MS
_OVERLAP_MS = 5 * 60 * 1000
# A request without a period covers at least this time, even if the clocks differ. The other half of the overlap allows
# for the time between the calculation of the caller and the response.
RECENT_MS = MAX_SPAN_MS - _OVERLAP_MS
# If the exchange includes `to_time`, orders of the same millisecond can repeat a page this often.
_MAX_REPEATED_PAGES = 2

Row = Dict[str, Any]


class Instrument(NamedTuple):
    """A symbol with the limits of its leverage (Get Instrument Info).

    A limit that is a fraction is rounded to what it allows. A limit that is no number is None.

    Attributes:
        fields: All fields of the response, unchanged.
    """

    symbol: str
    min_leverage: int | None
    max_leverage: int | None
    leverage_step: int | None
    fields: dict[str, Any]


class Futures:
    """The endpoints for one account and one exchange identifier, such as `EXCHANGE_2`."""

    def __init__(self, client: Client, exchange: str) -> None:
        self.client = client
        self.exchange = exchange

    def get_leverage(self, symbol: str) -> int:
        """Return the current leverage (Get Leverage).

        Raises:
            NotConfigured: The exchange returns no leverage: the API refuses the request, or there is no value but zero.
            Unexpected: The response is not about this symbol, or its leverage is not a whole number.
        """
        try:
            value = self.client.request(endpoints.READ_LEVERAGE, {"symbol": symbol, "exchange": self.exchange})
        except errors.Refused as error:
            if error.is_from_api and (error.status or 0) >= 400:
                raise errors.NotConfigured(str(error), error.status, error.exchange_message) from None
            raise
        data = _get_data(value)
        if _is_empty(data) or (self._is_about(data, symbol) and _is_empty(data.get("leverage"))):
            text = f"The exchange returned no leverage: {_quote_response(value)}."
            raise errors.NotConfigured(text, self.client.status, _describe_response(value))
        leverage = self._find_leverage(data, symbol)
        if leverage is None:
            raise Unexpected(
                f"The response for {symbol} contains no leverage of this symbol: {_quote_response(value)}."
            )
        return leverage

    def set_leverage(self, symbol: str, leverage: int) -> None:
        """Write a leverage once (Update Leverage). Raise Unconfirmed if the response does not repeat it."""
        body = {"symbol": symbol, "exchange": self.exchange, "leverage": leverage}
        value = self.client.request(endpoints.WRITE_LEVERAGE, body=body)
        data = value.get("data") if isinstance(value, dict) else None
        if self._find_leverage(data, symbol) != leverage:
            has_message = find_message(value) is not None
            status = self.client.status
            is_refusal = status == 200 and has_message and data is None
            raise errors.Unconfirmed(_describe_response(value), status, has_message, is_refusal)

    def get_instruments(self) -> dict[str, Instrument]:
        """Return all instruments by their symbols (Get Instrument Info)."""
        data = _get_data(self.client.request(endpoints.INSTRUMENTS, {"exchange": self.exchange}))
        if not isinstance(data, dict):
            raise Unexpected(f"The response contains no instruments: {_quote_response(data)}")
        return {symbol.upper(): _to_instrument(symbol.upper(), fields) for symbol, fields in data.items()}

    def get_positions(self, symbol: str | None = None) -> list[Row]:
        """Return the open positions of one symbol, or of all symbols if the exchange allows that (Get Positions)."""
        params = {"exchange": self.exchange}
        if symbol is not None:
            params["symbol"] = symbol
        rows = _get_rows(_get_data(self.client.request(endpoints.POSITIONS, params)), "positions")
        # A size that cannot be parsed counts as open, because it can block a change.
        return [row for row in rows if to_decimal(row.get("position_size")) != 0 and symbol in (None, row["symbol"])]

    def get_open_orders(
        self, from_time: int, to_time: int | None = None, symbol: str | None = None
    ) -> Iterator[list[Row]]:
        """Yield the open orders, one list for each page, newest first (Open Orders). No order is repeated.

        Every order that the exchange lists is open, even if its time is outside the period. The times are used only to
        request the next page.

        Args:
            from_time: The start of the period, in Unix milliseconds.
            to_time: The end of the period, in Unix milliseconds. None: now.
            symbol: One symbol, or None for all.

        Raises:
            Unexpected: Orders may be missing.
        """
        seen_ids: set[str] = set()
        repeated_pages = 0
        end = to_time
        while end is None or end > from_time:
            period = {} if end is None else {"from_time": max(from_time, end - MAX_SPAN_MS), "to_time": end}
            rows, cursor = self.get_orders_page(period, symbol)
            now = self.client.now_ms()
            # Without a period, the exchange returns the orders of the last seven days by its own clock.
            start = now - RECENT_MS - _OVERLAP_MS // 2 if end is None else end - MAX_SPAN_MS
            latest = now + _OVERLAP_MS if end is None else end
            new_rows = {get_order_id(row): row for row in rows if get_order_id(row) not in seen_ids}
            seen_ids.update(new_rows)
            yield [row for row in new_rows.values() if symbol in (None, row["symbol"])]
            is_full = len(rows) >= ORDERS_PER_PAGE
            repeated_pages = repeated_pages + 1 if is_full and not new_rows else 0
            if repeated_pages > _MAX_REPEATED_PAGES:
                raise Unexpected(
                    "The exchange repeats a full page of open orders, so orders may be missing. Read one symbol at a "
                    "time."
                )
            end = _get_next_end(rows, cursor, start, latest) if is_full else start

    def get_orders_page(self, period: Mapping[str, int], symbol: str | None = None) -> tuple[list[Row], int | None]:
        """Return one page of open orders, and its cursor if it has one (Open Orders).

        Args:
            period: The parameters `from_time` and `to_time`. Empty for the last seven days.
            symbol: One symbol, or None for all.
        """
        body: dict[str, Any] = {"exchange": self.exchange, "limit": ORDERS_PER_PAGE, **period}
        if symbol is not None:
            body["symbol"] = symbol
        value = self.client.request(endpoints.OPEN_ORDERS, body=body)
        data = _get_data(value) if value != {} else None
        page, cursor = (data.get("orders"), to_int(data.get("cursor"))) if isinstance(data, dict) else (data, None)
        rows = _get_rows(page, "orders")
        if len(rows) > ORDERS_PER_PAGE:
            raise Unexpected(
                f"The response contains {len(rows)} open orders, but the request asked for at most "
                f"{ORDERS_PER_PAGE}. Check api_url and the proxy."
            )
        return rows, cursor

    def get_wallet(self) -> tuple[list[Row], list[Row]]:
        """Return the balances of each base asset, and the margins of each symbol (Wallet Balance)."""
        data = _get_data(self.client.request(endpoints.WALLET))
        if data is None or data == []:
            return [], []
        if not isinstance(data, dict):
            raise Unexpected(f"The response contains no wallet: {_quote_response(data)}")
        balances = _get_objects(data.get("base_asset_balances"), "balances", "base_asset")
        return balances, _get_rows(data.get("asset"), "assets")

    def get_server_time(self) -> int:
        """Return the time of the exchange in Unix milliseconds (Server time)."""
        value = self.client.request(endpoints.TIME)
        time = to_int(value.get("serverTime")) if isinstance(value, dict) else None
        if time is None:
            raise Unexpected(f"The response contains no time: {_quote_response(value)}")
        return time

    def validate_keys(self) -> None:
        """Check the keys (Validate keys). Raise KeysRefused if the exchange refuses them."""
        value = self.client.request(endpoints.VALIDATE)
        if not isinstance(value, dict):
            raise Unexpected(f"The response does not show whether the keys are valid: {_quote_response(value)}")

    def _is_about(self, data: Any, symbol: str) -> bool:
        """Return whether an object is about this symbol and this exchange."""
        return (
            isinstance(data, dict)
            and str(data.get("symbol")).upper() == symbol
            and str(data.get("exchange", self.exchange)).upper() == self.exchange
        )

    def _find_leverage(self, data: Any, symbol: str) -> int | None:
        """Return the leverage in a response. None if the response is not for this symbol and this exchange."""
        leverage = to_int(data.get("leverage")) if self._is_about(data, symbol) else None
        return leverage if leverage and leverage > 0 else None


def _is_empty(value: Any) -> bool:
    """Return whether a value is null, zero, empty text, or an object with only such values."""
    if isinstance(value, dict):
        return all(map(_is_empty, value.values()))
    return value is None or value == "" or (not isinstance(value, bool) and to_decimal(value) == 0)


def get_order_id(order: Row) -> str:
    """Return what makes an order unique: its ID, or its content if it has none."""
    return str(order.get("order_id") or order)


def _get_next_end(rows: list[Row], cursor: int | None, start: int, end: int) -> int:
    """Return the `to_time` of the next page. It is always earlier than `end`.

    The next page ends at the cursor or at the oldest row. The later of the two is used, so that a wrong value skips no
    order. A time outside the period is ignored: it can be in seconds, or in the far future. It is not known whether the
    exchange includes `to_time` itself (`orders_to_time` in docs/api.md), so 1 ms is added.

    Args:
        rows: The rows of a full page.
        cursor: The cursor of the page, if it has one.
        start: The start of the period of the page, in Unix milliseconds.
        end: The end of the period of the page, in Unix milliseconds.
    """
    times = [to_int(row.get("created_at")) for row in rows]
    oldest = min((time for time in times if time is not None and start <= time <= end), default=None)
    candidates = [time for time in (oldest, cursor) if time is not None and start <= time <= end]
    if not candidates:
        raise Unexpected(
            "A full page of open orders has neither a cursor nor a usable time, so orders may be missing. Read one "
            "symbol at a time."
        )
    return min(max(candidates) + 1, end - 1)


def _to_instrument(symbol: str, fields: Any) -> Instrument:
    if not isinstance(fields, dict):
        raise Unexpected(f"The entry for instrument {to_one_line(symbol)} is not an object: {_quote_response(fields)}")
    names = ("min_leverage", "max_leverage", "leverage_step")
    minimum, maximum, step = (to_decimal(fields.get(name)) for name in names)
    return Instrument(
        symbol,
        None if minimum is None else math.ceil(minimum),
        None if maximum is None else math.floor(maximum),
        _to_whole_step(step),
        fields,
    )


def _to_whole_step(step: Decimal | None) -> int | None:
    """Return the step between whole numbers: 1 for a fraction such as 0.01 that divides 1. None if it is not known."""
    if step is None or step <= 0:
        return None
    if step == int(step):
        return int(step)
    steps_in_one = 1 / step
    return 1 if steps_in_one == steps_in_one.to_integral_value() else None


def _get_data(value: Any) -> Any:
    """Return the `data` of a response. None if there is nothing to return: it is null, or there is only a message."""
    if isinstance(value, dict) and ("data" in value or find_message(value) is not None):
        return value.get("data")
    raise Unexpected(f"The response contains no data: {_quote_response(value)}")


def _get_rows(value: Any, name: str) -> list[Row]:
    """Return the rows of a list, with symbols in upper case. Null counts as an empty list."""
    return [{**row, "symbol": str(row["symbol"]).upper()} for row in _get_objects(value, name, "symbol")]


def _get_objects(value: Any, name: str, key: str) -> list[Row]:
    """Return the rows of a list, each with `key`. Null counts as an empty list. `name` is for the message."""
    rows = [] if value is None else value
    if not isinstance(rows, list) or not all(isinstance(row, dict) and key in row for row in rows):
        raise Unexpected(f"The response contains no list of {name}: {_quote_response(value)}")
    return rows


def _describe_response(value: Any) -> str:
    """Return the message of a response on one line. Without a message, return its JSON."""
    message = find_message(value)
    return to_one_line(json.dumps(value, ensure_ascii=False, default=float) if message is None else message)


def _quote_response(value: Any) -> str:
    return f'"{_describe_response(value)}"'
