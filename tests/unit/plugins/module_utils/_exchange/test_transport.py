# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transport over real sockets, with short timeouts."""

from __future__ import annotations

import gzip
import hashlib
import json
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import sockets as _sockets
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import transport as _transport
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Unclear, Unreachable
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.signing import SignedAuth
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.transport import (
    MAX_REFUSAL_BYTES,
    MAX_RESPONSE_BYTES,
    Request,
    Response,
    Transport,
)
from sandbox import FAULTS, Account, Exchange, Fault, Sandbox

from ..certificates import CertificateAuthority
from ..module_harness import HANG_TIMEOUT, TIMEOUT, Clock
from ..raw_server import RawServer, closing_server, keep_alive_server, socks_proxy, tunnel_proxy

# Seconds.
SHORT_TIMEOUT = 0.2
READ_TIME = Request("GET", "/trade/api/v2/time", {}, None)
VALIDATE_KEYS = Request("GET", "/trade/api/v2/validate/keys", {}, None)
OK_RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
STATUS_LINE = b"HTTP/1.1 200 OK\r\n"

pytestmark = pytest.mark.usefixtures("no_user_settings")

NewTransport = Callable[..., Transport]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


@pytest.fixture
def other_authority(tmp_path: Path) -> CertificateAuthority:
    """An authority that signed none of the servers' certificates."""
    return CertificateAuthority(tmp_path, "other")


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def account(exchange: Exchange) -> Account:
    return exchange.open_account()


@pytest.fixture
def http_sandbox(exchange: Exchange) -> Iterator[Sandbox]:
    with Sandbox(exchange) as running:
        yield running


@pytest.fixture
def https_sandbox(exchange: Exchange, authority: CertificateAuthority) -> Iterator[Sandbox]:
    with Sandbox(exchange, tls=authority.server_context()) as running:
        yield running


@pytest.fixture
def new_transport(account: Account) -> Iterator[NewTransport]:
    """Return a function that creates a transport. The transport signs with the keys of `account`."""
    with ExitStack() as stack:

        def create(url: str, timeout: float = TIMEOUT, verify: bool | str = True, **options: Any) -> Transport:
            auth = SignedAuth(account.api_key, account.secret_key, lambda: 1_700_000_000.0)
            transport = Transport(url, auth, timeout, verify, **options)
            stack.callback(transport.reset_connection)
            return transport

        yield create


# --- TLS certificates ---


def test_certificate_of_an_unknown_authority_is_not_trusted(
    https_sandbox: Sandbox, new_transport: NewTransport
) -> None:
    with pytest.raises(Unreachable, match="certificate") as caught:
        new_transport(https_sandbox.url)(READ_TIME)
    assert not caught.value.can_retry


def test_verify_accepts_a_file_of_authorities(
    https_sandbox: Sandbox, new_transport: NewTransport, authority: CertificateAuthority
) -> None:
    assert new_transport(https_sandbox.url, verify=str(authority.certificate_file))(READ_TIME).status == 200


def test_verify_accepts_a_folder_of_authorities(
    https_sandbox: Sandbox, new_transport: NewTransport, authority: CertificateAuthority, tmp_path: Path
) -> None:
    # `openssl rehash` names the file after the first four bytes of this digest.
    subject = authority.certificate.subject.public_bytes()
    digest = hashlib.sha1(subject[2:], usedforsecurity=False).digest()
    folder = tmp_path / "authorities"
    folder.mkdir()
    hashed_name = f"{int.from_bytes(digest[:4], 'little'):08x}.0"
    (folder / hashed_name).write_bytes(authority.certificate_file.read_bytes())
    assert new_transport(https_sandbox.url, verify=str(folder))(READ_TIME).status == 200


