"""Stores calls to Claude with cost and validated reply, and limits them by a rate and an hourly budget."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    and_,
    bindparam,
    distinct,
    func,
    literal_column,
    select,
    true,
)

from hls_handler.analysis import Usage, ValidReply
from hls_handler.db.database import Database
from hls_handler.db.tables import analyses, calls, deleted_calls, deliveries, slots
from hls_handler.db.values import HOUR_MS, from_ms, from_row
from hls_handler.deliveries import FIRST_SHADOW_STEP, Lease
from hls_handler.errors import Postponed
from hls_handler.queue.changes import DELIVERY_ID, Change, DeliveryWriter, prepare
from hls_handler.queue.leases import lease_lost
from hls_handler.queue.rate_limiter import RateLimiter
from hls_handler.wording import count

CLAUDE_RATE_LIMIT = "claude"
"""Name of the rate limit for calls to Claude."""

_BUDGET = "claude.calls_per_hour"
SUCCESS, UNAVAILABLE = "ok", "unavailable"
"""Outcomes of calls: a valid reply, and a call that Claude did not accept. The latter is free and not budgeted."""

UNFINISHED = "unfinished"
"""Counted in place of an outcome while a call is in progress, and for good if its end could not be stored."""

_TOKENS = ("input_tokens", "output_tokens", "cache_write_tokens", "cache_read_tokens")
_c, _d = calls.c, deliveries.c


def _is_recent(now: ColumnElement[int]) -> ColumnElement[bool]:
    # A call that seems to be more than an hour ahead does not count, because the clock must have been set back.
    return and_(_c.started_at > now - HOUR_MS, _c.started_at <= now + HOUR_MS)


_RECENT = and_(_is_recent(bindparam("now", type_=BigInteger())), _c.outcome.is_distinct_from(UNAVAILABLE))
_COUNT_RECENT = select(func.count()).select_from(calls).where(_RECENT)
_DELETE_RESERVED = slots.delete().where(slots.c.delivery_id == bindparam("of_delivery"), slots.c.rate_limit == _BUDGET)


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call to Claude. If `finished_at` is None, the call is in progress, or its end could not be stored.

    Tokens and cost of such a call are an upper estimate.
    """

    id: int
    index: int
    prompt_id: str
    model: str
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

    @property
    def of_shadow(self) -> bool:
        return self.index >= FIRST_SHADOW_STEP

    @property
    def is_estimate(self) -> bool:
        """True if tokens and cost are an upper estimate, because the usage is unknown."""
        return self.outcome in (None, "failed", "miscounted", "oversized") and self.output_tokens is not None

    @property
    def all_input_tokens(self) -> int:
        return sum(tokens or 0 for tokens in (self.input_tokens, self.cache_write_tokens, self.cache_read_tokens))


@dataclass(frozen=True, slots=True)
class PromptStats:
    """Totals of all calls by one version of a prompt."""

    prompt_id: str  # "issues/analyze@3f9c2a"
    replies: int  # number of valid replies
    cost_usd: float  # of the calls whose cost is known, and the upper estimate of unfinished calls
    calls_of_unknown_cost: int  # no known price; calls that Claude did not accept cost nothing
    last_error: str | None
    last_error_at: datetime | None


def budget_frees_at(started: Sequence[int], *, limit: int, ahead: int) -> int | None:
    """Return the time (ms) when a budget of `limit` calls an hour allows another call; None if a call is allowed now.

    `started` has the start times (ms) of the last hour's calls, oldest first. `ahead` is the number of deliveries that
    already wait for the budget. Each delivery gets its own time, so that they do not all try again at once.
    """
    if len(started) < limit:
        return None
    leaving = len(started) - limit + ahead
    hours, index = divmod(leaving, len(started))
    return started[index] + (hours + 1) * HOUR_MS


