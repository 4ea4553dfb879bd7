# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults: what goes wrong on purpose with a request and its response."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http.client import responses
from typing import Any, Literal
from urllib.parse import quote

Transform = Callable[[Any], Any]


@dataclass(frozen=True)
class Response:
    """An HTTP response. `value` is a JSON value, or text or bytes that are sent unchanged."""

    status: int
    value: Any
    headers: Mapping[str, str | None] = field(default_factory=dict)

    @property
    def body(self) -> bytes:
        if isinstance(self.value, bytes):
            return self.value
        return (self.value if isinstance(self.value, str) else json.dumps(self.value)).encode()

    @property
    def content_type(self) -> str:
        return "text/html" if self.body.startswith(b"<") else "application/json"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with a request. All fields can be combined. Without any, the response is the usual one.

    Times are in seconds.

    Attributes:
        status: Replace the response by one with this status. Its body is `body`, or an object with a message.
        body: Replace the response by one with this body: text and bytes unchanged, anything else as JSON.
        redirect: Replace the response by a redirect to this URL. Its status is `status`, or 307.
        worked: Whether the request is carried out although the response is replaced.
        later: Carry out the request only after this many later requests were answered. The response is sent at once.
        sets_maximum: Carry out a write of a leverage with the maximum of the symbol instead of the requested leverage.
        burst: Apply the fault only to a request to an endpoint that answered this many requests of the same key with
            another status than 429 within this many seconds.
        headers: Headers to add or to replace. None removes a header.
        transform: Change the JSON value of a response with status 200.
        echo_keys: Add the X-AUTH headers of the request, in several spellings, to the message and the headers of the
            response.
        echo_text: Add this text, in several spellings, to the same places.
        skew: How far the clock of the exchange is ahead.
        drop: Close the connection: before the request is carried out, after that without a response, or within the
            body.
        delay: Wait before the response is sent.
        late: Carry out the request only after `delay`.
        drip: Wait after each byte of the part that `drip_in` names.
        size: Pad the body with spaces to this number of bytes.
        endless: Pad the body with spaces without end.
        gzip: Compress the body, including its padding.
        twice: Send the response twice.
    """

    status: int | None = None
    body: Any = None
    redirect: str | None = None
    worked: bool = False
    later: int = 0
    sets_maximum: bool = False
    burst: tuple[int, float] | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    transform: Transform | None = None
    echo_keys: bool = False
    echo_text: str = ""
    skew: float = 0.0
    drop: Literal["before", "after", "body"] | None = None
    delay: float = 0.0
    late: bool = False
    drip: float = 0.0
    drip_in: Literal["headers", "body"] = "body"
    size: int = 0
    endless: bool = False
    gzip: bool = False
    twice: bool = False

    @property
    def replaces_response(self) -> bool:
        return self.status is not None or self.body is not None or self.redirect is not None

    @property
    def works(self) -> bool:
        """Whether the request is carried out, at once or later."""
        return self.drop != "before" and (self.worked or self.later > 0 or not self.replaces_response)

    def apply_to(self, response: Response, request_headers: Mapping[str, str]) -> Response:
        """Return the response to send instead of `response`. The names of the request headers are in lower case."""
        if self.replaces_response:
            response = self._create_replacement()
        elif self.transform and response.status == 200:
            response = replace(response, value=self.transform(response.value))
        if self.echo_keys or self.echo_text:
            response = self._add_echo(response, request_headers)
        return replace(response, headers={**response.headers, **self.headers})

    def _create_replacement(self) -> Response:
        status = self.status or (307 if self.redirect else 200)
        body = {"message": responses.get(status, "Unknown")} if self.body is None else self.body
        return Response(status, body, {"Location": self.redirect} if self.redirect else {})

    def _add_echo(self, response: Response, request_headers: Mapping[str, str]) -> Response:
        texts = [value for name, value in request_headers.items() if self.echo_keys and name.startswith("x-auth-")]
        texts += [self.echo_text] if self.echo_text else []
        echo = " ".join(spelling for text in texts for spelling in _spellings(text))
        value = response.value
        if isinstance(value, dict):
            value = {**value, "message": f"{value.get('message', '')} {echo}"}
        elif isinstance(value, str):
            value += echo
        return replace(response, value=value, headers={**response.headers, "X-Echo": echo})


def _spellings(text: str) -> list[str]:
    return [text, text.upper(), quote(text), base64.b64encode(text.encode()).decode()]


def _replace_in_data(**changes: Any) -> Transform:
    """Return a function that replaces fields of `data` in the JSON value of a response, if `data` is an object."""
    return lambda v: {**v, "data": {**v["data"], **changes}} if isinstance(v.get("data"), dict) else v


def _rewrite_leverages(rewrite: Callable[[str, str], str]) -> Fault:
    """Return a fault that rewrites each leverage in the text of a response, also the limits of instruments.

    `rewrite` gets the JSON key with its colon, and the digits. It returns the text for both.
    """
    pattern = re.compile(r'("(?:m.._)?leverage": )"(\d+)"')
    return Fault(transform=lambda value: pattern.sub(lambda found: rewrite(found[1], found[2]), json.dumps(value)))


def _create_page(title: str) -> str:
    return f"<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>"


def _refuse_with_retry_after(value: str) -> tuple[Fault, str]:
    return Fault(status=429, headers={"Retry-After": value}), f'return 429 with "Retry-After: {value}"'


def _refuse_in_words(status: int, message: str) -> tuple[Fault, str]:
    return Fault(status=status, body={"message": message}), f'return {status} with only the message "{message}"'


_STATUSES = {
    "STATUS": (202, 400, 401, 403, 404, 405, 408, 409, 422, 429, 451, 500, 502, 503, 504),
    "REDIRECT": (301, 302, 303, 308),
}
# Longer than any client waits.
_ONE_DAY = 86_400.0
_BURST = (5, 10.0)
_FULL_WIDTH = {ord("0") + digit: 0xFF10 + digit for digit in range(10)}

# Each named fault with its help, by whether the request is carried out. A name with STATUS or REDIRECT stands for one
# fault for each of their statuses.
# fmt: off
FAULT_TABLE: Mapping[str, Mapping[str, tuple[Fault | Callable[[int], Fault], str]]] = {
    "faults that do not carry out the request": {
        "STATUS": (
            lambda status: Fault(status=status),
            f"respond with one of these HTTP statuses and a message: {', '.join(map(str, _STATUSES['STATUS']))}"),
        "STATUS-html": (
            lambda status: Fault(status=status, body=_create_page(responses.get(status, "Unknown"))),
            "the same with an HTML page as the body, as from a server in front of the API"),
        "STATUS-empty": (lambda status: Fault(status=status, body=""), "the same with an empty body"),
        "maintenance": _refuse_in_words(400, "The system is under maintenance"),
        "message-only": _refuse_in_words(200, "Leverage cannot be changed"),
        "429-retry-after": _refuse_with_retry_after("1"),
        "429-absurd": _refuse_with_retry_after("99999999999999999999"),
        "429-negative": _refuse_with_retry_after("-5"),
        "429-garbage": _refuse_with_retry_after("soon"),
        "burst": (Fault(status=429, burst=_BURST), "return 429 after 5 requests to the endpoint in 10 s"),
        "burst-retry-after": (
            Fault(status=429, burst=_BURST, headers={"Retry-After": "10"}),
            'the same with "Retry-After: 10"'),
        "echo-keys": (Fault(status=400, echo_keys=True), "return 400 and repeat the API key and the signature"),
        "redirect": (Fault(redirect="/trade/api/v2/time"), "redirect to /trade/api/v2/time with status 307"),
        "REDIRECT": (
            lambda status: Fault(redirect="/trade/api/v2/time", status=status),
            f"the same with one of these statuses: {', '.join(map(str, _STATUSES['REDIRECT']))}"),
        "redirect-away": (Fault(redirect="http://127.0.0.1:9/"), "redirect to http://127.0.0.1:9/"),
        "drop-before": (Fault(drop="before"), "close the connection without a response"),
        "timeout-undone": (Fault(delay=_ONE_DAY, status=504), "do not respond (for one day)"),
        "clock-ahead": (Fault(skew=300.0), "use a clock that is 300 s ahead, so that signed requests are refused"),
        "clock-behind": (Fault(skew=-300.0), "use a clock that is 300 s behind, so that signed requests are refused"),
    },
    "faults that carry out the request": {
        "STATUS-done": (lambda status: Fault(status=status, worked=True), "respond with one of the statuses above"),
        "REDIRECT-done": (
            lambda status: Fault(redirect="/trade/api/v2/time", status=status, worked=True),
            "redirect to /trade/api/v2/time with one of the statuses above"),
        "drop-after": (Fault(drop="after"), "close the connection without a response"),
        "cut-body": (Fault(drop="body"), "close the connection in the middle of the body"),
        "timeout": (Fault(delay=_ONE_DAY), "do not respond (for one day)"),
        "slow": (Fault(delay=2.0), "respond after 2 s"),
        "late": (Fault(delay=15.0, late=True), "carry out the request, and respond only after 15 s"),
        "slow-headers": (Fault(drip=1.0, drip_in="headers"), "send one byte of the headers per second"),
        "slow-body": (Fault(drip=1.0), "send one byte of the body per second"),
        "twice": (Fault(twice=True), "send the response twice"),
        "large": (Fault(size=3_000_000), "pad the body with spaces to 3 MB"),
        "bomb": (Fault(size=1 << 30), "pad the body with spaces to 1 GiB"),
        "gzip-bomb": (Fault(size=1 << 30, gzip=True), "pad the body with spaces to 1 GiB, and compress it"),
        "endless": (Fault(endless=True), "pad the body with spaces without end"),
        "empty": (Fault(body="", worked=True), "send an empty body"),
        "html": (Fault(body=_create_page("Checking your browser"), worked=True), "send an HTML page with status 200"),
        "garbage": (Fault(body=b"\x00\xff\xfe{]", worked=True), "send bytes that are not text"),
        "nested": (Fault(body="[" * 200_000, worked=True), "send 200,000 opening brackets"),
        "null": (Fault(body="null", worked=True), "send the JSON value null"),
        "list": (Fault(body=[], worked=True), "send an empty JSON list"),
        "no-data": (Fault(body={"message": "Done"}, worked=True), 'send {"message": "Done"}'),
        "data-null": (Fault(transform=lambda value: {**value, "data": None}), 'send "data": null'),
        "nan": (Fault(transform=_replace_in_data(leverage=float("nan"))), 'send "leverage": NaN'),
        "repeated-keys": (
            _rewrite_leverages(lambda key, n: f'{key}"50", {key}"{n}"'),
            'repeat each leverage, first as "50"'),
        "underscore": (_rewrite_leverages(lambda key, n: f'{key}"{n[0]}_{n[1:]}"'), 'send each leverage as "1_0"'),
        "fraction": (_rewrite_leverages(lambda key, n: f'{key}"{n}.5"'), 'send each leverage as "10.5"'),
        "full-width": (
            _rewrite_leverages(lambda key, n: f'{key}"{n.translate(_FULL_WIDTH)}"'),
            "send each leverage with full-width digits"),
        "other-leverage": (Fault(transform=_replace_in_data(leverage="3")), "send the leverage 3"),
        "other-symbol": (Fault(transform=_replace_in_data(symbol="DOGEUSDT")), "send the symbol DOGEUSDT"),
        "nested-instruments": (
            Fault(transform=lambda value: {"data": {"EXCHANGE_2": value.get("data")}}),
            "send the instruments nested by exchange"),
        "cached": (Fault(headers={"Age": "7"}), 'send the header "Age: 7", as a shared cache does'),
        "clamp": (Fault(sets_maximum=True), "write_leverage only: set and send the maximum leverage of the symbol"),
    },
    "faults that carry out the request after the next requests": {
        "later": (Fault(later=1), "send the usual response, but carry out the request after the next request"),
        "later-2": (Fault(later=2), "send the usual response, but carry out the request after the next two requests"),
        "STATUS-later": (lambda status: Fault(status=status, later=1), "like later, with one of the statuses above"),
    },
}
# fmt: on


def _expand(name: str, fault: Fault | Callable[[int], Fault]) -> Mapping[str, Fault]:
    """Return the faults of a row: several if its name has a word in capital letters."""
    if isinstance(fault, Fault):
        return {name: fault}
    word = name.partition("-")[0]
    return {name.replace(word, str(status)): fault(status) for status in _STATUSES[word]}


_ROWS = [(row, maker) for rows in FAULT_TABLE.values() for row, (maker, _help) in rows.items()]
# The named faults, for the command line and for tests.
FAULTS: Mapping[str, Fault] = {name: fault for row, maker in _ROWS for name, fault in _expand(row, maker).items()}
