# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the open orders in perpetual futures on CoinSwitch PRO."""

from __future__ import annotations

DOCUMENTATION = r"""
module: futures_order_info
short_description: Read the open orders in perpetual futures on CoinSwitch PRO
version_added: 1.0.0
description:
  - Reads all open orders of an account that were created in a period. The exchange accepts at most one week in a
    request, so the module reads the weeks one after the other. It also reads all pages of each week.
  - The exchange does not change the leverage of a symbol that has an open order. The age of the order does not matter.
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
      - The symbols whose orders to return, such as V(BTCUSDT), in upper or lower case. List each symbol once.
      - If not set, the orders of all symbols are returned.
      - The task fails if the exchange does not list a symbol.
    type: list
    elements: str
  from_time:
    description:
      - The start of the period in which the orders were created, in Unix milliseconds (13 digits).
      - If not set, the period starts five weeks before O(to_time), or five weeks before now. Each week costs at least
        one request. The exchange allows 20 of these requests in a minute.
    type: int
  to_time:
    description:
      - The end of the period in which the orders were created, in Unix milliseconds (13 digits).
      - If not set, the period ends now.
    type: int
seealso:
  - module: tradeops.coinswitch.futures_leverage
  - module: tradeops.coinswitch.futures_position_info
"""

EXAMPLES = r"""
- name: Read the open orders of the last five weeks
  tradeops.coinswitch.futures_order_info:
  register: open

- name: Read the open orders of one symbol since 2026-05-04 00:00 UTC
  tradeops.coinswitch.futures_order_info:
    symbols: [BTCUSDT]
    from_time: 1777852800000

- name: Read the open orders that are between one week and six weeks old
  tradeops.coinswitch.futures_order_info:
    to_time: "{{ (now().timestamp() - 7 * 86400) | int * 1000 }}"
  register: forgotten
"""

RETURN = r"""
orders:
  description:
    - The open orders, the newest first.
    - All fields are returned as the exchange sends them, also those that are not listed here. Only the symbol is
      converted to upper case.
  returned: success
  type: list
  elements: dict
  contains:
    order_id:
      description: The identifier of the order.
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
      description: The quantity that was executed.
      returned: success
      type: raw
      sample: "0"
    price:
      description: The limit price.
      returned: success
      type: raw
      sample: "60000"
    avg_execution_price:
      description: The average price of the executed quantity.
      returned: success
      type: raw
      sample: "0"
    execution_fee:
      description: The fee for the executed quantity.
      returned: success
      type: raw
      sample: "0"
    realised_pnl:
      description: The profit or loss of the executed quantity.
      returned: success
      type: raw
      sample: "0"
    reduce_only:
      description: Whether the order can only reduce a position.
      returned: success
      type: bool
      sample: false
    created_at:
      description: The time of creation, in Unix milliseconds.
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
  sample: 5
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

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.connection import INT, STR
from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.module import ModuleDefinition, Work, run
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.queries import OrdersQuery, read_orders_query


def _import_work() -> Work[OrdersQuery]:
    # Imported here, so that a task with an invalid option fails fast.
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.readers import read_orders

    return read_orders


DEFINITION = ModuleDefinition(
    {"symbols": {"type": "list", "elements": STR}, "from_time": {"type": INT}, "to_time": {"type": INT}},
    read_options=read_orders_query,
    import_work=_import_work,
)


def main() -> None:
    """Run the module."""
    run(DEFINITION)


if __name__ == "__main__":
    main()