class ClaudeCalls:
    def __init__(self, database: Database, writer: DeliveryWriter, rate_limiter: RateLimiter) -> None:
        self._database, self._writer, self._rate_limiter = database, writer, rate_limiter
        replaced = ("prompt_id", "reply_type", "model", "reply", "analysed_at")
        now = database.now
        self._save_analysis = database.upsert(analyses, *replaced).values(analysed_at=now)
        self._begin = calls.insert().values(started_at=now).returning(_c.id)
        is_open = and_(_c.id == bindparam("of_call"), _c.delivery_id == DELIVERY_ID, _c.finished_at.is_(None))
        self._find_open = select(calls).where(is_open).with_for_update()
        self._end = calls.update().where(_c.id == bindparam("of_call")).values(finished_at=now)
        self._count_runs = select(func.count(distinct(_c.delivery_id))).where(
            _c.conversation_key == bindparam("of_conversation"),
            _is_recent(now),
            _c.delivery_id != DELIVERY_ID,
        )

    def begin(
        self,
        lease: Lease,
        *,
        index: int,
        prompt_id: str,
        model: str,
        requests_per_second: float,
        calls_per_hour: int,
        estimate: Usage | None = None,
        changes: Sequence[Change] = (),
    ) -> int:
        """Record the start of a call and count it, with the upper `estimate` as its usage; return its id.

        `end` replaces the estimate by the usage. It remains if the process dies or the database fails before. Raises
        `LeaseLost`.

        Raises `Postponed` if the rate limit or the budget does not allow the call yet; the changes are stored even
        then. The budget counts the calls of the last hour, except calls that Claude did not accept.
        """
        prepared = prepare(changes)
        with self._database.writing() as connection:
            row_id = self._writer.require(connection, lease, prepared)
            state = self._rate_limiter.lock(connection, CLAUDE_RATE_LIMIT)  # else two workers could get the last call
            now = self._database.now_in(connection)
            wait = self._check_budget(connection, row_id, calls_per_hour, now)
            if wait is None:
                interval_s = 1 / requests_per_second
                slot = self._rate_limiter.use_slot(connection, row_id, CLAUDE_RATE_LIMIT, interval_s, state, now)
                wait = None if slot.is_now else Postponed("waits for a slot to call Claude", at=from_ms(slot.slot_at))
            if wait is None:
                call = {
                    "delivery_id": row_id,
                    "step_index": index,
                    "conversation_key": lease.conversation_key,
                    "prompt_id": prompt_id,
                    "model": model,
                    **(_usage_columns(estimate) if estimate is not None else {}),
                }
                call_id: int = connection.execute(self._begin, call).scalar_one()
                self._writer.counters.add(connection, _count_call(call, UNFINISHED, lease))
                return call_id
        raise wait

    def end(
        self,
        lease: Lease,
        call_id: int,
        *,
        outcome: str,
        usage: Usage | None,
        error: str | None,
        is_usage_unknown: bool = False,
        request_id: str | None = None,
        changes: Sequence[Change] = (),
        reply: ValidReply | None = None,
        is_last: bool = False,
    ) -> None:
        """Store outcome and cost of a call, with changes and reply, in one transaction.

        Without `usage` the call cost nothing. If `is_usage_unknown`, the estimate of `begin` remains instead.
        If the lease is lost, only outcome and cost are stored, because the call was paid. `LeaseLost` is then raised if
        there are changes or a reply. A call that has already ended stays unchanged. `is_last` ends the analysis.
        """
        columns: dict[str, object] = {"outcome": outcome, "error": error, "request_id": request_id}
        if usage is not None:
            columns |= {"model": usage.model, "duration_ms": round(usage.took_s * 1000)}
        if not is_usage_unknown:
            columns |= _usage_columns(usage) if usage is not None else dict.fromkeys(_USAGE_COLUMNS)
        statuses = {"analysis_status": "done", "analysis_error": None} if is_last else {}
        needs_lease, prepared = bool(changes) or reply is not None, prepare(changes)
        with self._database.writing() as connection:
            row_id = self._writer.find(connection, lease, prepared, **statuses) if needs_lease else None
            began = connection.execute(self._find_open, {"of_call": call_id, "of_guid": lease.guid}).first()
            if began is not None:
                connection.execute(self._end, {"of_call": call_id, **columns})
                if row_id is not None and reply is not None:
                    connection.execute(self._save_analysis, _analysis(row_id, began.step_index, reply))
                before = dict(began._mapping)
                counts = Counter(_count_call({**before, **columns}, outcome, lease))
                counts.subtract(_count_call(before, UNFINISHED, lease))
                self._writer.counters.add(connection, {key: number for key, number in counts.items() if number})
        if needs_lease and row_id is None:
            raise lease_lost(lease)

    def save_analysis(self, lease: Lease, *, index: int, reply: ValidReply) -> None:
        """Store a reply that a retry read from a checkpoint; replace the reply at this index. Raises `LeaseLost`."""
        with self._database.writing(durable=False) as connection:
            row_id = self._writer.require(connection, lease)
            connection.execute(self._save_analysis, _analysis(row_id, index, reply))

    def count_last_hour(self) -> int:
        """Return the number of calls within the last hour that count for the budget."""
        with self._database.reading() as connection:
            now = self._database.now_in(connection)
            return connection.execute(_COUNT_RECENT, {"now": now}).scalar_one()

    def count_conversation_runs(self, lease: Lease) -> int:
        """Return how many other deliveries of the lease's conversation called Claude within the last hour."""
        terms = {"of_conversation": lease.conversation_key or "", "of_guid": lease.guid}
        with self._database.reading() as connection:
            return connection.execute(self._count_runs, terms).scalar_one()

    def calls_of(self, guid: str) -> list[CallRow]:
        """Return a delivery's calls in the order of their start."""
        query = select(calls).join(deliveries, _d.id == _c.delivery_id).where(_d.guid == guid)
        with self._database.reading() as connection:
            return [
                from_row(
                    CallRow,
                    row,
                    index=row.step_index,
                    cost_usd=None if row.cost_micro_usd is None else row.cost_micro_usd / 1_000_000,
                )
                for row in connection.execute(query.order_by(_c.started_at, _c.id))
            ]

    def prompt_stats(self) -> list[PromptStats]:
        """Return the totals of every prompt version that was ever used, sorted by prompt id."""
        with self._database.reading() as connection:
            rows = sum_calls(connection, true(), with_deleted=True)
        by_prompt: dict[str, list[dict[str, Any]]] = {}
        for row in rows:
            by_prompt.setdefault(row["prompt_id"], []).append(row)
        return [_prompt_stats(prompt_id, by_prompt[prompt_id]) for prompt_id in sorted(by_prompt)]

    def _check_budget(self, connection: Connection, row_id: int, calls_per_hour: int, now: int) -> Postponed | None:
        terms = {"now": now}
        connection.execute(_DELETE_RESERVED, {"of_delivery": row_id})
        if connection.execute(_COUNT_RECENT, terms).scalar_one() < calls_per_hour:
            return None
        starts = select(_c.started_at).where(_RECENT).order_by(_c.started_at)
        started = connection.execute(starts, terms).scalars().all()
        ahead = select(func.count()).select_from(slots).where(slots.c.rate_limit == _BUDGET, slots.c.slot_at > now)
        frees_at = budget_frees_at(started, limit=calls_per_hour, ahead=connection.execute(ahead).scalar_one())
        if frees_at is None:
            return None
        self._rate_limiter.reserve(connection, row_id, _BUDGET, frees_at)
        at = from_ms(frees_at)
        return Postponed(
            f"the hourly budget is used up: claude.calls_per_hour allows {count(calls_per_hour, 'call')}, the next one "
            f"at {at:%H:%M:%S} UTC; raise that setting, or wait",
            at=at,
            waiting_for="claude",
        )


