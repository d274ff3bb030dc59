"""Reviews seeded from webhooks, and their endpoints."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import github
import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.objects import Account, Conversation, Review
from hls_handler.sandbox.seeding import seed
from hls_handler.sandbox.server import Sandbox
from hls_handler.sandbox.state import State
from hls_handler.sandbox.world import World
from tests.sandbox.conftest import REPOSITORY, ask, ask_github, seed_story
from tests.sandbox.test_seeding import NOON, seeded

OWNER = Account("Codertocat", 21031067, "User")
HEAD = "d7a6e5f7fd70fc6d19584fbe682e1590fbeae450"
REVIEW, APPROVAL = 2304417713, 2306120958
ADDRESS = f"/repos/{REPOSITORY}/pulls/13/reviews/{REVIEW}"


def seed_changed(world: World, name: str, action: str, **change: Any) -> World:
    """Seed the payload with another action and a changed review or comment."""
    one = recorded.load(name)
    payload: dict[str, Any] = one.payload
    part = "comment" if "comment" in payload else "review"
    after, _ = seed(world, one.event, {**payload, "action": action, part: {**payload[part], **change}}, now=NOON)
    return after


def pull(world: World, number: int) -> Conversation:
    found = world.conversation(REPOSITORY, number)
    assert found is not None
    return found


def one_review(world: World, number: int = 2) -> Review:
    (review,) = pull(world, number).reviews
    return review


def review_events(world: World, number: int) -> list[tuple[str, str, str]]:
    """Return the timeline events about reviews."""
    events = [event for event in pull(world, number).events if event.kind in {"reviewed", "review_dismissed"}]
    return [(event.kind, event.actor.login, event.detail) for event in events]


# --- seeding --------------------------------------------------------------------------------------------------------


def test_a_submitted_review_is_stored() -> None:
    world = seeded("pull_request_review.submitted")
    assert one_review(world) == Review(
        id=237895671,
        author=OWNER,
        state="commented",
        body="",
        commit_id="ec26c3e57ca3a959ca5aad62de7213c562f8c821",
        submitted_at=datetime(2019, 5, 15, 15, 20, 38, tzinfo=UTC),
        comments=(),
    )
    assert review_events(world, 2) == [("reviewed", "Codertocat", "237895671")]


def test_a_repeated_review_is_updated_and_keeps_its_comments() -> None:
    world = seeded("pull_request_review_comment.created", "pull_request_review.submitted")
    world = seed_changed(world, "pull_request_review.submitted", "edited", body="Other words", state="APPROVED")
    review = one_review(world)
    assert (review.state, review.body, len(review.comments)) == ("approved", "Other words", 1)
    assert review_events(world, 2) == [("reviewed", "Codertocat", "237895671")]


def test_a_dismissal_is_one_event_with_its_actor() -> None:
    world = seeded("pull_request_review.submitted", "pull_request_review.dismissed", "pull_request_review.dismissed")
    assert one_review(world).state == "dismissed"
    assert review_events(world, 2) == [
        ("reviewed", "Codertocat", "237895671"),
        ("review_dismissed", "Codertocat", "237895671"),
    ]


def test_a_review_comment_creates_its_unknown_review() -> None:
    review = one_review(seeded("pull_request_review_comment.created"))
    assert (review.id, review.author, review.state, review.body) == (237895671, OWNER, "commented", "")
    assert review.commit_id == "ec26c3e57ca3a959ca5aad62de7213c562f8c821"
    assert review.submitted_at == datetime(2019, 5, 15, 15, 20, 37, tzinfo=UTC)
    assert [(comment["id"], comment["path"]) for comment in review.comments] == [(284312630, "README.md")]


def test_review_comments_are_created_edited_and_deleted() -> None:
    world = seeded("pull_request_review_comment.created")
    world = seed_changed(world, "pull_request_review_comment.created", "created", id=5, body="Second")
    world = seed_changed(world, "pull_request_review_comment.edited", "edited", body="Changed")
    assert [(c["id"], c["body"]) for c in one_review(world).comments] == [(284312630, "Changed"), (5, "Second")]
    world = seed_changed(world, "pull_request_review_comment.deleted", "deleted")
    assert [comment["id"] for comment in one_review(world).comments] == [5]
    assert seed_changed(world, "pull_request_review_comment.deleted", "deleted") == world


def test_a_deleted_comment_creates_no_review() -> None:
    assert pull(seeded("pull_request_review_comment.deleted"), 2).reviews == ()


@pytest.mark.parametrize(
    ("event", "part"),
    [
        ("pull_request_review", {}),
        ("pull_request_review", {"review": None}),
        ("pull_request_review", {"review": {"id": "seven"}}),
        ("pull_request_review_comment", {"comment": []}),
        ("pull_request_review_comment", {"comment": {"id": 5}}),
        ("pull_request_review_comment", {"comment": {"id": 5, "pull_request_review_id": None}}),
        ("pull_request", {"review": {"id": 5}}),
    ],
)
def test_a_payload_without_review_seeds_none(event: str, part: dict[str, Any]) -> None:
    payload = {"repository": {"full_name": "o/r"}, "pull_request": {"number": 3}, **part}
    _, conversation = seed(World(), event, payload, now=NOON)
    assert conversation is not None
    assert conversation.reviews == ()


def test_an_incomplete_review_gets_default_values() -> None:
    payload = {"repository": {"full_name": "o/r"}, "pull_request": {"number": 3}, "review": {"id": 5}}
    _, conversation = seed(World(), "pull_request_review", payload, now=NOON)
    assert conversation is not None
    assert conversation.reviews == (
        Review(5, Account("ghost", 10137, "User"), "commented", "", conversation.head_sha, NOON),
    )


def test_a_recorded_review_is_seeded_with_its_comments() -> None:
    world = seeded("demo/feature", "demo/feature-push", "demo/feature-retitled", "demo/review", "demo/review-approved")
    reviews = pull(world, 13).reviews
    assert [(review.id, review.state, len(review.comments)) for review in reviews] == [
        (REVIEW, "changes_requested", 3),
        (APPROVAL, "approved", 0),
    ]
    assert [event.kind for event in pull(world, 13).events] == ["pushed", "renamed", "reviewed", "reviewed"]


def test_a_deleted_comment_is_not_restored_by_its_review() -> None:
    world = seeded("demo/review")
    gone: dict[str, Any] = {**one_review(world, 13).comments[0]}
    payload: dict[str, Any] = {**recorded.load("demo/review").payload, "action": "deleted", "comment": gone}
    world, _ = seed(world, "pull_request_review_comment", payload, now=NOON)
    again = recorded.load("demo/review")
    world, _ = seed(world, again.event, again.payload, now=NOON)
    assert len(one_review(world, 13).comments) == 2


def test_a_pull_request_first_seen_in_a_review_has_files_and_their_totals() -> None:
    alone = pull(seeded("demo/review"), 13)
    assert [alone.document[name] for name in ("changed_files", "additions", "deletions")] == [8, 89, 19]
    known = pull(seeded("demo/feature", "demo/feature-push", "demo/review"), 13)
    assert known.files == alone.files
    assert [known.document[name] for name in ("changed_files", "additions", "deletions")] == [8, 89, 19]


# --- keeping ---------------------------------------------------------------------------------------------------------


def test_reviews_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "github.json"
    state = State(path, clock=lambda: NOON)
    for name in ("demo/review", "demo/review-approved"):
        one = recorded.load(name)
        state.seed(one.event, one.payload)
    assert State(path).world == state.world
    assert len(pull(State(path).world, 13).reviews) == 2


def test_a_state_file_without_reviews_can_be_loaded(tmp_path: Path) -> None:
    path = tmp_path / "github.json"
    one = recorded.load("demo/feature")
    State(path).seed(one.event, one.payload)
    older = json.loads(path.read_bytes())
    for conversation in older["threads"].values():
        del conversation["reviews"]
    path.write_text(json.dumps(older))
    assert pull(State(path).world, 13).reviews == ()


# --- the API ---------------------------------------------------------------------------------------------------------

REQUIRED_OF_A_REVIEW = {
    "id",
    "node_id",
    "user",
    "body",
    "state",
    "commit_id",
    "html_url",
    "pull_request_url",
    "_links",
    "author_association",
}
REQUIRED_OF_A_COMMENT = {
    "id",
    "node_id",
    "url",
    "body",
    "diff_hunk",
    "path",
    "position",
    "original_position",
    "commit_id",
    "original_commit_id",
    "user",
    "pull_request_review_id",
    "html_url",
    "pull_request_url",
    "_links",
    "author_association",
    "created_at",
    "updated_at",
}
"""Required keys of `pull-request-review` and `review-comment` in GitHub's description (@octokit/openapi 23.0.2)."""


