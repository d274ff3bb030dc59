"""Finds the other places of a repository that a change depends on or affects.

They are the definitions of what the lines of hunks use, the calls of functions that changed, and
the lines that still have a word which the change took away. No model chooses them and no types are
inferred: a name is that of the file that the user's text names, or of the same folder, unless that
text says that it is another's; if that is not clear, the name is left out.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal, NamedTuple, Protocol

from hls_handler.git.mirror import Hit
from hls_handler.review.builtin_methods import BUILTIN_METHODS, BUILTIN_NAMES
from hls_handler.review.file_kinds import is_documentation, is_test_file
from hls_handler.review.grammars import GRAMMARS
from hls_handler.review.names import MAX_CHARACTERS, Named, find_named
from hls_handler.review.patches import Line, number_line, parse_numbered
from hls_handler.review.wanted_names import (
    WORD,
    ChangedSource,
    Gone,
    Name,
    Use,
    Wanted,
    WantedNames,
    by_path,
    find_family,
    is_in_text,
    lines_of,
    list_wanted,
)
from hls_handler.wording import count

MAX_CANDIDATES = 200  # names of which a definition is searched
MAX_NAMES = 40  # with a definition in the repository, of which a review shows places
MAX_RELATED = 400  # files that are searched for definitions
MAX_FILES = 60  # that are read for definitions, and as many for calls and words
MAX_ROWS_OF_NAME = 300  # with one name in one file
MAX_FILES_OF_NAME = 12  # that are read for the calls of one name
MAX_TEXT = 4_000_000  # characters of these files in all; files beyond are not parsed
MAX_CALLS = 3  # that are shown of one function
MAX_MORE_CALLS = 8  # if there is room
MAX_GONE = 20  # words that the change took away
MAX_GONE_FILES = 20  # with such a word; a more frequent one is left out
MAX_GONE_LINES = 3  # that are shown of one
MAX_OVERLOADS = 6
MAX_LINES = 15  # of one place
MAX_PARSE_S = 30.0  # for all files, which take a second
LINES_AROUND = 3  # of a call or another use
LINES_AFTER = 8  # of a call, which use its result

PART = re.compile(r"[^\W_]+")

SAME = 3
NAMED = 2
FOLDER = 1
UNRELATED = 0
"""Relation of a file to the file that defines a name: the same; its text names the file, or the
file's folder.
"""

IMPLICIT = {"tree_sitter_java", "tree_sitter_c_sharp", "c"}
"""Families of languages in which a method is called without its object."""

Kind = Literal["definition", "call", "use"]


class SearchedFiles(Protocol):
    """The files of the repository after the change."""

    def list_files(self, extensions: Collection[str]) -> Collection[str]:
        """Return the paths of the files with one of the extensions."""

    def find_words(
        self, words: Collection[str], paths: Collection[str] | None = None
    ) -> Sequence[Hit]:
        """Return the lines with one of the words, in these files or in all.

        It may leave out a word that is too frequent.
        """

    def texts(self, paths: Collection[str]) -> Mapping[str, str]:
        """Return the texts of files. It may leave out a file that is too long or no text."""


@dataclass(frozen=True, slots=True)
class SecondSite:
    """Lines outside of the patches: a definition, a call, or another use of a word that the change
    took away.
    """

    kind: Kind
    name: str  # of the function, class, constant or field
    path: str
    line: int  # of the definition's beginning, of the call or of the use
    text: str  # numbered lines as in a patch, at most `MAX_LINES`
    sources: tuple[str, ...]  # paths of the changed files that it belongs to
    calls: int = 0  # number of calls that were found outside of the patches
    files: int = 0  # number of files with these calls


@dataclass(frozen=True, slots=True)
class SecondSites:
    """The other places, the most important ones first."""

    main: tuple[SecondSite, ...] = ()
    further: tuple[SecondSite, ...] = ()
    """Definitions of names on lines that did not change or were removed, and more calls of one
    function.
    """


def find_second_sites(
    changed: Sequence[ChangedSource],
    files: SearchedFiles,
    clock: Callable[[], float] = time.monotonic,
) -> SecondSites:
    """Return the other places. After `MAX_PARSE_S` of `clock`, which returns seconds, no more files
    are parsed.
    """
    wanted = list_wanted(changed)
    finder = _Finder(changed, wanted, files, clock)
    finder.read_definitions()
    finder.read_uses()
    finder.choose()
    main = _leave_out_inner(finder.main, [])
    return SecondSites(tuple(main), tuple(_leave_out_inner(finder.further, main)))


def _leave_out_inner(sites: Sequence[SecondSite], shown: Sequence[SecondSite]) -> list[SecondSite]:
    """Return the sites that are not a part of an earlier one, and whose line no earlier one
    shows.
    """
    left: list[SecondSite] = []
    for site in sites:
        same_file = [other for other in (*shown, *left) if other.path == site.path]
        is_inner = any(site.text in other.text for other in same_file)
        is_seen = site.kind != "definition" and any(site.line in _numbers(one) for one in same_file)
        if not is_inner and not is_seen:
            left.append(site)
    return left


def _numbers(site: SecondSite) -> set[int]:
    """Return the numbers of the lines that a site shows."""
    return {line.number for line in parse_numbered(f"@@ -1 +1 @@\n{site.text}").lines}


class _Definition(NamedTuple):
    path: str
    named: Named

    def count_shared(self, use: Named) -> int:
        """Return how many words of the receiver's type name the class, the file or its folders."""
        own = _list_places(self.path).union(self.named.owners)
        return max((len(own.intersection(words)) for words in use.said), default=0)


