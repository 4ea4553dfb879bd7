# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of steps.py: one case for each branch. tests/unit/whole_tasks/test_stories.py tries all short stories."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    BudgetSpent,
    InternalError,
    KeysRefused,
    RateLimited,
    Refused,
    Unclear,
    Unconfirmed,
    Unreachable,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import (
    Attempt,
    Event,
    Evidence,
    Pause,
    Reading,
    Violation,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import MAXIMUM, Goal
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.steps import Settings, Step, next_step

GOAL = Goal("BTCUSDT", 10)
MAXIMUM_GOAL = Goal("BTCUSDT", 10, MAXIMUM)
ONE_SYMBOL = Settings(reads_limits=False, retries=1)
SEVERAL_SYMBOLS = Settings(reads_limits=True, retries=1)

LOST = Unclear("lost")
REFUSED = Refused(400, "no", "POST")
REFUSED_BEFORE_API = Refused(403, "no", "POST", is_from_api=False)
REDIRECTED = Refused(302, "", "POST", is_from_api=False)
ACCEPTED = Unconfirmed("accepted", 202)
NOT_JSON = Unclear("not JSON", 200)
KEYS = KeysRefused("no")
LIMITED = RateLimited()
UNSENT = Unreachable("no network")
FAILED = Reading(0.0, failure=LOST)
UNSET = Reading(0.0)
PAUSE = Pause(0.0)
NOT_ALLOWED = Violation("limits", "The exchange allows 1 to 5 for this symbol.")


def read(leverage: int) -> Reading:
    return Reading(0.0, leverage)


def write(error: Any = None) -> Attempt:
    return Attempt(0.0, error)


BEFORE = read(20)
Story = tuple[list[Event], dict[str, Any], Step]


def check(story: Story, goal: Goal = GOAL, rules: Settings = ONE_SYMBOL) -> None:
    events, facts, step = story
    assert next_step(Evidence(events, **facts), goal, rules) is step


# --- before the first write ---


@pytest.mark.parametrize(
    "story",
    [
        ([], {}, Step.READ),
        ([], {"held": BudgetSpent("too long")}, Step.END),
        ([FAILED], {}, Step.END),
        ([read(10)], {}, Step.END),
        ([BEFORE], {}, Step.WRITE),
        ([BEFORE], {"held": BudgetSpent("too long")}, Step.END),
        ([UNSET], {}, Step.LIMITS),
        ([UNSET], {"limits_known": True}, Step.WRITE),
        ([UNSET], {"limits_known": True, "violation": NOT_ALLOWED}, Step.END),
        ([UNSET], {"limits_error": LOST}, Step.END),
    ],
)
def test_one_symbol_is_read_and_written(story: Story) -> None:
    check(story)


@pytest.mark.parametrize(
    "story",
    [
        ([read(10)], {}, Step.END),
        ([BEFORE], {}, Step.LIMITS),
        ([BEFORE], {"limits_known": True}, Step.WRITE),
        ([BEFORE], {"limits_known": True, "violation": NOT_ALLOWED}, Step.END),
        ([BEFORE], {"limits_error": LOST}, Step.END),
    ],
)
def test_limits_of_several_symbols_are_read_before_a_write(story: Story) -> None:
    check(story, rules=SEVERAL_SYMBOLS)


@pytest.mark.parametrize(
    "story", [([read(5)], {}, Step.END), ([BEFORE], {}, Step.WRITE), ([UNSET], {"limits_known": True}, Step.END)]
)
def test_maximum_only_lowers_a_leverage(story: Story) -> None:
    check(story, MAXIMUM_GOAL)


# --- after a write with a response ---


@pytest.mark.parametrize(
    "story",
    [
        ([BEFORE, write()], {}, Step.END),
        ([BEFORE, write(REFUSED)], {}, Step.READ_BACK),
        ([BEFORE, write(REFUSED), read(10)], {}, Step.END),
        ([BEFORE, write(REFUSED), BEFORE], {}, Step.LIMITS),
        ([BEFORE, write(REFUSED), BEFORE], {"limits_known": True}, Step.EXPLAIN),
        ([BEFORE, write(REFUSED), BEFORE], {"limits_error": LOST}, Step.EXPLAIN),
        ([BEFORE, write(REFUSED), BEFORE], {"limits_known": True, "violation": NOT_ALLOWED}, Step.END),
        ([BEFORE, write(REFUSED), BEFORE], {"explained": True}, Step.END),
        ([BEFORE, write(REFUSED), FAILED], {}, Step.END),
        ([BEFORE, write(REFUSED_BEFORE_API)], {}, Step.READ_BACK),
        ([BEFORE, write(REFUSED_BEFORE_API), BEFORE], {}, Step.END),
    ],
)
def test_refusal_is_read_back_and_explained(story: Story) -> None:
    check(story)


@pytest.mark.parametrize("error", [LOST, Unclear("error", 503), Unclear("timeout", 408)], ids=str)
def test_write_without_a_valid_response_is_sent_again_after_a_reading(error: Unclear) -> None:
    first: list[Event] = [BEFORE, write(error)]
    check((first, {}, Step.READ_BACK))
    check(([*first, read(10)], {}, Step.END))
    check(([*first, BEFORE], {}, Step.PAUSE_WRITE))
    check(([*first, BEFORE, PAUSE], {}, Step.WRITE))


@pytest.mark.parametrize("error", [REDIRECTED, ACCEPTED, NOT_JSON], ids=str)
def test_write_that_was_accepted_is_not_sent_again(error: Any) -> None:
    first: list[Event] = [BEFORE, write(error)]
    check((first, {}, Step.READ_BACK))
    check(([*first, BEFORE], {}, Step.PAUSE_READ))
    check(([*first, BEFORE, PAUSE], {}, Step.READ_BACK))
    check(([*first, BEFORE, PAUSE, read(10)], {}, Step.END))
    check(([*first, BEFORE, PAUSE, BEFORE], {}, Step.LIMITS))
    check(([*first, BEFORE, PAUSE, BEFORE], {"limits_known": True}, Step.EXPLAIN))
    check(([*first, BEFORE, PAUSE, BEFORE], {"explained": True}, Step.END))


def test_last_retry_is_read_back_twice() -> None:
    last: list[Event] = [BEFORE, write(LOST), BEFORE, PAUSE, write(LOST)]
    check((last, {}, Step.READ_BACK))
    check(([*last, BEFORE], {}, Step.PAUSE_READ))
    check(([*last, BEFORE, PAUSE, BEFORE], {"limits_known": True}, Step.EXPLAIN))


def test_failed_read_back_is_repeated_once_after_a_pause() -> None:
    first: list[Event] = [BEFORE, write(LOST), FAILED]
    check((first, {}, Step.PAUSE_READ))
    check(([*first, PAUSE], {}, Step.READ_BACK))
    check(([*first, PAUSE, FAILED], {}, Step.END))
    # A reading that works allows the write again.
    check(([*first, PAUSE, BEFORE], {}, Step.WRITE))


# --- after a write that did not reach the exchange ---


@pytest.mark.parametrize(
    "story",
    [
        ([BEFORE, write(LIMITED)], {}, Step.WRITE),
        ([BEFORE, write(LIMITED), read(10)], {}, Step.END),
        ([BEFORE, write(LIMITED)], {"held": BudgetSpent("too long")}, Step.END),
        ([BEFORE, write(KEYS)], {}, Step.READ_BACK),
        ([BEFORE, write(KEYS), FAILED], {}, Step.END),
        ([BEFORE, write(KEYS), BEFORE], {}, Step.WRITE),
        ([BEFORE, write(KEYS), BEFORE, write(KEYS)], {}, Step.END),
        ([BEFORE, write(UNSENT)], {}, Step.PAUSE_WRITE),
        ([BEFORE, write(UNSENT), PAUSE], {}, Step.WRITE),
        ([BEFORE, write(UNSENT), PAUSE, write(UNSENT)], {}, Step.END),
        ([BEFORE, write(Unreachable("the task has ended", can_retry=False))], {}, Step.END),
    ],
)
def test_write_that_did_not_reach_the_exchange(story: Story) -> None:
    check(story)


def test_rate_limit_does_not_count_as_a_retry() -> None:
    check(([BEFORE, write(LIMITED), write(LIMITED), write(LOST), BEFORE], {}, Step.PAUSE_WRITE))


def test_write_is_not_sent_again_after_an_unexpected_exception() -> None:
    check(([BEFORE, write(InternalError(ValueError())), BEFORE], {}, Step.PAUSE_READ))


# --- the rules of the check of the API ---

SAME = ONE_SYMBOL._replace(writes_same=True, explains=False)


@pytest.mark.parametrize(
    "story",
    [
        ([read(10)], {}, Step.WRITE),
        ([FAILED], {}, Step.END),
        ([read(10), write()], {}, Step.END),
        ([read(10), write(LIMITED)], {}, Step.WRITE),
        ([read(10), write(REFUSED)], {}, Step.READ_BACK),
        ([read(10), write(REFUSED), read(10)], {}, Step.END),
        # What blocks the change is not read.
        ([read(20), write(REFUSED), read(20)], {}, Step.END),
        ([read(20), write(ACCEPTED), read(20), PAUSE, read(20)], {}, Step.END),
    ],
)
def test_check_writes_also_the_leverage_that_is_in_force(story: Story) -> None:
    check(story, rules=SAME)
