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
LONGEST_SYMBOL = 40


class Desired(NamedTuple):
    """The leverage that a symbol should have."""

    symbol: str
    leverage: int


class Policy(NamedTuple):
    """All that a task is asked for: `enforce` is EXACT or MAXIMUM, `on_blocked` is FAIL or WARN."""

    entries: list[Desired]
    enforce: str = EXACT
    on_blocked: str = FAIL
    single: bool = False


def from_options(options: Mapping[str, Any]) -> Policy:
    """The policy of `symbol` and `leverage`, or of `leverages`. Raises InputRefused."""
    table = options["leverages"]
    single = table is None
    if single:
        table = {options["symbol"]: options["leverage"]}
    if not table:
        raise InputRefused("leverages is empty: name at least one symbol and its leverage, such as {BTCUSDT: 10}")
    policy = [Desired(symbol(name, single), _leverage(name, value)) for name, value in table.items()]
    unique([desired.symbol for desired in policy], "leverages")
    return Policy(policy, options["enforce"], options["on_blocked"], single)


def symbol(value: Any, single: bool = True) -> str:
    """A symbol in upper case. Raises InputRefused with the form that was probably meant."""
    text = str(value)
    if re.fullmatch(f"[A-Za-z0-9]{{1,{LONGEST_SYMBOL}}}", text):
        return text.upper()
    meant = re.sub(r"[^A-Za-z0-9]", "", text.split(":", 1)[0]).upper()
    likely = f"did you mean {meant}?" if 0 < len(meant) <= LONGEST_SYMBOL else "write it as BTCUSDT"
    option = "symbol" if single else "the symbol"
    raise InputRefused(
        f"{option} {_shown(text)} is not a symbol (letters and digits, at most {LONGEST_SYMBOL}): {likely}"
    )


def symbols(values: list[Any]) -> list[str]:
    """Several symbols, each once. Raises InputRefused."""
    named = [symbol(value, single=False) for value in values]
    unique(named, "symbols")
    return named


def unique(named: list[str], option: str) -> None:
    """Raise InputRefused where a symbol comes twice (in two cases, say)."""
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise InputRefused(
            f"{option} names {', '.join(twice)} more than once (upper case and lower case are the same symbol)"
        )


def _leverage(name: Any, value: Any) -> int:
    """A whole number from 1 up, as a number or in plain digits; nothing else is taken for one."""
    digits = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if re.fullmatch(r"[1-9][0-9]{0,8}", digits):
        return int(digits)
    raise InputRefused(f"leverage {_shown(value)} of {_shown(name)} is not a whole number of 1 or more, such as 10")


def _shown(value: Any) -> str:
    """The value as it was typed, on one line of a length that can be read."""
    text = repr(str(value) if isinstance(value, str) else value)
    return text if len(text) <= 80 else text[:80] + "..."


def differs(in_force: int | None, desired: int, enforce: str) -> bool:
    """Whether what is in force (None: never configured) is not what is desired."""
    return in_force != desired and (enforce == EXACT or (in_force is not None and in_force > desired))


def impossible(leverage: int, limits: Any, enforce: str) -> str | None:
    """Why the exchange would refuse the leverage in any state, as far as the limits (an Instrument) tell; else None.

    A maximum above the symbol's own keeps itself.
    """
    least, most, step = limits.min_leverage, limits.max_leverage, limits.leverage_step or 1
    if least is None:
        least = 1
    above = most is not None and leverage > most
    if (above and enforce == MAXIMUM) or (not above and leverage >= least and (leverage - least) % step == 0):
        return None
    bounds = f"{least} or more" if most is None else f"{least} to {most}"
    return f"a leverage of {leverage} is not allowed: the exchange accepts {bounds} in steps of {step}"


def unlisted(name: str, exchange: str, listed: Mapping[str, Any]) -> str:
    """What to say of a symbol that is not among those listed."""
    import difflib

    close = difflib.get_close_matches(name, listed, n=1)
    return f"{exchange} does not list this symbol: " + (f"did you mean {close[0]}?" if close else "check the name")
