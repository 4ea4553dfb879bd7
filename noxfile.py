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
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
HOME = ROOT / ".cache/home"

# antsibull-nox reads these variables when it is imported. It does not download or search for other collections.
os.environ.update(
    ANTSIBULL_NOX_IGNORE_INSTALLED_COLLECTIONS="true", ANTSIBULL_NOX_INSTALL_COLLECTIONS="never", HOME=str(HOME)
)
os.environ.setdefault("UV_CONSTRAINT", "requirements/dev.txt")

import antsibull_nox
import antsibull_nox.sessions

# The supported versions of ansible-core, each with the Python that it runs on. The last one is a release candidate.
CORES = {"2.16.19": "3.11", "2.18.19": "3.11", "2.20.10": "3.12", "2.21.5": "3.13", "2.22.0rc1": "3.13"}
OLDEST, NEWEST = "2.16.19", "2.21.5"
# The version in the environment of the checkout, where `make test` runs all tests.
CHECKOUT_CORE = version("ansible-core")

# The oldest supported libraries: those of Debian 11, RHEL 9 and Ubuntu 22.04, and what they depend on.
OLDEST_LIBRARIES = (
    *("certifi==2020.6.20", "cffi==1.17.1", "chardet==4.0.0", "cryptography==3.3.2", "idna==2.10", "pycparser==2.22"),
    *("PySocks==1.7.1", "requests==2.25.1", "six==1.16.0", "urllib3==1.26.5"),
)
# The oldest Python for modules: 3.8 with ansible-core before 2.20, and 3.9 with newer versions.
OLDEST_TARGETS = ("3.8", "3.9")

LIBRARY_TESTS = [
    *("tests/unit/plugins/module_utils/_exchange", "tests/unit/plugins/module_utils/_ansible"),
    "tests/unit/whole_tasks/test_no_connection.py",
]
ANSIBLE_TESTS = [
    *("tests/unit/plugins/module_utils/_ansible", "tests/unit/plugins/filter", "tests/unit/plugins/lookup"),
    *("tests/unit/plugins/plugin_utils", "tests/unit/project/test_declarations.py", "tests/unit/roles"),
]

# The environments of ansible-test are empty, and it downloads a script that installs pip. This script uses the pip that
# Python includes: it needs no network, and saves seconds in each of about twenty environments.
PIP_INSTALLER = """\
import ensurepip, pathlib, sysconfig, zipfile
bundled = list(pathlib.Path(ensurepip.__file__).parent.glob("_bundled/pip-*.whl"))
if bundled:
    zipfile.ZipFile(bundled[0]).extractall(sysconfig.get_path("purelib"))
else:  # Debian and Ubuntu keep it elsewhere
    ensurepip.bootstrap(upgrade=True, default_pip=True)
"""
# The versions that ansible-core 2.16 to 2.22 asks for.
PIP_VERSIONS = ("23_1_2", "24_2", "25_2")

nox.options.default_venv_backend = "uv"
nox.options.envdir = ".cache/nox"
nox.options.reuse_venv = "yes"
# Skip the sessions whose Python is not installed, with a message.
nox.options.error_on_missing_interpreters = False

antsibull_nox.load_antsibull_nox_toml()


@nox.session(python=CORES[NEWEST], default=False)
def importer(session: nox.Session) -> None:
    """Check the artifact with the newest importer of Galaxy, which Galaxy itself uses. A warning is an error."""
    session.install("--upgrade", "galaxy-importer", "ansible-core", env={"UV_CONSTRAINT": ""})
    folder = Path(session.create_tmp()) / "artifact"
    session.run("ansible-galaxy", "collection", "build", "--force", "--output-path", str(folder), silent=True)
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
    for pip_version in PIP_VERSIONS:
        script = HOME / f".ansible/test/cache/get_pip_{pip_version}.py"
        script.parent.mkdir(parents=True, exist_ok=True)
        script.write_text(PIP_INSTALLER)
    # pylint takes longer than all other tests together, so it runs only with the newest version.
    options = [] if core == NEWEST else ["--skip-test", "pylint"]
    with session.chdir(tree.current_path):
        # ansible-test needs a repository. That of the checkout ignores this folder.
        session.run("git", "init", "--quiet", external=True)
        command = ("ansible-test", "sanity", "--local", "--requirements", *options, *session.posargs)
        output = session.run(*command, silent=True)
    for warning in re.findall("^WARNING: (Skipping .*)$", str(output), re.MULTILINE):
        session.warn(warning)


def unit(session: nox.Session, core: str) -> None:
    """Run the unit tests of code that uses Ansible with another ansible-core."""
    run_tests(session, core, ANSIBLE_TESTS)


def integration(session: nox.Session, core: str) -> None:
    """Run the integration tests marked every_core with another ansible-core."""
    run_tests(session, core, ["tests/integration", "-m", "every_core"])


@nox.session(name="oldest-libraries", python=CORES[OLDEST], tags=["unit"], default=False)
def oldest_libraries(session: nox.Session) -> None:
    """Run the unit tests of code that uses the libraries, with the oldest supported libraries."""
    install_tests(session, OLDEST)
    install_oldest_libraries(session)
    # The old libraries raise deprecation warnings with a new Python.
    session.run("pytest", "--quiet", "-W", "default", *(session.posargs or LIBRARY_TESTS))


def target(session: nox.Session) -> None:
    """Install the oldest Python and libraries for modules. The integration tests use them."""
    install_oldest_libraries(session)


def run_tests(session: nox.Session, core: str, arguments: list[str]) -> None:
    if core == CHECKOUT_CORE:
        session.skip("`make test` runs all tests with this version in the environment of the checkout")
    install_tests(session, core)
    session.run("pytest", "--quiet", *(session.posargs or arguments))


def install_tests(session: nox.Session, core: str) -> None:
    """Install what the tests need, with this version of ansible-core and the libraries that it allows."""
    session.install("--requirement", "requirements/tests.in")
    session.install(f"ansible-core=={core}", env={"UV_CONSTRAINT": ""})


def install_oldest_libraries(session: nox.Session) -> None:
    session.install("--no-deps", *OLDEST_LIBRARIES, env={"UV_CONSTRAINT": ""})


def add_session(check: Callable[[nox.Session, str], None], core: str, is_in_test: bool) -> None:
    """Add the session `check` for one version of ansible-core. `make test` runs the sessions with a tag."""

    def run(session: nox.Session) -> None:
        check(session, core)

    name = check.__name__
    run.__doc__ = check.__doc__
    short = ".".join(core.split(".")[:2])
    nox.session(name=f"{name}-{short}", python=CORES[core], tags=[name] * is_in_test, default=False)(run)


for python in OLDEST_TARGETS:
    nox.session(name=f"target-{python}", python=python, tags=["integration"], default=False)(target)
for core in CORES:
    add_session(sanity, core, is_in_test=core == NEWEST)
    add_session(unit, core, is_in_test=core == OLDEST)
    add_session(integration, core, is_in_test=core == OLDEST)
