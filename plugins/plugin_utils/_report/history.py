# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a report with the last one: what is new, continues or is resolved, and what was last seen."""

from __future__ import annotations

import json
import re
import stat
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Callable, Dict, Iterable, Iterator, Mapping, NamedTuple, Sequence, Tuple

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import words as _words
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.text import SCHEMA, VERSION

# How many runs the history keeps. A finding that was not checked for as many runs is dropped.
MAX_RUNS = 30
# The report of 1,000 accounts with 30 symbols each has less than half of this in the worst case.
MAX_FILE_BYTES = 64 * 1024 * 1024
# How many unusable files of a directory are read before the search ends.
MAX_UNUSABLE_FILES = 10
# The report contains no higher notional.
MAX_NOTIONAL = 1e15
# A report can be a little newer than this machine's clock, for example if another machine wrote it.
MAX_CLOCK_DIFFERENCE = timedelta(minutes=5)

TIME_FORMAT = "%Y-%m-%dT%H:%M:%SZ"
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ)?")
_FILE_NAME = re.compile(r"leverage-(\d{4})(\d\d)(\d\dT\d\d)(\d\d)(\d\dZ)-\d+\.json")
COUNTS = ("accounts", "leverages", "not_known", "findings", *_findings.ABOVE)

Row = Dict[str, Any]
Key = Tuple[str, Any]


class EarlierReport(NamedTuple):
    """What the next run needs of an earlier report.

    Attributes:
        time: The time of the report, in ISO 8601.
        findings: The findings by account and symbol, also of accounts that the run did not check.
        seen: What was last seen of each leverage, by account and symbol: `last_leverage`, `last_policy`,
            `last_positions` and `last_seen`, the time of that reading.
        runs: The numbers of the last runs, the oldest first.
    """

    time: str = ""
    findings: Mapping[Key, Row] = MappingProxyType({})
    seen: Mapping[Key, Row] = MappingProxyType({})
    runs: Sequence[Row] = ()


def find_report(path: Path, now: datetime, warn: Callable[[str], object]) -> Row:
    """Return the report at a path, or the newest usable report of a directory. Empty if there is none.

    Args:
        path: A file or a directory.
        now: The current time. A report that is newer is not used: it would hide all later reports.
        warn: Called with a message for each file that cannot be used, and if there is no report.
    """
    latest = (now.astimezone(timezone.utc) + MAX_CLOCK_DIFFERENCE).strftime(TIME_FORMAT)
    try:
        if not path.is_dir():
            return _read_file(path, latest)
        if path.stat().st_mode & stat.S_IWOTH:
            warn(
                f"Every user can write to {path}, so its reports may not be those of earlier runs. Run chmod o-w on it."
            )
        names = sorted((file.name for file in path.iterdir() if _FILE_NAME.fullmatch(file.name)), reverse=True)
    except FileNotFoundError:
        warn(f"There is no earlier report at {path}, so this run starts the history.")
        return {}
    except (OSError, ValueError) as error:
        warn(_describe_unusable(path, error))
        return {}
    if not names:
        warn(f"There is no earlier report in {path}, so this run starts the history.")
    return _find_newest(path, names, latest, warn)


def _find_newest(path: Path, names: list[str], latest: str, warn: Callable[[str], object]) -> Row:
    usable = [name for name in names if _FILE_NAME.sub(r"\1-\2-\3:\4:\5", name) <= latest]
    if len(usable) < len(names):
        warn(
            f"{len(names) - len(usable)} reports in {path} have a time in the future, so they are not used. The newest "
            f"is {path / names[0]}. Check the clock, and move these files away."
        )
    for name in usable[:MAX_UNUSABLE_FILES]:
        try:
            return _read_file(path / name, latest)
        except (OSError, ValueError) as error:
            warn(_describe_unusable(path / name, error))
    return {}


def doubt_never_configured(accounts: Iterable[Row], earlier: EarlierReport) -> None:
    """Make each leverage unknown that looks as if it was never configured, although an earlier run read it.

    An exchange that refuses every read, for example during a maintenance, looks like that.
    """
    for account in accounts:
        for row in account["rows"]:
            seen = earlier.seen.get((account["account"], row["symbol"]))
            if seen and _findings.looks_never_configured(row):
                reason = _words.describe_lost(seen["last_leverage"])
                row.update(outcome="unknown", cause="unexpected_response", reason=reason)


