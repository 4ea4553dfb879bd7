# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What positions in perpetual futures on CoinSwitch PRO are open."""

from __future__ import annotations

DOCUMENTATION = r"""
module: futures_position_info
short_description: Read the open positions in perpetual futures on CoinSwitch PRO
version_added: 1.0.0
description:
  - Reads the open positions of an account in some symbols. A flat symbol has no row.
  - The leverage of a symbol cannot be changed while one is open.
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
      - The symbols to look at, letters and digits in any case, such as V(BTCUSDT), each once.
      - A symbol that the exchange does not list fails the task.
    type: list
    elements: str
    required: true
notes:
  - Positions of several symbols are asked for in one request, and with a request for each symbol where the exchange
    refuses that. One more tells a flat symbol from one that does not exist.
seealso:
  - module: tradeops.coinswitch.futures_leverage
  - module: tradeops.coinswitch.futures_order_info
"""

EXAMPLES = r"""
- name: What is open in two symbols
  tradeops.coinswitch.futures_position_info:
    symbols: [BTCUSDT, ETHUSDT]
  register: open

- name: Their leverage is changed only when they are flat
  tradeops.coinswitch.futures_leverage:
    leverages: {BTCUSDT: 10, ETHUSDT: 5}
  when: open.positions | length == 0
"""

RETURN = r"""
positions:
  description:
    - The open positions. Every field is as the exchange gives it, the symbol in upper case.
    - Fields beyond those listed here are returned too.
  returned: success
  type: list
  elements: dict
  contains:
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
    position_id:
      description: The exchange's name for the position.
      returned: success
      type: str
      sample: 3f1c
    position_side:
      description: V(LONG) or V(SHORT).
      returned: success
      type: str
      sample: LONG
    leverage:
      description: The leverage of the position.
      returned: success
      type: raw
      sample: "10"
    position_size:
      description: The size in the base asset.
      returned: success
      type: raw
      sample: "0.010"
    position_value:
      description: The value in the quote asset.
      returned: success
      type: raw
      sample: "640.00"
    position_margin:
      description: The margin that the position holds.
      returned: success
      type: raw
      sample: "64.00"
    maint_margin:
      description: The margin below which it is liquidated.
      returned: success
      type: raw
      sample: "3.20"
    avg_entry_price:
      description: The average price of entry.
      returned: success
      type: raw
      sample: "64000"
    mark_price:
      description: The mark price.
      returned: success
      type: raw
      sample: "64000"
    last_price:
      description: The last price.
      returned: success
      type: raw
      sample: "64000"
    unrealised_pnl:
      description: The profit or loss so far.
      returned: success
      type: raw
      sample: "0"
    liquidation_price:
      description: The price at which it is liquidated.
      returned: success
      type: raw
      sample: "57600"
    margin_type:
      description: How margin is held.
      returned: success
      type: str
      sample: ISOLATED
    status:
      description: The state of the position.
      returned: success
      type: str
      sample: OPEN
    created_at:
      description: When it was opened, in Unix milliseconds.
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
  sample: 2
"""

from typing import Any

from ansible_collections.tradeops.coinswitch.plugins.module_utils._module import run
from ansible_collections.tradeops.coinswitch.plugins.module_utils._queries import some_symbols


def _read(*asked: Any) -> Any:
    # Imported when the options are right: what is refused before any request should not cost it.
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._readers import read_positions

    return read_positions(*asked)


def main() -> None:
    """Entry point."""
    run({"symbols": {"type": "list", "elements": "str", "required": True}}, prepare=some_symbols, act=_read)


if __name__ == "__main__":
    main()
