# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request over one kept connection: bounded in time and in size, never redirected, TLS as the user asked.

Everything that is sent is sent by the calling thread, which knows whether the first byte went out. Two helper threads
exist only because nothing else bounds what they bound, and neither can send: one looks up a name, one ends a connection
whose time is up. Private to this collection: anything here may change in any release.
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

from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import Unclear, Unreachable
from ansible_collections.tradeops.coinswitch.plugins.module_utils._libraries import (
    AuthBase,
    Session,
    requests,
    require_libraries,
    urllib3,
)

# The instruments of about 700 symbols are less than 1 MiB.
LARGEST_ANSWER = 2 << 20
# Enough to quote the message of a refusal.
LARGEST_REFUSAL = 64 << 10
_CHUNK = 16 << 10


class Request(NamedTuple):
    """What to send: the parameters of the query, or a body as it is."""

    method: str
    path: str
    params: Mapping[str, str]
    body: str | None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


class Answer(NamedTuple):
    """What came back: the headers' names in any case; of a refusal, as much of the body as came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _Flight:
    """One request: its deadline, and whether its first byte went out. Seconds are monotonic."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        # If connecting took longer, no time would be left for the answer. An attempt that did not connect sent nothing.
        self.connect_by = time.monotonic() + timeout / 2
        self.sent = False
        self.expired = False
        self.connection: Any = None
        # Kept here, because http.client forgets the socket while it reads the last answer of a connection.
        self.sock: Any = None
        self._landed = False
        self._lock = Lock()
        self._watchdog = Timer(timeout, self._expire)
        self._watchdog.daemon = True

    def __enter__(self) -> _Flight:
        _start(self._watchdog)
        return self

    def __exit__(self, *error: object) -> None:
        self._watchdog.cancel()
        with self._lock:
            self._landed = True

    def first_byte(self) -> None:
        """Called right before the first byte of the request. Raises TimeoutError where it is too late."""
        with self._lock:
            if self.expired:
                raise TimeoutError
            self.sock = self.connection.sock
            self.sent = True

    def has_leftovers(self) -> bool:
        """Whether TLS holds bytes beyond the answer. urllib3 sees only those that are still in the socket."""
        return isinstance(self.sock, ssl.SSLSocket) and self.sock.pending() > 0

    def check_time(self) -> None:
        """Raise TimeoutError where the time is up: a connection that was ended may look like the end of an answer."""
        if self.expired:
            raise TimeoutError

    def _expire(self) -> None:
        """End the connection, so that the thread that waits for its bytes wakes up."""
        with self._lock:
            if self._landed:
                return
            self.expired = True
            sock: Any = self.sock or getattr(self.connection, "sock", None)
            # Not the method of the TLS socket, which removes the object that the other thread reads with.
            with contextlib.suppress(OSError, TypeError):
                socket.socket.shutdown(getattr(sock, "socket", sock), socket.SHUT_RDWR)


class _Session(Session):
    """A session for which no answer is a redirect: requests would read its body, however long, to prepare the next."""

    def get_redirect_target(self, resp: Any) -> None:
        """No target, whatever the answer says."""


