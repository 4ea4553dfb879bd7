# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each option and each module is declared once: what is said of it elsewhere is held against the declaration here."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils import basic

ROOT = Path(__file__).resolve().parents[3]
COLLECTION = "ansible_collections.tradeops.coinswitch"
MODULES = sorted(file.stem for file in (ROOT / "plugins" / "modules").glob("*.py"))

# What an option's documentation and its argument spec both say, and what it is where it is left out.
FACTS: dict[str, Any] = {"type": "str", "elements": None, "default": None, "required": False, "choices": None}


class SpecSeen(Exception):
    """Carries what a module hands to Ansible, which is where the run of `main` ends."""


@pytest.fixture
def spec(module: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The argument spec of `module`, as Ansible gets it."""

    def end(_self: basic.AnsibleModule, argument_spec: dict[str, dict[str, Any]], **_rules: Any) -> None:
        raise SpecSeen(argument_spec)

    monkeypatch.setattr(basic.AnsibleModule, "__init__", end)
    with pytest.raises(SpecSeen) as seen:
        importlib.import_module(f"{COLLECTION}.plugins.modules.{module}").main()
    (argument_spec,) = seen.value.args
    return dict(argument_spec)


@pytest.fixture
def documentation(module: str) -> dict[str, Any]:
    """The documentation of `module` with its fragments' options."""
    source = importlib.import_module(f"{COLLECTION}.plugins.modules.{module}")
    returned: dict[str, Any] = yaml.safe_load(source.DOCUMENTATION)
    for name in returned["extends_documentation_fragment"]:
        returned["options"] = {**fragment(name).get("options", {}), **returned.get("options", {})}
    return returned


def fragment(name: str) -> dict[str, Any]:
    """The fragment `tradeops.coinswitch.FILE` or `tradeops.coinswitch.FILE.PART`."""
    file, *part = name.removeprefix("tradeops.coinswitch.").split(".")
    source = importlib.import_module(f"{COLLECTION}.plugins.doc_fragments.{file}")
    returned = yaml.safe_load(getattr(source.ModuleDocFragment, "".join(part).upper() or "DOCUMENTATION"))
    assert isinstance(returned, dict)
    return returned


def environment_of(option: dict[str, Any]) -> set[str]:
    """The variables that an option of an argument spec falls back to."""
    return {name for part in option.get("fallback", ()) if isinstance(part, list) for name in part}


@pytest.mark.parametrize("module", MODULES)
def test_documentation_and_spec_agree(spec: dict[str, dict[str, Any]], documentation: dict[str, Any]) -> None:
    returned = documentation["options"]
    assert sorted(returned) == sorted(spec)
    for name, option in spec.items():
        for fact, otherwise in FACTS.items():
            assert returned[name].get(fact, otherwise) == option.get(fact, otherwise), f"{fact} of {name}"


@pytest.mark.parametrize("module", MODULES)
def test_the_environment_is_documented(spec: dict[str, dict[str, Any]], documentation: dict[str, Any]) -> None:
    returned = {
        name: set(re.findall(r"E\((COINSWITCH_\w+)\)", " ".join(option["description"])))
        for name, option in documentation["options"].items()
    }
    assert returned == {name: environment_of(option) for name, option in spec.items()}
    assert any(returned.values())


@pytest.mark.parametrize("module", MODULES)
def test_secrets_are_not_logged(spec: dict[str, dict[str, Any]]) -> None:
    assert {name for name, option in spec.items() if option.get("no_log")} == {"api_key", "secret_key"}


def test_the_action_group_has_every_module() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    assert runtime["action_groups"]["coinswitch"] == MODULES


def test_the_readme_lists_every_module_and_filter() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^[|*-] *\[?`(?:tradeops\.coinswitch\.)?(\w+)`", readme, re.MULTILINE))
    filters = {file.stem for file in (ROOT / "plugins" / "filter").glob("*.py")}
    assert {*MODULES, *filters} <= listed
    others = {path.stem for folder in ("roles", "playbooks") for path in (ROOT / folder).glob("*")}
    named = set(re.findall(r"tradeops\.coinswitch\.(\w+)", readme))
    assert named <= {*MODULES, *others, "coinswitch"}, "the README names what is not there"


def test_the_links_of_the_readme_lead_into_the_repository() -> None:
    """They are whole, since Galaxy shows the README without what lies beside it."""
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    inside = [link.removeprefix(f"{galaxy['repository']}/blob/main/") for link in links]
    files = [link for link in inside if not link.startswith("https://")]
    assert files
    assert [name for name in files if not (ROOT / name).is_file()] == []


def test_the_libraries_have_the_same_bounds_wherever_they_are_named() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    bounds = {line for line in lines if line and not line.startswith("#")}
    assert {bound.replace(" ", "") for bound in fragment("connection")["requirements"]} == bounds
