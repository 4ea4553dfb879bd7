# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Direct execution in the controller and execution as a module give the same results, output and requests."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import FAULTS, Account, Exchange, Fault

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible, CompletedCommand

MODULE = "tradeops.coinswitch.futures_leverage"
WALLET = "tradeops.coinswitch.futures_wallet_info"
BTC = {"symbol": "BTCUSDT", "leverage": 13}

# The request budget allows 20 reads of a leverage. So tasks that can use any module read the wallet. With more reads, a
# task waits for the rate limit, and its plan says how long, which differs between two runs.
TASKS: dict[str, dict[str, Any]] = {
    "check mode": {MODULE: BTC, "check_mode": True, "diff": True},
    "changed": {MODULE: BTC, "diff": True},
    "unchanged": {MODULE: BTC},
    "many symbols": {MODULE: {"leverages": {"ethusdt": "5", "SOLUSDT": 3}}, "diff": True},
    "blocked": {MODULE: {"symbol": "XRPUSDT", "leverage": 20}},
    "blocked, with a warning": {MODULE: {"symbol": "XRPUSDT", "leverage": 20, "on_blocked": "warn"}},
    "above the limit": {MODULE: {"symbol": "BTCUSDT", "leverage": 99}},
    "symbol with a slash": {MODULE: {"symbol": "BTC/USDT", "leverage": 5}},
    "leverage is a fraction": {MODULE: {"symbol": "BTCUSDT", "leverage": "10.0"}},
    "leverage is a boolean": {MODULE: {"symbol": "BTCUSDT", "leverage": True}},
    "leverage is null": {MODULE: {"symbol": "BTCUSDT", "leverage": None}},
    "options are templates": {MODULE: {"symbol": "{{ 'btc' ~ 'usdt' }}", "leverage": "{{ 6 + 7 }}"}},
    "table is a template": {MODULE: {"leverages": "{{ {'BTCUSDT': 13, 'ETHUSDT': 5} }}"}},
    "no leverage": {MODULE: {"symbol": "BTCUSDT"}},
    "symbol and table": {MODULE: {**BTC, "leverages": {"ETHUSDT": 5}}},
    "unknown option": {MODULE: {**BTC, "speed": 5}},
    "policy is text": {MODULE: {"leverages": '{"BTCUSDT": 13, "ethusdt": "5"}'}},
    "key is not set": {MODULE: {**BTC, "api_key": ""}},
    "invalid choice": {MODULE: {**BTC, "enforce": "minimum"}},
    "short secret key": {MODULE: {**BTC, "secret_key": "ab" * 31 + "c"}},
    "keys of different pairs": {WALLET: {"secret_key": "11" * 32}},
    "no certificate check": {WALLET: {"validate_certs": False}},
    "ca_path is relative": {MODULE: {**BTC, "ca_path": "here/there.pem"}},
    "ca_path does not exist": {MODULE: {**BTC, "ca_path": "~/here/there.pem"}},
    "options are empty": {WALLET: {"api_url": "", "exchange": "", "timeout": "", "ca_path": ""}},
    "loop": {MODULE: {"symbol": "{{ item }}", "leverage": 7}, "loop": ["ADAUSDT", "DOTUSDT", "no such"]},
    "until": {WALLET: {}, "until": "result_24 is success", "retries": 1, "delay": 0},
    "failed_when": {WALLET: {"retries": -1}, "failed_when": False},
    "changed_when, delegated": {WALLET: {}, "changed_when": True, "delegate_to": "localhost", "run_once": True},
    "no_log": {WALLET: {}, "no_log": True},
    "environment of the collection": {WALLET: {}, "environment": {"COINSWITCH_API_KEY": "zz"}},
    "other environment": {WALLET: {}, "environment": {"TZ": "UTC"}},
    "asynchronous": {WALLET: {}, "async": 30, "poll": 1},
    "module default": {WALLET: {}, "module_defaults": {WALLET: {"exchange": "exchange_2"}}},
    "group default": {
        WALLET: {},
        "module_defaults": {"group/tradeops.coinswitch.coinswitch": {"retries": -1}},
    },
    "instruments": {"tradeops.coinswitch.futures_instrument_info": {"symbols": ["BTCUSDT"]}},
    "positions": {"tradeops.coinswitch.futures_position_info": {"symbols": ["XRPUSDT"]}},
    "orders": {"tradeops.coinswitch.futures_order_info": {}},
    "wallet": {"tradeops.coinswitch.futures_wallet_info": {}},
}
# One task for each kind of output.
TASKS_WITHOUT_VERBOSITY = (
    *("check mode", "changed", "many symbols", "blocked", "blocked, with a warning", "unknown option"),
    *("no certificate check", "loop", "failed_when", "no_log"),
)
# Tasks that cannot run directly.
ONLY_AS_MODULE = {"other environment", "asynchronous"}
# Tasks that do not run, and one item of the loop.
REFUSED = {
    *("symbol with a slash", "leverage is a fraction", "leverage is a boolean", "leverage is null", "no leverage"),
    *("symbol and table", "unknown option", "invalid choice", "key is not set"),
}
# Keys of a result that differ between two runs, or that ansible-core adds only to the result of a module.
IGNORED_KEYS = (
    *("ansible_job_id", "results_file", "start", "end", "delta", "started", "finished", "stdout", "stderr"),
    "failed_when_suppressed_exception",
    "ansible_parsed",  # says that Ansible could parse the output of the module; only ansible-core 2.22
)


