# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check names each reading from the answers alone, writes only when asked, and restores what it changed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _first_contact, _futures
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import InputRefused
from ansible_collections.tradeops.coinswitch.plugins.module_utils._first_contact import FACTS, READINGS, Trial
from ansible_collections.tradeops.coinswitch.plugins.module_utils._pacing import Endpoint
from ansible_collections.tradeops.coinswitch.plugins.module_utils._report import Report
from sandbox import FAULTS
from sandbox.transcripts import read_quirks, readings

from .client_setup import API_KEY, NOW, ORDERS, POSITIONS, READ, SECRET_KEY, WRITE, ClientSetup, Fault, Quirks

NewSetup = Callable[..., ClientSetup]
READ_ONLY = Trial(None, None)
NOW_MS = int(NOW * 1000)
DAY_MS = 24 * 60 * 60 * 1000

# Each reading that reads show. Setting these quirks alone changes the answer to nothing else.
SHOWN_BY_READS = [
    (name, value)
    for name in READINGS
    if name not in ("retry_after", "leverage_buckets", "same_value", "limit_answer")
    for value in READINGS[name].values()
]
# The readings that only a refusal by the rate limit, or a write that the check refuses to send, would show.
NEVER_SHOWN = {"blocked_answer", "limit_scope", "limit_window", "refused_count"}


def check(setup: ClientSetup, trial: Trial = READ_ONLY, writes: bool = True) -> Report:
    return _first_contact.run(setup.futures, trial, writes)


def verdicts(report: Report) -> dict[str, str]:
    return {row["fact"]: row["verdict"] for row in report.result["facts"]}


def shown(report: Report) -> dict[str, str]:
    return {row["fact"]: row["shown"] for row in report.result["facts"] if row["shown"]}


def prepared(new_setup: NewSetup, quirks: Quirks | None = None, **more: Any) -> ClientSetup:
    """An account with a configured symbol and, on another, an open order: what most facts need to be shown."""
    setup = new_setup(quirks, current={"BTCUSDT": 10, "DOGEUSDT": 10}, share=0.5, **more)
    setup.account.open_order("ETHUSDT", "BUY", "1.25", "2987.5", created_at=NOW_MS - 3 * DAY_MS)
    return setup


# --- reads ---


def test_an_exchange_as_expected(new_setup: NewSetup) -> None:
    setup = prepared(new_setup)
    report = check(setup)
    assert report.failure is None
    assert report.result["handled"] is True
    assert report.result["changed"] is False
    assert set(verdicts(report).values()) == {"as expected", "not shown"}
    assert WRITE not in setup.sent


@pytest.mark.parametrize("ordered", [False, True])
def test_it_stays_within_half_of_each_limit_and_does_not_wait(new_setup: NewSetup, ordered: bool) -> None:
    setup = prepared(new_setup)
    if not ordered:
        setup.account.orders.clear()
    # As the playbook does.
    check(setup)
    check(setup, Trial("DOGEUSDT", 7), writes=False)
    check(setup, Trial("DOGEUSDT", 7))
    limits = {value.name: value.limit for value in vars(_futures).values() if isinstance(value, Endpoint)}
    limits["validate_keys"] = limits.pop("validate")
    for endpoint, count in Counter(setup.sent).items():
        assert endpoint is not None
        assert count <= limits[endpoint] / 2, endpoint
    assert setup.clock.slept == []


@pytest.mark.parametrize(("name", "value"), SHOWN_BY_READS, ids=str)
def test_each_reading_is_named_from_the_answers_alone(
    new_setup: NewSetup, tmp_path: Path, name: str, value: Any
) -> None:
    setup = prepared(new_setup, Quirks(**{name: value}))
    if name == "empty_orders":
        setup.account.orders.clear()
    if name == "positions_other_symbols":
        setup.account.open_position("BTCUSDT", "LONG", "0.125")
    report = check(setup)
    assert report.failure is None
    assert report.result["transcript"]["quirks"][name] == value
    expected = "as expected" if shown(report)[name] in FACTS[name] else "different but handled"
    assert verdicts(report)[name] == expected
    # A sandbox that is made to answer like the transcript shows the same.
    path = tmp_path / "transcript.json"
    path.write_text(json.dumps(report.result["transcript"]))
    again = prepared(new_setup, read_quirks(path))
    again.account.orders = list(setup.account.orders)
    again.account.positions = list(setup.account.positions)
    assert shown(check(again)) == shown(report)


