"""Decides about findings of several lines some of which changed: Claude says which ones are corrected."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from hls_handler.analysis import Finding
from hls_handler.review.patches import Patch, Side
from hls_handler.review.positions import RANK
from hls_handler.review.quotes import add_quote, find_anchor, list_within
from hls_handler.review.record import MAX_BODY_CHARACTERS, LedgerEntry
from hls_handler.untrusted.cleaning import truncate

MAX_ADDED_CHARACTERS = 400  # of the text of a finding that an earlier one takes
MAX_TEXT_CHARACTERS = 3 * MAX_BODY_CHARACTERS  # of a finding with those of others
MAX_WIDER_LINES = 100  # of a finding whose lines an earlier one takes


def _repeats(finding: Finding, entry: LedgerEntry, patch: Patch) -> bool:
    """Return True if a finding repeats an entry whose quote changed: at one of its lines with its title and category.

    At its line, or about all of its lines, one of both suffices; the category does not if the entry is fixed.
    """
    quoted, first = entry.quoted_lines, finding.start_line or finding.line
    if (finding.path, finding.side) != (entry.path, entry.side) or entry.line is None:
        return False
    if first >= quoted.stop or quoted.start > finding.line:
        return False
    is_around = first <= quoted.start and quoted.stop <= finding.line + 1
    is_there = find_anchor(finding, patch) == entry.line or is_around
    has_category, has_title = finding.category == entry.category, finding.title == entry.title
    if is_there:
        return has_title or (has_category and not entry.is_closed)
    return has_title and has_category


def settle_quotes(
    ledger: Iterable[LedgerEntry],
    findings: Sequence[Finding],
    patches: Mapping[str, Patch],
    *,
    corrected: Collection[str],
    present: Collection[str],
    changed: Collection[tuple[str, Side, int]] = (),
    unread: Collection[str] = (),
) -> tuple[tuple[LedgerEntry, ...], tuple[Finding, ...]]:
    """Return the entries after a review, and those of its findings that repeat an entry whose quote changed.

    An entry whose quote changed is fixed if its key is in `corrected`, and its present quote counts from now on if the
    key is in `present` or a finding repeats it at its line or with its title. One that was fixed so is open again if a
    finding repeats it, and a dismissed one if the finding is more severe. A finding with other words or at another line
    may be about another defect, so the entry takes its text, too: both must be corrected. An open entry whose quote did
    not change takes the lines and the text of a finding that quotes its line, too, see `_is_wider`. `changed` are the
    lines that changed since the last review. The patches of the files `unread` are not known completely.
    """
    repeated: list[Finding] = []

    def settle(entry: LedgerEntry) -> LedgerEntry:
        patch = patches.get(entry.path)
        if not entry.is_quote_changed:
            wider = [one for one in findings if patch is not None and _is_wider(one, entry, patch, changed)]
            repeated.extend(wider)
            return _widen(entry, wider, patches, unread) if wider else entry
        there = [finding for finding in findings if patch is not None and _repeats(finding, entry, patch)]
        repeated.extend(there)
        if patch is None:
            return replace(entry, state="fixed") if entry.key in corrected else entry
        sure = [one for one in there if one.title == entry.title or _is_at_line(one, entry, patch)]
        if entry.key in corrected and not sure:
            return replace(entry, state="fixed")
        if not (sure or entry.key in present):
            return _take_text(entry, there, patch)  # in other words: Claude is asked about both
        settled = replace(entry, state="open") if entry.is_closed else entry
        if entry.state == "dismissed" and any(RANK[finding.severity] < RANK[entry.severity] for finding in there):
            void = (*entry.void_dismissals, *entry.dismissals)
            settled = replace(
                entry, state="open", dismissals=(), void_dismissals=void, dismissed_by=None, has_binding_dismissal=False
            )
        return add_quote(_take_text(settled, there, patch), patches, unread)

    return tuple(map(settle, ledger)), tuple(repeated)


def _is_at_line(finding: Finding, entry: LedgerEntry, patch: Patch) -> bool:
    """Return True if a finding is at the line of an entry, and that line is the one that it was known by."""
    return find_anchor(finding, patch) == entry.line and entry.quote in entry.lines[-1:]


def quotes_other_changes(finding: Finding, entry: LedgerEntry, changed: Collection[tuple[str, Side, int]]) -> bool:
    """Return True if the finding quotes a line that changed since the last review and that the entry does not quote."""
    quoted, numbers = entry.quoted_lines, range(finding.start_line or finding.line, finding.line + 1)
    return any((finding.path, finding.side, number) in changed for number in numbers if number not in quoted)


def _is_wider(finding: Finding, entry: LedgerEntry, patch: Patch, changed: Collection[tuple[str, Side, int]]) -> bool:
    """Return True if a finding quotes lines of an open entry, and may be about another line than the entry.

    It is known by another line and has the title and the category of the entry; or by its line, has one of both and
    quotes other lines that changed. Or it quotes this line, and has the title and is known by a line below the quote of
    the entry, or has the category and ends at this line.
    """
    if (finding.path, finding.side, "open") != (entry.path, entry.side, entry.state) or entry.line is None:
        return False
    quoted, first = entry.quoted_lines, finding.start_line or finding.line
    if first >= quoted.stop or quoted.start > finding.line or finding.line - first > MAX_WIDER_LINES:
        return False
    anchor = find_anchor(finding, patch)
    has_category, has_title = finding.category == entry.category, finding.title == entry.title
    if anchor == entry.line:
        return (has_title or has_category) and quotes_other_changes(finding, entry, changed)
    if has_title and has_category:
        return True
    is_around = first <= entry.line <= finding.line
    return is_around and ((has_title and anchor >= quoted.stop) or (has_category and finding.line == entry.line))


def _widen(
    entry: LedgerEntry, findings: Sequence[Finding], patches: Mapping[str, Patch], unread: Collection[str]
) -> LedgerEntry:
    """Return the entry with the lines and the texts of the findings: a change of each of them counts from now on."""
    entry = _take_text(entry, findings, patches[entry.path])
    assert entry.line is not None
    first = min(finding.start_line or finding.line for finding in findings)
    last = max(finding.line for finding in findings)
    above, below = max(entry.lines_above, entry.line - first), max(entry.lines_below, last - entry.line)
    return add_quote(replace(entry, lines_above=above, lines_below=below), patches, unread)


def _take_text(entry: LedgerEntry, findings: Sequence[Finding], patch: Patch) -> LedgerEntry:
    """Return the entry with the texts of the findings, and with the severity and title of a worse one.

    Each text is a paragraph, in place of those with the same title about the same line. If there are too many, the
    newest are kept.
    """
    if entry.has_binding_dismissal:
        return entry
    added: dict[str, str] = {}  # headings by paragraph
    for finding in findings:
        number = find_anchor(finding, patch)
        line = next((one.text.strip() for one in list_within(patch, finding.side, range(number, number + 1))), "")
        heading = f"{finding.title} ({truncate(line, 100)}): "
        is_own = finding.title == entry.title and number == entry.line and finding.body in entry.body
        text = re.sub(r"\n\s*\n", "\n", heading + truncate(finding.body, MAX_ADDED_CHARACTERS))
        if not is_own and text not in entry.body:
            added[text] = heading
    if added:
        headings = tuple(added.values())
        texts = [one for one in entry.body.split("\n\n") if one and not one.startswith(headings)] + [*added]
        while len(texts) > 2 and sum(map(len, texts)) > MAX_TEXT_CHARACTERS:
            del texts[1]
        entry = replace(entry, body=truncate("\n\n".join(texts), MAX_TEXT_CHARACTERS), is_body_posted=False)
    worst = min(findings, key=lambda finding: RANK[finding.severity], default=None)
    if worst is None or RANK[worst.severity] >= RANK[entry.severity] or entry.is_closed:
        return entry
    body = entry.body if worst.title == entry.title else f"{entry.title}: {entry.body}"
    return replace(entry, severity=worst.severity, title=worst.title, body=body, is_body_posted=False)


def raise_severity(entry: LedgerEntry, repeating: Sequence[Finding]) -> LedgerEntry:
    worst = min(repeating, key=lambda finding: RANK[finding.severity], default=None)
    if worst is None or RANK[worst.severity] >= RANK[entry.severity]:
        return entry
    if entry.is_closed or entry.has_binding_dismissal:
        return entry
    body, before = truncate(worst.body, MAX_BODY_CHARACTERS), truncate(entry.body, MAX_TEXT_CHARACTERS)
    if entry.quoted and before:  # it may be about another line of its quote
        body = f"{body}\n\n{before}" if worst.title == entry.title else f"{body}\n\n{entry.title}: {before}"
    return replace(entry, severity=worst.severity, title=worst.title, body=body, is_body_posted=False)
