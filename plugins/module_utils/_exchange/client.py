# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request to the exchange: wait for the rate limit, send, interpret the response, and retry if that is safe.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import time
from decimal import Decimal
from typing import Any, Callable, Iterator, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import errors, pacing
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import text as _text
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import transport as _transport
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import VALIDATE, Endpoint
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.signing import KeyPair

# The exchange refuses a request if the clock differs by more than this (the signing page of the API).
MAX_SKEW_SECONDS = 60.0
_FIRST_PAUSE_SECONDS = 0.5
_MAX_PAUSE_SECONDS = 8.0
# How JSON is parsed: numbers with a fraction are Decimals. int() refuses NaN and Infinity, which are not JSON.
_NUMBERS: dict[str, Any] = {"parse_float": Decimal, "parse_int": _text.parse_integer, "parse_constant": int}


class Timing(NamedTuple):
    """The times of a request.

    Attributes:
        sent: When the request was sent, in Unix seconds of this machine.
        received: When the response was complete, in Unix seconds of this machine.
        date: The `Date` header of the response.
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
        transport: Sends one request, and returns the response.
        pacer: Waits for the rate limits.
        retries: The maximum number of times to retry a read that gets no valid response.
        describe_pair: Returns what the two keys show without a request.
        clean: Removes secrets from what the exchange sends. It is called before a text is shortened, because half of a
            secret would not be found.
        clock: Returns the time in Unix seconds.
        sleep: Sleeps for some seconds.

    Attributes:
        real_pacer: Waits for the rate limits.
        pacer: What is used for the next requests: `real_pacer`, or a preview of it in check mode.
        request_count: How many requests were sent.
        timing: The times of the last response. Zeros before the first one.
        status: The HTTP status of the last response. Zero before the first one.
        sleep: Sleeps for some seconds that are not a wait for a rate limit.
        on_response: Called with each request and its response, before the response is interpreted.
    """

    def __init__(
        self,
        transport: _transport.Transport,
        pacer: pacing.Pacer,
        retries: int,
        describe_pair: Callable[[], KeyPair],
        clean: Callable[[Any], Any],
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = transport
        self.real_pacer = pacer
        self.pacer: pacing.Pacer | pacing.Preview = pacer
        self.retries = retries
        self.describe_pair = describe_pair
        self._clean = clean
        self._clock = clock
        self.sleep = sleep
        self.request_count = 0
        self.timing = Timing(0.0, 0.0, "")
        self.status = 0
        self.on_response: Callable[[_transport.Request, _transport.Response], None] = lambda request, response: None

    def request(
        self, endpoint: Endpoint, params: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None
    ) -> Any:
        """Send a request, and return the JSON value of the response.

        A read is retried if it gets no valid response, and waits for its rate limit, also after HTTP 429. A read with
        refused keys is repeated once. A write is sent only once, and never waits: the caller must decide with fresh
        evidence.

        Raises:
            Unclear: There is no valid response.
            Unreachable: There is no connection.
            Refused: The request was refused.
            KeysRefused: The exchange refused the keys. For a read, the message says why.
            BudgetSpent: The rate limit of a read requires a longer wait than the task can wait.
            MustWait: The rate limit of a write requires a wait.
            RateLimited: The exchange refused a write with HTTP 429.
        """
        json_body = None if body is None else json.dumps(body)
        http_request = _transport.Request(endpoint.method, endpoint.path, params or {}, json_body)
        if endpoint.writes:
            return self._send(endpoint, http_request, self.pacer.take_now(endpoint))
        try:
            return self._read(endpoint, http_request)
        except errors.KeysRefused as refusal:
            # One refusal can be an accident. The next request is signed with a new time.
            try:
                return self._read(endpoint, http_request)
            except (errors.KeysRefused, errors.BudgetSpent):
                text = f"{refusal} {self._find_cause_of_refused_keys(endpoint)}"
                raise errors.KeysRefused(text, refusal.exchange_message, refusal.is_from_api) from None

    def _read(self, endpoint: Endpoint, request: _transport.Request) -> Any:
        """Send a read, and retry it if it gets no valid response or no connection."""
        attempt = 0
        while True:
            try:
                return self._send(endpoint, request, self.pacer.take(endpoint))
            except errors.RateLimited:
                # The pacer knows the refusal, so the next `take` waits.
                continue
            except errors.CoinSwitchError as error:
                attempt += 1
                if not error.can_retry or attempt > self.retries:
                    raise
                self.sleep(get_pause(attempt))

    def now_ms(self) -> int:
        """Return the time of this machine in Unix milliseconds, the unit of the API."""
        return int(self._clock() * 1000)

    def reset_connection(self) -> None:
        """Use a new connection from now on, because the old one can still deliver an earlier response."""
        self._transport.reset_connection()

    @contextlib.contextmanager
    def allow_after_end(self, seconds: float) -> Iterator[None]:
        """Send requests for some seconds even if the task has ended, and wait for rate limits as long.

        Only a request that undoes what the task did may be sent in this time.
        """
        pacer = self.real_pacer
        max_wait, pacer.max_wait = pacer.max_wait, pacer.waited + seconds
        try:
            with self._transport.allow_after_end(seconds):
                yield
        finally:
            pacer.max_wait = max_wait

    def close(self) -> None:
        """Prevent all further requests, because the task has ended."""
        self._transport.close()

    def _send(self, endpoint: Endpoint, request: _transport.Request, taken_at: float) -> Any:
        """Send a request that the pacer has taken, and return the JSON value of the response."""
        sent = self._clock()
        try:
            response = self._transport(request)
        except BaseException:
            if self._transport.sent:
                self._count_request(endpoint, taken_at, accepted=False)
            else:
                self.pacer.release(endpoint, taken_at)
            raise
        self._count_request(endpoint, taken_at, accepted=response.status != 429)
        self.timing = Timing(sent, self._clock(), response.headers.get("Date", ""))
        self.status = response.status
        self.on_response(request, response)
        if response.status == 429:
            retry_after = _parse_retry_after(response.headers.get("Retry-After", ""), self._clock())
            self.pacer.handle_refusal(endpoint, retry_after)
            raise errors.RateLimited
        return self._interpret_response(request, response)

    def _count_request(self, endpoint: Endpoint, taken_at: float, accepted: bool) -> None:
        self.request_count += 1
        self.pacer.record_response(endpoint, taken_at, accepted)

    def _interpret_response(self, request: _transport.Request, response: _transport.Response) -> Any:
        status = response.status
        if response.headers.get("Age"):
            raise errors.Unclear(
                f"A cache answered {request} instead of the exchange (the response has the header Age). "
                "Check the proxy.",
                status,
            )
        if 200 <= status < 300:
            return self._parse_json(response)
        text = self._describe_body(response.body)
        quote = errors.format_quote(text)
        is_from_api = _get_message(response.body) is not None
        if status == 401:
            raise errors.KeysRefused(f"The exchange refused the keys with HTTP 401{quote}.", text, is_from_api)
        if 300 <= status < 500 and status != 408:
            raise errors.Refused(status, text, str(request), is_from_api)
        raise errors.Unclear(f"The exchange answered {request} with HTTP {status}{quote}.", status)

    def _parse_json(self, response: _transport.Response) -> Any:
        """Return the JSON value of a body."""
        try:
            return self._clean(json.loads(response.body, object_pairs_hook=self._to_object, **_NUMBERS))
        except (ValueError, ArithmeticError, RecursionError):
            quote = errors.format_quote(self._describe_body(response.body))
            raise errors.Unclear(
                f"The response of the exchange is not JSON{quote}. Check api_url and the proxy.", response.status
            ) from None

    def _to_object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        """Return an object of a response. Raise Unclear if a key repeats: programs differ in which value they use."""
        result: dict[str, Any] = {}
        for name, value in pairs:
            if name in result:
                shown = _text.to_one_line(self._clean(name))
                raise errors.Unclear(f"The response repeats the key {shown!r}, so it is ambiguous.", self.status)
            result[name] = value
        return result

    def _describe_body(self, body: bytes) -> str:
        """Return the message of a body on one line. Without a message, return its text without markup."""
        message = _get_message(body)
        if message is not None:
            return _text.to_one_line(self._clean(message))
        # Remove secrets before the text is shortened.
        text = self._clean(body.decode("utf-8", "replace"))[: _text.MAX_CHARACTERS]
        return _text.to_one_line(re.sub(r"(?is)<(script|style)\b.*?(</\1>|$)|<[^>]*>?", " ", text))

    def _find_cause_of_refused_keys(self, endpoint: Endpoint) -> str:
        pair = self.describe_pair()
        for (fact, value), advice in _ADVICE_ON_PAIRS.items():
            if getattr(pair, fact) is value:
                return advice
        offset = get_clock_offset(self.timing.date, self.timing.received)
        if offset is not None and abs(offset) > MAX_SKEW_SECONDS:
            direction = "ahead of" if offset > 0 else "behind"
            return (
                f"The clock of this machine is {abs(offset):.0f} s {direction} the clock of the exchange. It accepts "
                f"at most {MAX_SKEW_SECONDS:.0f} s. Synchronize the clock (NTP)."
            )
        return _CAUSES_OF_REFUSED_KEYS[self._are_keys_valid(endpoint)]

    def _are_keys_valid(self, endpoint: Endpoint) -> bool | None:
        """Return whether the exchange accepts the keys elsewhere (Validate keys). None if that is not known."""
        if endpoint is VALIDATE:
            return False
        try:
            self._read(VALIDATE, _transport.Request(VALIDATE.method, VALIDATE.path, {}, None))
        except errors.KeysRefused:
            return False
        except errors.CoinSwitchError:
            return None
        return True


# By the facts about the two keys, the most certain first.
_ADVICE_ON_PAIRS = {
    ("is_swapped", True): "api_key and secret_key are swapped. Put each one in the place of the other.",
    ("is_same", True): "api_key and secret_key are the same key. Copy both keys of the pair.",
    ("matches", False): "secret_key and api_key are not a pair. Copy both from the same pair.",
    ("has_upper_case", True): "api_key has upper-case letters, but the exchange shows it in lower case. Copy it again.",
}
# By the response of Validate keys. A new pair revokes the old one at once, in every program that uses it.
_CAUSES_OF_REFUSED_KEYS: dict[bool | None, str] = {
    False: (
        "The keys are a pair, but the exchange accepts them nowhere. The pair may have been replaced or revoked. Use "
        "the current pair of the account. If there is none, create a new pair. That stops every other program of the "
        "account."
    ),
    True: (
        "The exchange accepts these keys for other requests (Validate keys), but not for futures. Do not create a "
        "new pair. Ask the support of the exchange whether futures are enabled for this account."
    ),
    None: "The keys are a pair, and it is not known whether the exchange accepts them elsewhere. Run api_key_info.",
}


def get_pause(attempt: int) -> float:
    """Return the seconds of the pause before a retry: more each time.

    The random part keeps processes from retrying together.
    """
    longest = min(_MAX_PAUSE_SECONDS, _FIRST_PAUSE_SECONDS * 2.0 ** (attempt - 1))
    return longest * random.uniform(0.5, 1.0)


def _get_message(body: bytes) -> str | None:
    """Return the field `message` of a body, or None without one."""
    try:
        return find_message(json.loads(body, parse_int=_text.parse_integer))
    except (ValueError, RecursionError):
        return None


def find_message(value: Any) -> str | None:
    """Return the field `message` of a JSON value, or None without one. Each error of the API has this field."""
    message = value.get("message") if isinstance(value, dict) else None
    return message if isinstance(message, str) else None


def get_clock_offset(date: str, now: float) -> float | None:
    """Return how many seconds this machine is ahead of the `Date` header of a response. None without a valid header."""
    from email.utils import parsedate_to_datetime

    try:
        return now - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, IndexError, OverflowError):
        return None


def _parse_retry_after(text: str, now: float) -> float | None:
    """Return the seconds of a Retry-After header, at least 1. None if the value is not valid, or above five minutes."""
    # The header contains seconds or a time.
    offset = -float(text) if re.fullmatch(r"[0-9]{1,9}", text) else get_clock_offset(text, now)
    return max(1.0, -offset) if offset is not None and 0.0 <= -offset <= pacing.MAX_CLOSURE_SECONDS else None
