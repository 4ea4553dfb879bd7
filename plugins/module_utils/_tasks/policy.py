# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the policy before any request, and compare a desired leverage with the current one and with the limits.

This file sends nothing and imports no libraries, so that a task with an invalid option fails fast. Private to this
collection: anything here may change in any release.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from datetime import date
from typing import Any, Callable, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import InputRefused
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import HIDDEN

EXACT = "exact"
MAXIMUM = "maximum"
FAIL = "fail"
WARN = "warn"

# Much longer than any symbol of the exchange.
MAX_SYMBOL_LENGTH = 40
_NO_LEVERAGES = "leverages is empty. Name at least one symbol and its leverage, such as {BTCUSDT: 10}."
# A message shows at most this many characters of a value.
_MAX_SHOWN = 80


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
    symbol = check_symbol(options.get("symbol"))
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
            f"leverages is {_describe_type(value)}, and not a dictionary. Name each symbol and its leverage, such as "
            "{BTCUSDT: 10}."
        )
    if not pairs:
        raise InputRefused(_NO_LEVERAGES)
    goals = [Goal(check_symbol(name, single=False), _check_leverage(name, value), enforce) for name, value in pairs]
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
                f"leverages is text, and {_format_value(text[position:])} in it is not a symbol with its leverage. "
                "Write it as {BTCUSDT: 10, ETHUSDT: 5}."
            )
        name, value = (part[1:-1] if part[0] in "'\"" else part for part in pair.groups())
        pairs.append((name, value))
        position = pair.end()
    return pairs


# Text in quotes, or text without characters that have a meaning in JSON, YAML or Python.
_PART = r"""("[^"]*"|'[^']*'|[^\s"'{}\[\],:=]+)"""
_PAIR = re.compile(rf"{_PART}\s*[:=]\s*{_PART}(?:\s*,\s*|\s+|$)")


def check_symbol(value: Any, single: bool = True) -> str:
    """Return a symbol in upper case. Raise InputRefused with advice if it is not valid.

    Args:
        value: The value of the option.
        single: Whether the option has one symbol. If so, the message names the option.
    """
    if isinstance(value, str) and re.fullmatch(_NAME, value):
        return str(value).upper()
    option = "symbol" if single else "the symbol"
    raise InputRefused(
        f"{option} {_format_value(value)} is not a symbol (letters and digits, at most {MAX_SYMBOL_LENGTH}): "
        f"{_advise_on_symbol(value)}"
    )


_NAME = f"[A-Za-z0-9]{{1,{MAX_SYMBOL_LENGTH}}}"
# What users type instead of a symbol, with the advice. Only the second and the third form leave no doubt about the
# symbol.
_FORMS: tuple[tuple[str, Callable[[str], str]], ...] = (
    (
        rf".*{re.escape(HIDDEN)}.*",
        lambda _: "it contains a key, a password or a long text, which is not shown, so write it as BTCUSDT",
    ),
    (rf"[\s'\"\[\]]*({_NAME})[\s'\"\[\]]*", lambda found: f"did you mean {found}?"),
    (rf"(?i)\s*({_NAME})\s?[/_ -]\s?(USDT)(?::USDT)?\s*", lambda found: f"did you mean {found}?"),
    (rf"\s*{_NAME}(?:[,;\s]+{_NAME})+\s*", lambda _: "it names several symbols, so list each of them on its own"),
    (rf"({_NAME}:){_NAME}(?:\.{_NAME})?", lambda found: f"leave out {found}"),
    (rf"{_NAME}(\.{_NAME})", lambda found: f"leave out {found}"),
)
_TYPES = ((bool, "a boolean"), ((int, float), "a number"), (date, "a date"), (list, "a list"), (dict, "a dictionary"))


def _describe_type(value: Any) -> str:
    if value is None:
        return "null"
    return next((name for kind, name in _TYPES if isinstance(value, kind)), f"of the type {type(value).__name__}")


