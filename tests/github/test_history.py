"""Reads of closed issues with their history over GraphQL, on the sandbox and on prepared
responses.
"""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest

from hls_handler.errors import DependencyDown, Permanent, StepFailed
from hls_handler.events import GHOST, Account
from hls_handler.github.api import GithubApi
from hls_handler.github.client import ReadOnlyGithub, connect_read_only
from hls_handler.github.history import WireHistories
from hls_handler.github.reader import GithubReader
from hls_handler.github.values import IssueHistory, LabelChange, Revision
from hls_handler.prompting import recorded
from hls_sandbox.server import TOKEN, Sandbox
from tests.batches.histories import MONA, TRIAGE_BOT, Past, Step, add_issue
from tests.contracts.github import violations
from tests.fake_server import FakeServer, Say
from tests.github.review_world import NOON, REPOSITORY, ReviewWorld, github_settings
from tests.github.test_review_queries import reader


def at(hour: int, minute: int = 0, second: int = 0) -> datetime:
    return datetime(2026, 11, 2, hour, minute, second, tzinfo=UTC)


def test_history_of_an_issue_takes_one_request(world: ReviewWorld) -> None:
    steps = [
        Step("edit", "It crashes with 3.2.", MONA),
        Step("rename", "Crash with 3.2", after_s=70),
        Step("labeled", "bug", TRIAGE_BOT, after_s=80),
        Step("edit", "Solved.", after_s=90),
        Step("unlabeled", "bug", MONA, after_s=100),
    ]
    add_issue(world.sandbox.state, Past(steps=steps, labels=("docs",)))
    assert list(reader(world).closed_issues(10)) == [
        IssueHistory(
            number=7,
            author=Account("mona", 11, "User"),
            created_at=at(16),
            closed_at=at(17),
            title="Crash with 3.2",
            body="Solved.",
            labels=("docs",),
            is_edited=True,
            includes_first_text=True,
            revisions=(Revision(at(16), "It crashes."), Revision(at(16, 1, 30), "Solved.")),
            earlier_titles=("Crash at start",),
            label_changes=(
                LabelChange(at(16), Account("mona", 11, "User"), "docs", is_added=True),
                LabelChange(at(16, 1, 20), Account("triage[bot]", 13, "Bot"), "bug", is_added=True),
                LabelChange(at(16, 1, 40), Account("mona", 11, "User"), "bug", is_added=False),
            ),
            has_more_changes=False,
        )
    ]
    assert world.calls() == ["POST /graphql"]
    assert violations(one.document() for one in world.seen()) == []


def test_sandbox_of_the_demo_says_that_it_has_no_history() -> None:
    with Sandbox() as sandbox:
        sandbox.state.seed("issues", recorded.load("demo/bug").payload)
        settings = github_settings(sandbox.github_url, TOKEN)
        with (
            closing(connect_read_only(settings, now=lambda: NOON)) as github,
            pytest.raises(StepFailed) as caught,
        ):
            list(github.reader(REPOSITORY).closed_issues(1))
    assert str(caught.value) == (
        "POST /graphql: UNPROCESSABLE: The sandbox has no history of closed issues and merged pull"
        " requests."
    )


def test_deleted_text_of_a_revision_is_missing(world: ReviewWorld) -> None:
    steps = [Step("edit", "Solved.", MONA), Step("delete first text", after_s=90)]
    add_issue(world.sandbox.state, Past(steps=steps))
    (found,) = reader(world).closed_issues(10)
    assert found.revisions == (Revision(at(16), None), Revision(at(16, 1), "Solved."))


def test_two_hundred_issues_take_eight_requests(world: ReviewWorld) -> None:
    for number in range(3, 213):
        add_issue(world.sandbox.state, Past(number))
    numbers = [one.number for one in reader(world).closed_issues(200)]
    assert numbers == list(range(212, 12, -1))
    assert world.calls() == ["POST /graphql"] * 8
    world.sandbox.requests.clear()
    assert len(list(reader(world).closed_issues(30))) == 30
    assert [one.body["variables"]["first"] for one in world.seen()] == [25, 5]


