# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One symbol, then several: what is returned is what the exchange holds."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import POSITIONS as POSITIONS_ENDPOINT
from ansible_collections.tradeops.coinswitch.plugins.module_utils._futures import READ_LEVERAGE, WRITE_LEVERAGE
from sandbox import FAULTS

from .client_setup import (
    API_KEY,
    INSTRUMENTS,
    ORDERS,
    POSITIONS,
    READ,
    WRITE,
    ClientSetup,
    Fault,
    Quirks,
    find_row,
)

NewSetup = Callable[..., ClientSetup]

DAY = 24 * 60 * 60
LOOKED_AT = [INSTRUMENTS, POSITIONS, ORDERS, *[ORDERS] * 4]


def test_unchanged_costs_one_request(setup: ClientSetup) -> None:
    report = setup.enforce({"BTCUSDT": 10})
    assert setup.sent == [READ]
    assert report.failure is None
    assert report.warnings == []
    assert report.result == {
        "changed": False,
        "diff": {"before": {}, "after": {}},
        "results": [
            {
                "symbol": "BTCUSDT",
                "exchange": "EXCHANGE_2",
                "leverage": 10,
                "previous_leverage": 10,
                "changed": False,
                "outcome": "unchanged",
            }
        ],
        "plan": "reads of leverage: 1, writes: at most 1, rate limits: at most about 0 s",
        "symbol": "BTCUSDT",
        "exchange": "EXCHANGE_2",
        "leverage": 10,
        "previous_leverage": 10,
        "outcome": "unchanged",
    }


def test_changed_costs_two(setup: ClientSetup) -> None:
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE]
    assert setup.writes() == [{"symbol": "BTCUSDT", "exchange": "EXCHANGE_2", "leverage": 13}]
    assert setup.current == {"BTCUSDT": 13}
    assert report.failure is None
    assert report.result["diff"] == {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 13}}
    assert report.result["changed"] is True
    assert find_row(report) == {
        "symbol": "BTCUSDT",
        "exchange": "EXCHANGE_2",
        "leverage": 13,
        "previous_leverage": 10,
        "changed": True,
        "outcome": "changed",
    }
    assert report.result["leverage"] == 13
    assert report.result["previous_leverage"] == 10
    assert report.result["outcome"] == "changed"


def test_several_have_no_row_at_the_top(setup: ClientSetup) -> None:
    report = setup.enforce({"BTCUSDT": 10}, single=False)
    assert set(report.result) == {"changed", "diff", "results", "plan"}


def test_check_mode_reads_all_that_could_refuse(setup: ClientSetup) -> None:
    report = setup.enforce({"BTCUSDT": 13}, check=True)
    assert setup.sent == [READ, *LOOKED_AT]
    assert report.result["plan"] == "reads of leverage: 1, writes: at most 1, rate limits: at most about 0 s"
    assert setup.current == {"BTCUSDT": 10}
    assert report.failure is None
    real = setup.enforce({"BTCUSDT": 13})
    assert report._replace(result={**report.result, "plan": ""}) == real._replace(result={**real.result, "plan": ""})


def test_check_mode_of_the_unchanged_reads_it_alone(setup: ClientSetup) -> None:
    assert setup.enforce({"BTCUSDT": 10}, check=True).result["changed"] is False
    assert setup.sent == [READ]


# --- enforce ---


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize(
    ("current", "desired", "leverage"), [(10, 13, 10), (10, 10, 10), (13, 10, 10), (60, 30, 30), (10, 1000, 10)]
)
def test_a_maximum_only_lowers(new_setup: NewSetup, current: int, desired: int, leverage: int, check: bool) -> None:
    setup = new_setup(current={"BTCUSDT": current})
    setup.exchange.list_instrument("BTCUSDT", max_leverage="100")
    report = setup.enforce({"BTCUSDT": desired}, enforce="maximum", check=check)
    assert report.failure is None
    assert report.result["leverage"] == leverage
    assert report.result["changed"] is (leverage != current)
    assert setup.current == {"BTCUSDT": current if check else leverage}


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("reading", ["400", "404", "422", "message"])
def test_a_maximum_of_what_was_never_set_is_not_known(new_setup: NewSetup, reading: Any, check: bool) -> None:
    setup = new_setup(Quirks(unset_leverage=reading))
    report = setup.enforce({"BTCUSDT": 5}, enforce="maximum", check=check)
    assert report.result["outcome"] == "unknown"
    assert report.result["leverage"] is None
    assert report.failure
    start = (
        "BTCUSDT: whether the current leverage is above 5 is not known, since it was never configured (the exchange "
    )
    assert report.failure.startswith(start)
    assert report.failure.endswith("): set it once with enforce=exact")
    assert find_row(report)["blockers"] == []
    assert setup.sent == [READ, INSTRUMENTS]


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("reading", ["400", "404", "422", "message"])
def test_a_maximum_of_an_unknown_symbol_says_what_was_meant(new_setup: NewSetup, reading: Any, check: bool) -> None:
    setup = new_setup(Quirks(unknown_symbol=reading))
    report = setup.enforce({"BTCUSTD": 5}, enforce="maximum", check=check)
    assert report.failure == "BTCUSTD: EXCHANGE_2 does not list this symbol: did you mean BTCUSDT?"
    assert report.result["outcome"] == "refused"
    assert setup.sent == [READ, INSTRUMENTS]


def test_a_maximum_without_the_list_of_symbols_says_so(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(unset_leverage="404"))
    setup.exchange.add_fault(INSTRUMENTS, FAULTS["403"], times=None)
    report = setup.enforce({"BTCUSDT": 5, "ETHUSDT": 5}, enforce="maximum")
    assert find_row(report)["outcome"] == find_row(report, "ETHUSDT")["outcome"] == "unknown"
    assert "; the list of symbols could not be read (the exchange refused GET" in find_row(report)["reason"]


# --- a refused write is explained from state ---

Prepares = Callable[[ClientSetup], object]


def position(setup: ClientSetup) -> None:
    setup.account.open_position("BTCUSDT", "LONG", "0.010")


def order(age: float) -> Prepares:
    """Prepares an open order of an age in seconds."""

    def lay_it(setup: ClientSetup) -> None:
        setup.account.open_order("BTCUSDT", "BUY", "0.5", "1000", created_at=int((setup.clock() - age) * 1000))

    return lay_it


def position_and_seven_orders(setup: ClientSetup) -> None:
    position(setup)
    for age in range(7):
        order(age)(setup)


def nothing(setup: ClientSetup) -> None:
    """Where the desired leverage itself is the blocker."""


