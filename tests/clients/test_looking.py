"""The read-only client: the opened event of a conversation, and a writer that never writes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from hls_handler.actions import EnsureComment, EnsureLabels, Outcome, RequestedLabel
from hls_handler.clients.looking import Opened, ReadOnlyGithub, look
from hls_handler.errors import Permanent
from hls_handler.events import Account
from hls_handler.settings.model import EffectiveLabels
from tests.clients.conftest import github_settings
from tests.clients.fake_github import MALLORY, FakeGithub
from tests.clients.fake_memory import FakeMemory

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HLS = Account(login="hls-bot", id=9001, type="User")
REPOSITORY = {"id": 1, "full_name": "o/r"}
ISSUE = {"number": 7, "title": "It breaks", "user": MALLORY, "state": "open"}
PULL_REQUEST = {**ISSUE, "head": {"sha": "a" * 40, "ref": "fix"}, "base": {"sha": "b" * 40, "ref": "main"}}


@pytest.fixture
def read_only(github: FakeGithub) -> Iterator[ReadOnlyGithub]:
    client = look(github_settings(github.base_url), now=lambda: NOON)
    yield client
    client.close()


def test_opened_event_of_issue_is_rebuilt(github: FakeGithub, read_only: ReadOnlyGithub) -> None:
    github.repository, github.issue = {**REPOSITORY}, {**ISSUE}
    assert read_only.opened("o/r", 7) == Opened(
        "issues", {"action": "opened", "repository": REPOSITORY, "sender": MALLORY, "issue": ISSUE}
    )
    assert github.calls == ["GET /repos/o/r", "GET /repos/o/r/issues/7"]


def test_opened_event_of_pull_request_is_rebuilt(github: FakeGithub, read_only: ReadOnlyGithub) -> None:
    github.repository, github.issue, github.pull_request = (
        {**REPOSITORY},
        {**ISSUE, "pull_request": {}},
        {**PULL_REQUEST},
    )
    assert read_only.opened("o/r", 7) == Opened(
        "pull_request",
        {"action": "opened", "repository": REPOSITORY, "sender": MALLORY, "number": 7, "pull_request": PULL_REQUEST},
    )


def test_repository_keys_that_webhooks_lack_are_removed(github: FakeGithub, read_only: ReadOnlyGithub) -> None:
    github.repository = {**REPOSITORY, "permissions": {"push": True}, "temp_clone_token": "a-credential"}
    github.issue = {**ISSUE}
    assert read_only.opened("o/r", 7).payload["repository"] == REPOSITORY


def test_missing_conversation_is_named_in_the_error(read_only: ReadOnlyGithub) -> None:
    with pytest.raises(Permanent, match="GET /repos/o/r/issues/8: 404"):
        read_only.opened("o/r", 8)


def test_nothing_is_written_even_without_dry_run(github: FakeGithub, read_only: ReadOnlyGithub) -> None:
    memory = FakeMemory()
    writer = read_only.writer(
        "o/r", bot=HLS, memory=memory, wait_for_slot=lambda: None, check_lease=lambda: None, dry_run=False
    )
    labels = EnsureLabels((RequestedLabel("bug", "kind"),), ("kind",))
    assert writer.ensure_labels(7, labels, labels=EffectiveLabels.model_validate({}), before={}) == Outcome(
        "labels", "dry_run", "would have: added bug", added=("bug",)
    )
    assert writer.ensure_comment(7, EnsureComment("issues", "Hello.", create=True)) == Outcome(
        "comment", "dry_run", "would have commented", body="Hello.\n<!-- hls:issues -->"
    )
    assert {seen.verb for seen in github.seen} == {"GET"}


@pytest.mark.parametrize(("assume_open", "read_as"), [(False, ("closed", True)), (True, ("open", False))])
def test_closed_and_locked_conversation_can_be_read_as_open(
    github: FakeGithub, assume_open: bool, read_as: tuple[str, bool]
) -> None:
    github.issue = {**ISSUE, "state": "closed", "locked": True}
    github.pull_request = {**PULL_REQUEST, "state": "closed", "locked": True}
    client = look(github_settings(github.base_url), now=lambda: NOON, assume_open=assume_open)
    issue, pull_request = client.reader("o/r").issue(7), client.reader("o/r").pull_request(7)
    client.close()
    assert (issue.state, issue.locked) == (pull_request.state, pull_request.locked) == read_as
