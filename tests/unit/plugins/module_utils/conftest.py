# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for the tests of module_utils. The classes behind them are in client_setup.py."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from threading import Event
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "extensions"))

from sandbox.server import LOOPBACK

from .client_setup import ClientSetup, Clock, Exchange, NewSetup, SharedSandbox


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Remove proxy settings of the user, so that requests reach the sandbox."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="session")
def server() -> Iterator[SharedSandbox]:
    sandbox = SharedSandbox(Exchange())
    with sandbox:
        yield sandbox


@pytest.fixture
def sandbox(server: SharedSandbox) -> Iterator[SharedSandbox]:
    """The server for one test. Delayed responses are sent when the test ends."""
    server.delay_over = delay_over = Event()
    yield server
    delay_over.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new_setup(sandbox: SharedSandbox, request: pytest.FixtureRequest) -> Iterator[NewSetup]:
    """A function that builds a setup: `new_setup(current={"BTCUSDT": 10}, retries=0)`.

    It takes the arguments of `ClientSetup`, without `sandbox` and `budgets`. Setups with the same `machine` share their
    request budgets in a file. A setup without a `machine` has its own budgets in memory.
    """
    setups: list[ClientSetup] = []

    def build(*args: Any, machine: str | None = None, **options: Any) -> ClientSetup:
        budgets = request.getfixturevalue("tmp_path") / machine if machine else None
        setups.append(ClientSetup(sandbox, budgets, *args, **options))
        return setups[-1]

    yield build
    for setup in setups:
        setup.transport.reset_connection()


@pytest.fixture
def setup(new_setup: NewSetup) -> ClientSetup:
    """A setup with one configured symbol: BTCUSDT with a leverage of 10."""
    return new_setup(current={"BTCUSDT": 10})


@pytest.fixture
def unused_url() -> str:
    """A URL on which no server listens."""
    with socket.create_server((LOOPBACK, 0)) as server:
        return f"http://{LOOPBACK}:{server.getsockname()[1]}"


@pytest.fixture
def dead_address() -> Iterator[tuple[str, int]]:
    """An address that never answers: the queue of its listener is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((LOOPBACK, 0), backlog=0))
        for _place in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(listener.getsockname())
        yield listener.getsockname()
