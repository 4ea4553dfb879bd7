# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known about one symbol, as data: readings and attempts in their order, and the facts that explain a refusal.

Evidence is only appended. judgment.py says what it means, steps.py what to do next, and wording.py how to say it. So a
task that is stopped anywhere needs no clean-up. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Union

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import errors

# The statuses of a write that did not get past the network, the keys or the rate limit.
_NOT_REACHED = (None, errors.KeysRefused.status, errors.RateLimited.status)


class Reading(NamedTuple):
    """A read of the current leverage.

    Attributes:
        at: When the response was complete, in seconds of the monotonic clock.
        leverage: The current leverage. None if the symbol was never configured, or after a failure.
        failure: Why there is no reading. None if it worked.
        unset: The error that says that the symbol was never configured. None for a leverage.
    """

    at: float
    leverage: int | None = None
    failure: errors.CoinSwitchError | None = None
    unset: errors.CoinSwitchError | None = None

    @property
    def worked(self) -> bool:
        """Whether the exchange said which leverage is in force, or that there is none."""
        return self.failure is None


class Attempt(NamedTuple):
    """One write of the desired leverage.

    Attributes:
        at: When the response was complete, or when the request failed, in seconds of the monotonic clock.
        error: The error. None if the response confirmed the desired leverage.
    """

    at: float
    error: errors.CoinSwitchError | None = None

    @property
    def is_possible(self) -> bool:
        """Whether the exchange may have carried out the write, without confirming it."""
        return self.error is not None and self.error.effect is errors.Effect.POSSIBLE

    @property
    def reached(self) -> bool:
        """Whether the write got past the network, the keys and the rate limit."""
        return self.error is None or self.is_possible or self.error.status not in _NOT_REACHED


class Pause(NamedTuple):
    """A pause between two steps of a symbol, until a time of the monotonic clock."""

    until: float


Event = Union[Reading, Attempt, Pause]


class Violation(NamedTuple):
    """Why the exchange would never accept the desired leverage: the cause (a stable word) and a sentence."""

    cause: str
    text: str


@dataclass
class Evidence:
    """What is known about one symbol.

    Attributes:
        events: The readings, attempts and pauses, in their order.
        held: Why a possible step was not taken.
        limits_known: Whether the limits of the symbol were read.
        violation: Why the limits do not allow the desired leverage. None if they allow it, or are not known.
        limits_error: Why the limits could not be read.
        explained: Whether positions and orders were read to explain a refusal.
        blockers: The positions and orders that were found, positions first.
        search_failed: Whether some of them could not be read.
        predicted: Whether the attempts are those of check mode.
    """

    events: list[Event] = field(default_factory=list)
    held: errors.CoinSwitchError | None = None
    limits_known: bool = False
    violation: Violation | None = None
    limits_error: errors.CoinSwitchError | None = None
    explained: bool = False
    blockers: list[dict[str, Any]] = field(default_factory=list)
    search_failed: bool = False
    predicted: bool = False

    @property
    def attempts(self) -> list[Attempt]:
        """All attempts, the oldest first."""
        return [event for event in self.events if isinstance(event, Attempt)]

    @property
    def last_attempt(self) -> Attempt | None:
        """The last attempt. None before the first one."""
        return self.attempts[-1] if self.attempts else None

    @property
    def last_error(self) -> errors.CoinSwitchError | None:
        """The error of the last attempt. None before the first one, and if it was confirmed."""
        return self.attempts[-1].error if self.attempts else None

    def get_events_after(self, attempt: Attempt | None) -> list[Event]:
        """Return the events after an attempt, or all events for None."""
        return self.events if attempt is None else self.events[_find(self.events, attempt) + 1 :]

    def get_readings_after(self, attempt: Attempt | None) -> list[Reading]:
        """Return the readings after an attempt, or all readings for None. Also those that failed."""
        return [event for event in self.get_events_after(attempt) if isinstance(event, Reading)]

    def get_reading(self, before: Attempt | None = None) -> Reading | None:
        """Return the last reading that worked: of all, or before an attempt. None without one."""
        events = self.events if before is None else self.events[: _find(self.events, before)]
        return next((event for event in reversed(events) if isinstance(event, Reading) and event.worked), None)


def _find(events: list[Event], attempt: Attempt) -> int:
    """Return the index of an attempt. Two attempts can be equal, so compare the identity."""
    return next(index for index, event in enumerate(events) if event is attempt)
