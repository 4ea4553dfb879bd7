# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The findings of a report: what is not in policy, how severe it is, and in which order it is shown."""

from __future__ import annotations

from typing import Any, Iterable, Mapping

# The outcomes of a symbol, the worst first.
OUTCOMES = ("unknown", "refused", "blocked", "drifted", "changed", "unchanged")
IN_POLICY = ("changed", "unchanged")

# The severities, the most dangerous first. An unknown leverage can be above the policy, so it comes early.
SEVERITIES = ("above_policy", "not_reached", "unknown", "refused", "blocked", "below_policy")
ABOVE_POLICY, NOT_REACHED, UNKNOWN, REFUSED, BLOCKED, BELOW_POLICY = SEVERITIES

NOT_READ = "the current leverage is not known"

Row = dict[str, Any]


def get_factor(leverage: Any, policy: Any) -> float | None:
    """Return the leverage divided by the policy, with two digits. None if one of them is not a whole number."""
    if not (_is_int(leverage) and _is_int(policy)) or policy <= 0:
        return None
    return float(round(leverage / policy, 2))


def format_factor(number: float) -> str:
    """Return a factor as text, such as 4x or 1.67x."""
    return f"{number:.2f}".rstrip("0").rstrip(".") + "x"


def format_count(count: int, noun: str) -> str:
    """Return a number with its noun in the singular or plural."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def was_reached(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether at least one current leverage of the account was read."""
    return any(row["outcome"] != "unknown" or not str(row["reason"]).startswith(NOT_READ) for row in rows)


def get_severity(row: Mapping[str, Any], reached: bool) -> str | None:
    """Return the severity of a row, or None if the symbol is in policy.

    A leverage above the policy is ABOVE_POLICY even if its change was blocked or refused. A symbol that was never
    configured is UNKNOWN, because the exchange does not return which leverage it would use.

    Args:
        row: The row of a symbol.
        reached: Whether at least one current leverage of the account was read.
    """
    outcome = row["outcome"]
    if outcome in IN_POLICY:
        return None
    if not reached:
        return NOT_REACHED
    leverage, policy = row["leverage"], row["policy"]
    if _is_int(leverage) and _is_int(policy) and leverage > policy:
        return ABOVE_POLICY
    if outcome == "drifted":
        return UNKNOWN if leverage is None else BELOW_POLICY
    return {"blocked": BLOCKED, "refused": REFUSED}.get(outcome, UNKNOWN)


def get_positions(row: Mapping[str, Any]) -> list[str]:
    """Return the open positions that block a symbol, such as `LONG 0.010`."""
    blockers = [blocker for blocker in row["blockers"] if blocker.get("kind") == "position"]
    return [" ".join(str(blocker[name]) for name in ("side", "size") if blocker.get(name)) for blocker in blockers]


def get_findings(accounts: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return a row for each symbol that is not in policy, the most dangerous first.

    An account that was not reached has one row, without a symbol.
    """
    findings: list[Row] = []
    for account in accounts:
        name, enforce = account["account"], account["enforce"]
        if account["reached"]:
            not_in_policy = [row for row in account["results"] if row["severity"]]
            findings += [_build_finding(name, enforce, row) for row in not_in_policy]
        else:
            findings.append(_build_account_finding(name, enforce, account))
    # The sort is stable: findings of the same rank stay in the order of the accounts and symbols.
    return sorted(findings, key=_get_rank)


def _build_finding(account: str, enforce: Any, row: Mapping[str, Any]) -> Row:
    return {
        "severity": row["severity"],
        "account": account,
        "symbol": row["symbol"],
        "symbols": [row["symbol"]],
        "leverage": row["leverage"],
        "previous_leverage": row["previous_leverage"],
        "policy": row["policy"],
        "enforce": enforce,
        "factor": get_factor(row["leverage"], row["policy"]),
        "positions": get_positions(row),
        "outcome": row["outcome"],
        "reason": row["reason"],
    }


def _build_account_finding(name: str, enforce: Any, account: Mapping[str, Any]) -> Row:
    reasons = dict.fromkeys(trouble["reason"] for trouble in account["troubles"])
    return {
        "severity": NOT_REACHED,
        "account": name,
        "symbol": None,
        "symbols": [row["symbol"] for row in account["results"]],
        "leverage": None,
        "previous_leverage": None,
        "policy": None,
        "enforce": enforce,
        "factor": None,
        "positions": [],
        "outcome": "unknown",
        "reason": "; ".join(reasons),
    }


def _get_rank(finding: Mapping[str, Any]) -> tuple[int, bool, float]:
    is_above = finding["severity"] == ABOVE_POLICY
    return (
        SEVERITIES.index(finding["severity"]),
        not (is_above and finding["positions"]),
        -(finding["factor"] or 0) if is_above else 0,
    )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
