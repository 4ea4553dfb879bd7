# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Set the leverage of perpetual futures on CoinSwitch PRO."""

from __future__ import annotations

DOCUMENTATION = r"""
module: futures_leverage
short_description: Set the leverage of perpetual futures on CoinSwitch PRO
version_added: 1.0.0
description:
  - Sets the leverage of one symbol or of many symbols. The module reads the current leverage of each symbol, and writes
    only the leverages that differ. With O(symbol), a task sends one request if the leverage does not change, and two if
    it changes. With O(leverages), a task with N symbols and W changes sends N + W + 2 requests, or N + 1 if nothing
    changes. Check mode and a refused change need more, to find out what blocks the change.
  - The exchange does not change the leverage of a symbol that has an open position or an open order. In this case, the
    module reports what blocks the change. The module never closes a position, cancels an order or rounds a value.
  - If a write is not confirmed (a timeout, a broken connection, or any other response without the desired leverage),
    the module reads the leverage back before it does anything else. If it is still not known whether the write was
    carried out, the task fails and says that the outcome is unknown.
author:
  - Contributors to tradeops.coinswitch (@tradeops)
extends_documentation_fragment:
  - tradeops.coinswitch.attributes
  - tradeops.coinswitch.attributes.actiongroup_coinswitch
  - tradeops.coinswitch.connection
attributes:
  check_mode:
    support: full
    details:
      - In check mode, the module writes nothing. It reads the limits, the open positions and the open orders. If a real
        run would fail, check mode fails with the same message. If the module cannot read the positions or orders, it
        prints a warning.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  symbol:
    description:
      - The symbol, such as V(BTCUSDT), in upper or lower case.
      - Requires O(leverage). Mutually exclusive with O(leverages).
    type: str
  leverage:
    description:
      - The desired leverage of O(symbol), a whole number of 1 or more.
    type: int
  leverages:
    description:
      - A dictionary with the desired leverage of each symbol. One task with many symbols is faster than a loop.
      - Text that contains such a dictionary as JSON or YAML is accepted, too, for example from C(--extra-vars) or
        from a survey of AWX.
      - YAML does not read each value as it is written. Without quotes, C(010) is 8, C(1:30) is 90, and the name C(ON)
        is a boolean. The module refuses names that are not text, and leverages that are not whole numbers.
      - Ansible removes an entry whose value is C(omit), and keeps only the last of two equal names. The module cannot
        see that. In text, the module refuses two equal names. Before ansible-core 2.19, it cannot, because Ansible
        converts a variable that contains such text to a dictionary.
      - The module reads the positions of the account first, and the symbols with a position before the others. Before
        the first write, it reads the limits. A desired leverage that is not allowed is refused by name.
      - If one symbol fails, the module continues with the others. At the end, the task fails and names each symbol that
        failed.
      - What does not fit into O(rate_limit_timeout) is not done.
      - In a loop, Ansible prints no diff for C(--diff), because RV(results) is also the name of its list of items.
    type: dict
  enforce:
    description:
      - V(exact) sets the leverage to the desired leverage.
      - V(maximum) lowers a leverage that is above the desired leverage, and keeps a lower one. The task fails for a
        symbol that was never configured, because there is no leverage to compare.
    type: str
    choices: [exact, maximum]
    default: exact
  on_blocked:
    description:
      - What to do if an open position or an open order blocks a change. With V(fail), the task fails. With V(warn), the
        task prints a warning.
    type: str
    choices: [fail, warn]
    default: fail
notes:
  - The module searches for open orders of the last five weeks. An older order also blocks a change, but check mode does
    not find it.
  - If the keyword C(timeout) of Ansible stops the task, Ansible returns no RV(results). The changes that were made
    stay. Run the task again, or read the leverages.
seealso:
  - module: tradeops.coinswitch.futures_leverage_info
  - module: tradeops.coinswitch.futures_instrument_info
  - module: tradeops.coinswitch.api_key_info
"""