def _prompt_stats(prompt_id: str, totals: Sequence[Mapping[str, Any]]) -> PromptStats:
    last = max(totals, key=lambda row: -1 if row["last_error_at"] is None else row["last_error_at"])
    return PromptStats(
        prompt_id=prompt_id,
        replies=sum(row["replies"] for row in totals),
        cost_usd=sum(row["cost_micro_usd"] for row in totals) / 1_000_000,
        calls_of_unknown_cost=sum(row["calls_of_unknown_cost"] for row in totals),
        last_error=last["last_error"],
        last_error_at=None if last["last_error_at"] is None else from_ms(last["last_error_at"]),
    )


def sum_calls(
    connection: Connection, which: ColumnElement[bool], *, with_deleted: bool = False
) -> list[dict[str, Any]]:
    """Return the sums of the calls that match `which`: a dict per prompt, with the columns of `deleted_calls`.

    `with_deleted` adds a dict per prompt for deleted calls. One statement reads both: between two statements, retention
    could delete a call, which would then be counted twice.
    """
    existing = (
        select(
            _c.prompt_id,
            func.count().filter(_c.outcome == SUCCESS).label("replies"),
            func.sum(_c.cost_micro_usd).label("cost_micro_usd"),
            func.count()
            .filter(_c.cost_micro_usd.is_(None), _c.outcome.is_distinct_from(UNAVAILABLE))
            .label("calls_of_unknown_cost"),
            func.max(_c.id).filter(_c.outcome != SUCCESS).label("failed_id"),
            literal_column("NULL").label("last_error"),
            literal_column("NULL").label("last_error_at"),
        )
        .where(which)
        .group_by(_c.prompt_id)
    )
    deleted = deleted_calls.c
    of_deleted = select(
        deleted.prompt_id,
        deleted.replies,
        deleted.cost_micro_usd,
        deleted.calls_of_unknown_cost,
        literal_column("NULL").label("failed_id"),
        deleted.last_error,
        deleted.last_error_at,
    )
    rows = connection.execute(existing.union_all(of_deleted) if with_deleted else existing).all()
    failed_ids = [row.failed_id for row in rows if row.failed_id is not None]
    errors = select(_c.id, _c.error, _c.finished_at).where(_c.id.in_(failed_ids))
    failed = {row.id: row for row in connection.execute(errors)} if failed_ids else {}
    totals = [{**row._mapping, "cost_micro_usd": int(row.cost_micro_usd or 0)} for row in rows]
    for total in totals:
        last_failed = failed.get(total.pop("failed_id"))
        if last_failed is not None:
            total |= {"last_error": last_failed.error, "last_error_at": last_failed.finished_at}
    return totals


