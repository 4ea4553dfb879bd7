# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove secrets and control characters from all output of a module, whatever the exchange sends.

Secrets are found in each encoding that a response can contain. Each step takes a time that grows only with the size of
a text. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any, Iterable, Mapping
from urllib.parse import unquote

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import HIDDEN, to_printable

# A signature in any encoding has at least as many characters. No other value of the exchange does.
_MIN_SIGNATURE_LENGTH = 120
# A long run of the characters of hexadecimal, base64 and percent-encoding. Each run is tried only at its start, so that
# the time grows only with the length of a text.
_SIGNATURE = re.compile(f"(?<![A-Za-z0-9+/=_%-])[A-Za-z0-9+/=_%-]{{{_MIN_SIGNATURE_LENGTH},}}")
# A text that can contain a whole URL with a user.
_WORD = re.compile(r"[^\s\"'<>]{5,}")
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
# A shorter password is hidden in URLs only. Hiding it everywhere would make messages unreadable.
_MIN_PASSWORD_LENGTH = 4
# A shorter value is not a valid key. Hiding it would make messages unreadable.
_MIN_SECRET_LENGTH = 8


class Redactor:
    """Makes texts and nested values safe to show.

    Secrets, and the user and the password of any URL, are replaced. Each text becomes one line without control
    characters.

    Args:
        secrets: The keys. They are found in upper and lower case, in base64 and percent-encoded.
        passwords: Passwords. They are found only in this form.
    """

    def __init__(self, secrets: Iterable[str], passwords: Iterable[str] = ()) -> None:
        encodings = {_to_bytes(encoding).lower() for secret in secrets for encoding in _get_encodings(secret)}
        self._encodings = sorted(encoding for encoding in encodings if len(encoding) >= _MIN_SECRET_LENGTH)
        self._min_length = min(map(len, self._encodings), default=0)
        self._passwords = sorted(passwords, key=len, reverse=True)

    def clean(self, value: Any) -> Any:
        """Return the value without secrets, in texts, lists and dictionaries (also in their keys)."""
        if isinstance(value, str):
            return to_printable(self._hide(value))
        if isinstance(value, dict):
            return {self.clean(name): self.clean(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.clean(item) for item in value]
        return value

    def _hide(self, text: str) -> str:
        if len(text) >= self._min_length:
            text = self._hide_secrets(text)
        if len(text) >= _MIN_SIGNATURE_LENGTH:
            text = _SIGNATURE.sub(HIDDEN, text)
        for password in self._passwords:
            text = text.replace(password, HIDDEN)
        return _WORD.sub(_hide_user, text) if "://" in text and "@" in text else text

    def _hide_secrets(self, text: str) -> str:
        """Return the text without the keys. A search for each encoding is faster than one pattern for all."""
        data = _to_bytes(text)
        # bytes.lower() changes only ASCII letters, so all positions stay the same.
        lowered = data.lower()
        encodings = [encoding for encoding in self._encodings if encoding in lowered]
        if not encodings:
            return text
        found = [match.span() for encoding in encodings for match in re.finditer(re.escape(encoding), lowered)]
        parts, end = [], 0
        for start, stop in sorted(found):
            if start >= end:
                parts += [data[end:start], HIDDEN.encode()]
            end = max(end, stop)
        return b"".join([*parts, data[end:]]).decode("utf-8", "surrogatepass")


def _to_bytes(text: str) -> bytes:
    # JSON can contain half of a surrogate pair.
    return text.encode("utf-8", "surrogatepass")


def _hide_user(word: re.Match[str]) -> str:
    """Return a text without the user and the password of a URL. A password can contain a slash or an @."""
    scheme, separator, rest = word[0].partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}{separator}{HIDDEN}{at}{host}" if user else word[0]


def get_proxy_passwords(environment: Mapping[str, str]) -> set[str]:
    """Return the passwords of the proxy variables in an environment, both encoded and decoded."""
    passwords = set()
    for name, value in environment.items():
        if name.lower() in _PROXY_VARIABLES and "@" in value:
            userinfo = value.rpartition("@")[0].rpartition("://")[2]
            password = userinfo.partition(":")[2]
            passwords |= {password, unquote(password)}
    return {text for text in passwords if len(text) >= _MIN_PASSWORD_LENGTH}


def _get_encodings(secret: str) -> list[str]:
    """Return the encodings of a secret that a response can contain. Each half of a secret of 128 digits is one, too."""
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
    """Return the base64 texts of the data at each of the three possible offsets within longer data.

    Characters at the edges also depend on the neighboring bytes, so they are left out.
    """
    encodings = []
    for offset in range(3):
        text = b64encode(b"\0" * offset + data).decode()
        start = (0, 2, 3)[offset]
        end = len(text) - (0, 3, 2)[(offset + len(data)) % 3]
        core = text[start:end]
        encodings += [core, core.replace("+", "-").replace("/", "_")]
    return encodings
