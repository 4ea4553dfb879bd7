# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document: each outcome of the module, in check mode and for real, and accounts of which nothing was returned."""

from __future__ import annotations

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
from ansible_collections.tradeops.coinswitch.plugins.module_utils._report import NOT_READ

jsonschema = import_module("jsonschema")  # has no types
ROOT = Path(__file__).resolve().parents[4]
BLOCKERS = [{"kind": "position", "position_id": "3f1c", "side": "LONG", "size": "0.010"}]


def returned(symbol: str, outcome: str, before: int | None, now: int | None, reason: str = "") -> dict[str, Any]:
    """A row as the module returns it."""
    row = {
        "symbol": symbol,
        "exchange": "EXCHANGE_2",
        "leverage": now,
        "previous_leverage": before,
        "changed": outcome == "changed",
        "outcome": outcome,
    }
    return {**row, "reason": reason, "blockers": BLOCKERS} if reason else row


def seen(policy: dict[str, Any], *results: dict[str, Any], **more: Any) -> dict[str, Any]:
    """What the role notes of an account."""
    return {
        "policy": policy,
        "enforce": "exact",
        "check_mode": False,
        "message": "",
        "results": list(results),
        **more,
    }


def only(account: dict[str, Any]) -> dict[str, Any]:
    """The report's part on a single account."""
    (part,) = leverage_report({"alpha": account})["accounts"]
    return dict(part)


CELLS = [
    # the module's row, check mode, and of it: outcome, in force, reason, severity
    (returned("BTCUSDT", "unchanged", 10, 10), False, "unchanged", 10, "", None),
    (returned("BTCUSDT", "unchanged", 10, 10), True, "unchanged", 10, "", None),
    (returned("BTCUSDT", "changed", 20, 10), False, "changed", 10, "", None),
    (returned("BTCUSDT", "changed", 20, 10), True, "drifted", 20, "leverage is 20 instead of 10", "above_policy"),
    (
        returned("BTCUSDT", "changed", None, 10),
        True,
        "drifted",
        None,
        "leverage is not configured instead of 10",
        "unknown",
    ),
    (returned("BTCUSDT", "blocked", 20, 20, "held"), False, "blocked", 20, "held", "above_policy"),
    (returned("BTCUSDT", "blocked", 20, 20, "held"), True, "blocked", 20, "held", "above_policy"),
    (returned("BTCUSDT", "refused", 20, 20, "too high"), False, "refused", 20, "too high", "above_policy"),
    (returned("BTCUSDT", "unknown", None, None, "silence"), False, "unknown", None, "silence", "unknown"),
    (returned("BTCUSDT", "unknown", None, None, "silence"), True, "unknown", None, "silence", "unknown"),
    (returned("BTCUSDT", "changed", 5, 10), True, "drifted", 5, "leverage is 5 instead of 10", "below_policy"),
    (returned("BTCUSDT", "blocked", 5, 5, "held"), False, "blocked", 5, "held", "blocked"),
    (returned("BTCUSDT", "refused", 5, 5, "no step"), False, "refused", 5, "no step", "refused"),
    (returned("BTCUSDT", "refused", None, None, "unlisted"), False, "refused", None, "unlisted", "refused"),
    (returned("BTCUSDT", "unknown", None, None, NOT_READ), False, "unknown", None, NOT_READ, "not_reached"),
]


@pytest.mark.parametrize(("row", "check_mode", "outcome", "in_force", "reason", "severity"), CELLS)
def test_a_symbol_has_its_outcome_and_what_is_in_force(
    row: dict[str, Any], check_mode: bool, outcome: str, in_force: int | None, reason: str, severity: str | None
) -> None:
    account = only(seen({"BTCUSDT": 10}, row, check_mode=check_mode))
    assert account["results"] == [
        {
            "symbol": "BTCUSDT",
            "wish": 10,
            "policy": 10,
            "leverage": in_force,
            "previous_leverage": row["previous_leverage"],
            "outcome": outcome,
            "reason": reason,
            "blockers": row.get("blockers", []),
            "severity": severity,
        }
    ]
    assert account["in_order"] == (outcome in ("unchanged", "changed"))
    assert account["outcomes"] == [outcome]
    factor = "above policy (2x): " if severity == "above_policy" else ""
    assert account["message"] == (f"{factor}BTCUSDT: {reason}" if reason else "")


def test_a_maximum_is_named_as_one() -> None:
    account = only(seen({"BTCUSDT": 10}, returned("BTCUSDT", "changed", 20, 10), check_mode=True, enforce="maximum"))
    assert account["enforce"] == "maximum"
    assert account["message"] == "above policy (2x): BTCUSDT: leverage is 20 instead of at most 10"


def test_the_rows_are_those_of_the_policy_in_any_case_sorted() -> None:
    account = only(seen({"ethusdt": "5", "BTCUSDT": 10}, returned("BTCUSDT", "unchanged", 10, 10)))
    assert [(row["symbol"], row["wish"], row["outcome"]) for row in account["results"]] == [
        ("BTCUSDT", 10, "unchanged"),
        ("ETHUSDT", 5, "unknown"),
    ]
    assert account["message"] == f"1 of 2 symbols are not in policy. ETHUSDT: {NO_ROW}"


