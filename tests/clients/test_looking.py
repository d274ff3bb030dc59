"""GitHub for a look: the event with which a thread began, and a writer that never writes."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from hls_handler.actions import KeepComment, KeepLabels, LabelWish, Outcome
from hls_handler.clients.looking import Looking, Opened, look
from hls_handler.errors import Permanent
from hls_handler.events import Account
from hls_handler.settings.model import LabelsOfARepository
from tests.clients.conftest import github_settings
from tests.clients.fake_github import MALLORY, FakeGithub
from tests.clients.fake_memory import FakeMemory

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HLS = Account(login="hls-bot", id=9001, type="User")
HOME = {"id": 1, "full_name": "o/r"}
ISSUE = {"number": 7, "title": "It breaks", "user": MALLORY, "state": "open"}
PULL_REQUEST = {**ISSUE, "head": {"sha": "a" * 40, "ref": "fix"}, "base": {"sha": "b" * 40, "ref": "main"}}


@pytest.fixture
def looking(github: FakeGithub) -> Iterator[Looking]:
    client = look(github_settings(github.base_url), now=lambda: NOON)
    yield client
    client.close()


def test_an_issue_is_told_as_it_was_opened(github: FakeGithub, looking: Looking) -> None:
    github.repository, github.issue = {**HOME}, {**ISSUE}
    assert looking.opened("o/r", 7) == Opened(
        "issues", {"action": "opened", "repository": HOME, "sender": MALLORY, "issue": ISSUE}
    )
    assert github.calls == ["GET /repos/o/r", "GET /repos/o/r/issues/7"]


def test_a_number_that_is_a_pull_requests_is_told_as_one(github: FakeGithub, looking: Looking) -> None:
    github.repository, github.issue, github.pull_request = {**HOME}, {**ISSUE, "pull_request": {}}, {**PULL_REQUEST}
    assert looking.opened("o/r", 7) == Opened(
        "pull_request",
        {"action": "opened", "repository": HOME, "sender": MALLORY, "number": 7, "pull_request": PULL_REQUEST},
    )


def test_what_only_our_account_is_told_of_a_repository_is_left_out(github: FakeGithub, looking: Looking) -> None:
    github.repository = {**HOME, "permissions": {"push": True}, "temp_clone_token": "a-credential"}
    github.issue = {**ISSUE}
    assert looking.opened("o/r", 7).payload["repository"] == HOME


def test_a_thread_that_is_not_there_is_named(looking: Looking) -> None:
    with pytest.raises(Permanent, match="GET /repos/o/r/issues/8: 404"):
        looking.opened("o/r", 8)


def test_nothing_is_written_even_if_no_dry_run_is_asked_for(github: FakeGithub, looking: Looking) -> None:
    memory = FakeMemory()
    writer = looking.writer(
        "o/r", we=HLS, memory=memory, before_write=lambda: None, still_ours=lambda: None, dry_run=False
    )
    labels = KeepLabels((LabelWish("bug", "kind"),), ("kind",))
    assert writer.keep_labels(7, labels, labels=LabelsOfARepository.model_validate({}), before={}) == Outcome(
        "labels", "dry_run", "would have: added bug", added=("bug",)
    )
    assert writer.keep_comment(7, KeepComment("issues", "Hello.", create=True)) == Outcome(
        "comment", "dry_run", "would have commented", body="Hello.\n<!-- hls:issues -->"
    )
    assert {seen.verb for seen in github.seen} == {"GET"}


@pytest.mark.parametrize(("as_if_open", "read_as"), [(False, ("closed", True)), (True, ("open", False))])
def test_a_closed_and_locked_thread_can_be_read_as_if_it_were_open(
    github: FakeGithub, as_if_open: bool, read_as: tuple[str, bool]
) -> None:
    github.issue = {**ISSUE, "state": "closed", "locked": True}
    github.pull_request = {**PULL_REQUEST, "state": "closed", "locked": True}
    client = look(github_settings(github.base_url), now=lambda: NOON, as_if_open=as_if_open)
    issue, pull_request = client.reader("o/r").issue(7), client.reader("o/r").pull_request(7)
    client.close()
    assert (issue.state, issue.locked) == (pull_request.state, pull_request.locked) == read_as
