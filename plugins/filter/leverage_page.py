# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert a report to an HTML page. The template engine escapes all values of the exchange and the inventory."""

from __future__ import annotations

import re
from base64 import b64encode
from datetime import datetime
from hashlib import sha256
from typing import Any, Callable, Iterable, Mapping, Sequence

from ansible import context
from ansible.errors import AnsibleFilterError
from jinja2 import Environment, StrictUndefined
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import text as _text
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import words as _words
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.protection import protect

DOCUMENTATION = r"""
name: leverage_page
short_description: Convert a report of leverages to an HTML page
version_added: 1.0.0
author:
  - Contributors to tradeops.coinswitch (@tradeops)
description:
  - Renders a report with a Jinja2 template, such as the template of the role P(tradeops.coinswitch.leverage#role).
options:
  _input:
    description: The report, as P(tradeops.coinswitch.leverage_report#filter) returns it, or its JSON as text.
    type: raw
    required: true
  template:
    description:
      - The text of a Jinja2 template. All values that the template inserts are escaped for HTML.
      - The variable C(report) is the report.
      - The variable C(rows) is the list of the rows of the table of findings, at most 1000. Findings with the same
        problem are one row. A row has the C(severity), C(action), C(reason) and C(enforce), the number of C(findings),
        the lists C(accounts), C(symbols) and C(positions), and the values C(leverage), C(policy), C(factor),
        C(last_leverage), C(last_seen), C(since) and C(runs). A value that differs between the findings is V(none).
      - The variable C(more) is the number of rows that are not shown.
      - The variable C(command) is the command that made the page, without extra variables. Empty if it is not known.
      - The variable C(symbols) is the list of the names of the symbols. Symbols with findings come first.
      - The variable C(totals) is the list of the totals of these symbols, as in the report.
      - The variable C(matrix) is a list with one pair for each account. Accounts with findings come first. A pair is
        the account, and a list with its row for each symbol of C(symbols). If the policy of the account does not
        name it, the row is V(none).
      - The filter C(css) escapes a text for a string in a style sheet.
      - The filter C(csp_hash) returns the hash of a script for the content security policy.
      - The filter C(local) returns a time in O(timezone), empty if it is not set.
      - The filter C(factor) formats a factor, and the filter C(position) formats a position.
    type: str
    required: true
  timezone:
    description: The name of a time zone, such as V(Asia/Kolkata). The page shows the time in it beside UTC.
    type: str
    default: ""
seealso:
  - plugin: tradeops.coinswitch.leverage_report
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Write the page
  ansible.builtin.copy:
    dest: /var/www/leverage.html
    content: "{{ report | tradeops.coinswitch.leverage_page(lookup('ansible.builtin.file', 'my_page.html.j2')) }}"
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The HTML page.
  type: str
  returned: success
"""


# A page with more rows opens slowly. The matrix and the JSON report contain all findings.
MAX_ROWS = 1000


def leverage_page(report: Any, template: str, timezone: str = "") -> str:
    """Return the page as text. Errors in the template raise the exceptions of Jinja2."""
    report = _text.load(report)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    zone = _get_zone(timezone)
    environment.filters.update(
        css=_escape_css,
        csp_hash=_get_csp_hash,
        factor=_words.format_factor,
        position=_words.format_position,
        local=lambda time: _format_local(time, zone),
    )
    totals = sorted(report["symbols"], key=_rank_total)
    symbols = [row["symbol"] for row in totals]
    groups = _findings.group_findings(report["findings"])
    return environment.from_string(template).render(
        report=report,
        rows=[_get_row(group, report["problems"]) for group in groups[:MAX_ROWS]],
        more=max(0, len(groups) - MAX_ROWS),
        command=_get_command(),
        totals=totals,
        symbols=symbols,
        matrix=_get_matrix(report, symbols),
    )


def _get_zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name) if name else None
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise AnsibleFilterError(f"{name!r} is not a time zone. Use a name such as Asia/Kolkata.") from None


def _format_local(time: str, zone: ZoneInfo | None) -> str:
    """Return a time of the report in a time zone, such as `2026-11-23 11:00 JST`. Empty without a time zone."""
    if zone is None:
        return ""
    moment = datetime.strptime(time, "%Y-%m-%dT%H:%M:%S%z")
    return moment.astimezone(zone).strftime("%Y-%m-%d %H:%M %Z")


def _get_row(group: Sequence[Mapping[str, Any]], problems: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one row of the table of findings for the findings of one problem."""
    first = group[0]
    names = ("leverage", "policy", "enforce", "factor", "last_leverage", "last_seen", "runs")
    is_known = first["severity"] in _findings.ABOVE or first["leverage"] is not None
    since = {finding["first_seen"][:10] for finding in group if finding.get("status") == "continues"}
    return {
        **_findings.pick(first, ("severity", "action")),
        "reason": _capitalize(problems[first["problem"]]["reason"]),
        "findings": len(group),
        "accounts": list(dict.fromkeys(finding["account"] for finding in group)),
        "symbols": list(dict.fromkeys(finding["symbol"] for finding in group if finding["symbol"] is not None)),
        "positions": [position for finding in group for position in _findings.get_open_positions(finding)],
        "new": sum(finding.get("status") == "new" for finding in group),
        "since": min(since, default=None),
        **{name: _get_common(finding.get(name) for finding in group) for name in names},
        # A factor of what was last seen says something only if it was above the policy.
        **({} if is_known else {"factor": None}),
    }


def _capitalize(text: str) -> str:
    """Return a text that starts with a capital letter. The name of a variable stays as it is."""
    return text if "_" in text.partition(" ")[0] else text[:1].upper() + text[1:]


def _get_common(values: Iterable[Any]) -> Any:
    """Return the value that all values are. None if they differ."""
    different = list(dict.fromkeys(values))
    return different[0] if len(different) == 1 else None


def _get_command() -> str:
    """Return the command of this run. Extra variables are left out, because they can contain secrets."""
    arguments = context.CLIARGS
    playbooks = arguments.get("args")
    # The command `ansible` has the pattern of its hosts there.
    if not playbooks or isinstance(playbooks, str):
        return ""
    words = ["--limit", arguments["subset"]] if arguments.get("subset") else []
    words += ["--check"] if arguments.get("check") else []
    return _words.format_command(arguments.get("inventory") or (), *words, *playbooks)


def _get_matrix(report: Mapping[str, Any], symbols: Sequence[str]) -> list[tuple[Any, list[Any]]]:
    """Return each account with its rows, in the order of the symbols. A row is None if there is none."""
    matrix = []
    for account in sorted(report["accounts"], key=_rank_total):
        rows = {row["symbol"]: row for row in account["leverages"]}
        matrix.append((account, [rows.get(symbol) for symbol in symbols]))
    return matrix


def _rank_total(total: Mapping[str, Any]) -> tuple[int, int]:
    """Return what accounts and symbols are sorted by: the most dangerous severity, then how many do not comply."""
    return _findings.rank_severity(total["severity"]), -total["not_complying"]


def _escape_css(text: str) -> str:
    """Return the text, escaped for a string in a style sheet. The escapes of HTML do not work there."""
    return re.sub(r"[^A-Za-z0-9]", lambda match: f"\\{ord(match[0]):x} ", text)


def _get_csp_hash(script: str) -> str:
    """Return the source for a content security policy that allows only this script."""
    return f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'"


class FilterModule:
    """The filter. Ansible searches for this class."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leverage_page": protect(leverage_page)}
