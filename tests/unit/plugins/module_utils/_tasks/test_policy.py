# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of _policy."""

from __future__ import annotations

import math
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Ends, InputRefused
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import Instrument
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import policy as _policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import (
    EXACT,
    MAXIMUM,
    DesiredLeverage,
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
    assert policy == _policy.Policy(
        [DesiredLeverage("ETHUSDT", 5), DesiredLeverage("BTCUSDT", 10)], EXACT, "fail", single=False
    )


def test_symbol_and_leverage_give_a_single_policy() -> None:
    options = {**make_options("btcusdt", 10), "enforce": MAXIMUM, "on_blocked": "warn"}
    assert read_policy(options) == _policy.Policy([DesiredLeverage("BTCUSDT", 10)], MAXIMUM, "warn", single=True)


def test_empty_leverages_is_refused() -> None:
    assert "leverages is empty" in get_refusal(leverages={})


# --- check_symbol ---


@pytest.mark.parametrize(
    ("typed", "symbol"),
    [("BTCUSDT", "BTCUSDT"), ("btcusdt", "BTCUSDT"), ("BtcUsdt", "BTCUSDT"), ("1000pepeusdt", "1000PEPEUSDT")],
)
def test_symbol_of_letters_and_digits_is_returned_in_upper_case(typed: str, symbol: str) -> None:
    assert read_policy(make_options(typed, 10)).entries == [DesiredLeverage(symbol, 10)]


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
        ("BTCUSDT\0", "BTCUSDT"),
        ("BTCUSDT.P", "BTCUSDTP"),
        ("BTCUSDT?a=b", "BTCUSDTAB"),
        ("['BTCUSDT']", "BTCUSDT"),
        ("\u0412TCUSDT", "TCUSDT"),
        ("BTC\u200bUSDT", "BTCUSDT"),
        ("\uff22TCUSDT", "TCUSDT"),
        ("BTCUSD\u0131", "BTCUSD"),
        ("\u0661000PEPEUSDT", "000PEPEUSDT"),
    ],
)
def test_other_form_of_a_symbol_is_refused_with_a_suggestion(typed: str, suggestion: str) -> None:
    message = get_refusal(symbol=typed, leverage=10)
    assert message == f"symbol {typed!r} is not a symbol (letters and digits, at most 40): did you mean {suggestion}?"
    assert get_refusal(leverages={typed: 10}).startswith(f"the symbol {typed!r} is not a symbol")


@pytest.mark.parametrize("typed", ["", " ", "/", "\n", "::", "\u20bf", ":USDT", "💰"])
def test_symbol_without_letters_and_digits_is_refused_with_an_example(typed: str) -> None:
    assert get_refusal(symbol=typed, leverage=10).endswith(
        "is not a symbol (letters and digits, at most 40): write it as BTCUSDT"
    )


def test_symbol_has_at_most_40_characters() -> None:
    assert _policy.check_symbol("A" * 40) == "A" * 40
    assert "is not a symbol (letters and digits, at most 40): write it as BTCUSDT" in get_refusal(
        symbol="A" * 41, leverage=1
    )


# --- check_symbols ---


def test_symbols_returns_each_symbol_in_upper_case_and_refuses_duplicates() -> None:
    assert _policy.check_symbols(["ethusdt", "BTCUSDT"]) == ["ETHUSDT", "BTCUSDT"]
    with pytest.raises(InputRefused, match="symbols names BTCUSDT more than once"):
        _policy.check_symbols(["btcusdt", "BTCUSDT"])


# --- unique ---


@pytest.mark.parametrize(
    ("leverages", "duplicates"),
    [
        ({"BTCUSDT": 10, "btcusdt": 10}, "BTCUSDT"),
        ({"BTCUSDT": 10, "btcusdt": 5, "ethusdt": 1, "ETHUSDT": 1}, "BTCUSDT, ETHUSDT"),
        ({"1": 10, 1: 10}, "1"),
    ],
)
def test_symbol_that_is_named_twice_is_refused(leverages: dict[Any, int], duplicates: str) -> None:
    message = get_refusal(leverages=leverages)
    assert message == (
        f"leverages names {duplicates} more than once (upper case and lower case are the same symbol): "
        "list each symbol once"
    )


# --- _leverage ---


@pytest.mark.parametrize(
    ("typed", "leverage"), [(1, 1), (10, 10), ("10", 10), ("1", 1), (125, 125), (999_999_999, 999_999_999)]
)
def test_leverage_is_a_whole_number_of_1_or_more(typed: Any, leverage: int) -> None:
    (desired,) = read_policy(make_options("BTCUSDT", typed)).entries
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


# --- _shown ---


def test_message_shows_only_the_start_of_a_long_symbol() -> None:
    message = get_refusal(symbol="B/" * 500_000, leverage=10)
    assert message.startswith("symbol 'B/B/")
    assert len(message) < 200
    assert message.endswith("write it as BTCUSDT")


# --- describe_limit_violation ---


@pytest.mark.parametrize("enforce", [EXACT, MAXIMUM])
@pytest.mark.parametrize(
    ("limits", "possible", "impossible"),
    [
        ((1, 25, 1), [1, 2, 24, 25], []),
        ((5, 75, 5), [5, 10, 75], [1, 4, 6, 12, 74]),
        ((2, 50, 2), [2, 4, 50], [1, 3, 49]),
        ((1, 10, 3), [1, 4, 7, 10], [2, 3, 9]),
        ((None, 25, None), [1, 25], []),
        ((None, None, None), [1, 1000], []),
        ((3, None, 2), [3, 5, 1001], [1, 2, 4]),
        ((1, 25, 0), [1, 7, 25], []),
    ],
)
def test_impossible_returns_a_reason_if_the_limits_do_not_allow_the_leverage(
    limits: Limits, possible: list[int], impossible: list[int], enforce: str
) -> None:
    instrument = Instrument("BTCUSDT", *limits, {})
    assert [_policy.describe_limit_violation(desired, instrument, enforce) for desired in possible] == [None] * len(
        possible
    )
    for desired in impossible:
        message = _policy.describe_limit_violation(desired, instrument, enforce)
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
    assert _policy.describe_limit_violation(desired, Instrument("BTCUSDT", *limits, {}), EXACT) == (
        f"The exchange allows {bounds} for this symbol."
    )


def test_leverage_above_the_limit_is_possible_only_with_enforce_maximum() -> None:
    instrument = Instrument("BTCUSDT", 1, 25, 1, {})
    assert _policy.describe_limit_violation(26, instrument, MAXIMUM) is None
    assert _policy.describe_limit_violation(26, instrument, EXACT)


# --- describe_unknown_symbol ---


@pytest.mark.parametrize(
    ("name", "advice"),
    [("BTCUSTD", "Did you mean BTCUSDT?"), ("XBTUSDT", "Did you mean BTCUSDT?"), ("Q", "Check the name.")],
)
def test_unlisted_suggests_a_similar_symbol_if_there_is_one(name: str, advice: str) -> None:
    message = _policy.describe_unknown_symbol(name, "EXCHANGE_2", {"BTCUSDT": 0, "DOGEUSDT": 0})
    assert message == f"EXCHANGE_2 does not list this symbol. {advice}"
