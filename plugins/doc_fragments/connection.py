# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The connection options, documented once for all modules."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as `tradeops.coinswitch.connection`."""

    DOCUMENTATION = r"""
options:
  api_key:
    description:
      - The account's API key, as CoinSwitch PRO shows it (hexadecimal).
      - Needed by every request. Where it is not given, the environment variable E(COINSWITCH_API_KEY) is used.
    type: str
  secret_key:
    description:
      - The account's secret key, which signs every request and never leaves the host that the module runs on.
        64 hexadecimal characters (the Ed25519 seed), or 128 (the seed, then the public key).
      - Needed by every request. Where it is not given, the environment variable E(COINSWITCH_SECRET_KEY) is used.
    type: str
  api_url:
    description:
      - Where the API is, as C(https://HOST) or C(https://HOST:PORT). Plain http is taken for a loopback address alone,
        such as that of the sandbox.
      - Where it is not given, the environment variable E(COINSWITCH_API_URL) is used.
    type: str
    default: https://coinswitch.co
  exchange:
    description:
      - The exchange identifier. CoinSwitch PRO's perpetual futures know one.
    type: str
    default: EXCHANGE_2
  timeout:
    description:
      - The seconds that one answer may take, from the first connection to its last byte. Half of them are for the
        connection.
    type: float
    default: 10
  retries:
    description:
      - How often a request that got no clear answer (no connection, a time-out, a status from 500 up) is tried again,
        after a pause that grows. A write is tried again only after what is in force was read.
    type: int
    default: 3
  rate_limit_timeout:
    description:
      - The seconds that the task may spend, in all, waiting for the exchange's rate limits. Where more is needed, the
        task says so before it waits.
    type: float
    default: 600
  rate_limit_share:
    description:
      - The part, above V(0) and up to V(1), of each request budget that the task may use. The rest is left to a bot
        that shares the account's keys. At least one request in 60 seconds is always the task's.
      - All tasks of a user on one machine share the budgets of an API key, in whatever processes they run.
    type: float
    default: 1
  validate_certs:
    description:
      - Whether the TLS certificate of the API is checked. Switching that off warns, since the body of a write is not
        signed, so that TLS alone protects it.
    type: bool
    default: true
  ca_path:
    description:
      - The certificate authorities to trust in place of those that come with Python's requests. A file in PEM format,
        or a directory that C(openssl rehash) has prepared.
    type: path
requirements:
  - requests >= 2.25.1
  - cryptography >= 3.3.2
notes:
  - On the controller itself, the module runs inside Ansible's own worker process, which is several times as fast. It
    runs as a module of its own with another connection, with C(become) or C(async), with another Python, or with
    variables in C(environment) that do not start with C(COINSWITCH_). Output at C(-vvv) shows which way a task runs.
  - To always use a module of its own, set the variable C(coinswitch_direct) to V(false), or the environment variable
    C(COINSWITCH_DIRECT). The results are the same.
  - A task that the rate limits make longer than five seconds prints its progress to stderr while it runs, unless it
    runs as a module of its own. To switch that off, set the variable C(coinswitch_progress) to V(false), or the
    environment variable C(COINSWITCH_PROGRESS).
  - On the controller, no request is sent after the task has ended, by its C(timeout), by Ctrl-C, or because
    ansible-playbook was killed. A request that was sent before may still take effect. With C(async), with C(become) or
    on a remote host, a module can run on after ansible-playbook was killed.
  - The proxies of the environment are used (E(HTTPS_PROXY), E(NO_PROXY)), and so are the authorities in
    E(REQUESTS_CA_BUNDLE) where O(ca_path) is not given.
seealso:
  - name: Guides
    description: A desk of accounts, drift every night, a symbol that is blocked, rehearsing on your own machine.
    link: https://github.com/tradeops/ansible-collection-coinswitch/tree/main/docs/guides
  - name: Errors
    description: Each message of these modules with its cause and its remedy.
    link: https://github.com/tradeops/ansible-collection-coinswitch/blob/main/docs/errors.md
"""
