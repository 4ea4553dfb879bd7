# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret leaves a module: each module runs with -vvvv and --diff, and the exchange sends the keys back.

The exchange sends them in many encodings. The tests search the output, the logs, the command lines of all processes and
all files for parts of them.
"""

from __future__ import annotations

import base64
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import Account, Exchange, Fault, Request, Sandbox

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "tradeops.coinswitch"
MODULE = f"{COLLECTION}.futures_leverage"
GROUP = f"group/{COLLECTION}.coinswitch"
PART_LENGTH = 20
MASK = "********"

# Replaces the Python package of the systemd journal, to which AnsibleModule writes its log.
JOURNAL_MODULE = """
def sendv(*fields):
    send(*fields)
def send(*fields, **named):
    with open({path!r}, "a") as file:
        print(fields, named, file=file)
"""
DAEMON_MODULE = "def booted():\n    return True\n"


def encodings(secret: str) -> list[str]:
    """Return a hexadecimal secret in all encodings that a program might use: letter case, percent, base64."""
    data = [secret.encode(), secret.upper().encode(), bytes.fromhex(secret)]
    percent = "".join(f"%{byte:02X}" for byte in secret.encode())
    in_base64 = [base64.b64encode(before + text).decode() for text in data for before in (b"", b"=", b"k=", b"key=")]
    urlsafe = [text.replace("+", "-").replace("/", "_") for text in in_base64]
    return [secret, secret.upper(), percent, percent.lower(), *in_base64, *urlsafe]


def split_secret(secret: str) -> set[str]:
    """Split each encoding of a secret into parts, in lower case.

    Each piece of an encoding with at least 2 * PART_LENGTH characters contains one of the parts.
    """
    return {
        encoding[start : start + PART_LENGTH].lower()
        for encoding in encodings(secret)
        for start in range(0, len(encoding) - PART_LENGTH + 1, PART_LENGTH)
    }


class LeakDetector:
    """Collects what other programs can see of a run: command lines, the log of the system, and files.

    Attributes:
        command_lines: The command lines of all processes.
        journal: The file with the log of the system.
    """

    def __init__(self, ansible: Ansible, exchange: Exchange) -> None:
        self._ansible = ansible
        self._exchange = exchange
        self.command_lines: set[str] = set()
        self.journal = ansible.folder / "journal"
        self._replace_journal()
        ansible.environment.update(
            ANSIBLE_LOG_PATH=str(ansible.folder / "ansible.log"),
            # Without pipelining, Ansible writes each module to a file, and removes the file.
            ANSIBLE_PIPELINING="false",
        )

    def _replace_journal(self) -> None:
        package = self._ansible.folder / "shadow" / "systemd"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "daemon.py").write_text(DAEMON_MODULE)
        (package / "journal.py").write_text(JOURNAL_MODULE.format(path=str(self.journal)))
        self._ansible.environment["PYTHONPATH"] = str(package.parent)

    def read_command_lines(self, _request: Request) -> None:
        """Read the command lines of all processes, while a module waits for its response."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.command_lines.add(path.read_bytes().decode("latin-1"))
            except OSError:  # the process has ended
                continue

    def _texts(self) -> Iterator[tuple[str, str]]:
        """Yield each place that other programs can read, with its text."""
        yield "the command lines", "\n".join(self.command_lines)
        for path in self._ansible.folder.rglob("*"):
            if path.is_file():
                yield str(path.relative_to(self._ansible.folder)), path.read_bytes().decode("latin-1")

    def find_leaks(self, secrets: Iterable[str], output: str) -> dict[str, set[str]]:
        """Return the parts of secrets and signatures that were found, by the place where they were found."""
        signatures = {request.headers.get("x-auth-signature", "") for request in self._exchange.requests}
        secret_parts = {part for secret in {*secrets, *signatures} for part in split_secret(secret)}
        found = {place: _find_parts(text, secret_parts) for place, text in [*self._texts(), ("the output", output)]}
        return {place: parts for place, parts in found.items() if parts}


def _find_parts(text: str, secret_parts: set[str]) -> set[str]:
    # Each part is inside a word of these characters. To search only these words is faster than to search a long log.
    words = "\n".join(set(re.findall(r"[a-z0-9+/=_%-]{20,}", text.lower())))
    return {part for part in secret_parts if part in words}


def echo_fault(account: Account, **fields: Any) -> Fault:
    """Return a fault whose response contains all encodings of the secret key, and keys and signature of the request.

    Args:
        account: The account of the keys.
        fields: More fields of the fault.
    """
    return Fault(echo_keys=True, echo_text=" ".join(encodings(account.secret_key)), **fields)


