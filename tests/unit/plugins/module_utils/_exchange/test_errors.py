# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts and the messages of the errors."""

from __future__ import annotations

import inspect
import re
from typing import Any, NamedTuple

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import errors as _errors
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    BudgetSpent,
    CoinSwitchError,
    Effect,
    Ends,
    InputRefused,
    InternalError,
    KeysRefused,
    LibraryMissing,
    MustWait,
    NotConfigured,
    NotListed,
    RateLimited,
    Refused,
    Reworded,
    Stopped,
    Unclear,
    Unconfirmed,
    Unexpected,
    Unreachable,
)

# --- The facts of each error ---


class Facts(NamedTuple):
    """What an error states for the code, and its message."""

    text: str
    kind: str
    effect: Effect = Effect.NONE
    can_retry: bool = False
    ends: Ends = Ends.NOTHING
    status: int | None = None
    is_from_api: bool = False
    exchange_message: str = ""


def get_facts(error: CoinSwitchError) -> Facts:
    return Facts(str(error), *(getattr(error, name) for name in Facts._fields[1:]))


POSSIBLE = Effect.POSSIBLE
INTERNAL = "Internal error in this collection (ValueError). Report it as a bug."
FACTS: list[tuple[CoinSwitchError, Facts]] = [
    (CoinSwitchError("a"), Facts("a", "failed")),
    (InputRefused("a"), Facts("a", "input", ends=Ends.ALL)),
    (NotListed("a"), Facts("a", "not_listed")),
    (LibraryMissing("a", "trace"), Facts("a", "library_missing", ends=Ends.ALL)),
    (Unclear("a"), Facts("a", "unclear_response", POSSIBLE, can_retry=True)),
    (Unclear("a", 503), Facts("a", "unclear_response", POSSIBLE, can_retry=True, status=503)),
    (Unreachable("a"), Facts("a", "network", can_retry=True, ends=Ends.ALL)),
    (Unreachable("a", can_retry=False), Facts("a", "network", ends=Ends.ALL)),
    (
        Refused(400, "No", "GET /x"),
        Facts(
            'The exchange refused GET /x with HTTP 400: "No".',
            "refused",
            status=400,
            is_from_api=True,
            exchange_message="No",
        ),
    ),
    (
        Refused(409, "No", "GET /x", is_from_api=False),
        Facts(
            'A server in front of the API refused GET /x with HTTP 409: "No". Check api_url and the proxy.',
            "refused_before_api",
            status=409,
            exchange_message="No",
        ),
    ),
    (
        Refused(307, "", "GET /x", is_from_api=False),
        Facts(
            "A server in front of the API refused GET /x with HTTP 307. Signed requests do not follow a redirect. "
            "Check api_url.",
            "refused_before_api",
            POSSIBLE,
            status=307,
        ),
    ),
    (KeysRefused("a", "No"), Facts("a", "keys", ends=Ends.ALL, status=401, is_from_api=True, exchange_message="No")),
    (
        RateLimited(),
        Facts("The exchange answered HTTP 429 (too many requests).", "rate_limit", can_retry=True, status=429),
    ),
    (MustWait("a"), Facts("a", "rate_limit", can_retry=True)),
    (BudgetSpent("a"), Facts("a", "rate_limit", ends=Ends.ENDPOINT)),
    (Unexpected("a"), Facts("a", "unexpected_response", POSSIBLE, status=200)),
    (
        NotConfigured("a", None, "No"),
        Facts("a", "never_configured", is_from_api=True, exchange_message="No"),
    ),
    (
        Unconfirmed("No", 202),
        Facts(
            'The exchange did not confirm the change. It answered HTTP 202: "No".',
            "not_confirmed",
            POSSIBLE,
            status=202,
            exchange_message="No",
        ),
    ),
    (
        Unconfirmed("No", 200, is_refusal=True),
        Facts(
            'The exchange did not confirm the change. It answered HTTP 200: "No".',
            "not_confirmed",
            POSSIBLE,
            status=200,
            is_from_api=True,
            exchange_message="No",
        ),
    ),
    (Stopped("a"), Facts("a", "stopped", ends=Ends.ENDPOINT)),
    (InternalError(ValueError("secret")), Facts(INTERNAL, "internal_error", POSSIBLE, ends=Ends.ALL)),
]


