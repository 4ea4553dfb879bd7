# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all modules can do, documented once."""

from __future__ import annotations


class ModuleDocFragment:
    """Used as `tradeops.coinswitch.attributes`."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
  diff_mode:
    description: Returns details on what has changed (or possibly needs changing in C(check_mode)), when in diff mode.
  idempotent:
    description: When run twice in a row with the same arguments, the second run changes nothing.
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
