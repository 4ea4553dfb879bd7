# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every endpoint and every fault under every kind of task, each cell with its expected end.

What a fault means to a client is in tables (`meaning`), what a task should make of that meaning in one function for
each task; neither knows the client. In every cell what the task says is in force is what the exchange holds, or the
task says that it does not know.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import pytest

from sandbox import FAULTS, Fault

from .module_harness import (
    LARGEST_ANSWER,
    MAX_WAIT,
    NOW,
    RETRIES,
    ModuleHarness,
    reports_the_truth,
    says_one_clear_line,
)

BEFORE = {"BTCUSDT": 10, "ETHUSDT": 20, "SOLUSDT": 10}
POLICIES = {"BTCUSDT": 13, "ETHUSDT": 5, "SOLUSDT": 10}
LONGEST_PAUSE = 8.0
MOST_REQUESTS = 80


def _leverage_in(**fields: Any) -> Fault:
    """The answer to a request for BTCUSDT's leverage, with other fields, whatever was asked for."""
    data = {"exchange": "EXCHANGE_2", "symbol": "BTCUSDT", "leverage": "13", **fields}
    return Fault(body={"data": data}, worked=True)


MORE_FAULTS: dict[str, Fault] = {
    "405": Fault(status=405),
    "408": Fault(status=408),
    "408-done": Fault(status=408, worked=True),
    "418": Fault(status=418),
    "520-html": Fault(status=520, body="<html><body><h1>520</h1>The origin answered oddly</body></html>"),
    "599-garbage": Fault(status=599, body=b"\xff\xfe\x00"),
    "301": Fault(redirect="/trade/api/v2/time", status=301),
    "303-done": Fault(redirect="/trade/api/v2/time", status=303, worked=True),
    "308": Fault(redirect="/trade/api/v2/time", status=308),
    "400-nested": Fault(status=400, body="[" * 50_000),
    "400-endless": Fault(status=400, endless=True),
    "400-large": Fault(status=400, body={"message": "No " * 300_000}),
    "429-date": Fault(status=429, headers={"Retry-After": "Tue, 14 Nov 2023 22:32:00 GMT"}),
    "429-old-date": Fault(status=429, headers={"Retry-After": "Tue, 14 Nov 2000 22:32:00 GMT"}),
    "429-fraction": Fault(status=429, headers={"Retry-After": "0.5"}),
    "429-zero": Fault(status=429, headers={"Retry-After": "0"}),
    "429-hour": Fault(status=429, headers={"Retry-After": "3600"}),
    "500-slow": Fault(status=500, delay=3.0, worked=True),
    "503-endless": Fault(status=503, endless=True),
    "503-retry-after": Fault(status=503, headers={"Retry-After": "1"}),
    "204": Fault(status=204, body="", worked=True),
    "not-gzip": Fault(headers={"Content-Encoding": "gzip"}),
    "blanks": Fault(body="  \r\n", worked=True),
    "cut-json": Fault(body='{"data": {"exchange": "EXCHANGE_2", "symbol": "BTCUSDT", "lev', worked=True),
    "digits": Fault(body='{"data": {"symbol": "BTCUSDT", "leverage": ' + "9" * 5000 + "}}", worked=True),
    "infinity": Fault(body={"message": [None, float("inf")]}, worked=True),
    "number": Fault(body="13", worked=True),
    "true": Fault(body=True, worked=True),
    "text": Fault(body='"13"', worked=True),
    "no-object": Fault(body={}, worked=True),
    "data-text": Fault(body={"data": "13"}, worked=True),
    "data-number": Fault(body={"data": 13}, worked=True),
    "data-list": Fault(body={"data": [["13"]]}, worked=True),
    "leverage-elsewhere": _leverage_in(exchange="EXCHANGE_1"),
    "leverage-fraction": _leverage_in(leverage="13.5"),
    "leverage-zero": _leverage_in(leverage=0),
    "leverage-negative": _leverage_in(leverage="-13"),
    "leverage-true": _leverage_in(leverage=True),
    "leverage-null": _leverage_in(leverage=None),
    "leverage-list": _leverage_in(leverage=[13]),
    "leverage-word": _leverage_in(leverage="thirteen"),
    "leverage-exponent": _leverage_in(leverage="1e999999999"),
    "leverage-blank": _leverage_in(leverage=""),
}
# As large as the harness lets an answer be.
ALL_FAULTS = {**FAULTS, **MORE_FAULTS, "large": Fault(size=LARGEST_ANSWER)}


