# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find accounts that use the same API key. One of them is probably another account, which nobody checks."""

from __future__ import annotations

from collections import Counter
from hashlib import sha256
from typing import Any, Iterable, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import words as _words

MAX_NAMES = 5


class Claim(NamedTuple):
    """The key of an account, as `get_key_id` returns it, and the symbols of its policy."""

    key_id: Any
    symbols: list[str]


class Conflict(NamedTuple):
    """Accounts with the same key, and the symbols that more than one of them names."""

    accounts: list[str]
    symbols: list[str]

    def describe(self) -> str:
        names = _join(self.accounts)
        if not self.symbols:
            return f"{names} use the same API key. Check that each account has its own keys."
        return (
            f"{names} use the same API key and name the same symbols ({_join(self.symbols)}). "
            "Give each account its own keys, or name each symbol in one policy only."
        )


def get_key_id(api_key: str) -> str:
    """Return what identifies a key without showing it, as each module returns it in `account`."""
    return sha256(api_key.encode()).hexdigest()[:16]


def get_claim(account: Mapping[str, Any]) -> Claim:
    """Return the claim of an account of the report."""
    return Claim(account["key_id"], [row["symbol"] for row in account["rows"]])


def find_conflicts(claims: Mapping[str, Claim]) -> list[Conflict]:
    """Return a conflict for each key that several accounts use."""
    by_key: dict[str, list[str]] = {}
    for name, claim in claims.items():
        if claim.key_id:
            by_key.setdefault(claim.key_id, []).append(name)
    conflicts = []
    for names in by_key.values():
        if len(names) > 1:
            counts = Counter(symbol for name in names for symbol in set(claims[name].symbols))
            conflicts.append(Conflict(names, sorted(symbol for symbol, count in counts.items() if count > 1)))
    return conflicts


def _join(names: Iterable[str]) -> str:
    """Return names as text, such as `alpha, beta and gamma`."""
    texts = [_words.shorten(name, 60) for name in names]
    if len(texts) > MAX_NAMES:
        texts = [*texts[: MAX_NAMES - 1], f"{len(texts) - MAX_NAMES + 1} more"]
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
