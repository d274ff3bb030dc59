"""Forgetting what is old: only what is finished, a few at a time, and what it came to stays summed up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import func, select

from hls_handler.analysis import PullRequestAnalysis, Usage, ValidReply
from hls_handler.db.tables import metadata
from hls_handler.deliveries import Checkpoint, Lease
from hls_handler.history.calls import PromptStats
from hls_handler.queue.delivery_queue import Newer
from hls_handler.storage import Storage
from tests.db.test_query_plans import statements
from tests.e2e.service import Waiting
from tests.handlers.world import finding, pull_request_analysis
from tests.postgres import Cluster
from tests.queue.builders import ALIKE, Skew, accept, answered, asked, begin, bury, claim, ignored, queued, state_of

DAY = timedelta(days=1)
PROMPT, OTHER = "issues/analyze@111111", "issues/respond@222222"


def forget(store: Storage, *, after: timedelta = 90 * DAY, most: int = 50) -> int | None:
    return store.retention.delete_deliveries(after=after, most=most)


def guids(store: Storage) -> set[str]:
    return {row.guid for row in store.deliveries.newest(limit=1000)}


def finish(store: Storage, guid: str, state: str = "done", **other: object) -> None:
    store.queue.finish(begin(store, guid, **other), state, reason="so", took_s=0)  # type: ignore[arg-type]


def worked_on(store: Storage, guid: str) -> None:
    """A delivery with everything that can hang on one."""
    lease = begin(store, guid)
    store.checkpoints.save(lease, Checkpoint("gather", 0, 1, "{}"))
    end_call(store, lease, PROMPT, "ok", 0.25)
    usage = Usage("claude-haiku-5-5")
    answer = ValidReply(
        "pull_requests/analyze@3", "pull_request_analysis", pull_request_analysis(findings=[finding()]), usage
    )
    assert isinstance(answer.reply, PullRequestAnalysis)
    assert answer.reply.findings
    answered(store, lease, answer)
    store.rate_limiter.take_slot(lease, "github", interval_s=0.001)
    store.locks.acquire(lease, "a comment", ttl_s=60)
    store.queue.finish(lease, "done", reason="so", took_s=0)


def end_call(store: Storage, lease: Lease, prompt_id: str, outcome: str, cost_usd: float | None = None) -> None:
    usage = None if cost_usd is None else Usage("claude-haiku-5-5", cost_usd=cost_usd)
    error = None if outcome == "ok" else f"Claude: {outcome}"
    store.calls.end(lease, asked(store, lease, prompt_id), outcome=outcome, usage=usage, error=error)


def rows(store: Storage) -> dict[str, int]:
    """How many each table has, those without any left out."""
    with store.database.reading() as connection:
        counted = {
            table.name: connection.execute(select(func.count()).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }
    return {name: count for name, count in counted.items() if count}


def test_what_was_finished_long_ago_is_forgotten_with_all_that_hangs_on_it(store: Storage, skew: Skew) -> None:
    worked_on(store, "g1")
    before = rows(store)
    assert {"deliveries", "checkpoints", "calls", "analyses"} <= before.keys()
    skew.pass_by(days=91)
    assert forget(store) == 1
    left = {"counters": before["counters"], "rate_limits": before["rate_limits"], "deleted_calls": 2}
    assert rows(store) == left
    assert store.deliveries.of_conversation("octo/widgets", 7) == []


def test_what_was_finished_lately_stays(store: Storage, skew: Skew) -> None:
    finish(store, "g1")
    skew.pass_by(days=89)
    finish(store, "g2")
    assert forget(store) == 0
    skew.pass_by(days=2)
    assert forget(store) == 1
    assert guids(store) == {"g2"}


def test_nothing_open_is_ever_forgotten_however_old(store: Storage, skew: Skew) -> None:
    leased = begin(store, "running", number=1)
    postponed = begin(store, "postponed", number=2)
    store.queue.reschedule(postponed, at=store.now() + 400 * DAY, reason="GitHub is down", failed=True, counts=False)
    bury(store, "again")
    store.queue.retry("again")
    accept(store, queued("queued", number=3))
    skew.pass_by(days=3650)
    assert forget(store, after=DAY) == 0
    assert store.retention.delete_bodies(after=DAY, most=50) == 0
    assert {row.guid: row.state for row in store.deliveries.newest()} == {
        "running": "running",
        "postponed": "queued",
        "again": "queued",
        "queued": "queued",
    }
    assert store.deliveries.body(leased.guid) == b'{"delivery": "running"}'


@pytest.mark.parametrize("state", ["done", "ignored", "superseded", "dead"])
def test_every_way_to_end_is_forgotten(store: Storage, skew: Skew, state: str) -> None:
    if state == "dead":
        bury(store, "g1")
    else:
        finish(store, "g1", state)
    accept(store, ignored("at-the-door"))
    skew.pass_by(days=91)
    assert forget(store) == 2
    assert guids(store) == set()


def test_no_more_are_forgotten_at_a_time_than_was_said_and_the_oldest_first(store: Storage, skew: Skew) -> None:
    for number in range(5):
        finish(store, f"g{number}")
        skew.pass_by(hours=1)
    skew.pass_by(days=91)
    assert forget(store, most=2) == 2
    assert guids(store) == {"g2", "g3", "g4"}
    assert store.retention.delete_bodies(after=DAY, most=2) == 2
    assert [store.deliveries.body(f"g{number}") is None for number in (2, 3, 4)] == [True, True, False]
    assert [forget(store, most=2), forget(store, most=2)] == [2, 1]


def test_counters_and_what_prompts_came_to_are_the_same_before_and_after(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1")
    end_call(store, lease, PROMPT, "ok", 0.25)
    end_call(store, lease, PROMPT, "invalid", 0.5)
    end_call(store, lease, OTHER, "failed")
    asked(store, lease, OTHER)  # its worker died: nobody knows what it cost
    store.queue.finish(lease, "done", reason=None, took_s=1)
    skew.pass_by(days=60)
    lease = begin(store, "g2")
    end_call(store, lease, PROMPT, "ok", 1.0)
    end_call(store, lease, OTHER, "ok", 0.125)
    store.queue.finish(lease, "done", reason=None, took_s=1)
    figures, counters = store.calls.prompt_stats(), store.statistics.counters()
    assert [(row.prompt_id, row.replies, row.cost_usd, row.calls_of_unknown_cost) for row in figures] == [
        (PROMPT, 2, 1.75, 0),
        (OTHER, 1, 0.125, 2),
    ]
    assert [row.last_error for row in figures] == ["Claude: invalid", "Claude: failed"]
    skew.pass_by(days=40)
    assert forget(store) == 1  # the older one
    assert (store.calls.prompt_stats(), store.statistics.counters()) == (figures, counters)
    skew.pass_by(days=90)
    assert forget(store) == 1
    assert (store.calls.prompt_stats(), store.statistics.counters()) == (figures, counters)
    assert store.calls.count_last_hour() == 0


def test_the_last_error_is_the_later_one_whichever_is_forgotten(store: Storage, skew: Skew) -> None:
    lease = begin(store, "g1")
    end_call(store, lease, PROMPT, "first", 1.0)
    store.queue.finish(lease, "done", reason=None, took_s=1)
    skew.pass_by(days=91)
    forget(store)
    lease = begin(store, "g2")
    end_call(store, lease, PROMPT, "second", 1.0)
    assert [row.last_error for row in store.calls.prompt_stats()] == ["Claude: second"]
    store.queue.finish(lease, "done", reason=None, took_s=1)
    skew.pass_by(days=91)
    lease = begin(store, "g3")
    end_call(store, lease, PROMPT, "ok", 1.0)
    store.queue.finish(lease, "done", reason=None, took_s=1)
    forget(store)
    (row,) = store.calls.prompt_stats()
    assert row == PromptStats(PROMPT, 1, 3.0, 0, "Claude: second", row.last_error_at)
    skew.pass_by(days=91)
    forget(store)
    assert store.calls.prompt_stats() == [row]


def test_what_ended_a_dead_ones_work_is_known_as_long_as_that_may_run_again(store: Storage, skew: Skew) -> None:
    bury(store, "dead")
    number = 7
    lease = begin(store, "pushed", event="pull_request", action="synchronize", number=number, head_sha="old")
    store.queue.dead_letter(lease, reason="Claude refused")
    for guid, action, sha in (("push", "synchronize", "new"), ("close", "closed", "new")):
        store.queue.finish(
            begin(store, guid, event="pull_request", action=action, number=number, head_sha=sha),
            "done",
            reason=None,
            took_s=0,
        )
    store.queue.finish(begin(store, "elsewhere", number=8), "done", reason=None, took_s=0)
    skew.pass_by(days=80)
    store.queue.retry("pushed")
    skew.pass_by(days=20)
    assert forget(store) == 2  # "dead" and "elsewhere"
    lease = claim(store)
    assert lease.guid == "pushed"
    assert store.queue.find_newer(lease, "issues/analyze") == Newer(head_sha="new", is_closed=True, is_answered=False)
    store.queue.finish(lease, "superseded", reason=None, took_s=0)
    assert forget(store) == 2
    assert guids(store) == {"pushed"}


# --- bodies ----------------------------------------------------------------------------------------------------------


def test_a_body_goes_before_its_delivery(store: Storage, skew: Skew) -> None:
    finish(store, "g1")
    skew.pass_by(days=13)
    assert store.retention.delete_bodies(after=14 * DAY, most=50) == 0
    skew.pass_by(days=2)
    finish(store, "g2")
    assert store.retention.delete_bodies(after=14 * DAY, most=50) == 1
    assert (store.deliveries.body("g1"), store.deliveries.body("g2")) == (None, b'{"delivery": "g2"}')
    assert store.retention.delete_bodies(after=14 * DAY, most=50) == 0


def test_a_replay_is_known_though_the_body_is_gone(store: Storage, skew: Skew) -> None:
    finish(store, "g1", **ALIKE)
    skew.pass_by(days=2)
    store.retention.delete_bodies(after=DAY, most=50)
    (answer,) = accept(store, queued("g2", **ALIKE))
    assert (answer.outcome, answer.guid) == ("replay", "g1")


def test_a_dead_one_whose_body_is_gone_stays_dead_until_github_sends_it_again(store: Storage, skew: Skew) -> None:
    bury(store, "g1")
    skew.pass_by(days=15)
    store.retention.delete_bodies(after=14 * DAY, most=50)
    assert store.queue.retry("g1") == "dead"
    (answer,) = accept(store, queued("g1"))
    assert answer.outcome == "queued"
    assert claim(store).body == b'{"delivery": "g1"}'


# --- many at once ----------------------------------------------------------------------------------------------------


def test_one_process_at_a_time_forgets_on_postgresql(postgres: Cluster) -> None:
    name = postgres.create()
    skew = Skew()
    store = Storage.open(postgres.url(name), skew=skew)
    finish(store, "g1")
    skew.pass_by(days=91)
    with connect(store) as other:
        other.execute("SELECT pg_advisory_xact_lock(7246176)")
        assert (forget(store), store.retention.delete_bodies(after=DAY, most=50)) == (None, None)
    assert forget(store) == 1
    store.close()


def test_a_delivery_that_comes_again_while_it_is_being_forgotten_is_not_lost(postgres: Cluster) -> None:
    store = Storage.open(postgres.url(postgres.create()))
    bury(store, "g1")
    with connect(store) as forgetting:
        forgetting.execute("DELETE FROM deliveries WHERE guid = 'g1'")
        answers: list[str] = []
        door = threading.Thread(target=lambda: answers.extend(a.outcome for a in accept(store, queued("g1"))))
        door.start()
        until_somebody_waits_for_a_lock(store)
    door.join(timeout=10)
    assert answers == ["queued"]
    assert state_of(store, "g1") == "queued"
    store.close()


def test_what_another_holds_is_left_for_the_next_time(postgres: Cluster) -> None:
    skew = Skew()
    store = Storage.open(postgres.url(postgres.create()), skew=skew)
    finish(store, "held")
    finish(store, "free")
    skew.pass_by(days=91)
    with connect(store) as other:
        other.execute("SELECT 1 FROM deliveries WHERE guid = 'held' FOR UPDATE")
        assert forget(store) == 1
        assert guids(store) == {"held"}
    assert forget(store) == 1
    store.close()


def test_accepts_go_on_between_two_batches(store: Storage, skew: Skew) -> None:
    for number in range(3):
        finish(store, f"old{number}")
    skew.pass_by(days=91)
    for number in range(3):
        assert forget(store, most=1) == 1
        (answer,) = accept(store, queued(f"new{number}"))
        assert answer.outcome == "queued"
    assert guids(store) == {"new0", "new1", "new2"}


def test_a_batch_that_is_cut_off_changes_nothing(store: Storage, skew: Skew) -> None:
    worked_on(store, "g1")
    skew.pass_by(days=91)
    before = rows(store)
    cut_off = store.database.insert

    def die(_table: object) -> object:
        raise KeyboardInterrupt

    store.database.insert = die  # type: ignore[method-assign, assignment]
    with pytest.raises(KeyboardInterrupt):
        forget(store)
    store.database.insert = cut_off  # type: ignore[method-assign]
    assert rows(store) == before
    assert forget(store) == 1


# --- how it finds its way --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ask", "index"),
    [
        (lambda store: store.retention.delete_deliveries(after=DAY, most=5), "ix_deliveries_finished"),
        (lambda store: store.retention.delete_bodies(after=DAY, most=5), "ix_deliveries_finished_with_body"),
    ],
    ids=["deliveries", "bodies"],
)
def test_what_is_old_is_found_by_an_index(tmp_path: Path, ask: Callable[[Storage], object], index: str) -> None:
    skew = Skew()
    store = Storage.open(f"sqlite:///{tmp_path}/hls.db", skew=skew)
    finish(store, "g1")
    skew.pass_by(days=2)
    with statements() as seen:
        ask(store)
    with store.database.reading() as connection:
        plans = [
            str(row[3])
            for statement in seen
            if statement.startswith(("SELECT", "UPDATE", "DELETE"))
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")
        ]
    store.close()
    assert index in {word for plan in plans for word in plan.split()}
    assert [plan for plan in plans if plan.startswith("SCAN") and "CONSTANT" not in plan] == []


def connect(store: Storage) -> psycopg.Connection[tuple[object, ...]]:
    """A connection beside the store's, whose transaction is committed at the end of a `with`."""
    url = store.database._engine.url.set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False))


def until_somebody_waits_for_a_lock(store: Storage) -> None:
    waiting = Waiting(10)
    with connect(store) as looking:
        looking.autocommit = True
        while waiting.more():
            row = looking.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
            if row != (0,):
                return
    raise AssertionError("nobody waits for a lock")
