# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lets a task undo its work before a signal ends the process. Nothing can do that for SIGKILL.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import contextlib
import signal
from typing import Any, Callable

# SIGINT is Ctrl-C, SIGTERM ends a process, SIGHUP is a closed terminal, and SIGALRM is the keyword `timeout` of a task
# that runs in the worker process of Ansible.
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGALRM)


class Interrupted(BaseException):
    """A signal would have ended the process."""


class Guard:
    """Holds the signals back that would end the process, as long as it is entered.

    The first signal ends `run`, and no other code. After the exit, Ansible handles the signal as usual: it ends the
    worker process, or raises the timeout. In the process of a module, nothing else handles it, so the module can return
    a result.

    Attributes:
        error: What ended `run`. None if it was not interrupted.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self._received: list[int] = []
        self._is_running = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Guard:
        for number in _SIGNALS:
            # An ignored signal stays ignored. Only the main thread can set a handler, and only it gets signals.
            with contextlib.suppress(ValueError):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._handlers[number] = signal.signal(number, self._handle)
        return self

    def run(self, work: Callable[[], object]) -> None:
        """Call `work`, and keep what it raises in `error`, also a signal."""
        try:
            try:
                self._is_running = True
                work()
            finally:
                self._is_running = False
        except BaseException as error:  # the caller undoes the work, whatever ended it
            self.error = error

    def _handle(self, number: int, _frame: object) -> None:
        self._received.append(number)
        if self._is_running:
            self._is_running = False
            raise Interrupted

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        for number in self._received:
            if self._handlers[number] not in (signal.SIG_DFL, signal.default_int_handler):
                signal.raise_signal(number)