def test_each_quirk_of_the_sandbox_is_named_or_is_known_not_to_be_shown() -> None:
    assert set(READINGS) | NEVER_SHOWN == set(readings())
    assert not set(READINGS) & NEVER_SHOWN
    for name, values in READINGS.items():
        known = set(readings()[name]) - ({"apart"} if name == "leverage_buckets" else set())
        assert set(values.values()) == known, name


def test_what_was_not_shown_is_not_claimed(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(orders_to_time="inclusive"), current={"BTCUSDT": 10}, share=0.5)
    report = check(setup)
    assert verdicts(report)["orders_to_time"] == verdicts(report)["orders_period"] == "not shown"
    assert "orders_to_time" not in report.result["transcript"]["quirks"]


def test_an_older_order_shows_as_much(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(orders_to_time="inclusive"), current={"BTCUSDT": 10}, share=0.5)
    setup.account.open_order("ETHUSDT", "BUY", "1", "1", created_at=NOW_MS - 10 * DAY_MS)
    assert check(setup).result["transcript"]["quirks"]["orders_to_time"] == "inclusive"


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_a_refusal_by_the_rate_limit_is_named(new_setup: NewSetup, form: Any) -> None:
    setup = prepared(new_setup, Quirks(retry_after=form), limits={POSITIONS: 2})
    report = check(setup)
    assert report.failure is None
    assert shown(report)["rate_limit"] == "reached"
    assert report.result["transcript"]["quirks"]["retry_after"] == form


def test_a_refusal_without_retry_after_is_named(new_setup: NewSetup) -> None:
    report = check(prepared(new_setup, limits={POSITIONS: 2}))
    assert report.result["transcript"]["quirks"]["retry_after"] is None


def test_an_exchange_that_lists_nothing(new_setup: NewSetup) -> None:
    setup = prepared(new_setup)
    setup.exchange.instruments.clear()
    failure = check(setup).failure
    assert failure is not None
    assert failure.startswith("NOT HANDLED: ")


BODIES: list[Any] = [None, [], {}, 5, "x", {"data": None}, {"data": []}, {"data": {}}, {"data": 5}, {"message": 5}]
BODIES += [{"data": [[]]}, {"data": {"orders": [{}]}}, {"data": {"BTCUSDT": None}}, {"data": {"leverage": {}}}]
BODIES += [{"data": {"symbol": 5, "leverage": "10"}}, {"data": [{"symbol": []}]}, {"message": None}]


@pytest.mark.parametrize("endpoint", ["*", READ, POSITIONS, ORDERS, "instruments", "wallet", "time", "validate_keys"])
@pytest.mark.parametrize("body", BODIES, ids=str)
def test_strange_answers_are_a_report_and_no_defect(new_setup: NewSetup, endpoint: str, body: Any) -> None:
    setup = prepared(new_setup)
    setup.exchange.add_fault(endpoint, Fault(body=json.dumps(body)), times=None)
    report = check(setup)
    assert json.dumps(report.result)
    assert report.result["handled"] is (report.failure is None)
    if endpoint == READ:
        assert report.result["handled"] is (body == {"data": None})


@pytest.mark.parametrize(
    ("fault", "fact"),
    [
        ("other-symbol", "unset_leverage"),
        ("nan", "unset_leverage"),
        ("409", "unset_leverage"),
        ("503", "unset_leverage"),
        ("html", "unset_leverage"),
        ("cut-body", "unset_leverage"),
    ],
)
def test_a_leverage_that_the_code_cannot_read_is_not_handled(new_setup: NewSetup, fault: str, fact: str) -> None:
    setup = prepared(new_setup)
    setup.exchange.add_fault(READ, FAULTS[fault], times=None)
    report = check(setup)
    assert verdicts(report)[fact] == "NOT HANDLED"
    assert report.failure is not None
    assert report.failure.startswith("NOT HANDLED: ")


