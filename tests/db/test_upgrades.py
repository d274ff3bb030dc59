"""Upgrades: the stored database of each released version is migrated and keeps its rows."""

from __future__ import annotations

import gzip
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from packaging.version import Version
from sqlalchemy import Connection, MetaData, create_engine, func, select

from hls_handler import __version__
from hls_handler.batches.triage import undo
from hls_handler.db import migrations, tables
from hls_handler.db.migrate import REVISIONS, VERSION_TABLE
from hls_handler.db.tables import calls, checkpoints, deleted_calls, metadata
from hls_handler.db.values import HOUR_MS, compress_text
from hls_handler.storage import Storage
from hls_handler.store.batches import NewBatch
from tests.crash.scenarios import FreshRepository
from tests.db.released.make import SCRIPTS, digest, migration_file, recorded_digests, stored_file
from tests.db.test_open import is_no_full_text_index, schema
from tests.e2e.service import Waiting
from tests.postgres import Cluster

HOME = FreshRepository(1)
MAKE = "python -m tests.db.released.make"
DROPPED_TABLES = ("analyses", "audit", "cached_replies", "prompt_versions", "triage_runs")
CHANGED_COLUMNS = (
    ("findings", "changed_at"),
    ("findings", "severity"),
    ("deliveries", "request_id"),  # of triage runs, which are batches now
    ("deliveries", "priority"),
    ("calls", "review_key"),
)
ADDED_COUNTERS = ("stored", "prompt_cost_micro_usd")  # of the table `counter_hours`

Rows = dict[str, list[tuple[object, ...]]]


def released() -> list[str]:
    """Revisions of the released versions, up to `__version__`; a newer migration is not
    finished.
    """
    revisions = [script.revision for script in SCRIPTS.walk_revisions()]
    return sorted(revision for revision in revisions if Version(revision) <= Version(__version__))


def restore(engine: str, revision: str, folder: Path, request: pytest.FixtureRequest) -> str:
    """Restore the database that a released version left, and return its URL."""
    sql = gzip.decompress(stored_file(engine, revision).read_bytes()).decode()
    if engine == "sqlite":
        with closing(sqlite3.connect(folder / "hls.db")) as connection:
            connection.executescript(sql)
        return f"sqlite:///{folder}/hls.db"
    cluster: Cluster = request.getfixturevalue("postgres")
    name = cluster.create()
    cluster.run(sql, database=name)
    return cluster.url(name)


def _read(connection: Connection, known: MetaData) -> Rows:
    """All rows, by table, with the columns of `known`."""
    return {
        table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
        for table in known.sorted_tables
        if table.name != VERSION_TABLE
    }


