"""Accepting deliveries: many in one transaction, each GUID and each body once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import msgspec
from sqlalchemy import CompoundSelect, Connection, Select, bindparam, literal_column, select, union_all
from sqlalchemy.sql.dml import ReturningInsert, ReturningUpdate

from hls_handler.deliveries import Accepted, NewDelivery, State
from hls_handler.errors import PayloadError
from hls_handler.events import event_key
from hls_handler.store.clock import HOUR_MS
from hls_handler.store.counters import ended
from hls_handler.store.database import Database
from hls_handler.store.packed import pack
from hls_handler.store.part import COUNTED_AT_THE_DOOR, LAST_WEBHOOK, Counts, Part, literal
from hls_handler.store.ranks import rank
from hls_handler.store.tables import counters, deliveries, turns

_ROUTED_AGAIN: tuple[State, ...] = ("dead", "ignored")  # when GitHub sends them again
_NOTED_EVERY_MS = 1000
_FROM_HERE_ON_TOO_BIG = 2**63

_c = deliveries.c
_older, _newer = deliveries.alias("older"), deliveries.alias("newer")
_BY_GUID = (
    select(_c.guid, _c.state, _c.event, _c.repository_id, _c.number, _c.digest)
    .where(_c.guid.in_(bindparam("guids", expanding=True)))
    .order_by(_c.id)
    .with_for_update(read=True, key_share=True)  # retention may be deleting one: then it is new
)
_BY_DIGEST = select(_c.digest, _c.guid, _c.state).where(
    _c.digest.in_(bindparam("digests", expanding=True)), _c.queued_at >= bindparam("since")
)
_ROUTE_AGAIN = (
    deliveries.update()
    .where(_c.guid == bindparam("known_guid"), _c.state.in_((literal("dead"), literal("ignored"))))
    .values(attempts=0, failures=0, crashes=0, first_failure_at=None)
)
_OLDER_OF_ITS_THREAD = (
    select(_older.c.id)
    .where(_older.c.thread_key == bindparam("of_thread"), _older.c.state == literal("queued"))
    .where(_older.c.id < select(_newer.c.id).where(_newer.c.guid == bindparam("by_guid")).scalar_subquery())
)
_OLDER_PUSHES = _OLDER_OF_ITS_THREAD.where(_older.c.event == literal_column("'pull_request'"))
# Two ranges of an index, unlike !=: many events of one commit are not looked at one by one.
_OLDER_COMMITS = union_all(
    _OLDER_PUSHES.where(_older.c.head_sha < bindparam("sha")), _OLDER_PUSHES.where(_older.c.head_sha > bindparam("sha"))
)


def _superseding(older: Select[int] | CompoundSelect[int]) -> ReturningUpdate[Any]:
    return (
        deliveries.update()
        .where(_c.id.in_(older), _c.state == literal("queued"))
        .values(state="superseded", reason=bindparam("why"), finished_at=bindparam("now"))
        .returning(_c.id, _c.repository)
    )


_SUPERSEDE = {"thread": _superseding(_OLDER_OF_ITS_THREAD), "older_commits": _superseding(_OLDER_COMMITS)}


class Stored(msgspec.Struct, frozen=True):
    """The fields of a stored delivery that tell whether a new one with its GUID is the same delivery again."""

    state: State
    event: str
    repository_id: int | None
    number: int | None
    digest: bytes | None  # None: the body was not stored

    def is_same_as(self, new: NewDelivery) -> bool:
        """The GUID is not signed: whoever knows one and holds any secret could replace another delivery."""
        digest_fits = self.digest is None or new.digest is None or self.digest == new.digest
        return digest_fits and (self.event, self.repository_id, self.number) == (
            new.event,
            new.repository_id,
            new.number,
        )


@dataclass(slots=True)
class Duplicates:
    """Rows that already exist for the GUIDs and bodies of a batch, and the earlier deliveries of the batch itself."""

    stored: dict[str, Stored] = field(default_factory=dict)  # by GUID
    bodies: dict[bytes, dict[str, State]] = field(default_factory=dict)  # by digest, then by GUID
    rejects_replays: bool = True

    def add(self, new: NewDelivery) -> None:
        digest = new.digest if new.state == "queued" else None
        self.stored[new.guid] = Stored(new.state, new.event, new.repository_id, new.number, digest)
        if digest and self.rejects_replays:
            self.bodies.setdefault(digest, {})[new.guid] = new.state


def find_existing(connection: Connection, batch: Sequence[NewDelivery], now: int, *, window_ms: int) -> Duplicates:
    """Bodies that were queued longer than `window_ms` before `now` are not replays; with 0, none is."""
    found = Duplicates(rejects_replays=window_ms > 0)
    for row in connection.execute(_BY_GUID, {"guids": [new.guid for new in batch]}):
        found.stored[row.guid] = Stored(row.state, row.event, row.repository_id, row.number, row.digest)
    digests = {new.digest for new in batch if new.state == "queued" and new.digest}
    if found.rejects_replays and digests:
        for body in connection.execute(_BY_DIGEST, {"digests": list(digests), "since": now - window_ms}):
            found.bodies.setdefault(body.digest, {})[body.guid] = body.state
    return found


class Accepting(Part):
    """The door's part of the store."""

    def accept(
        self, batch: Sequence[NewDelivery], *, replay_window_h: float, counts: Counts | None = None
    ) -> list[Accepted]:
        """Store a batch, all or nothing; when this returns, it survives a crash. One answer for each, in order.

        A GUID that is known is a duplicate, unless it comes with the same delivery, which is dead or was ignored: that
        one is routed again, and keeps its remembered steps. A body that was queued under another GUID within the window
        is a replay; a window of 0 looks at no bodies. `counts` are counted in the same transaction. Raises
        `PayloadError` for a number that no database holds.
        """
        for new in batch:
            refuse_unstorable(new)
        rows = [_row(new) for new in batch]
        beforehand, afterwards = _count_arrivals(batch, counts or {})
        with self._database.writing() as connection:
            self._count(connection, beforehand)
            now = self._database.now_in(connection)
            noted = self._note_arrivals(connection, beforehand, now)
            known = find_existing(connection, batch, now, window_ms=int(replay_window_h * HOUR_MS))
            before = frozenset(known.stored)
            answers = sort_out(batch, known)
            stored = {new.guid: i for i, new in enumerate(batch) if answers[i].outcome in ("queued", "ignored")}
            kept = [batch[i] for i in stored.values()]
            superseding = _superseding_in(kept, before)
            _line_up(kept, [rows[i] for i in stored.values()], now)
            _store(self._database, connection, {guid: rows[i] for guid, i in stored.items()}, before, now)
            afterwards += _supersede(connection, superseding, now)
            self._count(connection, afterwards + _count_answers(batch, answers))
            if any(answer.outcome == "queued" for answer in answers):
                self._database.ring(connection)
        self._noted.update(noted)
        return answers

    def _note_arrivals(self, connection: Connection, counted: Counts, now: int) -> dict[str, int]:
        """Note when the last webhook came, of all and of each repository that is counted, if it was not just now."""
        labels = {label for name, label in counted if name in ("webhooks", "repository")}
        news = sorted(label for label in labels if abs(now - self._noted.get(label, 0)) >= _NOTED_EVERY_MS)
        if news:
            rows = [{"name": LAST_WEBHOOK, "label": label, "value": now} for label in news]
            connection.execute(self._note_arrival, rows)
        return dict.fromkeys(news, now)

    @cached_property
    def _noted(self) -> dict[str, int]:
        """What was noted last by this process."""
        return {}

    @cached_property
    def _note_arrival(self) -> ReturningInsert[Any]:
        new = self._database.insert(counters)
        return new.on_conflict_do_update(
            index_elements=["name", "label"], set_={"value": new.excluded["value"]}
        ).returning(counters.c.name)


