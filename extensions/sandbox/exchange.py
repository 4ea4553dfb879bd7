# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exchange: who is let in, at what pace, and what is done. A state machine that knows no sockets."""

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

EPOCH_TOLERANCE = 60.0
ENDPOINT_NAMES = (*(endpoint.name for endpoint in ENDPOINTS.values()), "*")


@dataclass
class Request:
    """One request as it came in, and what became of it."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    """The JSON value, None without a body, bytes where it is not JSON."""
    headers: Mapping[str, str] = field(default_factory=dict)
    """Names in lower case."""
    target: str = ""
    """Path and query as sent: what the signature is about."""
    address: str = "127.0.0.1"
    endpoint: str | None = None
    account: str | None = None
    """Whose request it was; None where the keys or the signature were not good."""
    status: int | None = None
    """What was answered; None without an answer."""
    at: float = 0.0
    """When, on the monotonic clock."""

    @property
    def fields(self) -> Mapping[str, Any]:
        """The parameters, wherever this method has them."""
        if self.method == "GET":
            return self.query
        if not isinstance(self.body, dict):
            raise Refusal(400, "Malformed request body")
        return self.body

    @property
    def symbol(self) -> str | None:
        """The symbol asked for, in upper case."""
        source = self.body if isinstance(self.body, dict) else self.query
        symbol = source.get("symbol")
        return symbol.upper() if isinstance(symbol, str) else None


@dataclass
class _PlannedFault:
    endpoint: str
    symbol: str | None
    fault: Fault
    times: int | None

    def strikes(self, request: Request) -> bool:
        return self.times != 0 and self.endpoint in ("*", request.endpoint) and self.symbol in (None, request.symbol)


def _no_wait(seconds: float) -> None:
    """Without a server nobody waits."""


class Exchange:
    """Accounts, instruments, rules and faults. Every method may be called from any thread.

    `clock` gives Unix seconds, for epochs and dates; `monotonic` seconds, for the rate limits. `limits` replaces single
    documented rate limits: endpoint name to requests per `window` seconds, None for no limit.
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
        """A new account with a fresh pair, or that of a 32-byte seed. ValueError where the name is taken."""
        with self._lock:
            if any(account.name == name for account in self.accounts):
                raise ValueError(f"there is an account {name} already")
            account = Account(name, seed, self.instruments, lambda: int(self.clock() * 1000), self._lock)
            self.accounts.append(account)
            return account

    def list_instrument(self, symbol: str, **fields: Any) -> None:
        """List a symbol, or change fields of a listed one: `min_leverage`, `max_leverage`, `leverage_step` and more."""
        with self._lock:
            symbol = symbol.upper()
            self.instruments[symbol] = {**self.instruments.get(symbol, new_instrument(symbol)), **fields}

    def list_many(self, total: int) -> None:
        """List made-up symbols until there are `total`."""
        for number in range(total - len(self.instruments)):
            self.list_instrument(f"COIN{number}USDT")

    def count(self, endpoint: str) -> int:
        """How many requests the endpoint received, whatever became of them."""
        with self._lock:
            return sum(request.endpoint == endpoint for request in self.requests)

    def add_fault(self, endpoint: str, fault: Fault, times: int | None = 1, symbol: str | None = None) -> Fault:
        """Let the next `times` requests (None: all) to an endpoint ("*": any), of one symbol or of any, meet a fault.

        Where several wait for the same request, the one added first is met first.
        """
        if endpoint not in ENDPOINT_NAMES:
            raise ValueError(f"there is no endpoint {endpoint}; there are {', '.join(ENDPOINT_NAMES)}")
        with self._lock:
            self._faults.append(_PlannedFault(endpoint, symbol.upper() if symbol else None, fault, times))
        return fault

    def clear_faults(self) -> None:
        with self._lock:
            self._faults.clear()

    def handle(self, request: Request, wait: Callable[[float], None] = _no_wait) -> tuple[Answer, Fault]:
        """Judge and carry out one request: its answer, and the fault that it met, whose delivery is the server's part.

        `wait` lets time pass before work that is done late.
        """
        with self._lock:
            request.at = self.monotonic()
            self.requests.append(request)
            endpoint = ENDPOINTS.get((request.method, request.path))
            request.endpoint = endpoint.name if endpoint else None
            fault = self._next_fault(request)
            if fault.drop == "before":
                return Answer(200, ""), fault
            try:
                work = self._admit(endpoint, request, self.clock() + fault.skew)
            except Refusal as refusal:
                work = refusal.repeat
        if fault.late:
            wait(fault.delay)
        with self._lock:
            answer = _answered(work) if fault.works else Answer(200, "")
            answer = fault.applied_to(answer, request.headers)
            request.status = None if fault.drop else answer.status
        return answer, fault

    def _next_fault(self, request: Request) -> Fault:
        for planned in self._faults:
            if planned.strikes(request):
                if planned.times is not None:
                    planned.times -= 1
                return planned.fault
        return Fault()

    def _admit(self, endpoint: Endpoint | None, request: Request, now: float) -> Callable[[], Any]:
        """The work left to do once path, keys, signature, clock and rate limit are found good."""
        if endpoint is None:
            raise Refusal(404, "Not Found")
        if endpoint.respond is None:
            return partial(dict, serverTime=int(now * 1000))
        account = self._authenticated(request, now)
        request.account = account.name
        self._spend(endpoint, request)
        call = Call(account, request.fields, self.instruments, self.quirks, int(now * 1000))
        return partial(endpoint.respond, call)

    def _authenticated(self, request: Request, now: float) -> Account:
        key, signature, epoch = (request.headers.get(f"x-auth-{part}", "") for part in ("apikey", "signature", "epoch"))
        account = next((account for account in self.accounts if account.api_key == key), None)
        if account is None:
            raise Refusal(401, "Invalid Access")
        if not is_signed_by(key, signature, request.method, request.target, epoch):
            raise Refusal(401, "API Key or Signature is not Correct")
        if not (epoch.isdecimal() and abs(now - int(epoch) / 1000) <= EPOCH_TOLERANCE):
            raise Refusal(401, "Invalid Access")
        return account

    def _spend(self, endpoint: Endpoint, request: Request) -> None:
        limit = self.limits.get(endpoint.name)
        if limit is None:
            return
        quirks = self.quirks
        shared = quirks.leverage_buckets == "shared" and endpoint.name.endswith("_leverage")
        holder = {
            "key": request.headers.get("x-auth-apikey"),
            "account": request.account,
            "address": request.address,
        }[quirks.limit_scope]
        seconds = self._rate_limits.spend(
            (holder, "leverage" if shared else endpoint.name),
            limit,
            request.at,
            fixed=quirks.limit_window == "fixed",
            refused_count=quirks.refused_count,
        )
        if seconds:
            self.refused_by_rate_limit += 1
            raise Refusal(429, "Too Many Requests", self._retry_after(math.ceil(seconds)))

    def _retry_after(self, seconds: int) -> dict[str, str]:
        date = formatdate(math.ceil(self.clock()) + seconds, usegmt=True)
        value = {"seconds": str(seconds), "date": date, None: ""}[self.quirks.retry_after]
        return {"Retry-After": value} if value else {}


def _answered(work: Callable[[], Any]) -> Answer:
    try:
        return Answer(200, work())
    except Refusal as refusal:
        return refusal.answer
