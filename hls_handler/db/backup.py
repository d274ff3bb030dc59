"""A consistent, checked copy of an SQLite database that is in use."""

from __future__ import annotations

import os
import sqlite3
import tempfile
from contextlib import closing, suppress
from pathlib import Path

from hls_handler.db.database import masked, parse_url, sqlite_file
from hls_handler.errors import StoreUnavailable

NOT_SQLITE = "`hls backup` copies SQLite databases; use PostgreSQL's pg_dump for {url}, as docs/operating.md describes"


def back_up(url: str, target: Path) -> int:
    """Copy the database to a new file with mode 0600; return its size in bytes.

    The file gets its name when it is complete, on the disk and checked. Writers of the database do not wait. Raises
    `StoreUnavailable`, also if `target` exists.
    """
    source = sqlite_file(parse_url(url))
    if source is None:
        raise StoreUnavailable(NOT_SQLITE.format(url=masked(parse_url(url))))
    if not source.is_file():
        raise StoreUnavailable(f"there is no database {source} to copy")
    if target.exists():
        raise StoreUnavailable(f"{target} exists: name another file; a backup never replaces a file")
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
    """Copy with `VACUUM INTO`, which reads one consistent state and leaves out free pages."""
    address = f"file:{_quoted(source)}?mode=rw"  # not ro: SQLite may have to recover the write-ahead log
    with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=5.0)) as database:
        database.execute("VACUUM INTO ?", (str(copy),))
    with closing(sqlite3.connect(f"file:{_quoted(copy)}?mode=ro", uri=True)) as made:
        (found,) = made.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"the copy is damaged ({found}): the database may be damaged")


def _quoted(path: Path) -> str:
    return str(path.resolve()).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
