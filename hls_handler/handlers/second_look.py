"""The second look at the findings that decide: what its prompt shows, and what its reply changes.

The code is shown once, for all findings: what decides about one often stands in another hunk of
its file, or in a line that it rests on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain

from hls_handler.analysis import FindingVerdict, FindingVerdicts, NeededFact, Severity
from hls_handler.handlers.changed_files import (
    TOKENS_PER_FILE,
    FilePart,
    PatchedFile,
    Selection,
    list_around,
    show_files,
)
from hls_handler.handlers.present_lines import EXCERPT_LINES, MAX_CHARS, PresentLines, show_excerpt
from hls_handler.handlers.pull_request_facts import PullRequestFacts, Raised
from hls_handler.handlers.removed_lines import RemovedLines, count_tokens
from hls_handler.question import estimate_tokens
from hls_handler.review.ledger import is_failing
from hls_handler.review.neighbourhood import SecondSite
from hls_handler.review.patches import (
    NUMBERED_LINE,
    Hunk,
    Line,
    Patch,
    Side,
    numbered,
    parse_numbered,
    text_of,
    widen,
)
from hls_handler.review.positions import Located, code_of, is_only_comment, last_line, letters_of
from hls_handler.review.record import LedgerEntry
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
    second_sites: tuple[SecondSite, ...] = ()
    removed: tuple[RemovedLines, ...] = ()

    @property
    def _texts(self) -> list[str]:
        """The numbered lines that are shown."""
        texts = [file.numbered for file in self.files]
        texts += (hunk.code for hunk in self.removed)
        return [*texts, *(site.text for site in self.second_sites)]

    @cached_property
    def _letters(self) -> str:
        return _letters_of(self._texts)

    @cached_property
    def _code_lines(self) -> frozenset[str]:
        """The characters of each line of the present files that has letters and is not only a
        comment.
        """
        lines = "\n".join(self._texts).split("\n")
        matches = [NUMBERED_LINE.fullmatch(line) for line in lines]
        present = [
            match["text"] or "" for match in matches if match is not None and match["side"] == "R"
        ]
        code = [text for text in present if letters_of(text) and not is_only_comment(text)]
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
        return letters != "" and letters in self._letters + _letters_of([candidate.code])

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


def _letters_of(texts: Iterable[str]) -> str:
    """Return the letters of numbered lines. A note such as "[cut here: ...]" is none."""
    lines = [line for text in texts for line in text.split("\n")]
    return "".join(letters_of(text_of(line)) for line in lines if NUMBERED_LINE.fullmatch(line))


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
    used = sum(_count_tokens(finding) for finding in (*new, *claimed)) + sum(
        map(count_tokens, removed)
    )
    code = _choose_code(facts, candidates, max(facts.look_tokens - used, facts.look_tokens // 2))
    files = show_files(facts.selection, _join_parts(code.parts))
    places = _list_places(files)
    placed = {
        entry.number for entry, _ in candidates if (entry.path, entry.side, entry.line) in places
    }
    new = [finding for finding in new if finding.code or finding.number in placed]
    return SecondLook((*new, *claimed), files, tuple(code.sites), removed)


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
    present = facts.present_lines.get(entry.number, PresentLines()).code
    not_found = [name for name in finding.look_up if name in facts.looked_up.not_found]
    candidate = _to_candidate(entry, finding.quote, finding.rests_on, code=present)
    return replace(candidate, not_found=tuple(not_found))


def _to_claimed(facts: PullRequestFacts, claim: Claim, tokens: int) -> Candidate:
    """Return the candidate of a claim. Each of its two excerpts has at most `tokens`."""
    entry = claim.entry
    line = claim.line
    patches = facts.selection.patches
    own = show_excerpt(patches, entry.path, entry.side, entry.line, tokens)
    own = own or facts.present_lines.get(entry.number, PresentLines()).code
    proof = show_excerpt(patches, claim.path, line.side, line.number, tokens)
    code = own if proof in own else f"{own}\n{proof}".strip("\n")
    text = f"{claim.text} {claim.path}, line {line.number}: {line.text.strip()[:MAX_CHARS]}"
    return _to_candidate(entry, "", "", text, code)


def _count_tokens(candidate: Candidate) -> int:
    texts = [candidate.path, candidate.title, candidate.body, candidate.claim]
    return estimate_tokens("\n".join([*texts, candidate.quote, candidate.rests_on, candidate.code]))


# --- The code that is shown


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


def _choose_code(facts: PullRequestFacts, candidates: Sequence[Raised], tokens: int) -> _Chosen:
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


def _is_about(site: SecondSite, files: Collection[str], texts: str) -> bool:
    """Return True if a place belongs to one of the files, or if the texts name it."""
    is_named = re.search(rf"\b{re.escape(site.name)}\b", texts) is not None
    return is_named or any(path in files for path in site.sources)


def _is_quoted(site: SecondSite, quotes: Iterable[str]) -> bool:
    return _has_any(_letters_of([site.text]), quotes)


def _has_any(letters: str, quotes: Iterable[str]) -> bool:
    return any(quote in letters for quote in quotes)


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


def _join_parts(parts: Iterable[FilePart]) -> Iterator[FilePart]:
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


# --- The reply


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
        own = [verdict for verdict in verdicts.verdicts if verdict.number == candidate.number]
        if candidate.number in claimed:
            if own and all(look.proves(verdict, candidate) for verdict in own):
                agreed.add(entry.key)
            continue
        hanging = [look.find_unseen(verdict, candidate, entry.confidence) for verdict in own]
        if own and all(look.drops(verdict, candidate, entry.confidence) for verdict in own):
            dropped.add(entry.key)
        elif own and all(hanging):
            unseen[entry.key] = hanging[0]
    return replace(facts, dropped=frozenset(dropped), unseen=unseen, agreed=frozenset(agreed))
