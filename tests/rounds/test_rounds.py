"""Generated pull requests through the whole pipeline: positions, repetition, convergence, coverage, kills."""

from __future__ import annotations

from pathlib import Path

from tests.rounds.simulation import describe, simulate


def test_reviews_of_generated_pull_requests_converge(tmp_path: Path) -> None:
    """`make rounds` runs 2,000 of them."""
    totals = simulate(tmp_path, seed=2, pull_requests=12)
    assert not totals.is_wrong, describe(totals)
    assert totals.comments > 20
    assert totals.kills > 2
    assert (totals.rejected, totals.repeated, totals.raised_after_dismissal) == (0, 0, 0)
    assert (totals.idle_calls, totals.uncovered, totals.problems) == (0, 0, [])
