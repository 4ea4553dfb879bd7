# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a task in the worker process of Ansible (direct execution), or hands it over to the module.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import contextlib
import difflib
import importlib
import multiprocessing
import os
from typing import Any, Callable, Dict, Iterable, Iterator, Mapping

from ansible import constants
from ansible.errors import AnsibleAction, AnsibleConnectionFailure, AnsibleError
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from ansible.utils.vars import merge_hash

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible import module as _module
from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible import processes
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Unreachable
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._direct import route
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._direct.route import Task, plain

_MODULE_UTILS = _module.__name__.rpartition("._ansible")[0]
# Ansible imports this file in the process that forks the workers, so each worker has these files already.
for _name in ("_exchange.client", "_tasks.blockers", "_tasks.leverage", "_tasks.readers"):
    importlib.import_module(f"{_MODULE_UTILS}.{_name}")

# AnsibleModule returns the same text instead of the value of such an option.
HIDDEN = "VALUE_SPECIFIED_IN_NO_LOG_PARAMETER"

# The secret options that the keyword `environment` can set, by the name of the variable.
KEYS = {"COINSWITCH_API_KEY": "api_key", "COINSWITCH_SECRET_KEY": "secret_key"}

REFUSED = "does not run, because an option is not valid"
NOT_LOCAL = (
    "If this host is an account and not a machine, set ansible_connection=local for it, so that the controller sends "
    "its requests."
)


class _Arguments(Dict[str, Any]):
    """The arguments of a module. Ansible prints this object with ANSIBLE_DEBUG, so it shows no values."""

    def __repr__(self) -> str:
        return repr(sorted(self))


