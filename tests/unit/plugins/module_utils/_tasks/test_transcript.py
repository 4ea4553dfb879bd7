# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A transcript keeps only words that are known to be safe, for any response of the exchange."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import transcript as _transcript
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.transcript import (
    describe_body,
    describe_value,
    get_safe_headers,
)

# All words that a shape can contain, in addition to the field names of the API.
KNOWN_WORDS = {
    *_transcript._KNOWN_TEXTS,
    *(name for name, _form in _transcript._TEXT_FORMS),
    *["text", "null", "true_or_false", "whole_number", "unix_ms", "decimal_number", "nested", "none", "absent"],
    *["rows", "row", "0", "1", "2-49", "50", "51+", "<other>", "<or>", "html", "not_json", "empty"],
}
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False) | st.text(),
    lambda values: st.lists(values) | st.dictionaries(st.text() | st.sampled_from(sorted(_transcript._FIELDS)), values),
    max_leaves=20,
)
HEADER_WORDS = {"http_date", "other", *_transcript._MEDIA_TYPES}


def get_words(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield name
            yield from get_words(item)
    else:
        yield from value.split("|")


# --- describe_body ---


@given(st.binary() | JSON_VALUES.map(lambda value: json.dumps(value, default=str).encode()))
def test_shape_of_any_body_has_only_known_words(body: bytes) -> None:
    assert set(get_words(describe_body(body))) <= KNOWN_WORDS | _transcript._FIELDS


@pytest.mark.parametrize(
    ("body", "expected"),
    [(b"", "empty"), (b" <html>", "html"), (b"{", "not_json"), (b"[" * 100_000, "not_json"), (b"\xff", "not_json")],
)
def test_body_that_is_not_json_becomes_one_word(body: bytes, expected: str) -> None:
    assert describe_body(body) == expected


# --- describe_value ---


@given(JSON_VALUES)
def test_shape_of_any_value_has_only_known_words(value: Any) -> None:
    assert set(get_words(describe_value(value))) <= KNOWN_WORDS | _transcript._FIELDS


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "null"),
        (True, "true_or_false"),
        (13, "whole_number"),
        (1_700_000_000_000, "unix_ms"),
        (Decimal("1.5"), "decimal_number"),
        ("", "empty_text"),
        ("13", "whole_number_text"),
        ("13.0", "decimal_text"),
        ("1700000000000", "unix_ms_text"),
        ("2023-11-14T22:13:20.123Z", "iso_time_text"),
        ("BTCUSDT", "upper_case_text"),
        ("btcusdt", "lower_case_text"),
        ("EXCHANGE_2", "EXCHANGE_2"),
        ("someone@example.com", "text"),
        ([], {"rows": "0", "row": "none"}),
        ([1, "x", 2], {"rows": "2-49", "row": "lower_case_text|whole_number"}),
        (
            [{"price": "1.5"}, {"price": None, "side": "BUY"}],
            {"rows": "2-49", "row": {"price": "decimal_text|null", "side": "absent|upper_case_text"}},
        ),
        ([{"price": 5}, None], {"rows": "2-49", "row": {"price": "whole_number", "<or>": "null"}}),
        (
            {"BTCUSDT": {"price": 5}, "me@home": {"price": "5"}},
            {"<other>": {"price": "whole_number|whole_number_text"}},
        ),
        ([[[[[[[[[["deep"]]]]]]]]]], None),  # nested too deeply
    ],
)
def test_shape_replaces_each_value_by_its_type(value: Any, expected: Any) -> None:
    if expected is None:
        assert "nested" in json.dumps(describe_value(value))
    else:
        assert describe_value(value) == expected


# --- get_safe_headers ---


@given(st.dictionaries(st.text() | st.sampled_from(["Date", "Retry-After", "Content-Type"]), st.text()))
def test_any_headers_keep_only_known_words_and_short_numbers(headers: dict[str, str]) -> None:
    kept = get_safe_headers(headers)
    assert all(re.fullmatch("date|content-type|retry-after|(x-)?ratelimit-.*", name) for name in kept)
    assert all(re.fullmatch("[0-9]{1,3}", value) or value in HEADER_WORDS for value in kept.values())


@pytest.mark.parametrize(
    ("headers", "kept"),
    [
        ({"DATE": "Tue, 14 Nov 2023 22:13:20 GMT"}, {"date": "http_date"}),
        ({"Date": "today"}, {"date": "other"}),
        ({"Content-Type": "application/json; charset=utf-8"}, {"content-type": "application/json"}),
        ({"Content-Type": "application/x-ndjson"}, {"content-type": "other"}),
        ({"Retry-After": "30"}, {"retry-after": "30"}),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:20 GMT"}, {"retry-after": "http_date"}),
        ({"X-RateLimit-Reset": "1700000000"}, {"x-ratelimit-reset": "other"}),
        ({"Set-Cookie": "session=secret", "CF-Ray": "77ab", "X-Request-Id": "12"}, {}),
    ],
)
def test_only_safe_headers_are_kept(headers: dict[str, str], kept: dict[str, str]) -> None:
    assert get_safe_headers(headers) == kept
