# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection works with AWX, ansible-builder and the event queries of the automation platform."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

# jq has no type information.
import jq  # type: ignore[import-not-found] # jq has no types
import yaml

from sandbox import Account, Exchange, Sandbox

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible

ROOT = Path(__file__).resolve().parents[2]
DEFINITION = ROOT / "examples" / "execution-environment.yml"
MODULE = "tradeops.coinswitch.futures_leverage"


def load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def test_ansible_builder_finds_the_requirements(ansible: Ansible) -> None:
    completed = ansible.run("ansible-builder", "introspect", ansible.environment["ANSIBLE_COLLECTIONS_PATH"])
    assert completed.exit_status == 0, completed.stderr
    introspected = yaml.safe_load(completed.stdout)
    requirements = re.findall(r"^[a-z].*", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert [line.partition(" ")[0] for line in introspected["python"]] == requirements
    assert not introspected["system"]


def test_guide_shows_the_example_execution_environment() -> None:
    guide = (ROOT / "docs" / "guides" / "awx.md").read_text(encoding="utf-8")
    block = re.search(r"^```yaml\n# execution-environment\.yml\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert block
    assert DEFINITION.read_text(encoding="utf-8").endswith(f"\n{block[1]}")


def test_event_query_returns_the_exchange_as_one_node(ansible: Ansible, account: Account) -> None:
    queries = load(ROOT / "extensions" / "audit" / "event_query.yml")
    assert list(queries) == [MODULE]
    query = jq.compile(queries[MODULE]["query"])
    _command, changed = ansible.ad_hoc(MODULE, '{"leverages": {"BTCUSDT": 13, "ETHUSDT": 14}}')
    _command, invalid_input = ansible.ad_hoc(MODULE, "symbol=BTC/USDT leverage=13")
    (node,) = query.input_value(changed).all()
    assert node["canonical_facts"] == {"service": "CoinSwitch PRO", "exchange": "EXCHANGE_2"}
    assert node["name"]
    assert account.api_key not in str(node)
    assert query.input_value(invalid_input).all() == []


def test_credential_type_sets_the_variables_of_the_modules() -> None:
    inputs = {field["id"]: field for field in load(ROOT / "examples/awx/credential_type_inputs.yml")["fields"]}
    variables = load(ROOT / "examples/awx/credential_type_injectors.yml")["env"]
    connection_options = (ROOT / "plugins/doc_fragments/connection.py").read_text(encoding="utf-8")
    for variable, value in variables.items():
        assert f"E({variable})" in connection_options
        assert re.sub(r"\W", "", value) in inputs
    for key in ("api_key", "secret_key"):
        assert inputs[key]["secret"] is True


def test_slices_side_by_side_are_merged_into_one_report(ansible: Ansible, exchange: Exchange, sandbox: Sandbox) -> None:
    accounts = [exchange.accounts[0], *(exchange.open_account(f"account-{number}") for number in (1, 2, 3))]
    for account in accounts:
        account.set_leverage("BTCUSDT", 10)
        account.set_leverage("ETHUSDT", 10)
    accounts[1].set_leverage("BTCUSDT", 40)
    hosts = {
        account.name: {"coinswitch_api_key": account.api_key, "coinswitch_secret_key": account.secret_key}
        for account in accounts
    }
    hosts["account-3"]["coinswitch_secret_key"] = "11" * 32
    parts = ansible.folder / "parts"
    parts.mkdir()
    variables = {"coinswitch_api_url": sandbox.url, "leverage_policy": {"BTCUSDT": 10, "ETHUSDT": 10}}
    slices = [ansible.folder / f"slice{number}" for number in range(2)]
    for number, folder in enumerate(slices):
        members = {name: keys for place, (name, keys) in enumerate(hosts.items()) if place % 2 == number}
        inventory = {"all": {"hosts": members, "vars": {**variables, "leverage_report_json": f"{parts}/{number}.json"}}}
        (folder / "project").mkdir(parents=True)
        (folder / "inventory").mkdir()
        (folder / "inventory" / "hosts.json").write_text(json.dumps(inventory))
        (folder / "project" / "drift.yml").write_text("[{import_playbook: tradeops.coinswitch.drift}]")
    processes = [ansible.start("ansible-runner", "run", str(folder), "--playbook", "drift.yml") for folder in slices]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 2], outputs

    (ansible.folder / "inventory.json").write_text(json.dumps({"all": {"hosts": hosts, "vars": variables}}))
    merge = ["ansible-playbook", "-i", "inventory.json", "tradeops.coinswitch.merge"]
    merge += ["-e", "leverage_report_json=all.json"]
    merge += ["-e", json.dumps({"leverage_parts": ["parts/*.json"], "leverage_parts_count": 2})]
    merged = ansible.run(*merge, "-e", "leverage_report_html=all.html")
    assert merged.exit_status == 2, merged.output
    report = json.loads((ansible.folder / "all.json").read_text())
    numbers = ("accounts", "leverages", "complying", "not_complying", "not_known")
    assert [report["summary"][name] for name in numbers] == [4, 8, 5, 1, 2]
    assert [(row["severity"], row["account"], row["symbol"]) for row in report["findings"]] == [
        ("above_policy", "account-1", "BTCUSDT"),
        ("not_reached", "account-3", "BTCUSDT"),
        ("not_reached", "account-3", "ETHUSDT"),
    ]
    assert (report["check_mode"], report["complete"]) == (True, True)
    assert "40" in (ansible.folder / "all.html").read_text()

    (parts / "0.json").unlink()
    assert ansible.run(*merge).exit_status == 2
    report = json.loads((ansible.folder / "all.json").read_text())
    assert report["complete"] is False
    assert report["summary"]["not_known"] == 2 + 4, "the inventory has two accounts that no report contains"
    runs = {row["account"]: row["runs"] for row in report["findings"]}
    assert runs == {"account-1": 2, "account-3": 2, "alpha": 1, "account-2": 1}
