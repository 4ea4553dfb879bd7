# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The leverage of perpetual futures on CoinSwitch PRO is what it should be."""

from __future__ import annotations

DOCUMENTATION = r"""
module: futures_leverage
short_description: Set the leverage of perpetual futures on CoinSwitch PRO
version_added: 1.0.0
description:
  - Brings the leverage of one symbol, or of many, to what it should be. Reads what is in force and writes only what
    differs.
  - Unchanged costs one request for a symbol, a change two. Nothing is ever clamped or rounded.
  - The exchange changes no leverage while the symbol has an open position or any open order. Such a refusal is
    explained by what is in the way; nothing is ever closed or cancelled.
  - A write without a clear answer (a time-out, a dropped connection, a status from 500 up) is read back before anything
    else is done. Where what is in force cannot be told, the task fails and says so.
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
      - Nothing is written. What would refuse a change is read (limits, open positions, open orders), and where the
        real run would fail, check mode fails with the same words. What cannot be read is warned of.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  symbol:
    description:
      - The symbol, letters and digits in any case, such as V(BTCUSDT).
      - Goes with O(leverage). Either the two or O(leverages) must be given.
    type: str
  leverage:
    description:
      - The leverage that the symbol should have, a whole number from 1 up.
    type: int
  leverages:
    description:
      - The desired leverage of each symbol. Faster than a loop.
      - All of them are checked before the first write. If one is impossible, nothing is written.
      - Reads and writes go side by side within the rate limits, what lowers a leverage first. One symbol's failure does
        not stop the others; the task fails at its end and names each.
    type: dict
  enforce:
    description:
      - V(exact) makes the leverage what is desired.
      - V(maximum) only lowers what is above the desired leverage. It fails for a symbol whose leverage was never
        configured, since its default is not known.
    type: str
    choices: [exact, maximum]
    default: exact
  on_blocked:
    description:
      - What to do with a symbol that cannot be changed because of an open position or order. V(fail) fails the task,
        V(warn) warns.
    type: str
    choices: [fail, warn]
    default: fail
notes:
  - Open orders are looked for five weeks back. An older one blocks a change too, and is not seen by check mode.
seealso:
  - module: tradeops.coinswitch.futures_leverage_info
  - module: tradeops.coinswitch.futures_instrument_info
  - module: tradeops.coinswitch.api_key_info
"""

EXAMPLES = r"""
- name: The leverage of BTCUSDT is 10 (keys from COINSWITCH_API_KEY and COINSWITCH_SECRET_KEY)
  tradeops.coinswitch.futures_leverage:
    symbol: BTCUSDT
    leverage: 10

- name: The desk's table is in force on the account of each host
  tradeops.coinswitch.futures_leverage:
    api_key: "{{ coinswitch_api_key }}"
    secret_key: "{{ coinswitch_secret_key }}"
    leverages:
      BTCUSDT: 10
      ETHUSDT: 5

- name: No symbol is above the desk's maximum, and one with an open position is only warned of
  tradeops.coinswitch.futures_leverage:
    leverages: "{{ desk_maximum }}"
    enforce: maximum
    on_blocked: warn

- name: Half of the request budget is left to the bot that trades with the same keys
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
  description: The symbols that change, with the leverage before and after. Empty where nothing changes.
  returned: always
  type: dict
  sample:
    before: {BTCUSDT: 20}
    after: {BTCUSDT: 10}
results:
  description: What became of each desired leverage. Empty where an option was refused.
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
        - What is in force when the task ends; in check mode, what would be. V(null) where that is not known, or the
          symbol was never configured.
      returned: always
      type: int
      sample: 10
    previous_leverage:
      description: What was in force before. V(null) where that is not known, or the symbol was never configured.
      returned: always
      type: int
      sample: 20
    changed:
      description: Whether the task changed the leverage (in check mode, would have).
      returned: always
      type: bool
      sample: true
    outcome:
      description:
        - V(unchanged) and V(changed), as desired.
        - V(blocked), an open position or order forbids the change.
        - V(refused), the desired leverage is impossible, or the exchange refused it, or it was not sent.
        - V(unknown), what is in force cannot be told for sure.
      returned: always
      type: str
      sample: changed
    reason:
      description: What went wrong, and what to do about it.
      returned: where something went wrong
      type: str
      sample: "leverage stays 20 instead of 10: blocked by an open position (LONG 0.010); close the position first"
    blockers:
      description: The open positions and orders in the way.
      returned: where something went wrong
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
          description: The exchange's name for the position.
          returned: for a position
          type: str
          sample: 3f1c
        size:
          description: The position's size in the base asset, as the exchange gives it.
          returned: for a position
          type: str
          sample: "0.010"
        order_id:
          description: The exchange's name for the order.
          returned: for an order
          type: str
          sample: 77ab
        quantity:
          description: The order's quantity in the base asset, as the exchange gives it.
          returned: for an order
          type: str
          sample: "0.5"
    exchange_message:
      description: The exchange's own words about a write that it did not take.
      returned: where the exchange answered a write, and did not confirm it
      type: str
      sample: Leverage cannot be changed
symbol:
  description: The symbol, in upper case.
  returned: with O(symbol)
  type: str
  sample: BTCUSDT
exchange:
  description: The exchange identifier.
  returned: with O(symbol)
  type: str
  sample: EXCHANGE_2
leverage:
  description: As RV(results[].leverage).
  returned: with O(symbol)
  type: int
  sample: 10
previous_leverage:
  description: As RV(results[].previous_leverage).
  returned: with O(symbol)
  type: int
  sample: 20
outcome:
  description: As RV(results[].outcome).
  returned: with O(symbol)
  type: str
  sample: changed
plan:
  description: How many requests the policy may need, and how long the rate limits may make them wait.
  returned: when the options were right
  type: str
  sample: "reads of leverage: 24, writes: at most 24, rate limits: at most about 121 s"
requests:
  description: How many requests the task sent.
  returned: always
  type: int
  sample: 2
"""

from typing import Any

from ansible_collections.tradeops.coinswitch.plugins.module_utils._connection import INT
from ansible_collections.tradeops.coinswitch.plugins.module_utils._module import run
from ansible_collections.tradeops.coinswitch.plugins.module_utils._policy import from_options


def _carry_out(*desired: Any) -> Any:
    # Imported when the options are right: what is refused before any request should not cost it.
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._leverage import apply

    return apply(*desired)


def _predict(*desired: Any) -> Any:
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._leverage import predict

    return predict(*desired)


def main() -> None:
    """Entry point."""
    run(
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


if __name__ == "__main__":
    main()
