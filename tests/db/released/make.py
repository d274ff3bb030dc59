"""Stores databases with work in flight for both engines, and the digest of the newest migration.
Run it at a release:

    python -m tests.db.released.make

With `FOLDER`, they are those of an earlier checkout. The tests upgrade the stored databases. One of
a released version is never made again.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic.script import Script, ScriptDirectory

from hls_handler.db import migrations
from tests.e2e.service import ROOT
from tests.machines.upgrade import leave_work, open_world
from tests.postgres import running_cluster
from tests.system_programs import find_postgresql

HERE = Path(__file__).parent
DIGESTS = HERE / "migrations.sha256"
"""The format is that of sha256sum, one line for each migration of a released version."""

SCRIPTS = ScriptDirectory(next(iter(migrations.__path__)))
_NOT_NEEDED = ("--", "\\", "SET ", "SELECT pg_catalog.set_config")
"""Beginnings of lines of pg_dump that depend on its version or on the session."""


def main(folder: Path, revision: str) -> None:
    with TemporaryDirectory() as name, running_cluster() as cluster:
        file = Path(name, "hls.db")
        url = cluster.url(cluster.create())
        _leave_work(folder, "sqlite", revision, f"sqlite:///{file}")
        _store(stored_file("sqlite", revision), _dump_sqlite(file))
        _leave_work(folder, "postgresql", revision, url)
        _store(stored_file("postgresql", revision), _dump_postgresql(url))


def record_digest(migration: Script) -> None:
    with DIGESTS.open("a") as file:
        file.write(f"{digest(migration)}  {migration_file(migration).name}\n")


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
    return HERE / engine / f"{revision}.sql.gz"


def stored_github(engine: str, revision: str) -> Path:
    """Path of the state of GitHub that belongs to the database."""
    return HERE / engine / f"{revision}.github.json.gz"


def _leave_work(folder: Path, engine: str, revision: str, url: str) -> None:
    with TemporaryDirectory() as name:
        with open_world(Path(name), url) as world:
            leave_work(world, folder)
        _store(stored_github(engine, revision), Path(name, "github.json").read_text())


def _store(path: Path, text: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def _dump_sqlite(path: Path) -> str:
    with closing(sqlite3.connect(path)) as connection:
        return "".join(f"{line}\n" for line in connection.iterdump())


def _dump_postgresql(url: str) -> str:
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
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]).resolve(), sys.argv[2])
    else:
        (newest,) = SCRIPTS.get_revisions("head")
        main(ROOT, newest.revision)
        record_digest(newest)
