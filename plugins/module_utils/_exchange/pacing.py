# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Request budgets: never send more requests in any 60 s than the exchange allows, for all processes of one machine.

Each endpoint has its own limit (docs/api.md). A budget is the list of the times at which requests were answered. The
exchange counted each request at that time or earlier, so a window that starts at that time is never too short. Private
to this collection: anything here may change in any release.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections import defaultdict
from typing import Any, Callable, Iterator, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.budgets import MemoryBudgets, parse_budget
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import Endpoint
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import BudgetSpent, MustWait

WINDOW_SECONDS = 60.0
# How much the clock of the exchange can differ from this one in one window.
MARGIN_SECONDS = 0.1
# The longest time for which a budget can be closed. A longer time in the file is ignored.
MAX_CLOSURE_SECONDS = 300.0
# A longer wait is divided, so that the task can print its progress.
MAX_SLEEP_SECONDS = 10.0
# A pause after HTTP 429 reaches the whole window after six doublings.
_MAX_DOUBLINGS = 6


class Budget(NamedTuple):
    """The request budget of an endpoint. Times are in seconds of the monotonic clock.

    Attributes:
        request_times: When each request was answered. While there is no response: when the request was taken.
        closed_until: No request is sent before this time.
    """

    request_times: list[float]
    closed_until: float


