# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check finds the reading of each fact, writes only to the symbol of a trial, and restores its leverage."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import endpoints as _endpoints
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import Endpoint
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import InputRefused
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import api_check as _api_check
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.api_check import FACTS, READINGS, Trial
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.progress import Context
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result
from sandbox import FAULTS
from sandbox.transcripts import read_quirks, readings

from ..client_setup import API_KEY, NOW, ORDERS, POSITIONS, READ, SECRET_KEY, WRITE, ClientSetup, Fault, Quirks

NewSetup = Callable[..., ClientSetup]
READ_ONLY = Trial(None, None)
NOW_MS = int(NOW * 1000)
DAY_MS = 24 * 60 * 60 * 1000
# The readings that reads can show. Each of these quirks changes the answer to one fact only.
READINGS_SHOWN_BY_READS = [
    (name, value)
    for name in READINGS
    if name not in ("retry_after", "leverage_buckets", "same_value", "limit_answer")
    for value in READINGS[name].values()
]
# To show these quirks, the check would have to exceed a rate limit, or to write to a symbol that has a blocker.
QUIRKS_NEVER_SHOWN = {"blocked_answer", "limit_scope", "limit_window", "refused_count"}


def run_check(setup: ClientSetup, trial: Trial = READ_ONLY, writes: bool = True) -> Result:
    return _api_check.check(setup.futures, trial, Context(check_mode=not writes))


def get_verdicts(report: Result) -> dict[str, str]:
    return {row["fact"]: row["verdict"] for row in report.values["facts"]}


def get_shown(report: Result) -> dict[str, str]:
    return {row["fact"]: row["shown"] for row in report.values["facts"] if row["shown"]}


def prepare_setup(new_setup: NewSetup, quirks: Quirks | None = None, **options: Any) -> ClientSetup:
    """Return an account with two configured symbols, and an open order of another symbol. Most facts need them."""
    setup = new_setup(quirks, current={"BTCUSDT": 10, "DOGEUSDT": 10}, share=0.5, **options)
    setup.account.open_order("ETHUSDT", "BUY", "1.25", "2987.5", created_at=NOW_MS - 3 * DAY_MS)
    return setup


# --- READINGS ---


# The check does not handle these readings, so the transcript does not contain them.
READINGS_NOT_HANDLED = {"unset_leverage": {"500"}}


def test_unclear_answer_for_a_never_configured_symbol_is_not_handled(new_setup: NewSetup) -> None:
    report = run_check(prepare_setup(new_setup, Quirks(unset_leverage="500")))
    assert get_verdicts(report)["unset_leverage"] == "NOT HANDLED"
    assert "unset_leverage" not in report.values["transcript"]["quirks"]


def test_every_quirk_of_the_sandbox_has_readings_or_is_never_shown() -> None:
    assert set(READINGS) | QUIRKS_NEVER_SHOWN == set(readings())
    assert not set(READINGS) & QUIRKS_NEVER_SHOWN
    for name, values in READINGS.items():
        values_of_sandbox = set(readings()[name]) - ({"apart"} if name == "leverage_buckets" else set())
        assert set(values.values()) | READINGS_NOT_HANDLED.get(name, set()) == values_of_sandbox, name


# --- read_trial ---


def make_options(**changes: Any) -> dict[str, Any]:
    return {"write_symbol": None, "write_leverage": None, "rate_limit_share": 0.5, **changes}


def test_options_become_a_trial() -> None:
    assert _api_check.read_trial(make_options()) == READ_ONLY
    assert _api_check.read_trial(make_options(write_symbol="dogeusdt")) == Trial("DOGEUSDT", None)
    assert _api_check.read_trial(make_options(write_symbol="DOGEUSDT", write_leverage="7")) == Trial("DOGEUSDT", 7)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate_limit_share": 0.6}, "rate_limit_share must be at most 0.5, because"),
        ({"rate_limit_share": "1"}, "rate_limit_share must be at most 0.5, because"),
        ({"write_leverage": 7}, "write_leverage needs write_symbol"),
        ({"write_symbol": "DOGE/USDT"}, "did you mean DOGEUSDT"),
        *(
            (
                {"write_symbol": "DOGEUSDT", "write_leverage": value},
                "write_leverage must be a whole number from 1 to 999999999",
            )
            for value in (0, -1, True, 7.5, "seven", "", "07", [7])
        ),
    ],
)
def test_invalid_options_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputRefused, match=message):
        _api_check.read_trial(make_options(**changes))


