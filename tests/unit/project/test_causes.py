# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The stable words of failures are the same in the code, in RETURN of each module, and in the report."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_collections.tradeops.coinswitch.plugins.filter import leverage_report
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import errors
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import api_check, judgment
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings

from .names import compare_names

ROOT = Path(__file__).resolve().parents[3]
MODULES = sorted(file.stem for file in (ROOT / "plugins" / "modules").glob("*.py"))
# These kinds need a write, or the check of the API.
API_CHECK_KINDS = {api_check.NotHandled.kind, api_check.NotRestored.kind, errors.Stopped.kind, "failed"}
WRITE_KINDS = {errors.Stopped.kind, errors.Unconfirmed.kind, errors.NotConfigured.kind}
# The report knows more accounts than one task.
REPORT_CAUSES = {"not_asked", "same_key", "reported_twice"}


def list_kinds() -> set[str]:
    """Return the kinds of all errors that can end a task."""
    classes = [item for item in vars(errors).values() if isinstance(item, type)]
    kinds = {item.kind for item in classes if issubclass(item, errors.CoinSwitchError)}
    return {*kinds, "refused", "refused_before_api"} - {"failed"}


def list_own_causes() -> set[str]:
    """Return the causes of a symbol that are not the kind of an error: what blocks a change, and what is compared."""
    tree = ast.parse((ROOT / "plugins/module_utils/_tasks/blockers.py").read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args]
    created = [call.args[0] for call in calls if ast.unparse(call.func) in ("Violation", "_to_blocker")]
    return {judgment.LIMITS_UNKNOWN, *(str(ast.literal_eval(cause)) for cause in created)}


def find_words(description: list[str]) -> set[str]:
    return {word for word in re.findall(r"V\(([a-z_]+)\)", " ".join(description)) if word != "null"}


def load_return(module: str) -> dict[str, Any]:
    source = importlib.import_module(f"ansible_collections.tradeops.coinswitch.plugins.modules.{module}")
    return dict(yaml.safe_load(source.RETURN))


@pytest.mark.parametrize("module", MODULES)
def test_each_kind_of_error_is_documented(module: str) -> None:
    documented = find_words(load_return(module)["error"]["contains"]["kind"]["description"])
    expected = list_kinds() - WRITE_KINDS
    if module == "api_check":
        expected |= API_CHECK_KINDS
    compare_names(f"plugins/modules/{module}.py: RETURN, error.kind", documented, expected)


def test_each_cause_of_a_symbol_is_documented() -> None:
    documented = find_words(load_return("futures_leverage")["results"]["contains"]["cause"]["description"])
    place = "plugins/modules/futures_leverage.py: RETURN, results[].cause"
    compare_names(place, documented, list_kinds() | list_own_causes())


def test_causes_of_the_report_are_documented_and_those_with_an_action_exist() -> None:
    (report,) = yaml.safe_load(leverage_report.RETURN).values()
    documented = find_words(report["contains"]["findings"]["contains"]["cause"]["description"])
    compare_names("plugins/filter/leverage_report.py: RETURN, findings[].cause", documented, REPORT_CAUSES)
    known = list_kinds() | list_own_causes() | REPORT_CAUSES
    compare_names(
        "_ACTION_OF_CAUSE in plugins/plugin_utils/_report/findings.py",
        findings._ACTION_OF_CAUSE,
        known & {*findings._ACTION_OF_CAUSE},
    )
