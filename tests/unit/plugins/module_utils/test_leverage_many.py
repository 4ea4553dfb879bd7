# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many symbols: all held against the limits first, then at the exchange's own pace, each symbol with its own end."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import POSITIONS as POSITIONS_ENDPOINT
from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import WRITE_LEVERAGE
from sandbox import FAULTS

from .client_setup import INSTRUMENTS, ORDERS, POSITIONS, READ, WRITE, ClientSetup, Fault, Quirks, row

NewSetup = Callable[..., ClientSetup]

SIX = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "ADAUSDT", "DOGEUSDT", "DOTUSDT"]
HELD = {"BTCUSDT": 10, "ETHUSDT": 20, "SOLUSDT": 10}


@pytest.fixture
def setup(new_setup: NewSetup) -> ClientSetup:
    return new_setup(current=HELD)


def outcomes(report: Any) -> dict[str, str]:
    return {row["symbol"]: row["outcome"] for row in report.result["results"]}


def written(setup: ClientSetup) -> list[tuple[str, int]]:
    return [(body["symbol"], body["leverage"]) for body in setup.writes()]


def test_nothing_to_do_costs_a_read_each(setup: ClientSetup) -> None:
    report = setup.enforce(HELD)
    assert setup.sent == [READ] * 3
    assert report.failure is None
    assert set(outcomes(report).values()) == {"unchanged"}
    assert report.result["plan"] == "reads of leverage: 3, writes: at most 3, rate limits: at most about 0 s"


