"""Retention: deletes old deliveries, and counters by hour in small batches.

Keeps the sums of replies and costs for each prompt, and the cost of the reviews of each pull
request.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Text,
    and_,
    case,
    cast,
    exists,
    func,
    or_,
    select,
)

from hls_handler.db.counters import HOURLY, TOTAL
from hls_handler.db.database import Database
from hls_handler.db.tables import (
    calls,
    counters,
    deleted_calls,
    deleted_review_calls,
    deliveries,
    findings,
    questions,
    system_texts,
)
from hls_handler.db.values import literal
from hls_handler.store.call_rows import name_batch_costs, sum_calls

_ADVISORY_LOCK = 7_246_176  # identifies retention

_c = deliveries.c
_older = deliveries.alias("older")
_IS_FINISHED = or_(
    *(_c.state == literal(state) for state in ("done", "ignored", "superseded", "dead"))
)
_MAY_RUN_AGAIN = or_(*(_older.c.state == literal(state) for state in ("queued", "running", "dead")))
_IS_NEEDED_BY_NONE = ~exists().where(
    _older.c.conversation_key == _c.conversation_key, _older.c.id < _c.id, _MAY_RUN_AGAIN
)
"""Condition: no older delivery of the conversation may still run. This row may supersede the older
delivery.
"""

_paid = calls.alias("paid")
_hit = calls.alias("hit")
_IS_USED = exists().where(
    _paid.c.delivery_id == _c.id, _hit.c.paid_by == _paid.c.id, _hit.c.delivery_id != _c.id
)
"""Condition: the cache of replies has used a reply to this delivery for another one."""

_f = findings.c
_closing = deliveries.alias("closing")
_LAST_ACTION = (
    select(_closing.c.action)
    .where(
        _closing.c.conversation_key == cast(_f.repository_id, Text) + "#" + cast(_f.number, Text),
        _closing.c.event == "pull_request",
        _closing.c.action.in_(["closed", "reopened"]),
    )
    .order_by(_closing.c.id.desc())
    .limit(1)
    .scalar_subquery()
)
_IS_CLOSED = _LAST_ACTION == "closed"


@contextmanager
def exclusive(database: Database) -> Iterator[Connection]:
    """Begin a transaction that waits until no other process is deleting. SQLite has only one write
    lock.
    """
    with database.writing() as connection:
        if database.file is None:
            connection.execute(select(func.pg_advisory_xact_lock(_ADVISORY_LOCK)))
        yield connection


class RetentionStore:
    """Deletes old rows. Each method is one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def delete_deliveries(
        self, *, after: timedelta, limit: int, cached_for: timedelta = timedelta()
    ) -> int:
        """Delete up to `limit` deliveries that finished longer ago than `after`; return how many.

        Deletes their checkpoints, calls and replies, too. Keeps the sums of the calls. Keeps a
        delivery while an older delivery of the same conversation may still run, and while another
        one uses its replies, or may use them: for `cached_for` after the reply.
        """
        cached_since = self._database.now - cached_for // timedelta(milliseconds=1)
        may_be_used = exists().where(
            _paid.c.delivery_id == _c.id,
            _paid.c.cache_key.is_not(None),
            _paid.c.finished_at > cached_since,
        )
        is_unneeded = and_(_IS_NEEDED_BY_NONE, ~may_be_used, ~_IS_USED)
        with exclusive(self._database) as connection:
            ids = self._lock_finished(connection, is_unneeded, after=after, limit=limit)
            if ids:
                self._keep_sums(connection, ids)
                connection.execute(deliveries.delete().where(_c.id.in_(ids)))
        return len(ids)

    def delete_bodies(self, *, after: timedelta, limit: int) -> int:
        """Delete the bodies of up to `limit` deliveries that finished longer ago than `after`, and
        the questions that were asked about them; return how many.

        Keeps the digests, which detect replays.
        """
        with exclusive(self._database) as connection:
            ids = self._lock_finished(connection, _c.body.is_not(None), after=after, limit=limit)
            if ids:
                connection.execute(deliveries.update().where(_c.id.in_(ids)).values(body=None))
                connection.execute(questions.delete().where(questions.c.delivery_id.in_(ids)))
        return len(ids)

    def mark_ignored_findings(self) -> None:
        """Count the open findings of pull requests that were closed as ignored, before the closing
        is deleted.
        """
        with exclusive(self._database) as connection:
            connection.execute(
                findings.update().where(_f.state == "open", _IS_CLOSED).values(state="ignored")
            )

    def delete_system_texts(self) -> None:
        """Delete the system texts that no stored question refers to."""
        is_used = exists().where(questions.c.system_digest == system_texts.c.digest)
        with exclusive(self._database) as connection:
            connection.execute(system_texts.delete().where(~is_used))

    def delete_counter_hours(self, *, after: timedelta) -> None:
        """Delete the counters of hours that began longer ago than `after`. The totals stay."""
        c = counters.c
        before = self._database.now - after // timedelta(milliseconds=1)
        with exclusive(self._database) as connection:
            connection.execute(
                counters.delete().where(c.name.in_(sorted(HOURLY)), c.hour > TOTAL, c.hour < before)
            )

    def _lock_finished(
        self, connection: Connection, which: ColumnElement[bool], *, after: timedelta, limit: int
    ) -> list[int]:
        before = self._database.now - after // timedelta(milliseconds=1)
        chosen: Select[int] = (
            select(_c.id)
            .where(_c.finished_at < before, _IS_FINISHED, which)
            .order_by(_c.finished_at)
            .limit(limit)
            .with_for_update(of=deliveries, skip_locked=True)
        )
        return list(connection.execute(chosen).scalars())

    def _keep_sums(self, connection: Connection, ids: list[int]) -> None:
        for row in sum_calls(connection, calls.c.delivery_id.in_(ids)):
            new = self._database.insert(deleted_calls).values(row._asdict())
            before = deleted_calls.c
            more = new.excluded
            is_later = func.coalesce(more["last_error_at"], -1) > func.coalesce(
                before.last_error_at, -1
            )
            sums = {
                name: before[name] + more[name]
                for name in ("replies", "cost_micro_usd", "calls_of_unknown_cost")
            }
            latest = {
                name: case((is_later, more[name]), else_=before[name])
                for name in ("last_error", "last_error_at")
            }
            connection.execute(
                new.on_conflict_do_update(index_elements=["prompt_id"], set_=sums | latest)
            )
        reviews_query = (
            select(
                calls.c.review_key,
                calls.c.batch_id,
                func.sum(calls.c.cost_micro_usd).label("cost_micro_usd"),
            )
            .where(
                calls.c.delivery_id.in_(ids),
                or_(calls.c.review_key.is_not(None), calls.c.batch_id.is_not(None)),
                calls.c.cost_micro_usd.is_not(None),
            )
            .group_by(calls.c.review_key, calls.c.batch_id)
        )
        for review in connection.execute(reviews_query).all():
            new = self._database.insert(deleted_review_calls).values(
                review_key=review.review_key or name_batch_costs(review.batch_id),
                cost_micro_usd=int(review.cost_micro_usd),
            )
            total = deleted_review_calls.c.cost_micro_usd + new.excluded["cost_micro_usd"]
            connection.execute(
                new.on_conflict_do_update(
                    index_elements=["review_key"], set_={"cost_micro_usd": total}
                )
            )
