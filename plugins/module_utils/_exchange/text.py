# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make what the exchange sends safe to parse and to print, in a time that grows only with its size.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

# Stands for a secret in a text that is shown.
HIDDEN = "********"
# The limit of newer Pythons. The time to parse a number grows with the square of its length.
_MAX_DIGITS = 4300
# More of a text is not searched for a message.
MAX_CHARACTERS = 64 << 10
_MAX_MESSAGE_CHARACTERS = 300
# Decimal alone also accepts "1_0", digits of other scripts, and spaces. Such a text is ambiguous, so it is no number.
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?")


def to_printable(text: str) -> str:
    """Return the text on one line without control characters. Each one becomes a space.

    Control characters are also the escape sequences of terminals, the separators of lines and paragraphs, and the
    invisible characters that change the direction of a text.
    """
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() else " " for character in text)


def to_one_line(text: str, length: int = _MAX_MESSAGE_CHARACTERS) -> str:
    """Return the text on one line, without control characters, and not longer than `length`."""
    line = " ".join(to_printable(text[:MAX_CHARACTERS]).split())
    return line if len(line) <= length else line[: length - 3] + "..."


def parse_integer(digits: str) -> int:
    """Return the whole number of a JSON text. Raise ValueError if it has thousands of digits."""
    if len(digits) > _MAX_DIGITS:
        raise ValueError
    return int(digits)


def to_decimal(value: Any) -> Decimal | None:
    """Return a finite number from a JSON text or number. None for any other value."""
    if isinstance(value, bool) or not isinstance(value, (str, int, Decimal)):
        return None
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        return None
    number = Decimal(value)
    return number if number.is_finite() and abs(number.adjusted()) < 40 else None


def to_int(value: Any) -> int | None:
    """Return a whole number from a JSON text or number (`13`, `"13"` or `"13.0"`). None for any other value."""
    number = to_decimal(value)
    return int(number) if number is not None and number == int(number) else None


def to_digits(value: Any) -> str:
    """Return the text of a whole number or of a text. Empty for any other value, and for a number of many digits."""
    is_number = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 10**18
    return str(value) if is_number or isinstance(value, str) else ""
