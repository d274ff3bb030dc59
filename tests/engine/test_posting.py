"""Posting: locks, checks before the first write, retries, and what a lost response leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.actions import Action, EnsureComment, EnsureReply, EnsureReview, Outcome
from hls_handler.deliveries import End
from hls_handler.engine.job import DeliveryJob
from hls_handler.engine.posting import Posting
from hls_handler.errors import DependencyDown, Postponed, Retryable, Superseded
from hls_handler.handlers.job import Conversation
from hls_handler.prompting import recorded
from hls_handler.settings.model import Settings
from hls_sandbox.objects import Account
from tests.engine.world import BUG, GUID, Ended, MakeWorld, World, settings
from tests.github.review_world import PATCH, inline
from tests.handlers.world import ISSUE, file, finding, pull_request, pull_request_analysis

GITHUB_DOWN = DependencyDown("GitHub answered 502", dependency="github", remedy="wait")
LOCK = "186853002#1/issues"
SHA = pull_request().head_sha
FILE = file("a.py", "@@ -1 +1 @@\n-a\n+b")
FINDING = finding(path="a.py", line=1, quote="b", body="Off by one.")
OTHER_COMMENT = EnsureComment("other", "Hello.", create=True)
ZOE = Account("zoe", 2, "User")
DONE = "added bug, priority-low, difficulty-easy; commented"
NO_RESPONSE = DependencyDown(
    "no answer: ReadTimeout", dependency="github", remedy="wait", may_have_succeeded=True
)


def test_comment_waits_for_its_lock(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept(guid="holder", number=7)
    holder = world.claim()
    world.store.locks.acquire(holder, LOCK, ttl_s=20)
    world.accept()
    assert world.run() is None
    assert (
        world.row().reason == "waits for delivery holder, which holds the lock 186853002#1/issues"
    )
    assert world.github.comments == {}
    world.store.queue.finish(holder, End("done", ""), took_s=1)
    world.advance(2)
    assert world.run() is not None
    assert list(world.github.comments) == [1]


def test_first_result_of_another_delivery_is_written_before_a_later_one(
    make_world: MakeWorld,
) -> None:
    given = settings(github={"min_seconds_between_writes": 60.0})
    world = make_world(
        BUG, pull_request_analysis(), pull_request_analysis(), given=given, is_clock_fixed=True
    )
    for label in ("bug", "priority-low", "difficulty-easy", "type/bug-fix", "size/small"):
        world.github.state.create_label(world.github.repository, label, "ededed", None)
    world.accept()
    assert world.run() is None  # the labels are written, the comment waits
    world.open_pull_request(file("a.py"), guid="other")
    assert world.run() is None
    for _ in range(3):
        world.advance(60)
        world.run()
    world.open_pull_request(file("a.py"), number=3, head_sha="b" * 40, guid="third")
    for _ in range(3):
        world.run()
        world.advance(60)
    assert world.github.writes == [
        "POST /issues/1/labels",
        "POST /issues/2/labels",
        "POST /issues/1/comments",
        "POST /check-runs",
        "POST /issues/3/labels",
        "POST /check-runs",
    ]


@pytest.mark.parametrize("others", [0, 1])
def test_comment_is_searched_unless_all_comments_are_known(
    make_world: MakeWorld, others: int
) -> None:
    world = make_world()
    world.accept()
    world.finish()  # stores one comment
    for _ in range(others):
        world.github.state.create_comment(world.github.conversation(1), "Me, too.", by=ZOE)
    world.accept(guid="second")
    post_once(world, OTHER_COMMENT)
    assert world.github.calls.count("GET /issues/1/comments") == others


def test_retry_searches_the_comment_that_an_earlier_attempt_may_have_written(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.process()
    # so GitHub has as many comments after the lost response as are stored
    without = replace(world.github.conversation(1), comments=())
    world.github.state.change(lambda state: state.with_conversation(without))
    world.github.lose_response(NO_RESPONSE, "POST /issues/1/comments")
    world.accept(guid="second")
    with pytest.raises(DependencyDown):
        post_once(world, OTHER_COMMENT)
    world.advance(61)
    post_once(world, OTHER_COMMENT)
    assert len(world.github.conversation(1).comments) == 1


@pytest.mark.parametrize(
    ("status", "action", "error", "state"),
    [
        (403, "labels", "403 Fault: the token or its account lacks a permission", "dead"),
        (422, "comments", "422 Fault", "done"),
    ],
    ids=["permanently", "once"],
)
def test_refused_action_costs_no_other_action(
    make_world: MakeWorld, status: int, action: str, error: str, state: str
) -> None:
    world = make_world(pull_request_analysis(findings=[FINDING]))
    world.github.fail(status, f"POST /issues/2/{action}")
    world.open_pull_request(FILE)
    finished = world.run()
    assert world.github.checks_of(SHA) == ["success"]
    call = f"POST /repos/Codertocat/Hello-World/issues/2/{action}"
    assert world.row().posting_error == f"{call}: {error}"
    world.advance(60)
    assert (finished or world.finish()).state == state
    pull = world.github.conversation(2)
    assert (len(pull.reviews), len(pull.comments)) == (1, 1)


def test_findings_of_a_refused_review_are_in_the_summary(make_world: MakeWorld) -> None:
    world = make_world(pull_request_analysis(findings=[FINDING]))
    world.github.fail(403, "POST /pulls/2/reviews")
    world.open_pull_request(FILE)
    assert world.finish().state == "dead"
    assert "Off by one." in world.github.comments[2]
    assert world.github.checks_of(SHA) == ["success"]


def test_record_of_a_review_without_findings_is_kept_if_its_labels_are_refused(
    make_world: MakeWorld,
) -> None:
    world = make_world(pull_request_analysis())
    world.github.fail(403, "POST /issues/2/labels")
    world.open_pull_request(FILE)
    assert world.finish().state == "dead"
    history = world.store.repositories.history(world.row().repository_id, "hls[bot]")
    assert history.review(2).rounds == 1


def test_refused_issue_type_is_no_failure(make_world: MakeWorld) -> None:
    world = make_world(given=settings(labels={"issue_type": True}))
    world.github.fail(403, "PATCH /issues/1")
    payload = recorded.load("issues.opened").payload
    owner = {**payload["repository"]["owner"], "type": "Organization"}
    body = {**payload, "repository": {**payload["repository"], "owner": owner}}
    world.receive("issues", body, guid=GUID)
    finished = world.finish()
    assert finished.state == "done"
    assert "; type not set: PATCH /repos/" in finished.reason


def test_started_posting_is_finished_after_the_issue_was_closed(make_world: MakeWorld) -> None:
    world = make_world()
    world.accept()
    world.github.lose_response(GITHUB_DOWN, "POST /issues/1/comments")
    assert world.run() is None  # the label outcome is stored, that of the comment is not
    world.github.put_issue(replace(ISSUE, state="closed"))
    world.advance(60)
    assert world.run() == Ended(GUID, "done", DONE)


def test_comment_without_response_is_not_read_for_a_minute(make_world: MakeWorld) -> None:
    """Not even after `reschedule_waiting`."""
    world = make_world()
    world.accept()
    world.github.lose_response(NO_RESPONSE, "POST /issues/1/comments")
    assert world.run() is None
    calls_before = len(world.github.calls)
    world.advance(31)
    world.store.queue.reschedule_waiting()
    assert world.run() is None
    assert [call for call in world.github.calls[calls_before:] if "comment" in call] == []
    assert world.row().reason == "no answer: ReadTimeout; wait"  # not that of the slot
    world.advance(30)
    assert world.run() == Ended(GUID, "done", DONE)
    assert len(world.github.conversation(1).comments) == 1


# Reviews and replies: what a lost response leaves


REVIEW = EnsureReview(SHA, (inline(2), inline(3), inline(4)))


def make_pull_world(make_world: MakeWorld, given: Settings | None = None) -> World:
    """A world with an accepted event of pull request 2, whose line 1 has a comment of HLS."""
    world = make_world(given=given)
    world.open_pull_request(file("a.py", PATCH))
    comment = {"path": "a.py", "side": "RIGHT", "line": 1, "body": "Wrong."}
    github = world.github
    github.state.create_review(github.conversation(2), "", SHA, [comment], by=github.state.me)
    return world


def reply_to(world: World, key: str = "fixed") -> EnsureReply:
    """A reply to the comment on line 1."""
    ((_, comment), *_) = world.github.conversation(2).review_comments()
    return EnsureReply(comment["id"], key, "Fixed.")


def posted(world: World) -> list[list[int]]:
    """The lines of the comments of each review. A reply is a review on the line of its thread."""
    reviews = world.github.conversation(2).reviews[1:]
    return [[comment["line"] for comment in review.comments] for review in reviews]


def post_all(job: DeliveryJob, *actions: Action) -> tuple[Outcome, ...]:
    number = job.lease.number
    assert number is not None
    posting = Posting(job, Conversation(number, is_pull_request=job.event.name == "pull_request"))
    posting.begin(actions)
    posting.execute_all(actions)
    return posting.end()


def post_once(world: World, action: Action) -> Outcome:
    """Claim the delivery and post in one attempt, as the pipeline does."""
    job, queue = world.job(), world.store.queue
    try:
        with job.record_failure("posting"):
            (outcome,) = post_all(job, action)
    except (Retryable, Postponed) as exc:
        at, failed = (exc.at, False) if isinstance(exc, Postponed) else (world.store.now(), True)
        queue.reschedule(
            job.lease, at=at, reason="", failed=failed, counts=False, github_requests=0
        )
        raise
    world.store.checkpoints.save(job.lease, *job.pending.take())
    return outcome


@pytest.mark.parametrize("is_superseded", [False, True], ids=["retry", "next delivery"])
@pytest.mark.parametrize("is_review", [True, False], ids=["review", "reply"])
def test_review_or_reply_without_response_is_posted_once(
    make_world: MakeWorld, is_review: bool, is_superseded: bool
) -> None:
    world = make_pull_world(make_world)
    reply = reply_to(world)
    action: Action = reply
    call = f"POST /pulls/2/comments/{reply.comment_id}/replies"
    if is_review:
        action = REVIEW
        call = "POST /pulls/2/reviews"
    world.github.lose_response(NO_RESPONSE, call)
    with pytest.raises(DependencyDown):
        post_once(world, action)
    if is_superseded:
        lease = world.claim()
        world.store.queue.finish(lease, End("superseded", "a newer push came meanwhile"), took_s=0)
        world.accept("pull_request.opened", guid="second")
    with pytest.raises(Postponed, match="may still take effect"):
        post_once(world, action)
    world.advance(60)
    outcome = post_once(world, action)
    if is_review:
        assert (posted(world), list(outcome.comment_ids)) == ([[2, 3, 4]], ["f2", "f3", "f4"])
    else:
        assert posted(world) == [[1]]


def test_outcome_is_found_by_its_target_if_the_plan_has_changed(
    make_world: MakeWorld,
) -> None:
    world = make_pull_world(make_world)
    job = world.job()
    reply, other = reply_to(world), reply_to(world, "other")
    first = post_all(job, REVIEW, reply)
    job.store.checkpoints.save(job.lease, *job.pending.take())
    world.store.queue.reschedule(
        job.lease, at=world.store.now(), reason="", failed=False, counts=False, github_requests=0
    )
    assert posted(world) == [[2, 3, 4], [1]]
    again = post_all(world.job(), other, reply, REVIEW)
    assert (*again[1:],) == (first[1], first[0])
    assert posted(world) == [[2, 3, 4], [1], [1]]


def test_review_searches_for_its_comments_before_and_reads_their_ids_after(
    make_world: MakeWorld,
) -> None:
    world = make_pull_world(make_world)
    post_once(world, REVIEW)
    listed = "GET /pulls/2/comments"
    assert world.github.calls[-3:] == [listed, "POST /pulls/2/reviews", listed]
    assert world.github.calls.count(listed) == 2


def test_push_during_the_review_supersedes_it_and_releases_the_lock(
    make_world: MakeWorld,
) -> None:
    world = make_pull_world(make_world)

    def push(call: str) -> None:
        if call == "POST /pulls/2/reviews":
            world.github.put_pull_request(pull_request(number=2, head_sha="b" * 40))

    world.github.on_call = push
    with pytest.raises(Superseded, match="a newer push came meanwhile: bbbbbbbbbb"):
        post_once(world, REVIEW)
    world.advance(31)
    lease = world.claim()
    # no pending write
    assert not world.store.locks.acquire(lease, f"{lease.conversation_key}/review", ttl_s=20)


@pytest.mark.parametrize(
    ("features", "kind"), [({"auto_commenting": False}, "off"), ({"dry_run": True}, "dry_run")]
)
def test_settings_keep_reviews_and_replies_from_being_posted(
    make_world: MakeWorld, features: dict[str, bool], kind: str
) -> None:
    world = make_pull_world(make_world, settings(features=features))
    outcomes = post_all(world.job(), REVIEW, reply_to(world))
    assert [(outcome.action, outcome.kind) for outcome in outcomes] == [
        ("review", kind),
        ("reply", kind),
    ]
    switched_off = "comments are switched off by settings (features.auto_commenting)"
    is_named = [outcome.detail == switched_off for outcome in outcomes]
    assert is_named == [kind == "off", kind == "off"]
    assert posted(world) == []
