# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the policy before any request, and compare a desired leverage with the current one and with the limits.

This file sends nothing and imports no libraries, so that a task with an invalid option fails fast. Private to this
collection: anything here may change in any release.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import InputRefused

EXACT = "exact"
MAXIMUM = "maximum"
FAIL = "fail"
WARN = "warn"

# Much longer than any symbol of the exchange.
MAX_SYMBOL_LENGTH = 40


class DesiredLeverage(NamedTuple):
    """The desired leverage of one symbol."""

    symbol: str
    leverage: int


class Policy(NamedTuple):
    """The policy of a task.

    Attributes:
        entries: The desired leverage of each symbol, in the order of the options.
        enforce: EXACT or MAXIMUM.
        on_blocked: FAIL or WARN.
        single: Whether the task uses the option `symbol`, and not `leverages`.
    """

    entries: list[DesiredLeverage]
    enforce: str = EXACT
    on_blocked: str = FAIL
    single: bool = False


def read_policy(options: Mapping[str, Any]) -> Policy:
    """Return the policy of the options. Raise InputRefused if one of them is not valid."""
    leverages = options["leverages"]
    single = leverages is None
    if single:
        leverages = {options["symbol"]: options["leverage"]}
    if not leverages:
        raise InputRefused("leverages is empty: name at least one symbol and its leverage, such as {BTCUSDT: 10}")
    entries = [
        DesiredLeverage(check_symbol(name, single), _check_leverage(name, value)) for name, value in leverages.items()
    ]
    check_unique([desired.symbol for desired in entries], "leverages")
    return Policy(entries, options["enforce"], options["on_blocked"], single)


def build_empty_result(options: Mapping[str, Any], error: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a task that failed before its first request. Each symbol of a valid policy has a row.

    Args:
        options: The options of the task.
        error: The facts of the failure.
    """
    try:
        entries = read_policy(options).entries
    except InputRefused:
        entries = []
    rows: list[dict[str, Any]] = [
        {
            "symbol": entry.symbol,
            "exchange": str(options["exchange"]).upper(),
            "leverage": None,
            "previous_leverage": None,
            "changed": False,
            "desired_leverage": entry.leverage,
            "outcome": "unknown",
            "cause": error.get("kind"),
            "reason": "The task failed before it sent a request.",
            "blockers": [],
            "positions": None,
        }
        for entry in entries
    ]
    return {"diff": {"before": {}, "after": {}}, "results": rows}


def check_symbol(value: Any, single: bool = True) -> str:
    """Return a symbol in upper case. Raise InputRefused with a suggestion if it is not valid.

    Args:
        value: The value of the option.
        single: Whether the option has one symbol. If so, the message names the option.
    """
    text = str(value)
    if re.fullmatch(f"[A-Za-z0-9]{{1,{MAX_SYMBOL_LENGTH}}}", text):
        return text.upper()
    suggestion = re.sub(r"[^A-Za-z0-9]", "", text.split(":", 1)[0]).upper()
    advice = f"did you mean {suggestion}?" if 0 < len(suggestion) <= MAX_SYMBOL_LENGTH else "write it as BTCUSDT"
    option = "symbol" if single else "the symbol"
    raise InputRefused(
        f"{option} {_format_value(text)} is not a symbol (letters and digits, at most {MAX_SYMBOL_LENGTH}): {advice}"
    )


def check_symbols(values: list[Any]) -> list[str]:
    """Return the symbols in upper case. Raise InputRefused if one is not valid, or is listed twice."""
    names = [check_symbol(value, single=False) for value in values]
    check_unique(names, "symbols")
    return names


def check_unique(names: list[str], option: str) -> None:
    """Raise InputRefused if a symbol is listed twice, for example in upper case and in lower case."""
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise InputRefused(
            f"{option} names {', '.join(duplicates)} more than once (upper case and lower case are the same symbol): "
            "list each symbol once"
        )


def _check_leverage(name: Any, value: Any) -> int:
    """Return the leverage, from a number or from text with plain digits. Raise InputRefused for any other value."""
    digits = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if re.fullmatch(r"[1-9][0-9]{0,8}", digits):
        return int(digits)
    raise InputRefused(
        f"leverage {_format_value(value)} of {_format_value(name)} is not a whole number from 1 to 999999999, such as "
        "10"
    )


def _format_value(value: Any) -> str:
    """Return the value for a message: on one line, and not too long."""
    text = repr(str(value) if isinstance(value, str) else value)
    return text if len(text) <= 80 else text[:80] + "..."


def describe_limit_violation(leverage: int, limits: Any, enforce: str) -> str | None:
    """Return why the limits of the symbol do not allow a leverage, or None if they allow it.

    With MAXIMUM, a leverage above the limit of the symbol is allowed, because no current leverage can exceed it.

    Args:
        leverage: The desired leverage.
        limits: The Instrument of the symbol.
        enforce: EXACT or MAXIMUM.
    """
    minimum, maximum, step = limits.min_leverage, limits.max_leverage, limits.leverage_step or 1
    if minimum is None:
        minimum = 1
    is_above_maximum = maximum is not None and leverage > maximum
    if (is_above_maximum and enforce == MAXIMUM) or (
        not is_above_maximum and leverage >= minimum and (leverage - minimum) % step == 0
    ):
        return None
    bounds = f"{minimum} or more" if maximum is None else f"{minimum} to {maximum}"
    steps = "" if step == 1 else f" in steps of {step}"
    return f"The exchange allows {bounds}{steps} for this symbol."


def describe_unknown_symbol(name: str, exchange: str, instruments: Mapping[str, Any]) -> str:
    """Return the message for a symbol that the exchange does not list, with a similar name if there is one."""
    import difflib

    similar = difflib.get_close_matches(name, instruments, n=1)
    advice = f"Did you mean {similar[0]}?" if similar else "Check the name."
    return f"{exchange} does not list this symbol. {advice}"
