# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answer or error of one request: limits of time and size, redirects, proxies and connections.

The tests with servers that violate HTTP are in tests/unit/faults/test_transport.py.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import Unclear, Unreachable
from ansible_collections.tradeops.coinswitch.plugins.module_utils._transport import (
    MAX_ANSWER_BYTES,
    MAX_REFUSAL_BYTES,
    Answer,
    Request,
)
from sandbox import FAULTS

from .client_setup import READ, ClientSetup, Fault

NewSetup = Callable[..., ClientSetup]
PATH = "/trade/api/v2/futures/leverage"
READ_REQUEST = Request("GET", PATH, {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2"}, None)


def send_read(setup: ClientSetup, **fault: Any) -> Answer:
    """Send a read. The exchange answers it with this fault."""
    setup.exchange.add_fault(READ, Fault(**fault))
    return setup.transport(READ_REQUEST)


# --- Request ---


def test_text_of_a_request_is_its_method_and_path() -> None:
    assert str(READ_REQUEST) == f"GET {PATH}"


# --- _Session ---


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/trade/api/v2/time", "http://127.0.0.1:9/", "//evil.example/", "::"])
def test_redirect_is_returned_and_not_followed(setup: ClientSetup, status: int, location: str) -> None:
    assert send_read(setup, status=status, redirect=location).status == status
    assert len(setup.exchange.requests) == 1


# --- Transport._connect ---


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_http_does_not_use_a_proxy(
    setup: ClientSetup, unused_url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, unused_url)
    assert send_read(setup).status == 200


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_https_uses_the_proxy_of_the_environment(
    new_setup: NewSetup, unused_url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, unused_url)
    setup = new_setup(url="https://coinswitch.invalid")
    with pytest.raises(Unreachable, match=r"^no connection to https://coinswitch.invalid through the proxy \("):
        setup.transport(READ_REQUEST)


def test_netrc_is_not_used(setup: ClientSetup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    send_read(setup)
    (request,) = setup.exchange.requests
    assert "authorization" not in request.headers


# --- Transport.reset_connection ---


def test_connection_is_reused_for_the_next_request(setup: ClientSetup) -> None:
    for status in (200, 400, 404, 503, 200):
        send_read(setup, status=status)
    assert len(set(setup.exchange.connections)) == 1


def test_reset_connection_opens_a_new_connection(setup: ClientSetup) -> None:
    send_read(setup)
    setup.transport.reset_connection()
    send_read(setup)
    assert len(set(setup.exchange.connections)) == 2


# --- Transport.__call__ ---


def test_answer_has_status_headers_and_body(setup: ClientSetup) -> None:
    answer = send_read(setup, headers={"X-Some": "thing"})
    assert answer.status == 200
    assert json.loads(answer.body)["data"]["leverage"] == "10"
    assert answer.headers["X-Some"] == "thing"


@pytest.mark.parametrize("status", [201, 204, 400, 401, 429, 500, 599])
def test_answer_of_every_status_is_returned(setup: ClientSetup, status: int) -> None:
    answer = send_read(setup, status=status, body="" if status == 204 else "text")
    assert answer.status == status
    assert answer.body in (b"", b"text")


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "cut-body"])
def test_broken_connection_raises_unclear_and_is_replaced(setup: ClientSetup, fault: str) -> None:
    with pytest.raises(Unclear, match=r"^the connection broke before the answer was complete"):
        send_read(setup, **vars(FAULTS[fault]))
    assert send_read(setup).status == 200
    assert len(set(setup.exchange.connections)) == 2


@pytest.mark.parametrize(
    "fault",
    [
        {"delay": 60.0},
        {"drip": 60.0, "drip_in": "headers"},
        {"drip": 60.0, "drip_in": "body"},
    ],
)
def test_slow_answer_raises_unclear_after_the_timeout(new_setup: NewSetup, fault: dict[str, Any]) -> None:
    setup = new_setup(timeout=0.3)
    with pytest.raises(Unclear, match=r"within 0\.(3|15) s \((half of )?timeout\)$"):
        send_read(setup, **fault)


# --- Transport._explain_unsent ---


def test_refused_connection_raises_unreachable(new_setup: NewSetup, unused_url: str) -> None:
    with pytest.raises(Unreachable) as raised:
        new_setup(url=unused_url).transport(READ_REQUEST)
    assert str(raised.value) == (
        f"no connection to {unused_url} ([Errno 111] Connection refused): check api_url and the network"
    )
    assert raised.value.can_retry


def test_unknown_host_name_raises_unreachable(new_setup: NewSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_to_resolve(*_arguments: Any, **_options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", fail_to_resolve)
    with pytest.raises(
        Unreachable, match=r"^no connection to https://coinswitch.invalid \(.*Name or service not known"
    ):
        new_setup(url="https://coinswitch.invalid").transport(READ_REQUEST)


# --- _body ---


def test_answer_of_the_maximum_size_is_returned(setup: ClientSetup) -> None:
    assert len(send_read(setup, size=MAX_ANSWER_BYTES).body) == MAX_ANSWER_BYTES


@pytest.mark.parametrize("fault", [{"size": MAX_ANSWER_BYTES + 1}, {"endless": True}])
def test_larger_answer_raises_unclear(setup: ClientSetup, fault: dict[str, Any]) -> None:
    with pytest.raises(Unclear, match=rf"^the answer is larger than {MAX_ANSWER_BYTES >> 10} KiB$"):
        send_read(setup, **fault)
    assert send_read(setup).status == 200


@pytest.mark.parametrize(
    ("size", "body_size"), [(MAX_REFUSAL_BYTES, MAX_REFUSAL_BYTES), (MAX_REFUSAL_BYTES + 1, 0), (1 << 30, 0)]
)
@pytest.mark.parametrize("status", [307, 400, 503])
def test_refusal_is_returned_without_a_body_that_is_too_large(
    setup: ClientSetup, status: int, size: int, body_size: int
) -> None:
    answer = send_read(setup, status=status, body="x", size=size)
    assert answer.status == status
    assert len(answer.body) == body_size
    assert send_read(setup).status == 200


@pytest.mark.parametrize("status", [400, 503])
def test_refusal_is_returned_without_a_body_that_breaks_off(setup: ClientSetup, status: int) -> None:
    answer = send_read(setup, status=status, body="text", drop="body")
    assert (answer.status, answer.body) == (status, b"")
