# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The edge: options in, a result or one line out, through the real AnsibleModule and over real HTTP."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.testing import patch_module_args

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _libraries, _module
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import InputRefused, LibraryMissing
from ansible_collections.tradeops.coinswitch.plugins.module_utils._report import Report
from ansible_collections.tradeops.coinswitch.plugins.modules import futures_leverage
from sandbox import FAULTS, Account

from .client_setup import API_KEY, POSITIONS, READ, SECRET_KEY, SEED, WRITE, Exchange, Fault, SharedSandbox

Run = Callable[..., dict[str, Any]]


@pytest.fixture
def exchange(sandbox: SharedSandbox) -> Exchange:
    sandbox.exchange = Exchange(rate_limits=False)
    return sandbox.exchange


@pytest.fixture
def account(exchange: Exchange) -> Account:
    account = exchange.open_account(seed=SEED)
    account.set_leverage("BTCUSDT", 10)
    return account


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    returned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: returned.append(text))
    return returned


@pytest.fixture
def run(
    sandbox: SharedSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Runs futures_leverage, or another main, as Ansible would; what it prints."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(AnsibleModule, "_log_invocation", lambda _module: None)  # it writes to the system's log
    for name in ("API_KEY", "SECRET_KEY", "API_URL"):
        monkeypatch.delenv(f"COINSWITCH_{name}", raising=False)

    def once(
        main: Callable[[], None] = futures_leverage.main, check: bool = False, bare: bool = False, **options: Any
    ) -> dict[str, Any]:
        connection = {} if bare else {"api_key": API_KEY, "secret_key": SECRET_KEY, "api_url": sandbox.url}
        arguments = {**connection, "retries": 0, **options, "_ansible_check_mode": check}
        with patch_module_args(arguments), pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        assert printed.err == ""
        result: dict[str, Any] = json.loads(printed.out)
        assert ended.value.code == int(result.get("failed", False))
        assert "Traceback" not in printed.out
        # From ansible-core 2.22 on, a module says the controller what to mask.
        for name in ("invocation", "_ansible_new_secrets"):
            result.pop(name, None)
        return result

    return once


def main_of(act: Callable[..., Report], **more: Any) -> Callable[[], None]:
    """A module that does what it is returned."""
    return lambda: _module.run(_module.Wiring({}, prepare=lambda params: None, act=act, **more))


# --- results ---


def test_a_change(run: Run, account: Account, exchange: Exchange) -> None:
    result = run(symbol="btcusdt", leverage=13)
    row = {
        "symbol": "BTCUSDT",
        "exchange": "EXCHANGE_2",
        "leverage": 13,
        "previous_leverage": 10,
        "outcome": "changed",
    }
    assert result == {
        "changed": True,
        "diff": {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 13}},
        "results": [{**row, "changed": True}],
        "plan": "reads of leverage: 1, writes: at most 1, rate limits: at most about 0 s",
        "requests": 2,
        **row,
    }
    assert account.leverage == {"BTCUSDT": 13}
    assert exchange.count(WRITE) == 1
    assert run(symbol="BTCUSDT", leverage="13")["changed"] is False


def test_check_mode_writes_nothing(run: Run, account: Account, exchange: Exchange) -> None:
    result = run(symbol="BTCUSDT", leverage=13, check=True)
    assert result["changed"] is True
    assert result["leverage"] == 13
    assert result["requests"] == len(exchange.requests) == 8
    assert exchange.count(WRITE) == 0
    assert account.leverage == {"BTCUSDT": 10}


def test_many(run: Run, account: Account) -> None:
    result = run(leverages={"BTCUSDT": 13, "ethusdt": "7"})
    assert result["changed"] is True
    assert account.leverage == {"BTCUSDT": 13, "ETHUSDT": 7}
    assert result["requests"] == 5


def test_a_failure_has_its_results_too(run: Run, account: Account) -> None:
    account.open_position("BTCUSDT", "LONG", "0.010")
    for check in (True, False):
        result = run(symbol="BTCUSDT", leverage=13, check=check)
        assert result["failed"] is True
        assert result["msg"] == (
            "BTCUSDT: leverage stays 10 instead of 13: blocked by an open position (LONG 0.010); "
            "close the position first"
        )
        assert result["outcome"] == "blocked"
        assert result["changed"] is False
        assert result["requests"] > 1


