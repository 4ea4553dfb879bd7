# Copyright (c) Contributors to the tradeops.coinswitch project
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Changes the code that judges and paces, one small thing at a time, and sees whether its own tests notice.

`make mutants`, or `python tests/tools/mutants.py _client` for one file. A change that no test notices is printed.
Nothing is written to the checkout: each mutant lives in a child process, which imports it in place of the file. Ends
with 1 where fewer than 90 % were noticed.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.abc
import importlib.util
import os
import resource
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

# What each child would else spend its time on.
for _name in (
    "ansible.module_utils.basic",
    "cryptography.hazmat.primitives.asymmetric.ed25519",
    "hypothesis",
    "requests",
):
    importlib.import_module(_name)

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests/unit/plugins/module_utils"
FILES = ("_signing", "_pacing", "_client", "_leverage")
ENOUGH = 0.9
# The tests take less. What goes round for ever or eats the memory is noticed by that.
CPU_SECONDS, SECONDS, BYTES = 30, 120, 4 << 30

PAIRS = [
    (ast.Eq, ast.NotEq),
    (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn),
    (ast.And, ast.Or),
    (ast.Add, ast.Sub),
    (ast.Mult, ast.Div),
    (ast.LShift, ast.RShift),
    (ast.BitAnd, ast.BitOr),
]
OTHERS: dict[type[ast.AST], list[type[ast.AST]]] = {
    **{one: [other] for pair in PAIRS for one, other in (pair, pair[::-1])},
    ast.Lt: [ast.LtE, ast.GtE],
    ast.LtE: [ast.Lt, ast.Gt],
    ast.Gt: [ast.GtE, ast.LtE],
    ast.GtE: [ast.Gt, ast.Lt],
    ast.Pow: [ast.Mult],
    ast.Break: [ast.Pass],
    ast.Raise: [ast.Pass],
    ast.AugAssign: [ast.Pass],
}
SUFFIXES: dict[type, Any] = {str: "?", bytes: b"?"}
NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


def others(node: ast.AST) -> Iterator[ast.AST]:
    """What could stand in the place of a node."""
    yield from (kind() for kind in OTHERS.get(type(node), ()))
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | bytes() as value):
            yield ast.Constant(other_value(value))
        case ast.Name(id=name) if name in NAMES:
            yield ast.Name(NAMES[name], ast.Load())
        case ast.UnaryOp(operand=operand):
            yield operand
        case ast.Expr(value=ast.Call()):
            yield ast.Pass()
        case ast.Return(value=ast.expr() as value) if not isinstance(value, ast.Constant):
            yield ast.Return(ast.Constant(None))
        case ast.If(test=ast.Name() | ast.Call() | ast.Attribute() as test, body=body, orelse=orelse):
            yield ast.If(ast.UnaryOp(ast.Not(), test), body, orelse)


def other_value(value: Any) -> Any:
    """Another value of the same kind."""
    if isinstance(value, bool):
        return not value
    return value + SUFFIXES.get(type(value), 1)


class Change(ast.NodeTransformer):
    """Makes the change of a number, in the order of the source; `line` is where, None where there are not so many."""

    def __init__(self, number: int) -> None:
        self.line: int | None = None
        self._left = number
        self._at = 0

    def visit(self, node: ast.AST) -> Any:
        """Change the node, or look below it."""
        self._at = getattr(node, "lineno", self._at)
        for other in others(node):
            self._left -= 1
            if self._left < 0 and self.line is None:
                self.line = self._at
                return ast.copy_location(other, node)
        return super().visit(node)

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Look below all that decides something: no import, no docstring, no annotation."""
        match node:
            case ast.Import() | ast.ImportFrom() | ast.arg() | ast.Expr(value=ast.Constant()):
                return node
            case ast.AnnAssign(value=value):
                node.value = value and self.visit(value)
                return node
            case ast.FunctionDef(returns=returns):
                node.returns = None
                super().generic_visit(node)
                node.returns = returns
                return node
        return super().generic_visit(node)


class Mutant(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """A file of module_utils with one change, imported in place of the file."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self._file = ROOT / "plugins" / "module_utils" / f"{name}.py"
        self._original, tree = (ast.parse(self._file.read_bytes()) for _copy in range(2))
        change = Change(number)
        self._tree = change.visit(tree)
        self.line = change.line

    def __str__(self) -> str:
        before, after = (ast.unparse(tree).splitlines() for tree in (self._original, self._tree))
        changed = [line for line in difflib.ndiff(before, after) if line[0] in "-+"]
        return f"{self.name}.py:{self.line}\n" + "\n".join(f"    {line}" for line in changed)

    def find_spec(self, fullname: str, *_where: Any) -> Any:
        """The way importlib asks for a module."""
        mine = fullname == f"ansible_collections.tradeops.coinswitch.plugins.module_utils.{self.name}"
        return importlib.util.spec_from_loader(fullname, self) if mine else None

    def exec_module(self, module: ModuleType) -> None:
        """The way importlib runs it."""
        exec(compile(ast.fix_missing_locations(self._tree), str(self._file), "exec"), vars(module))

    def test(self, folder: str) -> int:
        """Run the file's own tests in a child; its process id. It ends with 0 if all pass."""
        child = os.fork()
        if child:
            return child
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (BYTES, BYTES))
        signal.alarm(SECONDS)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(nowhere, stream)
        sys.meta_path.insert(0, self)
        mine = f"{folder}/{os.getpid()}"
        options = ["--exitfirst", "--assert=plain", "-o", f"cache_dir={mine}", f"--basetemp={mine}"]
        os._exit(pytest.main([*options, *map(str, TESTS.glob(f"test{self.name}*.py"))]))


def mutants(name: str) -> Iterator[Mutant]:
    """All mutants of a file."""
    number = 0
    while (mutant := Mutant(name, number)).line is not None:
        yield mutant
        number += 1


def survivors(queue: list[Mutant], folder: str) -> Iterator[Mutant]:
    """Those that pass all tests: as many are tried at once as there are processors."""
    running: dict[int, Mutant] = {}
    while queue or running:
        while queue and len(running) < (os.cpu_count() or 1):
            mutant = queue.pop(0)
            running[mutant.test(folder)] = mutant
        child, status = os.wait()
        mutant = running.pop(child)
        if status == 0:
            yield mutant


def score(name: str, folder: str) -> float:
    """Try all mutants of a file, and print those that live; which part was noticed."""
    if not list(survivors([Mutant(name, sys.maxsize)], folder)):
        sys.exit("the tests fail without any change")
    queue = list(mutants(name))
    count = left = len(queue)
    for mutant in survivors(queue, folder):
        print(mutant, flush=True)
        left -= 1
    print(f"{name}.py: {left} of {count} mutants noticed ({left / count:.1%})", flush=True)
    return left / count


if __name__ == "__main__":
    os.chdir(ROOT)
    with tempfile.TemporaryDirectory() as place:
        scores = [score(name, place) for name in sys.argv[1:] or FILES]
    sys.exit(min(scores) < ENOUGH)
