# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of evidence.py."""

from __future__ import annotations

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    CoinSwitchError,
    KeysRefused,
    RateLimited,
    Refused,
    Unclear,
    Unconfirmed,
    Unreachable,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import (
    Attempt,
    Evidence,
    Pause,
    Reading,
)

FAILED = Reading(2.0, failure=Unclear("lost"))


# --- Reading.worked ---


def test_reading_that_says_never_configured_worked() -> None:
    assert Reading(1.0, 10).worked
    assert Reading(1.0).worked
    assert not FAILED.worked


# --- Attempt.reached and Attempt.is_possible ---


@pytest.mark.parametrize(
    ("error", "reached", "possible"),
    [
        (None, True, False),
        (Refused(400, "no", "POST"), True, False),
        (Refused(403, "no", "POST", is_from_api=False), True, False),
        (Refused(302, "", "POST", is_from_api=False), True, True),
        (Unclear("lost"), True, True),
        (Unclear("error", 503), True, True),
        (Unclear("timeout", 408), True, True),
        (Unconfirmed("accepted", 202), True, True),
        (KeysRefused("no"), False, False),
        (RateLimited(), False, False),
        (Unreachable("no network"), False, False),
    ],
    ids=str,
)
def test_attempt_reached_the_exchange_and_its_effect(
    error: CoinSwitchError | None, reached: bool, possible: bool
) -> None:
    attempt = Attempt(1.0, error)
    assert (attempt.reached, attempt.is_possible) == (reached, possible)


# --- Evidence ---


def test_empty_evidence_has_no_attempt_and_no_reading() -> None:
    evidence = Evidence()
    assert (evidence.attempts, evidence.last_attempt, evidence.get_reading()) == ([], None, None)
    assert evidence.get_events_after(None) == []


def test_events_are_found_by_their_order() -> None:
    first, second, pause = Reading(1.0, 10), Reading(3.0, 12), Pause(5.0)
    attempt = Attempt(2.0, Unclear("lost"))
    evidence = Evidence([first, attempt, second, FAILED, pause])
    assert evidence.last_attempt is attempt
    assert evidence.get_events_after(attempt) == [second, FAILED, pause]
    assert evidence.get_reading() is second
    assert evidence.get_reading(before=attempt) is first


def test_equal_attempts_are_different_events() -> None:
    error = Unclear("lost")
    first, second = Attempt(2.0, error), Attempt(2.0, error)
    evidence = Evidence([first, Reading(2.0, 10), second])
    assert evidence.get_events_after(second) == []
    assert evidence.get_reading(before=first) is None