def append_keys(account: Account) -> Callable[[Any], Any]:
    """Return a function that appends the keys to each text of a response."""
    keys = " ".join(["", *encodings(account.secret_key), *encodings(account.api_key)])

    def append(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: append(item) for name, item in value.items()} | {"note": keys, account.secret_key: 1}
        if isinstance(value, list):
            return [append(item) for item in value]
        return value + keys if isinstance(value, str) and not value.endswith("USDT") else value

    return append


@pytest.fixture
def detector(ansible: Ansible, exchange: Exchange) -> Iterator[LeakDetector]:
    detector = LeakDetector(ansible, exchange)
    with Sandbox(exchange, log=detector.read_command_lines) as sandbox:
        ansible.use_sandbox(sandbox)
        yield detector


def run_without_leaks(
    detector: LeakDetector, ansible: Ansible, account: Account, tasks: dict[str, Any]
) -> dict[str, Any]:
    """Run the tasks with the keys as options, check that no secret leaked, and return the results."""
    for name in ("API_KEY", "SECRET_KEY"):
        ansible.environment[f"GIVEN_{name}"] = ansible.environment.pop(f"COINSWITCH_{name}")
    defaults: dict[str, Any] = {
        name: f"{{{{ lookup('ansible.builtin.env', 'GIVEN_{name.upper()}') }}}}" for name in ("api_key", "secret_key")
    }
    defaults |= {"retries": 0, "rate_limit_timeout": 0}
    completed = ansible.play(tasks, "-vvvv", "--diff", separate_budgets=True, module_defaults={GROUP: defaults})
    assert detector.find_leaks([account.api_key, account.secret_key], completed.output) == {}
    # The detector really saw the processes and the log of the modules.
    assert "AnsiballZ_" in "".join(detector.command_lines)
    assert "Invoked with" in detector.journal.read_text()
    return completed.localhost


def test_detector_finds_a_leak_in_each_encoding(detector: LeakDetector, account: Account) -> None:
    (detector.journal.parent / "temporary_file").write_bytes(b"\xff" + account.api_key[9:49].upper().encode())
    for encoding in encodings(account.secret_key):
        leaks = detector.find_leaks([account.api_key, account.secret_key], f'key="{encoding[7:47]}"')
        assert leaks.keys() == {"the output", "temporary_file"}


def test_no_secret_in_the_output_of_a_change(
    detector: LeakDetector, ansible: Ansible, exchange: Exchange, account: Account
) -> None:
    html_page = "<html><body><p>This is what was sent:</p></body></html>"
    secret = " ".join(encodings(account.secret_key))
    write_faults: dict[str, dict[str, Any]] = {
        **{str(status): {"status": status} for status in (400, 401, 429, 500)},
        "HTML page": {"status": 403, "body": html_page},
        "redirect": {"redirect": f"https://example.invalid/{account.secret_key}"},
        "list": {"body": [secret]},
        "other leverage": {"transform": lambda value: {"data": {**value["data"], "leverage": secret}}},
        "no response": {"drop": "after"},
    }
    read_faults: dict[str, dict[str, Any]] = {
        "401": {"status": 401},
        "502": {"status": 502, "body": html_page},
        "other symbol": {"transform": lambda value: {"data": {**value["data"], "symbol": secret}}},
        "text instead of data": {"body": {"data": secret}},
    }
    tasks: dict[str, Any] = {}
    exchange.list_many(60)
    symbols = (f"COIN{number}USDT" for number in range(40))
    for endpoint, faults in (("write_leverage", write_faults), ("read_leverage", read_faults)):
        for name, fault in faults.items():
            symbol = next(symbols)
            # One refusal of the keys can be an accident, so the request is sent again.
            exchange.add_fault(endpoint, echo_fault(account, **fault), 2 if name == "401" else 1, symbol)
            tasks[f"{name} from {endpoint}"] = {MODULE: {"symbol": symbol, "leverage": 7}}
    many = [next(symbols) for _number in range(3)]
    exchange.add_fault("write_leverage", echo_fault(account, status=400), symbol=many[1])
    tasks["many symbols"] = {MODULE: {"leverages": dict.fromkeys(many, 7)}}
    changed = next(symbols)
    exchange.add_fault("write_leverage", echo_fault(account), symbol=changed)
    tasks["changed"] = {MODULE: {"symbol": changed, "leverage": 7}}
    tasks["unchanged"] = {MODULE: {"symbol": changed, "leverage": 7}}
    tasks["secret in the symbol"] = {
        MODULE: {"symbol": "{{ lookup('ansible.builtin.env', 'GIVEN_SECRET_KEY') }}/", "leverage": 7}
    }
    tasks["incomplete secret key"] = {
        MODULE: {
            "symbol": "BTCUSDT",
            "leverage": 7,
            "secret_key": "{{ lookup('ansible.builtin.env', 'GIVEN_SECRET_KEY')[1:] }}",
        }
    }
    tasks["unknown option"] = {MODULE: {"symbol": "BTCUSDT", "leverage": 7, "secret": 1}}

    results = run_without_leaks(detector, ansible, account, tasks)

    assert {name for name, result in results.items() if not result["failed"]} == {
        "other leverage from write_leverage",
        "no response from write_leverage",
        "changed",
        "unchanged",
    }
    without_text_of_the_exchange = {
        "429 from write_leverage",
        "other leverage from write_leverage",
        "no response from write_leverage",
        "changed",
        "unchanged",
        "incomplete secret key",
        "unknown option",
    }
    masked = {name for name, result in results.items() if MASK in result.get("msg", "")}
    assert masked == set(results) - without_text_of_the_exchange


