# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the policy of each account of a play, and find accounts with the same key."""

from __future__ import annotations

DOCUMENTATION = r"""
name: leverage_accounts
short_description: Read the policy of each account of a play, and find accounts with the same key
version_added: 1.0.0
author:
  - Contributors to tradeops.coinswitch (@tradeops)
description:
  - Reads the variables of the role P(tradeops.coinswitch.leverage#role) for several accounts in one task.
  - Compares the keys of the accounts by their hashes. It never returns a key.
options:
  _terms:
    description: The hosts of the inventory that are accounts.
    type: list
    elements: str
    required: true
  key_variables:
    description: The names of the variables with the keys, the API key first. If empty, the keys are not compared.
    type: list
    elements: str
    default: []
seealso:
  - plugin: tradeops.coinswitch.leverage_report
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Show the policy of each account
  ansible.builtin.debug:
    msg: "{{ query('tradeops.coinswitch.leverage_accounts', *ansible_play_hosts_all) }}"
  run_once: true
"""

RETURN = r"""
_raw:
  description: One entry for each account.
  type: list
  elements: dict
  contains:
    name:
      description: The host.
      type: str
      returned: always
    policy:
      description: The value of the variable C(leverage_policy).
      type: raw
      returned: if it can be evaluated
    policy_error:
      description: V(true) if the variable C(leverage_policy) cannot be evaluated.
      type: bool
      returned: if it cannot be evaluated
    enforce:
      description: The value of the variable C(leverage_enforce). Empty if it is not set.
      type: str
      returned: always
    key_id:
      description: The first 16 hexadecimal digits of the SHA-256 of the API key. V(null) if it is not known.
      type: str
      returned: always
    unset:
      description: The variables of O(key_variables) that are not set.
      type: list
      elements: str
      returned: always
    left_out:
      description: Whether another account has the same API key and names the same symbol in its policy.
      type: bool
      returned: always
"""

from typing import Any, Iterable, Mapping, Sequence

from ansible.plugins.lookup import LookupBase

from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._report import accounts as _accounts


class LookupModule(LookupBase):  # type: ignore[misc] # ansible-core has no types
    """The lookup. Ansible searches for this class."""

    def run(
        self,
        terms: Iterable[Any],
        variables: Mapping[str, Any] | None = None,
        key_variables: Sequence[str] = (),
        **_options: object,
    ) -> list[dict[str, Any]]:
        evaluate = _accounts.make_evaluate(self._templar, variables or {})
        return _accounts.read_accounts([str(term) for term in terms], [*map(str, key_variables)], evaluate)
