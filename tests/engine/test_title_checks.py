"""The check `HLS title`: on every head commit, also of ignored events, and of the title as it is
now.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hls_handler.settings.model import Settings
from tests.engine.claude import CLAUDE_DOWN
from tests.engine.test_unreviewed_checks import (
    BOT,
    NAME,
    QUEUE,
    REPLY,
    SHA,
    Pushed,
    drain,
    make_settings,
    request_checks,
)
from tests.engine.world import MakeWorld, World
from tests.github_fake.files import set_file

GOOD, BAD = "feat: square it", "Square it"
RENAMED: dict[str, Any] = {"changes": {"title": {"from": "x"}}}


def checking(**given: Any) -> Settings:
    return make_settings(title="check", **given)


def title_checks(world: World, commit: str = SHA) -> list[str]:
    return world.github.checks_of(commit, "HLS title")


def test_corrected_title_turns_the_check_green_without_a_call(make_world: MakeWorld) -> None:
    world = make_world(REPLY, given=checking(events=("pull_request.opened",)))
    pushed = Pushed(world, title=BAD)
    pushed.send("opened")
    assert world.finish().reason.endswith("; set HLS title to failure")
    pushed.title = GOOD
    assert pushed.send("edited", **RENAMED) == "queued"
    finished = world.finish()
    assert (finished.state, len(world.claude.asked)) == ("ignored", 1)
    assert finished.reason.endswith("; set HLS title to success")
    assert title_checks(world) == ["failure", "success"]
    assert world.github.checks_of(SHA) == ["success"]  # of the review


@pytest.mark.parametrize(
    ("action", "known"),
    [
        ("opened", {"draft": True}),
        ("synchronize", {"author": BOT}),
        ("reopened", {"title": "Square it [skip hls]"}),
        ("ready_for_review", {"labels": ["skip-hls"]}),
    ],
)
def test_ignored_pull_request_has_the_check(
    make_world: MakeWorld, action: str, known: dict[str, Any]
) -> None:
    world = make_world(REPLY, given=checking(check=False))
    assert replace(Pushed(world, title=BAD), **known).send(action) == "queued"
    assert world.finish().state == "ignored"
    assert (title_checks(world), world.github.checks_of(SHA), world.claude.asked) == (
        ["failure"],
        [],
        [],
    )


@pytest.mark.parametrize(
    ("given", "action", "changes"),
    [
        ({"entry": {"enabled": False}}, "opened", {}),
        ({"features": {"dry_run": True}}, "opened", {}),
        ({"events": ("issues",)}, "opened", {}),
        ({}, "closed", {}),
        ({}, "labeled", {"label": {"name": "bug"}}),
    ],
    ids=["disabled", "dry run", "no pull requests", "closed", "label"],
)
def test_other_events_have_no_check(
    make_world: MakeWorld, given: dict[str, Any], action: str, changes: dict[str, Any]
) -> None:
    world = make_world(REPLY, given=checking(check=False, **given))
    Pushed(world).send(action, **changes)
    drain(world)
    assert title_checks(world) == []


def test_nothing_is_written_by_default(make_world: MakeWorld) -> None:
    world = make_world(REPLY, given=make_settings(events=("pull_request.opened",)))
    pushed = Pushed(world)
    assert (pushed.send("edited", **RENAMED), request_checks(world)) == ("ignored", "queued")
    pushed.send("opened")
    drain(world)
    assert title_checks(world) == []


def test_event_that_was_delayed_checks_the_present_title(make_world: MakeWorld) -> None:
    world = make_world(REPLY, given=checking(check=False))
    pushed = Pushed(world, title=BAD)
    pushed.send("opened")
    replace(pushed, title=GOOD, head="2" * 40).put()
    world.finish()
    assert (title_checks(world), title_checks(world, "2" * 40)) == ([], ["success"])


def test_retries_of_the_review_do_not_repeat_the_check(make_world: MakeWorld) -> None:
    world = make_world(CLAUDE_DOWN, CLAUDE_DOWN, REPLY, given=checking())
    Pushed(world, title=GOOD).send("opened")
    drain(world)
    assert world.row("2-1").state == "done"
    writes = [call.partition(" ")[0] for call in world.github.writes if "check-runs" in call]
    assert writes == ["POST", "POST", "PATCH"]  # the last two are of the review


def test_rejected_check_does_not_stop_the_review(make_world: MakeWorld) -> None:
    world = make_world(REPLY, given=checking(check=False))
    Pushed(world).send("opened")
    world.github.fail(403, "POST /check-runs")
    finished = world.finish()
    assert (finished.state, title_checks(world)) == ("done", [])
    assert finished.reason.endswith(
        "; HLS title was not set: POST /repos/Codertocat/Hello-World/check-runs: 403 Fault: the"
        " token or its account lacks a permission"
    )


def test_repository_leaves_it_out_or_sets_other_types(make_world: MakeWorld) -> None:
    given = checking(
        check=False, features={"repository_settings": True}, events=("pull_request.closed",)
    )
    world = make_world(REPLY, given=given)
    pushed = Pushed(world, title="bug: it is round")
    for number, text in enumerate(["{title_types: [bug]}", "{title: false}"]):
        set_file(world.github.state, NAME, ".github/hls.yaml", f"pull_requests: {text}")
        pushed.send("edited", **RENAMED)
        world.finish()
        world.advance(301 * (number + 1))
    assert title_checks(world) == ["success"]


def test_commit_of_a_merge_queue_has_the_check(make_world: MakeWorld) -> None:
    world = make_world(given=checking(check=False))
    assert request_checks(world) == "queued"
    assert world.finish().reason.endswith("; set HLS title to success")
    assert (title_checks(world, QUEUE), world.github.calls) == (
        ["success"],
        ["POST /check-runs"],
    )


def test_draft_of_another_merge_queue_passes_whatever_its_title(make_world: MakeWorld) -> None:
    world = make_world(REPLY, given=checking(check=False))
    branch = "trunk-merge/pr-12/a4e9cabc-5181-4429-aea5-0501a52d0688"
    Pushed(world, title=branch, author=BOT, branch=branch).send("opened")
    assert world.finish().state == "ignored"
    assert title_checks(world) == ["success"]
