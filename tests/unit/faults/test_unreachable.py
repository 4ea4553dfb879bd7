# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No connection comes about, under every kind of task: nothing is asked, nothing is claimed, and the end comes soon."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest

from .certificates import Authority
from .module_harness import (
    RETRIES,
    Clock,
    LateExchange,
    ModuleHarness,
    StallingSandbox,
    reports_the_truth,
    says_one_clear_line,
)

TASKS: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "one": ("futures_leverage", False, {"symbol": "BTCUSDT", "leverage": 13}),
    "many": ("futures_leverage", False, {"leverages": {"BTCUSDT": 13, "ETHUSDT": 5}}),
    "check of one": ("futures_leverage", True, {"symbol": "BTCUSDT", "leverage": 13}),
    "check of many": ("futures_leverage", True, {"leverages": {"BTCUSDT": 13, "ETHUSDT": 5}}),
    "futures_leverage_info": ("futures_leverage_info", False, {"symbols": ["BTCUSDT"]}),
    "futures_instrument_info": ("futures_instrument_info", False, {}),
    "futures_position_info": ("futures_position_info", False, {"symbols": ["BTCUSDT"]}),
    "futures_order_info": ("futures_order_info", False, {}),
    "futures_wallet_info": ("futures_wallet_info", False, {}),
    "api_key_info": ("api_key_info", False, {}),
}
each_task = pytest.mark.parametrize(("module", "check_mode", "options"), TASKS.values(), ids=TASKS)


def fails_untouched(
    result: Mapping[str, Any], harness: ModuleHarness, words: str, most_requests: int = 1 + RETRIES
) -> None:
    """The task says why in one line, and that it does not know what is in force."""
    says_one_clear_line(result)
    reports_the_truth(result, harness)
    assert result["failed"]
    assert not result["changed"]
    assert words in result["msg"]
    assert harness.exchange.requests == []
    assert result["requests"] <= most_requests
    assert all(row["outcome"] == "unknown" for row in result.get("results", []))


# How a server's certificate is made, and what is said of it: asking again would not help.
CERTIFICATES: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"days": -1}, "certificate has expired"),
    "self-signed": ({"self_signed": True}, "certificate"),
    "wrong host": ({"host": "other.example"}, "certificate"),
    "wrong address": ({"host": "127.0.0.2"}, "certificate"),
}


@pytest.fixture(scope="module", params=CERTIFICATES)
def distrusted(request: pytest.FixtureRequest, authority: Authority) -> Iterator[tuple[StallingSandbox, str]]:
    """A server with a certificate that is not to be trusted, and the words for it."""
    options, words = CERTIFICATES[request.param]
    with StallingSandbox(LateExchange(Clock()), tls=authority.server(**options)) as running:
        yield running, words


@each_task
def test_a_certificate_that_is_not_to_be_trusted(
    distrusted: tuple[StallingSandbox, str],
    authority: Authority,
    harness_for: Callable[[StallingSandbox], ModuleHarness],
    module: str,
    check_mode: bool,
    options: dict[str, Any],
) -> None:
    harness = harness_for(distrusted[0])
    result = harness.run(module, check_mode, ca_path=str(authority.file), **options)
    fails_untouched(result, harness, distrusted[1], most_requests=1)
    assert "ca_path" in result["msg"]


@pytest.fixture
def trusted(authority: Authority) -> Iterator[StallingSandbox]:
    with StallingSandbox(LateExchange(Clock()), tls=authority.server()) as running:
        yield running


@each_task
def test_an_authority_that_nobody_knows(
    trusted: StallingSandbox,
    harness_for: Callable[[StallingSandbox], ModuleHarness],
    module: str,
    check_mode: bool,
    options: dict[str, Any],
) -> None:
    harness = harness_for(trusted)
    fails_untouched(harness.run(module, check_mode, **options), harness, "certificate", most_requests=1)


def test_a_good_certificate_of_a_known_authority(
    trusted: StallingSandbox, authority: Authority, harness_for: Callable[[StallingSandbox], ModuleHarness]
) -> None:
    harness = harness_for(trusted)
    result = harness.run("futures_leverage", symbol="BTCUSDT", leverage=13, ca_path=str(authority.file))
    assert (result["failed"], result["changed"], harness.in_force("BTCUSDT")) == (False, True, 13)
    assert harness.warnings == []


def test_no_check_of_certificates_is_warned_of(
    distrusted: tuple[StallingSandbox, str], harness_for: Callable[[StallingSandbox], ModuleHarness]
) -> None:
    harness = harness_for(distrusted[0])
    result = harness.run("futures_leverage", symbol="BTCUSDT", leverage=13, validate_certs=False)
    assert (result["failed"], harness.in_force("BTCUSDT")) == (False, 13)
    (warning,) = harness.warnings
    assert "validate_certs" in warning


@each_task
def test_a_name_that_is_not_found(
    harness: ModuleHarness, monkeypatch: pytest.MonkeyPatch, module: str, check_mode: bool, options: dict[str, Any]
) -> None:
    def not_found(host: str, *_arguments: object, **_options: object) -> None:
        assert host == "exchange.invalid"
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", not_found)
    result = harness.run(module, check_mode, api_url="https://exchange.invalid", **options)
    fails_untouched(result, harness, "Name or service not known")
    assert "api_url" in result["msg"]


@each_task
def test_a_refused_connection(harness: ModuleHarness, module: str, check_mode: bool, options: dict[str, Any]) -> None:
    # Bound, and not listening: nobody else gets the port, and who connects is refused.
    with closing(socket.socket()) as bound:
        bound.bind(("127.0.0.1", 0))
        result = harness.run(module, check_mode, api_url=f"http://127.0.0.1:{bound.getsockname()[1]}", **options)
    fails_untouched(result, harness, "refused")
    assert "api_url" in result["msg"]


@each_task
def test_tls_where_plain_http_is_spoken(
    harness: ModuleHarness, module: str, check_mode: bool, options: dict[str, Any]
) -> None:
    result = harness.run(module, check_mode, api_url=harness.sandbox.url.replace("http:", "https:"), **options)
    fails_untouched(result, harness, "connection", most_requests=3 * (1 + RETRIES))
