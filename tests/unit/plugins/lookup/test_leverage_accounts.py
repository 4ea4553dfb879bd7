# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup evaluates the variables of each host in the context of that host."""

from __future__ import annotations

from pathlib import Path

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager

from ansible_collections.tradeops.coinswitch.plugins.lookup.leverage_accounts import LookupModule

INVENTORY = """
all:
  hosts:
    alpha: {own: {A: 5}}
    beta: {own: {B: "{{ 3 + 4 }}"}, leverage_enforce: maximum}
    gamma: {}
  vars:
    leverage_policy: "{{ {'ALL': 10} | combine(own) }}"
"""

# --- LookupModule.run ---


def test_policy_is_evaluated_for_each_host(tmp_path: Path) -> None:
    init_plugin_loader([])
    (tmp_path / "inventory.yml").write_text(INVENTORY)
    loader = DataLoader()
    inventory = InventoryManager(loader, sources=[str(tmp_path / "inventory.yml")])
    manager = VariableManager(loader, inventory)
    hostvars = HostVars(inventory, manager, loader)
    variables = {**hostvars.raw_get("alpha"), "leverage_enforce": "exact", "hostvars": hostvars}
    lookup = LookupModule(loader=loader, templar=Templar(loader, variables))
    accounts = lookup.run(["alpha", "beta", "gamma"], variables, key_variables=["key"])
    assert [(account.get("policy"), account["enforce"], account["unset"]) for account in accounts] == [
        ({"ALL": 10, "A": 5}, "exact", ["key"]),
        ({"ALL": 10, "B": 7}, "maximum", ["key"]),
        (None, "exact", ["key"]),
    ]
