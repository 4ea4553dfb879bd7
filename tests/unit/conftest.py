# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Make the checkout importable as `ansible_collections.tradeops.coinswitch`, whatever the name of its folder.

Ansible looks for a collection in a folder `ansible_collections/tradeops/coinswitch`, but a clone can have any name. So
this file creates the three packages, and the last one contains the checkout. `ansible-test units` runs in a folder of
the right name. There the packages exist already, and this file creates none.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.tradeops.coinswitch"


def register_packages() -> None:
    """Create the packages of COLLECTION, each as an attribute of the one before. ROOT is the folder of the last one."""
    parent: ModuleType | None = None
    parts = COLLECTION.split(".")
    for depth, part in enumerate(parts, start=1):
        package = ModuleType(".".join(parts[:depth]))
        package.__path__ = [str(ROOT)] if depth == len(parts) else []
        sys.modules[package.__name__] = package
        if parent is not None:
            setattr(parent, part, package)
        parent = package


def is_importable(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


if not is_importable(COLLECTION):
    register_packages()

# Every run uses the same examples. An example that is slow on a busy machine is not an error.
settings.register_profile(
    "reproducible",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.load_profile("reproducible")


@pytest.fixture
def no_user_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ignore the settings for HTTP of the user who runs the tests."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture(scope="module", autouse=True)
def _use_one_processor() -> Iterator[None]:
    """Run the tests of a module on one processor, because that is faster.

    Client and server are threads that take turns, and it takes long to wake a thread on another processor. The scope is
    one module, so tests in other folders can use all processors.
    """
    if sys.platform != "linux":
        yield
        return
    processors = os.sched_getaffinity(0)
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    os.sched_setaffinity(0, {sorted(processors)[worker % len(processors)]})
    yield
    os.sched_setaffinity(0, processors)
