# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The result of a task that applies a policy: its rows, its failure and its warnings.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    CoinSwitchError,
    InputRefused,
    InternalError,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import judgment
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import Evidence
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.judgment import Verdict
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import WARN, Goal, Policy, read_policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result, build_error
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.wording import explain

_SINGLE_NAMES = ("symbol", "exchange", "leverage", "previous_leverage", "outcome")


class Outcome(NamedTuple):
    """The end of one symbol.

    Attributes:
        goal: What the policy says.
        evidence: What is known.
        verdict: What it means.
        positions: The open positions of the symbol. None if they are not known.
        has_several_symbols: Whether the task has several symbols, and so reads the positions.
    """

    goal: Goal
    evidence: Evidence
    verdict: Verdict
    positions: list[dict[str, Any]] | None = None
    has_several_symbols: bool = False

    @property
    def complies(self) -> bool:
        """Whether the leverage complies with the policy, or would in check mode."""
        return self.verdict.outcome in (judgment.UNCHANGED, judgment.CHANGED)

    @property
    def reason(self) -> str:
        """Why the symbol does not comply. Empty if it complies."""
        return explain(self.verdict, self.evidence, self.goal)

    def as_row(self, exchange: str) -> dict[str, Any]:
        """Return the outcome as a row of `results`."""
        verdict = self.verdict
        row: dict[str, Any] = {
            "symbol": self.goal.symbol,
            "exchange": exchange,
            "leverage": verdict.leverage,
            "previous_leverage": verdict.previous,
            "changed": verdict.changed,
            "desired_leverage": self.goal.leverage,
            "outcome": verdict.outcome,
        }
        if verdict.outcome != judgment.UNCHANGED and self.has_several_symbols:
            row.update(positions=self.positions)
        if self.complies:
            return row
        row.update(cause=verdict.cause, reason=self.reason, blockers=self.evidence.blockers)
        words = "" if self.evidence.predicted or verdict.error is None else verdict.error.exchange_message
        return {**row, "exchange_message": words} if words else row


def build_empty_result(options: Mapping[str, Any], error: Mapping[str, Any]) -> dict[str, Any]:
    """Return the result of a task that failed before its first request. Each symbol of a valid policy has a row.

    Args:
        options: The options of the task.
        error: The facts of the failure.
    """
    try:
        policy = read_policy(options)
    except InputRefused:
        policy = Policy([])
    failure = CoinSwitchError("The task failed before it sent a request.")
    failure.kind = error["kind"]
    evidence = Evidence(held=failure)
    verdicts = [(goal, judgment.judge(evidence, goal)) for goal in policy.goals]
    outcomes = [Outcome(goal, evidence, verdict, None, not policy.single) for goal, verdict in verdicts]
    return build_result(outcomes, policy, str(options.get("exchange")).upper()).values


def build_result(
    outcomes: Sequence[Outcome], policy: Policy, exchange: str, internal_error: InternalError | None = None
) -> Result:
    """Return the result of a task.

    Args:
        outcomes: The outcome of each symbol, in the order of the policy.
        policy: The policy.
        exchange: The exchange identifier.
        internal_error: The unexpected exception that ended the task, if there was one.
    """
    rows = [outcome.as_row(exchange) for outcome in outcomes]
    changes = [outcome for outcome in outcomes if outcome.verdict.changed]
    values: dict[str, Any] = {
        "changed": bool(changes),
        "diff": {
            "before": {outcome.goal.symbol: outcome.verdict.before for outcome in changes},
            "after": {outcome.goal.symbol: outcome.verdict.leverage for outcome in changes},
        },
        "results": rows,
    }
    if policy.single:
        values.update((name, rows[0][name]) for name in _SINGLE_NAMES)
    tolerated = [item for item in outcomes if item.verdict.outcome == judgment.BLOCKED and policy.on_blocked == WARN]
    failed = [item for item in outcomes if not item.complies and item not in tolerated]
    warnings = [f"{item.goal.symbol}: {item.reason}" for item in tolerated]
    failure = _describe_failure(failed, len(outcomes), internal_error)
    return Result(values, failure, warnings, None if failure is None else _get_error(failed, internal_error))


def _get_error(failed: Sequence[Outcome], internal_error: InternalError | None) -> dict[str, Any]:
    """Return the facts of the failure: of the error that ended the task, or of the first symbol that failed."""
    if internal_error is not None:
        return build_error(internal_error.kind)
    verdict = failed[0].verdict
    # A prediction of check mode is no response of the exchange.
    status = None if failed[0].evidence.predicted or verdict.error is None else verdict.error.status
    return build_error(verdict.cause, status)


def _describe_failure(failed: Sequence[Outcome], count: int, internal_error: InternalError | None) -> str | None:
    """Return the message of the failure. Symbols with the same reason share one entry."""
    by_reason: dict[str, list[str]] = {}
    for item in failed:
        by_reason.setdefault(item.reason, []).append(item.goal.symbol)
    lines = [f"{', '.join(symbols)}: {reason}" for reason, symbols in by_reason.items()]
    if internal_error is not None and not any(str(internal_error) in line for line in lines):
        lines.append(str(internal_error))
    if not lines:
        return None
    verb = "does" if len(failed) == 1 else "do"
    start = f"{len(failed)} of {count} symbols {verb} not have the desired leverage. "
    return (start if failed and count > 1 else "") + " ".join(lines)