class _Refusals:
    """What a task has learned from HTTP 429 of one endpoint.

    Attributes:
        in_a_row: How many requests were refused since the last accepted one.
        pause: The seconds of the first pause after a refusal. It grows to the time that the last refusals took to end.
        spacing: The seconds between two requests, after a refusal that the documented limit does not explain.
        burst_start: When the first of the requests was answered that the exchange accepted before it refused one.
        burst_size: How many requests these were.
    """

    in_a_row = 0
    pause = 1.0
    spacing = 0.0
    burst_start = 0.0
    burst_size = 0


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
        on_wait: Called at the start of a wait and every ten seconds, with the seconds that are left.
    """

    def __init__(
        self,
        budget_store: MemoryBudgets,
        share: float,
        max_wait: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.budget_store = budget_store
        self.share = share
        self.max_wait = max_wait
        self.now = clock
        self._sleep = sleep
        self._refusals: defaultdict[Endpoint, _Refusals] = defaultdict(_Refusals)
        self.waited = 0.0
        self.on_wait: Callable[[float], None] | None = None

    @property
    def wait_left(self) -> float:
        """The seconds that the task can still wait."""
        return self.max_wait - self.waited

    def get_max_requests(self, endpoint: Endpoint) -> int:
        """Return how many requests the task can send to an endpoint in one window."""
        return max(1, math.floor(endpoint.limit * self.share + 1e-9))

    def get_delay(self, endpoint: Endpoint, count: int = 1) -> float:
        """Return the seconds until the last of `count` more requests can be sent."""
        if not count:
            return 0.0
        with self.budget_store.open() as budgets:
            return self._calculate_delay(self._get_budget(budgets, endpoint), endpoint, count)

    def take(self, endpoint: Endpoint) -> float:
        """Wait until a request can be sent, and count it.

        Returns:
            Its time, for `record_response` or `release`.

        Raises:
            BudgetSpent: The wait is longer than the rest of the max wait.
        """
        while True:
            try:
                return self.take_now(endpoint)
            except MustWait:
                self.wait_for(endpoint)

    def take_now(self, endpoint: Endpoint) -> float:
        """Count a request that can be sent now, and return its time. Raise MustWait if it must wait."""
        with self.budget_store.open() as budgets:
            budget = self._get_budget(budgets, endpoint)
            if self._calculate_delay(budget, endpoint, 1) > 0:
                raise MustWait(f"The rate limit of {endpoint} requires a wait.")
            now = self.now()
            budgets[endpoint.name] = [[*budget.request_times, now], budget.closed_until]
            return now

    def record_response(self, endpoint: Endpoint, taken_at: float, accepted: bool = True) -> None:
        """Count a request from now on, because the exchange may have counted it as late as now.

        Args:
            endpoint: The endpoint.
            taken_at: The time that `take` returned.
            accepted: Whether the response is another one than HTTP 429.
        """
        with self.budget_store.open() as budgets:
            budget = self._get_budget(budgets, endpoint, without=taken_at)
            budgets[endpoint.name] = [[*budget.request_times, self.now()], budget.closed_until]
        if accepted and self.is_refused(endpoint):
            self._learn_spacing(endpoint)

    def release(self, endpoint: Endpoint, taken_at: float) -> None:
        """Remove a request that was taken but not sent."""
        with self.budget_store.open() as budgets:
            budget = self._get_budget(budgets, endpoint, without=taken_at)
            budgets[endpoint.name] = [budget.request_times, budget.closed_until]

    def handle_refusal(self, endpoint: Endpoint, retry_after: float | None) -> None:
        """Close a budget after HTTP 429, for all processes of the machine.

        The documented limit does not explain the refusal, because the budget had room for the request. So the exchange
        also limits bursts, or another program uses the same key. Both can end soon, so the first pauses are short: 1, 2
        and 4 seconds.

        Args:
            endpoint: The endpoint.
            retry_after: The seconds of the Retry-After header, or None without a valid header.
        """
        refusals = self._refusals[endpoint]
        refusals.in_a_row += 1
        with self.budget_store.open() as budgets:
            budget = self._get_budget(budgets, endpoint)
            seconds = min(WINDOW_SECONDS, refusals.pause * 2.0 ** min(refusals.in_a_row - 1, _MAX_DOUBLINGS))
            if refusals.in_a_row == 1:
                # The last request is the refused one.
                accepted = budget.request_times[:-1]
                refusals.burst_start = accepted[0] if accepted else self.now()
                refusals.burst_size = len(accepted)
                # Use only the first Retry-After. A wrong value could repeat forever.
                seconds = seconds if retry_after is None else retry_after
            until = self.now() + min(seconds, MAX_CLOSURE_SECONDS)
            budgets[endpoint.name] = [budget.request_times, max(budget.closed_until, until)]

    def _learn_spacing(self, endpoint: Endpoint) -> None:
        """Spread the next requests as the exchange did, but not slower than the documented limit."""
        refusals = self._refusals[endpoint]
        refusals.pause = min(WINDOW_SECONDS, refusals.pause * (2.0 ** min(refusals.in_a_row, _MAX_DOUBLINGS) - 1))
        if refusals.burst_size:
            observed = (self.now() - refusals.burst_start) / refusals.burst_size
            refusals.spacing = min(observed, WINDOW_SECONDS / self.get_max_requests(endpoint))
        refusals.in_a_row = 0

    def check_max_wait(self, planned: Mapping[Endpoint, int]) -> None:
        """Raise BudgetSpent if the planned requests of an endpoint do not fit into the rest of the max wait."""
        waits = [(self.get_delay(endpoint, count), endpoint, count) for endpoint, count in planned.items() if count]
        seconds, endpoint, count = max(waits, default=(0.0, None, 0))
        if endpoint is not None and seconds > 0 and seconds > self.wait_left:
            raise self.make_budget_spent(endpoint, count)

    def make_budget_spent(self, endpoint: Endpoint, count: int = 1) -> BudgetSpent:
        """Return the error of requests that do not fit into the rest of the max wait."""
        seconds = math.ceil(self.get_delay(endpoint, count))
        left = f"rate_limit_timeout ({self.max_wait:g} s) allows only {max(0, math.floor(self.wait_left))} s more"
        advice = "Increase rate_limit_timeout, or run the task again later."
        refused = self._refusals[endpoint].in_a_row
        requests = "1 more request" if count == 1 else f"{count} more requests"
        if refused:
            times = "" if refused == 1 else f" {refused} times in a row"
            when = f"{requests} take about {seconds} s"
            first = math.ceil(self.get_delay(endpoint))
            if count == 1 or first > self.wait_left:
                when = f"The next request is due in about {first} s"
            return BudgetSpent(
                f"The exchange answered {endpoint} with HTTP 429 (too many requests){times}. {when}, but {left}. "
                f"{advice} Check whether another program uses the same key."
            )
        limit = f"limit: {self.get_max_requests(endpoint)} in 60 s"
        return BudgetSpent(f"Sending {requests} to {endpoint} takes about {seconds} s ({limit}), but {left}. {advice}")

    def is_refused(self, endpoint: Endpoint) -> bool:
        """Return whether the last request to an endpoint was refused with HTTP 429."""
        return self._refusals[endpoint].in_a_row > 0

    def wait_for(self, endpoint: Endpoint) -> None:
        """Wait until one request can be sent. Raise BudgetSpent if that takes longer than the rest of the max wait."""
        self.check_max_wait({endpoint: 1})
        self.wait(self.get_delay(endpoint))

    def wait(self, seconds: float) -> None:
        """Sleep because of a rate limit."""
        self.waited += seconds
        if self.on_wait:
            self.on_wait(seconds)
        while self.on_wait and seconds > MAX_SLEEP_SECONDS:
            self._sleep(MAX_SLEEP_SECONDS)
            seconds -= MAX_SLEEP_SECONDS
            self.on_wait(seconds)
        self._sleep(seconds)

    def _get_budget(self, budgets: dict[str, Any], endpoint: Endpoint, without: float | None = None) -> Budget:
        """Return the budget of an endpoint without requests that no longer count, and without impossible times.

        Args:
            budgets: The budgets of all endpoints.
            endpoint: The endpoint.
            without: The time of a request that is not counted either.
        """
        now = self.now()
        sent, closed = parse_budget(budgets.get(endpoint.name))
        if without in sent:
            sent.remove(without)
        # Older requests than these cannot delay the next one. The limit also bounds the time for a large file.
        request_times = sorted(t for t in sent if now - WINDOW_SECONDS - MARGIN_SECONDS < t <= now)[-endpoint.limit :]
        return Budget(request_times, closed if now < closed <= now + MAX_CLOSURE_SECONDS else 0.0)

    def _calculate_delay(self, budget: Budget, endpoint: Endpoint, count: int) -> float:
        now = self.now()
        allowed = self.get_max_requests(endpoint)
        spacing = self._refusals[endpoint].spacing
        start = max(now, budget.closed_until)
        times = list(budget.request_times)
        for _request in range(count):
            due = times[-allowed] + WINDOW_SECONDS + MARGIN_SECONDS if len(times) >= allowed else start
            spaced = times[-1] + spacing if spacing and times else start
            times.append(max(start, due, spaced))
        return times[-1] - now


class Preview:
    """The pacer of check mode: it sends the real requests of check mode, and simulates those of a real run.

    A real request is counted twice: in the shared budgets, and in a copy of them that nobody else sees. A simulated
    request is counted only in the copy. So `get_delay` and the waits are those of a real run, and an error of the max
    wait has the same numbers.

    The clock of the preview is the real clock plus the simulated waits that check mode has not really waited, plus the
    time that the simulated responses take. No second counts twice, and a wait for a write also frees the budget of the
    reads, as in a real run.

    Args:
        real: The pacer of the task.
    """

    def __init__(self, real: Pacer) -> None:
        self.real = real
        self._response_seconds = 0.0
        # The time that check mode spent on requests that a real run would not send, and the waits in it.
        self._extra_seconds = 0.0
        self._extra_waited = 0.0
        self._stopped_at: float | None = None
        with real.budget_store.open() as budgets:
            copy = MemoryBudgets(budgets)
        self._simulated = Pacer(copy, real.share, real.max_wait, self.now, lambda seconds: None)
        self._simulated.waited = real.waited
        # The time of the request that is being sent, in the copy of the budgets. Requests are sent one after the other.
        self._simulated_at = 0.0
        self.max_wait = real.max_wait
        self.get_delay = self._simulated.get_delay
        self.check_max_wait = self._simulated.check_max_wait
        self.make_budget_spent = self._simulated.make_budget_spent
        self.is_refused = self._simulated.is_refused
        self.wait = self._simulated.wait

    @property
    def waited(self) -> float:
        """The seconds that a real run would have waited so far."""
        self.now()
        return self._simulated.waited

    @property
    def wait_left(self) -> float:
        """The seconds that a real run could still wait."""
        return self.max_wait - self.waited

    def now(self) -> float:
        """Return the time of a real run, in seconds of the monotonic clock."""
        if self._stopped_at is not None:
            return self._stopped_at
        # A real run takes at least as long as check mode: it sends the same reads, and writes too.
        simulated, real_waited = self._simulated, self.real.waited - self._extra_waited
        simulated.waited = max(simulated.waited, real_waited - self._response_seconds)
        return self.real.now() - self._extra_seconds + (simulated.waited - real_waited) + self._response_seconds

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop the clock of the preview for requests that a real run would not send now."""
        self._stopped_at = self.now()
        started, waited = self.real.now(), self.real.waited
        try:
            yield
        finally:
            self._stopped_at = None
            self._extra_seconds += self.real.now() - started
            self._extra_waited += self.real.waited - waited

    def simulate(self, endpoint: Endpoint, seconds: float) -> None:
        """Simulate a request whose response takes some seconds. Raise BudgetSpent as `Pacer.take` does."""
        taken_at = self._simulated.take(endpoint)
        self._response_seconds += seconds
        self._simulated.record_response(endpoint, taken_at)

    def take(self, endpoint: Endpoint) -> float:
        """Do what `Pacer.take` does, for a real request."""
        self._simulated_at = self._simulated.take(endpoint)
        return self.real.take(endpoint)

    def take_now(self, endpoint: Endpoint) -> float:
        """Refuse a write: check mode sends none."""
        raise RuntimeError(f"check mode must not send {endpoint}")

    def record_response(self, endpoint: Endpoint, taken_at: float, accepted: bool = True) -> None:
        """Do what `Pacer.record_response` does."""
        self.real.record_response(endpoint, taken_at, accepted)
        self._simulated.record_response(endpoint, self._simulated_at, accepted)

    def release(self, endpoint: Endpoint, taken_at: float) -> None:
        """Do what `Pacer.release` does."""
        self.real.release(endpoint, taken_at)
        self._simulated.release(endpoint, self._simulated_at)

    def handle_refusal(self, endpoint: Endpoint, retry_after: float | None) -> None:
        """Do what `Pacer.handle_refusal` does."""
        self.real.handle_refusal(endpoint, retry_after)
        self._simulated.handle_refusal(endpoint, retry_after)
