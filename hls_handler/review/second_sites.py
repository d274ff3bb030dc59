"""Finds the other places of a repository that a change depends on or affects.

They are the definitions of what changed lines use, and the calls of functions that changed. No model chooses them and
no types are inferred: a name is that of the file that the user's text names, or of the same folder; if that is not
clear, the name is left out.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal, NamedTuple

from hls_handler.review.grammars import find_grammar
from hls_handler.review.names import Named, find_named
from hls_handler.review.patches import Line, Patch, Side, number_line
from hls_handler.wording import count

MAX_NAMES = 40  # of which a review looks for other places
MAX_FILES = 60  # that are read for them
MAX_TEXT = 2_000_000  # characters of these files in all; files beyond are not parsed
MAX_CALLS = 3  # that are shown of one function
MAX_LINES = 15  # of one place

WORD = re.compile(r"[\w-]+")
SAME, NAMED, FOLDER, UNRELATED = 3, 2, 1, 0
"""Relation of a file to the file that defines a name: the same; its text names the file, or the file's folder."""

TEST_FILES = re.compile(r"(^|/)(tests?|specs?|__tests__)/|(^|/)test_[^/]*$|(_test|_spec|\.test|\.spec)\.[a-z]+$")

Kind = Literal["definition", "call"]


class Hit(NamedTuple):
    """A line of the repository with a name that was looked for."""

    path: str
    number: int  # of the line, from 1
    name: str


@dataclass(frozen=True, slots=True)
class ChangedSource:
    path: str
    text: str  # of the new file; "" if it was removed
    patch: Patch
    shown: Patch  # the part of it that a review shows


@dataclass(frozen=True, slots=True)
class SecondSite:
    """Lines outside of the patches: a definition, or a call."""

    kind: Kind
    name: str  # of the function, class, constant or field
    path: str
    line: int  # of the definition's beginning or of the call
    text: str  # numbered lines as in a patch, at most `MAX_LINES`
    sources: tuple[str, ...]  # paths of the changed files that it belongs to
    calls: int = 0  # number of calls in the repository outside of the patches
    files: int = 0  # number of files with these calls


class _Name(NamedTuple):
    text: str
    family: str  # of languages


@dataclass(slots=True)
class _Wanted:
    """The numbers of changed lines that a name to look for belongs to, by path."""

    called: Counter[str] = field(default_factory=Counter)
    plain: Counter[str] = field(default_factory=Counter)  # used, also if it is called
    member: Counter[str] = field(default_factory=Counter)  # used behind a dot
    changed: Counter[str] = field(default_factory=Counter)

    @property
    def rank(self) -> tuple[int, int]:
        return -self.called.total() - self.changed.total(), -self.plain.total() - self.member.total()


def find_second_sites(
    changed: Sequence[ChangedSource],
    search: Callable[[Collection[str]], Sequence[Hit]],
    read: Callable[[Collection[str]], Mapping[str, str]],
) -> tuple[SecondSite, ...]:
    """Return the other places; a place that belongs to more changed lines comes first.

    `search` returns the lines of the repository, after the change, that contain a name as a word. It may leave out a
    name that is too frequent. `read` returns the texts of files; it may leave out a file that is too long or no text.
    """
    wanted = _list_wanted(changed)
    names = sorted(wanted, key=lambda name: (wanted[name].rank, name))[:MAX_NAMES]
    hits: dict[_Name, dict[str, set[int]]] = {name: {} for name in names}  # rows by path
    for hit in search({name.text for name in names}) if names else ():
        name = _Name(hit.name, _family(hit.path) or "")
        if name in hits:
            hits[name].setdefault(hit.path, set()).add(hit.number - 1)
    texts = {source.path: source.text for source in changed}
    new: set[str] = set()
    rows: dict[str, set[int]] = {}  # of all names, by path
    for name in names:
        if len(new | hits[name].keys() - texts.keys()) > MAX_FILES:
            hits[name] = {}
        new |= hits[name].keys() - texts.keys()
        for path, of_name in hits[name].items():
            rows.setdefault(path, set()).update(of_name)
    found_texts = read(new) if new else {}
    left = MAX_TEXT
    for path in [path for path in rows if path not in texts]:
        texts[path] = found_texts.get(path, "") if left > 0 else ""
        left -= len(texts[path])
    found = {path: find_named(texts[path], path, rows[path]) for path in sorted(rows)}
    shown = {source.path: {line.number for line in _lines(source.shown, "RIGHT")} for source in changed}
    files = _Files(texts, shown)
    sites: list[SecondSite] = []
    for name in names:
        places = [(path, one) for path in found if path in hits[name] for one in found[path] if one.name == name.text]
        for site in _choose(wanted[name], places, files):
            if not any(site.path == other.path and site.text in other.text for other in sites):
                sites.append(site)
    return tuple(sites)


