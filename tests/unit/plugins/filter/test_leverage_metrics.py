# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics in the text format of Prometheus, with every label escaped."""

from __future__ import annotations

import inspect
import re

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_metrics import FilterModule, leverage_metrics
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report

NAME = 'a"b\\c\nd'


# --- leverage_metrics ---


def test_metrics_have_the_numbers_of_the_report_and_escaped_labels() -> None:
    row = {"symbol": "BTCUSDT", "outcome": "changed", "previous_leverage": 25, "leverage": 10}
    accounts = {
        NAME: {"policy": {"BTCUSDT": 10}, "enforce": "exact", "check_mode": True, "results": [row]},
        "absent": {},
    }
    text = leverage_metrics(leverage_report(accounts, NAME, "2026-11-23T02:00:00Z"))
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    escaped = r"a\"b\\c\nd"
    prefix = "coinswitch_leverage_"
    assert samples[f'{prefix}report_timestamp_seconds{{report="{escaped}"}}'] == "1795399200"
    assert samples[f'{prefix}accounts{{report="{escaped}"}}'] == "2"
    assert samples[f'{prefix}accounts_in_policy{{report="{escaped}"}}'] == "0"
    assert samples[f'{prefix}findings{{report="{escaped}",severity="above_policy"}}'] == "1"
    assert samples[f'{prefix}findings{{report="{escaped}",severity="not_reached"}}'] == "1"
    assert samples[f'{prefix}findings{{report="{escaped}",severity="blocked"}}'] == "0"
    assert samples[f'{prefix}above_policy_factor{{report="{escaped}",account="{escaped}",symbol="BTCUSDT"}}'] == "2.5"
    pattern = r'[a-z_]+\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\}'
    assert all(re.fullmatch(pattern, name) for name in samples)
    names_with_help = re.findall("^# HELP (\\S+) ", text, re.MULTILINE)
    assert len(names_with_help) == len(set(names_with_help))
    assert {name.partition("{")[0] for name in samples} <= set(names_with_help)


def test_report_without_a_time_has_no_timestamp() -> None:
    assert "timestamp_seconds{" not in leverage_metrics(leverage_report({}))


# --- FilterModule ---


def test_filter_module_returns_the_filter() -> None:
    ((name, function),) = FilterModule().filters().items()
    assert (name, inspect.unwrap(function)) == ("leverage_metrics", leverage_metrics)
