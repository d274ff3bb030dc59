"""What a prompt can be tried with: suitable deliveries, and the replies to the prompts before it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hls_handler import shipped
from hls_handler.analysis import IssueResponse
from hls_handler.settings.model import Prompts
from hls_handler.store.statistics import DeliveryRow
from hls_handler.trials.comparison import Comparison
from hls_handler.trials.replay import NotRepeatable
from hls_handler.trials.sender import Sender
from hls_handler.trials.trial import Trial, choose_trials, plan_trials, run_trials
from tests.engine.conftest import make_world
from tests.engine.fakes import ISSUE, FakeClaude
from tests.engine.shadow_world import ANALYZE, load_cached
from tests.engine.test_repository_settings import make_world_with_file
from tests.engine.world import BUG, QUESTION, MakeWorld, World, settings
from tests.prompting.samples import write

__all__ = ["make_world"]

PROMPT = "issues/analyze"
REPLY = IssueResponse(worth_saying=True, sources=[], answer="Set DATABASE_URL.", certain=True)


def plan(world: World, prompt: str, rows: Sequence[DeliveryRow], *, guid: str = "") -> list[Trial | Comparison]:
    return list(plan_trials(world.store, world.tools().config, prompt, rows, guid=guid))


def plan_one(world: World, prompt: str, row: DeliveryRow) -> Trial:
    (trial,) = plan(world, prompt, [row])
    assert isinstance(trial, Trial)
    return trial


def test_prompt_is_rendered_with_the_settings_of_the_repository_as_it_was_sent(make_world: MakeWorld) -> None:
    world = make_world_with_file(make_world, "comments: {language: German}", BUG)
    world.finish()
    (rendered,) = plan_one(world, PROMPT, world.row()).requests
    (sent,) = world.claude.asked
    assert "German" in rendered.task
    assert (rendered.system, rendered.task) == (sent.system, sent.task)


def test_delivery_of_another_handler_is_unsuitable(make_world: MakeWorld) -> None:
    world = make_world(BUG)
    world.accept()
    world.finish()
    assert plan(world, PROMPT, [replace(world.row(), handler="pull_requests")]) == []


def test_chosen_delivery_comes_first_and_must_be_suitable(make_world: MakeWorld) -> None:
    world = make_world(BUG, BUG)
    for guid, number in (("older", 7), ("newer", 8)):
        world.github.issues[number] = replace(ISSUE, number=number)
        world.accept(guid=guid, number=number)
        world.finish()
    rows = [world.row("newer"), world.row("older")]
    planned = plan(world, PROMPT, rows, guid="older")
    assert [one.source.event.delivery for one in planned if isinstance(one, Trial)] == ["older", "newer"]
    with pytest.raises(NotRepeatable, match="there is no delivery nosuch, or it was deleted"):
        plan(world, PROMPT, rows, guid="nosuch")
    with pytest.raises(NotRepeatable, match="older: the library has no prompt pull_requests/analyze for"):
        plan(world, "pull_requests/analyze", rows, guid="older")


@pytest.fixture
def question(make_world: MakeWorld, tmp_path: Path) -> World:
    """A world whose prompt for issues is followed by a second one for questions, and a question that has both."""
    write(tmp_path / "own", {"issues/analyze.j2": ANALYZE})
    prompts = Prompts.model_validate({"directory": [tmp_path / "own", shipped.PROMPTS]})
    world = make_world(QUESTION, REPLY, given=settings().model_copy(update={"prompts": prompts}))
    world.prompts = load_cached(world.settings)
    world.accept()
    world.finish()
    return world


def test_trial_of_a_following_prompt_keeps_the_stored_reply_before_it(question: World) -> None:
    trial = plan_one(question, "issues/respond", question.row())
    assert [one.task for one in trial.requests] == [question.claude.asked[1].task]
    claude = FakeClaude([REPLY.model_copy(update={"answer": "Another."})])
    (result,) = run_trials(question.store, [trial], Sender(claude))
    assert len(claude.asked) == 1
    assert [(one.name, one.is_same) for one in result.fields if one.prompt == "issues/respond"] == [
        ("worth_saying", True),
        ("sources", True),
        ("answer", False),
        ("certain", True),
    ]
    assert all(one.is_same for one in result.fields if one.prompt == "issues/analyze")


def test_delivery_whose_reply_does_not_lead_to_the_prompt_is_unsuitable(question: World) -> None:
    question.claude.replies = [BUG]
    question.github.issues = {1: replace(ISSUE, title="Another")}
    question.accept(guid="second")
    question.finish()
    with pytest.raises(NotRepeatable, match="second: its replies do not lead to issues/respond"):
        plan(question, "issues/respond", (), guid="second")


def test_recorded_event_has_an_invented_reply_that_leads_to_the_prompt(question: World) -> None:
    config = question.tools().config
    (trial,) = choose_trials(question.store, config, "issues/respond", (), guid="", most=1)
    assert isinstance(trial, Trial)
    assert [rendered.prompt.name for rendered in trial.requests] == ["issues/respond"]
