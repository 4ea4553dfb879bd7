# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts about the API that the code relies on, and what the outcomes of requests show about them.

PROBES has one row for each fact. docs/api.md explains them. Private to this collection: anything here may change in any
release.
"""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.client import Timing, get_clock_offset
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import WALLET, WRITE_LEVERAGE
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    CoinSwitchError,
    Ends,
    NotConfigured,
    Refused,
    Unconfirmed,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import (
    Futures,
    Instrument,
    to_decimal,
    to_int,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.transport import Request, Response
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import Goal, Reading
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.leverage import change
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.outcomes import Outcome as Change
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.transcript import (
    FIELDS,
    describe_body,
    get_form,
    get_safe_headers,
    parse_json,
)

MAX_SHARE = 0.5
EXPECTED, HANDLED, NOT_HANDLED, NOT_SHOWN = "as expected", "different but handled", "NOT HANDLED", "not shown"
VERDICTS = (NOT_SHOWN, EXPECTED, HANDLED, NOT_HANDLED)


class RecordedResponse(NamedTuple):
    """A request with its response.

    Attributes:
        value: The JSON value of the body. None if the body is not JSON.
        timing: When the request was sent and answered.
    """

    request: Request
    response: Response
    value: Any
    timing: Timing

    @property
    def headers(self) -> dict[str, str]:
        """The headers without anything private."""
        return get_safe_headers(self.response.headers)

    def describe(self) -> dict[str, Any]:
        """Return the request and the response without anything private."""
        body = self.request.body
        return {
            "request": str(self.request),
            "parameters": sorted(self.request.params) or (sorted(parse_json(body.encode())) if body else []),
            "status": self.response.status,
            "headers": self.headers,
            "milliseconds": round((self.timing.received - self.timing.sent) * 100) * 10,
            "body": describe_body(self.response.body),
        }


class Outcome(NamedTuple):
    """What a request returned, or the error that it raised, with its last response (None without one)."""

    value: Any
    error: CoinSwitchError | None = None
    response: RecordedResponse | None = None

    @property
    def data(self) -> Any:
        """The `data` of the last response, or "absent"."""
        value = self.response.value if self.response else None
        return value.get("data", "absent") if isinstance(value, dict) else "absent"

    def get_rows(self, name: str = "") -> list[dict[str, Any]]:
        """Return the rows of the response unchanged: those of `data`, or those of its field `name`."""
        data = self.data.get(name) if name and isinstance(self.data, dict) else self.data
        return [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []


class Observer:
    """Sends requests, and records what they return. While it is entered, it records each response of the client.

    Attributes:
        outcomes: What the requests returned, by their name in PROBES. "*" has all responses, "change" all changes.
    """

    def __init__(self, futures: Futures) -> None:
        self.futures = futures
        self._client = futures.client
        self.responses: list[RecordedResponse] = []
        self.outcomes: dict[str, list[Any]] = {"*": self.responses}

    def __enter__(self) -> Observer:
        self._before = self._client.on_response, self._client.retries
        self._client.on_response = self._record
        # One retry shows whether a response was lost or wrong.
        self._client.retries = min(self._client.retries, 1)
        return self

    def __exit__(self, *error: object) -> None:
        self._client.on_response, self._client.retries = self._before

    def _record(self, request: Request, response: Response) -> None:
        try:
            value = parse_json(response.body)
        except (ValueError, ArithmeticError):
            value = None
        self.responses.append(RecordedResponse(request, response, value, self._client.timing))

    def ask(self, name: str, read: Callable[[], Any], allowed: str = "") -> Outcome:
        """Call `read`, and record its outcome. Raise an error that ends the task, unless its kind is `allowed`."""
        count_before = len(self.responses)
        value, error = None, None
        try:
            value = read()
        except CoinSwitchError as raised:
            if raised.ends is not Ends.NOTHING and raised.kind != allowed:
                raise
            error = raised
        outcome = Outcome(value, error, self.responses[-1] if len(self.responses) > count_before else None)
        self.outcomes.setdefault(name, []).append(outcome)
        return outcome

    def change(self, name: str, goal: Goal, writes_same: bool = False) -> Change:
        """Write a leverage as futures_leverage does, and record what is known after that."""
        changed = change(self.futures, goal, writes_same, explains=name == "restore")
        for each in (name, "change"):
            self.outcomes.setdefault(each, []).append(changed)
        return changed

    def note(self, name: str, value: str) -> None:
        """Record a value that several requests show together."""
        self.outcomes[name] = [Outcome(value)]

    def get(self, *names: str) -> list[Any]:
        """Return the outcomes of the requests with these names."""
        return [outcome for name in names for outcome in self.outcomes.get(name, [])]

    def get_statuses(self, path: str, method: str = "") -> list[int]:
        """Return the status of each response to requests with this start of the path and the method."""
        found = [item for item in self.responses if item.request.path.startswith(path)]
        return [item.response.status for item in found if item.request.method.startswith(method)]


def describe_error(error: CoinSwitchError) -> str:
    """Return the status of a refusal by the API. Otherwise, describe the error."""
    if isinstance(error, Unconfirmed):
        return "200" if error.is_refusal else "another echo"
    names = {"unclear_response": "no valid response", "unexpected_response": "unknown form"}
    status = str(error.status) if error.is_from_api else f"{error.status} by another server"
    return names.get(error.kind, status)


# Each of these functions returns the values of one fact that one outcome shows.


def _describe_media_type(item: RecordedResponse, seen: Observer) -> Iterable[str]:
    yield item.headers.get("content-type", "none")
    if item.value is None and 200 <= item.response.status < 300:
        yield "not JSON"


def _describe_retry_after(item: RecordedResponse, seen: Observer) -> Iterable[str]:
    forms = {None: "none", "http_date": "date", "other": "other"}
    return [forms.get(item.headers.get("retry-after"), "seconds")] if item.response.status == 429 else []


def _describe_futures_keys(item: RecordedResponse, seen: Observer) -> Iterable[str]:
    """Tell whether the requests about futures accept the keys. One refusal can be an accident."""
    if "/futures/" not in item.request.path:
        return []
    is_accepted = any(200 <= status < 300 for status in seen.get_statuses(_FUTURES))
    is_refused = item.response.status == 401
    return ["valid"] if 200 <= item.response.status < 300 else ["some 401" if is_accepted else "401"] * is_refused


_FUTURES = WALLET.path.rpartition("/")[0]


def _describe_buckets(item: RecordedResponse, seen: Observer) -> Iterable[str]:
    """Tell whether a write was answered with 429 too early. Another program with the same keys has the same effect."""
    statuses = seen.get_statuses(WRITE_LEVERAGE.path, WRITE_LEVERAGE.method)
    is_early = len(statuses) - statuses.count(429) <= WRITE_LEVERAGE.limit * MAX_SHARE
    return ["shared/busy"] if 429 in statuses and is_early else []


def _describe_burst(outcome: Outcome, seen: Observer) -> Iterable[str]:
    statuses = seen.get_statuses(WALLET.path)
    return [f"after {statuses.index(429)} requests" if 429 in statuses else "no"]


def _describe_clock(outcome: Outcome, seen: Observer) -> Iterable[str]:
    """Describe the offset of the clock. Without the time of the exchange, the code uses the header Date."""
    timing = (outcome.response or seen.responses[-1]).timing if seen.responses else Timing(0.0, 0.0, "")
    offset = get_clock_offset(timing.date, timing.midpoint)
    if outcome.value is not None:
        offset = timing.midpoint - outcome.value / 1000
    if offset is None:
        return []
    return ["within 5 s" if abs(offset) <= 5 else "within 60 s" if abs(offset) <= 60 else "more than 60 s"]


def _describe_symbol_form(outcome: Outcome, seen: Observer) -> Iterable[str]:
    data = outcome.data if isinstance(outcome.data, dict) else {}
    names = [data["symbol"]] if isinstance(data.get("symbol"), str) else data
    return ["upper case" if all(name == name.upper() for name in names) else "lower case"] if names else []


def _describe_limits(outcome: Outcome, seen: Observer) -> Iterable[str]:
    """Describe the limits of all instruments."""
    exchange, instruments = seen.futures.exchange, outcome.value.values()
    if exchange in outcome.value or any(exchange in item.fields for item in instruments):
        return ["nested by exchange"]
    forms = sorted({_describe_limits_of(item) for item in instruments})
    return ["none usable"] if forms in ([], ["not usable"]) else forms


def _describe_limits_of(item: Instrument) -> str:
    minimum, maximum, step = item.min_leverage, item.max_leverage, item.leverage_step
    if minimum is None or maximum is None or not step or not 0 <= minimum <= maximum:
        return "not usable"
    numbers = (to_decimal(item.fields[name]) for name in ("min_leverage", "max_leverage", "leverage_step"))
    return "whole numbers" if all(number == int(number or 0) for number in numbers) else "fractions"


def _describe_numbers(outcome: Outcome, seen: Observer) -> Iterable[str]:
    forms = {"whole_number_text": "text", "whole_number": "number", "decimal_text": "decimal"}
    is_list = isinstance(outcome.value, dict)
    values = (
        [item.fields.get("max_leverage") for item in outcome.value.values()] if is_list else [outcome.data["leverage"]]
    )
    found = {forms.get(get_form(value), get_form(value)) for value in values}
    return ["/".join(sorted(found))] if found else []


def _describe_unset(outcome: Outcome) -> str:
    """Return how the exchange answers without a leverage: a status, only a message, or the form of an empty value."""
    status = outcome.response.response.status if outcome.response else 0
    data = outcome.data
    if status >= 300:
        return str(status)
    if not isinstance(data, dict):
        return "message" if data == "absent" else "null"
    if not any(data.get(name) for name in ("symbol", "exchange")):
        return "empty-fields" if data else "empty-object"
    value = data.get("leverage")
    return {None: "leverage-null", "": "blank"}.get(value, "zero" if isinstance(value, str) else "zero-number")


def _describe_unset_leverage(outcome: Outcome, seen: Observer) -> Iterable[str]:
    """Describe a symbol without a leverage. If all symbols have one, the exchange may answer a default for some."""
    if outcome.error:
        return [_describe_unset(outcome)]
    return [] if any(item.error for item in seen.get("leverage", "new symbol")) else ["default"]


def _describe_unknown_symbol(outcome: Outcome, seen: Observer) -> Iterable[str]:
    is_unset = isinstance(outcome.error, NotConfigured)
    return [_describe_unset(outcome) if is_unset else describe_error(outcome.error) if outcome.error else "leverage"]


def _describe_empty(value: Any) -> str:
    return "message" if value == "absent" else "null" if value is None else "list"


def _describe_other_positions(outcome: Outcome, seen: Observer) -> Iterable[str]:
    expected = outcome.response.request.params["symbol"] if outcome.response else ""
    symbols = {str(row.get("symbol")).upper() for row in outcome.get_rows()}
    return ["yes" if symbols - {expected} else "no"] if symbols else []


def _describe_position_leverage(outcome: Outcome, seen: Observer) -> Iterable[str]:
    """Compare the leverage of open positions with the setting of their symbols."""
    responses = [item.data for item in seen.get("leverage") if not item.error]
    settings = {str(data["symbol"]).upper(): to_int(data["leverage"]) for data in responses}
    rows = [row for row in outcome.value if row["symbol"] in settings and "leverage" in row]
    return ["same" if to_int(row["leverage"]) == settings[row["symbol"]] else "another value" for row in rows]


def _describe_empty_orders(outcome: Outcome, seen: Observer) -> Iterable[str]:
    data = outcome.data
    if outcome.get_rows("orders"):
        return []
    if isinstance(data, dict):
        return [_describe_empty(data.get("orders"))]
    return ["absent" if data == "absent" else "data is null" if data is None else "data is a list"]


def _describe_cursor(outcome: Outcome, seen: Observer) -> Iterable[str]:
    times = [time for time in (to_int(row.get("created_at")) for row in outcome.get_rows("orders")) if time is not None]
    cursor = outcome.data.get("cursor") if isinstance(outcome.data, dict) else None
    shown = "null" if cursor is None else "oldest" if times and to_int(cursor) == min(times) else "another value"
    return [shown] if times else []


def _describe_use(outcome: Outcome, seen: Observer) -> Iterable[str]:
    """Tell whether the account has money, positions or orders."""
    balances, assets = outcome.value
    amounts = [amount for row in balances for amount in _get_amounts(row.get("balances"))]
    pages = [page for orders in seen.get("orders") for page in orders.value or []]
    is_open = any(pages) or any(item.value for item in seen.get("positions", "positions of one"))
    return ["yes" if assets or is_open or any(to_decimal(amount) != 0 for amount in amounts) else "no"]


def _get_amounts(balances: Any) -> Iterable[Any]:
    return balances.values() if isinstance(balances, dict) else [balances]


def _compare_fields(
    documented: Iterable[str], get_rows: Callable[[Any], Iterable[Mapping[str, Any]]]
) -> Callable[[Any, Observer], Iterable[str]]:
    """Return what describes the differences between the fields of rows and the documented fields."""

    def describe(outcome: Any, seen: Observer) -> Iterable[str]:
        rows = list(get_rows(outcome))
        missing = {f"no {name}" for row in rows for name in documented if name not in row}
        more = {"more fields" for row in rows if set(row) - set(documented)}
        return [", ".join(sorted(missing | more)) or "as documented"] if rows else []

    return describe


def _describe_wallet_fields(outcome: Outcome, seen: Observer) -> Iterable[str]:
    for name, rows in zip(("balance", "asset"), outcome.value):
        yield from _compare_fields(FIELDS[name], lambda _, rows=rows: rows)(outcome, seen)  # type: ignore[misc] # its default


def _describe_write(changed: Change, seen: Observer) -> Iterable[str]:
    """Describe the responses to writes that got past the network, the keys and the rate limit."""
    verdict, goal = changed.verdict, changed.goal
    is_clamped = verdict.leverage not in (None, verdict.previous, goal.leverage)
    for attempt in changed.evidence.attempts:
        if attempt.reached:
            shown = "echo" if attempt.error is None else describe_error(attempt.error)
            yield "clamp" if is_clamped and shown == "another echo" else shown


def _describe_read_back(changed: Change, seen: Observer) -> Iterable[str]:
    """Compare the first reading after a confirmed write with the written leverage."""
    changes = seen.get("change")
    following = changes[changes.index(changed) + 1 :]
    attempt = changed.evidence.last_attempt
    events = following[0].evidence.events if following else []
    readings = [event for event in events if isinstance(event, Reading) and event.worked]
    is_shown = bool(readings) and readings[0].leverage == changed.goal.leverage
    is_confirmed = attempt is not None and attempt.error is None
    return ["at once" if is_shown else "another value"] if is_confirmed and readings else []


def _describe_association(outcome: Outcome, seen: Observer) -> Iterable[str]:
    """Describe a new symbol after its first write."""
    before = seen.get("new symbol")[0]
    return ["missing" if outcome.error else "created" if before.error else "hidden by a default"]


class Probe(NamedTuple):
    """A fact.

    Attributes:
        requests: The names of the requests whose outcomes show it.
        describe: Returns the values that one of these outcomes shows.
        expected: The expected values.
        not_handled: The values that the code does not handle.
        errors: What an error shows: a value that is NOT_HANDLED or HANDLED, or NOT_SHOWN.
        described: The errors that `describe` describes.
        quirks: For a fact that is not known: the quirk of the sandbox for each value (`--like`).
    """

    requests: tuple[str, ...]
    describe: Callable[[Any, Observer], Iterable[str]]
    expected: tuple[str, ...]
    not_handled: tuple[str, ...] = ()
    errors: str = NOT_SHOWN
    described: tuple[type[CoinSwitchError], ...] = ()
    quirks: Mapping[str, Any] = {}

    def observe(self, seen: Observer) -> dict[str, str]:
        """Return each observed value with its verdict."""
        found: dict[str, str] = {}
        for outcome in seen.get(*self.requests):
            error = getattr(outcome, "error", None)
            if error is not None and not isinstance(error, self.described):
                shown = {describe_error(error): self.errors}
            else:
                shown = {value: self._judge(value) for value in self.describe(outcome, seen)}
            for value, verdict in shown.items():
                found[value] = max(found.get(value, NOT_SHOWN), verdict, key=VERDICTS.index)
        return {value: verdict for value, verdict in found.items() if verdict != NOT_SHOWN}

    def _judge(self, value: str) -> str:
        return NOT_HANDLED if value in self.not_handled else EXPECTED if value in self.expected else HANDLED


def _same(*values: str) -> dict[str, Any]:
    return {value: value for value in values}


_ORDERS = ("orders", "period")
_LISTED = ("listed positions",)
_DOCUMENTED = ("as documented",)
# fmt: off
PROBES: dict[str, Probe] = {
    "media_type": Probe(("*",), _describe_media_type, ("application/json",), ("not JSON",)),
    "date_header": Probe(
        ("*",), lambda item, _: ["present" if item.headers.get("date") == "http_date" else "none"], ("present",),
    ),
    "clock": Probe(("time",), _describe_clock, ("within 5 s",), ("more than 60 s",), described=(CoinSwitchError,)),
    "response_time": Probe(
        ("*",), lambda item, _: ["below 1 s" if item.timing.received - item.timing.sent < 1 else "1 s and more"],
        ("below 1 s",),
    ),
    "server_time": Probe(("time",), lambda *_: ["serverTime"], ("serverTime",), errors=HANDLED),
    "keys": Probe(("keys",), lambda *_: ["valid"], ("valid",), errors=HANDLED),
    "keys_futures": Probe(("*",), _describe_futures_keys, ("valid",), ("401",)),
    "fields_instruments": Probe(
        ("instruments",),
        _compare_fields(FIELDS["instrument"], lambda item: [value.fields for value in item.value.values()]),
        _DOCUMENTED, errors=NOT_HANDLED,
    ),
    "symbol_form": Probe(("instruments", "leverage"), _describe_symbol_form, ("upper case",)),
    "limits": Probe(
        ("instruments",), _describe_limits, ("whole numbers",), ("none usable", "nested by exchange"),
    ),
    "fields_leverage": Probe(
        ("leverage",), _compare_fields(FIELDS["leverage"], lambda item: [item.data]), _DOCUMENTED,
    ),
    "numbers": Probe(
        ("instruments", "leverage"), _describe_numbers, ("text",), quirks=_same("text", "number", "decimal"),
    ),
    "unset_leverage": Probe(
        ("leverage", "new symbol"), _describe_unset_leverage, ("default",), errors=NOT_HANDLED,
        described=(NotConfigured,),
        quirks=_same(
            "default", "400", "403", "404", "409", "422", "message", "null", "zero", "zero-number", "blank",
            "leverage-null", "empty-fields", "empty-object",
        ),
    ),
    "unknown_symbol": Probe(
        ("unknown symbol",), _describe_unknown_symbol, ("400", "404", "422", "message"), ("leverage",),
        described=(CoinSwitchError,), quirks=_same("400", "404", "422", "message"),
    ),
    "positions_without_symbol": Probe(
        ("positions",), lambda item, _: [describe_error(item.error) if item.error else "all"], ("all",),
        errors=NOT_HANDLED, described=(Refused,), quirks=_same("all", "422"),
    ),
    "flat_positions": Probe(
        _LISTED, lambda item, _: [] if item.get_rows() else [_describe_empty(item.data)], ("message",),
        errors=NOT_HANDLED, quirks=_same("message", "list"),
    ),
    "positions_other_symbols": Probe(
        ("positions of one",), _describe_other_positions, ("no",), quirks={"no": False, "yes": True},
    ),
    "fields_positions": Probe(
        _LISTED, _compare_fields(FIELDS["position"], Outcome.get_rows), _DOCUMENTED,
    ),
    "position_leverage": Probe(_LISTED, _describe_position_leverage, ("same",)),
    "symbol_case": Probe(
        ("positions in lower case",), lambda item, _: ["upper case alone" if item.error else "any"], ("any",),
        described=(CoinSwitchError,),
    ),
    "orders_without_symbol": Probe(("orders",), lambda *_: ["all"], ("all",), errors=NOT_HANDLED),
    "empty_orders": Probe(
        ("orders",), _describe_empty_orders, ("list",), errors=NOT_HANDLED, quirks=_same("list", "null", "absent"),
    ),
    "fields_orders": Probe(
        _ORDERS, _compare_fields(FIELDS["order"], lambda item: item.get_rows("orders")), _DOCUMENTED,
    ),
    "order_times": Probe(
        _ORDERS, lambda item, _: [get_form(row.get("created_at")) for row in item.get_rows("orders")], ("unix_ms",),
    ),
    "orders_cursor": Probe(("orders",), _describe_cursor, ("oldest",)),
    "orders_period": Probe(
        ("period", "use of period"), lambda item, _: [] if item.response else [item.value],
        ("limits",), ("missed",), errors=NOT_HANDLED, quirks=_same("limits", "ignored"),
    ),
    "orders_to_time": Probe(
        ("use of to_time",), lambda item, _: [item.value], ("exclusive",),
        quirks=_same("exclusive", "inclusive"),
    ),
    "fields_wallet": Probe(("wallet",), _describe_wallet_fields, _DOCUMENTED, errors=NOT_HANDLED),
    "account_in_use": Probe(("wallet",), _describe_use, ("yes", "no")),
    "rate_limit_headers": Probe(
        ("*",), lambda item, _: ["present" if any("ratelimit" in name for name in item.headers) else "none"], ("none",),
    ),
    "rate_limit": Probe(
        ("*",), lambda item, _: ["reached" if item.response.status == 429 else "not reached"], ("not reached",),
    ),
    "early_429": Probe(("burst",), _describe_burst, ("no",)),
    "retry_after": Probe(
        ("*",), _describe_retry_after, ("none",), quirks={"none": None, **_same("seconds", "date")},
    ),
    "leverage_buckets": Probe(("*",), _describe_buckets, ("apart",), quirks={"shared/busy": "shared"}),
    "same_value": Probe(("same",), _describe_write, ("echo",), quirks=_same("echo", "400", "422", "200")),
    "write_answer": Probe(("trial", "first write"), _describe_write, ("echo",)),
    "read_back": Probe(("change",), _describe_read_back, ("at once",), ("another value",)),
    "limit_answer": Probe(
        ("outside",), _describe_write, ("400", "422", "200"), quirks=_same("400", "422", "200", "clamp"),
    ),
    "association": Probe(
        ("new symbol afterwards",), _describe_association, ("created", "hidden by a default"), ("missing",),
        described=(NotConfigured,),
    ),
}
# fmt: on
