"""Starts a triage run, and takes it back: both accept deliveries, which the service processes."""

from __future__ import annotations

import json
from collections.abc import Sequence

from msgspec.structs import replace

from hls_handler.deliveries import (
    PRIORITY_BACKLOG,
    TRIAGE,
    UNDO_TRIAGE,
    Accepted,
    NewDelivery,
)
from hls_handler.storage import Storage
from hls_handler.store.triage import TriagedIssue, TriageRun, name_issue
from hls_handler.triage.plan import SPREAD_S, Plan


def start(store: Storage, plan: Plan, *, by: str) -> TriageRun:
    """Start or continue the run for the person `by`. If the process dies in between, the next call
    with another plan of the repository continues it.
    """
    continued = plan.continued.id if plan.continued is not None else None
    run_id = store.triage.begin(plan.run, continued=continued, by=by)
    numbers = [one.number for one in plan.chosen]
    processed = store.triage.find_processed(plan.repository_id, numbers, but=run_id)
    chosen = [
        one.delivery
        for one in plan.chosen
        if one.delivery is not None and one.number not in processed
    ]
    batch = [_of_run(new, run_id, place) for place, new in enumerate(chosen)]
    _accept(store, batch)
    run = store.triage.find(run_id)
    assert run is not None
    return run


def _of_run(new: NewDelivery, run: int, place: int) -> NewDelivery:
    return replace(
        new,
        guid=name_issue(run, new.number or 0),
        request_id=f"{TRIAGE}{run}",
        priority=PRIORITY_BACKLOG,
        spread_s=place * SPREAD_S,
        digest=None,  # it is no webhook, which could be sent again
    )


def undo(store: Storage, run: TriageRun, *, by: str) -> int:
    """Take a run back for the person `by`: let the service process one delivery for each issue that
    the run may have changed. Return their number. Another call accepts nothing twice.
    """
    store.triage.begin_undo(run, by=by)
    # after the mark: a worker that claims an issue from now on sees it
    begun = [one for one in store.triage.load_progress(run).issues if one.attempt]
    _accept(store, [_undo_of(run, one) for one in begun])
    return len(begun)


def _undo_of(run: TriageRun, issue: TriagedIssue) -> NewDelivery:
    owner, _, _ = run.repository.partition("/")
    repository = {"id": run.repository_id, "full_name": run.repository, "owner": {"login": owner}}
    shown = {"number": issue.number, "title": issue.title, "state": "open"}
    return NewDelivery(
        guid=f"{issue.guid}-undo",
        event="issues",
        action=None,
        request_id=f"{UNDO_TRIAGE}{run.id}",
        state="queued",
        repository_id=run.repository_id,
        repository=run.repository,
        number=issue.number,
        title=issue.title,
        priority=PRIORITY_BACKLOG,
        body=json.dumps({"repository": repository, "issue": shown}).encode(),
    )


def _accept(store: Storage, batch: Sequence[NewDelivery]) -> list[Accepted]:
    if not batch:
        return []
    return store.queue.accept(batch, finds_replays=False)
