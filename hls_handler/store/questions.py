"""The questions to Claude as they were sent: a message for each delivery, and the system text and
the schema of the reply once for all.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import Connection, LargeBinary, bindparam, select

from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries, questions, system_texts
from hls_handler.db.values import compress_text, decompress_text

_q = questions.c
_s = system_texts.c
_OF_SYSTEM = _s.digest == bindparam("of_system", type_=LargeBinary())


@dataclass(frozen=True, slots=True)
class QuestionTexts:
    """The texts that one call sends. The untrusted text in it is cleaned and redacted."""

    digest: bytes  # SHA-256 that identifies it among those of the delivery
    system: str  # the same for all events
    schema: str  # JSON schema of the reply
    message: str
    is_correction: bool = False  # it follows the question before it and the invalid reply to that


@dataclass(frozen=True, slots=True)
class SentQuestion:
    system: str
    schema: str
    message: str


class Questions:
    """Retention deletes a question together with the body of its delivery."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._find_system = select(_s.digest).where(_OF_SYSTEM)
        self._insert_system = database.insert(system_texts).on_conflict_do_nothing(
            index_elements=["digest"]
        )
        self._insert = database.insert(questions).on_conflict_do_nothing(
            index_elements=["delivery_id", "digest"]
        )

    def keep(self, connection: Connection, delivery_id: int, question: QuestionTexts) -> None:
        """Store a question in the caller's transaction, unless it is stored already."""
        texts = f"{question.system}\0{question.schema}"
        digest = hashlib.sha256(texts.encode("utf-8", "surrogatepass")).digest()
        if connection.execute(self._find_system, {"of_system": digest}).first() is None:
            system = {
                "digest": digest,
                "system": compress_text(question.system),
                "schema": compress_text(question.schema),
            }
            connection.execute(self._insert_system, system)
        row = {
            "delivery_id": delivery_id,
            "digest": question.digest,
            "system_digest": digest,
            "message": compress_text(question.message),
        }
        connection.execute(self._insert, row)

    def find(self, guid: str, digest: bytes) -> SentQuestion | None:
        """Return the question of a call; None if it is not stored (any more)."""
        query = (
            select(_s.system, _s.schema, _q.message)
            .join(system_texts, _s.digest == _q.system_digest)
            .join(deliveries, deliveries.c.id == _q.delivery_id)
            .where(deliveries.c.guid == guid, _q.digest == digest)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        if row is None:
            return None
        return SentQuestion(*(decompress_text(text) for text in row))
