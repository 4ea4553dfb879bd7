# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the sandbox with `python3 extensions/sandbox`."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts this folder on the path. The package `sandbox` is found only from its parent folder.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    try:
        from sandbox.cli import main
    except ModuleNotFoundError as missing:
        sys.exit(f"sandbox: {missing}; use the Python that runs Ansible (`ansible --version` shows its path)")
    sys.exit(main())
