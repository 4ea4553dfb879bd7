# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One request over a kept connection: bounded in time and size, never redirected, by plain http through no proxy."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import Unclear, Unreachable
from ansible_collections.tradeops.coinswitch.plugins.module_utils._transport import (
    LARGEST_ANSWER,
    LARGEST_REFUSAL,
    Answer,
    Request,
)
from sandbox import FAULTS

from .client_setup import READ, ClientSetup, Fault

NewSetup = Callable[..., ClientSetup]

PATH = "/trade/api/v2/futures/leverage"
ASK = Request("GET", PATH, {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2"}, None)


def ask(setup: ClientSetup, **fault: Any) -> Answer:
    """The answer to a read that meets a fault."""
    setup.exchange.add_fault(READ, Fault(**fault))
    return setup.transport(ASK)


def test_an_answer(setup: ClientSetup) -> None:
    answer = ask(setup, headers={"X-Some": "thing"})
    assert answer.status == 200
    assert json.loads(answer.body)["data"]["leverage"] == "10"
    assert answer.headers["X-Some"] == "thing"


@pytest.mark.parametrize("status", [201, 204, 400, 401, 429, 500, 599])
def test_every_status_is_an_answer(setup: ClientSetup, status: int) -> None:
    answer = ask(setup, status=status, body="" if status == 204 else "words")
    assert answer.status == status
    assert answer.body in (b"", b"words")


def test_a_request_says_what_it_is() -> None:
    assert str(ASK) == f"GET {PATH}"


def test_one_connection_is_kept(setup: ClientSetup) -> None:
    for status in (200, 400, 404, 503, 200):
        ask(setup, status=status)
    assert len(set(setup.exchange.connections)) == 1


def test_a_renewed_connection_is_another(setup: ClientSetup) -> None:
    ask(setup)
    setup.transport.reset_connection()
    ask(setup)
    assert len(set(setup.exchange.connections)) == 2


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "cut-body"])
def test_after_a_broken_answer_comes_a_new_connection(setup: ClientSetup, fault: str) -> None:
    with pytest.raises(Unclear, match=r"^the connection broke before the answer was complete"):
        ask(setup, **vars(FAULTS[fault]))
    assert ask(setup).status == 200
    assert len(set(setup.exchange.connections)) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/trade/api/v2/time", "http://127.0.0.1:9/", "//evil.example/", "::"])
def test_a_redirect_is_an_answer_like_others(setup: ClientSetup, status: int, location: str) -> None:
    assert ask(setup, status=status, redirect=location).status == status
    assert len(setup.exchange.requests) == 1


# --- bounds ---


def test_a_large_answer_is_taken(setup: ClientSetup) -> None:
    assert len(ask(setup, size=LARGEST_ANSWER).body) == LARGEST_ANSWER


@pytest.mark.parametrize("fault", [{"size": LARGEST_ANSWER + 1}, {"endless": True}])
def test_a_larger_one_is_not(setup: ClientSetup, fault: dict[str, Any]) -> None:
    with pytest.raises(Unclear, match=rf"^the answer is larger than {LARGEST_ANSWER >> 10} KiB$"):
        ask(setup, **fault)
    assert ask(setup).status == 200


@pytest.mark.parametrize(("size", "kept"), [(LARGEST_REFUSAL, LARGEST_REFUSAL), (LARGEST_REFUSAL + 1, 0), (1 << 30, 0)])
@pytest.mark.parametrize("status", [307, 400, 503])
def test_a_refusal_counts_even_where_its_body_does_not_come(
    setup: ClientSetup, status: int, size: int, kept: int
) -> None:
    answer = ask(setup, status=status, body="x", size=size)
    assert answer.status == status
    assert len(answer.body) == kept
    assert ask(setup).status == 200


@pytest.mark.parametrize("status", [400, 503])
def test_a_refusal_counts_even_where_its_body_breaks_off(setup: ClientSetup, status: int) -> None:
    answer = ask(setup, status=status, body="words", drop="body")
    assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize(
    "fault",
    [
        {"delay": 60.0},
        {"drip": 60.0, "drip_in": "headers"},
        {"drip": 60.0, "drip_in": "body"},
    ],
)
def test_an_answer_takes_no_longer_than_the_timeout(new_setup: NewSetup, fault: dict[str, Any]) -> None:
    setup = new_setup(timeout=0.3)
    with pytest.raises(Unclear, match=r"within 0\.(3|15) s \((half of )?timeout\)$"):
        ask(setup, **fault)


# --- where it goes ---


def test_nobody_there(new_setup: NewSetup, unused_url: str) -> None:
    with pytest.raises(Unreachable) as unreachable:
        new_setup(url=unused_url).transport(ASK)
    assert str(unreachable.value) == (
        f"no connection to {unused_url} ([Errno 111] Connection refused): check api_url and the network"
    )
    assert unreachable.value.again


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_plain_http_goes_through_no_proxy(
    setup: ClientSetup, unused_url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, unused_url)
    assert ask(setup).status == 200


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_https_goes_through_the_proxy_of_the_environment(
    new_setup: NewSetup, unused_url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, unused_url)
    setup = new_setup(url="https://coinswitch.invalid")
    with pytest.raises(Unreachable, match=r"^no connection to https://coinswitch.invalid through the proxy \("):
        setup.transport(ASK)


def test_netrc_is_not_used(setup: ClientSetup, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    ask(setup)
    (request,) = setup.exchange.requests
    assert "authorization" not in request.headers


def test_a_name_that_is_not_found_is_reported(new_setup: NewSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(*_arguments: Any, **_options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)
    with pytest.raises(
        Unreachable, match=r"^no connection to https://coinswitch.invalid \(.*Name or service not known"
    ):
        new_setup(url="https://coinswitch.invalid").transport(ASK)
