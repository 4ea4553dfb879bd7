# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A harness that runs whole modules against the sandbox over real HTTP, without real waiting.

All parts share one clock, which moves only when a part sleeps. No real timer runs: the sandbox itself ends the timeout
of a request that it delays for too long. So a test does not fail because the machine is slow.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible import module as _module
from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.connection import Connection
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import transport as _transport
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.client import Client
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import Futures
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Pacer
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.signing import SignedAuth

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "extensions"))

from sandbox import Exchange, Request, Sandbox
from sandbox.faults import Fault, Response

from .client_setup import MemoryBudgets
from .module_arguments import patch_module_args

MODULES = "ansible_collections.tradeops.coinswitch.plugins.modules"
SEED = bytes(range(32))
NOW = 1_700_000_000.0
INITIAL_LEVERAGE = {"BTCUSDT": 10, "ETHUSDT": 20, "SOLUSDT": 10}
# Seconds.
TIMEOUT = 10.0
MAX_WAIT = 600.0
RETRIES = 2
# Bytes. Less than the real limit, so that the tests are fast. test_transport.py tests the real limit.
MAX_RESPONSE_SIZE = 128 << 10
# Seconds after which a test fails because of a defect in the harness itself. No test waits for so long otherwise.
HANG_TIMEOUT = 30.0


class Clock:
    """A clock, in seconds, that moves only in `sleep`."""

    def __init__(self) -> None:
        self.start = self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def unix(self) -> float:
        return NOW + self.now

    def sleep(self, seconds: float) -> None:
        assert 0 <= seconds < float("inf")
        self.now += seconds


class StallingSandbox(Sandbox):
    """A sandbox that never really waits.

    When the delays of a request add up to TIMEOUT, the timeout of the client ends at once. The sandbox may still answer
    on that connection, as a slow exchange would.
    """

    exchange: LateExchange

    def __enter__(self) -> StallingSandbox:
        super().__enter__()
        return self

    def wait(self, seconds: float) -> None:
        super().wait(0)
        if seconds:
            self.exchange.delay_request(seconds)


class _LateWork:
    """The work of a request, which waits until the test lets it take effect."""

    def __init__(self) -> None:
        self.may_start = threading.Event()
        self.is_done = threading.Event()

    def finish(self) -> None:
        self.may_start.set()
        assert self.is_done.wait(HANG_TIMEOUT), "the late work was not done"


class LateExchange(Exchange):
    """An exchange on which the work of a request can take effect late.

    Late work takes effect while the next read of a leverage is answered. The response still shows the state before it.

    Attributes:
        works_after_task: If true, late work takes effect only in `finish_late_work`, which is called after the task.
        on_request: Called with each request after it was handled, and before its response is sent.
    """

    def __init__(self, clock: Clock, **options: Any) -> None:
        super().__init__(clock=clock.unix, monotonic=clock, **options)
        self.works_after_task = False
        self.on_request: Callable[[Request], None] = lambda request: None
        self._end_timeout: Callable[[], None] = lambda: None
        # The delay and the late work of the current request: each connection has a thread of its own.
        self._current = threading.local()
        self._late_work: list[_LateWork] = []

    def create_timer(self, _seconds: float, end_timeout: Callable[[], None]) -> Any:
        """Replace the timer of a transport: `delay_request` ends the timeout instead."""
        self._end_timeout = end_timeout
        return SimpleNamespace(start=lambda: None, cancel=lambda: None)

    def handle(self, request: Request, wait: Callable[[float], None] = lambda seconds: None) -> tuple[Response, Fault]:
        self._current.delay, self._current.late_work = 0.0, None
        response_and_fault = super().handle(request, self._wait_for_late_work)
        if self._current.late_work:
            self._current.late_work.is_done.set()
        elif request.endpoint == "read_leverage" and not self.works_after_task:
            self.finish_late_work()
        self.on_request(request)
        return response_and_fault

    def delay_request(self, seconds: float) -> None:
        """Add to the delay of the current request, and end the client's timeout when the delay reaches it.

        Raises:
            ConnectionAbortedError: The timeout of the client has ended before.
        """
        # A thread without a delay serves a connection of an earlier harness, whose client has ended.
        previous_delay = getattr(self._current, "delay", TIMEOUT)
        self._current.delay = previous_delay + seconds
        if previous_delay >= TIMEOUT:
            raise ConnectionAbortedError("the client does not wait for the rest")
        if self._current.delay >= TIMEOUT:
            self._end_timeout()

    def finish_late_work(self) -> None:
        """Let all late work take effect now."""
        while self._late_work:
            self._late_work.pop().finish()

    def _wait_for_late_work(self, seconds: float) -> None:
        self._current.late_work = late_work = _LateWork()
        self._late_work.append(late_work)
        self.delay_request(seconds)
        assert late_work.may_start.wait(HANG_TIMEOUT), "the late work was not started"


