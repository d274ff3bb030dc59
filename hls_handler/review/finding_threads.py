"""Replies in the threads of findings, and what the ledger remembers of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hls_handler.actions import EnsureReply
from hls_handler.review.dismissals import FIXED, OPEN_AGAIN, STILL_THERE
from hls_handler.review.facts import PullRequestFacts
from hls_handler.review.ledger import is_failing
from hls_handler.review.record import LedgerEntry


def plan_replies(facts: PullRequestFacts) -> tuple[EnsureReply, ...]:
    """Return at most one reply for each thread, so that its last word is true, and one for all
    findings that this push removed from the diff.
    """
    gone = _list_newly_gone(facts)
    replies: list[EnsureReply] = []
    for entry in facts.findings.ledger:
        if entry.comment_id is not None and entry.key in facts.own_replies:
            replies += _plan_reply(entry, entry.comment_id, gone, facts)
    return tuple(replies)


def _list_newly_gone(facts: PullRequestFacts) -> tuple[LedgerEntry, ...]:
    """Return the entries that are gone, and whose threads do not say so.

    The first one's thread may say so although no review has stored it: a review wrote that for all
    of them, and was killed before it stored its record.
    """
    entries: list[LedgerEntry] = []
    unmentioned: list[LedgerEntry] = []
    for entry in facts.findings.ledger:
        has_thread = entry.comment_id is not None and entry.key in facts.own_replies
        if entry.state != "gone" or not entry.resolution or not has_thread or entry.dismissals:
            continue
        if not _last_word(entry, facts).startswith(FIXED):
            unmentioned.append(entry)
        elif not entry.gone_at:
            entries.append(entry)
    return (*entries, *unmentioned)


def _last_word(entry: LedgerEntry, facts: PullRequestFacts) -> str:
    """Return the key of the last reply about the state of a finding; "" if there is none."""
    if entry.told_elsewhere:
        return FIXED
    replies = reversed(facts.own_replies[entry.key])
    return next((key for key in replies if key.startswith((FIXED, OPEN_AGAIN))), "")


def _plan_reply(
    entry: LedgerEntry, thread: int, gone: Sequence[LedgerEntry], facts: PullRequestFacts
) -> tuple[EnsureReply, ...]:
    last = _last_word(entry, facts)
    commit = facts.pull_request.head_sha[:7]
    where = ""
    if entry.line is not None:
        where = f", line {entry.line}"
    if entry.is_closed:
        is_mentioned = entry.dismissals or last.startswith(FIXED) or entry in gone[1:]
        if is_mentioned or not entry.resolution:
            return ()
        key = FIXED
        if last:
            key = f"{FIXED}-{commit}"
        text = entry.resolution
        if entry in gone:
            text = _describe_gone(gone)
        return (EnsureReply(thread, key, text, ends_footer=True),)
    if last.startswith(FIXED):
        who = "A maintainer"
        if not is_failing(entry.severity, facts.fail_on):
            who = "The author or a maintainer"
        text = f"Open again since {commit}{where}. {who} can dismiss it: reply `/dismiss`."
        return (EnsureReply(thread, f"{OPEN_AGAIN}-{commit}", text),)
    is_decided = not entry.is_undecided and not entry.has_vanished
    replies = facts.own_replies[entry.key]
    if is_decided and entry.key in facts.resolved_in_vain and STILL_THERE not in replies:
        command = f"`/dismiss {entry.number}` of a person with write permission"
        text = f"Still there{where}. If it is not to be fixed: {command}."
        return (EnsureReply(thread, STILL_THERE, text),)
    return ()


def _describe_gone(gone: Sequence[LedgerEntry]) -> str:
    """Return the reply in the thread of the first of these findings, for all of them."""
    first, *others = gone
    numbers = [str(entry.number) for entry in others]
    if not numbers:
        return first.resolution
    if len(numbers) == 1:
        return f"No longer in the diff, nor is finding {numbers[0]}."
    numbers_text = f"{', '.join(numbers[:-1])} and {numbers[-1]}"
    return f"No longer in the diff, nor are findings {numbers_text}."


def mark_mentioned(facts: PullRequestFacts) -> tuple[LedgerEntry, ...]:
    """Return the ledger with when entries were gone, and whether a reply in another thread says
    so: the reply in the thread of the first newly gone entry names the others.
    """
    named_by_first = _list_newly_gone(facts)[1:]
    entries: list[LedgerEntry] = []
    for entry in facts.findings.ledger:
        is_mentioned = (entry.told_elsewhere and entry.is_closed) or entry in named_by_first
        gone_at = 0
        if entry.state == "gone":
            gone_at = entry.gone_at or facts.round
        entries.append(replace(entry, told_elsewhere=is_mentioned, gone_at=gone_at))
    return tuple(entries)
