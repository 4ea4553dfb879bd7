# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the responses of CoinSwitch PRO with what this collection expects."""

from __future__ import annotations

DOCUMENTATION = r"""
module: api_check
short_description: Compare the responses of CoinSwitch PRO with what this collection expects
version_added: 1.0.0
description:
  - Sends about 30 requests to the endpoints that the collection uses, and compares each response with what the code
    expects. By default, the module only reads.
  - The task fails if the collection does not handle a response.
  - The playbook C(tradeops.coinswitch.api_check) runs this module, prints the table and writes the transcript to a
    file. In most cases, use the playbook.
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
      - In check mode, the module writes nothing. RV(plan) lists the writes of a real run.
      - Check mode finds open orders of the last week. A real run finds open orders of the last five weeks.
  diff_mode:
    support: none
    details:
      - The module restores the leverage of O(write_symbol), so there is no difference to show.
  idempotent:
    support: full
options:
  write_symbol:
    description:
      - The symbol for the test of writes. Its leverage must have been set before, and it must have no open position and
        no open order.
      - If set, the module writes the current leverage again, and reads it back. It skips the reads of the other
        endpoints.
      - If not set, the module writes nothing.
    type: str
  write_leverage:
    description:
      - Another leverage for O(write_symbol). The module writes this leverage, reads it back, and restores the previous
        leverage. It also restores it if the task is stopped.
      - Use a value outside the limits of the symbol to see how the exchange refuses it.
    type: int
  new_symbol:
    description:
      - A symbol whose leverage was never set, for the test of its first write. The module reads the symbol, writes its
        leverage once, and reads it again. It skips the reads of the other endpoints.
      - If the exchange returns a default leverage for the symbol, the module writes this default. Otherwise, it writes
        the lowest leverage that the symbol allows.
      - The first write cannot be undone. It is expected to create the association of the account with the symbol.
      - Mutually exclusive with O(write_symbol).
    type: str
  rate_limit_share:
    description:
      - The part, above V(0) and up to V(0.5), of each rate limit that the task may use. A test write needs at least
        V(0.4), so that the restore of the leverage does not wait.
    type: float
    default: 0.5
seealso:
  - module: tradeops.coinswitch.api_key_info
  - module: tradeops.coinswitch.futures_leverage
"""

EXAMPLES = r"""
- name: Compare the responses of the exchange with what the collection expects
  tradeops.coinswitch.api_check:
  register: api_check

- name: Show the table
  ansible.builtin.debug:
    var: api_check.table

- name: Write the current leverage of a symbol, then write 7, and restore the previous leverage
  tradeops.coinswitch.api_check:
    write_symbol: DOGEUSDT
    write_leverage: 7

- name: Write the leverage of a symbol for the first time
  tradeops.coinswitch.api_check:
    new_symbol: SOLUSDT
"""

RETURN = r"""
handled:
  description: Whether the collection handles every response.
  returned: always
  type: bool
  sample: true
table:
  description: One line for each fact that the responses show, with the value and the verdict.
  returned: always
  type: list
  elements: str
  sample: ["unset_leverage             400                                different but handled"]
facts:
  description: All facts with their values and verdicts, including the facts that the responses do not show.
  returned: always
  type: list
  elements: dict
  contains:
    fact:
      description: The name of the fact, as in docs/api.md.
      returned: always
      type: str
      sample: unset_leverage
    shown:
      description: The values that the responses show. Empty if they do not show any.
      returned: always
      type: str
      sample: "400"
    verdict:
      description: V(as expected), V(different but handled), V(NOT HANDLED) or V(not shown).
      returned: always
      type: str
      sample: different but handled
transcript:
  description:
    - The responses without keys, identifiers, amounts, prices and times. Each value is replaced by its type.
    - You can attach the transcript to a public issue.
  returned: always
  type: dict
  sample: {"format": 1, "quirks": {"unset_leverage": "400"}, "facts": [], "responses": []}
symbol:
  description: The symbol of the test of writes.
  returned: if O(write_symbol) or O(new_symbol) is set and can be written to
  type: str
  sample: DOGEUSDT
plan:
  description: The writes in their order. For O(write_symbol), also a command that restores the leverage.
  returned: if O(write_symbol) or O(new_symbol) is set and can be written to
  type: list
  elements: str
  sample: ["POST /trade/api/v2/futures/leverage DOGEUSDT 10 (in force)"]
previous_leverage:
  description: The leverage before the first write. V(null) if the exchange returned none.
  returned: if O(write_symbol) or O(new_symbol) is set and can be written to
  type: int
  sample: 10
leverage:
  description: The leverage after the last write. V(null) if it is not known.
  returned: if O(write_symbol) or O(new_symbol) is set and can be written to
  type: int
  sample: 10
requests:
  description: The number of requests that the task sent.
  returned: always
  type: int
  sample: 30
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
        - V(not_handled) if the collection does not support a response, V(not_restored) if the leverage was not
          restored, V(stopped) if the task was stopped and the leverage was restored, V(failed) if the symbol cannot be
          written to.
      returned: always
      type: str
      sample: keys
    status:
      description: The HTTP status of the response.
      returned: after a response
      type: int
      sample: 401
"""

from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.connection import FLOAT, INT, STR
from ansible_collections.tradeops.coinswitch.plugins.module_utils._ansible.module import ModuleDefinition, Work, run
from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.queries import Trial, read_trial


def _import_work() -> Work[Trial]:
    # Imported here, so that a task with an invalid option fails fast.
    from ansible_collections.tradeops.coinswitch.plugins.module_utils._tasks.api_check import check

    return check


DEFINITION = ModuleDefinition(
    {
        "write_symbol": {"type": STR},
        "write_leverage": {"type": INT},
        "new_symbol": {"type": STR},
        "rate_limit_share": {"type": FLOAT, "default": 0.5},
    },
    read_options=read_trial,
    import_work=_import_work,
    empty_result=lambda options, error: {"handled": False},
)


def main() -> None:
    """Run the module."""
    run(DEFINITION)


if __name__ == "__main__":
    main()
