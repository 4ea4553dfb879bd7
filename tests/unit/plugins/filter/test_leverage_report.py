# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report agrees with its documentation and its schema, whatever the results of the accounts are."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_merge import leverage_merge
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_metrics import leverage_metrics
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_page import leverage_page
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import FilterModule, leverage_report
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_summary import leverage_summary

from ....tools import report_schema
from ...project.names import compare_names
from ..plugin_utils._report.rows import BLOCKER, POSITION, make_account, make_leverages, make_row

jsonschema = import_module("jsonschema")  # has no types

ACCOUNTS: dict[str, dict[str, Any]] = {
    "alpha": make_account(
        make_row("A", "changed", 20, 10, positions=[POSITION]),
        make_row("B", "changed", None, 10),
        make_row("C", "blocked", 5, 5, "position", blockers=[BLOCKER]),
        make_row("D", "refused", 5, 5, "refused", exchange_message="No.", positions=None),
        make_row("E", "not_written", 5, 5, "rate_limit"),
        make_row("F", "unknown", None, None, "network"),
        make_row("G", "unchanged", 10, 10),
        check_mode=True,
        account="0123456789abcdef",
    ),
    "keys": make_account(
        make_row("A", "unknown", None, None, "keys"), msg="Refused.", error={"kind": "keys", "status": 401}
    ),
    "mistyped": make_account(enforce="minimum", policy={"A": "<b>"}, msg="No such choice.", error={"kind": "input"}),
    "no policy": make_account(policy={}, msg="Empty."),
    "unreachable": {"policy": {"A": 10}, "enforce": "maximum", "unreachable": True, "msg": "ssh"},
    "absent": {},
}


def get_schema(extra_keys: bool) -> Any:
    return jsonschema.Draft202012Validator(report_schema.generate(extra_keys))


def find_paths(value: Any, path: str = "") -> set[str]:
    """Return the path of each key of a report, such as `findings[].symbol`."""
    if isinstance(value, Mapping):
        return {found for key, item in value.items() for found in {f"{path}.{key}"} | find_paths(item, f"{path}.{key}")}
    return {found for item in value for found in find_paths(item, f"{path}[]")} if isinstance(value, list) else set()


def find_documented_paths(schema: Mapping[str, Any], path: str = "") -> set[str]:
    if "items" in schema:
        return find_documented_paths(schema["items"], f"{path}[]")
    keys = schema.get("properties", {})
    return {
        found
        for key, item in keys.items()
        for found in {f"{path}.{key}"} | find_documented_paths(item, f"{path}.{key}")
    }


def make_reports() -> list[dict[str, Any]]:
    """Return reports that have all documented keys: without a history, and of several runs."""
    first = leverage_report(ACCOUNTS, time="2026-11-22T01:30:00Z", previous={})
    later = leverage_report({"keys": {}, "other": make_leverages(A=20)}, time="2026-11-23T01:30:00Z", previous=first)
    last = leverage_report({"alpha": make_leverages(A=None, B=10)}, time="2026-11-24T01:30:00Z", previous=first)
    good = leverage_report({"alpha": make_leverages(A=10)}, time="2026-11-25T01:30:00Z", previous=first)
    merged = leverage_merge([first, later, last])
    return [leverage_report(ACCOUNTS), first, later, last, good, leverage_report({}), merged]


# --- RETURN ---


def test_schema_is_generated_from_the_documentation() -> None:
    published = json.loads(report_schema.SCHEMA.read_text(encoding="utf-8"))
    command = "python3 tests/tools/report_schema.py > docs/leverage_report.schema.json"
    assert published == report_schema.generate(), f"run {command}"


def test_every_key_of_a_report_is_documented_with_its_type() -> None:
    for report in make_reports():
        errors = [f"{error.json_path}: {error.message}" for error in get_schema(extra_keys=False).iter_errors(report)]
        assert not errors, f"correct RETURN in plugins/filter/leverage_report.py: {errors[0]}"


def test_every_documented_key_is_returned() -> None:
    returned = set[str]().union(*(find_paths(report) for report in make_reports()))
    # The module documents the keys of a blocker.
    returned = {path for path in returned if "blockers[]" not in path}
    compare_names(
        "RETURN in plugins/filter/leverage_report.py", find_documented_paths(report_schema.generate()), returned
    )


def test_schema_allows_more_keys_but_no_other_version() -> None:
    (report, *_others) = make_reports()
    assert get_schema(extra_keys=True).is_valid({**report, "later": 1})
    assert not get_schema(extra_keys=True).is_valid({**report, "version": 2})
    assert not get_schema(extra_keys=False).is_valid({**report, "later": 1})


# --- leverage_report ---


def test_accounts_that_did_not_take_part_are_not_checked() -> None:
    accounts = {"alpha": make_leverages(A=10), "beta": {**make_leverages(A=10), "policy": {"A": 10}}}
    report = leverage_report(accounts, asked=["alpha"])
    assert [(account["compliant"], account["not_known"]) for account in report["accounts"]] == [(True, 0), (False, 1)]
    assert [(finding["account"], finding["cause"]) for finding in report["findings"]] == [("beta", "not_asked")]


def test_report_without_a_leverage_does_not_comply() -> None:
    first = leverage_report({"alpha": make_leverages(A=20)}, time="2026-11-22T01:30:00Z", previous={})
    report = leverage_report({}, time="2026-11-23T01:30:00Z", previous=first)
    for empty in (leverage_report({}), report, leverage_merge([report])):
        assert (empty["compliant"], empty["summary"]["leverages"]) == (False, 0)
        assert empty["headline"].startswith("Nothing was checked")
        assert leverage_summary(empty).startswith("Nothing was checked")
        assert 'leverages{report="Leverage"} 0\n' in leverage_metrics(empty)
    assert report["headline"] == "Nothing was checked, 1 above the policy when last seen but not in this run"


@pytest.mark.parametrize("inputs", [[], "alpha", None])
def test_other_input_is_an_error_of_the_filter(inputs: Any) -> None:
    with pytest.raises(AnsibleFilterError, match="needs a dictionary with the result of each account"):
        leverage_report(inputs)


def test_report_can_be_text_for_all_filters() -> None:
    first = leverage_report(ACCOUNTS, "{{ title }}", "2026-11-22T01:30:00Z", previous={})
    options: dict[str, Any] = {"title": "{{ title }}", "time": "2026-11-23T01:30:00Z"}
    report = leverage_report(ACCOUNTS, **options, previous=first)
    text = leverage_report(ACCOUNTS, **options, previous=json.dumps(first), text=True)
    assert json.loads(text) == report
    assert leverage_summary(text) == leverage_summary(report)
    assert leverage_metrics(text) == leverage_metrics(report)
    assert leverage_page(text, "{{ report.headline }}") == leverage_page(report, "{{ report.headline }}")
    assert leverage_merge([text], previous=json.dumps(first), text=True) == text


# --- FilterModule ---


def test_filter_module_returns_the_filter() -> None:
    ((name, function),) = FilterModule().filters().items()
    assert (name, inspect.unwrap(function)) == ("leverage_report", leverage_report)
