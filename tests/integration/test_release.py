# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A release is made of a clean checkout whose versions agree, and its artifact is the same wherever it is built."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NEXT = "99.0.0"


class Clone:
    """A clone of the checkout's HEAD with the checkout's own way to make a release."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("clone", "--quiet", "--no-tags", f"file://{ROOT}", str(folder), folder=folder.parent)
        self.write("tests/tools/release.py", (ROOT / "tests/tools/release.py").read_text())

    def run(self, *command: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        person = {f"GIT_{who}_{what}": "somebody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
        return subprocess.run(
            command,
            cwd=folder or self.folder,
            env={"PATH": path, "HOME": str(self.folder.parent), "LC_ALL": "C.UTF-8", **person},
            capture_output=True,
            text=True,
            check=False,
        )

    def git(self, *arguments: str, folder: Path | None = None) -> str:
        done = self.run("git", *arguments, folder=folder)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "tests/tools/release.py", *arguments)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def commit(self, version: str = NEXT) -> None:
        """Commit what was written, with galaxy.yml saying `version`."""
        galaxy = yaml.safe_load((self.folder / "galaxy.yml").read_text())
        self.write("galaxy.yml", yaml.safe_dump({**galaxy, "version": version}))
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "Ready")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


def test_the_artifact_is_the_same_wherever_and_whenever_it_is_built(clone: Clone, tmp_path: Path) -> None:
    other = Clone(tmp_path / "another name for it")
    other.write("untracked.txt", "not of the revision")
    for file in other.folder.rglob("*.md"):
        os.utime(file, (1, 1))
    sums = []
    for place in (clone, other):
        done = place.release("build", "HEAD", str(place.folder / "out"))
        assert done.returncode == 0, done.stderr
        sums.append(done.stdout.split()[0])
    assert sums[0] == sums[1]
    (artifact,) = (clone.folder / "out").glob("*.tar.gz")
    with tarfile.open(artifact) as archive:
        assert len({member.mtime for member in archive}) == 1
    installed = clone.run("ansible-galaxy", "collection", "install", "--offline", "-p", "installed", str(artifact))
    assert installed.returncode == 0, installed.stdout + installed.stderr


def test_a_release_is_a_changelog_a_tag_and_an_artifact(clone: Clone) -> None:
    clone.write("changelogs/fragments/something.yml", "bugfixes:\n  - futures_leverage - something is right now.\n")
    clone.commit()
    done = clone.release("cut", NEXT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert clone.git("tag", "--points-at", "HEAD").strip() == f"v{NEXT}"
    assert clone.git("status", "--porcelain") == ""
    changes = (clone.folder / "CHANGELOG.md").read_text()
    assert NEXT in changes.replace("\\", "")
    assert "something is right now" in changes
    lint = clone.run("yamllint", "--strict", "changelogs")
    assert lint.returncode == 0, lint.stdout
    (artifact,) = (clone.folder / ".cache/release").glob("*.tar.gz")
    assert artifact.name == f"tradeops-coinswitch-{NEXT}.tar.gz"
    again = clone.release("cut", NEXT)
    assert again.returncode == 1
    assert f"the tag v{NEXT} is there already" in again.stderr


def test_what_stands_in_the_way_is_said(clone: Clone) -> None:
    for fragment in (clone.folder / "changelogs/fragments").glob("*.yml"):
        fragment.unlink()
    clone.write("plugins/modules/later.py", 'DOCUMENTATION = """\nversion_added: 100.1.0\n"""\n')
    clone.commit("98.0.0")
    clone.write("README.md", "changed\n")
    done = clone.release("cut", NEXT)
    assert done.returncode == 1
    for problem in ("not clean", "galaxy.yml says 98.0.0", "added in 100.1.0", "is empty"):
        assert problem in done.stderr
    assert "no version" in clone.release("cut", "1.0").stderr
    assert clone.git("tag") == ""
