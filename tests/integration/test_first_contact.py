# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook first_contact: the table, the transcript, the exit status, and writes only when asked."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from sandbox import FAULTS, Account, Exchange, Fault, Quirks

if TYPE_CHECKING:
    from tests.integration.conftest import Ansible, Outcome

PAGE = b"<html><head><title>Welcome to the hotel</title></head><body>Log in</body></html>"


def run(ansible: Ansible, *options: str) -> Outcome:
    ansible.variables["ANSIBLE_LOCALHOST_WARNING"] = "false"
    ansible.variables["PWD"] = str(ansible.folder)
    return ansible.run("ansible-playbook", "tradeops.coinswitch.first_contact", *options)


def transcript(ansible: Ansible) -> Any:
    return json.loads((ansible.folder / "first-contact.json").read_text())


def writes(exchange: Exchange) -> list[Any]:
    return [request.body["leverage"] for request in exchange.requests if request.endpoint == "write_leverage"]


@contextmanager
def answering(status: int, kind: str, body: bytes) -> Iterator[str]:
    """The address of another server, which answers every request alike."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 # the name that http.server looks for

        def log_message(self, *args: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_it_reads_and_says_what_it_found(ansible: Ansible, exchange: Exchange, account: Account) -> None:
    exchange.quirks = Quirks(numbers="number", flat_positions="list")
    order_id = account.open_order("ETHUSDT", "BUY", "1.25", "2987.5")
    outcome = run(ansible)
    assert outcome.status == 0, outcome.stdout + outcome.stderr
    lines = [" ".join(line.split()) for line in outcome.stdout.splitlines()]
    assert '"numbers number different but handled",' in lines
    assert '"orders_period limits as expected",' in lines
    assert "changed=1" not in outcome.stdout.replace("changed=1 ", "", 1)
    assert writes(exchange) == []
    kept = transcript(ansible)
    assert kept["quirks"]["numbers"] == "number"
    text = json.dumps(kept) + outcome.stdout
    for secret in (account.api_key, account.secret_key, order_id, "2987.5", "1.25"):
        assert secret not in text


def test_an_answer_that_is_not_handled_fails_after_the_table(ansible: Ansible, exchange: Exchange) -> None:
    exchange.add_fault("read_leverage", FAULTS["other-symbol"], times=None)
    outcome = run(ansible)
    assert outcome.status == 2
    assert outcome.stdout.index("unset_leverage") < outcome.stdout.index("FAILED!")
    assert "NOT HANDLED: unset_leverage (unknown form)" in outcome.stdout
    assert transcript(ansible)["answers"]


@pytest.mark.parametrize(
    ("status", "kind", "body"),
    [
        (200, "text/html", PAGE),
        (200, "application/json", b'{"ok": true, "user": "someone@example.com"}'),
        (302, "text/html", PAGE),
        (404, "application/json", b'{"error": "no such route"}'),
    ],
    ids=["a captive portal", "another JSON server", "a redirect", "another API"],
)
def test_another_server_gives_a_clear_report(ansible: Ansible, status: int, kind: str, body: bytes) -> None:
    with answering(status, kind, body) as url:
        ansible.variables["COINSWITCH_API_URL"] = url
        outcome = run(ansible)
    assert outcome.status == 2
    assert "this is not the API of CoinSwitch PRO (" in outcome.stdout
    assert "Traceback" not in outcome.stdout + outcome.stderr
    assert "someone@example.com" not in json.dumps(transcript(ansible))


def test_writes_are_announced_and_undone(ansible: Ansible, exchange: Exchange, account: Account) -> None:
    account.set_leverage("DOGEUSDT", 10)
    outcome = run(ansible, "-e", "first_contact_write=dogeusdt", "-e", "first_contact_leverage=7")
    assert outcome.status == 0, outcome.stdout + outcome.stderr
    assert writes(exchange) == [10, 7, 10]
    assert account.leverage == {"DOGEUSDT": 10}
    announced = outcome.stdout.index("DOGEUSDT 7 (write_leverage)")
    assert announced < outcome.stdout.index("DOGEUSDT: the leverage in force is 10")
    kept = transcript(ansible)
    assert kept["quirks"]["same_value"] == "echo"
    assert (
        sum(answer["request"].startswith("POST") and "leverage" in answer["request"] for answer in kept["answers"]) == 3
    )


def test_without_a_value_the_one_in_force_is_written(ansible: Ansible, exchange: Exchange, account: Account) -> None:
    account.set_leverage("DOGEUSDT", 10)
    assert run(ansible, "-e", "first_contact_write=DOGEUSDT").status == 0
    assert writes(exchange) == [10]


def test_check_mode_never_writes(ansible: Ansible, exchange: Exchange, account: Account) -> None:
    account.set_leverage("DOGEUSDT", 10)
    options = ("-e", "first_contact_write=DOGEUSDT", "-e", "first_contact_leverage=7", "--check")
    assert run(ansible, *options).status == 0
    assert writes(exchange) == []


def test_a_symbol_with_a_position_is_refused(ansible: Ansible, exchange: Exchange, account: Account) -> None:
    account.open_position("DOGEUSDT", "LONG", "5")
    outcome = run(ansible, "-e", "first_contact_write=DOGEUSDT")
    assert outcome.status == 2
    assert (
        "nothing was written, because DOGEUSDT has an open position or order: choose a symbol that has none"
        in outcome.stdout
    )
    assert writes(exchange) == []


def test_a_failure_in_the_middle_says_how_to_restore(ansible: Ansible, exchange: Exchange, account: Account) -> None:
    account.set_leverage("DOGEUSDT", 10)
    for _write in range(2):
        exchange.add_fault("write_leverage", Fault())
    exchange.add_fault("write_leverage", FAULTS["400"], times=None)
    outcome = run(ansible, "-e", "first_contact_write=DOGEUSDT", "-e", "first_contact_leverage=7")
    assert outcome.status == 2
    assert "DOGEUSDT: the leverage in force is 7" in outcome.stdout
    assert "futures_leverage -a 'symbol=DOGEUSDT leverage=10'" in outcome.stdout
    assert account.leverage == {"DOGEUSDT": 7}


def test_an_account_of_the_inventory_does_not_use_other_keys(ansible: Ansible, exchange: Exchange) -> None:
    outcome = run(ansible, "-i", "alpha,", "-e", "first_contact_host=alpha")
    assert outcome.status == 2
    assert "coinswitch_api_key" in outcome.stdout
    assert exchange.requests == []
