# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The signatures for known requests, and the check that two keys are a pair."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest
import requests

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.signing import (
    KeyPair,
    SignedAuth,
    build_message,
    describe_pair,
)
from sandbox import FAULTS

from ..client_setup import API_KEY, READ, SECRET_KEY, WRITE, ClientSetup, Clock

# Method, path with query, epoch (Unix ms), and the signature with the seed 00 01 02 … 1f. Ed25519 is deterministic.
VECTORS = [
    (
        "GET",
        "/trade/api/v2/time",
        1700000000000,
        (
            "36731d7e34c953365c30009db28780c18549a873f3cab07231b5d778d7360d8d"
            "277d9f0ff50452fa9e785bfa07498c47e18bfdd94aabb5fa9e14960357024504"
        ),
    ),
    (
        "GET",
        "/trade/api/v2/futures/leverage?symbol=btcusdt&exchange=EXCHANGE_2",
        1719905777483,
        (
            "4d88218133302796b3c65e88b8630e81cd201990637773039737a2da82643bb8"
            "c911effeabf6ab3d93a914f066ea354eb052c11c416e5d071639b3f07dbb7908"
        ),
    ),
    # The message is GET/trade/api/v2/futures/leverage?symbol=a b,c+é/&=%&exchange=EXCHANGE_21700000000000.
    (
        "GET",
        "/trade/api/v2/futures/leverage?symbol=a+b%2Cc%2B%C3%A9%2F%26%3D%25&exchange=EXCHANGE_2",
        1700000000000,
        (
            "16ac1569ba593d3b97544a1c5be70db4571a2a94f7b94c7cb7a3c5c5f3b15d42"
            "06bbd0c411fe95feec48ee247ba5acf15eaad9c08acbac211ce1570309f4ff00"
        ),
    ),
    (
        "GET",
        "/trade/api/v2/futures/positions?symbol=BTCUSDT&symbol=ETHUSDT&exchange=EXCHANGE_2",
        1700000000000,
        (
            "97ce01fdb93aa281d0b30d49c8af3b2556eb38df9ec0667d06e9c1b79396de55"
            "dabcfc91f3c0a07ce513be3a77638a3aaa27884663f67fcf0a21769b097de00a"
        ),
    ),
    (
        "GET",
        "/trade/api/v2/futures/positions?symbol=&exchange=EXCHANGE_2",
        1700000000000,
        (
            "408fe2a92b701127aa52306b06e0b640a5c672365a893395ffbe1929ae828006"
            "55e211d950e16ee33f52e79dbd7555d222a0a285296875f4464e84d1597f060e"
        ),
    ),
]


def make_request(method: str, path: str) -> SimpleNamespace:
    return SimpleNamespace(method=method, path_url=path, headers={})


# --- build_message ---


@pytest.mark.parametrize(
    ("method", "path", "signed"),
    [
        ("get", "/a", b"GET/a5"),
        ("POST", "/a", b"POST/a5"),
        ("GET", "/a?b=c%2Cd", b"GET/a?b=c,d5"),
        ("GET", "/a?b=c+d", b"GET/a?b=c d5"),
        ("GET", "/a?b=c%20d", b"GET/a?b=c d5"),
        ("GET", "/a?b=%2B", b"GET/a?b=+5"),
        ("GET", "/a?b=%C3%A9", "GET/a?b=é5".encode()),
    ],
)
def test_message_is_the_method_the_decoded_path_and_the_epoch(method: str, path: str, signed: bytes) -> None:
    assert build_message(method, path, "5") == signed


# --- SignedAuth.__call__ ---


@pytest.mark.parametrize(
    "secret", [SECRET_KEY, SECRET_KEY.upper(), SECRET_KEY + API_KEY, SECRET_KEY + "f" * 64], ids=len
)
@pytest.mark.parametrize(("method", "path", "epoch", "signature"), VECTORS)
def test_signature_is_that_of_the_test_vector(method: str, path: str, epoch: int, signature: str, secret: str) -> None:
    signed = SignedAuth(API_KEY, secret, lambda: epoch / 1000)(make_request(method, path))
    assert signed.headers == {
        "X-AUTH-APIKEY": API_KEY,
        "X-AUTH-EPOCH": str(epoch),
        "X-AUTH-SIGNATURE": signature,
    }


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ([("symbol", "a b,c+é/&=%"), ("exchange", "EXCHANGE_2")], VECTORS[2][1]),
        ([("symbol", "BTCUSDT"), ("symbol", "ETHUSDT"), ("exchange", "EXCHANGE_2")], VECTORS[3][1]),
        ([("symbol", ""), ("exchange", "EXCHANGE_2")], VECTORS[4][1]),
    ],
    ids=["characters to encode", "a repeated parameter", "an empty value"],
)
def test_requests_encodes_a_query_as_in_the_test_vector(params: list[tuple[str, str]], path: str) -> None:
    url = "http://127.0.0.1" + path.partition("?")[0]
    auth = SignedAuth(API_KEY, SECRET_KEY, lambda: 1700000000.0)
    prepared = requests.Request("GET", url, params=params, auth=auth).prepare()
    assert prepared.path_url == path
    (signature,) = [vector[3] for vector in VECTORS if vector[1] == path]
    assert prepared.headers["X-AUTH-SIGNATURE"] == signature