def _family(path: str) -> str | None:
    grammar = find_grammar(path)
    return None if grammar is None else grammar.family or grammar.module


def _list_wanted(changed: Sequence[ChangedSource]) -> dict[_Name, _Wanted]:
    """Return the names that changed lines use, and of the functions and classes that they belong to."""
    wanted: dict[_Name, _Wanted] = {}
    for source in changed:
        family = _family(source.path)
        if family is None:
            continue
        before = _text_before(source)
        added = {line.number - 1 for line in _lines(source.shown, "RIGHT") if line.mark == "+"}
        removed = {line.number - 1 for line in _lines(source.shown, "LEFT")}
        for text, rows in ((source.text, added), (before, removed)):
            named = find_named(text, source.path, rows)
            for one in named if text is source.text and not is_test_file(source.path) else ():
                if one.kind in ("call", "plain", "member"):
                    use = wanted.setdefault(_Name(one.name, family), _Wanted())
                    {"call": use.called, "plain": use.plain, "member": use.member}[one.kind][source.path] += 1
            for name in _find_innermost(named, sorted(rows)).values():
                wanted.setdefault(_Name(name, family), _Wanted()).changed[source.path] += 1
    return wanted


def _find_innermost(named: Sequence[Named], rows: Sequence[int]) -> dict[int, str]:
    """Return the name of the innermost function or class around each of the sorted rows that is in one."""
    innermost: dict[int, str] = {}
    for one in named:  # an outer one comes first
        if one.kind == "definition":
            inside = rows[bisect_left(rows, one.scope.first) : bisect_left(rows, one.scope.last + 1)]
            innermost |= dict.fromkeys(inside, one.name)
    return innermost


def _lines(patch: Patch, side: Side) -> list[Line]:
    return [line for hunk in patch.hunks for line in hunk.lines if line.side == side]


def _text_before(source: ChangedSource) -> str | None:
    """Return the text of the file before the change; None if the patch does not fit to the text."""
    new, before = source.text.split("\n"), list[str]()
    at = 0  # index of the next line of the new file
    for line in (line for hunk in source.patch.hunks for line in hunk.lines):
        unchanged = line.number - 1 - (len(before) if line.side == "LEFT" else at)
        before += new[at : at + max(unchanged, 0)]
        at += max(unchanged, 0)
        if line.side == "RIGHT":
            if at >= len(new) or new[at] != line.text:
                return None
            at += 1
        if line.mark != "+":
            before.append(line.text)
    return "\n".join([*before, *new[at:]])


