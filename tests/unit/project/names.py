# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares lists of names that a file must have. A failure names the file to edit."""

from __future__ import annotations

from collections.abc import Iterable


def compare_names(place: str, found: Iterable[str], expected: Iterable[str]) -> None:
    """Fail if the names in a file are not the expected ones.

    Args:
        place: The path of the file, and the place in it.
        found: The names in the file.
        expected: The names that it must have.
    """
    found, expected = set(found), set(expected)
    differences = [
        f"{place} {verb} {', '.join(sorted(names))}"
        for verb, names in (("lacks", expected - found), ("must not have", found - expected))
        if names
    ]
    assert not differences, "; ".join(differences)
