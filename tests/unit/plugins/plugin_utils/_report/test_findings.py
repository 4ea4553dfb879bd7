# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The severity, the action, the factor and the rank of a leverage, for every outcome."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings

from .rows import BLOCKER, POSITION, make_row

# --- get_factor ---


@pytest.mark.parametrize(
    ("leverage", "policy", "factor"), [(20, 5, 4.0), (10, 6, 1.67), (2, 10, 0.2), (150, 1, 150.0), (10, 10, 1.0)]
)
def test_factor_is_rounded_to_two_digits(leverage: int, policy: int, factor: float) -> None:
    assert _findings.get_factor(leverage, policy) == factor


@pytest.mark.parametrize(("leverage", "policy"), [(None, 5), (5, None), (5, 0), (5, "x"), ("5", 5), (True, 5), (5, -1)])
def test_factor_without_two_valid_leverages_is_none(leverage: Any, policy: Any) -> None:
    assert _findings.get_factor(leverage, policy) is None


# --- get_severity, get_compliance ---

SEVERITIES = {
    # The outcome: the severity of a leverage above the policy, below it, and without a value.
    "unknown": ("above_policy", "unknown", "unknown"),
    "refused": ("above_policy", "refused", "refused"),
    "blocked": ("above_policy", "blocked", "blocked"),
    "not_written": ("above_policy", "not_written", "never_configured"),
    "drifted": ("above_policy", "below_policy", "never_configured"),
    "changed": (None, None, None),
    "unchanged": (None, None, None),
}


@pytest.mark.parametrize("outcome", _findings.OUTCOMES)
def test_every_outcome_has_a_severity(outcome: str) -> None:
    rows = [{"outcome": outcome, "leverage": leverage, "policy": 10} for leverage in (11, 9, None)]
    assert tuple(_findings.get_severity(row, reached=True) for row in rows) == SEVERITIES[outcome]
    expected = None if outcome in _findings.COMPLYING else "not_reached"
    assert [_findings.get_severity(row, reached=False) for row in rows] == [expected] * 3


def test_leverage_complies_does_not_or_is_not_known() -> None:
    not_known = {"above_when_last_seen", "not_reached", "unknown"}
    assert _findings.get_compliance(None) is True
    assert {severity: _findings.get_compliance(severity) for severity in _findings.SEVERITIES} == {
        severity: None if severity in not_known else False for severity in _findings.SEVERITIES
    }


# --- get_action ---


@pytest.mark.parametrize(
    ("outcome", "cause", "action"),
    [
        ("drifted", None, "enforce"),
        ("not_written", "rate_limit", "enforce"),
        ("not_written", "stopped", "enforce"),
        ("not_written", "never_configured", "correct"),
        ("blocked", "position", "close"),
        ("blocked", "order", "close"),
        ("refused", "refused", "correct"),
        ("refused", "limits", "correct"),
        ("refused", "not_listed", "correct"),
        ("refused", "refused_before_api", "check"),
        ("unknown", "keys", "correct"),
        ("unknown", "input", "correct"),
        ("unknown", "network", "check"),
        ("unknown", "not_confirmed", "check"),
        ("unknown", "not_asked", "check"),
    ],
)
def test_action_solves_the_cause(outcome: str, cause: str | None, action: str) -> None:
    assert _findings.get_action({"outcome": outcome, "cause": cause}) == action


# --- was_reached ---


def test_account_was_reached_if_one_leverage_was_read() -> None:
    unread = {"outcome": "unknown", "leverage": None, "previous_leverage": None}
    assert not _findings.was_reached([])
    assert not _findings.was_reached([unread, unread])
    assert _findings.was_reached([unread, {**unread, "outcome": "refused"}])
    assert _findings.was_reached([{**unread, "previous_leverage": 5}])


# --- get_positions ---


def test_positions_have_their_notional() -> None:
    (position,) = _findings.get_positions(make_row("A", "changed", 20, 10, positions=[POSITION])) or [{}]
    assert position == {**POSITION, "notional": 640.0}


@pytest.mark.parametrize("size", [None, "", "x", "NaN", "1e99", {}])
def test_notional_of_a_strange_position_is_not_known(size: Any) -> None:
    row = make_row("A", "changed", 20, 10, positions=[{**POSITION, "size": size}])
    (position,) = _findings.get_positions(row) or [{}]
    assert position["notional"] is None


def test_positions_that_could_not_be_read_are_not_known() -> None:
    assert _findings.get_positions(make_row("A", "changed", 20, 10, positions=None)) is None
    assert _findings.get_positions({"outcome": "unknown"}) is None


def test_positions_of_a_single_symbol_are_its_blockers() -> None:
    row = {"blockers": [BLOCKER, {"kind": "order"}]}
    assert _findings.get_positions(row) == [{**POSITION, "notional": 640.0}]
    assert _findings.get_positions({"blockers": []}) is None


# --- get_rank ---


def test_open_position_comes_before_a_higher_factor() -> None:
    def make_finding(severity: str, factor: float, positions: list[Any] | None, **last: Any) -> dict[str, Any]:
        return {"severity": severity, "factor": factor, "positions": positions, **last}

    expected = [
        make_finding("above_policy", 2, [POSITION]),
        make_finding("above_policy", 4, None),
        make_finding("above_policy", 3, []),
        make_finding("above_when_last_seen", 2, None, last_positions=[POSITION]),
        make_finding("above_when_last_seen", 9, None, last_positions=None),
        make_finding("not_reached", 0, None),
        make_finding("below_policy", 0.2, []),
        make_finding("below_policy", 0.5, []),
    ]
    assert sorted([*expected[6:], *expected[5::-1]], key=_findings.get_rank) == expected
