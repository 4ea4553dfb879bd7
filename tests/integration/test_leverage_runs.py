# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module as playbooks and the command line run it: what changes, what is returned, what check mode predicts."""

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
    from tests.integration.conftest import Ansible, Outcome

MODULE = "tradeops.coinswitch.futures_leverage"
GROUP = "group/tradeops.coinswitch.coinswitch"


def task(*desired: Any, **keywords: Any) -> dict[str, Any]:
    """A task: symbol and leverage, or a table; `keywords` are options, those of the task itself in `keywords['_']`."""
    own = keywords.pop("_", {})
    options = {"leverages": desired[0]} if len(desired) == 1 else {"symbol": desired[0], "leverage": desired[1]}
    return {MODULE: {**options, **keywords}, **own}


def row(symbol: str, leverage: int | None, previous: int | None, outcome: str, **more: Any) -> dict[str, Any]:
    return {
        "symbol": symbol,
        "exchange": "EXCHANGE_2",
        "leverage": leverage,
        "previous_leverage": previous,
        "changed": outcome == "changed",
        "outcome": outcome,
        **more,
    }


def report(*rows: dict[str, Any], requests: int, single: bool = True) -> dict[str, Any]:
    """All that a task returns which ends with these rows, but for its plan."""
    changes = [entry for entry in rows if entry["changed"]]
    returned = {
        "changed": bool(changes),
        "failed": False,
        "diff": {
            "before": {entry["symbol"]: entry["previous_leverage"] for entry in changes},
            "after": {entry["symbol"]: entry["leverage"] for entry in changes},
        },
        "results": list(rows),
        "requests": requests,
    }
    if single:
        returned |= {name: value for name, value in rows[0].items() if name != "changed"}
    return returned


def without_plan(result: dict[str, Any]) -> dict[str, Any]:
    assert result["plan"].startswith("reads of leverage: ")
    # ansible_parsed is ansible-core 2.22's own.
    return {name: value for name, value in result.items() if name not in ("plan", "ansible_parsed")}


@pytest.mark.every_core
def test_modules_run_on_the_python_that_is_meant(ansible: Ansible) -> None:
    facts = {"gather_subset": ["!all", "!min", "python"]}
    result = ansible.play({"facts": {"ansible.builtin.setup": facts}}).local["facts"]
    executable = result["ansible_facts"]["ansible_python"]["executable"]
    assert Path(executable) == Path(ansible.variables["ANSIBLE_PYTHON_INTERPRETER"])


@pytest.mark.every_core
def test_a_playbook_brings_leverages_to_what_is_desired(ansible: Ansible, account: Account, sandbox: Sandbox) -> None:
    for name in ("COINSWITCH_API_URL", "COINSWITCH_API_KEY", "COINSWITCH_SECRET_KEY"):
        del ansible.variables[name]
    defaults = {"api_url": sandbox.url, "api_key": account.api_key, "secret_key": account.secret_key}
    account.leverage |= {"BTCUSDT": 20, "ETHUSDT": 25, "SOLUSDT": 3}

    outcome = ansible.play(
        {
            "predicted": task("BTCUSDT", 13, _={"check_mode": True, "diff": True}),
            "changed": task("BTCUSDT", 13, _={"diff": True}),
            "unchanged": task("BTCUSDT", 13),
            "in lower case, as text": task("btcusdt", "{{ 13 }}", exchange="exchange_2"),
            "a maximum kept": task("BTCUSDT", 14, enforce="maximum"),
            "a maximum exceeded": task("BTCUSDT", 12, enforce="maximum", rate_limit_share=0.5),
            "a table": task({"ETHUSDT": 5, "solusdt": 3}),
            "a loop": task("{{ item }}", 4, _={"loop": ["ADAUSDT", "DOTUSDT"]}),
        },
        module_defaults={GROUP: defaults},
    )

    in_a_loop = outcome.local.pop("a loop")
    assert {name: without_plan(result) for name, result in outcome.local.items()} == {
        "predicted": report(row("BTCUSDT", 13, 20, "changed"), requests=8),
        "changed": report(row("BTCUSDT", 13, 20, "changed"), requests=2),
        "unchanged": report(row("BTCUSDT", 13, 13, "unchanged"), requests=1),
        "in lower case, as text": report(row("BTCUSDT", 13, 13, "unchanged"), requests=1),
        "a maximum kept": report(row("BTCUSDT", 13, 13, "unchanged"), requests=1),
        "a maximum exceeded": report(row("BTCUSDT", 12, 13, "changed"), requests=2),
        "a table": report(
            row("ETHUSDT", 5, 25, "changed"), row("SOLUSDT", 3, 3, "unchanged"), requests=4, single=False
        ),
    }
    leverages = [
        entry[name] for entry in outcome.local["a table"]["results"] for name in ("leverage", "previous_leverage")
    ]
    assert {type(number) for number in leverages} == {int}
    assert [(entry["symbol"], entry["leverage"], entry["outcome"]) for entry in in_a_loop["results"]] == [
        ("ADAUSDT", 4, "changed"),
        ("DOTUSDT", 4, "changed"),
    ]
    assert account.leverage == {"BTCUSDT": 12, "ETHUSDT": 5, "SOLUSDT": 3, "ADAUSDT": 4, "DOTUSDT": 4}
    assert outcome.stdout.count('-    "BTCUSDT": 20') == outcome.stdout.count('+    "BTCUSDT": 13') == 2
    assert outcome.stderr == ""