def test_a_change_costs_the_limits_once_and_a_write_each(setup: ClientSetup) -> None:
    report = setup.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 10})
    assert sorted(map(str, setup.sent)) == sorted([READ] * 3 + [INSTRUMENTS] + [WRITE] * 2)
    assert report.failure is None
    assert setup.current == {"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 10}
    assert report.result["diff"] == {
        "before": {"BTCUSDT": 10, "ETHUSDT": 20},
        "after": {"BTCUSDT": 11, "ETHUSDT": 21},
    }
    assert [row["symbol"] for row in report.result["results"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


def test_limits_are_read_before_the_first_write(setup: ClientSetup) -> None:
    setup.enforce({"BTCUSDT": 11, "ETHUSDT": 21})
    assert setup.sent.index(INSTRUMENTS) < setup.sent.index(WRITE)


def test_what_lowers_goes_first(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(unset_leverage="404"), current=HELD)
    setup.enforce({"ADAUSDT": 3, "BTCUSDT": 11, "ETHUSDT": 5, "SOLUSDT": 9})
    assert written(setup) == [("ETHUSDT", 5), ("SOLUSDT", 9), ("ADAUSDT", 3), ("BTCUSDT", 11)]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("desired", "reason"),
    [
        (
            {"XRPUSDT": 12},
            "a leverage of 12 is not allowed: the exchange accepts 5 to 75 in steps of 5",
        ),
        (
            {"SOLUSDT": 21},
            "a leverage of 21 is not allowed: the exchange accepts 1 to 20 in steps of 1",
        ),
    ],
)
def test_an_impossible_desired_leverage_leaves_all_unwritten(
    setup: ClientSetup, desired: dict[str, int], reason: str, check: bool
) -> None:
    report = setup.enforce({"BTCUSDT": 11, "ETHUSDT": 20, **desired}, check=check)
    (symbol,) = desired
    assert setup.sent == [READ] * 3 + [INSTRUMENTS]
    assert setup.current == HELD
    assert report.failure == (
        f"2 of 3 symbols do not have the desired leverage. "
        f"BTCUSDT: not written: nothing is written while one desired leverage "
        f"is impossible ({symbol}); {symbol}: {reason}"
    )
    assert outcomes(report) == {"BTCUSDT": "refused", "ETHUSDT": "unchanged", symbol: "refused"}
    assert row(report)["leverage"] == 10
    assert report.result["changed"] is False


def test_every_impossible_desired_leverage_is_named(setup: ClientSetup) -> None:
    report = setup.enforce({"SOLUSDT": 21, "BTCUSDT": 11, "ETHUSDT": 51, "XRPUSDT": 10})
    assert setup.writes() == []
    assert (
        row(report)["reason"]
        == "not written: nothing is written while one desired leverage is impossible (SOLUSDT, ETHUSDT)"
    )
    for symbol, leverage in {"SOLUSDT": 10, "ETHUSDT": 20}.items():
        assert row(report, symbol)["leverage"] == row(report, symbol)["previous_leverage"] == leverage
        assert row(report, symbol)["outcome"] == "refused"
        assert row(report, symbol)["reason"].startswith("a leverage of ")
        assert row(report, symbol)["blockers"] == []


def test_an_unlisted_symbol_leaves_all_unwritten(setup: ClientSetup) -> None:
    report = setup.enforce({"BTCUSDT": 11, "ETHUSTD": 20})
    assert WRITE not in setup.sent
    assert "ETHUSTD: EXCHANGE_2 does not list this symbol: did you mean ETHUSDT?" in str(report.failure)


def test_limits_that_cannot_be_read_leave_all_unwritten(new_setup: NewSetup) -> None:
    setup = new_setup(current=HELD, retries=1)
    setup.exchange.add_fault(INSTRUMENTS, FAULTS["503"], times=None)
    report = setup.enforce({"BTCUSDT": 11, "ETHUSDT": 21})
    assert setup.sent == [READ, READ, INSTRUMENTS, INSTRUMENTS]
    assert report.failure == (
        "2 of 2 symbols do not have the desired leverage. "
        "BTCUSDT, ETHUSDT: not written: the limits of leverage could not be read: "
        'the exchange answered GET /trade/api/v2/futures/instrument_info with HTTP 503: "Service Unavailable"'
    )


def test_a_maximum_above_the_most_is_kept_by_itself(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 25, "ETHUSDT": 50, "DOTUSDT": 15})
    report = setup.enforce({"BTCUSDT": 30, "ETHUSDT": 30, "DOTUSDT": 30}, enforce="maximum")
    assert report.failure is None
    assert written(setup) == [("ETHUSDT", 30)]


# --- one symbol's failure does not stop the others ---


@pytest.mark.parametrize("fault", ["403", "400-html", "list", "other-symbol"])
def test_a_symbol_that_cannot_be_read_does_not_stop_the_others(setup: ClientSetup, fault: str) -> None:
    setup.exchange.add_fault(READ, FAULTS[fault], times=None, symbol="BTCUSDT")
    report = setup.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 11})
    assert outcomes(report) == {"BTCUSDT": "unknown", "ETHUSDT": "changed", "SOLUSDT": "changed"}
    assert str(report.failure).startswith(
        "1 of 3 symbols do not have the desired leverage. BTCUSDT: the current leverage is not known: "
    )
    assert setup.current == {"BTCUSDT": 10, "ETHUSDT": 21, "SOLUSDT": 11}
    assert row(report)["leverage"] is None


def test_a_blocked_symbol_does_not_stop_the_others(setup: ClientSetup) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "0.5")
    setup.account.open_order("ETHUSDT", "BUY", "0.5", "1000")
    predicted = setup.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 11}, check=True)
    setup.exchange.requests.clear()
    report = setup.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 11})
    assert outcomes(report) == outcomes(predicted)
    assert outcomes(report) == {"BTCUSDT": "blocked", "ETHUSDT": "blocked", "SOLUSDT": "changed"}
    assert report.failure == predicted.failure
    assert str(report.failure).startswith(
        "2 of 3 symbols do not have the desired leverage. BTCUSDT: leverage stays 10 instead of 11: "
    )
    assert "; ETHUSDT: leverage stays 20 instead of 21: blocked by an open order (" in str(report.failure)
    assert report.result["diff"] == predicted.result["diff"]
    assert setup.sent.count(POSITIONS) == 1, "one request for all symbols"
    assert setup.sent.count(ORDERS) == 1, "no older orders are looked for where all is explained"


