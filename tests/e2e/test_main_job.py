"""Issues, questions and pull requests from recorded payloads, with the real process and clients."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from urllib.parse import urlencode

from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from tests.e2e.conftest import MakeService
from tests.e2e.service import Service, signed

REPOSITORY = "Codertocat/Hello-World"
BUG, QUESTION, FEATURE = 11, 12, 13


def send(service: Service, sandbox: Sandbox, name: str) -> str:
    """Seed the sandbox, deliver the event, wait until it is processed, and return the status of the response."""
    payload = recorded.load(name)
    sandbox.state.seed(payload.event, payload.payload)
    answer = service.deliver(payload.event, recorded.unique(payload.body))
    service.until_idle()
    return str(answer.body["status"])


def test_an_issue_gets_labels_and_one_comment(service: Service, sandbox: Sandbox) -> None:
    assert send(service, sandbox, "demo/bug") == "queued"
    conversation = sandbox.state.conversation(REPOSITORY, BUG)
    assert conversation is not None
    assert set(conversation.labels) >= {"bug", "priority-high", "difficulty-moderate"}
    assert len(conversation.comments) == 1
    assert conversation.comments[0].author.login == "hls-bot"
    assert conversation.comments[0].body.endswith("<!-- hls:issues -->")


def test_a_question_is_answered_by_one_call(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/question")
    conversation = sandbox.state.conversation(REPOSITORY, QUESTION)
    assert conversation is not None
    assert "question" in conversation.labels
    assert len(conversation.comments) == 1
    assert conversation.comments[0].body.startswith("What you can try first: `DATABASE_URL`.")
    assert sum(request.writes for request in sandbox.requests.all("claude")) == 1


def test_a_push_edits_the_pull_requests_comment_in_place(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/feature")
    before = sandbox.state.conversation(REPOSITORY, FEATURE)
    assert before is not None
    assert set(before.labels) == {"size/medium", "type/feature"}
    assert f"/blob/{before.head_sha}/" in before.comments[0].body
    send(service, sandbox, "demo/feature-push")
    after = sandbox.state.conversation(REPOSITORY, FEATURE)
    assert after is not None
    assert after.head_sha != before.head_sha
    assert [comment.id for comment in after.comments] == [before.comments[0].id]
    assert f"/blob/{after.head_sha}/" in after.comments[0].body


def test_a_repeated_id_is_a_duplicate_and_a_repeated_body_a_replay(service: Service, sandbox: Sandbox) -> None:
    payload = recorded.load("demo/bug")
    sandbox.state.seed(payload.event, payload.payload)
    first = service.deliver(payload.event, payload.body, guid="72d3162e-cc78-11e3-81ab-4c9367dc0958")
    service.until_idle()
    again = service.deliver(payload.event, payload.body, guid="72d3162e-cc78-11e3-81ab-4c9367dc0958")
    copy = service.deliver(payload.event, payload.body, guid="99999999-cc78-11e3-81ab-4c9367dc0958")
    assert (first.status, first.body["status"]) == (202, "queued")
    assert (again.status, again.body["status"], again.body["state"]) == (200, "duplicate", "done")
    assert (copy.status, copy.body["reason"]) == (200, "replay of 72d3162e-cc78-11e3-81ab-4c9367dc0958")


def test_stats_match_the_database_after_a_restart(service: Service, sandbox: Sandbox) -> None:
    send(service, sandbox, "demo/bug")
    send(service, sandbox, "demo/feature")
    before = service.get("/stats").body
    with closing(http.client.HTTPConnection("127.0.0.1", service.port, timeout=30)) as connection:
        connection.request("GET", "/log/events")
        live_log = connection.getresponse()
        assert service.stop() == 0
        assert live_log.read().count(b"delivery finished") == 2  # a stream that the stop cut off would raise an error
    service.start()
    after = service.get("/stats").body
    stored = ("total_webhooks", "successful_processing", "failed_processing", "events_by_type", "tokens", "cost_usd")
    assert {key: after[key] for key in stored} == {key: before[key] for key in stored}
    assert before["total_webhooks"] == 2
    assert before["successful_processing"] == 2
    assert before["events_by_type"] == {"issues.opened": 1, "pull_request.opened": 1}


def test_a_dry_run_writes_nothing_to_github(make_service: MakeService, sandbox: Sandbox) -> None:
    service = make_service(more="features: {dry_run: true}").start()
    send(service, sandbox, "demo/bug")
    conversation = sandbox.state.conversation(REPOSITORY, BUG)
    assert conversation is not None
    assert (conversation.labels, conversation.comments) == ((), ())
    assert [request for request in sandbox.requests.all("github") if request.writes] == []
    assert service.get("/stats").body["successful_processing"] == 1


def test_labels_and_comments_can_be_disabled_separately(make_service: MakeService, sandbox: Sandbox) -> None:
    service = make_service(more="features: {auto_labeling: false}").start()
    send(service, sandbox, "demo/bug")
    conversation = sandbox.state.conversation(REPOSITORY, BUG)
    assert conversation is not None
    assert (conversation.labels, len(conversation.comments)) == ((), 1)
    service.stop()
    service = make_service(more="features: {auto_commenting: false}").start()
    send(service, sandbox, "demo/question")
    conversation = sandbox.state.conversation(REPOSITORY, QUESTION)
    assert conversation is not None
    assert ("question" in conversation.labels, len(conversation.comments)) == (True, 0)


def test_without_async_processing_the_response_has_the_outcome(make_service: MakeService, sandbox: Sandbox) -> None:
    service = make_service(more="features: {async_processing: false}").start()
    payload = recorded.load("demo/bug")
    sandbox.state.seed(payload.event, payload.payload)
    answer = service.deliver(payload.event, payload.body)
    assert (answer.status, answer.body["status"]) == (200, "processed")
    gone = recorded.load("demo/question")  # not planted: GitHub says 404
    answer = service.deliver(gone.event, gone.body)
    assert (answer.status, answer.body["status"]) == (200, "failed")
    assert "404" in answer.body["reason"]


def test_form_encoded_webhooks_are_accepted(service: Service, sandbox: Sandbox) -> None:
    payload = recorded.load("demo/bug")
    sandbox.state.seed(payload.event, payload.payload)
    body = urlencode({"payload": payload.body.decode()}).encode()
    answer = service.request(
        "POST",
        "/webhook",
        body,
        {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-GitHub-Event": "issues",
            "X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
            "X-Hub-Signature-256": signed(body),
        },
    )
    assert answer.status == 202
    service.until_idle()
    conversation = sandbox.state.conversation(REPOSITORY, BUG)
    assert conversation is not None
    assert len(conversation.comments) == 1


def test_every_recorded_payload_is_answered_without_errors_in_the_log(service: Service) -> None:
    statuses: dict[str, int] = {}
    for name in recorded.names():
        payload = recorded.load(name)
        answer = service.deliver(payload.event, payload.body)
        assert answer.status in (200, 202), (name, answer)
        assert answer.body["status"] != "ignored" or answer.body["reason"], name
        statuses[answer.body["status"]] = statuses.get(answer.body["status"], 0) + 1
    service.until_idle(within_s=120)
    assert sum(statuses.values()) == len(recorded.names()) >= 329
    assert statuses["pong"] == 4
    lines = [json.loads(line) for line in service.log.read_text().splitlines()]
    assert [line for line in lines if "exc_info" in line or "stack_trace" in line] == []
