# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a report with the last one: which findings are new, continue or are resolved."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any, Callable, Iterable, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings

SCHEMA = "tradeops.coinswitch.leverage_report"
VERSION = 1

# How many runs the history keeps. A finding that was not checked for as many runs is dropped.
MAX_RUNS = 30
# Twenty times the report of 200 accounts with 30 symbols each. A larger file is not a report.
MAX_FILE_BYTES = 32 * 1024 * 1024
# How many unusable files of a folder are read before the search ends.
MAX_UNUSABLE_FILES = 10

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?")
_FILE_NAME = re.compile(r"leverage-\d{8}T\d{6}Z-\d+\.json")

Row = dict[str, Any]


class EarlierReport(NamedTuple):
    """What the next run needs of an earlier report.

    Attributes:
        time: The time of the report, in ISO 8601.
        findings: The findings by account and symbol, also of accounts that the run did not check.
        runs: The numbers of the last runs, the oldest first.
    """

    time: str
    findings: dict[tuple[str, str | None], Row]
    runs: list[Row]


def find_report(path: Path, warn: Callable[[str], None]) -> Row:
    """Return the report at a path, or the newest usable report of a folder. Empty if there is none.

    Args:
        path: A file or a folder.
        warn: Called with a message for each file that cannot be used, and if there is no report.
    """
    try:
        if not path.is_dir():
            return _read_file(path)
        names = sorted((name.name for name in path.iterdir() if _FILE_NAME.fullmatch(name.name)), reverse=True)
    except FileNotFoundError:
        warn(f"there is no earlier report at {path}, so this run starts the history")
        return {}
    except (OSError, ValueError) as error:
        warn(_describe_unusable(path, error))
        return {}
    for name in names[:MAX_UNUSABLE_FILES]:
        try:
            return _read_file(path / name)
        except (OSError, ValueError) as error:
            warn(_describe_unusable(path / name, error))
    if not names:
        warn(f"there is no earlier report in {path}, so this run starts the history")
    return {}


def compare(
    findings: Iterable[Row], accounts: Iterable[Mapping[str, Any]], run: Row, previous: Mapping[str, Any]
) -> tuple[list[Row], Row]:
    """Return the findings with their age, and the history of the report.

    Args:
        findings: The findings of this run.
        accounts: The accounts of this run, as in the report.
        run: The numbers of this run, with its `time`.
        previous: The report of the last run. Empty if there is none.

    Raises:
        ValueError: `previous` is not a report.
    """
    earlier = read_earlier_report(previous) if previous else EarlierReport("", {}, [])
    aged_findings = []
    for finding in findings:
        earlier_finding = earlier.findings.get((finding["account"], finding["symbol"]))
        age = (
            {"first_seen": earlier_finding["first_seen"], "runs": earlier_finding["runs"] + 1}
            if earlier_finding
            else {}
        )
        status = "continues" if earlier_finding else "new"
        aged_findings.append({**finding, "first_seen": run["time"], "runs": 1, **age, "status": status})
    runs = [*earlier.runs, run][-MAX_RUNS:]
    resolved, not_checked = _split_missing(earlier, aged_findings, accounts)
    oldest = runs[0]["time"] if len(runs) == MAX_RUNS else ""
    return aged_findings, {
        "previous": earlier.time or None,
        "new": sum(finding["status"] == "new" for finding in aged_findings),
        "continues": sum(finding["status"] == "continues" for finding in aged_findings),
        "resolved": resolved,
        "not_checked": [row for row in not_checked if row["last_seen"] >= oldest],
        "runs": runs,
    }


def get_run_numbers(time: str, accounts: int, leverages: int, findings: Iterable[Mapping[str, Any]]) -> Row:
    """Return the numbers of one run for the history."""
    severities = [finding["severity"] for finding in findings]
    above = severities.count(_findings.ABOVE_POLICY)
    return {
        "time": time,
        "accounts": accounts,
        "leverages": leverages,
        "findings": len(severities),
        "above_policy": above,
    }