def test_no_secret_in_the_output_of_check_mode_and_info_modules(
    detector: LeakDetector, ansible: Ansible, exchange: Exchange, account: Account
) -> None:
    account.open_position("SOLUSDT", "LONG", "1")
    account.open_order("ADAUSDT", "BUY", "10", "0.4")
    info_modules: dict[str, dict[str, Any]] = {
        "futures_leverage_info": {"symbols": ["BTCUSDT"]},
        "futures_instrument_info": {"symbols": ["SOLUSDT"]},
        "futures_position_info": {"symbols": ["SOLUSDT"]},
        "futures_order_info": {"symbols": ["ADAUSDT"]},
        "futures_wallet_info": {},
        "api_key_info": {},
    }
    modules = {path.stem for path in (ROOT / "plugins/modules").glob("*.py")}
    assert modules == {*info_modules, "futures_leverage", "api_check"}, "add the new module to info_modules above"
    for endpoint in ("read_leverage", "instruments", "positions", "open_orders", "wallet", "validate_keys"):
        status, times = (401, 2) if endpoint == "validate_keys" else (500, 1)
        exchange.add_fault(endpoint, echo_fault(account, status=status), times)
    for endpoint in ("instruments", "positions", "open_orders", "wallet", "validate_keys", "time"):
        exchange.add_fault(endpoint, echo_fault(account, transform=append_keys(account)), times=None)
    exchange.add_fault("read_leverage", echo_fault(account, transform=append_keys(account)), symbol="BTCUSDT")
    # The first request of each module is refused, the second one is answered.
    info_tasks = {
        f"{name}, {response}": {f"{COLLECTION}.{name}": options}
        for response in ("refused", "returned")
        for name, options in info_modules.items()
    }
    predicted = {
        symbol: {MODULE: {"symbol": symbol, "leverage": 7}, "check_mode": True} for symbol in ("SOLUSDT", "ADAUSDT")
    }

    results = run_without_leaks(detector, ansible, account, {**info_tasks, **predicted})

    # The result of api_key_info for valid keys contains no text of the exchange.
    assert {name for name, result in results.items() if MASK not in json.dumps(result)} == {"api_key_info, returned"}
    for symbol in predicted:
        assert "An open " in results[symbol]["msg"]
    assert results["futures_position_info, returned"]["positions"][0]["symbol"] == "SOLUSDT"


@pytest.mark.parametrize("status", [None, 422, 500])
def test_no_secret_in_the_output_of_api_check(
    detector: LeakDetector, ansible: Ansible, exchange: Exchange, account: Account, status: int | None
) -> None:
    for endpoint in ("read_leverage", "instruments", "positions", "open_orders", "wallet", "validate_keys", "time"):
        response = {"transform": append_keys(account)} if status is None else {"status": status}
        exchange.add_fault(endpoint, echo_fault(account, **response), times=None)
    results = run_without_leaks(detector, ansible, account, {"api check": {f"{COLLECTION}.api_check": {"retries": 0}}})
    assert "transcript" in results["api check"]


