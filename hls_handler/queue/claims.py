"""Which delivery is claimed next, and which are claimed again because their lease has expired."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.sql.dml import ReturningUpdate

from hls_handler.db.counters import CounterWriter, Group, count_end
from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries
from hls_handler.db.values import has_passed, literal
from hls_handler.deliveries import PRIORITY_BATCH, Lease, find_cause
from hls_handler.queue.locks import release_locks
from hls_handler.queue.pauses import is_everything_paused, is_paused
from hls_handler.wording import count

_c = deliveries.c
_PASSED: ColumnElement[int] = literal_column("0")  # a time in ms

_waiting = deliveries.alias("waiting")

_other = deliveries.alias("other")

_counted = deliveries.alias("counted")


def count_deliveries(table: FromClause, state: Literal["running", "dead"]) -> Select[int]:
    """Return the query for the number of running deliveries, or of dead ones that are not
    discarded.
    """
    is_counted: ColumnElement[bool] = table.c.discarded_at.is_(None)
    if state == "running":
        # It is always true; with this condition, SQLite uses a partial index.
        is_counted = table.c.lease_until > literal_column("0")
    return (
        select(func.count()).select_from(table).where(table.c.state == literal(state), is_counted)
    )


_HAS_FREE_PLACE = count_deliveries(_counted, "running").scalar_subquery() < bindparam("concurrency")

_IS_OF_BATCH = _waiting.c.priority <= literal_column(str(PRIORITY_BATCH))

_RUNNING_OF_BATCHES = count_deliveries(_counted, "running").where(_counted.c.batch_id.is_not(None))

_HAS_PLACE_FOR_BATCH = and_(
    _RUNNING_OF_BATCHES.scalar_subquery() < bindparam("for_batches"),
    count_deliveries(_counted, "running").scalar_subquery() < bindparam("without_last"),
)

_MAY_START = or_(~_IS_OF_BATCH, _HAS_PLACE_FOR_BATCH)
"""Condition: batches have at most half of the places, and not the last one."""

_HAS_PLACE_FOR_COMMAND = count_deliveries(_counted, "running").scalar_subquery() <= bindparam(
    "concurrency"
)

_SAME_CONVERSATION = _other.c.conversation_key == _waiting.c.conversation_key  # never true for NULL

_OTHER_RUNS = and_(_SAME_CONVERSATION, _other.c.state == literal("running"))

_OTHER_IS_BEFORE = and_(
    _SAME_CONVERSATION,
    _other.c.state == literal("queued"),
    _other.c.id < _waiting.c.id,
    _other.c.priority >= literal_column("0"),  # no webhook waits for a batch
)

_IS_CLAIMABLE = and_(
    _waiting.c.state == literal("queued"),
    ~is_paused(_waiting),
    ~exists().where(_OTHER_RUNS),
    ~exists().where(_OTHER_IS_BEFORE),
)

_HAS_FAILED = _c.first_failure_at.is_not(None)  # since the last progress

FAILURE_COLUMNS: dict[str, ColumnElement[Any]] = {
    column.name: case((_HAS_FAILED, column)) for column in (_c.reason, _c.cause)
}
"""The reason of the last failure, and its cause; NULL if the delivery made progress since then."""

NO_WORKER: dict[str, object] = {"worker": None, "lease_until": None}

LEASE_MS = bindparam("lease_ms", type_=BigInteger())


def _claim_first(now: ColumnElement[int], is_allowed: ColumnElement[bool]) -> ReturningUpdate[Any]:
    """Return the UPDATE that claims the due delivery with the smallest sort key."""
    first = (
        select(_waiting.c.id)
        .where(_IS_CLAIMABLE, has_passed(_waiting.c.due_at, now), is_allowed)
        .order_by(_waiting.c.sort_key, _waiting.c.id)
        .limit(1)
        .with_for_update(of=_waiting, skip_locked=True)
    )
    claimed = {
        "state": "running",
        **FAILURE_COLUMNS,
        "worker": bindparam("by"),
        "attempt": _c.attempt + 1,
        "has_progress": False,
        "lease_until": now + LEASE_MS,
    }
    columns = [_c[name] for name in Lease.__annotations__]
    update = deliveries.update().where(_c.id == first.scalar_subquery())
    return update.values(claimed).returning(*columns)


def _select_next_times(now: ColumnElement[int], is_chosen: ColumnElement[bool]) -> Select[Any]:
    """Return the query for when a delivery is due, when a lease expires, and the present time."""
    is_running = _c.state == literal("running")
    is_due = select(_waiting.c.id).where(
        _IS_CLAIMABLE, has_passed(_waiting.c.due_at, now), is_chosen
    )
    is_command_due = is_due.where(_waiting.c.is_command)
    has_expired = select(_c.id).where(is_running, has_passed(_c.lease_until, now))
    may_start = and_(~is_everything_paused(), _HAS_FREE_PLACE)
    may_start_command = and_(~is_everything_paused(), _HAS_PLACE_FOR_COMMAND)
    first_due_at = select(func.min(_waiting.c.due_at)).where(_IS_CLAIMABLE, is_chosen)
    # CASE, because SQLite evaluates a condition in WHERE for each queued delivery, and `min` reads
    # all of them.
    due_at = case(
        (has_expired.exists(), _PASSED),
        (and_(may_start, is_due.exists()), _PASSED),
        (and_(may_start_command, is_command_due.exists()), _PASSED),
        (may_start, first_due_at.scalar_subquery()),
    )
    expires_at = select(func.min(_c.lease_until)).where(is_running)
    return select(due_at, expires_at.scalar_subquery(), now)


class ClaimStatements:
    """The statements of claims; with `batch`, only deliveries of this batch are claimed."""

    def __init__(self, now: ColumnElement[int], batch: int | None) -> None:
        self._batch = batch
        is_chosen = _MAY_START
        if batch is not None:
            is_chosen = _waiting.c.batch_id == literal_column(str(batch))
        is_command = and_(_waiting.c.is_command, _HAS_PLACE_FOR_COMMAND)
        self.claim = _claim_first(now, and_(_HAS_FREE_PLACE, is_chosen))
        self.claim_command = _claim_first(now, and_(is_command, is_chosen))
        self.next_times = _select_next_times(now, is_chosen)

    def places(self, concurrency: int) -> dict[str, int]:
        """Return the parameters of the statements."""
        places = {"concurrency": concurrency}
        if self._batch is None:
            places["for_batches"] = max(concurrency // 2, 1)
            places["without_last"] = max(concurrency - 1, 1)
        return places


def select_blocking(guid: str) -> Select[Any]:
    """Return the query for the delivery that a queued one of its conversation waits for."""
    return (
        select(_other.c.guid)
        .join(_waiting, _SAME_CONVERSATION)
        .where(_waiting.c.guid == guid, or_(_OTHER_RUNS, _OTHER_IS_BEFORE))
        .order_by(_other.c.id)
        .limit(1)
    )


def _select_expired(database: Database) -> Select[Any]:
    """Return the query for the deliveries whose lease has expired, each locked."""
    columns = (
        _c.id,
        _c.guid,
        _c.repository,
        _c.author,
        _c.crashes,
        _c.has_progress,
        _c.batch_id,
    )
    return (
        select(*columns)
        .where(_c.state == literal("running"), has_passed(_c.lease_until, database.now))
        .with_for_update(skip_locked=True)
    )


def take_back_expired(
    connection: Connection, database: Database, counters: CounterWriter, max_crashes: int
) -> list[tuple[str, str | None, str]]:
    """Queue deliveries again whose lease has expired. Return GUID, repository and reason of those
    that become dead instead.
    """
    counts = defaultdict[Group, Counter[tuple[str, str]]](Counter)
    dead: list[tuple[str, str | None, str]] = []
    rows = connection.execute(database.statement(_select_expired)).all()
    now = database.now_in(connection) if rows else 0
    for row in rows:
        crashes = row.crashes
        if not row.has_progress:
            crashes += 1
        values: dict[str, object] = {"crashes": crashes, **NO_WORKER}
        if crashes < max_crashes:
            reason = "its worker died; it will be claimed again"
            values |= {"state": "queued", "due_at": database.now}
        else:
            reason = f"its worker died {count(crashes, 'time')} without completing another step"
            values |= {
                "state": "dead",
                "finished_at": now,
                "duration_ms": now - _c.received_at,
            }
            if row.batch_id is None:
                counts[Group(row.repository, row.author)] += count_end("dead")
            dead.append((row.guid, row.repository, reason))
        values |= reason_columns(reason)
        connection.execute(deliveries.update().where(_c.id == row.id).values(values))
        release_locks(connection, row.id)
    counters.add_all(connection, counts, at=now)
    return dead


def reason_columns(reason: str) -> dict[str, object]:
    return {"reason": reason, "cause": find_cause(reason)}
