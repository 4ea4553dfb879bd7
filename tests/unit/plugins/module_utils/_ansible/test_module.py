# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a module returns for its options, with the real AnsibleModule and over real HTTP."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.parameters import set_fallbacks

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible import module as _module
from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.connection import CONNECTION
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import libraries as _libraries
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    InputRefused,
    LibraryMissing,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result
from ansible_collections.tradeops.coinswitch.plugins.modules import (
    api_check,
    futures_leverage,
)
from sandbox import FAULTS, Account

from ..client_setup import API_KEY, POSITIONS, READ, SECRET_KEY, SEED, WRITE, Exchange, Fault, SharedSandbox
from ..module_arguments import patch_module_args

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
    """The warnings that modules pass to Ansible."""
    texts: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _module, text: texts.append(text))
    return texts


@pytest.fixture
def run_module(
    sandbox: SharedSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Return a function that runs a module as Ansible does, futures_leverage by default, and returns its result."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(AnsibleModule, "_log_invocation", lambda _module: None)  # It writes to the system log.
    for name in ("API_KEY", "SECRET_KEY", "API_URL"):
        monkeypatch.delenv(f"COINSWITCH_{name}", raising=False)

    def run_main(
        main: Callable[[], None] = futures_leverage.main,
        check: bool = False,
        without_connection: bool = False,
        **options: Any,
    ) -> dict[str, Any]:
        connection = (
            {} if without_connection else {"api_key": API_KEY, "secret_key": SECRET_KEY, "api_url": sandbox.url}
        )
        arguments = {**connection, "retries": 0, **options, "_ansible_check_mode": check}
        with patch_module_args(arguments), pytest.raises(SystemExit) as raised:
            main()
        output = capsys.readouterr()
        assert output.err == ""
        result: dict[str, Any] = json.loads(output.out)
        assert raised.value.code == int(result.get("failed", False))
        assert "Traceback" not in output.out
        # From ansible-core 2.22 on, a module also returns what the controller must mask.
        for name in ("invocation", "_ansible_new_secrets"):
            result.pop(name, None)
        return result

    return run_main


def make_main(work: Callable[..., Result], **definition: Any) -> Callable[[], None]:
    """Return the main function of a module that calls `work`."""
    return lambda: _module.run(_module.ModuleDefinition({}, lambda params: None, lambda: work, **definition))


def make_failing_work(error: Exception) -> Callable[..., Result]:
    """Return a function that raises an error, for example as the work of a ModuleDefinition."""

    def work(*_arguments: object) -> Result:
        raise error

    return work


# --- CONNECTION ---


def test_connection_options_can_come_from_the_environment(
    run_module: Run, account: Account, sandbox: SharedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "api_key is missing" in run_module(without_connection=True, symbol="BTCUSDT", leverage=10)["msg"]
    monkeypatch.setenv("COINSWITCH_API_KEY", API_KEY)
    assert "secret_key is missing" in run_module(without_connection=True, symbol="BTCUSDT", leverage=10)["msg"]
    monkeypatch.setenv("COINSWITCH_SECRET_KEY", SECRET_KEY)
    monkeypatch.setenv("COINSWITCH_API_URL", sandbox.url)
    assert run_module(without_connection=True, symbol="BTCUSDT", leverage=10)["outcome"] == "unchanged"


def test_empty_environment_variable_is_not_set(
    run_module: Run, account: Account, sandbox: SharedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("API_KEY", "SECRET_KEY", "API_URL"):
        monkeypatch.setenv(f"COINSWITCH_{name}", "")
    assert "api_key is missing" in run_module(without_connection=True, symbol="BTCUSDT", leverage=10)["msg"]
    assert run_module(symbol="BTCUSDT", leverage=10)["outcome"] == "unchanged"
    parameters: dict[str, Any] = {"ansible": "value"}
    set_fallbacks(CONNECTION, parameters)
    assert parameters == {"ansible": "value"}


def test_empty_option_is_not_set(
    run_module: Run, account: Account, sandbox: SharedSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COINSWITCH_API_URL", sandbox.url)
    empty = dict.fromkeys(("api_url", "exchange", "timeout", "rate_limit_timeout", "rate_limit_share", "ca_path"), "")
    assert run_module(symbol="BTCUSDT", leverage=10, **empty)["outcome"] == "unchanged"


# --- ModuleDefinition ---


def test_work_learns_whether_the_task_runs_in_check_mode(run_module: Run) -> None:
    main = make_main(lambda _futures, _options, context: Result({"check": context.check_mode}))
    assert run_module(main, check=True)["check"] is True
    assert run_module(main)["check"] is False


def build_empty(_options: Any, error: dict[str, Any]) -> dict[str, Any]:
    return {"rows": [], "why": error["kind"]}


def test_empty_result_is_returned_only_on_failure(run_module: Run) -> None:
    result = run_module(make_main(make_failing_work(InputRefused("no")), empty_result=build_empty))
    assert (result["rows"], result["why"]) == ([], "input")
    result = run_module(make_main(lambda *_: Result({"rows": [1]}), empty_result=build_empty))
    assert (result["rows"], "why" in result) == ([1], False)


def test_result_names_the_exchange_and_the_account(run_module: Run, sandbox: SharedSandbox) -> None:
    result = run_module(make_main(lambda *_: Result({})))
    assert result["api_url"] == sandbox.url
    assert result["account"] == hashlib.sha256(API_KEY.encode()).hexdigest()[:16]


def test_each_symbol_has_a_row_if_the_keys_are_missing(run_module: Run) -> None:
    result = run_module(without_connection=True, leverages={"BTCUSDT": 10, "ETHUSDT": 5})
    assert [(row["symbol"], row["desired_leverage"]) for row in result["results"]] == [("BTCUSDT", 10), ("ETHUSDT", 5)]
    assert {(row["outcome"], row["cause"]) for row in result["results"]} == {("unknown", "input")}
    assert result["account"] is None
    assert result["error"] == {"kind": "input"}


# --- run ---


def test_change_returns_the_result_and_the_diff(run_module: Run, account: Account, exchange: Exchange) -> None:
    result = run_module(symbol="btcusdt", leverage=13)
    row = {
        "symbol": "BTCUSDT",
        "exchange": "EXCHANGE_2",
        "leverage": 13,
        "previous_leverage": 10,
        "outcome": "changed",
    }
    assert {name: value for name, value in result.items() if name not in ("api_url", "account")} == {
        "changed": True,
        "diff": {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 13}},
        "results": [{**row, "changed": True, "desired_leverage": 13}],
        "check_mode": False,
        "plan": "reads of leverage: 1, writes: at most 1, rate limits: at most about 0 s",
        "requests": 2,
        **row,
    }
    assert account.leverage == {"BTCUSDT": 13}
    assert exchange.count(WRITE) == 1
    assert run_module(symbol="BTCUSDT", leverage="13")["changed"] is False


def test_check_mode_returns_the_result_without_a_write(run_module: Run, account: Account, exchange: Exchange) -> None:
    result = run_module(symbol="BTCUSDT", leverage=13, check=True)
    assert result["changed"] is True
    assert result["check_mode"] is True
    assert result["leverage"] == 13
    assert result["requests"] == len(exchange.requests) == 8
    assert exchange.count(WRITE) == 0
    assert account.leverage == {"BTCUSDT": 10}


def test_several_leverages_are_set(run_module: Run, account: Account) -> None:
    result = run_module(leverages={"BTCUSDT": 13, "ethusdt": "7"})
    assert result["changed"] is True
    assert account.leverage == {"BTCUSDT": 13, "ETHUSDT": 7}
    # All positions, a read of each symbol, the limits of all symbols, and a write of each symbol.
    assert result["requests"] == 6


def test_warnings_are_passed_to_ansible(run_module: Run, account: Account, warnings: list[str]) -> None:
    account.open_position("BTCUSDT", "LONG", "0.010")
    assert "failed" not in run_module(symbol="BTCUSDT", leverage=13, on_blocked="warn")
    (warning,) = warnings
    assert warning.startswith("BTCUSDT: the leverage is still 10, not 13. An open position (LONG 0.010) blocks")


def test_invalid_combinations_of_options_are_refused(run_module: Run, account: Account, exchange: Exchange) -> None:
    combinations: list[dict[str, Any]] = [
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
    for options in combinations:
        assert run_module(**options)["failed"] is True, options
    assert exchange.requests == []


# --- execute ---


def test_failed_task_returns_its_results(run_module: Run, account: Account) -> None:
    account.open_position("BTCUSDT", "LONG", "0.010")
    explanation = (
        "BTCUSDT: the leverage is still 10, not 13. An open position (LONG 0.010) blocks the change. "
        "Close the position first."
    )
    observation = (
        " The exchange refused POST /trade/api/v2/futures/leverage with HTTP 400: "
        '"Leverage cannot be changed with open positions or orders".'
    )
    for check in (True, False):
        result = run_module(symbol="BTCUSDT", leverage=13, check=check)
        assert result["failed"] is True
        assert result["msg"] == explanation + ("" if check else observation)
        # In check mode, there was no response to a write.
        assert result["error"] == ({"kind": "position"} if check else {"kind": "position", "status": 400})
        assert result["outcome"] == "blocked"
        assert result["changed"] is False
        assert result["requests"] > 1


def test_validate_certs_false_is_a_warning(run_module: Run, account: Account, warnings: list[str]) -> None:
    run_module(symbol="BTCUSDT", leverage=10, validate_certs=False)
    assert warnings == [_module.UNPROTECTED]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"symbol": "BTC/USDT", "leverage": 5}, "did you mean BTCUSDT?"),
        ({"symbol": "BTCUSDT\n", "leverage": 5}, "did you mean BTCUSDT?"),
        (
            {"symbol": "BTCUSDT", "leverage": True},
            "leverage True of 'BTCUSDT' is not a whole number from 1 to 999999999",
        ),
        (
            {"symbol": "BTCUSDT", "leverage": 10.0},
            "leverage 10.0 of 'BTCUSDT' is not a whole number from 1 to 999999999",
        ),
        (
            {"symbol": "BTCUSDT", "leverage": "10.0"},
            "leverage '10.0' of 'BTCUSDT' is not a whole number from 1 to 999999999",
        ),
        ({"symbol": "BTCUSDT", "leverage": ""}, "leverage '' of 'BTCUSDT' is not a whole number from 1 to 999999999"),
        ({"leverages": {"BTCUSDT": None}}, "leverage None of 'BTCUSDT' is not a whole number from 1 to 999999999"),
        ({"leverages": {}}, "leverages is empty"),
        ({"leverages": None}, "leverages is empty"),
        ({"leverages": {"A" * 200: 5}}, "it contains a key, a password or a long text, which is not shown"),
        ({"symbol": "BTCUSDT", "leverage": 5, "retries": True}, "retries must be a whole number from 0 to 999"),
        ({"symbol": "BTCUSDT", "leverage": 5, "timeout": "1e999999999"}, "timeout must be a number above 0"),
        ({"symbol": "BTCUSDT", "leverage": 5, "rate_limit_share": 0}, "rate_limit_share must be a number above 0"),
        ({"symbol": "BTCUSDT", "leverage": 5, "api_key": ""}, "api_key is empty. Set the variable from which"),
        ({"symbol": "BTCUSDT", "leverage": 5, "secret_key": "a" * 63}, "secret_key must have 64 hexadecimal "),
        ({"symbol": "BTCUSDT", "leverage": 5, "api_url": "http://coinswitch.co"}, "api_url must start with https"),
    ],
)
def test_invalid_option_is_refused_without_a_request(
    run_module: Run, exchange: Exchange, options: dict[str, Any], message: str
) -> None:
    result = run_module(**options)
    assert message in result["msg"]
    assert result["requests"] == 0
    assert result["changed"] is False
    assert exchange.requests == []


