"""The second look at the findings that decide: what its prompt shows, and what its reply changes.

The code is shown once, for all findings: what decides about one often stands in another hunk of
its file, or in a line that it rests on.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain

from hls_handler.analysis import (
    FindingVerdict,
    FindingVerdicts,
    NeededFact,
    Severity,
    estimate_tokens,
)
from hls_handler.review.changed_files import (
    FilePart,
    PatchedFile,
    Selection,
    count_file_tokens,
    join_ranges,
    list_parts_with,
    show_files,
)
from hls_handler.review.code_lines import MAX_CHARS, Budget, CodeLines, count_tokens
from hls_handler.review.facts import PullRequestFacts, Raised
from hls_handler.review.ledger import is_failing
from hls_handler.review.neighbourhood import remove_async
from hls_handler.review.patches import NUMBERED_LINE, Side, parse_numbered, text_of
from hls_handler.review.positions import Located, code_of, is_only_comment, last_line, letters_of
from hls_handler.review.present_lines import EXCERPT_LINES, NAME_IN_CODE, names_of, show_excerpt
from hls_handler.review.record import LedgerEntry
from hls_handler.review.source_text import is_searched
from hls_handler.review.verdicts import Claim
from hls_handler.untrusted.cleaning import truncate

MAX_CANDIDATES = 40  # new findings of one review that get a second look
MAX_BODY_CHARACTERS = 1_000  # of the text of a finding, and of the lines that it rests on
UNSURE = 0.7
"""Confidence below which a new finding gets a second look, and hangs on facts that are not
shown.
"""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A finding, as the second look sees it."""

    number: int
    path: str
    line: int  # 0: it is about the file
    severity: Severity
    title: str
    body: str
    quote: str  # the line, as the review quotes it
    rests_on: str  # other lines, as the review quotes them
    claim: str  # what the review says of an earlier finding; "" if the finding is new
    # of an earlier finding: the present lines, and those around the line that a claim names
    code: str
    not_found: tuple[str, ...] = ()  # names to look up that the repository does not have


@dataclass(frozen=True)
class SecondLook:
    candidates: tuple[Candidate, ...]
    files: tuple[PatchedFile, ...] = ()  # the parts of changed files that decide
    second_sites: tuple[CodeLines, ...] = ()
    removed: tuple[CodeLines, ...] = ()

    @property
    def _texts(self) -> list[str]:
        """The numbered lines that are shown."""
        texts = [file.numbered for file in self.files]
        texts += (hunk.text for hunk in self.removed)
        return [*texts, *(site.text for site in self.second_sites)]

    @cached_property
    def _letters(self) -> str:
        return join_letters(self._texts)

    @cached_property
    def _code_lines(self) -> frozenset[str]:
        """The characters of each line of the present files that is not only a comment."""
        lines = "\n".join(self._texts).split("\n")
        matches = [NUMBERED_LINE.fullmatch(line) for line in lines]
        present = [
            match["text"] or "" for match in matches if match is not None and match["side"] == "R"
        ]
        code = [text for text in present if not is_only_comment(text)]
        return frozenset("".join(text.split()) for text in code)

    def refutes(self, fact: NeededFact) -> bool:
        """Return True if a fact is decisive, and whole lines of code say the opposite."""
        lines = [
            "".join(text_of(line).split()) for line in fact.quote.split("\n") if letters_of(line)
        ]
        is_quoted = bool(lines) and all(line in self._code_lines for line in lines)
        return fact.is_decisive and fact.state == "refuted" and is_quoted

    def shows(self, quote: str, candidate: Candidate) -> bool:
        """Return whether a quote is in the code that is shown for a finding. Letters count."""
        letters = "".join(letters_of(text_of(line)) for line in quote.split("\n"))
        return letters != "" and letters in self._letters + join_letters([candidate.code])

    def _list_missing(self, verdict: FindingVerdict, candidate: Candidate) -> list[NeededFact]:
        """Return the decisive facts about which no shown line says anything."""
        missing: list[NeededFact] = []
        for fact in verdict.facts:
            is_decided = fact.state != "not shown" and self.shows(fact.quote, candidate)
            if fact.is_decisive and not is_decided:
                missing.append(fact)
        return missing

    def proves(self, verdict: FindingVerdict, candidate: Candidate) -> bool:
        """Return True if it agrees, nothing is unseen, and a shown line proves each decisive
        fact.
        """
        if not verdict.agrees or verdict.unseen.strip():
            return False
        states = {fact.state for fact in verdict.facts if fact.is_decisive}
        return states == {"proved"} and not self._list_missing(verdict, candidate)

    def drops(self, verdict: FindingVerdict, candidate: Candidate, confidence: float) -> bool:
        """Return True if shown code refutes a new finding, or if an unsure one lacks two facts."""
        missing = self._list_missing(verdict, candidate)
        is_refuted = not verdict.agrees and any(map(self.refutes, verdict.facts))
        return is_refuted or (confidence < UNSURE and len(missing) > 1)

    def find_unseen(self, verdict: FindingVerdict, candidate: Candidate, confidence: float) -> str:
        """Return the fact on which a new finding hangs; "" if there is none."""
        if not verdict.facts:
            return ""
        missing = self._list_missing(verdict, candidate)
        fact = missing[0].fact if confidence < UNSURE and len(missing) == 1 else ""
        return verdict.unseen.strip() or fact.strip()


