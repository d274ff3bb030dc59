"""Findings that quote several lines, some of which the author changed.

The ledger knows such a finding by the last of its lines that the pull request changed. A change of another one may
correct the finding or not, so Claude is asked about it, and the finding stays open until then.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from hls_handler.analysis import Finding
from hls_handler.review.patches import Line, Patch, Side
from hls_handler.review.places import MIN_CHARACTERS, identify
from hls_handler.review.positions import RANK
from hls_handler.review.record import MAX_BODY_CHARACTERS, LedgerEntry
from hls_handler.untrusted.cleaning import truncate

MAX_QUOTED = 20  # lines of a finding above the one that the ledger knows it by, and below, that are compared


def find_anchor(finding: Finding, patch: Patch) -> int:
    """Return the number of the line that the ledger knows a finding by.

    It is the last of its lines that the pull request changed, without short ones such as a bracket, which are
    everywhere; else its last line.
    """
    quoted = range(finding.start_line or finding.line, finding.line + 1)
    return max((line.number for line in _list_changed(patch, finding.side, quoted)), default=finding.line)


def add_quote(entry: LedgerEntry, finding: Finding, patch: Patch) -> LedgerEntry:
    """Return the entry, whose line is the anchor of the finding, with the other lines that the finding quotes."""
    assert entry.line is not None
    first, last = finding.start_line or finding.line, finding.line
    above, below = min(entry.line - first, MAX_QUOTED), min(last - entry.line, MAX_QUOTED)
    quoted = range(entry.line - above, entry.line + below + 1)
    changed = _list_changed(patch, entry.side, quoted)
    others = tuple((line.number - entry.line, identify(line.text)) for line in changed if line.number != entry.line)
    placed = replace(entry, lines_above=above, lines_below=below, others=others)
    digest = digest_quote(placed, patch)
    return replace(placed, quoted=digest, decided=digest)


def digest_quote(entry: LedgerEntry, patch: Patch) -> str:
    """Return a digest of the lines that the finding quotes, as they are in the patch; "" if it quotes one line."""
    if entry.line is None or not (entry.lines_above or entry.lines_below):
        return ""
    quoted = range(entry.line - entry.lines_above, entry.line + entry.lines_below + 1)
    texts = (identify(line.text) for line in _list_lines(patch, entry.side, quoted))
    return sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def list_quoted(entry: LedgerEntry, patch: Patch) -> Iterator[int]:
    """Return the numbers of the other changed lines that the finding quotes, those that are where they were."""
    if entry.line is not None and entry.others:
        texts = {entry.line + distance: text for distance, text in entry.others}
        for line in _list_lines(patch, entry.side, range(min(texts), max(texts) + 1)):
            if texts.get(line.number) == identify(line.text):
                yield line.number


def _list_lines(patch: Patch, side: Side, numbers: range) -> Iterator[Line]:
    for hunk in patch.hunks:
        last = next((line.number for line in reversed(hunk.lines) if line.side == side), 0)
        if last >= numbers.start:
            yield from (line for line in hunk.lines if line.side == side and line.number in numbers)


def _list_changed(patch: Patch, side: Side, quoted: range) -> list[Line]:
    lines = (line for line in _list_lines(patch, side, quoted) if line.mark != " ")
    return [line for line in lines if len(identify(line.text)) >= MIN_CHARACTERS]


def list_repeating(entry: LedgerEntry, findings: Iterable[Finding], patch: Patch | None) -> list[Finding]:
    """Return those of the findings that repeat an entry whose quote changed.

    These are findings at one of its lines that have its title, and those at its line that have its category.
    """
    if entry.line is None or patch is None:
        return []
    first, last = entry.line - entry.lines_above, entry.line + entry.lines_below

    def repeats(finding: Finding) -> bool:
        is_there = (finding.start_line or finding.line) <= last and first <= finding.line
        is_alike = finding.title == entry.title or (
            finding.category == entry.category and find_anchor(finding, patch) == entry.line
        )
        return (finding.path, finding.side) == (entry.path, entry.side) and is_there and is_alike

    return [finding for finding in findings if repeats(finding)]


def settle_quotes(
    ledger: Iterable[LedgerEntry],
    findings: Sequence[Finding],
    patches: Mapping[str, Patch],
    *,
    corrected: Collection[str],
    present: Collection[str],
) -> tuple[tuple[LedgerEntry, ...], tuple[Finding, ...]]:
    """Return the entries after a review, and those of its findings that repeat an entry whose quote changed.

    An entry whose quote changed is fixed if its key is in `corrected`, and its present quote counts from now on if the
    key is in `present` or a finding repeats it; see `list_repeating`. One that was fixed so is open again if a finding
    repeats it, and a dismissed one if the finding is more severe.
    """
    repeated: list[Finding] = []

    def settle(entry: LedgerEntry) -> LedgerEntry:
        patch = patches.get(entry.path)
        if not entry.is_quote_changed:
            return entry
        there = list_repeating(entry, findings, patch)
        repeated.extend(there)
        if entry.key in corrected and not there:
            return replace(entry, state="fixed")
        if patch is None or not (there or entry.key in present):
            return entry
        settled = replace(entry, state="open") if entry.is_closed else entry
        if entry.state == "dismissed" and any(RANK[finding.severity] < RANK[entry.severity] for finding in there):
            void = (*entry.void_dismissals, *entry.dismissals)
            settled = replace(
                entry, state="open", dismissals=(), void_dismissals=void, dismissed_by=None, has_binding_dismissal=False
            )
        return raise_severity(replace(settled, decided=entry.quoted, is_quote_changed=False), there)

    return tuple(map(settle, ledger)), tuple(repeated)


def raise_severity(entry: LedgerEntry, repeating: Sequence[Finding]) -> LedgerEntry:
    worst = min(repeating, key=lambda finding: RANK[finding.severity], default=None)
    if worst is None or RANK[worst.severity] >= RANK[entry.severity]:
        return entry
    if entry.is_closed or entry.has_binding_dismissal:
        return entry
    body = truncate(worst.body, MAX_BODY_CHARACTERS)
    return replace(entry, severity=worst.severity, title=worst.title, body=body, is_body_posted=False)
