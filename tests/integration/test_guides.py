# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Does what a reader does: the README and all guides in its order, in one shell, on one sandbox.

The reader has an empty home, installs the collection from its artifact, works in an empty directory outside the
checkout, and sees all warnings.

- A YAML, INI or shell block that begins with a comment with a file name is written to that file.
- In a console block, each line after `$ ` is a command. The lines below a command must be in its output, where `…`
  stands for any text. The command must succeed, unless these lines contain FAILED or failed=1.
- After a command that opens an editor, the reader enters the next block, with the keys of the sandbox instead of `…`.
- The command of the crontab runs with the environment of cron, and ansible-pull in a clone of the directory.
- Blocks marked as text do not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import NamedTuple

import pytest
import yaml

from sandbox import Exchange, Sandbox

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
GUIDES = [
    ROOT / path
    for path in dict.fromkeys(re.findall(r"docs/guides/[\w-]+\.md", README.read_text("utf-8").split("- Guides:")[1]))
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"(?:#!.*\n)?# (\S+\.(?:yml|yaml|cfg|sh))\n")
# The guides start the sandbox with this port. The test uses a free port.
PRINTED_URL = "http://127.0.0.1:41373"
END = "<<end of command>>"
# Seconds.
COMMAND_TIMEOUT = 100
# Ansible Vault opens an editor only in a terminal.
IN_A_TERMINAL = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))"


class Command(NamedTuple):
    """A command of a page, the lines of its output that the page shows, and the block that follows."""

    text: str
    shown_lines: list[str]
    next_block: str

    @property
    def must_fail(self) -> bool:
        return any("FAILED" in line or "failed=1" in line for line in self.shown_lines)


