"""The GitHub client of one worker: bot account, permissions, dry runs and read-only access."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from hls_handler.actions import EnsureComment, EnsureLabels, Outcome, RequestedLabel
from hls_handler.clients.api import GithubApi, RateLimitMonitor
from hls_handler.clients.github import (
    Github,
    ReadOnlyGithub,
    connect_read_only,
)
from hls_handler.errors import DependencyDown
from hls_handler.events import Account
from hls_handler.settings.model import EffectiveLabels
from tests.clients.conftest import NOON, github_settings, make_writer
from tests.clients.fake_github import MALLORY, FakeGithub, Fault
from tests.clients.fake_history import FakeHistory
from tests.clients.test_reader import ISSUE as CRASH

WRITE = {"permissions": {"admin": False, "push": True, "triage": True, "pull": True}}


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", "/user", status=403, body={"message": "Resource not accessible by integration"}),
        Fault("GET", "/user", status=404, body={"message": "Not Found"}),
    ],
)
def test_token_without_account_raises_dependency_down_with_remedy(
    api: GithubApi, github: FakeGithub, fault: Fault
) -> None:
    github.faults = [fault]
    with pytest.raises(DependencyDown, match=r"^GET /user: 40") as caught:
        Github(api).fetch_bot_account()
    assert "use a personal access token" in caught.value.remedy


@pytest.mark.parametrize(
    ("repository", "headers", "missing"),
    [
        (WRITE, {}, ()),
        (
            {**WRITE, "private": True},
            {"X-OAuth-Scopes": "public_repo"},
            ("the token lacks the scope repo",),
        ),
        (
            WRITE,
            {"X-OAuth-Scopes": ""},
            ("the token lacks the scope public_repo",),
        ),
        (
            {"permissions": {"push": False, "triage": True}},
            {},
            ("the account may not create labels in o/r: give it the role write, or create them yourself",),
        ),
        (
            {**WRITE, "disabled": True},
            {},
            ("o/r is disabled: nothing can be written there",),
        ),
        (
            {**WRITE, "has_issues": False},
            {},
            ("issues are disabled in o/r: only pull requests can be processed",),
        ),
    ],
)
def test_missing_permissions_are_listed(
    api: GithubApi, github: FakeGithub, repository: dict[str, Any], headers: dict[str, str], missing: tuple[str, ...]
) -> None:
    github.documents["/repos/o/r"], github.headers = repository, headers
    assert Github(api).find_missing_permissions("o/r") == list(missing)
    assert github.calls == ["GET /repos/o/r"]


@pytest.mark.parametrize(("status", "missing"), [(404, 1), (403, 1), (200, 0)])
def test_webhooks_that_the_token_may_not_list_are_reported(
    api: GithubApi, github: FakeGithub, status: int, missing: int
) -> None:
    github.documents["/repos/o/r"] = WRITE
    github.faults = [Fault("GET", "/repos/o/r/hooks.*", status=status, body=[] if status == 200 else {"message": "No"})]
    found = Github(api).find_missing_permissions("o/r", with_webhooks=True)
    assert [sentence.partition(":")[0] for sentence in found] == ["the webhooks of o/r cannot be listed"] * missing


def test_one_connection_serves_account_access_and_reads(github: FakeGithub, meter: RateLimitMonitor) -> None:
    github.documents |= {"/repos/o/r": {}, "/repos/o/r/issues/7": CRASH}
    client = Github(GithubApi(github_settings(github.base_url), observe=meter.observe, now=lambda: NOON))
    assert github.calls == []
    bot = client.fetch_bot_account()
    assert bot == Account("hls-bot", 9001, "User")
    assert client.find_missing_permissions("o/r") == [
        "the account may not set labels in o/r: it needs the role triage or write"
    ]
    assert client.reader("o/r").issue(7).title == "It crashes"
    client.close()
    assert github.calls == ["GET /user", "GET /repos/o/r", "GET /repos/o/r/issues/7"]
    assert meter.take_request_count() == 3
    assert github.connections == 1


HLS = Account(login="hls-bot", id=9001, type="User")
REPOSITORY = {"id": 1, "full_name": "o/r"}
ISSUE = {"number": 7, "title": "It breaks", "user": MALLORY, "state": "open"}
PULL_REQUEST = {**ISSUE, "head": {"sha": "a" * 40, "ref": "fix"}, "base": {"sha": "b" * 40, "ref": "main"}}


@pytest.fixture
def read_only(github: FakeGithub) -> Iterator[ReadOnlyGithub]:
    client = connect_read_only(github_settings(github.base_url), now=lambda: NOON)
    yield client
    client.close()


def test_opened_event_of_issue_is_rebuilt(github: FakeGithub, read_only: ReadOnlyGithub) -> None:
    not_in_webhooks = {"permissions": {"push": True}, "temp_clone_token": "a-credential"}
    github.documents |= {"/repos/o/r": {**REPOSITORY, **not_in_webhooks}, "/repos/o/r/issues/7": ISSUE}
    assert read_only.opened("o/r", 7) == (
        "issues",
        {"action": "opened", "repository": REPOSITORY, "sender": MALLORY, "issue": ISSUE},
    )
    assert github.calls == ["GET /repos/o/r", "GET /repos/o/r/issues/7"]


def test_opened_event_of_pull_request_is_rebuilt(github: FakeGithub, read_only: ReadOnlyGithub) -> None:
    github.documents["/repos/o/r"] = REPOSITORY
    github.documents["/repos/o/r/issues/7"] = {**ISSUE, "pull_request": {}}
    github.documents["/repos/o/r/pulls/7"] = PULL_REQUEST
    assert read_only.opened("o/r", 7) == (
        "pull_request",
        {"action": "opened", "repository": REPOSITORY, "sender": MALLORY, "number": 7, "pull_request": PULL_REQUEST},
    )


def test_nothing_is_written_by_a_read_only_client(github: FakeGithub, api: GithubApi) -> None:
    client = ReadOnlyGithub(api, None, assume_open=False)
    history = FakeHistory()
    writer = make_writer(client, history)
    labels = EnsureLabels((RequestedLabel("bug", "kind"),), ("kind",))
    assert writer.ensure_labels(7, labels, labels=EffectiveLabels.model_validate({}), before={}) == Outcome(
        "labels", "dry_run", "would have: added bug", added=("bug",)
    )
    assert writer.ensure_comment(7, EnsureComment("issues", "Hello.", create=True)) == Outcome(
        "comment", "dry_run", "would have commented", body="Hello.\n<!-- hls:issues -->"
    )
    assert {seen.verb for seen in github.seen} == {"GET"}
    assert history.changes == 0


@pytest.mark.parametrize(("assume_open", "read_as"), [(False, ("closed", True)), (True, ("open", False))])
def test_closed_and_locked_conversation_can_be_read_as_open(
    github: FakeGithub, assume_open: bool, read_as: tuple[str, bool]
) -> None:
    github.documents["/repos/o/r/issues/7"] = {**ISSUE, "state": "closed", "locked": True}
    github.documents["/repos/o/r/pulls/7"] = {**PULL_REQUEST, "state": "closed", "locked": True}
    client = connect_read_only(github_settings(github.base_url), now=lambda: NOON, assume_open=assume_open)
    issue, pull_request = client.reader("o/r").issue(7), client.reader("o/r").pull_request(7)
    client.close()
    assert (issue.state, issue.locked) == (pull_request.state, pull_request.locked) == read_as
