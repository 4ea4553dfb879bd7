# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rules of the architecture (docs/design.md) that can be read off the code, held file by file."""

from __future__ import annotations

import ast
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PLUGINS = ROOT / "plugins"
SANDBOX = ROOT / "extensions" / "sandbox"
UTILS = "ansible_collections.tradeops.coinswitch.plugins.module_utils"

# A file imports only files above it.
LADDER = (
    "_errors",
    "_libraries",
    "_signing",
    "_pacing",
    "_transport",
    "_progress",
    "_client",
    "_futures",
    "_policy",
    "_queries",
    "_report",
    "_blockers",
    "_leverage",
    "_readers",
    "_transcript",
    "_first_contact",
    "_redaction",
    "_connection",
    "_module",
)
DOCUMENTATION = {"DOCUMENTATION", "EXAMPLES", "RETURN"}
MOST_LINES_OF_A_MODULE = 60


def each_file_of(*folders: Path) -> pytest.MarkDecorator:
    """Run a test on each Python file below `folders`."""
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    return pytest.mark.parametrize("file", files, ids=[str(file.relative_to(ROOT)) for file in files])


def tree_of(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def imported(tree: ast.AST) -> Iterator[str]:
    """The dotted names that are imported anywhere in `tree`, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # Dots only within the sandbox's own package.
            module = "sandbox" if node.level else str(node.module)
            yield from (f"{module}.{alias.name}" for alias in node.names)


def attributes(tree: ast.AST) -> set[str]:
    """The names that are looked up on objects: the `b` of `a.b`."""
    return {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def packages(tree: ast.AST) -> set[str]:
    """The packages imported that do not come with Python."""
    return {name.partition(".")[0] for name in imported(tree)} - sys.stdlib_module_names


def lines_of_code(file: Path) -> int:
    """The lines that hold code: no blank, no comment, no docstring, no documentation of a module."""
    with tokenize.open(file) as source:
        tokens = list(tokenize.generate_tokens(source.readline))
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = {line for token in tokens if token.type not in layout for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(tree_of(file)):
        if is_documentation(node):
            assert isinstance(node, ast.stmt)
            lines -= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(lines)


def is_documentation(node: ast.AST) -> bool:
    if isinstance(node, ast.Assign):
        return any(isinstance(target, ast.Name) and target.id in DOCUMENTATION for target in node.targets)
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


@each_file_of(PLUGINS)
def test_only_the_edge_ends_the_task(file: Path) -> None:
    tree = tree_of(file)
    if file.name == "_module.py":
        assert {"fail_json", "exit_json"} <= attributes(tree)
    else:
        assert not {"fail_json", "exit_json"} & attributes(tree)
        assert not any(name.startswith("ansible.") and "AnsibleModule" in name for name in imported(tree))


@each_file_of(PLUGINS / "modules")
def test_a_module_is_only_wiring(file: Path) -> None:
    tree = tree_of(file)
    assert lines_of_code(file) <= MOST_LINES_OF_A_MODULE
    assert "check_mode" not in attributes(tree), "check mode is decided in one place, and not here"
    assert not any(isinstance(node, ast.Try) for node in ast.walk(tree)), "errors are caught at the edge"


def test_every_module_has_an_action_plugin_that_only_names_it() -> None:
    modules = {file.name for file in (PLUGINS / "modules").glob("*.py")}
    assert {file.name for file in (PLUGINS / "action").glob("*.py")} == modules
    template = (PLUGINS / "action" / "api_key_info.py").read_text(encoding="utf-8")
    for name in modules:
        expected = template.replace("api_key_info", name.removesuffix(".py"))
        assert (PLUGINS / "action" / name).read_text(encoding="utf-8") == expected


@each_file_of(PLUGINS / "module_utils")
def test_a_utility_imports_only_what_is_above_it(file: Path) -> None:
    assert file.stem in LADDER, "a new file needs its place on the ladder"
    ours = {name.removeprefix(f"{UTILS}.").partition(".")[0] for name in imported(tree_of(file)) if UTILS in name}
    above = set(LADDER[: LADDER.index(file.stem)])
    assert ours <= above


@each_file_of(PLUGINS)
def test_third_party_libraries_come_in_at_one_place(file: Path) -> None:
    tree = tree_of(file)
    guarded = [node for node in ast.walk(tree) if isinstance(node, ast.Try) and list(imported(node))]
    if file.name == "_libraries.py":
        assert {"requests", "cryptography"} <= packages(tree)
        assert guarded
    else:
        # Filters run on the controller, to which ansible-core itself brings its template engine.
        with_ansible = {"jinja2"} if file.parent.name == "filter" else set()
        assert packages(tree) - with_ansible <= {"ansible", "ansible_collections"}
        assert not guarded, "a fallback for an import"


@each_file_of(PLUGINS, SANDBOX)
def test_nothing_is_left_of_python_2(file: Path) -> None:
    tree = tree_of(file)
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not names & {"__metaclass__", "unicode", "basestring"}
    assert not {"six", "absolute_import", "print_function"} & {
        part for name in imported(tree) for part in name.split(".")
    }


@each_file_of(SANDBOX)
def test_the_sandbox_shares_no_code_with_the_client(file: Path) -> None:
    assert packages(tree_of(file)) <= {"sandbox", "cryptography", "yaml"}


def test_no_function_is_too_complex() -> None:
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["ruff"]["lint"]
    assert "C90" in lint["select"]
    assert lint["mccabe"]["max-complexity"] <= 8
    silenced = [codes for codes in lint["per-file-ignores"].values() if "C90" in codes or "C901" in codes]
    assert not silenced


def test_the_tests_mirror_the_plugins() -> None:
    mirror = ROOT / "tests" / "unit" / "plugins"
    tests = sorted(mirror.rglob("test_*.py"))
    assert tests
    astray = [
        str(test.relative_to(ROOT))
        for test in tests
        if not any(
            test.name.startswith(f"test_{file.stem.removeprefix('_')}")
            for file in (PLUGINS / test.parent.relative_to(mirror)).glob("*.py")
        )
    ]
    assert not astray, "named after no file of plugins/"
