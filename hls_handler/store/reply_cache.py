"""The cache of replies: finds the valid reply of Claude to the same question about the same
repository, for `claude.cache_ttl_h`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, LargeBinary, Select, and_, bindparam, select

from hls_handler.db.database import Database
from hls_handler.db.tables import calls
from hls_handler.db.values import HOUR_MS, from_row

CACHE_HIT = ("reply_cache", "hits")
CACHE_MISS = ("reply_cache", "misses")
CACHE_SAVED = ("reply_cache", "saved_micro_usd")
"""Counters: questions that were answered from the cache, questions that were not, and the cost of
the first.
"""

_c = calls.c


@dataclass(frozen=True, slots=True)
class CacheKey:
    """Identifies a question. A reply is never used for another repository."""

    repository_id: int
    digest: bytes  # SHA-256 of the question

    @property
    def column(self) -> bytes:
        """Return `calls.cache_key`."""
        return self.repository_id.to_bytes(8, signed=True) + self.digest


@dataclass(frozen=True, slots=True)
class CachedReply:
    call_id: int  # that paid for it
    reply_type: str
    model: str
    reply: str  # JSON, redacted
    cost_micro_usd: int | None  # what the reply cost; None if no price is known
    stored_at: datetime  # aware UTC


class ReplyCache:
    def __init__(self, database: Database) -> None:
        self._database = database
        now = database.now
        oldest = now - bindparam("ttl_ms", type_=BigInteger())
        # A reply that seems to be more than an hour ahead is not used, because the clock must
        # have been set back.
        latest = now + HOUR_MS
        has_key = _c.cache_key == bindparam("of_key", type_=LargeBinary())
        is_recent = and_(_c.finished_at > oldest, _c.finished_at <= latest)
        self._find: Select[Any] = (
            select(
                _c.id.label("call_id"),
                _c.reply_type,
                _c.model,
                _c.reply,
                _c.cost_micro_usd,
                _c.finished_at.label("stored_at"),
            )
            .where(has_key, is_recent)
            .order_by(_c.finished_at.desc())
            .limit(1)
        )

    def find(self, key: CacheKey, *, ttl_h: float) -> CachedReply | None:
        """Return the newest reply to this question that is at most `ttl_h` old, else None."""
        terms = {
            "of_key": key.column,
            "ttl_ms": timedelta(hours=ttl_h) // timedelta(milliseconds=1),
        }
        with self._database.reading() as connection:
            row = connection.execute(self._find, terms).first()
        return None if row is None else from_row(CachedReply, row)