def test_invalid_option_is_reported_before_a_missing_library(run_module: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_libraries, "_MISSING", LibraryMissing("requests", ""))
    assert "did you mean BTCUSDT?" in run_module(symbol="BTC/USDT", leverage=10)["msg"]


@pytest.mark.parametrize("library", ["requests", "cryptography"])
def test_missing_library_is_reported_in_the_words_of_ansible(
    run_module: Run, monkeypatch: pytest.MonkeyPatch, library: str
) -> None:
    monkeypatch.setattr(_libraries, "_MISSING", LibraryMissing(library, f"ImportError: No module named {library}"))
    result = run_module(symbol="BTCUSDT", leverage=10)
    assert result["failed"] is True
    assert result["msg"].startswith(f"Failed to import the required Python library ({library}) on ")
    assert result["error"] == {"kind": "library_missing"}
    assert result["requests"] == 0


def test_known_error_is_returned_as_the_message(run_module: Run) -> None:
    result = run_module(make_main(make_failing_work(InputRefused("no such thing"))))
    assert result == {
        "failed": True,
        "msg": "no such thing",
        "error": {"kind": "input"},
        "changed": False,
        "requests": 0,
        "api_url": result["api_url"],
        "account": result["account"],
    }


def test_defect_is_reported_without_the_text_of_its_exception(run_module: Run) -> None:
    result = run_module(make_main(make_failing_work(KeyError(SECRET_KEY))))
    assert result["msg"].startswith("Internal error in this collection (KeyError at test_module.py:")
    assert result["error"] == {"kind": "internal_error"}
    assert set(result) == {"failed", "msg", "error", "changed", "requests", "api_url", "account"}


