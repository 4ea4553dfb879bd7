# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The glossary in docs/design.md names one term for each concept. The words that it replaced do not come back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
FOLDERS = ("plugins", "roles", "playbooks", "docs", "extensions", "examples", "tests", "meta")
PAGES = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "Makefile", "noxfile.py", "galaxy.yml")
KINDS = {".py", ".md", ".yml", ".j2", ".css", ".toml", ""}

# Each with what to write instead.
RETIRED = {
    r"wish(es|ed)?": "desired leverage, or policy",
    r"obstacles?": "blocker",
    r"foretells?|foretold": "predict",
    r"patience": "max wait",
    r"told|tells": "returned, says, shows",
    r"as it should be": "in policy",
    r"wherein|thereof|whereof|for want of|in other clothes|save that|be it": "a plain sentence",
}
# Public names of 1.0.0: keys of the report, which the page reads.
PUBLIC = {"wish", "wishes"}
PUBLIC_IN = (
    "leverage_report",
    "_history",
    "leverage_page",
    "page.html.j2",
    "test_desk_playbooks",
    "test_page_in_browser",
)


def files() -> Iterator[Path]:
    """Yield the files of the project, without caches and without hidden folders such as .hypothesis."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            parents = path.relative_to(ROOT).parts[:-1]
            is_skipped = any(parent.startswith(".") or parent == "__pycache__" for parent in parents)
            if path.is_file() and path.suffix in KINDS and not is_skipped:
                yield path
    yield from (ROOT / page for page in PAGES)


def retired_words(path: Path) -> Iterator[str]:
    for line in path.read_text(encoding="utf-8").splitlines():
        # The glossary and this table name them.
        if path.name == "test_words.py" or (line.startswith("| ") and path.name == "design.md"):
            continue
        for pattern, instead in RETIRED.items():
            for word in re.findall(rf"\b({pattern})\b", line, re.IGNORECASE):
                found = word if isinstance(word, str) else word[0]
                if found.lower() in PUBLIC and any(name in path.name for name in PUBLIC_IN):
                    continue
                yield f"{path.relative_to(ROOT)}: {found!r}: write {instead}: {line.strip()[:100]}"


def test_no_retired_word_comes_back() -> None:
    found = [word for path in files() for word in retired_words(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("line", ["a wish", "what he foretold", "it tells", "all is as it should be"])
def test_a_retired_word_is_found(tmp_path: Path, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    page = tmp_path / "page.md"
    page.write_text(line)
    assert list(retired_words(page))


def test_hidden_folders_are_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    for folder in ("unit", ".hypothesis", "__pycache__"):
        (tmp_path / "tests" / folder).mkdir(parents=True)
        (tmp_path / "tests" / folder / "test_a.py").write_text("")
    assert [path for path in files() if path.suffix == ".py" and path.is_file()] == [tmp_path / "tests/unit/test_a.py"]
