# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sends one HTTP request at a time over one connection, with a limit on the time and the size of the answer.

Only the calling thread sends, so it knows whether the first byte of a request was sent. Two helper threads set limits
that Python has no other means for. Neither of them can send: one resolves a host name, and one shuts down a connection
whose timeout has passed.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import time
from http.client import InvalidURL
from http.cookiejar import DefaultCookiePolicy
from queue import Empty, SimpleQueue
from threading import Lock, Thread, Timer
from typing import Any, Callable, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    CoinSwitchError,
    Unclear,
    Unreachable,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.libraries import (
    AuthBase,
    Session,
    requests,
    require_libraries,
    urllib3,
)

# The largest answer, Get Instrument Info with about 700 symbols, is smaller than 1 MiB.
MAX_ANSWER_BYTES = 2 << 20
# Only the message of a refusal is used.
MAX_REFUSAL_BYTES = 64 << 10
_CHUNK_BYTES = 16 << 10
# Common servers close a connection that is idle for 5 s or longer. A request that is sent just then gets no answer.
MAX_IDLE_SECONDS = 4.0


class Request(NamedTuple):
    """A request, with the parameters of the query or with a body."""

    method: str
    path: str
    params: Mapping[str, str]
    body: str | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Answer(NamedTuple):
    """The answer to a request. The body of a refusal is empty if it could not be read."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Attempt:
    """One attempt to send a request: its deadlines, and whether its first byte was sent. Times are monotonic."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        # The other half is for the answer. An attempt that did not connect sent nothing, so it can be repeated safely.
        self.connect_deadline = time.monotonic() + timeout / 2
        self.sent = False
        self.expired = False
        self.connection: Any = None
        # Stored here, because http.client drops its reference while it reads the last answer of a connection.
        self.sock: Any = None
        self._finished = False
        self._lock = Lock()
        self._watchdog = Timer(timeout, self._expire)
        self._watchdog.daemon = True

    def __enter__(self) -> _Attempt:
        _start_thread(self._watchdog)
        return self

    def __exit__(self, *error: object) -> None:
        self._watchdog.cancel()
        with self._lock:
            self._finished = True

    def mark_sent(self) -> None:
        """Record that the first byte is sent next. Raise TimeoutError if the timeout has passed."""
        with self._lock:
            if self.expired:
                raise TimeoutError
            self.sock = self.connection.sock
            self.sent = True

    def has_unread_bytes(self) -> bool:
        """Return whether TLS has bytes after the answer. urllib3 sees only bytes that are still in the socket."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def raise_if_expired(self) -> None:
        """Raise TimeoutError if the timeout has passed. A shut connection looks like a complete answer."""
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


class _Session(Session):
    """A session of requests that never follows a redirect."""

    # Set before the first request.
    transport: Transport
    # When the last answer was received, in monotonic seconds. Before the first answer, there is no idle time.
    last_used = float("inf")

    def get_redirect_target(self, resp: Any) -> None:
        """Return no target. requests would otherwise read the whole body of a redirect, however long it is."""


class Transport:
    """Sends signed requests to the exchange.

    Args:
        url: The scheme, host and port of the API.
        auth: Signs each request when it is sent.
        timeout: The seconds that one request may take, from the name look-up to the last byte of the answer.
        verify: Whether to verify TLS certificates, or the path of a file or folder with trusted authorities.
        may_send: Called before the first byte of each request. An exception keeps the request from being sent.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        url: str,
        auth: AuthBase,
        timeout: float,
        verify: bool | str,
        may_send: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        require_libraries()
        self._url = url
        self._auth = auth
        self._timeout = timeout
        self._verify = verify
        self._may_send = may_send
        self._clock = clock
        self._closed = False
        self._attempt = _Attempt(timeout)
        self._session = self._new_session()

    def _new_session(self) -> _Session:
        session = _Session()
        session.transport = self
        # Plain http is for loopback only. A proxy from the environment would send it to another machine.
        session.trust_env = self._url.startswith("https:")
        # A cookie would link the requests of two accounts.
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.mount(self._url, _make_adapter(session))
        if self._verify is False:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return session

    @property
    def sent(self) -> bool:
        """Whether the first byte of the last request was sent."""
        return self._attempt.sent

    def reset_connection(self) -> None:
        """Use a new connection for the next request, because the old one may still receive an earlier answer."""
        with contextlib.suppress(Exception):
            self._session.close()
        self._session = self._new_session()

    def close(self) -> None:
        """Send no more requests."""
        self._closed = True
        with contextlib.suppress(Exception):
            self._session.close()

    def __call__(self, request: Request) -> Answer:
        """Send a request, and return the answer whatever its status.

        Raises:
            Unreachable: Nothing was sent.
            Unclear: The request was sent, but there is no complete answer.
        """
        attempt = self._attempt = _Attempt(self._timeout)
        self._raise_if_closed()
        if self._clock() - self._session.last_used > MAX_IDLE_SECONDS:
            self.reset_connection()
        try:
            with attempt:
                return self._exchange(request, attempt)
        except Exception as error:  # any exception of the libraries means that there is no answer
            self.reset_connection()
            raise self._explain(error, attempt) from None
        except BaseException:
            # The task was interrupted. The answer can still arrive on this connection.
            self.reset_connection()
            raise

    def _exchange(self, request: Request, attempt: _Attempt) -> Answer:
        with self._session.request(
            request.method,
            self._url + request.path,
            params=dict(request.params),
            data=request.body,
            # A compressed answer can be a thousand times as large as the bytes that are received.
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
            auth=self._auth,
            timeout=(self._timeout / 2, self._timeout),
            allow_redirects=False,
            stream=True,
            # Set for each request, because REQUESTS_CA_BUNDLE overrides `verify` of a session.
            verify=self._verify,
        ) as response:
            status = response.status_code
            self._session.last_used = self._clock()
            try:
                body = _read_body(response, MAX_ANSWER_BYTES if status < 300 else MAX_REFUSAL_BYTES, attempt)
            except Exception:
                if status < 300:
                    raise
                # The status is a clear answer. Only the message is missing.
                self.reset_connection()
                body = b""
            if attempt.has_unread_bytes():
                # They would be read as the answer to the next request.
                self.reset_connection()
            return Answer(status, dict(response.headers), body)

    def before_first_byte(self, connection: Any) -> None:
        """Called by an open connection right before it sends the first byte of a request."""
        self._attempt.connection = connection
        self._may_send()
        self._raise_if_closed()
        self._attempt.mark_sent()

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise Unreachable("the task has ended, so no more requests are sent", can_retry=False)

    def open_socket(self, connection: Any, host: str, port: int) -> socket.socket:
        """Return a connected socket to the exchange or to its proxy."""
        self._attempt.connection = connection
        deadline = self._attempt.connect_deadline
        last_error: OSError = TimeoutError()
        for family, kind, protocol, _name, address in _resolve(host, port, deadline):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(max(0.001, deadline - time.monotonic()))
                sock.connect(address)
            except OSError as error:
                sock.close()
                last_error = error
            else:
                return sock
        raise last_error

    def _explain(self, error: Exception, attempt: _Attempt) -> CoinSwitchError:
        """Return the error in our own words. The message of a library can contain the password of a proxy."""
        if isinstance(error, CoinSwitchError):
            return error
        causes = list(_list_causes(error))
        timeouts = (socket.timeout, TimeoutError, urllib3.exceptions.TimeoutError)
        timed_out = attempt.expired or any(isinstance(cause, timeouts) for cause in causes)
        if not attempt.sent:
            return self._explain_unsent(error, causes, timed_out)
        if timed_out:
            return Unclear(f"no complete answer within {self._timeout:g} s (timeout)")
        return Unclear(f"the connection broke before the answer was complete ({_describe_cause(causes)})")

    def _explain_unsent(self, error: Exception, causes: list[BaseException], timed_out: bool) -> Unreachable:
        failures = requests.exceptions
        reason = _describe_cause(causes)
        certificate_error = next(filter(None, map(_describe_certificate_error, causes)), None)
        if certificate_error:
            return Unreachable(
                f"the TLS certificate of {self._url} is not trusted ({certificate_error}): check api_url, and set "
                "ca_path if your own authority signed the certificate",
                can_retry=False,
            )
        if isinstance(error, failures.ProxyError):
            return Unreachable(f"no connection to {self._url} through the proxy ({reason}): check HTTPS_PROXY")
        if isinstance(error, _ThreadLimitReached):
            return Unreachable(
                "no thread could be started, so nothing was sent: check the limit of processes (ulimit -u)"
            )
        if timed_out:
            return Unreachable(
                f"no connection to {self._url} within {self._timeout / 2:g} s (half of timeout): check the network"
            )
        if any(isinstance(cause, ssl.SSLError) and cause.library in ("X509", "PEM", "ASN1") for cause in causes):
            error = OSError()
        invalid = any(isinstance(cause, (ValueError, InvalidURL)) for cause in causes)
        if invalid and requests.utils.get_environ_proxies(self._url):
            return Unreachable(
                f"no request was sent to {self._url}, because the address of the proxy in HTTPS_PROXY is not valid: "
                "correct it, and percent-encode the special characters of its password",
                can_retry=False,
            )
        if isinstance(error, OSError) and error.errno is None and not isinstance(error, failures.RequestException):
            return Unreachable(
                f"no request was sent to {self._url}, because the certificate authorities cannot be read: check "
                "ca_path, or REQUESTS_CA_BUNDLE in the environment",
                can_retry=False,
            )
        return Unreachable(
            f"no connection to {self._url} ({reason}): check api_url and the network", can_retry=not invalid
        )


