# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of wording.py: one case for each kind of reason."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    BudgetSpent,
    KeysRefused,
    Refused,
    Unclear,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import (
    Attempt,
    Event,
    Evidence,
    Reading,
    Violation,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.judgment import judge
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import MAXIMUM, Goal
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.wording import (
    describe_blockers,
    explain,
    make_sentence,
)

GOAL = Goal("BTCUSDT", 10)
LOST = Unclear("No complete response within 10 s (timeout)")
REFUSED = Refused(400, "Not now", "POST /leverage")
SPENT = BudgetSpent("There is no time left.")
FAILED = Reading(0.0, failure=LOST)
UNSET = Reading(0.0)
POSITION = {"kind": "position", "position_id": "a", "side": "LONG", "size": "1", "mark_price": "5"}
ORDER = {"kind": "order", "order_id": "5f3a", "side": "BUY", "quantity": "0.01", "price": "1000", "order_type": "LIMIT"}
LIMITS = Violation("limits", "The exchange allows 1 to 5 for this symbol.")
NOT_LISTED = Violation("not_listed", "EXCHANGE_2 does not list this symbol. Check the name.")

STILL = "the leverage is still 20, not 10."
RESPONSE = 'The exchange refused POST /leverage with HTTP 400: "Not now".'
BLOCKED = "An open position (LONG 1) blocks the change. Close the position first."
TIMEOUT = "No complete response within 10 s (timeout)."
READ_FIRST = "Read the leverage before you trade."
UNKNOWN = f"the outcome of the write is not known. {TIMEOUT}"
NOT_READ = "The leverage could not be read back."
WAS_20 = "The leverage was 20 when it was read back. The write can still take effect."
FIREWALL = (
    "The exchange has no list of allowed addresses, so a firewall refused this machine. Check api_url, the proxy "
    "and the network, or ask the support of the exchange."
)


def read(leverage: int) -> Reading:
    return Reading(0.0, leverage)


def write(error: Any = None) -> Attempt:
    return Attempt(0.0, error)


WRITE_WAS_REFUSED: list[Event] = [read(20), write(REFUSED), read(20)]
WRITE_WAS_LOST: list[Event] = [read(20), write(LOST)]

CASES: dict[str, tuple[list[Event], dict[str, Any], str]] = {
    "unchanged": ([read(10)], {}, ""),
    "changed": ([read(20), write()], {}, ""),
    # blocked
    "blocked": (WRITE_WAS_REFUSED, {"blockers": [POSITION]}, f"{STILL} {BLOCKED} {RESPONSE}"),
    "blocked in check mode": (
        WRITE_WAS_REFUSED,
        {"blockers": [POSITION], "predicted": True},
        f"{STILL} {BLOCKED}",
    ),
    "blocked, never configured": (
        [UNSET, write(REFUSED), UNSET],
        {"blockers": [POSITION]},
        f"the symbol is still not configured, and the policy is 10. {BLOCKED} {RESPONSE}",
    ),
    "blocked, and another program changed it": (
        [read(20), write(REFUSED), read(15)],
        {"blockers": [POSITION]},
        f"the leverage is now 15, not 10 (it was 20). {BLOCKED} {RESPONSE}",
    ),
    # refused
    "not allowed": ([read(20)], {"violation": LIMITS}, f"{STILL} The exchange allows 1 to 5 for this symbol."),
    "refused and not allowed": (
        WRITE_WAS_REFUSED,
        {"violation": LIMITS},
        f"{STILL} The exchange allows 1 to 5 for this symbol. {RESPONSE}",
    ),
    "not listed": ([UNSET], {"violation": NOT_LISTED}, "EXCHANGE_2 does not list this symbol. Check the name."),
    "refused, nothing found": (
        WRITE_WAS_REFUSED,
        {"explained": True},
        f"{STILL} No open position or order was found that blocks the change. {RESPONSE}",
    ),
    "refused, not everything could be read": (
        WRITE_WAS_REFUSED,
        {"explained": True, "search_failed": True},
        f"{STILL} It is not known whether a position or order blocks the change. {RESPONSE}",
    ),
    "refused in front of the API": (
        [read(20), write(Refused(403, "Forbidden", "POST /leverage", is_from_api=False)), read(20)],
        {},
        f'{STILL} A server in front of the API refused POST /leverage with HTTP 403: "Forbidden". {FIREWALL}',
    ),
    # not written
    "no time to write": ([read(20)], {"held": SPENT}, f"{STILL} There is no time left."),
    "unknown limits": (
        [read(20)],
        {"limits_error": LOST},
        f"{STILL} The task did not write it, because the limits of the symbol could not be read. {TIMEOUT}",
    ),
    "the reading before the write failed": (
        [read(20), FAILED],
        {},
        f"the leverage was 20 when it was last read, not 10. {TIMEOUT}",
    ),
    "never configured, and the reading before the write failed": (
        [UNSET, FAILED],
        {},
        f"the symbol was not configured when it was last read, and the policy is 10. {TIMEOUT}",
    ),
    "keys that cannot write": (
        [read(20), write(KeysRefused("No.")), read(20), write(KeysRefused("No."))],
        {},
        f"{STILL} No.",
    ),
    # unknown
    "not read": ([], {"held": SPENT}, "the current leverage is not known. There is no time left."),
    "the reading failed": ([FAILED], {}, f"the current leverage is not known. {TIMEOUT}"),
    "not read back in check mode": (
        [read(20), write(REFUSED)],
        {"held": SPENT, "predicted": True},
        f"the outcome of the write is not known. {NOT_READ} There is no time left. {READ_FIRST}",
    ),
    "lost, not read back": (
        [*WRITE_WAS_LOST, FAILED],
        {},
        f"{UNKNOWN} {NOT_READ} {TIMEOUT} {READ_FIRST}",
    ),
    "lost, no time to read back": (
        WRITE_WAS_LOST,
        {"held": SPENT},
        f"{UNKNOWN} {NOT_READ} There is no time left. {READ_FIRST}",
    ),
    "lost, another value": (
        [*WRITE_WAS_LOST, read(20)],
        {},
        f"{UNKNOWN} {WAS_20} {READ_FIRST}",
    ),
    "lost, and a position is open": (
        [*WRITE_WAS_LOST, read(20)],
        {"blockers": [POSITION]},
        f"{UNKNOWN} {WAS_20} {BLOCKED} {READ_FIRST}",
    ),
}


@pytest.mark.parametrize(("events", "facts", "words"), CASES.values(), ids=CASES)
def test_reason(events: list[Event], facts: dict[str, Any], words: str) -> None:
    evidence = Evidence(events, **facts)
    assert explain(judge(evidence, GOAL), evidence, GOAL) == words


def test_reason_of_a_never_configured_symbol_under_maximum() -> None:
    evidence, goal = Evidence([UNSET]), Goal("BTCUSDT", 10, MAXIMUM)
    assert explain(judge(evidence, goal), evidence, goal) == (
        "the symbol was never configured, so there is no leverage to compare with 10. Set it once with enforce=exact."
    )


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("a b", "A b."), ("A b.", "A b."), ("why?", "Why?"), ("no!", "No!"), ('said "x"', 'Said "x".'), ("", ".")],
)
def test_sentence_has_a_capital_letter_and_a_period(text: str, sentence: str) -> None:
    assert make_sentence(text) == sentence


