# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Combine the results of many accounts into one report. The page, the summary and the metrics use it."""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Dict, Mapping

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import history as _history
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.protection import protect

DOCUMENTATION = r"""
name: leverage_report
short_description: Combine the results of many accounts into one report
version_added: 1.0.0
author:
  - Contributors to tradeops.coinswitch (@tradeops)
description:
  - Returns the report of the role P(tradeops.coinswitch.leverage#role). The input is the policy of each account, and
    the result of M(tradeops.coinswitch.futures_leverage) for each account.
  - The role writes the report as JSON. The page, the summary and the metrics are created from the report.
options:
  _input:
    description:
      - A dictionary with one entry for each account. The key is the name of the account.
      - The value is a dictionary with the keys V(policy), V(enforce) and V(check_mode), and with the result of the
        module, V(results) and its V(msg), or V(message) with the same text. An empty dictionary means that the account
        was not asked.
    type: dict
    required: true
  title:
    description: The title of the report.
    type: str
    default: Leverage
  time:
    description: The time of the report in UTC, for example V(2026-11-23T02:00:00Z).
    type: str
    default: ""
  run:
    description:
      - The identifier of a run. If set, only accounts with the same value in V(run) are included with their results.
        All other accounts count as not asked in this run.
    type: str
  previous:
    description:
      - The report of the last run, as P(tradeops.coinswitch.leverage_history#lookup) returns it. If set, the findings
        have an age, and the report has a RV(_value.history). An empty dictionary starts the history.
      - If not set, the report has no history.
    type: dict
seealso:
  - plugin: tradeops.coinswitch.leverage_page
    plugin_type: filter
  - plugin: tradeops.coinswitch.leverage_summary
    plugin_type: filter
  - plugin: tradeops.coinswitch.leverage_metrics
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Compare the account with its policy
  tradeops.coinswitch.futures_leverage:
    leverages: {BTCUSDT: 10}
  check_mode: true
  register: run
  ignore_errors: true

- name: Show what is not in policy
  ansible.builtin.debug:
    msg: "{{ ({inventory_hostname: seen} | tradeops.coinswitch.leverage_report).findings }}"
  vars:
    seen:
      policy: {BTCUSDT: 10}
      enforce: exact
      check_mode: true
      message: "{{ run.msg | default('') }}"
      results: "{{ run.results | default([]) }}"
"""

