"""A PostgreSQL cluster for tests, in a temporary folder, on a Unix socket."""

from __future__ import annotations

import getpass
import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest

from tests.system_programs import find_postgresql

_LOCAL_SETTINGS = {"listen_addresses": "", "shared_buffers": "32MB"}
_FAST_SETTINGS = {"fsync": "off", "full_page_writes": "off"}


ON_POSTGRESQL = pytest.mark.parametrize("url", ["postgresql"], indirect=True)
"""A test with this mark does not run on SQLite."""


class Cluster:
    """A running PostgreSQL."""

    def __init__(
        self,
        sockets: Path,
        user: str,
        *,
        as_user: Sequence[str],
        start: Sequence[str],
        stop: Sequence[str],
    ) -> None:
        self._sockets = sockets
        self._user, self._as_user = user, as_user
        self._start, self._stop = start, stop
        self._numbers = itertools.count(1)

    @property
    def socket(self) -> Path:
        """Path of the Unix socket."""
        return self._sockets / ".s.PGSQL.5432"

    def start(self) -> None:
        _check(self._start, self._sockets)

    def stop(self, mode: Literal["fast", "immediate"]) -> None:
        _check([*self._stop, "-m", mode], self._sockets)

    def limit_file_size(self, size_bytes: int | None) -> None:
        """Let new server processes fail to write beyond this file size, as on a full disk; None
        removes the limit.
        """
        # of the postmaster
        pid = self.socket.with_name(f"{self.socket.name}.lock").read_text().splitlines()[0]
        limit = "unlimited" if size_bytes is None else size_bytes
        _check([*self._as_user, "prlimit", f"--fsize={limit}:", "--pid", pid], self._sockets)

    def url(self, database: str, *, port: int | None = None) -> str:
        """URL of a database, by the socket or by a local port that is forwarded to it."""
        address = (
            f"/{database}?host={self._sockets}" if port is None else f"127.0.0.1:{port}/{database}"
        )
        return f"postgresql+psycopg://{self._user}@{address}"

    def create(self) -> str:
        """Create an empty database; returns its name."""
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def drop(self, database: str) -> None:
        """Drop a database and end its connections."""
        self.run(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def run(self, statements: str, *, database: str = "postgres") -> None:
        with self.connect(database) as connection:
            connection.execute(statements.encode())

    def query(self, query: str, *, database: str = "postgres") -> Any:
        """First value of the first row; None without rows."""
        with self.connect(database) as connection:
            row = connection.execute(query.encode()).fetchone()
        return row[0] if row else None

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(
            host=str(self._sockets), user=self._user, dbname=database, autocommit=True
        )


@contextmanager
def running_cluster(
    *, fsync: bool = False, within: Path | None = None, wal_segment_mb: int = 16, **settings: str
) -> Iterator[Cluster]:
    """Run a PostgreSQL cluster in the block; `settings` are server settings such as
    max_connections.

    `fsync` makes it durable, which most tests do not need. Its data is in `within`, a folder that
    any user may enter, by default in the folder of the socket, whose path must be short.
    """
    programs = find_postgresql()
    with (
        tempfile.TemporaryDirectory(prefix="hls-pg-") as folder,
        tempfile.TemporaryDirectory(prefix="hls-pg-", dir=within or folder) as data_folder,
    ):
        home = Path(folder)
        as_user, user = _unprivileged(home)
        if as_user:
            shutil.chown(data_folder, user)
        data, log = Path(data_folder).resolve() / "data", home / "log"
        run = [
            *as_user,
            str(programs / "initdb"),
            "-D",
            str(data),
            "-U",
            user,
            "-A",
            "trust",
            "-E",
            "UTF8",
        ]
        _check([*run, "--locale=C", "--no-sync", f"--wal-segsize={wal_segment_mb}"], home)
        all_settings = _LOCAL_SETTINGS | ({} if fsync else _FAST_SETTINGS) | settings
        options = " ".join(f"-c {name}='{value}'" for name, value in all_settings.items())
        pg_ctl = [*as_user, str(programs / "pg_ctl"), "-D", str(data), "-w"]
        start = [*pg_ctl, "-l", str(log), "-o", f"-k {home} {options}", "start"]
        cluster = Cluster(home, user, as_user=as_user, start=start, stop=[*pg_ctl, "stop"])
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop("immediate")


def _unprivileged(home: Path) -> tuple[Sequence[str], str]:
    """Command prefix to run a program as an unprivileged user, because PostgreSQL rejects root, and
    the user's name.
    """
    if os.geteuid() != 0:
        return (), getpass.getuser()
    user = next((name for name in ("postgres", "nobody") if _exists(name)), None)
    if user is None:
        raise RuntimeError(
            "PostgreSQL does not run as root: create a user named postgres, or run the tests as"
            " another"
        )
    shutil.chown(home, user)
    return ("runuser", "-u", user, "--"), user


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _check(command: Sequence[str], folder: Path) -> None:
    """Run a program; raise with its output if it fails. Output goes to a file: a daemon would keep
    a pipe open.
    """
    with (folder / "said").open("w+") as output:
        result = subprocess.run(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
        output.seek(0)
        if result.returncode:
            raise RuntimeError(f"{command} failed: {output.read()}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """One cluster for all tests of a session."""
    with running_cluster() as cluster:
        yield cluster
