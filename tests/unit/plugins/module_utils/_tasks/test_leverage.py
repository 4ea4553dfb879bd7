# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of leverage: the result always shows the leverage that the exchange holds."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from functools import partial
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import (
    OPEN_ORDERS,
    READ_LEVERAGE,
    WRITE_LEVERAGE,
    Endpoint,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import (
    POSITIONS as POSITIONS_ENDPOINT,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result
from sandbox import FAULTS

from ..client_setup import (
    API_KEY,
    INSTRUMENTS,
    ORDERS,
    POSITIONS,
    READ,
    WRITE,
    ClientSetup,
    Fault,
    NewSetup,
    Quirks,
    change_every,
    find_row,
    prepare_symbols,
)

DAY = 24 * 60 * 60
# The requests that look for blockers of one symbol. Open orders are read for five weeks, one request for each.
BLOCKER_READS = [INSTRUMENTS, POSITIONS, *[ORDERS] * 5]

# The current leverages of the fixture `three_symbols`.
CURRENT = {"BTCUSDT": 10, "ETHUSDT": 20, "SOLUSDT": 10}
SIX_SYMBOLS = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "ADAUSDT", "DOGEUSDT", "DOTUSDT"]

# The exchange carries out the write, and its response is unclear.
UNCLEAR_AFTER_WRITE = [f"{status}-done" for status in (500, 502, 503, 504)]
UNCLEAR_AFTER_WRITE += ["drop-after", "cut-body", "empty", "html", "garbage", "nested", "nan", "endless"]
# The exchange carries out the write, and its response is clear but does not confirm the write.
NOT_CONFIRMED_AFTER_WRITE = [f"{status}-done" for status in (400, 403, 404)]
NOT_CONFIRMED_AFTER_WRITE += ["null", "list", "no-data", "other-leverage", "other-symbol", "data-null"]
# The exchange does not carry out the write, and its response is unclear.
UNCLEAR_WITHOUT_WRITE = ["drop-before", "500", "502-html", "503-empty", "504"]

Prepare = Callable[[ClientSetup], object]


@pytest.fixture
def three_symbols(new_setup: NewSetup) -> ClientSetup:
    """A setup with three configured symbols."""
    return new_setup(current=CURRENT)


def get_outcomes(report: Result) -> dict[str, str]:
    return {row["symbol"]: row["outcome"] for row in report.values["results"]}


def list_writes(setup: ClientSetup) -> list[tuple[str, int]]:
    """Return the symbol and the leverage of each write that reached the exchange."""
    return [(body["symbol"], body["leverage"]) for body in setup.writes()]


def find_last(setup: ClientSetup, endpoint: str) -> int:
    """Return the index of the last request to an endpoint."""
    return len(setup.sent) - 1 - setup.sent[::-1].index(endpoint)


def open_position(setup: ClientSetup) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "0.010")


def open_order(setup: ClientSetup, age: float) -> None:
    """Open an order of an age in seconds."""
    setup.account.open_order("BTCUSDT", "BUY", "0.5", "1000", created_at=int((setup.clock() - age) * 1000))


def open_position_and_seven_orders(setup: ClientSetup) -> None:
    open_position(setup)
    for age in range(7):
        open_order(setup, age=age)


def open_nothing(setup: ClientSetup) -> None:
    """Leave the account without positions and orders."""


def call_after_request(action: Callable[[], object]) -> Fault:
    """Return a fault that calls `action` after the exchange carried out a request and before it answers as usual."""

    def transform(value: Any) -> Any:
        action()
        return value

    return Fault(transform=transform)


def spend_budget(setup: ClientSetup, endpoint: Endpoint, count: int) -> None:
    """Spend a request budget, as another task on the same machine would."""
    for _request in range(count):
        setup.pacer.record_response(endpoint, setup.pacer.take(endpoint))


def raise_at_call(
    setup: ClientSetup, method_name: str, number: int, error: BaseException, after_request: bool = False
) -> None:
    """Make one call of a method of `Futures` raise an error.

    Args:
        setup: The setup whose `futures` is patched.
        method_name: The name of the method.
        number: Which call raises, starting at 1.
        error: The error.
        after_request: Whether the request is sent before the error is raised.
    """
    real_method = getattr(setup.futures, method_name)
    calls = itertools.count(1)

    def method(*args: Any) -> Any:
        if next(calls) != number:
            return real_method(*args)
        if after_request:
            real_method(*args)
        raise error

    setattr(setup.futures, method_name, method)


# --- apply ---


def test_unchanged_symbol_sends_one_read(setup: ClientSetup) -> None:
    report = setup.enforce({"BTCUSDT": 10})
    assert setup.sent == [READ]
    assert report.failure is None
    assert report.warnings == []
    assert report.values == {
        "changed": False,
        "diff": {"before": {}, "after": {}},
        "results": [
            {
                "symbol": "BTCUSDT",
                "exchange": "EXCHANGE_2",
                "leverage": 10,
                "previous_leverage": 10,
                "changed": False,
                "desired_leverage": 10,
                "outcome": "unchanged",
            }
        ],
        "plan": "reads of leverage: 1, writes: at most 1, rate limits: at most about 0 s",
        "symbol": "BTCUSDT",
        "exchange": "EXCHANGE_2",
        "leverage": 10,
        "previous_leverage": 10,
        "outcome": "unchanged",
        "check_mode": False,
    }


def test_change_sends_one_read_and_one_write(setup: ClientSetup) -> None:
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE]
    assert setup.writes() == [{"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": 13}]
    assert setup.current == {"BTCUSDT": 13}
    assert report.failure is None
    assert report.values["diff"] == {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 13}}
    assert report.values["changed"] is True
    assert find_row(report) == {
        "symbol": "BTCUSDT",
        "exchange": "EXCHANGE_2",
        "leverage": 13,
        "previous_leverage": 10,
        "changed": True,
        "desired_leverage": 13,
        "outcome": "changed",
    }
    assert report.values["leverage"] == 13
    assert report.values["previous_leverage"] == 10
    assert report.values["outcome"] == "changed"


def test_three_unchanged_symbols_send_one_read_each_after_the_positions(three_symbols: ClientSetup) -> None:
    report = three_symbols.enforce(CURRENT)
    assert three_symbols.sent == [POSITIONS] + [READ] * 3
    assert report.failure is None
    assert set(get_outcomes(report).values()) == {"unchanged"}
    assert report.values["plan"] == "reads of leverage: 3, writes: at most 3, rate limits: at most about 0 s"


