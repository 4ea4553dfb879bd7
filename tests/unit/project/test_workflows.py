# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the forge and pre-commit run is there, and nothing that they fetch can change under them."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    "file",
    [*WORKFLOWS, ROOT / ".pre-commit-config.yaml", ROOT / "CONTRIBUTING.md", ROOT / ".github/pull_request_template.md"],
    ids=lambda file: file.name,
)
def test_the_targets_that_are_named_are_there(file: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:run: |entry: |\$ |`)make ([a-z]+)", file.read_text(encoding="utf-8")))
    assert named
    assert named <= targets


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_actions_are_pinned_and_rights_are_few(file: Path) -> None:
    workflow = load(file)
    assert workflow["permissions"] == {"contents": "read"}
    steps = [step for job in workflow["jobs"].values() for step in job.get("steps", [])]
    used = [step["uses"] for step in steps if "uses" in step]
    assert used
    assert not [action for action in used if not re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", action)]


def test_each_supported_python_has_a_row() -> None:
    (ci,) = (file for file in WORKFLOWS if file.name == "ci.yml")
    rows = set(load(ci)["jobs"]["test"]["strategy"]["matrix"]["python"])
    cores = dict(re.findall(r'"(2\.\d+)": "(3\.\d+)"', (ROOT / "noxfile.py").read_text(encoding="utf-8")))
    assert rows == set(cores.values())
