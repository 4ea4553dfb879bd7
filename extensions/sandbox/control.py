# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a person does to a running exchange from another terminal: commands under /sandbox/ on its own port."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from .accounts import Account
from .exchange import Exchange, Request
from .faults import FAULTS, Answer

PREFIX = "/sandbox/"
DAY = 86_400


def answer(exchange: Exchange, request: Request) -> Answer:
    """Carry out POST /sandbox/COMMAND with a JSON object of arguments.

    `{"result": text or object}`, else status 400 and `{"error": one line}`.
    """
    command = COMMANDS.get(request.path.removeprefix(PREFIX)) if request.method == "POST" else None
    arguments = request.body if isinstance(request.body, dict) else {}
    if command is None:
        outcome = Answer(404, {"error": "there is no such command"})
    else:
        outcome = _carried_out(command, exchange, arguments)
    request.status = outcome.status
    return outcome


def _carried_out(command: Command, exchange: Exchange, arguments: Mapping[str, Any]) -> Answer:
    try:
        return Answer(200, {"result": command(exchange, arguments)})
    except KeyError as missing:
        return Answer(400, {"error": f"{missing.args[0]} is missing"})
    except (TypeError, ValueError) as error:
        return Answer(400, {"error": str(error)})


def _account(exchange: Exchange, arguments: Mapping[str, Any]) -> Account:
    """The account named, else the one with the API key given, else the first."""
    name, api_key = arguments.get("account"), arguments.get("api_key")
    for account in exchange.accounts:
        if name == account.name or (name is None and api_key in (None, account.api_key)):
            return account
    wanted = f"account {name}" if name is not None else "account with this API key"
    raise ValueError(f"there is no {wanted}; there are {', '.join(account.name for account in exchange.accounts)}")


def _state(exchange: Exchange, _arguments: Mapping[str, Any]) -> Any:
    return {account.name: _account_state(account) for account in list(exchange.accounts)}


def _account_state(account: Account) -> Any:
    return {
        "api_key": account.api_key,
        "leverage": dict(account.leverage),
        "positions": [f"{p.symbol} {p.side} {p.size}" for p in account.positions],
        "orders": [
            f"{o.symbol} {o.side} {o.quantity} at {o.price}, {_date(o.created_at)}, {o.order_id}"
            for o in account.orders
        ],
    }


def _date(milliseconds: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ", time.gmtime(milliseconds / 1000))


def _open_position(exchange: Exchange, arguments: Mapping[str, Any]) -> str:
    account = _account(exchange, arguments)
    symbol, side, size = (str(arguments[name]) for name in ("symbol", "side", "size"))
    position_id = account.open_position(symbol, side, size)
    return f"{account.name}: {side.upper()} {size} {symbol.upper()} opened, position {position_id}"


def _close_position(exchange: Exchange, arguments: Mapping[str, Any]) -> str:
    account = _account(exchange, arguments)
    symbol = str(arguments["symbol"])
    account.close_position(symbol)
    return f"{account.name}: {symbol.upper()} closed"


def _open_order(exchange: Exchange, arguments: Mapping[str, Any]) -> str:
    account = _account(exchange, arguments)
    symbol, side, quantity, price = (str(arguments[name]) for name in ("symbol", "side", "quantity", "price"))
    created_at = int((exchange.clock() - float(arguments.get("age_days", 0)) * DAY) * 1000)
    order_id = account.open_order(symbol, side, quantity, price, created_at)
    return f"{account.name}: {side.upper()} {quantity} {symbol.upper()} at {price} placed, order {order_id}"


def _cancel_order(exchange: Exchange, arguments: Mapping[str, Any]) -> str:
    account = _account(exchange, arguments)
    order_id = str(arguments["order_id"])
    account.cancel_order(order_id)
    return f"{account.name}: order {order_id} cancelled"


def _set_leverage(exchange: Exchange, arguments: Mapping[str, Any]) -> str:
    account = _account(exchange, arguments)
    symbol, leverage = str(arguments["symbol"]), int(arguments["leverage"])
    account.set_leverage(symbol, leverage)
    return f"{account.name}: {symbol.upper()} leverage {leverage}"


def _fault(exchange: Exchange, arguments: Mapping[str, Any]) -> str:
    endpoint, name, times = str(arguments["endpoint"]), str(arguments["fault"]), int(arguments.get("times", 1))
    if name not in FAULTS:
        raise ValueError(f"there is no fault {name}; the help of this command lists them")
    exchange.add_fault(endpoint, FAULTS[name], times or None, arguments.get("symbol"))
    return f"{endpoint}: {name}, {f'{times} time(s)' if times else 'until cleared'}"


def _clear_faults(exchange: Exchange, _arguments: Mapping[str, Any]) -> str:
    exchange.clear_faults()
    return "no fault is left"


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
