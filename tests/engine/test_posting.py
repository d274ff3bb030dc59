"""Posting: locks, checks before the first write, retries, and what a lost response leaves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace

import pytest

from hls_handler.actions import Action, EnsureReply, EnsureReview, Outcome
from hls_handler.clients.github import Github
from hls_handler.deliveries import Finished
from hls_handler.engine.posting import post
from hls_handler.errors import DependencyDown, HlsError, Permanent, Postponed, Retryable, Superseded
from hls_handler.events import PullRequest, parse_event
from hls_handler.handlers.job import Conversation
from hls_handler.prompting import recorded
from hls_handler.queue.locks import LocksReleased
from hls_handler.sandbox.faults import Effect, Fault
from hls_handler.sandbox.server import Sandbox
from hls_handler.settings.model import Labels
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
from tests.engine.fakes import GITHUB_DOWN, ISSUE
from tests.engine.world import BUG, GUID, MakeWorld, World, settings
from tests.handlers.world import file, finding, pull_request_analysis

LOCK = "186853002#1/issues"
DONE = "added bug, priority-low, difficulty-easy; commented"


def test_comment_waits_for_its_lock(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept(guid="holder", number=7)
    holder = world.claim()
    assert holder is not None
    world.store.locks.acquire(holder, LOCK, ttl_s=20)
    world.accept()
    assert world.run() is None
    assert world.row().reason == "waits for delivery holder, which holds the lock 186853002#1/issues"
    assert world.github.comments == {}
    world.store.checkpoints.save(holder, LocksReleased())
    world.advance(2)
    assert world.run() is not None
    assert list(world.github.comments) == [1]


def test_first_result_of_another_delivery_is_written_before_a_later_one(make_world: MakeWorld) -> None:
    given = settings(github={"min_seconds_between_writes": 60.0})
    world = make_world(BUG, pull_request_analysis(), pull_request_analysis(), given=given, is_clock_fixed=True)
    world.accept()
    assert world.run() is None  # the labels are written, the comment waits
    world.open_pull_request(file("a.py"), guid="other")
    assert world.run() is None
    for _ in range(3):
        world.advance(60)
        world.run()
    world.open_pull_request(file("a.py"), number=3, guid="third")
    for _ in range(3):
        world.run()
        world.advance(60)
    writes = [call.removeprefix("write ") for call in world.github.calls if call.startswith("write")]
    assert writes == ["labels", "labels", "comment", "comment", "labels", "check success"]


@pytest.mark.parametrize(("on_github", "may_exist"), [(0, False), (1, False), (2, True), (None, True)])
def test_comment_is_searched_unless_all_comments_are_known(
    make_world: MakeWorld, on_github: int | None, may_exist: bool
) -> None:
    world = make_world()
    world.accept()
    world.run()  # stores one comment
    world.github.issues[1] = replace(ISSUE, comments=on_github)
    world.accept(guid="second")
    world.run()
    assert world.github.may_exist == [True, may_exist]


def test_retry_searches_the_comment_that_an_earlier_attempt_may_have_written(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept()
    world.run()
    world.github.issues[1] = replace(ISSUE, comments=1)  # the second, because a person deleted the first
    world.github.comments.clear()
    world.github.lost_responses = [GITHUB_DOWN]
    world.accept(guid="second")
    assert world.run() is None
    world.advance(60)
    world.run()
    assert world.github.may_exist == [True, False, True]


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (Permanent("POST /repos/o/r/issues/2/labels: 403 Forbidden"), "dead"),
        (Retryable("POST /repos/o/r/issues/2/labels: 422 Validation Failed"), "done"),
    ],
)
def test_refused_action_costs_no_other_action(make_world: MakeWorld, error: HlsError, state: str) -> None:
    world = make_world(pull_request_analysis(findings=[finding(path="a.py", line=1, quote="b")]))
    world.github.failing_writes = [error]
    world.open_pull_request(file("a.py", "@@ -1 +1 @@\n-a\n+b"))
    finished = world.run()
    assert (len(world.github.inline_comments), len(world.github.comments), len(world.github.check_actions)) == (1, 1, 1)
    assert world.row().posting_error == str(error)
    world.advance(60)
    assert (finished or world.finish()).state == state
    assert [world.github.calls.count(f"write {what}") for what in ("comment", "review")] == [1, 1]


def test_findings_of_a_refused_review_are_in_the_summary(make_world: MakeWorld) -> None:
    world = make_world(pull_request_analysis(findings=[finding(path="a.py", line=1, quote="b", body="Off by one.")]))
    world.github.on_call = lambda what: _refuse(what, "write review")
    world.open_pull_request(file("a.py", "@@ -1 +1 @@\n-a\n+b"))
    assert world.finish().state == "dead"
    assert "Off by one." in world.github.comments[2]
    assert len(world.github.check_actions) == 1


def _refuse(what: str, refused: str) -> None:
    if what == refused:
        raise Permanent("GitHub answered 403")


def test_refused_issue_type_is_no_failure(make_world: MakeWorld) -> None:
    world = make_world(given=settings().model_copy(update={"labels": Labels(issue_type=True)}))
    world.github.on_call = lambda what: _refuse(what, "write type")
    world.accept(body=recorded.load("issues.opened").body.replace(b'"type":"User"', b'"type":"Organization"'))
    finished = world.finish()
    assert finished.state == "done"
    assert "; type not set: GitHub answered 403; " in (finished.reason or "")


def test_started_posting_is_finished_after_the_issue_was_closed(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept()
    world.github.lost_responses = [GITHUB_DOWN]
    assert world.run() is None  # the label outcome is stored, that of the comment is not
    world.github.issues = {1: replace(ISSUE, state="closed")}
    world.advance(60)
    assert world.run() == Finished(GUID, "done", DONE)


NO_RESPONSE = DependencyDown("no answer: ReadTimeout", dependency="github", remedy="wait", may_have_succeeded=True)


def test_comment_without_response_is_not_read_before_slowest_write_s(make_world: MakeWorld) -> None:
    """Not even after `reschedule_waiting`."""
    world = make_world()
    world.accept()
    world.github.lost_responses = [NO_RESPONSE]
    assert world.run() is None
    calls_before = len(world.github.calls)
    world.advance(31)
    world.store.queue.reschedule_waiting()
    assert world.run() is None
    assert [call for call in world.github.calls[calls_before:] if "comment" in call] == []
    assert "github.slowest_write_s" in (world.row().reason or "")
    world.advance(30)
    assert world.run() == Finished(GUID, "done", DONE)
    assert world.github.calls.count("write comment") == 1


# Reviews and replies, with the real client


PULL = Conversation(NUMBER, is_pull_request=True)
EIGHT = EnsureReview(HEAD, tuple(map(inline, (2, 3, 4, 5, 6, 7, 8, 9))))
ONE_INVALID = EnsureReview(HEAD, tuple(map(inline, (2, 3, 4, 99, 6, 7, 8, 9))))
TWO_INVALID = EnsureReview(HEAD, tuple(map(inline, (2, 98, 3, 99))))


@dataclass
class PostingWorld:
    """A worker whose deliveries post to the sandbox with the real client."""

    work: World
    reviews: ReviewWorld

    def post(self, *actions: Action) -> tuple[Outcome, ...]:
        """Claim the delivery and post, as the pipeline does; then store the results."""
        job = self.work.job()
        job = replace(job, context=replace(job.context, github=Github(self.reviews.api)), bot=BOT)
        queue = self.work.store.queue
        try:
            with job.record_failure("posting"):
                outcomes = post(job, PULL, actions, require_needed=lambda: None)
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


@pytest.mark.parametrize(("effect", "posted"), [("drop_after", 1), ("drop", 0)])
def test_review_without_response_is_posted_once(world: PostingWorld, effect: Effect, posted: int) -> None:
    world.reviews.sandbox.faults.add(Fault(effect=effect, method="POST", path="/reviews$", status=502))
    with pytest.raises(DependencyDown):
        world.post(EIGHT)
    assert len(world.reviews.posted_lines()) == posted
    (outcome,) = world.post_after_the_pending_write(EIGHT)
    assert (outcome.kind, outcome.detail) == ("created", "posted 8 comments on lines")
    assert len(world.reviews.posted_lines()) == 1


@pytest.mark.parametrize(
    ("review", "skip", "reviews", "lines"),
    [(ONE_INVALID, 4, 1, [2, 3, 4, 6, 7, 8, 9]), (TWO_INVALID, 9, 2, [2, 3])],
    ids=["without the invalid comment", "second half"],
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


def test_first_attempt_does_not_search_for_a_review_or_reply(world: PostingWorld) -> None:
    first = world.reviews.review(inline(28)).comment_ids["f28"]
    before = len(world.reviews.calls())
    world.post(EIGHT, EnsureReply(first, "fixed", "Fixed."))
    pull, reply = REVIEWS.removesuffix("/reviews"), f"POST {COMMENTS}/{first}/replies"
    assert world.reviews.calls()[before:] == [f"GET {pull}", f"POST {REVIEWS}", f"GET {COMMENTS}", reply]


def test_push_during_the_review_supersedes_it_and_releases_the_lock(world: PostingWorld) -> None:
    seed_pull_request(world.reviews.sandbox, head="b" * 40)
    with pytest.raises(Superseded, match="a newer push came meanwhile: bbbbbbbbbb"):
        world.post(EIGHT)
    assert world.reviews.calls().count(f"POST {REVIEWS}") == 1
    world.work.advance(31)
    lease = world.work.claim()
    assert lease is not None
    assert not world.work.store.locks.acquire(lease, f"{lease.conversation_key}/review", ttl_s=20)  # no pending write


REPLY = EnsureReply(7, "fixed", "Fixed.")


@pytest.mark.parametrize(("features", "kind"), [({"auto_commenting": False}, "off"), ({"dry_run": True}, "dry_run")])
def test_settings_keep_reviews_and_replies_from_being_posted(
    make_world: MakeWorld, features: dict[str, bool], kind: str
) -> None:
    work = make_world(given=settings(features=features))
    work.accept("pull_request.opened")
    work.github.pull_requests = {2: _pull_request()}
    posted = post(work.job(), PULL, (EIGHT, REPLY), require_needed=lambda: None)
    assert [(one.action, one.kind) for one in posted] == [("review", kind), ("reply", kind)]
    switched_off = {"comments are switched off by settings (features.auto_commenting)"} if kind == "off" else set()
    assert {one.detail for one in posted if one.kind == "off"} == switched_off
    assert (work.github.inline_comments, work.github.replies) == ({}, {})


def _pull_request() -> PullRequest:
    event = parse_event("pull_request", GUID, recorded.load("pull_request.opened").body)
    assert event.pull_request is not None
    return event.pull_request