def test_changes_of_several_symbols_read_the_limits_once_and_send_one_write_each(three_symbols: ClientSetup) -> None:
    report = three_symbols.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 10})
    assert sorted(map(str, three_symbols.sent)) == sorted([POSITIONS] + [READ] * 3 + [INSTRUMENTS] + [WRITE] * 2)
    assert report.failure is None
    assert three_symbols.current == {"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 10}
    assert report.values["diff"] == {
        "before": {"BTCUSDT": 10, "ETHUSDT": 20},
        "after": {"BTCUSDT": 11, "ETHUSDT": 21},
    }
    assert [row["symbol"] for row in report.values["results"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


# --- apply: rate limits ---


@pytest.mark.parametrize("nth", [2, 1])
def test_24_symbols_take_no_longer_than_the_rate_limits_require(new_setup: NewSetup, nth: int) -> None:
    setup, policy = prepare_symbols(new_setup, 24)
    started = setup.clock()
    report = setup.enforce(change_every(policy, nth))
    changes = 24 // nth
    assert report.failure is None
    assert setup.current == change_every(policy, nth)
    assert setup.sent.count(READ) == {2: 24, 1: 24 + 14}[nth], "a write with an old reading reads again"
    assert setup.sent.count(WRITE) == changes
    assert setup.sent.count(INSTRUMENTS) == 1
    assert setup.exchange.refused_by_rate_limit == 0
    assert setup.clock() - started <= (66 if nth == 2 else 126)


@pytest.mark.parametrize("share", [0.5, 0.25, 0.01])
def test_task_with_a_share_stays_within_its_part_of_the_rate_limits(new_setup: NewSetup, share: float) -> None:
    limits = {READ: int(20 * share) or 1, WRITE: int(10 * share) or 1}
    setup, policy = prepare_symbols(new_setup, 12, share=share, max_wait=1e6, limits=limits)
    assert setup.enforce(change_every(policy, 3)).failure is None
    assert setup.exchange.refused_by_rate_limit == 0


@pytest.mark.parametrize(
    "quirks",
    [
        Quirks(limit_window="fixed"),
        Quirks(leverage_buckets="shared"),
        Quirks(leverage_buckets="shared", limit_window="fixed", refused_count=True),
        Quirks(leverage_buckets="shared", retry_after="seconds"),
    ],
    ids=["fixed window", "one bucket", "one bucket, fixed window, refused count", "one bucket, Retry-After"],
)
def test_task_succeeds_if_the_exchange_counts_requests_differently(new_setup: NewSetup, quirks: Quirks) -> None:
    setup, policy = prepare_symbols(new_setup, 24, quirks)
    report = setup.enforce(change_every(policy, 2))
    assert report.failure is None
    assert setup.current == change_every(policy, 2)
    assert setup.exchange.refused_by_rate_limit <= 12
    assert setup.pacer.waited <= 300


@pytest.mark.parametrize("scope", ["key", "address"])
def test_task_succeeds_if_another_machine_spends_the_rate_limit(new_setup: NewSetup, scope: Any) -> None:
    setup, policy = prepare_symbols(new_setup, 15, Quirks(limit_scope=scope))
    other_machine = new_setup(same_account_as=setup)
    for _request in range(20):
        other_machine.futures.get_leverage("BTCUSDT")
    report = setup.enforce(change_every(policy, 3))
    assert report.failure is None
    assert setup.current == change_every(policy, 3)
    assert setup.exchange.refused_by_rate_limit == 6, "after 0, 1, 3, 7, 15 and 31 seconds"


def test_two_tasks_on_one_machine_share_the_request_budget(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 12, machine="this")
    other = new_setup(same_account_as=setup, machine="this")
    assert setup.enforce(policy).failure is None
    assert other.enforce(change_every(policy, 1)).failure is None
    assert setup.exchange.refused_by_rate_limit == 0
    assert setup.exchange.count(READ) == 24


@pytest.mark.parametrize("endpoint", [READ, WRITE])
def test_request_is_retried_soon_after_an_early_429(setup: ClientSetup, endpoint: str) -> None:
    setup.exchange.add_fault(endpoint, FAULTS["429"])
    report = setup.enforce({"BTCUSDT": 13})
    assert report.failure is None
    assert setup.current == {"BTCUSDT": 13}
    assert setup.clock.slept == [1.0]
    assert setup.sent.count(endpoint) == 2
    assert len(setup.sent) == 3


def test_check_mode_of_an_unchanged_symbol_sends_one_read(setup: ClientSetup) -> None:
    assert setup.enforce({"BTCUSDT": 10}, check=True).values["changed"] is False
    assert setup.sent == [READ]


def test_check_mode_reads_possible_blockers_and_returns_the_report_of_a_real_run(setup: ClientSetup) -> None:
    report = setup.enforce({"BTCUSDT": 13}, check=True)
    assert setup.sent == [READ, *BLOCKER_READS]
    assert report.values["plan"] == (
        "reads of leverage: 1, check mode writes nothing, rate limits: about 0 s "
        "(a real run: writes: at most 1, rate limits: at most about 0 s)"
    )
    assert setup.current == {"BTCUSDT": 10}
    assert report.failure is None
    real = setup.enforce({"BTCUSDT": 13})
    assert report.values == {**real.values, "check_mode": True, "plan": report.values["plan"]}
    assert report._replace(values={}) == real._replace(values={})


ID_PATTERN = "[-0-9a-f]{36}"
ORDER_PATTERN = rf"BUY 0\.5 at 1000, ID {ID_PATTERN}"
BLOCKED_BY_ORDER = rf"An open order \({ORDER_PATTERN}\) blocks the change\. Cancel the orders first\."
BLOCKED_BY_POSITION_AND_ORDERS = (
    rf"An open position \(LONG 0\.010\) and 7 open orders \(({ORDER_PATTERN}; ){{5}}and 2 more\) block the change\. "
    r"Close the position and cancel the orders first\."
)
# By name: the symbol, its desired leverage, what is opened before, the outcome, and the reason.
FAILING_CHANGES: dict[str, tuple[str, int, Prepare, str, str]] = {
    "position": (
        "BTCUSDT",
        13,
        open_position,
        "blocked",
        r"An open position \(LONG 0\.010\) blocks the change\. Close the position first\.",
    ),
    "order": ("BTCUSDT", 13, partial(open_order, age=60), "blocked", BLOCKED_BY_ORDER),
    "order of 9 days": ("BTCUSDT", 13, partial(open_order, age=9 * DAY), "blocked", BLOCKED_BY_ORDER),
    "order of 34 days": ("BTCUSDT", 13, partial(open_order, age=34 * DAY), "blocked", BLOCKED_BY_ORDER),
    "position and seven orders": (
        "BTCUSDT",
        13,
        open_position_and_seven_orders,
        "blocked",
        BLOCKED_BY_POSITION_AND_ORDERS,
    ),
    "above the maximum": (
        "BTCUSDT",
        26,
        open_nothing,
        "refused",
        r"The exchange allows 1 to 25 for this symbol\.",
    ),
    "not on a step": (
        "XRPUSDT",
        12,
        open_nothing,
        "refused",
        r"The exchange allows 5 to 75 in steps of 5 for this symbol\.",
    ),
    "below the minimum": ("XRPUSDT", 1, open_nothing, "refused", r"The exchange allows 5 to 75 .*"),
    "impossible and blocked": ("BTCUSDT", 26, open_position, "refused", r"The exchange allows 1 to 25 .*"),
}


@pytest.mark.parametrize("response", ["400", "422", "200"])
@pytest.mark.parametrize(
    ("symbol", "desired", "prepare", "outcome", "reason"), FAILING_CHANGES.values(), ids=FAILING_CHANGES
)
def test_check_mode_predicts_the_failure_of_a_real_run_word_for_word(
    new_setup: NewSetup, symbol: str, desired: int, prepare: Prepare, outcome: str, reason: str, response: Any
) -> None:
    setup = new_setup(Quirks(blocked_answer=response, limit_answer=response), current={"BTCUSDT": 10, "XRPUSDT": 10})
    prepare(setup)
    predicted = setup.enforce({symbol: desired}, check=True)
    assert WRITE not in setup.sent
    setup.exchange.requests.clear()
    report = setup.enforce({symbol: desired})
    assert setup.sent[:3] == [READ, WRITE, READ]
    assert setup.current == {"BTCUSDT": 10, "XRPUSDT": 10}
    assert re.fullmatch(rf"{symbol}: the leverage is still 10, not {desired}\. {reason}", predicted.failure or "")
    row = find_row(report, symbol)
    assert "leverage" in row.pop("exchange_message").lower()
    predicted_row = find_row(predicted, symbol)
    assert report.failure
    assert report.failure.startswith(f"{predicted.failure} The exchange "), "the real run adds what was answered"
    assert response in report.failure
    assert {**row, "reason": ""} == {**predicted_row, "reason": ""}
    assert row["outcome"] == outcome
    assert row["leverage"] == row["previous_leverage"] == 10
    assert report.values["changed"] is predicted.values["changed"] is False
    assert report.values["diff"] == predicted.values["diff"] == {"before": {}, "after": {}}


def list_values(type_hint: Any) -> tuple[Any, ...]:
    """Return all values of a type that has only a few, such as a Literal, a bool, or a union of them."""
    if get_origin(type_hint) is Literal:
        return get_args(type_hint)
    if type_hint is bool:
        return (False, True)
    if type_hint is NoneType:
        return (None,)
    return sum(map(list_values, get_args(type_hint)), ())


QUIRK_VALUES = [(name, value) for name, kind in get_type_hints(Quirks).items() for value in list_values(kind)]


@pytest.mark.parametrize(("quirk", "value"), QUIRK_VALUES)
def test_results_show_the_leverage_in_force_with_every_quirk_of_the_exchange(
    new_setup: NewSetup, quirk: str, value: Any
) -> None:
    setup = new_setup(Quirks(**{quirk: value}), current={"BTCUSDT": 20, "ETHUSDT": 5, "DOGEUSDT": 4})
    setup.account.open_position("DOGEUSDT", "LONG", "10")
    setup.account.open_order("ETHUSDT", "BUY", "1", "3000")
    policy = {"BTCUSDT": 10, "ETHUSDT": 5, "SOLUSDT": 7, "DOGEUSDT": 3}
    # HTTP 500 for a symbol that was never configured looks like a failure of the exchange.
    unset = "unknown" if (quirk, value) == ("unset_leverage", "500") else "changed"
    expected_outcomes = {"BTCUSDT": "changed", "ETHUSDT": "unchanged", "SOLUSDT": unset, "DOGEUSDT": "blocked"}
    predicted = setup.enforce(policy, check=True)
    assert setup.current == {"BTCUSDT": 20, "ETHUSDT": 5, "DOGEUSDT": 4}
    report = setup.enforce(policy)
    assert str(report.failure).startswith(str(predicted.failure))
    assert report.values["diff"] == predicted.values["diff"]
    for symbol, outcome in expected_outcomes.items():
        assert find_row(report, symbol)["outcome"] == find_row(predicted, symbol)["outcome"] == outcome
        row = find_row(report, symbol)
        if outcome != "unknown":
            assert row["leverage"] == setup.account.leverage_in_force(symbol)
            assert row["leverage"].__class__ is int


@pytest.mark.parametrize(
    ("count", "nth", "options"),
    [
        (12, 1, {"max_wait": 0}),
        (12, 2, {"max_wait": 0}),
        (14, 1, {"max_wait": 30}),
        (24, 1, {"max_wait": 61}),
        (24, 1, {"max_wait": 125}),
        (24, 3, {"max_wait": 61}),
        (45, 1, {"max_wait": 121}),
        (45, 2, {"max_wait": 600}),
    ],
)
@pytest.mark.parametrize("spent", [0, 7, 10])
def test_check_mode_predicts_the_outcomes_that_the_write_budget_allows(
    new_setup: NewSetup, count: int, nth: int, options: dict[str, Any], spent: int
) -> None:
    """Check mode and a real run start with the same current leverages and the same request budgets."""
    reports = {}
    for check in (True, False):
        setup, policy = prepare_symbols(new_setup, count, **options)
        spend_budget(setup, WRITE_LEVERAGE, spent)
        reports[check] = setup.enforce(change_every(policy, nth), check=check)
        assert setup.exchange.refused_by_rate_limit == 0
    assert get_outcomes(reports[True]) == get_outcomes(reports[False])
    assert reports[True].failure == reports[False].failure
    plans = [report.values["plan"] for report in reports.values()]
    assert len({re.findall(r"at most about (\d+) s|allows (\d+) s", plan)[-1] for plan in plans}) == 1
    assert len({"not everything may be done" in plan for plan in plans}) == 1
    assert reports[True].values["diff"] == reports[False].values["diff"]


# --- plan ---


def test_plan_contains_the_maximum_time_of_the_rate_limits(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 24)
    report = setup.enforce(change_every(policy, 2))
    assert report.values["plan"] == "reads of leverage: 24, writes: at most 24, rate limits: at most about 121 s"


# --- unexpected exceptions ---


@pytest.mark.parametrize("after_request", [False, True])
def test_defect_in_a_write_keeps_the_rows_that_are_done(three_symbols: ClientSetup, after_request: bool) -> None:
    raise_at_call(three_symbols, "set_leverage", 2, RuntimeError("can't start new thread"), after_request)
    report = three_symbols.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert list_writes(three_symbols) == [("BTCUSDT", 9), ("ETHUSDT", 19)][: 2 if after_request else 1]
    assert get_outcomes(report) == {"BTCUSDT": "changed", "ETHUSDT": "unknown", "SOLUSDT": "not_written"}
    assert report.values["changed"] is True
    assert report.values["diff"] == {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 9}}
    assert find_row(report, "ETHUSDT")["leverage"] is None
    assert find_row(report, "ETHUSDT")["previous_leverage"] == 20
    assert find_row(report, "SOLUSDT")["leverage"] == 10
    assert "Internal error in this collection (RuntimeError at " in str(report.failure)
    assert "thread" not in str(report.failure)


@pytest.mark.parametrize("check", [False, True])
def test_defect_in_a_read_prevents_all_writes(three_symbols: ClientSetup, check: bool) -> None:
    raise_at_call(three_symbols, "get_leverage", 2, KeyError("secret"))
    report = three_symbols.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9}, check=check)
    assert three_symbols.writes() == []
    assert get_outcomes(report) == {"BTCUSDT": "not_written", "ETHUSDT": "unknown", "SOLUSDT": "unknown"}
    assert "secret" not in str(report.failure)


