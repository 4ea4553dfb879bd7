# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which connection options are accepted, and the message for each that is not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible import connection as _connection
from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.connection import (
    API_URL_VARIABLE,
    CONNECTION,
    FLOAT,
    INT,
    Connection,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import InputRefused

from ..client_setup import API_KEY, SECRET_KEY

VALID_OPTIONS: dict[str, Any] = {
    "api_key": API_KEY,
    "secret_key": SECRET_KEY,
    "api_url": "https://coinswitch.co",
    "exchange": "EXCHANGE_2",
    "timeout": 10,
    "retries": 3,
    "rate_limit_timeout": 600,
    "rate_limit_share": 1,
    "validate_certs": True,
    "ca_path": None,
}
# An option that is a boolean cannot be an empty text.
CONNECTION_DEFAULTS = [name for name, spec in CONNECTION.items() if "default" in spec and spec["type"] != "bool"]


def read_connection(options: dict[str, Any], **other_defaults: Any) -> Connection:
    """Read the connection options of a module that has other defaults for some of them."""
    changed = {name: {**CONNECTION[name], "default": default} for name, default in other_defaults.items()}
    return _connection.read_connection(options, {**CONNECTION, **changed})


def get_refusal(**changes: Any) -> str:
    """Change valid options so that they are refused. Return the message, which must not show a key."""
    with pytest.raises(InputRefused) as raised:
        read_connection({**VALID_OPTIONS, **changes})
    message = str(raised.value)
    assert "\n" not in message
    assert not any(value in message for name, value in changes.items() if name.endswith("_key") and value)
    return message


# --- UnconvertedType ---


@pytest.mark.parametrize("value", [True, "10.0", "1e999999999", None, 10, [1]])
def test_number_types_return_the_value_unchanged(value: Any) -> None:
    assert INT(value) is value
    assert FLOAT(value) is value
    assert (INT, FLOAT) == ("int", "float")


# --- Connection.identity ---


def test_identity_depends_only_on_the_address_and_the_api_key() -> None:
    identities = {
        read_connection({**VALID_OPTIONS, **changes}).identity
        for changes in (
            {},
            {"api_key": API_KEY.upper()},
            {"timeout": 1},
            {"api_key": "other"},
            {"api_url": "https://other.example"},
        )
    }
    assert len(identities) == 3


@pytest.mark.parametrize(
    "url",
    ["HTTPS://CoinSwitch.CO", "https://coinswitch.co:443", "https://coinswitch.co.", "https://coinswitch.co.:0443/"],
)
def test_each_spelling_of_the_address_has_the_same_identity(url: str) -> None:
    assert read_connection({**VALID_OPTIONS, "api_url": url}).identity == read_connection(VALID_OPTIONS).identity


# --- read_connection ---


def test_empty_option_has_the_default_of_its_module() -> None:
    empty = {**VALID_OPTIONS, "rate_limit_share": ""}
    assert read_connection(empty).rate_limit_share == 1
    assert read_connection(empty, rate_limit_share=0.5).rate_limit_share == 0.5


def test_valid_options_become_a_connection() -> None:
    assert read_connection(VALID_OPTIONS) == Connection(
        api_key=API_KEY,
        secret_key=SECRET_KEY,
        api_url="https://coinswitch.co",
        exchange="EXCHANGE_2",
        timeout=10.0,
        retries=3,
        rate_limit_timeout=600.0,
        rate_limit_share=1.0,
        verify=True,
    )


# --- empty options ---


@pytest.mark.parametrize("name", CONNECTION_DEFAULTS)
def test_empty_option_has_its_default(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delenv(API_URL_VARIABLE, raising=False)
    others = {
        "api_url": "https://other.example",
        "exchange": "OTHER",
        "timeout": 1,
        "retries": 1,
        "rate_limit_timeout": 1,
        "rate_limit_share": 0.5,
    }
    assert list(others) == CONNECTION_DEFAULTS
    default = getattr(read_connection(VALID_OPTIONS), name)
    assert getattr(read_connection({**VALID_OPTIONS, name: others[name]}), name) != default
    assert getattr(read_connection({**VALID_OPTIONS, name: ""}), name) == default


@pytest.mark.parametrize(
    ("variable", "url"), [("http://127.0.0.1:8080", "http://127.0.0.1:8080"), ("", "https://coinswitch.co")]
)
def test_empty_api_url_is_the_one_of_the_environment(monkeypatch: pytest.MonkeyPatch, variable: str, url: str) -> None:
    monkeypatch.setenv(API_URL_VARIABLE, variable)
    assert read_connection({**VALID_OPTIONS, "api_url": ""}).api_url == url
    assert read_connection({**VALID_OPTIONS, "api_url": "https://other.example"}).api_url == "https://other.example"


def test_empty_variable_does_not_make_an_empty_api_url_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(API_URL_VARIABLE, "coinswitch.co")
    assert get_refusal(api_url="").startswith("api_url must be https://HOST")


# --- _read_key ---


@pytest.mark.parametrize("name", ["api_key", "secret_key"])
def test_missing_key_is_refused_with_its_option_and_environment_variable(name: str) -> None:
    message = get_refusal(**{name: None})
    assert message == f"{name} is missing. Set the option {name} or the environment variable COINSWITCH_{name.upper()}."


@pytest.mark.parametrize("name", ["api_key", "secret_key"])
def test_empty_key_is_not_replaced_by_the_key_of_another_account(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(f"COINSWITCH_{name.upper()}", SECRET_KEY)
    assert get_refusal(**{name: ""}).startswith(f"{name} is empty")


@pytest.mark.parametrize("name", ["api_key", "secret_key"])
def test_empty_key_is_refused_with_the_variable_of_the_playbook(name: str) -> None:
    """The playbooks of the collection pass an empty text for an account without keys."""
    assert get_refusal(**{name: ""}) == (
        f"{name} is empty. Set the variable from which the playbook takes it, for example coinswitch_{name}."
    )


# --- _read_key: characters that no key has ---


@pytest.mark.parametrize("key", [API_KEY, API_KEY.upper(), "an-old-key", "~!", "a'b"])
def test_api_key_of_printable_characters_is_accepted(key: str) -> None:
    assert read_connection({**VALID_OPTIONS, "api_key": key}).api_key == key


@pytest.mark.parametrize("name", ["api_key", "secret_key"])
@pytest.mark.parametrize(
    "template",
    ["{}\n", "\r\n{}", " {}", "{}\t", "{} {}", "\u00e9{}", "{}\0", "{}\u0663", "\ufeff{}", "{}\u00a0", "a\u200bb"],
)
def test_key_with_a_character_that_no_key_has_is_refused(name: str, template: str) -> None:
    message = get_refusal(**{name: template.replace("{}", SECRET_KEY)})
    assert message == (f"{name} contains a space, a line break or another character that no key has. Copy it again.")


@pytest.mark.parametrize("name", ["api_key", "secret_key"])
@pytest.mark.parametrize("quotes", ['""', "''", "``", "\u201c\u201d", "\u2018\u2019"])
def test_key_in_quotation_marks_is_refused(name: str, quotes: str) -> None:
    for value in (quotes[0] + SECRET_KEY + quotes[1], SECRET_KEY + quotes[1], quotes[0] + SECRET_KEY + "\n", quotes):
        message = get_refusal(**{name: value})
        assert message == (f"{name} starts or ends with a quotation mark. Remove the quotation marks from its value.")


# --- _check_secret_key ---


@pytest.mark.parametrize("secret", [SECRET_KEY, SECRET_KEY.upper(), SECRET_KEY + API_KEY])
def test_valid_secret_key_is_accepted(secret: str) -> None:
    assert read_connection({**VALID_OPTIONS, "secret_key": secret}).secret_key == secret


@pytest.mark.parametrize(
    ("secret", "description"),
    [
        (SECRET_KEY[:63], "has 63"),
        (SECRET_KEY + "0", "has 65"),
        ((SECRET_KEY * 2)[:127], "has 127"),
        (SECRET_KEY * 2 + "0", "has 129"),
        (SECRET_KEY[:63] + "g", "has 64, and some of them are not hexadecimal"),
        ("0x" + SECRET_KEY, "has 66, and some of them are not hexadecimal"),
        ("my-secret-key", "has 13, and some of them are not hexadecimal"),
    ],
)
def test_invalid_secret_key_is_described_but_not_shown(secret: str, description: str) -> None:
    message = get_refusal(secret_key=secret)
    assert message.startswith("secret_key must have 64 hexadecimal characters (the Ed25519 seed) or 128")
    assert message.endswith(f"{description}. Copy it again.")


# --- _check_url ---


@pytest.mark.parametrize(
    ("value", "url"),
    [
        ("https://coinswitch.co", "https://coinswitch.co"),
        ("https://coinswitch.co/", "https://coinswitch.co"),
        ("HTTPS://CoinSwitch.co", "https://coinswitch.co"),
        ("https://coinswitch.co:443", "https://coinswitch.co"),
        ("https://coinswitch.co:080", "https://coinswitch.co:80"),
        ("https://coinswitch.co.", "https://coinswitch.co"),
        ("https://coinswitch.co.:8443/", "https://coinswitch.co:8443"),
        ("https://localhost", "https://localhost"),
        ("https://10.0.0.1:8443", "https://10.0.0.1:8443"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("https://[2001:0DB8:0:0::1]:443", "https://[2001:db8::1]"),
        ("https://" + "a" * 63 + ".example", "https://" + "a" * 63 + ".example"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://127.1.2.3:80/", "http://127.1.2.3"),
        ("http://127.1.2.3:443", "http://127.1.2.3:443"),
        ("http://127.0.0.1.:8080", "http://127.0.0.1:8080"),
        ("http://localhost.:8080", "http://localhost:8080"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://LOCALHOST", "http://localhost"),
        ("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("HTTP://[::1]", "http://[::1]"),
    ],
)
def test_valid_url_is_accepted(value: str, url: str) -> None:
    assert read_connection({**VALID_OPTIONS, "api_url": value}).api_url == url


@pytest.mark.parametrize(
    "url",
    [
        "coinswitch.co",
        "https://.",
        "https://coinswitch..co",
        "https://coinswitch.co..",
        "http://localhost..",
        "http://127.0.0.1..",
        "https://.coinswitch.co",
        "https://" + "a" * 64 + ".example",
        "https://[1:2]",
        "//coinswitch.co",
        "https://",
        "https:///",
        "https:coinswitch.co",
        "ftp://coinswitch.co",
        "file:///etc/passwd",
        "javascript:alert(1)",
        "https://user@coinswitch.co",
        "https://user:password@coinswitch.co",
        "http://127.0.0.1@evil.example",
        "http://127.0.0.1:80@evil.example",
        "http://evil.example#@127.0.0.1",
        "http://127.0.0.1\\@evil.example",
        "http://127.0.0.1\\.evil.example",
        "http://127.0.0.1%2eevil.example",
        "http://127.0.0.1%00.evil.example",
        "https://coinswitch.co:",
        "https://coinswitch.co/trade",
        "https://coinswitch.co/?a=b",
        "https://coinswitch.co#a",
        "https://coinswitch.co//",
        " https://coinswitch.co",
        "https://coinswitch.co ",
        "https://coinswitch.co\n",
        "https://coin\nswitch.co",
        "https://coin\tswitch.co",
        "https://coin switch.co",
        "https://coinswitch.co\0",
        "https://\u0441oinswitch.co",
        "http://\u2460\u2461\u2466.0.0.1",
        "http://\uff11\uff12\uff17.0.0.1",
        "http://loc\u0430lhost",
        "http://127\u30020\u30020\u30021",
        "https://:443",
        "https://coinswitch.co:0",
        "https://coinswitch.co:65536",
        "https://coinswitch.co:-1",
        "https://coinswitch.co:443:443",
        "https://coinswitch.co:port",
        "https://[::1",
        "https://::1]",
        "https://[::1]]",
        "https://[::g]",
        "http://[::1]evil",
        "http://[127.0.0.1]",
    ],
)
def test_invalid_or_ambiguous_url_is_refused(url: str) -> None:
    assert get_refusal(api_url=url).startswith("api_url must ")


# --- is_loopback ---


@pytest.mark.parametrize(
    "host",
    [
        "coinswitch.co",
        "10.0.0.1",
        "0.0.0.0",
        "localhost.evil.example",
        "localhostx",
        "127.0.0.1.evil.example",
        "evil-127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.01",
        "127.0.0.256",
        "128.0.0.1",
        "[::]",
        "[::2]",
        "[fe80::1]",
        "[2001:db8::1]",
        "ip6-localhost",
    ],
)
def test_http_is_refused_for_a_host_that_is_not_loopback(host: str) -> None:
    message = get_refusal(api_url=f"http://{host}:8080")
    assert message == (
        "api_url must start with https, because plain http is allowed only for a loopback address (127.0.0.1, "
        "localhost)"
    )


# --- _check_exchange ---


@pytest.mark.parametrize(("value", "exchange"), [("EXCHANGE_2", "EXCHANGE_2"), ("exchange_2", "EXCHANGE_2")])
def test_exchange_is_converted_to_upper_case(value: str, exchange: str) -> None:
    assert read_connection({**VALID_OPTIONS, "exchange": value}).exchange == exchange


@pytest.mark.parametrize("value", [" ", "EXCHANGE 2", "EXCHANGE_2\n", "EXCHANGE-2", "a&b=c", "\u0663"])
def test_invalid_exchange_is_refused(value: str) -> None:
    assert (
        get_refusal(exchange=value) == "exchange must contain only letters, digits and underscores, such as EXCHANGE_2"
    )


# --- _check_number ---

NOT_NUMBERS: list[Any] = [
    True,
    False,
    None,
    " ",
    "ten",
    "1e1",
    "-1",
    -1,
    "+1",
    "1_0",
    " 1",
    "1\n",
    "0x1",
    "\u0661",
    math.nan,
    math.inf,
    -math.inf,
    "nan",
    "inf",
    "NaN",
    "Infinity",
    "1e999999999",
    ".5",
    [],
    {},
    [1],
    "9" * 999,
]


@pytest.mark.parametrize(
    ("name", "valid", "invalid", "bounds"),
    [
        ("timeout", [0.001, 1, 10.5, 3600, "10", "0.5", "2."], [0, "0", 3601, 1e300], "above 0 and up to 3600"),
        ("rate_limit_timeout", [0, 0.5, 600, 1e9, "0", "600"], [1e10, "9999999999"], "from 0 to 1000000000"),
        ("rate_limit_share", [0.001, 0.5, 1, 1.0, "0.5", "1"], [0, 0.0, 1.001, 2, "2"], "above 0 and up to 1"),
    ],
)
def test_only_numbers_within_the_bounds_are_accepted(
    name: str, valid: list[Any], invalid: list[Any], bounds: str
) -> None:
    for value in valid:
        number = getattr(read_connection({**VALID_OPTIONS, name: value}), name)
        assert isinstance(number, float)
        assert number == float(value)
    for value in [*NOT_NUMBERS, *invalid]:
        assert get_refusal(**{name: value}) == f"{name} must be a number {bounds}", value


# --- _check_retries ---


@pytest.mark.parametrize(("value", "retries"), [(0, 0), (3, 3), ("3", 3), ("0", 0), (999, 999)])
def test_valid_retries_are_accepted(value: Any, retries: int) -> None:
    assert read_connection({**VALID_OPTIONS, "retries": value}).retries == retries


@pytest.mark.parametrize("value", [*NOT_NUMBERS, 1000, 3.0, "3.0", 10**30])
def test_invalid_retries_are_refused(value: Any) -> None:
    assert get_refusal(retries=value) == "retries must be a whole number from 0 to 999"


# --- _get_verify ---


@pytest.mark.parametrize("is_folder", [False, True])
def test_ca_path_can_be_a_file_or_a_folder(tmp_path: Path, is_folder: bool) -> None:
    path = tmp_path / "certificates"
    if is_folder:
        path.mkdir()
    else:
        path.touch()
    assert read_connection({**VALID_OPTIONS, "ca_path": str(path)}).verify == str(path)
    assert read_connection({**VALID_OPTIONS, "ca_path": str(path), "validate_certs": False}).verify is False


def test_missing_ca_path_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "none")
    assert (
        get_refusal(ca_path=path) == f"ca_path {path!r} does not exist on the host that the module runs on. Correct it."
    )


@pytest.mark.parametrize("path", ["here.pem", "./here.pem", "../here", "~nobody-of-this-name/here.pem"])
def test_relative_ca_path_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.pem").touch()
    assert get_refusal(ca_path=path) == (
        f"ca_path {path!r} is a relative path. Write the whole path, starting with / or ~."
    )


@pytest.mark.parametrize("path", [None, ""])
def test_without_ca_path_verify_is_validate_certs(path: Any) -> None:
    assert read_connection({**VALID_OPTIONS, "ca_path": path}).verify is True
    assert read_connection({**VALID_OPTIONS, "ca_path": path, "validate_certs": False}).verify is False
