"""The findings of a review: new findings with their places, the state of earlier ones, and the questions about them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from hls_handler.analysis import Finding, PullRequestAnalysis, Reply, Severity
from hls_handler.handlers.changed_files import Selection, find_unread, is_shortened
from hls_handler.handlers.committed_credentials import find_committed
from hls_handler.handlers.pull_request_facts import PullRequestFacts
from hls_handler.handlers.reader import ChangedFile, Reader
from hls_handler.handlers.skipped_files import EMPTY_BLOBS
from hls_handler.review.blocks import Block, match_blocks
from hls_handler.review.dismissals import FIXED, find_dismissals
from hls_handler.review.ledger import PresentFiles, add, is_failing, sort_entries
from hls_handler.review.patches import Patch
from hls_handler.review.positions import RANK, Located, locate
from hls_handler.review.record import FindingState, LedgerEntry, ReviewRecord, ReviewThread
from hls_handler.review.verdicts import Claim, ReviewedChanges, decide_verdicts

MAX_QUESTIONS = 30  # earlier findings about which one review asks
MAX_PAST_BLOCKS = 500  # of a file, that were reviewed and are not in its patch any more


@dataclass(frozen=True, slots=True)
class ReviewFindings:
    raised: tuple[tuple[LedgerEntry, Located], ...]  # new findings, most severe first
    inline: tuple[tuple[LedgerEntry, Located], ...]  # those of `raised` that get a review comment
    unlocated: tuple[Finding, ...]  # about files that no call showed; they do not count
    held_back: int  # findings that the settings leave out
    ledger: tuple[LedgerEntry, ...]  # the earlier findings with their present state
    claims: tuple[Claim, ...]  # about earlier findings, that the second look must agree with

    @property
    def open(self) -> Sequence[LedgerEntry]:
        """The open entries of `ledger`, most severe first."""
        return sort_entries(entry for entry in self.ledger if entry.state == "open")

    def count(self, state: FindingState, *, by_readers: bool = False) -> int:
        """Count the earlier findings in a state; `by_readers`: without findings that a writer dismissed."""
        return sum(one.state == state and not (by_readers and one.has_binding_dismissal) for one in self.ledger)


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


def find_findings(facts: PullRequestFacts, reply: Reply | None) -> ReviewFindings:
    """Return the findings that this review raises, and the findings of earlier reviews."""
    reply = reply if isinstance(reply, PullRequestAnalysis) else None
    reported = [locate(finding, facts.selection.shown_patches) for finding in (reply.findings if reply else [])]
    changes = ReviewedChanges(
        facts.record,
        facts.present,
        facts.selection.new,
        facts.pull_request.head_sha,
        fail_on=facts.fail_on,
        asked=facts.asked,
        has_calls=bool(facts.selection.calls) or any(facts.selection.new.values()),
        agreed=facts.agreed,
    )
    ledger, claims, others = decide_verdicts(changes, reply.earlier if reply else [], reported)
    severe = [one for one in others if RANK[one.finding.severity] <= RANK[facts.shown.min_severity]]
    listed = [one for one in severe if one.finding.category in facts.review.categories]
    wanted = [one for one in listed if one.finding.confidence >= facts.shown.min_confidence]
    timely = [one for one in wanted if changes.is_timely(one) and one.is_shown]
    new = [*(find_committed(ledger, facts.credentials, facts.present) if facts.is_review else []), *timely]
    found = zip(add(facts.record, new, facts.present), new, strict=True)
    raised = tuple(one for one in found if one[0].key not in facts.dropped)
    inline = [one for one in raised if one[1].line is not None][: facts.review.max_inline] if facts.is_review else []
    return ReviewFindings(
        raised,
        inline=tuple(one for one in inline if one[0].key not in facts.not_inline),
        unlocated=tuple(one.finding for one in wanted if not one.is_shown),
        held_back=len(others) - len(wanted),
        ledger=ledger,
        claims=claims,
    )


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
