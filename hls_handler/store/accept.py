"""Accepting deliveries: many in one transaction, each GUID and each body once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from functools import cached_property
from typing import Any

from sqlalchemy import CompoundSelect, Select, bindparam, literal_column, select, union_all
from sqlalchemy.sql.dml import ReturningUpdate

from hls_handler.deliveries import Accepted, NewDelivery, State
from hls_handler.errors import PayloadError
from hls_handler.events import event_key
from hls_handler.store.clock import HOUR_MS
from hls_handler.store.connection import Connection
from hls_handler.store.counters import ended
from hls_handler.store.database import Database, Insert
from hls_handler.store.known import Known, look_up
from hls_handler.store.lanes import busy_lanes, let_next_come
from hls_handler.store.packed import pack
from hls_handler.store.part import COUNTED_AT_THE_DOOR, LAST_WEBHOOK, Counts, Part, literal
from hls_handler.store.ranks import rank
from hls_handler.store.tables import counters, deliveries, turns

_ROUTED_AGAIN: tuple[State, ...] = ("dead", "ignored")  # when GitHub sends them again
_NOTED_EVERY_MS = 1000
_FROM_HERE_ON_TOO_BIG = 2**63

_c = deliveries.c
_older, _newer = deliveries.alias("older"), deliveries.alias("newer")
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
_DROP_TURNS = turns.delete().where(turns.c.delivery_id == bindparam("old_id"))


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
            known = look_up(self._database, connection, batch, now, window_ms=int(replay_window_h * HOUR_MS))
            before = frozenset(known.stored)
            answers = sort_out(batch, known)
            stored = {new.guid: i for i, new in enumerate(batch) if answers[i].outcome in ("queued", "ignored")}
            kept = [batch[i] for i in stored.values()]
            busy = busy_lanes(self._database, connection, _lanes_of(kept))
            superseding = _superseding_in(kept, busy, before)
            _line_up(kept, [rows[i] for i in stored.values()], busy, before, now)
            _store(self._database, connection, {guid: rows[i] for guid, i in stored.items()}, before, now)
            afterwards += _supersede(connection, superseding, now)
            let_next_come(self._database, connection, [new.thread_key for new in superseding])
            self._count(connection, afterwards + _count_answers(batch, answers))
            if any(answer.outcome == "queued" for answer in answers):
                self._database.ring(connection)
        self._noted.update(noted)
        return answers

    def _note_arrivals(self, connection: Connection, counted: Counts, now: int) -> dict[str, int]:
        """Note when the last webhook came, of all and of each repository that is counted, if it was not just now."""
        labels = {label for name, label in counted if name in ("webhooks", "repository")}
        news = sorted(label for label in labels if abs(now - self._noted.get(label, 0)) >= _NOTED_EVERY_MS)
        connection.run_for_each(
            self._note_arrival, [{"name": LAST_WEBHOOK, "label": label, "value": now} for label in news]
        )
        return dict.fromkeys(news, now)

    @cached_property
    def _noted(self) -> dict[str, int]:
        """What was noted last by this process."""
        return {}

    @cached_property
    def _note_arrival(self) -> Insert:
        new = self._database.insert(counters)
        return new.on_conflict_do_update(index_elements=["name", "label"], set_={"value": new.excluded["value"]})


def refuse_unstorable(new: NewDelivery) -> None:
    """Raise `PayloadError` for a number that no database holds: one such delivery must not spoil a whole batch."""
    for name, number in (("repository.id", new.repository_id), ("installation.id", new.installation)):
        if number is not None and not -_FROM_HERE_ON_TOO_BIG <= number < _FROM_HERE_ON_TOO_BIG:
            raise PayloadError(f"the payload does not have GitHub's shape: {name} does not fit 64 bits")
    if new.number is not None and not 0 <= new.number < _FROM_HERE_ON_TOO_BIG:
        raise PayloadError("the payload does not have GitHub's shape: number does not fit 63 bits")


def sort_out(batch: Sequence[NewDelivery], known: Known) -> list[Accepted]:
    """What becomes of each of a batch, the earlier ones known to the later ones."""
    answers = []
    for new in batch:
        answer = _sort_out_one(new, known)
        answers.append(answer)
        if answer.outcome in ("queued", "ignored"):
            known.learn(new)
    return answers


def _sort_out_one(new: NewDelivery, known: Known) -> Accepted:
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


def _lanes_of(batch: Sequence[NewDelivery]) -> set[str]:
    """The threads whose open deliveries matter to a batch."""
    return {
        new.thread_key for new in batch if new.thread_key and (new.state == "queued" or new.supersedes != "nothing")
    }


def _line_up(
    batch: Sequence[NewDelivery],
    rows: Sequence[dict[str, object]],
    busy: Set[str],
    before: frozenset[str],
    now: int,
) -> None:
    """Give each row of a batch its place: when it is due, its rank, and whether it stands behind an older one.

    Those known `before` are older than whatever their threads hold now, or come to the front when that has ended.
    """
    lanes = set(busy)
    for new, row in zip(batch, rows, strict=True):
        queued = new.state == "queued"
        row |= {
            "queued_at": now,
            "due_at": now + round(new.settle_s * 1000),
            "rank": rank(now, new.priority),
            "behind": queued and new.thread_key in lanes and new.guid not in before,
            "finished_at": None if queued else now,
        }
        if queued and new.settle_s:
            row["reason"] = f"waits {new.settle_s:g} s for a newer push (limits.settle_s)"
        if queued and new.thread_key is not None:
            lanes.add(new.thread_key)


def _store(
    database: Database, connection: Connection, rows: Mapping[str, dict[str, object]], before: frozenset[str], now: int
) -> None:
    """Insert the rows of new GUIDs, and let those of the GUIDs known before begin anew."""
    new = [row | {"received_at": now} for guid, row in rows.items() if guid not in before]
    again = [rows[guid] | {"known_guid": guid} for guid in sorted(before & rows.keys())]
    database.insert_rows(connection, deliveries, new)
    connection.run_for_each(_ROUTE_AGAIN, again)


def _superseding_in(batch: Sequence[NewDelivery], busy: Set[str], before: frozenset[str]) -> list[NewDelivery]:
    """Those of a batch that is about to be stored that make other work on their threads pointless, if there is any."""
    # Of a burst that says the same of one thread, the last says it all; one that came again may be older than the rest.
    newer = {
        (new.thread_key, new.supersedes, new.head_sha, new.guid if new.guid in before else None): new
        for new in batch
        if new.supersedes != "nothing"
    }
    if not newer:
        return []
    with_work = busy | {thread for thread, times in Counter(new.thread_key for new in batch).items() if times > 1}
    return [new for new in newer.values() if new.thread_key is not None and new.thread_key in with_work]


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
        gone = connection.run(_SUPERSEDE[new.supersedes], terms)
        for old in gone:
            counts.update(ended("superseded", repository=old.repository))
        connection.run_for_each(_DROP_TURNS, [{"old_id": old.id} for old in gone])
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
