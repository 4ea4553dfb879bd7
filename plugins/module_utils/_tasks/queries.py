# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the options of the info modules and of api_check before any request.

Like policy.py, this file sends nothing and imports no libraries. Private to this collection: anything here may change
in any release.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import InputRefused
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import to_digits
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.symbols import check_symbol, check_symbols

# The check of the API leaves half of each rate limit to other programs.
MAX_SHARE = 0.5


class OrdersQuery(NamedTuple):
    """Which open orders to read.

    Attributes:
        symbols: The symbols, or None for all.
        from_time: The start of the period, in Unix milliseconds. The period includes it.
        to_time: The end of the period, in Unix milliseconds. The period includes it.
    """

    symbols: list[str] | None
    from_time: int | None
    to_time: int | None


class Trial(NamedTuple):
    """What the check of the API writes.

    Attributes:
        symbol: The symbol to write to. None: write nothing.
        leverage: The leverage to write. None: write only the current leverage.
        is_new: Whether the leverage of the symbol was never set, so that its first write cannot be undone.
    """

    symbol: str | None = None
    leverage: int | None = None
    is_new: bool = False


def read_required_symbols(options: Mapping[str, Any]) -> list[str]:
    """Return the symbols. Raise InputRefused if there are none."""
    if not options["symbols"]:
        raise InputRefused("symbols is empty. Name at least one symbol, such as [BTCUSDT].")
    return check_symbols(options["symbols"])


def read_optional_symbols(options: Mapping[str, Any]) -> list[str] | None:
    """Return the symbols, or None for all. Raise InputRefused for an empty list."""
    if options["symbols"] is None:
        return None
    if not options["symbols"]:
        raise InputRefused("symbols is empty. Name at least one symbol, or leave the option out to get all.")
    return check_symbols(options["symbols"])


def read_orders_query(options: Mapping[str, Any]) -> OrdersQuery:
    """Return which open orders to read. Raise InputRefused if an option is not valid."""
    start, end = (_check_time(name, options[name]) for name in ("from_time", "to_time"))
    if start is not None and end is not None and start > end:
        raise InputRefused(f"from_time ({start}) is later than to_time ({end}). Correct one of them.")
    return OrdersQuery(read_optional_symbols(options), start, end)


def _check_time(name: str, value: Any) -> int | None:
    """Return a time in Unix milliseconds. Raise InputRefused for a time in seconds, which would be in the year 1970."""
    if value is None:
        return None
    if not re.fullmatch(r"[1-9][0-9]{12}", to_digits(value)):
        raise InputRefused(
            f"{name} must be a time in Unix milliseconds: a whole number of 13 digits, such as 1700000000000 (seconds "
            "times 1000)"
        )
    return int(value)


def read_trial(options: Mapping[str, Any]) -> Trial:
    """Return what the check of the API writes. Raise InputRefused if an option is not valid."""
    try:
        share = float(options["rate_limit_share"])
    except (TypeError, ValueError, OverflowError):
        share = MAX_SHARE  # The check of the connection options refuses the value.
    if share > MAX_SHARE:
        raise InputRefused(
            f"rate_limit_share must be at most {MAX_SHARE}. The check leaves half of each limit to other programs."
        )
    name, value, new = options["write_symbol"], options["write_leverage"], options["new_symbol"]
    if name is None and value is not None:
        raise InputRefused("write_leverage needs write_symbol. Name the symbol to write to.")
    if name is not None and new is not None:
        raise InputRefused("write_symbol and new_symbol exclude each other. Run the check once for each.")
    if value is not None and not re.fullmatch("[1-9][0-9]{0,8}", to_digits(value)):
        raise InputRefused("write_leverage must be a whole number from 1 to 999999999, such as 7.")
    if new is not None:
        return Trial(check_symbol(new, "new_symbol"), is_new=True)
    return Trial(None if name is None else check_symbol(name, "write_symbol"), None if value is None else int(value))
