# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read a variable without evaluating the templates in it."""

from __future__ import annotations

DOCUMENTATION = r"""
name: raw_variable
short_description: Read a variable without evaluating it
version_added: 1.0.0
author:
  - Contributors to tradeops.coinswitch (@tradeops)
description:
  - Returns the value of a variable as it is stored. Templates in it, for example C({{ … }}), are not evaluated.
  - Before ansible-core 2.19, Ansible evaluates templates in the names of hosts. The role
    P(tradeops.coinswitch.leverage#role) reads the names with this lookup, so that its report shows each name as it is
    in the inventory.
options:
  _terms:
    description: The name of each variable.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Show the names of all hosts of the play
  ansible.builtin.debug:
    msg: "{{ lookup('tradeops.coinswitch.raw_variable', 'ansible_play_hosts_all') }}"
"""

RETURN = r"""
_raw:
  description: The value of each variable.
  type: list
  elements: raw
"""

from typing import Any, Iterable, Mapping

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):  # type: ignore[misc] # ansible-core has no types
    """The lookup. Ansible searches for this class."""

    def run(self, terms: Iterable[str], variables: Mapping[str, Any] | None = None, **_options: object) -> list[Any]:
        known = variables or {}
        unknown = [name for name in terms if name not in known]
        if unknown:
            raise AnsibleError(f"The variable {unknown[0]} is not defined.")
        return [known[name] for name in terms]
