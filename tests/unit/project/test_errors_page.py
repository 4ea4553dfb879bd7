# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/errors.md names every message of the code, and none that is gone.

A message is a text in the code, on one line and of three words or more: no other text there has so many. It stands in
the page's tables as a code span, with a word in <angle brackets> where the code inserts something.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
GAP = "…"

# Texts of three words that are no messages.
OTHERS = {
    "reads of leverage: …, writes: at most …, rate limits: at most about … s",  # returned as `plan`
    "symbols to read, at most … to write, at most about … s",  # progress
    "read … of …, …, about … s left",
    # What the first-contact check observed.
    *("by another server", "data is a list", "data is null", "different but handled", "nested too deeply"),
    *("no clear answer", "upper case alone"),
    # The headline of a report.
    *("Above policy: … of", "Not in policy: … on … of", "none above policy", "none known to be above policy"),
    "with an open position",
}

# Their texts are the report itself.
REPORTS = {"leverage_summary", "leverage_metrics"}


def texts(tree: ast.Module) -> set[str]:
    """The one-line texts of a file, but for docstrings, with a gap where something is inserted."""
    nodes = list(ast.walk(tree))
    parts = {id(value) for node in nodes if isinstance(node, ast.JoinedStr) for value in node.values}
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    found = {text_of(node) for node in nodes if isinstance(node, ast.expr) and id(node) not in parts | docstrings}
    return {trimmed(text) for text in found if "\n" not in text}


def text_of(node: ast.expr) -> str:
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value) or GAP for value in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def trimmed(text: str) -> str:
    """The text without what is inserted at its ends, and with neighbouring gaps as one."""
    return re.sub(f"{GAP}+", GAP, text).strip(f"{GAP}:;,. ")


def in_code() -> set[str]:
    files = [file for file in sorted((ROOT / "plugins").rglob("*.py")) if file.stem not in REPORTS]
    return {text for file in files for text in texts(ast.parse(file.read_text(encoding="utf-8")))}


def in_page() -> set[str]:
    """The code spans of the tables that hold more than one word: those of one are names of options and the like."""
    lines = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").splitlines()
    spans = [span for line in lines if line.startswith("| ") for span in re.findall("`([^`]+)`", line)]
    return {trimmed(re.sub("<[^<>]+>", GAP, span)) for span in spans if len(words(span)) > 1}


def words(text: str) -> list[str]:
    return re.findall("[a-z]{2,}", text) if " " in text.strip() else []


def test_every_message_is_in_the_page() -> None:
    messages = {text for text in in_code() if len(words(text)) >= 3}
    assert len(messages) > 50
    unexplained = sorted(messages - in_page() - OTHERS)
    assert not unexplained


def test_the_page_names_no_message_that_is_gone() -> None:
    gone = sorted((in_page() | OTHERS) - in_code())
    assert not gone
