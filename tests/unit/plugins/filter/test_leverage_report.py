# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The document: each outcome of the module, in check mode and for real, and accounts of which nothing was returned."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import (
    NO_POLICY,
    NO_ROW,
    NOT_ASKED,
    FilterModule,
    leverage_report,
)

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
    # the module's row, check mode, and of it: outcome, in force, reason
    (returned("BTCUSDT", "unchanged", 10, 10), False, "unchanged", 10, ""),
    (returned("BTCUSDT", "unchanged", 10, 10), True, "unchanged", 10, ""),
    (returned("BTCUSDT", "changed", 20, 10), False, "changed", 10, ""),
    (returned("BTCUSDT", "changed", 20, 10), True, "drifted", 20, "leverage is 20 instead of 10"),
    (returned("BTCUSDT", "changed", None, 10), True, "drifted", None, "leverage is not configured instead of 10"),
    (returned("BTCUSDT", "blocked", 20, 20, "held"), False, "blocked", 20, "held"),
    (returned("BTCUSDT", "blocked", 20, 20, "held"), True, "blocked", 20, "held"),
    (returned("BTCUSDT", "refused", 20, 20, "too high"), False, "refused", 20, "too high"),
    (returned("BTCUSDT", "unknown", None, None, "silence"), False, "unknown", None, "silence"),
    (returned("BTCUSDT", "unknown", None, None, "silence"), True, "unknown", None, "silence"),
]


@pytest.mark.parametrize(("row", "check_mode", "outcome", "in_force", "reason"), CELLS)
def test_a_symbol_has_its_outcome_and_what_is_in_force(
    row: dict[str, Any], check_mode: bool, outcome: str, in_force: int | None, reason: str
) -> None:
    account = only(seen({"BTCUSDT": 10}, row, check_mode=check_mode))
    assert account["results"] == [
        {
            "symbol": "BTCUSDT",
            "wish": 10,
            "leverage": in_force,
            "previous_leverage": row["previous_leverage"],
            "outcome": outcome,
            "reason": reason,
            "blockers": row.get("blockers", []),
        }
    ]
    assert account["in_order"] == (outcome in ("unchanged", "changed"))
    assert account["outcomes"] == [outcome]
    assert account["message"] == (f"BTCUSDT: {reason}" if reason else "")


def test_a_maximum_is_named_as_one() -> None:
    account = only(seen({"BTCUSDT": 10}, returned("BTCUSDT", "changed", 20, 10), check_mode=True, enforce="maximum"))
    assert account["enforce"] == "maximum"
    assert account["message"] == "BTCUSDT: leverage is 20 instead of at most 10"


def test_the_rows_are_those_of_the_policy_in_any_case_sorted() -> None:
    account = only(seen({"ethusdt": "5", "BTCUSDT": 10}, returned("BTCUSDT", "unchanged", 10, 10)))
    assert [(row["symbol"], row["wish"], row["outcome"]) for row in account["results"]] == [
        ("BTCUSDT", 10, "unchanged"),
        ("ETHUSDT", 5, "unknown"),
    ]
    assert account["message"] == f"1 of 2 symbols are not in order. ETHUSDT: {NO_ROW}"


@pytest.mark.parametrize("wish", [True, 1.5, "10.0", "", "٣", "-1", None])
def test_a_wish_that_is_no_whole_number_stays_as_it_stands(wish: Any) -> None:
    account = only(seen({"BTCUSDT": wish}, message="leverage is not a whole number"))
    assert account["results"][0]["wish"] == str(wish)


def test_an_account_that_could_not_be_asked_is_unknown_with_the_reason_once() -> None:
    account = only(seen({"ETHUSDT": 5, "BTCUSDT": 10}, message="the keys\n are refused"))
    assert account["troubles"] == [
        {"outcome": "unknown", "symbols": ["BTCUSDT", "ETHUSDT"], "reason": "the keys are refused"}
    ]
    assert account["message"] == "2 of 2 symbols are not in order. BTCUSDT, ETHUSDT: the keys are refused"


@pytest.mark.parametrize(("account", "reason"), [({}, NOT_ASKED), (seen({}), NO_POLICY)])
def test_an_account_without_a_policy_is_not_in_order(account: dict[str, Any], reason: str) -> None:
    report = leverage_report({"alpha": account})
    assert not report["in_order"]
    assert report["summary"]["accounts_in_order"] == 0
    (part,) = report["accounts"]
    assert part["results"] == []
    assert part["outcomes"] == ["unknown"]
    assert part["message"] == reason


def test_the_worst_comes_first_and_the_same_together() -> None:
    rows = [
        returned("AUSDT", "changed", 20, 10),
        returned("BUSDT", "blocked", 20, 20, "held"),
        returned("CUSDT", "unknown", None, None, "silence"),
        returned("DUSDT", "changed", 20, 10),
        returned("EUSDT", "unchanged", 10, 10),
    ]
    account = only(seen({row["symbol"]: 10 for row in rows}, *rows, check_mode=True))
    assert account["outcomes"] == ["unknown", "blocked", "drifted", "unchanged"]
    assert [(trouble["outcome"], trouble["symbols"]) for trouble in account["troubles"]] == [
        ("unknown", ["CUSDT"]),
        ("blocked", ["BUSDT"]),
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
    del report["accounts"], report["symbols"]
    assert report == {
        "schema": "tradeops.coinswitch.leverage_report",
        "version": 1,
        "title": "Desk",
        "time": "2026-11-23T01:30:00Z",
        "check_mode": False,
        "in_order": False,
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
        },
    }


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"leverage_report": leverage_report}
