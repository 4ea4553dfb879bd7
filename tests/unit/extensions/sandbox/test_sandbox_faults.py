# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults: which requests they apply to, how they change the response, and whether the request is carried out."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest

from sandbox import FAULTS, Account, Exchange, Fault, Request
from sandbox.faults import Response

Send = Callable[..., Response]
WRITE: tuple[str, str] = ("POST", "/futures/leverage")
READ: tuple[str, str] = ("GET", "/futures/leverage")


def test_fault_applies_to_the_given_number_of_requests(exchange: Exchange, send: Send) -> None:
    assert exchange.add_fault("read_leverage", Fault(status=503), times=2) == Fault(status=503)
    assert send("GET", "/futures/wallet_balance").status == 200
    assert [send(*READ, symbol="BTCUSDT").status for _number in range(3)] == [503, 503, 200]
    exchange.add_fault("*", Fault(status=503), times=None)
    assert [send("GET", path).status for path in ("/time", "/nix", "/validate/keys", "/time")] == [503] * 4
    exchange.clear_faults()
    assert send("GET", "/time").status == 200


def test_fault_applies_only_to_its_symbol(exchange: Exchange, send: Send) -> None:
    exchange.add_fault("*", Fault(status=503), times=None, symbol="ethusdt")
    assert send(*READ, symbol="BTCUSDT").status == 200
    assert send(*READ, symbol="EthUsdt").status == 503
    assert send(*WRITE, symbol="ETHUSDT", leverage=2).status == 503
    assert send("GET", "/validate/keys").status == 200


def test_fault_that_was_added_first_applies_first(exchange: Exchange, send: Send) -> None:
    exchange.add_fault("*", Fault(status=500))
    exchange.add_fault("read_leverage", Fault(status=502))
    assert [send(*READ, symbol="BTCUSDT").status for _number in range(3)] == [500, 502, 200]


def test_fault_for_an_unknown_endpoint_is_an_error(exchange: Exchange) -> None:
    with pytest.raises(ValueError, match="unknown endpoint leverage; the endpoints are: time, "):
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
def test_fault_decides_whether_the_request_is_carried_out(
    exchange: Exchange, account: Account, send: Send, fault: Fault, works: bool
) -> None:
    exchange.add_fault("write_leverage", fault)
    send(*WRITE, symbol="BTCUSDT", leverage=13)
    assert account.leverage == ({"BTCUSDT": 13} if works else {})


@pytest.mark.parametrize(
    ("fault", "response"),
    [
        (Fault(status=503), Response(503, {"message": "Service Unavailable"})),
        (Fault(status=599), Response(599, {"message": "Unknown"})),
        (Fault(status=403, body="<p>"), Response(403, "<p>")),
        (Fault(body=[1]), Response(200, [1])),
        (Fault(redirect="/x"), Response(307, {"message": "Temporary Redirect"}, {"Location": "/x"})),
        (Fault(redirect="/x", status=301), Response(301, {"message": "Moved Permanently"}, {"Location": "/x"})),
        (
            Fault(status=429, headers={"Retry-After": "7"}),
            Response(429, {"message": "Too Many Requests"}, {"Retry-After": "7"}),
        ),
    ],
)
def test_fault_replaces_the_response(exchange: Exchange, send: Send, fault: Fault, response: Response) -> None:
    exchange.add_fault("*", fault)
    assert send("GET", "/time") == response


def test_transform_changes_only_responses_with_status_200(exchange: Exchange, send: Send) -> None:
    exchange.add_fault("read_leverage", FAULTS["other-leverage"], times=None)
    assert send(*READ, symbol="BTCUSDT").value["data"] == {
        "exchange": "EXCHANGE_2",
        "symbol": "BTCUSDT",
        "leverage": "3",
    }
    assert send(*READ, symbol="NIXUSDT").value == {"message": "Invalid symbol"}


