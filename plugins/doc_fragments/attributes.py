# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of the attributes, shared by all modules."""

from __future__ import annotations


class ModuleDocFragment:
    """The fragment `tradeops.coinswitch.attributes`."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode), and predicts what would change without changing anything.
  diff_mode:
    description: Returns what has changed (or, in C(check_mode), what would change) when in diff mode.
  idempotent:
    description: If you run it again with the same options, nothing changes.
"""

    # An addition to the standard fragment, for modules that only read.
    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    support: full
    details:
      - This module changes nothing.
  diff_mode:
    support: N/A
    details:
      - This module changes nothing.
  idempotent:
    support: full
    details:
      - This module changes nothing. It returns the current state.
"""

    ACTIONGROUP_COINSWITCH = r"""
options: {}
attributes:
  action_group:
    description: Use C(group/tradeops.coinswitch.coinswitch) in C(module_defaults) to set options of all modules.
    support: full
    membership:
      - tradeops.coinswitch.coinswitch
"""
