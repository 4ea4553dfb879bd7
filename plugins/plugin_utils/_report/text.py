# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Convert a report to JSON and back.

The role keeps a report as text. Ansible evaluates each value of a dictionary at each use, which takes a minute for the
report of 1,000 accounts.
"""

from __future__ import annotations

import json
from typing import Any, Mapping

from ansible.errors import AnsibleFilterError

SCHEMA = "tradeops.coinswitch.leverage_report"
VERSION = 1

# What could be a template. It can only be inside a string of JSON.
_TEMPLATE_MARKS = ("{{", "{%", "{#")


def dump(report: Mapping[str, Any]) -> str:
    """Return a report as JSON on one line, without anything that Ansible could take for a template.

    The text begins with a space: before ansible-core 2.19, Ansible converts text that begins with a brace to a
    dictionary.
    """
    text = " " + json.dumps(report, separators=(",", ":"))
    for mark in _TEMPLATE_MARKS:
        text = text.replace(mark, f"\\u007b\\u{ord(mark[1]):04x}")
    return text


def load(report: Any) -> Any:
    """Return a report from its text, or unchanged. Raise AnsibleFilterError if it is not a report."""
    try:
        value = json.loads(report) if isinstance(report, str) else report
        if (value["schema"], value["version"]) == (SCHEMA, VERSION):
            return value
        reason = f"version {VERSION} of {SCHEMA} is required"
    except (ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
    raise AnsibleFilterError(
        f"The value is not a report of this collection ({reason}). Use what the filter leverage_report returns, or the "
        "content of leverage_report_json."
    )


def load_earlier(report: Any) -> Any:
    """Return a report of an earlier run. Empty if this run is the first one, and None if there is no history.

    Before ansible-core 2.19, Ansible converts `none` to empty text.
    """
    if report is None or report == "":
        return None
    return {} if report in ({}, dump({})) else load(report)
