# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Return a report as a dictionary."""

from __future__ import annotations

from typing import Any, Callable

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import text as _text
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.protection import protect

DOCUMENTATION = r"""
name: leverage_parse
short_description: Return a report as a dictionary
version_added: 1.0.0
author:
  - Contributors to tradeops.coinswitch (@tradeops)
description:
  - Parses the JSON of a report, as the role P(tradeops.coinswitch.leverage#role) keeps it in a variable or a file.
  - Before ansible-core 2.19, Ansible evaluates templates in what P(ansible.builtin.from_json#filter) returns, for
    example in the name of a host. It does not evaluate what this filter returns.
options:
  _input:
    description: The JSON.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Show the findings of a report
  ansible.builtin.debug:
    msg: "{{ (lookup('ansible.builtin.file', 'report.json') | tradeops.coinswitch.leverage_parse).findings }}"
"""

RETURN = r"""
_value:
  description: The report, as P(tradeops.coinswitch.leverage_report#filter) returns it.
  type: dict
  returned: success
"""


def leverage_parse(report: Any) -> Any:
    """Return the report. DOCUMENTATION describes it."""
    return _text.load(report)


class FilterModule:
    """The filter. Ansible searches for this class."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leverage_parse": protect(leverage_parse)}
