# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which policies are accepted, the message for each that is not, and the comparison with limits."""

from __future__ import annotations

import json
import math
import re
from datetime import date, datetime
from string import ascii_uppercase, digits
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Ends, InputRefused
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import Instrument
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import policy as _policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import (
    EXACT,
    MAXIMUM,
    Goal,
    read_policy,
)

Limits = tuple["int | None", "int | None", "int | None"]


def make_options(symbol: Any = None, leverage: Any = None, leverages: Any = None) -> dict[str, Any]:
    return {"symbol": symbol, "leverage": leverage, "leverages": leverages, "enforce": EXACT, "on_blocked": "fail"}


def get_refusal(**options: Any) -> str:
    """Return the message of a refusal. Check that it is one line and that the task stops."""
    with pytest.raises(InputRefused) as refused:
        read_policy(make_options(**options))
    assert "\n" not in str(refused.value)
    assert refused.value.ends is Ends.ALL
    return str(refused.value)


# --- read_policy ---


def test_leverages_keep_their_order() -> None:
    policy = read_policy(make_options(leverages={"ethusdt": 5, "BTCUSDT": "10"}))
    assert policy == _policy.Policy([Goal("ETHUSDT", 5), Goal("BTCUSDT", 10)], "fail", single=False)


def test_symbol_and_leverage_give_a_single_policy() -> None:
    options = {**make_options("btcusdt", 10), "enforce": MAXIMUM, "on_blocked": "warn"}
    assert read_policy(options) == _policy.Policy([Goal("BTCUSDT", 10, MAXIMUM)], "warn", single=True)


@pytest.mark.parametrize("empty", [{}, "", " ", "{}", "{ }", None])
def test_empty_leverages_is_refused(empty: Any) -> None:
    assert "leverages is empty" in get_refusal(leverages=empty)


# --- read_leverages ---

DICTIONARY = {"BTCUSDT": 10, "ETHUSDT": 5}


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(DICTIONARY),
        json.dumps(DICTIONARY, indent=4),
        json.dumps({name: str(value) for name, value in DICTIONARY.items()}),
        str(DICTIONARY),
        yaml.safe_dump(DICTIONARY, default_flow_style=True),
        yaml.safe_dump(DICTIONARY),
        "{BTCUSDT: 10, ETHUSDT: 5,}",
        "BTCUSDT: 10\r\nETHUSDT: 5\r\n",
        "BTCUSDT=10 ETHUSDT=5",
        "BTCUSDT=10,ETHUSDT=5",
        "btcusdt='10', 'ethusdt'=5",
    ],
)
def test_leverages_can_be_text_with_a_dictionary(text: str) -> None:
    assert _policy.read_leverages(text) == [Goal(*item) for item in DICTIONARY.items()]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"BTCUSDT": 10, "BTCUSDT": 5}', "leverages names BTCUSDT more than once"),
        ("BTCUSDT=10 BTCUSDT=5", "leverages names BTCUSDT more than once"),
        ("BTCUSDT: 10\nbtcusdt: 5", "leverages names BTCUSDT more than once"),
        ('{"BTCUSDT": 10.0}', "leverage '10.0' of 'BTCUSDT' is not a whole number"),
        ('{"BTCUSDT": true}', "leverage 'true' of 'BTCUSDT' is not a whole number"),
        ('{"BTCUSDT": null}', "leverage 'null' of 'BTCUSDT' is not a whole number"),
        ("BTCUSDT: 010", "leverage '010' of 'BTCUSDT' is not a whole number"),
        ("BTCUSDT: 0x10", "leverage '0x10' of 'BTCUSDT' is not a whole number"),
        ("{'BTC/USDT:USDT': 10}", "did you mean BTCUSDT?"),
        ("{'{{ base }}USDT': 10}", "Ansible does not evaluate a template in a key"),
        ("{'BTCUSDT'}", """leverages is text, and "'BTCUSDT'" in it is not a symbol with its leverage"""),
        ('["BTCUSDT"]', "is not a symbol with its leverage"),
        ("BTCUSDT", "leverages is text, and 'BTCUSDT' in it is not a symbol with its leverage. Write it as {BTCUSDT: "),
        ("10", "is not a symbol with its leverage"),
        ("null", "is not a symbol with its leverage"),
        ("BTCUSDT: 1:30", "leverages is text, and 'BTCUSDT: 1:30' in it is not a symbol with its leverage"),
        ("BTCUSDT: 10 20", "leverages is text, and '20' in it is not"),
        ("BTCUSDT: 10,000", "leverages is text, and '000' in it is not"),
        ("BTCUSDT: 10,, ETHUSDT: 5", "leverages is text, and ', ETHUSDT: 5' in it is not"),
        ("{BTCUSDT: 10", "is not a symbol with its leverage"),
        ("{BTCUSDT: {a: 1}}", "is not a symbol with its leverage"),
        ("accounts:\n  BTCUSDT: 10", "is not a symbol with its leverage"),
        ("{{ leverage_policy }}", "is not a symbol with its leverage"),
        ('{"BTCUSDT": 10', "is not a symbol with its leverage"),
    ],
)
def test_text_is_refused_if_it_is_not_a_dictionary_of_leverages(text: str, message: str) -> None:
    assert message in get_refusal(leverages=text)


