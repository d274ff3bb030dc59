"""Changes of the state, which are on disk before the call returns."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.effects import Effects
from hls_handler.sandbox.objects import Account, Conversation
from hls_handler.sandbox.state import BOT, State, StateError

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
REPOSITORY = "Codertocat/Hello-World"
MONA = Account("mona", 3, "User")


def state_with_bug(path: Path | None = None) -> tuple[State, Conversation]:
    state = State(path, clock=lambda: NOON)
    one = recorded.load("demo/bug")
    conversation = state.seed(one.event, one.payload)
    assert conversation is not None
    return state, conversation


def current(state: State, conversation: Conversation) -> Conversation:
    found = state.conversation(conversation.repository, conversation.number)
    assert found is not None
    return found


def test_a_comment_belongs_to_the_bot_and_keeps_its_edits() -> None:
    state, conversation = state_with_bug()
    made = state.create_comment(conversation, "one")
    state.edit_comment(conversation, state.edit_comment(conversation, made, "two"), "three")
    (comment,) = current(state, conversation).comments
    assert (comment.id, comment.author, comment.body) == (made.id, BOT, "three")
    assert [edit.body for edit in comment.edits] == ["one", "two"]


def test_an_edit_with_equal_text_is_not_recorded() -> None:
    state, conversation = state_with_bug()
    edited = state.edit_comment(conversation, state.create_comment(conversation, "same"), "same")
    assert edited.edits == ()


def test_comment_ids_are_unique() -> None:
    state, conversation = state_with_bug()
    assert state.create_comment(conversation, "a").id != state.create_comment(conversation, "b").id


def test_effects_of_every_comment_version_are_recorded() -> None:
    state, conversation = state_with_bug()
    made = state.create_comment(conversation, "fixes #3")
    state.edit_comment(conversation, made, "hello @octocat")
    assert [(noted.thread, noted.comment, noted.effects) for noted in state.effects] == [
        (f"{REPOSITORY}#11", made.id, Effects(closes=("#3",), references=("#3",))),
        (f"{REPOSITORY}#11", made.id, Effects(notifies=("octocat",))),
    ]


def test_a_label_change_is_one_event_with_its_actor() -> None:
    state, conversation = state_with_bug()
    state.add_labels(conversation, ("bug", "Bug", "brand-new"))
    state.add_labels(conversation, ("bug",))
    state.remove_label(conversation, "BUG", by=MONA)
    state.remove_label(conversation, "bug", by=MONA)
    assert current(state, conversation).labels == ("brand-new",)
    assert [(event.kind, event.detail, event.actor.login) for event in current(state, conversation).events] == [
        ("labeled", "bug", "hls-bot"),
        ("labeled", "brand-new", "hls-bot"),
        ("unlabeled", "BUG", "mona"),
    ]


def test_a_missing_label_is_created_in_grey() -> None:
    state, conversation = state_with_bug()
    state.add_labels(conversation, ("brand-new",))
    home = state.repository(REPOSITORY)
    assert home is not None
    assert home.labels["brand-new"].color == "ededed"
    assert home.labels["bug"].description == "Something isn't working"


@pytest.mark.parametrize(
    ("login", "permission"),
    [("Codertocat", "admin"), ("HLS-bot", "write"), ("octocat", "read"), ("nobody-knows", None)],
)
def test_default_permissions_depend_on_the_account(login: str, permission: str | None) -> None:
    state, _ = state_with_bug()
    assert state.permission(REPOSITORY, login) == permission


def test_a_permission_can_be_set() -> None:
    state, _ = state_with_bug()
    state.set_permission(REPOSITORY, "OctoCat", "write")
    assert state.permission(REPOSITORY, "octocat") == "write"


def test_conversations_are_listed_most_recently_changed_first() -> None:
    state, conversation = state_with_bug()
    question = recorded.load("demo/question")
    state.seed(question.event, question.payload)
    assert [found.number for found in state.conversations()] == [12, 11]
    state.create_comment(conversation, "a")
    assert [found.number for found in state.conversations()] == [11, 12]


def test_the_state_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "github.json"
    state, conversation = state_with_bug(path)
    state.edit_comment(conversation, state.create_comment(conversation, "a @octocat"), "b")
    state.add_labels(conversation, ("bug",))
    state.set_permission(REPOSITORY, "octocat", "write")
    assert State(path).world == state.world


def test_the_state_file_is_complete_after_each_change(tmp_path: Path) -> None:
    path = tmp_path / "github.json"
    state, conversation = state_with_bug(path)
    for number in range(5):
        state.create_comment(conversation, f"comment {number}")
        again = State(path).conversation(REPOSITORY, 11)
        assert again is not None
        assert len(again.comments) == number + 1
    assert [left.name for left in tmp_path.iterdir()] == ["github.json"]


def test_a_file_of_another_format_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "github.json"
    path.write_text('{"threads": 7}')
    with pytest.raises(StateError, match="delete it to start with an empty sandbox"):
        State(path)


def test_a_seeded_payload_is_copied() -> None:
    state = State()
    payload: dict[str, Any] = recorded.load("demo/bug").payload
    state.seed("issues", payload)
    payload["issue"]["title"] = "changed behind our back"
    found = state.conversation(REPOSITORY, 11)
    assert found is not None
    assert found.title.startswith("Checkout answers 500")


def test_a_lone_surrogate_does_not_break_the_state_file(tmp_path: Path) -> None:
    state = State(tmp_path / "github.json")
    payload: dict[str, Any] = json.loads('{"repository":{"full_name":"o/r"},"issue":{"number":1,"title":"a\\ud800b"}}')
    state.seed("issues", payload)
    found = State(tmp_path / "github.json").conversation("o/r", 1)
    assert found is not None
    assert found.title == "a?b"