@pytest.mark.parametrize("fault", ["html", "list", "garbage", "404-html", "503-html", "redirect-away", "empty", "null"])
def test_another_server_is_named_with_few_requests(new_setup: NewSetup, fault: str) -> None:
    setup = prepared(new_setup)
    setup.exchange.add_fault("*", FAULTS[fault], times=None)
    report = check(setup)
    assert report.failure is not None
    assert report.failure.startswith("this is not the API of CoinSwitch PRO (")
    assert report.failure.endswith("): check api_url and the proxy, and whether a login page answers instead")
    assert len(setup.sent) <= 6
    assert report.result["transcript"]["answers"]


def test_refused_keys_end_the_check(new_setup: NewSetup) -> None:
    setup = prepared(new_setup, keys=(API_KEY, "11" * 32))
    report = check(setup)
    assert report.failure is not None
    assert "secret_key does not belong to api_key" in report.failure
    assert len(setup.sent) == 2


def test_an_exchange_that_cannot_be_reached(new_setup: NewSetup, unused_url: str) -> None:
    report = check(prepared(new_setup, url=unused_url, retries=0))
    assert report.failure is not None
    assert report.failure.startswith("no connection to ")


@pytest.mark.parametrize(("skew", "verdict"), [(4, "as expected"), (30, "different but handled"), (-30, None)])
def test_the_clock(new_setup: NewSetup, skew: float, verdict: str | None) -> None:
    setup = prepared(new_setup)
    setup.exchange.add_fault("time", Fault(skew=skew))
    assert verdicts(check(setup))["clock"] == (verdict or "different but handled")


def test_a_clock_that_is_too_far_off_is_not_handled(new_setup: NewSetup) -> None:
    setup = prepared(new_setup)
    setup.exchange.add_fault("time", Fault(skew=300))
    assert verdicts(check(setup))["clock"] == "NOT HANDLED"


def test_without_the_exchanges_own_time_the_date_counts(new_setup: NewSetup) -> None:
    setup = prepared(new_setup)
    setup.exchange.add_fault("time", FAULTS["404"], times=None)
    report = check(setup)
    assert report.failure is None
    assert verdicts(report)["server_time"] == "different but handled"
    assert verdicts(report)["clock"] == "as expected"


def test_headers_about_the_rate_limit_are_noted(new_setup: NewSetup) -> None:
    setup = prepared(new_setup)
    setup.exchange.add_fault("time", Fault(headers={"X-RateLimit-Remaining": "19"}))
    report = check(setup)
    assert shown(report)["rate_limit_headers"] == "present, none"
    (header,) = [
        answer["headers"]["x-ratelimit-remaining"]
        for answer in report.result["transcript"]["answers"]
        if "x-ratelimit-remaining" in answer["headers"]
    ]
    assert header == "19"


def test_fields_that_are_missing_or_more(new_setup: NewSetup) -> None:
    setup = prepared(new_setup)

    def changed(value: Any) -> Any:
        rows = [{**row, "client_id": "mine"} for row in value["data"]["orders"]]
        for row in rows:
            del row["side"]
        return {"data": {"orders": rows, "cursor": 5}}

    setup.exchange.add_fault(ORDERS, Fault(transform=changed), times=None)
    report = check(setup)
    assert report.failure is None
    assert shown(report)["fields_orders"] == "more fields, no side"
    assert shown(report)["orders_cursor"] == "another value"


@pytest.mark.parametrize("created_at", [1_700_000_000, "2023-11-14T22:13:20Z", None, 0, -5, 17e14])
def test_times_in_another_form_are_handled(new_setup: NewSetup, created_at: Any) -> None:
    setup = prepared(new_setup)
    row = {"symbol": "ETHUSDT", "order_id": "a", "created_at": created_at}
    setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": [row]}}), times=None)
    report = check(setup)
    assert report.failure is None
    assert verdicts(report)["order_times"] == "different but handled"
    assert verdicts(report)["orders_to_time"] == "not shown"


