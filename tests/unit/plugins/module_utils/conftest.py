# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The fixtures of the core's tests; what they hand out is in desk.py."""

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

from .desk import Clock, Desk, Exchange, Venue


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the machine's user has set for other work is no part of what is tried here."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(scope="session")
def server() -> Iterator[Venue]:
    venue = Venue(Exchange())
    with venue:
        yield venue


@pytest.fixture
def venue(server: Venue) -> Iterator[Venue]:
    """The server, which holds back what it waits for until the test ends."""
    server.opened = opened = Event()
    yield server
    opened.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def lay(venue: Venue, request: pytest.FixtureRequest) -> Iterator[Callable[..., Desk]]:
    """Lays a desk: `lay(held={"BTCUSDT": 10}, retries=0)`. Its arguments are Desk's.

    Desks of one `machine` share their budgets, in a file; without one each has its own, in memory.
    """
    desks: list[Desk] = []

    def build(*args: Any, machine: str | None = None, **options: Any) -> Desk:
        budgets = request.getfixturevalue("tmp_path") / machine if machine else None
        desks.append(Desk(venue, budgets, *args, **options))
        return desks[-1]

    yield build
    for desk in desks:
        desk.transport.renew()


@pytest.fixture
def desk(lay: Callable[..., Desk]) -> Desk:
    return lay(held={"BTCUSDT": 10})


@pytest.fixture
def nobody() -> str:
    """An address on which nobody listens."""
    with socket.create_server((LOOPBACK, 0)) as closed:
        return f"http://{LOOPBACK}:{closed.getsockname()[1]}"
