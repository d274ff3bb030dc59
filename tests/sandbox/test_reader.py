"""The sandbox's implementation of `Reader`."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from time import monotonic
from typing import Any

import pytest
from pydantic import SecretStr

from hls_handler.clients.api import GithubApi
from hls_handler.clients.reader import GithubReader
from hls_handler.clients.repository_labels import RepositoryLabels
from hls_handler.errors import Permanent
from hls_handler.handlers.reader import ChangedFile, Reader
from hls_handler.prompting import recorded
from hls_handler.sandbox.reader import SandboxReader
from hls_handler.sandbox.server import Sandbox
from hls_handler.sandbox.state import State
from hls_handler.settings.model import Github
from tests.sandbox.conftest import seed_story

REPOSITORY = "Codertocat/Hello-World"


@pytest.fixture
def state() -> State:
    state = State()
    for name in ("demo/bug", "demo/feature", "issues.opened", "issues.deleted"):
        one = recorded.load(name)
        state.seed(one.event, one.payload)
    return state


def test_an_issue_has_its_current_labels(state: State) -> None:
    reader: Reader = SandboxReader(state, REPOSITORY)
    conversation = state.conversation(REPOSITORY, 11)
    assert conversation is not None
    state.add_labels(conversation, ("bug",))
    issue = reader.issue(11)
    assert (issue.number, issue.user.login, issue.state) == (11, "octocat", "open")
    assert [label.name for label in issue.labels] == ["bug"]


def test_a_pull_request_has_its_files(state: State) -> None:
    reader = SandboxReader(state, REPOSITORY)
    pull = reader.pull_request(13)
    assert (pull.head_ref, pull.base_ref, pull.changed_files, pull.commits) == ("discount-codes", "master", 8, 3)
    files = reader.files(13)
    assert len(files) == 8
    sha, commit = "acd11dfd55f0678bd0c1ca3990cdb57ed68ea654", "18415b19a3c86b781ea9027b3367f3630b7aa675"
    assert files[0] == ChangedFile("assets/coupon.png", None, "added", 0, 0, None, sha, commit)
    assert (files[5].path, files[5].previous_path, files[5].status) == (
        "shop/money.py",
        "shop/price_utils.py",
        "renamed",
    )


def test_a_pull_request_can_be_read_as_an_issue(state: State) -> None:
    assert SandboxReader(state, REPOSITORY).issue(13).title == "Add discount codes to the checkout"


@pytest.mark.parametrize(
    ("number", "said"), [(99, "is not in the sandbox"), (1, "is not in the sandbox"), (11, "is an issue, not")]
)
def test_an_unknown_object_raises_permanent(state: State, number: int, said: str) -> None:
    with pytest.raises(Permanent, match=said):
        SandboxReader(state, REPOSITORY).files(number)


def test_a_review_has_its_comments(state: State) -> None:
    for name in ("demo/review", "demo/review-approved"):
        one = recorded.load(name)
        state.seed(one.event, one.payload)
    reader: Reader = SandboxReader(state, REPOSITORY)
    review, approval = reader.reviews(13)
    assert approval.state == "approved"
    assert (review.id, review.user.login, review.state) == (2304417713, "Codertocat", "changes_requested")
    assert review.commit_id == reader.pull_request(13).head_sha
    assert review.html_url == "https://github.com/Codertocat/Hello-World/pull/13#pullrequestreview-2304417713"
    comments = reader.review_comments(13, 2304417713)
    assert [(comment.path, comment.side, comment.line) for comment in comments] == [
        ("shop/checkout.py", "LEFT", 32),
        ("shop/discounts.py", "RIGHT", 36),
        ("web/cart.js", None, None),
    ]
    assert comments[1].hunk.endswith("\n+    for i in range(len(codes) - 1):")
    assert comments[1].body.startswith("This leaves out the last code")


def test_reviews_are_equal_with_and_without_http() -> None:
    with Sandbox() as sandbox:
        seed_story(sandbox, "demo/review")
        settings = Github(
            token=SecretStr(sandbox.token), webhook_secret=SecretStr("x" * 32), base_url=sandbox.github_url
        )
        with closing(GithubApi(settings, observe=lambda rate: None, now=lambda: datetime.now(UTC))) as api:
            over_http, without = (
                GithubReader(api, REPOSITORY, RepositoryLabels(monotonic)),
                SandboxReader(sandbox.state, REPOSITORY),
            )
            page = f"{sandbox.page_url}{REPOSITORY}/pull/13#pullrequestreview-2304417713"
            assert over_http.reviews(13) == (replace(without.reviews(13)[0], html_url=page),)
            assert over_http.review_comments(13, 2304417713) == without.review_comments(13, 2304417713)


def test_original_line_is_used_if_line_is_null(state: State) -> None:
    one = recorded.load("pull_request_review_comment.created.2")
    payload: dict[str, Any] = one.payload
    state.seed(one.event, {**payload, "comment": {**payload["comment"], "line": None, "original_line": 7}})
    (comment,) = SandboxReader(state, REPOSITORY).review_comments(2, 237895671)
    assert (comment.side, comment.line) == ("RIGHT", 7)


def test_a_review_without_recorded_comments_has_none(state: State) -> None:
    one = recorded.load("pull_request_review.submitted")
    state.seed(one.event, one.payload)
    reader = SandboxReader(state, REPOSITORY)
    assert (reader.reviews(2)[0].state, reader.review_comments(2, 237895671)) == ("commented", ())


@pytest.mark.parametrize(
    ("number", "said"), [(13, "has no review 5 in the sandbox"), (99, "is not in the sandbox"), (11, "is an issue")]
)
def test_an_unknown_review_raises_permanent(state: State, number: int, said: str) -> None:
    with pytest.raises(Permanent, match=said):
        SandboxReader(state, REPOSITORY).review_comments(number, 5)
