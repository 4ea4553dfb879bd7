# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge: options in, a result or one line of failure out. The only file that knows AnsibleModule.

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

T = TypeVar("T")

# Set by the action plugins for a module on the controller itself: the process ID of ansible-playbook.
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
    "validate_certs is false: anybody on the way can read and change what is sent, and the body of a write is not "
    "signed, so TLS is its only protection"
)


class Wiring:
    """What makes a module: its options, and the functions that check them and do its work.

    prepare(params) checks the options before any request. act(futures, prepared) does the work; in check mode
    predict(futures, prepared) does, where there is one. blank is returned where there is no result. rules are those of
    Ansible's argument specs (mutually_exclusive, ...).
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
    say: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Do the work of a module with options that Ansible has validated: what it returns, with `failed`, and `msg` then.

    warn(text) is called for each warning. may_send() is called before each request, and raises where the task is over.
    say(text) prints the progress of a long task, where there is a way to print.
    Nothing is sent after the return, nor after an interruption, which passes through.
    """
    keys = [str(params[name]) for name in ("api_key", "secret_key") if params[name]]
    clean = Redactor(keys).clean
    # Passwords are hidden in messages only. A password such as 1000 would hide prices in data.
    clean_text = Redactor(keys, get_proxy_passwords(os.environ)).clean
    client: Client | None = None
    extra: dict[str, Any] = {}
    try:
        connection = read_connection(params)
        prepared = wiring.prepare(params)
        if connection.verify is False:
            warn(UNPROTECTED)
        client = connect(connection, clean, may_send)
        client.progress = Progress(say and _cleaning(say, clean_text))
        report = (wiring.predict if check_mode else wiring.act)(_futures(client, connection.exchange), prepared)
    except LibraryMissing as error:
        report = Report({}, missing_required_lib(error.library))
        extra = {"exception": error.import_traceback}
    except CoinSwitchError as error:
        report = Report({}, str(error))
    except Exception as error:  # its own words and its traceback may hold what no output should
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


def _cleaning(say: Callable[[str], None], clean: Callable[[Any], Any]) -> Callable[[str], None]:
    return lambda text: say(clean(text))


def check_reader() -> None:
    """Raise Unreachable if the task that started this module has ended, so that nobody reads its output.

    After a task's timeout or Ctrl-C, the reading end of the pipe is closed. The death of ansible-playbook alone leaves
    the worker that reads, so the action plugin names the process of ansible-playbook in CONTROLLER.
    """
    controller = os.environ.get(CONTROLLER, "")
    if controller.isdigit() and not os.path.exists(f"/proc/{controller}") and os.path.isdir("/proc/self"):
        raise Unreachable("ansible-playbook has ended, so nothing is sent any more", can_retry=False)
    events = select.poll()
    events.register(1, 0)
    if any(event & (select.POLLERR | select.POLLHUP) for _file, event in events.poll(0)):
        raise Unreachable("the task that started this module has ended, so nothing is sent any more", can_retry=False)


def connect(connection: Connection, clean: Callable[[Any], Any], may_send: Callable[[], None]) -> Client:
    """The client of a connection. It is imported here, so that a wrong option fails without the time of the import."""
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._client import Client
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._libraries import require_libraries
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._pacing import BudgetStore, Pacer
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._signing import SignedAuth
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._transport import Transport

    require_libraries()
    auth = SignedAuth(connection.api_key, connection.secret_key, time.time)
    transport = Transport(connection.api_url, auth, connection.timeout, connection.verify, may_send)
    pacer = Pacer(BudgetStore(connection.identity), connection.rate_limit_share, connection.rate_limit_timeout)
    return Client(transport, pacer, connection.retries, auth.pair_matches, clean)


def _futures(client: Client, exchange: str) -> Futures:
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import Futures

    return Futures(client, exchange)
