"""The replies of Claude as they are stored with their calls: valid ones, and those that cannot be
used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, LargeBinary, Row, Select, and_, bindparam, exists, func, select

from hls_handler.analysis import TOKENS, UnusableReply, Usage
from hls_handler.db.database import Database
from hls_handler.db.tables import calls, deliveries
from hls_handler.db.values import HOUR_MS, from_ms, from_row

CACHED = "cached"
"""Outcome of a row that is no call: the cache of replies had the reply to the same question."""

ESTIMATED = (
    "the response has no possible number of tokens, so tokens and cost are an upper estimate"
)
"""Part of the error of a call whose reply can be used although its usage is unknown."""

PAID = calls.alias("paid")
"""The call that paid for a reply from the cache."""

REPLY = func.coalesce(calls.c.reply, PAID.c.reply)
MODEL = func.coalesce(PAID.c.model, calls.c.model)
IS_PAID_BY = PAID.c.id == calls.c.paid_by

_OTHERS = [column for column in calls.c if column.name not in ("reply", "model")]

_later = calls.alias("later")
IS_NEWEST = ~exists().where(
    _later.c.delivery_id == calls.c.delivery_id,
    _later.c.step_index == calls.c.step_index,
    _later.c.id > calls.c.id,
    _later.c.reply_type.is_not(None),
)
"""Condition: the step has no later valid reply."""


@dataclass(frozen=True, slots=True)
class StoredReply:
    """A valid reply, redacted. Its type may have other fields by now."""

    prompt_id: str
    reply_type: str
    reply: str  # JSON
    usage: Usage
    # if it came from the cache of replies: when Claude gave it (aware UTC)
    cached_at: datetime | None = None
    lost: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StoredReplies:
    """The replies of a delivery by the index of their step."""

    valid: Mapping[int, StoredReply] = field(default_factory=dict)  # the newest of each step
    unusable: Mapping[int, tuple[UnusableReply, ...]] = field(default_factory=dict)
    """The last one of a step, or that and the one to the request for a correction."""


NO_REPLIES = StoredReplies()


class RepliesReader:
    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, guid: str) -> StoredReplies:
        """Return the replies of a delivery. Raises `StoreUnavailable`."""
        query: Select[Any] = (
            select(
                *_OTHERS,
                REPLY.label("reply"),
                MODEL.label("model"),
                PAID.c.finished_at.label("paid_at"),
            )
            .join(deliveries, deliveries.c.id == calls.c.delivery_id)
            .outerjoin(PAID, IS_PAID_BY)
            .where(deliveries.c.guid == guid, REPLY.is_not(None))
            .order_by(calls.c.id)
        )
        valid: dict[int, StoredReply] = {}
        unusable: dict[int, tuple[UnusableReply, ...]] = {}
        with self._database.reading() as connection:
            rows: Sequence[Row[Any]] = connection.execute(query).all()
        for row in rows:
            if row.reply_type is not None:
                valid[row.step_index] = _to_reply(row)
                continue
            reply = _to_unusable(row)
            before = unusable.get(row.step_index, ())
            unusable[row.step_index] = (*before[-1:], reply) if row.is_correction else (reply,)
        return StoredReplies(valid, unusable)

    def of_batch(self, batch: int) -> Mapping[str, StoredReply]:
        """Return the valid reply of each delivery of a batch, by GUID. None is from the cache."""
        query = (
            select(calls, deliveries.c.guid)
            .join(deliveries, deliveries.c.id == calls.c.delivery_id)
            .where(calls.c.batch_id == batch, calls.c.step_index == 0)
            .where(calls.c.reply_type.is_not(None))
            .order_by(calls.c.id)
        )
        with self._database.reading() as connection:
            return {row.guid: _to_reply(row) for row in connection.execute(query)}

    def find_text(self, call_id: int) -> str | None:
        """Return what Claude wrote in one call; None if it is not stored (any more)."""
        with self._database.reading() as connection:
            return connection.execute(select(calls.c.reply).where(calls.c.id == call_id)).scalar()


def _to_reply(row: Row[Any]) -> StoredReply:
    cached_at = None
    if row.outcome == CACHED:
        cached_at = from_ms(row.finished_at if row.paid_at is None else row.paid_at)
    lost = {} if row.lost is None else json.loads(row.lost)
    return StoredReply(row.prompt_id, row.reply_type, row.reply, _to_usage(row), cached_at, lost)


def _to_unusable(row: Row[Any]) -> UnusableReply:
    problem = (row.error or "").removesuffix(f"; {ESTIMATED}")
    return UnusableReply(row.prompt_id, row.outcome, problem, row.reply, _to_usage(row))


def _to_usage(row: Row[Any]) -> Usage:
    tokens = {name: row._mapping[name] or 0 for name in TOKENS}
    return Usage(
        model=row.model,
        **tokens,
        cost_usd=_to_usd(row.cost_micro_usd),
        took_s=(row.duration_ms or 0) / 1000,
        request_id=row.request_id,
        is_estimate=ESTIMATED in (row.error or ""),
        output_usd=_to_usd(row.output_cost_micro_usd),
    )


def _to_usd(micro_usd: int | None) -> float | None:
    if micro_usd is None:
        return None
    return micro_usd / 1_000_000


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
