"""Upgrading: every schema that ever landed is brought up with its rows, by one process, and works afterwards."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, create_engine, select, text

from hls_handler.cli.story import tell
from hls_handler.cli.why import sentences
from hls_handler.deliveries import Remembered
from hls_handler.store import Store
from hls_handler.store.tables import metadata
from tests.e2e.service import ROOT, Waiting
from tests.postgres import Cluster
from tests.store.builders import accept, state_of
from tests.store.schemas.fill import ISSUE, PROMPT, new
from tests.store.schemas.make import VERSIONS, digests, frozen, newest
from tests.store.schemas.stored import load, names

REMAKE = "python -m tests.store.schemas.make"

Rows = dict[str, list[tuple[object, ...]]]


@pytest.fixture(params=[(kind, name) for kind in ("sqlite", "postgresql") for name in names(kind)], ids="-".join)
def stored(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The address of a database as an earlier version left it."""
    kind, name = request.param
    if kind == "sqlite":
        load(name, f"sqlite:///{tmp_path}/hls.db")
        yield f"sqlite:///{tmp_path}/hls.db"
        return
    cluster: Cluster = request.getfixturevalue("postgres")
    database = cluster.create()
    load(name, cluster.url(database))
    yield cluster.url(database)
    cluster.drop(database)


def read(url: str, tables: MetaData) -> Rows:
    """All rows, of the columns that `tables` has."""
    engine = create_engine(url)
    with engine.connect() as connection:
        tables.reflect(connection)
        rows = {
            table.name: sorted((tuple(row) for row in connection.execute(select(table))), key=repr)
            for table in tables.sorted_tables
            if table.name != "hls_version"
        }
    engine.dispose()
    return rows


def test_every_version_is_brought_up_to_this_one_and_keeps_its_rows(stored: str) -> None:
    tables = MetaData()
    before = read(stored, tables)
    assert all(before.values()), [name for name, rows in before.items() if not rows]
    Store.open(stored).close()
    engine = create_engine(stored)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM hls_version")).scalars().all() == [newest()]
        context = MigrationContext.configure(connection, opts={"version_table": "hls_version"})
        assert compare_metadata(context, metadata) == []
        after: Rows = {
            name: sorted((tuple(row) for row in connection.execute(select(tables.tables[name]))), key=repr)
            for name in before
        }
    engine.dispose()
    assert after == before


def _is_understood(store: Store) -> None:
    (row,) = store.thread("octo/widgets", 1)
    told = list(sentences(tell(store, row)))
    assert told[1:] == [
        "  Let in: settings.yaml:3 lets issues.opened in.",
        f"  {PROMPT} was asked, and Claude said: bug, priority high, easy, component backend: {ISSUE.summary}",
        "  Done: labels bug.",
        "  2 calls to Claude, 2400 tokens in, 160 out, 0.000320 USD.",
    ]
    figures = {row.prompt_id: row for row in store.prompt_figures()}[PROMPT]
    of_the_review = len(store.calls("reviewed"))  # since 0008
    assert figures.answers - of_the_review in (1, 4)  # with the three that the newest versions have forgotten
    assert figures.last_error == "the reply lacks kind"
    known = store.known_of_thread(1, 1, "hls-bot")
    assert known.labels == {"bug": "ours", "priority-high": "intended"}
    assert known.comments["issues"].comment_id == 11
    assert store.counters()["outcome", "pong"] == 1
    assert [answer.outcome for answer in accept(store, new("done", 1))] == ["duplicate"]


def test_what_every_version_kept_is_understood_and_worked_on_after_the_upgrade(stored: str) -> None:
    with ExitStack() as held:
        store = Store.open(stored)
        held.callback(store.close)
        assert {row.guid: row.state for row in store.deliveries()} == {
            "done": "done",
            "superseded": "superseded",
            "reviewed": "done",
            "ignored": "ignored",
            "dead": "dead",
            "postponed": "queued",
            "running": "running",
            "queued": "queued",
        }
        _is_understood(store)
        store.release_all_leases()
        store.wait_no_more()
        assert store.requeue("dead") == "queued"
        seen = {}
        while (lease := store.claim(worker="w", lease_s=30, max_crashes=10)) is not None:
            assert lease.body == b'{"delivery": "%s"}' % lease.guid.encode()
            seen[lease.guid] = set(store.steps(lease))
            store.remember(lease, Remembered("apply", 0, 1, "{}"))
            store.finish(lease, "done", reason="done after the upgrade", took_s=1)
        assert seen == {"postponed": set(), "running": {("gather", 0)}, "queued": set(), "dead": {("ask", 0)}}
        assert {guid: state_of(store, guid) for guid in seen} == dict.fromkeys(seen, "done")


# --- what whoever writes the next migration must not forget ----------------------------------------------------------


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_every_version_since_the_numbers_are_fixed_has_its_stored_database(kind: str) -> None:
    made_together = {"0003"}  # landed with the next one: no database was ever left at it
    expected = {path.name[1:5] for path in VERSIONS.glob("v*.py")} - made_together
    assert set(names(kind)) - {"0004-step-failures", "0005-corrections"} == expected, f"{REMAKE} makes what is missing"


def test_a_migration_that_landed_is_not_edited() -> None:
    assert digests() == frozen(), (
        f"databases have been through these migrations: write a new one ({REMAKE} notes the digest of a new one)"
    )


# --- several processes -----------------------------------------------------------------------------------------------

OPEN = "import sys; from hls_handler.store import Store; Store.open(sys.argv[1]).close(); print('opened')"


def opening(url: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", OPEN, url], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_of_processes_that_start_together_one_migrates_postgresql_and_the_others_wait(postgres: Cluster) -> None:
    name = postgres.create()
    url = postgres.url(name)
    load("0001", url)
    with psycopg.connect(url.replace("+psycopg", "")) as first:
        first.execute("SELECT pg_advisory_xact_lock(7246173)")  # as one that is at it
        others = [opening(url) for _ in range(2)]
        waiting = Waiting(30)
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as looking:
            asleep = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
            while looking.execute(asleep).fetchone() != (2,):
                assert waiting.more(), "they do not wait for each other"
            assert looking.execute("SELECT version_num FROM hls_version").fetchall() == [("0001",)]
    assert [other.communicate(timeout=30)[0] for other in others] == ["opened\n", "opened\n"]
    with psycopg.connect(url.replace("+psycopg", "")) as looking:
        assert looking.execute("SELECT version_num FROM hls_version").fetchall() == [(newest(),)]
    postgres.drop(name)


def test_a_second_process_waits_until_the_first_has_migrated_sqlite(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/hls.db"
    load("0001", url)
    first = sqlite3.connect(tmp_path / "hls.db", isolation_level=None)
    first.execute("PRAGMA journal_mode = WAL")
    first.execute("BEGIN IMMEDIATE")
    other = opening(url)
    waiting = Waiting(30)
    while f"{tmp_path}/hls.db" not in _open_files(other.pid):
        assert waiting.more(), "it did not come to the database"
        assert other.poll() is None
    assert first.execute("SELECT version_num FROM hls_version").fetchall() == [("0001",)]
    first.execute("COMMIT")
    assert other.communicate(timeout=30)[0] == "opened\n"
    assert first.execute("SELECT version_num FROM hls_version").fetchall() == [(newest(),)]
    first.close()


def _open_files(pid: int) -> set[str]:
    return {str(link.resolve()) for link in Path(f"/proc/{pid}/fd").iterdir() if link.exists()}
