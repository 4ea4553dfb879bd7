# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Properties that hold for all responses of the exchange and all options, checked with random examples.

A failure is one line, the number of requests and the time are limited, and the result is true.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.transport import (
    Request,
    Response,
    Transport,
)
from sandbox import FAULTS, Fault, Quirks

from ..plugins.module_utils.module_harness import (
    MAX_WAIT,
    ModuleHarness,
    assert_account_facts_are_true,
    assert_failure_is_one_line,
    assert_result_is_true,
)

NewHarness = Callable[..., ModuleHarness]

# The longest pause before a retry, in seconds.
MAX_PAUSE = 8.0
SIX_SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "ADAUSDT", "DOGEUSDT", "DOTUSDT"]
ONE_SYMBOL: dict[str, Any] = {"symbol": "BTCUSDT", "leverage": 13}
THREE_SYMBOLS: dict[str, Any] = {"leverages": {"BTCUSDT": 13, "ETHUSDT": 5, "SOLUSDT": 10}}


class Task(NamedTuple):
    """A module with its options, and the endpoints to which it sends requests."""

    module: str
    check_mode: bool
    options: dict[str, Any]
    endpoints: tuple[str, ...]


REAL_RUN_ENDPOINTS = ("read_leverage", "write_leverage", "instruments")
CHECK_MODE_ENDPOINTS = ("read_leverage", "instruments", "positions", "open_orders")
TASKS = (
    Task("futures_leverage", False, ONE_SYMBOL, REAL_RUN_ENDPOINTS),
    Task("futures_leverage", False, THREE_SYMBOLS, REAL_RUN_ENDPOINTS),
    Task("futures_leverage", True, ONE_SYMBOL, CHECK_MODE_ENDPOINTS),
    Task("futures_leverage", True, THREE_SYMBOLS, CHECK_MODE_ENDPOINTS),
    Task("futures_leverage_info", False, {"symbols": ["BTCUSDT"]}, ("read_leverage", "instruments")),
    Task("futures_instrument_info", False, {}, ("instruments",)),
    Task("futures_position_info", False, {"symbols": ["BTCUSDT", "ETHUSDT"]}, ("positions", "instruments")),
    Task("futures_order_info", False, {}, ("open_orders",)),
    Task("futures_wallet_info", False, {}, ("wallet",)),
    Task("api_key_info", False, {}, ("validate_keys", "time")),
)
LEVERAGE_TASKS = TASKS[:4]
ENDPOINTS = sorted({endpoint for task in TASKS for endpoint in task.endpoints})

# The names of the API make it likely that a response is almost valid.
NAMES = st.sampled_from(
    [
        *("message", "data", "symbol", "exchange", "leverage", "min_leverage", "max_leverage", "leverage_step"),
        *("orders", "cursor", "order_id", "created_at", "position_id", "position_side", "position_size", "side"),
        *("quantity", "base_asset_balances", "base_asset", "balances", "asset", "serverTime", "BTCUSDT", "ETHUSDT"),
    ]
)
NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.from_regex(r"[+-]?[0-9_]{0,5}[.,]?[0-9]{0,4}([eE][+-]?[0-9]{1,12})?", fullmatch=True),
    st.sampled_from(
        ["13", "13.0", " 13", "0x0d", "1_3", "١٣", "NaN", "-0", "1e1000000000", "13\n", 13.0, True, 10**30]
    ),
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8) | st.sampled_from(["BTCUSDT", "btcusdt", "EXCHANGE_2"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | st.text(max_size=5), inner, max_size=5),
    max_leaves=12,
)
ENVELOPES = VALUES | st.fixed_dictionaries({"data": VALUES}) | st.fixed_dictionaries({"message": VALUES})
BODIES = ENVELOPES | st.binary(max_size=40) | st.text(max_size=40)
STATUSES = st.sampled_from([200, 200, 200, 200, 201, 204, 302, 400, 401, 403, 404, 422, 429, 500, 503, 599])


def run_and_check(harness: ModuleHarness, task: Task) -> dict[str, Any]:
    """Run a task, check the properties that hold in each case, and return the result."""
    leverage_before = dict(harness.account.leverage)
    result = harness.run(task.module, task.check_mode, **task.options)
    assert_failure_is_one_line(result)
    requests = len(harness.exchange.requests)
    assert result["requests"] == requests
    assert harness.clock.now - harness.clock.start <= MAX_WAIT + MAX_PAUSE * requests
    if task.module != "futures_leverage" or task.check_mode:
        assert harness.exchange.count("write_leverage") == 0
        assert harness.account.leverage == leverage_before
    return result


