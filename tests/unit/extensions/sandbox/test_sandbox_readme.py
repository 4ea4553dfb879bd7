# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""README.md of the sandbox has the tables of the commands, options, endpoints, faults and quirks of the code."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

import sandbox
from sandbox import Quirks
from sandbox.cli import SERVE_ARGUMENTS
from sandbox.control import COMMANDS, Argument
from sandbox.exchange import ENDPOINT_HELP
from sandbox.faults import FAULT_TABLE
from sandbox.transcripts import readings

FOLDER = Path(str(sandbox.__file__)).parent


def format_table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    headings = list(headings)
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace("| --- ", "|---").replace("---|\n", "---|\n")


def format_option(name: str, argument: Argument) -> str:
    return name if argument.is_switch else f"{name} {argument.metavar or name.lstrip('-').upper()}"


def format_usage(name: str, argument: Argument) -> str:
    if not name.startswith("-"):
        return name
    value = argument.default or argument.metavar or name.lstrip("-").upper()
    return f"[{name} {value}]"


def command_rows() -> Iterable[tuple[str, str]]:
    for name, command in COMMANDS.items():
        arguments = command.arguments.items()
        yield f"`{' '.join([name, *(format_usage(*argument) for argument in arguments)])}`", command.help


def quirk_rows() -> Iterable[tuple[str, str, str]]:
    """Return each quirk with its readings, the default first, and with its text in the docstring."""
    attributes = inspect.getdoc(Quirks) or ""
    texts = dict(re.findall(r"^    (\w+): (.+(?:\n     .+)*)", attributes, re.MULTILINE))
    assert list(texts) == list(readings())
    for name, text in texts.items():
        default = getattr(Quirks(), name)
        in_order = sorted(readings()[name], key=lambda value: value != default)
        values = [value if isinstance(value, str) else json.dumps(value) for value in in_order]
        yield f"`{name}`", ", ".join(f"`{value}`" for value in values), " ".join(text.split())


def help_rows(table: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    return ((f"`{name}`", text) for name, text in table.items())


TABLES = {
    "commands": format_table(["command", "what it does"], command_rows()),
    "options": format_table(
        ["option", "what it does"],
        ((f"`{format_option(name, argument)}`", argument.help) for name, argument in SERVE_ARGUMENTS.items()),
    ),
    "endpoints": format_table(["endpoint", "requests"], help_rows(ENDPOINT_HELP)),
    **{
        heading: format_table([heading, "what happens"], help_rows({name: row[1] for name, row in rows.items()}))
        for heading, rows in FAULT_TABLE.items()
    },
    "quirks": format_table(["quirk", "readings", "question"], quirk_rows()),
}


@pytest.mark.parametrize("name", TABLES)
def test_readme_has_the_table_of_the_code(name: str) -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert TABLES[name] in readme, f"extensions/sandbox/README.md lacks this table of {name}:\n{TABLES[name]}"


def test_readme_starts_the_sandbox_of_an_installed_collection() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    first = next(line for line in readme.splitlines() if line.startswith("$ "))
    assert first.startswith(
        "$ python3 ~/.ansible/collections/ansible_collections/tradeops/coinswitch/extensions/sandbox "
    )
    assert "$ python3 extensions/sandbox" not in readme


def test_table_has_a_line_for_each_row() -> None:
    assert format_table(["a", "b"], [["1", "2"]]) == "| a | b |\n|---|---|\n| 1 | 2 |\n"
    assert TABLES["commands"].count("\n") == 2 + len(COMMANDS)
