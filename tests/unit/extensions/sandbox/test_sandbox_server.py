# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server: HTTP connections, and the faults that need a socket."""

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

SendHttp = Callable[..., http.client.HTTPResponse]
Connect = Callable[[Sandbox], AbstractContextManager[http.client.HTTPConnection]]
BuildRequest = Callable[..., Request]
WRITE: tuple[str, str] = ("POST", "/futures/leverage")
READ: tuple[str, str] = ("GET", "/futures/leverage")
TIME = b"GET /trade/api/v2/time HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture
def send_raw(sandbox: Sandbox) -> Callable[[bytes], bytes]:
    """Return a function that sends bytes on a new connection, and reads until the server closes it, or up to 4 MB."""

    def send_bytes(data: bytes) -> bytes:
        host, port = sandbox.url.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=30) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            received = b""
            while len(received) < 4_000_000 and (part := client.recv(1 << 16)):
                received += part
            return received

    return send_bytes


SendRaw = Callable[[bytes], bytes]


def test_write_and_read_use_one_connection(
    send_http: SendHttp, account: Account, connection: http.client.HTTPConnection
) -> None:
    with send_http(*WRITE, symbol="BTCUSDT", leverage=13) as response:
        assert (response.status, json.load(response)["data"]["leverage"]) == (200, "13")
    first = connection.sock
    with send_http(*READ, symbol="BTCUSDT") as response:
        assert json.load(response)["data"]["leverage"] == "13"
        assert response.headers["Content-Type"] == "application/json"
        assert response.headers["Date"] == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert connection.sock is first
    assert account.leverage == {"BTCUSDT": 13}


def test_request_is_recorded_as_received(send_http: SendHttp, exchange: Exchange) -> None:
    with send_http(*READ, symbol="BTCUSDT"):
        (request,) = exchange.requests
    assert (request.method, request.path) == ("GET", "/trade/api/v2/futures/leverage")
    assert request.query == {"exchange": "EXCHANGE_2", "symbol": "BTCUSDT"}
    assert (request.body, request.address, request.status) == (None, "127.0.0.1", 200)
    assert request.headers["host"].startswith("127.0.0.1:")


@pytest.mark.parametrize("body", ["{", '"' * 3, "[" * 100_000])
def test_body_that_is_not_json_is_refused(
    connect: Connect, sandbox: Sandbox, build_request: BuildRequest, body: str
) -> None:
    request = build_request(*WRITE)
    with connect(sandbox) as connection:
        connection.request("POST", request.target, body, dict(request.headers))
        assert connection.getresponse().status == 400


@pytest.mark.parametrize("length", ["much", "-1", "9999999999"])
def test_invalid_content_length_is_refused(send_raw: SendRaw, exchange: Exchange, length: str) -> None:
    sent = f"POST /trade/api/v2/futures/leverage HTTP/1.1\r\nContent-Length: {length}\r\n\r\n"
    assert send_raw(sent.encode()).startswith(b"HTTP/1.1 413 ")
    assert exchange.requests == []


def test_absolute_url_in_the_request_line_is_accepted(send_raw: SendRaw, sandbox: Sandbox) -> None:
    target = f"{sandbox.url}/trade/api/v2/time".encode()
    assert send_raw(TIME.replace(b"/trade/api/v2/time", target)).startswith(b"HTTP/1.1 200 OK\r\n")


def test_port_in_use_is_an_error(sandbox: Sandbox) -> None:
    with pytest.raises(OSError, match="in use"):
        Sandbox(Exchange(), port=int(sandbox.url.rsplit(":", 1)[1]))


def test_log_is_called_with_each_request_and_its_status(
    connect: Connect, exchange: Exchange, build_request: BuildRequest
) -> None:
    logged: list[tuple[str | None, int | None]] = []
    with Sandbox(exchange, log=lambda request: logged.append((request.endpoint, request.status))) as sandbox:
        exchange.add_fault("time", FAULTS["drop-after"])
        for expected in (None, 200):
            with connect(sandbox) as connection:
                connection.request("GET", build_request("GET", "/time").target)
                if expected:
                    assert connection.getresponse().status == expected
                else:
                    with pytest.raises(http.client.RemoteDisconnected):
                        connection.getresponse()
    assert logged == [("time", None), ("time", 200)]


@pytest.mark.parametrize("name", FAULTS)
def test_request_after_a_named_fault_is_answered_as_usual(
    exchange: Exchange, account: Account, send_http: SendHttp, connection: http.client.HTTPConnection, name: str
) -> None:
    fault = FAULTS[name]
    exchange.add_fault("write_leverage", fault)
    try:
        with send_http(*WRITE, symbol="BTCUSDT", leverage=13) as response:
            response.read(3_000_000)
        # A burst needs more than one request.
        status = None if fault.burst else fault.status
        assert response.status == (401 if fault.skew else status or (307 if fault.redirect else 200))
    except http.client.HTTPException:
        assert fault.drop
    is_carried_out = (fault.works or fault.burst) and not fault.skew and not fault.later
    leverage = (25 if fault.sets_maximum else 13) if is_carried_out else 10
    connection.close()
    with send_http(*READ, symbol="BTCUSDT") as response:
        assert json.load(response)["data"]["leverage"] == str(leverage)
    # The read is the next request.
    leverage = 13 if fault.later == 1 else leverage
    assert account.leverage == ({} if leverage == 10 else {"BTCUSDT": leverage})


def test_drop_sends_no_response(exchange: Exchange, send_raw: SendRaw) -> None:
    for name in ("drop-before", "drop-after"):
        exchange.add_fault("*", FAULTS[name])
        assert send_raw(TIME) == b""
    assert [request.status for request in exchange.requests] == [None, None]


