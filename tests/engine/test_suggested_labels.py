"""Labels of the repository's own in the prompt, and those of the reply that are set."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hls_handler.handlers.reader import RepositoryLabel
from hls_handler.settings.model import Labels, Prompts, Settings
from tests.engine.shadow_world import load_cached
from tests.engine.world import BUG, MakeWorld, World, settings
from tests.prompting.samples import SHIPPED, USERS_TEMPLATE, write

SUGGEST = Labels(suggest=True, min_confidence=0.6)
CART = RepositoryLabel("area/cart", "The cart and the checkout")
STALE = RepositoryLabel("stale", "")
SUGGESTION = BUG.model_validate(
    {
        **BUG.model_dump(),
        "suggested_labels": [
            {"name": "Area/Cart", "confidence": 0.6},
            {"name": "stale", "confidence": 0.59},
            {"name": "admin", "confidence": 1.0},
        ],
    }
)


def make(make_world: MakeWorld, reply: object, labels: Labels, **changes: object) -> World:
    world = make_world(reply, given=settings().model_copy(update={"labels": labels, **changes}))
    world.prompts = load_cached(world.settings)
    world.github.repository_labels = (CART, STALE)
    world.accept()
    return world


def requested(world: World) -> list[tuple[str, ...]]:
    """Return the labels that were set on each conversation."""
    return list(world.github.labels.values())


def test_labels_of_the_repository_are_in_the_prompt_and_suggestions_are_set(make_world: MakeWorld) -> None:
    world = make(make_world, SUGGESTION, SUGGEST)
    assert world.finish().state == "done"
    (asked,) = world.claude.asked
    assert "The repository's own labels:\n- <untrusted " in asked.task
    assert "The cart and the checkout" in asked.task
    assert "The cart and the checkout" not in asked.system
    assert requested(world) == [("area/cart", "bug", "priority-low", "difficulty-easy")]


def users_settings(folder: Path, *, replaces_shipped: bool) -> Settings:
    given = settings().model_copy(update={"labels": SUGGEST})
    if replaces_shipped:
        directory = Path(shutil.copytree(SHIPPED, folder / "prompts"))
        (directory / "issues/analyze.j2").write_text(USERS_TEMPLATE)
        return given.model_copy(update={"prompts": Prompts(directory=directory)})
    own = write(folder / "own", {"issues/analyze.j2": USERS_TEMPLATE})
    return given.model_copy(update={"prompts": Prompts(directory=(own, SHIPPED))})


@pytest.mark.parametrize("replaces_shipped", [False, True], ids=["own folder", "in place of the shipped file"])
def test_template_without_front_matter_at_a_shipped_path_sets_labels_and_comments(
    make_world: MakeWorld, tmp_path: Path, replaces_shipped: bool
) -> None:
    given = users_settings(tmp_path, replaces_shipped=replaces_shipped)
    world = make_world(SUGGESTION, given=given)
    world.prompts = load_cached(given)
    world.github.repository_labels = (CART, STALE)
    world.accept()
    assert world.finish().state == "done"
    (asked,) = world.claude.asked
    assert asked.task.startswith("Analyze this GitHub issue: Repository <untrusted ")
    assert "suggested_labels" in asked.schema["properties"]  # type: ignore[operator]
    assert "The repository's own labels:\n- <untrusted " in asked.task  # appended, because the template lists none
    assert requested(world) == [("area/cart", "bug", "priority-low", "difficulty-easy")]
    assert "Thanks to whoever fixes it." in world.github.comments[1]
