"""`hls backup`: copy the database while the service runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hls_handler.cli.options import Config, fail, load
from hls_handler.cli.say import print_line
from hls_handler.db.backup import back_up
from hls_handler.errors import StoreUnavailable


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file to create; its folder must exist.")],
    config: Config = None,
) -> None:
    """Copy the SQLite database to FILE.

    Works while the service runs and does not block it. The copy is a consistent snapshot, is checked for integrity,
    and is readable only by the current user. An existing file is never overwritten. Use pg_dump for PostgreSQL.

    Exit codes: 0 copied; 1 the copy failed, and no partial file is left; 2 usage error or unusable settings.
    """
    settings = load(config)
    try:
        size = back_up(settings.storage.url, file)
    except StoreUnavailable as exc:
        fail(f"{settings.sources.where('storage.url')}: {exc}")
    print_line(f"{file}: {size} bytes")
