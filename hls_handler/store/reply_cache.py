"""The cache of replies: valid replies of Claude by repository and question, for
`claude.cache_ttl_h`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, bindparam, select

from hls_handler.analysis import ValidReply
from hls_handler.db.database import Database
from hls_handler.db.tables import cached_replies
from hls_handler.db.values import HOUR_MS, from_row

CACHE_HIT = ("reply_cache", "hits")
CACHE_MISS = ("reply_cache", "misses")
CACHE_SAVED = ("reply_cache", "saved_micro_usd")
"""Counters: questions that were answered from the cache, questions that were not, and the cost of
the first.
"""

_c = cached_replies.c


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Identifies a question. A reply is never used for another repository."""

    repository_id: int
    digest: bytes  # SHA-256 of the question


@dataclass(frozen=True, slots=True)
class CachedReply:
    reply_type: str
    model: str
    reply: str  # JSON, redacted
    cost_micro_usd: int | None  # what the reply cost; None if no price is known
    stored_at: datetime  # aware UTC


class ReplyCache:
    def __init__(self, database: Database) -> None:
        self._database = database
        now = database.now
        replaced = ("prompt_id", "reply_type", "model", "reply", "cost_micro_usd", "stored_at")
        self._upsert = database.upsert(cached_replies, *replaced).values(stored_at=now)
        self._find = select(cached_replies).where(
            and_(
                _c.repository_id == bindparam("of_repository"), _c.digest == bindparam("of_digest")
            ),
            # A reply that seems to be more than an hour ahead is not used, because the clock must
            # have been set back.
            and_(_c.stored_at > now - bindparam("ttl_ms"), _c.stored_at <= now + HOUR_MS),
        )

    def find(self, key: CacheKey, *, ttl_h: float) -> CachedReply | None:
        """Return the reply to this question that is at most `ttl_h` old, else None."""
        ttl_ms = timedelta(hours=ttl_h) // timedelta(milliseconds=1)
        terms = {"of_repository": key.repository_id, "of_digest": key.digest, "ttl_ms": ttl_ms}
        with self._database.reading() as connection:
            row = connection.execute(self._find, terms).first()
        return None if row is None else from_row(CachedReply, row)

    def store(self, connection: Connection, key: CacheKey, reply: ValidReply) -> None:
        """Store a reply in the caller's transaction; replaces an earlier one to the same
        question.
        """
        cost_usd = reply.usage.cost_usd
        row = {
            "repository_id": key.repository_id,
            "digest": key.digest,
            "prompt_id": reply.prompt_id,
            "reply_type": reply.reply_type,
            "model": reply.usage.model,
            "reply": reply.reply.model_dump_json(),
            "cost_micro_usd": None if cost_usd is None else round(cost_usd * 1_000_000),
        }
        connection.execute(self._upsert, row)
