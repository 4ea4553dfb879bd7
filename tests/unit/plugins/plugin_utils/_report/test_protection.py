# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible does not evaluate the result of a protected filter."""

from __future__ import annotations

from typing import Any

from ansible import template
from ansible.parsing.dataloader import DataLoader

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report.protection import protect

NAME = "host {{ 7919 * 7907 }}"


def evaluate(text: str, **variables: Any) -> Any:
    """Return the value of a template of a playbook."""
    trusted = getattr(template, "trust_as_template", str)(text)
    return template.Templar(DataLoader(), variables=variables).template(trusted)


def test_text_of_a_protected_result_is_not_evaluated() -> None:
    result = protect(lambda names: {name: [name] for name in names})([NAME])
    assert result == {NAME: [NAME]}
    assert evaluate("{{ result }}", result=result) == {NAME: [NAME]}
    assert evaluate("{{ result | first }}", result=result) == NAME
    assert evaluate("{{ 1 + 1 }}") in (2, "2"), "the templates of a playbook are evaluated"