class Transport:
    """Sends requests to `url` (scheme, host and port), each answered in full within `timeout` seconds or Unclear.

    verify: whether TLS certificates are checked, or the path of the authorities (file or directory) to trust.
    may_send() is called before the first byte of each request; what it raises keeps the request from being sent.
    """

    def __init__(
        self,
        url: str,
        auth: AuthBase,
        timeout: float,
        verify: bool | str,
        may_send: Callable[[], None] = lambda: None,
    ) -> None:
        require_libraries()
        self._url = url
        self._auth = auth
        self._timeout = timeout
        self._verify = verify
        self._may_send = may_send
        self._closed = False
        self._flight = _Flight(timeout)
        self._session = self._connect()

    def _connect(self) -> Session:
        session = _Session()
        # Plain http is for loopback only. A proxy from the environment would send it off the machine.
        session.trust_env = self._url.startswith("https:")
        # A cookie would connect the requests of two accounts.
        session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        session.mount(self._url, _adapter(self._take_off, self._open_socket))
        if self._verify is False:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return session

    @property
    def sent(self) -> bool:
        """Whether the first byte of the last request went out."""
        return self._flight.sent

    def reset_connection(self) -> None:
        """Use a new connection from now on: what the old one may still bring belongs to an earlier request."""
        with contextlib.suppress(Exception):
            self._session.close()
        self._session = self._connect()

    def close(self) -> None:
        """Send nothing any more."""
        self._closed = True
        with contextlib.suppress(Exception):
            self._session.close()

    def __call__(self, request: Request) -> Answer:
        """The exchange's answer, whatever its status. Unreachable where nothing was sent, else Unclear, without one."""
        flight = self._flight = _Flight(self._timeout)
        try:
            with flight:
                return self._exchange(request, flight)
        except Exception as error:  # whatever the libraries raise is a request without an answer
            self.reset_connection()
            raise self._explain(error, flight) from None
        except BaseException:
            # The task was interrupted. An answer can still arrive on this connection, so it is not used again.
            self.reset_connection()
            raise

    def _exchange(self, request: Request, flight: _Flight) -> Answer:
        with self._session.request(
            request.method,
            self._url + request.path,
            params=dict(request.params),
            data=request.body,
            # A compressed answer can be a thousand times as large as the bytes that are counted.
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
            auth=self._auth,
            timeout=(self._timeout / 2, self._timeout),
            allow_redirects=False,
            stream=True,
            # Set for each request, because REQUESTS_CA_BUNDLE overrides the setting of a session.
            verify=self._verify,
        ) as response:
            status = response.status_code
            try:
                body = _body(response, LARGEST_ANSWER if status < 300 else LARGEST_REFUSAL, flight)
            except Exception:
                if status < 300:
                    raise
                # The status is a clear answer. Only the text is missing.
                self.reset_connection()
                body = b""
            if flight.has_leftovers():
                # Remaining bytes would be read as the answer to the next request.
                self.reset_connection()
            return Answer(status, dict(response.headers), body)

    def _take_off(self, connection: Any) -> None:
        """Called by a connection that is made, right before the first byte of the request."""
        self._flight.connection = connection
        self._may_send()
        if self._closed:
            raise Unreachable("the task has ended, so nothing is sent any more", can_retry=False)
        self._flight.first_byte()

    def _open_socket(self, connection: Any, host: str, port: int) -> socket.socket:
        """A connected socket to the exchange or to its proxy."""
        self._flight.connection = connection
        deadline = self._flight.connect_by
        last: OSError = TimeoutError()
        for family, kind, protocol, _name, address in _look_up(host, port, deadline):
            sock = socket.socket(family, kind, protocol)
            try:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                sock.settimeout(max(0.001, deadline - time.monotonic()))
                sock.connect(address)
            except OSError as error:
                sock.close()
                last = error
            else:
                return sock
        raise last

    def _explain(self, error: Exception, flight: _Flight) -> Unclear:
        """The error in our own words: a library's may hold what it was given, such as the password of a proxy."""
        if isinstance(error, Unclear):
            return error
        causes = list(_causes(error))
        timeouts = (socket.timeout, TimeoutError, urllib3.exceptions.TimeoutError)
        late = flight.expired or any(isinstance(cause, timeouts) for cause in causes)
        if not flight.sent:
            return self._explain_unsent(error, causes, late)
        if late:
            return Unclear(f"no whole answer within {self._timeout:g} s (timeout)")
        return Unclear(f"the connection broke before the answer was complete ({_reason(causes)})")

    def _explain_unsent(self, error: Exception, causes: list[BaseException], late: bool) -> Unreachable:
        failures = requests.exceptions
        reason = _reason(causes)
        untrusted = next(filter(None, map(_distrust, causes)), None)
        if untrusted:
            return Unreachable(
                f"the TLS certificate of {self._url} is not trusted ({untrusted}): check api_url, and set ca_path if "
                "an authority of your own signs",
                can_retry=False,
            )
        if isinstance(error, failures.ProxyError):
            return Unreachable(f"no connection to {self._url} through the proxy ({reason})")
        if isinstance(error, _NoThread):
            return Unreachable(
                "no thread could be started, so nothing was sent: check the limit of processes (ulimit -u)"
            )
        if late:
            return Unreachable(f"no connection to {self._url} within {self._timeout / 2:g} s (half of timeout)")
        if any(isinstance(cause, ssl.SSLError) and cause.library in ("X509", "PEM", "ASN1") for cause in causes):
            error = OSError()
        invalid = any(isinstance(cause, (ValueError, InvalidURL)) for cause in causes)
        if invalid and requests.utils.get_environ_proxies(self._url):
            return Unreachable(
                f"{self._url} could not be asked, since the proxy in the environment is not valid: check HTTPS_PROXY, "
                "and percent-encode the special characters of its password",
                can_retry=False,
            )
        if isinstance(error, OSError) and error.errno is None and not isinstance(error, failures.RequestException):
            return Unreachable(
                f"{self._url} could not be asked, since the certificate authorities cannot be read: check ca_path, or "
                "REQUESTS_CA_BUNDLE in the environment",
                can_retry=False,
            )
        return Unreachable(
            f"no connection to {self._url} ({reason}): check api_url and the network", can_retry=not invalid
        )


# The words of http.client for a proxy that refuses.
_TUNNEL = re.compile("failed: ([0-9]{3})")


