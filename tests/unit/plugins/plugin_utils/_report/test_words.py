# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sentences of the report say what the numbers mean."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import words as _words

from .rows import POSITION, make_account, make_leverages, make_row

# --- format_factor ---


@pytest.mark.parametrize(("factor", "shown"), [(4.0, "4"), (1.67, "1.67"), (0.2, "0.2"), (150.0, "150"), (1.0, "1")])
def test_factor_is_never_written_as_a_leverage(factor: float, shown: str) -> None:
    assert _words.format_factor(factor) == f"{shown} times the policy"


# --- format_position ---


def test_position_without_a_side_is_included() -> None:
    assert [_words.format_position(row) for row in (POSITION, {"size": "1"}, {})] == ["LONG 0.010", "1", ""]


# --- shorten ---


def test_text_is_on_one_line_and_not_too_long() -> None:
    assert _words.shorten("a\n\x1b[31mb\u2028c") == "a [31mb c"
    assert _words.shorten("x" * 500, 10) == "xxxxxxx..."


# --- describe_drift ---


def test_drift_is_described_for_each_kind_of_policy() -> None:
    assert _words.describe_drift(20, 10, "exact") == "The leverage is 20, and the policy is 10."
    assert _words.describe_drift(20, 10, "maximum") == "The leverage is 20, and the policy allows at most 10."
    assert _words.describe_drift(None, 10, None) == "The symbol was never configured, and the policy is 10."


# --- describe_headline ---

UNREAD = make_leverages(A=None, B=None)
ABOVE_WITH_POSITION = make_account(
    make_row("A", "changed", 40, 10, positions=[POSITION]), make_row("B", "changed", 5, 10), check_mode=True
)


def test_headline_begins_with_the_greatest_danger() -> None:
    accounts = {"alpha": ABOVE_WITH_POSITION}
    complying = {"alpha": make_leverages(A=10)}
    assert [leverage_report(inputs)["headline"] for inputs in (
        complying, accounts, {"alpha": make_leverages(A=10, B=5)}, {**complying, "beta": UNREAD},
        {"alpha": make_leverages(A=10, B=5), "beta": UNREAD},
    )] == [
        "Complies with the policy: 1 leverage on 1 account",
        "Above the policy: 1 of 2 leverages, up to 4 times the policy, 1 with an open position, 1 other finding",
        "Does not comply with the policy: 1 of 2 leverages, none above the policy",
        "Not known: 2 of 3 leverages, 1 of 2 accounts not reached, none known to be above the policy",
        ("Does not comply with the policy: 1 of 4 leverages, 2 not known, 1 of 2 accounts not reached, "
         "none known to be above the policy"),
    ]  # fmt: skip


def test_headline_keeps_what_was_above_the_policy_when_last_seen() -> None:
    first = leverage_report({"alpha": ABOVE_WITH_POSITION, "beta": make_leverages(A=20)}, previous={})
    unread = {"alpha": UNREAD, "beta": UNREAD}
    headlines = [
        leverage_report(inputs, previous=first)["headline"]
        for inputs in (unread, {**unread, "beta": make_leverages(A=20)}, {"alpha": make_leverages(A=10, B=10)})
    ]
    assert headlines == [
        "2 above the policy when last seen and not read since, up to 4 times the policy, 2 other findings",
        ("Above the policy: 1 of 3 leverages, up to 2 times the policy, "
         "1 above the policy when last seen and not read since, up to 4 times the policy, 1 other finding"),
        "Complies with the policy: 2 leverages on 1 account, 1 above the policy when last seen but not in this run",
    ]  # fmt: skip


# --- describe_account ---


def test_message_of_an_account_is_short() -> None:
    rows = [make_row(f"S{number:02}", "refused", 5, 5, f"cause{number % 5}") for number in range(30)]
    (account,) = leverage_report({"alpha": make_account(*rows)})["accounts"]
    assert account["message"] == (
        "30 of 30 leverages do not comply with the policy. S00, S05, S10 and 3 more: The reason is cause0. "
        "The report has 4 more."
    )


@pytest.mark.parametrize(
    ("leverages", "text"),
    [
        ({"A": None, "B": None}, "2 of 2 leverages are not known. "),
        ({"A": None, "B": 10}, "1 of 2 leverages is not known. "),
        ({"A": 20, "B": None}, "1 of 2 leverages does not comply with the policy, 1 is not known. "),
        ({"A": 20, "B": 20, "C": None, "D": None}, "2 of 4 leverages do not comply with the policy, 2 are not known. "),
    ],
)
def test_message_counts_what_is_not_known_apart(leverages: dict[str, Any], text: str) -> None:
    (account,) = leverage_report({"alpha": make_leverages(**leverages)})["accounts"]
    assert account["message"].startswith(text)


def test_message_has_the_factor_of_its_own_account() -> None:
    rows = [make_row("A", "blocked", leverage, leverage, "position") for leverage in (40, 11)]
    accounts = leverage_report({"alpha": make_account(rows[0]), "beta": make_account(rows[1])})["accounts"]
    assert [account["message"] for account in accounts] == [
        "A (4 times the policy): The reason is position.",
        "A (1.1 times the policy): The reason is position.",
    ]


def test_message_of_one_symbol_has_no_count() -> None:
    (account,) = leverage_report({"alpha": make_leverages(A=20)})["accounts"]
    assert account["message"] == "A (2 times the policy): The leverage is 20, and the policy is 10."
