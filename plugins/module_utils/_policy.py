# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy: symbols and desired leverages, checked before any request and against the instruments' limits.

Pure, and free of libraries, since a wrong input should cost nothing. Private to this collection: anything here may
change in any release.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import InputRefused

EXACT = "exact"
MAXIMUM = "maximum"
FAIL = "fail"
WARN = "warn"

# Much longer than any symbol of the exchange.
MAX_SYMBOL_LENGTH = 40


class DesiredLeverage(NamedTuple):
    """The leverage that a symbol should have."""

    symbol: str
    leverage: int


class Policy(NamedTuple):
    """All that a task is asked for: `enforce` is EXACT or MAXIMUM, `on_blocked` is FAIL or WARN."""

    entries: list[DesiredLeverage]
    enforce: str = EXACT
    on_blocked: str = FAIL
    single: bool = False


def read_policy(options: Mapping[str, Any]) -> Policy:
    """The policy of `symbol` and `leverage`, or of `leverages`. Raises InputRefused."""
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


def check_symbol(value: Any, single: bool = True) -> str:
    """A symbol in upper case. Raises InputRefused with the form that was probably meant."""
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
    """Several symbols, each once. Raises InputRefused."""
    names = [check_symbol(value, single=False) for value in values]
    check_unique(names, "symbols")
    return names


def check_unique(names: list[str], option: str) -> None:
    """Raise InputRefused where a symbol comes twice (in two cases, say)."""
    duplicates = sorted({name for name in names if names.count(name) > 1})
    if duplicates:
        raise InputRefused(
            f"{option} names {', '.join(duplicates)} more than once (upper case and lower case are the same symbol)"
        )


def _check_leverage(name: Any, value: Any) -> int:
    """A whole number from 1 up, as a number or in plain digits; nothing else is taken for one."""
    digits = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if re.fullmatch(r"[1-9][0-9]{0,8}", digits):
        return int(digits)
    raise InputRefused(
        f"leverage {_format_value(value)} of {_format_value(name)} is not a whole number of 1 or more, such as 10"
    )


def _format_value(value: Any) -> str:
    """The value as it was typed, on one line of a length that can be read."""
    text = repr(str(value) if isinstance(value, str) else value)
    return text if len(text) <= 80 else text[:80] + "..."


def differs(current: int | None, desired: int, enforce: str) -> bool:
    """Whether what is in force (None: never configured) is not what is desired."""
    return current != desired and (enforce == EXACT or (current is not None and current > desired))


def describe_limit_violation(leverage: int, limits: Any, enforce: str) -> str | None:
    """Why the exchange would refuse the leverage in any state, as far as the limits (an Instrument) tell; else None.

    A maximum above the symbol's own keeps itself.
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
    return f"a leverage of {leverage} is not allowed: the exchange accepts {bounds} in steps of {step}"


def describe_unknown_symbol(name: str, exchange: str, instruments: Mapping[str, Any]) -> str:
    """What to say of a symbol that is not among those listed."""
    import difflib

    similar = difflib.get_close_matches(name, instruments, n=1)
    return f"{exchange} does not list this symbol: " + (f"did you mean {similar[0]}?" if similar else "check the name")