def plan_second_look(facts: PullRequestFacts) -> SecondLook:
    """Return what the second look decides about, and its code; no candidates if there is nothing.

    It decides about claims, and about new findings that would fail the check, are unsure or
    misquoted. A new finding of which no code can be shown is left out.
    """
    candidates = _list_asked(facts)
    new = [_to_new(facts, *finding) for finding in candidates]
    claims = facts.findings.claims
    tokens = facts.look_tokens // (2 * max(len(claims), 1))
    claimed = [_to_claimed(facts, claim, tokens // 2) for claim in claims]
    removed = facts.removals.hunks
    used = sum(map(_count_tokens, (*new, *claimed))) + sum(map(count_tokens, removed))
    code = choose_code(facts, candidates, max(facts.look_tokens - used, facts.look_tokens // 2))
    files = show_files(facts.selection, join_parts(code.parts))
    places = _list_places(files)
    placed = {
        entry.number for entry, _ in candidates if (entry.path, entry.side, entry.line) in places
    }
    new = [finding for finding in new if finding.code or finding.number in placed]
    return SecondLook((*new, *claimed), files, code.places, removed)


def list_names(facts: PullRequestFacts) -> Mapping[str, Set[str]]:
    """Return the names that new findings ask to look up, with the paths of these findings."""
    names: dict[str, set[str]] = {}
    for entry, located in _list_asked(facts):
        for name in located.finding.look_up:
            names.setdefault(name, set()).add(entry.path)
    return names


def _list_asked(facts: PullRequestFacts) -> list[Raised]:
    candidates: list[Raised] = []
    if facts.review.verify:
        candidates = [pair for pair in facts.findings.raised if _is_asked(*pair, facts.fail_on)]
    return [*candidates[:MAX_CANDIDATES], *facts.findings.unproved]


def _list_places(files: Iterable[PatchedFile]) -> set[tuple[str, Side, int | None]]:
    """Return path, side and number of each shown line; None is the number of the file itself."""
    places: set[tuple[str, Side, int | None]] = set()
    for file in files:
        places |= {(file.path, "LEFT", None), (file.path, "RIGHT", None)}
        for hunk in parse_numbered(file.numbered).hunks:
            places |= {(file.path, line.side, line.number) for line in hunk.lines}
    return places


def _is_asked(entry: LedgerEntry, located: Located, fail_on: Severity | None) -> bool:
    if entry.form:
        return False
    is_unsure = entry.confidence < UNSURE or bool(located.finding.look_up)
    return is_unsure or is_failing(entry.severity, fail_on) or _is_misquoted(located)


def _is_misquoted(located: Located) -> bool:
    """Return True if the quote of a finding is not the text of its line."""
    quote = last_line(located.finding.quote)
    return located.line is None or code_of(quote) != code_of(located.line.text)


def _to_candidate(
    entry: LedgerEntry, quote: str, rests_on: str, claim: str = "", code: str = ""
) -> Candidate:
    return Candidate(
        number=entry.number,
        path=entry.path,
        line=entry.line or 0,
        severity=entry.severity,
        title=entry.title,
        body=truncate(entry.body, MAX_BODY_CHARACTERS),
        quote=truncate(quote, MAX_CHARS),
        rests_on=truncate(rests_on, MAX_BODY_CHARACTERS),
        claim=claim,
        code=code,
    )


def _to_new(facts: PullRequestFacts, entry: LedgerEntry, located: Located) -> Candidate:
    finding = located.finding
    present = facts.present_lines.get(entry.number, CodeLines("")).text
    not_found = [name for name in finding.look_up if name in facts.looked_up.not_found]
    candidate = _to_candidate(entry, finding.quote, "\n".join(finding.rests_on), code=present)
    return replace(candidate, not_found=tuple(not_found))


def _to_claimed(facts: PullRequestFacts, claim: Claim, tokens: int) -> Candidate:
    """Return the candidate of a claim. Each of its two excerpts has at most `tokens`."""
    entry = claim.entry
    line = claim.line
    patches = facts.selection.patches
    excerpt = show_excerpt(patches, entry.path, entry.side, entry.line, tokens)
    excerpt = excerpt or facts.present_lines.get(entry.number, CodeLines("")).text
    proof = show_excerpt(patches, claim.path, line.side, line.number, tokens)
    code = excerpt if proof in excerpt else f"{excerpt}\n{proof}".strip("\n")
    text = f"{claim.text} {claim.path}, line {line.number}: {line.text.strip()[:MAX_CHARS]}"
    return _to_candidate(entry, "", "", text, code)


def _count_tokens(candidate: Candidate) -> int:
    texts = [candidate.path, candidate.title, candidate.body, candidate.claim]
    return estimate_tokens("\n".join([*texts, candidate.quote, candidate.rests_on, candidate.code]))


def apply_second_look(facts: PullRequestFacts, verdicts: FindingVerdicts) -> PullRequestFacts:
    """Return the facts with the new findings that are dropped or unproved, and the confirmed
    claims.

    Unknown numbers are ignored. If a finding has two verdicts, both must agree with the claim, and
    a new finding stays as it is unless both are against it. A verdict without facts decides
    nothing.
    """
    look = plan_second_look(facts)
    all_entries = [*facts.findings.ledger, *(entry for entry, _ in facts.findings.raised)]
    entries = {entry.number: entry for entry in all_entries}
    dropped: set[str] = set()
    unseen: dict[str, str] = {}
    agreed: set[str] = set()
    claimed = {claim.entry.number for claim in facts.findings.claims}
    claimed |= {entry.number for entry, _ in facts.findings.unproved}
    for candidate in look.candidates:
        entry = entries[candidate.number]
        own_verdicts = [
            verdict for verdict in verdicts.verdicts if verdict.number == candidate.number
        ]
        if candidate.number in claimed:
            if own_verdicts and all(look.proves(verdict, candidate) for verdict in own_verdicts):
                agreed.add(entry.key)
            continue
        hanging = [
            look.find_unseen(verdict, candidate, entry.confidence) for verdict in own_verdicts
        ]
        if own_verdicts and all(
            look.drops(verdict, candidate, entry.confidence) for verdict in own_verdicts
        ):
            dropped.add(entry.key)
        elif own_verdicts and all(hanging):
            unseen[entry.key] = hanging[0]
    return replace(facts, dropped=frozenset(dropped), unseen=unseen, agreed=frozenset(agreed))


OTHER_TOKENS = 400  # of the blocks of files without a finding


@dataclass(frozen=True, slots=True)
class _Code:
    parts: tuple[FilePart, ...]
    places: tuple[CodeLines, ...]


def choose_code(facts: PullRequestFacts, candidates: Sequence[Raised], tokens: int) -> _Code:
    """Choose the hunks and other places to show.

    First come the hunks with findings, then what was looked up for them and places that they name
    or rest on, then the rest of their files, and blocks of other files that share a name with them.
    """
    selection = facts.selection
    rests_on = "\n".join(chain.from_iterable(located.finding.rests_on for _, located in candidates))
    quotes = {letters_of(text_of(line)) for line in rests_on.split("\n")} - {""}
    files = {entry.path for entry, _ in candidates}
    file_parts = [
        part for part in _list_hunks(selection) if selection.files[part.file].path in files
    ]
    hunks = [_mark_lines(selection, part, candidates, quotes) for part in file_parts]

    def measure(part: FilePart) -> int:
        return _measure(selection, [part])

    with_finding = [hunk for hunk in hunks if hunk.marked]
    with_finding.sort(key=lambda hunk: measure(hunk.part))
    budget = Budget(tokens)
    parts: list[FilePart] = []
    for number, hunk in enumerate(with_finding):
        share = budget.tokens // (len(with_finding) - number)
        parts += budget.take(hunk.cut(selection, share), measure)
    names = _list_names(facts, candidates)
    places = [*facts.looked_up.second_sites, *_list_sites(facts, names, quotes)]
    places = budget.take(_show_once(places), count_tokens)
    parts += budget.take((hunk.part for hunk in hunks if not hunk.marked), measure)
    budget = Budget(min(budget.tokens, OTHER_TOKENS))
    parts += budget.take(_list_sharing(facts, names, files), measure)
    return _Code(tuple(parts), tuple(places))


def _show_once(places: Iterable[CodeLines]) -> Iterator[CodeLines]:
    """Yield the places, each line of a file once."""
    lines: set[str] = set()  # with the path of their file
    for place in places:
        new = [line for line in place.text.split("\n") if f"{place.path}\n{line}" not in lines]
        lines.update(f"{place.path}\n{line}" for line in new)
        if new:
            yield replace(place, text="\n".join(new))


@dataclass(frozen=True, slots=True)
class _Hunk:
    """A hunk with findings, as a call of the review showed it."""

    part: FilePart
    marked: tuple[int, ...]  # indexes of its lines that have a finding or that one rests on

    def cut(self, selection: Selection, tokens: int) -> list[FilePart]:
        """Return the hunk, or as many lines around the marked ones as fit, at least one."""
        if _measure(selection, [self.part]) <= tokens:
            return [self.part]
        (number,) = self.part.hunks
        lines = selection.patches[selection.files[self.part.file].path].hunks[number].lines
        start, end = self.part.lines or (0, len(lines))
        parts: list[FilePart] = []
        for around in EXCERPT_LINES:
            ranges = [
                (max(index - around, start), min(index + around + 1, end)) for index in self.marked
            ]
            parts = [replace(self.part, lines=lines) for lines in join_ranges(ranges)]
            if _measure(selection, parts) <= tokens:
                break
        return parts


def _measure(selection: Selection, parts: Iterable[FilePart]) -> int:
    return count_file_tokens(show_files(selection, parts))


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
    for index in range(*(part.lines or (0, len(lines)))):
        line = lines[index]
        if (path, line.side, line.number) in places or letters_of(line.text) in quotes:
            marked.append(index)
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
) -> Iterator[CodeLines]:
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
