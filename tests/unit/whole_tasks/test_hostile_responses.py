# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole tasks whose responses are made to confuse the reader of the output, or the check of the API."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sandbox import Fault

from ..plugins.module_utils.module_harness import ModuleHarness, assert_failure_is_one_line

# --- control characters ---

CONTROL = "\x1b[2J\n\u2028\u202e\x9b\x00"


@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize("endpoint", ["read_leverage", "write_leverage", "positions"])
def test_no_control_character_of_the_exchange_reaches_the_output(
    harness: ModuleHarness, endpoint: str, status: int
) -> None:
    fields = dict.fromkeys(("symbol", "position_side", "position_size", "order_id", CONTROL), f"1{CONTROL}2")
    body = {"message": f"a{CONTROL}b", **({"data": [{**fields, "symbol": "BTCUSDT"}]} if status == 200 else {})}
    harness.exchange.add_fault(endpoint, Fault(status=status, body=body, headers={"X-Some": "thing"}), times=None)
    harness.exchange.add_fault("write_leverage", Fault(status=400, body={"message": f"a{CONTROL}b"}), times=None)
    for module, options in (
        ("futures_leverage", {"symbol": "BTCUSDT", "leverage": 13}),
        ("futures_position_info", {"symbols": ["BTCUSDT"]}),
    ):
        texts = [*find_texts(harness.run(module, **options)), *harness.warnings]
        assert texts
        assert [text for text in texts if not text.isprintable()] == []


def find_texts(value: Any) -> Iterator[str]:
    """Yield all texts of a result, also the names."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for part in (*value.keys(), *value.values()):
            yield from find_texts(part)
    elif isinstance(value, list):
        for part in value:
            yield from find_texts(part)


# --- the check of the API ---

MALFORMED_BODIES: list[Any] = [
    None,
    [],
    {},
    5,
    "x",
    {"data": None},
    {"data": []},
    {"data": {}},
    {"data": 5},
    {"message": 5},
    {"data": [[]]},
    {"data": {"orders": [{}]}},
    {"data": {"BTCUSDT": None}},
    {"data": {"leverage": {}}},
    {"data": {"symbol": 5, "leverage": "10"}},
    {"data": [{"symbol": []}]},
    {"message": None},
]


# Null, zero and empty values say that the symbol was never configured.
BODIES_WITHOUT_A_LEVERAGE: list[Any] = [
    {"data": None},
    {"data": {}},
    {"data": {"BTCUSDT": None}},
    {"data": {"leverage": {}}},
]


@pytest.mark.parametrize(
    "endpoint", ["*", "read_leverage", "positions", "open_orders", "instruments", "wallet", "time", "validate_keys"]
)
@pytest.mark.parametrize("body", MALFORMED_BODIES, ids=str)
def test_malformed_responses_make_a_report_without_a_defect(harness: ModuleHarness, endpoint: str, body: Any) -> None:
    harness.exchange.add_fault(endpoint, Fault(body=json.dumps(body)), times=None)
    result = harness.run("api_check")
    assert_failure_is_one_line(result)
    assert result["handled"] is not result["failed"]
    if endpoint == "read_leverage":
        assert result["handled"] is (body in BODIES_WITHOUT_A_LEVERAGE)


@pytest.mark.parametrize("options", [{}, {"rate_limit_share": ""}, {"rate_limit_share": 0.5}])
def test_check_uses_half_of_each_limit_by_default(harness: ModuleHarness, options: Any) -> None:
    assert harness.run("api_check", **options)["handled"] is True
    assert harness.exchange.count("wallet") == 10


# Responses of the documented form, with a value where the documentation has another one.
FORMS: dict[str, list[Callable[[Any], Any]]] = {
    "read_leverage": [lambda value: {"data": {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": value}}],
    "positions": [lambda value: {"data": [{"symbol": "BTCUSDT", "position_size": value, "leverage": value}]}],
    "open_orders": [
        lambda value: {"data": {"orders": value}},
        lambda value: {"data": {"orders": [{"symbol": "BTCUSDT", "order_id": value, "created_at": value}]}},
        lambda value: {"data": {"orders": [{"symbol": "BTCUSDT", "created_at": 1_700_000_000_000}], "cursor": value}},
    ],
    "instruments": [
        lambda value: {"data": {"BTCUSDT": {"status": value, "min_leverage": value, "max_leverage": value}}},
        lambda value: {"data": {"BTCUSDT": {"status": "TRADING", "max_leverage": "25", "leverage_step": value}}},
    ],
    "wallet": [lambda value: {"data": {"base_asset_balances": [{"base_asset": "USDT", "balances": value}]}}],
    "time": [lambda value: {"serverTime": value}],
}
VALUES: list[Any] = [None, {}, [], {"a": None}, [1], "", 0, -1, True, 1.5, "x", 10**30]


@pytest.mark.parametrize("value", VALUES, ids=str)
@pytest.mark.parametrize(
    ("endpoint", "form"), [(endpoint, form) for endpoint, forms in FORMS.items() for form in forms]
)
def test_any_value_of_a_field_makes_a_report_without_a_defect(
    harness: ModuleHarness, endpoint: str, form: Callable[[Any], Any], value: Any
) -> None:
    harness.exchange.add_fault(endpoint, Fault(body=json.dumps(form(value))), times=None)
    result = harness.run("api_check")
    assert_failure_is_one_line(result)
    assert result["handled"] is not result["failed"]
    assert result.get("error", {}).get("kind") != "internal_error", result["msg"]
