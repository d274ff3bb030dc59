"""Stores calls to Claude with question, cost and reply."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    LargeBinary,
    Text,
    and_,
    bindparam,
    case,
    distinct,
    func,
    select,
    true,
)

from hls_handler.analysis import TOKENS, UnusableReply, Usage
from hls_handler.db.counters import COST, OF_BATCHES, Group
from hls_handler.db.database import Database
from hls_handler.db.tables import calls, deliveries, questions, system_texts
from hls_handler.db.values import compress_text, decompress_text, from_ms, from_row
from hls_handler.deliveries import Lease
from hls_handler.errors import Postponed
from hls_handler.queue.checkpoints import DELIVERY_ID, Change, Checkpoints, LeaseCheck, prepare
from hls_handler.queue.leases import lease_lost
from hls_handler.queue.rate_limiter import SLOT_WAIT, RateLimiter, SlotRequest
from hls_handler.store.call_rows import (
    CACHE_HIT,
    CACHE_MISS,
    CACHE_SAVED,
    CACHED,
    IS_CALL,
    IS_RECORDED,
    SUCCESS,
    UNFINISHED,
    CachedReply,
    CacheKey,
    CallRow,
    PromptStats,
    StoredReply,
    add_up_stats,
    sum_calls,
)
from hls_handler.store.limits import (
    COUNT_RECENT,
    OUTSIDER_COST,
    CallLimits,
    Limit,
    LimitedCall,
    is_recent,
)

CLAUDE_RATE_LIMIT = "claude"
"""Name of the rate limit for calls to Claude."""

_c = calls.c
_d = deliveries.c

_IS_OPEN = _c.finished_at.is_(None)
_paid = calls.alias("paid")
_PAID_BY = (
    select(_paid.c.id)
    .where(_paid.c.id == bindparam("of_paid"), _paid.c.reply.is_not(None))
    .scalar_subquery()
)
_HIT: Mapping[str, ColumnElement[Any]] = {
    "paid_by": _PAID_BY,
    "reply": case((_PAID_BY.is_(None), bindparam("of_reply", type_=Text)), else_=None),
}
"""A hit points to the call that was paid. It has the reply itself if that call was just deleted."""

_WITHOUT_TEXTS = [column for column in _c if column.name not in ("reply", "lost")]
_CALLS_OF = (
    select(*_WITHOUT_TEXTS)
    .join(deliveries, _d.id == _c.delivery_id)
    .where(_d.guid == bindparam("of_guid"), IS_CALL)
    .order_by(_c.id)
)


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call that begins."""

    index: int  # of the reply
    prompt_id: str
    model: str
    provider: str | None = None  # the name that `end` counts; None without fallbacks
    estimate: Usage | None = None  # upper; None: the cost counts as 0
    question: QuestionTexts | None = None  # is stored
    is_cache_miss: bool = False  # count a question that the cache of replies did not answer


@dataclass(frozen=True, slots=True)
class StartedCall:
    id: int
    started_at: int  # ms
    columns: Mapping[str, object] = field(compare=False)  # of its row
    outsider: str | None = None  # the account whose budget counts it
    provider: str | None = None  # its name; None without fallbacks


