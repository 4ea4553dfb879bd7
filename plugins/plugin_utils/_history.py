# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is new, what continues and what is resolved since the last run, from the report of that run."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils import _findings

SCHEMA = "tradeops.coinswitch.leverage_report"
VERSION = 1

# How many runs the chart of the page shows. A finding that was not checked for as long is dropped.
MOST_RUNS = 30
# Twenty times the report of 200 accounts with 30 symbols each. A larger file is not a report.
LARGEST = 32 * 1024 * 1024
# How many unusable files of a folder are read before the search ends.
MOST_UNUSABLE = 10

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?")
_FILE_NAME = re.compile(r"leverage-\d{8}T\d{6}Z-\d+\.json")

Row = dict[str, Any]


class Earlier(NamedTuple):
    """What an earlier report says.

    time: when it was made, in ISO 8601.
    findings: what was not in policy, also of accounts that the run did not check, by account and symbol.
    runs: the numbers of the last runs, the oldest first.
    """

    time: str
    findings: dict[tuple[str, str | None], Row]
    runs: list[Row]


def find(path: Path, warn: Callable[[str], None]) -> Row:
    """The report at a path, or the newest one of a folder; empty if there is none. What cannot be used is a warning."""
    try:
        if not path.is_dir():
            return _read(path)
        names = sorted((name.name for name in path.iterdir() if _FILE_NAME.fullmatch(name.name)), reverse=True)
    except FileNotFoundError:
        warn(f"there is no earlier report at {path}: the first run is the start of the history")
        return {}
    except (OSError, ValueError) as error:
        warn(_unusable(path, error))
        return {}
    for name in names[:MOST_UNUSABLE]:
        try:
            return _read(path / name)
        except (OSError, ValueError) as error:
            warn(_unusable(path / name, error))
    if not names:
        warn(f"there is no earlier report in {path}: the first run is the start of the history")
    return {}


def compare(
    found: Iterable[Row], accounts: Iterable[Mapping[str, Any]], this: Row, previous: Mapping[str, Any]
) -> tuple[list[Row], Row]:
    """The findings with their age, and the history of the report.

    Args:
        found: the findings of this run.
        accounts: the accounts of this run, as in the report.
        this: the numbers of this run, with its `time`.
        previous: the report of the last run. Empty: there is none.

    Raises:
        ValueError: `previous` is not a report.
    """
    earlier = earlier_report(previous) if previous else Earlier("", {}, [])
    aged = []
    for finding in found:
        before = earlier.findings.get((finding["account"], finding["symbol"]))
        age = {"first_seen": before["first_seen"], "runs": before["runs"] + 1} if before else {}
        status = "continues" if before else "new"
        aged.append({**finding, "first_seen": this["time"], "runs": 1, **age, "status": status})
    runs = [*earlier.runs, this][-MOST_RUNS:]
    resolved, not_checked = _gone(earlier, aged, accounts)
    oldest = runs[0]["time"] if len(runs) == MOST_RUNS else ""
    return aged, {
        "previous": earlier.time or None,
        "new": sum(finding["status"] == "new" for finding in aged),
        "continues": sum(finding["status"] == "continues" for finding in aged),
        "resolved": resolved,
        "not_checked": [row for row in not_checked if row["last_seen"] >= oldest],
        "runs": runs,
    }


def numbers(time: str, accounts: int, leverages: int, found: Iterable[Mapping[str, Any]]) -> Row:
    """The numbers of one run, as the history keeps them."""
    severities = [finding["severity"] for finding in found]
    above = severities.count(_findings.ABOVE_POLICY)
    return {
        "time": time,
        "accounts": accounts,
        "leverages": leverages,
        "findings": len(severities),
        "above_policy": above,
    }


def earlier_report(report: Any) -> Earlier:
    """What a report says of its run and those before. Raises ValueError if it is not a report that can be read.

    Reports of 1.0 have no findings: these are made from the accounts, and are as old as the report.
    """
    try:
        if report["schema"] != SCHEMA or report["version"] != VERSION:
            raise ValueError(f"it is not version {VERSION} of {SCHEMA}")
        time = _time(report["time"])
        history = report.get("history")
        found = report["findings"] if "findings" in report else _findings_of_1_0(report["accounts"])
        rows = [_remembered(finding, time) for finding in found]
        runs = [_run(run) for run in history["runs"]] if history else []
        if history:
            rows += [_remembered(finding, time) for finding in history["not_checked"]]
        else:
            summary = report["summary"]
            runs = [_run(numbers(time, summary["accounts"], summary["wishes"], found))]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"part of it is not as in a report ({type(error).__name__})") from None
    # Reversed twice: the first row of a symbol counts, and the most dangerous stay first.
    by_symbol = {(row["account"], row["symbol"]): row for row in reversed(rows)}
    return Earlier(time, dict(reversed(by_symbol.items())), runs[-MOST_RUNS:])


def _read(path: Path) -> Row:
    # Before it is opened: to open a named pipe waits for a writer.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a file")
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MiB")
    try:
        report = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    earlier_report(report)
    return dict(report)


def _unusable(path: Path, error: Exception) -> str:
    why = error.strerror if isinstance(error, OSError) else error
    return f"the earlier report {path} cannot be used: {why}. It is kept as it is, and nothing is compared with it"


def _gone(earlier: Earlier, found: Iterable[Row], accounts: Iterable[Mapping[str, Any]]) -> tuple[list[Row], list[Row]]:
    """The earlier findings that are not found now: those that are resolved, and those that were not checked."""
    policies = {account["account"]: {row["symbol"] for row in account["results"]} for account in accounts}
    still = {(finding["account"], finding["symbol"]) for finding in found}
    resolved: list[Row] = []
    not_checked: list[Row] = []
    for (account, symbol), row in earlier.findings.items():
        if (account, symbol) in still:
            continue
        if account not in policies or (account, None) in still:
            not_checked.append(row)
        elif symbol is None:
            resolved.append({**row, "reason": "the account was reached"})
        elif symbol in policies[account]:
            resolved.append({**row, "reason": "in policy"})
        else:
            resolved.append({**row, "reason": "the policy no longer names the symbol"})
    return resolved, not_checked


def _remembered(finding: Mapping[str, Any], time: str) -> Row:
    """What the history keeps of a finding."""
    if finding["severity"] not in _findings.SEVERITIES:
        raise TypeError
    return {
        "severity": finding["severity"],
        "account": _text(finding["account"]),
        "symbol": None if finding["symbol"] is None else _text(finding["symbol"]),
        "first_seen": _time(finding.get("first_seen") or time),
        "last_seen": _time(finding.get("last_seen") or time),
        "runs": _count(finding.get("runs") or 1),
    }


def _run(run: Mapping[str, Any]) -> Row:
    counts = ("accounts", "leverages", "findings", "above_policy")
    return {"time": _time(run["time"]), **{name: _count(run[name]) for name in counts}}


def _findings_of_1_0(accounts: Iterable[Mapping[str, Any]]) -> list[Row]:
    complete = []
    for account in accounts:
        reached = _findings.was_reached(account["results"])
        rows = [{**row, "policy": row["wish"]} for row in account["results"]]
        rows = [{**row, "severity": _findings.severity(row, reached)} for row in rows]
        complete.append({**account, "reached": reached, "results": rows})
    return _findings.findings(complete)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _time(value: Any) -> str:
    if not _TIME.fullmatch(_text(value)):
        raise TypeError
    return str(value)


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1_000_000_000:
        raise TypeError
    return value
