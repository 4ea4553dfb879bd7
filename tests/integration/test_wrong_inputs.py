# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each wrong input in a playbook fails with one clear line, and nothing is sent.

There is one input of each kind here. The unit tests have all of them.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sandbox import Exchange

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible

MODULE = "tradeops.coinswitch.futures_leverage"
VALID_POLICY = {"symbol": "BTCUSDT", "leverage": 13}

# Symbols, each with a part of the message.
SYMBOLS = {
    "BTC/USDT": "did you mean BTCUSDT?",
    "BTCUSDT\n": "did you mean BTCUSDT?",
    "BTCUSD\N{MODIFIER LETTER CAPITAL T}": "did you mean BTCUSD?",
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
    ({"levarage": 13}, "Unsupported parameters"),
]

# Complete sets of options, each with a part of the message.
POLICIES: list[tuple[dict[str, Any], str]] = [
    ({}, "one of the following is required: symbol, leverages"),
    ({"symbol": "BTCUSDT"}, "parameters are required together: symbol, leverage"),
    ({**VALID_POLICY, "leverages": {"BTCUSDT": 13}}, "parameters are mutually exclusive: symbol|leverages"),
    ({"leverages": {}}, "leverages is empty"),
    ({"leverages": ["BTCUSDT"]}, "leverages"),
    ({"leverages": {"BTCUSDT": 13, "btcusdt": 13}}, "leverages names BTCUSDT more than once"),
    ({"leverages": {"ETHUSDT": 5, "BTCUSDT": None}}, NOT_A_WHOLE_NUMBER),
]  # fmt: skip

CASES = [
    *(({"symbol": symbol, "leverage": 13}, message) for symbol, message in SYMBOLS.items()),
    *(({"symbol": "BTCUSDT", "leverage": leverage}, NOT_A_WHOLE_NUMBER) for leverage in LEVERAGES),
    *(({**VALID_POLICY, **options}, message) for options, message in OPTIONS),
    *POLICIES,
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
    completed = ansible.play(tasks)
    problems = {
        json.dumps(options): found
        for number, (options, message) in enumerate(CASES)
        if (found := find_problems(completed.localhost[str(number)], message))
    }
    assert problems == {}
    assert exchange.requests == []
    assert "Traceback" not in completed.output
