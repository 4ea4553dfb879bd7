# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The instruments that the exchange lists. The fields are those of the vendor's sample. The numbers are made up."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, NamedTuple

Instrument = dict[str, Any]


class _Listing(NamedTuple):
    """The values that differ between instruments. The price is in USDT."""

    price: str = "1"
    max_leverage: int = 20
    min_leverage: int = 1
    leverage_step: int = 1
    status: str = "TRADING"


_DEFAULT_LISTING = _Listing()
# fmt: off
_LISTINGS: dict[str, _Listing] = {
    "BTCUSDT": _Listing("64000", 25), "ETHUSDT": _Listing("3000", 50), "SOLUSDT": _Listing("150", 20),
    "XRPUSDT": _Listing("0.5", 75, min_leverage=5, leverage_step=5), "BNBUSDT": _Listing("550", 40),
    "ADAUSDT": _Listing("0.45", 20), "DOGEUSDT": _Listing("0.12", 25),
    "LINKUSDT": _Listing("14", 50, min_leverage=2, leverage_step=2), "AVAXUSDT": _Listing("30", 30),
    "DOTUSDT": _Listing("6", 15), "LTCUSDT": _Listing("80", 25), "1000PEPEUSDT": _Listing("0.01", 10),
    "1000SHIBUSDT": _Listing("0.02", 10), "LUNAUSDT": _Listing("0.4", 5, status="SUSPENDED"),
}
# fmt: on


def default_instruments() -> dict[str, Instrument]:
    """Return the instruments that are listed at the start, by symbol. Their limits and steps differ."""
    return {symbol: new_instrument(symbol, listing) for symbol, listing in _LISTINGS.items()}


def new_instrument(symbol: str, listing: _Listing = _DEFAULT_LISTING) -> Instrument:
    """Return an instrument with every field of the vendor's sample.

    As in the sample, the field `symbol` is only the base asset in lower case.
    """
    base_asset = symbol.removesuffix("USDT")
    # fmt: off
    return {
        "symbol": base_asset.lower(), "base_asset": base_asset, "quote_asset": "USDT", "status": listing.status,
        "type": "PERPETUAL_FUTURES", "min_leverage": str(listing.min_leverage),
        "max_leverage": str(listing.max_leverage), "leverage_step": listing.leverage_step,
        "min_base_quantity": "0.001", "base_quantity_step_size": "0.001", "lot_size": "0.001", "quantity_precision": 3,
        "price_precision": 2, "tick_size": 1, "max_market_base_quantity": "120", "max_base_quantity": "1190",
        "risk_limit": "2000000", "maint_margin_rate": "0.005", "taker_fee_rate": "0.00065",
        "maker_fee_rate": "0.00025",
    }
    # fmt: on


def get_price(symbol: str) -> Decimal:
    """Return the price of a symbol in USDT: 1 for a symbol that was listed later."""
    return Decimal(_LISTINGS.get(symbol, _DEFAULT_LISTING).price)
