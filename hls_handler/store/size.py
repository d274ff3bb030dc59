"""How large the database is, and how much room it has: of the file system, without reading the database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import func, select

from hls_handler.errors import StoreUnavailable
from hls_handler.store.part import Part


class Measuring(Part):
    """The database's size, for `/health`."""

    def size(self) -> dict[str, int]:
        """In bytes: `database_bytes`, and of SQLite two more.

        `reusable_bytes` is what deleted rows left free inside the file, `disk_free_bytes` what the file system has
        left. Costs a few system calls. Raises `StoreUnavailable`.
        """
        path = self._database.file
        with self._database.reading() as connection:
            if path is None:
                of_server = func.pg_database_size(func.current_database())
                return {"database_bytes": connection.execute(select(of_server)).scalar_one()}
            pages = connection.exec_driver_sql("PRAGMA freelist_count").scalar_one()
            page_bytes = connection.exec_driver_sql("PRAGMA page_size").scalar_one()
        try:
            return {
                "database_bytes": sum(_sizes(path)),
                "reusable_bytes": pages * page_bytes,
                "disk_free_bytes": shutil.disk_usage(path.parent).free,
            }
        except OSError as exc:
            raise StoreUnavailable(f"the size of {path} cannot be told: {exc.strerror}") from exc


def _sizes(path: Path) -> Iterator[int]:
    """Of the file, and of those that SQLite keeps beside it while it is in use."""
    yield path.stat().st_size
    for beside in ("-wal", "-shm"):
        try:
            yield path.with_name(f"{path.name}{beside}").stat().st_size
        except FileNotFoundError:
            continue
