"""Migration of the tables by the process that opens the database."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from hls_handler.db.database import Database
from hls_handler.errors import StoreUnavailable

VERSION_TABLE = "hls_version"
REVISIONS = (
    "0.2.0",
    "0.3.0",
    "0.4.0",
    "0.4.1",
    "0.4.2",
    "0.4.3",
    "0.4.4",
    "0.4.5",
    "0.4.6",
    "0.4.7",
    "0.4.8",
    "0.4.9",
    "0.4.10",
)
"""The revisions in `migrations/versions`, the oldest first."""

_NO_TIMEOUTS = "; ".join(
    f"SET LOCAL {bound} = 0"
    for bound in ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
)
_BEFORE_0_2_0 = frozenset(f"{number:04}" for number in range(1, 9))
_ADVISORY_LOCK = 7_246_173  # arbitrary; held during a migration


class UnsupportedTables(StoreUnavailable):
    """The tables are from a newer HLS, or from one before 0.2.0. The operator must act."""


def migrate(database: Database) -> None:
    """Migrate the tables to the newest version. Raises `UnsupportedTables`.

    Each revision has a transaction of its own, so that a new column locks its table only until the
    column is there, and not while later revisions fill tables. A new database has one transaction.
    """
    while not _migrate_once(database):
        pass


def _migrate_once(database: Database) -> bool:
    """Migrate by one revision; return True if the tables are current."""
    with database.writing(has_timeout=False) as connection:
        # SQLite's transaction already excludes other writers
        if connection.dialect.name == "postgresql":
            # No time limits: another process may be migrating, and changing large tables takes
            # long.
            connection.execute(text(_NO_TIMEOUTS))
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_ADVISORY_LOCK})"))
        found = _supported_version(connection, database)
        following = REVISIONS[-1]
        if found == following:
            return True
        if found is not None:
            following = REVISIONS[REVISIONS.index(found) + 1]
        _upgrade(connection, following)
        return following == REVISIONS[-1]


def _supported_version(connection: Connection, database: Database) -> str | None:
    found = None
    if inspect(connection).has_table(VERSION_TABLE):
        found = connection.scalar(text("SELECT version_num FROM hls_version"))
    if found in _BEFORE_0_2_0:
        raise UnsupportedTables(
            f"the database {database.shown_url} was written by an HLS from before 0.2.0 (its tables"
            f" are version {found}), which cannot be upgraded: name a new database in storage.url"
        )
    if found is not None and found not in REVISIONS:
        raise UnsupportedTables(
            f"the database {database.shown_url} was written by a newer HLS (its tables are version"
            f" {found}, this HLS supports them up to {REVISIONS[-1]}): upgrade HLS, restore the"
            " backup from before the upgrade, or name another database in storage.url"
        )
    return found


def _upgrade(connection: Connection, revision: str) -> None:
    # here: a start with current tables does not need Alembic, which takes 12 MB of memory
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option(
        "script_location", str(Path(__file__).parent / "migrations").replace("%", "%%")
    )
    config.attributes["connection"] = connection
    config.attributes["version_table"] = VERSION_TABLE
    command.upgrade(config, revision)
