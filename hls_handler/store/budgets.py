"""Budgets: limits on the cost of all calls to Claude within a day or a month of UTC.

The cost is that of the counters by hour: a call counts with its upper estimate from its beginning
on, and with its cost from its end on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import Connection, func, literal, select

from hls_handler.db.counters import BUDGET_EXCEEDED, CounterWriter
from hls_handler.db.database import Database
from hls_handler.db.tables import calls, counter_hours, counters, deliveries
from hls_handler.db.values import HOUR_MS, from_ms, to_ms
from hls_handler.settings.effective import name_matcher
from hls_handler.settings.model import Budget as BudgetSettings
from hls_handler.settings.model import Settings

OUTSIDER_COST = "outsider_cost_micro_usd"
"""Name of the counter by accounts without write permission; counted while `budgets.outsiders` is
set.
"""

OVER_BUDGET = "over budget"
"""`IgnoredKind` of deliveries whose call did not fit a budget."""

DAY_MS = 24 * HOUR_MS

_c = counter_hours.c


@dataclass(frozen=True, slots=True)
class Budget:
    name: str  # "all repositories", "octo/*", "mona"
    period: Literal["day", "month"]
    limit_usd: float
    where: str  # "/srv/hls/settings.yaml:14 (budgets.total.day_usd)"
    counter: str  # whose values it limits
    covers: Callable[[str], bool] = field(compare=False)  # returns True for the labels that count

    @property
    def key(self) -> str:
        """The setting and its value: another value is another budget."""
        return f"{self.where}: {self.limit_usd}"


@dataclass(frozen=True, slots=True)
class BudgetState:
    budget: Budget
    spent_micro_usd: int  # and reserved by calls in progress
    ends_at: datetime  # of the day or the month: aware UTC

    @property
    def left_micro_usd(self) -> int:
        return max(round(self.budget.limit_usd * 1_000_000) - self.spent_micro_usd, 0)

    def describe(self) -> str:
        """Return a clause: "5.0000 USD a day for octo/* (settings.yaml:14 (budgets...)), of which
        0.0100 are left".
        """
        budget = self.budget
        limit = f"{budget.limit_usd:.4f} USD a {budget.period} for {budget.name} ({budget.where})"
        left = f"{self.left_micro_usd / 1_000_000:.4f} are left until"
        return f"{limit}, of which {left} {self.ends_at:%Y-%m-%d %H:%M} UTC"


def list_budgets(
    settings: Settings, repository: str | None = None, outsider: str | None = None
) -> tuple[Budget, ...]:
    """Return the budgets of all repositories, or those that a call for "owner/repo" counts for.

    `outsider` is the login of a sender without write permission.
    """
    budgets = settings.budgets
    found: list[Budget] = []

    def add(
        name: str, limits: BudgetSettings, key: str, counter: str, covers: Callable[[str], bool]
    ) -> None:
        periods: tuple[tuple[Literal["day", "month"], float | None], ...] = (
            ("day", limits.day_usd),
            ("month", limits.month_usd),
        )
        for period, limit_usd in periods:
            if limit_usd is not None:
                where = settings.sources.where(f"budgets.{key}.{period}_usd")
                found.append(Budget(name, period, limit_usd, where, counter, covers))

    add("all repositories", budgets.total, "total", "cost_micro_usd", lambda _: True)
    for index, entry in enumerate(budgets.repositories):
        covers = name_matcher(entry.name)
        if repository is None or covers(repository):
            add(entry.name, entry, f"repositories[{index}]", "repository_cost_micro_usd", covers)
    if outsider is not None:
        add(
            outsider, budgets.outsiders, "outsiders", OUTSIDER_COST, lambda login: login == outsider
        )
    return tuple(found)


def halve_day(budget: Budget) -> Budget:
    """Return the budget as batches have it: half of a day's."""
    if budget.period != "day":
        return budget
    return replace(budget, limit_usd=budget.limit_usd / 2)


def read_state(connection: Connection, budget: Budget, now: int) -> BudgetState:
    """Return what the calls of the day or month of `now` (ms) have cost."""
    begins_at = from_ms(now).replace(hour=0, minute=0, second=0, microsecond=0)
    ends_at = begins_at + timedelta(days=1)
    if budget.period == "month":
        begins_at = begins_at.replace(day=1)
        ends_at = (begins_at + timedelta(days=31)).replace(day=1)
    costs = select(_c.label, func.sum(_c.value)).where(
        _c.name == budget.counter, _c.hour >= to_ms(begins_at)
    )
    rows = connection.execute(costs.where(_c.hour < to_ms(ends_at)).group_by(_c.label))
    return BudgetState(
        budget, sum(int(cost) for label, cost in rows if budget.covers(label)), ends_at
    )


def read_reserved(connection: Connection, budget: Budget, now: int) -> int:
    """Return what calls in progress may cost at most: their end may leave a part. A call of an hour
    has no worker.
    """
    labels = {
        "repository_cost_micro_usd": deliveries.c.repository,
        OUTSIDER_COST: deliveries.c.sender,
    }
    label = labels.get(budget.counter, literal(""))
    reserved = select(label, func.sum(calls.c.cost_micro_usd)).join_from(calls, deliveries)
    is_open = calls.c.finished_at.is_(None), calls.c.started_at > now - HOUR_MS
    rows = connection.execute(reserved.where(*is_open).group_by(label))
    return sum(int(cost or 0) for name, cost in rows if budget.covers(name or ""))


def note_exceeded(writer: CounterWriter, connection: Connection, budget: Budget, now: int) -> bool:
    """Record that a call did not fit a budget. Return True if it is the first one of the day
    (UTC).
    """
    ends_at = _end_of_day(now)
    noted = (
        counters.c.value == ends_at,
        counters.c.name == BUDGET_EXCEEDED,
        counters.c.label == budget.key,
    )
    if connection.execute(select(counters.c.value).where(*noted)).first() is not None:
        return False
    writer.set_values(connection, BUDGET_EXCEEDED, {budget.key: ends_at})
    return True


def _end_of_day(now: int) -> int:
    return now - now % DAY_MS + DAY_MS


class Budgets:
    def __init__(self, database: Database) -> None:
        self._database = database

    def states(self, budgets: Sequence[Budget]) -> tuple[BudgetState, ...]:
        if not budgets:
            return ()
        with self._database.reading() as connection:
            now = self._database.now_in(connection)
            return tuple(read_state(connection, budget, now) for budget in budgets)

    def find_exceeded(self, budgets: Sequence[Budget]) -> tuple[Budget, ...]:
        """Return the budgets that a call of today (UTC) did not fit."""
        if not budgets:
            return ()
        with self._database.reading() as connection:
            today = _end_of_day(self._database.now_in(connection))
            noted = select(counters.c.label).where(
                counters.c.name == BUDGET_EXCEEDED, counters.c.value == today
            )
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
