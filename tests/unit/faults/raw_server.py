# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers below HTTP: one that says what it is returned to, and a proxy that makes tunnels."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

Conversation = Callable[[socket.socket], None]


class Raw:
    """Has a `conversation` with each connection, and counts them, while its context lasts."""

    def __init__(self, conversation: Conversation) -> None:
        self.connections = 0
        self.heads: list[bytes] = []
        self._conversation = conversation
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Raw:
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        for end in (self._listener, *self._open):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(30)
        for end in (self._listener, *self._open):
            end.close()

    def keep(self, end: socket.socket) -> socket.socket:
        """Have a connection closed when the context ends."""
        self._open.append(end)
        return end

    def head(self, connection: socket.socket) -> bytes:
        """The next request up to the end of its headers; empty where the connection ends."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            byte = connection.recv(1)
            if not byte:
                return b""
            head += byte
        self.heads.append(head)
        return head

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection = self.keep(self._listener.accept()[0])
                self.connections += 1
                thread = threading.Thread(target=self._converse, args=(connection,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _converse(self, connection: socket.socket) -> None:
        with suppress(OSError):
            self._conversation(connection)


def saying(*answers: bytes) -> Raw:
    """A server that says one thing to each connection's first request, the last of them ever after, and hangs up."""
    waiting = list(answers)

    def answer(connection: socket.socket) -> None:
        if server.head(connection):
            connection.sendall(waiting.pop(0) if len(waiting) > 1 else waiting[0])
        connection.shutdown(socket.SHUT_RDWR)

    server = Raw(answer)
    return server


def talking(answer: bytes) -> Raw:
    """A server that says the same to every request, on a connection that it keeps."""

    def answer_all(connection: socket.socket) -> None:
        while server.head(connection):
            connection.sendall(answer)

    server = Raw(answer_all)
    return server


def proxy() -> Raw:
    """A proxy that makes a tunnel to wherever it is asked for."""

    def tunnel(connection: socket.socket) -> None:
        host, port = server.head(connection).split()[1].decode().rsplit(":", 1)
        upstream = server.keep(socket.create_connection((host, int(port))))
        connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        back = threading.Thread(target=_pump, args=(upstream, connection), daemon=True)
        back.start()
        _pump(connection, upstream)
        back.join(30)

    server = Raw(tunnel)
    return server


def _pump(source: Any, sink: Any) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_RDWR)
