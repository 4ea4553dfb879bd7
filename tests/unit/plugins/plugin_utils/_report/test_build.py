# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The numbers of the report add up, and each leverage that does not comply has one problem and one action."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import build as _build
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import findings as _findings
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import history as _history

from .rows import BLOCKER, REPORTS, make_account, make_leverages, make_row


def get_account(account: dict[str, Any]) -> dict[str, Any]:
    """Return what the report says of a single account."""
    (account_report,) = leverage_report({"alpha": account})["accounts"]
    return dict(account_report)


def get_reasons(report: dict[str, Any]) -> list[tuple[Any, ...]]:
    """Return the accounts, the symbols, the cause and the reason of each problem."""
    return [(row["accounts"], row["symbols"], row["cause"], row["reason"]) for row in report["problems"]]


# --- assemble ---


@given(REPORTS, REPORTS)
def test_each_leverage_counts_once_in_every_total(
    first: dict[str, dict[str, Any]], second: dict[str, dict[str, Any]]
) -> None:
    previous = leverage_report(first, time="2026-11-22T02:00:00Z", previous={})
    report = leverage_report(second, time="2026-11-23T02:00:00Z", previous=previous)
    rows = [row for account in report["accounts"] for row in account["leverages"]]
    policies = [len(account.get("results") or _build.read_policy(account.get("policy"))) for account in second.values()]
    assert len(rows) == sum(policies)
    names = ("complying", "not_complying", "not_known")
    compliance = Counter(row["compliant"] for row in rows)
    expected = [compliance[True], compliance[False], compliance[None]]
    for totals in ([report["summary"]], report["accounts"], report["symbols"]):
        assert [sum(total[name] for total in totals) for name in names] == expected
    assert sum(report["summary"]["outcomes"].values()) == len(rows)
    findings = report["findings"]
    assert {(row["account"], row["symbol"]) for row in findings if row["symbol"]} >= {
        (account["account"], row["symbol"])
        for account in report["accounts"]
        for row in account["leverages"]
        if not row["compliant"]
    }
    for numbers in (
        report["summary"]["severities"].values(),
        (action["findings"] for action in report["actions"]),
        (problem["findings"] for problem in report["problems"]),
    ):
        assert sum(numbers) == len(findings) == report["summary"]["findings"]
    assert report["compliant"] == (not findings and bool(rows))
    _history.read_earlier_report(json.loads(json.dumps(report)))


def test_account_that_was_not_reached_counts_with_its_whole_policy() -> None:
    policy = {"policy": {"A": 10, "B": 5}}
    report = leverage_report(
        {
            "alpha": make_leverages(A=10, B=10),
            "refused keys": make_account(*(make_row(symbol, "unknown", None, None, "keys") for symbol in "AB")),
            "no keys": {**policy, "msg": "why", "unset": ["coinswitch_api_key", "coinswitch_secret_key"]},
            "unreachable": {**policy, "msg": "ssh", "unreachable": True},
            "absent": policy,
        }
    )
    both_unset = (
        "coinswitch_api_key and coinswitch_secret_key of no keys are not set. "
        "Set the keys of the account in the inventory."
    )
    summary = report["summary"]
    assert (summary["leverages"], summary["complying"], summary["not_complying"], summary["not_known"]) == (10, 2, 0, 8)
    assert (summary["accounts_not_reached"], summary["accounts_compliant"]) == (4, 1)
    assert get_reasons(report) == [
        (["refused keys"], ["A", "B"], "keys", "The reason is keys."),
        (["no keys"], ["A", "B"], "keys", both_unset),
        (["unreachable"], ["A", "B"], "network", "Ansible could not reach the host. ssh"),
        (["absent"], ["A", "B"], "not_asked", _build.NOT_ASKED),
    ]  # fmt: skip


def test_sentence_that_many_rows_share_is_stored_once() -> None:
    symbols = [f"S{number:03}" for number in range(100)]
    reason = "The exchange did not respond. " * 9
    rows = [make_row(symbol, "unknown", None, None, "network", reason=reason) for symbol in symbols]
    accounts = {f"account-{number:03}": make_account(*rows, check_mode=True) for number in range(50)}
    above = make_account(*(make_row(symbol, "changed", 20, 10) for symbol in symbols), check_mode=True)
    first = leverage_report(dict.fromkeys(accounts, above), previous={})
    report = leverage_report(accounts, previous=first)
    text = json.dumps(report)
    assert text.count(reason.strip()) == 1
    assert len(report["findings"]) == 5000
    assert len(text) / 5000 < 32 * 1024 * 1024 / 50_000, "500 accounts with 100 symbols in an outage fit into 32 MiB"


