"""Stores the checks on commits: which delivery began each, and whether it has ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from sqlalchemy import (
    BigInteger,
    Connection,
    Row,
    Select,
    Update,
    and_,
    bindparam,
    func,
    not_,
    or_,
    select,
)

from hls_handler.actions import CommitCheck, Conclusion
from hls_handler.db.counters import Counts
from hls_handler.db.database import Database
from hls_handler.db.tables import checks, deliveries
from hls_handler.db.values import from_ms, has_passed, literal
from hls_handler.deliveries import OPEN_STATES, Lease, State, conversation_key
from hls_handler.errors import Postponed
from hls_handler.queue.checkpoints import Change, Checkpoints

_c = checks.c
_d = deliveries.c
_own = deliveries.alias("own")
_OPEN = _c.ended_at.is_(None)
_IS_FINISHED = not_(_d.state.in_(OPEN_STATES))
_IS_DUE = or_(_c.begun_at.is_not(None), _c.must_end, _d.state == literal("dead"))
"""Of an open check of a finished delivery: it is ended. Others were only planned, and GitHub does
not show them.
"""
_COLUMNS = (
    _c.external_id,
    _c.check_run_id,
    _c.is_shown,
    _c.begun_at,
    _c.rejected,
    _c.ended_at,
    _c.ended_by_service,
    _c.ending_until,
)
_OWN = and_(_c.delivery_id == bindparam("of_delivery"), _c.commit_sha == bindparam("of_commit"))
_SELECT = select(*_COLUMNS).where(_OWN).with_for_update()
_UPDATE = checks.update().where(_OWN)
_SELECT_LEFT = (
    select(_c.delivery_id, *_COLUMNS)
    .join(deliveries, _d.id == _c.delivery_id)
    .where(_c.repository_id == bindparam("of_repository"), _c.commit_sha == bindparam("of_commit"))
    .where(_OPEN, _IS_FINISHED, _IS_DUE)
    .order_by(_c.delivery_id.desc())
    .with_for_update(of=checks)
)
_OWN_ID = select(_own.c.id).where(_own.c.guid == bindparam("of_guid")).scalar_subquery()
_IS_EARLIER = (
    select(_c.delivery_id < _OWN_ID)
    .join(deliveries, _d.id == _c.delivery_id)
    .where(
        _d.conversation_key == bindparam("of_conversation"), _c.commit_sha == bindparam("of_commit")
    )
    .where(_c.begun_at.is_not(None), _c.rejected.is_(None), _d.guid != bindparam("of_guid"))
    .order_by(_c.delivery_id.desc())
    .limit(1)
)
_OF_PULL_REQUEST = and_(
    _d.conversation_key == bindparam("of_conversation"), _d.event == "pull_request"
)
_SELECT_OPEN_OLDER = select(_d.id).where(
    _OF_PULL_REQUEST,
    _d.head_sha == bindparam("of_commit"),
    _d.state.in_(OPEN_STATES),
    _d.id < _OWN_ID,
)
_SELECT_NEWEST = (
    select(_c.ended_at, _c.conclusion, _c.is_exempt, (_c.delivery_id < _OWN_ID).label("is_older"))
    .join(deliveries, _d.id == _c.delivery_id)
    .where(_OF_PULL_REQUEST, _c.commit_sha == bindparam("of_commit"), _c.begun_at.is_not(None))
    .order_by(_c.delivery_id.desc())
    .limit(1)
)
_SELECT_OF_COMMIT = (
    select(_c.delivery_id, _d.number, _c.conclusion, _c.is_exempt, _c.ended_at)
    .join(deliveries, _d.id == _c.delivery_id)
    .where(_c.repository_id == bindparam("of_repository"), _c.commit_sha == bindparam("of_commit"))
    .where(_d.number.is_not(None), _c.begun_at.is_not(None), _c.rejected.is_(None))
    .order_by(_c.delivery_id)
)
_HAS_RESULT = (
    select(_c.delivery_id)
    .join(deliveries, _d.id == _c.delivery_id)
    .where(_c.repository_id == bindparam("of_repository"), _c.commit_sha == bindparam("of_commit"))
    .where(
        or_(_c.rejected.is_(None), _c.ended_by_service.is_not(None))
    )  # `CheckEnder` ends rejected ones, too
    .where(or_(_c.ended_at.is_not(None), _c.external_id != _d.guid))
    .limit(1)
)
"""The external id of a delivery's second check is not its GUID, see `_renewed`: GitHub has the
result of the first.
"""


@dataclass(frozen=True, slots=True)
class CheckResult:
    """The newest check of a pull request on a commit."""

    is_running: bool  # it has not ended
    conclusion: Conclusion | None  # None: it is running, or GitHub rejected it
    is_exempt: bool  # of `EnsureCheck`


@dataclass(frozen=True, slots=True)
class OtherCheck:
    """The newest check of a pull request on a commit."""

    number: int
    delivery_id: int
    conclusion: Conclusion | None  # None: it is in progress
    is_exempt: bool  # of `EnsureCheck`


@dataclass(frozen=True, slots=True)
class UnendedCheck:
    """A check that is in progress although its delivery is finished."""

    delivery_id: int
    guid: str
    repository_id: int
    repository: str  # "owner/repo"
    number: int | None  # of the pull request
    state: State
    reason: str | None  # why the delivery ended in this state
    check: CommitCheck
    conclusion: Conclusion | None  # its own, if only another pull request's is awaited
    is_exempt: bool


@dataclass(frozen=True, slots=True)
class CheckChange:
    """Store what GitHub confirmed about the delivery's check on `commit`: it is in progress, or it
    has ended.
    """

    commit: str
    check_run_id: int | None  # None: a commit status, or GitHub rejected the check
    is_ended: bool
    rejected: str | None = None  # why GitHub rejected it
    conclusion: Conclusion | None = None  # None: it is in progress, or was rejected
    is_exempt: bool = False  # of `EnsureCheck`

    def write(self, database: Database, connection: Connection, delivery_id: int) -> Counts:
        values: dict[str, object] = {
            "is_shown": True,
            "check_run_id": self.check_run_id,
            "rejected": self.rejected,
            "conclusion": self.conclusion,
            "is_exempt": self.is_exempt,
        }
        update = database.statement(_end) if self.is_ended else _UPDATE
        connection.execute(update, values | _of(delivery_id, self.commit))
        return {}


class CommitChecks:
    def __init__(self, database: Database, checkpoints: Checkpoints) -> None:
        self._database = database
        self._checkpoints = checkpoints
        self._insert = database.insert(checks).on_conflict_do_nothing().returning(_c.delivery_id)

    def find_order(self, lease: Lease, commit: str) -> Literal["earlier", "later"] | None:
        """Return whether an earlier or a later delivery has set the conversation's newest check on
        a commit.

        None if no other delivery than this one has set a check there. If this delivery brings
        another diff of the commit, the result of an earlier one is outdated.
        """
        terms = {
            "of_conversation": lease.conversation_key or "",
            "of_guid": lease.guid,
            "of_commit": commit,
        }
        with self._database.reading() as connection:
            is_earlier = connection.execute(_IS_EARLIER, terms).scalar()
        if is_earlier is None:
            return None
        return "earlier" if is_earlier else "later"

    def has_result(self, lease: Lease, commit: str) -> bool:
        """Return whether GitHub may show a result on the commit, of any delivery or an earlier
        attempt of this one.
        """
        terms = {"of_repository": lease.repository_id, "of_commit": commit}
        with self._database.reading() as connection:
            return connection.execute(_HAS_RESULT, terms).first() is not None

    def list_others(
        self, repository_id: int | None, commit: str, number: int | None
    ) -> Sequence[OtherCheck]:
        """Return the newest check on the commit of each pull request but `number`; none that GitHub
        rejected.
        """
        terms = {"of_repository": repository_id, "of_commit": commit}
        others: dict[int, OtherCheck] = {}
        with self._database.reading() as connection:
            for row in connection.execute(_SELECT_OF_COMMIT, terms):
                others.pop(row.number, None)
                if row.conclusion is not None or row.ended_at is None:
                    others[row.number] = OtherCheck(
                        row.number, row.delivery_id, row.conclusion, bool(row.is_exempt)
                    )
        others.pop(number or 0, None)
        return tuple(others.values())

    def reopen(self, lease: Lease, commit: str, other: OtherCheck) -> None:
        """Let `CheckEnder` show the result of another pull request's check anew. Raises
        `LeaseLost`.
        """
        again = {
            "external_id": f"{lease.guid}:left",  # GitHub keeps a check run that has ended
            **dict.fromkeys(("check_run_id", "ended_at", "ending_until", "ended_by_service")),
            "is_shown": False,
        }
        with self._checkpoints.writing(lease, durable=False) as (connection, _):
            connection.execute(_UPDATE, {**_of(other.delivery_id, commit), **again})

    def list_pull_requests(self, repository_id: int | None, commit: str) -> Sequence[int]:
        """Return the pull requests of which a webhook named the commit as the head."""
        query = (
            select(_d.number)
            .distinct()
            .where(
                _d.head_sha == commit,
                _d.event == "pull_request",
                _d.repository_id == repository_id,
                _d.number.is_not(None),
            )
            .order_by(_d.number)
        )
        with self._database.reading() as connection:
            return tuple(connection.execute(query).scalars())

    def find_result(self, lease: Lease, number: int, commit: str) -> CheckResult | None:
        """Return the newest check of a pull request on a commit; None if there is none.

        It is running if an older delivery than that of the lease has not ended it, or may still
        bring another result. A newer one may wait for that of the lease.
        """
        conversation = conversation_key(lease.repository_id, number)
        terms = {"of_conversation": conversation, "of_guid": lease.guid, "of_commit": commit}
        with self._database.reading() as connection:
            if connection.execute(_SELECT_OPEN_OLDER, terms).first() is not None:
                return CheckResult(True, None, is_exempt=False)
            row = connection.execute(_SELECT_NEWEST, terms).first()
        if row is None:
            return None
        return CheckResult(
            row.ended_at is None and bool(row.is_older), row.conclusion, bool(row.is_exempt)
        )

    def plan(self, lease: Lease, commit: str, *, must_end: bool = False) -> None:
        """Record that the delivery should set the check on a commit, before anything is written to
        GitHub.

        If the delivery becomes a dead letter, the check is ended nevertheless; with `must_end` also
        if the delivery ends in another way without a result. Raises `LeaseLost`, or `Postponed` as
        `begin`.
        """
        with self._checkpoints.writing(lease, durable=False) as (connection, row_id):
            key = {
                "delivery_id": row_id,
                "commit_sha": commit,
                "repository_id": lease.repository_id,
            }
            values = {"external_id": lease.guid, "must_end": must_end}
            if connection.execute(self._insert, {**key, **values}).first() is not None:
                return
            own_parameters = _of(row_id, commit)
            mine = connection.execute(_SELECT, own_parameters).one()
            # an operator or GitHub repeats the delivery
            if must_end and mine.ended_by_service is not None:
                connection.execute(_UPDATE, {**own_parameters, **_renewed(lease), "must_end": True})
            # else it is ended in any case
            elif must_end and mine.ended_at is None and mine.begun_at is None:
                self._require_not_ending(connection, mine)
                connection.execute(_UPDATE, {**own_parameters, "must_end": True})

    def begin(self, lease: Lease, commit: str, *, changes: Sequence[Change] = ()) -> CommitCheck:
        """Record that the delivery is about to begin its check on a commit, and return the check.
        Raises `LeaseLost`.

        A finished delivery's check on the same commit that has not ended becomes that of this
        delivery. Raises `Postponed` while another process is ending the check; the changes are not
        stored then.
        """
        with self._checkpoints.writing(lease, changes, durable=False) as (connection, row_id):
            own_parameters = _of(row_id, commit)
            mine = connection.execute(_SELECT, own_parameters).first()
            is_planned = mine is not None and mine.begun_at is None and mine.ended_at is None
            if mine is not None and (mine.ended_at is None or mine.rejected is not None):
                self._require_not_ending(connection, mine)
                if not is_planned:
                    if not mine.is_shown:  # its creation is sent again, and may take effect late
                        connection.execute(self._database.statement(_begin), own_parameters)
                    return _to_check(commit, mine)
            commit_parameters = {"of_repository": lease.repository_id, "of_commit": commit}
            row = connection.execute(_SELECT_LEFT, commit_parameters).first()
            if row is not None:
                self._require_not_ending(connection, row)
                connection.execute(self._database.statement(_end), _of(row.delivery_id, commit))
            renewed = _renewed(lease)
            if mine is None or is_planned:
                renewed["external_id"] = lease.guid if mine is None else mine.external_id
            check = CommitCheck(commit, str(renewed["external_id"]))
            if row is not None and row.begun_at is not None:
                # this delivery's requests may succeed
                check = replace(_to_check(commit, row), rejected=None)
            values = renewed | {
                "external_id": check.external_id,
                "check_run_id": check.check_run_id,
                "is_shown": check.is_shown,
            }
            del values["begun_at"]
            if mine is not None:
                connection.execute(self._database.statement(_begin), own_parameters | values)
            else:
                key = {
                    "delivery_id": row_id,
                    "commit_sha": commit,
                    "repository_id": lease.repository_id,
                }
                connection.execute(
                    checks.insert().values(**key, **values, begun_at=self._database.now)
                )
                # The event was about an older commit.
                is_planned_only = and_(_c.begun_at.is_(None), not_(_c.must_end))
                connection.execute(checks.delete().where(_c.delivery_id == row_id, is_planned_only))
            return check

    def claim_unended(self, *, lease_s: float, slowest_write_s: float) -> UnendedCheck | None:
        """Return a check that is to be ended, for `lease_s` seconds not returned again; None if
        there is none.

        A check that GitHub did not confirm is left out for `slowest_write_s`, in which its creation
        may take effect.
        """
        unended = self._database.statement(_select_unended)
        terms = {"slowest_write_ms": int(slowest_write_s * 1000)}
        with self._database.reading() as connection:
            if connection.execute(unended, terms).first() is None:
                return None
        with self._database.writing(durable=False) as connection:
            row = connection.execute(
                unended.with_for_update(of=checks, skip_locked=True), terms
            ).first()
            if row is None:
                return None
            now = self._database.now
            held = {
                "ending_until": now + int(lease_s * 1000),
                "begun_at": func.coalesce(_c.begun_at, now),
            }
            connection.execute(_UPDATE.values(held), _of(row.delivery_id, row.commit_sha))
        check = _to_check(row.commit_sha, row)
        return UnendedCheck(
            row.delivery_id,
            row.guid,
            row.repository_id,
            row.repository or "",
            row.number,
            row.state,
            row.reason,
            check,
            row.conclusion,
            bool(row.is_exempt),
        )

    def mark_ended(
        self, unended: UnendedCheck, result: str, conclusion: Conclusion | None = None
    ) -> None:
        """Store that the check was ended, and how, for `service_results`: "cancelled: Not reviewed:
        ...".
        """
        mine = _of(unended.delivery_id, unended.check.commit)
        values = {
            "ended_at": self._database.now,
            "ended_by_service": result,
            "conclusion": conclusion,
        }
        with self._database.writing(durable=False) as connection:
            connection.execute(_UPDATE.where(_OPEN).values(values), mine)

    def service_results(self, guid: str) -> tuple[str, ...]:
        """Return how checks of the delivery were ended by `mark_ended`."""
        query = (
            select(_c.ended_by_service)
            .join(deliveries, _d.id == _c.delivery_id)
            .where(_d.guid == guid, _c.ended_by_service.is_not(None))
            .order_by(_c.begun_at)
        )
        with self._database.reading() as connection:
            return tuple(connection.execute(query).scalars())

    def _require_not_ending(self, connection: Connection, row: Row[*tuple[Any, ...]]) -> None:
        until = row.ending_until
        if until is not None and until > self._database.now_in(connection):
            raise Postponed("another process is ending the check on this commit", at=from_ms(until))


def _renewed(lease: Lease) -> dict[str, object]:
    """Return the columns of another check run: GitHub keeps one that has ended, so a repeated
    delivery creates one.
    """
    columns = dict.fromkeys(
        ("check_run_id", "begun_at", "ended_at", "ending_until", "ended_by_service", "conclusion")
    )
    return {
        **columns,
        "is_exempt": False,
        "external_id": f"{lease.guid}:{lease.attempt}",
        "is_shown": False,
    }


def _of(delivery_id: int, commit: str) -> dict[str, object]:
    return {"of_delivery": delivery_id, "of_commit": commit}


def _select_unended(database: Database) -> Select[Any]:
    now = database.now
    slowest_write_ms = bindparam("slowest_write_ms", type_=BigInteger())
    due = and_(
        or_(_c.ending_until.is_(None), has_passed(_c.ending_until, now)),
        or_(_c.is_shown, _c.begun_at.is_(None), has_passed(_c.begun_at, now - slowest_write_ms)),
    )
    return (
        select(
            _c.delivery_id,
            _c.commit_sha,
            _c.repository_id,
            _c.conclusion,
            _c.is_exempt,
            *_COLUMNS,
            *(_d.guid, _d.repository, _d.number, _d.state, _d.reason),
        )
        .join(deliveries, _d.id == _c.delivery_id)
        .where(_OPEN, _IS_FINISHED, _IS_DUE, due)
        .order_by(_c.repository_id, _c.commit_sha)  # the order of the index
        .limit(1)
    )


def _begin(database: Database) -> Update:
    return _UPDATE.values(begun_at=database.now)


def _end(database: Database) -> Update:
    return _UPDATE.values(ended_at=database.now)


def _to_check(commit: str, row: Row[*tuple[Any, ...]]) -> CommitCheck:
    return CommitCheck(
        commit,
        row.external_id,
        row.check_run_id,
        bool(row.is_shown),
        is_new=False,
        rejected=row.rejected,
    )
