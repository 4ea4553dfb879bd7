# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs a module: reads the options, and returns a result or a failure. No other file uses AnsibleModule.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import hashlib
import os
import time
from typing import TYPE_CHECKING, Any, Callable, Iterable, Mapping, TypeVar

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible import connection as _connection
from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible import processes, redaction
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import errors
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import CoinSwitchError
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.progress import Context, Progress
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result, fail, to_plain

if TYPE_CHECKING:
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import Futures

T = TypeVar("T")
# Sends the requests of a module, and returns the result. The arguments are the endpoints of the account, the options in
# the form that `read_options` returns, and the context of the task.
Work = Callable[["Futures", T, Context], Result]


UNPROTECTED = (
    "validate_certs is false, so anybody on the network can read and change the requests, and the signature does not "
    "protect the body of a write. Use ca_path instead."
)


class ModuleDefinition:
    """What a module consists of.

    Args:
        options: The options of the module in the form of an argument spec, without the connection options.
        read_options: Checks the options before any request, and returns them in the form that `work` needs.
        import_work: Imports and returns what does the work. It is called after the options were checked, because the
            import takes longer than the check.
        empty_result: Returns what a task returns that fails before it has a result, from the options and the error.
        rules: The rules of the argument spec, for example mutually_exclusive.
    """

    def __init__(
        self,
        options: Mapping[str, Mapping[str, Any]],
        read_options: Callable[[Mapping[str, Any]], T],
        import_work: Callable[[], Work[T]],
        empty_result: Callable[[Mapping[str, Any], dict[str, Any]], Mapping[str, Any]] = lambda options, error: {},
        **rules: Any,
    ) -> None:
        self.argument_spec = {**_connection.CONNECTION, **options}
        self.read_options = read_options
        self.import_work = import_work
        self.empty_result = empty_result
        self.rules = rules


def run(definition: ModuleDefinition) -> None:
    """Run a module in its own process."""
    module = AnsibleModule(argument_spec=definition.argument_spec, supports_check_mode=True, **definition.rules)
    result = execute(definition, module.params, module.check_mode, module.warn, processes.check_reader)
    if result.pop("failed"):
        module.fail_json(**result)
    module.exit_json(**result)


def make_redactor(params: Mapping[str, Any], passwords: Iterable[str] = ()) -> redaction.Redactor:
    """Return what removes the keys of a task from texts and values."""
    return redaction.Redactor([str(params[name]) for name in ("api_key", "secret_key") if params.get(name)], passwords)


def execute(
    definition: ModuleDefinition,
    params: Mapping[str, Any],
    check_mode: bool,
    warn: Callable[[str], object],
    may_send: Callable[[], None],
    print_line: Callable[[str], None] | None = None,
    refusal: str | None = None,
) -> dict[str, Any]:
    """Do the work of a module. After the return, and after an interruption, nothing is sent.

    Args:
        definition: The module.
        params: The options, validated by Ansible.
        check_mode: Whether to predict the changes only.
        warn: Called with the text of each warning.
        may_send: Called before each request. Raises Unreachable if the task has ended.
        print_line: Prints a line of progress. None if there is no way to print.
        refusal: Why the options are not valid, if the caller knows that already. None to check them.

    Returns:
        The result, with `failed`, and with `msg` if the task failed.
    """
    redactor = make_redactor(params)
    # In messages only, because hiding a password such as 1000 in data would hide prices.
    text_redactor = make_redactor(params, redaction.get_proxy_passwords(os.environ))
    connection: _connection.Connection | None = None
    futures: Futures | None = None
    extra: dict[str, Any] = {}
    try:
        if refusal is not None:
            raise errors.InputRefused(refusal)
        # First, because the action plugins check these options for each task, also for one that runs elsewhere.
        # Without keys, because a message shows only a part of a long value, and a part of a key would not be found.
        options = definition.read_options(redactor.clean(dict(params)))
        connection = _connection.read_connection(params, definition.argument_spec)
        if connection.verify is False:
            warn(UNPROTECTED)
        futures = make_futures(connection, redactor.clean, may_send)
        progress = Progress(print_line and _clean_first(text_redactor.clean, print_line), check_mode)
        futures.client.real_pacer.on_wait = progress.waiting if progress.can_print else None
        work = definition.import_work()
        done = work(futures, options, Context(check_mode, progress))
    except errors.LibraryMissing as error:
        done, extra = fail(error, missing_required_lib(error.library)), {"exception": error.import_traceback}
    except Exception as error:
        # The message and the traceback of any other exception can contain a secret.
        done = fail(error if isinstance(error, CoinSwitchError) else errors.InternalError(error))
    finally:
        if futures:
            futures.client.close()
    for warning in done.warnings:
        warn(text_redactor.clean(warning))
    return {**_build_result(definition, params, done, redactor, text_redactor, connection, futures), **extra}


def _build_result(
    definition: ModuleDefinition,
    params: Mapping[str, Any],
    done: Result,
    redactor: redaction.Redactor,
    text_redactor: redaction.Redactor,
    connection: _connection.Connection | None = None,
    futures: Futures | None = None,
) -> dict[str, Any]:
    """Return the end of a task in the form that Ansible returns, without secrets."""
    values = done.values
    if done.failure is not None:
        values = {**definition.empty_result(params, done.error or {}), **values}
    api_url = connection.api_url if connection else params.get("api_url")
    who = {"api_url": api_url, "account": identify_account(params.get("api_key"))}
    result = {"changed": False, **redactor.clean(to_plain({**values, **who})), "failed": False}
    result["requests"] = futures.client.request_count if futures else 0
    if done.failure is not None:
        result.update(failed=True, msg=text_redactor.clean(done.failure), error=done.error)
    return result


def identify_account(api_key: Any) -> str | None:
    """Return an identifier of an API key that is no secret. Two hosts with the same one use the same account."""
    key = str(api_key or "").strip().lower()
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()[:16] if key else None


def _clean_first(clean: Callable[[Any], Any], print_line: Callable[[str], None]) -> Callable[[str], None]:
    return lambda text: print_line(clean(text))


def make_futures(
    connection: _connection.Connection, clean: Callable[[Any], Any], may_send: Callable[[], None]
) -> Futures:
    """Return the endpoints. The libraries are imported here, so that a wrong option fails before the import."""
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.budgets import BudgetStore
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.client import Client
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import Futures
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.libraries import require_libraries
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Pacer
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.signing import SignedAuth
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.transport import Transport

    require_libraries()
    auth = SignedAuth(connection.api_key, connection.secret_key, time.time)
    transport = Transport(connection.api_url, auth, connection.timeout, connection.verify, may_send)
    pacer = Pacer(BudgetStore(connection.identity), connection.rate_limit_share, connection.rate_limit_timeout)
    client = Client(transport, pacer, connection.retries, auth.describe_pair, clean)
    return Futures(client, connection.exchange)
