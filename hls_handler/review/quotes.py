"""Findings that quote several lines, one of which the author changed.

Such a change may correct the finding or not, so the review of that change decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from hls_handler.analysis import Finding
from hls_handler.review.patches import Line, Patch, Side
from hls_handler.review.places import MIN_CHARACTERS, PatchIndex, Place, identify
from hls_handler.review.positions import RANK
from hls_handler.review.record import MAX_BODY_CHARACTERS, LedgerEntry
from hls_handler.untrusted.cleaning import truncate

MAX_ABOVE = 20  # lines of a quote above its last one that are compared


def settle_quotes(
    ledger: Iterable[LedgerEntry],
    findings: Sequence[Finding],
    patches: Mapping[str, Patch],
    *,
    read: Collection[str],
    unplaced: Sequence[Finding] = (),
) -> tuple[tuple[LedgerEntry, ...], tuple[Finding, ...]]:
    """Return the entries after a review of the files `read`, and those of `findings` that repeat one of them.

    An entry whose quote changed is fixed unless a finding at one of its lines repeats it: one of several quoted lines
    may be changed without a correction. If a later finding repeats one that was fixed so, it is open again; so is a
    dismissed one that it repeats with a higher severity. `findings` are those of the review. `unplaced` are those of
    them that the review does not raise, because they have no position, or one on an unchanged line: such a finding
    repeats an entry also by its category alone, and by the text that it quotes.
    """
    ledger = tuple(ledger)
    quoted = {
        entry.key: _find_quoted(entry, patches.get(entry.path) if entry.is_quote_changed else None) for entry in ledger
    }
    repeating: list[Finding] = []

    def is_same(finding: Finding, entry: LedgerEntry, *, is_there: bool) -> bool:
        is_alike = finding.title == entry.title or (is_there and finding.category == entry.category)
        return (finding.path, finding.side) == (entry.path, entry.side) and is_alike

    def is_at(finding: Finding, entry: LedgerEntry) -> bool:
        lines, first = quoted[entry.key], finding.start_line or finding.line
        is_there = finding.line == entry.line or finding in unplaced
        if entry.line is None:
            return is_same(finding, entry, is_there=is_there)
        return is_same(finding, entry, is_there=is_there) and first < lines.stop and lines.start <= finding.line

    texts = [
        (finding, identify(finding.quote.split("\n")[-1]))
        for finding in unplaced
        if not any(is_at(finding, entry) for entry in ledger)
    ]

    def settle(entry: LedgerEntry) -> LedgerEntry:
        if not entry.is_quote_changed:
            return entry
        there = [finding for finding in findings if is_at(finding, entry)]
        repeating.extend(there)
        is_text = any(text == entry.quote and is_same(finding, entry, is_there=True) for finding, text in texts)
        if not there and not is_text:
            return replace(entry, state="fixed") if entry.path in read else entry
        reopened = replace(entry, state="open" if entry.is_closed else entry.state)
        if not there or entry.line is None or entry.path not in patches:  # its lines are not known
            return reopened
        if entry.state == "dismissed" and any(RANK[finding.severity] < RANK[entry.severity] for finding in there):
            void = (*entry.void_dismissals, *entry.dismissals)
            reopened = replace(
                entry, state="open", dismissals=(), void_dismissals=void, dismissed_by=None, has_binding_dismissal=False
            )
        patch = patches[entry.path]
        above = find_above(patch, entry.side, quoted[entry.key])
        settled = replace(reopened, above=above, is_quote_changed=False)
        return raise_severity(replace(settled, quoted=digest_quoted(settled, patch)), there)

    return tuple(map(settle, ledger)), tuple(repeating)


def raise_severity(entry: LedgerEntry, repeating: Sequence[Finding]) -> LedgerEntry:
    worst = min(repeating, key=lambda finding: RANK[finding.severity], default=None)
    if worst is None or RANK[worst.severity] >= RANK[entry.severity]:
        return entry
    if entry.is_closed or entry.has_binding_dismissal:
        return entry
    return replace(entry, severity=worst.severity, title=worst.title, body=truncate(worst.body, MAX_BODY_CHARACTERS))


def _find_quoted(entry: LedgerEntry, patch: Patch | None) -> range:
    """Return the numbers of the lines that the finding quotes, as far as known; an empty range if no patch has them.

    Without the patch, they are estimated from the number of quoted lines.
    """
    if entry.line is None:
        return range(0)
    lines = () if patch is None else _list_lines(patch, entry.side)
    nearest = {
        identify(line.text): line.number for line in lines if 0 < entry.line - line.number <= _reach(entry)
    }  # of equal lines, the last one
    known = [nearest[text] for text in entry.above if text in nearest]
    return range(min([*known, max(entry.line - len(entry.above), 1)]), entry.line + 1)


def find_known_lines(entry: LedgerEntry, patch: Patch) -> set[int]:
    """Return the numbers of the lines above that of the finding whose text it quotes."""
    above = _find_quoted(entry, patch)[:-1]
    lines = (line for line in _list_lines(patch, entry.side) if line.number in above)
    return {line.number for line in lines if identify(line.text) in entry.above}


def _list_lines(patch: Patch, side: Side) -> Iterator[Line]:
    return (line for hunk in patch.hunks for line in hunk.lines if line.side == side)


def _reach(entry: LedgerEntry) -> int:
    """Return the distance of a quoted line from the last one: there may be short lines and inserted ones between."""
    return min(2 * len(entry.above) + 3, 2 * MAX_ABOVE)


def find_above(patch: Patch, side: Side, quoted: range) -> tuple[str, ...]:
    """Return the changed lines of a quote of several lines above the last one, without short ones."""
    lines = (line for line in _list_lines(patch, side) if line.mark != " " and line.number in quoted[:-1])
    texts = (identify(line.text) for line in lines)
    return tuple(text for text in texts if len(text) >= MIN_CHARACTERS)


def has_quote(entry: LedgerEntry, place: Place, index: PatchIndex) -> bool:
    """Return True if the lines that the finding quotes above its line are still above it."""
    line = place.line
    return all(
        any(0 < line.number - one.line.number <= _reach(entry) for one in index.find(place.path, line.side, text))
        for text in entry.above
    )


def digest_quoted(entry: LedgerEntry, patch: Patch) -> str:
    """Return a digest of the lines that the finding quotes and of those between them; "" if it quotes one line."""
    if not entry.above:
        return ""
    quoted = _find_quoted(entry, patch)
    texts = (identify(line.text) for line in _list_lines(patch, entry.side) if line.number in quoted)
    return sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]