def test_what_is_sent(ansible: Ansible, exchange: Exchange) -> None:
    ansible.play({"changed": task("btcusdt", 13)})
    read, write = exchange.requests
    assert (read.method, read.query, read.body) == ("GET", {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2"}, None)
    assert (write.method, write.query) == ("POST", {})
    assert write.body == {"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": 13}


@pytest.mark.every_core
def test_check_mode_fails_as_the_real_run_does(ansible: Ansible, account: Account, exchange: Exchange) -> None:
    position = account.open_position("SOLUSDT", "SHORT", "1.5")
    order = account.open_order("ADAUSDT", "BUY", "10", "0.4")
    account.open_position("LTCUSDT", "LONG", "1")
    account.open_order("LTCUSDT", "SELL", "1", "99")
    policy = {
        "a position": task("SOLUSDT", 5),
        "an order": task("ADAUSDT", 5),
        "both": task("LTCUSDT", 5),
        "above the limit": task("BTCUSDT", 26),
        "not listed": task("BTCUSD", 5),
        "one blocked of three": task({"BTCUSDT": 9, "SOLUSDT": 5, "ETHUSDT": 8}),
        "one impossible of three": task({"BNBUSDT": 9, "DOGEUSDT": 26, "AVAXUSDT": 8}),
        "blocked, and only warned of": task("SOLUSDT", 5, on_blocked="warn"),
    }
    predicted = ansible.play(policy, "--check", own_budgets=True).local
    assert exchange.count("write_leverage") == 0
    real = ansible.play(policy, own_budgets=True).local

    def said(results: dict[str, Any]) -> dict[str, Any]:
        """What a run returns, but for what only a write can bring."""
        for result in results.values():
            del result["requests"], result["plan"]
            for entry in result["results"]:
                entry.pop("exchange_message", None)
        return results

    for entry in real["a position"]["results"] + real["one blocked of three"]["results"][1:2]:
        assert entry["exchange_message"]
    assert said(predicted) == said(real)

    blocked = "leverage stays 10 instead of 5: blocked by"
    assert {name: result.get("msg") for name, result in real.items()} == {
        "a position": f"SOLUSDT: {blocked} an open position (SHORT 1.5); close the position first",
        "an order": f"ADAUSDT: {blocked} an open order ({order}); cancel the orders first",
        "both": f"LTCUSDT: {blocked} an open position (LONG 1) and an open order ({account.orders[1].order_id}); "
        "close the position and cancel the orders first",
        "above the limit": "BTCUSDT: leverage stays 10 instead of 26: a leverage of 26 is not allowed: the exchange "
        "accepts 1 to 25 in steps of 1",
        "not listed": "BTCUSD: EXCHANGE_2 does not list this symbol: did you mean BTCUSDT?",
        "one blocked of three": f"1 of 3 symbols does not have the desired leverage. "
        f"SOLUSDT: {blocked} an open position (SHORT 1.5); "
        "close the position first",
        "one impossible of three": real["one impossible of three"]["msg"],
        "blocked, and only warned of": None,
    }
    assert "DOGEUSDT" in real["one impossible of three"]["msg"]
    assert real["blocked, and only warned of"]["warnings"] == [real["a position"]["msg"]]
    assert real["blocked, and only warned of"]["outcome"] == "blocked"
    assert real["a position"]["results"][0]["blockers"] == [
        {"kind": "position", "position_id": position, "side": "SHORT", "size": "1.5"}
    ]
    assert account.leverage == {"BTCUSDT": 9, "ETHUSDT": 8}


def test_ad_hoc_with_the_keys_from_the_environment(ansible: Ansible, account: Account) -> None:
    def run(desired: int, *options: str) -> tuple[Outcome, dict[str, Any]]:
        return ansible.ad_hoc(MODULE, f"symbol=BTCUSDT leverage={desired}", *options)

    outcome, result = run(13, "--check", "--diff")
    assert (outcome.status, result["changed"], account.leverage) == (0, True, {})
    assert '+    "BTCUSDT": 13' in outcome.stdout

    outcome, result = run(13)
    assert (outcome.status, account.leverage, outcome.stderr) == (0, {"BTCUSDT": 13}, "")
    assert without_plan(result).items() <= report(row("BTCUSDT", 13, 10, "changed"), requests=2).items()

    outcome, result = run(26)
    assert (outcome.status, account.leverage) == (2, {"BTCUSDT": 13})
    assert result["msg"].startswith("BTCUSDT: leverage stays 13 instead of 26: a leverage of 26 is not allowed")


def test_a_desk_of_accounts_side_by_side(ansible: Ansible, exchange: Exchange, sandbox: Sandbox) -> None:
    accounts = {name: exchange.open_account(name) for name in ("beta", "gamma", "delta")}
    accounts["gamma"].open_position("ETHUSDT", "LONG", "1")
    accounts["delta"].new_pair()
    hosts = {name: {"key": one.api_key, "secret": one.secret_key} for name, one in accounts.items()}
    accounts["delta"].new_pair()

    outcome = ansible.play(
        {"the policy": task({"BTCUSDT": 7, "ETHUSDT": 6})},
        "--forks=4",
        hosts=hosts,
        module_defaults={GROUP: {"api_key": "{{ key }}", "secret_key": "{{ secret }}"}},
    )

    results = {name: result["the policy"] for name, result in outcome.results.items()}
    assert {name: result["failed"] for name, result in results.items()} == {"beta": False, "gamma": True, "delta": True}
    assert {one.name: one.leverage for one in exchange.accounts} == {
        "alpha": {},
        "beta": {"BTCUSDT": 7, "ETHUSDT": 6},
        "gamma": {"BTCUSDT": 7},
        "delta": {},
    }
    assert results["gamma"]["msg"].startswith(
        "1 of 2 symbols does not have the desired leverage. ETHUSDT: leverage stays 10 instead of 6"
    )
    assert "create a new pair" in results["delta"]["msg"]
    assert results["delta"]["requests"] == 1


@pytest.mark.every_core
def test_a_missing_key_is_named_with_its_option_and_its_variable(ansible: Ansible, exchange: Exchange) -> None:
    for name in ("COINSWITCH_API_KEY", "COINSWITCH_SECRET_KEY"):
        kept = ansible.variables.pop(name)
        outcome, result = ansible.ad_hoc(MODULE, "symbol=BTCUSDT leverage=13")
        option = name.removeprefix("COINSWITCH_").lower()
        assert result["msg"] == f"{option} is missing: set the option {option} or the environment variable {name}"
        assert outcome.status == 2
        ansible.variables[name] = kept
    assert exchange.requests == []


def test_a_missing_library_is_told_in_ansibles_usual_words(
    ansible: Ansible, exchange: Exchange, tmp_path: Path
) -> None:
    venv.create(tmp_path / "bare", symlinks=True)
    shadow = tmp_path / "shadow" / "cryptography"
    shadow.mkdir(parents=True)
    (shadow / "__init__.py").write_text("raise ImportError('No module named cryptography')\n")
    bare = {"ansible_python_interpreter": str(tmp_path / "bare/bin/python")}

    results = ansible.play(
        {
            "requests": task("BTCUSDT", 13, _={"vars": bare}),
            "requests, in check mode": task("BTCUSDT", 13, _={"vars": bare, "check_mode": True}),
            "cryptography": task("BTCUSDT", 13, _={"environment": {"PYTHONPATH": str(shadow.parent)}}),
        }
    ).local

    for name, result in results.items():
        library = name.partition(",")[0]
        assert result["msg"].startswith(f"Failed to import the required Python library ({library}) on ")
        assert result["failed"] is True
    assert exchange.requests == []


def test_a_task_that_is_killed_hinders_no_later_one(ansible: Ansible, exchange: Exchange, account: Account) -> None:
    writing = Event()

    def tell(request: Request) -> None:
        if request.endpoint == "write_leverage":
            writing.set()

    exchange.add_fault("write_leverage", Fault(delay=3600.0, drop="after"))
    with Sandbox(exchange, log=tell) as sandbox:
        ansible.reach(sandbox)
        command = ["ansible", "-i", "localhost,", "-c", "local", "localhost", "-m", MODULE, "-a"]
        process = ansible.start(*command, "symbol=BTCUSDT leverage=13 timeout=600")
        assert writing.wait(timeout=60), "the write was never sent"
        _kill_family(process)
        _outcome, result = ansible.ad_hoc(MODULE, "symbol=BTCUSDT leverage=14")
    assert (result["previous_leverage"], result["leverage"], result["outcome"]) == (13, 14, "changed")
    assert account.leverage == {"BTCUSDT": 14}


def _kill_family(process: subprocess.Popen[str]) -> None:
    """Kill a command and all that it started, which may have a process group of its own."""
    family = [process.pid]
    for pid in family:
        for children in Path(f"/proc/{pid}/task").glob("*/children"):
            family += map(int, children.read_text().split())
    for pid in family:
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert len(family) > 1