@settings(max_examples=200)
@given(
    task=st.sampled_from(TASKS),
    endpoint=st.sampled_from(ENDPOINTS),
    status=STATUSES,
    body=BODIES,
    worked=st.booleans(),
    always=st.booleans(),
)
def test_random_responses(
    new_harness: NewHarness, task: Task, endpoint: str, status: int, body: Any, worked: bool, always: bool
) -> None:
    harness = new_harness()
    if endpoint not in task.endpoints:
        endpoint = task.endpoints[0]
    fault = Fault(status=status, body=body, worked=worked)
    harness.exchange.add_fault(endpoint, fault, None if always else 1)
    result = run_and_check(harness, task)
    # If every read returns the same false leverage, the task cannot notice.
    can_notice = not (endpoint == "read_leverage" and always) and not looks_like_a_leverage_response(body, harness)
    if task.module == "futures_leverage" and not task.check_mode and can_notice:
        assert_result_is_true(result, harness)


def looks_like_a_leverage_response(body: Any, harness: ModuleHarness) -> bool:
    data = body.get("data") if isinstance(body, dict) else None
    return isinstance(data, dict) and str(data.get("symbol")).upper() in harness.account.leverage


@settings(max_examples=150)
@given(number=NUMBERS, endpoint=st.sampled_from(["read_leverage", "write_leverage"]), always=st.booleans())
@example(number="13.0", endpoint="write_leverage", always=True)
@example(number=13, endpoint="write_leverage", always=True)
@example(number="10.0", endpoint="read_leverage", always=False)
def test_random_leverage_in_an_response(new_harness: NewHarness, number: Any, endpoint: str, always: bool) -> None:
    """A wrong echo of a write is read back. A read whose leverage is no number counts as an error."""
    harness = new_harness()

    def replace_leverage(response: Any) -> Any:
        return {"data": {**response["data"], "leverage": number}}

    harness.exchange.add_fault(endpoint, Fault(transform=replace_leverage), None if always else 1)
    result = run_and_check(harness, TASKS[0])
    if endpoint == "write_leverage":
        assert (result["failed"], result["leverage"], harness.leverage_in_force("BTCUSDT")) == (False, 13, 13)
        assert harness.exchange.count("write_leverage") == 1
    elif result.get("outcome") != "unchanged":  # otherwise the number was 13, the desired leverage
        assert_result_is_true(result, harness)


@settings(max_examples=150)
@given(
    task=st.sampled_from(LEVERAGE_TASKS),
    faults=st.lists(
        st.tuples(
            st.sampled_from(["read_leverage", "write_leverage", "instruments", "positions", "open_orders", "*"]),
            st.sampled_from(
                sorted(FAULTS.keys() - {"bomb", "gzip-bomb", "nested", "other-leverage", "twice", "redirect-away"})
            ),
            st.integers(1, 4),
        ),
        max_size=6,
    ),
    works_after_task=st.booleans(),
    has_position=st.booleans(),
    retries=st.integers(0, 3),
)
def test_random_sequence_of_faults(
    new_harness: NewHarness,
    task: Task,
    faults: list[tuple[str, str, int]],
    works_after_task: bool,
    has_position: bool,
    retries: int,
) -> None:
    harness = new_harness()
    harness.options["retries"] = retries
    harness.exchange.works_after_task = works_after_task
    if has_position:
        harness.account.open_position("BTCUSDT", "SHORT", "2")
    for endpoint, name, times in faults:
        harness.exchange.add_fault(endpoint, FAULTS[name], times)
    result = run_and_check(harness, task)
    if not task.check_mode:
        assert_result_is_true(result, harness)
        # The third of the three symbols has its desired leverage.
        symbols_to_change = 1 if task.options is ONE_SYMBOL else 2
        rate_limited = sum(request.status == 429 for request in harness.exchange.requests)
        assert harness.exchange.count("write_leverage") <= symbols_to_change * (1 + retries) + rate_limited


