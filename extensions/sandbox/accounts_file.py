# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accounts to begin with, from a YAML file; README.md beside this file shows one."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml

from .accounts import Account
from .exchange import Exchange
from .signatures import seed_from_name

DAY = 86_400_000


def load(exchange: Exchange, path: Path) -> None:
    """Open the file's accounts and list its instruments. OSError or ValueError, of one line, where it cannot."""
    try:
        fill(exchange, yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def fill(exchange: Exchange, document: Any) -> None:
    """Carry the file's content into the exchange. ValueError where it has another form."""
    content = _record(document, "the file", {"accounts"}, {"instruments"})
    for symbol, fields in _mapping(content.get("instruments"), "instruments").items():
        exchange.list_instrument(symbol, **_mapping(fields, symbol))
    for row in _rows(content["accounts"], "accounts"):
        record = _record(row, "an account", {"name"}, {"seed", "leverage", "positions", "orders"})
        account = exchange.open_account(record["name"], _seed(record))
        try:
            _fill_account(exchange, account, record)
        except ValueError as error:
            raise ValueError(f"account {account.name}: {error}") from error
    if not exchange.accounts:
        raise ValueError("accounts is empty")


def _fill_account(exchange: Exchange, account: Account, record: dict[str, Any]) -> None:
    for symbol, leverage in _mapping(record.get("leverage"), "leverage").items():
        if not isinstance(leverage, int) or isinstance(leverage, bool):
            raise ValueError(f"leverage of {symbol} is no whole number")
        account.set_leverage(symbol, leverage)
    for row in _rows(record.get("positions"), "positions"):
        position = _record(row, "a position", {"symbol", "side", "size"})
        account.open_position(**_as_text(position))
    for row in _rows(record.get("orders"), "orders"):
        order = _record(row, "an order", {"symbol", "side", "quantity", "price"}, {"age_days"})
        created_at = int(exchange.clock() * 1000 - float(order.pop("age_days", 0)) * DAY)
        account.open_order(**_as_text(order), created_at=created_at)


def _seed(record: dict[str, Any]) -> bytes:
    name, seed = record["name"], record.get("seed")
    if not isinstance(name, str):
        raise ValueError("the name of an account is text")
    if seed is None:
        return seed_from_name(name)
    if not isinstance(seed, str) or len(seed) != 64:
        raise ValueError(f"account {name}: the seed is 64 hex characters, in quotes")
    return bytes.fromhex(seed)


def _as_text(record: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in record.items()}


def _rows(value: Any, what: str) -> list[Any]:
    if not isinstance(value or [], list):
        raise ValueError(f"{what} is no list")
    return value or []


def _mapping(value: Any, what: str) -> dict[str, Any]:
    if not isinstance(value or {}, dict):
        raise ValueError(f"{what} is no mapping")
    return {str(key): entry for key, entry in (value or {}).items()}


def _record(value: Any, what: str, required: Collection[str], optional: Collection[str] = ()) -> dict[str, Any]:
    record = _mapping(value, what)
    for name in required:
        if name not in record:
            raise ValueError(f"{what} has no {name}")
    for name in record:
        if name not in required and name not in optional:
            raise ValueError(f"{what} has no use for {name}")
    return record
