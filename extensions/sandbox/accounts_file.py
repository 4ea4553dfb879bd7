# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accounts file: the accounts and instruments to start with, in YAML. README.md in this folder shows an example."""

from __future__ import annotations

import math
import re
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Any

import yaml

from .accounts import Account, parse_number
from .exchange import Exchange
from .signatures import derive_seed


def load_accounts(exchange: Exchange, path: Path) -> None:
    """Open the accounts and list the instruments of a file.

    Raises:
        OSError: The file cannot be read.
        ValueError: The content of the file is wrong. The message is one line.
    """
    try:
        fill_exchange(exchange, yaml.safe_load(path.read_text(encoding="utf-8")))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def fill_exchange(exchange: Exchange, document: Any) -> None:
    """Open the accounts and list the instruments of a parsed file. Raises ValueError if its content is wrong."""
    content = _check_keys(document, "the file", {"accounts"}, {"instruments"})
    for symbol, fields in _check_mapping(content.get("instruments"), "instruments").items():
        exchange.list_instrument(symbol, **_check_limits(_check_mapping(fields, symbol), symbol))
    for row in _check_list(content["accounts"], "accounts"):
        record = _check_keys(row, "an account", {"name"}, {"seed", "balance", "leverage", "positions", "orders"})
        account = exchange.open_account(record["name"], _read_seed(record))
        try:
            _fill_account(account, record)
        except ValueError as error:
            raise ValueError(f"account {account.name}: {error}") from error
    if not exchange.accounts:
        raise ValueError("accounts must have at least one account")


def _check_limits(fields: dict[str, Any], symbol: str) -> dict[str, Any]:
    """Return the fields of an instrument whose limits and step are numbers."""
    for name in ("min_leverage", "max_leverage", "leverage_step"):
        if not parse_number(fields.get(name, 1), 0, math.inf):
            raise ValueError(f"{name} of {symbol} must be a number above 0, not {fields[name]!r}")
    return fields


def _fill_account(account: Account, record: dict[str, Any]) -> None:
    balance = str(record.get("balance", account.balance))
    if parse_number(balance, 0, math.inf) is None:
        raise ValueError(f"balance must be a number from 0, not {balance}")
    account.balance = Decimal(balance)
    for symbol, leverage in _check_mapping(record.get("leverage"), "leverage").items():
        account.set_leverage(symbol, leverage)
    for row in _check_list(record.get("positions"), "positions"):
        position = _check_keys(row, "a position", {"symbol", "side", "size"}, {"leverage"})
        account.open_position(**_convert_to_text(position))
    for row in _check_list(record.get("orders"), "orders"):
        order = _check_keys(row, "an order", {"symbol", "side", "quantity", "price"}, {"age_days", "order_type"})
        account.open_order(**_convert_to_text(order))


def _read_seed(record: dict[str, Any]) -> bytes:
    name, seed = record["name"], record.get("seed")
    if not isinstance(name, str):
        raise ValueError(f"the name of an account must be text, not {name!r}; put it in quotes")
    if seed is None:
        return derive_seed(name)
    if not isinstance(seed, str) or not re.fullmatch("[0-9A-Fa-f]{64}", seed):
        raise ValueError(f"account {name}: the seed must be 64 hexadecimal characters in quotes")
    return bytes.fromhex(seed)


def _convert_to_text(record: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) for name, value in record.items()}


def _check_list(value: Any, name: str) -> list[Any]:
    if not isinstance(value or [], list):
        raise ValueError(f"{name} must be a list")
    return value or []


def _check_mapping(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value or {}, dict):
        raise ValueError(f"{name} must be a mapping")
    return {str(key): entry for key, entry in (value or {}).items()}


def _check_keys(value: Any, name: str, required: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    """Return a mapping that has all required keys, and no keys that are neither required nor optional."""
    record, known = _check_mapping(value, name), sorted({*required, *optional})
    for key in required:
        if key not in record:
            raise ValueError(f"{name} must have the key {key}")
    for key in record:
        if key not in known:
            raise ValueError(f"{name} has the unknown key {key}; its keys are: {', '.join(known)}")
    return record