# --- describe_blockers ---


@pytest.mark.parametrize(
    ("blockers", "words"),
    [
        ([POSITION], "An open position (LONG 1) blocks the change. Close the position first."),
        ([ORDER], "An open order (BUY 0.01 at 1000, ID 5f3a) blocks the change. Cancel the orders first."),
        (
            [{**ORDER, "quantity": "0", "price": "0", "order_type": "TAKE_PROFIT_MARKET"}],
            "An open order (BUY TAKE_PROFIT_MARKET, ID 5f3a) blocks the change. Cancel the orders first.",
        ),
        (
            [POSITION, {**POSITION, "side": "SHORT", "size": "0.5"}, ORDER],
            (
                "2 open positions (LONG 1; SHORT 0.5) and an open order (BUY 0.01 at 1000, ID 5f3a) block the change. "
                "Close the position and cancel the orders first."
            ),
        ),
        (
            [POSITION] * 7,
            (
                "7 open positions (LONG 1; LONG 1; LONG 1; LONG 1; LONG 1; and 2 more) block the change. "
                "Close the position first."
            ),
        ),
    ],
)
def test_description_names_the_blockers_and_what_to_do(blockers: list[dict[str, Any]], words: str) -> None:
    assert describe_blockers(blockers) == words


def test_description_is_one_short_line_if_the_exchange_sends_long_text_with_line_breaks() -> None:
    words = describe_blockers([{**POSITION, "size": "1\n2", "side": "LONG\x1b[31m\r\n" * 500}])
    assert words.isprintable()
    assert len(words) < 400
