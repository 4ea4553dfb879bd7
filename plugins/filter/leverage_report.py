# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Combine the results of many accounts into one report. The page, the summary and the metrics use it."""

from __future__ import annotations

from typing import Any, Callable, Mapping, Sequence

from ansible.errors import AnsibleFilterError

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import build as _build
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import text as _text
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.protection import protect

DOCUMENTATION = r"""
name: leverage_report
short_description: Combine the results of many accounts into one report
version_added: 1.0.0
author:
  - Contributors to tradeops.coinswitch (@tradeops)
description:
  - Returns the report of the role P(tradeops.coinswitch.leverage#role). The input is the result of
    M(tradeops.coinswitch.futures_leverage) for each account.
  - The role writes the report as JSON. The page, the summary and the metrics are created from the report.
options:
  _input:
    description:
      - A dictionary with one entry for each account. The key is the name of the account.
      - The value is the result of the module, also of a task with a loop. An empty dictionary means that the account
        was not checked. An account with another value has a finding.
      - The value can also have the keys that P(tradeops.coinswitch.leverage_accounts#lookup) returns, for example
        V(policy) and V(enforce). The policy is only used if the module returned no results.
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
  asked:
    description: The accounts that took part in the run. If set, all other accounts were not checked.
    type: list
    elements: str
  check_mode:
    description: Whether the run was a drift check. The results of the module say the same of their account.
    type: bool
    default: false
  previous:
    description:
      - The report of the last run, as P(tradeops.coinswitch.leverage_history#lookup) returns it. If set, the findings
        have an age, and the report has a RV(_value.history). An empty dictionary starts the history.
      - The value can also be JSON as text.
      - If not set, the report has no history.
    type: raw
  inventory:
    description: The paths of the inventory, for the command in RV(_value.actions[].command).
    type: list
    elements: str
    default: []
  text:
    description:
      - Whether to return JSON as text instead of a dictionary. The text never contains a template. Ansible evaluates a
        large dictionary at each use, but not a text.
    type: bool
    default: false
seealso:
  - plugin: tradeops.coinswitch.leverage_merge
    plugin_type: filter
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

- name: Show what does not comply with the policy
  ansible.builtin.debug:
    msg: "{{ ({inventory_hostname: run} | tradeops.coinswitch.leverage_report).findings }}"
"""

