"""Query plans of SQLite: a claim that reads every row of a long queue would delay all writers."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event
from sqlalchemy.pool import Pool

from hls_handler.deliveries import find_cause
from hls_handler.store.analyses import AnalysisSearch
from hls_handler.store.call_rows import CacheKey
from hls_handler.store.figures import latest_period
from hls_handler.store.limits import Limit
from hls_handler.store.search import DeliverySearch
from hls_handler.store.storage import Storage
from tests.queue.builders import accept, claim, finish, push, queued, start_call
from tests.sqlite import create_database

AT_ONCE = timedelta(seconds=-1)
"""Age of old deliveries that those which just ended have, too."""


@contextmanager
def statements() -> Iterator[list[str]]:
    """SQL statements, with their values, that SQLite executes in the block."""
    executed: list[str] = []
    traced: list[sqlite3.Connection] = []

    def trace(connection: sqlite3.Connection, *_: object) -> None:
        connection.set_trace_callback(executed.append)
        traced.append(connection)

    event.listen(Pool, "checkout", trace)
    try:
        yield executed
    finally:
        event.remove(Pool, "checkout", trace)
        for connection in traced:
            connection.set_trace_callback(None)


def plans_of(
    folder: Path,
    query: Callable[[Storage], object],
    *,
    before: Callable[[Storage], object] = lambda _: None,
) -> list[str]:
    """Return the lines of the plans of all statements of the query, but not of those of
    `before`.
    """
    store = Storage.open(create_database(folder / "hls.db"))
    accept(store, push("g1", "aaa"), queued("g2"))
    before(store)
    with statements() as executed:
        query(store)
    with sqlite3.connect(folder / "hls.db") as connection:
        plans = [
            str(row[3])
            for statement in executed
            if statement.startswith(("SELECT", "UPDATE", "DELETE"))
            for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")
        ]
    connection.close()
    store.close()
    return plans


def _begin_review_call(store: Storage) -> None:
    review = [
        Limit("pull request", None, 10.0, "review.max_usd_per_pull_request", "1#7"),
        Limit("delivery", None, 2.0, "review.max_usd"),
    ]
    start_call(store, claim(store), review=review)


QUERIES: dict[str, Callable[[Storage], object]] = {
    "claim": lambda store: store.queue.claim(worker="w", concurrency=0),
    "seconds_until_due": lambda store: store.queue.seconds_until_due(),
    "push": lambda store: accept(store, push("g3", "bbb")),
    "close": lambda store: accept(store, queued("g3", number=7, supersedes="all")),
    "dead": lambda store: store.searches.count_causes(DeliverySearch(state="dead"), limit=20),
    "waiting": lambda store: store.searches.count_causes(DeliverySearch(state="queued"), limit=20),
    "cause": lambda store: store.searches.find(
        DeliverySearch(state="queued", cause=find_cause("no such issue"))
    ),
    "dead page": lambda store: store.searches.find(DeliverySearch(state="dead")),
    "state counts": lambda store: store.searches.count_states(
        DeliverySearch(), since=store.now() - timedelta(days=7)
    ),
    "conversation": lambda store: store.deliveries.of_conversation("octo/widgets", 7),
    "find": lambda store: store.deliveries.find("request-g1"),
    "stop": lambda store: store.interruptions.find_stop(1, 7),
    "pull_request_of_commit": (
        lambda store: store.repositories.history(1, "hls").find_pull_request("octo/widgets", "aaa")
    ),
    "figures": lambda store: store.statistics.report(store.now() - timedelta(days=1), store.now()),
    "calls_last_hour": lambda store: store.calls.count_last_hour(),
    "settled_totals": lambda store: store.statistics.totals(settled=True),
    "unended_checks": lambda store: store.commit_checks.claim_unended(
        lease_s=60, slowest_write_s=60
    ),
    "prompt_stats": lambda store: store.calls.prompt_stats(),
    "review_budget": _begin_review_call,
    "cached_reply": lambda store: store.reply_cache.find(CacheKey(1, b"digest"), ttl_h=168),
    "counters_of_a_period": lambda store: store.statistics.series(
        ["stored"], latest_period("30d", store.now())
    ),
    "expired_hours": lambda store: store.retention.delete_counter_hours(after=timedelta(days=400)),
    "analyses": lambda store: store.analyses.find(AnalysisSearch(kind="issue")),
    "analyses_of_conversation": lambda store: store.analyses.find(
        AnalysisSearch(repository="octo/widgets", number=7)
    ),
    "result_on_commit": lambda store: store.commit_checks.has_result(claim(store), "aaa"),
    "checks_on_commit": lambda store: store.commit_checks.list_others(1, "aaa", 7),
    "pull_requests_of_head": lambda store: store.commit_checks.list_pull_requests(1, "aaa"),
    "queue_state": lambda store: store.deliveries.queue_state(),
}
SHORT = ("CONSTANT", "anon_", "subquery-", "counters", "deleted_calls", "corrections")
"""What a plan may scan whole: subqueries, and tables with few rows, such as one for each prompt."""
OF_FIGURES = ("labels",)
"""Tables that only the figures scan whole: an index by time would cost a write for each label."""
PARTIAL = (
    "ix_deliveries_lease",
    "ix_deliveries_queued",
    "ix_deliveries_queued_cause",
    "ix_deliveries_commands",
    "ix_checks_open",
)
"""Indexes that a plan may scan whole: of deliveries in work, in the order of the claim, and of open
checks.
"""
SORTED = ("ix_calls_prompt", "ix_calls_newest", "ix_analyses_newest")
"""Indexes with a row for each call or analysis, which give the rows in the order of the result."""


@pytest.mark.parametrize("name", QUERIES)
def test_frequent_queries_use_an_index(tmp_path: Path, name: str) -> None:
    scans = [plan for plan in plans_of(tmp_path, QUERIES[name]) if plan.startswith("SCAN")]
    assert [
        plan
        for plan in scans
        if not any(word in plan for word in (*SHORT, *OF_FIGURES, *PARTIAL, *SORTED))
    ] == []


def test_waiting_deliveries_of_a_cause_are_counted_without_their_rows(tmp_path: Path) -> None:
    search = DeliverySearch(state="queued", cause=find_cause("no such issue"))
    plans = plans_of(tmp_path, lambda store: store.searches.count_states(search, since=None))
    assert "SEARCH deliveries USING COVERING INDEX ix_deliveries_queued_cause (cause=?)" in plans


def test_push_that_makes_documentation_outdated_is_found_by_an_index(tmp_path: Path) -> None:
    plans = plans_of(tmp_path, lambda store: store.texts.document_index(1, "octo/widgets"))
    assert any("ix_deliveries_push (repository=? AND received_at>?)" in plan for plan in plans)


def test_search_for_analyses_does_not_read_all_deliveries_of_a_repository(tmp_path: Path) -> None:
    plans = plans_of(
        tmp_path, lambda store: store.analyses.find(AnalysisSearch(repository="octo/widgets"))
    )
    assert [plan for plan in plans if "ix_deliveries_number" in plan] == []


@pytest.mark.parametrize(
    ("delete", "index"),
    [
        (
            lambda store: store.retention.delete_deliveries(after=AT_ONCE, limit=5),
            "ix_deliveries_finished",
        ),
        (
            lambda store: store.retention.delete_bodies(after=AT_ONCE, limit=5),
            "ix_deliveries_finished_with_body",
        ),
    ],
    ids=["deliveries", "bodies"],
)
def test_old_deliveries_are_found_by_an_index(
    tmp_path: Path, delete: Callable[[Storage], object], index: str
) -> None:
    plans = plans_of(tmp_path, delete, before=lambda store: finish(store, claim(store)))
    assert index in {word for plan in plans for word in plan.split()}
    assert {plan for plan in plans if plan.startswith("SCAN")} <= {
        "SCAN CONSTANT ROW",
        "SCAN anon_1",
    }
