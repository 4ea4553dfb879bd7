# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/api.md has a row for each endpoint, each fact of the check of the API and each quirk of the sandbox.

Each row names a test.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "extensions"))

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import endpoints as _endpoints
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import Endpoint
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.api_facts import PROBES
from sandbox.transcripts import readings

ROOT = Path(__file__).resolve().parents[3]
ENDPOINTS = [value for value in vars(_endpoints).values() if isinstance(value, Endpoint)]


def read_rows() -> list[list[str]]:
    """Return the cells of each row of the tables, without the headings."""
    lines = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in rows if row[-1] != "test" and not set(row[0]) <= set("-")]


def find_row(name: str) -> list[str]:
    """Return the row whose first cell begins with this code span. Fail if there is not exactly one."""
    rows = [row for row in read_rows() if row[0].startswith(f"`{name}`")]
    assert len(rows) == 1, f"docs/api.md must have one row that begins with `{name}`, but it has {len(rows)}"
    return rows[0]


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_each_endpoint_has_a_row_with_its_limit(endpoint: Endpoint) -> None:
    name = f"{endpoint.method} {endpoint.path}"
    assert find_row(name)[1] == str(endpoint.limit), f"docs/api.md has another limit of {name} than endpoints.py"


def test_each_request_of_a_fact_is_sent() -> None:
    """A request that nothing sends would show nothing, without an error."""
    tree = ast.parse((ROOT / "plugins/module_utils/_tasks/api_check.py").read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    names = {name for probe in PROBES.values() for name in probe.requests.split("|")}
    # All responses, and all changes.
    unknown = names - texts - {"*", "change"}
    assert not unknown, f"_tasks/api_check.py sends no request with the name {unknown} of PROBES in _tasks/api_facts.py"


@pytest.mark.parametrize("fact", PROBES)
def test_each_fact_of_the_check_has_a_row(fact: str) -> None:
    find_row(fact)


@pytest.mark.parametrize(("quirk", "values"), readings().items())
def test_each_quirk_has_a_row_with_all_its_values(quirk: str, values: tuple[object, ...]) -> None:
    first_cell = find_row(quirk)[0]
    for value in values:
        word = {False: "no", True: "yes", None: "none"}.get(value, f"`{value}`")  # type: ignore[call-overload] # any type of key
        assert word in first_cell, f"the row of {quirk} in docs/api.md lacks {word} in its first cell"


def find_test_names() -> set[str]:
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in (ROOT / "tests").rglob("test_*.py")]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_row_names_an_existing_test() -> None:
    named_tests = {row[-1].strip("`") for row in read_rows()}
    assert named_tests
    missing = sorted(named_tests - find_test_names())
    assert not missing, f"docs/api.md names tests that do not exist: {missing}"


def test_no_row_is_confirmed() -> None:
    """Change this test in the commit that adds the facts of a transcript of the real exchange."""
    confirmed = {row[3] if row[0].startswith(("`GET ", "`POST ")) else row[2] for row in read_rows()}
    assert confirmed == {"no"}, "the column confirmed of docs/api.md has another value than no"
