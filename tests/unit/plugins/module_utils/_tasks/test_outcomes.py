# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of outcomes.py: rows, failures and warnings of a task with several symbols."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    BudgetSpent,
    InternalError,
    Refused,
    Unclear,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import (
    Attempt,
    Event,
    Evidence,
    Reading,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.judgment import judge
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.outcomes import (
    Outcome,
    build_empty_result,
    build_result,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import FAIL, WARN, Goal, Policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result

REFUSED = Refused(400, "Not now", "POST /leverage")
SPENT = BudgetSpent("There is no time left.")
POSITION = {"kind": "position", "position_id": "a", "side": "LONG", "size": "1", "mark_price": "5"}


def read(leverage: int) -> Reading:
    return Reading(0.0, leverage)


def write(error: Any = None) -> Attempt:
    return Attempt(0.0, error)


WRITE_WAS_REFUSED: list[Event] = [read(20), write(REFUSED), read(20)]


def make_outcome(symbol: str, events: list[Event], **facts: Any) -> Outcome:
    goal, evidence = Goal(symbol, 10), Evidence(events, **facts)
    return Outcome(goal, evidence, judge(evidence, goal))


UNCHANGED = make_outcome("AUSDT", [read(10)])
CHANGED = make_outcome("BUSDT", [read(20), write()])
BLOCKED = make_outcome("CUSDT", WRITE_WAS_REFUSED, blockers=[POSITION])
HELD = make_outcome("DUSDT", [read(20)], held=SPENT)
HELD_TOO = make_outcome("EUSDT", [read(20)], held=SPENT)
CHANGED_BUT_UNKNOWN = make_outcome("FUSDT", [read(20), write(Unclear("lost")), read(15)])


def build(*outcomes: Outcome, on_blocked: str = FAIL, single: bool = False, error: Any = None) -> Result:
    return build_result(outcomes, Policy([], on_blocked, single), "EXCHANGE_2", error)


# --- build_empty_result ---


def test_task_that_failed_before_its_first_request_knows_nothing() -> None:
    options = {"symbol": "btcusdt", "leverage": 10, "exchange": "exchange_2", "on_blocked": WARN}
    values = build_empty_result(options, {"kind": "keys"})
    assert values["results"] == [
        {
            "symbol": "BTCUSDT",
            "exchange": "EXCHANGE_2",
            "leverage": None,
            "previous_leverage": None,
            "changed": False,
            "desired_leverage": 10,
            "outcome": "unknown",
            "cause": "keys",
            "reason": "the current leverage is not known. The task failed before it sent a request.",
            "blockers": [],
        }
    ]
    names = ("symbol", "exchange", "leverage", "previous_leverage", "outcome")
    assert {name: values[name] for name in names} == {name: values["results"][0][name] for name in names}
    assert values["diff"] == {"before": {}, "after": {}}


def test_positions_of_a_task_with_several_symbols_that_failed_early_are_not_known() -> None:
    values = build_empty_result({"leverages": {"BTCUSDT": 10, "ETHUSDT": 5}, "exchange": "X"}, {"kind": "keys"})
    assert [(row["symbol"], row["positions"]) for row in values["results"]] == [("BTCUSDT", None), ("ETHUSDT", None)]


def test_task_with_an_invalid_policy_has_no_rows() -> None:
    values = build_empty_result({"leverages": {"BTCUSDT": "x"}, "exchange": "X"}, {"kind": "input"})
    assert (values["results"], values["changed"]) == ([], False)


# --- Outcome.as_row ---


def test_row_of_a_symbol_that_complies_has_no_reason() -> None:
    assert CHANGED.as_row("EXCHANGE_2") == {
        "symbol": "BUSDT",
        "exchange": "EXCHANGE_2",
        "leverage": 10,
        "previous_leverage": 20,
        "changed": True,
        "desired_leverage": 10,
        "outcome": "changed",
    }


def test_row_of_a_symbol_that_does_not_comply_says_why() -> None:
    row = BLOCKED._replace(positions=[], has_several_symbols=True).as_row("EXCHANGE_2")
    assert (row["outcome"], row["cause"], row["blockers"], row["positions"]) == ("blocked", "position", [POSITION], [])
    assert row["reason"] == BLOCKED.reason
    assert row["exchange_message"] == "Not now"


@pytest.mark.parametrize("positions", [None, [POSITION]])
def test_row_of_several_symbols_has_the_positions_unless_nothing_changes(positions: Any) -> None:
    rows = [
        outcome._replace(positions=positions, has_several_symbols=True).as_row("EXCHANGE_2")
        for outcome in (UNCHANGED, CHANGED, HELD)
    ]
    assert ["positions" in row for row in rows] == [False, True, True]
    assert rows[1]["positions"] == rows[2]["positions"] == positions


def test_row_of_check_mode_has_no_words_of_the_exchange() -> None:
    row = make_outcome("CUSDT", WRITE_WAS_REFUSED, blockers=[POSITION], predicted=True).as_row("EXCHANGE_2")
    assert row["outcome"] == "blocked"
    assert "exchange_message" not in row


# --- build_result ---


def test_task_without_a_problem_succeeds() -> None:
    result = build(UNCHANGED, CHANGED)
    assert (result.failure, result.warnings, result.error) == (None, [], None)
    assert result.values["changed"] is True
    assert result.values["diff"] == {"before": {"BUSDT": 20}, "after": {"BUSDT": 10}}
    assert [row["symbol"] for row in result.values["results"]] == ["AUSDT", "BUSDT"]
    assert "symbol" not in result.values


def test_task_with_one_symbol_returns_its_row_at_the_top() -> None:
    values = build(CHANGED, single=True).values
    names = ("symbol", "exchange", "leverage", "previous_leverage", "outcome")
    assert {name: values[name] for name in names} == {name: values["results"][0][name] for name in names}


def test_failure_names_each_symbol_and_groups_equal_reasons() -> None:
    result = build(UNCHANGED, HELD, BLOCKED, HELD_TOO)
    assert result.failure == (
        "3 of 4 symbols do not have the desired leverage. "
        "DUSDT, EUSDT: the leverage is still 20, not 10. There is no time left. "
        f"CUSDT: {BLOCKED.reason}"
    )
    assert result.error == {"kind": "rate_limit"}
    assert build(UNCHANGED, HELD).failure == (
        f"1 of 2 symbols does not have the desired leverage. DUSDT: {HELD.reason}"
    )


def test_failure_of_the_only_symbol_has_no_count() -> None:
    result = build(BLOCKED, single=True)
    assert result.failure == f"CUSDT: {BLOCKED.reason}"
    assert result.error == {"kind": "position", "status": 400}


def test_blocked_symbol_is_a_warning_with_on_blocked_warn() -> None:
    result = build(UNCHANGED, BLOCKED, on_blocked=WARN)
    assert (result.failure, result.error) == (None, None)
    assert result.warnings == [f"CUSDT: {BLOCKED.reason}"]
    assert build(HELD, BLOCKED, on_blocked=WARN).failure is not None


def test_failed_symbol_that_changed_is_in_the_diff() -> None:
    result = build(CHANGED_BUT_UNKNOWN)
    assert result.failure is not None
    assert result.values["changed"] is True
    assert result.values["diff"] == {"before": {"FUSDT": 20}, "after": {"FUSDT": 15}}


@pytest.mark.parametrize("outcome", [UNCHANGED, HELD])
def test_unexpected_exception_is_the_error_of_the_task(outcome: Outcome) -> None:
    error = InternalError(ValueError())
    result = build(outcome, error=error)
    assert result.failure is not None
    assert result.failure.endswith(str(error))
    assert result.error == {"kind": "internal_error"}


def test_unexpected_exception_is_named_once() -> None:
    error = InternalError(ValueError())
    failure = build(make_outcome("AUSDT", [], held=error), error=error).failure
    assert failure is not None
    assert failure.count("Internal error") == 1
