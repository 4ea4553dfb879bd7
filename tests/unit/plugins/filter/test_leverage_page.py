# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the page shows, that values cannot inject markup, and that many accounts make a small page."""

from __future__ import annotations

import inspect
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_metrics import leverage_metrics
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_page import FilterModule, leverage_page
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_summary import leverage_summary

from ..plugin_utils._report.rows import BLOCKER, POSITION, make_account, make_leverages, make_row

ROOT = Path(__file__).resolve().parents[4]
TEMPLATE = (ROOT / "roles" / "leverage" / "files" / "page.html.j2").read_text(encoding="utf-8")
MARKUP = """</style><script>alert("1")</script><img src=x onerror='alert(2)'>&{{ 7 * 7 }}{% raw %}\\"""
ALLOWED_ELEMENTS = {
    *("html", "head", "meta", "title", "style", "body", "header", "main", "section", "h1", "h2", "h3", "p", "time"),
    *("ul", "li", "b", "i", "span", "small", "input", "label", "div", "table", "thead", "tbody", "tr", "th", "td"),
    *("form", "select", "option", "output", "button", "details", "summary", "script", "svg", "g", "rect"),
    *("text", "code"),
}


class PageParser(HTMLParser):
    """The elements and attributes of a page, its text, and the class and text of each cell of its tables.

    findings: the cells of the table of findings, row by row, without the header. Empty if there is no such table.
    table: the last table, which shows each symbol of each account, without its totals.
    totals: the texts of the totals: of all accounts, in the order of the columns, and then of each account.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: set[str] = set()
        self.scripts = page.count("<script")
        self.attributes: set[str] = set()
        self.tables: list[list[list[tuple[str, str]]]] = []
        self.findings: list[list[str]] = []
        self.table: list[list[tuple[str, str]]] = []
        self.totals: list[list[str]] = []
        self.text = ""
        self._in_table = False
        self.feed(page)
        if len(self.tables) > 1:
            self.findings = [[text for _css_class, text in cells] for cells in self.tables[0][1:]]
        self.totals = [[text for css_class, text in cells if css_class == "t"] for cells in self.table[1:]]
        self.table = [[*cells[:1], *cells[2:]] for cells in [*self.table[:1], *self.table[2:]]]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.add(tag)
        self.attributes.update(name for name, _value in attrs)
        if tag == "table":
            self._in_table = True
            self.table = []
            self.tables.append(self.table)
        elif tag == "tr":
            self.table.append([])
        elif tag in ("th", "td"):
            self.table[-1].append((dict(attrs).get("class") or "", ""))
        elif tag in ("i", "small"):
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        if tag == "table":
            self._in_table = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_table and self.table and self.table[-1]:
            css_class, text = self.table[-1][-1]
            self.table[-1][-1] = (css_class, (text + data.replace("\n", "")))


def render_page(accounts: dict[str, Any], title: str = "Leverage") -> PageParser:
    """Return the page of the report on these accounts."""
    return PageParser(leverage_page(leverage_report(accounts, title, "2026-11-23T01:30:00Z"), TEMPLATE))


# --- leverage_page ---


def test_symbols_with_findings_are_the_first_columns() -> None:
    page = render_page(
        {
            "beta": make_account(make_row("BTCUSDT", "unchanged", 10, 10)),
            "alpha": make_account(
                make_row("BTCUSDT", "unchanged", 10, 10), make_row("ETHUSDT", "refused", 3, 3, "why")
            ),
            "absent": {},
        }
    )
    assert page.table == [
        [("", "Account"), ("", "ETHUSDT"), ("", "BTCUSDT")],
        [("", "absent"), ("n", "not reached")],
        [("", "alpha"), ("r", "3 policy 10"), ("", "10")],
        [("", "beta"), ("z", ""), ("", "10")],
    ]
    assert page.totals == [["1, 0", "1, 0", "0, 0"], ["0, 0"], ["1, 0"], ["0, 0"]]


def test_table_of_findings_is_cut_after_1000_rows() -> None:
    rows = [make_row(f"COIN{number}USDT", "changed", 20, 10, positions=[POSITION]) for number in range(30)]
    accounts = {f"account-{number:03}": make_account(*rows, check_mode=True) for number in range(50)}
    page = leverage_page(leverage_report(accounts, time="2026-11-23T02:00:00Z"), TEMPLATE)
    assert "The first 1000 rows. 500 more are in the JSON report" in page
    assert len(page.encode()) < 400_000


def test_one_cause_is_one_row_with_what_it_affects() -> None:
    keys = [make_row(f"COIN{number}USDT", "unknown", None, None, "keys") for number in range(8)]
    delisted = make_row("OLDUSDT", "refused", 3, 3, "not_listed")
    accounts = {f"a{number}": make_account(delisted) for number in range(7)}
    page = render_page({"broken": make_account(*keys), **accounts})
    first, second = page.findings
    others = ", ".join(f"COIN{number}USDT" for number in range(3, 8))
    assert first[1:3] == ["broken", f"COIN0USDT, COIN1USDT, COIN2USDT and 5 more{others}"]
    assert second[1:5] == ["a0, a1, a2, a3, a4 and 2 morea5, a6", "OLDUSDT", "3", "10"]
    assert "Correct the policy or the keys: 15 findings on broken, a0, a1, a2, a3" in page.text


def test_worst_account_stays_in_view_for_three_nights() -> None:
    """Its keys are refused in the third night. Then it is above the policy when last seen, and first but one."""
    complying, worst = make_leverages(A=10, B=10), make_row("A", "changed", 40, 10, positions=[POSITION])
    nights = [
        {"worst": complying, "other": make_leverages(A=5, B=10)},
        {"worst": make_account(worst, make_row("B", "unchanged", 10, 10), check_mode=True), "other": complying},
        {"worst": make_account(*(make_row(name, "unknown", None, None, "keys") for name in "AB")), "other": complying},
    ]
    report: dict[str, Any] = {}
    pages = []
    for day, accounts in enumerate(nights, start=21):
        time = f"2026-11-{day}T02:00:00Z"
        report = leverage_report(accounts, "Desk", time, check_mode=True, previous=report)
        pages.append(PageParser(leverage_page(report, TEMPLATE)))
    headings = ["Findings of this run", "Findings of the last 2 runs", "Findings of the last 3 runs"]
    assert [heading in page.text for heading, page in zip(headings, pages, strict=True)] == [True] * 3
    assert pages[1].findings[0][1:7] == ["worst", "A", "40", "10", "4 times the policy", "new"]
    assert "other A: complies with the policy (was below policy, first seen 2026-11-21)" in pages[1].text
    last_seen = "\N{EN DASH} last seen 40, 2026-11-22"
    assert pages[2].findings[0][1:7] == ["worst", "A", last_seen, "10", "4 times the policy", "2026-11-22, 2 runs"]
    assert "Open position: LONG 0.010 (notional 640.00)" in pages[2].findings[0][0]
    cells = [("s", "\N{EN DASH} policy 10 last seen 40"), ("n", "\N{EN DASH} policy 10 last seen 10")]
    assert pages[2].table[1][1:] == cells
    assert [row.get("last_leverage") for row in report["accounts"][0]["leverages"]] == [40, 10]
    assert pages[2].findings[0][7].startswith("Correct the policy or the keys.")
    assert "1 above the policy when last seen and not read since, up to 4 times the policy".lower() in (
        report["headline"].lower()
    )
    summary = leverage_summary(report).splitlines()
    assert "Not reached: worst" in summary
    assert summary[6].startswith("- above when last seen (4 times the policy): worst A: not known, last seen 40 on")
    assert 'severity="above_when_last_seen"} 1' in leverage_metrics(report)


def test_page_shows_the_commands_and_the_local_time(monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = {"args": ("drift.yml",), "inventory": ["my hosts"], "extra_vars": ("key=secret-value",), "check": True}
    monkeypatch.setattr("ansible.context.CLIARGS", arguments)
    report = leverage_report(
        {"alpha": make_account(make_row("BTCUSDT", "changed", 20, 10), check_mode=True)},
        time="2026-11-23T20:30:00Z",
        inventory=["my hosts"],
    )
    page = PageParser(leverage_page(report, TEMPLATE, timezone="Asia/Tokyo")).text
    assert "2026-11-23 20:30 UTC (2026-11-24 05:30 JST)" in page
    assert "ansible-playbook -i 'my hosts' tradeops.coinswitch.enforce --limit alpha" in page
    assert "This page was made by ansible-playbook -i 'my hosts' --check drift.yml" in page
    assert "secret-value" not in page


@pytest.mark.parametrize("arguments", [{}, {"args": ()}, {"args": "alpha", "inventory": ("hosts",)}])
def test_page_of_another_command_does_not_name_it(monkeypatch: pytest.MonkeyPatch, arguments: dict[str, Any]) -> None:
    monkeypatch.setattr("ansible.context.CLIARGS", arguments)
    assert "This page was made by" not in PageParser(leverage_page(leverage_report({}), TEMPLATE)).text


@pytest.mark.parametrize("name", ["Nowhere/City", "../../etc/passwd", "\0", "x" * 300])
def test_unknown_time_zone_is_refused(name: str) -> None:
    with pytest.raises(AnsibleFilterError, match="is not a time zone"):
        leverage_page(leverage_report({}), TEMPLATE, timezone=name)


@pytest.mark.parametrize("check_mode", [True, False])
def test_changes_are_counted_only_in_a_real_run(check_mode: bool) -> None:
    page = render_page({"alpha": make_account(make_row("BTCUSDT", "changed", 20, 10), check_mode=check_mode)})
    assert ("↻ Changed" in page.text) is not check_mode


def test_markup_in_any_value_is_escaped() -> None:
    plain = render_page(
        {
            "alpha": make_account(
                make_row("BTCUSDT", "blocked", 1, 1, "position"), make_row("ETHUSDT", "unchanged", 1, 1)
            )
        }
    )
    hostile = render_page(
        {
            MARKUP: make_account(
                {**make_row(MARKUP, "blocked", 1, 1, MARKUP), "desired_leverage": MARKUP, "reason": MARKUP},
                {**make_row("ETHUSDT", "unchanged", 1, 1), "desired_leverage": MARKUP},
                api_url=MARKUP,
            )
        },
        title=MARKUP,
    )
    assert hostile.elements == plain.elements
    assert hostile.elements <= ALLOWED_ELEMENTS
    assert hostile.attributes == plain.attributes
    assert hostile.scripts == plain.scripts
    assert hostile.text.count(MARKUP) >= 5, "the text is shown unchanged"


def test_same_report_makes_the_same_page() -> None:
    accounts = {
        "alpha": make_account(make_row("BTCUSDT", "changed", 20, 10), make_row("ETHUSDT", "unknown", 1, None, "why"))
    }
    pages = {leverage_page(leverage_report(accounts, "Desk", "2026-11-23T01:30:00Z"), TEMPLATE) for _turn in range(2)}
    assert len(pages) == 1


# --- _escape_css ---


def test_css_filter_escapes_all_special_characters() -> None:
    page = leverage_page(leverage_report({}, title=MARKUP), "{{ report.title | css }}")
    assert not set(page) & set("<>\"'&{}();")
    assert page.startswith("\\3c \\2f style\\3e ")


# --- FilterModule ---


def test_filter_module_returns_the_filter() -> None:
    ((name, function),) = FilterModule().filters().items()
    assert (name, inspect.unwrap(function)) == ("leverage_page", leverage_page)


# --- page.html.j2 ---


def test_most_dangerous_finding_is_the_first_row() -> None:
    page = render_page(
        {
            "absent": {},
            "alpha": make_account(
                make_row("BTCUSDT", "changed", 5, 10), make_row("ETHUSDT", "changed", 40, 10), check_mode=True
            ),
            "beta": make_account(
                make_row("BTCUSDT", "blocked", 20, 20, "position") | {"blockers": [BLOCKER], "positions": [POSITION]},
                enforce="maximum",
            ),
        }
    )
    dash = "\N{EN DASH}"
    assert [[text.strip() for text in cells[:-1]] for cells in page.findings] == [
        [
            "▲ Above policy Open position: LONG 0.010 (notional 640.00)",
            *("beta", "BTCUSDT", "20", "at most 10", "2 times the policy", dash),
        ],
        ["▲ Above policy", "alpha", "ETHUSDT", "40", "10", "4 times the policy", dash],
        ["⚠ Not reached", "absent", "all", dash, dash, dash, dash],
        ["▼ Below policy", "alpha", "BTCUSDT", "5", "10", "0.5 times the policy", dash],
    ]
    assert (
        "Above the policy: 2 of 3 leverages, up to 4 times the policy, 1 with an open position, 2 other findings"
        in page.text
    )


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080", "https://coinswitch.co"])
def test_page_names_the_exchange_and_whether_it_is_real(url: str) -> None:
    text = render_page({"alpha": make_account(make_row("BTCUSDT", "unchanged", 10, 10), api_url=url)}).text
    assert url in text
    assert ("(not the real exchange)" in text) is ("127" in url)


def test_page_without_findings_has_no_table_of_findings() -> None:
    page = render_page({"alpha": make_account(make_row("BTCUSDT", "unchanged", 10, 10))})
    assert "Complies with the policy: 1 leverage on 1 account" in page.text
    assert len(page.tables) == 1
    assert "form" not in page.elements


def test_history_is_shown() -> None:
    refused = make_account(make_row("BTCUSDT", "refused", 3, 3, "why"))
    in_policy = make_account(make_row("BTCUSDT", "unchanged", 10, 10))
    first = leverage_report(
        {"alpha": refused, "beta": refused, "gamma": refused}, "Desk", "2026-11-22T02:00:00Z", previous={}
    )
    report = leverage_report({"alpha": refused, "beta": in_policy}, "Desk", "2026-11-23T02:00:00Z", previous=first)
    page = PageParser(leverage_page(report, TEMPLATE))
    assert "Since 2026-11-22 02:00 UTC: 0 new, 1 continuing, 1 resolved, 1 not checked in this run" in page.text
    assert page.findings[0][6] == "2026-11-22, 2 runs"
    assert "beta BTCUSDT: complies with the policy (was refused, first seen 2026-11-22)" in page.text
    assert "gamma BTCUSDT: refused at 3 (policy 10), last found 2026-11-22" in page.text
    numbers = "1 finding, 0 above policy, 0 above when last seen, 0 not known, 2 accounts"
    assert f"2026-11-23T02:00:00Z: {numbers}" in page.text


@pytest.mark.parametrize(
    ("symbol_row", "check_mode", "cell"),
    [
        (make_row("BTCUSDT", "unchanged", 10, 10), False, ("", "10")),
        (make_row("BTCUSDT", "changed", 20, 10), False, ("c", "10 was 20")),
        (make_row("BTCUSDT", "changed", None, 10), False, ("c", "10 was \N{EN DASH}")),
        (make_row("BTCUSDT", "changed", 20, 10), True, ("a", "20 policy 10")),
        (make_row("BTCUSDT", "changed", 5, 10), True, ("l", "5 policy 10")),
        (make_row("BTCUSDT", "changed", None, 10), True, ("e", "\N{EN DASH} policy 10")),
        (make_row("BTCUSDT", "blocked", 20, 20, "position"), True, ("a", "20 policy 10")),
        (make_row("BTCUSDT", "blocked", 5, 5, "position"), True, ("b", "5 policy 10")),
        (make_row("BTCUSDT", "refused", 5, 5, "why"), False, ("r", "5 policy 10")),
        (make_row("BTCUSDT", "unknown", 20, None, "why"), False, ("u", "\N{EN DASH} policy 10")),
    ],
)
def test_cell_shows_the_current_leverage_and_the_policy(
    symbol_row: dict[str, Any], check_mode: bool, cell: tuple[str, str]
) -> None:
    page = render_page({"alpha": make_account(symbol_row, check_mode=check_mode)})
    assert page.table == [[("", "Account"), ("", "BTCUSDT")], [("", "alpha"), cell]]
    assert symbol_row.get("reason", "") in page.text


def test_cell_of_a_maximum_shows_at_most() -> None:
    rows = make_row("BTCUSDT", "unchanged", 7, 7), make_row("ETHUSDT", "changed", 20, 10)
    page = render_page({"alpha": make_account(*rows, enforce="maximum", check_mode=True)})
    assert page.table[1][1:] == [("a", "20 at most 10"), ("", "7 at most 10")]


@pytest.mark.parametrize(("count", "is_open"), [(20, True), (21, False)])
def test_matrix_is_collapsed_with_more_than_200_leverages(count: int, is_open: bool) -> None:
    rows = [make_row(f"COIN{number}USDT", "unchanged", 10, 10) for number in range(10)]
    page = leverage_page(leverage_report({f"a{number}": make_account(*rows) for number in range(count)}), TEMPLATE)
    assert ("<details open>" in page) is is_open


def test_page_loads_nothing_from_elsewhere() -> None:
    page = render_page({"alpha": make_account(make_row("BTCUSDT", "unknown", 1, None, "why"))})
    assert page.scripts == 1, "only the script whose hash is in the content security policy"
    assert not page.elements & {"link", "iframe", "img", "object", "embed"}
    assert not page.attributes & {"src", "srcset", "style", "onclick", "onload"}
    assert "url(" not in TEMPLATE
    assert "@import" not in TEMPLATE
    assert "http:" not in TEMPLATE


def test_page_of_1000_accounts_with_30_symbols_is_smaller_than_1_mb() -> None:
    symbols = [f"COIN{number}USDT" for number in range(30)]
    complying = [make_row(symbol, "unchanged", 10, 10) for symbol in symbols]
    accounts = {}
    for number in range(1000):
        rows = list(complying)
        reason = f"The leverage is still 20, not 10. An open position (LONG 0.{number:03}) blocks the change."
        blocked = make_row(symbols[number % 30], "blocked", 20, 20, "position", reason=reason, positions=[POSITION])
        rows[number % 30] = blocked
        accounts[f"account-{number:03}"] = make_account(*rows)
    page = leverage_page(leverage_report(accounts), TEMPLATE)
    assert page.count("<td") == 30_000 + 1000 + 31 + 1000 * 8, "the matrix with its totals, and the rows of findings"
    assert len(page.encode()) < 1_000_000
