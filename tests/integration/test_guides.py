# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs the commands of each guide in an empty folder, against a sandbox.

- A YAML or INI block whose first line is a comment with a file name is written to that file.
- In a console block, each line after `$ ` is a command. All commands run in one shell. The lines below a command must
  be in its output, where `…` stands for any text. The command must succeed, unless these lines contain FAILED or
  failed=1.
- Blocks marked as text do not run.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from sandbox import Account

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible

ROOT = Path(__file__).resolve().parents[2]
GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Command(NamedTuple):
    """A command of a guide, and the lines of its output that the guide shows."""

    text: str
    shown_lines: list[str]

    @property
    def must_fail(self) -> bool:
        return any("FAILED" in line or "failed=1" in line for line in self.shown_lines)


def find_commands(guide: str) -> Iterator[Command]:
    for language, block in BLOCK.findall(guide):
        if language != "console":
            continue
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            text, *lines = part.rstrip("\n").replace("\\\n", "").split("\n")
            yield Command(text, [line for line in lines if line.strip()])


def write_files(guide: str, folder: Path) -> None:
    for language, block in BLOCK.findall(guide):
        file_name = re.match(r"# (\S+\.(?:yml|yaml|cfg))\n", block) if language in ("yaml", "ini") else None
        if file_name:
            path = folder / file_name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block)


def run_commands(guide: str, folder: Path, environment: dict[str, str]) -> list[tuple[Command, str, int]]:
    """Run all commands of a guide. Return each command with its output and its exit status."""
    commands = list(find_commands(guide))
    script = "\n".join(f"{command.text}\necho '<<end of command>>'$?" for command in commands)
    completed = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
    )  # fmt: skip
    parts = re.split(r"<<end of command>>(\d+)\n", completed.stdout)
    assert len(parts) == 2 * len(commands) + 1, completed.stdout
    return [(command, parts[2 * n], int(parts[2 * n + 1])) for n, command in enumerate(commands)]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_commands_of_the_guide_print_what_it_shows(path: Path, ansible: Ansible, account: Account) -> None:
    guide = path.read_text()
    write_files(guide, ansible.folder)
    (ansible.folder / "extensions").symlink_to(ROOT / "extensions")
    account.set_leverage("BTCUSDT", 10)
    account.set_leverage("ETHUSDT", 5)
    no_warnings = {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false"}
    results = run_commands(guide, ansible.folder, {**ansible.environment, **no_warnings})
    assert results
    for command, output, status in results:
        assert (status != 0) == command.must_fail, f"{command.text}: exit status {status}\n{output}"
        for text in (text.strip() for line in command.shown_lines for text in line.split("…")):
            # ansible-core before 2.19 breaks long lines.
            assert " ".join(text.split()) in " ".join(output.split()), (
                f"{command.text} does not print {text!r}:\n{output}"
            )
