"""The delivery queue: accept, claim, reschedule and finish deliveries."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    FromClause,
    Row,
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

from hls_handler.db.counters import (
    CounterWriter,
    Counts,
    Group,
    count_end,
    count_finished,
)
from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries, rate_limits, slots
from hls_handler.db.values import (
    FURTHEST_MS,
    DamagedError,
    decompress,
    from_ms,
    from_row,
    has_passed,
    literal,
    to_ms,
)
from hls_handler.deliveries import (
    HEAD_START_MS,
    PRIORITY_BATCH,
    PRIORITY_BOT_REQUEST,
    Accepted,
    End,
    Lease,
    NewDelivery,
    State,
    find_cause,
)
from hls_handler.queue.accepting import LISTED_STATE, BatchAcceptor
from hls_handler.queue.checkpoints import Change, Checkpoints, prepare
from hls_handler.queue.leases import EXPIRY, is_held, lease_lost, lease_parameters
from hls_handler.queue.locks import release_locks
from hls_handler.queue.pauses import is_everything_paused, is_paused
from hls_handler.wording import count

log = logging.getLogger(__name__)

_c = deliveries.c
_PASSED: ColumnElement[int] = literal_column("0")  # a time in ms

_waiting = deliveries.alias("waiting")

_other = deliveries.alias("other")

_counted = deliveries.alias("counted")

_IS_OF_BATCH = _waiting.c.priority <= literal_column(str(PRIORITY_BATCH))

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

_UNLIMITED = 1_000_000
MAX_CRASHES = 10
"""Leases that expire without progress before a delivery is dead: restarts must not make it so."""

# Literals, because SQLAlchemy names no tables in RETURNING of SQLite.
_IS_OTHER_OF_CONVERSATION = and_(
    _other.c.conversation_key == literal_column("deliveries.conversation_key"),
    _other.c.id != literal_column("deliveries.id"),
)
_HAS_OTHER_REPLY = exists().where(
    _IS_OTHER_OF_CONVERSATION,
    _other.c.state == literal("done"),
    _other.c.posting_status == literal("done"),
)
_OTHERS_RECEIVED_AT = (
    select(func.min(_other.c.received_at))
    .where(
        _IS_OTHER_OF_CONVERSATION,
        _other.c.state.in_([literal(state) for state in ("done", "superseded", "dead")]),
    )
    .scalar_subquery()
)
_DELETE_SLOTS = slots.delete().where(slots.c.delivery_id == bindparam("of_delivery"))


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


class DeliveryQueue:
    """The stored deliveries. Each method is one transaction, and raises `StoreUnavailable` if that
    fails.
    """

    def __init__(
        self,
        database: Database,
        checkpoints: Checkpoints,
        counters: CounterWriter,
        *,
        batch: int | None = None,
    ) -> None:
        """With `batch`, only deliveries of this batch are claimed."""
        self._database = database
        self._checkpoints = checkpoints
        self._counters = counters
        self._acceptor = BatchAcceptor(database, counters)
        now = database.now
        self._claims = ClaimStatements(now, batch)
        self._renew = (
            deliveries.update()
            .where(is_held(now))
            .values(lease_until=now + LEASE_MS)
            .returning(_c.lease_until)
        )
        self._finish = (
            deliveries.update()
            .where(is_held(now))
            .values(NO_WORKER | {"finished_at": now})
            .returning(
                _c.id,
                _c.finished_at,
                _c.queued_at,
                _c.received_at,
                _c.failures,
                _c.is_command,
                _c.posting_status,
                _HAS_OTHER_REPLY.label("has_other_reply"),
                _OTHERS_RECEIVED_AT.label("others_received_at"),
            )
        )

    def of_batch(self, batch: int) -> DeliveryQueue:
        """Return the queue for a process that works only on a batch."""
        return DeliveryQueue(self._database, self._checkpoints, self._counters, batch=batch)

    def accept(
        self,
        batch: Sequence[NewDelivery],
        *,
        finds_replays: bool = True,
        counts: Counts | None = None,
    ) -> list[Accepted]:
        """Store a batch durably, all or nothing; return one outcome for each delivery, in order.

        If the GUID is already stored, the outcome is "duplicate". A dead or ignored delivery that
        GitHub sends again is no duplicate: its row is updated, and its checkpoints stay. If the
        same body was queued under another GUID in the last `REPLAY_WINDOW_H` hours, the outcome is
        "replay", if the batch `finds_replays`. `counts` are added to counters.
        """
        return self._acceptor.accept(batch, finds_replays=finds_replays, counts=counts)

    def claim(
        self,
        *,
        worker: str,
        lease_s: float = EXPIRY.lease_s,
        max_crashes: int = MAX_CRASHES,
        concurrency: int = _UNLIMITED,
    ) -> Lease | None:
        """Claim the due delivery with the smallest sort key; None if there is none.

        First, deliveries whose lease has expired are queued again; after `max_crashes` crashes they
        become dead. Skips paused deliveries, and deliveries of a conversation with a running or an
        older queued delivery. While `concurrency` deliveries run on all machines together, only a
        command is claimed, and only one more. A delivery of a batch is claimed if no other is due.
        """
        terms = {"by": worker, "lease_ms": int(lease_s * 1000), **self._claims.places(concurrency)}
        with self._database.writing() as connection:
            # otherwise two claims together could exceed `concurrency`
            self._database.lock_claims(connection)
            dead = take_back_expired(connection, self._database, self._counters, max_crashes)
            row = connection.execute(self._claims.claim, terms).first()
            if row is None:
                row = connection.execute(self._claims.claim_command, terms).first()
        for guid, repository, reason in dead:
            ids = {"delivery": guid, "repository": repository}
            log.error("delivery finished", extra={**ids, "state": "dead", "reason": reason})
        if row is None:
            return None
        return _lease(row)

    def find_blocking(self, guid: str) -> str | None:
        """Return the delivery of the same conversation that a queued delivery waits for; None if
        there is none.
        """
        with self._database.reading() as connection:
            return connection.execute(select_blocking(guid)).scalar()

    def renew(self, lease: Lease, *, lease_s: float = EXPIRY.lease_s) -> Lease:
        """Extend the lease to `lease_s` seconds from now. Raises `LeaseLost`."""
        terms = {"lease_ms": int(lease_s * 1000), **lease_parameters(lease)}
        with self._database.writing(durable=False) as connection:
            lease_until = connection.execute(self._renew, terms).scalar()
        if lease_until is None:
            raise lease_lost(lease)
        return replace(lease, lease_until=from_ms(lease_until))

    def release_all_leases(self) -> int:
        """End all leases; return how many. Call this only at the start of the only process on the
        database.

        The leases are then from a process that has ended. The next `claim` counts a crash for each
        delivery with such a lease, unless the column `has_progress` is true.
        """
        end = deliveries.update().where(
            _c.state == literal("running"), _c.lease_until > self._database.now
        )
        with self._database.writing() as connection:
            return connection.execute(end.values(lease_until=self._database.now)).rowcount

    def seconds_until_due(self, *, concurrency: int = _UNLIMITED) -> float | None:
        """Return the seconds until a delivery is due or a lease expires, at least 0; None if there
        is neither.

        Call `claim` when it returns 0. Ignores deliveries that `claim` skips. While `concurrency`
        deliveries run, only a command that is due and the expiry of a lease count.
        """
        with self._database.reading() as connection:
            due_at, expires_at, now = connection.execute(
                self._claims.next_times, self._claims.places(concurrency)
            ).one()
        moments = [moment for moment in (due_at, expires_at) if moment is not None]
        if not moments:
            return None
        wait_s: float = (min(moments) - now) / 1000
        return max(0.0, wait_s)

    def finish(
        self,
        lease: Lease,
        end: End,
        *,
        took_s: float | None = None,
        changes: Sequence[Change] = (),
        github_requests: int = 0,
    ) -> None:
        """End the delivery, and store its changes in the same transaction. Raises `LeaseLost`.

        For "ignored", also deletes the digest, so that the same body under another id is processed.
        `github_requests` is the number of requests that this attempt sent.
        """
        prepared = prepare(changes)
        values: dict[str, object] = {
            "state": end.state,
            "reason": end.reason,
            "cause": None,
            "reason_kind": end.kind,
            "handler": end.handler,
            "duration_ms": None,
            "github_requests": (lease.github_requests or 0) + github_requests,
        }
        if took_s is not None:
            values["duration_ms"] = round(took_s * 1000)
        if end.state == "ignored":
            values["digest"] = None
        if end.state == "dead":
            values |= {"failures": lease.failures + 1, "cause": find_cause(end.reason)}
        if end.posting is not None:
            values |= {"posting_status": end.posting, "posting_error": None}
        with self._database.writing() as connection:
            row = connection.execute(
                self._finish, prepared.columns | values | lease_parameters(lease)
            ).first()
            if row is None:
                raise lease_lost(lease)
            counts = self._checkpoints.apply(connection, row.id, prepared)
            release_locks(connection, row.id)
            if lease.attempt > 1:  # a delivery that reserves a slot is postponed
                connection.execute(_DELETE_SLOTS, {"of_delivery": row.id})
            if lease.batch_id is None:
                counts += count_finished(lease, end, row)
            group = Group(lease.repository, lease.author)
            self._counters.add(connection, counts, group, at=row.finished_at)

    def reschedule(
        self,
        lease: Lease,
        *,
        at: datetime,
        reason: str,
        failed: bool,
        counts: bool,
        github_requests: int = 0,
    ) -> None:
        """Queue the delivery again, due at `at` or in two days, whichever is earlier. Raises
        `LeaseLost`.

        `failed` increments the delivery's `failures`, and deletes the slots that the delivery has
        reserved. `counts` increments its `attempts`, which `limits.max_attempts` limits.
        """
        changes = reason_columns(reason)
        if failed:
            first_failure_at = func.coalesce(_c.first_failure_at, self._database.now)
            changes |= {"failures": _c.failures + 1, "first_failure_at": first_failure_at}
        if counts:
            changes["attempts"] = _c.attempts + 1
        self._queue_again(lease, at, changes, github_requests, loses_slots=failed)

    def postpone(
        self, lease: Lease, *, at: datetime, reason: str, github_requests: int = 0
    ) -> None:
        """Queue the delivery again, due at `at`, as `reschedule`, although nothing failed.

        If it failed and made no progress since then, it keeps the reason of the failure.
        """
        columns: dict[str, object] = {
            name: func.coalesce(FAILURE_COLUMNS[name], new)
            for name, new in reason_columns(reason).items()
        }
        self._queue_again(lease, at, columns, github_requests)

    def _queue_again(
        self,
        lease: Lease,
        at: datetime,
        changes: dict[str, object],
        github_requests: int,
        *,
        loses_slots: bool = False,
    ) -> None:
        earlier = func.min if self._database.file is not None else func.least
        values: dict[str, object] = {
            "state": "queued",
            "due_at": earlier(to_ms(at), self._database.now + FURTHEST_MS),
            "github_requests": (lease.github_requests or 0) + github_requests,
        }
        update = (
            deliveries.update()
            .where(is_held(self._database.now))
            .values(NO_WORKER | values | changes)
            .returning(_c.id)
        )
        with self._database.writing() as connection:
            row_id = connection.execute(update, lease_parameters(lease)).scalar()
            if row_id is None:
                raise lease_lost(lease)
            release_locks(connection, row_id)
            if loses_slots:
                connection.execute(_DELETE_SLOTS, {"of_delivery": row_id})

    def reschedule_waiting(self, *, forget_servers: bool = True) -> int:
        """Make all waiting deliveries due now; return their number. Also deletes all reserved slots
        of rate limits.

        Call it at the start and after a change of settings, because the cause of a wait may be
        gone. `forget_servers` also ends the holds of rate limits, even if GitHub or Claude asked to
        wait longer. Pass False at a start if other processes may be running.
        """
        due = deliveries.update().where(
            _c.state == literal("queued"), _c.due_at > self._database.now
        )
        reset = {"next_at": 0}
        if forget_servers:
            reset["held_until"] = 0
        # locks as a worker does: delivery, rate limit, slot
        with self._database.writing() as connection:
            # otherwise a deadlock with `accept`, which also changes many rows
            self._database.lock_accepts(connection)
            waited = connection.execute(due.values(due_at=self._database.now)).rowcount
            connection.execute(rate_limits.update().values(reset))
            connection.execute(slots.delete())
        return waited

    def retry(self, guid: str, *, at: datetime | None = None) -> State | None:
        """Queue a dead or ignored delivery again, or make a queued one due now. It keeps its
        checkpoints, and is first; of a batch, first behind webhooks. `at` becomes its `queued_at`,
        by which the deliveries of one request are found; None: now.

        Return the new state; None for an unknown GUID. A dead or ignored delivery without a stored
        body stays so.
        """
        now = self._database.now
        is_of_batch = _c.batch_id.is_not(None)  # stays behind webhooks
        # as `sort_key()` computes it
        front = case(
            (is_of_batch, now - PRIORITY_BATCH * HEAD_START_MS),
            else_=now - PRIORITY_BOT_REQUEST * HEAD_START_MS,
        )
        queued_at: object = now
        if at is not None:
            queued_at = to_ms(at)
        first = {
            "queued_at": queued_at,
            "due_at": now,
            "priority": case((is_of_batch, PRIORITY_BATCH), else_=PRIORITY_BOT_REQUEST),
            "sort_key": front,
        }
        not_later = {"sort_key": case((_c.sort_key < front, _c.sort_key), else_=front)}
        at_once = (
            deliveries.update()
            .where(_c.guid == guid, _c.state == literal("queued"))
            .values(first | not_later)
        )
        is_ended = or_(_c.state == literal("dead"), _c.state == literal("ignored"))
        is_retried = and_(_c.guid == guid, is_ended, _c.body.is_not(None))
        again = (
            deliveries.update()
            .where(is_retried)
            .values(first)
            .values(attempts=0, failures=0, crashes=0, first_failure_at=None)
            .values(state="queued", reason_kind=None, **reason_columns("an operator runs it again"))
            .values(finished_at=None, duration_ms=None, discarded_at=None)
        )
        with self._database.writing() as connection:
            connection.execute(at_once)
            ended = connection.execute(
                select(LISTED_STATE, _c.finished_at, _c.repository, _c.batch_id)
                .where(is_retried)
                .with_for_update()
            ).first()
            connection.execute(again)
            if ended is not None and ended.batch_id is None:
                self._counters.uncount_end(
                    connection, ended.listed_state, ended.repository, ended.finished_at
                )
            return connection.execute(select(_c.state).where(_c.guid == guid)).scalar()

    def discard(self, guid: str) -> bool:
        """Take a dead delivery off the list of dead ones. Return False if it is not dead, or
        discarded already.

        Nothing is deleted, and `retry` takes it back. Its hour counts it as discarded, no longer as
        dead; the totals keep both.
        """
        is_listed = and_(_c.guid == guid, _c.state == literal("dead"), _c.discarded_at.is_(None))
        update = (
            deliveries.update()
            .where(is_listed)
            .values(discarded_at=self._database.now)
            .returning(_c.finished_at, _c.repository, _c.author, _c.batch_id)
        )
        with self._database.writing() as connection:
            row = connection.execute(update).first()
            if row is not None and row.batch_id is None:
                self._counters.uncount_end(connection, "dead", row.repository, row.finished_at)
                group = Group(row.repository, row.author)
                self._counters.add(connection, count_end("discarded"), group, at=row.finished_at)
        return row is not None


def _lease(row: Row[Any]) -> Lease:
    try:
        body = decompress(row.body)
    except DamagedError:
        body = b""  # so that only this delivery fails
    return from_row(Lease, row, body=body)
