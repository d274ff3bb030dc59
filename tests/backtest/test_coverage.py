"""Statements about 400 issues hold for answerers whose true shares are known, in 1,000 simulated runs
of each.
"""

from __future__ import annotations

import pytest

from tests.backtest.simulated import (
    BIASED,
    GUESSING,
    HONEST,
    OVERCONFIDENT,
    Answerer,
    measure_coverage,
)


@pytest.mark.full
@pytest.mark.parametrize(
    ("answerer", "shares"),
    [(HONEST, 11), (BIASED, 11), (OVERCONFIDENT, 8), (GUESSING, 11)],
    ids=["honest", "biased", "overconfident", "guessing"],
)
def test_intervals_hold(answerer: Answerer, shares: int) -> None:
    coverage = measure_coverage(answerer)

    assert len(coverage) == shares
    assert {name: runs for name, runs in coverage.items() if runs < 930} == {}
