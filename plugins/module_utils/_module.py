# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge: options in, a result or one line of failure out. The only file that knows AnsibleModule.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any, Callable, Mapping, TypeVar

from ansible.module_utils.basic import AnsibleModule, env_fallback, missing_required_lib

from ansible_collections.tradeops.coinswitch.plugins.module_utils._connection import FLOAT, INT, Connection, check
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import CoinSwitchError, Defect, LibraryMissing
from ansible_collections.tradeops.coinswitch.plugins.module_utils._redaction import Redactor, proxy_passwords
from ansible_collections.tradeops.coinswitch.plugins.module_utils._report import Report, plain

if TYPE_CHECKING:
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._client import Client
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import Futures

T = TypeVar("T")

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


def run(
    options: Mapping[str, Mapping[str, Any]],
    prepare: Callable[[Mapping[str, Any]], T],
    act: Callable[[Any, T], Report],
    predict: Callable[[Any, T], Report] | None = None,
    blank: Mapping[str, Any] | None = None,
    **rules: Any,
) -> None:
    """Run a module: `prepare` checks its options before any request, `act` does its work with a Futures.

    In check mode `predict` takes the place of `act`; a module that never changes anything has none. `blank` is what is
    returned where it did not come to a result. `rules` are AnsibleModule's own (mutually_exclusive, ...).
    """
    module = AnsibleModule(argument_spec={**CONNECTION, **options}, supports_check_mode=True, **rules)
    keys = [str(module.params[name]) for name in ("api_key", "secret_key") if module.params[name]]
    redactor = Redactor(keys)
    # A password such as 1000 is looked for in messages only: in data it would hide prices.
    clean_text = Redactor(keys, proxy_passwords(os.environ)).clean
    work = predict if module.check_mode and predict else act
    client: Client | None = None
    extra: dict[str, Any] = {}
    try:
        connection = check(module.params)
        prepared = prepare(module.params)
        if connection.verify is False:
            module.warn(UNPROTECTED)
        client = connect(connection, redactor.clean)
        report = work(_futures(client, connection.exchange), prepared)
    except LibraryMissing as error:
        report = Report({}, missing_required_lib(error.library))
        extra = {"exception": error.error}
    except CoinSwitchError as error:
        report = Report({}, str(error))
    except Exception as error:  # its own words and its traceback may hold what no output should
        report = Report({}, str(Defect(error)))
    for warning in report.warnings:
        module.warn(clean_text(warning))
    requests = client.requests if client else 0
    result = {"changed": False, **(blank or {}), **redactor.clean(plain(report.result)), "requests": requests, **extra}
    if report.failure is None:
        module.exit_json(**result)
    module.fail_json(msg=clean_text(report.failure), **result)


def connect(connection: Connection, clean: Callable[[Any], Any]) -> Client:
    """The client of a connection. Its parts are imported only here: a wrong option should not cost their time."""
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._client import Client
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._libraries import need
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._pacing import BudgetStore, Pacer
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._signing import SignedAuth
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._transport import Transport

    need()
    auth = SignedAuth(connection.api_key, connection.secret_key, time.time)
    transport = Transport(connection.api_url, auth, connection.timeout, connection.verify)
    pacer = Pacer(BudgetStore(connection.identity), connection.rate_limit_share, connection.rate_limit_timeout)
    return Client(transport, pacer, connection.retries, auth.pair_matches, clean)


def _futures(client: Client, exchange: str) -> Futures:
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import Futures

    return Futures(client, exchange)
