# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exchange: checks requests, counts them against the rate limits, applies faults and carries requests out.

It uses no sockets. The server is in `server.py`.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from threading import RLock
from typing import Any

from .accounts import Account
from .endpoints import ENDPOINTS, Call, Endpoint, Refusal
from .faults import Answer, Fault
from .instruments import Instrument, default_instruments, new_instrument
from .quirks import Quirks
from .rate_limits import DOCUMENTED_LIMITS, RateLimits
from .signatures import is_signed_by

# By how many seconds the clock of a client may differ.
EPOCH_TOLERANCE = 60.0
ENDPOINT_NAMES = (*(endpoint.name for endpoint in ENDPOINTS.values()), "*")


@dataclass
class Request:
    """A request as the exchange received it, and how the exchange answered it."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    """The JSON value of the body, bytes if the body is not JSON, None without a body."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """The headers. Their names are in lower case."""
    target: str = ""
    """The path and query as sent, which the signature covers."""
    address: str = "127.0.0.1"
    """The IP address of the client."""
    endpoint: str | None = None
    """The name of the endpoint, None for an unknown path or method."""
    account: str | None = None
    """The name of the account, None if the keys or the signature were refused."""
    status: int | None = None
    """The HTTP status of the answer, None without an answer."""
    at: float = 0.0
    """When the request was received, in seconds of the monotonic clock."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """The parameters, from the query of a GET request and from the body of any other."""
        if self.method == "GET":
            return self.query
        if not isinstance(self.body, dict):
            raise Refusal(400, "Malformed request body")
        return self.body

    @property
    def symbol(self) -> str | None:
        """The requested symbol in upper case."""
        source = self.body if isinstance(self.body, dict) else self.query
        symbol = source.get("symbol")
        return symbol.upper() if isinstance(symbol, str) else None


@dataclass
class _PlannedFault:
    """A fault and the requests that it applies to. `times` is how many are left, None for all."""

    endpoint: str
    symbol: str | None
    fault: Fault
    times: int | None

    def applies_to(self, request: Request) -> bool:
        return self.times != 0 and self.endpoint in ("*", request.endpoint) and self.symbol in (None, request.symbol)


def _do_not_wait(seconds: float) -> None:
    """Return at once. Only a server waits."""


class Exchange:
    """The state of the exchange: accounts, instruments, rate limits, quirks and faults.

    All methods are thread-safe.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        window: float = 60.0,
        limits: Mapping[str, int | None] | None = None,
        quirks: Quirks | None = None,
        rate_limits: bool = True,
    ) -> None:
        """Create an exchange without accounts.

        Args:
            clock: Returns the Unix time in seconds, for epochs and dates.
            monotonic: Returns the time in seconds, for rate limits.
            window: The window of the rate limits in seconds.
            limits: Requests per window by endpoint name, instead of the documented limits. None is no limit.
            quirks: How the exchange behaves where its documentation is not clear.
            rate_limits: Whether there are rate limits at all.
        """
        self.clock = clock
        self.monotonic = monotonic
        self.limits: dict[str, int | None] = {**DOCUMENTED_LIMITS, **(limits or {})} if rate_limits else {}
        self.quirks = quirks or Quirks()
        self.instruments: dict[str, Instrument] = default_instruments()
        self.accounts: list[Account] = []
        self.requests: list[Request] = []
        self.refused_by_rate_limit = 0
        self._rate_limits = RateLimits(window)
        self._faults: list[_PlannedFault] = []
        self._lock = RLock()

    def open_account(self, name: str = "desk", seed: bytes | None = None) -> Account:
        """Open an account and return it. `seed` is the 32-byte seed of its key pair, None for a random one.

        Raises:
            ValueError: An account with this name exists.
        """
        with self._lock:
            if any(account.name == name for account in self.accounts):
                raise ValueError(f"an account named {name} already exists; use another name")
            account = Account(name, seed, self.instruments, lambda: int(self.clock() * 1000), self._lock)
            self.accounts.append(account)
            return account

    def list_instrument(self, symbol: str, /, **fields: Any) -> None:
        """List a symbol, or change fields of a listed one, such as `min_leverage`, `max_leverage`, `leverage_step`."""
        with self._lock:
            symbol = symbol.upper()
            self.instruments[symbol] = {**self.instruments.get(symbol, new_instrument(symbol)), **fields}

    def list_many(self, total: int) -> None:
        """List made-up symbols until `total` symbols are listed."""
        for number in range(total - len(self.instruments)):
            self.list_instrument(f"COIN{number}USDT")

    def count(self, endpoint: str) -> int:
        """Return how many requests the endpoint received, whatever their answers were."""
        with self._lock:
            return sum(request.endpoint == endpoint for request in self.requests)

    def add_fault(self, endpoint: str, fault: Fault, times: int | None = 1, symbol: str | None = None) -> Fault:
        """Apply a fault to the next requests, and return the fault.

        If several faults apply to a request, the one that was added first is used.

        Args:
            endpoint: The name of the endpoint, "*" for any.
            fault: What goes wrong.
            times: How many requests the fault applies to, None for all.
            symbol: Apply the fault only to requests for this symbol.

        Raises:
            ValueError: There is no such endpoint.
        """
        if endpoint not in ENDPOINT_NAMES:
            raise ValueError(f"unknown endpoint {endpoint}; the endpoints are: {', '.join(ENDPOINT_NAMES)}")
        with self._lock:
            self._faults.append(_PlannedFault(endpoint, symbol.upper() if symbol else None, fault, times))
        return fault

    def clear_faults(self) -> None:
        with self._lock:
            self._faults.clear()

    def handle(self, request: Request, wait: Callable[[float], None] = _do_not_wait) -> tuple[Answer, Fault]:
        """Check a request and carry it out. Return its answer, and the fault with which the server sends the answer.

        Args:
            request: The request. Its attributes that describe the outcome are set.
            wait: Waits for some seconds before a request that a fault carries out late.
        """
        with self._lock:
            request.at = self.monotonic()
            self.requests.append(request)
            endpoint = ENDPOINTS.get((request.method, request.path))
            request.endpoint = endpoint.name if endpoint else None
            fault = self._take_fault(request)
            if fault.drop == "before":
                return Answer(200, ""), fault
            try:
                action = self._check(endpoint, request, self.clock() + fault.skew)
            except Refusal as refusal:
                action = refusal.raise_again
        # The lock is free while the request waits, so that other requests are answered.
        if fault.late:
            wait(fault.delay)
        with self._lock:
            answer = _carry_out(action) if fault.works else Answer(200, "")
            answer = fault.apply_to(answer, request.headers)
            request.status = None if fault.drop else answer.status
        return answer, fault

    def _take_fault(self, request: Request) -> Fault:
        for planned in self._faults:
            if planned.applies_to(request):
                if planned.times is not None:
                    planned.times -= 1
                return planned.fault
        return Fault()

    def _check(self, endpoint: Endpoint | None, request: Request, now: float) -> Callable[[], Any]:
        """Check the path, the keys, the signature, the clock and the rate limit.

        Return the function that carries the request out. `now` is the Unix time of the exchange in seconds.
        """
        if endpoint is None:
            raise Refusal(404, "Not Found")
        if endpoint.respond is None:
            return partial(dict, serverTime=int(now * 1000))
        account = self._authenticate(request, now)
        request.account = account.name
        self._check_rate_limit(endpoint, request)
        call = Call(account, request.fields, self.instruments, self.quirks, int(now * 1000))
        return partial(endpoint.respond, call)

    def _authenticate(self, request: Request, now: float) -> Account:
        key, signature, epoch = (request.headers.get(f"x-auth-{part}", "") for part in ("apikey", "signature", "epoch"))
        account = next((account for account in self.accounts if account.api_key == key), None)
        if account is None:
            raise Refusal(401, "Invalid Access")
        if not is_signed_by(key, signature, request.method, request.target, epoch):
            raise Refusal(401, "API Key or Signature is not Correct")
        if not (epoch.isdecimal() and abs(now - int(epoch) / 1000) <= EPOCH_TOLERANCE):
            raise Refusal(401, "Invalid Access")
        return account

    def _check_rate_limit(self, endpoint: Endpoint, request: Request) -> None:
        limit = self.limits.get(endpoint.name)
        if limit is None:
            return
        quirks = self.quirks
        is_shared = quirks.leverage_buckets == "shared" and endpoint.name.endswith("_leverage")
        scope = {
            "key": request.headers.get("x-auth-apikey"),
            "account": request.account,
            "address": request.address,
        }[quirks.limit_scope]
        seconds = self._rate_limits.spend(
            (scope, "leverage" if is_shared else endpoint.name),
            limit,
            request.at,
            fixed=quirks.limit_window == "fixed",
            refused_count=quirks.refused_count,
        )
        if seconds:
            self.refused_by_rate_limit += 1
            raise Refusal(429, "Too Many Requests", self._retry_after(math.ceil(seconds)))

    def _retry_after(self, seconds: int) -> dict[str, str]:
        """Return the header Retry-After in the form that the quirk `retry_after` names."""
        date = formatdate(math.ceil(self.clock()) + seconds, usegmt=True)
        value = {"seconds": str(seconds), "date": date, None: ""}[self.quirks.retry_after]
        return {"Retry-After": value} if value else {}


def _carry_out(action: Callable[[], Any]) -> Answer:
    try:
        return Answer(200, action())
    except Refusal as refusal:
        return refusal.answer