def test_defect_in_a_read_back_gives_the_outcome_unknown(three_symbols: ClientSetup) -> None:
    three_symbols.exchange.add_fault(WRITE, FAULTS["503"])
    raise_at_call(three_symbols, "get_leverage", 4, ValueError())
    report = three_symbols.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert get_outcomes(report) == {"BTCUSDT": "unknown", "ETHUSDT": "not_written", "SOLUSDT": "not_written"}


@pytest.mark.parametrize("check", [False, True])
def test_defect_while_blockers_are_read_is_part_of_the_failure(three_symbols: ClientSetup, check: bool) -> None:
    three_symbols.account.open_position("BTCUSDT", "LONG", "0.5")
    three_symbols.exchange.add_fault(POSITIONS, FAULTS["503"], times=None)
    raise_at_call(three_symbols, "get_open_orders", 1, ZeroDivisionError())
    report = three_symbols.enforce({"BTCUSDT": 9, "ETHUSDT": 20, "SOLUSDT": 10}, check=check)
    assert "Internal error in this collection (ZeroDivisionError at " in str(report.failure)
    assert get_outcomes(report)["ETHUSDT"] == "unchanged"
    assert len(report.values["results"]) == 3


def test_keyboard_interrupt_is_not_caught(three_symbols: ClientSetup) -> None:
    raise_at_call(three_symbols, "set_leverage", 1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        three_symbols.enforce({"BTCUSDT": 9, "ETHUSDT": 19})


# --- order ---


def test_writes_start_before_all_reads_are_done(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 24)
    setup.enforce(change_every(policy, 2))
    assert setup.sent[: find_last(setup, READ)].count(WRITE) == 10


# --- max wait ---


def test_nothing_is_sent_if_max_wait_is_too_short_for_one_read(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, max_wait=10)
    spend_budget(setup, READ_LEVERAGE, 20)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == []
    assert setup.clock.slept == []
    assert report.failure == (
        "BTCUSDT: the current leverage is not known. Sending 1 more request to GET /trade/api/v2/futures/leverage "
        "takes about 61 s (limit: 20 in 60 s), but rate_limit_timeout (10 s) allows only 10 s more. Increase "
        "rate_limit_timeout, or run the task again later."
    )


def test_reads_and_writes_that_fit_into_max_wait_are_done(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 24, max_wait=30)
    report = setup.enforce(change_every(policy, 2))
    assert setup.sent.count(READ) == 20
    assert setup.sent.count(WRITE) == 10
    assert setup.clock.slept == []
    outcomes = list(get_outcomes(report).values())
    assert (outcomes.count("changed"), outcomes.count("unchanged"), outcomes.count("unknown")) == (10, 10, 4)
    assert find_row(report, "COIN23USDT")["cause"] == "rate_limit"
    assert "Sending 4 more requests to GET /trade/api/v2/futures/leverage takes about " in str(report.failure)
    assert "not everything may be done" in report.values["plan"]


def test_nothing_is_written_if_max_wait_is_too_short_for_one_write(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, max_wait=10)
    spend_budget(setup, WRITE_LEVERAGE, 10)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ]
    assert report.values["outcome"] == "not_written"
    assert find_row(report)["cause"] == "rate_limit"
    assert report.values["leverage"] == 10
    assert str(report.failure).startswith("BTCUSDT: the leverage is still 10, not 13. Sending 1 more request to POST")
    assert report.error == {"kind": "rate_limit"}


def test_ten_of_fourteen_writes_fit_without_a_wait(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 14, max_wait=30)
    report = setup.enforce(change_every(policy, 1))
    assert setup.sent == [POSITIONS] + [READ] * 14 + [INSTRUMENTS] + [WRITE] * 10, "the reads need no wait"
    assert setup.clock.slept == []
    assert "Sending 4 more requests to POST" in str(report.failure)
    assert list(get_outcomes(report).values()) == ["changed"] * 10 + ["not_written"] * 4
    assert [row["leverage"] for row in report.values["results"]] == list(setup.current.values())


# --- reads ---


def test_writes_that_lower_a_leverage_go_first(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(unset_leverage="404"), current=CURRENT)
    setup.enforce({"ADAUSDT": 3, "BTCUSDT": 11, "ETHUSDT": 5, "SOLUSDT": 9})
    assert list_writes(setup) == [("ETHUSDT", 5), ("SOLUSDT", 9), ("ADAUSDT", 3), ("BTCUSDT", 11)]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("current", "desired", "leverage"), [(10, 13, 10), (10, 10, 10), (13, 10, 10), (60, 30, 30), (10, 1000, 10)]
)
def test_enforce_maximum_never_raises_the_leverage(
    new_setup: NewSetup, current: int, desired: int, leverage: int, check: bool
) -> None:
    setup = new_setup(current={"BTCUSDT": current})
    setup.exchange.list_instrument("BTCUSDT", max_leverage="100")
    report = setup.enforce({"BTCUSDT": desired}, enforce="maximum", check=check)
    assert report.failure is None
    assert report.values["leverage"] == leverage
    assert report.values["changed"] is (leverage != current)
    assert setup.current == {"BTCUSDT": current if check else leverage}


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("response", ["400", "404", "422", "message"])
def test_enforce_exact_sets_the_leverage_of_a_symbol_that_was_never_configured(
    new_setup: NewSetup, response: Any, check: bool
) -> None:
    setup = new_setup(Quirks(unset_leverage=response))
    report = setup.enforce({"BTCUSDT": 10}, check=check)
    assert report.failure is None
    assert setup.current == ({} if check else {"BTCUSDT": 10})
    assert report.values["diff"] == {"before": {"BTCUSDT": None}, "after": {"BTCUSDT": 10}}
    assert report.values["previous_leverage"] is None
    assert setup.sent == ([READ, *BLOCKER_READS] if check else [READ, INSTRUMENTS, WRITE])


@pytest.mark.parametrize("fault", ["403-html", "400-html", "list", "other-symbol"])
def test_symbol_that_cannot_be_read_does_not_stop_the_others(three_symbols: ClientSetup, fault: str) -> None:
    three_symbols.exchange.add_fault(READ, FAULTS[fault], times=None, symbol="BTCUSDT")
    report = three_symbols.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 11})
    assert get_outcomes(report) == {"BTCUSDT": "unknown", "ETHUSDT": "changed", "SOLUSDT": "changed"}
    assert str(report.failure).startswith(
        "1 of 3 symbols does not have the desired leverage. BTCUSDT: the current leverage is not known. "
    )
    assert three_symbols.current == {"BTCUSDT": 10, "ETHUSDT": 21, "SOLUSDT": 11}
    assert find_row(report)["leverage"] is None


def test_keys_that_are_not_a_pair_end_the_task(new_setup: NewSetup) -> None:
    setup = new_setup(keys=(API_KEY, "11" * 32), current={"BTCUSDT": 10})
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, READ], "one refusal can be an accident"
    assert report.values["outcome"] == "unknown"
    assert report.values["leverage"] is None
    assert report.error == {"kind": "keys", "status": 401}
    assert report.failure == (
        "BTCUSDT: the current leverage is not known. The exchange refused the keys with HTTP 401: "
        '"API Key or Signature is not Correct". secret_key and api_key are not a pair. Copy both from the same pair.'
    )


