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
from .stage import Clock, Stage, Staged, Stalling

IN_FORCE = {"BTCUSDT": 10, "ETHUSDT": 20, "SOLUSDT": 10}


@pytest.fixture(scope="session")
def sandbox() -> Iterator[Stalling]:
    with Stalling(Staged(Clock())) as running:
        yield running


@pytest.fixture
def stage_in(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Stage]:
    """Set a stage in a server: an exchange with one account, three symbols configured. Options are the exchange's."""

    def build(server: Stalling, **options: Any) -> Stage:
        return Stage(server, monkeypatch, IN_FORCE, **options)

    return build


@pytest.fixture
def stage(sandbox: Stalling, stage_in: Callable[..., Stage]) -> Stage:
    return stage_in(sandbox)


@pytest.fixture
def set_stage(sandbox: Stalling, stage_in: Callable[..., Stage]) -> Callable[..., Stage]:
    """Set a new stage for each example of a test."""
    return partial(stage_in, sandbox)


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One whose certificates the tests' own clients may trust."""
    return Authority(tmp_path_factory.mktemp("authority"))
