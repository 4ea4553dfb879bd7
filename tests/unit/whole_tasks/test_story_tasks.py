# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Short stories of one symbol through the loop of a whole task, in memory: real runs say no untrue word, and check mode
says the same as a real run on the same state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.budgets import MemoryBudgets
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.client import Timing
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import (
    READ_LEVERAGE,
    WRITE_LEVERAGE,
    Endpoint,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import Instrument
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Pacer
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import leverage as _leverage
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import FAIL, Goal, Policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.progress import Context
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result

from ..plugins.module_utils.client_setup import Clock
from .stories import DESIRED, REPLIES, RETRIES, NeedsReply, Story, World, find_untrue_words

SYMBOL = "BTCUSDT"


class StoryClient:
    """What a task uses of a client. It waits on a simulated clock."""

    def __init__(self) -> None:
        clock = Clock()
        self.real_pacer: Pacer = Pacer(MemoryBudgets(), 1.0, 600.0, clock, clock.sleep)
        self.pacer: Any = self.real_pacer
        self.retries = RETRIES
        self.timing = Timing(0.0, 0.1, "")
        self.sleep = clock.sleep

    def reset_connection(self) -> None:
        """Do nothing: there is no connection."""

    def now_ms(self) -> int:
        return 1_700_000_000_000


class StoryFutures:
    """The endpoints of an account on which a story happens."""

    exchange = "EXCHANGE_2"

    def __init__(self, story: Story, replies: tuple[str, ...]) -> None:
        self.client = StoryClient()
        self.world = World(story, replies)
        self._last_read: int | None = None
        # Writes that raise the leverage although the last read did not show that it is too high.
        self.raised: list[int | None] = []

    def _count(self, endpoint: Endpoint) -> None:
        pacer = self.client.pacer
        pacer.record_response(endpoint, (pacer.take_now if endpoint.writes else pacer.take)(endpoint))

    def get_leverage(self, _symbol: str) -> int:
        self._count(READ_LEVERAGE)
        reading = self.world.read()
        self._last_read = reading.leverage
        error = reading.failure or reading.unset
        if error is not None:
            raise error
        assert reading.leverage is not None
        return reading.leverage

    def set_leverage(self, _symbol: str, leverage: int) -> None:
        assert leverage == DESIRED
        if self.world.writes == len(self.world.replies):
            raise NeedsReply
        self._count(WRITE_LEVERAGE)
        if self.world.story.enforce == "maximum" and (self._last_read is None or self._last_read < leverage):
            self.raised.append(self._last_read)
        error = self.world.write()
        if error is not None:
            raise error

    def get_instruments(self) -> dict[str, Instrument]:
        self.world.advance()
        return {SYMBOL: Instrument(SYMBOL, 1, 25, 1, {})}

    def get_positions(self, _symbol: str | None = None) -> list[dict[str, Any]]:
        self.world.advance()
        row = {"symbol": SYMBOL, "position_id": "a", "position_side": "LONG", "position_size": "1", "mark_price": "5"}
        return [row] if self.world.story.position else []

    def get_open_orders(self, *_period: Any) -> Iterator[list[dict[str, Any]]]:
        yield []


def run(story: Story, replies: tuple[str, ...], single: bool, check_mode: bool = False) -> tuple[Result, World]:
    """Run a task in a story. Raise NeedsReply if it has more writes than responses."""
    futures: Any = StoryFutures(story, replies)
    policy = Policy([Goal(SYMBOL, DESIRED, story.enforce)], FAIL, single)
    result = _leverage.apply(futures, policy, Context(check_mode))
    if "NeedsReply" in str(result.failure):
        raise NeedsReply
    assert futures.raised == [], f"{story} {replies}"
    return result, futures.world


def run_all(story: Story, single: bool) -> Iterator[tuple[tuple[str, ...], Result, World]]:
    """Yield the end of a task for each sequence of responses to its writes."""
    pending: list[tuple[str, ...]] = [()]
    while pending:
        replies = pending.pop()
        try:
            result, world = run(story, replies, single)
        except NeedsReply:
            pending += [(*replies, name) for name in (REPLIES if len(replies) < 2 else ("500 before",))]
        else:
            yield replies, result, world


STORIES = [
    Story(before, enforce, reads, position, other)
    for before in (5, DESIRED, 20, None)
    for enforce in ("exact", "maximum")
    for reads in ((), ("", "fail", "fail"), ("", "refused"), ("", "refused", "refused"))
    for position in (False, True)
    for other in (None, (2, 5), (3, 20))
    # Nobody can tell a refused read from that of a symbol that was never configured.
    if before is not None or "refused" not in reads
]


@pytest.mark.parametrize("single", [True, False])
def test_no_task_says_an_untrue_word(single: bool) -> None:
    count, untrue = 0, []
    for story in STORIES[:: 2 if single else 5]:
        for replies, result, world in run_all(story, single):
            (row,) = result.values["results"]
            words = find_untrue_words(row["outcome"], row["leverage"], row.get("cause", ""), world)
            untrue += [f"{story} {replies}: {word}" for word in words]
            is_failed = row["outcome"] not in ("changed", "unchanged")
            assert (result.failure is not None) is is_failed
            count += 1
    assert untrue == []
    assert count > 1000


@pytest.mark.parametrize("single", [True, False])
@pytest.mark.parametrize("story", [story for story in STORIES if not story.reads and story.other is None], ids=str)
def test_check_mode_says_the_same_as_a_real_run_on_the_same_state(story: Story, single: bool) -> None:
    predicted, world = run(story, (), single, check_mode=True)
    assert world.writes == world.carried_out == 0
    reply = "refused by the API" if story.position else "confirmed"
    real, _world = run(story, (reply,), single)
    for name in ("changed", "diff"):
        assert predicted.values[name] == real.values[name]
    (predicted_row,), (real_row,) = predicted.values["results"], real.values["results"]
    assert real_row.pop("reason", "").startswith(predicted_row.pop("reason", ""))
    real_row.pop("exchange_message", None)
    assert predicted_row == real_row