def test_refused_keys_end_a_task_of_several_symbols(three_symbols: ClientSetup) -> None:
    three_symbols.account.new_pair()
    report = three_symbols.enforce(CURRENT)
    assert three_symbols.sent == [POSITIONS, POSITIONS, "validate_keys"]
    assert set(get_outcomes(report).values()) == {"unknown"}
    assert str(report.failure).startswith(
        "3 of 3 symbols do not have the desired leverage. BTCUSDT, ETHUSDT, SOLUSDT: the current leverage is not known."
    )
    assert "the exchange accepts them nowhere" in str(report.failure)
    assert not report.warnings, "the failure says already why the positions are not known"


@pytest.mark.parametrize(("fault", "offset"), [("clock-ahead", "300 s behind"), ("clock-behind", "300 s ahead of")])
def test_failure_says_how_far_the_clock_is_off(setup: ClientSetup, fault: str, offset: str) -> None:
    setup.exchange.add_fault("*", FAULTS[fault], times=None)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, READ]
    assert f"clock of this machine is {offset} the clock of the exchange" in str(report.failure)


def test_new_pair_is_not_advised_if_the_keys_are_valid_elsewhere(setup: ClientSetup) -> None:
    setup.exchange.add_fault(READ, FAULTS["401"], times=None)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, READ, "validate_keys"]
    assert "Do not create a new pair." in str(report.failure)


def test_missing_connection_ends_the_task_after_all_retries(new_setup: NewSetup, unused_url: str) -> None:
    setup = new_setup(url=unused_url, retries=2)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.client.request_count == 0, "nothing was sent"
    assert len(setup.clock.slept) == 2
    assert report.values["outcome"] == "unknown"
    assert f"No connection to {unused_url} (" in str(report.failure)
    assert "Check api_url and the network." in str(report.failure)


# --- never configured ---


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("response", ["400", "404", "422", "message"])
def test_enforce_maximum_does_not_write_a_symbol_that_was_never_configured(
    new_setup: NewSetup, response: Any, check: bool
) -> None:
    setup = new_setup(Quirks(unset_leverage=response))
    report = setup.enforce({"BTCUSDT": 5}, enforce="maximum", check=check)
    assert report.values["outcome"] == "not_written"
    assert report.values["leverage"] is None
    assert report.failure == (
        "BTCUSDT: the symbol was never configured, so there is no leverage to compare with 5. Set it once with "
        "enforce=exact."
    )
    assert report.error == {"kind": "never_configured", "status": 200 if response == "message" else int(response)}
    assert find_row(report)["blockers"] == []
    assert setup.sent == [READ, INSTRUMENTS]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("response", ["400", "404", "422", "message"])
def test_enforce_maximum_of_an_unknown_symbol_suggests_a_listed_symbol(
    new_setup: NewSetup, response: Any, check: bool
) -> None:
    setup = new_setup(Quirks(unknown_symbol=response))
    report = setup.enforce({"BTCUSTD": 5}, enforce="maximum", check=check)
    assert report.failure == "BTCUSTD: EXCHANGE_2 does not list this symbol. Did you mean BTCUSDT?"
    assert report.values["outcome"] == "refused"
    assert setup.sent == [READ, INSTRUMENTS]


def test_enforce_maximum_does_not_need_the_list_of_symbols_to_say_never_configured(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(unset_leverage="404"))
    setup.exchange.add_fault(INSTRUMENTS, FAULTS["403"], times=None)
    report = setup.enforce({"BTCUSDT": 5, "ETHUSDT": 5}, enforce="maximum")
    assert find_row(report)["cause"] == find_row(report, "ETHUSDT")["cause"] == "never_configured"
    assert set(get_outcomes(report).values()) == {"not_written"}


# --- three symbols in a row ---


def test_task_stops_after_three_unclear_reads_in_a_row(new_setup: NewSetup) -> None:
    setup = new_setup(retries=1)
    setup.exchange.list_many(24)
    setup.exchange.add_fault(READ, FAULTS["503"], times=None)
    policy = dict.fromkeys(setup.exchange.instruments, 5)
    report = setup.enforce(policy)
    assert setup.sent == [POSITIONS] + [READ] * 6
    assert set(get_outcomes(report).values()) == {"unknown"}
    assert len(get_outcomes(report)) == 24


def test_clear_response_to_a_read_resets_the_count(new_setup: NewSetup) -> None:
    setup = new_setup(current=CURRENT, retries=0)
    for symbol in ("BTCUSDT", "ETHUSDT", "ADAUSDT", "DOGEUSDT"):
        setup.exchange.add_fault(READ, FAULTS["503"], symbol=symbol)
    report = setup.enforce(dict.fromkeys(SIX_SYMBOLS, 10))
    assert setup.sent == [POSITIONS] + [READ] * 6
    assert get_outcomes(report)["DOTUSDT"] == "unchanged"


def test_task_stops_after_three_writes_without_a_read_back(new_setup: NewSetup) -> None:
    """The reads before the writes succeed, so a count of unclear reads alone would not stop the task."""
    setup, policy = prepare_symbols(new_setup, 9, retries=1)
    policy = change_every(policy, 1)
    setup.exchange.add_fault(WRITE, FAULTS["503"], times=None)
    for _read in policy:
        setup.exchange.add_fault(READ, Fault())
    setup.exchange.add_fault(READ, FAULTS["503"], times=None)
    report = setup.enforce(policy)
    assert setup.sent.count(WRITE) == 3
    assert setup.sent.count(READ) == 9 + 2 * 4 + 2, "two read backs with one retry each, then the reads end"
    assert list(get_outcomes(report).values()) == ["unknown"] * 3 + ["not_written"] * 6
    *_rows, last = report.values["results"]
    assert last["leverage"] == last["previous_leverage"] == 10
    assert last["cause"] == "stopped"
    assert " of 3 symbols in a row got no valid response, so the task sends no more of them. " in last["reason"]


def test_task_stops_after_three_unclear_writes_in_a_row_even_if_reads_succeed(new_setup: NewSetup) -> None:
    setup = new_setup(current=dict.fromkeys(SIX_SYMBOLS, 10), retries=0)
    setup.exchange.add_fault(WRITE, FAULTS["503"], times=None)
    report = setup.enforce(dict.fromkeys(SIX_SYMBOLS, 5))
    assert setup.sent.count(WRITE) == 3
    assert list(get_outcomes(report).values()) == ["unknown"] * 3 + ["not_written"] * 3


def test_clear_response_to_a_write_resets_the_count(new_setup: NewSetup) -> None:
    setup = new_setup(current=dict.fromkeys(SIX_SYMBOLS, 10), retries=0)
    for symbol in ("BTCUSDT", "ETHUSDT", "ADAUSDT", "DOGEUSDT"):
        setup.exchange.add_fault(WRITE, FAULTS["503"], symbol=symbol)
    report = setup.enforce(dict.fromkeys(SIX_SYMBOLS, 5))
    assert setup.sent.count(WRITE) == 6
    assert get_outcomes(report)["SOLUSDT"] == get_outcomes(report)["DOTUSDT"] == "changed"


# --- limits ---


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("response", ["400", "404", "422", "message"])
def test_unknown_symbol_is_refused_with_the_suggestion_of_a_listed_symbol(
    new_setup: NewSetup, response: Any, check: bool
) -> None:
    setup = new_setup(Quirks(unknown_symbol=response))
    report = setup.enforce({"BTCUSTD": 10}, check=check)
    assert report.failure == "BTCUSTD: EXCHANGE_2 does not list this symbol. Did you mean BTCUSDT?"
    assert report.values["outcome"] == "refused"
    assert setup.sent == [READ, INSTRUMENTS]


def test_limits_are_read_before_the_first_write(three_symbols: ClientSetup) -> None:
    three_symbols.enforce({"BTCUSDT": 11, "ETHUSDT": 21})
    assert three_symbols.sent.index(INSTRUMENTS) < three_symbols.sent.index(WRITE)


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("desired", "cause", "reason"),
    [
        (
            {"XRPUSDT": 12},
            "limits",
            (
                "the symbol is still not configured, and the policy is 12. "
                "The exchange allows 5 to 75 in steps of 5 for this symbol."
            ),
        ),
        ({"SOLUSDT": 21}, "limits", "the leverage is still 10, not 21. The exchange allows 1 to 20 for this symbol."),
        ({"ETHUSTD": 20}, "not_listed", "EXCHANGE_2 does not list this symbol. Did you mean ETHUSDT?"),
    ],
)
def test_one_impossible_entry_holds_back_no_other_symbol(
    new_setup: NewSetup, desired: dict[str, int], cause: str, reason: str, check: bool
) -> None:
    setup = new_setup(Quirks(unset_leverage="404", unknown_symbol="404"), current=CURRENT)
    report = setup.enforce({"BTCUSDT": 11, "ETHUSDT": 20, **desired}, check=check)
    (symbol,) = desired
    assert report.failure == f"1 of 3 symbols does not have the desired leverage. {symbol}: {reason}"
    assert report.error == {"kind": cause}
    assert get_outcomes(report) == {"BTCUSDT": "changed", "ETHUSDT": "unchanged", symbol: "refused"}
    assert setup.current == {**CURRENT, "BTCUSDT": 10 if check else 11}
    assert list_writes(setup) == ([] if check else [("BTCUSDT", 11)])
    row = find_row(report, symbol)
    assert (row["cause"], row["blockers"]) == (cause, [])


