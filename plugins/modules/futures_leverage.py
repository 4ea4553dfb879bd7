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
  - Sets the leverage of one symbol or of many symbols. Reads the current leverage and writes only what differs.
  - A symbol that does not change costs one request. A change costs two. The module never clamps or rounds a value.
  - The exchange does not change the leverage of a symbol that has an open position or an open order. The module then
    names what blocks the change. It never closes a position or cancels an order.
  - If a write gets no clear answer (a timeout, a dropped connection, a status of 500 or above), the module reads the
    leverage back before it does anything else. If that fails too, the task fails and says that the outcome is unknown.
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
      - Writes nothing. Reads the limits, the open positions and the open orders. If a real run would fail, check mode
        fails with the same message. If something cannot be read, check mode warns.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  symbol:
    description:
      - The symbol, in upper or lower case, such as V(BTCUSDT).
      - Requires O(leverage). Mutually exclusive with O(leverages).
    type: str
  leverage:
    description:
      - The desired leverage of O(symbol), a whole number of 1 or more.
    type: int
  leverages:
    description:
      - The desired leverage of each symbol. Faster than a loop.
      - All of them are checked before the first write. If one is impossible, nothing is written.
      - Reads and writes alternate within the rate limits. Writes that lower a leverage go first.
      - A failure of one symbol does not stop the others. The task fails at the end and names each symbol that failed.
    type: dict
  enforce:
    description:
      - V(exact) sets the desired leverage.
      - V(maximum) only lowers a leverage that is above the desired one. It fails for a symbol whose leverage was never
        configured, because its default is not known.
    type: str
    choices: [exact, maximum]
    default: exact
  on_blocked:
    description:
      - What to do if an open position or order blocks a change. V(fail) fails the task. V(warn) only warns.
    type: str
    choices: [fail, warn]
    default: fail
notes:
  - The module searches the open orders of the last five weeks. An older order blocks a change, too, but check mode does
    not find it.
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

- name: Lower what is above the maximum, and only warn about a symbol with an open position
  tradeops.coinswitch.futures_leverage:
    leverages: "{{ maximum_leverages }}"
    enforce: maximum
    on_blocked: warn

- name: Leave half of the rate limit to a bot that uses the same keys
  tradeops.coinswitch.futures_leverage:
    symbol: ETHUSDT
    leverage: 5
    rate_limit_share: 0.5

- name: Find drift without changing anything
  tradeops.coinswitch.futures_leverage:
    symbol: BTCUSDT
    leverage: 10
  check_mode: true
  register: drift
  failed_when: drift is failed or drift is changed
"""

RETURN = r"""
diff:
  description: The symbols that change, with the leverage before and after. Empty if nothing changes.
  returned: always
  type: dict
  sample:
    before: {BTCUSDT: 20}
    after: {BTCUSDT: 10}
results:
  description: One row for each symbol. Empty if an option was not valid.
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
        - The leverage in force when the task ends. In check mode, the leverage that would be in force. V(null) if it is
          not known, or if the symbol was never configured.
      returned: always
      type: int
      sample: 10
    previous_leverage:
      description: The leverage before the task. V(null) if it is not known, or if the symbol was never configured.
      returned: always
      type: int
      sample: 20
    changed:
      description: Whether the task changed the leverage. In check mode, whether it would change it.
      returned: always
      type: bool
      sample: true
    outcome:
      description:
        - V(unchanged) or V(changed). The symbol has the desired leverage.
        - V(blocked). An open position or an open order prevents the change.
        - V(refused). The desired leverage is not allowed, the exchange refused it, or it was not sent.
        - V(unknown). The leverage in force is not known for certain.
      returned: always
      type: str
      sample: changed
    reason:
      description: What went wrong, and what to do.
      returned: if something went wrong
      type: str
      sample: "leverage stays 20 instead of 10: blocked by an open position (LONG 0.010); close the position first"
    blockers:
      description: The open positions and orders that block the change.
      returned: if something went wrong
      type: list
      elements: dict
      sample:
        - kind: position
          position_id: 3f1c
          side: LONG
          size: "0.010"
      contains:
        kind:
          description: V(position) or V(order).
          returned: always
          type: str
          sample: position
        side:
          description: V(LONG) or V(SHORT) of a position, V(BUY) or V(SELL) of an order.
          returned: always
          type: str
          sample: LONG
        position_id:
          description: The identifier of the position.
          returned: for a position
          type: str
          sample: 3f1c
        size:
          description: The position's size in the base asset, as the exchange gives it.
          returned: for a position
          type: str
          sample: "0.010"
        order_id:
          description: The identifier of the order.
          returned: for an order
          type: str
          sample: 77ab
        quantity:
          description: The order's quantity in the base asset, as the exchange gives it.
          returned: for an order
          type: str
          sample: "0.5"
    exchange_message:
      description: The message of the exchange about a write that it did not confirm.
      returned: if the exchange answered a write and did not confirm it
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
  description: As RV(results[].leverage).
  returned: if O(symbol) is given
  type: int
  sample: 10
previous_leverage:
  description: As RV(results[].previous_leverage).
  returned: if O(symbol) is given
  type: int
  sample: 20
outcome:
  description: As RV(results[].outcome).
  returned: if O(symbol) is given
  type: str
  sample: changed
plan:
  description: The largest number of requests that the task may need, and how long the rate limits may make it wait.
  returned: if the options were valid
  type: str
  sample: "reads of leverage: 24, writes: at most 24, rate limits: at most about 121 s"
requests:
  description: The number of requests that the task sent.
  returned: always
  type: int
  sample: 2
"""

from typing import Any

from ansible_collections.tradeops.coinswitch.plugins.module_utils._connection import INT
from ansible_collections.tradeops.coinswitch.plugins.module_utils._module import Wiring, run
from ansible_collections.tradeops.coinswitch.plugins.module_utils._policy import from_options


def _carry_out(*desired: Any) -> Any:
    # Imported when the options are right: what is refused before any request should not cost it.
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._leverage import apply

    return apply(*desired)


def _predict(*desired: Any) -> Any:
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._leverage import predict

    return predict(*desired)


WIRING = Wiring(
    {
        "symbol": {"type": "str"},
        "leverage": {"type": INT},
        "leverages": {"type": "dict"},
        "enforce": {"type": "str", "choices": ["exact", "maximum"], "default": "exact"},
        "on_blocked": {"type": "str", "choices": ["fail", "warn"], "default": "fail"},
    },
    prepare=from_options,
    act=_carry_out,
    predict=_predict,
    blank={"diff": {"before": {}, "after": {}}, "results": []},
    required_one_of=[("symbol", "leverages")],
    required_together=[("symbol", "leverage")],
    mutually_exclusive=[("symbol", "leverages"), ("leverage", "leverages")],
)


def main() -> None:
    """Entry point."""
    run(WIRING)


if __name__ == "__main__":
    main()