@settings(max_examples=150)
@given(
    policy=st.dictionaries(st.sampled_from(SIX_SYMBOLS), st.integers(1, 25) | st.just(500), min_size=2),
    positions=st.sets(st.sampled_from(SIX_SYMBOLS), max_size=2),
    faults=st.lists(
        st.tuples(
            st.sampled_from(["read_leverage", "write_leverage", "instruments", "positions", "open_orders"]),
            st.sampled_from(
                ["401", "400", "403", "429", "503", "500-done", "drop-before", "drop-after", "timeout", "late"]
            ),
            st.sampled_from([1, 2, 5, None]),
            st.sampled_from([*SIX_SYMBOLS, None, None]),
        ),
        max_size=5,
    ),
    crash=st.none()
    | st.tuples(st.integers(1, 20), st.booleans(), st.sampled_from([RuntimeError, MemoryError, KeyError])),
    options=st.fixed_dictionaries(
        {
            "enforce": st.sampled_from(["exact", "maximum"]),
            "on_blocked": st.sampled_from(["fail", "warn"]),
            "retries": st.integers(0, 2),
            "rate_limit_timeout": st.sampled_from([0, 30, 600]),
        }
    ),
    check_mode=st.booleans(),
    positions_without_symbol=st.sampled_from(["all", "422"]),
)
def test_each_row_is_true_or_unknown_after_random_faults_and_crashes(
    new_harness: NewHarness,
    monkeypatch: pytest.MonkeyPatch,
    policy: dict[str, int],
    positions: set[str],
    faults: list[tuple[str, str, int | None, str | None]],
    crash: tuple[int, bool, type[Exception]] | None,
    options: dict[str, Any],
    check_mode: bool,
    positions_without_symbol: Any,
) -> None:
    harness = new_harness(quirks=Quirks(positions_without_symbol=positions_without_symbol))
    harness.account.leverage.update(dict.fromkeys(SIX_SYMBOLS, 10))
    for symbol in positions:
        harness.account.open_position(symbol, "LONG", "1")
    for endpoint, name, times, fault_symbol in faults:
        names_symbol = endpoint.endswith("_leverage")
        harness.exchange.add_fault(endpoint, FAULTS[name], times, fault_symbol if names_symbol else None)
    with monkeypatch.context() as patch:
        if crash:
            patch.setattr(Transport, "__call__", crashing_call(*crash))
        result = harness.run("futures_leverage", check_mode, leverages=policy, **options)
    rows = {row["symbol"]: row for row in result["results"]}
    assert sorted(rows) == sorted(policy)
    assert "Traceback" not in json.dumps(result)
    assert "\n" not in result.get("msg", "")
    if not crash:
        assert_failure_is_one_line(result)
    assert_account_facts_are_true(result, harness)
    if check_mode:
        assert harness.exchange.count("write_leverage") == 0
        return
    assert_result_is_true(result, harness)
    outcomes = {row["outcome"] for row in rows.values()}
    assert {symbol for symbol, row in rows.items() if row["outcome"] == "blocked"} <= positions
    accepted_outcomes = {"unchanged", "changed", *(["blocked"] if options["on_blocked"] == "warn" else [])}
    assert result["failed"] is (not outcomes <= accepted_outcomes or "Internal error" in str(result.get("msg")))


def crashing_call(
    request_number: int, after_response: bool, error: type[Exception]
) -> Callable[[Transport, Request], Response]:
    """Return a replacement for Transport.__call__ that raises an error at one request, before or after its response."""
    real_call = Transport.__call__
    request_numbers = itertools.count(1)

    def call(self: Transport, request: Request) -> Response:
        if next(request_numbers) != request_number:
            return real_call(self, request)
        if after_response:
            real_call(self, request)
        raise error("can't start new thread")

    return call


QUIRKS = {
    "blocked_answer": ("400", "422", "200"),
    # Without "clamp": nobody can predict which leverage such an exchange uses instead of an impossible one.
    "limit_answer": ("400", "422", "200"),
    "same_value": ("echo", "400"),
    "unset_leverage": ("default", "400", "404", "422", "message"),
    "unknown_symbol": ("400", "404", "422", "message"),
    "empty_orders": ("list", "null", "absent"),
    "flat_positions": ("message", "list"),
    "positions_without_symbol": ("all", "422"),
    "positions_other_symbols": (False, True),
    "orders_to_time": ("exclusive", "inclusive"),
    "leverage_buckets": ("apart", "shared"),
    "limit_window": ("sliding", "fixed"),
    "refused_count": (False, True),
    "retry_after": ("seconds", None),
    "numbers": ("text", "number", "decimal"),
}


