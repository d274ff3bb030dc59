from __future__ import annotations

import pytest

from hls_handler.backtest.intervals import Share, probability
from tests.backtest.simulated import holds


@pytest.mark.parametrize(
    ("share", "low", "high"),
    [
        (Share(90, 100), 0.8238, 0.9510),
        (Share(10, 10), 0.6915, 1.0),
        (Share(0, 10), 0.0, 0.3085),
        (Share(1, 1), 0.025, 1.0),
        (Share(0, 0), 0.0, 1.0),
        (Share(7000, 10_000), 0.6909, 0.7090),
    ],
)
def test_the_interval_of_a_share_is_that_of_clopper_and_pearson(
    share: Share, low: float, high: float
) -> None:
    assert [share.low, share.high] == pytest.approx([low, high], abs=1e-4)


def test_a_share_of_no_issues_has_no_value() -> None:
    assert (Share(0, 0).value, Share(3, 4).value) == (None, 0.75)


@pytest.mark.parametrize("true", [0.02, 0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("issues", [5, 40, 100])
def test_the_interval_has_the_true_share_in_at_least_95_percent_of_samples(
    true: float, issues: int
) -> None:
    parts = [part for part in range(issues + 1) if holds(Share(part, issues), true)]

    assert sum(probability(part, issues, true) for part in parts) >= 0.95
