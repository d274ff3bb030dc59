"""Reviews and replies of the real client on the sandbox: positions, retries, and what GitHub
rejects.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hls_handler.actions import EnsureReply, EnsureReview, Outcome
from hls_handler.errors import DependencyDown, Permanent, Retryable, StepFailed, Superseded
from tests.contracts.github import violations
from tests.github.review_world import (
    COMMENTS,
    HEAD,
    MONA,
    NUMBER,
    REPOSITORY,
    REVIEWS,
    ReviewWorld,
    inline,
    seed_pull_request,
)
from tests.github_fake.faults import Effect, Fault


@pytest.fixture(autouse=True)
def documented(world: ReviewWorld) -> Iterator[None]:
    """Require that all requests of a test match GitHub's description."""
    yield
    assert violations(one.document() for one in world.seen()) == []


def reject(world: ReviewWorld, error: str, *, times: int = 1) -> None:
    """Let GitHub reject reviews with this error."""
    body = f'{{"message": "Validation Failed", "errors": [{error}]}}'
    fault = Fault(
        effect="status", method="POST", path="/reviews$", status=422, body=body, times=times
    )
    world.sandbox.faults.add(fault)


def test_review_has_all_comments_and_a_short_text(world: ReviewWorld) -> None:
    outcome = world.review(inline(2), inline(9, start_line=7), inline(2, key="old", side="LEFT"))
    (review,) = world.pull.reviews
    assert (review.state, review.commit_id, review.author.login) == ("commented", HEAD, "hls-bot")
    assert review.body == "3 comments on lines of commit ec26c3e57c.\n<!-- hls:review -->"
    assert [
        (one["path"], one["side"], one.get("start_line"), one["line"], one["body"])
        for one in review.comments
    ] == [
        ("a.py", "RIGHT", None, 2, "Wrong.\n<!-- hls:finding f2 -->"),
        ("a.py", "RIGHT", 7, 9, "Wrong.\n<!-- hls:finding f9 -->"),
        ("a.py", "LEFT", None, 2, "Wrong.\n<!-- hls:finding old -->"),
    ]
    first, second, third = (one["id"] for one in review.comments)
    assert outcome == Outcome(
        *("review", "created", "posted 3 comments on lines"),
        url=f"{world.sandbox.page_url}{REPOSITORY}/pull/2#pullrequestreview-{review.id}",
        comment_ids={"f2": first, "f9": second, "old": third},
    )
    assert world.calls() == [f"GET {COMMENTS}", f"POST {REVIEWS}", f"GET {COMMENTS}"]


def test_only_the_missing_comments_are_posted(world: ReviewWorld) -> None:
    first = world.review(inline(2), inline(3))
    before = len(world.calls())
    again = world.review(inline(2), inline(3))
    assert (again.kind, again.detail) == ("created", "posted 2 comments on lines")
    assert (again.comment_ids, again.url) == (first.comment_ids, first.url)
    assert world.calls()[before:] == [f"GET {COMMENTS}"]
    more = world.review(inline(3), inline(4))
    assert (more.kind, more.detail) == ("created", "posted 2 comments on lines")
    assert more.comment_ids["f3"] == first.comment_ids["f3"]
    assert world.posted_lines() == [[2, 3], [4]]


@pytest.mark.parametrize("effect", ["drop_after", "garbage", "status"])
def test_lost_response_does_not_post_a_review_twice(world: ReviewWorld, effect: Effect) -> None:
    world.sandbox.faults.add(Fault(effect=effect, method="POST", path="/reviews$", status=502))
    with pytest.raises(DependencyDown) as caught:
        world.review(inline(2), inline(3))
    assert caught.value.may_have_succeeded
    outcome = world.review(inline(2), inline(3), is_retry=True)
    assert (outcome.kind, outcome.detail) == ("created", "posted 2 comments on lines")
    assert sorted(outcome.comment_ids) == ["f2", "f3"]
    assert world.posted_lines() == [[2, 3]]


