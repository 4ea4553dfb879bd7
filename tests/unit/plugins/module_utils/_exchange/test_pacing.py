# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pacing: bursts up to the limit, no unnecessary wait, short pauses after an early HTTP 429, and the preview."""

from __future__ import annotations

import copy
import heapq
import json
import random
import tempfile
import unittest.mock
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.budgets import BudgetStore, MemoryBudgets
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import READ_LEVERAGE, Endpoint
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import BudgetSpent, Ends, MustWait
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import (
    MARGIN_SECONDS,
    MAX_CLOSURE_SECONDS,
    WINDOW_SECONDS,
    Pacer,
    Preview,
)

from ..client_setup import Clock
from .pacing_setup import (
    FULL_WINDOW,
    NO_FILE_DESCRIPTOR,
    START,
    TEN_PER_WINDOW,
    THREE_PER_WINDOW,
    NewPacer,
    make_failing,
    send_requests,
)


def refuse(pacer: Pacer | Preview, endpoint: Endpoint = THREE_PER_WINDOW, retry_after: float | None = None) -> float:
    """Send a request that is refused with HTTP 429 at once. Return the time at which it was sent."""
    taken = pacer.take(endpoint)
    pacer.record_response(endpoint, taken, accepted=False)
    pacer.handle_refusal(endpoint, retry_after)
    return taken


class RealLimit:
    """The rate limit of an exchange that does not do what it documents: `count` requests in any `seconds`.

    Attributes:
        accepted: The times of the accepted requests.
        refused: The times of the refused requests.
    """

    def __init__(self, clock: Callable[[], float], count: int, seconds: float, refused_count: bool = False) -> None:
        self._clock = clock
        self._count = count
        self._seconds = seconds
        self._refused_count = refused_count
        self.accepted: list[float] = []
        self.refused: list[float] = []

    def send(self, pacer: Pacer | Preview, endpoint: Endpoint = READ_LEVERAGE) -> None:
        """Send one request, again and again until it is accepted."""
        while True:
            taken = pacer.take(endpoint)
            now = self._clock()
            counted = self.accepted + (self.refused if self._refused_count else [])
            accepted = sum(now - time < self._seconds for time in counted) < self._count
            (self.accepted if accepted else self.refused).append(now)
            pacer.record_response(endpoint, taken, accepted)
            if accepted:
                return
            pacer.handle_refusal(endpoint, None)


