"""Workflow runs, releases and comments for the tests of handlers, and events about them."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hls_handler.analysis import CommentReply, ReleaseAnalysis, WorkflowAnalysis
from hls_handler.events import Account, CheckRun, Comment, Event, Issue, Release, WorkflowRun
from hls_handler.github.values import WorkflowJob, WorkflowStep
from hls_handler.handlers.reader import Failure
from tests.handlers.world import MONA, ZOE, event, issue

START = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)

RUN = WorkflowRun(
    id=70,
    name="Tests",
    workflow_id=5,
    path=".github/workflows/tests.yml",
    run_number=41,
    run_attempt=1,
    event="pull_request",
    status="completed",
    conclusion="failure",
    head_sha="0123456789abcdef0123456789abcdef01234567",
    head_branch="fix",
    head_owner="mona",
    head_repository="mona/hello",
    actor=MONA,
    triggering_actor=MONA,
    html_url="https://github.com/octo/hello/actions/runs/70",
    pull_request_numbers=(),
)


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def step(number: int, name: str, conclusion: str = "success") -> WorkflowStep:
    """A step of nine seconds; `number` determines when it starts."""
    return WorkflowStep(number, name, conclusion, at(10 * number), at(10 * number + 9))


def job(
    job_id: int = 700, name: str = "test", conclusion: str | None = "failure", **known: Any
) -> WorkflowJob:
    steps = (step(1, "Set up job"), step(2, "Run pytest", "failure"), step(3, "Upload", "skipped"))
    plain = WorkflowJob(
        job_id,
        name,
        conclusion,
        f"https://github.com/octo/hello/actions/runs/70/job/{job_id}",
        steps,
    )
    return replace(plain, **known)


LOG = """2026-11-20T09:00:10.0000000Z Current runner version: '2.330.0'
2026-11-20T09:00:20.0000000Z ##[group]Run pytest
2026-11-20T09:00:20.1000000Z ##[endgroup]
2026-11-20T09:00:22.0000000Z E       assert area(2) == 4
2026-11-20T09:00:23.0000000Z tests/test_area.py:7: AssertionError
2026-11-20T09:00:24.0000000Z ##[error]Process completed with exit code 1."""


def failure(**known: Any) -> Failure:
    plain = Failure(5, 70, 1, "test", "Run pytest", "mona:fix", RUN.head_sha)
    return replace(plain, **known)


CHECK = CheckRun(
    id=90,
    head_sha=RUN.head_sha,
    pull_request_numbers=(8,),
    name="quality",
    conclusion="failure",
    html_url="https://a.example/90",
    app_id=3,
    app="Sonar",
    branch="fix",
    title="1 new issue",
    summary="The quality gate failed.\nCoverage is 61 %, and 80 % are required.",
    text="",
    annotations_count=1,
    completed_at=at(0),
)


def check_event(check: CheckRun) -> Event:
    return replace(
        event(issue()), name="check_run", action="completed", issue=None, check_run=check
    )


def run_event(run: WorkflowRun) -> Event:
    base = event(issue())
    return replace(base, name="workflow_run", action="completed", issue=None, workflow_run=run)


RELEASE = Release(
    501,
    "v1.4.0",
    "More",
    "There is more.",
    False,
    False,
    MONA,
    "https://github.com/r",
    at(0),
    "main",
)
ANNOUNCEMENT = ReleaseAnalysis(
    worth_saying=True, headline="More", announcement="There is more.", highlights=[]
)


def release_event(release: Release) -> Event:
    return replace(event(issue()), name="release", action="published", issue=None, release=release)


def comment(comment_id: int = 901, body: str = "@hls why is that?", user: Account = ZOE) -> Comment:
    return Comment(
        comment_id,
        user,
        body,
        "NONE",
        f"https://github.com/octo/hello/issues/7#{comment_id}",
        at(0),
    )


QUESTION = comment()
ANSWER = CommentReply(worth_saying=True, sources=[], answer="Read the guide.", certain=True)


def comment_event(added: Comment, on: Issue | None = None) -> Event:
    return replace(
        event(on or issue()),
        name="issue_comment",
        action="created",
        comment=added,
        sender=added.user,
    )


def workflow_analysis(**known: Any) -> WorkflowAnalysis:
    plain = {
        "worth_saying": True,
        "cause": "The area is wrong.",
        "quote": "E       assert area(2) == 4",
        "where": [{"path": "tests/test_area.py", "line": 7, "why": "It fails here."}],
        "advice": "",
    }
    return WorkflowAnalysis.model_validate({**plain, **known})
