"""The stored databases of every version that ever landed, for tests to load."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import psycopg

from tests.store.schemas.make import HERE


def names(kind: str) -> list[str]:
    """ "0001", "0002", "0004-step-failures", ...; `kind` is "sqlite" or "postgresql"."""
    return sorted(path.stem for path in (HERE / kind).glob("*.sql"))


def load(name: str, url: str) -> None:
    """Fill an empty database with what is stored of a version."""
    kind = url.partition("+")[0].partition(":")[0]
    script = (HERE / kind / f"{name}.sql").read_text()
    if kind == "sqlite":
        file = Path(url.removeprefix("sqlite:///"))
        file.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(file)
        connection.executescript(script)
        connection.close()
    else:
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as server:
            server.execute(script.encode())
