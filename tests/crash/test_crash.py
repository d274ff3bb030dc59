"""A service that is killed at any commit or request has the same result as an undisturbed one.

`make test` takes one point of each handler, `make test-all` some, and `make crash` every point.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.comparison import find_differences, kills_with_repeated_call
from tests.crash.harness import Harness, running_harness
from tests.crash.kills import run, some_kills, undisturbed_run
from tests.crash.scenarios import SCENARIOS
from tests.postgres import Cluster, postgres

__all__ = ["postgres"]

BY_HANDLER = {scenario.handler: scenario for scenario in SCENARIOS}
SHORTEST = BY_HANDLER["GenericHandler"]
KILLS, KILLS_OF_SHORTEST = 2, 5


@pytest.fixture(scope="module")
def harness(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Harness]:
    with running_harness(tmp_path_factory.mktemp("crash")) as harness:
        yield harness


def test_kills_at_five_points_of_the_generic_handler(harness: Harness) -> None:
    undisturbed = undisturbed_run(harness, SHORTEST)
    assert undisturbed.claude_calls == 1
    assert undisturbed.requests >= 5
    # some share one transaction when they fall into the same turn of the event loop
    assert undisturbed.commits >= 7
    runs = [run(harness, SHORTEST, kill) for kill in some_kills(undisturbed, KILLS_OF_SHORTEST)]
    assert [line for found in runs for line in find_differences(SHORTEST, undisturbed, found)] == []
    survived = [str(found.kill) for found in runs if found.at_kill is None]
    assert len(survived) <= 2  # polls of an idle worker are counted in some runs and not in others
    repeated = {kill.rpartition(" ")[0] for kill in kills_with_repeated_call(runs)}
    assert repeated <= {"before commit", "after request"}  # the response or the checkpoint was lost


@pytest.mark.parametrize(
    ("handler", "kills"),
    [
        *(pytest.param(name, 1, marks=pytest.mark.smoke) for name in BY_HANDLER),
        *((name, KILLS) for name in BY_HANDLER if name != SHORTEST.handler),
    ],
)
def test_kills_at_some_points_of_each_handler(harness: Harness, handler: str, kills: int) -> None:
    scenario = BY_HANDLER[handler]
    undisturbed = undisturbed_run(harness, scenario)
    handlers = [row["handler"] for row in undisturbed.database["deliveries"]]
    assert sorted(handlers, key=str) == sorted(scenario.handlers or (handler,), key=str)
    runs = [run(harness, scenario, kill) for kill in some_kills(undisturbed, kills)]
    assert [line for found in runs for line in find_differences(scenario, undisturbed, found)] == []


def test_kills_at_some_points_on_postgresql(postgres: Cluster, tmp_path: Path) -> None:
    database = postgres.create()
    scenario = BY_HANDLER["IssueHandler"]
    try:
        with running_harness(tmp_path, url=postgres.url(database)) as harness:
            undisturbed = undisturbed_run(harness, scenario)
            runs = [run(harness, scenario, kill) for kill in some_kills(undisturbed, KILLS)]
            assert [
                line for found in runs for line in find_differences(scenario, undisturbed, found)
            ] == []
    finally:
        postgres.drop(database)
