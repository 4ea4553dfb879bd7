# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One question to the exchange: paced, asked, its answer judged, asked again where that is safe.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import json
import random
import re
import time
from decimal import Decimal
from typing import Any, Callable, Mapping, NamedTuple, NoReturn

from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import (
    BudgetSpent,
    KeysRefused,
    RateLimited,
    Refused,
    Unclear,
    Unreachable,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._pacing import (
    MAX_CLOSURE_SECONDS,
    WINDOW_SECONDS,
    Endpoint,
    Pacer,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._progress import Progress
from ansible_collections.tradeops.coinswitch.plugins.module_utils._transport import Answer, Request, Transport

# The exchange refuses requests if the clock differs by more than this (signing page of the API).
MAX_SKEW_SECONDS = 60.0
_MAX_TEXT_CHARACTERS = 64 << 10
_MAX_MESSAGE_CHARACTERS = 300
_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 8.0


class Timing(NamedTuple):
    """When a request was sent and its answer was there, in Unix seconds of this machine; and the answer's `Date`."""

    sent: float
    received: float
    date: str

    @property
    def midpoint(self) -> float:
        """When the exchange looked at its clock, as near as can be returned."""
        return (self.sent + self.received) / 2


class Client:
    """Asks the exchange. Every attempt is signed anew, by the transport's authentication.

    pair_matches() says whether the two keys are a pair; clean(value) takes the secrets out of what the exchange sends,
    before anything is cut to a length; clock() gives Unix seconds; retries is how often a read that got no clear answer
    is asked again. `requests` counts what was sent; `timing` is that of the last answer, zeros before the first.
    `observer` is called with each request and its answer as they are, before the answer is judged.
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
        self.progress = Progress()
        self.timing = Timing(0.0, 0.0, "")
        self.on_answer: Callable[[Request, Answer], None] = _ignore_answer

    def request(
        self, endpoint: Endpoint, params: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Any:
        """The answer's JSON value. A read is asked again where its answer is unclear, a write never: read first.

        Raises Unclear, Refused, KeysRefused, BudgetSpent or Unexpected.
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
        """This machine's time in Unix milliseconds, as the exchange counts it."""
        return int(self._clock() * 1000)

    def reset_connection(self) -> None:
        """Ask over a new connection from now on: what the old one may still bring answers an earlier question."""
        self._transport.reset_connection()

    def close(self) -> None:
        """Send nothing any more: the task has ended."""
        self._transport.close()

    def pause(self, attempt: int) -> None:
        """Wait before the attempt after this one: longer each time, and never in step with other processes."""
        self._sleep(min(_MAX_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2 ** (attempt - 1)) * random.uniform(0.5, 1.0))

    def _send_paced(self, endpoint: Endpoint, request: Request) -> Any:
        """Ask until the rate limit lets it through, or the task may wait no longer."""
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
                # Follow a Retry-After once. A wrong value could repeat forever.
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
        """The JSON value of a body, numbers with a fraction as Decimal."""
        try:
            return self._clean(json.loads(body, parse_float=Decimal, parse_constant=_reject_constant))
        except (ValueError, ArithmeticError, RecursionError):
            raise Unclear(f"the exchange's answer is not JSON{format_quote(self._describe_body(body))}") from None

    def _describe_body(self, body: bytes) -> str:
        """What a body says to a person, in one line: the envelope's message, else its text without the markup."""
        message = _get_message(body)
        if message is not None:
            return to_one_line(self._clean(message))
        # Remove secrets before cutting: half of a secret would not be found.
        text = self._clean(body.decode("utf-8", "replace"))[:_MAX_TEXT_CHARACTERS]
        return to_one_line(re.sub(r"(?is)<(script|style)\b.*?(</\1>|$)|<[^>]*>?", " ", text))

    def _raise_keys_refused(self, answer: Answer) -> NoReturn:
        refusal = f"the exchange refused the keys (HTTP 401{format_quote(self._describe_body(answer.body))})"
        if not self.pair_matches():
            raise KeysRefused(
                f"{refusal}: secret_key does not belong to api_key (its public key is another one); "
                "take both from the same pair"
            )
        offset = get_clock_offset(_get_header(answer, "Date"), self._clock())
        if offset is not None and abs(offset) > MAX_SKEW_SECONDS:
            direction = "ahead of" if offset > 0 else "behind"
            raise KeysRefused(
                f"{refusal}: the clock of this machine is {abs(offset):.0f} s {direction} the exchange's, and more "
                f"than {MAX_SKEW_SECONDS:.0f} s is refused; set the clock right (NTP)"
            )
        clock = "the clock is right" if offset is not None else "the answer has no time to compare the clock with"
        raise KeysRefused(
            f"{refusal}: the keys are a pair and {clock}, so the pair may have been replaced or revoked (a new pair "
            "ends the old one); make a new pair and use both of its keys"
        )


def _ignore_answer(request: Request, answer: Answer) -> None:
    """The observer of a client that nobody observes."""


def _reject_constant(name: str) -> NoReturn:
    raise ValueError(name)


def _get_message(body: bytes) -> str | None:
    """The message of the API's envelope, if the body is one."""
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    message = value.get("message") if isinstance(value, dict) else None
    return message if isinstance(message, str) else None


def format_quote(text: str) -> str:
    """The exchange's words as a message goes on with them; nothing where it said nothing."""
    return f': "{text}"' if text else ""


def to_one_line(text: str) -> str:
    """The text on one line, without control characters, and of a length that can be read."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text[:_MAX_TEXT_CHARACTERS]).split())
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
    """Seconds that this machine's clock is ahead of the `Date` of an answer (whole seconds); None without one."""
    exchange_time = _parse_http_time(date)
    return None if exchange_time is None else now - exchange_time


def _parse_retry_after(text: str, now: float) -> float | None:
    """The seconds (at least 1) of a Retry-After, a number or a date, if they are sane: up to five minutes."""
    if re.fullmatch(r"[0-9]{1,9}", text):
        seconds: float | None = float(text)
    else:
        exchange_time = _parse_http_time(text)
        seconds = None if exchange_time is None else exchange_time - now
    return max(1.0, seconds) if seconds is not None and 0.0 <= seconds <= MAX_CLOSURE_SECONDS else None
