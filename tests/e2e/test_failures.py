"""Failures of GitHub and Claude: nothing is invented, duplicated or lost."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.faults import Fault
from hls_handler.sandbox.objects import Conversation
from hls_handler.sandbox.server import Sandbox
from hls_handler.store.statistics import DeliveryRow
from tests.e2e.conftest import MakeService
from tests.e2e.service import Service, Waiting

REPOSITORY = "Codertocat/Hello-World"
BUG = 11
GUID = "72d3162e-cc78-11e3-81ab-4c9367dc0958"


@pytest.fixture
def service(make_service: MakeService) -> Service:
    return make_service(more="").start()


def deliver_bug(service: Service, sandbox: Sandbox) -> None:
    payload = recorded.load("demo/bug")
    sandbox.state.seed(payload.event, payload.payload)
    assert service.deliver(payload.event, payload.body, guid=GUID).status == 202


def bug(sandbox: Sandbox) -> Conversation:
    conversation = sandbox.state.conversation(REPOSITORY, BUG)
    assert conversation is not None
    return conversation


def row(service: Service) -> DeliveryRow:
    with closing(service.open_store()) as store:
        found = store.deliveries.find(GUID)
    assert found is not None
    return found


def failed_once(service: Service) -> DeliveryRow:
    """Wait until the delivery has failed once or is finished."""
    waiting = Waiting(60)
    while waiting.more():
        found = row(service)
        if found.failures or found.state not in ("queued", "running"):
            return found
    raise AssertionError("the delivery neither failed nor finished")


def label_events(conversation: Conversation) -> list[str]:
    return sorted(event.detail for event in conversation.events if event.kind == "labeled")


def claude(effect: str, **more: Any) -> Fault:
    return Fault.model_validate({"effect": effect, "stand_in": "claude", "method": "POST", **more})


def github(effect: str, **more: Any) -> Fault:
    return Fault.model_validate({"effect": effect, "stand_in": "github", **more})


@pytest.mark.parametrize(
    "fault",
    [
        claude("status", status=429, headers={"retry-after": "1"}),
        claude("status", status=529),
        claude("status", status=500),
        claude("status", status=401),
        claude("garbage"),
        claude("drop"),
        claude("wrong_schema"),
        github("status", status=429, method="POST", headers={"retry-after": "1"}),
        github("status", status=502, method="POST"),
        github("status", status=422, method="POST", path="/labels$"),
        github("drop", method="GET", path="/issues/"),
        github("status", status=401, method="GET", path="/issues/"),
    ],
    ids=lambda fault: f"{fault.stand_in} {fault.effect} {fault.status if fault.effect == 'status' else ''}".strip(),
)
def test_a_temporary_failure_is_retried_without_duplicates(service: Service, sandbox: Sandbox, fault: Fault) -> None:
    sandbox.faults.add(fault)
    deliver_bug(service, sandbox)
    service.until_idle()
    assert row(service).state == "done"
    assert len(bug(sandbox).comments) == 1
    assert label_events(bug(sandbox)) == sorted(set(label_events(bug(sandbox))))


@pytest.mark.parametrize("path", ["/comments$", "/issues/11/labels$", "/labels$"])
@pytest.mark.parametrize("effect", ["drop_after", "garbage"])
def test_a_write_with_a_lost_response_is_not_repeated(
    service: Service, sandbox: Sandbox, effect: str, path: str
) -> None:
    sandbox.faults.add(github(effect, method="POST", path=path))
    deliver_bug(service, sandbox)
    service.until_idle()
    assert row(service).state == "done"
    assert len(bug(sandbox).comments) == 1
    assert label_events(bug(sandbox)) == sorted(bug(sandbox).labels)
    with closing(service.open_store()) as store:
        assert ("recovered_by_retry", "") in store.statistics.counters()


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (claude("refusal", times=None), "refus"),
        (claude("truncated", times=None), "max_tokens"),
        (claude("wrong_schema", times=None), "two replies"),
    ],
    ids=["refused", "truncated", "wrong schema"],
)
def test_an_unusable_reply_posts_nothing_and_is_a_dead_letter_with_reason(
    service: Service, sandbox: Sandbox, fault: Fault, reason: str
) -> None:
    sandbox.faults.add(fault)
    deliver_bug(service, sandbox)
    service.until_idle()
    dead = row(service)
    assert (dead.state, dead.analysis_status) == ("dead", "failed")
    assert reason in (dead.reason or "")
    assert (bug(sandbox).labels, bug(sandbox).comments) == ((), ())


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (github("status", method="GET", path="/issues/11", status=404, times=None), "404"),
        (github("status", method="GET", path="/issues/11", status=410, times=None), "410"),
        (
            github(
                "status",
                method="POST",
                path="/comments$",
                status=403,
                times=None,
                headers={"x-accepted-github-permissions": "issues=write"},
            ),
            "issues",
        ),
    ],
    ids=["not found", "gone", "no permission"],
)
def test_a_permanent_error_of_github_is_a_dead_letter_with_reason(
    service: Service, sandbox: Sandbox, fault: Fault, reason: str
) -> None:
    sandbox.faults.add(fault)
    deliver_bug(service, sandbox)
    service.until_idle()
    assert row(service).state == "dead"
    assert reason in (row(service).reason or "")
    assert bug(sandbox).comments == ()


def test_failed_posting_is_retried_without_another_call_to_claude(service: Service, sandbox: Sandbox) -> None:
    sandbox.faults.add(github("status", method="POST", path="/comments$", status=422, times=None))
    deliver_bug(service, sandbox)
    service.until_idle()
    dead = row(service)
    assert (dead.state, dead.analysis_status, dead.posting_status) == ("dead", "done", "failed")
    assert (dead.reason or "").startswith("failed 4 times (limits.max_attempts)")
    sandbox.faults.clear()
    payload = recorded.load("demo/bug")
    assert service.deliver(payload.event, payload.body, guid=GUID).body["status"] == "queued"
    service.until_idle()
    assert row(service).state == "done"
    assert len(bug(sandbox).comments) == 1
    assert sum(request.writes for request in sandbox.requests.all("claude")) == 1


def test_deliveries_wait_while_claude_is_down_and_health_has_a_remedy(service: Service, sandbox: Sandbox) -> None:
    sandbox.faults.add(claude("status", status=401, times=None))
    deliver_bug(service, sandbox)
    waits = failed_once(service)
    assert waits.state in ("queued", "running")  # it may already be tried again
    assert waits.attempts == 0
    health = service.get("/health")
    assert (health.status, health.body["status"]) == (200, "degraded")
    assert health.body["components"]["claude"]["state"] == "degraded"
    assert "claude.api_key" in health.body["components"]["claude"]["remedy"]
    sandbox.faults.clear()
    service.until_idle()
    assert service.get("/health").body["components"]["claude"]["state"] == "healthy"
    assert len(bug(sandbox).comments) == 1


def test_a_locked_issue_gets_no_comment(service: Service, sandbox: Sandbox) -> None:
    payload = recorded.load("demo/bug")
    locked = {**payload.payload["issue"], "locked": True}
    sandbox.state.seed(payload.event, {**payload.payload, "issue": locked})
    service.deliver(payload.event, payload.body, guid=GUID)
    service.until_idle()
    assert row(service).state == "ignored"
    assert "locked" in (row(service).reason or "")
    assert bug(sandbox).comments == ()


@pytest.mark.parametrize("effect", ["refusal", "truncated", "wrong_schema"])
def test_check_of_a_failed_review_ends_as_an_error(service: Service, sandbox: Sandbox, effect: str) -> None:
    sandbox.faults.add(claude(effect, times=None))
    payload = recorded.load("demo/feature")
    pull_request = sandbox.state.seed(payload.event, payload.payload)
    assert pull_request is not None
    service.deliver(payload.event, payload.body, guid=GUID)
    service.until_idle()
    assert row(service).state == "dead"
    waiting = Waiting(60)
    states: list[str] = []
    while waiting.more() and states != ["pending", "error"]:
        found = sandbox.state.world.statuses_on(REPOSITORY, pull_request.head_sha)
        states = [status["state"] for status in found]
    assert states == ["pending", "error"]
