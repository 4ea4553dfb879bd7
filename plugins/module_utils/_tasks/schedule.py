# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which step of which symbol goes first: the cheapest one.

A step is cheap if its request can be sent soon. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Mapping, NamedTuple, Sequence

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import (
    OPEN_ORDERS,
    POSITIONS,
    READ_LEVERAGE,
    WRITE_LEVERAGE,
    Endpoint,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Pacer, Preview
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import (
    KEYS_STATUS,
    Evidence,
    Goal,
    Pause,
    Reading,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.steps import Step

# A write is decided with a reading that is at most this old.
MAX_READING_AGE_SECONDS = 10.0
# A write whose reading is this old goes out before further first reads, so that its reading does not get too old.
URGENT_READING_AGE_SECONDS = 5.0


@dataclass
class Row:
    """A symbol of the policy.

    Attributes:
        goal: What the policy says.
        evidence: What is known.
        step: The next step.
        is_counted: Whether the end of its writes was counted as clear or unclear.
    """

    goal: Goal
    evidence: Evidence = field(default_factory=Evidence)
    step: Step = Step.READ
    is_counted: bool = False

    @property
    def reading(self) -> Reading | None:
        """The last reading that worked."""
        return self.evidence.get_reading()

    @property
    def explains(self) -> bool:
        """Whether the next step reads what explains a refusal."""
        return self.step is Step.EXPLAIN or (self.step is Step.LIMITS and self.evidence.last_attempt is not None)


class Price(NamedTuple):
    """What a step costs. The cheapest step goes first.

    Attributes:
        wait: The seconds until it can be taken.
        rank: Its order among the steps with the same wait.
        raises: Whether it does not lower a leverage. This decides only among equal steps.
        slot: The part of the wait that a rate limit causes.
        endpoint: The endpoint whose rate limit causes it.
    """

    wait: float
    rank: int
    raises: bool
    slot: float
    endpoint: Endpoint


class Delays(NamedTuple):
    """The time, and the seconds until a request of each kind can be sent."""

    now: float
    read: float
    write: float
    search: float
    search_endpoint: Endpoint


def _get_price(row: Row, delays: Delays) -> Price:
    last = row.evidence.events[-1] if row.evidence.events else None
    pause = max(0.0, last.until - delays.now) if isinstance(last, Pause) else 0.0
    if row.step is Step.READ or row.step is Step.READ_BACK:
        rank = 2 if row.step is Step.READ else 0
        return Price(max(delays.read, pause), rank, False, delays.read, READ_LEVERAGE)
    if row.step is Step.EXPLAIN:
        return Price(delays.search, 4, False, delays.search, delays.search_endpoint)
    return _get_price_of_write(row, delays, pause)


def _get_price_of_write(row: Row, delays: Delays, pause: float) -> Price:
    reading = row.reading
    age = delays.now - reading.at if reading else math.inf
    rank = 1 if age >= URGENT_READING_AGE_SECONDS else 3
    raises = reading is None or reading.leverage is None or reading.leverage < row.goal.leverage
    if row.step is not Step.WRITE:
        return Price(0.0, rank, raises, 0.0, WRITE_LEVERAGE)
    slot, endpoint = delays.write, WRITE_LEVERAGE
    if age + delays.write > MAX_READING_AGE_SECONDS and delays.read > delays.write:
        # By then, the reading is too old, so the write needs the slot of another one, too.
        slot, endpoint = delays.read, READ_LEVERAGE
    return Price(max(slot, pause), rank, raises, slot, endpoint)


def get_prices(rows: Sequence[Row], pacer: Pacer | Preview) -> dict[int, Price]:
    """Return the price of each step that can be taken, by the index of its row."""
    delays = Delays(
        pacer.now(), pacer.get_delay(READ_LEVERAGE), pacer.get_delay(WRITE_LEVERAGE), *_get_delay_of_search(rows, pacer)
    )
    # An unclear write is finished before the next symbol is written, so that three in a row are noticed.
    busy = next((row for row in rows if _has_unclear_write(row)), None)
    return {
        index: _get_price(row, delays)
        for index, row in enumerate(rows)
        if busy is None or row is busy or row.step is not Step.WRITE
    }


def find_cheapest(prices: Mapping[int, Price]) -> int:
    """Return the index of the row whose step goes first."""
    return min(prices, key=lambda index: (*prices[index][:3], index))


def _get_delay_of_search(rows: Sequence[Row], pacer: Pacer | Preview) -> tuple[float, Endpoint]:
    """Return the seconds until the search for blockers can start, and the endpoint that it waits for."""
    if not any(row.step is Step.EXPLAIN for row in rows):
        return 0.0, POSITIONS
    return max((pacer.get_delay(endpoint), endpoint) for endpoint in (POSITIONS, OPEN_ORDERS))


def _has_unclear_write(row: Row) -> bool:
    """Return whether it is not clear yet what a write of the symbol did. It may also be sent again.

    Refused keys and a server in front of the API concern each symbol, so the next write waits for the reading, too.
    """
    attempt = row.evidence.last_attempt
    if attempt is None or attempt.error is None or row.explains or row.step is Step.END:
        return False
    concerns_all = attempt.error.status == KEYS_STATUS or not attempt.error.is_from_api
    return attempt.is_possible or concerns_all or row.step is Step.WRITE