def test_each_finding_has_an_action_and_enforce_has_a_command() -> None:
    report = leverage_report(
        {
            "alpha": make_leverages(A=20, B=5),
            "beta": make_account(make_row("A", "blocked", 20, 20, "position", blockers=[BLOCKER]), check_mode=True),
            "gamma": make_account(make_row("A", "unknown", None, None, "keys"), check_mode=True),
            "delta": make_leverages(A=None, B=20),
        },
        inventory=["/srv/my desk/inventory"],
    )
    command = "ansible-playbook -i '/srv/my desk/inventory' tradeops.coinswitch.enforce --limit alpha,delta"
    assert [tuple(action.values()) for action in report["actions"]] == [
        ("enforce", 3, ["alpha", "delta"], command),
        ("close", 1, ["beta"], None),
        ("correct", 1, ["gamma"], None),
        ("check", 1, ["delta"], None),
    ]


@pytest.mark.parametrize("names", [["a b"], ["a,b"], ["{{ 7 }}"], ["*"], [f"a{number}" for number in range(21)]])
def test_command_has_no_limit_if_it_would_be_a_pattern_or_too_long(names: list[str]) -> None:
    report = leverage_report({name: make_leverages(A=20) for name in names})
    assert report["actions"][0]["command"] == "ansible-playbook tradeops.coinswitch.enforce"


def test_totals_by_symbol_have_the_most_dangerous_severity() -> None:
    report = leverage_report({"alpha": make_leverages(A=20, B=10), "beta": make_leverages(A=5, C=None)})
    assert [(row["symbol"], row["leverages"], row["severity"]) for row in report["symbols"]] == [
        ("A", 2, "above_policy"),
        ("B", 1, None),
        ("C", 1, "unknown"),
    ]


# --- accounts with the same key ---


def test_same_key_and_same_symbol_are_not_known_for_both_accounts() -> None:
    accounts = {
        "alpha": {**make_leverages(A=10, B=10), "account": "k1"},
        "beta": {**make_leverages(A=10, C=10), "account": "k1"},
    }
    report = leverage_report(accounts)
    assert [(row["account"], row["symbol"], row["cause"], row["action"]) for row in report["findings"]] == [
        ("alpha", "A", "same_key", "correct"),
        ("beta", "A", "same_key", "correct"),
    ]
    ((_accounts, _symbols, _cause, reason),) = get_reasons(report)
    assert reason.startswith("alpha and beta use the same API key and name the same symbols (A).")
    assert [account["outcomes"] for account in report["accounts"]] == [["unknown", "unchanged"]] * 2
    assert report["warnings"] == []


def test_same_key_with_different_symbols_is_a_warning() -> None:
    accounts = {"alpha": {**make_leverages(A=10), "account": "k1"}, "beta": {**make_leverages(B=10), "account": "k1"}}
    report = leverage_report(accounts)
    assert report["compliant"]
    assert report["warnings"] == ["alpha and beta use the same API key. Check that each account has its own keys."]


def test_accounts_that_were_left_out_before_the_run_have_the_same_reason() -> None:
    account = {"policy": {"A": 10, "B": 10}, "key_id": "k1"}
    report = leverage_report({"alpha": account, "beta": {**account, "policy": {"A": 10}}})
    assert [(row["accounts"], row["symbols"], row["cause"]) for row in report["problems"]] == [
        (["alpha", "beta"], ["A", "B"], "same_key")
    ]


# --- read_account ---


def test_change_that_check_mode_predicts_is_drift() -> None:
    row = make_row("A", "changed", 20, 10)
    (drifted,) = get_account(make_account(row, check_mode=True))["leverages"]
    (changed,) = get_account(make_account(row))["leverages"]
    assert (drifted["outcome"], drifted["leverage"], drifted["changed"]) == ("drifted", 20, False)
    assert (changed["outcome"], changed["leverage"], changed["changed"]) == ("changed", 10, True)


def test_leverage_that_a_real_run_could_not_read_back_is_drift_in_check_mode() -> None:
    row = make_row("A", "unknown", 50, None, "rate_limit", blockers=[BLOCKER])
    report = leverage_report({"alpha": make_account(row, make_row("B", "unknown", 5, None), check_mode=True)})
    assert report["headline"].startswith("Above the policy: 1 of 2 leverages, up to 5 times the policy")
    assert [
        (finding["leverage"], finding["outcome"], finding["cause"], finding["action"]) for finding in report["findings"]
    ] == [(50, "drifted", "position", "close"), (5, "drifted", None, "enforce")]
    assert get_reasons(report)[0][3] == "The leverage is 50, and the policy is 10."
    (real_run,) = get_account(make_account(row))["leverages"]
    assert (real_run["outcome"], real_run["leverage"]) == ("unknown", None), "a real run may have written it"


