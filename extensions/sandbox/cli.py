# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: starts a sandbox, and sends commands to a running one."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any, NoReturn

import yaml

from .accounts import Account, parse_number, parse_whole_number
from .accounts_file import load_accounts
from .control import COMMANDS, PREFIX, PROGRAM, Argument, Command
from .exchange import Exchange, Request
from .quirks import Quirks
from .server import Sandbox
from .transcripts import parse_quirks, read_quirks

STOP_SIGNALS = {signal.SIGINT, signal.SIGTERM}
HELP_WIDTH = 78
RAW = argparse.RawDescriptionHelpFormatter
TABLE_COLUMN = 22

DESCRIPTION = (
    "Simulate the futures API of CoinSwitch PRO on this machine. Nothing is sent to the real exchange, and nothing is "
    "kept after the sandbox stops."
)
EXAMPLES = f"""\
To see the options of a command: {PROGRAM} COMMAND --help

examples:
  Start the sandbox with one account. Ctrl-C stops it:
    {PROGRAM}
  Use a fixed port, several accounts, and rate limits that refill in 1 s:
    {PROGRAM} --port 8080 --accounts accounts.yml --speed 60
  Act on the running sandbox. First paste the export lines that it printed:
    {PROGRAM} open-position BTCUSDT --side long --size 0.01
    {PROGRAM} fault write_leverage timeout
"""
# fmt: off
SERVE_ARGUMENTS = {
    "--port": Argument("port to listen on; 0 is a free port", "0"),
    "--accounts": Argument(
        "YAML file with accounts and instruments; README.md of the sandbox shows one (default: one "
        "account with new keys, named desk)", metavar="FILE"),
    "--like": Argument(
        "respond like the exchange in a transcript, which is the JSON file that the playbook api_check "
        "writes (default: as documented)", metavar="FILE"),
    "--quirks": Argument(
        "respond with these readings of quirks; README.md of the sandbox lists them",
        metavar="NAME=READING,..."),
    "--export": Argument(
        "account whose keys are printed as export lines; those of the others are printed as comments "
        "(default: the first account)", metavar="NAME"),
    "--ready-file": Argument(
        "for scripts: also write the export lines to this file; it exists only while the sandbox "
        "listens", metavar="FILE"),
    "--speed": Argument("refill the rate limits this many times as fast; 60 turns a minute into a second", "1"),
    "--no-rate-limits": Argument("accept any number of requests", is_switch=True),
}
SERVE = Command(
    lambda _exchange, _values: None,
    "start the sandbox in the foreground, on a port of 127.0.0.1 (the default command); it prints export lines with "
    "its URL and the keys of an account, and one line for each request on stderr",
    SERVE_ARGUMENTS, ["", "--accounts accounts.yml --export beta", "--like api-check.json --no-rate-limits"],
)
# fmt: on


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message}; '{self.prog} --help' shows what is possible")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns:
        The exit status: 0, or 1 after a one-line error message on stderr.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    # The default command is serve. Only --help alone is about all commands.
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments.insert(0, "serve")
    try:
        options = create_parser().parse_args(arguments)
        if options.command == "serve":
            _serve(options)
        else:
            print(_run_command(options))
    except (OSError, ValueError) as error:
        print(f"sandbox: {' '.join(str(error).split())}", file=sys.stderr)
        return 1
    return 0


def create_parser() -> argparse.ArgumentParser:
    all_commands = {"serve": SERVE, **COMMANDS}
    rows = _format_table({name: command.help for name, command in all_commands.items()})
    description = f"{textwrap.fill(DESCRIPTION, HELP_WIDTH)}\n\ncommands:\n{rows}"
    usage = "%(prog)s [COMMAND] [OPTIONS]"
    parser = _Parser(prog=PROGRAM, usage=usage, description=description, epilog=EXAMPLES, formatter_class=RAW)
    # The description lists the commands.
    subparsers = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", prog=PROGRAM, help=argparse.SUPPRESS
    )
    for name, command in all_commands.items():
        _add_command(subparsers, name, command)
    return parser


def _add_command(subparsers: Any, name: str, command: Command) -> None:
    lines = "\n".join(f"  {PROGRAM} {example}".rstrip() for example in command.examples)
    tables = "".join(f"{heading}:\n{_format_table(rows)}\n\n" for heading, rows in command.tables.items())
    required = " ".join(argument for argument in command.arguments if not argument.startswith("-"))
    usage = f"%(prog)s [OPTIONS] {required}".rstrip()
    description = textwrap.fill(f"{command.help[0].upper()}{command.help[1:]}.", HELP_WIDTH)
    epilog = f"{tables}examples:\n{lines}"
    parser = subparsers.add_parser(
        name, usage=usage, description=description, epilog=epilog, formatter_class=RAW, allow_abbrev=False
    )
    for argument_name, argument in command.arguments.items():
        _add_argument(parser, argument_name, argument)
    if name != "serve":
        _add_argument(parser, "--url", Argument("URL of the running sandbox (default: $COINSWITCH_API_URL)"))


def _add_argument(parser: argparse.ArgumentParser, name: str, argument: Argument) -> None:
    if argument.is_switch:
        parser.add_argument(name, action="store_true", help=argument.help)
        return
    help_text = argument.help if argument.default is None else f"{argument.help} (default: {argument.default})"
    metavar = argument.metavar if name.startswith("-") else name
    parser.add_argument(name.lower(), default=argument.default, metavar=metavar, help=help_text)