def run_both_ways(
    ansible: Ansible, exchange: Exchange, account: Account, names: Iterable[str], *options: str
) -> list[CompletedCommand]:
    """Run these TASKS directly and then as modules, with the same state of the exchange at the start."""
    ansible.environment["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable
    runs = []
    for direct in ("true", "false"):
        ansible.environment["COINSWITCH_DIRECT"] = direct
        account.leverage.clear()
        account.leverage.update(dict.fromkeys(["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "ADAUSDT", "DOTUSDT"], 10))
        exchange.requests.clear()
        # New request budgets, as if a minute passed between the two runs.
        ansible.environment["XDG_STATE_HOME"] = str(ansible.folder / f"state-{direct}")
        run = ansible.play({name: TASKS[name] for name in names}, *options)
        run.results["requests"] = {"sent": [(r.endpoint, r.symbol, r.status) for r in exchange.requests]}
        runs.append(run)
    return runs


def without_ignored_keys(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: without_ignored_keys(item) for name, item in value.items() if name not in IGNORED_KEYS}
    return [without_ignored_keys(item) for item in value] if isinstance(value, list) else value


def comparable_lines(output: str) -> list[str]:
    """Return the lines of the output without IGNORED_LINES, and without times, ports and random names."""
    output_of_tasks, _separator, _rest = output.partition("TASK [Save the results]")
    lines = [line for line in output_of_tasks.splitlines() if not re.search(IGNORED_LINES, line)]
    text = re.sub(r"Task failed: (Action|Module) failed", "Task failed", "\n".join(lines))
    return re.sub(r"play\d+|\d+\.\d+ ?s|[0-9a-f]{8}-[0-9a-f-]{27}|j\d+\.\d+|/tmp/\S+", "", text).splitlines()


# Lines that only one of the two ways prints.
IGNORED_LINES = (
    "ESTABLISH LOCAL CONNECTION|EXEC |PUT |Using module file|Pipelining is enabled|directly in the controller|"
    "runs as a module|does not run|failed_when_suppressed_exception|TRACEBACK|ASYNC|async|results_file|task path"
)


@pytest.mark.every_core
def test_both_ways_have_the_same_results_output_and_requests(
    ansible: Ansible, exchange: Exchange, account: Account
) -> None:
    account.open_position("XRPUSDT", "LONG", "2")
    direct, module = run_both_ways(ansible, exchange, account, TASKS, "-vvvv")
    assert direct.localhost["asynchronous"]["failed"] is False
    for name in TASKS:
        assert without_ignored_keys(direct.localhost[name]) == without_ignored_keys(module.localhost[name]), name
    assert direct.results["requests"] == module.results["requests"]
    # The loop has three items. One of them is refused.
    task_runs = len(TASKS) + 1 - len(REFUSED)
    assert direct.stdout.count("does not run, because an option is not valid") == len(REFUSED) + 1
    assert module.stdout.count("does not run, because an option is not valid") == len(REFUSED) + 1
    assert direct.stdout.count("runs directly in the controller") == task_runs - len(ONLY_AS_MODULE)
    assert module.stdout.count("runs as a module: coinswitch_direct or COINSWITCH_DIRECT is false") == task_runs
    assert "the task is asynchronous" in direct.stdout
    assert "the keyword environment sets a variable that does not start with COINSWITCH_" in direct.stdout
    assert comparable_lines(direct.stdout) == comparable_lines(module.stdout)
    assert comparable_lines(direct.stderr) == comparable_lines(module.stderr)
    assert exchange.count("read_leverage") < 20, "no task waited for the rate limit"
    for run in (direct, module):
        assert account.secret_key not in run.output + json.dumps(run.results)


def test_both_ways_have_the_same_output_without_verbosity(
    ansible: Ansible, exchange: Exchange, account: Account
) -> None:
    account.open_position("XRPUSDT", "LONG", "2")
    direct, module = run_both_ways(ansible, exchange, account, TASKS_WITHOUT_VERBOSITY)
    assert comparable_lines(direct.stdout) == comparable_lines(module.stdout)
    assert comparable_lines(direct.stderr) == comparable_lines(module.stderr)


# Variables of a host, each with the reason why its tasks run as modules.
VARIABLES: list[tuple[dict[str, Any], str]] = [
    ({"ansible_connection": "elsewhere"}, "the connection is not ansible.builtin.local"),
    ({"coinswitch_direct": False}, "coinswitch_direct or COINSWITCH_DIRECT is false"),
    ({"ansible_python_interpreter": os.path.realpath(sys.executable)}, "is not the Python that"),
]


def test_task_runs_as_a_module_for_a_reason_in_the_output(ansible: Ansible) -> None:
    ansible.environment["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable
    hosts = {f"host{number}": variables for number, (variables, _reason) in enumerate(VARIABLES)}
    completed = ansible.play({"one": {WALLET: {}}}, "-vvv", hosts=hosts)
    for number, (_variables, reason) in enumerate(VARIABLES):
        assert re.search(f"<host{number}> .*runs as a module: .*{re.escape(reason)}", completed.stdout)
    assert "runs directly in the controller" not in completed.stdout


@pytest.mark.parametrize("direct", ["true", "false"])
def test_task_that_timed_out_sends_nothing_afterwards(
    ansible: Ansible, exchange: Exchange, account: Account, direct: str
) -> None:
    """The exchange does not answer the read. The task times out before it would send the read again."""
    ansible.environment.update(ANSIBLE_PYTHON_INTERPRETER=sys.executable, COINSWITCH_DIRECT=direct)
    account.set_leverage("BTCUSDT", 10)
    exchange.add_fault("read_leverage", FAULTS["timeout"])
    completed = ansible.play({"one": {MODULE: {**BTC, "timeout": 4}, "timeout": 3}}, "-vvv")
    assert ("runs directly in the controller" in completed.stdout) is (direct == "true")
    assert completed.localhost["one"]["failed"]
    assert exchange.count("read_leverage") == 1
    # The request times out in this time, and a retry would follow.
    time.sleep(3)
    assert exchange.count("read_leverage") == 1
    assert exchange.count("write_leverage") == 0
    assert account.leverage["BTCUSDT"] == 10


@pytest.mark.parametrize("direct", ["true", "false"])
@pytest.mark.parametrize("stop", ["kill ansible-playbook", "leave it as a zombie", "press Ctrl-C"])
def test_task_sends_nothing_after_ansible_playbook_was_stopped(
    ansible: Ansible, exchange: Exchange, account: Account, direct: str, stop: str
) -> None:
    """The task waits for the rate limit when ansible-playbook is stopped. It does not write after the wait."""
    ansible.environment.update(ANSIBLE_PYTHON_INTERPRETER=sys.executable, COINSWITCH_DIRECT=direct)
    account.set_leverage("BTCUSDT", 10)
    exchange.add_fault("write_leverage", Fault(status=429, headers={"Retry-After": "1"}))
    playbook = ansible.folder / "stopped.yml"
    playbook.write_text(
        json.dumps(
            [{"name": "A play", "hosts": "localhost", "gather_facts": False, "tasks": [{"name": "T", MODULE: BTC}]}]
        )
    )
    process = ansible.start("ansible-playbook", "-i", "localhost,", "-c", "local", str(playbook))
    wait_for(lambda: exchange.count("write_leverage") == 1)
    if stop == "press Ctrl-C":
        # A terminal sends the signal to all processes of the group.
        os.killpg(process.pid, signal.SIGINT)
    else:
        os.kill(process.pid, signal.SIGKILL)
    if stop != "leave it as a zombie":
        process.communicate()
    # The wait of 1 second ends in this time.
    time.sleep(2)
    process.communicate()
    assert exchange.count("write_leverage") == 1
    assert account.leverage["BTCUSDT"] == 10


# A callback plugin that prints one JSON document to stdout, as ansible.posix.json does.
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
        self.results[result._task.get_name()] = result._result
    def v2_runner_on_failed(self, result, ignore_errors=False):
        self.v2_runner_on_ok(result)
    def v2_playbook_on_stats(self, stats):
        print(json.dumps(self.results))
"""
CHANGES = 12
PROGRESS = f"localhost: reads of leverage: {CHANGES}, writes: at most {CHANGES}, rate limits: at most about 6"


@pytest.fixture
def long_task(ansible: Ansible, exchange: Exchange, account: Account) -> dict[str, Any]:
    """The options of a task that announces its progress, and fails soon because its writes exceed the max wait."""
    ansible.environment["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable
    symbols = sorted(exchange.instruments)[:CHANGES]
    for symbol in symbols:
        account.set_leverage(symbol, 3)
    return {"leverages": dict.fromkeys(symbols, 2), "rate_limit_timeout": 1}


def test_progress_is_not_in_the_one_line_output(ansible: Ansible, long_task: dict[str, Any]) -> None:
    completed = ansible.run("ansible", "localhost", "-o", "-m", MODULE, "-a", json.dumps(long_task))
    assert PROGRESS in completed.stderr
    assert "not_written" in completed.stderr, "one line for each problem"
    (line,) = [line for line in completed.stdout.splitlines() if line.startswith("localhost")]
    assert "| FAILED" in line
    assert "localhost: reads of leverage" not in completed.stdout


def test_progress_is_not_in_the_json_of_a_callback(ansible: Ansible, long_task: dict[str, Any]) -> None:
    plugins = ansible.folder / "callbacks"
    plugins.mkdir()
    (plugins / "one_document.py").write_text(JSON_CALLBACK)
    ansible.environment.update(ANSIBLE_CALLBACK_PLUGINS=str(plugins), ANSIBLE_STDOUT_CALLBACK="one_document")
    write_play(ansible, long_task)
    completed = ansible.run("ansible-playbook", "-i", "localhost,", "-c", "local", "long.yml")
    assert PROGRESS in completed.stderr
    assert len(json.loads(completed.stdout)["T"]["results"]) == CHANGES


def test_progress_is_not_in_the_events_of_ansible_runner(ansible: Ansible, long_task: dict[str, Any]) -> None:
    for folder in ("project", "inventory"):
        (ansible.folder / folder).mkdir()
    (ansible.folder / "inventory" / "hosts").write_text("localhost ansible_connection=local")
    write_play(ansible, long_task, "project")
    completed = ansible.run("ansible-runner", "run", ".", "--playbook", "long.yml", "--json")
    events = [json.loads(line) for line in completed.stdout.splitlines() if line.startswith("{")]
    (failed,) = [event for event in events if event["event"] == "runner_on_failed"]
    assert len(failed["event_data"]["res"]["results"]) == CHANGES
    (stats,) = [event for event in events if event["event"] == "playbook_on_stats"]
    assert stats["event_data"]["failures"] == {"localhost": 1}
    assert PROGRESS in completed.output


def write_play(ansible: Ansible, options: dict[str, Any], folder: str = ".", **keywords: Any) -> None:
    task = {"name": "T", MODULE: options, **keywords}
    play = {"name": "A play", "hosts": "localhost", "gather_facts": False, "tasks": [task]}
    (ansible.folder / folder / "long.yml").write_text(json.dumps([play]))


@pytest.mark.parametrize(("value", "is_shown"), [("true", True), ("false", False), ("", True)])
def test_coinswitch_progress_turns_progress_on_or_off(
    ansible: Ansible, long_task: dict[str, Any], account: Account, value: str, is_shown: bool
) -> None:
    ansible.environment["COINSWITCH_PROGRESS"] = value
    completed = ansible.run("ansible", "localhost", "-m", MODULE, "-a", json.dumps(long_task))
    assert (PROGRESS in completed.stderr) is is_shown
    for secret in (account.api_key, account.secret_key):
        assert secret not in completed.output


@pytest.mark.parametrize("direct", ["true", "false"])
def test_no_log_hides_the_progress(ansible: Ansible, long_task: dict[str, Any], direct: str) -> None:
    ansible.environment["COINSWITCH_DIRECT"] = direct
    write_play(ansible, long_task, no_log=True)
    completed = ansible.run("ansible-playbook", "-i", "localhost,", "-c", "local", "-vvv", "long.yml")
    assert "the output has been hidden" in completed.output
    assert "localhost: reads of leverage" not in completed.output
    # A line of progress starts with the name of the host. Ansible itself prints the message of the failed task.
    assert "localhost: " not in completed.output


# --- Hosts that are not the controller ---


# By default, Ansible does not use pipelining. `make matrix` runs both with the oldest ansible-core, too.
@pytest.mark.parametrize("pipelining", ["true", pytest.param("false", marks=pytest.mark.every_core)])
def test_task_can_run_on_another_host(ansible: Ansible, exchange: Exchange, account: Account, pipelining: str) -> None:
    ansible.environment.update(ANSIBLE_PYTHON_INTERPRETER=sys.executable, ANSIBLE_PIPELINING=pipelining)
    keys = {"api_key": account.api_key, "secret_key": account.secret_key}
    connection = {**keys, "api_url": ansible.environment["COINSWITCH_API_URL"]}
    environment = {f"COINSWITCH_{name.upper()}": value for name, value in connection.items()}
    become = {"become": True, "become_method": "ansible.builtin.su"}
    tasks: dict[str, dict[str, Any]] = {
        "without keys": {MODULE: BTC},
        "with options": {MODULE: {**BTC, **connection}},
        "with variables": {MODULE: BTC, "environment": environment},
        "as another user": {MODULE: {**BTC, **connection}, **become},
        "as another user, with variables": {MODULE: BTC, "environment": environment, **become},
        "asynchronous": {MODULE: {**BTC, **connection}, "async": 30, "poll": 1},
        "delegated to the controller": {MODULE: {**BTC, **connection}, "delegate_to": "localhost"},
        "refused": {MODULE: {"leverages": {"BTC/USDT": 5}}},
    }
    completed = ansible.play(tasks, "-vvv", hosts={"machine": {"ansible_connection": "elsewhere"}})
    results = completed.results["machine"]
    assert {name for name, result in results.items() if result["failed"]} == {"without keys", "refused"}
    # The environment of the controller is not that of the other host.
    assert results["without keys"]["msg"].startswith("api_key is missing")
    assert results["refused"]["msg"].endswith("did you mean BTCUSDT?")
    assert results["with options"]["changed"]
    assert account.leverage == {"BTCUSDT": 13}
    assert completed.stdout.count("runs directly in the controller") == 1
    for secret in keys.values():
        assert secret not in completed.output


@pytest.mark.every_core
def test_host_that_cannot_be_reached_gets_a_hint(ansible: Ansible) -> None:
    hosts: dict[str, dict[str, Any]] = {
        "unreachable": {"ansible_connection": "elsewhere", "is_reachable": False},
        "without ssh": {"ansible_connection": "ssh", "ansible_ssh_executable": "/no/ssh"},
    }
    results = ansible.play({"one": {MODULE: BTC, "ignore_unreachable": True}}, hosts=hosts).results
    unreachable, failed = (results[name]["one"] for name in hosts)
    assert unreachable["unreachable"]
    assert "Failed to connect to the host via ssh: connection refused. If this host is an a" in unreachable["msg"]
    assert failed["failed"]
    assert "Unable to execute ssh command line on a controller" in failed["msg"]
    for result in (unreachable, failed):
        assert "If this host is an account and not a machine, set ansible_connection=local for it" in result["msg"]


@pytest.mark.every_core
def test_account_without_keys_is_named(ansible: Ansible, exchange: Exchange) -> None:
    """It does not use the keys in the environment."""
    keys = {name: f"{{{{ coinswitch_{name} | default('') }}}}" for name in ("api_key", "secret_key")}
    variables: dict[str, dict[str, str]] = {
        "beta": {},
        "gamma": {"coinswitch_secret_key": "ab" * 32},
        "delta": {"coinswitch_api_key": "{{ '' }}", "coinswitch_secret_key": "ab"},
    }
    hosts = {
        f"{connection}-{name}": {"ansible_connection": connection, **own}
        for connection in ("local", "elsewhere")
        for name, own in variables.items()
    }
    completed = ansible.play({"one": {MODULE: {**BTC, **keys}}}, hosts=hosts)
    messages = {name: results["one"]["msg"] for name, results in completed.results.items()}
    for connection in ("local", "elsewhere"):
        beta, gamma, delta = (f"{connection}-{name}" for name in variables)
        assert [messages.pop(name) for name in (beta, gamma, delta)] == [
            f"coinswitch_api_key and coinswitch_secret_key of {beta} are not set. Set them for this host.",
            f"coinswitch_api_key of {gamma} is not set. Set it for this host.",
            f"api_key of {delta} is not set. Set it for this host.",
        ]
    assert messages == {}
    assert exchange.requests == []


@pytest.mark.parametrize("become", [False, True])
def test_no_vaulted_key_in_the_output(ansible: Ansible, exchange: Exchange, account: Account, become: bool) -> None:
    """A task with `become` runs as a module, because another user runs it."""
    ansible.environment["ANSIBLE_PYTHON_INTERPRETER"] = sys.executable
    for name in ("COINSWITCH_API_KEY", "COINSWITCH_SECRET_KEY"):
        del ansible.environment[name]
    (ansible.folder / "password").write_text("a password")
    (ansible.folder / "vault.yml").write_text(
        json.dumps({"coinswitch_api_key": account.api_key, "coinswitch_secret_key": account.secret_key})
    )
    vault = ("--vault-password-file", "password")
    assert ansible.run("ansible-vault", "encrypt", *vault, "vault.yml").exit_status == 0
    assert account.secret_key not in (ansible.folder / "vault.yml").read_text()
    keys = {"api_key": "{{ coinswitch_api_key }}", "secret_key": "{{ coinswitch_secret_key }}"}
    task = {"name": "T", WALLET: keys, "become": become, "become_method": "ansible.builtin.su"}
    play = {"name": "A play", "hosts": "localhost", "gather_facts": False, "vars_files": ["vault.yml"], "tasks": [task]}
    (ansible.folder / "vaulted.yml").write_text(json.dumps([play]))
    completed = ansible.run(
        "ansible-playbook", "-i", "localhost,", "-c", "local", "-vvvv", "--diff", *vault, "vaulted.yml"
    )
    assert ("runs directly in the controller" in completed.stdout) is not become
    if not become:
        assert completed.exit_status == 0, completed.stdout
        assert exchange.count("wallet") == 1
    for secret in (account.api_key, account.secret_key):
        assert secret not in completed.output


def wait_for(condition: Any) -> None:
    """Wait for at most 30 seconds."""
    for _try in range(600):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("the condition did not become true")
