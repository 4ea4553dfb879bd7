# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page: what each cell says, that nothing injects markup, and that a large desk makes a small file."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_page import FilterModule, leverage_page
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report

ROOT = Path(__file__).resolve().parents[4]
TEMPLATE = (ROOT / "roles" / "leverage" / "files" / "page.html.j2").read_text(encoding="utf-8")

MARKUP = """</style><script>alert("1")</script><img src=x onerror='alert(2)'>&{{ 7 * 7 }}{% raw %}\\"""
ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "h1", "h2", "h3", "p", "time"),
    *("ul", "li", "b", "i", "span", "small", "input", "label", "div", "table", "thead", "tbody", "tr", "th", "td", "a"),
    "article",
}


class Reader(HTMLParser):
    """The page as a reader takes it: elements with attributes, and the text of each cell of the table."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.attributes: set[str] = set()
        self.table: list[list[tuple[str, str]]] = []
        self.text = ""
        self._in_table = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes.update(name for name, _value in attrs)
        if tag == "table":
            self._in_table = True
        elif tag == "tr":
            self.table.append([])
        elif tag in ("th", "td"):
            self.table[-1].append((dict(attrs).get("class") or "", ""))
        elif tag == "i":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._in_table = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_table and self.table and self.table[-1]:
            kind, text = self.table[-1][-1]
            self.table[-1][-1] = (kind, (text + data.replace("\n", "")))


def row(symbol: str, outcome: str, before: Any, now: Any, reason: str = "") -> dict[str, Any]:
    return {"symbol": symbol, "outcome": outcome, "previous_leverage": before, "leverage": now, "reason": reason}


def account(*rows: dict[str, Any], **more: Any) -> dict[str, Any]:
    policy = {row["symbol"]: 10 for row in rows}
    return {"policy": policy, "enforce": "exact", "check_mode": False, "results": list(rows), **more}


def read(seen: dict[str, Any], title: str = "Leverage") -> Reader:
    return Reader(leverage_page(leverage_report(seen, title, "2026-11-23T01:30:00Z"), TEMPLATE))


@pytest.mark.parametrize(
    ("symbol_row", "check_mode", "cell"),
    [
        (row("BTCUSDT", "unchanged", 10, 10), False, ("", "10")),
        (row("BTCUSDT", "changed", 20, 10), False, ("c", "10 was 20")),
        (row("BTCUSDT", "changed", None, 10), False, ("c", "10 was \N{EN DASH}")),
        (row("BTCUSDT", "changed", 20, 10), True, ("d", "20 should be 10")),
        (row("BTCUSDT", "changed", None, 10), True, ("d", "\N{EN DASH} should be 10")),
        (row("BTCUSDT", "blocked", 20, 20, "held"), True, ("b", "20 should be 10")),
        (row("BTCUSDT", "refused", 20, 20, "why"), False, ("r", "20 should be 10")),
        (row("BTCUSDT", "unknown", 20, None, "why"), False, ("u", "\N{EN DASH} should be 10")),
    ],
)
def test_a_cell_says_what_is_in_force_and_what_should_be(
    symbol_row: dict[str, Any], check_mode: bool, cell: tuple[str, str]
) -> None:
    page = read({"alpha": account(symbol_row, check_mode=check_mode)})
    assert page.table == [[("", "Account"), ("", "BTCUSDT")], [("", "alpha"), cell]]
    assert symbol_row["reason"] in page.text


def test_a_maximum_shows_what_it_allows() -> None:
    rows = row("BTCUSDT", "unchanged", 7, 7), row("ETHUSDT", "changed", 20, 10)
    page = read({"alpha": account(*rows, enforce="maximum", check_mode=True)})
    assert page.table[1][1:] == [("", "7 at most 10"), ("d", "20 at most 10")]


def test_accounts_down_and_symbols_across() -> None:
    page = read(
        {
            "beta": account(row("ETHUSDT", "unchanged", 10, 10)),
            "alpha": account(row("BTCUSDT", "changed", 20, 10), row("ETHUSDT", "unchanged", 10, 10)),
            "gone": {},
        }
    )
    assert page.table == [
        [("", "Account"), ("", "BTCUSDT"), ("", "ETHUSDT")],
        [("", "beta"), ("n", ""), ("", "10")],
        [("", "alpha"), ("c", "10 was 20"), ("", "10")],
        [("", "gone"), ("u", "not checked")],
    ]
    assert "0 of 3 leverages, on 1 of 3 accounts" in page.text


def test_where_all_is_in_order_it_says_so_and_nothing_else() -> None:
    page = read({"alpha": account(row("BTCUSDT", "unchanged", 10, 10))})
    assert "All is in policy: 1 leverage on 1 account." in page.text
    assert "article" not in page.elements
    assert "input" not in page.elements


def test_the_filter_knows_the_columns_that_are_in_order_everywhere() -> None:
    rows = [
        row("AUSDT", "unchanged", 10, 10),
        row("BUSDT", "unknown", None, None, "why"),
        row("CUSDT", "changed", 5, 10),
    ]
    seen = {"alpha": account(*rows), "beta": account(rows[0])}
    page = leverage_page(leverage_report(seen), "{{ quiet | join(' ') }}")
    assert page == "2 4"


def test_nothing_said_by_others_becomes_markup() -> None:
    plain = read({"alpha": account(row("BTCUSDT", "blocked", 1, 1, "held"), row("ETHUSDT", "unchanged", 1, 1))})
    hostile = read(
        {
            MARKUP: account(
                row(MARKUP.upper(), "blocked", MARKUP, MARKUP, MARKUP),
                row("ETHUSDT", "unchanged", 1, MARKUP),
                policy={MARKUP: MARKUP, "ETHUSDT": MARKUP},
            )
        },
        title=MARKUP,
    )
    assert hostile.elements == plain.elements
    assert hostile.elements <= ELEMENTS
    assert hostile.attributes == plain.attributes
    assert hostile.text.count(MARKUP) >= 7, "it is shown as it was said"


def test_a_symbol_cannot_leave_the_style_sheet() -> None:
    page = leverage_page({"symbols": [], "accounts": [], "text": MARKUP}, "{{ report.text | css }}")
    assert not set(page) & set("<>\"'&{}();")
    assert page.startswith("\\3c \\2f style\\3e ")


def test_the_page_needs_nothing_from_elsewhere() -> None:
    page = read({"alpha": account(row("BTCUSDT", "unknown", 1, None, "why"))})
    assert not page.elements & {"script", "link", "iframe", "img", "object", "embed"}
    assert not page.attributes & {"src", "srcset", "style", "onclick", "onload"}
    assert "url(" not in TEMPLATE
    assert "@import" not in TEMPLATE
    assert "http:" not in TEMPLATE


def test_a_large_desk_makes_a_small_page() -> None:
    symbols = [f"COIN{number}USDT" for number in range(100)]
    reason = "leverage stays 20 instead of 10: blocked by an open position (LONG 0.010); close the position first"
    seen = {}
    for number in range(200):
        rows = [row(symbol, "unchanged", 10, 10) for symbol in symbols]
        rows[number % 100] = row(symbols[number % 100], "blocked", 20, 20, reason)
        seen[f"account-{number:03}"] = account(*rows)
    page = leverage_page(leverage_report(seen), TEMPLATE)
    assert page.count("<td") == 20_000
    assert len(page.encode()) < 400_000


def test_the_same_input_gives_the_same_page() -> None:
    seen = {"alpha": account(row("BTCUSDT", "changed", 20, 10), row("ETHUSDT", "unknown", 1, None, "why"))}
    pages = {leverage_page(leverage_report(seen, "Desk", "2026-11-23T01:30:00Z"), TEMPLATE) for _turn in range(2)}
    assert len(pages) == 1


def test_ansible_finds_it() -> None:
    assert FilterModule().filters() == {"leverage_page": leverage_page}
