"""For all tests: whose lines are counted for coverage, and in which order they run."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest

HERE = Path(__file__).parent

WAITING = ("crash", "e2e", "machines", "redteam", "soak")
"""Rooms of tests that drive whole processes."""

AGAIN = (
    "cli/test_config.py",
    "cli/test_prompt_compare.py",
    "cli/test_prompt_try.py",
    "cli/test_prompts.py",
    "prompting/test_environment.py",
    "prompting/test_make_it_your_own.py",
    "store/test_fence.py",
    "store/test_model.py",
    "store/test_races.py",
    "store/test_upgrades.py",
    "untrusted/test_markdown.py",
)
"""Tests that run the same lines again and again.

Neither these nor those above are measured: it takes two thirds longer, and what they run is covered by the tests of
each room."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _room(item) in WAITING or item.path.relative_to(HERE).as_posix() in AGAIN:
            item.add_marker(pytest.mark.no_cover)
    items[:] = _mixed(items)


def _mixed(items: list[pytest.Item]) -> list[pytest.Item]:
    """Files whose tests wait for processes, each followed by its share of the others, so that no core waits at the end.

    The tests of a file stay together: some share what is set up once.
    """
    files = [list(tests) for _, tests in groupby(items, key=lambda item: item.path)]
    waiting = [tests for tests in files if _room(tests[0]) in WAITING]
    others = [tests for tests in files if _room(tests[0]) not in WAITING]
    each = len(others) / max(len(waiting), 1)
    mixed = []
    for number, tests in enumerate(waiting):
        mixed += [tests, *others[round(number * each) : round((number + 1) * each)]]
    return [test for tests in mixed or others for test in tests]


def _room(item: pytest.Item) -> str:
    return item.path.relative_to(HERE).parts[0]
