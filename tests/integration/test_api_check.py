# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook api_check: its table, its transcript, its exit status, and the writes that a user asks for."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import FAULTS, Account, Exchange, Fault, Quirks

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible, CompletedCommand

HTML_PAGE = b"<html><head><title>Welcome to the hotel</title></head><body>Log in</body></html>"


def run_playbook(ansible: Ansible, *options: str) -> CompletedCommand:
    ansible.environment["ANSIBLE_LOCALHOST_WARNING"] = "false"
    ansible.environment["PWD"] = str(ansible.folder)
    return ansible.run("ansible-playbook", "tradeops.coinswitch.api_check", *options)


def read_transcript(ansible: Ansible) -> Any:
    return json.loads((ansible.folder / "api-check.json").read_text())


def written_leverages(exchange: Exchange) -> list[Any]:
    return [request.body["leverage"] for request in exchange.requests if request.endpoint == "write_leverage"]


@contextmanager
def run_other_server(status: int, content_type: str, body: bytes) -> Iterator[str]:
    """Run a server that sends the same response to every request. Yield its URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 # http.server uses this name

        def log_message(self, *args: Any) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_table_and_transcript_show_the_facts_and_no_secret(
    ansible: Ansible, exchange: Exchange, account: Account
) -> None:
    exchange.quirks = Quirks(numbers="number", flat_positions="list")
    order_id = account.open_order("ETHUSDT", "BUY", "1.25", "2987.5")
    completed = run_playbook(ansible)
    assert completed.exit_status == 0, completed.output
    lines = [" ".join(line.split()) for line in completed.stdout.splitlines()]
    assert '"numbers number different but handled",' in lines
    assert '"orders_period limits as expected",' in lines
    # Only the task that writes the transcript changes something.
    assert "changed=1" not in completed.stdout.replace("changed=1 ", "", 1)
    assert written_leverages(exchange) == []
    transcript = read_transcript(ansible)
    assert transcript["quirks"]["numbers"] == "number"
    text = json.dumps(transcript) + completed.stdout
    for secret in (account.api_key, account.secret_key, order_id, "2987.5", "1.25"):
        assert secret not in text


def test_playbook_fails_after_the_table_if_an_response_is_not_handled(ansible: Ansible, exchange: Exchange) -> None:
    exchange.add_fault("read_leverage", FAULTS["other-symbol"], times=None)
    completed = run_playbook(ansible)
    assert completed.exit_status == 2
    assert completed.stdout.index("unset_leverage") < completed.stdout.index("FAILED!")
    assert "The collection does not handle these responses: unset_leverage (unknown form). " in completed.stdout
    assert read_transcript(ansible)["responses"]


@pytest.mark.parametrize(
    ("status", "content_type", "body"),
    [
        (200, "text/html", HTML_PAGE),
        (200, "application/json", b'{"ok": true, "user": "someone@example.com"}'),
    ],
    ids=["captive portal", "other JSON server"],
)
def test_playbook_fails_with_a_clear_message_at_another_server(
    ansible: Ansible, status: int, content_type: str, body: bytes
) -> None:
    with run_other_server(status, content_type, body) as url:
        ansible.environment["COINSWITCH_API_URL"] = url
        completed = run_playbook(ansible)
    assert completed.exit_status == 2
    assert "This is not the API of CoinSwitch PRO. Check api_url" in completed.stdout
    assert "Traceback" not in completed.output
    assert "someone@example.com" not in json.dumps(read_transcript(ansible))


def test_writes_are_announced_and_the_leverage_is_restored(
    ansible: Ansible, exchange: Exchange, account: Account
) -> None:
    account.set_leverage("DOGEUSDT", 10)
    completed = run_playbook(ansible, "-e", "api_check_write=dogeusdt", "-e", "api_check_leverage=7")
    assert completed.exit_status == 0, completed.output
    assert written_leverages(exchange) == [10, 7, 10]
    assert account.leverage == {"DOGEUSDT": 10}
    announcement = completed.stdout.index("DOGEUSDT 7 (write_leverage)")
    assert announcement < completed.stdout.index("DOGEUSDT: the leverage in force is 10")
    transcript = read_transcript(ansible)
    assert transcript["quirks"]["same_value"] == "echo"
    assert (
        sum(
            response["request"].startswith("POST") and "leverage" in response["request"]
            for response in transcript["responses"]
        )
        == 3
    )


def test_current_leverage_is_written_if_no_leverage_is_given(
    ansible: Ansible, exchange: Exchange, account: Account
) -> None:
    account.set_leverage("DOGEUSDT", 10)
    assert run_playbook(ansible, "-e", "api_check_write=DOGEUSDT").exit_status == 0
    assert written_leverages(exchange) == [10]


def test_first_write_of_a_new_symbol_is_announced(ansible: Ansible, exchange: Exchange, account: Account) -> None:
    exchange.quirks = Quirks(unset_leverage="404")
    completed = run_playbook(ansible, "-e", "api_check_new=solusdt")
    assert completed.exit_status == 0, completed.output
    assert written_leverages(exchange) == [1]
    assert account.leverage == {"SOLUSDT": 1}
    announcement = completed.stdout.index("SOLUSDT 1 (the first write of this symbol, which cannot be undone)")
    assert announcement < completed.stdout.index("SOLUSDT: the leverage in force is 1")
    assert '"association created as expected"' in " ".join(completed.stdout.split())


def test_check_mode_does_not_write(ansible: Ansible, exchange: Exchange, account: Account) -> None:
    account.set_leverage("DOGEUSDT", 10)
    options = ("-e", "api_check_write=DOGEUSDT", "-e", "api_check_leverage=7", "--check")
    assert run_playbook(ansible, *options).exit_status == 0
    assert written_leverages(exchange) == []


def test_playbook_fails_without_a_write_if_the_symbol_has_a_position(
    ansible: Ansible, exchange: Exchange, account: Account
) -> None:
    account.open_position("DOGEUSDT", "LONG", "5")
    completed = run_playbook(ansible, "-e", "api_check_write=DOGEUSDT")
    assert completed.exit_status == 2
    assert (
        "Nothing was written, because DOGEUSDT has an open position or order. Choose a symbol that has none."
        in completed.stdout
    )
    assert written_leverages(exchange) == []


def test_failed_restore_shows_the_command_that_restores_the_leverage(
    ansible: Ansible, exchange: Exchange, account: Account
) -> None:
    def replace_the_keys(value: Any) -> Any:
        account.new_pair()
        return value

    account.set_leverage("DOGEUSDT", 10)
    exchange.add_fault("write_leverage", Fault())
    exchange.add_fault("write_leverage", Fault(transform=replace_the_keys))
    completed = run_playbook(ansible, "-e", "api_check_write=DOGEUSDT", "-e", "api_check_leverage=7")
    assert completed.exit_status == 2
    assert "DOGEUSDT: the leverage in force is not known" in completed.stdout
    assert "futures_leverage -a 'symbol=DOGEUSDT leverage=10'" in completed.stdout
    assert account.leverage == {"DOGEUSDT": 7}


def test_account_of_the_inventory_does_not_use_the_keys_in_the_environment(
    ansible: Ansible, exchange: Exchange
) -> None:
    completed = run_playbook(ansible, "-i", "alpha,", "-e", "api_check_host=alpha")
    assert completed.exit_status == 2
    assert "coinswitch_api_key" in completed.stdout
    assert exchange.requests == []


def test_account_that_the_limit_includes_is_checked(ansible: Ansible, exchange: Exchange, account: Account) -> None:
    keys = {"coinswitch_api_key": account.api_key, "coinswitch_secret_key": account.secret_key}
    (ansible.folder / "inventory.yml").write_text(json.dumps({"desk": {"hosts": {"alpha": keys, "beta": {}}}}))
    completed = run_playbook(ansible, "-i", "inventory.yml", "-e", "api_check_host=alpha", "--limit", "alpha")
    assert completed.exit_status == 0, completed.output
    assert exchange.requests


MODULE = "tradeops.coinswitch.api_check"
WAIT_SECONDS = 30


def find_last_child(process: subprocess.Popen[str]) -> int:
    """Return the process that runs the task: the last one of the line of children of ansible-playbook."""
    pid = process.pid
    while True:
        children = " ".join(path.read_text() for path in Path(f"/proc/{pid}/task").glob("*/children")).split()
        if not children:
            return pid
        pid = int(children[-1])


def stop(how: str, process: subprocess.Popen[str]) -> None:
    """Stop a task: its own process, ansible-playbook, or both as a terminal does after Ctrl-C."""
    if how == "SIGTERM to the process of the task":
        os.kill(find_last_child(process), signal.SIGTERM)
    elif how == "Ctrl-C":
        os.killpg(process.pid, signal.SIGINT)
    elif how in ("SIGINT", "SIGTERM", "SIGKILL"):
        os.kill(process.pid, getattr(signal, how))


# With the oldest ansible-core, `make test` runs the direct way only, and `make matrix` runs both.
@pytest.mark.parametrize("direct", [pytest.param("true", marks=pytest.mark.every_core), "false"])
@pytest.mark.parametrize(
    "how",
    ["SIGTERM to the process of the task", "SIGINT", "Ctrl-C", "SIGTERM", "SIGKILL", "the keyword timeout"],
)
def test_leverage_is_restored_if_the_task_is_stopped(
    ansible: Ansible, exchange: Exchange, account: Account, how: str, direct: str
) -> None:
    """The task is stopped while it waits for the response to the write of 7, which took effect already."""
    ansible.environment.update(ANSIBLE_PYTHON_INTERPRETER=sys.executable, COINSWITCH_DIRECT=direct)
    account.set_leverage("DOGEUSDT", 20)
    exchange.add_fault("write_leverage", Fault())
    exchange.add_fault("write_leverage", Fault(delay=2.0))
    task: dict[str, Any] = {"name": "T", MODULE: {"write_symbol": "DOGEUSDT", "write_leverage": 7}}
    if how == "the keyword timeout":
        # Time enough to start on a busy machine. The response to the write of 7 comes after the timeout.
        task["timeout"] = 8
        exchange.clear_faults()
        exchange.add_fault("write_leverage", Fault())
        exchange.add_fault("write_leverage", Fault(delay=9.0))
    playbook = ansible.folder / "stopped.yml"
    playbook.write_text(json.dumps([{"name": "P", "hosts": "localhost", "gather_facts": False, "tasks": [task]}]))
    process = ansible.start("ansible-playbook", "-i", "localhost,", "-c", "local", str(playbook))
    deadline = time.monotonic() + WAIT_SECONDS
    while written_leverages(exchange) != [20, 7] or account.leverage["DOGEUSDT"] != 7:
        assert time.monotonic() < deadline, "7 was never written"
        time.sleep(0.02)
    stop(how, process)
    while account.leverage["DOGEUSDT"] != 20 and time.monotonic() < deadline:
        time.sleep(0.02)
    stdout, _stderr = process.communicate(timeout=WAIT_SECONDS)
    time.sleep(1)
    assert account.leverage == {"DOGEUSDT": 20}
    # Nothing but the restore was sent after the end.
    assert written_leverages(exchange) in ([20, 7, 20], [20, 7, 20, 20])
    if how == "SIGTERM to the process of the task" and direct == "false":
        assert "The check was stopped by a signal. The leverage of DOGEUSDT is 20 again." in stdout
