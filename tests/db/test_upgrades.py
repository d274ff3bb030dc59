"""Upgrades: the stored database of each released version is migrated and keeps its rows."""

from __future__ import annotations

import gzip
import sqlite3
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from packaging.version import Version
from sqlalchemy import Connection, MetaData, Table, create_engine, make_url, select

from hls_handler import __version__
from hls_handler.batches.triage import undo
from hls_handler.db import migrations, tables
from hls_handler.db.counters import COST
from hls_handler.db.migrate import REVISIONS, VERSION_TABLE
from hls_handler.db.tables import calls, checkpoints, deleted_calls, metadata
from hls_handler.db.values import EPOCH, HOUR_MS, compress_text, from_ms
from hls_handler.storage import Storage
from hls_handler.store.batches import NewBatch
from hls_handler.store.deliveries import Rename
from hls_handler.store.figures import CacheFigures, Period
from hls_handler.store.numbers import sum_labels, sum_repositories
from tests.crash.scenarios import FreshRepository
from tests.db.released.make import SCRIPTS, digest, migration_file, recorded_digests, stored_file
from tests.db.test_open import is_no_full_text_index, schema
from tests.e2e.service import Waiting
from tests.postgres import Cluster

HOME = FreshRepository(1)
MAKE = "python -m tests.db.released.make"
DROPPED_TABLES = (
    "analyses",
    "audit",
    "cached_replies",
    "counter_hours",
    "counters",  # of another shape now
    "prompt_versions",
    "triage_runs",
)
CHANGED_COLUMNS = (
    ("findings", "changed_at"),
    ("findings", "severity"),
    ("deliveries", "request_id"),  # of triage runs, which are batches now
    ("deliveries", "priority"),
    ("calls", "review_key"),
)
TOTALS = (
    # of 0.4.10: name, label, value
    ("outcome", "done", 5),
    ("outcome", "dead", 3),
    ("repository_outcome", "octo/a:done", 3),
    ("repository_outcome", "octo/a:dead", 3),
    ("repository_outcome", "octo/b:done", 1),
    ("event", "issues.opened", 7),
    ("repository", "octo/a", 4),
    ("repository", "octo/b", 3),
    ("webhooks", "", 6),
    ("caught_up", "", 1),
    ("cost_micro_usd", "", 100),
    ("prompt_cost_micro_usd", "issues/analyze@1", 60),
    ("repository_cost_micro_usd", "octo/a", 70),
    ("processing_ms", "", 5_000),
    ("processing_count", "", 5),
    ("processing_le", "1", 5),
    ("processing_le", "30", 2),
    ("last_webhook", "octo/a", 123_456),
    ("repository_renamed", "old/name octo/a", 99),
)
HOURS = (
    # the same of the first hour of 1970
    ("outcome", "done", 5),
    ("outcome", "dead", 3),
    ("repository_ended", "octo/a:done", 3),
    ("repository_ended", "octo/a:dead", 3),
    ("author_ended", "mona octo/a:done", 2),
    ("author_cost_micro_usd", "mona octo/a", 30),
    ("cost_micro_usd", "", 100),
    ("repository_cost_micro_usd", "octo/a", 70),
    ("processing_le", "1", 5),
    ("repository_processing_le", "octo/a:1", 4),
    ("reply_cache", "hits", 2),
    ("reply_cache", "saved_micro_usd", 9),
    ("repository_replies", "octo/a:cached", 2),
    ("repository_replies", "octo/a:asked", 4),
    ("repository_saved_micro_usd", "octo/a", 9),
    ("repository_recovered", "octo/a", 1),
    ("webhooks", "", 6),
    ("caught_up", "", 1),
)

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


@pytest.fixture
def old_url(fresh_url: str, tmp_path: Path, request: pytest.FixtureRequest) -> str:
    """A database of 0.4.10."""
    return restore(make_url(fresh_url).get_backend_name(), "0.4.10", tmp_path, request)


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
    url = restore(make_url(fresh_url).get_backend_name(), revision, tmp_path, request)
    Storage.open(fresh_url).close()
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
        assert _read(connection, before) == rows
    engine.dispose()
    assert schema(url) == schema(fresh_url)


def test_upgrade_makes_batches_of_triage_runs(
    old_url: str,
) -> None:
    with closing(Storage.open(old_url)) as store:
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


