# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The exchange on a port: what is true of the sockets alone."""

from __future__ import annotations

import datetime
import gzip
import http.client
import ipaddress
import json
import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sandbox import FAULTS, Account, Exchange, Fault, Request, Sandbox

Fetch = Callable[..., http.client.HTTPResponse]
Dial = Callable[[Sandbox], AbstractContextManager[http.client.HTTPConnection]]
RequestOf = Callable[..., Request]
WRITE: tuple[str, str] = ("POST", "/futures/leverage")
READ: tuple[str, str] = ("GET", "/futures/leverage")
TIME = b"GET /trade/api/v2/time HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def raw(served: Sandbox) -> Callable[[bytes], bytes]:
    """Send bytes on a new connection and read until the server closes it, or up to 4 MB."""

    def send(data: bytes) -> bytes:
        host, port = served.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            received = b""
            while len(received) < 4_000_000 and (part := client.recv(1 << 16)):
                received += part
            return received

    return send


Raw = Callable[[bytes], bytes]


def test_a_signed_change_and_its_reading(
    fetch: Fetch, account: Account, connection: http.client.HTTPConnection
) -> None:
    with fetch(*WRITE, symbol="BTCUSDT", leverage=13) as answer:
        assert (answer.status, json.load(answer)["data"]["leverage"]) == (200, "13")
    first = connection.sock
    with fetch(*READ, symbol="BTCUSDT") as answer:
        assert json.load(answer)["data"]["leverage"] == "13"
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert connection.sock is first
    assert account.leverage == {"BTCUSDT": 13}


def test_a_request_is_kept_as_it_came(fetch: Fetch, exchange: Exchange) -> None:
    with fetch(*READ, symbol="BTCUSDT"):
        (request,) = exchange.requests
    assert (request.method, request.path) == ("GET", "/trade/api/v2/futures/leverage")
    assert request.query == {"exchange": "EXCHANGE_2", "symbol": "BTCUSDT"}
    assert (request.body, request.address, request.status) == (None, "127.0.0.1", 200)
    assert request.headers["host"].startswith("127.0.0.1:")


@pytest.mark.parametrize("body", ["{", '"' * 3, "[" * 100_000])
def test_a_body_that_is_no_json_is_malformed(dial: Dial, served: Sandbox, request_of: RequestOf, body: str) -> None:
    request = request_of(*WRITE)
    with dial(served) as connection:
        connection.request("POST", request.target, body, dict(request.headers))
        assert connection.getresponse().status == 400


@pytest.mark.parametrize("length", ["much", "-1", "9999999999"])
def test_a_length_beyond_reason_is_refused(raw: Raw, exchange: Exchange, length: str) -> None:
    sent = f"POST /trade/api/v2/futures/leverage HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"
    assert raw(sent.encode()).startswith(b"HTTP/1.1 413 ")
    assert exchange.requests == []


def test_it_is_a_proxy_to_itself(raw: Raw, served: Sandbox) -> None:
    target = f"{served.url}/trade/api/v2/time".encode()
    assert raw(TIME.replace(b"/trade/api/v2/time", target)).startswith(b"HTTP/1.1 200 OK\r\n")


def test_a_port_that_is_taken(served: Sandbox) -> None:
    with pytest.raises(OSError, match="in use"):
        Sandbox(Exchange(), port=int(served.url.rsplit(":", 1)[1]))


def test_the_log_gets_each_request_decided(dial: Dial, exchange: Exchange, request_of: RequestOf) -> None:
    logged: list[tuple[str | None, int | None]] = []
    with Sandbox(exchange, log=lambda request: logged.append((request.endpoint, request.status))) as sandbox:
        exchange.add_fault("time", FAULTS["drop-after"])
        for expected in (None, 200):
            with dial(sandbox) as connection:
                connection.request("GET", request_of("GET", "/time").target)
                if expected:
                    assert connection.getresponse().status == expected
                else:
                    with pytest.raises(http.client.RemoteDisconnected):
                        connection.getresponse()
    assert logged == [("time", None), ("time", 200)]


@pytest.mark.parametrize("name", FAULTS)
def test_every_named_fault_is_served(
    exchange: Exchange, account: Account, fetch: Fetch, connection: http.client.HTTPConnection, name: str
) -> None:
    """Whatever goes out, the work is done or not as the fault says, and the next request is answered as usual."""
    fault = FAULTS[name]
    exchange.add_fault("write_leverage", fault)
    try:
        with fetch(*WRITE, symbol="BTCUSDT", leverage=13) as answer:
            answer.read(3_000_000)
        assert answer.status == (401 if fault.skew else fault.status or (307 if fault.redirect else 200))
    except http.client.HTTPException:
        assert fault.drop
    in_force = 13 if fault.works and not fault.skew else 10
    connection.close()
    with fetch(*READ, symbol="BTCUSDT") as answer:
        assert json.load(answer)["data"]["leverage"] == str(in_force)
    assert account.leverage == ({} if in_force == 10 else {"BTCUSDT": 13})


def test_dropped_before_and_after(exchange: Exchange, raw: Raw) -> None:
    for name in ("drop-before", "drop-after"):
        exchange.add_fault("*", FAULTS[name])
        assert raw(TIME) == b""
    assert [request.status for request in exchange.requests] == [None, None]


def test_cut_in_the_body(exchange: Exchange, raw: Raw) -> None:
    exchange.add_fault("*", FAULTS["cut-body"])
    head, _separator, body = raw(TIME).partition(b"\r\n\r\n")
    assert b"Content-Length: 29" in head
    assert b'{"serverTime": 1700000000000}'.startswith(body)
    assert len(body) == 14


