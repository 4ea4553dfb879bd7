# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults: what goes wrong on purpose with a request and its answer."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import quote


@dataclass(frozen=True)
class Answer:
    """An HTTP answer. `value` is a JSON value, or text or bytes that are sent unchanged."""

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
    """What goes wrong with a request. All fields can be combined. Without any, the answer is the usual one.

    Times are in seconds.
    """

    status: int | None = None
    """Replace the answer by one with this status. Its body is `body`, or an object with a message."""
    body: Any = None
    """Replace the answer by one with this body: text and bytes unchanged, anything else as JSON."""
    redirect: str | None = None
    """Replace the answer by a redirect to this URL. Its status is `status`, or 307."""
    worked: bool = False
    """Whether the request is carried out although the answer is replaced."""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    """Headers to add or to replace. None removes a header."""
    transform: Callable[[Any], Any] | None = None
    """Change the JSON value of an answer with status 200."""
    echo_keys: bool = False
    """Add the X-AUTH headers of the request, in several spellings, to the message and the headers of the answer."""
    echo_text: str = ""
    """Add this text, in several spellings, to the same places."""
    skew: float = 0.0
    """How far the clock of the exchange is ahead."""
    drop: Literal["before", "after", "body"] | None = None
    """Close the connection: before the request is carried out, after that without an answer, or within the body."""
    delay: float = 0.0
    """Wait before the answer is sent."""
    late: bool = False
    """Carry out the request only after `delay`."""
    drip: float = 0.0
    """Wait after each byte of the part that `drip_in` names."""
    drip_in: Literal["headers", "body"] = "body"
    size: int = 0
    """Pad the body with spaces to this number of bytes."""
    endless: bool = False
    """Pad the body with spaces without end."""
    gzip: bool = False
    """Compress the body, including its padding."""
    twice: bool = False
    """Send the answer twice."""

    @property
    def replaces_answer(self) -> bool:
        return self.status is not None or self.body is not None or self.redirect is not None

    @property
    def works(self) -> bool:
        """Whether the request is carried out."""
        return self.drop != "before" and (self.worked or not self.replaces_answer)

    def apply_to(self, answer: Answer, request_headers: Mapping[str, str]) -> Answer:
        """Return the answer to send instead of `answer`. The names of the request headers are in lower case."""
        if self.replaces_answer:
            answer = self._create_replacement()
        elif self.transform and answer.status == 200:
            answer = replace(answer, value=self.transform(answer.value))
        if self.echo_keys or self.echo_text:
            answer = self._add_echo(answer, request_headers)
        return replace(answer, headers={**answer.headers, **self.headers})

    def _create_replacement(self) -> Answer:
        status = self.status or (307 if self.redirect else 200)
        body = {"message": _reason_phrase(status)} if self.body is None else self.body
        return Answer(status, body, {"Location": self.redirect} if self.redirect else {})

    def _add_echo(self, answer: Answer, request_headers: Mapping[str, str]) -> Answer:
        texts = [value for name, value in request_headers.items() if self.echo_keys and name.startswith("x-auth-")]
        texts += [self.echo_text] if self.echo_text else []
        echo = " ".join(spelling for text in texts for spelling in _spellings(text))
        value = answer.value
        if isinstance(value, dict):
            value = {**value, "message": f"{value.get('message', '')} {echo}"}
        elif isinstance(value, str):
            value += echo
        return replace(answer, value=value, headers={**answer.headers, "X-Echo": echo})


def _spellings(text: str) -> list[str]:
    return [text, text.upper(), quote(text), base64.b64encode(text.encode()).decode()]


def _reason_phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _replace_in_data(**changes: Any) -> Callable[[Any], Any]:
    """Return a function that replaces fields of `data` in the JSON value of an answer, if `data` is an object."""

    def transform(value: Any) -> Any:
        data = value.get("data")
        return {**value, "data": {**data, **changes}} if isinstance(data, dict) else value

    return transform


_HTML_PAGE = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_STATUSES = (400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 504)
# Longer than any client waits.
_ONE_DAY = 86_400.0

