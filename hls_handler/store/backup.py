"""A copy of an SQLite database, made while others write to it: whole, as of one moment, and checked."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from hls_handler.errors import StoreUnavailable
from hls_handler.store.database import masked, parsed, sqlite_file

NOT_SQLITE = "this copies SQLite databases; of {url} make one with PostgreSQL's own pg_dump, as docs/operating.md says"


def back_up(url: str, target: Path) -> int:
    """Copy the database to a new file, which only its user can read; how many bytes that has.

    It appears under its name once it is whole, on the disk and checked. Writers of the database do not wait for this.
    Raises `StoreUnavailable`, also where there is a file already.
    """
    source = sqlite_file(parsed(url))
    if source is None:
        raise StoreUnavailable(NOT_SQLITE.format(url=masked(parsed(url))))
    if not source.is_file():
        raise StoreUnavailable(f"there is no database {source} to copy")
    if target.exists():
        raise StoreUnavailable(f"{target} exists: name another file, since a copy never takes the place of one")
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)  # of mode 0600
    except OSError as exc:
        raise StoreUnavailable(f"{target} cannot be written: {exc.strerror}") from exc
    copy = Path(name)
    try:
        os.close(handle)
        _copy(source, copy)
        _sync(copy)
        size = copy.stat().st_size
        copy.rename(target)
        _sync(target.parent)
    except (OSError, sqlite3.Error) as exc:
        raise StoreUnavailable(f"{source} cannot be copied to {target}: {exc}") from exc
    finally:
        with suppress(FileNotFoundError):
            copy.unlink()
    return size


def _copy(source: Path, copy: Path) -> None:
    """`VACUUM INTO` reads one moment's state and leaves out what deleted rows left free."""
    address = f"file:{_quoted(source)}?mode=rw"  # not ro: a write-ahead log without users needs a writer to be read
    with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=5.0)) as database:
        database.execute("VACUUM INTO ?", (str(copy),))
    with closing(sqlite3.connect(f"file:{_quoted(copy)}?mode=ro", uri=True)) as made:
        (found,) = made.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"the copy is not whole ({found}): the database may be damaged")


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
