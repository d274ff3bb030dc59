"""An empty SQLite database with all tables, copied for each test: creating the tables takes most of
a short test.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from hls_handler.store.storage import Storage


def create_database(path: Path) -> str:
    """Write an empty database to `path` unless there is one, readable only by its owner, and return
    its URL.
    """
    if not path.exists():
        path.touch(mode=0o600)
        path.write_bytes(_empty_database())
    return f"sqlite:///{path}"


@cache
def _empty_database() -> bytes:
    with TemporaryDirectory() as folder:
        Storage.open(f"sqlite:///{folder}/hls.db").close()
        return Path(folder, "hls.db").read_bytes()
