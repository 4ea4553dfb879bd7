# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variables of each account are read on their own, and keys are never returned."""

from __future__ import annotations

from typing import Any

import pytest
from ansible.errors import AnsibleUndefinedVariable

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.module import identify_account
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.accounts import (
    find_raw_value,
    get_shared_variables,
    read_accounts,
)

KEYS = ("my_key", "my_secret")


class OmitType:
    """As ansible-core 2.19 and later return `omit`."""


class AnsibleValueOmittedError(Exception):
    """As ansible-core 2.19 and later raise it for `omit`."""


OMITTED = AnsibleValueOmittedError()


def read(hosts: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return what is read of each host. A value that is an exception is raised."""

    def evaluate(host: str, name: str) -> Any:
        value = hosts[host][name]
        if isinstance(value, Exception):
            raise value
        return value

    return {account["name"]: account for account in read_accounts(hosts, KEYS, evaluate)}


# --- read_accounts ---


def test_account_has_its_policy_and_no_key() -> None:
    variables = {"my_key": "ab12", "my_secret": "cd34", "leverage_policy": {"A": 10}, "leverage_enforce": "exact"}
    assert read({"alpha": variables})["alpha"] == {
        "name": "alpha",
        "unset": [],
        "key_id": identify_account("ab12"),
        "enforce": "exact",
        "policy": {"A": 10},
        "left_out": False,
    }


def test_two_spellings_of_a_key_are_the_same_key() -> None:
    keys = {"alpha": "ab12", "beta": " AB12\n", "gamma": "ab13"}
    variables = {name: {"my_key": key, "my_secret": "cd34", "leverage_policy": {"A": 10}} for name, key in keys.items()}
    accounts = read(variables)
    assert accounts["alpha"]["key_id"] == accounts["beta"]["key_id"] == identify_account("ab12")
    assert [account["left_out"] for account in accounts.values()] == [True, True, False]


@pytest.mark.parametrize(
    "value", [None, "", OmitType(), "__omit_place_holder__5f", AnsibleUndefinedVariable("x"), OMITTED]
)
def test_key_that_is_not_set_is_named(value: Any) -> None:
    account = read({"alpha": {"my_key": value, "my_secret": "cd34", "leverage_policy": {}}})["alpha"]
    assert (account["unset"], account["key_id"]) == (["my_key"], None)


def test_key_that_cannot_be_decrypted_is_not_missing() -> None:
    account = read({"alpha": {"my_key": ValueError("no vault password"), "leverage_policy": {}}})["alpha"]
    assert (account["unset"], account["key_id"]) == (["my_secret"], None)


def test_policy_that_cannot_be_evaluated_concerns_its_account_alone() -> None:
    accounts = read({"alpha": {"leverage_policy": ValueError("undefined")}, "beta": {"leverage_policy": {"A": 10}}})
    assert "policy" not in accounts["alpha"]
    assert accounts["beta"]["policy"] == {"A": 10}


def test_accounts_with_the_same_key_and_symbol_are_left_out() -> None:
    def make_host(key: str, policy: Any) -> dict[str, Any]:
        return {"my_key": key, "my_secret": "s", "leverage_policy": policy}

    accounts = read(
        {
            "alpha": make_host("ab", {"A": 10}),
            "beta": make_host("ab", '{"a": 5}'),
            "gamma": make_host("ab", {"B": 5}),
            "delta": make_host("cd", {"A": 5}),
            "unset": make_host("", {"A": 5}),
            "unset too": make_host("", {"A": 5}),
        }
    )
    assert [name for name, account in accounts.items() if account["left_out"]] == ["alpha", "beta", "gamma"]


# --- find_raw_value, get_shared_variables ---


@pytest.mark.parametrize(
    ("own", "task", "first", "expected"),
    [
        ({"x": 1}, {"x": 2}, {"x": 2}, 1),  # a variable of the inventory
        ({"x": 1}, {"x": 3}, {"x": 2}, 3),  # a variable of the play or the role is stronger
        ({"x": 1}, {"x": 3}, {}, 1),  # the default of the role is weaker
        ({}, {"x": 3}, {}, 3),
    ],
)
def test_variable_of_a_host_is_found(own: Any, task: Any, first: Any, expected: Any) -> None:
    assert find_raw_value("x", own, get_shared_variables(task, first), first) == expected


@pytest.mark.parametrize(("task", "first"), [({"x": 3}, {"x": 3}), ({}, {})])
def test_variable_of_another_host_is_not_used(task: Any, first: Any) -> None:
    with pytest.raises(KeyError):
        find_raw_value("x", {}, get_shared_variables(task, first), first)
