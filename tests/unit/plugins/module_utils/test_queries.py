# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a reader is asked for, right and wrong."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.tradeops.coinswitch.plugins.module_utils import _queries
from ansible_collections.tradeops.coinswitch.plugins.module_utils._errors import InputRefused

MAY, JUNE = 1777593600000, 1780272000000


def orders(symbols: Any = None, from_time: Any = None, to_time: Any = None) -> _queries.OrdersQuery:
    return _queries.orders({"symbols": symbols, "from_time": from_time, "to_time": to_time})


@pytest.mark.parametrize("check", [_queries.some_symbols, _queries.any_symbols])
def test_symbols_are_worked_with_in_upper_case_and_in_their_order(check: Any) -> None:
    assert check({"symbols": ["ethusdt", "BTCUSDT", "1000pepeUSDT"]}) == ["ETHUSDT", "BTCUSDT", "1000PEPEUSDT"]


@pytest.mark.parametrize("check", [_queries.some_symbols, _queries.any_symbols, lambda options: orders(**options)])
@pytest.mark.parametrize(
    ("symbols", "says"),
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
def test_other_symbols_are_refused(check: Any, symbols: list[str], says: str) -> None:
    with pytest.raises(InputRefused, match="symbol") as refused:
        check({"symbols": symbols})
    assert says in str(refused.value)


def test_symbols_left_out_are_all_where_there_is_no_need_of_some() -> None:
    assert _queries.any_symbols({"symbols": None}) is None
    assert orders() == (None, None, None)
    with pytest.raises(InputRefused, match="name at least one symbol"):
        _queries.some_symbols({"symbols": None})


@pytest.mark.parametrize(("start", "end"), [(MAY, JUNE), (str(MAY), str(JUNE)), (MAY, MAY), (MAY, None), (None, JUNE)])
def test_times_are_unix_milliseconds(start: Any, end: Any) -> None:
    whole = [None if time is None else int(time) for time in (start, end)]
    assert orders(["btcusdt"], start, end) == (["BTCUSDT"], *whole)


@pytest.mark.parametrize("name", ["from_time", "to_time"])
@pytest.mark.parametrize(
    "time",
    [
        *(1777593600, 0, -MAY, MAY * 10, True, False, float(MAY), "", "now", "2026-05-01", f"{MAY}.0", f" {MAY}"),
        *(f"{MAY}\n", f"+{MAY}", "1_777_593_600_000", "1e12", "١٧٧٧٥٩٣٦٠٠٠٠٠", [MAY], {}, b"1777593600000"),
    ],
    ids=repr,
)
def test_everything_else_is_no_time(name: str, time: Any) -> None:
    with pytest.raises(InputRefused, match=f"{name} must be Unix milliseconds, a whole number of 13 digits"):
        orders(**{name: time})


def test_a_time_that_ends_before_it_begins_is_refused() -> None:
    with pytest.raises(InputRefused, match=rf"from_time \({JUNE}\) is later than to_time \({MAY}\)"):
        orders(from_time=JUNE, to_time=MAY)
