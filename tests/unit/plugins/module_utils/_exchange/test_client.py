# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the client sends, when it retries, and what it returns or raises for each response."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from decimal import Decimal
from email.utils import formatdate
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import client as _client
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import (
    READ_LEVERAGE,
    VALIDATE,
    WRITE_LEVERAGE,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    BudgetSpent,
    CoinSwitchError,
    Effect,
    Ends,
    KeysRefused,
    MustWait,
    RateLimited,
    Refused,
    Unclear,
    Unreachable,
)
from sandbox import FAULTS

from ..client_setup import API_KEY, NOW, READ, SECRET_KEY, WRITE, ClientSetup, Fault

NewSetup = Callable[..., ClientSetup]
PARAMS = {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2"}
PATH = "/trade/api/v2/futures/leverage"
VALIDATE_KEYS = "validate_keys"


def read(setup: ClientSetup) -> Any:
    return setup.client.request(READ_LEVERAGE, PARAMS)


def write(setup: ClientSetup) -> Any:
    return setup.client.request(WRITE_LEVERAGE, body={**PARAMS, "leverage": 13})


def read_with_response(setup: ClientSetup, body: Any, status: int = 200, **headers: str | None) -> Any:
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
def test_read_is_retried_after_an_unclear_response(setup: ClientSetup, fault: str) -> None:
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
    assert str(raised.value) == f'The exchange answered GET {PATH} with HTTP 503: "Service Unavailable".'
    assert raised.value.status == 503
    assert raised.value.ends is Ends.NOTHING
    assert setup.client.request_count == 1 + retries
    assert len(setup.clock.slept) == retries


@pytest.mark.parametrize(
    "fault", ["400", "401", "403-html", "429", "429-retry-after", "500", "503", "drop-before", "garbage", "redirect"]
)
def test_write_is_sent_once_and_never_waits(setup: ClientSetup, fault: str) -> None:
    setup.exchange.add_fault(WRITE, FAULTS[fault], times=None)
    with pytest.raises(CoinSwitchError):
        write(setup)
    assert setup.sent == [WRITE]
    assert setup.client.request_count == 1
    assert setup.clock.slept == []


def test_write_that_must_wait_is_not_sent(setup: ClientSetup) -> None:
    for _write in range(10):
        write(setup)
    with pytest.raises(MustWait, match=rf"^The rate limit of POST {PATH} requires a wait\.$"):
        write(setup)
    assert setup.sent == [WRITE] * 10
    assert setup.client.request_count == 10
    assert (setup.clock.slept, setup.pacer.waited) == ([], 0)
    setup.pacer.wait_for(WRITE_LEVERAGE)
    write(setup)
    assert setup.sent == [WRITE] * 11


def test_write_is_not_sent_into_a_slot_that_another_process_took(new_setup: NewSetup) -> None:
    setup = new_setup(machine="one")
    other = new_setup(machine="one", same_account_as=setup)
    for _write in range(10):
        write(other)
    with pytest.raises(MustWait):
        write(setup)
    assert setup.client.request_count == 0
    assert setup.clock.slept == []


def test_write_after_429_must_wait(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, Fault(status=429, headers={"Retry-After": "30"}))
    with pytest.raises(RateLimited) as raised:
        write(setup)
    assert (raised.value.status, raised.value.effect) == (429, Effect.NONE)
    assert setup.current == {"BTCUSDT": 10}
    assert setup.pacer.get_delay(WRITE_LEVERAGE) == pytest.approx(30)
    setup.clock.now += 29.9
    with pytest.raises(MustWait):
        write(setup)
    setup.clock.now += 0.1
    write(setup)
    assert setup.current == {"BTCUSDT": 13}
    assert setup.clock.slept == []


@pytest.mark.parametrize(("can_retry", "pauses"), [(True, 3), (False, 0)])
def test_unreachable_address_is_retried_only_if_a_retry_can_succeed(
    new_setup: NewSetup, unused_url: str, can_retry: bool, pauses: int
) -> None:
    setup = new_setup(url=unused_url if can_retry else f"http://{'a' * 64}.invalid")
    with pytest.raises(Unreachable) as raised:
        read(setup)
    assert raised.value.can_retry is can_retry
    assert (raised.value.ends, raised.value.effect) == (Ends.ALL, Effect.NONE)
    assert len(setup.clock.slept) == pauses
    assert setup.client.request_count == 0, "a request that was not sent is not counted"
    assert setup.pacer.get_delay(READ_LEVERAGE, 20) == 0, "the budget is unused"


# --- Client.timing, Client.now_ms ---


def test_timing_holds_the_send_and_receive_times_of_the_last_response(new_setup: NewSetup) -> None:
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


def test_reset_connection_discards_a_duplicate_response(setup: ClientSetup) -> None:
    setup.exchange.add_fault(READ, FAULTS["twice"])
    read(setup)
    setup.account.set_leverage("BTCUSDT", 7)
    setup.client.reset_connection()
    assert read(setup)["data"]["leverage"] == "7"
    assert len(set(setup.exchange.connections)) == 2


# --- get_pause ---


def test_pause_doubles_up_to_8_seconds_with_random_variation() -> None:
    random.seed(1)
    max_pauses = [0.5, 1, 2, 4, 8, 8, 8]  # seconds
    for attempt, max_pause in enumerate(max_pauses, start=1):
        pauses = [_client.get_pause(attempt) for _pause in range(200)]
        assert 0.5 * max_pause <= min(pauses) < 0.51 * max_pause
        assert 0.99 * max_pause < max(pauses) <= max_pause
        assert len(set(pauses)) == 200


# --- The rate limit ---

# The value of the header, and its seconds. None for a value that is not valid.
RETRY_AFTER: list[tuple[str | None, float | None]] = [
    (None, None),
    ("", None),
    ("0", 1),
    ("1", 1),
    ("2", 2),
    ("30", 30),
    ("300", 300),
    ("301", None),
    ("99999999999999999999", None),
    ("-5", None),
    ("1.5", None),
    ("soon", None),
    ("0x10", None),
    ("\u0663", None),
    (formatdate(NOW + 25, usegmt=True), 25),
    (formatdate(NOW + 300, usegmt=True), 300),
    (formatdate(NOW + 301, usegmt=True), None),
    (formatdate(NOW, usegmt=True), 1),
    (formatdate(NOW - 5, usegmt=True), None),
]


def make_429(retry_after: str | None) -> Fault:
    value = retry_after.encode().decode("latin-1") if retry_after else retry_after
    return Fault(status=429, headers={"Retry-After": value})


@pytest.mark.parametrize(("retry_after", "seconds"), RETRY_AFTER)
def test_read_waits_for_a_valid_retry_after_or_else_one_second(
    setup: ClientSetup, retry_after: str | None, seconds: float | None
) -> None:
    setup.exchange.add_fault(READ, make_429(retry_after))
    assert "data" in read(setup)
    wait = 1 if seconds is None else seconds
    assert setup.clock.slept == pytest.approx([wait])
    assert setup.pacer.waited == pytest.approx(wait)
    assert setup.client.request_count == 2


@pytest.mark.parametrize(("retry_after", "seconds"), RETRY_AFTER)
def test_refused_write_must_wait_for_a_valid_retry_after_or_else_one_second(
    setup: ClientSetup, retry_after: str | None, seconds: float | None
) -> None:
    setup.exchange.add_fault(WRITE, make_429(retry_after))
    with pytest.raises(RateLimited):
        write(setup)
    assert setup.pacer.get_delay(WRITE_LEVERAGE) == pytest.approx(1 if seconds is None else seconds)
    assert setup.clock.slept == []


def test_pauses_grow_and_ignore_a_repeated_retry_after(setup: ClientSetup) -> None:
    setup.exchange.add_fault(READ, Fault(status=429, headers={"Retry-After": "30"}), times=4)
    read(setup)
    assert setup.clock.slept == pytest.approx([30, 2, 4, 8])
    assert setup.client.request_count == 5, "one request after each pause"


def test_429_does_not_count_as_a_retry(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, retries=0)
    setup.exchange.add_fault(READ, FAULTS["429"], times=2)
    assert "data" in read(setup)


def test_real_limit_below_the_documented_one_is_not_an_error(new_setup: NewSetup) -> None:
    """The exchange accepts 15 reads in 60 s, and documents 20."""
    setup = new_setup(current={"BTCUSDT": 10}, limits={READ: 15})
    for _read in range(16):
        assert "data" in read(setup)
    # Refused requests count against the documented limit. So the fifth one was the last that fits into 60 s.
    assert setup.clock.slept == pytest.approx([1, 2, 4, 8, 45.1])
    assert setup.exchange.refused_by_rate_limit == 5


@pytest.mark.parametrize(
    ("max_wait", "requests", "due", "left"), [(0, 1, 1, 0), (59, 6, 32, 28), (63, 7, 60, 0), (600, 15, 60, 57)]
)
def test_endless_429_ends_at_the_max_wait(
    new_setup: NewSetup, max_wait: float, requests: int, due: int, left: int
) -> None:
    setup = new_setup(max_wait=max_wait)
    setup.exchange.add_fault(READ, FAULTS["429"], times=None)
    with pytest.raises(BudgetSpent) as raised:
        read(setup)
    times = "" if requests == 1 else f" {requests} times in a row"
    assert str(raised.value) == (
        f"The exchange answered GET {PATH} with HTTP 429 (too many requests){times}. The next request is due in about "
        f"{due} s, but rate_limit_timeout ({max_wait} s) allows only {left} s more. Increase rate_limit_timeout, or "
        "run the task again later. Check whether another program uses the same key."
    )
    assert setup.client.request_count == requests
    assert setup.pacer.waited <= max_wait


def test_nothing_is_sent_if_the_budget_is_already_spent(new_setup: NewSetup) -> None:
    setup = new_setup(max_wait=0)
    for _request in range(20):
        setup.pacer.take(READ_LEVERAGE)
    with pytest.raises(BudgetSpent) as raised:
        read(setup)
    assert (raised.value.effect, raised.value.status) == (Effect.NONE, None)
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


# --- Client._interpret_response ---


@pytest.mark.parametrize("status", [200, 201, 299])
def test_every_2xx_status_returns_the_value(setup: ClientSetup, status: int) -> None:
    assert read_with_response(setup, {"a": 1}, status) == {"a": 1}


@pytest.mark.parametrize("status", [400, 403, 404, 405, 409, 422, 499])
@pytest.mark.parametrize("send", [read, write])
def test_4xx_raises_refused_without_a_retry(
    setup: ClientSetup, send: Callable[[ClientSetup], Any], status: int
) -> None:
    for endpoint in (READ, WRITE):
        setup.exchange.add_fault(endpoint, Fault(status=status, body={"message": "No way"}), times=None)
    with pytest.raises(Refused) as raised:
        send(setup)
    method = "GET" if send is read else "POST"
    assert str(raised.value) == f'The exchange refused {method} {PATH} with HTTP {status}: "No way".'
    assert (raised.value.status, raised.value.exchange_message, raised.value.is_from_api) == (status, "No way", True)
    assert (raised.value.effect, raised.value.ends) == (Effect.NONE, Ends.NOTHING)
    assert setup.client.request_count == 1
    assert setup.clock.slept == []


@pytest.mark.parametrize("status", [300, 302, 307, 399, 400, 403, 404, 422, 499])
@pytest.mark.parametrize("send", [read, write])
def test_3xx_or_4xx_of_a_server_in_front_of_the_api_raises_refused_without_a_retry(
    setup: ClientSetup, send: Callable[[ClientSetup], Any], status: int
) -> None:
    for endpoint in (READ, WRITE):
        setup.exchange.add_fault(endpoint, Fault(status=status, body="<h1>No way</h1>"), times=None)
    with pytest.raises(Refused) as raised:
        send(setup)
    method = "GET" if send is read else "POST"
    assert str(raised.value) == str(Refused(status, "No way", f"{method} {PATH}", is_from_api=False))
    assert (raised.value.status, raised.value.exchange_message, raised.value.is_from_api) == (status, "No way", False)
    assert raised.value.effect is (Effect.POSSIBLE if status < 400 else Effect.NONE)
    assert setup.client.request_count == 1
    assert setup.clock.slept == []


@pytest.mark.parametrize("status", [300, 307, 399])
@pytest.mark.parametrize("body", [{"message": "Moved"}, "<p>Moved</p>"])
def test_redirect_names_api_url_whatever_its_body_is(setup: ClientSetup, status: int, body: Any) -> None:
    with pytest.raises(Refused) as raised:
        read_with_response(setup, body, status)
    assert str(raised.value).endswith(f'{status}: "Moved". Signed requests do not follow a redirect. Check api_url.')
    assert raised.value.effect is Effect.POSSIBLE


@pytest.mark.parametrize("status", [408, 500, 501, 520, 599, 600, 999])
def test_status_408_or_from_500_raises_unclear(new_setup: NewSetup, status: int) -> None:
    setup = new_setup(retries=0)
    with pytest.raises(Unclear, match=rf'^The exchange answered GET {PATH} with HTTP {status}: "x"\.$') as raised:
        read_with_response(setup, {"message": "x"}, status)
    assert (raised.value.status, raised.value.effect) == (status, Effect.POSSIBLE)


@pytest.mark.parametrize("age", ["0", "1", "3600", "x"])
@pytest.mark.parametrize("status", [200, 202, 302, 400, 404, 500])
def test_response_of_a_cache_raises_unclear(new_setup: NewSetup, status: int, age: str) -> None:
    """A cached reading can be older than a write, whatever its status is."""
    setup = new_setup(current={"BTCUSDT": 10}, retries=1)
    with pytest.raises(Unclear) as raised:
        read_with_response(setup, {"data": {**PARAMS, "leverage": "10"}}, status, Age=age)
    assert str(raised.value) == (
        f"A cache answered GET {PATH} instead of the exchange (the response has the header Age). Check the proxy."
    )
    assert raised.value.status == status
    assert setup.client.request_count == 2


def test_read_that_a_cache_answered_once_is_retried(setup: ClientSetup) -> None:
    setup.exchange.add_fault(READ, Fault(headers={"age": "5"}))
    assert read(setup)["data"]["leverage"] == "10"
    assert setup.client.request_count == 2


def test_write_that_a_cache_answered_has_a_possible_effect(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, Fault(headers={"AGE": "0"}))
    with pytest.raises(Unclear, match=rf"^A cache answered POST {PATH} instead of the exchange ") as raised:
        write(setup)
    assert raised.value.effect is Effect.POSSIBLE
    assert setup.client.request_count == 1


def test_status_is_the_one_of_the_last_response(setup: ClientSetup) -> None:
    assert setup.client.status == 0
    read_with_response(setup, {}, 202)
    assert setup.client.status == 202


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
    returned = read_with_response(setup, body)
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
        ("[" * 100_000, ': "' + "[" * 297 + '..."'),
        ("[" * 985 + "]" * 985, ': "' + "[" * 297 + '..."'),
        ("9" * 5000, ': "********"'),
    ],
    ids=lambda value: str(value)[:20],
)
def test_response_that_is_not_json_raises_unclear(new_setup: NewSetup, body: Any, quote: str) -> None:
    setup = new_setup(retries=0)
    with pytest.raises(Unclear) as raised:
        read_with_response(setup, body)
    assert str(raised.value) == f"The response of the exchange is not JSON{quote}. Check api_url and the proxy."
    assert raised.value.status == 200


