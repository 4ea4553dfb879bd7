# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Summarize a report in at most ten lines, for a chat or a mail."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import text as _text
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import words as _words
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.protection import protect

DOCUMENTATION = r"""
name: leverage_summary
short_description: Summarize a report of leverages in at most ten lines
version_added: 1.0.0
author:
  - Contributors to tradeops.coinswitch (@tradeops)
description:
  - Returns plain text for a chat, a mail or the terminal. The first line is the headline. It is short enough for the
    subject of a mail.
  - The most dangerous findings come first.
  - The text contains no messages of the exchange, only the names of accounts and symbols, and numbers.
options:
  _input:
    description: The report, as P(tradeops.coinswitch.leverage_report#filter) returns it, or its JSON as text.
    type: raw
    required: true
seealso:
  - plugin: tradeops.coinswitch.leverage_report
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the summary
  ansible.builtin.debug:
    msg: "{{ (report | tradeops.coinswitch.leverage_summary).splitlines() }}"
"""

RETURN = r"""
_value:
  description: The summary. Each line ends with a line break.
  type: str
  returned: success
  sample: |
    Above the policy: 1 of 600 leverages, up to 4 times the policy, 1 with an open position, 1 other finding
    Drift check (read-only), 2026-11-23 02:00 UTC, https://coinswitch.co
    20 accounts, 600 leverages: 598 comply with the policy, 2 do not, 0 not known
    Since the last run: 1 new, 1 continuing, 0 resolved
    - above policy (4 times the policy): alpha BTCUSDT: 20, policy 5, open position LONG 0.010 (new)
    - below policy: beta ETHUSDT: 2, policy 10 (since 2026-11-20)
"""

MAX_LINES = 10
MAX_NAME_LENGTH = 60
MAX_NAMES = 3


def leverage_summary(report: Any) -> str:
    """Return the summary of a report as text."""
    report = _text.load(report)
    lines = [report["headline"], _describe_run(report), _describe_counts(report["summary"])]
    lines += [f"Warning: {_words.shorten(warning)}" for warning in report["warnings"][:1]]
    lines += _describe_history(report["history"])
    entries = _describe_findings(report)
    max_entries = MAX_LINES - len(lines)
    shown = entries if len(entries) <= max_entries else entries[: max_entries - 1]
    lines += shown
    if len(entries) > len(shown):
        lines.append(f"- and {len(entries) - len(shown)} more: see the report")
    return "".join(f"{line}\n" for line in lines)


def _describe_run(report: Mapping[str, Any]) -> str:
    mode = "Drift check (read-only)" if report["check_mode"] else "Policy applied"
    time = [report["time"].replace("T", " ")[:16] + " UTC"] if report["time"] else []
    exchanges = [_describe_exchange(exchange) for exchange in report["exchanges"]] or ["no exchange was asked"]
    return ", ".join([mode, *time, *exchanges])


def _describe_exchange(exchange: Mapping[str, Any]) -> str:
    return _shorten(exchange["api_url"]) + ("" if exchange["is_real"] else " (not the real exchange)")


def _describe_counts(summary: Mapping[str, Any]) -> str:
    accounts = _words.format_count(summary["accounts"], "account")
    leverages = _words.format_count(summary["leverages"], "leverage")
    changed = f", {summary['changed']} changed" if summary["changed"] else ""
    comply = "{complying} comply with the policy, {not_complying} do not, {not_known} not known".format(**summary)
    return f"{accounts}, {leverages}: {comply}{changed}"


def _describe_history(history: Mapping[str, Any] | None) -> list[str]:
    lines = []
    if history and history["previous"]:
        counts = (history["new"], history["continues"], len(history["resolved"]))
        lines.append("Since the last run: {} new, {} continuing, {} resolved".format(*counts))
    if history and history["not_checked"]:
        lines.append(f"Not checked in this run: {_words.format_count(len(history['not_checked']), 'earlier finding')}")
    return lines


def _describe_findings(report: Mapping[str, Any]) -> list[str]:
    """Return a line for each leverage that is or was above the policy, then one for each other problem."""
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for number, finding in enumerate(report["findings"]):
        is_above = finding["severity"] in _findings.ABOVE
        groups.setdefault(number if is_above else (finding["problem"],), []).append(finding)
    problems = report["problems"]
    return [
        _describe_finding(group[0]) if len(group) == 1 else _describe_problem(problems[group[0]["problem"]])
        for group in groups.values()
    ]


def _describe_problem(problem: Mapping[str, Any]) -> str:
    names = [_shorten(name) for name in problem["accounts"][:MAX_NAMES]]
    more = len(problem["accounts"]) - len(names)
    accounts = ", ".join(names) + (f" and {more} more" if more else "")
    leverages = _words.format_count(problem["findings"], "leverage")
    return f"- {problem['severity'].replace('_', ' ')}: {accounts}: {leverages}"


def _describe_finding(finding: Mapping[str, Any]) -> str:
    severity = finding["severity"].replace("_", " ")
    if finding["severity"] in _findings.ABOVE and finding["factor"]:
        severity += f" ({_words.format_factor(finding['factor'])})"
    account = _shorten(finding["account"])
    if finding["symbol"] is None:
        return f"- {severity}: {account}{_describe_age(finding)}"
    numbers = ", ".join([_describe_current(finding), f"policy {_shorten(finding['policy'])}", *_get_positions(finding)])
    return f"- {severity}: {account} {_shorten(finding['symbol'])}: {numbers}{_describe_age(finding)}"


def _describe_current(finding: Mapping[str, Any]) -> str:
    if finding["leverage"] is not None:
        return str(finding["leverage"])
    if "last_seen" in finding:
        return f"not known, last seen {finding['last_leverage']} on {finding['last_seen'][:10]}"
    return "not known"


def _get_positions(finding: Mapping[str, Any]) -> list[str]:
    positions = finding.get("last_positions") or finding["positions"] or []
    return [f"open position {_shorten(_words.format_position(position))}" for position in positions]


def _describe_age(finding: Mapping[str, Any]) -> str:
    if "status" not in finding:
        return ""
    return " (new)" if finding["status"] == "new" else f" (since {finding['first_seen'][:10]})"


def _shorten(value: object) -> str:
    return _words.shorten(value, MAX_NAME_LENGTH)


class FilterModule:
    """The filter. Ansible searches for this class."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leverage_summary": protect(leverage_summary)}
