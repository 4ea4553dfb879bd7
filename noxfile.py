# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The checks that need their own environment. `make test` runs them, `nox -l` lists them.

antsibull-nox.toml selects the sessions of antsibull-nox. requirements/dev.txt pins all packages with their hashes: uv
uses it as a constraint in each session.
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
CACHE = ROOT / ".cache"

# antsibull-nox reads these variables when it is imported. It does not download or search for other collections.
os.environ.update(
    ANTSIBULL_NOX_IGNORE_INSTALLED_COLLECTIONS="true",
    ANTSIBULL_NOX_INSTALL_COLLECTIONS="never",
    UV_CACHE_DIR=str(CACHE / "uv"),
    UV_CONSTRAINT="requirements/dev.txt",
    UV_PYTHON_DOWNLOADS="never",
)

import antsibull_nox
import antsibull_nox.sessions
import yaml

# The supported versions of ansible-core, each with the Python that it runs on. The last one is a release candidate.
CORES = {"2.19": "3.11", "2.20": "3.12", "2.21": "3.13", "2.22": "3.13"}
OLDEST, NEWEST, CANDIDATE = "2.19", "2.21", "2.22"
CANDIDATE_VERSION = "ansible-core==2.22.0rc1"
# The version in the environment of the checkout, where `make test` runs all tests.
CHECKOUT_CORE = ".".join(version("ansible-core").split(".")[:2]) if find_spec("ansible") else ""
# The sessions that `make test` runs, by tag. The other sessions run only by name.
CORES_IN_TEST = {"sanity": {OLDEST, NEWEST}, "integration": {OLDEST, NEWEST}, "unit": set(CORES)}

# The oldest supported libraries: those of Debian 11, RHEL 9 and Ubuntu 22.04, and what they depend on.
OLDEST_LIBRARIES = (
    "certifi==2020.6.20",
    "cffi==1.17.1",
    "chardet==4.0.0",
    "cryptography==3.3.2",
    "idna==2.10",
    "pycparser==2.22",
    "PySocks==1.7.1",
    "requests==2.25.1",
    "six==1.16.0",
    "urllib3==1.26.5",
)
# The oldest Python for modules: 3.8 with ansible-core 2.19, and 3.9 with newer versions.
OLDEST_TARGETS = ("3.8", "3.9")

# The unit tests of code that uses the libraries.
TESTS_WITH_LIBRARIES = [
    f"tests/unit/plugins/module_utils/{name}.py"
    for name in (
        "_exchange/test_environment",
        "_exchange/test_libraries",
        "_exchange/test_signing",
        "_exchange/test_transport",
        "_ansible/test_module",
    )
]
# The unit tests of code that uses Ansible.
TESTS_WITH_ANSIBLE = [
    *("tests/unit/project/test_declarations.py", "tests/unit/plugins/filter", "tests/unit/plugins/lookup"),
    *("tests/unit/plugins/module_utils/_ansible/test_module.py", "tests/unit/roles"),
]

# ansible-test downloads a script that installs pip into its environments. This one unpacks the pip that Python
# includes: it needs no network, and saves seconds in each of about twenty environments.
PIP_INSTALLER = """\
import ensurepip, pathlib, sysconfig, zipfile
bundled = list(pathlib.Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
if bundled:
    zipfile.ZipFile(bundled[0]).extractall(sysconfig.get_path("purelib"))
else:
    ensurepip.bootstrap(upgrade=True, default_pip=True)
"""

nox.options.default_venv_backend = "uv"
nox.options.envdir = ".cache/nox"
nox.options.reuse_venv = "yes"
# Skip the sessions whose Python is not installed, with a message.
nox.options.error_on_missing_interpreters = False

antsibull_nox.load_antsibull_nox_toml()


@nox.session(python=False)
def changelog(session: nox.Session) -> None:
    """Check the changelog fragments."""
    session.run("antsibull-changelog", "lint")


@nox.session(python=False)
def docs(session: nox.Session) -> None:
    """Build the documentation site from docs/site in .cache/docs. A warning is an error."""
    tree = CACHE / "site/ansible_collections/tradeops/coinswitch"
    for folder in (CACHE / "docs", CACHE / "site"):
        shutil.rmtree(folder, ignore_errors=True)
    copy_checkout(session, tree)
    shutil.copy(tree / "docs/site/index.md", tree)
    # The links of the README are absolute, because Galaxy shows it without the other files. Here they lead to the site.
    galaxy = yaml.safe_load((ROOT / "galaxy.yml").read_text())
    readme = tree / "README.md"
    readme.write_text(readme.read_text().replace(f"{galaxy['repository']}/blob/main/", ""))
    (tree / "reference").mkdir()
    session.run(
        *("antsibull-docs", "collection", "--use-current", "--squash-hierarchy", "--no-breadcrumbs", "--fail-on-error"),
        *("--dest-dir", str(tree / "reference"), "tradeops.coinswitch"),
        env={"ANSIBLE_COLLECTIONS_PATH": str(CACHE / "site")},
    )
    options = ("--quiet", "--fresh-env", "--fail-on-warning", "--keep-going")
    session.run("sphinx-build", *options, "--conf-dir", str(tree / "docs/site"), str(tree), str(CACHE / "docs"))


