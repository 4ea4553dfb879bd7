# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The attributes of all modules, documented once."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as `tradeops.coinswitch.attributes`."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode). Predicts what would change, and changes nothing.
  diff_mode:
    description: Returns in diff mode what changed, or what would change in C(check_mode).
  idempotent:
    description: A second run with the same options changes nothing.
"""

    # Beside the standard fragment, for a module that only reads.
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
    description: Use C(group/tradeops.coinswitch.coinswitch) in C(module_defaults) to set the connection once.
    support: full
    membership:
      - tradeops.coinswitch.coinswitch
"""
