"""Reviews of generated pull requests: positions, repetition, proofs, coverage, calls without a reply."""

from __future__ import annotations

from tests.rounds.simulation import describe, simulate


def test_reviews_of_generated_pull_requests_converge() -> None:
    """`make rounds` runs 2,000 of them."""
    totals = simulate(seed=14, pull_requests=20, pushes=4, faults=0.15)
    assert not totals.is_wrong, f"{describe(totals)}\n{totals.problems}"
    counts = (totals.comments, totals.successes, totals.failures, totals.verdicts.total(), totals.incomplete)
    assert min(counts) > 5, describe(totals)
