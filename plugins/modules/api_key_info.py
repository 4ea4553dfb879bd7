# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check API keys of CoinSwitch PRO."""

from __future__ import annotations

DOCUMENTATION = r"""
module: api_key_info
short_description: Check API keys of CoinSwitch PRO
version_added: 1.0.0
description:
  - Checks whether the exchange accepts the keys, and whether they are a pair. Also measures the difference between the
    clock of this machine and the clock of the exchange, and how long a response takes. Run this module first when you
    have new keys.
  - The task does not fail if the exchange refuses the keys. It returns RV(valid=false) and the reason. The task fails
    only if the exchange cannot be reached or does not answer.
author:
  - Contributors to tradeops.coinswitch (@tradeops)
extends_documentation_fragment:
  - tradeops.coinswitch.attributes
  - tradeops.coinswitch.attributes.info_module
  - tradeops.coinswitch.attributes.actiongroup_coinswitch
  - tradeops.coinswitch.connection
notes:
  - The module prints a warning if the clocks differ by more than 5 seconds.
seealso:
  - module: tradeops.coinswitch.futures_leverage
"""

EXAMPLES = r"""
- name: Check the keys
  tradeops.coinswitch.api_key_info:
  register: keys

- name: Fail with the reason if the keys do not work
  ansible.builtin.assert:
    that: keys.valid
    fail_msg: "{{ keys.reason | default('') }}"

- name: Check the keys of the account of each host
  tradeops.coinswitch.api_key_info:
    api_key: "{{ coinswitch_api_key }}"
    secret_key: "{{ coinswitch_secret_key }}"
"""

RETURN = r"""
valid:
  description: Whether the exchange accepts the keys from this machine at this time.
  returned: success
  type: bool
  sample: true
reason:
  description: Why the exchange refuses the keys, and what to do.
  returned: if the keys are refused
  type: str
  sample: "the exchange refused the keys (HTTP 401): secret_key and api_key are not a pair"
pair_matches:
  description:
    - Whether O(api_key) is the public key of O(secret_key). The module checks this without a request.
    - Older keys can be valid although this value is V(false). So check RV(valid) first.
  returned: success
  type: bool
  sample: true
clock_offset:
  description:
    - The time of this machine minus the time of the exchange, in seconds. A negative value means that the clock of this
      machine is behind.
    - If the exchange returns its time only in the C(Date) header, the value is exact to one second.
    - V(null) if the exchange does not return its time.
  returned: success
  type: float
  sample: -0.012
round_trip:
  description: The time between a request and its response, in seconds.
  returned: success
  type: float
  sample: 0.048
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

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.module import ModuleDefinition, Work, run


def _import_work() -> Work[None]:
    # Imported here, so that a task with an invalid option fails fast.
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.readers import check_keys

    return check_keys


DEFINITION = ModuleDefinition({}, read_options=lambda _options: None, import_work=_import_work)


def main() -> None:
    """Run the module."""
    run(DEFINITION)


if __name__ == "__main__":
    main()
