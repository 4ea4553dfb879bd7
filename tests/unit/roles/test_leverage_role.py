# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role and the playbooks agree with each other and with their documentation."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from ansible_collections.tradeops.coinswitch.plugins.doc_fragments.connection import ModuleDocFragment

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "leverage"
KEYS = ("api_key", "secret_key")


def load_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


# --- roles/leverage ---


def test_role_has_the_same_options_in_specs_defaults_and_readme() -> None:
    options = load_yaml(ROLE / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    assert load_yaml(ROLE / "defaults" / "main.yml") == {name: option["default"] for name, option in options.items()}
    readme = (ROLE / "README.md").read_text(encoding="utf-8")
    documented = [
        name for row in re.findall(r"^\| (`.*?) \|", readme, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(documented) == sorted(options)


# --- playbooks ---


def test_playbooks_pass_on_every_connection_option() -> None:
    options = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    for name in ("enforce", "drift"):
        _check, play = load_yaml(ROOT / "playbooks" / f"{name}.yml")
        defaults = {option: "''" if option in KEYS else "omit" for option in options}
        assert play["module_defaults"]["group/tradeops.coinswitch.coinswitch"] == {
            option: f"{{{{ coinswitch_{option} | default({default}) }}}}" for option, default in defaults.items()
        }
        guide = (ROOT / "docs" / "guides" / "desk.md").read_text(encoding="utf-8")
        assert {f"`coinswitch_{option}`" for option in options} <= set(re.findall(r"`\w+`", guide))


def test_drift_playbook_is_the_enforce_playbook_in_check_mode() -> None:
    check, enforce = load_yaml(ROOT / "playbooks" / "enforce.yml")
    same_check, drift = load_yaml(ROOT / "playbooks" / "drift.yml")
    assert check == same_check
    enforce["vars"]["leverage_fail_on_drift"] = True
    assert drift == {**enforce, "check_mode": True, "name": drift["name"]}
