# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a task ends. Private to this collection: anything here may change in any release."""

from __future__ import annotations

from typing import Any, NamedTuple, Sequence


class Report(NamedTuple):
    """What a task returns, why it fails (None: it does not), and what it warns of."""

    result: dict[str, Any]
    failure: str | None = None
    warnings: Sequence[str] = ()
