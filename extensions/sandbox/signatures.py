# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key pairs, and the check of a signature as the exchange does it.

The API key is an Ed25519 public key. The secret key is its 32-byte seed. Both are written in hexadecimal. The signed
message is the method in upper case, the path with its URL-decoded query (a plus sign is a space), and the epoch. The
body is not signed.
"""

from __future__ import annotations

import hashlib
import os
import re
from typing import NamedTuple
from urllib.parse import unquote_plus

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


class KeyPair(NamedTuple):
    """The keys of an account: 64 hexadecimal characters each."""

    api_key: str
    secret_key: str

    @classmethod
    def from_seed(cls, seed: bytes | None = None) -> KeyPair:
        """Return the pair of a 32-byte seed, or of a random seed."""
        seed = os.urandom(32) if seed is None else seed
        public_key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
        return cls(public_key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex(), seed.hex())


def derive_seed(name: str) -> bytes:
    """Return the seed of an account with this name, so that its keys are the same at every start."""
    return hashlib.sha256(f"sandbox account {name}".encode()).digest()


def is_signed_by(api_key: str, signature: str, method: str, target: str, epoch: str) -> bool:
    """Return whether the signature belongs to the API key and the request.

    Args:
        api_key: The API key, in hexadecimal.
        signature: The signature, in hexadecimal.
        method: The HTTP method.
        target: The path and query as sent.
        epoch: The header X-AUTH-EPOCH, in Unix milliseconds.
    """
    if not re.fullmatch(r"[0-9A-Fa-f]{128}", signature):
        return False
    message = method.upper() + unquote_plus(target) + epoch
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(api_key)).verify(bytes.fromhex(signature), message.encode())
    except (ValueError, InvalidSignature):
        return False
    return True
