"""`make mutants FILE=...`: change a file in one place at a time and list what no test notices.

Tests are of the first tier without PostgreSQL, in children of this process. A mutant is new code for
functions that are already imported: no file is edited, and code outside of functions is unchanged.
"""

from __future__ import annotations

import ast
import gc
import os
import random
import resource
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from types import CodeType, FunctionType
from typing import cast

import coverage
import hypothesis
import pytest
from _pytest.runner import runtestprotocol

from tests.conftest import SECOND_TIER

PACKAGES = ("engine", "handlers", "review", "routing", "queue", "store", "github", "untrusted")
IMPORTED = "ignore::pytest.PytestAssertRewriteWarning"  # this module imports plugins and fixtures
STORE = Path(".mutants")  # the lines that each test runs: a file for each folder of tests
PYTEST = ("-qq", "--tb=no", "-p", "no:cacheprovider", "-k", "not postgresql", "-W", IMPORTED)
TEST_CPU_S, TEST_S = 10, 60  # a test that takes longer met an endless loop: the mutant is killed
PAIRS = (
    (ast.Lt, ast.LtE),
    (ast.Gt, ast.GtE),
    (ast.Eq, ast.NotEq),
    (ast.Is, ast.IsNot),
    (ast.In, ast.NotIn),
    (ast.And, ast.Or),
    (ast.Add, ast.Sub),
)
OTHER: dict[type[ast.AST], type[ast.AST]] = dict([*PAIRS, *(pair[::-1] for pair in PAIRS)])
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True, slots=True)
class Mutant:
    path: Path
    lines: tuple[int, int]  # of the changed expression and of its statement
    text: str  # the changed statement's first line
    code: CodeType  # of the outermost function

    def __str__(self) -> str:
        return f"{self.path}:{self.lines[0]}: {self.text}"


def find_mutants(path: Path) -> Iterator[Mutant]:
    """Yield each change of a comparison, condition, sign, constant 0, 1, True or False, returned
    value, or call that is a statement; not in errors, log lines and texts.
    """
    module = ast.parse(path.read_text(encoding="utf-8"))
    for function in _find_functions(module):
        first_line = min(each.lineno for each in (function, *function.decorator_list))
        for node, statement in _find_places(function, function):
            for _ in _change(node):
                code = compile(module, str(path.resolve()), "exec")
                changed = _find_code(code, function.name, first_line)
                text = ast.unparse(statement).partition("\n")[0]
                yield Mutant(path, (node.lineno, statement.lineno), text, changed)


def _find_functions(node: ast.AST) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function):
            yield child
        else:
            yield from _find_functions(child)


def _find_places(
    node: ast.AST, statement: ast.stmt
) -> Iterator[tuple[ast.expr | ast.stmt, ast.stmt]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Raise | ast.JoinedStr | ast.arguments) or _is_log_line(child):
            continue
        inner = child if isinstance(child, ast.stmt) else statement
        if isinstance(child, ast.expr | ast.stmt):
            yield child, inner
        yield from _find_places(child, inner)


def _is_log_line(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and ast.unparse(node).startswith(("log.", "logger."))


def _change(node: ast.AST) -> Iterator[None]:
    """Change the node in each way, one at a time; at the end it is as before."""
    match node:
        case ast.Compare(ops=operators):
            for number, operator in enumerate(list(operators)):
                operators[number] = cast(ast.cmpop, OTHER[type(operator)]())
                yield
                operators[number] = operator
        case ast.BoolOp(op=operator) | ast.BinOp(op=ast.Add() | ast.Sub() as operator):
            texts = (ast.JoinedStr, str, bytes)
            if not any(isinstance(getattr(side, "value", side), texts) for side in ast.walk(node)):
                yield from _replace(node, "op", OTHER[type(operator)]())
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            yield from _replace(node, "operand", ast.UnaryOp(ast.Not(), operand))
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp | ast.Constant):
                yield from _replace(node, "test", ast.UnaryOp(ast.Not(), test))
        case ast.Constant(value=bool() as value):
            yield from _replace(node, "value", not value)
        case ast.Constant(value=0 | 1 as value):
            yield from _replace(node, "value", 1 - value)
        case ast.Return(value=ast.expr() as value) if ast.unparse(value) != "None":
            yield from _replace(node, "value", ast.Constant(None))
        case ast.Expr(value=ast.Call()):
            yield from _replace(node, "value", ast.Constant(None))


def _replace(node: ast.AST, field: str, value: object) -> Iterator[None]:
    before = getattr(node, field)
    setattr(node, field, value)
    ast.fix_missing_locations(node)
    yield
    setattr(node, field, before)


def _find_code(code: CodeType, name: str, line: int) -> CodeType:
    found = [code]
    for each in found:
        if (each.co_name, each.co_firstlineno) == (name, line):
            return each
        found += (nested for nested in each.co_consts if isinstance(nested, CodeType))
    raise LookupError(f"no function {name} begins on line {line} of {code.co_filename}")


class Contexts:
    """A plugin of pytest: coverage stores which test runs a line."""

    def __init__(self, measurement: coverage.Coverage) -> None:
        self._measurement = measurement

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._measurement.switch_context(nodeid)


