# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that change a running sandbox: one table, for the command line and for POST /sandbox/COMMAND."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .accounts import ORDER_TYPES, Account, parse_whole_number
from .exchange import ENDPOINT_HELP, Exchange, Request
from .faults import FAULT_TABLE, FAULTS, Response

PREFIX = "/sandbox/"
# The command as the user typed it, so that it can be copied from a message. An installed collection has another path.
_IS_TYPED = Path(sys.argv[0]).resolve() == Path(__file__).resolve().parent
PROGRAM = f"python3 {sys.argv[0] if _IS_TYPED else 'extensions/sandbox'}"
Values = Mapping[str, Any]


class Argument(NamedTuple):
    """An argument of a command, with its help. All values are text, which the function of the command checks."""

    help: str
    default: str | None = None
    metavar: str | None = None
    is_switch: bool = False


class Command(NamedTuple):
    """A command. The names of its options begin with `--`. All other arguments are required.

    `tables` has more help: names with their help, by heading.
    """

    run: Callable[[Exchange, Values], Any]
    help: str
    arguments: Mapping[str, Argument]
    examples: Sequence[str]
    tables: Mapping[str, Mapping[str, str]] = {}

    def fill_in(self, given: Values) -> Values:
        """Return the value of each argument, and ignore others. Raises ValueError if one is missing."""
        values = {"api_key": given.get("api_key")}
        for argument_name, argument in self.arguments.items():
            name = argument_name.lstrip("-").lower().replace("-", "_")
            value = given.get(name, argument.default)
            if value is None and not argument_name.startswith("-"):
                raise ValueError(f"{name} is missing; add it to the JSON object in the body")
            values[name] = None if value is None else str(value)
        return values


def run_command(exchange: Exchange, request: Request) -> Response:
    """Run the command of POST /sandbox/COMMAND. Its arguments are the JSON object in the body.

    The response is `{"result": text or object}`, or `{"error": one line}` with status 400 or 404.
    """
    name = request.path.removeprefix(PREFIX)
    command = COMMANDS.get(name) if request.method == "POST" else None
    if command is None:
        response = Response(404, {"error": f"unknown command {request.method} {name}; send POST {PREFIX}COMMAND"})
    else:
        try:
            values = command.fill_in(request.body if isinstance(request.body, dict) else {})
            response = Response(200, {"result": command.run(exchange, values)})
        except ValueError as error:
            response = Response(400, {"error": str(error)})
    request.status = response.status
    return response


def _find_account(exchange: Exchange, values: Values) -> Account:
    """Return the account with the given name, or with the given API key, or the first account."""
    name, api_key = values["account"], values.get("api_key")
    for account in exchange.accounts:
        if name == account.name or (name is None and api_key in (None, account.api_key)):
            return account
    names = ", ".join(account.name for account in exchange.accounts)
    if name is not None:
        raise ValueError(f"unknown account {name}; the accounts are: {names}")
    raise ValueError(
        "no account has the API key in COINSWITCH_API_KEY; set it to a key that the sandbox printed, or use --account "
        f"with one of: {names}"
    )


def _state(exchange: Exchange, values: Values) -> Any:
    accounts = list(exchange.accounts) if values["account"] is None else [_find_account(exchange, values)]
    return {account.name: _account_state(account) for account in accounts}


def _account_state(account: Account) -> Any:
    return {
        "api_key": account.api_key,
        "leverage": dict(account.leverage),
        "positions": [f"{p.symbol} {p.side} {p.size}" for p in account.positions],
        "orders": [
            f"{o.symbol} {o.side} {o.quantity} at {o.trigger_price or o.price}, "
            f"{_format_time(o.created_at)}, {o.order_id}"
            for o in account.orders
        ],
    }


def _format_time(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(milliseconds / 1000))


def _on_account(method: str, done: str) -> Callable[[Exchange, Values], str]:
    """Return the function of a command that calls a method of an account with its arguments.

    `done` is the template of its result, with the arguments and the `result` of the method.
    """

    def run(exchange: Exchange, values: Values) -> str:
        account = _find_account(exchange, values)
        arguments = {name: value for name, value in values.items() if name not in ("account", "api_key")}
        result = getattr(account, method)(**arguments)
        shown = {name: value.upper() for name, value in arguments.items() if name in ("symbol", "side")}
        return f"{account.name}: {done.format_map({**arguments, **shown, 'result': result})}"

    return run


