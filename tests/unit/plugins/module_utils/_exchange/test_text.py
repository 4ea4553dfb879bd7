# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Texts of the exchange are safe to print, and its numbers are safe to parse."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import (
    parse_integer,
    to_decimal,
    to_int,
    to_printable,
)


@pytest.mark.parametrize("text", ["", "BTCUSDT 10", "\u0915\u0940\u092e\u0924 \u00e9 \U0001f680"])
def test_printable_text_is_unchanged(text: str) -> None:
    assert to_printable(text) == text


@pytest.mark.parametrize(
    "character",
    [
        *map(chr, range(32)),
        *map(chr, range(127, 160)),
        "\u00ad",  # soft hyphen
        "\u200b",  # zero width space
        "\u2028",  # separator of lines
        "\u2029",  # separator of paragraphs
        *map(chr, range(0x202A, 0x202F)),  # direction of the text
        *map(chr, range(0x2066, 0x206A)),
        "\ufeff",
        "\ud800",  # half of a surrogate pair
        "\U000e0041",  # invisible copy of a letter
    ],
)
def test_control_character_becomes_a_space(character: str) -> None:
    assert to_printable(f"a{character}b") == "a b"


def test_escape_sequence_does_not_reach_a_terminal() -> None:
    assert to_printable("\x1b[2J\x1b]0;title\x07 10\r\n\x9b1m") == " [2J ]0;title  10   1m"


@pytest.mark.parametrize("digits", ["0", "-13", "9" * 4300])
def test_number_of_few_digits_is_parsed(digits: str) -> None:
    assert parse_integer(digits) == int(digits)


def test_number_of_many_digits_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^$"):
        parse_integer("9" * 4301)


# --- to_decimal ---


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (5, 5),
        (-5, -5),
        (0, 0),
        ("5", 5),
        ("5.50", Decimal("5.50")),
        ("-0.5", Decimal("-0.5")),
        (Decimal("1e3"), 1000),
        ("1e39", Decimal("1e39")),
        ("1e-39", Decimal("1e-39")),
        ("1e40", None),
        ("1e-40", None),
        (Decimal("1e40"), None),
        (10**40, None),
        ("NaN", None),
        ("sNaN", None),
        ("Infinity", None),
        (Decimal("NaN"), None),
        (True, None),
        (False, None),
        (None, None),
        (1.5, None),
        ("", None),
        ("5,5", None),
        (".5", Decimal("0.5")),
        ("5.", 5),
        ("+5", 5),
        ("5E+1", 50),
        ("1e1000", None),
        ("1_0", None),
        ("1__0", None),
        (" 5", None),
        ("5 ", None),
        ("5\n", None),
        ("\u0665", None),
        ("\uff15", None),
        ("5\u0660", None),
        ("\u00b2", None),
        ("0x5", None),
        (".", None),
        ("+", None),
        ("e5", None),
        ("5e", None),
        ("--5", None),
        ([], None),
        ({}, None),
    ],
)
def test_decimal_returns_a_finite_number_or_none(value: Any, number: Any) -> None:
    assert to_decimal(value) == number
    assert (to_decimal(value) is None) is (number is None)


# --- to_int ---


@pytest.mark.parametrize(
    ("value", "number"),
    [(13, 13), ("13", 13), ("13.0", 13), ("13.5", None), ("x", None), (True, None), ("1e2", 100), ("1_3", None)],
)
def test_to_int_returns_a_whole_number_or_none(value: Any, number: int | None) -> None:
    returned = to_int(value)
    assert returned == number
    assert returned.__class__ is number.__class__
