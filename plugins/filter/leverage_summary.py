# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Summarize a report in at most ten lines, for a chat or a mail."""

from __future__ import annotations

from typing import Any, Callable, Mapping

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings
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
    description: The report, as P(tradeops.coinswitch.leverage_report#filter) returns it.
    type: dict
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
    Above policy: 1 of 600 leverages, up to 4x, 1 with an open position, 1 other finding
    Drift check (read-only), 2026-11-23 02:00 UTC, 598 of 600 leverages in policy on 20 accounts
    Since the last run: 1 new, 1 continuing, 0 resolved
    - above policy (4x): alpha BTCUSDT: 20, policy 5, open position LONG 0.010 (new)
    - below policy: beta ETHUSDT: 2, policy 10 (since 2026-11-20)
"""

MAX_LINES = 10
MAX_NAME_LENGTH = 60


def leverage_summary(report: Mapping[str, Any]) -> str:
    """Return the summary of a report as text."""
    summary, history, findings = report["summary"], report.get("history"), report["findings"]
    mode = "Drift check (read-only)" if report["check_mode"] else "Policy applied"
    time = [report["time"].replace("T", " ")[:16] + " UTC"] if report["time"] else []
    changed = [f"{summary['changed']} changed"] if summary["changed"] else []
    accounts = _findings.format_count(summary["accounts"], "account")
    leverages = _findings.format_count(summary["leverages"], "leverage")
    known = f"{summary['in_policy']} of {leverages} in policy on {accounts}"
    lines = [report["headline"], ", ".join([mode, *time, known, *changed])]
    if history and history["previous"]:
        counts = (history["new"], history["continues"], len(history["resolved"]))
        lines.append("Since the last run: {} new, {} continuing, {} resolved".format(*counts))
    if history and history["not_checked"]:
        lines.append(
            f"Not checked in this run: {_findings.format_count(len(history['not_checked']), 'earlier finding')}"
        )
    max_findings = MAX_LINES - len(lines)
    shown = findings if len(findings) <= max_findings else findings[: max_findings - 1]
    lines += [_describe_finding(finding) for finding in shown]
    if len(findings) > len(shown):
        lines.append(f"- and {len(findings) - len(shown)} more: see the report")
    return "".join(f"{line}\n" for line in lines)


def _describe_finding(finding: Mapping[str, Any]) -> str:
    severity = finding["severity"].replace("_", " ")
    if finding["severity"] == _findings.ABOVE_POLICY:
        severity += f" ({_findings.format_factor(finding['factor'])})"
    account = _shorten(finding["account"])
    if finding["symbol"] is None:
        return f"- {severity}: {account}{_describe_age(finding)}"
    current = "not known" if finding["leverage"] is None else finding["leverage"]
    positions = [f"open position {_shorten(position)}" for position in finding["positions"]]
    numbers = ", ".join([str(current), f"policy {_shorten(finding['policy'])}", *positions])
    return f"- {severity}: {account} {_shorten(finding['symbol'])}: {numbers}{_describe_age(finding)}"


def _describe_age(finding: Mapping[str, Any]) -> str:
    if "status" not in finding:
        return ""
    return " (new)" if finding["status"] == "new" else f" (since {finding['first_seen'][:10]})"


def _shorten(value: object) -> str:
    """Return a value on one line, without control characters, and not too long."""
    text = " ".join("".join(letter if letter.isprintable() else " " for letter in str(value)).split())
    return text if len(text) <= MAX_NAME_LENGTH else text[: MAX_NAME_LENGTH - 3] + "..."


class FilterModule:
    """The filter. Ansible searches for this class."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leverage_summary": protect(leverage_summary)}
