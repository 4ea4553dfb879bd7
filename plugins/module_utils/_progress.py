# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines about a task that takes long, while it runs. A short task prints nothing.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import time
from typing import Any, Callable

# Seconds: a task that is expected to take no longer prints nothing.
LONGEST_SILENT = 5.0
BETWEEN_LINES = 10.0


class Progress:
    """Prints with say(text), where there is a way to print: a module has none. clock() is in seconds."""

    def __init__(self, say: Callable[[str], None] | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._say = say
        self._clock = clock
        self._last = 0.0
        self._is_long = False

    @property
    def is_shown(self) -> bool:
        """Whether the task is long, and lines are printed."""
        return self._say is not None and self._is_long

    def start(self, symbols: int, seconds: float) -> None:
        """Say how much work lies ahead, and how long the rate limits make it take at most."""
        self._is_long = seconds > LONGEST_SILENT
        self._print(f"{symbols} symbols to read, at most {symbols} to write, at most about {seconds:.0f} s")

    def finished(self, row: Any) -> None:
        """Say what became of a symbol (a Row), where that is a change or a problem."""
        if row.outcome == "changed":
            before = "not configured" if row.previous is None else row.previous
            self._print(f"{row.symbol} {before} -> {row.leverage}")
        elif row.outcome != "unchanged":
            self._print(f"{row.symbol} {row.outcome}: {row.reason}")

    def waiting(self, read: int, written: int, rows: int, to_write: int, seconds: float) -> None:
        """Say how far the task is, at most once in ten seconds."""
        if self._clock() - self._last >= BETWEEN_LINES:
            writes = f"written {written} of {written + to_write}"
            self._print(f"read {read} of {rows}, {writes}, about {seconds:.0f} s left")

    def _print(self, text: str) -> None:
        if self._say is not None and self._is_long:
            self._last = self._clock()
            self._say(text)