@pytest.mark.parametrize(
    ("value", "described"),
    [
        (["BTCUSDT"], "a list"),
        ([{"BTCUSDT": 10}], "a list"),
        (10, "a number"),
        (True, "a boolean"),
        (date(2024, 1, 1), "a date"),
        ({"BTCUSDT"}, "of the type set"),
    ],
)
def test_leverages_that_is_not_a_dictionary_is_refused(value: Any, described: str) -> None:
    assert get_refusal(leverages=value) == (
        f"leverages is {described}, and not a dictionary. Name each symbol and its leverage, such as {{BTCUSDT: 10}}."
    )


@given(
    st.dictionaries(
        st.text(ascii_uppercase + digits, min_size=1, max_size=40), st.integers(1, 999_999_999), min_size=1, max_size=9
    )
)
def test_each_form_of_text_gives_what_the_dictionary_gives(leverages: dict[str, int]) -> None:
    expected = _policy.read_leverages(leverages)
    pairs = [f"{name}={value}" for name, value in leverages.items()]
    lines = [f"{name}: {value}" for name, value in leverages.items()]
    texts = [json.dumps(leverages), json.dumps(leverages, indent=2), str(leverages), ",".join(pairs), "\n".join(lines)]
    assert [_policy.read_leverages(text) for text in texts] == [expected] * len(texts)


@given(st.text(alphabet="BT1:=,{}'\" \n[]", max_size=40))
def test_text_is_read_completely_or_refused(text: str) -> None:
    """No part of a text is lost."""
    try:
        entries = _policy.read_leverages(text)
    except InputRefused:
        return
    read = "".join(f"{entry.symbol}{entry.leverage}" for entry in entries)
    assert read == re.sub("[^BT1]", "", text)


def test_long_text_is_refused_fast() -> None:
    for text in ("BTCUSDT" + " " * 1_000_000, "'" * 1_000_000, "A: 1 " * 200_000 + "A", "[" * 1_000_000):
        assert len(get_refusal(leverages=text)) < 250


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
        _policy.check_symbols(["BTCUSDT", value])
    for message in {*messages, str(refused.value)}:
        assert f"symbol {value} is not a symbol" in message
        assert message.endswith(f": {advice}")


def test_symbol_has_at_most_40_characters() -> None:
    assert _policy.check_symbol("A" * 40) == "A" * 40
    assert "it has 41 characters" in get_refusal(symbol="A" * 41, leverage=1)


# --- check_symbols ---


def test_symbols_returns_each_symbol_in_upper_case_and_refuses_duplicates() -> None:
    assert _policy.check_symbols(["ethusdt", "BTCUSDT"]) == ["ETHUSDT", "BTCUSDT"]
    with pytest.raises(InputRefused, match="symbols names BTCUSDT more than once"):
        _policy.check_symbols(["btcusdt", "BTCUSDT"])


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


# --- _check_leverage ---


@pytest.mark.parametrize(
    ("typed", "leverage"), [(1, 1), (10, 10), ("10", 10), ("1", 1), (125, 125), (999_999_999, 999_999_999)]
)
def test_leverage_is_a_whole_number_of_1_or_more(typed: Any, leverage: int) -> None:
    (desired,) = read_policy(make_options("BTCUSDT", typed)).goals
    assert desired.leverage == leverage
    assert desired.leverage.__class__ is int


