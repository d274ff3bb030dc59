"""Deletion of old deliveries: only finished ones, in small batches; statistics remain."""

from __future__ import annotations

import threading
from datetime import timedelta

import psycopg
from sqlalchemy import func, select

from hls_handler.analysis import Reply, Usage
from hls_handler.db.tables import metadata
from hls_handler.deliveries import Checkpoint, End, Lease
from hls_handler.queue.rate_limiter import SlotRequest
from hls_handler.store.calls import QuestionTexts
from hls_handler.store.interruptions import NewerEvents
from hls_handler.store.storage import Storage
from tests.e2e.service import Waiting
from tests.handlers.world import pull_request_analysis
from tests.postgres import ON_POSTGRESQL
from tests.queue.builders import (
    SAME_BODY,
    Skew,
    accept,
    begin,
    claim,
    dead_letter,
    find_newer,
    finish,
    newest,
    queued,
    record_reply,
    start_call,
    state_of,
)
from tests.queue.test_concurrency import run_at_once

DAY = timedelta(days=1)
PROMPT, OTHER = "issues/analyze@111111", "issues/respond@222222"


def delete_old(store: Storage, *, after: timedelta = 90 * DAY, limit: int = 50) -> int:
    return store.retention.delete_deliveries(after=after, limit=limit)


def stored_guids(store: Storage) -> set[str]:
    return {row.guid for row in newest(store)}


def end_call(
    store: Storage, lease: Lease, prompt_id: str, outcome: str, cost_usd: float | None = None
) -> None:
    usage = None if cost_usd is None else Usage("claude-haiku-5-5", cost_usd=cost_usd)
    error = None if outcome == "ok" else f"Claude: {outcome}"
    store.calls.end(
        lease, start_call(store, lease, prompt_id), outcome=outcome, usage=usage, error=error
    )


def test_old_delivery_is_deleted_with_all_its_rows(store: Storage, skew: Skew) -> None:
    def process_delivery(store: Storage, guid: str) -> None:
        """Process a delivery so that every related table has rows of it."""
        lease = begin(store, guid)
        store.checkpoints.save(lease, Checkpoint("gather", 0, 1, "{}"))
        end_call(store, lease, PROMPT, "ok", 0.25)
        start_call(
            store, lease, question=QuestionTexts(b"1", "You review.", "{}", "A patch"), index=1
        )
        reply = pull_request_analysis()
        record_reply(
            store,
            lease,
            Reply("pull_requests/analyze@3", "pull_request_analysis", reply, Usage("m")),
        )
        store.rate_limiter.take_slot(lease, SlotRequest("github", 0.001))
        store.locks.acquire(lease, "a comment", ttl_s=60)
        finish(store, lease)

    def count_rows(store: Storage) -> dict[str, int]:
        """Number of rows of each table that has any."""
        with store.database.reading() as connection:
            counted = {
                table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in metadata.sorted_tables
            }
        return {name: count for name, count in counted.items() if count}

    process_delivery(store, "g1")
    before = count_rows(store)
    assert {"deliveries", "checkpoints", "calls", "questions", "system_texts"} <= before.keys()
    skew.advance(days=91)
    assert delete_old(store) == 1
    store.retention.delete_system_texts()
    remaining = {name: before[name] for name in ("counters", "rate_limits")} | {"deleted_calls": 3}
    after = count_rows(store)
    after.pop("secrets", None)  # those of tests before this one
    assert after == remaining
    assert store.deliveries.of_conversation("octo/widgets", 7) == []


def test_open_deliveries_are_never_deleted(store: Storage, skew: Skew) -> None:
    leased = begin(store, "running", number=1)
    postponed = begin(store, "postponed", number=2)
    store.queue.reschedule(
        postponed, at=store.now() + 400 * DAY, reason="GitHub is down", failed=True, counts=False
    )
    dead_letter(store, "again")
    store.queue.retry("again")
    accept(store, queued("queued", number=3))
    skew.advance(days=3650)
    assert delete_old(store, after=DAY) == 0
    assert store.retention.delete_bodies(after=DAY, limit=50) == 0
    assert {row.guid: row.state for row in newest(store)} == {
        "running": "running",
        "postponed": "queued",
        "again": "queued",
        "queued": "queued",
    }
    assert store.deliveries.body(leased.guid) == b'{"delivery": "running"}'


def test_delete_removes_the_oldest_up_to_its_limit(store: Storage, skew: Skew) -> None:
    for number in range(5):
        finish(store, begin(store, f"g{number}"))
        skew.advance(hours=1)
    skew.advance(days=91)
    assert delete_old(store, limit=2) == 2
    assert stored_guids(store) == {"g2", "g3", "g4"}
    assert store.retention.delete_bodies(after=DAY, limit=2) == 2
    assert [store.deliveries.body(f"g{number}") is None for number in (2, 3, 4)] == [
        True,
        True,
        False,
    ]
    assert [delete_old(store, limit=2), delete_old(store, limit=2)] == [2, 1]