ID = "[-0-9a-f]{36}"
ORDER = rf"blocked by an open order \({ID}\); cancel the orders first"
BOTH = (
    rf"blocked by an open position \(LONG 0\.010\) and 7 open orders \(({ID}, ){{4}}{ID} and 2 more\); "
    "close the position and cancel the orders first"
)
BLOCKERS: dict[str, tuple[str, int, Prepares, str, str]] = {
    "position": (
        "BTCUSDT",
        13,
        position,
        "blocked",
        r"blocked by an open position \(LONG 0\.010\); close the position first",
    ),
    "order": ("BTCUSDT", 13, order(60), "blocked", ORDER),
    "order of 9 days": ("BTCUSDT", 13, order(9 * DAY), "blocked", ORDER),
    "order of 34 days": ("BTCUSDT", 13, order(34 * DAY), "blocked", ORDER),
    "both": (
        "BTCUSDT",
        13,
        position_and_seven_orders,
        "blocked",
        BOTH,
    ),
    "above the most": (
        "BTCUSDT",
        26,
        nothing,
        "refused",
        "a leverage of 26 is not allowed: the exchange accepts 1 to 25 in steps of 1",
    ),
    "off the step": (
        "XRPUSDT",
        12,
        nothing,
        "refused",
        "a leverage of 12 is not allowed: the exchange accepts 5 to 75 in steps of 5",
    ),
    "below the least": ("XRPUSDT", 1, nothing, "refused", "a leverage of 1 is not allowed: .* 5 to 75 .*"),
    "impossible and blocked": ("BTCUSDT", 26, position, "refused", "a leverage of 26 is not allowed: .*"),
}


@pytest.mark.parametrize("answer", ["400", "422", "200"])
@pytest.mark.parametrize(("symbol", "desired", "lay_it", "outcome", "reason"), BLOCKERS.values(), ids=BLOCKERS)
def test_a_refusal_is_explained_and_predicted_in_the_same_words(
    new_setup: NewSetup, symbol: str, desired: int, lay_it: Prepares, outcome: str, reason: str, answer: Any
) -> None:
    setup = new_setup(Quirks(blocked_answer=answer, limit_answer=answer), current={"BTCUSDT": 10, "XRPUSDT": 10})
    lay_it(setup)
    predicted = setup.enforce({symbol: desired}, check=True)
    assert WRITE not in setup.sent
    setup.exchange.requests.clear()
    report = setup.enforce({symbol: desired})
    assert setup.sent[:3] == [READ, WRITE, READ]
    assert setup.current == {"BTCUSDT": 10, "XRPUSDT": 10}
    assert re.fullmatch(f"{symbol}: leverage stays 10 instead of {desired}: {reason}", report.failure or "")
    assert report.failure == predicted.failure
    returned = find_row(report, symbol)
    assert "leverage" in returned.pop("exchange_message").lower()
    assert returned == find_row(predicted, symbol)
    assert returned["outcome"] == outcome
    assert returned["leverage"] == returned["previous_leverage"] == 10
    assert report.result["changed"] is predicted.result["changed"] is False
    assert report.result["diff"] == predicted.result["diff"] == {"before": {}, "after": {}}


def test_blockers_are_rows_that_identify_them(setup: ClientSetup) -> None:
    position_id = setup.account.open_position("BTCUSDT", "SHORT", "2")
    order_id = setup.account.open_order("BTCUSDT", "SELL", "0.5", "1000")
    assert find_row(setup.enforce({"BTCUSDT": 13}))["blockers"] == [
        {"kind": "position", "position_id": position_id, "side": "SHORT", "size": "2"},
        {"kind": "order", "order_id": order_id, "side": "SELL", "quantity": "0.5"},
    ]


def test_an_order_older_than_five_weeks_is_not_found(setup: ClientSetup) -> None:
    order(36 * DAY)(setup)
    assert setup.enforce({"BTCUSDT": 13}, check=True).failure is None
    report = setup.enforce({"BTCUSDT": 13})
    assert report.result["outcome"] == "refused"
    assert report.failure == (
        "BTCUSDT: leverage stays 10 instead of 13: the exchange refused POST /trade/api/v2/futures/leverage with "
        'HTTP 400: "Leverage cannot be changed with open positions or orders"'
    )
    assert find_row(report)["blockers"] == []
    assert find_row(report)["exchange_message"] == "Leverage cannot be changed with open positions or orders"


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("created_at", [1_700_000, "2023-11-14T22:13:20Z", 9_999_999_999_999, None])
def test_an_order_blocks_whatever_its_time(setup: ClientSetup, created_at: Any, check: bool) -> None:
    rows = [{"symbol": "BTCUSDT", "order_id": "a", "side": "BUY", "quantity": "1", "created_at": created_at}]
    setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": rows}}), times=None)
    setup.exchange.add_fault(WRITE, FAULTS["400"], times=None)
    report = setup.enforce({"BTCUSDT": 13}, check=check)
    assert report.result["outcome"] == "blocked"
    assert setup.sent.count(ORDERS) == 1, "a blocker is found, so no older order is asked for"


def test_blocked_may_be_only_warned_of(setup: ClientSetup) -> None:
    position(setup)
    for check in (False, True):
        report = setup.enforce({"BTCUSDT": 13}, on_blocked="warn", check=check)
        assert report.failure is None
        (warning,) = report.warnings
        assert warning == f"BTCUSDT: {find_row(report)['reason']}"
        assert "blocked by an open position (LONG 0.010); close the position first" in warning
        assert report.result["outcome"] == "blocked"


def test_only_what_is_blocked_is_tolerated(setup: ClientSetup) -> None:
    report = setup.enforce({"BTCUSDT": 26}, on_blocked="warn")
    assert report.failure
    assert report.warnings == []


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("closed", [INSTRUMENTS, POSITIONS, ORDERS])
def test_what_is_closed_to_us_is_warned_of(setup: ClientSetup, closed: str, check: bool) -> None:
    position(setup)
    order(60)(setup)
    setup.exchange.add_fault(closed, FAULTS["403"], times=None)
    report = setup.enforce({"BTCUSDT": 13}, check=check)
    (warning,) = report.warnings
    what = {INSTRUMENTS: "the limits", POSITIONS: "open positions", ORDERS: "open orders"}[closed]
    assert warning.startswith(f"BTCUSDT: {what} could not be read, so it is not known whether they block a change: ")
    assert "HTTP 403" in warning
    assert report.result["outcome"] == "blocked"
    kinds = [blocker["kind"] for blocker in find_row(report)["blockers"]]
    assert kinds == {INSTRUMENTS: ["position", "order"], POSITIONS: ["order"], ORDERS: ["position"]}[closed]


def test_check_mode_warns_of_what_it_could_not_predict(setup: ClientSetup) -> None:
    for endpoint in (INSTRUMENTS, POSITIONS, ORDERS):
        setup.exchange.add_fault(endpoint, FAULTS["403"], times=None)
    report = setup.enforce({"BTCUSDT": 13}, check=True)
    assert len(report.warnings) == 3
    assert report.failure is None
    assert report.result["outcome"] == "changed"


def test_an_exchange_that_clamps_is_reported_as(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(limit_answer="clamp"), current={"BTCUSDT": 10})
    report = setup.enforce({"BTCUSDT": 30})
    assert setup.current == {"BTCUSDT": 25}
    assert report.failure == (
        "BTCUSDT: leverage is now 25 instead of 30 (it was 10): a leverage of 30 is not allowed: "
        "the exchange accepts 1 to 25 in steps of 1"
    )
    assert report.result["diff"] == {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 25}}
    assert report.result["leverage"] == 25
    assert report.result["changed"] is True


