# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page as a person sees it: in Chromium, on a phone, a tablet and a desk, in light and dark, and printed."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Makes the page of what the role notes of the accounts, with the collection as it is installed.
MAKE = """
import json, sys
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_page import leverage_page
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
seen = json.load(sys.stdin)
template = open(sys.argv[1] + "/ansible_collections/tradeops/coinswitch/roles/leverage/files/page.html.j2").read()
print(leverage_page(leverage_report(seen, "A desk", "2026-11-23T01:30:00Z"), template))
"""
HOSTILE = """</style><script>document.title = "hacked"</script>"""
SYMBOLS = ["1000PEPEUSDT", "BTCUSDT", "DOGEUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]
PHONE, TABLET, DESK = 375, 820, 1400
RETURNED = {
    # outcome: what was in force before, and is (in check mode: would be) at the end
    "unchanged": (10, 10),
    "changed": (20, 10),
    "blocked": (25, 25),
    "refused": (3, 3),
    "unknown": (None, None),
}

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--hide-scrollbars",
    "--no-first-run",
    "--remote-debugging-pipe",
]
# No answer of a browser takes longer, unless it hangs.
LONGEST_WAIT = 60.0


class Browser:
    """One tab of a headless Chromium, driven by the DevTools protocol over a pipe."""

    def __init__(self, profile: Path) -> None:
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()
        # Chromium reads from file 3 and writes to file 4. A plain sh knows no file above 9.
        shell = ["bash", "-c", f'exec "$@" 3<&{theirs_in} 4>&{theirs_out}', "bash"]
        self._process = subprocess.Popen(
            [*shell, str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._pending = b""
        self._number = 0
        self._session: str | None = None

    def __enter__(self) -> Browser:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        return self

    def __exit__(self, *_: object) -> None:
        # A browser whose pipe is closed ends.
        os.close(self._to)
        os.close(self._from)
        try:
            self._process.wait(LONGEST_WAIT)
        finally:
            self._process.kill()
            self._process.wait()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Carry out one command of the protocol: its result."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while (answer := self._read()).get("id") != self._number:
            pass
        assert "error" not in answer, answer
        result: dict[str, Any] = answer["result"]
        return result

    def open(self, page: Path, width: int, scheme: str = "light", medium: str = "screen") -> None:
        """Show a page in a window of so many pixels."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        scheme_feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", media=medium, features=[scheme_feature])
        self.call("Page.navigate", url=page.as_uri())
        while self._read().get("method") != "Page.loadEventFired":
            pass

    def see(self, expression: str) -> Any:
        """The value of a JavaScript expression, evaluated from outside: the page's own policy allows no script."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._pending:
            ready, _write, _error = select.select([self._from], [], [], LONGEST_WAIT)
            assert ready, "the browser hangs"
            chunk = os.read(self._from, 1 << 16)
            assert chunk, "the browser has ended"
            self._pending += chunk
        line, _separator, self._pending = self._pending.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: the page was not checked in a browser")
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


# What each cell that is to be seen says: its symbol by its place, its sign by the style sheet, and its text.
CELLS = """[...document.querySelectorAll("tbody tr")].filter(row => row.offsetParent !== null).map(row => [
    row.cells[0].innerText,
    ...[...row.cells].slice(1).filter(cell => cell.offsetParent !== null && cell.innerText).map(cell => [
        document.querySelector("thead tr").cells[cell.cellIndex].textContent.trim(),
        getComputedStyle(cell, "::before").content.slice(1, 2),
        cell.innerText.trim().replace(/\\s+/g, " "),
    ])])"""


def account(*outcomes: str, check_mode: bool = True) -> dict[str, Any]:
    """An account whose symbols ended with these outcomes, in the order of SYMBOLS."""
    rows = [
        {
            "symbol": symbol,
            "outcome": outcome,
            "previous_leverage": RETURNED[outcome][0],
            "leverage": RETURNED[outcome][1],
            "reason": "" if outcome in ("unchanged", "changed") else f"the reason why it is {outcome}",
        }
        for symbol, outcome in zip(SYMBOLS, outcomes, strict=False)
    ]
    policy = {row["symbol"]: 10 for row in rows}
    return {"policy": policy, "enforce": "exact", "check_mode": check_mode, "results": rows}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, collections: Path) -> Path:
    """The page of a desk on which everything happens."""
    return written(
        tmp_path_factory.mktemp("page") / "page.html",
        collections,
        {
            "alpha": account(*["unchanged"] * 6),
            "beta": account("unchanged", "changed", "blocked", "refused", "unknown"),
            HOSTILE: {},
        },
    )


def written(path: Path, collections: Path, seen: dict[str, Any]) -> Path:
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", MAKE, str(collections)],
        env={"PYTHONPATH": str(collections)},
        input=json.dumps(seen),
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    path.write_text(done.stdout, encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [PHONE, TABLET, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_cell_is_seen_at_every_width(browser: Browser, page: Path, width: int, scheme: str) -> None:
    browser.open(page, width, scheme)
    assert browser.see(CELLS) == [
        ["alpha", *([symbol, "✓", "10"] for symbol in SYMBOLS)],
        [
            "beta",
            ["1000PEPEUSDT", "✓", "10"],
            ["BTCUSDT", "≠", "20 should be 10"],
            ["DOGEUSDT", "⊘", "25 should be 10"],
            ["ETHUSDT", "✕", "3 should be 10"],
            ["SOLUSDT", "?", "\N{EN DASH} should be 10"],
        ],
        [HOSTILE, ["1000PEPEUSDT", "?", "not checked"]],
    ]
    assert browser.see("document.title") == "A desk · not in order"
    seen = browser.see("document.body.innerText")
    assert "Not in order: 4 of 11 leverages, on 2 of 3 accounts." in seen
    assert "the reason why it is blocked" in seen


@pytest.mark.parametrize("width", [PHONE, TABLET, DESK])
def test_nothing_sticks_out_of_the_window(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width)
    assert browser.see("document.documentElement.scrollWidth") == width


def test_on_a_phone_a_cell_names_its_symbol(browser: Browser, page: Path) -> None:
    labels = """[...document.querySelector("tbody tr").cells].slice(1).map(
        cell => getComputedStyle(cell, "::after").content)"""
    browser.open(page, PHONE)
    assert browser.see(labels) == [f'"{symbol}"' for symbol in SYMBOLS]
    assert browser.see("document.querySelector('thead').offsetParent") is None
    browser.open(page, DESK)
    assert browser.see(labels) == ["none"] * 6


@pytest.mark.parametrize(
    ("width", "symbols"),
    [
        # A table keeps its columns: those with something out of order on any account.
        (DESK, ["BTCUSDT", "DOGEUSDT", "ETHUSDT", "SOLUSDT"]),
        (PHONE, ["BTCUSDT", "DOGEUSDT", "ETHUSDT", "SOLUSDT"]),
    ],
)
def test_the_filter_leaves_what_is_not_in_order(browser: Browser, page: Path, width: int, symbols: list[str]) -> None:
    browser.open(page, width)
    browser.see("document.querySelector('label').click()")
    rows = browser.see(CELLS)
    assert [row[0] for row in rows] == ["beta", HOSTILE]
    assert [cell[0] for cell in rows[0][1:]] == symbols
    browser.see("document.querySelector('label').click()")
    assert len(browser.see(CELLS)) == 3


def test_heads_stay_while_a_large_table_scrolls(browser: Browser, tmp_path: Path, collections: Path) -> None:
    symbols = [f"COIN{number:02}USDT" for number in range(100)]
    row = {"outcome": "unchanged", "previous_leverage": 10, "leverage": 10}
    large = {
        "policy": dict.fromkeys(symbols, 10),
        "enforce": "exact",
        "results": [{**row, "symbol": symbol} for symbol in symbols],
    }
    desk = {f"account-{number:03}": large for number in range(200)}
    browser.open(written(tmp_path / "large.html", collections, desk), DESK)
    browser.see("document.querySelector('.grid').scrollTo(2000, 3000)")
    places = browser.see("""(() => {
        const grid = document.querySelector(".grid").getBoundingClientRect();
        const head = document.querySelectorAll("thead th")[40].getBoundingClientRect();
        const name = document.querySelectorAll("tbody th")[120].getBoundingClientRect();
        return [head.top - grid.top, name.left - grid.left, document.querySelector(".grid").scrollTop];
    })()""")
    assert places == [1, 1, 3000], "both heads are at the table's border, which is one pixel wide"


def test_light_and_dark_are_told_apart_and_both_can_be_read(browser: Browser, page: Path) -> None:
    grounds = set()
    for scheme in ("light", "dark"):
        browser.open(page, DESK, scheme)
        for selector in (
            "body",
            ".about",
            "p.verdict",
            "td.d",
            "td.b",
            "td.r",
            "td.u",
            "li.k",
            "li.c",
            "li.d",
            "thead th",
        ):
            text, ground = browser.see(f"""(() => {{
                const style = getComputedStyle(document.querySelector("{selector}"));
                const clear = style.backgroundColor === "rgba(0, 0, 0, 0)";
                return [style.color, clear ? getComputedStyle(document.body).backgroundColor : style.backgroundColor];
            }})()""")
            assert contrast(text, ground) >= 4.5, f"{selector} in {scheme}"
        grounds.add(browser.see("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


def contrast(one: str, other: str) -> float:
    """The contrast of two colours such as "rgb(1, 2, 3)", after WCAG 2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))


def test_on_paper_all_of_it_is_there(browser: Browser, page: Path) -> None:
    browser.open(page, TABLET, "dark", medium="print")
    assert browser.see("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "paper is light"
    assert browser.see("getComputedStyle(document.querySelector('.grid')).overflow") == "visible"
    assert browser.see("document.querySelector('.only').offsetParent") is None
    assert [row[0] for row in browser.see(CELLS)] == ["alpha", "beta", HOSTILE]
    pdf = b64decode(browser.call("Page.printToPDF")["data"])
    assert pdf.startswith(b"%PDF")


def test_no_script_runs(browser: Browser, page: Path, tmp_path: Path) -> None:
    """Were the escaping ever lost, the page's own policy would still stop a script."""
    lost = tmp_path / "lost.html"
    lost.write_text(page.read_text(encoding="utf-8").replace("<main>", f"<main>{HOSTILE}"), encoding="utf-8")
    browser.open(lost, DESK)
    assert browser.see("document.querySelectorAll('script').length") == 1
    assert browser.see("document.title") == "A desk · not in order"
