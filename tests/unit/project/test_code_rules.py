# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks the rules of docs/design.md that can be checked in the source code, for each file."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from .names import compare_names

ROOT = Path(__file__).resolve().parents[3]
PLUGINS = ROOT / "plugins"
SANDBOX = ROOT / "extensions" / "sandbox"
UTILS = "ansible_collections.tradeops.coinswitch.plugins.module_utils"

# A file imports only files that come before it in this order. A folder has a topic: see docs/design.md.
IMPORT_ORDER = (
    "_exchange.errors",
    "_exchange.text",
    "_exchange.libraries",
    "_exchange.signing",
    "_exchange.budgets",
    "_exchange.endpoints",
    "_exchange.pacing",
    "_exchange.environment",
    "_exchange.sockets",
    "_exchange.transport",
    "_exchange.client",
    "_exchange.futures",
    "_tasks.progress",
    "_tasks.symbols",
    "_tasks.policy",
    "_tasks.queries",
    "_tasks.result",
    "_tasks.evidence",
    "_tasks.judgment",
    "_tasks.steps",
    "_tasks.blockers",
    "_tasks.wording",
    "_tasks.outcomes",
    "_tasks.schedule",
    "_tasks.calls",
    "_tasks.leverage",
    "_tasks.readers",
    "_tasks.interruptions",
    "_tasks.transcript",
    "_tasks.api_facts",
    "_tasks.api_check",
    "_ansible.redaction",
    "_ansible.connection",
    "_ansible.processes",
    "_ansible.module",
)
DOCUMENTATION = {"DOCUMENTATION", "EXAMPLES", "RETURN"}
MAX_MODULE_LINES = 60
MAX_FUNCTION_LINES = 40


def each_file_of(*folders: Path) -> pytest.MarkDecorator:
    """Run a test on each Python file below `folders`."""
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    return pytest.mark.parametrize("file", files, ids=[str(file.relative_to(ROOT)) for file in files])


