"""Queries for commands and `/health`: deliveries, and the length of the queue."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, exists, func, select

from hls_handler.db.database import Database
from hls_handler.db.tables import calls, deliveries
from hls_handler.db.values import decompress, from_row, literal, to_ms
from hls_handler.deliveries import CAUGHT_UP, OPEN_STATES, End, ListedState, State
from hls_handler.events import event_key
from hls_handler.queue.delivery_queue import count_deliveries
from hls_handler.queue.pauses import is_paused
from hls_handler.settings.model import Settings
from hls_handler.store.call_rows import IS_RECORDED

_c = deliveries.c
# after any GUID and request id in every collation: they have letters, digits, "-" and ":"
LAST_ID = "z" * 64
DELIVERY_COLUMNS = [column for column in _c if column.name not in ("author", "body", "digest")]


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    """A delivery without its body. Times are aware UTC, by the database's clock."""

    guid: str
    event: str
    action: str | None
    request_id: str
    state: State
    discarded_at: datetime | None  # of a dead one: when a person discarded it
    reason: str | None  # why it waits, or why it ended in this state
    cause: str | None  # `find_cause` of the reason, while it is queued or running, or dead
    reason_kind: str | None  # the kind of reason that ignored deliveries are counted under
    repository_id: int | None
    repository: str | None  # "owner/repo"
    number: int | None
    head_sha: str | None
    sender: str | None  # login; None if GitHub names none
    title: (
        str | None
    )  # of the issue, pull request, run, push or release; redacted, at most 200 characters
    priority: int
    received_at: datetime  # when GitHub first sent it
    queued_at: datetime  # when the receiver or an operator last queued it
    due_at: datetime
    finished_at: datetime | None
    took_s: float | None  # from the first receipt until a worker finished it
    handler: str | None
    github_requests: int | None  # of all attempts; None before the first attempt ended
    worker: str | None  # while running
    lease_until: datetime | None  # while running
    attempt: int  # claims so far
    attempts: int  # failures that count against max_attempts
    failures: int  # all failures
    crashes: int
    first_failure_at: datetime | None
    analysis_status: str | None  # "done", "failed"
    analysis_error: str | None
    posting_status: str | None  # "done", "failed", "dry_run"
    posting_error: str | None

    @property
    def listed_state(self) -> ListedState:
        if self.state == "dead" and self.discarded_at is not None:
            return "discarded"
        return self.state

    @property
    def event_key(self) -> str:
        """The event with its action, such as "issues.opened"."""
        return event_key(self.event, self.action)

    @property
    def conversation(self) -> str:
        """ "owner/repo#7"; "owner/repo" if the event is about no issue or pull request, "" if of no
        repository.
        """
        return (
            f"{self.repository or ''}#{self.number}"
            if self.number is not None
            else self.repository or ""
        )

    @property
    def is_caught_up(self) -> bool:
        """True if the webhook was missed, and catch-up read it from GitHub."""
        return self.request_id.startswith(CAUGHT_UP)


@dataclass(frozen=True, slots=True)
class QueueState:
    """Numbers of deliveries by state, and the longest wait, without batches. The fields are named
    as in `/stats`.
    """

    queued: int
    due: int  # queued, due and not paused; some may wait for another delivery of their conversation
    held: int  # queued, but paused
    running: int
    dead: int
    oldest_due_s: float | None  # seconds since the oldest of `due` became due
    waiting_reason: str | None  # why the first delivery that is not due yet waits


@dataclass(frozen=True, slots=True)
class Rename:
    former: str  # "owner/repo"
    name: str
    at: datetime


def find_outdated_names(
    settings: Settings, renames: Sequence[Rename], received_at: Mapping[str, datetime]
) -> Iterator[str]:
    """Yield a message for each entry of `repositories` with the former name of a renamed
    repository.

    A webhook of the former name that came later, by `received_at`, is of another repository.
    """
    entries = {entry.name.lower(): index for index, entry in enumerate(settings.repositories)}
    for rename in renames:
        index = entries.get(rename.former.lower())
        last = received_at.get(rename.former)
        if index is not None and (last is None or last <= rename.at):
            where = settings.sources.where(f"repositories[{index}].name")
            yield (
                f"{rename.former} is {rename.name} since {rename.at:%Y-%m-%d %H:%M} UTC,"
                f" but {where} has the former name"
            )


