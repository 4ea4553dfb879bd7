# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Describe the responses of the exchange without secret or personal values: other values are replaced by their types.

Only names and texts of the API reference are kept, and short numbers in the headers about rate limits. Keys, IDs,
amounts, prices, leverages, times, symbols and unknown names are replaced. Private to this collection: anything here may
change in any release.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any, Mapping

# The fields of each kind of row in the API reference, and the other fields of its responses.
_FIELD_TABLE = """
leverage: exchange symbol leverage;
instrument: symbol base_asset quote_asset status type min_leverage max_leverage leverage_step min_base_quantity
    base_quantity_step_size lot_size quantity_precision price_precision tick_size max_market_base_quantity
    max_base_quantity risk_limit maint_margin_rate taker_fee_rate maker_fee_rate;
position: exchange position_id symbol position_side leverage position_size position_value position_margin maint_margin
    avg_entry_price mark_price last_price unrealised_pnl liquidation_price margin_type status created_at updated_at;
order: order_id exchange symbol side status order_type quantity exec_quantity price avg_execution_price execution_fee
    realised_pnl reduce_only created_at updated_at;
balance: base_asset balances;
asset: symbol base_asset exchange blocked_balance position_margin open_order_margin;
other: data message orders cursor serverTime base_asset_balances asset total_balance total_available_balance
    total_blocked_balance total_position_margin total_open_order_margin
"""
FIELDS = {kind: names.split() for kind, names in re.findall(r"(\w+): ([^;]+)", _FIELD_TABLE)}
_FIELDS = frozenset(name for names in FIELDS.values() for name in names)
_KNOWN_TEXTS = ("EXCHANGE_2", "PERPETUAL_FUTURES", "TRADING", "OPEN", "ISOLATED", "LIMIT", "USDT", "Valid Access")

_MEDIA_TYPES = ("application/json", "text/html", "text/plain")
_RATE_LIMIT_HEADER = re.compile(r"(x-)?ratelimit-(limit|remaining|reset)|retry-after")
_DATE = re.compile(r"[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9:]{8} GMT")
_TEXT_FORMS = (
    ("empty_text", re.compile("")),
    ("unix_ms_text", re.compile("[0-9]{13}")),
    ("whole_number_text", re.compile("-?[0-9]+")),
    ("decimal_text", re.compile(r"-?[0-9]+\.[0-9]+([eE][+-]?[0-9]+)?")),
    ("iso_time_text", re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:.]+(Z|[+-][0-9:]+)?")),
    ("upper_case_text", re.compile("[A-Z0-9_]+")),
    ("lower_case_text", re.compile("[a-z0-9_]+")),
)
_ROW_COUNTS = {0: "0", 1: "1", 49: "2-49", 50: "50"}
_MAX_DEPTH = 8
NOT_JSON = object()


def parse_json(body: bytes) -> Any:
    """Return the JSON value of a body, with Decimals for fractions. NOT_JSON if the body is not JSON."""
    try:
        return json.loads(body, parse_float=Decimal)
    except (ValueError, ArithmeticError, RecursionError):
        return NOT_JSON


def describe_body(body: bytes) -> Any:
    """Return what the transcript contains of a body."""
    value = parse_json(body)
    if value is NOT_JSON:
        return "html" if body.lstrip().startswith(b"<") else "not_json" if body else "empty"
    return describe_value(value)


def describe_value(value: Any, depth: int = 0) -> Any:
    """Return a JSON value whose texts and numbers are replaced by their types. The rows of a list become one."""
    if depth > _MAX_DEPTH:
        return "nested"
    if isinstance(value, dict):
        known = {name: describe_value(item, depth + 1) for name, item in value.items() if name in _FIELDS}
        others = [describe_value(item, depth + 1) for name, item in value.items() if name not in _FIELDS]
        return {**known, **({"<other>": _merge_shapes(others)} if others else {})}
    if isinstance(value, list):
        # The exact number of rows is personal.
        count = next((name for maximum, name in _ROW_COUNTS.items() if len(value) <= maximum), "51+")
        return {"rows": count, "row": _merge_shapes([describe_value(item, depth + 1) for item in value])}
    return get_form(value)


def get_form(value: Any) -> str:
    """Return the form of a text, a number, a boolean or null."""
    if isinstance(value, str):
        form = next((name for name, form in _TEXT_FORMS if form.fullmatch(value)), "text")
        return value if value in _KNOWN_TEXTS else form
    if isinstance(value, int) and not isinstance(value, bool):
        return "unix_ms" if 10**12 <= value < 10**13 else "whole_number"
    return "null" if value is None else "true_or_false" if isinstance(value, bool) else "decimal_number"


def _merge_shapes(rows: list[Any]) -> Any:
    """Merge the descriptions of all rows into one."""
    objects = [row for row in rows if isinstance(row, dict)]
    texts = {text for row in rows if isinstance(row, str) for text in row.split("|")}
    if not objects:
        return "|".join(sorted(texts)) or "none"
    names = dict.fromkeys(name for row in objects for name in row)
    merged = {name: _merge_shapes([row.get(name, "absent") for row in objects]) for name in names}
    return {**merged, "<or>": "|".join(sorted(texts))} if texts else merged


def get_safe_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return the headers about the type, the time and the rate limits. Their names are in lower case."""
    safe: dict[str, str] = {}
    for name, value in sorted((name.lower(), value) for name, value in headers.items()):
        if name == "content-type":
            safe[name] = next((known for known in _MEDIA_TYPES if value.lower().startswith(known)), "other")
        elif name == "date" or _RATE_LIMIT_HEADER.fullmatch(name):
            is_short_number = name != "date" and re.fullmatch("[0-9]{1,3}", value)
            safe[name] = value if is_short_number else "http_date" if _DATE.fullmatch(value) else "other"
    return safe