def test_positions_are_read_one_by_one_where_that_is_asked_for(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(positions_without_symbol="422"), current=HELD)
    for symbol in HELD:
        setup.account.open_position(symbol, "LONG", "0.5")
    report = setup.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 11})
    assert set(outcomes(report).values()) == {"blocked"}
    assert setup.sent.count(POSITIONS) == 4


def test_the_same_reason_is_said_once(setup: ClientSetup) -> None:
    setup.exchange.add_fault(READ, FAULTS["403"], times=None)
    report = setup.enforce(HELD)
    assert setup.sent == [READ] * 3
    assert report.failure == (
        "3 of 3 symbols do not have the desired leverage. "
        "BTCUSDT, ETHUSDT, SOLUSDT: the current leverage is not known: the exchange "
        "refused GET /trade/api/v2/futures/leverage with HTTP 403 (check that this address may use the API, and "
        'api_url): "Forbidden"'
    )


def test_blocked_may_be_only_warned_of(setup: ClientSetup) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "0.5")
    report = setup.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 10}, on_blocked="warn")
    assert report.failure is None
    (warning,) = report.warnings
    assert warning.startswith("BTCUSDT: leverage stays 10 instead of 11: blocked by an open position (LONG 0.5)")
    assert setup.current["ETHUSDT"] == 21


def test_an_unclear_write_does_not_stop_the_others(new_setup: NewSetup) -> None:
    setup = new_setup(current=HELD, retries=1)
    setup.exchange.add_fault(WRITE, FAULTS["503"], times=None, symbol="ETHUSDT")
    report = setup.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert outcomes(report) == {"BTCUSDT": "changed", "ETHUSDT": "unknown", "SOLUSDT": "changed"}
    assert row(report, "ETHUSDT")["leverage"] == 20


def test_an_unclear_write_is_looked_up_over_a_new_connection(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, FAULTS["twice"])
    report = setup.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert report.failure is None
    assert setup.current == {"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9}


# --- what ends the task for all ---


def test_keys_refused_end_it_with_one_request(setup: ClientSetup) -> None:
    setup.account.new_pair()
    report = setup.enforce(HELD)
    assert setup.sent == [READ]
    assert set(outcomes(report).values()) == {"unknown"}
    assert str(report.failure).startswith(
        "3 of 3 symbols do not have the desired leverage. BTCUSDT, ETHUSDT, SOLUSDT: the current leverage is not known"
    )


def test_keys_refused_at_a_write_leave_the_rest_unwritten(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, FAULTS["401"], times=None)
    report = setup.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 11})
    assert written(setup) == [("BTCUSDT", 9)]
    assert setup.sent == [READ] * 3 + [INSTRUMENTS, WRITE]
    assert outcomes(report) == {"BTCUSDT": "refused", "ETHUSDT": "refused", "SOLUSDT": "refused"}
    assert row(report, "SOLUSDT")["leverage"] == 10
    assert row(report, "SOLUSDT")["reason"].startswith("not written: the exchange refused the keys (HTTP 401")


def test_after_three_silent_symbols_the_rest_is_not_asked(new_setup: NewSetup) -> None:
    setup = new_setup(retries=1)
    setup.exchange.list_many(24)
    setup.exchange.add_fault(READ, FAULTS["503"], times=None)
    policy = dict.fromkeys(setup.exchange.instruments, 5)
    report = setup.enforce(policy)
    assert setup.sent == [READ] * 6
    assert set(outcomes(report).values()) == {"unknown"}
    assert len(outcomes(report)) == 24


def test_silence_counts_only_in_a_row(new_setup: NewSetup) -> None:
    setup = new_setup(current=HELD, retries=0)
    names = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "ADAUSDT", "DOGEUSDT", "DOTUSDT"]
    for symbol in ("BTCUSDT", "ETHUSDT", "ADAUSDT", "DOGEUSDT"):
        setup.exchange.add_fault(READ, FAULTS["503"], symbol=symbol)
    report = setup.enforce(dict.fromkeys(names, 10))
    assert setup.sent == [READ] * 6
    assert outcomes(report)["DOTUSDT"] == "unchanged"