def _fault(exchange: Exchange, values: Values) -> str:
    endpoint, name, symbol = values["endpoint"], values["fault"], values["symbol"]
    times = parse_whole_number("times", values["times"], 0, 1_000_000)
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name}; '{PROGRAM} fault --help' lists the faults")
    if symbol is not None and symbol.upper() not in exchange.instruments:
        raise ValueError(f"unknown symbol {symbol}; use a listed symbol, such as BTCUSDT")
    exchange.add_fault(endpoint, FAULTS[name], times or None, symbol)
    count = {0: "all requests until clear-faults", 1: "the next request"}.get(times, f"the next {times} requests")
    return f"{endpoint}: {name} for {count}"


def _clear_faults(exchange: Exchange, _values: Values) -> str:
    exchange.clear_faults()
    return "all faults removed"


_SYMBOL = {"SYMBOL": Argument("symbol, such as BTCUSDT")}
# fmt: off
_ACCOUNT = {"--account": Argument(
    "account to act on (default: the account with the key $COINSWITCH_API_KEY; if that is not set, the first account)",
    metavar="NAME",
)}

COMMANDS: Mapping[str, Command] = {
    "state": Command(
        _state, "show the API key, leverages, open positions and open orders of all accounts, as YAML",
        {"--account": Argument("show only this account", metavar="NAME")}, ["state", "state --account beta"],
    ),
    "open-position": Command(
        _on_account("open_position", "{side} {size} {symbol} opened, position {result}"),
        "open a position, which blocks changes of the leverage of its symbol",
        {
            **_SYMBOL,
            "--side": Argument("side of the position, long or short", "long"),
            "--size": Argument("size in the base asset, such as BTC", "0.01"),
            "--leverage": Argument("leverage of the position (default: that of the symbol)"),
            **_ACCOUNT,
        },
        ["open-position BTCUSDT", "open-position ETHUSDT --side short --size 1.5"],
    ),
    "close-position": Command(
        _on_account("close_position", "{symbol} closed"), "close all open positions of a symbol",
        {**_SYMBOL, **_ACCOUNT}, ["close-position BTCUSDT"],
    ),
    "open-order": Command(
        _on_account("open_order", "{side} {quantity} {symbol} at {price} placed, order {result}"),
        "place an order, which blocks changes of the leverage of its symbol, and print its ID",
        {
            **_SYMBOL,
            "--side": Argument("side of the order, buy or sell", "buy"),
            "--quantity": Argument("quantity in the base asset", "0.01"),
            "--price": Argument("price in USDT; it triggers an order that is no limit order", "1000"),
            "--order-type": Argument(", ".join(ORDER_TYPES), "LIMIT", metavar="TYPE"),
            "--age-days": Argument("how long ago it was placed, in days", "0", metavar="DAYS"),
            **_ACCOUNT,
        },
        ["open-order BTCUSDT", "open-order ETHUSDT --side sell --age-days 9"],
    ),
    "cancel-order": Command(
        _on_account("cancel_order", "order {order_id} canceled"), "cancel an open order",
        {"ORDER_ID": Argument("ID of the order; the command state shows it"), **_ACCOUNT},
        ["cancel-order 7bc0ed9a-e39e-40d3-a2f4-5601bfbd54df"],
    ),
    "set-leverage": Command(
        _on_account("set_leverage", "{symbol} leverage {leverage}"),
        "set the leverage of a symbol, as another program would; limits, positions and orders do not prevent it",
        {**_SYMBOL, "LEVERAGE": Argument("leverage, a whole number from 1"), **_ACCOUNT}, ["set-leverage BTCUSDT 20"],
    ),
    "fault": Command(
        _fault, "make the next requests fail; of several faults for a request, the one that was added first is used",
        {
            "ENDPOINT": Argument('endpoint, see below; "*" is any endpoint'),
            "FAULT": Argument("what goes wrong, see below"),
            "--times": Argument("number of requests that fail; 0 is all until clear-faults", "1", metavar="COUNT"),
            "--symbol": Argument("only requests for this symbol fail (default: any symbol)"),
        },
        ["fault write_leverage timeout", "fault read_leverage 503 --times 3 --symbol BTCUSDT",
         'fault "*" 403-html --times 0'],
        {"endpoints": ENDPOINT_HELP,
         **{heading: {name: row[1] for name, row in rows.items()} for heading, rows in FAULT_TABLE.items()}},
    ),
    "clear-faults": Command(_clear_faults, "remove all faults", {}, ["clear-faults"]),
}
# fmt: on
