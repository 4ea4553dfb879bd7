# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the responses of an exchange with what the code relies on. docs/api.md lists these facts.

This file sends the requests. api_facts.py says what they show. Each response is read, and each write is made,
by the code that the other modules use, so a fact is NOT HANDLED if and only if that code fails. Private to this
collection: anything here may change in any release.
"""

from __future__ import annotations

from typing import Any, Mapping, NamedTuple, Sequence

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import endpoints, errors, pacing
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange import futures as api
from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.text import to_int
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import api_facts, judgment, transcript
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.blockers import describe_limit_violation
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.interruptions import Guard, Interrupted
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.outcomes import Outcome
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.policy import Goal
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.progress import Context
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.queries import Trial
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.result import Result, fail
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.symbols import describe_unknown_symbol
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.wording import make_sentence

# The leverages of so many symbols are read. With more, the playbook would need more than half of the limit.
_MAX_SYMBOLS = 3
# The leverage is restored in this time, even if the task was stopped. A rate limit requires at most a minute of it.
RESTORE_SECONDS = 70.0
# How many reads, and how many writes, a restore can need without a wait.
_RESTORE_REQUESTS = 2
# Which leverage the writes of a trial write, by their names in PROBES. That of the others is `write_leverage`.
_WHICH = {"same": "in force", "first_write": "the first write of this symbol, which cannot be undone"}
_HFT = (
    "The wallet is empty, and nothing is open. If you trade HFT futures, note that HFT is another account of the same "
    "keys. A leverage that this collection sets does not apply there."
)


class NotHandled(errors.CoinSwitchError):
    """The collection does not handle a response."""

    kind = "not_handled"


class NotRestored(errors.CoinSwitchError):
    """The leverage of a trial was not restored."""

    kind = "not_restored"


class Plan(NamedTuple):
    """The writes of a trial.

    Attributes:
        before: The leverage before the first write. None if the exchange returned none.
        writes: What to write, each with its name in PROBES.
    """

    before: int | None
    writes: list[tuple[str, Goal]]

    @property
    def first(self) -> Goal:
        """The first write. For a symbol that was configured before, this is its current leverage."""
        return self.writes[0][1]

    def describe(self) -> list[str]:
        """Return a line for each write, and the command that restores the leverage."""
        lines = [f"{_describe_write(goal)} ({_WHICH.get(name, 'write_leverage')})" for name, goal in self.writes]
        if self.writes[0][0] == "first_write":
            return lines
        if len(self.writes) > 1:
            lines.append(f"{_describe_write(self.first)} (restored)")
        return [*lines, f"If the leverage is not {self.before} afterwards, run {_get_restore_command(self.first)}"]


def check(futures: api.Futures, trial: Trial, context: Context) -> Result:
    """Compare the responses to reads with the expected facts. If the trial has a symbol, those to writes.

    Args:
        futures: The endpoints of the account.
        trial: What to write.
        context: In check mode, nothing is written, and `plan` in the result lists the writes.
    """
    plan: Plan | None = None
    error: errors.CoinSwitchError | None = None
    with api_facts.Observer(futures) as seen:
        try:
            if trial.symbol is None:
                _read_all(seen)
            else:
                plan = _make_plan(seen, trial.symbol, trial, weeks=1 if context.check_mode else 5)
                if not context.check_mode:
                    write = _write_first if trial.is_new else _write_and_restore
                    write(seen, plan)
        except errors.CoinSwitchError as raised:
            error = raised
    rows = [{"fact": fact, **probe.observe(seen)} for fact, probe in api_facts.PROBES.items()]
    not_handled = [f"{row['fact']} ({row['shown']})" for row in rows if row["verdict"] == api_facts.NOT_HANDLED]
    if not_handled and error is None:
        error = NotHandled(
            f"The collection does not handle these responses: {', '.join(not_handled)}. Do not use it with this "
            "exchange yet. Open an issue, and attach the transcript."
        )
    values = {
        **_describe_trial(plan, seen.observations["change"]),
        "handled": error is None,
        "facts": rows,
        "table": [f"{row['fact']:<26} {row['shown']:<34} {row['verdict']}" for row in rows if row["shown"]],
        "transcript": _make_transcript(seen, rows),
    }
    is_unused = {"fact": "account_in_use", "shown": "no", "verdict": api_facts.EXPECTED} in rows
    result = Result(values) if error is None else fail(error)._replace(values=values)
    return result._replace(warnings=[_HFT] if is_unused else [])


def _describe_trial(plan: Plan | None, changes: Sequence[Outcome]) -> dict[str, Any]:
    """Return what the result says of the writes. The last change is the restore, or the only write."""
    if plan is None:
        return {"changed": False}
    leverage = changes[-1].verdict.leverage if changes else plan.before
    return {
        "changed": leverage != plan.before,
        "symbol": plan.first.symbol,
        "previous_leverage": plan.before,
        "leverage": leverage,
        "plan": plan.describe(),
    }


def _make_transcript(seen: api_facts.Observer, rows: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    shown = {row["fact"]: row["shown"] for row in rows}
    readings = {fact: probe.get_quirks() for fact, probe in api_facts.PROBES.items()}
    return {
        "format": 1,
        "quirks": {fact: values[shown[fact]] for fact, values in readings.items() if shown[fact] in values},
        "facts": rows,
        "responses": [item.shown for item in seen.responses],
    }


def _read_all(seen: api_facts.Observer) -> None:
    futures = seen.futures
    time = seen.ask("time", futures.get_server_time)
    # Futures have an authentication layer of their own, so they can accept keys that this request refuses.
    seen.ask("keys", futures.validate_keys, allowed=errors.KeysRefused.kind)
    listed = seen.ask("instruments", futures.get_instruments)
    if time.error and listed.error:
        raise errors.Unexpected(
            "This is not the API of CoinSwitch PRO. Check api_url and the proxy, and whether a login page answers "
            f"instead. {make_sentence(time.error)} {make_sentence(listed.error)}"
        )
    instruments = listed.value or {}
    symbols = _choose_symbols(instruments)
    all_positions = seen.ask("positions", futures.get_positions)
    one = seen.ask("positions_of_one", futures.get_positions, symbols[0])
    seen.observations["listed"] = [one, *([] if all_positions.error else [all_positions])]
    open_symbols = [row["symbol"] for row in all_positions.value or [] if row["symbol"] in instruments]
    for symbol in list(dict.fromkeys([symbols[0], *open_symbols[:1], *symbols[1:]]))[:_MAX_SYMBOLS]:
        seen.ask("leverage", futures.get_leverage, symbol)
    seen.ask("unknown", futures.get_leverage, "NOSUCHCOINUSDT")
    _read_orders(seen, symbols[0])
    seen.ask("wallet", futures.get_wallet)
    # As many requests in a row as the check may send to one endpoint.
    while futures.client.real_pacer.get_delay(endpoints.WALLET) <= 0 and 429 not in seen.get_statuses("/wallet"):
        seen.ask("burst", futures.get_wallet)


def _choose_symbols(instruments: Mapping[str, api.Instrument]) -> list[str]:
    """Return the symbols to read, the most traded one first."""
    # The exchange may refuse a symbol only because it is not traded.
    traded = [name for name, item in instruments.items() if item.fields.get("status") == "TRADING"]
    first, *others = sorted(traded or instruments or ["BTCUSDT"], key=lambda name: (name != "BTCUSDT", name))
    return [first, *others[1 - _MAX_SYMBOLS :]]


def _read_orders(seen: api_facts.Observer, symbol: str) -> None:
    futures, now = seen.futures, seen.futures.client.now_ms()
    observed = seen.ask("orders", lambda: list(futures.get_open_orders(now - api.RECENT_MS)))
    rows = observed.get_rows()
    if not rows:
        seen.ask("orders", lambda: list(futures.get_open_orders(now - api.RECENT_MS, None, symbol)))
        # An older order shows the same facts.
        period = {"from_time": now - 2 * api.MAX_SPAN_MS, "to_time": now - api.MAX_SPAN_MS}
        rows = seen.ask("period", futures.get_orders_page, period).get_rows()
    order = next((row for row in rows if transcript.get_form(row.get("created_at")).startswith("unix_ms")), None)
    if order is not None and not observed.error:
        _read_periods(seen, order, to_int(order["created_at"]) or 0)


def _read_periods(seen: api_facts.Observer, order: Mapping[str, Any], time: int) -> None:
    """Find out with one order whether a period limits the listed orders, and whether `to_time` belongs to it."""

    def is_listed(**period: int) -> bool:
        observed = seen.ask("period", seen.futures.get_orders_page, period, order.get("symbol"))
        return order.get("order_id") in [row.get("order_id") for row in observed.get_rows()]

    use = "ignored" if is_listed(from_time=time - 2 * api.DAY_MS, to_time=time - api.DAY_MS) else "limits"
    if use == "limits" and not is_listed(from_time=time - 60_000, to_time=time + 1):
        # If the order is open, then requests with a period do not return it.
        use = "missed" if is_listed() else ""
    seen.observations["use_of_period"].append(api_facts.Observation(use))
    if use == "limits":
        is_inclusive = is_listed(from_time=time - 60_000, to_time=time)
        seen.observations["use_of_to_time"].append(api_facts.Observation("inclusive" if is_inclusive else "exclusive"))


def _make_plan(seen: api_facts.Observer, symbol: str, trial: Trial, weeks: int) -> Plan:
    """Read what the trial needs, and return its writes. Raise CoinSwitchError if the check must not write.

    Args:
        seen: Records the requests.
        symbol: The symbol of the trial.
        trial: What to write.
        weeks: For how many weeks to search for open orders of the symbol.
    """
    instrument = _find_free_symbol(seen.futures, symbol, weeks)
    reading = seen.ask("new_symbol" if trial.is_new else "current", seen.futures.get_leverage, symbol)
    if reading.error is not None and not isinstance(reading.error, errors.NotConfigured):
        raise reading.error
    before: int | None = reading.value
    if trial.is_new:
        return Plan(before, [("first_write", Goal(symbol, before or instrument.min_leverage or 1))])
    if before is None:
        raise errors.CoinSwitchError(
            f"Nothing was written, because the exchange returned no leverage for {symbol}, so it could not be "
            f"restored. Choose a symbol that was configured before, or use new_symbol. {make_sentence(reading.error)}"
        )
    writes = [("same", Goal(symbol, before))]
    if trial.leverage and trial.leverage != before:
        goal = Goal(symbol, trial.leverage)
        writes.append(("outside" if describe_limit_violation(goal.leverage, instrument) else "trial", goal))
    _check_share(seen.futures.client.real_pacer, len(writes) + _RESTORE_REQUESTS)
    return Plan(before, writes)


def _check_share(pacer: pacing.Pacer, count: int) -> None:
    """Raise InputRefused if the rate limits delay the restore, because they do not allow `count` requests in a row."""
    for endpoint in (endpoints.READ_LEVERAGE, endpoints.WRITE_LEVERAGE):
        allowed = pacer.get_max_requests(endpoint)
        if allowed < count:
            raise errors.InputRefused(
                f"Nothing was written, because the trial and its restore need {count} requests to {endpoint} in a row, "
                f"and rate_limit_share allows {allowed}. Increase rate_limit_share."
            )


def _find_free_symbol(futures: api.Futures, symbol: str, weeks: int) -> api.Instrument:
    """Return the limits of a symbol. Raise CoinSwitchError if the check must not write to it.

    Args:
        futures: The endpoints of the account.
        symbol: The symbol.
        weeks: For how many weeks to read open orders.
    """
    instruments = futures.get_instruments()
    if symbol not in instruments:
        text = describe_unknown_symbol(symbol, futures.exchange, instruments)
        raise errors.NotListed(f"Nothing was written to {symbol}. {text}")
    start = futures.client.now_ms() - api.RECENT_MS - (weeks - 1) * api.MAX_SPAN_MS
    if futures.get_positions(symbol) or any(futures.get_open_orders(start, None, symbol)):
        raise errors.CoinSwitchError(
            f"Nothing was written, because {symbol} has an open position or order. Choose a symbol that has none."
        )
    return instruments[symbol]


def _describe_write(goal: Goal) -> str:
    return f"{endpoints.WRITE_LEVERAGE} {goal.symbol} {goal.leverage}"


def _get_restore_command(before: Goal) -> str:
    module = "tradeops.coinswitch.futures_leverage"
    return f"ansible localhost -m {module} -a 'symbol={before.symbol} leverage={before.leverage}'"


def _write_first(seen: api_facts.Observer, plan: Plan) -> None:
    """Write the first leverage of a symbol. It stays, because no request can remove it."""
    _check_written(seen.change("first_write", plan.first, writes_same=True))
    seen.ask("second_read", seen.futures.get_leverage, plan.first.symbol)


def _write_and_restore(seen: api_facts.Observer, plan: Plan) -> None:
    """Write the leverages one after the other, and restore the first one, even if the task is stopped meanwhile."""
    before, client = plan.first, seen.futures.client
    # Wait for the rate limits now, so that no restore has to wait.
    count = len(plan.writes) + _RESTORE_REQUESTS
    needed = dict.fromkeys((endpoints.READ_LEVERAGE, endpoints.WRITE_LEVERAGE), count)
    client.real_pacer.check_max_wait(needed)
    client.real_pacer.wait(max(client.real_pacer.get_delay(endpoint, count) for endpoint, count in needed.items()))
    with Guard() as guard:
        guard.run(lambda: _write_all(seen, plan))
        with client.allow_after_end(RESTORE_SECONDS):
            restored = _restore(seen, before, is_unclear=guard.error is not None)
    if restored.verdict.outcome != judgment.UNCHANGED:
        raise NotRestored(
            f"The leverage of {before.symbol} was not restored to {before.leverage}. {make_sentence(restored.reason)} "
            f"Run {_get_restore_command(before)}"
        )
    done = f"The leverage of {before.symbol} is {before.leverage} again."
    if isinstance(guard.error, Interrupted):
        raise errors.Stopped(f"The check was stopped by a signal. {done}")
    if isinstance(guard.error, errors.CoinSwitchError):
        raise errors.Reworded(f"{guard.error} {done}", guard.error)
    if guard.error is not None:
        raise guard.error


def _write_all(seen: api_facts.Observer, plan: Plan) -> None:
    for name, goal in plan.writes:
        _check_written(seen.change(name, goal, writes_same=name == "same"))


def _check_written(changed: Outcome) -> None:
    """Raise CoinSwitchError if a write was not sent, or if it is not known what it did. A refusal is no failure."""
    outcome, error = changed.verdict.outcome, changed.verdict.error
    if error and outcome in (judgment.UNKNOWN, judgment.NOT_WRITTEN) and not isinstance(error, errors.Unconfirmed):
        text = f"The check of {changed.goal.symbol} ended early. {make_sentence(changed.reason)}"
        raise errors.Reworded(text, error)


def _restore(seen: api_facts.Observer, before: Goal, is_unclear: bool) -> Outcome:
    """Write the first leverage until a reading shows it.

    Args:
        seen: Records the changes.
        before: The first leverage.
        is_unclear: Whether a write can still take effect. If so, the first leverage is written even if it is in force,
            because a later write replaces it.
    """
    for writes_same in (is_unclear, False, False):
        restored = seen.change("restore", before, writes_same)
        if restored.verdict.outcome == judgment.UNCHANGED or restored.verdict.cause == errors.KeysRefused.kind:
            # Refused keys were read twice already. The next request would wait for the rate limit, and be refused.
            break
    return restored
