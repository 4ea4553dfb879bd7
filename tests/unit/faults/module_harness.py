# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A harness on which whole modules run against the sandbox over real HTTP while no time passes.

All clocks are one that moves only when somebody sleeps. A time-out comes when the exchange is known to stall, not when
this machine is slow: the stall itself makes the waiting transport that its time is up.
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
from ansible.module_utils.testing import patch_module_args
from hypothesis import HealthCheck, settings

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _module, _transport
from ansible_collections.tradeops.coinswitch.plugins.module_utils._client import Client
from ansible_collections.tradeops.coinswitch.plugins.module_utils._connection import Connection
from ansible_collections.tradeops.coinswitch.plugins.module_utils._pacing import Pacer
from ansible_collections.tradeops.coinswitch.plugins.module_utils._signing import SignedAuth

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "extensions"))

from sandbox import Exchange, Request, Sandbox
from sandbox.faults import Answer, Fault

from ..plugins.module_utils.client_setup import MemoryBudgets

MODULES = "ansible_collections.tradeops.coinswitch.plugins.modules"
SEED = bytes(range(32))
NOW = 1_700_000_000.0
TIMEOUT = 10.0
RETRIES = 2
MAX_WAIT = 600.0
# A bound that is met sooner: where it really is, and that it bounds, is tried in test_transport.py.
LARGEST_ANSWER = 128 << 10
# What a defect of the harness itself may cost before it is said: nothing waits for so long.
HANGS = 30.0

