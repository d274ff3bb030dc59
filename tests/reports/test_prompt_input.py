"""The data for rendering a prompt with a stored delivery."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.engine.asking import PROMPT_SECRET
from hls_handler.prompting.render import render
from hls_handler.reports.prompt_input import list_variables, load_delivery, make_input
from hls_handler.settings.effective import RepositoryTable
from hls_handler.trials.replay import NotRepeatable
from tests.engine.conftest import make_world
from tests.engine.test_repository_settings import make_world_with_file
from tests.engine.world import BUG, MakeWorld

__all__ = ["make_world"]

PROMPT = "issues/analyze"


def test_prompt_is_rendered_with_the_settings_of_the_repository_as_it_was_sent(make_world: MakeWorld) -> None:
    world = make_world_with_file(make_world, "comments: {language: German}", BUG)
    world.finish()
    source = load_delivery(world.store, world.row(), world.prompts, PROMPT, RepositoryTable(world.settings))
    (variables,) = list_variables(make_input(source, world.prompts, PROMPT), world.prompts, PROMPT)
    key = world.store.database.secret(PROMPT_SECRET)
    rendered, (sent,) = render(world.prompts, PROMPT, variables, key=key), world.claude.asked
    assert "German" in rendered.task
    assert (rendered.system, rendered.task) == (sent.system, sent.task)


def test_delivery_of_another_handler_is_unsuitable(make_world: MakeWorld) -> None:
    world = make_world(BUG)
    world.accept()
    world.finish()
    row = replace(world.row(), handler="pull_requests")
    with pytest.raises(NotRepeatable, match="was processed by the handler pull_requests"):
        load_delivery(world.store, row, world.prompts, PROMPT, RepositoryTable(world.settings))
