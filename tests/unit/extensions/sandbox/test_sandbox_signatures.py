# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key pairs and signatures: the published test vectors, and requests that the exchange refuses."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from sandbox import Account, Exchange, Request
from sandbox.signatures import KeyPair, is_signed_by

SEED = bytes(range(32))
API_KEY = "03a107bff3ce10be1d70dd18e74bc09967e4d6309ba50d5f1ddc8664125531b8"
VECTORS = [
    (
        "/trade/api/v2/time",
        "1700000000000",
        (
            "36731d7e34c953365c30009db28780c18549a873f3cab07231b5d778d7360d8d"
            "277d9f0ff50452fa9e785bfa07498c47e18bfdd94aabb5fa9e14960357024504"
        ),
    ),
    (
        "/trade/api/v2/futures/leverage?symbol=btcusdt&exchange=EXCHANGE_2",
        "1719905777483",
        (
            "4d88218133302796b3c65e88b8630e81cd201990637773039737a2da82643bb8"
            "c911effeabf6ab3d93a914f066ea354eb052c11c416e5d071639b3f07dbb7908"
        ),
    ),
]


def test_key_pair_is_the_public_key_and_the_seed() -> None:
    assert KeyPair.from_seed(SEED) == KeyPair(API_KEY, SEED.hex())


def test_key_pairs_without_a_seed_differ() -> None:
    assert KeyPair.from_seed() != KeyPair.from_seed()


@pytest.mark.parametrize(("target", "epoch", "signature"), VECTORS)
def test_published_signature_is_valid(target: str, epoch: str, signature: str) -> None:
    assert is_signed_by(API_KEY, signature, "get", target, epoch)


@pytest.mark.parametrize(
    "change",
    [
        {"api_key": "00" * 32},
        {"api_key": "no hex"},
        {"api_key": API_KEY[:-2]},
        {"signature": "00" * 64},
        {"signature": "no hex"},
        {"signature": ""},
        {"signature": " ".join(re.findall("..", VECTORS[0][2]))},
        {"method": "POST"},
        {"target": "/trade/api/v2/times"},
        {"epoch": "1700000000001"},
    ],
)
def test_signature_of_another_request_is_invalid(change: dict[str, str]) -> None:
    target, epoch, signature = VECTORS[0]
    good = {"api_key": API_KEY, "signature": signature, "method": "GET", "target": target, "epoch": epoch}
    assert is_signed_by(**good)
    assert not is_signed_by(**{**good, **change})


def test_signature_covers_the_decoded_query(exchange: Exchange, build_request: Callable[..., Request]) -> None:
    request = build_request("GET", "/futures/leverage", symbol="BTC USDT,", exchange="EXCHANGE_2")
    assert request.target.endswith("symbol=BTC+USDT%2C&exchange=EXCHANGE_2")
    exchange.handle(request)
    assert request.account == "desk"


@pytest.mark.parametrize("header", ["x-auth-apikey", "x-auth-epoch", "x-auth-signature"])
@pytest.mark.parametrize("value", [None, "", "00"])
def test_missing_or_wrong_header_is_refused(
    exchange: Exchange, build_request: Callable[..., Request], header: str, value: str | None
) -> None:
    request = build_request("GET", "/validate/keys")
    headers = {name: text for name, text in {**request.headers, header: value}.items() if text is not None}
    response, _fault = exchange.handle(replace(request, headers=headers))
    assert response.status == 401
    assert exchange.requests[0].account is None


def test_signature_does_not_cover_the_body(
    exchange: Exchange, account: Account, build_request: Callable[..., Request]
) -> None:
    request = build_request("POST", "/futures/leverage", symbol="BTCUSDT", exchange="EXCHANGE_2", leverage=13)
    request.body["leverage"] = 14
    assert exchange.handle(request)[0].status == 200
    assert account.leverage == {"BTCUSDT": 14}


@pytest.mark.parametrize(("seconds", "status"), [(60.0, 200), (-60.0, 200), (60.001, 401), (-60.001, 401)])
def test_epoch_may_differ_by_60_seconds(
    exchange: Exchange,
    build_request: Callable[..., Request],
    advance: Callable[[float], None],
    seconds: float,
    status: int,
) -> None:
    request = build_request("GET", "/validate/keys")
    advance(seconds)
    assert exchange.handle(request)[0].status == status


@pytest.mark.parametrize("epoch", ["", "1.7e12", "1700000000000.0", "-1700000000000", "²"])
def test_invalid_epoch_is_refused(exchange: Exchange, build_request: Callable[..., Request], epoch: str) -> None:
    assert exchange.handle(build_request("GET", "/validate/keys", epoch=epoch))[0].status == 401


def test_new_key_pair_replaces_the_old_one(
    exchange: Exchange, account: Account, build_request: Callable[..., Request]
) -> None:
    old = build_request("GET", "/validate/keys")
    account.new_pair()
    assert exchange.handle(old)[0].status == 401
    assert exchange.handle(build_request("GET", "/validate/keys"))[0].value == {"message": "Valid Access"}
