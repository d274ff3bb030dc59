"""Comparison of two prompts on the same deliveries: differences, tokens and cost."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from hls_handler.actions import RequestedLabel
from hls_handler.analysis import Usage
from hls_handler.engine.shadow import PromptResult
from hls_handler.trials.comparison import (
    Comparison,
    Difference,
    Pair,
    Side,
    Summary,
    compare_stored,
    side,
    summarize,
)
from tests.engine.fakes import CLAUDE_DOWN
from tests.engine.shadow_world import MINOR, make_shadow_world
from tests.engine.world import BUG, GUID, MakeWorld, World

GROUPS = {"bug": "kind", "question": "kind", "high": "priority", "low": "priority", "web": "part", "api": "part"}


def make_ran(*labels: str, speaks: bool = True, prompt_id: str = "issues/a@1") -> PromptResult:
    return PromptResult(prompt_id, tuple(RequestedLabel(name, GROUPS[name]) for name in labels), speaks)


def make_pair(one: PromptResult, other: PromptResult) -> Pair:
    return Pair("g1", "issues.opened", "octo/widgets#7", Side(one, 100, 0.25), Side(other, 50, None))


@pytest.mark.parametrize(
    ("one", "other", "differences"),
    [
        (("bug", "high"), ("high", "bug"), []),
        (("bug", "high"), ("bug", "low"), [Difference("priority", ("high",), ("low",))]),
        (("bug", "web"), ("bug",), [Difference("part", ("web",), ())]),
        (("bug",), ("bug", "web", "api"), [Difference("part", (), ("api", "web"))]),
        ((), (), []),
        (
            ("question", "high"),
            ("bug", "low"),
            [Difference("kind", ("question",), ("bug",)), Difference("priority", ("high",), ("low",))],
        ),
    ],
    ids=["the same in another order", "another", "one more", "none", "none at all", "two"],
)
def test_labels_are_compared_by_group(
    one: tuple[str, ...], other: tuple[str, ...], differences: list[Difference]
) -> None:
    assert list(make_pair(make_ran(*one), make_ran(*other)).differences) == differences


def test_differences_are_sorted_by_frequency() -> None:
    comparison = Comparison(
        (
            make_pair(make_ran("bug", "high"), make_ran("bug", "low")),
            make_pair(make_ran("bug", "high"), make_ran("question", "low")),
            make_pair(make_ran("bug", "low"), make_ran("bug", "high", speaks=False)),
            make_pair(make_ran("bug"), make_ran("bug")),
        ),
        {},
    )
    assert (comparison.differing, comparison.spoke_differently) == (3, 1)
    assert comparison.groups == [("priority", 3), ("kind", 1)]
    assert comparison.differences == [
        (Difference("priority", ("high",), ("low",)), 2),
        (Difference("kind", ("bug",), ("question",)), 1),
        (Difference("priority", ("low",), ("high",)), 1),
    ]


def test_side_sums_tokens_and_known_costs() -> None:
    usages = [Usage("m", 1, 20, 300, 4000, cost_usd=0.5), Usage("m", 1), Usage("m", cost_usd=0.25)]
    assert side(make_ran(), usages) == Side(make_ran(), 4322, 0.75)
    assert side(make_ran(), [Usage("m", 1)]) == Side(make_ran(), 1, None)


def test_means_use_known_values() -> None:
    sides = [Side(make_ran(), 100, 0.5), Side(make_ran(prompt_id="issues/a@2"), 300, None), Side(make_ran(), 200, 0.25)]
    spoke = sum(side.result.speaks for side in sides)
    assert summarize(sides) == Summary(("issues/a@1", "issues/a@2"), spoke, mean_tokens=200, mean_cost_usd=0.375)
    assert summarize([Side(make_ran(), 1, None)]).mean_cost_usd is None


# --- recorded shadows ------------------------------------------------------------------------------------------------


def compare_recorded(world: World, prompt: str, other: str | None = None) -> Comparison:
    return compare_stored(world.store, prompt, other, since=world.store.now() - timedelta(days=1))


@pytest.fixture
def world(make_world: MakeWorld, tmp_path: Path) -> World:
    """A world with a delivery whose shadow has another result."""
    world = make_shadow_world(make_world, tmp_path / "own", BUG, MINOR)
    world.run()
    return world


def test_shadow_is_compared_with_the_posted_result(world: World) -> None:
    comparison = compare_recorded(world, "issues/strict")
    (pair,) = comparison.pairs
    assert (pair.guid, pair.event_key, pair.conversation) == (GUID, "issues.opened", "Codertocat/Hello-World#1")
    assert pair.differences == (Difference("priority", ("priority-high",), ("priority-low",)),)
    assert (pair.one.result.speaks, pair.other.result.speaks) == (False, True)
    assert (pair.one.tokens, pair.other.tokens, pair.one.cost_usd, pair.other.cost_usd) == (
        1000,
        1000,
        0.00014,
        0.00014,
    )
    assert comparison.excluded == {}


@pytest.mark.parametrize(
    ("prompt", "other", "first_prompt"),
    [
        ("issues/strict", "issues/analyze", "issues/strict"),
        ("issues/analyze", "issues/strict", "issues/analyze"),
        ("issues/analyze", None, None),
        ("issues/strict", "issues/respond", None),
        ("issues/strict@000000", None, None),
        ("issues/stric", None, None),
    ],
)
def test_both_named_prompts_may_be_the_shadow(
    world: World, prompt: str, other: str | None, first_prompt: str | None
) -> None:
    pairs = compare_recorded(world, prompt, other).pairs
    assert [pair.one.result.prompt_id.partition("@")[0] for pair in pairs] == ([first_prompt] if first_prompt else [])


def test_prompt_id_selects_its_version(world: World) -> None:
    strict = compare_recorded(world, "issues/strict").pairs[0].one.result.prompt_id
    assert len(compare_recorded(world, strict).pairs) == 1


def test_deliveries_before_since_are_excluded(world: World) -> None:
    assert (
        compare_stored(world.store, "issues/strict", None, since=world.store.now() + timedelta(seconds=1)).pairs == ()
    )


@pytest.mark.parametrize(
    ("prompt", "other", "excluded"),
    [
        ("issues/strict", None, {"failed": 1}),
        ("issues/strict@3f9c2a", "issues/analyze", {"failed": 1}),
        ("issues/other", None, {}),
        ("issues/strict", "issues/other", {}),
    ],
)
def test_failed_shadow_is_counted_as_excluded(
    make_world: MakeWorld, tmp_path: Path, prompt: str, other: str | None, excluded: Mapping[str, int]
) -> None:
    world = make_shadow_world(make_world, tmp_path / "own", BUG, CLAUDE_DOWN)
    world.run()
    assert compare_recorded(world, prompt, other) == Comparison((), excluded)
