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


@pytest.mark.parametrize(
    (
        "answerer",
        "wanted",
        "shares",
        "chosen",
    ),  # no threshold, or not each, is as precise as wanted
    [
        (HONEST, 0.805, 11, 900),
        (BIASED, 0.73, 11, 0),
        (OVERCONFIDENT, 0.705, 8, 0),
        (GUESSING, 0.34, 11, 0),
    ],
    ids=["honest", "biased", "overconfident", "guessing"],
)
def test_intervals_and_thresholds_hold(
    answerer: Answerer, wanted: float, shares: int, chosen: int
) -> None:
    coverage = measure_coverage(answerer, wanted)

    assert len(coverage.covered) == shares
    assert {name: runs for name, runs in coverage.covered.items() if runs < 930} == {}
    assert coverage.thresholds >= chosen
    assert coverage.too_low <= 50
