# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The end of a task: its result, its failure and its warnings.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple, Sequence

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import CoinSwitchError

# No real result has so many levels. Ansible fails at about 300.
MAX_DEPTH = 32


class Result(NamedTuple):
    """The end of a task.

    Attributes:
        values: What the task returns.
        failure: The message of the failure. None if the task succeeds.
        warnings: The warnings.
        error: The facts of the failure for programs, as `error` of the result. None if the task succeeds.
    """

    values: dict[str, Any]
    failure: str | None = None
    warnings: Sequence[str] = ()
    error: dict[str, Any] | None = None


def build_error(kind: str, status: int | None = None) -> dict[str, Any]:
    """Return `error` of a result: a stable word, and the HTTP status if there was a response."""
    return {"kind": kind} if status is None else {"kind": kind, "status": status}


def fail(error: CoinSwitchError, message: str = "") -> Result:
    """Return the result of a task that failed before it had a result. Without a message, use that of the error."""
    return Result({}, message or str(error), error=build_error(error.kind, error.status))


def to_plain(value: Any, depth: int = 0) -> Any:
    """Return the value in a form that Ansible can return.

    A Decimal becomes a float if that is exact, or else text. An invalid character becomes "?". A value that is
    nested deeper than MAX_DEPTH becomes "...".
    """
    if isinstance(value, Decimal):
        number = float(value)
        return number if Decimal(repr(number)) == value else str(value)
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode("utf-8")
    if not isinstance(value, (dict, list, tuple)):
        return value
    if depth > MAX_DEPTH:
        return "..."
    if isinstance(value, dict):
        return {to_plain(name): to_plain(item, depth + 1) for name, item in value.items()}
    return [to_plain(item, depth + 1) for item in value]