@pytest.mark.parametrize(
    ("body", "key"),
    [
        ('{"data": {"symbol": "BTCUSDT", "leverage": "10", "leverage": "13"}}', "leverage"),
        ('{"data": {"symbol": "BTCUSDT", "leverage": "13", "leverage": "13"}}', "leverage"),
        ('{"data": null, "data": {"symbol": "BTCUSDT", "leverage": "13"}}', "data"),
        ('{"a": [{"b": {"c": 1, "d": 2, "c": 3}}]}', "c"),
        ('{"\\u0061": 1, "a": 2}', "a"),
        ('{"a\\nb": 1, "a\\nb": 2}', "a b"),
        ('{"": 1, "": 2}', ""),
    ],
)
def test_repeated_key_raises_unclear(new_setup: NewSetup, body: str, key: str) -> None:
    setup = new_setup(retries=1)
    with pytest.raises(Unclear) as raised:
        read_with_response(setup, body)
    assert str(raised.value) == f"The response repeats the key '{key}', so it is ambiguous."
    assert (raised.value.status, raised.value.effect) == (200, Effect.POSSIBLE)
    assert setup.client.request_count == 2


def test_same_key_in_different_objects_is_no_repetition(setup: ClientSetup) -> None:
    assert read_with_response(setup, '{"a": {"a": 1}, "b": [{"a": 1}, {"a": 1}]}') == {
        "a": {"a": 1},
        "b": [{"a": 1}, {"a": 1}],
    }


