"""Reasons to end the work on a delivery early: a stop by a person, newer events of its
conversation, a held rate limit.

The command /stop ends the work on a pull request until /resume.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, exists, func, or_, select

from hls_handler.db.database import Database
from hls_handler.db.tables import calls, deliveries, rate_limits, stops
from hls_handler.db.values import from_ms, has_passed, is_caught_up, literal
from hls_handler.deliveries import Lease
from hls_handler.errors import HlsError
from hls_handler.queue.checkpoints import Checkpoints, LeaseCheck
from hls_handler.store.calls import ClaudeCalls

_d = deliveries.c
_own = deliveries.alias("own")
_NEWER = and_(  # no rows for a delivery without a conversation
    _d.conversation_key == bindparam("of_conversation"),
    _d.id > select(_own.c.id).where(_own.c.guid == bindparam("of_guid")).scalar_subquery(),
)
# A delivery that catch-up read was stored later than it happened: it is newer only than others that
# catch-up read.
_LATER_EVENT = and_(
    _NEWER,
    or_(
        ~is_caught_up(deliveries),
        exists().where(_own.c.guid == bindparam("of_guid"), is_caught_up(_own)),
    ),
)
_NEWEST_HEAD = (
    select(_d.head_sha)
    .where(
        _LATER_EVENT,
        _d.event == "pull_request",
        _d.action != "closed",  # which GitHub may send late
        _d.state.in_([literal("queued"), literal("running"), literal("done")]),
        _d.head_sha.is_not(None),
    )
    .order_by(_d.id.desc())
    .limit(1)
)
_EARLIER_PULLS = (
    select(_d.guid, _d.state)
    .where(
        _d.conversation_key == bindparam("of_conversation"),
        _d.id < select(_own.c.id).where(_own.c.guid == bindparam("of_guid")).scalar_subquery(),
        _d.event == "pull_request",
        or_(
            _d.state == literal("superseded"),
            and_(_d.state == literal("done"), _d.analysis_status == "done"),
        ),
    )
    .order_by(_d.id.desc())
    .limit(20)
)
_LAST_CLOSING = (
    select(_d.action)
    .where(
        _LATER_EVENT,
        or_(_d.event == "issues", _d.event == "pull_request"),
        or_(*(_d.action == action for action in ("closed", "deleted", "transferred", "reopened"))),
    )
    .order_by(_d.id.desc())
    .limit(1)
)
_HAS_REPLY = exists().where(
    calls.c.delivery_id == _d.id,
    calls.c.step_index == 0,
    calls.c.reply_type.is_not(None),
    func.substr(calls.c.prompt_id, 1, bindparam("length")) == bindparam("up_to_its_hash"),
)
_IS_ANSWERED = exists().where(
    _LATER_EVENT,
    _d.state == literal("done"),
    _d.posting_status == "done",
    _HAS_REPLY,
)
_SELECT_NEWER = select(
    _NEWEST_HEAD.scalar_subquery().label("head_sha"),
    _LAST_CLOSING.scalar_subquery().label("closing"),
    _IS_ANSWERED.label("is_answered"),
)
_OF_PULL_REQUEST = and_(
    stops.c.repository_id == bindparam("of_repository"), stops.c.number == bindparam("of_number")
)
_STOPPED = tuple(
    select(c).where(_OF_PULL_REQUEST).scalar_subquery()
    for c in (stops.c.stopped_by, stops.c.stopped_at)
)
_STOP = (_STOPPED[0].label("stopped_by"), _STOPPED[1].label("stopped_at"))


@dataclass(frozen=True, slots=True)
class Stop:
    by: str  # login
    at: datetime  # aware UTC

    def __str__(self) -> str:
        return (
            f"{self.by} stopped HLS on this pull request at {self.at:%Y-%m-%d %H:%M} UTC; /resume"
            " ends the stop"
        )


@dataclass(frozen=True, slots=True)
class NewerEvents:
    """Summary of the newer events on a delivery's conversation, which may supersede the
    delivery.
    """

    commit: str | None = (
        None  # the newest head, if it differs from the delivery's or from the described one
    )
    is_closed: bool = False  # closed, deleted or transferred, and not reopened after that
    is_answered: bool = False  # the same prompt answered a newer event, and the result was posted


@dataclass(frozen=True, slots=True)
class Situation:
    """The state of a delivery's conversation, as read when its processing begins and before each
    write.
    """

    stop: Stop | None = None  # of its pull request
    held_until: datetime | None = None  # no request to GitHub before this time
    runs: int = 0  # when the processing began; see `ClaudeCalls.count_conversation_runs`
    newer: NewerEvents = NewerEvents()  # before a write


NO_SITUATION = Situation()


class Interruptions:
    """Stops apply to all accounts of HLS."""

    def __init__(self, database: Database, checkpoints: Checkpoints, calls: ClaudeCalls) -> None:
        self._database = database
        self._checkpoints = checkpoints
        hold = select(rate_limits.c.held_until).where(
            rate_limits.c.name == bindparam("of_rate_limit"),
            ~has_passed(rate_limits.c.held_until, database.now),
        )
        hold_ends_at = hold.scalar_subquery().label("held_until")
        columns = (*_STOP, hold_ends_at, exists().where(_NEWER).label("has_newer"))
        self._select_interruption = select(*columns)
        # no row if the lease is lost
        self._select_interruption_of_lease = checkpoints.select_held(*columns)
        runs = calls.conversation_runs.label("runs")
        self._select_situation = select(*_STOP, hold_ends_at, runs)

    def load_situation(self, lease: Lease, *, rate_limit: str) -> Situation:
        with self._database.reading() as connection:
            row = connection.execute(self._select_situation, _terms(lease, rate_limit)).one()
        return Situation(_to_stop(row), _to_time(row.held_until), row.runs)

    def check(
        self,
        lease: Lease,
        decide: Callable[[Situation], HlsError | None],
        *,
        prompt: str,
        rate_limit: str,
        described: str | None = None,
    ) -> LeaseCheck:
        """Return a check for a transaction of the delivery. `decide` returns the error for what is
        found, or None.

        `prompt` is the one whose newer answers count. `described` is the head commit that was read
        from GitHub. It differs from that of the lease if a push came before it was read; a later
        push may lead back to the lease's commit.
        """
        id_prefix = f"{prompt}@"
        terms = {**_terms(lease, rate_limit), "up_to_its_hash": id_prefix, "length": len(id_prefix)}

        def find_error(connection: Connection, row: Row[Any]) -> HlsError | None:
            newer = NewerEvents()
            if row.has_newer:
                newest = connection.execute(_SELECT_NEWER, terms).one()
                commits = {lease.head_sha, described or lease.head_sha}
                newer = NewerEvents(
                    commit=None if {newest.head_sha} == commits else newest.head_sha,
                    is_closed=newest.closing is not None and newest.closing != "reopened",
                    is_answered=bool(newest.is_answered),
                )
            return decide(Situation(_to_stop(row), _to_time(row.held_until), newer=newer))

        return LeaseCheck(self._select_interruption_of_lease, terms, find_error)

    def require(self, check: LeaseCheck) -> None:
        """Raise the check's error, if there is one, without checking the lease."""
        with self._database.reading() as connection:
            error = check.find_error(
                connection, connection.execute(self._select_interruption, check.terms).one()
            )
        if error is not None:
            raise error

    def superseded_since_review(self, lease: Lease) -> list[str]:
        """Return the GUIDs of the pull request events superseded since the last analysis, the
        newest first.
        """
        terms = {"of_guid": lease.guid, "of_conversation": lease.conversation_key or ""}
        with self._database.reading() as connection:
            rows = connection.execute(_EARLIER_PULLS, terms).all()
        return [row.guid for row in takewhile(lambda row: row.state == "superseded", rows)]

    def stop(self, lease: Lease, number: int, *, by: str) -> None:
        """Stop the pull request `number` of the lease's repository. An existing stop stays. Raises
        `LeaseLost`.
        """
        row = {"repository_id": lease.repository_id, "number": number, "stopped_by": by}
        with self._checkpoints.writing(lease) as (connection, _):
            row["stopped_at"] = self._database.now_in(connection)
            self._database.insert_rows(connection, stops, [row], if_new=True)

    def resume(self, lease: Lease, number: int) -> None:
        """End the stop of the pull request `number`, if there is one. Raises `LeaseLost`."""
        with self._checkpoints.writing(lease) as (connection, _):
            parameters = {"of_repository": lease.repository_id, "of_number": number}
            connection.execute(stops.delete().where(_OF_PULL_REQUEST), parameters)

    def find_stop(self, repository_id: int, number: int) -> Stop | None:
        terms = {"of_repository": repository_id, "of_number": number}
        with self._database.reading() as connection:
            return _to_stop(connection.execute(select(*_STOP), terms).one())


def _terms(lease: Lease, rate_limit: str) -> dict[str, object]:
    return {
        "of_repository": lease.repository_id,
        "of_number": lease.number,
        "of_guid": lease.guid,
        "of_conversation": lease.conversation_key or "",
        "of_rate_limit": rate_limit,
    }


def _to_stop(row: Row[*tuple[Any, ...]]) -> Stop | None:
    return None if row.stopped_at is None else Stop(row.stopped_by, from_ms(row.stopped_at))


def _to_time(moment: int | None) -> datetime | None:
    return None if moment is None else from_ms(moment)
