"""The check on a commit of a merge queue, concluded from the checks on the heads of the pull
requests that it merges.

https://docs.github.com/en/repositories/configuring-branches-and-merges-in-your-repository/configuring-pull-request-merges/managing-a-merge-queue
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hls_handler.actions import Conclusion, EnsureCheck
from hls_handler.events import Account
from hls_handler.github.values import Comparison
from hls_handler.review.wanted_check import plan_unreviewed_check
from hls_handler.settings.sections import ReviewSettings
from hls_handler.wording import count, was_or_were

QUEUE_BRANCH = re.compile(
    r"(?:refs/heads/)?gh-readonly-queue/.+/pr-([1-9][0-9]{0,8})-[0-9a-f]{7,64}"
)
NUMBERED_BRANCH = re.compile(
    r"(?:trunk-merge/pr-|mq-bot-[0-9a-f]{6}-[0-9]+-)"  # of Trunk, of Aviator
    r"([1-9][0-9]{0,8})(?:/.+)?"
)
"""Branches that name the last pull request of the merge that is tested."""

BOT_BRANCH = re.compile(r"staging|trying|auto|try|mergify/merge-queue/.+")
"""Branches on which bors and Mergify test a merge. The subject of the head commit names what it
merges.
"""

SQUASHED_BRANCH = re.compile(r"gtmq_.+")
"""Branches of Graphite. The head commit is the last pull request of the merge, squashed."""

MERGE_COMMIT = re.compile(r"Merge pull request #([1-9][0-9]{0,8}) from ")
SQUASHED = re.compile(r".*\(#([1-9][0-9]{0,8})\)")
BOT_MERGE = re.compile(r"(?:Auto merge of|Merge of|Merge|Try) #[0-9]")
NUMBER = re.compile(r"#([1-9][0-9]{0,8})\b")

MAX_PULL_REQUESTS = 30
"""Pull requests of a merge group that are read; of a larger group, the reviews count as unknown."""


@dataclass(frozen=True, slots=True)
class HeadCheck:
    """The newest check of HLS on the head commit of a pull request."""

    number: int
    commit: str
    conclusion: Conclusion | None = None  # None: HLS has set none that ended
    is_exempt: bool = False  # True: the operator's settings exclude the commit


def find_queued(branch: str) -> int | None:
    """Return 12 for "gh-readonly-queue/main/pr-12-0123abc", also behind "refs/heads/"; None for
    another branch.
    """
    match = QUEUE_BRANCH.fullmatch(branch)
    if match is None:
        return None
    return int(match[1])


def find_tested(branch: str, message: str) -> int | None:
    """Return the pull request that a merge queue tests on a branch of the repository; None if it
    tests several.

    `message` is that of the head commit, which for bors and Mergify names what is merged: "Merge of
    #12".
    """
    subject = message.partition("\n")[0]
    if BOT_BRANCH.fullmatch(branch) and BOT_MERGE.match(subject):
        numbers = {int(number) for number in NUMBER.findall(subject.partition(":")[0])}
        if len(numbers) != 1:
            return None
        return numbers.pop()
    match = NUMBERED_BRANCH.fullmatch(branch)
    if SQUASHED_BRANCH.fullmatch(branch):
        match = SQUASHED.fullmatch(subject)
    if match is None:
        return find_queued(branch)
    return int(match[1])


def is_draft_of_queue(author: Account, branch: str) -> bool:
    """Return True for a pull request that a merge queue opened to test a merge."""
    is_of_queue = NUMBERED_BRANCH.fullmatch(branch) or SQUASHED_BRANCH.fullmatch(branch)
    return author.is_bot and is_of_queue is not None


def find_merged(queued: int, comparison: Comparison | None) -> tuple[int, ...] | None:
    """Return the pull requests that the branch and the subjects of its commits name; None if they
    are unknown.

    A commit without a number in its subject belongs to a named pull request, because GitHub adds
    the number to merge and squash commits.
    """
    if comparison is None or comparison.total > len(comparison.commits):
        return None
    numbers = {queued: None}
    for commit in comparison.commits:
        subject = commit.message.partition("\n")[0]
        match = MERGE_COMMIT.match(subject) or SQUASHED.fullmatch(subject)
        if match is not None:
            numbers[int(match[1])] = None
    if len(numbers) > MAX_PULL_REQUESTS:
        return None
    return tuple(numbers)


def plan_group_check(
    commit: str, heads: Sequence[HeadCheck], settings: ReviewSettings
) -> EnsureCheck:
    """Return the check of a merge group. `heads` is empty if it is unknown which pull requests the
    commit merges.
    """
    if not heads:
        reason = "the commits of the merge queue do not show which pull requests they merge"
        return plan_unreviewed_check(commit, settings.incomplete, "Not reviewed", reason)
    for head in heads:
        if head.conclusion == "failure":
            return plan_unreviewed_check(
                commit, "failure", "Merge queue", _describe_head(head, "failed")
            )
    for head in heads:
        if head.conclusion != "success" and not head.is_exempt:
            why = "is not known"
            if head.conclusion:
                why = "is not complete"
            reason = _describe_head(head, why)
            return plan_unreviewed_check(commit, settings.incomplete, "Merge queue", reason)
    exempt = sum(head.is_exempt for head in heads)
    heads_text = ", ".join(f"{head.number} at {head.commit[:10]}" for head in heads)
    if exempt:
        reason = f"settings exclude {count(exempt, 'pull request')} of {len(heads)} from reviews"
        check = plan_unreviewed_check(commit, "neutral", "Not reviewed", reason, details=heads_text)
        return replace(check, is_exempt=True)
    reason = f"{count(len(heads), 'pull request')} {was_or_were(len(heads))} reviewed at the head"
    return plan_unreviewed_check(commit, "success", "Merge queue", reason, details=heads_text)


def _describe_head(head: HeadCheck, why: str) -> str:
    return f"the check on {head.commit[:10]}, the head of pull request {head.number}, {why}"
