# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find accounts that use the same API key. One of them is probably another account, which nobody checks."""

from __future__ import annotations

from collections import Counter
from itertools import chain
from typing import Any, Iterable, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import words as _words

MAX_NAMES = 5


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


def find_conflicts(claims: Mapping[str, tuple[Any, Iterable[str]]]) -> list[Conflict]:
    """Return a conflict for each key that several accounts use.

    Args:
        claims: The key of each account, as `identify_account` returns it, and the symbols of its policy.
    """
    by_key: dict[Any, dict[str, set[str]]] = {}
    for name, (key_id, symbols) in claims.items():
        if key_id:
            by_key.setdefault(key_id, {})[name] = set(symbols)
    conflicts = []
    for accounts in by_key.values():
        if len(accounts) > 1:
            counts = Counter(chain.from_iterable(accounts.values()))
            conflicts.append(Conflict(list(accounts), sorted(symbol for symbol, count in counts.items() if count > 1)))
    return conflicts


def _join(names: Iterable[str]) -> str:
    """Return names as text, such as `alpha, beta and gamma`."""
    texts = [_words.shorten_name(name) for name in names]
    if len(texts) > MAX_NAMES:
        texts = [*texts[: MAX_NAMES - 1], f"{len(texts) - MAX_NAMES + 1} more"]
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