def test_an_order_that_a_search_by_time_misses_is_not_handled(new_setup: NewSetup) -> None:
    setup = prepared(new_setup)
    created_at = (NOW_MS - 5 * DAY_MS) // 1000 * 1000

    def changed(value: Any) -> Any:
        # Listed only without a period, and with a time of its own.
        rows = [{**row, "created_at": created_at} for row in value["data"]["orders"]]
        return {"data": {"orders": rows, "cursor": None}}

    setup.exchange.add_fault(ORDERS, Fault(transform=changed), times=None)
    report = check(setup)
    assert shown(report)["orders_period"] == "missed"
    assert verdicts(report)["orders_period"] == "NOT HANDLED"


def test_periods_that_are_refused_are_not_handled(new_setup: NewSetup) -> None:
    setup = prepared(new_setup)
    for ordered in (True, False):
        setup.exchange.add_fault(ORDERS, Fault())
        if not ordered:
            setup.account.orders.clear()
            setup.exchange.add_fault(ORDERS, Fault())
        setup.exchange.add_fault(ORDERS, FAULTS["400"], times=None)
        report = check(setup)
        setup.exchange.clear_faults()
        assert shown(report)["orders_period"] == "400"
        assert verdicts(report)["orders_period"] == "NOT HANDLED"


@pytest.mark.parametrize(("value", "form"), [("soon", "other"), ("7", "seconds"), ("99999", "other")])
def test_the_form_of_retry_after(new_setup: NewSetup, value: str, form: str) -> None:
    setup = prepared(new_setup)
    setup.exchange.add_fault(POSITIONS, Fault(status=429, headers={"Retry-After": value}))
    report = check(setup)
    assert shown(report)["retry_after"] == form
    assert report.failure is None


def test_symbols_that_are_traded_are_asked_for(new_setup: NewSetup) -> None:
    setup = prepared(new_setup, Quirks(unset_leverage="422"))
    setup.account.leverage.clear()
    del setup.exchange.instruments["BTCUSDT"]
    setup.exchange.list_instrument("ZZZUSDT", status="SUSPENDED")
    assert check(setup).failure is None
    asked = {request.symbol for request in setup.exchange.requests} - {None, "NOSUCHCOINUSDT"}
    assert asked <= set(setup.exchange.instruments) - {"ZZZUSDT", "LUNAUSDT"}


# --- the transcript ---


def test_nothing_secret_or_personal_is_in_what_is_returned(new_setup: NewSetup) -> None:
    setup = prepared(new_setup)
    setup.account.open_position("SOLUSDT", "SHORT", "31.4159")
    setup.account.leverage["SOLUSDT"] = 17
    setup.exchange.add_fault("wallet", FAULTS["echo-keys"])
    report = check(setup)
    text = json.dumps(report.result)
    orders, positions = setup.account.orders, setup.account.positions
    secrets = [API_KEY, SECRET_KEY, *(order.order_id for order in orders), *(row.position_id for row in positions)]
    personal = ["2987.5", "1.25", "31.4159", "ETHUSDT", "SOLUSDT", "SHORT", "10000", str(orders[0].created_at)]
    for secret in [*secrets, *personal, API_KEY.upper()]:
        assert secret not in text
    for seen in setup.exchange.requests:
        assert seen.headers["x-auth-signature"] not in text


# --- writes ---


@pytest.mark.parametrize("value", READINGS["same_value"].values())
def test_the_value_in_force_is_written(new_setup: NewSetup, value: Any) -> None:
    setup = prepared(new_setup, Quirks(same_value=value))
    report = check(setup, Trial("DOGEUSDT", None))
    assert report.failure is None
    assert [body["leverage"] for body in setup.writes()] == [10]
    assert report.result["transcript"]["quirks"]["same_value"] == value
    assert (report.result["leverage"], report.result["previous_leverage"]) == (10, 10)
    assert report.result["changed"] is False


