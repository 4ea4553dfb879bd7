# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of judgment.py: one case for each rule. tests/unit/whole_tasks/test_stories.py tries all short stories."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    BudgetSpent,
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
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.judgment import RULES, complies, judge
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import EXACT, MAXIMUM, Goal

EXACT_GOAL = Goal("BTCUSDT", 10)
MAXIMUM_GOAL = Goal("BTCUSDT", 10, MAXIMUM)

LOST = Unclear("lost")
REFUSED = Refused(400, "no", "POST")
REFUSED_BEFORE_API = Refused(403, "no", "POST", is_from_api=False)
REFUSED_IN_WORDS = Unconfirmed("no", 200, is_refusal=True)
KEYS = KeysRefused("no")
SPENT = BudgetSpent("too long")
FAILED = Reading(0.0, failure=LOST)
UNSET = Reading(0.0)
POSITION = {"blockers": [{"kind": "position"}]}
ORDER = {"blockers": [{"kind": "order"}]}
NOT_ALLOWED = {"violation": Violation("limits", "The exchange allows 1 to 5 for this symbol.")}


def read(leverage: int) -> Reading:
    return Reading(0.0, leverage)


def write(error: Any = None) -> Attempt:
    return Attempt(0.0, error)


# --- complies ---


@pytest.mark.parametrize(
    ("current", "desired", "enforce", "expected"),
    [
        (10, 10, EXACT, True),
        (10, 11, EXACT, False),
        (11, 10, EXACT, False),
        (None, 10, EXACT, False),
        (10, 10, MAXIMUM, True),
        (10, 11, MAXIMUM, True),
        (11, 10, MAXIMUM, False),
        (None, 10, MAXIMUM, False),
    ],
)
def test_current_leverage_complies_with_the_policy(
    current: int | None, desired: int, enforce: str, expected: bool
) -> None:
    assert complies(current, Goal("BTCUSDT", desired, enforce)) is expected


# --- judge ---