@settings(max_examples=100)
@given(
    quirks=st.fixed_dictionaries({name: st.sampled_from(values) for name, values in QUIRKS.items()}),
    policy=st.dictionaries(
        st.sampled_from(["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT", "LINKUSDT", "NOSUCHUSDT"]),
        st.integers(1, 90),
        min_size=1,
        max_size=4,
    ),
    blocked_symbols=st.sets(st.sampled_from(["BTCUSDT", "XRPUSDT", "SOLUSDT"])),
    enforce=st.sampled_from(["exact", "maximum"]),
    fault_name=st.sampled_from(["", "", "drop-after", "500-done", "timeout", "late", "429", "cut-body"]),
)
def test_check_mode_predicts_the_real_run_under_all_quirks(
    new_harness: NewHarness,
    quirks: dict[str, Any],
    policy: dict[str, int],
    blocked_symbols: set[str],
    enforce: str,
    fault_name: str,
) -> None:
    # Nobody can predict an exchange that has a hidden default and refuses to set it.
    assume(quirks["same_value"] == "echo" or quirks["unset_leverage"] == "default")
    harness = new_harness(quirks=Quirks(**quirks))
    for number, symbol in enumerate(sorted(blocked_symbols)):
        if number % 2:
            harness.account.open_position(symbol, "LONG", "1")
        else:
            nine_days_ago = int(harness.clock.unix() * 1000) - 9 * 86_400_000
            harness.account.open_order(symbol, "SELL", "1", "2", created_at=nine_days_ago)
    options: dict[str, Any] = {"leverages": policy, "enforce": enforce}
    if len(policy) == 1:
        ((symbol, leverage),) = policy.items()
        options = {"symbol": symbol, "leverage": leverage, "enforce": enforce}
    predicted = harness.run("futures_leverage", True, **options)
    assert harness.exchange.count("write_leverage") == 0
    if fault_name:
        harness.exchange.add_fault("write_leverage", FAULTS[fault_name])
    real = harness.run("futures_leverage", **options)
    for result in (predicted, real):
        assert_failure_is_one_line(result)
        assert_account_facts_are_true(result, harness)
    assert_result_is_true(real, harness)
    compared = ("failed", "changed", "diff")
    assert {name: predicted[name] for name in compared} == {name: real[name] for name in compared}
    for predicted_row, real_row in zip(predicted["results"], real["results"], strict=True):
        if not fault_name:
            # A real run adds what the exchange answered.
            assert real_row.get("reason", "").startswith(predicted_row.get("reason", ""))
        assert (predicted_row["symbol"], predicted_row["leverage"]) == (real_row["symbol"], real_row["leverage"])
        # After an unclear write, a refusal of the next one does not show whether the first one takes effect.
        may_differ = fault_name and predicted_row["outcome"] in ("blocked", "refused")
        assert real_row["outcome"] == predicted_row["outcome"] or may_differ


SYMBOLS = st.one_of(
    st.text(max_size=12),
    st.from_regex(r"(btc|BTC|Eth)[/:\- _.]?(usdt|USDT)(:USDT)?\n?", fullmatch=True),
    st.sampled_from(
        [
            "BTCUSDT",
            "btcusdt",
            "BTCUSDT\n",
            "\uff22\uff34\uff23USDT",
            "BTC/USDT",
            "../leverage",
            "%2e",
            "a" * 5000,
            1,
            None,
        ]
    ),
)
LEVERAGES = st.one_of(
    NUMBERS, st.none(), st.booleans(), st.text(max_size=6), st.lists(st.integers(), max_size=2), st.just({"a": 1})
)


@settings(max_examples=200)
@given(symbol=SYMBOLS, leverage=LEVERAGES, is_table=st.booleans(), check_mode=st.booleans())
@example(symbol="BTCUSDT", leverage=13, is_table=False, check_mode=False)
@example(symbol="btcusdt", leverage="13", is_table=True, check_mode=False)
def test_random_symbols_and_leverages_in_the_options(
    new_harness: NewHarness, symbol: Any, leverage: Any, is_table: bool, check_mode: bool
) -> None:
    """Nothing is sent for an invalid symbol or an invalid leverage. A valid one is written unchanged."""
    harness = new_harness()
    options = {"leverages": {symbol: leverage}} if is_table else {"symbol": symbol, "leverage": leverage}
    # Ansible passes the options as JSON.
    result = harness.run("futures_leverage", check_mode, **json.loads(json.dumps(options)))
    assert_failure_is_one_line(result)
    if not check_mode:
        assert_result_is_true(result, harness)
    name = str(symbol)
    is_symbol = name.isascii() and name.isalnum()
    is_whole_number = type(leverage) in (int, str) and str(leverage).isascii() and str(leverage).isdecimal()
    if not (is_symbol and is_whole_number and int(leverage) > 0):
        assert result["failed"]
        assert harness.exchange.requests == []
    for request in harness.exchange.requests:
        if request.endpoint == "write_leverage":
            assert (request.body["symbol"], request.body["leverage"]) == (name.upper(), int(leverage))
