"""Fault injection with real clients, and the request log."""

from __future__ import annotations

import json
import socket
import threading
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import anthropic
import github
import pytest
import requests

from hls_handler.sandbox.faults import Effect, Fault, StandIn
from hls_handler.sandbox.server import Sandbox
from tests.sandbox.conftest import REPOSITORY, ask_github, github_client
from tests.sandbox.test_claude import send, text_of

BASE = f"/repos/{REPOSITORY}"


def bodies(sandbox: Sandbox) -> list[str]:
    conversation = sandbox.state.conversation(REPOSITORY, 12)
    assert conversation is not None
    return [comment.body for comment in conversation.comments]


@pytest.mark.parametrize(("effect", "left"), [("drop", []), ("drop_after", ["Hello."])])
def test_drop_has_no_effect_and_drop_after_has_one(
    sandbox: Sandbox, hub: github.Github, effect: Effect, left: list[str]
) -> None:
    sandbox.faults.add(Fault(effect=effect, stand_in="github", method="POST"))
    issue = hub.get_repo(REPOSITORY).get_issue(12)
    with pytest.raises(requests.ConnectionError):
        issue.create_comment("Hello.")
    assert bodies(sandbox) == left
    issue.create_comment("Again.")
    assert bodies(sandbox) == [*left, "Again."]


@pytest.mark.parametrize(("effect", "left"), [("hang", []), ("hang_after", ["Hello."])])
def test_hang_and_hang_after_time_out(sandbox: Sandbox, hub: github.Github, effect: Effect, left: list[str]) -> None:
    impatient = github_client(sandbox, timeout=1)
    sandbox.faults.add(Fault(effect=effect, path="/comments$"))
    with pytest.raises(requests.ReadTimeout):
        impatient.get_repo(REPOSITORY).get_issue(12).create_comment("Hello.")
    impatient.close()
    assert bodies(sandbox) == left