class Meaning(Enum):
    """What an answer means."""

    RIGHT = "what was asked for"
    NOTHING = "the API's own word that there is nothing to tell"
    WRONG = "a whole answer, but not to what was asked"
    LIE = "what is not so, in the form that was asked for"
    NO = "a clear refusal"
    NO_KEYS = "the keys are refused"
    LATER = "too many requests"
    UNCLEAR = "no answer, or one that does not tell whether it was done"
    EITHER = "which of two answers counts depends on how fast they arrive: only the truth is asked for"


R, N, W, L, U = Meaning.RIGHT, Meaning.NOTHING, Meaning.WRONG, Meaning.LIE, Meaning.UNCLEAR

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
# In the order of ENDPOINTS, where the endpoint makes a difference.
BY_ENDPOINT: dict[str, tuple[Meaning, ...]] = {
    "no-data": (N, W, W, N, N, N, R, W),
    "data-null": (N, W, W, N, N, N, R, R),
    "no-object": (W, W, W, W, N, W, R, W),
    "nan": (U, U, U, R, U, U, R, R),
    "other-leverage": (L, W, W, R, R, R, R, R),
    "other-symbol": (W, W, W, R, R, R, R, R),
    **dict.fromkeys(("data-text", "data-number", "data-list"), (W, W, W, W, W, W, R, W)),
    **{name: (W, W, W, W, L, L, R, W) for name in MORE_FAULTS if name.startswith("leverage-")},
}
EVERYWHERE: dict[Meaning, str] = {
    Meaning.RIGHT: "slow large",
    Meaning.WRONG: "null list number true text",
    Meaning.NO: "redirect redirect-away echo-keys",
    Meaning.NO_KEYS: "clock-ahead clock-behind",
    Meaning.UNCLEAR: (
        "drop-before drop-after cut-body timeout timeout-undone late slow-headers slow-body endless bomb gzip-bomb "
        "empty html garbage nested 204 not-gzip blanks cut-json digits infinity"
    ),
    Meaning.EITHER: "twice",
}
BY_NAME = {name: meaning for meaning, names in EVERYWHERE.items() for name in names.split()}
BY_STATUS = {401: Meaning.NO_KEYS, 408: Meaning.UNCLEAR, 429: Meaning.LATER}
# With these, in the API's own envelope, the exchange may say that a symbol was never configured.
NOT_CONFIGURED = {"400", "404", "422", "400-done", "404-done", "422-done", "echo-keys"}


def meaning(endpoint: str, name: str) -> Meaning:
    if endpoint == "read_leverage" and name in NOT_CONFIGURED:
        return Meaning.NOTHING
    if name in BY_ENDPOINT:
        return BY_ENDPOINT[name][ENDPOINTS.index(endpoint)]
    if name in BY_NAME:
        return BY_NAME[name]
    status = int(name[:3])
    return BY_STATUS.get(status, Meaning.UNCLEAR if status >= 500 else Meaning.NO)


@dataclass(frozen=True)
class Cell:
    """One fault on one endpoint: for one request, or (`always`) for every one."""

    endpoint: str
    name: str
    always: bool

    @property
    def fault(self) -> Fault:
        return ALL_FAULTS[self.name]

    @property
    def meaning(self) -> Meaning:
        return meaning(self.endpoint, self.name)

    @property
    def done(self) -> bool:
        """Whether the exchange does what it is asked, whatever it answers."""
        return (self.fault.works and self.meaning is not Meaning.NO_KEYS) or self.name == "401-done"

    @property
    def answered(self) -> bool:
        """Whether a question is answered in the end, asked again where that is safe."""
        passing = self.meaning in (Meaning.UNCLEAR, Meaning.LATER) and not self.always
        return passing or self.meaning in (Meaning.RIGHT, Meaning.NOTHING, Meaning.LIE)

    @property
    def stops(self) -> bool:
        """Whether all that comes after would meet the same."""
        return self.meaning is Meaning.NO_KEYS or (self.meaning is Meaning.LATER and self.always)

    def __str__(self) -> str:
        return f"{self.endpoint}-{self.name}-{'always' if self.always else 'once'}"


