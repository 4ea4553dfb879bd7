# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A simulated exchange on loopback: the futures API of CoinSwitch PRO, with quirks and faults on demand."""

from __future__ import annotations

from .accounts import Account
from .exchange import Exchange, Request
from .faults import FAULTS, Fault
from .quirks import Quirks
from .server import Sandbox

__all__ = ["FAULTS", "Account", "Exchange", "Fault", "Quirks", "Request", "Sandbox"]
