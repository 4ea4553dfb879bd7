# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The check finds the reading of each fact, writes only to the symbol of a trial, and restores its leverage."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import endpoints as _endpoints
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import Endpoint
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import Unreachable
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import api_check as _api_check
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.api_facts import PROBES
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.progress import Context
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.queries import Trial
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result
from sandbox import FAULTS
from sandbox.transcripts import read_quirks, readings

from ....project.names import compare_names
from ..client_setup import API_KEY, NOW, ORDERS, POSITIONS, READ, SECRET_KEY, WRITE, ClientSetup, Fault, Quirks

NewSetup = Callable[..., ClientSetup]
READ_ONLY = Trial()
FACTS = {fact: probe.expected.split("|") for fact, probe in PROBES.items()}
READINGS = {fact: probe.get_quirks() for fact, probe in PROBES.items() if probe.quirks}
NOW_MS = int(NOW * 1000)
DAY_MS = 24 * 60 * 60 * 1000
# The readings that reads can show. Each of these quirks changes the response to one fact only.
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


# --- check ---


@pytest.mark.parametrize("fault", [None, "401"])
def test_check_puts_the_client_back(new_setup: NewSetup, fault: str | None) -> None:
    setup = new_setup(retries=3)
    client, observed = setup.futures.client, setup.futures.client.on_response
    if fault:
        setup.exchange.add_fault("*", FAULTS[fault], times=None)
    run_check(setup)
    assert (client.on_response, client.retries) == (observed, 3)


# --- READINGS ---


# The check does not handle these readings, so the transcript does not contain them.
READINGS_NOT_HANDLED = {"unset_leverage": {"500"}}


def test_unclear_response_for_a_never_configured_symbol_is_not_handled(new_setup: NewSetup) -> None:
    report = run_check(prepare_setup(new_setup, Quirks(unset_leverage="500")))
    assert get_verdicts(report)["unset_leverage"] == "NOT HANDLED"
    assert "unset_leverage" not in report.values["transcript"]["quirks"]


def test_every_quirk_of_the_sandbox_has_readings_or_is_never_shown() -> None:
    place = "PROBES in _tasks/api_facts.py, or QUIRKS_NEVER_SHOWN in this test,"
    compare_names(place, set(READINGS) | QUIRKS_NEVER_SHOWN, readings())
    assert not set(READINGS) & QUIRKS_NEVER_SHOWN
    for name, values in READINGS.items():
        values_of_sandbox = set(readings()[name]) - ({"apart"} if name == "leverage_buckets" else set())
        handled = set(values.values()) | READINGS_NOT_HANDLED.get(name, set())
        assert handled == values_of_sandbox, (
            f"quirks of {name} in PROBES in _tasks/api_facts.py (or READINGS_NOT_HANDLED in this test) has other "
            "readings than extensions/sandbox/quirks.py"
        )


# --- the transcript ---


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


# --- check ---