RETURN = r"""
_value:
  description:
    - The report. Its JSON schema is in C(docs/leverage_report.schema.json) of the collection.
    - A later release can add keys. If a later release removes a key or changes its meaning, it increases V(version).
    - "Outcomes: V(unchanged) and V(changed) are in policy. V(drifted), V(blocked), V(refused) and V(unknown) are not in
      policy. V(drifted) means that check mode found a difference."
    - "Severities, from the most dangerous to the least: V(above_policy), V(not_reached) (no leverage of the account
      could be read), V(unknown), V(refused), V(blocked), V(below_policy). A leverage above the policy is
      V(above_policy) even if the change is also blocked or refused."
  type: dict
  returned: success
  sample:
    schema: tradeops.coinswitch.leverage_report
    version: 1
    title: Leverage
    time: "2026-11-23T02:00:00Z"
    check_mode: true
    in_order: false
    headline: "Above policy: 1 of 1 leverage, up to 2x"
    summary:
      accounts: 1
      accounts_in_order: 0
      symbols: 1
      wishes: 1
      unknown: 0
      refused: 0
      blocked: 0
      drifted: 1
      changed: 0
      unchanged: 0
      leverages: 1
      in_policy: 0
      findings: 1
      severities:
        above_policy: 1
        not_reached: 0
        unknown: 0
        refused: 0
        blocked: 0
        below_policy: 0
      above_policy_with_position: 0
      highest_factor: 2.0
    findings:
      - severity: above_policy
        account: alpha
        symbol: BTCUSDT
        symbols: [BTCUSDT]
        leverage: 20
        previous_leverage: 20
        policy: 10
        enforce: exact
        factor: 2.0
        positions: []
        outcome: drifted
        reason: leverage is 20 instead of 10
        first_seen: "2026-11-22T02:00:00Z"
        runs: 2
        status: continues
    history:
      previous: "2026-11-22T02:00:00Z"
      new: 0
      continues: 1
      resolved: []
      not_checked: []
      runs:
        - {time: "2026-11-22T02:00:00Z", accounts: 1, leverages: 1, findings: 1, above_policy: 1}
        - {time: "2026-11-23T02:00:00Z", accounts: 1, leverages: 1, findings: 1, above_policy: 1}
    symbols: [BTCUSDT]
    accounts:
      - account: alpha
        in_order: false
        reached: true
        enforce: exact
        message: "above policy (2x): BTCUSDT: leverage is 20 instead of 10"
        outcomes: [drifted]
        troubles:
          - severity: above_policy
            outcome: drifted
            factor: 2.0
            symbols: [BTCUSDT]
            reason: leverage is 20 instead of 10
        results:
          - symbol: BTCUSDT
            wish: 10
            policy: 10
            leverage: 20
            previous_leverage: 20
            severity: above_policy
            outcome: drifted
            reason: leverage is 20 instead of 10
            blockers: []
  contains:
    schema:
      description: V(tradeops.coinswitch.leverage_report).
      type: str
    version:
      description: The version of this format.
      type: int
      sample: 1
    title:
      description: The value of O(title).
      type: str
    time:
      description: The value of O(time).
      type: str
    check_mode:
      description: Whether the run was a drift check, which changes nothing.
      type: bool
    in_order:
      description: Whether every account is in policy.
      type: bool
    headline:
      description: The most important fact of the report in one line.
      type: str
    summary:
      description:
        - V(accounts) and V(symbols) are numbers of accounts and symbols. V(accounts_in_order) is the number of accounts
          that are in policy.
        - V(leverages), also called V(wishes), is the number of leverages in all policies. V(in_policy) is the number of
          those that are in policy. The number of leverages with each outcome has the name of the outcome.
        - V(findings) is the number of findings, and V(severities) is the number of findings with each severity.
        - V(above_policy_with_position) is the number of findings above the policy with an open position.
          V(highest_factor) is the highest factor above the policy, or V(null) if there is none.
      type: dict
    findings:
      description:
        - One entry for each leverage that is not in policy, the most dangerous first. Among the leverages above the
          policy, those with an open position come first, then those with a higher factor. An account that was not
          reached has one entry.
      type: list
      elements: dict
      contains:
        severity:
          description: The severity.
          type: str
        account:
          description: The account.
          type: str
        symbol:
          description: The symbol. V(null) if the entry is about the whole account.
          type: str
        symbols:
          description: The symbol, or all symbols of the policy if the entry is about the whole account.
          type: list
          elements: str
        leverage:
          description: The current leverage. V(null) if it is not known or was never configured.
          type: int
        previous_leverage:
          description: The leverage before the run. V(null) if it is not known or was never configured.
          type: int
        policy:
          description: The leverage in the policy.
          type: raw
        enforce:
          description: V(exact), or V(maximum) if the policy is an upper limit.
          type: str
        factor:
          description: The current leverage divided by the policy, rounded to two decimals. V(null) if one is not known.
          type: float
        positions:
          description: The open positions that block the change, for example V(LONG 0.010).
          type: list
          elements: str
        outcome:
          description: The outcome.
          type: str
        reason:
          description: Why the leverage is not in policy, and what to do.
          type: str
        first_seen:
          description: The time of the first run with this finding.
          type: str
          returned: if a history is kept
        runs:
          description: The number of runs with this finding.
          type: int
          returned: if a history is kept
        status:
          description: V(new) if the last run did not have this finding, or V(continues) if it did.
          type: str
          returned: if a history is kept
    history:
      description: The comparison with the last run. V(null) if no history is kept.
      type: dict
      contains:
        previous:
          description: The time of the last run. V(null) if there is none.
          type: str
        new:
          description: The number of findings that the last run did not have.
          type: int
        continues:
          description: The number of findings that the last run also had.
          type: int
        resolved:
          description:
            - The findings of the last run that this run does not have. V(reason) says why the finding is resolved.
              V(last_seen) is the time of the last run with this finding.
          type: list
          elements: dict
        not_checked:
          description:
            - The findings of earlier runs on accounts that this run did not read. They are neither resolved nor
              confirmed.
          type: list
          elements: dict
        runs:
          description: The numbers of findings of the last 30 runs, the oldest first. The last entry is this run.
          type: list
          elements: dict
    symbols:
      description: All symbols of all policies, sorted.
      type: list
      elements: str
    accounts:
      description: One entry for each account, in the order of the input.
      type: list
      elements: dict
      contains:
        account:
          description: The name of the account.
          type: str
        in_order:
          description: Whether all symbols of the account are in policy. V(false) if the policy is empty.
          type: bool
        reached:
          description: Whether at least one leverage of the account was read.
          type: bool
        enforce:
          description: V(exact) or V(maximum). V(null) if the account was not asked.
          type: str
        message:
          description: What is not in policy, in one line. Empty if the account is in policy.
          type: str
        outcomes:
          description: The outcomes of the symbols, the most dangerous first.
          type: list
          elements: str
        troubles:
          description: What is not in policy. One entry for all symbols with the same severity and reason.
          type: list
          elements: dict
          contains:
            severity:
              description: The severity.
              type: str
            outcome:
              description: The outcome.
              type: str
            factor:
              description: The highest factor of the symbols above the policy. V(null) if none is.
              type: float
            symbols:
              description: The symbols. Empty if the entry is about the whole account.
              type: list
              elements: str
            reason:
              description: Why the symbols are not in policy, and what to do.
              type: str
        results:
          description: One entry for each symbol of the policy, sorted by symbol.
          type: list
          elements: dict
          contains:
            symbol:
              description: The symbol, in upper case.
              type: str
            wish:
              description: The leverage in the policy. If the value is not a whole number, it is returned unchanged.
              type: raw
            policy:
              description: The same as RV(_value.accounts[].results[].wish).
              type: raw
            leverage:
              description: The leverage at the end of the run. V(null) if it is not known or was never configured.
              type: int
            previous_leverage:
              description: The leverage before the run.
              type: int
            severity:
              description: The severity. V(null) if the symbol is in policy.
              type: str
            outcome:
              description: The outcome.
              type: str
            reason:
              description: Why the symbol is not in policy. Empty if the symbol is in policy.
              type: str
            blockers:
              description: Same as RV(tradeops.coinswitch.futures_leverage#module:results[].blockers).
              type: list
              elements: dict
"""

