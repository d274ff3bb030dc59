"""Findings as comments show them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import get_args

from hls_handler.analysis import Category, Finding, Severity
from hls_handler.handlers.handler import permalink
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.review.patches import Side
from hls_handler.review.positions import Located
from hls_handler.review.record import LedgerEntry


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
    url: str  # of the review comment, or the permanent address of the lines on GitHub; "" if unknown
    is_inline: bool  # True if a review comment has the text
    number: int = 0  # 0: it cannot be dismissed, because it does not count
    is_undecided: bool = False


def to_shown(facts: PullRequestFacts, entry: LedgerEntry, located: Located, *, is_inline: bool) -> ShownFinding:
    found, line = located.finding, None if located.line is None else located.finding.line
    url = _comment_url(facts, facts.comment_ids.get(entry.key))
    url = url or _permalink(facts, found.path, found.side, found.start_line or line, line)
    return _to_shown(found, line, url, is_inline=is_inline, number=entry.number)


def show_raised(
    facts: PullRequestFacts,
    raised: Iterable[tuple[LedgerEntry, Located]],
    inline: Iterable[tuple[LedgerEntry, Located]],
) -> tuple[ShownFinding, ...]:
    """Return new findings; the findings in `inline` have a review comment."""
    keys = {entry.key for entry, _ in inline}
    return tuple(to_shown(facts, entry, one, is_inline=entry.key in keys) for entry, one in raised)


def show_unlocated(facts: PullRequestFacts, findings: Iterable[Finding]) -> tuple[ShownFinding, ...]:
    urls = ((one, _permalink(facts, one.path, "RIGHT", None, None)) for one in findings)
    return tuple(_to_shown(finding, None, url, is_inline=False, number=0) for finding, url in urls)


def show_earlier(facts: PullRequestFacts, entries: Iterable[LedgerEntry]) -> tuple[ShownFinding, ...]:
    return tuple(_earlier_to_shown(facts, entry) for entry in entries)


def _to_shown(finding: Finding, line: int | None, url: str, *, is_inline: bool, number: int) -> ShownFinding:
    return ShownFinding(
        path=finding.path,
        side=finding.side,
        start_line=finding.start_line,
        line=line,
        severity=finding.severity,
        category=finding.category,
        confidence=finding.confidence,
        title=finding.title,
        body=finding.body,
        quote=finding.quote,
        suggestion=finding.suggestion,
        url=url,
        is_inline=is_inline,
        number=number,
    )


def _earlier_to_shown(facts: PullRequestFacts, entry: LedgerEntry) -> ShownFinding:
    url = _comment_url(facts, entry.comment_id) or _permalink(facts, entry.path, entry.side, entry.line, entry.line)
    place = (entry.path, entry.side, None, entry.line)
    is_inline = entry.comment_id is not None
    body = "" if is_inline else entry.body
    category: Category | None = next((one for one in get_args(Category) if one == entry.category), None)
    shown = ShownFinding(*place, entry.severity, category, None, entry.title, body, "", None, url, is_inline)
    return replace(shown, number=entry.number, is_undecided=entry.is_undecided)


def _comment_url(facts: PullRequestFacts, comment_id: int | None) -> str:
    return "" if comment_id is None else f"{facts.pull_request.html_url}#discussion_r{comment_id}"


def _permalink(facts: PullRequestFacts, path: str, side: Side, start: int | None, line: int | None) -> str:
    """Return the address of lines in the analysed commit; for removed lines, in the base commit. "" if unknown."""
    commit = facts.pull_request.head_sha
    if side == "LEFT":
        commit, path = facts.pull_request.base_sha, facts.present.name(path)
    return permalink(facts.pull_request.html_url, commit, path, line, start=start)
