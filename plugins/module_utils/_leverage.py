# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares a policy with the current leverages, changes what differs, and explains refusals.

Every symbol of the policy becomes a Row, and all results come from the rows. `apply` and `predict` differ only in what
a write is. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import itertools
import math
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _policy
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import (
    BudgetSpent,
    CoinSwitchError,
    NotConfigured,
    NothingWritten,
    Refused,
    Unclear,
    Unconfirmed,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import (
    READ_LEVERAGE,
    WRITE_LEVERAGE,
    Futures,
    Instrument,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._pacing import Endpoint
from ansible_collections.tradeops.coinswitch.plugins.module_utils._report import Report

UNCHANGED = "unchanged"
CHANGED = "changed"
BLOCKED = "blocked"
REFUSED = "refused"
UNKNOWN = "unknown"

# After so many symbols in a row without a clear answer, the rest is not asked for.
MAX_UNANSWERED = 3


@dataclass
class Row:
    """The desired leverage of one symbol, and the outcome. A leverage is None where it is unknown or not configured."""

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

    def set_outcome(self, leverage: int | None, outcome: str, reason: str = "", changed: bool = False) -> None:
        """Say what is in force, and how the desired leverage ended."""
        self.leverage, self.outcome, self.reason, self.changed = leverage, outcome, reason, changed

    def as_dict(self) -> dict[str, Any]:
        """The row as it is returned."""
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
            row.update(exchange_message=self.problem.api_message)
        return row


def apply(futures: Futures, policy: _policy.Policy) -> Report:
    """Make the leverage what is desired."""
    return _RealRun(futures, policy).run()


def predict(futures: Futures, policy: _policy.Policy) -> Report:
    """What `apply` would do and return, found out without a write."""
    return _Prediction(futures, policy).run()


class _Task:
    """Reads and writes side by side, for one account. What a write is, and what it costs, is the subclass's to say."""

    def __init__(self, futures: Futures, policy: _policy.Policy) -> None:
        self._futures = futures
        self._client = futures.client
        self._pacer = futures.client.pacer
        self._policy = policy
        self._rows = [Row(desired.symbol, futures.exchange, desired.leverage) for desired in policy.entries]
        self._to_read: deque[Row] = deque(self._rows)
        self._to_write: list[Row] = []
        self._warnings: list[str] = []
        self._unanswered = 0
        # A single desired leverage goes without the limits, for the sake of a request: the exchange knows them.
        self._limits_checked = policy.single
        self._instruments: dict[str, Instrument] | None = None

    def run(self) -> Report:
        """Carry it out; whatever happens on the way, every row says how it ended."""
        count = len(self._rows)
        seconds = math.ceil(max(self._pacer.delay(READ_LEVERAGE, count), self._write_delay(count)))
        plan = f"reads of leverage: {count}, writes: at most {count}, rate limits: at most about {seconds} s"
        try:
            while self._to_read or self._to_write:
                self._step()
            self._explain()
        except CoinSwitchError as error:
            self._give_up(error)
        return self._report(plan)

    def _write_delay(self, count: int) -> float:
        """Seconds until the last of so many more writes may go out."""
        raise NotImplementedError

    def _write(self, row: Row) -> None:
        """Carry out one write, and settle the row."""
        raise NotImplementedError

    def _explain(self) -> None:
        """After all: find what stands in the way of the rows for which that matters."""
        raise NotImplementedError

    def _step(self) -> None:
        """Read while a read may go out, since all that is known decides the order of the writes; else write."""
        if self._to_read and (not self._to_write or self._pacer.delay(READ_LEVERAGE) <= self._write_delay(1)):
            self._expect()
            self._read(self._to_read.popleft())
            return
        if not self._limits_checked:
            self._check_limits()
        self._expect()
        self._write(self._to_write.pop(0))

    def _expect(self) -> None:
        """Say at once where what is known to be ahead would take longer than the task may wait."""
        self._pacer.expect({READ_LEVERAGE: len(self._to_read), **self._writes_ahead()})

    def _writes_ahead(self) -> dict[Endpoint, int]:
        """The writes that are known to be ahead."""
        return {}

    def _read(self, row: Row) -> None:
        """Read what is in force, and queue a write where there must be one: what lowers the leverage goes first."""
        try:
            row.previous = self._futures.leverage(row.symbol)
        except NotConfigured as error:
            if self._policy.enforce == _policy.MAXIMUM:
                row.set_outcome(
                    None, UNKNOWN, f"whether it is above {row.desired} is not known; set it once (exact): {error}"
                )
                return
            # Never configured, or no such symbol: the instruments tell, before anything is written.
            self._limits_checked = False
        except CoinSwitchError as error:
            row.set_outcome(None, UNKNOWN, f"what is in force is not known: {error}")
            self._unanswered += isinstance(error, Unclear)
            if error.stops or self._unanswered >= MAX_UNANSWERED:
                raise
            return
        self._unanswered = 0
        row.set_outcome(row.previous, UNCHANGED)
        if _policy.differs(row.previous, row.desired, self._policy.enforce):
            self._to_write.append(row)
            self._to_write.sort(key=lambda row: row.previous is None or row.desired > row.previous)

    def _impossible(self, row: Row) -> str | None:
        """Why the desired leverage is impossible in any state, if it is. The instruments are read once a task."""
        if self._instruments is None:
            self._instruments = self._futures.instruments()
        if row.symbol not in self._instruments:
            return _policy.unlisted(row.symbol, row.exchange, self._instruments)
        return _policy.impossible(row.desired, self._instruments[row.symbol], self._policy.enforce)

    def _check_limits(self) -> None:
        """Before the first of several writes: where one desired leverage is impossible, nothing is written at all."""
        try:
            reasons = {row.symbol: self._impossible(row) for row in self._rows}
        except CoinSwitchError as error:
            raise NothingWritten(f"the limits of leverage could not be read: {error}") from None
        self._limits_checked = True
        refused = {symbol: reason for symbol, reason in reasons.items() if reason}
        if not refused:
            return
        self._to_read = deque(row for row in self._to_read if row.symbol not in refused)
        self._to_write = [row for row in self._to_write if row.symbol not in refused]
        for row in self._rows:
            if row.symbol in refused:
                row.set_outcome(row.leverage, REFUSED, refused[row.symbol])
        raise NothingWritten(f"nothing is written while one desired leverage is impossible ({', '.join(refused)})")

    def _give_up(self, error: CoinSwitchError) -> None:
        """What was not got to ends with the error that ended the task."""
        for row in self._to_read:
            row.set_outcome(None, UNKNOWN, f"what is in force is not known: {error}")
        for row in self._to_write:
            row.set_outcome(row.previous, REFUSED, f"not written: {error}")

    def _find_blockers(self, rows: list[Row]) -> None:
        """Settle each of the rows that something stands in the way of."""
        if not rows:
            return
        # Imported where it is needed: most tasks meet no blocker.
        from ansible_collections.tradeops.coinswitch.plugins.module_utils._blockers import BlockerFinder

        finder = BlockerFinder(self._futures)
        by_symbol = {row.symbol: row for row in rows}
        found = finder.find(list(by_symbol), lambda symbol: self._impossible(by_symbol[symbol]))
        self._warnings += finder.warnings
        for symbol, (reason, blockers) in found.items():
            row = by_symbol[symbol]
            row.blockers = blockers
            stays = row.previous if row.outcome == CHANGED else row.leverage
            reason = f"leverage stays {_shown(stays)} instead of {row.desired}: {reason}"
            row.set_outcome(stays, BLOCKED if blockers else REFUSED, reason, row.changed and row.outcome != CHANGED)

    def _report(self, plan: str) -> Report:
        rows = self._rows
        changes = [row for row in rows if row.changed]
        tolerated = (BLOCKED,) if self._policy.on_blocked == _policy.WARN else ()
        failed = [row for row in rows if row.outcome in {BLOCKED, REFUSED, UNKNOWN}.difference(tolerated)]
        warned = [f"{row.symbol}: {row.reason}" for row in rows if row.outcome in tolerated]
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
            only = rows[0].as_dict()
            names = ("symbol", "exchange", "leverage", "previous_leverage", "outcome")
            result.update((name, only[name]) for name in names)
        return Report(result, _failure(failed, len(rows)), self._warnings + warned)


class _RealRun(_Task):
    """The real run."""

    def _write_delay(self, count: int) -> float:
        return self._pacer.delay(WRITE_LEVERAGE, count)

    def _writes_ahead(self) -> dict[Endpoint, int]:
        return {WRITE_LEVERAGE: len(self._to_write)}

    def _write(self, row: Row) -> None:
        """Write until the exchange says clearly whether it is done; an unclear write is read back before all else."""
        unclear = False
        for attempt in itertools.count(1):
            try:
                self._futures.set_leverage(row.symbol, row.desired)
                row.set_outcome(row.desired, CHANGED, changed=True)
                return
            except CoinSwitchError as error:
                row.problem = problem = error
            if isinstance(problem, BudgetSpent) and not problem.sent:
                if attempt == 1:
                    row.set_outcome(row.previous, REFUSED, f"not written: {problem}")
                raise problem
            # A clear no to this attempt does not recall an earlier one that got no answer.
            unclear = unclear or isinstance(problem, Unclear)
            read = self._read_back(row, problem, unclear)
            again = read and isinstance(problem, Unclear) and attempt <= self._client.retries
            if row.outcome == CHANGED:
                return
            if not again:
                break
            self._client.pause(attempt)
        if problem.stops:
            raise problem

    def _read_back(self, row: Row, problem: CoinSwitchError, unclear: bool) -> bool:
        """Settle the row by what is in force after a write that was not confirmed; whether that could be read.

        unclear: a write was sent that may yet take effect, this one or one before.
        """
        self._client.reset_connection()
        try:
            in_force: int | None = self._futures.leverage(row.symbol)
        except NotConfigured:
            in_force = None
        except CoinSwitchError as error:
            unread = f"{problem}; what is in force now could not be read ({error})"
            row.set_outcome(None, UNKNOWN, f"the outcome of the write is not known: {unread}: read it before trading")
            return False
        if in_force == row.desired:
            row.set_outcome(in_force, CHANGED, changed=True)
            return True
        ours = not isinstance(problem, Refused) and in_force != row.previous
        if unclear:
            seen = f"{problem}; {_shown(in_force)} was in force when read back, but a write may yet take effect"
            row.set_outcome(
                in_force, UNKNOWN, f"the outcome of the write is not known: {seen}: read it before trading", ours
            )
        else:
            row.set_outcome(
                in_force, REFUSED, f"leverage stays {_shown(in_force)} instead of {row.desired}: {problem}", ours
            )
        return True

    def _explain(self) -> None:
        self._find_blockers([row for row in self._rows if row.outcome == REFUSED and _may_be_blocked(row.problem)])


class _Prediction(_Task):
    """Check mode: a write is taken for done, until something is found to stand in its way."""

    def _write_delay(self, count: int) -> float:
        return 0.0

    def _write(self, row: Row) -> None:
        row.set_outcome(row.desired, CHANGED, changed=True)

    def _explain(self) -> None:
        self._find_blockers([row for row in self._rows if row.outcome == CHANGED])


def _may_be_blocked(problem: CoinSwitchError | None) -> bool:
    """Whether the answer to a write may come from the symbol's state: a redirect can't, say."""
    return isinstance(problem, Unconfirmed) or (isinstance(problem, Refused) and problem.status >= 400)


def _shown(leverage: int | None) -> str:
    return "not configured" if leverage is None else str(leverage)


def _failure(rows: list[Row], of: int) -> str | None:
    """One line that names every symbol that is not as desired, those of the same reason together."""
    if not rows:
        return None
    by_reason: dict[str, list[str]] = {}
    for row in rows:
        by_reason.setdefault(row.reason, []).append(row.symbol)
    lines = "; ".join(f"{', '.join(symbols)}: {reason}" for reason, symbols in by_reason.items())
    return lines if of == 1 else f"{len(rows)} of {of} symbols do not have the desired leverage. {lines}"
