# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history: what is new, continues, is resolved or was not checked, and files that cannot be used."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils import _history


def report(day: int, previous: dict[str, Any], **accounts: dict[str, int | None]) -> dict[str, Any]:
    """The report of a drift check whose policy is 10. A leverage of None: not read."""
    seen: dict[str, dict[str, Any]] = {}
    for name, leverages in accounts.items():
        rows = [
            {
                "symbol": symbol,
                "outcome": "unknown" if now is None else "unchanged" if now == 10 else "changed",
                "previous_leverage": now,
                "leverage": now and 10,
                "reason": "" if now else "the current leverage is not known: why",
            }
            for symbol, now in leverages.items()
        ]
        policy = dict.fromkeys(leverages, 10)
        seen[name] = {"policy": policy, "enforce": "exact", "check_mode": True, "results": rows}
    return leverage_report(seen, time=f"2026-11-{day:02}T02:00:00Z", previous=previous)


def ages(report: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (row["account"], row["symbol"], row["first_seen"][8:10], row["runs"], row["status"])
        for row in report["findings"]
    ]


def named(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["account"], row["symbol"], row.get("reason")) for row in rows]


def test_findings_continue_and_are_resolved() -> None:
    first = report(1, {}, alpha={"A": 20, "B": 20, "C": 20})
    assert ages(first) == [("alpha", symbol, "01", 1, "new") for symbol in "ABC"]
    assert first["history"]["previous"] is None
    second = report(2, first, alpha={"A": 20, "B": 10, "D": 20})
    assert ages(second) == [("alpha", "A", "01", 2, "continues"), ("alpha", "D", "02", 1, "new")]
    assert (second["history"]["new"], second["history"]["continues"]) == (1, 1)
    assert second["history"]["previous"] == "2026-11-01T02:00:00Z"
    assert named(second["history"]["resolved"]) == [
        ("alpha", "B", "in policy"),
        ("alpha", "C", "the policy no longer names the symbol"),
    ]
    third = report(3, second, alpha={"A": 10, "B": 20, "D": 10})
    assert ages(third) == [("alpha", "B", "03", 1, "new")], "what was resolved begins anew"


def test_what_is_not_read_is_neither_resolved_nor_forgotten() -> None:
    first = report(1, {}, alpha={"A": 20}, beta={"A": 20}, gamma={"A": 10, "B": 20})
    second = report(2, first, alpha={"A": None}, gamma={"A": 10, "B": None})
    assert ages(second) == [("alpha", None, "02", 1, "new"), ("gamma", "B", "01", 2, "continues")]
    assert second["history"]["resolved"] == []
    assert named(second["history"]["not_checked"]) == [("alpha", "A", None), ("beta", "A", None)]
    third = report(3, second, alpha={"A": 20}, beta={"A": 10}, gamma={"A": 10, "B": 10})
    assert ages(third) == [("alpha", "A", "01", 2, "continues")]
    assert sorted(named(third["history"]["resolved"]), key=str) == [
        ("alpha", None, "the account was reached"),
        ("beta", "A", "in policy"),
        ("gamma", "B", "in policy"),
    ]
    assert third["history"]["not_checked"] == []


def test_the_last_30_runs_are_kept() -> None:
    last: dict[str, Any] = report(1, {}, gone={"A": 20})
    for turn in range(40):
        last = report(2 + turn % 27, last, alpha={"A": 20, "B": 10})
        if turn == 10:
            assert named(last["history"]["not_checked"]) == [("gone", "A", None)]
    assert len(last["history"]["runs"]) == 30
    assert last["history"]["runs"][-1] == {
        "time": last["time"],
        "accounts": 1,
        "leverages": 2,
        "findings": 1,
        "above_policy": 1,
    }
    assert last["findings"][0]["runs"] == 40
    assert last["history"]["not_checked"] == [], "an account that is gone is dropped in the end"


def damaged(**changes: Any) -> bytes:
    return json.dumps({**report(1, {}, alpha={"A": 20}), **changes}).encode()


HUGE = dict.fromkeys(("accounts", "leverages", "findings", "above_policy"), 1e99)
UNUSABLE = {
    "empty": b"",
    "binary": b"\x00\xff" * 5_000_000,
    "cut": damaged()[:-20],
    "nested": b"[" * 10_000_000,
    "too large": b" " * (_history.LARGEST + 1),
    "list": b"[]",
    "null": b"null",
    "number": b"1",
    "foreign": b'{"schema": "other", "version": 1}',
    "later version": damaged(version=2),
    "no findings": damaged(findings=None),
    "a finding is text": damaged(findings=["x"]),
    "a severity that nobody knows": damaged(findings=[{"severity": "x", "account": "a", "symbol": None}]),
    "an account that is a list": damaged(findings=[{"severity": "unknown", "account": [], "symbol": None}]),
    "a time with markup": damaged(time="<b>"),
    "a time that is a number": damaged(time=1),
    "history without runs": damaged(history={"not_checked": []}),
    "runs of text": damaged(history={"runs": "x", "not_checked": []}),
    "a run with a huge count": damaged(history={"not_checked": [], "runs": [{"time": "", **HUGE}]}),
}


@pytest.mark.parametrize("content", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_a_file_that_cannot_be_used_is_a_warning(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "report.json"
    path.write_bytes(content)
    warnings: list[str] = []
    assert _history.find(path, warnings.append) == {}
    (warning,) = warnings
    assert warning.startswith(f"the earlier report {path} cannot be used: ")
    assert path.read_bytes() == content


def test_what_is_no_file_is_a_warning(tmp_path: Path) -> None:
    warnings: list[str] = []
    assert _history.find(tmp_path / "none.json", warnings.append) == {}
    assert _history.find(tmp_path, warnings.append) == {}
    os.mkfifo(tmp_path / "pipe")
    assert _history.find(tmp_path / "pipe", warnings.append) == {}
    assert ["there is no earlier report" in warning for warning in warnings] == [True, True, False]


def test_a_folder_gives_the_newest_report_that_can_be_read(tmp_path: Path) -> None:
    for day in (1, 2):
        (tmp_path / f"leverage-2026110{day}T020000Z-7.json").write_text(json.dumps(report(day, {}, alpha={"A": 20})))
    (tmp_path / "leverage-20261103T020000Z-7.json").write_bytes(b"damaged")
    (tmp_path / "other.json").write_bytes(b"not ours")
    warnings: list[str] = []
    assert _history.find(tmp_path, warnings.append)["time"] == "2026-11-02T02:00:00Z"
    assert len(warnings) == 1


def test_a_folder_of_damaged_files_is_not_read_without_end(tmp_path: Path) -> None:
    for number in range(50):
        (tmp_path / f"leverage-20261103T020000Z-{number}.json").write_bytes(b"damaged")
    warnings: list[str] = []
    assert _history.find(tmp_path, warnings.append) == {}
    assert len(warnings) == _history.MOST_UNUSABLE
