# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter returns the report, and raises the error of a filter."""

from __future__ import annotations

import inspect

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_parse import FilterModule, leverage_parse
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import text as _text

# --- leverage_parse ---


def test_report_is_the_same_dictionary() -> None:
    report = {"schema": _text.SCHEMA, "version": _text.VERSION, "accounts": [{"account": "{{ 7 * 7 }}"}]}
    assert leverage_parse(_text.dump(report)) == report
    assert leverage_parse(report) == report


def test_text_that_is_not_json_is_an_error_of_the_filter() -> None:
    with pytest.raises(AnsibleFilterError, match=r"The value is not a report .*line 1 column 2"):
        leverage_parse("{")


# --- FilterModule ---


def test_filter_module_returns_the_filter() -> None:
    ((name, function),) = FilterModule().filters().items()
    assert (name, inspect.unwrap(function)) == ("leverage_parse", leverage_parse)
