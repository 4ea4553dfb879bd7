# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The guides do what they say: each is carried out as it stands, in an empty folder, against a sandbox.

A YAML block whose first line is a comment with a file's name is that file. A console block's lines after `$ ` are
commands of one shell; the lines below a command must be in its output (`…` stands for anything), and it must succeed
unless they say FAILED or failed=1. Blocks marked as text are not run.
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
END = "<<end of {}: {}>>"


class Command(NamedTuple):
    text: str
    shown: list[str]

    @property
    def may_fail(self) -> bool:
        return any("FAILED" in line or "failed=1" in line for line in self.shown)


def commands(guide: str) -> Iterator[Command]:
    for language, block in BLOCK.findall(guide):
        if language != "console":
            continue
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            text, *shown = part.rstrip("\n").replace("\\\n", "").split("\n")
            yield Command(text, [line for line in shown if line.strip()])


def write_files(guide: str, folder: Path) -> None:
    for language, block in BLOCK.findall(guide):
        named = re.match(r"# (\S+\.(?:yml|yaml|cfg))\n", block) if language in ("yaml", "ini") else None
        if named:
            path = folder / named[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block)


def run(guide: str, folder: Path, env: dict[str, str]) -> list[tuple[Command, str, int]]:
    """Each command with what it printed and its exit status."""
    todo = list(commands(guide))
    script = "\n".join(f"{command.text}\necho '{END.format(n, '')}'$?" for n, command in enumerate(todo))
    done = subprocess.run(
        ["bash", "-c", script], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=300, check=False,
    )  # fmt: skip
    parts = re.split(r"<<end of \d+: >>(\d+)\n", done.stdout)
    assert len(parts) == 2 * len(todo) + 1, done.stdout
    return [(command, parts[2 * n], int(parts[2 * n + 1])) for n, command in enumerate(todo)]


@pytest.mark.parametrize("path", GUIDES, ids=lambda path: path.stem)
def test_guide(path: Path, ansible: Ansible, account: Account) -> None:
    guide = path.read_text()
    write_files(guide, ansible.folder)
    (ansible.folder / "extensions").symlink_to(ROOT / "extensions")
    account.set_leverage("BTCUSDT", 10)
    account.set_leverage("ETHUSDT", 5)
    quiet = {"ANSIBLE_LOCALHOST_WARNING": "false", "ANSIBLE_INVENTORY_UNPARSED_WARNING": "false"}
    results = run(guide, ansible.folder, {**ansible.variables, **quiet})
    assert results
    for command, output, status in results:
        assert (status != 0) == command.may_fail, f"{command.text}: exit status {status}\n{output}"
        for piece in (piece.strip() for line in command.shown for piece in line.split("…")):
            assert piece in output, f"{command.text} does not print {piece!r}:\n{output}"
