# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a verdict: why a symbol does not comply, and what to do about it.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

from typing import Callable

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import CoinSwitchError
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.blockers import describe_blockers
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import Evidence, Goal, Reading
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.judgment import (
    BLOCKED,
    LIMITS_UNKNOWN,
    NEVER_CONFIGURED,
    NOT_WRITTEN,
    REFUSED,
    UNKNOWN,
    Verdict,
)

READ_BEFORE_YOU_TRADE = "Read the leverage before you trade."


def explain(verdict: Verdict, evidence: Evidence, goal: Goal) -> str:
    """Return the reason of a verdict, in sentences on one line. Empty if the symbol complies.

    What was observed on the exchange comes last, so the reason of check mode is the start of that of a real run.
    """
    describe = _BY_OUTCOME.get(verdict.outcome)
    return "" if describe is None else " ".join(filter(None, describe(verdict, evidence, goal)))


def make_sentence(text: object) -> str:
    """Return a text as a sentence: with a capital letter and a period."""
    line = str(text)
    return line[:1].upper() + line[1:] + ("" if line.endswith((".", "?", "!")) else ".")


def _explain_blocked(verdict: Verdict, evidence: Evidence, goal: Goal) -> list[str]:
    return [_describe_state(verdict, goal), describe_blockers(evidence.blockers), _describe_observation(evidence)]


def _explain_refused(verdict: Verdict, evidence: Evidence, goal: Goal) -> list[str]:
    if evidence.violation is not None:
        state = "" if evidence.violation.cause == "not_listed" else _describe_state(verdict, goal)
        return [state, evidence.violation.text, _describe_observation(evidence)]
    return [_describe_state(verdict, goal), _describe_search(evidence), _describe_observation(evidence)]


def _describe_search(evidence: Evidence) -> str:
    """Return what the search for blockers found, if there was one."""
    if not evidence.explained:
        return ""
    if not evidence.search_failed:
        return "No open position or order was found that blocks the change."
    return "It is not known whether a position or order blocks the change."


def _explain_not_written(verdict: Verdict, evidence: Evidence, goal: Goal) -> list[str]:
    if verdict.cause == NEVER_CONFIGURED:
        return [
            f"the symbol was never configured, so there is no leverage to compare with {goal.leverage}.",
            "Set it once with enforce=exact.",
        ]
    state = _describe_state(verdict, goal)
    if verdict.cause == LIMITS_UNKNOWN:
        return [
            state,
            "The task did not write it, because the limits of the symbol could not be read.",
            _quote(verdict.error),
        ]
    return [state, _quote(verdict.error)]


def _explain_unknown(verdict: Verdict, evidence: Evidence, goal: Goal) -> list[str]:
    attempt = next((item for item in reversed(evidence.attempts) if item.reached), None)
    if attempt is None:
        return ["the current leverage is not known.", _quote(verdict.error)]
    possible = next((item for item in reversed(evidence.attempts) if item.is_possible), attempt)
    readings = [event for event in evidence.get_events_after(attempt) if isinstance(event, Reading)]
    worked = next((reading for reading in reversed(readings) if reading.worked), None)
    failure = readings[-1].failure if readings else evidence.held
    return [
        "the outcome of the write is not known.",
        _quote(possible.error),
        "" if worked is None else f"The leverage was {_format(worked.leverage)} when it was read back.",
        _describe_failed_read_back(worked, failure),
        describe_blockers(evidence.blockers) if evidence.blockers else "",
        READ_BEFORE_YOU_TRADE,
    ]


def _describe_failed_read_back(worked: Reading | None, failure: CoinSwitchError | None) -> str:
    """Return why the read back does not show whether the write was carried out."""
    if failure is None:
        return "The write can still take effect."
    what = "The leverage could not be read back." if worked is None else "A second read back failed."
    return f"{what} {_quote(failure)}"


def _describe_state(verdict: Verdict, goal: Goal) -> str:
    """Return which leverage is in force instead of the desired one."""
    if verdict.leverage is None:
        return f"the symbol is still not configured, and the policy is {goal.leverage}."
    if verdict.leverage == verdict.previous:
        return f"the leverage is still {_format(verdict.leverage)}, not {goal.leverage}."
    before, now = _format(verdict.previous), _format(verdict.leverage)
    return f"the leverage is now {now}, not {goal.leverage} (it was {before})."


def _describe_observation(evidence: Evidence) -> str:
    attempt = evidence.last_attempt
    return "" if attempt is None or evidence.predicted else _quote(attempt.error)


def _quote(error: CoinSwitchError | None) -> str:
    return "" if error is None else make_sentence(error)


def _format(leverage: int | None) -> str:
    return "not configured" if leverage is None else str(leverage)


_BY_OUTCOME: dict[str, Callable[[Verdict, Evidence, Goal], list[str]]] = {
    BLOCKED: _explain_blocked,
    REFUSED: _explain_refused,
    NOT_WRITTEN: _explain_not_written,
    UNKNOWN: _explain_unknown,
}
