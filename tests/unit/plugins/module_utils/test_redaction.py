# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret in what leaves a module, in whatever form the exchange sends it back."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._redaction import HIDDEN, Redactor, proxy_passwords
from sandbox import FAULTS, Fault

from .client_setup import API_KEY, READ, SECRET_KEY, WRITE, ClientSetup

LONG_SECRET = SECRET_KEY + API_KEY
SIGNATURE = "4d88218133302796" * 8


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor([API_KEY, SECRET_KEY])


def b64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def spellings(secret: str) -> dict[str, str]:
    """The forms in which a secret may come back."""
    raw = bytes.fromhex(secret)
    return {
        "as it is": secret,
        "upper": secret.upper(),
        "mixed": "".join(c.upper() if i % 2 else c for i, c in enumerate(secret)),
        "percent-encoded": "".join(f"%{byte:02X}" for byte in secret.encode()),
        "quoted": quote(secret),
        "base64": b64(secret),
        "base64 of upper": b64(secret.upper()),
        "base64 of bytes": b64(raw),
        "base64url of bytes": base64.urlsafe_b64encode(raw).decode(),
        **{f"base64 after {n}": b64("x" * n + secret + "y" * 5) for n in range(4)},
        **{f"base64 of bytes after {n}": b64(b"x" * n + raw + b"yyyyy") for n in range(4)},
        "JSON": json.dumps({"key": secret}),
        "in a URL": f"https://coinswitch.co/?key={secret}&a=b",
        "twice": secret + secret,
    }


def leaked(text: str, secret: str, length: int = 12) -> list[str]:
    """The pieces of a secret in a text, in any of its forms."""
    raw = bytes.fromhex(secret)
    cores = [secret, *(b64(b"\0" * n + data)[4:-4] for data in (raw, secret.encode()) for n in range(3))]
    pieces = {core[i : i + length].lower() for core in cores for i in range(len(core) - length + 1)}
    return sorted(piece for piece in pieces if piece in text.lower())


@pytest.mark.parametrize("form", list(spellings(SECRET_KEY)))
@pytest.mark.parametrize("secret", [API_KEY, SECRET_KEY])
@pytest.mark.parametrize("around", ["{}", "Invalid key {}!", "a{}b", "-{}=", "\n{}\n"])
def test_every_form_is_hidden(redactor: Redactor, secret: str, form: str, around: str) -> None:
    spelled = spellings(secret)[form]
    cleaned = redactor.clean(around.format(spelled))
    assert leaked(cleaned, secret) == []
    assert HIDDEN in cleaned


@pytest.mark.parametrize("part", [LONG_SECRET, SECRET_KEY, API_KEY, SECRET_KEY.upper()])
def test_both_halves_of_a_long_secret_are_hidden(part: str) -> None:
    assert Redactor([LONG_SECRET]).clean(f"a {part} b") == f"a {HIDDEN} b"


@pytest.mark.parametrize(
    "signature", [SIGNATURE, SIGNATURE.upper(), b64(SIGNATURE), quote(SIGNATURE), f"a={SIGNATURE}&b"]
)
def test_what_is_as_long_as_a_signature_is_hidden(redactor: Redactor, signature: str) -> None:
    assert leaked(redactor.clean(signature), SIGNATURE) == []


@pytest.mark.parametrize(
    "text",
    [
        "",
        "The leverage of BTCUSDT is 10",
        "0123456789abcdef",
        "f" * 119,
        "7bc0ed9a-e39e-40d3-a2f4-5601bfbd54df",
        "X" * 60,
    ],
)
def test_all_else_is_left(redactor: Redactor, text: str) -> None:
    assert redactor.clean(text) == text


def test_nested_values_are_cleaned_keys_too(redactor: Redactor) -> None:
    value = {SECRET_KEY: [1, None, True, 1.5, (API_KEY,), {"a": f"x {SECRET_KEY.upper()}"}], "b": {"c": API_KEY}}
    assert redactor.clean(value) == {
        HIDDEN: [1, None, True, 1.5, [HIDDEN], {"a": f"x {HIDDEN}"}],
        "b": {"c": HIDDEN},
    }


def test_without_secrets_only_signatures_are_hidden() -> None:
    assert Redactor([]).clean(f"a {API_KEY} {SIGNATURE}") == f"a {API_KEY} {HIDDEN}"


