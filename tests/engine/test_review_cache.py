"""The cache of replies for reviews: the same diff costs one call, whichever pull request has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hls_handler.handlers.reader import ChangedFile, GuidanceFile, ReviewContext
from hls_handler.settings.model import Review
from tests.engine.world import MakeWorld, World, settings
from tests.handlers.world import file, finding, pull_request_analysis

FILE = file("a.py", "@@ -1 +1 @@\n-a\n+b")
OTHER: dict[str, Any] = {
    "number": 3,
    "title": "The same again",
    "body": "Another text.",
    "head_ref": "again",
    "head_sha": "f" * 40,
}


def make_review_world(make_world: MakeWorld, *replies: object) -> World:
    given = settings().model_copy(
        update={"review": Review(verify=False, max_inline=0)}
    )  # no thread, so nobody dismisses
    world = make_world(*(replies or (pull_request_analysis(),)), given=given)
    push(world, FILE)
    return world


def push(world: World, *files: ChangedFile, guid: str = "first", **known: Any) -> None:
    """Review a pull request, by default number 2, whose changed files are `files`."""
    world.open_pull_request(*files, guid=guid, **known)
    assert world.finish().state == "done"


def test_same_diff_in_a_second_pull_request_costs_no_call_and_raises_the_same_finding(make_world: MakeWorld) -> None:
    reply = pull_request_analysis(findings=[finding(path="a.py", line=1, quote="b")])
    world = make_review_world(make_world, reply)
    push(world, FILE, guid="second", **OTHER)
    assert len(world.claude.asked) == 1
    counters = world.store.statistics.counters()
    assert (counters["reply_cache", "hits"], counters["reply_cache", "saved_micro_usd"]) == (1, 140)
    assert "Wrong" in world.github.comments[3]


def change_guidance(world: World) -> None:
    world.github.contexts["main"] = ReviewContext(guidance=(GuidanceFile("AGENTS.md", "Prices are in cents."),))


def change_prompt(world: World) -> None:
    name = "pull_requests/analyze"
    changed = replace(world.prompts.prompts[name], id=f"{name}@ffffff")
    world.prompts = replace(world.prompts, prompts={**world.prompts.prompts, name: changed})


def change_language(world: World) -> None:
    comments = world.settings.comments.model_copy(update={"language": "Brazilian Portuguese"})
    world.settings = world.settings.model_copy(update={"comments": comments})


def change_categories(world: World) -> None:
    review = world.settings.review.model_copy(update={"categories": ("bugs", "style")})
    world.settings = world.settings.model_copy(update={"review": review})


@pytest.mark.parametrize("change", [change_guidance, change_prompt, change_language, change_categories])
def test_same_diff_is_another_question_after_a_change_of(
    make_world: MakeWorld, change: Callable[[World], None]
) -> None:
    world = make_review_world(make_world)
    change(world)
    push(world, FILE, guid="second", **OTHER)
    assert len(world.claude.asked) == 2


@pytest.mark.parametrize(
    "changed",
    [
        replace(FILE, path="b.py"),
        replace(FILE, status="renamed", previous_path="b.py"),
        replace(FILE, patch="@@ -1 +1 @@\n-a\n+c"),
    ],
    ids=["path", "previous path", "patch"],
)
def test_another_file_is_another_question(make_world: MakeWorld, changed: ChangedFile) -> None:
    world = make_review_world(make_world)
    push(world, changed, guid="second", **OTHER)
    assert len(world.claude.asked) == 2


def test_reply_about_a_part_of_a_diff_is_not_the_reply_about_all_of_it(make_world: MakeWorld) -> None:
    world = make_review_world(make_world)
    both = replace(FILE, patch="@@ -1,2 +1,2 @@\n-a\n-x\n+b\n+y")
    push(world, both, guid="later")
    assert "Changed since the last review" in world.claude.asked[1].task
    push(world, both, guid="second", **OTHER)
    assert len(world.claude.asked) == 3


def test_review_with_earlier_findings_is_not_answered_from_the_cache(make_world: MakeWorld) -> None:
    world = make_review_world(make_world)
    both = file("a.py", "@@ -1 +1,2 @@\n-a\n+c\n+d", additions=2)
    push(world, both, guid="cached", number=4)
    found = pull_request_analysis(findings=[finding(path="a.py", line=1, quote="c")])
    world.claude.replies = [found, pull_request_analysis()]
    push(world, file("a.py", "@@ -1 +1 @@\n-a\n+c"), guid="second", **OTHER)
    push(world, both, guid="third", **OTHER)
    assert len(world.claude.asked) == 4
    assert "Earlier findings of this pull request" in world.claude.asked[3].task
