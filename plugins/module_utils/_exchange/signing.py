# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sign requests, and check whether the two keys are a pair. The source is the signing page of the API.

This file does no input or output. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

from typing import Any, Callable
from urllib.parse import unquote_plus

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.libraries import (
    AuthBase,
    Ed25519PrivateKey,
    Ed25519PublicKey,
    InvalidSignature,
)

SEED_DIGITS = 64


def build_message(method: str, path: str, epoch: str) -> bytes:
    """Return the message to sign: the method, the path with its decoded query, and the time. The body is not signed.

    Args:
        method: The HTTP method.
        path: The path of the URL with its query.
        epoch: The time in Unix milliseconds.
    """
    return f"{method.upper()}{unquote_plus(path)}{epoch}".encode()


class SignedAuth(AuthBase):
    """Signs each request when requests prepares it.

    Args:
        api_key: The API key.
        secret_key: The secret key, in hexadecimal: the seed, or the seed and the public key.
        clock: Returns the time in Unix seconds.
    """

    def __init__(self, api_key: str, secret_key: str, clock: Callable[[], float]) -> None:
        self._api_key = api_key
        self._key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(secret_key[:SEED_DIGITS]))
        self._clock = clock

    def __call__(self, r: Any) -> Any:
        epoch = str(int(self._clock() * 1000))
        r.headers["X-AUTH-APIKEY"] = self._api_key
        r.headers["X-AUTH-EPOCH"] = epoch
        r.headers["X-AUTH-SIGNATURE"] = self._key.sign(build_message(r.method, r.path_url, epoch)).hex()
        return r

    def pair_matches(self) -> bool:
        """Return whether the API key is the public key of the secret key. Some older pairs are valid without this."""
        # The check uses a signature, because the import of the module that can export a key takes longer.
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self._api_key)).verify(self._key.sign(b""), b"")
        except (ValueError, InvalidSignature):
            return False
        return True