# --- symbols that the exchange does not know, or knows nothing of ---


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("reading", ["400", "404", "422", "message"])
def test_a_symbol_never_set_is_set(new_setup: NewSetup, reading: Any, check: bool) -> None:
    setup = new_setup(Quirks(unset_leverage=reading))
    report = setup.enforce({"BTCUSDT": 10}, check=check)
    assert report.failure is None
    assert setup.current == ({} if check else {"BTCUSDT": 10})
    assert report.result["diff"] == {"before": {"BTCUSDT": None}, "after": {"BTCUSDT": 10}}
    assert report.result["previous_leverage"] is None
    assert setup.sent == ([READ, *LOOKED_AT] if check else [READ, INSTRUMENTS, WRITE])


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("reading", ["400", "404", "422", "message"])
def test_an_unknown_symbol_is_named_with_what_was_meant(new_setup: NewSetup, reading: Any, check: bool) -> None:
    setup = new_setup(Quirks(unknown_symbol=reading))
    report = setup.enforce({"BTCUSTD": 10}, check=check)
    assert report.failure == "BTCUSTD: EXCHANGE_2 does not list this symbol: did you mean BTCUSDT?"
    assert report.result["outcome"] == "refused"
    assert setup.sent == [READ, INSTRUMENTS]


def test_never_set_and_blocked_stays_so(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(unset_leverage="404"))
    position(setup)
    report = setup.enforce({"BTCUSDT": 13})
    assert report.result["outcome"] == "blocked"
    assert report.result["leverage"] is None
    assert str(report.failure).startswith("BTCUSDT: leverage stays not configured instead of 13: blocked by ")


# --- every reading of what is not known about the exchange ---


NONE = type(None)


def values(kind: Any) -> tuple[Any, ...]:
    """The values of a type that has few."""
    if get_origin(kind) is Literal:
        return get_args(kind)
    return (False, True) if kind is bool else (None,) if kind is NONE else sum(map(values, get_args(kind)), ())


READINGS = [(name, value) for name, kind in get_type_hints(Quirks).items() for value in values(kind)]


@pytest.mark.parametrize(("question", "reading"), READINGS)
def test_every_reading_of_what_is_not_known_ends_with_the_truth(
    new_setup: NewSetup, question: str, reading: Any
) -> None:
    setup = new_setup(Quirks(**{question: reading}), current={"BTCUSDT": 20, "ETHUSDT": 5, "DOGEUSDT": 4})
    setup.account.open_position("DOGEUSDT", "LONG", "10")
    setup.account.open_order("ETHUSDT", "BUY", "1", "3000")
    policy = {"BTCUSDT": 10, "ETHUSDT": 5, "SOLUSDT": 7, "DOGEUSDT": 3}
    ends = {"BTCUSDT": "changed", "ETHUSDT": "unchanged", "SOLUSDT": "changed", "DOGEUSDT": "blocked"}
    predicted = setup.enforce(policy, check=True)
    assert setup.current == {"BTCUSDT": 20, "ETHUSDT": 5, "DOGEUSDT": 4}
    report = setup.enforce(policy)
    assert report.failure == predicted.failure
    assert report.result["diff"] == predicted.result["diff"]
    for symbol, outcome in ends.items():
        assert find_row(report, symbol)["outcome"] == find_row(predicted, symbol)["outcome"] == outcome
        assert find_row(report, symbol)["leverage"] == setup.account.leverage_in_force(symbol)
        assert find_row(report, symbol)["leverage"].__class__ is int


# --- an unclear write is read back ---

DONE = [f"{status}-done" for status in (500, 502, 503, 504)]
DONE += ["drop-after", "cut-body", "empty", "html", "garbage", "nested", "nan", "endless"]
NOT_CONFIRMED = [f"{status}-done" for status in (400, 403, 404)]
NOT_CONFIRMED += ["null", "list", "no-data", "other-leverage", "other-symbol", "data-null"]
UNDONE = ["drop-before", "500", "502-html", "503-empty", "504"]


@pytest.mark.parametrize("fault", [*DONE, *NOT_CONFIRMED])
def test_a_write_that_was_done_without_saying_so_is_found(setup: ClientSetup, fault: str) -> None:
    setup.exchange.add_fault(WRITE, FAULTS[fault])
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ]
    assert report.failure is None
    assert report.result["outcome"] == "changed"
    assert report.result["leverage"] == setup.current["BTCUSDT"] == 13
    assert report.result["diff"] == {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 13}}
    assert "reason" not in find_row(report)
    assert setup.clock.slept == []
    first, write, back = setup.exchange.connections
    assert first == write != back, "what the old connection may still bring answers the write"


@pytest.mark.parametrize("fault", [*UNDONE, "408"])
def test_a_write_that_was_not_done_is_tried_again(setup: ClientSetup, fault: str) -> None:
    setup.exchange.add_fault(WRITE, FAULTS.get(fault) or Fault(status=408))
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ, WRITE]
    assert report.failure is None
    assert report.result["outcome"] == "changed"
    assert setup.current == {"BTCUSDT": 13}
    assert len(setup.clock.slept) == 1


@pytest.mark.parametrize("retries", [0, 2])
def test_a_write_that_stays_unclear_is_not_known(new_setup: NewSetup, retries: int) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, retries=retries)
    setup.exchange.add_fault(WRITE, FAULTS["503"], times=None)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, *[WRITE, READ] * (retries + 1)]
    assert report.failure == (
        "BTCUSDT: the outcome of the write is not known: the exchange answered POST /trade/api/v2/futures/leverage "
        'with HTTP 503: "Service Unavailable"; the leverage was 10 when read back, but the write may yet take effect: '
        "read the leverage before you trade"
    )
    assert report.result["outcome"] == "unknown"
    assert report.result["leverage"] == 10
    assert report.result["changed"] is False
    assert len(setup.clock.slept) == retries


@pytest.mark.parametrize(("fault", "status"), [("500", "HTTP 500"), ("401", "HTTP 401"), ("403", "HTTP 403")])
def test_what_cannot_be_read_back_is_not_known(new_setup: NewSetup, fault: str, status: str) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, retries=1)
    setup.exchange.add_fault(READ, Fault())
    setup.exchange.add_fault(READ, FAULTS[fault], times=None)
    setup.exchange.add_fault(WRITE, FAULTS["drop-after"])
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ, *[READ] * (fault == "500")]
    assert report.result["outcome"] == "unknown"
    assert report.result["leverage"] is None
    assert report.result["previous_leverage"] == 10
    assert report.failure
    assert report.failure.startswith("BTCUSDT: the outcome of the write is not known: the connection broke")
    assert report.failure.endswith("): read the leverage before you trade")
    assert "the current leverage could not be read (the exchange" in report.failure
    assert status in report.failure


def test_a_write_that_lands_while_it_is_waited_for_is_confirmed_by_the_next(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, FAULTS["drop-before"])
    setup.clock.on_sleep = lambda seconds: setup.account.set_leverage("BTCUSDT", 13)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ, WRITE]
    assert report.failure is None
    assert report.result["diff"] == {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 13}}


