"""Makes the stored files of a schema's version: a small database, filled by the code of that version, as SQL.

    python -m tests.store.schemas.make                  # of the newest version, by the code that is checked out
    python -m tests.store.schemas.make 0005=99e8af9     # of an earlier one, by the code of a commit

It notes the digest of each migration as well, which is frozen from then on.
"""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
import subprocess
import sys
import tarfile
from pathlib import Path
from tempfile import TemporaryDirectory

from hls_handler.store import migrations
from tests.postgres import Cluster, find_programs, running_cluster

HERE = Path(__file__).parent
ROOT = HERE.parent.parent.parent
FROZEN = HERE / "frozen.sha256"
VERSIONS = Path(next(iter(migrations.__path__))) / "versions"


def main(wanted: list[str]) -> None:
    note_digests()
    with running_cluster() as cluster, TemporaryDirectory() as folder:
        if not wanted:
            make(newest(), ROOT, cluster, Path(folder))
        for name, commit in (one.split("=") for one in wanted):
            code = Path(folder) / name
            code.mkdir()
            archive = subprocess.run(
                ["git", "archive", commit, "hls_handler"], cwd=ROOT, check=True, stdout=subprocess.PIPE
            )
            with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as packed:
                packed.extractall(code, filter="data")
            make(name, code, cluster, Path(folder))


def newest() -> str:
    """The newest version, "0007"."""
    return max(path.name[1:5] for path in VERSIONS.glob("v*.py"))


def digests() -> dict[str, str]:
    """Each migration's file and the digest of what it says."""
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(VERSIONS.glob("v*.py"))}


def frozen() -> dict[str, str]:
    """The digests that were noted when each migration landed."""
    noted = (line.split("  ") for line in FROZEN.read_text().splitlines())
    return {name: digest for digest, name in noted}


def note_digests() -> None:
    """New ones only: those that are noted are frozen."""
    noted = digests() | frozen()
    FROZEN.write_text("".join(f"{noted[name]}  {name}\n" for name in sorted(noted)))


def make(name: str, code: Path, cluster: Cluster, folder: Path) -> None:
    """Write `sqlite/NAME.sql` and `postgresql/NAME.sql`."""
    file = folder / f"{name}.db"
    _fill(f"sqlite:///{file}", code)
    connection = sqlite3.connect(file)
    _write("sqlite", name, "\n".join(connection.iterdump()))
    connection.close()
    database = cluster.create()
    url = cluster.url(database)
    _fill(url, code)
    dump = [str(find_programs() / "pg_dump"), "--inserts", "--no-owner", "--no-privileges", "--no-comments"]
    target = url.removeprefix("postgresql+psycopg://")
    said = subprocess.run([*dump, f"postgresql://{target}"], check=True, stdout=subprocess.PIPE, text=True).stdout
    kept = [
        line
        for line in said.splitlines()
        if line and not line.startswith(("--", "\\", "SET ", "SELECT pg_catalog.set_config"))
    ]
    _write("postgresql", name, "\n".join(kept))


def _fill(url: str, code: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(code)}
    subprocess.run([sys.executable, str(HERE / "fill.py"), url], check=True, cwd=code, env=environ)


def _write(kind: str, name: str, text: str) -> None:
    path = HERE / kind / f"{name}.sql"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{text}\n")


if __name__ == "__main__":
    main(sys.argv[1:])
