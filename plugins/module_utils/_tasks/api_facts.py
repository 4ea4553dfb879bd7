# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts about the API that the code relies on, and what the observations show about them.

PROBES has one row for each fact. docs/api.md explains them. Private to this collection: anything here may change in any
release.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any, Callable, Iterable, NamedTuple, Union

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import client, endpoints, errors, transport
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import futures as api
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import CoinSwitchError, NotConfigured
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import to_decimal, to_int
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import leverage, queries, transcript
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.outcomes import Outcome
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import Goal

EXPECTED, HANDLED, NOT_HANDLED, NOT_SHOWN = "as expected", "different but handled", "NOT HANDLED", "not shown"
VERDICTS = (NOT_SHOWN, EXPECTED, HANDLED, NOT_HANDLED)


class RecordedResponse(NamedTuple):
    """A request with its response.

    Attributes:
        headers: The headers without anything private.
        value: The JSON value of the body, or NOT_JSON.
        timing: When the request was sent and answered.
        shown: What the transcript contains of them.
    """

    request: transport.Request
    status: int
    headers: dict[str, str]
    value: Any
    timing: client.Timing
    shown: dict[str, Any]


class Observation(NamedTuple):
    """What a request returned, or the error that it raised, with its last response (None without one)."""

    value: Any
    error: CoinSwitchError | None = None
    response: RecordedResponse | None = None

    @property
    def data(self) -> Any:
        """The `data` of the last response, or "absent"."""
        value = self.response.value if self.response else None
        return value.get("data", "absent") if isinstance(value, dict) else "absent"

    def get_rows(self) -> list[dict[str, Any]]:
        """Return the rows of the response unchanged: those of `data`, or those of its field `orders`."""
        data = self.data.get("orders") if isinstance(self.data, dict) else self.data
        return [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []

    def get_objects(self) -> list[dict[str, Any]]:
        """Return the instruments of a response unchanged, or the one object of a response about a leverage."""
        return [item.fields for item in self.value.values()] if isinstance(self.value, dict) else [self.data]


class Observer:
    """Sends requests, and records what they return, and each response of the client while it is entered.

    Attributes:
        observations: What the requests returned, by their name in PROBES. "*" has all responses, "change" all changes.
    """

    def __init__(self, futures: api.Futures) -> None:
        self.futures = futures
        self.responses: list[RecordedResponse] = []
        self.observations: defaultdict[str, list[Any]] = defaultdict(list, {"*": self.responses})
        self._before = futures.client.on_response, futures.client.retries

    def __enter__(self) -> Observer:
        client = self.futures.client
        # One retry shows whether a response was lost or wrong.
        client.on_response, client.retries = self._record, min(client.retries, 1)
        return self

    def __exit__(self, *error: object) -> None:
        self.futures.client.on_response, self.futures.client.retries = self._before

    def _record(self, request: transport.Request, response: transport.Response) -> None:
        value, headers = transcript.parse_json(response.body), transcript.get_safe_headers(response.headers)
        timing = self.futures.client.timing
        shown = {
            "request": str(request),
            "parameters": sorted({**request.params, **json.loads(request.body or "{}")}),
            "status": response.status,
            "headers": headers,
            "milliseconds": round((timing.received - timing.sent) * 100) * 10,
            "body": transcript.describe_body(response.body),
        }
        self.responses.append(RecordedResponse(request, response.status, headers, value, timing, shown))

    def ask(self, name: str, read: Callable[..., Any], *arguments: Any, allowed: str = "") -> Observation:
        """Call `read`, and record what it returned. Raise an error that ends the task, unless its kind is `allowed`."""
        count_before = len(self.responses)
        value, error = None, None
        try:
            value = read(*arguments)
        except CoinSwitchError as raised:
            if raised.ends is not errors.Ends.NOTHING and raised.kind != allowed:
                raise
            error = raised
        observed = Observation(value, error, self.responses[-1] if len(self.responses) > count_before else None)
        self.observations[name].append(observed)
        return observed

    def change(self, name: str, goal: Goal, writes_same: bool = False) -> Outcome:
        """Write a leverage as futures_leverage does, and record what is known after that."""
        changed = leverage.change(self.futures, goal, writes_same, explains=name == "restore")
        self.observations[name].append(changed)
        self.observations["change"].append(changed)
        return changed

    def get_statuses(self, request: str) -> list[int]:
        """Return the status of each response to requests whose method and path contain a text."""
        return [item.status for item in self.responses if request in str(item.request)]


def describe_error(error: CoinSwitchError) -> str:
    """Return the status of a refusal by the API. Otherwise, describe the error."""
    if isinstance(error, errors.Unconfirmed):
        return "200" if error.is_refusal else "another echo"
    names = {"unclear_response": "no valid response", "unexpected_response": "unknown form"}
    return names.get(error.kind, str(error.status) if error.is_from_api else f"{error.status} by another server")


# Each of these functions returns what one observed shows about a fact: a value, several values, or "" for nothing.
Shown = Union[str, Iterable[str]]
Show = Callable[[Any, "Observer"], Shown]


def _show_media_type(item: RecordedResponse, seen: Observer) -> Shown:
    wrong = "not JSON" if item.value is transcript.NOT_JSON and item.status // 100 == 2 else ""
    return [item.headers.get("content-type", "none"), wrong]


def _show_retry_after(item: RecordedResponse, seen: Observer) -> Shown:
    forms = {None: "none", "http_date": "date", "other": "other"}
    return forms.get(item.headers.get("retry-after"), "seconds") if item.status == 429 else ""


def _show_futures_keys(item: RecordedResponse, seen: Observer) -> Shown:
    """Show whether the requests about futures accept the keys. One refusal can be an accident."""
    if "/futures/" not in item.request.path:
        return ""
    is_accepted = any(status // 100 == 2 for status in seen.get_statuses("/futures/"))
    refused = "some 401" if is_accepted else "401"
    return "valid" if item.status // 100 == 2 else refused if item.status == 401 else ""


def _show_buckets(item: RecordedResponse, seen: Observer) -> Shown:
    """Show whether a write was answered with 429 too early. Another program with the same keys has the same effect."""
    statuses = seen.get_statuses(str(endpoints.WRITE_LEVERAGE))
    is_early = len(statuses) - statuses.count(429) <= endpoints.WRITE_LEVERAGE.limit * queries.MAX_SHARE
    return "shared/busy" if 429 in statuses and is_early else ""


def _show_burst(observed: Observation, seen: Observer) -> Shown:
    statuses = seen.get_statuses(str(endpoints.WALLET))
    return f"after {statuses.index(429)} requests" if 429 in statuses else "no"


def _show_clock(observed: Observation, seen: Observer) -> Shown:
    """Show the offset of the clock. Without the time of the exchange, the code uses the header Date."""
    timing = observed.response.timing if observed.response else seen.futures.client.timing
    time = observed.value
    offset = client.get_clock_offset(timing.date, timing.midpoint) if time is None else timing.midpoint - time / 1000
    if offset is None:
        return ""
    return "within 5 s" if abs(offset) <= 5 else "within 60 s" if abs(offset) <= 60 else "more than 60 s"


def _show_limits(observed: Observation, seen: Observer) -> Shown:
    """Show the limits of all instruments."""
    exchange, instruments = seen.futures.exchange, observed.value.values()
    if exchange in observed.value or any(exchange in item.fields for item in instruments):
        return "nested by exchange"
    forms = sorted({_describe_limits(item) for item in instruments})
    return "none usable" if forms in ([], ["not usable"]) else forms


def _describe_limits(item: api.Instrument) -> str:
    minimum, maximum, step = item.min_leverage, item.max_leverage, item.leverage_step
    if minimum is None or maximum is None or not step or not 0 <= minimum <= maximum:
        return "not usable"
    whole_numbers = [to_int(item.fields[name]) for name in ("min_leverage", "max_leverage", "leverage_step")]
    return "fractions" if None in whole_numbers else "whole numbers"


def _show_numbers(observed: Observation, seen: Observer) -> Shown:
    names = {"whole_number_text": "text", "whole_number": "number", "decimal_text": "decimal"}
    field = "max_leverage" if isinstance(observed.value, dict) else "leverage"
    forms = (transcript.get_form(item.get(field)) for item in observed.get_objects())
    return "/".join(sorted({names.get(form, form) for form in forms}))


def _describe_unset(observed: Observation) -> str:
    """Return how the exchange answers without a leverage: a status, only a message, or the form of an empty value."""
    data = observed.data
    if observed.response and observed.response.status >= 300:
        return str(observed.response.status)
    if not isinstance(data, dict):
        return _describe_empty(data)
    if not any(data.get(name) for name in ("symbol", "exchange")):
        return "empty-fields" if data else "empty-object"
    value = data.get("leverage")
    if isinstance(value, (dict, list)):
        return "another form"
    return {None: "leverage-null", "": "blank"}.get(value, "zero" if isinstance(value, str) else "zero-number")


def _show_unset(observed: Observation, seen: Observer) -> Shown:
    """Show a symbol without a leverage. If all symbols have one, the exchange may answer a default for some."""
    if observed.error:
        return _describe_unset(observed)
    return (
        "" if any(item.error for item in seen.observations["leverage"] + seen.observations["new_symbol"]) else "default"
    )


def _describe_empty(value: Any) -> str:
    if isinstance(value, list):
        return "list"
    return "message" if value == "absent" else "null" if value is None else "another form"


def _show_other_positions(observed: Observation, seen: Observer) -> Shown:
    expected = observed.response.request.params["symbol"] if observed.response else ""
    symbols = {str(row.get("symbol")).upper() for row in observed.get_rows()}
    return ["yes" if symbols - {expected} else "no"] if symbols else ""


def _show_position_leverage(observed: Observation, seen: Observer) -> Iterable[str]:
    """Compare the leverage of each open position with the setting of its symbol."""
    settings = {
        str(item.data["symbol"]).upper(): item.value for item in seen.observations["leverage"] if not item.error
    }
    for row in observed.value:
        if row["symbol"] in settings and "leverage" in row:
            yield "same" if to_int(row["leverage"]) == settings[row["symbol"]] else "another value"


def _show_use(observed: Observation, seen: Observer) -> Shown:
    """Show whether the account has money, positions or orders. HFT is another account of the same keys."""
    balances, assets = observed.value
    values = [row.get("balances") for row in balances]
    amounts = [amount for value in values for amount in (value.values() if isinstance(value, dict) else [value])]
    asked = [item for name in ("orders", "positions", "positions_of_one") for item in seen.observations[name]]
    is_open = any(row for item in asked for row in item.value or ())
    return "yes" if assets or is_open or any(to_decimal(amount) != 0 for amount in amounts) else "no"


def _show_empty_orders(observed: Observation, seen: Observer) -> Shown:
    if observed.get_rows():
        return ""
    if isinstance(observed.data, dict):
        return _describe_empty(observed.data.get("orders"))
    return "absent" if observed.data == "absent" else f"data is {_describe_empty(observed.data)}"


def _show_cursor(observed: Observation, seen: Observer) -> Shown:
    times = [time for time in (to_int(row.get("created_at")) for row in observed.get_rows()) if time is not None]
    cursor = observed.data.get("cursor") if isinstance(observed.data, dict) else None
    shown = "null" if cursor is None else "oldest" if times and to_int(cursor) == min(times) else "another value"
    return shown if times else ""


def _show_write(changed: Outcome, seen: Observer) -> Iterable[str]:
    """Show the responses to writes that got past the network, the keys and the rate limit."""
    is_clamped = changed.verdict.leverage not in (None, changed.verdict.previous, changed.goal.leverage)
    for attempt in changed.evidence.attempts:
        if attempt.reached:
            shown = "echo" if attempt.error is None else describe_error(attempt.error)
            yield "clamp" if is_clamped and shown == "another echo" else shown


def _show_read_back(changed: Outcome, seen: Observer) -> Shown:
    """Compare the first reading after a confirmed write with the written leverage."""
    changes = seen.observations["change"]
    following = changes[changes.index(changed) + 1 :][:1]
    readings = [item for change in following for item in change.evidence.get_readings_after(None) if item.worked]
    if not changed.evidence.attempts or changed.evidence.last_error or not readings:
        return ""
    return "at once" if readings[0].leverage == changed.goal.leverage else "another value"


def _show_association(observed: Observation, seen: Observer) -> Shown:
    """Show a new symbol after its first write."""
    if observed.error:
        return "missing"
    return "created" if seen.observations["new_symbol"][0].error else "hidden by a default"


# The readings of quirks that differ from the value of their fact.
_QUIRKS = {"no": False, "yes": True, "none": None, "shared/busy": "shared"}


class Probe(NamedTuple):
    """A fact. `|` separates values.

    Attributes:
        requests: The names of the requests whose observations show it.
        show: Returns what one of these observations shows.
        expected: The expected values.
        not_handled: The values that the code does not handle.
        errors: What an error shows: a value that is NOT_HANDLED or HANDLED, or NOT_SHOWN.
        shows: The errors that `show` gets.
        quirks: For a fact that is not known: the values that the sandbox can have (`--like`).
    """

    requests: str
    show: Show
    expected: str
    not_handled: str = ""
    errors: str = NOT_SHOWN
    shows: type[CoinSwitchError] | tuple[()] = ()
    quirks: str = ""

    def get_quirks(self) -> dict[str, Any]:
        """Return the reading of the quirk of the sandbox for each value."""
        return {value: _QUIRKS.get(value, value) for value in self.quirks.split("|") if value}

    def observe(self, seen: Observer) -> dict[str, str]:
        """Return the observed values as text, and the worst verdict of them."""
        verdicts = dict.fromkeys(self.expected.split("|"), EXPECTED)
        verdicts.update(dict.fromkeys(self.not_handled.split("|"), NOT_HANDLED))
        found: list[tuple[str, str]] = []
        for observed in [observed for name in self.requests.split("|") for observed in seen.observations[name]]:
            error = getattr(observed, "error", None)
            if error is not None and not isinstance(error, self.shows):
                found.append((describe_error(error), self.errors))
            else:
                shown = self.show(observed, seen)
                values = [shown] if isinstance(shown, str) else shown
                found += [(value, verdicts.get(value, HANDLED)) for value in values]
        found = [(value, verdict) for value, verdict in found if value and verdict != NOT_SHOWN]
        worst = max((verdict for _value, verdict in found), default=NOT_SHOWN, key=VERDICTS.index)
        return {"shown": ", ".join(dict(found)), "verdict": worst}


def _compare_fields(
    requests: str, errors: str = NOT_SHOWN, **rows_by_kind: Callable[[Observation], list[Any]]
) -> Probe:
    """Return a fact that compares the fields of observed rows with the documented fields of their kind."""

    def show(observed: Observation, seen: Observer) -> Iterable[str]:
        for kind, get_rows in rows_by_kind.items():
            documented, rows = transcript.FIELDS[kind], get_rows(observed)
            missing = {f"no {name}" for row in rows for name in documented if name not in row}
            more = {"more fields" for row in rows if set(row) - set(documented)}
            yield (", ".join(sorted(missing | more)) or "as documented") if rows else ""

    return Probe(requests, show, "as documented", errors=errors)


# fmt: off
PROBES: dict[str, Probe] = {
    "media_type": Probe("*", _show_media_type, "application/json", "not JSON"),
    "date_header": Probe("*", lambda r, _: "present" if r.headers.get("date") == "http_date" else "none", "present"),
    "clock": Probe("time", _show_clock, "within 5 s", "more than 60 s", shows=CoinSwitchError),
    "server_time": Probe("time", lambda *_: "serverTime", "serverTime", errors=HANDLED),
    "keys": Probe("keys", lambda *_: "valid", "valid", errors=HANDLED),
    "keys_futures": Probe("*", _show_futures_keys, "valid", "401"),
    "fields_instruments": _compare_fields("instruments", errors=NOT_HANDLED, instrument=Observation.get_objects),
    "limits": Probe("instruments", _show_limits, "whole numbers", "none usable|nested by exchange"),
    "fields_leverage": _compare_fields("leverage", leverage=Observation.get_objects),
    "numbers": Probe("instruments|leverage", _show_numbers, "text", quirks="text|number|decimal"),
    "unset_leverage": Probe(
        "leverage|new_symbol", _show_unset, "default", errors=NOT_HANDLED, shows=NotConfigured,
        quirks="default|400|403|404|409|422|message|null|zero|zero-number|blank|leverage-null|empty-fields|empty-object"),
    "unknown_symbol": Probe(
        "unknown", lambda item, _: _describe_unset(item) if item.error else "leverage", "400|404|422|message",
        "leverage", errors=HANDLED, shows=NotConfigured, quirks="400|404|422|message"),
    "positions_without_symbol": Probe(
        "positions", lambda item, _: describe_error(item.error) if item.error else "all", "all", errors=NOT_HANDLED,
        shows=errors.Refused, quirks="all|422"),
    "flat_positions": Probe(
        "listed", lambda item, _: "" if item.get_rows() else _describe_empty(item.data), "message", errors=NOT_HANDLED,
        quirks="message|list"),
    "positions_other_symbols": Probe("positions_of_one", _show_other_positions, "no", quirks="no|yes"),
    "fields_positions": _compare_fields("listed", position=Observation.get_rows),
    "position_leverage": Probe("listed", _show_position_leverage, "same"),
    "orders_without_symbol": Probe("orders", lambda *_: "all", "all", errors=NOT_HANDLED),
    "empty_orders": Probe("orders", _show_empty_orders, "list", errors=NOT_HANDLED, quirks="list|null|absent"),
    "fields_orders": _compare_fields("orders|period", order=Observation.get_rows),
    "order_times": Probe(
        "orders|period", lambda item, _: [transcript.get_form(row.get("created_at")) for row in item.get_rows()],
        "unix_ms"),
    "orders_cursor": Probe("orders", _show_cursor, "oldest"),
    "orders_period": Probe(
        "period|use_of_period", lambda item, _: "" if item.response else item.value, "limits", "missed",
        errors=NOT_HANDLED, quirks="limits|ignored"),
    "orders_to_time": Probe("use_of_to_time", lambda item, _: item.value, "exclusive", quirks="exclusive|inclusive"),
    "fields_wallet": _compare_fields(
        "wallet", errors=NOT_HANDLED, balance=lambda item: item.value[0], asset=lambda item: item.value[1]),
    "account_in_use": Probe("wallet", _show_use, "yes|no"),
    "rate_limit": Probe("*", lambda r, _: "reached" if r.status == 429 else "not reached", "not reached"),
    "early_429": Probe("burst", _show_burst, "no"),
    "retry_after": Probe("*", _show_retry_after, "none", quirks="none|seconds|date"),
    "leverage_buckets": Probe("*", _show_buckets, "apart", quirks="shared/busy"),
    "same_value": Probe("same", _show_write, "echo", quirks="echo|400|422|200"),
    "write_answer": Probe("trial|first_write", _show_write, "echo"),
    "read_back": Probe("change", _show_read_back, "at once", "another value"),
    "limit_answer": Probe("outside", _show_write, "400|422|200", quirks="400|422|200|clamp"),
    "association": Probe(
        "second_read", _show_association, "created|hidden by a default", "missing", shows=NotConfigured),
}
# fmt: on
