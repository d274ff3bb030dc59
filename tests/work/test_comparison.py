"""Two prompts over the same deliveries: where they differ, and what they took."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import pytest

from hls_handler.actions import RequestedLabel
from hls_handler.analysis import Usage
from hls_handler.work.comparison import (
    Comparison,
    Difference,
    Pair,
    Side,
    mean_cost_usd,
    mean_tokens,
    prompt_ids,
    recorded,
    side,
)
from hls_handler.work.shadow import Ran
from tests.work.fakes import CLAUDE_DOWN
from tests.work.shadow_world import MINOR, shaded
from tests.work.world import BUG, GUID, MakeWorld, World

GROUPS = {"bug": "kind", "question": "kind", "high": "priority", "low": "priority", "web": "part", "api": "part"}


def ran(*labels: str, speaks: bool = True, prompt_id: str = "issues/a@1") -> Ran:
    return Ran(prompt_id, tuple(RequestedLabel(name, GROUPS[name]) for name in labels), speaks)


def pair(one: Ran, other: Ran) -> Pair:
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
def test_labels_differ_group_by_group(
    one: tuple[str, ...], other: tuple[str, ...], differences: list[Difference]
) -> None:
    assert list(pair(ran(*one), ran(*other)).differences) == differences


def test_what_differs_most_often_comes_first() -> None:
    compared = Comparison(
        (
            pair(ran("bug", "high"), ran("bug", "low")),
            pair(ran("bug", "high"), ran("question", "low")),
            pair(ran("bug", "low"), ran("bug", "high", speaks=False)),
            pair(ran("bug"), ran("bug")),
        ),
        {},
    )
    assert (compared.differing, compared.spoke_differently) == (3, 1)
    assert compared.groups == [("priority", 3), ("kind", 1)]
    assert compared.differences == [
        (Difference("priority", ("high",), ("low",)), 2),
        (Difference("kind", ("bug",), ("question",)), 1),
        (Difference("priority", ("low",), ("high",)), 1),
    ]


def test_a_side_takes_all_tokens_of_its_calls_and_the_costs_that_are_known() -> None:
    usages = [Usage("m", 1, 20, 300, 4000, cost_usd=0.5), Usage("m", 1), Usage("m", cost_usd=0.25)]
    assert side(ran(), usages) == Side(ran(), 4322, 0.75)
    assert side(ran(), [Usage("m", 1)]) == Side(ran(), 1, None)


def test_means_are_over_what_is_known() -> None:
    sides = [Side(ran(), 100, 0.5), Side(ran(prompt_id="issues/a@2"), 300, None), Side(ran(), 200, 0.25)]
    assert (mean_tokens(sides), mean_cost_usd(sides)) == (200, 0.375)
    assert mean_cost_usd([Side(ran(), 1, None)]) is None
    assert prompt_ids(sides) == ("issues/a@1", "issues/a@2")


# --- what was recorded -----------------------------------------------------------------------------------------------


def since_ever(one: World, prompt: str, other: str | None = None) -> Comparison:
    return recorded(one.store, prompt, other, since=one.store.now() - timedelta(days=1))


@pytest.fixture
def one(make_world: MakeWorld, tmp_path: Path) -> World:
    """A delivery of which the shadow made something else."""
    made = shaded(make_world, tmp_path / "own", BUG, MINOR)
    made.run()
    return made


def test_a_shadow_is_held_against_what_was_posted(one: World) -> None:
    compared = since_ever(one, "issues/strict")
    (found,) = compared.pairs
    assert (found.guid, found.event_key, found.thread) == (GUID, "issues.opened", "Codertocat/Hello-World#1")
    assert found.differences == (Difference("priority", ("priority-high",), ("priority-low",)),)
    assert (found.one.ran.speaks, found.other.ran.speaks) == (False, True)
    assert (found.one.tokens, found.other.tokens, found.one.cost_usd, found.other.cost_usd) == (
        1000,
        1000,
        0.00014,
        0.00014,
    )
    assert compared.excluded == {}


@pytest.mark.parametrize(
    ("prompt", "other", "one_is"),
    [
        ("issues/strict", "issues/analyze", "issues/strict"),
        ("issues/analyze", "issues/strict", "issues/analyze"),
        ("issues/analyze", None, None),
        ("issues/strict", "issues/respond", None),
        ("issues/strict@000000", None, None),
        ("issues/stric", None, None),
    ],
)
def test_either_of_the_two_may_be_the_shadow_where_both_are_named(
    one: World, prompt: str, other: str | None, one_is: str | None
) -> None:
    pairs = since_ever(one, prompt, other).pairs
    assert [found.one.ran.prompt_id.partition("@")[0] for found in pairs] == ([one_is] if one_is else [])


def test_an_id_means_this_version(one: World) -> None:
    strict = since_ever(one, "issues/strict").pairs[0].one.ran.prompt_id
    assert len(since_ever(one, strict).pairs) == 1


def test_what_came_before_is_left_alone(one: World) -> None:
    assert recorded(one.store, "issues/strict", None, since=one.store.now() + timedelta(seconds=1)).pairs == ()


@pytest.mark.parametrize(
    ("prompt", "other", "excluded"),
    [
        ("issues/strict", None, {"failed": 1}),
        ("issues/strict@3f9c2a", "issues/analyze", {"failed": 1}),
        ("issues/other", None, {}),
        ("issues/strict", "issues/other", {}),
    ],
)
def test_a_shadow_that_failed_is_counted_as_left_out(
    make_world: MakeWorld, tmp_path: Path, prompt: str, other: str | None, excluded: Mapping[str, int]
) -> None:
    failing = shaded(make_world, tmp_path / "own", BUG, CLAUDE_DOWN)
    failing.run()
    assert since_ever(failing, prompt, other) == Comparison((), excluded)
