# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter returns text, and raises the error of a filter."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_path import FilterModule, leverage_path

# --- leverage_path ---


def test_path_is_absolute_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert leverage_path("a/../report.json") == os.path.realpath(tmp_path / "report.json")


def test_loop_of_links_is_an_error_of_the_filter(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(AnsibleFilterError, match="too many links"):
        leverage_path(str(tmp_path / "loop"))


# --- FilterModule ---


def test_filter_module_returns_the_filter() -> None:
    ((name, function),) = FilterModule().filters().items()
    assert (name, inspect.unwrap(function)) == ("leverage_path", leverage_path)
