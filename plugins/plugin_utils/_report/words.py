# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sentences of the report: the headline, the reason of a drift, and the message of an account."""

from __future__ import annotations

import shlex
from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import to_one_line
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings

MAX_NAMES = 3
MAX_LENGTH = 240
MAX_NAME_LENGTH = 60


def format_factor(number: float) -> str:
    """Return a factor in words, such as `1.67 times the policy`. A reader takes `1.67x` for a leverage."""
    return f"{number:.2f}".rstrip("0").rstrip(".") + " times the policy"


def format_count(count: int, noun: str) -> str:
    """Return a number with its noun in the singular or plural."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def format_position(position: Mapping[str, Any]) -> str:
    """Return a position as text, such as `LONG 0.010 (notional 640.00)`. The notional is size times mark price."""
    text = " ".join(str(position[name]) for name in ("side", "size") if position.get(name))
    notional = position.get("notional")
    return text if notional is None else f"{text} (notional {notional:,.2f})"


def shorten(value: object, length: int = MAX_LENGTH) -> str:
    """Return a value on one line, without control characters, and not too long."""
    return to_one_line(str(value), length)


def shorten_name(name: object) -> str:
    """Return the name of an account or a symbol, or a similar value, as `shorten` does."""
    return shorten(name, MAX_NAME_LENGTH)


def list_names(names: Sequence[str], count: int = MAX_NAMES) -> str:
    """Return the first names, and how many more there are."""
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(map(shorten_name, names[:count])) + more


def format_command(inventory: Iterable[object], *arguments: object) -> str:
    """Return a command of ansible-playbook as a shell takes it."""
    sources = [word for path in inventory for word in ("-i", path)]
    return shlex.join(map(str, ["ansible-playbook", *sources, *arguments]))


def describe_drift(leverage: int | None, policy: Any, enforce: str | None) -> str:
    """Return why a leverage does not comply if check mode predicted a change."""
    should = f"the policy allows at most {policy}" if enforce == "maximum" else f"the policy is {policy}"
    if leverage is None:
        return f"The symbol was never configured, and {should}."
    return f"The leverage is {leverage}, and {should}."


def describe_lost(leverage: int) -> str:
    """Return why the leverage of a symbol is not known that looks as if it was never configured."""
    return (
        f"The exchange returned no leverage for this symbol, but an earlier run read {leverage}. "
        "Read the leverage before you trade."
    )


def describe_headline(summary: Mapping[str, Any], not_checked: Iterable[Mapping[str, Any]]) -> str:
    """Return the most important facts of the report in one line."""
    leverages = format_count(summary["leverages"], "leverage")
    accounts = format_count(summary["accounts"], "account")
    above, last_seen = (summary["severities"][severity] for severity in _findings.ABOVE)
    others = summary["findings"] - above - last_seen
    parts = []
    if above:
        parts += [f"Above the policy: {above} of {leverages}", *_describe_factor(summary["highest_factor"])]
    if last_seen:
        parts.append(f"{last_seen} above the policy when last seen and not read since")
        parts += _describe_factor(summary["highest_factor_last_seen"])
    if summary["above_policy_with_position"]:
        parts.append(f"{summary['above_policy_with_position']} with an open position")
    if parts and others:
        parts.append(format_count(others, "other finding"))
    if not summary["findings"]:
        is_empty = not summary["leverages"]
        parts = ["Nothing was checked" if is_empty else f"Complies with the policy: {leverages} on {accounts}"]
    elif not parts:
        parts = [_describe_findings(summary, leverages, accounts)]
    missing = sum(row["severity"] in _findings.ABOVE for row in not_checked)
    return ", ".join([*parts, *([f"{missing} above the policy when last seen but not in this run"] if missing else [])])


def _describe_factor(factor: float | None) -> list[str]:
    """Return the highest factor in words. Empty if no factor is known."""
    return [] if factor is None else [f"up to {format_factor(factor)}"]


def _describe_findings(summary: Mapping[str, Any], leverages: str, accounts: str) -> str:
    """Return the headline of a report in which no leverage is known to be above the policy."""
    not_complying, not_known = summary["not_complying"], summary["not_known"]
    not_reached = f"{summary['accounts_not_reached']} of {accounts} not reached" * bool(summary["accounts_not_reached"])
    parts = [f"Not known: {not_known} of {leverages}", not_reached]
    if not_complying:
        unknown = f"{not_known} not known" * bool(not_known)
        parts = [f"Does not comply with the policy: {not_complying} of {leverages}", unknown, not_reached]
    elif not not_known:
        parts = [f"Not known: {not_reached or summary['findings']}"]
    above = "none known to be above the policy" if not_known or not_reached else "none above the policy"
    return ", ".join([*filter(None, parts), above])


def describe_account(
    counts: Mapping[str, int],
    problems: Sequence[Mapping[str, Any]],
    by_problem: Mapping[int, Sequence[Mapping[str, Any]]],
) -> str:
    """Return the message of an account that is not known to comply, in one short line. The report has the rest.

    Args:
        counts: The numbers of leverages in the policy of the account.
        problems: The problems of the report.
        by_problem: The findings of the account by the index of their problem, the most dangerous first.
    """
    if not by_problem:
        return ""
    number, findings = next(iter(by_problem.items()))
    problem = _describe_problem(problems[number]["reason"], findings)
    more = f"The report has {len(by_problem) - 1} more." if len(by_problem) > 1 else ""
    return " ".join(filter(None, [_describe_counts(counts), problem, more]))


def _describe_counts(counts: Mapping[str, int]) -> str:
    """Return how many leverages of an account with several ones do not comply, and how many are not known."""
    rows, wrong, unknown = counts["leverages_total"], counts["not_complying"], counts["not_known"]
    if rows <= 1 or not wrong + unknown:
        return ""
    if not wrong:
        return f"{unknown} of {rows} leverages {'is' if unknown == 1 else 'are'} not known."
    others = f", {unknown} {'is' if unknown == 1 else 'are'} not known" if unknown else ""
    return f"{wrong} of {rows} leverages {'does' if wrong == 1 else 'do'} not comply with the policy{others}."


def _describe_problem(reason: str, findings: Sequence[Mapping[str, Any]]) -> str:
    """Return the reason of findings, with their symbols and the highest of their factors."""
    names = list_names([finding["symbol"] for finding in findings if finding["symbol"]])
    is_above = findings[0]["severity"] == _findings.ABOVE_POLICY
    factor = _findings.get_highest_factor(findings) if is_above else None
    above = "" if factor is None else f" ({format_factor(factor)})"
    return f"{names}{above}: {shorten(reason)}" if names else shorten(reason)
