"""The variables of the prompts about a pull request, and of its comments."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import chain

from hls_handler.analysis import (
    MAX_FILE_SUMMARIES,
    FileSummary,
    ReplyFields,
    Score,
    file_summaries_of,
    lowest_scores,
)
from hls_handler.events import PullRequest
from hls_handler.github.links import web_url
from hls_handler.github.values import (
    GuidanceFile,
    LinkedIssue,
    MergeState,
    RepositoryLabel,
    list_offered,
)
from hls_handler.review.changed_files import PatchedFile
from hls_handler.review.code_lines import CodeLines
from hls_handler.review.coverage import Coverage
from hls_handler.review.facts import PullRequestFacts, Size
from hls_handler.review.finding_views import (
    EarlierFinding,
    ShownFinding,
    list_asked,
    list_failing,
    list_known,
    list_open,
    list_unseen,
    show_dismissed,
    show_earlier,
    show_raised,
    show_unlocated,
    to_shown,
)
from hls_handler.review.record import OpenFinding
from hls_handler.review.removed_lines import Removals
from hls_handler.review.reviewers import Reviewer
from hls_handler.review.second_look import Candidate, plan_second_look
from hls_handler.review.skipped_files import SkippedFile
from hls_handler.review.wanted_check import select_suggested_title

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
    "failing_undecided": (
        int,
        lambda facts: sum(one.is_undecided or one.has_vanished for one in list_failing(facts)),
    ),
    "unseen": (int, lambda facts: len(list_unseen(facts))),
    "open_findings": (tuple[OpenFinding, ...], list_open),
    "unrepeated": (tuple[ShownFinding, ...], show_earlier),
    "coverage": (Coverage, lambda facts: facts.coverage),
    "at_limit": (bool, lambda facts: facts.is_at_limit),
    "unsearched": (str, lambda facts: facts.unsearched),
    "has_replies": (bool, lambda facts: facts.has_replies),
    "scores": (tuple[Score, ...], lambda facts: facts.record.scores),
    "file_summaries": (tuple[FileSummary, ...], lambda facts: list_summaries(facts, None)),
    "merge": (MergeState | None, lambda facts: facts.merge),
    "reviewers": (tuple[Reviewer, ...], lambda facts: facts.reviewers),
    "suggested_title": (str, lambda facts: find_suggested_title(facts)),
}
"""The type and the value of each variable of comments."""


def list_comment_variables(facts: PullRequestFacts, reply: ReplyFields) -> Mapping[str, object]:
    facts = facts.with_reply(reply)
    variables = {name: value(facts) for name, (_, value) in COMMENT_VARIABLES.items()}
    scores = lowest_scores([reply]) or facts.record.scores
    return {**variables, "scores": scores, "file_summaries": list_summaries(facts, reply)}


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