@pytest.mark.parametrize("padding", ["", "x" * 270])
def test_message_of_a_repeated_key_contains_no_secret(new_setup: NewSetup, padding: str) -> None:
    """Half of a secret at the end of a shortened text is a secret, too."""
    name = f"{padding} {API_KEY}"
    with pytest.raises(Unclear) as raised:
        read_with_response(new_setup(retries=0), f'{{"{name}": 1, "{name}": 2}}')
    assert API_KEY[:8] not in str(raised.value)


# --- Client._describe_body ---


API_MESSAGES: list[tuple[Any, str, bool]] = [
    ({"message": "Input exchange is missing"}, "Input exchange is missing", True),
    ({"message": "a\r\n b\t\x00\x1b[31mc\u2028d\u200b"}, "a b [31mc d", True),
    ({"message": "<b>bold</b>"}, "<b>bold</b>", True),
    ({"message": ""}, "", True),
    ({"message": "x" * 100 + " " + "y" * 100 + " " + "z" * 98}, "x" * 100 + " " + "y" * 100 + " " + "z" * 98, True),
    ({"message": "é " * 200}, "é " * 148 + "é...", True),
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
    ("[" * 2000, "[" * 297 + "...", False),
]


@pytest.mark.parametrize(("body", "api_message", "envelope"), API_MESSAGES, ids=lambda value: str(value)[:30])
def test_refusal_quotes_the_message_or_the_text_of_the_body(
    setup: ClientSetup, body: Any, api_message: str, envelope: bool
) -> None:
    with pytest.raises(Refused) as raised:
        read_with_response(setup, body, 400)
    assert raised.value.exchange_message == api_message
    assert raised.value.is_from_api is envelope
    assert str(raised.value) == str(Refused(400, api_message, f"GET {PATH}", envelope))