def test_warnings(run: Run, account: Account, warnings: list[str]) -> None:
    account.open_position("BTCUSDT", "LONG", "0.010")
    assert "failed" not in run(symbol="BTCUSDT", leverage=13, on_blocked="warn")
    (warning,) = warnings
    assert warning.startswith("BTCUSDT: leverage stays 10 instead of 13: blocked by an open position")


def test_no_check_of_certificates_is_warned_of(run: Run, account: Account, warnings: list[str]) -> None:
    run(symbol="BTCUSDT", leverage=10, validate_certs=False)
    assert warnings == [_module.UNPROTECTED]


def test_options_that_go_together(run: Run, account: Account, exchange: Exchange) -> None:
    wrong: list[dict[str, Any]] = [
        {},
        {"symbol": "BTCUSDT"},
        {"leverage": 5},
        {"symbol": "BTCUSDT", "leverage": 5, "leverages": {"ETHUSDT": 5}},
        {"leverage": 5, "leverages": {"ETHUSDT": 5}},
        {"symbol": "BTCUSDT", "leverage": 5, "enforce": "minimum"},
        {"symbol": "BTCUSDT", "leverage": 5, "on_blocked": "ignore"},
        {"symbol": "BTCUSDT", "leverage": 5, "unknown": 1},
        {"leverages": ["BTCUSDT"]},
    ]
    for options in wrong:
        assert run(**options)["failed"] is True, options
    assert exchange.requests == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"symbol": "BTC/USDT", "leverage": 5}, "did you mean BTCUSDT?"),
        ({"symbol": "BTCUSDT\n", "leverage": 5}, "did you mean BTCUSDT?"),
        ({"symbol": "BTCUSDT", "leverage": True}, "leverage True of 'BTCUSDT' is not a whole number of 1 or more"),
        ({"symbol": "BTCUSDT", "leverage": 10.0}, "leverage 10.0 of 'BTCUSDT' is not a whole number of 1 or more"),
        ({"symbol": "BTCUSDT", "leverage": "10.0"}, "leverage '10.0' of 'BTCUSDT' is not a whole number of 1 or more"),
        ({"symbol": "BTCUSDT", "leverage": ""}, "leverage '' of 'BTCUSDT' is not a whole number of 1 or more"),
        ({"leverages": {"BTCUSDT": None}}, "leverage None of 'BTCUSDT' is not a whole number of 1 or more"),
        ({"leverages": {}}, "leverages is empty"),
        ({"symbol": "BTCUSDT", "leverage": 5, "retries": True}, "retries must be a whole number from 0 to 999"),
        ({"symbol": "BTCUSDT", "leverage": 5, "timeout": "1e999999999"}, "timeout must be a number above 0"),
        ({"symbol": "BTCUSDT", "leverage": 5, "rate_limit_share": 0}, "rate_limit_share must be a number above 0"),
        ({"symbol": "BTCUSDT", "leverage": 5, "api_key": ""}, "api_key is missing: give the option api_key or set"),
        ({"symbol": "BTCUSDT", "leverage": 5, "secret_key": "a" * 63}, "secret_key must be 64 hexadecimal "),
        ({"symbol": "BTCUSDT", "leverage": 5, "api_url": "http://coinswitch.co"}, "api_url must start with https"),
    ],
)
def test_a_wrong_option_is_refused_before_any_request(
    run: Run, exchange: Exchange, options: dict[str, Any], said: str
) -> None:
    result = run(**options)
    assert said in result["msg"]
    assert result["requests"] == 0
    assert result["changed"] is False
    assert exchange.requests == []


