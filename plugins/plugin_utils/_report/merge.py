# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Combine the reports of parts of one run: job slices, or several controllers."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import datetime, timedelta
from operator import itemgetter
from typing import Any, Dict, Iterable, Iterator, Mapping, Sequence

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import build as _build
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import history as _history

Row = Dict[str, Any]


def merge_reports(
    reports: Sequence[Mapping[str, Any]],
    title: str | None = None,
    expected: Sequence[Mapping[str, Any]] = (),
    max_age: float = 12,
    parts: int = 0,
    previous: Mapping[str, Any] | None = None,
    inventory: Sequence[str] = (),
) -> Row:
    """Return one report of all accounts. Raise ValueError if there is no report, or if one of them is not a report.

    If two reports have the same account, the newer one counts, and the account has a finding. An account that only a
    report of an earlier run has, or none, is not known.

    Args:
        reports: The reports of the parts.
        title: The title of the report. None for the title of the first report.
        expected: The accounts that the report must contain, each with its `name` and its `policy`.
        max_age: How many hours a report can be older than the newest one.
        parts: How many reports there must be. With fewer, the report is incomplete.
        previous: The merged report of the last run. None if there is no history.
        inventory: The paths of the inventory, for the command of an action.
    """
    if not reports:
        raise ValueError("There are no reports to merge. Name the JSON report of each part.")
    with _advise_on_other_files():
        for report in reports:
            _history.read_earlier_report(report)
        ordered = sorted(reports, key=itemgetter("time"))
        newest = str(ordered[-1]["time"])
        oldest = _subtract_hours(newest, max_age)
        current = [report for report in ordered if report["time"] >= oldest]
        accounts = {
            account["account"]: _forget_readings(account, report["time"])
            for report in ordered
            if report["time"] < oldest
            for account in unpack(report)
        }
        for account in expected:
            name = str(account["name"])
            accounts.setdefault(name, _build.read_account(name, account))
        accounts.update(_merge_accounts(current))
        incomplete = f"Only {len(current)} of {parts} reports could be merged. See the output of the parts."
        heading = _build.Heading(
            title=str(reports[0]["title"]) if title is None else title,
            time=newest,
            check_mode=all(report["check_mode"] for report in current),
            inventory=inventory,
            incomplete=incomplete if len(current) < parts else "",
        )
        return _build.assemble(list(accounts.values()), heading, previous)


@contextmanager
def _advise_on_other_files() -> Iterator[None]:
    """Raise ValueError with advice if the code inside finds something that is not a report."""
    try:
        with _history.refuse_other_structures():
            yield
    except ValueError as error:
        raise ValueError(f"A report cannot be merged: {error}. Name only files that this collection wrote.") from None


def _subtract_hours(time: str, hours: float) -> str:
    if not time:
        return ""
    try:
        moment = datetime.strptime(time, _history.TIME_FORMAT) - timedelta(hours=hours)
    except OverflowError:
        return ""
    return moment.strftime(_history.TIME_FORMAT)


def _merge_accounts(reports: Iterable[Mapping[str, Any]]) -> dict[str, Row]:
    """Return the accounts of reports that are sorted by time. Of an account in several reports, the last one counts."""
    found = [{**account, "time": report["time"]} for report in reports for account in unpack(report)]
    accounts = {}
    for name, copies in _findings.group(found, itemgetter("account")).items():
        accounts[name] = newest = copies[-1]
        if len(copies) > 1:
            reason = (
                f"{len(copies)} reports contain this account. The newest one of {newest['time']} counts. "
                "Let each account be part of one slice only, and delete the reports of earlier runs."
            )
            repeated = {"outcome": "unknown", "cause": "reported_twice", "reason": reason}
            newest["extra_rows"].append(_build.get_extra_row(_findings.UNKNOWN, repeated))
    return accounts


def _forget_readings(account: Row, time: str) -> Row:
    """Return an account of an earlier run as one that was not checked. Its values are what was last seen."""
    missing = {"outcome": "unknown", "cause": "not_asked", "reason": _build.NOT_ASKED, "changed": False}
    empty: Row = {"leverage": None, "previous_leverage": None, "positions": None, "blockers": []}
    rows = [{**row, **missing, **empty, **_history.get_last_seen(row, time)} for row in account["rows"]]
    return {**account, "rows": rows, "extra_rows": [{**row, **missing} for row in account["extra_rows"]]}


def unpack(report: Mapping[str, Any]) -> list[Row]:
    """Return the accounts of a report with their rows, as `build.assemble` takes them."""
    by_account = _findings.group(report["findings"], itemgetter("account"))
    accounts = []
    for account in report["accounts"]:
        names = ("leverage", "previous_leverage", "changed", "outcome")
        rows = [
            _build.get_row(row["symbol"], row["policy"], _findings.pick(row, names)) for row in account["leverages"]
        ]
        by_symbol = {row["symbol"]: row for row in rows}
        extra_rows = []
        for finding in by_account.get(account["account"], []):
            row = by_symbol.get(finding["symbol"])
            if row is None:
                row = _build.get_extra_row(finding["severity"], finding)
                row.update(_findings.pick(finding, ("symbol", "policy")))
                extra_rows.append(row)
            row.update(_findings.pick(finding, ("blockers", "positions", "cause", *_findings.OPTIONAL_KEYS)))
            row["reason"] = report["problems"][finding["problem"]]["reason"]
        if not rows and not extra_rows:
            # A damaged report: an account without rows was not checked.
            extra_rows.append(_build.get_extra_row(_findings.NOT_REACHED, {"outcome": "unknown"}))
        known = _findings.pick(account, ("account", "key_id", "api_url", "enforce", "error"))
        accounts.append({**known, "rows": rows, "extra_rows": extra_rows})
    return accounts
