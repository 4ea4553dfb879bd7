# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands that change a running sandbox: POST requests to /sandbox/COMMAND on its port."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .accounts import Account, parse_age_days
from .exchange import Exchange, Request
from .faults import FAULTS, Answer

PREFIX = "/sandbox/"
SECONDS_PER_DAY = 86_400


def run_command(exchange: Exchange, request: Request) -> Answer:
    """Run the command of POST /sandbox/COMMAND. Its arguments are the JSON object in the body.

    The answer is `{"result": text or object}`, or `{"error": one line}` with status 400 or 404.
    """
    name = request.path.removeprefix(PREFIX)
    command = COMMANDS.get(name) if request.method == "POST" else None
    arguments = request.body if isinstance(request.body, dict) else {}
    if command is None:
        answer = Answer(404, {"error": f"unknown command {request.method} {name}; send POST {PREFIX}COMMAND"})
    else:
        answer = _call(command, exchange, arguments)
    request.status = answer.status
    return answer


def _call(command: Command, exchange: Exchange, arguments: Mapping[str, Any]) -> Answer:
    try:
        return Answer(200, {"result": command(exchange, arguments)})
    except KeyError as missing:
        return Answer(400, {"error": f"{missing.args[0]} is missing; add it to the JSON object in the body"})
    except (TypeError, ValueError) as error:
        return Answer(400, {"error": str(error)})


def _find_account(exchange: Exchange, arguments: Mapping[str, Any]) -> Account:
    """Return the account with the given name, or with the given API key, or the first account."""
    name, api_key = arguments.get("account"), arguments.get("api_key")
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


def _parse_integer(arguments: Mapping[str, Any], name: str, default: int | None = None) -> int:
    value = arguments[name] if default is None else arguments.get(name, default)
    try:
        return int(value)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be a whole number, not {value}") from None


def _state(exchange: Exchange, _arguments: Mapping[str, Any]) -> Any:
    return {account.name: _account_state(account) for account in list(exchange.accounts)}


def _account_state(account: Account) -> Any:
    return {
        "api_key": account.api_key,
        "leverage": dict(account.leverage),
        "positions": [f"{p.symbol} {p.side} {p.size}" for p in account.positions],
        "orders": [
            f"{o.symbol} {o.side} {o.quantity} at {o.price}, {_format_time(o.created_at)}, {o.order_id}"
            for o in account.orders
        ],
    }


def _format_time(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(milliseconds / 1000))


def _open_position(exchange: Exchange, arguments: Mapping[str, Any]) -> str:
    account = _find_account(exchange, arguments)
    symbol, side, size = (str(arguments[name]) for name in ("symbol", "side", "size"))
    position_id = account.open_position(symbol, side, size)
    return f"{account.name}: {side.upper()} {size} {symbol.upper()} opened, position {position_id}"


def _close_position(exchange: Exchange, arguments: Mapping[str, Any]) -> str:
    account = _find_account(exchange, arguments)
    symbol = str(arguments["symbol"])
    account.close_position(symbol)
    return f"{account.name}: {symbol.upper()} closed"


def _open_order(exchange: Exchange, arguments: Mapping[str, Any]) -> str:
    account = _find_account(exchange, arguments)
    symbol, side, quantity, price = (str(arguments[name]) for name in ("symbol", "side", "quantity", "price"))
    age_days = parse_age_days(arguments.get("age_days", 0))
    created_at = int((exchange.clock() - age_days * SECONDS_PER_DAY) * 1000)
    order_id = account.open_order(symbol, side, quantity, price, created_at)
    return f"{account.name}: {side.upper()} {quantity} {symbol.upper()} at {price} placed, order {order_id}"


def _cancel_order(exchange: Exchange, arguments: Mapping[str, Any]) -> str:
    account = _find_account(exchange, arguments)
    order_id = str(arguments["order_id"])
    account.cancel_order(order_id)
    return f"{account.name}: order {order_id} canceled"


def _set_leverage(exchange: Exchange, arguments: Mapping[str, Any]) -> str:
    account = _find_account(exchange, arguments)
    symbol, leverage = str(arguments["symbol"]), _parse_integer(arguments, "leverage")
    account.set_leverage(symbol, leverage)
    return f"{account.name}: {symbol.upper()} leverage {leverage}"


def _fault(exchange: Exchange, arguments: Mapping[str, Any]) -> str:
    endpoint, name, times = str(arguments["endpoint"]), str(arguments["fault"]), _parse_integer(arguments, "times", 1)
    if name not in FAULTS:
        raise ValueError(f"unknown fault {name}; 'python3 extensions/sandbox fault --help' lists the faults")
    exchange.add_fault(endpoint, FAULTS[name], times or None, arguments.get("symbol"))
    count = {0: "all requests until clear-faults", 1: "the next request"}.get(times, f"the next {times} requests")
    return f"{endpoint}: {name} for {count}"


def _clear_faults(exchange: Exchange, _arguments: Mapping[str, Any]) -> str:
    exchange.clear_faults()
    return "all faults removed"


Command = Callable[[Exchange, Mapping[str, Any]], Any]
COMMANDS: Mapping[str, Command] = {
    "state": _state,
    "open-position": _open_position,
    "close-position": _close_position,
    "open-order": _open_order,
    "cancel-order": _cancel_order,
    "set-leverage": _set_leverage,
    "fault": _fault,
    "clear-faults": _clear_faults,
}
