# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nobody outside the vendor knows: each question with its possible readings, the first of them the default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Quirks:
    """How the exchange behaves where its documentation is silent or contradicted.

    A number is the status of a refusal that says only `message`; "message" and "200" are such answers with status 200.
    """

    blocked_answer: Literal["400", "422", "200"] = "400"
    """Setting a leverage while a position or an order is open."""
    limit_answer: Literal["400", "422", "200", "clamp"] = "400"
    """Setting a leverage out of range or off its step; "clamp" sets the nearest one below instead and says so."""
    same_value: Literal["echo", "400", "422", "200"] = "echo"
    """Setting the leverage that is in force."""
    unset_leverage: Literal["default", "400", "404", "422", "message", "null"] = "default"
    """Reading the leverage of a symbol that was never configured; the default is 10, or the nearest possible one."""
    unknown_symbol: Literal["400", "404", "422", "message"] = "400"
    """Asking for a symbol that is not listed."""
    empty_orders: Literal["list", "null", "absent"] = "list"
    """Where no order is open: `[]`, null, or no `data`."""
    flat_positions: Literal["message", "list"] = "message"
    """Where no position is open: a message without `data`, or `[]`."""
    positions_without_symbol: Literal["all", "422"] = "all"
    """Asking for positions of no symbol in particular."""
    positions_other_symbols: bool = False
    """Positions hold rows of other symbols than the one asked for, and rows of size 0."""
    orders_to_time: Literal["exclusive", "inclusive"] = "exclusive"
    """Whether an order created at `to_time` itself is among the answered ones."""
    orders_period: Literal["limits", "ignored"] = "limits"
    """Whether an order is listed only if it was created between `from_time` and `to_time` (or in the last 7 days)."""
    leverage_buckets: Literal["apart", "shared"] = "apart"
    """Whether reading and writing leverage spend from one bucket (each is still held against its own limit)."""
    limit_scope: Literal["key", "account", "address"] = "key"
    """Whose requests are counted together. A new key pair has a new budget only with "key"."""
    limit_window: Literal["sliding", "fixed"] = "sliding"
    """Kind of window: the last 60 s, or from one full minute to the next."""
    refused_count: bool = False
    """Whether a request answered 429 counts as spent."""
    retry_after: Literal["seconds", "date"] | None = None
    """Whether 429 has a Retry-After header, and in which of its two forms."""
    numbers: Literal["text", "number", "decimal"] = "text"
    """How a leverage is written: "13", 13 or "13.0"."""