def _adapter(take_off: Callable[[Any], None], open_socket: Callable[[Any, str, int], socket.socket]) -> Any:
    """The adapter of a session whose connections are made and begun by a Transport."""

    def gated(manager: Any, opens: bool) -> dict[str, type]:
        return {scheme: _gated(pool, take_off, open_socket if opens else None) for scheme, pool in classes(manager)}

    def classes(manager: Any) -> list[tuple[str, Any]]:
        return list(manager.pool_classes_by_scheme.items())

    class Adapter(requests.adapters.HTTPAdapter):
        def init_poolmanager(self, *args: Any, **options: Any) -> None:
            super().init_poolmanager(*args, **options)
            self.poolmanager.pool_classes_by_scheme = gated(self.poolmanager, opens=True)

        def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
            is_new = proxy not in self.proxy_manager
            manager = super().proxy_manager_for(proxy, **options)
            if is_new:
                # The connections of a SOCKS proxy open their own sockets.
                manager.pool_classes_by_scheme = gated(manager, opens=not proxy.lower().startswith("socks"))
            return manager

    return Adapter(max_retries=0)


def _gated(
    pool: Any, take_off: Callable[[Any], None], open_socket: Callable[[Any, str, int], socket.socket] | None
) -> type:
    """The class of a connection pool whose connections call take_off(connection) before a request's first byte."""
    base = pool.ConnectionCls

    def request(self: Any, *args: Any, **options: Any) -> None:
        if self.sock is None:
            self.connect()
        take_off(self)
        base.request(self, *args, **options)

    methods: dict[str, Any] = {"request": request}
    if open_socket:
        methods["_new_conn"] = lambda self: open_socket(self, self._dns_host, int(self.port))
    return type(pool.__name__, (pool,), {"ConnectionCls": type(base.__name__, (base,), methods)})


class _NoThread(Exception):
    """The system gives no thread."""


def _start(thread: Thread) -> None:
    try:
        thread.start()
    except RuntimeError:
        raise _NoThread from None


def _look_up(host: str, port: int, deadline: float) -> list[Any]:
    """The addresses of a host. No call bounds the look-up, so a thread does it, and is left behind when time is up."""
    found: SimpleQueue[Any] = SimpleQueue()

    def look_up() -> None:
        try:
            found.put(socket.getaddrinfo(host.strip("[]"), port, 0, socket.SOCK_STREAM))
        except Exception as error:
            found.put(error)

    _start(Thread(target=look_up, daemon=True))
    try:
        result = found.get(timeout=max(0.0, deadline - time.monotonic()))
    except Empty:
        raise TimeoutError from None
    if isinstance(result, Exception):
        raise result
    return list(result)


def _body(response: requests.Response, largest: int, flight: _Flight) -> bytes:
    """The bytes of an answer, counted as they come over the wire."""
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding not in ("", "identity"):
        raise Unclear("the answer is compressed, although that was not asked for: check api_url and the proxy")
    chunks: list[bytes] = []
    size = 0
    while True:
        chunk = response.raw.read(_CHUNK, decode_content=False)
        flight.check_time()
        if not chunk:
            break
        chunks.append(chunk)
        size += len(chunk)
        if size > largest:
            raise Unclear(f"the answer is larger than {largest >> 10} KiB")
    length = response.headers.get("Content-Length", "")
    # urllib3 1.26 treats the end of the connection as the end of the answer.
    if re.fullmatch("[0-9]{1,18}", length) and "Transfer-Encoding" not in response.headers and size < int(length):
        raise EOFError
    return b"".join(chunks)


def _causes(error: BaseException) -> Any:
    """The error, and all that the libraries wrapped in it, the outermost first."""
    yield error
    wrapped = [getattr(error, "reason", None), *error.args, error.__cause__]
    inner = next((item for item in wrapped if isinstance(item, BaseException)), None)
    if inner is not None:
        yield from _causes(inner)


def _distrust(cause: BaseException) -> str:
    """Why a certificate is not trusted; empty where the error is another one."""
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"certificate verify failed: {cause.verify_message}"
    # urllib3 1.26 compares the names itself.
    return "its name is that of another host" if type(cause).__name__ == "CertificateError" else ""


def _reason(causes: list[BaseException]) -> str:
    """The innermost cause in words that hold nothing of what was sent or received."""
    cause = causes[-1]
    if isinstance(cause, socket.gaierror):
        return str(cause)
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return f"TLS: {cause.reason}"
    if isinstance(cause, OSError) and cause.errno:
        return f"[Errno {cause.errno}] {os.strerror(cause.errno)}"
    tunnel = _TUNNEL.search(str(cause))
    return f"the proxy answered HTTP {tunnel[1]}" if tunnel else type(cause).__name__
