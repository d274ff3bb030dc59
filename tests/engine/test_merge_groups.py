"""The check on a commit of a merge queue: concluded from reviews that ended, without a call to Claude."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from hls_handler.errors import Permanent
from hls_handler.handlers.reader import Commit, Comparison
from tests.engine.test_ignored_heads import BOT, NAME, Pushed, drain, make_settings
from tests.engine.world import MakeWorld, World
from tests.handlers.world import file, pull_request_analysis

QUEUE = "c" * 40
REPLY = pull_request_analysis()


def request_checks(world: World, *messages: str, number: int = 2, action: str = "checks_requested") -> str:
    """Let GitHub request the checks on a commit of the queue; return how the event was accepted."""
    commits = tuple(Commit(f"{at:040x}", message, "mona") for at, message in enumerate(messages or ("Fix (#2)",)))
    world.github.comparison = Comparison(total=len(commits), commits=commits)
    payload = {
        "action": action,
        "merge_group": {
            "head_sha": QUEUE,
            "head_ref": f"refs/heads/gh-readonly-queue/main/pr-{number}-{'b' * 40}",
            "base_sha": "b" * 40,
            "base_ref": "refs/heads/main",
        },
        "repository": {"id": 186853002, "full_name": NAME},
        "sender": {"login": "github-merge-queue[bot]", "id": 9, "type": "Bot"},
    }
    return world.receive("merge_group", payload, guid="queue")


def queue_check(world: World) -> list[str]:
    return [*world.github.checks_on.get(QUEUE, {}).values()]


def test_reviewed_pull_request_gets_a_success_without_a_call(make_world: MakeWorld) -> None:
    world = make_world(REPLY, given=make_settings())
    Pushed(world).send("opened")
    world.finish()
    assert request_checks(world) == "queued"
    finished = world.finish()
    assert (finished.state, queue_check(world), len(world.claude.asked)) == ("done", ["success"], 1)
    assert finished.reason == "set the check to success: Merge queue: 1 pull request was reviewed at the head"
    assert world.row("queue").number == 2
    assert f"2 at {'0' * 10}" in world.github.check_actions[-1].summary


@pytest.mark.parametrize(
    ("second", "incomplete", "check"),
    [
        ({}, "failure", "success"),
        ({"draft": True}, "failure", "failure"),
        ({"draft": True}, "neutral", "neutral"),
        ({"author": BOT}, "failure", "neutral"),
        (None, "failure", "failure"),
    ],
    ids=["reviewed", "draft", "draft, neutral", "bot", "newer commit"],
)
def test_group_is_as_its_least_reviewed_pull_request(
    make_world: MakeWorld, second: dict[str, Any] | None, incomplete: str, check: str
) -> None:
    world = make_world(REPLY, given=make_settings(incomplete=incomplete))
    for number, known in ((2, {}), (3, second or {})):
        pushed = Pushed(world, number, f"{number:040x}", **known)
        pushed.send("opened")
    drain(world)
    if second is None:  # a push whose webhook has not arrived
        world.github.pull_requests[3] = replace(world.github.pull_requests[3], head_sha="d" * 40)
    request_checks(world, "Fix (#2)", "Merge pull request #3 from mona/fix")
    assert (world.finish().state, queue_check(world)) == ("done", [check])
    assert world.github.check_actions[-1].is_exempt == (second == {"author": BOT})


def test_group_waits_for_a_review_in_progress(make_world: MakeWorld) -> None:
    world = make_world(REPLY, given=make_settings())
    for number in (2, 3):
        Pushed(world, number, f"{number:040x}").send("opened")
    world.github.changed[3] = (file("other.py"),)
    world.finish()
    during: list[object] = []

    def request(_: str) -> None:
        request_checks(world, "Fix (#2)", "Add (#3)")
        during.extend([world.run(), queue_check(world), world.row("queue").reason])

    world.claude.on_call = request
    assert world.finish().state == "done"
    assert during == [None, [], "pull request 3 of the merge queue is being reviewed"]
    world.claude.on_call = lambda _: None
    drain(world)
    assert queue_check(world) == ["success"]


@pytest.mark.parametrize(
    ("given", "action"),
    [
        ({"entry": {"enabled": False}}, "checks_requested"),
        ({"check": False}, "checks_requested"),
        ({"events": ("issues",)}, "checks_requested"),
        ({"features": {"dry_run": True}}, "checks_requested"),
        ({}, "destroyed"),
    ],
)
def test_group_is_ignored_where_hls_sets_no_checks(make_world: MakeWorld, given: dict[str, Any], action: str) -> None:
    world = make_world(REPLY, given=make_settings(**given))
    assert request_checks(world, action=action) == "ignored"
    assert world.github.calls == []


def test_group_whose_pull_request_cannot_be_read_ends_as_incomplete(make_world: MakeWorld) -> None:
    world = make_world(REPLY, given=make_settings(incomplete="failure"))
    request_checks(world)
    world.github.failing = [Permanent("GitHub answered 404")]
    assert world.finish().state == "dead"
    drain(world)
    assert queue_check(world) == ["failure"]
