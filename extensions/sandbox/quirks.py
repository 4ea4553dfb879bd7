# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open questions about the API. Each quirk is one question, and its values are the possible readings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Quirks:
    """How the exchange behaves where its documentation says nothing or contradicts itself.

    A number is the HTTP status of a response that holds only `message`.
    The readings "message" and "200" are such responses with status 200.

    Attributes:
        blocked_answer: The response to a write while the symbol has an open position or order.
        limit_answer: The response to a write outside the limits or off the step. "clamp" sets and returns the nearest
            allowed leverage, rounded down to the step.
        same_value: The response to a write of the current leverage.
        unset_leverage: The response to a read of a symbol that was never configured. "default" returns 10, or the value
            closest to 10 within the limits. "null" returns a message and `data`: null. "zero", "zero-number", "blank"
            and "leverage-null" return the leverage "0", 0, "" and null. "empty-fields" returns "" in each field, and
            "empty-object" returns an empty `data`.
        unknown_symbol: The response to a request for an unknown symbol.
        empty_orders: The list of orders if no order is open: `[]`, null, or no `data`.
        flat_positions: The response if no position is open: a message without `data`, or `[]`.
        positions_without_symbol: The response to a request for positions without a symbol.
        positions_other_symbols: Whether the positions include rows of other symbols than the requested one, and rows of
            size 0.
        orders_to_time: Whether the orders include one that was created exactly at `to_time`.
        orders_period: Whether the orders include only those created between `from_time` and `to_time` (by default, in
            the last 7 days).
        leverage_buckets: Whether reads and writes of the leverage are counted together. Each still has its own limit.
        limit_scope: Which requests are counted together. A new key pair gets a new budget only with "key".
        limit_window: The window of the rate limits: the last 60 s, or one full minute after the other.
        refused_count: Whether a request that is answered with status 429 counts against the limit.
        retry_after: The form of the header Retry-After in a response with status 429. None sends no such header.
        numbers: The form of a leverage: "13", 13 or "13.0".
    """

    blocked_answer: Literal["400", "422", "200"] = "400"
    limit_answer: Literal["400", "422", "200", "clamp"] = "400"
    same_value: Literal["echo", "400", "422", "200"] = "echo"
    # fmt: off
    unset_leverage: Literal[
        "default", "400", "403", "404", "409", "422", "500", "message", "null",
        "zero", "zero-number", "blank", "leverage-null", "empty-fields", "empty-object",
    ] = "default"
    # fmt: on
    unknown_symbol: Literal["400", "404", "422", "message"] = "400"
    empty_orders: Literal["list", "null", "absent"] = "list"
    flat_positions: Literal["message", "list"] = "message"
    positions_without_symbol: Literal["all", "422"] = "all"
    positions_other_symbols: bool = False
    orders_to_time: Literal["exclusive", "inclusive"] = "exclusive"
    orders_period: Literal["limits", "ignored"] = "limits"
    leverage_buckets: Literal["apart", "shared"] = "apart"
    limit_scope: Literal["key", "account", "address"] = "key"
    limit_window: Literal["sliding", "fixed"] = "sliding"
    refused_count: bool = False
    retry_after: Literal["seconds", "date", None] = None
    numbers: Literal["text", "number", "decimal"] = "text"
