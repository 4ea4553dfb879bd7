# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The release tool needs a clean checkout with matching versions, and its artifact depends only on the commit."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
NEW_VERSION = "99.0.0"


class Clone:
    """A clone of HEAD, with the release tool of the checkout."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.git("clone", "--quiet", "--no-tags", f"file://{ROOT}", str(folder), folder=folder.parent)
        self.write("tests/tools/release.py", (ROOT / "tests/tools/release.py").read_text())

    def run(self, *command: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        git_identity = {
            f"GIT_{who}_{what}": "somebody" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        return subprocess.run(
            command,
            cwd=folder or self.folder,
            env={"PATH": path, "HOME": str(self.folder.parent), "LC_ALL": "C.UTF-8", **git_identity},
            capture_output=True,
            text=True,
            check=False,
        )

    def git(self, *arguments: str, folder: Path | None = None) -> str:
        completed = self.run("git", *arguments, folder=folder)
        assert completed.returncode == 0, completed.stderr
        return completed.stdout

    def release(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "tests/tools/release.py", *arguments)

    def write(self, name: str, text: str) -> None:
        (self.folder / name).write_text(text)

    def commit(self, version: str = NEW_VERSION) -> None:
        """Set the version in galaxy.yml, and commit all changes."""
        galaxy = yaml.safe_load((self.folder / "galaxy.yml").read_text())
        self.write("galaxy.yml", yaml.safe_dump({**galaxy, "version": version}))
        self.git("add", ".")
        self.git("commit", "--quiet", "--message", "Ready")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    return Clone(tmp_path / "clone")


def test_artifact_has_the_same_bytes_in_each_folder_and_at_each_time(clone: Clone, tmp_path: Path) -> None:
    other = Clone(tmp_path / "other name")
    other.write("untracked.txt", "not part of the commit")
    for file in other.folder.rglob("*.md"):
        os.utime(file, (1, 1))
    checksums = []
    for either in (clone, other):
        completed = either.release("build", "HEAD", str(either.folder / "out"))
        assert completed.returncode == 0, completed.stderr
        checksums.append(completed.stdout.split()[0])
    assert checksums[0] == checksums[1]
    (artifact,) = (clone.folder / "out").glob("*.tar.gz")
    with tarfile.open(artifact) as archive:
        assert len({member.mtime for member in archive}) == 1
    installed = clone.run("ansible-galaxy", "collection", "install", "--offline", "-p", "installed", str(artifact))
    assert installed.returncode == 0, installed.stdout + installed.stderr


def test_cut_writes_the_changelog_the_tag_and_the_artifact(clone: Clone) -> None:
    clone.write("changelogs/fragments/something.yml", "bugfixes:\n  - futures_leverage - something is right now.\n")
    clone.commit()
    completed = clone.release("cut", NEW_VERSION)
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert clone.git("tag", "--points-at", "HEAD").strip() == f"v{NEW_VERSION}"
    assert clone.git("status", "--porcelain") == ""
    changelog = (clone.folder / "CHANGELOG.md").read_text()
    assert NEW_VERSION in changelog.replace("\\", "")
    assert "something is right now" in changelog
    earlier_releases = changelog[changelog.index("v1\\.0\\.0", changelog.index("something is right now")) :]
    assert "New Playbooks" in earlier_releases
    lint = clone.run("yamllint", "--strict", "changelogs")
    assert lint.returncode == 0, lint.stdout
    (artifact,) = (clone.folder / ".cache/release").glob("*.tar.gz")
    assert artifact.name == f"tradeops-coinswitch-{NEW_VERSION}.tar.gz"
    again = clone.release("cut", NEW_VERSION)
    assert again.returncode == 1
    assert f"the tag v{NEW_VERSION} already exists" in again.stderr


def test_cut_of_the_first_release_uses_the_entry_of_the_changelog(clone: Clone) -> None:
    clone.commit("1.0.0")
    before = clone.git("rev-parse", "HEAD")
    completed = clone.release("cut", "1.0.0")
    assert completed.returncode == 0, completed.stdout + completed.stderr
    assert clone.git("rev-parse", "v1.0.0^{commit}") == before, "the tag is all that a release needs"


def test_cut_lists_all_problems_and_sets_no_tag(clone: Clone) -> None:
    for fragment in (clone.folder / "changelogs/fragments").glob("*.yml"):
        fragment.unlink()
    clone.write("plugins/modules/later.py", 'DOCUMENTATION = """\nversion_added: 100.1.0\n"""\n')
    clone.commit("98.0.0")
    clone.write("README.md", "changed\n")
    completed = clone.release("cut", NEW_VERSION)
    assert completed.returncode == 1
    for problem in ("not clean", "galaxy.yml says 98.0.0", "added in 100.1.0", "is empty"):
        assert problem in completed.stderr
    assert "not a version" in clone.release("cut", "1.0").stderr
    assert clone.git("tag") == ""