class ClaudeCalls:
    def __init__(
        self,
        database: Database,
        checkpoints: Checkpoints,
        rate_limiter: RateLimiter,
        questions: Questions,
    ) -> None:
        self._database = database
        self._checkpoints = checkpoints
        self._rate_limiter = rate_limiter
        self._questions = questions
        self._limits = CallLimits(rate_limiter, checkpoints.counters)
        now = database.now
        self._insert_hit = calls.insert().values(started_at=now, finished_at=now, **_HIT)
        self._begin = calls.insert().values(started_at=now).returning(_c.id, _c.started_at)
        is_open = and_(_c.id == bindparam("of_call"), _IS_OPEN)
        self._end = calls.update().where(is_open).values(finished_at=now)
        self._count_runs = select(func.count(distinct(_c.delivery_id))).where(
            _c.conversation_key == bindparam("of_conversation"),
            is_recent(_c.started_at, now),
            _c.delivery_id != DELIVERY_ID,
        )
        self.conversation_runs = self._count_runs.scalar_subquery()

    def begin(
        self,
        lease: Lease,
        new: NewCall,
        limits: Sequence[Limit],
        *,
        requests_per_second: float,
        changes: Sequence[Change] = (),
        check: LeaseCheck | None = None,
    ) -> StartedCall:
        """Record the start of a call and count it, with the upper estimate as its usage.

        `end` replaces the estimate by the usage. It remains if the process dies or the database
        fails before. Raises `LeaseLost`.

        The first of the limits that the estimate does not fit raises `ConversationIgnored` (of a
        batch), `BudgetExceeded` (of a review), `BudgetUsedUp` (of a day or month) or `Postponed`,
        which the rate limit raises, too; the changes are stored even then. Since the estimate
        counts from now on, parallel workers cannot exceed a limit together.
        """
        with self._checkpoints.writing(lease, changes, check=check) as (connection, row_id):
            # Else two workers could get the last call.
            locked = self._rate_limiter.lock(connection, CLAUDE_RATE_LIMIT, row_id)
            now = self._database.now_in(connection)
            needed = 0
            if new.estimate is not None:
                needed = _micro_usd(new.estimate.cost_usd) or 0
            limited = LimitedCall(connection, row_id, lease.batch_id is not None, needed, now)
            error = self._limits.find_error(limited, limits)
            if error is None:
                # webhooks have the slots of batches, which may have reserved many in an outage
                request = SlotRequest(
                    CLAUDE_RATE_LIMIT, 1 / requests_per_second, can_move=limited.is_batch
                )
                slot = self._rate_limiter.use_slot(connection, row_id, request, locked, now)
                if slot.is_now:
                    return self._insert(connection, row_id, lease, new, limits)
                error = Postponed(f"{SLOT_WAIT} to call Claude", at=from_ms(slot.slot_at))
        raise error

    def _insert(
        self,
        connection: Connection,
        row_id: int,
        lease: Lease,
        new: NewCall,
        limits: Sequence[Limit],
    ) -> StartedCall:
        scopes = {limit.scope: limit for limit in limits}
        call: dict[str, Any] = {
            "delivery_id": row_id,
            "step_index": new.index,
            "conversation_key": lease.conversation_key,
            "review_key": lease.conversation_key if "delivery" in scopes else None,
            "batch_id": lease.batch_id,
            "prompt_id": new.prompt_id,
            "model": new.model,
        }
        if new.estimate is not None:
            call |= _usage_columns(new.estimate)
        if new.question is not None:
            self._questions.keep(connection, row_id, new.question)
            call["request_digest"] = new.question.digest
            call["is_correction"] = new.question.is_correction
        call_id, started_at = connection.execute(self._begin, call).one()
        misses = {CACHE_MISS: 1} if new.is_cache_miss else {}
        outsider = None
        if "outsider" in scopes:
            outsider = scopes["outsider"].name
        started = StartedCall(call_id, started_at, call, outsider, new.provider)
        counts = _count_call(started, call, UNFINISHED, lease)
        group = Group(lease.repository)
        self._checkpoints.counters.add(connection, counts | misses, group, at=started_at)
        return started

    def end(
        self,
        lease: Lease,
        call: StartedCall,
        *,
        outcome: str,
        usage: Usage | None,
        error: str | None,
        is_usage_unknown: bool = False,
        request_id: str | None = None,
        changes: Sequence[Change] = (),
        reply: StoredReply | UnusableReply | None = None,
        cache_key: CacheKey | None = None,
    ) -> None:
        """Store outcome and cost of a call, with changes and reply, in one transaction.

        With `cache_key`, the cache of replies may use the reply again.

        Without `usage` the call cost nothing. If `is_usage_unknown`, the estimate of `begin`
        remains instead. If the lease is lost, only outcome and cost are stored, because the call
        was paid. `LeaseLost` is then raised if there are changes or a reply. A call that has
        already ended stays unchanged. A reply is progress, as a checkpoint is.
        """
        columns: dict[str, object] = {"outcome": outcome, "error": error, "request_id": request_id}
        if usage is not None:
            columns |= {"model": usage.model, "duration_ms": round(usage.took_s * 1000)}
        if not is_usage_unknown:
            columns |= _usage_columns(usage) if usage is not None else dict.fromkeys(_USAGE_COLUMNS)
        needs_lease = bool(changes) or reply is not None
        prepared = prepare(changes, is_progress=reply is not None)
        row_id = None
        with self._database.writing() as connection:
            if needs_lease:
                row_id = self._checkpoints.find(connection, lease, prepared)
            stored = dict(columns)
            if row_id is not None and reply is not None:
                stored |= _reply_columns(reply)
                stored["cache_key"] = None if cache_key is None else cache_key.column
            ended = connection.execute(self._end, {"of_call": call.id, **stored})
            if ended.rowcount:
                counts = Counter(_count_call(call, {**call.columns, **columns}, outcome, lease))
                counts.subtract(_count_call(call, call.columns, UNFINISHED, lease))
                group = Group(lease.repository)
                self._checkpoints.counters.add(connection, counts, group, at=call.started_at)
        if needs_lease and row_id is None:
            raise lease_lost(lease)

    def save_cached(
        self,
        lease: Lease,
        cached: CachedReply,
        *,
        index: int,
        prompt_id: str,
        changes: Sequence[Change] = (),
    ) -> None:
        """Store that `cached` is the reply of a step, in place of a call, and count the hit. Raises
        `LeaseLost`.
        """
        row = {
            "step_index": index,
            "conversation_key": lease.conversation_key,
            "prompt_id": prompt_id,
            "model": cached.model,
            "outcome": CACHED,
            "cost_micro_usd": 0,
            "of_paid": cached.call_id,
            "reply_type": cached.reply_type,
            "of_reply": cached.reply,
        }
        writing = self._checkpoints.writing(lease, changes, is_progress=True)
        with writing as (connection, row_id):
            connection.execute(self._insert_hit, {"delivery_id": row_id, **row})
            counts = {CACHE_HIT: 1, CACHE_SAVED: cached.cost_micro_usd or 0}
            self._checkpoints.counters.add(connection, counts, Group(lease.repository))

    def count_last_hour(self) -> int:
        """Return the number of calls within the last hour that count for the budget."""
        with self._database.reading() as connection:
            now = self._database.now_in(connection)
            return connection.execute(COUNT_RECENT, {"now": now}).scalar_one()

    def count_conversation_runs(self, lease: Lease) -> int:
        """Return how many other deliveries of the lease's conversation had a question for Claude
        within the last hour.

        Includes those whose reply came from the cache: a loop that repeats the same event must end,
        too.
        """
        terms = {"of_conversation": lease.conversation_key or "", "of_guid": lease.guid}
        with self._database.reading() as connection:
            return connection.execute(self._count_runs, terms).scalar_one()

    def calls_of(self, guid: str) -> list[CallRow]:
        """Return a delivery's calls in the order of their start."""
        with self._database.reading() as connection:
            return [
                from_row(
                    CallRow,
                    row,
                    index=row.step_index,
                    cost_usd=None if row.cost_micro_usd is None else row.cost_micro_usd / 1_000_000,
                )
                for row in connection.execute(_CALLS_OF, {"of_guid": guid})
            ]

    def prompt_stats(self) -> list[PromptStats]:
        """Return the totals of every prompt version that was ever used, sorted by prompt id."""
        with self._database.reading() as connection:
            rows = sum_calls(connection, true(), with_deleted=True)
        by_prompt = defaultdict[str, list[PromptStats]](list)
        for row in rows:
            stats = from_row(PromptStats, row, cost_usd=row.cost_micro_usd / 1_000_000)
            by_prompt[row.prompt_id].append(stats)
        return [add_up_stats(by_prompt[prompt_id], prompt_id) for prompt_id in sorted(by_prompt)]

    def failures(self) -> dict[str, dict[str, int]]:
        """Return {prompt id: {outcome: number}} of the stored calls that ended without a valid
        reply.
        """
        query = select(_c.prompt_id, _c.outcome, func.count()).where(
            _c.outcome.not_in([SUCCESS, CACHED]), ~IS_RECORDED
        )
        counts: dict[str, dict[str, int]] = {}
        with self._database.reading() as connection:
            for prompt_id, outcome, number in connection.execute(
                query.group_by(_c.prompt_id, _c.outcome)
            ):
                counts.setdefault(prompt_id, {})[outcome] = number
        return counts