class DirectAction(ActionBase):  # type: ignore[misc] # ansible-core has no types
    """The action plugin of each module."""

    definition: _module.ModuleDefinition
    _supports_check_mode = True
    _supports_async = True

    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of the task."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        environment = self._move_keys_to_options()
        arguments = self._task.args
        with _set_environment(environment):
            options, refusal = self._validate(arguments)
            is_refused = refusal is not None or self._is_refused(options)
            if not is_refused:
                refusal = _describe_empty_keys(arguments, task_vars)
                is_refused = refusal is not None
            reason = None if is_refused else route.reason_for_module(Task(self, task_vars, environment))
            if reason is None:
                self._print_way(task_vars, REFUSED if is_refused else "runs directly in the controller")
                return {**result, **self._run_directly(options, task_vars, refusal)}
        self._print_way(task_vars, f"runs as a module: {reason}")
        return dict(merge_hash(result, self._run_module(task_vars)))

    def _move_keys_to_options(self) -> dict[str, Any]:
        """Return the variables of the keyword `environment` of the task, its block, role or play, without the keys.

        Keys become options, because Ansible writes the variables into commands, which all users of the host can read.
        Ansible takes the variables of the task for all its commands, also for those that wait for an asynchronous task.
        """
        variables: dict[str, Any] = {}
        self._compute_environment_string(variables)
        keys = {option: variables.pop(name) for name, option in KEYS.items() if variables.get(name)}
        environment = {str(name): value for name, value in plain(variables, fallback=route.to_text).items()}
        self._task.args = {**keys, **self._task.args}
        self._task.environment = [environment]
        return environment

    def _print_way(self, task_vars: Mapping[str, Any], way: str) -> None:
        Display().vvv(f"{self._task.action} {way}", host=str(task_vars.get("inventory_hostname", "")))

    def _validate(self, arguments: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
        """Return the options that exist, as Ansible converts them, and why it does not accept them (or None)."""
        argument_spec = self.definition.argument_spec
        known = {name: value for name, value in arguments.items() if name in argument_spec}
        validator = ArgumentSpecValidator(argument_spec, **self.definition.rules)
        validated = validator.validate(plain(known, fallback=lambda value: value))
        refusal = next(iter(validated.error_messages), None)
        unknown = sorted(str(name) for name in arguments if name not in argument_spec)
        if unknown:
            refusal = _describe_unknown_options(str(self._task.action), unknown, argument_spec)
        return dict(validated.validated_parameters), refusal

    def _is_refused(self, options: Mapping[str, Any]) -> bool:
        """Return whether the task will fail before a request, because one of its own options is not valid.

        This is checked in the controller for both ways, because JSON turns each name in a dictionary into text.
        """
        try:
            self.definition.read_options(options)
        except Exception:  # Also for a defect: `execute` reports both.
            return True
        return False

    def _run_module(self, task_vars: dict[str, Any]) -> dict[str, Any]:
        """Do what Ansible does for a module that has no action plugin."""
        wrap_async = self._task.async_val and not self._connection.has_native_async
        # An asynchronous task may run longer than ansible-playbook. Another host or container has other processes.
        is_watched = not wrap_async and not route.has_other_connection(self._connection)
        controller = {processes.CONTROLLER: processes.identify_process(_get_controller())} if is_watched else {}
        try:
            with _set_environment(controller):
                result: dict[str, Any] = self._execute_module(
                    module_args=_Arguments(self._task.args), task_vars=task_vars, wrap_async=wrap_async
                )
        except AnsibleError as error:
            # Without an ssh client, or without sshpass, Ansible does not call it a failure of the connection.
            if isinstance(error, AnsibleAction) or not route.has_other_connection(self._connection):
                raise
            kind = AnsibleConnectionFailure if isinstance(error, AnsibleConnectionFailure) else AnsibleError
            raise kind(f"{str(error).rstrip('.')}. {NOT_LOCAL}") from None
        if not wrap_async:
            self._remove_tmp_path(self._connection._shell.tmpdir)
        return result

    def _get_line_printer(self, task_vars: dict[str, Any]) -> Callable[[str], None] | None:
        """Return what prints a line of progress to stderr, because stdout can be JSON. None if it is switched off."""
        if self._task.no_log or not route.is_on(Task(self, task_vars, {}), "coinswitch_progress"):
            return None
        host = task_vars.get("inventory_hostname", "")
        return lambda text: Display().display(f"{host}: {text}", stderr=True)

    def _run_directly(self, options: dict[str, Any], task_vars: dict[str, Any], refusal: str | None) -> dict[str, Any]:
        warnings: list[str] = []
        controller = _get_controller()
        result = _module.execute(
            self.definition,
            options,
            bool(self._task.check_mode),
            warn=warnings.append,
            may_send=lambda: _check_parent(controller),
            print_line=self._get_line_printer(task_vars),
            refusal=refusal,
        )
        # From here on, give the result the form that AnsibleModule gives it.
        if warnings:
            result["warnings"] = warnings
        if _shows_invocation(task_vars):
            result["invocation"] = {"module_args": _hide_secrets(self.definition.argument_spec, options)}
        if not result["failed"]:
            del result["failed"]
        return result


def _describe_empty_keys(arguments: Mapping[str, Any], variables: Mapping[str, Any]) -> str | None:
    """Return the message for keys that the task sets to an empty value. None if there are no such keys.

    The playbooks set the keys from variables, so the message names a variable of theirs that is not set.
    """
    names = [
        name if variables.get(f"coinswitch_{name}") else f"coinswitch_{name}"
        for name in KEYS.values()
        if name in arguments and not arguments[name]
    ]
    if not names:
        return None
    are, them = ("is", "it") if len(names) == 1 else ("are", "them")
    return f"{' and '.join(names)} of {variables.get('inventory_hostname')} {are} not set. Set {them} for this host."


def _describe_unknown_options(name: str, unknown: list[str], known: Iterable[str]) -> str:
    """Return the message of Ansible for options that do not exist, with the options that were probably meant."""
    similar = {option: difflib.get_close_matches(option, known, n=1) for option in unknown}
    described = [f"{option} (did you mean {found[0]}?)" if found else option for option, found in similar.items()]
    return (
        f"Unsupported parameters for ({name}) module: {', '.join(described)}. Supported parameters include: "
        f"{', '.join(sorted(known))}."
    )


def _shows_invocation(task_vars: Mapping[str, Any]) -> bool:
    """Return whether results contain the options: before ansible-core 2.21 always, then only if it is configured."""
    try:
        return bool(constants.config.get_config_value("INJECT_INVOCATION", variables=task_vars))
    except AnsibleError:
        return True


def _hide_secrets(argument_spec: Mapping[str, Mapping[str, Any]], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options without secrets, also without those that are a part of another option."""
    clean = _module.make_redactor(options).clean
    return {
        name: HIDDEN if value is not None and argument_spec[name].get("no_log") else clean(plain(value, route.to_text))
        for name, value in options.items()
    }


def _get_controller() -> int:
    """Return the process ID of ansible-playbook, which is right even if ansible-playbook has ended by now."""
    parent = multiprocessing.parent_process()
    return parent.pid if parent and parent.pid else os.getppid()


def _check_parent(controller: int) -> None:
    """Raise Unreachable if ansible-playbook has ended. Its workers get no signal, but another parent."""
    if os.getppid() != controller:
        raise Unreachable("ansible-playbook has ended, so no more requests are sent.", can_retry=False)


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
