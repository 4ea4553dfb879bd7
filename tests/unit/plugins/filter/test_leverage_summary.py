# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The summary has at most ten lines, the most dangerous finding first, for any names."""

from __future__ import annotations

import inspect

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_summary import FilterModule, leverage_summary

from ..plugin_utils._report.rows import POSITION, make_account, make_leverages, make_row

# --- leverage_summary ---


def test_summary_of_a_report_that_complies_has_three_lines() -> None:
    report = leverage_report({"alpha": make_leverages(A=10)}, time="2026-11-23T02:00:00Z", check_mode=True)
    assert leverage_summary(report) == (
        "Complies with the policy: 1 leverage on 1 account\n"
        "Drift check (read-only), 2026-11-23 02:00 UTC, https://coinswitch.co\n"
        "1 account, 1 leverage: 1 comply with the policy, 0 do not, 0 not known\n"
    )


def test_findings_are_listed_most_dangerous_first_with_their_age() -> None:
    above = make_account(make_row("B", "changed", 40, 10, positions=[POSITION]), check_mode=True)
    accounts = {"alpha": make_leverages(A=5), "beta": above, "old": make_leverages(A=5), "gone": make_leverages(A=20)}
    first = leverage_report(accounts, time="2026-11-22T02:00:00Z", previous={})
    keys = make_account(make_row("A", "unknown", None, None, "keys"), check_mode=True)
    accounts = {"alpha": make_leverages(A=5), "beta": above, "gone": keys, "absent": {}}
    report = leverage_report(accounts, time="2026-11-23T02:00:00Z", check_mode=True, previous=first)
    position = "open position LONG 0.010 (notional 640.00)"
    last_seen = "not known, last seen 20 on 2026-11-22"
    assert leverage_summary(report).splitlines() == [
        report["headline"],
        "Drift check (read-only), 2026-11-23 02:00 UTC, https://coinswitch.co",
        "4 accounts, 3 leverages: 0 comply with the policy, 2 do not, 1 not known",
        "Since the last run: 1 new, 3 continuing, 0 resolved, 1 not checked in this run",
        "To do: run enforce (2), correct the policy or the keys (1), check again (1)",
        "Not reached: gone, absent",
        f"- above policy (4 times the policy): beta B: 40, policy 10, {position} (since 2026-11-22)",
        f"- above when last seen (2 times the policy): gone A: {last_seen}, policy 10 (since 2026-11-22)",
        "- not reached: absent (new)",
        "- below policy: alpha A: 5, policy 10 (since 2026-11-22)",
    ]


def test_summary_of_a_real_run_counts_the_changes_and_names_a_simulated_exchange() -> None:
    account = {**make_leverages(check_mode=False, A=20), "api_url": "http://127.0.0.1:8080"}
    lines = leverage_summary(leverage_report({"alpha": account})).splitlines()
    assert lines[1:3] == [
        "Policy applied, http://127.0.0.1:8080 (not the real exchange)",
        "1 account, 1 leverage: 1 comply with the policy, 0 do not, 0 not known, 1 changed",
    ]


def test_warning_is_shown() -> None:
    accounts = {"alpha": {**make_leverages(A=10), "account": "k1"}, "beta": {**make_leverages(B=10), "account": "k1"}}
    assert "Warning: alpha and beta use the same API key." in leverage_summary(leverage_report(accounts))


def test_summary_has_at_most_ten_short_printable_lines() -> None:
    names = [f"bad\n\x1b[31m\u2028name{number}" + "x" * 500 for number in range(50)]
    report = leverage_report({name: make_leverages(A=11 + number) for number, name in enumerate(names)})
    lines = leverage_summary(report).splitlines()
    assert len(lines) == 10
    assert lines[-1] == "- and 45 more: see the report"
    assert all(line.isprintable() and len(line) < 250 for line in lines)


def test_one_cause_is_one_line_with_what_it_affects() -> None:
    keys = [make_row(f"S{number}", "unknown", None, None, "keys") for number in range(8)]
    accounts = {**{f"a{number}": make_leverages(A=20) for number in range(7)}, "broken": make_account(*keys)}
    assert leverage_summary(leverage_report(accounts)).splitlines()[3:] == [
        "To do: run enforce (7), correct the policy or the keys (8)",
        "Not reached: broken",
        "- above policy (2 times the policy): 7 leverages: a0, a1, a2 and 4 more: A",
        "- not reached: 8 leverages: broken: S0, S1, S2 and 5 more",
    ]


def test_accounts_without_a_policy_are_counted_as_accounts() -> None:
    accounts = {name: {"policy": {}, "msg": "why", "error": {"kind": "input"}} for name in ("alpha", "beta")}
    assert leverage_summary(leverage_report(accounts)).splitlines()[-1] == "- not reached: 2 accounts: alpha, beta"


def test_line_of_a_cause_has_no_account_that_has_its_own_line() -> None:
    leverages = {"alpha": 40, "beta": 20, "gamma": 11}
    rows = {name: make_row("A", "refused", leverage, leverage, "refused") for name, leverage in leverages.items()}
    rows["alpha"]["positions"] = [POSITION]
    lines = leverage_summary(leverage_report({name: make_account(row) for name, row in rows.items()})).splitlines()
    assert lines[-1] == "- above policy (2 times the policy): 2 leverages: beta, gamma: A"


# --- FilterModule ---


def test_filter_module_returns_the_filter() -> None:
    ((name, function),) = FilterModule().filters().items()
    assert (name, inspect.unwrap(function)) == ("leverage_summary", leverage_summary)