@pytest.mark.parametrize("check", [False, True])
def test_drift_of_all_symbols_is_found_beside_a_delisted_one(new_setup: NewSetup, check: bool) -> None:
    """The delisted symbol is the first of 30, so the others are read and written after its problem is known."""
    setup, policy = prepare_symbols(new_setup, 30, Quirks(unknown_symbol="404"))
    setup.account.open_position("COIN29USDT", "LONG", "1")
    setup.account.set_leverage("COIN29USDT", 20)
    report = setup.enforce({"GONEUSDT": 10, **policy}, enforce="maximum", check=check)
    assert get_outcomes(report)["GONEUSDT"] == "refused"
    row = find_row(report, "COIN29USDT")
    assert (row["outcome"], row["cause"], row["leverage"]) == ("blocked", "position", 20)
    assert row["positions"][0]["side"] == "LONG"
    assert set(get_outcomes(report).values()) == {"refused", "blocked", "unchanged"}


@pytest.mark.parametrize("check", [False, True])
def test_everything_is_read_and_nothing_is_written_if_the_limits_cannot_be_read(
    new_setup: NewSetup, check: bool
) -> None:
    setup = new_setup(current=CURRENT, retries=1)
    setup.exchange.add_fault(INSTRUMENTS, FAULTS["503"], times=None)
    report = setup.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 10}, check=check)
    assert setup.sent == [POSITIONS, READ, READ, READ, INSTRUMENTS, INSTRUMENTS]
    assert report.failure == (
        "2 of 3 symbols do not have the desired leverage. "
        "BTCUSDT: the leverage is still 10, not 11. The task did not write it, because the limits of the symbol could "
        "not be read. The exchange answered GET /trade/api/v2/futures/instrument_info with HTTP 503: "
        '"Service Unavailable". '
        "ETHUSDT: the leverage is still 20, not 21. The task did not write it, because the limits of the symbol could "
        "not be read. The exchange answered GET /trade/api/v2/futures/instrument_info with HTTP 503: "
        '"Service Unavailable".'
    )
    assert report.error == {"kind": "limits_unknown", "status": 503}
    assert get_outcomes(report) == {"BTCUSDT": "not_written", "ETHUSDT": "not_written", "SOLUSDT": "unchanged"}


def test_enforce_maximum_accepts_a_desired_leverage_above_the_limit(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 25, "ETHUSDT": 50, "DOTUSDT": 15})
    report = setup.enforce({"BTCUSDT": 30, "ETHUSDT": 30, "DOTUSDT": 30}, enforce="maximum")
    assert report.failure is None
    assert list_writes(setup) == [("ETHUSDT", 30)]


@pytest.mark.parametrize("check", [False, True])
def test_enforce_maximum_names_the_limits_if_the_exchange_lowered_them_below_the_policy(
    new_setup: NewSetup, check: bool
) -> None:
    """The current leverage can exceed the limits, because it is older than they are."""
    setup = new_setup(current={"BTCUSDT": 40, "ETHUSDT": 10})
    setup.exchange.list_instrument("BTCUSDT", max_leverage="20")
    report = setup.enforce({"BTCUSDT": 30, "ETHUSDT": 30}, check, enforce="maximum")
    assert (find_row(report)["outcome"], find_row(report)["cause"]) == ("refused", "limits")
    assert (
        find_row(report)["reason"] == "the leverage is still 40, not 30. The exchange allows 1 to 20 for this symbol."
    )
    assert setup.writes() == []


# --- what ends reads and writes ---


@pytest.mark.parametrize(("max_wait", "writes"), [(0.0, 1), (600.0, 1)])
def test_keys_that_were_replaced_are_not_sent_with_each_write(
    new_setup: NewSetup, max_wait: float, writes: int
) -> None:
    """The reads are spent when the first write is refused, so that it cannot be read back at once."""
    setup, policy = prepare_symbols(new_setup, 20, max_wait=max_wait)
    setup.exchange.run_before(1, setup.account.new_pair, WRITE)
    report = setup.enforce(dict.fromkeys(policy, 5))
    assert len(setup.writes()) == writes
    assert {row["cause"] for row in report.values["results"]} == {"keys"}
    assert {row["outcome"] for row in report.values["results"]} == {"not_written"}
    assert report.error == {"kind": "keys", "status": 401}


def test_server_in_front_of_the_api_gets_three_writes_if_the_reads_are_spent(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 20, max_wait=0.0)
    setup.exchange.add_fault(WRITE, FAULTS["403-html"], times=None)
    report = setup.enforce(dict.fromkeys(policy, 5))
    assert len(setup.writes()) == 3
    assert get_outcomes(report)["COIN19USDT"] == "not_written"
    assert find_row(report, "COIN19USDT")["cause"] == "stopped"


def test_writes_are_held_back_if_three_reads_in_a_row_are_unclear(new_setup: NewSetup) -> None:
    setup = new_setup(current=CURRENT, retries=0)
    for symbol in ("ADAUSDT", "DOGEUSDT", "DOTUSDT"):
        setup.exchange.add_fault(READ, FAULTS["503"], symbol=symbol)
    report = setup.enforce({"BTCUSDT": 9, "ADAUSDT": 9, "DOGEUSDT": 9, "DOTUSDT": 9, "ETHUSDT": 9})
    assert setup.writes() == []
    assert get_outcomes(report) == {
        "BTCUSDT": "not_written",
        "ADAUSDT": "unknown",
        "DOGEUSDT": "unknown",
        "DOTUSDT": "unknown",
        "ETHUSDT": "unknown",
    }
    assert find_row(report)["cause"] == find_row(report, "ETHUSDT")["cause"] == "stopped"
    assert find_row(report, "ADAUSDT")["cause"] == "unclear_response"


def test_server_in_front_of_the_api_is_asked_three_times(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 18)
    setup.exchange.add_fault("*", FAULTS["403-html"], times=None)
    report = setup.enforce(policy)
    assert setup.sent == [POSITIONS, READ, READ, READ]
    assert set(get_outcomes(report).values()) == {"unknown"}
    assert find_row(report, "COIN0USDT")["cause"] == "refused_before_api"
    assert find_row(report, "COIN9USDT")["cause"] == "stopped"
    assert "A server in front of the API refused GET /trade/api/v2/futures/leverage with HTTP 403" in str(
        report.failure
    )


def test_keys_that_cannot_write_end_the_writes_after_two_refusals(three_symbols: ClientSetup) -> None:
    three_symbols.exchange.add_fault(WRITE, FAULTS["401"], times=None)
    report = three_symbols.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 11})
    assert list_writes(three_symbols) == [("BTCUSDT", 9), ("BTCUSDT", 9)]
    assert three_symbols.sent == [POSITIONS] + [READ] * 3 + [INSTRUMENTS, WRITE, READ, WRITE]
    assert set(get_outcomes(report).values()) == {"not_written"}
    for symbol, leverage in CURRENT.items():
        row = find_row(report, symbol)
        assert (row["leverage"], row["cause"]) == (leverage, "keys")
        assert "These keys can read futures, but not write." in row["reason"]
        assert "new pair" not in row["reason"]
    assert report.error == {"kind": "keys", "status": 401}


def test_single_401_on_a_write_is_an_accident(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, FAULTS["401"])
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ, WRITE]
    assert report.failure is None
    assert setup.current == {"BTCUSDT": 13}


def test_single_401_among_reads_does_not_end_the_task(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 8)
    for fault in (Fault(), Fault(), Fault(), FAULTS["401"]):
        setup.exchange.add_fault(READ, fault)
    report = setup.enforce(policy)
    assert report.failure is None
    assert setup.sent == [POSITIONS] + [READ] * 9


# --- blockers ---


def test_blockers_contain_the_ids_of_positions_and_orders(setup: ClientSetup) -> None:
    position_id = setup.account.open_position("BTCUSDT", "SHORT", "2")
    order_id = setup.account.open_order("BTCUSDT", "SELL", "0.5", "1000")
    assert find_row(setup.enforce({"BTCUSDT": 13}))["blockers"] == [
        {
            "kind": "position",
            "position_id": position_id,
            "side": "SHORT",
            "size": "2",
            "mark_price": "64000",
        },
        {
            "kind": "order",
            "order_id": order_id,
            "side": "SELL",
            "quantity": "0.5",
            "price": "1000",
            "order_type": "LIMIT",
        },
    ]