# --- Findings.transcript ---


def test_result_contains_nothing_secret_or_personal(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    setup.account.open_position("SOLUSDT", "SHORT", "31.4159")
    setup.account.leverage["SOLUSDT"] = 17
    setup.exchange.add_fault("wallet", FAULTS["echo-keys"])
    report = run_check(setup)
    text = json.dumps(report.values)
    orders, positions = setup.account.orders, setup.account.positions
    secrets = [API_KEY, SECRET_KEY, *(order.order_id for order in orders), *(row.position_id for row in positions)]
    personal = ["2987.5", "1.25", "31.4159", "ETHUSDT", "SOLUSDT", "SHORT", "10000", str(orders[0].created_at)]
    for secret in [*secrets, *personal, API_KEY.upper()]:
        assert secret not in text
    for request in setup.exchange.requests:
        assert request.headers["x-auth-signature"] not in text


# --- run ---


def test_expected_exchange_is_handled_without_a_write(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    report = run_check(setup)
    assert report.failure is None
    assert report.values["handled"] is True
    assert report.values["changed"] is False
    assert set(get_verdicts(report).values()) == {"as expected", "not shown"}
    assert WRITE not in setup.sent


@pytest.mark.parametrize("has_order", [False, True])
def test_playbook_uses_at_most_half_of_each_rate_limit_and_never_waits(new_setup: NewSetup, has_order: bool) -> None:
    setup = prepare_setup(new_setup)
    if not has_order:
        setup.account.orders.clear()
    # The playbook does these three steps.
    run_check(setup)
    run_check(setup, Trial("DOGEUSDT", 7), writes=False)
    run_check(setup, Trial("DOGEUSDT", 7))
    limits = {value.name: value.limit for value in vars(_endpoints).values() if isinstance(value, Endpoint)}
    limits["validate_keys"] = limits.pop("validate")
    for endpoint, count in Counter(setup.sent).items():
        assert endpoint is not None
        assert count <= limits[endpoint] / 2, endpoint
    assert not any(setup.clock.slept)


@pytest.mark.parametrize(("name", "value"), READINGS_SHOWN_BY_READS, ids=str)
def test_each_reading_is_shown_and_its_transcript_reproduces_it(
    new_setup: NewSetup, tmp_path: Path, name: str, value: Any
) -> None:
    setup = prepare_setup(new_setup, Quirks(**{name: value}))
    if name == "empty_orders":
        setup.account.orders.clear()
    if name == "positions_other_symbols":
        setup.account.open_position("BTCUSDT", "LONG", "0.125")
    report = run_check(setup)
    assert report.failure is None
    assert report.values["transcript"]["quirks"][name] == value
    expected = "as expected" if get_shown(report)[name] in FACTS[name] else "different but handled"
    assert get_verdicts(report)[name] == expected
    # A sandbox with the quirks of the transcript shows the same.
    path = tmp_path / "transcript.json"
    path.write_text(json.dumps(report.values["transcript"]))
    repeated = prepare_setup(new_setup, read_quirks(path))
    repeated.account.orders = list(setup.account.orders)
    repeated.account.positions = list(setup.account.positions)
    assert get_shown(run_check(repeated)) == get_shown(report)


def test_reading_that_was_not_shown_is_not_in_the_transcript(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(orders_to_time="inclusive"), current={"BTCUSDT": 10}, share=0.5)
    report = run_check(setup)
    assert get_verdicts(report)["orders_to_time"] == get_verdicts(report)["orders_period"] == "not shown"
    assert "orders_to_time" not in report.values["transcript"]["quirks"]


MALFORMED_BODIES: list[Any] = [
    None,
    [],
    {},
    5,
    "x",
    {"data": None},
    {"data": []},
    {"data": {}},
    {"data": 5},
    {"message": 5},
    {"data": [[]]},
    {"data": {"orders": [{}]}},
    {"data": {"BTCUSDT": None}},
    {"data": {"leverage": {}}},
    {"data": {"symbol": 5, "leverage": "10"}},
    {"data": [{"symbol": []}]},
    {"message": None},
]


# Null, zero and empty values say that the symbol was never configured.
BODIES_WITHOUT_A_LEVERAGE: list[Any] = [
    {"data": None},
    {"data": {}},
    {"data": {"BTCUSDT": None}},
    {"data": {"leverage": {}}},
]


@pytest.mark.parametrize("endpoint", ["*", READ, POSITIONS, ORDERS, "instruments", "wallet", "time", "validate_keys"])
@pytest.mark.parametrize("body", MALFORMED_BODIES, ids=str)
def test_malformed_answers_make_a_report_without_a_defect(new_setup: NewSetup, endpoint: str, body: Any) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault(endpoint, Fault(body=json.dumps(body)), times=None)
    report = run_check(setup)
    assert json.dumps(report.values)
    assert report.values["handled"] is (report.failure is None)
    if endpoint == READ:
        assert report.values["handled"] is (body in BODIES_WITHOUT_A_LEVERAGE)


# --- _read_all ---


@pytest.mark.parametrize("fault", ["html", "list", "garbage", "404-html", "503-html", "redirect-away", "empty", "null"])
def test_another_server_is_reported_after_few_requests(new_setup: NewSetup, fault: str) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault("*", FAULTS[fault], times=None)
    report = run_check(setup)
    assert report.failure is not None
    assert report.failure.startswith("this is not the API of CoinSwitch PRO (")
    assert report.failure.endswith("): check api_url and the proxy, and whether a login page answers instead")
    assert len(setup.sent) <= 6
    assert report.values["transcript"]["answers"]


def test_refused_keys_stop_the_check(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup, keys=(API_KEY, "11" * 32))
    report = run_check(setup)
    assert report.failure is not None
    assert "secret_key and api_key are not a pair" in report.failure
    assert report.error == {"kind": "keys", "status": 401}
    assert setup.sent == ["time", "validate_keys", "validate_keys"]


def test_unreachable_exchange_is_reported(new_setup: NewSetup, unused_url: str) -> None:
    report = run_check(prepare_setup(new_setup, url=unused_url, retries=0))
    assert report.failure is not None
    assert report.failure.startswith("No connection to ")


# --- _note_time ---


@pytest.mark.parametrize(
    ("skew", "verdict"), [(4, "as expected"), (30, "different but handled"), (-30, "different but handled")]
)
def test_clock_is_as_expected_within_5_seconds_and_handled_within_60(
    new_setup: NewSetup, skew: float, verdict: str
) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault("time", Fault(skew=skew))
    assert get_verdicts(run_check(setup))["clock"] == verdict


def test_clock_more_than_60_seconds_off_is_not_handled(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault("time", Fault(skew=300))
    assert get_verdicts(run_check(setup))["clock"] == "NOT HANDLED"


def test_clock_is_compared_with_the_date_header_without_a_server_time(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault("time", FAULTS["404"], times=None)
    report = run_check(setup)
    assert report.failure is None
    assert get_verdicts(report)["server_time"] == "different but handled"
    assert get_verdicts(report)["clock"] == "as expected"


# --- _note_instruments ---


def test_exchange_without_instruments_is_not_handled(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.instruments.clear()
    failure = run_check(setup).failure
    assert failure is not None
    assert failure.startswith("NOT HANDLED: ")


def test_only_symbols_that_are_traded_are_read(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup, Quirks(unset_leverage="422"))
    setup.account.leverage.clear()
    del setup.exchange.instruments["BTCUSDT"]
    setup.exchange.list_instrument("ZZZUSDT", status="SUSPENDED")
    assert run_check(setup).failure is None
    symbols_read = {request.symbol for request in setup.exchange.requests} - {None, "NOSUCHCOINUSDT"}
    assert symbols_read <= set(setup.exchange.instruments) - {"ZZZUSDT", "LUNAUSDT"}


# --- _read_leverages ---


@pytest.mark.parametrize(
    ("fault", "fact"),
    [
        ("other-symbol", "unset_leverage"),
        ("nan", "unset_leverage"),
        ("503", "unset_leverage"),
        ("html", "unset_leverage"),
        ("cut-body", "unset_leverage"),
    ],
)
def test_unreadable_leverage_is_not_handled(new_setup: NewSetup, fault: str, fact: str) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault(READ, FAULTS[fault], times=None)
    report = run_check(setup)
    assert get_verdicts(report)[fact] == "NOT HANDLED"
    assert report.failure is not None
    assert report.failure.startswith("NOT HANDLED: ")


def test_other_refusal_of_the_api_counts_as_never_configured(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault(READ, FAULTS["409"], times=None)
    report = run_check(setup)
    assert report.failure is None
    assert (get_shown(report)["unset_leverage"], get_verdicts(report)["unset_leverage"]) == (
        "409",
        "different but handled",
    )


# --- _read_orders ---


def test_older_order_is_used_if_there_is_no_recent_one(new_setup: NewSetup) -> None:
    setup = new_setup(Quirks(orders_to_time="inclusive"), current={"BTCUSDT": 10}, share=0.5)
    setup.account.open_order("ETHUSDT", "BUY", "1", "1", created_at=NOW_MS - 10 * DAY_MS)
    assert run_check(setup).values["transcript"]["quirks"]["orders_to_time"] == "inclusive"


# --- _note_orders ---


def test_missing_and_additional_fields_are_shown(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)

    def change_orders(value: Any) -> Any:
        rows = [{**row, "client_id": "mine"} for row in value["data"]["orders"]]
        for row in rows:
            del row["side"]
        return {"data": {"orders": rows, "cursor": 5}}

    setup.exchange.add_fault(ORDERS, Fault(transform=change_orders), times=None)
    report = run_check(setup)
    assert report.failure is None
    assert get_shown(report)["fields_orders"] == "more fields, no side"
    assert get_shown(report)["orders_cursor"] == "another value"


@pytest.mark.parametrize("created_at", [1_700_000_000, "2023-11-14T22:13:20Z", None, 0, -5, 17e14])
def test_order_times_of_another_format_are_handled(new_setup: NewSetup, created_at: Any) -> None:
    setup = prepare_setup(new_setup)
    row = {"symbol": "ETHUSDT", "order_id": "a", "created_at": created_at}
    setup.exchange.add_fault(ORDERS, Fault(body={"data": {"orders": [row]}}), times=None)
    report = run_check(setup)
    assert report.failure is None
    assert get_verdicts(report)["order_times"] == "different but handled"
    assert get_verdicts(report)["orders_to_time"] == "not shown"


# --- _read_periods ---


def test_order_missing_from_its_period_is_not_handled(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    created_at = (NOW_MS - 5 * DAY_MS) // 1000 * 1000

    def change_orders(value: Any) -> Any:
        # The order is listed only without a period, and with a time that differs from its own.
        rows = [{**row, "created_at": created_at} for row in value["data"]["orders"]]
        return {"data": {"orders": rows, "cursor": None}}

    setup.exchange.add_fault(ORDERS, Fault(transform=change_orders), times=None)
    report = run_check(setup)
    assert get_shown(report)["orders_period"] == "missed"
    assert get_verdicts(report)["orders_period"] == "NOT HANDLED"


def test_refused_period_is_not_handled(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    for has_order in (True, False):
        setup.exchange.add_fault(ORDERS, Fault())
        if not has_order:
            setup.account.orders.clear()
            setup.exchange.add_fault(ORDERS, Fault())
        setup.exchange.add_fault(ORDERS, FAULTS["400"], times=None)
        report = run_check(setup)
        setup.exchange.clear_faults()
        assert get_shown(report)["orders_period"] == "400"
        assert get_verdicts(report)["orders_period"] == "NOT HANDLED"


# --- _note_all_answers ---


def test_rate_limit_headers_are_shown(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault("time", Fault(headers={"X-RateLimit-Remaining": "19"}))
    report = run_check(setup)
    assert get_shown(report)["rate_limit_headers"] == "present, none"
    (header,) = [
        answer["headers"]["x-ratelimit-remaining"]
        for answer in report.values["transcript"]["answers"]
        if "x-ratelimit-remaining" in answer["headers"]
    ]
    assert header == "19"


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_429_is_shown_with_its_retry_after(new_setup: NewSetup, form: Any) -> None:
    setup = prepare_setup(new_setup, Quirks(retry_after=form), limits={POSITIONS: 2})
    report = run_check(setup)
    assert report.failure is None
    assert get_shown(report)["rate_limit"] == "reached"
    assert report.values["transcript"]["quirks"]["retry_after"] == form


def test_429_without_retry_after_is_shown(new_setup: NewSetup) -> None:
    report = run_check(prepare_setup(new_setup, limits={POSITIONS: 2}))
    assert report.values["transcript"]["quirks"]["retry_after"] is None


@pytest.mark.parametrize(("value", "form"), [("soon", "other"), ("7", "seconds"), ("99999", "other")])
def test_retry_after_is_shown_as_seconds_or_other(new_setup: NewSetup, value: str, form: str) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault(POSITIONS, Fault(status=429, headers={"Retry-After": value}))
    report = run_check(setup)
    assert get_shown(report)["retry_after"] == form
    assert report.failure is None


# --- _note_buckets ---


def test_shared_budget_of_reads_and_writes_is_shown(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup, Quirks(leverage_buckets="shared"))
    # The playbook does these three steps.
    run_check(setup)
    run_check(setup, Trial("DOGEUSDT", 7), writes=False)
    report = run_check(setup, Trial("DOGEUSDT", 7))
    assert report.failure is None
    assert report.values["transcript"]["quirks"]["leverage_buckets"] == "shared"
    assert setup.current["DOGEUSDT"] == 10


# --- _WriteTrial.run ---


@pytest.mark.parametrize("value", READINGS["same_value"].values())
def test_trial_without_a_leverage_writes_the_current_leverage(new_setup: NewSetup, value: Any) -> None:
    setup = prepare_setup(new_setup, Quirks(same_value=value))
    report = run_check(setup, Trial("DOGEUSDT", None))
    assert report.failure is None
    assert [body["leverage"] for body in setup.writes()] == [10]
    assert report.values["transcript"]["quirks"]["same_value"] == value
    assert (report.values["leverage"], report.values["previous_leverage"]) == (10, 10)
    assert report.values["changed"] is False


def test_trial_writes_the_leverage_reads_it_back_and_restores_it(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    report = run_check(setup, Trial("DOGEUSDT", 7))
    assert report.failure is None
    assert [body["leverage"] for body in setup.writes()] == [10, 7, 10]
    assert {body["symbol"] for body in setup.writes()} == {"DOGEUSDT"}
    assert setup.current["DOGEUSDT"] == report.values["leverage"] == 10
    assert report.values["changed"] is False
    assert get_shown(report)["write_answer"] == "echo"
    assert get_shown(report)["read_back"] == "at once"


def test_leverage_is_restored_before_a_defect_is_raised(new_setup: NewSetup, monkeypatch: pytest.MonkeyPatch) -> None:
    setup = prepare_setup(new_setup)
    note = _api_check.Findings.note

    def fail_on_write_answer(findings: Any, fact: str, *args: Any, **kwargs: Any) -> None:
        if fact == "write_answer":
            raise ZeroDivisionError
        note(findings, fact, *args, **kwargs)

    monkeypatch.setattr(_api_check.Findings, "note", fail_on_write_answer)
    with pytest.raises(ZeroDivisionError):
        run_check(setup, Trial("DOGEUSDT", 7))
    assert [body["leverage"] for body in setup.writes()] == [10, 7, 10]
    assert setup.current["DOGEUSDT"] == 10


# --- _WriteTrial._check_symbol ---


@pytest.mark.parametrize("days_ago", [0, 20])
def test_symbol_with_a_position_or_order_is_not_written(new_setup: NewSetup, days_ago: int) -> None:
    setup = prepare_setup(new_setup)
    if days_ago:
        setup.account.open_order("DOGEUSDT", "BUY", "1", "1", created_at=NOW_MS - days_ago * DAY_MS)
    else:
        setup.account.open_position("DOGEUSDT", "LONG", "1")
    report = run_check(setup, Trial("DOGEUSDT", 7))
    assert report.failure == (
        "nothing was written, because DOGEUSDT has an open position or order: choose a symbol that has none"
    )
    assert setup.writes() == []


def test_never_configured_symbol_is_not_written(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup, Quirks(unset_leverage="message"))
    report = run_check(setup, Trial("SOLUSDT", 7))
    assert report.failure is not None
    assert report.failure.startswith("nothing was written, because the leverage of SOLUSDT is not known")
    assert setup.writes() == []


def test_unknown_symbol_is_not_written(new_setup: NewSetup) -> None:
    report = run_check(prepare_setup(new_setup), Trial("NIXUSDT", None))
    assert report.failure == "nothing was written, because EXCHANGE_2 does not list NIXUSDT: check the name"


@pytest.mark.parametrize("endpoint", [POSITIONS, ORDERS, "instruments", READ])
def test_nothing_is_written_if_the_state_cannot_be_read(new_setup: NewSetup, endpoint: str) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault(endpoint, FAULTS["503"], times=None)
    assert run_check(setup, Trial("DOGEUSDT", 7)).failure is not None
    assert setup.writes() == []


# --- _WriteTrial._get_plan ---

RESTORE_ADVICE = (
    "to restore it, run ansible localhost -m tradeops.coinswitch.futures_leverage -a 'symbol=DOGEUSDT leverage=10'"
)


def test_check_mode_returns_the_plan_and_writes_nothing(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    report = run_check(setup, Trial("DOGEUSDT", 7), writes=False)
    assert setup.writes() == []
    assert report.values["plan"] == [
        "POST /trade/api/v2/futures/leverage DOGEUSDT 10 (in force)",
        "POST /trade/api/v2/futures/leverage DOGEUSDT 7 (write_leverage)",
        "POST /trade/api/v2/futures/leverage DOGEUSDT 10 (restored)",
        f"if the check is interrupted: {RESTORE_ADVICE}",
    ]


# --- _WriteTrial._try_value ---


@pytest.mark.parametrize("value", READINGS["limit_answer"].values())
def test_leverage_outside_the_limits_shows_how_it_is_refused(new_setup: NewSetup, value: Any) -> None:
    setup = prepare_setup(new_setup, Quirks(limit_answer=value))
    report = run_check(setup, Trial("DOGEUSDT", 26))
    assert report.failure is None
    assert report.values["transcript"]["quirks"]["limit_answer"] == value
    assert setup.current["DOGEUSDT"] == report.values["leverage"] == 10


# --- _WriteTrial._restore ---


@pytest.mark.parametrize("fault", ["503", "503-done", "drop-before", "drop-after", "html", "other-leverage", "no-data"])
@pytest.mark.parametrize("earlier_writes", [0, 1, 2])
def test_leverage_is_restored_after_a_lost_or_wrong_answer(
    new_setup: NewSetup, fault: str, earlier_writes: int
) -> None:
    setup = prepare_setup(new_setup)
    for _write in range(earlier_writes):
        setup.exchange.add_fault(WRITE, Fault())  # An empty fault: the request is answered as usual.
    setup.exchange.add_fault(WRITE, FAULTS[fault])
    report = run_check(setup, Trial("DOGEUSDT", 7))
    assert setup.current["DOGEUSDT"] == report.values["leverage"] == 10
    assert report.values["changed"] is False


def test_failed_restore_is_reported_with_a_command(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    for _write in range(2):
        setup.exchange.add_fault(WRITE, Fault())  # answered as usual
    setup.exchange.add_fault(WRITE, FAULTS["400"], times=None)
    report = run_check(setup, Trial("DOGEUSDT", 7))
    assert report.failure == f"the leverage of DOGEUSDT is 7, and 10 was not restored: {RESTORE_ADVICE}"
    assert report.values["changed"] is True
    assert report.values["leverage"] == setup.current["DOGEUSDT"] == 7


@pytest.mark.parametrize("fault", ["503", "401"])
def test_leverage_that_cannot_be_read_back_is_unknown(new_setup: NewSetup, fault: str) -> None:
    setup = prepare_setup(new_setup)
    for _read in range(2):
        setup.exchange.add_fault(READ, Fault())  # answered as usual
    setup.exchange.add_fault(READ, FAULTS[fault], times=None)
    report = run_check(setup, Trial("DOGEUSDT", 7))
    assert report.failure is not None
    assert report.failure.startswith("the leverage of DOGEUSDT is not known, and 10 was not restored (")
    assert report.failure.endswith(RESTORE_ADVICE)
    assert report.values["leverage"] is None
    assert report.values["changed"] is True
