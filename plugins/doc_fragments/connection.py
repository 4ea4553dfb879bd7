# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the connection options, shared by all modules."""

from __future__ import annotations


class ModuleDocFragment:
    """The fragment `tradeops.coinswitch.connection`."""

    DOCUMENTATION = r"""
options:
  api_key:
    description:
      - The API key of the account, as CoinSwitch PRO shows it. It consists of hexadecimal characters.
      - Required, either as this option or as the environment variable E(COINSWITCH_API_KEY). A task that sets the
        option to an empty value fails, and does not use the environment variable.
    type: str
  secret_key:
    description:
      - The secret key of the account. It consists of 64 hexadecimal characters (the Ed25519 seed) or 128 (the seed,
        then the public key).
      - The module signs each request with this key. The key itself is never sent to the exchange.
      - Required, either as this option or as the environment variable E(COINSWITCH_SECRET_KEY). A task that sets the
        option to an empty value fails, and does not use the environment variable.
    type: str
  api_url:
    description:
      - The address of the API, as C(https://HOST) or C(https://HOST:PORT). Plain http is allowed only for a loopback
        address, such as the address of the sandbox.
      - Upper case, the default port and a final dot make no difference.
      - If not set, the value of the environment variable E(COINSWITCH_API_URL) is used.
    type: str
    default: https://coinswitch.co
  exchange:
    description:
      - The exchange identifier. CoinSwitch PRO has only one for perpetual futures, the default.
    type: str
    default: EXCHANGE_2
  timeout:
    description:
      - The timeout of each request in seconds, from the start of the connection to the end of the response. The
        connection must be established within half of this time.
    type: float
    default: 10
  retries:
    description:
      - The maximum number of times to retry a request that gets no valid response (no connection, a timeout, or a
        status of 500 or above). The pause before each retry gets longer.
      - Before a write is retried, the module reads the current leverage.
    type: int
    default: 3
  rate_limit_timeout:
    description:
      - The total time in seconds that the task may wait for the rate limits of the exchange. If the task needs more
        time, it fails before it waits.
    type: float
    default: 600
  rate_limit_share:
    description:
      - The part of each request budget that the task may use, above V(0) and up to V(1). The rest is left to other
        programs that use the same keys. The task may always send at least one request in 60 seconds.
      - All tasks of one user on one machine share the request budgets of an API key, even in different processes. The
        times of the requests are in a file below C(~/.local/state), or E(XDG_STATE_HOME) if that is set.
    type: float
    default: 1
  validate_certs:
    description:
      - Whether to check the TLS certificate of the API.
      - If V(false), each task prints a warning. The API does not sign the body of a write, so only TLS protects it.
    type: bool
    default: true
  ca_path:
    description:
      - The certificate authorities to trust, instead of those of the Python library requests. Either a file in PEM
        format, or a directory that was prepared with C(openssl rehash). It must be an absolute path, or start with
        C(~).
      - If not set, the environment variable E(REQUESTS_CA_BUNDLE) can name them, too.
    type: path
requirements:
  - requests >= 2.25.1
  - cryptography >= 3.3.2
notes:
  - An option or an environment variable with an empty value is not set. An empty O(api_key) or O(secret_key) is an
    error, so that the keys of another account in the environment do not replace it.
  - On the controller, a task runs inside Ansible's own worker process (direct execution), which is several times as
    fast as a module in its own process. A task runs as a module if it uses another connection, C(become), C(async) or
    another Python, or if C(environment) sets a variable that does not start with C(COINSWITCH_). The results are the
    same. With C(-vvv), each task prints how it runs.
  - To switch direct execution off, set the variable C(coinswitch_direct) or the environment variable
    C(COINSWITCH_DIRECT) to V(false).
  - If the rate limits make a task longer than five seconds, a directly executed task prints its progress to stderr. To
    switch this off, set the variable C(coinswitch_progress) or the environment variable C(COINSWITCH_PROGRESS) to
    V(false).
  - On the controller, no request is sent after the task has ended, for example because of its C(timeout), Ctrl-C or a
    killed ansible-playbook. A request that was sent before can still take effect. With C(async), with C(become) or on a
    remote host, a module can continue after ansible-playbook was killed.
  - The module uses the proxies of the environment variables E(HTTPS_PROXY), E(ALL_PROXY) and E(NO_PROXY). A SOCKS
    proxy needs the Python library PySocks.
seealso:
  - name: Guides
    description: First steps, many accounts, the nightly drift check, blocked symbols, and rehearsals on the sandbox.
    link: https://github.com/tradeops/ansible-collection-coinswitch/tree/main/docs/guides
  - name: Error messages
    description: Each message of the modules, with its cause and what to do.
    link: https://github.com/tradeops/ansible-collection-coinswitch/blob/main/docs/errors.md
"""
