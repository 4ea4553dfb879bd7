# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the open positions in perpetual futures on CoinSwitch PRO."""

from __future__ import annotations

DOCUMENTATION = r"""
module: futures_position_info
short_description: Read the open positions in perpetual futures on CoinSwitch PRO
version_added: 1.0.0
description:
  - Reads the open positions of an account. A symbol without an open position has no entry in the result.
  - The exchange does not change the leverage of a symbol that has an open position.
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
      - The symbols to read, such as V(BTCUSDT), in upper or lower case. List each symbol once.
      - The task fails if the exchange does not list a symbol.
    type: list
    elements: str
    required: true
notes:
  - The module reads the positions of several symbols in one request. If the exchange refuses this request, the module
    sends one request for each symbol. If a symbol has no position, one more request checks that the symbol exists.
seealso:
  - module: tradeops.coinswitch.futures_leverage
  - module: tradeops.coinswitch.futures_order_info
"""

EXAMPLES = r"""
- name: Read the open positions of two symbols
  tradeops.coinswitch.futures_position_info:
    symbols: [BTCUSDT, ETHUSDT]
  register: open

- name: Change the leverage only if there is no open position
  tradeops.coinswitch.futures_leverage:
    leverages: {BTCUSDT: 10, ETHUSDT: 5}
  when: open.positions | length == 0
"""

RETURN = r"""
positions:
  description:
    - The open positions.
    - All fields are returned as the exchange sends them, also those that are not listed here. Only the symbol is
      converted to upper case.
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
      description: The identifier of the position.
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
      description: The margin of the position.
      returned: success
      type: raw
      sample: "64.00"
    maint_margin:
      description: The margin below which the position is liquidated.
      returned: success
      type: raw
      sample: "3.20"
    avg_entry_price:
      description: The average entry price.
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
      description: The unrealized profit or loss.
      returned: success
      type: raw
      sample: "0"
    liquidation_price:
      description: The price at which the position is liquidated.
      returned: success
      type: raw
      sample: "57600"
    margin_type:
      description: The margin mode.
      returned: success
      type: str
      sample: ISOLATED
    status:
      description: The state of the position.
      returned: success
      type: str
      sample: OPEN
    created_at:
      description: The time when the position was opened, in Unix milliseconds.
      returned: success
      type: int
      sample: 1700000000000
    updated_at:
      description: The time of the last change, in Unix milliseconds.
      returned: success
      type: int
      sample: 1700000000000
requests:
  description: The number of requests that the task sent.
  returned: always
  type: int
  sample: 2
api_url:
  description: The address of the exchange that was asked.
  returned: always
  type: str
  sample: https://coinswitch.co
account:
  description:
    - An identifier of the API key that is no secret. It is the first 16 hexadecimal digits of its SHA-256.
    - Two hosts with the same value use the same account. V(null) if the key is missing.
  returned: always
  type: str
  sample: 5f0c3a9be21d4477
error:
  description: The cause of the failure for programs.
  returned: on failure
  type: dict
  sample: {kind: keys, status: 401}
  contains:
    kind:
      description:
        - A stable word.
        - V(input) if an option is not valid, V(library_missing) if a Python library is missing, V(network) without a
          connection, V(keys) if the exchange refused the keys, V(rate_limit) if the requests do not fit into
          O(rate_limit_timeout), V(refused) if the API refused a request, V(refused_before_api) if a server in front of
          the API refused it, V(unclear_response) without a valid response, V(unexpected_response) if a response does
          not have the documented form, V(not_listed) if the exchange does not list a symbol, V(internal_error) after a
          defect of the collection.
      returned: always
      type: str
      sample: keys
    status:
      description: The HTTP status of the response.
      returned: after a response
      type: int
      sample: 401
"""

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.connection import STR
from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.module import ModuleDefinition, Work, run
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.queries import read_required_symbols


def _import_work() -> Work[list[str]]:
    # Imported here, so that a task with an invalid option fails fast.
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.readers import read_positions

    return read_positions


DEFINITION = ModuleDefinition(
    {"symbols": {"type": "list", "elements": STR, "required": True}},
    read_options=read_required_symbols,
    import_work=_import_work,
)


def main() -> None:
    """Run the module."""
    run(DEFINITION)


if __name__ == "__main__":
    main()
