# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Key pairs, and the exchange's own check of a signature.

The API key is an Ed25519 public key and the secret key its 32-byte seed, both in hex. What is signed: the method in
upper case, the path with its query URL-decoded (a plus is a blank), and the epoch; never the body.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from urllib.parse import unquote_plus

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat


@dataclass(frozen=True)
class KeyPair:
    """An account's keys as its holder knows them: 64 hex characters each."""

    api_key: str
    secret_key: str

    @classmethod
    def from_seed(cls, seed: bytes | None = None) -> KeyPair:
        """The pair of a 32-byte seed; of a random one where none is given."""
        seed = os.urandom(32) if seed is None else seed
        public_key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
        return cls(public_key.public_bytes(Encoding.Raw, PublicFormat.Raw).hex(), seed.hex())


def seed_from_name(name: str) -> bytes:
    """The seed of a named account of a file, so that its keys are the same at every start."""
    return hashlib.sha256(f"sandbox account {name}".encode()).digest()


def is_signed_by(api_key: str, signature: str, method: str, target: str, epoch: str) -> bool:
    """Whether the holder of `api_key` signed this request; `target` is its path and query as sent."""
    if not re.fullmatch(r"[0-9A-Fa-f]{128}", signature):
        return False
    message = method.upper() + unquote_plus(target) + epoch
    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(api_key)).verify(bytes.fromhex(signature), message.encode())
    except (ValueError, InvalidSignature):
        return False
    return True
