# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No output of a module contains a secret, in any form in which the exchange can send the secret back."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.redaction import (
    Redactor,
    get_proxy_passwords,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import HIDDEN, to_printable
from sandbox import FAULTS, Fault

from ..client_setup import API_KEY, READ, SECRET_KEY, WRITE, ClientSetup
from ..linear_time import HOSTILE_TEXTS, assert_linear, fill

LONG_SECRET = SECRET_KEY + API_KEY
SIGNATURE = "4d88218133302796" * 8
# Separators that contain letters or digits.
ESCAPES = [
    *("\\n", "\\r", "\\b", "\\x00", "\\u000a", "\\u200B", "%0A", "%0d", "%250a", "&nbsp;", "&#8203;", "&#xFEFF;"),
    *("<br>", "</b>", '<a id="b5">', "\x1b[0m", "\x1b[38;5;196m", "\x1b[2J", "\\u001b[0m"),
]


@pytest.fixture(scope="module")
def redactor() -> Redactor:
    return Redactor([API_KEY, SECRET_KEY])


def encode_base64(text: str | bytes) -> str:
    return base64.b64encode(text.encode() if isinstance(text, str) else text).decode()


def get_forms(secret: str) -> dict[str, str]:
    """Return the forms in which the exchange can send a secret back."""
    raw = bytes.fromhex(secret)
    return {
        "unchanged": secret,
        "upper case": secret.upper(),
        "mixed case": "".join(character.upper() if index % 2 else character for index, character in enumerate(secret)),
        "percent-encoded": "".join(f"%{byte:02X}" for byte in secret.encode()),
        "quoted": quote(secret),
        "base64": encode_base64(secret),
        "base64 of upper case": encode_base64(secret.upper()),
        "base64 of bytes": encode_base64(raw),
        "base64url of bytes": base64.urlsafe_b64encode(raw).decode(),
        **{f"base64 at offset {offset}": encode_base64("x" * offset + secret + "y" * 5) for offset in range(4)},
        **{f"base64 of bytes at offset {offset}": encode_base64(b"x" * offset + raw + b"yyyyy") for offset in range(4)},
        "JSON": json.dumps({"key": secret}),
        "in a URL": f"https://coinswitch.co/?key={secret}&a=b",
        "twice": secret + secret,
    }


def find_leaks(text: str, secret: str, length: int = 12) -> list[str]:
    """Return the pieces of a secret, in any of its forms, that a text contains."""
    raw = bytes.fromhex(secret)
    cores = [
        secret,
        *(encode_base64(b"\0" * offset + data)[4:-4] for data in (raw, secret.encode()) for offset in range(3)),
    ]
    pieces = {core[index : index + length].lower() for core in cores for index in range(len(core) - length + 1)}
    return sorted(piece for piece in pieces if piece in text.lower())


# --- Redactor.clean ---


@pytest.mark.parametrize("form", list(get_forms(SECRET_KEY)))
@pytest.mark.parametrize("secret", [API_KEY, SECRET_KEY])
@pytest.mark.parametrize("template", ["{}", "Invalid key {}!", "a{}b", "-{}=", "\n{}\n"])
def test_secret_is_hidden_in_every_form(redactor: Redactor, secret: str, form: str, template: str) -> None:
    secret_form = get_forms(secret)[form]
    cleaned = redactor.clean(template.format(secret_form))
    assert find_leaks(cleaned, secret) == []
    assert HIDDEN in cleaned


@pytest.mark.parametrize("part", [LONG_SECRET, SECRET_KEY, API_KEY, SECRET_KEY.upper()])
def test_both_halves_of_a_long_secret_are_hidden(part: str) -> None:
    assert Redactor([LONG_SECRET]).clean(f"a {part} b") == f"a {HIDDEN} b"


@pytest.mark.parametrize("key", ["an-old-key", "odd-keys", "a.b+c(d)e"])
def test_key_that_is_not_hexadecimal_is_hidden(key: str) -> None:
    cleaned = Redactor([key]).clean(f"1 {key} 2 {key.upper()} 3 {encode_base64(key)} 4")
    assert cleaned.startswith(f"1 {HIDDEN} 2 {HIDDEN} 3 ")
    assert encode_base64(key)[:-4] not in cleaned


@pytest.mark.parametrize("key", ["", "a", "ab", "abc", "secret", "1234567"])
def test_key_of_less_than_8_characters_is_not_hidden(key: str) -> None:
    text = "secret_key must have 64 hexadecimal characters: copy it again 1234567"
    assert Redactor([key]).clean(text) == text


@pytest.mark.parametrize(
    "signature", [SIGNATURE, SIGNATURE.upper(), encode_base64(SIGNATURE), quote(SIGNATURE), f"a={SIGNATURE}&b"]
)
def test_text_as_long_as_a_signature_is_hidden(redactor: Redactor, signature: str) -> None:
    assert find_leaks(redactor.clean(signature), SIGNATURE) == []


