"""The GitHub client of one worker: bot account, permissions, dry runs and read-only access."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from hls_handler.actions import (
    CommitCheck,
    EnsureComment,
    EnsureLabels,
    EnsureReply,
    Outcome,
    RequestedLabel,
)
from hls_handler.errors import DependencyDown
from hls_handler.events import Account
from hls_handler.github.api import GithubApi, RepositoryApi, WriteGuard
from hls_handler.github.check_writer import GithubChecks
from hls_handler.github.client import (
    Github,
    OpenedEvent,
    ReadOnlyGithub,
    connect,
    connect_read_only,
    make_credentials,
)
from hls_handler.github.comments import BotComments
from hls_handler.github.review_writer import BotReviews
from hls_handler.settings.sections import EffectiveLabels
from tests.fake_server import FakeServer, Say
from tests.github.fake_history import FakeHistory
from tests.github.review_world import BOT, HEAD, NOON, NUMBER, ReviewWorld, github_settings
from tests.github.test_reader import ISSUE, MALLORY

WRITE = {"permissions": {"admin": False, "push": True, "triage": True, "pull": True}}
KNOWN = {"id": 1, "has_issues": True, "permissions": {}}


@pytest.mark.parametrize("status", [403, 404])
def test_token_without_account_raises_dependency_down_with_remedy(
    api: GithubApi, server: FakeServer, status: int
) -> None:
    server.says = [Say(status, {"message": "No"})]
    with pytest.raises(DependencyDown, match=r"^GET /user: 40") as caught:
        Github(api).fetch_bot_account()
    assert "use a personal access token" in caught.value.remedy


@pytest.mark.parametrize("identifier", [41_898_282, None])
def test_token_of_a_workflow_is_asked_by_graphql(
    server: FakeServer, identifier: int | None
) -> None:
    refusal = {"message": "Resource not accessible by integration"}
    viewer = {"login": "github-actions[bot]", "id": identifier}
    server.says = [Say(403, refusal), Say(200, {"data": {"viewer": viewer}})]
    settings = github_settings(server.url)
    with closing(connect(make_credentials(settings, now=lambda: NOON), now=lambda: NOON)) as github:
        found = github.fetch_bot_account()
    assert found == Account("github-actions[bot]", identifier or 0, "Bot")
    assert server.calls == ["GET /user", "POST /graphql"]


@pytest.mark.parametrize(
    ("repository", "headers", "missing"),
    [
        (WRITE, {}, ()),
        (
            {**WRITE, "private": True},
            {"X-OAuth-Scopes": "public_repo"},
            ("the token lacks the scope repo",),
        ),
        (WRITE, {"X-OAuth-Scopes": ""}, ("the token lacks the scope public_repo",)),
        (
            {"permissions": {"push": False, "triage": True}},
            {},
            (
                (
                    "the account may not create labels in o/r: give it the role write, or create"
                    " them yourself"
                ),
            ),
        ),
        ({}, {}, ("the account may not set labels in o/r: it needs the role triage or write",)),
        (
            {"permissions": None},
            {},
            ("the account may not set labels in o/r: it needs the role triage or write",),
        ),
        ({**WRITE, "disabled": True}, {}, ("o/r is disabled: nothing can be written there",)),
        (
            {**WRITE, "has_issues": False},
            {},
            ("issues are disabled in o/r: only pull requests can be processed",),
        ),
    ],
)
def test_missing_permissions_are_listed(
    api: GithubApi,
    server: FakeServer,
    repository: dict[str, Any],
    headers: dict[str, str],
    missing: tuple[str, ...],
) -> None:
    server.says = [Say(body=KNOWN | repository, headers=headers)]
    assert Github(api).find_missing_permissions("o/r") == list(missing)
    assert server.calls == ["GET /repos/o/r"]


def test_repository_with_an_invalid_field_raises_dependency_down(
    api: GithubApi, server: FakeServer
) -> None:
    server.says = [Say(body={"id": 1, "archived": "x"})]
    with pytest.raises(DependencyDown, match=r"cannot read archived \(BadAttr"):
        Github(api).find_missing_permissions("o/r")


@pytest.mark.parametrize(
    "read",
    [
        lambda github: github.find_missing_permissions("o/r"),
        lambda github: github.has_repository("o/r"),
        lambda github: github.has_account("mona"),
        lambda github: github.reader("o/r").permission("mona"),
    ],
)
def test_success_with_another_document_is_no_answer(
    api: GithubApi, server: FakeServer, read: Callable[[Github], object]
) -> None:
    server.says = [Say(body={"message": "Bad gateway", "permission": None})]
    with pytest.raises(DependencyDown, match="expected "):
        read(Github(api))


def test_limit_that_is_no_number_is_ignored(api: GithubApi, server: FakeServer) -> None:
    limits = {"X-RateLimit-Remaining": "9, 9", "X-RateLimit-Limit": "", "X-RateLimit-Reset": "soon"}
    server.says = [Say(body={"id": 5, "login": "mona"}, headers=limits)]
    assert Github(api).has_account("mona")


def comment_on(api: RepositoryApi) -> None:
    comments = BotComments(api, bot=BOT, history=FakeHistory())
    comments.ensure_comment(7, EnsureComment("issues", "Hello.", create=True), may_exist=False)


def reply_to(api: RepositoryApi) -> None:
    reviews = BotReviews(api, bot=BOT)
    reviews.ensure_reply(7, EnsureReply(5, "fixed", "Fixed."), is_retry=False)


def begin_check(api: RepositoryApi) -> None:
    checks = GithubChecks(api, uses_check_runs=True)
    checks.begin(CommitCheck(HEAD, "guid-1", is_new=True))


@pytest.mark.parametrize("body", [{"id": "x"}, {"html_url": "x"}], ids=["invalid", "missing"])
@pytest.mark.parametrize("write", [comment_on, reply_to, begin_check])
def test_write_without_an_id_in_the_response_may_have_succeeded(
    api: GithubApi,
    server: FakeServer,
    write: Callable[[RepositoryApi], None],
    body: dict[str, str],
) -> None:
    server.says = [Say(201, body)]
    with pytest.raises(DependencyDown, match=r"unexpected response from GitHub: id: ") as caught:
        write(api.of("o/r").with_guard(WriteGuard(lambda: None, lambda: None)))
    assert caught.value.may_have_succeeded


REPOSITORY = {"id": 1, "full_name": "o/r", "url": "https://api.github.com/repos/o/r"}


@pytest.fixture
def read_only(server: FakeServer) -> Iterator[ReadOnlyGithub]:
    with closing(connect_read_only(github_settings(server.url), now=lambda: NOON)) as client:
        yield client


def test_opened_event_of_issue_is_rebuilt(server: FakeServer, read_only: ReadOnlyGithub) -> None:
    not_in_webhooks = {"permissions": {"push": True}, "temp_clone_token": "a-credential"}
    server.says = [Say(body={**REPOSITORY, **not_in_webhooks}), Say(body=ISSUE)]
    assert read_only.opened("o/r", 7) == OpenedEvent(
        "issues",
        {"action": "opened", "repository": REPOSITORY, "sender": MALLORY, "issue": ISSUE},
    )
    assert server.calls == ["GET /repos/o/r", "GET /repos/o/r/issues/7"]


def test_nothing_is_written_by_a_read_only_client(world: ReviewWorld) -> None:
    writer = world.writer(github=ReadOnlyGithub(world.api, None, assume_open=False))
    labels = EnsureLabels((RequestedLabel("bug", "kind"),), ("kind",))
    assert writer.ensure_labels(NUMBER, labels, labels=EffectiveLabels(), before={}) == Outcome(
        "labels", "dry_run", "would have: added bug", added=("bug",)
    )
    assert writer.ensure_comment(NUMBER, EnsureComment("issues", "Hello.", create=True)) == Outcome(
        "comment", "dry_run", "would have commented", body="Hello.\n<!-- hls:issues -->"
    )
    assert {one.method for one in world.seen()} == {"GET"}
    assert world.history.changes == 0
