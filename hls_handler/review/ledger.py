"""The ledger: the findings that HLS has raised on a pull request, and what became of each.

A finding is identified by its file, the quoted line and its category, not by its wording or line number. If a file has
the line several times, the lines around it decide. A finding stays open while its quoted line is in the patch, also if
Claude does not repeat it: replies about the same text differ, and an author must not be able to clear a finding by
changing another line or by moving the code to another file. A person decides about a finding that stays open.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from hls_handler.analysis import MAX_QUOTE_CHARS, Finding, Score, Severity
from hls_handler.review.dismissals import is_acceptance, is_dismissal
from hls_handler.review.patches import Line, Patch, Side, normalize_line

NEARBY_LINES = 3  # lines above and below the quoted line that belong to its place
MIN_SHARE = 0.5  # of the lines around it must have moved with a line
MIN_CHARACTERS = 4  # shorter lines, such as a bracket, are everywhere and show no place
MAX_ENTRIES = 200  # findings that are stored for one pull request
MAX_BODY_CHARACTERS = 1_000  # of the stored text of a finding

FindingState = Literal["open", "fixed", "gone", "dismissed"]
"""Open: the quoted line is in the patch. Fixed: it is not, but lines around it are. Gone: none of them is.

Dismissed: a person rejected the finding. It is not raised again, whatever becomes of its line.
"""


@dataclass(frozen=True, slots=True)
class ThreadReply:
    author: str  # login; "" if the account was deleted
    body: str  # at most 4,000 characters


@dataclass(frozen=True, slots=True)
class ReviewThread:
    """A review thread that HLS opened. https://docs.github.com/en/graphql/reference/objects#pullrequestreviewthread

    If a person uses the bot account, too, replies without our marker and reactions are theirs. Those of an account that
    only HLS uses are left out.
    """

    comment_id: int  # of HLS's comment, the first of the thread
    key: str  # `InlineComment.key`, from the marker
    is_resolved: bool
    resolved_by: str | None  # login; "" if the account was deleted; None if it is open
    replies: tuple[ThreadReply, ...]  # by people and other bots, oldest first
    own_replies: tuple[str, ...]  # keys of HLS's replies (`EnsureReply.key`)
    thumbs_up: tuple[str, ...]  # logins of those who reacted so to HLS's comment
    thumbs_down: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    key: str  # 16 characters; names the finding in markers and in the table `findings`
    path: str
    side: Side
    quote: str  # the quoted line, as `_identify` returns it
    nearby: tuple[str, ...]  # the lines around it, likewise
    severity: Severity
    category: str
    title: str
    state: FindingState
    prompt_id: str  # of the reply that raised it
    comment_id: int | None = None  # of the review comment; None if only the summary has it
    body: str = ""  # at most `MAX_BODY_CHARACTERS`; "" if the review comment has it
    is_unchanged: bool = False  # True: when the line was last seen, the pull request did not change it
    dismissed_by: str | None = None  # login
    has_binding_dismissal: bool = False  # True if that person may write to the repository
    is_accepted: bool = False  # True if a person reacted to it with thumbs up


@dataclass(frozen=True, slots=True)
class ReviewRecord:
    """The stored result of all reviews of one pull request."""

    rounds: int = 0  # reviews that asked Claude
    reviewed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by path, see `review.changes`
    kind: str = ""  # `type` of the last reply: "bug-fix"; "" before the first review
    summary: str = ""  # of the last reply
    ledger: tuple[LedgerEntry, ...] = ()
    scores: tuple[Score, ...] = ()  # of the last reply that has some


NO_REVIEW = ReviewRecord()

_RECORD = TypeAdapter(ReviewRecord)
_ENTRY = TypeAdapter(LedgerEntry)


def dump_record(record: ReviewRecord) -> str:
    """Return the record without its ledger as JSON."""
    return _RECORD.dump_json(replace(record, ledger=())).decode()


def dump_entry(entry: LedgerEntry) -> str:
    return _ENTRY.dump_json(entry).decode()


def parse_record(record: str | None, entries: Iterable[str]) -> ReviewRecord:
    """Return what `dump_record` and `dump_entry` wrote. What another version wrote is left out."""
    try:
        parsed = _RECORD.validate_json(record) if record else NO_REVIEW
    except ValidationError:
        parsed = NO_REVIEW
    ledger: list[LedgerEntry] = []
    for entry in entries:
        with suppress(ValidationError):
            ledger.append(_ENTRY.validate_json(entry))
    return replace(parsed, ledger=tuple(ledger))


@dataclass(frozen=True, slots=True)
class OpenFinding:
    """An open entry, with the line on which its quote is now."""

    entry: LedgerEntry
    line: int | None  # None if the patch that was read does not show it


def follow_up(
    ledger: Iterable[LedgerEntry], patches: Mapping[str, Patch], *, unread: Collection[str]
) -> tuple[LedgerEntry, ...]:
    """Return the entries with their present state.

    `patches` are the present patches, and `unread` the paths of files whose patch is not known completely: a finding
    there keeps its state unless its line is shown. So does a finding on a line that the pull request did not change,
    because such a line leaves the patch if a change near it moves. A dismissed finding stays dismissed.
    """
    ledger = tuple(ledger)
    places = _index_patches(patches, ledger)
    current = [_follow_move(entry, places, unread) for entry in ledger]
    return tuple(
        replace(
            entry,
            state=_find_state(entry, place, places.get(entry.path), entry.path in unread),
            nearby=place[1] if place is not None else entry.nearby,
            is_unchanged=place[0].mark == " " if place is not None else entry.is_unchanged,
        )
        for entry, place in zip(current, _find_places(current, places), strict=True)
    )


def apply_threads(
    ledger: Iterable[LedgerEntry], threads: Iterable[ReviewThread], *, writers: Collection[str]
) -> tuple[LedgerEntry, ...]:
    """Return the entries with what people did in their review threads.

    Thumbs down, a reply such as "won't fix", and resolving the thread dismiss a finding. An entry whose comment has no
    thread any more was deleted by a person, which dismisses it, too. A dismissal that was taken back opens the finding
    again. `writers` are the logins of people who may write to the repository.
    """
    by_key = {thread.key: thread for thread in threads}
    return tuple(_apply_thread(entry, by_key.get(entry.key), writers) for entry in ledger)


def find_dismissals(thread: ReviewThread) -> tuple[str, ...]:
    """Return the logins of those who dismissed the finding of this thread."""
    resolved = (thread.resolved_by,) if thread.is_resolved and thread.resolved_by else ()
    rejecting: dict[str, None] = {}
    for reply in thread.replies:  # the last word of each person counts
        if is_dismissal(reply.body):
            rejecting[reply.author] = None
        elif is_acceptance(reply.body):
            rejecting.pop(reply.author, None)
    return tuple(login for login in dict.fromkeys((*resolved, *thread.thumbs_down, *rejecting)) if not _is_bot(login))


def _is_bot(login: str) -> bool:
    return login.endswith("[bot]")


def find_new(
    findings: Sequence[Finding], ledger: Sequence[LedgerEntry], patches: Mapping[str, Patch]
) -> tuple[Finding, ...]:
    """Return the findings that the ledger does not have.

    A finding at the line of an entry repeats it if it has the same category or title. All findings must be at lines of
    the patches.
    """
    places = _find_places(ledger, _index_patches(patches, ledger))
    known = {
        (entry.path, entry.side, place[0].number, said)
        for entry, place in zip(ledger, places, strict=True)
        if place is not None
        for said in (("category", entry.category), ("title", entry.title))
    }

    def is_known(finding: Finding) -> bool:
        place = (finding.path, finding.side, finding.line)
        return (*place, ("category", finding.category)) in known or (*place, ("title", finding.title)) in known

    return tuple(finding for finding in findings if not is_known(finding))


def add(
    ledger: Sequence[LedgerEntry], findings: Iterable[Finding], patches: Mapping[str, Patch], *, prompt_id: str
) -> tuple[LedgerEntry, ...]:
    """Return entries for new findings, in their order. Their keys differ from those of the ledger."""
    taken = {entry.key for entry in ledger}
    added: list[LedgerEntry] = []
    for finding in findings:
        lines, index = _find_place(finding, patches)
        nearby = _find_nearby([_identify(line.text) for line in lines], index)
        quote = _identify(lines[index].text if lines else finding.quote)
        key = _make_key(finding.path, quote, finding.category, taken)
        taken.add(key)
        place = (finding.path, finding.side, quote, nearby)
        said = (finding.severity, finding.category, finding.title)
        is_unchanged = bool(lines) and lines[index].mark == " "
        added.append(LedgerEntry(key, *place, *said, "open", prompt_id=prompt_id, is_unchanged=is_unchanged))
    return tuple(added)


def locate_open(ledger: Iterable[LedgerEntry], patches: Mapping[str, Patch]) -> tuple[OpenFinding, ...]:
    """Return the open entries, each with the line on which its quote is now."""
    still_open = [entry for entry in ledger if entry.state == "open"]
    places = _find_places(still_open, _index_patches(patches, still_open))
    return tuple(
        OpenFinding(entry, place[0].number if place is not None else None)
        for entry, place in zip(still_open, places, strict=True)
    )


def _make_key(path: str, quote: str, category: str, taken: Collection[str]) -> str:
    parts, number = (path, quote, category), 0
    while True:
        text = "\0".join((*parts, str(number)) if number else parts)
        key = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        if key not in taken:  # the same line stands at another place, too
            return key
        number += 1


def _apply_thread(entry: LedgerEntry, thread: ReviewThread | None, writers: Collection[str]) -> LedgerEntry:
    if entry.comment_id is None:
        return entry
    if thread is None:
        return replace(entry, state="dismissed" if entry.state == "open" else entry.state)
    accepted = bool(thread.thumbs_up)
    dismissals = find_dismissals(thread)
    if not dismissals:
        state = "open" if entry.state == "dismissed" else entry.state
        return replace(entry, state=state, dismissed_by=None, has_binding_dismissal=False, is_accepted=accepted)
    if entry.state not in ("open", "dismissed"):
        return replace(entry, is_accepted=accepted)
    binding = [login for login in dismissals if login in writers]
    return replace(
        entry,
        state="dismissed",
        dismissed_by=(binding or dismissals)[0],
        has_binding_dismissal=bool(binding),
        is_accepted=accepted,
    )


_Place = tuple[Line, tuple[str, ...]]
"""A line of a patch and the lines around it."""

_Places = Mapping[tuple[Side, str], Sequence[_Place]]
"""The places of a patch by side and normalized text."""


def _index_patches(patches: Mapping[str, Patch], ledger: Iterable[LedgerEntry]) -> Mapping[str, _Places]:
    """Return the places of the lines that the entries have, by path."""
    wanted = {text for entry in ledger for text in (entry.quote, *entry.nearby)}
    return {path: _index_patch(patch, wanted) for path, patch in patches.items()} if wanted else {}


def _index_patch(patch: Patch, wanted: Collection[str]) -> _Places:
    places: dict[tuple[Side, str], list[_Place]] = {}
    for hunk in patch.hunks:
        texts = [_identify(line.text) for line in hunk.lines]
        for index, line in enumerate(hunk.lines):
            if texts[index] in wanted:
                places.setdefault((line.side, texts[index]), []).append((line, _find_nearby(texts, index)))
    return places


def _follow_move(entry: LedgerEntry, places: Mapping[str, _Places], unread: Collection[str]) -> LedgerEntry:
    """Return the entry with the path of the file to which its line was moved together with lines around it."""
    own = places.get(entry.path, {})
    is_settled = entry.state in ("fixed", "gone") or entry.path in unread or len(entry.quote) < MIN_CHARACTERS
    if is_settled or any((entry.side, text) in own for text in (entry.quote, *entry.nearby)):
        return entry
    shares = {
        path: max(_share(entry.nearby, nearby) for _, nearby in found)
        for path, of_file in places.items()
        if (found := of_file.get((entry.side, entry.quote)))
    }
    best = max(shares, key=shares.__getitem__, default=None)
    if best is None or (entry.nearby and shares[best] < MIN_SHARE):
        return entry
    return replace(entry, path=best)


def _find_state(entry: LedgerEntry, place: _Place | None, places: _Places | None, is_unread: bool) -> FindingState:
    """Return the state. `places` are those of the entry's file; None if the pull request no longer changes it."""
    if entry.state == "dismissed":
        return entry.state
    if place is not None:
        return "open"
    if entry.state != "open" or is_unread:
        return entry.state
    if places is None:
        return "gone"
    if entry.is_unchanged:
        return "fixed" if ("LEFT", entry.quote) in places else "open"
    is_place_present = any(
        (side, text) in places for text in (entry.quote, *entry.nearby) for side in ("LEFT", "RIGHT")
    )
    return "fixed" if is_place_present else "gone"


