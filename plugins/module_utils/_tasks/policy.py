# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The policy of a task, checked before any request.

This file sends nothing and imports no libraries, so that a task with an invalid option fails fast. Private to this
collection: anything here may change in any release.
"""

from __future__ import annotations

import re
from typing import Any, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import InputRefused
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import to_digits
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.symbols import (
    check_symbol,
    check_unique,
    describe_type,
    format_value,
)

EXACT = "exact"
MAXIMUM = "maximum"
FAIL = "fail"
WARN = "warn"

_NO_LEVERAGES = "leverages is empty. Name at least one symbol and its leverage, such as {BTCUSDT: 10}."


class Goal(NamedTuple):
    """What the policy says about one symbol.

    Attributes:
        leverage: The desired leverage.
        enforce: EXACT or MAXIMUM.
    """

    symbol: str
    leverage: int
    enforce: str = EXACT


class Policy(NamedTuple):
    """The policy of a task.

    Attributes:
        goals: What it says about each symbol, in the order of the options.
        on_blocked: FAIL or WARN.
        single: Whether the task uses the option `symbol`, and not `leverages`.
    """

    goals: list[Goal]
    on_blocked: str = FAIL
    single: bool = False


def read_policy(options: Mapping[str, Any]) -> Policy:
    """Return the policy of the options. Raise InputRefused if one of them is not valid."""
    enforce, on_blocked = options.get("enforce", EXACT), options.get("on_blocked", FAIL)
    if options.get("leverages") is not None:
        return Policy(read_leverages(options["leverages"], enforce), on_blocked)
    if options.get("symbol") is None and options.get("leverage") is None:
        # Ansible requires one of the options, and null is a value.
        raise InputRefused(_NO_LEVERAGES)
    symbol = check_symbol(options.get("symbol"), "symbol")
    return Policy([Goal(symbol, _check_leverage(symbol, options.get("leverage")), enforce)], on_blocked, single=True)


def read_leverages(value: Any, enforce: str = EXACT) -> list[Goal]:
    """Return the desired leverage of each symbol, in the order of the value. Raise InputRefused if it is not valid.

    Args:
        value: The option `leverages`. A dictionary, or the same as text: from `--extra-vars`, a survey or `to_json`.
        enforce: EXACT or MAXIMUM.
    """
    if isinstance(value, str):
        pairs = _read_pairs(value)
    elif isinstance(value, dict):
        pairs = list(value.items())
    else:
        raise InputRefused(
            f"leverages is {describe_type(value)}, and not a dictionary. Name each symbol and its leverage, such as "
            "{BTCUSDT: 10}."
        )
    if not pairs:
        raise InputRefused(_NO_LEVERAGES)
    goals = [Goal(check_symbol(name), _check_leverage(name, value), enforce) for name, value in pairs]
    check_unique([goal.symbol for goal in goals], "leverages")
    return goals


def _read_pairs(text: str) -> list[tuple[str, str]]:
    """Return the names and values of a dictionary that is text. Raise InputRefused if it is not one.

    JSON, YAML, Python and the form `name=value` write such a dictionary as pairs. Names and values stay text. So this
    does not lose a name that is there twice, and does not read 010 as 8 or ON as true, as a parser of YAML would do.
    """
    text = text.strip()
    if text[:1] + text[-1:] == "{}":
        text = text[1:-1].strip()
    pairs = []
    position = 0
    while position < len(text):
        pair = _PAIR.match(text, position)
        if pair is None:
            raise InputRefused(
                f"leverages is text, and {format_value(text[position:])} in it is not a symbol with its leverage. "
                "Write it as {BTCUSDT: 10, ETHUSDT: 5}."
            )
        name, value = (part[1:-1] if part[0] in "'\"" else part for part in pair.groups())
        pairs.append((name, value))
        position = pair.end()
    return pairs


# Text in quotes, or text without characters that have a meaning in JSON, YAML or Python.
_PART = r"""("[^"]*"|'[^']*'|[^\s"'{}\[\],:=]+)"""
_PAIR = re.compile(rf"{_PART}\s*[:=]\s*{_PART}(?:\s*,\s*|\s+|$)")


def _check_leverage(name: Any, value: Any) -> int:
    """Return the leverage, from a number or from text with plain digits. Raise InputRefused for any other value."""
    if re.fullmatch("[1-9][0-9]{0,8}", to_digits(value)):
        return int(value)
    raise InputRefused(
        f"leverage {format_value(value)} of {format_value(name)} is not a whole number from 1 to 999999999, such as 10"
    )
