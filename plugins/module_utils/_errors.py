# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The errors: each is one line for the user, with the facts that decide what happens next.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import os


class CoinSwitchError(Exception):
    """The base of all: `str(error)` says what went wrong and what to do about it, in one line.

    `stops` says whether the account's other symbols would meet the same error: then nothing more is tried.
    """

    stops_task = False


class InputRefused(CoinSwitchError):
    """An option has a value that is refused before any request."""

    stops_task = True


class LibraryMissing(CoinSwitchError):
    """A Python library is missing. `error` is the error of its import."""

    stops_task = True

    def __init__(self, library: str, import_traceback: str) -> None:
        super().__init__(library)
        self.library = library
        self.import_traceback = import_traceback


class Unclear(CoinSwitchError):
    """No clear answer (timeout, broken connection, 5xx, not JSON): the request may or may not have been done."""


class Unreachable(Unclear):
    """There was no connection, so nothing was sent. `again`: whether another try can succeed."""

    stops_task = True

    def __init__(self, text: str, can_retry: bool = True) -> None:
        super().__init__(text)
        self.can_retry = can_retry


class Refused(CoinSwitchError):
    """A clear refusal (4xx, a redirect). `envelope`: it comes from the API itself, not from a server in front of it."""

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
    3: " (a redirect, which is never followed with signed headers; check api_url)",
    403: " (check that this address may use the API, and api_url)",
    404: " (check api_url)",
}


class KeysRefused(CoinSwitchError):
    """HTTP 401, with the most likely cause."""

    stops_task = True


class RateLimited(CoinSwitchError):
    """HTTP 429. `retry_after` is the wait in seconds that the exchange asks for, if it is usable."""

    def __init__(self, retry_after: float | None) -> None:
        super().__init__("the exchange answered HTTP 429: too many requests")
        self.retry_after = retry_after


class BudgetSpent(CoinSwitchError):
    """The rate limit needs a longer wait than rate_limit_timeout allows. `sent`: the request was sent before (429)."""

    stops_task = True
    was_sent = False


class Unexpected(CoinSwitchError):
    """A complete answer that differs from the documentation of the API."""


class NotConfigured(CoinSwitchError):
    """The exchange returns no leverage: the symbol was never configured, or is unknown."""


class Unconfirmed(CoinSwitchError):
    """A 2xx answer to a write that does not confirm it: a refusal with a success status, or a wrong echo."""

    def __init__(self, exchange_message: str) -> None:
        super().__init__(f'the exchange did not confirm the change and said "{exchange_message}"')
        self.exchange_message = exchange_message


class NothingWritten(CoinSwitchError):
    """One of several desired leverages is impossible, or the limits could not be read: none is written."""

    stops_task = True


class Unanswered(CoinSwitchError):
    """Too many symbols in a row got no clear answer. `last` is the error of the last one."""

    stops_task = True

    def __init__(self, count: int, last_error: CoinSwitchError) -> None:
        super().__init__(
            f"{count} symbols in a row got no clear answer, so the task stopped (the last one: {last_error})"
        )


class InternalError(CoinSwitchError):
    """An unexpected exception. Only its type and place are shown, because its text can contain a secret."""

    stops_task = True

    def __init__(self, error: BaseException) -> None:
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = "" if trace is None else f" at {os.path.basename(trace.tb_frame.f_code.co_filename)}:{trace.tb_lineno}"
        super().__init__(f"a defect of this collection, please report it: {type(error).__name__}{place}")
