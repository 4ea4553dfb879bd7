# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Summarize a report in at most ten lines, for a chat or a mail."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping

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
  - The accounts that were not reached are named first, then the most dangerous findings. Findings with the same problem
    are one line.
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
    To do: run enforce (1), close a position or cancel an order first (1)
    - above policy (4 times the policy): alpha BTCUSDT: 20, policy 5, open position LONG 0.010 (notional 640.00) (new)
    - below policy: beta ETHUSDT: 2, policy 10 (since 2026-11-20)
"""

MAX_LINES = 10
MAX_NOT_REACHED = 5
_ACTIONS = {
    _findings.ENFORCE: "run enforce",
    _findings.CLOSE: "close a position or cancel an order first",
    _findings.CORRECT: "correct the policy or the keys",
    _findings.CHECK: "check again",
}


def leverage_summary(report: Any) -> str:
    """Return the summary of a report as text."""
    report = _text.load(report)
    lines = [report["headline"], _describe_run(report), _describe_counts(report["summary"])]
    lines += [f"Warning: {_words.shorten(warning)}" for warning in report["warnings"][:1]]
    lines += _describe_history(report["history"])
    lines += _describe_actions(report["actions"])
    lines += _describe_not_reached(report["accounts"])
    lines += _describe_findings(report)
    if len(lines) > MAX_LINES:
        lines[MAX_LINES - 1 :] = [f"- and {len(lines) - MAX_LINES + 1} more: see the report"]
    return "".join(f"{line}\n" for line in lines)


def _describe_run(report: Mapping[str, Any]) -> str:
    mode = "Drift check (read-only)" if report["check_mode"] else "Policy applied"
    time = [report["time"].replace("T", " ")[:16] + " UTC"] if report["time"] else []
    exchanges = [_describe_exchange(exchange) for exchange in report["exchanges"]] or ["no exchange was asked"]
    return ", ".join([mode, *time, *exchanges])


def _describe_exchange(exchange: Mapping[str, Any]) -> str:
    return _words.shorten_name(exchange["api_url"]) + ("" if exchange["is_real"] else " (not the real exchange)")


def _describe_counts(summary: Mapping[str, Any]) -> str:
    accounts = _words.format_count(summary["accounts"], "account")
    leverages = _words.format_count(summary["leverages"], "leverage")
    changed = f", {summary['changed']} changed" if summary["changed"] else ""
    comply = "{complying} comply with the policy, {not_complying} do not, {not_known} not known".format(**summary)
    return f"{accounts}, {leverages}: {comply}{changed}"


def _describe_history(history: Mapping[str, Any] | None) -> list[str]:
    if not history or not history["previous"]:
        return []
    counts = (history["new"], history["continues"], len(history["resolved"]))
    not_checked = f", {len(history['not_checked'])} not checked in this run" if history["not_checked"] else ""
    return ["Since the last run: {} new, {} continuing, {} resolved".format(*counts) + not_checked]


def _describe_actions(actions: Iterable[Mapping[str, Any]]) -> list[str]:
    groups = [f"{_ACTIONS[action['action']]} ({action['findings']})" for action in actions if action["findings"]]
    return [f"To do: {', '.join(groups)}"] if groups else []


def _describe_not_reached(accounts: Iterable[Mapping[str, Any]]) -> list[str]:
    names = [account["account"] for account in accounts if not account["reached"]]
    return [f"Not reached: {_words.list_names(names, MAX_NOT_REACHED)}"] if names else []


def _describe_findings(report: Mapping[str, Any]) -> list[str]:
    """Return a line for each problem. A leverage above the policy with an open position has its own line."""
    groups = _findings.group_findings(report["findings"])
    return [_describe_finding(group[0]) if len(group) == 1 else _describe_group(group) for group in groups]


def _describe_group(group: list[dict[str, Any]]) -> str:
    """Return one line for the findings of a problem. A finding without a symbol is about its whole account."""
    names = {name: list(dict.fromkeys(row[name] for row in group if row[name])) for name in ("account", "symbol")}
    noun = "leverage" if names["symbol"] else "account"
    texts = [_words.list_names(found) for found in names.values() if found]
    return f"- {_describe_severity(group)}: {_words.format_count(len(group), noun)}: {': '.join(texts)}"


def _describe_severity(group: list[dict[str, Any]]) -> str:
    """Return the severity of findings, with the highest factor if they are above the policy."""
    severity = group[0]["severity"]
    factor = _findings.get_highest_factor(group) if severity in _findings.ABOVE else None
    return str(severity).replace("_", " ") + ("" if factor is None else f" ({_words.format_factor(factor)})")


def _describe_finding(finding: dict[str, Any]) -> str:
    severity = _describe_severity([finding])
    account = _words.shorten_name(finding["account"])
    if finding["symbol"] is None:
        return f"- {severity}: {account}{_describe_age(finding)}"
    policy = f"policy {_words.shorten_name(finding['policy'])}"
    positions = map(_words.format_position, _findings.get_open_positions(finding))
    open_positions = [f"open position {_words.shorten_name(position)}" for position in positions]
    numbers = ", ".join([_describe_current(finding), policy, *open_positions])
    return f"- {severity}: {account} {_words.shorten_name(finding['symbol'])}: {numbers}{_describe_age(finding)}"


def _describe_current(finding: Mapping[str, Any]) -> str:
    if finding["leverage"] is not None:
        return str(finding["leverage"])
    if "last_seen" in finding:
        return f"not known, last seen {finding['last_leverage']} on {finding['last_seen'][:10]}"
    return "not known"


def _describe_age(finding: Mapping[str, Any]) -> str:
    if "status" not in finding:
        return ""
    return " (new)" if finding["status"] == "new" else f" (since {finding['first_seen'][:10]})"


class FilterModule:
    """The filter. Ansible searches for this class."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leverage_summary": protect(leverage_summary)}
