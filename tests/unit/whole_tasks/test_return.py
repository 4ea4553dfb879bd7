# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The section RETURN of each module describes what the module really returns, and nothing else."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from sandbox import FAULTS

from ..plugins.module_utils.module_harness import ModuleHarness

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(file.stem for file in (ROOT / "plugins" / "modules").glob("*.py"))
# What Ansible itself documents.
OF_ANSIBLE = {"changed", "failed", "msg", "invocation", "exception", "warnings"}
# Rows with the fields of the exchange, which can have more than the documented ones.
FIELDS_OF_THE_EXCHANGE = {"instruments", "positions", "orders", "balances", "assets", "transcript"}

OPTIONS: dict[str, dict[str, Any]] = {
    "futures_leverage_info": {"symbols": ["BTCUSDT", "DOGEUSDT"]},
    "futures_position_info": {"symbols": ["BTCUSDT"]},
}


def run_leverage(harness: ModuleHarness) -> list[dict[str, Any]]:
    """Return the results of tasks that end in every way."""
    harness.account.open_position("ETHUSDT", "LONG", "1")
    harness.account.open_order("ETHUSDT", "BUY", "1", "2")
    results = [
        harness.run("futures_leverage", check_mode, **options)
        for check_mode in (True, False)
        for options in (
            {"symbol": "BTCUSDT", "leverage": 10},
            {"leverages": {"BTCUSDT": 12, "ETHUSDT": 5, "NOSUCHUSDT": 3, "SOLUSDT": 9999}},
            {"symbol": "ETHUSDT", "leverage": 7},
            {"symbol": "no symbol", "leverage": 7},
        )
    ]
    harness.exchange.add_fault("*", FAULTS["401"], times=None)
    return [*results, harness.run("futures_leverage", symbol="BTCUSDT", leverage=20)]


def run_api_check(harness: ModuleHarness) -> list[dict[str, Any]]:
    """Return the results of the check that reads, and of the check that writes."""
    harness.account.set_leverage("DOGEUSDT", 10)
    results = [
        harness.run("api_check"),
        harness.run("api_check", check_mode=True, write_symbol="DOGEUSDT", write_leverage=7),
        harness.run("api_check", write_symbol="DOGEUSDT", write_leverage=7),
    ]
    harness.exchange.add_fault("*", FAULTS["401"], times=None)
    return [*results, harness.run("api_check")]


def run_reader(harness: ModuleHarness, module: str) -> list[dict[str, Any]]:
    """Return the results of a module that reads: refused, with data, with refused keys, and with a wrong option."""
    harness.exchange.add_fault("read_leverage", FAULTS["404"], times=None, symbol="DOGEUSDT")
    harness.account.open_position("BTCUSDT", "LONG", "1")
    harness.account.open_order("BTCUSDT", "BUY", "1", "2")
    harness.exchange.add_fault("*", FAULTS["403-html"])
    results = [harness.run(module, **OPTIONS.get(module, {})) for _run in range(2)]
    harness.exchange.add_fault("*", FAULTS["401"], times=None)
    results += [harness.run(module, **OPTIONS.get(module, {}))]
    return [*results, harness.run(module, **OPTIONS.get(module, {}), retries="many")]


RUNS: dict[str, Callable[[ModuleHarness], list[dict[str, Any]]]] = {
    "futures_leverage": run_leverage,
    "api_check": run_api_check,
}


def compare(returned: list[Mapping[str, Any]], documented: Mapping[str, Any], path: str) -> list[str]:
    """Return the differences between what was returned and what is documented.

    Args:
        returned: Dictionaries of the same kind, for example all rows.
        documented: The section RETURN, or `contains` of a key.
        path: Where they are.
    """
    seen = {name for item in returned for name in item}
    ignored = OF_ANSIBLE if not path else set()
    is_open = path.rstrip(".") in FIELDS_OF_THE_EXCHANGE
    differences = [
        f"{path}{name} is not documented" for name in sorted(seen - set(documented) - ignored) if not is_open
    ]
    for name, entry in documented.items():
        if name not in seen:
            differences.append(f"{path}{name} is not returned")
        elif entry.get("returned") == "always" and not all(name in item for item in returned):
            differences.append(f"{path}{name} is not always returned")
        elif "contains" in entry:
            children = [child for item in returned for child in as_rows(item.get(name))]
            differences += compare(children, entry["contains"], f"{path}{name}.")
    return differences


def as_rows(value: Any) -> list[Mapping[str, Any]]:
    rows = value if isinstance(value, list) else [value]
    return [row for row in rows if isinstance(row, Mapping)]


def test_task_that_failed_early_returns_the_keys_of_its_kind(harness: ModuleHarness) -> None:
    for options in ({"symbol": "BTCUSDT", "leverage": 20}, {"leverages": {"BTCUSDT": 20, "ETHUSDT": 5}}):
        early = harness.run("futures_leverage", **options, api_key="")
        harness.exchange.add_fault("*", FAULTS["503"], times=None)
        late = harness.run("futures_leverage", **options)
        # Only a task that begins has a plan.
        assert set(late) - set(early) == {"plan", "check_mode"}, early
        assert [set(row) for row in early["results"]] == [set(row) for row in late["results"]]


@pytest.mark.parametrize("module", MODULES)
def test_return_is_true(harness: ModuleHarness, module: str) -> None:
    source = importlib.import_module(f"ansible_collections.tradeops.coinswitch.plugins.modules.{module}")
    documented = yaml.safe_load(source.RETURN)
    results = RUNS[module](harness) if module in RUNS else run_reader(harness, module)
    differences = compare(list(results), documented, "")
    assert not differences, f"correct RETURN in plugins/modules/{module}.py: {differences}"
