# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keeps secrets out of all output of a module, also if the exchange sends them back in another form.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any, Iterable, Mapping
from urllib.parse import unquote

HIDDEN = "********"
# The characters of hexadecimal, base64 and percent-encoding.
_ENCODING_CHARACTERS = "A-Za-z0-9+/=_%-"
# A signature in any form is longer than this. Nothing else that the exchange sends is.
_MIN_SIGNATURE_LENGTH = 120
# The part of a URL before the host. A password can contain a slash or an @ that is not encoded.
_USERINFO = r"(?<=://)[^\s\"'<>]{1,512}(?=@)"
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
# Hiding a shorter password everywhere would make messages unreadable. In a URL it is hidden anyway.
_MIN_PASSWORD_LENGTH = 4
# A shorter value is refused as a key, and hiding it would make messages unreadable.
_MIN_SECRET_LENGTH = 8


class Redactor:
    """Replaces secrets in texts and nested values.

    secrets: keys, which are found in any case, in base64 and percent-encoded. passwords: found as they are. The user
    and password of any URL are replaced, too.
    """

    def __init__(self, secrets: Iterable[str], passwords: Iterable[str] = ()) -> None:
        passwords_longest_first = sorted(map(re.escape, passwords), key=lambda text: -len(text))
        self._plain_pattern = re.compile("|".join([_USERINFO, *passwords_longest_first]))
        encodings = {
            encoding for secret in secrets for encoding in _get_encodings(secret) if len(encoding) >= _MIN_SECRET_LENGTH
        }
        encodings_longest_first = sorted(encodings, key=lambda encoding: (-len(encoding), encoding))
        pattern = "|".join(
            [*map(re.escape, encodings_longest_first), rf"[{_ENCODING_CHARACTERS}]{{{_MIN_SIGNATURE_LENGTH},}}"]
        )
        # A shorter run of such characters cannot contain a secret. This makes the search of megabytes fast.
        characters = re.escape("".join(sorted(set("".join(encodings)))))
        self._secret_pattern = re.compile(
            rf"(?=[{characters}{_ENCODING_CHARACTERS}]{{{_MIN_SECRET_LENGTH}}})(?:{pattern})", re.IGNORECASE
        )

    def clean(self, value: Any) -> Any:
        """The value without the secrets: in mappings (also their keys), lists and texts. Other values are unchanged."""
        if isinstance(value, str):
            return self._plain_pattern.sub(HIDDEN, self._secret_pattern.sub(HIDDEN, value))
        if isinstance(value, dict):
            return {self.clean(name): self.clean(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.clean(item) for item in value]
        return value


def get_proxy_passwords(environment: Mapping[str, str]) -> set[str]:
    """The passwords in the proxy variables of an environment, as they are and decoded."""
    passwords = set()
    for name, value in environment.items():
        if name.lower() in _PROXY_VARIABLES and "@" in value:
            userinfo = value.rpartition("@")[0].rpartition("://")[2]
            password = userinfo.partition(":")[2]
            passwords |= {password, unquote(password)}
    return {text for text in passwords if len(text) >= _MIN_PASSWORD_LENGTH}


def _get_encodings(secret: str) -> list[str]:
    """The forms in which a hexadecimal secret can come back. Each half of a long one is a secret, too."""
    halves = [secret[:64], secret[64:]] if len(secret) == 128 else [secret]
    encodings = []
    for text in filter(None, [secret, *halves]):
        plain = [text.encode(), text.lower().encode(), text.upper().encode()]
        with_bytes = [*plain, bytes.fromhex(text)] if re.fullmatch(r"([0-9A-Fa-f]{2})+", text) else plain
        encodings.append(text)
        encodings.append("".join(f"%{byte:02x}" for byte in plain[0]))
        encodings.extend(encoding for data in with_bytes for encoding in _get_base64_encodings(data))
    return encodings


def _get_base64_encodings(data: bytes) -> list[str]:
    """The base64 texts of the data at each of its three possible offsets in a longer text, without the edges."""
    encodings = []
    for offset in range(3):
        text = b64encode(b"\0" * offset + data).decode()
        start = (0, 2, 3)[offset]
        end = len(text) - (0, 3, 2)[(offset + len(data)) % 3]
        core = text[start:end]
        encodings += [core, core.replace("+", "-").replace("/", "_")]
    return encodings
