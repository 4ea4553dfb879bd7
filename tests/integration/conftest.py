# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fixtures that run real Ansible against the sandbox, with an environment and a home folder of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from ansible.release import __version__ as ansible_version

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "extensions"))

from sandbox import Account, Exchange, Sandbox  # noqa: E402 # its folder must be in the path first

CORE = tuple(int(part) for part in ansible_version.split(".")[:2])
# The oldest Python on which modules run with this ansible-core. `make integration` sets it up if it is installed.
OLDEST_TARGET = "3.8" if CORE < (2, 20) else "3.9"
TARGET_PYTHON = ROOT / f".cache/nox/target-{OLDEST_TARGET.replace('.', '-')}/bin/python"

COLLECTION = Path("ansible_collections/tradeops/coinswitch")
GROUP = "group/tradeops.coinswitch.coinswitch"
# Seconds.
COMMAND_TIMEOUT = 300


# Tests that take the longest. They start first, so that no processor waits for them at the end.
LONGEST = ("test_pages_in_order_print_what_they_show", "test_both_ways_have_the_same_results_output_and_requests")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.name not in LONGEST)


def pytest_report_header() -> str:
    own_python = f"the Python of ansible-core, because Python {OLDEST_TARGET} is not installed"
    return f"ansible-core {ansible_version}, modules on {OLDEST_TARGET if TARGET_PYTHON.exists() else own_python}"


def restore_signals() -> None:
    """Let signals end a command. Tests that run in the background start with some signals ignored."""
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_DFL)


class CompletedCommand(NamedTuple):
    """A command that has ended. `results` are the results of its tasks, by host and by name of the task."""

    exit_status: int
    stdout: str
    stderr: str
    results: dict[str, dict[str, Any]]

    @property
    def localhost(self) -> dict[str, Any]:
        """The results of the tasks on localhost, by name of the task."""
        return self.results["localhost"]

    @property
    def output(self) -> str:
        return self.stdout + self.stderr


