"""Stores a batch of new deliveries in one transaction, except those whose GUID or body is already stored."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Boolean, Connection, Row, and_, bindparam, or_, select

from hls_handler.db.counters import LAST_WEBHOOK, CounterWriter, Counts, count_end
from hls_handler.db.database import Database
from hls_handler.db.tables import deliveries, slots
from hls_handler.db.values import HOUR_MS, compress, literal
from hls_handler.deliveries import CAUGHT_UP, CONCLUDED, Accepted, NewDelivery, State, sort_key
from hls_handler.events import event_key

log = logging.getLogger(__name__)

_ROUTED_AGAIN: tuple[State, ...] = ("dead", "ignored")  # processed again if GitHub sends them again
_RECORD_WEBHOOK_EVERY_MS = 1000

_c = deliveries.c
_ROUTE_AGAIN = (
    deliveries.update()
    .where(_c.guid == bindparam("known_guid"), _c.state.in_((literal("dead"), literal("ignored"))))
    .values(attempts=0, failures=0, crashes=0, first_failure_at=None)
)
_DELETE_SLOTS = slots.delete().where(slots.c.delivery_id.in_(bindparam("delivery_ids", expanding=True)))
_SUPERSEDE = (
    deliveries.update()
    .where(_c.id.in_(bindparam("ids", expanding=True)), _c.state == literal("queued"))  # a worker may have claimed it
    .values(state="superseded", reason=bindparam("why"), finished_at=bindparam("now"))
    .returning(_c.id, _c.guid, _c.repository, _c.reason)
)


class Stored(msgspec.Struct, frozen=True):
    """Columns of a stored delivery, to compare it with a new one that has the same GUID."""

    state: State
    event: str
    repository_id: int | None
    number: int | None
    digest: bytes | None  # None: the body was not stored
    finished_at: int | None = None  # ms

    def is_same_as(self, new: NewDelivery) -> bool:
        """Return whether `new` has the same event, repository, number and digest. A digest of None equals any other.

        GitHub does not sign the GUID. Without this check, a sender who reuses a GUID could replace the stored delivery.
        """
        digest_fits = self.digest is None or new.digest is None or self.digest == new.digest
        return digest_fits and (self.event, self.repository_id, self.number) == (
            new.event,
            new.repository_id,
            new.number,
        )


@dataclass(slots=True)
class Duplicates:
    """Deliveries that a new one may duplicate or replay: stored deliveries, and earlier deliveries of the batch."""

    stored: dict[str, Stored] = field(default_factory=dict)  # by GUID
    bodies: dict[bytes, dict[str, State]] = field(default_factory=dict)  # by digest, then by GUID
    rejects_replays: bool = True

    def add(self, new: NewDelivery) -> None:
        digest = new.digest if new.state == "queued" else None
        self.stored[new.guid] = Stored(new.state, new.event, new.repository_id, new.number, digest)
        if digest and self.rejects_replays:
            self.bodies.setdefault(digest, {})[new.guid] = new.state


class BatchAcceptor:
    def __init__(self, database: Database, counters: CounterWriter) -> None:
        self._database, self._counters = database, counters
        self._last_webhooks: dict[str, int] = {}  # the last recorded time (ms), by repository; "" for all
        is_same_body = and_(database.is_one_of(_c.digest, "digests"), _c.queued_at >= bindparam("since"))
        self._find_existing = (
            select(_c.guid, _c.state, _c.event, _c.repository_id, _c.number, _c.digest, _c.queued_at, _c.finished_at)
            .where(or_(database.is_one_of(_c.guid, "guids"), is_same_body))
            .order_by(_c.id)
            .with_for_update(read=True, key_share=True)  # wait if retention is deleting the row: the GUID is then new
        )
        # With the state "queued" alone, PostgreSQL may read the index `ix_deliveries_queued` of the whole queue.
        is_open = _c.state.in_((literal("queued"), literal("running")))
        may_end = or_(_c.event == "pull_request", bindparam("is_closing", type_=Boolean()))
        of_conversation = and_(database.is_one_of(_c.conversation_key, "keys"), is_open, may_end)
        self._find_open = select(
            _c.id, _c.guid, _c.conversation_key, _c.event, _c.action, _c.head_sha, _c.request_id, _c.state
        ).where(or_(database.is_one_of(_c.guid, "guids"), of_conversation))

    def accept(self, batch: Sequence[NewDelivery], *, replay_window_h: float, counts: Counts | None) -> list[Accepted]:
        """See `DeliveryQueue.accept`."""
        rows = [_row(new) for new in batch]
        increments = _count_arrivals(batch) + Counter(counts or {})
        with self._database.writing() as connection:
            now = self._database.lock_accepts(connection)
            existing = self._existing(connection, batch, now, window_ms=int(replay_window_h * HOUR_MS))
            existing_guids, ended = frozenset(existing.stored), dict(existing.stored)
            outcomes = decide_outcomes(batch, existing)
            stored = {new.guid: i for i, new in enumerate(batch) if outcomes[i].outcome in ("queued", "ignored")}
            for i in stored.values():
                rows[i] |= _times(batch[i], now)
            _store(self._database, connection, {guid: rows[i] for guid, i in stored.items()}, existing_guids, now)
            superseded = self._supersede(connection, [batch[i] for i in stored.values()], now)
            for old in superseded:
                increments += count_end("superseded", repository=old.repository)
            self._counters.add(connection, increments + _count_outcomes(batch, outcomes))
            for guid in sorted(existing_guids & stored.keys()):
                self._counters.uncount_end(connection, ended[guid].state, ended[guid].finished_at or now)
            recorded = self._record_webhooks(connection, _webhook_labels(batch, increments), now)
        self._last_webhooks.update(recorded)
        for old in superseded:
            ids = {"delivery": old.guid, "repository": old.repository}
            log.info("delivery finished", extra={**ids, "state": "superseded", "reason": old.reason})
        return outcomes

    def _record_webhooks(self, connection: Connection, labels: Collection[str], now: int) -> dict[str, int]:
        due = {
            label: now for label in labels if abs(now - self._last_webhooks.get(label, 0)) >= _RECORD_WEBHOOK_EVERY_MS
        }
        self._counters.set_values(connection, LAST_WEBHOOK, due)
        return due

    def _existing(
        self, connection: Connection, batch: Sequence[NewDelivery], now: int, *, window_ms: int
    ) -> Duplicates:
        found = Duplicates(rejects_replays=window_ms > 0)
        guids = {new.guid for new in batch}
        digests = {new.digest for new in batch if new.state == "queued" and new.digest and found.rejects_replays}
        terms = {"guids": list(guids), "digests": list(digests), "since": now - window_ms}
        for row in connection.execute(self._find_existing, terms):
            if row.guid in guids:
                found.stored[row.guid] = Stored(
                    row.state, row.event, row.repository_id, row.number, row.digest, row.finished_at
                )
            if row.digest in digests and row.queued_at >= terms["since"]:
                found.bodies.setdefault(row.digest, {})[row.guid] = row.state
        return found

    def _supersede(self, connection: Connection, stored: Sequence[NewDelivery], now: int) -> list[Row[Any]]:
        ended: list[Row[Any]] = []
        newer = [new for new in stored if new.supersedes != "nothing" and new.conversation_key is not None]
        if not newer:
            return ended
        terms = {
            "guids": [new.guid for new in newer],
            "keys": [new.conversation_key for new in newer],
            "is_closing": any(new.supersedes == "all" for new in newer),
        }
        rows = connection.execute(self._find_open, terms).all()
        new_ids, waiting = {row.guid: row.id for row in rows}, defaultdict[str, list[Row[*tuple[Any, ...]]]](list)
        for row in rows:
            if row.state == "queued":
                waiting[row.conversation_key].append(row)
        for new in reversed(newer):  # the newest ends most
            older = [row for row in waiting[str(new.conversation_key)] if row.id < new_ids[new.guid]]
            ids = {row.id for row in older if is_superseded(row, new)}
            if ids:
                ended += connection.execute(_SUPERSEDE, {"ids": list(ids), "why": _describe_end(new), "now": now})
                still = [row for row in waiting[str(new.conversation_key)] if row.id not in ids]
                waiting[str(new.conversation_key)] = still
        if ended:
            connection.execute(_DELETE_SLOTS, {"delivery_ids": [old.id for old in ended]})
        return ended


def is_superseded(old: Row[*tuple[Any, ...]], new: NewDelivery) -> bool:
    """Return whether `new` makes a queued delivery of its conversation that was stored before it unnecessary."""
    if new.is_caught_up and not old.request_id.startswith(CAUGHT_UP):
        return False  # catch-up reads in order, but late: webhooks that were stored before may be newer
    if new.supersedes == "all" or old.event != "pull_request":
        return new.supersedes == "all"
    if new.supersedes == "older_commits":
        return None not in (old.head_sha, new.head_sha) and old.head_sha != new.head_sha
    return old.action == "synchronize" and (new.supersedes == "pushes" or old.request_id.startswith(CONCLUDED))


def _describe_end(new: NewDelivery) -> str:
    if new.supersedes == "all":
        return f"{event_key(new.event, new.action)} ended the work on this conversation (delivery {new.guid})"
    if new.supersedes == "older_commits":
        return f"a newer commit, {new.head_sha}, was pushed before this delivery started (delivery {new.guid})"
    return f"a review of this pull request was requested before this delivery started (delivery {new.guid})"


def decide_outcomes(batch: Sequence[NewDelivery], existing: Duplicates) -> list[Accepted]:
    """Return one outcome for each delivery of the batch. The deliveries to store are added to `existing`."""
    outcomes = []
    for new in batch:
        outcome = _decide(new, existing)
        outcomes.append(outcome)
        if outcome.outcome in ("queued", "ignored"):
            existing.add(new)
    return outcomes


def _decide(new: NewDelivery, existing: Duplicates) -> Accepted:
    stored = existing.stored.get(new.guid)
    if stored is not None and not (stored.state in _ROUTED_AGAIN and stored.is_same_as(new)):
        return Accepted("duplicate", stored.state, new.guid)
    if new.state == "queued" and new.digest:
        first = next((guid for guid in existing.bodies.get(new.digest, {}) if guid != new.guid), None)
        if first is not None:
            return Accepted("replay", existing.bodies[new.digest][first], first)
    return Accepted(new.state, new.state, new.guid, new.reason)


def _row(new: NewDelivery) -> dict[str, object]:
    queued = new.state == "queued"
    return {
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
        "digest": new.digest if queued else None,
        "body": compress(new.body) if queued and new.body else None,
    }


def _times(new: NewDelivery, now: int) -> dict[str, object]:
    is_queued = new.state == "queued"
    reason = (
        f"waits {new.settle_s:g} s for a newer push (limits.settle_s)" if is_queued and new.settle_s else new.reason
    )
    return {
        "queued_at": now,
        "due_at": now + round(new.settle_s * 1000),
        "sort_key": sort_key(now, new.priority),
        "finished_at": None if is_queued else now,
        "reason": reason,
    }


def _store(
    database: Database,
    connection: Connection,
    rows: Mapping[str, dict[str, object]],
    existing_guids: frozenset[str],
    now: int,
) -> None:
    new = [row for guid, row in rows.items() if guid not in existing_guids]
    for row in new:
        row["received_at"] = now
    database.insert_rows(connection, deliveries, new)
    for guid in sorted(existing_guids & rows.keys()):
        connection.execute(_ROUTE_AGAIN, rows[guid] | {"known_guid": guid})


def _webhook_labels(batch: Sequence[NewDelivery], counted: Counts) -> set[str]:
    # Deliveries that catch-up read, and requested reviews, do not show that webhooks arrive.
    webhooks = (new for new in batch if not (new.is_caught_up or new.is_requested))
    names = {new.repository for new in webhooks if new.repository is not None}
    return names | ({""} if ("webhooks", "") in counted else set())


def _count_arrivals(batch: Sequence[NewDelivery]) -> Counter[tuple[str, str]]:
    arrivals: Counter[tuple[str, str]] = Counter()
    for new in batch:
        if new.is_requested:  # no event; and after a crash, its command stores it again
            continue
        arrivals["caught_up" if new.is_caught_up else "webhooks", ""] += 1
        arrivals["event", event_key(new.event, new.action)] += 1
        if new.repository is not None:
            arrivals["repository", new.repository] += 1
    return arrivals


def _count_outcomes(batch: Sequence[NewDelivery], outcomes: Sequence[Accepted]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for new, outcome in zip(batch, outcomes, strict=True):
        if outcome.outcome in ("duplicate", "replay"):
            if not new.is_requested:
                counts["outcome", outcome.outcome] += 1
        elif outcome.outcome == "ignored":
            counts += count_end("ignored", repository=new.repository, kind=new.reason_kind)
    return counts