@pytest.mark.parametrize(
    ("lines", "reviews", "requests"),
    [
        ((2, 3, 4, 5, 6, 7, 8, 99), [[2, 3, 4, 5, 6, 7, 8]], 9),
        ((2, 3, 4, 98, 5, 99, 6, 7), [[2, 3, 4], [5, 6, 7]], 17),
        ((98, 99, 2, 3), [[2, 3]], 9),
        ((2, 3, 4, 5, 6, 7, 8, 9, 28, 99, 1), [[2, 3, 4, 5, 6], [7, 8, 9, 28, 1]], 8),
    ],
)
def test_only_comments_with_an_invalid_position_are_rejected(
    world: ReviewWorld, lines: tuple[int, ...], reviews: list[list[int]], requests: int
) -> None:
    outcome = world.review(*map(inline, lines))
    assert world.posted_lines() == reviews
    invalid = [line for line in lines if line > 90]
    assert outcome.rejected == tuple(f"f{line}" for line in invalid)
    assert sorted(outcome.comment_ids) == sorted(f"f{line}" for line in lines if line < 90)
    assert outcome.kind == "created"
    assert world.calls().count(f"POST {REVIEWS}") == requests
    words = "1 position" if len(invalid) == 1 else "2 positions"
    posted = "1 comment" if len(lines) == 2 else f"{len(lines) - len(invalid)} comments"
    assert outcome.detail == f"posted {posted} on lines; GitHub rejected {words}"


def test_review_of_a_commit_that_was_replaced_is_superseded_and_not_halved(
    world: ReviewWorld,
) -> None:
    seed_pull_request(world.sandbox, head="b" * 40)
    with pytest.raises(Superseded, match=r"^a newer push came meanwhile: bbbbbbbbbb$"):
        world.review(inline(2), inline(3))
    assert world.calls().count(f"POST {REVIEWS}") == 1
    assert world.posted() == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            '"User can only have one pending review per pull request"',
            "User can only have one pending review per pull ",
        ),
        (
            '{"field": "commit_id", "message": "no such line in commit"}',
            "commit_id: no such line in commit",
        ),
    ],
)
def test_review_rejected_for_another_reason_is_retried_once_and_then_declined(
    world: ReviewWorld, error: str, reason: str
) -> None:
    reject(world, error, times=2)
    with pytest.raises(Retryable) as caught:
        world.review(inline(2), inline(3))
    assert str(caught.value).startswith(f"GitHub rejected the review (422): {reason}")
    outcome = world.review(inline(2), inline(3), is_retry=True)
    assert outcome == Outcome("review", "declined", str(caught.value), rejected=("f2", "f3"))
    assert world.calls().count(f"POST {REVIEWS}") == 2


@pytest.mark.parametrize(
    ("reason", "kind"),
    [("was submitted too quickly", DependencyDown), ("User is blocked", Permanent)],
)
def test_review_rejected_because_of_the_account_is_not_posted_in_parts(
    world: ReviewWorld, reason: str, kind: type[StepFailed]
) -> None:
    reject(world, f'{{"field": "line", "message": "{reason}"}}')
    with pytest.raises(kind, match=reason):
        world.review(inline(2), inline(3))
    assert world.calls().count(f"POST {REVIEWS}") == 1


@pytest.mark.parametrize(
    "error",
    [
        '"Line could not be resolved"',
        '"pull_request_review_thread.start_line must be part of the same hunk"',
    ],
)
def test_other_wordings_of_an_invalid_position_are_recognized(
    world: ReviewWorld, error: str
) -> None:
    reject(world, error)
    outcome = world.review(inline(2), inline(3))
    assert (outcome.kind, outcome.rejected) == ("created", ())
    assert world.posted_lines() == [[2], [3]]


def test_rule_16_comments_of_others_with_our_marker_do_not_count(world: ReviewWorld) -> None:
    body = "Wrong.\n<!-- hls:finding f2 -->"
    copied = {"path": "a.py", "side": "RIGHT", "line": 2, "body": body, "diff_hunk": ""}
    world.sandbox.state.create_review(world.pull, "", HEAD, [copied], by=MONA)
    assert world.review(inline(2), is_retry=True).kind == "created"
    assert len(world.posted()) == 2