def _reply_columns(reply: StoredReply | UnusableReply) -> dict[str, object]:
    if isinstance(reply, UnusableReply):
        return {"reply": reply.text}
    return {
        "reply_type": reply.reply_type,
        "reply": reply.reply,
        "lost": json.dumps(dict(reply.lost)) if reply.lost else None,
        "output_cost_micro_usd": _micro_usd(reply.usage.output_usd),
    }


def _micro_usd(usd: float | None) -> int | None:
    return None if usd is None else round(usd * 1_000_000)


_USAGE_COLUMNS = (*TOKENS, "cost_micro_usd")


def _usage_columns(usage: Usage) -> dict[str, int | None]:
    tokens = {name: getattr(usage, name) for name in TOKENS}
    return {**tokens, "cost_micro_usd": _micro_usd(usage.cost_usd)}


def _count_call(
    call: StartedCall, columns: Mapping[str, Any], outcome: str, lease: Lease
) -> dict[tuple[str, str], int]:
    prompt_id = columns["prompt_id"]
    if lease.batch_id is not None:
        prompt_id = OF_BATCHES
    cost = columns.get("cost_micro_usd") or 0
    counts = {("claude_calls", outcome): 1, (COST, prompt_id): cost, ("prompt_calls", prompt_id): 1}
    if outcome == SUCCESS and not lease.is_recorded:
        counts["replies", ""] = 1
    counts |= {("tokens", name.removesuffix("_tokens")): columns.get(name) or 0 for name in TOKENS}
    if columns.get("duration_ms") is not None:
        counts |= {("claude_ms", ""): columns["duration_ms"], ("claude_timed", ""): 1}
    if call.outsider is not None:
        counts[OUTSIDER_COST, call.outsider] = cost
    if call.provider is not None and outcome != UNFINISHED:
        counts["provider_calls", f"{call.provider}:{outcome}"] = 1
    return counts


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
