"""Issues, questions and pull requests from recorded payloads, with the real process and clients."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from hls_handler.batches import past
from hls_handler.batches.recorded import BatchPrompt
from hls_handler.engine.library import load_checked
from hls_handler.prompting import recorded
from hls_handler.settings.load import load_settings
from hls_handler.store.storage import Storage
from tests.e2e.conftest import MakeService, Shared
from tests.e2e.service import SECRET, Service, wait_for_batch
from tests.github_fake.faults import Fault
from tests.github_fake.server import Sandbox

pytestmark = pytest.mark.smoke

REPOSITORY = "Codertocat/Hello-World"
BUG, QUESTION, FEATURE = 11, 12, 13


def send(service: Service, sandbox: Sandbox, name: str) -> str:
    """Seed the sandbox, deliver the event, wait until it is processed, and return the status of the
    response.
    """
    payload = recorded.load(name)
    sandbox.state.seed(payload.event, payload.payload)
    answer = service.deliver(payload.event, recorded.unique(payload.body))
    service.until_idle()
    return str(answer.body["status"])


def test_an_issue_gets_labels_and_one_comment(shared: Shared) -> None:
    assert send(shared.service, shared.sandbox, "demo/bug") == "queued"
    conversation = shared.sandbox.conversation(BUG)
    assert set(conversation.labels) >= {"bug", "priority-high", "difficulty-moderate"}
    assert len(conversation.comments) == 1
    assert conversation.comments[0].author.login == "hls-bot"
    assert conversation.comments[0].body.endswith("<!-- hls:issues -->")


def test_a_push_edits_the_pull_requests_comment_in_place(shared: Shared) -> None:
    send(shared.service, shared.sandbox, "demo/feature")
    before = shared.sandbox.conversation(FEATURE)
    assert set(before.labels) == {"size/medium", "type/feature"}
    assert f"/blob/{before.head_sha}/" in before.comments[0].body
    send(shared.service, shared.sandbox, "demo/feature-push")
    after = shared.sandbox.conversation(FEATURE)
    assert after.head_sha != before.head_sha
    assert [comment.id for comment in after.comments] == [before.comments[0].id]
    assert f"/blob/{after.head_sha}/" in after.comments[0].body


def test_a_try_of_an_unchanged_prompt_gets_the_posted_replies(
    shared: Shared,
) -> None:
    for name in (
        "demo/feature",
        "demo/feature-push",
        "demo/lint-failed",
        "demo/tests-failed",
        "demo/review",
    ):
        send(shared.service, shared.sandbox, name)
    approval = recorded.load("demo/review").payload
    approval["review"] |= {"state": "approved", "body": "Fine."}
    # whose part of the comment is empty
    second = {
        **approval["review"],
        "user": {"login": "second", "id": 4711},
    }
    # the other one removes the last part
    for number, review in enumerate((second, approval["review"])):
        given = {**approval, "review": {**review, "id": 4711 + number}}
        shared.sandbox.state.seed("pull_request_review", given)
        shared.service.deliver("pull_request_review", recorded.unique(json.dumps(given).encode()))
        shared.service.until_idle()
    settings = load_settings(shared.service.settings, {}, dotenv=None)
    library = load_checked(settings)
    with closing(Storage.open(shared.service.storage_url)) as store:
        for prompt, number in (("workflows/analyze", 2), ("reviews/analyze", 3)):
            asked = BatchPrompt(prompt, library.prompts[prompt].id, library.sources[prompt])
            preview = past.plan(store, settings, asked, last=9, max_usd=1.0)
            batch = store.batches.begin(
                preview.new, preview.subjects, by="mona", facts=preview.facts
            )
            begun = store.batches.find(batch)
            assert begun is not None
            wait_for_batch(store, begun)
            result = past.load_result(store, store.batches.load_progress(begun))
            assert (len(result.replies), result.different, dict(result.failed)) == (number, 0, {})


def test_rule_19_secrets_are_in_no_log_response_or_row(shared: Shared) -> None:
    send(shared.service, shared.sandbox, "demo/bug")
    answers = [json.dumps(shared.service.get(path).body) for path in ("/health", "/stats")]
    file = Path(shared.service.storage_url.removeprefix("sqlite:///"))
    database = b"".join(path.read_bytes() for path in file.parent.glob(f"{file.name}*"))
    for secret in (shared.sandbox.token, shared.sandbox.api_key, SECRET):
        assert secret not in shared.service.log.read_text()
        assert secret.encode() not in database
        assert not any(secret in answer for answer in answers)


def test_every_recorded_event_is_answered_without_errors_in_the_log(shared: Shared) -> None:
    payloads = {payload.event: payload for payload in map(recorded.load, recorded.names())}
    assert len(payloads) == 58
    for payload in payloads.values():
        answer = shared.service.deliver(payload.event, recorded.unique(payload.body))
        assert answer.status in (200, 202), (payload.name, answer)
        assert answer.body["status"] != "ignored" or answer.body["reason"], payload.name
    shared.service.until_idle()
    lines = [json.loads(line) for line in shared.service.log.read_text().splitlines()]
    assert [line for line in lines if "exc_info" in line or "stack_trace" in line] == []


def test_without_async_processing_the_response_has_the_outcome(
    make_service: MakeService, sandbox: Sandbox
) -> None:
    service = make_service(more="features: {async_processing: false}").start()
    payload = recorded.load("demo/bug")
    sandbox.state.seed(payload.event, payload.payload)
    answer = service.deliver(payload.event, payload.body)
    assert (answer.status, answer.body["status"]) == (200, "processed")
    gone = recorded.load("demo/question")  # not planted: GitHub says 404
    answer = service.deliver(gone.event, gone.body)
    assert (answer.status, answer.body["status"]) == (200, "ignored")
    assert answer.body["reason"] == "Codertocat/Hello-World#12 was deleted"
    sandbox.faults.add(Fault(effect="status", path="/issues/", status=403))
    answer = service.deliver(payload.event, recorded.unique(payload.body))
    assert (answer.status, answer.body["status"]) == (200, "failed")
    assert "403" in answer.body["reason"]
