"""The file of an SQLite database: private to its user, and locked by one `serve` at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL

from hls_handler.db.database import masked, parse_url, sqlite_file
from hls_handler.errors import StoreUnavailable


def ensure_private_file(url: URL) -> None:
    """Create an SQLite database's folder and file with mode 0600; its write-ahead log gets the same mode."""
    path = sqlite_file(url)
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as exc:
        raise _cannot_be_opened(url, path, exc) from exc


def database_exists(url: str) -> bool:
    """Return whether the file of an SQLite database exists; True for PostgreSQL and for a file that cannot be examined,
    because opening it gives the reason. Raises `StoreUnavailable` for an unsupported address.
    """
    path = sqlite_file(parse_url(url))
    if path is None:
        return True
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def is_shared(url: str) -> bool:
    """Return whether several processes may serve it. Raises `StoreUnavailable` for an unsupported address."""
    return sqlite_file(parse_url(url)) is None


@contextmanager
def hold_exclusively(url: str) -> Iterator[bool]:
    """Lock an SQLite database for the only `serve` that processes its deliveries, until the block ends.

    Yields True: no other process has leases. For PostgreSQL, which processes share, it locks nothing and yields False.
    Raises `StoreUnavailable` if another `serve` has the lock. The lock ends with the process.
    """
    database = parse_url(url)
    path = sqlite_file(database)
    if path is None:
        yield False
        return
    file = path.resolve()  # the same lock for every symbolic link to the file
    lock = file.with_name(f"{file.name}.lock")
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as exc:
        raise _cannot_be_opened(database, lock, exc) from exc
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as exc:
            raise StoreUnavailable(
                f"the database {masked(database)} is locked by another serve (process {_holder(handle)}): stop that "
                "one, or name another database in storage.url"
            ) from exc
        os.ftruncate(handle, 0)
        os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield True
    finally:
        os.close(handle)


def _holder(handle: int) -> str:
    return os.pread(handle, 20, 0).decode("ascii", "replace") or "unknown"


def _cannot_be_opened(url: URL, path: Path, exc: OSError) -> StoreUnavailable:
    return StoreUnavailable(
        f"the database {masked(url)} cannot be opened: {path}: {exc.strerror}; let the user that runs HLS create and "
        "write the file and its folder, or name another one in storage.url"
    )
