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

from .desk import READ, Desk, Fault

Lay = Callable[..., Desk]

PATH = "/trade/api/v2/futures/leverage"
ASK = Request("GET", PATH, {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2"}, None)


def ask(desk: Desk, **fault: Any) -> Answer:
    """The answer to a read that meets a fault."""
    desk.exchange.add_fault(READ, Fault(**fault))
    return desk.transport(ASK)


def test_an_answer(desk: Desk) -> None:
    answer = ask(desk, headers={"X-Some": "thing"})
    assert answer.status == 200
    assert json.loads(answer.body)["data"]["leverage"] == "10"
    assert answer.headers["X-Some"] == "thing"


@pytest.mark.parametrize("status", [201, 204, 400, 401, 429, 500, 599])
def test_every_status_is_an_answer(desk: Desk, status: int) -> None:
    answer = ask(desk, status=status, body="" if status == 204 else "words")
    assert answer.status == status
    assert answer.body in (b"", b"words")


def test_a_request_says_what_it_is() -> None:
    assert str(ASK) == f"GET {PATH}"


def test_one_connection_is_kept(desk: Desk) -> None:
    for status in (200, 400, 404, 503, 200):
        ask(desk, status=status)
    assert len(set(desk.exchange.connections)) == 1


def test_a_renewed_connection_is_another(desk: Desk) -> None:
    ask(desk)
    desk.transport.renew()
    ask(desk)
    assert len(set(desk.exchange.connections)) == 2


@pytest.mark.parametrize("fault", ["drop-before", "drop-after", "cut-body"])
def test_after_a_broken_answer_comes_a_new_connection(desk: Desk, fault: str) -> None:
    with pytest.raises(Unclear, match=r"^the connection broke before the answer was complete"):
        ask(desk, **vars(FAULTS[fault]))
    assert ask(desk).status == 200
    assert len(set(desk.exchange.connections)) == 2


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/trade/api/v2/time", "http://127.0.0.1:9/", "//evil.example/", "::"])
def test_a_redirect_is_an_answer_like_others(desk: Desk, status: int, location: str) -> None:
    assert ask(desk, status=status, redirect=location).status == status
    assert len(desk.exchange.requests) == 1


# --- bounds ---


def test_a_large_answer_is_taken(desk: Desk) -> None:
    assert len(ask(desk, size=LARGEST_ANSWER).body) == LARGEST_ANSWER


@pytest.mark.parametrize("fault", [{"size": LARGEST_ANSWER + 1}, {"endless": True}, {"size": 1 << 30, "gzip": True}])
def test_a_larger_one_is_not(desk: Desk, fault: dict[str, Any]) -> None:
    with pytest.raises(Unclear, match=rf"^the answer is larger than {LARGEST_ANSWER >> 10} KiB$"):
        ask(desk, **fault)
    assert ask(desk).status == 200


@pytest.mark.parametrize(("size", "kept"), [(LARGEST_REFUSAL, LARGEST_REFUSAL), (LARGEST_REFUSAL + 1, 0), (1 << 30, 0)])
@pytest.mark.parametrize("status", [307, 400, 503])
def test_a_refusal_counts_even_where_its_body_does_not_come(desk: Desk, status: int, size: int, kept: int) -> None:
    answer = ask(desk, status=status, body="x", size=size)
    assert answer.status == status
    assert len(answer.body) == kept
    assert ask(desk).status == 200


@pytest.mark.parametrize("status", [400, 503])
def test_a_refusal_counts_even_where_its_body_breaks_off(desk: Desk, status: int) -> None:
    answer = ask(desk, status=status, body="words", drop="body")
    assert (answer.status, answer.body) == (status, b"")


@pytest.mark.parametrize(
    "fault",
    [
        {"delay": 60.0},
        {"drip": 60.0, "drip_in": "headers"},
        {"drip": 60.0, "drip_in": "body"},
    ],
)
def test_an_answer_takes_no_longer_than_the_timeout(lay: Lay, fault: dict[str, Any]) -> None:
    desk = lay(timeout=0.3)
    with pytest.raises(Unclear, match=r"within 0\.(3|15) s \((half of )?timeout\)$"):
        ask(desk, **fault)


# --- where it goes ---


def test_nobody_there(lay: Lay, nobody: str) -> None:
    with pytest.raises(Unreachable) as unreachable:
        lay(url=nobody).transport(ASK)
    assert str(unreachable.value) == (
        f"no connection to {nobody} ([Errno 111] Connection refused): check api_url and the network"
    )
    assert unreachable.value.again


@pytest.mark.parametrize("name", ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"])
def test_plain_http_goes_through_no_proxy(desk: Desk, nobody: str, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, nobody)
    assert ask(desk).status == 200


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_https_goes_through_the_proxy_of_the_environment(
    lay: Lay, nobody: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, nobody)
    desk = lay(url="https://coinswitch.invalid")
    with pytest.raises(Unreachable, match=r"^no connection to https://coinswitch.invalid through the proxy \("):
        desk.transport(ASK)


def test_netrc_is_not_used(desk: Desk, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login someone password something\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    ask(desk)
    (request,) = desk.exchange.requests
    assert "authorization" not in request.headers


def test_a_name_that_is_not_found_is_told(lay: Lay, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_found(*_arguments: Any, **_options: Any) -> Any:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)
    with pytest.raises(
        Unreachable, match=r"^no connection to https://coinswitch.invalid \(.*Name or service not known"
    ):
        lay(url="https://coinswitch.invalid").transport(ASK)