@pytest.mark.parametrize("body", [{"leverage": 1e300}, {"leverage": "1e99999999999999999999"}, {"leverage": True}, {}])
def test_an_echo_that_cannot_be_read_is_read_back(setup: ClientSetup, body: dict[str, Any]) -> None:
    setup.exchange.add_fault(WRITE, Fault(body={"data": {"symbol": "BTCUSDT", **body}}, worked=True))
    assert setup.enforce({"BTCUSDT": 13}).failure is None
    assert setup.sent == [READ, WRITE, READ]


def test_an_echo_of_an_impossible_number_is_read_back(setup: ClientSetup) -> None:
    text = '{"data": {"symbol": "BTCUSDT", "leverage": 1e99999999999999999999}}'
    setup.exchange.add_fault(WRITE, Fault(body=text, worked=True))
    assert setup.enforce({"BTCUSDT": 13}).failure is None
    assert setup.sent == [READ, WRITE, READ]


def test_a_refused_write_is_not_tried_again(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, FAULTS["redirect"], times=None)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ], "no state explains a redirect"
    assert report.result["outcome"] == "refused"
    assert str(report.failure).startswith("BTCUSDT: leverage stays 10 instead of 13: the exchange refused POST")
    assert "(a redirect, which is never followed with signed headers; check api_url)" in str(report.failure)


# --- what others do meanwhile ---


def meanwhile(work: Callable[[], object]) -> Fault:
    """An answer as usual, upon which somebody else does something."""

    def transform(value: Any) -> Any:
        work()
        return value

    return Fault(transform=transform)


def test_a_position_opened_between_read_and_write_is_found(setup: ClientSetup) -> None:
    setup.exchange.add_fault(READ, meanwhile(lambda: position(setup)))
    report = setup.enforce({"BTCUSDT": 13})
    assert report.result["outcome"] == "blocked"
    assert report.result["leverage"] == setup.current["BTCUSDT"] == 10


def test_what_somebody_else_set_meanwhile_is_reported(setup: ClientSetup) -> None:
    position(setup)
    setup.exchange.add_fault(READ, meanwhile(lambda: setup.account.set_leverage("BTCUSDT", 7)))
    report = setup.enforce({"BTCUSDT": 13})
    assert report.result["leverage"] == setup.current["BTCUSDT"] == 7
    assert report.result["changed"] is False, "it was not we who changed it"
    assert str(report.failure).startswith(
        "BTCUSDT: leverage is now 7 instead of 13 (it was 10): blocked by an open position"
    )


def test_what_came_out_of_an_unclear_write_counts_as_ours(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, retries=0)
    setup.exchange.add_fault(READ, meanwhile(lambda: setup.account.set_leverage("BTCUSDT", 7)))
    setup.exchange.add_fault(WRITE, FAULTS["drop-before"])
    report = setup.enforce({"BTCUSDT": 13})
    assert report.result["outcome"] == "unknown"
    assert report.result["diff"] == {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 7}}


# --- what ends the task at once ---


def test_keys_that_are_no_pair_end_it_with_one_request(new_setup: NewSetup) -> None:
    setup = new_setup(keys=(API_KEY, "11" * 32), current={"BTCUSDT": 10})
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ]
    assert report.result["outcome"] == "unknown"
    assert report.result["leverage"] is None
    assert report.failure == (
        'BTCUSDT: the current leverage is not known: the exchange refused the keys (HTTP 401: "API Key or Signature is '
        'not Correct"): secret_key does not belong to api_key (its public key is another one); take both from the '
        "same pair"
    )


@pytest.mark.parametrize(("fault", "returned"), [("clock-ahead", "300 s behind"), ("clock-behind", "300 s ahead of")])
def test_a_clock_that_is_off_is_measured(setup: ClientSetup, fault: str, returned: str) -> None:
    setup.exchange.add_fault("*", FAULTS[fault], times=None)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ]
    assert f"clock of this machine is {returned} the exchange's, and more than 60 s is refused" in str(report.failure)


def test_a_pair_that_was_replaced_is_the_last_explanation(setup: ClientSetup) -> None:
    setup.account.new_pair()
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ]
    assert "the keys are a pair and the clock is right, so the pair may have been replaced" in str(report.failure)


def test_keys_refused_in_the_middle_are_not_known_to_have_written(setup: ClientSetup) -> None:
    setup.exchange.add_fault(READ, meanwhile(setup.account.new_pair))
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE], "keys that are refused for a write are refused for a read"
    assert report.result["leverage"] == setup.current["BTCUSDT"] == 10
    assert report.result["outcome"] == "refused"
    assert str(report.failure).startswith("BTCUSDT: not written: the exchange refused the keys (HTTP 401")


def test_keys_refused_after_an_unclear_write_leave_it_unknown(setup: ClientSetup) -> None:
    setup.exchange.add_fault(WRITE, FAULTS["503"])
    setup.exchange.add_fault(WRITE, FAULTS["401"])
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ, WRITE]
    assert report.result["outcome"] == "unknown"
    assert report.result["leverage"] == 10
    assert "the write may yet take effect" in str(report.failure)


def test_nobody_there_ends_it_after_the_retries(new_setup: NewSetup, unused_url: str) -> None:
    setup = new_setup(url=unused_url, retries=2)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.client.requests == 0, "nothing was sent"
    assert len(setup.clock.slept) == 2
    assert report.result["outcome"] == "unknown"
    assert f"no connection to {unused_url} (" in str(report.failure)
    assert "check api_url and the network" in str(report.failure)


# --- waiting for the rate limit ---


def spend(setup: ClientSetup, endpoint: Any, count: int) -> None:
    """Spend a budget, as another task on this machine would."""
    for _request in range(count):
        setup.pacer.take(endpoint)


def test_too_little_max_wait_is_said_before_anything_is_sent(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, max_wait=10)
    spend(setup, READ_LEVERAGE, 20)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == []
    assert setup.clock.slept == []
    assert report.failure == (
        "BTCUSDT: the current leverage is not known: the rate limit of GET /trade/api/v2/futures/leverage "
        "(20 requests in 60 s for this task) needs a wait of about 61 s for 1 more, and rate_limit_timeout leaves "
        "10 s of 10 s: raise it, or run again later"
    )


def test_too_little_max_wait_for_the_write_leaves_it_unwritten(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, max_wait=10)
    spend(setup, WRITE_LEVERAGE, 10)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ]
    assert report.result["outcome"] == "refused"
    assert report.result["leverage"] == 10
    assert str(report.failure).startswith("BTCUSDT: not written: the rate limit of POST")


def test_a_budget_that_another_task_spends_at_the_last_moment_leaves_it_unwritten(
    new_setup: NewSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, max_wait=10, machine="this")
    expect = setup.pacer.expect

    def expect_and_be_overtaken(ahead: Any) -> None:
        expect(ahead)
        if ahead.get(WRITE_LEVERAGE):
            spend(new_setup(same_account_as=setup, machine="this"), WRITE_LEVERAGE, 10)

    monkeypatch.setattr(setup.pacer, "expect", expect_and_be_overtaken)
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ]
    assert report.result["outcome"] == "refused"
    assert report.result["leverage"] == 10
    assert report.result["changed"] is False
    assert str(report.failure).startswith("BTCUSDT: not written: the rate limit of POST")


