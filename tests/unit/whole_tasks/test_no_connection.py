# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole tasks that get no connection: no task sends a request, and each fails with one clear line."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from typing import Any

import pytest

from ..plugins.module_utils.certificates import CertificateAuthority
from ..plugins.module_utils.module_harness import (
    RETRIES,
    Clock,
    LateExchange,
    ModuleHarness,
    StallingSandbox,
    assert_failure_is_one_line,
    assert_result_is_true,
)

pytestmark = pytest.mark.usefixtures("no_user_settings")

NewHarness = Callable[[StallingSandbox], ModuleHarness]


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> CertificateAuthority:
    return CertificateAuthority(tmp_path_factory.mktemp("authority"))


# The module, check mode, the options.
TASKS: dict[str, tuple[str, bool, dict[str, Any]]] = {
    "one symbol": ("futures_leverage", False, {"symbol": "BTCUSDT", "leverage": 13}),
    "many symbols": ("futures_leverage", False, {"leverages": {"BTCUSDT": 13, "ETHUSDT": 5}}),
    "one symbol in check mode": ("futures_leverage", True, {"symbol": "BTCUSDT", "leverage": 13}),
    "many symbols in check mode": ("futures_leverage", True, {"leverages": {"BTCUSDT": 13, "ETHUSDT": 5}}),
    "futures_leverage_info": ("futures_leverage_info", False, {"symbols": ["BTCUSDT"]}),
    "futures_instrument_info": ("futures_instrument_info", False, {}),
    "futures_position_info": ("futures_position_info", False, {"symbols": ["BTCUSDT"]}),
    "futures_order_info": ("futures_order_info", False, {}),
    "futures_wallet_info": ("futures_wallet_info", False, {}),
    "api_key_info": ("api_key_info", False, {}),
}
each_task = pytest.mark.parametrize(("module", "check_mode", "options"), TASKS.values(), ids=TASKS)

# The arguments of CertificateAuthority.server_context, and a part of the error message.
UNTRUSTED_CERTIFICATES: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"days_valid": -1}, "certificate has expired"),
    "self-signed": ({"self_signed": True}, "certificate"),
    "wrong host name": ({"host": "other.example"}, "certificate"),
    "wrong IP address": ({"host": "127.0.0.2"}, "certificate"),
}


@pytest.fixture(scope="module", params=UNTRUSTED_CERTIFICATES)
def untrusted_sandbox(
    request: pytest.FixtureRequest, authority: CertificateAuthority
) -> Iterator[tuple[StallingSandbox, str]]:
    """A sandbox whose certificate is not valid, and a part of the error message."""
    arguments, message = UNTRUSTED_CERTIFICATES[request.param]
    with StallingSandbox(LateExchange(Clock()), tls=authority.server_context(**arguments)) as running:
        yield running, message


@pytest.fixture
def trusted_sandbox(authority: CertificateAuthority) -> Iterator[StallingSandbox]:
    """A sandbox with a valid certificate of `authority`."""
    with StallingSandbox(LateExchange(Clock()), tls=authority.server_context()) as running:
        yield running


@pytest.fixture
def new_tls_harness(monkeypatch: pytest.MonkeyPatch) -> NewHarness:
    return lambda sandbox: ModuleHarness(sandbox, monkeypatch)


def assert_fails_without_a_request(
    result: Mapping[str, Any], harness: ModuleHarness, message: str, max_requests: int = 1 + RETRIES
) -> None:
    """Check that a task failed with this message, that nothing was received, and that each outcome is `unknown`.

    Args:
        result: What the task returned.
        harness: The harness that ran the task.
        message: A part of the error message.
        max_requests: The highest number of attempts that the task may count.
    """
    assert_failure_is_one_line(result)
    assert_result_is_true(result, harness)
    assert result["failed"]
    assert not result["changed"]
    assert message in result["msg"]
    assert harness.exchange.requests == []
    assert result["requests"] <= max_requests
    assert all(row["outcome"] == "unknown" for row in result.get("results", []))


@each_task
def test_task_fails_without_a_retry_if_the_certificate_is_not_valid(
    untrusted_sandbox: tuple[StallingSandbox, str],
    authority: CertificateAuthority,
    new_tls_harness: NewHarness,
    module: str,
    check_mode: bool,
    options: dict[str, Any],
) -> None:
    sandbox, message = untrusted_sandbox
    harness = new_tls_harness(sandbox)
    result = harness.run(module, check_mode, ca_path=str(authority.certificate_file), **options)
    assert_fails_without_a_request(result, harness, message, max_requests=1)
    assert "ca_path" in result["msg"]


@each_task
def test_task_fails_without_a_retry_if_the_authority_is_unknown(
    trusted_sandbox: StallingSandbox,
    new_tls_harness: NewHarness,
    module: str,
    check_mode: bool,
    options: dict[str, Any],
) -> None:
    harness = new_tls_harness(trusted_sandbox)
    result = harness.run(module, check_mode, **options)
    assert_fails_without_a_request(result, harness, "certificate", max_requests=1)


def test_task_trusts_a_valid_certificate_of_the_authority_in_ca_path(
    trusted_sandbox: StallingSandbox, authority: CertificateAuthority, new_tls_harness: NewHarness
) -> None:
    harness = new_tls_harness(trusted_sandbox)
    result = harness.run("futures_leverage", symbol="BTCUSDT", leverage=13, ca_path=str(authority.certificate_file))
    assert (result["failed"], result["changed"], harness.leverage_in_force("BTCUSDT")) == (False, True, 13)
    assert harness.warnings == []


def test_task_without_validate_certs_accepts_each_certificate_with_a_warning(
    untrusted_sandbox: tuple[StallingSandbox, str], new_tls_harness: NewHarness
) -> None:
    harness = new_tls_harness(untrusted_sandbox[0])
    result = harness.run("futures_leverage", symbol="BTCUSDT", leverage=13, validate_certs=False)
    assert (result["failed"], harness.leverage_in_force("BTCUSDT")) == (False, 13)
    (warning,) = harness.warnings
    assert "validate_certs" in warning


@each_task
def test_task_fails_if_the_host_name_is_not_found(
    harness: ModuleHarness, monkeypatch: pytest.MonkeyPatch, module: str, check_mode: bool, options: dict[str, Any]
) -> None:
    def raise_not_found(host: str, *_arguments: object, **_options: object) -> None:
        assert host == "exchange.invalid"
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", raise_not_found)
        result = harness.run(module, check_mode, api_url="https://exchange.invalid", **options)
    assert_fails_without_a_request(result, harness, "Name or service not known")
    assert "api_url" in result["msg"]


@each_task
def test_task_fails_if_the_connection_is_refused(
    harness: ModuleHarness, module: str, check_mode: bool, options: dict[str, Any]
) -> None:
    # The socket is bound, so no other program gets the port. It does not listen, so connections are refused.
    with closing(socket.socket()) as bound_socket:
        bound_socket.bind(("127.0.0.1", 0))
        result = harness.run(module, check_mode, api_url=f"http://127.0.0.1:{bound_socket.getsockname()[1]}", **options)
    assert_fails_without_a_request(result, harness, "refused")
    assert "api_url" in result["msg"]


@each_task
def test_task_fails_if_the_server_does_not_use_tls(
    harness: ModuleHarness, module: str, check_mode: bool, options: dict[str, Any]
) -> None:
    result = harness.run(module, check_mode, api_url=harness.sandbox.url.replace("http:", "https:"), **options)
    assert_fails_without_a_request(result, harness, "connection", max_requests=3 * (1 + RETRIES))