NOT_ASKED = (
    "the account was not asked in this run: see the output of the run (with serial, each batch has its own report)"
)
NO_POLICY = "nothing was checked, because leverage_policy of this account is empty or not set: set it"
NO_ROW = "the run returned nothing about this symbol: see the output of the run"

Row = Dict[str, Any]


def leverage_report(
    inputs: Mapping[str, Mapping[str, Any]],
    title: str = "Leverage",
    time: str = "",
    run: object = None,
    previous: Mapping[str, Any] | None = None,
) -> Row:
    """Return the report. DOCUMENTATION describes the arguments, and RETURN describes the report."""
    if run is not None:
        # Ansible adds nothing to the result of an unreachable host.
        asked = {name for name, account in inputs.items() if account.get("run") == run or account.get("unreachable")}
        inputs = {name: account if name in asked else {} for name, account in inputs.items()}
    accounts = [_get_account(name, account) for name, account in inputs.items()]
    rows = [row for account in accounts for row in account["results"]]
    findings = _findings.get_findings(accounts)
    history = None
    if previous is not None:
        numbers = _history.get_run_numbers(str(time), len(accounts), len(rows), findings)
        findings, history = _history.compare(findings, accounts, numbers, previous)
    summary = _get_summary(accounts, rows, findings)
    return {
        "schema": _history.SCHEMA,
        "version": _history.VERSION,
        "title": str(title),
        "time": str(time),
        "check_mode": any(account.get("check_mode") for account in inputs.values()),
        "in_order": summary["accounts_in_order"] == len(accounts),
        "headline": _get_headline(summary, findings),
        "summary": summary,
        "findings": findings,
        "history": history,
        "symbols": sorted({row["symbol"] for row in rows}),
        "accounts": accounts,
    }


