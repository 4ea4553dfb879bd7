# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a task ends. Private to this collection: anything here may change in any release."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple, Sequence

# How the reason begins if the leverage of a symbol could not be read. The report of many accounts uses it to find the
# accounts that were not reached.
NOT_READ = "the current leverage is not known"

# Real results are nested much less deeply. Ansible fails at about 300 levels.
MAX_DEPTH = 32


class Report(NamedTuple):
    """What a task returns, why it fails (None: it does not), and what it warns of."""

    result: dict[str, Any]
    failure: str | None = None
    warnings: Sequence[str] = ()


def to_plain(value: Any, depth: int = 0) -> Any:
    """The value in a form that Ansible can return.

    It takes no Decimal (a number where that loses nothing, else text), no half of a surrogate pair ("?"), and not what
    is nested without end ("...").
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
