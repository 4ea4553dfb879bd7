# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real Ansible, in a home of its own, against an exchange on this machine."""

from __future__ import annotations

import json
import os
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

# Found only now that its folder is on the path.
from sandbox import Account, Exchange, Sandbox  # noqa: E402

# The oldest Python that the modules of this ansible-core run on: `make integration` sets it up where it is.
OLDEST_TARGET = "3.8" if ansible_version.startswith("2.19.") else "3.9"
TARGET = ROOT / f".cache/nox/target-{OLDEST_TARGET.replace('.', '-')}/bin/python"

COLLECTION = Path("ansible_collections/tradeops/coinswitch")
GROUP = "group/tradeops.coinswitch.coinswitch"
TIME_LIMIT = 300


def pytest_report_header() -> str:
    modules = OLDEST_TARGET if TARGET.exists() else f"its own Python, since there is no Python {OLDEST_TARGET}"
    return f"ansible-core {ansible_version}, modules on {modules}"


class Outcome(NamedTuple):
    """How a command ended; `results` is what its tasks registered, by host and by the task's name."""

    status: int
    stdout: str
    stderr: str
    results: dict[str, dict[str, Any]]

    @property
    def local(self) -> dict[str, Any]:
        """The results of the one host, localhost."""
        return self.results["localhost"]


class Ansible:
    """Runs commands of ansible-core with the collection in place, and nothing else of the machine's user.

    `variables` is the environment; HOME and TMPDIR are below `folder`.
    """

    def __init__(self, folder: Path, collections: Path) -> None:
        self.folder = folder
        self._plays = 0
        self.variables = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(folder / "home"),
            "TMPDIR": str(folder / "tmp"),
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(collections),
            "ANSIBLE_PIPELINING": "true",
            "ANSIBLE_PYTHON_INTERPRETER": str(TARGET if TARGET.exists() else sys.executable),
        }
        for name in ("home", "tmp"):
            (folder / name).mkdir()

    def reach(self, sandbox: Sandbox) -> None:
        """Let the environment say where the exchange is, and the first account's keys."""
        self.variables.update(
            COINSWITCH_API_URL=sandbox.url,
            COINSWITCH_API_KEY=sandbox.exchange.accounts[0].api_key,
            COINSWITCH_SECRET_KEY=sandbox.exchange.accounts[0].secret_key,
        )

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Begin a command, in a process group of its own."""
        return subprocess.Popen(
            command,
            env=self.variables,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *command: str) -> Outcome:
        """Run a command to its end."""
        with self.start(*command) as process:
            stdout, stderr = process.communicate(timeout=TIME_LIMIT)
        return Outcome(process.returncode, stdout, stderr, {})

    def ad_hoc(self, module: str, arguments: str, *options: str) -> tuple[Outcome, dict[str, Any]]:
        """Run one module on localhost: how the command ended, and the module's result."""
        outcome = self.run(
            "ansible", "-i", "localhost,", "-c", "local", "localhost", "-m", module, "-a", arguments, *options
        )
        return outcome, json.loads(outcome.stdout[outcome.stdout.index("=> {") + 3 :])

    def play(
        self,
        tasks: Mapping[str, Mapping[str, Any]],
        *options: str,
        hosts: Mapping[str, Mapping[str, Any]] | None = None,
        own_budgets: bool = False,
        **keywords: Any,
    ) -> Outcome:
        """Run a playbook of one play over the hosts (with their variables), all tasks whatever becomes of each.

        With `own_budgets`, each task has the request budgets to itself, as if a minute lay between them: they are kept
        below TMPDIR. `keywords` are the play's own.
        """
        folder = self.folder / f"play{self._plays}"
        self._plays += 1
        folder.mkdir()
        if own_budgets:
            tasks = {
                name: {**task, "environment": {"TMPDIR": str(_made(folder / f"tmp{number}"))}}
                for number, (name, task) in enumerate(tasks.items())
            }
        playbook = self._playbook(folder, tasks, hosts or {"localhost": {}}, keywords)
        outcome = self.run("ansible-playbook", "-i", str(folder / "inventory.yml"), str(playbook), *options)
        assert outcome.status == 0, outcome.stdout + outcome.stderr
        return outcome._replace(
            results={
                path.name.removesuffix(".result"): json.loads(path.read_text()) for path in folder.glob("*.result")
            }
        )

    @staticmethod
    def _playbook(
        folder: Path, tasks: Mapping[str, Any], hosts: Mapping[str, Any], keywords: Mapping[str, Any]
    ) -> Path:
        common = {"ansible_connection": "local"}
        inventory = {"all": {"hosts": hosts, "vars": common}}
        (folder / "inventory.yml").write_text(json.dumps(inventory))
        registered = {name: f"result_{number}" for number, name in enumerate(tasks)}
        everything = ", ".join(f"{json.dumps(name)}: {variable}" for name, variable in registered.items())
        keep = {
            "name": "Keep the results",
            "ansible.builtin.copy": {
                "content": f"{{{{ {{ {everything} }} | to_json }}}}",
                "dest": f"{folder}/{{{{ inventory_hostname }}}}.result",
                "mode": "0600",
            },
            "check_mode": False,
            "diff": False,
        }
        steps = [
            {"name": name, **task, "register": registered[name], "ignore_errors": True} for name, task in tasks.items()
        ]
        play = {"name": "A play", "hosts": "all", "gather_facts": False, **keywords, "tasks": [*steps, keep]}
        playbook = folder / "playbook.yml"
        playbook.write_text(json.dumps([play]))
        return playbook


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def collections(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the collection is: installed from its artifact by `make test`; else the checkout, under its right name."""
    installed = os.environ.get("ANSIBLE_COLLECTIONS_PATH")
    if installed and (Path(installed) / COLLECTION / "MANIFEST.json").is_file():
        return Path(installed)
    folder = tmp_path_factory.mktemp("collections")
    (folder / COLLECTION).parent.mkdir(parents=True)
    (folder / COLLECTION).symlink_to(ROOT)
    return folder


@pytest.fixture
def exchange() -> Exchange:
    """An exchange without rate limits, and with one account."""
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
    """Ansible whose environment holds the keys of the first account."""
    # Not in tmp_path: below TMPDIR ansible-core 2.20 has a socket, and the path of one is at most 107 characters long.
    with TemporaryDirectory(prefix="ansible-") as folder:
        runner = Ansible(Path(folder), collections)
        runner.reach(sandbox)
        yield runner
