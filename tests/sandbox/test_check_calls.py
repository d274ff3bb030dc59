"""Check runs and commit statuses of the stand-in GitHub, with plain requests."""

from __future__ import annotations

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from tests.sandbox.conftest import REPOSITORY, ask, ask_github

SHA = "ec26c3e57ca3a959ca5aad62de7213c562f8c821"
STATUSES = f"/repos/{REPOSITORY}/statuses/{SHA}"


@pytest.fixture(autouse=True)
def pull_request(sandbox: Sandbox) -> None:
    opened = recorded.load("pull_request.opened")
    conversation = sandbox.state.seed(opened.event, opened.payload)
    assert conversation is not None
    assert conversation.head_sha == SHA


def test_token_cannot_create_a_check_run(sandbox: Sandbox) -> None:
    body = {"name": "HLS review", "head_sha": SHA}
    answer = ask_github(sandbox, "POST", f"/repos/{REPOSITORY}/check-runs", body)
    assert (answer.status, answer.document["message"]) == (403, "You must authenticate via a GitHub App.")


def test_last_status_of_each_context_is_combined(sandbox: Sandbox) -> None:
    states = [("a", "pending"), ("a", "success"), ("b", "success")]
    for context, state in states:
        assert ask_github(sandbox, "POST", STATUSES, {"state": state, "context": context}).status == 201
    combined = ask_github(sandbox, "GET", f"/repos/{REPOSITORY}/commits/{SHA}/status").document
    assert (combined["state"], combined["total_count"]) == ("success", 2)
    listed = ask_github(sandbox, "GET", f"/repos/{REPOSITORY}/commits/{SHA}/statuses").document
    assert [(one["context"], one["state"]) for one in listed] == [*reversed(states)]
    ask_github(sandbox, "POST", STATUSES, {"state": "error", "context": "b"})
    assert ask_github(sandbox, "GET", f"/repos/{REPOSITORY}/commits/{SHA}/status").document["state"] == "failure"


@pytest.mark.parametrize(
    "body",
    [
        {"state": "neutral"},
        {"state": "success", "description": "d" * 141},
        {"context": "HLS review"},
    ],
    ids=["neutral", "long description", "no state"],
)
def test_invalid_status_is_rejected(sandbox: Sandbox, body: object) -> None:
    assert ask_github(sandbox, "POST", STATUSES, body).status == 422


def test_page_of_a_pull_request_shows_its_checks_escaped(sandbox: Sandbox) -> None:
    body = {"state": "failure", "context": "HLS review", "description": "<b>1 of 2</b> files reviewed"}
    ask_github(sandbox, "POST", STATUSES, body)
    text = ask(sandbox.page_url, "GET", f"/{REPOSITORY}/pull/2").text
    assert '<span class="state failure">failure</span> <strong>HLS review</strong>' in text
    assert "&lt;b&gt;1 of 2&lt;/b&gt; files reviewed" in text
