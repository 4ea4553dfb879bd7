# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request to the exchange: wait for the rate limit, send, interpret the answer, and retry if that is safe.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import json
import random
import re
import time
from decimal import Decimal
from typing import Any, Callable, Mapping, NamedTuple, NoReturn

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    BudgetSpent,
    KeysRefused,
    RateLimited,
    Refused,
    Unclear,
    Unreachable,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import (
    MAX_CLOSURE_SECONDS,
    WINDOW_SECONDS,
    Endpoint,
    Pacer,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import parse_integer, to_printable
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.transport import Answer, Request, Transport

# The exchange refuses a request if the clock differs by more than this (the signing page of the API).
MAX_SKEW_SECONDS = 60.0
_MAX_TEXT_CHARACTERS = 64 << 10
_MAX_MESSAGE_CHARACTERS = 300
_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 8.0


class Timing(NamedTuple):
    """The times of a request.

    Attributes:
        sent: When the request was sent, in Unix seconds of this machine.
        received: When the answer was complete, in Unix seconds of this machine.
        date: The `Date` header of the answer.
    """

    sent: float
    received: float
    date: str

    @property
    def midpoint(self) -> float:
        """The best estimate of when the exchange read its clock."""
        return (self.sent + self.received) / 2


class Client:
    """Sends requests to the exchange. The transport signs each attempt with the current time.

    Args:
        transport: Sends one request, and returns the answer.
        pacer: Waits for the rate limits.
        retries: How often a read without a clear answer is retried.
        pair_matches: Returns whether the two keys are a pair.
        clean: Removes secrets from what the exchange sends. It is called before a text is shortened, because half of a
            secret would not be found.
        clock: Returns the time in Unix seconds.
        sleep: Sleeps for some seconds.

    Attributes:
        request_count: How many requests were sent.
        timing: The times of the last answer. Zeros before the first one.
        on_answer: Called with each request and its answer, before the answer is interpreted.
    """

    def __init__(
        self,
        transport: Transport,
        pacer: Pacer,
        retries: int,
        pair_matches: Callable[[], bool],
        clean: Callable[[Any], Any],
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = transport
        self.pacer = pacer
        self.retries = retries
        self.pair_matches = pair_matches
        self._clean = clean
        self._clock = clock
        self._sleep = sleep
        self.request_count = 0
        self.timing = Timing(0.0, 0.0, "")
        self.on_answer: Callable[[Request, Answer], None] = _ignore_answer

    def request(
        self, endpoint: Endpoint, params: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Any:
        """Send a request, and return the JSON value of the answer.

        A read without a clear answer is retried. A write is not: the caller must read first.

        Raises:
            Unclear: There is no clear answer, or no connection (Unreachable).
            Refused: The exchange refused the request.
            KeysRefused: The exchange refused the keys.
            BudgetSpent: The rate limit requires a longer wait than the task can wait.
        """
        http_request = Request(endpoint.method, endpoint.path, params or {}, None if body is None else json.dumps(body))
        attempt = 0
        while True:
            try:
                return self._send_paced(endpoint, http_request)
            except Unclear as error:
                attempt += 1
                is_final = isinstance(error, Unreachable) and not error.can_retry
                if endpoint.writes or is_final or attempt > self.retries:
                    raise
                self.pause(attempt)

    def now_ms(self) -> int:
        """Return the time of this machine in Unix milliseconds, the unit of the API."""
        return int(self._clock() * 1000)

    def reset_connection(self) -> None:
        """Use a new connection from now on, because the old one can still deliver the answer to an earlier request."""
        self._transport.reset_connection()

    def close(self) -> None:
        """Prevent all further requests, because the task has ended."""
        self._transport.close()

    def pause(self, attempt: int) -> None:
        """Wait before the next attempt, longer each time. The random part keeps processes from retrying together."""
        self._sleep(min(_MAX_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0))

    def _send_paced(self, endpoint: Endpoint, request: Request) -> Any:
        """Send a request, and repeat it after each HTTP 429 until the max wait is over."""
        rate_limited_count = 0
        while True:
            try:
                taken_at = self.pacer.take(endpoint)
            except BudgetSpent as error:
                error.was_sent = rate_limited_count > 0
                raise
            sent = self._clock()
            try:
                answer = self._transport(request)
            except BaseException:
                if self._transport.sent:
                    self._count_request(endpoint, taken_at)
                else:
                    self.pacer.release(endpoint, taken_at)
                raise
            self._count_request(endpoint, taken_at)
            self.timing = Timing(sent, self._clock(), _get_header(answer, "Date"))
            self.on_answer(request, answer)
            try:
                return self._interpret_answer(request, answer)
            except RateLimited as error:
                rate_limited_count += 1
                # Use only the first Retry-After. A wrong value could repeat forever.
                wait = error.retry_after if rate_limited_count == 1 else None
                self.pacer.close_budget(endpoint, WINDOW_SECONDS if wait is None else wait)

    def _count_request(self, endpoint: Endpoint, taken_at: float) -> None:
        self.request_count += 1
        self.pacer.record_answer(endpoint, taken_at)

    def _interpret_answer(self, request: Request, answer: Answer) -> Any:
        status = answer.status
        if 200 <= status < 300:
            return self._parse_json(answer.body)
        if status == 401:
            self._raise_keys_refused(answer)
        if status == 429:
            raise RateLimited(_parse_retry_after(_get_header(answer, "Retry-After"), self._clock()))
        if 300 <= status < 500 and status != 408:
            raise Refused(status, self._describe_body(answer.body), str(request), _get_message(answer.body) is not None)
        raise Unclear(
            f"the exchange answered {request} with HTTP {status}{format_quote(self._describe_body(answer.body))}"
        )

    def _parse_json(self, body: bytes) -> Any:
        """Return the JSON value of a body. Numbers with a fraction are Decimals."""
        try:
            return self._clean(
                json.loads(body, parse_float=Decimal, parse_int=parse_integer, parse_constant=_reject_constant)
            )
        except (ValueError, ArithmeticError, RecursionError):
            raise Unclear(f"the exchange's answer is not JSON{format_quote(self._describe_body(body))}") from None

    def _describe_body(self, body: bytes) -> str:
        """Return the message of a body on one line. Without a message, return its text without markup."""
        message = _get_message(body)
        if message is not None:
            return to_one_line(self._clean(message))
        # Remove secrets before the text is shortened.
        text = self._clean(body.decode("utf-8", "replace"))[:_MAX_TEXT_CHARACTERS]
        return to_one_line(re.sub(r"(?is)<(script|style)\b.*?(</\1>|$)|<[^>]*>?", " ", text))

    def _raise_keys_refused(self, answer: Answer) -> NoReturn:
        refusal = f"the exchange refused the keys (HTTP 401{format_quote(self._describe_body(answer.body))})"
        if not self.pair_matches():
            raise KeysRefused(f"{refusal}: secret_key and api_key are not a pair: copy both from the same pair")
        offset = get_clock_offset(_get_header(answer, "Date"), self._clock())
        if offset is not None and abs(offset) > MAX_SKEW_SECONDS:
            direction = "ahead of" if offset > 0 else "behind"
            raise KeysRefused(
                f"{refusal}: the clock of this machine is {abs(offset):.0f} s {direction} the clock of the exchange, "
                f"which accepts at most {MAX_SKEW_SECONDS:.0f} s: synchronize the clock (NTP)"
            )
        clock = (
            "the clock is correct" if offset is not None else "the clock was not checked (the answer has no valid date)"
        )
        raise KeysRefused(
            f"{refusal}: the keys are a pair and {clock}, so the pair may have been replaced or revoked (a new pair "
            "revokes the old one): create a new pair and use both of its keys"
        )


def _ignore_answer(request: Request, answer: Answer) -> None:
    """Do nothing."""


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _get_message(body: bytes) -> str | None:
    """Return the field `message` of a body, or None without one. Each error of the API has this field."""
    try:
        value = json.loads(body, parse_int=parse_integer)
    except (ValueError, RecursionError):
        return None
    message = value.get("message") if isinstance(value, dict) else None
    return message if isinstance(message, str) else None


def format_quote(text: str) -> str:
    """Return a text of the exchange as the end of a message. Empty if there is no text."""
    return f': "{text}"' if text else ""


def to_one_line(text: str) -> str:
    """Return the text on one line, without control characters, and not too long."""
    line = " ".join(to_printable(text[:_MAX_TEXT_CHARACTERS]).split())
    return line if len(line) <= _MAX_MESSAGE_CHARACTERS else line[:_MAX_MESSAGE_CHARACTERS] + "..."


def _get_header(answer: Answer, name: str) -> str:
    return next((value for key, value in answer.headers.items() if key.lower() == name.lower()), "")


def _parse_http_time(text: str) -> float | None:
    from email.utils import parsedate_to_datetime

    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def get_clock_offset(date: str, now: float) -> float | None:
    """Return how many seconds this machine is ahead of the `Date` header of an answer. None without a valid header."""
    exchange_time = _parse_http_time(date)
    return None if exchange_time is None else now - exchange_time


def _parse_retry_after(text: str, now: float) -> float | None:
    """Return the seconds of a Retry-After header, at least 1. None if the value is not valid, or above five minutes."""
    if re.fullmatch(r"[0-9]{1,9}", text):
        seconds: float | None = float(text)
    else:
        exchange_time = _parse_http_time(text)
        seconds = None if exchange_time is None else exchange_time - now
    return max(1.0, seconds) if seconds is not None and 0.0 <= seconds <= MAX_CLOSURE_SECONDS else None
