# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One server for all that is tried here, and a fresh exchange in it for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest

from .certificates import Authority
from .module_harness import Clock, LateExchange, ModuleHarness, StallingSandbox

IN_FORCE = {"BTCUSDT": 10, "ETHUSDT": 20, "SOLUSDT": 10}


@pytest.fixture(scope="session")
def sandbox() -> Iterator[StallingSandbox]:
    with StallingSandbox(LateExchange(Clock())) as running:
        yield running


@pytest.fixture
def harness_for(monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleHarness]:
    """Set a harness in a server: an exchange with one account, three symbols configured. Options are the exchange's."""

    def build(server: StallingSandbox, **options: Any) -> ModuleHarness:
        return ModuleHarness(server, monkeypatch, IN_FORCE, **options)

    return build


@pytest.fixture
def harness(sandbox: StallingSandbox, harness_for: Callable[..., ModuleHarness]) -> ModuleHarness:
    return harness_for(sandbox)


@pytest.fixture
def new_harness(sandbox: StallingSandbox, harness_for: Callable[..., ModuleHarness]) -> Callable[..., ModuleHarness]:
    """Set a new harness for each example of a test."""
    return partial(harness_for, sandbox)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One whose certificates the tests' own clients may trust."""
    return Authority(tmp_path_factory.mktemp("authority"))
