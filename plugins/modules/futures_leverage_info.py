# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the leverage of perpetual futures on CoinSwitch PRO."""

from __future__ import annotations

DOCUMENTATION = r"""
module: futures_leverage_info
short_description: Read the leverage of perpetual futures on CoinSwitch PRO
version_added: 1.0.0
description:
  - Reads the current leverage of one or more symbols of an account. Each symbol costs one request.
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
seealso:
  - module: tradeops.coinswitch.futures_leverage
  - module: tradeops.coinswitch.futures_instrument_info
"""

EXAMPLES = r"""
- name: Read the leverage of two symbols
  tradeops.coinswitch.futures_leverage_info:
    symbols: [BTCUSDT, ETHUSDT]
  register: current

- name: Fail if a leverage is above 20
  ansible.builtin.assert:
    that: item.leverage is not none and item.leverage <= 20
    fail_msg: "The leverage of {{ item.symbol }} is {{ item.leverage }}"
  loop: "{{ current.leverages }}"

- name: Read the leverage of all symbols in the policy, with the keys of each host
  tradeops.coinswitch.futures_leverage_info:
    api_key: "{{ coinswitch_api_key }}"
    secret_key: "{{ coinswitch_secret_key }}"
    symbols: "{{ leverage_policy.keys() | list }}"
"""

RETURN = r"""
leverages:
  description: One entry for each symbol, in the order of O(symbols).
  returned: success
  type: list
  elements: dict
  contains:
    symbol:
      description: The symbol, in upper case.
      returned: success
      type: str
      sample: BTCUSDT
    exchange:
      description: The exchange identifier.
      returned: success
      type: str
      sample: EXCHANGE_2
    leverage:
      description:
        - The current leverage. V(null) if the exchange returns none, for example because the symbol was never
          configured.
      returned: success
      type: int
      sample: 10
    reason:
      description: Why there is no leverage, with the message of the exchange.
      returned: if the leverage is V(null)
      type: str
      sample: 'the exchange returns no leverage: "Leverage is not set"'
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
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.readers import read_leverages

    return read_leverages


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
