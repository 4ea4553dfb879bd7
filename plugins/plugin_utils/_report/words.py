# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The sentences of the report: the headline, the reason of a drift, and the message of an account."""

from __future__ import annotations

from typing import Any, Iterable, Mapping, Sequence

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings

MAX_MESSAGE_SYMBOLS = 3
MAX_LENGTH = 240


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
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(value)).split())
    return text if len(text) <= length else text[: length - 3] + "..."


def describe_drift(leverage: int | None, policy: Any, enforce: str | None) -> str:
    """Return why a leverage does not comply if check mode predicted a change."""
    should = f"the policy allows at most {policy}" if enforce == "maximum" else f"the policy is {policy}"
    if leverage is None:
        return f"The symbol was never configured, and {should}."
    return f"The leverage is {leverage}, and {should}."


def describe_headline(summary: Mapping[str, Any], not_checked: Iterable[Mapping[str, Any]]) -> str:
    """Return the most important facts of the report in one line."""
    leverages = format_count(summary["leverages"], "leverage")
    accounts = format_count(summary["accounts"], "account")
    severities, others = summary["severities"], summary["findings"]
    parts = []
    above, last_seen = severities[_findings.ABOVE_POLICY], severities[_findings.ABOVE_WHEN_LAST_SEEN]
    if above:
        parts.append(f"Above the policy: {above} of {leverages}, up to {format_factor(summary['highest_factor'])}")
    if last_seen:
        seen = f"{last_seen} above the policy when last seen and not read since"
        seen += f", up to {format_factor(summary['highest_factor_last_seen'])}"
        parts.append(seen if above else seen[0].upper() + seen[1:])
    if summary["above_policy_with_position"]:
        parts.append(f"{summary['above_policy_with_position']} with an open position")
    others -= above + last_seen
    if parts and others:
        parts.append(format_count(others, "other finding"))
    if not summary["findings"]:
        parts = [f"Complies with the policy: {leverages} on {accounts}"]
    elif not parts:
        parts = [_describe_findings(summary, accounts)]
    missing = sum(row["severity"] in _findings.ABOVE for row in not_checked)
    return ", ".join([*parts, *([f"{missing} above the policy when last seen but not in this run"] if missing else [])])


def _describe_findings(summary: Mapping[str, Any], accounts: str) -> str:
    """Return the headline of a report in which no leverage is known to be above the policy."""
    leverages = format_count(summary["leverages"], "leverage")
    not_complying, not_known = summary["not_complying"], summary["not_known"]
    not_reached = f"{summary['accounts_not_reached']} of {accounts} not reached" * bool(summary["accounts_not_reached"])
    parts = [f"Not known: {not_known} of {leverages}", not_reached]
    if not_complying:
        unknown = f"{not_known} not known" * bool(not_known)
        parts = [f"Does not comply with the policy: {not_complying} of {leverages}", unknown, not_reached]
    elif not not_known:
        parts = [f"Not known: {not_reached or summary['findings']}"]
    has_unknown = not_known or summary["accounts_not_reached"]
    return ", ".join(
        [*filter(None, parts), "none known to be above the policy" if has_unknown else "none above the policy"]
    )


def describe_account(rows: int, problems: Sequence[Mapping[str, Any]]) -> str:
    """Return the message of an account that is not known to comply, in one short line. The report has the rest.

    Args:
        rows: The number of leverages in the policy of the account.
        problems: The problems of the account, the most dangerous first, each with the `symbols` of this account.
    """
    if not problems:
        return ""
    more = len(problems) - 1
    texts = [_count_symbols(rows, problems), _describe_problem(problems[0])]
    return " ".join(filter(None, [*texts, f"The report has {more} more." if more else ""]))


def _count_symbols(rows: int, problems: Sequence[Mapping[str, Any]]) -> str:
    """Return how many leverages of an account with several ones do not comply, and how many are not known."""
    complying: dict[bool | None, set[str]] = {}
    for problem in problems:
        complying.setdefault(_findings.get_compliance(problem["severity"]), set()).update(problem["symbols"])
    wrong, unknown = len(complying.get(False, ())), len(complying.get(None, ()))
    if rows <= 1 or not wrong + unknown:
        return ""
    if not wrong:
        return f"{unknown} of {rows} leverages {'is' if unknown == 1 else 'are'} not known."
    others = f", {unknown} {'is' if unknown == 1 else 'are'} not known" if unknown else ""
    return f"{wrong} of {rows} leverages {'does' if wrong == 1 else 'do'} not comply with the policy{others}."


def _describe_problem(problem: Mapping[str, Any]) -> str:
    symbols = [shorten(symbol, 60) for symbol in problem["symbols"][:MAX_MESSAGE_SYMBOLS]]
    more = len(problem["symbols"]) - len(symbols)
    names = ", ".join(symbols) + (f" and {more} more" if more else "")
    above = f" ({format_factor(problem['factor'])})" if problem["severity"] == _findings.ABOVE_POLICY else ""
    return f"{names}{above}: {shorten(problem['reason'])}" if names else shorten(problem["reason"])
