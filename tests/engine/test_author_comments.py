"""The exchange with an issue's author: HLS asks for information, and evaluates their comments."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from hls_handler.analysis import CommentReply
from hls_handler.events import Account, Comment
from hls_handler.prompting import recorded
from hls_handler.settings.model import Repository, Settings
from tests.engine.fakes import ISSUE
from tests.engine.world import BUG, MakeWorld, World, settings

AUTHOR = Account("Codertocat", 21031067, "User")
ASKED = BUG.model_copy(update={"missing": ["The version"], "recommended_response": ""})
ANSWERED = BUG.model_copy(update={"worth_saying": False, "recommended_response": ""})
COMMENT = "issue_comment.created"


def says(world: World, text: str, *, guid: str) -> None:
    """The author comments on issue 1."""
    payload = json.loads(recorded.load(COMMENT).body)
    payload["comment"]["body"] = text
    world.github.comments_of[1] = (Comment(payload["comment"]["id"], AUTHOR, text, "NONE", "", None),)
    world.accept(COMMENT, guid=guid, number=1, body=json.dumps(payload).encode())


def ask_for_the_version(world: World) -> None:
    world.github.issues = {1: replace(ISSUE, user=AUTHOR)}
    world.accept()
    world.run()


def test_comment_of_the_author_completes_the_checklist_and_removes_the_label(make_world: MakeWorld) -> None:
    world = make_world(ASKED, ANSWERED)
    ask_for_the_version(world)
    assert world.github.comments[1].startswith(
        "**Please add**, in the text above or in a comment:\n\n- [ ] The version\n"
    )
    assert "status/needs-info" in world.github.labels[1]

    says(world, "It is version 3.", guid="2")
    world.run()
    assert "It is version 3." in world.claude.asked[1].task
    assert world.github.comments[1].startswith("Everything that was asked for is here:\n\n- [x] The version\n")
    assert world.github.labels[1] == ("bug", "priority-low", "difficulty-easy")
    assert (world.row("2").state, world.row("2").handler) == ("done", "IssueHandler")


def test_comment_of_the_author_is_ignored_without_requests_if_nothing_is_open(make_world: MakeWorld) -> None:
    world = make_world(ASKED, ANSWERED)
    ask_for_the_version(world)
    says(world, "It is version 3.", guid="2")
    world.run()
    world.github.calls.clear()
    says(world, "Thanks!", guid="3")
    world.run()
    assert (world.row("3").state, world.row("3").reason) == (
        "ignored",
        "the issue has no open checklist for its author",
    )
    assert (world.github.calls, len(world.claude.asked)) == ([], 2)


def with_comments() -> Settings:
    """Settings with `issue_comment` among the events."""
    repository = Repository(name="Codertocat/Hello-World", events=("issues", "issue_comment"))
    return settings().model_copy(update={"repositories": (repository,)})


@pytest.mark.parametrize("text", ["@hls-bot It is version 3.", "It is version 3. Can I work on this?"])
def test_author_who_asks_something_also_answers_the_open_request(make_world: MakeWorld, text: str) -> None:
    world = make_world(ASKED, ANSWERED, given=with_comments())
    ask_for_the_version(world)
    says(world, text, guid="2")
    world.run()
    assert (world.row("2").state, world.row("2").handler) == ("done", "IssueHandler")
    assert world.github.comments[1].startswith("Everything that was asked for is here:\n\n- [x] The version\n")
    assert world.github.labels[1] == ("bug", "priority-low", "difficulty-easy")
    assert len(world.claude.asked) == 2


def test_author_who_asks_something_is_answered_if_nothing_is_open(make_world: MakeWorld) -> None:
    reply = CommentReply(worth_saying=True, answer="Yes, go ahead.", certain=True)
    world = make_world(ASKED, ANSWERED, reply, given=with_comments())
    ask_for_the_version(world)
    says(world, "It is version 3.", guid="2")
    world.run()
    says(world, "@hls-bot Can I work on this?", guid="3")
    world.run()
    assert (world.row("3").state, world.row("3").handler) == ("done", "CommentHandler")
    assert len(world.claude.asked) == 3
