# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The drift page in Chromium: on screens of a phone, a tablet and a desktop, in light and dark mode, and printed."""

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

# A program that creates the page of the last run with the installed collection. It reads the results of the accounts of
# each run from stdin.
CREATE_PAGE = """
import json, sys
from datetime import date, timedelta
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_page import leverage_page
from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
report = {}
for day, accounts in enumerate(json.load(sys.stdin)):
    time = f"{date(2026, 11, 23) + timedelta(day)}T01:30:00Z"
    report = leverage_report(accounts, "A desk", time, previous=report if day else None)
template = open(sys.argv[1] + "/ansible_collections/tradeops/coinswitch/roles/leverage/files/page.html.j2").read()
print(leverage_page(report, template))
"""
MALICIOUS_NAME = """</style><script>document.title = "hacked"</script>"""
NOT_REACHED_REASON = "The account was not checked in this run. See the output of the run."
SYMBOLS = ["1000PEPEUSDT", "BTCUSDT", "DOGEUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"]
# The order of the columns: the most dangerous severity first.
SYMBOLS_ON_PAGE = ["BTCUSDT", "DOGEUSDT", "SOLUSDT", "ETHUSDT", "1000PEPEUSDT", "XRPUSDT"]
# Widths and heights of the window in pixels.
PHONE, TABLET, DESKTOP = 390, 820, 1280
HEIGHTS = {PHONE: 844, DESKTOP: 800}
LEVERAGES = {
    # outcome: the previous leverage and the leverage after the task (in check mode: as predicted)
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
# Seconds. A browser that takes longer hangs.
BROWSER_TIMEOUT = 60.0


class Browser:
    """A tab of a headless Chromium, which is controlled with the DevTools protocol over a pipe."""

    def __init__(self, profile: Path) -> None:
        browser_input, self._write_end = os.pipe()
        self._read_end, browser_output = os.pipe()
        # Chromium reads from file descriptor 3 and writes to 4. A plain sh has no file descriptors above 9.
        shell = ["bash", "-c", f'exec "$@" 3<&{browser_input} 4>&{browser_output}', "bash"]
        self._process = subprocess.Popen(
            [*shell, str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", "about:blank"],
            pass_fds=(browser_input, browser_output),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(browser_input)
        os.close(browser_output)
        self._received = b""
        self._last_id = 0
        self._session: str | None = None

    def __enter__(self) -> Browser:
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.call("Page.enable")
        return self

    def __exit__(self, *_: object) -> None:
        # Chromium exits when its pipe is closed.
        os.close(self._write_end)
        os.close(self._read_end)
        try:
            self._process.wait(BROWSER_TIMEOUT)
        finally:
            self._process.kill()
            self._process.wait()

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command of the protocol and return its result."""
        self._last_id += 1
        message: dict[str, Any] = {"id": self._last_id, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write_end, json.dumps(message).encode() + b"\0")
        while (response := self._read()).get("id") != self._last_id:
            pass
        assert "error" not in response, response
        result: dict[str, Any] = response["result"]
        return result

    def open(self, page: Path, width: int, scheme: str = "light", medium: str = "screen") -> None:
        """Open a page in a window of this width in pixels."""
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

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression.

        The protocol evaluates it, because the security policy of the page allows no other script than its own.
        """
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            ready, _write, _error = select.select([self._read_end], [], [], BROWSER_TIMEOUT)
            assert ready, "the browser does not respond"
            chunk = os.read(self._read_end, 1 << 16)
            assert chunk, "the browser has ended"
            self._received += chunk
        line, _separator, self._received = self._received.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        return message


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed, so the page was not checked in a browser")
    with Browser(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


# JavaScript: the texts of the cells of each visible finding.
FINDINGS = """[...document.querySelectorAll("#findings tbody tr")].filter(row => row.offsetParent !== null).map(
    row => [...row.cells].map(cell => cell.innerText.trim().replace(/\\s+/g, " ")))"""
# JavaScript: for each account its name, and the symbol, the sign and the text of each cell.
CELLS = """[...document.querySelectorAll(".grid tbody tr")].filter(row => row.offsetParent !== null).map(row => [
    row.cells[0].innerText,
    ...[...row.cells].slice(1).filter(cell => cell.innerText && cell.className !== "t").map(cell => [
        document.querySelector(".grid thead tr").cells[cell.cellIndex].textContent.trim(),
        getComputedStyle(cell, "::before").content.slice(1, 2),
        cell.innerText.trim().replace(/\\s+/g, " "),
    ])])"""


def account_with(*outcomes: str, check_mode: bool = True) -> dict[str, Any]:
    """Return the data of an account with these outcomes, in the order of SYMBOLS."""
    rows = [
        {
            "symbol": symbol,
            "outcome": outcome,
            "previous_leverage": LEVERAGES[outcome][0],
            "leverage": LEVERAGES[outcome][1],
            "desired_leverage": 10,
            "reason": "" if outcome in ("unchanged", "changed") else f"the reason why it is {outcome}",
        }
        for symbol, outcome in zip(SYMBOLS, outcomes, strict=False)
    ]
    return {"enforce": "exact", "check_mode": check_mode, "results": rows}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory, collections: Path) -> Path:
    """A page with each outcome, an account without results, and a malicious account name."""
    return write_page(
        tmp_path_factory.mktemp("page") / "page.html",
        collections,
        {
            "alpha": account_with(*["unchanged"] * 6),
            "beta": account_with("unchanged", "changed", "blocked", "refused", "unknown"),
            MALICIOUS_NAME: {},
        },
    )


def write_page(path: Path, collections: Path, *runs: dict[str, Any]) -> Path:
    completed = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", CREATE_PAGE, str(collections)],
        env={"PYTHONPATH": str(collections)},
        input=json.dumps(runs),
        capture_output=True,
        check=True,
        encoding="utf-8",
    )
    path.write_text(completed.stdout, encoding="utf-8")
    return path


@pytest.mark.parametrize("width", [PHONE, TABLET, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_findings_and_cells_are_visible_at_each_width(
    browser: Browser, page: Path, width: int, scheme: str
) -> None:
    browser.open(page, width, scheme)
    dash = "\N{EN DASH}"
    assert browser.evaluate(FINDINGS) == [
        [
            "▲ Above policy",
            "beta",
            "DOGEUSDT",
            "25",
            "10",
            "2.5 times the policy",
            dash,
            "Close or cancel first. The reason why it is blocked",
        ],
        [
            "▲ Above policy",
            "beta",
            "BTCUSDT",
            "20",
            "10",
            "2 times the policy",
            dash,
            "Run enforce. The leverage is 20, and the policy is 10.",
        ],
        ["⚠ Not reached", MALICIOUS_NAME, "all", dash, dash, dash, dash, f"Check again. {NOT_REACHED_REASON}"],
        ["? Unknown", "beta", "SOLUSDT", dash, "10", dash, dash, "Check again. The reason why it is unknown"],
        [
            "✕ Refused",
            "beta",
            "ETHUSDT",
            "3",
            "10",
            "0.3 times the policy",
            dash,
            "Correct the policy or the keys. The reason why it is refused",
        ],
    ]
    assert browser.evaluate(CELLS) == [
        [
            "beta",
            ["BTCUSDT", "▲", "20 policy 10"],
            ["DOGEUSDT", "▲", "25 policy 10"],
            ["SOLUSDT", "?", f"{dash} policy 10"],
            ["ETHUSDT", "✕", "3 policy 10"],
            ["1000PEPEUSDT", "✓", "10"],
        ],
        [MALICIOUS_NAME, ["BTCUSDT", "⚠", "not reached"]],
        ["alpha", *([symbol, "✓", "10"] for symbol in SYMBOLS_ON_PAGE)],
    ]
    headline = "Above the policy: 2 of 11 leverages, up to 2.5 times the policy, 3 other findings"
    assert browser.evaluate("document.title") == f"A desk · {headline}"
    assert headline in browser.evaluate("document.body.innerText")


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("account_count", [20, 200])
def test_large_page_shows_the_first_finding_without_scrolling(
    browser: Browser, tmp_path: Path, collections: Path, width: int, account_count: int
) -> None:
    symbols = [f"COIN{number:02}USDT" for number in range(30)]
    accounts = {}
    for number in range(account_count):
        rows = [
            {"symbol": symbol, "outcome": "unchanged", "previous_leverage": 10, "leverage": 10, "desired_leverage": 10}
            for symbol in symbols
        ]
        rows[number % 30].update(outcome="changed", previous_leverage=20)
        accounts[f"account-{number:03}"] = {"enforce": "exact", "check_mode": True, "results": rows}
    path = write_page(tmp_path / "large.html", collections, accounts)
    assert path.stat().st_size < 1_500_000
    browser.open(path, width)
    assert browser.evaluate("document.querySelector('#findings tbody tr').getBoundingClientRect().bottom < innerHeight")
    assert browser.evaluate("document.querySelector('main > details').open") is False
    ((severity, names, symbols, *_others),) = browser.evaluate(FINDINGS)
    assert severity == f"▲ Above policy {account_count} findings"
    assert names.startswith("account-000, account-001, account-002, account-003, account-004 ")
    assert f"and {account_count - 5} more" in names


def test_keyboard_sorts_and_filters_the_findings(browser: Browser, page: Path) -> None:
    browser.open(page, DESKTOP)
    symbols = "[...document.querySelectorAll('#findings tbody tr')].map(row => row.cells[2].innerText)"
    focus_button = "document.querySelectorAll('#findings thead button')[%d].focus()"
    browser.evaluate(focus_button % 2)
    press_key(browser, "Enter")
    assert browser.evaluate(symbols) == ["BTCUSDT", "DOGEUSDT", "ETHUSDT", "SOLUSDT", "all"]
    press_key(browser, "Enter")
    assert browser.evaluate(symbols) == ["all", "SOLUSDT", "ETHUSDT", "DOGEUSDT", "BTCUSDT"]
    assert browser.evaluate("document.querySelectorAll('#findings th')[2].getAttribute('aria-sort')") == "descending"
    browser.evaluate(focus_button % 5)
    for order in (["ETHUSDT", "BTCUSDT", "DOGEUSDT"], ["DOGEUSDT", "BTCUSDT", "ETHUSDT"]):
        press_key(browser, "Enter")
        assert browser.evaluate(symbols)[:3] == order, "factors are sorted as numbers"
        assert set(browser.evaluate(symbols)[3:]) == {"all", "SOLUSDT"}, "what is not known is last"
    for name, value, expected_count in (
        ("severity", "Above policy", 2),
        ("symbol", "btc", 1),
        ("account", "nobody", 0),
        ("account", "", 1),
    ):
        event = "new Event('input', {bubbles: true})"
        browser.evaluate(
            f"(field => {{ field.value = '{value}'; field.dispatchEvent({event}) }})(document.forms[0].{name})"
        )
        assert len(browser.evaluate(FINDINGS)) == expected_count
        assert browser.evaluate("document.querySelector('output').innerText") == f"{expected_count} of 5 shown"


def test_tile_filters_the_findings(browser: Browser, page: Path) -> None:
    browser.open(page, DESKTOP)
    click = "document.querySelector('.counts button[value=\"Above policy\"]').click()"
    for expected_count, is_pressed in ((2, "true"), (5, "false")):
        browser.evaluate(click)
        assert len(browser.evaluate(FINDINGS)) == expected_count
        pressed = "document.querySelector('.counts button').getAttribute('aria-pressed')"
        assert browser.evaluate(pressed) == is_pressed


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_clipped_on_a_desktop(browser: Browser, tmp_path: Path, collections: Path, scheme: str) -> None:
    name = "emerging-markets-arbitrage-desk-singapore-book-7-account-with-a-long-name.example.com"
    accounts = {name: account_with("blocked", "refused", "unknown", "changed"), "beta": account_with("unknown")}
    # The values of each column that take the most space: the last one was above the policy, and is not reached now.
    first = account_with("blocked", "changed")
    first["results"][0].update(
        leverage=1009,
        blockers=[{"kind": "position", "side": "SHORT", "size": "123456.789", "mark_price": "64321.5"}],
    )
    runs = [{**accounts, "gamma": first}, *[{**accounts, "gamma": account_with("unknown", "unknown")}] * 11]
    browser.open(write_page(tmp_path / "page.html", collections, *runs), DESKTOP, scheme)
    assert any(row[0].startswith("△ Above when last seen") for row in browser.evaluate(FINDINGS))
    assert browser.evaluate("document.documentElement.scrollWidth") == DESKTOP
    assert browser.evaluate("(box => box.scrollWidth <= box.clientWidth)(document.querySelector('#findings .box'))")
    lines = "document.querySelector('#findings tbody tr').cells[1].firstChild"
    height = f"(range => (range.selectNodeContents({lines}), range.getClientRects().length))(document.createRange())"
    assert browser.evaluate(height) < 5


def press_key(browser: Browser, name: str) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=13, text="\r")


def test_findings_are_visible_without_scripts(browser: Browser, page: Path) -> None:
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(page, DESKTOP)
        assert len(browser.evaluate(FINDINGS)) == 5
        assert browser.evaluate("document.querySelector('form').offsetParent") is None
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)


@pytest.mark.parametrize("width", [PHONE, TABLET, DESKTOP])
def test_page_does_not_scroll_sideways(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width)
    assert browser.evaluate("document.documentElement.scrollWidth") == width


def test_finding_is_a_card_on_a_phone(browser: Browser, page: Path) -> None:
    labels = """[...document.querySelector("#findings tbody tr").cells].slice(3, 7).map(
        cell => getComputedStyle(cell, "::before").content)"""
    browser.open(page, PHONE)
    assert browser.evaluate(labels) == ['"In force: "', '"Policy: "', '"Factor: "', '"Since: "']
    assert browser.evaluate("document.querySelector('#findings thead').offsetParent") is None
    browser.open(page, DESKTOP)
    assert browser.evaluate(labels) == ["none"] * 4


def test_headings_stay_visible_while_a_large_table_scrolls(browser: Browser, tmp_path: Path, collections: Path) -> None:
    symbols = [f"COIN{number:02}USDT" for number in range(100)]
    row = {"outcome": "unchanged", "previous_leverage": 10, "leverage": 10, "desired_leverage": 10}
    large_account = {
        "enforce": "exact",
        "results": [{**row, "symbol": symbol} for symbol in symbols],
    }
    accounts = {f"account-{number:03}": large_account for number in range(200)}
    browser.open(write_page(tmp_path / "large.html", collections, accounts), DESKTOP)
    browser.evaluate("document.querySelector('main > details').open = true")
    browser.evaluate("document.querySelector('.grid').scrollTo(2000, 3000)")
    positions = browser.evaluate("""(() => {
        const grid = document.querySelector(".grid").getBoundingClientRect();
        const head = document.querySelectorAll(".grid thead th")[40].getBoundingClientRect();
        const name = document.querySelectorAll(".grid tbody th")[120].getBoundingClientRect();
        return [head.top - grid.top, name.left - grid.left, document.querySelector(".grid").scrollTop];
    })()""")
    assert positions == [1, 1, 3000], "both headings are next to the border of the table, which is one pixel wide"


def test_light_and_dark_mode_differ_and_have_enough_contrast(browser: Browser, page: Path) -> None:
    backgrounds = set()
    for scheme in ("light", "dark"):
        browser.open(page, DESKTOP, scheme)
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
            color, background = browser.evaluate(f"""(() => {{
                const style = getComputedStyle(document.querySelector("{selector}"));
                const isTransparent = style.backgroundColor === "rgba(0, 0, 0, 0)";
                const background = isTransparent ? getComputedStyle(document.body) : style;
                return [style.color, background.backgroundColor];
            }})()""")
            assert contrast(color, background) >= 4.5, f"{selector} in {scheme} mode"
        backgrounds.add(browser.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert len(backgrounds) == 2


@pytest.mark.parametrize("width", [PHONE, DESKTOP])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_accessibility_violation(browser: Browser, page: Path, width: int, scheme: str) -> None:
    browser.open(page, width, scheme)
    browser.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    browser.evaluate(files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8") + "; 1")
    run = "axe.run().then(result => JSON.stringify(result))"
    response = browser.call("Runtime.evaluate", expression=run, awaitPromise=True, returnByValue=True)
    result = json.loads(response["result"]["value"])
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in result["violations"]] == []
    assert len(result["passes"]) > 15


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colors such as "rgb(1, 2, 3)", as WCAG 2 defines it."""
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: str) -> float:
    parts = [int(part) / 255 for part in color.removeprefix("rgb(").removesuffix(")").split(",")]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))


def test_printed_page_has_only_the_findings_on_white(browser: Browser, page: Path) -> None:
    browser.open(page, TABLET, "dark", medium="print")
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert len(browser.evaluate(FINDINGS)) == 5
    for hidden in ("form", "main > details"):
        assert browser.evaluate(f"document.querySelector('{hidden}').offsetParent") is None
    pdf = b64decode(browser.call("Page.printToPDF", preferCSSPageSize=True)["data"])
    assert pdf.startswith(b"%PDF")
    (box, *_others) = re.findall(rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert tuple(round(float(side)) for side in box) == (842, 595), "A4 landscape, in points"


def test_security_policy_of_the_page_stops_a_script_that_was_not_escaped(
    browser: Browser, page: Path, tmp_path: Path
) -> None:
    not_escaped = tmp_path / "not_escaped.html"
    not_escaped.write_text(
        page.read_text(encoding="utf-8").replace("<main>", f"<main>{MALICIOUS_NAME}"), encoding="utf-8"
    )
    browser.open(not_escaped, DESKTOP)
    assert browser.evaluate("document.querySelectorAll('script').length") == 2
    assert browser.evaluate("document.title").startswith("A desk · Above the policy")
