# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sends, when it retries, and what it returns or raises for each answer."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import Decimal
from email.utils import formatdate
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import client as _client
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    BudgetSpent,
    CoinSwitchError,
    KeysRefused,
    Refused,
    Unclear,
    Unreachable,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import READ_LEVERAGE, WRITE_LEVERAGE
from sandbox import FAULTS

from ..client_setup import API_KEY, NOW, READ, WRITE, ClientSetup, Fault

NewSetup = Callable[..., ClientSetup]
PARAMS = {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2"}
PATH = "/trade/api/v2/futures/leverage"


def read(setup: ClientSetup) -> Any:
    return setup.client.request(READ_LEVERAGE, PARAMS)


def write(setup: ClientSetup) -> Any:
    return setup.client.request(WRITE_LEVERAGE, body={**PARAMS, "leverage": 13})


def read_with_answer(setup: ClientSetup, body: Any, status: int = 200, **headers: str | None) -> Any:
    """Send a read. The exchange answers every attempt with this body, status and headers."""
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    setup.exchange.add_fault(READ, Fault(status=status, body=body, headers=headers), times=None)
    return read(setup)


# --- Client.request ---


def test_read_sends_its_parameters_in_the_query(setup: ClientSetup) -> None:
    assert read(setup) == {"data": {"exchange": "EXCHANGE_2", "symbol": "BTCUSDT", "leverage": "10"}}
    (request,) = setup.exchange.requests
    assert (request.method, request.path, request.query, request.body) == ("GET", PATH, PARAMS, None)
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-auth-apikey"] == API_KEY
    assert request.account == "desk"
    assert setup.client.request_count == 1


def test_write_sends_its_parameters_in_the_json_body(setup: ClientSetup) -> None:
    write(setup)
    (request,) = setup.exchange.requests
    assert (request.method, request.path, request.query) == ("POST", PATH, {})
    assert request.body == {**PARAMS, "leverage": 13}
    assert request.headers["content-type"] == "application/json"


def test_query_with_special_characters_is_sent_and_signed_correctly(setup: ClientSetup) -> None:
    setup.client.request(READ_LEVERAGE, {**PARAMS, "note": "a b+c,d/é%20&="})
    (request,) = setup.exchange.requests
    assert request.query["note"] == "a b+c,d/é%20&="
    assert request.status == 200


@pytest.mark.parametrize(
    "fault", ["500", "502-html", "503-empty", "504", "drop-before", "drop-after", "garbage", "nan"]
)
def test_read_is_retried_after_an_unclear_answer(setup: ClientSetup, fault: str) -> None:
    setup.exchange.add_fault(READ, FAULTS[fault], times=3)
    assert read(setup)["data"]["leverage"] == "10"
    assert setup.sent == [READ] * 4
    assert setup.client.request_count == 4
    assert len(setup.clock.slept) == 3


@pytest.mark.parametrize("retries", [0, 1, 3])
def test_read_raises_unclear_after_the_last_retry(new_setup: NewSetup, retries: int) -> None:
    setup = new_setup(retries=retries)
    setup.exchange.add_fault(READ, FAULTS["503"], times=None)
    with pytest.raises(Unclear) as raised:
        read(setup)
    assert str(raised.value) == f'the exchange answered GET {PATH} with HTTP 503: "Service Unavailable"'
    assert not raised.value.stops_task
    assert setup.client.request_count == 1 + retries
    assert len(setup.clock.slept) == retries


def test_write_is_never_retried(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, FAULTS["503"], times=None)
    with pytest.raises(Unclear):
        write(setup)
    assert setup.client.request_count == 1
    assert setup.clock.slept == []


@pytest.mark.parametrize(("can_retry", "pauses"), [(True, 3), (False, 0)])
def test_unreachable_address_is_retried_only_if_a_retry_can_succeed(
    new_setup: NewSetup, unused_url: str, can_retry: bool, pauses: int
) -> None:
    setup = new_setup(url=unused_url if can_retry else "http://[::1]nowhere")
    with pytest.raises(Unreachable) as raised:
        read(setup)
    assert raised.value.can_retry is can_retry
    assert raised.value.stops_task
    assert len(setup.clock.slept) == pauses
    assert setup.client.request_count == 0, "a request that was not sent is not counted"
    assert setup.pacer.get_delay(READ_LEVERAGE, 20) == 0, "the budget is unused"


# --- Client.timing, Client.now_ms ---


def test_timing_holds_the_send_and_receive_times_of_the_last_answer(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, latency=0.25)
    assert setup.client.timing == (0.0, 0.0, "")
    read(setup)
    assert setup.client.timing == (NOW, NOW + 0.5, formatdate(NOW, usegmt=True))
    assert setup.client.timing.midpoint == NOW + 0.25
    assert setup.client.now_ms() == NOW * 1000 + 500


# --- Client.reset_connection ---


def test_connection_is_reused_until_it_is_reset(setup: ClientSetup) -> None:
    for _request in range(3):
        read(setup)
    assert len(set(setup.exchange.connections)) == 1
    setup.client.reset_connection()
    read(setup)
    assert len(set(setup.exchange.connections)) == 2


def test_reset_connection_discards_a_duplicate_answer(setup: ClientSetup) -> None:
    setup.exchange.add_fault(READ, FAULTS["twice"])
    read(setup)
    setup.account.set_leverage("BTCUSDT", 7)
    setup.client.reset_connection()
    assert read(setup)["data"]["leverage"] == "7"
    assert len(set(setup.exchange.connections)) == 2


# --- Client.pause ---


def test_pause_doubles_up_to_8_seconds_with_random_variation(setup: ClientSetup) -> None:
    random.seed(1)
    max_pauses = [0.5, 1, 2, 4, 8, 8, 8]  # seconds
    for attempt, max_pause in enumerate(max_pauses, start=1):
        setup.clock.slept.clear()
        for _pause in range(200):
            setup.client.pause(attempt)
        assert 0.5 * max_pause <= min(setup.clock.slept) < 0.51 * max_pause
        assert 0.99 * max_pause < max(setup.clock.slept) <= max_pause
        assert len(set(setup.clock.slept)) == 200


# --- Client._send_paced ---


@pytest.mark.parametrize(
    ("retry_after", "wait"),
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
@pytest.mark.parametrize("send", [read, write])
def test_429_waits_for_a_valid_retry_after_or_else_60_seconds(
    setup: ClientSetup, send: Callable[[ClientSetup], Any], retry_after: str | None, wait: float
) -> None:
    value = retry_after.encode().decode("latin-1") if retry_after else retry_after
    fault = Fault(status=429, headers={"Retry-After": value})
    for endpoint in (READ, WRITE):
        setup.exchange.add_fault(endpoint, fault)
    assert "data" in send(setup)
    assert setup.clock.slept == pytest.approx([wait])
    assert setup.pacer.waited == pytest.approx(wait)
    assert setup.client.request_count == 2


def test_second_429_waits_60_seconds_despite_retry_after(setup: ClientSetup) -> None:
    setup.exchange.add_fault(READ, FAULTS["429-retry-after"], times=3)
    read(setup)
    assert setup.clock.slept == pytest.approx([1, 60, 60])


def test_429_does_not_count_as_a_retry(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, retries=0)
    setup.exchange.add_fault(READ, FAULTS["429"], times=2)
    assert "data" in read(setup)


@pytest.mark.parametrize(("max_wait", "requests"), [(59, 1), (60, 2), (600, 11)])
def test_repeated_429_raises_budget_spent_after_the_max_wait(
    new_setup: NewSetup, max_wait: float, requests: int
) -> None:
    setup = new_setup(max_wait=max_wait)
    setup.exchange.add_fault(READ, FAULTS["429"], times=None)
    with pytest.raises(BudgetSpent) as raised:
        read(setup)
    assert raised.value.was_sent
    assert setup.client.request_count == requests
    assert setup.pacer.waited <= max_wait


def test_nothing_is_sent_if_the_budget_is_already_spent(new_setup: NewSetup) -> None:
    setup = new_setup(max_wait=0)
    for _request in range(20):
        setup.pacer.take(READ_LEVERAGE)
    with pytest.raises(BudgetSpent) as raised:
        read(setup)
    assert not raised.value.was_sent
    assert setup.sent == []
    assert setup.client.request_count == 0


@pytest.mark.parametrize("fault", ["503", "drop-before", "400", "429"])
def test_failed_request_counts_against_the_budget(new_setup: NewSetup, fault: str) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, retries=0, latency=1.0, max_wait=0)
    setup.exchange.add_fault(READ, FAULTS[fault])
    with pytest.raises(CoinSwitchError):
        read(setup)
    setup.clock.now += 60
    assert setup.pacer.get_delay(READ_LEVERAGE, 20) == pytest.approx(0.1), "the window starts at the end of the request"
    assert setup.pacer.get_delay(READ_LEVERAGE, 19) == 0


# --- Client._interpret_answer ---


@pytest.mark.parametrize("status", [200, 201, 299])
def test_every_2xx_status_returns_the_value(setup: ClientSetup, status: int) -> None:
    assert read_with_answer(setup, {"a": 1}, status) == {"a": 1}


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (300, " (a redirect, which signed requests do not follow: check api_url)"),
        (307, " (a redirect, which signed requests do not follow: check api_url)"),
        (399, " (a redirect, which signed requests do not follow: check api_url)"),
        (400, ""),
        (403, " (check api_url, and that the IP address of this machine is allowed to use the API)"),
        (404, " (check api_url)"),
        (405, ""),
        (409, ""),
        (422, ""),
        (499, ""),
    ],
)
@pytest.mark.parametrize("send", [read, write])
def test_3xx_or_4xx_raises_refused_without_a_retry(
    setup: ClientSetup, send: Callable[[ClientSetup], Any], status: int, advice: str
) -> None:
    for endpoint in (READ, WRITE):
        setup.exchange.add_fault(endpoint, Fault(status=status, body={"message": "No way"}), times=None)
    with pytest.raises(Refused) as raised:
        send(setup)
    method = "GET" if send is read else "POST"
    assert str(raised.value) == f'the exchange refused {method} {PATH} with HTTP {status}{advice}: "No way"'
    assert (raised.value.status, raised.value.exchange_message, raised.value.is_from_api) == (status, "No way", True)
    assert not raised.value.stops_task
    assert setup.client.request_count == 1
    assert setup.clock.slept == []


