# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How many requests an endpoint takes in a window of time."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable

# Requests per 60 s that the vendor documents; an endpoint that is not named has no limit.
DOCUMENTED_LIMITS: dict[str, int] = {
    "write_leverage": 10,
    "read_leverage": 20,
    "instruments": 100,
    "positions": 20,
    "open_orders": 20,
    "wallet": 20,
    "cancel_order": 10,
    "cancel_all": 10,
}


class RateLimits:
    """Buckets of request times. Time is a monotonic clock's seconds, handed in with every call."""

    def __init__(self, window: float) -> None:
        self.window = window
        self._spent: defaultdict[Hashable, deque[float]] = defaultdict(deque)

    def spend(self, bucket: Hashable, limit: int, now: float, *, fixed: bool, refused_count: bool) -> float:
        """Take one request from `bucket`: 0 if it had room, else the seconds until it has.

        A sliding window holds the requests of the last `window` seconds, a fixed one those since a full multiple of it.
        """
        spent = self._spent[bucket]
        start = now - now % self.window if fixed else now - self.window
        while spent and (spent[0] < start if fixed else spent[0] <= start):
            spent.popleft()
        refused = len(spent) >= limit
        oldest_to_leave = start if fixed else spent[-limit] if refused and limit else now
        if not refused or refused_count:
            spent.append(now)
        return oldest_to_leave + self.window - now if refused else 0.0
