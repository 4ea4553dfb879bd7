# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the options of ansible-playbook that would skip a play with the tag `always`."""

from __future__ import annotations

DOCUMENTATION = r"""
name: skipping_options
short_description: Find the options of ansible-playbook that would skip a whole play
version_added: 1.0.0
author:
  - Contributors to tradeops.coinswitch (@tradeops)
description:
  - Returns the options of this run that would skip tasks with the tag V(always). These are C(--start-at-task),
    C(--skip-tags) with V(always) or V(tagged), and C(--limit) if the inventory has no hosts. Ansible fails by itself if
    C(--limit) matches none of its hosts.
  - The playbooks of this collection refuse these options. A run that checked nothing must not look like a run without
    drift.
options: {}
"""

EXAMPLES = r"""
- name: Fail if an option would skip tasks
  ansible.builtin.fail:
    msg: "Remove {{ skipping | join(' and ') }}."
  when: skipping | length > 0
  tags: always
  vars:
    skipping: "{{ query('tradeops.coinswitch.skipping_options') }}"
"""

RETURN = r"""
_raw:
  description: Each option with its value, as in V(--skip-tags always). Empty if there is none.
  type: list
  elements: str
"""

from typing import Any, Mapping

from ansible import context
from ansible.plugins.lookup import LookupBase

SKIPPING_TAGS = ("always", "tagged")


class LookupModule(LookupBase):  # type: ignore[misc] # ansible-core has no types
    """The lookup. Ansible searches for this class."""

    def run(self, terms: object, variables: Mapping[str, Any] | None = None, **_options: object) -> list[str]:
        known = variables or {}
        limit = known.get("ansible_limit")
        options = {
            "--skip-tags": ",".join(tag for tag in known.get("ansible_skip_tags") or () if tag in SKIPPING_TAGS),
            "--start-at-task": context.CLIARGS.get("start_at_task"),
            # Without an inventory, there is only localhost.
            "--limit": None if known.get("groups", {}).get("all") or limit == "localhost" else limit,
        }
        return [f"{option} {value}" for option, value in options.items() if value]
