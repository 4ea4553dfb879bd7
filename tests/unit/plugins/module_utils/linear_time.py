# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks that a function takes a time that grows only with the size of its input."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import CoinSwitchError

T = TypeVar("T")

# A function whose time grows with the square of the size takes 16 times as long.
GROWTH = 4
MAX_RATIO = 9.0
# Shorter times cannot be measured. In seconds.
MIN_TIME = 0.002

# Texts of which a response could consist to keep a program busy.
HOSTILE_TEXTS = (
    *("://", "://a@", "://" * 39 + "@ ", "@", "a", "a" * 119 + " ", "a" * 17 + " ", "0123456789abcdef" * 3 + "0 "),
    *("\x1b[2J", "\u2028", "\ud800", "\u00e9", " ", "<", "<script>", "<style></script>", "</style>", "&#", "%41"),
    *("[", "{", '"', "\\", "1", "-", ","),
)


def fill(part: str, size: int) -> str:
    """Return a text of this many characters that repeats a part."""
    return (part * (size // len(part) + 1))[:size]


def assert_linear(
    function: Callable[[T], object], create_input: Callable[[int], T], size: int, steps: int = 40
) -> None:
    """Check the processor time for an input, all in one run.

    It is compared with the time for a quarter of the input, and with the time of a loop of Python over as many items.

    Args:
        function: It may raise a CoinSwitchError.
        create_input: Returns an input of a given size.
        size: The size of the larger input.
        steps: How many steps of the loop the function may take for each character.
    """
    small, large = create_input(size // GROWTH), create_input(size)
    # Another process can disturb a measurement once.
    assert any(_is_linear(function, small, large, size, steps) for _attempt in range(2))


def _is_linear(function: Callable[[T], object], small: T, large: T, size: int, steps: int) -> bool:
    loop_time = _measure(_loop, size)
    small_time, large_time = _measure(function, small), _measure(function, large)
    return large_time < MAX_RATIO * max(MIN_TIME, small_time) and large_time < steps * max(MIN_TIME, loop_time)


def _loop(size: int) -> None:
    for _step in range(size):
        pass


def _measure(function: Callable[[T], object], value: T) -> float:
    start = time.thread_time()
    with contextlib.suppress(CoinSwitchError):
        function(value)
    return time.thread_time() - start
