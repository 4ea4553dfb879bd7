# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Prepare a release (`release.py cut VERSION`), or build the artifact of a revision (`release.py build REVISION`).

The bytes of an artifact depend only on the revision and on the version of zlib. They do not depend on the folder, the
time or the order in which the file system lists files.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import io
import json
import re
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FRAGMENTS = "changelogs/fragments"
# The first files in the archive, as in the artifacts that Ansible builds.
FIRST_FILES = ("FILES.json", "MANIFEST.json")


def run(*command: str, folder: Path = ROOT) -> str:
    """Run a command and return its output. If it fails, exit with its output."""
    completed = subprocess.run(command, cwd=folder, check=False, stdout=subprocess.PIPE, text=True)
    if completed.returncode:
        raise SystemExit(f"{' '.join(command)} failed\n{completed.stdout}")
    return completed.stdout.strip()


def find_problems(version: str) -> list[str]:
    """Return the reasons why the checkout cannot be released as `version`."""
    if not re.fullmatch(r"(0|[1-9]\d*)(\.(0|[1-9]\d*)){2}", version):
        return [f"{version!r} is not a version such as 1.2.3"]
    declared = yaml.safe_load((ROOT / "galaxy.yml").read_text(encoding="utf-8"))["version"]
    fragments = list((ROOT / FRAGMENTS).glob("*.y*ml"))
    later = [name for name in find_versions_added() if split_version(name) > split_version(version)]
    checks = {
        "the work tree is not clean: commit or remove what `git status` shows": run("git", "status", "--porcelain"),
        f"galaxy.yml says {declared}, not {version}": declared != version,
        f"the documentation says that something was added in {', '.join(later)}, after {version}": later,
        f"{FRAGMENTS} is empty: add a fragment for each change": not fragments and not has_entry(version),
        f"the changelog has an entry {version}, but {FRAGMENTS} is not empty: use a later version": fragments
        and has_entry(version),
        f"the tag v{version} already exists": run("git", "tag", "--list", f"v{version}"),
    }
    return [problem for problem, is_found in checks.items() if is_found]


def has_entry(version: str) -> bool:
    """Return whether the changelog describes this version, like that of the first release."""
    changelog = yaml.safe_load((ROOT / "changelogs/changelog.yaml").read_text(encoding="utf-8"))
    return version in changelog["releases"]


def find_versions_added() -> list[str]:
    """Return each value of `version_added` in plugins and roles."""
    files = [*(ROOT / "plugins").rglob("*.py"), *(ROOT / "roles").rglob("*.yml")]
    pattern = re.compile(r"^ *version_added: *['\"]?([0-9.]+)", re.MULTILINE)
    return sorted({version for file in files for version in pattern.findall(file.read_text(encoding="utf-8"))})


def split_version(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]


def cut(version: str) -> None:
    """Write and commit the changelog if it has no entry yet, set the tag, and build the artifact. Push nothing."""
    problems = find_problems(version)
    if problems:
        lines = [f"{version} cannot be released:", *(f"- {problem}" for problem in problems)]
        raise SystemExit("\n".join(lines))
    run("antsibull-changelog", "lint")
    if not has_entry(version):
        run("antsibull-changelog", "release")
        run("git", "add", "CHANGELOG.md", "changelogs")
        run("git", "commit", "--quiet", "--message", f"Release {version}")
    run("git", "tag", "--annotate", f"v{version}", "--message", f"Release {version}")
    build(f"v{version}", ROOT / ".cache" / "release")
    print(f"To publish it: git push --follow-tags origin HEAD v{version}")


def build(revision: str, folder: Path) -> None:
    """Build the artifact of `revision` in `folder`, and print its checksum in the format of sha256sum."""
    with tempfile.TemporaryDirectory() as scratch:
        tree, built = Path(scratch, "tree"), Path(scratch, "built")
        run("git", "archive", "--format=tar", f"--output={scratch}/tree.tar", revision)
        tree.mkdir()
        run("tar", "-x", "-f", f"{scratch}/tree.tar", "-C", str(tree))
        run("ansible-galaxy", "collection", "build", "--output-path", str(built), folder=tree)
        (artifact,) = built.glob("*.tar.gz")
        packed = normalize(artifact, int(run("git", "show", "--no-patch", "--format=%ct", f"{revision}^{{commit}}")))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / artifact.name).write_bytes(packed)
    print(f"{hashlib.sha256(packed).hexdigest()}  {folder / artifact.name}")


def normalize(artifact: Path, time: int) -> bytes:
    """Return the artifact with its files sorted by name, in the archive and in FILES.json, and with one time for all.

    Args:
        artifact: The artifact that Ansible built.
        time: The time of the files, in Unix seconds.
    """
    with tarfile.open(artifact) as archive:
        files = {member.name: (member, archive.extractfile(member)) for member in archive}
        contents = {name: stream.read() if stream else b"" for name, (_member, stream) in files.items()}
    listing, manifest = json.loads(contents["FILES.json"]), json.loads(contents["MANIFEST.json"])
    listing["files"].sort(key=lambda entry: entry["name"])
    contents["FILES.json"] = to_json(listing)
    manifest["file_manifest_file"]["chksum_sha256"] = hashlib.sha256(contents["FILES.json"]).hexdigest()
    contents["MANIFEST.json"] = to_json(manifest)
    packed = io.BytesIO()
    with gzip.GzipFile("", "wb", mtime=0, fileobj=packed) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for name in sorted(contents, key=lambda name: (name not in FIRST_FILES, name)):
            member, _stream = files[name]
            member.mtime, member.size = time, len(contents[name])
            archive.addfile(member, io.BytesIO(contents[name]))
    return packed.getvalue()


def to_json(value: Any) -> bytes:
    return json.dumps(value, indent=1).encode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    actions = parser.add_subparsers(required=True)
    cutting = actions.add_parser("cut", help="write the changelog, set the tag and build the artifact")
    cutting.add_argument("version")
    cutting.set_defaults(act=lambda options: cut(options.version))
    building = actions.add_parser("build", help="build the artifact of a revision")
    building.add_argument("revision")
    building.add_argument("folder", nargs="?", type=Path, default=ROOT / ".cache" / "release")
    building.set_defaults(act=lambda options: build(options.revision, options.folder))
    options = parser.parse_args()
    options.act(options)


if __name__ == "__main__":
    main()
