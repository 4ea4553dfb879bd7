# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One server for all tests of whole tasks, and a new exchange for each test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

from ..plugins.module_utils.module_harness import Clock, LateExchange, ModuleHarness, StallingSandbox


@pytest.fixture(scope="session")
def sandbox() -> Iterator[StallingSandbox]:
    with StallingSandbox(LateExchange(Clock())) as running:
        yield running


@pytest.fixture
def new_harness(sandbox: StallingSandbox, monkeypatch: pytest.MonkeyPatch) -> Callable[..., ModuleHarness]:
    """Return a function that creates a harness, for tests with many examples. Its arguments are LateExchange's."""
    return partial(ModuleHarness, sandbox, monkeypatch)


@pytest.fixture
def harness(new_harness: Callable[..., ModuleHarness]) -> ModuleHarness:
    return new_harness()
