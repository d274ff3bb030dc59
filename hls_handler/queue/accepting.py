"""Stores a batch of new deliveries in one transaction, except those whose GUID or body is already
stored.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Boolean, Connection, Row, and_, bindparam, case, or_, select

from hls_handler.db.counters import (
    LAST_WEBHOOK,
    NO_GROUP,
    RENAMED,
    CounterWriter,
    Counts,
    Group,
    count_end,
)
from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries, questions, slots
from hls_handler.db.values import HOUR_MS, compress, literal
from hls_handler.deliveries import (
    CAUGHT_UP,
    CONCLUDED,
    UNDO,
    Accepted,
    NewDelivery,
    State,
    find_cause,
    sort_key,
)
from hls_handler.events import event_key

log = logging.getLogger(__name__)

_ROUTED_AGAIN: tuple[State, ...] = ("dead", "ignored")  # processed again if GitHub sends them again
_RECORD_WEBHOOK_EVERY_MS = 1000
REPLAY_WINDOW_H = 72
"""A body is recognised as a duplicate under another GUID for this time, in which GitHub itself can
send a webhook again.
"""

Known = Row[*tuple[Any, ...]] | NewDelivery
"""A delivery with the GUID of a new one: a stored row, or an earlier delivery of the batch."""

_c = deliveries.c
_IS_DISCARDED = and_(_c.state == literal("dead"), _c.discarded_at.is_not(None))
LISTED_STATE = case((_IS_DISCARDED, "discarded"), else_=_c.state).label("listed_state")
_ROUTE_AGAIN = (
    deliveries.update()
    .where(_c.guid == bindparam("known_guid"), _c.state.in_((literal("dead"), literal("ignored"))))
    .values(attempts=0, failures=0, crashes=0, first_failure_at=None, discarded_at=None)
)
_DELETE_QUESTIONS = questions.delete().where(
    questions.c.delivery_id.in_(select(_c.id).where(_c.guid == bindparam("known_guid")))
)
_DELETE_SLOTS = slots.delete().where(
    slots.c.delivery_id.in_(bindparam("delivery_ids", expanding=True))
)
_SUPERSEDE = (
    deliveries.update()
    .where(
        _c.id.in_(bindparam("ids", expanding=True)), _c.state == literal("queued")
    )  # a worker may have claimed it
    .values(state="superseded", reason=bindparam("why"), cause=None, finished_at=bindparam("now"))
    .returning(_c.id, _c.guid, _c.repository, _c.author, _c.reason, _c.batch_id)
)


_Increments = defaultdict[Group, Counter[tuple[str, str]]]


class BatchAcceptor:
    def __init__(self, database: Database, counters: CounterWriter) -> None:
        self._database = database
        self._counters = counters
        # the last recorded time (ms), by repository; "" for all
        self._last_webhooks: dict[str, int] = {}
        is_same_body = and_(
            database.is_one_of(_c.digest, "digests"), _c.queued_at >= bindparam("since")
        )
        self._find_known = (
            select(
                _c.guid,
                _c.state,
                LISTED_STATE,
                _c.event,
                _c.repository_id,
                _c.number,
                _c.digest,
                _c.queued_at,
                _c.finished_at,
                _c.repository,
            )
            .where(or_(database.is_one_of(_c.guid, "guids"), is_same_body))
            .order_by(_c.id)
            .with_for_update(
                read=True, key_share=True
            )  # wait if retention is deleting the row: the GUID is then new
        )
        # With the state "queued" alone, PostgreSQL may read the index `ix_deliveries_queued` of the
        # whole queue.
        is_open = _c.state.in_((literal("queued"), literal("running")))
        may_end = or_(_c.event == "pull_request", bindparam("is_closing", type_=Boolean()))
        is_of_conversation = and_(database.is_one_of(_c.conversation_key, "keys"), is_open, may_end)
        self._find_open = select(
            _c.id,
            _c.guid,
            _c.conversation_key,
            _c.event,
            _c.action,
            _c.head_sha,
            _c.request_id,
            _c.state,
        ).where(or_(database.is_one_of(_c.guid, "guids"), is_of_conversation))

    def accept(
        self, batch: Sequence[NewDelivery], *, finds_replays: bool, counts: Counts | None
    ) -> list[Accepted]:
        """See `DeliveryQueue.accept`."""
        rows = [make_row(new) for new in batch]  # compressed before the transaction
        increments = _count_arrivals(batch)
        increments[NO_GROUP].update(counts or {})
        guids = {new.guid for new in batch}
        digests = {
            new.digest for new in batch if new.state == "queued" and new.digest and finds_replays
        }
        with self._database.writing() as connection:
            now = self._database.lock_accepts(connection)
            since = now - REPLAY_WINDOW_H * HOUR_MS
            terms = {"guids": list(guids), "digests": list(digests), "since": since}
            present_rows = connection.execute(self._find_known, terms).all()
            former = {row.guid: row for row in present_rows if row.guid in guids}
            bodies = _group_bodies(present_rows, digests, since)

            outcomes: list[Accepted] = []
            received: dict[str, Known] = dict(former)
            accepted: dict[str, NewDelivery] = {}
            accepted_rows: dict[str, dict[str, object]] = {}
            for new, row in zip(batch, rows, strict=True):
                outcome = _decide(new, received, bodies)
                outcomes.append(outcome)
                if outcome.outcome in ("queued", "ignored"):
                    received[new.guid] = new
                    if new.state == "queued" and new.digest in bodies:
                        bodies[new.digest][new.guid] = new.state
                    accepted[new.guid] = new
                    accepted_rows[new.guid] = row | _times(new, now)

            routed_again = sorted(former.keys() & accepted.keys())
            inserted_rows = [
                row | {"received_at": now}
                for guid, row in accepted_rows.items()
                if guid not in former
            ]
            self._database.insert_rows(connection, deliveries, inserted_rows)
            for guid in routed_again:
                connection.execute(_ROUTE_AGAIN, accepted_rows[guid] | {"known_guid": guid})
                if accepted[guid].state == "ignored":  # without a body, and so without questions
                    connection.execute(_DELETE_QUESTIONS, {"known_guid": guid})
            superseded = self._supersede(connection, [*accepted.values()], now)

            webhook_rows = [row for row in inserted_rows if row["batch_id"] is None]
            increments[NO_GROUP]["stored", ""] += len(webhook_rows)
            for old in superseded:
                if old.batch_id is None:
                    increments[Group(old.repository, old.author)] += count_end("superseded")
            for new, outcome in zip(batch, outcomes, strict=True):
                increments[_group_of(new)] += _count_outcome(new, outcome)
            self._counters.add_all(connection, increments, at=now)
            for guid in routed_again:
                ended = former[guid]
                finished_at = ended.finished_at or now
                self._counters.uncount_end(
                    connection, ended.listed_state, ended.repository, finished_at
                )
            times = self._record_times(connection, batch, increments, now)
        self._last_webhooks.update(times)
        for old in superseded:
            fields = {"delivery": old.guid, "repository": old.repository, "reason": old.reason}
            log.info("delivery finished", extra={**fields, "state": "superseded"})
        return outcomes

    def _record_times(
        self,
        connection: Connection,
        batch: Sequence[NewDelivery],
        increments: _Increments,
        now: int,
    ) -> dict[str, int]:
        """Store when repositories sent their last webhook or were renamed; return the former."""
        times = {
            label: now
            for label in _webhook_labels(batch, increments)
            if abs(now - self._last_webhooks.get(label, 0)) >= _RECORD_WEBHOOK_EVERY_MS
        }
        self._counters.set_values(connection, LAST_WEBHOOK, times)
        renamed = {f"{new.former_name} {new.repository}": now for new in batch if new.former_name}
        self._counters.set_values(connection, RENAMED, renamed)
        return times

    def _supersede(
        self, connection: Connection, stored: Sequence[NewDelivery], now: int
    ) -> list[Row[Any]]:
        ended: list[Row[Any]] = []
        newer = [
            new
            for new in stored
            if new.supersedes != "nothing" and new.conversation_key is not None
        ]
        if not newer:
            return ended
        terms = {
            "guids": [new.guid for new in newer],
            "keys": [new.conversation_key for new in newer],
            "is_closing": any(new.supersedes == "all" for new in newer),
        }
        rows = connection.execute(self._find_open, terms).all()
        new_ids = {row.guid: row.id for row in rows}
        waiting = defaultdict[str, list[Row[*tuple[Any, ...]]]](list)
        for row in rows:
            if row.state == "queued":
                waiting[row.conversation_key].append(row)
        for new in reversed(newer):  # the newest ends most
            older = [
                row for row in waiting[str(new.conversation_key)] if row.id < new_ids[new.guid]
            ]
            ids = {row.id for row in older if is_superseded(row, new)}
            if ids:
                ended += connection.execute(
                    _SUPERSEDE, {"ids": list(ids), "why": _describe_end(new), "now": now}
                )
                still = [row for row in waiting[str(new.conversation_key)] if row.id not in ids]
                waiting[str(new.conversation_key)] = still
        if ended:
            connection.execute(_DELETE_SLOTS, {"delivery_ids": [old.id for old in ended]})
        return ended


def is_superseded(old: Row[*tuple[Any, ...]], new: NewDelivery) -> bool:
    """Return whether `new` makes a queued delivery of its conversation that was stored before it
    unnecessary.
    """
    if old.request_id == UNDO:
        return False
    if new.is_caught_up and not old.request_id.startswith(CAUGHT_UP):
        # catch-up reads in order, but late: webhooks that were stored before may be newer
        return False
    if old.action == "reopened" and new.action == "closed":
        # GitHub may send the closing late; the worker reads whether the conversation is open
        return False
    if new.supersedes == "all" or old.event != "pull_request":
        return new.supersedes == "all"
    if new.supersedes == "older_commits":
        return None not in (old.head_sha, new.head_sha) and old.head_sha != new.head_sha
    return old.action == "synchronize" and (
        new.supersedes == "pushes" or old.request_id.startswith(CONCLUDED)
    )


def _describe_end(new: NewDelivery) -> str:
    if new.supersedes == "all":
        return (
            f"{event_key(new.event, new.action)} ended the work on this conversation (delivery"
            f" {new.guid})"
        )
    if new.supersedes == "older_commits":
        return (
            f"a newer commit, {new.head_sha}, was pushed before this delivery started (delivery"
            f" {new.guid})"
        )
    return (
        "a review of this pull request was requested before this delivery started (delivery"
        f" {new.guid})"
    )


def _group_bodies(
    rows: Iterable[Row[*tuple[Any, ...]]], digests: Collection[bytes], since: int
) -> dict[bytes, dict[str, State]]:
    """Return the states of the deliveries with each of these bodies: digest -> GUID -> state."""
    bodies: dict[bytes, dict[str, State]] = {digest: {} for digest in digests}
    for row in rows:
        if row.digest in digests and row.queued_at >= since:
            bodies[row.digest][row.guid] = row.state
    return bodies


def _decide(
    new: NewDelivery, received: Mapping[str, Known], bodies: Mapping[bytes, Mapping[str, State]]
) -> Accepted:
    old = received.get(new.guid)
    if old is not None and not (old.state in _ROUTED_AGAIN and _is_same(old, new)):
        return Accepted("duplicate", old.state, new.guid)
    if new.state == "queued" and new.digest:
        for guid, state in bodies.get(new.digest, {}).items():
            if guid != new.guid:
                return Accepted("replay", state, guid)
    return Accepted(new.state, new.state, new.guid, new.reason)


def _is_same(old: Known, new: NewDelivery) -> bool:
    """Return whether `new` has the same event, repository, number and digest. A digest of None
    equals any other.

    GitHub does not sign the GUID. Without this check, a sender who reuses a GUID could replace the
    stored delivery.
    """
    for name in ("event", "repository_id", "number"):
        if getattr(old, name) != getattr(new, name):
            return False
    return None in (old.digest, new.digest) or old.digest == new.digest


def make_row(new: NewDelivery) -> dict[str, object]:
    """Return the columns of a new delivery, without its times."""
    row: dict[str, object] = {
        "guid": new.guid,
        "event": new.event,
        "action": new.action,
        "request_id": new.request_id,
        "state": new.state,
        "reason": new.reason,
        "reason_kind": new.reason_kind,
        "repository_id": new.repository_id,
        "repository": new.repository,
        "number": new.number,
        "head_sha": new.head_sha,
        "author": new.author,
        "sender": new.sender,
        "title": new.title,
        "conversation_key": new.conversation_key,
        "is_command": new.is_command,
        "priority": new.priority,
        "batch_id": new.batch_id,
        "digest": None,
        "body": None,
    }
    if new.state == "queued":
        row["digest"] = new.digest
        if new.body:
            row["body"] = compress(new.body)
    return row


def _times(new: NewDelivery, now: int) -> dict[str, object]:
    times: dict[str, object] = {
        "queued_at": now,
        "due_at": now + round(new.settle_s * 1000),
        "sort_key": sort_key(now, new.priority),
        "finished_at": None,
        "reason": new.reason,
        "cause": None,
    }
    if new.state == "ignored":
        times["finished_at"] = now
    elif new.settle_s:
        reason = f"waits {new.settle_s:g} s for a newer push (limits.settle_s)"
        times |= {"reason": reason, "cause": find_cause(reason)}
    return times


def _webhook_labels(batch: Sequence[NewDelivery], increments: _Increments) -> set[str]:
    # Deliveries that catch-up read, and requested reviews, do not show that webhooks arrive.
    webhooks = (new for new in batch if not (new.is_caught_up or new.is_requested))
    labels = {new.repository for new in webhooks if new.repository is not None}
    if any(("webhooks", "") in counts for counts in increments.values()):
        labels.add("")
    return labels


def _group_of(new: NewDelivery) -> Group:
    return Group(new.repository, new.author)


def _count_arrivals(batch: Sequence[NewDelivery]) -> _Increments:
    arrivals: _Increments = defaultdict(Counter)
    for new in batch:
        if new.is_requested:  # no event; and after a crash, its command stores it again
            continue
        counts = arrivals[_group_of(new)]
        if new.is_caught_up:
            counts["caught_up", ""] += 1
        else:
            counts["webhooks", ""] += 1
        counts["event", event_key(new.event, new.action)] += 1
    return arrivals


def _count_outcome(new: NewDelivery, outcome: Accepted) -> Counter[tuple[str, str]]:
    if outcome.outcome == "ignored":
        return count_end("ignored", kind=new.reason_kind)
    counts: Counter[tuple[str, str]] = Counter()
    if outcome.outcome in ("duplicate", "replay") and not new.is_requested:
        counts["outcome", outcome.outcome] = 1
    return counts
