# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One HTTP request over one kept connection: bounded in time and in size, never redirected, TLS as the user asked.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import contextlib
import threading
import time
from queue import Empty, SimpleQueue
from typing import Any, Callable, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import Unclear, Unreachable
from ansible_collections.tradeops.coinswitch.plugins.module_utils._libraries import (
    AuthBase,
    Session,
    need,
    requests,
    urllib3,
)

# The instruments of some 700 symbols are below 1 MiB.
LARGEST_ANSWER = 4 << 20
# Enough of a refusal to quote its words.
LARGEST_REFUSAL = 64 << 10
_CHUNK = 16 << 10


class Request(NamedTuple):
    """What is asked: the query's parameters, or a body that is sent as it stands."""

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


class _Session(Session):
    """A session for which no answer is a redirect: requests would read its body, however long, to prepare the next."""

    def get_redirect_target(self, resp: Any) -> None:
        """No target, whatever the answer says."""


class Transport:
    """Sends requests to `url` (scheme, host and port), each answered in full within `timeout` seconds or Unclear.

    verify: whether TLS certificates are checked, or the path of the authorities (file or directory) to trust.
    """

    def __init__(self, url: str, auth: AuthBase, timeout: float, verify: bool | str) -> None:
        need()
        self._url = url
        self._auth = auth
        self._timeout = timeout
        self._verify = verify
        self._session = self._connect()

    def _connect(self) -> Session:
        session = _Session()
        # Plain http is for loopback alone: a proxy from the environment would take it off the machine.
        session.trust_env = self._url.startswith("https:")
        if self._verify is False:
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
        return session

    def reset_connection(self) -> None:
        """Use a new connection from now on: what the old one may still bring belongs to an earlier question."""
        with contextlib.suppress(Exception):
            self._session.close()
        self._session = self._connect()

    def __call__(self, request: Request) -> Answer:
        """The exchange's answer, whatever its status; Unclear (Unreachable where nothing was sent) without one.

        The work is done by a thread of its own, which is left behind when time is up: no other way bounds a name
        look-up, a handshake and headers that drip alike.
        """
        deadline = time.monotonic() + self._timeout
        came: SimpleQueue[Any] = SimpleQueue()
        threading.Thread(target=self._exchange, args=(self._session, request, came.put), daemon=True).start()
        try:
            status, headers = self._next(came, deadline)
            try:
                body = self._next(came, deadline)
            except Unclear:
                if status < 300:
                    raise
                body = b""
                self.reset_connection()
        except Unclear:
            self.reset_connection()
            raise
        return Answer(status, headers, body)

    def _next(self, came: SimpleQueue[Any], deadline: float) -> Any:
        try:
            item = came.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            raise Unclear(f"no whole answer within {self._timeout:g} s (timeout)") from None
        if isinstance(item, Exception):
            raise self._explain(item) from None
        return item

    def _exchange(self, session: Session, request: Request, put: Callable[[Any], None]) -> None:
        """Put the status with the headers, then the body; or, at any point, the exception that came instead."""
        try:
            with session.request(
                request.method,
                self._url + request.path,
                params=dict(request.params),
                data=request.body,
                headers={"Content-Type": "application/json"},
                auth=self._auth,
                # A connection that takes half of the time leaves the answer no chance, and is then known not to be one.
                timeout=(self._timeout / 2, self._timeout),
                allow_redirects=False,
                stream=True,
                # Given with each request, since REQUESTS_CA_BUNDLE overrides what a session says.
                verify=self._verify,
            ) as response:
                put((response.status_code, dict(response.headers)))
                put(_body(response, LARGEST_ANSWER if response.status_code < 300 else LARGEST_REFUSAL))
        except Exception as error:  # whatever the libraries raise is a request without an answer
            put(error)

    def _explain(self, error: Exception) -> Unclear:
        """What an exception of the libraries means: Unreachable where nothing was sent, else Unclear."""
        if isinstance(error, Unclear):
            return error
        failures = requests.exceptions
        cause = _cause(error)
        reason = _plain(cause)
        if isinstance(error, failures.SSLError) and "CERTIFICATE" in reason.upper():
            advice = "check api_url, and ca_path where an authority of your own signs"
            return Unreachable(
                f"the TLS certificate of {self._url} is not to be trusted ({reason}): {advice}", again=False
            )
        if isinstance(error, failures.ProxyError):
            return Unreachable(f"no connection to {self._url} through the proxy ({reason})")
        if isinstance(error, failures.ConnectTimeout):
            return Unreachable(f"no connection to {self._url} within {self._timeout / 2:g} s (half of timeout)")
        if isinstance(cause, urllib3.exceptions.NewConnectionError):
            return Unreachable(f"no connection to {self._url} ({reason}): check api_url and the network")
        # requests' own word for a file of authorities that it can't find is an OSError without a number.
        no_file = (
            isinstance(error, OSError) and not isinstance(error, failures.RequestException) and error.errno is None
        )
        if no_file or isinstance(error, (failures.InvalidURL, failures.InvalidSchema)):
            return Unreachable(f"{self._url} could not be asked ({reason}): check api_url and the proxy", again=False)
        if isinstance(error, failures.Timeout):
            return Unclear(f"no answer within {self._timeout:g} s (timeout)")
        return Unclear(f"the connection broke before the answer was complete ({type(cause).__name__}: {reason})")


def _body(response: requests.Response, largest: int) -> bytes:
    chunks: list[bytes] = []
    size = 0
    for chunk in response.iter_content(_CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > largest:
            raise Unclear(f"the answer is larger than {largest >> 10} KiB")
    return b"".join(chunks)


def _cause(error: Exception) -> BaseException:
    """The innermost reason that the libraries wrapped."""
    wrapped = [getattr(error, "reason", None), *error.args]
    inner = next((item for item in wrapped if isinstance(item, Exception)), None)
    return error if inner is None else _cause(inner)


def _plain(error: BaseException) -> str:
    """The error's words without the objects' addresses that urllib3 puts in front."""
    return " ".join(str(error).rsplit(": ", 1)[-1].split())[:200]
