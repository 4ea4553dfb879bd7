# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert a report to metrics for Prometheus."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any, Callable, Iterable

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import text as _text
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.protection import protect

DOCUMENTATION = r"""
name: leverage_metrics
short_description: Convert a report of leverages to metrics for Prometheus
version_added: 1.0.0
author:
  - Contributors to tradeops.coinswitch (@tradeops)
description:
  - Returns metrics in the format of the textfile collector of the Prometheus node exporter.
  - Each metric has the label C(report) with the title of the report, so you can collect several reports.
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
- name: Write the metrics
  ansible.builtin.copy:
    dest: /var/lib/prometheus/node-exporter/leverage.prom
    content: "{{ report | tradeops.coinswitch.leverage_metrics }}"
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The metrics in the text format of Prometheus.
  type: str
  returned: success
  sample: |
    # HELP coinswitch_leverage_findings Leverages and accounts that are not known to comply with the policy.
    # TYPE coinswitch_leverage_findings gauge
    coinswitch_leverage_findings{report="Leverage",severity="above_policy"} 1
"""

# A value for each set of labels.
Samples = Iterable[tuple[dict[str, str], float]]


# The metrics that are numbers of the summary, with their help.
SUMMARY_METRICS = (
    ("accounts", "Accounts of the run."),
    ("accounts_compliant", "Accounts whose leverages all comply with the policy."),
    ("accounts_not_reached", "Accounts of which no leverage could be read."),
    ("leverages", "Leverages that the policies name."),
    ("complying", "Leverages that comply with the policy."),
    ("not_complying", "Leverages that do not comply with the policy."),
    ("not_known", "Leverages of which is not known whether they comply with the policy."),
    ("above_policy_with_position", "Leverages above the policy with an open position."),
)


def leverage_metrics(report: Any) -> str:
    """Return the metrics of a report as text."""
    report = _text.load(report)
    summary = report["summary"]
    times = [datetime.strptime(report["time"], "%Y-%m-%dT%H:%M:%S%z").timestamp()] if report["time"] else []
    not_checked = Counter(row["severity"] for row in (report["history"] or {"not_checked": []})["not_checked"])
    # Leverages that are or were above the policy.
    above = [row for row in report["findings"] if row["severity"] in _findings.ABOVE and row["factor"]]
    metrics: list[tuple[str, str, Samples]] = [
        ("report_timestamp_seconds", "Unix time of the run.", [({}, time) for time in times]),
        *((name, help_text, [({}, summary[name])]) for name, help_text in SUMMARY_METRICS),
        (
            "findings",
            "Leverages and accounts that are not known to comply with the policy.",
            [({"severity": severity}, count) for severity, count in summary["severities"].items()],
        ),
        (
            "findings_not_checked",
            "Findings of earlier runs on accounts that this run did not check.",
            [({"severity": severity}, not_checked[severity]) for severity in _findings.SEVERITIES],
        ),
        (
            "account_not_reached",
            "1 for each account of which no leverage could be read.",
            [({"account": row["account"]}, 1) for row in report["accounts"] if not row["reached"]],
        ),
        (
            "above_policy_factor",
            "Current or last seen leverage divided by the policy, for each leverage above the policy.",
            [(_findings.pick(row, ("account", "symbol", "severity")), row["factor"]) for row in above],
        ),
    ]
    return "".join(_format_metric(*metric, report["title"]) for metric in metrics)


def _format_metric(metric: str, help_text: str, samples: Samples, title: str) -> str:
    name = f"coinswitch_leverage_{metric}"
    lines = [f"# HELP {name} {help_text}", f"# TYPE {name} gauge"]
    for labels, value in samples:
        pairs = ",".join(f'{label}="{_escape_label(text)}"' for label, text in {"report": title, **labels}.items())
        lines.append(f"{name}{{{pairs}}} {value:.15g}")
    return "".join(f"{line}\n" for line in lines)


def _escape_label(text: str) -> str:
    """Return the value of a label, escaped for the text format of Prometheus."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


class FilterModule:
    """The filter. Ansible searches for this class."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leverage_metrics": protect(leverage_metrics)}