def test_no_secret_in_the_result_message_or_warnings(run_module: Run, warnings: list[str]) -> None:
    def work(*_arguments: object) -> Result:
        return Result({"rows": [{SECRET_KEY: API_KEY.upper()}]}, f"failed with {SECRET_KEY}", [f"warned of {API_KEY}"])

    result = run_module(make_main(work))
    assert result["rows"] == [{"********": "********"}]
    assert result["msg"] == "failed with ********"
    assert warnings == ["warned of ********"]


UNUSUAL_VALUES: list[Any] = [
    "\ud800",
    "\0",
    "\x1b[31m",
    "é\u2028",
    1e300,
    10**30,
    None,
    True,
    [],
    {},
    {"a": [1]},
    "x" * 100_000,
    json.loads("[" * 300 + "]" * 300),
]


@pytest.mark.parametrize("value", UNUSUAL_VALUES, ids=lambda value: repr(value)[:12])
def test_unusual_values_of_the_exchange_can_be_returned(
    run_module: Run, account: Account, exchange: Exchange, value: Any
) -> None:
    body: Mapping[str, Any] = {
        "data": [{"symbol": "BTCUSDT", "position_size": value, "position_side": value, "position_id": value}]
    }
    exchange.add_fault(POSITIONS, Fault(body=body), times=None)
    exchange.add_fault(WRITE, FAULTS["400"], times=None)
    result = run_module(symbol="BTCUSDT", leverage=13)
    assert result["outcome"] == "blocked"
    assert "\n" not in result["msg"]
    assert len(result["msg"]) < 1000