class RequestLog:
    """The times at which the exchange saw each request."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def max_in_one_window(self) -> int:
        """Return the largest number of requests in any window of the exchange."""
        times = sorted(self.times)
        return max(sum(1 for time in times if start <= time < start + WINDOW_SECONDS) for start in times)


class Step(NamedTuple):
    """The next step of one pacer in `run_side_by_side`: to send a request, or to receive the response of one.

    Attributes:
        time: When the step happens.
        pacer_index: The index of the pacer.
        remaining: How many requests the pacer still has to send.
        taken: When the request that is on its way was taken. None if the step is to send one.
    """

    time: float
    pacer_index: int
    remaining: int
    taken: float | None


def run_side_by_side(pacers: list[Pacer], requests: int, clock: Clock, draw_latency: Callable[[], float]) -> RequestLog:
    """Let several pacers send requests at the same time.

    Args:
        pacers: The pacers. Each sends its requests one after the other.
        requests: How many requests each pacer sends.
        clock: The clock of the pacers.
        draw_latency: Returns the seconds until the exchange sees a request, and the seconds until its response arrives.
    """
    log = RequestLog()
    steps = [Step(clock(), index, requests, None) for index in range(len(pacers))]
    while steps:
        step = heapq.heappop(steps)
        clock.now = max(clock.now, step.time)
        pacer = pacers[step.pacer_index]
        if step.taken is not None:
            pacer.record_response(THREE_PER_WINDOW, step.taken)
            if step.remaining:
                heapq.heappush(steps, Step(clock(), step.pacer_index, step.remaining, None))
        elif (delay := pacer.get_delay(THREE_PER_WINDOW)) > 0:
            heapq.heappush(steps, step._replace(time=clock() + delay))
        else:
            taken = pacer.take(THREE_PER_WINDOW)
            seen = clock() + draw_latency()
            log.times.append(seen)
            heapq.heappush(steps, Step(seen + draw_latency(), step.pacer_index, step.remaining - 1, taken))
    return log


# --- Endpoint ---


def test_endpoint_reads_unless_writes_is_set() -> None:
    assert not THREE_PER_WINDOW.writes
    assert TEN_PER_WINDOW.writes


def test_text_of_an_endpoint_is_its_method_and_path() -> None:
    assert str(THREE_PER_WINDOW) == "GET /three"
    assert str(TEN_PER_WINDOW) == "POST /ten"


# --- Pacer.get_max_requests ---


@pytest.mark.parametrize(
    ("share", "limit", "allowed"),
    [
        (1.0, 10, 10),
        (1.0, 3, 3),
        (0.5, 10, 5),
        (0.5, 3, 1),
        (0.99, 10, 9),
        (0.7, 10, 7),
        (0.29, 100, 29),
        (0.1, 10, 1),
        (0.01, 10, 1),
        (1e-9, 100, 1),
    ],
)
def test_allowed_is_the_share_of_the_limit_and_at_least_1(
    new_pacer: NewPacer, clock: Clock, share: float, limit: int, allowed: int
) -> None:
    endpoint = Endpoint("some", "GET", "/some", limit)
    pacer = new_pacer(share=share)
    assert pacer.get_max_requests(endpoint) == allowed
    send_requests(pacer, allowed, endpoint)
    assert clock.slept == []
    assert pacer.get_delay(endpoint) == pytest.approx(FULL_WINDOW)


def test_requests_of_other_pacers_count_against_the_share(new_pacer: NewPacer) -> None:
    send_requests(new_pacer(), 6, TEN_PER_WINDOW)
    half = new_pacer(share=0.5)
    assert half.get_delay(TEN_PER_WINDOW) == pytest.approx(FULL_WINDOW)
    assert new_pacer(share=0.7).get_delay(TEN_PER_WINDOW) == 0
    assert new_pacer(share=0.7).get_delay(TEN_PER_WINDOW, 2) == pytest.approx(FULL_WINDOW)


# --- Pacer.get_delay ---


@pytest.mark.parametrize(
    ("count", "windows"), [(0, 0), (1, 0), (3, 0), (4, 1), (6, 1), (7, 2), (9, 2), (10, 3), (24, 7)]
)
def test_delay_is_the_time_until_the_last_request_is_sent(
    new_pacer: NewPacer, clock: Clock, count: int, windows: int
) -> None:
    pacer = new_pacer()
    predicted = pacer.get_delay(THREE_PER_WINDOW, count)
    assert predicted == pytest.approx(windows * FULL_WINDOW)
    send_requests(pacer, count)
    assert clock() == pytest.approx(START + predicted)


def test_each_endpoint_has_its_own_budget(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer()
    send_requests(pacer, 3, THREE_PER_WINDOW)
    send_requests(pacer, 10, TEN_PER_WINDOW)
    assert clock.slept == []
    assert pacer.get_delay(THREE_PER_WINDOW) == pacer.get_delay(TEN_PER_WINDOW) == pytest.approx(FULL_WINDOW)


# --- Pacer.take ---


def test_take_allows_a_burst_up_to_the_limit_and_then_waits(new_pacer: NewPacer, clock: Clock) -> None:
    sent = send_requests(new_pacer(), 7)
    assert sent == pytest.approx([START] * 3 + [START + FULL_WINDOW] * 3 + [START + 2 * FULL_WINDOW])
    assert clock.slept == pytest.approx([FULL_WINDOW, FULL_WINDOW])


def test_each_request_stops_counting_at_its_own_time(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer()
    for _request in range(3):
        send_requests(pacer, 1)
        clock.now += 10
    assert send_requests(pacer, 4) == pytest.approx(
        [START + FULL_WINDOW, START + 10 + FULL_WINDOW, START + 20 + FULL_WINDOW, START + 2 * FULL_WINDOW]
    )


@pytest.mark.parametrize("remaining", [30.0, 0.9, 0.001])
def test_take_waits_exactly_until_the_first_request_stops_counting(
    new_pacer: NewPacer, clock: Clock, remaining: float
) -> None:
    pacer = new_pacer()
    send_requests(pacer, 3)
    clock.now += FULL_WINDOW - remaining
    assert send_requests(pacer, 1) == pytest.approx([START + FULL_WINDOW])
    assert clock.slept == pytest.approx([remaining])


def test_take_does_not_change_the_file_if_max_wait_is_too_short(new_pacer: NewPacer, budgets_file: Path) -> None:
    pacer = new_pacer(max_wait=0)
    send_requests(pacer, 3)
    before = budgets_file.read_text()
    with pytest.raises(BudgetSpent):
        pacer.take(THREE_PER_WINDOW)
    assert budgets_file.read_text() == before


@pytest.mark.parametrize("max_latency", [0.0, 0.3, 5.0])
@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("seed", range(4))
def test_several_pacers_stay_within_the_limit_in_every_window_of_the_exchange(
    new_pacer: NewPacer, clock: Clock, seed: int, count: int, max_latency: float
) -> None:
    generator = random.Random(seed)
    pacers = [new_pacer() for _pacer in range(count)]
    started = clock()
    log = run_side_by_side(pacers, 14 // count, clock, lambda: generator.uniform(0, max_latency))
    assert len(log.times) == 14
    assert log.max_in_one_window() == THREE_PER_WINDOW.limit
    assert clock.slept == [], "take does not wait after delay returned 0"
    assert clock() - started <= 4 * (FULL_WINDOW + 2 * max_latency) + 2 * max_latency, "no window is left unused"


# The index of a pacer, what happens, the seconds until the exchange sees a request, and until its response arrives.
EVENT = st.tuples(
    st.integers(0, 2),
    st.sampled_from(["send", "send", "send", "429", "fork", "no file", "pause"]),
    st.floats(0, 20),
    st.floats(0, 20),
)


@given(events=st.lists(EVENT, max_size=40))
def test_any_order_of_events_stays_within_the_limit_without_unnecessary_waits(
    events: list[tuple[int, str, float, float]],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        clock = Clock(START)

        def build(budget_store: BudgetStore) -> Pacer:
            return Pacer(budget_store, 1.0, 1e9, clock, clock.sleep)

        stores = [BudgetStore("key", f"{directory}/budgets") for _pacer in range(3)]
        pacers = [build(store) for store in stores]
        log = RequestLog()
        answered: list[float] = []
        closed_until = 0.0
        # The pacers that were refused. They can space their requests.
        refused: set[int] = set()
        for index, event, latency, response_latency in events:
            pacer = pacers[index]
            if event == "pause":
                clock.now += latency
            elif event == "fork":
                stores[index] = copy.deepcopy(stores[index])
                pacers[index] = build(stores[index])
                refused.discard(index)
            elif event == "no file":
                # The pacer cannot open the file once, and sends nothing in the meantime.
                with unittest.mock.patch("os.open", make_failing(NO_FILE_DESCRIPTOR)):
                    pacer.get_delay(THREE_PER_WINDOW)
            else:
                counted = sorted(time for time in answered if clock() - FULL_WINDOW < time)
                window_is_full = len(counted) >= THREE_PER_WINDOW.limit
                free_at = counted[-THREE_PER_WINDOW.limit] + FULL_WINDOW if window_is_full else 0.0
                earliest = max(free_at, closed_until, clock())
                # Even spaced requests are never slower than the documented limit.
                spaced = answered[-1] + WINDOW_SECONDS / THREE_PER_WINDOW.limit if answered else 0.0
                latest = max(earliest, spaced) if index in refused else earliest
                taken = pacer.take(THREE_PER_WINDOW)
                assert earliest - 1e-6 <= taken <= latest + 1e-6, "exactly when the window is free"
                clock.now += latency
                log.times.append(clock())
                clock.now += response_latency
                pacer.record_response(THREE_PER_WINDOW, taken, accepted=event != "429")
                answered.append(clock())
                if event == "429":
                    is_first = index not in refused
                    refused.add(index)
                    pacer.handle_refusal(THREE_PER_WINDOW, response_latency)
                    with stores[index].open() as budgets:
                        closure = budgets["three"][1]
                    if is_first:
                        assert closure == pytest.approx(max(closed_until, clock() + response_latency), abs=1e-6)
                    closed_until = max(closed_until, closure)
        assert not log.times or log.max_in_one_window() <= THREE_PER_WINDOW.limit


# --- Pacer.take_now ---


def test_take_now_counts_a_request_that_can_be_sent_now(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer()
    assert [pacer.take_now(THREE_PER_WINDOW) for _request in range(3)] == [START] * 3
    assert pacer.get_delay(THREE_PER_WINDOW) == pytest.approx(FULL_WINDOW)


def test_take_now_never_waits_and_changes_nothing_if_the_request_must_wait(
    new_pacer: NewPacer, clock: Clock, budgets_file: Path
) -> None:
    pacer = new_pacer()
    send_requests(pacer, 3)
    before = budgets_file.read_text()
    clock.now += FULL_WINDOW - 0.001
    with pytest.raises(MustWait, match=r"^The rate limit of GET /three requires a wait\.$"):
        pacer.take_now(THREE_PER_WINDOW)
    assert (clock.slept, pacer.waited) == ([], 0)
    assert budgets_file.read_text() == before
    clock.now += 0.002
    assert pacer.take_now(THREE_PER_WINDOW) == clock()


def test_take_now_respects_a_closure_by_another_process(new_pacer: NewPacer, clock: Clock) -> None:
    refuse(new_pacer(), TEN_PER_WINDOW, retry_after=20)
    pacer = new_pacer()
    with pytest.raises(MustWait):
        pacer.take_now(TEN_PER_WINDOW)
    clock.now += 20
    assert pacer.take_now(TEN_PER_WINDOW) == clock()


def test_take_now_sees_a_slot_that_another_process_took_after_the_delay_was_read(new_pacer: NewPacer) -> None:
    pacer = new_pacer()
    send_requests(pacer, 2)
    assert pacer.get_delay(THREE_PER_WINDOW) == 0
    send_requests(new_pacer(), 1)
    with pytest.raises(MustWait):
        pacer.take_now(THREE_PER_WINDOW)


# --- Pacer.record_response ---


def test_request_counts_from_its_response(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer()
    taken = [pacer.take(THREE_PER_WINDOW) for _request in range(3)]
    clock.now += 9
    assert pacer.get_delay(THREE_PER_WINDOW) == pytest.approx(FULL_WINDOW - 9), (
        "before its response, a request counts from its start"
    )
    for taken_at in taken:
        pacer.record_response(THREE_PER_WINDOW, taken_at)
    assert pacer.get_delay(THREE_PER_WINDOW) == pytest.approx(FULL_WINDOW)
    assert pacer.get_delay(THREE_PER_WINDOW, 4) == pytest.approx(2 * FULL_WINDOW)


def test_request_that_is_answered_after_the_window_counts_too(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer()
    taken = [pacer.take(THREE_PER_WINDOW) for _request in range(3)]
    clock.now += FULL_WINDOW + 40
    for taken_at in taken:
        pacer.record_response(THREE_PER_WINDOW, taken_at)
    assert pacer.get_delay(THREE_PER_WINDOW) == pytest.approx(FULL_WINDOW)


# --- Pacer.release ---


def test_released_request_does_not_count(new_pacer: NewPacer) -> None:
    pacer = new_pacer()
    taken = pacer.take(THREE_PER_WINDOW)
    send_requests(pacer, 2)
    assert pacer.get_delay(THREE_PER_WINDOW) == pytest.approx(FULL_WINDOW)
    pacer.release(THREE_PER_WINDOW, taken)
    assert pacer.get_delay(THREE_PER_WINDOW) == 0
    pacer.release(THREE_PER_WINDOW, taken)
    assert pacer.get_delay(THREE_PER_WINDOW) == 0


# --- Pacer.handle_refusal ---


@pytest.mark.parametrize("seconds", [0.5, 1, 20, 300])
def test_first_refusal_closes_the_budget_for_the_seconds_of_retry_after(
    new_pacer: NewPacer, clock: Clock, seconds: float
) -> None:
    pacer = new_pacer()
    refuse(pacer, retry_after=seconds)
    assert pacer.get_delay(THREE_PER_WINDOW) == pytest.approx(seconds)
    assert pacer.get_delay(TEN_PER_WINDOW) == 0
    assert pacer.take(THREE_PER_WINDOW) == pytest.approx(START + seconds)
    assert clock.slept == pytest.approx([seconds])


def test_earlier_requests_still_count_after_a_closure(new_pacer: NewPacer) -> None:
    pacer = new_pacer()
    send_requests(pacer, 2)
    refuse(pacer, retry_after=20)
    assert pacer.get_delay(THREE_PER_WINDOW) == pytest.approx(FULL_WINDOW)
    other = new_pacer()
    other.handle_refusal(THREE_PER_WINDOW, 100)
    assert other.get_delay(THREE_PER_WINDOW, 3) == pytest.approx(100)
    assert other.get_delay(THREE_PER_WINDOW, 4) == pytest.approx(100 + FULL_WINDOW)


def test_shorter_closure_does_not_replace_a_longer_one(new_pacer: NewPacer) -> None:
    new_pacer().handle_refusal(THREE_PER_WINDOW, 60)
    new_pacer().handle_refusal(THREE_PER_WINDOW, 1)
    assert new_pacer().get_delay(THREE_PER_WINDOW) == pytest.approx(60)


def test_closure_is_limited_to_300_seconds(new_pacer: NewPacer) -> None:
    pacer = new_pacer()
    pacer.handle_refusal(THREE_PER_WINDOW, 1e9)
    assert pacer.get_delay(THREE_PER_WINDOW) == pytest.approx(MAX_CLOSURE_SECONDS) == 300


def test_closure_applies_to_all_pacers(new_pacer: NewPacer) -> None:
    refuse(new_pacer(), retry_after=20)
    assert new_pacer().get_delay(THREE_PER_WINDOW) == pytest.approx(20)


@pytest.mark.parametrize("accepted", [0, 1, 5, 19])
def test_pauses_after_early_refusals_are_short_at_first_and_double_up_to_60_seconds(
    new_pacer: NewPacer, clock: Clock, accepted: int
) -> None:
    pacer = new_pacer()
    send_requests(pacer, accepted, READ_LEVERAGE)
    pauses = []
    for _refusal in range(9):
        pacer.handle_refusal(READ_LEVERAGE, None)
        pauses.append(pacer.get_delay(READ_LEVERAGE))
        clock.now += pauses[-1]
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60, 60])


def test_only_the_first_refusal_in_a_row_uses_retry_after(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer()
    for _refusal in range(4):
        refuse(pacer, TEN_PER_WINDOW, retry_after=5)
    refuse(pacer, TEN_PER_WINDOW, retry_after=5)
    assert clock.slept == pytest.approx([5, 2, 4, 8])


def test_first_pause_of_a_later_series_is_as_long_as_the_series_before(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer()
    for _round in range(2):
        for _refusal in range(3):
            refuse(pacer, TEN_PER_WINDOW)
        send_requests(pacer, 1, TEN_PER_WINDOW)
    assert clock.slept == pytest.approx([1, 2, 4, 7, 14, 28])


def test_first_pause_is_never_longer_than_60_seconds(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer()
    for _refusal in range(8):
        refuse(pacer, TEN_PER_WINDOW)
    send_requests(pacer, 1, TEN_PER_WINDOW)
    clock.now += 2 * FULL_WINDOW
    refuse(pacer, TEN_PER_WINDOW)
    assert pacer.get_delay(TEN_PER_WINDOW) == pytest.approx(60)


def test_thousands_of_refusals_in_a_row_are_no_error(new_pacer: NewPacer, clock: Clock) -> None:
    """A task can wait for many hours: rate_limit_timeout has no practical maximum."""
    pacer = Pacer(MemoryBudgets(), 1.0, 1e9, clock, clock.sleep)
    for _refusal in range(1100):
        refuse(pacer)
    assert clock.slept[-1] == pytest.approx(60, abs=0.2)


@pytest.mark.parametrize("refused_count", [False, True])
def test_real_limit_below_the_documented_one_costs_seconds_and_not_a_minute_for_each_refusal(
    new_pacer: NewPacer, clock: Clock, refused_count: bool
) -> None:
    """The exchange accepts 5 reads in 10 s, and documents 20 in 60 s."""
    pacer = new_pacer()
    exchange = RealLimit(clock, 5, 10.0, refused_count)
    for _read in range(25):
        exchange.send(pacer)
    # A minute for each refusal: 4 minutes. Here: the pauses take 15 s, and then the documented limit a read in 3 s.
    assert clock() - START <= 90
    assert len(exchange.refused) <= 5
    assert len(set(exchange.refused)) == len(exchange.refused)
    times = exchange.accepted + exchange.refused
    pauses = [min(later for later in times if later > time) - time for time in exchange.refused]
    assert pauses == pytest.approx([1, 2, 4, 8][: len(pauses)]), "each pause is followed by one request"


@pytest.mark.parametrize(("count", "seconds"), [(1, 3.0), (2, 5.0), (4, 12.0), (5, 10.0), (10, 20.0)])
@pytest.mark.parametrize("refused_count", [False, True])
def test_any_real_limit_with_the_documented_average_is_learned_after_a_few_refusals(
    new_pacer: NewPacer, clock: Clock, count: int, seconds: float, refused_count: bool
) -> None:
    pacer = new_pacer()
    exchange = RealLimit(clock, count, seconds, refused_count)
    for _read in range(40):
        exchange.send(pacer)
    assert len(exchange.refused) <= 6
    assert clock() - START <= 2 * 40 * WINDOW_SECONDS / READ_LEVERAGE.limit


# --- Pacer._learn_spacing ---


def test_requests_after_an_early_refusal_are_spaced_as_the_exchange_accepted_them(
    new_pacer: NewPacer, clock: Clock
) -> None:
    pacer = new_pacer()
    send_requests(pacer, 4, TEN_PER_WINDOW)
    refuse(pacer, TEN_PER_WINDOW)
    refuse(pacer, TEN_PER_WINDOW)
    send_requests(pacer, 1, TEN_PER_WINDOW)
    assert clock() == pytest.approx(START + 3)
    # The exchange accepted 4 requests in 3 s.
    assert pacer.get_delay(TEN_PER_WINDOW) == pytest.approx(0.75)
    assert pacer.get_delay(TEN_PER_WINDOW, 2) == pytest.approx(1.5)
    with pytest.raises(MustWait):
        pacer.take_now(TEN_PER_WINDOW)
    assert send_requests(pacer, 2, TEN_PER_WINDOW) == pytest.approx([START + 3.75, START + 4.5])


def test_learned_spacing_is_never_slower_than_the_documented_limit(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer()
    send_requests(pacer, 1, TEN_PER_WINDOW)
    for _refusal in range(5):
        refuse(pacer, TEN_PER_WINDOW)
    send_requests(pacer, 1, TEN_PER_WINDOW)
    assert pacer.get_delay(TEN_PER_WINDOW) == pytest.approx(WINDOW_SECONDS / 10)


def test_nothing_is_learned_if_no_request_was_accepted_before_the_refusal(new_pacer: NewPacer) -> None:
    pacer = new_pacer()
    refuse(pacer, TEN_PER_WINDOW)
    send_requests(pacer, 1, TEN_PER_WINDOW)
    assert pacer.get_delay(TEN_PER_WINDOW) == 0


def test_nothing_is_learned_for_other_endpoints(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer()
    send_requests(pacer, 2, TEN_PER_WINDOW)
    refuse(pacer, TEN_PER_WINDOW)
    send_requests(pacer, 1, TEN_PER_WINDOW)
    slept = len(clock.slept)
    send_requests(pacer, 3, THREE_PER_WINDOW)
    assert len(clock.slept) == slept


# --- Pacer.is_refused ---


def test_endpoint_is_refused_until_a_request_is_accepted(new_pacer: NewPacer) -> None:
    pacer = new_pacer()
    assert not pacer.is_refused(TEN_PER_WINDOW)
    send_requests(pacer, 1, TEN_PER_WINDOW)
    assert not pacer.is_refused(TEN_PER_WINDOW)
    refuse(pacer, TEN_PER_WINDOW)
    assert pacer.is_refused(TEN_PER_WINDOW)
    assert not pacer.is_refused(THREE_PER_WINDOW)
    send_requests(pacer, 1, TEN_PER_WINDOW)
    assert not pacer.is_refused(TEN_PER_WINDOW)


# --- Pacer.check_max_wait ---


@pytest.mark.parametrize(
    ("ahead", "needed"),
    [
        ({}, None),
        ({THREE_PER_WINDOW: 0}, None),
        ({THREE_PER_WINDOW: 3}, None),
        ({THREE_PER_WINDOW: 5, TEN_PER_WINDOW: 0}, None),
        ({THREE_PER_WINDOW: 6, TEN_PER_WINDOW: 20}, None),
        ({THREE_PER_WINDOW: 7}, ("GET /three", 3, 121, 7)),
        ({THREE_PER_WINDOW: 4, TEN_PER_WINDOW: 21}, ("POST /ten", 10, 121, 21)),
        ({THREE_PER_WINDOW: 10, TEN_PER_WINDOW: 21}, ("GET /three", 3, 181, 10)),
    ],
)
def test_check_max_wait_raises_if_the_requests_need_more_than_max_wait(
    new_pacer: NewPacer, clock: Clock, ahead: dict[Endpoint, int], needed: tuple[str, int, int, int] | None
) -> None:
    pacer = new_pacer(max_wait=61)
    if needed is None:
        pacer.check_max_wait(ahead)
    else:
        name, limit, seconds, count = needed
        with pytest.raises(BudgetSpent) as spent:
            pacer.check_max_wait(ahead)
        assert str(spent.value).startswith(
            f"Sending {count} more requests to {name} takes about {seconds} s (limit: {limit} in 60 s), but "
        )
    assert clock.slept == []
    assert pacer.get_delay(THREE_PER_WINDOW) == 0, "check_max_wait takes nothing"


def test_take_raises_before_a_wait_that_is_longer_than_max_wait(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer(max_wait=60)
    send_requests(pacer, 3)
    clock.now += 0.05
    with pytest.raises(BudgetSpent) as spent:
        pacer.take(THREE_PER_WINDOW)
    assert str(spent.value) == (
        "Sending 1 more request to GET /three takes about 61 s (limit: 3 in 60 s), but rate_limit_timeout (60 s) "
        "allows only 60 s more. Increase rate_limit_timeout, or run the task again later."
    )
    assert spent.value.ends is Ends.ENDPOINT
    assert clock.slept == []
    clock.now += 0.05
    pacer.take(THREE_PER_WINDOW)
    assert clock.slept == pytest.approx([60.0])


def test_max_wait_limits_the_sum_of_all_waits(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer(max_wait=100.5, share=0.5)
    send_requests(pacer, 2)
    with pytest.raises(
        BudgetSpent, match=r"\(limit: 1 in 60 s\), but rate_limit_timeout \(100\.5 s\) allows only 40 s more\. "
    ):
        pacer.take(THREE_PER_WINDOW)
    assert len(clock.slept) == 1


def test_requests_without_a_wait_are_allowed_if_max_wait_is_0(new_pacer: NewPacer) -> None:
    pacer = new_pacer(max_wait=0)
    pacer.check_max_wait({THREE_PER_WINDOW: 3})
    send_requests(pacer, 3)
    with pytest.raises(BudgetSpent):
        pacer.take(THREE_PER_WINDOW)


def test_wait_of_less_than_a_second_is_refused_if_max_wait_is_0(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer(max_wait=0)
    send_requests(pacer, 3)
    clock.now += FULL_WINDOW - 0.25
    with pytest.raises(BudgetSpent, match=r"^Sending 1 more request to GET /three takes about 1 s "):
        pacer.take(THREE_PER_WINDOW)


def test_requests_without_a_wait_are_allowed_if_max_wait_is_spent(new_pacer: NewPacer) -> None:
    pacer = new_pacer(max_wait=5)
    pacer.wait(10)
    pacer.check_max_wait({THREE_PER_WINDOW: 3, TEN_PER_WINDOW: 10})
    send_requests(pacer, 3)


# --- Pacer.make_budget_spent ---


def test_message_of_a_refused_endpoint_says_http_429_and_how_often(new_pacer: NewPacer) -> None:
    pacer = new_pacer(max_wait=10)
    refuse(pacer, TEN_PER_WINDOW)
    assert str(pacer.make_budget_spent(TEN_PER_WINDOW)) == (
        "The exchange answered POST /ten with HTTP 429 (too many requests). The next request is due in about 1 s, but "
        "rate_limit_timeout (10 s) allows only 10 s more. Increase rate_limit_timeout, or run the task again later. "
        "Check whether another program uses the same key."
    )
    # The first one fits. After a refusal, the requests are spread over the window.
    assert "(too many requests). 30 more requests take about 181 s, but" in str(
        pacer.make_budget_spent(TEN_PER_WINDOW, 30)
    )
    for _refusal in range(3):
        refuse(pacer, TEN_PER_WINDOW)
    with pytest.raises(BudgetSpent) as spent:
        pacer.take(TEN_PER_WINDOW)
    assert str(spent.value) == (
        "The exchange answered POST /ten with HTTP 429 (too many requests) 4 times in a row. The next request is due "
        "in about 8 s, but rate_limit_timeout (10 s) allows only 3 s more. Increase rate_limit_timeout, or run the "
        "task again later. Check whether another program uses the same key."
    )


def test_message_of_a_refused_endpoint_says_when_the_next_of_many_requests_is_due(new_pacer: NewPacer) -> None:
    pacer = new_pacer(max_wait=0)
    refuse(pacer, TEN_PER_WINDOW)
    assert "The next request is due in about 1 s, but" in str(pacer.make_budget_spent(TEN_PER_WINDOW, 30))


def test_message_says_429_no_longer_after_an_accepted_request(new_pacer: NewPacer) -> None:
    pacer = new_pacer()
    refuse(pacer, TEN_PER_WINDOW)
    send_requests(pacer, 1, TEN_PER_WINDOW)
    assert "429" not in str(pacer.make_budget_spent(TEN_PER_WINDOW, 30))


def test_message_never_allows_a_negative_time(new_pacer: NewPacer) -> None:
    pacer = new_pacer(max_wait=5)
    pacer.wait(10)
    assert "rate_limit_timeout (5 s) allows only 0 s more." in str(pacer.make_budget_spent(THREE_PER_WINDOW, 4))


# --- Pacer.wait_for ---


def test_wait_for_waits_until_one_request_can_be_sent_and_counts_none(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer()
    send_requests(pacer, 3)
    pacer.wait_for(THREE_PER_WINDOW)
    assert clock.slept == pytest.approx([FULL_WINDOW])
    assert pacer.get_delay(THREE_PER_WINDOW, 3) == 0


def test_wait_for_raises_before_a_wait_that_is_longer_than_max_wait(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer(max_wait=60)
    send_requests(pacer, 3)
    with pytest.raises(BudgetSpent):
        pacer.wait_for(THREE_PER_WINDOW)
    assert (clock.slept, pacer.waited) == ([], 0)


# --- Pacer.wait ---


def test_waited_is_the_sum_of_all_waits(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer(max_wait=100)
    send_requests(pacer, 4)
    assert pacer.waited == pytest.approx(FULL_WINDOW)
    pacer.wait(2.5)
    assert pacer.waited == pytest.approx(FULL_WINDOW + 2.5)
    assert pacer.wait_left == pytest.approx(100 - FULL_WINDOW - 2.5)
    assert clock.slept[-1] == 2.5


@pytest.mark.parametrize(
    ("seconds", "pauses"), [(10, [10]), (10.5, [10, 0.5]), (25, [10, 10, 5]), (30, [10, 10, 10]), (0, [0])]
)
def test_wait_calls_on_wait_at_its_start_and_every_ten_seconds(
    new_pacer: NewPacer, clock: Clock, seconds: float, pauses: list[float]
) -> None:
    pacer = new_pacer()
    calls: list[tuple[float, float]] = []
    pacer.on_wait = lambda left: calls.append((clock(), left))
    pacer.wait(seconds)
    assert clock.slept == pytest.approx(pauses)
    assert calls == [(START + 10 * number, seconds - 10 * number) for number in range(len(pauses))]
    assert pacer.waited == seconds


# --- Pacer._get_budget ---


def test_requests_that_left_the_window_are_deleted_from_the_file(
    new_pacer: NewPacer, clock: Clock, budgets_file: Path
) -> None:
    pacer = new_pacer()
    for _round in range(5):
        send_requests(pacer, 3)
        clock.now += FULL_WINDOW
    send_requests(pacer, 1)
    assert len(json.loads(budgets_file.read_text())["three"][0]) == 1
    assert clock.slept == []


def test_valid_times_of_the_file_count(new_pacer: NewPacer, budgets_file: Path) -> None:
    budgets_file.write_text(
        json.dumps({"three": [[START - 30, "x", START - FULL_WINDOW + 0.01, START, START + 1], START + 5]})
    )
    pacer = new_pacer()
    assert pacer.get_delay(THREE_PER_WINDOW, 1) == pytest.approx(5)
    assert pacer.get_delay(THREE_PER_WINDOW, 2) == pytest.approx(30 + MARGIN_SECONDS)


# --- Preview ---


def simulate(preview: Preview, count: int, endpoint: Endpoint = THREE_PER_WINDOW) -> list[float]:
    """Simulate requests that are answered at once. Return the time of a real run after each."""
    times = []
    for _request in range(count):
        preview.simulate(endpoint, 0.0)
        times.append(preview.now())
    return times


def send_real(preview: Preview, count: int, endpoint: Endpoint = THREE_PER_WINDOW) -> None:
    """Send real requests of check mode that are answered at once."""
    for _request in range(count):
        preview.record_response(endpoint, preview.take(endpoint))


def test_preview_starts_with_the_budgets_and_the_waited_time_of_the_pacer(new_pacer: NewPacer) -> None:
    send_requests(new_pacer(), 2)
    pacer = new_pacer(max_wait=FULL_WINDOW + 5)
    pacer.wait(5)
    preview = Preview(pacer)
    assert preview.get_delay(THREE_PER_WINDOW) == 0
    assert preview.get_delay(THREE_PER_WINDOW, 2) == pytest.approx(FULL_WINDOW - 5)
    simulate(preview, 2)
    assert preview.waited == pytest.approx(FULL_WINDOW)
    assert preview.max_wait == FULL_WINDOW + 5
    assert preview.wait_left == pytest.approx(5)


def test_real_requests_count_in_the_preview_and_simulated_ones_do_not_count_in_the_pacer(new_pacer: NewPacer) -> None:
    pacer = new_pacer(max_wait=0)
    preview = Preview(pacer)
    send_real(preview, 1)
    simulate(preview, 2)
    assert pacer.get_delay(THREE_PER_WINDOW, 2) == 0
    assert preview.get_delay(THREE_PER_WINDOW) == pytest.approx(FULL_WINDOW)
    with pytest.raises(BudgetSpent):
        preview.take(THREE_PER_WINDOW)
    assert pacer.get_delay(THREE_PER_WINDOW, 2) == 0, "a request that does not fit is not counted"


def test_simulated_requests_do_not_sleep_and_do_not_change_the_file(
    new_pacer: NewPacer, clock: Clock, budgets_file: Path
) -> None:
    pacer = new_pacer()
    before = budgets_file.read_text()
    assert simulate(Preview(pacer), 7) == pytest.approx(
        [START] * 3 + [START + FULL_WINDOW] * 3 + [START + 2 * FULL_WINDOW]
    )
    assert clock.slept == []
    assert clock() == START
    assert pacer.waited == 0
    assert budgets_file.read_text() == before


def test_simulated_request_counts_from_its_response(new_pacer: NewPacer) -> None:
    preview = Preview(new_pacer())
    for _request in range(3):
        preview.simulate(THREE_PER_WINDOW, 4.0)
    assert preview.now() == pytest.approx(START + 12)
    assert preview.waited == 0, "a response takes time, but that is no wait for a rate limit"
    assert preview.get_delay(THREE_PER_WINDOW) == pytest.approx(FULL_WINDOW - 8)


def test_check_mode_cannot_send_a_write(new_pacer: NewPacer) -> None:
    preview = Preview(new_pacer())
    with pytest.raises(RuntimeError, match=r"^check mode must not send POST /ten$"):
        preview.take_now(TEN_PER_WINDOW)


def test_preview_raises_the_error_of_a_real_run(new_pacer: NewPacer, clock: Clock, tmp_path: Path) -> None:
    with pytest.raises(BudgetSpent) as predicted:
        simulate(Preview(new_pacer(max_wait=100.5, directory=tmp_path / "check")), 12)
    with pytest.raises(BudgetSpent) as real:
        send_requests(new_pacer(max_wait=100.5, directory=tmp_path / "real"), 12)
    assert str(predicted.value) == str(real.value)
    assert "takes about 61 s (limit: 3 in 60 s), but rate_limit_timeout (100.5 s) allows only 40 s more." in str(
        predicted.value
    )


@pytest.mark.parametrize("order", ["rw" * 12, "r" * 12 + "w" * 12, "w" * 12 + "r" * 12, "rrw" * 6 + "wwr" * 4])
@pytest.mark.parametrize("max_wait", [600, 185, 125, 65, 0])
@pytest.mark.parametrize("latency", [0.0, 0.4])
@pytest.mark.parametrize("write_latency", [0.0, 0.75])
def test_real_reads_and_simulated_writes_wait_as_long_as_a_real_run(
    new_pacer: NewPacer,
    clock: Clock,
    tmp_path: Path,
    order: str,
    max_wait: float,
    latency: float,
    write_latency: float,
) -> None:
    """In both runs, the order of reads ("r") and writes ("w") is the same."""

    def send(pacer: Pacer | Preview, endpoint: Endpoint, seconds: float) -> None:
        if isinstance(pacer, Preview) and endpoint.writes:
            pacer.simulate(endpoint, seconds)
            return
        taken = pacer.take(endpoint)
        clock.now += seconds
        pacer.record_response(endpoint, taken)

    def collect(pacer: Pacer | Preview) -> tuple[list[float], str]:
        """Return the time waited so far and the time after each request, and the message of the last error."""
        numbers = []
        started = pacer.now()
        requests = {"r": (THREE_PER_WINDOW, latency), "w": (TEN_PER_WINDOW, write_latency)}
        try:
            for letter in order:
                send(pacer, *requests[letter])
                numbers += [pacer.waited, pacer.now() - started]
        except BudgetSpent as error:
            return numbers, str(error)
        return numbers, ""

    predicted_numbers, predicted_error = collect(Preview(new_pacer(max_wait=max_wait, directory=tmp_path / "check")))
    real_numbers, real_error = collect(new_pacer(max_wait=max_wait, directory=tmp_path / "real"))
    assert predicted_numbers == pytest.approx(real_numbers)
    assert predicted_error == real_error


def test_real_wait_counts_as_a_wait_of_the_preview(new_pacer: NewPacer, clock: Clock) -> None:
    preview = Preview(new_pacer())
    send_requests(new_pacer(), 3)
    send_real(preview, 1)
    assert clock.slept == pytest.approx([FULL_WINDOW])
    assert preview.waited == pytest.approx(FULL_WINDOW)
    assert preview.now() == pytest.approx(clock())


def test_closure_of_the_pacer_closes_the_budget_of_the_preview(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer()
    preview = Preview(pacer)
    assert not preview.is_refused(THREE_PER_WINDOW)
    refuse(preview, retry_after=20)
    assert preview.is_refused(THREE_PER_WINDOW)
    assert pacer.is_refused(THREE_PER_WINDOW)
    assert preview.get_delay(THREE_PER_WINDOW) == pytest.approx(20)
    send_real(preview, 1)
    assert clock.slept == pytest.approx([20])
    assert preview.waited == pytest.approx(20)
    assert preview.now() == pytest.approx(clock())
    assert not preview.is_refused(THREE_PER_WINDOW)


def test_check_mode_learns_from_refused_reads_as_a_real_run_does(
    new_pacer: NewPacer, clock: Clock, tmp_path: Path
) -> None:
    def run(pacer: Pacer | Preview) -> tuple[list[float], float]:
        started = clock()
        exchange = RealLimit(clock, 5, 10.0)
        for _read in range(25):
            exchange.send(pacer)
        return [time - started for time in exchange.accepted + exchange.refused], pacer.waited

    check_times, check_waited = run(Preview(new_pacer(directory=tmp_path / "check")))
    real_times, real_waited = run(new_pacer(directory=tmp_path / "real"))
    assert check_times == pytest.approx(real_times)
    assert check_waited == pytest.approx(real_waited)


def test_released_request_counts_neither_in_the_pacer_nor_in_the_preview(new_pacer: NewPacer) -> None:
    pacer = new_pacer()
    preview = Preview(pacer)
    simulate(preview, 5)
    preview.release(THREE_PER_WINDOW, preview.take(THREE_PER_WINDOW))
    assert pacer.get_delay(THREE_PER_WINDOW, 3) == 0
    assert preview.get_delay(THREE_PER_WINDOW) == 0
    assert preview.get_delay(THREE_PER_WINDOW, 2) == pytest.approx(FULL_WINDOW)


def test_on_wait_is_called_only_during_the_real_waits_of_a_preview(new_pacer: NewPacer, clock: Clock) -> None:
    preview = Preview(new_pacer())
    calls: list[float] = []
    preview.real.on_wait = calls.append
    simulate(preview, 7)
    assert calls == []
    send_requests(new_pacer(), 3)
    send_real(preview, 1)
    assert calls == pytest.approx([FULL_WINDOW - 10 * number for number in range(7)])


def test_requests_while_the_preview_is_stopped_take_no_time_of_a_real_run(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer()
    preview = Preview(pacer)
    send_requests(new_pacer(), 3)
    simulate(preview, 3, TEN_PER_WINDOW)
    with preview.stopped():
        send_requests(pacer, 1)
        clock.now += 5
    assert clock() == pytest.approx(START + FULL_WINDOW + 5)
    assert preview.now() == pytest.approx(START)
    assert preview.waited == 0
    assert preview.get_delay(THREE_PER_WINDOW, 3) == 0, "the request is none of a real run"
    clock.now += 2
    assert preview.now() == pytest.approx(START + 2)


def test_clock_that_is_read_while_the_preview_is_stopped_does_not_change(new_pacer: NewPacer, clock: Clock) -> None:
    """The progress of the task is printed during a wait."""
    pacer = new_pacer()
    preview = Preview(pacer)
    seen: list[tuple[float, float]] = []
    preview.real.on_wait = lambda _left: seen.append((preview.now(), preview.waited))
    with preview.stopped():
        pacer.wait(25)
    assert (preview.now(), preview.waited) == (START, 0)
    assert seen == [(START, 0)] * 3


def test_error_while_the_preview_is_stopped_starts_its_clock_again(new_pacer: NewPacer, clock: Clock) -> None:
    pacer = new_pacer(max_wait=0)
    preview = Preview(pacer)
    send_requests(pacer, 3)
    with pytest.raises(BudgetSpent), preview.stopped():
        pacer.take(THREE_PER_WINDOW)
    clock.now += 7
    assert preview.now() == pytest.approx(START + 7)
