"""Webhooks make their threads exist, and later ones change them as GitHub would."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.planting import plant
from hls_handler.sandbox.world import Account, Thread, World

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
REPOSITORY = "Codertocat/Hello-World"


def planted(*names: str) -> World:
    world = World()
    for name in names:
        one = recorded.load(name)
        world, _ = plant(world, one.event, one.payload, now=NOON)
    return world


def thread(world: World, number: int) -> Thread:
    found = world.thread(REPOSITORY, number)
    assert found is not None
    return found


def issue_event(action: str, **more: Any) -> dict[str, Any]:
    payload: dict[str, Any] = recorded.load("issues.opened").payload
    issue = more.pop("issue", {})
    return {**payload, "action": action, "issue": {**payload["issue"], **issue}, **more}


@pytest.mark.parametrize("name", recorded.names())
def test_every_recorded_payload_can_be_planted(name: str) -> None:
    one = recorded.load(name)
    payload: Any = one.payload
    world, found = plant(World(), one.event, payload, now=NOON)
    shown = payload.get("pull_request") or payload.get("issue")
    full_name = (payload.get("repository") or {}).get("full_name")
    if shown is not None and full_name:
        assert found is not None
        assert (found.number, found.repository) == (shown["number"], full_name)
        assert world.thread(full_name.upper(), shown["number"]) == found
    else:
        assert found is None


def test_all_payloads_in_a_row_can_be_planted_into_one_world() -> None:
    world = planted(*recorded.names())
    assert {key for key in world.threads if key.startswith("codertocat")} == {
        f"codertocat/hello-world#{number}" for number in (1, 2, 11, 12, 13, 14)
    }


def test_an_issue_is_there_with_its_text_labels_and_author() -> None:
    issue = thread(planted("issues.opened"), 1)
    assert (issue.kind, issue.title, issue.state, issue.locked) == (
        "issue",
        "Spelling error in the README file",
        "open",
        False,
    )
    assert issue.author == Account("Codertocat", 21031067, "User")
    assert issue.labels == ("bug",)
    assert issue.comments == ()


def test_a_pull_request_of_the_story_has_its_files() -> None:
    pull = thread(planted("demo/feature"), 13)
    assert pull.kind == "pull"
    assert [file["filename"] for file in pull.files][:2] == ["assets/coupon.png", "migrations/0007_discount_codes.sql"]


def test_a_pull_request_that_nobody_knows_has_made_up_files() -> None:
    (file,) = thread(planted("pull_request.opened"), 2).files
    assert (file["filename"], file["additions"], file["deletions"]) == ("README.md", 1, 1)


def test_files_that_are_given_are_taken() -> None:
    one = recorded.load("pull_request.opened")
    _, pull = plant(World(), one.event, one.payload, now=NOON, files=[{"filename": "mine.py"}])
    assert pull is not None
    assert pull.files == ({"filename": "mine.py"},)


def test_a_push_changes_head_and_files_and_is_told() -> None:
    before, after = planted("demo/feature"), planted("demo/feature", "demo/feature-push")
    assert thread(after, 13).head_sha == recorded.load("demo/feature-push").payload["after"]
    assert thread(after, 13).files != thread(before, 13).files
    assert [(event.happening, event.detail) for event in thread(after, 13).events] == [
        ("pushed", thread(after, 13).head_sha)
    ]


def test_an_edit_keeps_comments_and_labels() -> None:
    world = planted("demo/bug")
    me = Account("hls-bot", 1, "User")
    world = world.with_label(REPOSITORY, "priority-high").with_thread_label(
        f"{REPOSITORY}#11", "priority-high", me, NOON
    )
    one = recorded.load("demo/bug-edited")
    world, edited = plant(world, one.event, one.payload, now=NOON)
    assert edited is not None
    assert edited.title == "Checkout answers 500 when the cart holds a discontinued product"
    assert edited.labels == ("priority-high",)
    assert [event.happening for event in edited.events] == ["labeled", "renamed"]


@pytest.mark.parametrize(
    ("change", "happening"),
    [({"state": "closed"}, "closed"), ({"locked": True}, "locked")],
)
def test_closing_and_locking_are_told(change: dict[str, Any], happening: str) -> None:
    world = planted("issues.opened")
    world, changed = plant(world, "issues", issue_event("closed", issue=change), now=NOON)
    assert changed is not None
    assert [event.happening for event in changed.events] == [happening]
    back, _ = plant(world, "issues", issue_event("reopened"), now=NOON)
    assert [event.happening for event in thread(back, 1).events] == [
        happening,
        {"closed": "reopened", "locked": "unlocked"}[happening],
    ]


def test_labeled_and_unlabeled_do_what_they_say() -> None:
    world = planted("issues.opened")
    label = {"name": "urgent", "color": "FF0000", "description": None}
    world, labeled = plant(world, "issues", issue_event("labeled", label=label), now=NOON)
    assert labeled is not None
    assert labeled.labels == ("bug", "urgent")
    assert world.repositories[REPOSITORY.lower()].labels["urgent"].color == "ff0000"
    _, unlabeled = plant(world, "issues", issue_event("unlabeled", label=label), now=NOON)
    assert unlabeled is not None
    assert unlabeled.labels == ("bug",)
    assert [(event.happening, event.actor.login) for event in unlabeled.events] == [
        ("labeled", "Codertocat"),
        ("unlabeled", "Codertocat"),
    ]


def test_a_label_that_was_taken_off_does_not_come_back_by_an_old_payload() -> None:
    world = planted("issues.opened")
    world = world.without_thread_label(f"{REPOSITORY}#1", "BUG", Account("mona", 3, "User"), NOON)
    _, again = plant(world, "issues", issue_event("edited"), now=NOON)
    assert again is not None
    assert again.labels == ()


def test_a_label_that_somebody_adds_elsewhere_is_added() -> None:
    labels = [{"name": "bug", "color": "d73a4a"}, {"name": "skip-hls", "color": "000000"}]
    _, again = plant(planted("issues.opened"), "issues", issue_event("edited", issue={"labels": labels}), now=NOON)
    assert again is not None
    assert again.labels == ("bug", "skip-hls")


def test_comments_come_change_and_go() -> None:
    payload: dict[str, Any] = recorded.load("issue_comment.created").payload
    world, commented = plant(World(), "issue_comment", payload, now=NOON)
    assert commented is not None
    (comment,) = commented.comments
    assert (comment.id, comment.author.login) == (payload["comment"]["id"], "Codertocat")
    changed = {**payload, "action": "edited", "comment": {**payload["comment"], "body": "Other words"}}
    world, edited = plant(world, "issue_comment", changed, now=NOON)
    assert edited is not None
    assert [(c.body, [e.body for e in c.edits]) for c in edited.comments] == [("Other words", [comment.body])]
    _, same = plant(world, "issue_comment", changed, now=NOON)
    assert same is not None
    assert same.comments == edited.comments
    _, deleted = plant(world, "issue_comment", {**changed, "action": "deleted"}, now=NOON)
    assert deleted is not None
    assert deleted.comments == ()


def test_deleted_and_transferred_issues_are_gone() -> None:
    assert thread(planted("issues.opened", "issues.deleted"), 1).gone == "deleted"
    moved = {"new_issue": {"url": "https://api.github.com/repos/o/new/issues/4"}}
    _, transferred = plant(World(), "issues", issue_event("transferred", changes=moved), now=NOON)
    assert transferred is not None
    assert (transferred.gone, transferred.moved_to) == (
        "transferred",
        "https://api.github.com/repos/o/new/issues/4",
    )
    assert thread(planted("issues.opened", "issues.deleted", "issues.opened"), 1).gone is None


def test_a_renamed_repository_is_known_by_its_old_name() -> None:
    payload: dict[str, Any] = recorded.load("repository.renamed").payload
    world, _ = plant(World(), "repository", payload, now=NOON)
    old = payload["changes"]["repository"]["name"]["from"]
    owner = payload["repository"]["owner"]["login"]
    assert world.moved == {f"{owner}/{old}".lower(): payload["repository"]["full_name"]}


def test_an_issue_that_turns_out_to_be_a_pull_request_becomes_one() -> None:
    world, issue = plant(World(), "issues", issue_event("opened", issue={"number": 2}), now=NOON)
    assert issue is not None
    assert issue.kind == "issue"
    one = recorded.load("pull_request.opened")
    world, pull = plant(world, one.event, one.payload, now=NOON)
    assert pull is not None
    assert (pull.kind, len(pull.files)) == ("pull", 1)


def test_a_pull_request_that_is_told_as_an_issue_keeps_its_head_and_addresses() -> None:
    world = planted("pull_request.opened", "issues.milestoned")
    pull = thread(world, 2)
    assert (pull.kind, pull.head_sha) == ("pull", "ec26c3e57ca3a959ca5aad62de7213c562f8c821")
    assert pull.document["url"] == "https://api.github.com/repos/Codertocat/Hello-World/pulls/2"
    first_told_as_issue = thread(planted("issues.milestoned"), 2)
    assert (first_told_as_issue.kind, first_told_as_issue.document["url"]) == ("pull", pull.document["url"])


def test_a_payload_with_almost_nothing_is_filled_up() -> None:
    payload = {"repository": {"id": 5, "full_name": "o/r"}, "issue": {"number": 3, "title": "Hi"}}
    world, found = plant(World(), "issues", payload, now=NOON)
    assert found is not None
    assert (found.title, found.body, found.author.login, found.labels) == ("Hi", "", "ghost", ())
    assert found.document["url"] == "https://api.github.com/repos/o/r/issues/3"
    assert found.document["milestone"] is None
    assert world.repository("O/R") is not None


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"repository": None},
        {"repository": {"full_name": 7}},
        {"repository": {"full_name": "o/r"}, "issue": None},
        {"repository": {"full_name": "o/r"}, "issue": {"number": "seven"}},
        {"repository": {"full_name": "o/r"}, "issue": []},
    ],
)
def test_a_payload_without_a_thread_plants_none(payload: dict[str, Any]) -> None:
    assert plant(World(), "issues", payload, now=NOON)[1] is None