@pytest.mark.parametrize(
    ("body", "get_text"),
    [
        (None, lambda value: value["message"]),
        ("text ", str),
        ({"message": "No", "code": 1}, lambda value: value["message"]),
    ],
)
def test_echo_has_the_keys_and_the_text_in_several_spellings(
    exchange: Exchange, account: Account, send: Send, body: Any, get_text: Callable[[Any], str]
) -> None:
    exchange.add_fault("*", Fault(body=body, echo_keys=True, echo_text="s/e"))
    response = send(*READ, symbol="BTCUSDT")
    for text in (get_text(response.value), str(response.headers["X-Echo"])):
        assert account.api_key in text
        assert exchange.requests[0].headers["x-auth-signature"].upper() in text
        assert base64.b64encode(b"s/e").decode() in text
        assert "S/E" in text


def test_echo_of_text_has_no_keys(exchange: Exchange, account: Account, send: Send) -> None:
    exchange.add_fault("*", Fault(body=[], echo_text="returned"))
    response = send(*READ, symbol="BTCUSDT")
    assert response.value == []
    assert "returned" in str(response.headers["X-Echo"])
    assert account.api_key not in str(response.headers["X-Echo"])


@pytest.mark.parametrize(("name", "status"), [("clock-ahead", 401), ("clock-behind", 401)])
def test_skewed_clock_refuses_a_correct_epoch(exchange: Exchange, send: Send, name: str, status: int) -> None:
    exchange.add_fault("*", FAULTS[name], times=2)
    assert send("GET", "/validate/keys").status == status
    assert send("GET", "/time").value["serverTime"] == 1_700_000_000_000 + FAULTS[name].skew * 1000
    assert send("GET", "/validate/keys").status == 200


