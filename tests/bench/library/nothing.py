# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module that only imports the given modules, to measure the cost of a task in Ansible itself."""

from __future__ import annotations

import importlib

from ansible.module_utils.basic import AnsibleModule


def main() -> None:
    module = AnsibleModule(
        argument_spec={"imports": {"type": "list", "elements": "str", "default": []}}, supports_check_mode=True
    )
    for name in module.params["imports"]:
        importlib.import_module(name)
    module.exit_json(changed=False)


if __name__ == "__main__":
    main()
