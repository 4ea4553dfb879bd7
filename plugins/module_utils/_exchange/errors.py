# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors of the collection. Each has a message of one line for the user.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import os


class CoinSwitchError(Exception):
    """The base class. `str(error)` is the message: what went wrong and what to do about it, in one line.

    Attributes:
        stops_task: Whether all other requests of the task would fail with the same error. If so, the task ends.
    """

    stops_task = False


class InputRefused(CoinSwitchError):
    """The value of an option is not valid. Nothing was sent."""

    stops_task = True


class LibraryMissing(CoinSwitchError):
    """A Python library is missing.

    Attributes:
        library: The name of the library.
        import_traceback: The traceback of its import.
    """

    stops_task = True

    def __init__(self, library: str, import_traceback: str) -> None:
        super().__init__(library)
        self.library = library
        self.import_traceback = import_traceback


class Unclear(CoinSwitchError):
    """There is no clear answer: a timeout, a broken connection, HTTP 408 or 5xx, or an answer that is not JSON.

    The request may or may not have taken effect.
    """


class Unreachable(Unclear):
    """There was no connection, so the request was not sent.

    Attributes:
        can_retry: Whether a retry can succeed.
    """

    stops_task = True

    def __init__(self, text: str, can_retry: bool = True) -> None:
        super().__init__(text)
        self.can_retry = can_retry


class Refused(CoinSwitchError):
    """The exchange refused the request (4xx or a redirect).

    Attributes:
        status: The HTTP status.
        exchange_message: The message of the exchange, or the text of the body.
        is_from_api: Whether the API itself answered, and not a server in front of it. Only the API's answers have the
            field `message`.
    """

    def __init__(self, status: int, exchange_message: str, request: str, is_from_api: bool = True) -> None:
        advice = _ADVICE.get(status, _ADVICE.get(status // 100, ""))
        super().__init__(
            f"the exchange refused {request} with HTTP {status}{advice}"
            + (f': "{exchange_message}"' if exchange_message else "")
        )
        self.status = status
        self.is_from_api = is_from_api
        self.exchange_message = exchange_message


_ADVICE = {
    3: " (a redirect, which signed requests do not follow: check api_url)",
    403: " (check api_url, and that the IP address of this machine is allowed to use the API)",
    404: " (check api_url)",
}


class KeysRefused(CoinSwitchError):
    """The exchange refused the keys (HTTP 401). The message names the most likely cause."""

    stops_task = True


class RateLimited(CoinSwitchError):
    """The exchange refused a request because of a rate limit (HTTP 429).

    Attributes:
        retry_after: The seconds of the Retry-After header, or None without a valid header.
    """

    def __init__(self, retry_after: float | None) -> None:
        super().__init__("HTTP 429")
        self.retry_after = retry_after


class BudgetSpent(CoinSwitchError):
    """The rate limit requires a longer wait than rate_limit_timeout allows.

    Attributes:
        was_sent: Whether the request was sent at least once, and answered with HTTP 429.
    """

    stops_task = True
    was_sent = False


class Unexpected(CoinSwitchError):
    """A complete answer does not have the form that the API documents."""


class NotConfigured(CoinSwitchError):
    """The exchange returns no leverage. The symbol was never configured, or is unknown."""


class Unconfirmed(CoinSwitchError):
    """A write was answered with a 2xx status, but the answer does not repeat the desired leverage.

    Attributes:
        exchange_message: The message of the exchange, or the answer itself.
    """

    def __init__(self, exchange_message: str) -> None:
        super().__init__(f'the exchange did not confirm the change, and answered "{exchange_message}"')
        self.exchange_message = exchange_message


class NothingWritten(CoinSwitchError):
    """No desired leverage was written: the exchange does not allow one of them, or the limits could not be read."""

    stops_task = True


class Unanswered(CoinSwitchError):
    """Too many symbols in a row got no clear answer.

    Args:
        count: How many symbols.
        last_error: The error of the last one.
    """

    stops_task = True

    def __init__(self, count: int, last_error: CoinSwitchError) -> None:
        super().__init__(
            f"{count} symbols in a row got no clear answer, so the task stopped (the last error: {last_error})"
        )


class InternalError(CoinSwitchError):
    """An unexpected exception. The message shows only its type and its place, because its text can contain a secret."""

    stops_task = True

    def __init__(self, error: BaseException) -> None:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = "" if trace is None else f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
        super().__init__(f"internal error in this collection ({type(error).__name__}{place}): please report it")
