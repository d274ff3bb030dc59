"""The code that a second look shows, within its tokens."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import chain

from hls_handler.handlers.changed_files import (
    TOKENS_PER_FILE,
    FilePart,
    Selection,
    join_ranges,
    list_parts_with,
    show_files,
)
from hls_handler.handlers.present_lines import EXCERPT_LINES
from hls_handler.handlers.pull_request_facts import PullRequestFacts, Raised
from hls_handler.question import estimate_tokens
from hls_handler.review.neighbourhood import SecondSite, remove_async
from hls_handler.review.neighbourhood_text import is_searched
from hls_handler.review.patches import NUMBERED_LINE, text_of
from hls_handler.review.positions import letters_of
from hls_handler.review.present_files import NAME_IN_CODE, names_of

OTHER_TOKENS = 400  # of the blocks of files without a finding


@dataclass(slots=True)
class _Chosen:
    selection: Selection
    free_tokens: int
    parts: list[FilePart] = field(default_factory=list)
    sites: list[SecondSite] = field(default_factory=list)

    def add_parts(self, parts: Iterable[FilePart]) -> None:
        """Add the parts that fit."""
        for part in parts:
            if self._take(_count_tokens(self.selection, [part])):
                self.parts.append(part)

    def add_sites(self, sites: Iterable[SecondSite]) -> None:
        """Add the places that fit, each line once."""
        lines: set[str] = set()  # with the path of their file
        for site in sites:
            new = [line for line in site.text.split("\n") if f"{site.path}\n{line}" not in lines]
            rest = replace(site, text="\n".join(new))
            if new and self._take(estimate_tokens(f"{site.path} {site.name}\n{rest.text}")):
                lines.update(f"{site.path}\n{line}" for line in new)
                self.sites.append(rest)

    def _take(self, tokens: int) -> bool:
        """Use tokens, if so many are left."""
        if tokens > self.free_tokens:
            return False
        self.free_tokens -= tokens
        return True


def choose_code(facts: PullRequestFacts, candidates: Sequence[Raised], tokens: int) -> _Chosen:
    """Choose the hunks and other places to show.

    First come the hunks with findings, then what was looked up for them and places that they name
    or rest on, then the rest of their files, and blocks of other files that share a name with them.
    """
    selection = facts.selection
    rests_on = "\n".join(chain.from_iterable(located.finding.rests_on for _, located in candidates))
    quotes = {letters_of(text_of(line)) for line in rests_on.split("\n")} - {""}
    files = {entry.path for entry, _ in candidates}
    with_finding: list[_Hunk] = []
    others: list[FilePart] = []
    for part in _list_hunks(selection):
        if selection.files[part.file].path in files:
            hunk = _mark_lines(selection, part, candidates, quotes)
            if hunk.marked:
                with_finding.append(hunk)
            else:
                others.append(part)
    with_finding.sort(key=lambda hunk: _count_tokens(selection, [hunk.part]))
    chosen = _Chosen(selection, tokens)
    for number, hunk in enumerate(with_finding):
        chosen.add_parts(hunk.cut(selection, chosen.free_tokens // (len(with_finding) - number)))
    names = _list_names(facts, candidates)
    chosen.add_sites([*facts.looked_up.second_sites, *_list_sites(facts, names, quotes)])
    chosen.add_parts(others)
    chosen.free_tokens = min(chosen.free_tokens, OTHER_TOKENS)
    chosen.add_parts(_list_sharing(facts, names, files))
    return chosen


@dataclass(frozen=True, slots=True)
class _Hunk:
    """A hunk with findings, as a call of the review showed it."""

    part: FilePart
    marked: tuple[int, ...]  # indexes of its lines that have a finding or that one rests on

    def cut(self, selection: Selection, tokens: int) -> list[FilePart]:
        """Return the hunk, or as many lines around the marked ones as fit, at least one."""
        if _count_tokens(selection, [self.part]) <= tokens:
            return [self.part]
        (number,) = self.part.hunks
        lines = selection.patches[selection.files[self.part.file].path].hunks[number].lines
        start, end = self.part.lines or (0, len(lines))
        parts: list[FilePart] = []
        for around in EXCERPT_LINES:
            ranges = [(max(at - around, start), min(at + around + 1, end)) for at in self.marked]
            parts = [replace(self.part, lines=lines) for lines in join_ranges(ranges)]
            if _count_tokens(selection, parts) <= tokens:
                break
        return parts


def _count_tokens(selection: Selection, parts: Iterable[FilePart]) -> int:
    files = show_files(selection, parts)
    return sum(TOKENS_PER_FILE + estimate_tokens(file.numbered) for file in files)


def _list_hunks(selection: Selection) -> Iterator[FilePart]:
    """Yield the hunks that the calls show."""
    for part in chain.from_iterable(selection.calls):
        for index in part.hunks:
            yield replace(part, hunks=(index,))


def _mark_lines(
    selection: Selection, part: FilePart, candidates: Sequence[Raised], quotes: Collection[str]
) -> _Hunk:
    """Return a hunk with its lines that have a finding, and those that findings rest on."""
    path = selection.files[part.file].path
    (number,) = part.hunks
    lines = selection.patches[path].hunks[number].lines
    places = {(entry.path, entry.side, entry.line) for entry, _ in candidates}
    marked: list[int] = []
    for at in range(*(part.lines or (0, len(lines)))):
        line = lines[at]
        if (path, line.side, line.number) in places or letters_of(line.text) in quotes:
            marked.append(at)
    return _Hunk(part, tuple(marked))


def _list_names(facts: PullRequestFacts, candidates: Iterable[Raised]) -> Set[str]:
    """Return the names in findings and in those of claims, without common words."""
    names: list[str] = []
    for entry, located in candidates:
        texts = "\n".join([*located.finding.rests_on, *located.finding.look_up])
        names += [*names_of(entry), *NAME_IN_CODE.findall(texts)]
    for claim in facts.findings.claims:
        names += names_of(claim.entry)
    return frozenset(filter(is_searched, names))


def _list_sites(
    facts: PullRequestFacts, names: Set[str], quotes: Collection[str]
) -> Iterator[SecondSite]:
    """Yield the places that findings name or rest on."""
    for site in facts.second_sites:
        if site.name in names or _has_any(join_letters([site.text]), quotes):
            yield site


def _list_sharing(
    facts: PullRequestFacts, names: Set[str], files: Collection[str]
) -> Iterator[FilePart]:
    """Yield the blocks of other files that share a name with a finding, the rarest name first.

    A block that only repeats another one, such as a synchronous copy, is left out.
    """
    texts_of_files = {
        remove_async("".join(line.text for line in block.lines))
        for path in files
        for block in facts.selection.blocks.get(path, ())
    }
    for block in facts.present.list_sharing(names):
        text = remove_async("".join(line.text for line in block.lines))
        if block.path not in files and text not in texts_of_files:
            texts_of_files.add(text)
            yield from list_parts_with(facts.selection, [block])


def join_parts(parts: Iterable[FilePart]) -> Iterator[FilePart]:
    """Yield the parts, the whole hunks of a file as one, in the order of the files."""
    whole: dict[int, list[int]] = {}
    cut: list[FilePart] = []
    for part in parts:
        if part.lines is None:
            whole.setdefault(part.file, []).extend(part.hunks)
        else:
            cut.append(part)
    joined = [FilePart(file, tuple(sorted(hunks))) for file, hunks in whole.items()]
    yield from sorted(
        [*joined, *cut],
        key=lambda file_part: (file_part.file, file_part.hunks, file_part.lines or (0, 0)),
    )


def join_letters(texts: Iterable[str]) -> str:
    """Return the letters of numbered lines. A note such as "[cut here: ...]" is none."""
    lines = [line for text in texts for line in text.split("\n")]
    return "".join(letters_of(text_of(line)) for line in lines if NUMBERED_LINE.fullmatch(line))


def _has_any(letters: str, quotes: Iterable[str]) -> bool:
    return any(quote in letters for quote in quotes)
