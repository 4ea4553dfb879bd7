# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a long task prints while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._progress import Progress

from .client_setup import ClientSetup
from .test_leverage import change, market

NewSetup = Callable[..., ClientSetup]


def lines_of(new_setup: NewSetup, symbols: int, every: int, check: bool = False) -> tuple[list[str], ClientSetup]:
    setup, policy = market(new_setup, symbols)
    said: list[str] = []
    setup.client.progress = Progress(said.append, setup.clock)
    assert setup.enforce(change(policy, every), check=check).failure is None
    return said, setup


def test_a_short_task_prints_nothing(new_setup: NewSetup) -> None:
    assert lines_of(new_setup, 5, 1)[0] == []


def test_a_long_task_prints_its_start_each_change_and_its_waits(new_setup: NewSetup) -> None:
    said, setup = lines_of(new_setup, 24, 2)
    assert said[0] == "24 symbols to read, at most 24 to write, at most about 121 s"
    assert [line for line in said if "->" in line] == [f"COIN{number}USDT 10 -> 5" for number in range(0, 24, 2)]
    waits = [line for line in said if "left" in line]
    assert waits[0].startswith("read 20 of 24, written 10 of 10, about ")
    assert len(waits) == sum(1 for seconds in setup.clock.slept if seconds == 10.0)


@pytest.mark.parametrize("check", [True, False])
def test_a_long_task_without_changes_prints_its_waits(new_setup: NewSetup, check: bool) -> None:
    setup, policy = market(new_setup, 24)
    said: list[str] = []
    setup.client.progress = Progress(said.append, setup.clock)
    report = setup.enforce(policy, check=check)
    assert report.failure is None
    assert {row["outcome"] for row in report.result["results"]} == {"unchanged"}
    assert any(line.startswith("read 20 of 24, written 0 of 0, about ") for line in said)


def test_check_mode_prints_what_it_predicts(new_setup: NewSetup) -> None:
    said, _setup = lines_of(new_setup, 24, 2, check=True)
    assert "COIN0USDT 10 -> 5" in said


def test_a_refusal_is_printed_with_its_reason(new_setup: NewSetup) -> None:
    setup, policy = market(new_setup, 24)
    setup.account.open_position("COIN0USDT", "LONG", "1")
    said: list[str] = []
    setup.client.progress = Progress(said.append, setup.clock)
    setup.enforce(change(policy, 2))
    assert any(line.startswith("COIN0USDT blocked: leverage stays 10 instead of 5: blocked by an ") for line in said)


@pytest.mark.parametrize("say", [None])
def test_without_a_way_to_print_nothing_is_sliced(new_setup: NewSetup, say: Any) -> None:
    setup, policy = market(new_setup, 24)
    setup.client.progress = Progress(say, setup.clock)
    setup.enforce(policy)
    assert max(setup.clock.slept) > 10
