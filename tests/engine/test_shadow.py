"""Shadow prompts: their calls, their stored results, and that they have no other effect."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from hls_handler.analysis import IssueResponse
from hls_handler.engine.shadow import SHADOW, PromptResult
from hls_handler.errors import DependencyDown, LeaseLost
from tests.engine.fakes import CLAUDE_DOWN, INVALID, ISSUE
from tests.engine.shadow_world import (
    BUG_LABELS,
    MINOR,
    MINOR_LABELS,
    POSTED,
    make_shadow_world,
    stored_shadow,
    without_hash,
)
from tests.engine.world import BUG, GUID, QUESTION, MakeWorld

FIELDS = ("component", "difficulty", "kind", "priority", "suggested_labels")


def test_shadow_runs_after_the_posted_prompt_and_posts_nothing(
    make_world: MakeWorld, shared_folder: Path
) -> None:
    world = make_shadow_world(make_world, shared_folder / "shadow", BUG, MINOR)
    assert world.run() == POSTED
    first, second = world.claude.asked
    assert (first.prompt.name, second.prompt.name) == ("issues/analyze", "issues/strict")
    assert second.task == first.task
    assert world.github.calls == ["issue 1", "issue 1", "write labels", "write comment"]
    assert world.github.labels == {1: ("bug", "priority-low", "difficulty-easy")}
    assert (world.row().analysis_status, world.row().posting_status) == ("done", "done")
    shadow = stored_shadow(world)
    assert (shadow.prompt, shadow.state, shadow.reason) == ("issues/strict", "done", None)
    assert without_hash(shadow.posted) == PromptResult(
        "issues/analyze", BUG_LABELS, speaks=True, fields=FIELDS
    )
    assert without_hash(shadow.ran) == PromptResult(
        "issues/strict", MINOR_LABELS, speaks=False, fields=FIELDS
    )


def test_posting_is_stored_and_its_lock_released_before_the_shadow_runs(
    make_world: MakeWorld, shared_folder: Path
) -> None:
    world = make_shadow_world(make_world, shared_folder / "shadow", BUG, MINOR)
    statuses: list[object] = []

    def record_status(_what: str) -> None:
        if ("post", 1) in world.store.checkpoints.load(GUID):
            world.accept(guid="second", number=7)
            second = world.claim()
            # raises Postponed while the first holds it
            world.store.locks.acquire(second, "186853002#1/issues", ttl_s=20)
            statuses.append((world.row().state, world.row().posting_status))

    world.claude.on_call = record_status
    assert world.run() == POSTED
    assert statuses == [("running", "done")]


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([CLAUDE_DOWN], "Claude answered 529"),
        ([INVALID, INVALID], "cannot be used, the second"),
    ],
    ids=["outage", "unusable twice"],
)
def test_failed_shadow_is_recorded_and_has_no_other_effect(
    make_world: MakeWorld, shared_folder: Path, replies: list[object], reason: str
) -> None:
    world = make_shadow_world(make_world, shared_folder / "shadow", BUG, *replies)
    assert world.run() == POSTED
    assert (stored_shadow(world).state, stored_shadow(world).ran) == ("failed", None)
    assert reason in (stored_shadow(world).reason or "")
    assert (world.row().failures, world.row().attempts, world.row().analysis_status) == (
        0,
        0,
        "done",
    )
    assert world.health.snapshot().components["claude"].state == "healthy"
    assert world.store.rate_limiter.held_until("claude") is None
    assert world.store.calls.calls_of(GUID)[-1].error is not None


def test_defect_in_a_shadow_does_not_fail_the_delivery(
    make_world: MakeWorld, shared_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # the fake raises AttributeError
    world = make_shadow_world(make_world, shared_folder / "shadow", BUG, "no reply at all")
    assert world.run() == POSTED
    assert (
        stored_shadow(world).reason
        == "defect in HLS, please report it: AttributeError (the log has the trace)"
    )
    assert "defect in a shadow prompt" in caplog.text


def test_shadow_is_skipped_near_the_hourly_budget(
    make_world: MakeWorld, shared_folder: Path
) -> None:
    world = make_shadow_world(make_world, shared_folder / "shadow", BUG, calls_per_hour=5)
    for guid in (GUID, "second", "third"):
        world.github.issues = {1: replace(ISSUE, body=f"This is the {guid} text.")}
        world.accept(guid=guid)
        world.run()
    assert [asked.prompt.name.partition("/")[2] for asked in world.claude.asked] == [
        "analyze",
        "strict",
        "analyze",
        "strict",
        "analyze",
    ]
    third = SHADOW.decode(world.store.checkpoints.load("third").get((SHADOW.name, 0)))
    assert third is not None
    assert (third.state, third.ran) == ("skipped", None)
    assert (
        third.reason
        == "shadow prompts may not use the last 20% of claude.calls_per_hour: 5 of 5 calls were"
        " made within the hour"
    )
    assert world.row("third").state == "done"


def test_crash_during_a_shadow_does_not_repeat_finished_calls(
    make_world: MakeWorld, shared_folder: Path
) -> None:
    answer = IssueResponse(worth_saying=True, sources=[], answer="Set DATABASE_URL.", certain=True)
    world = make_shadow_world(
        make_world, shared_folder / "shadow", BUG, QUESTION, LeaseLost("it died"), answer
    )
    assert world.run() is None
    world.advance(31)
    assert world.run() == POSTED
    assert [asked.prompt.name.partition("/")[2] for asked in world.claude.asked] == [
        "analyze",
        "strict",
        "respond",
        "respond",
    ]
    assert world.github.calls.count("write comment") == 1
    assert stored_shadow(world).state == "done"


def test_rate_limit_response_to_a_shadow_holds_all_calls(
    make_world: MakeWorld, shared_folder: Path
) -> None:
    world = make_shadow_world(make_world, shared_folder / "shadow", BUG)
    until = world.store.now() + timedelta(minutes=5)
    world.claude.replies = [
        BUG,
        DependencyDown("429", dependency="claude", remedy="wait", not_before=until),
    ]
    assert world.run() == POSTED
    assert world.store.rate_limiter.held_until("claude") is not None
