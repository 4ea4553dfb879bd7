# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of the accounts of a desk, as one document for machines, which the page is made of too."""

from __future__ import annotations

from collections import Counter
from typing import Any, Callable, Dict, Mapping

DOCUMENTATION = r"""
name: leverage_report
short_description: Gather what became of accounts into one report
version_added: 1.0.0
author:
  - Contributors to tradeops.coinswitch (@tradeops)
description:
  - Makes the report of the role P(tradeops.coinswitch.leverage#role) from what each account was asked for and what
    M(tradeops.coinswitch.futures_leverage) returned. It is written as JSON, and is what
    P(tradeops.coinswitch.leverage_page#filter) makes the page of.
options:
  _input:
    description:
      - The accounts, name to a dictionary of V(policy), V(enforce), V(check_mode), and the V(results) and V(message)
        (its C(msg)) of the module. An account whose dictionary is empty was not asked.
    type: dict
    required: true
  title:
    description: What the report is called.
    type: str
    default: Leverage
  time:
    description: When it was made, in ISO 8601.
    type: str
    default: ""
  run:
    description:
      - If given, only an account whose dictionary has the same V(run) counts. Any other was not asked in this run.
    type: str
    version_added: 1.1.0
seealso:
  - plugin: tradeops.coinswitch.leverage_page
    plugin_type: filter
"""

EXAMPLES = r"""
- name: See how the account stands
  tradeops.coinswitch.futures_leverage:
    leverages: {BTCUSDT: 10}
  check_mode: true
  register: run
  ignore_errors: true

- name: Say what is not in order on it
  ansible.builtin.debug:
    msg: "{{ ({inventory_hostname: seen} | tradeops.coinswitch.leverage_report).accounts[0].message }}"
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
    - The report. A later release may add keys; where it takes one away or changes what it means, V(version) is raised.
    - An outcome is V(unchanged), V(changed), V(drifted) (not in policy, and check mode changed nothing),
      V(blocked), V(refused) or V(unknown). The first two are in order.
  type: dict
  returned: success
  sample:
    schema: tradeops.coinswitch.leverage_report
    version: 1
    title: Leverage
    time: "2026-11-23T02:00:00Z"
    check_mode: true
    in_order: false
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
    symbols: [BTCUSDT]
    accounts:
      - account: alpha
        in_order: false
        enforce: exact
        message: "BTCUSDT: leverage is 20 instead of 10"
        outcomes: [drifted]
        troubles:
          - outcome: drifted
            symbols: [BTCUSDT]
            reason: leverage is 20 instead of 10
        results:
          - symbol: BTCUSDT
            wish: 10
            leverage: 20
            previous_leverage: 20
            outcome: drifted
            reason: leverage is 20 instead of 10
            blockers: []
  contains:
    schema:
      description: V(tradeops.coinswitch.leverage_report).
      type: str
    version:
      description: The version of this form.
      type: int
      sample: 1
    title:
      description: As given.
      type: str
    time:
      description: As given.
      type: str
    check_mode:
      description: Whether nothing was to be changed.
      type: bool
    in_order:
      description: Whether each account is.
      type: bool
    summary:
      description:
        - The number of V(accounts), of V(accounts_in_order), of V(symbols), of V(wishes) (what the policies say, symbol
          by symbol), and of the wishes with each outcome.
      type: dict
    symbols:
      description: Each symbol that any policy names, sorted.
      type: list
      elements: str
    accounts:
      description: The accounts in their order.
      type: list
      elements: dict
      contains:
        account:
          description: The name.
          type: str
        in_order:
          description: Whether each symbol of the policy is, and there is one.
          type: bool
        enforce:
          description: V(exact) or V(maximum). V(null) where the account was not asked.
          type: str
        message:
          description: What is not in order, in one line. Empty where all is.
          type: str
        outcomes:
          description: The outcomes that occur, the worst first.
          type: list
          elements: str
        troubles:
          description: What is not in order, the symbols with the same outcome and reason together.
          type: list
          elements: dict
          contains:
            outcome:
              description: The outcome.
              type: str
            symbols:
              description: The symbols. Empty where there is none to name.
              type: list
              elements: str
            reason:
              description: The reason, and what to do about it.
              type: str
        results:
          description: A row a symbol of the policy, sorted by symbol.
          type: list
          elements: dict
          contains:
            symbol:
              description: The symbol in upper case.
              type: str
            wish:
              description: What the policy says. A whole number, or as it stands there where it is none.
              type: raw
            leverage:
              description: What is in force at the end. V(null) where it is not known or was never configured.
              type: int
            previous_leverage:
              description: What was in force before.
              type: int
            outcome:
              description: The outcome.
              type: str
            reason:
              description: Why it is not in order. Empty where it is.
              type: str
            blockers:
              description: As RV(tradeops.coinswitch.futures_leverage#module:results[].blockers).
              type: list
              elements: dict
"""

# The worst first.
OUTCOMES = ("unknown", "refused", "blocked", "drifted", "changed", "unchanged")
IN_ORDER = ("changed", "unchanged")