def test_too_little_max_wait_after_a_429_is_read_back(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, max_wait=10)
    setup.exchange.add_fault(WRITE, FAULTS["429"])
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ]
    assert report.result["outcome"] == "refused"
    assert report.result["leverage"] == 10
    assert str(report.failure).startswith("BTCUSDT: leverage stays 10 instead of 13: the rate limit of POST")


def test_too_little_max_wait_for_trying_again_is_not_known(new_setup: NewSetup) -> None:
    setup = new_setup(current={"BTCUSDT": 10}, max_wait=10)
    spend(setup, WRITE_LEVERAGE, 9)
    setup.exchange.add_fault(WRITE, FAULTS["503"])
    report = setup.enforce({"BTCUSDT": 13})
    assert setup.sent == [READ, WRITE, READ]
    assert report.result["outcome"] == "unknown"
    assert report.result["leverage"] == 10


@pytest.mark.parametrize("endpoint", [READ, WRITE])
def test_a_budget_that_somebody_else_spent_is_waited_for(setup: ClientSetup, endpoint: str) -> None:
    setup.exchange.add_fault(endpoint, FAULTS["429"])
    report = setup.enforce({"BTCUSDT": 13})
    assert report.failure is None
    assert setup.current == {"BTCUSDT": 13}
    assert setup.clock.slept == [60.0]
    assert setup.sent.count(endpoint) == 2
    assert len(setup.sent) == 3


# --- several symbols ---

SIX = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "ADAUSDT", "DOGEUSDT", "DOTUSDT"]
HELD = {"BTCUSDT": 10, "ETHUSDT": 20, "SOLUSDT": 10}


@pytest.fixture
def several(new_setup: NewSetup) -> ClientSetup:
    """An account with three symbols."""
    return new_setup(current=HELD)


def outcomes(report: Any) -> dict[str, str]:
    return {row["symbol"]: row["outcome"] for row in report.result["results"]}


def written(several: ClientSetup) -> list[tuple[str, int]]:
    return [(body["symbol"], body["leverage"]) for body in several.writes()]


def test_nothing_to_do_costs_a_read_each(several: ClientSetup) -> None:
    report = several.enforce(HELD)
    assert several.sent == [READ] * 3
    assert report.failure is None
    assert set(outcomes(report).values()) == {"unchanged"}
    assert report.result["plan"] == "reads of leverage: 3, writes: at most 3, rate limits: at most about 0 s"


def test_a_change_costs_the_limits_once_and_a_write_each(several: ClientSetup) -> None:
    report = several.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 10})
    assert sorted(map(str, several.sent)) == sorted([READ] * 3 + [INSTRUMENTS] + [WRITE] * 2)
    assert report.failure is None
    assert several.current == {"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 10}
    assert report.result["diff"] == {
        "before": {"BTCUSDT": 10, "ETHUSDT": 20},
        "after": {"BTCUSDT": 11, "ETHUSDT": 21},
    }
    assert [row["symbol"] for row in report.result["results"]] == ["BTCUSDT", "ETHUSDT", "SOLUSDT"]


def test_limits_are_read_before_the_first_write(several: ClientSetup) -> None:
    several.enforce({"BTCUSDT": 11, "ETHUSDT": 21})
    assert several.sent.index(INSTRUMENTS) < several.sent.index(WRITE)


def test_what_lowers_goes_first(new_setup: NewSetup) -> None:
    several = new_setup(Quirks(unset_leverage="404"), current=HELD)
    several.enforce({"ADAUSDT": 3, "BTCUSDT": 11, "ETHUSDT": 5, "SOLUSDT": 9})
    assert written(several) == [("ETHUSDT", 5), ("SOLUSDT", 9), ("ADAUSDT", 3), ("BTCUSDT", 11)]


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
    several: ClientSetup, desired: dict[str, int], reason: str, check: bool
) -> None:
    report = several.enforce({"BTCUSDT": 11, "ETHUSDT": 20, **desired}, check=check)
    (symbol,) = desired
    assert several.sent == [READ] * 3 + [INSTRUMENTS]
    assert several.current == HELD
    assert report.failure == (
        f"2 of 3 symbols do not have the desired leverage. "
        f"BTCUSDT: not written: nothing is written while one desired leverage "
        f"is impossible ({symbol}); {symbol}: {reason}"
    )
    assert outcomes(report) == {"BTCUSDT": "refused", "ETHUSDT": "unchanged", symbol: "refused"}
    assert find_row(report)["leverage"] == 10
    assert report.result["changed"] is False


def test_every_impossible_desired_leverage_is_named(several: ClientSetup) -> None:
    report = several.enforce({"SOLUSDT": 21, "BTCUSDT": 11, "ETHUSDT": 51, "XRPUSDT": 10})
    assert several.writes() == []
    assert (
        find_row(report)["reason"]
        == "not written: nothing is written while one desired leverage is impossible (SOLUSDT, ETHUSDT)"
    )
    for symbol, leverage in {"SOLUSDT": 10, "ETHUSDT": 20}.items():
        assert find_row(report, symbol)["leverage"] == find_row(report, symbol)["previous_leverage"] == leverage
        assert find_row(report, symbol)["outcome"] == "refused"
        assert find_row(report, symbol)["reason"].startswith("a leverage of ")
        assert find_row(report, symbol)["blockers"] == []


def test_an_unlisted_symbol_leaves_all_unwritten(several: ClientSetup) -> None:
    report = several.enforce({"BTCUSDT": 11, "ETHUSTD": 20})
    assert WRITE not in several.sent
    assert "ETHUSTD: EXCHANGE_2 does not list this symbol: did you mean ETHUSDT?" in str(report.failure)


def test_limits_that_cannot_be_read_leave_all_unwritten(new_setup: NewSetup) -> None:
    several = new_setup(current=HELD, retries=1)
    several.exchange.add_fault(INSTRUMENTS, FAULTS["503"], times=None)
    report = several.enforce({"BTCUSDT": 11, "ETHUSDT": 21})
    assert several.sent == [READ, READ, INSTRUMENTS, INSTRUMENTS]
    assert report.failure == (
        "2 of 2 symbols do not have the desired leverage. "
        "BTCUSDT, ETHUSDT: not written: the limits of leverage could not be read: "
        'the exchange answered GET /trade/api/v2/futures/instrument_info with HTTP 503: "Service Unavailable"'
    )


def test_a_maximum_above_the_most_is_kept_by_itself(new_setup: NewSetup) -> None:
    several = new_setup(current={"BTCUSDT": 25, "ETHUSDT": 50, "DOTUSDT": 15})
    report = several.enforce({"BTCUSDT": 30, "ETHUSDT": 30, "DOTUSDT": 30}, enforce="maximum")
    assert report.failure is None
    assert written(several) == [("ETHUSDT", 30)]


# --- several symbols: one symbol's failure does not stop the others ---