@pytest.mark.parametrize("message", [False, True])
def test_text_after_64_kib_is_not_quoted(new_setup: NewSetup, message: bool) -> None:
    text = " " * (64 * 1024 - 6) + "seen" + "  " + "not seen"
    with pytest.raises(Unclear, match=r'^The .*: "seen"\.( Check api_url and the proxy\.)?$'):
        read_with_response(new_setup(retries=0), {"message": text, "data": float("nan")} if message else text)


# --- Refused keys ---

NOT_A_PAIR = "secret_key and api_key are not a pair. Copy both from the same pair."
VALID_ELSEWHERE = (
    "The exchange accepts these keys for other requests (Validate keys), but not for futures. Do not create a new "
    "pair. Ask the support of the exchange whether futures are enabled for this account."
)
VALID_NOWHERE = (
    "The keys are a pair, but the exchange accepts them nowhere. The pair may have been replaced or revoked. Use the "
    "current pair of the account. If there is none, create a new pair. That stops every other program of the account."
)
NOT_KNOWN = "The keys are a pair, and it is not known whether the exchange accepts them elsewhere. Run api_key_info."


def read_with_refused_keys(setup: ClientSetup, body: Any = "", **headers: str | None) -> KeysRefused:
    """Return the error of a read that the exchange responses with HTTP 401, whenever it is sent."""
    with pytest.raises(KeysRefused) as raised:
        read_with_response(setup, body, 401, **headers)
    assert (raised.value.ends, raised.value.effect, raised.value.status) == (Ends.ALL, Effect.NONE, 401)
    return raised.value