def _get_summary(accounts: list[Row], rows: list[Row], findings: list[Row]) -> Row:
    outcomes = Counter(row["outcome"] for row in rows)
    severities = Counter(finding["severity"] for finding in findings)
    above = [finding for finding in findings if finding["severity"] == _findings.ABOVE_POLICY]
    return {
        "accounts": len(accounts),
        "accounts_in_order": sum(account["in_order"] for account in accounts),
        "symbols": len({row["symbol"] for row in rows}),
        "wishes": len(rows),
        **{outcome: outcomes[outcome] for outcome in _findings.OUTCOMES},
        "leverages": len(rows),
        "in_policy": sum(outcomes[outcome] for outcome in _findings.IN_POLICY),
        "findings": len(findings),
        "severities": {severity: severities[severity] for severity in _findings.SEVERITIES},
        "above_policy_with_position": sum(bool(finding["positions"]) for finding in above),
        "highest_factor": max((finding["factor"] for finding in above), default=None),
    }


def _get_headline(summary: Row, findings: list[Row]) -> str:
    """Return the most important facts in one line."""
    leverages = _findings.format_count(summary["leverages"], "leverage")
    accounts = _findings.format_count(summary["accounts"], "account")
    if not findings:
        return f"In policy: {leverages} on {accounts}"
    severities = summary["severities"]
    above, others = severities[_findings.ABOVE_POLICY], len(findings) - severities[_findings.ABOVE_POLICY]
    if above:
        with_position = summary["above_policy_with_position"]
        parts = [
            f"Above policy: {above} of {leverages}",
            f"up to {_findings.format_factor(summary['highest_factor'])}",
            *([f"{with_position} with an open position"] if with_position else []),
            *([_findings.format_count(others, "other finding")] if others else []),
        ]
        return ", ".join(parts)
    # An unknown leverage can be above the policy.
    unknown = severities[_findings.NOT_REACHED] + severities[_findings.UNKNOWN]
    accounts_with_findings = summary["accounts"] - summary["accounts_in_order"]
    above_text = "none known to be above policy" if unknown else "none above policy"
    count = _findings.format_count(len(findings), "finding")
    return f"Not in policy: {count} on {accounts_with_findings} of {accounts}, {above_text}"


def _get_account(name: str, account_input: Mapping[str, Any]) -> Row:
    returned = {row["symbol"]: row for row in account_input.get("results", [])}
    rows = _get_rows(account_input, returned)
    reached = _findings.was_reached(row for row in rows if row["symbol"] in returned)
    for row in rows:
        row["severity"] = _findings.get_severity(row, reached)
    troubles = _get_troubles(rows)
    if not rows:
        reason = _get_reason_without_rows(account_input)
        severity = _findings.NOT_REACHED
        troubles = [{"severity": severity, "outcome": "unknown", "factor": None, "symbols": [], "reason": reason}]
    account_outcomes = {row["outcome"] for row in rows} or {"unknown"}
    return {
        "account": str(name),
        "in_order": not troubles,
        "reached": reached,
        "enforce": account_input.get("enforce"),
        "message": _get_message(troubles, len(rows)),
        "outcomes": [outcome for outcome in _findings.OUTCOMES if outcome in account_outcomes],
        "troubles": troubles,
        "results": rows,
    }


