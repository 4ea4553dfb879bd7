# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each wrong input in a playbook fails with one clear line, and nothing is sent.

There is one input of each kind here. The unit tests have all of them.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from ansible import template
from ansible.release import __version__ as ansible_version

from sandbox import Account, Exchange

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible

MODULE = "tradeops.coinswitch.futures_leverage"
IS_BEFORE_2_19 = int(ansible_version.split(".")[1]) < 19
# Before ansible-core 2.19, Ansible converts the text of a dictionary to a dictionary. That keeps the last of two names.
ANSIBLE_CONVERTS_TEXT = not hasattr(template, "trust_as_template")
VALID_POLICY = {"symbol": "BTCUSDT", "leverage": 13}

# Symbols, each with a part of the message.
SYMBOLS = {
    "BTC/USDT": "did you mean BTCUSDT?",
    "BTCUSDT\n": "did you mean BTCUSDT?",
    "BTCUSD\N{MODIFIER LETTER CAPITAL T}": "(U+1D40, MODIFIER LETTER CAPITAL T)",
    "BINANCE:BTCUSDT": "leave out BINANCE:",
}
LEVERAGES = [True, 13.0, "", "0x10", [13]]
NOT_A_WHOLE_NUMBER = "of 'BTCUSDT' is not a whole number from 1 to 999999999"

# Options to add to VALID_POLICY, each with a part of the message.
OPTIONS: list[tuple[dict[str, Any], str]] = [
    ({"api_key": "two words"}, "api_key contains a space"),
    ({"secret_key": "ab" * 31 + "a"}, "secret_key must have 64 hexadecimal characters"),
    ({"api_url": "http://coinswitch.co"}, "api_url must start with https"),
    ({"timeout": True}, "timeout must be a number above 0"),
    ({"retries": 1.5}, "retries must be a whole number"),
    ({"rate_limit_share": 1.1}, "rate_limit_share must be a number above 0 and up to 1"),
    ({"validate_certs": "perhaps"}, "validate_certs"),
    ({"ca_path": "/nowhere/at/all"}, "'/nowhere/at/all' does not exist"),
    ({"levarage": 13}, "levarage (did you mean leverage?)"),
]

# Complete sets of options, each with a part of the message.
POLICIES: list[tuple[dict[str, Any], str]] = [
    ({}, "one of the following is required: symbol, leverages"),
    ({"symbol": "BTCUSDT", "leverge": 13}, "leverge (did you mean leverage?)"),
    ({**VALID_POLICY, "symbols": [], "api_secret": "s"}, "api_secret (did you mean secret_key?), symbols (did"),
    ({"symbol": "BTCUSDT"}, "parameters are required together: symbol, leverage"),
    ({**VALID_POLICY, "leverages": {"BTCUSDT": 13}}, "parameters are mutually exclusive: symbol|leverages"),
    ({"leverages": {}}, "leverages is empty"),
    ({"leverages": ["BTCUSDT"]}, "leverages"),
    ({"leverages": {"BTCUSDT": 13, "btcusdt": 13}}, "leverages names BTCUSDT more than once"),
    ({"leverages": {"ETHUSDT": 5, "BTCUSDT": None}}, NOT_A_WHOLE_NUMBER),
]  # fmt: skip

# Policies in YAML, each with a part of the message.
YAML_POLICIES = {
    "{ON: 5}": "the symbol True is not a symbol (letters and digits, at most 40): it is a boolean in YAML",
    "{null: 5}": "it is null in YAML",
    "{1: 5, '1': 6}": "the symbol 1 is not a symbol (letters and digits, at most 40): it is a number in YAML",
    "{1.5: 5}": "it is a number in YAML",
    "{2024-01-01: 5}": "the symbol 2024-01-01 is not a symbol (letters and digits, at most 40): it is a date in YAML",
    "{BTCUSDT: 2024-01-01}": f"leverage 2024-01-01 {NOT_A_WHOLE_NUMBER}",
    "{BTCUSDT: 5.0}": f"leverage 5.0 {NOT_A_WHOLE_NUMBER}",
    "{BTCUSDT: ON}": f"leverage True {NOT_A_WHOLE_NUMBER}",
    "{BTCUSDT: .inf}": f"leverage inf {NOT_A_WHOLE_NUMBER}",
    "{BTCUSDT: 1000000000000000000000000000000}": NOT_A_WHOLE_NUMBER,
    "{BTCUSDT: {a: 1}}": NOT_A_WHOLE_NUMBER,
    "[BTCUSDT]": "leverages is a list, and not a dictionary",
    "5": "leverages is a number, and not a dictionary",
    "{'{{ 1 }}USDT': 5}": "Ansible does not evaluate a template in a key",
    "'BTCUSDT=10.0'": NOT_A_WHOLE_NUMBER,
    "'BTCUSDT'": "leverages is text, and 'BTCUSDT' in it is not a symbol with its leverage",
}
# Before ansible-core 2.19, a template returns text if its value contains a date or an infinite number.
if IS_BEFORE_2_19:
    YAML_POLICIES |= {
        "{2024-01-01: 5}": "'datetime.date(2024, 1, 1): 5' in it is not a symbol with its leverage",
        "{BTCUSDT: 2024-01-01}": "'1, 1)' in it is not a symbol with its leverage",
        "{BTCUSDT: .inf}": f"leverage 'inf' {NOT_A_WHOLE_NUMBER}",
    }

# Each play runs its tasks on two hosts: directly on the first one, and as modules on the second one.
WAYS: dict[str, dict[str, Any]] = {
    way: {"coinswitch_direct": way == "direct", "ansible_python_interpreter": sys.executable}
    for way in ("direct", "module")
}

