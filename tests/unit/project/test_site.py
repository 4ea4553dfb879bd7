# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation site lists all plugins and roles."""

from __future__ import annotations

import re
from pathlib import Path

from .names import compare_names

ROOT = Path(__file__).resolve().parents[3]


def test_site_lists_each_plugin_and_role() -> None:
    listed = re.findall(r"<reference/(\w+)>", (ROOT / "docs" / "site" / "index.md").read_text(encoding="utf-8"))
    expected = [
        *(f"{file.stem}_module" for file in (ROOT / "plugins" / "modules").glob("*.py")),
        *(f"{file.stem}_filter" for file in (ROOT / "plugins" / "filter").glob("*.py")),
        *(f"{file.stem}_lookup" for file in (ROOT / "plugins" / "lookup").glob("*.py")),
        *(f"{folder.name}_role" for folder in (ROOT / "roles").iterdir()),
    ]
    compare_names("docs/site/index.md", listed, ["index", "environment_variables", *expected])
    assert len(listed) == len(expected) + 2, "docs/site/index.md names a page twice"


def test_page_of_the_docsite_links_each_guide() -> None:
    """The docsite of Ansible reads only RST, so a page there links the guides of the documentation site."""
    page = (ROOT / "docs" / "docsite" / "rst" / "guides.rst").read_text(encoding="utf-8")
    linked = re.findall(r"/docs/guides/([\w-]+)\.html", page)
    guides = [file.stem for file in (ROOT / "docs" / "guides").glob("*.md")]
    compare_names("docs/docsite/rst/guides.rst", linked, guides)
    assert len(linked) == len(guides), "docs/docsite/rst/guides.rst links a guide twice"
