# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign requests, and say what the two keys show without a request. The source is the signing page of the API.

This file does no input or output. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

from typing import Any, Callable, NamedTuple
from urllib.parse import unquote_plus

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import libraries

SEED_DIGITS = 64


def build_message(method: str, path: str, epoch: str) -> bytes:
    """Return the message to sign: the method, the path with its decoded query, and the time. The body is not signed.

    Args:
        method: The HTTP method.
        path: The path of the URL with its query.
        epoch: The time in Unix milliseconds.
    """
    return f"{method.upper()}{unquote_plus(path)}{epoch}".encode()


class KeyPair(NamedTuple):
    """What two keys show without a request. None of it is certain to be wrong: some older pairs are valid with it.

    Attributes:
        matches: The API key is the public key of the secret key. Some older pairs are valid although it is not.
        is_swapped: The keys match if they are exchanged: each one is in the place of the other.
        is_same: One of the two keys is in both places.
        has_upper_case: The API key has upper-case letters. CoinSwitch PRO shows it in lower case.
    """

    matches: bool
    is_swapped: bool
    is_same: bool
    has_upper_case: bool


def describe_pair(api_key: str, secret_key: str) -> KeyPair:
    """Return what two keys show without a request. The secret key can have 64 or 128 hexadecimal digits."""
    return KeyPair(
        matches=_matches(api_key, secret_key),
        is_swapped=_matches(secret_key, api_key),
        is_same=api_key.lower() in (secret_key.lower(), secret_key[:SEED_DIGITS].lower()),
        has_upper_case=api_key != api_key.lower(),
    )


def _matches(public_key: str, secret_key: str) -> bool:
    """Return whether a key is the public key of a secret key. False if one of them is not valid."""
    # The check uses a signature, because the import of the module that can export a key takes longer.
    try:
        private = libraries.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret_key[:SEED_DIGITS]))
        libraries.Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(private.sign(b""), b"")
    except (ValueError, libraries.InvalidSignature):
        return False
    return True


class SignedAuth(libraries.AuthBase):
    """Signs each request when requests prepares it.

    Args:
        api_key: The API key.
        secret_key: The secret key, in hexadecimal: the seed, or the seed and the public key.
        clock: Returns the time in Unix seconds.
    """

    def __init__(self, api_key: str, secret_key: str, clock: Callable[[], float]) -> None:
        self._api_key = api_key
        self._secret_key = secret_key
        self._key = libraries.Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret_key[:SEED_DIGITS]))
        self._clock = clock

    def __call__(self, r: Any) -> Any:
        epoch = str(int(self._clock() * 1000))
        r.headers["X-AUTH-APIKEY"] = self._api_key
        r.headers["X-AUTH-EPOCH"] = epoch
        r.headers["X-AUTH-SIGNATURE"] = self._key.sign(build_message(r.method, r.path_url, epoch)).hex()
        return r

    def describe_pair(self) -> KeyPair:
        """Return what the two keys show without a request."""
        return describe_pair(self._api_key, self._secret_key)