def test_expected_exchange_is_handled_without_a_write(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    report = run_check(setup)
    assert report.failure is None
    assert report.values["handled"] is True
    assert report.values["changed"] is False
    assert set(get_verdicts(report).values()) == {"as expected", "not shown"}
    assert WRITE not in setup.sent


@pytest.mark.parametrize(
    "trial", [Trial("DOGEUSDT", 7), Trial("DOGEUSDT", 26), Trial("DOGEUSDT"), Trial("SOLUSDT", is_new=True)]
)
@pytest.mark.parametrize("has_order", [False, True])
def test_playbook_uses_at_most_half_of_each_rate_limit_and_never_waits(
    new_setup: NewSetup, has_order: bool, trial: Trial
) -> None:
    setup = prepare_setup(new_setup)
    if not has_order:
        setup.account.orders.clear()
    setup.account.open_position("XRPUSDT", "LONG", "2")
    # The playbook does these three steps.
    assert run_check(setup).failure is None
    assert run_check(setup, trial, writes=False).failure is None
    assert run_check(setup, trial).failure is None
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


# --- _read_all ---


@pytest.mark.parametrize("fault", ["html", "list", "garbage", "404-html", "503-html", "redirect-away", "empty", "null"])
def test_another_server_is_reported_after_few_requests(new_setup: NewSetup, fault: str) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault("*", FAULTS[fault], times=None)
    report = run_check(setup)
    assert report.failure is not None
    assert report.failure.startswith(
        "This is not the API of CoinSwitch PRO. Check api_url and the proxy, and whether a login page answers instead. "
    )
    assert report.error == {"kind": "unexpected_response", "status": 200}
    assert len(setup.sent) <= 6
    assert report.values["transcript"]["responses"]


def test_refused_keys_stop_the_check(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup, keys=(API_KEY, "11" * 32))
    report = run_check(setup)
    assert report.failure is not None
    assert "secret_key and api_key are not a pair" in report.failure
    assert report.error == {"kind": "keys", "status": 401}
    # Futures have an authentication layer of their own, so they are asked, too.
    assert setup.sent == ["time", *["validate_keys"] * 2, *["instruments"] * 2]


def test_unreachable_exchange_is_reported(new_setup: NewSetup, unused_url: str) -> None:
    report = run_check(prepare_setup(new_setup, url=unused_url, retries=0))
    assert report.failure is not None
    assert report.failure.startswith("No connection to ")


def test_max_wait_is_as_before_after_the_check(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    before = setup.pacer.max_wait
    run_check(setup, Trial("DOGEUSDT", 7))
    assert setup.pacer.max_wait == before


# --- keys and keys_futures ---


def test_keys_that_only_futures_accept_are_handled(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault("validate_keys", FAULTS["401"], times=None)
    report = run_check(setup)
    assert report.failure is None
    assert (get_shown(report)["keys"], get_verdicts(report)["keys"]) == ("401", "different but handled")
    assert (get_shown(report)["keys_futures"], get_verdicts(report)["keys_futures"]) == ("valid", "as expected")


def test_keys_that_futures_refuse_are_not_handled(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault("futures", FAULTS["401"], times=None)
    report = run_check(setup)
    assert report.failure is not None
    assert "Do not create a new pair." in report.failure
    assert report.error == {"kind": "keys", "status": 401}
    assert (get_shown(report)["keys"], get_verdicts(report)["keys"]) == ("valid", "as expected")
    assert (get_shown(report)["keys_futures"], get_verdicts(report)["keys_futures"]) == ("401", "NOT HANDLED")


def test_one_refusal_of_the_keys_is_handled(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault(READ, FAULTS["401"])
    report = run_check(setup)
    assert report.failure is None
    assert get_shown(report)["keys_futures"] == "valid, some 401"
    assert get_verdicts(report)["keys_futures"] == "different but handled"


# --- position_leverage ---


@pytest.mark.parametrize(("setting", "shown"), [(10, "same"), (7, "another value")])
def test_leverage_of_a_position_is_compared_with_the_setting(new_setup: NewSetup, setting: int, shown: str) -> None:
    setup = prepare_setup(new_setup)
    setup.account.leverage["XRPUSDT"] = 10
    setup.account.open_position("XRPUSDT", "LONG", "2")
    setup.account.leverage["XRPUSDT"] = setting
    report = run_check(setup)
    assert report.failure is None
    assert get_shown(report)["position_leverage"] == shown
    assert get_verdicts(report)["position_leverage"] == ("as expected" if shown == "same" else "different but handled")


# --- account_in_use ---

HFT = (
    "The wallet is empty, and nothing is open. If you trade HFT futures, note that HFT is another account of the same "
    "keys. A leverage that this collection sets does not apply there."
)


@pytest.mark.parametrize("wallet", ["zeros", "no rows", "message", "not an object"])
def test_empty_account_has_a_warning_about_hft(new_setup: NewSetup, wallet: str) -> None:
    setup = prepare_setup(new_setup)
    setup.account.orders.clear()
    setup.account.balance = setup.account.balance * 0
    bodies: dict[str, Any] = {
        "no rows": {"data": {"base_asset_balances": [], "asset": []}},
        "message": {"message": "There is no wallet"},
        "not an object": {"data": {"base_asset_balances": [{"base_asset": "USDT", "balances": "0"}], "asset": None}},
    }
    if wallet in bodies:
        setup.exchange.add_fault("wallet", Fault(body=bodies[wallet]), times=None)
    report = run_check(setup)
    assert get_shown(report)["account_in_use"] == "no"
    assert list(report.warnings) == [HFT]


@pytest.mark.parametrize("use", ["money", "position", "order", "unreadable amount"])
def test_account_in_use_has_no_warning(new_setup: NewSetup, use: str) -> None:
    setup = prepare_setup(new_setup)
    setup.account.orders.clear()
    if use != "money":
        setup.account.balance = setup.account.balance * 0
    if use == "position":
        setup.account.open_position("ETHUSDT", "LONG", "1")
    if use == "order":
        setup.account.open_order("ETHUSDT", "BUY", "1", "1", created_at=NOW_MS - DAY_MS)
    if use == "unreadable amount":
        row = {"base_asset": "USDT", "balances": {"total_balance": "many"}}
        body = {"data": {"base_asset_balances": [row], "asset": []}}
        setup.exchange.add_fault("wallet", Fault(body=body), times=None)
    report = run_check(setup)
    assert get_shown(report)["account_in_use"] == "yes"
    assert list(report.warnings) == []


# --- early_429 ---


def test_half_of_a_limit_is_sent_in_a_row(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    report = run_check(setup)
    assert setup.sent[-10:] == ["wallet"] * 10
    assert (get_shown(report)["early_429"], get_verdicts(report)["early_429"]) == ("no", "as expected")


def test_early_429_is_shown_and_ends_the_burst(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault("wallet", FAULTS["burst"], times=None)
    report = run_check(setup)
    assert report.failure is None
    assert get_shown(report)["early_429"] == "after 5 requests"
    assert get_verdicts(report)["early_429"] == "different but handled"
    statuses = [request.status for request in setup.exchange.requests if request.endpoint == "wallet"]
    # The sixth request was refused until a pause was long enough. Then the check sends no more of them.
    assert (statuses[:6], statuses.count(200)) == ([*[200] * 5, 429], 6)


def test_smaller_share_sends_fewer_requests_in_a_row(new_setup: NewSetup) -> None:
    setup = new_setup(share=0.25, current={"BTCUSDT": 10})
    run_check(setup)
    assert setup.sent.count("wallet") == 5


@pytest.mark.parametrize("writes", [True, False])
@pytest.mark.parametrize(("share", "allowed"), [(0.3, "allows 3"), (0.4, "")])
def test_share_that_delays_the_restore_is_refused(
    new_setup: NewSetup, share: float, allowed: str, writes: bool
) -> None:
    setup = new_setup(share=share, current={"BTCUSDT": 10, "DOGEUSDT": 10})
    report = run_check(setup, Trial("DOGEUSDT", 7), writes)
    assert bool(report.failure) is bool(allowed)
    assert allowed in (report.failure or "")
    assert bool(setup.writes()) is (writes and not allowed)
    assert setup.account.leverage["DOGEUSDT"] == 10


# --- clock and server_time ---


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


# --- limits ---


def test_exchange_without_instruments_is_not_handled(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.instruments.clear()
    failure = run_check(setup).failure
    assert failure is not None
    assert failure.startswith("The collection does not handle these responses: limits (none usable), ")


@pytest.mark.parametrize(
    ("limits", "shown", "verdict"),
    [
        ({"max_leverage": "12.5"}, "fractions, whole numbers", "different but handled"),
        ({"min_leverage": "1.5", "leverage_step": 0.01}, "fractions, whole numbers", "different but handled"),
        ({"max_leverage": None}, "not usable, whole numbers", "different but handled"),
        ({"leverage_step": 0}, "not usable, whole numbers", "different but handled"),
        ({"min_leverage": 30, "max_leverage": 20}, "not usable, whole numbers", "different but handled"),
        ({}, "whole numbers", "as expected"),
    ],
)
def test_each_form_of_limits_is_shown(new_setup: NewSetup, limits: dict[str, Any], shown: str, verdict: str) -> None:
    setup = prepare_setup(new_setup)

    def change_limits(value: Any) -> Any:
        return {"data": {**value["data"], "BTCUSDT": {**value["data"]["BTCUSDT"], **limits}}}

    setup.exchange.add_fault("instruments", Fault(transform=change_limits), times=None)
    report = run_check(setup)
    assert report.failure is None
    assert (get_shown(report)["limits"], get_verdicts(report)["limits"]) == (shown, verdict)


def test_limits_that_are_all_unusable_are_not_handled(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)

    def remove_limits(value: Any) -> Any:
        return {"data": {name: {**row, "max_leverage": "much"} for name, row in value["data"].items()}}

    setup.exchange.add_fault("instruments", Fault(transform=remove_limits), times=None)
    assert get_verdicts(run_check(setup))["limits"] == "NOT HANDLED"


@pytest.mark.parametrize("is_outside", [True, False])
def test_instruments_nested_by_exchange_are_not_handled(new_setup: NewSetup, is_outside: bool) -> None:
    setup = prepare_setup(new_setup)

    def nest(value: Any) -> Any:
        if is_outside:
            return {"data": {"EXCHANGE_2": value["data"]}}
        return {"data": {name: {"EXCHANGE_2": row} for name, row in value["data"].items()}}

    setup.exchange.add_fault("instruments", Fault(transform=nest), times=None)
    report = run_check(setup)
    assert (get_shown(report)["limits"], get_verdicts(report)["limits"]) == ("nested by exchange", "NOT HANDLED")


def test_only_symbols_that_are_traded_are_read(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup, Quirks(unset_leverage="422"))
    setup.account.leverage.clear()
    del setup.exchange.instruments["BTCUSDT"]
    setup.exchange.list_instrument("ZZZUSDT", status="SUSPENDED")
    assert run_check(setup).failure is None
    symbols_read = {request.symbol for request in setup.exchange.requests} - {None, "NOSUCHCOINUSDT"}
    assert symbols_read <= set(setup.exchange.instruments) - {"ZZZUSDT", "LUNAUSDT"}


# --- unset_leverage ---


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
    assert report.failure.startswith("The collection does not handle these responses: ")
    assert f"{fact} (" in report.failure
    assert report.failure.endswith("). Do not use it with this exchange yet. Open an issue, and attach the transcript.")
    assert report.error == {"kind": "not_handled"}


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


# --- fields_orders and order_times ---


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


# --- rate_limit and retry_after ---


def test_transcript_has_the_headers_about_rate_limits(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault("time", Fault(headers={"X-RateLimit-Remaining": "19"}))
    first = run_check(setup).values["transcript"]["responses"][0]
    assert first["headers"]["x-ratelimit-remaining"] == "19"


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_429_is_shown_with_its_retry_after(new_setup: NewSetup, form: Any) -> None:
    setup = prepare_setup(new_setup, Quirks(retry_after=form), limits={POSITIONS: 1})
    report = run_check(setup)
    assert report.failure is None
    assert get_shown(report)["rate_limit"] == "not reached, reached"
    assert get_verdicts(report)["rate_limit"] == "different but handled"
    assert report.values["transcript"]["quirks"]["retry_after"] == form


def test_429_without_retry_after_is_shown(new_setup: NewSetup) -> None:
    report = run_check(prepare_setup(new_setup, limits={POSITIONS: 1}))
    assert report.values["transcript"]["quirks"]["retry_after"] is None


@pytest.mark.parametrize(("value", "form"), [("soon", "other"), ("7", "seconds"), ("99999", "other")])
def test_retry_after_is_shown_as_seconds_or_other(new_setup: NewSetup, value: str, form: str) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault(POSITIONS, Fault(status=429, headers={"Retry-After": value}))
    report = run_check(setup)
    assert get_shown(report)["retry_after"] == form
    assert report.failure is None


# --- leverage_buckets ---


def test_shared_budget_of_reads_and_writes_is_shown(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup, Quirks(leverage_buckets="shared"))
    # The playbook does these three steps.
    run_check(setup)
    run_check(setup, Trial("DOGEUSDT", 7), writes=False)
    report = run_check(setup, Trial("DOGEUSDT", 7))
    assert report.failure is None
    assert report.values["transcript"]["quirks"]["leverage_buckets"] == "shared"
    assert setup.current["DOGEUSDT"] == 10


# --- _try_writes ---


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
    check_written = _api_check._check_written

    def fail_after_trial(changed: Any) -> Any:
        return 1 / 0 if changed.goal.leverage == 7 else check_written(changed)

    monkeypatch.setattr(_api_check, "_check_written", fail_after_trial)
    with pytest.raises(ZeroDivisionError):
        run_check(setup, Trial("DOGEUSDT", 7))
    assert [body["leverage"] for body in setup.writes()] == [10, 7, 10]
    assert setup.current["DOGEUSDT"] == 10


# --- _find_free_symbol ---


@pytest.mark.parametrize("days_ago", [0, 20])
def test_symbol_with_a_position_or_order_is_not_written(new_setup: NewSetup, days_ago: int) -> None:
    setup = prepare_setup(new_setup)
    if days_ago:
        setup.account.open_order("DOGEUSDT", "BUY", "1", "1", created_at=NOW_MS - days_ago * DAY_MS)
    else:
        setup.account.open_position("DOGEUSDT", "LONG", "1")
    report = run_check(setup, Trial("DOGEUSDT", 7))
    assert report.failure == (
        "Nothing was written, because DOGEUSDT has an open position or order. Choose a symbol that has none."
    )
    assert report.error == {"kind": "failed"}
    assert setup.writes() == []


def test_never_configured_symbol_is_not_written(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup, Quirks(unset_leverage="message"))
    report = run_check(setup, Trial("SOLUSDT", 7))
    assert report.failure is not None
    assert report.failure.startswith(
        "Nothing was written, because the exchange returned no leverage for SOLUSDT, so it could not be restored. "
        "Choose a symbol that was configured before, or use new_symbol. The exchange returned no leverage: "
    )
    assert report.error == {"kind": "failed"}
    assert setup.writes() == []


def test_unknown_symbol_is_not_written(new_setup: NewSetup) -> None:
    report = run_check(prepare_setup(new_setup), Trial("NIXUSDT", None))
    assert report.failure == "Nothing was written to NIXUSDT. EXCHANGE_2 does not list this symbol. Check the name."
    assert report.error == {"kind": "not_listed"}


@pytest.mark.parametrize("endpoint", [POSITIONS, ORDERS, "instruments", READ])
def test_nothing_is_written_if_the_state_cannot_be_read(new_setup: NewSetup, endpoint: str) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault(endpoint, FAULTS["503"], times=None)
    assert run_check(setup, Trial("DOGEUSDT", 7)).failure is not None
    assert setup.writes() == []


# --- _make_plan ---

RESTORE = "ansible localhost -m tradeops.coinswitch.futures_leverage -a 'symbol=DOGEUSDT leverage=10'"


def test_check_mode_returns_the_plan_and_writes_nothing(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    report = run_check(setup, Trial("DOGEUSDT", 7), writes=False)
    assert setup.writes() == []
    assert report.values["plan"] == [
        "POST /trade/api/v2/futures/leverage DOGEUSDT 10 (in force)",
        "POST /trade/api/v2/futures/leverage DOGEUSDT 7 (write_leverage)",
        "POST /trade/api/v2/futures/leverage DOGEUSDT 10 (restored)",
        f"If the leverage is not 10 afterwards, run {RESTORE}",
    ]


# --- limit_answer ---


@pytest.mark.parametrize("value", READINGS["limit_answer"].values())
def test_leverage_outside_the_limits_shows_how_it_is_refused(new_setup: NewSetup, value: Any) -> None:
    setup = prepare_setup(new_setup, Quirks(limit_answer=value))
    report = run_check(setup, Trial("DOGEUSDT", 26))
    assert report.failure is None
    assert report.values["transcript"]["quirks"]["limit_answer"] == value
    assert setup.current["DOGEUSDT"] == report.values["leverage"] == 10


# --- _write_and_restore ---


@pytest.mark.parametrize("fault", ["503", "503-done", "drop-before", "drop-after", "html", "other-leverage", "no-data"])
@pytest.mark.parametrize("earlier_writes", [0, 1, 2])
def test_leverage_is_restored_after_a_lost_or_wrong_response(
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
    assert report.failure == (
        "The leverage of DOGEUSDT was not restored to 10. The leverage is still 7, not 10. No open position or order "
        "was found that blocks the change. The exchange refused POST /trade/api/v2/futures/leverage with HTTP 400: "
        f'"Bad Request". Run {RESTORE}'
    )
    assert report.error == {"kind": "not_restored"}
    assert report.values["changed"] is True
    assert report.values["leverage"] == setup.current["DOGEUSDT"] == 7


@pytest.mark.parametrize("fault", ["503", "401"])
def test_leverage_that_cannot_be_read_back_is_unknown(new_setup: NewSetup, fault: str) -> None:
    setup = prepare_setup(new_setup)
    for _read in range(2):
        setup.exchange.add_fault(READ, Fault())  # answered as usual
    setup.exchange.add_fault(READ, FAULTS[fault], times=None)
    report = run_check(setup, Trial("DOGEUSDT", 7))
    # With refused keys, the leverage is not restored again.
    assert setup.sent.count("validate_keys") == 2 * (fault == "401")
    assert report.failure is not None
    assert report.failure.startswith(
        "The leverage of DOGEUSDT was not restored to 10. The current leverage is not known. "
    )
    assert report.failure.endswith(f" Run {RESTORE}")
    assert report.error == {"kind": "not_restored"}
    assert report.values["leverage"] is None
    assert report.values["changed"] is True


@pytest.mark.parametrize("fault", ["429", "401", "503", "drop-after"])
@pytest.mark.parametrize("earlier_writes", [0, 1, 2])
def test_single_fault_of_a_write_does_not_end_the_check(new_setup: NewSetup, fault: str, earlier_writes: int) -> None:
    setup = prepare_setup(new_setup)
    for _write in range(earlier_writes):
        setup.exchange.add_fault(WRITE, Fault())  # answered as usual
    setup.exchange.add_fault(WRITE, FAULTS[fault])
    report = run_check(setup, Trial("DOGEUSDT", 7))
    assert report.failure is None
    assert setup.current["DOGEUSDT"] == report.values["leverage"] == 10
    assert 7 in [body["leverage"] for body in setup.writes()]


@pytest.mark.parametrize(
    ("fault", "kind"), [("401", "keys"), ("drop-before", "unclear_response"), ("503", "unclear_response")]
)
def test_write_that_always_fails_ends_the_check(new_setup: NewSetup, fault: str, kind: str) -> None:
    setup = prepare_setup(new_setup)
    setup.exchange.add_fault(WRITE, FAULTS[fault], times=None)
    report = run_check(setup, Trial("DOGEUSDT", 7))
    if fault == "401":
        assert report.failure is not None
        assert report.failure.startswith("The check of DOGEUSDT ended early. ")
        assert report.failure.endswith(" The leverage of DOGEUSDT is 10 again.")
        assert report.error is not None
        assert report.error["kind"] == kind
    assert setup.current["DOGEUSDT"] == report.values["leverage"] == 10
    assert report.values["changed"] is False


def test_trial_waits_for_its_rate_limits_before_the_first_write(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup)
    for _run in range(2):
        assert run_check(setup, Trial("DOGEUSDT", 7)).failure is None
    first_write = [request.at for request in setup.exchange.requests if request.endpoint == WRITE][3]
    last_request = setup.exchange.requests[-1].at
    assert setup.clock.slept
    assert last_request - first_write < 1


def test_trial_that_does_not_fit_into_the_max_wait_writes_nothing(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup, max_wait=0)
    run_check(setup, Trial("DOGEUSDT", 7))
    report = run_check(setup, Trial("DOGEUSDT", 7))
    assert report.error == {"kind": "rate_limit"}
    assert [body["leverage"] for body in setup.writes()] == [10, 7, 10]


# --- interruptions ---


def interrupt_at_write(setup: ClientSetup, number: int, signal_number: int) -> None:
    """Send a signal to this process when the exchange answers this write, counted from 0."""

    def interrupt(value: Any) -> Any:
        os.kill(os.getpid(), signal_number)
        return value

    for _write in range(number):
        setup.exchange.add_fault(WRITE, Fault())  # answered as usual
    setup.exchange.add_fault(WRITE, Fault(transform=interrupt))


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGALRM"])
def test_signal_ends_the_check_after_the_leverage_is_restored(new_setup: NewSetup, name: str, number: int) -> None:
    setup = prepare_setup(new_setup)
    signal_number = getattr(signal, name)
    interrupt_at_write(setup, number, signal_number)
    # A program that runs in the background starts with some signals ignored, and its children ignore them, too.
    before = signal.signal(signal_number, lambda *_arguments: None)
    try:
        handler = signal.getsignal(signal_number)
        report = run_check(setup, Trial("DOGEUSDT", 7))
        assert signal.getsignal(signal_number) == handler
    finally:
        signal.signal(signal_number, before)
    assert setup.current["DOGEUSDT"] == report.values["leverage"] == 10
    if number < 2:
        assert report.failure == "The check was stopped by a signal. The leverage of DOGEUSDT is 10 again."
        assert report.error == {"kind": "stopped"}
        assert setup.writes()[-1]["leverage"] == 10


@pytest.mark.parametrize("number", [0, 1, 2])
def test_handler_of_ansible_gets_the_signal_after_the_leverage_is_restored(new_setup: NewSetup, number: int) -> None:
    setup = prepare_setup(new_setup)
    seen: list[int | None] = []
    before = signal.signal(signal.SIGTERM, lambda *_: seen.append(setup.current["DOGEUSDT"]))
    try:
        interrupt_at_write(setup, number, signal.SIGTERM)
        run_check(setup, Trial("DOGEUSDT", 7))
    finally:
        signal.signal(signal.SIGTERM, before)
    assert seen == [10]


@pytest.mark.parametrize("count", range(10))
def test_only_the_leverage_is_restored_after_the_task_has_ended(new_setup: NewSetup, count: int) -> None:
    """The task ends after some requests. Each later request is one of the restore."""
    setup = prepare_setup(new_setup)

    def may_send() -> None:
        if len(setup.sent) >= count + 9:
            raise Unreachable("the task has ended", can_retry=False)

    setup.transport._may_send = may_send
    report = run_check(setup, Trial("DOGEUSDT", 7))
    assert setup.current["DOGEUSDT"] == 10
    assert set(setup.sent[count + 9 :]) <= {READ, WRITE}
    assert 7 not in [
        request.body["leverage"] for request in setup.exchange.requests[count + 9 :] if request.endpoint == WRITE
    ]
    if report.failure is not None:
        assert report.error == {"kind": "network"}


# --- association ---


@pytest.mark.parametrize("value", READINGS["unset_leverage"].values())
def test_first_write_of_a_new_symbol_shows_the_association(new_setup: NewSetup, value: Any) -> None:
    setup = prepare_setup(new_setup, Quirks(unset_leverage=value))
    report = run_check(setup, Trial("SOLUSDT", is_new=True))
    assert report.failure is None
    assert report.values["transcript"]["quirks"]["unset_leverage"] == value
    assert get_shown(report)["association"] == ("hidden by a default" if value == "default" else "created")
    assert get_verdicts(report)["association"] == "as expected"
    expected = 10 if value == "default" else 1
    assert [body["leverage"] for body in setup.writes()] == [expected]
    assert report.values["previous_leverage"] == (10 if value == "default" else None)
    assert report.values["leverage"] == setup.current["SOLUSDT"] == expected
    assert report.values["changed"] is (value != "default")


def test_new_symbol_that_has_no_leverage_after_its_first_write_is_not_handled(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup, Quirks(unset_leverage="404"))
    setup.exchange.add_fault(READ, FAULTS["404"], times=None)
    report = run_check(setup, Trial("SOLUSDT", is_new=True))
    assert (get_shown(report)["association"], get_verdicts(report)["association"]) == ("missing", "NOT HANDLED")


def test_check_mode_plans_the_first_write_of_a_new_symbol(new_setup: NewSetup) -> None:
    setup = prepare_setup(new_setup, Quirks(unset_leverage="404"))
    report = run_check(setup, Trial("SOLUSDT", is_new=True), writes=False)
    assert report.failure is None
    assert report.values["plan"] == [
        "POST /trade/api/v2/futures/leverage SOLUSDT 1 (the first write of this symbol, which cannot be undone)"
    ]
    assert setup.writes() == []


@pytest.mark.parametrize(("fault", "kind"), [("401", "keys"), ("503", "unclear_response")])
def test_first_write_that_fails_is_reported(new_setup: NewSetup, fault: str, kind: str) -> None:
    setup = prepare_setup(new_setup, Quirks(unset_leverage="404"))
    setup.exchange.add_fault(WRITE, FAULTS[fault], times=None)
    report = run_check(setup, Trial("SOLUSDT", is_new=True))
    assert report.failure is not None
    assert report.failure.startswith("The check of SOLUSDT ended early. ")
    assert report.error is not None
    assert report.error["kind"] == kind
    assert "association" not in get_shown(report)