class Deliveries:
    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, id_or_prefix: str) -> DeliveryRow | None:
        """Return the delivery with this GUID, or the only one whose GUID has this prefix or with
        this request id.
        """
        if "\0" in id_or_prefix:
            return None  # PostgreSQL rejects it
        exact = self._rows(select(*DELIVERY_COLUMNS).where(_c.guid == id_or_prefix))
        if exact:
            return exact[0]
        # LIKE alone, and both conditions in one query, would read all deliveries.
        in_range = and_(_c.guid >= id_or_prefix, _c.guid <= id_or_prefix + LAST_ID)
        has_prefix = and_(in_range, _c.guid.startswith(id_or_prefix, autoescape=True))
        queries = (
            select(*DELIVERY_COLUMNS).where(condition).limit(2)
            for condition in (has_prefix, _c.request_id == id_or_prefix)
        )
        rows = {row.guid: row for query in queries for row in self._rows(query)}
        return next(iter(rows.values())) if len(rows) == 1 else None

    def end_of(self, guid: str) -> End | None:
        """Return how a delivery has ended; None if it has not."""
        query = select(_c.state, _c.reason).where(_c.guid == guid, _c.state.not_in(OPEN_STATES))
        with self._database.reading() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        return End(row.state, row.reason or "")

    def of_conversation(self, repository: str, number: int) -> list[DeliveryRow]:
        """Return the deliveries whose event is about this issue or pull request, oldest first.

        Includes deliveries of other events whose comment is for this issue or pull request, but not
        those of batches that are only recorded.
        """
        is_recorded = and_(_c.batch_id.is_not(None), _c.conversation_key.is_(None))
        about, answered = (
            select(_c.id).where(_c.repository == repository, column == number, ~is_recorded)
            for column in (_c.number, _c.posted_on)
        )
        return self._rows(
            select(*DELIVERY_COLUMNS).where(_c.id.in_(about.union(answered))).order_by(_c.id)
        )

    def with_reply(self, prompt: str, *, since: datetime, limit: int) -> Sequence[DeliveryRow]:
        """Return the newest deliveries received since `since` that are done, and whose first
        question was asked by the prompt of this name, with a valid reply.
        """
        has_reply = exists().where(
            calls.c.delivery_id == _c.id,
            calls.c.step_index == 0,
            calls.c.prompt_id.startswith(f"{prompt}@", autoescape=True),
            calls.c.reply_type.is_not(None),
            ~IS_RECORDED,
        )
        is_done = _c.state == literal("done")
        query = select(*DELIVERY_COLUMNS).where(_c.received_at >= to_ms(since), is_done, has_reply)
        return self._rows(query.order_by(_c.id.desc()).limit(limit))

    def body(self, guid: str) -> bytes | None:
        """Return the JSON body; None if the delivery is unknown or its body is not stored."""
        with self._database.reading() as connection:
            stored = connection.execute(select(_c.body).where(_c.guid == guid)).scalar()
        return None if stored is None else decompress(stored)

    def queue_state(self) -> QueueState:
        held = is_paused(deliveries)
        is_due = and_(_c.due_at <= self._database.now, ~held)
        is_of_webhook = _c.batch_id.is_(None)
        is_queued = and_(_c.state == literal("queued"), is_of_webhook)
        waiting = (
            select(
                func.count(),
                func.count().filter(is_due),
                func.count().filter(held),
                func.min(_c.due_at).filter(is_due),
                self._database.now,
            )
            .select_from(deliveries)
            .where(is_queued)
        )
        reason = (
            select(_c.reason)
            .where(is_queued, _c.reason.is_not(None), _c.due_at > self._database.now)
            .order_by(_c.sort_key, _c.id)
            .limit(1)
        )
        running = count_deliveries(deliveries, "running").where(is_of_webhook)
        dead = count_deliveries(deliveries, "dead").where(is_of_webhook)
        with self._database.reading() as connection:
            queued, due, held_back, oldest, now = connection.execute(waiting).one()
            return QueueState(
                queued=queued,
                due=due,
                held=held_back,
                running=connection.execute(running).scalar_one(),
                dead=connection.execute(dead).scalar_one(),
                oldest_due_s=None if oldest is None else (now - oldest) / 1000,
                waiting_reason=connection.execute(reason).scalar(),
            )

    def is_any_running(self) -> bool:
        """Return whether a worker has a delivery, of a webhook or of a batch."""
        running = count_deliveries(deliveries, "running").where(_c.lease_until > self._database.now)
        with self._database.reading() as connection:
            return connection.execute(running).scalar_one() > 0

    def _rows(self, query: Select[Any]) -> list[DeliveryRow]:
        with self._database.reading() as connection:
            return [from_row(DeliveryRow, row) for row in connection.execute(query)]
