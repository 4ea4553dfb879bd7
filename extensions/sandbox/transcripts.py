# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quirks that a transcript of the playbook `first_contact` names: the sandbox can then answer in the same ways."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from .quirks import Quirks


def read_quirks(path: Path) -> Quirks:
    """The quirks of a transcript. What it does not name keeps its default. OSError or ValueError, of one line."""
    try:
        transcript = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not JSON") from error
    named = transcript.get("quirks") if isinstance(transcript, dict) else None
    if not isinstance(named, dict):
        raise ValueError(f"{path} is not a transcript of the playbook first_contact: it has no quirks")
    try:
        return Quirks(**{name: _reading(name, value) for name, value in named.items()})
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def readings() -> dict[str, tuple[Any, ...]]:
    """The possible values of each quirk."""
    hints = get_type_hints(Quirks)
    return {field.name: _choices(hints[field.name]) for field in fields(Quirks)}


_NONE = type(None)


def _choices(hint: Any) -> tuple[Any, ...]:
    """The values of a bool, of a Literal, or of a Literal or None."""
    if hint is bool:
        return (False, True)
    if hint is _NONE:
        return (None,)
    return tuple(value for part in get_args(hint) for value in (_choices(part) if _is_type(part) else (part,)))


def _is_type(part: Any) -> bool:
    return not isinstance(part, str)


def _reading(name: str, value: Any) -> Any:
    possible = readings().get(name)
    if possible is None:
        raise ValueError(f"the sandbox knows no quirk {name}")
    if not any(value == choice and type(value) is type(choice) for choice in possible):
        raise ValueError(f"{value!r} is not one of the readings of {name}: {', '.join(map(repr, possible))}")
    return value
