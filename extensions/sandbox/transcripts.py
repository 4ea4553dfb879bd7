# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads quirks from a transcript of the playbook `api_check`, so that the sandbox answers as that exchange did."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

from .quirks import Quirks


def read_quirks(path: Path) -> Quirks:
    """Return the quirks of a transcript. A quirk that the transcript does not name keeps its default.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is not a transcript. The message is one line.
    """
    try:
        transcript = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON; use the transcript that the playbook api_check wrote") from error
    quirks = transcript.get("quirks") if isinstance(transcript, dict) else None
    if not isinstance(quirks, dict):
        raise ValueError(f'{path} is not a transcript of the playbook api_check; it has no object "quirks"')
    try:
        return Quirks(**{name: _check_reading(name, value) for name, value in quirks.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def parse_quirks(text: str, quirks: Quirks) -> Quirks:
    """Return quirks with the readings of a text such as `numbers=number,refused_count=true`. Raises ValueError."""
    words = {"false": False, "true": True, "null": None}
    pairs = [pair.partition("=") for pair in text.split(",")]
    return replace(quirks, **{name: _check_reading(name, words.get(word, word)) for name, _sign, word in pairs})


def readings() -> dict[str, tuple[Any, ...]]:
    """Return the possible values of each quirk: those of its Literal, or of bool."""
    return {name: get_args(hint) or (False, True) for name, hint in get_type_hints(Quirks).items()}


def _check_reading(name: str, value: Any) -> Any:
    all_readings = readings()
    if name not in all_readings:
        raise ValueError(f"unknown quirk {name}; the quirks are: {', '.join(all_readings)}")
    allowed = all_readings[name]
    # The types are compared, too, since 1 == True.
    if not any(value == reading and type(value) is type(reading) for reading in allowed):
        raise ValueError(
            f"the quirk {name} cannot be {json.dumps(value)}; its readings are: {', '.join(map(json.dumps, allowed))}"
        )
    return value