def test_what_is_queued_when_it_ends_is_told_as_not_written(new_setup: NewSetup) -> None:
    setup = new_setup(current=HELD, retries=0)
    for symbol in ("ADAUSDT", "DOGEUSDT", "DOTUSDT"):
        setup.exchange.add_fault(READ, FAULTS["503"], symbol=symbol)
    report = setup.enforce({"BTCUSDT": 9, "ADAUSDT": 9, "DOGEUSDT": 9, "DOTUSDT": 9, "ETHUSDT": 9})
    assert setup.writes() == []
    assert outcomes(report) == {
        "BTCUSDT": "refused",
        "ADAUSDT": "unknown",
        "DOGEUSDT": "unknown",
        "DOTUSDT": "unknown",
        "ETHUSDT": "unknown",
    }
    assert row(report)["reason"].startswith("not written: ")


def test_after_three_writes_without_an_answer_the_rest_is_not_written(new_setup: NewSetup) -> None:
    """Reads worked before the exchange fell silent, so a count of reads alone would never stop the task."""
    setup, policy = market(new_setup, 9, retries=1)
    policy = change(policy, 1)
    setup.exchange.add_fault(WRITE, FAULTS["503"], times=None)
    for _read in policy:
        setup.exchange.add_fault(READ, Fault())
    setup.exchange.add_fault(READ, FAULTS["503"], times=None)
    report = setup.enforce(policy)
    assert setup.sent.count(WRITE) == 3
    assert setup.sent.count(READ) == 9 + 3 * 2
    assert list(outcomes(report).values()) == ["unknown"] * 3 + ["refused"] * 6
    *_rows, last = report.result["results"]
    assert last["leverage"] == last["previous_leverage"] == 10
    assert last["reason"].startswith(
        "not written: 3 symbols in a row got no clear answer, so the task stopped (the last "
    )


def test_three_writes_that_stay_unclear_stop_it_although_reads_work(new_setup: NewSetup) -> None:
    setup = new_setup(current=dict.fromkeys(SIX, 10), retries=0)
    setup.exchange.add_fault(WRITE, FAULTS["503"], times=None)
    report = setup.enforce(dict.fromkeys(SIX, 5))
    assert setup.sent.count(WRITE) == 3
    assert list(outcomes(report).values()) == ["unknown"] * 3 + ["refused"] * 3


def test_a_clear_answer_to_a_write_starts_the_count_anew(new_setup: NewSetup) -> None:
    setup = new_setup(current=dict.fromkeys(SIX, 10), retries=0)
    for symbol in ("BTCUSDT", "ETHUSDT", "ADAUSDT", "DOGEUSDT"):
        setup.exchange.add_fault(WRITE, FAULTS["503"], symbol=symbol)
    report = setup.enforce(dict.fromkeys(SIX, 5))
    assert setup.sent.count(WRITE) == 6
    assert outcomes(report)["SOLUSDT"] == outcomes(report)["DOTUSDT"] == "changed"


# --- what nobody expected ---


def failing_at(setup: ClientSetup, name: str, call: int, error: BaseException, after: bool = False) -> None:
    """Let a method of the account's endpoints raise at its n-th call, before or after its request."""
    real = getattr(setup.futures, name)
    calls = itertools.count(1)

    def method(*args: Any) -> Any:
        if next(calls) != call:
            return real(*args)
        if after:
            real(*args)
        raise error

    setattr(setup.futures, name, method)


