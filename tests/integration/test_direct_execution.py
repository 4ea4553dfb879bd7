# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tasks run directly in the controller and as modules: the same results, the same output, the same requests."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import FAULTS, Account, Exchange, Fault, Sandbox

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible, Outcome

MODULE = "tradeops.coinswitch.futures_leverage"
WALLET = "tradeops.coinswitch.futures_wallet_info"
BTC = {"symbol": "BTCUSDT", "leverage": 13}

# The state is the same at the start of each way. Twenty reads of leverage fit into the request budget, so the other
# tasks read the wallet.
TASKS: dict[str, dict[str, Any]] = {
    "check mode": {MODULE: BTC, "check_mode": True, "diff": True},
    "changed": {MODULE: BTC, "diff": True},
    "unchanged": {MODULE: BTC},
    "many": {MODULE: {"leverages": {"ethusdt": "5", "SOLUSDT": 3}}, "diff": True},
    "blocked": {MODULE: {"symbol": "XRPUSDT", "leverage": 20}},
    "blocked, warned of": {MODULE: {"symbol": "XRPUSDT", "leverage": 20, "on_blocked": "warn"}},
    "impossible": {MODULE: {"symbol": "BTCUSDT", "leverage": 99}},
    "a mistyped symbol": {MODULE: {"symbol": "BTC/USDT", "leverage": 5}},
    "a fraction": {MODULE: {"symbol": "BTCUSDT", "leverage": "10.0"}},
    "a boolean": {MODULE: {"symbol": "BTCUSDT", "leverage": True}},
    "nothing": {MODULE: {"symbol": "BTCUSDT", "leverage": None}},
    "a template": {MODULE: {"symbol": "{{ 'btc' ~ 'usdt' }}", "leverage": "{{ 6 + 7 }}"}},
    "a table from a template": {MODULE: {"leverages": "{{ {'BTCUSDT': 13, 'ETHUSDT': 5} }}"}},
    "too little": {MODULE: {"symbol": "BTCUSDT"}},
    "too much": {MODULE: {**BTC, "leverages": {"ETHUSDT": 5}}},
    "an unknown option": {MODULE: {**BTC, "speed": 5}},
    "a wrong choice": {MODULE: {**BTC, "enforce": "minimum"}},
    "a short secret": {MODULE: {**BTC, "secret_key": "ab" * 31 + "c"}},
    "keys that are no pair": {MODULE: {**BTC, "secret_key": "11" * 32}},
    "no certificate": {MODULE: {**BTC, "validate_certs": False}},
    "a file that is not there": {MODULE: {**BTC, "ca_path": "here/there.pem"}},
    "a loop": {MODULE: {"symbol": "{{ item }}", "leverage": 7}, "loop": ["ADAUSDT", "DOTUSDT", "no such"]},
    "until": {WALLET: {}, "until": "result_22 is success", "retries": 1, "delay": 0},
    "changed_when": {WALLET: {}, "changed_when": True},
    "failed_when": {WALLET: {"retries": -1}, "failed_when": False},
    "delegated": {WALLET: {}, "delegate_to": "localhost"},
    "once": {WALLET: {}, "run_once": True},
    "hidden": {WALLET: {}, "no_log": True},
    "an environment": {WALLET: {}, "environment": {"COINSWITCH_API_KEY": "zz"}},
    "another environment": {WALLET: {}, "environment": {"TZ": "UTC"}},
    "asynchronous": {WALLET: {}, "async": 30, "poll": 1},
    "a default": {WALLET: {}, "module_defaults": {WALLET: {"exchange": "exchange_2"}}},
    "a default of the group": {
        WALLET: {},
        "module_defaults": {"group/tradeops.coinswitch.coinswitch": {"retries": -1}},
    },
    "instruments": {"tradeops.coinswitch.futures_instrument_info": {"symbols": ["BTCUSDT"]}},
    "positions": {"tradeops.coinswitch.futures_position_info": {"symbols": ["XRPUSDT"]}},
    "orders": {"tradeops.coinswitch.futures_order_info": {}},
    "wallet": {"tradeops.coinswitch.futures_wallet_info": {}},
}
# What only a task that runs as a module can be.
AS_MODULE = {"another environment", "asynchronous"}
# What differs from one run to the next, or is made by core for a module's process alone.
VOLATILE = (
    *("ansible_job_id", "results_file", "start", "end", "delta", "started", "finished", "stdout", "stderr"),
    "failed_when_suppressed_exception",
)


