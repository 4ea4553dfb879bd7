# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Open a socket to a host: look its name up within a deadline, and try its addresses side by side.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from itertools import zip_longest
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Sequence

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Unreachable

# After this time without a response, the next address of a host is tried, too (RFC 8305, section 5).
_NEXT_ADDRESS_SECONDS = 0.25
# Errors of this machine. An error of the exchange says more.
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def start_thread(thread: Thread) -> None:
    """Start a thread. Raise Unreachable if the operating system starts no more."""
    try:
        thread.start()
    except RuntimeError:
        raise Unreachable(
            "No thread could be started, so nothing was sent. Check the limit of processes (ulimit -u)."
        ) from None


def open_socket(host: str, port: int, deadline: float) -> socket.socket:
    """Return a socket that is connected to a host until the deadline. Raise OSError or Unreachable if that fails."""
    sock = connect_first(_resolve(host, port, deadline), deadline)
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(max(0.001, deadline - time.monotonic()))
    except OSError:
        sock.close()
        raise
    return sock


def _resolve(host: str, port: int, deadline: float) -> list[Any]:
    """Return the addresses of a host. A look-up has no timeout, so a thread does it until the deadline."""
    results: SimpleQueue[Any] = SimpleQueue()
    start_thread(Thread(target=_look_up, args=(host.strip("[]"), port, results), daemon=True))
    try:
        result = results.get(timeout=max(0.0, deadline - time.monotonic()))
    except Empty:
        raise TimeoutError from None
    if isinstance(result, Exception):
        raise result
    return list(result)


def _look_up(host: str, port: int, results: SimpleQueue[Any]) -> None:
    """Put the addresses of a host, or the error, into a queue."""
    try:
        results.put(socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM))
    except Exception as error:
        results.put(error)


def connect_first(addresses: Sequence[Any], deadline: float) -> socket.socket:
    """Return a socket that is connected to one of the addresses of a host. Raise OSError if there is none.

    One dead address must not take all of the time. If an address fails or does not answer for a moment, the next one is
    tried beside it, and the first connection is used. Nothing is sent on the others.
    """
    waiting = _interleave(addresses)
    errors: list[OSError] = []
    pause = min(_NEXT_ADDRESS_SECONDS, (deadline - time.monotonic()) / max(1, len(waiting)))
    with selectors.DefaultSelector() as selector:
        try:
            while waiting or selector.get_map():
                if waiting:
                    try:
                        _start_connecting(waiting.pop(0), selector)
                    except OSError as error:
                        errors.append(error)
                sock = _wait_for_socket(selector, time.monotonic() + pause if waiting else deadline, errors)
                if sock is not None:
                    return sock
                if time.monotonic() >= deadline:
                    raise TimeoutError
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr] # each one is a socket
    raise [*(error for error in errors if error.errno not in _NO_ROUTE), *errors][0]


def _interleave(addresses: Sequence[Any]) -> list[Any]:
    """Return the addresses of a host, the two families in turn. The order within a family stays the same."""
    first = [address for address in addresses if address[0] == addresses[0][0]]
    others = [address for address in addresses if address[0] != addresses[0][0]]
    return [address for pair in zip_longest(first, others) for address in pair if address]


def _start_connecting(address: Any, selector: selectors.BaseSelector) -> None:
    """Register a socket that connects to an address. Raise OSError if that fails."""
    family, kind, protocol, _name, location = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        code = sock.connect_ex(location)
        if code not in (0, errno.EINPROGRESS):
            raise OSError(code, os.strerror(code))
        selector.register(sock, selectors.EVENT_WRITE)
    except OSError:
        sock.close()
        raise


def _wait_for_socket(selector: selectors.BaseSelector, until: float, errors: list[OSError]) -> socket.socket | None:
    """Return the first socket that connects. None if the time is over or some failed, whose errors the list gets."""
    ready = selector.select(max(0.0, until - time.monotonic())) if selector.get_map() else []
    for key, _events in ready:
        sock: Any = key.fileobj
        selector.unregister(sock)
        code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if not code:
            return sock  # type: ignore[no-any-return] # each one is a socket
        sock.close()
        errors.append(OSError(code, os.strerror(code)))
    return None