@dataclass(frozen=True, slots=True)
class _Files:
    texts: Mapping[str, str]
    shown: Mapping[str, Collection[int]]  # numbers of the lines that the review shows of the patches
    _words: dict[str, frozenset[str]] = field(default_factory=dict)

    def resolve(self, path: str, definitions: Collection[str]) -> Collection[str]:
        """Return the file of `definitions` that a name in the file `path` means; all that its text names if several."""
        rated = {other: self._rate(path, other) for other in definitions}
        highest = max(rated.values(), default=UNRELATED)
        meant = [other for other in rated if rated[other] == highest]
        return meant if highest == NAMED or (highest != UNRELATED and len(meant) == 1) else ()

    def _rate(self, path: str, other: str) -> int:
        if path == other:
            return SAME
        file, words = PurePosixPath(other), self._words.get(path)
        if words is None:
            words = self._words[path] = frozenset(WORD.findall(self.texts[path]))
        if file.name.partition(".")[0] in words:
            return NAMED
        return FOLDER if file.parent == PurePosixPath(path).parent or file.parent.name in words else UNRELATED

    def is_shown(self, path: str, one: Named) -> bool:
        return one.row + 1 in self.shown.get(path, ())

    def show(
        self, kind: Kind, path: str, one: Named, sources: Iterable[str], calls: int = 0, files: int = 0
    ) -> SecondSite:
        first = one.begin
        text = _number(self.texts[path], first, min(one.scope.last, first + MAX_LINES - 1))
        line = one.row if kind == "call" else first
        return SecondSite(kind, one.name, path, line + 1, text, tuple(sources), calls, files)


def _choose(wanted: _Wanted, places: Sequence[tuple[str, Named]], files: _Files) -> Iterator[SecondSite]:
    definitions: dict[str, list[Named]] = {}
    for path, one in places:
        if one.kind in ("definition", "value"):
            known = definitions.setdefault(path, [])
            if not known or one.scope.first > known[-1].scope.last:  # not the constructor, which its class contains
                known.append(one)
    yield from _choose_definitions(wanted, definitions, files)
    if wanted.changed:
        calls = [(path, one) for path, one in places if one.kind == "call" and not files.is_shown(path, one)]
        yield from _choose_calls(wanted, calls, definitions.keys() | wanted.changed.keys(), files)


def _choose_definitions(
    wanted: _Wanted, definitions: Mapping[str, Sequence[Named]], files: _Files
) -> Iterator[SecondSite]:
    outside = {path for path, ones in definitions.items() if not all(one.is_member for one in ones)}
    users: dict[str, list[str]] = {}
    for source in wanted.called | wanted.plain | wanted.member:
        is_plain = source not in wanted.called and source not in wanted.member
        candidates = outside | (definitions.keys() & {source}) if is_plain else definitions.keys()
        meant = files.resolve(source, candidates)
        if len(meant) == 1:
            users.setdefault(next(iter(meant)), []).append(source)
    for path, sources in users.items():
        ones = definitions[path]
        if len(ones) == 1 and not files.is_shown(path, ones[0]):
            yield files.show("definition", path, ones[0], sources)


def _choose_calls(
    wanted: _Wanted, calls: Sequence[tuple[str, Named]], defined_in: Collection[str], files: _Files
) -> Iterator[SecondSite]:
    callers = {path for path in {path for path, _ in calls} if wanted.changed.keys() & files.resolve(path, defined_in)}
    meant = sorted(((path, one) for path, one in calls if path in callers), key=lambda call: is_test_file(call[0]))
    for path, one in meant[:MAX_CALLS]:
        yield files.show("call", path, one, wanted.changed, len(meant), len(callers))


def describe_sites(sites: Sequence[SecondSite]) -> str:
    """Return a text such as "4 call sites in 3 files and 1 definition"."""
    calls, definitions = ([site for site in sites if site.kind == kind] for kind in ("call", "definition"))
    files = len({site.path for site in calls})
    parts = [f"{count(len(calls), 'call site')} in {count(files, 'file')}"] if calls else []
    return " and ".join([*parts, *([count(len(definitions), "definition")] if definitions else [])])


def is_test_file(path: str) -> bool:
    return TEST_FILES.search(path.lower()) is not None


def _number(text: str, first: int, last: int) -> str:
    lines = text.split("\n")[first : last + 1]
    return "\n".join(number_line(Line("RIGHT", number, " ", line)) for number, line in enumerate(lines, first + 1))
