# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of futures_leverage for the tests of policies and symbols."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Ends, InputRefused
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import EXACT, read_policy


def make_options(symbol: Any = None, leverage: Any = None, leverages: Any = None) -> dict[str, Any]:
    return {"symbol": symbol, "leverage": leverage, "leverages": leverages, "enforce": EXACT, "on_blocked": "fail"}


def get_refusal(**options: Any) -> str:
    """Return the message of a refusal. Check that it is one line and that the task stops."""
    with pytest.raises(InputRefused) as refused:
        read_policy(make_options(**options))
    assert "\n" not in str(refused.value)
    assert refused.value.ends is Ends.ALL
    return str(refused.value)
