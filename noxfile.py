# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks that want an environment of their own: `nox -l` lists them, `make test` runs them.

Those of antsibull-nox are chosen in antsibull-nox.toml. What is installed is pinned, with hashes, in requirements/: the
sessions below install the files, those of antsibull-nox are held to them by UV_CONSTRAINT.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
HOME = ROOT / ".cache/home"

# Read when antsibull-nox is imported: no collection is fetched, and none that the user has is looked at.
os.environ.update(
    ANTSIBULL_NOX_IGNORE_INSTALLED_COLLECTIONS="true",
    ANTSIBULL_NOX_INSTALL_COLLECTIONS="never",
    UV_CACHE_DIR=str(ROOT / ".cache/uv"),
    UV_CONSTRAINT="requirements/dev.txt",
    UV_PYTHON_DOWNLOADS="never",
)

import antsibull_nox
import antsibull_nox.sessions

# Each ansible-core that is maintained, with the Python that requirements/tests.in installs it on.
CORES = {"2.19": "3.11", "2.20": "3.12", "2.21": "3.13"}
OLDEST_AND_NEWEST = ("2.19", "2.21")
HERE = "{}.{}".format(*sys.version_info)

nox.options.default_venv_backend = "uv"
nox.options.envdir = ".cache/nox"
nox.options.reuse_venv = "yes"
# A Python that the machine lacks is said to be missing, and its row left out.
nox.options.error_on_missing_interpreters = False

antsibull_nox.load_antsibull_nox_toml()


def install(session: nox.Session, name: str) -> None:
    """Install exactly what `requirements/NAME.txt` pins."""
    pinned = f"requirements/{name}.txt"
    session.install("--no-deps", "--require-hashes", "--requirement", pinned, env={"UV_CONSTRAINT": ""})


@nox.session(python=False)
def changelog(session: nox.Session) -> None:
    """Check the fragments of the changelog."""
    session.run("antsibull-changelog", "lint")


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """Build the documentation site, docs/site, into .cache/docs; a warning is an error."""
    site = ROOT / ".cache/docs"
    tree = ROOT / ".cache/site/ansible_collections/tradeops/coinswitch"
    shutil.rmtree(site, ignore_errors=True)
    shutil.rmtree(ROOT / ".cache/site", ignore_errors=True)
    listing = session.run("git", "ls-files", "-z", "-co", "--exclude-standard", external=True, silent=True)
    for name in filter(os.path.isfile, str(listing).split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, tree / name)
    shutil.copy(tree / "docs/site/index.md", tree)
    (tree / "reference").mkdir()
    session.run(
        *("antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--no-breadcrumbs", "--fail-on-error"),
        *("--dest-dir", str(tree / "reference"), "tradeops.coinswitch"),
        env={"ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".cache/site")},
    )
    strict = ("--quiet", "--fresh-env", "--fail-on-warning", "--keep-going")
    session.run("sphinx-build", *strict, "--conf-dir", str(tree / "docs/site"), str(tree), str(site))


@nox.session
def importer(session: nox.Session) -> None:
    """Let Galaxy's own check read the artifact, and fail on its warnings too: it exits with 0 on those."""
    install(session, "importer")
    folder = Path(session.create_tmp())
    shutil.rmtree(folder)
    session.run("ansible-galaxy", "collection", "build", "--output-path", str(folder), silent=True)
    (artifact,) = folder.glob("*.tar.gz")
    with session.chdir(folder):
        log = session.run("python", "-m", "galaxy_importer.main", artifact.name, silent=True)
    complaints = re.findall("^.*(?:WARNING|ERROR).*$", str(log), re.MULTILINE)
    if complaints:
        session.error("\n".join(["galaxy-importer complains:", *complaints]))


def sanity(session: nox.Session) -> None:
    """Run ansible-test sanity, which compiles and imports on every target Python that the machine has."""
    install(session, "tests")
    tree = antsibull_nox.sessions.prepare_collections(session, install_in_site_packages=False)
    assert tree
    lay_pip(HOME / ".ansible/test/cache")
    with session.chdir(tree.current_path):
        # A repository of its own: the one around it ignores the copy.
        session.run("git", "init", "--quiet", external=True)
        command = ("ansible-test", "sanity", "--local", "--requirements", *session.posargs)
        output = session.run(*command, env={"HOME": str(HOME)}, silent=True)
    for warning in re.findall("^WARNING: (Skipping .*)$", str(output), re.MULTILINE):
        session.warn(warning)


def lay_pip(cache: Path) -> None:
    """Put into ansible-test's cache the script that brings pip into its environments, so that it downloads none."""
    cache.mkdir(parents=True, exist_ok=True)
    for version in ("24_2", "25_2"):
        script = "import ensurepip\nensurepip.bootstrap(upgrade=True, default_pip=True)\n"
        (cache / f"get_pip_{version}.py").write_text(script)


def unit(session: nox.Session) -> None:
    """Run the unit tests, but for the matrix of faults, which is the same on each Python."""
    install(session, "tests")
    session.run("pytest", "--numprocesses", "2", "--ignore", "tests/unit/faults", "tests/unit", *session.posargs)


for core in OLDEST_AND_NEWEST:
    # By name: `make test` runs them beside the others.
    nox.session(name=f"sanity-{core}", python=CORES[core], default=False)(sanity)
for core, python in CORES.items():
    # The checkout's own environment runs them all anyway.
    nox.session(name=f"unit-{core}", python=python, default=python != HERE)(unit)
