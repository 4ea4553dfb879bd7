# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Request budgets: never send more requests in any 60 s than the exchange allows, for all processes of one machine.

Each endpoint has its own limit (docs/api.md). A budget is the list of the times at which requests were answered. The
exchange counted each request at that time or earlier, so a window that starts at that time is never too short. Private
to this collection: anything here may change in any release.
"""

from __future__ import annotations

import math
import time
from typing import Any, Callable, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.budgets import MemoryBudgets, parse_budget
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import BudgetSpent

WINDOW_SECONDS = 60.0
# How much the clock of the exchange can differ from this one in one window.
MARGIN_SECONDS = 0.1
# The longest time for which a budget can be closed. A longer time in the file is ignored.
MAX_CLOSURE_SECONDS = 300.0
# A longer wait is divided, so that the task can print its progress.
MAX_SLEEP_SECONDS = 10.0


class Endpoint(NamedTuple):
    """An endpoint of the API.

    Attributes:
        name: The name in the file of the budgets.
        method: The HTTP method.
        path: The path of the URL.
        limit: The number of requests in 60 s.
        writes: Whether a request changes something, so that it must not be repeated without a read.
    """

    name: str
    method: str
    path: str
    limit: int
    writes: bool = False


class Budget(NamedTuple):
    """The request budget of an endpoint. Times are in seconds of the monotonic clock.

    Attributes:
        request_times: When each request was answered. While there is no answer: when the request was taken.
        closed_until: No request is sent before this time.
    """

    request_times: list[float]
    closed_until: float


class Pacer:
    """Delays requests so that they stay within the request budgets: a request waits only if its budget is spent.

    Args:
        budget_store: The request budgets.
        share: The part of each budget that the task can use: above 0, at most 1. At least one request is allowed.
        max_wait: The seconds that the task can wait in total.
        clock: The monotonic clock, in seconds.
        sleep: Sleeps for some seconds.

    Attributes:
        waited: The seconds that the task has waited so far.
        on_wait: Called every ten seconds during a wait.
    """

    def __init__(
        self,
        budget_store: MemoryBudgets,
        share: float,
        max_wait: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._budget_store = budget_store
        self._share = share
        self._max_wait = max_wait
        self._clock = clock
        self._sleep = sleep
        self.waited = 0.0
        self.on_wait: Callable[[], None] | None = None
        self._preview: Preview | None = None

    def start_preview(self) -> Preview:
        """Start a preview for check mode, and return it. The preview counts requests and waits as a real run would.

        The preview starts with the shared budgets and with the time waited so far. It does not sleep, and does not
        share what it counts. `Preview.simulate` simulates a write. It raises the BudgetSpent of the real run, with the
        same numbers.

        Until `end_preview`, the preview also counts each real request of this pacer, before the request is sent. So a
        real read raises BudgetSpent if it would in a real run, even if check mode itself has time left. For the same
        reason, the order of the steps must come from the preview and not from this pacer.

        The clock of the preview is the real clock plus the simulated waits that check mode has not really waited. As in
        a real run, a wait for a write also frees the budget of the reads, and no second counts twice.
        """
        with self._budget_store.open() as budgets:
            self._preview = Preview(self, budgets)
        return self._preview

    def end_preview(self) -> None:
        """Stop counting real requests in the preview, because a real run would not send the next ones."""
        self._preview = None

    def get_max_requests(self, endpoint: Endpoint) -> int:
        """Return how many requests the task can send to an endpoint in one window."""
        return max(1, math.floor(endpoint.limit * self._share + 1e-9))

    def get_delay(self, endpoint: Endpoint, count: int = 1) -> float:
        """Return the seconds until the last of `count` more requests can be sent."""
        if not count:
            return 0.0
        with self._budget_store.open() as budgets:
            return self._calculate_delay(self._get_budget(budgets, endpoint), endpoint, count)

    def take(self, endpoint: Endpoint) -> float:
        """Wait until a request can be sent, and count it. Return its time, for `record_answer` or `release`."""
        simulated = self._preview.take(endpoint) if self._preview else 0.0
        taken_at = self._take(endpoint)
        if self._preview:
            self._preview.simulated_times[taken_at] = simulated
        return taken_at

    def _take(self, endpoint: Endpoint) -> float:
        while True:
            with self._budget_store.open() as budgets:
                budget = self._get_budget(budgets, endpoint)
                delay = self._calculate_delay(budget, endpoint, 1)
                if delay <= 0:
                    now = self._clock()
                    budgets[endpoint.name] = [[*budget.request_times, now], budget.closed_until]
                    return now
            self.check_max_wait({endpoint: 1})
            self.wait(delay)

    def record_answer(self, endpoint: Endpoint, taken_at: float) -> None:
        """Count a request from now on, because the exchange may have counted it as late as now."""
        with self._budget_store.open() as budgets:
            budget = self._get_budget(budgets, endpoint)
            if taken_at in budget.request_times:
                budget.request_times.remove(taken_at)
            budgets[endpoint.name] = [[*budget.request_times, self._clock()], budget.closed_until]
        if self._preview:
            self._preview.record_answer(endpoint, self._preview.simulated_times.pop(taken_at, taken_at))

    def release(self, endpoint: Endpoint, taken_at: float) -> None:
        """Remove a request that was taken but not sent."""
        with self._budget_store.open() as budgets:
            budget = self._get_budget(budgets, endpoint)
            if taken_at in budget.request_times:
                budget.request_times.remove(taken_at)
            budgets[endpoint.name] = [budget.request_times, budget.closed_until]
        if self._preview:
            self._preview.release(endpoint, self._preview.simulated_times.pop(taken_at, taken_at))

    def close_budget(self, endpoint: Endpoint, seconds: float) -> None:
        """Send no request to an endpoint for some seconds, because the exchange answered that its budget is spent."""
        with self._budget_store.open() as budgets:
            budget = self._get_budget(budgets, endpoint)
            until = self._clock() + min(seconds, MAX_CLOSURE_SECONDS)
            budgets[endpoint.name] = [budget.request_times, max(budget.closed_until, until)]
        if self._preview:
            self._preview.close_budget(endpoint, seconds)

    def check_max_wait(self, planned: Mapping[Endpoint, int]) -> None:
        """Raise BudgetSpent if the planned requests of an endpoint do not fit into the rest of the max wait."""
        waits = [(self.get_delay(endpoint, count), endpoint, count) for endpoint, count in planned.items() if count]
        seconds, endpoint, count = max(waits, default=(0.0, None, 0))
        if endpoint is None or seconds <= 0 or self.waited + seconds <= self._max_wait:
            return
        max_requests = self.get_max_requests(endpoint)
        requests = "1 request" if max_requests == 1 else f"{max_requests} requests"
        raise BudgetSpent(
            f"the rate limit of {endpoint.method} {endpoint.path} ({requests} in 60 s for this task) needs a wait of "
            f"about {math.ceil(seconds)} s for {count} more, but rate_limit_timeout leaves only "
            f"{math.floor(self._max_wait - self.waited)} s of {self._max_wait:g} s: increase it, or run the task again "
            "later"
        )

    def wait(self, seconds: float) -> None:
        """Sleep because of a rate limit."""
        self.waited += seconds
        while self.on_wait and seconds > MAX_SLEEP_SECONDS:
            self._sleep(MAX_SLEEP_SECONDS)
            seconds -= MAX_SLEEP_SECONDS
            self.on_wait()
        self._sleep(seconds)

    def _get_budget(self, budgets: dict[str, Any], endpoint: Endpoint) -> Budget:
        """Return the budget of an endpoint without requests that no longer count, and without impossible times."""
        now = self._clock()
        sent, closed = parse_budget(budgets.get(endpoint.name))
        # Older requests than these cannot delay the next one. The limit also bounds the time for a large file.
        request_times = sorted(t for t in sent if now - WINDOW_SECONDS - MARGIN_SECONDS < t <= now)[-endpoint.limit :]
        return Budget(request_times, closed if now < closed <= now + MAX_CLOSURE_SECONDS else 0.0)

    def _calculate_delay(self, budget: Budget, endpoint: Endpoint, count: int) -> float:
        now = self._clock()
        allowed = self.get_max_requests(endpoint)
        start = max(now, budget.closed_until)
        times = list(budget.request_times)
        for _request in range(count):
            due = times[-allowed] + WINDOW_SECONDS + MARGIN_SECONDS if len(times) >= allowed else start
            times.append(max(start, due))
        return times[-1] - now


class Preview(Pacer):
    """Does what the pacer of a real run would do. See Pacer.start_preview.

    Attributes:
        simulated_times: The simulated time of each real request that was taken.
    """

    def __init__(self, real: Pacer, budgets: Mapping[str, Any]) -> None:
        super().__init__(
            MemoryBudgets(budgets), real._share, real._max_wait, self._get_simulated_time, lambda seconds: None
        )
        self._real = real
        self._answer_seconds = 0.0
        self.simulated_times: dict[float, float] = {}

    def simulate(self, endpoint: Endpoint, seconds: float) -> None:
        """Simulate a request whose answer takes some seconds. Raise BudgetSpent as `take` does."""
        taken_at = self.take(endpoint)
        self._answer_seconds += seconds
        self.record_answer(endpoint, taken_at)

    def _get_simulated_time(self) -> float:
        # A real run takes at least as long as check mode: it sends the same reads, and writes too.
        self.waited = max(self.waited, self._real.waited - self._answer_seconds)
        return self._real._clock() + (self.waited - self._real.waited) + self._answer_seconds
