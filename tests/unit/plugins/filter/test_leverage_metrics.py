# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The metrics in the text format of Prometheus, with every label escaped."""

from __future__ import annotations

import inspect
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_metrics import FilterModule, leverage_metrics
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.findings import SEVERITIES

from ..plugin_utils._report.rows import make_leverages

NAME = 'a"b\\c\nd'


# --- leverage_metrics ---


def test_metrics_have_the_numbers_of_the_report_and_escaped_labels() -> None:
    accounts = {NAME: make_leverages(BTCUSDT=25), "absent": {}}
    text = leverage_metrics(leverage_report(accounts, NAME, "2026-11-23T02:00:00Z"))
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    escaped = r"a\"b\\c\nd"
    prefix = "coinswitch_leverage_"
    assert samples[f'{prefix}report_timestamp_seconds{{report="{escaped}"}}'] == "1795399200"
    assert samples[f'{prefix}accounts{{report="{escaped}"}}'] == "2"
    assert samples[f'{prefix}accounts_compliant{{report="{escaped}"}}'] == "0"
    assert samples[f'{prefix}findings{{report="{escaped}",severity="above_policy"}}'] == "1"
    assert samples[f'{prefix}findings{{report="{escaped}",severity="not_reached"}}'] == "1"
    assert samples[f'{prefix}findings{{report="{escaped}",severity="blocked"}}'] == "0"
    assert samples[
        f'{prefix}above_policy_factor{{report="{escaped}",account="{escaped}",symbol="BTCUSDT",severity="above_policy"}}'
    ] == ("2.5")
    pattern = r'[a-z_]+\{[a-z]+="(?:[^"\\\n]|\\["\\n])*"(?:,[a-z]+="(?:[^"\\\n]|\\["\\n])*")*\}'
    assert all(re.fullmatch(pattern, name) for name in samples)
    names_with_help = re.findall("^# HELP (\\S+) ", text, re.MULTILINE)
    assert len(names_with_help) == len(set(names_with_help))
    assert {name.partition("{")[0] for name in samples} <= set(names_with_help)


def test_time_of_the_run_does_not_depend_on_the_time_zone_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    report = leverage_report({}, time="2026-11-23T02:00:00Z")
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        text = leverage_metrics(report)
    time.tzset()
    assert 'report_timestamp_seconds{report="Leverage"} 1795399200\n' in text


def test_leverage_that_was_above_when_last_seen_keeps_its_metrics() -> None:
    first = leverage_report({"alpha": make_leverages(A=40)}, previous={})
    text = leverage_metrics(leverage_report({"alpha": make_leverages(A=None)}, previous=first))
    assert 'findings{report="Leverage",severity="above_when_last_seen"} 1\n' in text
    assert 'factor{report="Leverage",account="alpha",symbol="A",severity="above_when_last_seen"} 4\n' in text
    assert 'not_known{report="Leverage"} 1\n' in text


def test_accounts_that_were_not_reached_or_checked_have_metrics() -> None:
    first = leverage_report({"alpha": make_leverages(A=40), "beta": make_leverages(A=10)}, previous={})
    text = leverage_metrics(leverage_report({"beta": make_leverages(A=None)}, previous=first))
    assert 'findings_not_checked{report="Leverage",severity="above_policy"} 1\n' in text
    assert 'account_not_reached{report="Leverage",account="beta"} 1\n' in text


def test_alert_rules_of_the_guide_use_existing_metrics_and_labels() -> None:
    guide = (Path(__file__).resolve().parents[4] / "docs" / "guides" / "nightly-drift.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"```yaml\n(# Rules for Prometheus\n.*?)```", guide, re.DOTALL)
    ((group,),) = yaml.safe_load(block).values()
    text = leverage_metrics(leverage_report({}, time="2026-11-23T02:00:00Z"))
    metrics = set(re.findall("^# HELP (\\S+) ", text, re.MULTILINE))
    for rule in group["rules"]:
        assert set(rule) >= {"alert", "expr"}
        expression = rule["expr"]
        assert set(re.findall(r"coinswitch_\w+", expression)) <= metrics
        for severities in re.findall('severity=~"(.*?)"', expression):
            assert set(severities.split("|")) <= set(SEVERITIES)
        assert all(expression.count(start) == expression.count(end) for start, end in ("()", "{}"))
    assert {rule["alert"] for rule in group["rules"]} >= {"LeverageAbovePolicy", "LeverageNotKnown"}


@pytest.mark.parametrize("second", [{"alpha": make_leverages(A=None)}, {"beta": make_leverages(A=10)}, {"alpha": {}}])
def test_alert_stays_if_the_only_bad_account_stops_responding(second: dict[str, Any]) -> None:
    """It cannot be read, is no longer part of the run, or failed before the role. LeverageAbovePolicy counts these."""
    first = leverage_report({"alpha": make_leverages(A=40)}, previous={}, time="2026-11-22T02:00:00Z")
    text = leverage_metrics(leverage_report(second, previous=first, time="2026-11-23T02:00:00Z"))
    pattern = r'leverage_findings(?:_not_checked)?\{.*severity="above_(?:policy|when_last_seen)"\} (\d)'
    assert sum(int(count) for count in re.findall(pattern, text)) > 0


def test_report_without_a_time_has_no_timestamp() -> None:
    assert "timestamp_seconds{" not in leverage_metrics(leverage_report({}))


# --- FilterModule ---


def test_filter_module_returns_the_filter() -> None:
    ((name, function),) = FilterModule().filters().items()
    assert (name, inspect.unwrap(function)) == ("leverage_metrics", leverage_metrics)
