# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the futures wallet on CoinSwitch PRO."""

from __future__ import annotations

DOCUMENTATION = r"""
module: futures_wallet_info
short_description: Read the futures wallet on CoinSwitch PRO
version_added: 1.0.0
description:
  - Reads the balances of an account, and the margins of its positions and open orders. This costs one request.
author:
  - Contributors to tradeops.coinswitch (@tradeops)
extends_documentation_fragment:
  - tradeops.coinswitch.attributes
  - tradeops.coinswitch.attributes.info_module
  - tradeops.coinswitch.attributes.actiongroup_coinswitch
  - tradeops.coinswitch.connection
seealso:
  - module: tradeops.coinswitch.futures_position_info
  - module: tradeops.coinswitch.futures_order_info
"""

EXAMPLES = r"""
- name: Read the wallet
  tradeops.coinswitch.futures_wallet_info:
  register: wallet

- name: Fail if less than 100 USDT is available
  ansible.builtin.assert:
    that: usdt.balances.total_available_balance | float >= 100
  vars:
    usdt: "{{ wallet.balances | selectattr('base_asset', 'equalto', 'USDT') | first }}"
"""

RETURN = r"""
balances:
  description:
    - One entry for each base asset, as the exchange sends it.
    - All other fields are returned, too.
  returned: success
  type: list
  elements: dict
  contains:
    base_asset:
      description: The asset.
      returned: success
      type: str
      sample: USDT
    balances:
      description: The amounts of the asset.
      returned: success
      type: dict
      contains:
        total_balance:
          description: The total balance.
          returned: success
          type: raw
          sample: "10000.00"
        total_available_balance:
          description: The balance that is available.
          returned: success
          type: raw
          sample: "9930.00"
        total_blocked_balance:
          description: The balance that is blocked.
          returned: success
          type: raw
          sample: "70.00"
        total_position_margin:
          description: The margin of open positions.
          returned: success
          type: raw
          sample: "64.00"
        total_open_order_margin:
          description: The margin of open orders.
          returned: success
          type: raw
          sample: "6.00"
assets:
  description:
    - One entry for each symbol that uses margin, as the exchange sends it.
    - All other fields are returned, too.
  returned: success
  type: list
  elements: dict
  contains:
    symbol:
      description: The symbol, in upper case.
      returned: success
      type: str
      sample: BTCUSDT
    base_asset:
      description: The asset of the margin.
      returned: success
      type: str
      sample: USDT
    exchange:
      description: The exchange identifier.
      returned: success
      type: str
      sample: EXCHANGE_2
    blocked_balance:
      description: The balance that is blocked by the symbol.
      returned: success
      type: raw
      sample: "70.00"
    position_margin:
      description: The margin of the positions of the symbol.
      returned: success
      type: raw
      sample: "64.00"
    open_order_margin:
      description: The margin of the open orders of the symbol.
      returned: success
      type: raw
      sample: "6.00"
requests:
  description: The number of requests that the task sent.
  returned: always
  type: int
  sample: 1
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

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.module import ModuleDefinition, Work, run


def _import_work() -> Work[None]:
    # Imported here, so that a task with an invalid option fails fast.
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.readers import read_wallet

    return read_wallet


DEFINITION = ModuleDefinition({}, read_options=lambda _options: None, import_work=_import_work)


def main() -> None:
    """Run the module."""
    run(DEFINITION)


if __name__ == "__main__":
    main()