@pytest.mark.parametrize("revision", released())
def test_upgrade_keeps_rows_and_results_in_the_tables_of_a_new_database(
    fresh_url: str, revision: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    engine = create_engine(fresh_url)
    url = restore(engine.dialect.name, revision, tmp_path, request)
    Storage.open(fresh_url).close()
    engine.dispose()
    engine = create_engine(url)
    before = MetaData()
    with engine.connect() as connection:
        before.reflect(connection)
        for name in DROPPED_TABLES:
            before.remove(before.tables[name])
        for name, column in CHANGED_COLUMNS:
            table = before.tables[name]
            table._columns.remove(table.c[column])
        rows = _read(connection, before)
    Storage.open(url).close()
    with engine.connect() as connection:
        options = {"version_table": VERSION_TABLE, "include_name": is_no_full_text_index}
        context = MigrationContext.configure(connection, opts=options)
        assert context.get_current_revision() == SCRIPTS.get_current_head()
        assert compare_metadata(context, metadata) == []
        upgraded = _read(connection, before)
        upgraded["counter_hours"] = [
            row for row in upgraded["counter_hours"] if row[0] not in ADDED_COUNTERS
        ]
        assert upgraded == rows
    engine.dispose()
    assert schema(url) == schema(fresh_url)


def test_upgrade_makes_batches_of_triage_runs(
    fresh_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    engine = create_engine(fresh_url)
    url = restore(engine.dialect.name, "0.4.10", tmp_path, request)
    engine.dispose()
    with closing(Storage.open(url)) as store:
        batch = store.batches.find(1)
        assert batch is not None
        assert (batch.kind, batch.repository, batch.state) == ("triage", HOME.full_name, "open")
        assert batch.terms["comments"] is True
        progress = store.batches.load_progress(batch)
        guids = [delivery.guid for delivery in progress.deliveries]
        assert guids == ["triage-1-711", "triage-1-712"]
        assert progress.cost_usd > 0
        undo(store, batch, by="mona")
        assert [one.guid for one in store.batches.load_progress(batch).undo] == [
            "triage-1-711-undo",
            "triage-1-712-undo",
        ]
        new = NewBatch("triage", 1, "octo/widgets", 1.0, {"comments": False}, {})
        assert store.batches.begin(new, [], by="mona") == 2


def test_upgrade_counts_by_the_hour_what_0_4_10_did_not(
    fresh_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    engine = create_engine(fresh_url)
    url = restore(engine.dialect.name, "0.4.10", tmp_path, request)
    engine.dispose()
    engine = create_engine(url)
    hours = tables.counter_hours
    with engine.begin() as connection:
        for hour in (1, 2):
            counted = {"name": "outcome", "label": "dead", "hour": hour * HOUR_MS, "value": 5}
            connection.execute(hours.insert().values(counted))
        discarded = tables.deliveries.update().where(tables.deliveries.c.id.in_([1, 2]))
        discarded = discarded.values(state="dead", finished_at=2 * HOUR_MS + 7, discarded_at=1)
        connection.execute(discarded)
    engine.dispose()
    with closing(Storage.open(url)) as store, store.database.reading() as connection:
        names = ("stored", "prompt_cost_micro_usd", "outcome")
        query = select(hours.c.name, hours.c.label, func.sum(hours.c.value)).where(
            hours.c.name.in_(names)
        )
        query = query.group_by(hours.c.name, hours.c.label)
        sums = {(name, label): int(value) for name, label, value in connection.execute(query)}
        query = select(hours.c.value).where(hours.c.hour == 2 * HOUR_MS).order_by(hours.c.label)
        assert list(connection.execute(query).scalars()) == [3, 2]
        totals = store.statistics.counters()
    assert sums["outcome", "discarded"] == totals["outcome", "discarded"] == 2
    assert sums["stored", ""] == totals["webhooks", ""] + totals.get(("caught_up", ""), 0)
    costs = {label: cost for (name, label), cost in sums.items() if name == names[1]}
    assert costs["batches"] > 0
    assert sum(costs.values()) == totals["cost_micro_usd", ""]


def test_upgrade_adds_the_calls_of_shadow_prompts_to_the_deleted_ones(
    fresh_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    engine = create_engine(fresh_url)
    url = restore(engine.dialect.name, "0.4.10", tmp_path, request)
    engine.dispose()
    engine = create_engine(url)
    call = {"delivery_id": 1, "model": "m", "started_at": 1, "prompt_id": "issues/new@1"}
    with engine.begin() as connection:
        for step, outcome, cost in (
            (100, "ok", 30),
            (100, "ok", None),
            (101, "failed", None),
            (1, "ok", 200),
        ):
            connection.execute(
                calls.insert().values(**call, step_index=step, outcome=outcome, cost_micro_usd=cost)
            )
        deleted = {"replies": 1, "cost_micro_usd": 4, "calls_of_unknown_cost": 0}
        connection.execute(deleted_calls.insert().values(prompt_id="issues/new@1", **deleted))
        for name, index in (
            ("shadow", 0),
            ("unshown", 100),
            ("omissions", 100),
            ("omissions", 101),
        ):
            row = {"delivery_id": 7, "version": 1, "duration_ms": 0, "value": compress_text("{}")}
            connection.execute(checkpoints.insert().values(**row, name=name, step_index=index))
    engine.dispose()
    with closing(Storage.open(url)) as store:
        (stats,) = [one for one in store.calls.prompt_stats() if one.prompt_id == "issues/new@1"]
        assert (stats.replies, stats.cost_usd, stats.calls_of_unknown_cost) == (4, 0.000234, 1)
        assert [one.index for one in store.calls.calls_of("issue-701")] == [0, 1]
        assert [*store.checkpoints.load("issue-703")] == [("omissions", 100)]


def test_revisions_are_those_of_the_migrations() -> None:
    scripts = ScriptDirectory(next(iter(migrations.__path__)))
    assert tuple(script.revision for script in reversed([*scripts.walk_revisions()])) == REVISIONS


def test_migrations_of_released_versions_are_not_edited() -> None:
    migrations = [script for script in SCRIPTS.walk_revisions() if script.revision in released()]
    assert {
        migration_file(script).name: digest(script) for script in migrations
    } == recorded_digests(), (
        f"databases have been through these migrations: write a new one; `{MAKE}` records its digest"
    )


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
        waiting, waiters = (
            Waiting(60),
            "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted",
        )
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
    assert (
        postgres.query("SELECT version_num FROM hls_version", database=name)
        == SCRIPTS.get_current_head()
    )
    postgres.drop(name)


def test_each_released_version_has_its_stored_databases() -> None:
    files = [
        stored_file(engine, revision)
        for revision in released()
        for engine in ("sqlite", "postgresql")
    ]
    assert [str(file) for file in files if not file.exists()] == [], f"run `{MAKE}`"