@pytest.mark.parametrize("status", [408, 500, 501, 520, 599, 600, 999])
def test_status_408_or_from_500_raises_unclear(new_setup: NewSetup, status: int) -> None:
    setup = new_setup(retries=0)
    with pytest.raises(Unclear, match=f'^the exchange answered GET {PATH} with HTTP {status}: "x"$'):
        read_with_answer(setup, {"message": "x"}, status)


# --- Client._parse_json ---


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
def test_value_keeps_decimal_numbers_exact(setup: ClientSetup, body: str, value: Any) -> None:
    returned = read_with_answer(setup, body)
    assert returned == value
    assert returned.__class__ is value.__class__


@pytest.mark.parametrize(
    ("body", "quote"),
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
def test_answer_that_is_not_json_raises_unclear(new_setup: NewSetup, body: Any, quote: str) -> None:
    setup = new_setup(retries=0)
    with pytest.raises(Unclear) as raised:
        read_with_answer(setup, body)
    assert str(raised.value) == f"the exchange's answer is not JSON{quote}"


# --- Client._describe_body ---


API_MESSAGES: list[tuple[Any, str, bool]] = [
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


@pytest.mark.parametrize(("body", "api_message", "envelope"), API_MESSAGES, ids=lambda value: str(value)[:30])
def test_refusal_quotes_the_message_or_the_text_of_the_body(
    setup: ClientSetup, body: Any, api_message: str, envelope: bool
) -> None:
    with pytest.raises(Refused) as raised:
        read_with_answer(setup, body, 400)
    assert raised.value.exchange_message == api_message
    assert raised.value.is_from_api is envelope
    assert str(raised.value).endswith(f': "{api_message}"' if api_message else "with HTTP 400")


@pytest.mark.parametrize("message", [False, True])
def test_text_after_64_kib_is_not_quoted(new_setup: NewSetup, message: bool) -> None:
    text = " " * (64 * 1024 - 6) + "seen" + "  " + "not seen"
    with pytest.raises(Unclear, match=r'^the exchange.* "seen"$'):
        read_with_answer(new_setup(retries=0), {"message": text, "data": float("nan")} if message else text)


# --- Client._raise_keys_refused ---


def test_401_reports_keys_that_do_not_match_before_the_clock(new_setup: NewSetup) -> None:
    setup = new_setup(keys=(API_KEY, "11" * 32))
    with pytest.raises(KeysRefused) as raised:
        read_with_answer(setup, "", 401, Date=formatdate(NOW + 300, usegmt=True))
    assert str(raised.value) == (
        "the exchange refused the keys (HTTP 401): secret_key and api_key are not a pair: copy both from the same pair"
    )


@pytest.mark.parametrize(
    ("skew", "explanation"),
    [
        (
            300,
            "the clock of this machine is 300 s behind the clock of the exchange, which accepts at most 60 s: synchron",
        ),
        (
            -300,
            "the clock of this machine is 300 s ahead of the clock of the exchange, which accepts at most 60 s: synchr",
        ),
        (61, "the clock of this machine is 61 s behind the clock of the exchange"),
        (-61, "the clock of this machine is 61 s ahead of the clock of the exchange"),
        (60, "the keys are a pair and the clock is correct, so the pair may have been replaced or revoked (a new pair"),
        (
            -60,
            "the keys are a pair and the clock is correct, so the pair may have been replaced or revoked (a new pair",
        ),
        (0, "the keys are a pair and the clock is correct, so the pair may have been replaced or revoked (a new pair"),
    ],
)
def test_401_reports_the_clock_only_if_it_is_more_than_60_seconds_off(
    setup: ClientSetup, skew: float, explanation: str
) -> None:
    with pytest.raises(KeysRefused) as raised:
        read_with_answer(setup, {"message": "Invalid Access"}, 401, Date=formatdate(NOW + skew, usegmt=True))
    assert str(raised.value).startswith(f'the exchange refused the keys (HTTP 401: "Invalid Access"): {explanation}')
    assert str(raised.value).endswith((": synchronize the clock (NTP)", ": create a new pair and use both of its keys"))
    assert raised.value.stops_task
    assert setup.client.request_count == 1


@pytest.mark.parametrize("date", [None, "", "yesterday", "Thu, 99 Nov 2023 22:13:20 GMT", "0"])
def test_401_without_a_valid_date_does_not_report_the_clock(setup: ClientSetup, date: str | None) -> None:
    with pytest.raises(KeysRefused) as raised:
        read_with_answer(setup, "", 401, Date=date)
    assert str(raised.value) == (
        "the exchange refused the keys (HTTP 401): the keys are a pair and the clock was not checked (the answer "
        "has no valid date), so the pair may have been replaced or revoked (a new pair revokes the old one): create a "
        "new pair and use both of its keys"
    )


# --- get_clock_offset ---


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
def test_clock_offset_is_the_difference_to_the_date_or_none(date: str, offset: float | None) -> None:
    assert _client.get_clock_offset(date, NOW + 0.5) == offset
