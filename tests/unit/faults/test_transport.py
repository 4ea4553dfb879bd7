# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The transport on its own, with clocks that run: a few short time-outs, and none where nothing is slow."""

from __future__ import annotations

import gzip
import hashlib
import socket
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _transport
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import Unclear, Unreachable
from ansible_collections.tradeops.coinswitch.plugins.module_utils._signing import SignedAuth
from ansible_collections.tradeops.coinswitch.plugins.module_utils._transport import (
    LARGEST_ANSWER,
    LARGEST_REFUSAL,
    Answer,
    Request,
    Transport,
)
from sandbox import FAULTS, Account, Exchange, Fault, Sandbox

from .certificates import Authority
from .module_harness import HANGS, TIMEOUT
from .raw_server import Raw, proxy, saying, talking

SHORT = 0.2
TIME = Request("GET", "/trade/api/v2/time", {}, None)
KEYS = Request("GET", "/trade/api/v2/validate/keys", {}, None)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}"
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

NewTransport = Callable[..., Transport]


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing of the machine's own settings."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC", *PROXY_VARIABLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


@pytest.fixture
def account(exchange: Exchange) -> Account:
    return exchange.open_account()


@pytest.fixture
def transport_to(account: Account) -> Iterator[NewTransport]:
    """(url, timeout, verify) to a transport that signs with the account's keys."""
    with ExitStack() as ending:

        def build(url: str, timeout: float = TIMEOUT, verify: bool | str = True) -> Transport:
            auth = SignedAuth(account.api_key, account.secret_key, lambda: 1_700_000_000.0)
            transport = Transport(url, auth, timeout, verify)
            ending.callback(transport.reset_connection)
            return transport

        yield build


@pytest.fixture
def plain(exchange: Exchange) -> Iterator[Sandbox]:
    with Sandbox(exchange) as running:
        yield running


@pytest.fixture
def secured(exchange: Exchange, authority: Authority) -> Iterator[Sandbox]:
    with Sandbox(exchange, tls=authority.server()) as running:
        yield running


@pytest.fixture
def folder_of_authorities(authority: Authority, tmp_path: Path) -> Path:
    """The authority's certificate in a folder, under the name that `openssl rehash` gives it."""
    subject = authority.certificate.subject.public_bytes()
    digest = hashlib.sha1(subject[2:], usedforsecurity=False).digest()
    folder = tmp_path / "authorities"
    folder.mkdir()
    (folder / f"{int.from_bytes(digest[:4], 'little'):08x}.0").write_bytes(authority.file.read_bytes())
    return folder


def test_certificates_are_checked(secured: Sandbox, transport_to: NewTransport) -> None:
    with pytest.raises(Unreachable, match="certificate") as caught:
        transport_to(secured.url)(TIME)
    assert not caught.value.can_retry


def test_a_file_of_authorities(secured: Sandbox, transport_to: NewTransport, authority: Authority) -> None:
    assert transport_to(secured.url, verify=str(authority.file))(TIME).status == 200


def test_a_folder_of_authorities(secured: Sandbox, transport_to: NewTransport, folder_of_authorities: Path) -> None:
    assert transport_to(secured.url, verify=str(folder_of_authorities))(TIME).status == 200


def test_another_authority_is_not_enough(secured: Sandbox, transport_to: NewTransport, tmp_path: Path) -> None:
    with pytest.raises(Unreachable, match="certificate"):
        transport_to(secured.url, verify=str(Authority(tmp_path, "stranger").file))(TIME)


@pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_the_environment_does_not_overrule_the_options(
    secured: Sandbox,
    transport_to: NewTransport,
    authority: Authority,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    stranger = str(Authority(tmp_path, "stranger").file)
    monkeypatch.setenv(variable, stranger)
    assert transport_to(secured.url, verify=str(authority.file))(TIME).status == 200
    assert transport_to(secured.url, verify=False)(TIME).status == 200
    monkeypatch.setenv(variable, str(authority.file))
    with pytest.raises(Unreachable, match="certificate"):
        transport_to(secured.url, verify=stranger)(TIME)


def test_plain_http_takes_no_proxy(plain: Sandbox, transport_to: NewTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    with proxy() as never:
        for name in PROXY_VARIABLES[:3]:
            monkeypatch.setenv(name, never.url)
            monkeypatch.setenv(name.upper(), never.url)
        assert transport_to(plain.url)(TIME).status == 200
    assert never.connections == 0


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_https_takes_the_proxy_of_the_environment(
    secured: Sandbox,
    transport_to: NewTransport,
    authority: Authority,
    account: Account,
    monkeypatch: pytest.MonkeyPatch,
    variable: str,
) -> None:
    with proxy() as between:
        monkeypatch.setenv(variable, between.url)
        assert transport_to(secured.url, verify=str(authority.file))(TIME).status == 200
    (head,) = between.heads
    assert head.startswith(b"CONNECT 127.0.0.1:")
    assert account.api_key.encode() not in head


def test_no_proxy_is_honoured(
    secured: Sandbox, transport_to: NewTransport, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with proxy() as never:
        monkeypatch.setenv("HTTPS_PROXY", never.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert transport_to(secured.url, verify=str(authority.file))(TIME).status == 200
    assert never.connections == 0


def test_a_proxy_that_refuses(secured: Sandbox, transport_to: NewTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    with saying(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n") as strict:
        monkeypatch.setenv("HTTPS_PROXY", strict.url)
        with pytest.raises(Unreachable, match="proxy"):
            transport_to(secured.url)(TIME)


def test_netrc_is_not_read(plain: Sandbox, exchange: Exchange, transport_to: NewTransport, tmp_path: Path) -> None:
    for name in (".netrc", "_netrc"):
        (tmp_path / name).write_text("machine 127.0.0.1 login somebody password secret\ndefault login a password b\n")
    assert transport_to(plain.url)(TIME).status == 200
    assert "authorization" not in exchange.requests[0].headers


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer(transport_to: NewTransport, status: int) -> None:
    with talking(OK) as elsewhere:
        moved = f"HTTP/1.1 {status} Moved\r\nLocation: {elsewhere.url}/\r\nContent-Length: 0\r\n\r\n".encode()
        with saying(moved) as here:
            assert transport_to(here.url)(KEYS).status == status
    assert elsewhere.connections == 0
    assert here.connections == 1


def test_many_requests_take_one_connection(transport_to: NewTransport) -> None:
    with talking(OK) as server:
        transport = transport_to(server.url)
        assert [transport(KEYS).body for _request in range(5)] == [b"{}"] * 5
    assert (server.connections, len(server.heads)) == (1, 5)


def test_every_request_is_signed_and_says_json(transport_to: NewTransport, account: Account) -> None:
    with talking(OK) as server:
        transport_to(server.url)(KEYS)
    (head,) = (head.decode().lower() for head in server.heads)
    assert f"x-auth-apikey: {account.api_key}\r\n" in head
    assert "content-type: application/json\r\n" in head


@pytest.mark.parametrize(
    "unclear",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
        b"",
        b"HTTP/1.1 2",
    ],
)
def test_an_unclear_answer_ends_its_connection(transport_to: NewTransport, unclear: bytes) -> None:
    with saying(unclear, OK) as server:
        transport = transport_to(server.url)
        with pytest.raises(Unclear) as caught:
            transport(KEYS)
        assert not isinstance(caught.value, Unreachable)
        assert transport(KEYS).body == b"{}"
    assert server.connections == 2


def test_an_answer_after_the_time_out_is_nobodys(transport_to: NewTransport) -> None:
    """It goes out when the next question is asked, which has a connection of its own."""
    asked_again = threading.Event()

    def converse(connection: socket.socket) -> None:
        server.head(connection)
        is_first = server.connections == 1
        if is_first:
            asked_again.wait(HANGS)
        asked_again.set()
        body = b'"old"' if is_first else b'"new"'
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n" + body)

    with Raw(converse) as server:
        transport = transport_to(server.url, timeout=1.0)
        with pytest.raises(Unclear, match=r"1 s \(timeout\)"):
            transport(KEYS)
        assert transport(KEYS).body == b'"new"'
    assert server.connections == 2


@pytest.mark.parametrize("name", ["timeout", "slow-headers", "slow-body"])
def test_no_answer_takes_longer_than_the_time_out(
    plain: Sandbox, exchange: Exchange, transport_to: NewTransport, name: str
) -> None:
    exchange.add_fault("time", FAULTS[name])
    with pytest.raises(Unclear, match=r"0\.2 s \(timeout\)") as caught:
        transport_to(plain.url, timeout=SHORT)(TIME)
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
def test_an_answer_that_drips_ends_also_where_it_closes_the_connection(transport_to: NewTransport, head: bytes) -> None:
    pace = threading.Event()

    def drip(connection: socket.socket) -> None:
        server.head(connection)
        connection.sendall(head)
        for _byte in range(100):
            pace.wait(0.02)
            connection.sendall(b" ")
        # Its end would be that of the answer.
        connection.shutdown(socket.SHUT_RDWR)

    with Raw(drip) as server, pytest.raises(Unclear, match="timeout"):
        transport_to(server.url, timeout=SHORT)(KEYS)


def test_leftovers_of_a_tls_answer_are_not_the_next_answer(transport_to: NewTransport, authority: Authority) -> None:
    """One record holds two answers: what lies beyond the first is no answer to the next request."""
    context = authority.server()
    first = b"x" * 8000
    one = b"HTTP/1.1 200 OK\r\nContent-Length: 8000\r\n\r\n" + first
    padded = one.replace(b"\r\n\r\n", b"\r\nX-Pad: " + b"a" * (8192 - len(one) - 9) + b"\r\n\r\n", 1)
    assert len(padded) == 8192

    def answer(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            request = b""
            while not request.endswith(b"\r\n\r\n"):
                request += secured.recv(1)
            secured.sendall(padded + b'HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n"FORGED"')
            secured.recv(1)

    with Raw(answer) as server:
        transport = transport_to(server.url.replace("http:", "https:"), verify=str(authority.file))
        for _request in range(2):
            assert transport(KEYS).body == first
    assert server.connections == 2


def test_a_refusal_whose_words_drip_is_one_without_words(
    plain: Sandbox, exchange: Exchange, transport_to: NewTransport
) -> None:
    exchange.add_fault("time", Fault(status=403, drip=1.0))
    answer = transport_to(plain.url, timeout=SHORT)(TIME)
    assert (answer.status, answer.body) == (403, b"")


def test_a_connection_that_does_not_come_about(transport_to: NewTransport) -> None:
    """The listener's queue is full: who connects then hears nothing."""
    with closing(socket.create_server(("127.0.0.1", 0), backlog=0)) as full, ExitStack() as waiting:
        for _place in range(4):
            guest = waiting.enter_context(closing(socket.socket()))
            guest.setblocking(False)
            guest.connect_ex(full.getsockname())
        with pytest.raises(Unreachable, match=r"no connection .* within 0\.1 s") as caught:
            transport_to(f"http://127.0.0.1:{full.getsockname()[1]}", timeout=SHORT)(TIME)
    assert caught.value.can_retry


def test_a_name_that_is_looked_up_for_ever(transport_to: NewTransport, monkeypatch: pytest.MonkeyPatch) -> None:
    found = threading.Event()

    def look_up(*_arguments: object, **_options: object) -> None:
        found.wait(HANGS)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    with pytest.raises(Unclear, match="timeout"):
        transport_to("https://exchange.invalid", timeout=SHORT)(TIME)
    found.set()


def test_a_handshake_that_never_ends(transport_to: NewTransport) -> None:
    with Raw(lambda connection: None) as silent, pytest.raises(Unclear):
        transport_to(silent.url.replace("http:", "https:"), timeout=SHORT)(TIME)


@pytest.mark.parametrize(
    ("fault", "is_read"),
    [
        (Fault(size=LARGEST_ANSWER), True),
        (Fault(size=LARGEST_ANSWER + 1), False),
        (Fault(endless=True), False),
    ],
)
def test_the_size_of_an_answer_is_bounded(
    plain: Sandbox, exchange: Exchange, transport_to: NewTransport, fault: Fault, is_read: bool
) -> None:
    exchange.add_fault("time", fault)
    transport = transport_to(plain.url)
    if is_read:
        assert len(transport(TIME).body) == LARGEST_ANSWER
    else:
        with pytest.raises(Unclear, match="larger than 2048 KiB"):
            transport(TIME)


@pytest.mark.parametrize(("size", "length"), [(LARGEST_REFUSAL, LARGEST_REFUSAL), (LARGEST_REFUSAL + 1, 0)])
def test_the_size_of_a_refusal_is_bounded(
    plain: Sandbox, exchange: Exchange, transport_to: NewTransport, size: int, length: int
) -> None:
    exchange.add_fault("time", Fault(status=400, size=size))
    answer = transport_to(plain.url)(TIME)
    assert (answer.status, len(answer.body)) == (400, length)


# --- read_no_options is sent by a request that was given up ---


def test_a_request_whose_name_is_found_too_late_is_never_sent(
    transport_to: NewTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, found = threading.Event(), threading.Event()
    real = socket.getaddrinfo
    threads: list[threading.Thread] = []

    def look_up(*arguments: Any, **options: Any) -> Any:
        threads.append(threading.current_thread())
        asked.set()
        found.wait(HANGS)
        return real(*arguments, **options)

    with talking(OK) as server:
        transport = transport_to(server.url, timeout=SHORT)
        monkeypatch.setattr(socket, "getaddrinfo", look_up)
        with pytest.raises(Unreachable, match="half of timeout"):
            transport(KEYS)
        assert asked.is_set()
        found.set()
        (thread,) = threads
        thread.join(HANGS)
        monkeypatch.setattr(socket, "getaddrinfo", real)
        assert server.connections == 0
        assert transport(KEYS).body == b"{}"
    assert len(server.heads) == 1


def test_time_that_is_up_before_the_first_byte_keeps_the_request_back(
    transport_to: NewTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    expire: list[Any] = []

    def timer(_seconds: float, function: Any) -> Any:
        expire.append(function)
        return SimpleNamespace(start=lambda: None, cancel=lambda: None)

    monkeypatch.setattr(_transport, "Timer", timer)
    with talking(OK) as server:
        transport = transport_to(server.url)
        transport._may_send = lambda: expire[-1]()
        with pytest.raises(Unreachable):
            transport(KEYS)
        transport._may_send = lambda: None
        assert transport(KEYS).body == b"{}"
    assert len(server.heads) == 1


def test_nothing_is_sent_by_a_closed_transport(transport_to: NewTransport) -> None:
    with talking(OK) as server:
        transport = transport_to(server.url)
        transport(KEYS)
        transport.close()
        transport.close()
        with pytest.raises(Unreachable, match="the task has ended") as caught:
            transport(KEYS)
    assert not caught.value.can_retry
    assert len(server.heads) == 1


def test_an_interruption_passes_through_and_leaves_no_connection(transport_to: NewTransport) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    with talking(OK) as server:
        transport = transport_to(server.url)
        transport(KEYS)
        transport._may_send = interrupt
        with pytest.raises(KeyboardInterrupt):
            transport(KEYS)
        transport._may_send = lambda: None
        transport(KEYS)
    assert (server.connections, len(server.heads)) == (2, 2)


@pytest.mark.parametrize("starts", [0, 1])
def test_a_thread_that_cannot_be_started_sends_nothing(
    transport_to: NewTransport, monkeypatch: pytest.MonkeyPatch, starts: int
) -> None:
    real = threading.Thread.start
    with talking(OK) as server:
        transport = transport_to(server.url)
        left = iter(range(starts))

        def start(thread: threading.Thread) -> None:
            if next(left, None) is None:
                raise RuntimeError("can't start new thread")
            real(thread)

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", start)
            with pytest.raises(Unreachable, match="no thread could be started"):
                transport(KEYS)
    assert server.heads == []


def test_a_server_that_hangs_up_after_each_answer_gets_each_request_once(transport_to: NewTransport) -> None:
    with saying(OK) as server:
        transport = transport_to(server.url)
        for _request in range(3):
            with suppress(Unclear):
                transport(KEYS)
    assert len(server.heads) <= 3


# --- what an answer may cost ---


@pytest.mark.parametrize("encoding", ["gzip", "gzip, gzip", "deflate", "br", "zstd", "GZIP", "identity, gzip"])
def test_an_encoded_answer_is_none(transport_to: NewTransport, encoding: str) -> None:
    """Some kilobytes of it may be gigabytes when they are decoded."""
    bomb = gzip.compress(gzip.compress(bytes(64 << 20)))
    head = f"HTTP/1.1 200 OK\r\nContent-Encoding: {encoding}\r\nContent-Length: {len(bomb)}\r\n\r\n".encode()
    with talking(head + bomb) as server:
        tracemalloc.start()
        try:
            with pytest.raises(Unclear, match="the answer is compressed") as caught:
                transport_to(server.url)(KEYS)
            _now, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert not isinstance(caught.value, Unreachable)
    assert peak < 16 << 20
    assert b"Accept-Encoding: identity\r\n" in server.heads[0]


def test_hints_without_end_end_with_the_time(transport_to: NewTransport) -> None:
    def converse(connection: socket.socket) -> None:
        server.head(connection)
        while True:
            connection.sendall(b"HTTP/1.1 100 Continue\r\nX-Pad: " + b"a" * 60_000 + b"\r\n\r\n")

    with Raw(converse) as server, pytest.raises(Unclear):
        transport_to(server.url, timeout=SHORT)(KEYS)


def test_cookies_are_not_kept(transport_to: NewTransport) -> None:
    with talking(HEAD + b"Set-Cookie: session=alpha; Path=/\r\nContent-Length: 2\r\n\r\n{}") as server:
        transport = transport_to(server.url)
        transport(KEYS)
        transport(KEYS)
    assert not any(b"cookie" in head.lower() for head in server.heads)


# --- no secret in an error ---


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
def test_the_password_of_a_proxy_is_not_shown(
    transport_to: NewTransport, monkeypatch: pytest.MonkeyPatch, proxy_url: str
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", proxy_url)
    with pytest.raises(Unreachable) as caught:
        transport_to("https://exchange.invalid", timeout=1.0)(KEYS)
    assert "ter2" not in str(caught.value)
    assert "hun" not in str(caught.value)
    assert "proxy" in str(caught.value)


HEAD = b"HTTP/1.1 200 OK\r\n"
ODDITIES = {
    "nothing": b"",
    "noise": bytes(range(256)),
    "no status": b"HTTP/1.1\r\n\r\n",
    "status of letters": b"HTTP/1.1 abc OK\r\n\r\n",
    "status below all": b"HTTP/1.1 000 OK\r\n\r\n",
    "status above all": b"HTTP/1.1 99999 OK\r\n\r\n",
    "status of other digits": "HTTP/1.1 \u0662\u0660\u0660 OK\r\n\r\n".encode(),
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n",
    "http 0.9": b"{}",
    "http 3": b"HTTP/3 200 OK\r\n\r\n{}",
    "a line without end": HEAD + b"X-Long: " + b"a" * (1 << 20),
    "headers without end": HEAD + b"X-Many: a\r\n" * 5000 + b"\r\n",
    "header without colon": HEAD + b"nonsense\r\n\r\n{}",
    "header of other bytes": HEAD + b"X-\xff\x00: \xfe\x00\r\nContent-Length: 2\r\n\r\n{}",
    "folded header": HEAD + b"X-Folded: a\r\n b\r\nContent-Length: 2\r\n\r\n{}",
    "length of letters": HEAD + b"Content-Length: many\r\n\r\n{}",
    "negative length": HEAD + b"Content-Length: -2\r\n\r\n{}",
    "two lengths": HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "huge length": HEAD + b"Content-Length: 99999999999999999999999\r\n\r\n{}",
    "chunk of letters": HEAD + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n",
    "negative chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n-2\r\n{}\r\n0\r\n\r\n",
    "huge chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
    "no last chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    "a chunk line without end": HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + b"1" * 100_000,
    "bad gzip": HEAD + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "bad deflate": HEAD + b"Content-Encoding: deflate\r\nContent-Length: 2\r\n\r\n{}",
    "many encodings": HEAD + b"Content-Encoding: " + b"gzip, " * 50 + b"gzip\r\nContent-Length: 2\r\n\r\n{}",
    "only hints": b"HTTP/1.1 100 Continue\r\n\r\n" * 3,
    "switching": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
    "bad location": b"HTTP/1.1 302 Found\r\nLocation: http://[\xff:::/\r\nContent-Length: 0\r\n\r\n",
    "cookies": HEAD + b"Set-Cookie: a=b; expires=nonsense; domain=..; path=\xff\r\nContent-Length: 2\r\n\r\n{}",
}


@pytest.mark.parametrize("answer", ODDITIES.values(), ids=ODDITIES)
def test_what_is_no_http_is_no_answer(transport_to: NewTransport, answer: bytes) -> None:
    """It is unclear what became of the request, or it is an answer for the client to judge; nothing else comes out."""
    with saying(answer) as server:
        ended = end_of(transport_to(server.url))
    assert server.connections == 1
    if isinstance(ended, Unclear):
        assert not isinstance(ended, Unreachable), ended
        assert "\n" not in str(ended)
    else:
        assert ended.status < 1000
        assert len(ended.body) <= 2


def end_of(transport: Transport) -> Answer | Unclear:
    try:
        return transport(KEYS)
    except Unclear as unclear:
        return unclear