def measure(tests: Path) -> None:
    """Store the lines that each test of the folder or file runs, unless that is newer than them."""
    file = STORE / tests.name
    if file.exists() and file.stat().st_mtime > max(_times(tests)):
        return
    file.unlink(missing_ok=True)
    measurement = coverage.Coverage(str(file), config_file=False, source=["hls_handler"])
    measurement.start()
    pytest.main([*PYTEST, str(tests)], plugins=[Contexts(measurement)])
    measurement.stop()
    measurement.save()


def _times(tests: Path) -> Iterator[float]:
    yield tests.stat().st_mtime
    yield from (path.stat().st_mtime for path in tests.rglob("*.py"))


@cache
def _tests_by_line(path: Path) -> list[dict[int, list[str]]]:
    """For each folder of tests; line 0 has all tests if the file is newer than what is stored."""
    found = []
    for stored in STORE.iterdir():
        data = coverage.CoverageData(str(stored))
        data.read()
        by_line = data.contexts_by_lineno(str(path.resolve()))
        data.close()  # a warning about it would fail the first test of each child
        if path.stat().st_mtime > stored.stat().st_mtime:
            by_line = {0: [name for names in by_line.values() for name in names]}
        found.append(by_line)
    return found


def select_tests(mutant: Mutant) -> set[str]:
    """Return the tests that run the place."""
    tests: set[str] = set()
    for by_line in _tests_by_line(mutant.path):
        candidates = [by_line[line] for line in (0, *mutant.lines) if line in by_line]
        tests.update(*candidates[:1])
    return tests - {""}


class Runner:
    """A plugin of pytest: runs the selected tests for each mutant instead of all tests once."""

    def __init__(self, mutants: Sequence[tuple[Mutant, set[str]]]) -> None:
        self._mutants = mutants
        self._running: dict[int, Mutant] = {}
        self.survivors: list[Mutant] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        gc.unfreeze()
        functions = [each for each in gc.get_objects() if isinstance(each, FunctionType)]
        for mutant, names in self._mutants:
            items = [item for item in session.items if item.nodeid in names]
            items.sort(key=lambda item: item.path.parent.name != mutant.path.parent.name)
            if len(self._running) == os.cpu_count():
                self._wait()
            child = os.fork()
            if child == 0:
                _run(mutant, items, functions)
            self._running[child] = mutant
        while self._running:
            self._wait()
        return True

    def _wait(self) -> None:
        child, status = os.wait()
        mutant = self._running.pop(child)
        if status == 0:
            self.survivors.append(mutant)


def _run(mutant: Mutant, items: Sequence[pytest.Item], functions: Sequence[FunctionType]) -> None:
    """Run the tests until one fails and end this process, with status 0 if none fails."""
    status = 1
    try:
        os.setsid()  # a mutant that ends its process group ends no other child
        _install(mutant, functions)
        status = any(_fails(*each) for each in zip(items, [*items[1:], None], strict=False))
    finally:
        os._exit(status)


def _install(mutant: Mutant, functions: Sequence[FunctionType]) -> None:
    profile = hypothesis.settings(deadline=None, max_examples=30, database=None)
    hypothesis.settings.register_profile("mutants", profile)
    hypothesis.settings.load_profile("mutants")
    for function in functions:
        if _place(function.__code__) == _place(mutant.code):
            function.__code__ = mutant.code


def _fails(item: pytest.Item, following: pytest.Item | None) -> bool:
    used_s = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime)
    resource.setrlimit(resource.RLIMIT_CPU, (used_s + TEST_CPU_S, resource.RLIM_INFINITY))
    signal.alarm(TEST_S)
    reports = runtestprotocol(item, log=False, nextitem=following)
    return any(report.failed for report in reports)


def _place(code: CodeType) -> tuple[str, int, str]:
    return code.co_name, code.co_firstlineno, code.co_filename


def main(file: str, seed: str, count: str) -> None:
    """Measure the tests, run the mutants, and print those that live."""
    STORE.mkdir(exist_ok=True)
    tests = [path for path in sorted(Path("tests").iterdir()) if path.name not in SECOND_TIER]
    tests = [path for path in tests if path.is_dir() or path.name.startswith("test_")]
    with get_context("spawn").Pool(maxtasksperchild=1) as processes:
        processes.map(measure, tests, chunksize=1)
    files = [path for name in PACKAGES for path in Path("hls_handler", name).rglob("*.py")]
    if file:
        files = [Path(file)]
    mutants = [mutant for path in sorted(files) for mutant in find_mutants(path)]
    if count:
        mutants = random.Random(int(seed or 0)).sample(mutants, int(count))
    selected = [(mutant, select_tests(mutant)) for mutant in mutants]
    test_files = {name.partition("::")[0] for _, names in selected for name in names}
    runner = Runner(selected)
    pytest.main([*PYTEST, *sorted(test_files)], plugins=[runner])
    for mutant in sorted(runner.survivors, key=str):
        sys.stdout.write(f"{mutant}\n")
    sys.stdout.write(f"killed {len(mutants) - len(runner.survivors)} of {len(mutants)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
