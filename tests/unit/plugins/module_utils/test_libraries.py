# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one place that imports what may be missing."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _libraries
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import LibraryMissing


def imported_without(monkeypatch: pytest.MonkeyPatch, *missing: str) -> ModuleType:
    """A fresh copy of the file, imported where libraries are missing."""
    for name in list(sys.modules):
        if name.partition(".")[0] in missing:
            monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.find_spec(_libraries.__name__)
    assert spec
    assert spec.loader
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


def test_with_all_there_nothing_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    _libraries.need()
    imported_without(monkeypatch).need()


@pytest.mark.parametrize(
    ("missing", "returned"),
    [
        (("requests",), "requests"),
        (("cryptography",), "cryptography"),
        (("urllib3",), "requests"),
        (("requests", "cryptography"), "requests"),
    ],
)
def test_what_is_missing_is_told_only_when_it_is_needed(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], returned: str
) -> None:
    copy = imported_without(monkeypatch, *missing)
    assert all(hasattr(copy, name) for name in copy.__all__), "files that use them can still be imported"
    with pytest.raises(LibraryMissing) as lacking:
        copy.need()
    assert lacking.value.library == returned
    assert "ModuleNotFoundError" in lacking.value.error