def test_late_request_is_carried_out_after_the_delay(
    exchange: Exchange, account: Account, build_request: Callable[..., Request]
) -> None:
    waits: list[tuple[float, dict[str, int]]] = []
    fields: dict[str, Any] = {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": 13}
    for name in ("late", "timeout"):
        exchange.add_fault("write_leverage", FAULTS[name])
        exchange.handle(
            build_request(*WRITE, **fields), lambda seconds: waits.append((seconds, dict(account.leverage)))
        )
    assert waits == [(15.0, {})]
    assert account.leverage == {"BTCUSDT": 13}


def test_other_requests_are_answered_during_a_late_one(
    exchange: Exchange, account: Account, send: Send, build_request: Callable[..., Request]
) -> None:
    leverages: list[str] = []
    fields: dict[str, Any] = {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": 13}
    exchange.add_fault("write_leverage", FAULTS["late"])

    def read_leverage(seconds: float) -> None:
        leverages.append(send(*READ, symbol="BTCUSDT").value["data"]["leverage"])

    exchange.handle(build_request(*WRITE, **fields), read_leverage)
    assert (leverages, account.leverage) == (["10"], {"BTCUSDT": 13})


def test_blocked_write_is_not_carried_out_with_a_done_fault(exchange: Exchange, account: Account, send: Send) -> None:
    account.open_position("BTCUSDT", "LONG", "1")
    exchange.add_fault("write_leverage", FAULTS["500-done"])
    assert send(*WRITE, symbol="BTCUSDT", leverage=13).status == 500
    assert account.leverage == {}


# What these faults do is tested below.
@pytest.mark.parametrize(
    "name", [name for name, fault in FAULTS.items() if not (fault.delay or fault.burst or fault.later)]
)
def test_named_fault_changes_the_response_or_its_delivery(exchange: Exchange, send: Send, name: str) -> None:
    fault = FAULTS[name]
    usual_response = send(*WRITE, symbol="BTCUSDT", leverage=13)
    exchange.add_fault("write_leverage", fault)
    delivery = (fault.drop, fault.drip, fault.size, fault.endless, fault.gzip, fault.twice, fault.headers)
    response = send(*WRITE, symbol="BTCUSDT", leverage=13)
    assert response.status != usual_response.status or response.body != usual_response.body or any(delivery)


def read_leverage(send: Send, symbol: str = "BTCUSDT") -> str:
    return str(send(*READ, symbol=symbol).value["data"]["leverage"])


@pytest.mark.parametrize(
    ("name", "leverages"),
    [
        ("202", ["10", "10", "10"]),
        ("202-done", ["13", "13", "13"]),
        ("202-later", ["10", "13", "13"]),
        ("500-later", ["10", "13", "13"]),
        ("later", ["10", "13", "13"]),
        ("later-2", ["10", "10", "13"]),
        ("message-only", ["10", "10", "10"]),
        ("no-data", ["13", "13", "13"]),
    ],
)
def test_write_takes_effect_at_once_later_or_never(exchange: Exchange, send: Send, name: str, leverages: Any) -> None:
    usual_response = {"data": {"exchange": "EXCHANGE_2", "symbol": "BTCUSDT", "leverage": "13"}}
    exchange.add_fault("write_leverage", FAULTS[name])
    response = send(*WRITE, symbol="BTCUSDT", leverage=13)
    assert response.value == usual_response if name.startswith("later") else list(response.value) == ["message"]
    assert [read_leverage(send), read_leverage(send), read_leverage(send)] == leverages


def test_later_write_is_refused_if_a_position_was_opened_before(
    exchange: Exchange, account: Account, send: Send
) -> None:
    exchange.add_fault("write_leverage", FAULTS["202-later"])
    assert send(*WRITE, symbol="BTCUSDT", leverage=13).value == {"message": "Accepted"}
    account.open_position("BTCUSDT", "LONG", "1")
    assert [read_leverage(send), read_leverage(send)] == ["10", "10"]


def test_later_write_takes_effect_after_a_request_that_is_dropped(
    exchange: Exchange, account: Account, send: Send
) -> None:
    exchange.add_fault("write_leverage", FAULTS["later"])
    send(*WRITE, symbol="BTCUSDT", leverage=13)
    exchange.add_fault("read_leverage", FAULTS["drop-before"])
    send(*READ, symbol="BTCUSDT")
    assert account.leverage == {"BTCUSDT": 13}


def test_clamp_sets_and_sends_the_maximum(exchange: Exchange, account: Account, send: Send) -> None:
    exchange.add_fault("write_leverage", FAULTS["clamp"], symbol="ETHUSDT")
    assert send(*WRITE, symbol="BTCUSDT", leverage=13).value["data"]["leverage"] == "13"
    assert send(*WRITE, symbol="ETHUSDT", leverage=13).value["data"]["leverage"] == "50"
    assert account.leverage == {"BTCUSDT": 13, "ETHUSDT": 50}


@pytest.mark.parametrize(("name", "headers"), [("burst", {}), ("burst-retry-after", {"Retry-After": "10"})])
def test_burst_is_refused_until_10_seconds_have_passed(
    exchange: Exchange, send: Send, advance: Callable[[float], None], name: str, headers: dict[str, str]
) -> None:
    exchange.add_fault("read_leverage", FAULTS[name], times=None)

    def read_all(count: int) -> list[int]:
        return [send(*READ, symbol="BTCUSDT").status for _number in range(count)]

    assert read_all(7) == [200] * 5 + [429] * 2
    assert send(*READ, symbol="BTCUSDT").headers == headers
    assert send("GET", "/futures/positions").status == 200
    advance(10)
    assert read_all(6) == [200] * 5 + [429]


def test_burst_is_refused_the_given_number_of_times(exchange: Exchange, send: Send) -> None:
    exchange.add_fault("read_leverage", FAULTS["burst"], times=2)
    assert [send(*READ, symbol="BTCUSDT").status for _number in range(9)] == [200] * 5 + [429] * 2 + [200] * 2


@pytest.mark.parametrize(
    ("name", "leverage"),
    [
        ("repeated-keys", '"leverage": "50", "leverage": "10"'),
        ("underscore", '"leverage": "1_0"'),
        ("fraction", '"leverage": "10.5"'),
        ("full-width", '"leverage": "\uff11\uff10"'),
    ],
)
def test_leverage_is_not_a_clear_number(
    exchange: Exchange, account: Account, send: Send, name: str, leverage: str
) -> None:
    account.open_position("BTCUSDT", "LONG", "1")
    exchange.add_fault("futures", FAULTS[name], times=3)
    assert leverage in send(*READ, symbol="BTCUSDT").body.decode()
    assert leverage in send("GET", "/futures/positions").body.decode()
    exchange.list_instrument("BTCUSDT", max_leverage="10")
    assert leverage.replace("leverage", "max_leverage") in send("GET", "/futures/instrument_info").body.decode()


def test_cached_response_has_an_age(exchange: Exchange, send: Send) -> None:
    exchange.add_fault("read_leverage", FAULTS["cached"])
    assert send(*READ, symbol="BTCUSDT").headers == {"Age": "7"}


def test_instruments_are_nested_by_exchange(exchange: Exchange, send: Send) -> None:
    exchange.add_fault("instruments", FAULTS["nested-instruments"])
    data = send("GET", "/futures/instrument_info").value["data"]
    assert (list(data), "BTCUSDT" in data["EXCHANGE_2"]) == (["EXCHANGE_2"], True)


def test_keys_are_refused_for_futures_only_or_for_writes_only(exchange: Exchange, send: Send) -> None:
    exchange.add_fault("futures", FAULTS["401"], times=None)
    assert [send("GET", path).status for path in ("/validate/keys", "/time", "/futures/positions")] == [200, 200, 401]
    exchange.clear_faults()
    exchange.add_fault("write_leverage", FAULTS["401"])
    assert send(*READ, symbol="BTCUSDT").status == 200
    assert [send(*WRITE, symbol="BTCUSDT", leverage=13).status for _number in range(2)] == [401, 200]


@pytest.mark.parametrize("status", [403, 404, 405, 451])
def test_server_in_front_of_the_api_refuses_all_requests(exchange: Exchange, send: Send, status: int) -> None:
    exchange.add_fault("*", FAULTS[f"{status}-html"], times=None)
    responses = [send("GET", "/time"), send(*READ, symbol="BTCUSDT"), send(*WRITE, symbol="BTCUSDT", leverage=13)]
    assert {(response.status, response.content_type) for response in responses} == {(status, "text/html")}


def test_maintenance_has_the_words_of_the_api(exchange: Exchange, send: Send) -> None:
    exchange.add_fault("write_leverage", FAULTS["maintenance"])
    response = send(*WRITE, symbol="BTCUSDT", leverage=13)
    assert (response.status, response.value) == (400, {"message": "The system is under maintenance"})


@pytest.mark.parametrize(("name", "works"), [("301", False), ("303", False), ("303-done", True), ("308", False)])
def test_redirect_has_its_status(exchange: Exchange, account: Account, send: Send, name: str, works: bool) -> None:
    exchange.add_fault("write_leverage", FAULTS[name])
    response = send(*WRITE, symbol="BTCUSDT", leverage=13)
    assert (response.status, response.headers["Location"]) == (int(name[:3]), "/trade/api/v2/time")
    assert bool(account.leverage) is works


def test_nan_fault_sends_an_unquoted_nan(exchange: Exchange, send: Send) -> None:
    exchange.add_fault("*", FAULTS["nan"])
    assert b'"leverage": NaN' in send(*READ, symbol="BTCUSDT").body


def test_response_has_a_body_and_a_content_type() -> None:
    assert Response(200, b"\xff").body == b"\xff"
    assert Response(200, "text").body == b"text"
    assert json.loads(Response(200, {"a": 1}).body) == {"a": 1}
    assert (Response(200, "<html>").content_type, Response(200, {}).content_type) == ("text/html", "application/json")
