# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An exchange whose clocks stand still unless a test moves them, and ways to ask it, with and without sockets."""

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
from sandbox.faults import Answer

NOW = 1_700_000_000.0


class Clocks:
    """Both clocks of the exchange under test, in seconds."""

    def __init__(self) -> None:
        self.unix = NOW
        self.monotonic = 6000.0

    def advance(self, seconds: float) -> None:
        self.unix += seconds
        self.monotonic += seconds


def signed_request(account: Account, epoch: str, method: str, path: str, fields: dict[str, Any]) -> Request:
    """What a client would send: fields as query where the method is GET, else as JSON body."""
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
def request_of(account: Account, clocks: Clocks) -> Callable[..., Request]:
    """(method, path, fields) to a request signed by the account or another holder; the path after /trade/api/v2."""

    def build(method: str, path: str, holder: Account = account, epoch: str | None = None, **fields: Any) -> Request:
        epoch = str(int(clocks.unix * 1000)) if epoch is None else epoch
        return signed_request(holder, epoch, method, f"/trade/api/v2{path}", fields)

    return build


@pytest.fixture
def ask(exchange: Exchange, request_of: Callable[..., Request]) -> Callable[..., Answer]:
    """Ask the exchange without a server, the exchange's name filled in."""

    def send(method: str, path: str, **fields: Any) -> Answer:
        return exchange.handle(request_of(method, path, **{"exchange": "EXCHANGE_2", **fields}))[0]

    return send


@pytest.fixture
def served(exchange: Exchange) -> Iterator[Sandbox]:
    """A server whose waits take no time."""

    class Hasty(Sandbox):
        def wait(self, seconds: float) -> None:
            super().wait(0)

    with Hasty(exchange) as sandbox:
        yield sandbox


def connected(sandbox: Sandbox) -> AbstractContextManager[http.client.HTTPConnection]:
    return closing(http.client.HTTPConnection(sandbox.url.removeprefix("http://"), timeout=30))


@pytest.fixture
def dial() -> Callable[[Sandbox], AbstractContextManager[http.client.HTTPConnection]]:
    """A new connection to a server; it ends with its context."""
    return connected


@pytest.fixture
def connection(served: Sandbox) -> Iterator[http.client.HTTPConnection]:
    with connected(served) as connection:
        yield connection


@pytest.fixture
def fetch(
    connection: http.client.HTTPConnection, request_of: Callable[..., Request]
) -> Callable[..., http.client.HTTPResponse]:
    """Ask over HTTP: the answer before its body is read."""

    def send(method: str, path: str, **fields: Any) -> http.client.HTTPResponse:
        request = request_of(method, path, **{"exchange": "EXCHANGE_2", **fields})
        body = None if request.body is None else json.dumps(request.body)
        connection.request(method, request.target, body, dict(request.headers))
        return connection.getresponse()

    return send
