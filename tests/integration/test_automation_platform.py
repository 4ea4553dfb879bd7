# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection works with AWX, ansible-builder and the event queries of the automation platform."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

# jq has no type information.
import jq  # type: ignore[import-not-found]
import yaml

from sandbox import Account

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
