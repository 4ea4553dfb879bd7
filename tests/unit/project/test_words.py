# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The project uses the terms of the glossary in docs/design.md, and none of the words that they replace."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("plugins", "roles", "playbooks", "docs", "extensions", "examples", "tests", "meta")
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", "noxfile.py", "galaxy.yml")
SUFFIXES = {".py", ".md", ".yml", ".j2", ".css", ".toml", ""}

# Patterns of words that are not used, each with the replacement.
REPLACED_WORDS = {
    r"wish(es|ed)?": "desired leverage, or policy",
    r"obstacles?": "blocker",
    r"foretells?|foretold": "predict",
    r"patience": "max wait",
    r"told|tells": "returned, says, shows",
    r"as it should be": "in policy",
    r"wherein|thereof|whereof|for want of|in other clothes|save that|be it": "a plain sentence",
}
# Keys of the report in version 1.0.0, which are public, and the files that use them.
PUBLIC_KEYS = {"wish", "wishes"}
FILES_WITH_PUBLIC_KEYS = (
    "leverage_report",
    "_history",
    "leverage_page",
    "page.html.j2",
    "test_desk_playbooks",
    "test_page_in_browser",
)


def find_files() -> Iterator[Path]:
    """Yield the files of the project, without caches and without hidden folders such as .hypothesis."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            parents = path.relative_to(ROOT).parts[:-1]
            is_skipped = any(parent.startswith(".") or parent == "__pycache__" for parent in parents)
            if path.is_file() and path.suffix in SUFFIXES and not is_skipped:
                yield path
    yield from (ROOT / page for page in PAGES)


def find_replaced_words(path: Path) -> Iterator[str]:
    """Yield a message for each word of the file that should be replaced."""
    for line in path.read_text(encoding="utf-8").splitlines():
        # The glossary and this file contain the replaced words.
        if path.name == "test_words.py" or (line.startswith("| ") and path.name == "design.md"):
            continue
        for pattern, replacement in REPLACED_WORDS.items():
            for match in re.finditer(rf"\b({pattern})\b", line, re.IGNORECASE):
                is_key = match[0].lower() in PUBLIC_KEYS
                if is_key and any(name in path.name for name in FILES_WITH_PUBLIC_KEYS):
                    continue
                yield f"{path.relative_to(ROOT)}: {match[0]!r}: write {replacement}: {line.strip()[:100]}"


def test_no_replaced_word_is_used() -> None:
    messages = [message for path in find_files() for message in find_replaced_words(path)]
    assert not messages, "\n".join(messages)


@pytest.mark.parametrize("line", ["a wish", "what he foretold", "it tells", "all is as it should be"])
def test_replaced_word_is_found(tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(line)
    assert list(find_replaced_words(page))


def test_hidden_folders_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    for folder in ("unit", ".hypothesis", "__pycache__"):
        (tmp_path / "tests" / folder).mkdir(parents=True)
        (tmp_path / "tests" / folder / "test_a.py").write_text("")
    paths = [path for path in find_files() if path.suffix == ".py" and path.is_file()]
    assert paths == [tmp_path / "tests" / "unit" / "test_a.py"]
