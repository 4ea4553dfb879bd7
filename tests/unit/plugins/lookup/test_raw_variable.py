# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup returns variables as they are stored."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleError

from ansible_collections.tradeops.coinswitch.plugins.lookup.raw_variable import LookupModule


def test_lookup_returns_each_variable_unevaluated() -> None:
    variables = {"one": ["{{ 1 + 1 }}"], "two": 2, "three": 3}
    assert LookupModule().run(["two", "one"], variables) == [2, ["{{ 1 + 1 }}"]]


def test_unknown_variable_is_an_error() -> None:
    with pytest.raises(AnsibleError, match="The variable two is not defined"):
        LookupModule().run(["one", "two"], {"one": 1})
