# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the demo shows of a playbook's run: the tasks, the differences, and one line a host."""

from __future__ import annotations

from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = r"""
name: brief
type: stdout
short_description: Tasks, differences, and one line a host
description:
  - What there is to see of a run of this collection's examples, without the frame that the default output has.
extends_documentation_fragment:
  - default_callback
"""


class CallbackModule(CallbackBase):
    """Results of other modules than this collection's are not looked at."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "brief"

    def v2_playbook_on_task_start(self, task: Any, is_conditional: bool) -> None:
        self._display.display(f"TASK [{task.get_name()}]")

    def v2_runner_on_ok(self, result: Any) -> None:
        word, color = ("changed", "yellow") if result.result["changed"] else ("ok", "green")
        self._show(result, word, color, result.result.get("warnings", []))

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._show(result, "failed", "red", [result.result["msg"]])

    def _show(self, result: Any, word: str, color: str, words: list[str]) -> None:
        diff = result.result.get("diff", {"before": {}, "after": {}})
        changes = [f"{symbol} {diff['before'][symbol]} -> {leverage}" for symbol, leverage in diff["after"].items()]
        self._display.display(f"{word}: [{result.host.get_name()}]  {', '.join(changes)}".rstrip(), color=color)
        for line in words:
            self._display.display(f"  {line}", color=color)
