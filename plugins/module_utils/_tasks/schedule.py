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

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import endpoints, errors
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import Endpoint
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Pacer, Preview
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import Evidence, Pause
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import Goal
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.steps import Step

# A write is decided with a reading that is at most this old.
MAX_READING_AGE_SECONDS = 10.0
# A write whose reading is this old goes out before further first reads, so that its reading does not get too old.
URGENT_READING_AGE_SECONDS = 5.0

# The order of the steps with the same wait. A write has 1 or 3: that depends on the age of its reading.
_RANKS = {Step.READ_BACK: 0, Step.READ: 2, Step.EXPLAIN: 4}
# The endpoints of the search for positions and orders that explain refusals.
_SEARCH = (endpoints.POSITIONS, endpoints.OPEN_ORDERS)


@dataclass(eq=False)  # so that a row can be a key
class SymbolRow:
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
    def is_explaining(self) -> bool:
        """Whether the next step reads what explains a refusal."""
        return self.step is Step.EXPLAIN or (self.step is Step.LIMITS and self.evidence.last_attempt is not None)


class Price(NamedTuple):
    """What a step costs. The cheapest step goes first.

    Attributes:
        wait: The seconds until it can be taken.
        rank: Its order among the steps with the same wait.
        is_increase: Whether it does not lower a leverage. This decides only among equal steps.
        rate_limit_wait: The part of the wait that a rate limit causes.
        endpoint: The endpoint whose rate limit causes it.
    """

    wait: float
    rank: int
    is_increase: bool
    rate_limit_wait: float
    endpoint: Endpoint


def get_prices(rows: Sequence[SymbolRow], pacer: Pacer | Preview) -> dict[SymbolRow, Price]:
    """Return the price of each step that can be taken."""
    is_searching = any(row.step is Step.EXPLAIN for row in rows)
    used = (endpoints.READ_LEVERAGE, endpoints.WRITE_LEVERAGE, *(_SEARCH if is_searching else ()))
    now = pacer.now()
    delays = {endpoint: pacer.get_delay(endpoint) for endpoint in used}
    # An unclear write is finished before the next symbol is written, so that three in a row are noticed.
    busy = next((row for row in rows if _has_unclear_write(row)), None)
    can_take = [row for row in rows if busy is None or row is busy or row.step is not Step.WRITE]
    return {row: _get_price(row, now, delays) for row in can_take}


def _get_price(row: SymbolRow, now: float, delays: Mapping[Endpoint, float]) -> Price:
    last = row.evidence.events[-1] if row.evidence.events else None
    pause = max(0.0, last.until - now) if isinstance(last, Pause) else 0.0
    if row.step not in _RANKS:
        return _get_price_of_write(row, now, delays, pause)
    waits_for = _SEARCH if row.step is Step.EXPLAIN else (endpoints.READ_LEVERAGE,)
    rate_limit_wait, endpoint = max((delays[endpoint], endpoint) for endpoint in waits_for)
    return Price(max(rate_limit_wait, pause), _RANKS[row.step], False, rate_limit_wait, endpoint)


def _get_price_of_write(row: SymbolRow, now: float, delays: Mapping[Endpoint, float], pause: float) -> Price:
    """Return the price of a write, or of a step before it, which costs nothing."""
    reading = row.evidence.get_reading()
    age = now - reading.at if reading else math.inf
    rank = 1 if age >= URGENT_READING_AGE_SECONDS else 3
    is_increase = reading is None or reading.leverage is None or reading.leverage < row.goal.leverage
    endpoint = endpoints.WRITE_LEVERAGE
    if row.step is not Step.WRITE:
        return Price(0.0, rank, is_increase, 0.0, endpoint)
    if age + delays[endpoint] > MAX_READING_AGE_SECONDS and delays[endpoints.READ_LEVERAGE] > delays[endpoint]:
        # By then, the reading is too old, so the write needs the slot of another one, too.
        endpoint = endpoints.READ_LEVERAGE
    return Price(max(delays[endpoint], pause), rank, is_increase, delays[endpoint], endpoint)


def _has_unclear_write(row: SymbolRow) -> bool:
    """Return whether it is not clear yet what a write of the symbol did. It may also be sent again.

    Refused keys and a server in front of the API concern each symbol, so the next write waits for the reading, too.
    """
    attempt = row.evidence.last_attempt
    if attempt is None or attempt.error is None or row.is_explaining or row.step is Step.END:
        return False
    concerns_all = attempt.error.status == errors.KeysRefused.status or not attempt.error.is_from_api
    return attempt.is_possible or concerns_all or row.step is Step.WRITE
