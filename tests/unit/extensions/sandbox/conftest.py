# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures: an exchange with simulated clocks, and functions that send requests with and without sockets."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlencode

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

sys.path.insert(0, str(Path(__file__).resolve().parents[4] / "extensions"))

from sandbox import Account, Exchange, Request, Sandbox
from sandbox.faults import Response

NOW = 1_700_000_000.0


class Clocks:
    """The simulated clocks of the exchange, in seconds. They move only by `advance`."""

    def __init__(self) -> None:
        self.unix = NOW
        self.monotonic = 6000.0

    def advance(self, seconds: float) -> None:
        self.unix += seconds
        self.monotonic += seconds


def signed_request(account: Account, epoch: str, method: str, path: str, fields: dict[str, Any]) -> Request:
    """Return a signed request as a client would send it: with the fields in the query of a GET, or in a JSON body."""
    is_get = method == "GET"
    target = f"{path}?{urlencode(fields)}" if is_get and fields else path
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(account.secret_key))
    return Request(
        method=method,
        path=path,
        query={name: str(value) for name, value in fields.items()} if is_get else {},
        body=None if is_get else fields,
        headers={
            "x-auth-apikey": account.api_key,
            "x-auth-epoch": epoch,
            "x-auth-signature": key.sign((method + unquote_plus(target) + epoch).encode()).hex(),
        },
        target=target,
    )


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def advance(clocks: Clocks) -> Callable[[float], None]:
    return clocks.advance


@pytest.fixture
def exchange(clocks: Clocks) -> Exchange:
    return Exchange(clock=lambda: clocks.unix, monotonic=lambda: clocks.monotonic)


@pytest.fixture
def account(exchange: Exchange) -> Account:
    return exchange.open_account(seed=bytes(range(32)))


@pytest.fixture
def build_request(account: Account, clocks: Clocks) -> Callable[..., Request]:
    """Return a function that builds a signed request. The path is relative to /trade/api/v2."""

    def build(method: str, path: str, signer: Account = account, epoch: str | None = None, **fields: Any) -> Request:
        epoch = str(int(clocks.unix * 1000)) if epoch is None else epoch
        return signed_request(signer, epoch, method, f"/trade/api/v2{path}", fields)

    return build


@pytest.fixture
def send(exchange: Exchange, build_request: Callable[..., Request]) -> Callable[..., Response]:
    """Return a function that sends a request without a server, and adds the parameter `exchange`."""

    def send_request(method: str, path: str, **fields: Any) -> Response:
        return exchange.handle(build_request(method, path, **{"exchange": "EXCHANGE_2", **fields}))[0]

    return send_request


@pytest.fixture
def sandbox(exchange: Exchange) -> Iterator[Sandbox]:
    """A server that does not wait."""

    class SandboxWithoutWaits(Sandbox):
        def wait(self, seconds: float) -> None:
            super().wait(0)

    with SandboxWithoutWaits(exchange) as sandbox:
        yield sandbox


def open_connection(sandbox: Sandbox) -> AbstractContextManager[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection(sandbox.url.removeprefix("http://"), timeout=30))


@pytest.fixture
def connect() -> Callable[[Sandbox], AbstractContextManager[http.client.HTTPConnection]]:
    """Return a function that opens a new connection to a server."""
    return open_connection


@pytest.fixture
def connection(sandbox: Sandbox) -> Iterator[http.client.HTTPConnection]:
    with open_connection(sandbox) as connection:
        yield connection


@pytest.fixture
def send_http(
    connection: http.client.HTTPConnection, build_request: Callable[..., Request]
) -> Callable[..., http.client.HTTPResponse]:
    """Return a function that sends a request over HTTP. The body of the response is not read yet."""

    def send_request(method: str, path: str, **fields: Any) -> http.client.HTTPResponse:
        request = build_request(method, path, **{"exchange": "EXCHANGE_2", **fields})
        body = None if request.body is None else json.dumps(request.body)
        connection.request(method, request.target, body, dict(request.headers))
        return connection.getresponse()

    return send_request
