# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An action that writes a file without a module: a module would take longer than most of the tasks under test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase


class ActionModule(ActionBase):  # type: ignore[misc] # Ansible has no type information
    """Writes the option `content` to the file `path`."""

    def run(self, tmp: Any = None, task_vars: Any = None) -> dict[str, Any]:
        Path(self._task.args["path"]).write_text(self._task.args["content"], encoding="utf-8")
        return {}
