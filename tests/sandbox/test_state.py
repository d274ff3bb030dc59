"""Changes of the state, which are on disk before the call returns."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hls_handler.prompting import recorded
from hls_handler.sandbox.effects import Effects
from hls_handler.sandbox.objects import Account, Thread
from hls_handler.sandbox.state import BOT, State, StateError

NOON = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
REPOSITORY = "Codertocat/Hello-World"
MONA = Account("mona", 3, "User")


def state_with_bug(path: Path | None = None) -> tuple[State, Thread]:
    state = State(path, clock=lambda: NOON)
    one = recorded.load("demo/bug")
    thread = state.seed(one.event, one.payload)
    assert thread is not None
    return state, thread


def current(state: State, thread: Thread) -> Thread:
    found = state.thread(thread.repository, thread.number)
    assert found is not None
    return found


def test_a_comment_belongs_to_the_bot_and_keeps_its_edits() -> None:
    state, thread = state_with_bug()
    made = state.create_comment(thread, "one")
    state.edit_comment(thread, state.edit_comment(thread, made, "two"), "three")
    (comment,) = current(state, thread).comments
    assert (comment.id, comment.author, comment.body) == (made.id, BOT, "three")
    assert [edit.body for edit in comment.edits] == ["one", "two"]


def test_an_edit_with_equal_text_is_not_recorded() -> None:
    state, thread = state_with_bug()
    edited = state.edit_comment(thread, state.create_comment(thread, "same"), "same")
    assert edited.edits == ()


def test_comment_ids_are_unique() -> None:
    state, thread = state_with_bug()
    assert state.create_comment(thread, "a").id != state.create_comment(thread, "b").id


def test_effects_of_every_comment_version_are_recorded() -> None:
    state, thread = state_with_bug()
    made = state.create_comment(thread, "fixes #3")
    state.edit_comment(thread, made, "hello @octocat")
    assert [(noted.thread, noted.comment, noted.effects) for noted in state.effects] == [
        (f"{REPOSITORY}#11", made.id, Effects(closes=("#3",), references=("#3",))),
        (f"{REPOSITORY}#11", made.id, Effects(notifies=("octocat",))),
    ]


def test_a_person_can_delete_a_comment_of_the_bot() -> None:
    state, thread = state_with_bug()
    made = state.create_comment(thread, "a")
    state.delete_comment(thread, made.id, by=MONA)
    assert current(state, thread).comments == ()
    assert [(event.happening, event.actor) for event in current(state, thread).events] == [("uncommented", MONA)]
    assert state.find_comment(REPOSITORY, made.id) is None


def test_a_label_change_is_one_event_with_its_actor() -> None:
    state, thread = state_with_bug()
    state.add_labels(thread, ("bug", "Bug", "brand-new"))
    state.add_labels(thread, ("bug",))
    state.remove_label(thread, "BUG", by=MONA)
    state.remove_label(thread, "bug", by=MONA)
    assert current(state, thread).labels == ("brand-new",)
    assert [(event.happening, event.detail, event.actor.login) for event in current(state, thread).events] == [
        ("labeled", "bug", "hls-bot"),
        ("labeled", "brand-new", "hls-bot"),
        ("unlabeled", "BUG", "mona"),
    ]


def test_a_missing_label_is_created_in_grey() -> None:
    state, thread = state_with_bug()
    state.add_labels(thread, ("brand-new",))
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


def test_threads_are_listed_most_recently_changed_first() -> None:
    state, thread = state_with_bug()
    question = recorded.load("demo/question")
    state.seed(question.event, question.payload)
    assert [found.number for found in state.threads()] == [12, 11]
    state.create_comment(thread, "a")
    assert [found.number for found in state.threads()] == [11, 12]


def test_the_state_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "github.json"
    state, thread = state_with_bug(path)
    state.edit_comment(thread, state.create_comment(thread, "a @octocat"), "b")
    state.add_labels(thread, ("bug",))
    state.set_permission(REPOSITORY, "octocat", "write")
    assert State(path).world == state.world


def test_the_state_file_is_complete_after_each_change(tmp_path: Path) -> None:
    path = tmp_path / "github.json"
    state, thread = state_with_bug(path)
    for number in range(5):
        state.create_comment(thread, f"comment {number}")
        again = State(path).thread(REPOSITORY, 11)
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
    found = state.thread(REPOSITORY, 11)
    assert found is not None
    assert found.title.startswith("Checkout answers 500")


def test_a_lone_surrogate_does_not_break_the_state_file(tmp_path: Path) -> None:
    state = State(tmp_path / "github.json")
    payload: dict[str, Any] = json.loads('{"repository":{"full_name":"o/r"},"issue":{"number":1,"title":"a\\ud800b"}}')
    state.seed("issues", payload)
    found = State(tmp_path / "github.json").thread("o/r", 1)
    assert found is not None
    assert found.title == "a?b"
