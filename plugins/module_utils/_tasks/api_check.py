# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the answers of an exchange with what the code relies on. docs/api.md lists these facts.

Each answer is read by the code that the other modules use, so a fact is NOT HANDLED if and only if that code fails.
Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Callable, Iterable, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.client import Client, get_clock_offset
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import (
    OPEN_ORDERS,
    POSITIONS,
    WRITE_LEVERAGE,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    CoinSwitchError,
    Ends,
    InputRefused,
    NotConfigured,
    RateLimited,
    Refused,
    Unclear,
    Unconfirmed,
    Unexpected,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import (
    MAX_SPAN_MS,
    ORDERS_PER_PAGE,
    RECENT_MS,
    Futures,
    Instrument,
    to_int,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.transport import Answer, Request
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import check_symbol
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.progress import Context
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result, build_error
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.transcript import (
    ASSET_FIELDS,
    BALANCE_FIELDS,
    INSTRUMENT_FIELDS,
    LEVERAGE_FIELDS,
    ORDER_FIELDS,
    POSITION_FIELDS,
    describe_body,
    get_form,
    get_safe_headers,
    parse_json,
)

FORMAT = 1
MAX_SHARE = 0.5
EXPECTED, HANDLED, NOT_HANDLED, NOT_SHOWN = "as expected", "different but handled", "NOT HANDLED", "not shown"
_VERDICTS = (NOT_SHOWN, EXPECTED, HANDLED, NOT_HANDLED)
# With more symbols, the playbook would need more than half of the limit: it also plans and writes.
_MORE_SYMBOLS = 2
_MINUTE_MS = 60_000
_DAY_MS = 24 * 60 * _MINUTE_MS

# The expected values of each fact, in the order of the table. docs/api.md names their sources.
FACTS: dict[str, tuple[str, ...]] = {
    "media_type": ("application/json",),
    "date_header": ("present",),
    "clock": ("within 5 s",),
    "response_time": ("below 1 s",),
    "server_time": ("serverTime",),
    "keys": ("valid",),
    "fields_instruments": ("as documented",),
    "symbol_form": ("upper case",),
    "limits": ("whole numbers",),
    "fields_leverage": ("as documented",),
    "numbers": ("text",),
    "unset_leverage": ("default",),
    "unknown_symbol": ("400", "404", "422", "message"),
    "positions_without_symbol": ("all",),
    "flat_positions": ("message",),
    "positions_other_symbols": ("no",),
    "fields_positions": ("as documented",),
    "symbol_case": ("any",),
    "orders_without_symbol": ("all",),
    "empty_orders": ("list",),
    "fields_orders": ("as documented",),
    "order_times": ("unix_ms",),
    "orders_cursor": ("oldest",),
    "orders_period": ("limits",),
    "orders_to_time": ("exclusive",),
    "fields_wallet": ("as documented",),
    "rate_limit_headers": ("none",),
    "rate_limit": ("not reached",),
    "retry_after": ("none",),
    "leverage_buckets": ("apart",),
    "same_value": ("echo",),
    "write_answer": ("echo",),
    "read_back": ("at once",),
    "limit_answer": ("400", "422", "200"),
}

_YES_NO = {"no": False, "yes": True}


def _map_to_itself(*values: str) -> dict[str, Any]:
    return {value: value for value in values}


# For facts that are not known: each possible value, with the value of the quirk in the sandbox (`--like`).
READINGS: dict[str, dict[str, Any]] = {
    "numbers": _map_to_itself("text", "number", "decimal"),
    "unset_leverage": _map_to_itself(
        *("default", "400", "403", "404", "409", "422", "message", "null"),
        *("zero", "zero-number", "blank", "leverage-null", "empty-fields", "empty-object"),
    ),
    "unknown_symbol": _map_to_itself("400", "404", "422", "message"),
    "positions_without_symbol": _map_to_itself("all", "422"),
    "flat_positions": _map_to_itself("message", "list"),
    "positions_other_symbols": _YES_NO,
    "empty_orders": _map_to_itself("list", "null", "absent"),
    "orders_period": _map_to_itself("limits", "ignored"),
    "orders_to_time": _map_to_itself("exclusive", "inclusive"),
    "retry_after": {"none": None, **_map_to_itself("seconds", "date")},
    # Another program that uses the same budget has the same effect.
    "leverage_buckets": {"shared/busy": "shared"},
    "same_value": _map_to_itself("echo", "400", "422", "200"),
    "limit_answer": _map_to_itself("400", "422", "200", "clamp"),
}


class Trial(NamedTuple):
    """What to write.

    Attributes:
        symbol: The symbol to write to. None: write nothing.
        leverage: The leverage to write. None: write only the current leverage.
    """

    symbol: str | None
    leverage: int | None


class RecordedAnswer(NamedTuple):
    """A request with its answer.

    Attributes:
        request: The request.
        answer: The answer.
        value: The JSON value of the body. None if the body is not JSON.
        seconds: The time from the request to the answer.
    """

    request: Request
    answer: Answer
    value: Any
    seconds: float


class Outcome(NamedTuple):
    """The result of a call.

    Attributes:
        value: What the call returned. None after an error.
        error: The error that the call raised, or None.
        last_answer: The last answer that the call received, or None.
    """

    value: Any
    error: CoinSwitchError | None
    last_answer: RecordedAnswer | None

    @property
    def status(self) -> str:
        """The status if the API refused the request. Otherwise, a description of the error."""
        if isinstance(self.error, Refused) and self.error.is_from_api:
            return str(self.error.status)
        if isinstance(self.error, Refused):
            return f"{self.error.status} by another server"
        return "no clear answer" if isinstance(self.error, Unclear) else "unknown form"

    @property
    def data(self) -> Any:
        """The `data` of the last answer, or "absent"."""
        value = self.last_answer.value if self.last_answer else None
        return value.get("data", "absent") if isinstance(value, dict) else "absent"


def read_trial(options: Mapping[str, Any]) -> Trial:
    """Return what to write. Raise InputRefused if an option is not valid."""
    try:
        share = float(options["rate_limit_share"])
    except (TypeError, ValueError, OverflowError):
        share = MAX_SHARE  # The check of the connection options refuses the value.
    if share > MAX_SHARE:
        raise InputRefused(
            f"rate_limit_share must be at most {MAX_SHARE}, because the check leaves half of each limit to other "
            "programs"
        )
    name, value = options["write_symbol"], options["write_leverage"]
    if name is None and value is not None:
        raise InputRefused("write_leverage needs write_symbol: name the symbol to write to")
    digits = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if value is not None and not re.fullmatch("[1-9][0-9]{0,8}", digits):
        raise InputRefused("write_leverage must be a whole number from 1 to 999999999, such as 7")
    return Trial(None if name is None else check_symbol(name), None if value is None else int(digits))


class Findings:
    """The facts that were observed, and the answers that show them.

    Attributes:
        shown: The observed values of each fact.
        answers: All answers.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self.shown: dict[str, list[str]] = {}
        self._verdicts: dict[str, str] = {}
        self.answers: list[RecordedAnswer] = []
        client.on_answer = self._record_answer
        # One retry shows whether an answer was lost or wrong.
        client.retries = min(client.retries, 1)

    def _record_answer(self, request: Request, answer: Answer) -> None:
        try:
            value = parse_json(answer.body)
        except (ValueError, ArithmeticError):
            value = None
        timing = self._client.timing
        self.answers.append(RecordedAnswer(request, answer, value, timing.received - timing.sent))

    def record(self, read: Callable[[], Any]) -> Outcome:
        """Call `read`, and return its result. Raise an error that ends the task."""
        count_before = len(self.answers)
        value, failed = None, None
        try:
            value = read()
        except CoinSwitchError as error:
            if error.ends is not Ends.NOTHING:
                raise
            failed = error
        return Outcome(value, failed, self.answers[-1] if len(self.answers) > count_before else None)

    def note(self, fact: str, shown: str, handled: bool = True) -> None:
        """Add an observed value of a fact. The worst verdict of all values counts.

        Args:
            fact: The name of the fact.
            shown: The observed value.
            handled: Whether the code can handle the value.
        """
        verdict = NOT_HANDLED if not handled else EXPECTED if shown in FACTS[fact] else HANDLED
        self.shown.setdefault(fact, [])
        if shown not in self.shown[fact]:
            self.shown[fact].append(shown)
        self._verdicts[fact] = max(self._verdicts.get(fact, NOT_SHOWN), verdict, key=_VERDICTS.index)

    def note_answer(self, fact: str, outcome: Outcome, shown: str) -> None:
        """Add the error of the outcome, or `shown` if there is no error."""
        self.note(fact, outcome.status if outcome.error else shown, handled=outcome.error is None)

    def get_rows(self) -> list[dict[str, str]]:
        """Return each fact with its observed values and its verdict."""
        return [
            {"fact": fact, "shown": ", ".join(self.shown.get(fact, [])), "verdict": self._verdicts.get(fact, NOT_SHOWN)}
            for fact in FACTS
        ]

    def get_quirks(self) -> dict[str, Any]:
        """Return the quirk of each fact that has exactly one observed value, and whose value the sandbox knows."""
        return {
            fact: values[self.shown[fact][0]]
            for fact, values in READINGS.items()
            if len(self.shown.get(fact, [])) == 1 and self.shown[fact][0] in values
        }

    def get_transcript(self) -> dict[str, Any]:
        """Return all facts and answers, without secret or personal values."""
        answers = [
            {
                "request": str(recorded.request),
                "parameters": sorted(recorded.request.params) or _get_parameter_names(recorded.request.body),
                "status": recorded.answer.status,
                "headers": get_safe_headers(recorded.answer.headers),
                "milliseconds": round(recorded.seconds * 100) * 10,
                "body": describe_body(recorded.answer.body),
            }
            for recorded in self.answers
        ]
        return {"format": FORMAT, "quirks": self.get_quirks(), "facts": self.get_rows(), "answers": answers}


def _get_parameter_names(body: str | None) -> list[str]:
    return sorted(parse_json(body.encode())) if body else []


def check(futures: Futures, trial: Trial, context: Context) -> Result:
    """Compare the answers to reads with the expected facts. If the trial has a symbol, compare the answers to writes.

    Args:
        futures: The endpoints of the account.
        trial: What to write.
        context: In check mode, nothing is written, and `plan` in the result lists the writes.
    """
    findings = Findings(futures.client)
    result: dict[str, Any] = {"changed": False}
    failure: str | None = None
    error: dict[str, Any] | None = None
    try:
        if trial.symbol is None:
            _read_all(futures, findings)
        else:
            task = _WriteTrial(futures, findings, trial.symbol, trial.leverage, result)
            failure = task.run(writes=not context.check_mode)
            error = None if failure is None else build_error("not_restored")
    except CoinSwitchError as caught:
        failure, error = str(caught), build_error(caught.kind, caught.status)
    _note_all_answers(findings)
    rows = findings.get_rows()
    not_handled = [f"{row['fact']} ({row['shown']})" for row in rows if row["verdict"] == NOT_HANDLED]
    if not_handled and failure is None:
        error = build_error("not_handled")
        failure = (
            f"NOT HANDLED: {', '.join(not_handled)}: do not use the collection with this exchange yet, and attach the "
            "transcript to an issue"
        )
    table = [f"{row['fact']:<26} {row['shown'] or '-':<34} {row['verdict']}" for row in rows if row["shown"]]
    return Result(
        {**result, "handled": failure is None, "facts": rows, "table": table, "transcript": findings.get_transcript()},
        failure,
        error=error,
    )


def _read_all(futures: Futures, findings: Findings) -> None:
    time = findings.record(futures.get_server_time)
    keys = findings.record(futures.validate_keys)
    instruments_outcome = findings.record(futures.get_instruments)
    if time.error and instruments_outcome.error:
        raise Unexpected(
            f"this is not the API of CoinSwitch PRO ({time.error}; {instruments_outcome.error}): check api_url and "
            "the proxy, and whether a login page answers instead"
        )
    _note_time(findings, time, futures.client)
    findings.note_answer("keys", keys, "valid")
    symbols = _note_instruments(findings, instruments_outcome)
    _read_leverages(futures, findings, symbols)
    _read_positions(futures, findings, symbols[0])
    _read_orders(futures, findings, symbols[0])
    wallet = findings.record(futures.get_wallet)
    balances, assets = wallet.value or ([], [])
    shown = _compare_fields(balances, BALANCE_FIELDS) + _compare_fields(assets, ASSET_FIELDS)
    _note_fields(findings, "fields_wallet", wallet, shown)


def _note_time(findings: Findings, time: Outcome, client: Client) -> None:
    # Without the time of the exchange, the code uses the Date header of an answer.
    findings.note("server_time", time.status if time.error else "serverTime")
    if time.error:
        offset = get_clock_offset(client.timing.date, client.timing.midpoint)
    else:
        offset = client.timing.midpoint - time.value / 1000
    if offset is not None:
        findings.note("clock", _describe_clock(abs(offset)), handled=abs(offset) <= 60)


def _describe_clock(seconds: float) -> str:
    return "within 5 s" if seconds <= 5 else "within 60 s" if seconds <= 60 else "more than 60 s"


def _note_instruments(findings: Findings, instruments_outcome: Outcome) -> list[str]:
    """Note the facts about the instruments. Return the symbols for the next reads, the most traded one first."""
    instruments: dict[str, Instrument] = instruments_outcome.value or {}
    data = instruments_outcome.data
    names = [name for name in data if isinstance(name, str)] if isinstance(data, dict) else []
    if names:
        findings.note("symbol_form", "upper case" if all(name == name.upper() for name in names) else "lower case")
    fields = _compare_fields([instrument.fields for instrument in instruments.values()], INSTRUMENT_FIELDS)
    _note_fields(findings, "fields_instruments", instruments_outcome, fields)
    if instruments:
        findings.note("limits", _describe_limits(instruments.values()))
        findings.note("numbers", _describe_numbers([item.fields.get("max_leverage") for item in instruments.values()]))
    # The exchange may refuse a symbol only because it is not traded.
    traded = [name for name, item in sorted(instruments.items()) if item.fields.get("status") == "TRADING"]
    names = traded or sorted(instruments) or ["BTCUSDT"]
    first = "BTCUSDT" if "BTCUSDT" in names else names[0]
    return [first, *[name for name in names if name != first][-_MORE_SYMBOLS:]]


def _describe_limits(instruments: Iterable[Instrument]) -> str:
    known = all(
        item.min_leverage and item.max_leverage and item.leverage_step and item.min_leverage <= item.max_leverage
        for item in instruments
    )
    return "whole numbers" if known else "other numbers"


def _describe_numbers(values: Iterable[Any]) -> str:
    forms = {"whole_number_text": "text", "whole_number": "number", "decimal_text": "decimal"}
    return "/".join(sorted({forms.get(get_form(value), get_form(value)) for value in values}))


def _compare_fields(rows: Iterable[Mapping[str, Any]], documented: Iterable[str]) -> list[str]:
    """Return the differences between the fields of the rows and the documented fields, sorted."""
    differences = set()
    for row in rows:
        missing = [name for name in documented if name not in row]
        differences |= {f"no {name}" for name in missing}
        if len(row) > len(list(documented)) - len(missing):
            differences.add("more fields")
    return sorted(differences)


def _note_fields(findings: Findings, fact: str, outcome: Outcome, differences: list[str]) -> None:
    findings.note_answer(fact, outcome, ", ".join(differences) or "as documented")


def _read_leverages(futures: Futures, findings: Findings, symbols: list[str]) -> None:
    configured = False
    for symbol in symbols:
        outcome = findings.record(partial(futures.get_leverage, symbol))
        if isinstance(outcome.error, NotConfigured):
            findings.note("unset_leverage", _describe_unset(outcome))
            continue
        if outcome.error:
            # No task could read such a symbol, whether it was configured or not.
            findings.note("unset_leverage", outcome.status, handled=False)
            continue
        configured = True
        _note_leverage(findings, outcome)
    if configured and "unset_leverage" not in findings.shown:
        findings.note("unset_leverage", "default")
    unknown_symbol = findings.record(lambda: futures.get_leverage("NOSUCHCOINUSDT"))
    if isinstance(unknown_symbol.error, NotConfigured):
        findings.note("unknown_symbol", _describe_unset(unknown_symbol))
    else:
        # The code would accept a leverage of an unknown symbol as a current leverage.
        findings.note(
            "unknown_symbol",
            unknown_symbol.status if unknown_symbol.error else "leverage",
            handled=bool(unknown_symbol.error),
        )


def _describe_unset(outcome: Outcome) -> str:
    """Return how the exchange answers without a leverage: a status, only a message, or the form of an empty value."""
    status = outcome.last_answer.answer.status if outcome.last_answer else 0
    data = outcome.data
    if status >= 300:
        return str(status)
    if not isinstance(data, dict):
        return "message" if data == "absent" else "null"
    if not any(data.get(name) for name in ("symbol", "exchange")):
        return "empty-fields" if data else "empty-object"
    value = data.get("leverage")
    forms = {None: "leverage-null", "": "blank"}
    return forms.get(value, "zero" if isinstance(value, str) else "zero-number")


def _note_leverage(findings: Findings, outcome: Outcome) -> None:
    findings.note("numbers", _describe_numbers([outcome.data["leverage"]]))
    symbol = str(outcome.data["symbol"])
    findings.note("symbol_form", "upper case" if symbol == symbol.upper() else "lower case")
    _note_fields(findings, "fields_leverage", outcome, _compare_fields([outcome.data], LEVERAGE_FIELDS))


def _read_positions(futures: Futures, findings: Findings, symbol: str) -> None:
    all_symbols = findings.record(futures.get_positions)
    refused = isinstance(all_symbols.error, Refused)
    findings.note(
        "positions_without_symbol",
        all_symbols.status if all_symbols.error else "all",
        handled=refused or not all_symbols.error,
    )
    one_symbol = findings.record(lambda: futures.get_positions(symbol))
    # A request in lower case shows whether the case matters. It works even if no symbol is configured.
    params = {"exchange": futures.exchange, "symbol": symbol.lower()}
    lower_case = findings.record(lambda: futures.client.request(POSITIONS, params))
    findings.note("symbol_case", "upper case alone" if lower_case.error else "any")
    rows = _get_rows(all_symbols, None) + _get_rows(one_symbol, None)
    if one_symbol.error:
        findings.note("flat_positions", one_symbol.status, handled=False)
    for outcome in (all_symbols, one_symbol):
        if not outcome.error and not _get_rows(outcome, None):
            findings.note("flat_positions", _describe_empty(outcome.data))
    if _get_rows(one_symbol, None):
        others = [row for row in _get_rows(one_symbol, None) if str(row.get("symbol")).upper() != symbol]
        findings.note("positions_other_symbols", "yes" if others else "no")
    if rows:
        _note_fields(findings, "fields_positions", one_symbol, _compare_fields(rows, POSITION_FIELDS))


def _get_rows(outcome: Outcome, name: str | None) -> list[dict[str, Any]]:
    """Return the rows of an answer unchanged: those of `data`, or those of its field `name`."""
    data = outcome.data
    if name and isinstance(data, dict):
        data = data.get(name)
    return [row for row in data if isinstance(row, dict)] if isinstance(data, list) else []


def _describe_empty(value: Any) -> str:
    return "message" if value == "absent" else "null" if value is None else "list"


def _read_orders(futures: Futures, findings: Findings, symbol: str) -> None:
    recent = futures.client.now_ms() - RECENT_MS
    all_symbols = findings.record(lambda: list(futures.get_open_orders(recent)))
    findings.note_answer("orders_without_symbol", all_symbols, "all")
    rows = _get_rows(all_symbols, "orders")
    if not rows:
        one_symbol = findings.record(lambda: list(futures.get_open_orders(recent, None, symbol)))
        for outcome in (all_symbols, one_symbol):
            shown = _describe_empty_orders(outcome.data)
            findings.note("empty_orders", outcome.status if outcome.error else shown, handled=not outcome.error)
    if not rows:
        # An older order shows the same facts.
        now = futures.client.now_ms()
        older = findings.record(lambda: _request_orders(futures, now - 2 * MAX_SPAN_MS, now - MAX_SPAN_MS, None))
        rows = _get_rows(older, "orders")
        if older.error:
            findings.note("orders_period", older.status, handled=False)
    if rows and not all_symbols.error:
        _note_orders(findings, all_symbols, rows)
        _read_periods(futures, findings, rows)


def _describe_empty_orders(data: Any) -> str:
    if isinstance(data, dict):
        return _describe_empty(data.get("orders"))
    return "absent" if data == "absent" else "data is null" if data is None else "data is a list"


def _request_orders(futures: Futures, start: int | None, end: int | None, symbol: Any) -> Any:
    optional = {"from_time": start, "to_time": end, "symbol": symbol}
    body = {"exchange": futures.exchange, "limit": ORDERS_PER_PAGE}
    body.update({name: value for name, value in optional.items() if value is not None})
    return futures.client.request(OPEN_ORDERS, body=body)


def _note_orders(findings: Findings, all_symbols: Outcome, rows: list[dict[str, Any]]) -> None:
    _note_fields(findings, "fields_orders", all_symbols, _compare_fields(rows, ORDER_FIELDS))
    for row in rows:
        findings.note("order_times", get_form(row.get("created_at")))
    cursor = all_symbols.data.get("cursor") if isinstance(all_symbols.data, dict) else None
    times = [
        time for time in (to_int(row.get("created_at")) for row in _get_rows(all_symbols, "orders")) if time is not None
    ]
    if times:
        shown = "oldest" if to_int(cursor) == min(times) else "null" if cursor is None else "another value"
        findings.note("orders_cursor", shown)


def _read_periods(futures: Futures, findings: Findings, rows: list[dict[str, Any]]) -> None:
    """Note whether a period limits the listed orders, and whether to_time is included. Use periods around one order."""
    order = next((row for row in rows if get_form(row.get("created_at")).startswith("unix_ms")), None)
    if order is None:
        return
    time = to_int(order["created_at"]) or 0

    def is_listed(start: int | None, end: int | None) -> bool:
        outcome = findings.record(lambda: _request_orders(futures, start, end, order.get("symbol")))
        if outcome.error:
            findings.note("orders_period", outcome.status, handled=False)
        return order.get("order_id") in [row.get("order_id") for row in _get_rows(outcome, "orders")]

    if is_listed(time - 2 * _DAY_MS, time - _DAY_MS):
        findings.note("orders_period", "ignored")
    elif is_listed(time - _MINUTE_MS, time + 1):
        findings.note("orders_period", "limits")
        findings.note("orders_to_time", "inclusive" if is_listed(time - _MINUTE_MS, time) else "exclusive")
    elif is_listed(None, None):
        # The order is open, but requests with a period do not return it.
        findings.note("orders_period", "missed", handled=False)


def _note_all_answers(findings: Findings) -> None:
    """Note the facts that each answer shows: its headers, its time, and whether the rate limit was reached."""
    for recorded in findings.answers:
        headers = get_safe_headers(recorded.answer.headers)
        understood = recorded.value is not None or not 200 <= recorded.answer.status < 300
        findings.note("media_type", headers.get("content-type", "none"), handled=understood)
        findings.note("date_header", "present" if headers.get("date") == "http_date" else "none")
        findings.note("rate_limit_headers", "present" if any("ratelimit" in name for name in headers) else "none")
        if recorded.answer.status == 429:
            wait = headers.get("retry-after")
            forms = {None: "none", "http_date": "date", "other": "other"}
            findings.note("retry_after", forms.get(wait, "seconds"))
    if findings.answers:
        slowest = max(recorded.seconds for recorded in findings.answers)
        findings.note("response_time", "below 1 s" if slowest < 1 else "1 s and more")
        limited = sum(recorded.answer.status == 429 for recorded in findings.answers)
        findings.note("rate_limit", "reached" if limited else "not reached")
    _note_buckets(findings)


def _note_buckets(findings: Findings) -> None:
    """Note that reads and writes of the leverage share a budget, if a write was answered with 429 too early."""
    path = WRITE_LEVERAGE.path
    leverage_answers = [recorded for recorded in findings.answers if recorded.request.path == path]
    writes = [recorded for recorded in leverage_answers if recorded.request.method == WRITE_LEVERAGE.method]
    refused = [recorded for recorded in writes if recorded.answer.status == 429]
    if refused and len(writes) - len(refused) <= WRITE_LEVERAGE.limit * MAX_SHARE:
        findings.note("leverage_buckets", "shared/busy")


class _WriteTrial:
    """Writes the current leverage, then another one if the trial has one, and restores the first one.

    Args:
        futures: The endpoints of the account.
        findings: Collects the facts.
        symbol: The symbol to write to.
        leverage: The other leverage, or None.
        result: The result of the task. This class adds its keys.
    """

    def __init__(
        self, futures: Futures, findings: Findings, symbol: str, leverage: int | None, result: dict[str, Any]
    ) -> None:
        self._futures = futures
        self._findings = findings
        self._symbol = symbol
        self._leverage = leverage
        self._result = result
        self._before = 0

    def run(self, writes: bool) -> str | None:
        """Write, or only plan the writes. Return the failure, or None. Raise an error that precedes the first write."""
        limits = self._check_symbol(5 if writes else 1)
        before = self._before
        result = self._result
        result.update(symbol=self._symbol, previous_leverage=before, leverage=before, plan=self._get_plan())
        if not writes:
            return None
        failure = None
        try:
            self._try_value(before, limits)
            if self._leverage is not None and self._leverage != before:
                self._try_value(self._leverage, limits)
        except CoinSwitchError as error:
            failure = str(error)
        except BaseException:
            self._restore()
            raise
        self._restore()
        result["changed"] = result["leverage"] != before
        if not result["changed"]:
            return failure
        now = "not known" if result["leverage"] is None else result["leverage"]
        cause = f" ({failure})" if failure else ""
        advice = self._get_restore_advice()
        return f"the leverage of {self._symbol} is {now}, and {before} was not restored{cause}: {advice}"

    def _check_symbol(self, weeks: int) -> Instrument:
        """Return the limits of the symbol. Raise CoinSwitchError if the check must not write to it.

        Args:
            weeks: For how many weeks to read open orders.
        """
        futures, symbol = self._futures, self._symbol
        limits = futures.get_instruments().get(symbol)
        if limits is None:
            raise CoinSwitchError(
                f"nothing was written, because {futures.exchange} does not list {symbol}: check the name"
            )
        start = futures.client.now_ms() - RECENT_MS - (weeks - 1) * MAX_SPAN_MS
        if futures.get_positions(symbol) or any(futures.get_open_orders(start, None, symbol)):
            raise CoinSwitchError(
                f"nothing was written, because {symbol} has an open position or order: choose a symbol that has none"
            )
        try:
            self._before = futures.get_leverage(symbol)
        except NotConfigured as error:
            raise CoinSwitchError(
                f"nothing was written, because the leverage of {symbol} is not known, so it could not be restored "
                f"({error}): choose a symbol that was configured before"
            ) from None
        return limits

    def _get_plan(self) -> list[str]:
        before, symbol = self._before, self._symbol
        values = [before] if self._leverage in (None, before) else [before, self._leverage, before]
        purposes = ("in force", "write_leverage", "restored")
        lines = [f"POST {WRITE_LEVERAGE.path} {symbol} {value} ({purpose})" for value, purpose in zip(values, purposes)]
        return [*lines, f"if the check is interrupted: {self._get_restore_advice()}"]

    def _get_restore_advice(self) -> str:
        return (
            f"to restore it, run ansible localhost -m tradeops.coinswitch.futures_leverage "
            f"-a 'symbol={self._symbol} leverage={self._before}'"
        )

    def _try_value(self, value: int, limits: Instrument) -> None:
        """Write a leverage, read it back, and note the facts that this shows."""
        # The leverage is not known until it is read back.
        self._result["leverage"] = None
        outcome = self._write(value)
        now = self._read_back()
        if outcome.error is None:
            self._findings.note("read_back", "at once" if now == value else "another value", handled=now == value)
        if value == self._before:
            self._findings.note("same_value", _describe_write_answer(outcome))
        elif _is_within_limits(value, limits):
            self._findings.note("write_answer", _describe_write_answer(outcome))
        else:
            clamped = now not in (value, self._before)
            self._findings.note("limit_answer", "clamp" if clamped else _describe_write_answer(outcome))
        if isinstance(outcome.error, Unclear):
            raise outcome.error

    def _write(self, value: int) -> Outcome:
        """Write a leverage. Wait for the rate limit as often as needed. Raise BudgetSpent if that takes too long."""
        while True:
            self._futures.client.real_pacer.wait_for(WRITE_LEVERAGE)
            outcome = self._findings.record(lambda: self._futures.set_leverage(self._symbol, value))
            if outcome.error is None or outcome.error.kind != RateLimited.kind:
                return outcome

    def _read_back(self) -> int:
        self._futures.client.reset_connection()
        now = self._futures.get_leverage(self._symbol)
        self._result["leverage"] = now
        return now

    def _restore(self) -> None:
        """Restore the first leverage. After a write without a clear answer, read the leverage first."""
        for _attempt in range(2):
            try:
                if self._result["leverage"] is None:
                    self._read_back()
                if self._result["leverage"] == self._before:
                    return
                self._result["leverage"] = None
                self._write(self._before)
                self._read_back()
            except CoinSwitchError:
                # Try once more. Without success, `run` returns the failure.
                self._result["leverage"] = None


def _is_within_limits(value: int, limits: Instrument) -> bool:
    minimum, maximum, step = limits.min_leverage or 1, limits.max_leverage or value, limits.leverage_step or 1
    return minimum <= value <= maximum and (value - minimum) % step == 0


def _describe_write_answer(outcome: Outcome) -> str:
    """Return how a write was answered: echo, the status of a refusal, or 200 for an answer with only a message."""
    if outcome.error is None:
        return "echo"
    if not isinstance(outcome.error, Unconfirmed):
        return outcome.status
    return "200" if outcome.data in ("absent", None) else "another echo"