def test_edit_of_an_issue_in_the_sandbox_is_a_revision(world: ReviewWorld) -> None:
    state = world.sandbox.state
    home = state.repository(REPOSITORY)
    assert home is not None
    issue = {"number": 9, "title": "Typo", "body": "commiit", "created_at": "2026-11-02T09:00:00Z"}
    payload = {"repository": home.document}
    state.seed("issues", {**payload, "action": "opened", "issue": issue})
    state.seed("issues", {**payload, "action": "edited", "issue": {**issue, "body": "commit"}})
    closed = {**issue, "body": "commit", "state": "closed", "closed_at": "2026-11-03T09:00:00Z"}
    state.seed("issues", {**payload, "action": "closed", "issue": closed})
    (found,) = reader(world).closed_issues(10)
    assert [revision.text for revision in found.revisions] == ["commiit", "commit"]


def test_shapes_that_the_sandbox_does_not_send() -> None:
    """Deleted accounts, a migrated one, and no list of edits."""
    labeled = {"__typename": "LabeledEvent", "createdAt": "2026-11-02T16:00:00Z"}
    mannequin = {"__typename": "Mannequin", "login": "old-mona"}
    issue: dict[str, Any] = {
        "number": 7,
        "title": "Crash",
        "body": None,
        "createdAt": "2026-11-02T16:00:00Z",
        "closedAt": "2026-11-02T17:00:00Z",
        "lastEditedAt": "2026-11-02T16:30:00Z",
        "includesCreatedEdit": False,
        "author": None,
        "labels": None,
        "newest": None,
        "oldest": {"nodes": []},
        "timelineItems": {
            "pageInfo": {"hasNextPage": True},
            "nodes": [
                {**labeled, "actor": None, "label": {"name": "bug"}},
                {**labeled, "actor": mannequin, "label": {"name": "docs"}},
            ],
        },
    }
    page = {"pageInfo": {"hasNextPage": False, "endCursor": None}, "nodes": [issue]}
    data = WireHistories.model_validate({"repository": {"items": page}})
    found = data.items[0].value()
    assert (found.author, found.body, found.labels, found.revisions) == (GHOST, "", (), ())
    assert [change.actor for change in found.label_changes] == [
        GHOST,
        Account("old-mona", 0, "User"),
    ]
    assert (found.is_edited, found.has_more_changes) == (True, True)


PART = {"repository": {"items": None}}


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (
            {"data": None, "errors": [{"type": "RATE_LIMITED", "message": "limit exceeded"}]},
            DependencyDown,
            "POST /graphql: RATE_LIMITED: limit exceeded",
        ),
        (
            {"data": PART, "errors": [{"message": "Something went wrong"}]},
            DependencyDown,
            "POST /graphql: error: Something went wrong",
        ),
        (
            {"data": PART, "errors": [{"type": "FORBIDDEN", "message": "No"}]},
            Permanent,
            "POST /graphql: FORBIDDEN: No",
        ),
        ({"data": PART}, DependencyDown, "POST /graphql: unexpected response from GitHub"),
    ],
)
def test_incomplete_response_is_an_error(
    server: FakeServer,
    reader: GithubReader,
    body: object,
    kind: type[StepFailed],
    message: str,
) -> None:
    server.says = [Say(body=body)]
    with pytest.raises(kind) as caught:
        list(reader.closed_issues(10))
    assert str(caught.value).startswith(message)


def test_error_on_a_later_page_ends_the_read(server: FakeServer, api: GithubApi) -> None:
    more = {"pageInfo": {"hasNextPage": True, "endCursor": "c"}, "nodes": []}
    server.says = [
        Say(body={"data": {"repository": {"items": more}}}),
        Say(403, {"message": "You have exceeded a secondary rate limit"}, {"Retry-After": "60"}),
    ]
    read_only = ReadOnlyGithub(api, None, assume_open=False)
    with pytest.raises(DependencyDown, match="secondary rate limit"):
        list(read_only.reader("o/r").closed_issues(10))
    assert server.seen[1].body["variables"]["after"] == "c"


def test_repository_document_has_no_credential(server: FakeServer) -> None:
    document = {"id": 1, "url": "https://api.github.com/repos/o/r"}
    server.says = [Say(body={**document, "temp_clone_token": "secret"})]
    with closing(connect_read_only(github_settings(server.url), now=lambda: NOON)) as client:
        assert client.repository_document("o/r") == document