@dataclass(frozen=True)
class End:
    """How a task should end. `changes` are the symbols whose leverage becomes the desired; None: not looked at."""

    changes: frozenset[str]
    failed: bool
    writes: int
    outcome: str | None = None
    warned: bool = False


def end(changes: str, failed: bool, writes: int, outcome: str | None = None, warned: bool = False) -> End:
    return End(frozenset(changes.split()), failed, writes, outcome, warned)


def write_of_btc(cell: Cell) -> End:
    """A write that meets the fault: what becomes of BTCUSDT, and how many writes that takes at most."""
    if cell.name == "late":
        return end("BTCUSDT", False, 2, "changed")
    if cell.meaning is Meaning.RIGHT:
        return end("BTCUSDT", False, 1, "changed")
    if cell.meaning is Meaning.LATER:
        took = cell.done or not cell.always
        return end("BTCUSDT" if took else "", not took, 11 if cell.always else 2, "changed" if took else "refused")
    if cell.done:
        return end("BTCUSDT", False, 1, "changed")
    if cell.meaning is not Meaning.UNCLEAR:
        return end("", True, 1, "refused")
    if cell.always:
        return end("", True, 1 + RETRIES, "unknown")
    return end("BTCUSDT", False, 2, "changed")


def of_one(cell: Cell) -> End:
    if cell.endpoint == "write_leverage":
        return write_of_btc(cell)
    return end("BTCUSDT", False, 1, "changed") if cell.answered else end("", True, 0, "unknown")


def of_unchanged(cell: Cell) -> End:
    """Only what looks like another leverage, or like none, is written over: with the same."""
    if cell.meaning in (Meaning.NOTHING, Meaning.LIE):
        return end("BTCUSDT", False, 1, "changed")
    return end("", False, 0, "unchanged") if cell.answered else end("", True, 0, "unknown")


def of_many(cell: Cell) -> End:
    """The fault meets BTCUSDT, which is read first and, since it is raised, written last."""
    if cell.endpoint == "instruments":
        return end("BTCUSDT ETHUSDT", False, 2) if cell.answered else end("", True, 0)
    if cell.endpoint == "write_leverage":
        btc = write_of_btc(cell)
        return End(btc.changes | {"ETHUSDT"}, btc.failed, btc.writes + 1)
    if cell.answered:
        return end("BTCUSDT ETHUSDT", False, 2)
    return end("", True, 0) if cell.stops else end("ETHUSDT", True, 1)


def of_check_of_one(cell: Cell) -> End:
    """What can't be read beside the leverage itself is warned of."""
    if cell.endpoint == "read_leverage":
        return end("BTCUSDT", False, 0, "changed") if cell.answered else end("", True, 0, "unknown")
    return end("BTCUSDT", False, 0, "changed", warned=not cell.answered)


def of_check_of_many(cell: Cell) -> End:
    if cell.endpoint in ("read_leverage", "instruments"):
        live = of_many(cell)
        return End(live.changes, live.failed, 0)
    # Refused for all symbols at once, positions are asked for one by one.
    asked_otherwise = cell.endpoint == "positions" and cell.meaning is Meaning.NO and not cell.always
    return end("BTCUSDT ETHUSDT", False, 0, warned=not (cell.answered or asked_otherwise))


def of_blocked(cell: Cell) -> End:
    """A position is open: the exchange refuses, and that is explained by what can be read."""
    seen = cell.endpoint != "positions" or (cell.answered and cell.meaning is not Meaning.NOTHING)
    # Refused keys are refused for the next read, too.
    seen = seen and not (cell.endpoint == "instruments" and cell.meaning is Meaning.NO_KEYS)
    return end("", True, 1, "blocked" if seen else "refused", warned=not cell.answered)


@dataclass(frozen=True)
class Task:
    expected: Callable[[Cell], End]
    endpoints: tuple[str, ...]
    policy: Mapping[str, int] = field(default_factory=lambda: {"BTCUSDT": 13})
    check_mode: bool = False
    blocked: bool = False
    thin: bool = False
    """Whether other tasks show the same endpoints with every fault, so that here some of each meaning will do."""

    def run(self, harness: ModuleHarness) -> dict[str, Any]:
        if self.blocked:
            harness.account.open_position("BTCUSDT", "LONG", "0.01")
        if len(self.policy) > 1:
            return harness.run("futures_leverage", self.check_mode, leverages=dict(self.policy))
        ((symbol, leverage),) = self.policy.items()
        return harness.run("futures_leverage", self.check_mode, symbol=symbol, leverage=leverage)