EXAMPLES = r"""
- name: Set the leverage of BTCUSDT to 10 (keys from COINSWITCH_API_KEY and COINSWITCH_SECRET_KEY)
  tradeops.coinswitch.futures_leverage:
    symbol: BTCUSDT
    leverage: 10

- name: Set the leverage of two symbols on the account of each host
  tradeops.coinswitch.futures_leverage:
    api_key: "{{ coinswitch_api_key }}"
    secret_key: "{{ coinswitch_secret_key }}"
    leverages:
      BTCUSDT: 10
      ETHUSDT: 5

- name: Lower each leverage that is above the maximum, and only warn about blocked symbols
  tradeops.coinswitch.futures_leverage:
    leverages: "{{ maximum_leverages }}"
    enforce: maximum
    on_blocked: warn

- name: Leave half of the rate limit to a bot that uses the same keys
  tradeops.coinswitch.futures_leverage:
    symbol: ETHUSDT
    leverage: 5
    rate_limit_share: 0.5

- name: Fail if the leverage is not 10, without changing it
  tradeops.coinswitch.futures_leverage:
    symbol: BTCUSDT
    leverage: 10
  check_mode: true
  register: drift
  failed_when: drift is failed or drift is changed
"""

RETURN = r"""
diff:
  description: The symbols that change, with their leverage before and after. Empty if nothing changes.
  returned: always
  type: dict
  sample:
    before: {BTCUSDT: 20}
    after: {BTCUSDT: 10}
results:
  description: One entry for each symbol of the policy. Empty if the policy is not valid.
  returned: always
  type: list
  elements: dict
  contains:
    symbol:
      description: The symbol, in upper case.
      returned: always
      type: str
      sample: BTCUSDT
    exchange:
      description: The exchange identifier.
      returned: always
      type: str
      sample: EXCHANGE_2
    leverage:
      description:
        - The leverage at the end of the task. In check mode, the leverage that a real run would reach.
        - V(null) if the leverage is not known, or if the symbol was never configured.
      returned: always
      type: int
      sample: 10
    previous_leverage:
      description:
        - The leverage before the change. V(null) if it is not known, or if the symbol was never configured.
      returned: always
      type: int
      sample: 20
    changed:
      description: Whether the task changed the leverage. In check mode, whether it would change it.
      returned: always
      type: bool
      sample: true
    desired_leverage:
      description: The desired leverage of the policy.
      returned: always
      type: int
      sample: 10
    outcome:
      description:
        - V(unchanged) if the current leverage already complied with the policy.
        - V(changed) if the task changed the leverage, and it complies with the policy now.
        - V(blocked) if an open position or an open order prevents the change.
        - V(refused) if the desired leverage is not allowed, or if the exchange refused it for another reason.
        - V(not_written) if no write was carried out, for example because of the rate limit or the keys.
        - V(unknown) if it is not known which leverage is in force.
      returned: always
      type: str
      sample: changed
    cause:
      description:
        - A stable word that says why the symbol does not comply with the policy.
        - V(position) or V(order) if an open position or order blocks the change, V(limits) if the desired leverage is
          not allowed, V(not_listed) if the exchange does not list the symbol, V(limits_unknown) if the limits could not
          be read, V(never_configured) if O(enforce=maximum) and there is no leverage to compare, V(not_confirmed) if it
          is not known whether a write was carried out, V(refused) or V(refused_before_api) if the API or a server in
          front of it refused the write, V(stopped) if too many symbols in a row got no valid response.
        - V(keys), V(rate_limit), V(network), V(unclear_response), V(unexpected_response), V(internal_error), V(input)
          and V(library_missing) mean the same as in RV(error.kind).
      returned: if the outcome is neither V(unchanged) nor V(changed)
      type: str
      sample: position
    reason:
      description: Why the symbol does not comply with the policy, and what to do.
      returned: if the outcome is neither V(unchanged) nor V(changed)
      type: str
      sample: >-
        the leverage is still 20, not 10. An open position (LONG 0.010) blocks the change. Close the position first.
    positions:
      description:
        - The open positions of the symbol, in the form of RV(results[].blockers). V(null) if they are not known.
      returned: if O(leverages) is given and the outcome is not V(unchanged)
      type: list
      elements: dict
      sample: []
    blockers:
      description: The open positions and orders that block the change.
      returned: if the outcome is neither V(unchanged) nor V(changed)
      type: list
      elements: dict
      sample:
        - kind: position
          position_id: 3f1c
          side: LONG
          size: "0.010"
          mark_price: "64000"
      contains:
        kind:
          description: V(position) or V(order).
          returned: always
          type: str
          sample: position
        side:
          description: V(LONG) or V(SHORT) for a position, V(BUY) or V(SELL) for an order.
          returned: always
          type: str
          sample: LONG
        position_id:
          description: The identifier of the position.
          returned: for a position
          type: str
          sample: 3f1c
        size:
          description: The size of the position in the base asset, as the exchange returns it.
          returned: for a position
          type: str
          sample: "0.010"
        mark_price:
          description: The mark price of the symbol, as the exchange returns it.
          returned: for a position
          type: str
          sample: "64000"
        order_id:
          description: The identifier of the order.
          returned: for an order
          type: str
          sample: 77ab
        quantity:
          description: The quantity of the order in the base asset, as the exchange returns it.
          returned: for an order
          type: str
          sample: "0.5"
        price:
          description: The price of the order, as the exchange returns it.
          returned: for an order
          type: str
          sample: "60000"
        order_type:
          description: The type of the order, as the exchange returns it.
          returned: for an order
          type: str
          sample: LIMIT
    exchange_message:
      description: The text of the response that explains RV(results[].cause).
      returned: if there is one
      type: str
      sample: Leverage cannot be changed
symbol:
  description: The symbol, in upper case.
  returned: if O(symbol) is given
  type: str
  sample: BTCUSDT
exchange:
  description: The exchange identifier.
  returned: if O(symbol) is given
  type: str
  sample: EXCHANGE_2
leverage:
  description: Same as RV(results[].leverage).
  returned: if O(symbol) is given
  type: int
  sample: 10
previous_leverage:
  description: Same as RV(results[].previous_leverage).
  returned: if O(symbol) is given
  type: int
  sample: 20
outcome:
  description: Same as RV(results[].outcome).
  returned: if O(symbol) is given
  type: str
  sample: changed
check_mode:
  description: Whether the changes are only predicted.
  returned: if the options are valid
  type: bool
  sample: false
plan:
  description:
    - The number of reads of a leverage, the maximum number of writes, and the time that the task waits for the rate
      limits.
    - >-
      In check mode, the numbers of a real run follow in parentheses: "reads of leverage: 24, check mode writes nothing,
      rate limits: about 61 s (a real run: writes: at most 24, rate limits: at most about 121 s)".
  returned: if the options are valid
  type: str
  sample: "reads of leverage: 24, writes: at most 24, rate limits: at most about 121 s"
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
        - Also each value of RV(results[].cause). With several symbols, it is that of the first one that failed.
      returned: always
      type: str
      sample: keys
    status:
      description: The HTTP status of the response.
      returned: after a response
      type: int
      sample: 401
"""

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.connection import DICT, INT, STR
from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.module import ModuleDefinition, Work, run
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks import outcomes, policy


def _import_work() -> Work[policy.Policy]:
    # Imported here, so that a task with an invalid option fails fast.
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.leverage import apply

    return apply


DEFINITION = ModuleDefinition(
    {
        "symbol": {"type": STR},
        "leverage": {"type": INT},
        "leverages": {"type": DICT},
        "enforce": {"type": "str", "choices": ["exact", "maximum"], "default": "exact"},
        "on_blocked": {"type": "str", "choices": ["fail", "warn"], "default": "fail"},
    },
    read_options=policy.read_policy,
    import_work=_import_work,
    empty_result=outcomes.build_empty_result,
    required_one_of=[("symbol", "leverages")],
    required_together=[("symbol", "leverage")],
    mutually_exclusive=[("symbol", "leverages"), ("leverage", "leverages")],
)


def main() -> None:
    """Run the module."""
    run(DEFINITION)


if __name__ == "__main__":
    main()
