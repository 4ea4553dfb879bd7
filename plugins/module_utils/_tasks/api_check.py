# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the responses of an exchange with what the code relies on. docs/api.md lists these facts.

This file sends the requests. api_facts.py says what their outcomes show. Each response is read, and each write is made,
by the code that the other modules use, so a fact is NOT HANDLED if and only if that code fails. Private to this
collection: anything here may change in any release.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any, Mapping, NamedTuple

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.endpoints import (
    OPEN_ORDERS,
    POSITIONS,
    READ_LEVERAGE,
    WALLET,
    WRITE_LEVERAGE,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import (
    CoinSwitchError,
    InputRefused,
    KeysRefused,
    NotConfigured,
    NotListed,
    Reworded,
    Stopped,
    Unconfirmed,
    Unexpected,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.futures import (
    DAY_MS,
    MAX_SPAN_MS,
    ORDERS_PER_PAGE,
    RECENT_MS,
    Futures,
    Instrument,
    to_int,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.api_facts import (
    MAX_SHARE,
    NOT_HANDLED,
    NOT_SHOWN,
    PROBES,
    VERDICTS,
    Observer,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.evidence import Goal
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.interruptions import Guard, Interrupted
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.judgment import NOT_WRITTEN, UNCHANGED, UNKNOWN
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.outcomes import Outcome as Change
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import (
    check_symbol,
    describe_limit_violation,
    describe_unknown_symbol,
)
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.progress import Context
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result, build_error
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.transcript import get_form
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.wording import make_sentence

FORMAT = 1
# The leverages of so many symbols are read. With more, the playbook would need more than half of the limit.
_MAX_SYMBOLS = 3
# The leverage is restored in this time, even if the task was stopped. A rate limit requires at most a minute of it.
RESTORE_SECONDS = 70.0
_MAX_RESTORES = 3
_FUTURES_HFT = (
    "The wallet is empty, and nothing is open. If you trade HFT futures, note that HFT is another account of the same "
    "keys. A leverage that this collection sets does not apply there."
)


class Trial(NamedTuple):
    """What to write.

    Attributes:
        symbol: The symbol to write to. None: write nothing.
        leverage: The leverage to write. None: write only the current leverage.
        is_new: Whether the leverage of the symbol was never set, so that its first write cannot be undone.
    """

    symbol: str | None = None
    leverage: int | None = None
    is_new: bool = False


def read_trial(options: Mapping[str, Any]) -> Trial:
    """Return what to write. Raise InputRefused if an option is not valid."""
    try:
        share = float(options["rate_limit_share"])
    except (TypeError, ValueError, OverflowError):
        share = MAX_SHARE  # The check of the connection options refuses the value.
    if share > MAX_SHARE:
        raise InputRefused(
            f"rate_limit_share must be at most {MAX_SHARE}. The check leaves half of each limit to other programs."
        )
    name, value, new = options["write_symbol"], options["write_leverage"], options["new_symbol"]
    if name is None and value is not None:
        raise InputRefused("write_leverage needs write_symbol. Name the symbol to write to.")
    if name is not None and new is not None:
        raise InputRefused("write_symbol and new_symbol exclude each other. Run the check once for each.")
    digits = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if value is not None and not re.fullmatch("[1-9][0-9]{0,8}", digits):
        raise InputRefused("write_leverage must be a whole number from 1 to 999999999, such as 7.")
    if new is not None:
        return Trial(check_symbol(new), is_new=True)
    return Trial(None if name is None else check_symbol(name), None if value is None else int(digits))


class End(NamedTuple):
    """The end of a check: what it returns, and what failed."""

    values: dict[str, Any]
    error: CoinSwitchError | None = None


class NotHandled(CoinSwitchError):
    """The collection does not handle a response."""

    kind = "not_handled"


class NotRestored(CoinSwitchError):
    """The leverage of a trial was not restored."""

    kind = "not_restored"


def check(futures: Futures, trial: Trial, context: Context) -> Result:
    """Compare the responses to reads with the expected facts. If the trial has a symbol, those to writes.

    Args:
        futures: The endpoints of the account.
        trial: What to write.
        context: In check mode, nothing is written, and `plan` in the result lists the writes.
    """
    with Observer(futures) as seen:
        try:
            end = _read_all(seen) if trial.symbol is None else _try_writes(seen, trial.symbol, trial, context)
        except CoinSwitchError as error:
            end = End({}, error)
    rows = [_build_row(fact, probe.observe(seen)) for fact, probe in PROBES.items()]
    not_handled = [f"{row['fact']} ({row['shown']})" for row in rows if row["verdict"] == NOT_HANDLED]
    error_or_none = end.error
    if not_handled and error_or_none is None:
        error_or_none = NotHandled(
            f"The collection does not handle these responses: {', '.join(not_handled)}. Do not use it with this "
            "exchange yet. Open an issue, and attach the transcript."
        )
    return _build_result(seen, end.values, rows, error_or_none)


def _build_row(fact: str, found: Mapping[str, str]) -> dict[str, str]:
    verdict = max(found.values(), default=NOT_SHOWN, key=VERDICTS.index)
    return {"fact": fact, "shown": ", ".join(found), "verdict": verdict}


def _build_result(
    seen: Observer, values: dict[str, Any], rows: list[dict[str, str]], error: CoinSwitchError | None
) -> Result:
    quirks = {row["fact"]: PROBES[row["fact"]].quirks.get(row["shown"], NOT_SHOWN) for row in rows}
    transcript = {
        "format": FORMAT,
        "quirks": {fact: quirk for fact, quirk in quirks.items() if quirk != NOT_SHOWN},
        "facts": rows,
        "responses": [item.describe() for item in seen.responses],
    }
    table = [f"{row['fact']:<26} {row['shown'] or '-':<34} {row['verdict']}" for row in rows if row["shown"]]
    is_unused = {"fact": "account_in_use", "shown": "no", "verdict": VERDICTS[1]} in rows
    return Result(
        {"changed": False, **values, "handled": error is None, "facts": rows, "table": table, "transcript": transcript},
        None if error is None else str(error),
        [_FUTURES_HFT] if is_unused else [],
        None if error is None else build_error(error.kind, error.status),
    )


def _read_all(seen: Observer) -> End:
    futures = seen.futures
    time = seen.ask("time", futures.get_server_time)
    # Futures have an authentication layer of their own, so they can accept keys that this request refuses.
    seen.ask("keys", futures.validate_keys, allowed=KeysRefused.kind)
    instruments = seen.ask("instruments", futures.get_instruments)
    if time.error and instruments.error:
        raise Unexpected(
            "This is not the API of CoinSwitch PRO. Check api_url and the proxy, and whether a login page answers "
            f"instead. {make_sentence(time.error)} {make_sentence(instruments.error)}"
        )
    symbols = _choose_symbols(instruments.value or {})
    all_positions = seen.ask("positions", futures.get_positions)
    one = seen.ask("positions of one", partial(futures.get_positions, symbols[0]))
    seen.outcomes["listed positions"] = [one, *([] if all_positions.error else [all_positions])]
    # A request in lower case shows whether the case matters. It works even if no symbol is configured.
    params = {"exchange": futures.exchange, "symbol": symbols[0].lower()}
    seen.ask("positions in lower case", partial(futures.client.request, POSITIONS, params))
    open_symbols = [row["symbol"] for row in all_positions.value or [] if row["symbol"] in (instruments.value or {})]
    for symbol in list(dict.fromkeys([symbols[0], *open_symbols[:1], *symbols[1:]]))[:_MAX_SYMBOLS]:
        seen.ask("leverage", partial(futures.get_leverage, symbol))
    seen.ask("unknown symbol", partial(futures.get_leverage, "NOSUCHCOINUSDT"))
    _read_orders(seen, symbols[0])
    seen.ask("wallet", futures.get_wallet)
    # As many requests in a row as the check may send to one endpoint.
    while futures.client.real_pacer.get_delay(WALLET) <= 0 and 429 not in seen.get_statuses(WALLET.path):
        seen.ask("burst", futures.get_wallet)
    return End({})


def _choose_symbols(instruments: Mapping[str, Instrument]) -> list[str]:
    """Return the symbols to read, the most traded one first."""
    # The exchange may refuse a symbol only because it is not traded.
    traded = [name for name, item in sorted(instruments.items()) if item.fields.get("status") == "TRADING"]
    names = traded or sorted(instruments) or ["BTCUSDT"]
    first = "BTCUSDT" if "BTCUSDT" in names else names[0]
    return [first, *[name for name in names if name != first][1 - _MAX_SYMBOLS :]]


def _read_orders(seen: Observer, symbol: str) -> None:
    futures, now = seen.futures, seen.futures.client.now_ms()
    outcome = seen.ask("orders", lambda: list(futures.get_open_orders(now - RECENT_MS)))
    rows = outcome.get_rows("orders")
    if not rows:
        seen.ask("orders", lambda: list(futures.get_open_orders(now - RECENT_MS, None, symbol)))
        # An older order shows the same facts.
        older = seen.ask("period", partial(_request_orders, futures, now - 2 * MAX_SPAN_MS, now - MAX_SPAN_MS))
        rows = older.get_rows("orders")
    order = next((row for row in rows if get_form(row.get("created_at")).startswith("unix_ms")), None)
    if order is not None and not outcome.error:
        _read_periods(seen, order, to_int(order["created_at"]) or 0)


def _read_periods(seen: Observer, order: Mapping[str, Any], time: int) -> None:
    """Find out with one order whether a period limits the listed orders, and whether `to_time` belongs to it."""

    def is_listed(start: int | None, end: int | None) -> bool:
        outcome = seen.ask("period", partial(_request_orders, seen.futures, start, end, order.get("symbol")))
        return order.get("order_id") in [row.get("order_id") for row in outcome.get_rows("orders")]

    if is_listed(time - 2 * DAY_MS, time - DAY_MS):
        seen.note("use of period", "ignored")
    elif is_listed(time - 60_000, time + 1):
        seen.note("use of period", "limits")
        seen.note("use of to_time", "inclusive" if is_listed(time - 60_000, time) else "exclusive")
    elif is_listed(None, None):
        # The order is open, but requests with a period do not return it.
        seen.note("use of period", "missed")


def _request_orders(futures: Futures, start: int | None, end: int | None, symbol: Any = None) -> Any:
    optional = {"from_time": start, "to_time": end, "symbol": symbol}
    body = {"exchange": futures.exchange, "limit": ORDERS_PER_PAGE}
    body.update({name: value for name, value in optional.items() if value is not None})
    return futures.client.request(OPEN_ORDERS, body=body)


def _try_writes(seen: Observer, symbol: str, trial: Trial, context: Context) -> End:
    """Write to one symbol, and restore its leverage. In check mode, only plan that."""
    instrument = _find_free_symbol(seen.futures, symbol, weeks=1 if context.check_mode else 5)
    reading = seen.ask("new symbol" if trial.is_new else "current", partial(seen.futures.get_leverage, symbol))
    if reading.error is not None and not isinstance(reading.error, NotConfigured):
        raise reading.error
    before: int | None = reading.value
    values: dict[str, Any] = {"symbol": symbol, "previous_leverage": before, "leverage": before}
    if trial.is_new:
        first = before or instrument.min_leverage or 1
        plan = [f"{WRITE_LEVERAGE} {symbol} {first} (the first write of this symbol, which cannot be undone)"]
        return End({**values, "plan": plan}) if context.check_mode else _write_first(seen, Goal(symbol, first), values)
    if before is None:
        raise CoinSwitchError(
            f"Nothing was written, because the exchange returned no leverage for {symbol}, so it could not be "
            f"restored. Choose a symbol that was configured before, or use new_symbol. {make_sentence(reading.error)}"
        )
    values["plan"] = _make_plan(symbol, before, trial.leverage)
    if context.check_mode:
        return End(values)
    goals = [("same", Goal(symbol, before))]
    if trial.leverage not in (None, before):
        goal = Goal(symbol, trial.leverage or 0)
        goals.append(("outside" if describe_limit_violation(goal.leverage, instrument) else "trial", goal))
    return _write_and_restore(seen, goals, values)


def _find_free_symbol(futures: Futures, symbol: str, weeks: int) -> Instrument:
    """Return the limits of a symbol. Raise CoinSwitchError if the check must not write to it.

    Args:
        futures: The endpoints of the account.
        symbol: The symbol.
        weeks: For how many weeks to read open orders.
    """
    instruments = futures.get_instruments()
    if symbol not in instruments:
        text = describe_unknown_symbol(symbol, futures.exchange, instruments)
        raise NotListed(f"Nothing was written to {symbol}. {text}")
    start = futures.client.now_ms() - RECENT_MS - (weeks - 1) * MAX_SPAN_MS
    if futures.get_positions(symbol) or any(futures.get_open_orders(start, None, symbol)):
        raise CoinSwitchError(
            f"Nothing was written, because {symbol} has an open position or order. Choose a symbol that has none."
        )
    return instruments[symbol]


def _make_plan(symbol: str, before: int, leverage: int | None) -> list[str]:
    values = [before] if leverage in (None, before) else [before, leverage, before]
    lines = zip(values, ("in force", "write_leverage", "restored"))
    writes = [f"{WRITE_LEVERAGE} {symbol} {value} ({purpose})" for value, purpose in lines]
    return [*writes, f"If the leverage is not {before} afterwards, run {_get_restore_command(symbol, before)}"]


def _get_restore_command(symbol: str, before: int) -> str:
    module = "tradeops.coinswitch.futures_leverage"
    return f"ansible localhost -m {module} -a 'symbol={symbol} leverage={before}'"


def _write_first(seen: Observer, goal: Goal, values: dict[str, Any]) -> End:
    """Write the first leverage of a symbol. It stays, because no request can remove it."""
    changed = seen.change("first write", goal, writes_same=True)
    values.update(leverage=changed.verdict.leverage, changed=changed.verdict.leverage != values["previous_leverage"])
    error = _find_failure(changed)
    if error is None:
        seen.ask("new symbol afterwards", partial(seen.futures.get_leverage, goal.symbol))
    return End(values, error)


def _write_and_restore(seen: Observer, goals: list[tuple[str, Goal]], values: dict[str, Any]) -> End:
    """Write the leverages one after the other, and restore the first one, even if the task is stopped meanwhile."""
    before = goals[0][1]
    client = seen.futures.client
    # Wait for the rate limits now, so that no restore has to wait.
    count = len(goals) + 2
    client.real_pacer.check_max_wait({READ_LEVERAGE: count, WRITE_LEVERAGE: count})
    client.real_pacer.wait(max(client.real_pacer.get_delay(item, count) for item in (READ_LEVERAGE, WRITE_LEVERAGE)))
    with Guard() as guard:
        guard.run(partial(_write_all, seen, goals))
        with client.allow_after_end(RESTORE_SECONDS):
            restored = _restore(seen, before, is_unclear=guard.error is not None)
    now = restored.verdict.leverage
    values.update(leverage=now, changed=now != before.leverage)
    if restored.verdict.outcome != UNCHANGED:
        return End(values, _describe_failed_restore(restored))
    if isinstance(guard.error, Interrupted):
        return End(values, Stopped(f"The check was stopped by a signal. {_describe_restored(before)}"))
    if isinstance(guard.error, CoinSwitchError):
        return End(values, Reworded(f"{guard.error} {_describe_restored(before)}", guard.error))
    if guard.error is not None:
        raise guard.error
    return End(values)


def _write_all(seen: Observer, goals: list[tuple[str, Goal]]) -> None:
    for name, goal in goals:
        error = _find_failure(seen.change(name, goal, writes_same=name == "same"))
        if error is not None:
            raise error


def _find_failure(changed: Change) -> CoinSwitchError | None:
    """Return why a write was not sent, or why it is not known what it did. A refusal is no failure."""
    verdict = changed.verdict
    is_answered = verdict.outcome == UNKNOWN and isinstance(verdict.error, Unconfirmed)
    if verdict.error is None or verdict.outcome not in (UNKNOWN, NOT_WRITTEN) or is_answered:
        return None
    text = make_sentence(changed.reason)
    return Reworded(f"The check of {changed.goal.symbol} ended early. {text}", verdict.error)


def _restore(seen: Observer, before: Goal, is_unclear: bool) -> Change:
    """Write the first leverage until a reading shows it.

    Args:
        seen: Records the changes.
        before: The first leverage.
        is_unclear: Whether a write can still take effect. If so, the first leverage is written even if it is in force,
            because a later write replaces it.
    """
    restored = seen.change("restore", before, writes_same=is_unclear)
    for _restore_again in range(_MAX_RESTORES - 1):
        if restored.verdict.outcome != UNCHANGED:
            restored = seen.change("restore", before)
    return restored


def _describe_restored(before: Goal) -> str:
    return f"The leverage of {before.symbol} is {before.leverage} again."


def _describe_failed_restore(restored: Change) -> NotRestored:
    symbol, leverage = restored.goal.symbol, restored.goal.leverage
    return NotRestored(
        f"The leverage of {symbol} was not restored to {leverage}. {make_sentence(restored.reason)} Run "
        f"{_get_restore_command(symbol, leverage)}"
    )
