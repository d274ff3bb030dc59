"""Stores a database of the newest migration for both engines, and the digest of the migration. Run
it at a release:

    python -m tests.db.released.make

The tests upgrade the stored databases. A stored database of a released version is never made again.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic.script import Script, ScriptDirectory

from hls_handler.db import migrations
from tests.db.released.fill import fill
from tests.postgres import Cluster, running_cluster
from tests.system_programs import find_postgresql

HERE = Path(__file__).parent
DIGESTS = HERE / "migrations.sha256"
"""The format is that of sha256sum, one line for each migration of a released version."""

SCRIPTS = ScriptDirectory(next(iter(migrations.__path__)))
_NOT_NEEDED = ("--", "\\", "SET ", "SELECT pg_catalog.set_config")
"""Beginnings of lines of pg_dump that depend on its version or on the session."""


def main() -> None:
    (newest,) = SCRIPTS.get_revisions("head")
    if migration_file(newest).name in recorded_digests():
        sys.exit(
            f"{newest.revision} is released: its stored databases and its migration must not change"
        )
    with TemporaryDirectory() as folder, running_cluster() as cluster:
        _store("sqlite", newest.revision, _sqlite_dump(Path(folder) / "hls.db"))
        _store("postgresql", newest.revision, _postgresql_dump(cluster))
    with DIGESTS.open("a") as file:
        file.write(f"{digest(newest)}  {migration_file(newest).name}\n")


def migration_file(migration: Script) -> Path:
    return Path(migration.path)


def digest(migration: Script) -> str:
    return hashlib.sha256(migration_file(migration).read_bytes()).hexdigest()


def recorded_digests() -> dict[str, str]:
    """Digests of the migrations of released versions, by file name."""
    lines = DIGESTS.read_text().splitlines() if DIGESTS.exists() else []
    return {name: digest for digest, name in (line.split("  ") for line in lines)}


def stored_file(engine: str, revision: str) -> Path:
    """Path of the SQL of a stored database; `engine` is "sqlite" or "postgresql"."""
    return HERE / engine / f"{revision}.sql"


def _store(engine: str, revision: str, sql: str) -> None:
    path = stored_file(engine, revision)
    path.parent.mkdir(exist_ok=True)
    path.write_text(sql)


def _sqlite_dump(path: Path) -> str:
    fill(f"sqlite:///{path}")
    connection = sqlite3.connect(path)
    lines = list(connection.iterdump())
    connection.close()
    return "\n".join(lines) + "\n"


def _postgresql_dump(cluster: Cluster) -> str:
    name = cluster.create()
    url = cluster.url(name)
    fill(url)
    program = str(find_postgresql() / "pg_dump")
    options = ["--inserts", "--no-owner", "--no-privileges", "--no-comments"]
    dump = subprocess.run(
        [program, *options, url.replace("+psycopg", "")],
        env=os.environ | {"PGCLIENTENCODING": "UTF8"},
        check=True,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    ).stdout
    return "".join(
        f"{line}\n" for line in dump.splitlines() if line and not line.startswith(_NOT_NEEDED)
    )


if __name__ == "__main__":
    main()
