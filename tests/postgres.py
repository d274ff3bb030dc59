"""A real PostgreSQL for tests: a cluster of its own, in a temporary folder, on a Unix socket, stopped at the end."""

from __future__ import annotations

import getpass
import importlib.util
import itertools
import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import psycopg
import pytest

_LOCAL = {"listen_addresses": "", "shared_buffers": "32MB"}
_QUICK = {"fsync": "off", "full_page_writes": "off"}


class Cluster:
    """A running PostgreSQL."""

    def __init__(
        self, sockets: Path, user: str, *, as_user: Sequence[str], start: Sequence[str], stop: Sequence[str]
    ) -> None:
        self._sockets = sockets
        self._user, self._as_user = user, as_user
        self._start, self._stop = start, stop
        self._numbers = itertools.count(1)

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self._sockets / ".s.PGSQL.5432"

    @property
    def pid(self) -> int:
        """Of the process that all of its others are children of."""
        return int(self.socket.with_name(f"{self.socket.name}.lock").read_text().splitlines()[0])

    def start(self) -> None:
        _check(self._start, self._sockets)

    def stop(self, how: Literal["fast", "immediate"]) -> None:
        _check([*self._stop, "-m", how], self._sockets)

    def bound_files(self, size_bytes: int | None) -> None:
        """From now on its new processes may not write beyond that in a file: what a full disk is to them."""
        bound = "unlimited" if size_bytes is None else size_bytes
        _check([*self._as_user, "prlimit", f"--fsize={bound}:", "--pid", str(self.pid)], self._sockets)

    def url(self, database: str, *, port: int | None = None) -> str:
        """By its socket, or by a port of this machine that leads there."""
        where = f"/{database}?host={self._sockets}" if port is None else f"127.0.0.1:{port}/{database}"
        return f"postgresql+psycopg://{self._user}@{where}"

    def create(self) -> str:
        """A new, empty database's name."""
        name = f"test_{next(self._numbers)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def drop(self, database: str) -> None:
        """Remove a database, whoever still uses it."""
        self.run(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")

    def run(self, statements: str, *, database: str = "postgres") -> None:
        with self.connect(database) as connection:
            connection.execute(statements.encode())

    def ask(self, question: str, *, database: str = "postgres") -> Any:
        """The one value that a query gives."""
        with self.connect(database) as connection:
            row = connection.execute(question.encode()).fetchone()
        return row[0] if row else None

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(host=str(self._sockets), user=self._user, dbname=database, autocommit=True)


@contextmanager
def running_cluster(
    *, fsync: bool = False, within: Path | None = None, wal_segment_mb: int = 16, **settings: str
) -> Iterator[Cluster]:
    """A PostgreSQL that lasts as long as the block; `settings` are more of its own, such as max_connections.

    With `fsync` it is as durable as in earnest, which tests need not be. Its data lies in `within`, a folder that any
    user may enter, or beside its socket, whose path must be short.
    """
    programs = find_programs()
    with (
        tempfile.TemporaryDirectory(prefix="hls-pg-") as folder,
        tempfile.TemporaryDirectory(prefix="hls-pg-", dir=within or folder) as data_folder,
    ):
        home = Path(folder)
        as_user, user = _unprivileged(home)
        if as_user:
            shutil.chown(data_folder, user)
        data, log = Path(data_folder).resolve() / "data", home / "log"
        run = [*as_user, str(programs / "initdb"), "-D", str(data), "-U", user, "-A", "trust", "-E", "UTF8"]
        _check([*run, "--locale=C", "--no-sync", f"--wal-segsize={wal_segment_mb}"], home)
        given = _LOCAL | ({} if fsync else _QUICK) | settings
        options = " ".join(f"-c {name}='{value}'" for name, value in given.items())
        control = [*as_user, str(programs / "pg_ctl"), "-D", str(data), "-w"]
        start = [*control, "-l", str(log), "-o", f"-k {home} {options}", "start"]
        cluster = Cluster(home, user, as_user=as_user, start=start, stop=[*control, "stop"])
        cluster.start()
        try:
            yield cluster
        finally:
            cluster.stop("immediate")


def find_programs() -> Path:
    """The folder of initdb, pg_ctl and postgres: of the machine, else of the PyPI package pgserver."""
    candidates = [Path(found).resolve().parent for found in [shutil.which("initdb")] if found]
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version, reverse=True)
    package = importlib.util.find_spec("pgserver")
    if package is not None and package.origin is not None:
        candidates.append(Path(package.origin).parent / "pginstall" / "bin")
    for folder in candidates:
        if all((folder / program).exists() for program in ("initdb", "pg_ctl", "postgres")):
            return folder
    raise RuntimeError(
        "the store's tests need a PostgreSQL: install your system's package (postgresql), or `pip install pgserver`"
    )


def _version(folder: Path) -> int:
    return int(re.sub(r"\D", "", folder.parent.name) or 0)


def _unprivileged(home: Path) -> tuple[Sequence[str], str]:
    """How to run a program as somebody who is not root (PostgreSQL refuses root), and that one's name."""
    if os.geteuid() != 0:
        return (), getpass.getuser()
    user = next((name for name in ("postgres", "nobody") if _exists(name)), None)
    if user is None:
        raise RuntimeError("PostgreSQL does not run as root: create a user named postgres, or run the tests as another")
    shutil.chown(home, user)
    return ("runuser", "-u", user, "--"), user


def _exists(user: str) -> bool:
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def _check(command: Sequence[str], folder: Path) -> None:
    """Run a program to its end, or fail with what it said. What it leaves running must not hold our pipes."""
    with (folder / "said").open("w+") as said:
        ended = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False)
        said.seek(0)
        if ended.returncode:
            raise RuntimeError(f"{command} failed: {said.read()}")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Cluster]:
    """For a conftest to import: one cluster for all its tests."""
    with running_cluster() as cluster:
        yield cluster
