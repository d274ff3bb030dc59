"""Creation and migration of the tables by the process that opens the database."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text
from sqlalchemy.schema import CreateIndex, CreateTable

from hls_handler.db.database import Database
from hls_handler.db.tables import FULL_TEXT_INDEX, metadata
from hls_handler.errors import StoreUnavailable

VERSION_TABLE = "hls_version"
REVISIONS = ("1.0.0",)
"""The revisions in `migrations/versions`, the oldest first."""

_NO_TIMEOUTS = "; ".join(
    f"SET LOCAL {bound} = 0"
    for bound in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
)
_ADVISORY_LOCK = 7_246_173  # arbitrary; held during a migration


class UnsupportedTables(StoreUnavailable):
    """Another version of HLS wrote the tables. The operator must act."""


def migrate(database: Database) -> None:
    """Create the tables, or migrate them to the newest version. Raises `UnsupportedTables`.

    Each revision has a transaction of its own, so that a new column locks its table only until the
    column is there, and not while later revisions fill tables.
    """
    while not _migrate_once(database):
        pass


def _migrate_once(database: Database) -> bool:
    """Create the tables, or migrate by one revision; return True if the tables are current."""
    with database.writing(has_timeout=False) as connection:
        # SQLite's transaction already excludes other writers
        if connection.dialect.name == "postgresql":
            # No time limits: another process may be migrating, and changing large tables takes
            # long.
            connection.execute(text(_NO_TIMEOUTS))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
        present = _supported_version(connection, database)
        newest = REVISIONS[-1]
        if present == newest:
            return True
        if present is None:
            _create_tables(connection)
            _run_alembic(connection, newest, is_new=True)
            return True
        following = REVISIONS[REVISIONS.index(present) + 1]
        _run_alembic(connection, following)
        return following == newest


def _supported_version(connection: Connection, database: Database) -> str | None:
    """Return the version of the tables; None if there are none."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(text("SELECT version_num FROM hls_version"))
    if version is None or version in REVISIONS:
        return version
    raise UnsupportedTables(
        f"the database {database.shown_url} was written by another version of HLS (its tables are"
        f" version {version}, this HLS supports {', '.join(REVISIONS)}): run that version, restore"
        " a backup that this one wrote, or name another database in storage.url"
    )


def _create_tables(connection: Connection) -> None:
    for table in metadata.sorted_tables:
        connection.execute(CreateTable(table))
        # `create_all` has them in any order, and SQLite's choice between two depends on it
        for index in sorted(table.indexes, key=lambda index: str(index.name)):
            connection.execute(CreateIndex(index))
    for statement in FULL_TEXT_INDEX[connection.dialect.name].split("\n\n"):
        connection.execute(text(statement))


def _run_alembic(connection: Connection, revision: str, *, is_new: bool = False) -> None:
    """Migrate the tables to the revision; of new tables, store only that they have it."""
    # here: a start with current tables does not need Alembic, which takes 12 MB of memory
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    run = command.stamp if is_new else command.upgrade
    run(config, revision)
