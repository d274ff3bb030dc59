"""Upgrades: the stored database of each released version is migrated, keeps its rows, and works
afterwards.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from packaging.version import Version
from sqlalchemy import Connection, MetaData, create_engine, select, text
from typer.testing import CliRunner

from hls_handler import __version__
from hls_handler.cli import app
from hls_handler.db import migrations
from hls_handler.db.migrate import REVISIONS, VERSION_TABLE
from hls_handler.db.tables import metadata
from hls_handler.deliveries import End
from hls_handler.storage import Storage
from tests.db.released.fill import PROMPT, new_delivery
from tests.db.released.make import SCRIPTS, digest, migration_file, recorded_digests, stored_file
from tests.db.test_open import is_no_full_text_index
from tests.e2e.service import Waiting
from tests.postgres import Cluster
from tests.queue.builders import accept, claim, newest

MAKE = "python -m tests.db.released.make"

SETTINGS = """\
github: {{token: a-token, webhook_secret: "0123456789abcdef"}}
claude: {{api_key: a-key}}
repositories: [{{name: octo/widgets}}]
storage: {{url: "{url}"}}
"""

Rows = dict[str, list[tuple[object, ...]]]


def released() -> list[str]:
    """Revisions of the released versions, up to `__version__`; a newer migration is not
    finished.
    """
    revisions = [script.revision for script in SCRIPTS.walk_revisions()]
    return sorted(revision for revision in revisions if Version(revision) <= Version(__version__))


@pytest.fixture(
    params=[(engine, revision) for revision in released() for engine in ("sqlite", "postgresql")],
    ids="-".join,
)
def released_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database as a released version left it."""
    engine, revision = request.param
    sql = stored_file(engine, revision).read_text()
    if engine == "sqlite":
        with closing(sqlite3.connect(tmp_path / "hls.db")) as connection:
            connection.executescript(sql)
        yield f"sqlite:///{tmp_path}/hls.db"
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    name = cluster.create()
    cluster.run(sql, database=name)
    yield cluster.url(name)
    cluster.drop(name)


def _read(connection: Connection, tables: MetaData) -> Rows:
    """All rows, by table, with the columns of `tables`."""
    return {
        table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
        for table in tables.sorted_tables
        if table.name != VERSION_TABLE
    }


def test_upgrade_keeps_all_rows_and_results_in_tables_that_the_earlier_version_can_write(
    released_url: str,
) -> None:
    """The process of the earlier version may go on while another one has upgraded the tables."""
    engine = create_engine(released_url)
    before, after = MetaData(), MetaData()
    with engine.connect() as connection:
        before.reflect(connection)
        rows = _read(connection, before)
    Storage.open(released_url).close()
    with engine.connect() as connection:
        after.reflect(connection)
        context = MigrationContext.configure(
            connection, opts={"version_table": VERSION_TABLE, "include_name": is_no_full_text_index}
        )
        assert context.get_current_revision() == SCRIPTS.get_current_head()
        assert compare_metadata(context, metadata) == []
        assert _read(connection, before) == rows
    engine.dispose()
    assert [
        name for name, found in rows.items() if not found
    ] == []  # else the upgrade of a table is not tested
    added = [
        column
        for table in before.sorted_tables
        for column in after.tables[table.name].columns
        if column.name not in table.columns
    ]
    assert [
        str(column) for column in added if not column.nullable and column.server_default is None
    ] == []
    assert added != []


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
def test_tables_of_an_early_checkout_of_0_4_0_get_their_missing_columns(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/hls.db"
    if engine == "postgresql":
        cluster: Cluster = request.getfixturevalue("postgres")
        url = cluster.url(cluster.create())
    Storage.open(url).close()
    database = create_engine(url)
    missing = [
        ("findings", "command"),
        ("checks", "conclusion"),
        ("checks", "is_exempt"),
        ("slots", "can_move"),
        ("deliveries", "discarded_at"),
        ("deliveries", "cause"),
        ("audit", "reason"),
    ]
    of_calls = ("is_correction", "output_cost_micro_usd", "paid_by", "cache_key", "reply_type")
    missing += [("calls", column) for column in (*of_calls, "lost", "reply")]
    with database.begin() as connection:
        connection.execute(text("DROP TABLE triage_runs"))
        indexes = ["ix_calls_cache", "ix_calls_paid_by", "ix_calls_newest"]
        of_lists = ("discarded", "received", "dead_cause", "queued_cause")
        for name in (*indexes, *(f"ix_deliveries_{one}" for one in of_lists)):
            connection.execute(text(f"DROP INDEX {name}"))
        for name in ("questions", "system_texts"):
            connection.execute(text(f"DROP TABLE {name}"))
        for table, column in missing:
            connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
        connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '0.4.2'"))
    Storage.open(url).close()
    with database.connect() as connection:
        opts = {"version_table": VERSION_TABLE, "include_name": is_no_full_text_index}
        assert compare_metadata(MigrationContext.configure(connection, opts=opts), metadata) == []
    database.dispose()


def test_upgraded_history_is_shown_and_deliveries_are_processed(
    released_url: str, tmp_path: Path
) -> None:
    settings = tmp_path / "settings.yaml"
    settings.write_text(SETTINGS.format(url=released_url))
    with closing(Storage.open(released_url)) as store:
        printed = CliRunner().invoke(app, ["why", "octo/widgets#1", "--config", str(settings)])
        assert printed.stdout.splitlines()[1:] == [
            "  Accepted: issues.opened is enabled (settings.yaml:3).",
            (
                f"  Claude's reply to {PROMPT}: kind: bug; priority: high; difficulty: easy;"
                " component: backend; summary: Saving a widget twice loses the first one: Grüße"
                " \U0001f600; missing: the version; recommended_response: Which version is it?"
            ),
            "  Done: labels bug.",
            "  2 calls to Claude, 2,400 tokens in, 160 out, $0.0032.",
        ]
        (stats,) = store.calls.prompt_stats()
        assert (stats.prompt_id, stats.replies, stats.last_error) == (
            PROMPT,
            2,
            "the reply lacks kind",
        )
        conversation = store.conversations.find(1, 1, "hls-bot")
        assert conversation.labels == {"bug": "set", "priority-high": "intended"}
        assert conversation.comments["issues"].comment_id == 11
        assert store.statistics.counters()["label_corrected", f"{PROMPT}:kind"] == 1
        assert [pause.repository for pause in store.pauses.active()] == ["octo/Gadgets"]
        assert [accepted.outcome for accepted in accept(store, new_delivery("done", 1))] == [
            "duplicate"
        ]
        store.queue.release_all_leases()
        store.queue.reschedule_waiting()
        assert store.queue.retry("dead", by="mona") == "queued"
        guids = ["dead", "postponed", "queued", "running"]
        checkpoints = {}
        for _ in guids:
            lease = claim(store)
            assert lease.body == b'{"delivery": "%s"}' % lease.guid.encode()
            checkpoints[lease.guid] = set(store.checkpoints.load(lease.guid))
            store.queue.finish(lease, End("done", "done after the upgrade"), took_s=1)
        assert checkpoints == {
            "dead": set(),
            "postponed": set(),
            "queued": set(),
            "running": {("gather", 0)},
        }
        states = {row.guid: row.state for row in newest(store)}
        assert states == dict.fromkeys([*guids, "done"], "done") | {"ignored": "ignored"}


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