def test_answered_twice(exchange: Exchange, raw: Raw) -> None:
    exchange.add_fault("*", FAULTS["twice"])
    received = raw(TIME)
    assert received[: len(received) // 2] * 2 == received
    assert received.count(b"HTTP/1.1 200 OK") == 2


def test_padded(exchange: Exchange, raw: Raw) -> None:
    exchange.add_fault("*", Fault(size=100_000))
    head, _separator, body = raw(TIME).partition(b"\r\n\r\n")
    assert b"Content-Length: 100000" in head
    assert len(body) == 100_000
    assert json.loads(body) == {"serverTime": 1_700_000_000_000}


def test_without_end(exchange: Exchange, raw: Raw) -> None:
    exchange.add_fault("*", FAULTS["endless"])
    received = raw(TIME)
    assert b"Transfer-Encoding: chunked" in received
    assert len(received) >= 4_000_000


def test_a_bomb_unpacks_to_its_size(exchange: Exchange, fetch: Fetch) -> None:
    exchange.add_fault("*", Fault(size=10_000_000, gzip=True))
    with fetch("GET", "/time") as answer:
        packed = answer.read()
        assert answer.headers["Content-Encoding"] == "gzip"
    assert len(packed) < 20_000
    assert len(gzip.decompress(packed)) == 10_000_000


@pytest.mark.parametrize(("part", "at_least", "at_most"), [("headers", 100, 250), ("body", 29, 29)])
def test_dripping_waits_between_bytes(
    dial: Dial, exchange: Exchange, request_of: RequestOf, part: str, at_least: int, at_most: int
) -> None:
    waits: list[float] = []

    class Counting(Sandbox):
        def wait(self, seconds: float) -> None:
            waits.append(seconds)

    exchange.add_fault("*", Fault(drip=7.0, drip_in="headers" if part == "headers" else "body"))
    with Counting(exchange) as sandbox, dial(sandbox) as connection:
        connection.request("GET", request_of("GET", "/time").target)
        assert json.load(connection.getresponse()) == {"serverTime": 1_700_000_000_000}
    assert at_least <= waits.count(7.0) <= at_most


@pytest.mark.parametrize(("late", "before"), [(False, {"BTCUSDT": 13}), (True, {})])
def test_a_delay_before_or_after_the_work(
    dial: Dial, exchange: Exchange, account: Account, request_of: RequestOf, late: bool, before: dict[str, int]
) -> None:
    waiting, go_on = threading.Event(), threading.Event()

    class Held(Sandbox):
        def wait(self, seconds: float) -> None:
            if seconds:
                waiting.set()
                go_on.wait()

    request = request_of(*WRITE, symbol="BTCUSDT", exchange="EXCHANGE_2", leverage=13)
    exchange.add_fault("write_leverage", Fault(delay=5.0, late=late))
    with Held(exchange) as sandbox, dial(sandbox) as connection:
        connection.request("POST", request.target, json.dumps(request.body), dict(request.headers))
        waiting.wait()
        assert account.leverage == before
        go_on.set()
        assert connection.getresponse().status == 200
    assert account.leverage == {"BTCUSDT": 13}


@pytest.mark.parametrize("name", ["timeout", "late", "slow-headers", "slow-body", "endless"])
def test_it_ends_whatever_it_is_doing(
    dial: Dial, exchange: Exchange, account: Account, request_of: RequestOf, name: str
) -> None:
    decided = threading.Event()
    request = request_of(*WRITE, symbol="BTCUSDT", exchange="EXCHANGE_2", leverage=13)

    class Telling(Sandbox):
        def wait(self, seconds: float) -> None:
            if seconds:
                decided.set()
            super().wait(seconds)

    exchange.add_fault("write_leverage", FAULTS[name])
    threads = threading.enumerate()
    with (
        Telling(exchange, log=lambda _line: None if FAULTS[name].delay else decided.set()) as sandbox,
        dial(sandbox) as connection,
    ):
        connection.request("POST", request.target, json.dumps(request.body), dict(request.headers))
        decided.wait()
        sandbox.__exit__()
        assert threading.enumerate() == threads
    assert account.leverage == ({} if FAULTS[name].late else {"BTCUSDT": 13})


def test_a_client_that_goes_away_is_no_error(
    exchange: Exchange, served: Sandbox, raw: Raw, capfd: pytest.CaptureFixture[str]
) -> None:
    exchange.add_fault("*", FAULTS["endless"])
    raw(TIME)
    assert raw(TIME).startswith(b"HTTP/1.1 200 OK")
    served.__exit__()
    assert capfd.readouterr() == ("", "")


def test_a_mistake_in_the_sandbox_is_reported(
    exchange: Exchange, served: Sandbox, raw: Raw, capfd: pytest.CaptureFixture[str]
) -> None:
    exchange.add_fault("*", Fault(transform=lambda value: value["nothing"]))
    assert raw(TIME) == b""
    served.__exit__()
    assert "KeyError: 'nothing'" in capfd.readouterr().err


def _certificate(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "certificate.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return pem


def test_tls(exchange: Exchange, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pem = _certificate(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pem)
    with Sandbox(exchange, tls=tls) as sandbox:
        assert sandbox.url.startswith("https://127.0.0.1:")
        address = sandbox.url.removeprefix("https://")
        trusting = ssl.create_default_context(cafile=str(pem))
        for context, trusts in ((ssl.create_default_context(), False), (trusting, True)):
            with closing(http.client.HTTPSConnection(address, context=context, timeout=30)) as connection:
                if trusts:
                    connection.request("GET", "/trade/api/v2/time")
                    assert json.load(connection.getresponse()) == {"serverTime": 1_700_000_000_000}
                else:
                    with pytest.raises(ssl.SSLCertVerificationError):
                        connection.request("GET", "/trade/api/v2/time")
    assert capfd.readouterr() == ("", "")
