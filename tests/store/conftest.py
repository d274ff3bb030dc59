"""The store's contract holds on SQLite and on PostgreSQL: whoever asks for `url` or `store` is run on both."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hls_handler.db.tables import metadata
from hls_handler.storage import Storage
from tests.postgres import Cluster, postgres
from tests.store.builders import Skew

__all__ = ["postgres"]


@pytest.fixture(scope="session")
def shared(postgres: Cluster) -> str:
    """A database with the tables in it: making one for each test takes longer than the test."""
    name = postgres.create()
    Storage.open(postgres.url(name)).close()
    return name


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without rows."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/hls.db"
    cluster: Cluster = request.getfixturevalue("postgres")
    name: str = request.getfixturevalue("shared")
    cluster.run("; ".join(f"DELETE FROM {table.name}" for table in reversed(metadata.sorted_tables)), database=name)
    return cluster.url(name)


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/folder/hls.db"
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    name = cluster.create()
    yield cluster.url(name)
    cluster.drop(name)


@pytest.fixture
def skew() -> Skew:
    return Skew()


@pytest.fixture
def store(url: str, skew: Skew) -> Iterator[Storage]:
    opened = Storage.open(url, skew=skew)
    yield opened
    opened.close()
