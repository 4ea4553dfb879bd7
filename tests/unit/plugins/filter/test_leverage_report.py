# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report for each outcome of the module, with and without check mode, and for accounts without a result."""

from __future__ import annotations

import inspect
import json
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import (
    NO_POLICY,
    NO_ROW,
    NOT_ASKED,
    FilterModule,
    leverage_report,
)

jsonschema = import_module("jsonschema")  # has no types
NOT_READ = "the current leverage is not known"
ROOT = Path(__file__).resolve().parents[4]
BLOCKERS = [{"kind": "position", "position_id": "3f1c", "side": "LONG", "size": "0.010"}]


def make_row(
    symbol: str, outcome: str, previous_leverage: int | None, leverage: int | None, reason: str = ""
) -> dict[str, Any]:
    """Return a row of results as the module returns it."""
    row = {
        "symbol": symbol,
        "exchange": "EXCHANGE_2",
        "leverage": leverage,
        "previous_leverage": previous_leverage,
        "changed": outcome == "changed",
        "outcome": outcome,
    }
    return {**row, "reason": reason, "blockers": BLOCKERS} if reason else row


def make_account(policy: dict[str, Any], *results: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Return an account as the role passes it to the filter."""
    return {
        "policy": policy,
        "enforce": "exact",
        "check_mode": False,
        "message": "",
        "results": list(results),
        **options,
    }


def get_account_report(account: dict[str, Any]) -> dict[str, Any]:
    """Return what the report says of a single account."""
    (account_report,) = leverage_report({"alpha": account})["accounts"]
    return dict(account_report)


def has_all_keys(old: Any, new: Any) -> bool:
    """Whether every key of the old report is in the new one."""
    if isinstance(old, dict):
        return all(key in new and has_all_keys(value, new[key]) for key, value in old.items())
    if isinstance(old, list):
        return all(has_all_keys(old_item, new_item) for old_item, new_item in zip(old, new, strict=True))
    return True


def check_keys_are_described(root: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Fail if the value has a key that the schema does not describe."""
    schema = root["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if isinstance(value, dict) and "properties" in schema:
        assert set(value) <= set(schema["properties"])
        for key, item in value.items():
            check_keys_are_described(root, schema["properties"][key], item)
    for item in value if isinstance(value, list) else []:
        check_keys_are_described(root, schema.get("items", {}), item)


# --- leverage_report ---


def test_report_counts_outcomes_and_keeps_the_order_of_accounts() -> None:
    report = leverage_report(
        {
            "beta": make_account(
                {"BTCUSDT": 10, "ETHUSDT": 5}, make_row("BTCUSDT", "unchanged", 10, 10), message="why"
            ),
            "alpha": make_account({"SOLUSDT": 3}, make_row("SOLUSDT", "changed", 9, 3)),
            "absent": {},
        },
        "Desk",
        "2026-11-23T01:30:00Z",
    )
    assert [account["account"] for account in report["accounts"]] == ["beta", "alpha", "absent"]
    assert report["symbols"] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert [(finding["severity"], finding["account"], finding["symbol"]) for finding in report["findings"]] == [
        ("not_reached", "absent", None),
        ("unknown", "beta", "ETHUSDT"),
    ]
    del report["accounts"], report["symbols"], report["findings"]
    assert report == {
        "schema": "tradeops.coinswitch.leverage_report",
        "version": 1,
        "title": "Desk",
        "time": "2026-11-23T01:30:00Z",
        "check_mode": False,
        "in_order": False,
        "headline": "Not in policy: 2 findings on 2 of 3 accounts, none known to be above policy",
        "history": None,
        "summary": {
            "accounts": 3,
            "accounts_in_order": 1,
            "symbols": 3,
            "wishes": 3,
            "unchanged": 1,
            "changed": 1,
            "drifted": 0,
            "blocked": 0,
            "refused": 0,
            "unknown": 1,
            "leverages": 3,
            "in_policy": 2,
            "findings": 2,
            "severities": {
                "above_policy": 0,
                "not_reached": 1,
                "unknown": 1,
                "refused": 0,
                "blocked": 0,
                "below_policy": 0,
            },
            "above_policy_with_position": 0,
            "highest_factor": None,
        },
    }


def test_finding_with_an_open_position_comes_before_a_higher_factor() -> None:
    rows = [
        make_row("AUSDT", "changed", 40, 10),
        make_row("BUSDT", "blocked", 20, 20, "blocked by a position"),
        make_row("CUSDT", "changed", 15, 10),
        make_row("DUSDT", "changed", 2, 10),
    ]
    report = leverage_report({"alpha": make_account({row["symbol"]: 10 for row in rows}, *rows, check_mode=True)})
    assert [(row["symbol"], row["factor"], row["positions"]) for row in report["findings"]] == [
        ("BUSDT", 2.0, ["LONG 0.010"]),
        ("AUSDT", 4.0, []),
        ("CUSDT", 1.5, []),
        ("DUSDT", 0.2, []),
    ]
    assert report["headline"] == ("Above policy: 3 of 4 leverages, up to 4x, 1 with an open position, 1 other finding")
    assert report["accounts"][0]["message"].startswith(
        "4 of 4 symbols are not in policy, 3 above policy. above policy (4x): AUSDT: "
    )


def test_schema_describes_every_key() -> None:
    schema = json.loads((ROOT / "docs" / "leverage_report.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    rows = [row for row, *_others in ROWS[4:8]]
    accounts: dict[str, dict[str, Any]] = {
        "alpha": make_account({"BTCUSDT": 10}, rows[0], check_mode=True),
        "beta": make_account({"BTCUSDT": 10}, rows[1]),
        "absent": {},
    }
    first = leverage_report(accounts, time="2026-11-22T01:30:00Z", previous={})
    later = leverage_report({"beta": accounts["alpha"]}, time="2026-11-23T01:30:00Z", previous=first)
    last = leverage_report(
        {"alpha": make_account({"BTCUSDT": 10}, ROWS[0][0])}, time="2026-11-24T01:30:00Z", previous=later
    )
    for report in (leverage_report(accounts), first, later, last):
        validator.validate(report)
        check_keys_are_described(schema, schema, report)
    assert last["history"]["resolved"]
    assert last["history"]["not_checked"]
    assert not validator.is_valid({**first, "version": 2})


def test_report_of_1_0_matches_the_schema_and_starts_the_history() -> None:
    schema = json.loads((ROOT / "docs" / "leverage_report.schema.json").read_text(encoding="utf-8"))
    old = {
        "schema": "tradeops.coinswitch.leverage_report",
        "version": 1,
        "title": "Leverage",
        "time": "2026-11-22T02:00:00Z",
        "check_mode": True,
        "in_order": False,
        "summary": {
            "accounts": 1,
            "accounts_in_order": 0,
            "symbols": 1,
            "wishes": 1,
            "unknown": 0,
            "refused": 0,
            "blocked": 0,
            "drifted": 1,
            "changed": 0,
            "unchanged": 0,
        },
        "symbols": ["BTCUSDT"],
        "accounts": [
            {
                "account": "alpha",
                "in_order": False,
                "enforce": "exact",
                "message": "BTCUSDT: leverage is 20 instead of 10",
                "outcomes": ["drifted"],
                "troubles": [{"outcome": "drifted", "symbols": ["BTCUSDT"], "reason": "leverage is 20 instead of 10"}],
                "results": [
                    {
                        "symbol": "BTCUSDT",
                        "wish": 10,
                        "leverage": 20,
                        "previous_leverage": 20,
                        "outcome": "drifted",
                        "reason": "leverage is 20 instead of 10",
                        "blockers": [],
                    }
                ],
            }
        ],
    }
    jsonschema.Draft202012Validator(schema).validate(old)
    new = leverage_report(
        {"alpha": make_account({"BTCUSDT": 10}, make_row("BTCUSDT", "changed", 20, 10), check_mode=True)},
        time="2026-11-23T02:00:00Z",
        previous=old,
    )
    assert has_all_keys(old, new), "keys are only added"
    (finding,) = new["findings"]
    assert (finding["first_seen"], finding["runs"], finding["status"]) == ("2026-11-22T02:00:00Z", 2, "continues")
    assert [run["above_policy"] for run in new["history"]["runs"]] == [1, 1]


# --- _get_account ---

ROWS = [
    # the row of the module, check mode, and the expected outcome, leverage, reason and severity
    (make_row("BTCUSDT", "unchanged", 10, 10), False, "unchanged", 10, "", None),
    (make_row("BTCUSDT", "unchanged", 10, 10), True, "unchanged", 10, "", None),
    (make_row("BTCUSDT", "changed", 20, 10), False, "changed", 10, "", None),
    (make_row("BTCUSDT", "changed", 20, 10), True, "drifted", 20, "leverage is 20 instead of 10", "above_policy"),
    (
        make_row("BTCUSDT", "changed", None, 10),
        True,
        "drifted",
        None,
        "leverage is not configured instead of 10",
        "unknown",
    ),
    (
        make_row("BTCUSDT", "blocked", 20, 20, "blocked by a position"),
        False,
        "blocked",
        20,
        "blocked by a position",
        "above_policy",
    ),
    (
        make_row("BTCUSDT", "blocked", 20, 20, "blocked by a position"),
        True,
        "blocked",
        20,
        "blocked by a position",
        "above_policy",
    ),
    (make_row("BTCUSDT", "refused", 20, 20, "too high"), False, "refused", 20, "too high", "above_policy"),
    (make_row("BTCUSDT", "unknown", None, None, "no answer"), False, "unknown", None, "no answer", "unknown"),
    (make_row("BTCUSDT", "unknown", None, None, "no answer"), True, "unknown", None, "no answer", "unknown"),
    (make_row("BTCUSDT", "changed", 5, 10), True, "drifted", 5, "leverage is 5 instead of 10", "below_policy"),
    (
        make_row("BTCUSDT", "blocked", 5, 5, "blocked by a position"),
        False,
        "blocked",
        5,
        "blocked by a position",
        "blocked",
    ),
    (
        make_row("BTCUSDT", "refused", 5, 5, "not a multiple of the step"),
        False,
        "refused",
        5,
        "not a multiple of the step",
        "refused",
    ),
    (make_row("BTCUSDT", "refused", None, None, "not listed"), False, "refused", None, "not listed", "refused"),
    (make_row("BTCUSDT", "unknown", None, None, NOT_READ), False, "unknown", None, NOT_READ, "not_reached"),
]


@pytest.mark.parametrize(("row", "check_mode", "outcome", "leverage", "reason", "severity"), ROWS)
def test_symbol_has_its_outcome_current_leverage_and_severity(
    row: dict[str, Any], check_mode: bool, outcome: str, leverage: int | None, reason: str, severity: str | None
) -> None:
    account = get_account_report(make_account({"BTCUSDT": 10}, row, check_mode=check_mode))
    assert account["results"] == [
        {
            "symbol": "BTCUSDT",
            "wish": 10,
            "policy": 10,
            "leverage": leverage,
            "previous_leverage": row["previous_leverage"],
            "outcome": outcome,
            "reason": reason,
            "blockers": row.get("blockers", []),
            "severity": severity,
        }
    ]
    assert account["in_order"] == (outcome in ("unchanged", "changed"))
    assert account["outcomes"] == [outcome]
    prefix = "above policy (2x): " if severity == "above_policy" else ""
    assert account["message"] == (f"{prefix}BTCUSDT: {reason}" if reason else "")


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        ({}, NOT_ASKED),
        (make_account({}), NO_POLICY),
        ({"policy": {}, "msg": "leverages is empty"}, NO_POLICY),
        ({"policy": {}, "message": "no connection"}, "no connection"),
        ({"policy": None, "msg": "the variable is undefined"}, "the variable is undefined"),
        ({"policy": "BTCUSDT", "msg": "cannot convert\nto dict"}, "cannot convert to dict"),
    ],
)
def test_account_without_a_policy_is_not_in_policy(account: dict[str, Any], reason: str) -> None:
    report = leverage_report({"alpha": account})
    assert not report["in_order"]
    assert report["summary"]["accounts_in_order"] == 0
    (account_report,) = report["accounts"]
    assert account_report["results"] == []
    assert account_report["outcomes"] == ["unknown"]
    assert account_report["message"] == reason


def test_account_of_another_run_was_not_asked_but_an_unreachable_one_was() -> None:
    # Ansible adds no run ID to the result of an unreachable host.
    inputs = {
        "alpha": make_account({"BTCUSDT": 10}, make_row("BTCUSDT", "unchanged", 10, 10), run=1),
        "beta": make_account({"BTCUSDT": 10}, make_row("BTCUSDT", "unchanged", 10, 10), run=2),
        "gamma": {"unreachable": True, "msg": "connection refused"},
    }
    messages = [account["message"] for account in leverage_report(inputs, run=2)["accounts"]]
    assert messages == [NOT_ASKED, "", "connection refused"]


# --- _get_rows ---


def test_rows_are_the_symbols_of_the_policy_in_upper_case_sorted() -> None:
    account = get_account_report(
        make_account({"ethusdt": "5", "BTCUSDT": 10}, make_row("BTCUSDT", "unchanged", 10, 10))
    )
    assert [(row["symbol"], row["wish"], row["outcome"]) for row in account["results"]] == [
        ("BTCUSDT", 10, "unchanged"),
        ("ETHUSDT", 5, "unknown"),
    ]
    assert account["message"] == f"1 of 2 symbols is not in policy. ETHUSDT: {NO_ROW}"


def test_desired_leverage_with_thousands_of_digits_stays_text() -> None:
    (row,) = get_account_report(make_account({"BTCUSDT": "9" * 5000}))["results"]
    assert row["policy"] == "9" * 5000


# --- _convert_to_drift ---


def test_message_of_a_maximum_says_at_most() -> None:
    account = get_account_report(
        make_account({"BTCUSDT": 10}, make_row("BTCUSDT", "changed", 20, 10), check_mode=True, enforce="maximum")
    )
    assert account["enforce"] == "maximum"
    assert account["message"] == "above policy (2x): BTCUSDT: leverage is 20 instead of at most 10"


# --- _to_int ---


@pytest.mark.parametrize("value", [True, 1.5, "10.0", "", "٣", "-1", None])
def test_policy_value_that_is_not_a_whole_number_is_unchanged(value: Any) -> None:
    account = get_account_report(make_account({"BTCUSDT": value}, message="leverage is not a whole number"))
    assert account["results"][0]["wish"] == str(value)


# --- _get_troubles ---


def test_account_that_was_not_reached_has_its_reason_once() -> None:
    account = get_account_report(make_account({"ETHUSDT": 5, "BTCUSDT": 10}, message="the keys\n are refused"))
    assert account["troubles"] == [
        {
            "severity": "not_reached",
            "outcome": "unknown",
            "factor": None,
            "symbols": ["BTCUSDT", "ETHUSDT"],
            "reason": "the keys are refused",
        }
    ]
    assert account["message"] == "2 of 2 symbols are not in policy. BTCUSDT, ETHUSDT: the keys are refused"


def test_troubles_with_the_same_reason_are_one_entry_most_dangerous_first() -> None:
    rows = [
        make_row("AUSDT", "changed", 5, 10),
        make_row("BUSDT", "blocked", 20, 20, "blocked by a position"),
        make_row("CUSDT", "unknown", None, None, "no answer"),
        make_row("DUSDT", "changed", 5, 10),
        make_row("EUSDT", "unchanged", 10, 10),
    ]
    account = get_account_report(make_account({row["symbol"]: 10 for row in rows}, *rows, check_mode=True))
    assert account["outcomes"] == ["unknown", "blocked", "drifted", "unchanged"]
    assert [(trouble["outcome"], trouble["symbols"]) for trouble in account["troubles"]] == [
        ("blocked", ["BUSDT"]),
        ("unknown", ["CUSDT"]),
        ("drifted", ["AUSDT", "DUSDT"]),
    ]


# --- FilterModule ---


def test_filter_module_returns_the_filter() -> None:
    ((name, function),) = FilterModule().filters().items()
    assert (name, inspect.unwrap(function)) == ("leverage_report", leverage_report)