CASES = [
    *(({"symbol": symbol, "leverage": 13}, message) for symbol, message in SYMBOLS.items()),
    *(({"symbol": "BTCUSDT", "leverage": leverage}, NOT_A_WHOLE_NUMBER) for leverage in LEVERAGES),
    *(({**VALID_POLICY, **options}, message) for options, message in OPTIONS),
    *POLICIES,
    ({"symbol": True, "leverage": 13}, "symbol True is not a symbol"),
    ({"symbol": ["BTCUSDT"], "leverage": 13}, "it is a list in YAML"),
]


def find_problems(result: dict[str, Any], expected_message: str) -> list[str]:
    """Return what is wrong with the result of a task that got a wrong input."""
    message = result.get("msg", "")
    checks = {
        f"no failure: {result}": result["failed"],
        f"changed: {result}": not result["changed"],
        f"the message does not contain {expected_message!r}: {message}": expected_message in message,
        f"more than one line: {message!r}": len(message.splitlines()) == 1,
        f"too long: {message}": len(message) <= 400 or "Unsupported parameters" in message,
        f"a traceback: {result}": "Traceback" not in json.dumps(result),
        f"requests: {result}": result.get("requests", 0) == 0,
    }
    return [problem for problem, is_right in checks.items() if not is_right]


def test_wrong_input_fails_with_one_clear_line_before_any_request(ansible: Ansible, exchange: Exchange) -> None:
    tasks = {f"{number}": {MODULE: options} for number, (options, _message) in enumerate(CASES)}
    completed = ansible.play(tasks, hosts=WAYS)
    problems = {
        f"{way}: {json.dumps(options)}": found
        for way in WAYS
        for number, (options, message) in enumerate(CASES)
        if (found := find_problems(completed.results[way][str(number)], message))
    }
    assert problems == {}
    assert exchange.requests == []
    assert "Traceback" not in completed.output


@pytest.mark.every_core
def test_policy_that_yaml_reads_as_something_else_is_refused(ansible: Ansible, exchange: Exchange) -> None:
    lines = [f"policy{number}: {text}\n" for number, text in enumerate(YAML_POLICIES)]
    (ansible.folder / "policies.yml").write_text("".join(lines))
    tasks = {f"{number}": {MODULE: {"leverages": f"{{{{ policy{number} }}}}"}} for number in range(len(YAML_POLICIES))}
    completed = ansible.play(tasks, "-e", "@policies.yml", hosts=WAYS)
    problems = {
        f"{way}: {text}": found
        for way in WAYS
        for number, (text, message) in enumerate(YAML_POLICIES.items())
        if (found := find_problems(completed.results[way][f"{number}"], message))
    }
    assert problems == {}
    assert exchange.requests == []
    assert "Traceback" not in completed.output
    # The callback plugin of Ansible could print each result.
    assert "Callback dispatch" not in completed.output
    assert completed.stdout.count("...ignoring") == len(YAML_POLICIES) * len(WAYS)


@pytest.mark.every_core
def test_text_with_two_equal_names_is_refused_unless_ansible_converts_it(ansible: Ansible, exchange: Exchange) -> None:
    (ansible.folder / "policies.yml").write_text('policy: \'{"BTCUSDT": 10, "BTCUSDT": 5}\'\n')
    task = {MODULE: {"leverages": "{{ policy }}"}, "check_mode": True}
    result = ansible.play({"one": task}, "-e", "@policies.yml").localhost["one"]
    if ANSIBLE_CONVERTS_TEXT:
        assert [(row["symbol"], row["desired_leverage"]) for row in result["results"]] == [("BTCUSDT", 5)]
    else:
        assert find_problems(result, "leverages names BTCUSDT more than once") == []
        assert exchange.requests == []


def test_leverage_with_thousands_of_digits_is_refused(ansible: Ansible) -> None:
    """Python does not convert such a number to text, so Ansible could not print a result that contains it."""
    (ansible.folder / "policies.yml").write_text(f"policy: {{BTCUSDT: 0x{'f' * 5000}}}\n")
    tasks = {"one": {MODULE: {"leverages": "{{ policy }}"}}}
    completed = ansible.play(tasks, "-vvv", "-e", "@policies.yml", hosts=WAYS)
    results = [completed.results[way]["one"] for way in WAYS]
    assert [result["failed"] for result in results] == [True, True]
    if IS_BEFORE_2_19:
        # Ansible refuses the value itself.
        return
    message = f"leverage with thousands of digits {NOT_A_WHOLE_NUMBER}"
    assert [find_problems(result, message) for result in results] == [[], []]
    assert "Callback dispatch" not in completed.output
    assert completed.stdout.count(message) >= len(WAYS)


@pytest.mark.parametrize("direct", ["true", "false"])
def test_policy_from_extra_vars_can_be_text(ansible: Ansible, account: Account, direct: str) -> None:
    ansible.environment.update(COINSWITCH_DIRECT=direct, ANSIBLE_PYTHON_INTERPRETER=sys.executable)
    policy = json.dumps({"BTCUSDT": 13, "ETHUSDT": 7})
    tasks = {"one": {MODULE: {"leverages": "{{ policy }}"}}, "two": {MODULE: {"leverages": "{{ policy | to_json }}"}}}
    completed = ansible.play(tasks, "-e", f"policy={policy!r}")
    assert [completed.localhost[name]["changed"] for name in tasks] == [True, False]
    assert account.leverage == {"BTCUSDT": 13, "ETHUSDT": 7}
