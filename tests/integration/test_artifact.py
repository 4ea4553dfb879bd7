# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The artifact that `make install` builds contains the files for users, and no other files."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# The files and folders for users. Decide about each new one.
FILES_FOR_USERS = {
    "CHANGELOG.md",
    "FILES.json",
    "LICENSE",
    "LICENSES",
    "MANIFEST.json",
    "README.md",
    "SECURITY.md",
    "changelogs",
    "docs",
    "examples",
    "extensions",
    "meta",
    "playbooks",
    "plugins",
    "requirements.txt",
    "roles",
    "tests",
}
# Automation Hub runs ansible-test on the artifact. This file says which Pythons the modules need.
TESTS_FOR_USERS = {"tests/config.yml"}
MAX_BYTES = 300_000


@pytest.fixture(scope="module")
def artifact() -> Path:
    (path,) = (ROOT / ".cache" / "artifact").glob("*.tar.gz")
    return path


@pytest.fixture(scope="module")
def files(artifact: Path) -> set[str]:
    with tarfile.open(artifact) as archive:
        return {member.name for member in archive if member.isfile()}


def test_artifact_has_only_files_for_users(files: set[str]) -> None:
    assert {name.partition("/")[0] for name in files} <= FILES_FOR_USERS
    assert {name for name in files if name.startswith("tests/")} == TESTS_FOR_USERS
    parts = {part for name in files for part in name.split("/")}
    assert not {part for part in parts if part.startswith(".") or part == "__pycache__"}


def test_artifact_has_all_plugins_and_the_sandbox(files: set[str]) -> None:
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", "plugins", "meta"]
    command.append("extensions/sandbox")
    sources = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    assert sources
    assert {*sources, "README.md", "requirements.txt"} <= files


def test_artifact_is_small(artifact: Path) -> None:
    assert artifact.stat().st_size < MAX_BYTES


def test_command_of_the_readme_starts_the_sandbox_of_an_installed_collection(artifact: Path, tmp_path: Path) -> None:
    """In an empty home directory, as somebody does who installs the collection from Galaxy."""
    (command,) = re.findall(
        r"^\$ (python3 ~/.*/sandbox)(?: --port \d+)?$", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {"HOME": str(tmp_path), "PATH": path, "LC_ALL": "C.UTF-8"}
    install = ["ansible-galaxy", "collection", "install", "--offline", str(artifact)]
    subprocess.run(install, env=environment, cwd=tmp_path, check=True, capture_output=True)
    with subprocess.Popen(
        ["bash", "-c", f"exec {command} --port 0"], env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True
    ) as sandbox:
        assert sandbox.stdout
        try:
            lines = [sandbox.stdout.readline() for _line in range(3)]
            exports = [line.strip().removeprefix("export ").partition("=") for line in lines]
            environment.update({name: value for name, _sign, value in exports})
            task = [
                "ansible",
                "localhost",
                "-m",
                "tradeops.coinswitch.futures_leverage",
                "-a",
                "symbol=BTCUSDT leverage=13",
            ]
            completed = subprocess.run(task, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
        finally:
            sandbox.terminate()
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert completed.stdout.startswith("localhost | CHANGED")
