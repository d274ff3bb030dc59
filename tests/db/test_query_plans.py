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

from hls_handler.storage import Storage
from hls_handler.store.analyses import AnalysisSearch
from hls_handler.store.calls import ReviewBudget
from hls_handler.store.periods import latest_period
from hls_handler.store.reply_cache import CacheKey
from hls_handler.store.search import DeliverySearch
from tests.queue.builders import accept, claim, push, queued, start_call
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
    folder: Path, query: Callable[[Storage], object], *, before: Callable[[Storage], object] = lambda _: None
) -> list[str]:
    """Return the lines of the plans of all statements of the query, but not of those of `before`."""
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
    review = ReviewBudget(2.0, "review.max_usd", 10.0, "review.max_usd_per_pull_request")
    start_call(store, claim(store), review=review)


QUERIES: dict[str, tuple[Callable[[Storage], object], set[str]]] = {
    "claim": (
        lambda store: store.queue.claim(worker="w", lease_s=30, max_crashes=10, concurrency=0),
        {"ix_deliveries_lease", "ix_deliveries_queued", "ix_deliveries_commands", "ix_deliveries_conversation"},
    ),
    "seconds_until_due": (
        lambda store: store.queue.seconds_until_due(),
        {"ix_deliveries_lease", "ix_deliveries_queued", "ix_deliveries_conversation"},
    ),
    "push": (lambda store: accept(store, push("g3", "bbb")), {"ix_deliveries_conversation", "ix_deliveries_digest"}),
    "close": (lambda store: accept(store, queued("g3", number=7, supersedes="all")), {"ix_deliveries_conversation"}),
    "dead": (lambda store: store.searches.count_reasons(DeliverySearch(state="dead")), {"ix_deliveries_dead"}),
    "conversation": (
        lambda store: store.deliveries.of_conversation("octo/widgets", 7),
        {"ix_deliveries_number", "ix_deliveries_posted_on"},
    ),
    "find": (
        lambda store: store.deliveries.find("request-g1"),
        {"sqlite_autoindex_deliveries_1", "ix_deliveries_request"},
    ),
    "stop": (lambda store: store.interruptions.find_stop(1, 7), {"sqlite_autoindex_stops_1"}),
    "pull_request_of_commit": (
        lambda store: store.deliveries.find_pull_request("octo/widgets", "aaa"),
        {"ix_deliveries_number"},
    ),
    "figures": (
        lambda store: store.figures.read(store.now() - timedelta(days=1), store.now(), has_authors=True),
        {"ix_deliveries_finished", "ix_calls_started", "ix_findings_raised", "ix_deliveries_conversation"},
    ),
    "calls_last_hour": (lambda store: store.calls.count_last_hour(), {"ix_calls_started"}),
    "settled_counters": (lambda store: store.statistics.settled_counters(), {"ix_calls_started"}),
    "unended_checks": (
        lambda store: store.commit_checks.claim_unended(lease_s=60, slowest_write_s=60),
        {"ix_checks_open"},
    ),
    "prompt_stats": (lambda store: store.calls.prompt_stats(), {"ix_calls_prompt"}),
    "review_budget": (_begin_review_call, {"ix_calls_review", "sqlite_autoindex_deleted_review_calls_1"}),
    "cached_reply": (
        lambda store: store.reply_cache.find(CacheKey(1, b"digest"), ttl_h=168),
        {"sqlite_autoindex_cached_replies_1"},
    ),
    "expired_replies": (
        lambda store: store.retention.delete_cached_replies(after=timedelta(days=7), most=20),
        {"ix_cached_replies_stored"},
    ),
    "waiting_reasons": (
        lambda store: store.searches.count_reasons(DeliverySearch(state="queued"), is_waiting=True),
        {"ix_deliveries_queued"},
    ),
    "counters_of_a_period": (
        lambda store: store.counter_hours.series(["webhooks"], latest_period("30d", store.now())),
        {"SEARCH", "counter_hours"},
    ),
    "expired_hours": (
        lambda store: store.retention.delete_counter_hours(after=timedelta(days=400)),
        {"SEARCH", "counter_hours"},
    ),
    "analyses": (lambda store: store.analyses.find(AnalysisSearch(kind="issue")), {"ix_analyses_newest"}),
    "analyses_of_conversation": (
        lambda store: store.analyses.find(AnalysisSearch(repository="octo/widgets", number=7)),
        {"ix_deliveries_number", "ix_deliveries_posted_on", "sqlite_autoindex_analyses_1"},
    ),
    "queue_state": (
        lambda store: store.deliveries.queue_state(),
        {"ix_deliveries_lease", "ix_deliveries_queued", "ix_deliveries_dead"},
    ),
}


@pytest.mark.parametrize("name", QUERIES)
def test_frequent_queries_use_an_index(tmp_path: Path, name: str) -> None:
    query, indexes = QUERIES[name]
    plans = plans_of(tmp_path, query)
    # A scan of all deliveries, even by an index, is too slow.
    assert [plan for plan in plans if plan.startswith("SCAN") and "ix_deliveries_conversation" in plan] == []
    assert indexes <= {word for plan in plans for word in plan.split()}
    harmless = ("INDEX", "CONSTANT", "anon_")  # the last one is the result of a subquery
    scans = [plan for plan in plans if plan.startswith("SCAN") and not any(word in plan for word in harmless)]
    assert scans in ([], ["SCAN deleted_calls"], ["SCAN counters"])  # the first has a row for each prompt


def test_search_for_analyses_does_not_read_all_deliveries_of_a_repository(tmp_path: Path) -> None:
    plans = plans_of(tmp_path, lambda store: store.analyses.find(AnalysisSearch(repository="octo/widgets")))
    assert [plan for plan in plans if "ix_deliveries_number" in plan] == []


@pytest.mark.parametrize(
    ("delete", "index"),
    [
        (
            lambda store: store.retention.delete_deliveries(after=AT_ONCE, most=5),
            "ix_deliveries_finished",
        ),
        (
            lambda store: store.retention.delete_bodies(after=AT_ONCE, most=5),
            "ix_deliveries_finished_with_body",
        ),
    ],
    ids=["deliveries", "bodies"],
)
def test_old_deliveries_are_found_by_an_index(tmp_path: Path, delete: Callable[[Storage], object], index: str) -> None:
    def finish(store: Storage) -> None:
        store.queue.finish(claim(store), "done", reason=None, took_s=0)

    plans = plans_of(tmp_path, delete, before=finish)
    assert index in {word for plan in plans for word in plan.split()}
    assert {plan for plan in plans if plan.startswith("SCAN")} <= {"SCAN CONSTANT ROW", "SCAN anon_1"}
