# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup evaluates the variables of each host in the context of that host."""

from __future__ import annotations

from typing import Any

from ansible import template
from ansible.parsing.dataloader import DataLoader

from ansible_collections.tradeops.coinswitch.plugins.lookup.leverage_accounts import LookupModule

# Before ansible-core 2.19, each text can be a template.
trust_as_template = getattr(template, "trust_as_template", str)


class HostVars:
    """The variables of the hosts in the inventory, as in the variable `hostvars`."""

    def __init__(self, **hosts: dict[str, Any]) -> None:
        self._hosts = hosts

    def raw_get(self, host: str) -> dict[str, Any]:
        return self._hosts[host]


# --- LookupModule.run ---


def test_policy_is_evaluated_for_each_host() -> None:
    policy = {"leverage_policy": {"A": trust_as_template("{{ own }}")}}
    hostvars = HostVars(
        alpha={**policy, "own": 5},
        beta={**policy, "own": trust_as_template("{{ 3 ~ 4 }}"), "leverage_enforce": "maximum"},
        gamma=policy,
    )
    variables = {**hostvars.raw_get("alpha"), "leverage_enforce": "exact", "hostvars": hostvars}
    variables["inventory_hostname"] = "alpha"
    loader = DataLoader()
    lookup = LookupModule(loader=loader, templar=template.Templar(loader, variables))
    accounts = lookup.run(["alpha", "beta", "gamma"], variables, key_variables=["key"])
    assert [(account.get("policy"), account["enforce"], account["unset"]) for account in accounts] == [
        ({"A": 5}, "exact", ["key"]),
        ({"A": "34"}, "maximum", ["key"]),
        (None, "exact", ["key"]),
    ]
