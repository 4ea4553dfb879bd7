# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out whether the process that started a module has ended, so that nothing is sent after the end of a task.

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import os
import re
import select

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Unreachable

# What identify_process returns about ansible-playbook. The action plugins set it for a module on the controller.
CONTROLLER = "_COINSWITCH_CONTROLLER"


def identify_process(process_id: int) -> str:
    """Return a text about a running process: its ID, and when it started.

    The system can use the ID again after its end, so the time of its start counts, too: in clock ticks since the system
    started. Empty if the system does not say.
    """
    return f"{process_id}:{_read_state_and_start(process_id)[1]}"


def has_ended(process: str) -> bool:
    """Return whether a process of `identify_process` has ended. One that was killed can remain as a zombie.

    Any other text is no process that can end.
    """
    match = re.fullmatch("([1-9][0-9]*):([0-9]*)", process)
    if not match:
        return False
    state, started = _read_state_and_start(int(match[1]))
    if state:
        return state in "ZX" or started != match[2]
    try:
        os.kill(int(match[1]), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass  # It belongs to another user.
    return False


def _read_state_and_start(process_id: int) -> tuple[str, str]:
    """Return the state and the start of a process from /proc. Both are empty if they cannot be read."""
    try:
        with open(f"/proc/{process_id}/stat", "rb") as file:
            # The second field, the name of the program in parentheses, can contain spaces and parentheses.
            fields = file.read().rpartition(b")")[2].decode().split()
    except OSError:
        return "", ""
    return fields[0], fields[19]


def check_reader() -> None:
    """Raise Unreachable if the task that started this module has ended.

    After the timeout of a task or Ctrl-C, Ansible closes the pipe that it reads the output from. If only
    ansible-playbook is killed, its worker still holds the pipe, so the process in CONTROLLER is checked, too.
    """
    if has_ended(os.environ.get(CONTROLLER, "")):
        raise Unreachable("ansible-playbook has ended, so no more requests are sent.", can_retry=False)
    poller = select.poll()
    poller.register(1, 0)
    if any(event & (select.POLLERR | select.POLLHUP) for _file, event in poller.poll(0)):
        raise Unreachable("The task that started this module has ended, so no more requests are sent.", can_retry=False)
