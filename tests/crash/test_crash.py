"""A service that is killed at any commit or request leaves what an undisturbed one leaves.

Here every point of one handler's way, and a few of the others'; `make crash` takes every point of all.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.rig import Rig, rigged
from tests.crash.stories import STORIES, DeliveryReport
from tests.crash.sweep import every, run, spread, undisturbed_run
from tests.crash.verdict import asked_again, wrong
from tests.postgres import Cluster, postgres

__all__ = ["postgres"]

BY_HANDLER = {story.handler: story for story in STORIES}
WHOLE = BY_HANDLER["GenericHandler"]  # the shortest way
PARTS = 2


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    with rigged(tmp_path_factory.mktemp("crash")) as rig:
        rig.life.start()
        yield rig


def test_every_point_of_one_handlers_way(rig: Rig) -> None:
    undisturbed = undisturbed_run(rig, WHOLE)
    assert undisturbed.claude_calls == 1
    assert undisturbed.requests >= 6
    assert undisturbed.commits >= 9
    runs = [run(rig, WHOLE, kill) for kill in every(undisturbed)]
    assert [line for found in runs for line in wrong(WHOLE, undisturbed, found)] == []
    survived = [str(found.kill) for found in runs if found.died is None]
    assert len(survived) <= 4  # an idle worker's last looks come sooner or later
    again = [kill.rpartition(" ")[0] for kill in asked_again(runs)]
    assert [kill for kill in again if kill != "before commit"] == ["after request"]  # its answer came to nobody
    assert len(again) <= 3  # the commit that keeps it comes one sooner or later, as the worker's looks for work fall


@pytest.mark.parametrize("handler", [name for name in BY_HANDLER if name != WHOLE.handler])
def test_some_points_of_each_handlers_way(rig: Rig, handler: str) -> None:
    story: DeliveryReport = BY_HANDLER[handler]
    undisturbed = undisturbed_run(rig, story)
    assert [row["handler"] for row in undisturbed.store["deliveries"]] == [handler]
    runs = [run(rig, story, kill) for kill in spread(undisturbed, PARTS)]
    assert [line for found in runs for line in wrong(story, undisturbed, found)] == []


def test_some_points_on_postgresql(postgres: Cluster, tmp_path: Path) -> None:
    database = postgres.create()
    story = BY_HANDLER["IssueHandler"]
    try:
        with rigged(tmp_path, url=postgres.url(database)) as rig:
            rig.life.start()
            undisturbed = undisturbed_run(rig, story)
            runs = [run(rig, story, kill) for kill in spread(undisturbed, PARTS)]
            assert [line for found in runs for line in wrong(story, undisturbed, found)] == []
    finally:
        postgres.drop(database)