def _analysis(row_id: int, index: int, reply: ValidReply) -> dict[str, object]:
    return {
        "delivery_id": row_id,
        "step_index": index,
        "prompt_id": reply.prompt_id,
        "reply_type": reply.reply_type,
        "model": reply.usage.model,
        "reply": reply.reply.model_dump_json(),
    }


_USAGE_COLUMNS = (*_TOKENS, "cost_micro_usd")


def _usage_columns(usage: Usage) -> dict[str, object]:
    cost = None if usage.cost_usd is None else round(usage.cost_usd * 1_000_000)
    return {**{name: getattr(usage, name) for name in _TOKENS}, "cost_micro_usd": cost}


def _count_call(call: Mapping[str, Any], outcome: str, lease: Lease) -> dict[tuple[str, str], int]:
    prompt_id, cost = call["prompt_id"], call.get("cost_micro_usd") or 0
    counts = {("prompt_calls", prompt_id): 1, ("claude_calls", outcome): 1}
    if call["step_index"] >= FIRST_SHADOW_STEP:
        counts["prompt_shadow_calls", prompt_id] = 1
    counts |= {("tokens", name.removesuffix("_tokens")): call.get(name) or 0 for name in _TOKENS}
    counts |= {("cost_micro_usd", ""): cost, ("prompt_cost_micro_usd", prompt_id): cost}
    if lease.repository is not None:
        counts["repository_cost_micro_usd", lease.repository] = cost
    return {key: number for key, number in counts.items() if number}
