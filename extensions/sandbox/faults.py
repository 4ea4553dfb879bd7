# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong on purpose: a fault is a value, composed of what happens to one request and its answer."""

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
    """An answer before it becomes bytes. `value` is a JSON value, or text or bytes that go out as they are."""

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
    """What happens to a request: parts that compose; with none, it is answered as usual. Times are seconds."""

    status: int | None = None
    """Answer with this status instead, with `body` or the usual envelope."""
    body: Any = None
    """Answer with this instead: bytes or text as they are, anything else as JSON."""
    redirect: str | None = None
    """Answer with a redirect to this address instead: 307, or `status`."""
    worked: bool = False
    """Where the answer is replaced: whether the request was carried out all the same."""
    headers: Mapping[str, str | None] = field(default_factory=dict)
    """Headers to add or replace; None takes one away."""
    transform: Callable[[Any], Any] | None = None
    """Makes another JSON value of an answer of status 200."""
    echo_keys: bool = False
    """Put the X-AUTH headers of the request, in several spellings, into the answer's headers and message."""
    echo_text: str = ""
    """More text to put there."""
    skew: float = 0.0
    """How far the exchange's clock is ahead."""
    drop: Literal["before", "after", "body"] | None = None
    """Close the connection: before the work, after it without an answer, or in the middle of the body."""
    delay: float = 0.0
    """Wait before the answer."""
    late: bool = False
    """The work itself is done only after the delay."""
    drip: float = 0.0
    """Wait between single bytes of what `drip_in` names."""
    drip_in: Literal["headers", "body"] = "body"
    size: int = 0
    """Pad the body with blanks to this many bytes."""
    endless: bool = False
    """Pad the body with blanks without end."""
    gzip: bool = False
    """Compress the body on its way, padding included."""
    twice: bool = False
    """Send the answer twice."""

    @property
    def replaces(self) -> bool:
        return self.status is not None or self.body is not None or self.redirect is not None

    @property
    def works(self) -> bool:
        """Whether the request is carried out."""
        return self.drop != "before" and (self.worked or not self.replaces)

    def applied_to(self, answer: Answer, request_headers: Mapping[str, str]) -> Answer:
        """What goes out in place of `answer`; `request_headers` have names in lower case."""
        if self.replaces:
            answer = self._replacement()
        elif self.transform and answer.status == 200:
            answer = replace(answer, value=self.transform(answer.value))
        if self.echo_keys or self.echo_text:
            answer = self._echo(answer, request_headers)
        return replace(answer, headers={**answer.headers, **self.headers})

    def _replacement(self) -> Answer:
        status = self.status or (307 if self.redirect else 200)
        body = {"message": _phrase(status)} if self.body is None else self.body
        return Answer(status, body, {"Location": self.redirect} if self.redirect else {})

    def _echo(self, answer: Answer, request_headers: Mapping[str, str]) -> Answer:
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


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"


def _with_data(**changes: Any) -> Callable[[Any], Any]:
    """A lie about single fields of `data`, where the answer has such an object."""

    def lie(value: Any) -> Any:
        data = value.get("data")
        return {**value, "data": {**data, **changes}} if isinstance(data, dict) else value

    return lie


_PAGE = "<html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_STATUSES = (400, 401, 403, 404, 409, 422, 429, 500, 502, 503, 504)
_NEVER = 86_400.0

# Ready-made ones, for the terminal and for test matrices: replace() fits a delay or a status to the occasion.
FAULTS: dict[str, Fault] = {
    **{str(status): Fault(status=status) for status in _STATUSES},
    **{f"{status}-html": Fault(status=status, body=_PAGE.format(_phrase(status))) for status in _STATUSES},
    **{f"{status}-empty": Fault(status=status, body="") for status in _STATUSES},
    **{f"{status}-done": Fault(status=status, worked=True) for status in _STATUSES},
    "429-retry-after": Fault(status=429, headers={"Retry-After": "1"}),
    "429-absurd": Fault(status=429, headers={"Retry-After": "99999999999999999999"}),
    "429-negative": Fault(status=429, headers={"Retry-After": "-5"}),
    "429-garbage": Fault(status=429, headers={"Retry-After": "soon"}),
    "drop-before": Fault(drop="before"),
    "drop-after": Fault(drop="after"),
    "cut-body": Fault(drop="body"),
    "timeout": Fault(delay=_NEVER),
    "timeout-undone": Fault(delay=_NEVER, status=504),
    "late": Fault(delay=15.0, late=True),
    "slow": Fault(delay=2.0),
    "slow-headers": Fault(drip=1.0, drip_in="headers"),
    "slow-body": Fault(drip=1.0),
    "endless": Fault(endless=True),
    "bomb": Fault(size=1 << 30),
    "gzip-bomb": Fault(size=1 << 30, gzip=True),
    "large": Fault(size=3_000_000),
    "empty": Fault(body="", worked=True),
    "html": Fault(body=_PAGE.format("Checking your browser"), worked=True),
    "garbage": Fault(body=b"\x00\xff\xfe{]", worked=True),
    "null": Fault(body="null", worked=True),
    "list": Fault(body=[], worked=True),
    "no-data": Fault(body={"message": "Done"}, worked=True),
    "nested": Fault(body="[" * 200_000, worked=True),
    "nan": Fault(transform=_with_data(leverage=float("nan"))),
    "other-leverage": Fault(transform=_with_data(leverage="3")),
    "other-symbol": Fault(transform=_with_data(symbol="DOGEUSDT")),
    "data-null": Fault(transform=lambda value: {**value, "data": None}),
    "echo-keys": Fault(status=400, echo_keys=True),
    "redirect": Fault(redirect="/trade/api/v2/time"),
    "redirect-away": Fault(redirect="http://127.0.0.1:9/"),
    "twice": Fault(twice=True),
    "clock-ahead": Fault(skew=300.0),
    "clock-behind": Fault(skew=-300.0),
}
