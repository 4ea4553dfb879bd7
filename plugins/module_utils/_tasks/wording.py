# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The words of a verdict: why a symbol does not comply, and what to do about it.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import CoinSwitchError
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import to_decimal, to_one_line
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import judgment
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import Evidence, Reading
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.judgment import Verdict
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import Goal

READ_BEFORE_YOU_TRADE = "Read the leverage before you trade."
# How many positions, and how many orders, a reason names.
_MAX_NAMED = 5


def explain(verdict: Verdict, evidence: Evidence, goal: Goal) -> str:
    """Return the reason of a verdict, in sentences on one line. Empty if the symbol complies.

    What was observed on the exchange comes last, so the reason of check mode is the start of that of a real run.
    """
    describe = _BY_OUTCOME.get(verdict.outcome)
    return "" if describe is None else " ".join(filter(None, describe(verdict, evidence, goal)))


def make_sentence(text: object) -> str:
    """Return a text as a sentence: with a capital letter and a period."""
    line = str(text)
    return _capitalize(line) + ("" if line.endswith((".", "?", "!")) else ".")


def _capitalize(text: str) -> str:
    return text[:1].upper() + text[1:]


def _explain_blocked_or_refused(verdict: Verdict, evidence: Evidence, goal: Goal) -> list[str]:
    violation = evidence.violation
    is_listed = violation is None or violation.cause != "not_listed"
    if verdict.outcome == judgment.BLOCKED:
        why = describe_blockers(evidence.blockers)
    else:
        why = violation.text if violation else _describe_search(evidence)
    observed = None if evidence.predicted else evidence.last_error
    return [_describe_state(verdict, goal) if is_listed else "", why, _quote(observed)]


def _describe_search(evidence: Evidence) -> str:
    """Return what the search for blockers found, if there was one."""
    if not evidence.explained:
        return ""
    if not evidence.search_failed:
        return "No open position or order was found that blocks the change."
    return "It is not known whether a position or order blocks the change."


def _explain_not_written(verdict: Verdict, evidence: Evidence, goal: Goal) -> list[str]:
    if verdict.cause == judgment.NEVER_CONFIGURED:
        return [
            f"the symbol was never configured, so there is no leverage to compare with {goal.leverage}.",
            "Set it once with enforce=exact.",
        ]
    are_limits_unknown = verdict.cause == judgment.LIMITS_UNKNOWN
    is_current = evidence.get_readings_after(None)[-1].worked
    return [
        _describe_state(verdict, goal) if is_current else _describe_last_seen(verdict, goal),
        "The task did not write it, because the limits of the symbol could not be read." if are_limits_unknown else "",
        _quote(verdict.error),
    ]


def _explain_unknown(verdict: Verdict, evidence: Evidence, goal: Goal) -> list[str]:
    attempt = next((item for item in reversed(evidence.attempts) if item.reached), None)
    if attempt is None:
        return ["the current leverage is not known.", _quote(verdict.error)]
    possible = next((item for item in reversed(evidence.attempts) if item.is_possible), attempt)
    readings = evidence.get_readings_after(attempt)
    worked = next((reading for reading in reversed(readings) if reading.worked), None)
    failure = readings[-1].failure if readings else evidence.held
    return [
        "the outcome of the write is not known.",
        # In check mode, nothing was sent.
        _quote(None if evidence.predicted else possible.error),
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


def _describe_last_seen(verdict: Verdict, goal: Goal) -> str:
    """Return which leverage was in force before a reading that failed."""
    if verdict.leverage is None:
        return f"the symbol was not configured when it was last read, and the policy is {goal.leverage}."
    return f"the leverage was {verdict.leverage} when it was last read, not {goal.leverage}."


def describe_blockers(blockers: list[dict[str, Any]]) -> str:
    """Return two sentences: what blocks the change, and what to do about it."""
    positions = [to_one_line(f"{row['side']} {row['size']}") for row in blockers if row["kind"] == "position"]
    orders = [_describe_order(row) for row in blockers if row["kind"] == "order"]
    groups = [("open position", "close the position", positions), ("open order", "cancel the orders", orders)]
    found = " and ".join(_list_items(name, items) for name, _action, items in groups if items)
    actions = " and ".join(action for _name, action, items in groups if items)
    verb = "blocks" if len(blockers) == 1 else "block"
    return f"{_capitalize(found)} {verb} the change. {_capitalize(actions)} first."


def _describe_order(row: dict[str, Any]) -> str:
    """Return an order such as `BUY 0.01 at 1000, ID 5f3a`. Orders that close a position can have no quantity."""
    quantity = row["quantity"] if to_decimal(row["quantity"]) else row["order_type"]
    price = f" at {row['price']}" if to_decimal(row["price"]) else ""
    return to_one_line(f"{row['side']} {quantity}{price}, ID {row['order_id']}")


def _list_items(name: str, items: list[str]) -> str:
    more = f"; and {len(items) - _MAX_NAMED} more" if len(items) > _MAX_NAMED else ""
    count = f"an {name}" if len(items) == 1 else f"{len(items)} {name}s"
    return f"{count} ({'; '.join(items[:_MAX_NAMED])}{more})"


def _quote(error: CoinSwitchError | None) -> str:
    return "" if error is None else make_sentence(error)


def _format(leverage: int | None) -> str:
    return "not configured" if leverage is None else str(leverage)


_BY_OUTCOME: dict[str, Callable[[Verdict, Evidence, Goal], list[str]]] = {
    judgment.BLOCKED: _explain_blocked_or_refused,
    judgment.REFUSED: _explain_blocked_or_refused,
    judgment.NOT_WRITTEN: _explain_not_written,
    judgment.UNKNOWN: _explain_unknown,
}
