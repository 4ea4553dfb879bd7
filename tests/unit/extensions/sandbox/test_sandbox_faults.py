# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults as values: which request meets one, what it makes of the answer, and whether the work is done."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from sandbox import FAULTS, Account, Exchange, Fault, Request
from sandbox.faults import Answer

Ask = Callable[..., Answer]
WRITE: tuple[str, str] = ("POST", "/futures/leverage")
READ: tuple[str, str] = ("GET", "/futures/leverage")


def test_a_fault_is_met_as_often_as_planned(exchange: Exchange, ask: Ask) -> None:
    assert exchange.add_fault("read_leverage", Fault(status=503), times=2) == Fault(status=503)
    assert ask("GET", "/futures/wallet_balance").status == 200
    assert [ask(*READ, symbol="BTCUSDT").status for _turn in range(3)] == [503, 503, 200]
    exchange.add_fault("*", Fault(status=503), times=None)
    assert [ask("GET", path).status for path in ("/time", "/nix", "/validate/keys", "/time")] == [503] * 4
    exchange.clear_faults()
    assert ask("GET", "/time").status == 200


def test_a_fault_may_be_for_one_symbol(exchange: Exchange, ask: Ask) -> None:
    exchange.add_fault("*", Fault(status=503), times=None, symbol="ethusdt")
    assert ask(*READ, symbol="BTCUSDT").status == 200
    assert ask(*READ, symbol="EthUsdt").status == 503
    assert ask(*WRITE, symbol="ETHUSDT", leverage=2).status == 503
    assert ask("GET", "/validate/keys").status == 200


def test_the_first_planned_is_the_first_met(exchange: Exchange, ask: Ask) -> None:
    exchange.add_fault("*", Fault(status=500))
    exchange.add_fault("read_leverage", Fault(status=502))
    assert [ask(*READ, symbol="BTCUSDT").status for _turn in range(3)] == [500, 502, 200]


def test_a_fault_for_no_endpoint_is_a_mistake(exchange: Exchange) -> None:
    with pytest.raises(ValueError, match="there is no endpoint leverage; there are time, "):
        exchange.add_fault("leverage", Fault())


@pytest.mark.parametrize(
    ("fault", "works"),
    [
        (Fault(), True),
        (Fault(status=500), False),
        (Fault(status=500, worked=True), True),
        (Fault(body="", worked=True), True),
        (Fault(body=""), False),
        (Fault(redirect="/"), False),
        (Fault(drop="before"), False),
        (Fault(drop="after"), True),
        (Fault(drop="after", status=500), False),
        (Fault(drop="body"), True),
        (Fault(transform=lambda value: value), True),
    ],
)
def test_whether_the_work_is_done(exchange: Exchange, account: Account, ask: Ask, fault: Fault, works: bool) -> None:
    exchange.add_fault("write_leverage", fault)
    ask(*WRITE, symbol="BTCUSDT", leverage=13)
    assert account.leverage == ({"BTCUSDT": 13} if works else {})


@pytest.mark.parametrize(
    ("fault", "answer"),
    [
        (Fault(status=503), Answer(503, {"message": "Service Unavailable"})),
        (Fault(status=599), Answer(599, {"message": "Unknown"})),
        (Fault(status=403, body="<p>"), Answer(403, "<p>")),
        (Fault(body=[1]), Answer(200, [1])),
        (Fault(redirect="/x"), Answer(307, {"message": "Temporary Redirect"}, {"Location": "/x"})),
        (Fault(redirect="/x", status=301), Answer(301, {"message": "Moved Permanently"}, {"Location": "/x"})),
        (
            Fault(status=429, headers={"Retry-After": "7"}),
            Answer(429, {"message": "Too Many Requests"}, {"Retry-After": "7"}),
        ),
    ],
)
def test_replaced_answers(exchange: Exchange, ask: Ask, fault: Fault, answer: Answer) -> None:
    exchange.add_fault("*", fault)
    assert ask("GET", "/time") == answer


def test_a_lie_is_about_success_alone(exchange: Exchange, ask: Ask) -> None:
    exchange.add_fault("read_leverage", FAULTS["other-leverage"], times=None)
    assert ask(*READ, symbol="BTCUSDT").value["data"] == {
        "exchange": "EXCHANGE_2",
        "symbol": "BTCUSDT",
        "leverage": "3",
    }
    assert ask(*READ, symbol="NIXUSDT").value == {"message": "Invalid symbol"}


