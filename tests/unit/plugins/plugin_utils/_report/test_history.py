# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which findings are new, continue, are resolved or were not checked, and which files cannot be used."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import history as _history

from .rows import POSITION, make_account, make_leverages, make_row

NOW = datetime(2026, 11, 30, 2, 0, tzinfo=UTC)
LAST_NIGHT = "2026-11-01T02:00:00Z"


def make_report(day: int, previous: dict[str, Any], **accounts: dict[str, Any]) -> dict[str, Any]:
    """Return the report of a drift check, as it is read from a file."""
    report = leverage_report(accounts, time=f"2026-11-{day:02}T02:00:00Z", check_mode=True, previous=previous)
    return dict(json.loads(json.dumps(report)))


def get_ages(report: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the account, symbol, first day, number of runs and status of each finding."""
    return [
        (row["account"], row["symbol"], row["first_seen"][8:10], row["runs"], row["status"])
        for row in report["findings"]
    ]


def get_reasons(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return the account, symbol and reason of each row."""
    return [(row["account"], row["symbol"], row.get("reason")) for row in rows]


def get_last_seen(report: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the severity, account and symbol of each finding, and what was last seen."""
    return [
        (
            row["severity"],
            row["account"],
            row["symbol"],
            row["leverage"],
            row.get("last_leverage"),
            row.get("last_seen"),
        )
        for row in report["findings"]
    ]


def find_report(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the report that is found, and the warnings."""
    warnings: list[str] = []
    return _history.find_report(path, NOW, warnings.append), warnings


# --- find_report ---


def encode_report(**changes: Any) -> bytes:
    """Return a report in which some keys are replaced, as JSON."""
    return json.dumps({**make_report(1, {}, alpha=make_leverages(A=20)), **changes}).encode()


def encode_finding(**changes: Any) -> bytes:
    (finding,) = make_report(1, {}, alpha=make_leverages(A=20))["findings"]
    return encode_report(findings=[{**finding, **changes}])


HUGE_COUNTS = {"accounts": 1e99}
UNUSABLE_FILES = {
    "empty": b"",
    "binary": b"\x00\xff" * 5_000_000,
    "truncated": encode_report()[:-20],
    "nested too deeply": b"[" * 10_000_000,
    "too large": b" " * (_history.MAX_FILE_BYTES + 1),
    "list": b"[]",
    "null": b"null",
    "number": b"1",
    "other schema": b'{"schema": "other", "version": 1}',
    "later version": encode_report(version=2),
    "no findings": encode_report(findings=None),
    "finding is text": encode_report(findings=["x"]),
    "unknown severity": encode_finding(severity="x"),
    "account is a list": encode_finding(account=[]),
    "leverage is text": encode_finding(leverage="<b>"),
    "policy is a list": encode_finding(policy=[]),
    "positions are text": encode_finding(positions="x"),
    "size is a list": encode_finding(positions=[{"size": []}]),
    "accounts are text": encode_report(accounts="x"),
    "leverage without an outcome": encode_report(
        accounts=[{"account": "alpha", "leverages": [{"symbol": "A", "policy": 10, "leverage": 10}]}]
    ),
    "time with markup": encode_report(time="<b>"),
    "time is a number": encode_report(time=1),
    "time in the future": encode_report(time="2026-11-30T02:06:00Z"),
    "history without runs": encode_report(history={"not_checked": []}),
    "runs are text": encode_report(history={"runs": "x", "not_checked": []}),
    "run with huge counts": encode_report(history={"not_checked": [], "runs": [{"time": "", **HUGE_COUNTS}]}),
}


@pytest.mark.parametrize("content", UNUSABLE_FILES.values(), ids=UNUSABLE_FILES.keys())
def test_unusable_file_is_a_warning_and_stays_unchanged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    report, (warning,) = find_report(path)
    assert report == {}
    assert warning.startswith(f"The earlier report {path} cannot be used: ")
    assert path.read_bytes() == content


def test_path_that_is_not_a_file_is_a_warning(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    found = [find_report(path) for path in (tmp_path / "none.json", tmp_path, tmp_path / "pipe")]
    assert [report for report, _warnings in found] == [{}, {}, {}]
    assert ["There is no earlier report" in warning for _report, (warning,) in found] == [True, True, False]


def write_reports(directory: Path, *times: str) -> None:
    for time in times:
        stamp = time.replace("-", "").replace(":", "")
        (directory / f"leverage-{stamp}-7.json").write_bytes(encode_report(time=time))


def test_directory_returns_its_newest_readable_report(tmp_path: Path) -> None:
    write_reports(tmp_path, "2026-11-01T02:00:00Z", "2026-11-02T02:00:00Z")
    (tmp_path / "leverage-20261103T020000Z-7.json").write_bytes(b"damaged")
    (tmp_path / "other.json").write_bytes(b"not ours")
    report, warnings = find_report(tmp_path)
    assert report["time"] == "2026-11-02T02:00:00Z"
    assert len(warnings) == 1


@pytest.mark.parametrize("mode", [0o750, 0o770, 0o777, 0o1777])
def test_directory_that_every_user_can_write_to_is_a_warning(tmp_path: Path, mode: int) -> None:
    (tmp_path / "leverage-20261122T013000Z-1.json").write_bytes(encode_report())
    tmp_path.chmod(mode)
    report, warnings = find_report(tmp_path)
    assert report["time"]
    assert [warning.startswith("Every user can write to") for warning in warnings] == [True] * (mode in (0o777, 0o1777))


def test_reports_with_a_time_in_the_future_do_not_hide_the_others(tmp_path: Path) -> None:
    future = [f"{year}-01-01T02:00:00Z" for year in range(2030, 2060)]
    write_reports(tmp_path, "2026-11-02T02:00:00Z", "2026-11-30T02:04:59Z", *future)
    report, (warning,) = find_report(tmp_path)
    assert report["time"] == "2026-11-30T02:04:59Z", "the clocks of two machines can differ a little"
    assert warning.startswith(f"30 reports in {tmp_path} have a time in the future")
    assert "leverage-20590101T020000Z-7.json" in warning


def test_search_in_a_directory_stops_after_10_unusable_files(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"leverage-20261103T020000Z-{number}.json").write_bytes(b"damaged")
    report, warnings = find_report(tmp_path)
    assert report == {}
    assert len(warnings) == _history.MAX_UNUSABLE_FILES


# --- compare ---


def test_findings_are_new_continue_or_are_resolved() -> None:
    first = make_report(1, {}, alpha=make_leverages(A=20, B=20, C=20))
    assert get_ages(first) == [("alpha", symbol, "01", 1, "new") for symbol in "ABC"]
    assert first["history"]["previous"] is None
    second = make_report(2, first, alpha=make_leverages(A=20, B=10, D=20))
    assert get_ages(second) == [("alpha", "A", "01", 2, "continues"), ("alpha", "D", "02", 1, "new")]
    assert (second["history"]["new"], second["history"]["continues"]) == (1, 1)
    assert second["history"]["previous"] == LAST_NIGHT
    assert get_reasons(second["history"]["resolved"]) == [
        ("alpha", "B", "complies with the policy"),
        ("alpha", "C", "the policy no longer names the symbol"),
    ]
    third = make_report(3, second, alpha=make_leverages(A=10, B=20, D=10))
    assert get_ages(third) == [("alpha", "B", "03", 1, "new")], "a resolved finding that comes back is new"


def test_finding_of_an_account_outside_the_run_is_kept_with_its_values() -> None:
    first = make_report(1, {}, alpha=make_leverages(A=10), beta=make_leverages(A=20))
    second = make_report(2, first, alpha=make_leverages(A=10))
    third = make_report(3, second, alpha=make_leverages(A=10))
    for report in (second, third):
        assert report["history"]["resolved"] == []
        (row,) = report["history"]["not_checked"]
        assert (row["account"], row["last_leverage"], row["policy"]) == ("beta", 20, 10)
        assert (row["last_seen"], row["last_found"]) == (LAST_NIGHT, LAST_NIGHT)
    fourth = make_report(4, third, beta=make_leverages(A=None))
    assert get_last_seen(fourth) == [("above_when_last_seen", "beta", "A", None, 20, LAST_NIGHT)]
    assert get_ages(fourth) == [("beta", "A", "01", 2, "continues")]


def test_history_keeps_the_last_30_runs() -> None:
    last: dict[str, Any] = make_report(1, {}, removed=make_leverages(A=20))
    for number in range(40):
        last = make_report(2 + number % 27, last, alpha=make_leverages(A=20, B=10, C=None))
        if number == 10:
            assert get_reasons(last["history"]["not_checked"]) == [("removed", "A", None)]
    assert len(last["history"]["runs"]) == 30
    assert last["history"]["runs"][-1] == {
        "time": last["time"],
        "accounts": 1,
        "leverages": 3,
        "not_known": 1,
        "findings": 2,
        "above_policy": 1,
        "above_when_last_seen": 0,
    }
    assert last["findings"][0]["runs"] == 40
    assert last["history"]["not_checked"] == [], "a finding that was not checked for 30 runs is dropped"


# --- add_last_seen ---


def test_worst_account_does_not_disappear_when_it_cannot_be_read() -> None:
    rows = make_row("A", "changed", 40, 10, positions=[POSITION]), make_row("B", "unchanged", 10, 10)
    bad = make_account(*rows, check_mode=True)
    keys = make_account(*(make_row(symbol, "unknown", None, None, "keys") for symbol in "AB"), check_mode=True)
    first = make_report(1, {}, alpha=make_leverages(A=20), bad=bad)
    second = make_report(2, first, alpha=make_leverages(A=20), bad=keys)
    third = make_report(3, second, alpha=make_leverages(A=20), bad=keys)
    for report in (second, third):
        assert get_last_seen(report) == [
            ("above_policy", "alpha", "A", 20, None, None),
            ("above_when_last_seen", "bad", "A", None, 40, LAST_NIGHT),
            ("not_reached", "bad", "B", None, 10, LAST_NIGHT),
        ]
        finding = report["findings"][1]
        assert (finding["factor"], finding["policy"], finding["cause"]) == (4.0, 10, "keys")
        assert finding["last_positions"] == [{**POSITION, "notional": 640.0}]
        assert report["summary"]["severities"]["above_when_last_seen"] == 1
        assert report["summary"]["not_known"] == 2
        assert report["history"]["runs"][-1]["above_when_last_seen"] == 1
        assert report["history"]["resolved"] == []
    assert get_ages(third)[1] == ("bad", "A", "01", 3, "continues")


@pytest.mark.parametrize(
    "unread",
    [
        make_leverages(A=None, B=10),
        make_account(make_row("A", "refused", None, None, "not_listed"), make_row("B", "unchanged", 10, 10)),
        {"policy": {"A": 10, "B": 10}, "unreachable": True, "msg": "ssh"},
        {"policy": {"A": "ten"}, "msg": "not a number", "error": {"kind": "input"}},
        {"policy": "damaged", "msg": "not a dictionary", "error": {"kind": "input"}},
        {"policy": {}, "msg": "empty"},
        {"policy": {"A": 10}},
        {},
    ],
)
def test_leverage_that_was_above_stays_first_for_whatever_reason_it_is_not_read(unread: dict[str, Any]) -> None:
    first = make_report(1, {}, alpha=make_leverages(A=40, B=5))
    second = make_report(2, first, alpha=unread)
    third = make_report(3, second, alpha=unread)
    above = [("above_when_last_seen", "alpha", "A", None, 40, LAST_NIGHT)]
    assert get_last_seen(second)[:1] == get_last_seen(third)[:1] == above
    assert (third["findings"][0]["factor"], third["findings"][0]["runs"]) == (4.0, 3)


def test_symbol_that_was_read_once_is_never_taken_for_one_that_was_never_configured() -> None:
    """During a maintenance, the exchange refuses each read. The night after that, it does not respond."""
    maintenance = make_account(
        make_row("A", "changed", None, 10), make_row("B", "not_written", None, None, "limits_unknown"), check_mode=True
    )
    first = make_report(1, {}, alpha=make_leverages(A=20, B=10))
    second = make_report(2, first, alpha=maintenance)
    third = make_report(3, second, alpha=make_leverages(A=None, B=None))
    fourth = make_report(4, third, alpha=maintenance)
    for report in (second, third, fourth):
        assert get_last_seen(report) == [
            ("above_when_last_seen", "alpha", "A", None, 20, LAST_NIGHT),
            ("not_reached", "alpha", "B", None, 10, LAST_NIGHT),
        ]
        assert (report["summary"]["not_known"], report["summary"]["outcomes"]["unknown"]) == (2, 2)
        assert report["headline"].startswith("1 above the policy when last seen and not read since, up to 2 times")
    reason = "The exchange returned no leverage for this symbol, but an earlier run read {}. "
    assert [problem["reason"].partition("Read the")[0] for problem in second["problems"]] == [
        reason.format(leverage) for leverage in (20, 10)
    ]
    assert {(row["cause"], row["action"]) for row in second["findings"]} == {("unexpected_response", "check")}


def test_only_the_symbol_that_an_earlier_run_read_is_unknown() -> None:
    rows = make_row("A", "changed", None, 10), make_row("B", "changed", None, 10), make_row("C", "unchanged", 10, 10)
    second = make_report(2, make_report(1, {}, alpha=make_leverages(A=5)), alpha=make_account(*rows, check_mode=True))
    assert [(row["severity"], row["symbol"]) for row in second["findings"]] == [
        ("unknown", "A"),
        ("never_configured", "B"),
    ]


NIGHTS = st.lists(st.sampled_from(("read", "maintenance", "error", "refused", "no policy", "absent")), max_size=5)


@given(NIGHTS)
def test_leverage_above_the_policy_is_never_forgotten_before_it_is_read_again(nights: list[str]) -> None:
    accounts = {
        "read": make_leverages(A=20),
        "maintenance": make_account(make_row("A", "changed", None, 10), check_mode=True),
        "error": make_leverages(A=None),
        "refused": make_account(make_row("A", "refused", None, None, "not_listed"), check_mode=True),
        "no policy": {"policy": "damaged", "msg": "why"},
        "absent": {"policy": {"A": 10}},
    }
    report = make_report(1, {}, alpha=accounts["read"])
    for day, night in enumerate(nights, 2):
        report = make_report(day, report, alpha=accounts[night])
        severity = "above_policy" if night == "read" else "above_when_last_seen"
        assert report["findings"][0]["severity"] == severity


def test_factor_of_a_policy_of_zero_is_not_known() -> None:
    first = make_report(1, {}, alpha=make_leverages(A=40))
    second = make_report(2, first, alpha={"policy": {"A": 0}, "msg": "not a number", "error": {"kind": "input"}})
    assert (second["summary"]["highest_factor_last_seen"], second["problems"][0]["factor"]) == (None, None)
    assert second["headline"] == "1 above the policy when last seen and not read since"


def test_leverage_that_the_new_policy_allows_is_not_above() -> None:
    first = make_report(1, {}, alpha=make_leverages(A=40))
    row = make_row("A", "unknown", None, None, "network", desired_leverage=50)
    second = make_report(2, first, alpha=make_account(row, check_mode=True))
    assert get_last_seen(second) == [("not_reached", "alpha", "A", None, 40, LAST_NIGHT)]