def test_a_review_can_be_read_with_pygithub(sandbox: Sandbox, hub: github.Github) -> None:
    seed_story(sandbox, "demo/review")
    asked = hub.get_repo(REPOSITORY).get_pull(13)
    (review,) = asked.get_reviews()
    assert review.id == REVIEW
    assert (review.user.login, review.state, review.commit_id) == ("Codertocat", "CHANGES_REQUESTED", HEAD)
    assert review.body.startswith("Thank you, customers have been asking for this")
    assert review.submitted_at == datetime(2026, 11, 2, 11, 12, 44, tzinfo=UTC)
    assert review.html_url == f"{sandbox.page_url}{REPOSITORY}/pull/13#pullrequestreview-{REVIEW}"
    assert [comment.path for comment in asked.get_single_review_comments(REVIEW)] == [
        "shop/checkout.py",
        "shop/discounts.py",
        "web/cart.js",
    ]
    assert asked.review_comments == 3


def test_reviews_and_comments_have_all_required_keys(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/review")
    answer = ask_github(sandbox, "GET", f"/repos/{REPOSITORY}/pulls/13/reviews")
    (review,) = answer.document
    assert set(review) == REQUIRED_OF_A_REVIEW | {"submitted_at"}
    assert (review["state"], review["author_association"]) == ("CHANGES_REQUESTED", "OWNER")
    assert review["pull_request_url"] == f"{sandbox.github_url}/repos/{REPOSITORY}/pulls/13"
    assert review["_links"] == {
        "html": {"href": f"{sandbox.page_url}{REPOSITORY}/pull/13#pullrequestreview-{REVIEW}"},
        "pull_request": {"href": f"{sandbox.github_url}/repos/{REPOSITORY}/pulls/13"},
    }
    assert answer.headers["x-accepted-github-permissions"] == "pull_requests=read"


def test_review_comments_have_a_line_only_if_their_payload_had_one(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/review")
    answer = ask_github(sandbox, "GET", f"{ADDRESS}/comments")
    assert [REQUIRED_OF_A_COMMENT - set(comment) for comment in answer.document] == [set(), set(), set()]
    places = ("line", "side", "original_line")
    assert [{key: comment[key] for key in places if key in comment} for comment in answer.document] == [
        {"line": 32, "side": "LEFT", "original_line": 32},
        {"line": 36, "side": "RIGHT", "original_line": 36},
        {},
    ]
    assert {comment["pull_request_review_id"] for comment in answer.document} == {REVIEW}
    assert answer.document[0]["_links"]["self"]["href"] == answer.document[0]["url"]
    assert answer.document[0]["url"].startswith(f"{sandbox.github_url}/repos/{REPOSITORY}/pulls/comments/")
    assert answer.headers["x-accepted-github-permissions"] == "pull_requests=read"


def test_an_incomplete_review_comment_has_all_required_keys(sandbox: Sandbox) -> None:
    comment = {"id": 5, "pull_request_review_id": 6, "line": None, "side": None, "body": None, "position": None}
    payload: dict[str, Any] = {"repository": {"full_name": "o/r"}, "pull_request": {"number": 3}, "comment": comment}
    sandbox.state.seed("pull_request_review_comment", payload)
    (shown,) = ask_github(sandbox, "GET", "/repos/o/r/pulls/3/reviews/6/comments").document
    assert set(shown) == REQUIRED_OF_A_COMMENT
    assert (shown["path"], shown["body"], shown["diff_hunk"], shown["position"]) == ("", "", "", None)
    assert shown["html_url"] == f"{sandbox.page_url}o/r/pull/3#discussion_r5"


def test_review_comments_are_paginated_with_links(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/review")
    answer = ask_github(sandbox, "GET", f"{ADDRESS}/comments?per_page=2&page=2")
    assert [comment["path"] for comment in answer.document] == ["web/cart.js"]
    address = f"{sandbox.github_url}{ADDRESS}/comments?per_page=2&page=1"
    assert answer.headers["link"] == f'<{address}>; rel="prev", <{address}>; rel="first"'


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", f"/repos/{REPOSITORY}/pulls/99/reviews", 404),
        ("GET", f"/repos/{REPOSITORY}/pulls/13/reviews/404/comments", 404),
        ("GET", f"/repos/{REPOSITORY}/pulls/13/reviews/seven", 404),
        ("GET", f"/repos/{REPOSITORY}/pulls/11/reviews/{REVIEW}/comments", 404),
        ("GET", f"/repos/{REPOSITORY}/pulls/2/reviews/{REVIEW}/comments", 404),
        ("GET", f"/repos/{REPOSITORY}/pulls/99/reviews/{REVIEW}/comments", 404),
        ("GET", "/repos/nobody/nothing/pulls/13/reviews", 404),
        ("PUT", ADDRESS, 404),
        ("DELETE", ADDRESS, 404),
        ("POST", f"{ADDRESS}/comments", 404),
    ],
)
def test_unknown_reviews_and_writes_of_reviews_are_404(sandbox: Sandbox, method: str, path: str, status: int) -> None:
    seed_story(sandbox, "demo/bug", "pull_request.opened", "demo/review")
    before = sandbox.state.world
    answer = ask_github(sandbox, method, path)
    assert (answer.status, answer.document["message"]) == (status, "Not Found")
    assert sandbox.state.world == before


@pytest.mark.parametrize("path", [f"/repos/{REPOSITORY}/pulls/13/reviews", f"{ADDRESS}/comments"])
def test_reviews_are_not_read_with_a_wrong_token(sandbox: Sandbox, path: str) -> None:
    seed_story(sandbox, "demo/review")
    assert ask(sandbox.github_url, "GET", path, headers={"Authorization": "token wrong"}).status == 401


def test_reviews_are_not_listed_as_issue_events(sandbox: Sandbox) -> None:
    seed_story(sandbox, "demo/feature", "demo/feature-push", "demo/feature-retitled", "demo/review")
    events = ask_github(sandbox, "GET", f"/repos/{REPOSITORY}/issues/13/events").document
    assert [event["event"] for event in events] == ["renamed"]
