# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accounts file: what it adds to the exchange, and one-line errors for invalid content."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sandbox import Account, Exchange
from sandbox.accounts_file import fill_exchange, load_accounts

README = Path(__file__).resolve().parents[4] / "extensions" / "sandbox" / "README.md"


def accounts_by_name(exchange: Exchange) -> dict[str, Account]:
    return {account.name: account for account in exchange.accounts}


def test_example_in_the_readme_loads(exchange: Exchange, tmp_path: Path) -> None:
    (example,) = re.findall("```yaml\n(.*?)```", README.read_text(encoding="utf-8"), flags=re.DOTALL)
    path = tmp_path / "accounts.yml"
    path.write_text(example, encoding="utf-8")
    load_accounts(exchange, path)
    alpha, beta = exchange.accounts
    assert (alpha.name, alpha.leverage) == ("alpha", {"BTCUSDT": 10, "ETHUSDT": 5})
    assert [(p.symbol, p.side, str(p.size)) for p in alpha.positions] == [("BTCUSDT", "LONG", "0.01")]
    assert [(o.symbol, o.created_at) for o in alpha.orders] == [("ETHUSDT", 1_700_000_000_000 - 9 * 86_400_000)]
    assert (beta.name, beta.secret_key) == ("beta", bytes(range(32)).hex())
    assert exchange.instruments["FOOUSDT"]["max_leverage"] == 20


def test_keys_depend_only_on_the_account_name(exchange: Exchange) -> None:
    again = Exchange()
    for each in (exchange, again):
        fill_exchange(each, {"accounts": [{"name": "alpha"}, {"name": "beta", "leverage": None}]})
    keys = {name: account.api_key for name, account in accounts_by_name(exchange).items()}
    assert keys == {name: account.api_key for name, account in accounts_by_name(again).items()}
    assert len(set(keys.values())) == 2


def document_with(**fields: Any) -> dict[str, Any]:
    return {"accounts": [{"name": "alpha", **fields}]}


@pytest.mark.parametrize(
    ("document", "line"),
    [
        (None, "the file must have the key accounts"),
        ([1], "the file must be a mapping"),
        ({"accounts": []}, "accounts must have at least one account"),
        ({"accounts": {"alpha": {}}}, "accounts must be a list"),
        ({"accounts": ["alpha"]}, "an account must be a mapping"),
        ({"accounts": [{}]}, "an account must have the key name"),
        ({"accounts": [{"name": 5}]}, "the name of an account must be text, not 5; put it in quotes"),
        ({"accounts": [{"name": "alpha"}, {"name": "alpha"}]}, "an account named alpha already exists"),
        ({"accounts": [], "instruments": [1]}, "instruments must be a mapping"),
        ({"accounts": [], "instruments": {"FOOUSDT": 5}}, "FOOUSDT must be a mapping"),
        (
            {"accounts": [], "instruments": {"FOOUSDT": {"max_leverage": "x"}}},
            "max_leverage of FOOUSDT must be a number above 0, not 'x'",
        ),
        (document_with(seed=12), "account alpha: the seed must be 64 hexadecimal characters in quotes"),
        (document_with(seed="zz" * 32), "account alpha: the seed must be 64 hexadecimal characters in quotes"),
        (
            document_with(lever={}),
            "an account has the unknown key lever; its keys are: balance, leverage, name, orders, positions, seed",
        ),
        (
            document_with(leverage={"BTCUSDT": "1_3"}),
            "account alpha: leverage must be a whole number from 1 to 1000000, not 1_3",
        ),
        (document_with(balance="-1"), "account alpha: balance must be a number from 0, not -1"),
        (document_with(leverage={"NIXUSDT": 13}), "account alpha: unknown symbol NIXUSDT"),
        (
            document_with(positions=[{"symbol": "BTCUSDT", "side": "LONG"}]),
            "account alpha: a position must have the key size",
        ),
        (
            document_with(orders=[{"symbol": "BTCUSDT", "side": "BUY", "quantity": 1, "price": "x"}]),
            "account alpha: price must be a number above 0, such as 0.01, not x",
        ),
    ],
)
def test_invalid_content_is_an_error(exchange: Exchange, document: Any, line: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(line)}"):
        fill_exchange(exchange, document)


@pytest.mark.parametrize(
    ("text", "line"), [("a: [", "is not YAML: "), ("a: 1", "accounts.yml: the file must have the key acc")]
)
def test_error_names_the_file(exchange: Exchange, tmp_path: Path, text: str, line: str) -> None:
    path = tmp_path / "accounts.yml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=line) as error_info:
        load_accounts(exchange, path)
    assert str(path) in str(error_info.value)
    assert "\n" not in str(error_info.value)
