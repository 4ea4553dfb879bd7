# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said of the role and the playbooks in several places is the same in each."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.tradeops.coinswitch.plugins.doc_fragments.connection import ModuleDocFragment

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "leverage"
KEYS = ("api_key", "secret_key")


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_each_option_is_specified_with_its_default_and_in_the_readme() -> None:
    options = load(ROLE / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    assert load(ROLE / "defaults" / "main.yml") == {name: option["default"] for name, option in options.items()}
    readme = (ROLE / "README.md").read_text(encoding="utf-8")
    named = [name for row in re.findall(r"^\| (`.*?) \|", readme, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(options)


def test_the_playbooks_hand_on_the_whole_connection() -> None:
    options = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    for name in ("enforce", "drift"):
        _check, play = load(ROOT / "playbooks" / f"{name}.yml")
        assert play["module_defaults"]["group/tradeops.coinswitch.coinswitch"] == {
            option: f"{{{{ coinswitch_{option}{'' if option in KEYS else ' | default(omit)'} }}}}" for option in options
        }
        guide = (ROOT / "docs" / "guides" / "desk.md").read_text(encoding="utf-8")
        assert {f"`coinswitch_{option}`" for option in options} <= set(re.findall(r"`\w+`", guide))


def test_drift_is_enforce_in_check_mode() -> None:
    check, enforce = load(ROOT / "playbooks" / "enforce.yml")
    same_check, drift = load(ROOT / "playbooks" / "drift.yml")
    assert check == same_check
    enforce["vars"]["leverage_fail_on_drift"] = True
    assert drift == {**enforce, "check_mode": True, "name": drift["name"]}