@pytest.mark.parametrize(
    "typed",
    [
        True,
        False,
        None,
        0,
        -1,
        10.0,
        10.5,
        1e300,
        math.inf,
        math.nan,
        1_000_000_000,
        10**30,
        date(2024, 1, 1),
        datetime(2024, 1, 1, 10, 30),
        "",
        " ",
        "0",
        "010",
        "-5",
        "+5",
        "10.0",
        "10.5",
        "1e1",
        "1_0",
        "0x10",
        " 10",
        "10 ",
        "10\n",
        "10x",
        "ten",
        "True",
        "\u0661\u0660",
        "\uff11\uff10",
        "\u00b2",
        "9" * 1000,
        "1e999999999",
        [10],
        {"leverage": 10},
        [],
        {},
        b"10",
    ],
)
def test_leverage_that_is_not_a_whole_number_from_1_to_999999999_is_refused(typed: Any) -> None:
    for message in (get_refusal(symbol="BTCUSDT", leverage=typed), get_refusal(leverages={"BTCUSDT": typed})):
        assert message.startswith("leverage ")
        assert message.endswith(" of 'BTCUSDT' is not a whole number from 1 to 999999999, such as 10")
        assert len(message) < 200


def test_message_names_the_symbol_with_the_wrong_leverage() -> None:
    assert get_refusal(leverages={"BTCUSDT": 10, "ETHUSDT": "10.0"}).startswith("leverage '10.0' of 'ETHUSDT' is not")


# --- _format_value ---


def test_message_shows_only_the_start_of_a_long_symbol() -> None:
    message = get_refusal(symbol="B/" * 500_000, leverage=10)
    assert message.startswith("symbol 'B/B/")
    assert len(message) < 200
    assert message.endswith("it has 1000000 characters")


def test_message_about_a_number_of_thousands_of_digits() -> None:
    """Python does not convert such a number to text. YAML reads it from a hexadecimal number."""
    assert get_refusal(leverages={"BTCUSDT": 16**5000}).startswith("leverage with thousands of digits of 'BTCUSDT' is")


# --- describe_limit_violation ---


@pytest.mark.parametrize(
    ("limits", "possible", "impossible"),
    [
        ((1, 25, 1), [1, 2, 24, 25], [26]),
        ((5, 75, 5), [5, 10, 75], [1, 4, 6, 12, 74, 80]),
        ((2, 50, 2), [2, 4, 50], [1, 3, 49]),
        ((1, 10, 3), [1, 4, 7, 10], [2, 3, 9]),
        ((None, 25, None), [1, 25], []),
        ((None, None, None), [1, 1000], []),
        ((3, None, 2), [3, 5, 1001], [1, 2, 4]),
        ((1, 25, 0), [1, 7, 25], []),
    ],
)
def test_impossible_returns_a_reason_if_the_limits_do_not_allow_the_leverage(
    limits: Limits, possible: list[int], impossible: list[int]
) -> None:
    instrument = Instrument("BTCUSDT", *limits, {})
    assert {_policy.describe_limit_violation(desired, instrument) for desired in possible} == {None}
    for desired in impossible:
        message = _policy.describe_limit_violation(desired, instrument)
        assert message
        assert message.startswith(f"The exchange allows {limits[0] or 1} ")


@pytest.mark.parametrize(
    ("limits", "bounds"),
    [
        ((1, 25, 1), "1 to 25"),
        ((5, 75, 5), "5 to 75 in steps of 5"),
        ((2, None, 2), "2 or more in steps of 2"),
    ],
)
def test_impossible_names_the_bounds_and_the_step(limits: Limits, bounds: str) -> None:
    desired = 77 if limits[1] else 27
    assert _policy.describe_limit_violation(desired, Instrument("BTCUSDT", *limits, {})) == (
        f"The exchange allows {bounds} for this symbol."
    )


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
    message = _policy.describe_unknown_symbol(name, "EXCHANGE_2", LISTED)
    assert message == f"EXCHANGE_2 does not list this symbol. {advice}"
