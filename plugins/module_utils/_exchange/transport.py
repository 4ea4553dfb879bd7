# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends one HTTP request at a time over one connection, with a limit on the time and the size of the response.

Only the calling thread connects and sends, so it knows whether the first byte of a request was sent. Two helper threads
set limits that Python has no other means for. Neither of them can send: one resolves a host name, and one shuts down a
connection whose timeout has passed.

A connection that cannot be opened raises the final error itself, where the cause is known. No library wraps that error,
because it is none of its own.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import time
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from threading import Lock, Timer
from typing import Any, Callable, Iterator, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import environment, errors, libraries
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.sockets import open_socket, start_thread

# The largest response, Get Instrument Info with about 700 symbols, is smaller than 1 MiB.
MAX_RESPONSE_BYTES = 2 << 20
# Only the message of a refusal is used.
MAX_REFUSAL_BYTES = 64 << 10
_CHUNK_BYTES = 16 << 10
# Common servers close a connection that is idle for 5 s or longer. A request that is sent just then gets no response.
MAX_IDLE_SECONDS = 4.0
_HEADERS = {
    "Content-Type": "application/json",
    # A compressed response can be a thousand times as large as the bytes that are received.
    "Accept-Encoding": "identity",
    # A shared cache could return the response to another account.
    "Cache-Control": "no-cache",
}


class Request(NamedTuple):
    """A request, with the parameters of the query or with a body."""

    method: str
    path: str
    params: Mapping[str, str]
    body: str | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Response(NamedTuple):
    """The response to a request. The body of a refusal is empty if it could not be read.

    Upper and lower case do not matter in the names of the headers.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Attempt:
    """One attempt to send a request: its deadlines, and whether its first byte was sent. Times are monotonic."""

    def __init__(self, timeout: float) -> None:
        # The other half is for the response. An attempt that did not connect sent nothing, so it can be repeated.
        self.connect_deadline = time.monotonic() + timeout / 2
        self.sent = False
        self.expired = False
        self.connection: Any = None
        # Stored here, because http.client drops its reference while it reads the last response of a connection.
        self.sock: Any = None
        self._finished = False
        self._lock = Lock()
        self._watchdog = Timer(timeout, self._expire)
        self._watchdog.daemon = True

    def __enter__(self) -> _Attempt:
        start_thread(self._watchdog)
        return self

    def __exit__(self, *error: object) -> None:
        self._watchdog.cancel()
        with self._lock:
            self._finished = True

    def mark_sent(self) -> None:
        """Record that the first byte is sent next. Raise TimeoutError if the timeout has passed."""
        with self._lock:
            self.raise_if_expired()
            self.sock = self.connection.sock
            self.sent = True

    def has_unread_bytes(self) -> bool:
        """Return whether TLS has bytes after the response. urllib3 sees only bytes that are still in the socket."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def raise_if_expired(self) -> None:
        """Raise TimeoutError if the timeout has passed. A shut connection looks like a complete response."""
        if self.expired:
            raise TimeoutError

    def _expire(self) -> None:
        """Shut the connection down. The calling thread, which waits for bytes, then wakes up."""
        with self._lock:
            if self._finished:
                return
            self.expired = True
            sock: Any = self.sock or getattr(self.connection, "sock", None)
            # The shutdown() of a TLS socket would remove the TLS object that the calling thread is using.
            with contextlib.suppress(OSError, TypeError):
                socket.socket.shutdown(getattr(sock, "socket", sock), socket.SHUT_RDWR)


class _Session(libraries.Session):
    """A session of requests that never follows a redirect."""

    # When the last response was received, in monotonic seconds. Before the first response, there is no idle time.
    last_used = float("inf")

    def get_redirect_target(self, resp: Any) -> None:
        """Return no target. requests would otherwise read the whole body of a redirect, however long it is."""