@pytest.mark.parametrize("wish", [True, 1.5, "10.0", "", "٣", "-1", None])
def test_a_wish_that_is_no_whole_number_stays_as_it_stands(wish: Any) -> None:
    account = only(seen({"BTCUSDT": wish}, message="leverage is not a whole number"))
    assert account["results"][0]["wish"] == str(wish)


def test_an_account_that_could_not_be_asked_is_unknown_with_the_reason_once() -> None:
    account = only(seen({"ETHUSDT": 5, "BTCUSDT": 10}, message="the keys\n are refused"))
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


@pytest.mark.parametrize(("account", "reason"), [({}, NOT_ASKED), (seen({}), NO_POLICY)])
def test_an_account_without_a_policy_is_not_in_order(account: dict[str, Any], reason: str) -> None:
    report = leverage_report({"alpha": account})
    assert not report["in_order"]
    assert report["summary"]["accounts_in_order"] == 0
    (part,) = report["accounts"]
    assert part["results"] == []
    assert part["outcomes"] == ["unknown"]
    assert part["message"] == reason


def test_the_most_dangerous_comes_first_and_the_same_together() -> None:
    rows = [
        returned("AUSDT", "changed", 5, 10),
        returned("BUSDT", "blocked", 20, 20, "held"),
        returned("CUSDT", "unknown", None, None, "silence"),
        returned("DUSDT", "changed", 5, 10),
        returned("EUSDT", "unchanged", 10, 10),
    ]
    account = only(seen({row["symbol"]: 10 for row in rows}, *rows, check_mode=True))
    assert account["outcomes"] == ["unknown", "blocked", "drifted", "unchanged"]
    assert [(trouble["outcome"], trouble["symbols"]) for trouble in account["troubles"]] == [
        ("blocked", ["BUSDT"]),
        ("unknown", ["CUSDT"]),
        ("drifted", ["AUSDT", "DUSDT"]),
    ]


def test_the_report_counts_and_keeps_the_order_of_accounts() -> None:
    report = leverage_report(
        {
            "beta": seen({"BTCUSDT": 10, "ETHUSDT": 5}, returned("BTCUSDT", "unchanged", 10, 10), message="why"),
            "alpha": seen({"SOLUSDT": 3}, returned("SOLUSDT", "changed", 9, 3)),
            "gone": {},
        },
        "Desk",
        "2026-11-23T01:30:00Z",
    )
    assert [account["account"] for account in report["accounts"]] == ["beta", "alpha", "gone"]
    assert report["symbols"] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]
    assert [(finding["severity"], finding["account"], finding["symbol"]) for finding in report["findings"]] == [
        ("not_reached", "gone", None),
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


def test_above_policy_with_a_position_comes_before_a_higher_factor() -> None:
    rows = [
        returned("AUSDT", "changed", 40, 10),
        returned("BUSDT", "blocked", 20, 20, "held"),
        returned("CUSDT", "changed", 15, 10),
        returned("DUSDT", "changed", 2, 10),
    ]
    report = leverage_report({"alpha": seen({row["symbol"]: 10 for row in rows}, *rows, check_mode=True)})
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


def test_the_shipped_schema_describes_every_key() -> None:
    schema = json.loads((ROOT / "docs" / "leverage_report.schema.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft202012Validator(schema)
    rows = [row for row, *_others in CELLS[4:8]]
    accounts: dict[str, dict[str, Any]] = {
        "alpha": seen({"BTCUSDT": 10}, rows[0], check_mode=True),
        "beta": seen({"BTCUSDT": 10}, rows[1]),
        "gone": {},
    }
    first = leverage_report(accounts, time="2026-11-22T01:30:00Z", previous={})
    later = leverage_report({"beta": accounts["alpha"]}, time="2026-11-23T01:30:00Z", previous=first)
    last = leverage_report({"alpha": seen({"BTCUSDT": 10}, CELLS[0][0])}, time="2026-11-24T01:30:00Z", previous=later)
    for report in (leverage_report(accounts), first, later, last):
        validator.validate(report)
        strict(schema, schema, report)
    assert last["history"]["resolved"]
    assert last["history"]["not_checked"]
    assert not validator.is_valid({**first, "version": 2})


def test_a_report_of_1_0_validates_and_starts_the_history() -> None:
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
    now = leverage_report(
        {"alpha": seen({"BTCUSDT": 10}, returned("BTCUSDT", "changed", 20, 10), check_mode=True)},
        time="2026-11-23T02:00:00Z",
        previous=old,
    )
    assert included(old, now), "keys are only added"
    (finding,) = now["findings"]
    assert (finding["first_seen"], finding["runs"], finding["status"]) == ("2026-11-22T02:00:00Z", 2, "continues")
    assert [run["above_policy"] for run in now["history"]["runs"]] == [1, 1]


def included(old: Any, new: Any) -> bool:
    """Whether every key of the old document is in the new one."""
    if isinstance(old, dict):
        return all(key in new and included(value, new[key]) for key, value in old.items())
    if isinstance(old, list):
        return all(included(one, other) for one, other in zip(old, new, strict=True))
    return True


def strict(root: dict[str, Any], schema: dict[str, Any], value: Any) -> None:
    """Fail for a key of the value that the schema does not describe."""
    schema = root["$defs"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if isinstance(value, dict) and "properties" in schema:
        assert set(value) <= set(schema["properties"])
        for key, item in value.items():
            strict(root, schema["properties"][key], item)
    for item in value if isinstance(value, list) else []:
        strict(root, schema.get("items", {}), item)


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"leverage_report": leverage_report}