def _get_reason_without_rows(account_input: Mapping[str, Any]) -> str:
    if not account_input:
        return NOT_ASKED
    if account_input.get("policy") == {} and not account_input.get("message"):
        # The module fails too, but it does not know the variable of the role.
        return NO_POLICY
    return _get_error(account_input) or NO_POLICY


def _get_rows(account_input: Mapping[str, Any], returned: Mapping[str, Row]) -> list[Row]:
    """Return a row for each symbol of the policy, also if the module returned nothing about it."""
    given = account_input.get("policy")
    # A policy of another type is an error of the module, which is in its message.
    policy = {str(name).upper(): _to_int(value) for name, value in given.items()} if isinstance(given, Mapping) else {}
    missing_row = {"outcome": "unknown", "reason": _get_error(account_input) or NO_ROW}
    rows = [_get_row(symbol, value, returned.get(symbol, missing_row)) for symbol, value in sorted(policy.items())]
    if account_input.get("check_mode"):
        at_most = "at most " if account_input.get("enforce") == "maximum" else ""
        for row in rows:
            if row["outcome"] == "changed":
                _convert_to_drift(row, at_most)
    return rows


def _get_error(account_input: Mapping[str, Any]) -> str:
    """Return the error message of the module in one line. It is empty if there is none."""
    return " ".join(str(account_input.get("message") or account_input.get("msg") or "").split())


def _get_row(symbol: str, policy: Any, returned: Mapping[str, Any]) -> Row:
    return {
        "symbol": symbol,
        "wish": policy,
        "policy": policy,
        "leverage": returned.get("leverage"),
        "previous_leverage": returned.get("previous_leverage"),
        "outcome": returned["outcome"],
        "reason": returned.get("reason", ""),
        "blockers": returned.get("blockers", []),
    }


def _convert_to_drift(row: Row, at_most: str) -> None:
    """Convert a change that check mode predicted to drift: the current leverage is still the previous one."""
    row["outcome"], row["leverage"] = "drifted", row["previous_leverage"]
    current = "not configured" if row["leverage"] is None else row["leverage"]
    row["reason"] = f"leverage is {current} instead of {at_most}{row['policy']}"


def _to_int(value: Any) -> Any:
    """Return a leverage of the policy as a number if the module accepts it: text with plain digits is a number."""
    text = str(value)
    # Python raises an error for thousands of digits. The module accepts nine.
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else text


def _get_troubles(rows: list[Row]) -> list[Row]:
    """Return what is not in policy, the most dangerous first. Symbols with the same reason share one entry."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row["severity"]:
            groups.setdefault((row["severity"], row["outcome"], row["reason"]), []).append(row)
    troubles = []
    for (severity, outcome, reason), group in groups.items():
        factors = [_findings.get_factor(row["leverage"], row["policy"]) or 0 for row in group]
        trouble = {
            "severity": severity,
            "outcome": outcome,
            "factor": max(factors) if severity == _findings.ABOVE_POLICY else None,
            "symbols": [row["symbol"] for row in group],
            "reason": reason,
        }
        troubles.append(trouble)
    return sorted(troubles, key=lambda one: (_findings.SEVERITIES.index(one["severity"]), -(one["factor"] or 0)))


def _get_message(troubles: list[Row], row_count: int) -> str:
    if not troubles:
        return ""
    count = sum(len(trouble["symbols"]) for trouble in troubles)
    above = sum(len(trouble["symbols"]) for trouble in troubles if trouble["factor"])
    verb = "is" if count == 1 else "are"
    count_text = f"{count} of {row_count} symbols {verb} not in policy{f', {above} above policy' if above else ''}. "
    return (count_text if row_count > 1 else "") + "; ".join(_describe_trouble(trouble) for trouble in troubles)


def _describe_trouble(trouble: Row) -> str:
    factor = f"above policy ({_findings.format_factor(trouble['factor'])})" if trouble["factor"] else ""
    return ": ".join(filter(None, [factor, ", ".join(trouble["symbols"]), trouble["reason"]]))


class FilterModule:
    """The filter. Ansible searches for this class."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leverage_report": protect(leverage_report)}
