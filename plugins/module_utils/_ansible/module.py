# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module: reads the options, and returns a result or a failure. No other file uses AnsibleModule.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import hashlib
import os
import select
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, TypeVar

from ansible.module_utils.basic import AnsibleModule, missing_required_lib
from ansible.module_utils.errors import AnsibleFallbackNotFound

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.connection import (
    API_URL_VARIABLE,
    DEFAULTS,
    FLOAT,
    INT,
    Connection,
    read_connection,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.redaction import (
    Redactor,
    get_proxy_passwords,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    CoinSwitchError,
    InternalError,
    LibraryMissing,
    Unreachable,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.progress import Context, Progress
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result, fail, to_plain

if TYPE_CHECKING:
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.client import Client
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import Futures

T = TypeVar("T")

# The process ID of ansible-playbook. The action plugins set it for a module that runs on the controller.
CONTROLLER = "_COINSWITCH_CONTROLLER_PID"


def get_variable(name: str) -> str:
    """Return an environment variable. An empty one is not set."""
    value = os.environ.get(name)
    if not value:
        raise AnsibleFallbackNotFound
    return value


CONNECTION: dict[str, dict[str, Any]] = {
    "api_key": {"type": "str", "no_log": True, "fallback": (get_variable, ["COINSWITCH_API_KEY"])},
    "secret_key": {"type": "str", "no_log": True, "fallback": (get_variable, ["COINSWITCH_SECRET_KEY"])},
    "api_url": {
        "type": "str",
        "default": DEFAULTS["api_url"],
        "fallback": (get_variable, [API_URL_VARIABLE]),
    },
    "exchange": {"type": "str", "default": DEFAULTS["exchange"]},
    "timeout": {"type": FLOAT, "default": DEFAULTS["timeout"]},
    "retries": {"type": INT, "default": DEFAULTS["retries"]},
    "rate_limit_timeout": {"type": FLOAT, "default": DEFAULTS["rate_limit_timeout"]},
    "rate_limit_share": {"type": FLOAT, "default": DEFAULTS["rate_limit_share"]},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
}

UNPROTECTED = (
    "validate_certs is false, so anybody on the network can read and change the requests, and the signature does not "
    "protect the body of a write: use ca_path instead"
)


class ModuleDefinition:
    """What a module consists of.

    Args:
        options: The options of the module in the form of an argument spec, without the connection options.
        read_options: Checks the options before any request, and returns them in the form that `work` needs.
        work: Sends the requests, and returns the result. Its arguments are the endpoints of the account, the options,
            and the context of the task.
        empty_result: Returns what a task returns that fails before it has a result, from the options and the error.
        rules: The rules of the argument spec, for example mutually_exclusive.
    """

    def __init__(
        self,
        options: Mapping[str, Mapping[str, Any]],
        read_options: Callable[[Mapping[str, Any]], T],
        work: Callable[[Futures, T, Context], Result],
        empty_result: Callable[[Mapping[str, Any], dict[str, Any]], Mapping[str, Any]] = lambda options, error: {},
        **rules: Any,
    ) -> None:
        self.argument_spec = {**CONNECTION, **options}
        self.read_options = read_options
        self.work = work
        self.empty_result = empty_result
        self.rules = rules


def run(definition: ModuleDefinition) -> None:
    """Run a module in its own process."""
    module = AnsibleModule(argument_spec=definition.argument_spec, supports_check_mode=True, **definition.rules)
    result = execute(definition, module.params, module.check_mode, module.warn, check_reader)
    if result.pop("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


def execute(
    definition: ModuleDefinition,
    params: Mapping[str, Any],
    check_mode: bool,
    warn: Callable[[str], object],
    may_send: Callable[[], None],
    print_line: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Do the work of a module. After the return, and after an interruption, nothing is sent.

    Args:
        definition: The module.
        params: The options, validated by Ansible.
        check_mode: Whether to predict the changes only.
        warn: Called with the text of each warning.
        may_send: Called before each request. Raises Unreachable if the task has ended.
        print_line: Prints a line of progress. None if there is no way to print.

    Returns:
        The result, with `failed`, and with `msg` if the task failed.
    """
    keys = [str(params[name]) for name in ("api_key", "secret_key") if params[name]]
    clean = Redactor(keys).clean
    # In messages only, because hiding a password such as 1000 in data would hide prices.
    clean_text = Redactor(keys, get_proxy_passwords(os.environ)).clean
    client: Client | None = None
    extra: dict[str, Any] = {}
    try:
        connection = read_connection(params)
        options = definition.read_options(params)
        if connection.verify is False:
            warn(UNPROTECTED)
        client = connect(connection, clean, may_send)
        progress = Progress(print_line and _clean_first(clean_text, print_line), check_mode)
        done = definition.work(_futures(client, connection.exchange), options, Context(check_mode, progress))
    except LibraryMissing as error:
        done = fail(error, missing_required_lib(error.library))
        extra = {"exception": error.import_traceback}
    except CoinSwitchError as error:
        done = fail(error)
    except Exception as error:  # its message and its traceback can contain a secret
        done = fail(InternalError(error))
    finally:
        if client:
            client.close()
    for warning in done.warnings:
        warn(clean_text(warning))
    empty = definition.empty_result(params, done.error or {}) if done.failure is not None else {}
    result = {
        "changed": False,
        **clean(to_plain({**empty, **done.values, **_identify(params)})),
        "requests": client.request_count if client else 0,
        **extra,
        "failed": False,
    }
    if done.failure is not None:
        result.update(failed=True, msg=clean_text(done.failure), error=done.error)
    return result


def _identify(params: Mapping[str, Any]) -> dict[str, Any]:
    """Return whom the task asked: the address of the exchange, and an identifier of the key that is no secret."""
    api_key = str(params["api_key"] or "").strip().lower()
    account = hashlib.sha256(api_key.encode("utf-8", "replace")).hexdigest()[:16] if api_key else None
    return {"api_url": str(params["api_url"]), "account": account}


def _clean_first(clean: Callable[[Any], Any], print_line: Callable[[str], None]) -> Callable[[str], None]:
    return lambda text: print_line(clean(text))


def check_reader() -> None:
    """Raise Unreachable if the task that started this module has ended.

    After the timeout of a task or Ctrl-C, Ansible closes the pipe that it reads the output from. If only
    ansible-playbook is killed, its worker still holds the pipe, so the process ID in CONTROLLER is checked, too.
    """
    controller = os.environ.get(CONTROLLER, "")
    if controller.isdigit() and not os.path.exists(f"/proc/{controller}") and os.path.isdir("/proc/self"):
        raise Unreachable("ansible-playbook has ended, so no more requests are sent", can_retry=False)
    poller = select.poll()
    poller.register(1, 0)
    if any(event & (select.POLLERR | select.POLLHUP) for _file, event in poller.poll(0)):
        raise Unreachable("the task that started this module has ended, so no more requests are sent", can_retry=False)


def connect(
    connection: Connection,
    clean: Callable[[Any], Any],
    may_send: Callable[[], None],
) -> Client:
    """Return a client. The libraries are imported here, so that a wrong option fails without the time of the import."""
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.budgets import BudgetStore
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.client import Client
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.libraries import require_libraries
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Pacer
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.signing import SignedAuth
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.transport import Transport

    require_libraries()
    auth = SignedAuth(connection.api_key, connection.secret_key, time.time)
    transport = Transport(connection.api_url, auth, connection.timeout, connection.verify, may_send)
    pacer = Pacer(BudgetStore(connection.identity), connection.rate_limit_share, connection.rate_limit_timeout)
    return Client(transport, pacer, connection.retries, auth.pair_matches, clean)


def _futures(client: Client, exchange: str) -> Futures:
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import Futures

    return Futures(client, exchange)
