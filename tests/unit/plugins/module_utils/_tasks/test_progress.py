# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of progress.py."""

from __future__ import annotations

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import OPEN_ORDERS
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.progress import Progress
from sandbox import FAULTS

from ..client_setup import READ, ClientSetup, Fault, NewSetup, Quirks, change_every, prepare_symbols


def collect_lines(setup: ClientSetup, check: bool = False) -> list[str]:
    """Return a list to which the client of the setup adds the lines that it prints from now on."""
    lines: list[str] = []
    # The simulated clock starts at midnight.
    start = setup.clock()
    setup.progress = Progress(lines.append, check, setup.clock, lambda: setup.clock() - start)
    return lines


# --- Progress.start ---


def test_short_task_prints_nothing(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 5)
    lines = collect_lines(setup)
    assert setup.enforce(change_every(policy, 1)).failure is None
    assert lines == []


def test_long_task_prints_its_start_its_changes_and_its_waits(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 24)
    lines = collect_lines(setup)
    assert setup.enforce(change_every(policy, 2)).failure is None
    assert lines[0] == "reads of leverage: 24, writes: at most 24, rate limits: at most about 121 s"
    assert [line for line in lines if "->" in line] == [f"COIN{number}USDT 10 -> 5" for number in range(0, 24, 2)]
    waits = [line for line in lines if "left" in line]
    assert waits[0].startswith("read 20 of 24, 0 to write, waits until 00:01:")
    assert " UTC because of the rate limit, about " in waits[0]
    assert len(waits) == sum(1 for seconds in setup.clock.slept if seconds == 10.0)


def test_each_symbol_is_printed_once_if_the_keys_are_refused(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 30)
    lines = collect_lines(setup)
    setup.exchange.add_fault("*", FAULTS["401"], times=None)
    setup.enforce(change_every(policy, 1))
    names = [line.split(":")[0].split(" ")[0] for line in lines[1:]]
    assert sorted(names) == sorted(policy)


def test_plan_says_that_not_everything_may_be_done(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 24, max_wait=30)
    lines = collect_lines(setup)
    report = setup.enforce(policy)
    assert lines[0] == report.values["plan"]
    assert lines[0].endswith("at most about 121 s, but rate_limit_timeout allows 30 s, so not everything may be done")


@pytest.mark.parametrize("check", [True, False])
def test_plan_counts_the_search_for_orders(new_setup: NewSetup, check: bool) -> None:
    setup, policy = prepare_symbols(new_setup, 1)
    for _request in range(20):
        setup.pacer.take(OPEN_ORDERS)
    lines = collect_lines(setup, check)
    plan = setup.enforce(policy, check=check).values["plan"]
    assert lines == [], "no search was needed"
    assert "rate limits: about 61 s" in plan if check else "rate limits: at most about 61 s" in plan


# --- Progress.finished ---


def test_check_mode_prints_that_changes_are_only_predicted(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 24)
    lines = collect_lines(setup, check=True)
    assert setup.enforce(change_every(policy, 2), check=True).failure is None
    assert lines[0] == (
        "reads of leverage: 24, check mode writes nothing, rate limits: about 61 s "
        "(a real run: writes: at most 24, rate limits: at most about 121 s)"
    )
    assert "COIN0USDT would change 10 -> 5" in lines
    assert not any("to write" in line for line in lines)


def test_refusal_is_printed_with_its_reason(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 24)
    setup.account.open_position("COIN0USDT", "LONG", "1")
    lines = collect_lines(setup)
    setup.enforce(change_every(policy, 2))
    (line,) = (line for line in lines if line.startswith("COIN0USDT"))
    assert line.startswith("COIN0USDT blocked: the leverage is still 10, not 5. An open position (LONG 1) blocks ")


def test_first_change_of_a_symbol_is_printed(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 24, quirks=Quirks(unset_leverage="422"), current={})
    lines = collect_lines(setup)
    setup.enforce(policy)
    assert "COIN0USDT not configured -> 10" in lines


# --- Progress.waiting ---


@pytest.mark.parametrize("check", [True, False])
def test_long_task_without_changes_prints_its_waits(new_setup: NewSetup, check: bool) -> None:
    setup, policy = prepare_symbols(new_setup, 24)
    lines = collect_lines(setup, check)
    report = setup.enforce(policy, check=check)
    assert report.failure is None
    assert {row["outcome"] for row in report.values["results"]} == {"unchanged"}
    writes = "" if check else ", 0 to write"
    assert any(line.startswith(f"read 20 of 24{writes}, waits until 00:01:") for line in lines)


def test_wait_after_429_names_the_endpoint(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 24)
    setup.exchange.add_fault(READ, Fault(status=429, headers={"Retry-After": "30"}))
    lines = collect_lines(setup)
    setup.enforce(policy)
    waits = [line for line in lines if "waits until" in line]
    assert waits[0].startswith("read 0 of 24, 0 to write, waits until 00:00:3")
    assert " UTC because of HTTP 429 of GET /trade/api/v2/futures/leverage, about " in waits[0]


def test_wait_is_one_sleep_if_nothing_can_be_printed(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 24)
    setup.progress = Progress(None, False, setup.clock)
    setup.enforce(policy)
    assert max(setup.clock.slept) > 10


@pytest.mark.parametrize(("seconds", "is_printed"), [(30, True), (2, False)])
def test_long_wait_of_a_short_task_is_printed(new_setup: NewSetup, seconds: int, is_printed: bool) -> None:
    setup, policy = prepare_symbols(new_setup, 1)
    setup.exchange.add_fault(READ, Fault(status=429, headers={"Retry-After": str(seconds)}))
    lines = collect_lines(setup)
    setup.enforce(policy)
    waits = [line for line in lines if line.startswith("read 0 of 1, 0 to write, waits until 00:00:3")]
    assert bool(waits) == bool(lines) == is_printed


def test_wait_of_check_mode_for_the_search_for_orders_is_printed(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 1)
    for _task in range(4):
        setup.enforce(change_every(policy, 1), check=True)
    lines = collect_lines(setup, check=True)
    setup.enforce(change_every(policy, 1), check=True)
    assert lines[0].startswith("read 1 of 1, waits until 00:00:5")
    assert lines[-1] == "COIN0USDT would change 10 -> 5"


def test_wait_of_a_task_that_reads_is_printed(new_setup: NewSetup) -> None:
    setup, _policy = prepare_symbols(new_setup, 1)
    lines = collect_lines(setup)
    setup.pacer.on_wait = setup.progress.waiting
    setup.pacer.wait(4)
    assert lines == []
    setup.pacer.wait(25)
    assert lines[0] == "waits until 00:00:29 UTC because of the rate limit, about 25 s left"
    assert len(lines) == 3
