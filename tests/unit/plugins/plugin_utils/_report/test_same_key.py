# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Accounts with the same key are found, whatever symbols they name."""

from __future__ import annotations

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.same_key import Conflict, find_conflicts

# --- find_conflicts ---


def test_conflict_has_the_symbols_that_several_accounts_name() -> None:
    claims = {
        "alpha": ("k1", ["A", "B", "C"]),
        "beta": ("k2", ["A"]),
        "gamma": ("k1", ["B", "C", "D"]),
        "delta": ("k2", ["B"]),
        "unknown": (None, ["A"]),
        "unset": (None, ["A"]),
    }
    assert find_conflicts(claims) == [Conflict(["alpha", "gamma"], ["B", "C"]), Conflict(["beta", "delta"], [])]


# --- Conflict.describe ---


def test_description_names_the_accounts_and_symbols_but_not_too_many() -> None:
    assert Conflict(["alpha", "beta"], ["A"]).describe() == (
        "alpha and beta use the same API key and name the same symbols (A). "
        "Give each account its own keys, or name each symbol in one policy only."
    )
    assert Conflict([f"a{number}" for number in range(9)], []).describe().startswith("a0, a1, a2, a3 and 5 more use")
