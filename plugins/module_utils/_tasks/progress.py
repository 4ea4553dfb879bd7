# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prints the progress of a long task. A short task prints nothing.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import time
from typing import Any, Callable, NamedTuple

# A task that is expected to take less time prints nothing.
MIN_TASK_SECONDS = 5.0
MIN_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Prints lines about the work of one task.

    Args:
        print_line: Prints one line. None prints nothing, because a module cannot print before it ends.
        check_mode: Whether the changes are only predicted.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        print_line: Callable[[str], None] | None = None,
        check_mode: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._print_line = print_line
        self._check_mode = check_mode
        self._clock = clock
        self._printed_at = 0.0
        self._is_long = False

    @property
    def is_shown(self) -> bool:
        """Whether the task is long and its progress is printed."""
        return self._print_line is not None and self._is_long

    def start(self, symbols: int, seconds: float) -> None:
        """Print the number of symbols, and the seconds that the rate limits require if all of them are written."""
        self._is_long = seconds > MIN_TASK_SECONDS
        writes = "none to write in check mode" if self._check_mode else f"at most {symbols} to write"
        self._print(f"{symbols} symbols to read, {writes}, at most about {seconds:.0f} s")

    def finished(self, row: Any) -> None:
        """Print the change or the problem of a symbol (a Row). A symbol that stays unchanged prints nothing."""
        if row.outcome == "changed":
            before = "not configured" if row.previous is None else row.previous
            verb = "would change " if self._check_mode else ""
            self._print(f"{row.symbol} {verb}{before} -> {row.leverage}")
        elif row.outcome != "unchanged":
            self._print(f"{row.symbol} {row.outcome}: {row.reason}")

    def waiting(self, read: int, written: int, rows: int, to_write: int, seconds: float) -> None:
        """Print how much is done, at most once in ten seconds."""
        if self._clock() - self._printed_at >= MIN_SECONDS_BETWEEN_LINES:
            writes = "" if self._check_mode else f", written {written} of {written + to_write}"
            self._print(f"read {read} of {rows}{writes}, about {seconds:.0f} s left")

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