@dataclass(slots=True)
class _Repository:
    """The files of the repository that were read, and the names in them."""

    texts: dict[str, str]
    # numbers of the lines that the review shows of changed files
    shown: Mapping[str, Collection[int]]
    words: dict[str, frozenset[str]]
    clock: Callable[[], float]
    parses_until: float
    rows: dict[str, set[int]] = field(default_factory=dict)  # to be parsed, by path
    left: int = MAX_TEXT
    _named: dict[str, list[Named]] = field(default_factory=dict)

    def read(self, files: SearchedFiles, rows: Mapping[str, set[int]]) -> None:
        """Read the files, and parse them at these rows."""
        new = [path for path in rows if path not in self.texts]
        texts: Mapping[str, str] = {}
        if new:
            texts = files.texts(new)
        for path in new:
            text = ""
            if self.left > 0:
                text = texts.get(path, "")
            self.texts[path] = text
            self.left -= len(text)
        for path, of_file in rows.items():
            known = self.rows.setdefault(path, set())
            if not of_file <= known:
                known |= of_file
                self._named.pop(path, None)

    def find_named(self, path: str) -> list[Named]:
        if path not in self._named:
            named: list[Named] = []
            if self.clock() <= self.parses_until:
                named = find_named(self.texts.get(path), path, self.rows.get(path, ()))
            self._named[path] = named
        return self._named[path]

    def rate(self, path: str, other: str) -> int:
        """Return the relation of a file that was read to another one."""
        if path == other:
            return SAME
        return rate(path, self.list_words(path), other)

    def list_words(self, path: str) -> frozenset[str]:
        if path not in self.words:
            self.words[path] = frozenset(WORD.findall(self.texts.get(path, "")))
        return self.words[path]

    def is_shown(self, path: str, row: int) -> bool:
        return row + 1 in self.shown.get(path, ())

    def show(self, path: str, first: int, row: int, last: int) -> str:
        """Return the numbered lines from one row to another; of those that are shown, none.

        Lines beyond a shown one are left out, so that what remains is around `row`.
        """
        lines = self.texts[path].split("\n")
        while first < row and any(self.is_shown(path, one) for one in range(first, row)):
            first += 1
        last = min(last, len(lines) - 1, first + MAX_LINES - 1)
        end = next((one for one in range(row, last + 1) if self.is_shown(path, one)), last + 1)
        numbered = (Line("RIGHT", one + 1, " ", lines[one]) for one in range(first, end))
        return "\n".join(map(number_line, numbered))


