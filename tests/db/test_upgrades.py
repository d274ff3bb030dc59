"""The tables of a new database, and databases of other versions."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from hls_handler.db import migrations
from hls_handler.db.migrate import REVISIONS, VERSION_TABLE
from hls_handler.db.tables import metadata
from hls_handler.store.storage import Storage
from tests.e2e.service import Waiting
from tests.postgres import Cluster


def test_new_database_has_the_tables_of_the_newest_revision(fresh_url: str) -> None:
    def is_no_full_text_index(name: str | None, _kind: str, _parents: object) -> bool:
        """SQLAlchemy describes neither an index of an expression nor a virtual table."""
        return not (name or "").startswith(("ix_texts_words", "texts_words"))

    Storage.open(fresh_url).close()
    engine = create_engine(fresh_url)
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "include_name": is_no_full_text_index}
        context = MigrationContext.configure(connection, opts=options)
        assert context.get_current_revision() == REVISIONS[-1]
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_revisions_are_those_of_the_migrations() -> None:
    scripts = ScriptDirectory(next(iter(migrations.__path__)))
    assert tuple(script.revision for script in reversed([*scripts.walk_revisions()])) == REVISIONS


def test_stores_that_open_a_new_postgresql_database_wait_for_its_migration(
    postgres: Cluster,
) -> None:
    name = postgres.create()
    with (
        ThreadPoolExecutor(2) as pool,
        postgres.connect(name) as migrating,
        migrating.transaction(),
    ):
        migrating.execute("SELECT pg_advisory_xact_lock(7246173)")  # the lock of a migration
        opened = [pool.submit(lambda: Storage.open(postgres.url(name)).close()) for _ in range(2)]
        waiting = Waiting(60)
        waiters = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        while postgres.query(waiters, database=name) != 2:
            assert waiting.more(), "the stores do not wait for the lock"
        assert (
            postgres.query(
                "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'", database=name
            )
            == 0
        )
    for one in opened:
        one.result(timeout=60)
    assert postgres.query("SELECT version_num FROM hls_version", database=name) == REVISIONS[-1]
    postgres.drop(name)
