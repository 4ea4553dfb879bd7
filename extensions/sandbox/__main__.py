# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`python3 extensions/sandbox`: the folder is run as a program, and imported as the package that it is."""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    try:
        from sandbox.cli import main
    except ModuleNotFoundError as missing:
        sys.exit(f"sandbox: {missing}: run it with the Python that runs Ansible")
    sys.exit(main())