def _format_table(rows: Mapping[str, str]) -> str:
    """Return indented lines with a name and its help, wrapped to the width of the help."""
    wrap = partial(textwrap.fill, width=HELP_WIDTH, subsequent_indent=" " * TABLE_COLUMN, break_on_hyphens=False)
    return "\n".join(wrap(text, initial_indent=f"  {name}".ljust(TABLE_COLUMN)) for name, text in rows.items())


def _serve(options: argparse.Namespace) -> None:
    """Serve until SIGINT (Ctrl-C) or SIGTERM."""
    exchange = create_exchange(options)
    accounts = _sort_accounts(exchange.accounts, options.export)
    server = _bind_port(exchange, parse_whole_number("--port", options.port, 0, 65_535))
    # Block the signals before any thread starts. They then wait for sigwait() and interrupt no thread.
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    with server as sandbox:
        lines = _format_export_lines(accounts, sandbox.url)
        with _ready_file(options.ready_file, lines):
            print(lines, flush=True)
            print("# Paste these lines into another terminal. Ctrl-C stops the sandbox.", file=sys.stderr, flush=True)
            signal.sigwait(STOP_SIGNALS)


def create_exchange(options: argparse.Namespace) -> Exchange:
    speed = parse_number(options.speed, 0, 1_000_000)
    if not speed:
        raise ValueError(f"--speed must be a number above 0, such as 60, not {options.speed}")
    quirks = Quirks()
    if options.like is not None:
        with _explain_file_errors("--like", options.like):
            quirks = read_quirks(Path(options.like))
    if options.quirks is not None:
        quirks = parse_quirks(options.quirks, quirks)
    exchange = Exchange(window=60.0 / speed, rate_limits=not options.no_rate_limits, quirks=quirks)
    if options.accounts is not None:
        with _explain_file_errors("--accounts", options.accounts):
            load_accounts(exchange, Path(options.accounts))
    else:
        exchange.open_account()
    return exchange


@contextmanager
def _explain_file_errors(option: str, path: str) -> Iterator[None]:
    """Turn an OSError into a message that names the option and the file."""
    try:
        yield
    except OSError as error:
        raise ValueError(
            f"cannot open {path or 'an empty path'}: {error.strerror}; check the path after {option}"
        ) from error


def _bind_port(exchange: Exchange, port: int) -> Sandbox:
    try:
        return Sandbox(exchange, port, log=lambda request: _log(exchange, request))
    except OSError as error:
        raise ValueError(f"cannot listen on port {port}: {error.strerror}; use another port, or omit --port") from error


def _sort_accounts(accounts: Sequence[Account], export: str | None) -> list[Account]:
    """Return the accounts, with the one to export first."""
    names = [account.name for account in accounts]
    if export is not None and export not in names:
        raise ValueError(f"--export names the unknown account {export}; the accounts are: {', '.join(names)}")
    return sorted(accounts, key=lambda account: account.name != (export or names[0]))


def _format_export_lines(accounts: Sequence[Account], url: str) -> str:
    """Return shell lines that export the URL and the keys of the first account. Comments show the other keys."""
    first, *others = accounts
    keys = f"export COINSWITCH_API_KEY={first.api_key}\nexport COINSWITCH_SECRET_KEY={first.secret_key}"
    comments = [f"\n# {other.name}: API key {other.api_key} secret key {other.secret_key}" for other in others]
    return f"export COINSWITCH_API_URL={url}\n{keys}{''.join(comments)}"


@contextmanager
def _ready_file(name: str | None, lines: str) -> Iterator[None]:
    """Keep the lines in a file while the sandbox listens.

    Only the user can read the file. It is complete as soon as it exists.
    """
    if name is None:
        yield
        return
    path = Path(name)
    with _explain_file_errors("--ready-file", name):
        descriptor, draft = tempfile.mkstemp(dir=path.parent)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(f"{lines}\n")
        Path(draft).replace(path)
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
    given = {**vars(options), "api_key": os.environ.get("COINSWITCH_API_KEY") or None, "command": None, "url": None}
    arguments = {name: value for name, value in given.items() if value is not None}
    result = _post(url, options.command, arguments)
    return result if isinstance(result, str) else yaml.safe_dump(result, sort_keys=False).rstrip()


def _post(url: str, command: str, arguments: Mapping[str, Any]) -> Any:
    """Send a command, and return its result. Raises ValueError with the error that the sandbox returned."""
    port = _parse_port(url)
    try:
        with closing(HTTPConnection("127.0.0.1", port, timeout=10)) as connection:
            connection.request("POST", PREFIX + command, json.dumps(arguments))
            response = json.loads(connection.getresponse().read())
    except OSError as error:
        raise ValueError(f"no sandbox listens on {url}; start one with: {PROGRAM}") from error
    except (HTTPException, ValueError):
        response = None
    if not isinstance(response, dict) or not response.keys() & {"error", "result"}:
        raise ValueError(f"the server on {url} is not a sandbox; use the URL that the sandbox printed")
    if "error" in response:
        raise ValueError(response["error"])
    return response["result"]


def _parse_port(url: str) -> int:
    """Return the port of the URL of a sandbox. Refuse any other URL, so that no command leaves this machine."""
    match = re.fullmatch("http://(?:127[.]0[.]0[.]1|localhost)(?::([0-9]{1,5}))?(?:/.*)?", url)
    port = int(match[1] or 80) if match else -1
    if not 0 <= port <= 65_535:
        raise ValueError(
            f"{url} is not the URL of a sandbox; use the URL that the sandbox printed, such as http://127.0.0.1:8080"
        )
    return port
