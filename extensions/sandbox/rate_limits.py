# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rate limits: how many requests each endpoint takes in a window of time."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Hashable


class RateLimits:
    """Counts the requests of each bucket in a window of `window` seconds."""

    def __init__(self, window: float) -> None:
        self.window = window
        self._request_times: defaultdict[Hashable, deque[float]] = defaultdict(deque)

    def spend(self, bucket: Hashable, limit: int, now: float, *, fixed: bool, refused_count: bool) -> float:
        """Count one request, and return the seconds until the bucket has room for it: 0 if it has room now.

        Args:
            bucket: What is counted together.
            limit: The maximum number of requests in a window.
            now: The time in seconds of a monotonic clock.
            fixed: Whether a window starts at each full multiple of its length. Otherwise it is the last `window`
                seconds.
            refused_count: Whether a refused request counts, too.
        """
        times = self._request_times[bucket]
        start = now - now % self.window if fixed else now - self.window
        while times and (times[0] < start if fixed else times[0] <= start):
            times.popleft()
        is_refused = len(times) >= limit
        # There is room again when this time leaves the window.
        leaves_next = start if fixed else times[-limit] if is_refused and limit else now
        if not is_refused or refused_count:
            times.append(now)
        return leaves_next + self.window - now if is_refused else 0.0