@pytest.mark.parametrize("fault", ["403", "400-html", "list", "other-symbol"])
def test_a_symbol_that_cannot_be_read_does_not_stop_the_others(several: ClientSetup, fault: str) -> None:
    several.exchange.add_fault(READ, FAULTS[fault], times=None, symbol="BTCUSDT")
    report = several.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 11})
    assert outcomes(report) == {"BTCUSDT": "unknown", "ETHUSDT": "changed", "SOLUSDT": "changed"}
    assert str(report.failure).startswith(
        "1 of 3 symbols do not have the desired leverage. BTCUSDT: the current leverage is not known: "
    )
    assert several.current == {"BTCUSDT": 10, "ETHUSDT": 21, "SOLUSDT": 11}
    assert find_row(report)["leverage"] is None


def test_a_blocked_symbol_does_not_stop_the_others(several: ClientSetup) -> None:
    several.account.open_position("BTCUSDT", "LONG", "0.5")
    several.account.open_order("ETHUSDT", "BUY", "0.5", "1000")
    predicted = several.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 11}, check=True)
    several.exchange.requests.clear()
    report = several.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 11})
    assert outcomes(report) == outcomes(predicted)
    assert outcomes(report) == {"BTCUSDT": "blocked", "ETHUSDT": "blocked", "SOLUSDT": "changed"}
    assert report.failure == predicted.failure
    assert str(report.failure).startswith(
        "2 of 3 symbols do not have the desired leverage. BTCUSDT: leverage stays 10 instead of 11: "
    )
    assert "; ETHUSDT: leverage stays 20 instead of 21: blocked by an open order (" in str(report.failure)
    assert report.result["diff"] == predicted.result["diff"]
    assert several.sent.count(POSITIONS) == 1, "one request for all symbols"
    assert several.sent.count(ORDERS) == 1, "no older orders are looked for where all is explained"


def test_positions_are_read_one_by_one_where_that_is_asked_for(new_setup: NewSetup) -> None:
    several = new_setup(Quirks(positions_without_symbol="422"), current=HELD)
    for symbol in HELD:
        several.account.open_position(symbol, "LONG", "0.5")
    report = several.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 11})
    assert set(outcomes(report).values()) == {"blocked"}
    assert several.sent.count(POSITIONS) == 4


def test_the_same_reason_is_said_once(several: ClientSetup) -> None:
    several.exchange.add_fault(READ, FAULTS["403"], times=None)
    report = several.enforce(HELD)
    assert several.sent == [READ] * 3
    assert report.failure == (
        "3 of 3 symbols do not have the desired leverage. "
        "BTCUSDT, ETHUSDT, SOLUSDT: the current leverage is not known: the exchange "
        "refused GET /trade/api/v2/futures/leverage with HTTP 403 (check that this address may use the API, and "
        'api_url): "Forbidden"'
    )


def test_blocked_may_be_only_warned_of_of_several(several: ClientSetup) -> None:
    several.account.open_position("BTCUSDT", "LONG", "0.5")
    report = several.enforce({"BTCUSDT": 11, "ETHUSDT": 21, "SOLUSDT": 10}, on_blocked="warn")
    assert report.failure is None
    (warning,) = report.warnings
    assert warning.startswith("BTCUSDT: leverage stays 10 instead of 11: blocked by an open position (LONG 0.5)")
    assert several.current["ETHUSDT"] == 21


def test_an_unclear_write_does_not_stop_the_others(new_setup: NewSetup) -> None:
    several = new_setup(current=HELD, retries=1)
    several.exchange.add_fault(WRITE, FAULTS["503"], times=None, symbol="ETHUSDT")
    report = several.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert outcomes(report) == {"BTCUSDT": "changed", "ETHUSDT": "unknown", "SOLUSDT": "changed"}
    assert find_row(report, "ETHUSDT")["leverage"] == 20


def test_an_unclear_write_is_looked_up_over_a_new_connection(several: ClientSetup) -> None:
    several.exchange.add_fault(WRITE, FAULTS["twice"])
    report = several.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert report.failure is None
    assert several.current == {"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9}


# --- several symbols: what ends the task for all ---


def test_keys_refused_end_it_with_one_request(several: ClientSetup) -> None:
    several.account.new_pair()
    report = several.enforce(HELD)
    assert several.sent == [READ]
    assert set(outcomes(report).values()) == {"unknown"}
    assert str(report.failure).startswith(
        "3 of 3 symbols do not have the desired leverage. BTCUSDT, ETHUSDT, SOLUSDT: the current leverage is not known"
    )


def test_keys_refused_at_a_write_leave_the_rest_unwritten(several: ClientSetup) -> None:
    several.exchange.add_fault(WRITE, FAULTS["401"], times=None)
    report = several.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 11})
    assert written(several) == [("BTCUSDT", 9)]
    assert several.sent == [READ] * 3 + [INSTRUMENTS, WRITE]
    assert outcomes(report) == {"BTCUSDT": "refused", "ETHUSDT": "refused", "SOLUSDT": "refused"}
    assert find_row(report, "SOLUSDT")["leverage"] == 10
    assert find_row(report, "SOLUSDT")["reason"].startswith("not written: the exchange refused the keys (HTTP 401")


def test_after_three_silent_symbols_the_rest_is_not_asked(new_setup: NewSetup) -> None:
    several = new_setup(retries=1)
    several.exchange.list_many(24)
    several.exchange.add_fault(READ, FAULTS["503"], times=None)
    policy = dict.fromkeys(several.exchange.instruments, 5)
    report = several.enforce(policy)
    assert several.sent == [READ] * 6
    assert set(outcomes(report).values()) == {"unknown"}
    assert len(outcomes(report)) == 24


def test_silence_counts_only_in_a_row(new_setup: NewSetup) -> None:
    several = new_setup(current=HELD, retries=0)
    names = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "ADAUSDT", "DOGEUSDT", "DOTUSDT"]
    for symbol in ("BTCUSDT", "ETHUSDT", "ADAUSDT", "DOGEUSDT"):
        several.exchange.add_fault(READ, FAULTS["503"], symbol=symbol)
    report = several.enforce(dict.fromkeys(names, 10))
    assert several.sent == [READ] * 6
    assert outcomes(report)["DOTUSDT"] == "unchanged"


def test_what_is_queued_when_it_ends_is_told_as_not_written(new_setup: NewSetup) -> None:
    several = new_setup(current=HELD, retries=0)
    for symbol in ("ADAUSDT", "DOGEUSDT", "DOTUSDT"):
        several.exchange.add_fault(READ, FAULTS["503"], symbol=symbol)
    report = several.enforce({"BTCUSDT": 9, "ADAUSDT": 9, "DOGEUSDT": 9, "DOTUSDT": 9, "ETHUSDT": 9})
    assert several.writes() == []
    assert outcomes(report) == {
        "BTCUSDT": "refused",
        "ADAUSDT": "unknown",
        "DOGEUSDT": "unknown",
        "DOTUSDT": "unknown",
        "ETHUSDT": "unknown",
    }
    assert find_row(report)["reason"].startswith("not written: ")


