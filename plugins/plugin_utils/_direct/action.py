# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a task in the worker process of Ansible (direct execution), or hands it over to the module.

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

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible import module as _module
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Unreachable
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._direct.route import (
    NotPlain,
    Task,
    is_on,
    plain,
    reason_for_module,
)

_MODULE_UTILS = _module.__name__.rpartition("._ansible")[0]
# Ansible imports this file in the process that forks the workers, so each worker has these files already.
for _name in ("_exchange.client", "_tasks.blockers", "_tasks.leverage", "_tasks.readers"):
    importlib.import_module(f"{_MODULE_UTILS}.{_name}")

# AnsibleModule returns the same text instead of the value of such an option.
HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"

# The role sets this variable for its task. The result then contains what the account was asked for. If another task of
# the role stored that, it would start one more process for each account.
KEEPS_POLICY = "leverage_keeps_policy"


class DirectAction(ActionBase):  # type: ignore[misc] # ansible-core has no types
    """The action plugin of each module."""

    definition: _module.ModuleDefinition
    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        if KEEPS_POLICY in task_vars:
            options = plain(self._task.args, fallback=str)
            run = plain(task_vars.get("leverage_run_id"), fallback=str)
            result["asked"] = {"run": run, "policy": options.get("leverages"), "enforce": options.get("enforce")}
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
        way = "runs directly in the controller" if reason is None else f"runs as a module: {reason}"
        Display().vvv(f"{name} {way}", host=str(task_vars.get("inventory_hostname", "")))
        if reason is not None:
            return dict(merge_hash(result, self._run_module(task_vars)))
        with _set_environment(environment):
            return {**result, **self._run_directly(name, params, task_vars)}

    def _run_module(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Do what Ansible does for a module that has no action plugin."""
        wrap_async = self._task.async_val and not self._connection.has_native_async
        # An asynchronous task may run longer than ansible-playbook.
        controller = {} if wrap_async else {_module.CONTROLLER: os.getppid()}
        with _set_environment(controller):
            result: dict[str, Any] = self._execute_module(task_vars=task_vars, wrap_async=wrap_async)
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _get_line_printer(self, task_vars: dict[str, Any]) -> Callable[[str], None] | None:
        """Return what prints a line of progress to stderr, because stdout can be JSON. None if it is switched off."""
        if not is_on(Task(self, task_vars, {}), "coinswitch_progress"):
            return None
        host = task_vars.get("inventory_hostname", "")
        return lambda text: Display().display(f"{host}: {text}", stderr=True)

    def _run_directly(self, name: str, params: dict[str, Any], task_vars: dict[str, Any]) -> dict[str, Any]:
        validator = ArgumentSpecValidator(self.definition.argument_spec, **self.definition.rules)
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
            result = _module.execute(
                self.definition,
                options,
                bool(self._task.check_mode),
                warn=warnings.append,
                may_send=lambda: _check_parent(parent),
                print_line=self._get_line_printer(task_vars),
            )
        if _shows_invocation(task_vars):
            result["invocation"] = {"module_args": _hide_secrets(self.definition.argument_spec, options)}
        if warnings:
            result["warnings"] = warnings
        if not result["failed"]:
            del result["failed"]
        return result


def _shows_invocation(task_vars: Mapping[str, Any]) -> bool:
    """Return whether results contain the options: before ansible-core 2.21 always, then only if it is configured."""
    try:
        return bool(constants.config.get_config_value("INJECT_INVOCATION", variables=task_vars))
    except AnsibleError:
        return True


def _hide_secrets(argument_spec: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: HIDDEN if value is not None and argument_spec.get(name, {}).get("no_log") else value
        for name, value in options.items()
    }


def _check_parent(parent: int) -> None:
    """Raise Unreachable if ansible-playbook has ended. Its workers get no signal of that."""
    if os.getppid() != parent:
        raise Unreachable("ansible-playbook has ended, so no more requests are sent", can_retry=False)


@contextlib.contextmanager
def _set_environment(variables: Mapping[str, Any]) -> Iterator[None]:
    """Set environment variables for one task. The worker can run other tasks after it."""
    before = dict(os.environ)
    os.environ.update({name: str(value) for name, value in variables.items()})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