def test_counters_and_prompt_stats_do_not_change(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1")
    end_call(store, lease, PROMPT, "ok", 0.25)
    end_call(store, lease, PROMPT, "invalid", 0.5)
    end_call(store, lease, OTHER, "failed")
    start_call(store, lease, OTHER)  # no end: its cost is unknown
    finish(store, lease)
    skew.advance(days=60)
    lease = begin(store, "g2")
    end_call(store, lease, PROMPT, "ok", 1.0)
    end_call(store, lease, PROMPT, "truncated", 0.0)
    end_call(store, lease, OTHER, "ok", 0.125)
    finish(store, lease)
    prompt_stats, counters = store.calls.prompt_stats(), store.statistics.counters()
    assert [
        (row.prompt_id, row.replies, row.cost_usd, row.calls_of_unknown_cost)
        for row in prompt_stats
    ] == [
        (PROMPT, 2, 1.75, 0),
        (OTHER, 1, 0.125, 1),
    ]
    assert [row.last_error for row in prompt_stats] == ["Claude: truncated", "Claude: failed"]
    skew.advance(days=40)
    assert delete_old(store) == 1  # the older one
    assert (store.calls.prompt_stats(), store.statistics.counters()) == (prompt_stats, counters)
    skew.advance(days=90)
    assert delete_old(store) == 1
    assert (store.calls.prompt_stats(), store.statistics.counters()) == (prompt_stats, counters)
    assert store.calls.count_last_hour() == 0


def test_newer_deliveries_are_not_deleted_while_a_dead_letter_can_be_retried(
    store: Storage, skew: Skew
) -> None:
    dead_letter(store, "dead")
    lease = begin(
        store, "pushed", event="pull_request", action="synchronize", number=7, head_sha="old"
    )
    store.queue.finish(lease, End("dead", "Claude refused"))
    for guid, action, sha in (("push", "synchronize", "new"), ("close", "closed", "new")):
        store.queue.finish(
            begin(store, guid, event="pull_request", action=action, number=7, head_sha=sha),
            End("done", ""),
            took_s=0,
        )
    finish(store, begin(store, "elsewhere", number=8))
    skew.advance(days=80)
    store.queue.retry("pushed")
    skew.advance(days=20)
    assert delete_old(store) == 2  # "dead" and "elsewhere"
    lease = claim(store)
    assert lease.guid == "pushed"
    assert find_newer(store, lease, "issues/analyze") == NewerEvents(
        commit="new", is_closed=True, is_answered=False
    )
    store.queue.finish(lease, End("superseded", ""), took_s=0)
    assert delete_old(store) == 2
    assert stored_guids(store) == {"pushed"}


# --- bodies
# -----------------------------------------------------------------------------


def test_replay_is_detected_after_the_body_is_deleted(store: Storage, skew: Skew) -> None:
    finish(store, begin(store, "g1", **SAME_BODY))
    skew.advance(days=2)
    store.retention.delete_bodies(after=DAY, limit=50)
    (answer,) = accept(store, queued("g2", **SAME_BODY))
    assert (answer.outcome, answer.guid) == ("replay", "g1")


# --- many at once
# -----------------------------------------------------------------------------


def test_sums_are_right_if_several_processes_delete_at_once(
    stores: list[Storage], store: Storage, skew: Skew
) -> None:
    lease = begin(store, "g0")
    for number in range(1, 9):
        end_call(store, lease, PROMPT, "ok", 0.25)
        finish(store, lease)
        lease = begin(store, f"g{number}")
    prompt_stats = store.calls.prompt_stats()
    skew.advance(days=91)
    deleted = run_at_once(4, lambda number: [delete_old(stores[number], limit=2) for _ in range(4)])
    assert sum(map(sum, deleted)) == 8
    assert store.calls.prompt_stats() == prompt_stats


@ON_POSTGRESQL
def test_redelivery_during_its_deletion_is_not_lost(url: str, store: Storage) -> None:
    def connect(url: str) -> psycopg.Connection[tuple[object, ...]]:
        """A further connection, whose transaction is committed at the end of its `with` block."""
        return psycopg.connect(url.replace("+psycopg", ""))

    def wait_for_a_blocked_lock(url: str) -> None:
        waiting = Waiting(10)
        with connect(url) as connection:
            connection.autocommit = True
            while waiting.more():
                row = connection.execute(
                    "SELECT count(*) FROM pg_locks WHERE NOT granted"
                ).fetchone()
                if row != (0,):
                    return
        raise AssertionError("no statement waits for a lock")

    dead_letter(store, "g1")
    with connect(url) as deleting:
        deleting.execute("DELETE FROM deliveries WHERE guid = 'g1'")
        answers: list[str] = []
        receiver = threading.Thread(
            target=lambda: answers.extend(a.outcome for a in accept(store, queued("g1")))
        )
        receiver.start()
        wait_for_a_blocked_lock(url)
    receiver.join(timeout=10)
    assert answers == ["queued"]
    assert state_of(store, "g1") == "queued"
