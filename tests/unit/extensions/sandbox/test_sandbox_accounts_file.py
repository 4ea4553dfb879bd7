# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accounts file: what it brings about, and one line for what it cannot say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sandbox import Account, Exchange
from sandbox.accounts_file import fill, load

README = Path(__file__).resolve().parents[4] / "extensions" / "sandbox" / "README.md"


def by_name(exchange: Exchange) -> dict[str, Account]:
    return {account.name: account for account in exchange.accounts}


def test_the_example_of_the_manual(exchange: Exchange, tmp_path: Path) -> None:
    (example,) = re.findall("```yaml\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    path = tmp_path / "accounts.yml"
    path.write_text(example, encoding="utf-8")
    load(exchange, path)
    alpha, beta = exchange.accounts
    assert (alpha.name, alpha.leverage) == ("alpha", {"BTCUSDT": 10, "ETHUSDT": 5})
    assert [(p.symbol, p.side, str(p.size)) for p in alpha.positions] == [("BTCUSDT", "LONG", "0.01")]
    assert [(o.symbol, o.created_at) for o in alpha.orders] == [("ETHUSDT", 1_700_000_000_000 - 9 * 86_400_000)]
    assert (beta.name, beta.secret_key) == ("beta", bytes(range(32)).hex())
    assert exchange.instruments["FOOUSDT"]["max_leverage"] == 20


def test_keys_come_from_the_name(exchange: Exchange) -> None:
    again = Exchange()
    for filled in (exchange, again):
        fill(filled, {"accounts": [{"name": "alpha"}, {"name": "beta", "leverage": None}]})
    keys = {name: account.api_key for name, account in by_name(exchange).items()}
    assert keys == {name: account.api_key for name, account in by_name(again).items()}
    assert len(set(keys.values())) == 2


def account(**fields: Any) -> dict[str, Any]:
    return {"accounts": [{"name": "alpha", **fields}]}


@pytest.mark.parametrize(
    ("document", "line"),
    [
        (None, "the file has no accounts"),
        ([1], "the file is no mapping"),
        ({"accounts": []}, "accounts is empty"),
        ({"accounts": {"alpha": {}}}, "accounts is no list"),
        ({"accounts": ["alpha"]}, "an account is no mapping"),
        ({"accounts": [{}]}, "an account has no name"),
        ({"accounts": [{"name": 5}]}, "the name of an account is text"),
        ({"accounts": [{"name": "alpha"}, {"name": "alpha"}]}, "there is an account alpha already"),
        ({"accounts": [], "instruments": [1]}, "instruments is no mapping"),
        ({"accounts": [], "instruments": {"FOOUSDT": 5}}, "FOOUSDT is no mapping"),
        (account(seed=12), "account alpha: the seed is 64 hex characters, in quotes"),
        (account(seed="zz" * 32), "non-hexadecimal number found"),
        (account(lever={}), "an account has no use for lever"),
        (account(leverage={"BTCUSDT": "13"}), "account alpha: leverage of BTCUSDT is no whole number"),
        (account(leverage={"NIXUSDT": 13}), "account alpha: NIXUSDT is not listed"),
        (account(positions=[{"symbol": "BTCUSDT", "side": "LONG"}]), "account alpha: a position has no size"),
        (
            account(orders=[{"symbol": "BTCUSDT", "side": "BUY", "quantity": 1, "price": "x"}]),
            "account alpha: x is not a number above 0",
        ),
    ],
)
def test_what_is_not_in_the_form(exchange: Exchange, document: Any, line: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(line)}"):
        fill(exchange, document)


@pytest.mark.parametrize(("text", "line"), [("a: [", "is not YAML: "), ("a: 1", "accounts.yml: the file has no acc")])
def test_errors_name_the_file(exchange: Exchange, tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "accounts.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=line) as raised:
        load(exchange, path)
    assert str(path) in str(raised.value)
    assert "\n" not in str(raised.value)
