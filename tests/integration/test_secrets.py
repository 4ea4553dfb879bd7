# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No secret gets out: every module at -vvvv with --diff, while the exchange sends the keys back in many spellings."""

from __future__ import annotations

import base64
import json
import re
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
KEPT_LENGTH = 20
HIDDEN = "********"

# What AnsibleModule writes its log to where systemd's journal is at hand.
JOURNAL = """
def sendv(*fields):
    send(*fields)
def send(*fields, **named):
    with open({path!r}, "a") as file:
        print(fields, named, file=file)
"""
DAEMON = "def booted():\n    return True\n"


def spellings(secret: str) -> list[str]:
    """A hexadecimal secret as something that knows it might write it."""
    data = [secret.encode(), secret.upper().encode(), bytes.fromhex(secret)]
    percent = "".join(f"%{byte:02X}" for byte in secret.encode())
    encoded = [base64.b64encode(before + text).decode() for text in data for before in (b"", b"=", b"k=", b"key=")]
    urlsafe = [text.replace("+", "-").replace("/", "_") for text in encoded]
    return [secret, secret.upper(), percent, percent.lower(), *encoded, *urlsafe]


def parts(secret: str) -> set[str]:
    """Texts of 20 characters, one of which is in any part of 40 characters of any spelling; in lower case."""
    return {
        spelling[start : start + KEPT_LENGTH].lower()
        for spelling in spellings(secret)
        for start in range(0, len(spelling) - KEPT_LENGTH + 1, KEPT_LENGTH)
    }


class Watch:
    """What the outside sees of a run: what processes are called, the system's log, and the files left behind."""

    def __init__(self, ansible: Ansible, exchange: Exchange) -> None:
        self._ansible = ansible
        self._exchange = exchange
        self.command_lines: set[str] = set()
        self.journal = ansible.folder / "journal"
        self._stand_in_for_the_journal()
        ansible.variables.update(
            ANSIBLE_LOG_PATH=str(ansible.folder / "ansible.log"),
            # So that the modules' files are laid down, and removed again, as on most machines.
            ANSIBLE_PIPELINING="false",
        )

    def _stand_in_for_the_journal(self) -> None:
        package = self._ansible.folder / "shadow" / "systemd"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "daemon.py").write_text(DAEMON)
        (package / "journal.py").write_text(JOURNAL.format(path=str(self.journal)))
        self._ansible.variables["PYTHONPATH"] = str(package.parent)

    def look_at_processes(self, _request: Request) -> None:
        """Called while a module waits for its answer."""
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                self.command_lines.add(path.read_bytes().decode("latin-1"))
            except OSError:  # it has ended
                continue

    def texts(self) -> Iterator[tuple[str, str]]:
        """All that was seen, with where."""
        yield "the list of processes", "\n".join(self.command_lines)
        for path in self._ansible.folder.rglob("*"):
            if path.is_file():
                yield str(path.relative_to(self._ansible.folder)), path.read_bytes().decode("latin-1")

    def leaks(self, secrets: Iterable[str], said: str) -> dict[str, set[str]]:
        """Where, in what was seen or in what was `said`, a part of a secret or of a signature is."""
        signatures = {request.headers.get("x-auth-signature", "") for request in self._exchange.requests}
        sought = {part for secret in {*secrets, *signatures} for part in parts(secret)}
        found = {where: _found(text, sought) for where, text in [*self.texts(), ("the output", said)]}
        return {where: which for where, which in found.items() if which}


def _found(text: str, sought: set[str]) -> set[str]:
    # Whatever is sought is part of a longer word of these characters: the rest of a long log need not be searched.
    words = "\n".join(set(re.findall(r"[a-z0-9+/=_%-]{20,}", text.lower())))
    return {part for part in sought if part in words}


def echoing(account: Account, **parts_of_it: Any) -> Fault:
    """A fault whose answer holds the secret in all spellings, and the request's own keys and signature."""
    return Fault(echo_keys=True, echo_text=" ".join(spellings(account.secret_key)), **parts_of_it)


def everywhere(account: Account) -> Callable[[Any], Any]:
    """Makes of an answer one whose texts all end with the keys."""
    echo = " ".join(["", *spellings(account.secret_key), *spellings(account.api_key)])

    def spoil(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: spoil(item) for name, item in value.items()} | {"note": echo, account.secret_key: 1}
        if isinstance(value, list):
            return [spoil(item) for item in value]
        return value + echo if isinstance(value, str) and not value.endswith("USDT") else value

    return spoil