def test_the_connection_may_come_from_the_environment(
    run: Run, account: Account, sandbox: SharedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "api_key is missing" in run(bare=True, symbol="BTCUSDT", leverage=10)["msg"]
    monkeypatch.setenv("COINSWITCH_API_KEY", API_KEY)
    assert "secret_key is missing" in run(bare=True, symbol="BTCUSDT", leverage=10)["msg"]
    monkeypatch.setenv("COINSWITCH_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("COINSWITCH_API_URL", sandbox.url)
    assert run(bare=True, symbol="BTCUSDT", leverage=10)["outcome"] == "unchanged"


def test_options_reach_the_client(run: Run, account: Account, exchange: Exchange) -> None:
    exchange.add_fault(READ, FAULTS["503"], times=None)
    assert run(symbol="BTCUSDT", leverage=10, retries=0)["requests"] == 1
    assert run(symbol="BTCUSDT", leverage=10, exchange="exchange_9")["exchange"] == "EXCHANGE_9"


def test_one_budget_for_all_tasks_of_a_key(run: Run, account: Account, tmp_path: Path) -> None:
    run(symbol="BTCUSDT", leverage=10)
    run(symbol="BTCUSDT", leverage=11)
    (file,) = tmp_path.glob("tradeops.coinswitch-*/*.json")
    budgets = json.loads(file.read_text())
    assert {name: len(sent) for name, (sent, _closed) in budgets.items()} == {READ: 2, WRITE: 1}
    assert all(0 <= time.monotonic() - t < 600 for sent, _closed in budgets.values() for t in sent)


# --- whatever goes wrong: one line ---


def raising(error: Exception) -> Callable[..., Report]:
    def act(_futures: Any, _prepared: Any) -> Report:
        raise error

    return act


def test_a_known_error_is_its_own_line(run: Run) -> None:
    result = run(main_of(raising(InputRefused("no such thing"))))
    assert result == {"failed": True, "msg": "no such thing", "changed": False, "requests": 0}


def test_a_defect_is_told_without_its_words(run: Run) -> None:
    result = run(main_of(raising(KeyError(SECRET_KEY))))
    assert result["msg"].startswith("a defect of this collection, please report it: KeyError at test_module.py:")
    assert set(result) == {"failed", "msg", "changed", "requests"}


@pytest.mark.parametrize("library", ["requests", "cryptography"])
def test_a_missing_library_is_told_in_the_usual_words(run: Run, monkeypatch: pytest.MonkeyPatch, library: str) -> None:
    monkeypatch.setattr(_libraries, "_MISSING", LibraryMissing(library, f"ImportError: No module named {library}"))
    result = run(symbol="BTCUSDT", leverage=10)
    assert result["failed"] is True
    assert result["msg"].startswith(f"Failed to import the required Python library ({library}) on ")
    assert result["requests"] == 0


def test_a_wrong_option_is_told_before_a_missing_library(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_libraries, "_MISSING", LibraryMissing("requests", ""))
    assert "did you mean BTCUSDT?" in run(symbol="BTC/USDT", leverage=10)["msg"]


def test_what_a_module_has_to_return_is_there_in_failure_too(run: Run) -> None:
    result = run(main_of(raising(InputRefused("no")), blank={"rows": []}))
    assert result["rows"] == []
    result = run(main_of(lambda futures, prepared: Report({"rows": [1]}), blank={"rows": []}))
    assert result == {"changed": False, "rows": [1], "requests": 0}


def test_check_mode_of_a_module_that_changes_nothing(run: Run) -> None:
    main = main_of(lambda futures, prepared: Report({"who": "act"}))
    assert run(main, check=True)["who"] == run(main)["who"] == "act"
    both = main_of(lambda *_: Report({"who": "act"}), predict=lambda *_: Report({"who": "predict"}))
    assert (run(both, check=True)["who"], run(both)["who"]) == ("predict", "act")


def test_no_secret_in_results_warnings_or_failure(run: Run, warnings: list[str]) -> None:
    def act(_futures: Any, _prepared: Any) -> Report:
        return Report({"rows": [{SECRET_KEY: API_KEY.upper()}]}, f"failed with {SECRET_KEY}", [f"warned of {API_KEY}"])

    result = run(main_of(act))
    assert result["rows"] == [{"********": "********"}]
    assert result["msg"] == "failed with ********"
    assert warnings == ["warned of ********"]


ODD: list[Any] = ["\ud800", "\0", "\x1b[31m", "é\u2028", 1e300, 10**30, None, True, [], {}, {"a": [1]}, "x" * 100_000]
ODD.append(json.loads("[" * 300 + "]" * 300))


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:12])
def test_whatever_the_exchange_sends_can_be_returned(run: Run, account: Account, exchange: Exchange, odd: Any) -> None:
    body: Mapping[str, Any] = {
        "data": [{"symbol": "BTCUSDT", "position_size": odd, "position_side": odd, "position_id": odd}]
    }
    exchange.add_fault(POSITIONS, Fault(body=body), times=None)
    exchange.add_fault(WRITE, Fault(status=400, body={"message": odd}), times=None)
    result = run(symbol="BTCUSDT", leverage=13)
    assert result["outcome"] == "blocked"
    assert "\n" not in result["msg"]
    assert len(result["msg"]) < 1000