def refuse_unstorable(new: NewDelivery) -> None:
    """Raise `PayloadError` for a number that no database holds: one such delivery must not spoil a whole batch."""
    for name, number in (("repository.id", new.repository_id), ("installation.id", new.installation)):
        if number is not None and not -_FROM_HERE_ON_TOO_BIG <= number < _FROM_HERE_ON_TOO_BIG:
            raise PayloadError(f"the payload does not have GitHub's shape: {name} does not fit 64 bits")
    if new.number is not None and not 0 <= new.number < _FROM_HERE_ON_TOO_BIG:
        raise PayloadError("the payload does not have GitHub's shape: number does not fit 63 bits")


def sort_out(batch: Sequence[NewDelivery], known: Duplicates) -> list[Accepted]:
    """What becomes of each of a batch, the earlier ones known to the later ones."""
    answers = []
    for new in batch:
        answer = _sort_out_one(new, known)
        answers.append(answer)
        if answer.outcome in ("queued", "ignored"):
            known.add(new)
    return answers


def _sort_out_one(new: NewDelivery, known: Duplicates) -> Accepted:
    stored = known.stored.get(new.guid)
    if stored is not None and not (stored.state in _ROUTED_AGAIN and stored.is_same_as(new)):
        return Accepted("duplicate", stored.state, new.guid)
    if new.state == "queued" and new.digest:
        first = next((guid for guid in known.bodies.get(new.digest, {}) if guid != new.guid), None)
        if first is not None:
            return Accepted("replay", known.bodies[new.digest][first], first)
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
        "installation": new.installation,
        "number": new.number,
        "head_sha": new.head_sha,
        "sender": new.sender,
        "thread_key": new.thread_key,
        "priority": new.priority,
        "digest": new.digest if queued else None,
        "body": pack(new.body) if queued and new.body else None,
    }


