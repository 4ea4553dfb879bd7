# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: the running program, and what is done to it from another terminal."""

from __future__ import annotations

import http.client
import json
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

from sandbox import FAULTS, Account, Exchange, Sandbox
from sandbox.cli import main
from sandbox.signatures import KeyPair, seed_from_name

PROGRAM = Path(__file__).resolve().parents[4] / "extensions" / "sandbox"


@pytest.fixture
def act(served: Sandbox, account: Account, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a command on a served exchange with one account, its address in the environment."""
    assert account.name == "desk"
    monkeypatch.setenv("COINSWITCH_API_URL", served.url)
    monkeypatch.delenv("COINSWITCH_API_KEY", raising=False)
    return lambda *arguments: main(arguments)


Act = Callable[..., int]
Dial = Callable[[Sandbox], AbstractContextManager[http.client.HTTPConnection]]
Capture = pytest.CaptureFixture[str]


def test_positions(act: Act, account: Account, capsys: Capture) -> None:
    assert act("open-position", "btcusdt", "--side", "short", "--size", "0.5") == 0
    (position,) = account.positions
    assert (position.symbol, position.side, str(position.size)) == ("BTCUSDT", "SHORT", "0.5")
    assert act("close-position", "btcusdt") == 0
    assert account.positions == []
    assert capsys.readouterr().out.splitlines() == [
        f"desk: SHORT 0.5 BTCUSDT opened, position {position.position_id}",
        "desk: BTCUSDT closed",
    ]


def test_orders(act: Act, account: Account, capsys: Capture) -> None:
    assert act("open-order", "ETHUSDT", "--side", "sell", "--quantity", "2", "--price", "9", "--age-days", "9") == 0
    (order,) = account.orders
    assert (order.symbol, order.side, str(order.quantity), str(order.price)) == ("ETHUSDT", "SELL", "2", "9")
    assert order.created_at == 1_700_000_000_000 - 9 * 86_400_000
    assert act("cancel-order", order.order_id) == 0
    assert account.orders == []
    assert capsys.readouterr().out.splitlines() == [
        f"desk: SELL 2 ETHUSDT at 9 placed, order {order.order_id}",
        f"desk: order {order.order_id} cancelled",
    ]


def test_leverage_and_state(act: Act, account: Account, capsys: Capture) -> None:
    account.open_position("BTCUSDT", "LONG", "0.01")
    order_id = account.open_order("BTCUSDT", "BUY", "0.01", "50000")
    assert act("set-leverage", "btcusdt", "20") == 0
    assert account.leverage == {"BTCUSDT": 20}
    assert act("state") == 0
    assert capsys.readouterr().out.splitlines() == [
        "desk: BTCUSDT leverage 20",
        "desk:",
        f"  api_key: {account.api_key}",
        "  leverage:",
        "    BTCUSDT: 20",
        "  positions:",
        "  - BTCUSDT LONG 0.01",
        "  orders:",
        f"  - BTCUSDT BUY 0.01 at 50000, 2023-11-14 22:13:20Z, {order_id}",
    ]


def test_faults(dial: Dial, act: Act, exchange: Exchange, served: Sandbox, capsys: Capture) -> None:
    def status() -> int:
        with dial(served) as connection:
            connection.request("GET", "/trade/api/v2/time")
            return connection.getresponse().status

    assert act("fault", "time", "503") == 0
    assert [status(), status()] == [503, 200]
    assert act("fault", "*", "503", "--times", "0", "--symbol", "BTCUSDT") == 0
    assert status() == 200
    assert act("fault", "time", "503", "--times", "0") == 0
    assert [status(), status()] == [503, 503]
    assert act("clear-faults") == 0
    assert status() == 200
    assert capsys.readouterr().out.splitlines() == [
        "time: 503, 1 time(s)",
        "*: 503, until cleared",
        "time: 503, until cleared",
        "no fault is left",
    ]
    assert {request.endpoint for request in exchange.requests} == {"time"}


def test_the_account_is_named_or_known_by_its_key_or_the_first(
    act: Act, exchange: Exchange, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, third = exchange.open_account("second"), exchange.open_account("third")
    assert act("set-leverage", "BTCUSDT", "2") == 0
    monkeypatch.setenv("COINSWITCH_API_KEY", second.api_key)
    assert act("set-leverage", "BTCUSDT", "3") == 0
    assert act("set-leverage", "BTCUSDT", "4", "--account", "third") == 0
    assert [held.leverage["BTCUSDT"] for held in (account, second, third)] == [2, 3, 4]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["close-position", "BTCUSDT"], "desk has no open position in BTCUSDT"),
        (["cancel-order", "5"], "desk has no open order 5"),
        (["open-position", "NIXUSDT"], "NIXUSDT is not listed"),
        (["open-position", "BTCUSDT", "--size", "x"], "x is not a number above 0"),
        (["state", "--url", "http://127.0.0.1:1"], "no sandbox listens on http://127.0.0.1:1; start one with: python3"),
        (
            ["state", "--url", "https://coinswitch.co"],
            "https://coinswitch.co is no sandbox: one listens on http://127.",
        ),
        (["state", "--url", "http://192.0.2.1:80"], "http://192.0.2.1:80 is no sandbox"),
        (["fault", "nix", "500"], "there is no endpoint nix; there are time, "),
        (["fault", "time", "nix"], "there is no fault nix; "),
        (["set-leverage", "BTCUSDT", "3", "--account", "nix"], "there is no account nix; there are desk"),
        (["--port", "70000"], "cannot listen on port 70000: "),
        (["--speed", "0"], "--speed is above 0"),
        (["--accounts", "no/such/file"], "[Errno 2] No such file or directory: 'no/such/file'"),
        (["serve", "--export", "nix"], "there is no account nix; there are desk"),
    ],
)
def test_errors_are_one_line(act: Act, capsys: Capture, arguments: list[str], line: str) -> None:
    assert act(*arguments) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"sandbox: {line}")


def test_a_key_nobody_has(act: Act, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINSWITCH_API_KEY", "00" * 32)
    assert act("close-position", "BTCUSDT") == 1
    assert capsys.readouterr().err == "sandbox: there is no account with this API key; there are desk\n"


def test_nowhere_to_go(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COINSWITCH_API_URL", raising=False)
    assert main(["state"]) == 1
    assert "Give --url, or set COINSWITCH_API_URL" in capsys.readouterr().err


def test_what_listens_is_no_sandbox(
    act: Act, exchange: Exchange, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.cli.PREFIX", "/elsewhere/")
    exchange.add_fault("*", FAULTS["html"])
    assert act("state") == 1
    assert capsys.readouterr().err.endswith(" is no sandbox\n")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("GET", "/sandbox/state", None, 404, "there is no such command"),
        ("POST", "/sandbox/nix", "{}", 404, "there is no such command"),
        ("POST", "/sandbox/open-position", "{}", 400, "symbol is missing"),
        ("POST", "/sandbox/open-position", "[]", 400, "symbol is missing"),
        ("POST", "/sandbox/set-leverage", '{"symbol": "BTCUSDT", "leverage": []}', 400, "int() argument must be"),
    ],
)
def test_control_by_hand(
    dial: Dial, served: Sandbox, account: Account, method: str, path: str, body: str | None, status: int, error: str
) -> None:
    with dial(served) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        assert (answer.status, account.leverage) == (status, {})
        assert json.load(answer)["error"].startswith(error)


@pytest.mark.parametrize("arguments", [["--help"], ["fault", "--help"], ["serve", "--help"]])
def test_help(capsys: Capture, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    words = {"--help": "examples:", "fault": "faults: 400, 401", "serve": "--no-rate-limits"}
    assert words[arguments[0]] in capsys.readouterr().out


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """The program; it ends with its context, also where a test fails."""
    command = [sys.executable, str(PROGRAM), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            yield program
        finally:
            program.kill()


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
def test_the_program(tmp_path: Path, ending: signal.Signals) -> None:
    accounts, ready = tmp_path / "accounts.yml", tmp_path / "ready"
    accounts.write_text("accounts: [{name: alpha}, {name: beta}]", encoding="utf-8")
    arguments = ["--accounts", str(accounts), "--export", "beta", "--ready-file", str(ready), "--speed", "60"]
    with running(*arguments) as program:
        assert program.stdout
        assert program.stderr
        lines = [program.stdout.readline() for _turn in range(4)]
        program.stderr.readline()
        url = lines[0].removeprefix("export COINSWITCH_API_URL=").strip()
        with urlopen(f"{url}/trade/api/v2/time") as answer:
            assert "serverTime" in json.load(answer)
        assert program.stderr.readline() == "GET /trade/api/v2/time 200\n"
        assert ready.read_text(encoding="utf-8").splitlines(keepends=True) == lines
        assert stat.S_IMODE(ready.stat().st_mode) == 0o600
        program.send_signal(ending)
        rest, errors = program.communicate(timeout=30)
    assert (program.returncode, rest, errors) == (0, "", "")
    assert not ready.exists()
    alpha, beta = (KeyPair.from_seed(seed_from_name(name)) for name in ("alpha", "beta"))
    assert lines[1:] == [
        f"export COINSWITCH_API_KEY={beta.api_key}\n",
        f"export COINSWITCH_SECRET_KEY={beta.secret_key}\n",
        f"# alpha: API key {alpha.api_key} secret key {alpha.secret_key}\n",
    ]


def test_the_program_in_short() -> None:
    with running() as program:
        assert program.stdout
        lines = [program.stdout.readline() for _turn in range(3)]
        program.terminate()
        assert program.wait(timeout=30) == 0
    assert lines[2].startswith("export COINSWITCH_SECRET_KEY=")
