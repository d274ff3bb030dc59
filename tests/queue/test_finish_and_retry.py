"""Finish, reschedule, dead-letter and retry a delivery, with its counters."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from hls_handler.deliveries import Checkpoint, End, Lease
from hls_handler.store.figures import latest_period
from hls_handler.store.storage import Storage
from tests.batches.builders import begin_batch
from tests.queue.builders import (
    SAME_BODY,
    ClockedDatabase,
    Skew,
    accept,
    begin,
    claim,
    dead_letter,
    finish,
    ignored,
    nothing_is_due,
    queued,
    reschedule,
    row_of,
)

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def store(url: str, skew: Skew) -> Iterator[Storage]:
    """Storage in an empty database, whose clock stands still unless `skew` advances: no time
    depends on the machine.
    """
    opened = Storage(ClockedDatabase(url, lambda: NOON + skew()))
    yield opened
    opened.close()


def test_done_delivery_is_counted_with_its_processing_time(store: Storage, skew: Skew) -> None:
    accept(store, queued("g1"))
    skew.advance(seconds=600)
    store.queue.finish(claim(store), End("done", "", handler="IssueHandler"), took_s=0.1)
    row = row_of(store, "g1")
    assert (row.received_at, row.finished_at) == (NOON, NOON + timedelta(seconds=600))
    assert store.statistics.counters() == {
        ("webhooks", ""): 1,
        ("event", "issues.opened"): 1,
        ("stored", ""): 1,
        ("outcome", "done"): 1,
        ("handler", "IssueHandler:done"): 1,
        ("processing_ms", ""): 600_000,
        ("processing_le", "inf"): 1,
    }


@pytest.mark.parametrize(("took_s", "bucket"), [(120, "120"), (120.001, "180"), (300.001, "inf")])
def test_processing_time_is_counted_in_the_smallest_bucket(
    store: Storage, skew: Skew, took_s: float, bucket: str
) -> None:
    accept(store, queued("g1"))
    skew.advance(seconds=took_s)
    finish(store, claim(store))
    assert store.statistics.counters()["processing_le", bucket] == 1


def test_delivery_ignored_by_a_worker_keeps_its_body_and_loses_the_digest(store: Storage) -> None:
    store.queue.finish(
        begin(store, "g1", **SAME_BODY),
        End("ignored", "by our own bot", kind="own account"),
        took_s=0.1,
    )
    assert store.deliveries.body("g1") == b"{}"
    assert accept(store, queued("g2", **SAME_BODY))[0].outcome == "queued"
    assert accept(store, queued("g1", number=7, body=b"{ }"))[0].outcome == "queued"
    counters = store.statistics.counters()
    assert counters["ignored", "own account"] == 1
    assert counters["outcome", "ignored"] == 1
    assert ("processing_ms", "") not in counters


@pytest.mark.parametrize(
    ("failed", "counts", "attempts", "failures", "has_failed"),
    [(False, False, 0, 0, False), (True, False, 0, 1, True), (True, True, 1, 1, True)],
    ids=["waits for its slot", "a dependency is down", "its own error"],
)
def test_rescheduled_delivery_is_due_at_its_time_with_its_counters(
    store: Storage,
    skew: Skew,
    failed: bool,
    counts: bool,
    attempts: int,
    failures: int,
    has_failed: bool,
) -> None:
    lease = begin(store, "g1")
    reschedule(store, lease, store.now() + timedelta(seconds=60), failed=failed, counts=counts)
    row = row_of(store, "g1")
    assert (row.state, row.reason, row.worker, row.lease_until) == ("queued", "later", None, None)
    assert nothing_is_due(store)
    skew.advance(seconds=60)
    again = claim(store)
    assert (again.attempts, again.failures, again.crashes) == (attempts, failures, 0)
    assert (again.first_failure_at is not None) == has_failed
    assert store.deliveries.find("g1") != row  # claim() clears the reason


def test_postponed_delivery_keeps_the_reason_of_its_failure_until_it_makes_progress(
    store: Storage,
) -> None:
    def postpone(lease: Lease) -> str | None:
        store.queue.postpone(lease, at=store.now(), reason="waits for a slot")
        return row_of(store, "g1").reason

    lease = begin(store, "g1")
    assert postpone(lease) == "waits for a slot"
    reschedule(store, claim(store), reason="401", failed=True)
    assert postpone(claim(store)) == "401"
    assert postpone(claim(store)) == "401"
    lease = claim(store)
    store.checkpoints.save(lease, Checkpoint("gather", 0, 1, "{}"))
    assert postpone(lease) == "waits for a slot"


def test_later_failures_keep_the_time_of_the_first(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1")
    for _ in range(3):
        reschedule(store, lease, failed=True)
        lease = claim(store)
        skew.advance(seconds=20)
    assert lease.failures == 3
    assert lease.first_failure_at == NOON


def test_github_requests_of_all_attempts_are_stored(store: Storage) -> None:
    lease = begin(store, "g1")
    reschedule(store, lease, failed=True, github_requests=2)
    reschedule(store, claim(store), github_requests=1)
    store.queue.finish(claim(store), End("done", ""), took_s=1, github_requests=4)
    row, counters = store.deliveries.find("g1"), store.statistics.counters()
    assert row is not None
    assert row.github_requests == 7
    assert (counters["recovered_by_retry", ""], counters["errors_recovered", ""]) == (1, 1)


def test_retry_of_a_dead_letter_resets_its_counters(store: Storage) -> None:
    reschedule(store, begin(store, "g1"), failed=True, counts=True)
    finish(store, claim(store), "dead")
    assert store.queue.retry("g1") == "queued"
    lease = claim(store)
    assert (lease.attempt, lease.attempts, lease.failures, lease.first_failure_at) == (
        3,
        0,
        0,
        None,
    )
    assert lease.body == b'{"delivery": "g1"}'


def test_retry_of_a_waiting_delivery_makes_it_due_before_others(store: Storage, skew: Skew) -> None:
    in_an_hour = store.now() + timedelta(hours=1)
    reschedule(store, begin(store, "g1"), in_an_hour, failed=True)
    skew.advance(minutes=30)
    accept(store, queued("g2", priority=2))
    assert store.queue.retry("g1") == "queued"
    assert claim(store).guid == "g1"


def test_delivery_of_a_batch_that_runs_again_leaves_the_places_of_webhooks(store: Storage) -> None:
    batch = begin_batch(store, *range(2, 8))
    for number in range(2, 6):
        assert store.queue.retry(f"batch-{batch}-{number}-0") == "queued"
    claimed = [store.queue.claim(worker="w", concurrency=4) for _ in range(3)]
    assert [lease is None for lease in claimed] == [False, False, True]


def test_retry_of_an_ignored_delivery_with_a_body_queues_it(store: Storage) -> None:
    store.queue.finish(
        begin(store, "g1"), End("ignored", "locked", kind="conversation locked"), took_s=1
    )
    assert store.queue.retry("g1") == "queued"
    row = row_of(store, "g1")
    assert (row.reason, row.reason_kind) == ("an operator runs it again", None)
    assert claim(store).body == b'{"delivery": "g1"}'
    assert store.statistics.counters()["outcome", "ignored"] == 1
    series = store.statistics.series(["outcome"], latest_period("24h", store.now()))
    assert sum(series["outcome", "ignored"]) == 0  # it counts as it will end


def test_retry_changes_no_finished_delivery_and_none_without_a_body(store: Storage) -> None:
    dead_letter(store, "g1")
    accept(store, ignored("g2"))
    lease = begin(store, "g3")
    assert [store.queue.retry(guid) for guid in ("unknown", "g2", "g3")] == [
        None,
        "ignored",
        "running",
    ]
    finish(store, lease)
    assert store.queue.retry("g3") == "done"
    assert nothing_is_due(store)
