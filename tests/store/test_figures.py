"""Figures of a period. Every expected number was computed by hand from the rows below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Table, event, select

from hls_handler.analysis import IssueResponse, Reply, Usage
from hls_handler.db.counters import (
    CounterWriter,
    Group,
    count_duration,
    count_end,
)
from hls_handler.db.tables import (
    calls,
    corrections,
    counters,
    deliveries,
    findings,
    labels,
)
from hls_handler.db.values import to_ms
from hls_handler.deliveries import End
from hls_handler.store.call_rows import CACHE_HIT, CACHE_SAVED
from hls_handler.store.figures import (
    CacheFigures,
    Figures,
    FiguresReport,
    FindingFigures,
    LabelFigures,
    Percentiles,
    Period,
)
from hls_handler.store.numbers import sum_labels
from hls_handler.store.storage import Storage
from tests.queue.builders import Skew, accept, begin, claim, ignored, record_reply, start_call

REPLY = Reply(
    "issues/respond@3f9c2a",
    "issue_response",
    IssueResponse(worth_saying=True, sources=[], answer="Yes.", certain=False),
    Usage("claude-haiku-5-5", input_tokens=1200, output_tokens=80, cost_usd=0.0025),
)
NOON = datetime(2026, 11, 20, 12, tzinfo=UTC)
DAY_BEFORE = NOON - timedelta(days=1)
REPOSITORIES = {1: "octo/widgets", 2: "octo/docs"}

CALLS = (
    # delivery, index of the step, micro-USD, outcome
    (1, 0, 9_000_000, "ok"),
    (3, 0, 400_000, "ok"),
    (4, 0, 300_000, "ok"),
    (4, 1, 100_000, "ok"),
    (4, 2, 500_000, "failed"),
    (5, 0, 200_000, "ok"),
    (7, 0, 0, "cached"),
    (9, 0, 50_000, "ok"),
)
SAVED_MICRO_USD = 900  # by the cached reply
FIRST_REPLIES_MS = {1: 9_000, 3: 70_000, 4: 20_000, 7: 10_000}
"""By delivery: the time from the first receipt on its conversation."""
FINDINGS = (
    # number, state, has thumbs up, hours before NOON
    (7, "open", True, 10),
    (7, "fixed", False, 10),
    (7, "dismissed", False, 10),
    (7, "gone", False, 10),
    (7, "dismissed", False, 25),
    (8, "dismissed", True, 20),
    (8, "ignored", False, 20),
)
LABELS = (
    # number, name, state, prompt, hours before NOON
    (7, "bug", "set", "p@1", 10),
    (7, "size/small", "set", None, 10),
    (7, "question", "intended", "p@1", 10),
    (7, "priority-high", "removed", "p@1", 10),  # corrected
    (7, "old", "set", "p@1", 25),
    (8, "ui", "removed", "p@1", 20),  # no correction, because that was later
)
CORRECTIONS = ((7, "priority-high", 10), (9, "ui", 25))  # number, label, hours before NOON


def ago(hours: float) -> int:
    """This many hours before NOON, as the tables store it."""
    return to_ms(NOON - timedelta(hours=hours))


def _delivery(
    row: int,
    event: str,
    number: int,
    *,
    hours: float,
    took: float,
    later: float = 0,
    state: str = "done",
    repository_id: int = 1,
    **other: object,
) -> dict[str, Any]:
    """A row of a delivery that was received so many hours before NOON, and `later` seconds after
    that, and ended `took` seconds after its receipt.
    """
    received_at = to_ms(NOON - timedelta(hours=hours) + timedelta(seconds=later))
    is_done = state == "done"
    columns: dict[str, Any] = {
        "id": row,
        "guid": f"g{row}",
        "event": event,
        "request_id": f"request-{row}",
        "state": state,
        "repository_id": repository_id,
        "repository": REPOSITORIES[repository_id],
        "number": number,
        "conversation_key": (
            f"{repository_id}#{number}" + ("/commands" if "is_command" in other else "")
        ),
        "analysis_status": "done" if is_done else None,
        "posting_status": "done" if is_done else None,
        "failures": 0,
        "is_command": False,
    }
    times = dict.fromkeys(("received_at", "queued_at", "due_at"), received_at)
    return columns | times | {"finished_at": received_at + took * 1000} | other


@pytest.fixture
def filled(store: Storage) -> Storage:
    stored = [
        _delivery(1, "issues", 12, hours=30, took=9, repository_id=2),  # before the period
        _delivery(2, "pull_request", 8, state="superseded", hours=20, took=5),
        _delivery(3, "pull_request", 8, hours=20, later=10, took=60),
        _delivery(4, "pull_request", 7, hours=10, took=20, failures=1),
        _delivery(5, "pull_request_review", 7, hours=9, took=40),
        _delivery(6, "issues", 9, state="dead", hours=7, took=100),
        _delivery(7, "issues", 10, hours=6, took=10, repository_id=2),
        _delivery(8, "issues", 11, state="ignored", hours=6, took=0, repository_id=2),
        _delivery(9, "issue_comment", 12, hours=5, took=30, repository_id=2),
        _delivery(10, "issue_comment", 7, hours=4, took=2, is_command=True),
        _delivery(11, "pull_request", 13, hours=0, took=1),  # ends after the period
    ]
    received_at = {row["id"]: row["received_at"] for row in stored}
    of_prompt, of_bot = {"prompt_id": "p@1", "model": "m"}, {"repository_id": 1, "bot_login": "hls"}
    corrected = {
        "field": "f",
        "corrected_to": "",
        "title": "",
        "is_pull_request": True,
        "recorded_at": 0,
    }
    found = {
        "category": "bugs",
        "prompt_id": "p@1",
        "details": "{}",
    }
    with store.database.writing() as connection:

        def insert(
            table: Table, columns: str, rows: Iterable[tuple[object, ...]], **same: object
        ) -> None:
            connection.execute(
                table.insert(),
                [dict(zip(columns.split(), row, strict=True)) | same for row in rows],
            )

        connection.execute(deliveries.insert(), stored)
        columns = "delivery_id step_index cost_micro_usd outcome started_at"
        insert(calls, columns, [(*row, received_at[row[0]]) for row in CALLS], **of_prompt)
        columns = "number name state prompt_id set_at"
        insert(labels, columns, [(*row, ago(hours)) for *row, hours in LABELS], **of_bot)
        rows = [(number, label, ago(hours)) for number, label, hours in CORRECTIONS]
        insert(corrections, "number label set_at", rows, prompt_id="p@1", **corrected, **of_bot)
        raised = [(*row, ago(hours), f"key{index}") for index, (*row, hours) in enumerate(FINDINGS)]
        insert(
            findings, "number state is_accepted raised_at finding_key", raised, **found, **of_bot
        )
    count_rows(store)
    return store


def count_rows(store: Storage) -> None:
    """Count the stored rows by the hour, as workers do."""
    writer = CounterWriter(store.database)
    of_calls = select(calls, deliveries.c.repository).join(deliveries)
    with store.database.writing() as connection:
        connection.execute(counters.delete())
        for row in connection.execute(select(deliveries)).all():
            counts = count_end(row.state)
            if row.state == "done":
                counts += count_duration("processing", row.finished_at - row.queued_at)
            if row.failures:
                counts["recovered_by_retry", ""] = 1
            if row.id in FIRST_REPLIES_MS:
                counts += count_duration("first_reply", FIRST_REPLIES_MS[row.id])
            writer.add(connection, counts, Group(row.repository), at=row.finished_at)
        for row in connection.execute(of_calls).all():
            counts = Counter({("cost_micro_usd", "p@1"): row.cost_micro_usd})
            if row.outcome == "cached":
                counts += Counter({CACHE_HIT: 1, CACHE_SAVED: SAVED_MICRO_USD})
            elif row.outcome == "ok":
                counts["replies", ""] = 1
            writer.add(connection, counts, Group(row.repository), at=row.started_at)


def read(store: Storage, *, repository: str | None = None) -> FiguresReport:
    return store.statistics.report(DAY_BEFORE, NOON, repository=repository)


WIDGETS = Figures(
    name="octo/widgets",
    processed=5,
    done=4,  # 3, 4, 5, 10
    dead=1,
    success_percent=80.0,
    recovered=1,
    recovery_percent=50.0,
    processing_seconds=Percentiles(4, 20.0, 45.0, 45.0),  # of 2, 20, 40, 60 s
    # 20 s, and 70 s from the receipt of the superseded one
    first_reply_seconds=Percentiles(2, 20.0, 60.0, 60.0),
    pull_requests_analysed=2,
    findings=FindingFigures(
        6, 2, 1, 2, 33.33, ignored=1, acted_on=2, decided=5, acted_on_percent=40.0
    ),
    labels=LabelFigures(kept=2, corrected=1),
    cost_usd=1.5,
    batches_cost_usd=0.0,
    cost_per_pull_request_usd=0.75,
    reply_cache=CacheFigures(replies=4, hits=0, hit_percent=0.0, saved_usd=0.0),
)
DOCS = Figures(
    name="octo/docs",
    processed=2,
    done=2,  # 7, 9
    dead=0,
    success_percent=100.0,
    recovered=0,
    recovery_percent=None,
    processing_seconds=Percentiles(2, 10.0, 25.0, 25.0),  # of 10, 30 s
    first_reply_seconds=Percentiles(1, 9.0, 9.0, 9.0),  # issue 12 had a reply before the period
    pull_requests_analysed=0,
    findings=FindingFigures(0, 0, 0, 0, None, 0, 0, 0, None),
    labels=LabelFigures(0, 0),
    cost_usd=0.05,
    batches_cost_usd=0.0,
    cost_per_pull_request_usd=None,
    reply_cache=CacheFigures(replies=2, hits=1, hit_percent=50.0, saved_usd=0.0009),
)


def test_figures_of_each_repository(filled: Storage) -> None:
    report = read(filled)
    assert report.repositories == (DOCS, WIDGETS)
    assert (report.since, report.until) == (DAY_BEFORE, NOON)


def test_series_has_what_people_did(filled: Storage) -> None:
    period = Period(DAY_BEFORE, NOON, timedelta(hours=12))
    assert filled.statistics.series([], period) == {
        ("labels", "kept"): (1, 1),
        ("labels", "corrected"): (0, 1),
        ("findings", "open"): (0, 1),
        ("findings", "fixed"): (0, 1),
        ("findings", "dismissed"): (1, 1),
        ("findings", "gone"): (0, 1),
        ("findings", "ignored"): (1, 0),
        ("accepted_findings", "open"): (0, 1),
        ("accepted_findings", "dismissed"): (1, 0),
    }


def test_statements_do_not_depend_on_the_number_of_repositories(filled: Storage) -> None:
    statements: list[str] = []

    def record(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", record)
    try:
        read(filled)
    finally:
        event.remove(Engine, "before_cursor_execute", record)
    assert 0 < len([one for one in statements if one.startswith("SELECT")]) == 3


def test_one_repository_in_any_case(filled: Storage) -> None:
    report = read(filled, repository="Octo/Docs")
    assert report.repositories == (DOCS,)
    assert report.total.processing_seconds == DOCS.processing_seconds
    assert read(filled, repository="octo/none").total.processed == 0


def test_cost_of_the_hour_before_the_first_end_counts(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1", repository="octo/widgets")
    call = start_call(store, lease)
    usage = Usage("m", input_tokens=1, output_tokens=1, cost_usd=2.5)
    store.calls.end(lease, call, outcome="ok", usage=usage, error=None)
    assert store.queue.renew(lease, lease_s=7_200)
    skew.advance(seconds=3_600)
    store.queue.finish(lease, End("done", "commented"), took_s=3_600)
    report = store.statistics.report(
        store.now() - timedelta(days=7), store.now() + timedelta(hours=1)
    )
    assert (report.total.done, report.total.cost_usd) == (1, 2.5)


def test_workers_count_ends_replies_and_costs_by_repository_and_author(store: Storage) -> None:
    of_pull_request = {"number": 7, "event": "pull_request", "author": "mona"}
    lease = begin(store, "first", **of_pull_request)
    record_reply(store, lease, REPLY)
    store.queue.finish(lease, End("superseded", ""), took_s=1)
    for guid in ("second", "third"):
        lease = begin(store, guid, **of_pull_request)
        record_reply(store, lease, REPLY)
        store.queue.finish(lease, End("done", "", posting="done"), took_s=1)
    store.queue.finish(begin(store, "dead", number=8), End("dead", "issue is locked"))
    store.queue.finish(begin(store, "again", number=9, author="hubot"), End("dead", "is locked"))
    assert store.queue.retry("again") == "queued"
    store.queue.finish(claim(store), End("done", "", posting="dry_run"), took_s=1)
    accept(store, ignored("ignored"))
    since = store.now() - timedelta(hours=1)
    until = store.now() + timedelta(hours=1)
    (widgets,) = store.statistics.report(since, until).repositories
    assert (widgets.done, widgets.dead, widgets.recovered) == (3, 1, 0)
    assert (widgets.processing_seconds.count, widgets.first_reply_seconds.count) == (3, 1)
    assert (widgets.reply_cache.replies, widgets.cost_usd) == (3, 0.0075)
    totals = sum_labels(store.statistics.totals())
    assert totals["author_outcome"] == {
        "hubot:dead": 1,
        "hubot:done": 1,
        "mona:done": 2,
        "mona:superseded": 1,
    }