@pytest.mark.parametrize("after", [False, True])
def test_a_defect_at_a_write_keeps_what_was_done(setup: ClientSetup, after: bool) -> None:
    failing_at(setup, "set_leverage", 2, RuntimeError("can't start new thread"), after)
    report = setup.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert written(setup) == [("BTCUSDT", 9), ("ETHUSDT", 19)][: 2 if after else 1]
    assert outcomes(report) == {"BTCUSDT": "changed", "ETHUSDT": "unknown", "SOLUSDT": "refused"}
    assert report.result["changed"] is True
    assert report.result["diff"] == {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 9}}
    assert row(report, "ETHUSDT")["leverage"] is None
    assert row(report, "ETHUSDT")["previous_leverage"] == 20
    assert row(report, "SOLUSDT")["leverage"] == 10
    assert "a defect of this collection, please report it: RuntimeError at " in str(report.failure)
    assert "thread" not in str(report.failure)


@pytest.mark.parametrize("check", [False, True])
def test_a_defect_at_a_read_leaves_all_unwritten(setup: ClientSetup, check: bool) -> None:
    failing_at(setup, "leverage", 2, KeyError("secret"))
    report = setup.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9}, check=check)
    assert setup.writes() == []
    assert outcomes(report) == {"BTCUSDT": "refused", "ETHUSDT": "unknown", "SOLUSDT": "unknown"}
    assert "secret" not in str(report.failure)


def test_a_defect_at_the_read_back_leaves_the_row_unknown(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, FAULTS["503"])
    failing_at(setup, "leverage", 4, ValueError())
    report = setup.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert outcomes(report) == {"BTCUSDT": "unknown", "ETHUSDT": "refused", "SOLUSDT": "refused"}


@pytest.mark.parametrize("check", [False, True])
def test_a_defect_in_an_explanation_is_a_failure_of_its_own(setup: ClientSetup, check: bool) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "0.5")
    failing_at(setup, "positions", 1, ZeroDivisionError())
    report = setup.enforce({"BTCUSDT": 9, "ETHUSDT": 20, "SOLUSDT": 10}, check=check)
    assert "a defect of this collection, please report it: ZeroDivisionError at " in str(report.failure)
    assert outcomes(report)["ETHUSDT"] == "unchanged"
    assert len(report.result["results"]) == 3