def test_order_older_than_five_weeks_is_not_found(setup: ClientSetup) -> None:
    open_order(setup, age=36 * DAY)
    assert setup.enforce({"BTCUSDT": 13}, check=True).failure is None
    report = setup.enforce({"BTCUSDT": 13})
    assert report.values["outcome"] == "refused"
    assert report.failure == (
        "BTCUSDT: the leverage is still 10, not 13. No open position or order was found that blocks the change. "
        "The exchange refused POST /trade/api/v2/futures/leverage with HTTP 400: "
        '"Leverage cannot be changed with open positions or orders".'
    )
    assert find_row(report)["blockers"] == []
    assert find_row(report)["exchange_message"] == "Leverage cannot be changed with open positions or orders"


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("created_at", [1_700_000, "2023-11-14T22:13:20Z", 9_999_999_999_999, None])
def test_order_with_an_unusual_creation_time_blocks_too(setup: ClientSetup, created_at: Any, check: bool) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": "a", "side": "BUY", "quantity": "1", "created_at": created_at}]
    setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": rows}}), times=None)
    setup.exchange.add_fault(WRITE, FAULTS["400"], times=None)
    report = setup.enforce({"BTCUSDT": 13}, check=check)
    assert report.values["outcome"] == "blocked"
    assert setup.sent.count(ORDERS) == 1, "older orders are not read once a blocker is found"


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("unreadable", [INSTRUMENTS, POSITIONS, ORDERS])
def test_warning_says_what_could_not_be_read(setup: ClientSetup, unreadable: str, check: bool) -> None:
    open_position(setup)
    open_order(setup, age=60)
    setup.exchange.add_fault(unreadable, FAULTS["403"], times=None)
    report = setup.enforce({"BTCUSDT": 13}, check=check)
    (warning,) = report.warnings
    subject = {INSTRUMENTS: "the limits", POSITIONS: "open positions", ORDERS: "open orders"}[unreadable]
    assert warning.startswith(f"BTCUSDT: {subject} could not be read, so it is not known whether they ")
    assert "HTTP 403" in warning
    assert report.values["outcome"] == "blocked"
    kinds = [blocker["kind"] for blocker in find_row(report)["blockers"]]
    assert kinds == {INSTRUMENTS: ["position", "order"], POSITIONS: ["order"], ORDERS: ["position"]}[unreadable]


def test_check_mode_warns_of_each_read_that_failed(setup: ClientSetup) -> None:
    for endpoint in (INSTRUMENTS, POSITIONS, ORDERS):
        setup.exchange.add_fault(endpoint, FAULTS["403"], times=None)
    report = setup.enforce({"BTCUSDT": 13}, check=True)
    assert len(report.warnings) == 3
    assert report.failure is None
    assert report.values["outcome"] == "changed"


def test_leverage_that_the_exchange_lowered_is_unknown_and_counts_as_changed(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(limit_answer="clamp"), current={"BTCUSDT": 10})
    report = setup.enforce({"BTCUSDT": 30})
    assert setup.current == {"BTCUSDT": 25}
    assert report.values["outcome"] == "unknown"
    assert find_row(report)["cause"] == "not_confirmed"
    assert str(report.failure).startswith(
        "BTCUSDT: the outcome of the write is not known. The exchange did not confirm"
    )
    assert "The leverage was 25 when it was read back" in str(report.failure)
    assert report.values["diff"] == {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 25}}
    assert report.values["leverage"] == 25
    assert report.values["changed"] is True


def test_leverage_that_the_exchange_lowered_complies_with_maximum(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(limit_answer="clamp"), current={"BTCUSDT": 40})
    report = setup.enforce({"BTCUSDT": 30}, enforce="maximum")
    assert report.failure is None
    assert (report.values["outcome"], report.values["leverage"], report.values["previous_leverage"]) == (
        "changed",
        25,
        40,
    )


def test_blocked_symbol_stays_not_configured(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(unset_leverage="404"))
    open_position(setup)
    report = setup.enforce({"BTCUSDT": 13})
    assert report.values["outcome"] == "blocked"
    assert report.values["leverage"] is None
    assert str(report.failure).startswith("BTCUSDT: the symbol is still not configured, and the policy is 13. An open ")


def test_blocked_symbols_do_not_stop_the_others(three_symbols: ClientSetup) -> None:
    three_symbols.account.open_position("BTCUSDT", "LONG", "0.5")
    three_symbols.account.open_order("ETHUSDT", "BUY", "0.5", "1000")
    predicted = three_symbols.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 11}, check=True)
    three_symbols.exchange.requests.clear()
    report = three_symbols.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 11})
    assert get_outcomes(report) == get_outcomes(predicted)
    assert get_outcomes(report) == {"BTCUSDT": "blocked", "ETHUSDT": "blocked", "SOLUSDT": "changed"}
    assert str(report.failure).startswith(
        "2 of 3 symbols do not have the desired leverage. BTCUSDT: the leverage is still 10, not 11. "
    )
    assert " ETHUSDT: the leverage is still 20, not 21. An open order (" in str(report.failure)
    for symbol in ("BTCUSDT", "ETHUSDT"):
        assert find_row(report, symbol)["reason"].startswith(find_row(predicted, symbol)["reason"])
    assert report.values["diff"] == predicted.values["diff"]
    assert three_symbols.sent.count(POSITIONS) == 2, "one request for all symbols, before the reads and after a refusal"
    assert three_symbols.sent.count(ORDERS) == 1, "older orders are not read once each symbol has a blocker"


def test_each_symbol_is_blocked_if_positions_are_read_one_by_one(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(positions_without_symbol="422"), current=CURRENT)
    for symbol in CURRENT:
        setup.account.open_position(symbol, "LONG", "0.5")
    report = setup.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 11})
    assert set(get_outcomes(report).values()) == {"blocked"}
    assert setup.sent.count(POSITIONS) == 4, "one request for all symbols is refused, then one for each symbol"


# --- result ---


def test_result_has_no_keys_of_one_symbol_if_the_policy_is_not_single(setup: ClientSetup) -> None:
    report = setup.enforce({"BTCUSDT": 10}, single=False)
    assert set(report.values) == {"changed", "diff", "results", "plan", "check_mode"}


def test_on_blocked_warn_returns_a_warning_instead_of_a_failure(setup: ClientSetup) -> None:
    open_position(setup)
    for check in (False, True):
        report = setup.enforce({"BTCUSDT": 13}, on_blocked="warn", check=check)
        assert report.failure is None
        (warning,) = report.warnings
        assert warning == f"BTCUSDT: {find_row(report)['reason']}"
        assert "An open position (LONG 0.010) blocks the change. Close the position first." in warning
        assert report.values["outcome"] == "blocked"


def test_on_blocked_warn_changes_the_symbols_that_are_not_blocked(three_symbols: ClientSetup) -> None:
    three_symbols.account.open_position("BTCUSDT", "LONG", "0.5")
    report = three_symbols.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 10}, on_blocked="warn")
    assert report.failure is None
    (warning,) = report.warnings
    assert warning.startswith("BTCUSDT: the leverage is still 10, not 11. An open position (LONG 0.5) blocks")
    assert three_symbols.current["ETHUSDT"] == 21


def test_on_blocked_warn_fails_if_the_desired_leverage_is_impossible(setup: ClientSetup) -> None:
    report = setup.enforce({"BTCUSDT": 26}, on_blocked="warn")
    assert report.failure
    assert report.warnings == []


# --- writes ---


@pytest.mark.parametrize("fault", [*UNCLEAR_WITHOUT_WRITE, "408"])
def test_unclear_write_that_was_not_carried_out_is_retried(setup: ClientSetup, fault: str) -> None:
    setup.exchange.add_fault(WRITE, FAULTS.get(fault) or Fault(status=408))
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ, WRITE]
    assert report.failure is None
    assert report.values["outcome"] == "changed"
    assert setup.current == {"BTCUSDT": 13}
    assert len(setup.clock.slept) == 1


@pytest.mark.parametrize("retries", [0, 2])
def test_write_that_is_unclear_after_all_retries_gives_the_outcome_unknown(new_setup: NewSetup, retries: int) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, retries=retries)
    setup.exchange.add_fault(WRITE, FAULTS["503"], times=None)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, *[WRITE, READ] * (retries + 1), READ, *BLOCKER_READS]
    assert report.failure == (
        "BTCUSDT: the outcome of the write is not known. The exchange answered POST /trade/api/v2/futures/leverage "
        'with HTTP 503: "Service Unavailable". The leverage was 10 when it was read back. The write can still take '
        "effect. Read the leverage before you trade."
    )
    assert report.values["outcome"] == "unknown"
    assert find_row(report)["cause"] == "not_confirmed"
    assert report.error == {"kind": "not_confirmed", "status": 503}
    assert report.values["leverage"] == 10
    assert report.values["changed"] is False
    assert len(setup.clock.slept) == retries + 1


def test_blockers_are_listed_beside_an_unclear_write(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, retries=0)
    open_position(setup)
    setup.exchange.add_fault(WRITE, FAULTS["503"], times=None)
    report = setup.enforce({"BTCUSDT": 13}, on_blocked="warn")
    assert report.values["outcome"] == "unknown"
    assert find_row(report)["blockers"][0]["kind"] == "position"
    assert "An open position (LONG 0.010) blocks the change." in str(report.failure)


def accept_later(setup: ClientSetup) -> Fault:
    """Return the response 202 of an exchange that carries the write out when the client sleeps."""
    setup.clock.on_sleep = lambda seconds: setup.account.set_leverage("BTCUSDT", 13)
    return Fault(status=202, body={"message": "Accepted"})


def test_write_that_was_accepted_is_read_again_after_a_pause(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, accept_later(setup))
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ, READ]
    assert report.failure is None
    assert report.values["diff"] == {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 13}}
    assert setup.clock.slept == [2.0]


@pytest.mark.parametrize(("prepare", "outcome"), [(open_position, "blocked"), (open_nothing, "unknown")])
def test_message_without_data_is_a_refusal_only_with_a_blocker(
    setup: ClientSetup, prepare: Prepare, outcome: str
) -> None:
    prepare(setup)
    setup.exchange.add_fault(WRITE, Fault(body={"message": "Not possible"}), times=None)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent[:4] == [READ, WRITE, READ, READ]
    assert setup.writes() == [{"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": 13}], "it is not sent again"
    assert report.values["outcome"] == outcome
    assert find_row(report)["exchange_message"] == "Not possible"


