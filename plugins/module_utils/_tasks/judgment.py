# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the evidence about a symbol means. One place decides it, for real runs and check mode.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

from typing import Callable, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import errors
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import Evidence, Reading
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import EXACT, Goal

UNCHANGED = "unchanged"
CHANGED = "changed"
BLOCKED = "blocked"
REFUSED = "refused"
NOT_WRITTEN = "not_written"
UNKNOWN = "unknown"

# Causes. The others are the kinds of errors, those of violations, and the kinds of blockers.
NEVER_CONFIGURED = errors.NotConfigured.kind
NOT_CONFIRMED = errors.Unconfirmed.kind
LIMITS_UNKNOWN = "limits_unknown"


class Verdict(NamedTuple):
    """What is said about a symbol.

    Attributes:
        outcome: UNCHANGED, CHANGED, BLOCKED, REFUSED, NOT_WRITTEN or UNKNOWN.
        leverage: The leverage in force. None if it is not known, or the symbol was never configured.
        previous: The leverage before the last attempt. None likewise.
        changed: Whether the leverage changed.
        before: The leverage before the change, for the diff.
        cause: A stable word that says why the symbol does not comply. Empty if it complies.
        error: The error behind the cause, if there is one.
    """

    outcome: str
    leverage: int | None = None
    previous: int | None = None
    changed: bool = False
    before: int | None = None
    cause: str = ""
    error: errors.CoinSwitchError | None = None


def complies(leverage: int | None, goal: Goal) -> bool:
    """Return whether a current leverage complies with the policy. None means that the symbol was never configured."""
    if leverage is None:
        return False
    return leverage == goal.leverage or (goal.enforce != EXACT and leverage < goal.leverage)


def judge(evidence: Evidence, goal: Goal) -> Verdict:
    """Return the verdict about a symbol. The first rule that matches decides."""
    case = _Case(evidence, goal)
    return next(verdict for verdict in (rule(case) for rule in RULES) if verdict is not None)


class _Case:
    """The evidence of a symbol, in the terms of the rules.

    Attributes:
        evidence: The evidence.
        goal: The policy.
        reached: The attempts that got past the network, the keys and the rate limit.
        last: The last reading that worked and still counts: a reading before an attempt that reached the exchange does
            not say which leverage is in force after it.
        previous: The last reading before the last attempt, or the last reading without an attempt.
    """

    def __init__(self, evidence: Evidence, goal: Goal) -> None:
        self.evidence = evidence
        self.goal = goal
        self.reached = [attempt for attempt in evidence.attempts if attempt.reached]
        self.possible = [attempt for attempt in evidence.attempts if attempt.is_possible]
        readings = evidence.get_readings_after(self.reached[-1] if self.reached else None)
        self.last = next((reading for reading in reversed(readings) if reading.worked), None)
        self.previous = evidence.get_reading(before=evidence.last_attempt)

    @property
    def complies(self) -> bool:
        """Whether the last reading complies with the policy."""
        return self.last is not None and complies(self.last.leverage, self.goal)

    def build(self, outcome: str, cause: str = "", error: errors.CoinSwitchError | None = None) -> Verdict:
        """Return a verdict with the last reading.

        A symbol that does not comply changed if a write may have been carried out, and the leverage is now another one
        than before the first such write.
        """
        leverage, previous = _get_leverage(self.last), _get_leverage(self.previous)
        before = _get_leverage(self.evidence.get_reading(before=self.possible[0])) if self.possible else previous
        changed = bool(self.possible) and self.last is not None and before != leverage
        return Verdict(outcome, leverage, previous, changed, before, cause, error)

    def build_change(self, leverage: int | None) -> Verdict:
        """Return the verdict of a symbol that the task changed."""
        previous = _get_leverage(self.previous)
        return Verdict(CHANGED, leverage, previous, changed=True, before=previous)


def _get_leverage(reading: Reading | None) -> int | None:
    return reading.leverage if reading else None


def _was_confirmed(case: _Case) -> Verdict | None:
    if not case.reached or case.reached[-1].error is not None:
        return None
    return case.build_change(case.goal.leverage)


def _has_no_reading(case: _Case) -> Verdict | None:
    if case.last is not None:
        return None
    failures = [reading.failure for reading in case.evidence.get_readings_after(None) if reading.failure]
    error = case.evidence.held or (failures[-1] if failures else None)
    cause = error.kind if error else errors.Stopped.kind
    return case.build(UNKNOWN, NOT_CONFIRMED if case.possible else cause, error)


def _was_carried_out(case: _Case) -> Verdict | None:
    if case.last is None or not case.reached:
        return None
    is_desired = case.last.leverage == case.goal.leverage
    return case.build_change(case.last.leverage) if is_desired or (case.possible and case.complies) else None


def _needs_no_change(case: _Case) -> Verdict | None:
    return case.build(UNCHANGED)._replace(previous=_get_leverage(case.last)) if case.complies else None


def _was_refused_in_words(case: _Case) -> Verdict | None:
    """Judge HTTP 200 with only a message. It is a refusal if there is a reason for one."""
    found = [attempt.error for attempt in case.possible]
    if not found or not all(isinstance(error, errors.Unconfirmed) and error.is_refusal for error in found):
        return None
    return _is_not_allowed(case) or _is_blocked(case)


def _may_be_carried_out(case: _Case) -> Verdict | None:
    return case.build(UNKNOWN, NOT_CONFIRMED, case.possible[-1].error) if case.possible else None


def _is_not_allowed(case: _Case) -> Verdict | None:
    violation = case.evidence.violation
    return case.build(REFUSED, violation.cause, case.evidence.last_error) if violation else None


def _was_not_written(case: _Case) -> Verdict | None:
    if case.reached:
        return None
    error = _find_why_not_written(case.evidence)
    if error is not None:
        return case.build(NOT_WRITTEN, error.kind, error)
    if case.goal.enforce != EXACT and case.last is not None and case.last.leverage is None:
        return case.build(NOT_WRITTEN, NEVER_CONFIGURED, case.last.unset)
    return case.build(NOT_WRITTEN, LIMITS_UNKNOWN, case.evidence.limits_error)


def _find_why_not_written(evidence: Evidence) -> errors.CoinSwitchError | None:
    """Return the error that kept a symbol from being written. None if its limits or its policy did."""
    if evidence.held is not None:
        return evidence.held
    readings = evidence.get_readings_after(evidence.last_attempt)
    failure, refusal = readings[-1].failure if readings else None, evidence.last_error
    # After a refusal that passes, the write would have been sent again, if the reading before it had worked.
    is_final = refusal is not None and not refusal.can_retry and (failure is None or failure.kind != refusal.kind)
    return refusal if is_final else failure or refusal


def _is_blocked(case: _Case) -> Verdict | None:
    error = case.reached[-1].error
    if error is None or not error.is_from_api or not case.evidence.blockers:
        return None
    return case.build(BLOCKED, case.evidence.blockers[0]["kind"], error)


def _was_refused(case: _Case) -> Verdict | None:
    error = case.reached[-1].error
    return case.build(REFUSED, error.kind if error else "", error)


RULES: tuple[Callable[[_Case], Verdict | None], ...] = (
    _was_confirmed,
    _has_no_reading,
    _was_carried_out,
    _needs_no_change,
    _was_refused_in_words,
    _may_be_carried_out,
    _is_not_allowed,
    _was_not_written,
    _is_blocked,
    _was_refused,
)
