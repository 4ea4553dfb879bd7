# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong with one leverage: its severity, what to do about it, and its rank among the findings."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any, Callable, Dict, Iterable, Mapping

# The outcomes of a leverage, the worst first. In check mode, a predicted change is DRIFTED.
OUTCOMES = ("unknown", "refused", "blocked", "not_written", "drifted", "changed", "unchanged")
COMPLYING = ("changed", "unchanged")
DRIFTED = "drifted"
# The outcomes that the module returns.
RETURNED = tuple(outcome for outcome in OUTCOMES if outcome != DRIFTED)

# The severities, the most dangerous first. A leverage that is not known can be above the policy.
SEVERITIES = (
    "above_policy",
    "above_when_last_seen",
    "not_reached",
    "unknown",
    "never_configured",
    "refused",
    "blocked",
    "not_written",
    "below_policy",
)
ABOVE_POLICY, ABOVE_WHEN_LAST_SEEN, NOT_REACHED, UNKNOWN, NEVER_CONFIGURED = SEVERITIES[:5]
BELOW_POLICY = SEVERITIES[-1]
ABOVE = (ABOVE_POLICY, ABOVE_WHEN_LAST_SEEN)
NOT_KNOWN = (ABOVE_WHEN_LAST_SEEN, NOT_REACHED, UNKNOWN)

POSITION_KEYS = ("position_id", "side", "size", "mark_price", "notional")

# What was last seen of a leverage. A finding has all of these keys or none.
LAST_KEYS = ("last_leverage", "last_policy", "last_positions", "last_seen")
# The keys of a finding that it has only if they are known.
OPTIONAL_KEYS = ("exchange_message", *LAST_KEYS)

# What to do about a finding, in the order in which it pays off.
ACTIONS = ("enforce", "close", "correct", "check")
ENFORCE, CLOSE, CORRECT, CHECK = ACTIONS
_ACTION_OF_CAUSE = {
    "position": CLOSE,
    "order": CLOSE,
    "never_configured": CORRECT,
    "limits": CORRECT,
    "not_listed": CORRECT,
    "keys": CORRECT,
    "input": CORRECT,
    "library_missing": CORRECT,
    "same_key": CORRECT,
    "reported_twice": CORRECT,
    # A server in front of the exchange refuses this machine, not the leverage.
    "refused_before_api": CHECK,
}
_ACTION_OF_OUTCOME = {"drifted": ENFORCE, "not_written": ENFORCE, "blocked": CLOSE, "refused": CORRECT}

Row = Dict[str, Any]


def pick(row: Mapping[str, Any], names: Iterable[str]) -> Row:
    """Return the named keys of a row, without those that it does not have."""
    return {name: row[name] for name in names if name in row}


def group(rows: Iterable[Row], get_key: Callable[[Row], Any]) -> dict[Any, list[Row]]:
    """Return the rows by key. Rows and keys keep their order."""
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(get_key(row), []).append(row)
    return groups


def is_int(value: Any) -> bool:
    """Return whether a value is a whole number. A boolean is none."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_above(leverage: Any, policy: Any) -> bool:
    """Return whether a leverage is above the policy. It is not if one of them is not a whole number."""
    return is_int(leverage) and is_int(policy) and bool(leverage > policy)


def get_factor(leverage: Any, policy: Any) -> float | None:
    """Return the leverage divided by the policy, with two digits. None if one of them is not a whole number."""
    if not (is_int(leverage) and is_int(policy)) or policy <= 0:
        return None
    return float(round(leverage / policy, 2))


def get_highest_factor(findings: Iterable[Mapping[str, Any]]) -> float | None:
    """Return the highest factor of some findings. None if no factor is known, for example without a policy."""
    return max((finding["factor"] for finding in findings if finding["factor"] is not None), default=None)


def was_reached(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether the exchange answered at least one reading of the account."""
    return any(
        row["outcome"] != "unknown" or row["leverage"] is not None or row["previous_leverage"] is not None
        for row in rows
    )


def looks_never_configured(row: Mapping[str, Any]) -> bool:
    """Return whether the exchange returned no leverage for a symbol that it lists."""
    return row["leverage"] is None and row["outcome"] in (DRIFTED, "not_written")


