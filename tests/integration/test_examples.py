# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The demo in examples/demo."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible

DEMO = Path(__file__).resolve().parents[2] / "examples/demo/run"


def test_demo_succeeds_and_removes_its_files(ansible: Ansible) -> None:
    # The demo checks the output of each step itself.
    completed = ansible.run(str(DEMO))
    assert (completed.exit_status, completed.stderr) == (0, "")
    assert "An open position (LONG 0.01) blocks the change. Close the position first." in completed.stdout
    assert [path for name in ("home", "tmp") for path in (ansible.folder / name).iterdir()] == []


def test_demo_fails_if_the_module_does_not_work(ansible: Ansible, tmp_path: Path) -> None:
    module = tmp_path / "broken/ansible_collections/tradeops/coinswitch/plugins/modules/futures_leverage.py"
    module.parent.mkdir(parents=True)
    module.write_text("#!/usr/bin/python\n# WANT_JSON\nprint('{\"changed\": false}')\n")
    ansible.environment["ANSIBLE_COLLECTIONS_PATH"] = str(tmp_path / "broken")
    completed = ansible.run(str(DEMO))
    assert completed.exit_status == 1
    assert 'The demo went wrong: the output lacks "changed: [localhost]  BTCUSDT 10 -> 13"' in completed.stderr
    assert list((ansible.folder / "tmp").iterdir()) == []
