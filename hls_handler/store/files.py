"""An SQLite database as a file: private to its user, and held by one `serve` at a time."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL

from hls_handler.errors import StoreUnavailable
from hls_handler.store.database import masked, parsed, sqlite_file


def ensure_private_file(url: URL) -> None:
    """Make an SQLite database's folder and file, readable by its user alone (its WAL takes over the mode)."""
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
    """Whether there is something to open: the file of an SQLite database; a server's is taken to be there.

    Also true of a file that cannot be looked at: opening it says why. Raises `StoreUnavailable` for what is no address
    of a database.
    """
    path = sqlite_file(parsed(url))
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
    """Whether several processes may serve a database together. Raises `StoreUnavailable` for what is none."""
    return sqlite_file(parsed(url)) is None


@contextmanager
def hold_exclusively(url: str) -> Iterator[bool]:
    """Hold an SQLite database for the one `serve` that works on it, as long as the block lasts.

    Gives True: nobody else works on the database, so all leases may be released. For PostgreSQL, which machines share,
    it holds nothing and gives False. Raises `StoreUnavailable` when another `serve` holds it. A process that dies lets
    go by dying.
    """
    database = parsed(url)
    path = sqlite_file(database)
    if path is None:
        yield False
        return
    file = path.resolve()  # one database has one lock, by whatever link it is reached
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
                f"the database {masked(database)} is held by another serve (process {_holder(handle)}): stop that one, "
                "or name another database in storage.url"
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