@pytest.mark.parametrize("status", [403, 404, 405, 451])
def test_refusal_in_front_of_the_api_is_not_blamed_on_a_position(setup: ClientSetup, status: int) -> None:
    open_position(setup)
    setup.exchange.add_fault(WRITE, Fault(status=status, body="<html><h1>Firewall</h1></html>"), times=None)
    report = setup.enforce({"BTCUSDT": 13}, on_blocked="warn")
    assert setup.sent == [READ, WRITE, READ]
    assert report.values["outcome"] == "refused"
    assert find_row(report)["cause"] == "refused_before_api"
    assert report.error == {"kind": "refused_before_api", "status": status}
    assert "position" not in str(report.failure)
    assert f'HTTP {status}: "Firewall"' in str(report.failure)


def test_words_of_the_api_stand_beside_the_position(setup: ClientSetup) -> None:
    open_position(setup)
    setup.exchange.add_fault(WRITE, Fault(status=400, body={"message": "Under maintenance"}), times=None)
    report = setup.enforce({"BTCUSDT": 13}, on_blocked="warn")
    assert report.values["outcome"] == "blocked"
    assert 'with HTTP 400: "Under maintenance".' in report.warnings[-1]


def test_write_that_takes_effect_late_is_confirmed_by_the_retry(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, FAULTS["drop-before"])
    setup.clock.on_sleep = lambda seconds: setup.account.set_leverage("BTCUSDT", 13)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ, WRITE]
    assert report.failure is None
    assert report.values["diff"] == {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 13}}


def test_redirected_write_is_not_sent_again_and_its_outcome_is_unknown(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, FAULTS["redirect"], times=None)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent[:4] == [READ, WRITE, READ, READ]
    assert setup.sent.count(WRITE) == 1
    assert report.values["outcome"] == "unknown"
    assert "Signed requests do not follow a redirect. Check api_url." in str(report.failure)


def test_unclear_write_does_not_stop_the_others(new_setup: NewSetup) -> None:
    setup = new_setup(current=CURRENT, retries=1)
    setup.exchange.add_fault(WRITE, FAULTS["503"], times=None, symbol="ETHUSDT")
    report = setup.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert get_outcomes(report) == {"BTCUSDT": "changed", "ETHUSDT": "unknown", "SOLUSDT": "changed"}
    assert find_row(report, "ETHUSDT")["leverage"] == 20


# --- keys and rate limits at a write ---


def test_keys_that_are_replaced_before_the_write_leave_the_leverage_as_it_was(setup: ClientSetup) -> None:
    setup.exchange.add_fault(READ, call_after_request(setup.account.new_pair))
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ, READ, "validate_keys"]
    assert report.values["leverage"] == setup.current["BTCUSDT"] == 10
    assert report.values["outcome"] == "not_written"
    assert find_row(report)["cause"] == "keys"
    assert str(report.failure).startswith(
        "BTCUSDT: the leverage was 10 when it was last read, not 13. The exchange refused the keys with "
    )
    assert "Use the current pair of the account." in str(report.failure)


@pytest.mark.parametrize("fault", ["400", "maintenance", "404"])
def test_symbol_that_was_read_is_configured_also_if_a_later_read_is_refused(new_setup: NewSetup, fault: str) -> None:
    setup = new_setup(current={"BTCUSDT": 20})
    setup.exchange.add_fault(WRITE, FAULTS["400"])
    setup.exchange.run_before(2, lambda: setup.exchange.add_fault(READ, FAULTS[fault], times=None), READ)
    report = setup.enforce({"BTCUSDT": 10})
    (row,) = report.values["results"]
    assert (row["outcome"], row["cause"]) == ("unknown", "unexpected_response")
    assert (row["leverage"], row["changed"]) == (None, False)
    assert "configured" not in row["reason"]


def test_maximum_does_not_write_again_after_a_refused_read(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 20})
    setup.exchange.add_fault(WRITE, FAULTS["500"])
    setup.exchange.run_before(2, lambda: setup.account.set_leverage("BTCUSDT", 5), READ)
    setup.exchange.run_before(2, lambda: setup.exchange.add_fault(READ, FAULTS["maintenance"]), READ)
    report = setup.enforce({"BTCUSDT": 10}, enforce="maximum")
    assert (find_row(report)["leverage"], setup.account.leverage["BTCUSDT"]) == (5, 5)
    assert len(setup.writes()) == 1


@pytest.mark.parametrize("endpoint", [POSITIONS, ORDERS])
def test_refused_keys_during_the_search_end_the_task(new_setup: NewSetup, endpoint: str) -> None:
    setup = new_setup(current=dict.fromkeys(("BTCUSDT", "ETHUSDT", "SOLUSDT"), 20))
    setup.account.open_order("BTCUSDT", "BUY", "1", "5")
    # It would be written again after a pause.
    setup.exchange.add_fault(WRITE, FAULTS["503"], symbol="ETHUSDT")
    # The positions of the account are read at the start, and again for the search.
    skip = 2 if endpoint == POSITIONS else 1

    def refuse_keys() -> None:
        setup.exchange.add_fault("*", FAULTS["401"], times=None)

    setup.exchange.run_before(skip, refuse_keys, endpoint)
    report = setup.enforce({"BTCUSDT": 10, "ETHUSDT": 10, "SOLUSDT": 10})
    start = [number for number, name in enumerate(setup.sent) if name == endpoint][skip - 1]
    # The refused request is repeated once, and Validate keys says why.
    assert setup.sent[start:] == [endpoint, endpoint, "validate_keys"]
    assert find_row(report)["outcome"] == "refused"
    assert "It is not known whether a position or order blocks the change." in find_row(report)["reason"]


def test_refusal_is_explained_also_after_three_unclear_reads(new_setup: NewSetup) -> None:
    symbols = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "DOGEUSDT"]
    setup = new_setup(current=dict.fromkeys(symbols, 20), retries=0)
    setup.account.open_position("BTCUSDT", "LONG", "1")
    setup.exchange.add_fault(WRITE, FAULTS["400"], times=None)

    def fail_reads() -> None:
        for symbol in symbols[1:]:
            setup.exchange.add_fault(READ, FAULTS["503"], times=None, symbol=symbol)

    setup.exchange.run_before(1, fail_reads, WRITE)
    report = setup.enforce(dict.fromkeys(symbols, 10))
    outcomes = [(row["outcome"], row["cause"]) for row in report.values["results"]]
    assert outcomes == [("blocked", "position"), *[("unknown", "unclear_response")] * 3]


def test_single_refusal_of_the_keys_after_an_unclear_write_is_an_accident(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, FAULTS["503"])
    setup.exchange.add_fault(WRITE, FAULTS["401"])
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ, WRITE, READ, WRITE]
    assert report.values["outcome"] == "changed"


def test_write_is_not_sent_if_another_task_spends_the_budget_first(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, max_wait=10, machine="this")
    other = new_setup(same_account_as=setup, machine="this")
    setup.exchange.add_fault(READ, call_after_request(lambda: spend_budget(other, WRITE_LEVERAGE, 10)))
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ]
    assert report.values["outcome"] == "not_written"
    assert report.values["leverage"] == 10
    assert report.values["changed"] is False