def test_read_with_refused_keys_is_repeated_once_with_a_new_time(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, retries=0, latency=0.5)
    setup.exchange.add_fault(READ, FAULTS["401"])
    assert read(setup)["data"]["leverage"] == "10"
    assert setup.sent == [READ, READ]
    assert setup.clock.slept == []
    first, second = (int(request.headers["x-auth-epoch"]) for request in setup.exchange.requests)
    assert second == first + 1000


def test_refused_keys_are_reported_even_if_the_repetition_does_not_fit(new_setup: NewSetup) -> None:
    setup = new_setup(max_wait=0)
    for _request in range(19):
        setup.pacer.take(READ_LEVERAGE)
    assert str(read_with_refused_keys(setup)).startswith("The exchange refused the keys with HTTP 401. ")
    assert setup.client.request_count >= 1


def test_write_with_refused_keys_is_not_repeated_and_names_no_cause(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, Fault(status=401, body={"message": "Invalid Access"}), times=None)
    with pytest.raises(KeysRefused) as raised:
        write(setup)
    assert str(raised.value) == 'The exchange refused the keys with HTTP 401: "Invalid Access".'
    assert raised.value.exchange_message == "Invalid Access"
    assert setup.sent == [WRITE]


@pytest.mark.parametrize(
    ("keys", "advice"),
    [
        ((SECRET_KEY, API_KEY), "api_key and secret_key are swapped."),
        ((SECRET_KEY, SECRET_KEY), "api_key and secret_key are the same key."),
        ((API_KEY.upper(), SECRET_KEY), "api_key has upper-case letters"),
        ((API_KEY, "11" * 32), "secret_key and api_key are not a pair."),
    ],
)
def test_refused_keys_are_explained_by_the_keys_themselves(
    new_setup: NewSetup, keys: tuple[str, str], advice: str
) -> None:
    setup = new_setup(keys=keys)
    setup.exchange.add_fault("*", FAULTS["401"], times=None)
    with pytest.raises(KeysRefused) as raised:
        read(setup)
    assert advice in str(raised.value)
    assert setup.sent == [READ, READ], "Validate keys would say nothing more"
    assert not any(key in str(raised.value) for key in keys)


