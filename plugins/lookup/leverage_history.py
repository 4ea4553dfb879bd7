# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the report of the last run, for the history of the next one."""

from __future__ import annotations

DOCUMENTATION = r"""
name: leverage_history
short_description: Read the report of the last run
version_added: 1.0.0
author:
  - Contributors to tradeops.coinswitch (@tradeops)
description:
  - Reads the report of an earlier run of the role P(tradeops.coinswitch.leverage#role). The next report can be compared
    with it.
  - If the file is missing, is damaged, is not a report or has a time in the future, the lookup prints a warning and
    returns an empty dictionary.
options:
  _terms:
    description:
      - The path of a JSON report, or the path of a directory with JSON reports.
      - In a directory, the lookup uses the newest report that it can read. It considers only files with names that the
        role uses, for example C(leverage-20261123T020000Z-123456789.json).
    type: list
    elements: path
    required: true
  warn:
    description: Whether to print a warning if there is no report, or if a file cannot be used.
    type: bool
    default: true
  text:
    description: Whether to return JSON as text, as O(tradeops.coinswitch.leverage_report#filter:text).
    type: bool
    default: false
seealso:
  - plugin: tradeops.coinswitch.leverage_report
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the findings of the last run
  ansible.builtin.debug:
    msg: "{{ lookup('tradeops.coinswitch.leverage_history', '/srv/desk/drift.json').findings }}"
"""

RETURN = r"""
_raw:
  description:
    - The report, as P(tradeops.coinswitch.leverage_report#filter) returns it. An empty dictionary if there is no usable
      report.
  type: list
  elements: raw
"""

from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Callable, Iterable

from ansible.plugins.lookup import LookupBase
from ansible.utils.display import Display

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import history as _history
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import text as _text


class LookupModule(LookupBase):  # type: ignore[misc] # ansible-core has no types
    """The lookup. Ansible searches for this class."""

    def run(
        self, terms: Iterable[Any], variables: object = None, warn: bool = True, text: bool = False, **_options: object
    ) -> list[Any]:
        print_warning: Callable[[str], object] = Display().warning if warn else (lambda _text: None)
        now = datetime.now(timezone.utc)
        reports = [_history.find_report(Path(str(term)).expanduser(), now, print_warning) for term in terms]
        return [_text.dump(report) for report in reports] if text else reports