class Transport:
    """Sends signed requests to the exchange.

    Args:
        url: The scheme, host and port of the API.
        auth: Signs each request when it is sent.
        timeout: The seconds that one request may take, from the name look-up to the last byte of the response.
        verify: Whether to verify TLS certificates, or the path of a file or folder with trusted authorities.
        may_send: Called before the first byte of each request. An exception keeps the request from being sent.
        clock: Returns monotonic seconds.

    Attributes:
        proxy: The proxy that all requests go through. None without one.
    """

    def __init__(
        self,
        url: str,
        auth: libraries.AuthBase,
        timeout: float,
        verify: bool | str,
        may_send: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        libraries.require_libraries()
        self._url = url
        self._auth = auth
        self._timeout = timeout
        self.proxy = environment.find_proxy(url)
        self._authorities = environment.find_authorities(url, verify)
        self._verify = verify and (self._authorities.path if self._authorities else True)
        self._may_send = may_send
        self._clock = clock
        self._closed = False
        self._attempt = _Attempt(timeout)
        self._session = self._new_session()

    def _new_session(self) -> _Session:
        session = _Session()
        # environment.py reads the environment, so that a message can name the variable that is set.
        session.trust_env = False
        # A cookie would link the requests of two accounts.
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.mount(self._url, _Adapter(self))
        if self._verify is False:
            libraries.urllib3.disable_warnings(libraries.urllib3.exceptions.InsecureRequestWarning)
        return session

    @property
    def sent(self) -> bool:
        """Whether the first byte of the last request was sent."""
        return self._attempt.sent

    def reset_connection(self) -> None:
        """Use a new connection for the next request, because the old one may still receive an earlier response."""
        with contextlib.suppress(Exception):
            self._session.close()
        self._session = self._new_session()

    @contextlib.contextmanager
    def allow_after_end(self, seconds: float) -> Iterator[None]:
        """Send requests for some seconds without a call of `may_send`."""
        may_send, deadline = self._may_send, self._clock() + seconds
        self._may_send = lambda: None if self._clock() < deadline else may_send()
        try:
            yield
        finally:
            self._may_send = may_send

    def close(self) -> None:
        """Send no more requests."""
        self._closed = True
        with contextlib.suppress(Exception):
            self._session.close()

    def __call__(self, request: Request) -> Response:
        """Send a request, and return the response whatever its status.

        Raises:
            Unreachable: Nothing was sent.
            Unclear: The request was sent, but there is no complete response.
        """
        attempt = self._attempt = _Attempt(self._timeout)
        self._raise_if_closed()
        if self._clock() - self._session.last_used > MAX_IDLE_SECONDS:
            self.reset_connection()
        try:
            with attempt:
                return self._exchange(request, attempt)
        except BaseException as error:
            # The response can still arrive on this connection, also if the task was interrupted.
            self.reset_connection()
            if isinstance(error, Exception):  # any exception of the libraries means that there is no response
                raise self.explain(error) from None
            raise

    def _exchange(self, request: Request, attempt: _Attempt) -> Response:
        if self.proxy:
            environment.check_proxy(self.proxy, self._url)
        with self._session.request(
            request.method,
            self._url + request.path,
            params=dict(request.params),
            data=request.body,
            headers=_HEADERS,
            proxies={"https": self.proxy.url} if self.proxy else {},
            auth=self._auth,
            timeout=(self._timeout / 2, self._timeout),
            allow_redirects=False,
            stream=True,
            verify=self._verify,
        ) as response:
            status = response.status_code
            self._session.last_used = self._clock()
            try:
                body = _read_body(response, MAX_RESPONSE_BYTES if status < 300 else MAX_REFUSAL_BYTES, attempt)
            except Exception:
                if status < 300:
                    raise
                # The status is a valid response. Only the message is missing.
                self.reset_connection()
                body = b""
            if attempt.has_unread_bytes():
                # They would be read as the response to the next request.
                self.reset_connection()
            return Response(status, response.headers, body)

    def before_first_byte(self, connection: Any) -> None:
        """Called by an open connection right before it sends the first byte of a request."""
        self._attempt.connection = connection
        self._may_send()
        self._raise_if_closed()
        self._attempt.mark_sent()

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise errors.Unreachable("The task has ended, so no more requests are sent.", can_retry=False)

    def open_socket(self, connection: Any, host: str, port: int) -> socket.socket:
        """Return a connected socket to the exchange or to its proxy. Raise OSError or Unreachable if that fails."""
        self._attempt.connection = connection
        return open_socket(host, port, self._attempt.connect_deadline)

    def explain(self, error: Exception, is_past_proxy: bool = True) -> errors.CoinSwitchError:
        """Return the error in our own words. The message of a library can contain the password of a proxy.

        Args:
            error: What the libraries raised.
            is_past_proxy: Whether the proxy did its part, so that the error is not about the proxy.
        """
        if isinstance(error, errors.CoinSwitchError):
            return error
        cause = _get_innermost(error)
        timed_out = self._attempt.expired or _is_timeout(cause)
        if not self._attempt.sent:
            return self._explain_unsent(cause, timed_out, is_past_proxy)
        if timed_out:
            return errors.Unclear(f"No complete response within {self._timeout:g} s (timeout).")
        return errors.Unclear(f"The connection broke before the response was complete ({_describe_cause(cause)}).")

    def _explain_unsent(self, cause: BaseException, timed_out: bool, is_past_proxy: bool) -> errors.Unreachable:
        """Return why nothing was sent.

        Args:
            cause: The innermost error.
            timed_out: Whether the time was over.
            is_past_proxy: As for `explain`.
        """
        proxy = None if is_past_proxy else self.proxy
        refusal = _REFUSED_TUNNEL.search(str(cause))
        if refusal and proxy:
            advice = _TUNNEL_ADVICE.get(refusal[1], "Check api_url and the proxy.")
            return errors.Unreachable(
                f"The proxy in {proxy.variable} did not connect to {self._url} (HTTP {refusal[1]}). {advice}"
            )
        setting = proxy.settings if proxy else "api_url"
        certificate_error = _describe_certificate_error(cause)
        if certificate_error:
            server = f"the proxy in {proxy.variable}" if proxy else self._url
            return errors.Unreachable(
                f"The TLS certificate of {server} is not trusted ({certificate_error}). Check {setting}, and set "
                "ca_path if your own authority signed the certificate.",
                can_retry=False,
            )
        if self._authorities and not self._authorities.are_readable():
            return errors.Unreachable(
                f"No request was sent to {self._url}, because the certificate authorities in "
                f"{self._authorities.source} cannot be read. Check that the path exists, is readable, and contains "
                "certificates in PEM format.",
                can_retry=False,
            )
        reason = _describe_cause(cause)
        if proxy:
            return errors.Unreachable(f"No connection to {self._url} through the proxy ({reason}). Check {setting}.")
        if timed_out:
            return errors.Unreachable(
                f"No connection to {self._url} within {self._timeout / 2:g} s (half of timeout). Check the network."
            )
        # The libraries refuse an address with a ValueError.
        can_retry = not isinstance(cause, ValueError)
        return errors.Unreachable(f"No connection to {self._url} ({reason}). Check api_url and the network.", can_retry)


# The message of http.client if a proxy refuses the tunnel to the exchange, and what to do about each status.
_REFUSED_TUNNEL = re.compile("connection failed: ([0-9]{3})")
_TUNNEL_ADVICE = {
    "403": "Check api_url, and allow its host in the rules of the proxy.",
    "407": "Correct the user and the password of the proxy.",
}


class _Connection(libraries.HTTPConnection):
    """A connection that asks its transport before it sends."""

    def __init__(self, transport: Transport, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._transport = transport
        self._is_past_proxy = transport.proxy is None

    def _new_conn(self) -> socket.socket:
        return self._transport.open_socket(self, self._dns_host, int(self.port))

    def _tunnel(self) -> None:
        super()._tunnel()
        self._is_past_proxy = True

    def connect(self) -> None:
        """Connect. Raise Unreachable if that fails."""
        try:
            super().connect()
        except Exception as error:  # the libraries raise many types
            raise self._transport.explain(error, self._is_past_proxy) from None

    def request(self, *args: Any, **options: Any) -> None:
        """Send a request, if the transport allows it."""
        if self.sock is None:
            self.connect()
        self._transport.before_first_byte(self)
        super().request(*args, **options)


class _TlsConnection(_Connection, libraries.HTTPSConnection):
    """The same, with TLS."""


class _SocksConnection(_Connection, libraries.SOCKSHTTPSConnection):
    """The same, with TLS through a SOCKS proxy. PySocks opens the socket, and has its own timeout."""

    def _new_conn(self) -> socket.socket:
        try:
            sock: socket.socket = libraries.SOCKSHTTPSConnection._new_conn(self)
        except libraries.urllib3.exceptions.HTTPError as error:
            # urllib3 does not set the cause. The error of PySocks says more, and the one inside of it says most.
            raise getattr(error.__context__, "socket_err", None) or error.__context__ or error from None
        self._is_past_proxy = True
        return sock


# By the class of urllib3 that each of them extends.
_CONNECTIONS: dict[type, type[_Connection]] = {
    libraries.HTTPConnection: _Connection,
    libraries.HTTPSConnection: _TlsConnection,
    libraries.SOCKSHTTPSConnection: _SocksConnection,
}


class _Adapter(libraries.HTTPAdapter):
    """Opens the connections of a session. Each connection knows its transport."""

    def __init__(self, transport: Transport) -> None:
        super().__init__(max_retries=0)
        self._transport = transport

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Prepare a connection pool. requests calls this before each request, with and without a proxy."""
        super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call] # not in types-requests
        conn.ConnectionCls = partial(_CONNECTIONS[type(conn).ConnectionCls], self._transport)


def _read_body(response: libraries.requests.Response, max_bytes: int, attempt: _Attempt) -> bytes:
    """Return the body of a response. Raise Unclear if it is compressed or larger than `max_bytes`."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise errors.Unclear(
            "The response is compressed, but the request asked for an uncompressed one. Check api_url and the proxy."
        )
    body = bytearray()
    while True:
        chunk = response.raw.read(_CHUNK_BYTES, decode_content=False)
        attempt.raise_if_expired()
        if not chunk:
            break
        body += chunk
        if len(body) > max_bytes:
            raise errors.Unclear(f"The response is larger than {max_bytes >> 10} KiB.")
    length = response.headers.get("Content-Length", "")
    # urllib3 1.26 treats the end of the connection as the end of the response.
    if re.fullmatch("[0-9]{1,18}", length) and "Transfer-Encoding" not in response.headers and len(body) < int(length):
        raise EOFError
    return bytes(body)


def _get_innermost(error: BaseException) -> BaseException:
    """Return the first error of the errors that the libraries wrapped into each other."""
    wrapped = [getattr(error, "reason", None), *error.args, error.__cause__]
    inner = next((item for item in wrapped if isinstance(item, BaseException)), None)
    return error if inner is None else _get_innermost(inner)


def _is_timeout(cause: BaseException) -> bool:
    return isinstance(cause, (socket.timeout, TimeoutError, libraries.urllib3.exceptions.TimeoutError))


def _describe_certificate_error(cause: BaseException) -> str:
    """Return why a certificate is not trusted. The text is empty if the error has another cause."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {cause.verify_message}"
    # urllib3 1.26 compares the host names itself.
    return "it is for another host" if type(cause).__name__ == "CertificateError" else ""


def _describe_cause(cause: BaseException) -> str:
    """Return the cause without anything that was sent or received."""
    if isinstance(cause, socket.gaierror):
        return str(cause)
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return f"TLS: {cause.reason}"
    if isinstance(cause, OSError) and cause.errno:
        return f"[Errno {cause.errno}] {os.strerror(cause.errno)}"
    return "timeout" if _is_timeout(cause) else type(cause).__name__
