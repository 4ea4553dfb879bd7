# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of _errors."""

from __future__ import annotations

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import errors as _errors
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    CoinSwitchError,
    Refused,
    Unreachable,
)

# --- CoinSwitchError.stops_task ---


@pytest.mark.parametrize(
    ("name", "stops"),
    [
        ("InputRefused", True),
        ("LibraryMissing", True),
        ("KeysRefused", True),
        ("BudgetSpent", True),
        ("NothingWritten", True),
        ("Unanswered", True),
        ("InternalError", True),
        ("Unreachable", True),
        ("Unclear", False),
        ("Refused", False),
        ("RateLimited", False),
        ("Unexpected", False),
        ("NotConfigured", False),
        ("Unconfirmed", False),
    ],
)
def test_error_stops_the_task_if_other_symbols_would_fail_too(name: str, stops: bool) -> None:
    error = getattr(_errors, name)
    assert issubclass(error, CoinSwitchError)
    assert error.stops_task is stops


def test_module_defines_14_errors_and_their_base_class() -> None:
    """A new error needs a line in the table above."""
    errors = {
        value for value in vars(_errors).values() if isinstance(value, type) and issubclass(value, CoinSwitchError)
    }
    assert len(errors) == 15


# --- Unreachable ---


def test_unreachable_is_retried_by_default() -> None:
    assert Unreachable("x").can_retry is True
    assert Unreachable("x", can_retry=False).can_retry is False


# --- Refused ---


@pytest.mark.parametrize(
    ("status", "exchange_message", "message"),
    [
        (400, "No", 'the exchange refused GET /x with HTTP 400: "No"'),
        (400, "", "the exchange refused GET /x with HTTP 400"),
        (404, "", "the exchange refused GET /x with HTTP 404 (check api_url)"),
        (403, "No", f'the exchange refused GET /x with HTTP 403{_errors._ADVICE[403]}: "No"'),
        (302, "", f"the exchange refused GET /x with HTTP 302{_errors._ADVICE[3]}"),
    ],
)
def test_message_of_a_refusal_contains_the_advice_for_its_status(
    status: int, exchange_message: str, message: str
) -> None:
    assert str(Refused(status, exchange_message, "GET /x")) == message