def parse(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted names of all imports in `tree`, including those inside functions."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # Only the package of the sandbox uses relative imports.
            module = "sandbox" if node.level else str(node.module)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def attribute_names(tree: ast.AST) -> set[str]:
    """Return the `b` of each `a.b` in `tree`."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def third_party_packages(tree: ast.AST) -> set[str]:
    """Return the imported packages that are not part of the standard library."""
    return {name.partition(".")[0] for name in imported_names(tree)} - sys.stdlib_module_names


def count_code_lines(file: Path) -> int:
    """Count the lines that are not blank, and neither a comment, a docstring nor the documentation of a module."""
    with tokenize.open(file) as source:
        tokens = list(tokenize.generate_tokens(source.readline))
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = {line for token in tokens if token.type not in layout for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(parse(file)):
        if is_documentation(node):
            assert isinstance(node, ast.stmt)
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def is_documentation(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id in DOCUMENTATION for target in node.targets)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@each_file_of(PLUGINS)
def test_only_module_py_ends_a_task(file: Path) -> None:
    tree = parse(file)
    if file == PLUGINS / "module_utils" / "_ansible" / "module.py":
        assert {"fail_json", "exit_json"} <= attribute_names(tree)
    else:
        assert not {"fail_json", "exit_json"} & attribute_names(tree), "raise an error: module.py fails the task"
        assert not any(name.startswith("ansible.") and "AnsibleModule" in name for name in imported_names(tree))


@each_file_of(PLUGINS / "modules")
def test_module_has_few_lines_no_check_mode_and_no_try(file: Path) -> None:
    tree = parse(file)
    assert count_code_lines(file) <= MAX_MODULE_LINES, f"move code from {file.name} to plugins/module_utils/_tasks"
    assert "check_mode" not in attribute_names(tree), "only module.py handles check mode"
    assert not any(isinstance(node, ast.Try) for node in ast.walk(tree)), "only module.py catches errors"


def test_each_module_has_an_action_plugin_that_only_names_it() -> None:
    modules = {file.name for file in (PLUGINS / "modules").glob("*.py")}
    names = {file.name for file in (PLUGINS / "action").glob("*.py")}
    compare_names("plugins/action (copy another file there)", names, modules)
    template = (PLUGINS / "action" / "api_key_info.py").read_text(encoding="utf-8")
    for name in modules:
        expected = template.replace("api_key_info", name.removesuffix(".py"))
        assert (PLUGINS / "action" / name).read_text(encoding="utf-8") == expected, (
            f"plugins/action/{name} must be the same as api_key_info.py beside it, except for the name of the module"
        )


@each_file_of(PLUGINS / "module_utils")
def test_utility_imports_only_files_before_it_in_the_import_order(file: Path) -> None:
    name = f"{file.parent.name}.{file.stem}"
    assert name in IMPORT_ORDER, f"add {name} to IMPORT_ORDER in this test, and to the list of files in docs/design.md"
    imported = [name.removeprefix(f"{UTILS}.") for name in imported_names(parse(file)) if UTILS in name]
    imported_files = {".".join(name.split(".")[:2]) for name in imported}
    later = sorted(imported_files - set(IMPORT_ORDER[: IMPORT_ORDER.index(name)]))
    assert not later, f"{name} must not import files that are not before it in docs/design.md: {later}"


@each_file_of(PLUGINS / "module_utils" / "_exchange", PLUGINS / "module_utils" / "_tasks")
def test_only_the_folder_ansible_imports_ansible(file: Path) -> None:
    assert "ansible" not in third_party_packages(parse(file)), "move what uses Ansible to plugins/module_utils/_ansible"


def test_exchange_can_be_imported_without_ansible() -> None:
    names = [f"{UTILS}.{name}" for name in IMPORT_ORDER if not name.startswith("_ansible.")]
    code = "import sys\nsys.modules['ansible'] = None\nimport conftest\n" + "".join(
        f"import {name}\n" for name in names
    )
    command = [sys.executable, "-c", code]
    completed = subprocess.run(command, cwd=ROOT / "tests" / "unit", check=False, capture_output=True, text=True)
    assert completed.returncode == 0, completed.stderr


def test_design_lists_the_utilities_in_the_import_order() -> None:
    design = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    utilities = design.split("plugins/module_utils/", 1)[1].split("plugins/action/", 1)[0]
    listed = re.findall(r"^  (?:(_\w+)/|  (\w+)\.py) ", utilities, re.MULTILINE)
    names, folder = [], ""
    for next_folder, file in listed:
        folder = next_folder or folder
        names += [f"{folder}.{file}"] if file else []
    compare_names("the list of files in docs/design.md", names, IMPORT_ORDER)
    assert tuple(names) == IMPORT_ORDER, "docs/design.md and IMPORT_ORDER in this test have different orders"


@each_file_of(PLUGINS)
def test_only_libraries_py_imports_third_party_packages(file: Path) -> None:
    tree = parse(file)
    imports_in_try = [node for node in ast.walk(tree) if isinstance(node, ast.Try) and list(imported_names(node))]
    if file.name == "libraries.py":
        assert {"requests", "cryptography"} <= third_party_packages(tree)
        assert imports_in_try
    else:
        # Filters run on the controller, where ansible-core installs Jinja2.
        allowed = {"ansible", "ansible_collections", *(["jinja2"] if file.parent.name == "filter" else [])}
        assert third_party_packages(tree) <= allowed, "only _exchange/libraries.py imports other packages"
        assert not imports_in_try, "an import with a fallback"


@each_file_of(PLUGINS, SANDBOX)
def test_no_code_for_python_2(file: Path) -> None:
    tree = parse(file)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"__metaclass__", "unicode", "basestring"}
    assert not {"six", "absolute_import", "print_function"} & {
        part for name in imported_names(tree) for part in name.split(".")
    }


@each_file_of(SANDBOX)
def test_sandbox_does_not_import_code_of_the_client(file: Path) -> None:
    assert third_party_packages(parse(file)) <= {"sandbox", "cryptography", "yaml"}, "the sandbox has its own code"


def test_ruff_limits_the_complexity_of_functions() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert "C90" in lint["select"]
    assert lint["mccabe"]["max-complexity"] <= 8
    exceptions = [codes for codes in lint["per-file-ignores"].values() if "C90" in codes or "C901" in codes]
    assert not exceptions


@each_file_of(PLUGINS, SANDBOX)
def test_no_function_is_longer_than_40_lines_without_its_docstring(file: Path) -> None:
    functions = [node for node in ast.walk(parse(file)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    long_functions = {node.name: count_lines(node) for node in functions if count_lines(node) > MAX_FUNCTION_LINES}
    assert not long_functions, f"split these functions, shown with their lines: {long_functions}"


def count_lines(node: ast.stmt) -> int:
    """Return the lines of a statement without its docstring."""
    body = node.body[:1] if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) else []
    docstring = [first for first in body if is_documentation(first)]
    return (node.end_lineno or 0) - node.lineno + 1 - sum(map(count_lines, docstring))


@pytest.mark.parametrize("folder", sorted(path.name for path in (ROOT / "tests/unit/plugins").iterdir()))
def test_each_unit_test_module_has_the_name_of_a_file_of_plugins(folder: str) -> None:
    tests = ROOT / "tests/unit/plugins" / folder
    tested = {str(file.relative_to(tests)).replace("test_", "") for file in tests.rglob("test_*.py")}
    sources = {str(file.relative_to(PLUGINS / folder)) for file in (PLUGINS / folder).rglob("*.py")}
    assert tested
    others = sorted(tested - sources)
    assert not others, f"tests/unit/plugins/{folder} tests files that plugins/{folder} does not have: {others}"