def test_keys_that_do_not_match_are_reported_before_the_clock(new_setup: NewSetup) -> None:
    setup = new_setup(keys=(API_KEY, "11" * 32))
    error = read_with_refused_keys(setup, Date=formatdate(NOW + 300, usegmt=True))
    assert str(error) == f"The exchange refused the keys with HTTP 401. {NOT_A_PAIR}"
    assert setup.sent == [READ, READ], "Validate keys would say nothing new"


@pytest.mark.parametrize(
    ("skew", "direction"), [(300, "behind"), (-300, "ahead of"), (61, "behind"), (-61, "ahead of")]
)
def test_clock_that_is_more_than_60_seconds_off_is_reported(setup: ClientSetup, skew: int, direction: str) -> None:
    error = read_with_refused_keys(setup, {"message": "Invalid Access"}, Date=formatdate(NOW + skew, usegmt=True))
    assert str(error) == (
        f'The exchange refused the keys with HTTP 401: "Invalid Access". The clock of this machine is {abs(skew)} s '
        f"{direction} the clock of the exchange. It accepts at most 60 s. Synchronize the clock (NTP)."
    )
    assert error.exchange_message == "Invalid Access"
    assert setup.sent == [READ, READ], "Validate keys would say nothing new"


@pytest.mark.parametrize("date", [formatdate(NOW + 60, usegmt=True), formatdate(NOW - 60, usegmt=True), None])
def test_keys_that_are_valid_elsewhere_are_not_to_be_replaced(setup: ClientSetup, date: str | None) -> None:
    error = read_with_refused_keys(setup, {"message": "No futures"}, Date=date)
    assert str(error) == f'The exchange refused the keys with HTTP 401: "No futures". {VALID_ELSEWHERE}'
    assert error.exchange_message == "No futures"
    assert setup.sent == [READ, READ, VALIDATE_KEYS]