def test_after_three_writes_without_an_answer_the_rest_is_not_written(new_setup: NewSetup) -> None:
    """Reads worked before the exchange fell silent, so a count of reads alone would never stop the task."""
    several, policy = market(new_setup, 9, retries=1)
    policy = change(policy, 1)
    several.exchange.add_fault(WRITE, FAULTS["503"], times=None)
    for _read in policy:
        several.exchange.add_fault(READ, Fault())
    several.exchange.add_fault(READ, FAULTS["503"], times=None)
    report = several.enforce(policy)
    assert several.sent.count(WRITE) == 3
    assert several.sent.count(READ) == 9 + 3 * 2
    assert list(outcomes(report).values()) == ["unknown"] * 3 + ["refused"] * 6
    *_rows, last = report.result["results"]
    assert last["leverage"] == last["previous_leverage"] == 10
    assert last["reason"].startswith(
        "not written: 3 symbols in a row got no clear answer, so the task stopped (the last "
    )


def test_three_writes_that_stay_unclear_stop_it_although_reads_work(new_setup: NewSetup) -> None:
    several = new_setup(current=dict.fromkeys(SIX, 10), retries=0)
    several.exchange.add_fault(WRITE, FAULTS["503"], times=None)
    report = several.enforce(dict.fromkeys(SIX, 5))
    assert several.sent.count(WRITE) == 3
    assert list(outcomes(report).values()) == ["unknown"] * 3 + ["refused"] * 3


def test_a_clear_answer_to_a_write_starts_the_count_anew(new_setup: NewSetup) -> None:
    several = new_setup(current=dict.fromkeys(SIX, 10), retries=0)
    for symbol in ("BTCUSDT", "ETHUSDT", "ADAUSDT", "DOGEUSDT"):
        several.exchange.add_fault(WRITE, FAULTS["503"], symbol=symbol)
    report = several.enforce(dict.fromkeys(SIX, 5))
    assert several.sent.count(WRITE) == 6
    assert outcomes(report)["SOLUSDT"] == outcomes(report)["DOTUSDT"] == "changed"


# --- several symbols: what nobody expected ---


def failing_at(several: ClientSetup, name: str, call: int, error: BaseException, after: bool = False) -> None:
    """Let a method of the account's endpoints raise at its n-th call, before or after its request."""
    real = getattr(several.futures, name)
    calls = itertools.count(1)

    def method(*args: Any) -> Any:
        if next(calls) != call:
            return real(*args)
        if after:
            real(*args)
        raise error

    setattr(several.futures, name, method)


@pytest.mark.parametrize("after", [False, True])
def test_a_defect_at_a_write_keeps_what_was_done(several: ClientSetup, after: bool) -> None:
    failing_at(several, "set_leverage", 2, RuntimeError("can't start new thread"), after)
    report = several.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert written(several) == [("BTCUSDT", 9), ("ETHUSDT", 19)][: 2 if after else 1]
    assert outcomes(report) == {"BTCUSDT": "changed", "ETHUSDT": "unknown", "SOLUSDT": "refused"}
    assert report.result["changed"] is True
    assert report.result["diff"] == {"before": {"BTCUSDT": 10}, "after": {"BTCUSDT": 9}}
    assert find_row(report, "ETHUSDT")["leverage"] is None
    assert find_row(report, "ETHUSDT")["previous_leverage"] == 20
    assert find_row(report, "SOLUSDT")["leverage"] == 10
    assert "a defect of this collection, please report it: RuntimeError at " in str(report.failure)
    assert "thread" not in str(report.failure)


@pytest.mark.parametrize("check", [False, True])
def test_a_defect_at_a_read_leaves_all_unwritten(several: ClientSetup, check: bool) -> None:
    failing_at(several, "leverage", 2, KeyError("secret"))
    report = several.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9}, check=check)
    assert several.writes() == []
    assert outcomes(report) == {"BTCUSDT": "refused", "ETHUSDT": "unknown", "SOLUSDT": "unknown"}
    assert "secret" not in str(report.failure)


def test_a_defect_at_the_read_back_leaves_the_row_unknown(several: ClientSetup) -> None:
    several.exchange.add_fault(WRITE, FAULTS["503"])
    failing_at(several, "leverage", 4, ValueError())
    report = several.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert outcomes(report) == {"BTCUSDT": "unknown", "ETHUSDT": "refused", "SOLUSDT": "refused"}


@pytest.mark.parametrize("check", [False, True])
def test_a_defect_in_an_explanation_is_a_failure_of_its_own(several: ClientSetup, check: bool) -> None:
    several.account.open_position("BTCUSDT", "LONG", "0.5")
    failing_at(several, "positions", 1, ZeroDivisionError())
    report = several.enforce({"BTCUSDT": 9, "ETHUSDT": 20, "SOLUSDT": 10}, check=check)
    assert "a defect of this collection, please report it: ZeroDivisionError at " in str(report.failure)
    assert outcomes(report)["ETHUSDT"] == "unchanged"
    assert len(report.result["results"]) == 3


def test_an_interruption_passes_through(several: ClientSetup) -> None:
    failing_at(several, "set_leverage", 1, KeyboardInterrupt())
    with pytest.raises(KeyboardInterrupt):
        several.enforce({"BTCUSDT": 9, "ETHUSDT": 19})


# --- several symbols: refusals are explained, however the task ends ---


