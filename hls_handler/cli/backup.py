"""`hls backup`: a copy of the database, made while the service runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hls_handler.cli.options import Config, fail, load
from hls_handler.cli.say import say
from hls_handler.errors import StoreUnavailable
from hls_handler.store import back_up


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The copy to make; its folder must be there.")],
    config: Config = None,
) -> None:
    """Copy the SQLite database to FILE.

    Works while the service runs, which does not wait for it. The copy is of one moment, checked, and readable by its
    user alone; it never takes the place of a file that is there. PostgreSQL has pg_dump for that.

    Exit codes: 0 copied; 1 it could not be copied, and nothing is left of it; 2 called wrongly, or the settings cannot
    be used.
    """
    settings = load(config)
    try:
        size = back_up(settings.storage.url, file)
    except StoreUnavailable as exc:
        fail(f"{settings.sources.where('storage.url')}: {exc}")
    say(f"{file}: {size} bytes")
