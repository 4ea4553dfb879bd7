# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Results of futures_leverage, as the tests of the report use them. The policy is 10 unless a test says otherwise."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

SYMBOLS = ("A", "B", "C")
CAUSES = (None, "position", "keys", "network", "never_configured", "limits", "rate_limit")
POSITION = {"position_id": "3f1c", "side": "LONG", "size": "0.010", "mark_price": "64000.5"}
BLOCKER = {"kind": "position", **POSITION}
ORDER = {"kind": "order", "order_id": "77ab", "side": "BUY", "quantity": "0.5", "price": "1000", "order_type": "LIMIT"}


def make_row(
    symbol: str, outcome: str, previous: int | None, leverage: int | None, cause: str | None = None, **keys: Any
) -> dict[str, Any]:
    """Return a row of `results` as the module returns it."""
    row: dict[str, Any] = {
        "symbol": symbol,
        "exchange": "EXCHANGE_2",
        "leverage": leverage,
        "previous_leverage": previous,
        "changed": outcome == "changed" and previous != leverage,
        "desired_leverage": 10,
        "outcome": outcome,
        "positions": [],
    }
    problem: dict[str, Any] = {"cause": cause, "reason": f"The reason is {cause}.", "blockers": []} if cause else {}
    return {**row, **problem, **keys}


def make_account(*rows: dict[str, Any], check_mode: bool = False, **keys: Any) -> dict[str, Any]:
    """Return the result of an account, as the role passes it to the filter."""
    return {
        "enforce": "exact",
        "check_mode": check_mode,
        "api_url": "https://coinswitch.co",
        "results": list(rows),
        **keys,
    }


def make_leverages(*, check_mode: bool = True, **leverages: Any) -> dict[str, Any]:
    """Return the result of an account with a leverage for each symbol. A leverage of None was not read."""
    rows = [
        make_row(symbol, "unknown", None, None, "network")
        if leverage is None
        else make_row(symbol, "unchanged" if leverage == 10 else "changed", leverage, 10)
        for symbol, leverage in leverages.items()
    ]
    return make_account(*rows, check_mode=check_mode)


@st.composite
def draw_account(draw: st.DrawFn) -> dict[str, Any]:
    """Return an account with any combination of what the module can return, or with what the role knows without it."""
    leverages = st.one_of(st.none(), st.integers(1, 20))
    names = draw(st.lists(st.sampled_from(SYMBOLS), unique=True))
    rows = [
        make_row(
            name,
            draw(st.sampled_from(("unchanged", "changed", "blocked", "refused", "not_written", "unknown"))),
            draw(leverages),
            draw(leverages),
            draw(st.sampled_from(CAUSES)),
        )
        for name in names
    ]
    kind = draw(st.sampled_from(("results", "no results", "unreachable", "not asked", "no policy", "text")))
    policy = dict.fromkeys(names, 10)
    key_id = draw(st.sampled_from((None, "k1", "k2")))
    return {
        "results": make_account(*rows, check_mode=draw(st.booleans()), account=key_id),
        "no results": {"policy": policy, "msg": "keys are missing", "unset": ["key"]},
        "unreachable": {"policy": policy, "msg": "ssh", "unreachable": True},
        "not asked": {"policy": policy},
        "no policy": {},
        "text": {"policy": json.dumps(policy), "msg": "why"},
    }[kind]


REPORTS = st.dictionaries(st.sampled_from(("alpha", "beta", "gamma")), draw_account())