NOT_ASKED = (
    "the account was not asked in this run: see the output of the run (with serial, each batch has its own report)"
)
NO_POLICY = "nothing was checked, since leverage_policy of this account is empty or not set: set it"
NO_ROW = "the run returned nothing about this symbol: see the output of the run"

Row = Dict[str, Any]


def leverage_report(
    seen: Mapping[str, Mapping[str, Any]], title: str = "Leverage", time: str = "", run: object = None
) -> Row:
    """The report. DOCUMENTATION describes the input, and RETURN the output."""
    if run is not None:
        seen = {name: account if account.get("run") == run else {} for name, account in seen.items()}
    accounts = [_account(name, account) for name, account in seen.items()]
    rows = [row for account in accounts for row in account["results"]]
    count = Counter(row["outcome"] for row in rows)
    symbols = sorted({row["symbol"] for row in rows})
    in_order = sum(account["in_order"] for account in accounts)
    return {
        "schema": "tradeops.coinswitch.leverage_report",
        "version": 1,
        "title": str(title),
        "time": str(time),
        "check_mode": any(account.get("check_mode") for account in seen.values()),
        "in_order": in_order == len(accounts),
        "summary": {
            "accounts": len(accounts),
            "accounts_in_order": in_order,
            "symbols": len(symbols),
            "wishes": len(rows),
            **{outcome: count[outcome] for outcome in OUTCOMES},
        },
        "symbols": symbols,
        "accounts": accounts,
    }


def _account(name: str, seen: Mapping[str, Any]) -> Row:
    rows = _rows(seen)
    troubles = _troubles(rows)
    if not rows:
        reason = (_line(seen.get("message")) or NO_POLICY) if seen else NOT_ASKED
        troubles = [{"outcome": "unknown", "symbols": [], "reason": reason}]
    occurring = {row["outcome"] for row in rows} or {"unknown"}
    return {
        "account": str(name),
        "in_order": not troubles,
        "enforce": seen.get("enforce"),
        "message": _message(troubles, len(rows)),
        "outcomes": [outcome for outcome in OUTCOMES if outcome in occurring],
        "troubles": troubles,
        "results": rows,
    }


def _rows(seen: Mapping[str, Any]) -> list[Row]:
    """A row for each symbol of the policy, whatever the module returned of it."""
    policy = {str(symbol).upper(): _whole(wish) for symbol, wish in seen.get("policy", {}).items()}
    returned = {row["symbol"]: row for row in seen.get("results", [])}
    otherwise = {"outcome": "unknown", "reason": _line(seen.get("message")) or NO_ROW}
    rows = [_row(symbol, wish, returned.get(symbol, otherwise)) for symbol, wish in sorted(policy.items())]
    if seen.get("check_mode"):
        at_most = "at most " if seen.get("enforce") == "maximum" else ""
        for row in rows:
            if row["outcome"] == "changed":
                _as_drift(row, at_most)
    return rows


def _line(message: Any) -> str:
    return " ".join(str(message or "").split())


def _row(symbol: str, wish: Any, returned: Mapping[str, Any]) -> Row:
    return {
        "symbol": symbol,
        "wish": wish,
        "leverage": returned.get("leverage"),
        "previous_leverage": returned.get("previous_leverage"),
        "outcome": returned["outcome"],
        "reason": returned.get("reason", ""),
        "blockers": returned.get("blockers", []),
    }


def _as_drift(row: Row, at_most: str) -> None:
    """Make a change that check mode predicted the drift that it is: the previous leverage is still in force."""
    row["outcome"], row["leverage"] = "drifted", row["previous_leverage"]
    found = "not configured" if row["leverage"] is None else row["leverage"]
    row["reason"] = f"leverage is {found} instead of {at_most}{row['wish']}"


def _whole(wish: Any) -> Any:
    """A wish as the module takes it: a number in plain digits is one."""
    text = str(wish)
    return int(text) if text.isascii() and text.isdecimal() else text


def _troubles(rows: list[Row]) -> list[Row]:
    """What is not in order, the worst first."""
    symbols: dict[Any, list[str]] = {}
    for row in rows:
        if row["outcome"] not in IN_ORDER:
            symbols.setdefault((row["outcome"], row["reason"]), []).append(row["symbol"])
    troubles = [
        {"outcome": outcome, "symbols": named, "reason": reason} for (outcome, reason), named in symbols.items()
    ]
    return sorted(troubles, key=lambda trouble: OUTCOMES.index(trouble["outcome"]))


def _message(troubles: list[Row], of: int) -> str:
    if not troubles:
        return ""
    lines = [": ".join([*filter(None, [", ".join(trouble["symbols"])]), trouble["reason"]]) for trouble in troubles]
    count = sum(len(trouble["symbols"]) for trouble in troubles)
    head = f"{count} of {of} symbols are not in order. " if of > 1 else ""
    return head + "; ".join(lines)


class FilterModule:
    """What Ansible looks for."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leverage_report": leverage_report}