def test_without_secrets_only_signatures_are_hidden() -> None:
    assert Redactor([]).clean(f"a {API_KEY} {SIGNATURE}") == f"a {API_KEY} {HIDDEN}"


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
def test_other_text_is_unchanged(redactor: Redactor, text: str) -> None:
    assert redactor.clean(text) == text


def test_nested_values_and_their_names_are_cleaned(redactor: Redactor) -> None:
    value = {SECRET_KEY: [1, None, True, 1.5, (API_KEY,), {"a": f"x {SECRET_KEY.upper()}"}], "b": {"c": API_KEY}}
    assert redactor.clean(value) == {
        HIDDEN: [1, None, True, 1.5, [HIDDEN], {"a": f"x {HIDDEN}"}],
        "b": {"c": HIDDEN},
    }


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
def test_user_and_password_in_a_url_are_hidden(redactor: Redactor, text: str, shown: str) -> None:
    assert redactor.clean(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        *HOSTILE_TEXTS,
        *(SECRET_KEY, SECRET_KEY[:63], SECRET_KEY[:63] + " ", SECRET_KEY[:15] + "z", SECRET_KEY[:20] + "\n"),
        *ESCAPES,
        *("%25", "%", "&a", "[0", "hunter2", "hunter"),
    ],
)
def test_time_grows_only_with_the_size_of_a_text(text: str) -> None:
    assert_linear(Redactor([API_KEY, SECRET_KEY], ["hunter2"]).clean, lambda size: fill(text, size), 256 << 10)


# --- Redactor.clean, of parts of a key ---


def is_part_shown(text: str, key: str) -> bool:
    """Return whether a text contains 16 characters of a key in a row, whatever separators it contains."""
    for escape in ESCAPES:
        text = text.replace(to_printable(escape), "")
    kept, key = (re.sub(r"[^a-z0-9]", "", value.lower()) for value in (text, key))
    return any(key[start : start + 16] in kept for start in range(len(key) - 15))


def draw_split_part(data: st.DataObject, text: str, gap: st.SearchStrategy[str]) -> str:
    """Return at least 16 characters of a text in a row, each with or without something after it."""
    size = data.draw(st.just(16) | st.integers(16, len(text)))
    start = data.draw(st.integers(0, len(text) - size))
    part = text[start : start + size]
    gaps = data.draw(st.lists(st.just("") | gap, min_size=len(part), max_size=len(part)))
    around = st.text(max_size=9)
    return data.draw(around) + "".join(map("".join, zip(part, gaps, strict=True))) + data.draw(around)


hex_keys = st.sampled_from([64, 128]).flatmap(lambda size: st.text("0123456789abcdef", min_size=size, max_size=size))
separators = st.text(st.characters().filter(lambda character: not re.match("[A-Za-z0-9]", character)), max_size=4)


@given(st.data(), hex_keys, separators | st.just("\r\n"), st.booleans())
def test_no_part_of_a_key_is_shown_whatever_its_separators(
    data: st.DataObject, key: str, separator: str, is_mixed: bool
) -> None:
    text = draw_split_part(data, data.draw(st.sampled_from([key, key.upper(), key.title()])), st.just(separator))
    assert not is_part_shown(Redactor([key]).clean(text), key)
    text = draw_split_part(data, key, separators)
    assert not is_part_shown(Redactor([SIGNATURE[:64], key]).clean(text), key)


@given(st.data(), hex_keys)
def test_no_part_of_a_key_between_escapes_is_shown(data: st.DataObject, key: str) -> None:
    form = data.draw(st.sampled_from(["{}", "%{:02x}", "%25{:02X}", "\\x{:02x}", "\\u00{:02x}", "&#{};", "&#x{:X};"]))
    escapes = [] if form.startswith("&") else ESCAPES
    encoded = [form.format(digit if form == "{}" else ord(digit)) for digit in key]
    start = data.draw(st.integers(0, len(key) - 16))
    text = "".join(digit + data.draw(st.sampled_from(["", "", "\n", ": ", *escapes])) for digit in encoded[start:])
    cleaned = Redactor([key]).clean(text)
    assert not is_part_shown(cleaned, key)
    assert not is_part_shown(cleaned, "".join(encoded))


@pytest.mark.parametrize("offset", range(5))
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode, base64.b32encode])
@settings(max_examples=25)
@given(st.data(), hex_keys, separators)
def test_no_part_of_an_encoded_key_is_shown(
    encode: Callable[[bytes], bytes], offset: int, data: st.DataObject, key: str, separator: str
) -> None:
    raw = data.draw(st.sampled_from([key.encode(), key.upper().encode(), bytes.fromhex(key)]))
    # Characters at the edges also depend on what is beside the key.
    encoded = encode(b"x" * offset + raw + b"y" * 15).decode()[8:-32]
    text = draw_split_part(data, encoded, st.just(separator))
    text = text if len(re.sub(r"[^A-Za-z0-9]", "", text)) > 15 else encoded
    assert not is_part_shown(Redactor([key]).clean(text), encoded)