def take_the_slot_first(setup: ClientSetup, other: ClientSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let another process spend the budget of the writes right before the first write is sent."""
    real = setup.pacer.take_now
    spent: list[bool] = []

    def take_now(endpoint: Endpoint) -> float:
        if endpoint is WRITE_LEVERAGE and not spent:
            spent.append(True)
            spend_budget(other, WRITE_LEVERAGE, 10)
        return real(endpoint)

    monkeypatch.setattr(setup.pacer, "take_now", take_now)


@pytest.mark.parametrize("enforce", ["exact", "maximum"])
def test_write_that_lost_its_slot_decides_with_a_new_reading(
    new_setup: NewSetup, monkeypatch: pytest.MonkeyPatch, enforce: str
) -> None:
    """Another process takes the slot between decision and sending. Then another program lowers the leverage."""
    setup = new_setup(current={"BTCUSDT": 20}, machine="this")
    take_the_slot_first(setup, new_setup(same_account_as=setup, machine="this"), monkeypatch)
    setup.clock.on_sleep = lambda seconds: setup.account.set_leverage("BTCUSDT", 5)
    report = setup.enforce({"BTCUSDT": 10}, enforce=enforce)
    assert report.failure is None
    if enforce == "maximum":
        assert setup.sent == [READ, READ]
        assert setup.current == {"BTCUSDT": 5}
        assert (report.values["outcome"], report.values["previous_leverage"]) == ("unchanged", 5)
    else:
        assert setup.sent == [READ, READ, WRITE]
        assert report.values["diff"] == {"before": {"BTCUSDT": 5}, "after": {"BTCUSDT": 10}}


@pytest.mark.parametrize("fault", ["429", "503", "400"])
def test_maximum_never_raises_a_leverage_that_another_program_lowered(setup: ClientSetup, fault: str) -> None:
    setup.account.set_leverage("BTCUSDT", 20)

    def wait_longer(seconds: float) -> None:
        setup.clock.now += 60

    setup.exchange.add_fault(WRITE, FAULTS[fault])
    setup.exchange.run_before(1, lambda: setup.account.set_leverage("BTCUSDT", 5), WRITE)
    setup.clock.on_sleep = wait_longer
    report = setup.enforce({"BTCUSDT": 10}, enforce="maximum")
    assert report.failure is None
    assert setup.current == {"BTCUSDT": 5}
    assert report.values["leverage"] == 5
    assert setup.sent.count(WRITE) == 1


def test_write_is_not_written_if_max_wait_is_too_short_after_a_429(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, max_wait=2)
    setup.exchange.add_fault(WRITE, FAULTS["429"], times=None)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, WRITE], "the pauses are 1 and 2 seconds"
    assert report.values["outcome"] == "not_written"
    assert report.values["leverage"] == 10
    assert report.error == {"kind": "rate_limit"}
    assert "with HTTP 429 (too many requests) 2 times in a row." in str(report.failure)


def test_unclear_write_gives_the_outcome_unknown_if_max_wait_is_too_short_for_a_retry(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, max_wait=10)
    spend_budget(setup, WRITE_LEVERAGE, 9)
    setup.exchange.add_fault(WRITE, FAULTS["503"])
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ]
    assert report.values["outcome"] == "unknown"
    assert report.values["leverage"] == 10


# --- read backs ---


@pytest.mark.parametrize("fault", [*UNCLEAR_AFTER_WRITE, *NOT_CONFIRMED_AFTER_WRITE])
def test_read_back_finds_a_write_that_was_carried_out_but_not_confirmed(setup: ClientSetup, fault: str) -> None:
    setup.exchange.add_fault(WRITE, FAULTS[fault])
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ]
    assert report.failure is None
    assert report.values["outcome"] == "changed"
    assert report.values["leverage"] == setup.current["BTCUSDT"] == 13
    assert report.values["diff"] == {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 13}}
    assert "reason" not in find_row(report)
    assert setup.clock.slept == []
    read, write, read_back = setup.exchange.connections
    assert read == write != read_back, "a late response on the old connection belongs to the write"


def test_second_response_on_the_old_connection_is_not_read(three_symbols: ClientSetup) -> None:
    three_symbols.exchange.add_fault(WRITE, FAULTS["twice"])
    report = three_symbols.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert report.failure is None
    assert three_symbols.current == {"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9}


@pytest.mark.parametrize("body", [{"leverage": 1e300}, {"leverage": "1e99999999999999999999"}, {"leverage": True}, {}])
def test_write_with_an_invalid_echo_is_read_back(setup: ClientSetup, body: dict[str, Any]) -> None:
    setup.exchange.add_fault(WRITE, Fault(body={"data": {"symbol": "BTCUSDT", **body}}, worked=True))
    assert setup.enforce({"BTCUSDT": 13}).failure is None
    assert setup.sent == [READ, WRITE, READ]


def test_write_with_an_echo_of_a_huge_number_is_read_back(setup: ClientSetup) -> None:
    text = '{"data": {"symbol": "BTCUSDT", "leverage": 1e99999999999999999999}}'
    setup.exchange.add_fault(WRITE, Fault(body=text, worked=True))
    assert setup.enforce({"BTCUSDT": 13}).failure is None
    assert setup.sent == [READ, WRITE, READ]


@pytest.mark.parametrize(("fault", "status", "reads"), [("500", 500, 4), ("401", 401, 2), ("403-html", 403, 2)])
def test_failed_read_back_gives_the_outcome_unknown(new_setup: NewSetup, fault: str, status: int, reads: int) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, retries=1)
    setup.exchange.add_fault(READ, Fault())
    setup.exchange.add_fault(READ, FAULTS[fault], times=None)
    setup.exchange.add_fault(WRITE, FAULTS["drop-after"])
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, *[READ] * reads, *["validate_keys"] * (fault == "401")]
    assert report.values["outcome"] == "unknown"
    assert report.values["leverage"] is None
    assert report.values["previous_leverage"] == 10
    assert report.failure
    assert report.failure.startswith("BTCUSDT: the outcome of the write is not known. The connection broke")
    assert report.failure.endswith(" Read the leverage before you trade.")
    assert " The leverage could not be read back. " in report.failure
    assert f"HTTP {status}" in report.failure


def test_leverage_that_another_client_set_is_reported_as_not_changed(setup: ClientSetup) -> None:
    open_position(setup)
    setup.exchange.add_fault(READ, call_after_request(lambda: setup.account.set_leverage("BTCUSDT", 7)))
    report = setup.enforce({"BTCUSDT": 13})
    assert report.values["leverage"] == setup.current["BTCUSDT"] == 7
    assert report.values["changed"] is False, "another client changed it"
    assert str(report.failure).startswith("BTCUSDT: the leverage is now 7, not 13 (it was 10). An open position ")


def test_other_leverage_after_an_unclear_write_is_reported_as_changed(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, retries=0)
    setup.exchange.add_fault(READ, call_after_request(lambda: setup.account.set_leverage("BTCUSDT", 7)))
    setup.exchange.add_fault(WRITE, FAULTS["drop-before"])
    report = setup.enforce({"BTCUSDT": 13})
    assert report.values["outcome"] == "unknown"
    assert report.values["diff"] == {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 7}}


# --- explanations ---


def test_position_opened_between_read_and_write_is_found(setup: ClientSetup) -> None:
    setup.exchange.add_fault(READ, call_after_request(lambda: open_position(setup)))
    report = setup.enforce({"BTCUSDT": 13})
    assert report.values["outcome"] == "blocked"
    assert report.values["leverage"] == setup.current["BTCUSDT"] == 10


def test_blockers_are_read_after_all_writes_if_the_position_budget_is_spent(new_setup: NewSetup) -> None:
    setup = new_setup(current=CURRENT)
    setup.account.open_position("BTCUSDT", "LONG", "0.5")
    spend_budget(setup, POSITIONS_ENDPOINT, 20)
    report = setup.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert get_outcomes(report) == {"BTCUSDT": "blocked", "ETHUSDT": "changed", "SOLUSDT": "changed"}
    assert setup.sent.index(POSITIONS) > find_last(setup, WRITE)


@pytest.mark.parametrize("max_wait", [0.0, 600.0])
def test_refusal_that_the_limits_explain_does_not_wait_for_the_search(new_setup: NewSetup, max_wait: float) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, max_wait=max_wait)
    spend_budget(setup, OPEN_ORDERS, OPEN_ORDERS.limit)
    start = setup.clock()
    report = setup.enforce({"BTCUSDT": 1000})
    assert report.error == {"kind": "limits", "status": 400}
    assert setup.sent == [READ, WRITE, READ, INSTRUMENTS]
    assert setup.clock() == start
    assert not report.warnings


@pytest.mark.parametrize("fault", ["401", "429", "503"])
def test_refusal_before_an_early_stop_is_explained(new_setup: NewSetup, fault: str) -> None:
    setup = new_setup(current={**CURRENT, "ADAUSDT": 10, "DOTUSDT": 10}, retries=0, max_wait=0)
    setup.account.open_position("BTCUSDT", "LONG", "0.5")
    for symbol in ("ETHUSDT", "SOLUSDT", "ADAUSDT", "DOTUSDT"):
        setup.exchange.add_fault(WRITE, FAULTS[fault], times=None, symbol=symbol)
    policy = {"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9, "ADAUSDT": 9, "DOTUSDT": 9}
    report = setup.enforce(policy, on_blocked="warn")
    assert find_row(report)["outcome"] == "blocked"
    assert find_row(report)["blockers"][0]["kind"] == "position"
    assert "BTCUSDT" not in str(report.failure), (
        "a blocked symbol only gives a warning, and the other symbols fail the task"
    )
    assert get_outcomes(report)["DOTUSDT"] == "not_written"


# --- check mode ---


def test_check_mode_plans_the_wait_for_writes_but_does_not_wait(new_setup: NewSetup) -> None:
    setup, policy = prepare_symbols(new_setup, 24)
    report = setup.enforce(change_every(policy, 1), check=True)
    assert report.values["plan"] == (
        "reads of leverage: 24, check mode writes nothing, rate limits: about 61 s "
        "(a real run: writes: at most 24, rate limits: at most about 121 s)"
    )
    assert report.failure is None
    assert sum(setup.clock.slept) < 61, "only the reads wait"
    assert setup.writes() == []
    assert setup.exchange.refused_by_rate_limit == 0


def test_check_mode_counts_the_read_backs_of_blocked_symbols(new_setup: NewSetup) -> None:
    """9 of 15 symbols are blocked. Their read backs do not fit into the rate limit of the reads."""
    results = {}
    for check in (True, False):
        setup, policy = prepare_symbols(new_setup, 15, max_wait=0)
        for number in range(9):
            setup.account.open_position(f"COIN{number}USDT", "LONG", "1")
        results[check] = setup.enforce(change_every(policy, 1), on_blocked="warn", check=check)
    assert get_outcomes(results[True]) == get_outcomes(results[False])
    assert list(get_outcomes(results[True]).values()).count("unknown") == 4
    assert "stopped" not in {row.get("cause") for row in results[False].values["results"]}


def test_failure_lists_symbols_with_the_same_reason_together(three_symbols: ClientSetup) -> None:
    three_symbols.exchange.add_fault(READ, FAULTS["403-html"], times=None)
    report = three_symbols.enforce(CURRENT)
    assert three_symbols.sent == [POSITIONS] + [READ] * 3
    assert str(report.failure).startswith(
        "3 of 3 symbols do not have the desired leverage. "
        "BTCUSDT, ETHUSDT, SOLUSDT: the current leverage is not known. A server in front of the API refused GET "
    )
