# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation site: the pages of the repository, and the generated reference of the plugins.

`make docs` copies both into one folder, and runs Sphinx. The build downloads nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from docutils import nodes

_GALAXY = yaml.safe_load((Path(__file__).resolve().parents[2] / "galaxy.yml").read_text(encoding="utf-8"))

project = f"{_GALAXY['namespace']}.{_GALAXY['name']}"
author = "Contributors to the tradeops.coinswitch project"
project_copyright = author
version = release = _GALAXY["version"]
html_title = f"{project} {release}"

extensions = ["myst_parser", "sphinx_antsibull_ext"]
# docs/site/index.md includes the README as the first page. The reference contains the page of docs/docsite.
exclude_patterns = [".*", "LICENSES", "README.md", "changelogs", "docs/docsite", "docs/site", "plugins", "tests"]
highlight_language = "yaml"
pygments_style = "ansible"
nitpicky = True
# The reference links to the documentation of Python and Ansible. The build does not download their inventories.
intersphinx_mapping: dict[str, tuple[str, None]] = {}
suppress_warnings = ["ref.ref"]

myst_heading_anchors = 3
myst_url_schemes = ("http", "https")

html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "source_repository": _GALAXY["repository"],
    "light_css_variables": {
        "color-brand-primary": "#1d5fb4",
        "color-brand-content": "#1d5fb4",
        "color-type": "#7a2a8c",
        "color-good": "#1a6b2f",
        "color-bad": "#b3261e",
    },
    "dark_css_variables": {
        "color-brand-primary": "#7db4ff",
        "color-brand-content": "#7db4ff",
        "color-type": "#e0a3f0",
        "color-good": "#7fd494",
        "color-bad": "#ff938a",
    },
}
# static/site.css sets the colors of the option tables, for the light and the dark theme.
antsibull_ext_color_scheme = "none"

# The options of a connection are the same for all modules.
_CONNECTION_OPTIONS = {
    "api_key", "api_url", "ca_path", "exchange", "rate_limit_share", "rate_limit_timeout", "retries", "secret_key",
    "timeout", "validate_certs",
}  # fmt: skip


def _put_first_what_readers_look_for(app: Any, document: nodes.document) -> None:
    """On the page of a module, put the examples before the options, and the connection options last."""
    sections = {section["names"][0]: section for section in document.findall(nodes.section) if section["names"]}
    if "examples" not in sections or "parameters" not in sections:
        return
    parameters, examples = sections["parameters"], sections["examples"]
    parent = parameters.parent
    examples.parent.remove(examples)
    parent.insert(parent.index(parameters), examples)
    for body in parameters.findall(nodes.tbody):
        body.children.sort(key=lambda row: row.next_node(nodes.strong).astext() in _CONNECTION_OPTIONS)


def setup(app: Any) -> None:
    app.connect("doctree-read", _put_first_what_readers_look_for)
