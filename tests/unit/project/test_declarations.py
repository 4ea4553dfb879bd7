# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation, the README and meta/runtime.yml agree with the modules and their argument specs."""

from __future__ import annotations

import importlib
import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils import basic

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible import connection
from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.connection import CONNECTION

from .names import compare_names

ROOT = Path(__file__).resolve().parents[3]
COLLECTION = "ansible_collections.tradeops.coinswitch"
MODULES = sorted(file.stem for file in (ROOT / "plugins" / "modules").glob("*.py"))

# The tests that run each module. The check of the API has tests of its own.
TESTS_OF_EACH_MODULE = [
    *(f"tests/unit/whole_tasks/test_{name}.py" for name in ("fault_matrix", "no_connection", "properties")),
    "tests/integration/test_secrets.py",
]

# The fields that an option has both in the documentation and in the argument spec, with their default values.
FIELDS: dict[str, Any] = {"type": "str", "elements": None, "default": None, "required": False, "choices": None}


class SpecPassed(Exception):
    """Ends `main` when it passes its argument spec to AnsibleModule."""


@pytest.fixture
def spec(module: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """The argument spec that `module` passes to AnsibleModule."""

    def raise_spec(_self: basic.AnsibleModule, argument_spec: dict[str, dict[str, Any]], **_rules: Any) -> None:
        raise SpecPassed(argument_spec)

    monkeypatch.setattr(basic.AnsibleModule, "__init__", raise_spec)
    with pytest.raises(SpecPassed) as caught:
        importlib.import_module(f"{COLLECTION}.plugins.modules.{module}").main()
    (argument_spec,) = caught.value.args
    return dict(argument_spec)


@pytest.fixture
def documentation(module: str) -> dict[str, Any]:
    """The documentation of `module`, with the options of its documentation fragments."""
    source = importlib.import_module(f"{COLLECTION}.plugins.modules.{module}")
    documentation: dict[str, Any] = yaml.safe_load(source.DOCUMENTATION)
    for name in documentation["extends_documentation_fragment"]:
        documentation["options"] = {**load_fragment(name).get("options", {}), **documentation.get("options", {})}
    return documentation


def load_fragment(name: str) -> dict[str, Any]:
    """Load the fragment `tradeops.coinswitch.FILE` or `tradeops.coinswitch.FILE.PART`."""
    file, *part = name.removeprefix("tradeops.coinswitch.").split(".")
    source = importlib.import_module(f"{COLLECTION}.plugins.doc_fragments.{file}")
    fragment = yaml.safe_load(getattr(source.ModuleDocFragment, "".join(part).upper() or "DOCUMENTATION"))
    assert isinstance(fragment, dict)
    return fragment


def fallback_variables(option: dict[str, Any]) -> set[str]:
    """Return the environment variables that set an option of an argument spec."""
    return {name for part in option.get("fallback", ()) if isinstance(part, list) for name in part}


@pytest.mark.parametrize("module", MODULES)
def test_documentation_has_the_options_of_the_spec(
    module: str, spec: dict[str, dict[str, Any]], documentation: dict[str, Any]
) -> None:
    documented = documentation["options"]
    own = f"DOCUMENTATION in plugins/modules/{module}.py"
    compare_names(own, documented.keys() - CONNECTION.keys(), spec.keys() - CONNECTION.keys())
    compare_names("plugins/doc_fragments/connection.py", documented.keys() & CONNECTION.keys(), CONNECTION)
    for name, option in spec.items():
        for field, default in FIELDS.items():
            assert documented[name].get(field, default) == option.get(field, default), (
                f"{field} of {name} differs between {own} (or plugins/doc_fragments/connection.py) and the spec"
            )


@pytest.mark.parametrize("module", MODULES)
def test_each_option_is_used(module: str, spec: dict[str, dict[str, Any]]) -> None:
    """An option that nothing reads would be accepted without an effect."""
    definition = importlib.import_module(f"{COLLECTION}.plugins.modules.{module}").DEFINITION
    reader = inspect.getmodule(definition.read_options)
    assert reader
    for names, source in ((spec.keys() - CONNECTION.keys(), reader), (CONNECTION, connection.read_connection)):
        used = set(re.findall(r'"(\w+)"', inspect.getsource(source)))
        file = Path(inspect.getfile(source)).name
        compare_names(f"{file}, which reads the options,", used & set(names), names)


@pytest.mark.parametrize("module", MODULES)
def test_documentation_names_the_environment_variables_of_the_spec(
    spec: dict[str, dict[str, Any]], documentation: dict[str, Any]
) -> None:
    documented = {
        name: set(re.findall(r"E\((COINSWITCH_\w+)\)", " ".join(option["description"])))
        for name, option in documentation["options"].items()
    }
    place = "plugins/doc_fragments/connection.py, as E(NAME),"
    for name, option in spec.items():
        compare_names(f"The description of {name} in {place}", documented.get(name, ()), fallback_variables(option))
    assert any(documented.values())


@pytest.mark.parametrize("module", MODULES)
def test_only_the_keys_have_no_log(spec: dict[str, dict[str, Any]]) -> None:
    secret = {name for name, option in spec.items() if option.get("no_log")}
    compare_names("the options with no_log (CONNECTION in _ansible/connection.py)", secret, {"api_key", "secret_key"})


def test_action_group_lists_each_module() -> None:
    runtime = yaml.safe_load((ROOT / "meta" / "runtime.yml").read_text(encoding="utf-8"))
    compare_names("action_groups in meta/runtime.yml", runtime["action_groups"]["coinswitch"], MODULES)
    assert runtime["action_groups"]["coinswitch"] == sorted(MODULES), "sort action_groups in meta/runtime.yml"


def test_readme_lists_each_module_and_filter() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    listed = set(re.findall(r"^[|*-] *\[?`(?:tradeops\.coinswitch\.)?(\w+)`", readme, re.MULTILINE))
    filters = {file.stem for file in (ROOT / "plugins" / "filter").glob("*.py")}
    compare_names("README.md (tables)", listed & {*MODULES, *filters}, {*MODULES, *filters})
    roles_and_playbooks = {path.stem for folder in ("roles", "playbooks") for path in (ROOT / folder).glob("*")}
    named = set(re.findall(r"tradeops\.coinswitch\.(\w+)", readme))
    assert named <= {*MODULES, *roles_and_playbooks, "coinswitch"}, "the README names something that does not exist"


def test_links_of_the_readme_lead_to_existing_files() -> None:
    """The links are absolute, because Galaxy shows the README without the other files."""
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    paths = [link.removeprefix(f"{galaxy['repository']}/blob/main/") for link in links]
    files = [path for path in paths if not path.startswith("https://")]
    assert files
    missing = [name for name in files if not (ROOT / name).is_file()]
    assert not missing, f"README.md links files that do not exist: {missing}"


def test_documentation_has_the_versions_of_requirements_txt() -> None:
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    requirements = {line for line in lines if line and not line.startswith("#")}
    documented = load_fragment("connection")["requirements"]
    place = "requirements in plugins/doc_fragments/connection.py"
    compare_names(place, {requirement.replace(" ", "") for requirement in documented}, requirements)


@pytest.mark.parametrize("test", TESTS_OF_EACH_MODULE)
def test_each_module_is_tested_for_what_concerns_all_modules(test: str) -> None:
    names = re.findall(r"\w+", (ROOT / test).read_text(encoding="utf-8"))
    compare_names(test, {"api_check", *names} & {*MODULES}, MODULES)
