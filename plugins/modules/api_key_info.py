# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the API keys of CoinSwitch PRO work from here."""

from __future__ import annotations

DOCUMENTATION = r"""
module: api_key_info
short_description: Find out whether API keys of CoinSwitch PRO work
version_added: 1.0.0
description:
  - The first thing to run with new keys. Tells whether the exchange takes them, whether they are a pair, whether the
    clock of this machine is right, and how far away the exchange is.
  - Keys that the exchange refuses are a result, not a failure. The task fails where the exchange can't be reached or
    does not answer.
author:
  - Contributors to tradeops.coinswitch (@tradeops)
extends_documentation_fragment:
  - tradeops.coinswitch.attributes
  - tradeops.coinswitch.attributes.info_module
  - tradeops.coinswitch.attributes.actiongroup_coinswitch
  - tradeops.coinswitch.connection
notes:
  - A clock that is off by more than 5 seconds is warned of.
seealso:
  - module: tradeops.coinswitch.futures_leverage
"""

EXAMPLES = r"""
- name: Do these keys work?
  tradeops.coinswitch.api_key_info:
  register: keys

- name: Say why not
  ansible.builtin.assert:
    that: keys.valid
    fail_msg: "{{ keys.reason | default('') }}"

- name: The keys of each host's account
  tradeops.coinswitch.api_key_info:
    api_key: "{{ coinswitch_api_key }}"
    secret_key: "{{ coinswitch_secret_key }}"
"""

RETURN = r"""
valid:
  description: Whether the exchange takes the keys, at this time and from this address.
  returned: success
  type: bool
  sample: true
reason:
  description: Why the exchange refuses the keys, as far as can be told, and what to do about it.
  returned: when the keys are refused
  type: str
  sample: "the exchange refused the keys (HTTP 401): secret_key does not belong to api_key"
pair_matches:
  description:
    - Whether O(api_key) is the public key of O(secret_key). Found out without the exchange.
    - Older keys may be good without it, so look at RV(valid) first.
  returned: success
  type: bool
  sample: true
clock_offset:
  description:
    - The seconds that the clock of this machine is ahead of the exchange's; below 0, behind it.
    - Good for a second only where the exchange tells its time in the C(Date) of an answer alone, and V(null) where it
      tells none.
  returned: success
  type: float
  sample: -0.012
round_trip:
  description: The seconds from a request to its answer.
  returned: success
  type: float
  sample: 0.048
requests:
  description: How many requests the task sent.
  returned: always
  type: int
  sample: 2
"""

from typing import Any

from ansible_collections.tradeops.coinswitch.plugins.module_utils._module import run
from ansible_collections.tradeops.coinswitch.plugins.module_utils._queries import nothing


def _read(*asked: Any) -> Any:
    # Imported when the options are right: what is refused before any request should not cost it.
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._readers import check_keys

    return check_keys(*asked)


def main() -> None:
    """Entry point."""
    run({}, prepare=nothing, act=_read)


if __name__ == "__main__":
    main()
