# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the variables of all accounts of a play: the policy, and which key the account uses.

One task does this for all accounts, because Ansible starts a process for each task on each account. A variable of one
account that cannot be evaluated concerns this account alone.
"""

from __future__ import annotations

from typing import Any, Callable, Dict, Iterable, Mapping, Sequence

from ansible.errors import AnsibleUndefinedVariable

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.module import identify_account
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._direct.route import plain
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import build as _build
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import same_key as _same_key

# Ansible replaces `omit` by a text before ansible-core 2.19. Since then, it uses an object of this type, or this error.
_OMIT_TEXT, _OMIT_TYPE, _OMIT_ERROR = "__omit_place_holder__", "OmitType", "AnsibleValueOmittedError"

Row = Dict[str, Any]
# Returns the value of a variable for a host. Raises any exception if it cannot be evaluated.
Evaluate = Callable[[str, str], Any]


def read_accounts(names: Iterable[str], key_variables: Sequence[str], evaluate: Evaluate) -> list[Row]:
    """Return what the variables of each account say, as the filter `leverage_report` takes it.

    Args:
        names: The hosts.
        key_variables: The names of the variables with the keys, the API key first. Empty if they are not known.
        evaluate: Returns the value of a variable for a host.
    """
    accounts = [_read_account(name, key_variables, evaluate) for name in names]
    conflicts = _same_key.find_conflicts(
        {account["name"]: (account["key_id"], _build.read_policy(account.get("policy"))) for account in accounts}
    )
    left_out = {name for conflict in conflicts if conflict.symbols for name in conflict.accounts}
    return [{**account, "left_out": account["name"] in left_out} for account in accounts]


def _read_account(name: str, key_variables: Sequence[str], evaluate: Evaluate) -> Row:
    keys = [_read_text(evaluate, name, variable) for variable in key_variables]
    account: Row = {
        "name": name,
        "unset": [variable for variable, key in zip(key_variables, keys) if key == ""],
        "key_id": identify_account(keys[0]) if keys else None,
        "enforce": _read_text(evaluate, name, "leverage_enforce") or "",
    }
    try:
        account["policy"] = plain(evaluate(name, "leverage_policy"), fallback=str)
    except Exception:
        # The task of the account fails with the reason.
        account["policy_error"] = True
    return account


def _read_text(evaluate: Evaluate, name: str, variable: str) -> str | None:
    """Return the value of a variable as text.

    Empty if it is not set, also by `omit`. None if it has a value that cannot be evaluated or decrypted.
    """
    try:
        value = evaluate(name, variable)
        is_omitted = type(value).__name__ == _OMIT_TYPE or str(value).startswith(_OMIT_TEXT)
        return "" if value is None or is_omitted else str(value)
    except (KeyError, AnsibleUndefinedVariable):
        return ""
    except Exception as error:
        # Otherwise, the task of the account fails with the reason.
        return "" if type(error).__name__ == _OMIT_ERROR else None


def make_evaluate(templar: Any, variables: Mapping[str, Any]) -> Evaluate:
    """Return what evaluates a variable for a host. It raises KeyError if the variable is not set.

    Args:
        templar: The templar of a lookup.
        variables: The variables of the task, before they are evaluated.
    """
    hostvars = variables["hostvars"]
    first = hostvars.raw_get(variables["inventory_hostname"])
    shared = get_shared_variables(variables, first)

    def evaluate(host: str, name: str) -> Any:
        own = hostvars.raw_get(host)
        raw = find_raw_value(name, own, shared, first)
        return templar.copy_with_new_env(available_variables={**shared, **own}).template(raw)

    return evaluate


def get_shared_variables(task: Mapping[str, Any], first: Mapping[str, Any]) -> Row:
    """Return the variables of a task that come from the play or the role, and not from the host that runs the task.

    Args:
        task: The variables of the task.
        first: The variables of the host that runs it, in the inventory.
    """
    return {name: value for name, value in task.items() if name not in first or value != first[name]}


def find_raw_value(name: str, own: Mapping[str, Any], shared: Mapping[str, Any], first: Mapping[str, Any]) -> Any:
    """Return the value of a variable for a host, before it is evaluated. Raise KeyError if it is not set.

    Args:
        name: The variable.
        own: The variables of the host in the inventory.
        shared: The variables of the play and the role.
        first: The variables of the host that runs the task, in the inventory.
    """
    # A variable of the play that replaces the one of that host replaces it for each host. A default of the role does
    # not.
    is_overridden = name in first and name in shared
    return shared[name] if is_overridden or name not in own else own[name]
