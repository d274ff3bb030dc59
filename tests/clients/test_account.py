"""The bot account and its permissions."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.clients.account import RepositoryAccess, access, fetch_bot_account
from hls_handler.clients.api import GithubApi
from hls_handler.errors import DependencyDown
from hls_handler.events import Account
from tests.clients.fake_github import FakeGithub, Fault

WRITE = {"permissions": {"admin": False, "push": True, "triage": True, "pull": True}}


def test_bot_account_takes_one_request(api: GithubApi, github: FakeGithub) -> None:
    assert fetch_bot_account(api) == Account("hls-bot", 9001, "User")
    assert github.calls == ["GET /user"]


def test_github_app_account_is_a_bot(api: GithubApi, github: FakeGithub) -> None:
    github.user = {"login": "helper[bot]", "id": 5, "type": "Bot"}
    assert fetch_bot_account(api).is_bot


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
        fetch_bot_account(api)
    assert "use a personal access token" in caught.value.remedy


@pytest.mark.parametrize(
    ("repository", "headers", "missing"),
    [
        (WRITE, {}, ()),
        (WRITE, {"X-OAuth-Scopes": "gist, repo"}, ()),
        (
            {**WRITE, "private": True},
            {"X-OAuth-Scopes": "public_repo"},
            ("the token lacks the scope repo",),
        ),
        (WRITE, {"X-OAuth-Scopes": "public_repo"}, ()),
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
            {"permissions": {"push": False, "triage": False}},
            {},
            ("the account may not set labels in o/r: it needs the role triage or write",),
        ),
        (
            {},
            {},
            ("the account may not set labels in o/r: it needs the role triage or write",),
        ),
        (
            {**WRITE, "archived": True},
            {},
            ("o/r is archived: nothing can be written there",),
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
    github.repository, github.headers = repository, headers
    assert access(api, "o/r") == RepositoryAccess(missing)
    assert github.calls == ["GET /repos/o/r"]


def test_invisible_repository_is_listed_and_not_raised(api: GithubApi) -> None:
    assert access(api, "o/other") == RepositoryAccess(
        ("GET /repos/o/other: 404 Not Found: deleted, moved, or not visible to this token",)
    )


def test_failure_of_github_is_raised(api: GithubApi, github: FakeGithub) -> None:
    github.faults = [Fault("GET", "/repos/o/r", status=500)]
    with pytest.raises(DependencyDown):
        access(api, "o/r")
