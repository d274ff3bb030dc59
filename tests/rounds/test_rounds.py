"""Generated pull requests through the whole pipeline: positions, repetition, proofs, coverage, kills, faults."""

from __future__ import annotations

from pathlib import Path

from tests.rounds.simulation import describe, simulate


def test_reviews_of_generated_pull_requests_converge(tmp_path: Path) -> None:
    """`make rounds` runs 2,000 of them."""
    totals = simulate(tmp_path, seed=14, pull_requests=8, pushes=4, faults=0.15)
    assert not totals.is_wrong, f"{describe(totals)}\n{totals.problems}"
    assert totals.errors.total() == 0
    assert totals.comments > 5
    assert totals.successes > 5
    assert totals.failures > 5
    assert totals.kills > 5
    assert totals.verdicts.total() > 5
    assert totals.incomplete > 0
    assert totals.faults.total() > 10
