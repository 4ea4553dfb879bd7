# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summary has at most ten lines, the most dangerous finding first, for any names."""

from __future__ import annotations

import inspect
from typing import Any

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_summary import FilterModule, leverage_summary

POSITION = {"kind": "position", "side": "LONG", "size": "0.010"}


def make_account(**leverages: int) -> dict[str, Any]:
    """Return an account of a drift check with these current leverages and a policy of 10."""
    rows = [
        {
            "symbol": symbol,
            "outcome": "unchanged" if leverage == 10 else "changed",
            "previous_leverage": leverage,
            "leverage": 10,
        }
        for symbol, leverage in leverages.items()
    ]
    return {"policy": dict.fromkeys(leverages, 10), "enforce": "exact", "check_mode": True, "results": rows}


# --- leverage_summary ---


def test_summary_of_a_report_in_policy_has_two_lines() -> None:
    report = leverage_report({"alpha": make_account(BTCUSDT=10)}, time="2026-11-23T02:00:00Z")
    assert leverage_summary(report) == (
        "In policy: 1 leverage on 1 account\n"
        "Drift check (read-only), 2026-11-23 02:00 UTC, 1 of 1 leverage in policy on 1 account\n"
    )


def test_findings_are_listed_most_dangerous_first_with_their_age() -> None:
    blocked = make_account(ETHUSDT=20)
    blocked["results"][0].update(outcome="blocked", leverage=20, reason="blocked by a position", blockers=[POSITION])
    first = leverage_report(
        {"alpha": make_account(BTCUSDT=5), "old": make_account(A=5)}, time="2026-11-22T02:00:00Z", previous={}
    )
    accounts = {"alpha": make_account(BTCUSDT=5), "beta": blocked, "absent": {}}
    report = leverage_report(accounts, time="2026-11-23T02:00:00Z", previous=first)
    assert leverage_summary(report).splitlines() == [
        "Above policy: 1 of 2 leverages, up to 2x, 1 with an open position, 2 other findings",
        "Drift check (read-only), 2026-11-23 02:00 UTC, 0 of 2 leverages in policy on 3 accounts",
        "Since the last run: 2 new, 1 continuing, 0 resolved",
        "Not checked in this run: 1 earlier finding",
        "- above policy (2x): beta ETHUSDT: 20, policy 10, open position LONG 0.010 (new)",
        "- not reached: absent (new)",
        "- below policy: alpha BTCUSDT: 5, policy 10 (since 2026-11-22)",
    ]


def test_summary_of_a_run_without_check_mode_counts_the_changes() -> None:
    report = leverage_report({"alpha": {**make_account(BTCUSDT=20), "check_mode": False}})
    assert leverage_summary(report).splitlines()[1] == (
        "Policy applied, 1 of 1 leverage in policy on 1 account, 1 changed"
    )


def test_summary_has_at_most_ten_short_printable_lines() -> None:
    names = [f"bad\n\x1b[31m\u2028name{number}" + "x" * 500 for number in range(50)]
    report = leverage_report({name: make_account(BTCUSDT=20) for name in names})
    lines = leverage_summary(report).splitlines()
    assert len(lines) == 10
    assert lines[-1] == "- and 43 more: see the report"
    assert all(line.isprintable() and len(line) < 200 for line in lines)


# --- FilterModule ---


def test_filter_module_returns_the_filter() -> None:
    ((name, function),) = FilterModule().filters().items()
    assert (name, inspect.unwrap(function)) == ("leverage_summary", leverage_summary)
