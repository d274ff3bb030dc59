"""What people do after HLS: they change its labels, and authors answer what it asked for."""

from __future__ import annotations

import json
from dataclasses import replace

from hls_handler.events import Account
from hls_handler.prompting import recorded
from hls_handler.store.corrections import FieldFeedback, feedback_in
from tests.engine.world import BUG, Ended, MakeWorld, World
from tests.handlers.world import ISSUE

BOT_LABELS = ("bug", "priority-low", "difficulty-easy")
ANALYZE = "issues/analyze"


def change_label(
    world: World,
    action: str,
    label: str,
    *labels: str,
    guid: str = "changed",
) -> None:
    """Accept a label change of issue 1, which then has the labels `labels`; by the repository's
    owner.
    """
    payload = json.loads(recorded.load("issues.unlabeled").body)
    issue = payload["issue"] | {
        "number": 1,
        "title": ISSUE.title,
        "labels": [{"name": name} for name in labels],
    }
    payload |= {"action": action, "label": {"name": label}, "issue": issue}
    world.accept("issues.unlabeled", guid=guid, action=action, body=json.dumps(payload).encode())


def make_labelled_world(make_world: MakeWorld) -> World:
    """A world in which the bot has labelled issue 1."""
    world = make_world()
    world.process()
    world.github.calls.clear()
    world.advance(1)
    return world


def prompt_id(world: World) -> str:
    return world.tools().config.library.prompts[ANALYZE].id


def feedback(world: World, field: str) -> FieldFeedback:
    return feedback_in(world.store.statistics.counters())[prompt_id(world)][field]


def test_label_added_by_a_person_is_counted_and_its_removal_withdraws_that(
    make_world: MakeWorld,
) -> None:
    world = make_labelled_world(make_world)
    change_label(world, "labeled", "priority-high", *BOT_LABELS, "priority-high")
    reason = (
        f"a person put priority-high in place of priority-low, which {prompt_id(world)} had"
        " asked for"
    )
    assert world.run() == Ended("changed", "done", reason)
    change_label(world, "unlabeled", "priority-high", *BOT_LABELS, guid="back")
    assert world.run() == Ended(
        "back", "done", "a person set priority-low again: the correction is withdrawn"
    )
    assert feedback(world, "priority") == FieldFeedback(1, 0)


def test_label_of_a_field_without_bot_label_is_no_feedback(make_world: MakeWorld) -> None:
    world = make_labelled_world(make_world)
    change_label(world, "labeled", "component-backend", *BOT_LABELS, "component-backend")
    assert world.run() == Ended(
        "changed",
        "ignored",
        "HLS has set no component label here within 30 days, so its change is no feedback",
    )
    assert world.row("changed").reason_kind == "not a label of HLS"


def test_label_changes_without_a_delivery_are_found_by_the_next_one(
    make_world: MakeWorld,
) -> None:
    world = make_labelled_world(make_world)
    world.github.relabel(1, "question", "priority-low")
    world.process(guid="again")
    assert feedback(world, "kind") == FieldFeedback(1, 1)
    assert feedback(world, "difficulty") == FieldFeedback(1, 1)
    assert feedback(world, "priority") == FieldFeedback(1, 0)


# Replies of an issue's author


AUTHOR = Account("Codertocat", 21031067, "User")
ASKED = BUG.model_copy(update={"missing": ["The version"], "recommended_response": ""})
ANSWERED = BUG.model_copy(update={"worth_saying": False, "recommended_response": ""})
COMMENT = "issue_comment.created"


def says(world: World, text: str, *, guid: str) -> None:
    """The author comments on issue 1."""
    payload = json.loads(recorded.load(COMMENT).body)
    payload["comment"]["body"] = text
    payload["comment"]["id"] += int(guid)
    world.github.seed_event(COMMENT, payload)
    world.accept(COMMENT, guid=guid, number=1, body=json.dumps(payload).encode())


def ask_for_the_version(world: World) -> None:
    world.github.put_issue(replace(ISSUE, user=AUTHOR))
    world.process()


def test_comment_of_the_author_completes_the_checklist_and_removes_the_label(
    make_world: MakeWorld,
) -> None:
    world = make_world(ASKED, ANSWERED)
    ask_for_the_version(world)
    assert world.github.comments[1].startswith(
        "**Please add**, in the text above or in a comment:\n\n- [ ] The version"
    )
    assert "status/needs-info" in world.github.labels[1]

    says(world, "It is version 3.", guid="2")
    world.run()
    assert "It is version 3." in world.claude.asked[1].task
    assert world.github.comments[1].startswith(
        "Everything that was asked for is here:\n\n- [x] The version"
    )
    assert world.github.labels[1] == ("bug", "priority-low", "difficulty-easy")
    assert (world.row("2").state, world.row("2").handler) == ("done", "IssueHandler")


def test_comment_of_the_author_is_ignored_without_requests_if_nothing_is_open(
    make_world: MakeWorld,
) -> None:
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
