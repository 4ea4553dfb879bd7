# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real client against a sandbox exchange over real HTTP, with one simulated clock for both."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Event, current_thread
from typing import Any

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.redaction import Redactor
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.budgets import BudgetStore, MemoryBudgets
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.client import Client
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import Futures
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Pacer
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.signing import SignedAuth
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.transport import Transport
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import leverage as _leverage
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import EXACT, FAIL, Goal, Policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.progress import Context, Progress
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result
from sandbox import Exchange, Fault, Quirks, Request, Sandbox
from sandbox.faults import Response

# Defined elsewhere and imported from here by the tests.
__all__ = ["Exchange", "Fault", "MemoryBudgets", "Quirks", "Request", "Response"]

NOW = 1_700_000_000.0
SEED = bytes(range(32))
SECRET_KEY = SEED.hex()
API_KEY = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"

# The sandbox's names of the endpoints.
READ = "read_leverage"
WRITE = "write_leverage"
INSTRUMENTS = "instruments"
POSITIONS = "positions"
ORDERS = "open_orders"


class Clock:
    """The only clock of a test, in seconds. `sleep` moves it and returns at once, so no test really waits.

    The exchange and the client use it as Unix time and as monotonic time.

    Attributes:
        now: The current time. A test can set it.
        slept: The seconds of each sleep so far.
        on_sleep: Called after each sleep with its seconds. A test uses it to act while the client waits.
    """

    def __init__(self, now: float = NOW) -> None:
        self.now = now
        self.slept: list[float] = []
        self.on_sleep: Callable[[float], object] = lambda seconds: None

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.on_sleep(seconds)


class ExchangeWithLatency(Exchange):
    """An exchange with network latency: a request arrives after `latency` seconds, and so does its response.

    Attributes:
        connections: The name of the connection of each request, in the order of the requests.
    """

    def __init__(self, clock: Clock, latency: float, **rules: Any) -> None:
        super().__init__(clock, clock, **rules)
        self._simulated_clock = clock
        self._latency = latency
        self.connections: list[str] = []

    def handle(self, request: Request, wait: Callable[[float], None] = lambda seconds: None) -> tuple[Response, Fault]:
        # The server runs each connection in its own thread.
        self.connections.append(current_thread().name)
        self._simulated_clock.now += self._latency
        try:
            return super().handle(request, wait)
        finally:
            self._simulated_clock.now += self._latency


class SharedSandbox(Sandbox):
    """The server of all tests. Each test sets its own exchange.

    A fault that delays a response waits for the event `delay_over`, not for real seconds.
    """

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange)
        self.delay_over = Event()

    def wait(self, seconds: float) -> None:
        if seconds:
            self.delay_over.wait()
        super().wait(0)


class ClientSetup:
    """An account on a sandbox exchange, and a client with its keys.

    Args:
        sandbox: The server. It serves the exchange of this setup from now on.
        budgets: The folder of the request budgets. Without a folder, the budgets are in memory and not shared.
        quirks: How the exchange behaves where its documentation is silent.
        current: The current leverage of each symbol.
        latency: Seconds until a request arrives, and seconds until its response arrives.
        limits: The rate limits of the exchange, by endpoint, where they differ from the documented ones.
        same_account_as: Another setup. This one is then a second client of the account of that setup.
        url: The address that the client connects to, if it is not the sandbox.
        keys: The API key and the secret key.
        timeout: Seconds until a request times out.
        retries: How often a request is retried.
        share: The part of each request budget that the client may use.
        max_wait: Seconds that the client may wait for rate limits.
    """

    def __init__(
        self,
        sandbox: SharedSandbox,
        budgets: Path | None = None,
        quirks: Quirks | None = None,
        current: Mapping[str, int] | None = None,
        latency: float = 0.0,
        limits: Mapping[str, int | None] | None = None,
        same_account_as: ClientSetup | None = None,
        url: str | None = None,
        keys: tuple[str, str] = (API_KEY, SECRET_KEY),
        timeout: float = 20.0,
        retries: int = 3,
        share: float = 1.0,
        max_wait: float = 600.0,
    ) -> None:
        if same_account_as is None:
            self.clock = Clock()
            self.exchange = sandbox.exchange = ExchangeWithLatency(self.clock, latency, quirks=quirks, limits=limits)
            self.account = self.exchange.open_account(seed=SEED)
            self.account.leverage.update(current or {})
        else:
            self.clock = same_account_as.clock
            self.exchange = same_account_as.exchange
            self.account = same_account_as.account
        auth = SignedAuth(*keys, self.clock)
        self.transport = Transport(url or sandbox.url, auth, timeout, verify=True)
        budget_store = BudgetStore(keys[0], str(budgets)) if budgets else MemoryBudgets()
        self.pacer = Pacer(budget_store, share, max_wait, self.clock, self.clock.sleep)
        clean = Redactor(keys).clean
        self.client = Client(
            self.transport, self.pacer, retries, auth.describe_pair, clean, self.clock, self.clock.sleep
        )
        self.progress = Progress()
        self.futures = Futures(self.client, "EXCHANGE_2")

    @property
    def current(self) -> dict[str, int]:
        """The current leverage of each configured symbol, as the exchange holds it."""
        return self.account.leverage

    @property
    def sent(self) -> list[str | None]:
        """The endpoint of each request that reached the exchange, from any client."""
        return [request.endpoint for request in self.exchange.requests]

    def writes(self) -> list[Any]:
        """Return the bodies of the writes that reached the exchange."""
        return [request.body for request in self.exchange.requests if request.endpoint == WRITE]

    def enforce(self, policy: Mapping[str, int], check: bool = False, enforce: str = EXACT, **rules: Any) -> Result:
        """Apply the policy, or predict the result in check mode.

        Args:
            policy: The desired leverage of each symbol.
            check: Whether to run in check mode.
            enforce: EXACT or MAXIMUM, for each symbol.
            rules: Other fields of the `Policy`. A policy with one symbol is `single` by default.
        """
        rules = {"on_blocked": FAIL, "single": len(policy) == 1, **rules}
        goals = [Goal(symbol, leverage, enforce) for symbol, leverage in policy.items()]
        return _leverage.apply(self.futures, Policy(goals, **rules), Context(check, self.progress))


NewSetup = Callable[..., ClientSetup]


def find_row(report: Result, symbol: str = "BTCUSDT") -> dict[str, Any]:
    """Return the row of a symbol from the results of a task."""
    (found,) = (row for row in report.values["results"] if row["symbol"] == symbol)
    assert isinstance(found, dict)
    return found


def prepare_symbols(new_setup: NewSetup, count: int, *args: Any, **options: Any) -> tuple[ClientSetup, dict[str, int]]:
    """Prepare a setup that lists `count` symbols, each with a leverage of 10.

    Args:
        new_setup: The fixture.
        count: How many symbols.
        args: More arguments of `new_setup`.
        options: More options of `new_setup`.

    Returns:
        The setup, and a policy that changes nothing: a desired leverage of 10 for each symbol.
    """
    policy = {f"COIN{number}USDT": 10 for number in range(count)}
    setup = new_setup(*args, **{"latency": 0.05, "current": policy, **options})
    for symbol in policy:
        setup.exchange.list_instrument(symbol)
    return setup, policy


def change_every(policy: Mapping[str, int], nth: int) -> dict[str, int]:
    """Return the policy with a desired leverage of 5 for every nth symbol, starting with the first one."""
    return {symbol: 5 if number % nth == 0 else desired for number, (symbol, desired) in enumerate(policy.items())}
