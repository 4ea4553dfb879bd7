# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A matrix of tasks, endpoints and faults, with the expected end of the task in each cell.

`meaning_of` looks up what a fault means to a client. One function for each task derives the expected end from that
meaning. Neither uses code of the client. In each cell, the leverage that the task returns is in force, or the outcome
is `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest

from sandbox import FAULTS, Fault

from ..plugins.module_utils.module_harness import (
    INITIAL_LEVERAGE,
    MAX_RESPONSE_SIZE,
    MAX_WAIT,
    NOW,
    RETRIES,
    ModuleHarness,
    assert_failure_is_one_line,
    assert_result_is_true,
)

THREE_SYMBOLS = {"BTCUSDT": 13, "ETHUSDT": 5, "SOLUSDT": 10}
# The longest pause before a retry, in seconds.
MAX_PAUSE = 8.0
MAX_REQUESTS = 80


def leverage_response(**fields: Any) -> Fault:
    """Return a fault that replaces each response by one about the leverage of BTCUSDT, with these fields changed."""
    data = {"exchange": "EXCHANGE_2", "symbol": "BTCUSDT", "leverage": "13", **fields}
    return Fault(body={"data": data}, worked=True)


MORE_FAULTS: dict[str, Fault] = {
    "418": Fault(status=418),
    "520-html": Fault(status=520, body="<html><body><h1>520</h1>The origin sent an unknown error</body></html>"),
    "599-garbage": Fault(status=599, body=b"\xff\xfe\x00"),
    "400-nested": Fault(status=400, body="[" * 50_000),
    "400-endless": Fault(status=400, endless=True),
    "400-large": Fault(status=400, body={"message": "No " * 300_000}),
    "429-date": Fault(status=429, headers={"Retry-After": "Tue, 14 Nov 2023 22:32:00 GMT"}),
    "429-past-date": Fault(status=429, headers={"Retry-After": "Tue, 14 Nov 2000 22:32:00 GMT"}),
    "429-fraction": Fault(status=429, headers={"Retry-After": "0.5"}),
    "429-zero": Fault(status=429, headers={"Retry-After": "0"}),
    "429-hour": Fault(status=429, headers={"Retry-After": "3600"}),
    "500-slow": Fault(status=500, delay=3.0, worked=True),
    "503-endless": Fault(status=503, endless=True),
    "503-retry-after": Fault(status=503, headers={"Retry-After": "1"}),
    "204": Fault(status=204, body="", worked=True),
    "invalid-gzip": Fault(headers={"Content-Encoding": "gzip"}),
    "blanks": Fault(body="  \r\n", worked=True),
    "incomplete-json": Fault(body='{"data": {"exchange": "EXCHANGE_2", "symbol": "BTCUSDT", "lev', worked=True),
    "long-number": Fault(body='{"data": {"symbol": "BTCUSDT", "leverage": ' + "9" * 5000 + "}}", worked=True),
    "infinity": Fault(body={"message": [None, float("inf")]}, worked=True),
    "number": Fault(body="13", worked=True),
    "true": Fault(body=True, worked=True),
    "text": Fault(body='"13"', worked=True),
    "empty-object": Fault(body={}, worked=True),
    "data-text": Fault(body={"data": "13"}, worked=True),
    "data-number": Fault(body={"data": 13}, worked=True),
    "data-list": Fault(body={"data": [["13"]]}, worked=True),
    "leverage-other-exchange": leverage_response(exchange="EXCHANGE_1"),
    "leverage-fraction": leverage_response(leverage="13.5"),
    "leverage-zero": leverage_response(leverage=0),
    "leverage-negative": leverage_response(leverage="-13"),
    "leverage-true": leverage_response(leverage=True),
    "leverage-null": leverage_response(leverage=None),
    "leverage-list": leverage_response(leverage=[13]),
    "leverage-word": leverage_response(leverage="thirteen"),
    "leverage-exponent": leverage_response(leverage="1e999999999"),
    "leverage-blank": leverage_response(leverage=""),
}
# What these faults mean depends on more than one request, or on the state of the exchange.
OUTSIDE_THE_MATRIX = {
    *(name for name, fault in FAULTS.items() if fault.later or fault.burst or fault.sets_maximum),
    *(name for name in FAULTS if name.startswith("202")),
    *("message-only", "repeated-keys", "underscore", "fraction", "full-width", "nested-instruments", "cached"),
}
ALL_FAULTS = {
    **{name: fault for name, fault in FAULTS.items() if name not in OUTSIDE_THE_MATRIX},
    **MORE_FAULTS,
    # The harness has a lower limit for the size of a response.
    "large": Fault(size=MAX_RESPONSE_SIZE),
}


class Meaning(Enum):
    """What a response means to a client."""

    VALID = "the data that was asked for"
    NO_DATA = "the API says that there is no data"
    MISMATCH = "valid JSON, but not the data that was asked for"
    FALSE = "in the form that was asked for, but not true"
    REFUSED = "a clear refusal"
    KEYS_REFUSED = "the keys are refused"
    RATE_LIMITED = "too many requests"
    UNCLEAR = "no response, or one that does not show whether the request took effect"
    RACE = "one of two responses, depending on timing: the test checks only that the result is true"


# Short names for the table below.
V, N, M, F, U = Meaning.VALID, Meaning.NO_DATA, Meaning.MISMATCH, Meaning.FALSE, Meaning.UNCLEAR

ENDPOINTS = (
    "read_leverage",
    "write_leverage",
    "instruments",
    "positions",
    "open_orders",
    "wallet",
    "validate_keys",
    "time",
)
# Faults whose meaning depends on the endpoint, in the order of ENDPOINTS.
BY_ENDPOINT: dict[str, tuple[Meaning, ...]] = {
    "no-data": (N, M, M, N, N, N, V, M),
    "data-null": (N, M, M, N, N, N, V, V),
    "empty-object": (M, M, M, M, N, M, V, M),
    "nan": (U, U, U, V, U, U, V, V),
    "other-leverage": (F, M, M, V, V, V, V, V),
    "other-symbol": (M, M, M, V, V, V, V, V),
    **dict.fromkeys(("data-text", "data-number", "data-list"), (M, M, M, M, M, M, V, M)),
    **{name: (M, M, M, M, F, F, V, M) for name in MORE_FAULTS if name.startswith("leverage-")},
}
# Faults with the same meaning on every endpoint.
BY_MEANING: dict[Meaning, str] = {
    Meaning.VALID: "slow large",
    Meaning.MISMATCH: "null list number true text",
    Meaning.REFUSED: "redirect redirect-away echo-keys maintenance",
    Meaning.KEYS_REFUSED: "clock-ahead clock-behind",
    Meaning.UNCLEAR: (
        "drop-before drop-after cut-body timeout timeout-undone late slow-headers slow-body endless bomb gzip-bomb "
        "empty html garbage nested 204 invalid-gzip blanks incomplete-json long-number infinity"
    ),
    Meaning.RACE: "twice",
}
BY_NAME = {name: meaning for meaning, names in BY_MEANING.items() for name in names.split()}
# All other faults: their names begin with the status.
BY_STATUS = {401: Meaning.KEYS_REFUSED, 408: Meaning.UNCLEAR, 429: Meaning.RATE_LIMITED}
# The exchange may use these responses for a symbol that was never configured: each refusal of the API itself.
NEVER_CONFIGURED = {
    *("400", "403", "404", "405", "409", "418", "422", "451", "echo-keys", "maintenance"),
    *("leverage-zero", "leverage-null", "leverage-blank"),
}


def meaning_of(endpoint: str, fault_name: str) -> Meaning:
    if endpoint == "read_leverage" and fault_name in NEVER_CONFIGURED:
        return Meaning.NO_DATA
    if fault_name in BY_ENDPOINT:
        return BY_ENDPOINT[fault_name][ENDPOINTS.index(endpoint)]
    if fault_name in BY_NAME:
        return BY_NAME[fault_name]
    assert fault_name[:3].isdecimal(), (
        f"tests/unit/whole_tasks/test_fault_matrix.py lacks the fault {fault_name}: add it to BY_ENDPOINT, BY_MEANING "
        "or OUTSIDE_THE_MATRIX"
    )
    status = int(fault_name[:3])
    return BY_STATUS.get(status, Meaning.UNCLEAR if status >= 500 else Meaning.REFUSED)


@dataclass(frozen=True)
class Cell:
    """One fault on one endpoint.

    Attributes:
        always: Whether every request meets the fault, or only the first one.
    """

    endpoint: str
    fault_name: str
    always: bool

    @property
    def fault(self) -> Fault:
        return ALL_FAULTS[self.fault_name]

    @property
    def meaning(self) -> Meaning:
        return meaning_of(self.endpoint, self.fault_name)

    @property
    def takes_effect(self) -> bool:
        """Whether the exchange carries out a request that meets the fault."""
        return self.fault.works and self.meaning is not Meaning.KEYS_REFUSED

    @property
    def is_answered(self) -> bool:
        """Whether a read gets a usable response in the end, with retries."""
        retry_helps = self.meaning in (Meaning.UNCLEAR, Meaning.RATE_LIMITED) and not self.always
        return retry_helps or self.meaning in (Meaning.VALID, Meaning.NO_DATA, Meaning.FALSE)

    @property
    def stops_task(self) -> bool:
        """Whether all later requests of the account would meet the same error."""
        return self.meaning is Meaning.KEYS_REFUSED or (self.meaning is Meaning.RATE_LIMITED and self.always)

    def __str__(self) -> str:
        return f"{self.endpoint}-{self.fault_name}-{'always' if self.always else 'once'}"


@dataclass(frozen=True)
class ExpectedEnd:
    """How a task should end.

    Attributes:
        changes: The symbols whose leverage changes to the desired leverage.
        failed: Whether the task fails.
        max_writes: The highest number of writes.
        outcome: The outcome of a task for one symbol; None: not checked.
        warned: Whether the task warns; checked only in check mode and for a blocked symbol.
    """

    changes: frozenset[str]
    failed: bool
    max_writes: int
    outcome: str | None = None
    warned: bool = False


def ends_with(
    changes: str, failed: bool, max_writes: int, outcome: str | None = None, warned: bool = False
) -> ExpectedEnd:
    return ExpectedEnd(frozenset(changes.split()), failed, max_writes, outcome, warned)


def expect_after_btc_write(cell: Cell) -> ExpectedEnd:
    """Return the end of a task whose write of BTCUSDT meets the fault."""
    if cell.fault_name == "late":
        # The write takes effect during the read back, which still shows the old leverage. So it is sent again.
        return ends_with("BTCUSDT", False, 2, "changed")
    if cell.meaning is Meaning.VALID:
        return ends_with("BTCUSDT", False, 1, "changed")
    if cell.meaning is Meaning.RATE_LIMITED:
        is_changed = cell.takes_effect or not cell.always
        max_writes = 16 if cell.always else 2
        return ends_with(
            "BTCUSDT" if is_changed else "", not is_changed, max_writes, "changed" if is_changed else "not_written"
        )
    if cell.meaning is Meaning.KEYS_REFUSED:
        return ends_with("", True, 2, "not_written")
    if cell.takes_effect:
        return ends_with("BTCUSDT", False, 1, "changed")
    if cell.meaning is not Meaning.UNCLEAR:
        # A redirect and a response without the desired leverage do not say whether the write was carried out.
        is_redirect = cell.fault_name.startswith(("redirect", "3"))
        is_clear = cell.meaning is Meaning.REFUSED and not is_redirect
        return ends_with("", True, 1, "refused" if is_clear else "unknown")
    if cell.always:
        return ends_with("", True, 1 + RETRIES, "unknown")
    return ends_with("BTCUSDT", False, 2, "changed")


def expect_one_symbol(cell: Cell) -> ExpectedEnd:
    if cell.endpoint == "write_leverage":
        return expect_after_btc_write(cell)
    return ends_with("BTCUSDT", False, 1, "changed") if cell.is_answered else ends_with("", True, 0, "unknown")


def expect_unchanged_symbol(cell: Cell) -> ExpectedEnd:
    """The desired leverage is in force. It is written only if the response shows another leverage, or none."""
    if cell.meaning in (Meaning.NO_DATA, Meaning.FALSE):
        return ends_with("BTCUSDT", False, 1, "changed")
    return ends_with("", False, 0, "unchanged") if cell.is_answered else ends_with("", True, 0, "unknown")


def expect_many_symbols(cell: Cell) -> ExpectedEnd:
    """The fault meets BTCUSDT, which is read first. It is written last, because its leverage is raised."""
    if cell.endpoint == "instruments":
        return ends_with("BTCUSDT ETHUSDT", False, 2) if cell.is_answered else ends_with("", True, 0)
    if cell.endpoint == "write_leverage":
        btc = expect_after_btc_write(cell)
        return ExpectedEnd(btc.changes | {"ETHUSDT"}, btc.failed, btc.max_writes + 1)
    if cell.is_answered:
        return ends_with("BTCUSDT ETHUSDT", False, 2)
    return ends_with("", True, 0) if cell.stops_task else ends_with("ETHUSDT", True, 1)


def expect_one_symbol_in_check_mode(cell: Cell) -> ExpectedEnd:
    """If another read than that of the leverage fails, check mode only warns."""
    if cell.endpoint == "read_leverage":
        return ends_with("BTCUSDT", False, 0, "changed") if cell.is_answered else ends_with("", True, 0, "unknown")
    return ends_with("BTCUSDT", False, 0, "changed", warned=not cell.is_answered)


def expect_many_symbols_in_check_mode(cell: Cell) -> ExpectedEnd:
    if cell.endpoint in ("read_leverage", "instruments"):
        real_run = expect_many_symbols(cell)
        return ExpectedEnd(real_run.changes, real_run.failed, 0)
    if cell.endpoint == "positions" and cell.meaning is Meaning.KEYS_REFUSED:
        # The positions are read first. The failure says why they are not known, so no warning repeats it.
        return ends_with("", True, 0)
    return ends_with("BTCUSDT ETHUSDT", False, 0, warned=not (cell.is_answered or reads_each_symbol(cell)))


def expect_blocked_symbol(cell: Cell) -> ExpectedEnd:
    """A position is open, so the exchange refuses the write. The task looks for the reason in the other endpoints."""
    reads_position = cell.endpoint != "positions" or (cell.is_answered and cell.meaning is not Meaning.NO_DATA)
    return ends_with("", True, 1, "blocked" if reads_position else "refused", warned=not cell.is_answered)


def reads_each_symbol(cell: Cell) -> bool:
    """Whether the client reads the positions of each symbol, because the exchange refused to return all positions."""
    return cell.endpoint == "positions" and cell.meaning is Meaning.REFUSED and not cell.always


@dataclass(frozen=True)
class Task:
    """A task of futures_leverage.

    Attributes:
        expect: Returns the expected end in a cell.
        endpoints: The endpoints that meet faults.
        policy: The desired leverage of each symbol.
        check_mode: Whether the task runs in check mode.
        is_blocked: Whether a position in BTCUSDT is open.
    """

    expect: Callable[[Cell], ExpectedEnd]
    endpoints: tuple[str, ...]
    policy: Mapping[str, int] = field(default_factory=lambda: {"BTCUSDT": 13})
    check_mode: bool = False
    is_blocked: bool = False

    def run(self, harness: ModuleHarness) -> dict[str, Any]:
        if self.is_blocked:
            harness.account.open_position("BTCUSDT", "LONG", "0.01")
        if len(self.policy) > 1:
            return harness.run("futures_leverage", self.check_mode, leverages=dict(self.policy))
        ((symbol, leverage),) = self.policy.items()
        return harness.run("futures_leverage", self.check_mode, symbol=symbol, leverage=leverage)


READS = ("read_leverage", "instruments", "positions", "open_orders")
TASKS = {
    "one symbol": Task(expect_one_symbol, ("read_leverage", "write_leverage")),
    "unchanged symbol": Task(expect_unchanged_symbol, ("read_leverage",), {"BTCUSDT": 10}),
    "many symbols": Task(expect_many_symbols, ("read_leverage", "write_leverage", "instruments"), THREE_SYMBOLS),
    "one symbol in check mode": Task(expect_one_symbol_in_check_mode, READS, check_mode=True),
    "many symbols in check mode": Task(expect_many_symbols_in_check_mode, READS, THREE_SYMBOLS, check_mode=True),
    "blocked symbol": Task(expect_blocked_symbol, ("instruments", "positions", "open_orders"), is_blocked=True),
}


def returned_leverages(result: Mapping[str, Any]) -> Any:
    return [(row["symbol"], row["leverage"]) for row in result["leverages"]]


def returned_instruments(result: Mapping[str, Any]) -> Any:
    return [(row["symbol"], row["min_leverage"], row["max_leverage"]) for row in result["instruments"]]


def returned_positions(result: Mapping[str, Any]) -> Any:
    return [(row["symbol"], row["position_size"]) for row in result["positions"]]


def returned_orders(result: Mapping[str, Any]) -> Any:
    return [(row["symbol"], row["quantity"]) for row in result["orders"]]


def returned_balances(result: Mapping[str, Any]) -> Any:
    return [row["base_asset"] for row in result["balances"]], [row["symbol"] for row in result["assets"]]


def returned_key_state(result: Mapping[str, Any]) -> Any:
    return result["valid"], result["pair_matches"]


@dataclass(frozen=True)
class InfoTask:
    """A task of an info module, for an account with a position and an order in BTCUSDT.

    Attributes:
        module: The name of the module.
        endpoints: The endpoints that meet faults.
        returned: Extracts the data to compare from the result.
        data: The expected data.
        no_data: The expected data if the API says that there is none.
        options: The options of the module.
    """

    module: str
    endpoints: tuple[str, ...]
    returned: Callable[[Mapping[str, Any]], Any]
    data: Any
    no_data: Any = None
    options: Mapping[str, Any] = field(default_factory=dict)


BTC = {"symbols": ["BTCUSDT"]}
BTC_AND_ETH = {"symbols": ["BTCUSDT", "ETHUSDT"]}
BTC_SINCE_NOW = {**BTC, "from_time": int(NOW) * 1000}
INFO_TASKS = {
    task.module: task
    for task in (
        InfoTask(
            "futures_leverage_info",
            ("read_leverage",),
            returned_leverages,
            data=[("BTCUSDT", 10)],
            no_data=[("BTCUSDT", None)],
            options=BTC,
        ),
        InfoTask(
            "futures_instrument_info", ("instruments",), returned_instruments, data=[("BTCUSDT", 1, 25)], options=BTC
        ),
        InfoTask(
            "futures_position_info",
            ("positions", "instruments"),
            returned_positions,
            data=[("BTCUSDT", "0.01")],
            no_data=[],
            options=BTC_AND_ETH,
        ),
        InfoTask(
            "futures_order_info",
            ("open_orders",),
            returned_orders,
            data=[("BTCUSDT", "0.5")],
            no_data=[],
            options=BTC_SINCE_NOW,
        ),
        InfoTask("futures_wallet_info", ("wallet",), returned_balances, data=(["USDT"], ["BTCUSDT"]), no_data=([], [])),
        InfoTask("api_key_info", ("validate_keys", "time"), returned_key_state, data=(True, True)),
    )
}


def expect_info(cell: Cell, task: InfoTask) -> tuple[bool, Any]:
    """Return whether the task fails, and the data that it returns otherwise (None: not checked)."""
    if cell.endpoint == "time":
        return False, task.data  # the module uses the Date header of another response instead
    if cell.endpoint == "validate_keys" and cell.meaning is Meaning.KEYS_REFUSED:
        return False, (False, True)
    if cell.meaning is Meaning.NO_DATA:
        return False, task.no_data
    fails = not (cell.is_answered or reads_each_symbol(cell))
    return fails, None if cell.meaning is Meaning.FALSE else task.data


# The task "one symbol" meets every fault. The other tasks meet only the first fault of each class, because the faults
# of a class take the same branches in the client. A fault that is in no class, such as each 429, meets every task.
FAULT_CLASSES = (
    # A clear refusal.
    "403 405 409 418 451",
    "404 422 echo-keys maintenance",
    "redirect redirect-away 301 302 303 308",
    "403-html 400-html 404-html 405-html 409-html 422-html 451-html 400-nested",
    "422-empty 400-empty 403-empty 404-empty 405-empty 409-empty 451-empty",
    # A clear refusal of a request that was carried out.
    "400-done 403-done 404-done 405-done 409-done 422-done 451-done 301-done 302-done 303-done 308-done",
    # No valid response.
    "500 502 503 504 408 503-retry-after",
    "503-html 408-html 500-html 502-html 504-html 520-html 599-garbage",
    "503-empty 408-empty 500-empty 502-empty 504-empty",
    "500-done 502-done 503-done 504-done 408-done 500-slow",
    # Status 200, but not JSON.
    "garbage blanks html incomplete-json long-number",
    "endless bomb nested",
    # JSON, but no valid response.
    "null number true",
    "leverage-fraction leverage-exponent leverage-negative",
)
FIRST_IN_CLASS = {name: names.split()[0] for names in FAULT_CLASSES for name in names.split()}

# The faults that meet only the first request. The task "one symbol" shows with all faults that a request is sent again.
FAULTS_ONCE = ("403", "500", "429", "drop-before", "timeout", "late", "garbage")


def cells_of(endpoint: str, task: Task | InfoTask) -> Iterator[Cell]:
    """Yield a cell with `always` for each fault, and one without it if a retry or another read can succeed."""
    uses_all_faults = task is TASKS["one symbol"]
    for fault_name in ALL_FAULTS:
        if fault_name.endswith("-done") and endpoint != "write_leverage":
            continue  # a read has no effect
        if fault_name in ("401-done", "429-done"):
            continue  # the exchange checks the keys and the rate limit before it carries out a request
        if not uses_all_faults and FIRST_IN_CLASS.get(fault_name, fault_name) != fault_name:
            continue
        always = Cell(endpoint, fault_name, always=True)
        yield always
        is_read_again = always.meaning in (Meaning.UNCLEAR, Meaning.RATE_LIMITED) or endpoint == "positions"
        if is_read_again and (uses_all_faults or fault_name in FAULTS_ONCE):
            yield Cell(endpoint, fault_name, always=False)


def each_cell(tasks: Mapping[str, Task | InfoTask]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("task", "cell"),
        [
            pytest.param(task, cell, id=f"{name}-{cell}")
            for name, task in tasks.items()
            for endpoint in task.endpoints
            for cell in cells_of(endpoint, task)
        ],
    )


@each_cell(TASKS)
def test_leverage_task_ends_as_expected(harness: ModuleHarness, task: Task, cell: Cell) -> None:
    # If the requests of an endpoint name a symbol, only the requests for BTCUSDT meet the fault.
    symbol = "BTCUSDT" if cell.endpoint.endswith("_leverage") else None
    harness.exchange.add_fault(cell.endpoint, cell.fault, None if cell.always else 1, symbol)
    result = task.run(harness)
    assert_failure_is_one_line(result)
    if not task.check_mode:
        assert_result_is_true(result, harness)
    assert_requests_and_time_are_limited(result, harness, cell)
    if cell.meaning is not Meaning.RACE:
        assert_ends_as(task.expect(cell), result, harness, task)


@each_cell(INFO_TASKS)
def test_info_task_returns_true_data_or_fails(harness: ModuleHarness, task: InfoTask, cell: Cell) -> None:
    harness.account.open_position("BTCUSDT", "LONG", "0.01")
    harness.account.open_order("BTCUSDT", "BUY", "0.5", "1000")
    harness.exchange.add_fault(cell.endpoint, cell.fault, None if cell.always else 1)
    result = harness.run(task.module, **task.options)
    assert_failure_is_one_line(result)
    assert_requests_and_time_are_limited(result, harness, cell)
    assert not result["changed"]
    assert harness.exchange.count("write_leverage") == 0
    if cell.meaning is not Meaning.RACE:
        fails, data = expect_info(cell, task)
        assert result["failed"] == fails, result
        assert fails or data is None or task.returned(result) == data


def assert_requests_and_time_are_limited(result: Mapping[str, Any], harness: ModuleHarness, cell: Cell) -> None:
    requests = len(harness.exchange.requests)
    assert requests <= result["requests"] <= MAX_REQUESTS
    # In a race, an earlier response can end the task before the exchange has received the last requests.
    assert cell.meaning is Meaning.RACE or result["requests"] == requests
    assert harness.clock.now - harness.clock.start <= MAX_WAIT + MAX_PAUSE * requests


def assert_ends_as(expected: ExpectedEnd, result: Mapping[str, Any], harness: ModuleHarness, task: Task) -> None:
    changed_leverage = {symbol: task.policy[symbol] for symbol in expected.changes}
    assert result["failed"] == expected.failed, result
    assert result["diff"]["after"] == changed_leverage
    assert result["changed"] == bool(changed_leverage)
    assert {row["symbol"] for row in result["results"] if row["changed"]} == expected.changes
    assert harness.exchange.count("write_leverage") <= expected.max_writes
    in_force = {symbol: harness.leverage_in_force(symbol) for symbol in INITIAL_LEVERAGE}
    assert in_force == (INITIAL_LEVERAGE if task.check_mode else {**INITIAL_LEVERAGE, **changed_leverage})
    if expected.outcome is not None:
        assert result["outcome"] == expected.outcome
    if task.check_mode or task.is_blocked:
        assert bool(harness.warnings) == expected.warned, harness.warnings


def test_each_fault_has_a_meaning() -> None:
    assert set(BY_NAME) | set(BY_ENDPOINT) <= set(ALL_FAULTS)
    assert all(len(meanings) == len(ENDPOINTS) for meanings in BY_ENDPOINT.values())
    named = set(BY_NAME) | set(BY_ENDPOINT)
    assert all(name in named or name[:3].isdecimal() for name in ALL_FAULTS)


@pytest.mark.parametrize("names", FAULT_CLASSES)
def test_faults_of_a_class_have_the_same_meaning(names: str) -> None:
    for endpoint in ENDPOINTS:
        assert len({meaning_of(endpoint, name) for name in names.split()}) == 1
    effects = {Cell("write_leverage", name, always=True).takes_effect for name in names.split()}
    assert len(effects) == 1