def copy_checkout(session: nox.Session, folder: Path) -> None:
    """Copy all files that git does not ignore."""
    listing = session.run("git", "ls-files", "-z", "-co", "--exclude-standard", external=True, silent=True)
    for name in filter(os.path.isfile, str(listing).split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(name, folder / name)


@nox.session(python=CORES[OLDEST], default=False)
def importer(session: nox.Session) -> None:
    """Check the artifact with the newest importer of Galaxy, which Galaxy itself uses. A warning is an error."""
    session.install("--upgrade", "galaxy-importer", f"ansible-core~={OLDEST}.0", env={"UV_CONSTRAINT": ""})
    folder = Path(session.create_tmp())
    shutil.rmtree(folder)
    session.run("ansible-galaxy", "collection", "build", "--output-path", str(folder), silent=True)
    (artifact,) = folder.glob("*.tar.gz")
    with session.chdir(folder):
        log = session.run("python", "-m", "galaxy_importer.main", artifact.name, silent=True)
    # The exit status is 0 after a warning.
    problems = re.findall("^.*(?:WARNING|ERROR).*$", str(log), re.MULTILINE)
    if problems:
        session.error("\n".join(["The importer of Galaxy reports:", *problems]))


def sanity(session: nox.Session, core: str) -> None:
    """Run the sanity tests of ansible-test. They compile and import the code with each supported Python."""
    install_tests(session, core)
    tree = antsibull_nox.sessions.prepare_collections(session, install_in_site_packages=False)
    assert tree
    home = CACHE / "home"
    cache_pip_installer(home / ".ansible/test/cache")
    # pylint takes longer than all other tests together, so it runs once, and ruff checks the tests.
    runs = [["--skip-test", "pylint"]]
    if core == NEWEST:
        runs.append(["--test", "pylint", "--exclude", "tests/"])
    with session.chdir(tree.current_path):
        # ansible-test needs a repository. That of the checkout ignores this folder.
        session.run("git", "init", "--quiet", external=True)
        for options in runs:
            command = ("ansible-test", "sanity", "--local", "--requirements", *options, *session.posargs)
            output = session.run(*command, env={"HOME": str(home)}, silent=True)
            for warning in re.findall("^WARNING: (Skipping .*)$", str(output), re.MULTILINE):
                session.warn(warning)


def cache_pip_installer(folder: Path) -> None:
    """Write PIP_INSTALLER under the names under which ansible-test keeps its downloads."""
    folder.mkdir(parents=True, exist_ok=True)
    for pip_version in ("24_2", "25_2"):
        (folder / f"get_pip_{pip_version}.py").write_text(PIP_INSTALLER)


def unit(session: nox.Session, core: str) -> None:
    """Run the unit tests of code that uses Ansible or the libraries, with another Python and ansible-core."""
    skip_if_in_checkout(session, core)
    install_tests(session, core)
    session.run("pytest", "--quiet", *(session.posargs or [*TESTS_WITH_ANSIBLE, *TESTS_WITH_LIBRARIES]))


@nox.session(name="oldest-libraries", python=CORES[OLDEST], tags=["unit"], default=False)
def oldest_libraries(session: nox.Session) -> None:
    """Run the unit tests of code that uses the libraries, with the oldest supported libraries."""
    install_tests(session, OLDEST)
    install_oldest_libraries(session)
    # The old libraries raise deprecation warnings with a new Python.
    session.run("pytest", "--quiet", "-W", "default", *(session.posargs or TESTS_WITH_LIBRARIES))


def integration(session: nox.Session, core: str) -> None:
    """Run the integration tests that depend on the version of Ansible."""
    skip_if_in_checkout(session, core)
    install_tests(session, core)
    session.run("pytest", "--quiet", "-m", "every_core", "tests/integration", *session.posargs)


def target(session: nox.Session) -> None:
    """Install the oldest Python and libraries for modules. The integration tests use them."""
    install_oldest_libraries(session)


def skip_if_in_checkout(session: nox.Session, core: str) -> None:
    if core == CHECKOUT_CORE:
        session.skip(f"the environment of the checkout has ansible-core {core}, and `make test` runs all tests there")


def install_tests(session: nox.Session, core: str) -> None:
    """Install what the tests need, with this version of ansible-core."""
    session.install("--requirement", "requirements/tests.in")
    if core == CANDIDATE:
        session.install("--no-deps", CANDIDATE_VERSION, env={"UV_CONSTRAINT": ""})


def install_oldest_libraries(session: nox.Session) -> None:
    session.install("--no-deps", *OLDEST_LIBRARIES, env={"UV_CONSTRAINT": ""})


def add_session(check: Callable[[nox.Session, str], None], core: str) -> None:
    """Add the session of a check with one version of ansible-core."""

    def run(session: nox.Session) -> None:
        check(session, core)

    name = check.__name__
    run.__doc__ = check.__doc__
    tags = [name] if core in CORES_IN_TEST[name] else []
    nox.session(name=f"{name}-{core}", python=CORES[core], tags=tags, default=False)(run)


for python in OLDEST_TARGETS:
    nox.session(name=f"target-{python}", python=python, tags=["integration"], default=False)(target)
for check in (sanity, integration, unit):
    for core in reversed(CORES):
        add_session(check, core)
