# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection options: what is taken, and the one line for what is not."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._connection import FLOAT, INT, Connection, check
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import InputRefused

from .client_setup import API_KEY, SECRET_KEY

GOOD: dict[str, Any] = {
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


def refusal(**typed: Any) -> str:
    with pytest.raises(InputRefused) as refused:
        check({**GOOD, **typed})
    said = str(refused.value)
    assert "\n" not in said
    assert not any(value in said for name, value in typed.items() if name.endswith("_key") and value)
    return said


def test_the_defaults() -> None:
    assert check(GOOD) == Connection(
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


@pytest.mark.parametrize("value", [True, "10.0", "1e999999999", None, 10, [1]])
def test_numbers_reach_us_as_they_were_typed(value: Any) -> None:
    assert INT(value) is value
    assert FLOAT(value) is value
    assert (INT, FLOAT) == ("int", "float")


# --- keys ---


@pytest.mark.parametrize("name", ["api_key", "secret_key"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_key_names_option_and_variable(name: str, value: Any) -> None:
    said = refusal(**{name: value})
    assert said == f"{name} is missing: give the option {name} or set the variable COINSWITCH_{name.upper()}"


@pytest.mark.parametrize("secret", [SECRET_KEY, SECRET_KEY.upper(), SECRET_KEY + API_KEY])
def test_good_secrets(secret: str) -> None:
    assert check({**GOOD, "secret_key": secret}).secret_key == secret


@pytest.mark.parametrize(
    ("secret", "has"),
    [
        (SECRET_KEY[:63], "has 63: "),
        (SECRET_KEY + "0", "has 65: "),
        ((SECRET_KEY * 2)[:127], "has 127: "),
        (SECRET_KEY * 2 + "0", "has 129: "),
        (SECRET_KEY[:63] + "g", "has 64, some of them not hexadecimal: "),
        (SECRET_KEY[:63] + "\u0663", "has 64, some of them not hexadecimal: "),
        (SECRET_KEY + "\n", "has 65, some of them not hexadecimal: "),
        (" " + SECRET_KEY, "has 65, some of them not hexadecimal: "),
        ("0x" + SECRET_KEY, "has 66, some of them not hexadecimal: "),
        ("my secret key", "has 13, some of them not hexadecimal: "),
    ],
)
def test_bad_secrets_are_described_and_not_shown(secret: str, has: str) -> None:
    said = refusal(secret_key=secret)
    assert said.startswith("secret_key must be 64 hexadecimal characters (the Ed25519 seed) or 128")
    assert said.endswith(f"{has}copy it again")


@pytest.mark.parametrize("key", [API_KEY, API_KEY.upper(), "an-old-key", "~!"])
def test_an_api_key_is_any_word(key: str) -> None:
    assert check({**GOOD, "api_key": key}).api_key == key


@pytest.mark.parametrize("key", [f"{API_KEY}\n", f" {API_KEY}", f"{API_KEY} {API_KEY}", "\u00e9", "a\0", "\u0663"])
def test_an_api_key_that_no_header_could_hold_is_refused(key: str) -> None:
    assert refusal(api_key=key).startswith("api_key holds a blank, a line's end or another character")


def test_budgets_belong_to_the_key_at_the_address() -> None:
    identities = {
        check({**GOOD, **typed}).identity
        for typed in (
            {},
            {"api_key": API_KEY.upper()},
            {"timeout": 1},
            {"api_key": "other"},
            {"api_url": "https://other.example"},
        )
    }
    assert len(identities) == 3


# --- api_url ---


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("https://coinswitch.co", "https://coinswitch.co"),
        ("https://coinswitch.co/", "https://coinswitch.co"),
        ("HTTPS://CoinSwitch.co", "https://CoinSwitch.co"),
        ("https://10.0.0.1:8443", "https://10.0.0.1:8443"),
        ("https://[2001:db8::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://127.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://127.0.0.1", "http://127.0.0.1"),
        ("http://127.1.2.3:80/", "http://127.1.2.3:80"),
        ("http://localhost:8080", "http://localhost:8080"),
        ("http://LOCALHOST", "http://LOCALHOST"),
        ("http://[::1]:8080", "http://[::1]:8080"),
        ("HTTP://[::1]", "http://[::1]"),
    ],
)
def test_good_addresses(typed: str, url: str) -> None:
    assert check({**GOOD, "api_url": typed}).api_url == url


@pytest.mark.parametrize(
    "host",
    [
        "coinswitch.co",
        "10.0.0.1",
        "0.0.0.0",
        "localhost.evil.example",
        "localhost.",
        "localhostx",
        "127.0.0.1.evil.example",
        "127.0.0.1.",
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
def test_plain_http_is_for_loopback_alone(host: str) -> None:
    said = refusal(api_url=f"http://{host}:8080")
    assert said == "api_url must start with https: plain http is for a loopback address (127.0.0.1, localhost)"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "coinswitch.co",
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
def test_an_address_that_is_not_clear_is_refused(url: str) -> None:
    assert refusal(api_url=url).startswith("api_url must ")


# --- the rest ---


@pytest.mark.parametrize(("typed", "exchange"), [("EXCHANGE_2", "EXCHANGE_2"), ("exchange_2", "EXCHANGE_2")])
def test_the_exchange_is_upper_cased(typed: str, exchange: str) -> None:
    assert check({**GOOD, "exchange": typed}).exchange == exchange


@pytest.mark.parametrize("typed", ["", " ", "EXCHANGE 2", "EXCHANGE_2\n", "EXCHANGE-2", "a&b=c", "\u0663"])
def test_another_exchange_is_refused(typed: str) -> None:
    assert refusal(exchange=typed) == "exchange must be letters, digits and underscores, such as EXCHANGE_2"


NO_NUMBER: list[Any] = [True, False, None, "", " ", "ten", "1e1", "-1", -1, "+1", "1_0", " 1", "1\n", "0x1", "\u0661"]
NO_NUMBER += [
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
    ("name", "good", "bad", "bounds"),
    [
        ("timeout", [0.001, 1, 10.5, 3600, "10", "0.5", "2."], [0, "0", 3601, 1e300], "above 0 and up to 3600"),
        ("rate_limit_timeout", [0, 0.5, 600, 1e9, "0", "600"], [1e10, "9999999999"], "from 0"),
        ("rate_limit_share", [0.001, 0.5, 1, 1.0, "0.5", "1"], [0, 0.0, 1.001, 2, "2"], "above 0 and up to 1"),
    ],
)
def test_seconds_and_shares(name: str, good: list[Any], bad: list[Any], bounds: str) -> None:
    for typed in good:
        number = getattr(check({**GOOD, name: typed}), name)
        assert isinstance(number, float)
        assert number == float(typed)
    for typed in [*NO_NUMBER, *bad]:
        assert refusal(**{name: typed}) == f"{name} must be a number {bounds}", typed


@pytest.mark.parametrize(("typed", "retries"), [(0, 0), (3, 3), ("3", 3), ("0", 0), (999, 999)])
def test_retries(typed: Any, retries: int) -> None:
    assert check({**GOOD, "retries": typed}).retries == retries


@pytest.mark.parametrize("typed", [*NO_NUMBER, 1000, 3.0, "3.0", 10**30])
def test_other_retries_are_refused(typed: Any) -> None:
    assert refusal(retries=typed) == "retries must be a whole number from 0 to 999"


@pytest.mark.parametrize("folder", [False, True])
def test_authorities_come_from_a_file_or_a_folder(tmp_path: Path, folder: bool) -> None:
    path = tmp_path / "authorities"
    if folder:
        path.mkdir()
    else:
        path.touch()
    assert check({**GOOD, "ca_path": str(path)}).verify == str(path)
    assert check({**GOOD, "ca_path": str(path), "validate_certs": False}).verify is False


def test_authorities_that_are_not_there_are_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "none")
    assert refusal(ca_path=path) == f"ca_path {path!r} does not exist on the host that the module runs on"


@pytest.mark.parametrize("path", [None, ""])
def test_without_a_path_the_usual_authorities_count(path: Any) -> None:
    assert check({**GOOD, "ca_path": path}).verify is True
    assert check({**GOOD, "ca_path": path, "validate_certs": False}).verify is False
