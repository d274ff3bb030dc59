"""The cache of replies in the pipeline: which questions cost no second call, and what follows from
a hit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from hls_handler.settings.providers import ClaudeSettings
from tests.engine.world import BUG, GUID, QUESTION, MakeWorld, World, settings
from tests.github_fake.files import set_file
from tests.handlers.world import file, finding, pull_request_analysis
from tests.queue.builders import replies_to


def make_issue_world(make_world: MakeWorld, *replies: object, **claude: object) -> World:
    """A world whose issue gets no labels, because they are part of the next question."""
    given = settings(features={"auto_labeling": False}, claude=claude)
    return make_world(*replies, given=given)


def process(world: World, *guids: str) -> None:
    for guid in guids:
        assert world.process(guid=guid).state == "done"


def cache_counters(world: World) -> dict[str, int]:
    return {
        label: n
        for (name, label), n in world.store.statistics.counters().items()
        if name == "reply_cache"
    }


def change_claude(world: World, **changes: object) -> None:
    claude = ClaudeSettings.model_validate({**world.settings.claude.model_dump(), **changes})
    world.settings = world.settings.model_copy(update={"claude": claude})


def test_same_question_costs_no_second_call_and_has_the_same_results(
    make_world: MakeWorld,
) -> None:
    world = make_issue_world(make_world, BUG, QUESTION)
    process(world, GUID, "second")
    assert len(world.claude.asked) == 1
    assert [len(world.store.calls.calls_of(guid)) for guid in (GUID, "second")] == [1, 0]
    (first,) = replies_to(world.store, GUID)
    (second,) = replies_to(world.store, "second")
    assert (second.prompt_id, second.reply_type, second.usage.model, second.reply) == (
        first.prompt_id,
        first.reply_type,
        first.usage.model,
        first.reply,
    )
    assert (world.row("second").analysis_status, world.row("second").posting_status) == (
        "done",
        "done",
    )
    assert len(world.github.conversation(1).comments) == 1
    assert cache_counters(world) == {"hits": 1, "misses": 1, "saved_micro_usd": 140}


def test_cache_that_is_off_neither_stores_nor_counts(make_world: MakeWorld) -> None:
    world = make_issue_world(make_world, cache_ttl_h=0)
    process(world, GUID, "second")
    assert (len(world.claude.asked), cache_counters(world)) == (2, {})
    change_claude(world, cache_ttl_h=168)
    process(world, "third")
    assert len(world.claude.asked) == 3


def test_rule_11_same_question_about_another_repository_is_asked_again(
    make_world: MakeWorld,
) -> None:
    world = make_issue_world(make_world)
    process(world, GUID)
    world.accept(guid="elsewhere", repository_id=1)  # of the same name
    assert world.finish().state == "done"
    assert [asked.task for asked in world.claude.asked] == [world.claude.asked[0].task] * 2


def change_prompt(world: World, **changes: object) -> None:
    prompts = dict(world.prompts.prompts)
    prompts["issues/analyze"] = replace(prompts["issues/analyze"], **changes)  # type: ignore[arg-type]
    world.prompts = replace(world.prompts, prompts=prompts)


@pytest.mark.parametrize(
    ("change", "asked"),
    [
        (lambda world: change_claude(world, base_url="https://claude.example.com"), 2),
        (lambda world: change_claude(world, model="claude-opus-5-5"), 2),
        (lambda world: change_prompt(world, effort="high"), 2),
        (lambda world: change_prompt(world, max_tokens=5001), 2),
        (
            lambda world: change_prompt(world, id="issues/analyze@ffffff"),
            1,
        ),  # such as after a change of its comment
    ],
    ids=["service", "model", "effort", "max_tokens", "prompt id"],
)
def test_service_model_and_options_are_part_of_the_question(
    make_world: MakeWorld, change: Callable[[World], None], asked: int
) -> None:
    world = make_issue_world(make_world)
    process(world, GUID)
    change(world)
    process(world, "second")
    assert len(world.claude.asked) == asked
    prompt_id = world.prompts.prompts["issues/analyze"].id
    assert [row.prompt_id for row in replies_to(world.store, "second")] == [prompt_id]


def test_cached_reply_that_no_longer_fits_the_prompt_is_asked_for_again(
    make_world: MakeWorld,
) -> None:
    world = make_issue_world(make_world)
    process(world, GUID)
    with world.store.database.writing() as connection:
        connection.exec_driver_sql('UPDATE calls SET reply = \'{"kind": "bug"}\'')
    process(world, "second", "third")
    assert [len(world.store.calls.calls_of(guid)) for guid in ("second", "third")] == [1, 0]


def test_rule_10_cached_reply_is_redacted(make_world: MakeWorld) -> None:
    token = "ghp_" + "a1B2" * 9
    world = make_issue_world(
        make_world, BUG.model_copy(update={"recommended_response": f"Revoke {token}."})
    )
    process(world, GUID, "second")
    assert len(world.claude.asked) == 1
    replies = [one.reply for guid in (GUID, "second") for one in replies_to(world.store, guid)]
    assert ["Revoke [redacted: github-token]." in reply for reply in replies] == [True, True]
    assert all(token not in step.value for step in world.store.checkpoints.load("second").values())


# Reviews: the same diff costs one call, whichever pull request has it


FILE = file("a.py", "@@ -1 +1 @@\n-a\n+b")
OTHER: dict[str, Any] = {
    "number": 3,
    "title": "The same again",
    "body": "Another text.",
    "head_ref": "again",
    "head_sha": "f" * 40,
}


REVIEW = {"verify": False, "max_inline": 0}  # no thread, so nobody dismisses


def make_review_world(make_world: MakeWorld, *replies: object) -> World:
    world = make_world(*(replies or (pull_request_analysis(),)), given=settings(review=REVIEW))
    world.review(FILE)
    return world


def test_same_diff_in_a_second_pull_request_costs_no_call_and_raises_the_same_finding(
    make_world: MakeWorld,
) -> None:
    reply = pull_request_analysis(findings=[finding(path="a.py", line=1, quote="b")])
    world = make_review_world(make_world, reply)
    world.review(FILE, guid="second", **OTHER)
    assert len(world.claude.asked) == 1
    counters = world.store.statistics.counters()
    assert (counters["reply_cache", "hits"], counters["reply_cache", "saved_micro_usd"]) == (1, 140)
    assert "Wrong" in world.github.comments[3]


def change_guidance(world: World) -> None:
    github = world.github
    set_file(github.state, github.repository, "AGENTS.md", "Prices are in cents.", branch="main")


def change_language(world: World) -> None:
    world.settings = settings(review=REVIEW, comments={"language": "Brazilian Portuguese"})


@pytest.mark.parametrize("change", [change_guidance, change_language])
def test_same_diff_is_another_question_after_a_change_of(
    make_world: MakeWorld, change: Callable[[World], None]
) -> None:
    world = make_review_world(make_world)
    change(world)
    world.review(FILE, guid="second", **OTHER)
    assert len(world.claude.asked) == 2


def test_reply_about_a_part_of_a_diff_is_not_the_reply_about_all_of_it(
    make_world: MakeWorld,
) -> None:
    world = make_review_world(make_world)
    both = replace(FILE, patch="@@ -1,2 +1,2 @@\n-a\n-x\n+b\n+y")
    world.review(both, guid="later")
    assert "Changed since the last review" in world.claude.asked[1].task
    world.review(both, guid="second", **OTHER)
    assert len(world.claude.asked) == 3


def test_review_with_earlier_findings_is_not_answered_from_the_cache(
    make_world: MakeWorld,
) -> None:
    world = make_review_world(make_world)
    both = file("a.py", "@@ -1 +1,2 @@\n-a\n+c\n+d", additions=2)
    world.review(both, guid="cached", number=4)
    found = pull_request_analysis(findings=[finding(path="a.py", line=1, quote="c")])
    world.claude.replies = [found, pull_request_analysis()]
    world.review(file("a.py", "@@ -1 +1 @@\n-a\n+c"), guid="second", **OTHER)
    world.review(both, guid="third", **OTHER)
    assert len(world.claude.asked) == 4
    assert "Earlier findings of this pull request" in world.claude.asked[3].task
