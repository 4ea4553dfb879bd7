# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module futures_leverage in playbooks and ad hoc: what it changes and returns, and what check mode predicts."""

from __future__ import annotations

import os
import signal
import subprocess
import venv
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import Account, Exchange, Fault, Request, Sandbox

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible, CompletedCommand

MODULE = "tradeops.coinswitch.futures_leverage"
GROUP = "group/tradeops.coinswitch.coinswitch"


def task(*policy: Any, keywords: dict[str, Any] | None = None, **options: Any) -> dict[str, Any]:
    """Return a task.

    Args:
        policy: A symbol and a leverage, or a table of leverages.
        keywords: Keywords of the task.
        options: Options of the module.
    """
    desired = {"leverages": policy[0]} if len(policy) == 1 else {"symbol": policy[0], "leverage": policy[1]}
    return {MODULE: {**desired, **options}, **(keywords or {})}


def expected_row(
    symbol: str, leverage: int | None, previous: int | None, outcome: str, desired: int | None = None, **more: Any
) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "exchange": "EXCHANGE_2",
        "leverage": leverage,
        "previous_leverage": previous,
        "changed": outcome == "changed",
        "desired_leverage": leverage if desired is None else desired,
        "outcome": outcome,
        **more,
    }


def expected_result(
    *rows: dict[str, Any], requests: int, single: bool = True, check_mode: bool = False
) -> dict[str, Any]:
    """Return the result of a task with these rows, without its plan. `single`: the task has the option symbol."""
    changes = [entry for entry in rows if entry["changed"]]
    result = {
        "changed": bool(changes),
        "failed": False,
        "diff": {
            "before": {entry["symbol"]: entry["previous_leverage"] for entry in changes},
            "after": {entry["symbol"]: entry["leverage"] for entry in changes},
        },
        "results": list(rows),
        "requests": requests,
        "check_mode": check_mode,
    }
    if single:
        result |= {name: value for name, value in rows[0].items() if name not in ("changed", "desired_leverage")}
    return result


def without_plan(result: dict[str, Any]) -> dict[str, Any]:
    assert result["plan"].startswith("reads of leverage: ")
    assert len(result["account"]) == 16
    assert result["api_url"].startswith("http://127.0.0.1:")
    # ansible-core 2.22 adds ansible_parsed.
    others = ("plan", "account", "api_url", "ansible_parsed")
    return {name: value for name, value in result.items() if name not in others}


@pytest.mark.every_core
def test_modules_run_on_the_target_python(ansible: Ansible) -> None:
    facts = {"gather_subset": ["!all", "!min", "python"]}
    result = ansible.play({"facts": {"ansible.builtin.setup": facts}}).localhost["facts"]
    executable = result["ansible_facts"]["ansible_python"]["executable"]
    assert Path(executable) == Path(ansible.environment["ANSIBLE_PYTHON_INTERPRETER"])