# The message of http.client if a proxy refuses the tunnel.
_TUNNEL_ERROR = re.compile("failed: ([0-9]{3})")


def _make_adapter(session: _Session) -> Any:
    """Return the adapter of a session. Its connections ask the transport of the session before they send."""

    def replace_pool_classes(manager: Any, opens_sockets: bool) -> None:
        classes = manager.pool_classes_by_scheme.items()
        manager.pool_classes_by_scheme = {
            scheme: _make_pool_class(pool_class, session, opens_sockets) for scheme, pool_class in classes
        }

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options)
            replace_pool_classes(self.poolmanager, opens_sockets=True)

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            is_new = proxy not in self.proxy_manager
            manager = super().proxy_manager_for(proxy, **options)
            if is_new:
                # The connections of a SOCKS proxy open their own sockets.
                replace_pool_classes(manager, opens_sockets=not proxy.lower().startswith("socks"))
            return manager

    return Adapter(max_retries=0)


def _make_pool_class(pool_class: Any, session: _Session, opens_sockets: bool) -> type:
    """Return a subclass of a connection pool of urllib3 whose connections ask the transport of the session."""
    connection_class = pool_class.ConnectionCls

    def request(self: Any, *args: Any, **options: Any) -> None:
        if self.sock is None:
            self.connect()
        session.transport.before_first_byte(self)
        connection_class.request(self, *args, **options)

    def open_socket(self: Any) -> socket.socket:
        return session.transport.open_socket(self, self._dns_host, int(self.port))

    methods: dict[str, Any] = {"request": request}
    if opens_sockets:
        methods["_new_conn"] = open_socket
    new_connection_class = type(connection_class.__name__, (connection_class,), methods)
    return type(pool_class.__name__, (pool_class,), {"ConnectionCls": new_connection_class})


