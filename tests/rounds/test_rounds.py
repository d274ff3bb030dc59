"""Reviews of generated pull requests: positions, repetition, proofs, coverage, calls without a
reply, people.
"""

from __future__ import annotations

import pytest

from tests.rounds.lives import describe_lives, live
from tests.rounds.prompt_reader import ClaudeKind
from tests.rounds.simulation import describe, simulate


def test_reviews_of_generated_pull_requests_converge() -> None:
    """`make rounds` runs 2,000 of them."""
    totals = simulate(seed=14, pull_requests=20, pushes=4, faults=0.15)
    assert not totals.is_wrong, f"{describe(totals)}\n{totals.problems}"
    counts = (
        totals.comments,
        totals.successes,
        totals.failures,
        totals.verdicts.total(),
        totals.incomplete,
    )
    assert min(counts) > 5, describe(totals)


@pytest.mark.parametrize(("claude", "most"), [("perfect", 0.01), ("sloppy", 0.03)])
def test_heads_without_a_fault_become_green(claude: ClaudeKind, most: float) -> None:
    """`python -m tests.rounds --lives 2000 --claude sloppy` runs more."""
    counts = live(seed=4, lives=10, claude=claude)
    described = "\n".join([describe_lives(counts, seed=4, claude=claude), *counts.lines])
    assert (counts.false_green, counts.second_comments) == (0, 0), described
    assert counts.false_red_share <= most, described
    assert min(counts.green_heads, counts.red_heads) > 15, described
