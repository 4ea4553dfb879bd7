# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which proxy and which certificate authorities the environment names, and what is said of an unusable proxy."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import requests

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.environment import (
    Authorities,
    Proxy,
    check_proxy,
    find_authorities,
    find_proxy,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Unreachable

URL = "https://coinswitch.co"
GOOD = "http://user:hunter2@proxy.example:3128"


def set_variables(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({"HTTPS_PROXY": GOOD}, "HTTPS_PROXY"),
        ({"https_proxy": GOOD}, "https_proxy"),
        ({"ALL_PROXY": GOOD}, "ALL_PROXY"),
        ({"all_proxy": GOOD}, "all_proxy"),
        ({"Https_Proxy": GOOD}, "Https_Proxy"),
        ({"HTTPS_PROXY": "http://other", "https_proxy": GOOD, "ALL_PROXY": "http://third"}, "https_proxy"),
        ({"HTTPS_PROXY": GOOD, "https_proxy": GOOD}, "https_proxy"),
        ({"HTTPS_PROXY": "", "ALL_PROXY": GOOD}, "ALL_PROXY"),
        ({"ALL_PROXY": GOOD, "NO_PROXY": "other.example"}, "ALL_PROXY"),
    ],
)
def test_proxy_has_the_name_of_the_variable_that_is_set(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], name: str
) -> None:
    set_variables(monkeypatch, variables)
    assert find_proxy(URL) == Proxy(GOOD, name)


@pytest.mark.parametrize("value", ["proxy.example:3128", "user:hunter2@proxy.example:3128"])
def test_proxy_without_a_scheme_uses_http(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    set_variables(monkeypatch, {"ALL_PROXY": value})
    assert find_proxy(URL) == Proxy(f"http://{value}", "ALL_PROXY")


@pytest.mark.parametrize(
    "variables",
    [{}, {"HTTP_PROXY": GOOD}, {"HTTPS_PROXY": ""}, {"HTTPS_PROXY": GOOD, "NO_PROXY": "coinswitch.co"}],
)
def test_without_a_variable_there_is_no_proxy(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    set_variables(monkeypatch, variables)
    assert find_proxy(URL) is None


def test_plain_http_has_neither_proxy_nor_authorities(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, {"HTTP_PROXY": GOOD, "ALL_PROXY": GOOD, "REQUESTS_CA_BUNDLE": "/a"})
    assert find_proxy("http://127.0.0.1:8080") is None
    assert find_authorities("http://127.0.0.1:8080", "/b") is None


@pytest.mark.parametrize(
    "proxy_url",
    [
        GOOD,
        "HTTPS://proxy.example",
        "http://user:p%40%2F%23@127.0.0.1:3128/",
        "http://[::1]:3128",
        *(f"{scheme}://proxy.example:1080" for scheme in ("socks4", "socks4a", "socks5", "SOCKS5H")),
    ],
)
def test_usable_proxy_is_accepted(proxy_url: str) -> None:
    check_proxy(Proxy(proxy_url, "HTTPS_PROXY"), URL)


def get_refusal(proxy_url: str) -> str:
    """Return why a proxy cannot be used, without the words that are always the same."""
    with pytest.raises(Unreachable) as caught:
        check_proxy(Proxy(proxy_url, "all_proxy"), URL)
    assert not caught.value.can_retry
    message = str(caught.value)
    assert "hun" not in message
    assert "ter2" not in message
    prefix = f"No request was sent to {URL}, because "
    assert message.startswith(prefix)
    return message[len(prefix) :]


@pytest.mark.parametrize(
    "proxy_url",
    [
        "http://",
        "http://user:hunter2@host:99999",
        "http://user:hunter2@host:port",
        "http://user:hun#ter2@127.0.0.1:9",
        "http://user:hun/ter2@127.0.0.1:9",
        "http://user:12/hunter2@127.0.0.1:9",
        "http://user:12#hunter2@127.0.0.1:9",
        "http://user:12?hunter2@127.0.0.1:9",
        "http://user:hunter2@[::1",
        "http://user:hunter2@" + "a" * 70 + ".invalid:1",
        "http://user:hunter2@exa mple:1",
        "http://user:hunter2@example:1\n",
        "http://user:hunter2@example\x1b:1",
    ],
)
def test_invalid_proxy_is_refused_without_its_address(proxy_url: str) -> None:
    assert get_refusal(proxy_url) == (
        "the address of the proxy in all_proxy is not valid. Correct it, and percent-encode the special characters of "
        "its password."
    )


@pytest.mark.parametrize("scheme", ["socks", "socks6", "gopher", "ftp"])
def test_unknown_scheme_of_a_proxy_is_refused(scheme: str) -> None:
    assert get_refusal(f"{scheme}://user:hunter2@127.0.0.1:9") == (
        "the proxy in all_proxy has an unknown scheme. Use http://, https://, or socks5h:// for a SOCKS proxy."
    )


@pytest.mark.parametrize("scheme", ["socks4", "socks4a", "socks5", "socks5h"])
def test_socks_proxy_without_pysocks_is_refused(monkeypatch: pytest.MonkeyPatch, scheme: str) -> None:
    monkeypatch.setattr(requests.adapters, "SOCKSProxyManager", lambda *arguments: None)
    assert get_refusal(f"{scheme}://user:hunter2@127.0.0.1:9") == (
        "the SOCKS proxy in all_proxy needs the Python library PySocks. Install PySocks for the Python that runs the "
        "module, or use an http:// proxy."
    )


@pytest.mark.parametrize(
    ("variables", "verify", "authorities"),
    [
        ({}, False, None),
        ({"REQUESTS_CA_BUNDLE": "/a", "CURL_CA_BUNDLE": "/b"}, False, None),
        ({"REQUESTS_CA_BUNDLE": "/a", "CURL_CA_BUNDLE": "/b"}, "/c", Authorities("/c", "ca_path")),
        ({"REQUESTS_CA_BUNDLE": "/a", "CURL_CA_BUNDLE": "/b"}, True, Authorities("/a", "REQUESTS_CA_BUNDLE")),
        ({"REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": "/b"}, True, Authorities("/b", "CURL_CA_BUNDLE")),
    ],
)
def test_authorities_are_those_that_requests_would_use(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], verify: bool | str, authorities: Authorities | None
) -> None:
    set_variables(monkeypatch, variables)
    assert find_authorities(URL, verify) == authorities


def test_authorities_of_requests_are_the_default_and_are_readable(monkeypatch: pytest.MonkeyPatch) -> None:
    set_variables(monkeypatch, {})
    authorities = find_authorities(URL, verify=True)
    assert authorities == Authorities(requests.utils.DEFAULT_CA_BUNDLE_PATH, "the Python library requests")
    assert authorities.are_readable()
