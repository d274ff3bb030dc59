"""Merge groups: the pull requests that a commit of a merge queue merges, and the check on it."""

from __future__ import annotations

import pytest

from hls_handler.events import Account
from hls_handler.github.values import Commit, Comparison
from hls_handler.handlers.merge_groups import (
    MAX_PULL_REQUESTS,
    HeadCheck,
    find_merged,
    find_queued,
    find_tested,
    is_draft_of_queue,
    plan_group_check,
)
from hls_handler.settings.sections import ReviewSettings

QUEUE, A, B = "c" * 40, "a" * 40, "b" * 40
DONE, EXEMPT = HeadCheck(7, A, "success"), HeadCheck(8, B, "neutral", is_exempt=True)


def compared(*messages: str, total: int | None = None) -> Comparison:
    commits = tuple(
        Commit(sha=f"{n:040x}", message=text, author="mona") for n, text in enumerate(messages)
    )
    return Comparison(total=len(commits) if total is None else total, commits=commits)


@pytest.mark.parametrize(
    ("branch", "message", "queued", "tested"),
    [
        (f"gh-readonly-queue/main/pr-12-{A}", "Fix the cart", 12, 12),
        (f"refs/heads/gh-readonly-queue/release/2.x/pr-12-{A}", "Fix the cart", 12, 12),
        ("gh-readonly-queue/main/pr-0-0123abc", "Fix the cart", None, None),
        (f"fix/gh-readonly-queue/main/pr-12-{A}", "Fix the cart", None, None),
        ("staging", "Merge #12\n\n12: Fix the cart #5", None, 12),
        ("auto", "Auto merge of #12 - mona:fix, r=zoe", None, 12),
        ("mergify/merge-queue/0123abcdef", "Merge of #12", None, 12),
        (
            "trunk-merge/pr-12/a4e9cabc-5181-4429-aea5-0501a52d0688",
            "Merge 9eb365a into 01775f1",
            None,
            12,
        ),
        (
            "trunk-merge/pr-12/a4e9cabc-5181-4429-aea5-0501a52d0688-bisection",
            "Merge 9eb365a",
            None,
            12,
        ),
        ("trunk-temp/pr-12/a4e9", "Merge 9eb365a", None, None),
        ("mq-bot-01775f-4711-12", "Fix the cart (#12)", None, 12),
        ("mq-bot-01775f-4711-12", "Merge branch 'main' into mq-tmp-01775f-815-12", None, 12),
        ("my-mq-bot-01775f-4711-12", "Fix the cart (#12)", None, None),
        (
            "gtmq_spec_393d71_1770415244578-7f5c9781-3556-4306-a67e-a0a74696b070",
            "Fix (#12)\n\nSee #5",
            None,
            12,
        ),
        (
            "gtmq_spec_393d71_1770415244578-7f5c9781-3556-4306-a67e-a0a74696b070",
            "Fix the cart",
            None,
            None,
        ),
        ("staging", "Merge #12 #13", None, None),
        ("main", "Merge #12", None, None),
    ],
)
def test_branch_or_commit_of_a_queue_names_its_pull_request(
    branch: str, message: str, queued: int | None, tested: int | None
) -> None:
    assert (find_queued(branch), find_tested(branch, message)) == (queued, tested)


@pytest.mark.parametrize(
    ("author", "branch", "is_draft"),
    [
        (Account("trunk-io[bot]", 5, "Bot"), "trunk-merge/pr-12/a4e9", True),
        (Account("aviator-app[bot]", 6, "Bot"), "mq-bot-01775f-4711-12", True),
        (Account("graphite-app[bot]", 7, "Bot"), "gtmq_spec_393d71", True),
        (Account("mona", 1, "User"), "trunk-merge/pr-12/a4e9", False),
        (Account("renovate[bot]", 8, "Bot"), "renovate/pr-12", False),
    ],
)
def test_draft_of_a_queue_is_known_by_its_author_and_branch(
    author: Account, branch: str, is_draft: bool
) -> None:
    assert is_draft_of_queue(author, branch) is is_draft


@pytest.mark.parametrize(
    ("messages", "numbers"),
    [
        (["Fix the cart (#12)", "Add discounts (#5) (#13)\n\nCloses #4"], (12, 13)),
        (
            [
                "wip",
                "Merge pull request #13 from mona/fix\n\nFix",
                "Merge pull request #12 from zoe/cart",
            ],
            (12, 13),
        ),
        (["Fix the cart", "Test the cart"], (12,)),
    ],
    ids=["two squashed", "merge", "rebase"],
)
def test_compared_commits_name_the_other_pull_requests(
    messages: list[str], numbers: tuple[int, ...]
) -> None:
    assert find_merged(12, compared(*messages)) == numbers


def test_group_is_unknown_if_its_commits_are() -> None:
    many = [f"Fix (#{number})" for number in range(MAX_PULL_REQUESTS + 1)]
    unknown = [None, compared("Fix (#12)", total=251), compared(*many)]
    assert [find_merged(1000, one) for one in unknown] == [None, None, None]


@pytest.mark.parametrize(
    ("heads", "conclusion", "title"),
    [
        ([DONE], "success", "Merge queue: 1 pull request was reviewed at the head"),
        (
            [DONE, HeadCheck(8, B, "success")],
            "success",
            "Merge queue: 2 pull requests were reviewed at the head",
        ),
        (
            [DONE, HeadCheck(8, B, "failure")],
            "failure",
            "Merge queue: the check on bbbbbbbbbb, the head of pull request 8, failed",
        ),
        (
            [DONE, HeadCheck(8, B, "neutral")],
            "incomplete",
            "Merge queue: the check on bbbbbbbbbb, the head of pull request 8, is not complete",
        ),
        (
            [DONE, HeadCheck(8, B)],
            "incomplete",
            "Merge queue: the check on bbbbbbbbbb, the head of pull request 8, is not known",
        ),
        (
            [DONE, EXEMPT],
            "neutral",
            "Not reviewed: settings exclude 1 pull request of 2 from reviews",
        ),
        (
            [],
            "incomplete",
            (
                "Not reviewed: the commits of the merge queue do not show which pull requests they"
                " merge"
            ),
        ),
    ],
)
def test_check_of_a_group_follows_from_the_checks_on_the_heads(
    heads: list[HeadCheck], conclusion: str, title: str
) -> None:
    for incomplete in ("neutral", "failure"):
        planned = plan_group_check(QUEUE, heads, ReviewSettings(incomplete=incomplete))
        expected = incomplete if conclusion == "incomplete" else conclusion
        assert (planned.commit, planned.conclusion, planned.title) == (QUEUE, expected, title)
        assert planned.is_exempt == (conclusion == "neutral")
