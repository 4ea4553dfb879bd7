# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: the program itself, and the commands for a running sandbox."""

from __future__ import annotations

import http.client
import json
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
import yaml

from sandbox import FAULTS, Account, Exchange, Quirks, Sandbox
from sandbox.cli import SERVE_ARGUMENTS, create_exchange, create_parser, main
from sandbox.control import COMMANDS
from sandbox.exchange import ENDPOINT_HELP
from sandbox.faults import FAULT_TABLE
from sandbox.signatures import KeyPair, derive_seed

PROGRAM = Path(__file__).resolve().parents[4] / "extensions" / "sandbox"


@pytest.fixture
def run_cli(sandbox: Sandbox, account: Account, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Return a function that runs a command on a sandbox with one account. The environment has its URL."""
    assert account.name == "desk"
    monkeypatch.setenv("COINSWITCH_API_URL", sandbox.url)
    monkeypatch.delenv("COINSWITCH_API_KEY", raising=False)
    return lambda *arguments: main(arguments)


RunCli = Callable[..., int]
Connect = Callable[[Sandbox], AbstractContextManager[http.client.HTTPConnection]]
Capture = pytest.CaptureFixture[str]


def test_positions_are_opened_and_closed(run_cli: RunCli, account: Account, capsys: Capture) -> None:
    assert run_cli("open-position", "btcusdt", "--side", "short", "--size", "0.5") == 0
    (position,) = account.positions
    assert (position.symbol, position.side, str(position.size)) == ("BTCUSDT", "SHORT", "0.5")
    assert run_cli("close-position", "btcusdt") == 0
    assert account.positions == []
    assert capsys.readouterr().out.splitlines() == [
        f"desk: SHORT 0.5 BTCUSDT opened, position {position.position_id}",
        "desk: BTCUSDT closed",
    ]


def test_orders_are_placed_and_canceled(run_cli: RunCli, account: Account, capsys: Capture) -> None:
    assert run_cli("open-order", "ETHUSDT", "--side", "sell", "--quantity", "2", "--price", "9", "--age-days", "9") == 0
    (order,) = account.orders
    assert (order.symbol, order.side, str(order.quantity), str(order.price)) == ("ETHUSDT", "SELL", "2", "9")
    assert order.created_at == 1_700_000_000_000 - 9 * 86_400_000
    assert run_cli("cancel-order", order.order_id) == 0
    assert account.orders == []
    assert capsys.readouterr().out.splitlines() == [
        f"desk: SELL 2 ETHUSDT at 9 placed, order {order.order_id}",
        f"desk: order {order.order_id} canceled",
    ]


def test_state_shows_the_leverage_that_was_set(run_cli: RunCli, account: Account, capsys: Capture) -> None:
    account.open_position("BTCUSDT", "LONG", "0.01")
    order_id = account.open_order("BTCUSDT", "BUY", "0.01", "50000")
    assert run_cli("set-leverage", "btcusdt", "20") == 0
    assert account.leverage == {"BTCUSDT": 20}
    assert run_cli("state") == 0
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


def test_faults_apply_until_used_up_or_cleared(
    connect: Connect, run_cli: RunCli, exchange: Exchange, sandbox: Sandbox, capsys: Capture
) -> None:
    def status() -> int:
        with connect(sandbox) as connection:
            connection.request("GET", "/trade/api/v2/time")
            return connection.getresponse().status

    assert run_cli("fault", "time", "503") == 0
    assert [status(), status()] == [503, 200]
    assert run_cli("fault", "*", "503", "--times", "0", "--symbol", "BTCUSDT") == 0
    assert status() == 200
    assert run_cli("fault", "time", "503", "--times", "0") == 0
    assert [status(), status()] == [503, 503]
    assert run_cli("clear-faults") == 0
    assert status() == 200
    assert capsys.readouterr().out.splitlines() == [
        "time: 503 for the next request",
        "*: 503 for all requests until clear-faults",
        "time: 503 for all requests until clear-faults",
        "all faults removed",
    ]
    assert {request.endpoint for request in exchange.requests} == {"time"}


def test_account_is_found_by_name_then_by_api_key_then_the_first(
    run_cli: RunCli, exchange: Exchange, account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, third = exchange.open_account("second"), exchange.open_account("third")
    assert run_cli("set-leverage", "BTCUSDT", "2") == 0
    monkeypatch.setenv("COINSWITCH_API_KEY", second.api_key)
    assert run_cli("set-leverage", "BTCUSDT", "3") == 0
    assert run_cli("set-leverage", "BTCUSDT", "4", "--account", "third") == 0
    assert [each.leverage["BTCUSDT"] for each in (account, second, third)] == [2, 3, 4]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["close-position", "BTCUSDT"], "desk has no open position in BTCUSDT; the command state shows"),
        (["cancel-order", "5"], "desk has no open order 5; the command state shows"),
        (["open-position", "NIXUSDT"], "unknown symbol NIXUSDT; use a listed symbol, such as BTCUSDT, or add"),
        (["open-position", "BTCUSDT", "--size", "x"], "size must be a number above 0, such as 0.01, not x"),
        (
            ["open-order", "BTCUSDT", "--age-days", "inf"],
            "the age of an order must be a number of days from 0 to 36500, ",
        ),
        (
            ["open-order", "BTCUSDT", "--age-days", "-1"],
            "the age of an order must be a number of days from 0 to 36500, ",
        ),
        (["open-order", "BTCUSDT", "--price", "1e3"], "price must be a number above 0, such as 0.01, not 1e3"),
        (["open-order", "BTCUSDT", "--quantity", "0"], "quantity must be a number above 0, such as 0.01, not 0"),
        (["open-order", "BTCUSDT", "--order-type", "x"], "order_type must be LIMIT or STOP_MARKET or TAKE_PROFIT_MARK"),
        (["open-position", "BTCUSDT", "--side", "up"], "side must be LONG or SHORT, not up"),
        (["open-position", "BTCUSDT", "--size", "inf"], "size must be a number above 0, such as 0.01, not inf"),
        (["open-position", "BTCUSDT", "--leverage", "0"], "leverage must be a whole number from 1 to 1000000, not 0"),
        *(
            (["set-leverage", "BTCUSDT", value], f"leverage must be a whole number from 1 to 1000000, not {value}")
            for value in ("0", "1.5", "-3", "1_0", "\uff11\uff10", "ten", "9999999")
        ),
        *(
            (
                ["fault", "time", "503", f"--times={value}"],
                f"times must be a whole number from 0 to 1000000, not {value}",
            )
            for value in ("-1", "1.5", "x", "1_0", "1e3")
        ),
        (["fault", "time", "503", "--times", "-1"], "times must be a whole number from 0 to 1000000, not -1"),
        (["fault", "time", "503", "--symbol", "NIX"], "unknown symbol NIX; use a listed symbol, such as BTCUSDT"),
        (
            ["fault", "time"],
            "the following arguments are required: FAULT; 'python3 extensions/sandbox fault --help' sho",
        ),
        (
            ["fault", "time", "503", "--time", "2"],
            "unrecognized arguments: --time 2; 'python3 extensions/sandbox --hel",
        ),
        (["nix"], "argument COMMAND: invalid choice: 'nix' (choose from "),
        (["state", "--account", "nix"], "unknown account nix; the accounts are: desk"),
        (["state", "--url", "http://127.0.0.1:1"], "no sandbox listens on http://127.0.0.1:1; start one with: python3"),
        (
            ["state", "--url", "https://coinswitch.co"],
            "https://coinswitch.co is not the URL of a sandbox; use the URL that the sandbox printed, such as http://127.",
        ),
        (["state", "--url", "http://192.0.2.1:80"], "http://192.0.2.1:80 is not the URL of a sandbox; use the URL"),
        (["state", "--url", "http://127.0.0.1:x"], "http://127.0.0.1:x is not the URL of a sandbox; use the URL"),
        (["fault", "nix", "500"], "unknown endpoint nix; the endpoints are: time, "),
        (["fault", "time", "nix"], "unknown fault nix; 'python3 extensions/sandbox fault --help' lists"),
        (["set-leverage", "BTCUSDT", "3", "--account", "nix"], "unknown account nix; the accounts are: desk"),
        (["--port", "70000"], "--port must be a whole number from 0 to 65535, not 70000"),
        (["--port", "-1"], "--port must be a whole number from 0 to 65535, not -1"),
        (["--speed", "nan"], "--speed must be a number above 0, such as 60, not nan"),
        (["--speed", "-1"], "--speed must be a number above 0, such as 60, not -1"),
        (["--quirks", "mood=bad"], "unknown quirk mood; the quirks are: blocked_answer, "),
        (["--quirks", "numbers"], 'the quirk numbers cannot be ""; its readings are: "text", "number", "decimal"'),
        (["--speed", "0"], "--speed must be a number above 0, such as 60, not 0"),
        (["--accounts", ""], "cannot open an empty path: Is a directory; check the path after --accounts"),
        (["--like", ""], "cannot open an empty path: Is a directory; check the path after --like"),
        (["--quirks", ""], "unknown quirk ; the quirks are: blocked_answer, "),
        (["--accounts", "no/such/file"], "cannot open no/such/file: No such file or directory; check the path after"),
        (["serve", "--export", "nix"], "--export names the unknown account nix; the accounts are: desk"),
    ],
)
def test_error_is_one_line_on_stderr(run_cli: RunCli, capsys: Capture, arguments: list[str], line: str) -> None:
    assert run_cli(*arguments) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith(f"sandbox: {line}")


def test_unknown_api_key_is_an_error(run_cli: RunCli, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COINSWITCH_API_KEY", "00" * 32)
    assert run_cli("close-position", "BTCUSDT") == 1
    assert capsys.readouterr().err == (
        "sandbox: no account has the API key in COINSWITCH_API_KEY; set it to a key that the sandbox printed, or use "
        "--account with one of: desk\n"
    )


def test_missing_url_is_an_error(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COINSWITCH_API_URL", raising=False)
    assert main(["state"]) == 1
    assert "use --url, or set COINSWITCH_API_URL" in capsys.readouterr().err


def test_server_that_is_not_a_sandbox_is_an_error(
    run_cli: RunCli, exchange: Exchange, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.cli.PREFIX", "/elsewhere/")
    for fault in ("html", "list", "no-data"):
        exchange.add_fault("*", FAULTS[fault])
        assert run_cli("state") == 1
        assert capsys.readouterr().err.endswith(" is not a sandbox; use the URL that the sandbox printed\n")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "error"),
    [
        ("GET", "/sandbox/state", None, 404, "unknown command GET state"),
        ("POST", "/sandbox/nix", "{}", 404, "unknown command POST nix"),
        ("POST", "/sandbox/open-position", "{}", 400, "symbol is missing"),
        ("POST", "/sandbox/open-position", "[]", 400, "symbol is missing"),
        (
            "POST",
            "/sandbox/set-leverage",
            '{"symbol": "BTCUSDT", "leverage": []}',
            400,
            "leverage must be a whole number from 1 to 1000000, not []",
        ),
    ],
)
def test_invalid_control_request_returns_an_error(
    connect: Connect,
    sandbox: Sandbox,
    account: Account,
    method: str,
    path: str,
    body: str | None,
    status: int,
    error: str,
) -> None:
    with connect(sandbox) as connection:
        connection.request(method, path, body)
        response = connection.getresponse()
        assert (response.status, account.leverage) == (status, {})
        assert json.load(response)["error"].startswith(error)


def test_control_request_ignores_other_arguments(connect: Connect, sandbox: Sandbox, account: Account) -> None:
    with connect(sandbox) as connection:
        connection.request("POST", "/sandbox/open-position", '{"symbol": "BTCUSDT", "more": 1}')
        assert connection.getresponse().status == 200
    assert [position.symbol for position in account.positions] == ["BTCUSDT"]


def read_help(capsys: Capture, *arguments: str) -> str:
    with pytest.raises(SystemExit) as exit_info:
        main([*arguments, "--help"])
    assert exit_info.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", ["", "serve", *COMMANDS])
def test_help_is_complete_and_fits_80_columns(capsys: Capture, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = read_help(capsys, *([command] if command else []))
    assert max(map(len, text.splitlines())) < 80
    assert "examples:" in text
    faults = [name for rows in FAULT_TABLE.values() for name in rows]
    names: dict[str, Collection[str]] = {
        "": COMMANDS,
        "serve": SERVE_ARGUMENTS,
        "fault": [*COMMANDS["fault"].arguments, *ENDPOINT_HELP, *faults],
    }
    listed = names[command] if command in names else COMMANDS[command].arguments
    assert [name for name in listed if f"\n  {name} " not in text and f"\n  {name}\n" not in text] == []
    assert command != "fault" or "202, 400, 401" in " ".join(text.split())


@pytest.mark.parametrize("name", FAULTS)
def test_each_named_fault_can_be_added(run_cli: RunCli, capsys: Capture, name: str) -> None:
    assert run_cli("fault", "futures", name, "--times", "2", "--symbol", "btcusdt") == 0
    assert capsys.readouterr().out == f"futures: {name} for the next 2 requests\n"


def test_state_of_one_account(run_cli: RunCli, exchange: Exchange, capsys: Capture) -> None:
    second = exchange.open_account("second")
    assert run_cli("state", "--account", "second") == 0
    assert yaml.safe_load(capsys.readouterr().out) == {
        "second": {"api_key": second.api_key, "leverage": {}, "positions": [], "orders": []}
    }
    assert run_cli("state") == 0
    assert list(yaml.safe_load(capsys.readouterr().out)) == ["desk", "second"]


def test_stop_order_and_position_with_another_leverage(run_cli: RunCli, account: Account, capsys: Capture) -> None:
    assert run_cli("open-order", "BTCUSDT", "--order-type", "stop_market", "--price", "60000") == 0
    assert run_cli("open-position", "ETHUSDT", "--leverage", "40") == 0
    assert [(order.order_type, str(order.trigger_price)) for order in account.orders] == [("STOP_MARKET", "60000")]
    assert [position.leverage for position in account.positions] == [40]
    capsys.readouterr()
    assert run_cli("state") == 0
    (line,) = yaml.safe_load(capsys.readouterr().out)["desk"]["orders"]
    assert line.startswith("BTCUSDT BUY 0 at 60000, 2023-11-14")


@pytest.mark.parametrize(
    ("arguments", "quirks"),
    [
        ([], Quirks()),
        (["--quirks", "unset_leverage=zero"], Quirks(unset_leverage="zero")),
        (["--quirks", "refused_count=true,retry_after=null"], Quirks(refused_count=True)),
        (["--like", "{path}"], Quirks(numbers="number")),
        (["--like", "{path}", "--quirks", "limit_answer=clamp"], Quirks(numbers="number", limit_answer="clamp")),
    ],
)
def test_options_set_the_quirks(tmp_path: Path, arguments: list[str], quirks: Quirks) -> None:
    path = tmp_path / "transcript.json"
    path.write_text('{"quirks": {"numbers": "number"}}', encoding="utf-8")
    options = create_parser().parse_args(["serve", *(argument.format(path=path) for argument in arguments)])
    assert create_exchange(options).quirks == quirks


@contextmanager
def running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the program, and kill it when the context ends."""
    command = [sys.executable, str(PROGRAM), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as program:
        try:
            yield program
        finally:
            program.kill()


@pytest.mark.parametrize("stop_signal", [signal.SIGINT, signal.SIGTERM])
def test_program_serves_until_a_signal(tmp_path: Path, stop_signal: signal.Signals) -> None:
    accounts, ready = tmp_path / "accounts.yml", tmp_path / "ready"
    accounts.write_text("accounts: [{name: alpha}, {name: beta}]", encoding="utf-8")
    arguments = ["--accounts", str(accounts), "--export", "beta", "--ready-file", str(ready), "--speed", "60"]
    with running(*arguments) as program:
        assert program.stdout
        assert program.stderr
        lines = [program.stdout.readline() for _number in range(4)]
        program.stderr.readline()
        url = lines[0].removeprefix("export COINSWITCH_API_URL=").strip()
        with urlopen(f"{url}/trade/api/v2/time") as response:
            assert "serverTime" in json.load(response)
        assert program.stderr.readline() == "GET /trade/api/v2/time 200\n"
        assert ready.read_text(encoding="utf-8").splitlines(keepends=True) == lines
        assert stat.S_IMODE(ready.stat().st_mode) == 0o600
        program.send_signal(stop_signal)
        rest, errors = program.communicate(timeout=30)
    assert (program.returncode, rest, errors) == (0, "", "")
    assert not ready.exists()
    alpha, beta = (KeyPair.from_seed(derive_seed(name)) for name in ("alpha", "beta"))
    assert lines[1:] == [
        f"export COINSWITCH_API_KEY={beta.api_key}\n",
        f"export COINSWITCH_SECRET_KEY={beta.secret_key}\n",
        f"# alpha: API key {alpha.api_key} secret key {alpha.secret_key}\n",
    ]


def test_program_needs_no_arguments() -> None:
    with running() as program:
        assert program.stdout
        lines = [program.stdout.readline() for _number in range(3)]
        program.terminate()
        assert program.wait(timeout=30) == 0
    assert lines[2].startswith("export COINSWITCH_SECRET_KEY=")
