# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The proxy and the certificate authorities of the environment, with the names of the variables that set them.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import os
import re
import ssl
from typing import NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import libraries
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Unreachable
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.libraries import requests, urllib3

_SOCKS_SCHEMES = ("socks4", "socks4a", "socks5", "socks5h")


class Proxy(NamedTuple):
    """A proxy, and the name of the environment variable that contains its address."""

    url: str
    variable: str

    @property
    def settings(self) -> str:
        """What to check if it fails. A SOCKS proxy does not tell whether it or the exchange was not found."""
        return f"api_url and {self.variable}" if self.url.lower().startswith("socks") else self.variable


class Authorities(NamedTuple):
    """The file or directory of the trusted certificate authorities, and what names it."""

    path: str
    source: str

    def are_readable(self) -> bool:
        """Return whether the file exists and contains certificates. This takes some milliseconds."""
        try:
            if os.path.isdir(self.path):
                return bool(os.listdir(self.path))
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(self.path)
        except OSError:
            return False
        return True


def find_proxy(url: str) -> Proxy | None:
    """Return the proxy that the environment names for an address. None for plain http, which is for loopback only."""
    proxies = requests.utils.get_environ_proxies(url) if url.startswith("https:") else {}
    value = requests.utils.select_proxy(url, proxies)
    if not value:
        return None
    # requests prefers https_proxy to all_proxy, and Python prefers the variable in lower case.
    name = "https_proxy" if "https" in proxies else "all_proxy"
    names = [variable for variable in os.environ if variable.lower() == name and os.environ[variable] == value]
    # Old versions of requests take the host for the scheme if there is none.
    return Proxy(value if "://" in value else f"http://{value}", max(names, default="the settings of the system"))


def check_proxy(proxy: Proxy, url: str) -> None:
    """Raise Unreachable if a proxy cannot be used. No message shows its address, which can contain a password."""
    try:
        parts = urllib3.util.parse_url(proxy.url)
        host = (parts.host or "").encode("idna")
    except ValueError:
        host = b""
    # Old versions of urllib3 accept spaces.
    if not host or re.search(r"[^!-~\w]", proxy.url) or "@" in f"{parts.path}{parts.query}{parts.fragment}":
        problem = (
            f"the address of the proxy in {proxy.variable} is not valid. Correct it, and percent-encode the special "
            "characters of its password."
        )
    elif parts.scheme not in ("http", "https", *_SOCKS_SCHEMES):
        problem = (
            f"the proxy in {proxy.variable} has an unknown scheme. Use http://, https://, or socks5h:// for a SOCKS "
            "proxy."
        )
    elif parts.scheme in _SOCKS_SCHEMES and not libraries.has_pysocks():
        problem = (
            f"the SOCKS proxy in {proxy.variable} needs the Python library PySocks. Install PySocks for the Python "
            "that runs the module, or use an http:// proxy."
        )
    else:
        return
    raise Unreachable(f"No request was sent to {url}, because {problem}", can_retry=False)


def find_authorities(url: str, verify: bool | str) -> Authorities | None:
    """Return the trusted authorities. None if no certificate is verified, also for plain http."""
    if not verify or not url.startswith("https:"):
        return None
    if isinstance(verify, str):
        return Authorities(verify, "ca_path")
    for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if os.environ.get(variable):
            return Authorities(os.environ[variable], variable)
    return Authorities(requests.utils.DEFAULT_CA_BUNDLE_PATH, "the Python library requests")