READS = ("read_leverage", "instruments", "positions", "open_orders")
TASKS = {
    "one": Task(of_one, ("read_leverage", "write_leverage")),
    "unchanged": Task(of_unchanged, ("read_leverage",), {"BTCUSDT": 10}),
    "many": Task(of_many, ("read_leverage", "write_leverage", "instruments"), POLICIES),
    "check of one": Task(of_check_of_one, READS, check_mode=True),
    "check of many": Task(of_check_of_many, READS, POLICIES, check_mode=True, thin=True),
    "blocked": Task(of_blocked, ("instruments", "positions", "open_orders"), blocked=True, thin=True),
}


def returned_by_leverages(result: Mapping[str, Any]) -> Any:
    return [(row["symbol"], row["leverage"]) for row in result["leverages"]]


def returned_by_instruments(result: Mapping[str, Any]) -> Any:
    return [(row["symbol"], row["min_leverage"], row["max_leverage"]) for row in result["instruments"]]


def returned_by_positions(result: Mapping[str, Any]) -> Any:
    return [(row["symbol"], row["position_size"]) for row in result["positions"]]


def returned_by_orders(result: Mapping[str, Any]) -> Any:
    return [(row["symbol"], row["quantity"]) for row in result["orders"]]


def returned_by_wallet(result: Mapping[str, Any]) -> Any:
    return [row["base_asset"] for row in result["balances"]], [row["symbol"] for row in result["assets"]]


def returned_of_keys(result: Mapping[str, Any]) -> Any:
    return result["valid"], result["pair_matches"]


@dataclass(frozen=True)
class Reader:
    """What a reader returns for an account with a position and an order in BTCUSDT, and when that is `nothing`."""

    module: str
    endpoints: tuple[str, ...]
    returned: Callable[[Mapping[str, Any]], Any]
    facts: Any
    nothing: Any = None
    thin: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


BTC = {"symbols": ["BTCUSDT"]}
BTC_AND_FLAT = {"symbols": ["BTCUSDT", "ETHUSDT"]}
RECENT = {**BTC, "from_time": int(NOW) * 1000}
READERS = {
    reader.module: reader
    for reader in (
        Reader(
            "futures_leverage_info",
            ("read_leverage",),
            returned_by_leverages,
            [("BTCUSDT", 10)],
            [("BTCUSDT", None)],
            options=BTC,
        ),
        Reader("futures_instrument_info", ("instruments",), returned_by_instruments, [("BTCUSDT", 1, 25)], options=BTC),
        Reader(
            "futures_position_info",
            ("positions", "instruments"),
            returned_by_positions,
            [("BTCUSDT", "0.01")],
            [],
            options=BTC_AND_FLAT,
        ),
        Reader("futures_order_info", ("open_orders",), returned_by_orders, [("BTCUSDT", "0.5")], [], options=RECENT),
        Reader("futures_wallet_info", ("wallet",), returned_by_wallet, (["USDT"], ["BTCUSDT"]), ([], [])),
        Reader("api_key_info", ("validate_keys", "time"), returned_of_keys, (True, True)),
    )
}


def end_of_reader(cell: Cell, reader: Reader) -> tuple[bool, Any]:
    """Whether the reader fails, and what it returns where it does not (None: not looked at)."""
    if cell.endpoint == "time":
        return False, reader.facts  # there is another way to tell the time
    if cell.endpoint == "validate_keys" and cell.meaning is Meaning.NO_KEYS:
        return False, (False, True)
    if cell.meaning is Meaning.NOTHING:
        return False, reader.nothing
    # Refused for all symbols at once, positions are asked for one by one.
    asked_otherwise = cell.endpoint == "positions" and cell.meaning is Meaning.NO and not cell.always
    return not (cell.answered or asked_otherwise), None if cell.meaning is Meaning.LIE else reader.facts


SHOWN_ONCE = ("403", "500", "429", "drop-before", "timeout", "late", "garbage")
SHOWN_THIN = {
    *SHOWN_ONCE,
    *("400", "401", "422-empty", "503-html", "redirect", "echo-keys", "slow", "large", "gzip-bomb", "twice", "nan"),
    *("no-data", "data-null", "data-list", "null", "other-leverage", "other-symbol", "leverage-fraction"),
}


