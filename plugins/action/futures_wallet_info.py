# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the module `futures_wallet_info` in Ansible's own worker process where that is safe."""

from __future__ import annotations

from ansible_collections.tradeops.coinswitch.plugins.modules.futures_wallet_info import DEFINITION
from ansible_collections.tradeops.coinswitch.plugins.plugin_utils._direct.action import DirectAction


class ActionModule(DirectAction):
    """The name that Ansible looks for."""

    definition = DEFINITION