VALUES = (
    st.uuids().map(str)
    | st.integers().map(str)
    | st.floats().map(repr)
    | st.integers(10**12, 10**19).map(str)
    | st.text(max_size=60)
    | st.sampled_from([*ESCAPES, f"z{API_KEY[:15]}z", f"z{SECRET_KEY[-15:]}z"])
    | st.lists(st.integers() | st.floats(allow_nan=False)).map(json.dumps)
)


@given(st.lists(VALUES, max_size=20), st.sampled_from([", ", '", "', " ", "|x|"]))
def test_text_without_a_part_of_a_key_is_unchanged(values: list[str], separator: str) -> None:
    text = separator.join(values)
    assume(not is_part_shown(text, API_KEY) and not is_part_shown(text, SECRET_KEY))
    assert Redactor([API_KEY, SECRET_KEY]).clean(text) == to_printable(text)


@pytest.mark.parametrize(
    "key", ["a-passphrase-of-words-and-digits-0123456789", "decade-of-faded-facade", "1234567890" * 3]
)
def test_parts_of_a_key_that_is_not_valid_are_shown(key: str) -> None:
    text = f"{key[:20]} and {key[1:]}"
    assert Redactor([key]).clean(text) == text


# --- control characters ---


@pytest.mark.parametrize("character", ["\n", "\x1b", "\x9b", "\u2028", "\u202e", "\ud800"])
def test_each_text_and_name_is_one_line_without_control_characters(redactor: Redactor, character: str) -> None:
    value = {f"a{character}b": [f"{character}c", (f"d{character}",)], "e": {"f": {f"{character}": character}}}
    assert redactor.clean(value) == {"a b": [" c", ["d "]], "e": {"f": {" ": " "}}}


def test_secret_is_not_put_together_again_from_parts(redactor: Redactor) -> None:
    assert redactor.clean(f"a {SECRET_KEY[:32]}\u200b{SECRET_KEY[32:]}\u200bb") == f"a {HIDDEN} b"


# --- Redactor.clean, called by the client ---


def get_bodies(secret: str) -> dict[str, Any]:
    """Return bodies with a secret where the client cuts texts: at 300 characters and at 64 KiB."""
    return {
        "message": {"message": "x " * 140 + secret},
        "text": "x " * 140 + secret,
        "markup": "<p>" + "x " * 140 + secret + "</p>",
        "at 64 KiB after blanks": " " * (65536 - 32) + secret,
        "at 64 KiB after markup": "<" + "x" * (65536 - 34) + ">" + secret,
        "at 64 KiB in a message": {"message": " " * (65536 - 20) + secret},
        "name in an object": {secret: {"a": secret}, "data": secret},
        "list": [secret, [secret]],
        "JSON text": json.dumps(secret),
        "split message": {"message": f"Invalid key {secret[:40]}\n{secret[40:]}"},
        "split text": " <br>".join(re.findall(".{0,5}", secret)),
    }


@pytest.mark.parametrize("status", [200, 400, 503])
@pytest.mark.parametrize("endpoint", [READ, WRITE])
@pytest.mark.parametrize("form", list(get_bodies("")))
def test_no_part_of_a_secret_is_shown_where_a_text_is_cut(
    setup: ClientSetup, endpoint: str, form: str, status: int
) -> None:
    for secret in (SECRET_KEY, API_KEY):
        setup.exchange.clear_faults()
        setup.exchange.add_fault(endpoint, Fault(status=status, body=get_bodies(secret)[form]), times=None)
        report = setup.enforce({"BTCUSDT": 5}, enforce="maximum")
        assert report.failure
        assert find_leaks(repr(report), secret) == []


@pytest.mark.parametrize("endpoint", [READ, WRITE])
def test_keys_echoed_in_headers_and_message_are_not_shown(setup: ClientSetup, endpoint: str) -> None:
    setup.exchange.add_fault(endpoint, FAULTS["echo-keys"], times=None)
    report = repr(setup.enforce({"BTCUSDT": 5}, enforce="maximum"))
    assert HIDDEN in report
    for request in setup.exchange.requests:
        assert find_leaks(report, request.headers["x-auth-signature"], 16) == []
    assert find_leaks(report, API_KEY) == []


# --- get_proxy_passwords ---


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "http_proxy"])
@pytest.mark.parametrize("url", ["http://user:pa%23ss@host:1", "user:pa%23ss@host", "http://user:pa%23ss@[::1"])
def test_proxy_password_is_hidden_in_any_text(name: str, url: str) -> None:
    redactor = Redactor([SECRET_KEY], get_proxy_passwords({name: url, "NO_PROXY": "a:b@c"}))
    for text in ("pa%23ss", "pa#ss"):
        assert redactor.clean(f"said {text} loud") == "said ******** loud"
    assert redactor.clean("user and pass") == "user and pass"


@pytest.mark.parametrize("url", ["http://host:3128", "http://u:abc@host", "data@proxy", "", "@"])
def test_short_or_missing_proxy_password_is_ignored(url: str) -> None:
    assert get_proxy_passwords({"HTTPS_PROXY": url}) == set()
