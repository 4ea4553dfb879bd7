# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: starts a sandbox, and sends commands to a running one."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml

from .accounts import Account
from .accounts_file import load_accounts
from .control import PREFIX
from .endpoints import ENDPOINTS
from .exchange import Exchange, Request
from .faults import FAULT_HELP
from .quirks import Quirks
from .server import Sandbox
from .transcripts import read_quirks

PROGRAM = "python3 extensions/sandbox"
STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}
HELP_WIDTH = 78
TABLE_COLUMN = 19

DESCRIPTION = (
    "Simulate the futures API of CoinSwitch PRO on this machine. Nothing is sent to the real exchange, and nothing is "
    "kept after the sandbox stops."
)

COMMAND_HELP = {
    "serve": "start the sandbox (the default)",
    "state": "show the leverages, positions and orders of all accounts",
    "open-position": "open a position, which blocks changes of the leverage",
    "close-position": "close all positions of a symbol",
    "open-order": "place a limit order, which blocks changes of the leverage",
    "cancel-order": "cancel an open order",
    "set-leverage": "set the leverage of a symbol, as another program would",
    "fault": "make the next requests fail",
    "clear-faults": "remove all faults",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0, or 1 after a one-line error message on stderr.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # The default command is serve. Only --help alone is about all commands.
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments.insert(0, "serve")
    options = _create_parser().parse_args(arguments)
    try:
        if options.command == "serve":
            _serve(options)
        else:
            print(_run_command(options))
    except (OSError, ValueError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    return 0


def _create_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        usage="%(prog)s [COMMAND] [OPTIONS]",
        description=f"{textwrap.fill(DESCRIPTION, HELP_WIDTH)}\n\ncommands:\n{_format_table(COMMAND_HELP)}",
        epilog=f"""\
To see the options of a command: {PROGRAM} COMMAND --help

examples:
  Start the sandbox with one account. Ctrl-C stops it:
    {PROGRAM}

  Use a fixed port, several accounts, and rate limits that refill in 1 s:
    {PROGRAM} --port 8080 --accounts accounts.yml --speed 60

  Act on the running sandbox. First paste the export lines that it printed
  into this terminal:
    {PROGRAM} open-position BTCUSDT --side long --size 0.01
    {PROGRAM} fault write_leverage timeout
    {PROGRAM} state
""",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    # The description lists the commands.
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", prog=PROGRAM, help=argparse.SUPPRESS
    )
    _add_serve(commands)
    _add_state(commands)
    _add_position_commands(commands)
    _add_order_commands(commands)
    _add_set_leverage(commands)
    _add_fault_commands(commands)
    return parser


def _add_command(
    commands: Any, name: str, arguments: str, description: str, examples: Sequence[str], more: str = ""
) -> argparse.ArgumentParser:
    """Add a command.

    Args:
        commands: The collection of subparsers.
        name: The name of the command.
        arguments: What follows the name in the usage line.
        description: What the command does.
        examples: Command lines, without the program.
        more: Text between the options and the examples.
    """
    lines = "\n".join(f"  {PROGRAM} {example}".rstrip() for example in examples)
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        usage=f"%(prog)s {arguments}",
        description=textwrap.fill(description, HELP_WIDTH),
        epilog=f"{more}{'example' if len(examples) == 1 else 'examples'}:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _add_common_options(parser: argparse.ArgumentParser, *, uses_account: bool = True) -> None:
    """Add the options of all commands but serve. Commands that do not use --account accept it, but do not show it."""
    account_help = (
        "account to act on (default: the account with the key $COINSWITCH_API_KEY; if that is not set, the first "
        "account)"
    )
    parser.add_argument("--account", metavar="NAME", help=account_help if uses_account else argparse.SUPPRESS)
    parser.add_argument("--url", help="URL of the running sandbox (default: $COINSWITCH_API_URL)")


def _add_serve(commands: Any) -> None:
    parser = _add_command(
        commands,
        "serve",
        "[OPTIONS]",
        "Start the sandbox in the foreground, on a port of 127.0.0.1. It prints export lines with its URL and the keys "
        "of an account, for other terminals. Then it prints one line for each request on stderr. Ctrl-C or SIGTERM "
        'stops it. The word "serve" can be omitted.',
        [
            "",
            "--accounts accounts.yml --export beta",
            "--port 8080 --speed 60",
            "--like api-check.json --no-rate-limits",
        ],
    )
    parser.add_argument("--port", type=int, default=0, help="port to listen on (default: a free port)")
    parser.add_argument(
        "--accounts",
        type=Path,
        metavar="FILE",
        help="YAML file with accounts and instruments; README.md of the sandbox shows one (default: one account with "
        "new keys, named desk)",
    )
    parser.add_argument(
        "--like",
        type=Path,
        metavar="FILE",
        help="answer like the exchange in a transcript, which is the JSON file that the playbook api_check writes "
        "(default: as documented)",
    )
    parser.add_argument(
        "--export",
        metavar="NAME",
        help="account whose keys are printed as export lines; those of the others are printed as comments (default: "
        "the first account)",
    )
    parser.add_argument(
        "--ready-file",
        type=Path,
        metavar="FILE",
        help="for scripts: also write the export lines to this file; it exists only while the sandbox listens "
        "(default: no file)",
    )
    parser.add_argument(
        "--speed",
        type=float,
        default=1.0,
        metavar="FACTOR",
        help="refill the rate limits FACTOR times as fast; 60 turns a minute into a second (default: 1)",
    )
    parser.add_argument(
        "--no-rate-limits", action="store_true", help="accept any number of requests (default: the documented limits)"
    )


def _add_state(commands: Any) -> None:
    description = "Show the API key, the leverages, the open positions and the open orders of all accounts, as YAML."
    _add_common_options(
        _add_command(commands, "state", "[OPTIONS]", description, ["state"]),
        uses_account=False,
    )


def _add_position_commands(commands: Any) -> None:
    opening = _add_command(
        commands,
        "open-position",
        "[OPTIONS] SYMBOL",
        "Open a position. The leverage of its symbol cannot be changed while the position is open.",
        ["open-position BTCUSDT", "open-position ETHUSDT --side short --size 1.5"],
    )
    opening.add_argument("symbol", metavar="SYMBOL", help="symbol, such as BTCUSDT")
    opening.add_argument(
        "--side", default="long", choices=["long", "short"], help="side of the position (default: %(default)s)"
    )
    opening.add_argument("--size", default="0.01", help="size in the base asset, such as BTC (default: %(default)s)")
    _add_common_options(opening)

    closing = _add_command(
        commands,
        "close-position",
        "[OPTIONS] SYMBOL",
        "Close all open positions of a symbol.",
        ["close-position BTCUSDT"],
    )
    closing.add_argument("symbol", metavar="SYMBOL", help="symbol, such as BTCUSDT")
    _add_common_options(closing)


def _add_order_commands(commands: Any) -> None:
    placing = _add_command(
        commands,
        "open-order",
        "[OPTIONS] SYMBOL",
        "Place a limit order, and print its ID. The leverage of its symbol cannot be changed while the order is open.",
        ["open-order BTCUSDT", "open-order ETHUSDT --side sell --age-days 9"],
    )
    placing.add_argument("symbol", metavar="SYMBOL", help="symbol, such as BTCUSDT")
    placing.add_argument(
        "--side", default="buy", choices=["buy", "sell"], help="side of the order (default: %(default)s)"
    )
    placing.add_argument("--quantity", default="0.01", help="quantity in the base asset (default: %(default)s)")
    placing.add_argument("--price", default="1000", help="price in USDT (default: %(default)s)")
    placing.add_argument(
        "--age-days", type=float, default=0.0, metavar="DAYS", help="age of the order in days (default: 0)"
    )
    _add_common_options(placing)

    canceling = _add_command(
        commands,
        "cancel-order",
        "[OPTIONS] ORDER_ID",
        "Cancel an open order.",
        ["cancel-order 7bc0ed9a-e39e-40d3-a2f4-5601bfbd54df"],
    )
    canceling.add_argument("order_id", metavar="ORDER_ID", help='ID of the order; "open-order" and "state" print it')
    _add_common_options(canceling)


def _add_set_leverage(commands: Any) -> None:
    parser = _add_command(
        commands,
        "set-leverage",
        "[OPTIONS] SYMBOL LEVERAGE",
        "Set the leverage of a symbol directly, as another program would. Limits, open positions and open orders do "
        "not prevent it.",
        ["set-leverage BTCUSDT 20"],
    )
    parser.add_argument("symbol", metavar="SYMBOL", help="symbol, such as BTCUSDT")
    parser.add_argument("leverage", type=int, metavar="LEVERAGE", help="leverage, a whole number from 1")
    _add_common_options(parser)


def _add_fault_commands(commands: Any) -> None:
    endpoints = {endpoint.name: f"{method} {path}" for (method, path), endpoint in ENDPOINTS.items()}
    tables = {"endpoints": {**endpoints, "*": "any request"}, **FAULT_HELP}
    parser = _add_command(
        commands,
        "fault",
        "[OPTIONS] ENDPOINT FAULT",
        "Make the next request fail, or the next COUNT requests. If several faults apply to a request, the one "
        "that was added first is used.",
        [
            "fault write_leverage timeout",
            "fault read_leverage 503 --times 3 --symbol BTCUSDT",
            'fault "*" 429-retry-after --times 0',
        ],
        more="".join(f"{heading}:\n{_format_table(rows)}\n\n" for heading, rows in tables.items()),
    )
    parser.add_argument("endpoint", metavar="ENDPOINT", help='endpoint, see below; "*" is any endpoint')
    parser.add_argument("fault", metavar="FAULT", help="what goes wrong, see below")
    parser.add_argument(
        "--times",
        type=int,
        default=1,
        metavar="COUNT",
        help="number of requests that fail; 0 is all requests until clear-faults (default: %(default)s)",
    )
    parser.add_argument("--symbol", help="only requests for this symbol fail (default: any symbol)")
    _add_common_options(parser, uses_account=False)

    clearing = _add_command(
        commands, "clear-faults", "[OPTIONS]", "Remove all faults that the command fault added.", ["clear-faults"]
    )
    _add_common_options(clearing, uses_account=False)


def _format_table(rows: Mapping[str, str]) -> str:
    """Return indented lines with a name and its help, wrapped to the width of the help."""
    return "\n".join(
        textwrap.fill(
            text,
            HELP_WIDTH,
            initial_indent=f"  {name}".ljust(TABLE_COLUMN),
            subsequent_indent=" " * TABLE_COLUMN,
            break_on_hyphens=False,
        )
        for name, text in rows.items()
    )


def _serve(options: argparse.Namespace) -> None:
    """Serve until SIGINT (Ctrl-C) or SIGTERM."""
    if not options.speed > 0:
        raise ValueError(f"--speed must be a number above 0, not {options.speed}")
    quirks = Quirks()
    if options.like:
        with _explain_file_errors("--like", options.like):
            quirks = read_quirks(options.like)
    exchange = Exchange(window=60.0 / options.speed, rate_limits=not options.no_rate_limits, quirks=quirks)
    if options.accounts:
        with _explain_file_errors("--accounts", options.accounts):
            load_accounts(exchange, options.accounts)
    else:
        exchange.open_account()
    accounts = _sort_accounts(exchange.accounts, options.export)
    server = _bind_port(exchange, options.port)
    # Block the signals before any thread starts. They then wait for sigwait() and interrupt no thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    with server as sandbox:
        lines = _format_export_lines(accounts, sandbox.url)
        with _ready_file(options.ready_file, lines):
            print(lines, flush=True)
            print("# Paste these lines into another terminal. Ctrl-C stops the sandbox.", file=sys.stderr, flush=True)
            signal.sigwait(STOP_SIGNALS)


@contextmanager
def _explain_file_errors(option: str, path: Path) -> Iterator[None]:
    """Turn an OSError into a message that names the option and the file."""
    try:
        yield
    except OSError as error:
        raise ValueError(f"cannot open {path}: {error.strerror}; check the path after {option}") from error


def _bind_port(exchange: Exchange, port: int) -> Sandbox:
    try:
        return Sandbox(exchange, port, log=lambda request: _log(exchange, request))
    except (OSError, OverflowError) as error:
        reason = error.strerror if isinstance(error, OSError) else "a port is a number from 0 to 65535"
        raise ValueError(f"cannot listen on port {port}: {reason}; use another port, or omit --port") from error


def _sort_accounts(accounts: Sequence[Account], export: str | None) -> list[Account]:
    """Return the accounts, with the one to export first."""
    names = [account.name for account in accounts]
    if export is not None and export not in names:
        raise ValueError(f"--export names the unknown account {export}; the accounts are: {', '.join(names)}")
    return sorted(accounts, key=lambda account: account.name != (export or names[0]))


def _format_export_lines(accounts: Sequence[Account], url: str) -> str:
    """Return shell lines that export the URL and the keys of the first account. Comments show the other keys."""
    first, *others = accounts
    return "\n".join(
        [
            f"export COINSWITCH_API_URL={url}",
            f"export COINSWITCH_API_KEY={first.api_key}",
            f"export COINSWITCH_SECRET_KEY={first.secret_key}",
            *(f"# {other.name}: API key {other.api_key} secret key {other.secret_key}" for other in others),
        ]
    )


@contextmanager
def _ready_file(path: Path | None, lines: str) -> Iterator[None]:
    """Keep the lines in a file while the sandbox listens.

    Only the user can read the file. It is complete as soon as it exists.
    """
    if path is None:
        yield
        return
    with _explain_file_errors("--ready-file", path):
        descriptor, name = tempfile.mkstemp(dir=path.parent)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{lines}\n")
        Path(name).replace(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _log(exchange: Exchange, request: Request) -> None:
    path = "".join(character if character.isprintable() else "?" for character in request.path)
    symbol = request.symbol if request.symbol in exchange.instruments else None
    words = [request.account, request.method, path, symbol, str(request.status or "dropped")]
    # One call to write, since print() mixes the lines of threads.
    sys.stderr.write(" ".join(word for word in words if word) + "\n")


def _run_command(options: argparse.Namespace) -> str:
    """Send a command to the running sandbox, and return the text to print."""
    url = options.url or os.environ.get("COINSWITCH_API_URL")
    if not url:
        raise ValueError(
            "the URL of the sandbox is not set; use --url, or set COINSWITCH_API_URL to the URL that the sandbox "
            "printed"
        )
    arguments = {
        name: value for name, value in vars(options).items() if name not in ("command", "url") and value is not None
    }
    if api_key := os.environ.get("COINSWITCH_API_KEY"):
        arguments["api_key"] = api_key
    result = _post(url, options.command, arguments)
    return result if isinstance(result, str) else yaml.safe_dump(result, sort_keys=False).rstrip()


def _post(url: str, command: str, arguments: Mapping[str, Any]) -> Any:
    """Send a command, and return its result. Raises ValueError with the error that the sandbox returned."""
    connection = HTTPConnection("127.0.0.1", _parse_port(url), timeout=10)
    try:
        connection.request("POST", PREFIX + command, json.dumps(arguments))
        answer = json.loads(connection.getresponse().read())
    except OSError as error:
        raise ValueError(f"no sandbox listens on {url}; start one with: {PROGRAM}") from error
    except (HTTPException, ValueError):
        answer = None
    finally:
        connection.close()
    if not isinstance(answer, dict) or not answer.keys() & {"error", "result"}:
        raise ValueError(f"the server on {url} is not a sandbox; use the URL that the sandbox printed")
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer["result"]


def _parse_port(url: str) -> int | None:
    """Return the port of the URL of a sandbox. Refuse any other URL, so that no command leaves this machine."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        is_loopback = False
    else:
        is_loopback = parts.scheme == "http" and parts.hostname in ("127.0.0.1", "localhost")
    if not is_loopback:
        raise ValueError(
            f"{url} is not the URL of a sandbox; use the URL that the sandbox printed, such as http://127.0.0.1:8080"
        )
    return port
