"""Labels of the repository's own in the prompt, and those of the reply that are set."""

from __future__ import annotations

from pathlib import Path

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


def run(make_world: MakeWorld, given: Settings) -> World:
    """Analyse an issue of a repository with two labels of its own, with these settings."""
    world = make_world(SUGGESTION, given=given)
    world.prompts = load_cached(given)
    world.github.repository_labels = (CART, STALE)
    world.accept()
    assert world.finish().state == "done"
    assert "The repository's own labels:\n- <untrusted " in world.claude.asked[0].task
    assert list(world.github.labels.values()) == [("area/cart", "bug", "priority-low", "difficulty-easy")]
    return world


def test_labels_of_the_repository_are_in_the_prompt_and_suggestions_are_set(make_world: MakeWorld) -> None:
    (asked,) = run(make_world, settings().model_copy(update={"labels": SUGGEST})).claude.asked
    assert "The cart and the checkout" in asked.task
    assert "The cart and the checkout" not in asked.system


def test_template_without_front_matter_at_a_shipped_path_sets_labels_and_comments(
    make_world: MakeWorld, tmp_path: Path
) -> None:
    own = write(tmp_path / "own", {"issues/analyze.j2": USERS_TEMPLATE})
    prompts = Prompts(directory=(own, SHIPPED))
    world = run(make_world, settings().model_copy(update={"labels": SUGGEST, "prompts": prompts}))
    (asked,) = world.claude.asked
    assert asked.task.startswith("Analyze this GitHub issue: Repository <untrusted ")
    assert "suggested_labels" in asked.schema["properties"]  # type: ignore[operator]
    assert "Thanks to whoever fixes it." in world.github.comments[1]
