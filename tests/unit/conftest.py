# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Let a checkout of any name be imported under the name of the collection.

Ansible finds a collection in a folder `ansible_collections/tradeops/coinswitch`. A clone has any name, so the three
packages are made here, the last one with the checkout as its content. Under `ansible-test units`, whose tree has the
right names, they are found already and nothing is done.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "ansible_collections.tradeops.coinswitch"


def name_the_checkout() -> None:
    """Register the packages of `COLLECTION`, each inside the one before, with `ROOT` as the last one's folder."""
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
    name_the_checkout()


@pytest.fixture(scope="module", autouse=True)
def _one_processor() -> Iterator[None]:
    """Keep each process to one processor: to wake a thread on another one takes longer than what it then does.

    Client and server are threads that take turns. For as long as a module: what the tests of other folders run may
    know how to use all processors.
    """
    if sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    os.sched_setaffinity(0, {sorted(before)[worker % len(before)]})
    yield
    os.sched_setaffinity(0, before)
