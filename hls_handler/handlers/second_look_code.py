"""The code that a second look shows, within its tokens."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

from hls_handler.handlers.changed_files import TOKENS_PER_FILE, FilePart, Selection, list_around
from hls_handler.handlers.present_lines import EXCERPT_LINES
from hls_handler.handlers.pull_request_facts import PullRequestFacts, Raised
from hls_handler.question import estimate_tokens
from hls_handler.review.neighbourhood import SecondSite
from hls_handler.review.patches import NUMBERED_LINE, Hunk, Line, Patch, numbered, text_of, widen
from hls_handler.review.positions import letters_of


@dataclass(frozen=True, slots=True)
class _Hunk:
    """A hunk of a changed file, as a call of the review showed it."""

    part: FilePart  # with one hunk
    path: str
    hunk: Hunk
    around: tuple[Line, ...]
    own: tuple[int, ...] = ()  # indexes of its lines that have a finding
    quoted: tuple[int, ...] = ()  # indexes of its lines that findings rest on

    @property
    def range(self) -> tuple[int, int]:
        return self.part.lines or (0, len(self.hunk.lines))

    def count_tokens(self, lines: tuple[int, int]) -> int:
        patch = Patch((Hunk(self.hunk.header, self.hunk.lines[slice(*lines)]),))
        if lines == self.range:
            patch = widen(patch, self.around)
        return TOKENS_PER_FILE + estimate_tokens(numbered(patch))

    def cut(self, tokens: int) -> FilePart:
        """Return the part, or as many lines around the marked ones as fit, at least one."""
        start, end = self.range
        if self.count_tokens((start, end)) <= tokens:
            return self.part
        marked = self.own or self.quoted
        for last in (marked[-1], marked[0]):
            for around in EXCERPT_LINES:
                lines = (max(marked[0] - around, start), min(last + around + 1, end))
                if self.count_tokens(lines) <= tokens:
                    return replace(self.part, lines=lines)
        return replace(self.part, lines=(marked[0], marked[0] + 1))


@dataclass(slots=True)
class _Chosen:
    left: int  # tokens
    parts: list[FilePart] = field(default_factory=list)
    sites: list[SecondSite] = field(default_factory=list)

    def add_around(self, hunks: Sequence[_Hunk]) -> None:
        """Add hunks with marked lines, each cut if it needs more than its share of what is left."""
        for number, hunk in enumerate(hunks):
            part = hunk.cut(self.left // (len(hunks) - number))
            if self._take(hunk.count_tokens(part.lines or hunk.range)):
                self.parts.append(part)

    def add_hunks(self, hunks: Iterable[_Hunk]) -> None:
        """Add the hunks that fit."""
        for hunk in hunks:
            if self._take(hunk.count_tokens(hunk.range)):
                self.parts.append(hunk.part)

    def add_sites(self, sites: Iterable[SecondSite]) -> None:
        """Add the places that fit."""
        for site in sites:
            if self._take(estimate_tokens(f"{site.path} {site.name}\n{site.text}")):
                self.sites.append(site)

    def _take(self, tokens: int) -> bool:
        """Use tokens, if so many are left."""
        if tokens > self.left:
            return False
        self.left -= tokens
        return True


def choose_code(facts: PullRequestFacts, candidates: Sequence[Raised], tokens: int) -> _Chosen:
    """Choose the hunks and other places to show.

    First come the hunks with findings, then what these rest on and what was looked up for them,
    then the rest of their files, and the other places that belong to these files or that the
    findings name.
    """
    lines = "\n".join(candidate.finding.rests_on for _, candidate in candidates).split("\n")
    quotes = {letters_of(text_of(line)) for line in lines} - {""}
    files = {entry.path for entry, _ in candidates}
    entries = [
        *(entry for entry, _ in candidates),
        *(claim.entry for claim in facts.findings.claims),
    ]
    hunks = _mark_hunks([*_list_hunks(facts.selection)], candidates, quotes)
    own = sorted(
        (hunk for hunk in hunks if hunk.own), key=lambda hunk: hunk.count_tokens(hunk.range)
    )
    quoted = [hunk for hunk in hunks if hunk.quoted and not hunk.own]
    rest = [hunk for hunk in hunks if hunk.path in files and not hunk.own and not hunk.quoted]
    files |= {hunk.path for hunk in quoted}
    texts = "\n".join(f"{entry.title} {entry.body}" for entry in entries)
    sites = [site for site in facts.second_sites if _is_about(site, files, texts)]
    rested = [site for site in facts.second_sites if _is_quoted(site, quotes)]
    looked_up = [site for site in facts.looked_up.second_sites if site not in rested]
    chosen = _Chosen(tokens)
    chosen.add_around(own)
    chosen.add_around([*_list_cut_off(own, chosen.parts), *quoted])
    chosen.add_sites([*rested, *looked_up])
    chosen.add_hunks(rest)
    chosen.add_sites(site for site in sites if site not in [*rested, *looked_up])
    return chosen


def _list_cut_off(own: Iterable[_Hunk], parts: Collection[FilePart]) -> Iterator[_Hunk]:
    """Yield the hunks of findings once for each quoted line that was cut off."""
    for hunk in own:
        same = [
            part.lines or hunk.range
            for part in parts
            if replace(part, lines=hunk.part.lines) == hunk.part
        ]
        for at in hunk.quoted:
            if not any(start <= at < end for start, end in same):
                yield replace(hunk, own=(), quoted=(at,))


def _list_hunks(selection: Selection) -> Iterator[_Hunk]:
    """Yield the hunks that the calls show."""
    for part in chain.from_iterable(selection.calls):
        path = selection.files[part.file].path
        for index in part.hunks:
            hunk = selection.patches[path].hunks[index]
            of_hunk = replace(part, hunks=(index,))
            yield _Hunk(of_hunk, path, hunk, tuple(list_around(selection, of_hunk)))


def _mark_hunks(
    hunks: Sequence[_Hunk], candidates: Sequence[Raised], quotes: Collection[str]
) -> list[_Hunk]:
    """Return the hunks with their lines that have findings, and those that are quoted.

    A quote is a whole line, or a part if no line equals it. Other files are not searched for a line
    that a file of a finding has: it may be in many of them.
    """
    letters = [[letters_of(line.text) for line in chosen.hunk.lines] for chosen in hunks]
    exact = {text for texts in letters for text in texts}
    inexact = [quote for quote in quotes if quote not in exact]
    places = {(entry.path, entry.side, entry.line) for entry, _ in candidates}
    files = {entry.path for entry, _ in candidates}
    own: set[str] = set()
    for chosen, texts in zip(hunks, letters, strict=True):
        if chosen.path in files:
            own |= {*texts}
    of_parts = {quote for quote in inexact if any(quote in text for text in own)}
    elsewhere = [quote for quote in quotes if quote not in own and quote not in of_parts]
    marked: list[_Hunk] = []
    for chosen, texts in zip(hunks, letters, strict=True):
        lines = chosen.hunk.lines
        indexes = range(*chosen.range)
        in_place = [
            at for at in indexes if (chosen.path, lines[at].side, lines[at].number) in places
        ]
        letters_sought = quotes if chosen.path in files else elsewhere
        parts = [quote for quote in letters_sought if quote in inexact]
        quoted = [at for at in indexes if texts[at] in letters_sought or _has_any(texts[at], parts)]
        around = "".join(letters_of(line.text) for line in chosen.around)
        if not quoted and _has_any(around, parts):
            quoted = [indexes.start]
        marked.append(replace(chosen, own=tuple(in_place), quoted=tuple(quoted)))
    return marked


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


def _is_about(site: SecondSite, files: Collection[str], texts: str) -> bool:
    """Return True if a place belongs to one of the files, or if the texts name it."""
    is_named = re.search(rf"\b{re.escape(site.name)}\b", texts) is not None
    return is_named or any(path in files for path in site.sources)


def _is_quoted(site: SecondSite, quotes: Iterable[str]) -> bool:
    return _has_any(join_letters([site.text]), quotes)


def _has_any(letters: str, quotes: Iterable[str]) -> bool:
    return any(quote in letters for quote in quotes)
