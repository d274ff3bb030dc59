"""Two schedules with fixed seeds; `make soak` runs more."""

from __future__ import annotations

from pathlib import Path

from tests.postgres import Cluster, postgres
from tests.soak.fleet import running_fleet
from tests.soak.runner import Soak
from tests.soak.schedule import draw_schedule

__all__ = ["postgres"]


def test_a_seed_determines_the_schedule() -> None:
    assert draw_schedule(7, processes=4) == draw_schedule(7, processes=4)
    assert draw_schedule(7, processes=4) != draw_schedule(8, processes=4)


def test_nothing_is_lost_or_doubled_on_sqlite(tmp_path: Path) -> None:
    """A superseding push, two workflows at once, five faults and two kills."""
    with running_fleet(tmp_path, url=f"sqlite:///{tmp_path}/hls.db", processes=1) as fleet:
        assert Soak(fleet).run(draw_schedule(14, processes=1))["wrong"] == []


def test_nothing_is_lost_or_doubled_with_two_processes_on_postgresql(postgres: Cluster, tmp_path: Path) -> None:
    database = postgres.create()
    try:
        with running_fleet(tmp_path, url=postgres.url(database), processes=2) as fleet:
            assert Soak(fleet).run(draw_schedule(15, processes=2))["wrong"] == []
    finally:
        postgres.drop(database)
