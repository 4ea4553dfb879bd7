# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/api.md has a row for each endpoint, fact of the check and quirk of the sandbox, and each row names a test."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "extensions"))

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _futures
from ansible_collections.tradeops.coinswitch.plugins.module_utils._first_contact import FACTS
from ansible_collections.tradeops.coinswitch.plugins.module_utils._pacing import Endpoint
from sandbox.transcripts import readings

ROOT = Path(__file__).resolve().parents[3]
ENDPOINTS = [value for value in vars(_futures).values() if isinstance(value, Endpoint)]


def rows() -> list[list[str]]:
    """The cells of each row, without those of the headings."""
    lines = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [row for row in cells if row[-1] != "test" and not set(row[0]) <= set("-")]


def row_of(name: str) -> list[str]:
    """The one row whose first cell begins with this code span."""
    (found,) = [row for row in rows() if row[0].startswith(f"`{name}`")]
    return found


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_each_endpoint_has_its_row_and_its_limit(endpoint: Endpoint) -> None:
    assert row_of(f"{endpoint.method} {endpoint.path}")[1] == str(endpoint.limit)


@pytest.mark.parametrize("fact", FACTS)
def test_each_fact_of_the_check_has_its_row(fact: str) -> None:
    row_of(fact)


@pytest.mark.parametrize(("quirk", "values"), readings().items())
def test_each_quirk_has_its_row_with_its_readings(quirk: str, values: tuple[object, ...]) -> None:
    first = row_of(quirk)[0]
    for value in values:
        word = {False: "no", True: "yes", None: "none"}.get(value, f"`{value}`")  # type: ignore[call-overload] # any value
        assert word in first


def names_of_tests() -> set[str]:
    """The names of all tests."""
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in (ROOT / "tests").rglob("test_*.py")]
    return {node.name for tree in trees for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_each_row_names_a_test_that_exists() -> None:
    named = {row[-1].strip("`") for row in rows()}
    assert named
    assert sorted(named - names_of_tests()) == []


def test_nothing_is_called_confirmed_before_it_is() -> None:
    """The cell `confirmed` changes together with this test, in the commit that adds the transcript's facts."""
    assert {row[3] if row[0].startswith(("`GET ", "`POST ")) else row[2] for row in rows()} == {"no"}
