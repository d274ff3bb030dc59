"""For all tests: whose lines are counted for coverage."""

from __future__ import annotations

from pathlib import Path

import pytest

HERE = Path(__file__).parent

NOT_MEASURED = ("crash", "e2e", "machines", "redteam", "soak")
"""Rooms of tests that drive whole processes, or the same lines again and again. Measuring takes two thirds longer, and
what they run is covered by the tests of each room."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.relative_to(HERE).parts[0] in NOT_MEASURED:
            item.add_marker(pytest.mark.no_cover)
