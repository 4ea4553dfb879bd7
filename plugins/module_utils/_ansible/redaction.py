# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Remove secrets and control characters from all output of a module, whatever the exchange sends.

Secrets are found in each encoding that a response can contain. Each step takes a time that grows only with the size of
a text. Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import re
import struct
from base64 import b32encode, b64encode
from functools import lru_cache
from itertools import compress
from string import ascii_letters, ascii_lowercase, digits
from typing import Any, Iterable, Mapping
from urllib.parse import unquote

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import HIDDEN, to_printable

# A signature in any encoding has at least as many characters. No other value of the exchange does.
_MIN_SIGNATURE_LENGTH = 120
# A long run of the characters of hexadecimal, base64 and percent-encoding. Each run is tried only at its start, so that
# the time grows only with the length of a text.
_SIGNATURE = re.compile(f"(?<![A-Za-z0-9+/=_%-])[A-Za-z0-9+/=_%-]{{{_MIN_SIGNATURE_LENGTH},}}")
# The same as a table and a run of bytes. A search for them is ten times as fast.
_IS_IN_SIGNATURE = bytes(byte in (ascii_letters + digits + "+/=_%-").encode() for byte in range(256))
_SIGNATURE_RUN = b"\1" * _MIN_SIGNATURE_LENGTH
# A text that can contain a whole URL with a user.
_WORD = re.compile(r"[^\s\"'<>]{5,}")
_PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
# A shorter password is hidden in URLs only. Hiding it everywhere would make messages unreadable.
_MIN_PASSWORD_LENGTH = 4
# A shorter value is not a valid key. Hiding it would make messages unreadable.
_MIN_SECRET_LENGTH = 8
# Only a key like this is also found in parts. Parts of another text can be words of messages.
_HEX_KEY = re.compile(r"[0-9A-Fa-f]{32,}")
# The shortest part of a key that is hidden, and of its encodings. No other text contains one by chance.
_PART = 16
# Only each ninth place of a text is compared first: each part contains eight characters that start at such a place.
_SAMPLES = struct.Struct("8sx")
# What can stand between the digits of a key: all bytes except digits and lowercase letters.
_SEPARATORS = bytes(set(range(256)) - set((digits + ascii_lowercase).encode()))
_IS_KEPT = bytes(byte not in _SEPARATORS for byte in range(256))
# Separators that contain letters or digits: encoded characters, tags of HTML, and colors of a terminal. Encoded digits
# of a key are none. Each alternative starts with a character of its own and never repeats a search, so that it is fast.
_DIGIT = b"(?:3[0-9]|[46][1-6])"
_ESCAPE = re.compile(
    rb"%%(?:25)*(?!%b)[0-9a-f]{2}|\\x(?!%b)[0-9a-f]{2}|\\u(?!00%b)[0-9a-f]{4}|\\[a-tvwyz]" % (_DIGIT, _DIGIT, _DIGIT)
    + rb"|&#?[a-z0-9]{1,8};|<[^<>]*>|\[[0-9;]*[a-z]"
)
# The forms of a character in a URL, in a program, in JSON and in HTML.
_CHARACTER_FORMS = ("%{:02x}", "\\x{:02x}", "\\u00{:02x}", "&#{};")


