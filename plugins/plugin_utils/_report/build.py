# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the report: first the rows of each account, then everything that is computed from the rows.

`merge.py` takes the rows from other reports. So each number of a report is computed here, in one place.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from operator import itemgetter
from typing import Any, Dict, Iterable, Mapping, NamedTuple, Sequence
from urllib.parse import urlsplit

from ansible.module_utils.common.validation import check_type_dict

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.connection import is_loopback
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import InputRefused
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import read_leverages
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import history as _history
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import same_key as _same_key
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import text as _text
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import words as _words

NOT_ASKED = "The account was not checked in this run. See the output of the run."
NO_POLICY = "The policy of the account is empty, so nothing was checked. Set leverage_policy of the account."
NO_RESULT = "The value of the account is not a result of futures_leverage. Pass the variable that the task registered."
NO_ROW = "The task returned nothing about this symbol. See the output of the run."

# The kinds of errors that concern the whole task, before its first request.
TASK_ERRORS = ("input", "library_missing", "internal_error")

# The command that carries out the action ENFORCE. With more accounts, it is too long to read.
ENFORCE_PLAYBOOK = "tradeops.coinswitch.enforce"
MAX_LIMIT_ACCOUNTS = 20

Row = Dict[str, Any]


class Heading(NamedTuple):
    """What a report says of itself.

    Attributes:
        title: The title.
        time: The time of the run in UTC, in ISO 8601. Empty if it is not known.
        check_mode: Whether the run only compared.
        inventory: The paths of the inventory, for the command of an action.
        incomplete: Why accounts are missing in the report. Empty if all parts of the run are in it.
    """

    title: str
    time: str
    check_mode: bool
    inventory: Sequence[str]
    incomplete: str = ""


def build_report(
    inputs: Mapping[str, Any],
    heading: Heading,
    previous: Mapping[str, Any] | None = None,
    asked: Sequence[str] | None = None,
) -> Row:
    """Return the report of a run.

    Args:
        inputs: The result of each account, as the filter `leverage_report` documents it.
        heading: What the report says of itself.
        previous: The report of the last run. Empty if this is the first one. None if there is no history.
        asked: The accounts that took part in the run. None for all.
    """
    participants = set(inputs if asked is None else asked)
    accounts = []
    for name, account in inputs.items():
        # The result of the module in the input of another account belongs to an earlier run.
        current = account if name in participants else _pick_variables(account)
        accounts.append(read_account(str(name), current, heading.check_mode))
    return assemble(accounts, heading, previous)


def _pick_variables(value: Any) -> Row:
    """Return what the input of an account says about its variables."""
    return _findings.pick(value, ("policy", "enforce", "key_id", "unset")) if isinstance(value, Mapping) else {}


def read_account(name: str, value: Any, check_mode: bool = False) -> Row:
    """Return an account with its rows, from the result of the module. Another value is a finding of this account."""
    try:
        with _history.refuse_other_structures():
            account_input, gap = _flatten_loop(value)
            _check_result(account_input)
            account = _read_result(name, account_input, check_mode)
    except ValueError:
        policy = _findings.pick(_pick_variables(value), ("policy",))
        return _read_result(name, {**policy, "msg": NO_RESULT}, check_mode)
    if gap and account["rows"]:
        missing = {"outcome": "unknown", "cause": "input", "reason": _words.shorten(gap, 2000)}
        account["extra_rows"].append(get_extra_row(_findings.UNKNOWN, missing))
    return account


def _flatten_loop(result: Mapping[str, Any]) -> tuple[Mapping[str, Any], str]:
    """Return the result of a task with a loop as that of one task, and what is missing in it. Empty if nothing is."""
    items = result.get("results") or []
    if not any("results" in item or "ansible_loop_var" in item for item in items):
        return result, _describe_repeated(items)
    rows = [row for item in items for row in item.get("results") or ()]
    lost = [item for item in items if not item.get("results") and not item.get("skipped")]
    # The facts of an item that failed replace those of the others.
    facts: Row = {}
    for item in sorted(items, key=lambda item: "error" in item or bool(item.get("failed"))):
        facts.update(_findings.pick(item, ("account", "api_url", "error", "msg", "unreachable")))
    flat = {
        **result,
        **facts,
        "results": rows,
        "check_mode": any(item.get("check_mode") for item in items),
        "requests": sum(item.get("requests", 1) for item in items),
    }
    return flat, str(lost[0].get("msg") or NO_ROW) if lost else _describe_repeated(rows)


