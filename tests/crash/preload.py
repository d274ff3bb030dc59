"""Everything that the fork server loads before the first fork: the modules of the service, and the prompts.

Both take longer than the rest of a start, and forked processes inherit them. Unlike other modules, this one works at
import: the fork server of the standard library can do nothing but import. Tests do not import it.
"""

from __future__ import annotations

import importlib

from pydantic import SecretStr

from hls_handler.settings.model import Claude, Github, Prompts, Repository, Settings
from hls_handler.work.library import load_checked
from tests.crash.forked_service import EVENTS, PROMPTS

for imported_on_first_use in (
    "anthropic.resources.messages",
    "github",
    "psycopg.pq",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "alembic.runtime.migration",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
):
    importlib.import_module(imported_on_first_use)

_UNUSED = SecretStr("s" * 40)
LIBRARY = load_checked(
    Settings(
        github=Github(token=_UNUSED, webhook_secret=_UNUSED),
        claude=Claude(api_key=_UNUSED),
        repositories=(Repository(name="Codertocat/*", events=EVENTS),),
        prompts=Prompts(directory=PROMPTS),
    )
)
