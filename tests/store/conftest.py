"""One storage for all tests on SQLite, and one on PostgreSQL: to open one for each takes most of a test's time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hls_handler.db.tables import metadata
from hls_handler.storage import Storage
from tests.postgres import Cluster
from tests.queue.builders import Skew
from tests.sqlite import create_database


@pytest.fixture(scope="session")
def opened() -> Iterator[dict[str, tuple[Storage, list[Skew]]]]:
    """The storages by URL, each with the skew of the present test."""
    by_url: dict[str, tuple[Storage, list[Skew]]] = {}
    yield by_url
    for storage, _ in by_url.values():
        storage.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "sqlite":
        return create_database(tmp_path_factory.getbasetemp() / "store.db")
    cluster: Cluster = request.getfixturevalue("postgres")
    return cluster.url(request.getfixturevalue("shared_database"))


@pytest.fixture
def store(url: str, skew: Skew, opened: dict[str, tuple[Storage, list[Skew]]]) -> Storage:
    if url not in opened:
        present = [skew]
        opened[url] = (Storage.open(url, skew=lambda: present[0]()), present)
    storage, present = opened[url]
    with storage.database.writing(durable=False) as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    present[0] = skew
    return storage
