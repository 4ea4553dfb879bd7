# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare a policy with the current leverages, change what differs, and explain refusals.

Each symbol of the policy becomes a Row, and all results come from the rows. `apply` and `predict` run the same steps.
They differ only in how they write. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    BudgetSpent,
    CoinSwitchError,
    InternalError,
    KeysRefused,
    NotConfigured,
    NothingWritten,
    Refused,
    Unanswered,
    Unclear,
    Unconfirmed,
    Unreachable,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import (
    OPEN_ORDERS,
    POSITIONS,
    READ_LEVERAGE,
    WRITE_LEVERAGE,
    Futures,
    Instrument,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Endpoint, Pacer, Preview
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import policy as _policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.progress import Context, Progress
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import NOT_READ, Result

if TYPE_CHECKING:
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.blockers import BlockerFinder

UNCHANGED = "unchanged"
CHANGED = "changed"
BLOCKED = "blocked"
REFUSED = "refused"
UNKNOWN = "unknown"

# The states of a row.
TO_READ = "to read"
TO_WRITE = "to write"
WRITING = "writing"
DONE = "done"

# The task stops after this many symbols in a row without a clear answer. Reads and writes are counted separately.
MAX_UNANSWERED = 3


@dataclass
class Row:
    """The desired leverage of one symbol, and its outcome.

    Attributes:
        symbol: The symbol.
        exchange: The exchange identifier.
        desired: The desired leverage.
        previous: The leverage before the task. None if it is not known, or the symbol was never configured.
        leverage: The leverage after the task. None if it is not known, or the symbol was never configured.
        changed: Whether the task changed the leverage, or would change it.
        outcome: UNCHANGED, CHANGED, BLOCKED, REFUSED or UNKNOWN.
        reason: Why the symbol does not have the desired leverage. Empty if it has.
        blockers: The positions and orders that block the change.
        problem: The error of the last write, if it was not confirmed.
        state: TO_READ, TO_WRITE, WRITING or DONE.
    """

    symbol: str
    exchange: str
    desired: int
    previous: int | None = None
    leverage: int | None = None
    changed: bool = False
    outcome: str = UNKNOWN
    reason: str = ""
    blockers: list[dict[str, Any]] = field(default_factory=list)
    problem: CoinSwitchError | None = None
    state: str = TO_READ

    def set_outcome(self, leverage: int | None, outcome: str, reason: str = "", changed: bool = False) -> None:
        """Record the current leverage and the outcome. The row is then done."""
        self.leverage, self.outcome, self.reason, self.changed, self.state = leverage, outcome, reason, changed, DONE

    def set_not_written(self, reason: object) -> None:
        """Record that the task did not change the symbol, so it still has the leverage that was read."""
        self.set_outcome(self.previous, REFUSED, f"not written: {reason}")

    def describe_not_applied(self, leverage: int | None, reason: object) -> str:
        """Return the reason of a row whose desired leverage was refused.

        Args:
            leverage: The leverage that was read after the refusal.
            reason: Why the exchange refused the desired leverage.
        """
        state = f"leverage stays {_format_leverage(leverage)} instead of {self.desired}"
        if leverage != self.previous:
            before, now = _format_leverage(self.previous), _format_leverage(leverage)
            state = f"leverage is now {now} instead of {self.desired} (it was {before})"
        return f"{state}: {reason}"

    def as_dict(self) -> dict[str, Any]:
        """Return the row in the form of the result."""
        row: dict[str, Any] = {
            "symbol": self.symbol,
            "exchange": self.exchange,
            "leverage": self.leverage,
            "previous_leverage": self.previous,
            "changed": self.changed,
            "outcome": self.outcome,
        }
        if self.reason:
            row.update(reason=self.reason, blockers=self.blockers)
        if isinstance(self.problem, (Refused, Unconfirmed)):
            row.update(exchange_message=self.problem.exchange_message)
        return row


def apply(futures: Futures, policy: _policy.Policy, context: Context) -> Result:
    """Change the leverage of each symbol to what the policy says. In check mode, predict that without writing."""
    pacer = futures.client.pacer
    task: _Task
    if context.check_mode:
        task = _Prediction(futures, policy, pacer.start_preview(), context.progress)
    else:
        task = _RealRun(futures, policy, pacer, context.progress)
    return task.run()


class _Task:
    """Reads and writes the leverages of one account. A subclass implements the write.

    Args:
        futures: The endpoints of the account.
        policy: The policy.
        pacer: Decides the order of the steps, and whether the remaining requests fit into the max wait. In check mode,
            this is the preview.
        progress: Prints the progress.
    """

    def __init__(self, futures: Futures, policy: _policy.Policy, pacer: Pacer, progress: Progress) -> None:
        self._futures = futures
        self._client = futures.client
        self._policy = policy
        self._progress = progress
        self._pacer = pacer
        self._get_delay = pacer.get_delay
        self._rows = [Row(desired.symbol, futures.exchange, desired.leverage) for desired in policy.entries]
        self._to_read: deque[Row] = deque(self._rows)
        self._to_write: list[Row] = []
        self._warnings: list[str] = []
        self._internal_error: InternalError | None = None
        self._finder: BlockerFinder | None = None
        # How many symbols in a row got no clear answer. Reads that work must not reset the count of the writes.
        self._unanswered = {READ_LEVERAGE: 0, WRITE_LEVERAGE: 0}
        # Why no more writes are sent. Reads continue, because they have their own budget.
        self._writes_ended: BudgetSpent | None = None
        # A task with a single symbol does not read the limits, which saves a request. The exchange checks them.
        self._limits_checked = policy.single
        self._instruments: dict[str, Instrument] | None = None

    def run(self) -> Result:
        """Run all steps, and return the report. Each row has an outcome, even after an error."""
        count = len(self._rows)
        seconds = math.ceil(max(self._get_delay(READ_LEVERAGE, count), self._get_delay(WRITE_LEVERAGE, count)))
        plan = f"reads of leverage: {count}, writes: at most {count}, rate limits: at most about {seconds} s"
        self._progress.start(count, seconds)
        if self._progress.is_shown:
            self._client.pacer.on_wait = self._show_wait
        stopped_by = self._run_guarded(self._run_steps)
        if stopped_by is not None:
            self._end_remaining_rows(stopped_by)
        self._run_guarded(lambda: self._explain(stopped_by))
        return self._build_report(plan)

    def _run_guarded(self, work: Callable[[], object]) -> CoinSwitchError | None:
        """Call `work`, and return its error. After an unexpected exception, the task can still return its rows."""
        try:
            work()
        except CoinSwitchError as error:
            return error
        except Exception as error:
            self._internal_error = InternalError(error)
            return self._internal_error
        return None

    def _run_steps(self) -> None:
        reported: set[str] = set()
        while self._to_read or self._to_write:
            self._step()
            if self._progress.is_shown:
                for row in self._rows:
                    if row.state == DONE and row.symbol not in reported:
                        reported.add(row.symbol)
                        self._progress.finished(row)

    def _show_wait(self) -> None:
        read = sum(row.state != TO_READ for row in self._rows)
        written = sum(row.outcome == CHANGED for row in self._rows)
        to_write = sum(row.state in (TO_WRITE, WRITING) for row in self._rows)
        seconds = max(self._get_delay(READ_LEVERAGE, len(self._rows) - read), self._get_delay(WRITE_LEVERAGE, to_write))
        self._progress.waiting(read, written, len(self._rows), to_write, seconds)

    def _step(self) -> None:
        """Send the next read or write.

        Reads come first, because the current leverages decide the order of the writes. If a read would wait longer than
        a write, the task writes.
        """
        if self._to_read and (not self._to_write or self._get_delay(READ_LEVERAGE) <= self._get_delay(WRITE_LEVERAGE)):
            self._check_max_wait()
            self._read(self._to_read.popleft())
            return
        if not self._limits_checked:
            self._check_limits()
        self._check_max_wait()
        if self._to_write:
            self._write(self._to_write.pop(0))

    def _check_max_wait(self) -> None:
        """Check that the remaining requests fit into the max wait, before the task waits.

        If the reads do not fit, raise BudgetSpent. If the writes do not fit, send no more writes.
        """
        self._pacer.check_max_wait({READ_LEVERAGE: len(self._to_read)})
        try:
            self._pacer.check_max_wait({WRITE_LEVERAGE: len(self._to_write)})
        except BudgetSpent as error:
            self._end_writes(error)

    def _end_writes(self, error: BudgetSpent) -> None:
        """Send no more writes. Reads continue, because they have their own budget."""
        self._writes_ended = error
        for row in self._to_write:
            row.set_not_written(error)
        self._to_write = []

    def _read(self, row: Row) -> None:
        """Read the current leverage. If it must be changed, queue a write. Writes that lower a leverage come first."""
        try:
            row.previous = self._futures.get_leverage(row.symbol)
        except NotConfigured as error:
            if self._policy.enforce == _policy.MAXIMUM:
                self._end_never_configured(row, error)
                return
            # The symbol was never configured, or is unknown. The instruments show which, so read them before a write.
            self._limits_checked = False
        except CoinSwitchError as error:
            row.set_outcome(None, UNKNOWN, f"{NOT_READ}: {error}")
            if error.stops_task:
                raise
            self._count_unanswered(READ_LEVERAGE, error if isinstance(error, Unclear) else None)
            return
        self._count_unanswered(READ_LEVERAGE)
        if not _policy.differs(row.previous, row.desired, self._policy.enforce):
            row.set_outcome(row.previous, UNCHANGED)
        elif self._writes_ended:
            row.set_not_written(self._writes_ended)
        else:
            row.state = TO_WRITE
            self._to_write.append(row)
            self._to_write.sort(key=lambda row: row.previous is None or row.desired > row.previous)

    def _end_never_configured(self, row: Row, error: NotConfigured) -> None:
        """Set the outcome of a symbol without a leverage: with `maximum`, there is nothing to compare.

        Args:
            row: The row.
            error: The answer of the exchange.
        """
        try:
            reason = self._describe_limit_violation(row)
        except CoinSwitchError as read_error:
            if read_error.stops_task:
                raise
            reason, error = None, NotConfigured(f"{error}; the list of symbols could not be read ({read_error})")
        if reason:
            row.set_outcome(None, REFUSED, reason)
        else:
            reason = (
                f"the symbol was never configured ({error}), so its leverage cannot be compared with {row.desired}: "
                "set it once with enforce=exact"
            )
            row.set_outcome(None, UNKNOWN, reason)

    def _count_unanswered(self, endpoint: Endpoint, error: CoinSwitchError | None = None) -> None:
        """Count the symbols in a row without a clear answer. Raise Unanswered if there are too many.

        Args:
            endpoint: READ_LEVERAGE or WRITE_LEVERAGE.
            error: Why there is no clear answer. None if there is one.
        """
        self._unanswered[endpoint] = self._unanswered[endpoint] + 1 if error else 0
        if error and self._unanswered[endpoint] >= MAX_UNANSWERED:
            raise Unanswered(MAX_UNANSWERED, error)

    def _describe_limit_violation(self, row: Row) -> str | None:
        """Return why the exchange would never accept the desired leverage, or None. Read the instruments only once."""
        if self._instruments is None:
            self._instruments = self._futures.get_instruments()
        if row.symbol not in self._instruments:
            return _policy.describe_unknown_symbol(row.symbol, row.exchange, self._instruments)
        return _policy.describe_limit_violation(row.desired, self._instruments[row.symbol], self._policy.enforce)

    def _check_limits(self) -> None:
        """Raise NothingWritten if the exchange would never accept one of the desired leverages."""
        try:
            reasons = {row.symbol: self._describe_limit_violation(row) for row in self._rows}
        except CoinSwitchError as error:
            raise NothingWritten(f"the limits of leverage could not be read: {error}") from None
        self._limits_checked = True
        refused = {symbol: reason for symbol, reason in reasons.items() if reason}
        if not refused:
            return
        for row in self._rows:
            if row.symbol in refused:
                row.set_outcome(row.previous, REFUSED, refused[row.symbol])
        raise NothingWritten(
            "the task wrote nothing, because the exchange does not allow the desired leverage of "
            f"{', '.join(refused)}: correct it"
        )

    def _end_remaining_rows(self, error: CoinSwitchError) -> None:
        """Set the outcome of all rows that are not done."""
        for row in self._rows:
            if row.state == TO_READ:
                row.set_outcome(None, UNKNOWN, f"{NOT_READ}: {error}")
            elif row.state == TO_WRITE:
                row.set_not_written(error)
            elif row.state == WRITING:
                row.set_outcome(None, UNKNOWN, _describe_unknown_outcome(str(error)))

    def _write(self, row: Row) -> None:
        """Write the desired leverage of one row, and set its outcome."""
        raise NotImplementedError

    def _explain(self, stopped_by: CoinSwitchError | None) -> None:
        """Find blockers after all steps. `stopped_by` is the error that ended the steps."""
        raise NotImplementedError

    def _find_blockers(self, rows: list[Row]) -> bool:
        """Set the outcome of the rows that are blocked. Return whether all blockers could be read."""
        if not rows:
            return True
        if self._finder is None:
            # Most tasks do not need this import.
            from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.blockers import BlockerFinder

            self._finder = BlockerFinder(self._futures, has_several_symbols=not self._policy.single)
        by_symbol = {row.symbol: row for row in rows}
        found = self._finder.find(list(by_symbol), lambda symbol: self._describe_limit_violation(by_symbol[symbol]))
        for symbol, (reason, blockers) in found.items():
            row = by_symbol[symbol]
            row.blockers = blockers
            predicted = row.outcome == CHANGED
            leverage = row.previous if predicted else row.leverage
            outcome = BLOCKED if blockers else REFUSED
            row.set_outcome(
                leverage, outcome, row.describe_not_applied(leverage, reason), row.changed and not predicted
            )
        return not self._finder.warnings

    def _build_report(self, plan: str) -> Result:
        rows = self._rows
        changes = [row for row in rows if row.changed]
        tolerated_outcomes = (BLOCKED,) if self._policy.on_blocked == _policy.WARN else ()
        failed = [row for row in rows if row.outcome in {BLOCKED, REFUSED, UNKNOWN}.difference(tolerated_outcomes)]
        row_warnings = [f"{row.symbol}: {row.reason}" for row in rows if row.outcome in tolerated_outcomes]
        result: dict[str, Any] = {
            "changed": bool(changes),
            "diff": {
                "before": {row.symbol: row.previous for row in changes},
                "after": {row.symbol: row.leverage for row in changes},
            },
            "results": [row.as_dict() for row in rows],
            "plan": plan,
        }
        if self._policy.single:
            single_row = rows[0].as_dict()
            names = ("symbol", "exchange", "leverage", "previous_leverage", "outcome")
            result.update((name, single_row[name]) for name in names)
        read_warnings = self._finder.warnings if self._finder else []
        return Result(
            result,
            _describe_failure(failed, len(rows), self._internal_error),
            [*self._warnings, *read_warnings, *row_warnings],
        )


class _RealRun(_Task):
    """Writes the leverages."""

    def __init__(self, futures: Futures, policy: _policy.Policy, pacer: Pacer, progress: Progress) -> None:
        super().__init__(futures, policy, pacer, progress)
        self._refused_rows: list[Row] = []
        # False after positions or orders could not be read. Other refusals are then explained after all writes.
        self._can_explain_now = True

    def _write(self, row: Row) -> None:
        """Write the desired leverage. A write that was not confirmed is read back before it is retried."""
        row.state = WRITING
        was_sent_before = False
        for attempt in itertools.count(1):
            row.problem = problem = self._send(row)
            if problem is None:
                break
            was_sent = was_sent_before or _can_take_effect(problem)
            should_retry = self._after_problem(row, problem, was_sent)
            if not (should_retry and attempt <= self._client.retries):
                break
            was_sent_before = was_sent
            row.state = WRITING
            self._client.pause(attempt)
        self._after_write(row)

    def _send(self, row: Row) -> CoinSwitchError | None:
        """Send one write. Return the error, or None if the exchange confirmed the write."""
        try:
            self._futures.set_leverage(row.symbol, row.desired)
        except CoinSwitchError as error:
            return error
        row.set_outcome(row.desired, CHANGED, changed=True)
        return None

    def _after_problem(self, row: Row, problem: CoinSwitchError, was_sent: bool) -> bool:
        """Set the outcome of a write that was not confirmed. Return whether to retry it.

        Args:
            row: The row.
            problem: The error of the write.
            was_sent: Whether this attempt or an earlier one can still take effect.
        """
        never_sent = isinstance(problem, Unreachable) or (isinstance(problem, BudgetSpent) and not problem.was_sent)
        # Do not read back: a write that was not sent changed nothing, and refused keys would be refused again.
        if never_sent or isinstance(problem, KeysRefused):
            if was_sent:
                # Keep the outcome that was read back after the earlier attempt.
                row.state = DONE
            else:
                row.set_not_written(problem)
            return isinstance(problem, Unreachable) and problem.can_retry
        return self._read_back(row, problem, was_sent) and isinstance(problem, Unclear)

    def _read_back(self, row: Row, problem: CoinSwitchError, was_sent: bool) -> bool:
        """Read the leverage back, and set the outcome. Return whether a retry makes sense."""
        # The old connection can still deliver the answer to the write.
        self._client.reset_connection()
        try:
            current: int | None = self._futures.get_leverage(row.symbol)
        except NotConfigured:
            current = None
        except CoinSwitchError as error:
            detail = f"{problem}; the current leverage could not be read ({error})"
            row.set_outcome(None, UNKNOWN, _describe_unknown_outcome(detail))
            return False
        if current == row.desired:
            row.set_outcome(current, CHANGED, changed=True)
            return False
        is_changed = not isinstance(problem, Refused) and current != row.previous
        if was_sent:
            leverage = _format_leverage(current)
            detail = f"{problem}; the leverage was {leverage} when read back, but the write may still take effect"
            row.set_outcome(current, UNKNOWN, _describe_unknown_outcome(detail), is_changed)
        else:
            row.set_outcome(current, REFUSED, row.describe_not_applied(current, problem), is_changed)
        return True

    def _after_write(self, row: Row) -> None:
        """Explain a refusal. Raise the error if the next symbols would fail with it, too."""
        problem = row.problem if row.outcome != CHANGED else None
        if isinstance(problem, BudgetSpent):
            self._end_writes(problem)
        elif problem is not None and problem.stops_task:
            raise problem
        else:
            self._count_unanswered(WRITE_LEVERAGE, problem if row.outcome == UNKNOWN else None)
        if row.outcome == REFUSED and _can_be_blocked(problem):
            self._refused_rows.append(row)
            # Explain now if that needs no wait. Later, the keys can be refused, or the exchange can stop answering.
            if self._can_explain_now and not any(map(self._get_delay, (POSITIONS, OPEN_ORDERS))):
                self._explain_refusals()

    def _explain_refusals(self) -> None:
        rows, self._refused_rows = self._refused_rows, []
        self._can_explain_now = self._find_blockers(rows)

    def _explain(self, stopped_by: CoinSwitchError | None) -> None:
        if not _fails_every_request(stopped_by):
            self._explain_refusals()


class _Prediction(_Task):
    """Check mode. A write only uses the budget of the preview, and counts as a change unless a blocker is found."""

    def __init__(self, futures: Futures, policy: _policy.Policy, pacer: Preview, progress: Progress) -> None:
        super().__init__(futures, policy, pacer, progress)
        self._preview = pacer

    def _write(self, row: Row) -> None:
        timing = self._client.timing
        try:
            self._preview.simulate(WRITE_LEVERAGE, timing.received - timing.sent)
        except BudgetSpent as error:
            row.set_not_written(error)
            self._end_writes(error)
            return
        row.set_outcome(row.desired, CHANGED, changed=True)

    def _explain(self, stopped_by: CoinSwitchError | None) -> None:
        # A real run reads positions and orders only after a refusal, so these requests are not in the preview.
        self._client.pacer.end_preview()
        rows = [row for row in self._rows if row.outcome == CHANGED]
        if rows and _fails_every_request(stopped_by):
            names = ", ".join(row.symbol for row in rows)
            self._warnings.append(
                f"{names}: positions and orders were not read, so the change may be blocked in a real run: {stopped_by}"
            )
            return
        self._find_blockers(rows)


def _can_take_effect(problem: CoinSwitchError) -> bool:
    """Return whether a write with this error can still take effect."""
    return isinstance(problem, Unclear) and not isinstance(problem, Unreachable)


def _fails_every_request(error: CoinSwitchError | None) -> bool:
    """Return whether all other requests would fail with the error that ended the steps."""
    return isinstance(error, (KeysRefused, Unreachable, Unanswered))


def _can_be_blocked(problem: CoinSwitchError | None) -> bool:
    """Return whether blockers can explain the error of a write. They cannot explain a redirect."""
    return isinstance(problem, Unconfirmed) or (isinstance(problem, Refused) and problem.status >= 400)


def _describe_unknown_outcome(detail: str) -> str:
    return f"the outcome of the write is not known: {detail}: read the leverage before you trade"


def _format_leverage(leverage: int | None) -> str:
    return "not configured" if leverage is None else str(leverage)


def _describe_failure(rows: list[Row], row_count: int, internal_error: InternalError | None) -> str | None:
    """Return the message of the failure. Symbols with the same reason share one entry.

    Args:
        rows: The rows without the desired leverage.
        row_count: The number of all rows.
        internal_error: The unexpected exception that ended the steps, if there was one.
    """
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        by_reason.setdefault(row.reason, []).append(row.symbol)
    lines = [f"{', '.join(symbols)}: {reason}" for reason, symbols in by_reason.items()]
    if internal_error and not any(str(internal_error) in line for line in lines):
        lines.append(str(internal_error))
    if not lines:
        return None
    verb = "does" if len(rows) == 1 else "do"
    count = f"{len(rows)} of {row_count} symbols {verb} not have the desired leverage. "
    return (count if rows and row_count > 1 else "") + "; ".join(lines)