RETURN = r"""
_value:
  description:
    - The report. Its JSON schema is in C(docs/leverage_report.schema.json) of the collection.
    - A later release can add keys. If a later release removes a key or changes its meaning, it increases V(version).
  type: dict
  returned: success
  contains:
    schema:
      description: The name of this format.
      returned: always
      type: str
      choices: [tradeops.coinswitch.leverage_report]
    version:
      description: The version of this format.
      returned: always
      type: int
      choices: [1]
    title:
      description: The value of O(title).
      returned: always
      type: str
    time:
      description: The value of O(time).
      returned: always
      type: str
      sample: "2026-11-23T02:00:00Z"
    check_mode:
      description: Whether the run was a drift check, which changes nothing.
      returned: always
      type: bool
    compliant:
      description: >-
        Whether each leverage of each account is known to comply with its policy. V(false) if the report has no
        leverage.
      returned: always
      type: bool
    complete:
      description: Whether all parts of the run are in the report. V(false) if reports are missing in a merged report.
      returned: always
      type: bool
    headline:
      description: The most important facts of the report in one line.
      returned: always
      type: str
      sample: "Above the policy: 1 of 600 leverages, up to 4 times the policy, 1 with an open position"
    exchanges:
      description: The exchanges that were asked.
      returned: always
      type: list
      elements: dict
      contains:
        api_url:
          description: The address of the exchange.
          returned: always
          type: str
        accounts:
          description: The number of accounts that asked it.
          returned: always
          type: int
        is_real:
          description: V(false) if the address is a loopback address, so that it is a simulated exchange.
          returned: always
          type: bool
    warnings:
      description: What a reader must know about the whole run, one sentence or two in each entry.
      returned: always
      type: list
      elements: str
    summary:
      description: The numbers of the run.
      returned: always
      type: dict
      contains:
        accounts:
          description: The number of accounts.
          returned: always
          type: int
        accounts_compliant:
          description: The number of accounts whose leverages all comply with the policy.
          returned: always
          type: int
        accounts_not_reached:
          description: The number of accounts of which no leverage could be read.
          returned: always
          type: int
        symbols:
          description: The number of symbols.
          returned: always
          type: int
        leverages:
          description: >-
            The number of leverages in all policies. It is the sum of RV(_value.summary.complying),
            RV(_value.summary.not_complying) and RV(_value.summary.not_known).
          returned: always
          type: int
        complying:
          description: The number of leverages that comply with the policy.
          returned: always
          type: int
        not_complying:
          description: The number of leverages that do not comply with the policy.
          returned: always
          type: int
        not_known:
          description: The number of leverages of which is not known whether they comply with the policy.
          returned: always
          type: int
        changed:
          description: The number of leverages that the run changed. 0 in a drift check.
          returned: always
          type: int
        outcomes:
          description: The number of leverages with each outcome, see RV(_value.findings[].outcome).
          returned: always
          type: dict
          contains:
            unknown:
              description: The number of leverages with this outcome.
              returned: always
              type: int
            refused:
              description: The number of leverages with this outcome.
              returned: always
              type: int
            blocked:
              description: The number of leverages with this outcome.
              returned: always
              type: int
            not_written:
              description: The number of leverages with this outcome.
              returned: always
              type: int
            drifted:
              description: The number of leverages with this outcome.
              returned: always
              type: int
            changed:
              description: The number of leverages with this outcome.
              returned: always
              type: int
            unchanged:
              description: The number of leverages with this outcome.
              returned: always
              type: int
        findings:
          description: The number of findings.
          returned: always
          type: int
        severities:
          description: The number of findings with each severity, see RV(_value.findings[].severity).
          returned: always
          type: dict
          contains:
            above_policy:
              description: The number of findings with this severity.
              returned: always
              type: int
            above_when_last_seen:
              description: The number of findings with this severity.
              returned: always
              type: int
            not_reached:
              description: The number of findings with this severity.
              returned: always
              type: int
            unknown:
              description: The number of findings with this severity.
              returned: always
              type: int
            never_configured:
              description: The number of findings with this severity.
              returned: always
              type: int
            refused:
              description: The number of findings with this severity.
              returned: always
              type: int
            blocked:
              description: The number of findings with this severity.
              returned: always
              type: int
            not_written:
              description: The number of findings with this severity.
              returned: always
              type: int
            below_policy:
              description: The number of findings with this severity.
              returned: always
              type: int
        above_policy_with_position:
          description: The number of leverages above the policy with an open position.
          returned: always
          type: int
        above_policy_positions_not_known:
          description: The number of leverages above the policy whose positions could not be read.
          returned: always
          type: int
        highest_factor:
          description: The highest factor of a leverage above the policy. V(null) if there is none.
          returned: always
          type: float
        highest_factor_last_seen:
          description: >-
            The highest factor of a leverage that was above the policy when last seen. V(null) if none is known.
          returned: always
          type: float
    actions:
      description: >-
        What to do, one entry for each group. V(enforce), the playbook C(tradeops.coinswitch.enforce) would correct it.
        V(close), an open position or order must be closed first. V(correct), the policy or the keys must be corrected.
        V(check), the leverage is not known for another reason, so solve the cause and check again.
      returned: always
      type: list
      elements: dict
      contains:
        action:
          description: The group.
          returned: always
          type: str
          choices: &actions [enforce, close, correct, check]
        findings:
          description: The number of findings in this group.
          returned: always
          type: int
        accounts:
          description: The accounts with these findings, the account with the most dangerous finding first.
          returned: always
          type: list
          elements: str
        command:
          description: The command that corrects these findings. V(null) if there is none.
          returned: always
          type: str
    problems:
      description: >-
        One entry for all findings with the same severity, cause and reason, the most dangerous first. For example, an
        account with refused keys is one problem with many symbols, and a symbol that is no longer listed is one problem
        with many accounts.
      returned: always
      type: list
      elements: dict
      contains:
        severity:
          description: The severity, see RV(_value.findings[].severity).
          returned: always
          type: str
          choices: &severities
            [above_policy, above_when_last_seen, not_reached, unknown, never_configured,
             refused, blocked, not_written, below_policy]
        action:
          description: The group of what to do, see RV(_value.actions).
          returned: always
          type: str
          choices: *actions
        cause:
          description: >-
            A stable word for the cause, see RV(_value.findings[].cause). V(null) if there is no other cause than
            drift.
          returned: always
          type: str
        reason:
          description: What is wrong, why, and what to do.
          returned: always
          type: str
        findings:
          description: The number of findings with this problem.
          returned: always
          type: int
        factor:
          description: The highest factor. V(null) if the leverages are not above the policy, or no factor is known.
          returned: always
          type: float
        accounts:
          description: The accounts with this problem.
          returned: always
          type: list
          elements: str
        symbols:
          description: The symbols with this problem. Empty if it concerns the whole account.
          returned: always
          type: list
          elements: str
    findings:
      description:
        - One entry for each leverage that is not known to comply with the policy, the most dangerous first. Among the
          leverages above the policy, those with an open position come first, then those with a higher factor.
        - An account whose policy could not be read has one entry without a symbol.
      returned: always
      type: list
      elements: dict
      contains:
        severity:
          description:
            - V(above_policy), the leverage is above the policy, whatever prevents its change.
            - V(above_when_last_seen), the leverage was above the policy when it was last read, and was not read since.
            - V(not_reached), no leverage of the account could be read.
            - V(unknown), the leverage is not known. This also applies if the exchange returned no leverage for a symbol
              that an earlier run read.
            - V(never_configured), the exchange lists the symbol, but returned no leverage for it, and the last run did
              not know one.
            - V(refused), V(blocked) or V(not_written), the leverage is not above the policy, and the outcome says why
              it was not
              changed.
            - V(below_policy), the leverage is below the policy.
          returned: always
          type: str
          choices: *severities
        action:
          description: The group of what to do, see RV(_value.actions).
          returned: always
          type: str
          choices: *actions
        account:
          description: The account.
          returned: always
          type: str
        symbol:
          description: The symbol. V(null) if the finding concerns the whole account.
          returned: always
          type: str
        leverage:
          description: The current leverage. V(null) if it is not known or was never configured.
          returned: always
          type: int
        previous_leverage:
          description: The leverage before the run. V(null) if it is not known or was never configured.
          returned: always
          type: int
        policy:
          description: The leverage in the policy. If the value is not a whole number, it is returned as text.
          returned: always
          type: raw
        enforce:
          description: V(exact), or V(maximum) if the policy is an upper limit. V(null) if it is not known.
          returned: always
          type: str
          choices: [exact, maximum]
        factor:
          description: >-
            The current or last seen leverage divided by the policy, rounded to two decimals. V(null) if one of them
            is not known, or the policy is 0.
          returned: always
          type: float
        positions:
          description: The open positions of the symbol. V(null) if they are not known.
          returned: always
          type: list
          elements: dict
          contains: &position
            position_id:
              description: The identifier of the position.
              returned: if known
              type: str
            side:
              description: V(LONG) or V(SHORT).
              returned: if known
              type: str
            size:
              description: The size in the base asset, as the exchange returns it.
              returned: if known
              type: raw
            mark_price:
              description: The mark price, as the exchange returns it.
              returned: if known
              type: raw
            notional:
              description: The size times the mark price. V(null) if one of them is not known.
              returned: always
              type: float
        blockers:
          description: Same as RV(tradeops.coinswitch.futures_leverage#module:results[].blockers).
          returned: always
          type: list
          elements: dict
        outcome:
          description: >-
            The outcome, as in RV(tradeops.coinswitch.futures_leverage#module:results[].outcome). V(drifted), a drift
            check found a difference.
          returned: always
          type: str
          choices: &outcomes [unknown, refused, blocked, not_written, drifted, changed, unchanged]
        cause:
          description:
            - A stable word for the cause, as in RV(tradeops.coinswitch.futures_leverage#module:results[].cause).
              V(null) if
              there is no other cause than drift.
            - The report adds V(not_asked) (the account was not checked in this run), V(same_key) (two accounts with
              the same
              key name the symbol), and V(reported_twice) (merged reports contain the account twice).
          returned: always
          type: str
        problem:
          description: The index of the problem in RV(_value.problems), which has the reason.
          returned: always
          type: int
        exchange_message:
          description: The response of the exchange to a write that it did not confirm.
          returned: if the exchange said something
          type: str
        last_leverage:
          description: The leverage that an earlier run read.
          returned: if the leverage was not read in this run but in an earlier one
          type: int
        last_policy:
          description: The leverage in the policy of that run.
          returned: if the leverage was not read in this run but in an earlier one
          type: raw
        last_positions:
          description: The open positions that an earlier run read. V(null) if they are not known.
          returned: if the leverage was not read in this run but in an earlier one
          type: list
          elements: dict
          contains: *position
        last_seen:
          description: The time of the run that read RV(_value.findings[].last_leverage).
          returned: if the leverage was not read in this run but in an earlier one
          type: str
        first_seen:
          description: The time of the first run with this finding.
          returned: if a history is kept
          type: str
        runs:
          description: The number of runs with this finding.
          returned: if a history is kept
          type: int
        status:
          description: V(new) if the last run did not have this finding, or V(continues) if it did.
          returned: if a history is kept
          type: str
          choices: [new, continues]
    history:
      description: The comparison with the last run. V(null) if no history is kept.
      returned: always
      type: dict
      contains:
        previous:
          description: The time of the last run. V(null) if there is none.
          returned: always
          type: str
        new:
          description: The number of findings that the last run did not have.
          returned: always
          type: int
        continues:
          description: The number of findings that the last run also had.
          returned: always
          type: int
        not_checked:
          description: >-
            The findings of earlier runs on accounts that this run did not check. They are neither resolved nor
            confirmed.
          returned: always
          type: list
          elements: dict
          contains: &earlier_finding
            severity:
              description: The severity in the last run with this finding.
              returned: always
              type: str
              choices: *severities
            account:
              description: The account.
              returned: always
              type: str
            symbol:
              description: The symbol. V(null) if the finding concerns the whole account.
              returned: always
              type: str
            policy:
              description: The leverage in the policy of that run.
              returned: always
              type: raw
            last_leverage:
              description: The leverage that was last read.
              returned: if the leverage was read in any run
              type: int
            last_policy:
              description: The leverage in the policy of the run that read it.
              returned: if the leverage was read in any run
              type: raw
            last_positions:
              description: The open positions at that time. V(null) if they are not known.
              returned: if the leverage was read in any run
              type: list
              elements: dict
              contains: *position
            last_seen:
              description: The time of the run that read the leverage.
              returned: if the leverage was read in any run
              type: str
            first_seen:
              description: The time of the first run with this finding.
              returned: always
              type: str
            last_found:
              description: The time of the last run with this finding.
              returned: always
              type: str
            runs:
              description: The number of runs with this finding.
              returned: always
              type: int
        resolved:
          description: The findings of the last run that this run does not have.
          returned: always
          type: list
          elements: dict
          contains:
            <<: *earlier_finding
            reason:
              description: Why the finding is resolved.
              returned: always
              type: str
        runs:
          description: The numbers of the last 30 runs, the oldest first. The last entry is this run.
          returned: always
          type: list
          elements: dict
          contains:
            time:
              description: The time of the run.
              returned: always
              type: str
            accounts:
              description: The number of accounts.
              returned: always
              type: int
            leverages:
              description: The number of leverages.
              returned: always
              type: int
            not_known:
              description: The number of leverages of which is not known whether they comply with the policy.
              returned: always
              type: int
            findings:
              description: The number of findings.
              returned: always
              type: int
            above_policy:
              description: The number of leverages above the policy.
              returned: always
              type: int
            above_when_last_seen:
              description: The number of leverages that were above the policy when last seen.
              returned: always
              type: int
    symbols:
      description: The totals of each symbol, sorted by symbol.
      returned: always
      type: list
      elements: dict
      contains:
        symbol:
          description: The symbol.
          returned: always
          type: str
        severity:
          description: The most dangerous severity. V(null) if all leverages comply with the policy.
          returned: always
          type: str
          choices: *severities
        leverages: &total
          description: The number of leverages. It is the sum of the next three numbers.
          returned: always
          type: int
        complying: &complying
          description: The number of leverages that comply with the policy.
          returned: always
          type: int
        not_complying: &not_complying
          description: The number of leverages that do not comply with the policy.
          returned: always
          type: int
        not_known: &not_known
          description: The number of leverages of which is not known whether they comply with the policy.
          returned: always
          type: int
    accounts:
      description: One entry for each account, in the order of the input.
      returned: always
      type: list
      elements: dict
      contains:
        account:
          description: The name of the account.
          returned: always
          type: str
        key_id:
          description: >-
            The first 16 hexadecimal digits of the SHA-256 of the API key, as each module returns it in C(account).
            V(null)
            if it is not known.
          returned: always
          type: str
        api_url:
          description: The address of the exchange that the account asked. V(null) if it asked none.
          returned: always
          type: str
        enforce:
          description: V(exact) or V(maximum). V(null) if it is not known.
          returned: always
          type: str
          choices: [exact, maximum]
        error:
          description: Why the task of the account failed. V(null) if it did not fail.
          returned: always
          type: dict
          contains:
            kind:
              description: A stable word for the error, from the module.
              returned: always
              type: str
            status:
              description: The HTTP status of the response.
              returned: if the exchange answered
              type: int
        reached:
          description: Whether at least one leverage of the account was read.
          returned: always
          type: bool
        compliant:
          description: Whether all leverages of the account comply with the policy. V(false) if the policy is empty.
          returned: always
          type: bool
        severity:
          description: The most dangerous severity. V(null) if the account complies with the policy.
          returned: always
          type: str
          choices: *severities
        leverages_total: *total
        complying: *complying
        not_complying: *not_complying
        not_known: *not_known
        outcomes:
          description: The outcomes of the symbols, the worst first.
          returned: always
          type: list
          elements: str
        message:
          description: What does not comply with the policy, in one line. Empty if the account complies.
          returned: always
          type: str
        problems:
          description: The indexes of the problems of the account in RV(_value.problems), the most dangerous first.
          returned: always
          type: list
          elements: int
        leverages:
          description: One entry for each symbol of the policy, sorted by symbol.
          returned: always
          type: list
          elements: dict
          contains:
            symbol:
              description: The symbol, in upper case.
              returned: always
              type: str
            policy:
              description: The leverage in the policy. If the value is not a whole number, it is returned as text.
              returned: always
              type: raw
            leverage:
              description: The leverage at the end of the run. V(null) if it is not known or was never configured.
              returned: always
              type: int
            last_leverage:
              description: The leverage that an earlier run read.
              returned: if the leverage was not read in this run but in an earlier one
              type: int
            previous_leverage:
              description: The leverage before the run. V(null) if it is not known or was never configured.
              returned: always
              type: int
            changed:
              description: Whether the run changed the leverage.
              returned: always
              type: bool
            outcome:
              description: The outcome, see RV(_value.findings[].outcome).
              returned: always
              type: str
              choices: *outcomes
            severity:
              description: >-
                The severity, see RV(_value.findings[].severity). V(null) if the leverage complies with the policy.
              returned: always
              type: str
              choices: *severities
            compliant:
              description: Whether the leverage complies with the policy. V(null) if that is not known.
              returned: always
              type: bool
"""


def leverage_report(
    inputs: Any,
    title: str = "Leverage",
    time: str = "",
    asked: Sequence[str] | None = None,
    check_mode: bool = False,
    previous: Any = None,
    inventory: Sequence[str] = (),
    text: bool = False,
) -> Any:
    """Return the report. DOCUMENTATION describes the arguments, and RETURN describes the report."""
    if not isinstance(inputs, Mapping):
        raise AnsibleFilterError("leverage_report needs a dictionary with the result of each account.")
    heading = _build.Heading(str(title), str(time), bool(check_mode), inventory)
    report = _build.build_report(inputs, heading, _text.load_earlier(previous), asked)
    return _text.dump(report) if text else report


class FilterModule:
    """The filter. Ansible searches for this class."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leverage_report": protect(leverage_report)}
