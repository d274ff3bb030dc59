"""Reads of one repository, returned as HLS's values."""

from __future__ import annotations

from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest

from hls_handler.errors import DependencyDown, Permanent
from hls_handler.events import Account, Release
from hls_handler.github.api import GithubApi
from hls_handler.github.labels import RepositoryLabels
from hls_handler.github.reader import GithubReader
from hls_handler.github.values import (
    ChangedFile,
    Commit,
    Comparison,
    FileAtRef,
)
from tests.fake_server import FakeServer, Say
from tests.github.review_world import NUMBER, REPOSITORY, ReviewWorld

MALLORY = {"login": "mallory", "id": 13, "type": "User"}
GHOST = Account("ghost", 10137, "User")
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
    "url": "https://api.github.com/repos/o/r/issues/7",
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
CHANGED = {
    "filename": "f",
    "status": "modified",
    "additions": 2,
    "deletions": 1,
    "patch": "@@ -1 +1,2 @@",
}


def page(*items: object, last: bool = True) -> Say:
    return Say(body=list(items), headers={} if last else {"Link": '<x?page=2>; rel="next"'})


def test_files_are_read_page_by_page_in_githubs_order(
    reader: GithubReader, server: FakeServer
) -> None:
    moved = {
        "filename": "b",
        "previous_filename": "a",
        "status": "renamed",
        "additions": 0,
        "deletions": 0,
    }
    url = "https://api.github.com/repos/o/r/contents/b%3Fref=%40?ref="
    first = page({**moved, "contents_url": url + "a" * 40}, *[CHANGED] * 49, last=False)
    server.says = [first, page({**CHANGED, "contents_url": url})]
    files = reader.files(7)
    assert len(files) == 51
    assert files[0] == ChangedFile("b", "a", "renamed", 0, 0, None, commit="a" * 40)
    assert files[50] == ChangedFile("f", None, "modified", 2, 1, "@@ -1 +1,2 @@")
    asked = [(seen.call, seen.query) for seen in server.seen]
    assert asked == [
        ("GET /repos/o/r/pulls/7/files", {"per_page": "50"}),
        ("GET /repos/o/r/pulls/7/files", {"per_page": "50", "page": "2"}),
    ]


@pytest.mark.parametrize(
    ("there", "limit", "pages"),
    [
        (0, 10, ["1"]),
        (105, 20, ["1", "2"]),
        (950, 50, ["1", "10"]),
        (950, 151, ["1", "10", "9", "8"]),
    ],
)
def test_the_newest_comments_are_read_from_the_end(
    world: ReviewWorld, there: int, limit: int, pages: list[str]
) -> None:
    for number in range(1, there + 1):
        world.sandbox.state.create_comment(world.pull, f"comment {number}")
    reader = GithubReader(world.api.of(REPOSITORY), RepositoryLabels(monotonic))
    found = reader.comments(NUMBER, limit=limit)
    assert [one.body for one in found] == [
        f"comment {n}" for n in range(max(there - limit, 0) + 1, there + 1)
    ]
    assert [one.query.get("page", "1") for one in world.seen()] == pages


def test_pull_requests_are_filtered_by_owner_and_branch(
    reader: GithubReader, server: FakeServer
) -> None:
    server.says = [page({**PULL_REQUEST, "number": 9}, PULL_REQUEST)]
    found = reader.pull_requests_from("octocat:fix/a&state=all #1 ä")
    assert [pull.number for pull in found] == [9, 7]
    assert server.seen[0].query == {
        "state": "open",
        "head": "octocat:fix/a&state=all #1 ä",
        "per_page": "100",
    }


@pytest.mark.parametrize("head", ["", ":fix", "octocat:"])
def test_incomplete_branch_is_not_sent_because_github_would_list_all(
    reader: GithubReader, server: FakeServer, head: str
) -> None:
    assert reader.pull_requests_from(head) == ()
    assert server.calls == []


def test_releases_take_one_request(reader: GithubReader, server: FakeServer) -> None:
    release = {
        "id": 4,
        "tag_name": "v1.1.0",
        "name": "1.1.0",
        "body": "- Faster.",
        "draft": False,
        "prerelease": True,
        "author": MALLORY,
        "html_url": "https://github.com/o/r/releases/tag/v1.1.0",
        "published_at": "2026-11-02T09:14:31Z",
        "target_commitish": "main",
    }
    nameless = {
        "id": 3,
        "tag_name": "v1.0.0",
        "name": None,
        "body": None,
        "author": None,
        "published_at": None,
    }
    server.says = [page(release, nameless, *[nameless] * 98, last=False)]
    found = reader.releases()
    assert len(found) == 100
    assert found[0] == Release(
        id=4,
        tag="v1.1.0",
        name="1.1.0",
        body="- Faster.",
        draft=False,
        prerelease=True,
        author=Account("mallory", 13, "User"),
        html_url="https://github.com/o/r/releases/tag/v1.1.0",
        published_at=datetime(2026, 11, 2, 9, 14, 31, tzinfo=UTC),
        target_commitish="main",
    )
    assert found[1] == Release(3, "v1.0.0", "", "", False, False, GHOST, "", None, "")
    assert server.calls == ["GET /repos/o/r/releases"]


