# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summary: at most ten lines, the most dangerous first, whatever the names are."""

from __future__ import annotations

from typing import Any

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_summary import FilterModule, leverage_summary

POSITION = {"kind": "position", "side": "LONG", "size": "0.010"}


def account(**leverages: int) -> dict[str, Any]:
    rows = [
        {"symbol": symbol, "outcome": "unchanged" if now == 10 else "changed", "previous_leverage": now, "leverage": 10}
        for symbol, now in leverages.items()
    ]
    return {"policy": dict.fromkeys(leverages, 10), "enforce": "exact", "check_mode": True, "results": rows}


def test_everything_in_policy() -> None:
    report = leverage_report({"alpha": account(BTCUSDT=10)}, time="2026-11-23T02:00:00Z")
    assert leverage_summary(report) == (
        "In policy: 1 leverage on 1 account\n"
        "Drift check (read-only), 2026-11-23 02:00 UTC, 1 of 1 leverages in policy on 1 account\n"
    )


def test_the_most_dangerous_first_with_their_age() -> None:
    held = account(ETHUSDT=20)
    held["results"][0].update(outcome="blocked", leverage=20, reason="held", blockers=[POSITION])
    first = leverage_report(
        {"alpha": account(BTCUSDT=5), "old": account(A=5)}, time="2026-11-22T02:00:00Z", previous={}
    )
    seen = {"alpha": account(BTCUSDT=5), "beta": held, "gone": {}}
    report = leverage_report(seen, time="2026-11-23T02:00:00Z", previous=first)
    assert leverage_summary(report).splitlines() == [
        "Above policy: 1 of 2 leverages, up to 2x, 1 with an open position, 2 other findings",
        "Drift check (read-only), 2026-11-23 02:00 UTC, 0 of 2 leverages in policy on 3 accounts",
        "Since the last run: 2 new, 1 continuing, 0 resolved",
        "Not checked in this run: 1 earlier findings",
        "- above policy (2x): beta ETHUSDT: 20, policy 10, open position LONG 0.010 (new)",
        "- not reached: gone (new)",
        "- below policy: alpha BTCUSDT: 5, policy 10 (since 2026-11-22)",
    ]


def test_a_real_run_says_what_it_changed() -> None:
    report = leverage_report({"alpha": {**account(BTCUSDT=20), "check_mode": False}})
    assert leverage_summary(report).splitlines()[1] == (
        "Policy applied, 1 of 1 leverages in policy on 1 account, 1 changed"
    )


def test_never_more_than_ten_lines_and_no_line_is_long() -> None:
    names = [f"bad\n\x1b[31m\u2028name{number}" + "x" * 500 for number in range(50)]
    report = leverage_report({name: account(BTCUSDT=20) for name in names})
    lines = leverage_summary(report).splitlines()
    assert len(lines) == 10
    assert lines[-1] == "- and 43 more: see the report"
    assert all(line.isprintable() and len(line) < 200 for line in lines)


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"leverage_summary": leverage_summary}
