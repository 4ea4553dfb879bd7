# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of the demo: the tasks, and the status and the changes of each host."""

from __future__ import annotations

from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: brief
type: stdout
short_description: Tasks, and the status and changes of each host
description:
  - Prints the tasks of the examples of this collection, and one line with the status and the changes of each host.
extends_documentation_fragment:
  - default_callback
"""


class CallbackModule(CallbackBase):
    """Print the results of the modules of this collection. Other modules are not supported.

    ansible-core 2.16 to 2.18 have `_result` and `_host`, but not `result` and `host`.
    """

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "brief"

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._display.display(f"TASK [{task.get_name()}]")

    def v2_runner_on_ok(self, result: Any) -> None:
        status, color = ("changed", "yellow") if result._result["changed"] else ("ok", "green")
        self._print_host(result, status, color, result._result.get("warnings", []))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._print_host(result, "failed", "red", [result._result["msg"]])

    def _print_host(self, result: Any, status: str, color: str, messages: list[str]) -> None:
        diff = result._result.get("diff", {"before": {}, "after": {}})
        changes = [f"{symbol} {diff['before'][symbol]} -> {leverage}" for symbol, leverage in diff["after"].items()]
        self._display.display(f"{status}: [{result._host.get_name()}]  {', '.join(changes)}".rstrip(), color=color)
        for message in messages:
            self._display.display(f"  {message}", color=color)
