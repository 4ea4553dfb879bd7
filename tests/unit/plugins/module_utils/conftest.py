# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixtures of the core's tests; what they hand out is in client_setup.py."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "extensions"))

from sandbox.server import LOOPBACK

from .client_setup import ClientSetup, Clock, Exchange, SharedSandbox


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's user has set for other work is no part of what is tried here."""
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
    """The server, which holds back what it waits for until the test ends."""
    server.opened = opened = Event()
    yield server
    opened.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def new_setup(sandbox: SharedSandbox, request: pytest.FixtureRequest) -> Iterator[Callable[..., ClientSetup]]:
    """Prepares a setup: `new_setup(current={"BTCUSDT": 10}, retries=0)`. Its arguments are ClientSetup's.

    Desks of one `machine` share their budgets, in a file; without one each has its own, in memory.
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
def setup(new_setup: Callable[..., ClientSetup]) -> ClientSetup:
    return new_setup(current={"BTCUSDT": 10})


@pytest.fixture
def nobody() -> str:
    """An address on which nobody listens."""
    with socket.create_server((LOOPBACK, 0)) as closed:
        return f"http://{LOOPBACK}:{closed.getsockname()[1]}"