@pytest.mark.parametrize("value", UNUSUAL_VALUES, ids=lambda value: repr(value)[:12])
def test_only_a_refusal_with_a_message_of_text_comes_from_the_api(
    run_module: Run, account: Account, exchange: Exchange, value: Any
) -> None:
    account.open_position("BTCUSDT", "LONG", "0.010")
    exchange.add_fault(WRITE, Fault(status=400, body={"message": value}), times=None)
    result = run_module(symbol="BTCUSDT", leverage=13)
    # No error of the API is as long as the longest value.
    is_from_api = isinstance(value, str) and len(value) < 1000
    assert (result["outcome"], result["results"][0]["cause"]) == (
        ("blocked", "position") if is_from_api else ("refused", "refused_before_api")
    )
    assert "\n" not in result["msg"]
    assert len(result["msg"]) < 1000


@pytest.mark.parametrize("position", [0, 50])
def test_no_part_of_a_key_in_a_message_that_shows_only_the_start_of_a_value(run_module: Run, position: int) -> None:
    result = run_module(symbol="/" * position + SECRET_KEY, leverage=10)
    assert SECRET_KEY[:16] not in json.dumps(result)


def test_wrong_policy_is_reported_before_missing_keys(run_module: Run) -> None:
    """The action plugin refuses it, too, without the keys that only the host of the module has."""
    assert "did you mean" in run_module(without_connection=True, symbol="BTC/USDT", leverage=10)["msg"]


