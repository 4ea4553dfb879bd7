# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the instruments of perpetual futures on CoinSwitch PRO."""

from __future__ import annotations

DOCUMENTATION = r"""
module: futures_instrument_info
short_description: Read the instruments of perpetual futures on CoinSwitch PRO
version_added: 1.0.0
description:
  - Reads the symbols that the exchange lists, with the leverage limits and the other trading rules of each symbol. This
    costs one request.
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
      - The symbols to return, such as V(BTCUSDT), in upper or lower case. List each symbol once.
      - If not set, all symbols are returned (several hundred).
      - The task fails if the exchange does not list a symbol.
    type: list
    elements: str
seealso:
  - module: tradeops.coinswitch.futures_leverage
  - module: tradeops.coinswitch.futures_leverage_info
"""

EXAMPLES = r"""
- name: Read the limits of two symbols
  tradeops.coinswitch.futures_instrument_info:
    symbols: [BTCUSDT, ETHUSDT]
  register: limits

- name: Show the maximum leverage of each symbol
  ansible.builtin.debug:
    msg: "{{ limits.instruments | items2dict(key_name='symbol', value_name='max_leverage') }}"

- name: Read all symbols
  tradeops.coinswitch.futures_instrument_info:
  register: market
"""

RETURN = r"""
instruments:
  description:
    - The instruments, in the order of O(symbols).
    - All other fields of the exchange are returned unchanged.
  returned: success
  type: list
  elements: dict
  contains:
    symbol:
      description: The symbol, in upper case.
      returned: success
      type: str
      sample: BTCUSDT
    min_leverage:
      description: The minimum leverage. V(null) if the exchange does not return a whole number.
      returned: success
      type: int
      sample: 1
    max_leverage:
      description: The maximum leverage. V(null) if the exchange does not return a whole number.
      returned: success
      type: int
      sample: 25
    leverage_step:
      description: The step of the leverage. V(null) if the exchange does not return a whole number.
      returned: success
      type: int
      sample: 1
    base_asset:
      description: The asset that is traded.
      returned: success
      type: str
      sample: BTC
    quote_asset:
      description: The asset in which prices are quoted.
      returned: success
      type: str
      sample: USDT
    status:
      description: The trading status.
      returned: success
      type: str
      sample: TRADING
    type:
      description: The kind of instrument.
      returned: success
      type: str
      sample: PERPETUAL_FUTURES
    tick_size:
      description: The step of the price.
      returned: success
      type: raw
      sample: 1
    lot_size:
      description: The step of the quantity.
      returned: success
      type: raw
      sample: "0.001"
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

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.connection import STR
from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.module import ModuleDefinition, Work, run
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.queries import read_optional_symbols


def _import_work() -> Work[list[str] | None]:
    # Imported here, so that a task with an invalid option fails fast.
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.readers import read_instruments

    return read_instruments


DEFINITION = ModuleDefinition(
    {"symbols": {"type": "list", "elements": STR}}, read_options=read_optional_symbols, import_work=_import_work
)


def main() -> None:
    """Run the module."""
    run(DEFINITION)


if __name__ == "__main__":
    main()
