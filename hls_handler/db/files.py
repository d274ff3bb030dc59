"""The file of an SQLite database: private to its user, locked by one `serve` at a time, and copied
by `hls backup`.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from sqlalchemy import URL

from hls_handler.db.database import masked, parse_url, sqlite_file
from hls_handler.db.sqlite import file_uri
from hls_handler.errors import StoreUnavailable


def ensure_private_file(url: URL) -> None:
    """Create the file of an SQLite database with mode 0600, and its folder. Does nothing for
    PostgreSQL.

    SQLite creates the write-ahead log with the mode of the database file. Call this before the
    first connection: it closes a descriptor of the file.
    """
    path = sqlite_file(url)
    if path is None:
        return
    try:
        os.close(_open(url, path))
        path.chmod(0o600)
    except OSError as exc:
        raise _cannot_be_opened(url, path, exc) from exc


def database_exists(url: str) -> bool:
    """Return whether the file of an SQLite database exists; always True for PostgreSQL.

    Raises `StoreUnavailable` for an unsupported URL.
    """
    path = sqlite_file(parse_url(url))
    return path is None or os.path.lexists(path)


def is_shared(url: str) -> bool:
    """Return whether several processes may use the database. Raises `StoreUnavailable` for an
    unsupported URL.
    """
    return sqlite_file(parse_url(url)) is None


@contextmanager
def hold_exclusively(url: str) -> Iterator[bool]:
    """Lock an SQLite database until the block or the process ends, so that only one `hls serve`
    uses it.

    Yields True when the file is locked: then no other process holds a lease. Yields False for
    PostgreSQL, which several processes may share. Raises `StoreUnavailable` if another `hls serve`
    holds the lock.
    """
    database = parse_url(url)
    path = sqlite_file(database)
    if path is None:
        yield False
        return
    file = path.resolve()  # so that every symbolic link to the file has the same lock
    lock = file.with_name(f"{file.name}.lock")
    handle = _open(database, lock)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            holder = os.pread(handle, 20, 0).decode("ascii", "replace") or "unknown"
            raise StoreUnavailable(
                f"the database {masked(database)} is locked by another `hls serve` (process"
                f" {holder}): stop it, or name another database in storage.url"
            ) from exc
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield True
    finally:
        os.close(handle)


def find_server(url: str) -> bool | None:
    """Return whether an `hls serve` holds the lock of an SQLite database; None for PostgreSQL."""
    path = sqlite_file(parse_url(url))
    if path is None:
        return None
    file = path.resolve()
    try:
        handle = os.open(file.with_name(f"{file.name}.lock"), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # no service has ever held it
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _open(url: URL, path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise _cannot_be_opened(url, path, exc) from exc


def _cannot_be_opened(url: URL, path: Path, exc: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"the database {masked(url)} cannot be opened: {path.absolute()}: {exc.strerror}; let the"
        " user that runs HLS create and write the file and its folder, or name another file in"
        " storage.url"
    )


def back_up(url: str, target: Path) -> int:
    """Copy an SQLite database to the new file `target` with mode 0600; return its size in bytes.

    `target` appears only after the copy is complete, checked and on the disk. Writers are not
    blocked. Raises `StoreUnavailable`, also if `target` exists.
    """
    source = sqlite_file(parse_url(url))
    if source is None:
        raise StoreUnavailable(
            "`hls backup` copies SQLite databases; use PostgreSQL's pg_dump for"
            f" {masked(parse_url(url))}, as docs/running.md describes"
        )
    if not source.is_file():
        raise StoreUnavailable(f"there is no database {source.absolute()} to copy")
    if target.exists():
        raise StoreUnavailable(
            f"{target} exists: name another file; a backup never replaces a file"
        )
    try:
        # mkstemp sets mode 0600
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as exc:
        raise StoreUnavailable(f"{target} cannot be written: {exc.strerror}") from exc
    copy = Path(name)
    try:
        os.close(handle)
        _copy_and_check(source, copy)
        _sync(copy)
        size = copy.stat().st_size
        copy.rename(target)
        _sync(target.parent)
    except (OSError, sqlite3.Error, UnicodeError) as exc:
        raise StoreUnavailable(f"{source.absolute()} cannot be copied to {target}: {exc}") from exc
    finally:
        with suppress(FileNotFoundError):
            copy.unlink()
    return size


def _copy_and_check(source: Path, copy: Path) -> None:
    # not ro: SQLite may have to recover the write-ahead log
    address = file_uri(source.resolve(), "rw")
    with closing(sqlite3.connect(address, uri=True, isolation_level=None, timeout=5.0)) as database:
        # Reads one snapshot, and leaves out free pages.
        database.execute("VACUUM INTO ?", (os.fsencode(copy).decode(),))
    with closing(sqlite3.connect(file_uri(copy.resolve(), "ro"), uri=True)) as made:
        (result,) = made.execute("PRAGMA integrity_check(1)").fetchone()
    if result != "ok":
        raise sqlite3.DatabaseError(
            f"the copy is damaged ({result}): check the database itself with PRAGMA integrity_check"
        )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