def rate(path: str, words: Collection[str], other: str) -> int:
    """Return the relation of a file with these words to another one."""
    file = PurePosixPath(other)
    if file.name.partition(".")[0] in words:
        return NAMED
    if file.parent == PurePosixPath(path).parent or file.parent.name in words:
        return FOLDER
    return UNRELATED


def agrees(use: Named, path: str, definition: Named, defined_in: str) -> bool | None:
    """Return True if the text says that the use means a definition, False for a namesake, None if
    it is not clear.
    """
    places = _list_places(defined_in)
    is_class = definition.kind == "definition" and definition.owners[:1] == (definition.name,)
    owners = set() if is_class else set(definition.owners)
    said = [
        words
        for words in (set(words) - {use.name} for words in use.said)
        if words or use.receiver is not None
    ]
    if said:
        return any((places | owners) & words for words in said)
    if use.receiver is None:
        return _agrees_alone(use, path, owners, defined_in)
    if use.receiver[:1].isupper() or use.receiver in places:
        return use.receiver in places | owners
    if use.name in BUILTIN_METHODS and not _resembles(use.receiver, places | owners):
        return False
    if use.is_local and not owners and definition.kind != "value":
        return False
    return None


def _list_places(path: str) -> set[str]:
    """Return the names of a file and of its two innermost folders."""
    file = PurePosixPath(path)
    return {file.name.partition(".")[0], file.parent.name, file.parent.parent.name} - {""}


def _agrees_alone(use: Named, path: str, owners: set[str], defined_in: str) -> bool | None:
    """Do the same for a name that stands alone."""
    if use.kind != "member" and use.name in BUILTIN_NAMES and path != defined_in:
        return False
    if not owners or use.kind == "member":
        return None
    if find_family(path) not in IMPLICIT:
        return False
    return path == defined_in or bool(set(use.owners) & owners)


def _resembles(receiver: str, names: Collection[str]) -> bool:
    """Return True for `cache` and `LruCache`."""
    own = receiver.lower().strip("_")
    others = [name.lower() for name in names]
    return len(own) > 1 and any(
        own in other or (other in own and len(other) > 2) for other in others
    )


def _take_turns(calls: Sequence[_Definition]) -> list[_Definition]:
    """Return the first call of each file, then the second ones, and so on; tests come last."""
    earlier: Counter[str] = Counter()
    turns: list[tuple[bool, int, _Definition]] = []
    for call in calls:
        turns.append((is_test_file(call.path), earlier[call.path], call))
        earlier[call.path] += 1
    turns.sort(key=lambda turn: turn[:2])
    return [call for _, _, call in turns]