def add_last_seen(accounts: Iterable[Row], earlier: EarlierReport) -> None:
    """Add to each leverage that was not read what an earlier run read.

    A leverage that was above the policy then stays a finding with these values. It must not disappear because the
    account stopped responding.
    """
    for account in accounts:
        name = account["account"]
        for row in account["rows"]:
            if row["severity"] and row["leverage"] is None:
                row.update(earlier.seen.get((name, row["symbol"]), {}))
                if _findings.is_above(*_findings.get_last_known(row)):
                    row["severity"] = _findings.ABOVE_WHEN_LAST_SEEN
        if not account["rows"]:
            # The policy of the account could not be read. A part of a merged report can know more about a symbol.
            known = {row["symbol"] for row in account["extra_rows"]}
            account["extra_rows"] += [
                {**account["extra_rows"][-1], **row, "severity": _findings.ABOVE_WHEN_LAST_SEEN}
                for (account_name, symbol), row in earlier.findings.items()
                if account_name == name and symbol not in known
                if _findings.is_above(row.get("last_leverage"), row["policy"])
            ]


def compare(findings: list[Row], accounts: Iterable[Mapping[str, Any]], run: Row, earlier: EarlierReport) -> Row:
    """Add its age to each finding, and return the history of the report.

    Args:
        findings: The findings of this run.
        accounts: The accounts of this run.
        run: The numbers of this run, with its `time`.
        earlier: The report of the last run.
    """
    for finding in findings:
        earlier_finding = earlier.findings.get((finding["account"], finding["symbol"]))
        finding["first_seen"] = earlier_finding["first_seen"] if earlier_finding else run["time"]
        finding["runs"] = earlier_finding["runs"] + 1 if earlier_finding else 1
        finding["status"] = "continues" if earlier_finding else "new"
    runs = [*earlier.runs, run][-MAX_RUNS:]
    oldest = runs[0]["time"] if len(runs) == MAX_RUNS else ""
    current = {(finding["account"], finding["symbol"]) for finding in findings}
    missing = [row for key, row in earlier.findings.items() if key not in current]
    # An account without rows could not be checked, because its policy could not be read.
    policies = {
        account["account"]: {row["symbol"] for row in account["rows"]} for account in accounts if account["rows"]
    }
    return {
        "previous": earlier.time or None,
        "new": sum(finding["status"] == "new" for finding in findings),
        "continues": sum(finding["status"] == "continues" for finding in findings),
        "resolved": [_resolve(row, policies[row["account"]]) for row in missing if row["account"] in policies],
        "not_checked": [row for row in missing if row["account"] not in policies and row["last_found"] >= oldest],
        "runs": runs,
    }


def _resolve(earlier_finding: Row, policy: set[str]) -> Row:
    """Return an earlier finding with the reason why it is resolved. `policy` has the symbols of its account."""
    symbol = earlier_finding["symbol"]
    reason = "complies with the policy" if symbol in policy else "the policy no longer names the symbol"
    return {**earlier_finding, "reason": "the policy of the account was read" if symbol is None else reason}


def read_earlier_report(report: Any) -> EarlierReport:
    """Return what the next run needs of a report.

    Raises:
        ValueError: It is not a report, or it is damaged, so that the next run or a merge could not use it.
    """
    with refuse_other_structures():
        if report["schema"] != SCHEMA or report["version"] != VERSION:
            raise ValueError(f"it is not version {VERSION} of {SCHEMA}")
        _check_parts(report)
        time = _check_time(report["time"])
        history = report["history"] or {"runs": [], "not_checked": []}
        rows = [_summarize(finding, time) for finding in [*report["findings"], *history["not_checked"]]]
        runs = [_check_run(run) for run in history["runs"]]
        seen = {key: row for account in report["accounts"] for key, row in _read_seen(account, time)}
    # If a symbol has several rows, the first one counts. The order of the findings is kept.
    by_symbol = {(row["account"], row["symbol"]): row for row in reversed(rows)}
    seen.update({key: get_last_seen(row, time) for key, row in by_symbol.items() if "last_seen" in row})
    return EarlierReport(time, dict(reversed(by_symbol.items())), seen, runs[-MAX_RUNS:])


