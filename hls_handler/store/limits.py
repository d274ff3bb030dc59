"""Limits on calls to Claude: what they allow, what is used of it, and why a call does not fit.

A call counts with its upper estimate from its beginning on, and with its cost from its end on. The
cost of a day or month of UTC is that of the counters by hour.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    bindparam,
    exists,
    func,
    literal,
    literal_column,
    select,
    true,
    union_all,
)

from hls_handler.db.counters import BUDGET_EXCEEDED, COST, CounterWriter
from hls_handler.db.database import Database
from hls_handler.db.tables import calls, counters, deleted_review_calls, deliveries, slots
from hls_handler.db.values import HOUR_MS, from_ms, to_ms
from hls_handler.errors import (
    BudgetExceeded,
    BudgetUsedUp,
    ConversationIgnored,
    Postponed,
    PullRequestLimitReached,
)
from hls_handler.queue.rate_limiter import RateLimiter
from hls_handler.settings.effective import EffectiveSettings, matches_name
from hls_handler.settings.model import BudgetSettings, Settings
from hls_handler.store.call_rows import IS_CALL, UNAVAILABLE, name_batch_costs
from hls_handler.wording import count

OUTSIDER_COST = "outsider_cost_micro_usd"
"""Name of the counter by accounts without write permission; counted while `budgets.outsiders` is
set.
"""

OVER_BUDGET: Literal["over budget"] = "over budget"
"""`IgnoredKind` of deliveries whose call did not fit a budget."""

DAY_MS = 24 * HOUR_MS

_c = calls.c
_n = counters.c
_NO_LABEL: ColumnElement[str] = literal_column("''")


@dataclass(frozen=True, slots=True)
class Limit:
    """An amount that calls may not pass."""

    scope: Literal["all", "repository", "outsider", "pull request", "delivery", "batch"]
    period: Literal["hour", "day", "month"] | None  # None: all calls of the scope
    amount: float  # of an hour: calls; else USD
    where: str  # "/srv/hls/settings.yaml:14 (budgets.total.day_usd)"
    name: str = ""  # of the scope: "all repositories", "octo/*", "mona", "186853002#7", "3"
    is_waived: bool = False  # of a pull request: a person with write permission goes on

    @property
    def micro_usd(self) -> int:
        return round(self.amount * 1_000_000)

    @property
    def key(self) -> str:
        """The setting and its value: another value is another limit."""
        return f"{self.where}: {self.amount}"

    @property
    def deleted_key(self) -> str:
        """The key of the cost of calls that retention has deleted."""
        return name_batch_costs(self.name) if self.scope == "batch" else self.name

    def covers(self, label: str) -> bool:
        """Return whether the counter with this label counts."""
        if self.scope == "repository":
            return matches_name(self.name, label)
        return self.scope != "outsider" or label == self.name


@dataclass(frozen=True, slots=True)
class LimitState:
    limit: Limit
    spent_micro_usd: int  # and reserved by calls in progress
    ends_at: datetime | None  # of the day or the month: aware UTC

    @property
    def left_micro_usd(self) -> int:
        return max(self.limit.micro_usd - self.spent_micro_usd, 0)

    def describe(self) -> str:
        """Return a clause about a day or month: "5.0000 USD a day for octo/* (settings.yaml:14
        (budgets...)), of which 0.0100 are left".
        """
        limit = self.limit
        amount = f"{limit.amount:.4f} USD a {limit.period} for {limit.name} ({limit.where})"
        rest = f"{self.left_micro_usd / 1_000_000:.4f} are left until"
        return f"{amount}, of which {rest} {self.ends_at:%Y-%m-%d %H:%M} UTC"


def limit_calls(settings: Settings) -> Limit:
    return Limit("all", "hour", settings.claude.calls_per_hour, "claude.calls_per_hour")


def list_budgets(
    settings: Settings, repository: str | None = None, outsider: str | None = None
) -> tuple[Limit, ...]:
    """Return the budgets of all repositories, or those that a call for "owner/repo" counts for.

    `outsider` is the login of a sender without write permission.
    """
    budgets = settings.budgets
    limits = [*_list_periods(settings, "all", budgets.total, "total", "all repositories")]
    for index, entry in enumerate(budgets.repositories):
        if repository is None or matches_name(entry.name, repository):
            key = f"repositories[{index}]"
            limits += _list_periods(settings, "repository", entry, key, entry.name)
    if outsider is not None:
        limits += _list_periods(settings, "outsider", budgets.outsiders, "outsiders", outsider)
    return tuple(limits)


def _list_periods(
    settings: Settings,
    scope: Literal["all", "repository", "outsider"],
    budget: BudgetSettings,
    key: str,
    name: str,
) -> Iterator[Limit]:
    periods: tuple[tuple[Literal["day", "month"], float | None], ...] = (
        ("day", budget.day_usd),
        ("month", budget.month_usd),
    )
    for period, amount in periods:
        if amount is not None:
            where = settings.sources.where(f"budgets.{key}.{period}_usd")
            yield Limit(scope, period, amount, where, name)


def share_limit(limit: Limit) -> Limit:
    """Return the limit as batches have it: half of an hour's calls, and of a day's cost."""
    if limit.period == "hour":
        where = f"half of {limit.where}, for batches,"
        return replace(limit, amount=max(limit.amount // 2, 1), where=where)
    if limit.period == "day":
        return replace(limit, amount=limit.amount / 2, where=f"half of {limit.where}")
    return limit


def read_states(
    connection: Connection, limits: Sequence[Limit], now: int, *, row_id: int = 0
) -> list[LimitState]:
    """Return the cost so far for each limit; `row_id` is of the delivery, for limits of one.

    One statement reads all: between two, retention could delete a call, which would then be counted
    twice.
    """
    if not limits:
        return []
    queries: list[Select[int, str, Any]] = []
    for index, limit in enumerate(limits):
        queries += _select_costs(index, limit, now, row_id)
    spent = [0] * len(limits)
    for index, label, cost in connection.execute(union_all(*queries)):
        if limits[index].covers(label):
            spent[index] += int(cost or 0)  # sums are Decimal on PostgreSQL
    return [
        LimitState(limit, cost, _find_period(limit, now)[1])
        for limit, cost in zip(limits, spent, strict=True)
    ]


def _select_costs(
    index: int, limit: Limit, now: int, row_id: int
) -> Iterator[Select[int, str, Any]]:
    """Yield the queries for rows of the index, a label and a cost."""
    number: ColumnElement[int] = literal_column(str(index))
    if limit.period is None:
        spent: Select[int, str, Any] = select(number, _NO_LABEL, func.sum(_c.cost_micro_usd))
        yield spent.where(_is_of(limit, row_id))
        deleted = deleted_review_calls.c
        deleted_costs: Select[int, str, Any] = select(number, _NO_LABEL, deleted.cost_micro_usd)
        if limit.scope != "delivery":
            yield deleted_costs.where(deleted.review_key == limit.deleted_key)
        return
    begins_at, ends_at = _find_period(limit, now)
    assert ends_at is not None
    is_in_period = (_n.hour >= to_ms(begins_at), _n.hour < to_ms(ends_at))
    name = COST
    label = _n.repository
    if limit.scope == "outsider":
        name = OUTSIDER_COST
        label = _n.label
    costs: Select[int, str, Any] = select(number, label, func.sum(_n.value))
    yield costs.where(_n.name == name, *is_in_period).group_by(label)


def _is_of(limit: Limit, row_id: int) -> ColumnElement[bool]:
    """Return the condition for the calls that may count, before their label is compared."""
    if limit.scope == "delivery":
        return _c.delivery_id == row_id
    if limit.scope == "pull request":
        return _c.review_key == limit.name
    if limit.scope == "batch":
        return _c.batch_id == int(limit.name)
    return true()


def _find_period(limit: Limit, now: int) -> tuple[datetime, datetime | None]:
    begins_at = from_ms(now).replace(hour=0, minute=0, second=0, microsecond=0)
    if limit.period == "month":
        begins_at = begins_at.replace(day=1)
        return begins_at, (begins_at + timedelta(days=31)).replace(day=1)
    if limit.period == "day":
        return begins_at, begins_at + timedelta(days=1)
    return begins_at, None


def read_reserved(connection: Connection, limit: Limit, now: int, *, row_id: int) -> int:
    """Return what calls in progress may cost at most: their end may leave a part.

    A call without an end is in progress if its delivery has a lease, unless this is the delivery
    that asks again.
    """
    labels: dict[str, ColumnElement[Any]] = {
        "repository": deliveries.c.repository,
        "outsider": deliveries.c.sender,
    }
    label = labels.get(limit.scope, literal(""))
    reserved = select(label, func.sum(_c.cost_micro_usd)).join_from(calls, deliveries)
    is_open = _c.finished_at.is_(None), _c.started_at > now - HOUR_MS
    has_worker = deliveries.c.lease_until > now, _c.delivery_id != row_id
    rows = connection.execute(
        reserved.where(_is_of(limit, row_id), *is_open, *has_worker).group_by(label)
    )
    return sum(int(cost or 0) for name, cost in rows if limit.covers(name or ""))


def refuse_review(
    state: LimitState, reserved: int, needed: int, *, is_continued: bool, is_batch: bool
) -> BudgetExceeded:
    """Return why a call does not fit the limit of a review or of a pull request. `is_continued` if
    it is also beyond that of the pull request, at which a person goes on. Amounts are micro-USD.
    """
    limit = state.limit
    scope = "review"
    if limit.scope == "pull request":
        scope = "pull request"
    problem = (
        f"the budget of the {scope} allows no further call:"
        f" {format_micro_usd(state.spent_micro_usd - reserved)} spent,"
        f" {format_micro_usd(reserved)} reserved by calls in progress, this call needs up to"
        f" {format_micro_usd(needed)}, limit {limit.amount:.4f} USD ({limit.where});"
    )
    if limit.scope == "pull request":
        return PullRequestLimitReached(
            f"{problem} /review of a person with write permission continues for one more review; or"
            " raise that limit, then push"
        )
    if is_batch:
        return BudgetExceeded(f"{problem} raise that limit, then begin another batch")
    problem = f"{problem} raise that limit, then push or comment /review"
    if is_continued:
        return PullRequestLimitReached(problem)
    return BudgetExceeded(problem)


def format_micro_usd(micro_usd: int) -> str:
    return f"{micro_usd / 1_000_000:.4f} USD"


def note_exceeded(writer: CounterWriter, connection: Connection, limit: Limit, now: int) -> bool:
    """Record that a call did not fit a budget. Return True if it is the first one of the day
    (UTC).
    """
    ends_at = _end_of_day(now)
    noted = (
        _n.value == ends_at,
        _n.name == BUDGET_EXCEEDED,
        _n.label == limit.key,
    )
    if connection.execute(select(_n.value).where(*noted)).first() is not None:
        return False
    writer.set_values(connection, BUDGET_EXCEEDED, {limit.key: ends_at})
    return True


def _end_of_day(now: int) -> int:
    return now - now % DAY_MS + DAY_MS


class Budgets:
    def __init__(self, database: Database) -> None:
        self._database = database

    def states(self, budgets: Sequence[Limit]) -> Sequence[LimitState]:
        if not budgets:
            return ()
        with self._database.reading() as connection:
            now = self._database.now_in(connection)
            return read_states(connection, budgets, now)

    def find_exceeded(self, budgets: Sequence[Limit]) -> tuple[Limit, ...]:
        """Return the budgets that a call of today (UTC) did not fit."""
        if not budgets:
            return ()
        with self._database.reading() as connection:
            today = _end_of_day(self._database.now_in(connection))
            noted = select(_n.label).where(_n.name == BUDGET_EXCEEDED, _n.value == today)
            keys = set(connection.execute(noted).scalars())
        return tuple(budget for budget in budgets if budget.key in keys)

    def count_ignored(self) -> int:
        """Return the number of deliveries that were ignored today (UTC), because a call did not fit
        a budget.
        """
        is_over = (
            deliveries.c.state == "ignored",
            deliveries.c.reason_kind == OVER_BUDGET,
            deliveries.c.batch_id.is_(None),
        )
        with self._database.reading() as connection:
            begins_at = _end_of_day(self._database.now_in(connection)) - DAY_MS
            today = deliveries.c.finished_at >= begins_at
            return connection.execute(select(func.count()).where(*is_over, today)).scalar_one()


def limit_review(settings: Settings, effective: EffectiveSettings) -> Limit:
    where = effective.where("review.max_usd", settings)
    return Limit("delivery", None, effective.review.max_usd, where)


def limit_pull_request(
    settings: Settings, effective: EffectiveSettings, conversation_key: str | None
) -> Limit:
    where = effective.where("review.max_usd_per_pull_request", settings)
    amount = effective.review.max_usd_per_pull_request
    return Limit("pull request", None, amount, where, conversation_key or "")


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
        cost_limits = [limit for limit in limits if limit.period != "hour"]
        states = read_states(call.connection, cost_limits, call.now, row_id=call.row_id)
        by_limit = dict(zip(cost_limits, states, strict=True))
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
