# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The text of a report is its JSON, and is never a template."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import text as _text

# Short texts and few values, because it takes seconds to generate many.
TEXTS = st.text(alphabet='{%#}"\\a\n\u2028', max_size=8)
VALUES = st.recursive(
    TEXTS | st.integers() | st.none(), lambda part: st.lists(part) | st.dictionaries(TEXTS, part), max_leaves=5
)

# --- dump, load ---


@given(st.dictionaries(TEXTS, VALUES, max_size=5))
def test_text_is_the_same_report_and_no_template(report: dict[str, Any]) -> None:
    text = _text.dump(report)
    assert json.loads(text) == _text.load(text) == report
    assert text.startswith(" ")
    assert not any(mark in text for mark in ("{{", "{%", "{#", "\n"))
    assert _text.load(report) is report


def test_empty_text_is_no_report() -> None:
    assert _text.load("") is _text.load(None) is None
