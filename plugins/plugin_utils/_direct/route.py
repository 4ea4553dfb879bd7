# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides whether a task runs in the worker process of Ansible, or as a module in a process of its own.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import inspect
import os
import sys
from typing import Any, Callable, Mapping, NamedTuple

from ansible import constants
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.connection import local

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import LibraryMissing
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.libraries import require_libraries

SWITCH = "coinswitch_direct"
PREFIX = "COINSWITCH_"


# JSON cannot contain a longer number, because Python does not write numbers of more than 4300 digits.
MAX_NUMBER_BITS = 14000


class Task(NamedTuple):
    """The action plugin, the variables of the task, and the variables that its keyword `environment` sets."""

    action: Any
    variables: Mapping[str, Any]
    environment: Mapping[str, Any]


def reason_for_module(task: Task) -> str | None:
    """Return why a task must run as a module. None if it can run directly."""
    return next((reason for applies, reason in REASONS if applies(task)), None)


def plain(value: Any, fallback: Callable[[Any], Any]) -> Any:
    """Return a copy of a value without the tags that templating adds.

    Args:
        value: The value of an option or a variable.
        fallback: Converts what JSON cannot express: a date, or a number with thousands of digits.
    """
    if value is None or isinstance(value, bool):
        return value
    for kind in (str, int, float):
        if isinstance(value, kind) and not _is_too_long(value):
            # The methods of a tagged subclass can return tagged values again.
            return kind.__str__(value) if kind is str else kind(value)
    if isinstance(value, dict):
        return {plain(name, fallback): plain(item, fallback) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item, fallback) for item in value]
    return fallback(value)


def to_text(value: Any) -> str:
    """Convert what JSON cannot express."""
    return hex(value) if isinstance(value, int) else str(value)


def _is_too_long(value: Any) -> bool:
    return isinstance(value, int) and value.bit_length() > MAX_NUMBER_BITS


def is_on(task: Task, switch: str) -> bool:
    """Return whether neither the variable nor the environment variable of that name (in upper case) is false.

    A variable with an empty value is not set.
    """
    environment = task.environment.get(switch.upper(), os.environ.get(switch.upper(), True))
    variable = task.action._templar.template(task.variables.get(switch, True))
    return all(boolean(True if value == "" else value, strict=False) for value in (environment, variable))


def has_other_connection(connection: Any) -> bool:
    """Return whether a connection plugin is not ansible.builtin.local. Another plugin can have the same name."""
    return inspect.getfile(type(connection)) != inspect.getfile(local)


def _has_unusual_value(task: Task) -> bool:
    """Return whether JSON cannot express the value of an option."""
    unusual: list[Any] = []
    plain(task.action._task.args, fallback=unusual.append)
    return bool(unusual)


def _sets_other_variables(task: Task) -> bool:
    return any(not name.startswith(PREFIX) for name in task.environment)


def _has_other_python(task: Task) -> bool:
    """Return whether Ansible would run the module with another Python.

    The same Python means the same file in the same folder. In a virtual environment, the file is a link to the Python
    that the environment was created with, so comparing the files alone is not enough.
    """
    delegated = task.variables.get("ansible_delegated_vars", {}).get(task.action._task.delegate_to, {})
    variables = delegated if task.action._task.delegate_to else task.variables
    path = variables.get("ansible_python_interpreter")
    if path is None:
        path = constants.config.get_config_value("INTERPRETER_PYTHON", variables=task.variables)
    path = str(task.action._templar.template(path))
    if not os.path.isabs(path) or not os.path.exists(path):
        return True
    ours, theirs = (os.path.realpath(os.path.dirname(python)) for python in (sys.executable, path))
    return ours != theirs or not os.path.samefile(path, sys.executable)


def _lacks_a_library(_task: Task) -> bool:
    try:
        require_libraries()
    except LibraryMissing:
        return True
    return False


REASONS: tuple[tuple[Callable[[Task], object], str], ...] = (
    (_has_unusual_value, "the value of an option is not plain text, a number, a list or a dictionary"),
    (lambda task: not is_on(task, SWITCH), f"{SWITCH} or {SWITCH.upper()} is false"),
    (lambda task: sys.platform == "darwin", "the system is macOS, where a proxy look-up in a forked process fails"),
    (lambda task: task.action._task.async_val, "the task is asynchronous"),
    (lambda task: task.action._connection.become or task.action._play_context.become, "the task uses become"),
    (lambda task: has_other_connection(task.action._connection), "the connection is not ansible.builtin.local"),
    (lambda task: constants.DEFAULT_KEEP_REMOTE_FILES, "ANSIBLE_KEEP_REMOTE_FILES is set"),
    (_sets_other_variables, f"the keyword environment sets a variable that does not start with {PREFIX}"),
    (_has_other_python, "ansible_python_interpreter is not the Python that runs Ansible"),
    (_lacks_a_library, "the Python that runs Ansible lacks requests or cryptography"),
)
