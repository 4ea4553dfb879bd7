# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of result.py."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    InputRefused,
    LibraryMissing,
    Refused,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import (
    MAX_DEPTH,
    Result,
    build_error,
    fail,
    to_plain,
)

# --- build_error ---


def test_error_has_a_status_only_after_a_response() -> None:
    assert build_error("network") == {"kind": "network"}
    assert build_error("refused", 400) == {"kind": "refused", "status": 400}


# --- fail ---


def test_failed_task_has_the_message_and_the_facts_of_its_error() -> None:
    refused = Refused(422, "no", "GET /x")
    assert fail(refused) == Result({}, str(refused), (), {"kind": "refused", "status": 422})
    assert fail(InputRefused("wrong")) == Result({}, "wrong", (), {"kind": "input"})


def test_failed_task_can_have_another_message() -> None:
    result = fail(LibraryMissing("requests", ""), "install it")
    assert (result.failure, result.error) == ("install it", {"kind": "library_missing"})


# --- to_plain ---


@pytest.mark.parametrize(
    ("value", "returned"),
    [
        (Decimal("0.10"), 0.1),
        (Decimal("64000.00"), 64000.0),
        (Decimal("0.1234567890123456789"), "0.1234567890123456789"),
        (Decimal("1E+999999999"), "1E+999999999"),
        (Decimal("1E-999999999"), "1E-999999999"),
        ({"a": [Decimal("0.5"), "0.5", 5, None, True]}, {"a": [0.5, "0.5", 5, None, True]}),
        (("BUY", "SELL"), ["BUY", "SELL"]),
        ("\ud83d\ude80 \u20bf", "?? \u20bf"),
        ("\U0001f680", "\U0001f680"),
        ({"\udfff": {"\ud800": "\udc80"}}, {"?": {"?": "?"}}),
    ],
)
def test_plain_returns_a_value_that_ansible_can_return(value: Any, returned: Any) -> None:
    assert to_plain(value) == returned
    json.dumps(to_plain(value), allow_nan=False).encode("utf-8")


@pytest.mark.parametrize("container", ["[%s]", '{"a": %s}'])
def test_plain_cuts_a_value_that_is_nested_too_deeply(container: str) -> None:
    def nest(depth: int) -> Any:
        text = "5"
        for _level in range(depth):
            text = container % text
        return json.loads(text)

    assert to_plain(nest(MAX_DEPTH)) == nest(MAX_DEPTH)
    assert json.dumps(to_plain(nest(300))).count('"..."') == 1
    assert "5" not in json.dumps(to_plain(nest(300)))
