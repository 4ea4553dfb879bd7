# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys, the signed message, and whether two keys are a pair: no I/O. The facts are those of the API's signing page.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

from typing import Any, Callable
from urllib.parse import unquote_plus

from ansible_collections.tradeops.coinswitch.plugins.module_utils._libraries import (
    AuthBase,
    Ed25519PrivateKey,
    Ed25519PublicKey,
    InvalidSignature,
)

SEED_DIGITS = 64


def build_message(method: str, path: str, epoch: str) -> bytes:
    """The signed message: the method, the path with its decoded query, and the epoch (Unix ms), without the body."""
    return f"{method.upper()}{unquote_plus(path)}{epoch}".encode()


class SignedAuth(AuthBase):
    """Signs each request when it is prepared.

    api_key and secret_key are hexadecimal; of a secret of 128 digits (seed, then public key) the seed is used.
    clock() gives Unix seconds.
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
        """Whether the API key is the public key of the secret. Older pairs can differ and still be valid."""
        # Checked with a signature: importing cryptography's module for writing keys takes longer.
        try:
            Ed25519PublicKey.from_public_bytes(bytes.fromhex(self._api_key)).verify(self._key.sign(b""), b"")
        except (ValueError, InvalidSignature):
            return False
        return True
