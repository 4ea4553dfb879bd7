# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge of direct execution: a task's options in, its result out, without a process of its own.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from typing import Any, Callable, Iterator, Mapping

from ansible import constants
from ansible.errors import AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.module_utils.errors import UnsupportedError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.utils.vars import merge_hash

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _module
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import Unreachable
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._route import (
    NotPlain,
    Task,
    is_on,
    plain,
    reason_for_module,
)

# Imported in the process that starts the workers: each of them inherits what is imported already.
for _name in ("_blockers", "_client", "_leverage", "_readers"):
    importlib.import_module(f"{_module.__name__.rpartition('.')[0]}.{_name}")

# As AnsibleModule hides the value of such an option in what a task returns.
HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"


class DirectAction(ActionBase):  # type: ignore[misc] # ansible-core has no types
    """Runs a task in the worker process where that is safe, else hands it over to the module."""

    wiring: _module.Wiring
    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """The task's result."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        environment: dict[str, str] = {}
        self._compute_environment_string(environment)
        reason = reason_for_module(Task(self, task_vars, environment))
        params: dict[str, Any] = {}
        if reason is None:
            try:
                params = plain(self._task.args)
                environment = plain(environment)
            except NotPlain:
                reason = "the value of an option is not plain text, a number, a list or a dictionary"
        name = str(self._task.action)
        if reason is not None:
            Display().vvv(f"{name} runs as a module: {reason}", host=str(task_vars.get("inventory_hostname", "")))
            return dict(merge_hash(result, self._run_module(task_vars)))
        Display().vvv(f"{name} runs directly in the controller", host=str(task_vars.get("inventory_hostname", "")))
        with _environment(environment):
            return {
                **result,
                **self._run_directly(name, params, task_vars),
            }

    def _run_module(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """What Ansible does for a module without an action plugin."""
        wrap_async = self._task.async_val and not self._connection.has_native_async
        # An asynchronous task may outlive ansible-playbook.
        controller = {} if wrap_async else {_module.CONTROLLER: os.getppid()}
        with _environment(controller):
            result: dict[str, Any] = self._execute_module(task_vars=task_vars, wrap_async=wrap_async)
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _printer(self, task_vars: dict[str, Any]) -> Callable[[str], None] | None:
        """Prints a line of progress with the host's name, on stderr: stdout may be JSON. None: it is switched off."""
        if not is_on(Task(self, task_vars, {}), "coinswitch_progress"):
            return None
        host = task_vars.get("inventory_hostname", "")
        return lambda text: Display().display(f"{host}: {text}", stderr=True)

    def _run_directly(self, name: str, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        validator = ArgumentSpecValidator(self.wiring.argument_spec, **self.wiring.rules)
        validated = validator.validate(params)
        options: dict[str, Any] = validated.validated_parameters
        warnings: list[str] = []
        if validated.error_messages:
            message = validated.error_messages[0]
            if isinstance(validated.errors[0], UnsupportedError):
                message = f"Unsupported parameters for ({name}) module: {message}"
            result: dict[str, Any] = {"failed": True, "msg": message}
        else:
            parent = os.getppid()
            say = self._printer(task_vars)
            check_mode = bool(self._task.check_mode)
            result = _module.execute(
                self.wiring, options, check_mode, warnings.append, lambda: _check_parent(parent), say
            )
        if _shows_invocation(task_vars):
            result["invocation"] = {"module_args": _masked(self.wiring.argument_spec, options)}
        if warnings:
            result["warnings"] = warnings
        if not result["failed"]:
            del result["failed"]
        return result


def _shows_invocation(task_vars: Mapping[str, Any]) -> bool:
    """Whether the result of a module holds its options: always before ansible-core 2.21, then if it is switched on."""
    try:
        return bool(constants.config.get_config_value("INJECT_INVOCATION", variables=task_vars))
    except AnsibleError:
        return True


def _masked(argument_spec: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: HIDDEN if value is not None and argument_spec.get(name, {}).get("no_log") else value
        for name, value in options.items()
    }


def _check_parent(parent: int) -> None:
    """Raise Unreachable where ansible-playbook is gone, of which its workers get no signal."""
    if os.getppid() != parent:
        raise Unreachable("ansible-playbook has ended, so nothing is sent any more", can_retry=False)


@contextlib.contextmanager
def _environment(variables: Mapping[str, Any]) -> Iterator[None]:
    """Set the variables for the task: the worker may run other tasks after it."""
    before = dict(os.environ)
    os.environ.update({name: str(value) for name, value in variables.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
