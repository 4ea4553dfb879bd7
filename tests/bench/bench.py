# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tasks cost: real ansible-playbook runs against the sandbox, printed as tables. `make bench` runs it.

Ratios come from interleaved runs, so that what else the machine does falls on all alike: of one task's cost, the slope
between playbooks of few and of many tasks, each against the floor of its own round, medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "extensions"))

from sandbox import Account, Exchange, Sandbox

ROOT = Path(__file__).resolve().parents[2]
MODULE = "tradeops.coinswitch.futures_leverage"
Task = dict[str, Any]


class Cost(NamedTuple):
    """Seconds: by the clock, and of the processors for Ansible and the modules together."""

    wall: float
    cpu: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu)

    def over(self, parts: float) -> Cost:
        return Cost(self.wall / parts, self.cpu / parts)


class Run(NamedTuple):
    """One run of ansible-playbook: its cost, and what the exchange received."""

    cost: Cost
    requests: int
    writes: int
    refused: int


def middle(costs: Iterable[Cost]) -> Cost:
    walls, cpus = zip(*costs, strict=True)
    return Cost(median(walls), median(cpus))


class Bench:
    """Runs playbooks with the collection as it is; `lifted`: with rate limits neither kept here nor there."""

    def __init__(self, folder: Path, lifted: bool) -> None:
        self._folder = folder
        self.exchange = Exchange(rate_limits=not lifted)
        self.account = self.exchange.open_account()
        self.exchange.list_many(60)
        self.symbols = [symbol for symbol in self.exchange.instruments if symbol.startswith("COIN")]
        self._collection = folder / "collections/ansible_collections/tradeops/coinswitch"
        shutil.copytree(ROOT / "plugins", self._collection / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("meta", "playbooks", "roles"):
            shutil.copytree(ROOT / name, self._collection / name)
        shutil.copy(ROOT / "galaxy.yml", self._collection)
        if lifted:
            self._lift_limits()

    def _lift_limits(self) -> None:
        pacing = self._collection / "plugins/module_utils/_pacing.py"
        text = pacing.read_text(encoding="utf-8")
        lifted = text.replace("\nWINDOW = 60.0\n", "\nWINDOW = 0.0\n").replace("\nMARGIN = 0.1\n", "\nMARGIN = 0.0\n")
        assert lifted.count(" = 0.0\n") >= 2
        pacing.write_text(lifted, encoding="utf-8")

    def play(self, tasks: Sequence[Task], hosts: Sequence[str] = ("localhost",), forks: int = 1, **changes: Any) -> Run:
        """Run a playbook of these tasks on the hosts, all of them this machine; `changes` are of the play."""
        play = {
            "hosts": "all",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
            "tasks": list(tasks),
            **changes,
        }
        with tempfile.TemporaryDirectory(dir=self._folder) as fresh, Sandbox(self.exchange) as sandbox:
            playbook = Path(fresh, "playbook.yml")
            playbook.write_text(json.dumps([play]), encoding="utf-8")
            received = len(self.exchange.requests)
            refused = self.exchange.refused_by_rate_limit
            cost = self._timed(
                ["ansible-playbook", "-i", ",".join(hosts) + ",", "-f", str(forks), str(playbook)],
                self._environment(fresh, sandbox.url),
            )
        requests = self.exchange.requests[received:]
        writes = sum(request.endpoint == "write_leverage" for request in requests)
        return Run(cost, len(requests), writes, self.exchange.refused_by_rate_limit - refused)

    def _environment(self, fresh: str, url: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": fresh,
            "TMPDIR": fresh,
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(self._folder / "collections"),
            "ANSIBLE_LIBRARY": str(ROOT / "tests/bench/library"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "COINSWITCH_API_URL": url,
            "COINSWITCH_API_KEY": self.account.api_key,
            "COINSWITCH_SECRET_KEY": self.account.secret_key,
        }

    def _timed(self, command: list[str], environment: Mapping[str, str]) -> Cost:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if ended.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{ended.stdout}{ended.stderr}")
        return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    def drift(self, accounts: Sequence[Account], symbols: Sequence[str]) -> tuple[float, float, Any]:
        """Check all accounts for drift, a fork for each: the seconds, the most memory in MiB, and the report."""
        keys = {
            account.name: {"coinswitch_api_key": account.api_key, "coinswitch_secret_key": account.secret_key}
            for account in accounts
        }
        with tempfile.TemporaryDirectory(dir=self._folder) as fresh, Sandbox(self.exchange) as sandbox:
            variables = {
                "coinswitch_api_url": sandbox.url,
                "leverage_policy": dict.fromkeys(symbols, 10),
                "leverage_report_json": f"{fresh}/report.json",
            }
            inventory = Path(fresh, "inventory.yml")
            inventory.write_text(json.dumps({"desk": {"hosts": keys, "vars": variables}}), encoding="utf-8")
            command = ["ansible-playbook", "-i", str(inventory), "-f", str(len(accounts))]
            start = time.perf_counter()
            process = subprocess.Popen(
                [*command, "tradeops.coinswitch.drift"],
                env=self._environment(fresh, sandbox.url),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            memory = 0.0
            while process.poll() is None:
                memory = max(memory, proportional_memory(process.pid))
                # Seldom: to read the memory of 200 processes takes seconds itself.
                with suppress(subprocess.TimeoutExpired):
                    process.wait(20)
            wall = time.perf_counter() - start
            return wall, memory, json.loads(Path(fresh, "report.json").read_text(encoding="utf-8"))

    def leverage(self, symbols: Sequence[str], **options: Any) -> Task:
        """A task for one symbol at leverage 10, or for many."""
        desired = (
            {"symbol": symbols[0], "leverage": 10} if len(symbols) == 1 else {"leverages": dict.fromkeys(symbols, 10)}
        )
        return {MODULE: {**desired, **options}}

    def leave(self, symbols: Sequence[str], leverage: int) -> None:
        """Put a leverage in force, as if somebody else had."""
        for symbol in symbols:
            self.account.set_leverage(symbol, leverage)


def proportional_memory(root: int) -> float:
    """The memory of a process and all below it in MiB: what they share counts once."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    family = {root}
    while more := {process for process, parent in parents.items() if parent in family} - family:
        family |= more
    total = 0
    for process in family:
        with suppress(OSError, IndexError):
            total += int(Path(f"/proc/{process}/smaps_rollup").read_text().split("\nPss:")[1].split()[0])
    return total / 1024


def as_module(task: Task) -> Task:
    """The task, never run directly in the controller."""
    return {**task, "vars": {"coinswitch_direct": False}}


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print(f"\n## {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(
            "| " + " | ".join(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row) + " |",
            flush=True,
        )


def show_requests(bench: Bench) -> None:
    """How many requests a task sends: counted by the exchange, exact."""
    one, many = bench.symbols[:1], bench.symbols[:40]
    check = {"check_mode": True}
    rows: list[Sequence[object]] = []
    for name, symbols, before, extra in (
        ("1 symbol, unchanged", one, 10, {}),
        ("1 symbol, changed", one, 5, {}),
        ("1 symbol, unchanged, check mode", one, 10, check),
        ("1 symbol, changed, check mode", one, 5, check),
        ("40 symbols, unchanged", many, 10, {}),
        ("40 symbols, changed", many, 5, {}),
        ("40 symbols, changed, check mode", many, 5, check),
    ):
        bench.leave(symbols, before)
        run = bench.play([{**bench.leverage(symbols), **extra}])
        rows.append((name, run.requests, run.writes))
    table("Requests of a task", ("task", "requests", "of them writes"), rows)


def show_floor(bench: Bench, rounds: int, tasks: int) -> None:
    """What one task costs over a module that does nothing."""
    symbols = bench.symbols[:1]
    nothing: Task = {"nothing": {}}
    there_and_back = [bench.leverage(symbols, leverage=leverage) for leverage in (5, 10)]
    ways: dict[str, Iterable[Task]] = {
        "an input that is refused": [{**bench.leverage(symbols, leverage=0), "ignore_errors": True}],
        "unchanged": [bench.leverage(symbols)],
        "changed": there_and_back,
    }
    loop: Task = {**bench.leverage(symbols), "loop": list(range(10))}
    rows: dict[str, Iterable[Task]] = {
        "a module that does nothing": [nothing],
        "the same, importing requests": [{"nothing": {"imports": ["requests"]}}],
        "the same, importing requests and cryptography": [
            {"nothing": {"imports": ["requests", "cryptography.hazmat.primitives.asymmetric.ed25519"]}}
        ],
        **{f"{name}, as a module": [as_module(task) for task in tasks] for name, tasks in ways.items()},
        **{f"{name}, directly": tasks for name, tasks in ways.items()},
        "unchanged, directly, an item of a loop": [loop],
    }
    items = {"unchanged, directly, an item of a loop": 10}
    costs: dict[str, list[Cost]] = {name: [] for name in rows}
    for _round in range(rounds):
        for name, pattern in rows.items():
            bench.leave(symbols, 10)
            few, many = (bench.play(list(islice(cycle(pattern), count))) for count in (1, 1 + tasks))
            costs[name].append((many.cost - few.cost).over(tasks * items.get(name, 1)))
    floor = costs["a module that does nothing"]

    def over_the_floor(each: list[Cost], of: Callable[[Cost], float]) -> float:
        """Each round against its own floor: a machine's speed changes over minutes."""
        return median(of(cost) / of(least) for cost, least in zip(each, floor, strict=True))

    table(
        f"One task over the floor ({rounds} rounds of {tasks} tasks)",
        ("task", "CPU ms", "over the floor", "wall ms", "over the floor"),
        (
            (
                *(name, round(middle(each).cpu * 1000), over_the_floor(each, lambda cost: cost.cpu)),
                *(round(middle(each).wall * 1000), over_the_floor(each, lambda cost: cost.wall)),
            )
            for name, each in costs.items()
        ),
    )


def show_forty(bench: Bench, rounds: int) -> None:
    """Forty symbols in one task, in a loop, and on as many hosts."""
    symbols = bench.symbols[:40]
    each = {MODULE: {"symbol": "{{ item }}", "leverage": 10}, "loop": symbols}
    of_host = {MODULE: {"symbol": "{{ inventory_hostname }}", "leverage": 10}}
    ways: dict[str, Callable[[], Run]] = {
        "a playbook without tasks": lambda: bench.play([]),
        "one task with leverages": lambda: bench.play([bench.leverage(symbols)]),
        "a loop of 40 tasks": lambda: bench.play([each]),
        "40 hosts, 10 forks": lambda: bench.play([of_host], symbols, forks=10),
        "a loop of 40 tasks, as modules": lambda: bench.play([as_module(each)]),
        "40 hosts, 10 forks, as modules": lambda: bench.play([as_module(of_host)], symbols, forks=10),
        "40 hosts, 10 forks, a module that does nothing": lambda: bench.play([{"nothing": {}}], symbols, forks=10),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for _round in range(rounds):
        bench.leave(symbols, 10)
        for name, play in ways.items():
            costs[name].append(play().cost)
    middles = {name: middle(runs) for name, runs in costs.items()}
    start = middles.pop("a playbook without tasks")
    own = {name: cost - start for name, cost in middles.items()}
    loop = own["a loop of 40 tasks, as modules"]
    table(
        f"40 symbols, unchanged, limits lifted ({rounds} rounds; Ansible's own start taken off)",
        ("way", "wall s", "over the loop of modules", "CPU s", "over the loop of modules"),
        ((name, cost.wall, cost.wall / loop.wall, cost.cpu, cost.cpu / loop.cpu) for name, cost in own.items()),
    )


def show_settings(bench: Bench, rounds: int) -> None:
    """What a user's own settings make of a playbook with one task.

    The task does nothing, since a Python that is found without being named need not have the libraries.
    """
    task: list[Task] = [{"nothing": {}}]
    ways: dict[str, Callable[[], Run]] = {
        "as the examples have it": lambda: bench.play(task),
        "with gather_facts: true": lambda: bench.play(task, gather_facts=True),
        "without ansible_python_interpreter": lambda: bench.play(task, vars={}),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in ways}
    for _round in range(rounds):
        for name, play in ways.items():
            costs[name].append(play().cost)
    middles = {name: middle(runs) for name, runs in costs.items()}
    usual = middles["as the examples have it"]
    table(
        f"A playbook of one task that does nothing, Ansible's start included ({rounds} rounds)",
        ("settings", "wall s", "over the first", "CPU s", "over the first"),
        ((name, cost.wall, cost.wall / usual.wall, cost.cpu, cost.cpu / usual.cpu) for name, cost in middles.items()),
    )


def show_pace(bench: Bench) -> None:
    """24 symbols, 12 of them to be changed, at the documented limits, which permit no less than 60 s."""
    symbols = bench.symbols[:24]
    bench.leave(symbols, 10)
    bench.leave(symbols[::2], 5)
    run = bench.play([bench.leverage(symbols)])
    table(
        "24 symbols, 12 to be changed, documented limits",
        ("wall s", "over the least (60 s)", "requests", "of them writes", "answered 429"),
        [(run.cost.wall, run.cost.wall / 60, run.requests, run.writes, run.refused)],
    )


def show_desk(bench: Bench, accounts: int = 200, symbols: int = 30) -> None:
    """Many accounts with many symbols, at the documented limits, which permit no less than 60 s."""
    names = bench.symbols[:symbols]
    each = [bench.exchange.open_account(f"account-{number:03}") for number in range(accounts)]
    for number, account in enumerate(each):
        for symbol in names:
            account.set_leverage(symbol, 10)
        account.set_leverage(names[number % symbols], 20)
    wall, memory, report = bench.drift(each, names)
    table(
        f"Drift check of {accounts} accounts with {symbols} symbols each, {accounts} forks, documented limits",
        ("wall s", "over the least (60 s)", "MiB for each account", "drifts found", "answered 429"),
        [(wall, wall / 60, memory / accounts, len(report["findings"]), bench.exchange.refused_by_rate_limit)],
    )


def main() -> None:
    """Print the tables; --slow adds the rows that take minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--slow", action="store_true", help="more rounds, and the rows at the documented limits")
    slow = parser.parse_args().slow
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        lifted = Bench(Path(folder, "lifted"), lifted=True)
        show_requests(lifted)
        show_floor(lifted, rounds=7 if slow else 2, tasks=10 if slow else 6)
        show_forty(lifted, rounds=3 if slow else 1)
        if slow:
            show_settings(lifted, rounds=5)
            paced = Bench(Path(folder, "paced"), lifted=False)
            show_pace(paced)
            show_desk(paced)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
