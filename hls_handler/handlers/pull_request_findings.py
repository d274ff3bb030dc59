"""The findings of a review: which of them are raised and where, and what became of the earlier ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from hls_handler.analysis import Category, Finding, PullRequestAnalysis, Reply, Severity
from hls_handler.handlers.check import CheckedFinding
from hls_handler.handlers.handler import permalink
from hls_handler.handlers.pull_request_facts import Candidate, PullRequestFacts
from hls_handler.prompting.render import estimate_tokens
from hls_handler.review.ledger import LedgerEntry, OpenFinding, add, find_new, locate_open
from hls_handler.review.patches import Hunk, Line, Patch, Side, number_line, numbered
from hls_handler.review.positions import RANK, locate_findings

MAX_CANDIDATES = 40  # findings of one review that are verified and shown
EXCERPT_LINES = 40  # lines above and below a finding that the prompt which tries to refute it shows, at most
EXCERPT_TOKENS = 20_000  # of all findings of a review together
MAX_LINE_CHARS = 1_000  # of a line in an excerpt


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """A finding as the comment shows it. The fields of an earlier finding that are not stored are empty."""

    path: str
    side: Side
    start_line: int | None
    line: int | None
    severity: Severity
    category: Category | None
    confidence: float | None
    title: str
    body: str
    quote: str
    suggestion: str | None
    url: str  # permanent address of the lines on GitHub; "" if unknown
    is_inline: bool  # True if a review comment has the text


@dataclass(frozen=True, slots=True)
class ReviewFindings:
    raised: tuple[tuple[LedgerEntry, Finding], ...]  # new findings, most severe first
    inline: tuple[tuple[LedgerEntry, Finding], ...]  # those of `raised` that get a review comment
    unlocated: tuple[Finding, ...]
    held_back: int  # findings below the thresholds in the settings
    left_out: int  # the least severe of too many
    ledger: tuple[LedgerEntry, ...]  # the earlier findings with their present state
    open: tuple[OpenFinding, ...]  # those of `ledger` that are open, most severe first


def find_findings(facts: PullRequestFacts, reply: Reply | None) -> ReviewFindings:
    """Return the findings of a reply that this review raises, and those of earlier reviews."""
    reported = reply.findings if isinstance(reply, PullRequestAnalysis) else []
    wanted = [
        finding
        for finding in reported
        if RANK[finding.severity] <= RANK[facts.shown.min_severity] and finding.confidence >= facts.shown.min_confidence
    ]
    whole, ledger = facts.selection.patches, facts.record.ledger
    located, unlocated = locate_findings(wanted, facts.selection.shown_patches)
    timely = find_new([finding for finding in located if _is_timely(facts, finding)], ledger, whole)
    new = timely[:MAX_CANDIDATES]
    entries = add(ledger, new, whole, prompt_id="")
    raised = tuple((entry, found) for entry, found in zip(entries, new, strict=True) if entry.key not in facts.refuted)
    first = raised[: facts.review.max_inline] if facts.is_review else ()
    return ReviewFindings(
        raised,
        inline=tuple((entry, found) for entry, found in first if entry.key not in facts.not_inline),
        unlocated=tuple(f for f in unlocated if _is_first(facts) or f.path in facts.selection.shown_patches),
        held_back=len(reported) - len(wanted),
        left_out=len(timely) - len(new),
        ledger=ledger,
        open=tuple(sorted(locate_open(ledger, whole), key=lambda one: RANK[one.entry.severity])),
    )


def list_checked(result: ReviewFindings) -> list[CheckedFinding]:
    """Return the findings that count for the check: the new ones, the open ones, and those that people dismissed."""
    inline = {entry.key for entry, _ in result.inline}
    new = [
        CheckedFinding(
            found.path,
            found.side,
            found.start_line,
            found.line,
            found.severity,
            found.title,
            found.body,
            has_comment=entry.key in inline,
        )
        for entry, found in result.raised
    ]
    earlier = [_to_checked(one.entry, one.line) for one in result.open]
    dismissed = [_to_checked(entry, None) for entry in result.ledger if entry.state == "dismissed"]
    return [*new, *earlier, *dismissed]


def _to_checked(entry: LedgerEntry, line: int | None) -> CheckedFinding:
    dismissed_by: Literal["writer", "other"] | None = None
    if entry.state == "dismissed":
        dismissed_by = "writer" if entry.has_binding_dismissal else "other"
    has_comment, place = entry.comment_id is not None, (entry.path, entry.side, None, line)
    return CheckedFinding(*place, entry.severity, entry.title, "", has_comment=has_comment, dismissed_by=dismissed_by)


def _is_first(facts: PullRequestFacts) -> bool:
    return facts.record.rounds == 0 or facts.is_full


def _is_timely(facts: PullRequestFacts, finding: Finding) -> bool:
    """Return True if this round may raise the finding.

    After the first review, findings must be on lines that changed since the last one. In the second review, a critical
    one may also be on another line.
    """
    if _is_first(facts) or (facts.record.rounds == 1 and finding.severity == "critical"):
        return True
    return any(
        lines.side == finding.side
        and lines.first <= finding.line
        and (finding.start_line or finding.line) <= lines.last
        for file in facts.selection.files
        if file.path == finding.path
        for lines in file.changed
    )


def to_shown(facts: PullRequestFacts, finding: Finding, *, is_inline: bool) -> ShownFinding:
    return ShownFinding(
        path=finding.path,
        side=finding.side,
        start_line=finding.start_line,
        line=finding.line,
        severity=finding.severity,
        category=finding.category,
        confidence=finding.confidence,
        title=finding.title,
        body=finding.body,
        quote=finding.quote,
        suggestion=finding.suggestion,
        url=_permalink(facts, finding.path, finding.side, finding.start_line or finding.line, finding.line),
        is_inline=is_inline,
    )


def earlier_to_shown(facts: PullRequestFacts, found: OpenFinding) -> ShownFinding:
    entry = found.entry
    url = _permalink(facts, entry.path, entry.side, found.line, found.line)
    place = (entry.path, entry.side, None, found.line)
    is_inline = entry.comment_id is not None
    return ShownFinding(*place, entry.severity, None, None, entry.title, entry.body, "", None, url, is_inline)


def _permalink(facts: PullRequestFacts, path: str, side: Side, start: int | None, line: int | None) -> str:
    """Return the address of lines in the analysed commit; for removed lines, in the base commit. "" if unknown."""
    commit = facts.pull_request.head_sha
    if side == "LEFT":
        commit = facts.pull_request.base_sha
        files = facts.selection.files
        path = next((file.previous_path for file in files if file.path == path), None) or path
    return permalink(facts.pull_request.html_url, commit, path, line, start=start)


def list_candidates(facts: PullRequestFacts, reply: Reply) -> tuple[Candidate, ...]:
    """Return the new findings as the prompt shows them that tries to refute them."""
    raised = find_findings(facts, reply).raised
    tokens = EXCERPT_TOKENS // max(len(raised), 1)
    return tuple(
        Candidate(
            number,
            found.path,
            found.line,
            found.severity,
            found.title,
            found.body,
            _excerpt(facts.selection.shown_patches[found.path], found, tokens),
        )
        for number, (_, found) in enumerate(raised, start=1)
    )


def _excerpt(patch: Patch, finding: Finding, tokens: int) -> str:
    """Return the numbered lines of the finding's hunk around its line: as many as fit into `tokens`, and its line."""
    for hunk in patch.hunks:
        for index, line in enumerate(hunk.lines):
            if (line.side, line.number) == (finding.side, finding.line):
                return numbered(Patch((Hunk(hunk.header, _lines_around(hunk.lines, index, tokens)),)))
    return ""


def _lines_around(lines: Sequence[Line], index: int, tokens: int) -> tuple[Line, ...]:
    first, last = index, index
    left = tokens - _count_tokens(lines[index])
    for distance in range(1, EXCERPT_LINES + 1):
        for at in (index - distance, index + distance):
            is_next = at in (first - 1, last + 1) and 0 <= at < len(lines)
            if is_next and (needed := _count_tokens(lines[at])) <= left:
                first, last, left = min(first, at), max(last, at), left - needed
    return tuple(replace(line, text=line.text[:MAX_LINE_CHARS]) for line in lines[first : last + 1])


def _count_tokens(line: Line) -> int:
    return estimate_tokens(number_line(line)[:MAX_LINE_CHARS])
