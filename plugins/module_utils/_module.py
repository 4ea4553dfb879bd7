# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module: reads the options, and returns a result or a failure. No other file uses AnsibleModule.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import os
import select
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, TypeVar

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from ansible_collections.tradeops.coinswitch.plugins.module_utils._connection import (
    FLOAT,
    INT,
    Connection,
    read_connection,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import (
    CoinSwitchError,
    InternalError,
    LibraryMissing,
    Unreachable,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._progress import Progress
from ansible_collections.tradeops.coinswitch.plugins.module_utils._redaction import Redactor, get_proxy_passwords
from ansible_collections.tradeops.coinswitch.plugins.module_utils._report import Report, to_plain

if TYPE_CHECKING:
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._client import Client
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import Futures
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._transport import SessionPool

T = TypeVar("T")

# The process ID of ansible-playbook. The action plugins set it for a module that runs on the controller.
CONTROLLER = "_COINSWITCH_CONTROLLER_PID"

CONNECTION: dict[str, dict[str, Any]] = {
    "api_key": {"type": "str", "no_log": True, "fallback": (env_fallback, ["COINSWITCH_API_KEY"])},
    "secret_key": {"type": "str", "no_log": True, "fallback": (env_fallback, ["COINSWITCH_SECRET_KEY"])},
    "api_url": {
        "type": "str",
        "default": "https://coinswitch.co",
        "fallback": (env_fallback, ["COINSWITCH_API_URL"]),
    },
    "exchange": {"type": "str", "default": "EXCHANGE_2"},
    "timeout": {"type": FLOAT, "default": 10},
    "retries": {"type": INT, "default": 3},
    "rate_limit_timeout": {"type": FLOAT, "default": 600},
    "rate_limit_share": {"type": FLOAT, "default": 1},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
}

UNPROTECTED = (
    "validate_certs is false, so anybody on the network can read and change the requests, and the signature does not "
    "protect the body of a write: use ca_path instead"
)


class Wiring:
    """The parts of one module.

    Args:
        options: The options of the module in the form of an argument spec, without the connection options.
        prepare: Checks the options before any request, and returns what `act` needs.
        act: Does the work with the endpoints and the prepared options.
        predict: Does the work in check mode. Without it, `act` does.
        blank: What is returned if there is no result.
        rules: The rules of the argument spec, for example mutually_exclusive.
    """

    def __init__(
        self,
        options: Mapping[str, Mapping[str, Any]],
        prepare: Callable[[Mapping[str, Any]], T],
        act: Callable[[Any, T], Report],
        predict: Callable[[Any, T], Report] | None = None,
        blank: Mapping[str, Any] | None = None,
        **rules: Any,
    ) -> None:
        self.argument_spec = {**CONNECTION, **options}
        self.prepare = prepare
        self.act = act
        self.predict = predict or act
        self.blank = {"changed": False, **(blank or {})}
        self.rules = rules


def run(wiring: Wiring) -> None:
    """Run a module in its own process."""
    module = AnsibleModule(argument_spec=wiring.argument_spec, supports_check_mode=True, **wiring.rules)
    result = execute(wiring, module.params, module.check_mode, module.warn, check_reader)
    if result.pop("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


def execute(
    wiring: Wiring,
    params: Mapping[str, Any],
    check_mode: bool,
    warn: Callable[[str], object],
    may_send: Callable[[], None],
    print_line: Callable[[str], None] | None = None,
    sessions: SessionPool | None = None,
) -> dict[str, Any]:
    """Do the work of a module. After the return, and after an interruption, nothing is sent.

    Args:
        wiring: The module.
        params: The options, validated by Ansible.
        check_mode: Whether to predict the changes only.
        warn: Called with the text of each warning.
        may_send: Called before each request. Raises Unreachable if the task has ended.
        print_line: Prints a line of progress. None if there is no way to print.
        sessions: Keeps the connection for the next task of this process.

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
        prepared = wiring.prepare(params)
        if connection.verify is False:
            warn(UNPROTECTED)
        client = connect(connection, clean, may_send, sessions)
        client.progress = Progress(print_line and _clean_first(clean_text, print_line), check_mode)
        report = (wiring.predict if check_mode else wiring.act)(_futures(client, connection.exchange), prepared)
    except LibraryMissing as error:
        report = Report({}, missing_required_lib(error.library))
        extra = {"exception": error.import_traceback}
    except CoinSwitchError as error:
        report = Report({}, str(error))
    except Exception as error:  # its message and its traceback can contain a secret
        report = Report({}, str(InternalError(error)))
    finally:
        if client:
            client.close()
    for warning in report.warnings:
        warn(clean_text(warning))
    requests = client.request_count if client else 0
    result = {**wiring.blank, **clean(to_plain(report.result)), "requests": requests, **extra, "failed": False}
    if report.failure is not None:
        result.update(failed=True, msg=clean_text(report.failure))
    return result


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
    sessions: SessionPool | None = None,
) -> Client:
    """Return a client. The libraries are imported here, so that a wrong option fails without the time of the import."""
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._client import Client
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._libraries import require_libraries
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._pacing import BudgetStore, Pacer
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._signing import SignedAuth
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._transport import Transport

    require_libraries()
    auth = SignedAuth(connection.api_key, connection.secret_key, time.time)
    transport = Transport(
        connection.api_url, auth, connection.timeout, connection.verify, may_send, sessions, connection.identity
    )
    pacer = Pacer(BudgetStore(connection.identity), connection.rate_limit_share, connection.rate_limit_timeout)
    return Client(transport, pacer, connection.retries, auth.pair_matches, clean)


def _futures(client: Client, exchange: str) -> Futures:
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import Futures

    return Futures(client, exchange)
