# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented limits, and the readings of what is not documented about them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandbox import Account, Exchange, Quirks, Request
from sandbox.faults import Answer

Ask = Callable[..., Answer]
Advance = Callable[[float], None]
READ: tuple[str, str] = ("GET", "/futures/leverage")
WRITE: tuple[str, str] = ("POST", "/futures/leverage")


@pytest.fixture
def statuses(ask: Ask) -> Callable[..., list[int]]:
    """The statuses of some requests of one kind, one after the other."""

    def send(endpoint: tuple[str, str], times: int) -> list[int]:
        return [ask(*endpoint, symbol="BTCUSDT", leverage=13).status for _turn in range(times)]

    return send


Statuses = Callable[..., list[int]]


@pytest.mark.parametrize(
    ("method", "path", "limit"),
    [
        ("POST", "/futures/leverage", 10),
        ("GET", "/futures/leverage", 20),
        ("GET", "/futures/instrument_info", 100),
        ("GET", "/futures/positions", 20),
        ("POST", "/futures/orders/open", 20),
        ("GET", "/futures/wallet_balance", 20),
        ("DELETE", "/futures/order", 10),
        ("POST", "/futures/cancel_all", 10),
    ],
)
def test_the_documented_limits(statuses: Statuses, method: str, path: str, limit: int) -> None:
    taken = statuses((method, path), limit + 1)
    assert 429 not in taken[:-1]
    assert taken[-1] == 429


@pytest.mark.parametrize("path", ["/time", "/validate/keys"])
def test_no_limit_is_documented(statuses: Statuses, path: str) -> None:
    assert statuses(("GET", path), 150) == [200] * 150


def test_the_window_slides(exchange: Exchange, statuses: Statuses, advance: Advance) -> None:
    assert statuses(WRITE, 4) == [200] * 4
    advance(30)
    assert statuses(WRITE, 7) == [200] * 6 + [429]
    advance(29.75)
    assert statuses(WRITE, 1) == [429]
    advance(0.25)
    assert statuses(WRITE, 5) == [200] * 4 + [429]
    assert exchange.refused_by_rate_limit == 3


def test_a_fixed_window_starts_anew(exchange: Exchange, statuses: Statuses, advance: Advance) -> None:
    exchange.quirks = Quirks(limit_window="fixed", retry_after="seconds")
    advance(59)
    assert statuses(WRITE, 11) == [200] * 10 + [429]
    advance(1)
    assert statuses(WRITE, 11) == [200] * 10 + [429]


def test_refused_requests_may_count(exchange: Exchange, statuses: Statuses, advance: Advance) -> None:
    exchange.quirks = Quirks(refused_count=True)
    assert statuses(WRITE, 10) == [200] * 10
    advance(30)
    assert statuses(WRITE, 3) == [429] * 3
    advance(30)
    assert statuses(WRITE, 8) == [200] * 7 + [429]


def test_reading_and_writing_are_apart_or_share(exchange: Exchange, statuses: Statuses, advance: Advance) -> None:
    assert statuses(READ, 10) == [200] * 10
    assert statuses(WRITE, 1) == [200]
    advance(60)
    exchange.quirks = Quirks(leverage_buckets="shared")
    assert statuses(READ, 10) == [200] * 10
    assert statuses(WRITE, 1) == [429]
    assert statuses(READ, 11) == [200] * 10 + [429]


@pytest.mark.parametrize(("scope", "status"), [("key", 200), ("account", 200), ("address", 429)])
def test_scope(
    exchange: Exchange, statuses: Statuses, request_of: Callable[..., Request], scope: Any, status: int
) -> None:
    exchange.quirks = Quirks(limit_scope=scope)
    other = exchange.open_account("other")
    assert statuses(READ, 20) == [200] * 20
    request = request_of(*READ, holder=other, symbol="BTCUSDT", exchange="EXCHANGE_2")
    assert exchange.handle(request)[0].status == status
    elsewhere = request_of(*READ, holder=other, symbol="BTCUSDT", exchange="EXCHANGE_2")
    elsewhere.address = "127.0.0.2"
    assert exchange.handle(elsewhere)[0].status == 200


@pytest.mark.parametrize(("scope", "status"), [("key", 200), ("account", 429)])
def test_a_new_pair_has_a_new_budget_only_where_keys_are_counted(
    exchange: Exchange, account: Account, statuses: Statuses, ask: Ask, scope: Any, status: int
) -> None:
    exchange.quirks = Quirks(limit_scope=scope)
    assert statuses(READ, 20) == [200] * 20
    account.new_pair()
    assert ask(*READ, symbol="BTCUSDT").status == status


def test_retry_after_as_a_date(exchange: Exchange, ask: Ask, statuses: Statuses, advance: Advance) -> None:
    exchange.quirks = Quirks(retry_after="date")
    statuses(WRITE, 10)
    advance(20.5)
    refused = ask(*WRITE, symbol="BTCUSDT", leverage=13)
    # 22:13:20 is when the first request was sent.
    assert dict(refused.headers) == {"Retry-After": "Tue, 14 Nov 2023 22:14:21 GMT"}


@pytest.mark.parametrize(("window", "advanced", "seconds"), [("sliding", 20.5, "40"), ("fixed", 20.5, "40")])
def test_retry_after(
    exchange: Exchange, ask: Ask, statuses: Statuses, advance: Advance, window: Any, advanced: float, seconds: str
) -> None:
    exchange.quirks = Quirks(limit_window=window, retry_after="seconds")
    statuses(WRITE, 10)
    advance(advanced)
    refused = ask(*WRITE, symbol="BTCUSDT", leverage=13)
    assert (refused.status, dict(refused.headers)) == (429, {"Retry-After": seconds})
    exchange.quirks = Quirks()
    assert ask(*WRITE, symbol="BTCUSDT", leverage=13).headers == {}


def test_refused_keys_cost_nothing(exchange: Exchange, statuses: Statuses, request_of: Callable[..., Request]) -> None:
    for _turn in range(30):
        request = request_of(*READ, symbol="BTCUSDT", exchange="EXCHANGE_2")
        request.headers = {**request.headers, "x-auth-signature": "00" * 64}
        assert exchange.handle(request)[0].status == 401
    assert statuses(READ, 1) == [200]


def test_limits_can_be_replaced(account: Account) -> None:
    assert account.name == "desk"
    exchange = Exchange(limits={"write_leverage": 0, "read_leverage": None})
    assert exchange.limits["write_leverage"] == 0
    assert exchange.limits["positions"] == 20
    assert Exchange(rate_limits=False).limits == {}


def test_a_limit_of_none_at_all(exchange: Exchange, statuses: Statuses) -> None:
    exchange.limits["write_leverage"] = 0
    exchange.limits["read_leverage"] = None
    assert statuses(WRITE, 2) == [429] * 2
    assert statuses(READ, 50) == [200] * 50


def test_a_shorter_window(clocks: Any, request_of: Callable[..., Request], account: Account) -> None:
    exchange = Exchange(clock=lambda: clocks.unix, monotonic=lambda: clocks.monotonic, window=1.0)
    exchange.open_account(seed=bytes.fromhex(account.secret_key))
    fields = {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": 13}
    for round_of in range(3):
        for _turn in range(10):
            assert exchange.handle(request_of(*WRITE, **fields))[0].status == 200
        assert exchange.handle(request_of(*WRITE, **fields))[0].status == 429, round_of
        clocks.advance(1.0)
