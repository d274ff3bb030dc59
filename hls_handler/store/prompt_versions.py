"""The source files of each version of a prompt that was used, so that a request to Claude can be
rendered again.
"""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Text, bindparam, select

from hls_handler.db.database import Database
from hls_handler.db.tables import prompt_versions
from hls_handler.db.values import compress, decompress
from hls_handler.prompting.prompt import PromptSources

_SOURCES = TypeAdapter(PromptSources)

_c = prompt_versions.c
_OF_ID = _c.prompt_id == bindparam("of_id", type_=Text())


class PromptVersions:
    """The stored versions. Retention deletes those that no stored call and no stored reply refers
    to.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._find = select(_c.prompt_id).where(_OF_ID)
        self._insert = database.insert(prompt_versions).on_conflict_do_nothing(
            index_elements=["prompt_id"]
        )

    def keep(self, connection: Connection, prompt_id: str, sources: PromptSources) -> None:
        """Store a version in the caller's transaction, unless it is stored already."""
        if connection.execute(self._find, {"of_id": prompt_id}).first() is None:
            row = {"prompt_id": prompt_id, "sources": compress(_SOURCES.dump_json(sources))}
            connection.execute(self._insert, row)

    def find(self, prompt_id: str) -> PromptSources | None:
        """Return the files of a version; None if it is not stored, or another version of HLS stored
        another shape.
        """
        with self._database.reading() as connection:
            stored: bytes | None = connection.execute(
                select(_c.sources).where(_OF_ID), {"of_id": prompt_id}
            ).scalar()
        try:
            return None if stored is None else _SOURCES.validate_json(decompress(stored))
        except ValidationError:
            return None
