# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user reads of an error."""

from __future__ import annotations

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _errors
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import CoinSwitchError, Refused, Unreachable


@pytest.mark.parametrize(
    ("kind", "stops"),
    [
        ("InputRefused", True),
        ("LibraryMissing", True),
        ("KeysRefused", True),
        ("BudgetSpent", True),
        ("NothingWritten", True),
        ("Unanswered", True),
        ("Defect", True),
        ("Unreachable", True),
        ("Unclear", False),
        ("Refused", False),
        ("RateLimited", False),
        ("Unexpected", False),
        ("NotConfigured", False),
        ("Unconfirmed", False),
    ],
)
def test_which_errors_other_symbols_would_meet_too(kind: str, stops: bool) -> None:
    error = getattr(_errors, kind)
    assert issubclass(error, CoinSwitchError)
    assert error.stops is stops


def test_every_error_is_in_the_table_above() -> None:
    kinds = {kind for kind in vars(_errors).values() if isinstance(kind, type) and issubclass(kind, CoinSwitchError)}
    assert len(kinds) == 15


@pytest.mark.parametrize(
    ("status", "words", "said"),
    [
        (400, "No", 'the exchange refused GET /x with HTTP 400: "No"'),
        (400, "", "the exchange refused GET /x with HTTP 400"),
        (404, "", "the exchange refused GET /x with HTTP 404 (check api_url)"),
        (403, "No", f'the exchange refused GET /x with HTTP 403{_errors._ADVICE[403]}: "No"'),
        (302, "", f"the exchange refused GET /x with HTTP 302{_errors._ADVICE[3]}"),
    ],
)
def test_a_refusal_says_what_to_do_about_it(status: int, words: str, said: str) -> None:
    assert str(Refused(status, words, "GET /x")) == said


def test_an_unreachable_exchange_may_be_tried_again() -> None:
    assert Unreachable("x").again is True
    assert Unreachable("x", again=False).again is False
