# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do next for one symbol. It depends on the evidence alone, so every short story can be tested in memory.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Effect
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import (
    KEYS_STATUS,
    RATE_LIMIT_STATUS,
    Attempt,
    Event,
    Evidence,
    Goal,
    Pause,
    Reading,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.judgment import complies
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import EXACT


class Step(Enum):
    """A step of one symbol."""

    READ = "read the leverage for the first time"
    LIMITS = "read the limits of the symbol"
    WRITE = "write the desired leverage"
    PAUSE_WRITE = "pause before the next write"
    READ_BACK = "read the leverage after a write"
    PAUSE_READ = "pause before the second read back"
    EXPLAIN = "read what blocks the change"
    END = "do nothing more"


class Rules(NamedTuple):
    """What applies to all symbols of a task.

    Attributes:
        reads_limits: Whether the limits are read before a write. A task with one symbol saves this request.
        retries: The maximum number of times to send a write again that got no valid response.
        writes_same: Whether to write a leverage that complies already, as the check of the API does.
        explains: Whether to read what blocks a change that was refused.
    """

    reads_limits: bool
    retries: int
    writes_same: bool = False
    explains: bool = True


def next_step(evidence: Evidence, goal: Goal, rules: Rules) -> Step:
    """Return the next step of a symbol."""
    if evidence.held is not None:
        return Step.END
    attempt = evidence.last_attempt
    if attempt is None:
        return _get_step_before_first_write(evidence, goal, rules)
    if attempt.error is None:
        return Step.END
    if not attempt.reached:
        return _get_step_after_no_effect(evidence, attempt, goal, rules)
    after = evidence.get_events_after(attempt)
    readings = [event for event in after if isinstance(event, Reading)]
    if not readings:
        return Step.READ_BACK
    if readings[-1].worked and complies(readings[-1].leverage, goal):
        return Step.END
    if attempt.error.effect is Effect.POSSIBLE:
        return _get_step_after_possible_effect(evidence, attempt, after, rules)
    return _explain_or_end(evidence, attempt, readings[-1], rules)


def _get_step_after_possible_effect(evidence: Evidence, attempt: Attempt, after: list[Event], rules: Rules) -> Step:
    """Return the step after a write that may have been carried out, and that the last reading does not show."""
    reading = next(event for event in reversed(after) if isinstance(event, Reading))
    has_paused = any(isinstance(event, Pause) for event in after)
    if reading.worked and _can_send_again(evidence, rules):
        return Step.WRITE if has_paused else Step.PAUSE_WRITE
    if not has_paused:
        return Step.PAUSE_READ
    return Step.READ_BACK if isinstance(after[-1], Pause) else _explain_or_end(evidence, attempt, reading, rules)


def _get_step_before_first_write(evidence: Evidence, goal: Goal, rules: Rules) -> Step:
    reading = next((event for event in reversed(evidence.events) if isinstance(event, Reading)), None)
    if reading is None:
        return Step.READ
    if not reading.worked or (complies(reading.leverage, goal) and not rules.writes_same):
        return Step.END
    is_unset = reading.leverage is None
    if (rules.reads_limits or is_unset) and not evidence.limits_known and evidence.limits_error is None:
        return Step.LIMITS
    if evidence.violation or evidence.limits_error or (is_unset and goal.enforce != EXACT):
        return Step.END
    return Step.WRITE


def _get_step_after_no_effect(evidence: Evidence, attempt: Attempt, goal: Goal, rules: Rules) -> Step:
    """Return the step after a write that did not get past the network, the keys or the rate limit."""
    error = attempt.error
    after = evidence.get_events_after(attempt)
    readings = [event for event in after if isinstance(event, Reading)]
    if readings and (not readings[-1].worked or complies(readings[-1].leverage, goal)):
        return Step.END
    if error is None or error.status == RATE_LIMIT_STATUS:
        return Step.WRITE
    if error.status == KEYS_STATUS:
        # A reading that works says that the keys are valid, so the refusal can be an accident.
        is_first = sum(item.error is not None and item.error.status == KEYS_STATUS for item in evidence.attempts) == 1
        return (Step.WRITE if readings else Step.READ_BACK) if is_first else Step.END
    if not error.can_retry or _count_attempts(evidence) > rules.retries:
        return Step.END
    return Step.WRITE if any(isinstance(event, Pause) for event in after) else Step.PAUSE_WRITE


def _can_send_again(evidence: Evidence, rules: Rules) -> bool:
    """Return whether to send a write again that may have been carried out: after a broken connection, 408 or 5xx."""
    attempt = evidence.last_attempt
    error = attempt.error if attempt else None
    status = error.status if error else None
    is_accepted = status is not None and status < 400
    return error is not None and error.can_retry and not is_accepted and _count_attempts(evidence) <= rules.retries


def _count_attempts(evidence: Evidence) -> int:
    """Return how often the write was sent, without the refusals of the rate limit: their waits are limited instead."""
    errors = [attempt.error for attempt in evidence.attempts]
    return sum(error is None or error.status != RATE_LIMIT_STATUS for error in errors)


def _explain_or_end(evidence: Evidence, attempt: Attempt, reading: Reading, rules: Rules) -> Step:
    """Return the step that explains a refusal: first the limits, then positions and orders if the limits allow it.

    A server in front of the API does not know the positions, so its refusal is not explained.
    """
    is_explainable = rules.explains and attempt.error is not None and (attempt.is_possible or attempt.error.is_from_api)
    if not reading.worked or not is_explainable or evidence.explained or evidence.violation:
        return Step.END
    return Step.EXPLAIN if evidence.limits_known or evidence.limits_error else Step.LIMITS
