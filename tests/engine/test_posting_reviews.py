"""Posting of reviews and replies: what a killed worker leaves, and what settings and other deliveries stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pytest

from hls_handler.actions import Action, EnsureComment, EnsureReply, EnsureReview, Outcome
from hls_handler.clients.github import Github
from hls_handler.engine.job import Job
from hls_handler.engine.posting import post
from hls_handler.errors import ConversationLocked, DependencyDown, LeaseLost, Postponed, Retryable, Superseded
from hls_handler.events import PullRequest, parse_event
from hls_handler.handlers.job import Conversation
from hls_handler.prompting import recorded
from hls_handler.sandbox.faults import Effect, Fault
from hls_handler.sandbox.server import Sandbox
from tests.clients.review_world import (
    BOT,
    COMMENTS,
    HEAD,
    NUMBER,
    REVIEWS,
    ReviewWorld,
    connect_to,
    inline,
    seed_pull_request,
)
from tests.engine.fakes import GITHUB_DOWN
from tests.engine.world import GUID, MakeWorld, World, settings

PULL = Conversation(NUMBER, is_pull_request=True)
EIGHT = EnsureReview(HEAD, tuple(map(inline, (2, 3, 4, 5, 6, 7, 8, 9))))
ONE_INVALID = EnsureReview(HEAD, tuple(map(inline, (2, 3, 4, 99, 6, 7, 8, 9))))
TWO_INVALID = EnsureReview(HEAD, tuple(map(inline, (2, 98, 3, 99))))


@dataclass
class PostingWorld:
    """A worker whose deliveries post to the sandbox with the real client."""

    work: World
    reviews: ReviewWorld

    def post(
        self,
        *actions: Action,
        require_needed: Callable[[], None] = lambda: None,
        before_end: Callable[[Job], None] = lambda _: None,
    ) -> tuple[Outcome, ...]:
        """Claim the delivery and post, as the pipeline does; then store the results unless `before_end` raises."""
        job = self.work.job()
        job = replace(job, context=replace(job.context, github=Github(self.reviews.api)), bot=BOT)
        queue = self.work.store.queue
        try:
            with job.record_failure("posting"):
                outcomes = post(job, PULL, actions, require_needed=require_needed)
                before_end(job)
        except (Retryable, Postponed) as exc:
            is_failed = isinstance(exc, Retryable)
            at = exc.at if isinstance(exc, Postponed) else self.work.store.now()
            queue.reschedule(job.lease, at=at, reason="", failed=is_failed, counts=False, github_requests=0)
            raise
        self.work.store.checkpoints.save(job.lease, *job.pending.take())
        return outcomes

    def supersede(self) -> None:
        """End the delivery without an outcome, and accept another one of the same pull request."""
        lease = self.work.claim()
        assert lease is not None
        self.work.store.queue.finish(lease, "superseded", reason="a newer push came meanwhile", took_s=0)
        self.work.accept("pull_request.opened", guid="second")

    def post_after_the_pending_write(self, *actions: Action) -> tuple[Outcome, ...]:
        """Post again. It must wait until a write of the earlier attempt can no longer take effect."""
        with pytest.raises(Postponed, match=r"github\.slowest_write_s"):
            self.post(*actions)
        self.work.advance(60)
        return self.post(*actions)


@pytest.fixture
def world(make_world: MakeWorld) -> Iterator[PostingWorld]:
    with Sandbox() as sandbox:
        seed_pull_request(sandbox)
        with closing(connect_to(sandbox)) as api:
            work = make_world()
            work.accept("pull_request.opened")
            yield PostingWorld(work, ReviewWorld(sandbox, api))


def kill(_job: Job) -> None:
    raise LeaseLost("the process was killed")


def test_worker_killed_after_the_review_was_posted_does_not_post_it_twice(world: PostingWorld) -> None:
    with pytest.raises(LeaseLost):
        world.post(EIGHT, before_end=kill)
    assert world.reviews.posted_lines() == [[2, 3, 4, 5, 6, 7, 8, 9]]
    world.work.advance(31)  # the lease expires
    (outcome,) = world.post_after_the_pending_write(EIGHT)
    assert (outcome.kind, outcome.detail) == ("created", "posted 8 comments on lines")
    assert len(outcome.comment_ids) == 8
    assert world.reviews.posted_lines() == [[2, 3, 4, 5, 6, 7, 8, 9]]


@pytest.mark.parametrize("effect", ["drop_after", "status_after", "garbage"])
def test_review_without_response_is_not_posted_twice(world: PostingWorld, effect: Effect) -> None:
    world.reviews.sandbox.faults.add(Fault(effect=effect, method="POST", path="/reviews$", status=502))
    with pytest.raises(DependencyDown):
        world.post(EIGHT)
    assert len(world.reviews.posted_lines()) == 1
    (outcome,) = world.post_after_the_pending_write(EIGHT)
    assert (outcome.kind, outcome.detail) == ("created", "posted 8 comments on lines")
    assert len(world.reviews.posted_lines()) == 1


@pytest.mark.parametrize("effect", ["drop", "status"])
def test_review_that_did_not_arrive_is_posted_by_the_retry(world: PostingWorld, effect: Effect) -> None:
    world.reviews.sandbox.faults.add(Fault(effect=effect, method="POST", path="/reviews$", status=502))
    with pytest.raises(DependencyDown):
        world.post(EIGHT)
    assert world.reviews.posted_lines() == []
    (outcome,) = world.post_after_the_pending_write(EIGHT)
    assert (outcome.kind, outcome.detail) == ("created", "posted 8 comments on lines")
    assert len(world.reviews.posted_lines()) == 1


def test_rejected_position_is_in_the_stored_outcome(world: PostingWorld) -> None:
    (outcome,) = world.post(ONE_INVALID)
    assert outcome.detail == "posted 7 comments on lines; GitHub rejected 1 position"
    assert (outcome.rejected, len(outcome.comment_ids)) == (("f99",), 7)
    world.work.advance(31)
    assert world.post(ONE_INVALID) == (outcome,)  # from the checkpoint
    assert world.reviews.posted_lines() == [[2, 3, 4, 6, 7, 8, 9]]


def test_review_rejected_for_another_reason_twice_is_declined_and_no_dead_letter(world: PostingWorld) -> None:
    """For example while a person who shares the account has a draft of a review."""
    body = '{"message": "Unprocessable Entity", "errors": ["User can only have one pending review per pull request"]}'
    fault = Fault(effect="status", method="POST", path="/reviews$", status=422, body=body, times=None)
    world.reviews.sandbox.faults.add(fault)
    with pytest.raises(Retryable, match="GitHub rejected the review"):
        world.post(EIGHT)
    (outcome,) = world.post(EIGHT)
    assert (outcome.kind, len(outcome.rejected), world.reviews.posted()) == ("declined", 8, [])
    assert world.reviews.calls().count(f"POST {REVIEWS}") == 2


@pytest.mark.parametrize(
    ("review", "skip", "reviews", "lines"),
    [(ONE_INVALID, 4, 1, [2, 3, 4, 6, 7, 8, 9]), (TWO_INVALID, 6, 1, [2, 3]), (TWO_INVALID, 9, 2, [2, 3])],
    ids=["without the invalid comment", "first half", "second half"],
)
def test_worker_killed_while_it_searches_invalid_comments_posts_each_other_comment_once(
    world: PostingWorld, review: EnsureReview, skip: int, reviews: int, lines: list[int]
) -> None:
    world.reviews.sandbox.faults.add(Fault(effect="drop_after", method="POST", path="/reviews$", skip=skip))
    with pytest.raises(DependencyDown):
        world.post(review)
    assert len(world.reviews.posted_lines()) == reviews
    (outcome,) = world.post_after_the_pending_write(review)
    assert outcome.rejected == tuple(comment.key for comment in review.comments if comment.line > 90)
    assert sorted(outcome.comment_ids) == [f"f{line}" for line in lines]
    assert sorted(line for one in world.reviews.posted_lines() for line in one) == lines


@pytest.mark.parametrize(
    "fault",
    [
        Fault(effect="drop_after", method="POST", path="/reviews$"),
        Fault(effect="status", method="GET", path="/comments$", status=503),
    ],
    ids=["no response", "no ids"],
)
def test_review_of_a_superseded_delivery_is_not_repeated_by_the_next_one(world: PostingWorld, fault: Fault) -> None:
    world.reviews.sandbox.faults.add(fault)
    with pytest.raises(DependencyDown):
        world.post(EIGHT)
    world.supersede()
    (outcome,) = world.post_after_the_pending_write(EIGHT)
    assert (outcome.kind, len(outcome.comment_ids)) == ("created", 8)
    assert world.reviews.posted_lines() == [[2, 3, 4, 5, 6, 7, 8, 9]]


def test_reply_of_a_superseded_delivery_is_not_repeated_by_the_next_one(world: PostingWorld) -> None:
    reply = EnsureReply(world.reviews.review(inline(2)).comment_ids["f2"], "fixed", "Fixed.")
    world.reviews.sandbox.faults.add(Fault(effect="drop_after", method="POST", path="/replies$"))
    with pytest.raises(DependencyDown):
        world.post(reply)
    world.supersede()
    (outcome,) = world.post_after_the_pending_write(reply)
    assert (outcome.kind, outcome.detail) == ("unchanged", "our reply in the review thread is posted already")
    assert [len(review.comments) for review in world.reviews.pull.reviews] == [1, 1]


def test_reply_of_a_killed_worker_is_not_posted_twice(world: PostingWorld) -> None:
    first = world.reviews.review(inline(2)).comment_ids["f2"]
    reply = EnsureReply(first, "fixed", "Fixed.")
    with pytest.raises(LeaseLost):
        world.post(reply, before_end=kill)
    world.work.advance(31)
    (outcome,) = world.post_after_the_pending_write(reply)
    assert (outcome.action, outcome.kind, outcome.detail) == ("reply", "created", "replied in a review thread")
    assert [len(review.comments) for review in world.reviews.pull.reviews] == [1, 1]


def test_first_attempt_does_not_search_for_a_review_or_reply(world: PostingWorld) -> None:
    first = world.reviews.review(inline(28)).comment_ids["f28"]
    before = len(world.reviews.calls())
    world.post(EIGHT, EnsureReply(first, "fixed", "Fixed."))
    pull, reply = REVIEWS.removesuffix("/reviews"), f"POST {COMMENTS}/{first}/replies"
    assert world.reviews.calls()[before:] == [f"GET {pull}", f"POST {REVIEWS}", f"GET {COMMENTS}", reply]


def test_comment_review_and_replies_of_one_plan(world: PostingWorld) -> None:
    first = world.reviews.review(inline(28)).comment_ids["f28"]
    replies = (EnsureReply(first, "fixed", "Fixed."), EnsureReply(12345, "fixed", "Fixed."))
    outcomes = world.post(EnsureComment("pull_requests", "Summary.", create=True), EIGHT, *replies)
    assert [(one.action, one.kind) for one in outcomes] == [
        ("comment", "created"),
        ("review", "created"),
        ("reply", "created"),
        ("reply", "declined"),
    ]
    assert [comment.body for comment in world.reviews.pull.comments] == ["Summary.\n<!-- hls:pull_requests -->"]


def test_review_waits_for_the_lock_of_another_delivery(world: PostingWorld) -> None:
    world.work.accept(guid="holder", number=7)
    ours, holder = world.work.claim(), world.work.claim()
    assert ours is not None
    assert holder is not None
    world.work.store.queue.reschedule(
        ours, at=world.work.store.now(), reason="", failed=False, counts=False, github_requests=0
    )
    world.work.store.locks.acquire(holder, f"{ours.conversation_key}/review", ttl_s=20)
    with pytest.raises(Postponed, match=rf"waits for delivery holder, which holds the lock {ours.conversation_key}"):
        world.post(EIGHT)
    assert world.reviews.calls() == []


def test_superseded_delivery_posts_no_review(world: PostingWorld) -> None:
    def supersede() -> None:
        raise Superseded("a newer push came meanwhile: abc")

    with pytest.raises(Superseded):
        world.post(EIGHT, require_needed=supersede)
    assert world.reviews.posted() == []


def test_push_during_the_review_supersedes_it_and_releases_the_lock(world: PostingWorld) -> None:
    seed_pull_request(world.reviews.sandbox, head="b" * 40)
    with pytest.raises(Superseded, match="a newer push came meanwhile: bbbbbbbbbb"):
        world.post(EIGHT)
    assert world.reviews.calls().count(f"POST {REVIEWS}") == 1
    world.work.advance(31)
    lease = world.work.claim()
    assert lease is not None
    assert not world.work.store.locks.acquire(lease, f"{lease.conversation_key}/review", ttl_s=20)  # no pending write


@pytest.mark.parametrize(
    ("change", "raised"), [({"state": "closed"}, Superseded), ({"locked": True}, ConversationLocked)]
)
def test_closed_or_locked_pull_request_gets_no_review(
    world: PostingWorld, change: dict[str, object], raised: type[Superseded]
) -> None:
    payload = recorded.load("pull_request.opened").payload
    shown = {**payload["pull_request"], **change}
    world.reviews.sandbox.state.seed("pull_request", {**payload, "pull_request": shown})
    with pytest.raises(raised):
        world.post(EIGHT)
    assert world.reviews.posted() == []


REPLY = EnsureReply(7, "fixed", "Fixed.")


def test_switched_off_comments_include_reviews_and_replies(make_world: MakeWorld) -> None:
    work = make_world(given=settings(features={"auto_commenting": False}))
    work.accept("pull_request.opened")
    work.github.pull_requests = {2: _pull_request()}
    outcomes = post(work.job(), PULL, (EIGHT, REPLY), require_needed=lambda: None)
    assert [(one.action, one.kind, one.detail, one.body) for one in outcomes] == [
        ("review", "off", "comments are switched off by settings (features.auto_commenting)", None),
        ("reply", "off", "comments are switched off by settings (features.auto_commenting)", "Fixed."),
    ]
    assert work.github.inline_comments == {}


def test_dry_run_posts_neither_reviews_nor_replies(make_world: MakeWorld) -> None:
    work = make_world(given=settings(features={"dry_run": True}))
    work.accept("pull_request.opened")
    work.github.pull_requests = {2: _pull_request()}
    outcomes = post(work.job(), PULL, (EIGHT, REPLY), require_needed=lambda: None)
    assert [(one.action, one.kind, one.detail) for one in outcomes] == [
        ("review", "dry_run", "would have posted 8 comments on lines"),
        ("reply", "dry_run", "would have replied in a review thread"),
    ]
    assert (work.github.inline_comments, work.github.replies) == ({}, {})


def test_outcomes_are_kept_for_a_retry_of_the_next_action(make_world: MakeWorld) -> None:
    work = make_world()
    work.accept("pull_request.opened")
    work.github.pull_requests = {2: _pull_request()}
    job = work.job()
    work.github.on_call = lambda what: work.github.failing_writes.extend([GITHUB_DOWN] if what == "write reply" else [])
    with pytest.raises(DependencyDown), job.record_failure("posting"):
        post(job, PULL, (EIGHT, REPLY), require_needed=lambda: None)
    work.github.on_call = lambda what: None
    job = replace(job, steps=work.store.checkpoints.load(GUID))
    outcomes = post(job, PULL, (EIGHT, REPLY), require_needed=lambda: None)
    assert [(one.kind, one.detail) for one in outcomes] == [
        ("created", "posted 8 comments on lines"),
        ("created", "replied in a review thread"),
    ]
    assert [call for call in work.github.calls if call.startswith("write")] == [
        "write review",
        "write reply",
        "write reply",
    ]


def _pull_request() -> PullRequest:
    event = parse_event("pull_request", GUID, recorded.load("pull_request.opened").body)
    assert event.pull_request is not None
    return event.pull_request
