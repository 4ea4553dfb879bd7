# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which findings are new, continue, are resolved or were not checked, and which files cannot be used."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import history as _history


def make_report(day: int, previous: dict[str, Any], **accounts: dict[str, int | None]) -> dict[str, Any]:
    """Return the report of a drift check whose policy is 10. A leverage of None was not read."""
    accounts_by_name: dict[str, dict[str, Any]] = {}
    for name, leverages in accounts.items():
        rows = [
            {
                "symbol": symbol,
                "outcome": "unknown" if leverage is None else "unchanged" if leverage == 10 else "changed",
                "previous_leverage": leverage,
                "leverage": leverage and 10,
                "reason": "" if leverage else "the current leverage is not known: why",
            }
            for symbol, leverage in leverages.items()
        ]
        policy = dict.fromkeys(leverages, 10)
        accounts_by_name[name] = {"policy": policy, "enforce": "exact", "check_mode": True, "results": rows}
    return leverage_report(accounts_by_name, time=f"2026-11-{day:02}T02:00:00Z", previous=previous)


def get_ages(report: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the account, symbol, first day, number of runs and status of each finding."""
    return [
        (row["account"], row["symbol"], row["first_seen"][8:10], row["runs"], row["status"])
        for row in report["findings"]
    ]


def get_reasons(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    """Return the account, symbol and reason of each row."""
    return [(row["account"], row["symbol"], row.get("reason")) for row in rows]


# --- find_report ---


def encode_report(**changes: Any) -> bytes:
    """Return a report in which some keys are replaced, as JSON."""
    return json.dumps({**make_report(1, {}, alpha={"A": 20}), **changes}).encode()


HUGE_COUNTS = dict.fromkeys(("accounts", "leverages", "findings", "above_policy"), 1e99)
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
    "unknown severity": encode_report(findings=[{"severity": "x", "account": "a", "symbol": None}]),
    "account is a list": encode_report(findings=[{"severity": "unknown", "account": [], "symbol": None}]),
    "time with markup": encode_report(time="<b>"),
    "time is a number": encode_report(time=1),
    "history without runs": encode_report(history={"not_checked": []}),
    "runs are text": encode_report(history={"runs": "x", "not_checked": []}),
    "run with huge counts": encode_report(history={"not_checked": [], "runs": [{"time": "", **HUGE_COUNTS}]}),
}


@pytest.mark.parametrize("content", UNUSABLE_FILES.values(), ids=UNUSABLE_FILES.keys())
def test_unusable_file_is_a_warning_and_stays_unchanged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    warnings: list[str] = []
    assert _history.find_report(path, warnings.append) == {}
    (warning,) = warnings
    assert warning.startswith(f"the earlier report {path} cannot be used: ")
    assert path.read_bytes() == content


def test_path_that_is_not_a_file_is_a_warning(tmp_path: Path) -> None:
    warnings: list[str] = []
    assert _history.find_report(tmp_path / "none.json", warnings.append) == {}
    assert _history.find_report(tmp_path, warnings.append) == {}
    os.mkfifo(tmp_path / "pipe")
    assert _history.find_report(tmp_path / "pipe", warnings.append) == {}
    assert ["there is no earlier report" in warning for warning in warnings] == [True, True, False]


def test_folder_returns_its_newest_readable_report(tmp_path: Path) -> None:
    for day in (1, 2):
        (tmp_path / f"leverage-2026110{day}T020000Z-7.json").write_text(
            json.dumps(make_report(day, {}, alpha={"A": 20}))
        )
    (tmp_path / "leverage-20261103T020000Z-7.json").write_bytes(b"damaged")
    (tmp_path / "other.json").write_bytes(b"not ours")
    warnings: list[str] = []
    assert _history.find_report(tmp_path, warnings.append)["time"] == "2026-11-02T02:00:00Z"
    assert len(warnings) == 1


def test_search_in_a_folder_stops_after_10_unusable_files(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"leverage-20261103T020000Z-{number}.json").write_bytes(b"damaged")
    warnings: list[str] = []
    assert _history.find_report(tmp_path, warnings.append) == {}
    assert len(warnings) == _history.MAX_UNUSABLE_FILES


# --- compare ---


def test_findings_are_new_continue_or_are_resolved() -> None:
    first = make_report(1, {}, alpha={"A": 20, "B": 20, "C": 20})
    assert get_ages(first) == [("alpha", symbol, "01", 1, "new") for symbol in "ABC"]
    assert first["history"]["previous"] is None
    second = make_report(2, first, alpha={"A": 20, "B": 10, "D": 20})
    assert get_ages(second) == [("alpha", "A", "01", 2, "continues"), ("alpha", "D", "02", 1, "new")]
    assert (second["history"]["new"], second["history"]["continues"]) == (1, 1)
    assert second["history"]["previous"] == "2026-11-01T02:00:00Z"
    assert get_reasons(second["history"]["resolved"]) == [
        ("alpha", "B", "in policy"),
        ("alpha", "C", "the policy no longer names the symbol"),
    ]
    third = make_report(3, second, alpha={"A": 10, "B": 20, "D": 10})
    assert get_ages(third) == [("alpha", "B", "03", 1, "new")], "a resolved finding that comes back is new"


def test_finding_that_was_not_checked_is_kept() -> None:
    first = make_report(1, {}, alpha={"A": 20}, beta={"A": 20}, gamma={"A": 10, "B": 20})
    second = make_report(2, first, alpha={"A": None}, gamma={"A": 10, "B": None})
    assert get_ages(second) == [("alpha", None, "02", 1, "new"), ("gamma", "B", "01", 2, "continues")]
    assert second["history"]["resolved"] == []
    assert get_reasons(second["history"]["not_checked"]) == [("alpha", "A", None), ("beta", "A", None)]
    third = make_report(3, second, alpha={"A": 20}, beta={"A": 10}, gamma={"A": 10, "B": 10})
    assert get_ages(third) == [("alpha", "A", "01", 2, "continues")]
    assert sorted(get_reasons(third["history"]["resolved"]), key=str) == [
        ("alpha", None, "the account was reached"),
        ("beta", "A", "in policy"),
        ("gamma", "B", "in policy"),
    ]
    assert third["history"]["not_checked"] == []


def test_history_keeps_the_last_30_runs() -> None:
    last: dict[str, Any] = make_report(1, {}, removed={"A": 20})
    for number in range(40):
        last = make_report(2 + number % 27, last, alpha={"A": 20, "B": 10})
        if number == 10:
            assert get_reasons(last["history"]["not_checked"]) == [("removed", "A", None)]
    assert len(last["history"]["runs"]) == 30
    assert last["history"]["runs"][-1] == {
        "time": last["time"],
        "accounts": 1,
        "leverages": 2,
        "findings": 1,
        "above_policy": 1,
    }
    assert last["findings"][0]["runs"] == 40
    assert last["history"]["not_checked"] == [], "a finding that was not checked for 30 runs is dropped"