def test_certificate_of_another_authority_is_not_trusted(
    https_sandbox: Sandbox, new_transport: NewTransport, other_authority: CertificateAuthority
) -> None:
    with pytest.raises(Unreachable, match="certificate"):
        new_transport(https_sandbox.url, verify=str(other_authority.certificate_file))(READ_TIME)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_verify_takes_precedence_over_the_environment(
    https_sandbox: Sandbox,
    new_transport: NewTransport,
    authority: CertificateAuthority,
    other_authority: CertificateAuthority,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    monkeypatch.setenv(variable, str(other_authority.certificate_file))
    assert new_transport(https_sandbox.url, verify=str(authority.certificate_file))(READ_TIME).status == 200
    assert new_transport(https_sandbox.url, verify=False)(READ_TIME).status == 200
    monkeypatch.setenv(variable, str(authority.certificate_file))
    with pytest.raises(Unreachable, match="certificate"):
        new_transport(https_sandbox.url, verify=str(other_authority.certificate_file))(READ_TIME)


# --- proxies and .netrc ---


def test_plain_http_uses_no_proxy(
    http_sandbox: Sandbox, new_transport: NewTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tunnel_proxy() as proxy:
        for name in ("http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, proxy.url)
            monkeypatch.setenv(name.upper(), proxy.url)
        assert new_transport(http_sandbox.url)(READ_TIME).status == 200
    assert proxy.connections == 0


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_https_uses_the_proxy_of_the_environment(
    https_sandbox: Sandbox,
    new_transport: NewTransport,
    authority: CertificateAuthority,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    with tunnel_proxy() as proxy:
        monkeypatch.setenv(variable, proxy.url)
        assert new_transport(https_sandbox.url, verify=str(authority.certificate_file))(READ_TIME).status == 200
    (head,) = proxy.heads
    assert head.startswith(b"CONNECT 127.0.0.1:")
    assert account.api_key.encode() not in head


def test_no_proxy_variable_is_respected(
    https_sandbox: Sandbox,
    new_transport: NewTransport,
    authority: CertificateAuthority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with tunnel_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert new_transport(https_sandbox.url, verify=str(authority.certificate_file))(READ_TIME).status == 200
    assert proxy.connections == 0


def test_https_uses_the_socks_proxy_of_the_environment(
    https_sandbox: Sandbox,
    new_transport: NewTransport,
    authority: CertificateAuthority,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with socks_proxy() as proxy:
        monkeypatch.setenv("all_proxy", proxy.url.replace("http:", "socks5h:"))
        transport = new_transport(https_sandbox.url, verify=str(authority.certificate_file))
        assert [transport(READ_TIME).status for _request in range(2)] == [200, 200]
    assert proxy.connections == 1


def test_socks_proxy_is_not_blamed_alone_if_it_cannot_reach_the_exchange(
    new_transport: NewTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socks_proxy(reply=4) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url.replace("http:", "socks5h:"))
        message = get_unreachable(new_transport("https://exchange.invalid"))
    assert message == (
        "No connection to https://exchange.invalid through the proxy (SOCKS5Error). Check api_url and HTTPS_PROXY."
    )


def test_refused_connection_to_a_socks_proxy_is_named(
    new_transport: NewTransport, unused_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", unused_url.replace("http:", "socks5:"))
    assert get_unreachable(new_transport("https://127.0.0.1:9")) == (
        "No connection to https://127.0.0.1:9 through the proxy ([Errno 111] Connection refused). Check api_url and "
        "ALL_PROXY."
    )


def get_unreachable(transport: Transport, can_retry: bool = True) -> str:
    """Send a request that must not be sent, and return the message of the error."""
    with pytest.raises(Unreachable) as caught:
        transport(READ_TIME)
    assert caught.value.can_retry is can_retry
    assert not transport.sent
    return str(caught.value)


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (403, "Check api_url, and allow its host in the rules of the proxy."),
        (407, "Correct the user and the password of the proxy."),
        (502, "Check api_url and the proxy."),
    ],
)
@pytest.mark.parametrize("variable", ["https_proxy", "ALL_PROXY"])
def test_refused_tunnel_names_the_variable_of_the_proxy_and_what_to_do(
    new_transport: NewTransport, monkeypatch: pytest.MonkeyPatch, variable: str, status: int, advice: str
) -> None:
    with closing_server(f"HTTP/1.1 {status} failed: 200 \x1b[2J\r\nContent-Length: 0\r\n\r\n".encode()) as proxy:
        monkeypatch.setenv(variable, proxy.url)
        message = get_unreachable(new_transport("https://exchange.invalid"))
    assert message == f"The proxy in {variable} did not connect to https://exchange.invalid (HTTP {status}). {advice}"


@pytest.mark.parametrize("response", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"])
def test_proxy_that_does_not_speak_http_is_named(
    new_transport: NewTransport, monkeypatch: pytest.MonkeyPatch, response: bytes
) -> None:
    with closing_server(response) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        message = get_unreachable(new_transport("https://exchange.invalid"))
    assert message.startswith("No connection to https://exchange.invalid through the proxy (")
    assert message.endswith("). Check ALL_PROXY.")


def test_silent_proxy_is_named(new_transport: NewTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(lambda connection: None) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        message = get_unreachable(new_transport("https://exchange.invalid", timeout=SHORT_TIMEOUT))
    assert message == "No connection to https://exchange.invalid through the proxy (timeout). Check HTTPS_PROXY."


def test_certificate_of_an_https_proxy_is_the_certificate_of_the_proxy(
    https_sandbox: Sandbox, new_transport: NewTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", https_sandbox.url)
    with pytest.raises(Unreachable, match=r"\). Check HTTPS_PROXY") as caught:
        new_transport("https://exchange.invalid")(READ_TIME)
    # With a new Python, the oldest urllib3 does not get as far as the certificate of a proxy.
    if not version("urllib3").startswith("1."):
        assert not caught.value.can_retry
        start = "The TLS certificate of the proxy in HTTPS_PROXY is not trusted (certificate verify failed"
        assert str(caught.value).startswith(start)


def test_good_proxy_is_not_blamed_for_the_certificate_of_the_exchange(
    https_sandbox: Sandbox, new_transport: NewTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tunnel_proxy() as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        message = get_unreachable(new_transport(https_sandbox.url), can_retry=False)
    assert message.startswith(f"The TLS certificate of {https_sandbox.url} is not trusted (certificate verify failed")
    assert ". Check api_url, and set ca_path" in message


def test_refused_connection_to_the_proxy_raises_unreachable(
    new_transport: NewTransport, unused_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("https_proxy", unused_url)
    assert get_unreachable(new_transport("https://exchange.invalid")) == (
        "No connection to https://exchange.invalid through the proxy ([Errno 111] Connection refused). Check "
        "https_proxy."
    )


@pytest.mark.parametrize("proxy_url", ["socks://127.0.0.1:9", "http://user:p@ss/word@127.0.0.1:9"])
def test_request_through_an_unusable_proxy_is_not_sent(
    new_transport: NewTransport, monkeypatch: pytest.MonkeyPatch, proxy_url: str
) -> None:
    monkeypatch.setenv("ALL_PROXY", proxy_url)
    message = get_unreachable(new_transport("https://exchange.invalid"), can_retry=False)
    assert message.startswith("No request was sent to https://exchange.invalid, because the ")
    assert "in ALL_PROXY" in message


@pytest.mark.parametrize("name", [".netrc", "_netrc", "file in NETRC"])
def test_netrc_is_not_read(
    http_sandbox: Sandbox,
    exchange: Exchange,
    new_transport: NewTransport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    netrc = tmp_path / name
    netrc.write_text("machine 127.0.0.1 login somebody password secret\ndefault login a password b\n")
    netrc.chmod(0o600)
    if name == "file in NETRC":
        monkeypatch.setenv("NETRC", str(netrc))
    assert new_transport(http_sandbox.url)(READ_TIME).status == 200
    assert "authorization" not in exchange.requests[0].headers


# --- certificate authorities that cannot be read ---


@pytest.mark.parametrize("source", ["ca_path", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize(
    "content", [None, b"", b"text", b"-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----"]
)
def test_unreadable_authorities_are_named(
    https_sandbox: Sandbox,
    new_transport: NewTransport,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    content: bytes | None,
) -> None:
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_bytes(content)
    if source != "ca_path":
        monkeypatch.setenv(source, str(file))
    transport = new_transport(https_sandbox.url, verify=str(file) if source == "ca_path" else True)
    assert get_unreachable(transport, can_retry=False) == (
        f"No request was sent to {https_sandbox.url}, because the certificate authorities in {source} cannot be read. "
        "Check that the path exists, is readable, and contains certificates in PEM format."
    )


# --- requests, responses and connections ---


def test_text_of_a_request_is_its_method_and_path() -> None:
    assert str(READ_TIME) == "GET /trade/api/v2/time"


@pytest.mark.parametrize("location", ["{url}/", "/trade/api/v2/time", "//evil.example/", "::"])
@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_redirect_is_returned_and_not_followed(new_transport: NewTransport, status: int, location: str) -> None:
    with keep_alive_server(OK_RESPONSE) as target:
        headers = f"Location: {location.format(url=target.url)}\r\nContent-Length: 0"
        with keep_alive_server(f"HTTP/1.1 {status} Moved\r\n{headers}\r\n\r\n".encode()) as server:
            assert new_transport(server.url)(VALIDATE_KEYS).status == status
    assert target.connections == 0
    assert (server.connections, len(server.heads)) == (1, 1)


def test_response_has_status_headers_and_body(
    http_sandbox: Sandbox, exchange: Exchange, new_transport: NewTransport
) -> None:
    exchange.add_fault("time", Fault(headers={"X-Some": "thing"}))
    response = new_transport(http_sandbox.url)(READ_TIME)
    assert response.status == 200
    assert "serverTime" in json.loads(response.body)
    assert response.headers["X-Some"] == "thing"


@pytest.mark.parametrize("status", [201, 204, 400, 401, 429, 500, 599])
def test_response_of_every_status_is_returned(
    http_sandbox: Sandbox, exchange: Exchange, new_transport: NewTransport, status: int
) -> None:
    body = "" if status == 204 else "text"
    exchange.add_fault("time", Fault(status=status, body=body))
    response = new_transport(http_sandbox.url)(READ_TIME)
    assert (response.status, response.body) == (status, body.encode())


def test_requests_share_one_connection_also_after_an_error_status(new_transport: NewTransport) -> None:
    statuses = [200, 400, 404, 503, 200]
    responses = [f"HTTP/1.1 {status} Status\r\nContent-Length: 2\r\n\r\n{{}}".encode() for status in statuses]
    with keep_alive_server(*responses) as server:
        transport = new_transport(server.url)
        assert [transport(VALIDATE_KEYS)[::2] for _response in responses] == [(status, b"{}") for status in statuses]
    assert (server.connections, len(server.heads)) == (1, len(responses))


def test_reset_connection_opens_a_new_connection(new_transport: NewTransport) -> None:
    with keep_alive_server(OK_RESPONSE) as server:
        transport = new_transport(server.url)
        transport(VALIDATE_KEYS)
        transport.reset_connection()
        transport(VALIDATE_KEYS)
    assert server.connections == 2


def test_request_has_the_api_key_and_the_json_content_type(new_transport: NewTransport, account: Account) -> None:
    with keep_alive_server(OK_RESPONSE) as server:
        new_transport(server.url)(VALIDATE_KEYS)
    (head,) = (head.decode().lower() for head in server.heads)
    assert f"x-auth-apikey: {account.api_key}\r\n" in head
    assert "content-type: application/json\r\n" in head


def test_request_asks_caches_for_a_fresh_response(new_transport: NewTransport) -> None:
    with keep_alive_server(OK_RESPONSE) as server:
        new_transport(server.url)(VALIDATE_KEYS)
    assert b"\r\nCache-Control: no-cache\r\n" in server.heads[0]


def test_cookies_are_not_sent_back(new_transport: NewTransport) -> None:
    with keep_alive_server(STATUS_LINE + b"Set-Cookie: session=alpha; Path=/\r\nContent-Length: 2\r\n\r\n{}") as server:
        transport = new_transport(server.url)
        transport(VALIDATE_KEYS)
        transport(VALIDATE_KEYS)
    assert not any(b"cookie" in head.lower() for head in server.heads)


@pytest.mark.parametrize(
    "incomplete_response",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"",
        b"HTTP/1.1 2",
    ],
)
def test_incomplete_response_raises_unclear_and_ends_the_connection(
    new_transport: NewTransport, incomplete_response: bytes
) -> None:
    with closing_server(incomplete_response, OK_RESPONSE) as server:
        transport = new_transport(server.url)
        with pytest.raises(Unclear, match=r"^The connection broke before the response was complete \(") as caught:
            transport(VALIDATE_KEYS)
        assert not isinstance(caught.value, Unreachable)
        assert transport(VALIDATE_KEYS).body == b"{}"
    assert server.connections == 2


def test_bytes_after_a_tls_response_are_not_read_as_the_next_response(
    new_transport: NewTransport, authority: CertificateAuthority
) -> None:
    context = authority.server_context()
    body = b"x" * 8000
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 8000\r\n\r\n" + body
    # One TLS record holds both responses. http.client reads 8192 bytes of it, so the second one stays in the buffer.
    padded_response = response.replace(b"\r\n\r\n", b"\r\nX-Pad: " + b"a" * (8192 - len(response) - 9) + b"\r\n\r\n", 1)
    assert len(padded_response) == 8192

    def send_two_responses(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls_socket:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += tls_socket.recv(1)
            tls_socket.sendall(padded_response + b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"FORGED"')
            tls_socket.recv(1)

    with RawServer(send_two_responses) as server:
        transport = new_transport(server.url.replace("http:", "https:"), verify=str(authority.certificate_file))
        for _request in range(2):
            assert transport(VALIDATE_KEYS).body == body
    assert server.connections == 2


# --- timeouts ---


def test_response_after_the_timeout_is_not_read_as_the_next_response(new_transport: NewTransport) -> None:
    """The server sends the first response when it receives the second request, on another connection."""
    second_request_came = threading.Event()

    def handle_connection(connection: socket.socket) -> None:
        server.read_head(connection)
        is_first = server.connections == 1
        if is_first:
            second_request_came.wait(HANG_TIMEOUT)
        second_request_came.set()
        body = b'"old"' if is_first else b'"new"'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    with RawServer(handle_connection) as server:
        transport = new_transport(server.url, timeout=1.0)
        with pytest.raises(Unclear, match=r"1 s \(timeout\)"):
            transport(VALIDATE_KEYS)
        assert transport(VALIDATE_KEYS).body == b'"new"'
    assert server.connections == 2


@pytest.mark.parametrize("fault_name", ["timeout", "slow-headers", "slow-body"])
def test_slow_response_raises_unclear_after_the_timeout(
    http_sandbox: Sandbox, exchange: Exchange, new_transport: NewTransport, fault_name: str
) -> None:
    exchange.add_fault("time", FAULTS[fault_name])
    with pytest.raises(Unclear, match=r"0\.2 s \(timeout\)") as caught:
        new_transport(http_sandbox.url, timeout=SHORT_TIMEOUT)(READ_TIME)
    assert not isinstance(caught.value, Unreachable)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n",
    ],
)
def test_slow_response_on_a_connection_that_closes_raises_unclear_after_the_timeout(
    new_transport: NewTransport, head: bytes
) -> None:
    never_set = threading.Event()

    def send_slowly(connection: socket.socket) -> None:
        server.read_head(connection)
        connection.sendall(head)
        for _byte in range(100):
            never_set.wait(0.02)
            connection.sendall(b" ")
        # Without a timeout, the client would take the end of the connection for the end of the response.
        connection.shutdown(socket.SHUT_RDWR)

    with RawServer(send_slowly) as server, pytest.raises(Unclear, match="timeout"):
        new_transport(server.url, timeout=SHORT_TIMEOUT)(VALIDATE_KEYS)


def test_endless_interim_responses_raise_unclear_after_the_timeout(new_transport: NewTransport) -> None:
    def send_interim_responses(connection: socket.socket) -> None:
        server.read_head(connection)
        while True:
            connection.sendall(b"HTTP/1.1 100 Continue\r\nX-Pad: " + b"a" * 60_000 + b"\r\n\r\n")

    with RawServer(send_interim_responses) as server, pytest.raises(Unclear):
        new_transport(server.url, timeout=SHORT_TIMEOUT)(VALIDATE_KEYS)


def test_refusal_with_a_slow_body_is_returned_without_the_body(
    http_sandbox: Sandbox, exchange: Exchange, new_transport: NewTransport
) -> None:
    exchange.add_fault("time", Fault(status=403, drip=1.0))
    response = new_transport(http_sandbox.url, timeout=SHORT_TIMEOUT)(READ_TIME)
    assert (response.status, response.body) == (403, b"")


@pytest.mark.parametrize("status", [400, 503])
def test_refusal_is_returned_without_a_body_that_breaks_off(
    http_sandbox: Sandbox, exchange: Exchange, new_transport: NewTransport, status: int
) -> None:
    exchange.add_fault("time", Fault(status=status, body="text", drop="body"))
    response = new_transport(http_sandbox.url)(READ_TIME)
    assert (response.status, response.body) == (status, b"")


def test_refused_connection_raises_unreachable(new_transport: NewTransport, unused_url: str) -> None:
    with pytest.raises(Unreachable) as caught:
        new_transport(unused_url)(READ_TIME)
    assert str(caught.value) == (
        f"No connection to {unused_url} ([Errno 111] Connection refused). Check api_url and the network."
    )
    assert caught.value.can_retry


def test_connecting_stops_after_half_of_the_timeout(new_transport: NewTransport, dead_address: tuple[str, int]) -> None:
    url = f"http://127.0.0.1:{dead_address[1]}"
    message = get_unreachable(new_transport(url, timeout=SHORT_TIMEOUT))
    assert message == f"No connection to {url} within 0.1 s (half of timeout). Check the network."


def test_dead_address_of_a_host_does_not_take_all_of_the_time(
    new_transport: NewTransport, monkeypatch: pytest.MonkeyPatch, dead_address: tuple[str, int]
) -> None:
    with keep_alive_server(OK_RESPONSE) as server:
        addresses = [dead_address, dead_address, ("127.0.0.1", server.port)]
        rows = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_arguments: rows)
        monkeypatch.setattr(_sockets, "_NEXT_ADDRESS_SECONDS", 0.001)
        assert new_transport("http://localhost")(VALIDATE_KEYS).status == 200
    assert len(server.heads) == 1


def test_name_lookup_stops_after_the_timeout(new_transport: NewTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    test_ends = threading.Event()

    def hang(*_arguments: object, **_options: object) -> None:
        test_ends.wait(HANG_TIMEOUT)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", hang)
    with pytest.raises(Unreachable, match="timeout"):
        new_transport("https://exchange.invalid", timeout=SHORT_TIMEOUT)(READ_TIME)
    test_ends.set()


def test_tls_handshake_stops_after_the_timeout(new_transport: NewTransport) -> None:
    with RawServer(lambda connection: None) as silent_server, pytest.raises(Unreachable):
        new_transport(silent_server.url.replace("http:", "https:"), timeout=SHORT_TIMEOUT)(READ_TIME)


# --- limits of the size ---


@pytest.mark.parametrize(
    ("fault", "is_returned"),
    [
        (Fault(size=MAX_RESPONSE_BYTES), True),
        (Fault(size=MAX_RESPONSE_BYTES + 1), False),
        (Fault(endless=True), False),
    ],
)
def test_response_larger_than_the_limit_raises_unclear(
    http_sandbox: Sandbox, exchange: Exchange, new_transport: NewTransport, fault: Fault, is_returned: bool
) -> None:
    exchange.add_fault("time", fault)
    transport = new_transport(http_sandbox.url)
    if is_returned:
        assert len(transport(READ_TIME).body) == MAX_RESPONSE_BYTES
    else:
        with pytest.raises(Unclear, match=r"^The response is larger than 2048 KiB\.$"):
            transport(READ_TIME)
    assert transport(READ_TIME).status == 200


@pytest.mark.parametrize(
    ("size", "body_size"), [(MAX_REFUSAL_BYTES, MAX_REFUSAL_BYTES), (MAX_REFUSAL_BYTES + 1, 0), (1 << 30, 0)]
)
@pytest.mark.parametrize("status", [307, 400, 503])
def test_refusal_larger_than_the_limit_is_returned_without_the_body(
    http_sandbox: Sandbox, exchange: Exchange, new_transport: NewTransport, status: int, size: int, body_size: int
) -> None:
    exchange.add_fault("time", Fault(status=status, body="x", size=size))
    transport = new_transport(http_sandbox.url)
    response = transport(READ_TIME)
    assert (response.status, len(response.body)) == (status, body_size)
    assert transport(READ_TIME).status == 200


@pytest.fixture(scope="module")
def gzip_bomb() -> bytes:
    """64 MiB, compressed twice to less than a KiB."""
    return gzip.compress(gzip.compress(bytes(64 << 20)))


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip"])
def test_compressed_response_raises_unclear_and_is_not_decompressed(
    new_transport: NewTransport, gzip_bomb: bytes, encoding: str
) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(gzip_bomb)}\r\n\r\n".encode()
    with keep_alive_server(head + gzip_bomb) as server:
        tracemalloc.start()
        try:
            with pytest.raises(Unclear, match="The response is compressed") as caught:
                new_transport(server.url)(VALIDATE_KEYS)
            _current, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert not isinstance(caught.value, Unreachable)
    assert peak < 16 << 20
    assert b"Accept-Encoding: identity\r\n" in server.heads[0]


# --- requests that must not be sent, or not twice ---


def test_request_is_not_sent_if_the_name_lookup_takes_too_long(
    new_transport: NewTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookup_started, lookup_may_end = threading.Event(), threading.Event()
    real_getaddrinfo = socket.getaddrinfo
    lookup_threads: list[threading.Thread] = []

    def slow_getaddrinfo(*arguments: Any, **options: Any) -> Any:
        lookup_threads.append(threading.current_thread())
        lookup_started.set()
        lookup_may_end.wait(HANG_TIMEOUT)
        return real_getaddrinfo(*arguments, **options)

    with keep_alive_server(OK_RESPONSE) as server:
        transport = new_transport(server.url, timeout=SHORT_TIMEOUT)
        monkeypatch.setattr(socket, "getaddrinfo", slow_getaddrinfo)
        with pytest.raises(Unreachable, match="half of timeout"):
            transport(VALIDATE_KEYS)
        assert lookup_started.is_set()
        lookup_may_end.set()
        (lookup_thread,) = lookup_threads
        lookup_thread.join(HANG_TIMEOUT)
        monkeypatch.setattr(socket, "getaddrinfo", real_getaddrinfo)
        assert server.connections == 0
        assert transport(VALIDATE_KEYS).body == b"{}"
    assert len(server.heads) == 1


def test_request_is_not_sent_if_the_timeout_ends_before_the_first_byte(
    new_transport: NewTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    end_timeout: list[Callable[[], None]] = []

    def create_timer(_seconds: float, function: Callable[[], None]) -> Any:
        end_timeout.append(function)
        return SimpleNamespace(start=lambda: None, cancel=lambda: None)

    def end_last_timeout() -> None:
        end_timeout[-1]()

    monkeypatch.setattr(_transport, "Timer", create_timer)
    with keep_alive_server(OK_RESPONSE) as server:
        transport = new_transport(server.url)
        transport._may_send = end_last_timeout
        with pytest.raises(Unreachable):
            transport(VALIDATE_KEYS)
        transport._may_send = lambda: None
        assert transport(VALIDATE_KEYS).body == b"{}"
    assert len(server.heads) == 1


def test_request_is_sent_after_the_end_only_for_the_allowed_seconds(new_transport: NewTransport) -> None:
    def refuse() -> None:
        raise Unreachable("the task has ended", can_retry=False)

    now = [0.0]
    with keep_alive_server(OK_RESPONSE) as server:
        transport = new_transport(server.url, clock=lambda: now[0])
        transport._may_send = refuse
        with transport.allow_after_end(70):
            assert transport(VALIDATE_KEYS).body == b"{}"
            now[0] = 70.0
            with pytest.raises(Unreachable, match="the task has ended"):
                transport(VALIDATE_KEYS)
        now[0] = 0.0
        with pytest.raises(Unreachable, match="the task has ended"):
            transport(VALIDATE_KEYS)
    assert len(server.heads) == 1


def test_closed_transport_sends_nothing(new_transport: NewTransport) -> None:
    with keep_alive_server(OK_RESPONSE) as server:
        transport = new_transport(server.url)
        transport(VALIDATE_KEYS)
        transport.close()
        transport.close()
        with pytest.raises(Unreachable, match="The task has ended") as caught:
            transport(VALIDATE_KEYS)
    assert not caught.value.can_retry
    assert len(server.heads) == 1


def test_interruption_is_raised_and_ends_the_connection(new_transport: NewTransport) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with keep_alive_server(OK_RESPONSE) as server:
        transport = new_transport(server.url)
        transport(VALIDATE_KEYS)
        transport._may_send = interrupt
        with pytest.raises(KeyboardInterrupt):
            transport(VALIDATE_KEYS)
        transport._may_send = lambda: None
        transport(VALIDATE_KEYS)
    assert (server.connections, len(server.heads)) == (2, 2)


@pytest.mark.parametrize("started_threads", [0, 1])
def test_request_is_not_sent_if_a_thread_cannot_start(
    new_transport: NewTransport, monkeypatch: pytest.MonkeyPatch, started_threads: int
) -> None:
    real_start = threading.Thread.start
    with keep_alive_server(OK_RESPONSE) as server:
        transport = new_transport(server.url)
        remaining_starts = iter(range(started_threads))

        def start(thread: threading.Thread) -> None:
            if next(remaining_starts, None) is None:
                raise RuntimeError("can't start new thread")
            real_start(thread)

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(Unreachable, match="No thread could be started"):
                transport(VALIDATE_KEYS)
    assert server.heads == []


def test_each_request_is_sent_once_if_the_server_closes_the_connection(new_transport: NewTransport) -> None:
    with closing_server(OK_RESPONSE) as server:
        transport = new_transport(server.url)
        for _request in range(3):
            with suppress(Unclear):
                transport(VALIDATE_KEYS)
    assert len(server.heads) <= 3


# --- error messages ---


@pytest.mark.parametrize(
    "proxy_url",
    [
        "http://user:hunter2@host:99999",
        "http://user:hunter2@host:port",
        "http://user:hun#ter2@127.0.0.1:9",
        "http://user:hun/ter2@127.0.0.1:9",
        "http://user:hunter2@127.0.0.1:9",
        "http://user:hunter2@[::1",
        "user:hunter2@host:99999",
        "gopher://user:hunter2@127.0.0.1:9",
        "http://user:hunter2@" + "a" * 70 + ".invalid:1",
        "http://user:hunter2@exa mple:1",
        "http://user:hunter2@\u0661.invalid:1",
    ],
)
def test_error_message_does_not_contain_the_password_of_the_proxy(
    new_transport: NewTransport, monkeypatch: pytest.MonkeyPatch, proxy_url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy_url)
    with pytest.raises(Unreachable) as caught:
        new_transport("https://exchange.invalid", timeout=1.0)(VALIDATE_KEYS)
    assert "ter2" not in str(caught.value)
    assert "hun" not in str(caught.value)
    assert "proxy" in str(caught.value)


# --- malformed responses ---


MALFORMED_RESPONSES = {
    "no bytes": b"",
    "all byte values": bytes(range(256)),
    "no status": b"HTTP/1.1\r\n\r\n",
    "status is not a number": b"HTTP/1.1 abc OK\r\n\r\n",
    "status 000": b"HTTP/1.1 000 OK\r\n\r\n",
    "status 99999": b"HTTP/1.1 99999 OK\r\n\r\n",
    "status in Arabic digits": "HTTP/1.1 \u0662\u0660\u0660 OK\r\n\r\n".encode(),
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "HTTP 0.9": b"{}",
    "HTTP 3": b"HTTP/3 200 OK\r\n\r\n{}",
    "very long header": STATUS_LINE + b"X-Long: " + b"a" * (1 << 20),
    "5000 headers": STATUS_LINE + b"X-Many: a\r\n" * 5000 + b"\r\n",
    "header without colon": STATUS_LINE + b"nonsense\r\n\r\n{}",
    "header with binary data": STATUS_LINE + b"X-\xff\x00: \xfe\x00\r\nContent-Length: 2\r\n\r\n{}",
    "folded header": STATUS_LINE + b"X-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "length is not a number": STATUS_LINE + b"Content-Length: many\r\n\r\n{}",
    "negative length": STATUS_LINE + b"Content-Length: -2\r\n\r\n{}",
    "two lengths": STATUS_LINE + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "huge length": STATUS_LINE + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "chunk size is not a number": STATUS_LINE + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
    "negative chunk size": STATUS_LINE + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "huge chunk size": STATUS_LINE + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
    "no last chunk": STATUS_LINE + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "very long chunk size": STATUS_LINE + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 100_000,
    "invalid gzip": STATUS_LINE + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "invalid deflate": STATUS_LINE + b"Content-Encoding: deflate\r\nContent-Length: 2\r\n\r\n{}",
    "many encodings": STATUS_LINE + b"Content-Encoding: " + b"gzip, " * 50 + b"gzip\r\nContent-Length: 2\r\n\r\n{}",
    "only interim responses": b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
    "switching protocols": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    "invalid location": b"HTTP/1.1 302 Found\r\nLocation: http://[\xff:::/\r\nContent-Length: 0\r\n\r\n",
    "invalid cookie": STATUS_LINE
    + b"Set-Cookie: a=b; expires=nonsense; domain=..; path=\xff\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("response", MALFORMED_RESPONSES.values(), ids=MALFORMED_RESPONSES)
def test_malformed_response_is_returned_or_raises_unclear(new_transport: NewTransport, response: bytes) -> None:
    with closing_server(response) as server:
        response_or_error = send_or_catch(new_transport(server.url))
    assert server.connections == 1
    if isinstance(response_or_error, Unclear):
        assert not isinstance(response_or_error, Unreachable), response_or_error
        assert "\n" not in str(response_or_error)
    else:
        assert response_or_error.status < 1000
        assert len(response_or_error.body) <= 2


def send_or_catch(transport: Transport) -> Response | Unclear:
    try:
        return transport(VALIDATE_KEYS)
    except Unclear as unclear:
        return unclear


# --- Idle connections ---


def test_connection_that_was_idle_for_more_than_four_seconds_is_not_used_again(new_transport: NewTransport) -> None:
    clock = Clock()
    with keep_alive_server(OK_RESPONSE) as server:
        transport = new_transport(server.url, clock=clock)
        for idle_seconds, connections in ((0.0, 1), (3.9, 1), (4.1, 2), (3.9, 2)):
            clock.sleep(idle_seconds)
            assert transport(READ_TIME).status == 200
            assert server.connections == connections
