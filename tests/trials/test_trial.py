"""Trials of a prompt with the stored facts of a delivery, and the stored results of shadow prompts."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from hls_handler.analysis import IssueResponse
from hls_handler.errors import Permanent
from hls_handler.settings.model import Prompts
from hls_handler.trials.comparison import Comparison, Report
from hls_handler.trials.replay import NotRepeatable
from hls_handler.trials.sender import Sender
from hls_handler.trials.trial import Trial, compare_stored, plan_trial, plan_trials, run_trials
from tests.engine.fakes import CLAUDE_DOWN, ISSUE, FakeClaude
from tests.engine.shadow_world import ANALYZE, MINOR, load_cached, make_shadow_world
from tests.engine.test_repository_settings import make_world_with_file
from tests.engine.world import BUG, GUID, QUESTION, MakeWorld, World, settings
from tests.prompting.samples import copy_shipped, write

PROMPT = "issues/analyze"
REPLY = IssueResponse(worth_saying=True, sources=[], answer="Set DATABASE_URL.", certain=True)


def plan(world: World, prompt: str = PROMPT, guid: str = GUID) -> Trial:
    return plan_trial(world.store, world.tools().config, world.row(guid), prompt)


def run(world: World, trials: list[Trial], *replies: object) -> tuple[Comparison, ...]:
    return run_trials(world.store, trials, Sender(FakeClaude(list(replies))))  # type: ignore[arg-type]


def test_prompt_is_rendered_with_the_settings_of_the_repository_as_it_was_sent(make_world: MakeWorld) -> None:
    world = make_world_with_file(make_world, "comments: {language: German}", BUG)
    world.finish()
    (rendered,) = plan(world).requests
    (sent,) = world.claude.asked
    assert "German" in rendered.task
    assert (rendered.system, rendered.task) == (sent.system, sent.task)


@pytest.fixture
def processed(make_world: MakeWorld) -> World:
    """A world with one finished issue."""
    world = make_world(BUG)
    world.accept()
    world.finish()
    return world


def test_unsuitable_deliveries_are_left_out(processed: World) -> None:
    other = replace(processed.row(), handler="pull_requests")
    config = processed.tools().config
    (trial,) = plan_trials(processed.store, config, PROMPT, [other, processed.row()])
    assert isinstance(trial, Trial)
    with pytest.raises(NotRepeatable, match=r"pull_requests/analyze is not for issues\.opened"):
        plan(processed, "pull_requests/analyze")


def test_credentials_in_a_reply_are_redacted(processed: World) -> None:
    leaking = BUG.model_copy(update={"recommended_response": f"Use ghp_{'a1B2' * 9}."})
    (result,) = run(processed, [plan(processed)], leaking)
    assert result.new is not None
    assert "Use " in result.new.replies
    assert "ghp_a1B2" not in str(result)


def test_nothing_more_is_asked_after_an_error_of_all_calls(processed: World) -> None:
    claude = FakeClaude([Permanent("too long"), CLAUDE_DOWN, BUG])
    first, second, third = run_trials(processed.store, [plan(processed)] * 3, Sender(claude))
    assert (first.problem, third.problem) == ("too long", "not asked, because of the error above")
    assert second.problem == f"{CLAUDE_DOWN}; {CLAUDE_DOWN.remedy}"
    assert len(claude.asked) == 2


def test_following_prompt_keeps_the_stored_reply_before_it(make_world: MakeWorld, tmp_path: Path) -> None:
    library = write(copy_shipped(tmp_path, "issues"), {"issues/analyze.j2": ANALYZE})
    prompts = Prompts.model_validate({"directory": [library]})
    world = make_world(QUESTION, REPLY, BUG, given=settings().model_copy(update={"prompts": prompts}))
    world.prompts = load_cached(world.settings)
    world.accept()
    world.finish()
    trial = plan(world, "issues/respond")
    assert [one.task for one in trial.requests] == [world.claude.asked[1].task]
    (result,) = run(world, [trial], REPLY.model_copy(update={"answer": "Another."}))
    assert [line for kind, line in result.reply_diff if kind in ("added", "removed")] == [
        "-answer: Set DATABASE_URL.",
        "+answer: Another.",
    ]
    world.github.issues = {1: replace(ISSUE, title="Another")}
    world.accept(guid="second")
    world.finish()
    with pytest.raises(NotRepeatable, match="its replies do not lead to issues/respond"):
        plan(world, "issues/respond", "second")


# --- recorded shadows ------------------------------------------------------------------------------------------------


def compare_recorded(world: World, prompt: str) -> Report:
    return compare_stored(world.store, prompt, since=world.store.now() - timedelta(days=1))


def test_shadow_is_compared_with_the_posted_result(make_world: MakeWorld, shared_folder: Path) -> None:
    world = make_shadow_world(make_world, shared_folder, BUG, MINOR)
    world.run()
    report = compare_recorded(world, "issues/strict")
    (found,) = report.comparisons
    shadow, posted = found.new, found.old
    assert shadow is not None
    assert posted is not None
    assert (found.guid, found.event_key, found.conversation) == (GUID, "issues.opened", "Codertocat/Hello-World#1")
    assert [(one.field, one.broken) for one in report.label_counts] == [
        ("", 1),
        ("difficulty", 0),
        ("kind", 0),
        ("priority", 1),
    ]
    assert (shadow.result.speaks, posted.result.speaks) == (False, True)
    assert (shadow.tokens, posted.tokens, shadow.cost_usd, posted.cost_usd) == (1000, 1000, 0.00014, 0.00014)
    assert report.excluded == {}
    assert compare_recorded(world, shadow.result.prompt_id).comparisons == (found,)
    assert compare_recorded(world, "issues/strict@000000").comparisons == ()
    assert compare_recorded(world, "issues/analyze").comparisons == ()
    later = world.store.now() + timedelta(seconds=1)
    assert compare_stored(world.store, "issues/strict", since=later).comparisons == ()