def cells(endpoint: str, task: Task | Reader) -> Iterator[Cell]:
    """Always, and once where that differs: where it is asked again, or in another way.

    That a question is asked again has nothing to do with what it is: one task shows it with every fault, and the others
    with a few.
    """
    all_once = task is TASKS["one"]
    for name in ALL_FAULTS:
        if name.endswith("-done") and endpoint != "write_leverage":
            continue  # a question changes nothing
        if name == "401-done":
            continue  # keys are checked before anything is done (signing page of the API), so that nothing is read back
        if task.thin and name not in SHOWN_THIN:
            continue
        always = Cell(endpoint, name, always=True)
        yield always
        asked_again = always.meaning in (Meaning.UNCLEAR, Meaning.LATER) or endpoint == "positions"
        if asked_again and (all_once or name in SHOWN_ONCE):
            yield Cell(endpoint, name, always=False)


def each_cell(tasks: Mapping[str, Task | Reader]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        ("task", "cell"),
        [
            pytest.param(task, cell, id=f"{name}-{cell}")
            for name, task in tasks.items()
            for endpoint in task.endpoints
            for cell in cells(endpoint, task)
        ],
    )


@each_cell(TASKS)
def test_the_task_ends_with_the_truth(harness: ModuleHarness, task: Task, cell: Cell) -> None:
    # Of several symbols one is struck, where the request names one.
    symbol = "BTCUSDT" if cell.endpoint.endswith("_leverage") else None
    harness.exchange.add_fault(cell.endpoint, cell.fault, None if cell.always else 1, symbol)
    result = task.run(harness)
    says_one_clear_line(result)
    if not task.check_mode:
        reports_the_truth(result, harness)
    is_bounded(result, harness)
    if cell.meaning is not Meaning.EITHER:
        ends_as(task.expected(cell), result, harness, task)


@each_cell(READERS)
def test_the_reader_tells_what_is_so_or_fails(harness: ModuleHarness, task: Reader, cell: Cell) -> None:
    harness.account.open_position("BTCUSDT", "LONG", "0.01")
    harness.account.open_order("BTCUSDT", "BUY", "0.5", "1000")
    harness.exchange.add_fault(cell.endpoint, cell.fault, None if cell.always else 1)
    result = harness.run(task.module, **task.options)
    says_one_clear_line(result)
    is_bounded(result, harness)
    assert not result["changed"]
    assert harness.exchange.count("write_leverage") == 0
    if cell.meaning is not Meaning.EITHER:
        fails, facts = end_of_reader(cell, task)
        assert result["failed"] == fails, result
        assert fails or facts is None or task.returned(result) == facts


def is_bounded(result: Mapping[str, Any], harness: ModuleHarness) -> None:
    requests = len(harness.exchange.requests)
    assert result["requests"] == requests <= MOST_REQUESTS
    assert harness.clock.now - harness.clock.start <= MAX_WAIT + LONGEST_PAUSE * requests


def ends_as(expected: End, result: Mapping[str, Any], harness: ModuleHarness, task: Task) -> None:
    after = {symbol: task.policy[symbol] for symbol in expected.changes}
    assert result["failed"] == expected.failed, result
    assert result["diff"]["after"] == after
    assert result["changed"] == bool(after)
    assert {row["symbol"] for row in result["results"] if row["changed"]} == expected.changes
    assert harness.exchange.count("write_leverage") <= expected.writes
    in_force = {symbol: harness.in_force(symbol) for symbol in BEFORE}
    assert in_force == (BEFORE if task.check_mode else {**BEFORE, **after})
    if expected.outcome is not None:
        assert result["outcome"] == expected.outcome
    if task.check_mode or task.blocked:
        assert bool(harness.warnings) == expected.warned, harness.warnings


def test_every_fault_has_a_meaning() -> None:
    assert set(BY_NAME) | set(BY_ENDPOINT) <= set(ALL_FAULTS)
    assert all(len(meanings) == len(ENDPOINTS) for meanings in BY_ENDPOINT.values())
    named = set(BY_NAME) | set(BY_ENDPOINT)
    assert all(name in named or name[:3].isdecimal() for name in ALL_FAULTS)