def _find_places(ledger: Sequence[LedgerEntry], places: Mapping[str, _Places]) -> Sequence[_Place | None]:
    """Return the place of each entry's quote. Entries at different places, or of one category, have different lines."""
    candidates = [
        (_similarity(entry.nearby, place[1]), index, place)
        for index, entry in enumerate(ledger)
        for place in places.get(entry.path, {}).get((entry.side, entry.quote), ())
    ]
    found: dict[int, _Place] = {}
    taken: dict[tuple[str, Side, int], tuple[str, ...]] = {}  # line -> the lines around it when it was remembered
    categories: set[tuple[str, Side, int, str]] = set()  # of the entries at a line
    for _, index, place in sorted(candidates, key=lambda candidate: -candidate[0]):
        entry, line = ledger[index], place[0]
        key = (entry.path, line.side, line.number)
        if index in found or (*key, entry.category) in categories:
            continue
        if taken.setdefault(key, entry.nearby) == entry.nearby:
            found[index] = place
            categories.add((*key, entry.category))
    return [found.get(index) for index in range(len(ledger))]


def _similarity(one: Collection[str], other: Collection[str]) -> float:
    return len({*one} & {*other}) / max(len({*one} | {*other}), 1)


def _share(wanted: Collection[str], present: Collection[str]) -> float:
    return sum(text in present for text in wanted) / max(len(wanted), 1)


def _identify(text: str) -> str:
    """Return the normalized text of a line; of a long one, which the ledger need not store, a digest of it."""
    normalized = normalize_line(text)
    if len(normalized) <= MAX_QUOTE_CHARS:
        return normalized
    return sha256(normalized.encode("utf-8", "surrogatepass")).hexdigest()


def _find_nearby(texts: Sequence[str], index: int) -> tuple[str, ...]:
    around = (*texts[max(index - NEARBY_LINES, 0) : index], *texts[index + 1 : index + 1 + NEARBY_LINES])
    return tuple(text for text in around if len(text) >= MIN_CHARACTERS)


def _find_place(finding: Finding, patches: Mapping[str, Patch]) -> tuple[Sequence[Line], int]:
    """Return the lines of the finding's hunk and the index of its line; ((), 0) if the patch does not have it."""
    patch = patches.get(finding.path)
    for hunk in patch.hunks if patch else ():
        for index, line in enumerate(hunk.lines):
            if (line.side, line.number) == (finding.side, finding.line):
                return hunk.lines, index
    return (), 0
