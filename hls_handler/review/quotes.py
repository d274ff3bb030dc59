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
from hls_handler.review.places import MIN_CHARACTERS, PatchIndex, Place, identify
from hls_handler.review.positions import RANK
from hls_handler.review.record import MAX_BODY_CHARACTERS, LedgerEntry, QuotedLine
from hls_handler.untrusted.cleaning import truncate

MAX_OTHERS = 60  # lines of a finding that are followed beside the one that the ledger knows it by
MAX_OTHER_TWINS = 10  # of each of these
MAX_ADDED_CHARACTERS = 300  # of the text of a finding that an earlier one takes
MAX_INSERTED = 30  # lines of one push beside an unchanged end of a quote that do not shorten it
MAX_DISTANCE = 100  # lines between those that belong together; one that moved farther is reviewed at its new place


def find_anchor(finding: Finding, patch: Patch) -> tuple[Side, int]:
    """Return side and number of the line that the ledger knows a finding by.

    It is the last of its lines that the pull request changed, if possible one of some length, because a short one is
    everywhere; else the last line that it removed between them; else the last line of the finding.
    """
    quoted = range(finding.start_line or finding.line, finding.line + 1)
    changed = _list_changed(patch, finding.side, quoted)
    removed = [line for line in list_within(patch, finding.side, quoted) if line.side != finding.side]
    lines = [line for line in changed if _is_long(line)] or changed or [line for line in removed if _is_long(line)]
    return (lines[-1].side, lines[-1].number) if lines else (finding.side, finding.line)


def add_quote(entry: LedgerEntry, finding: Finding, patch: Patch) -> LedgerEntry:
    """Return the entry, whose line is the anchor of the finding, with the range of lines that the finding quotes."""
    assert entry.line is not None
    quoted = range(finding.start_line or finding.line, finding.line + 1)
    if entry.side != finding.side:  # it is known by the last line that was removed in its range
        removed = [one.number for one in list_within(patch, finding.side, quoted) if one.side == entry.side]
        quoted = range(removed[0], entry.line + 1)
    above, below = entry.line - quoted.start, quoted.stop - 1 - entry.line
    placed = replace(entry, lines_above=above, lines_below=below)
    digest = _digest(placed, patch)
    return replace(placed, quoted=digest, decided=digest)


def place_quote(entry: LedgerEntry, places: Sequence[tuple[QuotedLine, Place | None]], patch: Patch) -> LedgerEntry:
    """Return the entry at its present lines.

    `places` has its line and its other lines, with their present places; None if a line is not there. One at least is.
    If its own line is not there, the entry is known by the last of the others now.
    """
    found = [(one, place) for one, place in places if place is not None]
    numbers = [place.line.number for _, place in found]
    line = entry.line or entry.shown_line
    old = range(line - entry.lines_above, line + entry.lines_below + 1)
    first, last = min(one.number for one, _ in found), max(one.number for one, _ in found)
    start, stop = min(numbers) + old.start - first, max(numbers) + old.stop - last
    for one in (one for one, place in places if place is None and one.is_unchanged):
        # Lines that are inserted beside an unchanged end of the quote separate it from the lines around it.
        if one.number < first:
            known = range(max(min(numbers) - (first - one.number) - MAX_INSERTED, 1), min(numbers))
            shown = [line.number for line in _list_lines(patch, entry.side, known) if identify(line.text) == one.text]
            start = min(start, shown[-1] - (one.number - old.start)) if shown else start
        elif one.number > last:
            known = range(max(numbers) + 1, max(numbers) + one.number - last + MAX_INSERTED + 1)
            shown = [line.number for line in _list_lines(patch, entry.side, known) if identify(line.text) == one.text]
            stop = max(stop, shown[0] + old.stop - one.number) if shown else stop
    below = {line.number: line for line in list_within(patch, entry.side, range(stop, stop + MAX_INSERTED))}
    is_range = bool(entry.lines_above or entry.lines_below)
    while is_range and stop in below and _is_bracket(below[stop]):  # lines were inserted above the end of a call
        stop += 1
    quoted = range(max(start, 1), stop)
    anchor = places[0][1] or next(place for _, place in found if place.line.number == max(numbers))
    placed = replace(
        entry,
        path=anchor.path,
        quote=identify(anchor.line.text),
        line=anchor.line.number,
        shown_line=anchor.line.number,
        nearby=anchor.nearby,
        changed=anchor.changed,
        twins=anchor.twins,
        is_unchanged=anchor.is_in_base or (entry.is_unchanged and anchor is places[0][1]),
        lines_above=anchor.line.number - quoted.start,
        lines_below=quoted.stop - 1 - anchor.line.number,
        others=tuple(
            replace(one, number=min(one.number - old.start + quoted.start, quoted.stop - 1), is_absent=True)
            if place is None
            else _to_quoted(place, is_unchanged=one.is_unchanged)
            for one, place in places
            if place is not anchor
        ),
    )
    digest = _digest(placed, patch)
    return replace(placed, quoted=digest, is_quote_changed=digest != entry.decided)


