"""Two failed workflow runs of one commit, which two workers process at the same time."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from hls_handler.prompting import recorded
from tests.e2e.conftest import MakeService
from tests.e2e.service import Service
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox
from tests.handlers.conversation import job

REPOSITORY = "Codertocat/Hello-World"
FAILED = recorded.load("demo/tests-failed")


def test_runs_of_push_and_pull_request_that_end_at_once_are_asked_about_once(
    make_service: MakeService, sandbox: Sandbox
) -> None:
    def send_run(service: Service, sandbox: Sandbox, **changes: Any) -> None:
        """Let a run end, of which the job `test` failed."""
        payload = {**FAILED.payload, "workflow_run": {**FAILED.payload["workflow_run"], **changes}}
        sandbox.state.seed("workflow_run", payload)
        number = payload["workflow_run"]["id"]
        run = sandbox.state.run(REPOSITORY, number)
        assert run is not None
        failed = job(
            id=number % 10, run_id=number, run_attempt=1, head_sha=run.last.document["head_sha"]
        )
        ended = replace(run, attempts=(replace(run.last, jobs=(failed,)),))
        sandbox.state.change(lambda world: world.with_run(ended))
        assert service.deliver("workflow_run", json.dumps(payload).encode()).status == 202

    sandbox.state.seed("pull_request", recorded.load("demo/feature-push").payload)
    service = make_service().start()
    slow = Fault(effect="slow", stand_in="claude", path="/v1/messages", times=None, seconds=1.0)
    sandbox.faults.add(slow)
    send_run(service, sandbox, id=701, run_number=412, event="push")
    send_run(service, sandbox, id=702, run_number=411, event="pull_request")
    service.until_idle()
    asked = [one for one in sandbox.requests.all("claude") if one.writes]
    assert len(asked) == 1
    (comment,) = sandbox.conversation(13).comments
    first, second = sorted(
        comment.body.split("<!-- hls:section ")[1:], key=lambda one: "also in run" in one
    )
    assert "It ends with an error: `assert area(2) == 4`." in first
    assert "Failed also in run 41" in second
    assert ": `E assert area(2) == 4`" in second