def test_an_interruption_passes_through(setup: ClientSetup) -> None:
    failing_at(setup, "set_leverage", 1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        setup.enforce({"BTCUSDT": 9, "ETHUSDT": 19})


# --- refusals are explained, however the task ends ---


@pytest.mark.parametrize("stop", ["401", "429", "503"])
def test_a_refusal_before_an_early_stop_is_explained(new_setup: NewSetup, stop: str) -> None:
    setup = new_setup(current={**HELD, "ADAUSDT": 10, "DOTUSDT": 10}, retries=0, max_wait=0)
    setup.account.open_position("BTCUSDT", "LONG", "0.5")
    for symbol in ("ETHUSDT", "SOLUSDT", "ADAUSDT", "DOTUSDT"):
        setup.exchange.add_fault(WRITE, FAULTS[stop], times=None, symbol=symbol)
    policy = {"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9, "ADAUSDT": 9, "DOTUSDT": 9}
    report = setup.enforce(policy, on_blocked="warn")
    assert row(report)["outcome"] == "blocked"
    assert row(report)["blockers"][0]["kind"] == "position"
    assert "BTCUSDT" not in str(report.failure), "blocked is warned of, and other symbols fail the task"
    assert outcomes(report)["DOTUSDT"] == "refused"
    if stop == "401":
        assert setup.sent[-1] == WRITE, "nothing signed is asked once the keys are refused"


def test_a_refusal_is_explained_after_the_writes_where_positions_would_have_to_wait(new_setup: NewSetup) -> None:
    setup = new_setup(current=HELD)
    setup.account.open_position("BTCUSDT", "LONG", "0.5")
    for _request in range(20):
        setup.pacer.answered(POSITIONS_ENDPOINT, setup.pacer.take(POSITIONS_ENDPOINT))
    report = setup.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert outcomes(report) == {"BTCUSDT": "blocked", "ETHUSDT": "changed", "SOLUSDT": "changed"}
    assert setup.sent.index(POSITIONS) > len(setup.sent) - 1 - setup.sent[::-1].index(WRITE)


def test_check_mode_that_stops_early_says_what_it_did_not_check(new_setup: NewSetup) -> None:
    names = [f"COIN{number}USDT" for number in range(22)]
    setup = new_setup(current=dict.fromkeys(names, 10))
    for name in names:
        setup.exchange.list_instrument(name)
    for _read in range(20):
        setup.exchange.add_fault(READ, Fault())
    setup.exchange.add_fault(READ, FAULTS["401"], times=None)
    report = setup.enforce(dict.fromkeys(names, 9), check=True)
    assert POSITIONS not in setup.sent
    (warning,) = report.warnings
    assert "positions and orders were not read, so a real run may find the change blocked: the exchange " in warning


# --- the pace ---


def market(new_setup: NewSetup, symbols: int, *args: Any, **options: Any) -> tuple[ClientSetup, dict[str, int]]:
    """A setup with so many symbols at 10, and the desired leverage for each to stay there."""
    policy = {f"COIN{number}USDT": 10 for number in range(symbols)}
    setup = new_setup(*args, latency=0.05, current=policy, **options)
    for symbol in policy:
        setup.exchange.list_instrument(symbol)
    return setup, policy


def change(policy: dict[str, int], every: int) -> dict[str, int]:
    """The policy with every so many of them another one."""
    return {symbol: 5 if number % every == 0 else desired for number, (symbol, desired) in enumerate(policy.items())}


@pytest.mark.parametrize("every", [2, 1])
def test_24_symbols_take_no_longer_than_the_limits_demand(new_setup: NewSetup, every: int) -> None:
    setup, policy = market(new_setup, 24)
    started = setup.clock()
    report = setup.enforce(change(policy, every))
    changes = 24 // every
    assert report.failure is None
    assert setup.current == change(policy, every)
    assert setup.sent.count(READ) == 24
    assert setup.sent.count(WRITE) == changes
    assert setup.sent.count(INSTRUMENTS) == 1
    assert setup.exchange.refused_by_rate_limit == 0
    assert setup.clock() - started <= (66 if every == 2 else 126)


def test_writes_do_not_wait_for_all_reads(new_setup: NewSetup) -> None:
    setup, policy = market(new_setup, 24)
    setup.enforce(change(policy, 2))
    last_read = len(setup.sent) - 1 - setup.sent[::-1].index(READ)
    assert setup.sent[:last_read].count(WRITE) == 10


def test_an_impossible_desired_leverage_that_is_not_read_yet_leaves_all_unwritten(new_setup: NewSetup) -> None:
    setup, policy = market(new_setup, 24)
    *_read, unread, last = policy
    report = setup.enforce({**change(policy, 2), last: 21})
    assert setup.sent == [READ] * 20 + [INSTRUMENTS]
    assert row(report, last)["outcome"] == "refused"
    assert row(report, last)["leverage"] is None
    assert row(report, last)["reason"].startswith("a leverage of 21 is not allowed: ")
    why = f"nothing is written while one desired leverage is impossible ({last})"
    assert row(report, unread)["outcome"] == "unknown"
    assert row(report, unread)["reason"] == f"the current leverage is not known: {why}"
    assert row(report, "COIN0USDT")["reason"] == f"not written: {why}"
    assert row(report, "COIN1USDT")["outcome"] == "unchanged"


def test_the_plan_says_how_long_it_may_take(new_setup: NewSetup) -> None:
    setup, policy = market(new_setup, 24)
    report = setup.enforce(change(policy, 2))
    assert report.result["plan"] == "reads of leverage: 24, writes: at most 24, rate limits: at most about 121 s"


def test_check_mode_plans_the_wait_for_writes_and_does_not_wait(new_setup: NewSetup) -> None:
    setup, policy = market(new_setup, 24)
    report = setup.enforce(change(policy, 1), check=True)
    assert report.result["plan"] == "reads of leverage: 24, writes: at most 24, rate limits: at most about 121 s"
    assert report.failure is None
    assert sum(setup.clock.slept) < 61, "only the reads wait"
    assert setup.writes() == []
    assert setup.exchange.refused_by_rate_limit == 0


@pytest.mark.parametrize("share", [0.5, 0.25, 0.01])
def test_a_share_leaves_the_rest_to_others(new_setup: NewSetup, share: float) -> None:
    limits = {READ: int(20 * share) or 1, WRITE: int(10 * share) or 1}
    setup, policy = market(new_setup, 12, share=share, max_wait=1e6, limits=limits)
    assert setup.enforce(change(policy, 3)).failure is None
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
def test_limits_of_another_kind_are_survived_by_waiting(new_setup: NewSetup, quirks: Quirks) -> None:
    setup, policy = market(new_setup, 24, quirks)
    report = setup.enforce(change(policy, 2))
    assert report.failure is None
    assert setup.current == change(policy, 2)
    assert setup.exchange.refused_by_rate_limit <= 6
    assert setup.pacer.waited <= 300


@pytest.mark.parametrize("scope", ["key", "address"])
def test_a_bot_on_another_machine_is_survived_by_waiting(new_setup: NewSetup, scope: Any) -> None:
    setup, policy = market(new_setup, 15, Quirks(limit_scope=scope))
    bot = new_setup(beside=setup)
    for _request in range(20):
        bot.futures.leverage("BTCUSDT")
    report = setup.enforce(change(policy, 3))
    assert report.failure is None
    assert setup.current == change(policy, 3)
    assert setup.exchange.refused_by_rate_limit == 1


def test_too_little_max_wait_is_said_before_anything_is_sent(new_setup: NewSetup) -> None:
    setup, policy = market(new_setup, 24, max_wait=30)
    report = setup.enforce(change(policy, 2))
    assert setup.sent == []
    assert setup.clock.slept == []
    assert "(20 requests in 60 s for this task) needs a wait of about 61 s for 24 more" in str(report.failure)
    assert "rate_limit_timeout leaves 30 s of 30 s: raise it, or run again later" in str(report.failure)


def test_too_little_max_wait_for_the_writes_is_said_before_the_first(new_setup: NewSetup) -> None:
    setup, policy = market(new_setup, 14, max_wait=30)
    report = setup.enforce(change(policy, 1))
    assert setup.sent == [READ] * 14, "what is in force is read, since reads need no wait"
    assert setup.clock.slept == []
    assert "not written: the rate limit of POST" in str(report.failure)
    assert "needs a wait of about 61 s for 11 more" in str(report.failure)
    assert set(outcomes(report).values()) == {"refused"}
    assert {row["leverage"] for row in report.result["results"]} == {10}
    assert setup.current == policy


@pytest.mark.parametrize(
    ("symbols", "every", "options"),
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
def test_check_mode_predicts_what_the_write_budget_allows(
    new_setup: NewSetup, symbols: int, every: int, options: dict[str, Any], spent: int
) -> None:
    """The same state and budgets, once in check mode and once for real: the same outcomes, and the same failure."""
    reports = {}
    for check in (True, False):
        setup, policy = market(new_setup, symbols, **options)
        for _request in range(spent):
            setup.pacer.answered(WRITE_LEVERAGE, setup.pacer.take(WRITE_LEVERAGE))
        reports[check] = setup.enforce(change(policy, every), check=check)
        assert setup.exchange.refused_by_rate_limit == 0
    assert outcomes(reports[True]) == outcomes(reports[False])
    assert reports[True].failure == reports[False].failure
    assert reports[True].result["plan"] == reports[False].result["plan"]
    assert reports[True].result["diff"] == reports[False].result["diff"]


def test_two_tasks_of_one_machine_share_the_budget(new_setup: NewSetup) -> None:
    setup, policy = market(new_setup, 12, machine="this")
    other = new_setup(beside=setup, machine="this")
    assert setup.enforce(policy).failure is None
    assert other.enforce(change(policy, 1)).failure is None
    assert setup.exchange.refused_by_rate_limit == 0
    assert setup.exchange.count(READ) == 24
