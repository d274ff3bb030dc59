"""Triage runs: their limits, their issues of the backlog, their cost, and their undo."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import (
    Connection,
    Row,
    Select,
    String,
    and_,
    case,
    cast,
    distinct,
    func,
    or_,
    select,
)

from hls_handler.db.database import Database
from hls_handler.db.tables import (
    calls,
    deleted_review_calls,
    deliveries,
    labels,
    triage_runs,
)
from hls_handler.db.values import from_row, to_ms
from hls_handler.deliveries import (
    TRIAGE,
    TRIAGED,
    UNDO_TRIAGE,
    State,
    conversation_key,
)
from hls_handler.operators import log_act
from hls_handler.store.budgets import OVER_BUDGET
from hls_handler.store.calls import IS_CALL, SUCCESS, RunBudget

_d = deliveries.c
_r = triage_runs.c
_c = calls.c

RunState = Literal["running", "done", "over budget", "undone", "empty"]
"""empty: its deliveries were deleted (`storage.keep_days`), or it died before it had one."""


@dataclass(frozen=True, slots=True)
class TriageRun:
    id: int
    repository_id: int
    repository: str
    started_by: str  # as `operators.log_act`
    started_at: datetime  # aware UTC
    most_issues: int
    max_usd: float
    comments: bool
    skipped: Mapping[str, int]  # number of skipped issues by reason
    undone_at: datetime | None  # when a person took it back; aware UTC

    @property
    def budget(self) -> RunBudget:
        return RunBudget(self.id, self.max_usd)


@dataclass(frozen=True, slots=True)
class NewRun:
    repository_id: int
    repository: str
    most_issues: int
    max_usd: float
    comments: bool
    skipped: Mapping[str, int]

    @property
    def columns(self) -> dict[str, object]:
        return {
            "repository_id": self.repository_id,
            "repository": self.repository,
            "most_issues": self.most_issues,
            "max_micro_usd": round(self.max_usd * 1_000_000),
            "comments": self.comments,
            "skipped": json.dumps(dict(self.skipped)),
        }


@dataclass(frozen=True, slots=True)
class TriagedIssue:
    """A delivery of a run, or of its undo."""

    guid: str
    number: int
    title: str | None
    state: State
    reason: str | None
    reason_kind: str | None
    attempt: int  # 0: no worker has claimed it

    @property
    def is_open(self) -> bool:
        return self.state in ("queued", "running")

    @property
    def is_over_budget(self) -> bool:
        return self.state == "ignored" and self.reason_kind == OVER_BUDGET


@dataclass(frozen=True, slots=True)
class Progress:
    """The state of a run and of its undo."""

    run: TriageRun
    issues: Sequence[TriagedIssue]
    undo: Sequence[TriagedIssue]
    cost_usd: float  # with what calls in progress have reserved
    is_new: bool  # it may get its first issue now

    @property
    def state(self) -> RunState:
        if self.run.undone_at is not None:
            return "undone"
        if not self.issues and not self.is_new:
            return "empty"
        if not self.issues or any(one.is_open for one in self.issues):
            return "running"
        if any(one.is_over_budget for one in self.issues):
            return "over budget"
        return "done"

    @property
    def is_used_up(self) -> bool:
        """Return whether the run's own budget ended issues, and not one of `budgets`."""
        name = self.run.budget.name
        return any(
            one.is_over_budget and (one.reason or "").startswith(name) for one in self.issues
        )

    @property
    def ended(self) -> int:
        return sum(not one.is_open for one in self.issues)

    @property
    def undo_ended(self) -> int:
        return sum(not one.is_open for one in self.undo)


@dataclass(frozen=True, slots=True)
class PastCalls:
    """The averages of the calls about issues of a repository."""

    calls_per_issue: float
    output_tokens: float  # of a call
    is_recent: bool  # whether Claude's prompt cache has the system prompt


NOTHING_PAST = PastCalls(calls_per_issue=1.0, output_tokens=0.0, is_recent=False)
NEW_MS = 60 * 60_000  # a run without deliveries that began longer ago gets none
CACHED_MS = 5 * 60_000  # how long Claude's prompt cache keeps a system prompt


def name_issue(run: int, number: int) -> str:
    """Return the GUID of the delivery of an issue. It is unique, so none is accepted twice."""
    return f"{TRIAGED}{run}-{number}"


def find_run_id(request_id: str) -> int | None:
    """Return the id of the run that a delivery belongs to, or takes back; else None."""
    for prefix in (TRIAGE, UNDO_TRIAGE):
        if request_id.startswith(prefix):
            return int(request_id.removeprefix(prefix))
    return None


