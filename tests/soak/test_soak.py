"""A few schedules of the soak, always the same ones; `make soak` draws more."""

from __future__ import annotations

from pathlib import Path

from tests.postgres import Cluster, postgres
from tests.soak.fleet import assembled
from tests.soak.run import Soak
from tests.soak.schedule import drawn

__all__ = ["postgres"]


def test_a_seed_always_draws_the_same_schedule() -> None:
    assert drawn(7, processes=4) == drawn(7, processes=4)
    assert drawn(7, processes=4) != drawn(8, processes=4)


def test_nothing_is_lost_or_doubled_on_sqlite(tmp_path: Path) -> None:
    """A push that overtakes, two workflows at once, five faults and two kills."""
    with assembled(tmp_path, url=f"sqlite:///{tmp_path}/hls.db", processes=1) as fleet:
        assert Soak(fleet).run(drawn(14, processes=1))["wrong"] == []


def test_nothing_is_lost_or_doubled_by_two_processes_on_one_postgresql(postgres: Cluster, tmp_path: Path) -> None:
    database = postgres.create()
    try:
        with assembled(tmp_path, url=postgres.url(database), processes=2) as fleet:
            assert Soak(fleet).run(drawn(15, processes=2))["wrong"] == []
    finally:
        postgres.drop(database)
