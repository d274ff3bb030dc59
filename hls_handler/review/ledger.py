"""The ledger: the findings that HLS has raised on a pull request, and what became of each.

A finding is identified by its file, the quoted line and its category, not by its wording or line number.
`review/places.py` finds the line in later patches. A finding stays open while the patches have its line, also if Claude
does not repeat it: replies about the same text differ, and an author must not be able to clear a finding by changing
another line or by moving the code to another file. A person decides about a finding that stays open. Of one that quotes
several lines, some may change: then Claude is asked, see `review/quotes.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256

from hls_handler.analysis import Finding
from hls_handler.review.dismissals import is_acceptance, is_dismissal
from hls_handler.review.patches import Line, Patch, Side
from hls_handler.review.places import (
    MIN_CHARACTERS,
    KnownLine,
    PatchIndex,
    Place,
    PresentFiles,
    find_places,
    identify,
    is_near,
)
from hls_handler.review.quotes import (
    MAX_DISTANCE,
    MAX_INSERTED,
    add_quote,
    find_anchor,
    place_quote,
    quotes_other_changes,
    raise_severity,
    with_others,
)
from hls_handler.review.record import FindingState, LedgerEntry, QuotedLine, ReviewThread

FIXED = "fixed"
"""Key of the reply in the thread of a finding that is fixed (`EnsureReply.key`)."""

REACTION = "thumbs down by"  # beginning of keys of `find_dismissals`


def follow_up(ledger: Iterable[LedgerEntry], files: PresentFiles) -> tuple[LedgerEntry, ...]:
    """Return the entries with their present line and state. A dismissed finding whose line is gone is fixed or gone.

    A finding in a file whose patch is not known completely keeps its state unless its line is shown; if there are more
    changed files, all findings do. So does a finding on a line that the pull request did not change, because such a
    line leaves the patch if a change near it moves; see `settle_hidden`.
    """
    ledger = tuple(ledger)
    texts = {text for entry in ledger for text in (entry.quote, *entry.nearby, *(one.text for one in entry.others))}
    index = PatchIndex(files.patches, texts)
    slots: dict[object, KnownLine] = {}  # several findings may be about one line
    lines = [slots.setdefault(_find_slot(entry), _to_line(entry)) for entry in ledger]
    others = [
        [slots.setdefault(_find_slot(entry, one), _to_line(entry, one)) for one in entry.others] for entry in ledger
    ]
    known = tuple(dict.fromkeys([*lines, *(line for of_entry in others for line in of_entry)]))
    places = dict(zip(known, find_places(known, files, index), strict=True))
    present: set[tuple[KnownLine, str]] = set()
    followed: list[LedgerEntry] = []
    # Of equal findings that return, the last one does.
    for entry, line, beside in reversed([*zip(ledger, lines, others, strict=True)]):
        place = places[line] if not (line.is_absent and (line, entry.category) in present) else None
        present.add((line, entry.category))
        followed.append(_follow(entry, [place, *(places[other] for other in beside)], files, index))
    lost = with_others([one for one in followed if one.line is not None and not one.others], files.patches)
    found_again = {entry.key: entry for entry in lost}
    return tuple(found_again.get(entry.key, entry) for entry in reversed(followed))


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
        quoted = {entry.quote, *(one.text for one in entry.others)}
        return path is not None and path in texts and quoted.isdisjoint(texts[path])

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


def find_dismissals(thread: ReviewThread) -> Mapping[str, str]:
    """Return the logins of those who dismissed the finding of this thread, by a key such as "reply 2 by mona".

    To resolve a thread in which HLS said that the finding is fixed dismisses nothing, also if it is open again.
    """
    found: dict[str, str] = {}
    if thread.is_resolved and thread.resolved_by and FIXED not in thread.own_replies:
        found[f"resolved by {thread.resolved_by}"] = thread.resolved_by
    found |= {f"{REACTION} {login}": login for login in thread.thumbs_down}
    replies: dict[str, int] = {}
    rejecting: dict[str, str] = {}  # keys by login: the last word of each person counts
    for reply in thread.replies:
        number = replies[reply.author] = replies.get(reply.author, 0) + 1
        if is_dismissal(reply.body):
            rejecting[reply.author] = f"reply {number} by {reply.author}"
        elif is_acceptance(reply.body):
            rejecting.pop(reply.author, None)
    found |= {key: login for login, key in rejecting.items()}
    return {key: login for key, login in found.items() if not login.endswith("[bot]")}


def find_new(
    findings: Sequence[Finding],
    ledger: Iterable[LedgerEntry],
    patches: Mapping[str, Patch],
    changed: Collection[tuple[str, Side, int]] = (),
) -> tuple[Finding, ...]:
    """Return the findings that the ledger of `follow_up` does not have.

    A finding at the line of an entry repeats it if it has the same category or title; one at another line that the
    entry quotes, if it has the same title. If one with another title also quotes a line that the entry does not quote
    and that is one of the lines `changed` since the last review, it may be about that.
    """
    ledger = tuple(ledger)
    known = {one for entry in ledger for one in _entry_identities(entry)}
    identities = _finding_identities(findings, patches)
    return tuple(
        finding
        for finding, own in zip(findings, identities, strict=True)
        if known.isdisjoint(own) or _is_about_others(finding, ledger, patches, changed)
    )


def _is_about_others(
    finding: Finding,
    ledger: Iterable[LedgerEntry],
    patches: Mapping[str, Patch],
    changed: Collection[tuple[str, Side, int]],
) -> bool:
    there = [one for one in ledger if (one.path, one.side) == (finding.path, finding.side) and one.line is not None]
    known = [one for one in there if one.line == _find_anchor(finding, patches)[1]]
    if any(one.title == finding.title for one in there) or not known:
        return False
    return all(quotes_other_changes(finding, one, changed) for one in known)


def raise_severities(
    ledger: Iterable[LedgerEntry], findings: Sequence[Finding], patches: Mapping[str, Patch]
) -> tuple[LedgerEntry, ...]:
    """Return the entries, those that a finding repeats with a higher severity with its severity, title and body.

    A finding that a person with write permission dismissed stays as it is.
    """
    identified = [*zip(findings, _finding_identities(findings, patches), strict=True)]

    def list_repeating(entry: LedgerEntry) -> list[Finding]:
        known = _entry_identities(entry)
        return [finding for finding, own in identified if not known.isdisjoint(own)]

    return tuple(raise_severity(entry, list_repeating(entry)) for entry in ledger)


_Identity = tuple[str, ...]  # a place, and a property that identifies a finding there


def _entry_identities(entry: LedgerEntry) -> set[_Identity]:
    """Return what the findings that repeat the entry have, see `_finding_identities`; nothing if it is closed.

    An entry on an unchanged line that no patch shows has the text of the line in place of its number.
    """
    if entry.line is not None:
        quoted = range(entry.line - entry.lines_above, entry.line + entry.lines_below + 1)
        titles = {(entry.path, entry.side, str(number), "title", entry.title) for number in quoted}
        own = _identities(entry.path, entry.side, entry, [entry.line])
        return set() if entry.is_closed or entry.is_quote_changed else own | titles
    is_hidden = entry.is_unchanged and not entry.is_absent and len(entry.quote) >= MIN_CHARACTERS
    return _identities(entry.path, entry.side, entry, [entry.quote]) if is_hidden else set()


def _finding_identities(findings: Sequence[Finding], patches: Mapping[str, Patch]) -> list[set[_Identity]]:
    """Return each place of each finding with each of its properties that identify it there."""
    lines = _find_lines(findings, patches)
    found: list[set[_Identity]] = []
    for finding in findings:
        side, anchor = _find_anchor(finding, patches)
        line = lines.get((finding.path, side, anchor))
        is_unchanged = line is not None and line.mark == " "
        texts = [identify(line.text)] if line is not None and is_unchanged else []
        below = range(anchor, finding.line + 1) if side == finding.side else ()
        titles = {(finding.path, side, str(number), "title", finding.title) for number in below}
        found.append(_identities(finding.path, side, finding, [anchor, *texts]) | titles)
    return found


def _identities(path: str, side: Side, finding: LedgerEntry | Finding, places: Iterable[int | str]) -> set[_Identity]:
    """Return the numbers of lines, or the texts of unchanged ones, each with the category and the title."""
    where = [(path, side, str(place)) for place in places]
    named = (("category", finding.category), ("title", finding.title))
    return {(*place, *name) for place in where for name in named}


def _find_anchor(finding: Finding, patches: Mapping[str, Patch]) -> tuple[Side, int]:
    if finding.path not in patches:
        return finding.side, finding.line
    return find_anchor(finding, patches[finding.path])


def add(
    ledger: Iterable[LedgerEntry],
    findings: Sequence[Finding],
    patches: Mapping[str, Patch],
    *,
    prompt_id: str,
    previous_paths: Mapping[str, str] | None = None,
) -> tuple[LedgerEntry, ...]:
    """Return entries for new findings, in their order. Their keys differ from those of the ledger.

    All findings must be at lines of the patches. `previous_paths` are those of renamed files, by their new path.
    """
    taken = {entry.key for entry in ledger}
    places = _find_places(findings, patches)
    added: list[LedgerEntry] = []
    for finding in findings:
        side, anchor = _find_anchor(finding, patches)
        place = places[finding.path, side, anchor]
        quote = identify(place.line.text)
        key = _make_key(finding.path, quote, finding.category, taken)
        taken.add(key)
        entry = LedgerEntry(
            key=key,
            path=finding.path,
            side=side,
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
        )
        added.append(add_quote(entry, finding, patches[finding.path]))
    return with_others(added, patches)


_Position = tuple[str, Side, int]


def _find_lines(findings: Iterable[Finding], patches: Mapping[str, Patch]) -> Mapping[_Position, Line]:
    """Return the lines that the ledger knows the findings by, of those that are at lines of the patches."""
    wanted = {(finding.path, *_find_anchor(finding, patches)) for finding in findings}
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


def _find_slot(entry: LedgerEntry, other: QuotedLine | None = None) -> tuple[object, ...]:
    if other is not None:
        return entry.path, entry.side, other.text, other.number, other.is_absent
    place = (entry.path, entry.side, entry.quote)
    if entry.is_absent or not entry.shown_line:
        return (*place, entry.nearby, entry.is_absent)
    return (*place, entry.shown_line, False)


def _to_line(entry: LedgerEntry, other: QuotedLine | None = None) -> KnownLine:
    own = KnownLine(
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
    if other is None:
        return own
    return replace(
        own,
        text=other.text,
        nearby=other.nearby,
        changed=other.changed,
        twins=other.twins,
        number=other.number,
        is_absent=other.is_absent,
        is_unchanged=other.is_unchanged,
    )


def _follow(entry: LedgerEntry, places: Sequence[Place | None], files: PresentFiles, index: PatchIndex) -> LedgerEntry:
    """Return the entry with its present state. `places` are that of its line, and those of its other lines."""
    own = (entry.quote, entry.nearby, entry.changed, entry.twins, entry.line or entry.shown_line)
    known = [*zip((QuotedLine(*own, is_unchanged=entry.is_unchanged), *entry.others), places, strict=True)]
    changed = [place for one, place in known if not one.is_unchanged]
    if not any(changed or places):
        state = _find_state(entry, files, index)
        hidden = replace(entry, state=state, line=None, has_other_place=False, is_quote_changed=False)
        return replace(hidden, others=()) if hidden.is_closed else hidden
    together = _keep_together(known)
    path = next(place.path for _, place in together if place is not None)
    now = place_quote(entry, together, files.patches[path])
    away = [place for (_, place), (_, kept) in zip(known, together, strict=True) if place is not None and kept is None]
    elsewhere = tuple((place.path, place.line.number) for place in away)
    now = replace(now, elsewhere=elsewhere or (entry.elsewhere if now.is_quote_changed else ()))
    place = together[0][1]
    others = (other for _, other in together if other is not None)
    is_certain = place.is_certain if place is not None else all(other.is_certain for other in others)
    is_same = is_certain and now.quoted == entry.quoted
    holds = entry.state == "dismissed" and (is_same or not entry.has_binding_dismissal)
    is_fixed = entry.is_quote_changed and entry.is_closed and now.is_quote_changed
    return replace(
        now,
        state="fixed" if is_fixed else "dismissed" if holds else "open",
        has_binding_dismissal=holds and entry.has_binding_dismissal,
        previous_path=files.previous_paths.get(now.path),
        has_other_place=not is_same,
    )


def _keep_together(lines: Sequence[tuple[QuotedLine, Place | None]]) -> list[tuple[QuotedLine, Place | None]]:
    """Return the lines without the places that are elsewhere than most, or else than those that did not change."""

    def is_with(one: tuple[QuotedLine, Place], other: tuple[QuotedLine, Place]) -> bool:
        before = abs(one[0].number - other[0].number)
        more = MAX_DISTANCE if one[1].is_certain and other[1].is_certain else MAX_INSERTED
        is_near = abs(one[1].line.number - other[1].line.number) <= before + more
        return one[1].path == other[1].path and is_near

    def order(one: tuple[QuotedLine, Place]) -> tuple[int, int, int]:
        together = [other for other in found if is_with(other, one)]
        return len(together), sum(other[1].is_certain for other in together), one[0].number

    found = [(line, place) for line, place in lines if place is not None]
    main = max(found, key=order)
    return [(line, place if place is not None and is_with((line, place), main) else None) for line, place in lines]


def _is_known(entry: LedgerEntry, files: PresentFiles) -> bool:
    """Return False if GitHub did not show all lines of the files in which the line of the entry may be."""
    paths = (entry.path, *files.own_paths(entry.path, entry.previous_path))
    return files.is_complete and not any(path in files.unread for path in paths)


def _find_state(entry: LedgerEntry, files: PresentFiles, index: PatchIndex) -> FindingState:
    """Return the state of an entry whose line was not found."""
    paths = files.own_paths(entry.path, entry.previous_path)
    if entry.is_absent or not _is_known(entry, files):
        return entry.state
    if not paths:
        return "gone"
    if entry.is_unchanged:
        removed = (place for path in paths for place in index.find(path, "LEFT", entry.quote))
        return "fixed" if any(is_near(entry.nearby, (), place) for place in removed) else entry.state
    equal = [place for path in paths for place in index.find(path, entry.side, entry.quote)]
    if any(place.line.mark == " " and is_near(entry.nearby, (), place) for place in equal):
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
