"""Trials of a prompt with the stored facts of a delivery, and the stored results of shadow prompts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from hls_handler.analysis import IssueResponse
from hls_handler.errors import Permanent
from hls_handler.trials.comparison import Comparison, Difference, Report
from hls_handler.trials.replay import load_stored_facts
from hls_handler.trials.sender import Sender
from hls_handler.trials.trial import Trial, compare_stored, plan_trial, run_trials
from tests.engine.fakes import CLAUDE_DOWN, FakeClaude
from tests.engine.shadow_world import (
    MINOR,
    load_cached,
    make_shadow_world,
    shadow_settings,
)
from tests.engine.world import BUG, GUID, MakeWorld, World

REPLY = IssueResponse(worth_saying=True, sources=[], answer="Set DATABASE_URL.", certain=True)


def make_processed_world(make_world: MakeWorld, folder: Path, *replies: object) -> World:
    """A world with one finished issue, without a shadow, whose library has a copy of the prompt."""
    world = make_world(*replies)
    world.accept()
    world.run()
    world.prompts = load_cached(shadow_settings(folder))
    return world


def plan(world: World) -> Trial:
    config = world.tools().config
    return plan_trial(world.store, config, load_stored_facts(world.store, world.row(), config.table), "issues/strict")


def try_again(world: World, *replies: object) -> Comparison:
    (result,) = run_trials(world.store, [plan(world)], Sender(FakeClaude(list(replies))))  # type: ignore[arg-type]
    return result


def test_credentials_in_a_reply_are_redacted(make_world: MakeWorld, tmp_path: Path) -> None:
    leaking = BUG.model_copy(update={"recommended_response": f"Use ghp_{'a1B2' * 9}."})
    new = try_again(make_processed_world(make_world, tmp_path / "own", BUG), leaking).new
    assert new is not None
    assert "ghp_a1B2" not in str(new)


def test_nothing_more_is_asked_after_an_error_of_all_calls(make_world: MakeWorld, tmp_path: Path) -> None:
    world = make_processed_world(make_world, tmp_path / "own", BUG)
    trial = plan(world)
    claude, paused_s = FakeClaude([Permanent("too long"), CLAUDE_DOWN, BUG]), list[float]()
    sender = Sender(claude, paused_s.append, interval_s=10.0)
    first, second, third = run_trials(world.store, [trial, trial, trial], sender)
    assert (first.problem, third.problem) == ("too long", "not asked, because of the error above")
    assert second.problem == f"{CLAUDE_DOWN}; {CLAUDE_DOWN.remedy}"
    assert len(claude.asked) == 2
    assert paused_s == [0.0, 10.0]


# --- recorded shadows ------------------------------------------------------------------------------------------------


def compare_recorded(world: World, prompt: str, other: str | None = None) -> Report:
    return compare_stored(world.store, prompt, other, since=world.store.now() - timedelta(days=1))


@pytest.fixture
def world(make_world: MakeWorld, tmp_path: Path) -> World:
    """A world with a delivery whose shadow has another result."""
    world = make_shadow_world(make_world, tmp_path / "own", BUG, MINOR)
    world.run()
    return world


def test_shadow_is_compared_with_the_posted_result(world: World) -> None:
    report = compare_recorded(world, "issues/strict")
    (found,) = report.comparisons
    shadow, posted = found.new, found.old
    assert shadow is not None
    assert posted is not None
    assert (found.guid, found.event_key, found.conversation) == (GUID, "issues.opened", "Codertocat/Hello-World#1")
    assert found.differences == (Difference("priority", ("priority-high",), ("priority-low",)),)
    assert (shadow.result.speaks, posted.result.speaks) == (False, True)
    assert (shadow.tokens, posted.tokens, shadow.cost_usd, posted.cost_usd) == (1000, 1000, 0.00014, 0.00014)
    assert report.excluded == {}


def test_names_versions_and_time_select_what_is_compared(world: World) -> None:
    (found,) = compare_recorded(world, "issues/strict", "issues/analyze").comparisons
    assert found.new is not None
    assert compare_recorded(world, found.new.result.prompt_id).comparisons == (found,)
    assert compare_recorded(world, "issues/analyze").comparisons == ()
    assert compare_recorded(world, "issues/strict", "issues/respond").comparisons == ()
    later = world.store.now() + timedelta(seconds=1)
    assert compare_stored(world.store, "issues/strict", None, since=later).comparisons == ()
