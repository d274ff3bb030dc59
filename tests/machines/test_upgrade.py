"""An upgrade of a database that a killed process left with work in flight."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from hls_handler.errors import StoreUnavailable
from hls_handler.store.storage import Storage
from tests.machines.upgrade import (
    FOLLOWING,
    continue_work,
    copy_with_a_later_column,
    leave_work,
    open_world,
)
from tests.postgres import Cluster


@pytest.fixture
def url(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    if engine == "sqlite":
        return f"sqlite:///{tmp_path}/hls.db"
    cluster: Cluster = request.getfixturevalue("postgres")
    return cluster.url(cluster.create())


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_version_with_a_later_column_continues_the_work_of_a_killed_one_and_doubles_nothing(
    url: str, tmp_path: Path
) -> None:
    later = copy_with_a_later_column(tmp_path / "later")
    with open_world(tmp_path, url) as world:
        leave_work(world)
        world.sandbox.requests.clear()
        continue_work(world, later)
    engine = create_engine(url)
    with engine.connect() as connection:
        found = connection.execute(text("SELECT DISTINCT later FROM deliveries")).scalars().all()
    engine.dispose()
    assert found == [1]  # in rows of both versions
    newer = f"another version of HLS (its tables are version {FOLLOWING}, this HLS supports "
    with pytest.raises(StoreUnavailable, match=re.escape(newer)):
        Storage.open(url)