def run_both_ways(ansible: Ansible, exchange: Exchange, account: Account, *options: str) -> list[Outcome]:
    ansible.variables["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable
    outcomes = []
    for direct in ("true", "false"):
        ansible.variables["COINSWITCH_DIRECT"] = direct
        account.leverage.clear()
        account.leverage.update(dict.fromkeys(["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT", "DOTUSDT"], 10))
        exchange.requests.clear()
        # Budgets of its own, as if a minute lay between the ways.
        ansible.variables["TMPDIR"] = str(ansible.folder / f"tmp-{direct}")
        os.makedirs(ansible.variables["TMPDIR"], exist_ok=True)
        outcomes.append(ansible.play(TASKS, *options))
        outcomes[-1].results["requests"] = {"sent": [(r.endpoint, r.symbol, r.status) for r in exchange.requests]}
    return outcomes


def comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: comparable(item) for name, item in value.items() if name not in VOLATILE}
    return [comparable(item) for item in value] if isinstance(value, list) else value


def lines(output: str) -> list[str]:
    """The printed lines but for those that core prints of a module's file, and for times and ports."""
    before_the_results, _keep, _results = output.partition("TASK [Keep the results]")
    kept = [line for line in before_the_results.splitlines() if not re.search(CORES_OWN, line)]
    text = re.sub(r"Task failed: (Action|Module) failed", "Task failed", "\n".join(kept))
    return re.sub(r"play\d+|\d+\.\d+ ?s|[0-9a-f]{8}-[0-9a-f-]{27}|j\d+\.\d+|/tmp/\S+", "", text).splitlines()


CORES_OWN = (
    "ESTABLISH LOCAL CONNECTION|EXEC |PUT |Using module file|Pipelining is enabled|directly in the controller|"
    "runs as a module|failed_when_suppressed_exception|TRACEBACK|ASYNC|async|results_file|task path"
)


@pytest.mark.every_core
def test_both_ways_are_the_same(ansible: Ansible, exchange: Exchange, account: Account) -> None:
    account.open_position("XRPUSDT", "LONG", "2")
    direct, module = run_both_ways(ansible, exchange, account, "-vvvv")
    for name in TASKS:
        assert comparable(direct.local[name]) == comparable(module.local[name]), name
    assert direct.results["requests"] == module.results["requests"]
    ran_directly = direct.stdout.count("runs directly in the controller")
    assert ran_directly == len(TASKS) + 2 - len(AS_MODULE), "the loop has three items"
    assert module.stdout.count("runs as a module: coinswitch_direct or COINSWITCH_DIRECT is false") == len(TASKS) + 2
    assert "the task is asynchronous" in direct.stdout
    assert "the keyword environment sets a variable that does not start with COINSWITCH_" in direct.stdout
    assert lines(direct.stdout) == lines(module.stdout)
    assert lines(direct.stderr) == lines(module.stderr)
    for outcome in (direct, module):
        assert account.secret_key not in outcome.stdout + outcome.stderr + json.dumps(outcome.results)


def test_output_without_verbosity_is_the_same(ansible: Ansible, exchange: Exchange, account: Account) -> None:
    account.open_position("XRPUSDT", "LONG", "2")
    direct, module = run_both_ways(ansible, exchange, account)
    assert lines(direct.stdout) == lines(module.stdout)
    assert lines(direct.stderr) == lines(module.stderr)


