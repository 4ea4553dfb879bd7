# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert a report to an HTML page. The template engine escapes all values of the exchange and the inventory."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256
from typing import Any, Callable, Mapping, Sequence

from jinja2 import Environment, StrictUndefined

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
      - The variable C(findings) is the list of the findings to show, at most 2000.
      - The variable C(symbols) is the list of the names of the symbols. Symbols with findings come first.
      - The variable C(matrix) is a list with one pair for each account. Accounts with findings come first. A pair is
        the account, and a list with its row for each symbol of C(symbols). If the policy of the account does not
        name it, the row is V(none).
      - The filter C(css) escapes a text for a string in a style sheet.
      - The filter C(csp_hash) returns the hash of a script for the content security policy.
      - The filter C(factor) formats a factor, and the filter C(position) formats a position.
    type: str
    required: true
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
MAX_FINDINGS = 2000


def leverage_page(report: Any, template: str) -> str:
    """Return the page as text. Errors in the template raise the exceptions of Jinja2."""
    report = _text.load(report)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(
        css=_escape_css, csp_hash=_get_csp_hash, factor=_words.format_factor, position=_words.format_position
    )
    symbols = [row["symbol"] for row in sorted(report["symbols"], key=lambda row: (not row["severity"], row["symbol"]))]
    return environment.from_string(template).render(
        report=report,
        findings=report["findings"][:MAX_FINDINGS],
        symbols=symbols,
        matrix=_get_matrix(report, symbols),
    )


def _get_matrix(report: Mapping[str, Any], symbols: Sequence[str]) -> list[tuple[Any, list[Any]]]:
    """Return each account with its rows, in the order of the symbols. A row is None if there is none."""
    matrix = []
    for account in sorted(report["accounts"], key=lambda account: not account["severity"]):
        rows = {row["symbol"]: row for row in account["leverages"]}
        matrix.append((account, [rows.get(symbol) for symbol in symbols]))
    return matrix


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
