# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One question to the exchange: its answer judged, asked again where that is safe, explained where it is refused."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import Decimal
from email.utils import formatdate
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _client
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import (
    BudgetSpent,
    CoinSwitchError,
    KeysRefused,
    Refused,
    Unclear,
    Unreachable,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import READ_LEVERAGE, WRITE_LEVERAGE
from sandbox import FAULTS

from .client_setup import API_KEY, NOW, READ, WRITE, ClientSetup, Fault

NewSetup = Callable[..., ClientSetup]

PARAMS = {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2"}
PATH = "/trade/api/v2/futures/leverage"


def read(setup: ClientSetup) -> Any:
    return setup.client.request(READ_LEVERAGE, PARAMS)


def write(setup: ClientSetup) -> Any:
    return setup.client.request(WRITE_LEVERAGE, body={**PARAMS, "leverage": 13})


def answered(setup: ClientSetup, body: Any, status: int = 200, **headers: str | None) -> Any:
    """What becomes of an answer to a read that comes every time."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    setup.exchange.add_fault(READ, Fault(status=status, body=body, headers=headers), times=None)
    return read(setup)


# --- what is asked ---


def test_a_read_is_asked_by_a_query(setup: ClientSetup) -> None:
    assert read(setup) == {"data": {"exchange": "EXCHANGE_2", "symbol": "BTCUSDT", "leverage": "10"}}
    (request,) = setup.exchange.requests
    assert (request.method, request.path, request.query, request.body) == ("GET", PATH, PARAMS, None)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-auth-apikey"] == API_KEY
    assert request.account == "desk"
    assert setup.client.requests == 1


def test_a_write_is_asked_by_a_body(setup: ClientSetup) -> None:
    write(setup)
    (request,) = setup.exchange.requests
    assert (request.method, request.path, request.query) == ("POST", PATH, {})
    assert request.body == {**PARAMS, "leverage": 13}
    assert request.headers["content-type"] == "application/json"


def test_what_a_query_must_encode_is_signed_decoded(setup: ClientSetup) -> None:
    setup.client.request(READ_LEVERAGE, {**PARAMS, "note": "a b+c,d/é%20&="})
    (request,) = setup.exchange.requests
    assert request.query["note"] == "a b+c,d/é%20&="
    assert request.status == 200


def test_the_time_of_an_answer_is_kept(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, latency=0.25)
    assert setup.client.timing == (0.0, 0.0, "")
    read(setup)
    assert setup.client.timing == (NOW, NOW + 0.5, formatdate(NOW, usegmt=True))
    assert setup.client.timing.midpoint == NOW + 0.25
    assert setup.client.now_ms() == NOW * 1000 + 500


# --- asked again ---


@pytest.mark.parametrize(
    "fault", ["500", "502-html", "503-empty", "504", "drop-before", "drop-after", "garbage", "nan"]
)
def test_an_unclear_read_is_asked_again(setup: ClientSetup, fault: str) -> None:
    setup.exchange.add_fault(READ, FAULTS[fault], times=3)
    assert read(setup)["data"]["leverage"] == "10"
    assert setup.sent == [READ] * 4
    assert setup.client.requests == 4
    assert len(setup.clock.slept) == 3


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_an_unclear_read_is_asked_again_so_often(new_setup: NewSetup, retries: int) -> None:
    setup = new_setup(retries=retries)
    setup.exchange.add_fault(READ, FAULTS["503"], times=None)
    with pytest.raises(Unclear) as unclear:
        read(setup)
    assert str(unclear.value) == f'the exchange answered GET {PATH} with HTTP 503: "Service Unavailable"'
    assert not unclear.value.stops
    assert setup.client.requests == 1 + retries
    assert len(setup.clock.slept) == retries


def test_a_write_is_asked_once(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, FAULTS["503"], times=None)
    with pytest.raises(Unclear):
        write(setup)
    assert setup.client.requests == 1
    assert setup.clock.slept == []


@pytest.mark.parametrize(("again", "pauses"), [(True, 3), (False, 0)])
def test_an_address_that_cannot_be_asked_is_not_asked_again(
    new_setup: NewSetup, unused_url: str, again: bool, pauses: int
) -> None:
    setup = new_setup(url=unused_url if again else "http://[::1]nowhere")
    with pytest.raises(Unreachable) as unreachable:
        read(setup)
    assert unreachable.value.again is again
    assert unreachable.value.stops
    assert len(setup.clock.slept) == pauses
    assert setup.client.requests == 0, "only what was sent is counted"
    assert setup.pacer.delay(READ_LEVERAGE, 20) == 0, "nothing of the budget is spent"


def test_pauses_grow_to_a_bound_and_are_never_in_step(setup: ClientSetup) -> None:
    random.seed(1)
    longest = [0.5, 1, 2, 4, 8, 8, 8]
    for attempt, bound in enumerate(longest, start=1):
        setup.clock.slept.clear()
        for _pause in range(200):
            setup.client.pause(attempt)
        assert 0.5 * bound <= min(setup.clock.slept) < 0.51 * bound
        assert 0.99 * bound < max(setup.clock.slept) <= bound
        assert len(set(setup.clock.slept)) == 200


# --- refused ---


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (300, " (a redirect, which is never followed with signed headers; check api_url)"),
        (307, " (a redirect, which is never followed with signed headers; check api_url)"),
        (399, " (a redirect, which is never followed with signed headers; check api_url)"),
        (400, ""),
        (403, " (check that this address may use the API, and api_url)"),
        (404, " (check api_url)"),
        (405, ""),
        (409, ""),
        (422, ""),
        (499, ""),
    ],
)
@pytest.mark.parametrize("ask", [read, write])
def test_a_clear_no_is_not_asked_again(
    setup: ClientSetup, ask: Callable[[ClientSetup], Any], status: int, advice: str
) -> None:
    for endpoint in (READ, WRITE):
        setup.exchange.add_fault(endpoint, Fault(status=status, body={"message": "No way"}), times=None)
    with pytest.raises(Refused) as refused:
        ask(setup)
    method = "GET" if ask is read else "POST"
    assert str(refused.value) == f'the exchange refused {method} {PATH} with HTTP {status}{advice}: "No way"'
    assert (refused.value.status, refused.value.api_message, refused.value.envelope) == (status, "No way", True)
    assert not refused.value.stops
    assert setup.client.requests == 1
    assert setup.clock.slept == []


@pytest.mark.parametrize("status", [408, 500, 501, 520, 599, 600, 999])
def test_no_clear_answer(new_setup: NewSetup, status: int) -> None:
    setup = new_setup(retries=0)
    with pytest.raises(Unclear, match=f'^the exchange answered GET {PATH} with HTTP {status}: "x"$'):
        answered(setup, {"message": "x"}, status)


WORDS: list[tuple[Any, str, bool]] = [
    ({"message": "Input exchange is missing"}, "Input exchange is missing", True),
    ({"message": "a\r\n b\t\x00\x1b[31mc\u2028d\u200b"}, "a b [31mc d", True),
    ({"message": "<b>bold</b>"}, "<b>bold</b>", True),
    ({"message": ""}, "", True),
    ({"message": "x" * 100 + " " + "y" * 100 + " " + "z" * 98}, "x" * 100 + " " + "y" * 100 + " " + "z" * 98, True),
    ({"message": "é " * 200}, ("é " * 150) + "...", True),
    ('{"message": "\\ud800 lone"}', "lone", True),
    ({"message": {"a": 1}}, '{"message": {"a": 1}}', False),
    ({"error": "no"}, '{"error": "no"}', False),
    ([1, 2], "[1, 2]", False),
    ("", "", False),
    ("null", "null", False),
    ("plain text", "plain text", False),
    (b"\xff\xfe bytes", "\ufffd\ufffd bytes", False),
    ("<html><head><title>403 Forbidden</title></head><body><h1>No</h1></body></html>", "403 Forbidden No", False),
    ("<script>var a = '<b>';</script>Shown<STYLE type=x>p {}</STYLE>", "Shown", False),
    ("<script>never closed", "", False),
    ("<scripted>a</scripted>", "a", False),
    ("a < b", "a", False),
    ("<p>" * 30_000 + "late", "", False),
    ("<p>" * 1000 + "soon", "soon", False),
    ("[" * 2000, "[" * 300 + "...", False),
]


@pytest.mark.parametrize(("body", "words", "envelope"), WORDS, ids=lambda value: str(value)[:30])
def test_the_words_of_a_refusal(setup: ClientSetup, body: Any, words: str, envelope: bool) -> None:
    with pytest.raises(Refused) as refused:
        answered(setup, body, 400)
    assert refused.value.api_message == words
    assert refused.value.envelope is envelope
    assert str(refused.value).endswith(f': "{words}"' if words else "with HTTP 400")


# --- values ---


@pytest.mark.parametrize(
    ("body", "value"),
    [
        ("null", None),
        ("[]", []),
        ('"text"', "text"),
        ("5", 5),
        ("5.10", Decimal("5.10")),
        ("1e3", Decimal(1000)),
        ('{"a": [1, 2.5, "3", true, null]}', {"a": [1, Decimal("2.5"), "3", True, None]}),
        ("[" * 100 + "]" * 100, json.loads("[" * 100 + "]" * 100)),
    ],
)
def test_values_come_with_exact_numbers(setup: ClientSetup, body: str, value: Any) -> None:
    came = answered(setup, body)
    assert came == value
    assert came.__class__ is value.__class__


@pytest.mark.parametrize("status", [200, 201, 299])
def test_every_status_of_success_has_a_value(setup: ClientSetup, status: int) -> None:
    assert answered(setup, {"a": 1}, status) == {"a": 1}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("", ""),
        ("<p>Checking your browser</p>", ': "Checking your browser"'),
        ("{", ': "{"'),
        ("NaN", ': "NaN"'),
        ('{"data": -Infinity}', ': "{"data": -Infinity}"'),
        ('{"message": "said", "data": NaN}', ': "said"'),
        ('{"data": 1e99999999999999999999}', ': "{"data": 1e99999999999999999999}"'),
        ("{} {}", ': "{} {}"'),
        ("'single'", ": \"'single'\""),
        (b"\x80", ': "\ufffd"'),
        ("[" * 100_000, ': "' + "[" * 300 + '..."'),
        ("[" * 985 + "]" * 985, ': "' + "[" * 300 + '..."'),
        ("9" * 5000, ': "********"'),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_is_no_value_is_unclear(new_setup: NewSetup, body: Any, words: str) -> None:
    setup = new_setup(retries=0)
    with pytest.raises(Unclear) as unclear:
        answered(setup, body)
    assert str(unclear.value) == f"the exchange's answer is not JSON{words}"


@pytest.mark.parametrize("message", [False, True])
def test_words_are_looked_for_only_near_the_beginning(new_setup: NewSetup, message: bool) -> None:
    text = " " * (64 * 1024 - 6) + "seen" + "  " + "not seen"
    with pytest.raises(Unclear, match=r'^the exchange.* "seen"$'):
        answered(new_setup(retries=0), {"message": text, "data": float("nan")} if message else text)


# --- the keys refused ---


@pytest.mark.parametrize(
    ("skew", "returned"),
    [
        (300, "the clock of this machine is 300 s behind the exchange's, and more than 60 s is refused; set the clock"),
        (
            -300,
            "the clock of this machine is 300 s ahead of the exchange's, and more than 60 s is refused; set the clo",
        ),
        (61, "the clock of this machine is 61 s behind the exchange's"),
        (-61, "the clock of this machine is 61 s ahead of the exchange's"),
        (60, "the keys are a pair and the clock is right, so the pair may have been replaced or revoked (a new pair"),
        (-60, "the keys are a pair and the clock is right, so the pair may have been replaced or revoked (a new pair"),
        (0, "the keys are a pair and the clock is right, so the pair may have been replaced or revoked (a new pair"),
    ],
)
def test_a_clock_that_is_off_is_told_with_direction_and_size(setup: ClientSetup, skew: float, returned: str) -> None:
    with pytest.raises(KeysRefused) as refused:
        answered(setup, {"message": "Invalid Access"}, 401, Date=formatdate(NOW + skew, usegmt=True))
    assert str(refused.value).startswith(f'the exchange refused the keys (HTTP 401: "Invalid Access"): {returned}')
    assert str(refused.value).endswith(("; set the clock right (NTP)", "; make a new pair and use both of its keys"))
    assert refused.value.stops
    assert setup.client.requests == 1


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Nov 2023 22:13:20 GMT", "0"])
def test_without_a_date_the_clock_is_not_judged(setup: ClientSetup, date: str | None) -> None:
    with pytest.raises(KeysRefused) as refused:
        answered(setup, "", 401, Date=date)
    assert str(refused.value) == (
        "the exchange refused the keys (HTTP 401): the keys are a pair and the answer has no time to compare "
        "the clock with, so the pair may have been replaced or revoked (a new pair ends the old one); make a new pair "
        "and use both of its keys"
    )


def test_keys_that_are_no_pair_are_told_first(new_setup: NewSetup) -> None:
    setup = new_setup(keys=(API_KEY, "11" * 32))
    with pytest.raises(KeysRefused) as refused:
        answered(setup, "", 401, Date=formatdate(NOW + 300, usegmt=True))
    assert str(refused.value) == (
        "the exchange refused the keys (HTTP 401): secret_key does not belong to api_key (its public key is another "
        "one); take both from the same pair"
    )


@pytest.mark.parametrize(
    ("date", "offset"),
    [
        ("Tue, 14 Nov 2023 22:13:20 GMT", 0.5),
        ("Tue, 14 Nov 2023 22:13:30 GMT", -9.5),
        ("Tue, 14 Nov 2023 23:13:20 +0100", 0.5),
        ("", None),
        ("soon", None),
        ("1700000000", None),
        ("Tue, 14 Nov 99999 22:13:20 GMT", None),
    ],
)
def test_the_offset_of_a_clock(date: str, offset: float | None) -> None:
    assert _client.clock_offset(date, NOW + 0.5) == offset


# --- too many requests ---


@pytest.mark.parametrize(
    ("retry_after", "waits"),
    [
        (None, 60),
        ("", 60),
        ("0", 1),
        ("1", 1),
        ("2", 2),
        ("30", 30),
        ("300", 300),
        ("301", 60),
        ("99999999999999999999", 60),
        ("-5", 60),
        ("1.5", 60),
        ("soon", 60),
        ("0x10", 60),
        ("\u0663", 60),
        (formatdate(NOW + 25, usegmt=True), 25),
        (formatdate(NOW + 300, usegmt=True), 300),
        (formatdate(NOW + 301, usegmt=True), 60),
        (formatdate(NOW, usegmt=True), 1),
        (formatdate(NOW - 5, usegmt=True), 60),
    ],
)
@pytest.mark.parametrize("ask", [read, write])
def test_429_is_waited_for_as_long_as_is_said_where_that_is_sane(
    setup: ClientSetup, ask: Callable[[ClientSetup], Any], retry_after: str | None, waits: float
) -> None:
    value = retry_after.encode().decode("latin-1") if retry_after else retry_after
    fault = Fault(status=429, headers={"Retry-After": value})
    for endpoint in (READ, WRITE):
        setup.exchange.add_fault(endpoint, fault)
    assert "data" in ask(setup)
    assert setup.clock.slept == pytest.approx([waits])
    assert setup.pacer.waited == pytest.approx(waits)
    assert setup.client.requests == 2


def test_what_429_asks_for_is_tried_once(setup: ClientSetup) -> None:
    setup.exchange.add_fault(READ, FAULTS["429-retry-after"], times=3)
    read(setup)
    assert setup.clock.slept == pytest.approx([1, 60, 60])


def test_429_counts_as_no_try(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, retries=0)
    setup.exchange.add_fault(READ, FAULTS["429"], times=2)
    assert "data" in read(setup)


@pytest.mark.parametrize(("max_wait", "asked"), [(59, 1), (60, 2), (600, 11)])
def test_429_without_end_ends_with_the_max_wait(new_setup: NewSetup, max_wait: float, asked: int) -> None:
    setup = new_setup(max_wait=max_wait)
    setup.exchange.add_fault(READ, FAULTS["429"], times=None)
    with pytest.raises(BudgetSpent) as spent:
        read(setup)
    assert spent.value.sent
    assert setup.client.requests == asked
    assert setup.pacer.waited <= max_wait


def test_a_budget_spent_before_tells_that_nothing_was_sent(new_setup: NewSetup) -> None:
    setup = new_setup(max_wait=0)
    for _request in range(20):
        setup.pacer.take(READ_LEVERAGE)
    with pytest.raises(BudgetSpent) as spent:
        read(setup)
    assert not spent.value.sent
    assert setup.sent == []
    assert setup.client.requests == 0


@pytest.mark.parametrize("fault", ["503", "drop-before", "400", "429"])
def test_every_request_counts_whatever_came_of_it(new_setup: NewSetup, fault: str) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, retries=0, latency=1.0, max_wait=0)
    setup.exchange.add_fault(READ, FAULTS[fault])
    with pytest.raises(CoinSwitchError):
        read(setup)
    setup.clock.now += 60
    assert setup.pacer.delay(READ_LEVERAGE, 20) == pytest.approx(0.1), "counted from the end of the request"
    assert setup.pacer.delay(READ_LEVERAGE, 19) == 0


def test_answers_are_told_apart_by_a_new_connection(setup: ClientSetup) -> None:
    setup.exchange.add_fault(READ, FAULTS["twice"])
    read(setup)
    setup.account.set_leverage("BTCUSDT", 7)
    setup.client.reset_connection()
    assert read(setup)["data"]["leverage"] == "7"
    assert len(set(setup.exchange.connections)) == 2


def test_a_connection_is_kept_until_it_is_renewed(setup: ClientSetup) -> None:
    for _request in range(3):
        read(setup)
    assert len(set(setup.exchange.connections)) == 1
    setup.client.reset_connection()
    read(setup)
    assert len(set(setup.exchange.connections)) == 2
