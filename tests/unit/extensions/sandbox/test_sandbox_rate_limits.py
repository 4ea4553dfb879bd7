# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documented rate limits, and every reading of their quirks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sandbox import Account, Exchange, Quirks, Request
from sandbox.faults import Response

Send = Callable[..., Response]
Advance = Callable[[float], None]
READ: tuple[str, str] = ("GET", "/futures/leverage")
WRITE: tuple[str, str] = ("POST", "/futures/leverage")


@pytest.fixture
def send_many(send: Send) -> Callable[..., list[int]]:
    """Return a function that sends the same request several times, and returns the statuses."""

    def send_requests(endpoint: tuple[str, str], times: int) -> list[int]:
        return [send(*endpoint, symbol="BTCUSDT", leverage=13).status for _number in range(times)]

    return send_requests


SendMany = Callable[..., list[int]]


@pytest.mark.parametrize(
    ("method", "path", "limit"),
    [
        ("POST", "/futures/leverage", 10),
        ("GET", "/futures/leverage", 20),
        ("GET", "/futures/instrument_info", 100),
        ("GET", "/futures/positions", 20),
        ("POST", "/futures/orders/open", 20),
        ("GET", "/futures/wallet_balance", 20),
    ],
)
def test_documented_limit_is_enforced(send_many: SendMany, method: str, path: str, limit: int) -> None:
    statuses = send_many((method, path), limit + 1)
    assert 429 not in statuses[:-1]
    assert statuses[-1] == 429


@pytest.mark.parametrize("path", ["/time", "/validate/keys"])
def test_endpoint_without_documented_limit_is_not_limited(send_many: SendMany, path: str) -> None:
    assert send_many(("GET", path), 150) == [200] * 150


def test_sliding_window_frees_each_request_after_60_seconds(
    exchange: Exchange, send_many: SendMany, advance: Advance
) -> None:
    assert send_many(WRITE, 4) == [200] * 4
    advance(30)
    assert send_many(WRITE, 7) == [200] * 6 + [429]
    advance(29.75)
    assert send_many(WRITE, 1) == [429]
    advance(0.25)
    assert send_many(WRITE, 5) == [200] * 4 + [429]
    assert exchange.refused_by_rate_limit == 3


def test_fixed_window_starts_at_each_full_minute(exchange: Exchange, send_many: SendMany, advance: Advance) -> None:
    exchange.quirks = Quirks(limit_window="fixed", retry_after="seconds")
    advance(59)
    assert send_many(WRITE, 11) == [200] * 10 + [429]
    advance(1)
    assert send_many(WRITE, 11) == [200] * 10 + [429]


def test_refused_requests_count_with_the_quirk(exchange: Exchange, send_many: SendMany, advance: Advance) -> None:
    exchange.quirks = Quirks(refused_count=True)
    assert send_many(WRITE, 10) == [200] * 10
    advance(30)
    assert send_many(WRITE, 3) == [429] * 3
    advance(30)
    assert send_many(WRITE, 8) == [200] * 7 + [429]


def test_reads_and_writes_are_counted_apart_or_together(
    exchange: Exchange, send_many: SendMany, advance: Advance
) -> None:
    assert send_many(READ, 10) == [200] * 10
    assert send_many(WRITE, 1) == [200]
    advance(60)
    exchange.quirks = Quirks(leverage_buckets="shared")
    assert send_many(READ, 10) == [200] * 10
    assert send_many(WRITE, 1) == [429]
    assert send_many(READ, 11) == [200] * 10 + [429]


@pytest.mark.parametrize(("scope", "status"), [("key", 200), ("account", 200), ("address", 429)])
def test_limit_scope_decides_what_is_counted_together(
    exchange: Exchange, send_many: SendMany, build_request: Callable[..., Request], scope: Any, status: int
) -> None:
    exchange.quirks = Quirks(limit_scope=scope)
    other = exchange.open_account("other")
    assert send_many(READ, 20) == [200] * 20
    request = build_request(*READ, signer=other, symbol="BTCUSDT", exchange="EXCHANGE_2")
    assert exchange.handle(request)[0].status == status
    other_address = build_request(*READ, signer=other, symbol="BTCUSDT", exchange="EXCHANGE_2")
    other_address.address = "127.0.0.2"
    assert exchange.handle(other_address)[0].status == 200


@pytest.mark.parametrize(("scope", "status"), [("key", 200), ("account", 429)])
def test_new_key_pair_has_a_new_budget_only_if_keys_are_counted(
    exchange: Exchange, account: Account, send_many: SendMany, send: Send, scope: Any, status: int
) -> None:
    exchange.quirks = Quirks(limit_scope=scope)
    assert send_many(READ, 20) == [200] * 20
    account.new_pair()
    assert send(*READ, symbol="BTCUSDT").status == status


def test_retry_after_is_a_date(exchange: Exchange, send: Send, send_many: SendMany, advance: Advance) -> None:
    exchange.quirks = Quirks(retry_after="date")
    send_many(WRITE, 10)
    advance(20.5)
    refused = send(*WRITE, symbol="BTCUSDT", leverage=13)
    # The first request was sent at 22:13:20.
    assert dict(refused.headers) == {"Retry-After": "Tue, 14 Nov 2023 22:14:21 GMT"}


@pytest.mark.parametrize(("window", "advanced", "seconds"), [("sliding", 20.5, "40"), ("fixed", 20.5, "40")])
def test_retry_after_is_in_seconds(
    exchange: Exchange, send: Send, send_many: SendMany, advance: Advance, window: Any, advanced: float, seconds: str
) -> None:
    exchange.quirks = Quirks(limit_window=window, retry_after="seconds")
    send_many(WRITE, 10)
    advance(advanced)
    refused = send(*WRITE, symbol="BTCUSDT", leverage=13)
    assert (refused.status, dict(refused.headers)) == (429, {"Retry-After": seconds})
    exchange.quirks = Quirks()
    assert send(*WRITE, symbol="BTCUSDT", leverage=13).headers == {}


def test_refused_signature_does_not_count(
    exchange: Exchange, send_many: SendMany, build_request: Callable[..., Request]
) -> None:
    for _number in range(30):
        request = build_request(*READ, symbol="BTCUSDT", exchange="EXCHANGE_2")
        request.headers = {**request.headers, "x-auth-signature": "00" * 64}
        assert exchange.handle(request)[0].status == 401
    assert send_many(READ, 1) == [200]


def test_limits_can_be_replaced(account: Account) -> None:
    assert account.name == "desk"
    exchange = Exchange(limits={"write_leverage": 0, "read_leverage": None})
    assert exchange.limits["write_leverage"] == 0
    assert exchange.limits["positions"] == 20
    assert Exchange(rate_limits=False).limits == {}


def test_limit_0_refuses_all_and_limit_none_allows_all(exchange: Exchange, send_many: SendMany) -> None:
    exchange.limits["write_leverage"] = 0
    exchange.limits["read_leverage"] = None
    assert send_many(WRITE, 2) == [429] * 2
    assert send_many(READ, 50) == [200] * 50


def test_window_can_be_shorter(clocks: Any, build_request: Callable[..., Request], account: Account) -> None:
    exchange = Exchange(clock=lambda: clocks.unix, monotonic=lambda: clocks.monotonic, window=1.0)
    exchange.open_account(seed=bytes.fromhex(account.secret_key))
    fields = {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": 13}
    for window in range(3):
        for _number in range(10):
            assert exchange.handle(build_request(*WRITE, **fields))[0].status == 200
        assert exchange.handle(build_request(*WRITE, **fields))[0].status == 429, f"window {window}"
        clocks.advance(1.0)