def _describe_repeated(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what is wrong with rows that name a symbol more than once. Empty if they do not."""
    repeated = sorted(symbol for symbol, count in Counter(str(row["symbol"]) for row in rows).items() if count > 1)
    names = _words.list_names(repeated)
    return f"The result names {names} more than once. Name each account on its own." if repeated else ""


def _check_result(account_input: Mapping[str, Any]) -> None:
    """Raise an error if a value is not what the module returns. Another list with symbols must not be misread."""
    for row in account_input.get("results") or ():
        leverages = (row["leverage"], row["previous_leverage"])
        is_valid = all(leverage is None or _findings.is_int(leverage) for leverage in leverages)
        if row["outcome"] not in _findings.RETURNED or not is_valid:
            raise TypeError
    texts = (account_input.get(name) for name in ("account", "key_id", "api_url"))
    if not all(text is None or isinstance(text, str) for text in texts):
        raise TypeError


def _read_result(name: str, account_input: Mapping[str, Any], check_mode: bool) -> Row:
    error = account_input.get("error") or {}
    enforce = account_input.get("enforce")
    account: Row = {
        "account": name,
        "key_id": account_input.get("account") or account_input.get("key_id"),
        # Without a request, the exchange was not asked.
        "api_url": account_input.get("api_url") if account_input.get("requests", 1) else None,
        "enforce": enforce if enforce in ("exact", "maximum") else None,
        "error": _findings.pick(error, ("kind", "status")) or None,
    }
    policy = read_policy(account_input.get("policy"))
    missing = _describe_missing(name, account_input)
    # Of a symbol that the result names more than once, the worst outcome counts.
    results = sorted(account_input.get("results") or (), key=lambda row: -_findings.OUTCOMES.index(row["outcome"]))
    returned = {str(row["symbol"]): row for row in results}
    symbols = sorted(returned or policy)
    rows = [get_row(symbol, policy.get(symbol), returned.get(symbol, missing)) for symbol in symbols]
    if account_input.get("check_mode", check_mode):
        for row in rows:
            _convert_to_drift(row, account["enforce"])
    if account_input.get("unset") or (account_input.get("requests") == 0 and error.get("kind") in TASK_ERRORS):
        # Only the message of the task has the reason. The module does not know the names of the variables.
        for row in rows:
            row.update(cause=missing["cause"], reason=missing["reason"])
    return {**account, "rows": rows, "extra_rows": [] if rows else [get_extra_row(_findings.NOT_REACHED, missing)]}


def read_policy(value: Any) -> Row:
    """Return the policy by symbol, as the module reads it: a dictionary, or its text. Empty if it is neither.

    The entries of a policy that the module refuses are returned, too, because each of them counts as not known.
    """
    with suppress(InputRefused):
        return {goal.symbol: goal.leverage for goal in read_leverages(value)}
    try:
        policy = check_type_dict(value)
    except (TypeError, ValueError):
        return {}
    return {str(symbol).upper(): _to_int(leverage) for symbol, leverage in policy.items()}


def _describe_missing(name: str, account_input: Mapping[str, Any]) -> Row:
    """Return what is known of a symbol about which the module returned nothing: its outcome, cause and reason."""
    message = _words.shorten(account_input.get("msg") or "", 2000)
    cause, reason = (account_input.get("error") or {}).get("kind") or "input", message or NO_ROW
    if account_input.get("unset"):
        cause, reason = "keys", _describe_unset(name, account_input["unset"])
    elif "results" not in account_input and "msg" not in account_input:
        cause, reason = "not_asked", NOT_ASKED
    elif account_input.get("unreachable"):
        cause, reason = "network", f"Ansible could not reach the host. {message}"
    elif "policy" in account_input and not account_input["policy"]:
        reason = NO_POLICY
    return {"outcome": "unknown", "cause": cause, "reason": reason}


def _describe_unset(name: str, variables: Sequence[str]) -> str:
    verb = "is" if len(variables) == 1 else "are"
    return f"{' and '.join(variables)} of {name} {verb} not set. Set the keys of the account in the inventory."


def get_row(symbol: str | None, policy: Any, returned: Mapping[str, Any]) -> Row:
    """Return a row of the report. `returned` is the row of the module."""
    complies = returned["outcome"] in _findings.COMPLYING
    return {
        "symbol": symbol,
        "policy": returned.get("desired_leverage", policy),
        "leverage": returned.get("leverage"),
        "previous_leverage": returned.get("previous_leverage"),
        "changed": bool(returned.get("changed")),
        "outcome": returned["outcome"],
        "cause": None if complies else returned.get("cause"),
        "reason": "" if complies else _words.shorten(returned.get("reason") or "", 2000),
        "blockers": returned.get("blockers") or [],
        "positions": _findings.get_positions(returned),
        **_findings.pick(returned, ("exchange_message",)),
    }


def get_extra_row(severity: str, returned: Mapping[str, Any]) -> Row:
    """Return a row about the account itself. It makes a finding, but it is no leverage of the policy."""
    return {**get_row(None, None, returned), "severity": severity}


def _convert_to_drift(row: Row, enforce: str | None) -> None:
    """Convert what check mode predicted after a write to drift: the current leverage is still the previous one.

    Such a prediction is a change, or a leverage that a real run would not know, because it could not read it back.
    """
    row["changed"] = False
    previous = row["previous_leverage"]
    if row["outcome"] == "changed" or (row["outcome"] == "unknown" and previous is not None):
        # If a real run would not know the leverage, what blocks the change still says what to do first.
        cause = row["blockers"][0]["kind"] if row["blockers"] else None
        reason = _words.describe_drift(previous, row["policy"], enforce)
        row.update(outcome=_findings.DRIFTED, leverage=previous, cause=cause, reason=reason)


def _to_int(value: Any) -> Any:
    """Return a leverage of the policy as a number if the module accepts it: text with plain digits is a number."""
    text = str(value)
    # Python raises an error for thousands of digits. The module accepts nine.
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else text


def assemble(accounts: list[Row], heading: Heading, previous: Mapping[str, Any] | None = None) -> Row:
    """Return the report of accounts with rows. It changes the accounts."""
    conflicts = _same_key.find_conflicts(
        {account["account"]: (account["key_id"], [row["symbol"] for row in account["rows"]]) for account in accounts}
    )
    warnings = [conflict.describe() for conflict in conflicts if not conflict.symbols]
    _mark_conflicts(accounts, conflicts)
    earlier = _history.read_earlier_report(previous) if previous else _history.EarlierReport()
    _history.doubt_never_configured(accounts, earlier)
    _set_severities(accounts)
    _history.add_last_seen(accounts, earlier)
    findings = _findings.get_findings(accounts)
    rows = [row for account in accounts for row in account["rows"]]
    summary = _get_summary(accounts, rows, findings)
    history = None
    if previous is not None:
        counts = _findings.pick({**summary, **summary["severities"]}, _history.COUNTS)
        history = _history.compare(findings, accounts, {"time": heading.time, **counts}, earlier)
    headline = _words.describe_headline(summary, history["not_checked"] if history else [])
    problems = _move_reasons(findings)
    by_account = _findings.group(findings, itemgetter("account"))
    return {
        "schema": _text.SCHEMA,
        "version": _text.VERSION,
        "title": heading.title,
        "time": heading.time,
        "check_mode": heading.check_mode,
        # A report without a leverage says nothing.
        "compliant": bool(rows) and not findings and not heading.incomplete,
        "complete": not heading.incomplete,
        "headline": f"Incomplete. {headline}" if heading.incomplete else headline,
        "exchanges": _get_exchanges(accounts),
        "warnings": [heading.incomplete, *warnings] if heading.incomplete else warnings,
        "summary": summary,
        "actions": [_get_action(action, findings, heading) for action in _findings.ACTIONS],
        "problems": problems,
        "findings": findings,
        "history": history,
        "symbols": _get_symbols(rows),
        "accounts": [_pack_account(account, by_account.get(account["account"], []), problems) for account in accounts],
    }


def _set_severities(accounts: list[Row]) -> None:
    for account in accounts:
        account["reached"] = _findings.was_reached(account["rows"])
        for row in account["rows"]:
            row["severity"] = _findings.get_severity(row, account["reached"])


def _mark_conflicts(accounts: list[Row], conflicts: list[_same_key.Conflict]) -> None:
    """Make the leverages unknown that two accounts claim with the same key: one of the accounts was never asked."""
    for account in accounts:
        for conflict in conflicts:
            if account["account"] in conflict.accounts and conflict.symbols:
                # An account that was left out for this reason was not asked.
                for row in account["rows"]:
                    if row["symbol"] in conflict.symbols or row["cause"] == "not_asked":
                        row.update(outcome="unknown", cause="same_key", reason=conflict.describe())


def _count_compliance(rows: Iterable[Mapping[str, Any]]) -> Row:
    """Return how many leverages comply, do not comply, and are not known. Each row counts once."""
    counts = Counter(_findings.get_compliance(row["severity"]) for row in rows)
    return {"complying": counts[True], "not_complying": counts[False], "not_known": counts[None]}


def _get_summary(accounts: list[Row], rows: list[Row], findings: list[Row]) -> Row:
    outcomes = Counter(row["outcome"] for row in rows)
    by_severity = _findings.group(findings, itemgetter("severity"))
    above, last_seen = (by_severity.get(severity, []) for severity in _findings.ABOVE)
    return {
        "accounts": len(accounts),
        # An account complies if it has no finding.
        "accounts_compliant": len(accounts) - len({finding["account"] for finding in findings}),
        "accounts_not_reached": sum(not account["reached"] for account in accounts),
        "symbols": len({row["symbol"] for row in rows}),
        "leverages": len(rows),
        **_count_compliance(rows),
        "changed": sum(row["changed"] for row in rows),
        "outcomes": {outcome: outcomes[outcome] for outcome in _findings.OUTCOMES},
        "findings": len(findings),
        "severities": {severity: len(by_severity.get(severity, ())) for severity in _findings.SEVERITIES},
        "above_policy_with_position": sum(bool(finding["positions"]) for finding in above),
        "above_policy_positions_not_known": sum(finding["positions"] is None for finding in above),
        "highest_factor": _findings.get_highest_factor(above),
        "highest_factor_last_seen": _findings.get_highest_factor(last_seen),
    }


def _move_reasons(findings: list[Row]) -> list[Row]:
    """Return the problems, and replace the reason of each finding by the number of its problem.

    Findings with the same reason are one problem, so that a sentence that thousands share is stored once.
    """
    names = ("severity", "action", "cause", "reason")
    problems = []
    for number, group in enumerate(_findings.group(findings, itemgetter(*names)).values()):
        is_above = group[0]["severity"] in _findings.ABOVE
        problem = {
            **_findings.pick(group[0], names),
            "findings": len(group),
            "factor": _findings.get_highest_factor(group) if is_above else None,
            "accounts": list(dict.fromkeys(finding["account"] for finding in group)),
            "symbols": list(dict.fromkeys(finding["symbol"] for finding in group if finding["symbol"] is not None)),
        }
        problems.append(problem)
        for finding in group:
            del finding["reason"]
            finding["problem"] = number
    return problems


def _get_action(action: str, findings: list[Row], heading: Heading) -> Row:
    """Return one group of what to do, with the findings that it concerns."""
    concerned = [finding for finding in findings if finding["action"] == action]
    accounts = list(dict.fromkeys(finding["account"] for finding in concerned))
    command = _get_command(accounts, heading.inventory) if action == _findings.ENFORCE and concerned else None
    return {"action": action, "findings": len(concerned), "accounts": accounts, "command": command}


def _get_command(accounts: list[str], inventory: Sequence[str]) -> str:
    # Ansible would take other characters of a name for a pattern.
    is_plain = all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) for name in accounts)
    limit = ["--limit", ",".join(accounts)] if is_plain and len(accounts) <= MAX_LIMIT_ACCOUNTS else []
    return _words.format_command(inventory, ENFORCE_PLAYBOOK, *limit)


def _get_exchanges(accounts: list[Row]) -> list[Row]:
    counts = Counter(account["api_url"] for account in accounts if account["api_url"])
    return [{"api_url": url, "accounts": count, "is_real": is_real(url)} for url, count in sorted(counts.items())]


def is_real(url: str) -> bool:
    """Return whether an address can be that of the real exchange, because it does not lead to this machine."""
    try:
        return not is_loopback((urlsplit(url).hostname or "").rstrip("."))
    except ValueError:
        return True


def _get_symbols(rows: list[Row]) -> list[Row]:
    """Return the totals of each symbol, sorted by symbol."""
    return [
        {"symbol": symbol, "leverages": len(group), **_count_compliance(group), "severity": _get_worst(group)}
        for symbol, group in sorted(_findings.group(rows, itemgetter("symbol")).items())
    ]


def _get_worst(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Return the most dangerous severity of the rows. None if all comply."""
    return min((row["severity"] for row in rows), key=_findings.rank_severity, default=None)


def _pack_account(account: Row, findings: list[Row], problems: list[Row]) -> Row:
    rows = account["rows"]
    counts = {"leverages_total": len(rows), **_count_compliance(rows)}
    outcomes = {row["outcome"] for row in rows} or {"unknown"}
    by_problem = _findings.group(findings, itemgetter("problem"))
    return {
        **_findings.pick(account, ("account", "key_id", "api_url", "enforce", "error", "reached")),
        "compliant": not findings,
        "severity": _get_worst(findings),
        **counts,
        "outcomes": [outcome for outcome in _findings.OUTCOMES if outcome in outcomes],
        "message": _words.describe_account(counts, problems, by_problem),
        "problems": list(by_problem),
        "leverages": [_pack_row(row) for row in rows],
    }


def _pack_row(row: Row) -> Row:
    names = ("symbol", "policy", "leverage", "previous_leverage", "changed", "outcome", "severity", "last_leverage")
    return {**_findings.pick(row, names), "compliant": _findings.get_compliance(row["severity"])}
