"""`make mutants FILE=...` lists the changes of a file that no test notices."""

from __future__ import annotations

import ast
import gc
import os
import random
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from types import CodeType, FunctionType

import pytest
from _pytest.runner import runtestprotocol
from coverage import CoverageData

SOME = (ast.Lt, ast.Gt, ast.Eq, ast.Is, ast.In, ast.And, ast.Add)
OTHERS = (ast.LtE, ast.GtE, ast.NotEq, ast.IsNot, ast.NotIn, ast.Or, ast.Sub)
find_place = attrgetter("co_filename", "co_firstlineno", "co_qualname")  # of a code object
EXCHANGED = dict(zip(SOME + OTHERS, OTHERS + SOME, strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class Mutant:
    path: Path
    module: ast.Module
    node: ast.expr | ast.stmt
    field: str  # of the node
    value: object  # of the field in the mutant

    def __str__(self) -> str:
        changed = type(self.node)(**{**vars(self.node), self.field: self.value})
        before, after = (ast.unparse(node).split("\n")[0] for node in (self.node, changed))
        return f"{self.path}:{self.node.lineno}: {before} -> {after}"

    def install(self, functions: Sequence[FunctionType]) -> None:
        """Give the functions of this process the changed code: no file is edited."""
        setattr(self.node, self.field, self.value)
        ast.fix_missing_locations(self.module)
        codes = [compile(self.module, str(self.path.resolve()), "exec")]
        for code in codes:
            codes += [nested for nested in code.co_consts if isinstance(nested, CodeType)]
        by_place = {find_place(code): code for code in codes}
        for function in functions:
            code = by_place.get(find_place(function.__code__), function.__code__)
            if code.co_freevars == function.__code__.co_freevars:
                function.__code__ = code


def find_mutants(path: Path) -> Iterator[Mutant]:
    module = ast.parse(path.read_text(encoding="utf-8"))
    for node in _find_nodes(module):
        for name, value in _list_changes(node):
            yield Mutant(path, module, node, name, value)


def _find_nodes(node: ast.AST, *, is_inside: bool = False) -> Iterator[ast.expr | ast.stmt]:
    """Yield the nodes in functions, but not in errors, log lines, texts and parameters."""
    for child in ast.iter_child_nodes(node):
        is_log = isinstance(child, ast.Expr) and ast.unparse(child).startswith("log.")
        if is_log or isinstance(child, ast.Raise | ast.JoinedStr | ast.arguments):
            continue
        if is_inside and isinstance(child, ast.expr | ast.stmt):
            yield child
        is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
        yield from _find_nodes(child, is_inside=is_inside or is_function)


def _list_changes(node: ast.AST) -> Iterator[tuple[str, object]]:
    """Yield the field and value of another operator, condition, 0, 1, boolean, result or call."""
    match node:
        case ast.Compare(ops=[operator, *operators]):
            yield "ops", [EXCHANGED[type(operator)](), *operators]
        case ast.BoolOp(op=operator) | ast.BinOp(op=ast.Add() | ast.Sub() as operator):
            if "'" not in ast.unparse(node):  # no text
                yield "op", EXCHANGED[type(operator)]()
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield "operand", ast.UnaryOp(ast.Not(), operand)
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
                yield "test", ast.UnaryOp(ast.Not(), test)
        case ast.Constant(value=int() as value) if value in (0, 1):
            yield "value", value ^ True
        case ast.Return(value=ast.expr() as value) | ast.Expr(value=ast.Call() as value):
            if not isinstance(value, ast.Constant):
                yield "value", ast.Constant(None)


def select_tests(mutant: Mutant, measured: CoverageData, measured_at: float) -> set[str]:
    """Return the tests that ran the line; those that ran the file if it has changed since."""
    by_line = measured.contexts_by_lineno(str(mutant.path.resolve()))
    names = by_line.get(mutant.node.lineno, [])
    if not names or mutant.path.stat().st_mtime > measured_at:
        names = [*set().union(*by_line.values())]
    return {name.rpartition("|")[0] for name in names}


@dataclass(eq=False)
class Runner:
    """A plugin of pytest: runs for each mutant the given tests, and those that are new."""

    mutants: Sequence[tuple[Mutant, set[str]]]
    measured_at: float
    killed: set[Mutant] = field(default_factory=set)

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        gc.unfreeze()
        functions = [each for each in gc.get_objects() if isinstance(each, FunctionType)]
        new = {item for item in session.items if item.path.stat().st_mtime > self.measured_at}
        for mutant, tests in self.mutants:
            items = [item for item in session.items if item.nodeid in tests or item in new]
            items.sort(key=lambda item: item.path.parent.name != mutant.path.parent.name)
            child = os.fork()
            if child == 0:
                try:
                    mutant.install(functions)
                    os._exit(any(map(_fails, items, [*items[1:], None])))
                finally:
                    os._exit(1)
            if os.waitpid(child, 0)[1] != 0:
                self.killed.add(mutant)
        return True


def _fails(item: pytest.Item, following: pytest.Item | None) -> bool:
    signal.alarm(60)  # ends this process in an endless loop
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))


def main(seed: str, count: str, *files: str) -> None:
    if not files:
        sys.exit("FILE names no Python file or folder; example: FILE=hls_handler/review/ledger.py")
    mutants = [mutant for file in sorted(files) for mutant in find_mutants(Path(file))]
    mutants = random.Random(seed).sample(mutants, int(count or len(mutants)))
    data = CoverageData(".mutants")  # which tests run which line
    data.read()
    at = Path(".mutants").stat().st_mtime
    runner = Runner([(mutant, select_tests(mutant, data, at)) for mutant in mutants], at)
    data.close()  # a warning about it would fail the first test of each child
    pytest.main(["-qq", "-m", "not full and not smoke", "-k", "not postgresql"], plugins=[runner])
    sys.stdout.writelines(f"{mutant}\n" for mutant in mutants if mutant not in runner.killed)
    sys.stdout.write(f"killed {len(runner.killed)} of {len(mutants)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