@pytest.mark.parametrize(("error", "facts"), FACTS, ids=lambda value: value.__class__.__name__)
def test_each_error_states_its_facts(error: CoinSwitchError, facts: Facts) -> None:
    assert get_facts(error) == facts


def test_facts_of_every_error_are_tested() -> None:
    """A new error needs a line in the table above."""
    errors = {
        value for _name, value in inspect.getmembers(_errors, inspect.isclass) if issubclass(value, CoinSwitchError)
    }
    assert errors - {Reworded} == {error.__class__ for error, _facts in FACTS}


def test_errors_keep_what_only_their_class_has() -> None:
    assert (LibraryMissing("nacl", "trace").library, LibraryMissing("nacl", "trace").import_traceback) == (
        "nacl",
        "trace",
    )
    assert Unconfirmed("No", 200, is_refusal=True).is_refusal
    assert not Unconfirmed("No", 200).is_refusal


# --- Reworded ---


@pytest.mark.parametrize(("error", "facts"), FACTS, ids=lambda value: value.__class__.__name__)
def test_reworded_error_has_other_words_and_the_same_facts(error: CoinSwitchError, facts: Facts) -> None:
    assert get_facts(Reworded("Other words.", error)) == facts._replace(text="Other words.")


# --- Refused ---

REDIRECTED = " Signed requests do not follow a redirect. Check api_url."
FIREWALL = (
    " The exchange has no list of allowed addresses, so a firewall refused this machine. Check api_url, the proxy and "
    "the network, or ask the support of the exchange."
)
CHECK_ALL = " Check api_url and the proxy."


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (300, REDIRECTED),
        (302, REDIRECTED),
        (399, REDIRECTED),
        (400, CHECK_ALL),
        (403, FIREWALL),
        (404, " Check api_url."),
        (422, CHECK_ALL),
        (499, CHECK_ALL),
    ],
)
@pytest.mark.parametrize(("exchange_message", "quote"), [("No", ': "No"'), ("", "")])
def test_refusal_in_front_of_the_api_contains_the_advice_for_its_status(
    status: int, advice: str, exchange_message: str, quote: str
) -> None:
    error = Refused(status, exchange_message, "GET /x", is_from_api=False)
    assert str(error) == f"A server in front of the API refused GET /x with HTTP {status}{quote}.{advice}"


@pytest.mark.parametrize(("status", "advice"), [(300, REDIRECTED), (302, REDIRECTED), (399, REDIRECTED)])
def test_redirect_of_the_exchange_contains_advice_too(status: int, advice: str) -> None:
    assert str(Refused(status, "No", "GET /x")) == f'The exchange refused GET /x with HTTP {status}: "No".{advice}'


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
def test_refusal_of_the_api_itself_contains_no_guess(status: int) -> None:
    assert str(Refused(status, "No", "GET /x")) == f'The exchange refused GET /x with HTTP {status}: "No".'


@pytest.mark.parametrize("is_from_api", [True, False])
@pytest.mark.parametrize(
    ("status", "effect"), [(300, POSSIBLE), (399, POSSIBLE), (400, Effect.NONE), (499, Effect.NONE)]
)
def test_only_a_redirect_may_have_had_an_effect(status: int, effect: Effect, is_from_api: bool) -> None:
    assert Refused(status, "No", "GET /x", is_from_api).effect is effect


# --- InternalError ---


def raise_and_catch(error: BaseException) -> BaseException:
    """Return the error with a traceback that ends in this file."""
    try:
        raise error
    except BaseException as caught:
        return caught


@pytest.mark.parametrize("error", [ValueError("secret"), KeyError("secret"), RecursionError("secret")])
def test_internal_error_names_its_type_and_place_but_not_its_text(error: Any) -> None:
    pattern = (
        rf"Internal error in this collection \({type(error).__name__} at test_errors\.py:\d+\)\. Report it as a bug\."
    )
    assert re.fullmatch(pattern, str(InternalError(raise_and_catch(error))))