def test_a_hanging_request_does_not_keep_the_sandbox_from_stopping() -> None:
    arrived = threading.Event()

    def clock() -> datetime:
        arrived.set()
        return datetime(2026, 11, 20, tzinfo=UTC)

    sandbox = Sandbox(clock=clock).start()
    arrived.clear()
    sandbox.faults.add(Fault(effect="hang", times=None))
    with socket.create_connection(("127.0.0.1", urlsplit(sandbox.page_url).port or 0), timeout=10) as caller:
        caller.sendall(b"GET /api/v3/user HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert arrived.wait(10)
        sandbox.stop()
        assert caller.recv(100) == b""


def test_an_incomplete_request_is_not_logged(sandbox: Sandbox, hub: github.Github) -> None:
    with socket.create_connection(("127.0.0.1", urlsplit(sandbox.page_url).port or 0), timeout=10) as caller:
        caller.sendall(
            f"POST /api/v3{BASE}/issues/12/comments HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            f'Authorization: token {sandbox.token}\r\nContent-Length: 30\r\n\r\n{{"body": '.encode()
        )  # and then its sender is killed
    assert ask_github(sandbox, "GET", "/user").status == 200
    assert bodies(sandbox) == []
    assert [(seen.method, seen.path) for seen in sandbox.requests.all()] == [("GET", "/user")]


def test_an_injected_status_has_its_headers_and_no_effect(sandbox: Sandbox, hub: github.Github) -> None:
    sandbox.faults.add(Fault(effect="status", status=429, headers={"Retry-After": "7"}, method="POST"))
    with pytest.raises(github.GithubException) as caught:
        hub.get_repo(REPOSITORY).get_issue(12).create_comment("Hello.")
    assert (caught.value.status, (caught.value.headers or {})["retry-after"]) == (429, "7")
    assert "secondary rate limit" in str(caught.value)
    assert bodies(sandbox) == []


@pytest.mark.parametrize(
    ("stand_in", "status", "expected"),
    [
        ("github", 401, {"message": "Bad credentials"}),
        ("github", 502, {"message": "Server Error"}),
        ("claude", 529, {"type": "overloaded_error"}),
        ("claude", 402, {"type": "billing_error"}),
        ("claude", 500, {"type": "api_error"}),
    ],
)
def test_an_injected_status_has_the_error_document_of_the_stand_in(
    sandbox: Sandbox, stand_in: StandIn, status: int, expected: dict[str, str]
) -> None:
    sandbox.faults.add(Fault(effect="status", status=status))
    address = f"{sandbox.github_url}/user" if stand_in == "github" else f"{sandbox.claude_url}/v1/models"
    answer = requests.get(address, timeout=5)
    document = answer.json() if stand_in == "github" else answer.json()["error"]
    assert answer.status_code == status
    assert expected.items() <= document.items()


def test_an_injected_body_is_sent_unchanged(sandbox: Sandbox) -> None:
    sandbox.faults.add(
        Fault(effect="status", status=503, body="<h1>Unicorn</h1>", headers={"content-type": "text/html"})
    )
    answer = requests.get(f"{sandbox.github_url}/user", timeout=5)
    assert (answer.status_code, answer.text, answer.headers["content-type"]) == (503, "<h1>Unicorn</h1>", "text/html")


def test_garbage_is_200_with_invalid_json_after_the_effect(sandbox: Sandbox, hub: github.Github) -> None:
    sandbox.faults.add(Fault(effect="garbage"))
    answer = ask_github(sandbox, "POST", f"{BASE}/issues/12/comments", {"body": "Hello."})
    assert answer.status == 200
    with pytest.raises(json.JSONDecodeError):
        _ = answer.document
    assert bodies(sandbox) == ["Hello."]


def test_a_slow_response_is_otherwise_unchanged(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(effect="slow", seconds=0.01))
    assert ask_github(sandbox, "GET", "/user").status == 200
    assert [seen.fault for seen in sandbox.requests.all()] == ["slow"]


@pytest.mark.parametrize(
    ("effect", "stop_reason"),
    [
        ("truncated", "max_tokens"),
        ("refusal", "refusal"),
        ("wrong_schema", "end_turn"),
        ("empty", "end_turn"),
        ("paused", "pause_turn"),
    ],
)
def test_faults_of_claude_change_the_reply(
    sandbox: Sandbox, claude: anthropic.Anthropic, effect: Effect, stop_reason: str
) -> None:
    right = text_of(send(claude))
    sandbox.faults.add(Fault(effect=effect, stand_in="claude"))
    message = send(claude)
    assert message.stop_reason == stop_reason
    assert message.usage.output_tokens > 0
    assert (
        text_of(message)
        == {
            "truncated": right[: len(right) // 2],
            "refusal": "",
            "wrong_schema": '{"unexpected": "this does not match the schema"}',
            "empty": "",
            "paused": right,
        }[effect]
    )
    assert text_of(send(claude)) == right


def test_connections_and_json_of_claude_can_be_broken(sandbox: Sandbox, claude: anthropic.Anthropic) -> None:
    sandbox.faults.add(Fault(effect="drop", stand_in="claude"))
    sandbox.faults.add(Fault(effect="garbage", stand_in="claude"))
    with pytest.raises(anthropic.APIConnectionError):
        send(claude)
    with pytest.raises(json.JSONDecodeError):
        send(claude)


# --- what was seen ---------------------------------------------------------------------------------------------------


def test_every_request_is_logged_without_secrets(sandbox: Sandbox, hub: github.Github) -> None:
    issue = hub.get_repo(REPOSITORY).get_issue(12)
    issue.add_to_labels("bug")
    ask_github(sandbox, "DELETE", f"{BASE}/issues/12/labels/type%2Ffeature?x=1&y=")
    added, deleted = sandbox.requests.all()
    assert (added.stand_in, added.method, added.path, added.status, added.fault) == (
        "github",
        "POST",
        f"{BASE}/issues/12/labels",
        200,
        None,
    )
    assert added.body == ["bug"]
    assert added.headers["authorization"] == "***"
    assert added.headers["x-github-api-version"] == "2022-11-28"
    assert (deleted.path, deleted.query, deleted.status, deleted.body) == (
        f"{BASE}/issues/12/labels/type%2Ffeature",
        {"x": "1", "y": ""},
        404,
        None,
    )
    assert sandbox.token not in json.dumps([seen.document() for seen in sandbox.requests.all()])


def test_requests_are_logged_by_stand_in(sandbox: Sandbox, hub: github.Github, claude: anthropic.Anthropic) -> None:
    _ = hub.get_user().login
    send(claude)
    assert [(seen.path, seen.writes) for seen in sandbox.requests.all("github")] == [("/user", False)]
    (asked,) = sandbox.requests.all("claude")
    body: Any = asked.body
    assert (asked.path, body["model"], asked.headers["authorization"]) == ("/v1/messages", "claude-haiku-5-5", "***")
    assert len(sandbox.requests.all()) == 2


def test_a_request_without_a_response_is_logged_with_its_fault(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(effect="drop_after"))
    with pytest.raises(requests.ConnectionError):
        requests.post(f"{sandbox.github_url}/user", data=b"no json", timeout=5)
    (seen,) = sandbox.requests.all()
    assert (seen.status, seen.fault, seen.body) == (None, "drop_after", "no json")
