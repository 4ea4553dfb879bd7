# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which policies are accepted, and the message for each that is not."""

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

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import InputRefused
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import policy as _policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import (
    MAXIMUM,
    Goal,
    read_policy,
)

from ..policy_options import get_refusal, make_options

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