def test_commits_between_two_refs_have_authors(reader: GithubReader, server: FakeServer) -> None:
    by = {"name": "Mona Lisa", "email": "mona@example.org"}
    commits = [
        {"sha": "a1", "commit": {"message": "One\n\nBody", "author": by}, "author": MALLORY},
        {"sha": "b2", "commit": {"message": "Two", "author": by}, "author": None},
        {"sha": "c3", "commit": {"message": "Three", "author": None}, "author": {}},
    ]
    server.says = [
        Say(body={"total_commits": 300, "commits": commits}),
        Say(404, {"message": "Not Found"}),
    ]
    assert reader.commits_between("release/1", "v2#x") == Comparison(
        total=300,
        commits=(
            Commit("a1", "One\n\nBody", "mallory"),
            Commit("b2", "Two", "Mona Lisa"),
            Commit("c3", "Three", ""),
        ),
    )
    assert server.calls == ["GET /repos/o/r/compare/release%2F1...v2%23x"]
    assert reader.commits_between("v0", "v1") is None


BLOB: dict[str, Any] = {"type": "file", "sha": "c0ffee", "size": 14, "path": ".github/hls.yaml"}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (
            {**BLOB, "encoding": "base64", "content": "ZW5hYmxlZDog\nZmFsc2U=\n"},
            FileAtRef("file", "c0ffee", b"enabled: false"),
        ),
        ({**BLOB, "encoding": "none", "content": ""}, FileAtRef("file", "c0ffee", None)),
        (
            {**BLOB, "type": "symlink", "target": "/etc/passwd"},
            FileAtRef("symlink", "c0ffee", None),
        ),
        ([{**BLOB, "type": "file"}], FileAtRef("directory", "", None)),
    ],
    ids=["file", "too large", "symlink", "directory"],
)
def test_file_at_ref_takes_one_request(
    reader: GithubReader, server: FakeServer, content: Any, found: FileAtRef | None
) -> None:
    server.says = [Say(body=content)]
    assert reader.find_file(".github/hls.yaml", ref="release/1") == found
    (seen,) = server.seen
    assert (seen.call, seen.query) == (
        "GET /repos/o/r/contents/.github/hls.yaml",
        {"ref": "release/1"},
    )


@pytest.mark.parametrize("name", ["o/../o/r", "o/r?x=1"])
def test_rule_13_invalid_repository_name_sends_no_request(
    api: GithubApi, server: FakeServer, name: str
) -> None:
    with pytest.raises(Permanent, match=r" is not a repository name; expected owner/repo$"):
        GithubReader(api.of(name), RepositoryLabels(monotonic)).issue(7)
    assert server.calls == []


def test_open_issues_and_pull_requests_are_read_by_the_links_of_the_pages(
    reader: GithubReader, server: FakeServer
) -> None:
    link = (
        '<https://x/repositories/1/issues?state=open&per_page=100&after=Y3Vy%3D&page=2>; rel="next"'
    )
    pull = {**ISSUE, "number": 8, "pull_request": {"url": "x"}}
    server.says = [
        Say(body=[ISSUE, pull], headers={"Link": link}),
        Say(body=[{**ISSUE, "number": 3}]),
    ]
    pages = [[one["number"] for one in page] for page in reader.open_documents()]
    assert pages == [[7, 8], [3]]
    first = {"state": "open", "per_page": "100"}
    assert [(seen.call, seen.query) for seen in server.seen] == [
        ("GET /repos/o/r/issues", first),
        ("GET /repos/o/r/issues", {**first, "after": "Y3Vy=", "page": "2"}),
    ]


def test_attribute_of_another_type_is_an_unexpected_response(
    reader: GithubReader, server: FakeServer
) -> None:
    server.says = [Say(body={"ref": "refs/heads/main", "object": {"sha": 5}})]
    with pytest.raises(DependencyDown, match="heads/main: unexpected response from GitHub: "):
        reader.head_commit("main")
