"""Checks the limits on calls to Claude before a call begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Text,
    and_,
    bindparam,
    exists,
    func,
    select,
)

from hls_handler.db.counters import CounterWriter
from hls_handler.db.tables import calls, slots
from hls_handler.db.values import HOUR_MS, from_ms
from hls_handler.errors import BudgetExceeded, BudgetUsedUp, ConversationIgnored, Postponed
from hls_handler.queue.rate_limiter import RateLimiter
from hls_handler.store.call_rows import IS_CALL, UNAVAILABLE
from hls_handler.store.limits import (
    OVER_BUDGET,
    Limit,
    LimitState,
    format_micro_usd,
    note_exceeded,
    read_reserved,
    read_states,
    refuse_review,
)
from hls_handler.wording import count

_c = calls.c

RESERVED_WAIT = timedelta(seconds=10)


def is_recent(moment: ColumnElement[int], now: ColumnElement[int]) -> ColumnElement[bool]:
    # What seems to be more than an hour ahead does not count, because the clock must have been set
    # back.
    return and_(moment > now - HOUR_MS, moment <= now + HOUR_MS)


_IS_RECENT = and_(
    is_recent(_c.started_at, bindparam("now", type_=BigInteger())),
    _c.outcome.is_distinct_from(UNAVAILABLE),
    IS_CALL,
)
COUNT_RECENT = select(func.count()).select_from(calls).where(_IS_RECENT)
_IS_RESERVED = and_(
    slots.c.delivery_id == bindparam("of_delivery"),
    slots.c.rate_limit == bindparam("of_limit", type_=Text()),
)
_USE_OF_HOUR = select(COUNT_RECENT.scalar_subquery(), exists().where(_IS_RESERVED))


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
class LimitedCall:
    """A call whose limits are checked, in its transaction."""

    connection: Connection
    row_id: int  # of the delivery
    is_batch: bool
    needed: int  # micro-USD
    now: int  # ms

    def fits(self, limit: Limit) -> bool:
        return self.needed <= limit.micro_usd


_LimitError = Postponed | BudgetExceeded | ConversationIgnored


class CallLimits:
    """Decides in the transaction of a call whether it may begin."""

    def __init__(self, rate_limiter: RateLimiter, counters: CounterWriter) -> None:
        self._rate_limiter = rate_limiter
        self._counters = counters

    def find_error(self, call: LimitedCall, limits: Sequence[Limit]) -> _LimitError | None:
        """Return why the first limit that the call does not fit refuses it."""
        of_cost = [limit for limit in limits if limit.period != "hour"]
        states = read_states(call.connection, of_cost, call.now, row_id=call.row_id)
        by_limit = dict(zip(of_cost, states, strict=True))
        is_continued = False
        # a call that alone exceeds that of a review would also do so at the next `/review`
        for limit in sorted(
            limits, key=lambda other: other.scope != "delivery" or call.fits(other)
        ):
            error: _LimitError | None
            if limit.period == "hour":
                error = self._wait_for_hour(call, limit)
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

    def _refuse(self, call: LimitedCall, state: LimitState, *, is_continued: bool) -> _LimitError:
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
        return BudgetUsedUp(
            f"a budget allows no further call: {state.describe()}, and this call needs up to"
            f" {needed}",
            at=state.ends_at,
            waiting_for=None if limit.scope == "outsider" else "claude",
            is_first=note_exceeded(self._counters, call.connection, limit, call.now),
        )

    def _wait_for_hour(self, call: LimitedCall, limit: Limit) -> Postponed | None:
        """Return None if the last hour has had fewer calls than the limit allows; else reserve the
        time of the next call for the delivery.

        The reservations of batches do not delay those of webhooks, because their limit has another
        name.
        """
        name = limit.where
        calls_per_hour = int(limit.amount)
        connection = call.connection
        values = {"now": call.now, "of_delivery": call.row_id, "of_limit": name}
        recent_calls, has_reserved = connection.execute(_USE_OF_HOUR, values).one()
        if has_reserved:
            connection.execute(slots.delete().where(_IS_RESERVED), values)
        if recent_calls < calls_per_hour:
            return None
        starts = select(_c.started_at).where(_IS_RECENT).order_by(_c.started_at)
        started_at = connection.execute(starts, values).scalars().all()
        waiting = (
            select(func.count())
            .select_from(slots)
            .where(slots.c.rate_limit == name, slots.c.slot_at > call.now)
        )
        number_waiting = connection.execute(waiting).scalar_one()
        frees_at = budget_frees_at(started_at, limit=calls_per_hour, ahead=number_waiting)
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
