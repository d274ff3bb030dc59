"""Lists the names of a change, by what became of them: gone, changed, or used on an added line."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

from hls_handler.review.changed_files import is_test_file
from hls_handler.review.patches import Line, Patch
from hls_handler.review.source_text import (
    CONTROL,
    IMPORT,
    LONG_NAME,
    SHORT_NAME,
    SQL_FILES,
    TABLE_NAME,
    WORD,
    SourceText,
    code_of,
    find_definition,
    is_searched,
    list_words,
    whole,
)

MAX_NAMES = 150  # that are searched
MAX_DEPTH = 6  # blocks around a changed line whose definitions count

GONE_DEFINITION = 8.0
NEW_SIGNATURE = 8.0
IN_SIGNATURE = 7.0  # of a function whose first line did not change
IN_BODY = 5.0
GONE = 4.0
NEW = 4.0  # a function, a changed constant, or a type with a changed member
CALLED = 7.0  # by an added line: its definition
OF_TYPE = 5.0
USED = 3.0
FIELD = 10.0  # on a changed line: its other uses in its class
MOVED = 0.4  # factor of a name that a removed line had, too
IN_TEST = 0.3  # factor


RECEIVER = re.compile(r"func \((\w+) ")
ALTER_TABLE = re.compile(
    r"\s*alter\s+table\s+(?:(?:if\s+exists|only)\s+)*" + TABLE_NAME, re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Replacement:
    """Removed and added lines that follow each other, without those that only moved."""

    first: int  # line of the new file at which it is
    removed: tuple[str, ...]
    added: Mapping[int, str]

    last: int  # of its lines

    @property
    def numbers(self) -> list[int]:
        return list(self.added) or [self.first]


@dataclass(frozen=True)
class ChangedText:
    """A changed file: its text at the head commit, and the part of its patch that is shown."""

    text: SourceText
    patch: Patch

    @property
    def path(self) -> str:
        return self.text.path

    @cached_property
    def runs(self) -> tuple[Replacement, ...]:
        return tuple(_list_runs(self.patch))


@dataclass(slots=True)
class ChangedName:
    """A name on changed lines. Its weights say how much a reviewer needs the places with it."""

    text: str
    gone: float = 0.0  # a changed file does not have it any more
    changed: float = 0.0  # it is defined by changed lines, or around them
    used: float = 0.0  # 1 if an added line has it that a removed one does not have
    is_called: bool = False
    is_imported: bool = False
    modules: set[str] = field(default_factory=set)  # words of the imports of its files
    is_field: bool = False  # "self.calls": its uses are in its own file
    is_table: bool = False  # of SQL, and changed
    sources: set[str] = field(default_factory=set)  # the changed files with it
    used_in: set[str] = field(default_factory=set)
    owners: set[str] = field(default_factory=set)  # types around its changed definition

    @property
    def weight(self) -> float:
        factor = USED
        if self.is_called:
            factor = CALLED
        return max(self.gone, self.changed, self.used * factor)

    @property
    def is_common(self) -> bool:
        """True of a common word that is searched because the change imports and calls it: only for
        its definition, in a file that an import names.
        """
        return self.is_imported and not is_searched(self.text, SHORT_NAME)

    @property
    def is_searched(self) -> bool:
        if self.is_field or (self.is_imported and self.is_called):
            return len(self.text) >= SHORT_NAME
        least = LONG_NAME
        if self.changed >= NEW or self.gone >= GONE_DEFINITION:
            least = SHORT_NAME
        return is_searched(self.text, least)


def list_names(changed: Sequence[ChangedText]) -> list[ChangedName]:
    """Return the names of a change that are worth a search, the most important ones first."""
    names: dict[str, ChangedName] = {}
    for file in changed:
        reader = _FileReader(file, names)
        for run in file.runs:
            reader.add_run(run)
    searched = [name for name in names.values() if name.weight and name.is_searched]
    searched.sort(key=lambda name: (-name.weight, name.text))
    return searched[:MAX_NAMES]


def list_searched(names: Iterable[ChangedName]) -> list[str]:
    """Return the words to search: the names, and the types around their definitions."""
    words: dict[str, None] = {}
    for name in names:
        if not name.is_field:
            words |= dict.fromkeys([name.text, *sorted(name.owners)])
    return list(words)


class _FileReader:
    """Collects the names of one changed file."""

    def __init__(self, file: ChangedText, names: dict[str, ChangedName]) -> None:
        self.text = file.text
        self.path = file.path
        self.names = names
        self.added = {line.number for line in file.patch.lines if line.mark == "+"}
        self.is_test = is_test_file(file.path)
        self.factor = 1.0
        if self.is_test:
            self.factor = IN_TEST
        imports = [line for line in file.text.lines if IMPORT.match(line)]
        self.imported = set(WORD.findall("\n".join(imports))) - CONTROL
        self.fields = _make_field_pattern(file.text)

    def add_run(self, run: Replacement) -> None:
        if not run.removed and not run.added:
            return
        removed = self._list_words(run.removed)
        self._add_gone(run.removed, removed - self._list_words(run.added.values()))
        for line in run.added.values():
            if not IMPORT.match(line):
                self._add_uses(line, removed)
        for line in (*run.removed, *run.added.values()):
            self._add_fields(line)
        if not self.is_test and self.text.last:
            self._add_owners(run)
            earlier = SourceText(self.path, "\n".join(run.removed))
            for number in run.numbers:
                self._add_changed(earlier, min(number, self.text.last))

    def _list_words(self, lines: Iterable[str]) -> Set[str]:
        return {word for line in lines for word in list_words(line, self.imported)}

    def _add_gone(self, removed: Iterable[str], words: Iterable[str]) -> None:
        """Add the words that the file has no more, and what it defines no more, whatever else has
        that name.
        """
        for line in removed:
            definition = find_definition(line, self.path)
            if definition and definition.name not in self.text.defined_names:
                self._name(definition.name).gone = GONE_DEFINITION * self.factor
        for word in words:
            if not self.text.has(word):
                name = self._name(word)
                name.gone = max(name.gone, GONE * self.factor)

    def _add_uses(self, line: str, removed: Container[str]) -> None:
        code = code_of(line)
        for word in self._list_words([line]):
            name = self._name(word)
            name.used_in.add(self.path)
            if word in self.imported:
                name.is_imported = True
                name.modules |= self.imported
            call = re.search(rf"{whole(word)}\s*(?:<[\w, ]*>)?!?\(", code)
            name.is_called |= call is not None
            weight = self.factor
            is_set = re.search(rf"\.{whole(word)}\s*(\[[^]]*\]\s*)?[-+*/|]?=(?!=)", code)
            if word in removed and not is_set:
                weight *= MOVED
            name.used = max(name.used, weight)

    def _add_fields(self, line: str) -> None:
        for text in self.fields.findall(code_of(line)):
            name = self._name(text)
            name.is_field = True
            name.changed = FIELD * self.factor

    def _add_owners(self, run: Replacement) -> None:
        begins = self.text.list_begins(min(run.first, self.text.last))[:MAX_DEPTH]
        around = [self.text.find_definition(begin) for begin in begins]
        lines = [*run.removed, *run.added.values()]
        inside = [find_definition(line, self.path) for line in lines]
        types = {above.name for above in around if above and above.kind == "type"}
        for definition in (*around, *inside):
            if definition:
                self._name(definition.name).owners |= types - {definition.name}

    def _add_changed(self, earlier: SourceText, number: int) -> None:
        """Add what a changed line defines, and the function, type or constant that it is in.

        `earlier` are the removed lines.
        """
        definition = None
        if number in self.added:
            definition = self.text.find_definition(number)
            self._add_table(ALTER_TABLE.match(self.text.lines[number]))
        if definition and definition.kind == "callable":
            weight = NEW
            if earlier.has(definition.name):
                weight = NEW_SIGNATURE
            self._change(definition.name, weight)
        elif definition and definition.kind == "value" and definition.name in earlier.defined_names:
            self._change(definition.name, NEW)
        for begin in self.text.list_begins(number)[:MAX_DEPTH]:
            around = self.text.find_definition(begin)
            if around is None or around.kind == "value":
                continue
            weight = IN_BODY
            if around.kind == "type":
                weight = NEW
            elif number in self.text.list_signature(begin):
                weight = IN_SIGNATURE
            self._change(around.name, weight)
            self.names[around.name].is_table |= self.path.endswith(SQL_FILES)
            return

    def _add_table(self, match: re.Match[str] | None) -> None:
        if match:
            self._change(match[1], NEW)
            self.names[match[1]].is_table = True

    def _change(self, text: str, weight: float) -> None:
        name = self._name(text)
        name.changed = max(name.changed, weight)

    def _name(self, text: str) -> ChangedName:
        name = self.names.setdefault(text, ChangedName(text))
        name.sources.add(self.path)
        return name


def _make_field_pattern(text: SourceText) -> re.Pattern[str]:
    """Return the pattern of a field: of `self`, `this`, `@`, or the receiver of a method in Go."""
    receivers = {match[1] for match in map(RECEIVER.match, text.lines) if match}
    names = "|".join(sorted(receivers | {"self", "this", r"\$this"}))
    field_of = rf"(?<![\w$.])(?:{names})(?:\.|->)#?[A-Za-z_]\w*"
    if text.path.endswith(".rb"):
        field_of = rf"{field_of}|(?<![\w@])@{{1,2}}[a-z_]\w*"
    return re.compile(rf"(?:{field_of})\b(?!\s*\()")


def _list_runs(patch: Patch) -> Iterator[Replacement]:
    """Yield the runs of a patch, without blank lines and those that only moved or were indented."""
    removed = {_squeeze(line) for line in patch.lines if line.mark == "-"}
    added = {_squeeze(line) for line in patch.lines if line.mark == "+"}
    unread = removed & added | {""}
    for hunk in patch.hunks:
        number = next((line.number for line in hunk.lines if line.side == "RIGHT"), 1)
        for is_changed, group in groupby(hunk.lines, key=lambda line: line.mark != " "):
            run = list(group)
            first = number
            number = max([number, *(line.number + 1 for line in run if line.side == "RIGHT")])
            if not is_changed:
                continue
            new = [line for line in run if _squeeze(line) not in unread]
            yield Replacement(
                first,
                tuple(line.text for line in new if line.mark == "-"),
                {line.number: line.text for line in new if line.mark == "+"},
                max(first, number - 1),
            )


def _squeeze(line: Line) -> str:
    return " ".join(line.text.split())
