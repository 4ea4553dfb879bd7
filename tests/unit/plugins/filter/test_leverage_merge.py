# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter leaves out damaged reports, and says what is wrong with the others."""

from __future__ import annotations

import inspect

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_merge import FilterModule, leverage_merge
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report

from ..plugin_utils._report.rows import make_leverages

# --- leverage_merge ---


def test_damaged_report_is_left_out_and_makes_the_report_incomplete() -> None:
    report = leverage_report({"alpha": make_leverages(A=10)}, time="2026-11-23T02:00:00Z")
    merged = leverage_merge([report, {}], title="Desk", parts=2)
    assert (merged["title"], merged["complete"], merged["compliant"]) == ("Desk", False, False)
    assert merged["headline"] == "Incomplete. Complies with the policy: 1 leverage on 1 account"
    assert merged["warnings"] == ["Only 1 of 2 reports could be merged. See the output of the parts."]


def test_error_is_an_error_of_the_filter() -> None:
    with pytest.raises(AnsibleFilterError, match="There are no reports to merge"):
        leverage_merge([{}])


# --- FilterModule ---


def test_filter_module_returns_the_filter() -> None:
    ((name, function),) = FilterModule().filters().items()
    assert (name, inspect.unwrap(function)) == ("leverage_merge", leverage_merge)