def read_earlier_report(report: Any) -> EarlierReport:
    """Return what the next run needs of a report. Raise ValueError if it is not a report.

    Reports of 1.0 have no findings. They are computed from the accounts, and are as old as the report.
    """
    try:
        if report["schema"] != SCHEMA or report["version"] != VERSION:
            raise ValueError(f"it is not version {VERSION} of {SCHEMA}")
        time = _check_time(report["time"])
        history = report.get("history")
        findings = report["findings"] if "findings" in report else _get_findings_of_1_0(report["accounts"])
        rows = [_summarize(finding, time) for finding in findings]
        runs = [_check_run(run) for run in history["runs"]] if history else []
        if history:
            rows += [_summarize(finding, time) for finding in history["not_checked"]]
        else:
            summary = report["summary"]
            runs = [_check_run(get_run_numbers(time, summary["accounts"], summary["wishes"], findings))]
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"its structure is not that of a report ({type(error).__name__})") from None
    # If a symbol has several rows, the first one counts. The order of the findings is kept.
    by_symbol = {(row["account"], row["symbol"]): row for row in reversed(rows)}
    return EarlierReport(time, dict(reversed(by_symbol.items())), runs[-MAX_RUNS:])


def _read_file(path: Path) -> Row:
    # Check this before `open`, which would wait for a writer of a named pipe.
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("it is not a regular file")
    with path.open("rb") as file:
        content = file.read(MAX_FILE_BYTES + 1)
    if len(content) > MAX_FILE_BYTES:
        raise ValueError(f"it is larger than {MAX_FILE_BYTES >> 20} MiB")
    try:
        report = json.loads(content)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    read_earlier_report(report)
    return dict(report)


def _describe_unusable(path: Path, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else error
    return f"the earlier report {path} cannot be used: {reason}. This run is not compared with it, and the file is kept"


def _split_missing(
    earlier: EarlierReport, findings: Iterable[Row], accounts: Iterable[Mapping[str, Any]]
) -> tuple[list[Row], list[Row]]:
    """Return the earlier findings that are resolved, and those that were not checked in this run."""
    policies = {account["account"]: {row["symbol"] for row in account["results"]} for account in accounts}
    current = {(finding["account"], finding["symbol"]) for finding in findings}
    resolved: list[Row] = []
    not_checked: list[Row] = []
    for (account, symbol), row in earlier.findings.items():
        if (account, symbol) in current:
            continue
        if account not in policies or (account, None) in current:
            not_checked.append(row)
        elif symbol is None:
            resolved.append({**row, "reason": "the account was reached"})
        elif symbol in policies[account]:
            resolved.append({**row, "reason": "in policy"})
        else:
            resolved.append({**row, "reason": "the policy no longer names the symbol"})
    return resolved, not_checked


def _summarize(finding: Mapping[str, Any], time: str) -> Row:
    """Return what the history keeps of a finding. Raise an error if the finding is not valid."""
    if finding["severity"] not in _findings.SEVERITIES:
        raise TypeError
    return {
        "severity": finding["severity"],
        "account": _check_text(finding["account"]),
        "symbol": None if finding["symbol"] is None else _check_text(finding["symbol"]),
        "first_seen": _check_time(finding.get("first_seen") or time),
        "last_seen": _check_time(finding.get("last_seen") or time),
        "runs": _check_count(finding.get("runs") or 1),
    }


def _check_run(run: Mapping[str, Any]) -> Row:
    counts = ("accounts", "leverages", "findings", "above_policy")
    return {"time": _check_time(run["time"]), **{name: _check_count(run[name]) for name in counts}}


def _get_findings_of_1_0(accounts: Iterable[Mapping[str, Any]]) -> list[Row]:
    accounts_with_severity = []
    for account in accounts:
        reached = _findings.was_reached(account["results"])
        rows = [{**row, "policy": row["wish"]} for row in account["results"]]
        rows = [{**row, "severity": _findings.get_severity(row, reached)} for row in rows]
        accounts_with_severity.append({**account, "reached": reached, "results": rows})
    return _findings.get_findings(accounts_with_severity)


def _check_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _check_time(value: Any) -> str:
    if not _TIME.fullmatch(_check_text(value)):
        raise TypeError
    return str(value)


def _check_count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1_000_000_000:
        raise TypeError
    return value
