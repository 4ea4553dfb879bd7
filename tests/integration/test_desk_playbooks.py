# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks drift and enforce and the role, with many accounts, and the report that they write."""

from __future__ import annotations

import html
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from ansible import template

from sandbox import Account, Exchange, Fault, Sandbox

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible, CompletedCommand

POLICY = {"BTCUSDT": 10, "ETHUSDT": 5, "SOLUSDT": 3, "DOGEUSDT": 8}
KEY_VARIABLES = ("coinswitch_api_key", "coinswitch_secret_key")
# The variable of each file that the role can write, with its name in the tests.
FILES = {
    "leverage_history_dir": "history",
    "leverage_report_html": "page.html",
    "leverage_report_json": "report.json",
    "leverage_report_metrics": "leverage.prom",
    "leverage_report_summary": "summary.txt",
}
MARKUP = "<script>alert('{{ 7919 * 7907 }}')</script>"
PRODUCT = str(7919 * 7907)


class Desk:
    """An inventory whose hosts are accounts. A run writes no files until a test asks for them.

    Attributes:
        folder: The working directory of the commands.
        hosts: The hosts of the inventory with their variables. Tests can change them.
        variables: The variables of all hosts. Tests can change them.
    """

    def __init__(self, ansible: Ansible, url: str) -> None:
        self._ansible = ansible
        self._run_count = 0
        self.folder = ansible.folder
        self._kept_report = self.folder / "kept.json"
        ansible.environment["ANSIBLE_CALLBACK_PLUGINS"] = str(Path(__file__).parent / "callback_plugins")
        ansible.environment["KEPT_REPORT"] = str(self._kept_report)
        self.hosts: dict[str, dict[str, Any]] = {}
        self.variables: dict[str, Any] = {"coinswitch_api_url": url, "leverage_policy": POLICY}

    def add_account(self, account: Account, **variables: Any) -> None:
        self.add_host(account.name, account.api_key, account.secret_key, **variables)

    def add_host(self, name: str, api_key: str, secret_key: str, **variables: Any) -> None:
        self.hosts[name] = {"coinswitch_api_key": api_key, "coinswitch_secret_key": secret_key, **variables}

    def run_playbook(self, playbook: str, *options: str) -> CompletedCommand:
        """Run a playbook on all accounts, with new request budgets, as if a minute passed since the last run."""
        budgets = self.folder / f"state{self._run_count}"
        budgets.mkdir()
        self._run_count += 1
        self._ansible.environment["XDG_STATE_HOME"] = str(budgets)
        inventory = {"desk": {"hosts": self.hosts, "vars": self.variables}}
        (self.folder / "inventory.yml").write_text(json.dumps(inventory))
        self._kept_report.unlink(missing_ok=True)
        return self._ansible.run("ansible-playbook", "-i", "inventory.yml", playbook, *options)

    def run_role(self, *options: str, **play_keywords: Any) -> CompletedCommand:
        """Run a playbook that uses the role, as a user would write it."""
        group = {"api_key": "{{ coinswitch_api_key }}", "secret_key": "{{ coinswitch_secret_key }}"}
        play = {
            "name": "Use the role",
            "hosts": "all",
            "connection": "local",
            "gather_facts": False,
            "module_defaults": {"group/tradeops.coinswitch.coinswitch": group},
            "roles": ["tradeops.coinswitch.leverage"],
        }
        (self.folder / "role.yml").write_text(json.dumps([{**play, **play_keywords}]))
        return self.run_playbook("role.yml", *options)

    def write_files(self, *names: str) -> None:
        """Let the next runs write these FILES, and no others. Each file takes longer than the rest of the role."""
        self.variables |= {variable: name if name in names else "" for variable, name in FILES.items()}

    @property
    def has_report(self) -> bool:
        return self._kept_report.exists()

    def read_report(self) -> dict[str, Any]:
        """Return the report of the last run, also if the run wrote no file."""
        report: dict[str, Any] = json.loads(self._kept_report.read_text())
        return report

    def read_report_file(self) -> dict[str, Any]:
        report: dict[str, Any] = json.loads((self.folder / "report.json").read_text())
        return report

    def read_problems(self) -> list[tuple[Any, ...]]:
        """Return the accounts, the symbols, the cause and the action of each problem of the report."""
        names = ("accounts", "symbols", "cause", "action")
        return [tuple(problem[name] for name in names) for problem in self.read_report()["problems"]]

    def read_outcomes(self) -> dict[str, list[str]]:
        """Return the outcomes of each account in the report."""
        return {account["account"]: account["outcomes"] for account in self.read_report()["accounts"]}

    def read_page(self) -> str:
        return (self.folder / "page.html").read_text()

    def read_page_cells(self) -> dict[str, list[str]]:
        """Return the table of all leverages on the page: the cells of each account, sorted by symbol."""
        table = self.read_page().split('class="box grid"')[1].split("</table>")[0]
        symbols = re.findall("<th scope=.col.>([A-Z0-9]+USDT)", table.split("<tbody>")[0])
        columns = sorted(range(len(symbols)), key=lambda column: symbols[column])
        # Without the totals.
        body = re.sub("<td class=t>[^<]*", "", table.split("<tbody>")[1])
        rows = [re.split("<t[hd][^>]*>", row)[1:] for row in body.split("<tr")[1:]]
        texts = [[html.unescape(re.sub("<[^>]*>", " ", cell)) for cell in row] for row in rows]
        cells_of = {name.strip(): [" ".join(cell.split()) for cell in cells] for name, *cells in texts}
        # An account that was not reached has one cell for all symbols.
        complete = {name: cells for name, cells in cells_of.items() if len(cells) == len(symbols)}
        return cells_of | {name: [cells[column] for column in columns] for name, cells in complete.items()}


