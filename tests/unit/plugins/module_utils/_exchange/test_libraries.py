# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The import of the third-party libraries, of which some can be missing."""

from __future__ import annotations

import importlib.util
import sys
from types import ModuleType

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import libraries as _libraries
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import LibraryMissing


def import_without(monkeypatch: pytest.MonkeyPatch, *missing: str) -> ModuleType:
    """Import a fresh copy of the file as if these libraries were missing. Return it."""
    for name in list(sys.modules):
        if name.partition(".")[0] in missing:
            monkeypatch.setitem(sys.modules, name, None)
    spec = importlib.util.find_spec(_libraries.__name__)
    assert spec
    assert spec.loader
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    return copy


# --- require_libraries ---


def test_require_libraries_raises_nothing_if_no_library_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    _libraries.require_libraries()
    import_without(monkeypatch).require_libraries()


@pytest.mark.parametrize(
    ("missing", "library"),
    [
        (("requests",), "requests"),
        (("cryptography",), "cryptography"),
        (("urllib3",), "requests"),
        (("requests", "cryptography"), "requests"),
    ],
)
def test_missing_library_is_reported_only_by_require_libraries(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], library: str
) -> None:
    copy = import_without(monkeypatch, *missing)
    assert all(hasattr(copy, name) for name in copy.__all__), "files that use them can still be imported"
    with pytest.raises(LibraryMissing) as raised:
        copy.require_libraries()
    assert raised.value.library == library
    assert "ModuleNotFoundError" in raised.value.import_traceback
