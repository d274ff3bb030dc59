"""Assignment of log lines to steps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import pytest

from hls_handler.ci.excerpts import assign_steps
from hls_handler.ci.log_lines import parse_line
from hls_handler.github.values import WorkflowStep
from tests.ci.jobs import STEPS, stamped, step


def steps_of(steps: Sequence[WorkflowStep], lines: Iterable[str]) -> list[int | None]:
    parsed = [parse_line(number, line) for number, line in enumerate(lines, start=1)]
    return [line.step for line in assign_steps(parsed, steps)]


def test_lines_are_assigned_to_steps_by_time() -> None:
    lines = [*stamped(0, "a"), *stamped(1.9, "b"), *stamped(3, "c"), *stamped(5, "d")]
    assert steps_of(STEPS, lines) == [1, 1, 2, 3]


def test_line_without_time_belongs_to_the_step_of_the_previous_line() -> None:
    assert steps_of(STEPS, ["lost", *stamped(3, "a"), "b", "c"]) == [None, 2, 2, 2]


def test_in_a_shared_second_an_opening_line_starts_the_next_step() -> None:
    lines = [
        *stamped(2.1, "end of the set-up"),
        *stamped(2.2, "##[group]Run actions/checkout@v4", "a"),
    ]
    assert steps_of(STEPS, lines) == [1, 2, 2]
    lines = [
        *stamped(3, "a"),
        *stamped(4.9, "b", "##[group]Run make test", "c"),
        *stamped(5, "d", "Post job cleanup."),
    ]
    assert steps_of(STEPS, lines) == [2, 2, 3, 3, 3, 7]


@pytest.mark.parametrize(
    ("openings", "numbers"),
    [
        (["Run npx eslint .", "Run npm test", "Run npm run build"], [2, 3, 4]),
        (
            ["Run npx eslint .", "Run npm run build"],
            [2, 3],
        ),  # cannot be told: step 3 may have had another name
        (["Run npm test", "Run npm run build"], [3, 4]),
    ],
)
def test_several_steps_in_one_second_are_assigned_by_name_and_order(
    openings: list[str], numbers: list[int]
) -> None:
    quick = (
        step(1, "Set up job", 0, 0),
        step(2, "Lint", 0, 0),
        step(3, "Run npm test", 0, 0),
        step(4, "Build", 0, 9),
    )
    lines = stamped(0.5, "set up", *(f"##[group]{opening}" for opening in openings))
    assert steps_of(quick, lines) == [1, *numbers]


def test_composite_action_is_one_step_if_times_allow() -> None:
    steps = (step(1, "Set up job", 0, 1), step(2, "Composed", 2, 9), step(3, "Tests", 9, 9))
    lines = [*stamped(2, "##[group]Run a"), *stamped(4.5, "##[group]Run b", "##[group]Run c")]
    assert steps_of(steps, lines) == [2, 2, 2]


def test_line_after_the_last_step_belongs_to_it() -> None:
    assert steps_of((step(1, "Tests", 0, 1),), [*stamped(1, "a"), *stamped(9, "b")]) == [1, 1]


def test_wrong_time_in_output_does_not_end_a_step() -> None:
    lines = [
        *stamped(5, "a"),
        "2099-01-01T00:00:00Z b",
        *stamped(4.6, "c"),
        "1999-01-01T00:00:00Z d",
    ]
    assert steps_of(STEPS, lines) == [3, 3, 3, 3]
