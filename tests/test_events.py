"""Parsing of events: valid and invalid payloads."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import TypeAdapter

from hls_handler.errors import PayloadError
from hls_handler.events import Account, Comment, Release, WorkflowRun, parse_event
from hls_handler.prompting import recorded
from hls_handler.routing import parse_envelope


@pytest.mark.parametrize(
    "name",
    [
        "",
        "owner",
        "owner/..",
        "owner/./repo",
        "owner/repo\n",
        "owner/..\n",
        "owner/repo?x=1",
        "owner/%2e%2e",
        "owner/rep\u00f3",
    ],
)
def test_rule_13_event_with_invalid_repository_name_is_rejected(name: str) -> None:
    body = json.dumps(
        {"repository": {"id": 1, "full_name": name}, "sender": {"id": 1, "login": "octocat"}}
    )
    with pytest.raises(PayloadError) as rejected:
        parse_event("push", "guid", body.encode())
    problem = "repository.full_name: it must have the form owner/repo"
    assert str(rejected.value) == f"the payload does not fit the event push: {problem}"


REPOSITORY = {"id": 1, "full_name": "octo/widgets"}


def test_both_parsers_accept_a_deleted_sender() -> None:
    body = json.dumps({"repository": REPOSITORY, "sender": None}).encode()
    assert parse_envelope(body).sender is None
    assert parse_event("push", "guid", body).sender == Account(login="ghost", id=10137, type="User")


@pytest.mark.parametrize(
    ("event", "object_name"),
    [("issues", "issue"), ("pull_request", "pull_request")],
    ids=["issue", "pull request"],
)
def test_both_parsers_read_null_labels_as_no_labels(event: str, object_name: str) -> None:
    ends = {"head": {"sha": "1f0c"}, "base": {"sha": "2e1b"}}
    item = {
        "number": 7,
        "title": "Help",
        "labels": None,
        **(ends if event == "pull_request" else {}),
    }
    body = json.dumps({"repository": REPOSITORY, object_name: item}).encode()
    envelope, parsed = (
        parse_envelope(body).conversation,
        parse_event(event, "guid", body).conversation,
    )
    assert envelope is not None
    assert envelope.labels is None
    assert parsed is not None
    assert parsed.labels == ()


BARE_RUN = {"id": 5, "workflow_id": 8, "head_sha": "1f0c"}


def parse_run(**known: Any) -> WorkflowRun:
    body = {"repository": REPOSITORY, "workflow_run": {**BARE_RUN, **known}}
    run = parse_event("workflow_run", "guid", json.dumps(body).encode()).workflow_run
    assert run is not None
    return run


def test_run_with_only_the_required_fields_is_parsed() -> None:
    ghost = Account(login="ghost", id=10137, type="User")
    optional = (
        "name",
        "path",
        "run_attempt",
        "event",
        "status",
        "conclusion",
        "head_branch",
        "head_repository",
    )
    all_null = dict.fromkeys((*optional, "actor", "triggering_actor", "pull_requests"))
    for known in ({}, all_null):
        run = parse_run(**known)
        assert (run.id, run.workflow_id, run.head_sha) == (5, 8, "1f0c")
        assert (run.name, run.path, run.event, run.status, run.head_branch, run.html_url) == (
            "",
        ) * 6
        assert (run.run_number, run.run_attempt, run.pull_request_numbers) == (0, 1, ())
        assert (run.conclusion, run.head_owner, run.head_repository) == (None, None, None)
        assert run.actor == run.triggering_actor == ghost


def test_pull_requests_into_other_repositories_are_left_out() -> None:
    into = [
        (3, {"repo": {"id": 1}}),
        (4, {"repo": {"id": 2}}),
        (5, {"repo": None}),
        (6, {}),
        (7, None),
    ]
    assert parse_run(
        pull_requests=[{"number": n, "base": base} for n, base in into]
    ).pull_request_numbers == (3,)


@pytest.mark.parametrize(
    ("sent", "value"),
    [
        ("2026-11-02T10:24:55Z", datetime(2026, 11, 2, 10, 24, 55, tzinfo=UTC)),
        ("2026-11-02T11:24:55+01:00", datetime(2026, 11, 2, 10, 24, 55, tzinfo=UTC)),
        (None, None),
    ],
)
def test_times_are_aware_utc(sent: str | None, value: datetime | None) -> None:
    comment = TypeAdapter(Comment).validate_python({"id": 1, "created_at": sent})
    assert comment.created_at == value
    assert comment.created_at is None or comment.created_at.tzinfo is UTC
    assert (
        TypeAdapter(Release)
        .validate_python({"id": 1, "tag_name": "v1", "published_at": sent})
        .published_at
        == value
    )


def test_stored_values_are_read_by_their_own_names() -> None:
    for name in (
        "pull_request.opened",
        "demo/release",
        "demo/tests-failed",
        "issue_comment.created",
    ):
        event = parse_event(recorded.load(name).event, "guid", recorded.load(name).body)
        for value in (
            event.pull_request,
            event.issue,
            event.release,
            event.workflow_run,
            event.comment,
        ):
            stored: TypeAdapter[object] = TypeAdapter(type(value))
            assert stored.validate_json(stored.dump_json(value)) == value


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"])
def test_body_that_is_no_json_object_is_rejected(body: bytes) -> None:
    with pytest.raises(PayloadError, match="the body of the event push cannot be read"):
        parse_event("push", "guid", body)