class ModuleHarness:
    """An exchange with one account, and modules that run on it in this process as Ansible would run them.

    Args:
        sandbox: The server. It serves the exchange of this harness from now on.
        patch: Undoes the changes of the harness after the test.
        exchange_options: Passed to LateExchange.
    """

    def __init__(self, sandbox: StallingSandbox, patch: pytest.MonkeyPatch, **exchange_options: Any) -> None:
        self.clock = Clock()
        self.sandbox = sandbox
        self.exchange = sandbox.exchange = LateExchange(self.clock, **exchange_options)
        self.account = self.exchange.open_account(seed=SEED)
        self.account.leverage.update(INITIAL_LEVERAGE)
        self.warnings: list[str] = []
        self.options: dict[str, Any] = {
            "api_key": self.account.api_key,
            "secret_key": self.account.secret_key,
            "api_url": sandbox.url,
            "retries": RETRIES,
            "rate_limit_timeout": MAX_WAIT,
        }
        self._transports: list[_transport.Transport] = []
        patch.setattr(_module, "make_futures", self._connect)
        patch.setattr(_transport, "Timer", self.exchange.create_timer)
        patch.setattr(_transport, "MAX_RESPONSE_BYTES", MAX_RESPONSE_SIZE)
        patch.setattr(AnsibleModule, "warn", lambda _self, text: self.warnings.append(text))
        # It writes to the system's log.
        patch.setattr(AnsibleModule, "_log_invocation", lambda _self: None)

    def _connect(self, connection: Connection, clean: Callable[[Any], Any], *_unused: object) -> Futures:
        """Replace `_module.make_futures`: use the clock of this harness, and keep the request budgets in memory."""
        auth = SignedAuth(connection.api_key, connection.secret_key, self.clock.unix)
        transport = _transport.Transport(connection.api_url, auth, connection.timeout, connection.verify)
        self._transports.append(transport)
        pacer = Pacer(
            MemoryBudgets(), connection.rate_limit_share, connection.rate_limit_timeout, self.clock, self.clock.sleep
        )
        client = Client(
            transport, pacer, connection.retries, auth.describe_pair, clean, self.clock.unix, self.clock.sleep
        )
        return Futures(client, connection.exchange)

    def run(self, module: str, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        """Run a module, then let all late work take effect.

        Returns:
            What the module prints, with `failed` always set.
        """
        arguments = {**self.options, **options, "_ansible_check_mode": check_mode, "_ansible_diff": True}
        printed = io.StringIO()
        main = importlib.import_module(f"{MODULES}.{module}").main
        with patch_module_args(arguments), redirect_stdout(printed), pytest.raises(SystemExit) as exit_info:
            main()
        self.exchange.finish_late_work()
        for transport in self._transports:
            transport.reset_connection()
        result: dict[str, Any] = json.loads(printed.getvalue())
        assert exit_info.value.code == int(result.setdefault("failed", False))
        return result

    def leverage_in_force(self, symbol: str) -> int | None:
        """Return the leverage that the exchange uses; None if the exchange does not list the symbol."""
        return self.account.leverage_in_force(symbol) if symbol in self.exchange.instruments else None


def assert_failure_is_one_line(result: Mapping[str, Any]) -> None:
    """Check that the message of a failed task is one line, without a traceback and without an internal error."""
    if result["failed"]:
        message = result["msg"]
        assert message.strip()
        assert "\n" not in message
        assert "Internal error" not in message
        assert "Traceback" not in json.dumps(result)


def assert_result_is_true(result: Mapping[str, Any], harness: ModuleHarness) -> None:
    """Check that the result agrees with the exchange.

    The leverage of each row is in force, or its outcome is `unknown`, or it has no leverage. Each row with another
    outcome than `changed` or `unchanged` has a reason. A task without rows wrote nothing.
    """
    for row in result.get("results", []):
        in_force = harness.leverage_in_force(row["symbol"])
        assert row["outcome"] == "unknown" or row["leverage"] in (None, in_force), row
        assert row["leverage"] is not None or row["outcome"] not in ("changed", "unchanged"), row
        assert row["outcome"] in ("changed", "unchanged") or row["reason"], row
    if not result.get("results"):
        assert harness.exchange.count("write_leverage") == 0
    if not result["failed"]:
        assert all(row["outcome"] != "unknown" for row in result.get("results", []))


def assert_account_facts_are_true(result: Mapping[str, Any], harness: ModuleHarness) -> None:
    """Check what the result says about positions, orders and limits, if nothing but the task changed the account.

    What could not be read is not known, which is neither an open position nor none.
    """
    for row in result.get("results", []):
        symbol = row["symbol"]
        positions = {item.position_id for item in harness.account.positions if item.symbol == symbol}
        orders = {item.order_id for item in harness.account.orders if item.symbol == symbol}
        if row.get("positions") is not None:
            assert {item["position_id"] for item in row["positions"]} == positions, row
        for blocker in row.get("blockers", []):
            assert blocker.get("position_id") in positions or blocker.get("order_id") in orders, row
        if "No open position or order was found" in row.get("reason", ""):
            assert not positions | orders, row
        if row.get("cause") == "limits_unknown":
            assert harness.exchange.count("instruments"), row
