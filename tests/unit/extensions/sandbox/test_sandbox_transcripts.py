# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quirks of a transcript become those of the sandbox. An invalid transcript is a one-line error."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from sandbox import Quirks
from sandbox.cli import main
from sandbox.transcripts import read_quirks, readings


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in readings().items() for value in values], ids=str
)
def test_every_reading_is_accepted(tmp_path: Path, name: str, value: Any) -> None:
    path = tmp_path / "transcript.json"
    path.write_text(json.dumps({"quirks": {name: value}, "responses": []}))
    assert asdict(read_quirks(path)) == {**asdict(Quirks()), name: value}


def test_every_default_is_a_reading() -> None:
    assert all(value in readings()[name] for name, value in asdict(Quirks()).items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", 'is not a transcript of the playbook api_check; it has no object "quirks"'),
        ('{"quirks": []}', 'is not a transcript of the playbook api_check; it has no object "quirks"'),
        ('{"quirks": {"mood": "bad"}}', "unknown quirk mood; the quirks are: blocked_answer, "),
        (
            '{"quirks": {"numbers": "roman"}}',
            'the quirk numbers cannot be "roman"; its readings are: "text", "number", "decimal"',
        ),
        ('{"quirks": {"refused_count": 1}}', "the quirk refused_count cannot be 1; its readings are: false, true"),
        ('{"quirks": {"numbers": ["text"]}}', 'the quirk numbers cannot be ["text"]; its readings are: '),
    ],
)
def test_invalid_transcript_is_a_one_line_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, message: str
) -> None:
    path = tmp_path / "transcript.json"
    path.write_text(content)
    assert main(["--like", str(path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"sandbox: {path}")
    assert message in line
