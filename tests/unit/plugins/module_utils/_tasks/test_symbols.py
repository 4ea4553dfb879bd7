# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which symbols are accepted, and the advice for each that is not."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import InputRefused
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import symbols as _symbols
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import Goal, read_policy

from ..policy_options import get_refusal, make_options

# --- check_symbol ---


@pytest.mark.parametrize(
    ("typed", "symbol"),
    [("BTCUSDT", "BTCUSDT"), ("btcusdt", "BTCUSDT"), ("BtcUsdt", "BTCUSDT"), ("1000pepeusdt", "1000PEPEUSDT")],
)
def test_symbol_of_letters_and_digits_is_returned_in_upper_case(typed: str, symbol: str) -> None:
    assert read_policy(make_options(typed, 10)).goals == [Goal(symbol, 10)]


@pytest.mark.parametrize(
    ("typed", "suggestion"),
    [
        ("BTC/USDT", "BTCUSDT"),
        ("BTC/USDT:USDT", "BTCUSDT"),
        ("btc/usdt:usdt", "BTCUSDT"),
        ("BTC-USDT", "BTCUSDT"),
        ("BTC_USDT", "BTCUSDT"),
        ("BTC USDT", "BTCUSDT"),
        (" BTCUSDT", "BTCUSDT"),
        ("BTCUSDT ", "BTCUSDT"),
        ("BTCUSDT\n", "BTCUSDT"),
        ("BTCUSDT\r\n", "BTCUSDT"),
        ("\tBTCUSDT", "BTCUSDT"),
        ("['BTCUSDT']", "BTCUSDT"),
    ],
)
def test_other_form_of_a_symbol_is_refused_with_a_suggestion(typed: str, suggestion: str) -> None:
    message = get_refusal(symbol=typed, leverage=10)
    assert message == f"symbol {typed!r} is not a symbol (letters and digits, at most 40): did you mean {suggestion}?"
    assert get_refusal(leverages={typed: 10}).startswith(f"the symbol {typed!r} is not a symbol")


@pytest.mark.parametrize(
    ("typed", "advice"),
    [
        ("BINANCE:BTCUSDT", "leave out BINANCE:"),
        ("binance:BTCUSDT.P", "leave out BINANCE:"),
        ("BTCUSDT.P", "leave out .P"),
        ("BTCUSDT,ETHUSDT", "it names several symbols, so list each of them on its own"),
        ("BTCUSDT; ETHUSDT", "it names several symbols, so list each of them on its own"),
        ("BTC ETH USDT", "it names several symbols, so list each of them on its own"),
        (
            "{{ base }}USDT",
            "Ansible does not evaluate a template in a key, so write the whole dictionary as one template",
        ),
        ("\u0412TCUSDT", "it contains '\u0412' (U+0412, CYRILLIC CAPITAL LETTER VE), so write it as BTCUSDT"),
        ("BTC\u200bUSDT", "it contains '\\u200b' (U+200B, ZERO WIDTH SPACE), so write it as BTCUSDT"),
        ("\uff22TCUSDT", "it contains '\uff22' (U+FF22, FULLWIDTH LATIN CAPITAL LETTER B), so write it as BTCUSDT"),
        ("BTCUSDT\0", "it contains '\\x00' (U+0000, a control character), so write it as BTCUSDT"),
        ("BTCUSDT?a=b", "it contains '?', so write it as BTCUSDT"),
        ("BTC-USDT-SWAP", "it contains '-', so write it as BTCUSDT"),
        ("BTC/USD:BTC", "it contains '/', so write it as BTCUSDT"),
        ("BTC-PERP", "it contains '-', so write it as BTCUSDT"),
        (
            "a ******** b",
            "it contains a key, a password or a long text, which is not shown, so write it as BTCUSDT",
        ),
        ("", "it is empty"),
        ("A" * 41, "it has 41 characters"),
        ("A" * 100_000, "it has 100000 characters"),
    ],
)
def test_mistake_in_a_symbol_is_named_without_a_doubtful_suggestion(typed: str, advice: str) -> None:
    message = get_refusal(symbol=typed, leverage=10)
    assert message.endswith(f" is not a symbol (letters and digits, at most 40): {advice}")
    assert len(message) < 250


@pytest.mark.parametrize("typed", [" ", "/", "\n", "::", "\u20bf", ":USDT", "\U0001f4b0"])
def test_symbol_without_letters_and_digits_is_refused_with_the_wrong_character(typed: str) -> None:
    message = get_refusal(symbol=typed, leverage=10)
    assert f": it contains {typed[0]!r}" in message
    assert message.endswith(", so write it as BTCUSDT")


