# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of the core are laid on: an exchange behind real HTTP, the real client, and one clock for both."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, current_thread
from typing import Any

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _leverage
from ansible_collections.tradeops.coinswitch.plugins.module_utils._client import Client
from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import Futures
from ansible_collections.tradeops.coinswitch.plugins.module_utils._pacing import BudgetStore, Pacer
from ansible_collections.tradeops.coinswitch.plugins.module_utils._policy import EXACT, FAIL, Desired, Policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._redaction import Redactor
from ansible_collections.tradeops.coinswitch.plugins.module_utils._report import Report
from ansible_collections.tradeops.coinswitch.plugins.module_utils._signing import SignedAuth
from ansible_collections.tradeops.coinswitch.plugins.module_utils._transport import Transport
from sandbox import Exchange, Fault, Quirks, Request, Sandbox
from sandbox.faults import Answer

__all__ = ["Answer", "Exchange", "Fault", "Quirks", "Request"]

NOW = 1_700_000_000.0
SEED = bytes(range(32))
SECRET_KEY = SEED.hex()
API_KEY = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"

READ, WRITE, INSTRUMENTS, POSITIONS, ORDERS = (
    "read_leverage",
    "write_leverage",
    "instruments",
    "positions",
    "open_orders",
)


class Clock:
    """The time of everybody in a test, Unix and monotonic alike, in seconds: it passes only while somebody sleeps.

    `while_asleep` is called at each sleep, with its seconds: what others do meanwhile.
    """

    def __init__(self, now: float = NOW) -> None:
        self.now = now
        self.slept: list[float] = []
        self.while_asleep: Callable[[float], object] = lambda seconds: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.while_asleep(seconds)


class ExchangeWithLatency(Exchange):
    """An exchange that is `latency` seconds of the clock away, there and back each.

    `connections` are those that requests came over, in the order of the requests.
    """

    def __init__(self, clock: Clock, latency: float, **rules: Any) -> None:
        super().__init__(clock, clock, **rules)
        self._time = clock
        self._latency = latency
        self.connections: list[str] = []

    def handle(self, request: Request, wait: Callable[[float], None] = lambda seconds: None) -> tuple[Answer, Fault]:
        # The server gives each connection a thread of its own.
        self.connections.append(current_thread().name)
        self._time.now += self._latency
        try:
            return super().handle(request, wait)
        finally:
            self._time.now += self._latency


class SharedSandbox(Sandbox):
    """One server for all tests, each with an exchange of its own. What it waits for comes when `opened` is set."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.opened = Event()

    def wait(self, seconds: float) -> None:
        if seconds:
            self.opened.wait()
        super().wait(0)


class MemoryBudgets(BudgetStore):
    """Budgets of one task alone, which no file keeps."""

    def __init__(self) -> None:
        super().__init__("", os.devnull)

    @contextmanager
    def open(self) -> Iterator[dict[str, Any]]:
        yield self._memory


class ClientSetup:
    """An account with a client of it; `beside` another setup, a second client of the same account.

    `budgets` is the folder in which it shares them with others. `sent` names the endpoints asked so far, by all
    clients; `held` is the leverage in force.
    """

    def __init__(
        self,
        sandbox: SharedSandbox,
        budgets: Path | None = None,
        quirks: Quirks | None = None,
        current: Mapping[str, int] | None = None,
        latency: float = 0.0,
        limits: Mapping[str, int | None] | None = None,
        beside: ClientSetup | None = None,
        url: str | None = None,
        keys: tuple[str, str] = (API_KEY, SECRET_KEY),
        timeout: float = 20.0,
        retries: int = 3,
        share: float = 1.0,
        max_wait: float = 600.0,
    ) -> None:
        if beside is None:
            self.clock = Clock()
            self.exchange = sandbox.exchange = ExchangeWithLatency(self.clock, latency, quirks=quirks, limits=limits)
            self.account = self.exchange.open_account(seed=SEED)
            self.account.leverage.update(current or {})
        else:
            self.clock, self.exchange, self.account = beside.clock, beside.exchange, beside.account
        auth = SignedAuth(*keys, self.clock)
        self.transport = Transport(url or sandbox.url, auth, timeout, verify=True)
        budget_store = BudgetStore(keys[0], str(budgets)) if budgets else MemoryBudgets()
        self.pacer = Pacer(budget_store, share, max_wait, self.clock, self.clock.sleep)
        clean = Redactor(keys).clean
        self.client = Client(
            self.transport, self.pacer, retries, auth.pair_matches, clean, self.clock, self.clock.sleep
        )
        self.futures = Futures(self.client, "EXCHANGE_2")

    @property
    def current(self) -> dict[str, int]:
        return self.account.leverage

    @property
    def sent(self) -> list[str | None]:
        return [request.endpoint for request in self.exchange.requests]

    def writes(self) -> list[Any]:
        """The bodies of the writes that came in."""
        return [request.body for request in self.exchange.requests if request.endpoint == WRITE]

    def enforce(self, policy: Mapping[str, int], check: bool = False, **rules: Any) -> Report:
        """Carry out policy (predict, with `check`): one is `single` where that is not returned."""
        rules = {"enforce": EXACT, "on_blocked": FAIL, "single": len(policy) == 1, **rules}
        desired = Policy([Desired(*desired) for desired in policy.items()], **rules)
        return (_leverage.predict if check else _leverage.apply)(self.futures, desired)


def row(report: Report, symbol: str = "BTCUSDT") -> dict[str, Any]:
    """The row of a symbol in what a task returns."""
    (found,) = (row for row in report.result["results"] if row["symbol"] == symbol)
    assert isinstance(found, dict)
    return found
