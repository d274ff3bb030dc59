"""Labels of the repository's own in the prompt, and those of the reply that are set."""

from __future__ import annotations

from hls_handler.handlers.reader import RepositoryLabel
from hls_handler.settings.model import Labels
from tests.engine.world import BUG, MakeWorld, settings

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


def test_labels_of_the_repository_are_in_the_prompt_and_suggestions_are_set(make_world: MakeWorld) -> None:
    world = make_world(SUGGESTION, given=settings().model_copy(update={"labels": SUGGEST}))
    world.github.repository_labels = (CART, STALE)
    world.accept()
    assert world.finish().state == "done"
    (asked,) = world.claude.asked
    assert "The repository's own labels:\n- <untrusted " in asked.task
    assert "The cart and the checkout" in asked.task
    assert "The cart and the checkout" not in asked.system
    assert world.github.labels == {1: ("area/cart", "bug", "priority-low", "difficulty-easy")}