@pytest.mark.every_core
def test_no_secret_in_the_output_with_a_long_secret_key_in_the_environment(
    detector: LeakDetector, ansible: Ansible, exchange: Exchange, account: Account
) -> None:
    exchange.add_fault("write_leverage", echo_fault(account, status=422), symbol="SOLUSDT")
    ansible.environment["COINSWITCH_SECRET_KEY"] += account.api_key
    tasks = {symbol: {MODULE: {"symbol": symbol, "leverage": 7}} for symbol in ("BTCUSDT", "SOLUSDT")}
    completed = ansible.play(tasks, "-vvvv", "--diff")
    assert detector.find_leaks([account.api_key, account.secret_key], completed.output) == {}
    assert completed.localhost["BTCUSDT"]["changed"] is True
    assert MASK in completed.localhost["SOLUSDT"]["msg"]


@pytest.mark.every_core
def test_keys_in_the_keyword_environment_are_in_no_command_and_no_output(
    detector: LeakDetector, ansible: Ansible, exchange: Exchange, account: Account
) -> None:
    """With another variable, the task runs as a module. Ansible writes the variables of a task into its commands."""
    names = ("COINSWITCH_API_KEY", "COINSWITCH_SECRET_KEY", "COINSWITCH_API_URL")
    environment = {"TZ": "UTC", **{name: ansible.environment.pop(name) for name in names}}
    ansible.environment["ANSIBLE_DEBUG"] = "true"
    task = {"name": "T", MODULE: {"symbol": "BTCUSDT", "leverage": 7}}
    become = {"become": True, "become_method": "ansible.builtin.su"}
    play = {"name": "A play", "hosts": "all", "gather_facts": False}
    tasks = [task, {**task, **become}, {**task, "async": 30, "poll": 1}]
    plays = [
        {**play, "environment": environment, "tasks": tasks},
        {**play, "tasks": [{"name": "B", "environment": environment, "block": [task]}]},
        {**play, "tasks": [{**task, "environment": environment, "loop": [1, 2]}]},
    ]
    (ansible.folder / "keys.yml").write_text(json.dumps(plays))
    (ansible.folder / "hosts").write_text("machine ansible_connection=elsewhere\nlocalhost ansible_connection=local")
    completed = ansible.run("ansible-playbook", "-i", "hosts", "-vvvvv", "--diff", "keys.yml")
    assert completed.exit_status == 0, completed.stdout[-3000:]
    assert completed.output.count("as a module: the keyword environment sets") == 4
    assert completed.output.count("as a module: the connection is not ansible.builtin.local") == 4
    # The other variables are still in the commands, and the detector saw these commands.
    assert "TZ=UTC" in "".join(detector.command_lines)
    assert "done with _execute_module (tradeops" in completed.output
    (ansible.folder / "keys.yml").unlink()
    assert detector.find_leaks([account.api_key, account.secret_key], completed.output) == {}


@pytest.mark.every_core
def test_no_secret_in_the_output_of_a_wrong_option(detector: LeakDetector, ansible: Ansible, account: Account) -> None:
    secret = account.secret_key
    ansible.environment["GIVEN"] = secret
    ways = {
        way: {"coinswitch_direct": way == "direct", "ansible_python_interpreter": sys.executable}
        for way in ("direct", "module")
    }
    given = "{{ lookup('ansible.builtin.env', 'GIVEN') }}"
    valid = {"symbol": "BTCUSDT", "leverage": 7}
    tasks: dict[str, dict[str, Any]] = {
        "mistyped option": {MODULE: {**valid, "api_secret": given}},
        "secret in another option": {MODULE: {**valid, "symbol": given}},
        "secret in an option with choices": {MODULE: {**valid, "enforce": given}},
        "secret in the policy": {MODULE: {"leverages": {"BTCUSDT": given}}},
        "secret at the end of a long value": {MODULE: {**valid, "symbol": f"{'/' * 50}{given}"}},
    }
    completed = ansible.play(tasks, "-vvvvv", "--diff", hosts=ways)
    results = [result for way in ways for result in completed.results[way].values()]
    assert [result["failed"] for result in results] == [True] * len(tasks) * len(ways)
    unsupported = f"Unsupported parameters for ({MODULE}) module: api_secret (did you mean secret_key?). "
    for way in ways:
        assert completed.results[way]["mistyped option"]["msg"].startswith(f"{unsupported}Supported parameters ")
    for result in results:
        options = result.get("invocation", {"module_args": {}})["module_args"]
        assert "api_secret" not in options
        assert options.get("leverage") in {None, 7}
    assert detector.find_leaks([account.api_key, secret], completed.output) == {}
