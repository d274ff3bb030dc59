"""Finds the task that printed a line of a log, and takes off the prefix in which a task runner names it.

    packages/api test: AssertionError [ERR_ASSERTION]: 3 !== 4         pnpm
    web:build: src/price.ts(3,7): error TS2322: ...                    turbo
    tests-1  | django.db.utils.ProgrammingError: ...                   docker compose
    [api] TypeError: Cannot read properties of undefined               concurrently, kubectl, yarn
    #12 4.567 [api] TypeError: ...                                     docker build, around another runner

Many tools write such beginnings themselves ("Expected: 90"), so a form of prefix counts only if it recurs with the same
name. A name without a path ("api: ", as lerna and tox write it) must recur itself, and separates no tasks.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from hls_handler.ci.log_lines import RawLine

LOOKAHEAD_LINES = 200
MIN_RECURRENCES = 3
MAX_NAMES = 1_000  # names that are counted, for each form
MAX_NESTED = 4  # "#12 4.567 09:14:31 [api] packages/api test: "

_WORD = r"[\w@+.#/~-]{1,60}+"
_NAME = rf"{_WORD}(?::{_WORD}){{0,4}}"
PREFIX = re.compile(
    rf"""
    \#(?P<build>[0-9]{{1,4}})\ (?:[0-9]{{1,6}}\.[0-9]{{1,4}}(?:\ |$))?
  | \[?(?:[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}[T ])?(?P<time>)[0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}(?:[.,][0-9]{{1,9}})?
    (?:Z|[+-][0-9]{{2}}:?[0-9]{{2}})?\]?(?:\ |$)
  | \[\ {{0,20}}(?=[0-9]{{1,3}}\ {{0,20}}\]|[^\]]{{0,100}}[A-Za-z])
    (?P<bracket>{_NAME}(?:\ {_NAME}){{0,2}})[\ \t]{{0,60}}\]
    :?(?:\ {{0,8}}\|)?(?:\ |$)
  | \ {{0,40}}(?![0-9]{{1,9}}\ )(?P<bar>{_NAME}(?:\ {_NAME})?)(?:\ {{1,60}}[|│┃](?:\ |$)|\t)
  | (?!/|\./|\S{{0,99}}:[0-9])(?P<path>\.{{1,2}}\ {_NAME}|(?=[^\s:]{{1,60}}[/@\#:]\S|@){_NAME}(?:\ {_NAME})?):(?:\ |$)
  | (?:➤\ )?(?!\S{{0,99}}:[0-9])(?P<word>{_NAME}(?:\ {_NAME})?):[ ]
    """,
    re.VERBOSE,
)
"""The group that matches is named after the form of the prefix; its text is the name of the task, "" for a time."""

NO_TASK = re.compile(
    r"err|error|wrn|warn|warning|inf|info|dbg|debug|trace|notice|note|ftl|fatal|crit|critical|severe|verbose|log|hint"
    r"|help|stderr|stdout|fail|failed|failure|pass|passed|ok|skip|skipped|run|done|success|exception|[a-z]",
    re.IGNORECASE,
)
"""Matches levels and results, which tools write where task runners write names."""


@dataclass(slots=True)
class TaskLine:
    line: RawLine
    texts: tuple[str, ...]  # the text without prefixes; before it, texts with a prefix that may be the tool's own
    task: str  # "" if no task is known


_Prefix = tuple[str, str, int]  # form, name of the task, position of its end


def split_tasks(lines: Iterable[RawLine]) -> Iterator[TaskLine]:
    """Yield the lines in order, without task prefixes. A prefix must recur before a line or in the lines after it."""
    ahead: deque[tuple[RawLine, Sequence[_Prefix]]] = deque()
    counts = _PrefixCounts()
    for line in lines:
        prefixes = () if line.mark or line.is_binary else _find_prefixes(line.text)
        for form, name, _ in prefixes:
            counts.add(form, name)
        ahead.append((line, prefixes))
        if len(ahead) > LOOKAHEAD_LINES:
            yield _split(*ahead.popleft(), counts)
    while ahead:
        yield _split(*ahead.popleft(), counts)


class _PrefixCounts:
    def __init__(self) -> None:
        self._counts: dict[str, Counter[str]] = defaultdict(Counter)
        self._recurring = {"build"}  # no other tool writes this form

    def add(self, form: str, name: str) -> None:
        counts = self._counts[form]
        if name not in counts and len(counts) >= MAX_NAMES:
            return
        counts[name] += 1
        if counts[name] >= MIN_RECURRENCES:
            self._recurring.add(form)

    def is_prefix(self, form: str, name: str) -> bool:
        if form == "word":
            return self._counts[form][name] >= MIN_RECURRENCES
        return form in self._recurring and name in self._counts[form]


def _find_prefixes(text: str) -> Sequence[_Prefix]:
    prefixes: list[_Prefix] = []
    found = PREFIX.match(text)
    while found is not None and len(prefixes) < MAX_NESTED:
        form = found.lastgroup or ""
        if NO_TASK.fullmatch(found[form]):
            break
        prefixes.append((form, found[form], found.end()))
        found = PREFIX.match(text, found.end())
    return prefixes


def _split(line: RawLine, prefixes: Sequence[_Prefix], counts: _PrefixCounts) -> TaskLine:
    if not prefixes:
        return TaskLine(line, (line.text,), "")
    texts, task = [line.text], ""
    for form, name, end in prefixes:
        if not counts.is_prefix(form, name):
            break
        if form == "word":
            texts.append(line.text[end:])
            continue
        texts[-1] = line.text[end:]
        if form != "time":
            task += f"{name} "
    return TaskLine(line, tuple(texts), task)