class Redactor:
    """Makes texts and nested values safe to show.

    Secrets, and the user and the password of any URL, are replaced. Each text becomes one line without control
    characters.

    Args:
        secrets: The keys. They are found in upper and lower case, in base64, in base32 and percent-encoded. Each part
            of a hexadecimal key is found, too, also with separators between its digits.
        passwords: Passwords. They are found only in this form.
    """

    def __init__(self, secrets: Iterable[str], passwords: Iterable[str] = ()) -> None:
        self._encodings, self._parts, self._samples = _prepare(tuple(secrets))
        self._min_length = min([_PART] * bool(self._parts) + [len(item) for item in self._encodings], default=0)
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
        if len(text) >= _MIN_SIGNATURE_LENGTH and _SIGNATURE_RUN in _to_bytes(text).translate(_IS_IN_SIGNATURE):
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
        found = [match.span() for encoding in encodings for match in re.finditer(re.escape(encoding), lowered)]
        if self._parts:
            found += self._find_parts(lowered)
            without_escapes = _ESCAPE.sub(b"", lowered)
            if len(without_escapes) < len(lowered) and self._find_parts(without_escapes):
                # The same again, with the positions in the text.
                found += self._find_parts(_ESCAPE.sub(lambda match: b" " * len(match[0]), lowered))
        if not found:
            return text
        parts, end = [], 0
        for start, stop in sorted(found):
            if start >= end:
                parts += [data[end:start], HIDDEN.encode()]
            end = max(end, stop)
        return b"".join([*parts, data[end:]]).decode("utf-8", "surrogatepass")

    def _find_parts(self, text: bytes) -> list[tuple[int, int]]:
        """Return where the parts of keys start and end in a text, whatever separators it contains."""
        kept = text.translate(None, _SEPARATORS)
        step = _SAMPLES.size
        kept += b" " * (-len(kept) % step)
        if self._samples.isdisjoint(_SAMPLES.iter_unpack(kept)):
            return []
        samples, found = enumerate(_SAMPLES.iter_unpack(kept)), []
        for place in (number * step for number, sample in samples if sample in self._samples):
            nearby = range(max(place - step + 1, 0), place + 1)
            starts = [start for start in nearby if kept[start : start + _PART] in self._parts]
            found += [(starts[0], starts[-1] + _PART - 1)] if starts else []
        indexes = [*compress(range(len(text)), text.translate(_IS_KEPT))] if found else []
        return [(indexes[first], indexes[last] + 1) for first, last in found]


@lru_cache(maxsize=1)  # a task has two redactors for the same keys, and so has each item of a loop
def _prepare(secrets: tuple[str, ...]) -> tuple[list[bytes], set[bytes], set[tuple[bytes]]]:
    """Return the encodings that are found as a whole, the parts of those that are also found in parts, and samples."""
    keys: list[bytes] = []
    others: list[bytes] = []
    for secret in secrets:
        encodings = {_to_bytes(encoding).lower() for encoding in _get_encodings(secret)}
        (keys if _HEX_KEY.fullmatch(secret) else others).extend(encodings)
    samples = {(sample,) for sample in _cut(keys, _SAMPLES.size - 1)}
    return sorted(item for item in others if len(item) >= _MIN_SECRET_LENGTH), _cut(keys, _PART), samples


def _to_bytes(text: str) -> bytes:
    # JSON can contain half of a surrogate pair.
    return text.encode("utf-8", "surrogatepass")


def _cut(encodings: Iterable[bytes], length: int) -> set[bytes]:
    """Return all parts of a length that encodings have without separators."""
    texts = [encoding.translate(None, _SEPARATORS) for encoding in encodings]
    return {text[start : start + length] for text in texts for start in range(len(text) - length + 1)}


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
    """Return the encodings of a secret that a response can contain."""
    plain = {secret.encode(), secret.lower().encode(), secret.upper().encode()}
    is_hex = re.fullmatch(r"([0-9A-Fa-f]{2})+", secret)
    encodings = [secret]
    encodings.extend("".join(map(form.format, data)) for form in _CHARACTER_FORMS for data in plain)
    for data in [*plain, bytes.fromhex(secret)] if is_hex else plain:
        encodings.extend(_get_base_encodings(data))
    return encodings


def _get_base_encodings(data: bytes) -> list[str]:
    """Return the base64 and base32 texts of the data at each of the possible offsets within longer data.

    Characters at the edges also depend on the neighboring bytes, so they are left out.
    """
    encodings = []
    for encode, bits, offsets in ((b64encode, 6, 3), (b32encode, 5, 5)):
        for offset in range(offsets):
            text = encode(b"\0" * offset + data).decode()
            core = text[-(-offset * 8 // bits) : (offset + len(data)) * 8 // bits]
            encodings += [core, core.replace("+", "-").replace("/", "_")]
    return encodings