@pytest.mark.parametrize("stop", ["401", "429", "503"])
def test_a_refusal_before_an_early_stop_is_explained(new_setup: NewSetup, stop: str) -> None:
    several = new_setup(current={**HELD, "ADAUSDT": 10, "DOTUSDT": 10}, retries=0, max_wait=0)
    several.account.open_position("BTCUSDT", "LONG", "0.5")
    for symbol in ("ETHUSDT", "SOLUSDT", "ADAUSDT", "DOTUSDT"):
        several.exchange.add_fault(WRITE, FAULTS[stop], times=None, symbol=symbol)
    policy = {"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9, "ADAUSDT": 9, "DOTUSDT": 9}
    report = several.enforce(policy, on_blocked="warn")
    assert find_row(report)["outcome"] == "blocked"
    assert find_row(report)["blockers"][0]["kind"] == "position"
    assert "BTCUSDT" not in str(report.failure), "blocked is warned of, and other symbols fail the task"
    assert outcomes(report)["DOTUSDT"] == "refused"
    if stop == "401":
        assert several.sent[-1] == WRITE, "nothing signed is asked once the keys are refused"


def test_a_refusal_is_explained_after_the_writes_where_positions_would_have_to_wait(new_setup: NewSetup) -> None:
    several = new_setup(current=HELD)
    several.account.open_position("BTCUSDT", "LONG", "0.5")
    for _request in range(20):
        several.pacer.answered(POSITIONS_ENDPOINT, several.pacer.take(POSITIONS_ENDPOINT))
    report = several.enforce({"BTCUSDT": 9, "ETHUSDT": 19, "SOLUSDT": 9})
    assert outcomes(report) == {"BTCUSDT": "blocked", "ETHUSDT": "changed", "SOLUSDT": "changed"}
    assert several.sent.index(POSITIONS) > len(several.sent) - 1 - several.sent[::-1].index(WRITE)


def test_check_mode_that_stops_early_says_what_it_did_not_check(new_setup: NewSetup) -> None:
    names = [f"COIN{number}USDT" for number in range(22)]
    several = new_setup(current=dict.fromkeys(names, 10))
    for name in names:
        several.exchange.list_instrument(name)
    for _read in range(20):
        several.exchange.add_fault(READ, Fault())
    several.exchange.add_fault(READ, FAULTS["401"], times=None)
    report = several.enforce(dict.fromkeys(names, 9), check=True)
    assert POSITIONS not in several.sent
    (warning,) = report.warnings
    assert "positions and orders were not read, so a real run may find the change blocked: the exchange " in warning


# --- several symbols: the pace ---


def market(new_setup: NewSetup, symbols: int, *args: Any, **options: Any) -> tuple[ClientSetup, dict[str, int]]:
    """A several with so many symbols at 10, and the desired leverage for each to stay there."""
    policy = {f"COIN{number}USDT": 10 for number in range(symbols)}
    several = new_setup(*args, latency=0.05, current=policy, **options)
    for symbol in policy:
        several.exchange.list_instrument(symbol)
    return several, policy


def change(policy: dict[str, int], every: int) -> dict[str, int]:
    """The policy with every so many of them another one."""
    return {symbol: 5 if number % every == 0 else desired for number, (symbol, desired) in enumerate(policy.items())}


@pytest.mark.parametrize("every", [2, 1])
def test_24_symbols_take_no_longer_than_the_limits_demand(new_setup: NewSetup, every: int) -> None:
    several, policy = market(new_setup, 24)
    started = several.clock()
    report = several.enforce(change(policy, every))
    changes = 24 // every
    assert report.failure is None
    assert several.current == change(policy, every)
    assert several.sent.count(READ) == 24
    assert several.sent.count(WRITE) == changes
    assert several.sent.count(INSTRUMENTS) == 1
    assert several.exchange.refused_by_rate_limit == 0
    assert several.clock() - started <= (66 if every == 2 else 126)


def test_writes_do_not_wait_for_all_reads(new_setup: NewSetup) -> None:
    several, policy = market(new_setup, 24)
    several.enforce(change(policy, 2))
    last_read = len(several.sent) - 1 - several.sent[::-1].index(READ)
    assert several.sent[:last_read].count(WRITE) == 10


def test_an_impossible_desired_leverage_that_is_not_read_yet_leaves_all_unwritten(new_setup: NewSetup) -> None:
    several, policy = market(new_setup, 24)
    *_read, unread, last = policy
    report = several.enforce({**change(policy, 2), last: 21})
    assert several.sent == [READ] * 20 + [INSTRUMENTS]
    assert find_row(report, last)["outcome"] == "refused"
    assert find_row(report, last)["leverage"] is None
    assert find_row(report, last)["reason"].startswith("a leverage of 21 is not allowed: ")
    why = f"nothing is written while one desired leverage is impossible ({last})"
    assert find_row(report, unread)["outcome"] == "unknown"
    assert find_row(report, unread)["reason"] == f"the current leverage is not known: {why}"
    assert find_row(report, "COIN0USDT")["reason"] == f"not written: {why}"
    assert find_row(report, "COIN1USDT")["outcome"] == "unchanged"


def test_the_plan_says_how_long_it_may_take(new_setup: NewSetup) -> None:
    several, policy = market(new_setup, 24)
    report = several.enforce(change(policy, 2))
    assert report.result["plan"] == "reads of leverage: 24, writes: at most 24, rate limits: at most about 121 s"


def test_check_mode_plans_the_wait_for_writes_and_does_not_wait(new_setup: NewSetup) -> None:
    several, policy = market(new_setup, 24)
    report = several.enforce(change(policy, 1), check=True)
    assert report.result["plan"] == "reads of leverage: 24, writes: at most 24, rate limits: at most about 121 s"
    assert report.failure is None
    assert sum(several.clock.slept) < 61, "only the reads wait"
    assert several.writes() == []
    assert several.exchange.refused_by_rate_limit == 0


@pytest.mark.parametrize("share", [0.5, 0.25, 0.01])
def test_a_share_leaves_the_rest_to_others(new_setup: NewSetup, share: float) -> None:
    limits = {READ: int(20 * share) or 1, WRITE: int(10 * share) or 1}
    several, policy = market(new_setup, 12, share=share, max_wait=1e6, limits=limits)
    assert several.enforce(change(policy, 3)).failure is None
    assert several.exchange.refused_by_rate_limit == 0


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
    several, policy = market(new_setup, 24, quirks)
    report = several.enforce(change(policy, 2))
    assert report.failure is None
    assert several.current == change(policy, 2)
    assert several.exchange.refused_by_rate_limit <= 6
    assert several.pacer.waited <= 300


@pytest.mark.parametrize("scope", ["key", "address"])
def test_a_bot_on_another_machine_is_survived_by_waiting(new_setup: NewSetup, scope: Any) -> None:
    several, policy = market(new_setup, 15, Quirks(limit_scope=scope))
    bot = new_setup(same_account_as=several)
    for _request in range(20):
        bot.futures.leverage("BTCUSDT")
    report = several.enforce(change(policy, 3))
    assert report.failure is None
    assert several.current == change(policy, 3)
    assert several.exchange.refused_by_rate_limit == 1


def test_too_little_max_wait_is_said_before_anything_is_sent_of_several(new_setup: NewSetup) -> None:
    several, policy = market(new_setup, 24, max_wait=30)
    report = several.enforce(change(policy, 2))
    assert several.sent == []
    assert several.clock.slept == []
    assert "(20 requests in 60 s for this task) needs a wait of about 61 s for 24 more" in str(report.failure)
    assert "rate_limit_timeout leaves 30 s of 30 s: raise it, or run again later" in str(report.failure)


def test_too_little_max_wait_for_the_writes_is_said_before_the_first(new_setup: NewSetup) -> None:
    several, policy = market(new_setup, 14, max_wait=30)
    report = several.enforce(change(policy, 1))
    assert several.sent == [READ] * 14, "what is in force is read, since reads need no wait"
    assert several.clock.slept == []
    assert "not written: the rate limit of POST" in str(report.failure)
    assert "needs a wait of about 61 s for 11 more" in str(report.failure)
    assert set(outcomes(report).values()) == {"refused"}
    assert {row["leverage"] for row in report.result["results"]} == {10}
    assert several.current == policy


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
        several, policy = market(new_setup, symbols, **options)
        for _request in range(spent):
            several.pacer.answered(WRITE_LEVERAGE, several.pacer.take(WRITE_LEVERAGE))
        reports[check] = several.enforce(change(policy, every), check=check)
        assert several.exchange.refused_by_rate_limit == 0
    assert outcomes(reports[True]) == outcomes(reports[False])
    assert reports[True].failure == reports[False].failure
    assert reports[True].result["plan"] == reports[False].result["plan"]
    assert reports[True].result["diff"] == reports[False].result["diff"]


def test_two_tasks_of_one_machine_share_the_budget(new_setup: NewSetup) -> None:
    several, policy = market(new_setup, 12, machine="this")
    other = new_setup(same_account_as=several, machine="this")
    assert several.enforce(policy).failure is None
    assert other.enforce(change(policy, 1)).failure is None
    assert several.exchange.refused_by_rate_limit == 0
    assert several.exchange.count(READ) == 24
