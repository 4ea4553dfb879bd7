# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lookup returns a list of reports, one for each path."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.tradeops.coinswitch.plugins.filter.leverage_report import leverage_report
from ansible_collections.tradeops.coinswitch.plugins.lookup.leverage_history import LookupModule

# --- LookupModule.run ---


def test_lookup_returns_one_report_for_each_path(tmp_path: Path) -> None:
    report = leverage_report({}, time="2026-11-22T02:00:00Z", previous={})
    (tmp_path / "report.json").write_text(json.dumps(report))
    paths = [tmp_path / "report.json", tmp_path / "none.json"]
    assert LookupModule().run([str(path) for path in paths], warn=False) == [report, {}]
    text, empty = LookupModule().run([str(path) for path in paths], warn=False, text=True)
    assert (json.loads(text), empty) == (report, " {}")
