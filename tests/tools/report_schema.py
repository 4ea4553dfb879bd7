# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Generate docs/leverage_report.schema.json from the documentation of the filter leverage_report.

python3 tests/tools/report_schema.py > docs/leverage_report.schema.json
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FILTER = ROOT / "plugins" / "filter" / "leverage_report.py"
SCHEMA = ROOT / "docs" / "leverage_report.schema.json"
TYPES = {"str": "string", "int": "integer", "float": "number", "bool": "boolean", "list": "array", "dict": "object"}


def generate(extra_keys: bool = True) -> dict[str, Any]:
    """Return the schema.

    Args:
        extra_keys: Whether a report can have keys that are not documented. A later release can add keys.
    """
    assignments = [node for node in ast.parse(FILTER.read_text(encoding="utf-8")).body if isinstance(node, ast.Assign)]
    (documentation,) = (
        ast.literal_eval(node.value) for node in assignments if ast.unparse(node.targets[0]) == "RETURN"
    )
    report = yaml.safe_load(documentation)["_value"]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Report on the leverage of many accounts",
        **_convert(report, extra_keys),
    }


def _convert(value: dict[str, Any], extra_keys: bool) -> dict[str, Any]:
    """Return the schema of one documented value."""
    text = " ".join([value["description"]] if isinstance(value["description"], str) else value["description"])
    is_nullable = "V(null)" in text
    schema: dict[str, Any] = {"description": text} if text else {}
    if value["type"] != "raw":
        schema["type"] = [TYPES[value["type"]], "null"] if is_nullable else TYPES[value["type"]]
    if "choices" in value:
        schema["enum"] = [*value["choices"], *([None] if is_nullable else [])]
    if value["type"] == "list":
        element = {"description": "", "type": value["elements"], "contains": value.get("contains", {})}
        schema["items"] = _convert(element, extra_keys)
    elif value.get("contains"):
        schema.update(_convert_keys(value["contains"], extra_keys))
    return schema


def _convert_keys(contains: dict[str, dict[str, Any]], extra_keys: bool) -> dict[str, Any]:
    return {
        "required": [name for name, value in contains.items() if value["returned"] == "always"],
        "properties": {name: _convert(value, extra_keys) for name, value in contains.items()},
        **({} if extra_keys else {"additionalProperties": False}),
    }


if __name__ == "__main__":
    print(json.dumps(generate(), indent=2))
