# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures for the tests of budgets and of pacing. Other helpers of these tests are in pacing_setup.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.budgets import BudgetStore
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Pacer

from ..client_setup import Clock
from .pacing_setup import START, TEN_PER_WINDOW, NewPacer


@pytest.fixture
def clock() -> Clock:
    return Clock(START)


@pytest.fixture
def new_pacer(clock: Clock, tmp_path: Path) -> NewPacer:
    """A function that builds a pacer. By default, all pacers share the budgets of one key on one machine."""

    def build(
        share: float = 1.0, max_wait: float = 600.0, identity: str = "key", directory: Path | None = None
    ) -> Pacer:
        budget_store = BudgetStore(identity, str(directory or tmp_path / "budgets"))
        return Pacer(budget_store, share, max_wait, clock, clock.sleep)

    return build


@pytest.fixture
def budgets_file(new_pacer: NewPacer, tmp_path: Path) -> Path:
    """The file with the shared budgets. It contains one request to TEN_PER_WINDOW."""
    new_pacer().take(TEN_PER_WINDOW)
    (path,) = (tmp_path / "budgets").iterdir()
    return path
