# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/errors.md lists each message of the code, and no other message.

A message is a string in the code that has one line and at least three words. Few other strings have so many words:
OTHER_TEXTS lists them. In the tables of the page, a message is a code span, with a word in <angle brackets> where the
code inserts a value.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
# Stands for an inserted value.
GAP = "…"

# Strings of at least three words that are not messages.
OTHER_TEXTS = {
    "reads of leverage: …, writes: at most …, rate limits: at most about … s",  # returned as `plan`
    "but rate_limit_timeout allows … s, so not everything may be done",  # the end of the plan
    # Progress.
    "reads of leverage: …, check mode writes nothing, rate limits: about … s (…)",
    "a real run: writes: at most …, rate limits: at most about … s",
    *("waits until … because of …, about … s left", "the rate limit"),
    "of … leverages … not known",  # the message of an account
    # The steps of a symbol: the values of Step.
    *("read the leverage for the first time", "read the limits of the symbol", "write the desired leverage"),
    *("pause before the next write", "read the leverage after a write", "pause before the second read back"),
    *("read what blocks the change", "do nothing more"),
    # Errors that the code always catches, and a defect whose text is never shown.
    *("The rate limit of … requires a wait", "check mode must not send"),
    # Observations of the check of the API.
    *("by another server", "different but handled", "no valid response"),
    *("created|hidden by a default", "hidden by a default", "nested by exchange", "none usable|nested by exchange"),
    # The headline of a report, and factors.
    *("Above the policy: … of", "Complies with the policy: … on", "Does not comply with the policy: … of"),
    *("Not known: … of", "above the policy when last seen and not read since", "with an open position"),
    *("above the policy when last seen but not in this run", "none above the policy"),
    "Nothing was checked",
    *("none known to be above the policy", "times the policy", "of … not reached"),
}

# The strings of these files are the text of a report.
REPORT_FILES = {"leverage_summary", "leverage_metrics"}


def find_texts(tree: ast.Module) -> set[str]:
    """Return the strings of a file that have one line, without docstrings, with a gap for each inserted value."""
    nodes = list(ast.walk(tree))
    parts = {id(value) for node in nodes if isinstance(node, ast.JoinedStr) for value in node.values}
    docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    texts = {read_text(node) for node in nodes if isinstance(node, ast.expr) and id(node) not in parts | docstrings}
    return {trim(text) for text in texts if "\n" not in text}


def read_text(node: ast.expr) -> str:
    """Return the text of a string or an f-string; nothing for other expressions."""
    if isinstance(node, ast.JoinedStr):
        return "".join(read_text(value) or GAP for value in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""


def trim(text: str) -> str:
    """Merge adjacent gaps, and remove gaps and punctuation at both ends."""
    return re.sub(f"{GAP}+", GAP, text).strip(f"{GAP}:;,. ")


def texts_in_code() -> set[str]:
    files = [file for file in sorted((ROOT / "plugins").rglob("*.py")) if file.stem not in REPORT_FILES]
    return {text for file in files for text in find_texts(ast.parse(file.read_text(encoding="utf-8")))}


def texts_in_page() -> set[str]:
    """Return the code spans of the tables that have more than one word. The others are names, such as options."""
    lines = (ROOT / "docs" / "errors.md").read_text(encoding="utf-8").splitlines()
    spans = [span for line in lines if line.startswith("| ") for span in re.findall("`([^`]+)`", line)]
    return {trim(re.sub("<[^<>]+>", GAP, span)) for span in spans if len(split_words(span)) > 1}


def split_words(text: str) -> list[str]:
    return re.findall("[a-z]{2,}", text) if " " in text.strip() else []


def test_each_message_is_in_the_page() -> None:
    messages = {text for text in texts_in_code() if len(split_words(text)) >= 3}
    assert len(messages) > 50
    unexplained = sorted(messages - texts_in_page() - OTHER_TEXTS)
    assert not unexplained, (
        "docs/errors.md has no code span with one of these texts. Add a row or correct one, with <words> for inserted "
        f"values. Or add the text to OTHER_TEXTS in this test if it is not a message: {unexplained}"
    )


def test_page_has_no_other_message() -> None:
    not_in_code = sorted((texts_in_page() | OTHER_TEXTS) - texts_in_code())
    assert not not_in_code, (
        "docs/errors.md, or OTHER_TEXTS in this test, has texts that are not in plugins/. Correct or remove them: "
        f"{not_in_code}"
    )
