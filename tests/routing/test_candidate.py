"""What routing knows of an event, at the door and in the worker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hls_handler.clients.drafts import marker
from hls_handler.errors import PayloadError
from hls_handler.events import NAMED_BY, Sip, SippedAccount, parse_event, sip
from hls_handler.routing import MARKER, Candidate, from_event, from_sip
from hls_handler.sandbox import recorded

THREADS = [name for name in recorded.names() if recorded.load(name).event in NAMED_BY]


def whole(event: str, payload: dict[str, Any]) -> Candidate:
    return from_event(parse_event(event, "guid", json.dumps(payload).encode()))


def test_recorded_events_of_threads_are_there() -> None:
    assert len(THREADS) > 60


@pytest.mark.parametrize("name", THREADS)
def test_door_and_worker_know_the_same_of_a_recorded_event(name: str) -> None:
    payload = recorded.load(name)
    at_the_door = from_sip(payload.event, sip(payload.body))
    assert at_the_door == from_event(parse_event(payload.event, "guid", payload.body))
    assert at_the_door.key == payload.key


def test_an_issue_is_known_by_its_title_labels_author_and_sender() -> None:
    body = {
        "action": "edited",
        "repository": {"id": 1, "full_name": "octo/hello"},
        "sender": {"login": "renovate[bot]", "id": 2, "type": "Bot"},
        "issue": {
            "number": 7,
            "title": "Crash",
            "labels": [{"name": "bug"}, {"name": "ui"}],
            "user": {"login": "mona", "id": 3, "type": "User"},
        },
        "changes": {"body": {"from": "x"}},
    }
    expected = Candidate(
        event="issues",
        action="edited",
        repository="octo/hello",
        sender="renovate[bot]",
        sender_is_bot=True,
        author="mona",
        author_is_bot=False,
        title="Crash",
        labels=("bug", "ui"),
        draft=False,
        changed=frozenset({"body"}),
    )
    assert from_sip("issues", sip(json.dumps(body).encode())) == expected
    assert whole("issues", body) == expected


@pytest.mark.parametrize("event", ["issues", "pull_request"])
@pytest.mark.parametrize("action", ["labeled", "unlabeled"])
def test_the_label_that_an_event_is_about_is_known(event: str, action: str) -> None:
    payload = recorded.load(f"{event}.{action}").payload
    payload["label"] = {"name": "Priority-High"}
    assert from_sip(event, sip(json.dumps(payload).encode())).label == "Priority-High"
    assert whole(event, payload).label == "Priority-High"
    payload["action"] = "edited"
    assert from_sip(event, sip(json.dumps(payload).encode())).label is None
    assert whole(event, payload).label is None
    payload = {**payload, "action": action, "label": None}
    assert from_sip(event, sip(json.dumps(payload).encode())).label is None
    assert whole(event, payload).label is None


def test_a_draft_pull_request_is_known_as_one() -> None:
    payload = recorded.load("pull_request.opened").payload
    assert isinstance(payload["pull_request"], dict)
    payload["pull_request"]["draft"] = True
    assert from_sip("pull_request", sip(json.dumps(payload).encode())).draft
    assert whole("pull_request", payload).draft


def test_an_event_without_anything_is_still_a_candidate() -> None:
    assert from_sip("meta", Sip()) == Candidate("meta", None, None, "", sender_is_bot=False)


@pytest.mark.parametrize(
    ("account", "is_bot"),
    [
        (SippedAccount("mona", "User"), False),
        (SippedAccount("acme", "Organization"), False),
        (SippedAccount("dependabot[bot]", "Bot"), True),
        (SippedAccount("old-app[bot]", "User"), True),
    ],
    ids=["person", "organization", "bot", "bot by name"],
)
def test_a_bot_is_known_by_type_or_by_name(account: SippedAccount, is_bot: bool) -> None:
    assert from_sip("push", Sip(sender=account)).sender_is_bot is is_bot


@pytest.mark.parametrize(
    ("part", "author", "marked"),
    [
        ({"comment": {"id": 5, "user": {"login": "hls", "id": 9}, "body": f"Hi\n\n{marker('issues')}"}}, "hls", True),
        ({"review": {"id": 1, "state": "approved", "user": {"login": "mona", "id": 3}, "body": "LGTM"}}, "mona", False),
        ({"review": {"id": 1, "state": "commented", "user": None, "body": None}}, None, False),
        ({}, None, False),
    ],
    ids=["our comment", "a review", "a ghost's", "none"],
)
def test_the_worker_knows_who_wrote_the_comment_that_an_event_is_about(
    part: dict[str, Any], author: str | None, marked: bool
) -> None:
    body = {"repository": {"id": 1, "full_name": "octo/hello"}, "action": "created", **part}
    known = whole("commit_comment", body)
    assert (known.comment_author, MARKER in known.comment_body) == (author, marked)


@pytest.mark.parametrize(
    "misfit",
    [
        {"body": [1]},
        {"title": 7},
        {"labels": {}},
        {"labels": ["bug"]},
        {"state": "merged"},
        {"locked": "perhaps"},
        {"user": {"login": "mona"}},
        {"user": {"id": 3, "login": None}},
        {"html_url": 0},
        {"author_association": None},
    ],
    ids=lambda misfit: str(misfit),
)
def test_what_the_worker_cannot_read_the_door_does_not_take(misfit: dict[str, Any]) -> None:
    payload = recorded.load("issues.opened").payload
    assert isinstance(payload["issue"], dict)
    payload["issue"] |= misfit
    body = json.dumps(payload).encode()
    with pytest.raises(PayloadError, match="the payload does not fit issues"):
        parse_event("issues", "guid", body)
    with pytest.raises(PayloadError, match="the payload does not have GitHub's shape"):
        sip(body)
