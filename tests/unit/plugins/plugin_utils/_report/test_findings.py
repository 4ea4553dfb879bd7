# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The severity and factor of a current leverage above, at or below the policy, for every outcome."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings

# --- get_factor, format_factor ---


@pytest.mark.parametrize(
    ("leverage", "policy", "factor", "shown"),
    [(20, 5, 4.0, "4x"), (10, 6, 1.67, "1.67x"), (2, 10, 0.2, "0.2x"), (150, 1, 150.0, "150x"), (10, 10, 1.0, "1x")],
)
def test_factor_is_rounded_to_two_digits(leverage: int, policy: int, factor: float, shown: str) -> None:
    assert _findings.get_factor(leverage, policy) == factor
    assert _findings.format_factor(factor) == shown


@pytest.mark.parametrize(("leverage", "policy"), [(None, 5), (5, None), (5, 0), (5, "x"), ("5", 5), (True, 5), (5, -1)])
def test_factor_without_two_valid_leverages_is_none(leverage: Any, policy: Any) -> None:
    assert _findings.get_factor(leverage, policy) is None


# --- get_severity ---


@pytest.mark.parametrize("outcome", ["unknown", "refused", "blocked", "drifted"])
@pytest.mark.parametrize(("leverage", "expected"), [(11, "above_policy"), (9, None), (None, None)])
def test_leverage_above_the_policy_is_above_policy_for_every_outcome(
    outcome: str, leverage: int | None, expected: str | None
) -> None:
    row = {"outcome": outcome, "leverage": leverage, "policy": 10}
    by_outcome = {"drifted": "unknown" if leverage is None else "below_policy"}
    assert _findings.get_severity(row, reached=True) == (expected or by_outcome.get(outcome, outcome))
    assert _findings.get_severity(row, reached=False) == "not_reached"


# --- get_positions ---


def test_position_without_a_side_is_included() -> None:
    blockers = [{"kind": "order", "side": "BUY"}, {"kind": "position", "size": "1"}, {"kind": "position"}]
    assert _findings.get_positions({"blockers": blockers}) == ["1", ""]