# The evidence, and the outcome, the cause, the leverage in force and the previous one.
Case = tuple[list[Event], dict[str, Any], tuple[str, str, "int | None", "int | None"]]
CASES: dict[str, Case] = {
    # A confirmed write.
    "confirmed": ([read(20), write()], {}, ("changed", "", 10, 20)),
    "confirmed, never configured before": ([UNSET, write()], {}, ("changed", "", 10, None)),
    "confirmed after a lost one": ([read(20), write(LOST), read(20), write()], {}, ("changed", "", 10, 20)),
    # No reading that counts.
    "nothing was read": ([], {}, ("unknown", "stopped", None, None)),
    "the reading failed": ([FAILED], {}, ("unknown", "unclear_response", None, None)),
    "no time to read": ([], {"held": SPENT}, ("unknown", "rate_limit", None, None)),
    "the read back failed": ([read(20), write(LOST), FAILED], {}, ("unknown", "not_confirmed", None, 20)),
    "the read back of a refusal failed": (
        [read(20), write(REFUSED), FAILED],
        {},
        ("unknown", "unclear_response", None, 20),
    ),
    # A write that is in force.
    "lost, but in force": ([read(20), write(LOST), read(10)], {}, ("changed", "", 10, 20)),
    "refused, but in force": ([read(20), write(REFUSED), read(10)], {}, ("changed", "", 10, 20)),
    # No change is necessary.
    "complies": ([read(10)], {}, ("unchanged", "", 10, 10)),
    "complies after refused keys": ([read(20), write(KEYS), read(10)], {}, ("unchanged", "", 10, 10)),
    # A refusal in words.
    "refused in words": ([read(20), write(REFUSED_IN_WORDS), read(20)], POSITION, ("blocked", "position", 20, 20)),
    "refused in words, not allowed": (
        [read(20), write(REFUSED_IN_WORDS), read(20)],
        NOT_ALLOWED,
        ("refused", "limits", 20, 20),
    ),
    "refused in words without a reason": (
        [read(20), write(REFUSED_IN_WORDS), read(20)],
        {},
        ("unknown", "not_confirmed", 20, 20),
    ),
    "refused in words after a lost write": (
        [read(20), write(LOST), read(20), write(REFUSED_IN_WORDS), read(20)],
        POSITION,
        ("unknown", "not_confirmed", 20, 20),
    ),
    # A write of possible effect.
    "lost": ([read(20), write(LOST), read(20)], {}, ("unknown", "not_confirmed", 20, 20)),
    "lost, and a position is open": ([read(20), write(LOST), read(20)], POSITION, ("unknown", "not_confirmed", 20, 20)),
    "lost, then refused": (
        [read(20), write(LOST), read(20), write(REFUSED), read(20)],
        POSITION,
        ("unknown", "not_confirmed", 20, 20),
    ),
    # The limits.
    "not allowed": ([read(20)], NOT_ALLOWED, ("refused", "limits", 20, 20)),
    "refused and not allowed": ([read(20), write(REFUSED), read(20)], NOT_ALLOWED, ("refused", "limits", 20, 20)),
    # No write reached the exchange.
    "no time to write": ([read(20)], {"held": SPENT}, ("not_written", "rate_limit", 20, 20)),
    "refused by the rate limit": ([read(20), write(RateLimited())], {}, ("not_written", "rate_limit", 20, 20)),
    "keys that cannot write": ([read(20), write(KEYS), read(20), write(KEYS)], {}, ("not_written", "keys", 20, 20)),
    "no connection": ([read(20), write(Unreachable("no"))], {}, ("not_written", "network", 20, 20)),
    "the reading before the write failed": ([read(20), FAILED], {}, ("not_written", "unclear_response", 20, 20)),
    "refused by the rate limit, then not read": (
        [read(20), write(RateLimited()), FAILED],
        {},
        ("not_written", "unclear_response", 20, 20),
    ),
    "refused keys, then not read": ([read(20), write(KEYS), FAILED], {}, ("not_written", "keys", 20, 20)),
    "never configured, then not read": ([UNSET, FAILED], {}, ("not_written", "unclear_response", None, None)),
    "unknown limits": ([read(20)], {"limits_error": LOST}, ("not_written", "limits_unknown", 20, 20)),
    # A refusal of the API.
    "position": ([read(20), write(REFUSED), read(20)], POSITION, ("blocked", "position", 20, 20)),
    "order": ([read(20), write(REFUSED), read(20)], ORDER, ("blocked", "order", 20, 20)),
    "refused without a reason": ([read(20), write(REFUSED), read(20)], {}, ("refused", "refused", 20, 20)),
    "refused in front of the API": (
        [read(20), write(REFUSED_BEFORE_API), read(20)],
        POSITION,
        ("refused", "refused_before_api", 20, 20),
    ),
}
MAXIMUM_CASES: dict[str, Case] = {
    "lower": ([read(5)], {}, ("unchanged", "", 5, 5)),
    "never configured": ([UNSET], {}, ("not_written", "never_configured", None, None)),
    "the reading before the write failed": ([read(20), FAILED], {}, ("not_written", "unclear_response", 20, 20)),
    "lost, and the exchange chose a lower value": ([read(20), write(LOST), read(8)], {}, ("changed", "", 8, 20)),
    "refused, and another program lowered it": ([read(20), write(REFUSED), read(8)], {}, ("unchanged", "", 8, 8)),
}
ALL_CASES = [
    *(pytest.param(EXACT_GOAL, *case, id=name) for name, case in CASES.items()),
    *(pytest.param(MAXIMUM_GOAL, *case, id=f"{name} (maximum)") for name, case in MAXIMUM_CASES.items()),
]


@pytest.mark.parametrize(("goal", "events", "facts", "expected"), ALL_CASES)
def test_verdict(
    goal: Goal, events: list[Event], facts: dict[str, Any], expected: tuple[str, str, int | None, int | None]
) -> None:
    verdict = judge(Evidence(events, **facts), goal)
    assert (verdict.outcome, verdict.cause, verdict.leverage, verdict.previous) == expected
    assert bool(verdict.cause) is (verdict.outcome not in ("changed", "unchanged"))


def test_the_last_rule_always_matches() -> None:
    """All other rules can return None, so each case of this file ends with a rule."""
    assert RULES[-1].__name__ == "_was_refused"


@pytest.mark.parametrize(
    ("events", "changed", "before"),
    [
        ([read(20), write(LOST), read(20)], False, 20),
        ([read(20), write(LOST), read(15)], True, 20),
        ([read(20), write(LOST), read(15), write(LOST), read(15)], True, 20),
        ([read(20), write(LOST), read(15), Pause(0.0), read(20)], False, 20),
        ([read(20), write(REFUSED), read(15)], False, 20),
    ],
)
def test_failed_symbol_changed_if_a_write_may_have_changed_it(events: list[Event], changed: bool, before: int) -> None:
    verdict = judge(Evidence(events), EXACT_GOAL)
    assert verdict.outcome in ("unknown", "refused")
    assert (verdict.changed, verdict.before) == (changed, before)


def test_verdict_has_the_error_behind_the_cause() -> None:
    assert judge(Evidence([read(20), write(REFUSED), read(20)]), EXACT_GOAL).error is REFUSED
    assert judge(Evidence([read(20)], held=SPENT), EXACT_GOAL).error is SPENT
    assert judge(Evidence([FAILED]), EXACT_GOAL).error is LOST
