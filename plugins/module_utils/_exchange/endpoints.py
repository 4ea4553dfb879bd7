# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The endpoints of the API that the collection uses, with their documented rate limits (docs/api.md).

Private to this collection: anything here may change in any release.
"""

from __future__ import annotations

from typing import NamedTuple


class Endpoint(NamedTuple):
    """An endpoint of the API.

    Attributes:
        name: The name in the file of the budgets.
        method: The HTTP method.
        path: The path of the URL.
        limit: The number of requests in 60 s.
        writes: Whether a request changes something, so that it must not be repeated without a read.
    """

    name: str
    method: str
    path: str
    limit: int
    writes: bool = False

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


_API = "/trade/api/v2"
_BASE = f"{_API}/futures"
READ_LEVERAGE = Endpoint("read_leverage", "GET", f"{_BASE}/leverage", 20)
WRITE_LEVERAGE = Endpoint("write_leverage", "POST", f"{_BASE}/leverage", 10, writes=True)
INSTRUMENTS = Endpoint("instruments", "GET", f"{_BASE}/instrument_info", 100)
POSITIONS = Endpoint("positions", "GET", f"{_BASE}/positions", 20)
OPEN_ORDERS = Endpoint("open_orders", "POST", f"{_BASE}/orders/open", 20)
WALLET = Endpoint("wallet", "GET", f"{_BASE}/wallet_balance", 20)
# The API does not document the limits of these two, so they have the limit of most reads.
TIME = Endpoint("time", "GET", f"{_API}/time", 20)
VALIDATE = Endpoint("validate", "GET", f"{_API}/validate/keys", 20)
