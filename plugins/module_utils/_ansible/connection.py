# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection options, and their check before any request.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import math
import os
import re
from typing import Any, Mapping, NamedTuple
from urllib.parse import urlsplit

from ansible.module_utils.errors import AnsibleFallbackNotFound

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import InputRefused
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import to_digits


class UnconvertedType(str):
    """The type of an option whose value Ansible does not convert.

    The documentation shows the name of the type. The conversion of Ansible accepts true as 1 and as the text "True",
    and "1_0" and "10.0" as 10, loses one of two equal names in a dictionary, and does not end for "1e999999999".
    """

    def __call__(self, value: Any) -> Any:
        """Return the value unchanged. Ansible calls this to convert a value."""
        return value


# Also those that a text program sets in place of the plain ones.
_QUOTES = ('"', "'", "`", "\u2018", "\u2019", "\u201c", "\u201d")
INT = UnconvertedType("int")
FLOAT = UnconvertedType("float")
STR = UnconvertedType("str")
DICT = UnconvertedType("dict")


class Connection(NamedTuple):
    """Valid connection options. Times are in seconds. `verify` has the form that requests expects."""

    api_key: str
    secret_key: str
    api_url: str
    exchange: str
    timeout: float
    retries: int
    rate_limit_timeout: float
    rate_limit_share: float
    verify: bool | str

    @property
    def identity(self) -> str:
        """The identity that shares request budgets: the address of the exchange, and the API key."""
        return f"{self.api_url} {self.api_key.lower()}"


def get_variable(name: str) -> str:
    """Return an environment variable. An empty one is not set."""
    value = os.environ.get(name)
    if not value:
        raise AnsibleFallbackNotFound
    return value


API_URL_VARIABLE = "COINSWITCH_API_URL"
CONNECTION: dict[str, dict[str, Any]] = {
    "api_key": {"type": "str", "no_log": True, "fallback": (get_variable, ["COINSWITCH_API_KEY"])},
    "secret_key": {"type": "str", "no_log": True, "fallback": (get_variable, ["COINSWITCH_SECRET_KEY"])},
    "api_url": {"type": "str", "default": "https://coinswitch.co", "fallback": (get_variable, [API_URL_VARIABLE])},
    "exchange": {"type": "str", "default": "EXCHANGE_2"},
    "timeout": {"type": FLOAT, "default": 10},
    "retries": {"type": INT, "default": 3},
    "rate_limit_timeout": {"type": FLOAT, "default": 600},
    "rate_limit_share": {"type": FLOAT, "default": 1},
    "validate_certs": {"type": "bool", "default": True},
    "ca_path": {"type": "path"},
}


def read_connection(options: Mapping[str, Any], argument_spec: Mapping[str, Any]) -> Connection:
    """Return the connection options. Raise InputRefused if one of them is not valid.

    Args:
        options: The options of the module.
        argument_spec: The argument spec of the module, which can have other defaults.
    """
    # An option that is set to an empty text is not set.
    defaults = {name: argument_spec[name]["default"] for name in CONNECTION if "default" in argument_spec[name]}
    empty = {name: default for name, default in defaults.items() if options[name] == ""}
    if "api_url" in empty:
        # The same order as for an option that is absent. A rehearsal on the sandbox must not reach the real exchange.
        empty["api_url"] = os.environ.get(API_URL_VARIABLE) or empty["api_url"]
    values = {**options, **empty}
    return Connection(
        api_key=_read_key(values, "api_key"),
        secret_key=_check_secret_key(_read_key(values, "secret_key")),
        api_url=_check_url(values["api_url"]),
        exchange=_check_exchange(values["exchange"]),
        timeout=_check_number("timeout", values["timeout"], 3600.0, exclude_zero=True),
        retries=_check_retries(values["retries"]),
        rate_limit_timeout=_check_number("rate_limit_timeout", values["rate_limit_timeout"], 1e9),
        rate_limit_share=_check_number("rate_limit_share", values["rate_limit_share"], 1.0, exclude_zero=True),
        verify=_get_verify(values["validate_certs"], values["ca_path"]),
    )


