"""Prompts and models that have changed since Claude was last asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hls_handler.db.tables import calls
from hls_handler.reports.changes import find_changes
from tests.engine.world import MakeWorld, World, library, settings

FALLBACK = {"name": "second", "api_key": "secret-2", "model": "claude-opus-5-5"}


@pytest.fixture
def world(make_world: MakeWorld) -> World:
    world = make_world()
    world.accept("issues.opened")
    world.finish()
    return world


def changes(world: World, *, model: str = "claude-haiku-5-5", new_id: bool = False) -> list[str]:
    prompts = library()
    analyze = prompts.prompts["issues/analyze"]
    if new_id:
        analyze = replace(analyze, id="issues/analyze@ffffff")
    changed = replace(prompts, prompts={**prompts.prompts, "issues/analyze": analyze})
    given = settings(claude={"model": model})
    return [*find_changes(world.store.database, given, changed)]


def test_nothing_is_said_without_a_change(world: World) -> None:
    assert changes(world) == []


def test_version_of_a_model_is_no_change(world: World) -> None:
    assert changes(world, model="claude-haiku-5") == []


def test_changed_shipped_prompt_is_named_with_its_backtest(world: World) -> None:
    asked = library().prompts["issues/analyze"].id
    (change,) = changes(world, new_id=True)
    assert change == (
        f"{asked} was asked last, and the shipped prompt is issues/analyze@ffffff now;"
        f" `hls backtest OWNER/REPO --prompt {asked} --against issues/analyze` compares both on"
        " closed issues"
    )


def test_changed_model_is_named_with_its_backtest(world: World) -> None:
    (change,) = changes(world, model="claude-opus-5-5")
    assert change == (
        "issues/analyze: claude-haiku-5-5 was asked last, and now claude-opus-5-5 is;"
        " `hls backtest OWNER/REPO --against-model claude-haiku-5-5` compares both on closed issues"
    )


def test_added_fallback_is_no_change(world: World) -> None:
    given = settings(claude={"fallbacks": [FALLBACK]})
    assert [*find_changes(world.store.database, given, library())] == []


def test_answer_of_a_fallback_is_no_change(world: World) -> None:
    given = settings(claude={"fallbacks": [FALLBACK]})
    with world.store.database.writing() as connection:
        connection.execute(calls.update().values(model="second/claude-opus-5-5"))
    assert [*find_changes(world.store.database, given, library())] == []
