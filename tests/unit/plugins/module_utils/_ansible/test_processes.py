# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A module notices the end of the process that started it, and of no other one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible import processes
from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.processes import has_ended, identify_process
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Unreachable


def raise_error(error: Exception) -> Callable[..., None]:
    def call(*_arguments: object) -> None:
        raise error

    return call


# --- identify_process and has_ended ---


def test_process_is_running_until_it_ends() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        process = identify_process(child.pid)
        assert re.fullmatch(f"{child.pid}:[0-9]+", process)
        assert not has_ended(process)
        child.communicate()
    assert has_ended(process)


def test_zombie_has_ended() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as child:
        process = identify_process(child.pid)
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert Path(f"/proc/{child.pid}").exists()
        assert has_ended(process)


def test_other_process_with_the_same_id_is_not_the_process() -> None:
    process = identify_process(os.getpid())
    assert not has_ended(process)
    process_id, started = process.split(":")
    assert has_ended(f"{process_id}:{int(started) - 1}")
    assert has_ended(f"{process_id}:")


def test_process_can_have_any_name(tmp_path: Path) -> None:
    program = tmp_path / ") Z 1 (a b)"
    program.symlink_to(shutil.which("cat") or "")
    with subprocess.Popen([program], stdin=subprocess.PIPE) as child:
        # The name changes when the child starts the program.
        while b") Z 1" not in Path(f"/proc/{child.pid}/stat").read_bytes():
            pass
        process = identify_process(child.pid)
        assert not has_ended(process)
        assert re.fullmatch(f"{child.pid}:[0-9]+", process)
        child.communicate()


def test_process_of_another_user_or_without_proc_is_running_if_its_id_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "_read_state_and_start", lambda _process_id: ("", ""))
    process = identify_process(os.getpid())
    assert process == f"{os.getpid()}:"
    assert not has_ended(process)
    monkeypatch.setattr(os, "kill", raise_error(PermissionError()))
    assert not has_ended(process)
    monkeypatch.setattr(os, "kill", raise_error(ProcessLookupError()))
    assert has_ended(process)
    assert has_ended("123:456")


@pytest.mark.parametrize("text", ["", "123", "0:1", "-1:1", "1:2:3", "one:2", "1:2\n"])
def test_other_text_is_no_process_that_can_end(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(processes, "_read_state_and_start", lambda _process_id: ("Z", "0"))
    assert not has_ended(text)


# --- check_reader ---


def test_module_stops_only_if_ansible_playbook_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    for running in ("", "not a process", identify_process(os.getpid())):
        monkeypatch.setenv(processes.CONTROLLER, running)
        processes.check_reader()
    monkeypatch.setenv(processes.CONTROLLER, f"{os.getpid()}:1")
    with pytest.raises(Unreachable, match="ansible-playbook has ended, so no more requests are sent") as raised:
        processes.check_reader()
    assert not raised.value.can_retry
