"""What a prompt can be tried with: suitable deliveries, and the replies to the prompts before it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from hls_handler import shipped
from hls_handler.analysis import IssueResponse
from hls_handler.engine.asking import PROMPT_SECRET
from hls_handler.settings.effective import RepositoryTable
from hls_handler.settings.model import Prompts
from hls_handler.trials.replay import NotRepeatable, find_kept
from hls_handler.trials.sources import load_delivery, load_sample
from hls_handler.trials.trial import Sender, plan_trial, render_requests, run_trials
from tests.engine.conftest import make_world
from tests.engine.fakes import ISSUE, FakeClaude
from tests.engine.shadow_world import ANALYZE, load_cached
from tests.engine.test_repository_settings import make_world_with_file
from tests.engine.world import BUG, QUESTION, MakeWorld, World, settings
from tests.prompting.samples import write

__all__ = ["make_world"]

PROMPT = "issues/analyze"
REPLY = IssueResponse(worth_saying=True, answer="Set DATABASE_URL.", certain=True)


def test_prompt_is_rendered_with_the_settings_of_the_repository_as_it_was_sent(make_world: MakeWorld) -> None:
    world = make_world_with_file(make_world, "comments: {language: German}", BUG)
    world.finish()
    source = load_delivery(world.store, world.row(), world.prompts, PROMPT, RepositoryTable(world.settings))
    (rendered,) = render_requests(source, world.prompts, PROMPT, world.store.database.secret(PROMPT_SECRET))
    (sent,) = world.claude.asked
    assert "German" in rendered.task
    assert (rendered.system, rendered.task) == (sent.system, sent.task)


def test_delivery_of_another_handler_is_unsuitable(make_world: MakeWorld) -> None:
    world = make_world(BUG)
    world.accept()
    world.finish()
    row = replace(world.row(), handler="pull_requests")
    with pytest.raises(NotRepeatable, match="was processed by the handler pull_requests"):
        load_delivery(world.store, row, world.prompts, PROMPT, RepositoryTable(world.settings))


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
    config = question.tools().config
    source = load_delivery(question.store, question.row(), config.library, "issues/respond", config.table)
    trial = plan_trial(question.store, source, config, "issues/respond")
    assert [one.task for one in trial.requests] == [question.claude.asked[1].task]
    claude = FakeClaude([REPLY.model_copy(update={"answer": "Another."})])
    (result,) = run_trials([trial], Sender(claude))
    assert len(claude.asked) == 1
    assert [(one.name, one.is_same) for one in result.fields if one.prompt == "issues/respond"] == [
        ("worth_saying", True),
        ("answer", False),
        ("certain", True),
    ]
    assert all(one.is_same for one in result.fields if one.prompt == "issues/analyze")


def test_delivery_whose_reply_does_not_lead_to_the_prompt_is_unsuitable(question: World) -> None:
    question.claude.replies = [BUG]
    question.github.issues = {1: replace(ISSUE, title="Another")}
    question.accept(guid="second")
    question.finish()
    config, row = question.tools().config, question.row("second")
    source = load_delivery(question.store, row, config.library, "issues/respond", config.table)
    with pytest.raises(NotRepeatable, match="its replies do not lead to issues/respond"):
        plan_trial(question.store, source, config, "issues/respond")


def test_recorded_event_has_an_invented_reply_that_leads_to_the_prompt(question: World) -> None:
    source = load_sample(question.prompts, "issues/respond", question.settings)
    kept = find_kept(source, question.prompts, "issues/respond")
    (rendered,) = render_requests(source, question.prompts, "issues/respond", b"key", kept)
    assert rendered.prompt.name == "issues/respond"
