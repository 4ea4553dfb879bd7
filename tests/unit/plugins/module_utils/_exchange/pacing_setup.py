# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the tests of budgets and of pacing share. The fixtures are in conftest.py."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import Endpoint
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import (
    MARGIN_SECONDS,
    WINDOW_SECONDS,
    Pacer,
)

# The names say how many requests the endpoint allows in one window.
THREE_PER_WINDOW = Endpoint("three", "GET", "/three", 3)
TEN_PER_WINDOW = Endpoint("ten", "POST", "/ten", 10, writes=True)
# A small number, so that `pytest.approx` compares seconds exactly.
START = 1000.0
# Seconds until a request no longer counts.
FULL_WINDOW = WINDOW_SECONDS + MARGIN_SECONDS
NO_FILE_DESCRIPTOR = OSError(errno.EMFILE, "Too many open files")

NewPacer = Callable[..., Pacer]


def send_requests(pacer: Pacer, count: int, endpoint: Endpoint = THREE_PER_WINDOW) -> list[float]:
    """Send requests that are answered at once. Return the time at which each was sent."""
    sent = []
    for _request in range(count):
        taken = pacer.take(endpoint)
        pacer.record_response(endpoint, taken)
        sent.append(taken)
    return sent


def make_failing(error: BaseException) -> Callable[..., Any]:
    """Return a function that accepts any arguments and raises the error."""

    def fail(*_arguments: Any, **_options: Any) -> Any:
        raise error

    return fail
