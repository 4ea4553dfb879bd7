# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do next for one symbol. It depends on the evidence alone, so every short story can be tested in memory.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import errors
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import CoinSwitchError
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import Evidence, Pause, Reading
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.judgment import complies
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import EXACT, Goal


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


class Settings(NamedTuple):
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


def next_step(evidence: Evidence, goal: Goal, settings: Settings) -> Step:
    """Return the next step of a symbol."""
    if evidence.held is not None:
        return Step.END
    attempt = evidence.last_attempt
    if attempt is None:
        return _get_step_before_first_write(evidence, goal, settings)
    if attempt.error is None:
        return Step.END
    readings = evidence.get_readings_after(attempt)
    reading = readings[-1] if readings else None
    if reading is not None and reading.worked and complies(reading.leverage, goal):
        return Step.END
    if not attempt.reached:
        return _get_step_after_no_effect(evidence, attempt.error, reading, settings)
    if reading is None:
        return Step.READ_BACK
    if attempt.is_possible:
        return _get_step_after_possible_effect(evidence, attempt.error, reading, settings)
    return _explain_or_end(evidence, attempt.error, reading, settings)


def _get_step_before_first_write(evidence: Evidence, goal: Goal, settings: Settings) -> Step:
    readings = evidence.get_readings_after(None)
    if not readings:
        return Step.READ
    reading = readings[-1]
    if not reading.worked or (complies(reading.leverage, goal) and not settings.writes_same):
        return Step.END
    is_unset = reading.leverage is None
    if (settings.reads_limits or is_unset) and not evidence.limits_known and evidence.limits_error is None:
        return Step.LIMITS
    if evidence.violation or evidence.limits_error or (is_unset and goal.enforce != EXACT):
        return Step.END
    return Step.WRITE


def _get_step_after_no_effect(
    evidence: Evidence, error: CoinSwitchError, reading: Reading | None, settings: Settings
) -> Step:
    """Return the step after a write that did not get past the network, the keys or the rate limit."""
    if reading is not None and not reading.worked:
        return Step.END
    if error.status == errors.RateLimited.status:
        return Step.WRITE
    if error.status == errors.KeysRefused.status:
        # A reading that works says that the keys are valid, so the refusal can be an accident.
        refusals = [item for item in evidence.attempts if item.error and item.error.status == error.status]
        if len(refusals) > 1:
            return Step.END
        return Step.READ_BACK if reading is None else Step.WRITE
    if not _can_send_again(evidence, error, settings):
        return Step.END
    return Step.WRITE if _has_paused(evidence) else Step.PAUSE_WRITE


def _get_step_after_possible_effect(
    evidence: Evidence, error: CoinSwitchError, reading: Reading, settings: Settings
) -> Step:
    """Return the step after a write that may have been carried out, and that the last reading does not show."""
    if reading.worked and _can_send_again(evidence, error, settings):
        return Step.WRITE if _has_paused(evidence) else Step.PAUSE_WRITE
    if not _has_paused(evidence):
        return Step.PAUSE_READ
    is_pause_over = not isinstance(evidence.events[-1], Pause)
    return _explain_or_end(evidence, error, reading, settings) if is_pause_over else Step.READ_BACK


def _has_paused(evidence: Evidence) -> bool:
    """Return whether there was a pause after the last attempt."""
    return any(isinstance(event, Pause) for event in evidence.get_events_after(evidence.last_attempt))


def _can_send_again(evidence: Evidence, error: CoinSwitchError, settings: Settings) -> bool:
    """Return whether to send a write again: after a broken connection, 408 or 5xx, if it was not sent too often.

    The refusals of the rate limit do not count: their waits are limited instead.
    """
    is_accepted = error.status is not None and error.status < 400
    writes = [item for item in evidence.attempts if not item.error or item.error.status != errors.RateLimited.status]
    return error.can_retry and not is_accepted and len(writes) <= settings.retries


def _explain_or_end(evidence: Evidence, error: CoinSwitchError, reading: Reading, settings: Settings) -> Step:
    """Return the step that explains a refusal: first the limits, then positions and orders if the limits allow it.

    A server in front of the API does not know the positions, so its refusal is not explained.
    """
    is_explainable = settings.explains and (error.effect is errors.Effect.POSSIBLE or error.is_from_api)
    if not reading.worked or not is_explainable or evidence.explained or evidence.violation:
        return Step.END
    return Step.EXPLAIN if evidence.limits_known or evidence.limits_error else Step.LIMITS
