# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics: the text format of Prometheus, with every label escaped."""

from __future__ import annotations

import re

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_metrics import FilterModule, leverage_metrics
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report

NAME = 'a"b\\c\nd'


def test_the_metrics_of_a_report() -> None:
    row = {"symbol": "BTCUSDT", "outcome": "changed", "previous_leverage": 25, "leverage": 10}
    seen = {NAME: {"policy": {"BTCUSDT": 10}, "enforce": "exact", "check_mode": True, "results": [row]}, "gone": {}}
    text = leverage_metrics(leverage_report(seen, NAME, "2026-11-23T02:00:00Z"))
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
    helped = re.findall("^# HELP (\\S+) ", text, re.MULTILINE)
    assert len(helped) == len(set(helped))
    assert {name.partition("{")[0] for name in samples} <= set(helped)


def test_without_a_time_there_is_no_timestamp() -> None:
    assert "timestamp_seconds{" not in leverage_metrics(leverage_report({}))


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"leverage_metrics": leverage_metrics}
