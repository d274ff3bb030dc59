"""The findings of a review: which of them are raised and where, what became of the earlier ones, and what is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hls_handler.analysis import Finding, FindingVerdict, PullRequestAnalysis, Reply, Severity
from hls_handler.handlers.changed_files import Selection, is_shortened, list_unread
from hls_handler.handlers.committed_credentials import find_committed
from hls_handler.handlers.pull_request_facts import Candidate, PullRequestFacts, Question
from hls_handler.handlers.reader import ChangedFile, Reader
from hls_handler.handlers.skipped_files import EMPTY_BLOBS
from hls_handler.prompting.render import estimate_tokens
from hls_handler.review.blocks import Block, PlacedBlock, match_blocks
from hls_handler.review.dismissals import FIXED, find_dismissals
from hls_handler.review.ledger import PresentFiles, add, is_failing, sort_entries
from hls_handler.review.patches import Hunk, Line, Patch, Side, number_line, numbered, parse_patch
from hls_handler.review.positions import RANK, Located, letters_of, locate, merge_located
from hls_handler.review.record import LedgerEntry, ReviewRecord, ReviewThread
from hls_handler.review.verdicts import Claim, ReviewedChanges, decide_verdicts, set_gone

MAX_CANDIDATES = 40  # new findings of one review that are verified and shown
MAX_QUESTIONS = 30  # earlier findings about which one review asks
QUESTION_TOKENS = 150  # of each in the prompt
EXCERPT_TOKENS = 20_000  # of all candidates of the second look together
MAX_EXCERPT_LINES = 40  # above and below a finding
MAX_LINE_CHARS = 1_000  # of a line in an excerpt
UNSURE = 0.7
"""Confidence below which a new finding gets a second look, and is dropped if a decisive fact is not shown."""

MAX_PAST_BLOCKS = 500  # of a file, that were reviewed and are not in its patch any more


@dataclass(frozen=True, slots=True)
class ReviewFindings:
    raised: tuple[tuple[LedgerEntry, Located], ...]  # new findings, most severe first
    inline: tuple[tuple[LedgerEntry, Located], ...]  # those of `raised` that get a review comment
    unlocated: tuple[Finding, ...]  # about files that no call showed; they do not count
    held_back: int  # findings below the thresholds in the settings
    left_out: tuple[tuple[LedgerEntry, Located], ...]  # new findings beyond `MAX_CANDIDATES`, which are not shown
    ledger: tuple[LedgerEntry, ...]  # the earlier findings with their present state
    open: tuple[LedgerEntry, ...]  # those of `ledger` that are open, most severe first
    claims: tuple[Claim, ...]  # about earlier findings, that the second look must agree with
    next_number: int


@dataclass(frozen=True, slots=True)
class Discussion:
    """The review threads of a pull request, with the people who may dismiss findings."""

    threads: tuple[ReviewThread, ...] = ()
    writers: tuple[str, ...] = ()  # logins of those who dismissed a finding and may write to the repository
    replied: tuple[str, ...] = ()  # keys of findings that get no reply: their thread has one, or a person deleted it


def read_discussion(number: int, reader: Reader, ledger: Sequence[LedgerEntry]) -> Discussion:
    """Read the review threads, unless no finding has one."""
    if not any(entry.comment_id for entry in ledger):
        return Discussion()
    threads = reader.review_threads(number)
    people = dict.fromkeys(login for thread in threads for login in find_dismissals(thread).values())
    writers = (login for login in people if login and reader.permission(login) in ("admin", "write"))
    unreplied = {thread.key for thread in threads if FIXED not in thread.own_replies}
    return Discussion(threads, tuple(writers), tuple(entry.key for entry in ledger if entry.key not in unreplied))


def find_present(listed: Sequence[ChangedFile], patches: Mapping[str, Patch], unlisted: int) -> PresentFiles:
    """Return the present files. GitHub may have shortened or left out the patches of some of them."""
    unread = [file for file in listed if _is_unread(file)]
    return PresentFiles(
        patches,
        {file.path: file.previous_path for file in listed if file.previous_path and file.status == "renamed"},
        unread=frozenset(path for file in unread for path in (file.path, file.previous_path) if path),
        is_complete=not unlisted,
    )


def _is_unread(file: ChangedFile) -> bool:
    if file.patch:
        return is_shortened(file, parse_patch(file.patch))
    is_empty = file.status == "removed" or file.sha in EMPTY_BLOBS
    return not is_empty and not (file.status == "renamed" and not file.additions and not file.deletions)


def find_kept(record: ReviewRecord, files: PresentFiles, readable: Iterable[str]) -> frozenset[str]:
    """Return the keys of findings whose code is in a newer block of a file that the review leaves out."""
    vanished = {entry.key: (letters_of(entry.quote), entry.round) for entry in record.ledger if entry.has_vanished}
    kept: set[str] = set()
    for path in files.blocks.keys() - set(readable):
        known, placed = record.unreviewed.get(files.name(path), ()), files.blocks[path]
        same = match_blocks(known, placed)
        for index, one in enumerate(placed):
            first = known[same[index]].round if index in same else record.rounds + 1
            code = letters_of("".join(line.text for line in one.lines if line.mark == "+"))
            kept |= {key for key, (quote, last) in vanished.items() if first > last and quote in code}
    return frozenset(kept)


def list_to_ask(ledger: Iterable[LedgerEntry], *, fail_on: Severity | None, asks_all: bool) -> list[LedgerEntry]:
    """Return the findings to ask about: undecided ones, then open ones that fail the check, or all open ones."""
    entries = [one for one in sort_entries(ledger) if not one.form and not one.is_closed]
    undecided = [one for one in entries if one.has_vanished or one.is_undecided]
    undecided.sort(key=lambda one: not one.was_left_out)
    still_open = [one for one in entries if one.state == "open" and one not in undecided]
    return (undecided + [one for one in still_open if asks_all or is_failing(one.severity, fail_on)])[:MAX_QUESTIONS]


def plan_questions(selection: Selection, wanted: Sequence[LedgerEntry]) -> tuple[Question, ...]:
    """Return the call of each question: the first one that shows the finding's file, else the first one of all."""
    shown: list[dict[str, set[int]]] = []  # of each call: the hunks that it shows, by path
    for call in selection.calls:
        hunks: dict[str, set[int]] = {}
        for part in call:
            hunks.setdefault(selection.files[part.file].path, set()).update(part.hunks)
        shown.append(hunks)
    names = {file.path: file.base_path for file in selection.files}

    def plan(entry: LedgerEntry) -> Question:
        calls = (n for n, of_call in enumerate(shown) if entry.file in {names[path] for path in of_call})
        call = next(calls, 0)
        patch = selection.patches.get(entry.path)
        place = None if patch is None or entry.line is None else _find(patch, entry.side, entry.line)
        if patch is None or place is None or place[0] in shown[call].get(entry.path, ()):
            return Question(entry.number, call, "")
        return Question(entry.number, call, _excerpt(patch, place, QUESTION_TOKENS // 2))

    return tuple(map(plan, wanted)) if selection.calls else ()


def find_findings(facts: PullRequestFacts, reply: Reply | None) -> ReviewFindings:
    """Return the findings of a reply that this review raises, and those of earlier reviews."""
    changes, shown = _changes(facts), facts.selection.shown_patches
    reply = reply if isinstance(reply, PullRequestAnalysis) else None
    reported = [locate(finding, shown) for finding in (reply.findings if reply else [])]
    if not facts.selection.calls and not any(facts.selection.new.values()):
        changes = replace(changes, record=replace(facts.record, ledger=tuple(_end_vanished(facts))))
    ledger, claims, others = decide_verdicts(changes, reply.earlier if reply else [], reported, facts.agreed)
    wanted = [one for one in others if _is_wanted(facts, one.finding)]
    timely = [one for one in merge_located(wanted) if changes.is_timely(one) and one.is_shown]
    new = [*(find_committed(ledger, facts.credentials, facts.present) if facts.is_review else []), *timely]
    added = add(ledger, new, changes.files, first_number=facts.record.next_number, review=changes.review)
    found = [*zip(added, new, strict=True)]
    raised = tuple(one for one in found[:MAX_CANDIDATES] if one[0].key not in facts.dropped)
    inline = [one for one in raised if one[1].line is not None][: facts.review.max_inline] if facts.is_review else []
    return ReviewFindings(
        raised,
        inline=tuple(one for one in inline if one[0].key not in facts.not_inline),
        unlocated=tuple(one.finding for one in wanted if not one.is_shown),
        held_back=len(others) - len(wanted),
        left_out=tuple(found[MAX_CANDIDATES:]),
        ledger=ledger,
        open=tuple(sort_entries(entry for entry in ledger if entry.state == "open")),
        claims=claims,
        next_number=facts.record.next_number + len(found),
    )


def _changes(facts: PullRequestFacts) -> ReviewedChanges:
    return ReviewedChanges(
        facts.record,
        facts.present,
        facts.selection.new,
        facts.pull_request.head_sha,
        is_first=facts.record.rounds == 0 or facts.is_full,
        fail_on=facts.fail_on,
        asked=facts.asked,
        kept=facts.kept,
    )


def _end_vanished(facts: PullRequestFacts) -> Iterable[LedgerEntry]:
    """Yield the entries, those as gone whose block vanished with this push, which brought nothing new.

    A block that was reviewed before the finding was raised may have its code: the author returned to an older commit.
    """
    lines = [one.lines for of_file in facts.present.blocks.values() for one in of_file]
    for entry in facts.record.ledger:
        quote, is_removed = letters_of(entry.quote), entry.side == "LEFT"
        code = (letters_of("".join(one.text for one in of if (one.mark == "-") == is_removed)) for of in lines)
        is_there = entry.key in facts.kept or (quote and any(quote in text for text in code))
        yield set_gone(entry) if entry.has_vanished and not entry.is_undecided and not is_there else entry


def _is_wanted(facts: PullRequestFacts, finding: Finding) -> bool:
    is_severe = RANK[finding.severity] <= RANK[facts.shown.min_severity]
    return is_severe and finding.confidence >= facts.shown.min_confidence


def list_blocks(facts: PullRequestFacts) -> tuple[Mapping[str, tuple[Block, ...]], Mapping[str, tuple[Block, ...]]]:
    """Return `ReviewRecord.blocks` and `ReviewRecord.unreviewed` after a review."""
    record, names, selection = facts.record, facts.present, facts.selection
    unread_blocks = [
        block
        for index in range(len(selection.files))
        for block in list_unread(selection, index, facts.unanswered, facts.known_blocks)
    ]
    others = {id(block) for block in unread_blocks}
    reviewed = [block for of_file in selection.blocks.values() for block in of_file if id(block) not in others]
    unread = {name: list(blocks) for name, blocks in facts.unreviewed.items()}
    for name, of_file in _by_file(unread_blocks, names).items():
        unread.setdefault(name, []).extend(one.block for one in of_file)
    blocks = dict(record.blocks)
    for name, of_file in _by_file(reviewed, names).items():
        known = record.blocks.get(name, ())
        same = match_blocks(known, of_file)
        seen = record.unreviewed.get(name, ())
        before = match_blocks(seen, of_file)
        rounds = [
            known[same[i]].round if i in same else seen[before[i]].round if i in before else facts.round
            for i in range(len(of_file))
        ]
        past = [block for index, block in enumerate(known) if index not in same.values()]
        present = (replace(one.block, round=first) for one, first in zip(of_file, rounds, strict=True))
        blocks[name] = (*present, *past[:MAX_PAST_BLOCKS])
    return blocks, {
        name: tuple(_with_rounds(of, record.unreviewed.get(name, ()), facts.round)) for name, of in unread.items()
    }


def _with_rounds(blocks: Iterable[Block], known: Iterable[Block], review: int) -> Iterable[Block]:
    first = {(one.lines, one.above, one.below): one.round for one in known}
    return (replace(one, round=first.get((one.lines, one.above, one.below), review)) for one in blocks)


def _by_file(blocks: Iterable[PlacedBlock], files: PresentFiles) -> Mapping[str, list[PlacedBlock]]:
    found: dict[str, list[PlacedBlock]] = {}
    for one in blocks:
        found.setdefault(files.name(one.path), []).append(one)
    return found


def list_second_look(facts: PullRequestFacts, result: ReviewFindings) -> list[LedgerEntry]:
    """Return the new findings that get a second look: those that would fail the check, and those that are not sure."""
    if not facts.review.verify:
        return []
    entries = [entry for entry, _ in result.raised if not entry.form]
    return [one for one in entries if is_failing(one.severity, facts.fail_on) or one.confidence < UNSURE]


def has_decisive_facts(verdict: FindingVerdict, candidate: Candidate) -> bool:
    """Return True if the second look was shown each line that decides about its subject."""
    shown = letters_of(candidate.code)
    quotes = [letters_of(fact.quote) for fact in verdict.facts if fact.is_decisive]
    return all(quote and quote in shown for quote in quotes)


def list_candidates(facts: PullRequestFacts, result: ReviewFindings) -> tuple[Candidate, ...]:
    """Return what the second look decides about: `list_second_look`, then the claims."""
    new = list_second_look(facts, result)
    patches, tokens = facts.selection.patches, EXCERPT_TOKENS // max(len(new) + 2 * len(result.claims), 1)

    def code(path: str, side: Side, line: int | None) -> str:
        place = _find(patches[path], side, line) if path in patches and line is not None else None
        return "" if place is None else _excerpt(patches[path], place, tokens)

    found: list[tuple[LedgerEntry, str, str]] = [(one, code(one.path, one.side, one.line), "") for one in new]
    for claim in result.claims:
        entry, number = claim.entry, claim.line.number
        own = code(entry.path, entry.side, entry.line)
        proof = code(claim.path, claim.line.side, number)
        text = f"{claim.text} {claim.path}, line {number}: {claim.line.text.strip()[:MAX_LINE_CHARS]}"
        found.append((entry, own if proof in own else "\n".join(filter(None, (own, proof))), text))
    return tuple(
        Candidate(number, one.path, one.line or 0, one.severity, one.title, one.body, shown, claim)
        for number, (one, shown, claim) in enumerate(found, start=1)
    )


def _find(patch: Patch, side: Side, number: int) -> tuple[int, int] | None:
    """Return the indexes of the hunk and of a line in it."""
    return next(
        (
            (at, index)
            for at, hunk in enumerate(patch.hunks)
            for index, line in enumerate(hunk.lines)
            if (line.side, line.number) == (side, number)
        ),
        None,
    )


def _excerpt(patch: Patch, place: tuple[int, int], tokens: int) -> str:
    """Return a numbered line with as many around it as fit into `tokens`."""
    hunk, at = patch.hunks[place[0]], place[1]
    first = last = at
    left = tokens - _count_tokens(hunk.lines[at])
    for distance in range(1, MAX_EXCERPT_LINES + 1):
        for index in (at - distance, at + distance):
            is_next = index in (first - 1, last + 1) and 0 <= index < len(hunk.lines)
            if is_next and (needed := _count_tokens(hunk.lines[index])) <= left:
                first, last, left = min(first, index), max(last, index), left - needed
    lines = (replace(line, text=line.text[:MAX_LINE_CHARS]) for line in hunk.lines[first : last + 1])
    return numbered(Patch((Hunk(hunk.header, tuple(lines)),)))


def _count_tokens(line: Line) -> int:
    return estimate_tokens(number_line(line)[:MAX_LINE_CHARS])