@pytest.fixture
def desk(ansible: Ansible, sandbox: Sandbox) -> Desk:
    return Desk(ansible, sandbox.url)


def set_leverages(account: Account, leverages: Mapping[str, int]) -> None:
    for symbol, value in leverages.items():
        account.set_leverage(symbol, value)


def expected_cell(current: int, desired: int) -> str:
    return str(current) if current == desired else f"{current} policy {desired}"


def test_enforce_removes_the_drift_that_drift_found(desk: Desk, exchange: Exchange) -> None:
    desk.write_files("page.html", "report.json")
    accounts = [exchange.accounts[0], *(exchange.open_account(name) for name in ("beta", "gamma", "delta"))]
    symbols = sorted(POLICY)
    for number, account in enumerate(accounts):
        # The first account has no drift. The others have other leverages for every second symbol.
        set_leverages(
            account, {symbol: desired + number * (place % 2) for place, (symbol, desired) in enumerate(POLICY.items())}
        )
        desk.add_account(account)
    desk.hosts["delta"]["leverage_policy"] = {**POLICY, "BTCUSDT": 7}
    before = {account.name: dict(account.leverage) for account in accounts}
    policy = {name: {**POLICY, "BTCUSDT": 7 if name == "delta" else 10} for name in before}

    drift = desk.run_playbook("tradeops.coinswitch.drift")
    assert drift.exit_status == 2, drift.stdout
    assert "changed:" not in drift.stdout
    assert "changed=1" not in drift.stdout
    assert exchange.count("write_leverage") == 0
    assert {account.name: account.leverage for account in accounts} == before
    report = desk.read_report_file()
    assert report == desk.read_report()
    assert (report["check_mode"], report["compliant"]) == (True, False)
    assert desk.read_page_cells() == {
        name: [expected_cell(before[name][symbol], policy[name][symbol]) for symbol in symbols] for name in before
    }
    assert {
        (account["account"], row["symbol"]): (row["leverage"], row["policy"], row["outcome"])
        for account in report["accounts"]
        for row in account["leverages"]
    } == {
        (name, symbol): (current, desired, "unchanged" if current == desired else "drifted")
        for name in before
        for symbol, desired in policy[name].items()
        for current in [before[name][symbol]]
    }

    enforce = desk.run_playbook("tradeops.coinswitch.enforce")
    assert enforce.exit_status == 0, enforce.stdout
    assert {account.name: account.leverage for account in accounts} == policy
    drifted = sum(before[name][symbol] != policy[name][symbol] for name in before for symbol in symbols)
    report = desk.read_report()
    assert exchange.count("write_leverage") == drifted == report["summary"]["changed"]
    assert (report["check_mode"], report["compliant"]) == (False, True)
    assert desk.read_page_cells() == {
        name: [
            str(policy[name][symbol])
            + (f" was {previous}" if (previous := before[name][symbol]) != policy[name][symbol] else "")
            for symbol in symbols
        ]
        for name in before
    }

    desk.write_files()
    exchange.requests.clear()
    second_drift = desk.run_playbook("tradeops.coinswitch.drift")
    assert second_drift.exit_status == 0, second_drift.stdout
    report = desk.read_report()
    assert (report["check_mode"], report["compliant"]) == (True, True)
    requests = len(accounts) * (len(symbols) + 1)
    assert len(exchange.requests) == requests, "one request for each symbol, one for the positions, and no other"


def test_check_mode_shows_the_changes_of_enforce(desk: Desk, exchange: Exchange) -> None:
    """The test that compares two reports shows that check mode shows no changes of drift."""
    account = exchange.accounts[0]
    set_leverages(account, {**POLICY, "BTCUSDT": 20})
    desk.add_account(account)
    completed = desk.run_playbook("tradeops.coinswitch.enforce", "--check")
    assert completed.exit_status == 0, completed.stdout
    assert "changed:" in completed.stdout
    assert "changed=1" in completed.stdout
    assert exchange.count("write_leverage") == 0
    assert account.leverage["BTCUSDT"] == 20