@pytest.mark.parametrize(
    ("seconds", "epoch"), [(1700000000.0, "1700000000000"), (1.9996, "1999"), (0.0, "0"), (1e10, "10000000000000")]
)
def test_epoch_is_in_whole_milliseconds(seconds: float, epoch: str) -> None:
    assert SignedAuth(API_KEY, SECRET_KEY, lambda: seconds)(make_request("GET", "/")).headers["X-AUTH-EPOCH"] == epoch


def test_each_attempt_gets_a_new_signature(new_setup: Callable[..., ClientSetup]) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, latency=0.01)
    for endpoint in (READ, WRITE):
        setup.exchange.add_fault(endpoint, FAULTS["503"], times=2)
    assert setup.enforce({"BTCUSDT": 13}).failure is None
    headers = [request.headers for request in setup.exchange.requests]
    assert setup.sent == [READ] * 3 + [WRITE, READ] * 2 + [WRITE]
    epochs = [int(header["x-auth-epoch"]) for header in headers]
    assert epochs == sorted(set(epochs))
    assert [request.at * 1000 - epoch for request, epoch in zip(setup.exchange.requests, epochs, strict=True)] == (
        pytest.approx([10] * 8, abs=1.01)
    )
    assert len({header["x-auth-signature"] for header in headers}) == 8


# --- SignedAuth.describe_pair ---


@pytest.mark.parametrize(
    ("api_key", "secret", "matches"),
    [
        (API_KEY, SECRET_KEY, True),
        (API_KEY.upper(), SECRET_KEY, True),
        (API_KEY, SECRET_KEY.upper(), True),
        (API_KEY, SECRET_KEY + API_KEY, True),
        (API_KEY, SECRET_KEY + "f" * 64, True),
        (API_KEY, "11" * 32, False),
        (SECRET_KEY, SECRET_KEY, False),
        ("an-old-key", SECRET_KEY, False),
    ],
)
def test_pair_matches_if_the_api_key_is_the_public_key_of_the_seed(api_key: str, secret: str, matches: bool) -> None:
    assert SignedAuth(api_key, secret, Clock()).describe_pair().matches is matches


# --- describe_pair ---

PAIR = KeyPair(matches=True, is_swapped=False, is_same=False, has_upper_case=False)
MISMATCH = PAIR._replace(matches=False)
OTHER_KEY = "ff" * 32


@pytest.mark.parametrize(
    ("api_key", "secret_key", "expected"),
    [
        (API_KEY, SECRET_KEY, PAIR),
        (API_KEY, SECRET_KEY.upper(), PAIR),
        (API_KEY, SECRET_KEY + API_KEY, PAIR),
        (API_KEY.upper(), SECRET_KEY, PAIR._replace(has_upper_case=True)),
        (SECRET_KEY, API_KEY, MISMATCH._replace(is_swapped=True)),
        (SECRET_KEY.upper(), API_KEY.upper(), MISMATCH._replace(is_swapped=True, has_upper_case=True)),
        (SECRET_KEY + API_KEY, API_KEY, MISMATCH._replace(is_swapped=True)),
        (API_KEY, API_KEY, MISMATCH._replace(is_same=True)),
        (SECRET_KEY, SECRET_KEY.upper(), MISMATCH._replace(is_same=True)),
        (SECRET_KEY, SECRET_KEY + API_KEY, MISMATCH._replace(is_same=True)),
        (SECRET_KEY + API_KEY, SECRET_KEY + API_KEY, MISMATCH._replace(is_same=True)),
        (OTHER_KEY, SECRET_KEY, MISMATCH),
        (API_KEY, OTHER_KEY, MISMATCH),
        ("an-old-key", SECRET_KEY, MISMATCH),
        ("An-Old-Key", SECRET_KEY, MISMATCH._replace(has_upper_case=True)),
        (API_KEY[:63], SECRET_KEY, MISMATCH),
        ("", SECRET_KEY, MISMATCH),
    ],
)
def test_pair_is_described(api_key: str, secret_key: str, expected: KeyPair) -> None:
    assert describe_pair(api_key, secret_key) == expected
    assert SignedAuth(api_key, secret_key, Clock()).describe_pair() == expected
    for key in (api_key, secret_key):
        assert not key or key not in repr(describe_pair(api_key, secret_key))
