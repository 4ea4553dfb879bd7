# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo and the examples, as they stand."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible

DEMO = Path(__file__).resolve().parents[2] / "examples/demo/run"


def test_the_demo_shows_what_it_says_and_leaves_nothing_behind(ansible: Ansible) -> None:
    # The demo itself holds every step against what it should end with.
    outcome = ansible.run(str(DEMO))
    assert (outcome.status, outcome.stderr) == (0, "")
    assert "blocked by an open position (LONG 0.01); close the position first" in outcome.stdout
    assert [path for name in ("home", "tmp") for path in (ansible.folder / name).iterdir()] == []


def test_the_demo_fails_where_the_product_does(ansible: Ansible, tmp_path: Path) -> None:
    module = tmp_path / "broken/ansible_collections/tradeops/coinswitch/plugins/modules/futures_leverage.py"
    module.parent.mkdir(parents=True)
    module.write_text("#!/usr/bin/python\n# WANT_JSON\nprint('{\"changed\": false}')\n")
    ansible.variables["ANSIBLE_COLLECTIONS_PATH"] = str(tmp_path / "broken")
    outcome = ansible.run(str(DEMO))
    assert outcome.status == 1
    assert 'The demo went wrong: the output lacks "changed: [localhost]  BTCUSDT 10 -> 13"' in outcome.stderr
    assert list((ansible.folder / "tmp").iterdir()) == []
