"""Issues, pull requests, labels and comments seeded from webhooks."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.objects import Account, Conversation
from hls_handler.sandbox.seeding import seed
from hls_handler.sandbox.world import World

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
REPOSITORY = "Codertocat/Hello-World"


def seeded(*names: str) -> World:
    world = World()
    for name in names:
        one = recorded.load(name)
        world, _ = seed(world, one.event, one.payload, now=NOON)
    return world


def conversation(world: World, number: int) -> Conversation:
    found = world.conversation(REPOSITORY, number)
    assert found is not None
    return found


def issue_event(action: str, **more: Any) -> dict[str, Any]:
    payload: dict[str, Any] = recorded.load("issues.opened").payload
    issue = more.pop("issue", {})
    return {**payload, "action": action, "issue": {**payload["issue"], **issue}, **more}


@pytest.mark.parametrize("name", recorded.names())
def test_every_recorded_payload_can_be_seeded(name: str) -> None:
    one = recorded.load(name)
    payload: Any = one.payload
    world, found = seed(World(), one.event, payload, now=NOON)
    shown = payload.get("pull_request") or payload.get("issue")
    full_name = (payload.get("repository") or {}).get("full_name")
    if shown is not None and full_name:
        assert found is not None
        assert (found.number, found.repository) == (shown["number"], full_name)
        assert world.conversation(full_name.upper(), shown["number"]) == found
    else:
        assert found is None


def test_all_recorded_payloads_can_be_seeded_into_one_world() -> None:
    world = seeded(*recorded.names())
    assert {key for key in world.threads if key.startswith("codertocat")} == {
        f"codertocat/hello-world#{number}" for number in (1, 2, 11, 12, 13, 14)
    }


def test_an_issue_is_stored_with_text_labels_and_author() -> None:
    issue = conversation(seeded("issues.opened"), 1)
    assert (issue.kind, issue.title, issue.state, issue.locked) == (
        "issue",
        "Spelling error in the README file",
        "open",
        False,
    )
    assert issue.author == Account("Codertocat", 21031067, "User")
    assert issue.labels == ("bug",)
    assert issue.comments == ()


def test_a_recorded_pull_request_has_its_files() -> None:
    pull = conversation(seeded("demo/feature"), 13)
    assert pull.kind == "pull"
    assert [file["filename"] for file in pull.files][:2] == ["assets/coupon.png", "migrations/0007_discount_codes.sql"]


def test_an_unrecorded_pull_request_has_generated_files() -> None:
    (file,) = conversation(seeded("pull_request.opened"), 2).files
    assert (file["filename"], file["additions"], file["deletions"]) == ("README.md", 1, 1)


def test_given_files_are_stored() -> None:
    one = recorded.load("pull_request.opened")
    _, pull = seed(World(), one.event, one.payload, now=NOON, files=[{"filename": "mine.py"}])
    assert pull is not None
    assert pull.files == (
        {
            "contents_url": "https://api.github.com/repos/Codertocat/Hello-World/contents/mine.py"
            "?ref=ec26c3e57ca3a959ca5aad62de7213c562f8c821",
            "filename": "mine.py",
        },
    )


def test_a_push_changes_head_and_files_and_adds_an_event() -> None:
    before, after = seeded("demo/feature"), seeded("demo/feature", "demo/feature-push")
    assert conversation(after, 13).head_sha == recorded.load("demo/feature-push").payload["after"]
    assert conversation(after, 13).files != conversation(before, 13).files
    assert [(event.kind, event.detail) for event in conversation(after, 13).events] == [
        ("pushed", conversation(after, 13).head_sha)
    ]


def test_an_edit_keeps_comments_and_labels() -> None:
    world = seeded("demo/bug")
    me = Account("hls-bot", 1, "User")
    world = world.with_label(REPOSITORY, "priority-high").with_conversation_label(
        f"{REPOSITORY}#11", "priority-high", me, NOON
    )
    one = recorded.load("demo/bug-edited")
    world, edited = seed(world, one.event, one.payload, now=NOON)
    assert edited is not None
    assert edited.title == "Checkout answers 500 when the cart holds a discontinued product"
    assert edited.labels == ("priority-high",)
    assert [event.kind for event in edited.events] == ["labeled", "renamed"]


@pytest.mark.parametrize(
    ("change", "kind"),
    [({"state": "closed"}, "closed"), ({"locked": True}, "locked")],
)
def test_closing_and_locking_add_events(change: dict[str, Any], kind: str) -> None:
    world = seeded("issues.opened")
    world, changed = seed(world, "issues", issue_event("closed", issue=change), now=NOON)
    assert changed is not None
    assert [event.kind for event in changed.events] == [kind]
    back, _ = seed(world, "issues", issue_event("reopened"), now=NOON)
    assert [event.kind for event in conversation(back, 1).events] == [
        kind,
        {"closed": "reopened", "locked": "unlocked"}[kind],
    ]


def test_labeled_and_unlabeled_change_the_labels() -> None:
    world = seeded("issues.opened")
    label = {"name": "urgent", "color": "FF0000", "description": None}
    world, labeled = seed(world, "issues", issue_event("labeled", label=label), now=NOON)
    assert labeled is not None
    assert labeled.labels == ("bug", "urgent")
    assert world.repositories[REPOSITORY.lower()].labels["urgent"].color == "ff0000"
    _, unlabeled = seed(world, "issues", issue_event("unlabeled", label=label), now=NOON)
    assert unlabeled is not None
    assert unlabeled.labels == ("bug",)
    assert [(event.kind, event.actor.login) for event in unlabeled.events] == [
        ("labeled", "Codertocat"),
        ("unlabeled", "Codertocat"),
    ]


def test_a_removed_label_is_not_restored_by_an_old_payload() -> None:
    world = seeded("issues.opened")
    world = world.without_conversation_label(f"{REPOSITORY}#1", "BUG", Account("mona", 3, "User"), NOON)
    _, again = seed(world, "issues", issue_event("edited"), now=NOON)
    assert again is not None
    assert again.labels == ()


def test_a_new_label_of_a_payload_is_added() -> None:
    labels = [{"name": "bug", "color": "d73a4a"}, {"name": "skip-hls", "color": "000000"}]
    _, again = seed(seeded("issues.opened"), "issues", issue_event("edited", issue={"labels": labels}), now=NOON)
    assert again is not None
    assert again.labels == ("bug", "skip-hls")


def test_comments_are_created_edited_and_deleted() -> None:
    payload: dict[str, Any] = recorded.load("issue_comment.created").payload
    world, commented = seed(World(), "issue_comment", payload, now=NOON)
    assert commented is not None
    (comment,) = commented.comments
    assert (comment.id, comment.author.login) == (payload["comment"]["id"], "Codertocat")
    changed = {**payload, "action": "edited", "comment": {**payload["comment"], "body": "Other words"}}
    world, edited = seed(world, "issue_comment", changed, now=NOON)
    assert edited is not None
    assert [(c.body, [e.body for e in c.edits]) for c in edited.comments] == [("Other words", [comment.body])]
    _, same = seed(world, "issue_comment", changed, now=NOON)
    assert same is not None
    assert same.comments == edited.comments
    _, deleted = seed(world, "issue_comment", {**changed, "action": "deleted"}, now=NOON)
    assert deleted is not None
    assert deleted.comments == ()


def test_deleted_and_transferred_issues_are_marked_as_gone() -> None:
    assert conversation(seeded("issues.opened", "issues.deleted"), 1).gone == "deleted"
    moved = {"new_issue": {"url": "https://api.github.com/repos/o/new/issues/4"}}
    _, transferred = seed(World(), "issues", issue_event("transferred", changes=moved), now=NOON)
    assert transferred is not None
    assert (transferred.gone, transferred.moved_to) == (
        "transferred",
        "https://api.github.com/repos/o/new/issues/4",
    )
    assert conversation(seeded("issues.opened", "issues.deleted", "issues.opened"), 1).gone is None


def test_the_old_name_of_a_repository_is_recorded() -> None:
    payload: dict[str, Any] = recorded.load("repository.renamed").payload
    world, _ = seed(World(), "repository", payload, now=NOON)
    old = payload["changes"]["repository"]["name"]["from"]
    owner = payload["repository"]["owner"]["login"]
    assert world.moved == {f"{owner}/{old}".lower(): payload["repository"]["full_name"]}


def test_an_issue_becomes_a_pull_request_if_a_later_payload_shows_one() -> None:
    world, issue = seed(World(), "issues", issue_event("opened", issue={"number": 2}), now=NOON)
    assert issue is not None
    assert issue.kind == "issue"
    one = recorded.load("pull_request.opened")
    world, pull = seed(world, one.event, one.payload, now=NOON)
    assert pull is not None
    assert (pull.kind, len(pull.files)) == ("pull", 1)


def test_a_pull_request_shown_as_issue_keeps_head_and_urls() -> None:
    world = seeded("pull_request.opened", "issues.milestoned")
    pull = conversation(world, 2)
    assert (pull.kind, pull.head_sha) == ("pull", "ec26c3e57ca3a959ca5aad62de7213c562f8c821")
    assert pull.document["url"] == "https://api.github.com/repos/Codertocat/Hello-World/pulls/2"
    first_shown_as_issue = conversation(seeded("issues.milestoned"), 2)
    assert (first_shown_as_issue.kind, first_shown_as_issue.document["url"]) == ("pull", pull.document["url"])


def test_an_incomplete_payload_gets_default_values() -> None:
    payload = {"repository": {"id": 5, "full_name": "o/r"}, "issue": {"number": 3, "title": "Hi"}}
    world, found = seed(World(), "issues", payload, now=NOON)
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
def test_a_payload_without_issue_or_pull_request_seeds_none(payload: dict[str, Any]) -> None:
    assert seed(World(), "issues", payload, now=NOON)[1] is None