class Reader:
    """Somebody with a shell, an editor, a mail program, and the keys of the sandbox.

    Attributes:
        directory: The working directory of the shell.
        home: The home directory.
    """

    def __init__(self, folder: Path, sandbox: Sandbox) -> None:
        self.home, self.directory = folder / "home", folder / "home" / "desk"
        for name in ("home", "home/desk", "programs", "tmp"):
            (folder / name).mkdir()
        # The virtual environment of the guide "First steps".
        (self.home / "ansible").symlink_to(sys.prefix)
        vault = f"{sys.prefix}/bin/ansible-vault"
        for name, line in {
            "editor": f'cp "{self.home}/entered" "$1"',
            "mail": f'{{ echo "mail $*"; cat; }} >>"{self.home}/mails"',
            "ansible-vault": f"exec {sys.executable} -c '{IN_A_TERMINAL}' {vault} \"$@\"",
        }.items():
            program = folder / "programs" / name
            program.write_text(f"#!/bin/sh\n{line}\n")
            program.chmod(0o755)
        account = sandbox.exchange.accounts[0]
        self._keys = [account.api_key, account.secret_key]
        self._url = sandbox.url
        self._environment = {
            "EDITOR": "editor",
            "HOME": str(self.home),
            "LC_ALL": "C.UTF-8",
            "PATH": os.pathsep.join([str(folder / "programs"), f"{sys.prefix}/bin", "/usr/local/bin:/usr/bin:/bin"]),
            "TMPDIR": str(folder / "tmp"),
        }
        self._programs = folder / "programs"
        self._shell: subprocess.Popen[str]

    def install_collection(self) -> None:
        """Install the artifact that `make install` built."""
        (artifact,) = (ROOT / ".cache" / "artifact").glob("*.tar.gz")
        command = ["ansible-galaxy", "collection", "install", "--offline", str(artifact)]
        subprocess.run(command, env=self._environment, cwd=self.home, check=True, capture_output=True)

    def open_shell(self) -> subprocess.Popen[str]:
        """Open a shell, and paste the lines that the sandbox prints."""
        self._shell = subprocess.Popen(
            ["bash", "-O", "expand_aliases"], cwd=self.directory, env=self._environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self.type(f"export COINSWITCH_API_URL={self._url}")
        self.type(f"export COINSWITCH_API_KEY={self._keys[0]}")
        self.type(f"export COINSWITCH_SECRET_KEY={self._keys[1]}")
        return self._shell

    def type(self, command: str, entered: str = "") -> tuple[str, int]:
        """Type a command. If it opens an editor, enter the text there. Return its output and its exit status."""
        keys = iter(self._keys)
        (self.home / "entered").write_text(re.sub("…", lambda _: next(keys, ""), entered))
        assert self._shell.stdin is not None
        assert self._shell.stdout is not None
        # As if a minute passed before each command.
        self._shell.stdin.write("rm -rf ~/.local/state\n")
        self._shell.stdin.write(f"{{ {command}\n}} </dev/null\necho '{END}'$?\n")
        self._shell.stdin.flush()
        watchdog = Timer(COMMAND_TIMEOUT, self._shell.kill)
        watchdog.start()
        output, end, status = "", "", ""
        while not end:
            line = self._shell.stdout.readline()
            assert line, f"{command} ended the shell, or took too long:\n{output}"
            text, end, status = line.partition(END)
            output += text
        watchdog.cancel()
        return output.replace(self._url, PRINTED_URL), int(status)

    def write_file(self, block: str) -> None:
        """Write a block that names its file. It has the URL of the sandbox of this test."""
        name = FILE_NAME.match(block)
        if name:
            path = self.directory / name[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.replace(PRINTED_URL, self._url))

    def run_as_cron(self, command: str) -> str:
        """Run a command as cron does. Return the mails that it sends."""
        mails = self.home / "mails"
        mails.unlink(missing_ok=True)
        subprocess.run(
            ["/bin/sh", "-c", command], cwd=self.home, stdin=subprocess.DEVNULL, timeout=COMMAND_TIMEOUT, check=True,
            env={"HOME": str(self.home), "PATH": f"{self._programs}:/usr/bin:/bin"},
        )  # fmt: skip
        return mails.read_text() if mails.exists() else ""


def split_commands(block: str, next_block: str) -> Iterator[Command]:
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        text, *lines = part.rstrip("\n").replace("\\\n", "").split("\n")
        yield Command(text, [line for line in lines if line.strip()], next_block)


def read_page(reader: Reader, page: Path) -> Iterator[tuple[Command, str, int]]:
    """Follow a page from its beginning. Yield each command with its output and its exit status."""
    blocks = BLOCK.findall(page.read_text(encoding="utf-8"))
    for (language, block), (_language, next_block) in zip(blocks, [*blocks[1:], ("", "")], strict=True):
        if language in ("yaml", "ini", "sh"):
            reader.write_file(block)
        elif language == "console":
            for command in split_commands(block, next_block):
                yield command, *reader.type(command.text, entered=command.next_block)


def check_output(command: Command, output: str, status: int) -> None:
    assert (status != 0) == command.must_fail, f"{command.text}: exit status {status}\n{output}"
    for text in (text.strip() for line in command.shown_lines for text in line.split("…")):
        # ansible-core before 2.19 breaks long lines.
        assert " ".join(text.split()) in " ".join(output.split()), f"{command.text} does not print {text!r}:\n{output}"


@pytest.fixture
def reader() -> Iterator[Reader]:
    exchange = Exchange(rate_limits=False)
    exchange.open_account("desk")
    # tmp_path is too long: ansible-core 2.20 creates a socket in TMPDIR, whose path can have at most 107 characters.
    with TemporaryDirectory(prefix="reader-") as folder, Sandbox(exchange) as sandbox:
        reader = Reader(Path(folder), sandbox)
        reader.install_collection()
        with reader.open_shell() as shell:
            yield reader
            shell.communicate("exit\n")


def test_readme_lists_each_guide() -> None:
    assert sorted(GUIDES) == sorted((ROOT / "docs" / "guides").glob("*.md"))


def test_each_guide_starts_the_sandbox_and_begins_with_check_mode() -> None:
    start = "$ python3 ~/.ansible/collections/ansible_collections/tradeops/coinswitch/extensions/sandbox --port 41373\n"
    for page in GUIDES:
        text = page.read_text(encoding="utf-8")
        where = text.index("**Where it runs**")
        assert start in text, page.name
        first = next(
            command.text
            for language, block in BLOCK.findall(text)
            if language == "console"
            for command in split_commands(block, "")
            if re.match(r"ansible(-playbook|-runner)? ", command.text)
        )
        assert "--check --diff" in first or "tradeops.coinswitch.drift" in first, f"{page.name}: {first}"
        assert where < text.index(first), page.name


def test_each_yaml_block_can_be_added_to_a_file() -> None:
    for page in GUIDES:
        for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
            if language == "yaml":
                assert not block.startswith(" "), f"{page.name}: {block}"
                yaml.safe_load(block)


def check_cron(reader: Reader, page: Path) -> None:
    """Cron mails the summary of a run with drift, and the end of the log of a run that fails before its summary."""
    # The guide has corrected the drift.
    output, status = reader.type("sandbox set-leverage BTCUSDT 20")
    assert status == 0, output
    crontab = re.search(r"^15 2 \* \* \* (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    assert crontab, page.name
    mail = reader.run_as_cron(crontab[1])
    assert mail.startswith("mail -s Above the policy: 1 of 2 leverages, up to 1.54 times the policy desk@example.com\n")
    password = reader.directory / "vault-password"
    password.rename(reader.directory / "moved")
    mail = reader.run_as_cron(crontab[1])
    assert mail.startswith("mail -s The leverage was not checked desk@example.com\n")
    assert "vault-password" in mail
    (reader.directory / "moved").rename(password)


def check_pull(reader: Reader, page: Path) -> None:
    """ansible-pull checks the policy in a clone of the directory of the guide."""
    (pull,) = re.findall(r"^\$ (ansible-pull .*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    commit = (
        "cp vault-password ~ && mkdir ~/repository && cp -r inventory local.yml ~/repository && cd ~/repository "
        "&& sed 's#= vault-password#= ~/vault-password#' ~/desk/ansible.cfg >ansible.cfg && git init --quiet "
        "&& git add . && git -c user.name=reader -c user.email=reader@example.com commit --quiet --message policy; "
        "cd ~/desk"
    )
    output, status = reader.type(commit)
    assert (output, status) == ("", 0)
    pull = pull.replace("https://git.example.com/desk.git", "~/repository")
    output, status = reader.type(pull)
    assert status == 0, output
    assert "Complies with the policy: 2 leverages on 1 account" in output
    assert "Error getting vault password" not in output
    _output, status = reader.type(pull.replace("--limit accounts", ""))
    assert status != 0, "the machine itself is not an account"


def test_pages_in_order_print_what_they_show(reader: Reader) -> None:
    for page in (README, *GUIDES):
        commands = 0
        for command, output, status in read_page(reader, page):
            check_output(command, f"{page.name}: {output}", status)
            commands += 1
        assert commands, page.name
        if page.stem == "desk":
            check_pull(reader, page)
        if page.stem == "nightly-drift":
            check_cron(reader, page)