@pytest.mark.parametrize(
    ("value", "advice"),
    [
        (True, "it is a boolean in YAML, so put the name in quotes"),
        (5, "it is a number in YAML, so put the name in quotes"),
        (1.5, "it is a number in YAML, so put the name in quotes"),
        (date(2024, 1, 1), "it is a date in YAML, so put the name in quotes"),
        (None, "it is null in YAML, and not a name"),
        (["BTCUSDT"], "it is a list in YAML, and not a name"),
        (b"BTCUSDT", "it is of the type bytes in YAML, and not a name"),
    ],
)
def test_symbol_that_yaml_does_not_read_as_text_is_refused(value: Any, advice: str) -> None:
    """For example ON, which YAML reads as true."""
    messages = {get_refusal(symbol=value, leverage=10)}
    if not isinstance(value, list):
        messages.add(get_refusal(leverages={"BTCUSDT": 5, value: 10}))
    with pytest.raises(InputRefused) as refused:
        _symbols.check_symbols(["BTCUSDT", value])
    for message in {*messages, str(refused.value)}:
        assert f"symbol {value} is not a symbol" in message
        assert message.endswith(f": {advice}")


def test_symbol_has_at_most_40_characters() -> None:
    assert _symbols.check_symbol("A" * 40) == "A" * 40
    assert "it has 41 characters" in get_refusal(symbol="A" * 41, leverage=1)


# --- check_symbols ---


def test_symbols_returns_each_symbol_in_upper_case_and_refuses_duplicates() -> None:
    assert _symbols.check_symbols(["ethusdt", "BTCUSDT"]) == ["ETHUSDT", "BTCUSDT"]
    with pytest.raises(InputRefused, match="symbols names BTCUSDT more than once"):
        _symbols.check_symbols(["btcusdt", "BTCUSDT"])


# --- check_unique ---


@pytest.mark.parametrize(
    ("leverages", "duplicates"),
    [
        ({"BTCUSDT": 10, "btcusdt": 10}, "BTCUSDT"),
        ({"BTCUSDT": 10, "btcusdt": 5, "ethusdt": 1, "ETHUSDT": 1}, "BTCUSDT, ETHUSDT"),
    ],
)
def test_symbol_that_is_named_twice_is_refused(leverages: dict[Any, int], duplicates: str) -> None:
    message = get_refusal(leverages=leverages)
    assert message == (
        f"leverages names {duplicates} more than once (upper case and lower case are the same symbol). "
        "List each symbol once."
    )


# --- format_value ---


def test_message_shows_only_the_start_of_a_long_symbol() -> None:
    message = get_refusal(symbol="B/" * 500_000, leverage=10)
    assert message.startswith("symbol 'B/B/")
    assert len(message) < 200
    assert message.endswith("it has 1000000 characters")


def test_message_about_a_number_of_thousands_of_digits() -> None:
    """Python does not convert such a number to text. YAML reads it from a hexadecimal number."""
    assert get_refusal(leverages={"BTCUSDT": 16**5000}).startswith("leverage with thousands of digits of 'BTCUSDT' is")


# --- describe_unknown_symbol ---

LISTED = dict.fromkeys(["BTCUSDT", "DOGEUSDT", "SOLUSDT", "1000PEPEUSDT", "FOXUSDT", "AAUSDT", "ABUSDT"])


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("BTCUSTD", "Did you mean BTCUSDT?"),
        ("BTCUSD", "Did you mean BTCUSDT?"),
        ("BTCUSDTT", "Did you mean BTCUSDT?"),
        ("TBCUSDT", "Did you mean BTCUSDT?"),
        ("BTC", "Did you mean BTCUSDT?"),
        ("XBTUSDT", "Did you mean BTCUSDT?"),
        ("PEPEUSDT", "Did you mean 1000PEPEUSDT?"),
        ("1000DOGEUSDT", "Did you mean DOGEUSDT?"),
        ("FOOUSDT", "Check the name."),
        ("LTCUSDT", "Check the name."),
        ("AUSDT", "Check the name."),
        ("USDT", "Check the name."),
        ("Q", "Check the name."),
    ],
)
def test_unknown_symbol_gets_a_suggestion_only_if_it_is_clear(name: str, advice: str) -> None:
    message = _symbols.describe_unknown_symbol(name, "EXCHANGE_2", LISTED)
    assert message == f"EXCHANGE_2 does not list this symbol. {advice}"