@pytest.fixture
def watch(ansible: Ansible, exchange: Exchange) -> Iterator[Watch]:
    watch = Watch(ansible, exchange)
    with Sandbox(exchange, log=watch.look_at_processes) as sandbox:
        ansible.reach(sandbox)
        yield watch


def check(watch: Watch, ansible: Ansible, account: Account, tasks: dict[str, Any]) -> dict[str, Any]:
    """Run the tasks, their keys given as options, and see that no secret got out: the tasks' results."""
    for name in ("API_KEY", "SECRET_KEY"):
        ansible.variables[f"GIVEN_{name}"] = ansible.variables.pop(f"COINSWITCH_{name}")
    defaults: dict[str, Any] = {
        name: f"{{{{ lookup('ansible.builtin.env', 'GIVEN_{name.upper()}') }}}}" for name in ("api_key", "secret_key")
    }
    defaults |= {"retries": 0, "rate_limit_timeout": 0}
    outcome = ansible.play(tasks, "-vvvv", "--diff", own_budgets=True, module_defaults={GROUP: defaults})
    assert watch.leaks([account.api_key, account.secret_key], outcome.stdout + outcome.stderr) == {}
    assert "AnsiballZ_" in "".join(watch.command_lines)
    assert "Invoked with" in watch.journal.read_text()
    return outcome.local


def test_a_leak_would_be_found(watch: Watch, account: Account) -> None:
    (watch.journal.parent / "left.behind").write_bytes(b"\xff" + account.api_key[9:49].upper().encode())
    for spelling in spellings(account.secret_key):
        found = watch.leaks([account.api_key, account.secret_key], f'key="{spelling[7:47]}"')
        assert found.keys() == {"the output", "left.behind"}


def test_whatever_a_change_meets(watch: Watch, ansible: Ansible, exchange: Exchange, account: Account) -> None:
    page = "<html><body><p>This is what was sent:</p></body></html>"
    texts = " ".join(spellings(account.secret_key))
    to_write: dict[str, dict[str, Any]] = {
        **{str(status): {"status": status} for status in (400, 401, 429, 500)},
        "a page": {"status": 403, "body": page},
        "a redirect": {"redirect": f"https://example.invalid/{account.secret_key}"},
        "a list": {"body": [texts]},
        "another leverage": {"transform": lambda value: {"data": {**value["data"], "leverage": texts}}},
        "nothing": {"drop": "after"},
    }
    to_read: dict[str, dict[str, Any]] = {
        "401": {"status": 401},
        "502": {"status": 502, "body": page},
        "another symbol": {"transform": lambda value: {"data": {**value["data"], "symbol": texts}}},
        "a number": {"body": {"data": texts}},
    }
    tasks: dict[str, Any] = {}
    exchange.list_many(60)
    symbols = (f"COIN{number}USDT" for number in range(40))
    for endpoint, faults in (("write_leverage", to_write), ("read_leverage", to_read)):
        for name, fault in faults.items():
            symbol = next(symbols)
            exchange.add_fault(endpoint, echoing(account, **fault), symbol=symbol)
            tasks[f"{name} to {endpoint}"] = {MODULE: {"symbol": symbol, "leverage": 7}}
    many = [next(symbols) for _turn in range(3)]
    exchange.add_fault("write_leverage", echoing(account, status=400), symbol=many[1])
    tasks["many"] = {MODULE: {"leverages": dict.fromkeys(many, 7)}}
    changed = next(symbols)
    exchange.add_fault("write_leverage", echoing(account), symbol=changed)
    tasks["changed"] = {MODULE: {"symbol": changed, "leverage": 7}}
    tasks["unchanged"] = {MODULE: {"symbol": changed, "leverage": 7}}
    tasks["refused before any request"] = {
        MODULE: {"symbol": "{{ lookup('ansible.builtin.env', 'GIVEN_SECRET_KEY') }}/", "leverage": 7}
    }
    tasks["a mistyped secret"] = {
        MODULE: {
            "symbol": "BTCUSDT",
            "leverage": 7,
            "secret_key": "{{ lookup('ansible.builtin.env', 'GIVEN_SECRET_KEY')[1:] }}",
        }
    }
    tasks["an unknown option"] = {MODULE: {"symbol": "BTCUSDT", "leverage": 7, "secret": 1}}

    results = check(watch, ansible, account, tasks)

    assert {name for name, result in results.items() if not result["failed"]} == {
        "another leverage to write_leverage",
        "nothing to write_leverage",
        "changed",
        "unchanged",
    }
    without_the_exchanges_words = {
        "429 to write_leverage",
        "another leverage to write_leverage",
        "nothing to write_leverage",
        "changed",
        "unchanged",
        "a mistyped secret",
        "an unknown option",
    }
    hidden = {name for name, result in results.items() if HIDDEN in result.get("msg", "")}
    assert hidden == set(results) - without_the_exchanges_words


