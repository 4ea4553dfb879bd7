# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The entry of the first release in the changelog lists everything that the collection has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from .names import compare_names

ROOT = Path(__file__).resolve().parents[3]


def list_names(entries: list[dict[str, Any]]) -> list[str]:
    return [entry["name"] for entry in entries]


def test_first_release_lists_each_plugin_role_and_playbook() -> None:
    changelog = yaml.safe_load((ROOT / "changelogs" / "changelog.yaml").read_text(encoding="utf-8"))
    release = changelog["releases"]["1.0.0"]
    listed = {
        "modules": list_names(release["modules"]),
        **{kind: list_names(entries) for kind, entries in {**release["plugins"], **release["objects"]}.items()},
    }
    folders = {"modules": "plugins/modules", "filter": "plugins/filter", "lookup": "plugins/lookup", "role": "roles"}
    folders["playbook"] = "playbooks"
    existing = {
        kind: [path.stem for path in (ROOT / folder).iterdir() if path.suffix in (".py", ".yml") or kind == "role"]
        for kind, folder in folders.items()
    }
    for kind, names in existing.items():
        compare_names(
            f"{kind} in changelogs/changelog.yaml (then run antsibull-changelog generate)", listed[kind], names
        )