class Ansible:
    """Runs commands of ansible-core with the collection, and without the settings of the user who runs the tests.

    Attributes:
        folder: The working directory of the commands. HOME and TMPDIR are inside.
        environment: The environment variables of the commands.
    """

    def __init__(self, folder: Path, collections: Path) -> None:
        self.folder = folder
        self._play_count = 0
        self.environment = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_ACTION_PLUGINS": str(Path(__file__).parent / "action_plugins"),
            # By default, the folder in HOME, and part of Ansible takes HOME from the list of users instead.
            "ANSIBLE_ASYNC_DIR": str(folder / "jobs"),
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_CONNECTION_PLUGINS": str(Path(__file__).parent / "connection_plugins"),
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_PYTHON_INTERPRETER": str(TARGET_PYTHON if TARGET_PYTHON.exists() else sys.executable),
        }
        for name in ("home", "tmp"):
            (folder / name).mkdir()

    def use_sandbox(self, sandbox: Sandbox) -> None:
        """Set the variables of the collection to the URL of the sandbox and the keys of its first account."""
        self.environment.update(
            COINSWITCH_API_URL=sandbox.url,
            COINSWITCH_API_KEY=sandbox.exchange.accounts[0].api_key,
            COINSWITCH_SECRET_KEY=sandbox.exchange.accounts[0].secret_key,
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            command,
            env=self.environment,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=restore_signals,
        )

    def run(self, *command: str) -> CompletedCommand:
        """Run a command and wait for its end."""
        with self.start(*command) as process:
            stdout, stderr = process.communicate(timeout=COMMAND_TIMEOUT)
        return CompletedCommand(process.returncode, stdout, stderr, {})

    def ad_hoc(self, module: str, arguments: str, *options: str) -> tuple[CompletedCommand, dict[str, Any]]:
        """Run one module on localhost with the command `ansible`. Return the command and the result of the module."""
        completed = self.run(
            "ansible", "-i", "localhost,", "-c", "local", "localhost", "-m", module, "-a", arguments, *options
        )
        return completed, json.loads(completed.stdout[completed.stdout.index("=> {") + 3 :])

    def play(
        self,
        tasks: Mapping[str, Mapping[str, Any]],
        *options: str,
        hosts: Mapping[str, Mapping[str, Any]] | None = None,
        separate_budgets: bool = False,
        **play_keywords: Any,
    ) -> CompletedCommand:
        """Run a playbook with one play. A task that fails does not end the play.

        Args:
            tasks: The tasks by name.
            options: Options of ansible-playbook.
            hosts: The hosts with their variables; localhost by default.
            separate_budgets: Give each task request budgets of its own, as if a minute passed before each task. A task
                keeps its budgets in XDG_STATE_HOME.
            play_keywords: Keywords of the play.
        """
        folder = self.folder / f"play{self._play_count}"
        self._play_count += 1
        folder.mkdir()
        if separate_budgets:
            tasks = {
                name: {**task, "environment": {"XDG_STATE_HOME": str(_make_folder(folder / f"state{number}"))}}
                for number, (name, task) in enumerate(tasks.items())
            }
        playbook = self._write_playbook(folder, tasks, hosts or {"localhost": {}}, play_keywords)
        completed = self.run("ansible-playbook", "-i", str(folder / "inventory.yml"), str(playbook), *options)
        assert completed.exit_status == 0, completed.output
        return completed._replace(
            results={
                path.name.removesuffix(".result"): json.loads(path.read_text()) for path in folder.glob("*.result")
            }
        )

    @staticmethod
    def _write_playbook(
        folder: Path, tasks: Mapping[str, Any], hosts: Mapping[str, Any], play_keywords: Mapping[str, Any]
    ) -> Path:
        inventory = {"all": {"hosts": hosts, "vars": {"ansible_connection": "local"}}}
        (folder / "inventory.yml").write_text(json.dumps(inventory))
        variables = {name: f"result_{number}" for number, name in enumerate(tasks)}
        all_results = ", ".join(f"{json.dumps(name)}: {variable}" for name, variable in variables.items())
        save_results = {
            "name": "Save the results",
            "save_results": {
                "content": f"{{{{ {{ {all_results} }} | to_json }}}}",
                "path": f"{folder}/{{{{ inventory_hostname }}}}.result",
            },
        }
        all_tasks = [
            *(
                {"name": name, **task, "register": variables[name], "ignore_errors": True}
                for name, task in tasks.items()
            ),
            save_results,
        ]
        play = {"name": "A play", "hosts": "all", "gather_facts": False, **play_keywords, "tasks": all_tasks}
        playbook = folder / "playbook.yml"
        playbook.write_text(json.dumps([play]))
        return playbook


def _make_folder(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the collection: as `make install` installed it, or with a link to the checkout."""
    installed = os.environ.get("ANSIBLE_COLLECTIONS_PATH")
    if installed and (Path(installed) / COLLECTION / "MANIFEST.json").is_file():
        return Path(installed)
    folder = tmp_path_factory.mktemp("collections")
    (folder / COLLECTION).parent.mkdir(parents=True)
    (folder / COLLECTION).symlink_to(ROOT)
    return folder


@pytest.fixture
def exchange() -> Exchange:
    """An exchange without rate limits, with one account."""
    exchange = Exchange(rate_limits=False)
    exchange.open_account("alpha")
    return exchange


@pytest.fixture
def account(exchange: Exchange) -> Account:
    return exchange.accounts[0]


@pytest.fixture
def sandbox(exchange: Exchange) -> Iterator[Sandbox]:
    with Sandbox(exchange) as served:
        yield served


@pytest.fixture
def ansible(collections: Path, sandbox: Sandbox) -> Iterator[Ansible]:
    """Ansible with the URL of the sandbox and the keys of the first account in its environment."""
    # tmp_path is too long: ansible-core 2.20 creates a socket in TMPDIR, whose path can have at most 107 characters.
    with TemporaryDirectory(prefix="ansible-") as folder:
        runner = Ansible(Path(folder), collections)
        runner.use_sandbox(sandbox)
        yield runner
