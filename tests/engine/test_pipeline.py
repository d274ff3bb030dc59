"""The pipeline of one delivery: results, checkpoints and failures."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from hls_handler.analysis import IssueResponse
from hls_handler.errors import NotFound, SlowResponse
from hls_handler.prompting import recorded
from hls_handler.reports.delivery_report import format_report
from tests.engine.claude import CLAUDE_DOWN, INVALID
from tests.engine.libraries import load_chain
from tests.engine.world import BUG, GUID, QUESTION, Ended, MakeWorld, settings
from tests.handlers.world import ISSUE, finding, pull_request_analysis
from tests.prompting.samples import load


def test_issue_is_analysed_labelled_and_commented(make_world: MakeWorld) -> None:
    world = make_world()
    assert world.process() == Ended(
        GUID, "done", "added bug, priority-low, difficulty-easy; commented"
    )
    assert world.github.labels == {1: ("bug", "priority-low", "difficulty-easy")}
    assert "Thanks to whoever fixes it." in world.github.comments[1]
    assert world.github.writes == [
        "POST /labels",
        "POST /labels",
        "POST /issues/1/labels",
        "POST /issues/1/comments",
    ]
    assert (world.row().analysis_status, world.row().posting_status) == ("done", "done")


@pytest.mark.parametrize(
    ("first", "second", "comment"),
    [(True, False, "Thanks to whoever fixes it."), (False, True, "Set DATABASE_URL.")],
    ids=["the first", "the second"],
)
def test_then_runs_a_second_prompt_and_the_comment_is_that_of_the_reply_worth_saying(
    make_world: MakeWorld, shared_folder: Path, first: bool, second: bool, comment: str
) -> None:
    reply = IssueResponse(worth_saying=second, sources=[], answer="Set DATABASE_URL.", certain=True)
    world = make_world(QUESTION.model_copy(update={"worth_saying": first}), reply)
    world.prompts = load_chain(shared_folder / "chain")
    world.process()
    assert [rendered.prompt.name for rendered in world.claude.asked] == [
        "issues/analyze",
        "issues/respond",
    ]
    assert world.github.labels[1][0] == "question"
    assert world.github.comments[1].startswith(comment)


def test_failing_then_condition_is_a_prompt_problem_and_does_not_repeat_the_call(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    when = "1 / ((analysis.summary | length) - 7) > 0"
    front = f"reply: issue_analysis\nthen: {{prompt: issues/respond.j2, when: '{when}'}}"
    asks = "{% extends 'base.j2' %}{% block task %}Analyse it.{% endblock %}"
    files = {
        "issues/analyze.j2": f"---\ndescription: Asks\non: [issues.opened]\n{front}\n---\n{asks}",
        "issues/respond.j2": f"---\ndescription: Replies\nreply: issue_response\n---\n{asks}",
    }
    world = make_world(BUG.model_copy(update={"summary": "7 chars"}), CLAUDE_DOWN)
    world.prompts = load(tmp_path / "prompts", files)
    world.accept()
    assert world.run() is None
    world.advance(60)
    assert world.run() is None
    row = world.row()
    assert (row.state, row.analysis_status, row.analysis_error) == ("queued", "failed", row.reason)
    assert row.reason is not None
    assert "issues/analyze.j2:" in row.reason
    assert "defect" not in row.reason
    assert len(world.claude.asked) == 1
    assert [(call.outcome, call.cost_usd is None) for call in world.store.calls.calls_of(GUID)] == [
        ("ok", False)
    ]
    assert world.store.replies.of(GUID).valid.keys() == {0}


def test_outage_of_claude_uses_no_attempt_and_keeps_the_facts(
    make_world: MakeWorld, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    world = make_world(CLAUDE_DOWN, BUG)
    world.accept()
    assert world.run() is None
    row = world.row()
    assert (row.state, row.attempts, row.failures, row.analysis_status) == (
        "queued",
        0,
        1,
        "failed",
    )
    assert world.component("claude").state == "degraded"
    world.advance(60)
    assert world.run() == Ended(GUID, "done", "added bug, priority-low, difficulty-easy; commented")
    assert world.github.calls.count("GET /issues/1") == 2  # for the facts, and before posting
    assert world.component("claude").state == "healthy"
    levels = {record.message: record.levelname for record in caplog.records}
    assert levels["delivery failed and is retried"] == "DEBUG"  # the outage has its own line


def test_slow_response_uses_an_attempt_because_it_may_be_billed(make_world: MakeWorld) -> None:
    slow = SlowResponse("Claude was still sending", remedy="raise claude.timeout_s")
    world = make_world(slow, slow, slow, slow)
    world.accept()
    assert world.run() is None
    assert (world.row().attempts, world.row().analysis_status) == (1, "failed")
    part = world.component("claude")
    assert (part.state, part.message, part.remedy) == (
        "degraded",
        "Claude was still sending",
        "raise claude.timeout_s",
    )
    assert [(call.outcome, call.cost_usd) for call in world.store.calls.calls_of(GUID)] == [
        ("failed", 0.05)
    ]
    for _ in range(2):
        world.advance(600)
        assert world.run() is None
    world.advance(600)
    finished = world.finish()
    assert (finished.state, finished.reason) == (
        "dead",
        "failed 4 times (limits.max_attempts), last: Claude was still sending",
    )
    assert world.github.comments == {}


def test_reply_that_is_too_large_is_asked_for_again(make_world: MakeWorld) -> None:
    oversized = replace(INVALID, why="oversized", problem="the response is over 9 bytes", text="")
    world = make_world(oversized, BUG)
    assert world.process().state == "done"
    assert [call.outcome for call in world.store.calls.calls_of(GUID)] == ["oversized", "ok"]
    assert [correction is not None for correction in world.claude.corrections] == [False, True]
    world.claude.replies = [oversized]
    finished = world.process(guid="second", number=2)
    assert finished.state == "dead"
    assert "the response is over 9 bytes; see whether claude.base_url" in finished.reason


def test_rule_11_second_invalid_reply_posts_nothing(make_world: MakeWorld) -> None:
    again = replace(INVALID, problem="kind: still wrong", text='{"kind": "BUGG"}')
    world = make_world(INVALID, again)
    finished = world.process()
    assert finished.state == "dead"
    assert "does not fit the prompt's fields (tried twice)" in finished.reason
    assert (world.github.labels, world.github.comments) == ({}, {})
    part = world.component("claude")
    assert (part.state, part.remedy) == (
        "degraded",
        "check what prompts/issues/analyze.j2 asks for, then run it again",
    )
    assert finished.reason == f"{part.message}; {part.remedy}"
    report = world.report()
    assert [(one.problem, one.text) for one in report.unusable_replies] == [
        ("kind: 'bugg' is not one of ...", '{"kind": "bugg"}'),
        ("kind: still wrong", '{"kind": "BUGG"}'),
    ]
    line = f"  Reply to {report.unusable_replies[0].prompt_id}, which could not be used: "
    assert f'{line}{{"kind": "BUGG"}}' in [*format_report(report)]
    world.claude.replies = [BUG]
    world.process(guid="second", number=2)
    assert world.component("claude").state == "healthy"
    assert [call.outcome for call in world.store.calls.calls_of(GUID)] == ["invalid", "invalid"]


def test_outage_before_the_correction_does_not_repeat_the_first_call(
    make_world: MakeWorld,
) -> None:
    world = make_world(INVALID, CLAUDE_DOWN, BUG)
    world.accept()
    assert world.run() is None
    world.advance(60)
    world.run()
    assert world.row().state == "done"
    assert [correction is None for correction in world.claude.corrections] == [True, False, False]


def test_defect_is_retried_and_does_not_end_the_worker(make_world: MakeWorld) -> None:
    world = make_world()

    def fail(_call: str) -> None:
        raise AssertionError

    world.github.on_call = fail
    world.accept()
    assert world.run() is None
    assert (
        world.row().reason
        == "defect in HLS, please report it: AssertionError (the log has the trace)"
    )


@pytest.mark.parametrize(
    ("change", "state", "reason"),
    [
        ({"state": "closed"}, "superseded", "is closed"),
        ({"locked": True}, "ignored", "is locked"),
    ],
)
def test_closed_or_locked_conversation_is_not_processed(
    make_world: MakeWorld, change: dict[str, object], state: str, reason: str
) -> None:
    world = make_world()
    world.accept()
    world.github.put_issue(replace(ISSUE, **change))  # type: ignore[arg-type]
    finished = world.finish()
    assert finished.state == state
    assert reason in finished.reason
    assert world.claude.asked == []
    assert world.store.statistics.counters().get(("ignored", "conversation locked"), 0) == (
        state == "ignored"
    )


ISSUE_CALL = "/repos/Codertocat/Hello-World/issues/1"


@pytest.mark.parametrize(
    ("call_name", "call", "is_gone", "shows_repository", "state", "repository_reads"),
    [
        ("GET /issues/1", f"GET {ISSUE_CALL}", True, False, "ignored", 0),
        ("GET /issues/1", f"GET {ISSUE_CALL}", False, True, "ignored", 1),
        ("GET /issues/1", f"GET {ISSUE_CALL}", False, False, "dead", 1),
        ("GET /issues/1", f"GET {ISSUE_CALL}2", True, True, "dead", 0),
        ("POST /issues/1/labels", f"POST {ISSUE_CALL}/labels", False, True, "dead", 0),
    ],
    ids=["410", "404", "404 of the repository, too", "of another issue", "404 of a write"],
)
def test_deleted_issue_is_ignored(
    make_world: MakeWorld,
    call_name: str,
    call: str,
    is_gone: bool,
    shows_repository: bool,
    state: str,
    repository_reads: int,
) -> None:
    world = make_world()
    world.accept()
    if not shows_repository:
        world.github.fail(404, "GET ^/$")

    def fail(what: str) -> None:
        if what == call_name:
            raise NotFound(f"{call}: Not Found", call=call, is_gone=is_gone)

    world.github.on_call = fail
    reasons = {
        "ignored": "Codertocat/Hello-World#1 was deleted",
        "dead": f"{call}: Not Found",
    }
    assert world.run() == Ended(GUID, state, reasons[state])
    assert world.github.calls.count("GET /") == repository_reads
    counters = world.store.statistics.counters()
    assert counters.get(("ignored", "conversation deleted"), 0) == (state == "ignored")


@pytest.mark.parametrize(
    ("call_name", "claude_calls", "is_labelled"),
    [("GET /pulls/2/files", 0, False), ("ask", 1, False), ("POST /issues/2/labels", 1, True)],
    ids=["before Claude is asked", "while Claude thinks", "between labels and comment"],
)
def test_newer_push_supersedes_the_running_delivery(
    make_world: MakeWorld, call_name: str, claude_calls: int, is_labelled: bool
) -> None:
    world = make_world(pull_request_analysis(findings=[finding()]))
    world.open_pull_request(head_sha="a" * 40)

    def push(what: str) -> None:
        if what == call_name:
            world.accept(
                "pull_request.opened", guid="newer", head_sha="c0ffee", action="synchronize"
            )

    world.github.on_call = world.claude.on_call = push
    assert world.run() == Ended(GUID, "superseded", "a newer push came meanwhile: c0ffee")
    assert world.github.comments == {}
    assert (len(world.claude.asked), bool(world.github.labels)) == (claude_calls, is_labelled)
    assert world.row("newer").state == "queued"


def test_retried_older_event_does_not_overwrite_a_newer_result(make_world: MakeWorld) -> None:
    world = make_world(
        BUG, BUG.model_copy(update={"recommended_response": "The guide says committ, too."})
    )
    world.accept()
    world.github.fail(403, "POST /issues/1/labels")
    assert world.finish().state == "dead"
    world.github.put_issue(replace(ISSUE, body="The guide, too."))
    world.process(guid="newer", action="edited")
    labels, comments = dict(world.github.labels), dict(world.github.comments)
    assert "The guide says committ, too." in comments[1]
    world.store.queue.retry(GUID)
    assert world.run() == Ended(
        GUID, "superseded", "a newer event of this conversation was answered meanwhile"
    )
    assert (world.github.labels, world.github.comments) == (labels, comments)
    assert len(world.claude.asked) == 2


@pytest.mark.parametrize(
    ("feature", "labels", "comments"),
    [("auto_labeling", False, True), ("auto_commenting", True, False)],
)
def test_labels_and_comments_are_switched_off_separately(
    make_world: MakeWorld, feature: str, labels: bool, comments: bool
) -> None:
    world = make_world(given=settings(features={feature: False}, labels={"issue_type": True}))
    body = recorded.load("issues.opened").body.replace(b'"type":"User"', b'"type":"Organization"')
    payload = json.loads(body)
    world.github.seed_event("issues", {**payload, "issue": {**payload["issue"], "labels": []}})
    finished = world.process(body=body)
    assert f"features.{feature}" in finished.reason
    github = world.github
    assert (
        bool(github.labels),
        bool(github.conversation(1).document.get("type")),
        bool(github.comments),
    ) == (
        labels,
        labels,
        comments,
    )


def test_rule_17_runs_over_the_hourly_limit_of_a_conversation_are_ignored(
    make_world: MakeWorld,
) -> None:
    world = make_world(
        given=settings(limits={"thread_runs_per_hour": 2}, features={"auto_labeling": False})
    )
    for n in range(3):
        world.accept(guid=f"{n}2d3162e-cc78-11e3-81ab-4c9367dc0958")
    finished = [world.run() for _ in range(3)]
    assert [end.state for end in finished if end] == ["done", "done", "ignored"]
    assert len(world.claude.asked) == 1  # the second reply came from the cache, and counts


def test_hourly_budget_delays_deliveries_and_degrades_health(make_world: MakeWorld) -> None:
    world = make_world(given=settings(claude={"calls_per_hour": 1}))
    world.accept()
    world.process(guid="second")
    world.github.put_issue(replace(ISSUE, body="The guide, too."))
    world.advance(1)
    assert world.run() is None
    row = world.row("second")
    assert (row.state, row.failures) == ("queued", 0)
    assert "claude.calls_per_hour" in (row.reason or "")
    assert world.component("claude").state == "degraded"
    world.advance(3600)
    assert world.run() is not None


def test_rule_10_credentials_are_redacted_in_prompts_and_checkpoints(
    make_world: MakeWorld,
) -> None:
    token = "ghp_" + "a1B2" * 9
    world = make_world()
    world.github.put_issue(replace(ISSUE, body=f"my token is {token}"))
    world.process()
    assert token not in world.claude.asked[0].task
    assert all(token not in step.value for step in world.store.checkpoints.load(GUID).values())


# Calls to Claude


def test_rule_10_unusable_reply_is_redacted_before_it_is_sent_back(
    make_world: MakeWorld,
) -> None:
    world = make_world(
        replace(INVALID, text='{"summary": "ghp_0123456789abcdefghijklmnopqrstuvwxyzAB'), BUG
    )
    world.accept()
    world.run()
    assert world.row().state == "done"
    assert [correction and correction.text for correction in world.claude.corrections] == [
        None,
        '{"summary": "[redacted: github-token]',
    ]


@pytest.mark.parametrize("structured_output", [True, False])
def test_service_that_may_not_enforce_the_schema_is_named(
    make_world: MakeWorld, structured_output: bool
) -> None:
    local = {
        "kind": "openai",
        "name": "local",
        "api_key": "k",
        "model": "m",
        "base_url": "https://llm.example.org/v1",
    }
    claude = {"api_key": "k", "fallbacks": [local | {"structured_output": structured_output}]}
    invalid = replace(INVALID, usage=replace(INVALID.usage, model="local/m"))
    world = make_world(invalid, invalid, given=settings(claude=claude))
    world.accept()
    key = "claude.fallbacks[0].structured_output"
    setting = f"set {key} to false if llm.example.org does not enforce the schema of replies, or "
    assert world.finish().reason.endswith(
        f"; {setting if structured_output else ''}check what prompts/issues/analyze.j2 asks for,"
        " then run it again"
    )


def test_issue_closed_during_an_outage_gets_no_comment(make_world: MakeWorld) -> None:
    world = make_world(CLAUDE_DOWN, BUG)
    world.accept()
    world.run()
    world.github.put_issue(replace(ISSUE, state="closed"))
    world.advance(60)
    finished = world.finish()
    assert finished.state == "superseded"
    assert world.github.comments == {}