@pytest.mark.parametrize(
    ("body", "read"),
    [
        (None, lambda value: value["message"]),
        ("text ", str),
        ({"message": "No", "code": 1}, lambda value: value["message"]),
    ],
)
def test_an_echo_spells_the_keys(
    exchange: Exchange, account: Account, ask: Ask, body: Any, read: Callable[[Any], str]
) -> None:
    exchange.add_fault("*", Fault(body=body, echo_keys=True, echo_text="s/e"))
    answer = ask(*READ, symbol="BTCUSDT")
    for text in (read(answer.value), str(answer.headers["X-Echo"])):
        assert account.api_key in text
        assert exchange.requests[0].headers["x-auth-signature"].upper() in text
        assert base64.b64encode(b"s/e").decode() in text
        assert "S/E" in text


def test_an_echo_may_be_of_text_alone(exchange: Exchange, account: Account, ask: Ask) -> None:
    exchange.add_fault("*", Fault(body=[], echo_text="returned"))
    answer = ask(*READ, symbol="BTCUSDT")
    assert answer.value == []
    assert "returned" in str(answer.headers["X-Echo"])
    assert account.api_key not in str(answer.headers["X-Echo"])


@pytest.mark.parametrize(("name", "status"), [("clock-ahead", 401), ("clock-behind", 401)])
def test_a_skewed_clock_refuses_good_epochs(exchange: Exchange, ask: Ask, name: str, status: int) -> None:
    exchange.add_fault("*", FAULTS[name], times=2)
    assert ask("GET", "/validate/keys").status == status
    assert ask("GET", "/time").value["serverTime"] == 1_700_000_000_000 + FAULTS[name].skew * 1000
    assert ask("GET", "/validate/keys").status == 200


def test_late_work_is_done_after_the_delay(
    exchange: Exchange, account: Account, request_of: Callable[..., Request]
) -> None:
    before: list[tuple[float, dict[str, int]]] = []
    fields: dict[str, Any] = {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": 13}
    for name in ("late", "timeout"):
        exchange.add_fault("write_leverage", FAULTS[name])
        exchange.handle(request_of(*WRITE, **fields), lambda seconds: before.append((seconds, dict(account.leverage))))
    assert before == [(15.0, {})]
    assert account.leverage == {"BTCUSDT": 13}


def test_an_exchange_may_be_asked_while_work_is_late(
    exchange: Exchange, account: Account, ask: Ask, request_of: Callable[..., Request]
) -> None:
    seen: list[str] = []
    fields: dict[str, Any] = {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": 13}
    exchange.add_fault("write_leverage", FAULTS["late"])

    def meanwhile(seconds: float) -> None:
        seen.append(ask(*READ, symbol="BTCUSDT").value["data"]["leverage"])

    exchange.handle(request_of(*WRITE, **fields), meanwhile)
    assert (seen, account.leverage) == (["10"], {"BTCUSDT": 13})


def test_what_the_rules_refuse_stays_undone(exchange: Exchange, account: Account, ask: Ask) -> None:
    account.open_position("BTCUSDT", "LONG", "1")
    exchange.add_fault("write_leverage", FAULTS["500-done"])
    assert ask(*WRITE, symbol="BTCUSDT", leverage=13).status == 500
    assert account.leverage == {}


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if not fault.delay])
def test_named_faults_show(exchange: Exchange, ask: Ask, name: str) -> None:
    """Each makes another answer, or is delivered in another way, than no fault."""
    fault = FAULTS[name]
    usual = ask(*WRITE, symbol="BTCUSDT", leverage=13)
    exchange.add_fault("write_leverage", fault)
    delivery = (fault.drop, fault.drip, fault.size, fault.endless, fault.gzip, fault.twice)
    met = ask(*WRITE, symbol="BTCUSDT", leverage=13)
    assert met.status != usual.status or met.body != usual.body or any(delivery)


def test_the_numbers_of_a_lie_are_no_json(exchange: Exchange, ask: Ask) -> None:
    exchange.add_fault("*", FAULTS["nan"])
    assert b'"leverage": NaN' in ask(*READ, symbol="BTCUSDT").body


def test_the_body_of_an_answer() -> None:
    assert Answer(200, b"\xff").body == b"\xff"
    assert Answer(200, "text").body == b"text"
    assert json.loads(Answer(200, {"a": 1}).body) == {"a": 1}
    assert (Answer(200, "<html>").content_type, Answer(200, {}).content_type) == ("text/html", "application/json")
