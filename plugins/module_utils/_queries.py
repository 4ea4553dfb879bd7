# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the modules that only read, checked before any request.

Pure, and free of libraries, as _policy is. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import InputRefused


class OrdersQuery(NamedTuple):
    """Which open orders: of these symbols (None: of all), created in this time (Unix ms, both ends included)."""

    symbols: list[str] | None
    from_time: int | None
    to_time: int | None


def read_no_options(_options: Mapping[str, Any]) -> None:
    """A reader without options of its own."""


def read_required_symbols(options: Mapping[str, Any]) -> list[str]:
    """The symbols of a reader that needs at least one. Raises InputRefused."""
    if not options["symbols"]:
        raise InputRefused("symbols is empty: name at least one symbol, such as [BTCUSDT]")
    return _policy.check_symbols(options["symbols"])


def read_optional_symbols(options: Mapping[str, Any]) -> list[str] | None:
    """The symbols, or None for all. An empty list is refused. Raises InputRefused."""
    if options["symbols"] is None:
        return None
    if not options["symbols"]:
        raise InputRefused("symbols is empty: name at least one symbol, or leave the option out to get all")
    return _policy.check_symbols(options["symbols"])


def read_orders_query(options: Mapping[str, Any]) -> OrdersQuery:
    """Which open orders the options ask for. Raises InputRefused."""
    start, end = (_check_time(name, options[name]) for name in ("from_time", "to_time"))
    if start is not None and end is not None and start > end:
        raise InputRefused(f"from_time ({start}) is later than to_time ({end})")
    return OrdersQuery(read_optional_symbols(options), start, end)


def _check_time(name: str, value: Any) -> int | None:
    """Unix milliseconds, as a number or in plain digits. A time in seconds is refused: it would be in 1970."""
    if value is None:
        return None
    digits = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[1-9][0-9]{12}", digits):
        raise InputRefused(
            f"{name} must be Unix milliseconds, a whole number of 13 digits such as 1700000000000 (seconds times 1000)"
        )
    return int(digits)