@pytest.mark.every_core
def test_playbook_changes_the_leverages_to_the_policy(ansible: Ansible, account: Account, sandbox: Sandbox) -> None:
    for name in ("COINSWITCH_API_URL", "COINSWITCH_API_KEY", "COINSWITCH_SECRET_KEY"):
        del ansible.environment[name]
    defaults = {"api_url": sandbox.url, "api_key": account.api_key, "secret_key": account.secret_key}
    account.leverage |= {"BTCUSDT": 20, "ETHUSDT": 25, "SOLUSDT": 3}

    completed = ansible.play(
        {
            "predicted": task("BTCUSDT", 13, keywords={"check_mode": True, "diff": True}),
            "changed": task("BTCUSDT", 13, keywords={"diff": True}),
            "unchanged": task("BTCUSDT", 13),
            "symbol in lower case, leverage as text": task("btcusdt", "{{ 13 }}", exchange="exchange_2"),
            "leverage below the maximum": task("BTCUSDT", 14, enforce="maximum"),
            "leverage above the maximum": task("BTCUSDT", 12, enforce="maximum", rate_limit_share=0.5),
            "table": task({"ETHUSDT": 5, "solusdt": 3}),
            "loop": task("{{ item }}", 4, keywords={"loop": ["ADAUSDT", "DOTUSDT"]}),
        },
        module_defaults={GROUP: defaults},
    )

    loop = completed.localhost.pop("loop")
    assert {name: without_plan(result) for name, result in completed.localhost.items()} == {
        "predicted": expected_result(expected_row("BTCUSDT", 13, 20, "changed"), requests=8, check_mode=True),
        "changed": expected_result(expected_row("BTCUSDT", 13, 20, "changed"), requests=2),
        "unchanged": expected_result(expected_row("BTCUSDT", 13, 13, "unchanged"), requests=1),
        "symbol in lower case, leverage as text": expected_result(
            expected_row("BTCUSDT", 13, 13, "unchanged"), requests=1
        ),
        "leverage below the maximum": expected_result(
            expected_row("BTCUSDT", 13, 13, "unchanged", desired=14), requests=1
        ),
        "leverage above the maximum": expected_result(expected_row("BTCUSDT", 12, 13, "changed"), requests=2),
        "table": expected_result(
            expected_row("ETHUSDT", 5, 25, "changed", positions=[]),
            expected_row("SOLUSDT", 3, 3, "unchanged"),
            requests=5,
            single=False,
        ),
    }
    leverages = [
        entry[name] for entry in completed.localhost["table"]["results"] for name in ("leverage", "previous_leverage")
    ]
    assert {type(number) for number in leverages} == {int}
    assert [(entry["symbol"], entry["leverage"], entry["outcome"]) for entry in loop["results"]] == [
        ("ADAUSDT", 4, "changed"),
        ("DOTUSDT", 4, "changed"),
    ]
    assert account.leverage == {"BTCUSDT": 12, "ETHUSDT": 5, "SOLUSDT": 3, "ADAUSDT": 4, "DOTUSDT": 4}
    assert completed.stdout.count('-    "BTCUSDT": 20') == completed.stdout.count('+    "BTCUSDT": 13') == 2
    assert completed.stderr == ""


