"""Reviews: told by webhooks, kept, and answered as GitHub does."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hls_handler.sandbox import recorded
from hls_handler.sandbox.planting import plant
from hls_handler.sandbox.state import State
from hls_handler.sandbox.world import Account, Review, Thread, World
from tests.sandbox.conftest import REPOSITORY

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
OWNER = Account("Codertocat", 21031067, "User")
REVIEW, APPROVAL = 2304417713, 2306120958


def planted(*names: str) -> World:
    world = World()
    for name in names:
        one = recorded.load(name)
        world, _ = plant(world, one.event, one.payload, now=NOON)
    return world


def told(world: World, name: str, action: str, **change: Any) -> World:
    """The world after a payload of that name with another action and a changed review or comment."""
    one = recorded.load(name)
    payload: dict[str, Any] = one.payload
    part = "comment" if "comment" in payload else "review"
    after, _ = plant(world, one.event, {**payload, "action": action, part: {**payload[part], **change}}, now=NOON)
    return after


def pull(world: World, number: int) -> Thread:
    found = world.thread(REPOSITORY, number)
    assert found is not None
    return found


def one_review(world: World, number: int = 2) -> Review:
    (review,) = pull(world, number).reviews
    return review


def happened(world: World, number: int) -> list[tuple[str, str, str]]:
    """What the timeline tells of reviews."""
    told_of = [event for event in pull(world, number).events if event.happening in {"reviewed", "review_dismissed"}]
    return [(event.happening, event.actor.login, event.detail) for event in told_of]


# --- planting --------------------------------------------------------------------------------------------------------


def test_a_submitted_review_is_there() -> None:
    world = planted("pull_request_review.submitted")
    assert one_review(world) == Review(
        id=237895671,
        author=OWNER,
        state="commented",
        body="",
        commit_id="ec26c3e57ca3a959ca5aad62de7213c562f8c821",
        submitted_at=datetime(2019, 5, 15, 15, 20, 38, tzinfo=UTC),
        comments=(),
    )
    assert happened(world, 2) == [("reviewed", "Codertocat", "237895671")]


def test_a_review_that_is_told_again_changes_and_keeps_its_comments() -> None:
    world = planted("pull_request_review_comment.created", "pull_request_review.submitted")
    world = told(world, "pull_request_review.submitted", "edited", body="Other words", state="APPROVED")
    review = one_review(world)
    assert (review.state, review.body, len(review.comments)) == ("approved", "Other words", 1)
    assert happened(world, 2) == [("reviewed", "Codertocat", "237895671")]


def test_a_dismissal_is_told_once_with_who_did_it() -> None:
    world = planted("pull_request_review.submitted", "pull_request_review.dismissed", "pull_request_review.dismissed")
    assert one_review(world).state == "dismissed"
    assert happened(world, 2) == [
        ("reviewed", "Codertocat", "237895671"),
        ("review_dismissed", "Codertocat", "237895671"),
    ]


def test_a_comment_makes_the_review_that_nobody_told_of() -> None:
    review = one_review(planted("pull_request_review_comment.created"))
    assert (review.id, review.author, review.state, review.body) == (237895671, OWNER, "commented", "")
    assert review.commit_id == "ec26c3e57ca3a959ca5aad62de7213c562f8c821"
    assert review.submitted_at == datetime(2019, 5, 15, 15, 20, 37, tzinfo=UTC)
    assert [(comment["id"], comment["path"]) for comment in review.comments] == [(284312630, "README.md")]


def test_comments_on_lines_come_change_and_go() -> None:
    world = planted("pull_request_review_comment.created")
    world = told(world, "pull_request_review_comment.created", "created", id=5, body="Second")
    world = told(world, "pull_request_review_comment.edited", "edited", body="Changed")
    assert [(c["id"], c["body"]) for c in one_review(world).comments] == [(284312630, "Changed"), (5, "Second")]
    world = told(world, "pull_request_review_comment.deleted", "deleted")
    assert [comment["id"] for comment in one_review(world).comments] == [5]
    assert told(world, "pull_request_review_comment.deleted", "deleted") == world


def test_a_deleted_comment_does_not_make_a_review() -> None:
    assert pull(planted("pull_request_review_comment.deleted"), 2).reviews == ()


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
def test_a_payload_without_a_review_plants_none(event: str, part: dict[str, Any]) -> None:
    payload = {"repository": {"full_name": "o/r"}, "pull_request": {"number": 3}, **part}
    _, thread = plant(World(), event, payload, now=NOON)
    assert thread is not None
    assert thread.reviews == ()


def test_a_review_with_almost_nothing_is_filled_up() -> None:
    payload = {"repository": {"full_name": "o/r"}, "pull_request": {"number": 3}, "review": {"id": 5}}
    _, thread = plant(World(), "pull_request_review", payload, now=NOON)
    assert thread is not None
    assert thread.reviews == (Review(5, Account("ghost", 10137, "User"), "commented", "", thread.head_sha, NOON),)


def test_the_storys_review_comes_with_its_comments() -> None:
    world = planted("demo/feature", "demo/feature-push", "demo/feature-retitled", "demo/review", "demo/review-approved")
    reviews = pull(world, 13).reviews
    assert [(review.id, review.state, len(review.comments)) for review in reviews] == [
        (REVIEW, "changes_requested", 3),
        (APPROVAL, "approved", 0),
    ]
    assert [event.happening for event in pull(world, 13).events] == ["pushed", "renamed", "reviewed", "reviewed"]


def test_a_comment_that_was_deleted_does_not_come_back_with_its_review() -> None:
    world = planted("demo/review")
    gone: dict[str, Any] = {**one_review(world, 13).comments[0]}
    payload: dict[str, Any] = {**recorded.load("demo/review").payload, "action": "deleted", "comment": gone}
    world, _ = plant(world, "pull_request_review_comment", payload, now=NOON)
    again = recorded.load("demo/review")
    world, _ = plant(world, again.event, again.payload, now=NOON)
    assert len(one_review(world, 13).comments) == 2


def test_a_pull_request_that_a_review_tells_first_has_its_files_and_their_numbers() -> None:
    alone = pull(planted("demo/review"), 13)
    assert [alone.document[name] for name in ("changed_files", "additions", "deletions")] == [8, 89, 19]
    known = pull(planted("demo/feature", "demo/feature-push", "demo/review"), 13)
    assert known.files == alone.files
    assert [known.document[name] for name in ("changed_files", "additions", "deletions")] == [8, 89, 19]


# --- keeping ---------------------------------------------------------------------------------------------------------


def test_reviews_are_there_again_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "github.json"
    state = State(path, clock=lambda: NOON)
    for name in ("demo/review", "demo/review-approved"):
        one = recorded.load(name)
        state.plant(one.event, one.payload)
    assert State(path).world == state.world
    assert len(pull(State(path).world, 13).reviews) == 2


def test_a_state_that_knows_no_reviews_can_still_be_read(tmp_path: Path) -> None:
    path = tmp_path / "github.json"
    one = recorded.load("demo/feature")
    State(path).plant(one.event, one.payload)
    older = json.loads(path.read_bytes())
    for thread in older["threads"].values():
        del thread["reviews"]
    path.write_text(json.dumps(older))
    assert pull(State(path).world, 13).reviews == ()
