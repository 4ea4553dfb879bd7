# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a policy with the current leverages, and change what does not comply.

The loop takes the cheapest step of all symbols, and records what it shows. steps.py says which step a symbol needs,
judgment.py what its evidence means. Check mode is the same loop: only its writes are simulated. Private to this
collection: anything here may change in any release.
"""

from __future__ import annotations

import math

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import endpoints, errors
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.client import get_pause
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import CoinSwitchError, Ends
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import Futures
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Pacer, Preview
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import calls, judgment, outcomes, schedule
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.blockers import (
    POSITIONS_AND_ORDERS,
    WEEKS_OF_ORDERS,
    AccountFacts,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import Attempt, Pause, Reading
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import Goal, Policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.progress import Context
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.schedule import Price, SymbolRow
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.steps import Settings, Step, next_step
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.wording import explain, make_sentence

# The pause between the two read backs of a write that was not confirmed.
READ_BACK_PAUSE_SECONDS = 2.0
# Reads or writes end after this many symbols in a row without a valid response.
MAX_UNCLEAR = 3

# The endpoints whose HTTP 429 can make a task wait.
_WAITS = (
    endpoints.READ_LEVERAGE,
    endpoints.WRITE_LEVERAGE,
    endpoints.POSITIONS,
    endpoints.INSTRUMENTS,
    endpoints.OPEN_ORDERS,
)
_WRITE_STEPS = (Step.WRITE, Step.PAUSE_WRITE, Step.LIMITS)


def apply(futures: Futures, policy: Policy, context: Context) -> Result:
    """Change the leverage of each symbol to what the policy says. In check mode, predict that without writing."""
    return _Task(futures, policy, context).run()


def change(futures: Futures, goal: Goal, writes_same: bool = False, explains: bool = True) -> outcomes.Outcome:
    """Change the leverage of one symbol, as a task with one symbol does. Return what is known after that.

    Args:
        futures: The endpoints of the account.
        goal: What to write.
        writes_same: Whether to write also if the current leverage complies.
        explains: Whether to read what blocks the change if it is refused.
    """
    task = _Task(futures, Policy([goal], single=True), Context())
    task.settings = task.settings._replace(writes_same=writes_same, explains=explains)
    task.take_all_steps()
    return task.get_outcomes()[0]


class _Task:
    """Reads and writes the leverages of one account."""

    def __init__(self, futures: Futures, policy: Policy, context: Context) -> None:
        self._futures = futures
        self._client = client = futures.client
        self._policy = policy
        self._progress = context.progress
        self._facts = AccountFacts(futures, [goal.symbol for goal in policy.goals], not policy.single)
        self._rows = [SymbolRow(goal) for goal in policy.goals]
        # The rows in the order of equal steps.
        self._order = list(self._rows)
        self.settings = Settings(reads_limits=not policy.single, retries=client.retries)
        # Why no more reads, or no more writes, are sent.
        self._reads_ended: CoinSwitchError | None = None
        self._writes_ended: CoinSwitchError | None = None
        # The last symbols in a row without a valid response.
        self._unclear_reads: set[str] = set()
        self._unclear_writes: set[str] = set()
        self._pacer: Pacer | Preview = client.real_pacer
        self._calls = calls.RealCalls(futures)
        self._check_mode = context.check_mode
        if context.check_mode:
            client.pacer = self._pacer = preview = Preview(client.real_pacer)
            self._calls = calls.SimulatedCalls(futures, self._facts, preview, self._get_candidates)

    def run(self) -> Result:
        """Run all steps, and return the result. Each symbol has an outcome, even after an unexpected exception."""
        plan = self._start_progress()
        internal_error = self.take_all_steps()
        self._fetch_positions_last()
        result = outcomes.build_result(self.get_outcomes(), self._policy, self._futures.exchange, internal_error)
        values = {**result.values, "plan": plan, "check_mode": self._check_mode}
        return result._replace(values=values, warnings=[*self._facts.warnings, *result.warnings])

    def take_all_steps(self) -> errors.InternalError | None:
        """Take the steps of all symbols until each is done. Return an unexpected exception."""
        internal_error: errors.InternalError | None = None
        try:
            self._fetch_positions_first()
            while self._active:
                self._take_cheapest_step()
        except Exception as error:  # the rows that are done must not be lost
            internal_error = errors.InternalError(error)
            for row in self._active:
                row.evidence.held = internal_error
        finally:
            self._client.pacer = self._client.real_pacer
        return internal_error

    @property
    def _active(self) -> list[SymbolRow]:
        """The rows with a next step."""
        return [row for row in self._order if row.step is not Step.END]

    def get_outcomes(self) -> list[outcomes.Outcome]:
        """Return what is known about each symbol."""
        found = []
        for row in self._rows:
            verdict = judgment.judge(row.evidence, row.goal)
            positions = self._facts.positions.get(row.goal.symbol)
            several = not self._policy.single
            found.append(outcomes.Outcome(row.goal, row.evidence, verdict, positions, several))
        return found

    def _start_progress(self) -> str:
        """Print what the task is going to do, and return it as the plan."""
        count, pacer = len(self._rows), self._pacer
        reads = math.ceil(pacer.get_delay(endpoints.READ_LEVERAGE, count))
        orders = math.ceil(pacer.get_delay(endpoints.OPEN_ORDERS, WEEKS_OF_ORDERS))
        writes = math.ceil(pacer.get_delay(endpoints.WRITE_LEVERAGE, count))
        # Check mode searches for orders if a leverage differs, and a real run after a refusal. Most tasks do not.
        expected = reads if self._check_mode else max(reads, writes)
        seconds = max(reads, orders, writes)
        if self._check_mode:
            here = max(reads, orders)
            real_run = f"a real run: writes: at most {count}, rate limits: at most about {seconds} s"
            plan = f"reads of leverage: {count}, check mode writes nothing, rate limits: about {here} s ({real_run})"
        else:
            plan = f"reads of leverage: {count}, writes: at most {count}, rate limits: at most about {seconds} s"
        if seconds > pacer.wait_left:
            plan += f", but rate_limit_timeout allows {math.floor(pacer.wait_left)} s, so not everything may be done"
        self._progress.start(plan, expected)
        if self._progress.can_print:
            self._client.real_pacer.on_wait = self._show_wait
        return plan

    def _show_wait(self, seconds: float) -> None:
        """Print how much is done, why the task waits, and until when."""
        reads = sum(row.step is Step.READ for row in self._active)
        writes = 0 if self._check_mode else sum(row.step in _WRITE_STEPS for row in self._active)
        pacer = self._client.real_pacer
        total = max(pacer.get_delay(endpoints.READ_LEVERAGE, reads), pacer.get_delay(endpoints.WRITE_LEVERAGE, writes))
        refused = [endpoint for endpoint in _WAITS if pacer.is_refused(endpoint)]
        why = f"HTTP 429 of {refused[0]}" if refused else "the rate limit"
        to_write = "" if self._check_mode else f", {writes} to write"
        done = f"read {len(self._rows) - reads} of {len(self._rows)}{to_write}, "
        self._progress.waiting(seconds, total, why, done)

    def _fetch_positions_first(self) -> None:
        """Read all positions with one request, so that symbols with a position are read before the others."""
        if self._policy.single or self._pacer.get_delay(endpoints.POSITIONS) > 0:
            return
        error = self._facts.fetch_all_positions()
        if error is not None and error.ends is Ends.ALL:
            self._end_by(error)
        self._order.sort(key=lambda row: not self._facts.positions.get(row.goal.symbol))

    def _fetch_positions_last(self) -> None:
        """Read the positions of symbols that do not comply with the policy, if that was not possible before."""
        facts, pacer = self._facts, self._client.real_pacer
        is_unknown = any(item.verdict.cause and item.positions is None for item in self.get_outcomes())
        if self._policy.single or not is_unknown:
            return
        error = facts.positions_error
        if error is None and self._reads_ended is None:
            is_late = pacer.get_delay(endpoints.POSITIONS) > max(0.0, pacer.wait_left)
            error = pacer.make_budget_spent(endpoints.POSITIONS) if is_late else facts.fetch_all_positions()
        # An error that ended the task is the reason of each symbol already.
        if error is not None and error is not self._reads_ended:
            text = "The open positions could not be read, so it is not known which symbols have one."
            facts.warnings.append(f"{text} {make_sentence(error)}")

    def _get_candidates(self) -> list[SymbolRow]:
        """Return the symbols that are not known to comply."""
        return [row for row in self._active if not row.evidence.explained]

    def _take_cheapest_step(self) -> None:
        """Take the cheapest step. If it must wait, wait for it, or give up what does not fit into the max wait."""
        prices = schedule.get_prices(self._active, self._pacer)
        # Among equal prices, this is the first row.
        cheapest = min(prices, key=lambda row: prices[row][:3])
        price = prices[cheapest]
        if price.wait <= 0:
            self._take(cheapest)
        elif price.rate_limit_wait < price.wait:
            self._client.sleep(price.wait)
        elif price.rate_limit_wait <= self._pacer.wait_left:
            self._pacer.wait(price.rate_limit_wait)
        else:
            self._hold_what_does_not_fit(prices)

    def _hold_what_does_not_fit(self, prices: dict[SymbolRow, Price]) -> None:
        """End the symbols whose rate limit requires a longer wait than the task can wait."""
        too_long = {row: price for row, price in prices.items() if price.rate_limit_wait > self._pacer.wait_left}
        for endpoint in dict.fromkeys(price.endpoint for price in too_long.values()):
            rows = [row for row, price in too_long.items() if price.endpoint is endpoint]
            error = self._pacer.make_budget_spent(endpoint, len(rows))
            for row in rows:
                self._hold(row, error)

    def _hold(self, row: SymbolRow, error: CoinSwitchError) -> None:
        """End a symbol without its next step. A refusal without an explanation stays a refusal."""
        if row.is_explaining:
            row.evidence.explained = row.evidence.search_failed = True
            self._facts.warn([row.goal.symbol], POSITIONS_AND_ORDERS, error)
        else:
            row.evidence.held = error
            refusal = row.evidence.last_error
            is_not_read_back = row.step is Step.READ_BACK and error.kind != errors.KeysRefused.kind
            if is_not_read_back and refusal and refusal.status == errors.KeysRefused.status:
                # No reading says that the keys are valid, so the next write would be refused, too.
                row.evidence.held = self._writes_ended = refusal
                self._update_active()
        self._update(row)

    def _take(self, row: SymbolRow) -> None:
        if row.step in (Step.READ, Step.READ_BACK):
            self._read(row)
        elif row.step is Step.LIMITS:
            self._fetch_limits()
        elif row.step is Step.EXPLAIN:
            self._explain()
        elif row.step is Step.WRITE:
            self._decide_and_write(row)
        elif row.step is Step.PAUSE_WRITE:
            self._pause(row, get_pause(len(row.evidence.attempts)))
        elif row.step is Step.PAUSE_READ:
            self._pause(row, READ_BACK_PAUSE_SECONDS)

    def _pause(self, row: SymbolRow, seconds: float) -> None:
        row.evidence.events.append(Pause(self._pacer.now() + seconds))
        self._update(row)

    def _update(self, row: SymbolRow) -> None:
        """Find the next step of a symbol. Print its progress when it is done."""
        row.step = next_step(row.evidence, row.goal, self.settings)
        ended = self._reads_ended
        if ended is None and row.step in _WRITE_STEPS and not row.is_explaining:
            ended = self._writes_ended
        if ended is not None and row.is_explaining and ended.ends is not Ends.ALL:
            # Reads of leverage have ended. Positions and orders can still explain the refusal.
            ended = None
        if ended is not None and row.step is not Step.END:
            self._hold(row, ended)
        elif row.is_explaining or row.step is Step.END:
            verdict = judgment.judge(row.evidence, row.goal)
            self._count_write(row, verdict)
            if row.step is Step.END:
                self._progress.finished(row.goal.symbol, verdict, explain(verdict, row.evidence, row.goal))

    def _count_write(self, row: SymbolRow, verdict: judgment.Verdict) -> None:
        """Count the symbols in a row with an unclear write. Send no more writes after the third one."""
        attempt = row.evidence.last_attempt
        if attempt is None or attempt.error is None or not attempt.reached or row.is_counted:
            return
        row.is_counted = True
        is_refused_before_api = bool(verdict.cause) and attempt.error.kind == errors.REFUSED_BEFORE_API
        if verdict.cause != judgment.NOT_CONFIRMED and not is_refused_before_api:
            self._unclear_writes.clear()
            return
        self._unclear_writes.add(row.goal.symbol)
        if len(self._unclear_writes) >= MAX_UNCLEAR and self._writes_ended is None:
            self._writes_ended = _stop("writes", attempt.error)
            self._update_active()

    def _read(self, row: SymbolRow) -> None:
        """Record a reading, or why there is none."""
        try:
            reading = self._calls.read(row)
        except CoinSwitchError as error:
            if error.ends is Ends.ENDPOINT:
                # Its rate limit requires too long a wait. So this is no failed reading.
                self._hold(row, error)
                return
            row.evidence.events.append(Reading(self._pacer.now(), failure=error))
            self._unclear_reads.add(row.goal.symbol)
            if error.ends is Ends.ALL:
                self._end_by(error)
            elif len(self._unclear_reads) >= MAX_UNCLEAR:
                self._end_by(_stop("reads", error))
        else:
            row.evidence.events.append(reading)
            self._unclear_reads.clear()
        self._update(row)

    def _end_by(self, error: CoinSwitchError) -> None:
        """Send no more reads and writes, because the next ones would fail with the same error."""
        self._reads_ended = self._writes_ended = error
        self._update_active()

    def _update_active(self) -> None:
        for row in self._active:
            if row.step is not Step.END:  # an update of another row can end this one
                self._update(row)

    def _fetch_limits(self) -> None:
        """Compare all desired leverages with the limits. One symbol's problem holds back no other symbol."""
        for row in self._active:
            calls.record_limits(self._facts, row)
            error = row.evidence.limits_error
            # After a refusal, positions and orders can still explain it.
            if error is not None and error.ends is Ends.ALL and not row.is_explaining:
                self._end_by(error)
        self._update_active()

    def _explain(self) -> None:
        """Read once what blocks all symbols whose write was refused so far."""
        rows = [row for row in self._active if row.step is Step.EXPLAIN]
        error = calls.explain_rows(self._facts, rows, refresh=True)
        for row in rows:
            self._update(row)
        if error is not None and error.ends is Ends.ALL:
            self._end_by(error)

    def _decide_and_write(self, row: SymbolRow) -> None:
        """Write, right after a new reading if the last one is too old to decide with it."""
        reading = row.evidence.get_reading()
        if reading is None or self._pacer.now() - reading.at > schedule.MAX_READING_AGE_SECONDS:
            self._read(row)
        if row.step is Step.WRITE:
            self._write(row)

    def _write(self, row: SymbolRow) -> None:
        """Record an attempt."""
        error: CoinSwitchError | None = None
        try:
            self._calls.write(row)
        except errors.MustWait:
            # Another process took the slot. Nothing was sent.
            return
        except CoinSwitchError as failure:
            error = failure
        except Exception as failure:
            row.evidence.events.append(Attempt(self._pacer.now(), errors.InternalError(failure)))
            raise
        if error is not None and error.ends is Ends.ENDPOINT:
            self._hold(row, error)
            return
        row.evidence.events.append(Attempt(self._pacer.now(), error))
        self._update(row)
        self._end_writes_if_needed(row, error)

    def _end_writes_if_needed(self, row: SymbolRow, error: CoinSwitchError | None) -> None:
        """Send no more writes if the next ones would fail as well."""
        if error is None:
            self._unclear_writes.clear()
        elif error.status == errors.KeysRefused.status and row.step is Step.END:
            self._writes_ended = row.evidence.held = _refuse_writes(error)
            self._update_active()
        elif error.ends is Ends.ALL and row.step is Step.END:
            self._end_by(error)


def _stop(what: str, error: CoinSwitchError) -> errors.Stopped:
    return errors.Stopped(
        f"The {what} of {MAX_UNCLEAR} symbols in a row got no valid response, so the task sends no more of them. The "
        f"last error: {make_sentence(error)}"
    )


def _refuse_writes(error: CoinSwitchError) -> errors.KeysRefused:
    """Return the error of keys that can read, but not write. A reading that worked excludes the clock and the pair."""
    return errors.KeysRefused(
        f"{error} These keys can read futures, but not write. Ask the support of the exchange whether this account can "
        "trade futures.",
        error.exchange_message,
    )