def test_whatever_check_mode_and_the_readers_tell(
    watch: Watch, ansible: Ansible, exchange: Exchange, account: Account
) -> None:
    account.open_position("SOLUSDT", "LONG", "1")
    account.open_order("ADAUSDT", "BUY", "10", "0.4")
    readers: dict[str, dict[str, Any]] = {
        "futures_leverage_info": {"symbols": ["BTCUSDT"]},
        "futures_instrument_info": {"symbols": ["SOLUSDT"]},
        "futures_position_info": {"symbols": ["SOLUSDT"]},
        "futures_order_info": {"symbols": ["ADAUSDT"]},
        "futures_wallet_info": {},
        "api_key_info": {},
    }
    modules = {path.stem for path in (ROOT / "plugins/modules").glob("*.py")}
    assert modules == {*readers, "futures_leverage", "first_contact"}
    for endpoint in ("read_leverage", "instruments", "positions", "open_orders", "wallet", "validate_keys"):
        exchange.add_fault(endpoint, echoing(account, status=401 if endpoint == "validate_keys" else 500))
    for endpoint in ("instruments", "positions", "open_orders", "wallet", "validate_keys", "time"):
        exchange.add_fault(endpoint, echoing(account, transform=everywhere(account)), times=None)
    exchange.add_fault("read_leverage", echoing(account, transform=everywhere(account)), symbol="BTCUSDT")
    readers_twice = {
        f"{name}, {what}": {f"{COLLECTION}.{name}": given}
        for what in ("refused", "returned")
        for name, given in readers.items()
    }
    predicted = {
        symbol: {MODULE: {"symbol": symbol, "leverage": 7}, "check_mode": True} for symbol in ("SOLUSDT", "ADAUSDT")
    }

    results = check(watch, ansible, account, {**readers_twice, **predicted})

    # What api_key_info returns for good keys holds no text of the exchange.
    assert {name for name, result in results.items() if HIDDEN not in json.dumps(result)} == {"api_key_info, returned"}
    for symbol in predicted:
        assert "blocked by an open " in results[symbol]["msg"]
    assert results["futures_position_info, returned"]["positions"][0]["symbol"] == "SOLUSDT"


@pytest.mark.parametrize("status", [None, 422, 500])
def test_the_first_contact_check_shows_no_key(
    watch: Watch, ansible: Ansible, exchange: Exchange, account: Account, status: int | None
) -> None:
    for endpoint in ("read_leverage", "instruments", "positions", "open_orders", "wallet", "validate_keys", "time"):
        answer = {"transform": everywhere(account)} if status is None else {"status": status}
        exchange.add_fault(endpoint, echoing(account, **answer), times=None)
    results = check(watch, ansible, account, {"contact": {f"{COLLECTION}.first_contact": {"retries": 0}}})
    assert "transcript" in results["contact"]


@pytest.mark.every_core
def test_keys_from_the_environment_the_secret_in_its_long_form(
    watch: Watch, ansible: Ansible, exchange: Exchange, account: Account
) -> None:
    exchange.add_fault("write_leverage", echoing(account, status=422), symbol="SOLUSDT")
    ansible.variables["COINSWITCH_SECRET_KEY"] += account.api_key
    tasks = {symbol: {MODULE: {"symbol": symbol, "leverage": 7}} for symbol in ("BTCUSDT", "SOLUSDT")}
    outcome = ansible.play(tasks, "-vvvv", "--diff")
    assert watch.leaks([account.api_key, account.secret_key], outcome.stdout + outcome.stderr) == {}
    assert outcome.local["BTCUSDT"]["changed"] is True
    assert HIDDEN in outcome.local["SOLUSDT"]["msg"]
