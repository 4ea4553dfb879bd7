# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: starts the sandbox, and from another terminal acts on the one that runs."""

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
from .accounts_file import load
from .control import PREFIX
from .exchange import ENDPOINT_NAMES, Exchange, Request
from .faults import FAULTS
from .quirks import Quirks
from .server import Sandbox
from .transcripts import read_quirks

ENDING = {signal.SIGINT, signal.SIGTERM}

EXAMPLES = """\
examples:
  python3 extensions/sandbox                                 # a fresh account on a free port; Ctrl-C ends it
  python3 extensions/sandbox --port 8080 --accounts accounts.yml --speed 60

  in another terminal, with COINSWITCH_API_URL set to what the first one printed:
  python3 extensions/sandbox open-position BTCUSDT --side long --size 0.01
  python3 extensions/sandbox state
  python3 extensions/sandbox close-position BTCUSDT
  python3 extensions/sandbox fault write_leverage timeout
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 0, or 1 after one line on stderr that says what went wrong."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    # Without a command it serves; only a plain call for help is meant for all commands.
    if not given or (given[0].startswith("-") and given[0] not in ("-h", "--help")):
        given.insert(0, "serve")
    options = _parser().parse_args(given)
    try:
        if options.command == "serve":
            _serve(options)
        else:
            print(_act(options))
    except (OSError, ValueError) as error:
        print(f"sandbox: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sandbox",
        description="An emulator of the exchange on this machine, to rehearse against.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_serve(commands.add_parser("serve", help="run it in the foreground (what it does without a command)"))

    acting = argparse.ArgumentParser(add_help=False)
    acting.add_argument("--url", help="where the sandbox listens; else COINSWITCH_API_URL")
    acting.add_argument("--account", help="whose; else that of COINSWITCH_API_KEY, else the first account")

    def command(name: str, help_line: str, **more: Any) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help_line, description=help_line, parents=[acting], **more)

    command("state", "show what the accounts hold")

    opening = command("open-position", "open a position, which blocks the leverage of its symbol")
    opening.add_argument("symbol")
    opening.add_argument("--side", default="long", choices=["long", "short"])
    opening.add_argument("--size", default="0.01", help="in the base asset (default: %(default)s)")

    command("close-position", "close the positions of a symbol").add_argument("symbol")

    placing = command("open-order", "place an order, which blocks the leverage of its symbol")
    placing.add_argument("symbol")
    placing.add_argument("--side", default="buy", choices=["buy", "sell"])
    placing.add_argument("--quantity", default="0.01", help="in the base asset (default: %(default)s)")
    placing.add_argument("--price", default="1000", help="in USDT (default: %(default)s)")
    placing.add_argument("--age-days", type=float, default=0.0, help="placed so long ago (default: now)")

    command("cancel-order", "cancel an order").add_argument("order_id", metavar="ORDER_ID")

    setting = command("set-leverage", "put a leverage in force, as if somebody else had")
    setting.add_argument("symbol")
    setting.add_argument("leverage", type=int)

    failing = command(
        "fault",
        "let the next requests meet a fault",
        epilog="\n\n".join(
            textwrap.fill(f"{what}: {', '.join(names)}", 100)
            for what, names in (("endpoints", ENDPOINT_NAMES), ("faults", FAULTS))
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    failing.add_argument("endpoint", help='which requests; "*" for any')
    failing.add_argument("fault", help="which fault")
    failing.add_argument("--times", type=int, default=1, help="how many requests; 0 until cleared (default: 1)")
    failing.add_argument("--symbol", help="only requests about this symbol")

    command("clear-faults", "let no request meet a fault any more")
    return parser


def _add_serve(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=int, default=0, help="on loopback (default: a free one)")
    parser.add_argument("--accounts", type=Path, metavar="FILE", help="accounts to begin with, as YAML")
    parser.add_argument(
        "--like", type=Path, metavar="FILE", help="answer in the ways that a transcript of first_contact shows"
    )
    parser.add_argument("--export", metavar="NAME", help="whose keys to export (default: the first account's)")
    parser.add_argument("--ready-file", type=Path, metavar="FILE", help="write the export lines there once it listens")
    parser.add_argument("--speed", type=float, default=1.0, help="let rate limits refill so many times as fast")
    parser.add_argument("--no-rate-limits", action="store_true", help="take any number of requests")


def _serve(options: argparse.Namespace) -> None:
    """Serve until Ctrl-C or SIGTERM."""
    if not options.speed > 0:
        raise ValueError("--speed is above 0")
    quirks = read_quirks(options.like) if options.like else Quirks()
    exchange = Exchange(window=60.0 / options.speed, rate_limits=not options.no_rate_limits, quirks=quirks)
    if options.accounts:
        load(exchange, options.accounts)
    else:
        exchange.open_account()
    accounts = _exported_first(exchange.accounts, options.export)
    server = _listening(exchange, options.port)
    # Blocked before any thread starts, so that the signals wait here for sigwait() and interrupt nothing.
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
    with server as sandbox:
        lines = _export_lines(accounts, sandbox.url)
        with _ready_file(options.ready_file, lines):
            print(lines, flush=True)
            print("# To be sourced in another terminal. Ctrl-C ends the sandbox.", file=sys.stderr, flush=True)
            signal.sigwait(ENDING)


def _listening(exchange: Exchange, port: int) -> Sandbox:
    try:
        return Sandbox(exchange, port, log=lambda request: _log(exchange, request))
    except (OSError, OverflowError) as error:
        raise ValueError(f"cannot listen on port {port}: {error}") from error


def _exported_first(accounts: Sequence[Account], name: str | None) -> list[Account]:
    names = [account.name for account in accounts]
    if name is not None and name not in names:
        raise ValueError(f"there is no account {name}; there are {', '.join(names)}")
    return sorted(accounts, key=lambda account: account.name != (name or names[0]))


def _export_lines(accounts: Sequence[Account], url: str) -> str:
    """Shell lines for the first account; the others' keys follow as comments."""
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
    """The lines in a file of the user's own while the sandbox listens; it appears at once, never half written."""
    if path is None:
        yield
        return
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
    print(*(word for word in words if word), file=sys.stderr, flush=True)


def _act(options: argparse.Namespace) -> str:
    """Carry out a command on the sandbox that runs: what there is to tell."""
    url = options.url or os.environ.get("COINSWITCH_API_URL")
    if not url:
        raise ValueError("where does it listen? Give --url, or set COINSWITCH_API_URL to what it printed")
    arguments = {
        name: value for name, value in vars(options).items() if name not in ("command", "url") and value is not None
    }
    if api_key := os.environ.get("COINSWITCH_API_KEY"):
        arguments["api_key"] = api_key
    result = _post(url, options.command, arguments)
    return result if isinstance(result, str) else yaml.safe_dump(result, sort_keys=False).rstrip()


def _post(url: str, command: str, arguments: Mapping[str, Any]) -> Any:
    parts = urlsplit(url)
    if parts.scheme != "http" or parts.hostname not in ("127.0.0.1", "localhost"):
        raise ValueError(f"{url} is no sandbox: one listens on http://127.0.0.1")
    connection = HTTPConnection("127.0.0.1", parts.port, timeout=10)
    try:
        connection.request("POST", PREFIX + command, json.dumps(arguments))
        answer = json.loads(connection.getresponse().read())
    except OSError as error:
        raise ValueError(f"no sandbox listens on {url}; start one with: python3 extensions/sandbox") from error
    except (HTTPException, ValueError) as error:
        raise ValueError(f"what listens on {url} is no sandbox") from error
    finally:
        connection.close()
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer["result"]
