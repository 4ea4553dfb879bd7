# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What orders in perpetual futures on CoinSwitch PRO are open."""

from __future__ import annotations

DOCUMENTATION = r"""
module: futures_order_info
short_description: Read the open orders in perpetual futures on CoinSwitch PRO
version_added: 1.0.0
description:
  - Reads every open order of an account that was created in the time asked for. Pages are followed, and the weeks that
    the exchange takes in one request are walked back one by one.
  - The leverage of a symbol cannot be changed while it has an open order, however old.
author:
  - Contributors to tradeops.coinswitch (@tradeops)
extends_documentation_fragment:
  - tradeops.coinswitch.attributes
  - tradeops.coinswitch.attributes.info_module
  - tradeops.coinswitch.attributes.actiongroup_coinswitch
  - tradeops.coinswitch.connection
options:
  symbols:
    description:
      - The symbols whose orders to return, letters and digits in any case, such as V(BTCUSDT), each once. The orders
        of all symbols where it is left out.
      - A symbol that the exchange does not list fails the task.
    type: list
    elements: str
  from_time:
    description:
      - The earliest time of creation, in Unix milliseconds (13 digits).
      - Five weeks before O(to_time), or before now, where it is left out. Each week costs a request, of which the
        exchange takes 20 in a minute.
    type: int
  to_time:
    description:
      - The latest time of creation, in Unix milliseconds (13 digits). Now where it is left out.
    type: int
seealso:
  - module: tradeops.coinswitch.futures_leverage
  - module: tradeops.coinswitch.futures_position_info
"""

EXAMPLES = r"""
- name: What is open, of the last five weeks
  tradeops.coinswitch.futures_order_info:
  register: open

- name: What is open in one symbol since 2026-05-04 00:00 UTC
  tradeops.coinswitch.futures_order_info:
    symbols: [BTCUSDT]
    from_time: 1777852800000

- name: Which orders are older than a week, and not older than six
  tradeops.coinswitch.futures_order_info:
    to_time: "{{ (now().timestamp() - 7 * 86400) | int * 1000 }}"
  register: forgotten
"""

RETURN = r"""
orders:
  description:
    - The open orders, the newest first. Every field is as the exchange gives it, the symbol in upper case.
    - Fields beyond those listed here are returned too.
  returned: success
  type: list
  elements: dict
  contains:
    order_id:
      description: The exchange's name for the order.
      returned: success
      type: str
      sample: 77ab
    symbol:
      description: The symbol.
      returned: success
      type: str
      sample: BTCUSDT
    exchange:
      description: The exchange identifier.
      returned: success
      type: str
      sample: EXCHANGE_2
    side:
      description: V(BUY) or V(SELL).
      returned: success
      type: str
      sample: BUY
    status:
      description: The state of the order.
      returned: success
      type: str
      sample: OPEN
    order_type:
      description: The kind of order.
      returned: success
      type: str
      sample: LIMIT
    quantity:
      description: The quantity in the base asset.
      returned: success
      type: raw
      sample: "0.5"
    exec_quantity:
      description: How much of it is done.
      returned: success
      type: raw
      sample: "0"
    price:
      description: The limit.
      returned: success
      type: raw
      sample: "60000"
    avg_execution_price:
      description: The average price of what is done.
      returned: success
      type: raw
      sample: "0"
    execution_fee:
      description: The fee for what is done.
      returned: success
      type: raw
      sample: "0"
    realised_pnl:
      description: The profit or loss of what is done.
      returned: success
      type: raw
      sample: "0"
    reduce_only:
      description: Whether it can only make a position smaller.
      returned: success
      type: bool
      sample: false
    created_at:
      description: When it was created, in Unix milliseconds.
      returned: success
      type: int
      sample: 1700000000000
    updated_at:
      description: When it changed last, in Unix milliseconds.
      returned: success
      type: int
      sample: 1700000000000
requests:
  description: How many requests the task sent.
  returned: always
  type: int
  sample: 5
"""

from typing import Any

from ansible_collections.tradeops.coinswitch.plugins.module_utils._connection import INT
from ansible_collections.tradeops.coinswitch.plugins.module_utils._module import run
from ansible_collections.tradeops.coinswitch.plugins.module_utils._queries import orders


def _read(*asked: Any) -> Any:
    # Imported when the options are right: what is refused before any request should not cost it.
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._readers import read_orders

    return read_orders(*asked)


def main() -> None:
    """Entry point."""
    run(
        {
            "symbols": {"type": "list", "elements": "str"},
            "from_time": {"type": INT},
            "to_time": {"type": INT},
        },
        prepare=orders,
        act=_read,
    )


if __name__ == "__main__":
    main()
