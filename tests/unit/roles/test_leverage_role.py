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
from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.connection import CONNECTION
from ansible_collections.tradeops.coinswitch.plugins.modules import futures_leverage

from ..project.names import compare_names

ROOT = Path(__file__).resolve().parents[3]
ROLE = ROOT / "roles" / "leverage"
DEFAULTS = {"api_key": "default('', true)", "secret_key": "default('', true)"}
DEFAULTS["api_url"] = "default('https://coinswitch.co', true)"


def load_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def read_options() -> dict[str, Any]:
    """Return the options of the role, as its argument spec declares them."""
    options: dict[str, Any] = load_yaml(ROLE / "meta" / "argument_specs.yml")["argument_specs"]["main"]["options"]
    return options


# --- roles/leverage ---


def test_role_has_the_same_options_in_specs_defaults_and_readme() -> None:
    options = read_options()
    defaults = load_yaml(ROLE / "defaults" / "main.yml")
    compare_names("roles/leverage/defaults/main.yml", defaults, options)
    different = [name for name, option in options.items() if defaults[name] != option["default"]]
    assert not different, f"defaults/main.yml and meta/argument_specs.yml of the role differ in {different}"
    readme = (ROLE / "README.md").read_text(encoding="utf-8")
    documented = [
        name for row in re.findall(r"^\| (`.*?) \|", readme, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    ]
    compare_names("roles/leverage/README.md (tables)", documented, options)
    assert len(documented) == len(options), "the tables of roles/leverage/README.md name an option twice"


def test_role_passes_each_option_of_the_module_from_an_option_of_its_own() -> None:
    tasks = load_yaml(ROLE / "tasks" / "main.yml")
    block = next(task["block"] for task in tasks if "block" in task)
    arguments = next(task["tradeops.coinswitch.futures_leverage"] for task in block)
    # The role has one policy with all symbols.
    options = futures_leverage.DEFINITION.argument_spec.keys() - CONNECTION.keys() - {"symbol", "leverage"}
    compare_names("roles/leverage/tasks/main.yml (task futures_leverage)", arguments, options)
    variables = {name for value in arguments.values() for name in re.findall(r"\bleverage_\w+", value)}
    assert len(variables) == len(options)
    compare_names("roles/leverage/meta/argument_specs.yml", variables & read_options().keys(), variables)


# --- playbooks ---


def test_playbooks_pass_on_every_connection_option_and_take_keys_and_address_from_variables() -> None:
    options = yaml.safe_load(ModuleDocFragment.DOCUMENTATION)["options"]
    for name in ("enforce", "drift"):
        _check, play = load_yaml(ROOT / "playbooks" / f"{name}.yml")
        defaults = play["module_defaults"]["group/tradeops.coinswitch.coinswitch"]
        compare_names(f"module_defaults in playbooks/{name}.yml", defaults, options)
        assert defaults == {
            option: f"{{{{ coinswitch_{option} | {DEFAULTS.get(option, 'default(omit)')} }}}}" for option in options
        }
        assert play["vars"]["leverage_key_variables"] == ["coinswitch_api_key", "coinswitch_secret_key"]
    guide = (ROOT / "docs" / "guides" / "desk.md").read_text(encoding="utf-8")
    variables = {f"coinswitch_{option}" for option in options}
    compare_names("docs/guides/desk.md (table of variables)", variables & set(re.findall(r"`(\w+)`", guide)), variables)


def test_api_check_playbook_passes_on_every_connection_option() -> None:
    _check, play = load_yaml(ROOT / "playbooks" / "api_check.yml")
    defaults = play["module_defaults"]["group/tradeops.coinswitch.coinswitch"]
    # Its tasks set the share, because the check must leave half of each limit to other programs.
    compare_names("module_defaults in playbooks/api_check.yml", [*defaults, "rate_limit_share"], CONNECTION)


def test_drift_playbook_is_the_enforce_playbook_in_check_mode() -> None:
    check, enforce = load_yaml(ROOT / "playbooks" / "enforce.yml")
    same_check, drift = load_yaml(ROOT / "playbooks" / "drift.yml")
    assert check == same_check
    enforce["vars"]["leverage_fail_on_drift"] = True
    assert drift == {**enforce, "check_mode": True, "name": drift["name"]}


def test_every_play_runs_or_fails_whatever_tags_and_hosts_are_given() -> None:
    paths = sorted((ROOT / "playbooks").glob("*.yml"))
    assert len(paths) >= 4
    for path in paths:
        plays = load_yaml(path)
        assert [play.get("tags") for play in plays] == ["always"] * len(plays)
        assert "would skip the" in plays[0]["hosts"]
        assert "ansible_limit" in plays[0]["hosts"]
        assert "{{ query('tradeops.coinswitch.skipping_options') }}" in plays[0]["vars"].values()
    for path in (ROLE / "tasks").glob("*.yml"):
        assert "tags" not in path.read_text(encoding="utf-8"), "a tag in the role could be skipped"