class TriageRuns:
    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, new: NewRun, *, continued: int | None = None, by: str) -> int:
        """Store a run for the person `by`, or the new limits of the one that goes on: `continued`,
        or one that runs. Return its id. Two calls at the same moment make one run.
        """
        with self._database.writing() as connection:
            self._database.lock_accepts(connection)
            run = self._find_continued(connection, new.repository_id, continued)
            if run is None:
                row = {**new.columns, "started_by": by, "started_at": self._database.now}
                insert = triage_runs.insert().values(row).returning(_r.id)
                run = int(connection.execute(insert).scalar_one())
            else:
                connection.execute(triage_runs.update().where(_r.id == run).values(new.columns))
        log_act(by, "triage", [f"{new.repository} run {run}"], number=new.most_issues)
        return run

    def _find_continued(
        self, connection: Connection, repository_id: int, continued: int | None
    ) -> int | None:
        last = _run(connection.execute(_select_last(repository_id)).first())
        if last is None:
            return None
        goes_on = last.id == continued or self._load(connection, last).state == "running"
        return last.id if goes_on else None

    def begin_undo(self, run: TriageRun, *, by: str) -> None:
        """Mark the run as taken back: no worker begins another issue of it."""
        now = self._database.now
        undo = triage_runs.update().where(_r.id == run.id, _r.undone_at.is_(None))
        with self._database.writing() as connection:
            connection.execute(undo.values(undone_at=now))
        log_act(by, "undo triage", [f"{run.repository} run {run.id}"])

    def find(self, run: int) -> TriageRun | None:
        with self._database.reading() as connection:
            row = connection.execute(select(triage_runs).where(_r.id == run)).first()
        return _run(row)

    def find_last(self, repository_id: int) -> TriageRun | None:
        """Return the newest run of a repository that was not taken back."""
        with self._database.reading() as connection:
            return _run(connection.execute(_select_last(repository_id)).first())

    def newest(self, *, most: int) -> Sequence[TriageRun]:
        query = select(triage_runs).order_by(_r.id.desc()).limit(most)
        with self._database.reading() as connection:
            found = map(_run, connection.execute(query))
            return [run for run in found if run is not None]

    def load_progress(self, run: TriageRun) -> Progress:
        with self._database.reading() as connection:
            return self._load(connection, run)

    def _load(self, connection: Connection, run: TriageRun) -> Progress:
        key = run.budget.key
        paid = select(func.sum(_c.cost_micro_usd)).where(_c.review_key == key)
        deleted = select(deleted_review_calls.c.cost_micro_usd).where(
            deleted_review_calls.c.review_key == key
        )
        costs = [connection.execute(query).scalar() for query in (paid, deleted)]
        rows = [
            connection.execute(_select_issues(f"{prefix}{run.id}")).all()
            for prefix in (TRIAGE, UNDO_TRIAGE)
        ]
        issues, undo = ([from_row(TriagedIssue, row) for row in found] for found in rows)
        cost_usd = sum(int(cost or 0) for cost in costs) / 1_000_000
        age_ms = self._database.now_in(connection) - to_ms(run.started_at)
        return Progress(run, issues, undo, cost_usd, is_new=age_ms < NEW_MS)

    def find_processed(
        self,
        repository_id: int,
        numbers: Collection[int],
        *,
        but: int | None,
        in_dry_runs: bool = False,
    ) -> frozenset[int]:
        """Return the issues that HLS has processed, or will process; not those of the run `but`,
        and of runs that were taken back. A dry run, which wrote nothing, counts `in_dry_runs`.
        """
        keys = [conversation_key(repository_id, number) for number in numbers]
        undone = select(TRIAGE + cast(_r.id, String)).where(_r.undone_at.is_not(None))
        is_of_run = _d.request_id == f"{TRIAGE}{but}"
        is_done = and_(_d.state == "done", _d.analysis_status.is_not(None))
        if not in_dry_runs:
            is_done = and_(is_done, _d.posting_status.is_distinct_from("dry_run"))
        is_processed = or_(_d.state.in_(["queued", "running"]), is_done)
        of_deliveries = (
            select(_d.number)
            .distinct()
            .where(
                self._database.is_one_of(_d.conversation_key, "keys"),
                is_processed,
                ~is_of_run,
                ~_d.request_id.startswith(UNDO_TRIAGE),
                _d.request_id.not_in(undone),
            )
        )
        found = set[int]()
        with self._database.reading() as connection:
            found |= set(connection.execute(of_deliveries, {"keys": keys}).scalars())
            # deliveries are deleted after some time
            labelled = (
                select(labels.c.number)
                .distinct()
                .where(labels.c.repository_id == repository_id, labels.c.number.in_(numbers))
            )
            found |= set(connection.execute(labelled).scalars())
        return frozenset(found)

    def find_past_calls(self, prompt: str, *, since: datetime) -> PastCalls:
        """Return the averages of the calls about issues whose first prompt was `prompt`."""
        asked = (_c.started_at >= to_ms(since), IS_CALL)
        is_first = case((_c.prompt_id.startswith(f"{prompt}@", autoescape=True), _c.delivery_id))
        columns = (
            func.count(),
            func.count(distinct(is_first)),
            func.avg(_c.output_tokens),
            func.max(_c.started_at),
        )
        query = select(*columns).join(deliveries).where(_d.event == "issues", *asked)
        with self._database.reading() as connection:
            number, issues, tokens, last_at = connection.execute(
                query.where(_c.outcome == SUCCESS)
            ).one()
            now = self._database.now_in(connection)
        if not issues:
            return NOTHING_PAST
        is_recent = last_at > now - CACHED_MS
        return PastCalls(max(number / issues, 1.0), float(tokens or 0), is_recent)


PAST = timedelta(days=30)
"""Age of the calls that a forecast rests on."""


def _select_last(repository_id: int) -> Select[Any]:
    of_repository = (_r.repository_id == repository_id, _r.undone_at.is_(None))
    return select(triage_runs).where(*of_repository).order_by(_r.id.desc()).limit(1)


def _select_issues(request_id: str) -> Select[Any]:
    columns = [_d[name] for name in TriagedIssue.__annotations__]
    return select(*columns).where(_d.request_id == request_id).order_by(_d.number)


def _run(row: Row[Any] | None) -> TriageRun | None:
    if row is None:
        return None
    skipped = json.loads(row.skipped or "{}")
    return from_row(TriageRun, row, max_usd=row.max_micro_usd / 1_000_000, skipped=skipped)
