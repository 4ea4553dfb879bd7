# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The make targets that workflows and pages name exist, and workflows use pinned actions with few permissions."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from .names import compare_names

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "file",
    [*WORKFLOWS, ROOT / ".pre-commit-config.yaml", ROOT / "CONTRIBUTING.md", ROOT / ".github/pull_request_template.md"],
    ids=lambda file: file.name,
)
def test_each_named_make_target_exists(file: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:run: |entry: |\$ |`)make ([a-z]+)", file.read_text(encoding="utf-8")))
    assert named
    assert named <= targets, f"{file.name} names targets that the Makefile does not have: {sorted(named - targets)}"


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_workflow_pins_its_actions_and_has_only_read_permission_by_default(file: Path) -> None:
    workflow = load(file)
    assert workflow["permissions"] == {"contents": "read"}, f"correct permissions in {file.name}"
    steps = [step for job in workflow["jobs"].values() for step in job.get("steps", [])]
    actions = [step["uses"] for step in steps if "uses" in step]
    assert actions
    unpinned = [action for action in actions if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)]
    assert not unpinned, f"pin these actions in {file.name} to the hash of a commit: {unpinned}"


def test_ci_runs_on_each_python_of_the_noxfile() -> None:
    (ci,) = (file for file in WORKFLOWS if file.name == "ci.yml")
    pythons = set(load(ci)["jobs"]["test"]["strategy"]["matrix"]["python"])
    cores = dict(re.findall(r'"(2\.\d+)[^"]*": "(3\.\d+)"', (ROOT / "noxfile.py").read_text(encoding="utf-8")))
    compare_names("python in .github/workflows/ci.yml, as in noxfile.py,", pythons, cores.values())
