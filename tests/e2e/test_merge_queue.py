"""Checks on a commit of a merge queue and on the pull request of a bot, with a GitHub App."""

from __future__ import annotations

import json
from typing import Any

from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from tests.e2e.conftest import MakeService
from tests.e2e.service import Service
from tests.e2e.test_github_app import install, make_app_service
from tests.e2e.test_main_job import FEATURE

BOT: dict[str, Any] = {"login": "renovate[bot]", "id": 29139614, "type": "Bot"}
QUEUE = "c" * 40


def conclusions(sandbox: Sandbox, commit: str) -> list[str]:
    """Return the conclusions of the check runs on a commit, as their requests asked for them."""
    bodies = [request.body for request in sandbox.requests.all("github") if "/check-runs" in request.path]
    found = {str(body.get("external_id", "")): body for body in bodies if isinstance(body, dict)}
    return [
        str(body["conclusion"]) for body in found.values() if body.get("head_sha") == commit and "conclusion" in body
    ]


def deliver(service: Service, event: str, payload: dict[str, Any]) -> None:
    assert service.deliver(event, json.dumps(payload).encode()).status == 202
    service.until_idle()


def test_queue_and_bots_get_an_ended_check(make_service: MakeService, sandbox: Sandbox) -> None:
    app, installation = install(sandbox)
    service = make_app_service(make_service, sandbox, app)
    belongs = {"installation": {"id": installation.id}}
    by_bot = recorded.load("demo/feature").payload
    by_bot["pull_request"] |= {"user": BOT}
    sandbox.state.seed("pull_request", by_bot)
    deliver(service, "pull_request", {**by_bot, "sender": BOT, **belongs})
    assert conclusions(sandbox, by_bot["pull_request"]["head"]["sha"]) == ["neutral"]
    queue = {
        "action": "checks_requested",
        "merge_group": {
            "head_sha": QUEUE,
            "head_ref": f"refs/heads/gh-readonly-queue/main/pr-{FEATURE}-{'b' * 40}",
            "base_sha": "b" * 40,
        },
        "repository": by_bot["repository"],
        "sender": {"login": "github-merge-queue[bot]", "id": 9, "type": "Bot"},
        **belongs,
    }
    deliver(service, "merge_group", queue)
    assert conclusions(sandbox, QUEUE) == ["neutral"]  # the sandbox does not know the commits of the queue
    assert [one for one in sandbox.requests.all("claude") if one.writes] == []
