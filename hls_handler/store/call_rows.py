"""A call to Claude as it is stored: its outcome, tokens, cost and reply; sums of calls; and the
cache, in which a valid reply answers the same question about the same facts again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    LargeBinary,
    Row,
    Select,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    select,
)

from hls_handler.analysis import TOKENS, Receipt, UnusableReply, Usage
from hls_handler.db.counters import OF_BATCHES
from hls_handler.db.database import Database
from hls_handler.db.tables import calls, deleted_calls, deleted_review_calls, deliveries
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


SUCCESS = "ok"
UNAVAILABLE = "unavailable"
FAILED = "failed"
"""Outcomes of calls: a valid reply; Claude did not accept the call, which is not budgeted; Claude
answered an error.
"""

FREE = (UNAVAILABLE, FAILED)
"""Outcomes of calls that cost nothing, unless their usage is unknown and therefore estimated."""

UNFINISHED = "unfinished"
"""Counted in place of an outcome while a call is in progress, and for good if its end could not be
stored.
"""

IS_CALL = _c.outcome.is_distinct_from(CACHED)
"""Condition: Claude was asked; the reply is not from the cache."""

IS_RECORDED = and_(_c.batch_id.is_not(None), _c.conversation_key.is_(None))
"""Condition: of a batch whose results are only recorded, so it is no use of a prompt."""

COUNTED_AS = case((_c.batch_id.is_(None), _c.prompt_id), else_=OF_BATCHES)
"""The label of a call in the counters by prompt."""

_IS_FREE = and_(func.coalesce(_c.outcome, UNFINISHED).in_(FREE), _c.output_tokens.is_(None))


def name_batch_costs(batch: object) -> str:
    return f"batch {batch}"


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call to Claude. If `finished_at` is None, the call is in progress, or its end could not
    be stored.

    Tokens and cost of such a call are an upper estimate.
    """

    id: int
    index: int
    prompt_id: str
    model: str  # "NAME/MODEL" if there are fallbacks, else the model
    started_at: datetime
    finished_at: datetime | None
    outcome: str | None
    error: str | None
    input_tokens: int | None
    output_tokens: int | None
    cache_write_tokens: int | None
    cache_read_tokens: int | None
    cost_usd: float | None
    took_s: float | None
    request_id: str | None  # Claude's
    request_digest: bytes | None  # of its question (`Questions.find`); None: not recorded
    is_correction: bool  # it asked to correct the invalid reply to the call before

    @property
    def lasted_s(self) -> float | None:
        """Seconds until the end, also of a call that failed; None if the end is not stored."""
        if self.took_s is not None or self.finished_at is None:
            return self.took_s
        return (self.finished_at - self.started_at).total_seconds()

    @property
    def is_estimate(self) -> bool:
        """True if tokens and cost are an upper estimate, because the usage is unknown."""
        is_unknown = self.outcome in (None, FAILED, "miscounted", "oversized") or ESTIMATED in (
            self.error or ""
        )
        return is_unknown and self.output_tokens is not None

    @property
    def is_free(self) -> bool:
        """True if Claude rejected the call or did not get it."""
        return self.outcome in FREE and self.output_tokens is None

    @property
    def all_input_tokens(self) -> int:
        return sum(
            tokens or 0
            for tokens in (self.input_tokens, self.cache_write_tokens, self.cache_read_tokens)
        )


def make_receipt(calls: Sequence[CallRow]) -> Receipt:
    """Return the sums over the calls of a delivery that Claude got."""
    sent_calls = [call for call in calls if call.outcome != UNAVAILABLE]
    costs = [0.0 if call.is_free else call.cost_usd for call in sent_calls]
    return Receipt(
        calls=len(sent_calls),
        input_tokens=sum(call.all_input_tokens for call in sent_calls),
        output_tokens=sum(call.output_tokens or 0 for call in sent_calls),
        cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        is_estimate=any(call.is_estimate for call in sent_calls),
        prompt_ids=tuple(dict.fromkeys(call.prompt_id for call in sent_calls)),
        models=tuple(
            dict.fromkeys(
                call.model for call in sent_calls if "/" in call.model and not call.is_free
            )
        ),
    )


@dataclass(frozen=True, slots=True)
class PromptStats:
    """Totals of all calls by one version of a prompt."""

    prompt_id: str  # "issues/analyze@3f9c2a"
    replies: int = 0  # number of valid replies
    # of the calls whose cost is known, and the upper estimate of unfinished calls
    cost_usd: float = 0.0
    # no known price; calls that Claude rejected or did not get cost nothing
    calls_of_unknown_cost: int = 0
    last_error: str | None = None
    last_error_at: datetime | None = None


def add_up_stats(rows: Sequence[PromptStats], prompt_id: str = "") -> PromptStats:
    """Return the totals of at least one row, with the error of the latest failure."""
    latest = max(rows, key=lambda row: (row.last_error_at is not None, row.last_error_at))
    return PromptStats(
        prompt_id=prompt_id,
        replies=sum(row.replies for row in rows),
        cost_usd=sum(row.cost_usd for row in rows),
        calls_of_unknown_cost=sum(row.calls_of_unknown_cost for row in rows),
        last_error=latest.last_error,
        last_error_at=latest.last_error_at,
    )


def read_batch_cost(connection: Connection, batch: int) -> int:
    """Return the cost (micro-USD) of all calls of a batch, with what those in progress have
    reserved.
    """
    paid = select(func.sum(_c.cost_micro_usd)).where(_c.batch_id == batch)
    deleted = select(deleted_review_calls.c.cost_micro_usd).where(
        deleted_review_calls.c.review_key == name_batch_costs(batch)
    )
    # one statement: between two, retention could delete a call
    both = select(paid.scalar_subquery(), deleted.scalar_subquery())
    return sum(int(cost or 0) for cost in connection.execute(both).one())


def sum_calls(
    connection: Connection, which: ColumnElement[bool], *, with_deleted: bool = False
) -> Sequence[Row[Any]]:
    """Return the sums of the calls that match `which`: a row per prompt, with the columns of
    `deleted_calls`.

    `with_deleted` adds a row per prompt for deleted calls. One statement reads both: between two
    statements, retention could delete a call, which would then be counted twice.
    """
    sums = (
        select(
            _c.prompt_id,
            func.count().filter(_c.outcome == SUCCESS).label("replies"),
            cast(func.coalesce(func.sum(_c.cost_micro_usd), 0), BigInteger).label("cost_micro_usd"),
            func.count()
            .filter(_c.cost_micro_usd.is_(None), ~_IS_FREE)
            .label("calls_of_unknown_cost"),
            func.max(_c.id).filter(_c.outcome != SUCCESS).label("failed_id"),
        )
        .where(which, IS_CALL, ~IS_RECORDED)
        .group_by(_c.prompt_id)
        .subquery()
    )
    failed = calls.alias("failed")
    last = (failed.c.error.label("last_error"), failed.c.finished_at.label("last_error_at"))
    columns = [column for column in sums.c if column.name != "failed_id"]
    existing: Select[Any] = select(*columns, *last).outerjoin_from(
        sums, failed, failed.c.id == sums.c.failed_id
    )
    return connection.execute(
        existing.union_all(select(deleted_calls)) if with_deleted else existing
    ).all()