def _line_up(batch: Sequence[NewDelivery], rows: Sequence[dict[str, object]], now: int) -> None:
    """Give each row of a batch its place in the queue: when it is due, and its rank."""
    for new, row in zip(batch, rows, strict=True):
        row |= {
            "queued_at": now,
            "due_at": now + round(new.settle_s * 1000),
            "rank": rank(now, new.priority),
            "finished_at": None if new.state == "queued" else now,
        }
        if new.state == "queued" and new.settle_s:
            row["reason"] = f"waits {new.settle_s:g} s for a newer push (limits.settle_s)"


def _store(
    database: Database, connection: Connection, rows: Mapping[str, dict[str, object]], before: frozenset[str], now: int
) -> None:
    """Insert the rows of new GUIDs, and let those of the GUIDs known before begin anew."""
    new = [row | {"received_at": now} for guid, row in rows.items() if guid not in before]
    again = [rows[guid] | {"known_guid": guid} for guid in sorted(before & rows.keys())]
    database.insert_rows(connection, deliveries, new)
    for row in again:
        connection.execute(_ROUTE_AGAIN, row)


def _superseding_in(batch: Sequence[NewDelivery], before: frozenset[str]) -> list[NewDelivery]:
    """Those of a batch that make other work on their threads pointless.

    In a burst that says the same of one thread the last is enough; one that came again may be older than the rest.
    """
    newest = {
        (new.thread_key, new.supersedes, new.head_sha, new.guid if new.guid in before else None): new
        for new in batch
        if new.supersedes != "nothing" and new.thread_key is not None
    }
    return list(newest.values())


def _supersede(connection: Connection, newer: Sequence[NewDelivery], now: int) -> Counter[tuple[str, str]]:
    """End the queued work that is pointless now; what is to be counted for it."""
    counts: Counter[tuple[str, str]] = Counter()
    for new in newer:
        whole_thread = new.supersedes == "thread"
        if whole_thread:
            why = f"{event_key(new.event, new.action)} ended the work on this thread (delivery {new.guid})"
        else:
            why = f"a newer commit, {new.head_sha}, was pushed before this one's turn came (delivery {new.guid})"
        terms = {"of_thread": new.thread_key, "by_guid": new.guid, "why": why, "now": now, "sha": new.head_sha}
        gone = connection.execute(_SUPERSEDE[new.supersedes], terms).all()
        for old in gone:
            counts.update(ended("superseded", repository=old.repository))
        if gone:
            connection.execute(turns.delete().where(turns.c.delivery_id.in_([old.id for old in gone])))
    return counts


def _count_arrivals(
    batch: Sequence[NewDelivery], also: Counts
) -> tuple[Counter[tuple[str, str]], Counter[tuple[str, str]]]:
    """What is counted before a batch is looked at, and what of `also` is counted after that."""
    arrivals: Counter[tuple[str, str]] = Counter()
    for new in batch:
        arrivals["webhooks", ""] += 1
        arrivals["event", event_key(new.event, new.action)] += 1
        if new.repository is not None:
            arrivals["repository", new.repository] += 1
    before = Counter({key: n for key, n in also.items() if key[0] in COUNTED_AT_THE_DOOR})
    return arrivals + before, Counter({key: n for key, n in also.items() if key not in before})


def _count_answers(batch: Sequence[NewDelivery], answers: Sequence[Accepted]) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    for new, answer in zip(batch, answers, strict=True):
        if answer.outcome in ("duplicate", "replay"):
            counts["outcome", answer.outcome] += 1
        elif answer.outcome == "ignored":
            counts += ended("ignored", repository=new.repository, kind=new.reason_kind)
    return counts
