# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers that send raw bytes, also invalid HTTP, and proxies that open tunnels."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

JOIN_TIMEOUT = 30.0


class RawServer:
    """A TCP server on loopback that runs `handle_connection` for each connection, in a thread of its own.

    Attributes:
        connections: The number of connections that were accepted.
        heads: The requests that `read_head` returned, each up to the end of its headers.
    """

    def __init__(self, handle_connection: Callable[[socket.socket], None]) -> None:
        self.connections = 0
        self.heads: list[bytes] = []
        self._handle_connection = handle_connection
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept_connections, daemon=True)]

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> RawServer:
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        for sock in (self._listener, *self._sockets):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(JOIN_TIMEOUT)
        for sock in (self._listener, *self._sockets):
            sock.close()

    def close_on_exit(self, sock: socket.socket) -> socket.socket:
        """Close a socket when the server stops."""
        self._sockets.append(sock)
        return sock

    def read_head(self, connection: socket.socket) -> bytes:
        """Read the next request up to the end of its headers; return no bytes if the client closed the connection."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                return b""
            head += byte
        self.heads.append(head)
        return head

    def _accept_connections(self) -> None:
        with suppress(OSError):
            while True:
                connection = self.close_on_exit(self._listener.accept()[0])
                self.connections += 1
                thread = threading.Thread(target=self._run_handler, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _run_handler(self, connection: socket.socket) -> None:
        with suppress(OSError):
            self._handle_connection(connection)


def closing_server(*responses: bytes) -> RawServer:
    """Return a server that answers the first request of each connection and then closes the connection.

    Each connection gets the next of the responses. When only one is left, all further connections get that one.
    """
    remaining = list(responses)

    def response_once(connection: socket.socket) -> None:
        if server.read_head(connection):
            connection.sendall(_next_of(remaining))
        connection.shutdown(socket.SHUT_RDWR)

    server = RawServer(response_once)
    return server


def keep_alive_server(*responses: bytes) -> RawServer:
    """Return a server that keeps its connections open.

    Each request gets the next of the responses. When only one is left, all further requests get that one.
    """
    remaining = list(responses)

    def response_all(connection: socket.socket) -> None:
        while server.read_head(connection):
            connection.sendall(_next_of(remaining))

    server = RawServer(response_all)
    return server


def tunnel_proxy() -> RawServer:
    """Return a proxy that opens a tunnel to the host and port of each CONNECT request."""

    def open_tunnel(connection: socket.socket) -> None:
        host, port = server.read_head(connection).split()[1].decode().rsplit(":", 1)
        _open_tunnel(server, connection, (host, int(port)), b"HTTP/1.1 200 Connection established\r\n\r\n")

    server = RawServer(open_tunnel)
    return server


def socks_proxy(reply: int = 0) -> RawServer:
    """Return a proxy of SOCKS version 5 that opens a tunnel to an IPv4 address, or refuses it with this reply."""

    def open_tunnel(connection: socket.socket) -> None:
        _version, method_count = connection.recv(2)
        connection.recv(method_count)
        connection.sendall(b"\x05\x00")
        request = connection.recv(262)
        response = bytes([5, reply, 0, 1, 0, 0, 0, 0, 0, 0])
        if reply:
            connection.sendall(response)
        else:
            address = (socket.inet_ntoa(request[4:8]), int.from_bytes(request[8:10], "big"))
            _open_tunnel(server, connection, address, response)

    server = RawServer(open_tunnel)
    return server


def _open_tunnel(server: RawServer, connection: socket.socket, address: tuple[str, int], response: bytes) -> None:
    """Connect to an address, send a response to the client, then copy the bytes of both sides to each other."""
    upstream = server.close_on_exit(socket.create_connection(address))
    connection.sendall(response)
    downstream = threading.Thread(target=_copy_bytes, args=(upstream, connection), daemon=True)
    downstream.start()
    _copy_bytes(connection, upstream)
    downstream.join(JOIN_TIMEOUT)


def _next_of(remaining: list[bytes]) -> bytes:
    return remaining.pop(0) if len(remaining) > 1 else remaining[0]


def _copy_bytes(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
