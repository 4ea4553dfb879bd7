# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One dead address of a host does not keep a task from reaching the others."""

from __future__ import annotations

import errno
import socket
import time
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import sockets as _sockets
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.sockets import connect_first

from ..raw_server import RawServer

HANG_TIMEOUT = 30.0
NO_ROUTE = ("127.0.0.7", 1)
NO_SOCKET = ("127.0.0.8", 1)


def to_rows(*addresses: tuple[str, int], family: int = socket.AF_INET) -> list[Any]:
    """Return addresses in the form of socket.getaddrinfo."""
    return [(family, socket.SOCK_STREAM, 0, "", address) for address in addresses]


def hold(connection: socket.socket) -> None:
    """Keep a connection open until the client closes it, and check that the client sent nothing."""
    assert connection.recv(1) == b""


def connect(*addresses: tuple[str, int], timeout: float = HANG_TIMEOUT) -> tuple[str, int]:
    """Return the address that the socket is connected to."""
    with connect_first(to_rows(*addresses), time.monotonic() + timeout) as sock:
        address: tuple[str, int] = sock.getpeername()
        return address


@pytest.fixture
def refused_address() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
        return address


def test_first_address_is_used_if_it_answers() -> None:
    with RawServer(hold) as first, RawServer(hold) as second:
        assert connect(("127.0.0.1", first.port), ("127.0.0.1", second.port)) == ("127.0.0.1", first.port)
    assert second.connections == 0


def test_next_address_is_used_if_one_does_not_answer(
    dead_address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_sockets, "_NEXT_ADDRESS_SECONDS", 0.001)
    with RawServer(hold) as server:
        assert connect(dead_address, dead_address, ("127.0.0.1", server.port)) == ("127.0.0.1", server.port)


def test_next_address_is_used_at_once_if_one_refuses(
    refused_address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    # The test would hang if the next address had to wait for its turn.
    monkeypatch.setattr(_sockets, "_NEXT_ADDRESS_SECONDS", 10 * HANG_TIMEOUT)
    with RawServer(hold) as server:
        addresses = [refused_address] * 3 + [("127.0.0.1", server.port)]
        started = time.monotonic()
        assert connect(*addresses, timeout=100 * HANG_TIMEOUT) == ("127.0.0.1", server.port)
        assert time.monotonic() - started < HANG_TIMEOUT


def test_time_is_over_if_no_address_answers(dead_address: tuple[str, int]) -> None:
    with pytest.raises(TimeoutError):
        connect(dead_address, dead_address, timeout=0.05)


class LimitedSocket(socket.socket):
    """A socket on a machine that has no route to NO_ROUTE."""

    def connect_ex(self, address: Any) -> int:
        return errno.ENETUNREACH if address == NO_ROUTE else super().connect_ex(address)


def test_error_of_the_exchange_is_raised_rather_than_one_of_this_machine(
    refused_address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", LimitedSocket)
    with pytest.raises(ConnectionRefusedError):
        connect(NO_ROUTE, refused_address, NO_ROUTE)
    with pytest.raises(OSError, match="unreachable"):
        connect(NO_ROUTE, NO_ROUTE)


def test_family_that_this_machine_does_not_have_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    with RawServer(hold) as server:
        rows = to_rows(("::1", 1), family=9999) + to_rows(("127.0.0.1", server.port))
        with connect_first(rows, time.monotonic() + HANG_TIMEOUT) as sock:
            assert sock.getpeername() == ("127.0.0.1", server.port)


@pytest.mark.parametrize("method", ["setblocking", "connect_ex"])
def test_socket_that_cannot_start_to_connect_is_closed(monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    opened: list[socket.socket] = []

    def fail(sock: socket.socket, _argument: object) -> None:
        opened.append(sock)
        raise OSError(errno.ENOBUFS, "no space")

    monkeypatch.setattr(socket, "socket", type("FailingSocket", (socket.socket,), {method: fail}))
    with pytest.raises(OSError, match="no space"):
        connect_first(to_rows(("127.0.0.1", 1)), time.monotonic() + HANG_TIMEOUT)
    assert [sock.fileno() for sock in opened] == [-1]


def test_connected_socket_is_closed_if_it_cannot_be_prepared(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[socket.socket] = []

    def fail(sock: socket.socket, *_arguments: object) -> None:
        opened.append(sock)
        raise OSError(errno.EINVAL, "not supported")

    with RawServer(hold) as server:
        monkeypatch.setattr(socket, "socket", type("FailingSocket", (socket.socket,), {"setsockopt": fail}))
        with pytest.raises(OSError, match="not supported"):
            _sockets.open_socket("127.0.0.1", server.port, time.monotonic() + HANG_TIMEOUT)
        assert [sock.fileno() for sock in opened] == [-1]


def test_all_sockets_but_one_are_closed(dead_address: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sockets, "_NEXT_ADDRESS_SECONDS", 0.001)
    opened: list[socket.socket] = []

    class RecordedSocket(socket.socket):
        def setblocking(self, flag: bool) -> None:
            opened.append(self)
            super().setblocking(flag)

    monkeypatch.setattr(socket, "socket", RecordedSocket)
    with RawServer(hold) as server:  # noqa: SIM117 # ansible-test compiles the tests of modules with Python 3.8
        with connect_first(to_rows(dead_address, ("127.0.0.1", server.port)), time.monotonic() + HANG_TIMEOUT) as sock:
            assert [each for each in opened if each.fileno() >= 0] == [sock]
    assert len(opened) == 2


def test_families_take_turns() -> None:
    six = to_rows(("a", 1), ("b", 1), ("c", 1), family=socket.AF_INET6)
    four = to_rows(("d", 1), ("e", 1))
    assert [row[4][0] for row in _sockets._interleave(six + four)] == list("adbec")
    assert [row[4][0] for row in _sockets._interleave(four + six)] == list("daebc")
    assert _sockets._interleave([]) == []
