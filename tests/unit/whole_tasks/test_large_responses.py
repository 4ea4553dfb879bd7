# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The processor time for a response grows only with its size, whatever the exchange sends."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.redaction import Redactor
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.client import Client
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import CoinSwitchError
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import DAY_MS, Futures
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.pacing import Pacer
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.signing import KeyPair
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.transport import (
    MAX_RESPONSE_BYTES,
    Request,
    Response,
)

from ..plugins.module_utils.client_setup import API_KEY, NOW, SECRET_KEY, MemoryBudgets
from ..plugins.module_utils.linear_time import HOSTILE_TEXTS, assert_linear, fill

NOW_MS = int(NOW * 1000)
# The exchange has no larger response. The transport refuses it.
LARGEST = MAX_RESPONSE_BYTES
CALLS: dict[str, Callable[[Futures], object]] = {
    "get_leverage": lambda futures: futures.get_leverage("BTCUSDT"),
    "set_leverage": lambda futures: futures.set_leverage("BTCUSDT", 10),
    "get_instruments": lambda futures: futures.get_instruments(),
    "get_positions": lambda futures: futures.get_positions(),
    "get_open_orders": lambda futures: list(futures.get_open_orders(NOW_MS - DAY_MS)),
    "get_wallet": lambda futures: futures.get_wallet(),
    "get_server_time": lambda futures: futures.get_server_time(),
    "validate_keys": lambda futures: futures.validate_keys(),
}


class FixedTransport:
    """Answers each request with the same status and body, without a network."""

    def __init__(self, status: int, body: bytes) -> None:
        self._response = Response(status, {}, body)
        self.sent = True

    def __call__(self, request: Request) -> Response:
        return self._response


def create_futures(body: bytes, status: int = 200) -> Futures:
    transport: Any = FixedTransport(status, body)
    pacer = Pacer(MemoryBudgets(), 1.0, 600.0, lambda: NOW, lambda seconds: None)
    clean = Redactor([API_KEY, SECRET_KEY], ["hunter2"]).clean
    client = Client(
        transport, pacer, 0, lambda: KeyPair(True, False, False, False), clean, lambda: NOW, lambda seconds: None
    )
    return Futures(client, "EXCHANGE_2")


def create_rows(size: int) -> bytes:
    """Return a response of about `size` bytes whose rows have the fields of each endpoint."""
    row = {"symbol": "BTCUSDT", "base_asset": "USDT", "order_id": "1", "position_size": "0.10", "leverage": "10"}
    count = size // len(json.dumps(row))
    rows = [{**row, "order_id": str(number), "created_at": NOW_MS - number} for number in range(count)]
    return json.dumps({"data": rows}).encode()


def create_names(size: int) -> bytes:
    """Return a response of about `size` bytes that is an object of objects, as the list of instruments is."""
    entry = {"min_leverage": "1", "max_leverage": "25", "leverage_step": 1}
    count = size // (len(json.dumps(entry)) + 12)
    return json.dumps({"data": {f"C{number}USDT": entry for number in range(count)}}).encode()


LARGE_RESPONSES: dict[str, Callable[[int], bytes]] = {
    "rows": create_rows,
    "orders": lambda size: b'{"data": {"orders": %b}}' % create_rows(size)[9:-1],
    "balances": lambda size: b'{"data": {"base_asset_balances": %b}}' % create_rows(size)[9:-1],
    "names": create_names,
    "whole number": lambda size: b'{"data": %b}' % (b"1" * size),
    "whole numbers": lambda size: b'{"data": [%b1]}' % (b"1" * 4000 + b",") * (size // 4001),
    "fraction": lambda size: b'{"data": {"symbol": "BTCUSDT", "leverage": 1.%b}}' % (b"0" * size),
    "number in a text": lambda size: b'{"data": {"symbol": "BTCUSDT", "leverage": "%b"}}' % (b"1" * size),
    "time": lambda size: b'{"serverTime": "%b"}' % (b"1" * size),
    "symbol": lambda size: b'{"data": {"symbol": "%b"}}' % (b"a" * size),
}


@pytest.mark.parametrize("create", LARGE_RESPONSES.values(), ids=LARGE_RESPONSES)
def test_time_for_a_large_response_grows_only_with_its_size(create: Callable[[int], bytes]) -> None:
    def call_all(body: bytes) -> None:
        for call in CALLS.values():
            with suppress(CoinSwitchError):
                call(create_futures(body))

    assert_linear(call_all, create, LARGEST // 8, steps=40 * len(CALLS))


@pytest.mark.parametrize(
    ("call", "form"),
    [
        ("get_leverage", "number in a text"),
        ("set_leverage", "number in a text"),
        ("get_instruments", "names"),
        ("get_positions", "rows"),
        ("get_open_orders", "orders"),
        ("get_wallet", "balances"),
        ("get_server_time", "time"),
        ("validate_keys", "symbol"),
    ],
)
def test_time_for_the_largest_response_of_an_endpoint_grows_only_with_its_size(call: str, form: str) -> None:
    assert_linear(lambda body: CALLS[call](create_futures(body)), LARGE_RESPONSES[form], LARGEST)


@pytest.mark.parametrize("text", HOSTILE_TEXTS)
@pytest.mark.parametrize("status", [200, 400])
@pytest.mark.parametrize("form", ["text", "message", "value"])
def test_time_for_a_hostile_text_grows_only_with_its_size(form: str, status: int, text: str) -> None:
    def create_body(size: int) -> bytes:
        content = fill(text, size)
        values: dict[str, Any] = {"message": {"message": content}, "value": {"data": [content]}}
        return content.encode("utf-8", "surrogatepass") if form == "text" else json.dumps(values[form]).encode()

    assert_linear(lambda body: create_futures(body, status).get_leverage("BTCUSDT"), create_body, 128 << 10)
