# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page in Chromium: on a phone, a tablet and a desktop screen, in light and dark, and printed."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator
from importlib.resources import files
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
NOT_ASKED = (
    "the account was not asked in this run: see the output of the run (with serial, each batch has its own report)"
)
SYMBOLS = ["1000PEPEUSDT", "BTCUSDT", "DOGEUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]
PHONE, TABLET, DESK = 390, 820, 1280
# Symbols with findings come first.
SHOWN = [*SYMBOLS[1:5], SYMBOLS[0], SYMBOLS[5]]
HEIGHTS = {PHONE: 844, DESK: 800}
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
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=HEIGHTS.get(width, 900),
            deviceScaleFactor=1,
            mobile=width < 600,
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


# The visible rows of the findings: the texts of their cells.
FINDINGS = """[...document.querySelectorAll("#findings tbody tr")].filter(row => row.offsetParent !== null).map(
    row => [...row.cells].map(cell => cell.innerText.trim().replace(/\\s+/g, " ")))"""
# Each cell of the matrix: its symbol by its place, its sign by the style sheet, and its text.
CELLS = """[...document.querySelectorAll(".grid tbody tr")].filter(row => row.offsetParent !== null).map(row => [
    row.cells[0].innerText,
    ...[...row.cells].slice(1).filter(cell => cell.innerText).map(cell => [
        document.querySelector(".grid thead tr").cells[cell.cellIndex].textContent.trim(),
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
def test_findings_and_cells_are_seen_at_every_width(browser: Browser, page: Path, width: int, scheme: str) -> None:
    browser.open(page, width, scheme)
    dash = "\N{EN DASH}"
    assert browser.see(FINDINGS) == [
        ["▲ Above policy", "beta", "DOGEUSDT", "25", "10", "2.5x", dash, "the reason why it is blocked"],
        ["▲ Above policy", "beta", "BTCUSDT", "20", "10", "2x", dash, "leverage is 20 instead of 10"],
        ["⚠ Not reached", HOSTILE, "all", dash, dash, dash, dash, NOT_ASKED],
        ["? Unknown", "beta", "SOLUSDT", dash, "10", dash, dash, "the reason why it is unknown"],
        ["✕ Refused", "beta", "ETHUSDT", "3", "10", "0.3x", dash, "the reason why it is refused"],
    ]
    assert browser.see(CELLS) == [
        ["alpha", *([symbol, "✓", "10"] for symbol in SHOWN)],
        [
            "beta",
            ["BTCUSDT", "▲", "20 policy 10"],
            ["DOGEUSDT", "▲", "25 policy 10"],
            ["ETHUSDT", "✕", "3 policy 10"],
            ["SOLUSDT", "?", f"{dash} policy 10"],
            ["1000PEPEUSDT", "✓", "10"],
        ],
        [HOSTILE, ["BTCUSDT", "⚠", "not reached"]],
    ]
    headline = "Above policy: 2 of 11 leverages, up to 2.5x, 3 other findings"
    assert browser.see("document.title") == f"A desk · {headline}"
    assert headline in browser.see("document.body.innerText")


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("accounts", [20, 200])
def test_a_large_desk_opens_fast_with_the_findings_in_view(
    browser: Browser, tmp_path: Path, collections: Path, width: int, accounts: int
) -> None:
    symbols = [f"COIN{number:02}USDT" for number in range(30)]
    seen = {}
    for number in range(accounts):
        rows = [
            {"symbol": symbol, "outcome": "unchanged", "previous_leverage": 10, "leverage": 10} for symbol in symbols
        ]
        rows[number % 30].update(outcome="changed", previous_leverage=20)
        policy = dict.fromkeys(symbols, 10)
        seen[f"account-{number:03}"] = {"policy": policy, "enforce": "exact", "check_mode": True, "results": rows}
    path = written(tmp_path / "large.html", collections, seen)
    assert path.stat().st_size < 1_500_000
    browser.open(path, width)
    assert browser.see("document.querySelector('#findings tbody tr').getBoundingClientRect().bottom < innerHeight")
    assert browser.see("document.querySelector('details').open") is False
    assert len(browser.see(FINDINGS)) == accounts


def test_findings_are_sorted_and_filtered_from_the_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page, DESK)
    first = "[...document.querySelectorAll('#findings tbody tr')].map(row => row.cells[2].innerText)"
    focus = "document.querySelectorAll('#findings thead button')[%d].focus()"
    browser.see(focus % 2)
    key(browser, "Enter")
    assert browser.see(first) == ["BTCUSDT", "DOGEUSDT", "ETHUSDT", "SOLUSDT", "all"]
    key(browser, "Enter")
    assert browser.see(first) == ["all", "SOLUSDT", "ETHUSDT", "DOGEUSDT", "BTCUSDT"]
    assert browser.see("document.querySelectorAll('#findings th')[2].getAttribute('aria-sort')") == "descending"
    browser.see(focus % 5)
    key(browser, "Enter")
    assert browser.see(first)[-2:] == ["BTCUSDT", "DOGEUSDT"], "factors are sorted as numbers"
    for name, value, left in (
        ("severity", "Above policy", 2),
        ("symbol", "btc", 1),
        ("account", "nobody", 0),
        ("account", "", 1),
    ):
        event = "new Event('input', {bubbles: true})"
        browser.see(f"(field => {{ field.value = '{value}'; field.dispatchEvent({event}) }})(document.forms[0].{name})")
        assert len(browser.see(FINDINGS)) == left
        assert browser.see("document.querySelector('output').innerText") == f"{left} of 5 shown"


def key(browser: Browser, name: str) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=13, text="\r")


def test_without_scripts_the_findings_are_there_by_severity(browser: Browser, page: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page, DESK)
        assert len(browser.see(FINDINGS)) == 5
        assert browser.see("document.querySelector('form').offsetParent") is None
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("width", [PHONE, TABLET, DESK])
def test_nothing_sticks_out_of_the_window(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width)
    assert browser.see("document.documentElement.scrollWidth") == width


def test_on_a_phone_a_finding_is_a_card(browser: Browser, page: Path) -> None:
    labels = """[...document.querySelector("#findings tbody tr").cells].slice(3, 7).map(
        cell => getComputedStyle(cell, "::before").content)"""
    browser.open(page, PHONE)
    assert browser.see(labels) == ['"In force: "', '"Policy: "', '"Factor: "', '"Since: "']
    assert browser.see("document.querySelector('#findings thead').offsetParent") is None
    browser.open(page, DESK)
    assert browser.see(labels) == ["none"] * 4


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
    browser.see("document.querySelector('details').open = true")
    browser.see("document.querySelector('.grid').scrollTo(2000, 3000)")
    places = browser.see("""(() => {
        const grid = document.querySelector(".grid").getBoundingClientRect();
        const head = document.querySelectorAll(".grid thead th")[40].getBoundingClientRect();
        const name = document.querySelectorAll(".grid tbody th")[120].getBoundingClientRect();
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
            "td.a",
            "td.r",
            "td.u",
            "td.n",
            "li.k",
            "#findings b.a",
            "#findings thead th",
        ):
            text, ground = browser.see(f"""(() => {{
                const style = getComputedStyle(document.querySelector("{selector}"));
                const clear = style.backgroundColor === "rgba(0, 0, 0, 0)";
                return [style.color, clear ? getComputedStyle(document.body).backgroundColor : style.backgroundColor];
            }})()""")
            assert contrast(text, ground) >= 4.5, f"{selector} in {scheme}"
        grounds.add(browser.see("getComputedStyle(document.body).backgroundColor"))
    assert len(grounds) == 2


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_accessibility_engine_finds_nothing(browser: Browser, page: Path, width: int, scheme: str) -> None:
    browser.open(page, width, scheme)
    browser.see("document.querySelector('details').open = true")
    browser.see(files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8") + "; 1")
    run = "axe.run().then(result => JSON.stringify(result))"
    answer = browser.call("Runtime.evaluate", expression=run, awaitPromise=True, returnByValue=True)
    result = json.loads(answer["result"]["value"])
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in result["violations"]] == []
    assert len(result["passes"]) > 15


def contrast(one: str, other: str) -> float:
    """The contrast of two colours such as "rgb(1, 2, 3)", after WCAG 2."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(part) / 255 for part in colour.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))


def test_on_paper_there_are_the_findings_alone(browser: Browser, page: Path) -> None:
    browser.open(page, TABLET, "dark", medium="print")
    assert browser.see("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)", "paper is light"
    assert len(browser.see(FINDINGS)) == 5
    for hidden in ("form", "details"):
        assert browser.see(f"document.querySelector('{hidden}').offsetParent") is None
    pdf = b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert pdf.startswith(b"%PDF")
    (box, *_others) = re.findall(rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert tuple(round(float(side)) for side in box) == (842, 595), "A4 landscape, in points"


def test_no_other_script_runs(browser: Browser, page: Path, tmp_path: Path) -> None:
    """Were the escaping ever lost, the page's own policy would still stop a script."""
    lost = tmp_path / "lost.html"
    lost.write_text(page.read_text(encoding="utf-8").replace("<main>", f"<main>{HOSTILE}"), encoding="utf-8")
    browser.open(lost, DESK)
    assert browser.see("document.querySelectorAll('script').length") == 2
    assert browser.see("document.title").startswith("A desk · Above policy")
