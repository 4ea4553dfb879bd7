# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong inputs, typed as playbooks type them: one clear line each, and nothing is sent.

One of each kind: the unit tests have them all.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sandbox import Exchange

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible

MODULE = "tradeops.coinswitch.futures_leverage"
GOOD = {"symbol": "BTCUSDT", "leverage": 13}

# What was probably meant is offered with the refusal.
SYMBOLS = {
    "BTC/USDT": "did you mean BTCUSDT?",
    "BTCUSDT\n": "did you mean BTCUSDT?",
    "BTCUSD\N{MODIFIER LETTER CAPITAL T}": "did you mean BTCUSD?",
}
LEVERAGES = [True, 13.0, "", "0x10", [13]]
NO_WHOLE_NUMBER = "of 'BTCUSDT' is not a whole number from 1 to 999999999"

# Options to what the refusal says; each is added to a good desired.
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

# Whole sets of options.
POLICIES: list[tuple[dict[str, Any], str]] = [
    ({}, "one of the following is required: symbol, leverages"),
    ({"symbol": "BTCUSDT"}, "parameters are required together: symbol, leverage"),
    ({**GOOD, "leverages": {"BTCUSDT": 13}}, "parameters are mutually exclusive: symbol|leverages"),
    ({"leverages": {}}, "leverages is empty"),
    ({"leverages": ["BTCUSDT"]}, "leverages"),
    ({"leverages": {"BTCUSDT": 13, "btcusdt": 13}}, "leverages names BTCUSDT more than once"),
    ({"leverages": {"ETHUSDT": 5, "BTCUSDT": None}}, NO_WHOLE_NUMBER),
]  # fmt: skip

CASES = [
    *(({"symbol": symbol, "leverage": 13}, hint) for symbol, hint in SYMBOLS.items()),
    *(({"symbol": "BTCUSDT", "leverage": leverage}, NO_WHOLE_NUMBER) for leverage in LEVERAGES),
    *(({**GOOD, **options}, hint) for options, hint in OPTIONS),
    *POLICIES,
]


def complaints(result: dict[str, Any], hint: str) -> list[str]:
    """What is wrong with how a wrong input was refused."""
    said = result.get("msg", "")
    wanted = {
        f"no failure: {result}": result["failed"],
        f"changed: {result}": not result["changed"],
        f"another reason than {hint!r}: {said}": hint in said,
        f"more than a line: {said!r}": len(said.splitlines()) == 1,
        f"too long: {said}": len(said) <= 400 or "Unsupported parameters" in said,
        f"a traceback: {result}": "Traceback" not in json.dumps(result),
        f"requests: {result}": result.get("requests", 0) == 0,
    }
    return [complaint for complaint, fine in wanted.items() if not fine]


def test_a_wrong_input_is_refused_with_one_clear_line_before_any_request(ansible: Ansible, exchange: Exchange) -> None:
    tasks = {f"{number}": {MODULE: options} for number, (options, _hint) in enumerate(CASES)}
    outcome = ansible.play(tasks)
    wrong = {
        json.dumps(options): found
        for number, (options, hint) in enumerate(CASES)
        if (found := complaints(outcome.local[str(number)], hint))
    }
    assert wrong == {}
    assert exchange.requests == []
    assert "Traceback" not in outcome.stdout + outcome.stderr
