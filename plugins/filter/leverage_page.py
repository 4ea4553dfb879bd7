# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as a page. Whatever an exchange or an inventory says is escaped, since the template engine does it."""

from __future__ import annotations

import re
from typing import Any, Callable, Mapping

from jinja2 import Environment, StrictUndefined

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import IN_ORDER

DOCUMENTATION = r"""
name: leverage_page
short_description: Show a report of leverage as an HTML page
version_added: 1.0.0
author:
  - Contributors to tradeops.coinswitch (@tradeops)
description:
  - Fills the page of the role P(tradeops.coinswitch.leverage#role).
options:
  _input:
    description: What P(tradeops.coinswitch.leverage_report#filter) returns.
    type: dict
    required: true
  template:
    description:
      - The text of a Jinja2 template. Everything that it inserts is escaped for HTML.
      - Its variables are C(report), the input; C(grid), pairs of an account and its rows, one for each
        symbol of the report (V(none) where the policy does not name it); C(quiet), the numbers of the table's
        columns, from 1 for that of the accounts, whose symbols are in order everywhere.
      - Its filter C(css) makes a text fit for a string in a style sheet.
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
  description: The page.
  type: str
  returned: success
"""


def leverage_page(report: Mapping[str, Any], template: str) -> str:
    """The page as text. Whatever can be wrong with a template is Jinja2's to say."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["css"] = _css
    symbols = report["symbols"]
    grid = []
    loud: set[str] = set()
    for account in report["accounts"]:
        rows = {row["symbol"]: row for row in account["results"]}
        loud.update(symbol for symbol, row in rows.items() if row["outcome"] not in IN_ORDER)
        grid.append((account, [rows.get(symbol) for symbol in symbols]))
    quiet = [number for number, symbol in enumerate(symbols, start=2) if symbol not in loud]
    return environment.from_string(template).render(report=report, grid=grid, quiet=quiet)


def _css(text: str) -> str:
    """The text as the inside of a string in a style sheet, where the escapes of HTML mean nothing."""
    return re.sub(r"[^A-Za-z0-9]", lambda match: f"\\{ord(match[0]):x} ", text)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leverage_page": leverage_page}