def _to_quoted(place: Place, *, is_unchanged: bool) -> QuotedLine:
    known = (identify(place.line.text), place.nearby, place.changed, place.twins[:MAX_OTHER_TWINS])
    return QuotedLine(*known, place.line.number, is_unchanged=is_unchanged)


def with_others(entries: Sequence[LedgerEntry], patches: Mapping[str, Patch]) -> tuple[LedgerEntry, ...]:
    """Return the entries with the other lines that they quote, as they are now.

    These are the changed ones, and the first and the last one, between which others may be inserted. If none is
    changed, all are. Blank lines and brackets do not count.
    """
    others: dict[str, list[Line]] = {}
    for entry in entries:
        if entry.line is not None and (entry.lines_above or entry.lines_below):
            lines = _list_lines(patches[entry.path], entry.side, _find_quoted(entry))
            ends = {lines[0].number, lines[-1].number} if lines else set()
            is_changed = any(line.mark != " " for line in lines)
            wanted = [line for line in lines if not is_changed or line.mark != " " or line.number in ends]
            wanted = [line for line in wanted if line.number != entry.line]
            others[entry.key] = wanted[: MAX_OTHERS // 2] + wanted[MAX_OTHERS // 2 :][-MAX_OTHERS // 2 :]
    paths = {entry.path for entry in entries if entry.key in others}
    texts = {identify(line.text) for lines in others.values() for line in lines}
    index = PatchIndex({path: patches[path] for path in paths}, texts)

    def find(entry: LedgerEntry, line: Line) -> Place:
        places = index.find(entry.path, entry.side, identify(line.text))
        return index.with_twins(next(one for one in places if one.line.number == line.number))

    return tuple(
        replace(
            entry,
            others=tuple(
                _to_quoted(find(entry, line), is_unchanged=line.mark == " ") for line in others.get(entry.key, ())
            ),
        )
        for entry in entries
    )


def list_quoted(entry: LedgerEntry, patch: Patch) -> Mapping[int, range]:
    """Return the indexes of the finding's lines and of those between them, by the index of their hunk."""
    quoted = _find_quoted(entry)
    found: dict[int, range] = {}
    for number, hunk in enumerate(patch.hunks):
        lines = enumerate(hunk.lines)
        within = [index for index, line in lines if line.side == entry.side and line.number in quoted]
        if within:
            found[number] = range(within[0], within[-1] + 1)
    return found


def _find_quoted(entry: LedgerEntry) -> range:
    """Return the numbers of the lines that the finding quotes; no number if its line is not known."""
    if entry.line is None:
        return range(0)
    return range(max(entry.line - entry.lines_above, 1), entry.line + entry.lines_below + 1)


def _digest(entry: LedgerEntry, patch: Patch) -> str:
    """Return a digest of what the pull request changes in the lines of the finding; "" if it quotes one line.

    These are the changed lines, and those that it removes between them. The base may change the others, and whether a
    bracket counts as changed depends on other lines.
    """
    if not (entry.lines_above or entry.lines_below):
        return ""
    lines = [*list_within(patch, entry.side, _find_quoted(entry))]
    changed = [line for line in lines if line.mark != " " and not _is_bracket(line)]
    own = {identify(line.text) for line in changed if line.side == entry.side}
    marked = ((line.side, line.mark, identify(line.text)) for line in changed)
    texts = [f"{mark}{text}" for side, mark, text in marked if side == entry.side or text not in own]
    return sha256("\n".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def list_within(patch: Patch, side: Side, numbers: range) -> Iterator[Line]:
    """Yield the lines of one side with these numbers, and the lines of the other side between them."""
    for hunk in patch.hunks:
        last = next((line.number for line in reversed(hunk.lines) if line.side == side), 0)
        if last < numbers.start:
            continue
        within = [at for at, line in enumerate(hunk.lines) if line.side == side and line.number in numbers]
        yield from hunk.lines[within[0] : within[-1] + 1] if within else ()


def _list_changed(patch: Patch, side: Side, quoted: range) -> list[Line]:
    return [line for line in _list_lines(patch, side, quoted) if line.mark != " "]


def _list_lines(patch: Patch, side: Side, quoted: range) -> list[Line]:
    """Return the lines with these numbers, without blank ones and brackets."""
    lines = (line for line in list_within(patch, side, quoted) if line.side == side)
    return [line for line in lines if not _is_bracket(line)]


def _is_bracket(line: Line) -> bool:
    return not identify(line.text).strip("()[]{},; ")


def _is_long(line: Line) -> bool:
    return len(identify(line.text)) >= MIN_CHARACTERS


def _repeats(finding: Finding, entry: LedgerEntry, patch: Patch) -> bool:
    """Return True if a finding repeats an entry whose quote changed: at one of its lines with its title.

    One that is not fixed is also repeated by a finding with its category at its line, or about all of its lines.
    """
    quoted, first = _find_quoted(entry), finding.start_line or finding.line
    if (finding.path, finding.side) != (entry.path, entry.side) or entry.line is None:
        return False
    if first >= quoted.stop or quoted.start > finding.line:
        return False
    lines = [entry.line, *(one.number for one in entry.others)]
    is_there = find_anchor(finding, patch)[1] == entry.line or (first <= min(lines) and max(lines) <= finding.line)
    is_same = finding.category == entry.category and is_there and not entry.is_closed
    return finding.title == entry.title or is_same


def settle_quotes(
    ledger: Iterable[LedgerEntry],
    findings: Sequence[Finding],
    patches: Mapping[str, Patch],
    *,
    corrected: Collection[str],
    present: Collection[str],
    changed: Collection[tuple[str, Side, int]] = (),
) -> tuple[tuple[LedgerEntry, ...], tuple[Finding, ...]]:
    """Return the entries after a review, and those of its findings that repeat an entry whose quote changed.

    An entry whose quote changed is fixed if its key is in `corrected`, and its present quote counts from now on if the
    key is in `present` or a finding repeats it at its line or with its title. One that was fixed so is open again if a
    finding repeats it, and a dismissed one if the finding is more severe. A finding with other words or at another line
    may be about another defect, so the entry takes its text, too: both must be corrected. An open entry whose quote did
    not change takes the lines and the text of a finding that quotes its line, too, see `_is_wider`. `changed` are the
    lines that changed since the last review.
    """
    repeated: list[Finding] = []

    def settle(entry: LedgerEntry) -> LedgerEntry:
        patch = patches.get(entry.path)
        if not entry.is_quote_changed:
            wider = [one for one in findings if patch is not None and _is_wider(one, entry, patch, changed)]
            repeated.extend(wider)
            return with_others([_widen(entry, wider, patches[entry.path])], patches)[0] if wider else entry
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
            return entry
        settled = replace(entry, state="open") if entry.is_closed else entry
        if entry.state == "dismissed" and any(RANK[finding.severity] < RANK[entry.severity] for finding in there):
            void = (*entry.void_dismissals, *entry.dismissals)
            settled = replace(
                entry, state="open", dismissals=(), void_dismissals=void, dismissed_by=None, has_binding_dismissal=False
            )
        for finding in there:
            if finding.title != entry.title or find_anchor(finding, patch)[1] != entry.line:
                settled = _add_text(settled, finding, patch)
        decided = replace(settled, decided=entry.quoted, is_quote_changed=False, elsewhere=())
        return raise_severity(with_others([decided], patches)[0], there)

    return tuple(map(settle, ledger)), tuple(repeated)


def _is_at_line(finding: Finding, entry: LedgerEntry, patch: Patch) -> bool:
    """Return True if a finding is at the line of an entry, and that line is the one that it was known by."""
    line = entry.line or 0
    is_other = any(one.is_absent and one.number > line for one in entry.others)
    return find_anchor(finding, patch)[1] == line and not is_other


def quotes_other_changes(finding: Finding, entry: LedgerEntry, changed: Collection[tuple[str, Side, int]]) -> bool:
    """Return True if the finding quotes a line that changed since the last review and that the entry does not quote."""
    quoted, numbers = _find_quoted(entry), range(finding.start_line or finding.line, finding.line + 1)
    return any((finding.path, finding.side, number) in changed for number in numbers if number not in quoted)


def _is_wider(finding: Finding, entry: LedgerEntry, patch: Patch, changed: Collection[tuple[str, Side, int]]) -> bool:
    """Return True if a finding quotes the line of an open entry and others, and is about another one of them.

    It has the title of the entry and ends below its quote, or it has its category and ends at its line, or it is known
    by that and quotes other lines that changed.
    """
    if (finding.path, finding.side, "open") != (entry.path, entry.side, entry.state) or entry.line is None:
        return False
    first, last = finding.start_line or finding.line, entry.line + entry.lines_below
    if not first <= entry.line <= finding.line or finding.line - first > MAX_DISTANCE:
        return False
    side, anchor = find_anchor(finding, patch)
    if finding.title == entry.title and side == entry.side and anchor > last:
        return True
    is_other = anchor == entry.line and quotes_other_changes(finding, entry, changed)
    return finding.category == entry.category and (is_other or (finding.line == entry.line and anchor != entry.line))


def _widen(entry: LedgerEntry, findings: Iterable[Finding], patch: Patch) -> LedgerEntry:
    """Return the entry with the lines and the texts of the findings: a change of each of them counts now."""
    assert entry.line is not None
    for finding in findings:
        above = max(entry.lines_above, entry.line - (finding.start_line or finding.line))
        below = max(entry.lines_below, finding.line - entry.line)
        entry = _add_text(replace(entry, lines_above=above, lines_below=below), finding, patch)
    digest = _digest(entry, patch)
    return replace(entry, quoted=digest, decided=digest)


def _add_text(entry: LedgerEntry, finding: Finding, patch: Patch) -> LedgerEntry:
    side, number = find_anchor(finding, patch)
    line = next((one.text.strip() for one in list_within(patch, side, range(number, number + 1))), "")
    text = f"{finding.title} ({truncate(line, 100)}): {finding.body}"
    if text in entry.body or entry.has_binding_dismissal:
        return entry
    joined = f"{entry.body}\n\n{truncate(text, MAX_ADDED_CHARACTERS)}".strip()
    return replace(entry, body=truncate(joined, 3 * MAX_BODY_CHARACTERS), is_body_posted=False)


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
