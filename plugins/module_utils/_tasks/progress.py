# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints the progress of a long task, and each long wait. A short task prints nothing.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import math
import time
from typing import Any, Callable, NamedTuple

# A task that is expected to take less time prints nothing, until a wait of it takes longer.
MIN_TASK_SECONDS = 5.0
MIN_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Prints lines about the work of one task.

    Args:
        print_line: Prints one line. None prints nothing, because a module cannot print before it ends.
        check_mode: Whether the changes are only predicted.
        clock: Returns monotonic seconds.
        get_time: Returns the time of day, in seconds since 1970 in UTC.
    """

    def __init__(
        self,
        print_line: Callable[[str], None] | None = None,
        check_mode: bool = False,
        clock: Callable[[], float] = time.monotonic,
        get_time: Callable[[], float] = time.time,
    ) -> None:
        self._print_line = print_line
        self._check_mode = check_mode
        self._clock = clock
        self._get_time = get_time
        self._printed_at = -math.inf
        self._is_long = False

    @property
    def can_print(self) -> bool:
        """Whether there is a way to print."""
        return self._print_line is not None

    def start(self, plan: str, seconds: float) -> None:
        """Print the plan of a task that is expected to take longer than a few seconds.

        Args:
            plan: How many requests the task sends at most, and how long the rate limits require.
            seconds: The seconds that the rate limits of the real requests require.
        """
        self._is_long = seconds > MIN_TASK_SECONDS
        self._print(plan)

    def finished(self, symbol: str, verdict: Any, reason: str) -> None:
        """Print the change or the problem of a symbol. A symbol that stays unchanged prints nothing."""
        if verdict.outcome == "changed":
            before = "not configured" if verdict.previous is None else verdict.previous
            verb = "would change " if self._check_mode else ""
            self._print(f"{symbol} {verb}{before} -> {verdict.leverage}")
        elif verdict.outcome != "unchanged":
            self._print(f"{symbol} {verdict.outcome}: {reason}")

    def waiting(self, seconds: float, total_seconds: float = 0.0, why: str = "the rate limit", done: str = "") -> None:
        """Print how much is done, why the task waits, and until when. At most one line in ten seconds.

        A task that was expected to be short becomes a long one by a long wait.

        Args:
            seconds: The seconds until the next request can be sent.
            total_seconds: The seconds until the last request can be sent, if that is known.
            why: What makes the task wait.
            done: How much is done, as the start of the line. Empty if that is not known.
        """
        self._is_long = self._is_long or seconds > MIN_TASK_SECONDS
        if self._clock() - self._printed_at >= MIN_SECONDS_BETWEEN_LINES:
            until = time.strftime("%H:%M:%S UTC", time.gmtime(self._get_time() + seconds))
            left = max(seconds, total_seconds)
            self._print(f"{done}waits until {until} because of {why}, about {left:.0f} s left")

    def _print(self, text: str) -> None:
        if self._print_line is not None and self._is_long:
            self._printed_at = self._clock()
            self._print_line(text)


class Context(NamedTuple):
    """How a task runs.

    Attributes:
        check_mode: Whether the task only predicts its changes.
        progress: Prints the progress of the task.
    """

    check_mode: bool = False
    progress: Progress = Progress()
