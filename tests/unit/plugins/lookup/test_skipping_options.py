# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup returns only the options that skip a play with the tag `always`."""

from __future__ import annotations

from typing import Any

import pytest
from ansible import context

from ansible_collections.tradeops.coinswitch.plugins.lookup.skipping_options import LookupModule


@pytest.mark.parametrize(
    ("tags", "start", "expected"),
    [
        ([], None, []),
        (["nightly", "all", "untagged"], None, []),
        (["always"], None, ["--skip-tags always"]),
        (["tagged", "other", "always"], None, ["--skip-tags tagged,always"]),
        ([], "Write *", ["--start-at-task Write *"]),
        (["always"], "x", ["--skip-tags always", "--start-at-task x"]),
    ],
)
def test_options_that_skip_tasks_are_returned(
    monkeypatch: pytest.MonkeyPatch, tags: list[str], start: str | None, expected: list[str]
) -> None:
    arguments: dict[str, Any] = {"start_at_task": start}
    monkeypatch.setattr(context, "CLIARGS", arguments)
    assert LookupModule().run([], {"ansible_skip_tags": tags}) == expected


@pytest.mark.parametrize(
    ("limit", "hosts", "expected"),
    [
        ("alpha", ["alpha"], []),
        ("alpha", [], ["--limit alpha"]),
        ("all", [], ["--limit all"]),
        ("localhost", [], []),
        (None, [], []),
    ],
)
def test_limit_skips_each_play_if_the_inventory_is_empty(
    monkeypatch: pytest.MonkeyPatch, limit: str | None, hosts: list[str], expected: list[str]
) -> None:
    monkeypatch.setattr(context, "CLIARGS", {})
    variables = {"groups": {"all": hosts}} | ({"ansible_limit": limit} if limit else {})
    assert LookupModule().run([], variables) == expected


def test_other_commands_have_no_such_options(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "CLIARGS", {})
    assert LookupModule().run([], None) == []
