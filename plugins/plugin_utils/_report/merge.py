# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Combine the reports of parts of one run: job slices, or several controllers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Dict, Mapping, NamedTuple, Sequence

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import build as _build
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import history as _history

Row = Dict[str, Any]


# A row of which nothing is known.
_NO_VALUES: Row = {"symbol": None, "policy": None, "leverage": None, "previous_leverage": None}


class MergeOptions(NamedTuple):
    """How to merge.

    Attributes:
        title: The title of the report. None for the title of the first report.
        accounts: The accounts that the report must contain, each with its `name` and its `policy`.
        max_age: How many hours a report can be older than the newest one.
        inventory: The paths of the inventory, for the command of an action.
        parts: How many reports there must be. With fewer, the report is incomplete.
    """

    title: str | None
    accounts: Sequence[Mapping[str, Any]]
    max_age: float
    inventory: list[str]
    parts: int = 0


def merge_reports(
    reports: Sequence[Mapping[str, Any]], options: MergeOptions, previous: Mapping[str, Any] | None = None
) -> Row:
    """Return one report of all accounts. Raise ValueError if there is no report, or if one of them is not a report.

    If two reports have the same account, the newer one counts, and the account has a finding. An account that only a
    report of an earlier run has, or none, is not known.
    """
    if not reports:
        raise ValueError("There are no reports to merge. Name the JSON report of each part.")
    for report in reports:
        # Raises ValueError for what is not a report.
        _history.read_earlier_report(report)
    newest = max(str(report["time"]) for report in reports)
    oldest = _subtract_hours(newest, options.max_age)
    current = [report for report in reports if report["time"] >= oldest]
    accounts = {
        account["account"]: _forget_readings(account, report["time"])
        for report in sorted(reports, key=lambda one: str(one["time"]))
        if report["time"] < oldest
        for account in unpack(report)
    }
    expected = {str(account["name"]): account for account in options.accounts}
    accounts.update(
        {name: _build.read_account(name, account) for name, account in expected.items() if name not in accounts}
    )
    accounts.update(_merge_accounts(current))
    heading = _build.Heading(
        title=str(reports[0]["title"]) if options.title is None else options.title,
        time=newest,
        check_mode=all(report["check_mode"] for report in current),
        inventory=options.inventory,
        incomplete=_describe_missing_parts(len(current), options.parts),
    )
    return _build.assemble(list(accounts.values()), heading, previous)


def _describe_missing_parts(count: int, needed: int) -> str:
    if count >= needed:
        return ""
    return f"Only {count} of {needed} reports could be merged. See the output of the parts."


def _subtract_hours(time: str, hours: float) -> str:
    if not time:
        return ""
    moment = datetime.strptime(time, _history.TIME_FORMAT) - timedelta(hours=hours)
    return moment.strftime(_history.TIME_FORMAT)


def _merge_accounts(reports: Sequence[Mapping[str, Any]]) -> dict[str, Row]:
    accounts: dict[str, Row] = {}
    times: dict[str, list[str]] = {}
    for report in sorted(reports, key=lambda one: str(one["time"])):
        for account in unpack(report):
            times.setdefault(account["account"], []).append(report["time"])
            accounts[account["account"]] = account
    for name, times_of_account in times.items():
        if len(times_of_account) > 1:
            _mark_repeated(accounts[name], times_of_account)
    return accounts


def _mark_repeated(account: Row, times: Sequence[str]) -> None:
    reason = (
        f"{len(times)} reports contain this account. The newest one of {times[-1]} counts. "
        "Let each account be part of one slice only."
    )
    row = {**account["account_row"], "outcome": "unknown", "cause": "reported_twice", "reason": reason}
    account["notes"] = [{**row, "severity": _findings.UNKNOWN}]


def _forget_readings(account: Row, time: str) -> Row:
    """Return an account of an earlier run as one that was not checked. Its values are what was last seen."""
    missing = {"outcome": "unknown", "cause": "not_asked", "reason": _build.NOT_ASKED, "changed": False}
    empty: Row = {"leverage": None, "previous_leverage": None, "positions": None, "blockers": []}
    rows = []
    for row in account["rows"]:
        names = ("leverage", "policy", "positions")
        last = {**{f"last_{name}": row[name] for name in names}, "last_seen": time}
        rows.append({**row, **missing, **empty, **(last if row["leverage"] is not None else {})})
    return {**account, "rows": rows, "account_row": {**account["account_row"], **missing}}


def unpack(report: Mapping[str, Any]) -> list[Row]:
    """Return the accounts of a report with their rows, as `build.assemble` takes them."""
    problems = report["problems"]
    findings = {(row["account"], row["symbol"]): row for row in report["findings"]}
    accounts = []
    for account in report["accounts"]:
        name = account["account"]
        rows = [_unpack_row(row, findings.get((name, row["symbol"])), problems) for row in account["leverages"]]
        empty = {**_NO_VALUES, "changed": False, "outcome": "unknown"}
        account_row = _unpack_row(empty, findings.get((name, None)), problems)
        names = ("account", "key_id", "api_url", "enforce", "error")
        accounts.append({**{key: account[key] for key in names}, "rows": rows, "account_row": account_row})
    return accounts


def _unpack_row(
    row: Mapping[str, Any], finding: Mapping[str, Any] | None, problems: Sequence[Mapping[str, Any]]
) -> Row:
    names = ("symbol", "policy", "leverage", "previous_leverage", "changed", "outcome")
    full = {name: row[name] for name in names}
    if finding is None:
        return {**full, "cause": None, "reason": "", "blockers": [], "positions": None}
    kept = ("blockers", "positions", "cause", *(name for name in _findings.OPTIONAL_KEYS if name in finding))
    return {**full, **{name: finding[name] for name in kept}, "reason": problems[finding["problem"]]["reason"]}
