# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A desk of accounts: the playbooks that are run by name, the role in a play of one's own, and their report."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import Account, Exchange, Fault, Sandbox

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible, Outcome

POLICY = {"BTCUSDT": 10, "ETHUSDT": 5, "SOLUSDT": 3, "DOGEUSDT": 8}
MARKUP = "<script>alert('{{ 7 * 7 }}')</script>"


class Desk:
    """An inventory whose hosts are accounts, in Ansible's working folder."""

    def __init__(self, ansible: Ansible, url: str) -> None:
        self._ansible = ansible
        self._runs = 0
        self.folder = ansible.folder
        self.hosts: dict[str, dict[str, Any]] = {}
        self.variables: dict[str, Any] = {
            "coinswitch_api_url": url,
            "leverage_policy": POLICY,
            "leverage_report_html": "page.html",
            "leverage_report_json": "report.json",
        }

    def add(self, account: Account, **variables: Any) -> None:
        self.add_host(account.name, account.api_key, account.secret_key, **variables)

    def add_host(self, name: str, api_key: str, secret_key: str, **variables: Any) -> None:
        self.hosts[name] = {"coinswitch_api_key": api_key, "coinswitch_secret_key": secret_key, **variables}

    def run(self, playbook: str, *options: str) -> Outcome:
        """Run a playbook on the desk, with request budgets of its own, as if a minute had passed."""
        budgets = self.folder / f"tmp{self._runs}"
        budgets.mkdir()
        self._runs += 1
        self._ansible.variables["TMPDIR"] = str(budgets)
        inventory = {"desk": {"hosts": self.hosts, "vars": self.variables}}
        (self.folder / "inventory.yml").write_text(json.dumps(inventory))
        return self._ansible.run("ansible-playbook", "-i", "inventory.yml", playbook, *options)

    def play(self, *options: str, **keywords: Any) -> Outcome:
        """Run a play of the user's own that uses the role."""
        group = {"api_key": "{{ coinswitch_api_key }}", "secret_key": "{{ coinswitch_secret_key }}"}
        play = {
            "name": "Mine",
            "hosts": "all",
            "connection": "local",
            "gather_facts": False,
            "module_defaults": {"group/tradeops.coinswitch.coinswitch": group},
            "roles": ["tradeops.coinswitch.leverage"],
        }
        (self.folder / "mine.yml").write_text(json.dumps([{**play, **keywords}]))
        return self.run("mine.yml", *options)

    @property
    def report(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return report

    @property
    def outlook(self) -> tuple[bool, bool]:
        """Whether the report was made in check mode, and finds all in order."""
        report = self.report
        return report["check_mode"], report["in_order"]

    @property
    def page(self) -> str:
        return (self.folder / "page.html").read_text()

    @property
    def cells(self) -> dict[str, list[str]]:
        """The table of all leverages on the page: the cells of an account by its name, in the order of the symbols."""
        table = self.page.split('class="box grid"')[1].split("</table>")[0]
        symbols = re.findall("<th scope=.col.>([A-Z0-9]+USDT)", table)
        order = sorted(range(len(symbols)), key=lambda column: symbols[column])
        table = table.split("<tbody>")[1]
        rows = [re.split("<t[hd][^>]*>", row)[1:] for row in table.split("<tr")[1:]]
        texts = [[html.unescape(re.sub("<[^>]*>", " ", cell)) for cell in row] for row in rows]
        cells_of = {name.strip(): [" ".join(cell.split()) for cell in cells] for name, *cells in texts}
        whole = {name: cells for name, cells in cells_of.items() if len(cells) == len(symbols)}
        return cells_of | {name: [cells[column] for column in order] for name, cells in whole.items()}

    def outcomes(self) -> dict[str, list[str]]:
        return {account["account"]: account["outcomes"] for account in self.report["accounts"]}


@pytest.fixture
def desk(ansible: Ansible, sandbox: Sandbox) -> Desk:
    return Desk(ansible, sandbox.url)


def in_force(account: Account, leverage: Mapping[str, int]) -> None:
    for symbol, value in leverage.items():
        account.set_leverage(symbol, value)


def cell(now: int, desired: int) -> str:
    return str(now) if now == desired else f"{now} policy {desired}"


def test_drift_is_found_then_enforced_then_gone(desk: Desk, exchange: Exchange) -> None:
    accounts = [exchange.accounts[0], *(exchange.open_account(name) for name in ("beta", "gamma", "delta"))]
    symbols = sorted(POLICY)
    for number, account in enumerate(accounts):
        # Each account has drifted in other symbols, the first in none.
        in_force(
            account, {symbol: desired + number * (place % 2) for place, (symbol, desired) in enumerate(POLICY.items())}
        )
        desk.add(account)
    desk.hosts["delta"]["leverage_policy"] = {**POLICY, "BTCUSDT": 7}
    before = {account.name: dict(account.leverage) for account in accounts}
    policy = {name: {**POLICY, "BTCUSDT": 7 if name == "delta" else 10} for name in before}

    found = desk.run("tradeops.coinswitch.drift")
    assert found.status == 2, found.stdout
    assert exchange.count("write_leverage") == 0
    assert {account.name: account.leverage for account in accounts} == before
    assert desk.outlook == (True, False)
    assert desk.cells == {
        name: [cell(before[name][symbol], policy[name][symbol]) for symbol in symbols] for name in before
    }
    assert {
        (account["account"], row["symbol"]): (row["leverage"], row["wish"], row["outcome"])
        for account in desk.report["accounts"]
        for row in account["results"]
    } == {
        (name, symbol): (now, desired, "unchanged" if now == desired else "drifted")
        for name in before
        for symbol, desired in policy[name].items()
        for now in [before[name][symbol]]
    }

    enforced = desk.run("tradeops.coinswitch.enforce")
    assert enforced.status == 0, enforced.stdout
    assert {account.name: account.leverage for account in accounts} == policy
    drifted = sum(before[name][symbol] != policy[name][symbol] for name in before for symbol in symbols)
    assert exchange.count("write_leverage") == drifted == desk.report["summary"]["changed"]
    assert desk.outlook == (False, True)
    assert desk.cells == {
        name: [
            str(policy[name][symbol]) + (f" was {now}" if (now := before[name][symbol]) != policy[name][symbol] else "")
            for symbol in symbols
        ]
        for name in before
    }

    exchange.requests.clear()
    gone = desk.run("tradeops.coinswitch.drift")
    assert gone.status == 0, gone.stdout
    assert desk.outlook == (True, True)
    assert len(exchange.requests) == len(accounts) * len(symbols), "one request each, and no other"


@pytest.mark.every_core
def test_an_account_that_fails_stops_neither_the_others_nor_the_report(desk: Desk, exchange: Exchange) -> None:
    alpha, blocked, refusing = exchange.accounts[0], exchange.open_account("blocked"), exchange.open_account("refusing")
    in_force(alpha, POLICY | {"BTCUSDT": 20})
    in_force(blocked, POLICY | {"BTCUSDT": 20, "ETHUSDT": 20})
    in_force(refusing, POLICY | {"SOLUSDT": 20})
    blocked.open_position("ETHUSDT", "LONG", "1.5")
    exchange.add_fault("write_leverage", Fault(status=422, body={"message": MARKUP}), None, "SOLUSDT")
    # The first of the hosts is one that falls out before the role begins.
    desk.add_host("a text for a policy", "", "", leverage_policy="BTCUSDT")
    desk.add(alpha)
    desk.add(blocked)
    desk.add(refusing)
    desk.add_host("wrong keys", alpha.api_key, "11" * 32)
    desk.hosts["no keys"] = {}
    desk.add_host("no policy", alpha.api_key, alpha.secret_key, leverage_policy={})
    desk.add_host(MARKUP, alpha.api_key, alpha.secret_key, leverage_policy={"BTC/USDT": 10, "ETHUSDT": "<b>"})
    desk.add_host(
        "unreachable", alpha.api_key, alpha.secret_key, ansible_connection="ssh", ansible_host="127.0.0.1",
        ansible_port=9,
    )  # fmt: skip
    desk.add_host("no Python", alpha.api_key, alpha.secret_key, ansible_python_interpreter="/nonexistent/python3")

    outcome = desk.run("tradeops.coinswitch.enforce")
    assert outcome.status == 2
    assert alpha.leverage == POLICY
    assert desk.outcomes() == {
        "a text for a policy": ["unknown"],
        "alpha": ["changed", "unchanged"],
        "blocked": ["blocked", "changed", "unchanged"],
        "refusing": ["refused", "unchanged"],
        "wrong keys": ["unknown"],
        "no keys": ["unknown"],
        "no policy": ["unknown"],
        MARKUP: ["unknown"],
        "unreachable": ["unknown"],
        "no Python": ["unknown"],
    }
    message = {account["account"]: account["message"] for account in desk.report["accounts"]}
    assert message["alpha"] == ""
    assert "ETHUSDT: leverage stays 20 instead of 5: blocked by an open position (LONG 1.5)" in message["blocked"]
    assert MARKUP in message["refusing"]
    assert "secret_key and api_key are not a pair" in message["wrong keys"]
    assert "'coinswitch_api_key' is undefined" in message["no keys"], "not those of the environment"
    assert "leverage_policy of this account is empty" in message["no policy"]
    assert "did you mean BTCUSDT?" in message[MARKUP]
    assert "ssh" in message["unreachable"]
    assert "/nonexistent/python3" in message["no Python"], "the playbook's own interpreter is but a default"
    assert "was not asked in this run" in message["a text for a policy"]
    shown = html.unescape(desk.page)
    reasons = [trouble["reason"] for account in desk.report["accounts"] for trouble in account["troubles"]]
    assert len(reasons) == 9
    assert not [reason for reason in reasons if reason not in shown]
    failed = {
        name
        for name in desk.hosts
        if re.search(rf"^fatal: \[{re.escape(name)}\]: FAILED!", outcome.stdout, re.MULTILINE)
    }
    assert failed == desk.hosts.keys() - {"alpha"}
    row = next(row for row in desk.report["accounts"][2]["results"] if row["symbol"] == "ETHUSDT")
    (blocker,) = row["blockers"]
    assert (blocker["kind"], blocker["side"], blocker["size"]) == ("position", "LONG", "1.5")

    assert desk.page.count("<script") == 1, "the page's own"
    assert "49" not in desk.page
    assert MARKUP in desk.cells


def test_the_options_of_the_role(desk: Desk, exchange: Exchange) -> None:
    account = exchange.accounts[0]
    desk.add(account)

    def fresh() -> None:
        in_force(account, POLICY | {"BTCUSDT": 20, "SOLUSDT": 2})
        exchange.requests.clear()

    fresh()
    kept = dict(account.leverage)
    no_page = ["-e", "leverage_report_html="]
    assert desk.play(*no_page, check_mode=True).status == 0, "check mode predicts a run that succeeds"
    assert account.leverage == kept, "a play's own check mode is kept to"
    assert desk.outcomes() == {"alpha": ["drifted", "unchanged"]}

    assert desk.play("-e", "leverage_enforce=maximum", "-e", "leverage_report_title=<Desk>").status == 0
    assert account.leverage == POLICY | {"SOLUSDT": 2}
    assert desk.cells["alpha"] == ["10 was 20", "8", "5", "2 at most 3"]
    assert "<h1>&lt;Desk&gt;</h1>" in desk.page

    fresh()
    account.open_position("BTCUSDT", "SHORT", "0.01")
    (desk.folder / "page.html").unlink()
    assert desk.play("-e", "leverage_on_blocked=warn", "-e", "leverage_report_mode=0600", *no_page).status == 0
    assert desk.outcomes() == {"alpha": ["blocked", "changed", "unchanged"]}
    assert not (desk.folder / "page.html").exists()
    assert (desk.folder / "report.json").stat().st_mode & 0o777 == 0o600

    (desk.folder / "report.json").unlink()
    assert desk.play("-e", "leverage_fail=false", "-e", "leverage_report_json=").status == 0
    assert (desk.folder / "page.html").stat().st_mode & 0o777 == 0o640
    assert not (desk.folder / "report.json").exists()


@pytest.mark.every_core
def test_only_some_accounts(desk: Desk, exchange: Exchange) -> None:
    for account in (exchange.accounts[0], exchange.open_account("beta"), exchange.open_account("gamma")):
        in_force(account, POLICY)
        desk.add(account)
    in_force(exchange.accounts[1], {"BTCUSDT": 20})
    some = ["-e", "leverage_hosts=alpha,beta", "-e", "leverage_report_html="]
    assert desk.run("tradeops.coinswitch.drift", *some, "--limit", "alpha,gamma").status == 0
    assert list(desk.outcomes()) == ["alpha"]


def test_no_secret_is_in_the_report_or_the_output(desk: Desk, exchange: Exchange) -> None:
    account = exchange.accounts[0]
    desk.add(account)
    in_force(account, POLICY | {"BTCUSDT": 20})
    exchange.add_fault("write_leverage", Fault(status=400, echo_keys=True))
    outcome = desk.run("tradeops.coinswitch.enforce", "-vvvv", "--diff")
    assert outcome.status == 2
    said = outcome.stdout + outcome.stderr + desk.page + json.dumps(desk.report)
    for secret in (account.api_key, account.secret_key):
        assert secret not in said
        assert secret.upper() not in said


def test_an_account_that_is_not_asked_is_not_in_order(desk: Desk, exchange: Exchange) -> None:
    """What an earlier play of the same run saw of it does not count, nor that it is a host of this one."""
    alpha, beta = exchange.accounts[0], exchange.open_account("beta")
    desk.add(alpha)
    desk.add(beta)
    plays = [
        {"import_playbook": "tradeops.coinswitch.enforce"},
        {
            "name": "Change the leverage of alpha behind our back, and fail",
            "hosts": "all",
            "connection": "local",
            "gather_facts": False,
            "tasks": [
                {
                    "name": "Change it",
                    "tradeops.coinswitch.futures_leverage": {
                        "api_key": "{{ coinswitch_api_key }}",
                        "secret_key": "{{ coinswitch_secret_key }}",
                        "symbol": "BTCUSDT",
                        "leverage": 20,
                    },
                    "when": "inventory_hostname == 'alpha'",
                },
                {"name": "Fail", "ansible.builtin.fail": {}, "when": "inventory_hostname == 'alpha'"},
            ],
        },
        {"import_playbook": "tradeops.coinswitch.drift"},
    ]
    (desk.folder / "three.yml").write_text(json.dumps(plays))
    run = desk.run("three.yml")
    assert run.status == 2, run.stdout
    assert alpha.leverage["BTCUSDT"] == 20
    assert desk.report["in_order"] is False
    assert desk.outcomes() == {"alpha": ["unknown"], "beta": ["unchanged"]}
    assert "was not asked in this run" in desk.report["accounts"][0]["message"]


@pytest.mark.parametrize("playbook", ["tradeops.coinswitch.drift", "tradeops.coinswitch.enforce"])
@pytest.mark.parametrize(
    ("hosts", "options"),
    [
        (False, ()),
        (True, ("-e", "leverage_hosts=nobody")),
        (True, ("-e", "leverage_hosts=desk:!alpha")),
        (True, ("-e", "leverage_hosts=alpha", "--limit", "beta")),
    ],
)
def test_a_run_without_accounts_fails(
    desk: Desk, exchange: Exchange, playbook: str, hosts: bool, options: tuple[str, ...]
) -> None:
    if hosts:
        desk.add(exchange.accounts[0])
        if "--limit" in options:
            desk.add(exchange.open_account("beta"))
    run = desk.run(playbook, *options)
    assert run.status != 0
    assert "no account matches" in run.stdout + run.stderr
    assert "check the inventory, leverage_hosts and --limit" in " ".join((run.stdout + run.stderr).split())
    assert exchange.requests == []


def test_with_serial_no_batch_calls_another_one_in_order(desk: Desk, exchange: Exchange) -> None:
    desk.add(exchange.accounts[0])
    desk.add(exchange.open_account("beta"))
    run = desk.play(serial=1)
    assert run.status == 0, run.stdout
    assert desk.report["in_order"] is False
    assert desk.outcomes() == {"alpha": ["unknown"], "beta": ["changed", "unchanged"]}


@pytest.mark.parametrize("strategy", ["free", "host_pinned"])
def test_other_strategies_never_call_an_account_in_order_that_was_not_asked(
    desk: Desk, exchange: Exchange, strategy: str
) -> None:
    desk.add(exchange.accounts[0], leverage_policy={"BTCUSDT": "{{ nobody_set_this }}"})
    desk.add(exchange.open_account("beta"))
    run = desk.play(strategy=strategy)
    assert run.status != 0
    (alpha,) = (account for account in desk.report["accounts"] if account["account"] == "alpha")
    assert not alpha["in_order"]


def test_an_account_whose_policy_cannot_be_templated_does_not_lose_the_report(desk: Desk, exchange: Exchange) -> None:
    desk.add(exchange.accounts[0], leverage_policy={"BTCUSDT": "{{ nobody_set_this }}"})
    desk.add(exchange.open_account("beta"))
    run = desk.play()
    assert run.status == 2
    assert desk.outcomes() == {"alpha": ["unknown"], "beta": ["changed", "unchanged"]}
    assert "was not asked in this run" in desk.report["accounts"][0]["message"]
    assert "nobody_set_this" in run.stdout + run.stderr


def test_the_report_of_the_last_run_is_the_history(desk: Desk, exchange: Exchange) -> None:
    alpha, beta = exchange.accounts[0], exchange.open_account("beta")
    for account in (alpha, beta):
        desk.add(account)
        in_force(account, POLICY | {"BTCUSDT": 40})
    files = ["-e", "leverage_report_summary=summary.txt", "-e", "leverage_report_metrics=leverage.prom"]
    first = desk.run("tradeops.coinswitch.drift", *files)
    assert "there is no earlier report at" in first.stderr
    assert [(row["account"], row["status"]) for row in desk.report["findings"]] == [("alpha", "new"), ("beta", "new")]
    assert "Above policy: 2 of 8 leverages, up to 4x" in first.stdout
    summary = (desk.folder / "summary.txt").read_text().splitlines()
    assert summary[0] == "Above policy: 2 of 8 leverages, up to 4x"
    assert summary[2] == "- above policy (4x): alpha BTCUSDT: 40, policy 10 (new)"
    metrics = (desk.folder / "leverage.prom").read_text()
    assert 'coinswitch_leverage_findings{report="Leverage",severity="above_policy"} 2\n' in metrics

    started = desk.report["time"]
    in_force(beta, POLICY)
    second = desk.run("tradeops.coinswitch.drift")
    assert "earlier report" not in second.stderr
    (finding,) = desk.report["findings"]
    assert (finding["account"], finding["first_seen"], finding["runs"]) == ("alpha", started, 2)
    assert [(row["account"], row["reason"]) for row in desk.report["history"]["resolved"]] == [("beta", "in policy")]
    assert [run["findings"] for run in desk.report["history"]["runs"]] == [2, 1]
    assert "Since the last run: 0 new, 1 continuing, 1 resolved" in second.stdout

    in_force(alpha, POLICY)
    desk.run("tradeops.coinswitch.drift", "--limit", "beta,localhost")
    assert [row["account"] for row in desk.report["history"]["not_checked"]] == ["alpha"], "nothing is known of it"


@pytest.mark.parametrize("content", [b'{"schema": "{{ 7 * 7 }}"}', b"[" * 10_000_000], ids=["foreign", "10 MB"])
def test_a_damaged_report_is_kept_and_does_not_fail_the_run(desk: Desk, exchange: Exchange, content: bytes) -> None:
    desk.add(exchange.accounts[0])
    in_force(exchange.accounts[0], POLICY)
    (desk.folder / "report.json").write_bytes(content)
    outcome = desk.run("tradeops.coinswitch.drift")
    assert outcome.status == 0, outcome.stdout
    assert "cannot be used" in outcome.stderr
    assert desk.report["in_order"] is True
    (copy,) = desk.folder.glob("report.json.*~")
    assert copy.read_bytes() == content


def test_a_folder_keeps_the_report_of_every_run(desk: Desk, exchange: Exchange) -> None:
    desk.add(exchange.accounts[0])
    in_force(exchange.accounts[0], POLICY | {"BTCUSDT": 5})
    desk.variables |= {"leverage_history_dir": "history", "leverage_report_json": "", "leverage_report_html": ""}
    for _turn in range(2):
        desk.run("tradeops.coinswitch.drift")
    assert not (desk.folder / "report.json").exists()
    files = sorted((desk.folder / "history").iterdir())
    assert len(files) == 2
    newest = max((json.loads(file.read_text()) for file in files), key=lambda report: len(report["history"]["runs"]))
    assert [(row["severity"], row["runs"]) for row in newest["findings"]] == [("below_policy", 2)]
