# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Return where a file of the role is written."""

from __future__ import annotations

from typing import Any, Callable

from ansible.errors import AnsibleFilterError

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import paths as _paths
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.protection import protect

DOCUMENTATION = r"""
name: leverage_path
short_description: Return where a file is written, without following a link of another user
version_added: 1.0.0
author:
  - Contributors to tradeops.coinswitch (@tradeops)
description:
  - Returns the absolute path of a file on the controller, without links. A relative path starts in the directory in
    which the run was started.
  - Fails if the path leads through a link that another user owns. In a directory that several users can write to, such
    a link could make the run replace a file of the user who runs it.
  - Also fails for a device, a named pipe or a socket, because Ansible would replace it by a file.
options:
  _input:
    description: The path.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Write a file next to the other reports
  ansible.builtin.copy:
    dest: "{{ '~/reports/note.txt' | tradeops.coinswitch.leverage_path }}"
    content: A note
    mode: "0640"
"""

RETURN = r"""
_value:
  description: The absolute path.
  type: path
  returned: success
"""


def leverage_path(path: str) -> str:
    """Return the absolute path. DOCUMENTATION describes it."""
    try:
        return str(_paths.resolve(str(path)))
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """The filter. Ansible searches for this class."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"leverage_path": protect(leverage_path)}
