# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A connection plugin that behaves like another machine: commands do not get the environment of ansible-playbook."""

from __future__ import annotations

import os
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.connection.local import Connection as LocalConnection

DOCUMENTATION = """
name: elsewhere
short_description: Another machine
description: Another machine.
options:
  pipelining:
    description: Pipelining.
    type: boolean
    env: [{name: ANSIBLE_PIPELINING}]
  is_reachable:
    description: Whether the machine can be reached.
    type: boolean
    default: true
    vars: [{name: is_reachable}]
"""


class Connection(LocalConnection):  # type: ignore[misc] # ansible-core has no types
    """The name that Ansible looks for."""

    transport = "elsewhere"

    def exec_command(self, cmd: str, in_data: bytes | None = None, sudoable: bool = True) -> Any:
        if not self.get_option("is_reachable"):
            raise AnsibleConnectionFailure("Failed to connect to the host via ssh: connection refused")
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update({name: before[name] for name in ("PATH", "HOME", "TMPDIR", "PYTHONPATH") if name in before})
        try:
            return super().exec_command(cmd, in_data, sudoable)
        finally:
            os.environ.clear()
            os.environ.update(before)
