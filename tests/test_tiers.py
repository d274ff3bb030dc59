"""Tests are in two tiers: `make test` runs the first, `make test-all` both and counts them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import SECOND_TIER
from tests.count_results import count_results

SUITE = '<testsuites name="pytest tests"><testsuite name="pytest" {counts} time="{seconds}" /></testsuites>'
PASSED = 'errors="0" failures="0" skipped="0" tests="5000"'
FAILED = 'errors="2" failures="1" skipped="3" tests="1811"'


def test_folders_of_the_second_tier_exist() -> None:
    assert {path.name for path in Path("tests").iterdir()} >= set(SECOND_TIER)


@pytest.mark.parametrize(
    ("runs", "line"),
    [
        ((PASSED, PASSED), "10000 passed in 801.00s (0:13:21)"),
        ((PASSED, FAILED), "1 failed, 6805 passed, 3 skipped, 2 errors in 801.00s (0:13:21)"),
        ((), "no tests ran in 0.00s (0:00:00)"),
    ],
    ids=["passed", "failed", "stopped before the tests"],
)
def test_results_of_both_tiers_are_counted_in_one_line(
    tmp_path: Path, runs: tuple[str, ...], line: str
) -> None:
    for number, counts in enumerate(runs):
        suite = SUITE.format(counts=counts, seconds="400.5")
        (tmp_path / f"{number}.xml").write_text(suite)
    assert count_results(tmp_path) == line