@pytest.mark.parametrize("key", ["an-old-key", "odd-keys", "a.b+c(d)e"])
def test_a_key_that_is_not_hexadecimal_is_hidden_too(key: str) -> None:
    cleaned = Redactor([key]).clean(f"1 {key} 2 {key.upper()} 3 {b64(key)} 4")
    assert cleaned.startswith(f"1 {HIDDEN} 2 {HIDDEN} 3 ")
    assert b64(key)[:-4] not in cleaned


@pytest.mark.parametrize("typed", ["", "a", "ab", "abc", "secret", "1234567"])
def test_what_is_too_short_for_a_key_hides_nothing(typed: str) -> None:
    text = "secret_key must be 64 hexadecimal characters: copy it again 1234567"
    assert Redactor([typed]).clean(text) == text


# --- through the client: nothing is cut before it is clean ---


def bodies(secret: str) -> dict[str, Any]:
    """Bodies in which a secret lies where texts are cut: at 300 characters, and at 64 KiB."""
    return {
        "message": {"message": "x " * 140 + secret},
        "text": "x " * 140 + secret,
        "markup": "<p>" + "x " * 140 + secret + "</p>",
        "far in blanks": " " * (65536 - 32) + secret,
        "far in markup": "<" + "x" * (65536 - 34) + ">" + secret,
        "far message": {"message": " " * (65536 - 20) + secret},
        "key of an object": {secret: {"a": secret}, "data": secret},
        "list": [secret, [secret]],
        "JSON text": json.dumps(secret),
    }


@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize("endpoint", [READ, WRITE])
@pytest.mark.parametrize("form", list(bodies("")))
def test_no_part_of_a_secret_is_shown(setup: ClientSetup, endpoint: str, form: str, status: int) -> None:
    for secret in (SECRET_KEY, API_KEY):
        setup.exchange.clear_faults()
        setup.exchange.add_fault(endpoint, Fault(status=status, body=bodies(secret)[form]), times=None)
        report = setup.enforce({"BTCUSDT": 5}, enforce="maximum")
        assert report.failure
        assert leaked(repr(report), secret) == []


@pytest.mark.parametrize("endpoint", [READ, WRITE])
def test_keys_echoed_in_headers_and_message_are_not_shown(setup: ClientSetup, endpoint: str) -> None:
    setup.exchange.add_fault(endpoint, FAULTS["echo-keys"], times=None)
    report = repr(setup.enforce({"BTCUSDT": 5}, enforce="maximum"))
    assert HIDDEN in report
    for request in setup.exchange.requests:
        assert leaked(report, request.headers["x-auth-signature"], 16) == []
    assert leaked(report, API_KEY) == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("proxy http://user:hunter2@host:99999 is bad", "proxy http://********@host:99999 is bad"),
        ("http://user:hun#t/er2@host and more@example.com", "http://********@host and more@example.com"),
        ("'https://token@host/x'", "'https://********@host/x'"),
        ("https://coinswitch.co/trade?to=a", "https://coinswitch.co/trade?to=a"),
        ("mail a@example.com", "mail a@example.com"),
    ],
)
def test_the_user_of_a_url_is_hidden(redactor: Redactor, text: str, shown: str) -> None:
    assert redactor.clean(text) == shown


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "http_proxy"])
@pytest.mark.parametrize("url", ["http://user:pa%23ss@host:1", "user:pa%23ss@host", "http://user:pa%23ss@[::1"])
def test_the_password_of_a_proxy_is_hidden_wherever_it_stands(name: str, url: str) -> None:
    redactor = Redactor([SECRET_KEY], proxy_passwords({name: url, "NO_PROXY": "a:b@c"}))
    for text in ("pa%23ss", "pa#ss"):
        assert redactor.clean(f"said {text} loud") == "said ******** loud"
    assert redactor.clean("user and pass") == "user and pass"


@pytest.mark.parametrize("url", ["http://host:3128", "http://u:abc@host", "data@proxy", "", "@"])
def test_short_passwords_and_none_hide_nothing(url: str) -> None:
    assert proxy_passwords({"HTTPS_PROXY": url}) == set()


def test_a_text_full_of_urls_takes_no_longer_than_another(redactor: Redactor) -> None:
    """Each is followed for a bounded length; without a bound this would take minutes."""
    assert redactor.clean("://" * 300_000) == "://" * 300_000
