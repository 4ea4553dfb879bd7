# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Import the third-party libraries. No other file imports them, so that a missing library gives the usual message.

The imports take longer than all other work of a task on this machine, so this file is imported only before the first
request. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import traceback

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import LibraryMissing


def has_pysocks() -> bool:
    """Return whether PySocks is installed, which only a SOCKS proxy needs. Without it, requests defines a function."""
    return isinstance(requests.adapters.SOCKSProxyManager, type)


_MISSING: LibraryMissing | None = None
try:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
except ImportError:
    _MISSING = LibraryMissing("cryptography", traceback.format_exc())
try:
    import requests
    import urllib3
    from requests import Session
    from requests.adapters import HTTPAdapter
    from requests.auth import AuthBase
    from urllib3.connection import HTTPConnection, HTTPSConnection

    if has_pysocks():
        from urllib3.contrib.socks import SOCKSHTTPSConnection
except ImportError:
    _MISSING = LibraryMissing("requests", traceback.format_exc())

__all__ = [
    "AuthBase", "Ed25519PrivateKey", "Ed25519PublicKey", "HTTPAdapter", "HTTPConnection", "HTTPSConnection",
    "InvalidSignature", "SOCKSHTTPSConnection", "Session", "requests", "require_libraries", "urllib3",
]  # fmt: skip
for _name in __all__:
    # Without a library, the files that use it can still be imported. `require_libraries` then raises the error.
    globals().setdefault(_name, object)


def require_libraries() -> None:
    """Raise LibraryMissing if a library could not be imported."""
    if _MISSING is not None:
        raise _MISSING