# The same examples in every run, and no deadline: what is slow on a busy machine is not wrong.
EXAMPLES = settings(
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Clock:
    """Seconds that pass only in `sleep`."""

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
    """A sandbox in which nobody waits: a request that would take longer than TIMEOUT ends its asker's max_wait at once.

    What it sends after that goes to a connection that should be given up.
    """

    exchange: LateExchange

    def __enter__(self) -> StallingSandbox:
        super().__enter__()
        return self

    def wait(self, seconds: float) -> None:
        super().wait(0)
        if seconds:
            self.exchange.spend(seconds)


class _Late:
    """Work that is done on a cue."""

    def __init__(self) -> None:
        self.cue = threading.Event()
        self.done = threading.Event()

    def land(self) -> None:
        self.cue.set()
        assert self.done.wait(HANGS), "the late work was never done"


class LateExchange(Exchange):
    """An exchange whose late work lands while the first read after it is being answered as if it had not been done.

    With `lands_last` it lands when `land` is called: when the task is over. `watch` is called with each request once it
    is decided, before its answer goes out.
    """

    def __init__(self, clock: Clock, **options: Any) -> None:
        super().__init__(clock=clock.unix, monotonic=clock, **options)
        self.lands_last = False
        self.stalls = 0
        self.watch: Callable[[Request], None] = lambda request: None
        self._expire: Callable[[], None] = lambda: None
        self._mine = threading.local()
        self._late: list[_Late] = []

    def watchdog(self, _seconds: float, expire: Callable[[], None]) -> Any:
        """In place of a transport's timer: time is up when the exchange is known to stall."""
        self._expire = expire
        return SimpleNamespace(start=lambda: None, cancel=lambda: None)

    def handle(self, request: Request, wait: Callable[[float], None] = lambda seconds: None) -> tuple[Answer, Fault]:
        self._mine.spent, self._mine.late = 0.0, None
        decided = super().handle(request, self._wait_for_cue)
        if self._mine.late:
            self._mine.late.done.set()
        elif request.endpoint == "read_leverage" and not self.lands_last:
            self.land()
        self.watch(request)
        return decided

    def spend(self, seconds: float) -> None:
        """Let the time of the request at hand pass; ConnectionError where its asker is gone already."""
        # A request of an earlier harness's exchange is nobody's any more.
        before = getattr(self._mine, "spent", TIMEOUT)
        self._mine.spent = before + seconds
        if before >= TIMEOUT:
            raise ConnectionAbortedError("nobody waits for the rest")
        if self._mine.spent >= TIMEOUT:
            self.stalls += 1
            self._expire()

    def land(self) -> None:
        """Let all late work be done now."""
        while self._late:
            self._late.pop().land()

    def _wait_for_cue(self, seconds: float) -> None:
        self._mine.late = late = _Late()
        self._late.append(late)
        self.spend(seconds)
        assert late.cue.wait(HANGS), "the late work never got its cue"


class ModuleHarness:
    """One exchange with one account, and modules run on it in this process, as Ansible would run them."""

    def __init__(
        self, sandbox: StallingSandbox, patch: pytest.MonkeyPatch, leverage: Mapping[str, int], **options: Any
    ) -> None:
        self.clock = Clock()
        self.sandbox = sandbox
        self.exchange = sandbox.exchange = LateExchange(self.clock, **options)
        self.account = self.exchange.open_account(seed=SEED)
        self.account.leverage.update(leverage)
        self.warnings: list[str] = []
        self.options: dict[str, Any] = {
            "api_key": self.account.api_key,
            "secret_key": self.account.secret_key,
            "api_url": sandbox.url,
            "retries": RETRIES,
            "rate_limit_timeout": MAX_WAIT,
        }
        self._transports: list[_transport.Transport] = []
        patch.setattr(_module, "connect", self.connect)
        patch.setattr(_transport, "Timer", self.exchange.watchdog)
        patch.setattr(_transport, "LARGEST_ANSWER", LARGEST_ANSWER)
        patch.setattr(AnsibleModule, "warn", lambda _self, text: self.warnings.append(text))
        # It writes to the system's log.
        patch.setattr(AnsibleModule, "_log_invocation", lambda _self: None)

    def connect(self, connection: Connection, clean: Callable[[Any], Any], _may_send: Callable[[], None]) -> Client:
        """The edge's own, with the clock of this harness and budgets of its own, in memory."""
        auth = SignedAuth(connection.api_key, connection.secret_key, self.clock.unix)
        transport = _transport.Transport(connection.api_url, auth, connection.timeout, connection.verify)
        self._transports.append(transport)
        pacer = Pacer(
            MemoryBudgets(), connection.rate_limit_share, connection.rate_limit_timeout, self.clock, self.clock.sleep
        )
        return Client(transport, pacer, connection.retries, auth.pair_matches, clean, self.clock.unix, self.clock.sleep)

    def run(self, module: str, check_mode: bool = False, **options: Any) -> dict[str, Any]:
        """What the module returns, `failed` with it, and its warnings; late work is done by then."""
        arguments = {**self.options, **options, "_ansible_check_mode": check_mode, "_ansible_diff": True}
        printed = io.StringIO()
        main = importlib.import_module(f"{MODULES}.{module}").main
        with patch_module_args(arguments), redirect_stdout(printed), pytest.raises(SystemExit) as ended:
            main()
        self.exchange.land()
        for transport in self._transports:
            transport.reset_connection()
        result: dict[str, Any] = json.loads(printed.getvalue())
        assert ended.value.code == int(result.setdefault("failed", False))
        return result

    def in_force(self, symbol: str) -> int | None:
        """What the exchange holds; None for what it does not list."""
        return self.account.leverage_in_force(symbol) if symbol in self.exchange.instruments else None


def says_one_clear_line(result: Mapping[str, Any]) -> None:
    """A failure is one line, and none of the kind that only we could understand."""
    if result["failed"]:
        message = result["msg"]
        assert message.strip()
        assert "\n" not in message
        assert "internal error" not in message
        assert "Traceback" not in json.dumps(result)


def reports_the_truth(result: Mapping[str, Any], harness: ModuleHarness) -> None:
    """Every row's leverage is what the exchange holds, or the row says that it does not know, or gives none.

    What is desired is in force where a row does not say that it went wrong. A task that has no rows wrote nothing.
    """
    for row in result.get("results", []):
        assert row["outcome"] == "unknown" or row["leverage"] in (None, harness.in_force(row["symbol"])), row
        assert row["leverage"] is not None or row["outcome"] not in ("changed", "unchanged"), row
        assert row["outcome"] in ("changed", "unchanged") or row["reason"], row
    if not result.get("results"):
        assert harness.exchange.count("write_leverage") == 0
    if not result["failed"]:
        assert all(row["outcome"] != "unknown" for row in result.get("results", []))
