# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the names of symbols before any request, with advice about what was probably meant.

This file sends nothing and imports no libraries, so that a task with an invalid option fails fast. Private to this
collection: anything here may change in any release.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from datetime import date
from typing import Any, Callable, Iterable

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import InputRefused
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import HIDDEN

# Much longer than any symbol of the exchange.
MAX_SYMBOL_LENGTH = 40
# A message shows at most this many characters of a value.
_MAX_SHOWN = 80


def check_symbol(value: Any, option: str = "the symbol") -> str:
    """Return a symbol in upper case. Raise InputRefused with advice if it is not valid.

    Args:
        value: The value of the option.
        option: What the message names: the option, if it has one symbol.
    """
    if isinstance(value, str) and re.fullmatch(_NAME, value):
        return str(value).upper()
    raise InputRefused(
        f"{option} {format_value(value)} is not a symbol (letters and digits, at most {MAX_SYMBOL_LENGTH}): "
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


def describe_type(value: Any) -> str:
    if value is None:
        return "null"
    return next((name for kind, name in _TYPES if isinstance(value, kind)), f"of the type {type(value).__name__}")


def _advise_on_symbol(value: Any) -> str:
    if not isinstance(value, str):
        kind = describe_type(value)
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
    names = [check_symbol(value) for value in values]
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


def format_value(value: Any) -> str:
    """Return the value for a message: on one line, and not too long."""
    try:
        text = repr(str(value)) if isinstance(value, str) else str(value)
    except ValueError:  # Python does not write a number of more than 4300 digits.
        return "with thousands of digits"
    return text if len(text) <= _MAX_SHOWN else text[:_MAX_SHOWN] + "..."


def describe_unknown_symbol(name: str, exchange: str, instruments: Iterable[str]) -> str:
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
