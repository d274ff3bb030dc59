"""The findings of a review: new findings with their places, the state of earlier ones, and the questions about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hls_handler.analysis import Severity
from hls_handler.handlers.changed_files import Selection, find_unread, is_shortened
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.handlers.reader import ChangedFile, Reader
from hls_handler.handlers.skipped_files import EMPTY_BLOBS
from hls_handler.review.blocks import Block, match_blocks
from hls_handler.review.dismissals import FIXED, find_dismissals
from hls_handler.review.ledger import PresentFiles, is_failing, sort_entries
from hls_handler.review.patches import Patch
from hls_handler.review.record import LedgerEntry, ReviewRecord, ReviewThread

MAX_QUESTIONS = 30  # earlier findings about which one review asks
MAX_PAST_BLOCKS = 500  # of a file, that were reviewed and are not in its patch any more


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


def find_present(
    listed: Sequence[ChangedFile], patches: Mapping[str, Patch], unlisted: int, record: ReviewRecord
) -> PresentFiles:
    """Return the present files. GitHub may have shortened or left out the patches of some of them."""
    unread = [file for file in listed if _is_unread(file)]
    return PresentFiles(
        patches,
        {file.path: file.previous_path for file in listed if file.previous_path and file.status == "renamed"},
        unread=frozenset(path for file in unread for path in (file.path, file.previous_path) if path),
        is_complete=not unlisted,
        skipped={file.path: record.skipped_since(file.path, file.sha) for file in listed},
    )


def _is_unread(file: ChangedFile) -> bool:
    if file.patch:
        return is_shortened(file)
    is_empty = file.status == "removed" or file.sha in EMPTY_BLOBS
    return not is_empty and not (file.status == "renamed" and not file.additions and not file.deletions)


def list_to_ask(ledger: Iterable[LedgerEntry], *, fail_on: Severity | None, asks_all: bool) -> list[LedgerEntry]:
    """Return the findings to ask about: undecided ones, then open ones that fail the check, or all open ones."""
    entries = [one for one in sort_entries(ledger) if not one.form and not one.is_closed]
    undecided = [one for one in entries if one.has_vanished or one.is_undecided or one.has_lost_proof]
    undecided.sort(key=lambda one: not one.was_left_out)
    still_open = [one for one in entries if one.state == "open" and one not in undecided]
    return (undecided + [one for one in still_open if asks_all or is_failing(one.severity, fail_on)])[:MAX_QUESTIONS]


def plan_questions(selection: Selection, wanted: Sequence[LedgerEntry]) -> Mapping[int, int]:
    """Return the call of each question: the first one that shows the finding's file, else the first one of all."""
    shown = [{selection.files[part.file].base_path for part in call} for call in selection.calls]
    calls = (next((number for number, files in enumerate(shown) if one.file in files), 0) for one in wanted)
    return dict(zip((one.number for one in wanted), calls, strict=True)) if shown else {}


def list_blocks(facts: PullRequestFacts) -> Mapping[str, tuple[Block, ...]]:
    """Return `ReviewRecord.blocks` after a review."""
    blocks = dict(facts.record.blocks)
    unread = {block for block, _ in find_unread(facts.selection, facts.incomplete, facts.known_blocks)}
    for name, present in facts.present.by_file.items():
        read, known = [one for one in present if one not in unread], blocks.get(name, ())
        same = match_blocks(known, read)
        rounds = (known[same[index]].round if index in same else facts.round for index in range(len(read)))
        past = [
            replace(block, until=block.until or facts.record.rounds)
            for index, block in enumerate(known)
            if index not in same.values()
        ]
        now = (replace(one.block, round=first) for one, first in zip(read, rounds, strict=True))
        if read or past:
            blocks[name] = (*now, *past[:MAX_PAST_BLOCKS])
    return blocks
