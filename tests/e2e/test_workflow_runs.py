"""Failed and cancelled workflow runs on the head of a pull request: requests, calls of Claude, and
the comment.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.objects import Job
from tests.e2e.conftest import MakeService
from tests.e2e.service import Service
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox

FULL_NAME = "Codertocat/Hello-World"
REPOSITORY = f"/repos/{FULL_NAME}"
HEAD = "d7a6e5f7fd70fc6d19584fbe682e1590fbeae450"
RUN = 19041222731


@dataclass(frozen=True)
class Runs:
    """The service, with a pull request whose head commit is tested."""

    service: Service
    sandbox: Sandbox

    def end(self, jobs: Sequence[Job], **changes: Any) -> list[str]:
        """End a run with these jobs, wait for its comment, and return the requests to GitHub."""
        before = len(self.sandbox.requests.all("github"))
        self.send(jobs, **changes)
        self.service.until_idle()
        sent = self.sandbox.requests.all("github")[before:]
        return [f"{one.method} {one.path}" for one in sent]

    def send(self, jobs: Sequence[Job], **changes: Any) -> None:
        payload: dict[str, Any] = dict(recorded.load("demo/tests-failed").payload)
        payload["workflow_run"] = {**payload["workflow_run"], **changes}
        state, number = self.sandbox.state, payload["workflow_run"]["id"]
        state.seed("workflow_run", payload)
        run = state.run(FULL_NAME, number)
        assert run is not None
        ended = replace(run, attempts=(replace(run.last, jobs=tuple(jobs)),))
        state.change(lambda world: world.with_run(ended))
        body = json.dumps(payload).encode()
        assert self.service.deliver("workflow_run", body).status in (200, 202)

    @property
    def comment(self) -> str:
        """The text of the comment about failed workflows; "" if there is none."""
        conversation = self.sandbox.state.conversation(FULL_NAME, 13)
        assert conversation is not None
        about = [one.body for one in conversation.comments if "hls:workflows" in one.body]
        return "\n".join(about)

    @property
    def asked(self) -> list[str]:
        """The questions to Claude about runs."""
        bodies = [json.dumps(one.body) for one in self.sandbox.requests.all("claude") if one.writes]
        return [body for body in bodies if "say why a workflow failed" in body]


@pytest.fixture
def runs(make_service: MakeService, sandbox: Sandbox) -> Runs:
    sandbox.state.seed("pull_request", recorded.load("demo/feature-push").payload)
    return Runs(make_service().start(), sandbox)


def make_job(
    number: int,
    name: str,
    *,
    conclusion: str = "failure",
    log: str | None = None,
    annotations: Iterable[str] = (),
) -> Job:
    """Return a job with one step, or without one if it has no log."""
    times = {"started_at": "2026-01-01T00:00:00Z", "completed_at": "2026-01-01T00:00:05Z"}
    step = {"number": 1, "name": "Run make", "status": "completed", "conclusion": conclusion}
    document = {
        **times,
        "id": number,
        "run_id": RUN,
        "run_attempt": 1,
        "head_sha": HEAD,
        "name": name,
        "status": "completed",
        "conclusion": conclusion,
        "created_at": times["started_at"],
        "steps": [] if log is None else [{**step, **times}],
    }
    notes = tuple(
        {
            "path": ".github",
            "start_line": 1,
            "end_line": 1,
            "annotation_level": "failure",
            "title": "",
            "message": message,
        }
        for message in annotations
    )
    return Job(document, log, notes)


NOT_PAID = (
    "The job was not started because recent account payments have failed "
    "or your spending limit needs to be increased."
)
DEPRECATED = (
    "This request has been automatically failed because it uses a deprecated version "
    "of `actions/upload-artifact: v3`."
)


def test_failed_job_without_a_log_is_explained_by_its_annotation_with_one_more_request(
    runs: Runs,
) -> None:
    sent = runs.end([make_job(1, "build", annotations=[NOT_PAID])])
    assert [one for one in sent if "/actions/jobs/" in one or "/annotations" in one] == [
        f"GET {REPOSITORY}/actions/jobs/1/logs",
        f"GET {REPOSITORY}/check-runs/1/annotations",
    ]
    assert len(runs.asked) == 1
    assert f"/job/1): `Error: {NOT_PAID}`" in runs.comment
    assert "A guess" not in runs.comment


def test_annotation_with_code_is_quoted(runs: Runs) -> None:
    runs.end([make_job(1, "build", annotations=[DEPRECATED])])
    assert "automatically failed because it uses a deprecated version of" in runs.comment


def stamped(*lines: str) -> str:
    return "".join(f"2026-01-01T00:00:0{at % 5}.0000000Z {line}\n" for at, line in enumerate(lines))


CANCELLED = "##[error]The operation was canceled."
TIMED_OUT = (
    "##[error]The job running on runner GitHub Actions 12 has exceeded "
    "the maximum execution time of 30 minutes."
)


def test_run_that_ran_out_of_time_is_explained_although_github_concludes_it_as_cancelled(
    runs: Runs,
) -> None:
    log = stamped("##[group]Run npm test", "##[endgroup]", "still waiting", TIMED_OUT, CANCELLED)
    runs.end([make_job(1, "test", conclusion="cancelled", log=log)], conclusion="cancelled")
    assert "has exceeded the maximum execution time of 30 minutes" in runs.comment
    assert len(runs.asked) == 1


def test_run_that_somebody_cancelled_stays_silent(runs: Runs) -> None:
    log = stamped("##[group]Run npm test", "##[endgroup]", "still waiting", CANCELLED)
    runs.end([make_job(1, "test", conclusion="cancelled", log=log)], conclusion="cancelled")
    assert (runs.comment, runs.asked) == ("", [])


def test_cancelled_run_of_an_older_commit_stays_silent_after_one_request(runs: Runs) -> None:
    log = stamped("still waiting", TIMED_OUT, CANCELLED)
    runs.end([], conclusion="success")  # reads the account and the settings
    sent = runs.end(
        [make_job(1, "test", conclusion="cancelled", log=log)],
        conclusion="cancelled",
        id=RUN + 1,
        head_sha="0" * 40,
    )
    assert sent == [f"GET {REPOSITORY}/pulls"]
    assert (runs.comment, runs.asked) == ("", [])


def test_error_of_twelve_shards_is_asked_about_once_and_beside_that_of_another_job(
    runs: Runs,
) -> None:
    broken = stamped(
        "##[group]Run make",
        "##[endgroup]",
        "E   DatabaseError: no connection",
        "##[error]It failed.",
    )
    other = stamped("##[group]Run make", "##[endgroup]", "a.c:3:1: error: unknown type name 'x'")
    shards = [make_job(number, f"test ({number})", log=broken) for number in range(1, 13)]
    runs.end([*shards, make_job(50, "lint", log=other)])
    (question,) = runs.asked
    assert question.count("E   DatabaseError: no connection") == 1
    assert question.count("a.c:3:1: error: unknown type name") == 1
    assert "The same error as in step 1" in question
    assert "Not read: 3 more failed jobs." in runs.comment


def test_runs_of_push_and_pull_request_that_end_at_once_are_asked_about_once(runs: Runs) -> None:
    slow = Fault(effect="slow", stand_in="claude", path="/v1/messages", times=None, seconds=1.0)
    runs.sandbox.faults.add(slow)
    log = stamped(
        "##[group]Run make",
        "##[endgroup]",
        "E   assert 3 == 4",
        "FAILED tests/test_area.py::test_area",
    )
    runs.send([make_job(1, "test", log=log)], id=RUN, run_number=412, event="push")
    runs.send([make_job(2, "test", log=log)], id=RUN + 1, run_number=411, event="pull_request")
    runs.service.until_idle()
    assert len(runs.asked) == 1
    first, second = sorted(
        runs.comment.split("<!-- hls:section ")[1:], key=lambda one: "also in run" in one
    )
    assert "It ends with an error: `assert 3 == 4`." in first
    assert "Failed also in run 41" in second
    assert ": `E assert 3 == 4`" in second