class _ThreadLimitReached(Exception):
    """The operating system does not start another thread."""


def _start_thread(thread: Thread) -> None:
    try:
        thread.start()
    except RuntimeError:
        raise _ThreadLimitReached from None


def _resolve(host: str, port: int, deadline: float) -> list[Any]:
    """Return the addresses of a host. A look-up has no timeout, so a thread does it until the deadline."""
    results: SimpleQueue[Any] = SimpleQueue()

    def look_up() -> None:
        try:
            results.put(socket.getaddrinfo(host.strip("[]"), port, 0, socket.SOCK_STREAM))
        except Exception as error:
            results.put(error)

    _start_thread(Thread(target=look_up, daemon=True))
    try:
        result = results.get(timeout=max(0.0, deadline - time.monotonic()))
    except Empty:
        raise TimeoutError from None
    if isinstance(result, Exception):
        raise result
    return list(result)


def _read_body(response: requests.Response, max_bytes: int, attempt: _Attempt) -> bytes:
    """Return the body of an answer. Raise Unclear if it is compressed or larger than `max_bytes`."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise Unclear(
            "the answer is compressed, but the request asked for an uncompressed one: check api_url and the proxy"
        )
    chunks: list[bytes] = []
    size = 0
    while True:
        chunk = response.raw.read(_CHUNK_BYTES, decode_content=False)
        attempt.raise_if_expired()
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
        if size > max_bytes:
            raise Unclear(f"the answer is larger than {max_bytes >> 10} KiB")
    length = response.headers.get("Content-Length", "")
    # urllib3 1.26 treats the end of the connection as the end of the answer.
    if re.fullmatch("[0-9]{1,18}", length) and "Transfer-Encoding" not in response.headers and size < int(length):
        raise EOFError
    return b"".join(chunks)


def _list_causes(error: BaseException) -> Any:
    """Yield the error and the errors that the libraries wrapped in it, the outermost first."""
    yield error
    wrapped = [getattr(error, "reason", None), *error.args, error.__cause__]
    inner = next((item for item in wrapped if isinstance(item, BaseException)), None)
    if inner is not None:
        yield from _list_causes(inner)


def _describe_certificate_error(cause: BaseException) -> str:
    """Return why a certificate is not trusted. The text is empty if the error has another cause."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {cause.verify_message}"
    # urllib3 1.26 compares the host names itself.
    return "it is for another host" if type(cause).__name__ == "CertificateError" else ""


def _describe_cause(causes: list[BaseException]) -> str:
    """Return the innermost cause, without anything that was sent or received."""
    cause = causes[-1]
    if isinstance(cause, socket.gaierror):
        return str(cause)
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return f"TLS: {cause.reason}"
    if isinstance(cause, OSError) and cause.errno:
        return f"[Errno {cause.errno}] {os.strerror(cause.errno)}"
    tunnel_error = _TUNNEL_ERROR.search(str(cause))
    return f"the proxy answered HTTP {tunnel_error[1]}" if tunnel_error else type(cause).__name__