def test_dry_run_posts_nothing(world: ReviewWorld) -> None:
    writer = world.writer(dry_run=True)
    outcome = writer.ensure_review(NUMBER, EnsureReview(HEAD, (inline(2), inline(3))))
    assert outcome == Outcome("review", "dry_run", "would have posted 2 comments on lines")
    reply = writer.ensure_reply(NUMBER, EnsureReply(7, "fixed", "Fixed."))
    assert (reply.kind, reply.detail) == ("dry_run", "would have replied in a review thread")
    assert world.calls() == [f"GET {COMMENTS}"]


@pytest.mark.parametrize("key", ["", "a b", "a-->", "ä"])
def test_key_that_could_break_the_marker_is_a_defect(world: ReviewWorld, key: str) -> None:
    with pytest.raises(ValueError, match="invalid key"):
        world.review(inline(2, key=key))


# --- replies
# -----------------------------------------------------------------------------


def test_reply_that_a_finding_is_closed_ends_the_footer_of_its_comment(world: ReviewWorld) -> None:
    footer = '*A maintainer can dismiss it: resolve this thread, or reply `/dismiss` or "won\'t fix: ...".*'
    ids = world.review(inline(2, body=f"Wrong.\n\n{footer}"), inline(3)).comment_ids
    before = len(world.calls())
    fixed = EnsureReply(ids["f2"], "fixed", "Fixed.", ends_footer=True)
    for is_retry in (False, True):
        assert world.writer().ensure_reply(NUMBER, fixed, is_retry=is_retry).detail
    comment = f"/repos/{REPOSITORY}/pulls/comments/{ids['f2']}"
    replies = f"POST {COMMENTS}/{ids['f2']}/replies"
    assert world.calls()[before : before + 3] == [f"GET {comment}", f"PATCH {comment}", replies]
    assert world.posted() == [
        ["Wrong.\n<!-- hls:finding f2 -->", "Wrong.\n<!-- hls:finding f3 -->"],
        ["Fixed.\n<!-- hls:reply fixed -->"],
    ]


def test_reply_is_one_request_and_a_retry_posts_it_once_for_each_key(world: ReviewWorld) -> None:
    first = world.review(inline(2), inline(3)).comment_ids
    before = len(world.calls())
    outcome = world.reply(first["f2"])
    assert (outcome.action, outcome.kind, outcome.detail) == (
        "reply",
        "created",
        "replied in a review thread",
    )
    assert outcome.body == "Fixed.\n<!-- hls:reply fixed -->"
    assert world.calls()[before:] == [f"POST {COMMENTS}/{first['f2']}/replies"]
    again = world.reply(first["f2"], is_retry=True)
    assert (again.kind, again.detail) == (
        "unchanged",
        "our reply in the review thread is posted already",
    )
    assert again.comment_id == outcome.comment_id
    assert world.reply(first["f3"], is_retry=True).kind == "created"
    assert world.reply(first["f2"], "dismissed", is_retry=True).kind == "created"
    reviews = world.pull.reviews
    assert [len(review.comments) for review in reviews] == [2, 1, 1, 1]
    assert [comment["in_reply_to_id"] for review in reviews[1:] for comment in review.comments] == [
        first["f2"],
        first["f3"],
        first["f2"],
    ]


def test_lost_response_does_not_post_a_reply_twice(world: ReviewWorld) -> None:
    first = world.review(inline(2)).comment_ids["f2"]
    world.sandbox.faults.add(Fault(effect="drop_after", method="POST", path="/replies$"))
    with pytest.raises(DependencyDown):
        world.reply(first)
    assert world.reply(first, is_retry=True).kind == "unchanged"
    assert len(world.pull.reviews) == 2


def test_reply_to_a_deleted_comment_is_declined(world: ReviewWorld) -> None:
    assert world.reply(12345) == Outcome(
        "reply", "declined", "our comment in the review thread was deleted: no reply is posted"
    )


def test_rule_16_reply_of_another_account_with_our_marker_does_not_count(
    world: ReviewWorld,
) -> None:
    first = world.review(inline(2)).comment_ids["f2"]
    copied = {
        "path": "a.py",
        "line": 2,
        "body": "x\n<!-- hls:reply fixed -->",
        "diff_hunk": "",
        "in_reply_to_id": first,
    }
    world.sandbox.state.create_review(world.pull, "", HEAD, [copied], by=MONA)
    assert world.reply(first, is_retry=True).kind == "created"
