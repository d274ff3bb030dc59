"""The source files of each version of a prompt that was used, so that a request to Claude can be rendered again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import Connection, Text, bindparam, select

from hls_handler.db.database import Database
from hls_handler.db.tables import prompt_versions
from hls_handler.db.values import compress, decompress, from_ms
from hls_handler.prompting.prompt import PromptSources

_SOURCES = TypeAdapter(PromptSources)

_c = prompt_versions.c
_OF_ID = _c.prompt_id == bindparam("of_id", type_=Text())


@dataclass(frozen=True, slots=True)
class PromptVersion:
    prompt_id: str  # "issues/analyze@3f9c2a"
    sources: PromptSources
    first_used_at: datetime


class PromptVersions:
    """The stored versions. Retention deletes those that no stored call and no stored reply refers to."""

    def __init__(self, database: Database) -> None:
        self._database = database
        # The lock keeps retention from deleting a version that a call begins to use.
        self._lock = select(_c.prompt_id).where(_OF_ID).with_for_update(read=True)
        row = database.insert(prompt_versions).values(first_used_at=database.now)
        self._insert = row.on_conflict_do_nothing(index_elements=["prompt_id"])

    def keep(self, connection: Connection, prompt_id: str, sources: PromptSources) -> None:
        """Store a version in the caller's transaction, unless it is stored already."""
        if connection.execute(self._lock, {"of_id": prompt_id}).first() is None:
            row = {"prompt_id": prompt_id, "sources": compress(_SOURCES.dump_json(sources))}
            connection.execute(self._insert, row)

    def find(self, prompt_id: str) -> PromptVersion | None:
        """Return the version; None if it is not stored, or was stored by another version of HLS in another shape."""
        with self._database.reading() as connection:
            row = connection.execute(select(prompt_versions).where(_OF_ID), {"of_id": prompt_id}).first()
        if row is None:
            return None
        try:
            sources = _SOURCES.validate_json(decompress(row.sources))
        except ValidationError:
            return None
        return PromptVersion(row.prompt_id, sources, from_ms(row.first_used_at))
