"""The stand-in GitHub with PyGithub and with plain HTTP requests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import github
import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.server import Sandbox
from tests.sandbox.conftest import REPOSITORY, Answer, ask, ask_github, github_client, seed_story

BASE = f"/repos/{REPOSITORY}"


@pytest.fixture(scope="module")
def shared() -> Iterator[Sandbox]:
    """A sandbox for tests that change nothing."""
    with Sandbox() as running:
        seed_story(running, "demo/bug", "demo/feature", "issues.opened", "issues.deleted", "pull_request.opened")
        yield running


# --- the routes that the product uses, through PyGithub --------------------------------------------------------------


def test_the_user_is_the_account_of_the_token(hub: github.Github) -> None:
    assert hub.get_user().login == "hls-bot"


def test_a_repository_has_the_permissions_of_the_token(sandbox: Sandbox, hub: github.Github) -> None:
    repository = hub.get_repo(REPOSITORY)
    assert (repository.id, repository.default_branch, repository.archived) == (186853002, "master", False)
    assert (repository.permissions.push, repository.permissions.admin) == (True, False)
    sandbox.state.set_permission(REPOSITORY, "hls-bot", "read")
    assert hub.get_repo(REPOSITORY).permissions.push is False


def test_an_issue_can_be_read(hub: github.Github) -> None:
    issue = hub.get_repo(REPOSITORY).get_issue(12)
    assert issue.title == "How can I run the nightly importer against a read replica?"
    assert (issue.user.login, issue.state, issue.comments, issue.pull_request) == ("octocat", "open", 0, None)


def test_a_pull_request_can_be_read_as_pull_request_and_as_issue(hub: github.Github) -> None:
    repository = hub.get_repo(REPOSITORY)
    pull = repository.get_pull(13)
    assert (pull.head.ref, pull.base.ref, pull.changed_files, pull.draft) == ("discount-codes", "master", 8, False)
    issue = repository.get_issue(13)
    assert issue.title == pull.title
    assert issue.pull_request is not None
    assert len(list(pull.get_files())) == 8


def test_a_comment_is_created_edited_and_found_again(sandbox: Sandbox, hub: github.Github) -> None:
    issue = hub.get_repo(REPOSITORY).get_issue(12)
    made = issue.create_comment("First.")
    assert made.html_url == f"{sandbox.page_url}{REPOSITORY}/issues/12#issuecomment-{made.id}"
    made.edit("Second.")
    assert [(comment.id, comment.body, comment.user.login) for comment in issue.get_comments()] == [
        (made.id, "Second.", "hls-bot")
    ]
    assert issue.get_comment(made.id).body == "Second."
    conversation = sandbox.state.conversation(REPOSITORY, 12)
    assert conversation is not None
    assert [edit.body for edit in conversation.comments[0].edits] == ["First."]


def test_labels_are_added_and_removed(sandbox: Sandbox, hub: github.Github) -> None:
    repository = hub.get_repo(REPOSITORY)
    repository.create_label("type/feature", "1D76DB", "A new ability")
    assert repository.get_label("type/feature").color == "1d76db"
    assert "type/feature" in [label.name for label in repository.get_labels()]
    pull = repository.get_issue(13)
    pull.add_to_labels("type/feature", "bug")
    assert [label.name for label in pull.get_labels()] == ["type/feature", "bug"]
    pull.remove_from_labels("type/feature")
    assert [label.name for label in pull.get_labels()] == ["bug"]
    events = [(event.event, event.label.name, event.actor.login) for event in pull.get_events()]
    assert events == [
        ("labeled", "type/feature", "hls-bot"),
        ("labeled", "bug", "hls-bot"),
        ("unlabeled", "type/feature", "hls-bot"),
    ]


def test_permissions_of_collaborators_can_be_read(hub: github.Github) -> None:
    repository = hub.get_repo(REPOSITORY)
    assert repository.get_collaborator_permission("octocat") == "read"
    assert repository.get_collaborator_permission("Codertocat") == "admin"
    with pytest.raises(github.UnknownObjectException):
        repository.get_collaborator_permission("never-heard-of")


def test_pull_requests_of_a_fork_are_found_by_head_and_not_by_sha(hub: github.Github) -> None:
    repository = hub.get_repo(REPOSITORY)
    head = repository.get_pull(13).head.sha
    assert list(repository.get_commit(head).get_pulls()) == []
    found = repository.get_pulls(state="open", head="octocat:discount-codes")
    assert [(pull.number, pull.head.sha) for pull in found] == [(13, head)]
    assert list(repository.get_pulls(state="open", head="octocat:other")) == []
    assert list(repository.get_pulls(state="closed")) == []


def test_pull_requests_of_a_branch_are_found_by_sha(hub: github.Github, sandbox: Sandbox) -> None:
    seed_story(sandbox, "pull_request.opened")
    commit = hub.get_repo(REPOSITORY).get_commit("ec26c3e57ca3a959ca5aad62de7213c562f8c821")
    assert [pull.number for pull in commit.get_pulls()] == [2]


def test_lists_are_paginated_with_links_of_the_stand_in(sandbox: Sandbox, hub: github.Github) -> None:
    conversation = sandbox.state.conversation(REPOSITORY, 12)
    assert conversation is not None
    for number in range(7):
        sandbox.state.create_comment(conversation, f"comment {number}")
    answer = ask_github(sandbox, "GET", f"{BASE}/issues/12/comments?per_page=3&page=2")
    assert [comment["body"] for comment in answer.document] == ["comment 3", "comment 4", "comment 5"]
    address = f"{sandbox.github_url}{BASE}/issues/12/comments?per_page=3"
    assert answer.headers["link"] == (
        f'<{address}&page=1>; rel="prev", <{address}&page=3>; rel="next", '
        f'<{address}&page=3>; rel="last", <{address}&page=1>; rel="first"'
    )
    by_two = github.Github(auth=github.Auth.Token(sandbox.token), base_url=sandbox.github_url, per_page=2, lazy=True)
    assert len(list(by_two.get_repo(REPOSITORY).get_issue(12).get_comments())) == 7
    by_two.close()


def test_no_more_than_3000_files_are_listed(sandbox: Sandbox) -> None:
    one = recorded.load("pull_request.opened")
    files = [{"filename": f"f{number}"} for number in range(3100)]
    sandbox.state.seed(one.event, one.payload, files=files)
    last = ask_github(sandbox, "GET", f"{BASE}/pulls/2/files?per_page=100&page=30")
    assert last.document[-1]["filename"] == "f2999"
    assert ask_github(sandbox, "GET", f"{BASE}/pulls/2/files?per_page=100&page=31").document == []


def test_the_rate_limit_is_counted_and_enforced() -> None:
    time = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)

    def clock() -> datetime:
        return time

    with Sandbox(rate_limit=2, clock=clock) as sandbox:
        first = ask_github(sandbox, "GET", "/user")
        assert (first.headers["x-ratelimit-limit"], first.headers["x-ratelimit-remaining"]) == ("2", "1")
        assert first.headers["x-ratelimit-reset"] == str(int((time + timedelta(hours=1)).timestamp()))
        assert ask_github(sandbox, "GET", "/user").status == 200
        over = ask_github(sandbox, "GET", "/user")
        assert (over.status, over.headers["x-ratelimit-remaining"]) == (403, "0")
        client = github_client(sandbox)
        with pytest.raises(github.RateLimitExceededException):
            _ = client.get_user().login
        assert client.get_rate_limit().resources.core.remaining == 0
        client.close()
        time += timedelta(hours=1)
        assert ask_github(sandbox, "GET", "/user").status == 200


# --- rejections ------------------------------------------------------------------------------------------------------

COMMENTS, LABELS = f"{BASE}/issues/11/comments", f"{BASE}/issues/11/labels"


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "said"),
    [
        ("POST", COMMENTS, {}, 422, '"body" wasn\'t supplied'),
        ("POST", COMMENTS, {"body": " \n"}, 422, "missing_field"),
        ("POST", COMMENTS, {"body": None}, 422, "wrong type"),
        ("POST", COMMENTS, {"body": 7}, 422, "wrong type"),
        ("POST", COMMENTS, {"body": "x" * 65_537}, 422, "too long"),
        ("POST", COMMENTS, {"body": "x", "extra": 1}, 422, "not a permitted key"),
        ("POST", COMMENTS, [], 400, "Body should be a JSON object"),
        ("POST", COMMENTS, b"{", 400, "Problems parsing JSON"),
        ("POST", COMMENTS, b'{"body": "\\ud800"}', 400, "Problems parsing JSON"),
        ("POST", LABELS, {}, 422, '"labels" wasn\'t supplied'),
        ("POST", LABELS, {"labels": []}, 422, "empty"),
        ("POST", LABELS, {"labels": ["x" * 51]}, 422, "name is too long"),
        ("POST", LABELS, {"labels": ["  "]}, 422, "missing_field"),
        ("POST", LABELS, {"labels": [7]}, 422, "is not a string"),
        ("POST", LABELS, {"labels": [f"label {n}" for n in range(101)]}, 422, "may only have 100 labels"),
        ("POST", f"{BASE}/labels", {"color": "ffffff"}, 422, '"name" wasn\'t supplied'),
        ("POST", f"{BASE}/labels", {"name": "BUG", "color": "ffffff"}, 422, "already_exists"),
        ("POST", f"{BASE}/labels", {"name": "x" * 51}, 422, "name is too long"),
        ("POST", f"{BASE}/labels", {"name": "new", "color": "#fffff"}, 422, '"field": "color"'),
        ("POST", f"{BASE}/labels", {"name": "new", "color": "fffffff"}, 422, '"field": "color"'),
        ("POST", f"{BASE}/labels", {"name": "new", "description": "x" * 101}, 422, "description is too long"),
        ("PATCH", f"{BASE}/issues/comments/404", {"body": "x"}, 404, "Not Found"),
        ("GET", f"{BASE}/issues/comments/404", None, 404, "Not Found"),
        ("DELETE", f"{LABELS}/nothing", None, 404, "Label does not exist"),
        ("DELETE", LABELS, None, 404, "Not Found"),
        ("PUT", LABELS, {"labels": ["a"]}, 404, "Not Found"),
        ("GET", f"{BASE}/labels/nothing", None, 404, "Not Found"),
        ("GET", f"{BASE}/issues/999", None, 404, "Not Found"),
        ("GET", f"{BASE}/issues/seven", None, 404, "Not Found"),
        ("GET", f"{BASE}/issues/1", None, 410, "This issue was deleted"),
        ("POST", f"{BASE}/issues/1/comments", {"body": "x"}, 410, "This issue was deleted"),
        ("GET", f"{BASE}/pulls/11", None, 404, "Not Found"),
        ("GET", f"{BASE}/pulls?state=odd", None, 422, "invalid"),
        ("GET", "/repos/nobody/nothing", None, 404, "Not Found"),
        ("PUT", f"{BASE}/pulls/13/merge", {}, 404, "Not Found"),
        ("POST", f"{BASE}/pulls/13/reviews", {"event": "APPROVE"}, 422, "only reviews with the event COMMENT"),
        ("GET", "/nothing", None, 404, "Not Found"),
    ],
)
def test_invalid_requests_get_the_error_of_github(
    shared: Sandbox, method: str, path: str, body: object, status: int, said: str
) -> None:
    before = shared.state.world
    answer = ask_github(shared, method, path, body)
    assert (answer.status, said in answer.text.replace('\\"', '"')) == (status, True), answer.text
    assert answer.document["documentation_url"].startswith("https://docs.github.com/")
    assert shared.state.world == before


@pytest.mark.parametrize(
    ("headers", "status", "said"),
    [
        ({"Authorization": ""}, 401, "Requires authentication"),
        ({"Authorization": "token wrong"}, 401, "Bad credentials"),
        ({"Authorization": "Basic sandbox-github-token"}, 401, "Bad credentials"),
        ({"Authorization": "token sändbox"}, 401, "Bad credentials"),
        ({"User-Agent": ""}, 403, "User-Agent"),
        ({"Accept": "text/html"}, 415, "Must accept 'application/json'"),
        ({"X-GitHub-Api-Version": "2019-01-01"}, 400, "not a supported version"),
    ],
)
def test_wrong_headers_are_rejected(shared: Sandbox, headers: dict[str, str], status: int, said: str) -> None:
    answer = ask(shared.github_url, "GET", "/user", None, {"Authorization": f"Bearer {shared.token}", **headers})
    assert (answer.status, said in answer.text) == (status, True), answer.text


def test_a_body_without_json_content_type_is_415(shared: Sandbox) -> None:
    answer = ask_github(shared, "POST", COMMENTS, b'{"body": "x"}', Content_Type="text/plain")
    assert answer.status == 415


def test_a_wrong_token_raises_bad_credentials_in_pygithub(shared: Sandbox) -> None:
    client = github_client(shared, token="wrong")
    with pytest.raises(github.BadCredentialsException):
        _ = client.get_user().login
    client.close()


def ask_rejected(sandbox: Sandbox, method: str, path: str, body: object = None) -> Answer:
    answer = ask_github(sandbox, method, path, body)
    assert answer.status >= 300, answer.text
    return answer


def test_comments_on_locked_conversations_are_403(sandbox: Sandbox, hub: github.Github) -> None:
    made = hub.get_repo(REPOSITORY).get_issue(11).create_comment("x")
    payload: dict[str, Any] = recorded.load("demo/bug").payload
    sandbox.state.seed("issues", {**payload, "action": "locked", "issue": {**payload["issue"], "locked": True}})
    for method, path in (("POST", COMMENTS), ("PATCH", f"{BASE}/issues/comments/{made.id}")):
        answer = ask_rejected(sandbox, method, path, {"body": "y"})
        assert answer.status == 403
        assert "because issue is locked" in answer.document["message"]


def test_writes_to_an_archived_repository_are_403(sandbox: Sandbox) -> None:
    payload: dict[str, Any] = recorded.load("demo/bug").payload
    sandbox.state.seed("issues", {**payload, "repository": {**payload["repository"], "archived": True}})
    for method, path, body in (
        ("POST", COMMENTS, {"body": "x"}),
        ("POST", LABELS, {"labels": ["bug"]}),
        ("POST", f"{BASE}/labels", {"name": "new"}),
        ("DELETE", f"{LABELS}/bug", None),
    ):
        answer = ask_rejected(sandbox, method, path, body)
        assert (answer.status, answer.document["message"]) == (403, "Repository was archived so is read-only.")
    assert ask_github(sandbox, "GET", f"{BASE}/issues/11").status == 200


def test_a_403_names_the_missing_permission(sandbox: Sandbox) -> None:
    seed_story(sandbox)
    sandbox.state.set_permission(REPOSITORY, "hls-bot", "read")
    for method, path, body in (
        ("POST", LABELS, {"labels": ["bug"]}),
        ("POST", f"{BASE}/labels", {"name": "new"}),
        ("DELETE", f"{LABELS}/bug", None),
    ):
        answer = ask_rejected(sandbox, method, path, body)
        assert answer.status == 403
        assert answer.headers["x-accepted-github-permissions"] == "issues=write; pull_requests=write"
    sandbox.state.set_permission(REPOSITORY, "hls-bot", "none")
    assert ask_rejected(sandbox, "GET", BASE).status == 404


def test_comments_of_others_cannot_be_edited(sandbox: Sandbox) -> None:
    seed_story(sandbox, "issue_comment.created")
    (comment,) = ask_github(sandbox, "GET", f"{BASE}/issues/1/comments").document
    assert (comment["user"]["login"], comment["author_association"]) == ("Codertocat", "OWNER")
    assert ask_rejected(sandbox, "PATCH", f"{BASE}/issues/comments/{comment['id']}", {"body": "x"}).status == 403


def test_a_reaction_is_stored_once_for_each_account_and_content(sandbox: Sandbox) -> None:
    seed_story(sandbox, "issue_comment.created")
    (comment,) = ask_github(sandbox, "GET", f"{BASE}/issues/1/comments").document
    path = f"{BASE}/issues/comments/{comment['id']}/reactions"
    statuses = [ask_github(sandbox, "POST", path, {"content": content}).status for content in ("eyes", "eyes", "+1")]
    assert statuses == [201, 200, 201]
    listed = ask_github(sandbox, "GET", path).document
    assert [(one["user"]["login"], one["content"]) for one in listed] == [("hls-bot", "eyes"), ("hls-bot", "+1")]
    (shown,) = ask_github(sandbox, "GET", f"{BASE}/issues/1/comments").document
    assert [shown["reactions"][key] for key in ("total_count", "eyes", "+1", "confused")] == [2, 1, 1, 0]


def test_an_unknown_reaction_is_422(sandbox: Sandbox) -> None:
    seed_story(sandbox, "issue_comment.created")
    (comment,) = ask_github(sandbox, "GET", f"{BASE}/issues/1/comments").document
    path = f"{BASE}/issues/comments/{comment['id']}/reactions"
    assert ask_rejected(sandbox, "POST", path, {"content": "fire"}).status == 422
    assert ask_rejected(sandbox, "POST", f"{BASE}/issues/comments/1/reactions", {"content": "eyes"}).status == 404


def test_a_renamed_repository_is_redirected_to_a_url_of_the_stand_in(sandbox: Sandbox) -> None:
    seed_story(sandbox, "repository.renamed")
    payload: dict[str, Any] = recorded.load("repository.renamed").payload
    owner, old = payload["repository"]["owner"]["login"], payload["changes"]["repository"]["name"]["from"]
    read = ask_rejected(sandbox, "GET", f"/repos/{owner}/{old}")
    new = f"{sandbox.github_url}/repos/{payload['repository']['full_name']}"
    assert (read.status, read.headers["location"], read.document["url"]) == (301, new, new)
    assert ask_rejected(sandbox, "POST", f"/repos/{owner}/{old}/labels", {"name": "x"}).status == 307


def test_a_transferred_issue_is_redirected(sandbox: Sandbox) -> None:
    payload: dict[str, Any] = recorded.load("demo/bug").payload
    moved = {"new_issue": {"url": "https://api.github.com/repos/o/new/issues/4"}}
    sandbox.state.seed("issues", {**payload, "action": "transferred", "changes": moved})
    answer = ask_rejected(sandbox, "GET", f"{BASE}/issues/11")
    assert (answer.status, answer.headers["location"]) == (301, f"{sandbox.github_url}/repos/o/new/issues/4")


def test_values_at_the_limits_are_accepted(sandbox: Sandbox) -> None:
    seed_story(sandbox)
    assert ask_github(sandbox, "POST", COMMENTS, {"body": "x" * 65_536}).status == 201
    labels = [f"label {number}" for number in range(100)]
    assert ask_github(sandbox, "POST", LABELS, {"labels": labels}).status == 200
    assert ask_github(sandbox, "POST", LABELS, {"labels": ["one more"]}).status == 422
    longest = {"name": "n" * 50, "color": "ABCDEF", "description": "d" * 100}
    assert ask_github(sandbox, "POST", f"{BASE}/labels", longest).status == 201


def test_labels_can_be_a_bare_list_or_objects(sandbox: Sandbox) -> None:
    seed_story(sandbox)
    ask_github(sandbox, "POST", LABELS, ["bug"])
    answer = ask_github(sandbox, "POST", LABELS, {"labels": [{"name": "question"}]})
    assert [label["name"] for label in answer.document] == ["bug", "question"]


def test_urls_in_responses_are_replaced_and_text_is_unchanged(sandbox: Sandbox) -> None:
    payload: dict[str, Any] = recorded.load("demo/bug").payload
    body = "https://api.github.com/repos/x and https://github.com/x"
    sandbox.state.seed("issues", {**payload, "issue": {**payload["issue"], "body": body}})
    issue = ask_github(sandbox, "GET", f"{BASE}/issues/11").document
    assert issue["url"] == f"{sandbox.github_url}{BASE}/issues/11"
    assert issue["html_url"] == f"{sandbox.page_url}{REPOSITORY}/issues/11"
    assert issue["user"]["url"] == f"{sandbox.github_url}/users/octocat"
    assert issue["body"] == body