@pytest.mark.parametrize("outcome", ["unchanged", "changed", "blocked", "refused", "not_written", "unknown"])
@given(previous=st.integers(1, 20))
def test_drift_check_shows_each_leverage_that_was_read(outcome: str, previous: int) -> None:
    # The leverage after a change is a prediction, and an unknown one was not predicted.
    leverage = {"changed": 10, "unknown": None}.get(outcome, previous)
    account = get_account(make_account(make_row("A", outcome, previous, leverage, "network"), check_mode=True))
    assert [row["leverage"] for row in account["leverages"]] == [previous]


@pytest.mark.parametrize("enforce", ["minimum", "", None, 5, ["exact"]])
def test_mistyped_enforce_is_not_known(enforce: Any) -> None:
    account = get_account({"policy": {"A": 10}, "enforce": enforce, "msg": "no such choice"})
    assert (account["enforce"], account["not_known"]) == (None, 1)


UNSET = "key of alpha is not set. Set the keys of the account in the inventory."


@pytest.mark.parametrize(
    ("account", "reason"),
    [
        ({}, _build.NOT_ASKED),
        ({"policy": {}, "msg": "leverages is empty"}, _build.NO_POLICY),
        ({"policy": "", "results": []}, _build.NO_POLICY),
        ({"policy": {}}, _build.NOT_ASKED),
        ({"msg": "the variable\n is undefined"}, "the variable is undefined"),
        ({"policy": "BTCUSDT", "msg": "cannot convert\nto dict"}, "cannot convert to dict"),
        ({"policy": [], "msg": "x", "unset": ["key"]}, UNSET),
    ],
)
def test_account_without_rows_has_one_finding(account: dict[str, Any], reason: str) -> None:
    report = leverage_report({"alpha": account})
    assert get_reasons(report)[0][3] == reason
    assert [(row["account"], row["symbol"], row["severity"]) for row in report["findings"]] == [
        ("alpha", None, "not_reached")
    ]
    (account_report,) = report["accounts"]
    assert (account_report["outcomes"], account_report["message"]) == (["unknown"], reason)
    assert not account_report["compliant"]