def _read_key(options: Mapping[str, Any], name: str) -> str:
    """Return a key. Raise InputRefused if it contains characters that come from a file or a shell. Never show it.

    The key of another account in the environment does not replace an empty key.
    """
    if options[name] == "":
        raise InputRefused(
            f"{name} is empty. Set the variable from which the playbook takes it, for example coinswitch_{name}."
        )
    if not options[name]:
        raise InputRefused(
            f"{name} is missing. Set the option {name} or the environment variable COINSWITCH_{name.upper()}."
        )
    text = str(options[name])
    if text[0] in _QUOTES or text[-1] in _QUOTES:
        raise InputRefused(f"{name} starts or ends with a quotation mark. Remove the quotation marks from its value.")
    if not re.fullmatch(r"[!-~]+", text):
        raise InputRefused(
            f"{name} contains a space, a line break or another character that no key has. Copy it again."
        )
    return text


def _check_secret_key(text: str) -> str:
    if re.fullmatch(r"([0-9A-Fa-f]{64}){1,2}", text):
        return text
    detail = "" if re.fullmatch(r"[0-9A-Fa-f]*", text) else ", and some of them are not hexadecimal"
    raise InputRefused(
        "secret_key must have 64 hexadecimal characters (the Ed25519 seed) or 128 (the seed, then the public key), but "
        f"it has {len(text)}{detail}. Copy it again."
    )


def _check_url(text: str) -> str:
    """Return the address of the API. Raise InputRefused if it is unsafe or ambiguous.

    Each spelling of an address gives the same one: in lower case, without the default port, a final dot or a slash.
    """
    requirement = "api_url must be https://HOST or https://HOST:PORT"
    if not re.fullmatch(r"(?i)https?://(\[[0-9a-f:]+\]|[a-z0-9._-]+)(:[0-9]+)?/?", text):
        raise InputRefused(f"{requirement}, without a user, a path or a query")
    try:
        parts = urlsplit(text)
        host, port = _normalize_host(parts.hostname or ""), parts.port
    except ValueError:
        raise InputRefused(f"{requirement}. The host or port is not valid.") from None
    if port == 0 or not host:
        raise InputRefused(f"{requirement}. The host or port is missing.")
    if parts.scheme == "http" and not is_loopback(host.strip("[]")):
        raise InputRefused(
            "api_url must start with https, because plain http is allowed only for a loopback address (127.0.0.1, "
            "localhost)"
        )
    is_default_port = port in (None, {"https": 443, "http": 80}[parts.scheme])
    return f"{parts.scheme}://{host}" + ("" if is_default_port else f":{port}")


def _normalize_host(host: str) -> str:
    """Return a host in lower case, without a final dot. Raise ValueError if it cannot be the name of a host."""
    if ":" in host:
        # Few tasks use an IPv6 address, so others do not spend time on this import.
        import ipaddress

        return f"[{ipaddress.IPv6Address(host)}]"
    name = host.lower()[:-1] if host.endswith(".") else host.lower()
    if name and not all(0 < len(label) < 64 for label in name.split(".")):
        raise ValueError
    return name


def is_loopback(host: str) -> bool:
    """Return whether a host is loopback.

    Unusual forms of an address do not count, because other programs can interpret them differently.
    """
    # Only tests with the sandbox use plain http, so other tasks do not spend time on this import.
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _check_exchange(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_]+", text):
        raise InputRefused("exchange must contain only letters, digits and underscores, such as EXCHANGE_2")
    return text.upper()


def _check_number(name: str, value: Any, maximum: float, exclude_zero: bool = False) -> float:
    """Return a number from 0. Raise InputRefused for any other value.

    Args:
        name: The name of the option.
        value: A number, or text with a plain number such as "2.5".
        maximum: The upper bound.
        exclude_zero: Whether 0 is refused, too.
    """
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300
    is_text = isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}(\.[0-9]{0,12})?", value)
    number = float(value) if is_number or is_text else math.nan
    if not 0 <= number <= maximum or (exclude_zero and number == 0):
        bounds = f"above 0 and up to {maximum:.0f}" if exclude_zero else f"from 0 to {maximum:.0f}"
        raise InputRefused(f"{name} must be a number {bounds}")
    return number


def _check_retries(value: Any) -> int:
    if not re.fullmatch("[0-9]{1,3}", to_digits(value)):
        raise InputRefused("retries must be a whole number from 0 to 999")
    return int(value)


def _get_verify(validate: bool, ca_path: str | None) -> bool | str:
    if not validate or not ca_path:
        return bool(validate)
    if not os.path.isabs(ca_path):
        # A module and a task in the worker process have different working directories.
        raise InputRefused(f"ca_path {ca_path!r} is a relative path. Write the whole path, starting with / or ~.")
    if not os.path.exists(ca_path):
        raise InputRefused(f"ca_path {ca_path!r} does not exist on the host that the module runs on. Correct it.")
    return ca_path
