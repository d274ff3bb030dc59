"""Stores calls to Claude with question, cost and reply, and checks their limits before."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Row,
    Select,
    Text,
    and_,
    bindparam,
    case,
    cast,
    distinct,
    exists,
    func,
    select,
    true,
)

from hls_handler.analysis import TOKENS, Receipt, UnusableReply, Usage
from hls_handler.db.counters import COST, OF_BATCHES, Group
from hls_handler.db.database import Database
from hls_handler.db.tables import (
    calls,
    deleted_calls,
    deleted_review_calls,
    deliveries,
    slots,
)
from hls_handler.db.values import HOUR_MS, from_ms, from_row
from hls_handler.deliveries import Lease
from hls_handler.errors import (
    BudgetExceeded,
    BudgetUsedUp,
    ConversationIgnored,
    Postponed,
)
from hls_handler.queue.checkpoints import DELIVERY_ID, Change, Checkpoints, LeaseCheck, prepare
from hls_handler.queue.leases import lease_lost
from hls_handler.queue.rate_limiter import SLOT_WAIT, RateLimiter, SlotRequest
from hls_handler.store.limits import (
    OUTSIDER_COST,
    OVER_BUDGET,
    Limit,
    LimitState,
    format_micro_usd,
    name_batch_costs,
    note_exceeded,
    read_reserved,
    read_states,
    refuse_review,
)
from hls_handler.store.questions import Questions, QuestionTexts
from hls_handler.store.replies import CACHED, ESTIMATED, StoredReply
from hls_handler.store.reply_cache import CACHE_HIT, CACHE_MISS, CACHE_SAVED, CachedReply, CacheKey
from hls_handler.wording import count

CLAUDE_RATE_LIMIT = "claude"
"""Name of the rate limit for calls to Claude."""

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

_c = calls.c
_d = deliveries.c
IS_CALL = _c.outcome.is_distinct_from(CACHED)
"""Condition: Claude was asked; the reply is not from the cache."""

IS_RECORDED = and_(_c.batch_id.is_not(None), _c.conversation_key.is_(None))
"""Condition: of a batch whose results are only recorded, so it is no use of a prompt."""

COUNTED_AS = case((_c.batch_id.is_(None), _c.prompt_id), else_=OF_BATCHES)
"""The label of a call in the counters by prompt."""

RESERVED_WAIT = timedelta(seconds=10)
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
_IS_FREE = and_(func.coalesce(_c.outcome, UNFINISHED).in_(FREE), _c.output_tokens.is_(None))


def _is_recent(moment: ColumnElement[int], now: ColumnElement[int]) -> ColumnElement[bool]:
    # What seems to be more than an hour ahead does not count, because the clock must have been set
    # back.
    return and_(moment > now - HOUR_MS, moment <= now + HOUR_MS)


_RECENT = and_(
    _is_recent(_c.started_at, bindparam("now", type_=BigInteger())),
    _c.outcome.is_distinct_from(UNAVAILABLE),
    IS_CALL,
)
_COUNT_RECENT = select(func.count()).select_from(calls).where(_RECENT)
_RESERVED = and_(
    slots.c.delivery_id == bindparam("of_delivery"),
    slots.c.rate_limit == bindparam("of_budget", type_=Text()),
)
_BUDGET_STATE = select(_COUNT_RECENT.scalar_subquery(), exists().where(_RESERVED))

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
    own = [call for call in calls if call.outcome != UNAVAILABLE]
    costs = [0.0 if call.is_free else call.cost_usd for call in own]
    return Receipt(
        calls=len(own),
        input_tokens=sum(call.all_input_tokens for call in own),
        output_tokens=sum(call.output_tokens or 0 for call in own),
        cost_usd=None if None in costs else sum(cost for cost in costs if cost is not None),
        is_estimate=any(call.is_estimate for call in own),
        prompt_ids=tuple(dict.fromkeys(call.prompt_id for call in own)),
        models=tuple(
            dict.fromkeys(call.model for call in own if "/" in call.model and not call.is_free)
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


def budget_frees_at(started: Sequence[int], *, limit: int, ahead: int) -> int | None:
    """Return the time (ms) when a budget of `limit` calls an hour allows another call; None if a
    call is allowed now.

    `started` has the start times (ms) of the last hour's calls, oldest first. `ahead` is the number
    of deliveries that already wait for the budget. Each delivery gets its own time, so that they do
    not all try again at once.
    """
    if len(started) < limit:
        return None
    leaving = len(started) - limit + ahead
    hours, index = divmod(leaving, len(started))
    return started[index] + (hours + 1) * HOUR_MS


@dataclass(frozen=True, slots=True)
class _LimitCheck:
    """A call whose limits are checked in a transaction."""

    connection: Connection
    row_id: int  # of the delivery
    is_batch: bool
    needed: int  # micro-USD
    now: int  # ms

    def fits(self, limit: Limit) -> bool:
        return self.needed <= limit.micro_usd


_Refusal = Postponed | BudgetExceeded | ConversationIgnored


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
        now = database.now
        self._insert_hit = calls.insert().values(started_at=now, finished_at=now, **_HIT)
        self._begin = calls.insert().values(started_at=now).returning(_c.id, _c.started_at)
        is_open = and_(_c.id == bindparam("of_call"), _IS_OPEN)
        self._end = calls.update().where(is_open).values(finished_at=now)
        self._count_runs = select(func.count(distinct(_c.delivery_id))).where(
            _c.conversation_key == bindparam("of_conversation"),
            _is_recent(_c.started_at, now),
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
            limit_check = _LimitCheck(connection, row_id, lease.batch_id is not None, needed, now)
            error = self._find_refusal(limit_check, limits)
            if error is None:
                # webhooks have the slots of batches, which may have reserved many in an outage
                request = SlotRequest(
                    CLAUDE_RATE_LIMIT, 1 / requests_per_second, can_move=limit_check.is_batch
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
        group = Group(lease.repository, lease.author)
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
                group = Group(lease.repository, lease.author)
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
            group = Group(lease.repository, lease.author)
            self._checkpoints.counters.add(connection, counts, group)

    def count_last_hour(self) -> int:
        """Return the number of calls within the last hour that count for the budget."""
        with self._database.reading() as connection:
            now = self._database.now_in(connection)
            return connection.execute(_COUNT_RECENT, {"now": now}).scalar_one()

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

    def _find_refusal(self, call: _LimitCheck, limits: Sequence[Limit]) -> _Refusal | None:
        """Return why the first limit that the call does not fit refuses it."""
        of_cost = [limit for limit in limits if limit.period != "hour"]
        states = read_states(call.connection, of_cost, call.now, row_id=call.row_id)
        by_limit = dict(zip(of_cost, states, strict=True))
        is_continued = False
        # a call that alone exceeds that of a review would also do so at the next `/review`
        for limit in sorted(
            limits, key=lambda other: other.scope != "delivery" or call.fits(other)
        ):
            error: _Refusal | None
            if limit.period == "hour":
                error = self._check_hour(call, limit)
            elif by_limit[limit].left_micro_usd >= call.needed:
                continue
            elif limit.is_waived:
                is_continued = True
                continue
            else:
                error = self._refuse(call, by_limit[limit], is_continued=is_continued)
            if error is not None:
                return error
        return None

    def _refuse(self, call: _LimitCheck, state: LimitState, *, is_continued: bool) -> _Refusal:
        limit = state.limit
        reserved = read_reserved(call.connection, limit, call.now, row_id=call.row_id)
        if limit.scope in ("pull request", "delivery"):
            return refuse_review(
                state,
                reserved,
                call.needed,
                is_continued=is_continued,
                is_batch=call.is_batch,
            )
        if state.spent_micro_usd - reserved + call.needed <= limit.micro_usd:
            why = "waits for calls in progress, which reserve the rest of"
            budget = "the batch's budget"
            if limit.scope != "batch":
                budget = f"a budget: {state.describe()}"
            return Postponed(f"{why} {budget}", at=from_ms(call.now) + RESERVED_WAIT)
        needed = format_micro_usd(call.needed)
        if state.ends_at is None:
            more = format_micro_usd(2 * (state.spent_micro_usd + call.needed)).removesuffix(" USD")
            return ConversationIgnored(
                f"the budget of batch {limit.name} allows no further call:"
                f" {format_micro_usd(state.spent_micro_usd)} spent, this call needs up to {needed},"
                f" {limit.where} is {limit.amount:g};"
                f" `hls batch continue {limit.name} {limit.where} {more}` goes on",
                OVER_BUDGET,
            )
        if call.is_batch:
            return Postponed(f"waits for a budget: {state.describe()}", at=state.ends_at)
        counters = self._checkpoints.counters
        return BudgetUsedUp(
            f"a budget allows no further call: {state.describe()}, and this call needs up to"
            f" {needed}",
            at=state.ends_at,
            waiting_for=None if limit.scope == "outsider" else "claude",
            is_first=note_exceeded(counters, call.connection, limit, call.now),
        )

    def _check_hour(self, call: _LimitCheck, limit: Limit) -> Postponed | None:
        """Reserve the next call if the calls of an hour are used up. The reservations of batches do
        not delay those of webhooks, because their limit has another name.
        """
        name = limit.where
        calls_per_hour = int(limit.amount)
        connection = call.connection
        terms = {"now": call.now, "of_delivery": call.row_id, "of_budget": name}
        recent, has_reserved = connection.execute(_BUDGET_STATE, terms).one()
        if has_reserved:
            connection.execute(slots.delete().where(_RESERVED), terms)
        if recent < calls_per_hour:
            return None
        starts = select(_c.started_at).where(_RECENT).order_by(_c.started_at)
        started = connection.execute(starts, terms).scalars().all()
        ahead = (
            select(func.count())
            .select_from(slots)
            .where(slots.c.rate_limit == name, slots.c.slot_at > call.now)
        )
        frees_at = budget_frees_at(
            started, limit=calls_per_hour, ahead=connection.execute(ahead).scalar_one()
        )
        if frees_at is None:
            return None
        self._rate_limiter.reserve(connection, call.row_id, name, frees_at)
        at = from_ms(frees_at)
        return Postponed(
            f"the hourly budget is used up: {name} allows"
            f" {count(calls_per_hour, 'call')}, the next one at {at:%H:%M:%S} UTC; raise that"
            " setting, or wait",
            at=at,
            waiting_for=None if call.is_batch else "claude",
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
    if call.outsider is not None:
        counts[OUTSIDER_COST, call.outsider] = cost
    if call.provider is not None and outcome != UNFINISHED:
        counts["provider_calls", f"{call.provider}:{outcome}"] = 1
    return counts