@pytest.mark.parametrize(
    ("hosts", "keywords", "reason"),
    [
        ({"localhost": {"ansible_connection": "mine"}}, {}, "the connection is not ansible.builtin.local"),
        ({"localhost": {"coinswitch_direct": False}}, {}, "coinswitch_direct or COINSWITCH_DIRECT is false"),
        ({"localhost": {"ansible_python_interpreter": os.path.realpath(sys.executable)}}, {}, "is not the Python that"),
    ],
)
def test_when_a_task_runs_as_a_module(
    ansible: Ansible, hosts: dict[str, Any], keywords: dict[str, Any], reason: str
) -> None:
    ansible.variables["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable
    plugins = ansible.folder / "connection_plugins"
    plugins.mkdir()
    (plugins / "mine.py").write_text(
        "from ansible.plugins.connection.local import Connection as Local\n"
        "DOCUMENTATION = '''\nname: mine\nshort_description: local by another name\n'''\n"
        "class Connection(Local):\n    transport = 'mine'\n"
    )
    ansible.variables["ANSIBLE_CONNECTION_PLUGINS"] = str(plugins)
    outcome = ansible.play({"one": {WALLET: {}}}, "-vvv", hosts=hosts, **keywords)
    assert f"runs as a module: {reason}" in outcome.stdout or reason in outcome.stdout
    assert "runs directly in the controller" not in outcome.stdout


def test_a_timed_out_task_sends_nothing_afterwards(
    ansible: Ansible, sandbox: Sandbox, exchange: Exchange, account: Account
) -> None:
    ansible.variables["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable
    account.set_leverage("BTCUSDT", 10)
    exchange.add_fault("read_leverage", FAULTS["timeout"])
    tasks = {"one": {MODULE: {**BTC, "timeout": 5}, "timeout": 1}}
    outcome = ansible.play(tasks, "-vvv")
    assert "runs directly in the controller" in outcome.stdout
    assert outcome.local["one"]["failed"]
    assert exchange.count("write_leverage") == 0
    assert account.leverage["BTCUSDT"] == 10


@pytest.mark.parametrize("direct", ["true", "false"])
def test_a_killed_run_sends_nothing_afterwards(
    ansible: Ansible, exchange: Exchange, account: Account, direct: str
) -> None:
    """The task waits for the rate limit when ansible-playbook is killed; what it would write after that is not sent."""
    ansible.variables.update(ANSIBLE_PYTHON_INTERPRETER=sys.executable, COINSWITCH_DIRECT=direct)
    account.set_leverage("BTCUSDT", 10)
    exchange.add_fault("write_leverage", Fault(status=429, headers={"Retry-After": "2"}))
    playbook = ansible.folder / "killed.yml"
    playbook.write_text(
        json.dumps(
            [{"name": "A play", "hosts": "localhost", "gather_facts": False, "tasks": [{"name": "T", MODULE: BTC}]}]
        )
    )
    process = ansible.start("ansible-playbook", "-i", "localhost,", "-c", "local", str(playbook))
    wait_for(lambda: exchange.count("write_leverage") == 1)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    # The wait that was asked for is over after this; a write would come then.
    time.sleep(3.5)
    assert exchange.count("write_leverage") == 1
    assert account.leverage["BTCUSDT"] == 10


# A stdout callback that prints one JSON document, as ansible.posix.json does.
JSON_CALLBACK = """
import json
from ansible.plugins.callback import CallbackBase
DOCUMENTATION = '''
name: one_document
type: stdout
short_description: One JSON document
description: One JSON document.
'''
class CallbackModule(CallbackBase):
    CALLBACK_TYPE, CALLBACK_NAME = "stdout", "one_document"
    def __init__(self):
        super().__init__()
        self.results = {}
    def v2_runner_on_ok(self, result):
        self.results[result.task.get_name()] = result.result
    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.v2_runner_on_ok(result)
    def v2_playbook_on_stats(self, stats):
        print(json.dumps(self.results))
"""
CHANGES = 12
STARTED = f"localhost: {CHANGES} symbols to read, at most {CHANGES} to write, at most about 6"


@pytest.fixture
def long_task(ansible: Ansible, exchange: Exchange, account: Account) -> dict[str, Any]:
    """A task that is expected to take a minute, and ends at once: so many writes do not fit into its max wait."""
    ansible.variables["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable
    symbols = sorted(exchange.instruments)[:CHANGES]
    for symbol in symbols:
        account.set_leverage(symbol, 3)
    return {"leverages": dict.fromkeys(symbols, 2), "rate_limit_timeout": 1}


def test_progress_leaves_one_line_output_alone(ansible: Ansible, long_task: dict[str, Any]) -> None:
    outcome = ansible.run("ansible", "localhost", "-o", "-m", MODULE, "-a", json.dumps(long_task))
    assert STARTED in outcome.stderr
    assert "not written" in outcome.stderr, "a line for each problem"
    (line,) = [line for line in outcome.stdout.splitlines() if line.startswith("localhost")]
    assert "| FAILED" in line
    assert "symbols to read" not in outcome.stdout


def test_progress_leaves_the_json_of_a_callback_alone(ansible: Ansible, long_task: dict[str, Any]) -> None:
    plugins = ansible.folder / "callbacks"
    plugins.mkdir()
    (plugins / "one_document.py").write_text(JSON_CALLBACK)
    ansible.variables.update(ANSIBLE_CALLBACK_PLUGINS=str(plugins), ANSIBLE_STDOUT_CALLBACK="one_document")
    write_play(ansible, long_task)
    outcome = ansible.run("ansible-playbook", "-i", "localhost,", "-c", "local", "long.yml")
    assert STARTED in outcome.stderr
    assert len(json.loads(outcome.stdout)["T"]["results"]) == CHANGES


def test_progress_leaves_the_events_of_ansible_runner_alone(ansible: Ansible, long_task: dict[str, Any]) -> None:
    for folder in ("project", "inventory"):
        (ansible.folder / folder).mkdir()
    (ansible.folder / "inventory" / "hosts").write_text("localhost ansible_connection=local")
    write_play(ansible, long_task, "project")
    outcome = ansible.run("ansible-runner", "run", ".", "--playbook", "long.yml", "--json")
    events = [json.loads(line) for line in outcome.stdout.splitlines() if line.startswith("{")]
    (failed,) = [event for event in events if event["event"] == "runner_on_failed"]
    assert len(failed["event_data"]["res"]["results"]) == CHANGES
    (stats,) = [event for event in events if event["event"] == "playbook_on_stats"]
    assert stats["event_data"]["failures"] == {"localhost": 1}
    assert STARTED in outcome.stdout + outcome.stderr


def write_play(ansible: Ansible, options: dict[str, Any], folder: str = ".") -> None:
    task = {"name": "T", MODULE: options}
    play = {"name": "A play", "hosts": "localhost", "gather_facts": False, "tasks": [task]}
    (ansible.folder / folder / "long.yml").write_text(json.dumps([play]))


@pytest.mark.parametrize(("variable", "shown"), [("true", True), ("false", False)])
def test_progress_can_be_turned_off(
    ansible: Ansible, long_task: dict[str, Any], account: Account, variable: str, shown: bool
) -> None:
    ansible.variables["COINSWITCH_PROGRESS"] = variable
    outcome = ansible.run("ansible", "localhost", "-m", MODULE, "-a", json.dumps(long_task))
    assert (STARTED in outcome.stderr) is shown
    for secret in (account.api_key, account.secret_key):
        assert secret not in outcome.stdout + outcome.stderr


@pytest.mark.parametrize("become", [False, True])
def test_vaulted_keys_stay_secret(ansible: Ansible, exchange: Exchange, account: Account, become: bool) -> None:
    """With `become`, another user runs the task, so it runs as a module."""
    ansible.variables["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable
    for name in ("COINSWITCH_API_KEY", "COINSWITCH_SECRET_KEY"):
        del ansible.variables[name]
    (ansible.folder / "password").write_text("a password")
    (ansible.folder / "vault.yml").write_text(
        json.dumps({"coinswitch_api_key": account.api_key, "coinswitch_secret_key": account.secret_key})
    )
    vault = ("--vault-password-file", "password")
    assert ansible.run("ansible-vault", "encrypt", *vault, "vault.yml").status == 0
    assert account.secret_key not in (ansible.folder / "vault.yml").read_text()
    keys = {"api_key": "{{ coinswitch_api_key }}", "secret_key": "{{ coinswitch_secret_key }}"}
    task = {"name": "T", WALLET: keys, "become": become, "become_method": "ansible.builtin.su"}
    play = {"name": "A play", "hosts": "localhost", "gather_facts": False, "vars_files": ["vault.yml"], "tasks": [task]}
    (ansible.folder / "vaulted.yml").write_text(json.dumps([play]))
    outcome = ansible.run(
        "ansible-playbook", "-i", "localhost,", "-c", "local", "-vvvv", "--diff", *vault, "vaulted.yml"
    )
    assert ("runs directly in the controller" in outcome.stdout) is not become
    if not become:
        assert outcome.status == 0, outcome.stdout
        assert exchange.count("wallet") == 1
    for secret in (account.api_key, account.secret_key):
        assert secret not in outcome.stdout + outcome.stderr


def wait_for(condition: Any) -> None:
    for _try in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it never came")
