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
from dataclasses import dataclass, field, replace
from decimal import Decimal
from email.utils import formatdate
from functools import partial
from threading import RLock
from typing import Any

from .accounts import Account, parse_whole_number
from .endpoints import ENDPOINTS, Call, Endpoint, Refusal
from .faults import Fault, Response
from .instruments import Instrument, default_instruments, new_instrument
from .quirks import Quirks
from .rate_limits import RateLimits
from .signatures import KeyPair, is_signed_by

FUTURES_PREFIX = "/trade/api/v2/futures/"
# The endpoints of faults, with their help.
ENDPOINT_HELP = {
    **{endpoint.name: f"{method} {path}" for (method, path), endpoint in ENDPOINTS.items()},
    "futures": f"any request below {FUTURES_PREFIX}",
    "*": "any request",
}


@dataclass
class Request:
    """A request as the exchange received it, and how the exchange answered it.

    Attributes:
        body: The JSON value of the body, bytes if the body is not JSON, None without a body.
        headers: The headers. Their names are in lower case.
        target: The path and query as sent, which the signature covers.
        address: The IP address of the client.
        endpoint: The name of the endpoint, None for an unknown path or method.
        account: The name of the account, None if the keys or the signature were refused.
        status: The HTTP status of the response, None without a response.
        at: When the request was received, in seconds of the monotonic clock.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    address: str = "127.0.0.1"
    endpoint: str | None = None
    account: str | None = None
    status: int | None = None
    at: float = 0.0

    @property
    def fields(self) -> Mapping[str, Any]:
        """The parameters, from the query of a GET request and from the body of any other."""
        if self.method == "GET":
            return self.query
        if not isinstance(self.body, dict):
            raise Refusal(400, "Malformed request body")
        return self.body

    @property
    def bucket(self) -> tuple[str | None, str | None]:
        """The API key and the endpoint."""
        return self.headers.get("x-auth-apikey"), self.endpoint

    def is_to(self, endpoint: str) -> bool:
        """Return whether a name of ENDPOINT_HELP includes the endpoint of this request."""
        return endpoint in ("*", self.endpoint, self.path.startswith(FUTURES_PREFIX) and "futures")

    @property
    def symbol(self) -> str | None:
        """The requested symbol in upper case."""
        symbol = (self.body if isinstance(self.body, dict) else self.query).get("symbol")
        return symbol.upper() if isinstance(symbol, str) else None


@dataclass
class _PlannedFault:
    """A fault and the requests that it applies to. `times` is how many are left, None for all."""

    endpoint: str
    symbol: str | None
    fault: Fault
    times: int | None

    def applies_to(self, request: Request) -> bool:
        return self.times != 0 and request.is_to(self.endpoint) and self.symbol in (None, request.symbol)


@dataclass
class _PlannedAction:
    """What happens at a later request to an endpoint: when `countdown` reaches 0."""

    endpoint: str
    countdown: int
    act: Callable[[], object]


class Exchange:
    """The state of the exchange: accounts, instruments, rate limits, quirks and faults.

    All methods are thread-safe.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic,
        window: float = 60.0, limits: Mapping[str, int | None] | None = None, quirks: Quirks | None = None,
        rate_limits: bool = True,
    ) -> None:  # fmt: skip
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
        documented = {endpoint.name: endpoint.limit for endpoint in ENDPOINTS.values()}
        self.limits = {**documented, **(limits or {})} if rate_limits else {}
        self.quirks = quirks or Quirks()
        self.instruments: dict[str, Instrument] = default_instruments()
        self.accounts: list[Account] = []
        self.requests: list[Request] = []
        self.refused_by_rate_limit = 0
        self._rate_limits = RateLimits(window)
        self._faults: list[_PlannedFault] = []
        self._actions_before: list[_PlannedAction] = []
        self._actions_after: list[_PlannedAction] = []
        self._lock = RLock()

    def open_account(self, name: str = "desk", seed: bytes | None = None) -> Account:
        """Open an account and return it. `seed` is the 32-byte seed of its key pair, None for a random one.

        Raises:
            ValueError: An account with this name exists.
        """
        with self._lock:
            if any(account.name == name for account in self.accounts):
                raise ValueError(f"an account named {name} already exists; use another name")
            account = Account(
                name, KeyPair.from_seed(seed), self.instruments, lambda: int(self.clock() * 1000), self._lock
            )
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
        """Return how many requests the endpoint received, whatever their responses were."""
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
        _check_endpoint(endpoint)
        with self._lock:
            self._faults.append(_PlannedFault(endpoint, symbol.upper() if symbol else None, fault, times))
        return fault

    def run_before(self, number: int, act: Callable[[], object], endpoint: str = "*") -> None:
        """Run a function before one of the next requests is handled, as another program would act at that time.

        Args:
            number: Before which request: 1 is the next one to the endpoint.
            act: The function, such as `lambda: account.set_leverage("BTCUSDT", 5)`. It runs in the thread of the
                request, after the client sent it and before the exchange checks it.
            endpoint: The name of the endpoint, "*" for any.

        Raises:
            ValueError: There is no such endpoint, or the number is below 1.
        """
        _check_endpoint(endpoint)
        number = parse_whole_number("number", number, 1, 1_000_000)
        with self._lock:
            self._actions_before.append(_PlannedAction(endpoint, number, act))

    def clear_faults(self) -> None:
        with self._lock:
            self._faults.clear()

    def handle(self, request: Request, wait: Callable[[float], None] = lambda seconds: None) -> tuple[Response, Fault]:
        """Check a request and carry it out. Return its response, and the fault with which the server sends it.

        Args:
            request: The request. Its attributes that describe the outcome are set.
            wait: Waits for some seconds before a request that a fault carries out late.
        """
        with self._lock:
            request.at = self.monotonic()
            self.requests.append(request)
            endpoint = ENDPOINTS.get((request.method, request.path))
            request.endpoint = endpoint.name if endpoint else None
            _run_due(self._actions_before, request)
            fault = self._take_fault(request)
            if fault.drop == "before":
                _run_due(self._actions_after, request)
                return Response(200, ""), fault
            try:
                action = partial(_carry_out, self._check(endpoint, request, self.clock() + fault.skew, fault))
            except Refusal as refusal:
                action = partial(replace, refusal.response)
        # The lock is free while the request waits, so that other requests are answered.
        if fault.late:
            wait(fault.delay)
        with self._lock:
            states = [(account, account.save()) for account in self.accounts] if fault.later else []
            response = fault.apply_to(action() if fault.works else Response(200, ""), request.headers)
            for account, state in states:
                account.restore(state)
            _run_due(self._actions_after, request)
            if fault.later:
                self._actions_after.append(_PlannedAction("*", fault.later, action))
            request.status = None if fault.drop else response.status
        return response, fault

    def _is_below_burst(self, fault: Fault, request: Request) -> bool:
        """Return whether the fault needs a burst, and the requests before this one are none."""
        count, seconds = fault.burst or (0, 0.0)
        recent = (other for other in self.requests if other.at > request.at - seconds)
        return [other.bucket for other in recent if other.status not in (None, 429)].count(request.bucket) < count

    def _take_fault(self, request: Request) -> Fault:
        for planned in self._faults:
            if planned.applies_to(request) and not self._is_below_burst(planned.fault, request):
                if planned.times is not None:
                    planned.times -= 1
                return planned.fault
        return Fault()

    def _check(self, endpoint: Endpoint | None, request: Request, now: float, fault: Fault) -> Callable[[], Any]:
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
        instrument = self.instruments.get(request.symbol or "")
        changes = {"leverage": int(Decimal(instrument["max_leverage"]))} if fault.sets_maximum and instrument else {}
        call = Call(account, {**request.fields, **changes}, self.instruments, self.quirks, int(now * 1000))
        return partial(endpoint.carry_out, call)

    def _authenticate(self, request: Request, now: float) -> Account:
        key, signature, epoch = (request.headers.get(f"x-auth-{part}", "") for part in ("apikey", "signature", "epoch"))
        account = next((account for account in self.accounts if account.api_key == key), None)
        # The clock of a client may differ by a minute.
        is_on_time = epoch.isdecimal() and abs(now - int(epoch) / 1000) <= 60
        if not (account and is_on_time and is_signed_by(key, signature, request.method, request.target, epoch)):
            is_futures = request.is_to("futures")
            raise Refusal(401, "API Key or Signature is not Correct" if is_futures else "Invalid Access")
        return account

    def _check_rate_limit(self, endpoint: Endpoint, request: Request) -> None:
        limit = self.limits.get(endpoint.name)
        if limit is None:
            return
        is_shared = self.quirks.leverage_buckets == "shared" and endpoint.name.endswith("_leverage")
        scopes = {"key": request.bucket[0], "account": request.account, "address": request.address}
        bucket = scopes[self.quirks.limit_scope], "leverage" if is_shared else endpoint.name
        is_fixed = self.quirks.limit_window == "fixed"
        seconds = self._rate_limits.spend(
            bucket, limit, request.at, fixed=is_fixed, refused_count=self.quirks.refused_count
        )
        if seconds:
            self.refused_by_rate_limit += 1
            raise Refusal(429, "Too Many Requests", self._retry_after(math.ceil(seconds)))

    def _retry_after(self, seconds: int) -> dict[str, str]:
        """Return the header Retry-After in the form that the quirk `retry_after` names."""
        date = formatdate(math.ceil(self.clock()) + seconds, usegmt=True)
        value = {"seconds": str(seconds), "date": date, None: ""}[self.quirks.retry_after]
        return {"Retry-After": value} if value else {}


def _check_endpoint(endpoint: str) -> None:
    if endpoint not in ENDPOINT_HELP:
        raise ValueError(f"unknown endpoint {endpoint}; the endpoints are: {', '.join(ENDPOINT_HELP)}")


def _run_due(actions: list[_PlannedAction], request: Request) -> None:
    """Count the request, and run and remove the actions whose turn it is."""
    for action in list(actions):
        action.countdown -= request.is_to(action.endpoint)
        if action.countdown <= 0:
            actions.remove(action)
            action.act()


def _carry_out(action: Callable[[], Any]) -> Response:
    try:
        return Response(200, action())
    except Refusal as refusal:
        return refusal.response