def _open_with_counters(url: str, *, discarded: Sequence[int] = ()) -> Storage:
    """Upgrade a database of 0.4.10 with the counters `TOTALS` and `HOURS`, and no other."""
    engine = create_engine(url)
    totals = [{"name": name, "label": label, "value": value} for name, label, value in TOTALS]
    hours = [
        {"name": name, "label": label, "value": value, "hour": HOUR_MS}
        for name, label, value in HOURS
    ]
    with engine.begin() as connection:
        for name, rows in (("counters", totals), ("counter_hours", hours)):
            table = Table(name, MetaData(), autoload_with=connection)
            connection.execute(table.delete())
            connection.execute(table.insert(), rows)
        update = tables.deliveries.update().where(tables.deliveries.c.id.in_(discarded))
        ended = {"state": "dead", "finished_at": HOUR_MS + 7, "discarded_at": 1}
        connection.execute(update.values(ended))
    engine.dispose()
    return Storage.open(url)


def test_upgrade_keeps_the_totals_of_labels_and_of_repositories(
    old_url: str,
) -> None:
    with closing(_open_with_counters(old_url)) as store:
        totals = store.statistics.totals()
        last_webhooks = store.statistics.last_webhooks()
        renames = store.statistics.renames()
        names = store.catch_up.received_repositories()
    labels = sum_labels(totals)
    assert labels["outcome"] == {"done": 5, "dead": 3}
    assert labels["event"] == {"issues.opened": 7}
    assert labels["cost_micro_usd"] == {"": 40, "issues/analyze@1": 60}
    assert (labels["processing_le"], labels["stored"]) == ({"0.75": 5, "12": 2}, {"": 7})
    assert sum_repositories(totals, "outcome") == {
        "octo/a": {"done": 3, "dead": 3},
        "octo/b": {"done": 1},
    }
    assert sum_repositories(totals, "event") == {"octo/a": {"": 4}, "octo/b": {"": 3}}
    assert sum_repositories(totals, "cost_micro_usd") == {"octo/a": {"": 70}}
    assert last_webhooks == {"octo/a": from_ms(123_456)}
    assert renames == [Rename("old/name", "octo/a", from_ms(99))]
    assert names == ["octo/a", "octo/b"]


def test_upgrade_keeps_the_figures_of_an_hour(
    old_url: str,
) -> None:
    first_day = Period(EPOCH, EPOCH + timedelta(days=1), timedelta(days=1))
    names = ("stored", "outcome", "cost_micro_usd", "webhooks")
    with closing(_open_with_counters(old_url, discarded=(1, 2))) as store:
        report = store.statistics.report(first_day.since, first_day.until)
        series = store.statistics.series(names, first_day)
        totals = store.statistics.counters()
    (repository,) = report.repositories
    assert (repository.name, repository.done, repository.dead) == ("octo/a", 3, 3)
    assert (repository.recovered, repository.cost_usd) == (1, 0.00007)
    assert repository.processing_seconds.count == 4
    assert repository.reply_cache == CacheFigures(6, 2, 33.33, 0.000009)
    assert series == {
        ("stored", ""): (7,),
        ("outcome", "done"): (5,),
        ("outcome", "dead"): (1,),
        ("outcome", "discarded"): (2,),
        ("cost_micro_usd", ""): (100,),
    }
    assert (totals["outcome", "dead"], totals["outcome", "discarded"]) == (3, 2)


def test_upgrade_counts_the_cost_of_prompts_by_the_hour(
    old_url: str,
) -> None:
    with closing(Storage.open(old_url)) as store:
        now = store.now()
        period = Period(EPOCH, now + timedelta(hours=1), now + timedelta(hours=1) - EPOCH)
        series = store.statistics.series([COST], period)
        totals = store.statistics.counters()
    costs = {label: cost for (name, label), (cost,) in series.items() if name == COST and cost}
    assert costs["batches"] > 0
    assert "" not in costs
    assert sum(costs.values()) == sum(cost for (name, _), cost in totals.items() if name == COST)


def test_upgrade_adds_the_calls_of_shadow_prompts_to_the_deleted_ones(
    old_url: str,
) -> None:
    engine = create_engine(old_url)
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
    with closing(Storage.open(old_url)) as store:
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
    assert (
        postgres.query("SELECT version_num FROM hls_version", database=name)
        == SCRIPTS.get_current_head()
    )
    postgres.drop(name)