@contextmanager
def refuse_other_structures() -> Iterator[None]:
    """Raise ValueError if the code inside misses something that each report contains."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise ValueError(f"its structure is not that of a report ({type(error).__name__})") from None


def _check_parts(report: Mapping[str, Any]) -> None:
    """Raise an error if something that a merge takes from a report is missing, or has another type."""
    _check_text(report["title"])
    _check_choice(report["check_mode"], (True, False))
    reasons = [_check_text(problem["reason"]) for problem in report["problems"]]
    for account in report["accounts"]:
        _check_text(account["account"])
        for name in ("key_id", "api_url"):
            _check_optional_text(account[name])
        _check_choice(account["enforce"], ("exact", "maximum", None))
        _check_mapping({} if account["error"] is None else account["error"])
        for row in account["leverages"]:
            _check_text(row["symbol"])
            _check_choice(row["changed"], (True, False))
            _check_row(row)
    for finding in report["findings"]:
        _check_row(finding)
        _check_finding(finding, len(reasons))


def _check_row(row: Mapping[str, Any]) -> None:
    """Raise an error if what the leverages and the findings of a report have in common is not valid."""
    _check_choice(row["outcome"], _findings.OUTCOMES)
    _check_policy(row["policy"])
    for name in ("leverage", "previous_leverage"):
        _check_count(0 if row[name] is None else row[name])


def _check_finding(finding: Mapping[str, Any], problems: int) -> None:
    """Raise an error if what a merge takes from a finding is not valid. `_summarize` checks the rest."""
    if _check_count(finding["problem"]) >= problems:
        raise IndexError
    _check_optional_text(finding["cause"])
    _check_positions(finding["positions"])
    for blocker in finding["blockers"]:
        _check_mapping(blocker)
    if "exchange_message" in finding:
        _check_text(finding["exchange_message"])
    if any(name in finding for name in _findings.LAST_KEYS):
        _check_count(finding["last_leverage"])
        _check_policy(finding["last_policy"])
        _check_positions(finding["last_positions"])
        _check_time(finding["last_seen"])
    if finding["severity"] in _findings.ABOVE:
        _check_text(finding["symbol"])


def _read_seen(account: Mapping[str, Any], time: str) -> Iterable[tuple[Key, Row]]:
    for row in account["leverages"]:
        if row["leverage"] is not None:
            yield (account["account"], row["symbol"]), get_last_seen({**row, "positions": None}, time)


def _read_file(path: Path, latest: str) -> Row:
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
    if read_earlier_report(report).time > latest:
        raise ValueError(f"its time {report['time']} is in the future. Correct the clock, and move the file away")
    return dict(report)


def _describe_unusable(path: Path, error: Exception) -> str:
    reason = error.strerror if isinstance(error, OSError) else error
    advice = "This run is not compared with it, and the file is kept."
    return f"The earlier report {path} cannot be used: {reason}. {advice}"


def _summarize(finding: Mapping[str, Any], time: str) -> Row:
    """Return what the history keeps of a finding. Raise an error if the finding is not valid."""
    if finding["severity"] not in _findings.SEVERITIES:
        raise TypeError
    return {
        "severity": finding["severity"],
        "account": _check_text(finding["account"]),
        "symbol": None if finding["symbol"] is None else _check_text(finding["symbol"]),
        "policy": _check_policy(finding["policy"]),
        **get_last_seen(finding, time),
        "first_seen": _check_time(finding.get("first_seen") or time),
        "last_found": _check_time(finding.get("last_found") or time),
        "runs": _check_count(finding.get("runs") or 1),
    }


def get_last_seen(finding: Mapping[str, Any], time: str) -> Row:
    """Return the last reading of a finding, from this or from an earlier run. Empty if there is none."""
    if finding.get("leverage") is not None:
        names = ("leverage", "policy", "positions")
        finding = {**{f"last_{name}": finding[name] for name in names}, "last_seen": time}
    if finding.get("last_leverage") is None:
        return {}
    return {
        "last_leverage": _check_count(finding["last_leverage"]),
        "last_policy": _check_policy(finding["last_policy"]),
        "last_positions": _check_positions(finding["last_positions"]),
        "last_seen": _check_time(finding["last_seen"]),
    }


def _check_positions(value: Any) -> list[Row] | None:
    """Return positions with the keys that the report uses. Raise an error if a value is neither text nor a number."""
    if value is None:
        return None
    names = _findings.POSITION_KEYS
    positions = [{name: position[name] for name in names if name in position.keys()} for position in value]  # noqa: SIM118 # text has no keys(), so it is refused
    for position in positions:
        notional = position.get("notional")
        is_valid = notional is None or (isinstance(notional, (int, float)) and abs(notional) < MAX_NOTIONAL)
        if not is_valid or any(isinstance(item, (dict, list)) for item in position.values()):
            raise TypeError
    return positions


def _check_mapping(value: Any) -> None:
    if not isinstance(value, Mapping):
        raise TypeError


def _check_choice(value: Any, choices: Sequence[Any]) -> None:
    """Raise an error if a value is none of the choices. 1 is not True."""
    if not any(value == choice and type(value) is type(choice) for choice in choices):
        raise TypeError


def _check_optional_text(value: Any) -> None:
    if value is not None:
        _check_text(value)


def _check_run(run: Mapping[str, Any]) -> Row:
    return {"time": _check_time(run["time"]), **{name: _check_count(run[name]) for name in COUNTS}}


def _check_policy(value: Any) -> Any:
    return value if value is None or _findings.is_int(value) else _check_text(value)


def _check_text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _check_time(value: Any) -> str:
    if not _is_time(_check_text(value)):
        raise TypeError
    return str(value)


@lru_cache(maxsize=1000)  # the findings of a report have the times of a few runs
def _is_time(text: str) -> bool:
    """Return whether a text is a time of a report, or empty."""
    try:
        return bool(_TIME.fullmatch(text)) and bool(not text or datetime.strptime(text, TIME_FORMAT))
    except ValueError:
        return False


def _check_count(value: Any) -> int:
    if not _findings.is_int(value) or not 0 <= value < 1_000_000_000:
        raise TypeError
    return int(value)
