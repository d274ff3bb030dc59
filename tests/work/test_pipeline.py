"""One delivery through the pipeline: what is done, what is remembered, and what follows when something fails."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from hls_handler.analysis import IssueResponse
from hls_handler.cli.deliveries import load_report
from hls_handler.deliveries import Finished
from hls_handler.errors import Permanent, Retryable
from hls_handler.events import parse_event
from hls_handler.prompting import recorded
from hls_handler.prompting.prompt import Library
from hls_handler.work.runner import attempt
from tests.handlers.world import file, pull_request, pull_request_analysis
from tests.prompting.samples import load
from tests.work.fakes import CLAUDE_DOWN, GITHUB_DOWN, INVALID, ISSUE
from tests.work.world import BUG, GUID, QUESTION, MakeWorld, settings

OWN = """---
description: Sort our issues
on: [issues.opened]
reply: issue_analysis
fields:
  component: {enum: [payments, search, none]}
  affected_version: {type: string}
  regression: {type: boolean}
labels: {component: "team-{value}", kind: {bug: defect}, regression: regression}
---
Sort {{ issue.title }}
"""


def own_prompts(folder: Path) -> Library:
    files = {
        "issues/analyze.j2": OWN,
        "issues/analyze.comment.md.j2": "{{ analysis.affected_version }}, {{ analysis.component }}",
    }
    return load(folder / "prompts", files)


def test_an_issue_is_analysed_labelled_and_commented(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    assert one.run() == Finished(GUID, "done", "added bug, priority-low, difficulty-easy; commented")
    assert one.github.labels == {1: ("bug", "priority-low", "difficulty-easy")}
    assert "The README says committ." in one.github.comments[1]
    assert one.github.asked == ["issue 1", "issue 1", "write labels", "write comment"]
    assert (one.row().analysis_status, one.row().posting_status) == ("done", "done")


def test_what_claude_is_not_shown_is_remembered(make_world: MakeWorld) -> None:
    answer = IssueResponse(worth_saying=True, answer="Set DATABASE_URL.", certain=True)
    one = make_world(QUESTION, CLAUDE_DOWN, answer)
    one.github.issues[1] = replace(ISSUE, body="x" * 20_000)
    one.accept()
    one.run()
    one.later(60)
    one.run()
    ids = [asked.prompt.id for asked in one.claude.asked]
    assert load_report(one.store, one.row()).omitted == (
        f"1 text was cut by 4,000 characters ({ids[0]})",
        f"1 text was cut by 4,000 characters ({ids[1]})",
    )


def test_files_that_claude_is_not_shown_are_remembered(make_world: MakeWorld) -> None:
    one = make_world(pull_request_analysis())
    one.github.pull_requests[2] = pull_request(number=2, changed_files=2)
    one.github.changed[2] = (file(), file("uv.lock"))
    one.accept("pull_request.opened")
    assert one.run() is not None
    assert load_report(one.store, one.row()).omitted == ("1 of 2 files was not shown: 1 lock file",)


def test_then_leads_to_a_second_prompt_whose_comment_counts(make_world: MakeWorld) -> None:
    answer = IssueResponse(worth_saying=True, answer="Set DATABASE_URL.", certain=True)
    one = make_world(QUESTION, answer)
    one.accept()
    one.run()
    assert [asked.prompt.name for asked in one.claude.asked] == ["issues/analyze", "issues/respond"]
    assert one.github.labels[1][0] == "question"
    assert one.github.comments[1].startswith("Set DATABASE_URL.")


def test_a_condition_that_fails_on_a_reply_costs_one_call(make_world: MakeWorld, tmp_path: Path) -> None:
    front = (
        "reply: issue_analysis\nthen: {prompt: issues/respond.j2, when: '1 / ((analysis.summary | length) - 7) > 0'}"
    )
    asks = "{% extends 'base.j2' %}{% block task %}Analyse it.{% endblock %}"
    files = {
        "issues/analyze.j2": f"---\ndescription: Asks\non: [issues.opened]\n{front}\n---\n{asks}",
        "issues/respond.j2": f"---\ndescription: Answers\nreply: issue_response\n---\n{asks}",
    }
    one = make_world(BUG.model_copy(update={"summary": "7 chars"}), CLAUDE_DOWN)
    one.prompts = load(tmp_path / "prompts", files)
    one.accept()
    assert one.run() is None
    one.later(60)
    assert one.run() is None
    assert len(one.claude.asked) == 1
    assert [(call.outcome, call.cost_usd is None) for call in one.store.calls.calls_of(GUID)] == [("ok", False)]
    assert ("ask", 0) in one.store.checkpoints.load(GUID)


def test_an_authors_fields_become_labels_and_stand_in_the_comment(make_world: MakeWorld, tmp_path: Path) -> None:
    one = make_world()
    one.prompts = own_prompts(tmp_path)
    model = one.prompts.prompts["issues/analyze"].reply_model
    own = {"component": "search", "affected_version": "2.1", "regression": True}
    one.claude.replies = [model.model_validate({**BUG.model_dump(), **own})]
    one.accept()
    assert one.run() is not None
    assert one.github.labels == {1: ("defect", "priority-low", "difficulty-easy", "team-search", "regression")}
    assert one.github.comments == {1: "2.1, search"}
    assert one.row().state == "done"


def test_a_reply_that_a_changed_prompt_cannot_use_is_asked_for_again(make_world: MakeWorld, tmp_path: Path) -> None:
    one = make_world()
    one.accept()
    one.github.failing_writes = [GITHUB_DOWN]
    assert one.run() is None
    one.prompts = own_prompts(tmp_path)
    model = one.prompts.prompts["issues/analyze"].reply_model
    own = {"component": "none", "affected_version": "", "regression": False}
    one.claude.replies = [model.model_validate({**BUG.model_dump(), **own})]
    one.later(60)
    assert one.run() is not None
    assert [len(asked.schema["properties"]) for asked in one.claude.asked] == [8, 10]  # type: ignore[arg-type]
    assert one.github.labels == {1: ("defect", "priority-low", "difficulty-easy")}


def test_an_outage_of_claude_costs_no_attempt_and_gathers_nothing_again(make_world: MakeWorld) -> None:
    one = make_world(CLAUDE_DOWN, BUG)
    one.accept()
    assert one.run() is None
    row = one.row()
    assert (row.state, row.attempts, row.failures, row.analysis_status) == ("queued", 0, 1, "failed")
    assert one.health.snapshot().components["claude"].state == "degraded"
    one.later(60)
    assert one.run() == Finished(GUID, "done", "added bug, priority-low, difficulty-easy; commented")
    assert one.github.asked.count("issue 1") == 2  # once to gather, once before posting
    assert one.health.snapshot().components["claude"].state == "healthy"


def test_posting_that_fails_is_retried_without_asking_claude_again(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    one.github.failing_writes = [GITHUB_DOWN]
    assert one.run() is None
    assert (one.row().analysis_status, one.row().posting_status) == ("done", "failed")
    one.later(60)
    assert one.run() is not None
    assert len(one.claude.asked) == 1
    assert (one.row().state, one.row().posting_status) == ("done", "done")


def test_the_outcome_is_told_against_the_labels_of_the_deliverys_first_round(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    one.github.failing_writes = [GITHUB_DOWN]
    assert one.run() is None  # and the labels are remembered as intended
    one.later(60)
    assert one.run() is not None
    assert one.github.labels_before == [{}, {}]


def test_an_action_that_was_applied_is_not_applied_again(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    one.github.lost_answers = [GITHUB_DOWN]
    assert one.run() is None
    one.later(60)
    one.run()
    assert one.github.asked.count("write labels") == 1
    assert one.github.asked.count("write comment") == 1  # an ensure: what the lost answer left is found


def test_a_reply_that_does_not_validate_gets_one_more_try_that_shows_the_error(make_world: MakeWorld) -> None:
    one = make_world(INVALID, BUG)
    one.accept()
    one.run()
    assert one.row().state == "done"
    assert one.claude.corrections[0] is None
    correction = one.claude.corrections[1]
    assert correction is not None
    assert (correction.problem, correction.text) == (INVALID.problem, INVALID.text)


def test_rule_11_a_second_reply_that_does_not_validate_ends_it_and_nothing_is_posted(make_world: MakeWorld) -> None:
    one = make_world(INVALID)
    one.accept()
    finished = one.run()
    assert finished is not None
    assert finished.state == "dead"
    assert "cannot be used, twice" in (finished.reason or "")
    assert (one.github.labels, one.github.comments) == ({}, {})
    part = one.health.snapshot().components["claude"]
    assert (part.state, part.remedy) == ("degraded", "check what prompts/issues/analyze.j2 asks for, then run it again")
    assert finished.reason == f"{part.message}; {part.remedy}"
    one.claude.replies = [BUG]
    one.accept(guid="second", thread=2)
    one.run()
    assert one.health.snapshot().components["claude"].state == "healthy"
    assert [call.outcome for call in one.store.calls.calls_of(GUID)] == ["invalid", "invalid"]


def test_an_outage_between_the_two_tries_does_not_pay_for_the_first_again(make_world: MakeWorld) -> None:
    one = make_world(INVALID, CLAUDE_DOWN, BUG)
    one.accept()
    assert one.run() is None
    one.later(60)
    one.run()
    assert one.row().state == "done"
    assert [correction is None for correction in one.claude.corrections] == [True, False, False]


@pytest.mark.parametrize("why", ["truncated", "refused", "stopped"])
def test_a_reply_that_cannot_be_corrected_is_not_asked_for_twice(
    make_world: MakeWorld, why: Literal["truncated", "refused", "stopped"]
) -> None:
    one = make_world(replace(INVALID, why=why))
    one.accept()
    one.run()
    assert one.row().state == "dead"
    assert len(one.claude.asked) == 1


def test_a_permanent_error_is_final(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    one.github.failing = [Permanent("GET /repos/o/r/issues/1: 410 Gone")]
    assert one.run() == Finished(GUID, "dead", "GET /repos/o/r/issues/1: 410 Gone")


def test_own_failures_end_at_the_last_attempt(make_world: MakeWorld) -> None:
    one = make_world(given=settings(limits={"max_attempts": 2}))
    one.accept()
    one.github.failing = [Retryable("422"), Retryable("422")]
    assert one.run() is None
    one.later(60)
    assert one.run() == Finished(GUID, "dead", "failed 2 times (limits.max_attempts), last: 422")


def test_a_defect_of_ours_is_tried_again_and_does_not_end_the_worker(make_world: MakeWorld) -> None:
    one = make_world()
    one.github.issues = {}  # the fake raises KeyError
    one.accept()
    assert one.run() is None
    assert one.row().reason == "defect in HLS, please report it: KeyError (the log has the trace)"


@pytest.mark.parametrize(
    ("change", "state", "reason"),
    [
        ({"state": "closed"}, "superseded", "closed meanwhile"),
        ({"locked": True}, "dead", "is locked"),
    ],
)
def test_a_thread_that_changed_since_the_event_is_respected(
    make_world: MakeWorld, change: dict[str, object], state: str, reason: str
) -> None:
    one = make_world()
    one.accept()
    one.github.issues = {1: replace(ISSUE, **change)}  # type: ignore[arg-type]
    finished = one.run()
    assert finished is not None
    assert finished.state == state
    assert reason in (finished.reason or "")
    assert one.claude.asked == []


def test_an_issue_that_is_closed_while_claude_thinks_gets_no_comment(make_world: MakeWorld) -> None:
    one = make_world(CLAUDE_DOWN, BUG)
    one.accept()
    one.run()
    one.github.issues = {1: replace(ISSUE, state="closed")}
    one.later(60)
    finished = one.run()
    assert finished is not None
    assert finished.state == "superseded"
    assert one.github.comments == {}


@pytest.mark.parametrize(
    ("moment", "asked", "labelled"),
    [("files 2", 0, False), ("ask", 1, False), ("write labels", 1, True)],
    ids=["before Claude is asked", "while Claude thinks", "between labels and comment"],
)
def test_a_push_that_comes_meanwhile_ends_the_work_on_the_older_commit(
    make_world: MakeWorld, moment: str, asked: int, labelled: bool
) -> None:
    one = make_world(pull_request_analysis())
    one.github.pull_requests = {2: pull_request(number=2)}
    one.github.changed = {2: (file("a.py"),)}
    one.accept("pull_request.opened", head_sha="older")

    def push(what: str) -> None:
        if what == moment:
            one.accept("pull_request.opened", guid="newer", head_sha="c0ffee", action="synchronize")

    one.github.meanwhile = one.claude.meanwhile = push
    assert one.run() == Finished(GUID, "superseded", "a newer push came meanwhile: c0ffee")
    assert one.github.comments == {}
    assert (len(one.claude.asked), bool(one.github.labels)) == (asked, labelled)
    assert one.row("newer").state == "queued"


def test_a_thread_that_is_closed_while_claude_thinks_gets_nothing(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    one.claude.meanwhile = lambda _what: one.accept(guid="closing", action="closed")
    assert one.run() == Finished(GUID, "superseded", "the thread was closed meanwhile")
    assert (one.github.labels, one.github.comments) == ({}, {})


def test_an_older_event_that_failed_is_not_posted_over_what_a_newer_one_came_to(make_world: MakeWorld) -> None:
    one = make_world(BUG, BUG.model_copy(update={"summary": "The guide says committ, too."}))
    one.accept()
    one.github.failing_writes = [Permanent("issue 1 is locked")]
    assert one.run() == Finished(GUID, "dead", "issue 1 is locked")
    one.accept(guid="newer", action="edited")
    assert one.run() is not None
    labels, comments = dict(one.github.labels), dict(one.github.comments)
    assert "The guide says committ, too." in comments[1]
    one.store.queue.retry(GUID)
    assert one.run() == Finished(GUID, "superseded", "a newer event of this thread was answered meanwhile")
    assert (one.github.labels, one.github.comments) == (labels, comments)
    assert len(one.claude.asked) == 2


def test_a_dry_run_writes_nothing_and_keeps_what_it_would_have_written(make_world: MakeWorld) -> None:
    one = make_world(given=settings(features={"dry_run": True}))
    one.accept()
    one.run()
    assert (one.github.labels, one.github.comments) == ({}, {})
    assert one.row().posting_status == "dry_run"


@pytest.mark.parametrize(
    ("off", "labels", "comments"), [("auto_labeling", False, True), ("auto_commenting", True, False)]
)
def test_labels_and_comments_are_switched_off_each_for_itself(
    make_world: MakeWorld, off: str, labels: bool, comments: bool
) -> None:
    one = make_world(given=settings(features={off: False}))
    one.accept()
    finished = one.run()
    assert finished is not None
    assert f"features.{off}" in (finished.reason or "")
    assert (bool(one.github.labels), bool(one.github.comments)) == (labels, comments)


def test_a_service_that_stops_gives_the_delivery_back_between_two_steps(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    one.stopping = True
    assert one.run() is None
    row = one.row()
    assert (row.state, row.failures, row.attempts) == ("queued", 0, 0)
    one.stopping = False
    assert one.run() is not None


def test_a_worker_that_lost_its_lease_posts_nothing(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept()
    lease = one.claim()
    assert lease is not None
    one.later(31)
    taken_over = one.claim()
    assert taken_over is not None
    assert attempt(lease, one.tools()) is None
    assert (one.github.labels, one.github.comments) == ({}, {})
    assert one.row().state == "running"


def test_an_edit_that_changed_neither_title_nor_body_is_ignored_in_the_worker_too(make_world: MakeWorld) -> None:
    one = make_world()
    one.accept("issues.edited")  # its `changes` are empty
    finished = one.run()
    assert finished is not None
    assert finished.state == "ignored"
    assert one.store.deliveries.body(GUID) is None


def test_rule_17_too_many_runs_of_one_thread_within_an_hour_are_ignored(make_world: MakeWorld) -> None:
    one = make_world(given=settings(limits={"thread_runs_per_hour": 2}))
    for n in range(3):
        one.accept(guid=f"{n}2d3162e-cc78-11e3-81ab-4c9367dc0958")
    finished = [one.run() for _ in range(3)]
    assert [end.state for end in finished if end] == ["done", "done", "ignored"]
    assert len(one.claude.asked) == 2


def test_a_delivery_whose_answer_is_paid_for_is_posted_however_often_its_thread_was_worked_on(
    make_world: MakeWorld,
) -> None:
    one = make_world(given=settings(limits={"thread_runs_per_hour": 1}))
    one.accept()
    one.github.failing_writes = [Permanent("GitHub says no"), Permanent("GitHub says no")]
    one.run()
    one.later(3601)
    one.accept(guid="second")
    one.run()
    one.store.queue.retry(GUID)
    assert one.run() == Finished(GUID, "done", "added bug, priority-low, difficulty-easy; commented")
    assert len(one.claude.asked) == 2


def test_the_hourly_budget_makes_deliveries_wait_and_health_say_so(make_world: MakeWorld) -> None:
    given = settings()
    given = given.model_copy(update={"claude": given.claude.model_copy(update={"calls_per_hour": 1})})
    one = make_world(given=given)
    one.accept()
    one.accept(guid="second")
    one.run()
    one.later(1)
    assert one.run() is None
    row = one.row("second")
    assert (row.state, row.failures) == ("queued", 0)
    assert "claude.calls_per_hour" in (row.reason or "")
    assert one.health.snapshot().components["claude"].state == "degraded"
    one.later(3600)
    assert one.run() is not None


def test_rule_10_credentials_in_an_issue_reach_neither_claude_nor_what_is_remembered(make_world: MakeWorld) -> None:
    token = "ghp_" + "a1B2" * 9
    one = make_world()
    one.github.issues = {1: replace(ISSUE, body=f"my token is {token}")}
    one.accept()
    one.run()
    assert token not in one.claude.asked[0].task
    assert all(token not in step.value for step in one.store.checkpoints.load(GUID).values())


def test_a_review_without_words_corrects_what_we_said_and_costs_nothing(make_world: MakeWorld) -> None:
    one = make_world()
    event = parse_event("pull_request_review", GUID, recorded.load("pull_request_review.submitted").body)
    assert event.pull_request is not None
    assert event.review is not None
    author = replace(event.review.user, id=5, login="somebody")
    one.github.pull_requests = {2: replace(event.pull_request, user=author)}
    one.github.reviews_of = {2: (replace(event.review, state="approved", body=""),)}
    one.accept("pull_request_review.submitted")
    finished = one.run()
    assert finished is not None
    assert finished.state == "done"
    assert (finished.reason or "").startswith("the review has no text, so Claude was not asked; ")
    assert one.claude.asked == []
    assert one.github.labels == {2: ()}
    assert one.github.comments[2] == "**Review by `Codertocat`**, of commit ec26c3e57c\n\nNothing is left to do."
    assert (one.row().analysis_status, one.row().posting_status) == ("done", "done")
    assert one.store.calls.calls_of(GUID) == []


def test_a_review_without_words_leaves_the_authors_own_fields_empty(make_world: MakeWorld, tmp_path: Path) -> None:
    one = make_world()
    front = "---\ndescription: a\non: [pull_request_review.submitted]\nreply: review_analysis\n"
    files = {
        "reviews/a.j2": f"{front}fields: {{tone: {{enum: [calm, heated]}}}}\nlabels: {{tone: '{{value}}'}}\n---\nx",
        "reviews/a.comment.md.j2": "Nothing to do{{ analysis.tone }}.",
    }
    one.prompts = load(tmp_path / "prompts", files)
    event = parse_event("pull_request_review", GUID, recorded.load("pull_request_review.submitted").body)
    assert event.pull_request is not None
    assert event.review is not None
    author = replace(event.review.user, id=5, login="somebody")
    one.github.pull_requests = {2: replace(event.pull_request, user=author)}
    one.github.reviews_of = {2: (replace(event.review, state="approved", body=""),)}
    one.accept("pull_request_review.submitted")
    assert one.run() is not None
    assert (one.github.labels, one.github.comments) == ({2: ()}, {2: "Nothing to do."})


def test_what_the_author_says_in_a_review_is_not_worked_on(make_world: MakeWorld) -> None:
    one = make_world()
    event = parse_event("pull_request_review", GUID, recorded.load("pull_request_review.submitted").body)
    assert event.pull_request is not None
    assert event.review is not None
    one.github.pull_requests = {2: event.pull_request}
    one.github.reviews_of = {2: (event.review,)}
    one.accept("pull_request_review.submitted")
    assert one.run() == Finished(
        GUID, "done", "the review is by the author of the pull request, so Claude was not asked"
    )
    assert (one.claude.asked, one.github.comments, one.github.labels) == ([], {}, {})