def test_caller_can_refuse_the_options() -> None:
    params = {"symbol": "BTCUSDT", "leverage": 10, "leverages": None, "enforce": "exact", "on_blocked": "fail"}
    result = _module.execute(futures_leverage.DEFINITION, params, False, print, lambda: None, refusal="no keys")
    assert result["msg"] == "no keys"
    assert result["failed"] is True
    assert result["requests"] == 0


@pytest.mark.parametrize("value", [True, 5, None, ["BTCUSDT"]])
def test_symbol_is_not_converted_to_text(run_module: Run, value: Any) -> None:
    assert f"symbol {value} is not a symbol" in run_module(symbol=value, leverage=10)["msg"]


@pytest.mark.parametrize("value", ['{"BTCUSDT": 10}', "{'BTCUSDT': 10}", "BTCUSDT: 10", "BTCUSDT=10"])
def test_leverages_can_be_text(run_module: Run, account: Account, value: str) -> None:
    assert run_module(leverages=value)["results"][0]["outcome"] == "unchanged"


@pytest.mark.parametrize("share", ["abc", None, [1], 10**400])
def test_api_check_refuses_a_share_that_is_not_a_number(run_module: Run, share: Any) -> None:
    result = run_module(api_check.main, rate_limit_share=share)
    assert result["msg"].startswith("rate_limit_share must be a number above 0 and up to 1")


def test_refused_task_returns_the_empty_result_without_keys() -> None:
    message = f"value of enforce must be one of: exact, maximum, got: {SECRET_KEY}"
    params = {"secret_key": SECRET_KEY}
    result = _module.execute(futures_leverage.DEFINITION, params, False, print, lambda: None, refusal=message)
    assert result == {
        "changed": False,
        "diff": {"before": {}, "after": {}},
        "results": [],
        "api_url": None,
        "account": None,
        "requests": 0,
        "failed": True,
        "error": {"kind": "input"},
        "msg": "value of enforce must be one of: exact, maximum, got: ********",
    }


# --- make_futures ---


def test_retries_and_exchange_are_passed_to_the_client(run_module: Run, account: Account, exchange: Exchange) -> None:
    exchange.add_fault(READ, FAULTS["503"], times=None)
    assert run_module(symbol="BTCUSDT", leverage=10, retries=0)["requests"] == 1
    assert run_module(symbol="BTCUSDT", leverage=10, exchange="exchange_9")["exchange"] == "EXCHANGE_9"


def test_tasks_with_the_same_key_share_their_budgets(run_module: Run, account: Account, tmp_path: Path) -> None:
    run_module(symbol="BTCUSDT", leverage=10)
    run_module(symbol="BTCUSDT", leverage=11)
    (file,) = tmp_path.glob("tradeops.coinswitch/*.json")
    budgets = json.loads(file.read_text())
    assert {name: len(sent) for name, (sent, _closed) in budgets.items()} == {READ: 2, WRITE: 1}
    assert all(0 <= time.monotonic() - sent_at < 600 for sent, _closed in budgets.values() for sent_at in sent)
