# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which options of the info modules and of api_check are accepted, and the message for each that is not."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils._exchange.errors import InputRefused
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import queries as _queries

MAY_2026, JUNE_2026 = 1777593600000, 1780272000000  # Unix ms


def make_query(symbols: Any = None, from_time: Any = None, to_time: Any = None) -> _queries.OrdersQuery:
    return _queries.read_orders_query({"symbols": symbols, "from_time": from_time, "to_time": to_time})


# --- read_required_symbols, read_optional_symbols ---


@pytest.mark.parametrize("check", [_queries.read_required_symbols, _queries.read_optional_symbols])
def test_symbols_are_converted_to_upper_case_and_keep_their_order(check: Any) -> None:
    assert check({"symbols": ["ethusdt", "BTCUSDT", "1000pepeUSDT"]}) == ["ETHUSDT", "BTCUSDT", "1000PEPEUSDT"]


@pytest.mark.parametrize(
    "check", [_queries.read_required_symbols, _queries.read_optional_symbols, lambda options: make_query(**options)]
)
@pytest.mark.parametrize(
    ("symbols", "message"),
    [
        ([], "symbols is empty"),
        ([""], "is not a symbol (letters and digits, at most 40)"),
        (["BTC/USDT:USDT"], "did you mean BTCUSDT?"),
        (["BTCUSDT", " ETHUSDT"], "did you mean ETHUSDT?"),
        (["BTCUSDT\n"], "did you mean BTCUSDT?"),
        (["BTCUSDT", "btcusdt"], "names BTCUSDT more than once"),
        (["\uff22TCUSDT"], "is not a symbol (letters and digits, at most 40)"),
    ],
)
def test_invalid_symbols_are_refused(check: Any, symbols: list[str], message: str) -> None:
    with pytest.raises(InputRefused, match="symbol") as raised:
        check({"symbols": symbols})
    assert message in str(raised.value)


def test_symbols_can_be_omitted_only_if_the_module_does_not_need_them() -> None:
    assert _queries.read_optional_symbols({"symbols": None}) is None
    assert make_query() == (None, None, None)
    with pytest.raises(InputRefused, match="Name at least one symbol"):
        _queries.read_required_symbols({"symbols": None})


# --- read_orders_query ---


@pytest.mark.parametrize(
    ("start", "end"),
    [(MAY_2026, JUNE_2026), (str(MAY_2026), str(JUNE_2026)), (MAY_2026, MAY_2026), (MAY_2026, None), (None, JUNE_2026)],
)
def test_times_are_unix_milliseconds_as_a_number_or_text(start: Any, end: Any) -> None:
    times = [None if time is None else int(time) for time in (start, end)]
    assert make_query(["btcusdt"], start, end) == (["BTCUSDT"], *times)


def test_from_time_after_to_time_is_refused() -> None:
    with pytest.raises(InputRefused, match=rf"from_time \({JUNE_2026}\) is later than to_time \({MAY_2026}\)"):
        make_query(from_time=JUNE_2026, to_time=MAY_2026)


# --- _check_time ---


@pytest.mark.parametrize("name", ["from_time", "to_time"])
@pytest.mark.parametrize(
    "time",
    [
        *(
            1777593600,
            0,
            -MAY_2026,
            MAY_2026 * 10,
            True,
            False,
            float(MAY_2026),
            "",
            "now",
            "2026-05-01",
            f"{MAY_2026}.0",
            f" {MAY_2026}",
        ),
        *(
            f"{MAY_2026}\n",
            f"+{MAY_2026}",
            "1_777_593_600_000",
            "1e12",
            "١٧٧٧٥٩٣٦٠٠٠٠٠",
            [MAY_2026],
            {},
            b"1777593600000",
        ),
    ],
    ids=repr,
)
def test_invalid_time_is_refused(name: str, time: Any) -> None:
    with pytest.raises(InputRefused, match=f"{name} must be a time in Unix milliseconds: a whole number of 13 digits"):
        make_query(**{name: time})


# --- read_trial ---


def make_trial_options(**changes: Any) -> dict[str, Any]:
    return {"write_symbol": None, "write_leverage": None, "new_symbol": None, "rate_limit_share": 0.5, **changes}


def test_options_become_a_trial() -> None:
    read_trial, trial = _queries.read_trial, _queries.Trial
    assert read_trial(make_trial_options()) == trial()
    assert read_trial(make_trial_options(write_symbol="dogeusdt")) == trial("DOGEUSDT", None)
    assert read_trial(make_trial_options(write_symbol="DOGEUSDT", write_leverage="7")) == trial("DOGEUSDT", 7)
    assert read_trial(make_trial_options(new_symbol="solusdt")) == trial("SOLUSDT", is_new=True)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rate_limit_share": 0.6}, "rate_limit_share must be at most 0.5. The check leaves half"),
        ({"rate_limit_share": "1"}, "rate_limit_share must be at most 0.5. The check leaves half"),
        ({"write_leverage": 7}, "write_leverage needs write_symbol"),
        ({"write_symbol": "DOGE/USDT"}, "did you mean DOGEUSDT"),
        ({"new_symbol": "DOGE/USDT"}, "did you mean DOGEUSDT"),
        ({"write_symbol": "DOGEUSDT", "new_symbol": "SOLUSDT"}, "write_symbol and new_symbol exclude each other."),
        ({"write_leverage": 7, "new_symbol": "SOLUSDT"}, "write_leverage needs write_symbol"),
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
        _queries.read_trial(make_trial_options(**changes))
