# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The server: an exchange on a loopback port. It also applies the parts of a fault that need a socket."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache, partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from itertools import chain, repeat
from socketserver import ThreadingTCPServer
from threading import Event, Thread, current_thread
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from . import control
from .exchange import Exchange, Request
from .faults import Fault, Response

Log = Callable[[Request], None]
LOOPBACK = "127.0.0.1"
_PADDING = b" " * (1 << 16)


class Sandbox:
    """A context manager that serves an exchange over HTTP."""

    def __init__(
        self, exchange: Exchange, port: int = 0, tls: ssl.SSLContext | None = None, log: Log | None = None
    ) -> None:
        """Bind the port.

        Args:
            exchange: The exchange to serve.
            port: The port, 0 for a free one.
            tls: Serve HTTPS with this context.
            log: Called with each request before its response is sent.

        Raises:
            OSError: The port cannot be bound.
        """
        self.exchange = exchange
        self.tls = tls
        self.log = log
        self.stopping = Event()
        self._server = _Server(self, port)
        self._thread = Thread(target=self._accept, daemon=True)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://{LOOPBACK}:{self._server.server_address[1]}"

    def __enter__(self) -> Sandbox:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopping.set()
        # The accepting thread waits for a connection, so this one ends its wait. It is refused after the first exit.
        with suppress(OSError):
            socket.create_connection(self._server.socket.getsockname()).close()
        self._thread.join()
        self._server.server_close()
        self._server.close_connections()

    def _accept(self) -> None:
        while not self.stopping.is_set():
            self._server.handle_request()

    def wait(self, seconds: float) -> None:
        """Sleep. Raises an error, which ends the connection, when the sandbox stops."""
        if self.stopping.wait(seconds):
            raise _Stopping


class _Stopping(ConnectionError):
    """The sandbox stops."""


class _Server(ThreadingTCPServer):
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, sandbox: Sandbox, port: int) -> None:
        self.sandbox = sandbox
        self.connections: dict[Thread, socket.socket] = {}
        super().__init__((LOOPBACK, port), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        thread = Thread(target=self.process_request_thread, args=(request, client_address), daemon=True)
        self.connections[thread] = request
        thread.start()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            del self.connections[current_thread()]

    def finish_request(self, request: Any, client_address: Any) -> None:
        # In the thread of the connection, so that a slow TLS handshake does not delay other connections.
        if self.sandbox.tls:
            request = self.sandbox.tls.wrap_socket(request, server_side=True, do_handshake_on_connect=False)
            self.connections[current_thread()] = request
        try:
            self.sandbox.wait(0)
            super().finish_request(request, client_address)
        finally:
            request.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of an error, unless the connection was closed, which is normal."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def close_connections(self) -> None:
        for thread, connection in list(self.connections.items()):
            # The client may have closed the connection already.
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
            thread.join(timeout=1.0)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _handle_request(self) -> None:
        sandbox = self.server.sandbox
        request = self._read_request()
        if request is None:
            return
        if request.path.startswith(control.PREFIX):
            response, fault = control.run_command(sandbox.exchange, request), Fault()
        else:
            response, fault = sandbox.exchange.handle(request, sandbox.wait)
        if sandbox.log:
            sandbox.log(request)
        sandbox.wait(0 if fault.late else fault.delay)
        self._send_response(response, fault)

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = _handle_request  # noqa: N815 # http.server calls these names

    def _read_request(self) -> Request | None:
        length = self.headers.get("Content-Length", "0")
        if not length.isdecimal() or int(length) > 1 << 20:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        url = urlsplit(self.path)
        return Request(
            self.command, url.path, dict(parse_qsl(url.query, keep_blank_values=True)),
            _parse_body(self.rfile.read(int(length))), {name.lower(): value for name, value in self.headers.items()},
            target=url._replace(scheme="", netloc="").geturl(), address=str(self.client_address[0]),
        )  # fmt: skip

    def _send_response(self, response: Response, fault: Fault) -> None:
        self.close_connection |= fault.drop is not None
        if fault.drop in ("before", "after"):
            return
        for _copy in range(2 if fault.twice else 1):
            self._write([self._create_head(response, fault)], fault.drip if fault.drip_in == "headers" else 0.0)
            self._write(_body_parts(response.body, fault), fault.drip if fault.drip_in == "body" else 0.0)

    def _write(self, parts: Iterable[bytes], drip: float) -> None:
        """Write the parts at once, or byte by byte with a wait of `drip` seconds after each."""
        for part in parts:
            if not drip:
                self.wfile.write(part)
                continue
            for byte in part:
                self.wfile.write(bytes([byte]))
                self.server.sandbox.wait(drip)

    def _create_head(self, response: Response, fault: Fault) -> bytes:
        exchange = self.server.sandbox.exchange
        headers: dict[str, str | None] = {
            "Date": formatdate(exchange.clock() + fault.skew, usegmt=True), "Content-Type": response.content_type,
            "Content-Encoding": "gzip" if fault.gzip else None,
            "Transfer-Encoding": "chunked" if _is_chunked(fault) else None,
            "Content-Length": None if _is_chunked(fault) else str(max(len(response.body), fault.size)),
            "Connection": "close" if self.close_connection else None,
            **{name.title(): value for name, value in response.headers.items()},
        }  # fmt: skip
        phrase = self.responses.get(response.status, ("",))[0]
        lines = [f"HTTP/1.1 {response.status} {phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items() if value is not None]
        return "\r\n".join([*lines, "\r\n"]).encode()

    def log_message(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing. `Sandbox.log` replaces the log of http.server."""


def _parse_body(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return body


def _is_chunked(fault: Fault) -> bool:
    return fault.endless or fault.gzip


def _body_parts(body: bytes, fault: Fault) -> Iterable[bytes]:
    """Return the bytes to send for a body: padded, compressed and chunked as the fault says."""
    if fault.drop == "body":
        return [body[: len(body) // 2]]
    count, rest = divmod(max(0, fault.size - len(body)), len(_PADDING))
    parts = chain([body], repeat(_PADDING) if fault.endless else chain(repeat(_PADDING, count), [_PADDING[:rest]]))
    if not _is_chunked(fault):
        return parts
    # Each part is a gzip member of its own, so that the padding is compressed only once, whatever its size.
    encoded = map(_compress, parts) if fault.gzip else parts
    return chain((b"%x\r\n%s\r\n" % (len(part), part) for part in encoded if part), [b"0\r\n\r\n"])


# The padding is compressed only once.
_compress = lru_cache(maxsize=4)(partial(gzip.compress, mtime=0))
