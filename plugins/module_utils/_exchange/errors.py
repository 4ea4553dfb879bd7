# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of the collection. Each has a message of one line for the user, and states facts for the code.

The code decides by these facts, not by the class of an error, and never by its text. Private to this collection:
anything here may change in any release.
"""

from __future__ import annotations

import os
from enum import Enum


class Effect(Enum):
    """What a request with this error did on the exchange."""

    NONE = "none"
    # It may have been carried out, or may still be.
    POSSIBLE = "possible"


class Ends(Enum):
    """Which later requests would fail with the same error."""

    NOTHING = "nothing"
    # Those to the same endpoint.
    ENDPOINT = "endpoint"
    ALL = "all"


class CoinSwitchError(Exception):
    """The base class. `str(error)` is the message: what went wrong and what to do about it, in one line.

    Attributes:
        kind: A stable word for programs: `error.kind` of a result, and `cause` of a row.
        effect: What the request did.
        can_retry: Whether the same request can succeed if it is sent again. A write is sent again only after a read.
        ends: Which later requests would fail, too.
        status: The HTTP status of the response. None without a response.
        is_from_api: Whether the API itself answered, and not a server in front of it: the response is a JSON object
            with a text in `message`.
        exchange_message: The text of the response on one line. Empty without one.
    """

    kind = "failed"
    effect = Effect.NONE
    can_retry = False
    ends = Ends.NOTHING
    status: int | None = None
    is_from_api = False

    def __init__(self, text: str, status: int | None = None, exchange_message: str = "") -> None:
        super().__init__(text)
        self.status = status or self.status
        self.exchange_message = exchange_message


class Reworded(CoinSwitchError):
    """An error with other words. Its facts are those of the first one."""

    def __init__(self, text: str, error: CoinSwitchError) -> None:
        super().__init__(text, error.status, error.exchange_message)
        self.kind, self.effect, self.can_retry, self.ends = error.kind, error.effect, error.can_retry, error.ends
        self.is_from_api = error.is_from_api


class InputRefused(CoinSwitchError):
    """The value of an option is not valid. Nothing was sent."""

    kind = "input"
    ends = Ends.ALL


class NotListed(CoinSwitchError):
    """The exchange does not list a symbol."""

    kind = "not_listed"


class LibraryMissing(CoinSwitchError):
    """A Python library is missing.

    Attributes:
        library: The name of the library.
        import_traceback: The traceback of its import.
    """

    kind = "library_missing"
    ends = Ends.ALL

    def __init__(self, library: str, import_traceback: str) -> None:
        super().__init__(library)
        self.library = library
        self.import_traceback = import_traceback


class Unclear(CoinSwitchError):
    """There is no valid response: a timeout, a broken connection, HTTP 408 or 5xx, or a response that is not JSON.

    The request may or may not have taken effect.
    """

    kind = "unclear_response"
    effect = Effect.POSSIBLE
    can_retry = True


class Unreachable(CoinSwitchError):
    """There was no connection, so the request was not sent.

    Args:
        can_retry: Whether a retry can succeed.
    """

    kind = "network"
    ends = Ends.ALL

    def __init__(self, text: str, can_retry: bool = True) -> None:
        super().__init__(text)
        self.can_retry = can_retry


REFUSED_BEFORE_API = "refused_before_api"


class Refused(CoinSwitchError):
    """The request was refused (4xx), or redirected (3xx)."""

    def __init__(self, status: int, exchange_message: str, request: str, is_from_api: bool = True) -> None:
        self.is_from_api = is_from_api
        self.kind = "refused" if is_from_api else REFUSED_BEFORE_API
        # A redirect does not say what the server did.
        self.effect = Effect.POSSIBLE if status < 400 else Effect.NONE
        who = "The exchange" if is_from_api else "A server in front of the API"
        advice = "" if is_from_api and status >= 400 else _ADVICE.get(status, _ADVICE.get(status // 100, ""))
        text = f"{who} refused {request} with HTTP {status}{format_quote(exchange_message)}.{advice}"
        super().__init__(text, status, exchange_message)


def format_quote(text: str) -> str:
    """Return a text of the exchange as the end of a message. Empty if there is no text."""
    return f': "{text}"' if text else ""


_ADVICE = {
    3: " Signed requests do not follow a redirect. Check api_url.",
    403: " The exchange has no list of allowed addresses, so a firewall refused this machine. Check api_url, the proxy"
    " and the network, or ask the support of the exchange.",
    404: " Check api_url.",
    4: " Check api_url and the proxy.",
}


class KeysRefused(CoinSwitchError):
    """The exchange refused the keys (HTTP 401). The message names the most likely cause."""

    kind = "keys"
    ends = Ends.ALL
    status = 401

    def __init__(self, text: str, exchange_message: str = "", is_from_api: bool = True) -> None:
        super().__init__(text, exchange_message=exchange_message)
        self.is_from_api = is_from_api


class RateLimited(CoinSwitchError):
    """The exchange refused a request because of a rate limit (HTTP 429)."""

    kind = "rate_limit"
    can_retry = True
    status = 429

    def __init__(self) -> None:
        super().__init__("The exchange answered HTTP 429 (too many requests).")


class MustWait(CoinSwitchError):
    """A write cannot be sent now, because its rate limit requires a wait. Nothing was sent."""

    kind = "rate_limit"
    can_retry = True


class BudgetSpent(CoinSwitchError):
    """The rate limit requires a longer wait than rate_limit_timeout allows. Nothing was sent."""

    kind = "rate_limit"
    ends = Ends.ENDPOINT


class Unexpected(CoinSwitchError):
    """A complete response does not have the form that the API documents."""

    kind = "unexpected_response"
    effect = Effect.POSSIBLE
    status: int | None = 200


class NotConfigured(CoinSwitchError):
    """The exchange returns no leverage. The symbol was never configured, or is not listed."""

    kind = "never_configured"
    is_from_api = True


class Unconfirmed(CoinSwitchError):
    """A write was answered with a 2xx status, but the response does not repeat the desired leverage.

    Attributes:
        is_refusal: Whether the response is a refusal in words: HTTP 200 with the API's `message`, and no `data`.
    """

    kind = "not_confirmed"
    effect = Effect.POSSIBLE

    def __init__(self, exchange_message: str, status: int, is_from_api: bool = False, is_refusal: bool = False) -> None:
        text = f'The exchange did not confirm the change. It answered HTTP {status}: "{exchange_message}".'
        super().__init__(text, status, exchange_message)
        self.is_from_api = is_from_api or is_refusal
        self.is_refusal = is_refusal


class Stopped(CoinSwitchError):
    """The task sends no more requests of a kind: too many symbols in a row got no valid response, or a signal came."""

    kind = "stopped"
    ends = Ends.ENDPOINT


class InternalError(CoinSwitchError):
    """An unexpected exception. The message shows only its type and its place, because its text can contain a secret."""

    kind = "internal_error"
    effect = Effect.POSSIBLE
    ends = Ends.ALL

    def __init__(self, error: BaseException) -> None:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = "" if trace is None else f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
        super().__init__(f"Internal error in this collection ({type(error).__name__}{place}). Report it as a bug.")
