# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove secrets from all output of a module, even if the exchange returns them in another encoding.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Any, Iterable, Mapping
from urllib.parse import unquote

HIDDEN = "********"
# The characters of hexadecimal, base64 and percent-encoding, for a regular expression.
_ENCODING_CHARACTERS = "A-Za-z0-9+/=_%-"
# A signature in any encoding has at least as many characters. No other value of the exchange does.
_MIN_SIGNATURE_LENGTH = 120
# The user and the password in a URL. A password can contain a slash or an @ that is not encoded.
_USERINFO = r"(?<=://)[^\s\"'<>]{1,512}(?=@)"
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
# A shorter password is hidden in URLs only. Hiding it everywhere would make messages unreadable.
_MIN_PASSWORD_LENGTH = 4
# A shorter value is not a valid key. Hiding it would make messages unreadable.
_MIN_SECRET_LENGTH = 8


class Redactor:
    """Replaces secrets in texts and in nested values. Also replaces the user and the password of any URL.

    Args:
        secrets: The keys. They are found in upper and lower case, in base64 and percent-encoded.
        passwords: Passwords. They are found only in this form.
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
        # Skip places without enough such characters in a row. This makes the search in megabytes fast.
        characters = re.escape("".join(sorted(set("".join(encodings)))))
        self._secret_pattern = re.compile(
            rf"(?=[{characters}{_ENCODING_CHARACTERS}]{{{_MIN_SECRET_LENGTH}}})(?:{pattern})", re.IGNORECASE
        )

    def clean(self, value: Any) -> Any:
        """Return the value without secrets, in texts, lists and dictionaries (also in their keys)."""
        if isinstance(value, str):
            return self._plain_pattern.sub(HIDDEN, self._secret_pattern.sub(HIDDEN, value))
        if isinstance(value, dict):
            return {self.clean(name): self.clean(item) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.clean(item) for item in value]
        return value


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
    """Return the encodings in which an answer can contain a secret. Each half of a secret of 128 digits is one, too."""
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
