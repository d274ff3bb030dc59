"""Posting: locks, checks before the first write, retries, and what a lost response leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.actions import Action, EnsureReply, EnsureReview, Outcome
from hls_handler.deliveries import End
from hls_handler.engine.job import Job
from hls_handler.engine.posting import Posting
from hls_handler.errors import DependencyDown, HlsError, Permanent, Postponed, Retryable, Superseded
from hls_handler.handlers.job import Conversation
from hls_handler.prompting import recorded
from hls_handler.settings.model import Settings
from hls_handler.settings.sections import Labels
from tests.engine.fakes import GITHUB_DOWN, ISSUE
from tests.engine.world import BUG, GUID, Ended, MakeWorld, World, settings
from tests.github.review_world import inline
from tests.handlers.world import file, finding, pull_request, pull_request_analysis

LOCK = "186853002#1/issues"
DONE = "added bug, priority-low, difficulty-easy; commented"


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
    writes = [
        call.removeprefix("write ") for call in world.github.calls if call.startswith("write")
    ]
    assert writes == ["labels", "labels", "comment", "comment", "labels", "check success"]


@pytest.mark.parametrize(
    ("on_github", "may_exist"), [(0, False), (1, False), (2, True), (None, True)]
)
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


def test_retry_searches_the_comment_that_an_earlier_attempt_may_have_written(
    make_world: MakeWorld,
) -> None:
    world = make_world()
    world.accept()
    world.run()
    # the second, because a person deleted the first
    world.github.issues[1] = replace(ISSUE, comments=1)
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
def test_refused_action_costs_no_other_action(
    make_world: MakeWorld, error: HlsError, state: str
) -> None:
    world = make_world(pull_request_analysis(findings=[finding(path="a.py", line=1, quote="b")]))
    world.github.failing_writes = [error]
    world.open_pull_request(file("a.py", "@@ -1 +1 @@\n-a\n+b"))
    finished = world.run()
    assert (
        len(world.github.inline_comments),
        len(world.github.comments),
        len(world.github.check_actions),
    ) == (1, 1, 1)
    assert world.row().posting_error == str(error)
    world.advance(60)
    assert (finished or world.finish()).state == state
    assert [world.github.calls.count(f"write {what}") for what in ("comment", "review")] == [1, 1]


def test_findings_of_a_refused_review_are_in_the_summary(make_world: MakeWorld) -> None:
    world = make_world(
        pull_request_analysis(
            findings=[finding(path="a.py", line=1, quote="b", body="Off by one.")]
        )
    )
    world.github.on_call = lambda what: _refuse(what, "write review")
    world.open_pull_request(file("a.py", "@@ -1 +1 @@\n-a\n+b"))
    assert world.finish().state == "dead"
    assert "Off by one." in world.github.comments[2]
    assert len(world.github.check_actions) == 1


def test_record_of_a_review_without_findings_is_kept_if_its_labels_are_refused(
    make_world: MakeWorld,
) -> None:
    world = make_world(pull_request_analysis())
    world.github.on_call = lambda what: _refuse(what, "write labels")
    world.open_pull_request(file("a.py", "@@ -1 +1 @@\n-a\n+b"))
    assert world.finish().state == "dead"
    history = world.store.repositories.history(world.row().repository_id, "hls[bot]")
    assert history.review(2).rounds == 1


def _refuse(what: str, refused: str) -> None:
    if what == refused:
        raise Permanent("GitHub answered 403")


def test_refused_issue_type_is_no_failure(make_world: MakeWorld) -> None:
    world = make_world(given=settings().model_copy(update={"labels": Labels(issue_type=True)}))
    world.github.on_call = lambda what: _refuse(what, "write type")
    world.accept(
        body=recorded.load("issues.opened").body.replace(b'"type":"User"', b'"type":"Organization"')
    )
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
    assert world.run() == Ended(GUID, "done", DONE)


NO_RESPONSE = DependencyDown(
    "no answer: ReadTimeout", dependency="github", remedy="wait", may_have_succeeded=True
)


def test_comment_without_response_is_not_read_for_a_minute(make_world: MakeWorld) -> None:
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
    assert world.row().reason == "no answer: ReadTimeout; wait"  # not that of the slot
    world.advance(30)
    assert world.run() == Ended(GUID, "done", DONE)
    assert world.github.calls.count("write comment") == 1


# Reviews and replies: what a lost response leaves


PULL = Conversation(2, is_pull_request=True)
REVIEW = EnsureReview(pull_request().head_sha, tuple(map(inline, (2, 3, 4))))
REPLY = EnsureReply(7, "fixed", "Fixed.")


def make_pull_world(make_world: MakeWorld, given: Settings | None = None) -> World:
    """A world with an accepted event of pull request 2."""
    world = make_world(given=given)
    world.accept("pull_request.opened")
    world.github.pull_requests = {2: pull_request(number=2)}
    return world


def post_all(job: Job, *actions: Action) -> tuple[Outcome, ...]:
    posting = Posting(job, PULL)
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
@pytest.mark.parametrize(("action", "write"), [(REVIEW, "write review"), (REPLY, "write reply")])
def test_review_or_reply_without_response_is_posted_once(
    make_world: MakeWorld, action: Action, write: str, is_superseded: bool
) -> None:
    world = make_pull_world(make_world)
    world.github.lost_responses = [NO_RESPONSE]
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
    assert (world.github.calls.count(write), sorted(outcome.comment_ids)) == (
        1,
        ["f2", "f3", "f4"] if action == REVIEW else [],
    )


def test_outcome_is_found_by_its_target_if_the_plan_has_changed(make_world: MakeWorld) -> None:
    world = make_pull_world(make_world)
    job = world.job()
    other = EnsureReply(8, "fixed", "Fixed, too.")
    first = post_all(job, REVIEW, REPLY)
    job.store.checkpoints.save(job.lease, *job.pending.take())
    world.store.queue.reschedule(
        job.lease, at=world.store.now(), reason="", failed=False, counts=False, github_requests=0
    )
    written = world.github.calls.count("write review"), world.github.calls.count("write reply")
    again = post_all(world.job(), other, REPLY, REVIEW)
    assert (*again[1:],) == (first[1], first[0])
    assert written == (1, 1)
    assert world.github.calls.count("write review") == 1
    assert world.github.calls.count("write reply") == 2


def test_first_attempt_does_not_search_for_a_review(make_world: MakeWorld) -> None:
    world = make_pull_world(make_world)
    world.github.inline_comments = {"f2": 900, "f3": 901, "f4": 902}
    post_once(world, REVIEW)
    assert world.github.calls.count("write review") == 1


def test_push_during_the_review_supersedes_it_and_releases_the_lock(make_world: MakeWorld) -> None:
    world = make_pull_world(make_world)
    world.github.failing_writes = [Superseded("a newer push came meanwhile: bbbbbbbbbb")]
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
    work = make_pull_world(make_world, settings(features=features))
    posted = post_all(work.job(), REVIEW, REPLY)
    assert [(one.action, one.kind) for one in posted] == [("review", kind), ("reply", kind)]
    switched_off = (
        {"comments are switched off by settings (features.auto_commenting)"}
        if kind == "off"
        else set()
    )
    assert {one.detail for one in posted if one.kind == "off"} == switched_off
    assert (work.github.inline_comments, work.github.replies) == ({}, {})
