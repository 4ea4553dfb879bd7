# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The requests of one symbol: those of a real run, and those of check mode, whose writes are simulated.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

from typing import Callable, Sequence

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import endpoints, errors
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import Endpoint
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import Futures
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Preview
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.blockers import AccountFacts
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import Reading
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.schedule import SymbolRow
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.steps import Step


class RealCalls:
    """The requests about one symbol in a real run."""

    def __init__(self, futures: Futures) -> None:
        self._futures = futures

    def read(self, row: SymbolRow) -> Reading:
        """Read the leverage. Raise CoinSwitchError if that fails.

        A symbol whose leverage was read before is configured. If the exchange then returns no leverage, for example
        during a maintenance, the reading failed.
        """
        client = self._futures.client
        if row.step is Step.READ_BACK:
            # The old connection can still deliver the response to the write.
            client.reset_connection()
        try:
            leverage = self._futures.get_leverage(row.goal.symbol)
        except errors.NotConfigured as error:
            if any(reading.leverage is not None for reading in row.evidence.get_readings_after(None)):
                raise errors.Unexpected(str(error), error.status, error.exchange_message) from None
            return Reading(client.pacer.now(), unset=error)
        return Reading(client.pacer.now(), leverage)

    def write(self, row: SymbolRow) -> None:
        """Write the desired leverage. Raise CoinSwitchError if it is not confirmed."""
        self._futures.set_leverage(row.goal.symbol, row.goal.leverage)


class SimulatedCalls(RealCalls):
    """The requests about one symbol in check mode. First reads are real, the others are simulated.

    Args:
        futures: The endpoints of the account.
        facts: The facts of the account.
        preview: Counts the simulated requests.
        get_candidates: Returns the symbols that may be written, for one search for all of them.
    """

    def __init__(
        self, futures: Futures, facts: AccountFacts, preview: Preview, get_candidates: Callable[[], Sequence[SymbolRow]]
    ) -> None:
        super().__init__(futures)
        self._facts = facts
        self._preview = preview
        self._get_candidates = get_candidates

    def read(self, row: SymbolRow) -> Reading:
        """Read the leverage for the first time, or repeat the last reading at the simulated time."""
        if row.step is Step.READ:
            return super().read(row)
        self._simulate(endpoints.READ_LEVERAGE)
        reading = row.evidence.get_reading() or Reading(0.0)
        return reading._replace(at=self._preview.now())

    def write(self, row: SymbolRow) -> None:
        """Confirm the desired leverage, or refuse it as the exchange would."""
        row.evidence.predicted = True
        if not row.evidence.explained:
            self._search(self._get_candidates())
        self._simulate(endpoints.WRITE_LEVERAGE)
        if row.evidence.blockers or row.evidence.violation:
            raise errors.Refused(400, "", str(endpoints.WRITE_LEVERAGE))

    def _simulate(self, endpoint: Endpoint) -> None:
        timing = self._futures.client.timing
        self._preview.simulate(endpoint, timing.received - timing.sent)

    def _search(self, rows: Sequence[SymbolRow]) -> None:
        # A real run reads this only after a refusal, so these requests are not in the preview.
        client = self._futures.client
        client.pacer = client.real_pacer
        try:
            with self._preview.stopped():
                explain_rows(self._facts, rows, refresh=False)
        finally:
            client.pacer = self._preview


def explain_rows(facts: AccountFacts, rows: Sequence[SymbolRow], refresh: bool) -> errors.CoinSwitchError | None:
    """Record why the exchange refuses, or would refuse, the desired leverages. Return the error of a failed search."""
    for row in rows:
        record_limits(facts, row)
        if row.evidence.limits_error is not None:
            text = "the limits could not be read, so it is not known whether they allow the change."
            facts.warnings.append(f"{row.goal.symbol}: {text} {row.evidence.limits_error}")
        row.evidence.explained = True
    unexplained = [row for row in rows if row.evidence.violation is None]
    if not unexplained:
        return None
    found = facts.search([row.goal.symbol for row in unexplained], refresh)
    for row in unexplained:
        row.evidence.blockers = found.blockers[row.goal.symbol]
        row.evidence.search_failed = row.goal.symbol in found.not_read
    return found.error


def record_limits(facts: AccountFacts, row: SymbolRow) -> None:
    """Compare the desired leverage with the limits of the symbol, once."""
    if row.evidence.limits_known or row.evidence.limits_error is not None:
        return
    try:
        row.evidence.violation = facts.find_violation(row.goal)
        row.evidence.limits_known = True
    except errors.CoinSwitchError as error:
        row.evidence.limits_error = error
