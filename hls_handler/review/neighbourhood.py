"""Chooses what a review shows around a change: the blocks of its hunks, and other places with its
names.

No parser reads the code: a block is what is indented, and a place is a line that `git grep` found.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from hls_handler.analysis import estimate_tokens
from hls_handler.git.mirror import Hit
from hls_handler.review.changed_files import is_test_file
from hls_handler.review.changed_names import (
    CALLED,
    GONE_DEFINITION,
    IN_SIGNATURE,
    IN_TEST,
    OF_TYPE,
    USED,
    ChangedName,
    ChangedText,
)
from hls_handler.review.code_lines import CodeLines, PlaceKind, count_tokens, number_lines
from hls_handler.review.patches import Line
from hls_handler.review.source_text import (
    IMPORT,
    MAX_CHARACTERS,
    SQL_FILES,
    WORD,
    Definition,
    SourceText,
    find_definition,
    remove_comment,
    whole,
)

WHOLE_LINES = 250  # of a changed file that may be shown as a whole
BLOCK_LINES = (80, 50, 25, 12, 4, 0)  # around a change; the first number that fits
TEST_LINES = 25  # the same in tests
INDEX_FILES = ("index", "__init__", "mod")  # an import names their folder
PLACE_LINES = 30
END_LINES = 8  # of a definition that is longer
PLACES_OF_NAME = 3
FILES_OF_NAME = 12  # of a more frequent name only the single definition is shown
MAX_READ_FILES = 100
MAX_RANKED = 300
MIN_SCORE = 1.0
FEW_FILES = 3
IN_FEW_FILES = 3.0  # weight of a use of a new name that so few other files have
TABLE_PART = 9.0  # weight of an index or a constraint of a changed table
FIELD_READ = 0.8  # factor of a use of a field that does not set it
FIELD_LINES = 8  # of a place with a field
REPEATED_NAME = 0.6  # factor of each further place of a name
LESS_LIKELY = 0.6  # factor of a use that is no call

ASYNC = re.compile(r"\s|\basync\b|\bawait\b|(?i:async_|_async)|Async")

OF_TABLE = re.compile(r"\b(alter\s+table|index|constraint|references|trigger|policy)\b", re.I)


def remove_async(code: str) -> str:
    """Return code without white space and what its asynchronous and synchronous twin differ in."""
    return ASYNC.sub("", code)


# --- Around the hunks


def choose_extents(changed: Sequence[ChangedText], tokens: int) -> Mapping[str, Set[int]]:
    """Return the numbers of unchanged lines to show with the hunks of each file.

    They are the blocks around the hunks; then short files are shown as a whole, the shortest
    first. Blocks shrink evenly if there is not enough room for all, those of tests first.
    """
    for max_lines in BLOCK_LINES:
        extents = {file.path: _list_around(file, max_lines) for file in changed}
        room = tokens - sum(_count(file.text, extents[file.path]) for file in changed)
        if room >= 0:
            break
    for file in sorted(changed, key=lambda file: file.text.last):
        if file.text.last > WHOLE_LINES or is_test_file(file.path):
            continue
        every = set(range(1, file.text.last + 1)) - _list_patch_lines(file)
        more = _count(file.text, every - extents[file.path])
        if more <= room:
            extents[file.path] = every
            room -= more
    return extents


def _list_around(file: ChangedText, max_lines: int) -> set[int]:
    """Return the numbers of the unchanged lines of the blocks around the hunks of a file. A block
    has at most `max_lines`.
    """
    if is_test_file(file.path):
        max_lines = min(max_lines, TEST_LINES)
    if not max_lines:
        return set()
    numbers: set[int] = set()
    for run in file.runs:
        first = min(run.first, file.text.last)  # the last lines may have been removed
        if first:
            numbers |= file.text.list_extent(first, min(run.last, file.text.last), max_lines)
    return numbers - _list_patch_lines(file)


def _list_patch_lines(file: ChangedText) -> set[int]:
    return {line.number for line in file.patch.lines if line.side == "RIGHT"}


def _count(text: SourceText, numbers: Iterable[int]) -> int:
    return estimate_tokens(show_lines(text, numbers))


def show_lines(text: SourceText, numbers: Iterable[int]) -> str:
    lines = (Line("RIGHT", number, " ", text.lines[number]) for number in sorted(numbers))
    return number_lines(lines)


# --- Other places


@dataclass(frozen=True, slots=True)
class SiteCandidate:
    score: float
    kind: PlaceKind
    name: ChangedName
    hit: Hit


class Search:
    """The lines of the repository that have the names of a change."""

    def __init__(
        self, names: Sequence[ChangedName], changed: Sequence[ChangedText], hits: Iterable[Hit]
    ) -> None:
        self.names = names
        self.changed = {file.path: file for file in changed}
        self.texts = {file.path: file.text for file in changed}
        self._ranked: list[SiteCandidate] = []
        self.hits: dict[str, list[Hit]] = {name.text: [] for name in names}
        owners = {owner for name in names for owner in name.owners}
        self.naming: dict[str, set[str]] = {owner: set() for owner in owners}
        fields = [name for name in names if name.is_field]
        chains = [name.text for name in names if not (name.is_field or WORD.fullmatch(name.text))]
        for hit in hits:
            code = remove_comment(hit.text)
            words = set(WORD.findall(code))
            words |= {word.lstrip("$") for word in words}
            words.update(chain for chain in chains if chain in code)
            for word in words & self.hits.keys():
                self.hits[word].append(hit)
            for word in words & owners:
                self.naming[word].add(hit.path)
        for path in sorted({path for name in fields for path in name.sources}):
            self._add_fields(path, [name.text for name in fields if path in name.sources])
        self._name_hits = [_NameHits(name, self.hits[name.text], self) for name in names]

    def _add_fields(self, path: str, fields: Sequence[str]) -> None:
        """Add the lines with fields in the classes that have one on a changed line."""
        file = self.changed[path]
        text = file.text
        use = re.compile(rf"(?<![\w$.@])(?:{'|'.join(map(re.escape, fields))})\b(?!\s*\()")
        types: dict[str, set[str]] = {field: set() for field in fields}
        for run in file.runs:
            lines = [(run.first, line) for line in run.removed]
            lines += run.added.items()
            for number, line in lines:
                for field in use.findall(line[:MAX_CHARACTERS]):
                    types[field].add(text.scopes[min(number, text.last)])
        for number, line in enumerate(text.lines):
            for field in set(use.findall(line[:MAX_CHARACTERS])):
                if text.scopes[number] in types[field]:
                    self.hits[field].append(Hit(path, number, line))

    def list_paths(self) -> list[str]:
        """Return the files to read, those of the most important names first."""
        paths: dict[str, None] = {}
        for name_hits in self._name_hits:
            hits: Iterable[Hit] = name_hits.hits
            if name_hits.is_frequent:
                hits = [*name_hits.list_defining(), *name_hits.list_table_parts()]
            paths |= dict.fromkeys(hit.path for hit in hits)
        return [path for path in paths if path not in self.texts][:MAX_READ_FILES]

    def rank(self, texts: Mapping[str, str]) -> None:
        """Rank the places with the names that are in the changed files or in `texts`."""
        self.texts |= {path: SourceText(path, text) for path, text in texts.items()}
        candidates: list[SiteCandidate] = []
        for name_hits in self._name_hits:
            name_hits.hits = [hit for hit in name_hits.hits if self.has(hit)]
            candidates += name_hits.rank()
        candidates.sort(key=lambda candidate: -candidate.score)
        self._ranked = candidates[:MAX_RANKED]

    def choose(self, shown_lines: Mapping[str, Set[int]], tokens: int) -> tuple[CodeLines, ...]:
        """Return the best places of the files with these paths, without the lines that are shown
        already.
        """
        visible = {path: set(numbers) for path, numbers in shown_lines.items()}
        twins: set[str] = set()
        rest = [
            ranked for ranked in self._ranked if not ranked.name.sources.isdisjoint(shown_lines)
        ]
        places_by_name: Counter[str] = Counter()

        def rate(candidate: SiteCandidate) -> float:
            factor: float = REPEATED_NAME ** places_by_name[candidate.name.text]
            return candidate.score * factor

        sites: list[CodeLines] = []
        while rest:
            best = max(rest, key=rate)
            rest.remove(best)
            if rate(best) < MIN_SCORE:
                break
            path = best.hit.path
            if places_by_name[best.name.text] == PLACES_OF_NAME:
                continue
            visible_lines = visible.setdefault(path, set())
            if best.hit.number in visible_lines:
                continue
            numbers = _list_place(best, self.texts[path], self.hits) - visible_lines
            site = CodeLines(
                path,
                best.kind,
                show_lines(self.texts[path], numbers),
                best.name.text,
                best.hit.number,
                tuple(sorted(best.name.sources)),
            )
            twin = remove_async(
                "".join(self.texts[path].lines[number] for number in sorted(numbers))
            )
            if twin in twins:
                continue
            needed = count_tokens(site)
            if needed > tokens:
                continue
            tokens -= needed
            visible_lines |= numbers
            twins.add(twin)
            places_by_name[best.name.text] += 1
            sites.append(site)
        return tuple(sites)

    def has(self, hit: Hit) -> bool:
        return hit.path in self.texts and hit.number <= self.texts[hit.path].last


class _NameHits:
    """The lines with one name."""

    def __init__(self, name: ChangedName, hits: Sequence[Hit], search: Search) -> None:
        self.name = name
        self.hits = hits
        self._search = search
        self._definitions: dict[Hit, Definition] = {}
        for hit in hits:
            definition = find_definition(hit.text, hit.path)
            if definition and definition.name == name.text:
                self._definitions[hit] = definition
        paths = {hit.path for hit in hits}
        self.files = {path for path in paths if not is_test_file(path)}
        self.is_frequent = len(self.files) > FILES_OF_NAME
        self._rarity = 1 / (1 + 0.35 * math.log2(max(1, len(self.files))))
        # the files that name a type around the change
        self._naming = set().union(*(search.naming[owner] for owner in name.owners))

    def list_defining(self) -> list[Hit]:
        return [hit for hit in self._definitions if hit.path in self.files]

    def list_table_parts(self) -> list[Hit]:
        """Return the indexes and constraints of a changed table."""
        if not self.name.is_table:
            return []
        return [
            hit for hit in self.hits if hit.path.endswith(SQL_FILES) and OF_TABLE.search(hit.text)
        ]

    def rank(self) -> Iterator[SiteCandidate]:
        hits = self.hits
        if self.name.is_field:
            yield from map(self._to_field_use, hits)
            return
        for hit in self.list_table_parts():
            yield SiteCandidate(TABLE_PART, "use", self.name, hit)
        definitions = self._choose_definitions()
        if self.is_frequent and len(definitions) > 1:
            return
        if self.is_frequent or self.name.is_common:
            hits = definitions
        namesakes = self._list_namesakes()
        for hit in hits:
            factor = self._rarity
            if hit.path not in self.files:
                factor *= IN_TEST
            is_meant = hit.path not in namesakes
            if self.name.gone and is_meant:
                yield SiteCandidate(self.name.gone * factor, "gone", self.name, hit)
            if hit in definitions:
                yield self._to_definition(hit, factor)
            elif self._is_in_few_files(hit, definitions):
                yield self._to_use(hit, IN_FEW_FILES * factor)
            elif self.name.changed and is_meant and self._is_use(hit):
                yield self._to_use(hit, self.name.changed * factor)

    def _to_definition(self, hit: Hit, factor: float) -> SiteCandidate:
        weight = USED
        if self.name.is_called:
            weight = CALLED
        elif self._definitions[hit].kind == "type":
            weight = OF_TYPE
        return SiteCandidate(self.name.used * weight * factor, "definition", self.name, hit)

    def _is_in_few_files(self, hit: Hit, definitions: Sequence[Hit]) -> bool:
        """Return True for a use, in one of few other files, of a function that the change begins to
        call, or of a new name of files without code, such as SQL.
        """
        name = self.name
        others = self.files - self._search.changed.keys() - {hit.path for hit in self._definitions}
        if name.used < 1 or len(others) > FEW_FILES or hit.path not in others:
            return False
        if name.is_called:
            return not IMPORT.match(hit.text)
        has_code = any(self._search.texts[path].has_code for path in name.used_in)
        return not definitions and not has_code

    def _is_use(self, hit: Hit) -> bool:
        """Return True for a use, and for a definition that overrides a changed signature."""
        definition = self._definitions.get(hit)
        if definition:
            return definition.kind == "callable" and self.name.changed >= IN_SIGNATURE
        return not IMPORT.match(hit.text)

    def _to_field_use(self, hit: Hit) -> SiteCandidate:
        score = self.name.changed
        if not re.search(rf"{re.escape(self.name.text)}\s*(\[[^]]*\]\s*)?[-+*/|]?=(?!=)", hit.text):
            score *= FIELD_READ
        return SiteCandidate(score, "use", self.name, hit)

    def _to_use(self, hit: Hit, score: float) -> SiteCandidate:
        kind: PlaceKind = "call"
        if not re.search(rf"{whole(self.name.text)}\s*(<[\w, ]*>)?\(", hit.text):
            kind = "use"
            score *= LESS_LIKELY
        return SiteCandidate(score, kind, self.name, hit)

    def _list_namesakes(self) -> set[str]:
        """Return the files that have a definition of their own and do not name the type around the
        change.
        """
        if not self.name.changed and self.name.gone < GONE_DEFINITION:
            return set()
        importing = {hit.path for hit in self.hits if IMPORT.match(hit.text)}
        others = {hit.path for hit in self._definitions}
        return others - importing - self._naming - self._search.changed.keys()

    def _choose_definitions(self) -> list[Hit]:
        """Return at most three definitions that the change may mean."""
        if not self.name.used:
            return []
        hits = [hit for hit in self.list_defining() if self._search.has(hit)]
        if self.name.is_common:
            hits = [hit for hit in hits if self._is_imported(hit)]
        for is_better in (_has_body, self._is_named, self._is_near):
            if len(hits) > 1:
                hits = [hit for hit in hits if is_better(hit)] or hits
        if len(hits) > PLACES_OF_NAME:
            return []
        return hits

    def _is_imported(self, hit: Hit) -> bool:
        """Return True for a function or a type in a file that an import names."""
        folder, _, file = hit.path.rpartition("/")
        stem = file.partition(".")[0]
        if stem in INDEX_FILES:
            stem = folder.rpartition("/")[2]
        words = set(WORD.findall(stem))
        return self._definitions[hit].kind != "value" and words <= self.name.modules

    def _is_named(self, hit: Hit) -> bool:
        """Return True if a changed file names the file or its folder."""
        parts = set(re.split(r"[/.]", hit.path)[-3:-1])
        texts = [self._search.texts[path] for path in self.name.used_in]
        return hit.path in self.name.used_in or any(
            text.has(part) for text in texts for part in parts
        )

    def _is_near(self, hit: Hit) -> bool:
        folders = {path.rpartition("/")[0] for path in self.name.used_in}
        return hit.path.rpartition("/")[0] in folders


def _has_body(hit: Hit) -> bool:
    """Return False for a prototype."""
    return not hit.text.rstrip().endswith(";")


def _list_place(candidate: SiteCandidate, text: SourceText, names: Container[str]) -> set[int]:
    """Return the numbers of the lines to show of a place: the block around a use, or a definition.

    Of a longer definition, its signature, its end and the lines that have one of the names.
    """
    number = candidate.hit.number
    if candidate.name.is_field:
        return text.list_extent(number, number, FIELD_LINES)
    if candidate.kind != "definition":
        return text.list_extent(number, number, PLACE_LINES)
    top = text.find_top(number)
    end = text.find_end(number)
    types = [begin for begin in text.list_begins(number) if text.is_type(begin)]
    if end - top < PLACE_LINES:
        return {*range(top, end + 1), *types}
    chosen = {*range(top, number), *text.list_signature(number)}
    rest = [*range(end, end - END_LINES, -1)]
    body = range(number + 1, end - END_LINES + 1)
    named = [
        index for index in body if any(word in names for word in WORD.findall(text.lines[index]))
    ]
    named = named[:PLACE_LINES]
    nearest = sorted(
        body, key=lambda index: min((abs(index - line) for line in named), default=index)
    )
    return {*[*sorted(chosen), *rest, *nearest][:PLACE_LINES], *types}