def test_change_sends_one_read_and_one_write(ansible: Ansible, exchange: Exchange) -> None:
    ansible.play({"changed": task("btcusdt", 13)})
    read, write = exchange.requests
    assert (read.method, read.query, read.body) == ("GET", {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2"}, None)
    assert (write.method, write.query) == ("POST", {})
    assert write.body == {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": 13}


def test_check_mode_fails_with_the_messages_of_the_real_run(
    ansible: Ansible, account: Account, exchange: Exchange
) -> None:
    position = account.open_position("SOLUSDT", "SHORT", "1.5")
    order = account.open_order("ADAUSDT", "BUY", "10", "0.4")
    account.open_position("LTCUSDT", "LONG", "1")
    account.open_order("LTCUSDT", "SELL", "1", "99")
    policy = {
        "position": task("SOLUSDT", 5),
        "order": task("ADAUSDT", 5),
        "position and order": task("LTCUSDT", 5),
        "above the limit": task("BTCUSDT", 26),
        "not listed": task("BTCUSD", 5),
        "one blocked of three": task({"BTCUSDT": 9, "SOLUSDT": 5, "ETHUSDT": 8}),
        "one impossible of three": task({"BNBUSDT": 9, "DOGEUSDT": 26, "AVAXUSDT": 8}),
        "blocked, with a warning": task("SOLUSDT", 5, on_blocked="warn"),
    }
    predicted = ansible.play(policy, "--check", separate_budgets=True).localhost
    assert exchange.count("write_leverage") == 0
    real = ansible.play(policy, separate_budgets=True).localhost

    def without_keys_of_writes(results: dict[str, Any]) -> dict[str, Any]:
        """Remove the keys that depend on whether a write was sent."""
        for result in results.values():
            del result["requests"], result["plan"], result["check_mode"]
            for name in ("msg", "warnings"):
                result.pop(name, None)
            result.get("error", {}).pop("status", None)
            for entry in result["results"]:
                entry.pop("exchange_message", None)
                entry.pop("reason", None)
        return results

    for name, result in real.items():
        for entry, predicted_entry in zip(result["results"], predicted[name]["results"], strict=True):
            # A real run adds what the exchange answered.
            assert entry.get("reason", "").startswith(predicted_entry.get("reason", ""))
    messages = {name: result.get("msg") for name, result in predicted.items()}
    warnings = predicted["blocked, with a warning"]["warnings"]

    for entry in real["position"]["results"] + real["one blocked of three"]["results"][1:2]:
        assert entry["exchange_message"]
    assert without_keys_of_writes(predicted) == without_keys_of_writes(real)

    still = "the leverage is still 10, not 5."
    short = "An open position (SHORT 1.5) blocks the change. Close the position first."
    impossible = "the leverage is still 10, not 26. The exchange allows 1 to 25 for this symbol."
    assert messages == {
        "position": f"SOLUSDT: {still} {short}",
        "order": f"ADAUSDT: {still} An open order (BUY 10 at 0.4, ID {order}) blocks the change. Cancel the orders "
        "first.",
        "position and order": f"LTCUSDT: {still} An open position (LONG 1) and an open order (SELL 1 at 99, ID "
        f"{account.orders[1].order_id}) block the change. Close the position and cancel the orders first.",
        "above the limit": f"BTCUSDT: {impossible}",
        "not listed": "BTCUSD: EXCHANGE_2 does not list this symbol. Did you mean BTCUSDT?",
        "one blocked of three": f"1 of 3 symbols does not have the desired leverage. SOLUSDT: {still} {short}",
        "one impossible of three": f"1 of 3 symbols does not have the desired leverage. DOGEUSDT: {impossible}",
        "blocked, with a warning": None,
    }
    assert warnings == [f"SOLUSDT: {still} {short}"]
    assert real["blocked, with a warning"]["outcome"] == "blocked"
    assert real["position"]["results"][0]["blockers"] == [
        {"kind": "position", "position_id": position, "side": "SHORT", "size": "1.5", "mark_price": "150"}
    ]
    # An impossible leverage of one symbol holds back no other symbol.
    assert account.leverage == {"BTCUSDT": 9, "ETHUSDT": 8, "BNBUSDT": 9, "AVAXUSDT": 8}


def test_ad_hoc_command_uses_the_keys_in_the_environment(ansible: Ansible, account: Account) -> None:
    def run(desired: int, *options: str) -> tuple[CompletedCommand, dict[str, Any]]:
        return ansible.ad_hoc(MODULE, f"symbol=BTCUSDT leverage={desired}", *options)

    completed, result = run(13, "--check", "--diff")
    assert (completed.exit_status, result["changed"], account.leverage) == (0, True, {})
    assert '+    "BTCUSDT": 13' in completed.stdout

    completed, result = run(13)
    assert (completed.exit_status, account.leverage, completed.stderr) == (0, {"BTCUSDT": 13}, "")
    assert (result["leverage"], result["previous_leverage"], result["requests"]) == (13, 10, 2)

    completed, result = run(26)
    assert (completed.exit_status, account.leverage) == (2, {"BTCUSDT": 13})
    assert result["msg"].startswith(
        "BTCUSDT: the leverage is still 13, not 26. The exchange allows 1 to 25 for this symbol."
    )


def test_many_accounts_run_in_parallel_with_their_own_keys_and_results(
    ansible: Ansible, exchange: Exchange, sandbox: Sandbox
) -> None:
    accounts = {name: exchange.open_account(name) for name in ("beta", "gamma", "delta")}
    accounts["gamma"].open_position("ETHUSDT", "LONG", "1")
    accounts["delta"].new_pair()
    hosts = {name: {"key": account.api_key, "secret": account.secret_key} for name, account in accounts.items()}
    accounts["delta"].new_pair()

    completed = ansible.play(
        {"the policy": task({"BTCUSDT": 7, "ETHUSDT": 6})},
        "--forks=4",
        hosts=hosts,
        module_defaults={GROUP: {"api_key": "{{ key }}", "secret_key": "{{ secret }}"}},
    )

    results = {name: result["the policy"] for name, result in completed.results.items()}
    assert {name: result["failed"] for name, result in results.items()} == {"beta": False, "gamma": True, "delta": True}
    assert {account.name: account.leverage for account in exchange.accounts} == {
        "alpha": {},
        "beta": {"BTCUSDT": 7, "ETHUSDT": 6},
        "gamma": {"BTCUSDT": 7},
        "delta": {},
    }
    assert results["gamma"]["msg"].startswith(
        "1 of 2 symbols does not have the desired leverage. ETHUSDT: the leverage is still 10, not 6."
    )
    assert "the exchange accepts them nowhere" in results["delta"]["msg"]
    assert results["delta"]["requests"] == 3, "a repeated read, and Validate keys"


@pytest.mark.every_core
def test_missing_key_is_named_with_its_option_and_its_variable(ansible: Ansible, exchange: Exchange) -> None:
    for name in ("COINSWITCH_API_KEY", "COINSWITCH_SECRET_KEY"):
        value = ansible.environment.pop(name)
        completed, result = ansible.ad_hoc(MODULE, "symbol=BTCUSDT leverage=13")
        option = name.removeprefix("COINSWITCH_").lower()
        assert result["msg"] == f"{option} is missing. Set the option {option} or the environment variable {name}."
        assert completed.exit_status == 2
        ansible.environment[name] = value
    assert exchange.requests == []


def test_missing_library_gives_the_usual_message_of_ansible(
    ansible: Ansible, exchange: Exchange, tmp_path: Path
) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    shadow = tmp_path / "shadow" / "cryptography"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError('No module named cryptography')\n")
    bare_python = {"ansible_python_interpreter": str(tmp_path / "bare/bin/python")}

    results = ansible.play(
        {
            "requests": task("BTCUSDT", 13, keywords={"vars": bare_python}),
            "requests, in check mode": task("BTCUSDT", 13, keywords={"vars": bare_python, "check_mode": True}),
            "cryptography": task("BTCUSDT", 13, keywords={"environment": {"PYTHONPATH": str(shadow.parent)}}),
        }
    ).localhost

    for name, result in results.items():
        library = name.partition(",")[0]
        assert result["msg"].startswith(f"Failed to import the required Python library ({library}) on ")
        assert result["failed"] is True
    assert exchange.requests == []


def test_task_works_after_another_one_was_killed(ansible: Ansible, exchange: Exchange, account: Account) -> None:
    write_received = Event()

    def notice_write(request: Request) -> None:
        if request.endpoint == "write_leverage":
            write_received.set()

    exchange.add_fault("write_leverage", Fault(delay=3600.0, drop="after"))
    with Sandbox(exchange, log=notice_write) as sandbox:
        ansible.use_sandbox(sandbox)
        command = ["ansible", "-i", "localhost,", "-c", "local", "localhost", "-m", MODULE, "-a"]
        process = ansible.start(*command, "symbol=BTCUSDT leverage=13 timeout=600")
        assert write_received.wait(timeout=60), "the write was never sent"
        kill_with_children(process)
        _command, result = ansible.ad_hoc(MODULE, "symbol=BTCUSDT leverage=14")
    assert (result["previous_leverage"], result["leverage"], result["outcome"]) == (13, 14, "changed")
    assert account.leverage == {"BTCUSDT": 14}


def kill_with_children(process: subprocess.Popen[str]) -> None:
    """Kill a command and all its child processes, including those with a process group of their own."""
    pids = [process.pid]
    for pid in pids:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            pids += map(int, children.read_text().split())
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert len(pids) > 1
