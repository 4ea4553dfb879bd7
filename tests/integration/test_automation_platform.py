# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What AWX, ansible-builder and ansible-runner take from the collection is there and right."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

# It ships no types.
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


def test_the_builder_finds_just_our_requirements(ansible: Ansible) -> None:
    found = ansible.run("ansible-builder", "introspect", ansible.variables["ANSIBLE_COLLECTIONS_PATH"])
    assert found.status == 0, found.stderr
    returned = yaml.safe_load(found.stdout)
    wanted = re.findall(r"^[a-z].*", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert [line.partition(" ")[0] for line in returned["python"]] == wanted
    assert not returned["system"]


def test_the_definition_becomes_a_context(ansible: Ansible) -> None:
    made = ansible.run(
        "ansible-builder",
        "create",
        "--file",
        str(DEFINITION),
        "--context",
        "context",
        "--output-filename",
        "Containerfile",
    )
    assert made.status == 0, made.stdout + made.stderr
    context = ansible.folder / "context"
    assert {"name": "tradeops.coinswitch"} in load(context / "_build" / "requirements.yml")["collections"]
    assert str(load(DEFINITION)["images"]["base_image"]["name"]) in (context / "Containerfile").read_text()


def test_the_guide_shows_the_same_definition() -> None:
    guide = (ROOT / "docs" / "guides" / "awx.md").read_text(encoding="utf-8")
    shown = re.search(r"^```yaml\n# execution-environment\.yml\n(.*?)^```$", guide, re.MULTILINE | re.DOTALL)
    assert shown
    assert DEFINITION.read_text(encoding="utf-8").endswith(f"\n{shown[1]}")


def test_the_exchange_counts_as_one_node(ansible: Ansible, account: Account) -> None:
    queries = load(ROOT / "extensions" / "audit" / "event_query.yml")
    assert list(queries) == [MODULE]
    query = jq.compile(queries[MODULE]["query"])
    _outcome, many = ansible.ad_hoc(MODULE, '{"leverages": {"BTCUSDT": 13, "ETHUSDT": 14}}')
    _outcome, refused = ansible.ad_hoc(MODULE, "symbol=BTC/USDT leverage=13")
    (node,) = query.input_value(many).all()
    assert node["canonical_facts"] == {"service": "CoinSwitch PRO", "exchange": "EXCHANGE_2"}
    assert node["name"]
    assert account.api_key not in str(node)
    assert query.input_value(refused).all() == []


def test_the_credential_type_brings_the_keys_to_the_modules() -> None:
    inputs = {field["id"]: field for field in load(ROOT / "examples/awx/credential_type_inputs.yml")["fields"]}
    variables = load(ROOT / "examples/awx/credential_type_injectors.yml")["env"]
    connection = (ROOT / "plugins/doc_fragments/connection.py").read_text(encoding="utf-8")
    for variable, value in variables.items():
        assert f"E({variable})" in connection
        assert re.sub(r"\W", "", value) in inputs
    for key in ("api_key", "secret_key"):
        assert inputs[key]["secret"] is True
