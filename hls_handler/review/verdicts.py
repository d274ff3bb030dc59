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

MAX_ADDED_CHARACTERS = 300  # of the text of a finding that an earlier one takes
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
            for finding in there:  # in other words: Claude is asked about both
                entry = _add_text(entry, finding, patch)
            return raise_severity(entry, there)
        settled = replace(entry, state="open") if entry.is_closed else entry
        if entry.state == "dismissed" and any(RANK[finding.severity] < RANK[entry.severity] for finding in there):
            void = (*entry.void_dismissals, *entry.dismissals)
            settled = replace(
                entry, state="open", dismissals=(), void_dismissals=void, dismissed_by=None, has_binding_dismissal=False
            )
        for finding in there:
            settled = _add_text(settled, finding, patch)
        return raise_severity(add_quote(settled, patches, unread), there)

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
    """Return the entry with the lines, the texts and the highest severity of the findings.

    A change of each of these lines counts from now on.
    """
    worst = min(findings, key=lambda finding: RANK[finding.severity])
    if RANK[worst.severity] < RANK[entry.severity]:
        body = entry.body if worst.title == entry.title else f"{entry.title}: {entry.body}"
        entry = replace(entry, severity=worst.severity, title=worst.title, body=body, is_body_posted=False)
    assert entry.line is not None
    for finding in findings:
        above = max(entry.lines_above, entry.line - (finding.start_line or finding.line))
        below = max(entry.lines_below, finding.line - entry.line)
        wider = replace(entry, lines_above=above, lines_below=below)
        entry = _add_text(wider, finding, patches[entry.path])
    return add_quote(entry, patches, unread)


def _add_text(entry: LedgerEntry, finding: Finding, patch: Patch) -> LedgerEntry:
    """Return the entry with the text of the finding as a paragraph, in place of one with its title about its line."""
    number = find_anchor(finding, patch)
    line = next((one.text.strip() for one in list_within(patch, finding.side, range(number, number + 1))), "")
    heading = f"{finding.title} ({truncate(line, 100)}): "
    text = re.sub(r"\n\s*\n", "\n", truncate(heading + finding.body, MAX_ADDED_CHARACTERS))
    if finding.body in entry.body or text in entry.body or entry.has_binding_dismissal:
        return entry
    others = [one for one in entry.body.split("\n\n") if not one.startswith(heading)]
    body = truncate("\n\n".join([*others, text]).strip(), 3 * MAX_BODY_CHARACTERS)
    return replace(entry, body=body, is_body_posted=False)


def raise_severity(entry: LedgerEntry, repeating: Sequence[Finding]) -> LedgerEntry:
    worst = min(repeating, key=lambda finding: RANK[finding.severity], default=None)
    if worst is None or RANK[worst.severity] >= RANK[entry.severity]:
        return entry
    if entry.is_closed or entry.has_binding_dismissal:
        return entry
    body, before = truncate(worst.body, MAX_BODY_CHARACTERS), truncate(entry.body, MAX_BODY_CHARACTERS // 2)
    if entry.quoted and worst.title != entry.title and before:  # it may be about another line of its quote
        body = f"{body}\n\n{entry.title}: {before}"
    return replace(entry, severity=worst.severity, title=worst.title, body=body, is_body_posted=False)
