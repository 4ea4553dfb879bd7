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
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
HOME = ROOT / ".cache/home"
GALAXY = ROOT / "galaxy.yml"

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
import yaml

# Each ansible-core that is supported, with the Python that its rows run on; the last one is about to be released.
CORES = {"2.19": "3.11", "2.20": "3.12", "2.21": "3.13", "2.22": "3.13"}
OLDEST, NEWEST, NEXT = "2.19", "2.21", "2.22"
HERE = ".".join(version("ansible-core").split(".")[:2]) if find_spec("ansible") else ""
# Whether the tools of changelog and documentation are here already, as in the checkout's own environment.
TOOLS = find_spec("sphinx") is not None
# The oldest Python on which the modules run, under the oldest core and under all others.
OLDEST_TARGETS = ("3.8", "3.9")
# The rows of `make test`; the others are run by name.
IN_TEST = {"sanity": {OLDEST, NEWEST}, "integration": {OLDEST, NEWEST}, "unit": set(CORES)}

# The unit tests that import Ansible. The release candidate has these: all others had the same Python in another row.
WITH_ANSIBLE = [
    *("tests/unit/project/test_declarations.py", "tests/unit/plugins/filter"),
    *("tests/unit/plugins/module_utils/test_module.py", "tests/unit/roles"),
]

# The unit tests of what depends on the libraries.
WITH_LIBRARIES = [
    f"tests/unit/plugins/module_utils/test_{name}.py"
    for name in ("client", "leverage", "module", "signing", "transport")
]

# pylint takes longer over the tests than all else together, and ruff has looked at them; in the forge's containers it
# sees them too. That of the release candidate is not released.
PYLINT_APART = [["--skip-test", "pylint"], ["--test", "pylint", "--exclude", "tests/"]]
SANITY = {**dict.fromkeys(CORES, PYLINT_APART), NEXT: PYLINT_APART[:1]}

# What Python bundles is unpacked as it is: installing it takes seconds, in each of some twenty environments.
BRING_PIP = """\
import ensurepip, pathlib, sysconfig, zipfile
bundled = list(pathlib.Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
if bundled:
    zipfile.ZipFile(bundled[0]).extractall(sysconfig.get_path("purelib"))
else:
    ensurepip.bootstrap(upgrade=True, default_pip=True)
"""

nox.options.default_venv_backend = "uv|virtualenv"
nox.options.envdir = ".cache/nox"
nox.options.reuse_venv = "yes"
# A Python that the machine lacks is said to be missing, and its row left out.
nox.options.error_on_missing_interpreters = False

antsibull_nox.load_antsibull_nox_toml()


def install(session: nox.Session, name: str) -> None:
    """Install exactly what `requirements/NAME.txt` pins."""
    pinned = f"requirements/{name}.txt"
    session.install("--no-deps", "--require-hashes", "--requirement", pinned, env={"UV_CONSTRAINT": ""})


def install_tools(session: nox.Session) -> None:
    if not TOOLS:
        install(session, "dev")


@nox.session(python=False if TOOLS else None)
def changelog(session: nox.Session) -> None:
    """Check the fragments of the changelog."""
    install_tools(session)
    session.run("antsibull-changelog", "lint")


@nox.session(python=False if TOOLS else None)
def docs(session: nox.Session) -> None:
    """Build the documentation site, docs/site, into .cache/docs; a warning is an error."""
    install_tools(session)
    site = ROOT / ".cache/docs"
    tree = ROOT / ".cache/site/ansible_collections/tradeops/coinswitch"
    shutil.rmtree(site, ignore_errors=True)
    shutil.rmtree(ROOT / ".cache/site", ignore_errors=True)
    listing = session.run("git", "ls-files", "-z", "-co", "--exclude-standard", external=True, silent=True)
    for name in filter(os.path.isfile, str(listing).split("\0")):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, tree / name)
    shutil.copy(tree / "docs/site/index.md", tree)
    # Whole links, since Galaxy shows the README without what lies beside it; here they lead to the site's own pages.
    readme = tree / "README.md"
    readme.write_text(readme.read_text().replace(f"{yaml.safe_load(GALAXY.read_text())['repository']}/blob/main/", ""))
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


def install_core(session: nox.Session, core: str) -> None:
    """Install what the tests run with, and the ansible-core of this row."""
    install(session, "tests")
    if core == NEXT:
        install(session, "next")


def sanity(session: nox.Session, core: str) -> None:
    """Run ansible-test sanity, which compiles and imports on every target Python that the machine has."""
    install_core(session, core)
    tree = antsibull_nox.sessions.prepare_collections(session, install_in_site_packages=False)
    assert tree
    lay_pip(HOME / ".ansible/test/cache")
    with session.chdir(tree.current_path):
        # A repository of its own: the one around it ignores the copy.
        session.run("git", "init", "--quiet", external=True)
        for scope in SANITY[core]:
            command = ("ansible-test", "sanity", "--local", "--requirements", *scope, *session.posargs)
            output = session.run(*command, env={"HOME": str(HOME)}, silent=True)
            for warning in re.findall("^WARNING: (Skipping .*)$", str(output), re.MULTILINE):
                session.warn(warning)


def lay_pip(cache: Path) -> None:
    """Put into ansible-test's cache the script that brings pip into its environments, so that it downloads none."""
    cache.mkdir(parents=True, exist_ok=True)
    for name in ("24_2", "25_2"):
        (cache / f"get_pip_{name}.py").write_text(BRING_PIP)


def unit(session: nox.Session, core: str) -> None:
    """Run the unit tests, except those of whole tasks, which give the same results on each Python."""
    leave_to_the_checkout(session, core)
    install_core(session, core)
    paths = WITH_ANSIBLE if core == NEXT else ["--ignore", "tests/unit/whole_tasks", "tests/unit"]
    session.run("pytest", "--quiet", *(session.posargs or paths))


@nox.session(name="oldest-libraries", python=CORES[OLDEST], tags=["unit"], default=False)
def oldest_libraries(session: nox.Session) -> None:
    """Run the tests of what sends, signs and redacts with the oldest supported libraries."""
    install(session, "tests")
    install(session, "oldest")
    # Their own warnings about the Python of today are not ours.
    session.run("pytest", "--quiet", "-W", "default", *(session.posargs or WITH_LIBRARIES))


def integration(session: nox.Session, core: str) -> None:
    """Run what depends on Ansible itself; the modules run on the oldest Python that is theirs under this core."""
    leave_to_the_checkout(session, core)
    install_core(session, core)
    session.run("pytest", "--quiet", "-m", "every_core", "tests/integration", *session.posargs)


def leave_to_the_checkout(session: nox.Session, core: str) -> None:
    if core == HERE:
        session.skip(f"the environment of the checkout has ansible-core {core}: `make test` runs all tests there")


def target(session: nox.Session) -> None:
    """Set up a Python for modules to run on: tests/integration takes the one that is oldest for its ansible-core."""
    install(session, "target")


def add_row(check: Callable[[nox.Session, str], None], core: str) -> None:
    def row(session: nox.Session) -> None:
        check(session, core)

    name = check.__name__
    row.__doc__ = check.__doc__
    tags = [name] if core in IN_TEST[name] else []
    nox.session(name=f"{name}-{core}", python=CORES[core], tags=tags, default=False)(row)


for python in OLDEST_TARGETS:
    nox.session(name=f"target-{python}", python=python, tags=["integration"], default=False)(target)
for check in (sanity, integration, unit):
    for core in reversed(CORES):
        add_row(check, core)