def test_drop_in_the_body_sends_half_of_it(exchange: Exchange, send_raw: SendRaw) -> None:
    exchange.add_fault("*", FAULTS["cut-body"])
    head, _separator, body = send_raw(TIME).partition(b"\r\n\r\n")
    assert b"Content-Length: 29" in head
    assert b'{"serverTime": 1700000000000}'.startswith(body)
    assert len(body) == 14


def test_twice_sends_the_response_twice(exchange: Exchange, send_raw: SendRaw) -> None:
    exchange.add_fault("*", FAULTS["twice"])
    received = send_raw(TIME)
    assert received[: len(received) // 2] * 2 == received
    assert received.count(b"HTTP/1.1 200 OK") == 2


def test_size_pads_the_body(exchange: Exchange, send_raw: SendRaw) -> None:
    exchange.add_fault("*", Fault(size=100_000))
    head, _separator, body = send_raw(TIME).partition(b"\r\n\r\n")
    assert b"Content-Length: 100000" in head
    assert len(body) == 100_000
    assert json.loads(body) == {"serverTime": 1_700_000_000_000}


def test_endless_body_does_not_end(exchange: Exchange, send_raw: SendRaw) -> None:
    exchange.add_fault("*", FAULTS["endless"])
    received = send_raw(TIME)
    assert b"Transfer-Encoding: chunked" in received
    assert len(received) >= 4_000_000


def test_gzip_body_decompresses_to_its_size(exchange: Exchange, send_http: SendHttp) -> None:
    exchange.add_fault("*", Fault(size=10_000_000, gzip=True))
    with send_http("GET", "/time") as response:
        compressed = response.read()
        assert response.headers["Content-Encoding"] == "gzip"
    assert len(compressed) < 20_000
    assert len(gzip.decompress(compressed)) == 10_000_000


@pytest.mark.parametrize(("part", "min_waits", "max_waits"), [("headers", 100, 250), ("body", 29, 29)])
def test_drip_waits_after_each_byte(
    connect: Connect, exchange: Exchange, build_request: BuildRequest, part: str, min_waits: int, max_waits: int
) -> None:
    waits: list[float] = []

    class SandboxThatRecordsWaits(Sandbox):
        def wait(self, seconds: float) -> None:
            waits.append(seconds)

    exchange.add_fault("*", Fault(drip=7.0, drip_in="headers" if part == "headers" else "body"))
    with SandboxThatRecordsWaits(exchange) as sandbox, connect(sandbox) as connection:
        connection.request("GET", build_request("GET", "/time").target)
        assert json.load(connection.getresponse()) == {"serverTime": 1_700_000_000_000}
    assert min_waits <= waits.count(7.0) <= max_waits


@pytest.mark.parametrize(("late", "leverage_during_delay"), [(False, {"BTCUSDT": 13}), (True, {})])
def test_request_is_carried_out_before_or_after_the_delay(
    connect: Connect,
    exchange: Exchange,
    account: Account,
    build_request: BuildRequest,
    late: bool,
    leverage_during_delay: dict[str, int],
) -> None:
    is_waiting, may_continue = threading.Event(), threading.Event()

    class SandboxThatPauses(Sandbox):
        def wait(self, seconds: float) -> None:
            if seconds:
                is_waiting.set()
                may_continue.wait()

    request = build_request(*WRITE, symbol="BTCUSDT", exchange="EXCHANGE_2", leverage=13)
    exchange.add_fault("write_leverage", Fault(delay=5.0, late=late))
    with SandboxThatPauses(exchange) as sandbox, connect(sandbox) as connection:
        connection.request("POST", request.target, json.dumps(request.body), dict(request.headers))
        is_waiting.wait()
        assert account.leverage == leverage_during_delay
        may_continue.set()
        assert connection.getresponse().status == 200
    assert account.leverage == {"BTCUSDT": 13}


@pytest.mark.parametrize("name", ["timeout", "late", "slow-headers", "slow-body", "endless"])
def test_sandbox_stops_during_a_fault(
    connect: Connect, exchange: Exchange, account: Account, build_request: BuildRequest, name: str
) -> None:
    fault_started = threading.Event()
    request = build_request(*WRITE, symbol="BTCUSDT", exchange="EXCHANGE_2", leverage=13)

    class SandboxThatSignals(Sandbox):
        def wait(self, seconds: float) -> None:
            if seconds:
                fault_started.set()
            super().wait(seconds)

    exchange.add_fault("write_leverage", FAULTS[name])
    threads = threading.enumerate()
    with (
        SandboxThatSignals(
            exchange, log=lambda _request: None if FAULTS[name].delay else fault_started.set()
        ) as sandbox,
        connect(sandbox) as connection,
    ):
        connection.request("POST", request.target, json.dumps(request.body), dict(request.headers))
        fault_started.wait()
        sandbox.__exit__()
        assert threading.enumerate() == threads
    assert account.leverage == ({} if FAULTS[name].late else {"BTCUSDT": 13})


def test_closed_connection_prints_nothing(
    exchange: Exchange, sandbox: Sandbox, send_raw: SendRaw, capfd: pytest.CaptureFixture[str]
) -> None:
    exchange.add_fault("*", FAULTS["endless"])
    send_raw(TIME)
    assert send_raw(TIME).startswith(b"HTTP/1.1 200 OK")
    sandbox.__exit__()
    assert capfd.readouterr() == ("", "")


def test_defect_in_the_sandbox_prints_a_traceback(
    exchange: Exchange, sandbox: Sandbox, send_raw: SendRaw, capfd: pytest.CaptureFixture[str]
) -> None:
    exchange.add_fault("*", Fault(transform=lambda value: value["nothing"]))
    assert send_raw(TIME) == b""
    sandbox.__exit__()
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


def test_sandbox_serves_https(exchange: Exchange, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
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