def test_another_value_is_written_read_back_and_restored(new_setup: NewSetup) -> None:
    setup = prepared(new_setup)
    report = check(setup, Trial("DOGEUSDT", 7))
    assert report.failure is None
    assert [body["leverage"] for body in setup.writes()] == [10, 7, 10]
    assert {body["symbol"] for body in setup.writes()} == {"DOGEUSDT"}
    assert setup.current["DOGEUSDT"] == report.result["leverage"] == 10
    assert report.result["changed"] is False
    assert shown(report)["write_answer"] == "echo"
    assert shown(report)["read_back"] == "at once"


def test_check_mode_never_writes_and_says_what_would_be_sent(new_setup: NewSetup) -> None:
    setup = prepared(new_setup)
    report = check(setup, Trial("DOGEUSDT", 7), writes=False)
    assert setup.writes() == []
    assert report.result["plan"] == [
        "POST /trade/api/v2/futures/leverage DOGEUSDT 10 (in force)",
        "POST /trade/api/v2/futures/leverage DOGEUSDT 7 (write_leverage)",
        "POST /trade/api/v2/futures/leverage DOGEUSDT 10 (restored)",
        f"interrupted meanwhile: {RESTORE}",
    ]


@pytest.mark.parametrize("value", READINGS["limit_answer"].values())
def test_a_value_out_of_limits_shows_how_it_is_refused(new_setup: NewSetup, value: Any) -> None:
    setup = prepared(new_setup, Quirks(limit_answer=value))
    report = check(setup, Trial("DOGEUSDT", 26))
    assert report.failure is None
    assert report.result["transcript"]["quirks"]["limit_answer"] == value
    assert setup.current["DOGEUSDT"] == report.result["leverage"] == 10


def test_a_shared_budget_is_named(new_setup: NewSetup) -> None:
    setup = prepared(new_setup, Quirks(leverage_buckets="shared"))
    # As the playbook does.
    check(setup)
    check(setup, Trial("DOGEUSDT", 7), writes=False)
    report = check(setup, Trial("DOGEUSDT", 7))
    assert report.failure is None
    assert report.result["transcript"]["quirks"]["leverage_buckets"] == "shared"
    assert setup.current["DOGEUSDT"] == 10


@pytest.mark.parametrize("age", [0, 20])
def test_a_symbol_with_a_position_or_an_order_is_refused(new_setup: NewSetup, age: int) -> None:
    setup = prepared(new_setup)
    if age:
        setup.account.open_order("DOGEUSDT", "BUY", "1", "1", created_at=NOW_MS - age * DAY_MS)
    else:
        setup.account.open_position("DOGEUSDT", "LONG", "1")
    report = check(setup, Trial("DOGEUSDT", 7))
    assert report.failure == (
        "nothing was written: DOGEUSDT has an open position or order; name a symbol that has none"
    )
    assert setup.writes() == []


def test_a_symbol_that_was_never_configured_is_refused(new_setup: NewSetup) -> None:
    setup = prepared(new_setup, Quirks(unset_leverage="message"))
    report = check(setup, Trial("SOLUSDT", 7))
    assert report.failure is not None
    assert report.failure.startswith("nothing was written: the leverage of SOLUSDT is not known")
    assert setup.writes() == []


def test_a_symbol_that_is_not_listed_is_refused(new_setup: NewSetup) -> None:
    report = check(prepared(new_setup), Trial("NIXUSDT", None))
    assert report.failure == "nothing was written: EXCHANGE_2 does not list NIXUSDT; check the name"


@pytest.mark.parametrize("endpoint", [POSITIONS, ORDERS, "instruments", READ])
def test_nothing_is_written_where_the_state_cannot_be_read(new_setup: NewSetup, endpoint: str) -> None:
    setup = prepared(new_setup)
    setup.exchange.add_fault(endpoint, FAULTS["503"], times=None)
    assert check(setup, Trial("DOGEUSDT", 7)).failure is not None
    assert setup.writes() == []