@pytest.mark.parametrize("date", [formatdate(NOW, usegmt=True), None, "", "yesterday", "Thu, 99 Nov 2023", "0"])
def test_keys_that_are_valid_nowhere_may_be_revoked(setup: ClientSetup, date: str | None) -> None:
    setup.exchange.add_fault(VALIDATE_KEYS, FAULTS["401"], times=None)
    error = read_with_refused_keys(setup, Date=date)
    assert str(error) == f"The exchange refused the keys with HTTP 401. {VALID_NOWHERE}"
    assert setup.sent == [READ, READ, VALIDATE_KEYS], "Validate keys is asked once"


@pytest.mark.parametrize("fault", ["400", "403-html", "404", "503", "drop-before", "garbage", "redirect"])
def test_unclear_response_of_validate_keys_gives_no_advice_to_replace_the_keys(new_setup: NewSetup, fault: str) -> None:
    setup = new_setup(retries=0)
    setup.exchange.add_fault(VALIDATE_KEYS, FAULTS[fault], times=None)
    error = read_with_refused_keys(setup)
    assert str(error) == f"The exchange refused the keys with HTTP 401. {NOT_KNOWN}"
    assert setup.sent == [READ, READ, VALIDATE_KEYS]


def test_spent_budget_of_validate_keys_gives_no_advice_to_replace_the_keys(new_setup: NewSetup) -> None:
    setup = new_setup(max_wait=0)
    for _request in range(20):
        setup.pacer.take(VALIDATE)
    assert str(read_with_refused_keys(setup)).endswith(NOT_KNOWN)
    assert setup.sent == [READ, READ]


def test_validate_keys_asks_itself_only_once_more(setup: ClientSetup) -> None:
    setup.exchange.add_fault(VALIDATE_KEYS, FAULTS["401"], times=None)
    with pytest.raises(KeysRefused) as raised:
        setup.client.request(VALIDATE)
    assert str(raised.value) == f'The exchange refused the keys with HTTP 401: "Unauthorized". {VALID_NOWHERE}'
    assert setup.sent == [VALIDATE_KEYS, VALIDATE_KEYS]


@pytest.mark.parametrize(
    ("body", "is_from_api"), [("<h1>Proxy login</h1>", False), ({"message": "Invalid Access"}, True)]
)
def test_401_says_whether_the_api_itself_refused(setup: ClientSetup, body: Any, is_from_api: bool) -> None:
    assert read_with_refused_keys(setup, body).is_from_api is is_from_api


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


# --- allow_after_end ---


@pytest.mark.parametrize("max_wait", [0.0, 600.0])
def test_client_can_wait_as_long_as_it_can_send_after_the_end(new_setup: NewSetup, max_wait: float) -> None:
    setup = new_setup(max_wait=max_wait)
    setup.pacer.waited = 5.0
    with setup.client.allow_after_end(70):
        assert setup.pacer.wait_left == 70
    assert setup.pacer.max_wait == max_wait