def _advise_on_symbol(value: Any) -> str:
    if not isinstance(value, str):
        kind = _describe_type(value)
        if isinstance(value, (int, float, date)):
            return f"it is {kind} in YAML, so put the name in quotes"
        return f"it is {kind} in YAML, and not a name"
    if "{{" in value or "{%" in value:
        return "Ansible does not evaluate a template in a key, so write the whole dictionary as one template"
    text = value[:_MAX_SHOWN]
    for pattern, advice in _FORMS:
        match = re.fullmatch(pattern, text)
        if match:
            return advice("".join(match.groups()).upper())
    if len(value) > MAX_SYMBOL_LENGTH:
        return f"it has {len(value)} characters"
    wrong = re.search("[^A-Za-z0-9]", text)
    return f"it contains {_describe_character(wrong.group())}, so write it as BTCUSDT" if wrong else "it is empty"


def _describe_character(character: str) -> str:
    """Return a character in quotes. If it looks like another character or is invisible, also with its name."""
    if " " <= character <= "~":
        return repr(character)
    return f"{character!r} (U+{ord(character):04X}, {unicodedata.name(character, 'a control character')})"


def check_symbols(values: list[Any]) -> list[str]:
    """Return the symbols in upper case. Raise InputRefused if one is not valid, or is listed twice."""
    names = [check_symbol(value, single=False) for value in values]
    check_unique(names, "symbols")
    return names


def check_unique(names: list[str], option: str) -> None:
    """Raise InputRefused if a symbol is listed twice, for example in upper case and in lower case."""
    duplicates = sorted(name for name, count in Counter(names).items() if count > 1)
    if duplicates:
        raise InputRefused(
            f"{option} names {', '.join(duplicates)} more than once (upper case and lower case are the same symbol). "
            "List each symbol once."
        )


def _check_leverage(name: Any, value: Any) -> int:
    """Return the leverage, from a number or from text with plain digits. Raise InputRefused for any other value."""
    if re.fullmatch("[1-9][0-9]{0,8}", to_digits(value)):
        return int(value)
    raise InputRefused(
        f"leverage {_format_value(value)} of {_format_value(name)} is not a whole number from 1 to 999999999, such as "
        "10"
    )


def to_digits(value: Any) -> str:
    """Return the text of a whole number or of a text. Empty for any other value, and for a number of many digits."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18
    return str(value) if is_number or isinstance(value, str) else ""


def _format_value(value: Any) -> str:
    """Return the value for a message: on one line, and not too long."""
    try:
        text = repr(str(value)) if isinstance(value, str) else str(value)
    except ValueError:  # Python does not write a number of more than 4300 digits.
        return "with thousands of digits"
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def describe_limit_violation(leverage: int, limits: Any) -> str | None:
    """Return why the limits of the symbol do not allow a write of a leverage, or None if they allow it.

    Args:
        leverage: The desired leverage.
        limits: The Instrument of the symbol.
    """
    minimum, maximum, step = limits.min_leverage, limits.max_leverage, limits.leverage_step or 1
    if minimum is None:
        minimum = 1
    if minimum <= leverage <= (leverage if maximum is None else maximum) and (leverage - minimum) % step == 0:
        return None
    bounds = f"{minimum} or more" if maximum is None else f"{minimum} to {maximum}"
    steps = "" if step == 1 else f" in steps of {step}"
    return f"The exchange allows {bounds}{steps} for this symbol."


def describe_unknown_symbol(name: str, exchange: str, instruments: Mapping[str, Any]) -> str:
    """Return the message for a symbol that the exchange does not list, with the symbol that was meant if it is clear.

    Args:
        name: The symbol, in upper case.
        exchange: The exchange identifier.
        instruments: The symbols that the exchange lists.
    """
    likely = [other for other in (f"{name}USDT", name.replace("XBT", "BTC")) if other in instruments]
    similar = likely or [other for other in instruments if _is_slip(name, other) or _is_slip(other, name)]
    advice = f"Did you mean {similar[0]}?" if len(similar) == 1 else "Check the name."
    return f"{exchange} does not list this symbol. {advice}"


def _is_slip(left: str, right: str) -> bool:
    """Return whether one name lacks a character or a leading multiplier of the other, or has two characters swapped.

    A name with another character, such as FOOUSDT and FOXUSDT, is usually another coin.
    """
    if len(left) == len(right):
        first = next((place for place, letter in enumerate(left) if letter != right[place]), 0)
        return left[:first] + left[first : first + 2][::-1] + left[first + 2 :] == right
    if len(right) == len(left) + 1:
        return any(right[:place] + right[place + 1 :] == left for place in range(len(right)))
    return right.endswith(left) and right[: -len(left)] in ("1000", "10000", "1000000")