RESTORE = (
    "to restore it, run ansible localhost -m tradeops.coinswitch.futures_leverage -a 'symbol=DOGEUSDT leverage=10'"
)


@pytest.mark.parametrize("fault", ["503", "503-done", "drop-before", "drop-after", "html", "other-leverage", "no-data"])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_a_lost_answer_to_a_write_leaves_the_first_value_in_force(new_setup: NewSetup, fault: str, first: int) -> None:
    setup = prepared(new_setup)
    for _write in range(first):
        setup.exchange.add_fault(WRITE, Fault())
    setup.exchange.add_fault(WRITE, FAULTS[fault])
    report = check(setup, Trial("DOGEUSDT", 7))
    assert setup.current["DOGEUSDT"] == report.result["leverage"] == 10
    assert report.result["changed"] is False


def test_a_write_that_cannot_be_restored_says_how(new_setup: NewSetup) -> None:
    setup = prepared(new_setup)
    for _write in range(2):
        setup.exchange.add_fault(WRITE, Fault())
    setup.exchange.add_fault(WRITE, FAULTS["400"], times=None)
    report = check(setup, Trial("DOGEUSDT", 7))
    assert report.failure == f"the leverage of DOGEUSDT is 7, and 10 was not restored: {RESTORE}"
    assert report.result["changed"] is True
    assert report.result["leverage"] == setup.current["DOGEUSDT"] == 7


@pytest.mark.parametrize("fault", ["503", "401"])
def test_a_leverage_that_cannot_be_read_back_is_not_known(new_setup: NewSetup, fault: str) -> None:
    setup = prepared(new_setup)
    setup.exchange.add_fault(READ, Fault())
    setup.exchange.add_fault(READ, Fault())
    setup.exchange.add_fault(READ, FAULTS[fault], times=None)
    report = check(setup, Trial("DOGEUSDT", 7))
    assert report.failure is not None
    assert report.failure.startswith("the leverage of DOGEUSDT is not known, and 10 was not restored (")
    assert report.failure.endswith(RESTORE)
    assert report.result["leverage"] is None
    assert report.result["changed"] is True


def test_a_defect_in_the_middle_restores_first(new_setup: NewSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = prepared(new_setup)
    note = _first_contact.Findings.note

    def broken(findings: Any, fact: str, *rest: Any, **more: Any) -> None:
        if fact == "write_answer":
            raise ZeroDivisionError
        note(findings, fact, *rest, **more)

    monkeypatch.setattr(_first_contact.Findings, "note", broken)
    with pytest.raises(ZeroDivisionError):
        check(setup, Trial("DOGEUSDT", 7))
    assert [body["leverage"] for body in setup.writes()] == [10, 7, 10]
    assert setup.current["DOGEUSDT"] == 10


# --- options ---


def options(**given: Any) -> dict[str, Any]:
    return {"write_symbol": None, "write_leverage": None, "rate_limit_share": 0.5, **given}


def test_options() -> None:
    assert _first_contact.from_options(options()) == READ_ONLY
    assert _first_contact.from_options(options(write_symbol="dogeusdt")) == Trial("DOGEUSDT", None)
    assert _first_contact.from_options(options(write_symbol="DOGEUSDT", write_leverage="7")) == Trial("DOGEUSDT", 7)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rate_limit_share": 0.6}, "rate_limit_share must be at most 0.5 here"),
        ({"rate_limit_share": "1"}, "rate_limit_share must be at most 0.5 here"),
        ({"write_leverage": 7}, "write_leverage needs write_symbol"),
        ({"write_symbol": "DOGE/USDT"}, "did you mean DOGEUSDT"),
        *(
            (
                {"write_symbol": "DOGEUSDT", "write_leverage": value},
                "write_leverage must be a whole number of 1 or more",
            )
            for value in (0, -1, True, 7.5, "seven", "", "07", [7])
        ),
    ],
)
def test_options_that_are_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(InputRefused, match=message):
        _first_contact.from_options(options(**given))
