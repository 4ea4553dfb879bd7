# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a report is its JSON, and is never a template."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_merge import leverage_merge
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_metrics import leverage_metrics
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_page import leverage_page
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_parse import leverage_parse
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_summary import leverage_summary
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import text as _text

# Short texts and few values, because it takes seconds to generate many.
TEXTS = st.text(alphabet='{%#}"\\a\n\u2028', max_size=8)
VALUES = st.recursive(
    TEXTS | st.integers() | st.none(), lambda part: st.lists(part) | st.dictionaries(TEXTS, part), max_leaves=5
)

HEAD = {"schema": _text.SCHEMA, "version": _text.VERSION}

# --- dump, load, load_earlier ---


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_text_is_the_same_report_and_no_template(values: dict[str, Any]) -> None:
    report = {**values, **HEAD}
    text = _text.dump(report)
    assert json.loads(text) == _text.load(text) == report
    assert text.startswith(" ")
    assert not any(mark in text for mark in ("{{", "{%", "{#", "\n"))
    assert _text.load(report) is report


def test_earlier_report_can_be_missing_or_empty() -> None:
    assert _text.load_earlier("") is _text.load_earlier(None) is None
    assert _text.load_earlier(_text.dump({})) == _text.load_earlier({}) == {}


@pytest.mark.parametrize("value", ["{", "[]", "7", [1], {"schema": "x"}, {**HEAD, "version": 2}], ids=str)
@pytest.mark.parametrize(
    "read",
    [
        leverage_metrics,
        leverage_parse,
        leverage_summary,
        lambda value: leverage_merge([value]),
        lambda value: leverage_page(value, ""),
        lambda value: leverage_report({}, previous=value),
    ],
)
def test_value_that_is_no_report_is_an_error_of_the_filter(read: Callable[[Any], Any], value: Any) -> None:
    with pytest.raises(AnsibleFilterError, match=r"The value is not a report of this collection \(.+\)\. Use what"):
        read(value)
