"""The ledger: the findings that HLS has raised on a pull request, and what became of each.

A finding is identified by its file, the quoted line and its category, not by its wording or line number.
`review/places.py` finds the line in later patches. A finding stays open while the patches have its line, also if Claude
does not repeat it: replies about the same text differ, and an author must not be able to clear a finding by changing
another line or by moving the code to another file. A person decides about a finding that stays open. Of one that quotes
several lines, some may change: then Claude is asked, see `review/verdicts.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Literal

from hls_handler.analysis import Finding
from hls_handler.review.dismissals import find_dismissals
from hls_handler.review.patches import Line, Patch, Side
from hls_handler.review.places import (
    MIN_CHARACTERS,
    MIN_SHARE,
    MIN_UNCOMMON_CHARACTERS,
    KnownLine,
    PatchIndex,
    Place,
    PresentFiles,
    find_places,
    identify,
    is_near,
)
from hls_handler.review.quotes import QuoteFinder, add_quote, find_anchor, list_within
from hls_handler.review.record import FindingState, LedgerEntry, ReviewThread
from hls_handler.review.verdicts import quotes_other_changes, raise_severity

REACTION = "thumbs down by"  # beginning of keys of `find_dismissals`


def follow_up(ledger: Iterable[LedgerEntry], files: PresentFiles) -> tuple[LedgerEntry, ...]:
    """Return the entries with their present line and state. A dismissed finding whose line is gone is fixed or gone.

    A finding in a file whose patch is not known completely keeps its state unless its line is shown; if there are more
    changed files, all findings do. So does a finding on a line that the pull request did not change, because such a
    line leaves the patch if a change near it moves; see `settle_hidden`.
    """
    ledger = tuple(ledger)
    index = PatchIndex(files.patches, {text for entry in ledger for text in (entry.quote, *entry.nearby)})
    slots: dict[object, KnownLine] = {}  # several findings may be about one line
    lines = [slots.setdefault(_find_slot(entry), _to_line(entry)) for entry in ledger if not entry.lines]
    known = tuple(dict.fromkeys(lines))
    places = dict(zip(known, find_places(known, files, index), strict=True))
    quotes = QuoteFinder(files)
    present: set[tuple[KnownLine, str]] = set()
    followed: list[LedgerEntry] = []
    for entry in reversed(ledger):
        # Of equal findings that return, the last one does.
        if entry.lines:
            found = quotes.find(entry)
            if found is not None and entry.is_closed and any(_is_at(one, found[0]) for one in followed):
                found = None
            followed.append(_follow_quote(entry, found, files, index))
            continue
        line = lines.pop()
        place = places[line] if not (line.is_absent and (line, entry.category) in present) else None
        present.add((line, entry.category))
        followed.append(_follow_line(entry, place, files, index))
    return tuple(reversed(followed))


def list_merged(before: Iterable[LedgerEntry], after: Iterable[LedgerEntry], files: PresentFiles) -> Mapping[str, str]:
    """Return the paths of files with findings that became fixed or gone although they have the line, now unchanged.

    The values are their paths in the base. The base may have the line now, or it always had an equal one: the diff
    shows a copy as unchanged if the pull request removes the original.
    """
    paths: dict[str, str] = {}
    for old, new in zip(before, after, strict=True):
        own = files.own_paths(old.path, old.previous_path) if new.is_absent and not old.is_absent else ()
        for path in own:
            lines = (line for hunk in files.patches[path].hunks for line in hunk.lines if line.mark == " ")
            if any(identify(line.text) == old.quote for line in lines):
                paths[path] = files.previous_paths.get(path, path)
    return paths


def list_hidden(ledger: Iterable[LedgerEntry], files: PresentFiles) -> Mapping[str, str]:
    """Return the paths of the files with findings that `settle_hidden` can settle, by the keys of these findings."""
    hidden = (one for one in ledger if one.is_unchanged and one.line is None and not one.is_absent)
    own = ((entry.key, files.own_paths(entry.path, entry.previous_path)) for entry in hidden)
    return {key: paths[0] for key, paths in own if paths}


def settle_hidden(
    ledger: Iterable[LedgerEntry], hidden: Mapping[str, str], texts: Mapping[str, Collection[str]]
) -> tuple[LedgerEntry, ...]:
    """Return the entries, those of `hidden` as fixed whose file no longer has any line that they quote.

    `texts` are the lines of files as `identify` returns them, by path. Nothing is known about the other files.
    """

    def is_gone(entry: LedgerEntry) -> bool:
        path = hidden.get(entry.key)
        return path is not None and path in texts and {entry.quote, *entry.lines}.isdisjoint(texts[path])

    return tuple(replace(entry, state="fixed") if is_gone(entry) else entry for entry in ledger)


def apply_threads(
    ledger: Iterable[LedgerEntry],
    threads: Iterable[ReviewThread],
    *,
    writers: Collection[str],
    closed: Collection[str] = (),
) -> tuple[LedgerEntry, ...]:
    """Return the entries of `follow_up` with what people did in their review threads.

    Thumbs down, a reply such as "won't fix", and resolving the thread dismiss a finding whose line is in the patch. An
    entry whose comment has no thread any more was deleted by a person, which dismisses it, too. A dismissal that was
    taken back opens the finding again. So does another place of the line if a person with write permission dismissed
    the finding: that line may be wrong. A thread that was resolved, or a reply, while the line was not in the patch
    does not count when the line is back, because it may mean that the finding is fixed; thumbs down do. `closed` are
    the keys of the entries that were fixed or gone at the last review, and `writers` the logins of people who may
    write to the repository.
    """
    by_key = {thread.key: thread for thread in threads}
    return tuple(_apply_thread(entry, by_key.get(entry.key), writers, entry.key in closed) for entry in ledger)


def find_new(
    findings: Sequence[Finding],
    ledger: Iterable[LedgerEntry],
    patches: Mapping[str, Patch],
    changed: Collection[tuple[str, Side, int]] = (),
) -> tuple[Finding, ...]:
    """Return the findings that the ledger of `follow_up` does not have.

    A finding at the line of an entry repeats it if it has the same category or title; one at another line, if it has
    both, and if one of the two quotes the line that the other is known by. If one with another title also quotes a line
    that the entry does not quote and that is one of the lines `changed` since the last review, it may be about that. If
    no patch shows the lines of an entry, see `_repeats_hidden`.
    """
    ledger = tuple(ledger)
    identified = [(entry, _entry_identities(entry)) for entry in ledger]
    new: list[Finding] = []
    for finding, own in zip(findings, _finding_identities(findings, patches, changed), strict=True):
        repeated = [entry for entry, known in identified if not known.isdisjoint(own)]
        is_new = not repeated or _is_about_others(finding, repeated, ledger, patches, changed)
        if is_new and not any(_repeats_hidden(finding, entry, patches, changed) for entry in ledger):
            new.append(finding)
    return tuple(new)


def _is_about_others(
    finding: Finding,
    repeated: Iterable[LedgerEntry],
    ledger: Iterable[LedgerEntry],
    patches: Mapping[str, Patch],
    changed: Collection[tuple[str, Side, int]],
) -> bool:
    anchor = _find_anchor(finding, patches)
    there = [one for one in ledger if (one.path, one.side) == (finding.path, finding.side)]
    quoted = range(finding.start_line or finding.line, finding.line + 1)
    known = [one for one in there if one.line == anchor]
    titled = [one for one in repeated if one.line is not None]
    titled += [one for one in there if one.line in quoted and not one.is_closed]
    if not known or any(one.title == finding.title for one in titled):
        return False
    return all(quotes_other_changes(finding, one, changed) for one in known)


def _repeats_hidden(
    finding: Finding,
    entry: LedgerEntry,
    patches: Mapping[str, Patch],
    changed: Collection[tuple[str, Side, int]],
) -> bool:
    """Return True if a finding has the title and category of an entry of hidden lines, and quotes half of them.

    Lines that changed since the last review do not count: they may be a copy, and the hidden ones may be corrected.
    """
    is_hidden = bool(entry.lines) and entry.line is None and not entry.is_absent
    own, known = ((one.path, one.side, one.category, one.title) for one in (finding, entry))
    if not is_hidden or own != known or finding.path not in patches:
        return False
    numbers = range(finding.start_line or finding.line, finding.line + 1)
    lines = list_within(patches[finding.path], finding.side, numbers)
    same = {identify(line.text) for line in lines if (finding.path, line.side, line.number) not in changed}
    shared = same & {*entry.lines}
    return len(shared) >= MIN_SHARE * len({*entry.lines}) and sum(map(len, shared)) >= MIN_UNCOMMON_CHARACTERS


def raise_severities(
    ledger: Iterable[LedgerEntry],
    findings: Sequence[Finding],
    patches: Mapping[str, Patch],
    changed: Collection[tuple[str, Side, int]] = (),
) -> tuple[LedgerEntry, ...]:
    """Return the entries, those that a finding repeats with a higher severity with its severity, title and body.

    `changed` as for `find_new`. A finding that a person with write permission dismissed stays as it is.
    """
    identified = [*zip(findings, _finding_identities(findings, patches, changed), strict=True)]

    def list_repeating(entry: LedgerEntry) -> list[Finding]:
        known = _entry_identities(entry)
        return [
            finding
            for finding, own in identified
            if not known.isdisjoint(own) or _repeats_hidden(finding, entry, patches, changed)
        ]

    return tuple(raise_severity(entry, list_repeating(entry)) for entry in ledger)


_Identity = tuple[str, ...]  # a place, and a property that identifies a finding there


def _entry_identities(entry: LedgerEntry) -> set[_Identity]:
    """Return what the findings that repeat the entry have, see `_finding_identities`; nothing if it is closed.

    An entry on an unchanged line that no patch shows has the text of the line in place of its number. So has one of
    several lines in a file whose patch is not known completely.
    """
    if entry.line is not None:
        own = _identities(entry.path, entry.side, entry, [entry.line])
        both = _both(entry, "quoted", entry.quoted_lines) | _both(entry, "known by", [entry.line])
        return set() if entry.is_closed or entry.is_quote_changed else own | both
    if entry.is_absent or len(entry.quote) < MIN_CHARACTERS:
        return set()
    mark = " " if entry.is_unchanged else "+"
    is_hidden = entry.is_unchanged or bool(entry.lines)
    return _identities(entry.path, entry.side, entry, [f"{mark}{entry.quote}"]) if is_hidden else set()


def _finding_identities(
    findings: Sequence[Finding], patches: Mapping[str, Patch], changed: Collection[tuple[str, Side, int]]
) -> list[set[_Identity]]:
    """Return each place of each finding with each of its properties that identify it there.

    The text of a line that changed since the last review is no place: it may be a copy of the hidden line of an entry.
    """
    lines = _find_lines(findings, patches)
    found: list[set[_Identity]] = []
    for finding in findings:
        anchor = _find_anchor(finding, patches)
        line = lines.get((finding.path, finding.side, anchor))
        is_changed = (finding.path, finding.side, anchor) in changed
        texts = [f"{' ' if line.mark == ' ' else '+'}{identify(line.text)}"] if line and not is_changed else []
        quoted = range(finding.start_line or finding.line, finding.line + 1)
        both = _both(finding, "quoted", [anchor]) | _both(finding, "known by", quoted)
        found.append(_identities(finding.path, finding.side, finding, [anchor, *texts]) | both)
    return found


def _identities(path: str, side: Side, finding: LedgerEntry | Finding, places: Iterable[int | str]) -> set[_Identity]:
    """Return the numbers of lines, or the texts of unchanged ones, each with the category and the title."""
    where = [(path, side, str(place)) for place in places]
    named = (("category", finding.category), ("title", finding.title))
    return {(*place, *name) for place in where for name in named}


def _both(
    finding: LedgerEntry | Finding, kind: Literal["quoted", "known by"], numbers: Iterable[int]
) -> set[_Identity]:
    """Return the numbers of lines with category and title: at another line than its own, one of both is not enough.

    The line that one of the two is known by must be quoted by the other one.
    """
    path, side = finding.path, finding.side
    return {(path, side, kind, str(number), finding.category, finding.title) for number in numbers}


def _find_anchor(finding: Finding, patches: Mapping[str, Patch]) -> int:
    return find_anchor(finding, patches[finding.path]) if finding.path in patches else finding.line


def add(
    ledger: Iterable[LedgerEntry],
    findings: Sequence[Finding],
    patches: Mapping[str, Patch],
    *,
    prompt_id: str,
    previous_paths: Mapping[str, str] | None = None,
    unread: Collection[str] = (),
) -> tuple[LedgerEntry, ...]:
    """Return entries for new findings, in their order. Their keys differ from those of the ledger.

    All findings must be at lines of the patches. `previous_paths` are those of renamed files, by their new path. The
    patches of the files `unread` are not known completely.
    """
    taken = {entry.key for entry in ledger}
    places = _find_places(findings, patches)
    added: list[LedgerEntry] = []
    for finding in findings:
        anchor = _find_anchor(finding, patches)
        place = places[finding.path, finding.side, anchor]
        quote = identify(place.line.text)
        key = _make_key(finding.path, quote, finding.category, taken)
        taken.add(key)
        entry = LedgerEntry(
            key=key,
            path=finding.path,
            side=finding.side,
            quote=quote,
            nearby=place.nearby,
            severity=finding.severity,
            category=finding.category,
            title=finding.title,
            state="open",
            prompt_id=prompt_id,
            is_unchanged=place.is_in_base,
            previous_path=(previous_paths or {}).get(finding.path),
            line=place.line.number,
            shown_line=place.line.number,
            changed=place.changed,
            twins=place.twins,
            lines_above=anchor - (finding.start_line or finding.line),
            lines_below=finding.line - anchor,
        )
        added.append(_with_quote(entry, patches, unread))
    return tuple(added)


def _with_quote(entry: LedgerEntry, patches: Mapping[str, Patch], unread: Collection[str]) -> LedgerEntry:
    """Return the entry with the lines that it quotes if these are several."""
    if not (entry.lines_above or entry.lines_below):
        return entry
    lines = list_within(patches[entry.path], entry.side, entry.quoted_lines)
    return add_quote(replace(entry, is_unchanged=all(line.mark == " " for line in lines)), patches, unread)


_Position = tuple[str, Side, int]


def _find_lines(findings: Iterable[Finding], patches: Mapping[str, Patch]) -> Mapping[_Position, Line]:
    """Return the lines that the ledger knows the findings by, of those that are at lines of the patches."""
    wanted = {(finding.path, finding.side, _find_anchor(finding, patches)) for finding in findings}
    return {
        (path, line.side, line.number): line
        for path in {path for path, _, _ in wanted} & patches.keys()
        for hunk in patches[path].hunks
        for line in hunk.lines
        if (path, line.side, line.number) in wanted
    }


def _find_places(findings: Iterable[Finding], patches: Mapping[str, Patch]) -> Mapping[_Position, Place]:
    texts = {position: identify(line.text) for position, line in _find_lines(findings, patches).items()}
    index = PatchIndex({path: patches[path] for path, _, _ in texts}, {*texts.values()})
    return {
        (path, side, number): index.with_twins(place)
        for (path, side, number), text in texts.items()
        for place in index.find(path, side, text)
        if place.line.number == number
    }


def _make_key(path: str, quote: str, category: str, taken: Collection[str]) -> str:
    parts, number = (path, quote, category), 0
    while True:
        text = "\0".join((*parts, str(number)) if number else parts)
        key = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        if key not in taken:  # the same line stands at another place, too
            return key
        number += 1


def _find_slot(entry: LedgerEntry) -> tuple[object, ...]:
    place = (entry.path, entry.side, entry.quote)
    if entry.is_absent or not entry.shown_line:
        return (*place, entry.nearby, entry.is_absent)
    return (*place, entry.shown_line, False)


def _to_line(entry: LedgerEntry) -> KnownLine:
    return KnownLine(
        entry.path,
        entry.previous_path,
        entry.side,
        entry.quote,
        entry.nearby,
        entry.changed,
        entry.twins,
        entry.line,
        is_absent=entry.is_absent,
        is_unchanged=entry.is_unchanged,
    )


def _is_at(one: LedgerEntry, other: LedgerEntry) -> bool:
    """Return True if a finding is at a line of another one, with its category."""
    is_same = (one.path, one.side, one.category) == (other.path, other.side, other.category)
    return is_same and one.line is not None and one.line in other.quoted_lines


def _follow_line(entry: LedgerEntry, place: Place | None, files: PresentFiles, index: PatchIndex) -> LedgerEntry:
    """Return the entry, which quotes one line, with its present state."""
    if place is None:
        state = _find_state(entry, files, index)
        return replace(entry, state=state, line=None, has_other_place=False, is_quote_changed=False)
    now = replace(
        entry,
        path=place.path,
        quote=identify(place.line.text),
        line=place.line.number,
        shown_line=place.line.number,
        nearby=place.nearby,
        changed=place.changed,
        twins=place.twins,
        is_unchanged=place.is_in_base or entry.is_unchanged,
        is_quote_changed=False,
    )
    return _with_state(entry, _with_quote(now, files.patches, files.unread), files, is_same=place.is_certain)


def _follow_quote(
    entry: LedgerEntry, found: tuple[LedgerEntry, bool] | None, files: PresentFiles, index: PatchIndex
) -> LedgerEntry:
    """Return the entry, which quotes several lines, with its present state. `found` is that of `QuoteFinder.find`."""
    if found is None:
        state = _find_state(entry, files, index)
        own = files.own_paths(entry.path, entry.previous_path)
        is_shown = bool(own) and {*own}.isdisjoint(files.unread)
        hidden = replace(entry, state=state, line=None, has_other_place=False, is_quote_changed=False)
        return replace(hidden, shown_line=0) if is_shown else hidden
    now, is_certain = found
    return _with_state(entry, now, files, is_same=is_certain and now.quoted == entry.quoted)


def _with_state(entry: LedgerEntry, now: LedgerEntry, files: PresentFiles, *, is_same: bool) -> LedgerEntry:
    """Return the entry `now`, whose line is in the patch; `entry` is that of the last review."""
    holds = entry.state == "dismissed" and (is_same or not entry.has_binding_dismissal)
    is_fixed = entry.is_quote_changed and entry.is_closed and now.is_quote_changed
    return replace(
        now,
        state="fixed" if is_fixed else "dismissed" if holds else "open",
        has_binding_dismissal=holds and entry.has_binding_dismissal,
        previous_path=files.previous_paths.get(now.path),
        has_other_place=not is_same,
    )


def _find_state(entry: LedgerEntry, files: PresentFiles, index: PatchIndex) -> FindingState:
    """Return the state of an entry whose line was not found."""
    paths = files.own_paths(entry.path, entry.previous_path)
    is_known = files.is_complete and files.is_known(entry.path, entry.previous_path)
    if entry.is_absent or not is_known:
        return entry.state
    if not paths:
        return "gone"
    if entry.is_unchanged and entry.lines:
        return entry.state  # `settle_hidden` reads the file
    if entry.is_unchanged:
        removed = (place for path in paths for place in index.find(path, "LEFT", entry.quote))
        return "fixed" if any(is_near(entry.nearby, (), place) for place in removed) else entry.state
    equal = [place for path in paths for place in index.find(path, entry.side, entry.quote)]
    is_own = not entry.lines or entry.quote in entry.lines
    if is_own and any(place.line.mark == " " and is_near(entry.nearby, (), place) for place in equal):
        return "gone"  # the base has the line now
    return "fixed" if any(index.has_text(path, (entry.quote, *entry.nearby)) for path in paths) else "gone"


def _apply_thread(
    entry: LedgerEntry, thread: ReviewThread | None, writers: Collection[str], was_closed: bool
) -> LedgerEntry:
    if entry.comment_id is None:
        return entry
    if thread is None:
        return replace(entry, state="dismissed" if entry.state == "open" else entry.state)
    found = find_dismissals(thread)
    if entry.is_closed or was_closed:
        known_void = entry.void_dismissals
        counting = {
            key: login
            for key, login in found.items()
            if key in entry.dismissals or (key.startswith(REACTION) and key not in known_void)
        }
    else:
        counting = {key: login for key, login in found.items() if key not in entry.void_dismissals}
    if entry.has_other_place:
        counting = {key: login for key, login in counting.items() if login not in writers}
    known = replace(
        entry,
        is_accepted=bool(thread.thumbs_up),
        dismissals=tuple(counting),
        void_dismissals=tuple(key for key in found if key not in counting),
        dismissed_by=None,
        has_binding_dismissal=False,
    )
    if entry.is_closed:
        return known
    if not counting:
        return replace(known, state="open")
    binding = [login for login in counting.values() if login in writers]
    return replace(
        known,
        state="dismissed",
        dismissed_by=(binding or [*counting.values()])[0],
        has_binding_dismissal=bool(binding),
    )
