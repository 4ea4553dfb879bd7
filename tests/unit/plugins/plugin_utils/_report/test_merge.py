# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Merged reports are the same as one report of all accounts."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_metrics import leverage_metrics
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_page import leverage_page
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_summary import leverage_summary
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.history import (
    find_report,
    read_earlier_report,
)
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.merge import merge_reports

from .rows import BLOCKER, ORDER, POSITION, REPORTS, make_account, make_leverages, make_row

EARLY, LATE = "2026-11-23T02:00:00Z", "2026-11-23T02:10:00Z"
ACCOUNTS: dict[str, dict[str, Any]] = {
    "alpha": make_leverages(A=20, B=10),
    "beta": make_account(
        make_row("A", "blocked", 40, 40, "position", blockers=[BLOCKER], positions=[POSITION]),
        make_row("C", "refused", 5, 5, "order", blockers=[ORDER], exchange_message="No."),
        check_mode=True,
    ),
    "gamma": make_account(make_row("A", "unknown", None, None, "keys"), error={"kind": "keys", "status": 401}),
    "delta": {"policy": "damaged", "msg": "why", "error": {"kind": "input"}},
    "absent": {"policy": {"A": 10}},
}


def merge(*reports: dict[str, Any], previous: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    read_from_files = [json.loads(json.dumps(report)) for report in reports]
    return merge_reports(read_from_files, previous=previous, **options)


def make_part(*names: str, time: str = EARLY, **keys: Any) -> dict[str, Any]:
    accounts = {name: ACCOUNTS[name] for name in names}
    return dict(leverage_report(accounts, time=time, check_mode=True, **keys))


# --- merge_reports ---


def test_merged_parts_are_the_report_of_all_accounts() -> None:
    whole = make_part(*ACCOUNTS)
    assert merge(*(make_part(name) for name in ACCOUNTS)) == whole
    assert merge(make_part("alpha", "beta", "gamma"), make_part("delta", "absent")) == whole
    assert merge(whole) == whole
    assert merge(merge(make_part("alpha")), make_part("beta"))["findings"] == make_part("alpha", "beta")["findings"]


@given(REPORTS, REPORTS)
def test_report_that_is_merged_again_loses_no_finding(
    first: dict[str, dict[str, Any]], second: dict[str, dict[str, Any]]
) -> None:
    earlier = leverage_report(first, time=EARLY, previous={})
    report = leverage_report(second, time=LATE, previous=earlier)
    # The history of a part is its own.
    names = ("compliant", "summary", "symbols", "accounts", "problems", "actions")
    for merged in (merge(report), merge(merge(report))):
        assert {name: merged[name] for name in names} == {name: report[name] for name in names}
        assert [get_facts(row) for row in merged["findings"]] == [get_facts(row) for row in report["findings"]]


def get_facts(finding: dict[str, Any]) -> dict[str, Any]:
    """Return a finding without its age, which is the history of its report."""
    return {name: value for name, value in finding.items() if name not in ("first_seen", "runs", "status")}


def test_finding_of_a_merge_stays_if_its_report_is_merged_again() -> None:
    newer = leverage_report({"alpha": make_leverages(A=10, B=10)}, time=LATE, check_mode=True)
    report = merge(merge(make_part("alpha"), newer))
    assert ([row["cause"] for row in report["findings"]], report["compliant"]) == (["reported_twice"], False)


def test_leverage_of_an_unreadable_policy_is_one_finding_in_a_merge() -> None:
    first = leverage_report({"delta": make_leverages(A=20)}, time=EARLY, previous={})
    part = leverage_report({"delta": ACCOUNTS["delta"]}, time=LATE, previous=first)
    report = merge(part, previous=merge(first, previous={}))
    assert [(row["severity"], row["symbol"]) for row in report["findings"]] == [
        ("above_when_last_seen", "A"),
        ("not_reached", None),
    ]


def test_account_without_rows_and_findings_was_not_checked() -> None:
    part = make_part("delta")
    part["findings"] = []
    report = merge(leverage_report({"alpha": make_leverages(A=10)}, time=EARLY), part)
    assert (report["compliant"], [row["account"] for row in report["findings"]]) == (False, ["delta"])


def test_merged_report_has_the_history_of_merged_reports() -> None:
    first = merge(make_part("alpha"), make_part("beta"), previous={})
    unread = leverage_report({"beta": make_leverages(A=None, C=None)}, time=LATE, check_mode=True)
    second = merge(make_part("alpha", time=LATE), unread, previous=first)
    assert [(row["severity"], row["account"], row["symbol"], row["status"]) for row in second["findings"]] == [
        ("above_policy", "alpha", "A", "continues"),
        ("above_when_last_seen", "beta", "A", "continues"),
        ("not_reached", "beta", "C", "continues"),
    ]
    assert second["findings"][1]["last_positions"] == [{**POSITION, "notional": 640.0}]
    assert [run["time"] for run in second["history"]["runs"]] == [EARLY, LATE]


def test_account_in_two_reports_is_a_finding_and_the_newer_report_counts() -> None:
    newer = leverage_report({"alpha": make_leverages(A=10, B=10)}, time=LATE, check_mode=True)
    for parts in ((make_part("alpha"), newer), (newer, make_part("alpha"))):
        report = merge(*parts)
        (finding,) = report["findings"]
        assert (finding["account"], finding["symbol"], finding["cause"]) == ("alpha", None, "reported_twice")
        assert report["problems"][0]["reason"].startswith("2 reports contain this account. The newest one of 2026")
        assert report["summary"]["complying"] == report["summary"]["leverages"] == 2
        assert not report["compliant"]
        assert not report["accounts"][0]["compliant"]


def test_report_of_an_earlier_run_does_not_count_as_a_check() -> None:
    old = make_part("alpha", "gamma", time="2026-11-22T02:00:00Z")
    newer_gamma = leverage_report({"gamma": make_leverages(A=10)}, time=EARLY, check_mode=True)
    report = merge(old, newer_gamma)
    findings = report["findings"]
    assert [(row["account"], row["cause"], row["last_leverage"], row["last_seen"]) for row in findings] == [
        ("alpha", "not_asked", 20, "2026-11-22T02:00:00Z"),
        ("alpha", "not_asked", 10, "2026-11-22T02:00:00Z"),
    ]
    assert report["findings"][0]["severity"] == "above_when_last_seen"


def test_account_that_must_be_in_the_report_was_not_checked() -> None:
    expected = [{"name": name, "policy": {"A": 10}, "enforce": "exact"} for name in ("alpha", "missing")]
    report = merge(make_part("alpha"), expected=expected)
    assert [(row["account"], row["cause"]) for row in report["findings"]] == [("alpha", None), ("missing", "not_asked")]
    assert report["summary"]["not_known"] == 1


@pytest.mark.parametrize(("parts", "expected"), [(0, True), (2, True), (3, False)])
def test_report_with_too_few_parts_is_incomplete(parts: int, expected: bool) -> None:
    reports = [leverage_report({name: make_leverages(A=10)}, time=EARLY) for name in ("alpha", "beta")]
    report = merge(*reports, parts=parts)
    assert report["complete"] is report["compliant"] is expected
    warnings = ["Only 2 of 3 reports could be merged. See the output of the parts."]
    assert report["warnings"] == ([] if expected else warnings)


def test_keys_of_accounts_in_different_parts_are_compared() -> None:
    parts = [
        leverage_report({name: {**make_leverages(A=10), "account": "k1"}}, time=EARLY) for name in ("alpha", "beta")
    ]
    assert [(row["account"], row["cause"]) for row in merge(*parts)["findings"]] == [
        ("alpha", "same_key"),
        ("beta", "same_key"),
    ]


def test_merged_drift_checks_are_a_drift_check_and_others_are_not() -> None:
    enforced = leverage_report({"beta": make_leverages(check_mode=False, A=20)}, time=EARLY)
    assert merge(make_part("alpha"), make_part("gamma"))["check_mode"] is True
    assert merge(make_part("alpha"), enforced)["check_mode"] is False


def find_paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of each value inside a report."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, item in items for found in ((*path, key), *find_paths(item, (*path, key)))]


def damage(report: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """Return a report in which one value is another one, or is missing."""
    damaged: Any = json.loads(json.dumps(report))
    parent = damaged
    for key in path[:-1]:
        parent = parent[key]
    if value is MISSING:
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return dict(damaged)


MISSING = object()
UNSEEN = leverage_report(
    {"alpha": make_leverages(A=None), "beta": {}},
    time=LATE,
    previous=make_part(*ACCOUNTS, previous={}),
    check_mode=True,
)
REPORTS_TO_DAMAGE = (make_part(*ACCOUNTS), UNSEEN)
PATHS = [(number, path) for number in range(2) for path in find_paths(REPORTS_TO_DAMAGE[number])]
VALUES = [MISSING, None, "", "x", 0, -1, 10**30, 1.5, float("nan"), True, [], {}, ["x"], {"x": 1}, "drifted",
          "above_policy", "9999-99-99T99:99:99Z", "0001-01-01T00:00:00Z"]  # fmt: skip


@settings(max_examples=300)
@given(st.sampled_from(PATHS), st.sampled_from(VALUES))
def test_report_that_can_be_read_can_be_merged_and_shown(place: tuple[int, tuple[Any, ...]], value: Any) -> None:
    """The lookup leverage_history names a file that cannot be read. The filter leverage_merge fails for all parts."""
    number, path = place
    report = damage(REPORTS_TO_DAMAGE[number], path, value)
    try:
        read_earlier_report(report)
    except ValueError:
        return
    merged = merge(report, make_part("alpha"), previous=report, max_age=100)
    for shown in (merged, leverage_report(ACCOUNTS, time=LATE, previous=report)):
        assert leverage_summary(shown)
        assert leverage_metrics(shown)
        assert leverage_page(shown, "{{ rows }}")
        read_earlier_report(json.loads(json.dumps(shown)))


@pytest.mark.parametrize(
    "path",
    [
        ("history",),
        ("title",),
        ("check_mode",),
        ("problems",),
        ("problems", 0, "reason"),
        ("accounts", 0, "api_url"),
        ("accounts", 0, "error"),
        ("accounts", 0, "leverages", 0, "outcome"),
        ("accounts", 0, "leverages", 0, "changed"),
        ("findings", 0, "problem"),
        ("findings", 0, "outcome"),
    ],
)
def test_what_a_merge_needs_is_checked_where_the_file_is_read(tmp_path: Path, path: tuple[Any, ...]) -> None:
    file = tmp_path / "part.json"
    warnings: list[str] = []
    for value in (MISSING, 5):
        file.write_text(json.dumps(damage(make_part("alpha"), path, value)))
        assert find_report(file, datetime(2026, 11, 24, tzinfo=UTC), warnings.append) == {}
    assert ["its structure is not that of a report" in text and str(file) in text for text in warnings] == [True, True]


def test_parts_that_are_no_reports_are_refused() -> None:
    with pytest.raises(ValueError, match="There are no reports to merge"):
        merge()
    for path in (("history",), ("check_mode",), ("problems",), ("accounts", 0, "leverages", 0, "outcome")):
        with pytest.raises(ValueError, match="A report cannot be merged: its structure is not that of a report"):
            merge(make_part("alpha"), damage(make_part("beta"), path, MISSING))
