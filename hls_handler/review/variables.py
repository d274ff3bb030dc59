"""The variables of the prompts about a pull request, and of its comments, with the
findings as these show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Literal, get_args

from hls_handler.actions import EnsureReply
from hls_handler.analysis import (
    MAX_FILE_SUMMARIES,
    Category,
    FileSummary,
    Finding,
    ReplyFields,
    Score,
    Severity,
    file_summaries_of,
    lowest_scores,
)
from hls_handler.events import PullRequest
from hls_handler.github.values import (
    GuidanceFile,
    LinkedIssue,
    MergeState,
    RepositoryLabel,
    list_offered,
    permalink,
    web_url,
)
from hls_handler.review.changed_files import PatchedFile
from hls_handler.review.code_lines import CodeLines
from hls_handler.review.coverage import Coverage
from hls_handler.review.dismissals import FIXED, OPEN_AGAIN, STILL_THERE, describe_dismissal
from hls_handler.review.facts import PullRequestFacts, Size
from hls_handler.review.ledger import fails_check, is_failing, sort_entries
from hls_handler.review.patches import Side
from hls_handler.review.positions import Located
from hls_handler.review.record import LedgerEntry, OpenFinding
from hls_handler.review.removed_lines import Removals
from hls_handler.review.second_look import Candidate, plan_second_look
from hls_handler.review.skipped_files import SkippedFile
from hls_handler.review.suggested_reviewers import Reviewer
from hls_handler.review.wanted_check import select_suggested_title
from hls_handler.untrusted.cleaning import truncate
from hls_handler.wording import count, inflect

MAX_EARLIER_CHARACTERS = 160  # of the text of an earlier finding that the prompt shows


Present = Literal["", "as in the base", "the file is gone"]


@dataclass(frozen=True, slots=True)
class EarlierFinding:
    """A finding in the prompt, about which Claude gives a verdict."""

    number: int
    path: str
    line: int | None  # None: its block changed, or it is about the file
    severity: Severity
    category: str
    title: str
    body: str
    quote: str
    code: str  # its present lines, numbered; "" if there are none
    is_changed: bool  # True: the lines that it is about are no longer as they were
    present: Present = ""  # what is certain of its present lines
    code_path: str = ""  # of the file that has `code`
    unseen: str = ""  # the fact on which it hangs, which was not shown


@dataclass(frozen=True, slots=True)
class ShownFinding:
    """A finding as the comment shows it. The fields of an earlier finding that are not stored are
    empty.
    """

    path: str
    side: Side
    start_line: int | None
    line: int | None
    severity: Severity
    category: Category | None
    confidence: float | None
    title: str
    body: str
    quote: str
    suggestion: str | None
    # of the review comment, or the permanent address of the lines on GitHub; "" if unknown
    url: str
    is_inline: bool  # True if a review comment has the text
    number: int = 0  # 0: it cannot be dismissed, because it does not count
    is_undecided: bool = False
    unseen: str = ""  # the fact on which it hangs, which was not shown
    dismissed_by: str = ""  # login of the person
    dismissed_how: str = ""  # "reply", "resolved thread"
    author_may_dismiss: bool = False  # the pull request's author, who may not write


def list_asked(facts: PullRequestFacts) -> tuple[EarlierFinding, ...]:
    """Return the earlier findings that the call asks about."""
    entries = {entry.number: entry for entry in facts.record.ledger}
    numbers = [number for number, call in facts.questions.items() if facts.call in (None, call)]
    return tuple(
        _to_earlier(entries[number], facts.present_lines.get(number, CodeLines("")))
        for number in numbers
    )


def list_known(facts: PullRequestFacts) -> tuple[EarlierFinding, ...]:
    """Return the open findings in the files of the call that it does not ask about."""
    paths = {file.path for file in facts.files}
    return tuple(
        _to_earlier(entry, CodeLines(""))
        for entry in facts.record.ledger
        if entry.state == "open" and entry.path in paths and not entry.has_vanished
        if entry.number not in facts.questions
    )


def _to_earlier(entry: LedgerEntry, present: CodeLines) -> EarlierFinding:
    return EarlierFinding(
        number=entry.number,
        path=entry.path,
        line=entry.line,
        severity=entry.severity,
        category=entry.category,
        title=entry.title,
        body=truncate(entry.body, MAX_EARLIER_CHARACTERS),
        quote=entry.quote,
        code=present.text,
        is_changed=entry.has_vanished,
        present=find_state(present),
        code_path=present.path,
        unseen=entry.unseen,
    )


def find_state(lines: CodeLines) -> Present:
    """Return what is certain of the present lines of a finding; "" if nothing is."""
    if lines.kind == "as in the base" or lines.kind == "the file is gone":
        return lines.kind
    return ""


def show_raised(facts: PullRequestFacts) -> tuple[ShownFinding, ...]:
    """Return the new findings; those with a review comment are `is_inline`."""
    keys = {entry.key for entry, _ in facts.findings.inline}
    return tuple(
        to_shown(facts, entry, finding, is_inline=entry.key in keys)
        for entry, finding in facts.findings.raised
    )


def to_shown(
    facts: PullRequestFacts, entry: LedgerEntry, located: Located, *, is_inline: bool
) -> ShownFinding:
    finding = located.finding
    line = None if located.line is None else located.finding.line
    url = _find_url(
        facts,
        facts.comment_ids.get(entry.key),
        finding.path,
        finding.side,
        finding.start_line or line,
        line,
    )
    view = _to_shown(finding, line, url, is_inline=is_inline, number=entry.number)
    author_may_dismiss = not is_failing(entry.severity, facts.fail_on)
    return replace(view, unseen=entry.unseen, author_may_dismiss=author_may_dismiss)


def show_unlocated(facts: PullRequestFacts) -> tuple[ShownFinding, ...]:
    findings = facts.findings.unlocated
    return tuple(
        _to_shown(finding, None, _find_url(facts, None, finding.path, "RIGHT", None, None))
        for finding in findings
    )


def _to_shown(
    finding: Finding, line: int | None, url: str, *, is_inline: bool = False, number: int = 0
) -> ShownFinding:
    left_out = ("line", "continues", "rests_on", "look_up")
    values = {name: value for name, value in finding if name not in left_out}
    return ShownFinding(**values, line=line, url=url, is_inline=is_inline, number=number)


def show_earlier(facts: PullRequestFacts) -> tuple[ShownFinding, ...]:
    """Return the earlier findings that are open."""
    return tuple(_show_entry(facts, entry) for entry in facts.findings.open)


def list_failing(facts: PullRequestFacts) -> list[LedgerEntry]:
    """Return the earlier findings that fail the check."""
    return [entry for entry in facts.findings.ledger if fails_check(entry, facts.fail_on)]


def count_undecided(facts: PullRequestFacts) -> int:
    """Count those of them that may be fixed."""
    return sum(entry.is_undecided or entry.has_vanished for entry in list_failing(facts))


def list_unseen(facts: PullRequestFacts) -> list[LedgerEntry]:
    """Return the earlier findings that count and hang on a fact that was not shown."""
    return [entry for entry in facts.findings.ledger if entry.counts and entry.unseen]


def show_dismissed(facts: PullRequestFacts) -> tuple[ShownFinding, ...]:
    """Return the findings that a person dismissed, with who and how."""
    views: list[ShownFinding] = []
    for entry in sort_entries(
        dismissed for dismissed in facts.findings.ledger if dismissed.state == "dismissed"
    ):
        by = entry.dismissed_by or ""
        how = describe_dismissal(next(iter(entry.dismissals), ""))
        finding = _show_entry(facts, entry)
        views.append(replace(finding, body="", dismissed_by=by, dismissed_how=how))
    return tuple(views)


def list_open(facts: PullRequestFacts) -> tuple[OpenFinding, ...]:
    """Return the new findings and the earlier ones that are open."""
    new: list[OpenFinding] = []
    for entry, located in facts.findings.raised:
        view = _to_open(entry)
        finding = located.finding
        if located.line is not None:
            view = replace(view, start_line=finding.start_line, line=finding.line)
        new.append(replace(view, suggestion=finding.suggestion))
    return (*new, *map(_to_open, facts.findings.open))


def _to_open(entry: LedgerEntry) -> OpenFinding:
    return OpenFinding(
        number=entry.number,
        severity=entry.severity,
        path=entry.path,
        side=entry.side,
        start_line=None,
        line=entry.line,
        title=entry.title,
        body=entry.body,
        suggestion=None,
        unseen=entry.unseen,
    )


def _show_entry(facts: PullRequestFacts, entry: LedgerEntry) -> ShownFinding:
    is_inline = entry.comment_id is not None
    body = ""
    if not is_inline:
        body = entry.body
    return ShownFinding(
        path=entry.path,
        side=entry.side,
        start_line=None,
        line=entry.line,
        severity=entry.severity,
        category=next(
            (category for category in get_args(Category) if category == entry.category), None
        ),
        confidence=None,
        title=entry.title,
        body=body,
        quote="",
        suggestion=None,
        url=_find_url(facts, entry.comment_id, entry.path, entry.side, entry.line, entry.line),
        is_inline=is_inline,
        number=entry.number,
        is_undecided=entry.is_undecided,
        unseen=entry.unseen,
    )


def find_urls(facts: PullRequestFacts) -> Mapping[str, str]:
    """Return the address of each finding, by its key."""
    entries = [*(entry for entry, _ in facts.findings.raised), *facts.findings.ledger]
    urls: dict[str, str] = {}
    for entry in entries:
        comment_id = facts.comment_ids.get(entry.key, entry.comment_id)
        place = (entry.path, entry.side, entry.line, entry.line)
        urls[entry.key] = _find_url(facts, comment_id, *place)
    return urls


def _find_url(
    facts: PullRequestFacts,
    comment_id: int | None,
    path: str,
    side: Side,
    start: int | None,
    line: int | None,
) -> str:
    """Return the address of the review comment, else of lines in the analysed commit; "" if
    unknown.

    Removed lines are in the base commit.
    """
    pull_request = facts.pull_request
    if comment_id is not None:
        return f"{pull_request.html_url}#discussion_r{comment_id}"
    if side == "LEFT":
        path = facts.present.name(path)
    commit = pull_request.base_sha if side == "LEFT" else pull_request.head_sha
    return permalink(pull_request.html_url, commit, path, line, start=start)


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


@dataclass(frozen=True, slots=True)
class Sentences:
    """Sentences of a comment that depend on several numbers, or that the check has, too."""

    failing: str
    limit: str


def write_sentences(facts: PullRequestFacts) -> Sentences:
    """Return the sentences of the comment. The template shows those that are true."""
    return Sentences(
        failing=describe_failing(len(list_failing(facts)), count_undecided(facts)),
        limit=describe_limit(has_replies=facts.has_replies),
    )


def describe_failing(failing: int, undecided: int) -> str:
    """Return the state of the earlier findings that fail the check."""
    findings = count(failing, "finding still fails", "findings still fail")
    headline = f"**{findings} the check.**"
    if not undecided:
        return f"{headline} {inflect(failing, 'It is', 'They are')} still there"
    lines = inflect(failing, "Its line", "Their lines")
    if undecided < failing:
        lines = f"The {inflect(undecided, 'line')} of {undecided}"
    return (
        f"{headline} {lines} changed; this review could not tell whether that fixes"
        f" {inflect(undecided, 'it', 'them')}. A maintainer's `/review` looks again."
    )


def describe_limit(*, has_replies: bool) -> str:
    """Return the notice about `review.max_usd_per_pull_request`."""
    reached = "This pull request has reached its limit on cost."
    if has_replies:
        reached = (
            "This review was only partly done when the pull request reached its limit on cost."
        )
    return f"{reached} `/review` of a person with write permission continues for one more review."


VARIABLES: Mapping[str, tuple[object, Callable[[PullRequestFacts], object]]] = {
    "pull_request": (PullRequest, lambda facts: facts.pull_request),
    "files": (tuple[PatchedFile, ...], lambda facts: facts.files),
    "second_sites": (tuple[CodeLines, ...], lambda facts: facts.second_sites),
    "removals": (Removals, lambda facts: facts.removals),
    "skipped": (tuple[SkippedFile, ...], lambda facts: facts.selection.skipped),
    "unlisted": (int, lambda facts: facts.unlisted),
    "summarized_files": (int, lambda facts: count_summarized(facts)),
    "size": (Size, lambda facts: facts.size),
    "title_types": (str, lambda facts: _show_title_types(facts)),
    "round": (int, lambda facts: facts.round),
    "part": (int, lambda facts: (facts.call or 0) + 1),
    "parts": (int, lambda facts: len(facts.selection.calls)),
    "earlier_kind": (str, lambda facts: facts.record.kind),
    "earlier_summary": (str, lambda facts: facts.record.summary),
    "known_findings": (tuple[EarlierFinding, ...], list_known),
    "earlier_findings": (tuple[EarlierFinding, ...], list_asked),
    "guidance": (tuple[GuidanceFile, ...], lambda facts: facts.shown_context.guidance),
    "linked_issues": (tuple[LinkedIssue, ...], lambda facts: facts.shown_context.linked_issues),
    # only the prompt of the second look has some
    "candidates": (tuple[Candidate, ...], lambda _: ()),
    "repository_labels": (tuple[RepositoryLabel, ...], lambda facts: list_offered(facts.offer)),
}
"""The type and the value of each variable of prompts."""

COMMENT_VARIABLES: Mapping[str, tuple[object, Callable[[PullRequestFacts], object]]] = {
    "commit": (str, lambda facts: facts.pull_request.head_sha[:10]),
    "commit_url": (
        str,
        lambda facts: web_url(facts.pull_request.html_url, f"commit/{facts.pull_request.head_sha}"),
    ),
    "findings": (tuple[ShownFinding, ...], show_raised),
    "unlocated": (tuple[ShownFinding, ...], show_unlocated),
    "held_back": (int, lambda facts: facts.findings.held_back),
    "fixed": (int, lambda facts: facts.findings.count("fixed")),
    "still_open": (int, lambda facts: facts.findings.count("open")),
    "gone": (int, lambda facts: facts.findings.count("gone")),
    "dismissed": (int, lambda facts: facts.findings.count("dismissed")),
    "dismissals": (tuple[ShownFinding, ...], show_dismissed),
    "undecided": (int, lambda facts: sum(entry.is_undecided for entry in facts.findings.open)),
    "failing": (int, lambda facts: len(list_failing(facts))),
    "failing_undecided": (int, count_undecided),
    "unseen": (int, lambda facts: len(list_unseen(facts))),
    "open_findings": (tuple[OpenFinding, ...], list_open),
    "unrepeated": (tuple[ShownFinding, ...], show_earlier),
    "coverage": (Coverage, lambda facts: facts.coverage),
    "at_limit": (bool, lambda facts: facts.is_at_limit),
    "unsearched": (str, lambda facts: facts.unsearched),
    "has_replies": (bool, lambda facts: facts.has_replies),
    "scores": (tuple[Score, ...], lambda facts: facts.record.scores),
    "file_summaries": (
        tuple[FileSummary, ...],
        lambda facts: list_summaries(facts, facts.reply),
    ),
    "merge": (MergeState | None, lambda facts: facts.merge),
    "reviewers": (tuple[Reviewer, ...], lambda facts: facts.reviewers),
    "suggested_title": (str, lambda facts: find_suggested_title(facts)),
    "sentences": (Sentences, write_sentences),
}
"""The type and the value of each variable of comments."""


def list_comment_variables(facts: PullRequestFacts, reply: ReplyFields) -> Mapping[str, object]:
    facts = facts.with_reply(reply)
    variables = {name: value(facts) for name, (_, value) in COMMENT_VARIABLES.items()}
    scores = lowest_scores([reply]) or facts.record.scores
    return {**variables, "scores": scores}


def list_inline(facts: PullRequestFacts) -> Mapping[str, Mapping[str, object]]:
    """Return the variables of the review comment for each finding that gets one, by the key of the
    finding.
    """
    return {
        entry.key: {"finding": to_shown(facts, entry, located, is_inline=False), "is_inline": True}
        for entry, located in facts.findings.inline
    }


def prompt_variables(facts: PullRequestFacts) -> Mapping[str, object]:
    return {name: value(facts) for name, (_, value) in VARIABLES.items()}


def verification_variables(
    facts: PullRequestFacts, reply: ReplyFields | None
) -> Mapping[str, object] | None:
    """Return the variables of the prompt `VERIFY_PROMPT`; None if there is nothing to look at
    again.
    """
    if not facts.is_review:
        return None
    look = plan_second_look(facts.with_reply(reply))
    if not look.candidates:
        return None
    texts = {"candidates": look.candidates, "files": look.files, "second_sites": look.second_sites}
    return {**prompt_variables(facts), **texts}


def find_suggested_title(facts: PullRequestFacts) -> str:
    return select_suggested_title(facts.reply, facts.title_types, facts.record.suggested_title)


def _show_title_types(facts: PullRequestFacts) -> str:
    if facts.call:  # only the first call is asked for a title
        return ""
    return ", ".join(facts.title_types)


def count_summarized(facts: PullRequestFacts) -> int:
    """Return the number of a call's files, from the first, that get a sentence in its reply."""
    if facts.file_summaries is None:
        return 0
    before = chain.from_iterable(facts.selection.calls[: facts.call or 0])
    free_places = MAX_FILE_SUMMARIES - len({part.file for part in before})
    return min(len(facts.files), max(free_places, 0))


def list_summaries(facts: PullRequestFacts, reply: ReplyFields | None) -> tuple[FileSummary, ...]:
    """Return a sentence about each file, the most important first; the earlier one if `reply` has
    none.

    A later review gives sentences only about files that it reads again.
    """
    if facts.file_summaries is None:
        return ()
    by_path = {
        summary.path: summary for summary in (*facts.file_summaries, *file_summaries_of(reply))
    }
    summaries = [by_path[file.path] for file in facts.selection.files if file.path in by_path]
    return tuple(summaries[:MAX_FILE_SUMMARIES])
