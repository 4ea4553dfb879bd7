# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Combine the reports of the parts of a run into one report."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import merge as _merge
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import text as _text
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.protection import protect

DOCUMENTATION = r"""
name: leverage_merge
short_description: Combine the reports of the parts of a run into one report
version_added: 1.0.0
author:
  - Contributors to tradeops.coinswitch (@tradeops)
description:
  - Returns one report of all accounts. Use it if several jobs or several controllers each check a part of the accounts,
    for example with job slices of AWX. The playbook C(tradeops.coinswitch.merge) uses it.
  - A report can also be JSON as text. An empty entry, which P(tradeops.coinswitch.leverage_history#lookup) returns for
    a damaged report, is left out.
  - If two reports contain the same account, the newer one counts, and the account has a finding.
options:
  _input:
    description: The reports, as P(tradeops.coinswitch.leverage_report#filter) returns them.
    type: list
    elements: raw
    required: true
  title:
    description: The title of the report. If not set, the title of the first report.
    type: str
  accounts:
    description:
      - The accounts that the report must contain, as P(tradeops.coinswitch.leverage_accounts#lookup) returns them. An
        account that no report contains was not checked.
    type: list
    elements: dict
    default: []
  max_age:
    description:
      - How many hours a report can be older than the newest one. An older report belongs to an earlier run, so its
        accounts were not checked in this run.
    type: float
    default: 12
  parts:
    description: How many reports there must be. With fewer, the report says that it is incomplete.
    type: int
    default: 0
  previous:
    description: The merged report of the last run, as in P(tradeops.coinswitch.leverage_report#filter).
    type: raw
  inventory:
    description: The paths of the inventory, as in P(tradeops.coinswitch.leverage_report#filter).
    type: list
    elements: str
    default: []
  text:
    description:
      - Whether to return JSON as text instead of a dictionary. The text never contains a template. Ansible evaluates a
        large dictionary at each use, but not a text.
    type: bool
    default: false
seealso:
  - plugin: tradeops.coinswitch.leverage_report
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the headline of all slices
  ansible.builtin.debug:
    msg: "{{ (parts | tradeops.coinswitch.leverage_merge).headline }}"
  vars:
    parts: "{{ query('tradeops.coinswitch.leverage_history', 'slice1.json', 'slice2.json') }}"
"""

RETURN = r"""
_value:
  description: The report, as P(tradeops.coinswitch.leverage_report#filter) returns it.
  type: dict
  returned: success
"""


def leverage_merge(
    reports: Sequence[Any],
    title: str | None = None,
    accounts: Sequence[Mapping[str, Any]] = (),
    max_age: float = 12,
    parts: int = 0,
    previous: Any = None,
    inventory: Sequence[str] = (),
    text: bool = False,
) -> Any:
    """Return the merged report. DOCUMENTATION describes the arguments."""
    try:
        loaded = [report for report in map(_text.load_earlier, reports) if report]
        earlier = _text.load_earlier(previous)
        merged = _merge.merge_reports(loaded, title, accounts, float(max_age), int(parts), earlier, inventory)
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from None
    return _text.dump(merged) if text else merged


class FilterModule:
    """The filter. Ansible searches for this class."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leverage_merge": protect(leverage_merge)}