def get_severity(row: Mapping[str, Any], reached: bool) -> str | None:
    """Return the severity of a row, or None if the leverage complies with the policy.

    A leverage above the policy is ABOVE_POLICY even if its change was blocked, refused or not written.

    Args:
        row: The row of a symbol.
        reached: Whether at least one leverage of the account was read.
    """
    outcome, leverage, policy = row["outcome"], row["leverage"], row["policy"]
    if outcome in COMPLYING:
        return None
    if not reached:
        return NOT_REACHED
    if is_above(leverage, policy):
        return ABOVE_POLICY
    if looks_never_configured(row):
        return NEVER_CONFIGURED
    return BELOW_POLICY if outcome == DRIFTED else str(outcome)


def rank_severity(severity: str | None) -> int:
    """Return what severities are sorted by: the most dangerous first, and a leverage that complies last."""
    return (*SEVERITIES, None).index(severity)


def get_compliance(severity: str | None) -> bool | None:
    """Return whether a leverage with this severity complies with the policy. None if that is not known."""
    if severity is None:
        return True
    return None if severity in NOT_KNOWN else False


def get_action(row: Mapping[str, Any]) -> str:
    """Return what to do about a row that does not comply, one of ACTIONS."""
    return _ACTION_OF_CAUSE.get(row["cause"]) or _ACTION_OF_OUTCOME.get(row["outcome"], CHECK)


def get_positions(row: Mapping[str, Any]) -> list[Row] | None:
    """Return the open positions of a row of the module, each with its `notional`. None if they are not known."""
    positions = row.get("positions")
    if "positions" not in row and "blockers" in row:
        # Without a position that blocks, it is not known whether the task with one symbol read them.
        positions = [blocker for blocker in row["blockers"] if blocker.get("kind") == "position"] or None
    if not isinstance(positions, list):
        return None
    return [{**pick(position, POSITION_KEYS[:-1]), "notional": _get_notional(position)} for position in positions]


def _get_notional(position: Mapping[str, Any]) -> float | None:
    """Return size times mark price, with two digits. None if one of them is not a number."""
    try:
        notional = Decimal(str(position.get("size"))) * Decimal(str(position.get("mark_price")))
    except InvalidOperation:
        return None
    return float(round(abs(notional), 2)) if notional.is_finite() and abs(notional) < Decimal("1e15") else None


def get_findings(accounts: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Return a finding for each leverage that is not known to comply, the most dangerous first.

    An account whose policy could not be read has one finding without a symbol. The findings of the same rank stay in
    the order of the accounts and symbols.
    """
    findings: list[Row] = []
    for account in accounts:
        # The extra rows are about the account itself, or show what was last seen if its policy could not be read.
        rows = [*account["rows"], *account["extra_rows"]]
        findings += [_build_finding(account, row) for row in rows if row["severity"]]
    return sorted(findings, key=get_rank)


def group_findings(findings: Iterable[Row]) -> list[list[Row]]:
    """Return the findings of a report by problem, so that a reader sees one cause once, the most dangerous first.

    A leverage above the policy with an open position is a group of its own, because its position is its own.
    """
    return list(group(findings, _get_group_key).values())


def _get_group_key(finding: Row) -> tuple[Any, ...]:
    own = (finding["account"], finding["symbol"]) if _is_above_with_position(finding) else ()
    return (finding["problem"], *own)


def _is_above_with_position(finding: Mapping[str, Any]) -> bool:
    return finding["severity"] in ABOVE and bool(get_open_positions(finding))


def get_open_positions(finding: Mapping[str, Any]) -> list[Row]:
    """Return the open positions of a finding, or those that were last seen. Empty if they are not known."""
    return list(finding.get("last_positions") or finding["positions"] or [])


def get_last_known(row: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return the leverage and the policy of a row. Those that were last seen if they are not known."""
    if row["leverage"] is None and "last_leverage" in row:
        return row["last_leverage"], row["policy"] if is_int(row["policy"]) else row["last_policy"]
    return row["leverage"], row["policy"]


def _build_finding(account: Mapping[str, Any], row: Mapping[str, Any]) -> Row:
    return {
        "severity": row["severity"],
        "action": get_action(row),
        "account": account["account"],
        **pick(row, ("symbol", "leverage", "previous_leverage", "policy")),
        "enforce": account["enforce"],
        "factor": get_factor(*get_last_known(row)),
        **pick(row, ("positions", "blockers", "outcome", "cause", "reason", *OPTIONAL_KEYS)),
    }


def get_rank(finding: Mapping[str, Any]) -> tuple[int, bool, float]:
    """Return what findings are sorted by: the severity, then above the policy an open position and the factor."""
    return (
        rank_severity(finding["severity"]),
        not _is_above_with_position(finding),
        -(finding["factor"] or 0) if finding["severity"] in ABOVE else 0,
    )