@pytest.mark.every_core
def test_other_accounts_and_the_report_are_complete_if_accounts_fail(desk: Desk, exchange: Exchange) -> None:
    desk.write_files("page.html")
    alpha, blocked, refusing = exchange.accounts[0], exchange.open_account("blocked"), exchange.open_account("refusing")
    set_leverages(alpha, POLICY | {"BTCUSDT": 20})
    set_leverages(blocked, POLICY | {"BTCUSDT": 20, "ETHUSDT": 20})
    set_leverages(refusing, POLICY | {"SOLUSDT": 20})
    blocked.open_position("ETHUSDT", "LONG", "1.5")
    exchange.add_fault("write_leverage", Fault(status=422, body={"message": MARKUP}), None, "SOLUSDT")
    # The report must not depend on the first host, on which the tasks that run once are executed.
    desk.add_account(exchange.open_account("policy is a string"), leverage_policy="BTCUSDT")
    desk.add_account(alpha)
    desk.add_account(blocked)
    desk.add_account(refusing)
    desk.add_host("wrong keys", exchange.open_account("wrong keys").api_key, "11" * 32)
    desk.hosts["no keys"] = {}
    desk.add_host("no policy", alpha.api_key, alpha.secret_key, leverage_policy={})
    marked = exchange.open_account("marked")
    desk.add_host(MARKUP, marked.api_key, marked.secret_key, leverage_policy={"BTC/USDT": 10, "ETHUSDT": "<b>"})
    desk.add_account(
        exchange.open_account("unreachable"), ansible_connection="ssh", ansible_host="127.0.0.1", ansible_port=9
    )
    desk.add_account(exchange.open_account("no Python"), ansible_python_interpreter="/nonexistent/python3")

    completed = desk.run_playbook("tradeops.coinswitch.enforce")
    assert completed.exit_status == 2
    assert alpha.leverage == POLICY
    assert desk.read_outcomes() == {
        "policy is a string": ["unknown"],
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
    message = {account["account"]: account["message"] for account in desk.read_report()["accounts"]}
    assert message["alpha"] == ""
    assert "ETHUSDT (4 times the policy): " in message["blocked"]
    assert "LONG 1.5" in message["blocked"]
    assert MARKUP in message["refusing"]
    assert "secret_key and api_key are not a pair" in message["wrong keys"]
    assert "coinswitch_api_key and coinswitch_secret_key of no keys are not set" in message["no keys"]
    assert "The policy of the account is empty" in message["no policy"]
    assert "BTCUSDT" in message[MARKUP]
    assert "ssh" in message["unreachable"]
    assert "interpreter" in message["no Python"], "the interpreter of the inventory is used"
    assert "is not a symbol with its leverage. Write it as {BTCUSDT: 10, " in message["policy is a string"]
    page_text = html.unescape(desk.read_page())
    report = desk.read_report()
    # The page starts each reason with a capital letter.
    assert not [problem["reason"] for problem in report["problems"] if problem["reason"][1:] not in page_text]
    summary = report["summary"]
    numbers = ("leverages", "complying", "not_complying", "not_known")
    # Three accounts could be read. The policy of two others names no symbol, and that of one names two.
    assert [summary[name] for name in numbers] == [30, 10, 2, 18]
    failed = {
        name
        for name in desk.hosts
        if re.search(rf"^fatal: \[{re.escape(name)}\]: FAILED!", completed.stdout, re.MULTILINE)
    }
    assert failed == desk.hosts.keys() - {"alpha"}
    (finding,) = (row for row in report["findings"] if row["account"] == "blocked")
    (blocker,) = finding["blockers"]
    assert (blocker["kind"], blocker["side"], blocker["size"]) == ("position", "LONG", "1.5")

    assert desk.read_page().count("<script") == 1, "only the script of the page itself"
    assert PRODUCT not in desk.read_page()
    assert MARKUP in desk.read_page_cells()


def test_each_option_of_the_role_has_its_effect(desk: Desk, exchange: Exchange) -> None:
    account = exchange.accounts[0]
    desk.add_account(account)

    def reset() -> None:
        set_leverages(account, POLICY | {"BTCUSDT": 20, "SOLUSDT": 2})
        exchange.requests.clear()

    reset()
    before = dict(account.leverage)
    assert desk.run_role(check_mode=True).exit_status == 0, "check mode predicts a run that succeeds"
    assert account.leverage == before, "check_mode of the play applies to the role"
    assert desk.read_outcomes() == {"alpha": ["drifted", "unchanged"]}

    desk.write_files("page.html")
    assert desk.run_role("-e", "leverage_enforce=maximum", "-e", "leverage_report_title=<Desk>").exit_status == 0
    assert account.leverage == POLICY | {"SOLUSDT": 2}
    assert desk.read_page_cells()["alpha"] == ["10 was 20", "8", "5", "2 at most 3"]
    assert "<h1>&lt;Desk&gt;</h1>" in desk.read_page()
    assert (desk.folder / "page.html").stat().st_mode & 0o777 == 0o640
    assert not (desk.folder / "report.json").exists()

    reset()
    account.open_position("BTCUSDT", "SHORT", "0.01")
    (desk.folder / "page.html").unlink()
    desk.write_files("report.json")
    assert desk.run_role("-e", "leverage_on_blocked=warn", "-e", "leverage_report_mode=0600").exit_status == 0
    assert desk.read_outcomes() == {"alpha": ["blocked", "changed", "unchanged"]}
    assert not (desk.folder / "page.html").exists()
    assert (desk.folder / "report.json").stat().st_mode & 0o777 == 0o600

    desk.write_files()
    assert desk.run_role("-e", "leverage_fail=false").exit_status == 0
    assert desk.read_outcomes() == {"alpha": ["blocked", "unchanged"]}


@pytest.mark.every_core
def test_leverage_hosts_and_limit_select_the_accounts(desk: Desk, exchange: Exchange) -> None:
    for account in (exchange.accounts[0], exchange.open_account("beta"), exchange.open_account("gamma")):
        set_leverages(account, POLICY)
        desk.add_account(account)
    set_leverages(exchange.accounts[1], {"BTCUSDT": 20})
    options = ["-e", "leverage_hosts=alpha,beta", "--limit", "alpha,gamma"]
    assert desk.run_playbook("tradeops.coinswitch.drift", *options).exit_status == 0
    assert list(desk.read_outcomes()) == ["alpha"]


def test_no_secret_in_the_report_or_the_output(desk: Desk, exchange: Exchange) -> None:
    desk.write_files("page.html", "report.json")
    account = exchange.accounts[0]
    desk.add_account(account)
    set_leverages(account, POLICY | {"BTCUSDT": 20})
    exchange.add_fault("write_leverage", Fault(status=400, echo_keys=True))
    completed = desk.run_playbook("tradeops.coinswitch.enforce", "-vvvv", "--diff")
    assert completed.exit_status == 2
    everything = completed.output + desk.read_page() + json.dumps(desk.read_report_file())
    for secret in (account.api_key, account.secret_key):
        assert secret not in everything
        assert secret.upper() not in everything


def test_account_that_was_not_checked_is_not_compliant(desk: Desk, exchange: Exchange) -> None:
    """The report of a play does not use the results of an earlier play in the same run."""
    alpha, beta = exchange.accounts[0], exchange.open_account("beta")
    desk.add_account(alpha)
    desk.add_account(beta)
    plays = [
        {"import_playbook": "tradeops.coinswitch.enforce"},
        {
            "name": "Change the leverage of alpha, and fail",
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
    (desk.folder / "three_plays.yml").write_text(json.dumps(plays))
    completed = desk.run_playbook("three_plays.yml")
    assert completed.exit_status == 2, completed.stdout
    assert alpha.leverage["BTCUSDT"] == 20
    assert desk.read_report()["compliant"] is False
    assert desk.read_outcomes() == {"alpha": ["unknown"], "beta": ["unchanged"]}
    assert "was not checked in this run" in desk.read_report()["accounts"][0]["message"]


# A unit test compares this check of the two playbooks.
@pytest.mark.parametrize(
    ("playbook", "has_hosts", "options"),
    [
        ("drift", False, ()),
        ("enforce", True, ("-e", "leverage_hosts=nobody")),
        ("drift", True, ("-e", "leverage_hosts=desk:!alpha")),
        ("enforce", True, ("-e", "leverage_hosts=alpha", "--limit", "beta")),
    ],
)
def test_playbook_fails_if_no_account_matches(
    desk: Desk, exchange: Exchange, playbook: str, has_hosts: bool, options: tuple[str, ...]
) -> None:
    if has_hosts:
        desk.add_account(exchange.accounts[0])
        if "--limit" in options:
            desk.add_account(exchange.open_account("beta"))
    completed = desk.run_playbook(f"tradeops.coinswitch.{playbook}", *options)
    assert completed.exit_status != 0
    assert "No account matches" in completed.output
    assert "Check the inventory, leverage_hosts and --limit" in " ".join(completed.output.split())
    assert exchange.requests == []


@pytest.mark.every_core
def test_batches_of_serial_are_one_report(desk: Desk, exchange: Exchange) -> None:
    for account in (exchange.accounts[0], *(exchange.open_account(name) for name in ("beta", "gamma"))):
        desk.add_account(account)
        set_leverages(account, POLICY | {"BTCUSDT": 40})
    desk.write_files("history")
    desk.variables["leverage_fail"] = False
    for run, batch_size in ((1, 1), (2, 2)):
        completed = desk.run_role(serial=batch_size, check_mode=True)
        assert completed.exit_status == 0, completed.stdout
        report = desk.read_report()
        assert desk.read_outcomes() == {name: ["drifted", "unchanged"] for name in ("alpha", "beta", "gamma")}
        assert [(row["account"], row["runs"]) for row in report["findings"]] == [
            ("alpha", run), ("beta", run), ("gamma", run)
        ]  # fmt: skip
        assert len(report["history"]["runs"]) == run
        files = sorted((desk.folder / "history").iterdir(), key=lambda file: file.stat().st_mtime_ns)
        assert len(files) == run
        assert json.loads(files[-1].read_text()) == report


def test_accounts_of_a_batch_that_never_ran_are_not_known(desk: Desk, exchange: Exchange) -> None:
    """Ansible ends the play if all accounts of a batch fail."""
    for name in ("alpha", "beta"):
        desk.add_account(exchange.accounts[0] if name == "alpha" else exchange.open_account(name))
    set_leverages(exchange.accounts[0], POLICY | {"BTCUSDT": 40})
    completed = desk.run_role(serial=1, check_mode=True, vars={"leverage_fail_on_drift": True})
    assert completed.exit_status == 2
    assert desk.read_outcomes() == {"alpha": ["drifted", "unchanged"], "beta": ["unknown"]}
    assert desk.read_report()["summary"]["not_known"] == 4


@pytest.mark.parametrize("strategy", ["free", "host_pinned"])
def test_other_strategies_fail_before_any_request(desk: Desk, exchange: Exchange, strategy: str) -> None:
    for account in (exchange.accounts[0], exchange.open_account("beta")):
        desk.add_account(account)
    completed = desk.run_role(strategy=f"ansible.builtin.{strategy}")
    assert completed.exit_status != 0, completed.stdout
    assert "currently not supported in the free strategy" in completed.output
    assert "This role needs the strategy linear" in completed.output
    assert exchange.requests == []
    assert not desk.has_report


@pytest.mark.every_core
@pytest.mark.parametrize(
    ("playbook", "options", "settings"),
    [
        ("drift", ("--tags", "nightly", "--skip-tags", "nightly,all"), {}),
        ("enforce", (), {"ANSIBLE_RUN_TAGS": "nightly", "ANSIBLE_STRATEGY": "free"}),
    ],
)
def test_neither_tags_nor_another_strategy_switch_the_check_off(
    desk: Desk, ansible: Ansible, exchange: Exchange, playbook: str, options: tuple[str, ...], settings: dict[str, str]
) -> None:
    accounts = [exchange.accounts[0], exchange.open_account("beta")]
    for account in accounts:
        desk.add_account(account)
        set_leverages(account, POLICY | {"BTCUSDT": 33})
    ansible.environment.update(settings)
    completed = desk.run_playbook(f"tradeops.coinswitch.{playbook}", *options)
    assert completed.exit_status == (2 if playbook == "drift" else 0), completed.stdout
    assert {account.leverage["BTCUSDT"] for account in accounts} == {33 if playbook == "drift" else 10}
    assert desk.read_report()["summary"]["leverages"] == 2 * len(POLICY)


@pytest.mark.every_core
@pytest.mark.parametrize(
    ("playbook", "options", "message"),
    [
        ("drift", ["--start-at-task", "no such task"], "--start-at-task no such task would skip the check"),
        ("merge", ["--limit", "all"], "Run merge without --limit."),
        ("api_check", ["--tags", "nightly", "--limit", "alpha"], "No host matches localhost. Run the check without"),
        ("api_check", ["-e", "api_check_host=absent"], "No host matches absent."),
        ("api_check", ["--skip-tags", "always"], "--skip-tags always would skip the check"),
    ],
)
def test_run_that_would_do_nothing_fails(
    desk: Desk, exchange: Exchange, playbook: str, options: list[str], message: str
) -> None:
    desk.add_account(exchange.accounts[0])
    completed = desk.run_playbook(f"tradeops.coinswitch.{playbook}", *options)
    assert completed.exit_status != 0
    assert message in " ".join(completed.output.split())
    assert exchange.requests == []


@pytest.mark.parametrize("playbook", ["drift", "api_check"])
def test_limit_of_an_empty_inventory_is_an_error(ansible: Ansible, playbook: str) -> None:
    completed = ansible.run("ansible-playbook", f"tradeops.coinswitch.{playbook}", "--limit", "alpha")
    assert completed.exit_status != 0
    assert "--limit alpha would skip the check. Remove it." in " ".join(completed.output.split())


# A unit test shows that all playbooks compare the same tags.
@pytest.mark.every_core
@pytest.mark.parametrize(("playbook", "tags"), [("drift", "always"), ("enforce", "tagged,other"), ("merge", "always")])
def test_skipped_tags_that_would_skip_the_check_are_an_error(
    desk: Desk, exchange: Exchange, playbook: str, tags: str
) -> None:
    desk.add_account(exchange.accounts[0])
    completed = desk.run_playbook(f"tradeops.coinswitch.{playbook}", "--skip-tags", tags)
    assert completed.exit_status != 0
    assert f"--skip-tags {tags.partition(',')[0]} would skip the" in " ".join(completed.output.split())
    assert exchange.requests == []


def test_error_of_one_account_does_not_replace_the_results_of_others(desk: Desk, exchange: Exchange) -> None:
    alpha = exchange.accounts[0]
    desk.add_account(alpha)
    set_leverages(alpha, POLICY | {"BTCUSDT": 40})
    # Before ansible-core 2.19, a variable in module_defaults that is not defined fails each task of the play.
    desk.hosts["no keys"] = {} if hasattr(template, "trust_as_template") else dict.fromkeys(KEY_VARIABLES, "")
    completed = desk.run_role(any_errors_fatal=True)
    assert completed.exit_status == 2
    assert alpha.leverage == POLICY
    assert desk.read_outcomes() == {"alpha": ["changed", "unchanged"], "no keys": ["unknown"]}
    assert desk.read_report()["summary"]["changed"] > 0


def test_playbooks_use_neither_keys_nor_the_address_of_the_environment(
    desk: Desk, ansible: Ansible, exchange: Exchange
) -> None:
    """The fixture sets the environment variables to the keys of the first account."""
    assert ansible.environment["COINSWITCH_API_KEY"] == exchange.accounts[0].api_key
    ansible.environment["COINSWITCH_API_URL"] = "http://127.0.0.1:9"
    desk.add_account(exchange.open_account("beta"))
    desk.hosts["nothing"] = {}
    desk.hosts["empty"] = dict.fromkeys(KEY_VARIABLES, "")
    desk.hosts["omit"] = dict.fromkeys(KEY_VARIABLES, "{{ vault_key | default(omit) }}")
    desk.hosts["module"] = {"coinswitch_direct": False}
    completed = desk.run_playbook("tradeops.coinswitch.enforce")
    assert completed.exit_status == 2
    names = ("nothing", "empty", "omit", "module")
    assert desk.read_outcomes() == {"beta": ["changed", "unchanged"], **{name: ["unknown"] for name in names}}
    assert exchange.accounts[0].leverage == {}
    for account in desk.read_report()["accounts"][1:]:
        unset = f"coinswitch_api_key and coinswitch_secret_key of {account['account']} are not set."
        assert unset in account["message"]
        assert account["not_known"] == len(POLICY)


def test_accounts_with_the_same_key_fail_before_a_write_or_are_a_warning(desk: Desk, exchange: Exchange) -> None:
    """Two hosts with one key fail if their policies name the same symbol. Otherwise, there is a warning."""
    alpha, beta, other = exchange.accounts[0], exchange.open_account("beta"), exchange.open_account("other")
    set_leverages(other, POLICY | {"ETHUSDT": 20})
    set_leverages(alpha, {"BTCUSDT": 20, "ETHUSDT": 20})
    set_leverages(beta, {"BTCUSDT": 20, "ETHUSDT": 20})
    for name, account, symbol in (
        ("alpha", alpha, "BTCUSDT"), ("copy of alpha", alpha, "BTCUSDT"),
        ("beta", beta, "BTCUSDT"), ("copy of beta", beta, "ETHUSDT"),
    ):  # fmt: skip
        desk.add_host(name, account.api_key, account.secret_key, leverage_policy={symbol: 7})
    desk.add_account(other)
    completed = desk.run_playbook("tradeops.coinswitch.enforce")
    assert completed.exit_status == 2
    assert other.leverage == POLICY, "the other accounts are not concerned"
    assert alpha.leverage == {"BTCUSDT": 20, "ETHUSDT": 20}
    assert desk.read_problems() == [(["alpha", "copy of alpha"], ["BTCUSDT"], "same_key", "correct")]
    assert "alpha and copy of alpha use the same API key" in completed.stdout
    assert beta.leverage == {"BTCUSDT": 7, "ETHUSDT": 7}
    assert "beta and copy of beta use the same API key" in " ".join(desk.read_report()["warnings"])
    assert set(re.findall(r"^fatal: \[(.*?)\]", completed.stdout, re.MULTILINE)) == {"alpha", "copy of alpha"}
    report = json.dumps(desk.read_report())
    assert not [account.name for account in (alpha, beta) if account.api_key in report]


def test_worst_account_stays_first_in_the_night_when_its_keys_are_refused(desk: Desk, exchange: Exchange) -> None:
    desk.write_files("report.json")
    accounts = [exchange.accounts[0], exchange.open_account("beta"), exchange.open_account("worst")]
    for account in accounts:
        desk.add_account(account)
        set_leverages(account, POLICY)
    worst = accounts[2]
    assert desk.run_playbook("tradeops.coinswitch.drift").exit_status == 0
    worst.set_leverage("BTCUSDT", 40)
    worst.open_position("BTCUSDT", "LONG", "1.5")
    desk.run_playbook("tradeops.coinswitch.drift")
    assert [(row["severity"], row["account"]) for row in desk.read_report()["findings"]] == [("above_policy", "worst")]
    desk.hosts["worst"]["coinswitch_secret_key"] = "11" * 32
    desk.write_files("page.html", "report.json", "leverage.prom", "summary.txt")
    desk.run_playbook("tradeops.coinswitch.drift")
    report = desk.read_report()
    finding = report["findings"][0]
    assert (finding["severity"], finding["account"], finding["symbol"]) == ("above_when_last_seen", "worst", "BTCUSDT")
    assert (finding["last_leverage"], finding["factor"], finding["runs"]) == (40, 4.0, 2)
    assert report["headline"].startswith("1 above the policy when last seen and not read since, up to 4 times")
    assert [report["summary"][name] for name in ("complying", "not_complying", "not_known")] == [8, 0, 4]
    assert "worst BTCUSDT: not known, last seen 40" in (desk.folder / "summary.txt").read_text()
    assert 'severity="above_when_last_seen"} 4\n' in (desk.folder / "leverage.prom").read_text()
    assert "last seen 40" in desk.read_page()


def test_report_and_history_are_written_if_another_file_cannot_be_written(desk: Desk, exchange: Exchange) -> None:
    account = exchange.accounts[0]
    desk.add_account(account)
    desk.write_files("history", "report.json", "leverage.prom")
    desk.variables["leverage_report_html"] = "missing/page.html"
    completed = desk.run_playbook("tradeops.coinswitch.enforce")
    assert completed.exit_status == 2
    assert "The file missing/page.html was not written." in completed.stdout
    assert desk.read_report_file()["summary"]["changed"] > 0
    assert len(list((desk.folder / "history").iterdir())) == 1
    assert (desk.folder / "leverage.prom").exists()


def test_other_files_are_written_if_the_path_of_the_report_is_a_loop_of_links(desk: Desk, exchange: Exchange) -> None:
    desk.add_account(exchange.accounts[0])
    desk.write_files("summary.txt")
    for variable in ("leverage_report_json", "leverage_history_dir"):
        (desk.folder / variable).symlink_to(variable)
        desk.variables[variable] = variable
    completed = desk.run_playbook("tradeops.coinswitch.enforce")
    assert completed.exit_status == 2
    for variable in ("leverage_report_json", "leverage_history_dir"):
        path = desk.folder.resolve() / variable
        assert f"{path} is not written, because it leads through too many links. Remove the links." in completed.stdout
    assert "3 changed" in (desk.folder / "summary.txt").read_text()


def test_link_of_another_user_is_not_followed(desk: Desk, exchange: Exchange) -> None:
    desk.write_files("page.html", "report.json")
    desk.add_account(exchange.accounts[0])
    set_leverages(exchange.accounts[0], POLICY)
    (desk.folder / "target").write_text("precious")
    for name in ("report.json", "page.html"):
        (desk.folder / name).symlink_to("target")
    try:
        os.chown(desk.folder / "page.html", 12345, -1, follow_symlinks=False)
    except PermissionError:
        pytest.skip("only root can create a link of another user")
    completed = desk.run_playbook("tradeops.coinswitch.drift")
    assert completed.exit_status == 2
    assert "page.html is a link that another user (ID 12345) owns" in " ".join(completed.stdout.split())
    assert json.loads((desk.folder / "target").read_text())["compliant"], "an own link is followed"
    assert (desk.folder / "page.html").is_symlink()


def test_report_is_written_if_the_policy_of_an_account_has_an_undefined_variable(
    desk: Desk, exchange: Exchange
) -> None:
    desk.add_account(exchange.accounts[0], leverage_policy={"BTCUSDT": "{{ undefined_variable }}"})
    desk.add_account(exchange.open_account("beta"))
    completed = desk.run_role()
    assert completed.exit_status == 2
    assert desk.read_outcomes() == {"alpha": ["unknown"], "beta": ["changed", "unchanged"]}
    assert "was not checked in this run" in desk.read_report()["accounts"][0]["message"]
    assert "undefined_variable" in completed.output


def test_report_compares_with_the_report_of_the_last_run(desk: Desk, exchange: Exchange) -> None:
    alpha, beta = exchange.accounts[0], exchange.open_account("beta")
    for account in (alpha, beta):
        desk.add_account(account)
        set_leverages(account, POLICY | {"BTCUSDT": 40})
    desk.write_files("report.json", "summary.txt", "leverage.prom")
    first = desk.run_playbook("tradeops.coinswitch.drift")
    assert "There is no earlier report at" in first.stderr
    assert [(row["account"], row["status"]) for row in desk.read_report()["findings"]] == [
        ("alpha", "new"),
        ("beta", "new"),
    ]
    assert "Above the policy: 2 of 8 leverages, up to 4 times the policy" in first.stdout
    summary = (desk.folder / "summary.txt").read_text().splitlines()
    assert summary[0] == "Above the policy: 2 of 8 leverages, up to 4 times the policy"
    assert summary[3:] == [
        "To do: run enforce (2)",
        "- above policy (4 times the policy): 2 leverages: alpha, beta: BTCUSDT",
    ]
    metrics = (desk.folder / "leverage.prom").read_text()
    assert 'coinswitch_leverage_findings{report="Leverage",severity="above_policy"} 2\n' in metrics

    started = desk.read_report()["time"]
    set_leverages(beta, POLICY)
    desk.write_files("report.json")
    second = desk.run_playbook("tradeops.coinswitch.drift", "--check")
    assert second.exit_status == 2
    assert "changed:" not in second.stdout
    assert "changed=1" not in second.stdout
    assert exchange.count("write_leverage") == 0
    assert "earlier report" not in second.stderr
    (finding,) = desk.read_report()["findings"]
    assert (finding["account"], finding["first_seen"], finding["runs"]) == ("alpha", started, 2)
    assert [(row["account"], row["reason"]) for row in desk.read_report()["history"]["resolved"]] == [
        ("beta", "complies with the policy")
    ]
    assert [run["findings"] for run in desk.read_report()["history"]["runs"]] == [2, 1]
    assert "Since the last run: 0 new, 1 continuing, 1 resolved" in second.stdout

    set_leverages(alpha, POLICY)
    desk.run_playbook("tradeops.coinswitch.drift", "--limit", "beta,localhost")
    assert [row["account"] for row in desk.read_report()["history"]["not_checked"]] == ["alpha"]


@pytest.mark.every_core
def test_template_in_the_name_of_a_host_is_never_evaluated(desk: Desk, exchange: Exchange) -> None:
    desk.write_files(*FILES.values())
    above, left_out, without_keys, failing = names = [
        "{{ 7919 * 7907 }}",
        "{{ lookup('pipe', 'touch $HOME/ran') }}{# note #}",
        "{% if true %}{{ 7919 * 7907 }}{% endif %}",
        "{{ lookup('pipe', 'touch $HOME/ran') }}{{ unknown }}",
    ]
    account, other = exchange.accounts[0], exchange.open_account("other")
    set_leverages(account, {"BTCUSDT": 40})
    desk.add_host(above, account.api_key, account.secret_key, ansible_python_interpreter=sys.executable)
    desk.add_host(left_out, other.api_key, other.secret_key)
    desk.add_host("the same key", other.api_key, other.secret_key)
    desk.add_host(without_keys, "", "")
    third = exchange.open_account("third")
    desk.add_host(failing, third.api_key, third.secret_key, ansible_python_interpreter="/nonexistent/python3")
    desk.variables["leverage_key_variables"] = [*KEY_VARIABLES]
    drift = desk.run_playbook("tradeops.coinswitch.drift")
    desk.write_files("history")
    runs = [
        drift,
        desk.run_role(serial=3),
        desk.run_playbook("tradeops.coinswitch.merge", "-e", "leverage_parts=report.json leverage_history_dir=history"),
    ]
    assert not (desk.folder / "home/ran").exists()
    assert [run.exit_status for run in runs] == [2, 2, 2]
    assert account.leverage == POLICY
    reports = [json.loads(path.read_text()) for path in desk.folder.glob("history/*")]
    assert len(reports) == 3
    for report in reports:
        messages = {row["account"]: row["message"] for row in report["accounts"]}
        assert messages.keys() == desk.hosts.keys()
        assert left_out in messages["the same key"]
        assert without_keys in messages[without_keys]
    texts = [html.unescape(desk.read_page()), (desk.folder / "summary.txt").read_text(), runs[1].stdout]
    assert not [name for name in names for text in texts if name not in text]
    texts += [(desk.folder / "leverage.prom").read_text(), repr(reports), *(run.output for run in runs)]
    assert not [text for text in texts if PRODUCT in text]


def test_drift_is_found_if_a_real_run_could_not_read_the_leverage_back(desk: Desk, exchange: Exchange) -> None:
    """The policy needs each read that the rate limit allows. So check mode predicts that a leverage is not known."""
    account = exchange.accounts[0]
    exchange.list_many(30)
    policy = dict.fromkeys(sorted(exchange.instruments)[:20], 10)
    last = list(policy)[-1]
    set_leverages(account, {**policy, last: 40})
    account.open_order(last, "BUY", "1", "10")
    desk.add_account(account, leverage_policy=policy, coinswitch_rate_limit_timeout=1)
    drift = desk.run_playbook("tradeops.coinswitch.drift")
    assert drift.exit_status == 2, drift.output
    (finding,) = desk.read_report()["findings"]
    assert (finding["symbol"], finding["severity"], finding["leverage"]) == (last, "above_policy", 40)
    assert (finding["outcome"], finding["cause"], finding["action"]) == ("drifted", "order", "close")
    assert "Above the policy: 1 of 20 leverages, up to 4 times the policy" in drift.stdout
    enforce = desk.run_playbook("tradeops.coinswitch.enforce", "--check")
    assert enforce.exit_status == 2, "check mode predicts that the real run fails"


def test_damaged_part_is_left_out_of_the_merge_by_name(desk: Desk, ansible: Ansible, exchange: Exchange) -> None:
    set_leverages(exchange.accounts[0], POLICY)
    desk.add_account(exchange.accounts[0])
    desk.write_files("report.json")
    assert desk.run_playbook("tradeops.coinswitch.drift").exit_status == 0
    part = desk.read_report()
    del part["check_mode"]
    (desk.folder / "damaged.json").write_text(json.dumps(part))
    options = json.dumps({"leverage_parts": ["report.json", "damaged.json"], "leverage_report_json": "all.json"})
    merge = ansible.run("ansible-playbook", "tradeops.coinswitch.merge", "-e", options)
    assert merge.exit_status == 2
    assert f"{desk.folder / 'damaged.json'} cannot be used" in " ".join(merge.output.split())
    report = json.loads((desk.folder / "all.json").read_text())
    assert report["headline"] == "Incomplete. Complies with the policy: 4 leverages on 1 account"


def test_loop_in_check_mode_is_reported_as_drift(ansible: Ansible, exchange: Exchange, account: Account) -> None:
    set_leverages(account, {"BTCUSDT": 40, "ETHUSDT": 10})
    module = {"symbol": "{{ item }}", "leverage": 10}
    task = {"tradeops.coinswitch.futures_leverage": module, "loop": ["BTCUSDT", "ETHUSDT"], "register": "run"}
    headline = "{{ ({'alpha': run} | tradeops.coinswitch.leverage_report).headline }}"
    tasks = [{**task, "name": "T", "check_mode": True}, {"name": "D", "ansible.builtin.debug": {"msg": headline}}]
    playbook = ansible.folder / "loop.yml"
    playbook.write_text(json.dumps([{"name": "P", "hosts": "localhost", "gather_facts": False, "tasks": tasks}]))
    completed = ansible.run("ansible-playbook", str(playbook))
    assert completed.exit_status == 0, completed.output
    assert "Above the policy: 1 of 2 leverages, up to 4 times the policy" in completed.stdout


def test_damaged_report_of_the_last_run_is_copied_and_does_not_fail_the_run(desk: Desk, exchange: Exchange) -> None:
    content = b'{"schema": "{{ 7 * 7 }}"}'
    desk.write_files("report.json")
    desk.add_account(exchange.accounts[0])
    set_leverages(exchange.accounts[0], POLICY)
    (desk.folder / "report.json").write_bytes(content)
    completed = desk.run_playbook("tradeops.coinswitch.drift")
    assert completed.exit_status == 0, completed.stdout
    assert "cannot be used" in completed.stderr
    assert desk.read_report_file()["compliant"] is True
    (copy,) = desk.folder.glob("report.json.*~")
    assert copy.read_bytes() == content


def test_history_dir_keeps_the_report_of_each_run_and_files_of_others_are_kept(desk: Desk, exchange: Exchange) -> None:
    desk.add_account(exchange.accounts[0])
    set_leverages(exchange.accounts[0], POLICY | {"BTCUSDT": 5})
    desk.write_files("history", "report.json")
    (desk.folder / "report.json").write_text("not ours")
    directory = desk.folder / "history"
    for run, mode in ((1, 0o750), (2, 0o1777)):
        desk.run_playbook("tradeops.coinswitch.drift")
        assert len(list(directory.iterdir())) == run
        assert directory.stat().st_mode & 0o7777 == mode, "the mode is only set when the directory is created"
        directory.chmod(0o1777)
    reports = [json.loads(file.read_text()) for file in directory.iterdir()]
    newest = max(reports, key=lambda report: len(report["history"]["runs"]))
    assert [(row["severity"], row["runs"]) for row in newest["findings"]] == [("below_policy", 2)]
    # The second run replaces the report of the first one.
    (copy,) = desk.folder.glob("report.json.*~")
    assert copy.read_text() == "not ours"


def test_wrong_variable_of_an_account_is_reported_for_this_account_alone(desk: Desk, exchange: Exchange) -> None:
    empty_policies: dict[str, Any] = {"null": None, "no text": "", "empty list": []}
    wrong_types = {"number": 5, "list": ["BTCUSDT"], "text": "BTCUSDT"}
    policies = empty_policies | wrong_types | {"undefined": {"BTCUSDT": "{{ undefined_variable }}"}}
    for name, policy in policies.items():
        desk.add_account(exchange.open_account(name), leverage_policy=policy)
    desk.add_account(exchange.open_account("mistyped"), leverage_enforce="minimum")
    desk.add_account(exchange.accounts[0])
    # Text is read as the module reads it.
    table = exchange.open_account("table as text")
    desk.add_account(table, leverage_policy='{"BTCUSDT": 7}')
    desk.hosts["no keys"] = {"leverage_policy": '{"BTCUSDT": 7}'}
    command = desk.run_playbook("tradeops.coinswitch.enforce")
    assert command.exit_status == 2
    assert desk.read_outcomes() == {
        **{name: ["unknown"] for name in (*policies, "mistyped", "no keys")},
        "alpha": ["changed", "unchanged"],
        "table as text": ["changed"],
    }
    accounts = {account["account"]: account for account in desk.read_report()["accounts"]}
    for name in empty_policies:
        assert "The policy of the account is empty" in accounts[name]["message"]
    for name in wrong_types:
        assert re.match("leverages is (a number|a list|text), and ", accounts[name]["message"])
    assert "undefined_variable" in accounts["undefined"]["message"]
    assert (accounts["mistyped"]["enforce"], accounts["mistyped"]["not_known"]) == (None, len(POLICY))
    assert "minimum" in accounts["mistyped"]["message"]
    assert table.leverage == {"BTCUSDT": 7}
    for name, is_compliant in (("table as text", True), ("no keys", None)):
        rows = accounts[name]["leverages"]
        assert [(row["symbol"], row["policy"], row["compliant"]) for row in rows] == [("BTCUSDT", 7, is_compliant)]


def test_playbook_with_variables_of_the_wrong_type_fails_before_any_request(desk: Desk, exchange: Exchange) -> None:
    desk.add_account(exchange.accounts[0])
    # A variable of the play is stronger than one of the inventory.
    wrong = "leverage_fail=perhaps leverage_fail_on_drift=perhaps"
    command = desk.run_playbook("tradeops.coinswitch.enforce", "-e", wrong)
    assert command.exit_status == 2
    assert "leverage_fail'" in command.output
    assert "leverage_fail_on_drift'" in command.output
    assert not exchange.requests
