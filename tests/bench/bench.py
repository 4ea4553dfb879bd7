# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures the cost of tasks in real runs of ansible-playbook against the sandbox, and prints tables.

`make bench` runs it. Each round runs all variants, one after the other, so that other load on the machine affects all
of them. The cost of one task is the difference between a playbook with many tasks and a playbook with one task, divided
by the number of additional tasks. Ratios compare the variants of one round. The tables show medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import re
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
    """The elapsed time and the processor time of Ansible and the modules, in seconds."""

    wall: float
    cpu: float

    def __sub__(self, other: Cost) -> Cost:
        return Cost(self.wall - other.wall, self.cpu - other.cpu)

    def divided_by(self, number: float) -> Cost:
        return Cost(self.wall / number, self.cpu / number)


class Run(NamedTuple):
    """The cost of one run of ansible-playbook, and the numbers of requests that the exchange received."""

    cost: Cost
    requests: int
    writes: int
    rate_limited: int


def median_cost(costs: Iterable[Cost]) -> Cost:
    walls, cpus = zip(*costs, strict=True)
    return Cost(median(walls), median(cpus))


class Bench:
    """Runs playbooks with a copy of the collection.

    Args:
        folder: The folder for the copy and for temporary files.
        rate_limits: Whether the collection and the exchange use rate limits.
        action_plugins: Whether the copy has the action plugins. Without them, all tasks run as modules.
    """

    def __init__(self, folder: Path, rate_limits: bool, action_plugins: bool = True) -> None:
        self._folder = folder
        self.exchange = Exchange(rate_limits=rate_limits)
        self.account = self.exchange.open_account()
        self.exchange.list_many(60)
        self.symbols = [symbol for symbol in self.exchange.instruments if symbol.startswith("COIN")]
        self._collection = folder / "collections/ansible_collections/tradeops/coinswitch"
        shutil.copytree(ROOT / "plugins", self._collection / "plugins", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("meta", "playbooks", "roles"):
            shutil.copytree(ROOT / name, self._collection / name)
        shutil.copy(ROOT / "galaxy.yml", self._collection)
        if not action_plugins:
            shutil.rmtree(self._collection / "plugins/action")
        if not rate_limits:
            self._remove_rate_limits()

    def _remove_rate_limits(self) -> None:
        pacing = self._collection / "plugins/module_utils/_exchange/pacing.py"
        text = pacing.read_text(encoding="utf-8")
        changed = re.sub(r"(?m)^(WINDOW_SECONDS|MARGIN_SECONDS) = .*", r"\1 = 0.0", text)
        assert changed.count(" = 0.0\n") >= 2
        pacing.write_text(changed, encoding="utf-8")

    def play(
        self, tasks: Sequence[Task], hosts: Sequence[str] = ("localhost",), forks: int = 1, **keywords: Any
    ) -> Run:
        """Run a playbook with these tasks. All hosts are this machine. `keywords` replace keywords of the play."""
        play = {
            "hosts": "all",
            "connection": "local",
            "gather_facts": False,
            "vars": {"ansible_python_interpreter": "{{ ansible_playbook_python }}"},
            "tasks": list(tasks),
            **keywords,
        }
        with tempfile.TemporaryDirectory(dir=self._folder) as run_folder, Sandbox(self.exchange) as sandbox:
            playbook = Path(run_folder, "playbook.yml")
            playbook.write_text(json.dumps([play]), encoding="utf-8")
            first_request = len(self.exchange.requests)
            rate_limited = self.exchange.refused_by_rate_limit
            cost = self._measure(
                ["ansible-playbook", "-i", ",".join(hosts) + ",", "-f", str(forks), str(playbook)],
                self._environment(run_folder, sandbox.url),
            )
        requests = self.exchange.requests[first_request:]
        writes = sum(request.endpoint == "write_leverage" for request in requests)
        return Run(cost, len(requests), writes, self.exchange.refused_by_rate_limit - rate_limited)

    def _environment(self, run_folder: str, url: str) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": run_folder,
            "TMPDIR": run_folder,
            "XDG_STATE_HOME": run_folder,
            "LC_ALL": "C.UTF-8",
            "ANSIBLE_COLLECTIONS_PATH": str(self._folder / "collections"),
            "ANSIBLE_LIBRARY": str(ROOT / "tests/bench/library"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "COINSWITCH_API_URL": url,
            "COINSWITCH_API_KEY": self.account.api_key,
            "COINSWITCH_SECRET_KEY": self.account.secret_key,
        }

    def _measure(self, command: list[str], environment: Mapping[str, str]) -> Cost:
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        completed = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        if completed.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{completed.stdout}{completed.stderr}")
        return Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)

    def run_accounts(
        self, accounts: Sequence[Account], symbols: Sequence[str], playbook: str
    ) -> tuple[Cost, float, Any]:
        """Run a playbook with a fork for each account.

        Args:
            accounts: The hosts of the inventory.
            symbols: The symbols of the policy.
            playbook: The name or the path of the playbook.

        Returns:
            The cost, the memory in MiB while all accounts wait for the rate limit, and the report, if one was written.
        """
        keys = {
            account.name: {"coinswitch_api_key": account.api_key, "coinswitch_secret_key": account.secret_key}
            for account in accounts
        }
        with tempfile.TemporaryDirectory(dir=self._folder) as run_folder, Sandbox(self.exchange) as sandbox:
            report = Path(run_folder, "report.json")
            variables = {
                "ansible_python_interpreter": sys.executable,
                "coinswitch_api_url": sandbox.url,
                "leverage_policy": dict.fromkeys(symbols, 10),
                "leverage_report_json": str(report),
            }
            inventory = Path(run_folder, "inventory.yml")
            inventory.write_text(json.dumps({"desk": {"hosts": keys, "vars": variables}}), encoding="utf-8")
            before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
            process = subprocess.Popen(
                ["ansible-playbook", "-i", str(inventory), "-f", str(len(accounts)), playbook],
                env=self._environment(run_folder, sandbox.url),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            memory = 0.0
            # Only once, because reading the memory of 200 processes takes seconds of processor time.
            with suppress(subprocess.TimeoutExpired):
                process.wait(40)
            if process.poll() is None:
                memory = measure_memory(process.pid)
                process.wait()
            wall, after = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
            cost = Cost(wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
            return cost, memory, json.loads(report.read_text(encoding="utf-8")) if report.exists() else None

    def merge(self, parts: Path, folder: Path) -> Cost:
        """Merge the reports in a folder, and write all files to another one."""
        variables = {
            "leverage_parts": [str(parts / "*.json")],
            "leverage_report_json": str(folder / "merged.json"),
            "leverage_report_html": str(folder / "merged.html"),
            "leverage_report_summary": str(folder / "merged.txt"),
            "leverage_report_metrics": str(folder / "merged.prom"),
            # The accounts differ from the policy, but the merge itself must work.
            "leverage_fail": False,
        }
        command = ["ansible-playbook", "tradeops.coinswitch.merge", "-e", json.dumps(variables)]
        return self._measure(command, self._environment(str(folder), ""))

    def leverage_task(self, symbols: Sequence[str], **options: Any) -> Task:
        """Return a task for one or many symbols with the desired leverage 10."""
        desired = (
            {"symbol": symbols[0], "leverage": 10} if len(symbols) == 1 else {"leverages": dict.fromkeys(symbols, 10)}
        )
        return {MODULE: {**desired, **options}}

    def set_leverage(self, symbols: Sequence[str], leverage: int) -> None:
        for symbol in symbols:
            self.account.set_leverage(symbol, leverage)


def measure_memory(root_pid: int) -> float:
    """Return the memory of a process and its descendants in MiB. Shared memory counts once."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    pids = {root_pid}
    while children := {pid for pid, parent in parents.items() if parent in pids} - pids:
        pids |= children
    total = 0
    for pid in pids:
        with suppress(OSError, IndexError):
            total += int(Path(f"/proc/{pid}/smaps_rollup").read_text().split("\nPss:")[1].split()[0])
    return total / 1024


def as_module(task: Task) -> Task:
    """Return the task without direct execution."""
    return {**task, "vars": {"coinswitch_direct": False}}


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    print(f"\n## {title}\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for row in rows:
        print(
            "| " + " | ".join(f"{cell:.2f}" if isinstance(cell, float) else str(cell) for cell in row) + " |",
            flush=True,
        )


def measure_requests(bench: Bench) -> None:
    """Count the requests of a task, as the exchange receives them."""
    one_symbol, many_symbols = bench.symbols[:1], bench.symbols[:40]
    check = {"check_mode": True}
    rows: list[Sequence[object]] = []
    for name, symbols, before, keywords in (
        ("1 symbol, unchanged", one_symbol, 10, {}),
        ("1 symbol, changed", one_symbol, 5, {}),
        ("1 symbol, unchanged, check mode", one_symbol, 10, check),
        ("1 symbol, changed, check mode", one_symbol, 5, check),
        ("40 symbols, unchanged", many_symbols, 10, {}),
        ("40 symbols, changed", many_symbols, 5, {}),
        ("40 symbols, changed, check mode", many_symbols, 5, check),
    ):
        bench.set_leverage(symbols, before)
        run = bench.play([{**bench.leverage_task(symbols), **keywords}])
        rows.append((name, run.requests, run.writes))
    print_table("Requests of a task", ("task", "requests", "writes among them"), rows)


def measure_one_task(bench: Bench, rounds: int, tasks: int) -> None:
    """Compare the cost of one task with the cost of a module that does nothing."""
    symbols = bench.symbols[:1]
    nothing: Task = {"nothing": {}}
    changes = [bench.leverage_task(symbols, leverage=leverage) for leverage in (5, 10)]
    variants: dict[str, Iterable[Task]] = {
        "wrong input": [{**bench.leverage_task(symbols, leverage=0), "ignore_errors": True}],
        "unchanged": [bench.leverage_task(symbols)],
        "changed": changes,
    }
    loops: dict[str, Task] = {
        "wrong input": {**bench.leverage_task(symbols, leverage=0), "loop": list(range(10)), "ignore_errors": True},
        "unchanged": {**bench.leverage_task(symbols), "loop": list(range(10))},
        "changed": {**bench.leverage_task(symbols, leverage="{{ item }}"), "loop": [5, 10] * 5},
    }
    rows: dict[str, Iterable[Task]] = {
        "module that does nothing": [nothing],
        "the same with import of requests": [{"nothing": {"imports": ["requests"]}}],
        "the same with import of requests and cryptography": [
            {"nothing": {"imports": ["requests", "cryptography.hazmat.primitives.asymmetric.ed25519"]}}
        ],
        **{f"{name}, as a module": [as_module(task) for task in tasks] for name, tasks in variants.items()},
        **{f"{name}, directly": tasks for name, tasks in variants.items()},
        **{f"{name}, directly, one item of a loop": [task] for name, task in loops.items()},
    }
    item_counts = {f"{name}, directly, one item of a loop": 10 for name in loops}
    costs: dict[str, list[Cost]] = {name: [] for name in rows}
    for _round in range(rounds):
        for name, pattern in rows.items():
            bench.set_leverage(symbols, 10)
            one, many = (bench.play(list(islice(cycle(pattern), count))) for count in (1, 1 + tasks))
            costs[name].append((many.cost - one.cost).divided_by(tasks * item_counts.get(name, 1)))
    baseline = costs["module that does nothing"]

    def ratio(task_costs: list[Cost], seconds_of: Callable[[Cost], float]) -> float:
        """Compare each round with its own baseline, because the speed of a machine changes over minutes."""
        return median(seconds_of(cost) / seconds_of(base) for cost, base in zip(task_costs, baseline, strict=True))

    print_table(
        f"One task compared with a module that does nothing ({rounds} rounds of {tasks} tasks)",
        ("task", "CPU ms", "ratio", "wall ms", "ratio"),
        (
            (
                *(name, round(median_cost(task_costs).cpu * 1000), ratio(task_costs, lambda cost: cost.cpu)),
                *(round(median_cost(task_costs).wall * 1000), ratio(task_costs, lambda cost: cost.wall)),
            )
            for name, task_costs in costs.items()
        ),
    )


def measure_many_symbols(bench: Bench, rounds: int) -> None:
    """Compare 40 symbols in one task, in a loop and on 40 hosts."""
    symbols = bench.symbols[:40]
    loop_task = {MODULE: {"symbol": "{{ item }}", "leverage": 10}, "loop": symbols}
    host_task = {MODULE: {"symbol": "{{ inventory_hostname }}", "leverage": 10}}
    variants: dict[str, Callable[[], Run]] = {
        "playbook without tasks": lambda: bench.play([]),
        "one task with leverages": lambda: bench.play([bench.leverage_task(symbols)]),
        "loop of 40 tasks": lambda: bench.play([loop_task]),
        "40 hosts, 10 forks": lambda: bench.play([host_task], symbols, forks=10),
        "loop of 40 tasks, as modules": lambda: bench.play([as_module(loop_task)]),
        "40 hosts, 10 forks, as modules": lambda: bench.play([as_module(host_task)], symbols, forks=10),
        "40 hosts, 10 forks, module that does nothing": lambda: bench.play([{"nothing": {}}], symbols, forks=10),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in variants}
    for _round in range(rounds):
        bench.set_leverage(symbols, 10)
        for name, play in variants.items():
            costs[name].append(play().cost)
    medians = {name: median_cost(runs) for name, runs in costs.items()}
    ansible_start = medians.pop("playbook without tasks")
    task_costs = {name: cost - ansible_start for name, cost in medians.items()}
    loop = task_costs["loop of 40 tasks, as modules"]
    print_table(
        f"40 symbols, unchanged, no rate limits ({rounds} rounds, without the start of Ansible)",
        ("variant", "wall s", "ratio to the loop of modules", "CPU s", "ratio to the loop of modules"),
        ((name, cost.wall, cost.wall / loop.wall, cost.cpu, cost.cpu / loop.cpu) for name, cost in task_costs.items()),
    )


def measure_settings(bench: Bench, rounds: int) -> None:
    """Measure how settings of the user change the cost of a playbook with one task.

    The task does nothing, because the Python that Ansible finds by itself may not have the libraries.
    """
    task: list[Task] = [{"nothing": {}}]
    variants: dict[str, Callable[[], Run]] = {
        "as in the examples": lambda: bench.play(task),
        "with gather_facts: true": lambda: bench.play(task, gather_facts=True),
        "without ansible_python_interpreter": lambda: bench.play(task, vars={}),
    }
    costs: dict[str, list[Cost]] = {name: [] for name in variants}
    for _round in range(rounds):
        for name, play in variants.items():
            costs[name].append(play().cost)
    medians = {name: median_cost(runs) for name, runs in costs.items()}
    usual = medians["as in the examples"]
    print_table(
        f"Playbook with one task that does nothing, with the start of Ansible ({rounds} rounds)",
        ("settings", "wall s", "ratio to the first", "CPU s", "ratio to the first"),
        ((name, cost.wall, cost.wall / usual.wall, cost.cpu, cost.cpu / usual.cpu) for name, cost in medians.items()),
    )


def measure_rate_limits(bench: Bench) -> None:
    """Measure 24 symbols, 12 of which change. The documented rate limits need at least 60 s."""
    symbols = bench.symbols[:24]
    bench.set_leverage(symbols, 10)
    bench.set_leverage(symbols[::2], 5)
    run = bench.play([bench.leverage_task(symbols)])
    print_table(
        "24 symbols, 12 change, documented rate limits",
        ("wall s", "ratio to the minimum (60 s)", "requests", "writes among them", "answered 429"),
        [(run.cost.wall, run.cost.wall / 60, run.requests, run.writes, run.rate_limited)],
    )


def measure_handover(bench: Bench, without_actions: Bench, rounds: int) -> None:
    """Measure what a run pays once for the decision that its task must run as a module."""
    benches = {"with the action plugins": bench, "without them": without_actions}
    costs: dict[str, list[Cost]] = {name: [] for name in benches}
    for _round in range(rounds):
        for name, each in benches.items():
            costs[name].append(each.play([as_module(each.leverage_task(each.symbols[:1]))]).cost)
    differences = [a - b for a, b in zip(*costs.values(), strict=True)]
    print_table(
        f"Playbook with one task that runs as a module ({rounds} rounds)",
        ("collection", "wall s", "CPU s"),
        [
            *((name, *median_cost(runs)) for name, runs in costs.items()),
            ("difference", *median_cost(differences)),
        ],
    )


# The playbook drift does more: it validates variables, and writes a report.
ONE_TASK_PLAYBOOK = [
    {
        "name": "Read the leverage of each account",
        "hosts": "all",
        "connection": "local",
        "gather_facts": False,
        "check_mode": True,
        "tasks": [
            {
                "name": "Compare the policy",
                MODULE: {
                    "api_key": "{{ coinswitch_api_key }}",
                    "secret_key": "{{ coinswitch_secret_key }}",
                    "api_url": "{{ coinswitch_api_url }}",
                    "leverages": "{{ leverage_policy }}",
                },
            }
        ],
    }
]


def measure_many_accounts(bench: Bench, folder: Path, accounts: int = 200, symbols: int = 30) -> None:
    """Measure a drift check of many accounts. The documented rate limits need at least 60 s."""
    one_task = folder / "one_task.yml"
    one_task.write_text(json.dumps(ONE_TASK_PLAYBOOK), encoding="utf-8")
    names = bench.symbols[:symbols]
    rows: list[Sequence[object]] = []
    for title, playbook in (("one task", str(one_task)), ("tradeops.coinswitch.drift", "tradeops.coinswitch.drift")):
        # New accounts have new request budgets.
        all_accounts = [bench.exchange.open_account(f"{title}-{number:03}") for number in range(accounts)]
        for number, account in enumerate(all_accounts):
            for symbol in names:
                account.set_leverage(symbol, 10)
            account.set_leverage(names[number % symbols], 20)
        cost, memory, report = bench.run_accounts(all_accounts, names, playbook)
        found = f"{len(report['findings'])} of {accounts}" if report else ""
        rate_limited = bench.exchange.refused_by_rate_limit
        rows.append((title, cost.wall, cost.wall / 60, memory / accounts, found, rate_limited))
    print_table(
        f"{accounts} accounts with {symbols} symbols each, {accounts} forks, documented rate limits",
        ("playbook", "wall s", "ratio to the minimum (60 s)", "MiB for each account", "drifts found", "answered 429"),
        rows,
    )


def measure_slices(bench: Bench, folder: Path, slices: int = 5, accounts: int = 200, symbols: int = 30) -> None:
    """Measure a drift check of many accounts in slices, one after the other, and the merge of their reports."""
    names = bench.symbols[:symbols]
    rows: list[Sequence[object]] = []
    parts = folder / "parts"
    parts.mkdir()
    for part in range(slices):
        all_accounts = [bench.exchange.open_account(f"slice{part}-{number:03}") for number in range(accounts)]
        for number, account in enumerate(all_accounts):
            for symbol in names:
                account.set_leverage(symbol, 10)
            account.set_leverage(names[number % symbols], 20)
        cost, memory, report = bench.run_accounts(all_accounts, names, "tradeops.coinswitch.drift")
        (parts / f"slice{part}.json").write_text(json.dumps(report), encoding="utf-8")
        rows.append((f"slice {part + 1}", cost.wall, cost.cpu, memory / accounts, f"{os.getloadavg()[0]:.1f}"))
    cost = bench.merge(parts, folder)
    rows.append(("merge", cost.wall, cost.cpu, "", f"{os.getloadavg()[0]:.1f}"))
    print_table(
        f"{slices} slices of {accounts} accounts with {symbols} symbols each, {accounts} forks",
        ("run", "wall s", "CPU s", "MiB for each account", "load of the machine"),
        rows,
    )
    sizes = [[path.name, path.stat().st_size / 2**20] for path in sorted(folder.glob("merged.*"))]
    print_table("Files of the merged report", ("file", "MiB"), sizes)


def main() -> None:
    """Print the tables. --slow adds the tables that take minutes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--slow", action="store_true", help="more rounds, and the tables with the documented rate limits"
    )
    slow = parser.parse_args().slow
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        unlimited = Bench(Path(folder, "unlimited"), rate_limits=False)
        measure_requests(unlimited)
        measure_one_task(unlimited, rounds=7 if slow else 2, tasks=10 if slow else 6)
        measure_many_symbols(unlimited, rounds=3 if slow else 1)
        without_actions = Bench(Path(folder, "without-actions"), rate_limits=False, action_plugins=False)
        measure_handover(unlimited, without_actions, rounds=7 if slow else 3)
        if slow:
            measure_settings(unlimited, rounds=5)
            limited = Bench(Path(folder, "limited"), rate_limits=True)
            measure_rate_limits(limited)
            measure_many_accounts(limited, Path(folder))
            measure_slices(limited, Path(folder))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