# The named faults, for the command line and for tests.
FAULTS: dict[str, Fault] = {
    **{str(status): Fault(status=status) for status in _STATUSES},
    **{f"{status}-html": Fault(status=status, body=_HTML_PAGE.format(_reason_phrase(status))) for status in _STATUSES},
    **{f"{status}-empty": Fault(status=status, body="") for status in _STATUSES},
    **{f"{status}-done": Fault(status=status, worked=True) for status in _STATUSES},
    "429-retry-after": Fault(status=429, headers={"Retry-After": "1"}),
    "429-absurd": Fault(status=429, headers={"Retry-After": "99999999999999999999"}),
    "429-negative": Fault(status=429, headers={"Retry-After": "-5"}),
    "429-garbage": Fault(status=429, headers={"Retry-After": "soon"}),
    "drop-before": Fault(drop="before"),
    "drop-after": Fault(drop="after"),
    "cut-body": Fault(drop="body"),
    "timeout": Fault(delay=_ONE_DAY),
    "timeout-undone": Fault(delay=_ONE_DAY, status=504),
    "late": Fault(delay=15.0, late=True),
    "slow": Fault(delay=2.0),
    "slow-headers": Fault(drip=1.0, drip_in="headers"),
    "slow-body": Fault(drip=1.0),
    "endless": Fault(endless=True),
    "bomb": Fault(size=1 << 30),
    "gzip-bomb": Fault(size=1 << 30, gzip=True),
    "large": Fault(size=3_000_000),
    "empty": Fault(body="", worked=True),
    "html": Fault(body=_HTML_PAGE.format("Checking your browser"), worked=True),
    "garbage": Fault(body=b"\x00\xff\xfe{]", worked=True),
    "null": Fault(body="null", worked=True),
    "list": Fault(body=[], worked=True),
    "no-data": Fault(body={"message": "Done"}, worked=True),
    "nested": Fault(body="[" * 200_000, worked=True),
    "nan": Fault(transform=_replace_in_data(leverage=float("nan"))),
    "other-leverage": Fault(transform=_replace_in_data(leverage="3")),
    "other-symbol": Fault(transform=_replace_in_data(symbol="DOGEUSDT")),
    "data-null": Fault(transform=lambda value: {**value, "data": None}),
    "echo-keys": Fault(status=400, echo_keys=True),
    "redirect": Fault(redirect="/trade/api/v2/time"),
    "redirect-away": Fault(redirect="http://127.0.0.1:9/"),
    "twice": Fault(twice=True),
    "clock-ahead": Fault(skew=300.0),
    "clock-behind": Fault(skew=-300.0),
}

# What the help of the command `fault` says about each fault. STATUS stands for each of the statuses.
FAULT_HELP: dict[str, dict[str, str]] = {
    "faults that do not carry out the request": {
        "STATUS": f"answer with one of these HTTP statuses: {', '.join(map(str, _STATUSES))}",
        "STATUS-html": "the same, with an HTML page as the body",
        "STATUS-empty": "the same, with an empty body",
        "429-retry-after": 'answer 429 with "Retry-After: 1"',
        "429-absurd": 'answer 429 with "Retry-After: 99999999999999999999"',
        "429-negative": 'answer 429 with "Retry-After: -5"',
        "429-garbage": 'answer 429 with "Retry-After: soon"',
        "echo-keys": "answer 400 with the API key and the signature of the request in the message and in a header",
        "redirect": "redirect to /trade/api/v2/time",
        "redirect-away": "redirect to http://127.0.0.1:9/",
        "drop-before": "close the connection without an answer",
        "timeout-undone": "do not answer (for one day)",
        "clock-ahead": "use a clock that is 300 s ahead, so that signed requests are refused",
        "clock-behind": "use a clock that is 300 s behind, so that signed requests are refused",
    },
    "faults that carry out the request": {
        "STATUS-done": "answer with one of the HTTP statuses above",
        "drop-after": "close the connection without an answer",
        "cut-body": "close the connection in the middle of the body",
        "timeout": "do not answer (for one day)",
        "slow": "answer after 2 s",
        "late": "carry out the request and answer only after 15 s",
        "slow-headers": "send one byte of the headers per second",
        "slow-body": "send one byte of the body per second",
        "twice": "send the answer twice",
        "large": "pad the body with spaces to 3 MB",
        "bomb": "pad the body with spaces to 1 GiB",
        "gzip-bomb": "pad the body with spaces to 1 GiB, and compress it",
        "endless": "pad the body with spaces without end",
        "empty": "send an empty body",
        "html": "send an HTML page with status 200",
        "garbage": "send bytes that are not text",
        "nested": "send 200,000 opening brackets",
        "null": "send the JSON value null",
        "list": "send an empty JSON list",
        "no-data": 'send {"message": "Done"}',
        "data-null": 'send the usual answer with "data": null',
        "nan": 'send the usual answer with "leverage": NaN',
        "other-leverage": "send the usual answer with the leverage 3",
        "other-symbol": "send the usual answer with the symbol DOGEUSDT",
    },
}
