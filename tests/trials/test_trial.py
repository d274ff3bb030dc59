"""Trials of a prompt with the stored facts of a delivery."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hls_handler.analysis import IssueResponse
from hls_handler.errors import Permanent
from hls_handler.settings.model import Prompts
from hls_handler.trials.comparison import Comparison
from hls_handler.trials.replay import NotRepeatable
from hls_handler.trials.sender import Sender
from hls_handler.trials.trial import Trial, plan_trial, plan_trials, run_trials
from tests.engine.fakes import CLAUDE_DOWN, ISSUE, FakeClaude
from tests.engine.libraries import ANALYZE, load_cached
from tests.engine.world import BUG, GUID, QUESTION, MakeWorld, World, settings
from tests.prompting.samples import copy_shipped, write

PROMPT = "issues/analyze"
REPLY = IssueResponse(worth_saying=True, sources=[], answer="Set DATABASE_URL.", certain=True)


def plan(world: World, prompt: str = PROMPT, guid: str = GUID) -> Trial:
    trial = plan_trial(world.store, world.tools().config, world.row(guid), prompt)
    assert isinstance(trial, Trial)
    return trial


def run(world: World, trials: list[Trial], *replies: object) -> tuple[Comparison, ...]:
    return run_trials(world.store, trials, Sender(FakeClaude(list(replies))))  # type: ignore[arg-type]


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


def test_following_prompt_keeps_the_stored_reply_before_it(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    library = write(copy_shipped(tmp_path, "issues"), {"issues/analyze.j2": ANALYZE})
    prompts = Prompts.model_validate({"directory": [library]})
    world = make_world(
        QUESTION, REPLY, BUG, given=settings().model_copy(update={"prompts": prompts})
    )
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