class _Finder:
    """Finds the places of one change."""

    def __init__(
        self,
        changed: Sequence[ChangedSource],
        wanted: WantedNames,
        files: SearchedFiles,
        clock: Callable[[], float],
    ) -> None:
        self._files = files
        self._wanted = wanted
        shown = {
            source.path: {line.number for line in lines_of(source.shown, "RIGHT")} | source.above
            for source in changed
        }
        texts = {source.path: source.text for source in changed}
        self._repository = _Repository(
            texts, shown, dict(wanted.words), clock, clock() + MAX_PARSE_S
        )
        self._hits: dict[str, dict[str, set[int]]] = {}  # rows of a word, by path
        ranked = sorted(wanted.names, key=lambda name: (wanted.names[name].rank, name))
        self._names = ranked[:MAX_CANDIDATES]
        self._searched: set[str] = set()  # words of which all lines in the repository are known
        self._paths: Collection[str] | None = None
        self._parts: frozenset[str] | None = None  # words of the paths of the repository
        self.main: list[SecondSite] = []
        self.further: list[SecondSite] = []

    def read_definitions(self) -> None:
        """Search the names in the files that may define them: those that a changed file names, and
        its folder's.
        """
        used = [name for name in self._names if self._wanted.names[name].uses]
        if not used:
            return
        related = self._list_related(used)
        nearest = sorted(related, key=lambda path: (-related[path], path))[:MAX_RELATED]
        self._add_hits(self._files.find_words({name.text for name in used}, nearest))
        frequency = {word: len(of_word) for word, of_word in self._hits.items()}
        rarity: Counter[str] = Counter()
        for word, of_word in self._hits.items():
            for path in of_word:
                rarity[path] += 1_000 // frequency[word]
        chosen = sorted(related, key=lambda path: (-related[path], -rarity[path], path))
        chosen = [path for path in chosen if rarity[path]][:MAX_FILES]
        self._read(chosen, {name.text for name in used})

    def _list_related(self, used: Sequence[Name]) -> dict[str, int]:
        """Return the files that may define the names, with the highest relation of a changed file
        to each.
        """
        families = {name.family for name in used}
        sources = {use.path for name in used for use in self._wanted.names[name].uses}
        folders = {source.rpartition("/")[0] for source in sources}
        words = frozenset[str]().union(*(self._wanted.words[source] for source in sources))
        related: dict[str, int] = {}
        for path in self._list_paths():
            folder, _, file = path.rpartition("/")
            # names that only tests use are not wanted
            if find_family(path) not in families or is_test_file(path):
                continue
            if path in sources or file.partition(".")[0] in words:
                related[path] = NAMED
            elif folder in folders or folder.rpartition("/")[2] in words:
                related[path] = FOLDER
        return related

    def read_uses(self) -> None:
        """Search the functions that changed, and the words that are gone, in the whole
        repository.
        """
        changed = [name for name in self._names if self._wanted.names[name].changed]
        gone = [*self._wanted.gone][:MAX_GONE]
        words = {name.text for name in changed} | set(gone)
        if not words:
            return
        hits = self._files.find_words(words)
        self._add_hits(hits)
        self._searched = {hit.name for hit in hits}
        frequent = {name.text for name in changed} - self._searched
        if frequent:
            self._search_nearest(frequent, changed)
        chosen: dict[str, None] = {}
        for name in changed:
            origins = self._wanted.names[name].changed
            found = [
                path for path in self._hits.get(name.text, {}) if find_family(path) == name.family
            ]
            found.sort(
                key=lambda path: (
                    is_test_file(path),
                    min(distance(path, one) for one in origins),
                    path,
                )
            )
            chosen |= dict.fromkeys(found[:MAX_FILES_OF_NAME])
        for word in gone:
            if word in self._searched and len(self._hits[word]) <= MAX_GONE_FILES:
                chosen |= dict.fromkeys(
                    path for path in self._hits.get(word, {}) if not is_documentation(path)
                )
        self._read([*chosen][:MAX_FILES], words)

    def _search_nearest(self, words: set[str], changed: Sequence[Name]) -> None:
        """Search frequent words in the nearest files, in the fewer the more frequent they are."""
        sources = set[str]().union(*(self._wanted.names[name].changed for name in changed))

        def nearness(path: str) -> int:
            return min(distance(path, source) for source in sources)

        nearest = sorted(self._list_paths(), key=nearness)
        for number in (MAX_RELATED, MAX_FILES, MAX_FILES_OF_NAME):
            hits = self._files.find_words(words, nearest[:number])
            self._add_hits(hits)
            words = words - {hit.name for hit in hits}
            if not words:
                break

    def _list_paths(self) -> Collection[str]:
        if self._paths is None:
            self._paths = self._files.list_files(GRAMMARS)
        return self._paths

    def _list_parts(self) -> frozenset[str]:
        if self._parts is None:
            paths = {*self._list_paths(), *self._repository.texts}  # with removed files
            names = "\n".join(path.rpartition(".")[0] for path in paths)
            self._parts = frozenset(PART.findall(names.lower()))
        return self._parts

    def _agrees(self, use: Named, path: str, definition: _Definition) -> bool | None:
        """Do the same as `agrees`; False if the receiver's type is of a foreign module."""
        verdict = agrees(use, path, definition.named, definition.path)
        if verdict and self._is_foreign(use, definition):
            return False
        return verdict

    def _is_foreign(self, use: Named, definition: _Definition) -> bool:
        """Return True if no path, nor the definition's file, names a module of the type."""
        own = {use.name, *definition.named.owners}
        for words in use.said:
            modules = set(words) - own
            if not modules or words == use.owners:  # `self` is of the class around
                return False
            if not modules.isdisjoint(self._repository.list_words(definition.path)):
                return False
            if not self._list_parts().isdisjoint(PART.findall(" ".join(modules).lower())):
                return False
        return bool(use.said)

    def _add_hits(self, hits: Iterable[Hit]) -> None:
        for hit in hits:
            self._hits.setdefault(hit.name, {}).setdefault(hit.path, set()).add(hit.number - 1)

    def _read(self, paths: Iterable[str], words: Collection[str]) -> None:
        rows: dict[str, set[int]] = {}
        for path in paths:
            of_file: set[int] = set()
            for word in words:
                of_word = self._hits.get(word, {}).get(path, ())
                of_file.update(sorted(of_word)[:MAX_ROWS_OF_NAME])
            rows[path] = of_file
        self._repository.read(self._files, rows)

    def choose(self) -> None:
        """Fill `main` and `further`."""
        number = 0
        more: list[SecondSite] = []
        for name in self._names:
            wanted = self._wanted.names[name]
            found = self._find(name)
            definitions = [one for one in found if one.named.kind in ("definition", "value")]
            number += bool(definitions)
            if number > MAX_NAMES:
                break
            sites = self._choose_definitions(wanted, definitions)
            if wanted.is_main:
                self.main += sites
            else:
                self.further += sites
            if wanted.changed:
                calls = self._choose_calls(wanted, found, definitions)
                self.main += calls[:MAX_CALLS]
                more += calls[MAX_CALLS:]
        self.further += more
        called = {(site.name, site.path) for site in self.main if site.kind == "call"}
        gone = [site for site in self._choose_gone() if (site.name, site.path) not in called]
        self.main = gone + self.main

    def _find(self, name: Name) -> list[_Definition]:
        found: list[_Definition] = []
        for path in self._hits.get(name.text, ()):
            if find_family(path) == name.family and path in self._repository.rows:
                named = self._repository.find_named(path)
                found += [_Definition(path, one) for one in named if one.name == name.text]
        return found

    def _choose_definitions(
        self, wanted: Wanted, definitions: Sequence[_Definition]
    ) -> Iterator[SecondSite]:
        users: dict[str, list[str]] = {}
        meant: dict[str, list[Named]] = {}
        for source, uses in by_path(wanted.uses).items():
            found = self._resolve(source, uses, definitions)
            if found:
                users.setdefault(found[0].path, []).append(source)
                meant[found[0].path] = [one.named for one in found]
        for path, sources in users.items():
            yield from self._show_definitions(path, meant[path], sources)

    def _resolve(
        self, source: str, uses: Sequence[Use], definitions: Sequence[_Definition]
    ) -> list[_Definition]:
        """Return the definition that the uses in a file mean, or its overloads; nothing if it is
        not clear.
        """
        named = [use.named for use in uses]
        if all(use.receiver is None and use.kind == "plain" for use in named):
            definitions = [
                one for one in definitions if not one.named.is_member or one.path == source
            ]
        verdicts = {one: [self._agrees(use, source, one) for use in named] for one in definitions}
        certain = [one for one in definitions if True in verdicts[one]]
        possible = certain or [one for one in definitions if None in verdicts[one]]
        shared = {one: max(one.count_shared(use) for use in named) for one in possible}
        most = max(shared.values(), default=0)
        possible = [one for one in possible if shared[one] == most]
        relations = {one.path: self._repository.rate(source, one.path) for one in possible}
        highest = max(relations.values(), default=UNRELATED)
        paths = [path for path in relations if relations[path] == highest]
        if len(paths) != 1 or (highest == UNRELATED and not certain):
            return []
        found = [one for one in possible if one.path == paths[0]]
        outer: list[_Definition] = []
        for one in found:  # not the constructor, which its class contains
            if not outer or one.named.scope.first > outer[-1].named.scope.last:
                outer.append(one)
        are_overloads = all(
            one.named.kind == "definition" and one.named.owners[:1] == outer[0].named.owners[:1]
            for one in outer
        )
        if len(outer) > 1 and not are_overloads:
            return []
        return outer

    def _show_definitions(
        self, path: str, ones: Sequence[Named], sources: Sequence[str]
    ) -> Iterator[SecondSite]:
        for one in ones[:MAX_OVERLOADS]:
            if not self._repository.is_shown(path, one.row):
                last = one.scope.last if len(ones) == 1 else one.row
                text = self._repository.show(path, one.begin, one.row, last)
                yield SecondSite("definition", one.name, path, one.begin + 1, text, tuple(sources))

    def _choose_calls(
        self, wanted: Wanted, found: Sequence[_Definition], definitions: Sequence[_Definition]
    ) -> list[SecondSite]:
        origins = wanted.changed
        changed: list[_Definition] = []
        for origin, ones in origins.items():
            changed += [_Definition(origin, one) for one in ones]
        calls: list[_Definition] = []
        for path, one in found:
            is_hidden = one.kind == "call" and not self._repository.is_shown(path, one.row)
            call = _Definition(path, one)
            if is_hidden and self._is_call_of(call, changed, definitions):
                calls.append(call)
        nearest = {
            call.path: min(distance(call.path, origin) for origin in origins) for call in calls
        }
        calls.sort(key=lambda call: (is_test_file(call.path), nearest[call.path], call.path))
        calls = _take_turns(calls)
        tests = [call for call in calls if is_test_file(call.path)]
        others = [call for call in calls if call not in tests]
        shown = others + tests[:1]
        return [
            SecondSite(
                "call",
                one.name,
                path,
                one.row + 1,
                self._show_around(path, one),
                tuple(origins),
                calls=len(calls),
                files=len(nearest),
            )
            for path, one in shown[:MAX_MORE_CALLS]
        ]

    def _is_call_of(
        self, call: _Definition, changed: Sequence[_Definition], definitions: Sequence[_Definition]
    ) -> bool:
        path, named = call
        verdicts = [self._agrees(named, path, one) for one in changed]
        if True in verdicts:
            most = max(one.count_shared(named) for one in changed)
            return all(one.count_shared(named) <= most for one in definitions)
        if None not in verdicts:
            return False
        origins = {one.path for one in changed}
        defined_in = origins.union(one.path for one in definitions)
        relations = {other: self._repository.rate(path, other) for other in defined_in}
        highest = max(relations.values())
        meant = [other for other in relations if relations[other] == highest]
        is_clear = highest == NAMED or (highest != UNRELATED and len(meant) == 1)
        return is_clear and not origins.isdisjoint(meant)

    def _show_around(self, path: str, one: Named) -> str:
        first = max(one.scope.first, one.row - LINES_AROUND)
        last = min(one.scope.last, one.row + LINES_AFTER)
        return self._repository.show(path, first, one.row, last)

    def _choose_gone(self) -> Iterator[SecondSite]:
        for word, gone in [*self._wanted.gone.items()][:MAX_GONE]:
            hits = self._hits.get(word, {})
            if len(hits) > MAX_GONE_FILES or word not in self._searched:
                continue
            paths = [
                path
                for path in hits
                if not is_documentation(path) and path in self._repository.rows
            ]
            paths.sort(key=lambda path: (is_test_file(path), distance(path, gone.path), path))
            tests = 0
            shown = 0
            for path in paths:
                tests += is_test_file(path)
                row = self._find_use(word, gone, path, sorted(hits[path]))
                if row is None or shown == MAX_GONE_LINES or (is_test_file(path) and tests > 1):
                    continue
                shown += 1
                last = len(self._repository.texts[path].split("\n")) - 1
                text = self._repository.show(
                    path, max(row - LINES_AROUND, 0), row, min(row + LINES_AROUND, last)
                )
                yield SecondSite("use", word, path, row + 1, text, (gone.path,))

    def _find_use(self, word: str, gone: Gone, path: str, rows: Sequence[int]) -> int | None:
        """Return the first row on which the file still uses a word that is gone."""
        lines = self._repository.texts.get(path, "").split("\n")
        named = [one for one in self._repository.find_named(path) if one.name == word]
        imported: int | None = None
        for row in rows:
            if (
                row >= len(lines)
                or len(lines[row]) > MAX_CHARACTERS
                or self._repository.is_shown(path, row)
            ):
                continue
            on_row = [one for one in named if one.row == row]
            if self._is_use(word, gone, path, on_row, lines[row]):
                if not any(one.kind == "import" for one in on_row):
                    return row
                if imported is None:
                    imported = row
        return imported

    def _is_use(self, word: str, gone: Gone, path: str, on_row: Sequence[Named], line: str) -> bool:
        family = find_family(path)
        if not family or any(one.kind == "text" for one in on_row):
            return is_in_text(word, gone, line)
        identifiers = [one for one in on_row if one.kind != "text"]
        if not identifiers:
            return False  # a comment
        if word not in gone.tokens:
            return gone.has_joined(line)
        if family != gone.family:
            return any(one.kind != "plain" for one in identifiers)
        if not gone.is_name:
            return any(one.kind in ("member", "value") for one in identifiers)
        if gone.owners is None and any(one.receiver in ("self", "this") for one in identifiers):
            return self._are_related(path, gone.path)  # the class that has the member
        if any(one.kind in ("definition", "value") for one in identifiers):
            return False  # another thing of the same name
        definition = Named("value", word, 0, identifiers[0].scope, owners=gone.owners or ())
        is_outer = gone.owners == ()
        used = [one for one in identifiers if is_outer or one.kind != "plain"]
        verdicts = [self._agrees(one, path, _Definition(gone.path, definition)) for one in used]
        if True in verdicts:
            return True
        return None in verdicts and self._repository.rate(path, gone.path) > UNRELATED

    def _are_related(self, path: str, other: str) -> bool:
        ratings = self._repository.rate(path, other), self._repository.rate(other, path)
        return max(ratings) > UNRELATED


def distance(path: str, other: str) -> int:
    """Return the number of folders between two files."""
    first = PurePosixPath(path).parts[:-1]
    second = PurePosixPath(other).parts[:-1]
    common = 0
    for one, two in zip(first, second, strict=False):
        if one != two:
            break
        common += 1
    return len(first) + len(second) - 2 * common


def describe_sites(sites: Sequence[SecondSite]) -> str:
    """Return a text such as "4 call sites in 3 files, 1 definition and 2 other uses"."""
    calls = [site for site in sites if site.kind == "call"]
    definitions = [site for site in sites if site.kind == "definition"]
    uses = [site for site in sites if site.kind == "use"]
    files = len({site.path for site in calls})
    parts: list[str] = []
    if calls:
        parts.append(f"{count(len(calls), 'call site')} in {count(files, 'file')}")
    if definitions:
        parts.append(count(len(definitions), "definition"))
    if uses:
        parts.append(count(len(uses), "other use"))
    if len(parts) > 1:
        first = ", ".join(parts[:-1])
        parts = [first, parts[-1]]
    return " and ".join(parts)
