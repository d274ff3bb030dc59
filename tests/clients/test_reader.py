"""Reads of one repository, as our values."""

from __future__ import annotations

from typing import Any

import pytest

from hls_handler.clients.api import Api
from hls_handler.clients.reader import GithubReader
from hls_handler.errors import DependencyDown, Permanent
from hls_handler.events import Account, Issue, Label, PullRequest
from hls_handler.handlers.reader import ChangedFile
from tests.clients.fake_github import MALLORY, FakeGithub, Fault

ISSUE: dict[str, Any] = {
    "number": 7,
    "title": "It crashes",
    "body": None,
    "user": MALLORY,
    "state": "open",
    "locked": True,
    "labels": [{"name": "bug", "color": "d73a4a"}],
    "author_association": "NONE",
    "html_url": "https://github.com/o/r/issues/7",
    "something": {"new": 1},
}
PULL_REQUEST: dict[str, Any] = {
    **ISSUE,
    "draft": True,
    "head": {"sha": "abc", "ref": "fix", "repo": None},
    "base": {"sha": "def", "ref": "main"},
    "additions": 3,
    "deletions": 1,
    "changed_files": 2,
    "commits": 1,
}


def test_an_issue_is_one_request(api: Api, github: FakeGithub) -> None:
    github.issue = ISSUE
    assert GithubReader(api, "o/r").issue(7) == Issue(
        number=7,
        title="It crashes",
        body="",
        user=Account("mallory", 13, "User"),
        state="open",
        locked=True,
        labels=(Label("bug"),),
        author_association="NONE",
        html_url="https://github.com/o/r/issues/7",
    )
    assert github.calls == ["GET /repos/o/r/issues/7"]


def test_an_issue_that_is_a_pull_request_is_fine_and_a_deleted_author_is_the_ghost(
    api: Api, github: FakeGithub
) -> None:
    github.issue = {**ISSUE, "pull_request": {"url": "https://api.github.com/repos/o/r/pulls/7"}, "user": None}
    assert GithubReader(api, "o/r").issue(7).user == Account("ghost", 10137, "User")


def test_a_pull_request_is_one_request(api: Api, github: FakeGithub) -> None:
    github.pull_request = PULL_REQUEST
    assert GithubReader(api, "o/r").pull_request(7) == PullRequest(
        number=7,
        title="It crashes",
        body="",
        user=Account("mallory", 13, "User"),
        state="open",
        locked=True,
        draft=True,
        labels=(Label("bug"),),
        author_association="NONE",
        html_url="https://github.com/o/r/issues/7",
        head_sha="abc",
        head_ref="fix",
        base_ref="main",
        additions=3,
        deletions=1,
        changed_files=2,
        commits=1,
    )
    assert github.calls == ["GET /repos/o/r/pulls/7"]


def test_files_are_read_page_by_page_in_githubs_order(api: Api, github: FakeGithub) -> None:
    moved = {"filename": "b", "previous_filename": "a", "status": "renamed", "additions": 0, "deletions": 0}
    changed = {"filename": "f", "status": "modified", "additions": 2, "deletions": 1, "patch": "@@ -1 +1,2 @@"}
    github.files = [moved, *[changed] * 149]
    files = GithubReader(api, "o/r").files(7)
    assert len(files) == 150
    assert files[0] == ChangedFile("b", "a", "renamed", 0, 0, None)
    assert files[149] == ChangedFile("f", None, "modified", 2, 1, "@@ -1 +1,2 @@")
    assert github.calls == ["GET /repos/o/r/pulls/7/files"] * 2


def test_no_more_than_3000_files_are_asked_for(api: Api, github: FakeGithub) -> None:
    github.files = [{"filename": "f", "status": "added"}] * 3_100
    assert len(GithubReader(api, "o/r").files(7)) == 3_000
    assert len(github.calls) == 30


def test_a_reply_that_does_not_fit_is_github_in_trouble(api: Api, github: FakeGithub) -> None:
    github.issue = {"number": 7, "title": "It crashes", "state": "melted"}
    with pytest.raises(DependencyDown, match="unexpected: state: Input should be 'open' or 'closed'"):
        GithubReader(api, "o/r").issue(7)


@pytest.mark.parametrize(
    ("status", "message"),
    [(404, "Not Found"), (410, "This issue was deleted"), (301, "Moved Permanently")],
)
def test_what_is_gone_or_moved_is_gone_for_good(api: Api, github: FakeGithub, status: int, message: str) -> None:
    github.faults = [Fault("GET", "/repos/o/r/issues/7", status=status, body={"message": message})]
    with pytest.raises(Permanent, match=f"^GET /repos/o/r/issues/7: {status} {message}"):
        GithubReader(api, "o/r").issue(7)


@pytest.mark.parametrize("name", ["o/../o/r", "o/r?x=1", "o/r#x", "o/%72", "o/r/issues/1/..", "o/..", "o"])
def test_rule_13_nothing_is_asked_of_a_repository_with_another_shape_of_name(
    api: Api, github: FakeGithub, name: str
) -> None:
    github.issue = ISSUE
    with pytest.raises(Permanent, match=r" is not the name of a repository: owner/repo is$"):
        GithubReader(api, name).issue(7)
    assert github.calls == []
