"""Everything that the fork server loads before the first fork: the modules of all commands, and the
prompt libraries.

Both take longer than the rest of a start, and forked processes inherit them. Unlike other modules,
this one works at import: the fork server of the standard library can do nothing but import. Tests
do not import it.
"""

from __future__ import annotations

import gc
import importlib

from pydantic import SecretStr

from hls_handler.cli import COMMANDS
from hls_handler.engine.library import load_checked
from hls_handler.prompting.prompt import Library
from hls_handler.settings import shipped
from hls_handler.settings.effective import find_chosen_events
from hls_handler.settings.model import GithubSettings, Prompts, Settings
from hls_handler.settings.providers import ClaudeSettings
from hls_handler.settings.sections import RepositoryEntry
from tests.crash.scenarios import PROMPTS

for imported_on_first_use in (
    "tests.e2e.fork_server",
    *(f"hls_handler.cli.{place.partition(':')[0]}" for place, _ in COMMANDS.values()),
    "anthropic.resources.messages",
    "httpcore2",
    "truststore",
    "psycopg.pq",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "alembic.runtime.migration",
    "uvicorn.lifespan.on",
    "uvicorn.loops.auto",
    "uvicorn.loops.uvloop",
):
    importlib.import_module(imported_on_first_use)

_UNUSED = SecretStr("s" * 40)
_LIBRARIES = {
    folders: load_checked(
        Settings(
            github=GithubSettings(token=_UNUSED, webhook_secret=_UNUSED),
            claude=ClaudeSettings(api_key=_UNUSED),
            repositories=(RepositoryEntry(name="Codertocat/*"),),
            prompts=Prompts(directory=folders),
        )
    )
    for folders in ((shipped.PROMPTS,), PROMPTS)
}
gc.freeze()  # otherwise the garbage collector of each forked process would copy this memory


def load(settings: Settings) -> Library:
    """Return a preloaded library if the settings name its folders and select no prompts; otherwise
    load it.
    """
    folders = tuple(folder.resolve() for folder in settings.prompts.folders.values())
    if folders in _LIBRARIES and not find_chosen_events(settings):
        return _LIBRARIES[folders]
    return load_checked(settings)