def make_loop(*items: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """Return the result of a task with a loop, as Ansible registers it."""
    loop = {"ansible_loop_var": "item", "item": "x", "changed": False, "failed": False}
    results = [{**loop, **item} for item in items]
    return {"results": results, "changed": False, "msg": "All items completed", "skipped": False, **keys}


def make_item(*rows: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """Return the result of a task with one symbol, which has the values of its row itself, too."""
    return {**rows[0], **make_account(*rows, requests=1, **keys)}


def test_loop_with_drift_is_drift() -> None:
    items = [make_item(make_row(symbol, "changed", 40, 10), check_mode=True) for symbol in "AB"]
    report = leverage_report({"alpha": make_loop(*items)})
    assert report["headline"] == "Above the policy: 2 of 2 leverages, up to 4 times the policy"
    assert report["check_mode"] is False
    assert [(row["symbol"], row["leverage"], row["outcome"]) for row in report["findings"]] == [
        ("A", 40, "drifted"),
        ("B", 40, "drifted"),
    ]
    (account,) = report["accounts"]
    assert account["api_url"] == "https://coinswitch.co"


@given(st.lists(st.sampled_from("ABCDE"), unique=True, min_size=1), st.booleans(), st.data())
def test_loop_is_the_same_as_one_task_with_all_symbols(names: list[str], check_mode: bool, data: st.DataObject) -> None:
    outcomes = st.sampled_from(_findings.RETURNED)
    rows = [
        make_row(name, data.draw(outcomes), 40, data.draw(st.sampled_from((None, 40))), "network") for name in names
    ]
    loop = make_loop(*(make_item(row, check_mode=check_mode) for row in rows), enforce="exact")
    assert leverage_report({"alpha": loop}) == leverage_report({"alpha": make_account(*rows, check_mode=check_mode)})


def test_item_that_failed_without_rows_is_a_finding() -> None:
    good = make_item(make_row("A", "unchanged", 10, 10))
    failed = {"failed": True, "msg": "'key' is undefined"}
    report = leverage_report({"alpha": make_loop(good, failed), "beta": make_loop(failed, failed)})
    assert [(row["account"], row["symbol"], row["severity"]) for row in report["findings"]] == [
        ("beta", None, "not_reached"),
        ("alpha", None, "unknown"),
    ]
    assert {problem["reason"] for problem in report["problems"]} == {"'key' is undefined"}
    skipped = make_loop(good, {"skipped": True, "skip_reason": "Conditional result was False"})
    assert leverage_report({"alpha": skipped})["compliant"]


def test_symbol_of_several_items_has_its_worst_outcome_and_a_finding() -> None:
    items = [
        make_item(make_row("A", *values), check_mode=True) for values in (("changed", 40, 10), ("unchanged", 10, 10))
    ]
    for loop in (make_loop(*items), make_loop(*reversed(items))):
        report = leverage_report({"alpha": loop})
        assert [(row["symbol"], row["severity"]) for row in report["findings"]] == [
            ("A", "above_policy"),
            (None, "unknown"),
        ]
        assert report["problems"][1]["reason"] == "The result names A more than once. Name each account on its own."


FOREIGN: list[Any] = [
    "failed",
    None,
    5,
    [],
    ["A"],
    {"results": "A"},
    {"results": ["A"]},
    {"results": [{"symbol": "A", "leverage": 10}]},
    {"results": [{**make_row("A", "changed", 10, 10), "outcome": "complies"}]},
    {"results": [{**make_row("A", "unchanged", 10, 10), "leverage": "40"}]},
    {"results": [], "error": "why"},
    {"results": [], "api_url": 5},
    {"results": [{"ansible_loop_var": "item", "results": "A"}]},
]


@pytest.mark.parametrize("value", FOREIGN)
@pytest.mark.parametrize("asked", [None, ["alpha"]])
def test_value_that_is_no_result_is_a_finding_of_its_account_only(value: Any, asked: list[str] | None) -> None:
    report = leverage_report({"alpha": value, "beta": make_leverages(A=10)}, asked=asked and [*asked, "beta"])
    assert get_reasons(report) == [(["alpha"], [], "input", _build.NO_RESULT)]
    assert report["findings"][0]["severity"] == "not_reached"
    assert [account["compliant"] for account in report["accounts"]] == [False, True]
    later = leverage_report({"alpha": value}, asked=[])
    assert [row["severity"] for row in later["findings"]] == ["not_reached"]


# --- read_policy ---


@pytest.mark.parametrize(
    "policy", [{"btcusdt": "10", "A": 5}, '{"BTCUSDT": 10, "A": 5}', "{'BTCUSDT': 10, 'A': 5}", "BTCUSDT=10, A=5"]
)
def test_policy_is_read_as_the_module_reads_it(policy: Any) -> None:
    assert _build.read_policy(policy) == {"BTCUSDT": 10, "A": 5}


@pytest.mark.parametrize("policy", [None, "BTCUSDT", "[1]", 5, ["A"], "{"])
def test_policy_that_is_no_dictionary_is_empty(policy: Any) -> None:
    assert _build.read_policy(policy) == {}


@pytest.mark.parametrize("value", [True, 1.5, "10.0", "", "\u0663", "-1", None, "9" * 5000])
def test_leverage_that_is_not_a_whole_number_stays_text(value: Any) -> None:
    assert _build.read_policy({"A": value}) == {"A": str(value)}


# --- is_real ---


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://coinswitch.co", True),
        ("https://localhost.example.com", True),
        ("http://127.0.0.1:8080", False),
        ("http://127.9.9.9", False),
        ("http://[::1]:80/x", False),
        ("http://LOCALHOST.:80", False),
        ("http://[", True),
    ],
)
def test_loopback_address_is_not_the_real_exchange(url: str, expected: bool) -> None:
    assert _build.is_real(url) is expected
    (exchange,) = leverage_report({"alpha": {**make_leverages(A=10), "api_url": url}})["exchanges"]
    assert exchange == {"api_url": url, "accounts": 1, "is_real": expected}


def test_reason_of_a_task_that_failed_before_a_request_is_its_message() -> None:
    rows = [make_row(symbol, "unknown", None, None, "input", reason="The task failed.") for symbol in "AB"]
    failed = make_account(*rows, requests=0, msg="enforce is not valid.", error={"kind": "input"})
    report = leverage_report({"alpha": failed})
    assert get_reasons(report) == [(["alpha"], ["A", "B"], "input", "enforce is not valid.")]


def test_exchange_that_got_no_request_was_not_asked() -> None:
    report = leverage_report({"alpha": {**make_leverages(A=None), "requests": 0}})
    assert report["exchanges"] == []


def test_severities_of_the_tests_are_those_of_the_report() -> None:
    assert set(leverage_report({})["summary"]["severities"]) == set(_findings.SEVERITIES)
